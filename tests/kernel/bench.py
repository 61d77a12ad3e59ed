# SPDX-License-Identifier: BSD-3-Clause
#
# A kernel under test in QEMU (TCG), from the Debian 13 tree, with the initramfs of tests/kernel/initramfs; and a shell
# in it (tests/kernel/init), on the machine's second serial port. Or one on the machine of "nestor run --emulated".
import gzip
import pathlib
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import traceback

TIMEOUT = 240
HERE = pathlib.Path(__file__).resolve().parent
# A kernel stops at a WARN (panic_on_warn=1); what it says without one is looked for here. Faults of DMA are
# not among it: the tests make devices go where they must not.
COMPLAINTS = re.compile(r"WARNING:|BUG:|Oops|Call [Tt]race|Kernel panic|UBSAN|general protection|Unable to handle")
# no_timer_check: on a busy machine the kernel's check of the timer at boot fails, and is a panic.
WORDS = "panic=-1 panic_on_warn=1 no_timer_check"
MACHINES = {
    "x86_64": ("qemu-system-x86_64", "ttyS", [
        "-M", "q35", "-cpu", "max", "-m", "1024",
        "-device", "intel-iommu,intremap=on,scalable-mode=on,fsts=on"]),
    "arm64": ("qemu-system-aarch64", "ttyAMA", [
        "-M", "virt,gic-version=3,its=on,iommu=smmuv3", "-cpu", "cortex-a57", "-m", "512"]),
}


def command(arch, image, tree, scratch, options, words):
    """QEMU with this kernel, its console on the first serial port that the options name."""
    initramfs = scratch / "initramfs"
    subprocess.run([HERE / "initramfs", arch, initramfs], check=True, stdout=sys.stderr)
    if image.endswith(".gz"):  # UEFI starts only what is not packed
        (scratch / "image").write_bytes(gzip.decompress(pathlib.Path(image).read_bytes()))
        image = scratch / "image"
    program, tty, machine = MACHINES[arch]
    if arch == "arm64":
        machine = machine + ["-bios", f"{tree}/usr/share/qemu-efi-aarch64/QEMU_EFI.fd"]
    libraries = f"{tree}/lib/x86_64-linux-gnu:{tree}/usr/lib/x86_64-linux-gnu"
    return [f"{tree}/lib64/ld-linux-x86-64.so.2", "--library-path", libraries, f"{tree}/usr/bin/{program}",
            "-L", f"{tree}/usr/share/qemu", "-L", f"{tree}/usr/share/seabios", "-accel", "tcg", "-smp", "1",
            "-nodefaults", "-display", "none", "-monitor", "none", "-no-reboot", *machine, *options,
            "-kernel", image, "-initrd", initramfs, "-append", f"console={tty}0 {WORDS} {words}"]


def nested_command(nestor, image, scratch, devices, options, words):
    """The same with our own VT-d, which nests, and emulated devices behind it. They are given to user space though nothing
    remaps their interrupts."""
    initramfs = scratch / "initramfs"
    subprocess.run([HERE / "initramfs", "x86_64", initramfs], check=True, stdout=sys.stderr)
    return [nestor, "run", "--emulated", "--offer", "nested", "--offer", "no-caching-mode",
            *[word for d in devices for word in ("--device", d)], "--memory", "1G", "--cpus", "1",
            "--report", scratch / "report", "--kernel", image, "--initrd", initramfs, "--append",
            f"{WORDS} iommufd.allow_unsafe_interrupts=1 {words}", "--", *options]


class Ended(AssertionError):
    pass


