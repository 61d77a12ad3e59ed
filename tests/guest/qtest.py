# SPDX-License-Identifier: BSD-3-Clause
#
# A guest without a processor: QEMU with its own VT-d and one vfio-pci device on the software host, driven
# through QEMU's qtest socket. What a driver would do - tables, invalidation descriptors, BARs, DMA through testdev -
# is done here a step at a time, so that a test can leave out, or reorder, exactly one of them.
#
# Layouts: VT-d 4.1 s9 Translation Structure Formats, s6.5.2 Queued Invalidation Interface, s11.4 Registers.
import json
import os
import shutil
import socket
import struct
import time

import guest

# guest memory
RAM = 64 << 20
ROOT, CONTEXTS, QUEUE, STATUS = 0x100000, 0x101000, 0x110000, 0x118000
TABLES = 0x200000       # PASID directories and tables, page tables
DATA = 0x1000000        # where tests map to
# the unit
UNIT = 0xfed90000
GCMD, GSTS, RTADDR, FSTS, IQH, IQT, IQA = 0x18, 0x1c, 0x20, 0x34, 0x80, 0x88, 0x90
TE, SRTP, QIE = 1 << 31, 1 << 30, 1 << 26
QUEUE_LG2 = 2           # 16 KiB: 512 descriptors of 256 bits
# testdev: its registers are those of QEMU's iommu-testdev
TRIGGERING, GVA, LEN, RESULT, DBELL = 0x00, 0x04, 0x0c, 0x10, 0x14
OK, TX_FAIL = 0, 0xdead0002
PATTERN = bytes([0x78, 0x56, 0x34, 0x12])
BAR = 0xe0000000        # window of the first port, and its device's BAR0
BAR_STRIDE = 0x100000
SID = 0x100             # 01:00.0, behind the first port


