# SPDX-License-Identifier: BSD-3-Clause
#
# Commands of an SMMUv3: SMMUv3 IHI0070G.b s4 Commands. A scene is a machine with so many devices, each with
# a context descriptor of its own and an ASID, and so many pages in the IOTLB.
import struct

import machine
from machine import TestDevice, Wrong, place

UNIT, BAR, ECAM, BASE = 0x09050000, 0x10000000, 0x4010000000, 0x40000000
CR0, CR0ACK, GERROR, GERRORN, STRTAB_BASE, STRTAB_CFG = 0x20, 0x24, 0x60, 0x64, 0x80, 0x88
CMDQ_BASE, CMDQ_PROD, CMDQ_CONS, EVENTQ_BASE = 0x90, 0x98, 0x9c, 0xa0
MEMORY = 256 << 20

STREAMS, CONTEXTS, EVENTQ = BASE + 0x5000000, BASE + 0x5100000, BASE + 0x5200000
QUEUE, QUEUE_LG2, BYTES = BASE + 0x6000000, 16, 16
ENTRIES = 1 << QUEUE_LG2
TABLES = BASE + 0x8000000
NOT_MAPPED, NO_ASID = 0x1f00000000, 0x7fff

def start(side, found, devices):
    if side == "nestor":
        return machine.Machine(side, [found, "qtest", "--viommu", "smmuv3", "--memory", f"{MEMORY >> 20}M"] +
                               ["--device", "testdev"] * devices)
    command, environment = found
    command = command + ["-nodefaults", "-no-user-config", "-display", "none", "-accel", "qtest", "-machine",
                         "virt,iommu=smmuv3", "-cpu", "max", "-m", f"{MEMORY >> 20}M", "-qtest", "stdio", "-qtest-log", "none"]
    return machine.Machine(side, command + machine.functions(devices), environment)


class Scene(machine.Scene):
    TABLES, BUFFERS, ENTRIES = TABLES, BASE + 0xa000000, ENTRIES
    TABLE = 3
    PAGE = 3 | 1 << 10 | 1 << 6 | 3 << 8    # valid, accessed, EL0 may write, inner shareable

    def __init__(self, side, found, devices, pages=0):
        self.devices, self.prod = devices, 0
        self.machine = m = start(side, found, devices)
        for n in range(devices):
            slot, function = place(n)
            config = ECAM + (slot << 15 | function << 12)
            m.tell(f"writel {config + 0x10} {BAR + n * machine.BAR_STRIDE}", f"writew {config + 4} 6")
        self.store_tables()
        for n in range(devices):
            slot, function = place(n)
            context = CONTEXTS + 64 * n
            m.store(STREAMS + 64 * (slot << 3 | function), struct.pack("<8Q", context | 5 << 1 | 1, 0, 0, 0, 0, 0, 0, 0))
            # T0SZ 16, TG0 4 KiB, EPD1, V; IPS 48 bits, AA64, R, A, ASID
            m.store(context, struct.pack("<16I", 16 | 1 << 30 | 1 << 31, 5 | 1 << 9 | 1 << 13 | 1 << 14 | (n + 1) << 16,
                                         TABLES & 0xffffffff, TABLES >> 32, *[0] * 12))
        m.write(8, UNIT + CMDQ_BASE, QUEUE | QUEUE_LG2)
        m.write(4, UNIT + CMDQ_PROD, 0)
        m.write(4, UNIT + CMDQ_CONS, 0)
        m.write(8, UNIT + EVENTQ_BASE, EVENTQ | 7)
        m.write(8, UNIT + STRTAB_BASE, STREAMS)
        m.write(4, UNIT + STRTAB_CFG, 8)
        m.write(4, UNIT + CR0, 0xd)
        if m.read(4, UNIT + CR0ACK) & 0xd != 0xd:
            raise Wrong(f"{m.name}: the SMMU is not on")
        self.device = TestDevice(m, BAR)
        self.pages = pages
        self.touch()

    def command(self, kind):
        slot, function = place(self.devices - 1)
        asid, sid = self.devices, slot << 3 | function
        low, high = NOT_MAPPED & 0xfffff000, NOT_MAPPED >> 32
        return struct.pack("<4I", *{
            "SYNC": (0x46, 0, 0, 0),
            "TLBI_NH_VA": (0x12, asid << 16, low | 1, high),
            "TLBI_NH_VA with range fields": (0x12, asid << 16, low | 1 | 3 << 8 | 1 << 10, high),
            "TLBI_NH_VAA": (0x13, 0, low, high),
            "TLBI_NH_ASID": (0x11, NO_ASID << 16, 0, 0),
            "TLBI_NSNH_ALL": (0x30, 0, 0, 0),
            "CFGI_STE": (0x03, sid, 1, 0),
            "CFGI_CD": (0x05, sid, 1, 0),
            "CFGI_CD_ALL": (0x06, sid, 0, 0),
        }[kind])

    def fill(self, kinds):
        image = b"".join(self.command(kind) for kind in kinds)
        self.machine.store(QUEUE, (image * (ENTRIES // len(kinds) + 1))[:ENTRIES * BYTES])

    def doorbells(self, count, times=1):
        bells = []
        for _ in range(times):
            self.prod = self.prod + count & 2 * ENTRIES - 1
            bells.append(f"writel {UNIT + CMDQ_PROD} {self.prod}")
        return bells

    def cost(self, count, times):
        ns = self.machine.cost(self.doorbells(count, times))
        m = self.machine
        if m.read(4, UNIT + CMDQ_CONS) & 2 * ENTRIES - 1 != self.prod or m.read(4, UNIT + GERROR) != m.read(4, UNIT + GERRORN):
            raise Wrong(f"{m.name}: the command queue stands still, CONS 0x{m.read(4, UNIT + CMDQ_CONS):x}")
        return ns

    def flush_page(self, iova):
        self.fill(("SYNC",))
        self.machine.store(QUEUE + self.prod % ENTRIES * BYTES,
                           struct.pack("<4I", 0x12, 1 << 16, iova & 0xfffff000 | 1, iova >> 32))
        self.machine.tell(*self.doorbells(2))
