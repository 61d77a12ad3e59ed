# SPDX-License-Identifier: BSD-3-Clause
#
# What a guest's kernel would have of an SMMUv3 in "nestor qtest": a linear stream table, a context and tables of 4 KiB
# pages (39 bits of input) for each device, queues. All words are written a step at a time, so that a test can leave
# out, or reorder, exactly one.
#
# Layouts: SMMUv3 IHI0070G.b s5.2 Stream Table Entry, s5.4 Context Descriptor, s4 Commands, s7.3 Event records, s6.3
# Register formats.
import struct

RAM = 0x40000000
STRTAB, CMDQ, EVENTQ, TABLES = RAM + 0x10000, RAM + 0x20000, RAM + 0x30000, RAM + 0x100000
STRTAB_LG2, CMDQ_LG2, EVENTQ_LG2 = 6, 8, 9
DATA = RAM + 0x1000000
UNIT, ECAM, LOG = 0x09050000, 0x4010000000, 0x0b000000
CR0, CR0ACK, CR2, GBPA, GERROR = 0x20, 0x24, 0x2c, 0x44, 0x60
STRTAB_BASE, STRTAB_CFG, CMDQ_BASE, CMDQ_PROD, CMDQ_CONS = 0x80, 0x88, 0x90, 0x98, 0x9c
EVENTQ_BASE, EVENTQ_PROD, EVENTQ_CONS = 0xa0, 0x100a8, 0x100ac
SMMUEN, EVENTQEN, CMDQEN, UPDATE, ABORT = 1, 4, 8, 1 << 31, 1 << 20
S1, BYPASS, STE_ABORT = 5, 4, 0
CFGI_STE, CFGI_CD, TLBI_NH_ALL, TLBI_NH_ASID, TLBI_NH_VA, TLBI_NSNH_ALL, SYNC = 0x03, 0x05, 0x10, 0x11, 0x12, 0x30, 0x46
C_BAD_CD, F_TRANSLATION, F_PERMISSION = 0x0a, 0x10, 0x13
AF, NG, USER, READ_ONLY, INNER = 1 << 10, 1 << 11, 1 << 6, 1 << 7, 3 << 8
LEAF = 3 | AF | NG | USER | INNER
MSI_WINDOW = 0x8000000


class Context:
    """A context descriptor and its tables."""

    def __init__(self, guest, asid):
        self.guest, self.asid, self.at = guest, asid, guest.page()
        self.tables = {}  # (level, index of what it is for) -> address
        self.top = guest.page()
        self.write()

    def write(self, top=None, clear=0):
        # V, AA64, R, A, ASET, T0SZ 25, cached walks, EPD1, an IPS of 44 bits
        word = 25 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 30 | 1 << 31 | 4 << 32 | 1 << 41 | 7 << 45 | self.asid << 48
        self.guest.words(self.at, word & ~clear, top or self.top, 0, 0xff, 0, 0, 0, 0)

    def slot(self, iova):
        table = self.top
        for shift in (30, 21):
            key = shift, iova >> shift
            if key not in self.tables:
                self.tables[key] = self.guest.page()
                self.guest.words(table + (iova >> shift & 511) * 8, self.tables[key] | 3)
            table = self.tables[key]
        return table + (iova >> 12 & 511) * 8

    def map(self, iova, gpa, bits=LEAF):
        """Not yet told to the unit."""
        self.guest.words(self.slot(iova), gpa | bits)

    def unmap(self, iova):
        self.guest.words(self.slot(iova), 0)


class Guest:
    ECAM = ECAM

    def __init__(self, qtest):
        self.qtest, self.next_page, self.prod = qtest, TABLES, 0
        self.store(CMDQ_BASE, CMDQ | CMDQ_LG2, 8)
        self.store(EVENTQ_BASE, EVENTQ | EVENTQ_LG2, 8)
        self.store(STRTAB_BASE, STRTAB, 8)
        self.store(STRTAB_CFG, STRTAB_LG2)
        self.store(CR2, 2)  # RECINVSID
        self.enable(CMDQEN | EVENTQEN)

    def page(self):
        self.next_page += 0x1000
        return self.next_page - 0x1000

    def words(self, at, *words):
        self.qtest.put(at, struct.pack(f"<{len(words)}Q", *words))

    # --- the unit

    def load(self, register, size=4):
        return self.qtest.read(size, UNIT + register)

    def store(self, register, value, size=4):
        self.qtest.write(size, UNIT + register, value)

    def enable(self, bits):
        self.store(CR0, bits)
        assert self.load(CR0ACK) == bits

    def entry(self, sid, config, context=None):
        """A stream table entry, as Linux has them; not yet told to the unit."""
        self.words(STRTAB + 64 * sid, 1 | config << 1 | (context.at if context else 0), 0xd6 | 1 << 44, 0, 0, 0, 0, 0, 0)

    def issue(self, *commands):
        """These, and a CMD_SYNC; they are done then."""
        for command in (*commands, (SYNC, 0)):
            self.words(CMDQ + self.prod % (1 << CMDQ_LG2) * 16, *command)
            self.prod = (self.prod + 1) % (2 << CMDQ_LG2)
        self.store(CMDQ_PROD, self.prod)
        assert self.load(CMDQ_CONS) == self.prod, hex(self.load(CMDQ_CONS))
        assert self.load(GERROR) == 0

    def attach(self, sid, config, context=None):
        self.entry(sid, config, context)
        self.issue((CFGI_STE | sid << 32, 1))

    def flush(self, context, iova):
        self.issue((TLBI_NH_VA | context.asid << 48, iova | 1))

    def events(self):
        """[(type, SID, address, whether it was a read)] of what is in the queue; all is taken from it."""
        prod, cons = self.load(EVENTQ_PROD), self.load(EVENTQ_CONS)
        assert not (prod ^ cons) >> 31
        events = []
        for n in range((prod - cons) % (2 << EVENTQ_LG2)):
            raw = self.qtest.get(EVENTQ + (cons + n) % (1 << EVENTQ_LG2) * 32, 32)
            words = struct.unpack("<4Q", raw)
            events.append((words[0] & 0xff, words[0] >> 32, words[2], bool(words[1] >> 35 & 1)))
        self.store(EVENTQ_CONS, prod)
        return events

    # --- interrupts

    def messages(self):
        """[(address, data)] of the log, which is emptied."""
        count = self.qtest.read(4, LOG)
        found = [struct.unpack("<QII", self.qtest.get(LOG + 0x10 + 16 * n, 16))[:2] for n in range(count)]
        self.qtest.write(4, LOG, 0)
        return [m for m in found if m[0]]  # without the unit's own wires