class Bench:
    """The kernel, its shell, and at the end what it had to say. Where it is "nested", @tree is the nestor that runs it and
    @options are devices of that."""

    def __init__(self, arch, image, tree, scratch, options):
        self.console_file = scratch / "console"
        path = scratch / "shell"
        shell = ["-serial", f"unix:{path},server=on,wait=off"]
        if arch == "nested":
            words = nested_command(tree, image, scratch, options, shell, "shell=/dev/ttyS1")
            output = open(self.console_file, "wb")
        else:
            words = command(arch, image, tree, scratch, ["-serial", f"file:{self.console_file}", *shell, *options],
                            f"shell=/dev/{MACHINES[arch][1]}1")
            output = sys.stderr
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output)
        try:
            self.version = self.wait_for_shell(path)
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def wait_for_shell(self, path):
        """The kernel's version. "nestor run" begins with a dry run of QEMU, which has the same port and says nothing there."""
        while True:
            self.file = self.connect(path).makefile("rwb")
            try:
                while not (line := self.line()).startswith("SHELL "):
                    pass
                return line.split()[1]
            except Ended:
                if self.process.poll() is not None:
                    raise

    def connect(self, path):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(TIMEOUT)
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                s.connect(str(path))
                return s
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise Ended("QEMU did not start") from None
                time.sleep(0.02)

    def console(self):
        return self.console_file.read_text(errors="replace").replace("\r", "") if self.console_file.exists() else ""

    def line(self):
        try:
            line = self.file.readline()
        except OSError as e:
            raise Ended(f"the machine is silent ({e})") from None
        if not line:
            raise Ended("the machine ended")
        return line.decode(errors="replace").strip("\n")

    def send(self, *lines):
        self.file.write("".join(line + "\n" for line in lines).encode())
        self.file.flush()

    def answer(self):
        """What a command says, and how it ends."""
        said = []
        while not (line := self.line()).startswith("STATUS "):
            said.append(line)
        return "\n".join(said), int(line.split()[1])

    def run(self, *words):
        """A command without input: what it says on either output, and its status."""
        self.send(words[0] if len(words) == 1 else shlex.join(words))
        return self.answer()

    def good(self, *words):
        said, status = self.run(*words)
        if status:
            raise Ended(f"{' '.join(words)}: status {status}: {said}")
        return said

    def end(self):
        """The machine is switched off: all that its kernel said."""
        try:
            self.file.write(b"\4")
            self.file.flush()
            self.process.wait(60)
        except (OSError, subprocess.TimeoutExpired):
            pass
        self.process.kill()
        self.process.wait()
        return self.console()


class Qtest:
    """"nestor qtest" there. Its lines have to be shorter than a terminal's, which is 4095 characters."""

    def __init__(self, bench, *words):
        self.bench, self.words = bench, words
        bench.send(shlex.join(("nestor", "qtest") + words) + " <&3 2>/tmp/said")
        self.send(["endianness"])

    def send(self, commands):
        """The words after OK of each."""
        answers = []
        for n in range(0, len(commands), 16):  # not more at once than a terminal keeps
            self.bench.send(*commands[n:n + 16])
            answers += [self.answer(command) for command in commands[n:n + 16]]
        return answers

    def answer(self, command):
        words = self.bench.line().split()
        if words[:1] == ["OK"]:
            return words[1] if words[1:] else None
        if words[:1] == ["STATUS"]:  # it did not begin, and the shell took the command for its own
            self.bench.answer()
            said = self.bench.run("cat", "/tmp/said")[0]
        else:
            said = self.end()[1]
        raise Ended(f"{command}: {' '.join(words)}; nestor qtest {' '.join(self.words)} said: {said}")

    def numbers(self, commands):
        return [int(a, 16) if a else None for a in self.send(commands)]

    def read(self, size, address):
        return self.numbers([f"read{'bwlq'[size.bit_length() - 1]} {address}"])[0]

    def write(self, size, address, value):
        self.send([f"write{'bwlq'[size.bit_length() - 1]} {address} {value}"])

    def get(self, address, size):
        data = b""
        while len(data) < size:
            n = min(size - len(data), 2048)
            data += bytes.fromhex(self.send([f"read {address + len(data)} {n}"])[0][2:])
        return data

    def put(self, address, data):
        for n in range(0, len(data), 1024):
            piece = data[n:n + 1024]
            self.send([f"write {address + n} {len(piece)} 0x{piece.hex()}"])

    def end(self):
        """It hears no more: how it ends, and what it said."""
        self.bench.file.write(b"\4")
        self.bench.file.flush()
        status = self.bench.answer()[1]
        return status, self.bench.run("cat", "/tmp/said")[0]


def run_cases(name, run):
    """The cases of a test as TAP, on the kernel that the command line names: run(*words, scratch, case) calls case(NAME, function)
    for each, and returns the console. The exit status."""
    results = []

    def case(case_name, function):
        began = time.monotonic()
        try:
            function()
            results.append(True)
        except Exception:  # each case for itself
            results.append(False)
            print("".join(f"# {line}\n" for line in traceback.format_exc().splitlines()), end="")
        print(f"{case_name}: {time.monotonic() - began:.1f} s", file=sys.stderr)
        print(f"{'ok' if results[-1] else 'not ok'} {len(results)} - {name}.{case_name}", flush=True)

    with tempfile.TemporaryDirectory(prefix="nestor-test-") as scratch:
        console = run(*sys.argv[1:], pathlib.Path(scratch), case)
    if not all(results):
        for line in console.splitlines()[-60:]:
            print(f"#   {line}")
    print(f"1..{len(results)}")
    return not all(results)
