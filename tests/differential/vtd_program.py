# SPDX-License-Identifier: BSD-3-Clause
#
# Random guest programs. A program is a list of steps, a step a list of operations (target.py) that belong together:
# a change of tables and the invalidations which it calls for (VT-d 4.1 s6.5.3.3, with caching mode) are one step, so
# that a program without some of its steps is still one that keeps the rules.
#
# There are three kinds: "first" has first-stage tables and pass-through in scalable mode, and pass-through in legacy
# mode; "second" has second-stage tables in both modes; "legacy" has them in legacy mode, and pass-through in both. Bad
# entries, addresses and descriptors are among all of it.
import random

ROOTS = (0x100000, 0x101000)            # scalable mode, legacy mode
CONTEXTS = (0x110000, 0x111000)
DIRECTORIES = 0x112000                  # one page for each device
PASID_TABLES = 0x118000
QUEUE, QUEUE_LG2, STATUS = 0x120000, 2, 0x130000
TABLES, TABLES_END = 0x200000, 0x400000
DATA, DATA_PAGES = 0x1000000, 64
LARGE = 0x2000000                       # where large pages lead: 2 MiB each, DATA-like
BEYOND = 0x10000000                     # no memory
DOMAINS = 4
TE, SRTP, QIE = 1 << 31, 1 << 30, 1 << 26
IOVAS = (0, 0x10000, 0x7ffff000, 0x100000000, 0x7fffffe00000, 0x12345600000)
REGISTERS = ((4, 0x00), (8, 0x08), (8, 0x10), (4, 0x1c), (8, 0x20), (4, 0x34), (4, 0x38), (4, 0x3c), (4, 0x40),
             (4, 0x44), (8, 0x80), (8, 0x88), (8, 0x90), (4, 0x9c), (4, 0xa0), (4, 0xa4), (4, 0xa8), (4, 0xac),
             (4, 0x18), (4, 0x04), (4, 0x0c), (8, 0x60))


class Domain:
    def __init__(self, did, top, levels):
        self.did, self.top, self.levels = did, top, levels
        self.pages = {}         # iova -> (gpa, lg2)


