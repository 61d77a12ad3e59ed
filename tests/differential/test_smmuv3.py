# SPDX-License-Identifier: BSD-3-Clause
#
# Some of the random programs for an SMMUv3 (run.py --viommu smmuv3 runs more), what QEMU does wrong, and that a difference
# would be seen at all. docs/differences.md explains, and holds the table of what may differ.
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import compare  # noqa: E402
import smmuv3  # noqa: E402
import smmuv3_nested as nested  # noqa: E402
import smmuv3_program as program  # noqa: E402
import target  # noqa: E402
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


def agree(mode):
    rules, operations = compare.Rules(), 0
    for seed in range(1, PROGRAMS + 1):
        count, difference = compare.check(NESTOR, seed, mode, STEPS, rules)
        operations += count
        assert not difference, difference
    print(f"# {operations} operations, {sum(rules.used.values())} known differences")


@test
def stage_1_programs(scratch):
    agree("stage1")


@test
def nested_programs(scratch):
    agree("nested")


@test
def a_difference_is_seen_and_shrunk(scratch):
    """Without a row of the table there has to be one, and its program is short."""
    class Fewer(compare.Rules):
        def __init__(self):
            super().__init__()
            self.rows = [row for row in self.rows if row[0] != "address of a context descriptor"]
    steps = smmuv3.generate(1, "stage1", 20)
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
    for mode in smmuv3.MODES:
        assert smmuv3.generate(7, mode, 30) == smmuv3.generate(7, mode, 30) != smmuv3.generate(8, mode, 30)


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


def seen(*steps, count=1, stream_table=linear, mode="stage1"):
    """The last operations after the unit was set up, on QEMU and on the kinds of Nestor."""
    setup = [*tables(), *queues(), *stream_table(), ("write", 4, program.CR0, 0xd), *commands((4, 31), (0x30, 0))]
    targets, results = smmuv3.all_of(NESTOR, mode), []
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


# --- the same of two stages

VM, S2_GOOD = program.TABLES + 0x100000, program.AF | nested.NORMAL | nested.READ | nested.WRITE
S2_RECORD = nested.S2AA64 | nested.S2R | 4 << 48
LEVEL1 = S2_RECORD | 25 << 32 | 1 << 38         # 4 KiB, 39 bits


def identity():
    """A stage 2 by which all of memory is where it is, in one page of 1 GiB."""
    return [("store", VM + 8, 0x40000000 | S2_GOOD | program.BLOCK)]


def stream(config, word2, ttb=VM):
    return [("store", STE, 1 | config << 1 | CD, 0, word2, ttb, 0, 0, 0, 0), *commands((4, 31), (0x30, 0))]


def stage2(word2, *more, ttb=VM, iova=program.DATA, count=2):
    return seen([*more, *stream(nested.STAGE2, word2, ttb), dma(iova)], count=count, mode="nested")


BAD_STE = (REFUSED, (event(4),))


@test
def what_both_do_with_two_stages(scratch):
    assert stage2(LEVEL1, *identity()) == [(DONE, ())] * 2
    assert seen([*identity(), *stream(nested.NESTED, LEVEL1), dma()], count=2, mode="nested") == [(DONE, ())] * 2
    assert stage2(LEVEL1, ("store", VM + 8, 0)) == [(REFUSED, (event(0x10, 1 << 39 | 2 << 40, program.DATA, program.DATA),))] * 2
    for word in (S2_RECORD | 25 << 32 | 3 << 38, LEVEL1 | 3 << 46, LEVEL1 | nested.S2S, LEVEL1 | nested.S2ENDI):
        assert stage2(word, *identity()) == [BAD_STE] * 2, hex(word)


@test
def commands_of_stage_2(scratch):
    """There are none without it, and all do what they say with it."""
    for command in ((0x28, 0), (0x2a, 0)):
        for mode, cons in (("stage1", 1 << 24 | 3), ("nested", 4)):
            found = seen([("put", *command), ("tail",), ("read", 4, program.CMDQ_CONS)], mode=mode)
            assert found == [cons] * len(found), (command, found)


