# SPDX-License-Identifier: BSD-3-Clause
#
# Saving and restoring in the middle of a program: random programs (vtd_program.py, smmuv3_program.py) run once without, and once with the
# machine saved at random places - between any two lines of the protocol, so also between a doorbell and what it starts,
# or a change of tables and its invalidation - its process killed, and the rest run by a new one. What every operation
# sees, and the machine at the end (registers, memory, devices: the file that nestor_save writes), are the same.
import pathlib
import random
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import smmuv3  # noqa: E402
import target  # noqa: E402
import vtd  # noqa: E402
import vtd_program  # noqa: E402
from tap import main, test  # noqa: E402

NESTOR = sys.argv[1]
STEPS, PROGRAMS, POINTS = 80, 5, 10     # for each kind: 50 places


class Machine:
    """One that is saved and goes on elsewhere before each of the lines that @points counts; beside a Target of its unit."""

    def __init__(self, options, points, path):
        self.command = [NESTOR, "qtest", "--memory", f"{target.MEMORY >> 20}M", *options, "--save", str(path)]
        self.path, self.points, self.lines, self.moves = path, points, 0, 0
        super().__init__("nestor", self.command)

    def send(self, commands):
        answers = []
        for n, command in enumerate(commands):
            if self.lines in self.points:
                answers += super().send(commands[len(answers):n])
                self.move()
            self.lines += 1
        return answers + super().send(commands[len(answers):])

    def move(self):
        super().send(["nestor_save"])
        self.process.kill()
        self.process.communicate()
        self.process = subprocess.Popen([*self.command, "--load", str(self.path)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.log)
        self.moves += 1


class Vtd(Machine, vtd.Target):
    unit = vtd


class Smmuv3(Machine, smmuv3.Target):
    unit = smmuv3


def run(kind, options, steps, points, path):
    """(what was seen, the machine at the end, lines, moves)"""
    machine = kind(options, points, path)
    try:
        seen = [machine.run(op) for step in kind.unit.place(steps) for op in step]
        lines, moves = machine.lines, machine.moves
        machine.points = ()
        machine.send(["nestor_save"])
        return seen, path.read_bytes(), lines, moves
    finally:
        machine.end()


def same_with_and_without(kind, scratch, mode, *options):
    moves, done = 0, 0
    for seed in range(1, PROGRAMS + 1):
        steps = kind.unit.generate(100 + seed, mode, STEPS)
        seen, end, lines, _ = run(kind, options, steps, (), scratch / "without")
        points = random.Random(f"{mode} {options} {seed}").sample(range(lines), POINTS)
        seen2, end2, _, moved = run(kind, options, steps, points, scratch / "with")
        where = f"seed {seed}, lines {sorted(points)}"
        assert len(seen) == len(seen2)
        for op, one, other in zip([op for step in kind.unit.place(steps) for op in step], seen, seen2):
            assert one == other, f"{where}: {op}: {one}, {other}"
        assert end == end2, f"{where}: the machine differs at byte {next(i for i, (a, b) in enumerate(zip(end, end2)) if a != b)}"
        moves += moved
        done += sum(1 for result in seen for label, value in result if label == "dma" and value == "done, there")
    assert moves == PROGRAMS * POINTS and done > 100, (moves, done)
    print(f"# {moves} places, {done} transfers")


@test
def emulated_devices(scratch):
    same_with_and_without(Vtd, scratch, "first", "--device", "testdev", "--device", "testdev")


@test
def emulated_devices_with_second_stages(scratch):
    same_with_and_without(Vtd, scratch, "second", "--device", "testdev", "--device", "testdev", "--offer", "second-stage")


@test
def passed_through_devices(scratch):
    same_with_and_without(Vtd, scratch, "first", "--passthrough", "--device", "testdev", "--device", "testdev")


@test
def one_of_each(scratch):
    same_with_and_without(Vtd, scratch, "first", "--device", "testdev,mode=passthrough", "--device", "testdev,mode=emulated")


SMMUV3 = ("--viommu", "smmuv3")


@test
def emulated_devices_behind_an_smmuv3(scratch):
    same_with_and_without(Smmuv3, scratch, "stage1", *SMMUV3, "--device", "testdev", "--device", "testdev")


@test
def passed_through_devices_behind_an_smmuv3(scratch):
    same_with_and_without(Smmuv3, scratch, "stage1", *SMMUV3, "--passthrough", "--device", "testdev", "--device", "testdev")


@test
def one_of_each_behind_an_smmuv3(scratch):
    same_with_and_without(Smmuv3, scratch, "stage1", *SMMUV3, "--device", "testdev,mode=passthrough",
                          "--device", "testdev,mode=emulated")


@test
def a_forgotten_state_would_be_seen(scratch):
    """The test above can fail: a machine that goes on without its memory does."""
    steps = vtd.generate(101, "first", STEPS)
    options = ("--device", "testdev", "--device", "testdev")
    seen, _, lines, _ = run(Vtd, options, steps, (), scratch / "file")

    class Forgetful(Vtd):
        def move(self):
            super().move()
            target.Target.send(self, [f"memset {vtd_program.TABLES} {vtd_program.TABLES_END - vtd_program.TABLES} 0"])
    machine = Forgetful(options, [lines // 2], scratch / "file")
    try:
        assert [machine.run(op) for step in vtd.place(steps) for op in step] != seen
    finally:
        machine.end()


@test
def bad_files_are_refused(scratch):
    path = scratch / "machine"
    subprocess.run([NESTOR, "qtest", "--memory", "1M", "--save", path], input=b"writel 0x1000 1\nnestor_save\n", check=True,
                   capture_output=True)
    good = path.read_bytes()

    def load(data, *options):
        path.write_bytes(data)
        return subprocess.run([NESTOR, "qtest", "--memory", "1M", *options, "--load", path], input="readl 0x1000\n",
                              capture_output=True, text=True)
    assert load(good).stdout == "OK 0x0000000000000001\n"
    generator = random.Random(1)
    for at in [*range(32), *generator.sample(range(32, len(good)), 100)]:
        done = load(good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1:])
        assert done.returncode == 2 and not done.stdout, (at, done)
        assert done.stderr.startswith(f"nestor: cannot load the machine from {path}: "), done
    for data, options in ((good[:-1], ()), (good + b"x", ()), (b"", ()), (good, ("--device", "testdev") * 2),
                          (good, ("--passthrough",)), (good, ("--memory", "2M")), (good, ("--offer", "nested"))):
        assert load(data, *options).returncode == 2, options
    missing = subprocess.run([NESTOR, "qtest", "--load", "/nonexistent"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert missing.returncode == 2 and missing.stderr == "nestor: cannot load the machine from /nonexistent: " \
        "No such file or directory\n"
    for options, answer in (((), "FAIL there is no file to save to\n"),
                            (("--save", "/nonexistent/x"), "FAIL the machine is not saved: No such file or directory\n")):
        done = subprocess.run([NESTOR, "qtest", *options], input="nestor_save\n", capture_output=True, text=True)
        assert done.stdout == answer, done


main()
