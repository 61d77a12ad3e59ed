# SPDX-License-Identifier: BSD-3-Clause
#
# The random programs of tests/differential on a kernel: "nestor qtest" here with emulated testdevs, which the unit itself
# translates for, and there with QEMU's, below whose tables the kernel's second stage is. What may differ is what may differ of
# passed-through devices in docs/differences.md, but for the rows that docs/kernel-host.md has instead.
import pathlib
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/differential"))
import compare  # noqa: E402
import smmuv3  # noqa: E402
import smmuv3_program  # noqa: E402

MODE = "stage1"
# QEMU takes a table's address after the second stage for one that is aligned as the first stage's tables are, which of larger
# granules than the second stage's it is not.
GRANULES = (12,)


class Kernel(smmuv3.Target):
    def __init__(self, qtest):
        self.name, self.qtest = "smmuv3 kernel", qtest
        self.begin()

    def send(self, commands):
        return self.qtest.send(commands)

    def end(self):
        self.said = self.qtest.end()[1]
        return self.said


class Rules(compare.Rules):
    def __init__(self):
        super().__init__()
        self.own = compare.read_table(TOP / "docs/kernel-host.md")
        for row in self.rows:
            row[2] = row[2].replace("smmuv3 passthrough", "smmuv3 kernel")
        shown = {f"smmuv3 kernel {row[3]}" for row in self.own}
        self.rows = self.own + [row for row in self.rows if not (row[1] == "not seen" and row[2] in shown)]
        self.used = dict.fromkeys((row[0] for row in self.rows), 0)


def check(nestor, make, seed, steps, rules):
    """How many operations; or that the first difference is an AssertionError. @make: a machine on the kernel."""
    program = smmuv3_program.Generator(seed, MODE, steps, GRANULES).steps
    here = smmuv3.nestor(nestor, MODE, "emulated")
    try:
        there = Kernel(make())
        found = next(compare.differences(smmuv3, [here, there], program, rules), None)
        there.end()
    finally:
        here.end()
    assert not found, compare.describe(seed, MODE, [], found)
    return sum(map(len, program))
