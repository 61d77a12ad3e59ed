# SPDX-License-Identifier: BSD-3-Clause
#
# Some of the random programs for an SMMUv3 (run.py --viommu smmuv3 runs more), what QEMU does wrong, and that a difference
# would be seen at all. docs/differences.md explains, and holds the table of what may differ.
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import compare  # noqa: E402
import smmuv3  # noqa: E402
import smmuv3_program as program  # noqa: E402
from tap import main, test  # noqa: E402

NESTOR = sys.argv[1]
PROGRAMS, STEPS = 16, 150
IOVA, ASID = 0x10000, 1
STRTAB, STE, CD = program.STRTAB, program.STRTAB + 64 * program.SIDS[0], program.CDS
DOMAIN = program.Domain(ASID, CD, 12, 25, False)
DOMAIN.top = program.TABLES
LEAF = program.TABLES + 0x2000 + (IOVA >> 12) * 8
GOOD = program.DATA | 3 | program.AF | program.NG | program.USER
DONE, REFUSED = "done, there", "refused, elsewhere"


@test
def stage_1_programs(scratch):
    rules, operations = compare.Rules(), 0
    for seed in range(1, PROGRAMS + 1):
        count, difference = compare.check(NESTOR, seed, "stage1", STEPS, rules)
        operations += count
        assert not difference, difference
    print(f"# {operations} operations, {sum(rules.used.values())} known differences")


@test
def a_difference_is_seen_and_shrunk(scratch):
    """Without a row of the table there has to be one, and its program is short."""
    class Fewer(compare.Rules):
        def __init__(self):
            super().__init__()
            self.rows = [row for row in self.rows if row[0] != "address of a context descriptor"]
    steps = program.generate(1, "stage1", 20)
    steps[-1] = [("store", STE, 1 | program.STAGE1 << 1 | program.BEYOND, *(0,) * 7), ("write", 4, program.CR0, 0),
                 ("write", 8, program.STRTAB_BASE, STRTAB), ("write", 4, program.STRTAB_CFG, program.STRTAB_LG2),
                 ("write", 4, program.CR0, 0xd), *commands((4, 31)), ("dma", 0, IOVA, 4, program.DATA)]
    whole = compare.run(NESTOR, "stage1", steps, Fewer())
    assert whole and whole[0] == "events", whole
    kept = compare.Rules
    compare.Rules = Fewer
    try:
        steps, difference = compare.shrink(NESTOR, "stage1", steps, whole)
    finally:
        compare.Rules = kept
    assert difference[0] == "events" and len(steps) <= 2, (steps, difference)


@test
def programs_are_reproducible(scratch):
    assert program.generate(7, "stage1", 30) == program.generate(7, "stage1", 30) != program.generate(8, "stage1", 30)


# --- defects of QEMU 11.1.3; a newer QEMU that does it right fails here

def commands(*those):
    return [("put", *c) for c in (*those, (program.SYNC, 0))] + [("tail",)]


def tables():
    return [("store", CD, *DOMAIN.words()), ("store", STE, 1 | program.STAGE1 << 1 | CD, 0, 0, 0, 0, 0, 0, 0),
            ("store", program.TABLES, program.TABLES + 0x1000 | 3), ("store", program.TABLES + 0x1000, program.TABLES + 0x2000 | 3),
            ("store", LEAF, GOOD)]


def queues():
    return [("write", 8, program.CMDQ_BASE, program.CMDQ | program.CMDQ_LG2),
            ("write", 8, program.EVENTQ_BASE, program.EVENTQ | program.EVENTQ_LG2), ("write", 4, program.CR2, 2)]


def linear():
    return [("write", 8, program.STRTAB_BASE, STRTAB), ("write", 4, program.STRTAB_CFG, program.STRTAB_LG2)]


def two_levels(span):
    return [("store", program.L1, STRTAB | span), ("write", 8, program.STRTAB_BASE, program.L1),
            ("write", 4, program.STRTAB_CFG, 1 << 16 | 6 << 6 | 16)]


def seen(*steps, count=1, stream_table=linear):
    """The last operations after the unit was set up, on QEMU and on the two kinds of Nestor."""
    setup = [*tables(), *queues(), *stream_table(), ("write", 4, program.CR0, 0xd), *commands((4, 31), (0x30, 0))]
    targets, results = smmuv3.all_of(NESTOR, "stage1"), []
    try:
        for t in targets:
            values = [value for step in program.place([setup, *steps]) for op in step for _, value in t.run(op)]
            results.append(values[-1] if count == 1 else tuple(values[-count:]))
    finally:
        for t in targets:
            t.end()
    return results


def dma(iova=IOVA):
    return "dma", 0, iova, 4, program.DATA