class Generator:
    def __init__(self, seed, mode, steps):
        self.random = random.Random(f"{mode} {seed}")
        self.mode, self.steps, self.step = mode, [], []
        self.memory = {}        # what was stored
        self.next_table, self.seq = TABLES, 0
        self.gcmd = 0
        self.legacy = mode == "legacy"
        self.domains = [Domain(n + 1, self.table(), 4) for n in range(DOMAINS)]
        self.entries = [None, None]     # the domain each device is on, in the mode that is on
        self.dids = [0, 0]              # of its PASID-table entry
        self.begin()
        while len(self.steps) < steps:
            self.random.choices((self.map, self.unmap, self.dma, self.attach, self.damage, self.context, self.registers,
                                 self.queue_error, self.switch), (20, 8, 50, 8, 4, 3, 4, 2, 1))[0]()
            self.done()
        self.step += [("memory", TABLES, self.next_table - TABLES), ("memory", DATA, 0x1000 * DATA_PAGES)]
        self.done()

    # --- pieces

    def done(self):
        if self.step:
            self.steps.append(self.step)
        self.step = []

    def op(self, *op):
        self.step.append(op)

    def table(self):
        assert self.next_table < TABLES_END
        self.next_table += 0x1000
        return self.next_table - 0x1000

    def store(self, address, *words):
        self.op("store", address, *words)
        for n, word in enumerate(words):
            self.memory[address + 8 * n] = word

    def command(self, set_bits=0, clear=0):
        self.gcmd = (self.gcmd | set_bits) & ~clear
        self.op("write", 4, 0x18, self.gcmd)
        self.gcmd &= ~SRTP
        self.op("read", 4, 0x1c)

    def put(self, *words):
        self.op("put", *words, *(0,) * (4 - len(words)))

    def invalidate(self, *descriptors):
        for words in descriptors:
            self.put(*words)
        self.seq += 1
        self.put(5 | 1 << 5 | self.seq << 32, STATUS)
        self.op("tail")
        self.op("memory", STATUS, 4)
        self.op("read", 8, 0x80)
        self.op("read", 4, 0x34)

    def begin(self):
        for device in range(2):
            self.store(DIRECTORIES + device * 0x1000, PASID_TABLES + device * 0x1000 | 1)
        self.store(ROOTS[0], CONTEXTS[0] | 1)
        self.store(ROOTS[1], CONTEXTS[1] | 1, 0)
        for device in range(2):
            self.store(CONTEXTS[0] + (device + 1) * 8 * 32, DIRECTORIES + device * 0x1000 | 1, 0, 0, 0)
        self.done()
        parts = [self.queue_on, self.translation_on]
        self.random.shuffle(parts)
        self.set_root()
        for part in parts:
            part()
            self.done()
        self.attach_all()

    def attach_all(self):
        for device in range(2):
            self.attach(device)
            self.done()

    def queue_on(self):
        self.op("write", 8, 0x90, QUEUE | 1 << 11 | QUEUE_LG2)
        self.command(QIE)

    def translation_on(self):
        self.command(TE)

    def set_root(self):
        self.op("write", 8, 0x20, ROOTS[self.legacy] | (0 if self.legacy else 1 << 10))
        self.command(SRTP)

    # --- tables

    def slot(self, domain, iova, level, bits):
        """The address of iova's entry at this level; tables above are made, unless a large page is in the way."""
        at = domain.top
        for above in range(domain.levels, level, -1):
            slot = at + (iova >> 9 * above + 3 & 511) * 8
            entry = self.memory.get(slot, 0)
            if entry & 0x80 and above in (2, 3):
                return None
            if not entry & 1:
                self.store(slot, self.table() | bits)
                entry = self.memory[slot]
            at = entry & 0xffffffffff000
            if not TABLES <= at < TABLES_END:
                return None
        return at + (iova >> 9 * level + 3 & 511) * 8

    def flush(self, domain, iova, pages=1):
        """One of the ways to have a change of these pages seen."""
        ways = [[(2 | 1 << 4, 0)], [(2 | 2 << 4 | domain.did << 16, 0)]]
        am = max(pages - 1, 0).bit_length() + self.random.choice((0, 0, 1, 3))
        address = iova & ~((0x1000 << am) - 1) & 0xffffffffffff
        if self.mode == "first":
            ways += [[(6 | 2 << 4 | domain.did << 16, 0)],
                     [(6 | 3 << 4 | domain.did << 16, address | am | self.random.choice((0, 64)))]]
        else:
            ways += [[(2 | 3 << 4 | domain.did << 16, address | am)]]
        self.invalidate(*self.random.choice(ways))

    def bits(self):
        """Of a leaf: mostly what allows everything."""
        odd = self.random.random() < 0.12
        if self.mode == "first":
            return self.random.choice((1, 3, 5, 0x65)) if odd else self.random.choice((7, 7, 0x67, 0x407))
        return self.random.choice((1, 0)) if odd else 3

    def map(self):
        domain = self.random.choice(self.domains)
        iova = self.random.choice(IOVAS) + 0x1000 * self.random.randrange(8)
        if domain.pages and self.random.random() < 0.3:         # the same page elsewhere
            iova = self.random.choice(list(domain.pages))
        gpa = DATA + 0x1000 * self.random.randrange(DATA_PAGES)
        level = 2 if self.random.random() < 0.1 else 1
        if level == 2:
            iova, gpa = iova & ~0x1fffff, LARGE + 0x200000 * self.random.randrange(4)
        slot = self.slot(domain, iova, level, 7 if self.mode == "first" else 3)
        if slot is None or (level == 2 and self.memory.get(slot, 0) and not self.memory[slot] & 0x80):
            return
        self.touch(domain, iova)
        self.store(slot, gpa | self.bits() | (0x80 if level == 2 else 0))
        domain.pages[iova] = (gpa, level)
        self.flush(domain, iova, 512 if level == 2 else 1)
        self.touch(domain, iova)

    def unmap(self):
        domain = self.random.choice(self.domains)
        if not domain.pages:
            return
        iova = self.random.choice(list(domain.pages))
        _, level = domain.pages[iova]
        slot = self.slot(domain, iova, level, 7)
        self.touch(domain, iova)
        del domain.pages[iova]
        if slot is not None:
            self.store(slot, 0)
            self.flush(domain, iova, 512 if level == 2 else 1)
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
        _, level = domain.pages[iova]
        at = self.random.randrange(level, domain.levels + 1)
        slot = self.slot(domain, iova, at, 7)
        if slot is None or not self.memory.get(slot):
            return
        good = self.memory[slot]
        bad = self.random.choice((good | 1 << 50, BEYOND | good & 0xfff, 0, good & ~2, good & ~4,
                                  good | (0x80 if at >= 4 else 1 << 51), 0xfee00000 | good & 0xfff))
        device = self.on(domain)
        self.op("store", slot, bad)
        self.flush(domain, iova) if at == 1 else self.invalidate((2 | 1 << 4, 0))
        self.probe(device, domain, iova)
        self.op("store", slot, good)
        self.invalidate((2 | 1 << 4, 0))
        self.probe(device, domain, iova)

    def on(self, domain):
        """A device that is on the domain, or any."""
        return next((n for n, d in enumerate(self.entries) if d is domain), self.random.randrange(2))

    # --- what devices are attached to

    def attach(self, device=None):
        device = self.random.randrange(2) if device is None else device
        domain = self.random.choice(self.domains + [None])
        if self.legacy:
            self.attach_legacy(device, domain)
            return
        if self.mode == "legacy":
            domain = None
        kind = 1 if self.mode == "first" else 2
        word0 = 1 | (kind << 6 if domain else self.random.choice((4, 4, 4, 0, 5, 7)) << 6)
        word0 |= 2 << 2 | (domain.top if domain and kind == 2 else 0)
        words = [word0, domain.did if domain else 9, domain.top if domain and kind == 1 else 0]
        odd = self.random.random()
        if odd < 0.05:
            words = [0, 0, 0]
        elif odd < 0.1:
            words[0] |= 2           # FPD
        elif odd < 0.13 and domain:
            at = 0 if kind == 2 else 2
            words[at], words[1] = words[at] & 0xfff | BEYOND, 20 + device   # other tables, so another domain id
        self.store(PASID_TABLES + device * 0x1000, *words, 0, 0, 0, 0, 0)
        self.entries[device] = domain
        self.entry_changed(device, words[1])

    def attach_legacy(self, device, domain):
        word0 = domain.top | 1 if domain and self.mode != "first" else 1 | 2 << 2
        word1 = 2 | (domain.did if domain else 9) << 8
        odd = self.random.random()
        if odd < 0.06:
            word0, word1 = 0, 0
        elif odd < 0.1:
            word0 |= 2
        elif odd < 0.14:
            word1 = word1 & ~7 | self.random.choice((0, 3, 5))
        elif odd < 0.17:
            word0 |= 1 << self.random.randrange(4, 12)
        self.entries[device] = domain if self.mode != "first" else None
        self.store(CONTEXTS[1] + (device + 1) * 8 * 16, word0, word1)
        self.invalidate((1 | 1 << 4, 0), (2 | 1 << 4, 0))

    def entry_changed(self, device, did):
        """s6.5.3.3: the PASID cache, then the IOTLB, by the domain id that was. The context cache is for QEMU, which
        may else not see that a device is no longer on pass-through (docs/differences.md)."""
        old, self.dids[device] = self.dids[device], did
        self.invalidate((1 | 3 << 4 | (device + 1) << 35, 0),
                        self.random.choice([(7 | 3 << 4, 0), (7 | old << 16, 0), (7 | 1 << 4 | old << 16, 0)]),
                        self.random.choice([(2 | 1 << 4, 0), (2 | 2 << 4 | old << 16, 0)]))

    def context(self):
        """A root, context or PASID-directory entry goes or is wrong, or the root table does, and comes back."""
        device = self.random.randrange(2)
        if self.random.random() < 0.2:
            self.op("write", 8, 0x20, BEYOND | (0 if self.legacy else 1 << 10))
            self.command(SRTP)
            self.probe(device, None, 0x10000)
            self.set_root()
            return
        slot, good = self.random.choice((
            (ROOTS[0], CONTEXTS[0] | 1), (DIRECTORIES + device * 0x1000, PASID_TABLES + device * 0x1000 | 1),
            (CONTEXTS[0] + (device + 1) * 8 * 32, DIRECTORIES + device * 0x1000 | 1)))
        if self.legacy:
            slot, good = ROOTS[1], CONTEXTS[1] | 1
        everything = ((1 | 1 << 4, 0), (7 | 3 << 4, 0), (2 | 1 << 4, 0))
        reserved = 0 if DIRECTORIES <= slot < PASID_TABLES else good | 1 << self.random.randrange(5, 9)
        self.op("store", slot, self.random.choice((0, BEYOND | 1, reserved)))
        self.invalidate(*everything)
        self.probe(device, None, 0x10000)
        self.op("store", slot, good)
        self.invalidate(*everything)

    def switch(self):
        """Translation off and on, or another root table, perhaps of the other mode."""
        if self.random.random() < 0.4:
            self.command(clear=TE)
            self.probe(self.random.randrange(2), None, DATA)
            self.command(TE)
            return
        self.legacy = self.random.random() < (0.8 if self.mode == "legacy" else 0.4)
        self.entries, self.dids = [None, None], [0, 0]
        for device in range(2):
            self.store(PASID_TABLES + device * 0x1000, *[0] * 8)
            self.store(CONTEXTS[1] + (device + 1) * 8 * 16, 0, 0)
        self.set_root()
        self.invalidate((1 | 1 << 4, 0), (7 | 3 << 4, 0), (2 | 1 << 4, 0))
        self.done()
        self.attach_all()

    # --- what is looked at

    def probe(self, device, domain, iova):
        gpa = DATA + iova % 0x1000
        if domain and iova in domain.pages:
            gpa = domain.pages[iova][0]
        elif not domain and DATA <= iova < DATA + 0x1000 * DATA_PAGES:
            gpa = iova
        offset = self.random.choice((0, 0, 4, 0xff8))
        self.op("dma", device, iova + offset, self.random.choice((4, 8)), gpa + offset)

    def dma(self):
        device = self.random.randrange(2)
        domain = self.entries[device]
        for _ in range(self.random.randrange(1, 4)):
            if domain and domain.pages and self.random.random() < 0.8:
                self.probe(device, domain, self.random.choice(list(domain.pages)))
            else:
                self.probe(device, None, self.random.choice(
                    (DATA + 0x1000 * self.random.randrange(DATA_PAGES), self.random.choice(IOVAS),
                     1 << 47, 1 << 48, 0xffff800000000000, 0x7ffffffff000)))

    def registers(self):
        for _ in range(self.random.randrange(1, 4)):
            at = self.random.choice((0x3c, 0x40, 0x44, 0xa4, 0xa8, 0xac, 0x9c, 0x1c, 0x80, 0x04, 0x08))
            value = self.random.getrandbits(32)
            if at in (0x40, 0xa8):
                value = 0xfee00000 | value & 0xfffff
            elif at in (0x44, 0xac):
                value = 0
            self.op("write", 4, at, value)
        for size, at in REGISTERS:
            self.op("read", size, at)

    def queue_error(self):
        """A descriptor that is refused: the queue stops there; the guest mends it, and clears the error."""
        self.put(*self.random.choice(((0xf, 0), (0, 0), (2 | 3 << 4 | 1 << 16, 63), (1, 0), (7 | 2 << 4, 0),
                                      (6 | 1 << 4, 0), (5 | 1 << 20, 0), (2 | 1 << 4 | 1 << 40, 0))))
        self.op("tail")
        self.op("read", 8, 0x80)
        self.op("read", 4, 0x34)
        self.op("mend", 2 | 1 << 4, 0, 0, 0)
        self.op("write", 4, 0x34, 1 << 4)
        self.op("tail")
        self.op("read", 8, 0x80)
        self.op("read", 4, 0x34)


def generate(seed, mode, steps):
    return Generator(seed, mode, steps).steps


def place(steps):
    """Descriptors get their places in the queue: "put" appends one, "mend" changes the last, "tail" is the doorbell."""
    tail, placed = 0, []
    for step in steps:
        placed.append([])
        for op in step:
            if op[0] == "put":
                op = ("store", QUEUE + tail, *op[1:])
                tail = (tail + 32) % (0x1000 << QUEUE_LG2)
            elif op[0] == "mend":
                op = ("store", QUEUE + (tail - 32) % (0x1000 << QUEUE_LG2), *op[1:])
            elif op[0] == "tail":
                op = ("write", 8, 0x88, tail)
            placed[-1].append(op)
    return placed