class Machine:
    """QEMU and its devices, each behind a root port as a hot-plugged one would be. Methods mean the first."""

    def __init__(self, scratch, devices=1):
        self.scratch, self.devices = scratch, devices
        self.trace_file = scratch / "trace"
        command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-accel", "qtest",
                   "-m", f"{RAM >> 20}M", "-object", f"memory-backend-memfd,id=ram,size={RAM},share=on",
                   "-machine", "q35,memory-backend=ram", "-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
                   "-device", "intel-iommu,scalable-mode=on,fsts=on,caching-mode=on,intremap=off",
                   "-object", "iommufd,id=iommufd0", "-qtest", f"unix:{scratch}/qtest,server=on,wait=off",
                   "-qtest-log", "/dev/null", "-qmp", f"unix:{scratch}/qmp,server=on,wait=off"]
        options = ["--check", "--trace", self.trace_file]
        for n in range(devices):
            command += ["-device", f"pcie-root-port,id=port{n},chassis={n + 1},addr={n + 1}", "-device",
                        f"vfio-pci,id=dev{n},iommufd=iommufd0,fd=nestor:{n},bus=port{n}"]
            options += ["--device", "testdev"]
        if not shutil.which(command[0]):    # the tree's: it looks for this accelerator where Debian installs it
            os.environ["QEMU_MODULE_DIR"] = guest.setup("debian13") + "/usr/lib/x86_64-linux-gnu/qemu"
        self.run = guest.Host(scratch, options, command)
        try:
            self.qtest = self.connect("qtest")
            self.qmp = self.connect("qmp")
            self.qmp.readline()
            self.monitor("qmp_capabilities")
            self.next_page, self.tail, self.seq = TABLES, 0, 0
            for n in range(devices):
                self.plug_in(n)
        except BaseException:
            self.run.end()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.run.end()

    def connect(self, name):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(guest.TIMEOUT)
        deadline = time.monotonic() + guest.TIMEOUT
        while time.monotonic() < deadline:
            try:
                s.connect(f"{self.scratch}/{name}")
                return s.makefile("rw")
            except (FileNotFoundError, ConnectionRefusedError):
                assert self.run.process.poll() is None, self.run.output()
                time.sleep(0.02)
        raise AssertionError(f"no socket {name}")

    # --- memory and registers

    def ask(self, *words):
        print(*words, file=self.qtest, flush=True)
        line = self.qtest.readline().split()
        assert line and line[0] == "OK", (words, line, self.run.output()[-2000:])
        return line[1:]

    def write(self, address, data):
        self.ask("write", hex(address), hex(len(data)), "0x" + data.hex())

    def read(self, address, size):
        return bytes.fromhex(self.ask("read", hex(address), hex(size))[0][2:])

    def store(self, address, *words):
        self.write(address, struct.pack(f"<{len(words)}Q", *words))

    def readl(self, address):
        return int(self.ask("readl", hex(address))[0], 16)

    def writel(self, address, value):
        self.ask("writel", hex(address), hex(value))

    def writeq(self, address, value):
        self.ask("writeq", hex(address), hex(value))

    def monitor(self, command, **arguments):
        print(json.dumps({"execute": command, "arguments": arguments}), file=self.qmp, flush=True)
        self.wait("return")

    def wait(self, key, value=None):
        for line in self.qmp:
            message = json.loads(line)
            assert "error" not in message, message
            if key in message and value in (None, message[key]):
                return
        raise AssertionError(f"the monitor is gone:\n{self.run.output()[-2000:]}")

    # --- PCI

    def config(self, bus, devfn, offset, value=None, size=4):
        self.ask("outl", "0xcf8", hex(1 << 31 | bus << 16 | devfn << 8 | offset & 0xfc))
        port = hex(0xcfc + (offset & 3))
        if value is None:
            return int(self.ask({4: "inl", 2: "inw", 1: "inb"}[size], port)[0], 16)
        return self.ask({4: "outl", 2: "outw", 1: "outb"}[size], port, hex(value))

    def plug_in(self, n):
        """Bus n + 1 behind port n; BAR0 of the device; memory and bus master on for both."""
        bar, port, bus = BAR + n * BAR_STRIDE, (n + 1) << 3, n + 1
        self.config(0, port, 0x18, bus << 16 | bus << 8)
        self.config(0, port, 0x20, bar >> 16 & 0xfff0 | bar & 0xfff00000)
        self.config(0, port, 4, 7, size=2)
        self.config(bus, 0, 0x10, bar)
        self.config(bus, 0, 4, 6, size=2)
        assert self.config(bus, 0, 0) == 0x00051b36, hex(self.config(bus, 0, 0))

    def express_capability(self, bus, devfn):
        at = self.config(bus, devfn, 0x34, size=1)
        while self.config(bus, devfn, at, size=1) != 0x10:
            at = self.config(bus, devfn, at + 1, size=1)
        return at

    def unplug(self):
        """What a guest does that is asked to: power the slot off. Indicator off (3), controller off (bit 10)."""
        self.monitor("device_del", id="dev0")
        control = self.express_capability(0, 8) + 0x18
        value = self.config(0, 8, control, size=2) & ~0x300
        self.config(0, 8, control, value | 0x300 | 1 << 10, size=2)
        self.wait("event", "DEVICE_DELETED")

    def dma(self, iova):
        """The device writes the pattern at iova and reads it back: OK, or why not."""
        self.writel(BAR + GVA, iova & 0xffffffff)
        self.writel(BAR + GVA + 4, iova >> 32)
        self.writel(BAR + LEN, len(PATTERN))
        self.writel(BAR + DBELL, 1)
        self.readl(BAR + TRIGGERING)
        return self.readl(BAR + RESULT)

    def went_to(self, *addresses):
        """Which of these hold the pattern; they are cleared."""
        found = [a for a in addresses if self.read(a, len(PATTERN)) == PATTERN]
        for a in addresses:
            self.write(a, bytes(len(PATTERN)))
        return found

    # --- tables

    def page(self):
        self.next_page += 0x1000
        return self.next_page - 0x1000

    def first_stage(self, mappings):
        """A 4-level table of 4 KiB pages."""
        top = self.page()
        for iova, gpa in mappings.items():
            self.set_leaf(top, iova, gpa | 0x67)        # P, R/W, U/S, A, D
        return top

    def set_leaf(self, top, iova, entry):
        table = top
        for level in (4, 3, 2):
            slot = table + (iova >> 9 * level + 3 & 511) * 8
            table = int.from_bytes(self.read(slot, 8), "little") & ~0xfff
            if not table:
                table = self.page()
                self.store(slot, table | 0x27)
        self.store(table + (iova >> 12 & 511) * 8, entry)

    def set_pasid(self, directory, pasid, top, did):
        """A first-stage PASID-table entry; top None: not present."""
        slot = directory + (pasid >> 6) * 8
        table = int.from_bytes(self.read(slot, 8), "little") & ~0xfff
        if not table:
            table = self.page()
            self.store(slot, table | 1)
        entry = [0] * 8 if top is None else [1 | 1 << 6, did, top, 0, 0, 0, 0, 0]
        self.store(table + (pasid & 63) * 64, *entry)

    def set_context(self, directory):
        """The scalable-mode context entry of 01:00.0; None: not present."""
        self.store(ROOT + 16, CONTEXTS | 1)
        self.store(CONTEXTS, directory | 1 if directory else 0, 0, 0, 0)

    def translate(self, mappings, did=1):
        """All of it, for requests without PASID: (first-stage table, PASID directory)."""
        top, directory = self.first_stage(mappings), self.page()
        self.set_pasid(directory, 0, top, did)
        self.set_context(directory)
        self.enable()
        return top, directory

    # --- the unit

    def command(self, bit, on=True):
        status = self.readl(UNIT + GSTS) & 0x96ffffff   # without the one-shot bits
        self.writel(UNIT + GCMD, status | bit if on else status & ~bit)
        assert bool(self.readl(UNIT + GSTS) & bit) == on

    def enable(self):
        self.writeq(UNIT + RTADDR, ROOT | 1 << 10)      # scalable mode
        self.command(SRTP)
        self.writeq(UNIT + IQA, QUEUE | 1 << 11 | QUEUE_LG2)    # descriptors of 256 bits
        self.command(QIE)
        self.command(TE)

    def invalidate(self, *descriptors):
        """Queue them and a wait, and look that they were done."""
        self.seq += 1
        wait = (5 | 1 << 5 | self.seq << 32, STATUS)
        for low, high in (*descriptors, wait):
            self.store(QUEUE + self.tail, low, high, 0, 0)
            self.tail = (self.tail + 32) % (0x1000 << QUEUE_LG2)
        self.writeq(UNIT + IQT, self.tail)
        assert self.readl(STATUS) == self.seq and not self.readl(UNIT + FSTS) & 0x70, hex(self.readl(UNIT + FSTS))

    # --- the end

    def end(self):
        """Quit: (report, what was said, the trace)."""
        self.monitor("quit")
        status = self.run.wait()
        assert status == 0, f"status {status}:\n{self.run.output()[-3000:]}"
        self.run.assert_nothing_left()
        return self.run.report(), self.run.output(), self.trace_file.read_text()


# --- descriptors

def context_device():
    return 1 | 3 << 4 | SID << 32, 0


def iotlb_global():
    return 2 | 1 << 4, 0


def iotlb_domain(did):
    return 2 | 2 << 4 | did << 16, 0


def pasid_iotlb(did, pasid=0):
    return 6 | 2 << 4 | did << 16 | pasid << 32, 0


def pasid_cache(did, pasid=0):
    return 7 | 1 << 4 | did << 16 | pasid << 32, 0


def pasid_cache_domain(did):
    return 7 | did << 16, 0


def pasid_cache_global():
    return 7 | 3 << 4, 0
