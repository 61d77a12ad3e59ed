# SPDX-License-Identifier: BSD-3-Clause
#
# A machine without a processor, Nestor's or QEMU's, spoken to by QEMU's qtest protocol on stdin and stdout,
# and the CPU time that it takes. What it is told is the same for both.
import base64
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
DATA_PIECE = 256 << 10
TEXT_PIECE = 32 << 10   # commands sent at once: their answers must fit into a pipe


class Wrong(Exception):
    """A target did not do what it should."""


def cpu_ns(pid):
    """CPU time of all threads of a process so far: its CPU clock, as clock_getcpuclockid(3) names it."""
    return time.clock_gettime_ns(~pid << 3 | 2)


def find_qemu(binary):
    """(command, environment) of QEMU for an architecture, from PATH or the private tree; or None."""
    if shutil.which(binary):
        return [shutil.which(binary)], dict(os.environ)
    name = {"qemu-system-x86_64": "debian13", "qemu-system-aarch64": "debian13-arm64"}[binary]
    tree = subprocess.run([ROOT / "scripts/setup", "--print", name], capture_output=True, text=True, check=True).stdout.strip()
    if not pathlib.Path(tree, "usr/bin", binary).exists():
        return None
    libraries = f"{tree}/lib/x86_64-linux-gnu:{tree}/usr/lib/x86_64-linux-gnu"
    command = [f"{tree}/lib64/ld-linux-x86-64.so.2", "--library-path", libraries, f"{tree}/usr/bin/{binary}",
               "-L", f"{tree}/usr/share/qemu", "-L", f"{tree}/usr/share/seabios", "-L", f"{tree}/usr/lib/ipxe/qemu"]
    return command, os.environ | {"QEMU_MODULE_DIR": f"{tree}/usr/lib/x86_64-linux-gnu/qemu"}


def qemu_version(found):
    """"11.1.3" """
    command, environment = found
    text = subprocess.run(command + ["--version"], env=environment, capture_output=True, text=True, check=True).stdout
    return text.split("version", 1)[1].split()[0]


class Machine:
    def __init__(self, name, command, environment=None):
        self.name = name
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
                                        env=environment)
        self.pid = self.process.pid
        self.tell("endianness")

    def _line(self):
        line = self.process.stdout.readline().decode().split()
        if line[:1] != ["OK"]:
            self.log.seek(0)
            raise Wrong(f"{self.name}: {' '.join(line) or 'it has ended'}\n{self.log.read().decode(errors='replace')[-2000:]}")
        return line[1] if line[1:] else None

    def tell(self, *commands):
        """The words after OK of each."""
        answers, waiting, size = [], 0, 0
        for command in commands:
            if size and size + len(command) > TEXT_PIECE:
                answers += self._answers(waiting)
                waiting = size = 0
            self.process.stdin.write(command.encode() + b"\n")
            waiting += 1
            size += len(command) + 1
        return answers + self._answers(waiting)

    def _answers(self, count):
        try:
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        return [self._line() for _ in range(count)]

    def cost(self, commands):
        """CPU time of these, in ns."""
        before = cpu_ns(self.pid)
        self.tell(*commands)
        return cpu_ns(self.pid) - before

    def read(self, size, address):
        return int(self.tell(f"read{'l' if size == 4 else 'q'} {address}")[0], 16)

    def write(self, size, address, value):
        self.tell(f"write{'l' if size == 4 else 'q'} {address} {value}")

    def store(self, address, data):
        for at in range(0, len(data), DATA_PIECE):
            piece = data[at:at + DATA_PIECE]
            self.tell(f"b64write {address + at} {len(piece)} {base64.b64encode(piece).decode()}")

    def load(self, address, size):
        return base64.b64decode(self.tell(f"b64read {address} {size}")[0])

    def close(self):
        self.process.kill()
        self.process.communicate()
        self.log.close()