def event(kind, *words):
    return (program.SIDS[0] << 32 | kind, *words, *(0,) * (3 - len(words)))


@test
def what_all_do(scratch):
    assert seen([dma()], count=2) == [(DONE, ())] * 3
    assert seen([("store", LEAF, 0), dma()], count=2) == [(REFUSED, (event(0x10, 2 << 40, IOVA),))] * 3


@test
def more_events_than_there_is_room_for(scratch):
    """s7.4: OVFLG says so, and it is no global error."""
    flood = [("dma_only", 0, 0x2000000, 4, program.DATA)] * ((1 << program.EVENTQ_LG2) + 1)
    qemu, *nestor = seen([*flood, ("read", 4, 0x60), ("read", 4, program.EVENTQ_PROD)], count=2)
    size = 1 << program.EVENTQ_LG2
    assert qemu == (4, size) and nestor == [(0, 1 << 31 | size)] * 2, (qemu, nestor)


@test
def from_two_levels_to_one(scratch):
    """s6.3.25: QEMU goes on reading a stream table of two levels."""
    change = [("write", 4, program.CR0, 0xc), *linear(), ("write", 4, program.CR0, 0xd), *commands((4, 31), (0x30, 0))]
    qemu, *nestor = seen([*change, dma()], count=2, stream_table=lambda: two_levels(5))
    assert qemu[0] == REFUSED and nestor == [(DONE, ())] * 2, (qemu, nestor)


@test
def span_of_a_second_level_table(scratch):
    """s5.1: a span of 4 is 8 entries, of which that of StreamID 8 is none."""
    assert seen([dma()], count=2, stream_table=lambda: two_levels(5)) == [(DONE, ())] * 3
    qemu, emulated, passthrough = seen([dma()], count=2, stream_table=lambda: two_levels(4))
    assert qemu == (DONE, ()) and emulated == (REFUSED, (event(2),)) and passthrough == (REFUSED, ())


@test
def streams_that_there_are_not(scratch):
    """s6.3.12: without RECINVSID nobody is told."""
    quiet = [("write", 4, program.CR0, 0), ("write", 4, program.STRTAB_CFG, 3), ("write", 4, program.CR2, 0),
             ("write", 4, program.CR0, 0xd), *commands((4, 31))]
    qemu, *nestor = seen([*quiet, dma()], count=2)
    assert qemu == (REFUSED, (event(2),)) and nestor == [(REFUSED, ())] * 2, (qemu, nestor)


@test
def commands_of_what_there_is_not(scratch):
    """s4.1.3: those of EL2, EL3, ATS, PRI and stalls are illegal; QEMU does nothing and goes on. CS = 3 is reserved."""
    for command in ((0x20, 0), (0x21, 0), (0x22, 0), (0x18, 0), (0x1a, 0), (0x40, 52), (0x41, 0), (0x44, 0), (0x45, 0),
                    (program.SYNC | 3 << 12, 0)):
        qemu, *nestor = seen([("put", *command), ("tail",), ("read", 4, program.CMDQ_CONS)])
        assert qemu == 4 and nestor == [1 << 24 | 3] * 2, (command, qemu, nestor)


@test
def registers_that_are_locked(scratch):
    """s6.3: what may not be written while something is enabled; QEMU takes it."""
    for size, at, value in ((8, program.STRTAB_BASE, program.DATA), (4, program.STRTAB_CFG, 3), (4, program.CR1, 0xd75),
                            (8, program.EVENTQ_BASE, program.DATA | 3), (8, program.CMDQ_BASE, program.DATA | 3)):
        before = seen([("read", size, at)])
        after = seen([("write", size, at, value), ("read", size, at)])
        assert after[0] == value and after[1:] == before[1:], (hex(at), before, after)


@test
def pages_of_privileged_software(scratch):
    """AP of a page that user accesses may not use: QEMU does not look."""
    qemu, *nestor = seen([("store", LEAF, GOOD & ~program.USER), dma()], count=2)
    assert qemu == (DONE, ()) and nestor == [(REFUSED, (event(0x13, 2 << 40, IOVA),))] * 2, (qemu, nestor)


@test
def dirty_state_of_the_host(scratch):
    """A CD that asks for what the guest is not offered but the host has: only the host's own SMMU is asked."""
    wrong = DOMAIN.words()
    wrong[0] |= 1 << 43
    change = [("store", CD, *wrong), *commands((6 | program.SIDS[0] << 32, 0))]
    qemu, emulated, passthrough = seen([*change, dma()], count=2)
    assert qemu == emulated == (REFUSED, (event(0xa),)) and passthrough == (DONE, ()), (qemu, emulated, passthrough)


main()