@test
def updates_of_stage_2(scratch):
    """s5.2, S2HA and S2HD: nothing updates tables (IDR0.HTTU), so they are illegal. QEMU does not look."""
    for bit in (55, 56):
        assert stage2(LEVEL1 | 1 << bit, *identity()) == [(DONE, ()), BAD_STE]


@test
def sizes_of_stage_2(scratch):
    """s5.2, S2T0SZ: the limit is the IAS, which is the OAS; for QEMU it is S2PS."""
    assert stage2(LEVEL1 & ~(7 << 48), *identity()) == [BAD_STE, (DONE, ())]


@test
def first_levels_of_stage_2(scratch):
    """s5.2, S2SL0: a table that has less than one bit of the address to translate is none to begin with."""
    word = S2_RECORD | 34 << 32 | 1 << 38
    qemu, nestor = stage2(word, ("store", VM, 0x40000000 | S2_GOOD | program.BLOCK), iova=0x1000000)
    assert qemu != BAD_STE and nestor == BAD_STE, (qemu, nestor)


@test
def tables_side_by_side(scratch):
    """Of tables that begin stage 2 together QEMU finds the first only."""
    word, at = S2_RECORD | 30 << 32, VM + (program.DATA >> 21) * 8       # level 2, 16 tables
    qemu, nestor = stage2(word, ("store", at, (program.DATA & ~0x1fffff) | S2_GOOD | program.BLOCK))
    assert qemu[0] == REFUSED and nestor == (DONE, ()), (qemu, nestor)


@test
def tables_in_device_memory(scratch):
    """s5.2, S2PTW: QEMU does not look."""
    device = [("store", VM + 8, 0x40000000 | S2_GOOD & ~nested.NORMAL | program.BLOCK)]
    found = seen([*device, *stream(nested.NESTED, LEVEL1 | nested.S2PTW), dma()], count=2, mode="nested")
    assert found == [(DONE, ()), (REFUSED, (event(0x13, 1 << 39, IOVA, CD),))], found


@test
def a_page_that_was_read(scratch):
    """s5.5, S2R: a write to what is cached without that right is, for QEMU, no fault of stage 2; so it is not told."""
    there = S2_GOOD & ~nested.WRITE
    pages = [("store", VM + 8, VM + 0x1000 | 3), ("store", VM + 0x1000 + (CD - 0x40000000 >> 21) * 8, VM + 0x2000 | 3),
             ("store", VM + 0x2000 + (CD >> 12 & 511) * 8, CD | there | 3)]
    first = [*pages, *stream(nested.NESTED, LEVEL1), dma()]
    second = [("store", STE, 1 | nested.STAGE2 << 1, 0, LEVEL1, VM, 0, 0, 0, 0), *commands((4, 31)), dma(CD)]
    qemu, nestor = seen(first, second, count=2, mode="nested")
    assert qemu == (REFUSED, ()) and nestor == (REFUSED, (event(0x13, 1 << 39 | 2 << 40, CD, CD),)), (qemu, nestor)


@test
def a_table_of_many_pages(scratch):
    """A table of stage 1 of 64 KiB that stage 2 has in pages of 4 KiB: QEMU looks where the first of them is."""
    domain = program.Domain(ASID, CD, 16, 22, False)
    domain.top = program.TABLES + 0x200000
    table, last = program.TABLES + 0x210000, program.TABLES + 0x220000
    iova = 0xffff0000                                           # the last entry of its table
    pages = [("store", CD, *domain.words()), ("store", domain.top + 7 * 8, table | 3),
             ("store", last + 0xf000 + 0xff8, program.DATA | 3 | program.AF | program.NG | program.USER),
             ("store", VM + 8, VM + 0x1000 | 3)]
    pages += [("store", VM + 0x1000 + n * 8, 0x40000000 + (n << 21) | S2_GOOD | program.BLOCK) for n in range(16)]
    at = table - 0x40000000
    pages += [("store", VM + 0x1000 + (at >> 21) * 8, VM + 0x2000 | 3)]
    pages += [("store", VM + 0x2000 + n * 8, (0x40000000 + (at >> 21 << 21) + (n << 12)) | S2_GOOD | 3) for n in range(512)]
    pages += [("store", VM + 0x2000 + (table + 0xf000 >> 12 & 511) * 8, last + 0xf000 | S2_GOOD | 3)]
    qemu, nestor = seen([*pages, *stream(nested.NESTED, LEVEL1), dma(iova)], count=2, mode="nested")
    assert qemu[0] == REFUSED and nestor == (DONE, ()), (qemu, nestor)


