# SPDX-License-Identifier: BSD-3-Clause
#
# Invalidation descriptors of a VT-d unit: VT-d 4.1 s6.5.2 Queued Invalidation Interface. A scene is a
# machine with so many devices, each with a PASID table and a domain of its own, and so many pages in the IOTLB.
import struct

import machine
from machine import TestDevice, Wrong, place

UNIT, BAR = 0xfed90000, 0xe0000000
GCMD, GSTS, RTADDR, FSTS, IQH, IQT, IQA = 0x18, 0x1c, 0x20, 0x34, 0x80, 0x88, 0x90
TE, SRTP, QIE = 1 << 31, 1 << 30, 1 << 26
MEMORY = 256 << 20

# Where things are in memory.
ROOT, CONTEXTS, STATUS, DIRECTORIES, PASIDS = 0x100000, 0x101000, 0x108000, 0x110000, 0x200000
QUEUE, QUEUE_PAGES_LG2, BYTES = 0x400000, 7, 32
TABLES = 0x1000000
ENTRIES = (4096 << QUEUE_PAGES_LG2) // BYTES
NOT_MAPPED, NO_DOMAIN = 0x1f00000000, 0x7fff

def start(side, found, devices, options=()):
    """@side: "nestor" with its program, or "qemu" with what find_qemu() found."""
    if side == "nestor":
        return machine.Machine(side, [found, "qtest", "--memory", f"{MEMORY >> 20}M"] + ["--device", "testdev"] * devices)
    command, environment = found
    command = command + ["-nodefaults", "-no-user-config", "-display", "none", "-accel", "qtest", "-machine",
                         "q35,sata=off,smbus=off", "-m", f"{MEMORY >> 20}M", "-qtest", "stdio", "-qtest-log", "none",
                         "-device", "intel-iommu,scalable-mode=on,fsts=on"]
    return machine.Machine(side, command + machine.functions(devices) + list(options), environment)


class Scene(machine.Scene):
    TABLES, BUFFERS, ENTRIES = TABLES, 0x2000000, ENTRIES
    TABLE = PAGE = 0x67     # present, writable, user, accessed, dirty

    def __init__(self, side, found, devices, pages=0, options=()):
        self.devices, self.tail, self.sequence = devices, 0, 0
        self.machine = m = start(side, found, devices, options)
        for n in range(devices):
            slot, function = place(n)
            config = 1 << 31 | slot << 11 | function << 8
            m.tell(f"outl 0xcf8 {config | 0x10}", f"outl 0xcfc {BAR + n * machine.BAR_STRIDE}", f"outl 0xcf8 {config | 4}",
                   "outw 0xcfc 6")
        self.store_tables()
        m.store(ROOT, struct.pack("<QQ", CONTEXTS | 1, CONTEXTS + 0x1000 | 1))
        for n in range(devices):
            slot, function = place(n)
            directory, table = DIRECTORIES + 0x1000 * n, PASIDS + 0x1000 * n
            m.store(CONTEXTS + 32 * (slot << 3 | function), struct.pack("<4Q", directory | 1, 0, 0, 0))
            m.store(directory, struct.pack("<Q", table | 1))
            m.store(table, struct.pack("<8Q", 1 | 1 << 6 | 2 << 2, n + 1, TABLES, 0, 0, 0, 0, 0))
        m.write(8, UNIT + RTADDR, ROOT | 1 << 10)
        self.command(SRTP)
        m.write(8, UNIT + IQA, QUEUE | 1 << 11 | QUEUE_PAGES_LG2)
        m.write(8, UNIT + IQT, 0)
        self.command(QIE)
        self.command(TE)
        self.device = TestDevice(m, BAR)
        self.pages = pages
        self.touch()

    def command(self, bit):
        m = self.machine
        m.write(4, UNIT + GCMD, m.read(4, UNIT + GSTS) & 0x96ffffff | bit)
        if not m.read(4, UNIT + GSTS) & bit:
            raise Wrong(f"{m.name}: GCMD bit 0x{bit:x} has no effect")

    def descriptor(self, kind):
        """Of the last device or of its domain, or of what is not there, so that nothing cached is named."""
        slot, function = place(self.devices - 1)
        domain, rid = self.devices, slot << 3 | function
        return struct.pack("<4Q", *{
            "wait": (5 | 1 << 5 | 1 << 32, STATUS),
            "pasid-iotlb page": (6 | 3 << 4 | domain << 16, NOT_MAPPED),
            "pasid-iotlb page of another domain": (6 | 3 << 4 | NO_DOMAIN << 16, NOT_MAPPED),
            "pasid-iotlb PASID": (6 | 2 << 4 | NO_DOMAIN << 16, 0),
            "iotlb page": (2 | 3 << 4 | NO_DOMAIN << 16, NOT_MAPPED),
            "iotlb domain": (2 | 2 << 4 | NO_DOMAIN << 16, 0),
            "iotlb global": (2 | 1 << 4, 0),
            "pasid-cache domain": (7 | domain << 16, 0),
            "pasid-cache PASID": (7 | 1 << 4 | domain << 16, 0),
            "pasid-cache global": (7 | 3 << 4, 0),
            "context global": (1 | 1 << 4, 0),
            "context device": (1 | 3 << 4 | rid << 32, 0),
        }[kind], 0, 0)

    def fill(self, kinds):
        image = b"".join(self.descriptor(kind) for kind in kinds)
        self.image = (image * (ENTRIES // len(kinds) + 1))[:ENTRIES * BYTES]
        self.machine.store(QUEUE, self.image)
        self.fence = None

    def doorbells(self, count, times=1):
        """Writes of the tail that submit @count more descriptors each. The last one is a wait with a new status."""
        if self.fence is not None:
            self.machine.store(QUEUE + self.fence * BYTES, self.image[self.fence * BYTES:(self.fence + 1) * BYTES])
        bells = []
        for _ in range(times):
            self.tail = (self.tail + count) % ENTRIES
            bells.append(f"writeq {UNIT + IQT} {self.tail * BYTES}")
        self.fence = (self.tail - 1) % ENTRIES
        self.sequence += 1
        self.machine.store(QUEUE + self.fence * BYTES, struct.pack("<4Q", 5 | 1 << 5 | self.sequence << 32, STATUS + 64, 0, 0))
        return bells

    def cost(self, count, times):
        """CPU ns of @times doorbells of @count descriptors, all of which must have been carried out."""
        ns = self.machine.cost(self.doorbells(count, times))
        if self.machine.read(4, STATUS + 64) != self.sequence or self.machine.read(8, UNIT + IQH) != self.tail * BYTES:
            raise Wrong(f"{self.machine.name}: the queue stands still, FSTS 0x{self.machine.read(4, UNIT + FSTS):x}")
        return ns

    def flush_page(self, iova):
        self.fill(("wait",))
        self.machine.store(QUEUE + self.tail * BYTES, struct.pack("<4Q", 6 | 3 << 4 | 1 << 16, iova, 0, 0))
        self.machine.tell(*self.doorbells(2))
