# SPDX-License-Identifier: BSD-3-Clause
#
# Random guest programs for an SMMUv3 of two stages: those of smmuv3_program.py, with VMs beside. A VM is a stage 2: streams go by
# it alone, or by a context descriptor whose tables are in it. It maps the tables and descriptors where they are, not to be
# written, and pages of data anywhere; none is to be written only, as Nestor's testdev reads what it wrote.
import random  # noqa: F401

import smmuv3_program as plain
from smmuv3_program import AF, BEYOND, BLOCK, BYPASS, CDS, DATA, DATA_PAGES, DATA_STRIDE, LARGE, SIDS, STAGE1, TABLE

STAGE2, NESTED = 6, 7
READ, WRITE, NORMAL = 1 << 6, 1 << 7, 0xf << 2
S2AA64, S2ENDI, S2AFFD, S2PTW, S2S, S2R = (1 << bit for bit in (51, 52, 53, 54, 57, 58))
TG = {12: 0, 14: 2, 16: 1}
# Granule, top level and S2T0SZ: what reaches all of memory, in one table. QEMU does not find its way beyond the first of several
# (docs/differences.md).
SHAPES = ((12, 0, 20), (12, 0, 24), (12, 1, 25), (12, 1, 33), (14, 1, 20), (14, 1, 27), (14, 2, 28), (14, 2, 33),
          (16, 1, 20), (16, 1, 21), (16, 2, 22), (16, 2, 33))


class Machine(plain.Domain):
    """A stage 2. As a domain its pages are intermediate addresses."""

    def __init__(self, vmid, shape):
        granule, start, tsz = shape
        super().__init__(0, None, granule, tsz, False, vmid)
        self.vmid, self.start = vmid, start
        self.options, self.backed, self.whole = 0, set(), set()     # pages of tables; those that have all of one

    def stage2_words(self):
        level = {12: (2, 1, 0), 14: (3, 2, 1), 16: (3, 2, 1)}[self.granule].index(self.start)
        # S2PS as the OAS
        return [self.vmid | self.tsz << 32 | level << 38 | TG[self.granule] << 46 | 4 << 48 | S2AA64 | self.options, self.top]


