# SPDX-License-Identifier: BSD-3-Clause
#
# What a guest's kernel would have of a VT-d unit in "nestor qtest": a root and a context table, for each device a PASID
# directory with one table, first-stage tables of 4 levels, queues. All words are written a step at a time, so that a test
# can leave out, or reorder, exactly one.
#
# Layouts: VT-d 4.1 s9.1 Root Entry, s9.4 Scalable-mode Context Entry, s9.5 Scalable-mode PASID Directory Entry, s9.6
# Scalable-mode PASID Table Entry, s9.7 First-Stage Paging Entries, s9.8 Second-Stage Paging Entries, s6.5.2 Queued
# Invalidation Interface, s7.4.1 Page Request Descriptor, s11.4 Register Descriptions.
import struct

ROOT, CONTEXTS, QUEUE, STATUS, PAGE_QUEUE, TABLES = 0x10000, 0x11000, 0x20000, 0x30000, 0x40000, 0x100000
DATA = 0x1000000
UNIT, LOG = 0xfed90000, 0xfed91000
ECAP, GCMD, GSTS, RTADDR, FSTS = 0x10, 0x18, 0x1c, 0x20, 0x34
IQH, IQT, IQA, PQH, PQT, PQA, PRS = 0x80, 0x88, 0x90, 0xc0, 0xc8, 0xd0, 0xdc
TE, SRTP, QIE = 1 << 31, 1 << 30, 1 << 26
SCALABLE, LEGACY = 1 << 10, 0  # TTM
FIRST_STAGE, PASS_THROUGH = 1, 4  # PGTT
DTE, PASIDE, PRE = 1 << 2, 1 << 3, 1 << 4
READ_ONLY, WRITABLE, SECOND_WRITABLE = 5, 7, 3
SUCCESS, INVALID = 0, 1
NO_PASID = None


class Space:
    """First-stage tables, or with @bits of a second stage those; and the domain and PASID they are known by."""

    def __init__(self, guest, domain, bits=WRITABLE):
        self.guest, self.domain, self.bits, self.root = guest, domain, bits, guest.page()
        self.tables = {}  # (level, index of what it is for) -> address

    def slot(self, iova):
        table = self.root
        for shift in (39, 30, 21):
            key = shift, iova >> shift
            if key not in self.tables:
                self.tables[key] = self.guest.page()
                self.guest.words(table + (iova >> shift & 511) * 8, self.tables[key] | self.bits)
            table = self.tables[key]
        return table + (iova >> 12 & 511) * 8

    def map(self, iova, gpa, bits=None):
        """Not yet told to the unit."""
        self.guest.words(self.slot(iova), gpa | (self.bits if bits is None else bits))

    def unmap(self, iova):
        self.guest.words(self.slot(iova), 0)


class Guest:
    ECAM = 0xb0000000

    def __init__(self, qtest, mode=SCALABLE):
        self.qtest, self.mode, self.next_page, self.tail, self.waits, self.pasids = qtest, mode, TABLES, 0, 0, {}
        self.words(ROOT, CONTEXTS | 1)
        self.store(RTADDR, ROOT | mode)
        self.store(GCMD, SRTP, 4)
        self.store(IQA, QUEUE | 1 << 11)  # descriptors of 256 bits
        self.store(PQA, PAGE_QUEUE)
        self.enabled = QIE
        self.switch()

    def page(self):
        self.next_page += 0x1000
        return self.next_page - 0x1000

    def words(self, at, *words):
        self.qtest.put(at, struct.pack(f"<{len(words)}Q", *words))

    # --- the unit

    def load(self, register, size=8):
        return self.qtest.read(size, UNIT + register)

    def store(self, register, value, size=8):
        self.qtest.write(size, UNIT + register, value)

    def switch(self, translate=None):
        if translate is not None:
            self.enabled = QIE | (TE if translate else 0)
        self.store(GCMD, self.enabled, 4)
        assert self.load(GSTS, 4) & (TE | QIE) == self.enabled, hex(self.load(GSTS, 4))

    def issue(self, *descriptors):
        """These, and a wait: they are done then."""
        self.waits += 1
        for low, high in (*descriptors, (5 | 1 << 5 | self.waits << 32, STATUS)):
            self.words(QUEUE + self.tail, low, high, 0, 0)
            self.tail = (self.tail + 32) % 4096
        self.store(IQT, self.tail)
        got = struct.unpack("<I", self.qtest.get(STATUS, 4))[0]
        assert got == self.waits, (got, self.waits, hex(self.load(FSTS, 4)))
        assert self.load(FSTS, 4) & 0x70 == 0  # no error of the queue

    # --- what devices go by

    def context(self, sid, flags=PASIDE):
        """A context entry of scalable mode, and what it leads to: PASIDs 0 to 63."""
        directory, self.pasids[sid] = self.page(), self.page()
        self.words(directory, self.pasids[sid] | 1)
        self.words(CONTEXTS + 32 * (sid & 0x7f), directory | flags | 1, 0, 0, 0)
        self.issue((1 | 1 << 4, 0), (7 | 3 << 4, 0), (2 | 1 << 4, 0))

    def entry(self, sid, pasid, space, kind=FIRST_STAGE):
        """Not yet told to the unit. Requests without PASID go by that of PASID 0."""
        words = (1 | 2 << 2 | kind << 6, space.domain if space else 9, space.root if space else 0) if kind else (0, 0, 0)
        self.words(self.pasids[sid] + 64 * (pasid or 0), *words, 0, 0, 0, 0, 0)

    def tell_entry(self, pasid, domain):
        self.issue((7 | 1 << 4 | domain << 16 | (pasid or 0) << 32, 0), (6 | 2 << 4 | domain << 16 | (pasid or 0) << 32, 0))

    def attach(self, sid, pasid, space, kind=FIRST_STAGE):
        self.entry(sid, pasid, space, kind)
        self.tell_entry(pasid, space.domain if space else 9)

    def detach(self, sid, pasid, domain):
        self.entry(sid, pasid, None, 0)
        self.tell_entry(pasid, domain)

    def flush(self, space, iova, pasid=NO_PASID):
        self.issue((6 | 3 << 4 | space.domain << 16 | (pasid or 0) << 32, iova))

    def legacy_context(self, sid, space):
        self.words(CONTEXTS + 16 * sid, space.root | 1, space.domain << 8 | 2)
        self.issue((1 | 1 << 4, 0), (2 | 1 << 4, 0))

    # --- pages that devices ask for

    def page_requests(self):
        """[(sid, PASID or NO_PASID, group, address, wants to write, last of its group)], taken from the queue."""
        head, tail, found = self.load(PQH), self.load(PQT), []
        while head != tail:
            low, high = struct.unpack("<QQ", self.qtest.get(PAGE_QUEUE + head, 16))
            assert low & 0xff == 1
            found.append((low >> 16 & 0xffff, low >> 32 & 0xfffff if low & 1 << 8 else NO_PASID, high >> 3 & 0x1ff,
                          high & ~0xfff, bool(high & 2), bool(high & 4)))
            head = (head + 32) % 4096
        self.store(PQH, head)
        self.store(PRS, 1, 4)
        return found

    def respond(self, sid, pasid, group, code):
        low = 9 | code << 12 | sid << 16 | (0 if pasid is NO_PASID else 1 << 4 | pasid << 32)
        self.issue((low, group << 3))

    def faults(self):
        return self.load(FSTS, 4) & 3
