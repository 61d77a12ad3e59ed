# SPDX-License-Identifier: BSD-3-Clause
#
# What a program runs on: QEMU or Nestor, both spoken to by QEMU's qtest protocol on their stdin and stdout.
# Nothing here depends on time; a target that ends, or answers FAIL, ends the run with what it said.
import os
import pathlib
import shutil
import subprocess
import tempfile

UNIT = 0xfed90000
BAR, BAR_STRIDE = 0xe0000000, 0x10000
MEMORY = 64 << 20
DEVICES = 2             # 00:01.0 and 00:02.0
PATTERN = bytes([0x78, 0x56, 0x34, 0x12])
FSTS, FRCD = 0x34, 0x220
PFO, PPF = 1, 2


class Ended(AssertionError):
    pass


class Target:
    def __init__(self, name, command, environment=None):
        self.name = name
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.log, env=environment)
        for n in range(DEVICES):
            config = 1 << 31 | (n + 1) << 11
            self.send([f"outl 0xcf8 {config | 0x10}", f"outl 0xcfc {BAR + n * BAR_STRIDE}",
                       f"outl 0xcf8 {config | 4}", "outw 0xcfc 6"])

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
        self.send([f"write{'l' if size == 4 else 'q'} {UNIT + offset} {value}"])
        return []

    def op_read(self, size, offset):
        return [(f"register 0x{offset:x}", self.numbers([f"read{'l' if size == 4 else 'q'} {UNIT + offset}"])[0])]

    def op_memory(self, address, size):
        return [(f"memory 0x{address:x}", self.send([f"read {address} {size}"])[0])]

    def op_dma(self, device, iova, length, gpa):
        """The device writes; RESULT, whether the bytes are at @gpa, and the faults that it made. The bytes go again."""
        bar = BAR + device * BAR_STRIDE
        numbers = self.numbers(
            [f"writel {bar + at} {value}" for at, value in
             ((4, iova & 0xffffffff), (8, iova >> 32), (0x1c, gpa & 0xffffffff), (0x20, gpa >> 32), (0xc, length), (0x14, 1))]
            + [f"readl {bar}", f"readl {bar + 0x10}", f"readl {UNIT + FSTS}"])
        result, status = numbers[-2:]
        at = int(self.send([f"read {gpa} {length}", f"memset {gpa} {length} 0"])[0], 16)
        there = at == int.from_bytes((PATTERN * length)[:length], "big")
        return [("dma", f"{'refused' if result == 0xdead0002 else 'done'}, {'there' if there else 'elsewhere'}")] + \
            self.faults(status)

    def faults(self, status):
        """The first fault record, in a form that does not depend on how many registers there are; all are cleared."""
        if not status & (PPF | PFO):
            return [("fault", None)]
        at = UNIT + FRCD + 16 * (status >> 8 & 0xff)
        low, high = self.numbers([f"readq {at}", f"readq {at + 8}"])
        records = (self.numbers([f"readq {UNIT + 8}"])[0] >> 40 & 0xff) + 1
        self.send([f"writel {UNIT + FRCD + 16 * n + 12} {1 << 31}" for n in range(records)]
                  + [f"writel {UNIT + FSTS} {PFO}"])
        return [("fault", (low, high))]

    def run(self, op):
        return getattr(self, "op_" + op[0])(*op[1:])


def setup(what):
    root = pathlib.Path(__file__).resolve().parents[2]
    return subprocess.run([root / "scripts/setup", "--print", what], capture_output=True, text=True,
                          check=True).stdout.strip()


def qemu(mode):
    """QEMU from PATH if it has the device, else the private tree's, through its own loader."""
    command, environment = ["qemu-system-x86_64"], dict(os.environ)
    if not shutil.which(command[0]):
        tree = setup("debian13")
        libraries = f"{tree}/lib/x86_64-linux-gnu:{tree}/usr/lib/x86_64-linux-gnu"
        command = [f"{tree}/lib64/ld-linux-x86-64.so.2", "--library-path", libraries, f"{tree}/usr/bin/qemu-system-x86_64",
                   "-L", f"{tree}/usr/share/qemu", "-L", f"{tree}/usr/share/seabios"]
        environment["QEMU_MODULE_DIR"] = f"{tree}/usr/lib/x86_64-linux-gnu/qemu"
    unit = "intel-iommu,intremap=off,caching-mode=on,scalable-mode=on"
    if mode != "second":
        unit += ",fsts=on,fs1gp=on"
    command += ["-nodefaults", "-no-user-config", "-display", "none", "-accel", "qtest", "-machine", "q35",
                "-m", f"{MEMORY >> 20}M", "-device", unit, "-qtest", "stdio", "-qtest-log", "none"]
    for n in range(DEVICES):
        command += ["-device", f"iommu-testdev,addr={n + 1}"]
    return Target("qemu", command, environment)


def nestor(program, mode, kind):
    command = [program, "qtest", f"--{kind}", "--memory", f"{MEMORY >> 20}M"] + ["--device", "testdev"] * DEVICES
    if mode == "second":
        command += ["--offer", "second-stage"]
    return Target(kind, command)


def all_of(program, mode):
    """QEMU, and each of the others after what it is compared with."""
    targets = []
    try:
        targets.append(qemu(mode))
        targets.append(nestor(program, mode, "emulated"))
        if mode != "second":    # second stages of scalable mode are not passed through
            targets.append(nestor(program, mode, "passthrough"))
    except BaseException:
        for t in targets:
            t.end()
        raise
    return targets
