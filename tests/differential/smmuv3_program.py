# SPDX-License-Identifier: BSD-3-Clause
#
# Random guest programs for an SMMUv3 of stage 1, as vtd_program.py's are for VT-d: a step is a change and the commands which
# it calls for (SMMUv3 IHI0070G.b s4.3, s4.4, and s3.21.1 for entries that are replaced), so that a program without some of its
# steps keeps the rules too. Bad entries, addresses and commands are among all of it.
import random

STRTAB, STRTAB_LG2 = 0x40210000, 6              # linear
L1, L2 = 0x40220000, 0x40230000                 # of two levels
CDS = 0x40240000                                # one for each domain
CMDQ, CMDQ_LG2, EVENTQ, EVENTQ_LG2 = 0x40250000, 4, 0x40260000, 3
TABLES, TABLES_END = 0x40400000, 0x41000000
DATA, DATA_PAGES, DATA_STRIDE = 0x41000000, 32, 0x10000
LARGE = 0x42000000                              # where blocks lead
BEYOND = 0x80000000                             # no memory
SIDS = (8, 16)
GRANULES = {12: (0, 2), 14: (2, 1), 16: (1, 3)}         # TG0, TG1
CR0, CR1, CR2, GBPA, IRQ_CTRL = 0x20, 0x28, 0x2c, 0x44, 0x50
STRTAB_BASE, STRTAB_CFG, CMDQ_BASE, CMDQ_PROD, CMDQ_CONS = 0x80, 0x88, 0x90, 0x98, 0x9c
EVENTQ_BASE, EVENTQ_PROD, EVENTQ_CONS = 0xa0, 0x100a8, 0x100ac
SMMUEN, EVENTQEN, CMDQEN = 1, 4, 8
UPDATE, ABORT = 1 << 31, 1 << 20
BYPASS, STAGE1 = 4, 5
AF, NG, BLOCK, TABLE = 1 << 10, 1 << 11, 1, 3
USER, READ_ONLY = 1 << 6, 1 << 7
REGISTERS = tuple((4, at) for at in (0, 4, 8, 0xc, 0x10, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x28, 0x2c, 0x44, 0x50, 0x54, 0x60, 0x64,
                                     0x88, 0x98, 0x9c, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4)) + \
    tuple((8, at) for at in (0x80, 0x90, 0xa0))
SYNC, NOTHING = 0x46, 0x01                      # the second: CMD_PREFETCH_CONFIG


