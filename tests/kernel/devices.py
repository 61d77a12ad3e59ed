# SPDX-License-Identifier: BSD-3-Clause
#
# Drivers of the PCI devices that QEMU has in a kernel under test, for a script of "nestor qtest".
#
# Sources: QEMU docs/specs/edu.rst, hw/misc/iommu-testdev.c; Virtual I/O Device (VIRTIO) Version 1.3, s4.1 Virtio Over
# PCI Bus, s2.7 Split Virtqueues, s5.2 Block Device; PCI 3.0 s6.7 Capabilities List, s6.8 MSI.
import struct
import time

BARS, BAR_STRIDE = 0x10000000, 0x1000000
DEADLINE = 30


class Late(AssertionError):
    pass


class Device:
    """At the @slot-th place of bus 0: its BARs are put somewhere, and it may do DMA."""

    def __init__(self, machine, slot):
        self.machine, self.qtest = machine, machine.qtest
        self.sid, self.config, self.bars, self.capabilities = slot << 3, machine.ECAM + (slot << 15), {}, []
        at, bar = BARS + slot * BAR_STRIDE, 0
        while bar < 6:
            register = self.config + 0x10 + 4 * bar
            self.qtest.write(4, register, 0xffffffff)
            low = self.qtest.read(4, register)
            wide = low & 7 == 4
            if low & ~0xf and not low & 1:
                size = 2 ** 32 - (low & ~0xf)
                self.bars[bar] = -(-at // size) * size
                self.qtest.write(4, register, self.bars[bar])
                at = self.bars[bar] + size
            if wide:
                self.qtest.write(4, register + 4, 0)
            bar += 1 + wide
        self.qtest.write(2, self.config + 4, 6)
        at = self.qtest.read(1, self.config + 0x34)
        while at:
            self.capabilities.append((self.qtest.read(1, self.config + at), self.config + at))
            at = self.qtest.read(1, self.config + at + 1)

    def id(self):
        return self.qtest.read(4, self.config)

    def wait(self, what, done):
        """For work that a device does in its own time."""
        deadline = time.monotonic() + DEADLINE
        while not done():
            if time.monotonic() > deadline:
                raise Late(what)
            time.sleep(0.01)


class Testdev(Device):
    """QEMU's iommu-testdev: writes a pattern, at once."""
    PATTERN = bytes([0x78, 0x56, 0x34, 0x12])

    def __init__(self, machine, slot):
        super().__init__(machine, slot)
        self.qtest.write(4, self.bars[0] + 0x18, 0xa)  # of its requests: non-secure, and that this is meant

    def dma(self, iova, length=4):
        """Was it done? It reads back at an address of its own choice, and of that nothing is believed."""
        bar = self.bars[0]
        self.qtest.send([f"writel {bar + at} {value}" for at, value in
                         ((4, iova & 0xffffffff), (8, iova >> 32), (0xc, length), (0x14, 1))] + [f"readl {bar}"])
        return self.qtest.read(4, bar + 0x10) != 0xdead0002


class Edu(Device):
    """QEMU's edu: a buffer of 4 KiB, DMA between it and memory in its own time, and MSI."""
    BUFFER = 0x40000

    def copy(self, source, target, count, command):
        bar = self.bars[0]
        self.qtest.send([f"writeq {bar + at} {value}" for at, value in
                         ((0x80, source), (0x88, target), (0x90, count), (0x98, command))])
        self.wait("edu's DMA", lambda: not self.qtest.read(8, bar + 0x98) & 1)

    def fetch(self, iova, count):
        """From memory into its buffer."""
        self.copy(iova, self.BUFFER, count, 1)

    def deliver(self, iova, count):
        self.copy(self.BUFFER, iova, count, 3)

    def enable_msi(self, address, data):
        cap = next(at for kind, at in self.capabilities if kind == 5)
        self.qtest.write(4, cap + 4, address)
        self.qtest.write(4, cap + 8, 0)
        self.qtest.write(2, cap + 12, data)
        self.qtest.write(2, cap + 2, self.qtest.read(2, cap + 2) | 1)
        return self.qtest.read(2, cap + 2) & 1

    def disable_msi(self):
        cap = next(at for kind, at in self.capabilities if kind == 5)
        self.qtest.write(2, cap + 2, self.qtest.read(2, cap + 2) & ~1)

    def interrupt(self):
        self.qtest.write(4, self.bars[0] + 0x64, 0xffffffff)  # acknowledge what there was
        self.qtest.write(4, self.bars[0] + 0x60, 1)


class Block(Device):
    """virtio-blk with VIRTIO_F_VERSION_1 and _ACCESS_PLATFORM, polled; one queue, one request at a time."""
    SIZE = 8
    FEATURES = 1 << 32 | 1 << 33

    def __init__(self, machine, slot):
        super().__init__(machine, slot)
        self.at, self.notify = {}, 0
        for kind, cap in self.capabilities:
            if kind == 9:
                bar, offset = self.qtest.read(1, cap + 4), self.qtest.read(4, cap + 8)
                self.at.setdefault(self.qtest.read(1, cap + 3), (self.bars.get(bar, 0) + offset, cap))

    def common(self, size, at, value=None):
        address = self.at[1][0] + at
        return self.qtest.read(size, address) if value is None else self.qtest.write(size, address, value)

    def start(self, rings):
        """The features, and a queue whose three parts are in this page of the device's addresses."""
        self.common(1, 0x14, 0)
        for status in (1, 3):
            self.common(1, 0x14, status)
        offered = 0
        for half in (0, 1):
            self.common(4, 0, half)
            offered |= self.common(4, 4) << 32 * half
        assert offered & self.FEATURES == self.FEATURES, hex(offered)
        for half in (0, 1):
            self.common(4, 8, half)
            self.common(4, 0xc, self.FEATURES >> 32 * half & 0xffffffff)
        self.common(1, 0x14, 0xb)
        assert self.common(1, 0x14) == 0xb
        self.common(2, 0x16, 0)
        assert self.common(2, 0x18) >= self.SIZE
        self.common(2, 0x18, self.SIZE)
        for at, part in ((0x20, 0), (0x28, 0x400), (0x30, 0x800)):
            self.common(4, at, rings + part & 0xffffffff)
            self.common(4, at + 4, rings + part >> 32)
        address, cap = self.at[2]
        self.notify = address + self.common(2, 0x1e) * self.qtest.read(4, cap + 16)
        self.common(2, 0x1c, 1)
        self.common(1, 0x14, 0xf)
        self.index = 0

    def request(self, rings, pieces):
        """@pieces: (address of the device, bytes, whether it writes). @rings: where the queue is in memory."""
        table = b""
        for n, (iova, size, writes) in enumerate(pieces):
            table += struct.pack("<QIHH", iova, size, (n + 1 < len(pieces)) | writes << 1, n + 1)
        self.qtest.put(rings, table)
        self.qtest.put(rings + 0x404 + 2 * (self.index % self.SIZE), struct.pack("<H", 0))
        self.index = self.index + 1 & 0xffff
        self.qtest.put(rings + 0x402, struct.pack("<H", self.index))
        self.qtest.write(2, self.notify, 0)

    def done(self, rings):
        return self.qtest.read(2, rings + 0x802) == self.index

    def needs_reset(self):
        return bool(self.common(1, 0x14) & 0x40)
