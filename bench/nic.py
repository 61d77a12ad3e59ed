# SPDX-License-Identifier: BSD-3-Clause
#
# What a translation costs QEMU, which translates for its own devices only: an e1000 that sends. A legacy transmit
# descriptor (8254x Software Developer's Manual 3.3.3) is two reads by DMA, itself and one byte of its buffer, and one
# write of the tail register sends up to 65000 of them. What the same costs with translation off is the device's.
import struct

import machine
import vtd
from machine import IOVA, Wrong

BAR, SLOT = 0xe0100000, 0x1e
TCTL, TDBAL, TDLEN, TDH, TDT, IMC = 0x400, 0x3800, 0x3808, 0x3810, 0x3818, 0xd8
RING, RING_PAGES, RING_IOVA = 0x4000000, 256, IOVA + (256 << 20)
SMALL, LARGE = 64, 65000


class Sender(vtd.Scene):
    """With translation on or off. The device is the one behind the test device of the scene."""
    def __init__(self, found, on):
        self.on, self.filled = on, None
        super().__init__("qemu", found, 1, options=["-device", f"e1000,addr={SLOT:x}.0,romfile="])
        m = self.machine
        config = 1 << 31 | SLOT << 11
        m.tell(f"outl 0xcf8 {config | 0x10}", f"outl 0xcfc {BAR}", f"outl 0xcf8 {config | 4}", "outw 0xcfc 6")
        # the test device's domain; the ring behind its pages
        m.store(vtd.CONTEXTS + 32 * (SLOT << 3), struct.pack("<4Q", vtd.DIRECTORIES | 1, 0, 0, 0))
        m.store(self.TABLES + 0x2000 + 8 * 128, struct.pack("<Q", self.TABLES + 0x200000 | self.TABLE))
        m.store(self.TABLES + 0x200000,
                struct.pack(f"<{RING_PAGES}Q", *[RING + n * 4096 | self.PAGE for n in range(RING_PAGES)]))
        if not on:
            m.write(4, vtd.UNIT + vtd.GCMD, m.read(4, vtd.UNIT + vtd.GSTS) & 0x96ffffff & ~vtd.TE)
        ring = RING_IOVA if on else RING
        m.tell(f"writel {BAR + TCTL} 0", f"writel {BAR + IMC} {0xffffffff}", f"writel {BAR + TDBAL} {ring & 0xffffffff}",
               f"writel {BAR + TDBAL + 4} {ring >> 32}", f"writel {BAR + TDLEN} {0xfff80}", f"writel {BAR + TDH} 0",
               f"writel {BAR + TDT} 0", f"writel {BAR + TCTL} 2")

    def image(self, pages, count):
        """@pages: how many pages the buffers are in, one after the other."""
        base = IOVA if self.on else self.BUFFERS
        return b"".join(struct.pack("<QII", base + n % pages * 4096 + 64, 1 | (3 if n == count - 1 else 2) << 24, 0)
                        for n in range(count))

    def send(self, pages, count):
        """CPU ns."""
        m = self.machine
        if self.filled != (pages, count):
            m.store(RING, self.image(pages, count))
            self.filled = pages, count
        m.tell(f"writel {BAR + TDH} 0", f"writel {BAR + TDT} 0")
        ns = m.cost([f"writel {BAR + TDT} {count}"])
        if m.read(4, BAR + TDH) != count or m.read(4, vtd.UNIT + vtd.FSTS) & 3:
            raise Wrong(f"qemu: its e1000 has sent {m.read(4, BAR + TDH)} of {count}, FSTS 0x{m.read(4, vtd.UNIT + vtd.FSTS):x}")
        return ns

    def each(self, pages, large=LARGE):
        small = self.send(pages, SMALL)
        return (self.send(pages, large) - small) / (large - SMALL)


def hit(off, on, large=LARGE):
    return max(on.each(1, large) - off.each(1, large), 1) / 2


def miss(off, on, large=LARGE):
    """The ring's page is hit, the buffer's is not."""
    nothing = off.each(1, large)
    return max(on.each(machine.MAX_PAGES, large) - nothing - (on.each(1, large) - nothing) / 2, 1)