@test
def aborts_on_the_way_to_a_table(scratch):
    """Rows of the table that random programs seldom need: s7.3.12 of a top table, and of one below."""
    where = 0xc0000000                                          # stage 2 has a table for it that is no memory
    pages, words = [*identity(), ("store", VM + 24, program.BEYOND + 0x1000 | 3)], DOMAIN.words()
    words[1] = where
    for table, one in (([("store", CD, *words)], event(0xb, 1 << 35 | 1 << 39 | 1 << 40, IOVA, program.BEYOND + 0x1000)),
                       ([("store", program.TABLES, where | 3)], event(0xb, 1 << 40, IOVA, where))):
        qemu, nestor = seen([*pages, *table, *stream(nested.NESTED, LEVEL1), dma()], count=2, mode="nested")
        assert nestor == (REFUSED, (event(0xb, 1 << 39 | 1 << 40, IOVA, program.BEYOND + 0x1000),)), nestor
        assert qemu == (REFUSED, (one,)), qemu
        rules = compare.Rules()
        assert rules.same("smmuv3 emulated", "nested", "events", qemu[1], nestor[1]), (qemu, nestor)


@test
def a_table_beyond_the_output_size(scratch):
    """s3.4: it is stage 1's fault, of the access; QEMU says that it is of a table, and gives its address."""
    beyond = [("store", program.TABLES, 1 << 46 | 3)]
    qemu, nestor = seen([*identity(), *beyond, *stream(nested.NESTED, LEVEL1), dma()], count=2, mode="nested")
    assert nestor == (REFUSED, (event(0x11, 2 << 40, IOVA),)) and qemu == (REFUSED, (event(0x11, 1 << 40, IOVA, 1 << 46),)), \
        (qemu, nestor)


@test
def tables_before_addresses(scratch):
    """QEMU has the top table of stage 1 translated, and its fault told, before it looks at the address."""
    words = DOMAIN.words()
    words[1] = program.BEYOND
    qemu, nestor = seen([*identity(), ("store", CD, *words), *stream(nested.NESTED, LEVEL1), dma(1 << 45)], count=2, mode="nested")
    assert nestor == (REFUSED, (event(0x10, 2 << 40, 1 << 45),)), nestor
    assert qemu == (REFUSED, (event(0x10, 1 << 35 | 1 << 39 | 1 << 40, 1 << 45, program.BEYOND),)), qemu


@test
def tables_of_32_bits(scratch):
    """s5.2, S2AA64: there are none, so the entry is illegal; QEMU ends."""
    steps = [*tables(), *queues(), *linear(), ("write", 4, program.CR0, 0xd),
             *stream(nested.STAGE2, LEVEL1 & ~nested.S2AA64), dma(program.DATA)]
    results = []
    for make in (lambda: smmuv3.qemu("nested"), lambda: smmuv3.nestor(NESTOR, "nested", "emulated")):
        t = make()
        try:
            results.append([value for op in program.place([steps])[0] for _, value in t.run(op)][-2:])
        except target.Ended:
            results.append(None)
        finally:
            t.end()
    assert results == [None, list(BAD_STE)], results


@test
def passed_through_without_stage_2(scratch):
    """A host has no stage 2 for the guest: such a stream is blocked, and the guest is told."""
    t = smmuv3.nestor(NESTOR, "nested", "passthrough")
    try:
        steps = [*tables(), *queues(), *linear(), *identity(), ("write", 4, program.CR0, 0xd), *commands((4, 31), (0x30, 0)), dma(),
                 *stream(nested.NESTED, LEVEL1), dma(), *stream(program.STAGE1, 0), dma()]
        found = [value for op in program.place([steps])[0] for _, value in t.run(op)]
    finally:
        t.end()
    assert found == [DONE, (), *BAD_STE, DONE, ()], found


main()