class Domain:
    """A context descriptor, and its tables."""

    def __init__(self, asid, at, granule, tsz, upper, vmid=0):
        self.asid, self.at, self.granule, self.tsz, self.upper = asid, at, granule, tsz, upper
        self.vm, self.tag = vmid << 32, asid << 48 | vmid << 32         # in commands
        self.stride = granule - 3
        self.start = 4 - -(-(64 - tsz - granule) // self.stride)
        self.base = 2 ** 64 - 2 ** (64 - tsz) if upper else 0
        self.pages, self.top = {}, None         # iova -> (gpa, lg2)

    def shift(self, level):
        return self.granule + self.stride * (3 - level)

    def index(self, iova, level):
        bits = self.stride if level > self.start else 64 - self.tsz - self.shift(level)
        return iova >> self.shift(level) & (1 << bits) - 1

    def words(self):
        tg0, tg1 = GRANULES[self.granule]
        # V, AA64, R, A, and an IPS of 44 bits; the half that is not used is disabled
        word0 = self.asid << 48 | 1 << 31 | 1 << 41 | 1 << 45 | 1 << 46 | 4 << 32 | tg0 << 6 | tg1 << 22
        word0 |= self.tsz | self.tsz << 16 | (1 << 14 if self.upper else 1 << 30)
        return [word0, 0 if self.upper else self.top, self.top if self.upper else 0, 0, 0, 0, 0, 0]


class Generator:
    NOWHERE = 1 << 46       # translated to nothing by any domain

    def __init__(self, seed, mode, steps, granules=(12, 12, 14, 16)):
        self.random = random.Random(f"{mode} {seed}")
        self.steps, self.step = [], []
        self.memory = {}        # what was stored
        self.next_table, self.cr0 = TABLES, 0
        self.two_levels = self.random.random() < 0.5
        self.split = self.random.choice((6, 8, 10))
        self.domains = []
        self.granules = granules
        self.make_domains()
        self.entries = [None, None]     # the domain each device is on
        self.begin()
        kinds = self.kinds()
        while len(self.steps) < steps:
            self.random.choices(tuple(kinds), tuple(kinds.values()))[0]()
            self.done()
        self.step += [("memory", at, 0x10000) for at in range(TABLES, self.next_table, 0x10000)]
        self.step += [("memory", DATA + n * DATA_STRIDE, 0x1000) for n in range(DATA_PAGES)]
        self.done()

    def kinds(self):
        """How often which step comes."""
        return {self.map: 20, self.unmap: 6, self.dma: 45, self.attach: 8, self.damage: 5, self.damage_context: 5,
                self.damage_stream: 3, self.registers: 4, self.bad_command: 3, self.switch: 3, self.flood: 1,
                self.wrong_queue: 1, self.unmap_several: 4}

    def make_domains(self):
        for n in range(5):
            self.domains.append(self.make_domain(n + 1, n))
            self.domains[-1].top = self.table(self.domains[-1])

    def make_domain(self, asid, n, vmid=0):
        granule = self.random.choice(self.granules)
        tsz = self.random.choice({12: (16, 25, 32, 34), 14: (16, 17, 28), 16: (16, 22, 30)}[granule])
        return Domain(asid, CDS + 64 * n, granule, tsz, self.random.random() < 0.3, vmid)

    # --- pieces

    def done(self):
        if self.step:
            self.steps.append(self.step)
        self.step = []

    def op(self, *op):
        self.step.append(op)

    def table(self, domain):
        self.next_table = -(-self.next_table >> domain.granule) << domain.granule
        assert self.next_table < TABLES_END
        self.next_table += 1 << domain.granule
        return self.next_table - (1 << domain.granule)

    def store(self, address, *words):
        self.op("store", address, *words)
        for n, word in enumerate(words):
            self.memory[address + 8 * n] = word

    def control(self, set_bits=0, clear=0):
        self.cr0 = (self.cr0 | set_bits) & ~clear
        self.op("write", 4, CR0, self.cr0)
        self.op("read", 4, CR0 + 4)

    def issue(self, *commands):
        for command in commands:
            self.op("put", *command)
        self.op("put", SYNC, 0)
        self.op("tail")
        self.op("read", 4, CMDQ_CONS)
        self.op("read", 4, 0x60)

    def begin(self):
        self.op("write", 8, CMDQ_BASE, CMDQ | CMDQ_LG2)
        self.op("write", 8, EVENTQ_BASE, EVENTQ | EVENTQ_LG2)
        self.op("write", 4, CR2, 2)      # RECINVSID
        self.stream_table()
        parts = [CMDQEN, EVENTQEN, SMMUEN]
        self.random.shuffle(parts)
        for part in parts:
            self.control(part)
        self.issue((4, 31), (0x30, 0))
        for domain in self.domains:
            if domain.at:
                self.store(domain.at, *domain.words())
        self.done()
        self.attach_all()

    def stream_table(self):
        """One that has no entry; the unit is off. QEMU does not go back from two levels to one (docs/differences.md)."""
        for sid in SIDS:
            self.store(self.ste(sid), *(0,) * 8)
        if self.two_levels:
            self.store(L1, L2 | 6)
            self.op("write", 8, STRTAB_BASE, L1)
            self.op("write", 4, STRTAB_CFG, 1 << 16 | self.split << 6 | 16)
        else:
            self.op("write", 8, STRTAB_BASE, STRTAB)
            self.op("write", 4, STRTAB_CFG, STRTAB_LG2)

    def ste(self, sid):
        return (L2 if self.two_levels else STRTAB) + 64 * sid

    def attach_all(self):
        for device in range(2):
            self.attach(device)
            self.done()

    # --- tables

    def slot(self, domain, iova, level):
        """The address of iova's entry at this level; tables above are made, unless a block is in the way."""
        at = domain.top
        for above in range(domain.start, level):
            slot = at + domain.index(iova, above) * 8
            entry = self.memory.get(slot, 0)
            if entry & 3 == BLOCK:
                return None
            if not entry & 1:
                self.store(slot, self.table(domain) | TABLE)
                entry = self.memory[slot]
            at = entry & 0xfffffffff000
            if not TABLES <= at < TABLES_END:
                return None
        return at + domain.index(iova, level) * 8

    def flush(self, domain, iova, lg2):
        """One of the ways to have a change of these pages seen."""
        tag, vm, address = domain.tag, domain.vm, iova & ~((1 << lg2) - 1)
        ways = [(0x10 | vm, 0), (0x11 | tag, 0), (0x30, 0), (0x12 | tag, address), (0x13 | vm, address)]
        granules = 1 << lg2 - domain.granule
        tg = (domain.granule - 10) // 2
        scale = max(granules.bit_length() - 1 - self.random.choice((0, 1, 2)), 0)
        num = (granules >> scale) - 1
        if num or scale:
            ways += [(0x12 | tag | num << 12 | scale << 20, address | tg << 10),
                     (0x13 | vm | num << 12 | scale << 20, address | tg << 10)]
        else:
            ways += [(0x12 | tag, address | tg << 10 | 3 << 8), (0x13 | vm | 1 << 12, address | tg << 10)]
        self.issue(self.random.choice(ways))

    def flush_several(self, domain, first, num, scale):
        where = num << 12 | scale << 20, first | (domain.granule - 10) // 2 << 10
        self.issue((self.random.choice((0x12 | domain.tag, 0x13 | domain.vm)) | where[0], where[1]))

    def flush_all(self, domain):
        self.issue((0x11 | domain.tag, 0))

    def bits(self, domain):
        """Of a leaf: mostly what allows everything."""
        odd = self.random.random() < 0.15
        return NG | USER | (self.random.choice((AF | READ_ONLY, 0)) if odd else AF | self.random.choice((0, 3 << 8, 1 << 54)))

    def iova(self, domain):
        size = 1 << 64 - domain.tsz
        page = self.random.choice((0, 1 << 16, size // 2, size - (8 << 16), 0x7ff0000 & size - 1)) + \
            (self.random.randrange(8) << domain.granule)
        return domain.base + (page & ~((1 << domain.granule) - 1) & size - 1)

    def map(self):
        domain = self.random.choice(self.domains)
        iova, lg2, level = self.iova(domain), domain.granule, 3
        if domain.pages and self.random.random() < 0.3:         # the same page elsewhere
            iova = self.random.choice(list(domain.pages))
        gpa = DATA + DATA_STRIDE * self.random.randrange(DATA_PAGES)
        if self.random.random() < 0.12 and domain.start <= 2:
            level, lg2 = 2, domain.shift(2)
            iova, gpa = iova & ~((1 << lg2) - 1), LARGE & ~((1 << lg2) - 1)
        slot = self.slot(domain, iova, level)
        if slot is None or (level == 2 and self.memory.get(slot, 0) & 3 == TABLE):
            return
        self.touch(domain, iova)
        if self.memory.get(slot, 0) & 1:                        # break before make
            self.store(slot, 0)
            self.flush(domain, iova, lg2)
        self.store(slot, gpa | self.bits(domain) | (BLOCK if level == 2 else 3))
        domain.pages[iova] = (gpa, lg2)
        self.flush(domain, iova, lg2)
        self.touch(domain, iova)

    def unmap(self):
        domain = self.random.choice(self.domains)
        if not domain.pages:
            return
        iova = self.random.choice(list(domain.pages))
        _, lg2 = domain.pages[iova]
        slot = self.slot(domain, iova, 3 if lg2 == domain.granule else 2)
        self.touch(domain, iova)
        del domain.pages[iova]
        if slot is not None:
            self.store(slot, 0)
            self.flush(domain, iova, lg2)
            self.touch(domain, iova)

    def unmap_several(self):
        """Neighbouring pages, and one command for their range."""
        domain = self.random.choice(self.domains)
        pages = [iova for iova, (_, lg2) in domain.pages.items() if lg2 == domain.granule]
        if not pages:
            return
        size, num, scale = self.random.choice(((8, 7, 0), (8, 3, 1), (16, 0, 4), (4, 0, 2)))
        first = self.random.choice(pages) & ~((size << domain.granule) - 1)
        pages = [iova for iova in pages if first <= iova < first + (size << domain.granule)]
        for iova in pages:
            self.touch(domain, iova)
        for iova in pages:
            slot = self.slot(domain, iova, 3)
            del domain.pages[iova]
            if slot is not None:
                self.store(slot, 0)
        self.flush_several(domain, first, num, scale)
        for iova in pages:
            self.touch(domain, iova)

    def touch(self, domain, iova):
        """DMA there by the devices that are on the domain, so that caches hold what changes next."""
        for device in range(2):
            if self.entries[device] is domain:
                self.probe(device, domain, iova)

    def damage(self):
        """Something that is wrong in a table, and right again in the next step."""
        domain = self.random.choice([d for d in self.domains if d.pages] or [None])
        if not domain:
            return
        iova = self.random.choice(list(domain.pages))
        last = 3 if domain.pages[iova][1] == domain.granule else 2
        at = self.random.randrange(domain.start, last + 1)
        slot = self.slot(domain, iova, at)
        if slot is None or not self.memory.get(slot):
            return
        good = self.memory[slot]
        beyond = good & ~0xffffffff0000 | BEYOND
        bad = self.random.choice(self.bad_tables(domain, good, beyond) if at < last else
                                 (0, beyond, good & ~1, good | 1 << 46, good & ~AF, good | READ_ONLY, good & ~2 | at == 2))
        if at < last and self.random.random() < 0.3:
            bad = good | 1 << 62                                # APTable: not to be written
        device = self.on(domain)
        self.op("store", slot, bad)
        self.flush_all(domain)
        self.probe(device, domain, iova)
        self.op("store", slot, good)
        self.flush_all(domain)
        self.probe(device, domain, iova)

    def other(self, domain, iova):
        return domain.base ^ 1 << 45

    def bad_tables(self, domain, good, beyond):
        return 0, beyond, good & ~1, good | 1 << 46

    def on(self, domain):
        """A device that is on the domain, or any."""
        return next((n for n, d in enumerate(self.entries) if d is domain), self.random.randrange(2))

    # --- configuration

    def stream_changed(self, device):
        sid = SIDS[device] << 32
        ways = [(3 | sid, 1), (3 | sid, 0), (4 | sid, self.random.randrange(5)), (4, 31)]
        return self.random.choice(ways), self.random.choice(((0x10, 0), (0x30, 0)))

    def attach(self, device=None):
        device = self.random.randrange(2) if device is None else device
        domain = self.random.choice(self.domains + [None])
        words = [1 | STAGE1 << 1 | domain.at if domain else 1 | BYPASS << 1, 1 << 44]   # SHCFG: incoming
        if domain:
            words[1] |= self.random.choice((0, 1 << 2 | 1 << 4 | 3 << 6))
        odd = self.random.random()
        if odd < 0.05:
            words = [0, 0]
        elif odd < 0.1:
            words[0] &= ~0xe                                    # abort
        elif odd < 0.14:
            words[0] = words[0] & ~0xe | self.random.choice((6, 7)) << 1
        elif odd < 0.17 and domain:
            words[0] = words[0] & 0x3f | BEYOND
        elif odd < 0.2 and domain:
            words[1] |= 1 << 27                                 # S1STALLD
        self.entries[device] = domain if odd >= 0.2 else None
        self.store(self.ste(SIDS[device]), *words, 0, 0, 0, 0, 0, 0)
        self.issue(*self.stream_changed(device))
        if odd < 0.2:
            self.probe(device, domain, self.random.choice(list(domain.pages) or [0]) if domain else DATA)

    def damage_context(self):
        """A context descriptor is wrong, and then right again."""
        domain = self.random.choice(self.domains)
        device, good = self.on(domain), domain.words()
        bad = list(good)
        bad[0] = self.random.choice((0, good[0] & ~(1 << 31), good[0] & ~(1 << 41), good[0] & ~(1 << 46), good[0] | 1 << 44,
                                     good[0] & ~(1 << 45), good[0] | 1 << 15,
                                     good[0] & ~0x3f003f | 40 << 16 | 40, good[0] & ~0x3f003f | 8 << 16 | 8,
                                     good[0] | 1 << 14 | 1 << 30, good[0] & ~(7 << 32)))
        if self.random.random() < 0.2:
            bad[0] = good[0]
            bad[2 if domain.upper else 1] = self.random.choice((BEYOND, 1 << 46 | domain.top))
        sid = SIDS[device] << 32
        iova = self.random.choice(list(domain.pages) or [domain.base])
        for words in (bad, good):
            self.op("store", domain.at, *words)
            changed = [(5 | n << 32, 1) for n in SIDS] if self.random.random() < 0.5 else [(6 | n << 32, 0) for n in SIDS]
            self.issue(*changed, (0x11 | domain.tag, 0))
            self.probe(device, domain, iova)
            self.probe(device, domain, self.random.choice((self.other(domain, iova), iova)))

    def damage_stream(self):
        """The stream table itself, or its level 1."""
        device = self.random.randrange(2)
        if not self.two_levels:
            self.control(clear=SMMUEN)
            self.op("write", 8, STRTAB_BASE, self.random.choice((BEYOND, STRTAB)))
            self.op("write", 4, STRTAB_CFG, self.random.choice((3, 4, STRTAB_LG2)))
            self.control(SMMUEN)
        else:
            self.op("store", L1, self.random.choice((0, L2 | 3, BEYOND | 6)))
        self.issue((4, 31), (0x30, 0))
        self.probe(device, self.entries[device], DATA)
        if not self.two_levels:
            self.control(clear=SMMUEN)
            self.op("write", 8, STRTAB_BASE, STRTAB)
            self.op("write", 4, STRTAB_CFG, STRTAB_LG2)
            self.control(SMMUEN)
        else:
            self.op("store", L1, L2 | 6)
        self.issue((4, 31), (0x30, 0))

    def switch(self):
        """The unit is off, with what GBPA says; then on again, perhaps with another stream table."""
        gbpa = self.random.choice((0x1000, 0x1000 | ABORT))
        self.op("write", 4, GBPA, UPDATE | gbpa)
        self.op("read", 4, GBPA)
        self.control(clear=SMMUEN)
        for device in range(2):
            self.probe(device, None, DATA + DATA_STRIDE * self.random.randrange(DATA_PAGES))
        if self.random.random() < 0.5:
            self.op("write", 4, GBPA, UPDATE | 0x1000)
            self.probe(self.random.randrange(2), None, DATA)
        again = self.random.random() < 0.5
        if again:
            self.entries = [None, None]
            self.stream_table()
        self.control(SMMUEN)
        self.issue((4, 31), (0x30, 0))
        if again:
            self.done()
            self.attach_all()

    # --- what is looked at

    def probe(self, device, domain, iova):
        if self.entries[device] is None and iova < DATA:
            iova = DATA                         # virt has other things there, which take DMA
        gpa, offset = DATA + iova % 0x1000, self.random.choice((0, 0, 4, 0xff8))
        if domain and iova in domain.pages:
            gpa, lg2 = domain.pages[iova]
            if lg2 != domain.granule:           # a block: where nothing else is
                offset += LARGE - gpa
        elif not domain and DATA <= iova < DATA + DATA_STRIDE * DATA_PAGES:
            gpa = iova
        self.op("dma", device, iova + offset, 4, gpa + offset)   # QEMU makes two accesses of 8 bytes

    def dma(self):
        device = self.random.randrange(2)
        domain = self.entries[device]
        for _ in range(self.random.randrange(1, 4)):
            if domain and domain.pages and self.random.random() < 0.8:
                self.probe(device, domain, self.random.choice(list(domain.pages)))
            else:
                self.probe(device, None, self.random.choice(
                    (DATA + DATA_STRIDE * self.random.randrange(DATA_PAGES), self.iova(domain) if domain else DATA,
                     1 << 43, 1 << 44, 1 << 47, 1 << 48, 1 << 52, 0xffff800000000000, 0xfffffffffff00000, 0x7ffffffff000)))

    def registers(self):
        for _ in range(self.random.randrange(1, 4)):
            self.op("write", 4, self.random.choice((0, 4, 0x14, 0x18, CR0 + 4, IRQ_CTRL + 4, 0x60)), self.random.getrandbits(32))
        self.op("write", 4, IRQ_CTRL, self.random.choice((0, 1, 4, 5)))
        self.op("write", 4, GBPA, self.random.getrandbits(31))  # without UPDATE
        for size, at in REGISTERS:
            self.op("read", size, at)

    def bad_commands(self):
        sid = SIDS[0] << 32
        return ((0, 0), (0x07, 0), (0x14, 0), (0x15, 0), (0x31, 0), (0x47, 0), (0xff, 0), (0x28, 0), (0x2a, 0), (0x60, 0),
                (3 | sid | 1 << 10, 0), (4 | 1 << 10, 31), (5 | sid | 1 << 10, 0), (6 | sid | 1 << 10, 0))

    def bad_command(self):
        """A command that is refused: the queue stops there; the guest mends it, and says that it has seen the error."""
        self.op("put", *self.random.choice(self.bad_commands()))
        self.op("tail")
        self.op("read", 4, CMDQ_CONS)
        self.op("mend", NOTHING, 0)
        self.op("acknowledge")
        self.issue((0x30, 0))

    def flood(self):
        """Events that wait, up to as many as the queue has room for; then they are taken."""
        device = self.random.randrange(2)
        if not self.entries[device]:
            return
        for n in range(self.random.randrange(4, 9)):
            self.op("dma_only", device, self.NOWHERE + n * 0x1000, 4, DATA)
        self.op("events")
        self.op("dma", device, self.NOWHERE, 4, DATA)
        self.op("acknowledge")

    def wrong_queue(self):
        """A queue outside of memory, and the right one again."""
        if self.random.random() < 0.5:
            self.control(clear=CMDQEN)
            self.op("write", 8, CMDQ_BASE, BEYOND | CMDQ_LG2)
            self.op("requeue")
            self.control(CMDQEN)
            self.op("put", NOTHING, 0)
            self.op("tail")
            self.op("read", 4, CMDQ_CONS)
            self.control(clear=CMDQEN)
            self.op("write", 8, CMDQ_BASE, CMDQ | CMDQ_LG2)
            self.op("requeue")
            self.op("acknowledge")
            self.control(CMDQEN)
            self.issue((0x30, 0))
            return
        device = self.random.randrange(2)
        if not self.entries[device]:
            return
        self.control(clear=EVENTQEN)
        self.op("dma", device, self.NOWHERE, 4, DATA)
        self.op("write", 8, EVENTQ_BASE, BEYOND | EVENTQ_LG2)
        self.control(EVENTQEN)
        self.op("dma_only", device, self.NOWHERE, 4, DATA)
        self.op("acknowledge")
        self.control(clear=EVENTQEN)
        self.op("write", 8, EVENTQ_BASE, EVENTQ | EVENTQ_LG2)
        self.op("write", 4, EVENTQ_PROD, 0)
        self.op("write", 4, EVENTQ_CONS, 0)
        self.control(EVENTQEN)


def place(steps):
    """Commands get their places in the queue: "put" appends one, "mend" changes the last, "tail" moves PROD, "requeue" begins
    with an empty queue at 0."""
    tail, size, placed = 0, 1 << CMDQ_LG2, []
    for step in steps:
        placed.append([])
        for op in step:
            if op[0] == "requeue":
                tail = 0
                placed[-1] += [("write", 4, CMDQ_PROD, 0), ("write", 4, CMDQ_CONS, 0)]
                continue
            if op[0] == "put":
                op = ("store", CMDQ + tail % size * 16, *op[1:])
                tail = (tail + 1) % (2 * size)
            elif op[0] == "mend":
                op = ("store", CMDQ + (tail - 1) % size * 16, *op[1:])
            elif op[0] == "tail":
                op = ("write", 4, CMDQ_PROD, tail)
            placed[-1].append(op)
    return placed
