# SPDX-License-Identifier: BSD-3-Clause
#
# Some of the random programs (run.py runs more), what QEMU does wrong, and that a difference would be seen at all.
# docs/differences.md explains, and holds the table of what may differ.
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import compare  # noqa: E402
import vtd  # noqa: E402
import vtd_program as program  # noqa: E402
from tap import main, test  # noqa: E402

NESTOR = sys.argv[1]
PROGRAMS, STEPS = 16, 150
IOVA, TOP, DIRECTORY, PASIDS = 0x10000, program.TABLES, program.DIRECTORIES, program.PASID_TABLES
EVERYTHING = (("put", 1 | 1 << 4, 0, 0, 0), ("put", 7 | 3 << 4, 0, 0, 0), ("put", 2 | 1 << 4, 0, 0, 0), ("tail",))
SCALABLE = (("write", 8, 0x20, program.ROOTS[0] | 1 << 10), ("write", 4, 0x18, program.SRTP),
            ("write", 8, 0x90, program.QUEUE | 1 << 11 | program.QUEUE_LG2), ("write", 4, 0x18, program.QIE),
            ("write", 4, 0x18, program.QIE | program.TE))


def agree(mode, first_seed):
    rules, operations = compare.Rules(), 0
    for seed in range(first_seed, first_seed + PROGRAMS):
        count, difference = compare.check(NESTOR, seed, mode, STEPS, rules)
        operations += count
        assert not difference, difference
    print(f"# {operations} operations, {sum(rules.used.values())} known differences")


@test
def first_stage_programs(scratch):
    agree("first", 1)


@test
def second_stage_programs(scratch):
    agree("second", 1)


@test
def legacy_mode_programs(scratch):
    agree("legacy", 1)


@test
def a_difference_is_seen_and_shrunk(scratch):
    """Without a row of the table there has to be one, and its program is short."""
    class Fewer(compare.Rules):
        def __init__(self):
            super().__init__()
            self.rows = [row for row in self.rows if row[0] != "root entry not present"]
    steps = program.generate(2, "first", 40)
    steps[-1] = [("store", program.ROOTS[0], 0), *SCALABLE, *EVERYTHING, ("dma", 0, IOVA, 4, program.DATA)]
    whole = compare.run(NESTOR, "first", steps, Fewer())
    assert whole and whole[0] == "fault", whole
    kept = compare.Rules
    compare.Rules = Fewer
    try:
        steps, difference = compare.shrink(NESTOR, "first", steps, whole)
    finally:
        compare.Rules = kept
    assert difference[0] == "fault" and len(steps) <= 4, (steps, difference)


@test
def programs_are_reproducible(scratch):
    assert program.generate(7, "first", 30) == program.generate(7, "first", 30) != program.generate(8, "first", 30)


# --- defects of QEMU 11.1.3; a newer QEMU that does it right fails here

def seen(*steps):
    """The last operation of a first-stage program on QEMU and on the two kinds of Nestor."""
    tables = [("store", program.ROOTS[0], program.CONTEXTS[0] | 1),
              ("store", program.CONTEXTS[0] + 8 * 32, DIRECTORY | 1, 0, 0, 0), ("store", DIRECTORY, PASIDS | 1)]
    for level, table in ((4, TOP), (3, TOP + 0x1000), (2, TOP + 0x2000)):
        tables.append(("store", table + (IOVA >> 9 * level + 3 & 511) * 8, table + 0x1000 | 7))
    tables += [("store", TOP + 0x3000 + (IOVA >> 12) * 8, program.DATA | 7), entry(1), *SCALABLE]
    targets, results = vtd.all_of(NESTOR, "first"), []
    try:
        for t in targets:
            for step in program.place([tables, *steps]):
                for op in step:
                    result = t.run(op)
            results.append(result[0][1])
    finally:
        for t in targets:
            t.end()
    return results


def entry(pgtt, present=1):
    return "store", PASIDS, present | pgtt << 6, 1, TOP, 0, 0, 0, 0, 0


def dma(gpa=program.DATA):
    return "dma", 0, IOVA, 4, gpa


@test
def dirty_bit_of_an_accessed_page(scratch):
    leaf = TOP + 0x3000 + (IOVA >> 12) * 8
    qemu, *nestor = seen([("store", leaf, program.DATA | 0x27), *EVERYTHING, dma(), ("memory", leaf, 1)])
    assert qemu == "0x27" and nestor == ["0x67"] * 2, (qemu, nestor)


@test
def pasid_entry_that_is_no_longer_present(scratch):
    caches = (("put", 7 | 3 << 4, 0, 0, 0), ("put", 2 | 1 << 4, 0, 0, 0), ("tail",))
    qemu, *nestor = seen([dma(), entry(1, present=0), *caches, dma()])
    assert qemu == "done, there" and nestor == ["refused, elsewhere"] * 2, (qemu, nestor)


@test
def reserved_bits_of_a_directory_entry(scratch):
    qemu, *nestor = seen([("store", DIRECTORY, PASIDS | 1 | 1 << 5), *EVERYTHING, dma()])
    assert qemu == "done, there" and nestor == ["refused, elsewhere"] * 2, (qemu, nestor)


@test
def back_from_pass_through(scratch):
    caches = (("put", 7 | 3 << 4, 0, 0, 0), ("put", 2 | 1 << 4, 0, 0, 0), ("tail",))
    change = [[entry(1), *caches], [entry(4), *caches], [entry(1), *caches]]
    qemu, *nestor = seen(*change, [dma()])
    assert qemu == "done, elsewhere" and nestor == ["done, there"] * 2, (qemu, nestor)
    context = ("put", 1 | 3 << 4 | 8 << 32, 0, 0, 0), ("tail",)
    assert seen(*change, [*context, dma()]) == ["done, there"] * 3


main()