BAR_STRIDE = 0x10000
GVA_LO, GVA_HI, LEN, RESULT, BELL, ATTRS, GPA_LO, GPA_HI = range(4, 36, 4)
PATTERN = bytes([0x78, 0x56, 0x34, 0x12])


class TestDevice:
    """An iommu-testdev of either: one register read makes it write a pattern by DMA."""
    def __init__(self, machine, bar):
        self.machine, self.bar = machine, bar
        machine.write(4, bar + ATTRS, 0xa)  # on Arm: non-secure, and that this is meant

    def commands(self, iova, gpa, size):
        b = self.bar
        return [f"writel {b + at} {value}" for at, value in
                ((GVA_LO, iova & 0xffffffff), (GVA_HI, iova >> 32), (GPA_LO, gpa & 0xffffffff), (GPA_HI, gpa >> 32),
                 (LEN, size), (BELL, 1))] + [f"readl {b}", f"readl {b + RESULT}"]

    def lands(self, iova, gpa):
        """Does a write to @iova go to @gpa?"""
        self.machine.store(gpa, bytes(4))
        self.machine.tell(*self.commands(iova, gpa, 4))
        there = self.machine.load(gpa, 4) == PATTERN
        self.machine.store(gpa, bytes(4))
        return there

    def touch(self, iova, gpa, size):
        if int(self.machine.tell(*self.commands(iova, gpa, size))[-1], 16):
            raise Wrong(f"{self.machine.name}: DMA to 0x{iova:x} is refused")


def place(n):
    """Device and function of the n-th device: as "nestor qtest" has them."""
    return n % 30 + 1, n // 30


def functions(devices):
    """The same for QEMU."""
    options = []
    for n in range(devices):
        slot, function = place(n)
        options += ["-device", f"iommu-testdev,addr={slot:x}.{function}" + (",multifunction=on" if not function else "")]
    return options


IOVA, MAX_PAGES, NUM_BUFFERS = 0x80000000, 65536, 1024


class Scene:
    """
    A machine whose guest has made its tables and switched translation on; @pages of the first device are in
    the IOTLB. All devices have one tree of four levels: MAX_PAGES pages from IOVA on lead to the buffers in
    turn. Of an architecture: TABLES, BUFFERS, TABLE and PAGE (bits of entries), ENTRIES of the queue, what is
    used below.
    """
    @property
    def limit(self):
        return self.ENTRIES - 1

    def store_tables(self):
        top, third, second, last = [self.TABLES + 0x1000 * n for n in range(4)]
        for at, entries in ((top, [third | self.TABLE]), (third + 8 * (IOVA >> 30), [second | self.TABLE]),
                            (second, [last + n * 4096 | self.TABLE for n in range(MAX_PAGES // 512)]),
                            (last, [self.buffer(n) | self.PAGE for n in range(MAX_PAGES)])):
            self.machine.store(at, struct.pack(f"<{len(entries)}Q", *entries))

    def buffer(self, page):
        return self.BUFFERS + page % NUM_BUFFERS * 4096

    def touch(self):
        for at in range(0, self.pages, 64):
            self.device.touch(IOVA + at * 4096, self.buffer(at), min(self.pages - at, 64) * 4096)

    def lead_to(self, gpa):
        """The first page."""
        self.machine.store(self.TABLES + 0x3000, struct.pack("<Q", gpa | self.PAGE))

    def check(self, held):
        """
        The first page is used from the IOTLB until it is invalidated, and not after that. @held: it is there from
        before, whatever was done since.
        """
        old, new = self.buffer(0), self.buffer(512)
        if not held:
            self.device.touch(IOVA, old, 4)
        self.lead_to(new)
        if not self.device.lands(IOVA, old):
            raise Wrong(f"{self.machine.name}: the IOTLB does not hold what it should")
        self.flush_page(IOVA)
        if not self.device.lands(IOVA, new):
            raise Wrong(f"{self.machine.name}: a page is used after its invalidation")
        self.lead_to(old)
        self.flush_page(IOVA)
        if held:
            self.device.touch(IOVA, old, 4)

    def close(self):
        self.machine.close()
