# SPDX-License-Identifier: BSD-3-Clause
#
# What a program runs on: QEMU or Nestor, both spoken to by QEMU's qtest protocol on their stdin and stdout.
# Nothing here depends on time; a target that ends, or answers FAIL, ends the run with what it said.
import os
import pathlib
import shutil
import subprocess
import tempfile

BAR_STRIDE = 0x10000
MEMORY = 64 << 20
DEVICES = 2             # 00:01.0 and 00:02.0
PATTERN = bytes([0x78, 0x56, 0x34, 0x12])


class Ended(AssertionError):
    pass


class Target:
    """Of every architecture; vtd.py and smmuv3.py have the rest: UNIT, BAR, begin() and fault()."""
    def __init__(self, name, command, environment=None):
        self.name = name
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.log, env=environment)
        self.begin()

    def send(self, commands):
        """All of them at once; the words after OK of each."""
        try:
            self.process.stdin.write("".join(c + "\n" for c in commands).encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        answers = []
        for command in commands:
            line = self.process.stdout.readline().decode().split()
            if line[:1] != ["OK"]:
                raise Ended(f"{self.name}: {command}: {' '.join(line)}\n{self.end()[-2000:]}")
            answers.append(line[1] if line[1:] else None)
        return answers

    def numbers(self, commands):
        return [int(a, 16) if a else None for a in self.send(commands)]

    def end(self):
        """What it said on stderr."""
        if not self.log.closed:
            self.process.kill()
            self.process.communicate()
            self.log.seek(0)
            self.said = self.log.read().decode(errors="replace")
            self.log.close()
        return self.said

    # --- what operations do; each gives what was seen: a list of (label, value)

    def op_store(self, address, *words):
        data = b"".join(w.to_bytes(8, "little") for w in words)
        self.send([f"write {address} {len(data)} 0x{data.hex()}"])
        return []

    def op_write(self, size, offset, value):
        self.send([f"write{'l' if size == 4 else 'q'} {self.UNIT + offset} {value}"])
        return []

    def op_read(self, size, offset):
        return [(f"register 0x{offset:x}", self.numbers([f"read{'l' if size == 4 else 'q'} {self.UNIT + offset}"])[0])]

    def op_memory(self, address, size):
        return [(f"memory 0x{address:x}", self.send([f"read {address} {size}"])[0])]

    def dma(self, device, iova, length, gpa):
        """The device writes: how that went, and whether the bytes are at @gpa. They go again."""
        bar = self.BAR + device * BAR_STRIDE
        result = self.numbers(
            [f"writel {bar + at} {value}" for at, value in
             ((4, iova & 0xffffffff), (8, iova >> 32), (0x1c, gpa & 0xffffffff), (0x20, gpa >> 32), (0xc, length), (0x14, 1))]
            + [f"readl {bar}", f"readl {bar + 0x10}"])[-1]
        at = int(self.send([f"read {gpa} {length}", f"memset {gpa} {length} 0"])[0], 16)
        there = at == int.from_bytes((PATTERN * length)[:length], "big")
        return [("dma", f"{'refused' if result == 0xdead0002 else 'done'}, {'there' if there else 'elsewhere'}")]

    def op_dma(self, device, iova, length, gpa):
        return self.dma(device, iova, length, gpa) + self.faults()

    def run(self, op):
        return getattr(self, "op_" + op[0])(*op[1:])


def setup(what):
    root = pathlib.Path(__file__).resolve().parents[2]
    return subprocess.run([root / "scripts/setup", "--print", what], capture_output=True, text=True,
                          check=True).stdout.strip()


def command(binary, tree):
    """QEMU from PATH, else the private tree's, through its own loader; and its environment."""
    if shutil.which(binary):
        return [binary], dict(os.environ)
    tree = setup(tree)
    if not pathlib.Path(tree, "usr/bin", binary).exists():
        raise Ended(f"there is no {binary}: run scripts/setup")
    libraries = f"{tree}/lib/x86_64-linux-gnu:{tree}/usr/lib/x86_64-linux-gnu"
    return ([f"{tree}/lib64/ld-linux-x86-64.so.2", "--library-path", libraries, f"{tree}/usr/bin/{binary}",
             "-L", f"{tree}/usr/share/qemu", "-L", f"{tree}/usr/share/seabios"],
            os.environ | {"QEMU_MODULE_DIR": f"{tree}/usr/lib/x86_64-linux-gnu/qemu"})


def qemu_options(machine):
    options = ["-nodefaults", "-no-user-config", "-display", "none", "-accel", "qtest", "-machine", machine,
               "-m", f"{MEMORY >> 20}M", "-qtest", "stdio", "-qtest-log", "none"]
    for n in range(DEVICES):
        options += ["-device", f"iommu-testdev,addr={n + 1}"]
    return options


def nestor_options(kind):
    return ["qtest", f"--{kind}", "--memory", f"{MEMORY >> 20}M"] + ["--device", "testdev"] * DEVICES


def all_of(makers):
    """The targets that these make, each after what it is compared with."""
    targets = []
    try:
        for make in makers:
            targets.append(make())
    except BaseException:
        for t in targets:
            t.end()
        raise
    return targets