class Generator(plain.Generator):
    NOWHERE = 1 << 43       # within the OAS

    def make_domains(self):
        self.machines = [Machine(3 * n + 1, self.random.choice(SHAPES)) for n in range(3)]
        for vm in self.machines:
            vm.options = self.random.choice((0, S2PTW)) | self.random.getrandbits(6) << 40 | \
                (S2R if self.random.random() < 0.9 else 0) | (S2AFFD if self.random.random() < 0.2 else 0)
            vm.top = self.table(vm)
            self.back(vm, CDS, 0x1000)
            for n in range(DATA_PAGES):
                if self.random.random() < 0.6:
                    gpa = DATA + self.random.randrange(DATA_PAGES) * DATA_STRIDE
                    self.put_page(vm, DATA + n * DATA_STRIDE, gpa)
                    vm.pages[DATA + n * DATA_STRIDE] = (gpa, vm.granule)
            if self.random.random() < 0.7:
                self.put_page(vm, LARGE, LARGE)
                vm.pages[LARGE] = (LARGE, vm.granule)
        # two in the first with the ASIDs of two in the second, and some that no VM has; nothing is nested in the third
        for n, vm in enumerate((0, 0, 1, 1, None, None)):
            domain = self.make_domain(n % 2 + 1, n, self.machines[vm].vmid if vm is not None else self.random.choice((0, 1, 9)))
            if vm is None:
                domain.asid += 2
                domain.tag += 2 << 48
            domain.machine = self.machines[vm] if vm is not None else None
            domain.top = self.table(domain)
            self.domains.append(domain)
        for vm in self.machines:
            vm.machine = None
        self.domains += self.machines

    def kinds(self):
        return super().kinds() | {self.damage_stage2: 6, self.damage_machine: 8}

    def nested(self, vm):
        return [d for d in self.domains if d.machine is vm]

    # --- pieces

    def put_page(self, vm, ipa, gpa, rights=READ | WRITE):
        self.store(self.slot(vm, ipa, 3), gpa | AF | NORMAL | rights | TABLE)

    def back(self, vm, address, size):
        """Tables of stage 1, and descriptors: where they are, and devices do not write there."""
        step = 1 << vm.granule
        if size <= step:        # of others QEMU looks at the first page only
            vm.whole.add(address & -step)
        for at in range(address & -step, address + size, step):
            if at not in vm.backed:
                vm.backed.add(at)
                self.put_page(vm, at, at, READ)

    def table(self, domain):
        at = super().table(domain)
        if not isinstance(domain, Machine) and domain.machine:
            self.back(domain.machine, at, 1 << domain.granule)
        return at

    def make_domain(self, asid, n, vmid=0):
        domain = super().make_domain(asid, n, vmid)
        domain.machine = None
        return domain

    def flush(self, domain, iova, lg2):
        if not isinstance(domain, Machine):
            super().flush(domain, iova, lg2)
            return
        vm, tg = domain.vm, (domain.granule - 10) // 2
        address, granules = iova & ~((1 << lg2) - 1), 1 << lg2 - domain.granule
        ways = [(0x2a | vm, address), (0x2a | vm, address | 1)]
        if granules == 1:
            ways += [(0x2a | vm, address | tg << 10 | 3 << 8), (0x2a | vm | 1 << 12, address | tg << 10)]
        else:
            ways += [(0x2a | vm, address | tg << 10 | 2 << 8), (0x2a | vm | (granules.bit_length() - 1) << 20, address | tg << 10)]
        self.flush_ipa(domain, self.random.choice(ways))

    def flush_ipa(self, vm, command):
        """What two stages have led to is of stage 1: that goes too, if there can be any."""
        if self.random.random() < 0.25:
            self.issue(self.random.choice(((0x28 | vm.vm, 0), (0x30, 0))))
        elif self.nested(vm):
            self.issue(command, (plain.SYNC, 0), (0x10 | vm.vm, 0))
        else:
            self.issue(command)

    def flush_several(self, domain, first, num, scale):
        if not isinstance(domain, Machine):
            super().flush_several(domain, first, num, scale)
            return
        self.flush_ipa(domain, (0x2a | domain.vm | num << 12 | scale << 20, first | (domain.granule - 10) // 2 << 10))

    def flush_all(self, domain):
        if isinstance(domain, Machine):
            self.issue((0x28 | domain.vm, 0))
        else:
            super().flush_all(domain)

    def bits(self, domain):
        if not isinstance(domain, Machine):
            return super().bits(domain)
        odd = self.random.random() < 0.15
        more = self.random.choice((0, 3 << 8, 1 << 54, 1 << 55, 1 << 51))
        return NORMAL | (self.random.choice((AF | READ, AF, READ | WRITE)) if odd else AF | READ | WRITE | more)

    def iova(self, domain):
        if not isinstance(domain, Machine):
            return super().iova(domain)
        if self.random.random() < 0.2:
            return LARGE
        return DATA + DATA_STRIDE * self.random.randrange(DATA_PAGES)

    def touch(self, domain, iova):
        super().touch(domain, iova)
        if not isinstance(domain, Machine):
            return
        for device, on in enumerate(self.entries):
            if on in self.nested(domain):
                through = [va for va, (ipa, _) in on.pages.items() if ipa == iova]
                if through:
                    self.probe(device, on, self.random.choice(through))

    # --- configuration

    def stream_changed(self, device):
        return super().stream_changed(device)[0], (0x30, 0)

    def words(self, domain):
        if domain is None:
            return [1 | BYPASS << 1, 1 << 44, 0, 0]
        if isinstance(domain, Machine):
            return [1 | STAGE2 << 1, 1 << 44, *domain.stage2_words()]
        if domain.machine:
            return [1 | NESTED << 1 | domain.at, 1 << 44, *domain.machine.stage2_words()]
        return [1 | STAGE1 << 1 | domain.at, 1 << 44, domain.vm >> 32, 0]

    def attach(self, device=None):
        device = self.random.randrange(2) if device is None else device
        domain = self.random.choice(self.domains + [None])
        words, odd = self.words(domain), self.random.random()
        stage1 = domain and not isinstance(domain, Machine)
        if odd < 0.04:
            words = [0, 0, 0, 0]
        elif odd < 0.08:
            words[0] &= ~0xe
        elif odd < 0.12 and stage1:
            words[0] = words[0] & 0x3f | BEYOND
        elif odd < 0.15 and stage1:
            words[1] |= 1 << 27
        else:
            odd = 1
        self.entries[device] = domain if odd == 1 else None
        self.store(self.ste(SIDS[device]), *words, 0, 0, 0, 0)
        self.issue(*self.stream_changed(device))
        if odd < 1:
            self.probe(device, domain, self.random.choice(list(domain.pages) or [0]) if domain else DATA)

    def damage_context(self):
        self.domains = [d for d in self.domains if not isinstance(d, Machine)]
        super().damage_context()
        self.domains += self.machines

    def damage(self):
        self.domains = [d for d in self.domains if not isinstance(d, Machine)]
        super().damage()
        self.domains += self.machines

    def other(self, domain, iova):
        """QEMU has the tables of stage 1 translated before it looks at the address."""
        return iova if domain.machine else super().other(domain, iova)

    def bad_tables(self, domain, good, beyond):
        return (0, beyond, good & ~1) if domain.machine else super().bad_tables(domain, good, beyond)

    def users(self, vm):
        """Devices whose accesses go through it."""
        return [n for n, d in enumerate(self.entries) if d is vm or (d and d.machine is vm)]

    def damage_machine(self):
        """Something that is wrong in a stage 2, be it of data, of tables or of descriptors; and right again."""
        vms = [vm for vm in self.machines if self.users(vm)]
        if not vms:
            return
        vm = self.random.choice(vms)
        # faults of tables are stage 1's for QEMU: CD.R says whether they are told
        tables = vm.options & S2R and (self.random.random() < 0.5 or not vm.pages)
        if not tables and not vm.pages:
            return
        ipa = self.random.choice(sorted(vm.whole if tables else vm.pages))
        last = 3 if ipa in vm.whole or vm.pages[ipa][1] == vm.granule else 2
        level = self.random.choice((last, last, self.random.randrange(vm.start, last + 1)))
        slot = self.slot(vm, ipa, level)
        if slot is None or not self.memory.get(slot):
            return
        good = self.memory[slot]
        beyond = good & ~0xffffffff0000 | BEYOND
        bad = [0, beyond, good & ~1]
        if level == last or vm.options & S2R:           # QEMU takes a table for an abort then, which is always told
            bad.append(good | 1 << 46)
        if level == last:
            bad += [good & ~AF, good & ~WRITE, good & ~(READ | WRITE), good & ~2]
        for entry in (self.random.choice(bad), good):
            self.op("store", slot, entry)
            self.issue((4, 31), (0x28 | vm.vm, 0))      # descriptors too may be elsewhere now
            for device in self.users(vm):
                domain = self.entries[device]
                through = [va for va, (to, _) in domain.pages.items() if to == ipa] if domain is not vm else [ipa] * (ipa in vm.pages)
                rest = list(domain.pages) or [DATA if domain is vm else domain.base]
                self.probe(device, domain, self.random.choice(through or rest))

    def damage_stage2(self):
        """Words of a stage 2 that are not legal, and then right again."""
        devices = [n for n, d in enumerate(self.entries) if d and (d.machine or d in self.machines)]
        if not devices:
            return
        device = self.random.choice(devices)
        domain, at = self.entries[device], self.ste(SIDS[device])
        good = self.words(domain)
        word, table = good[2:]
        tsz, sl0 = word & ~(0x3f << 32), word & ~(3 << 38)
        word, table = self.random.choice((
            (word | 3 << 46, table), (tsz | 45 << 32, table), (tsz | 40 << 32, table), (tsz | 10 << 32, table), (tsz | 19 << 32, table),
            (sl0 | 3 << 38, table), (word | S2ENDI, table), (word | S2S, table), (word, table | 1 << 46), (word, table | 1 << 44),
            ((domain.machine or domain).vmid | 20 << 32 | 4 << 48 | S2AA64, table)))
        for words in ((*good[:2], word, table), good):
            self.store(at, *words, 0, 0, 0, 0)
            self.issue(*self.stream_changed(device))
            self.probe(device, domain, self.random.choice(list(domain.pages) or [DATA if domain in self.machines else domain.base]))

    def bad_commands(self):
        return [c for c in super().bad_commands() if c[0] not in (0x28, 0x2a)]

    # --- what is looked at

    def probe(self, device, domain, iova):
        if self.entries[device] is None and iova < DATA:
            iova = DATA
        offset = self.random.choice((0, 0, 4, 0xff8))
        gpa, where = DATA + iova % 0x1000, offset
        if domain and iova in domain.pages:
            gpa, lg2 = domain.pages[iova]
            if lg2 != domain.granule:
                offset += LARGE - gpa
                gpa, where = LARGE, where
            if domain.machine:
                vm = domain.machine
                gpa = vm.pages[gpa][0] if gpa in vm.pages else gpa
                gpa = max(gpa, LARGE) if gpa < DATA else gpa
        elif not domain and DATA <= iova < DATA + DATA_STRIDE * DATA_PAGES:
            gpa = iova
        self.op("dma", device, iova + offset, 4, gpa + where)
