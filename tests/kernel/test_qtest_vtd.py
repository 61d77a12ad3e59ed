#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
#
# test_qtest_vtd.py IMAGE NESTOR: "nestor qtest --host /dev/iommu" on a Linux kernel that nests on VT-d, as TAP. The
# kernel's hardware is a Nestor too ("nestor run --emulated --offer nested", tests/kernel/bench.py), so two of its units
# are at work: the inner one has a guest's first-stage tables attached by the kernel, below which the outer one, which is
# the kernel's hardware, walks them nested on the kernel's second stage. Devices are two dmatest.
import contextlib
import json
import random
import re
import sys

import bench
import devices
import guest_vtd as vtd
from guest_vtd import DATA, NO_PASID

ONE, TWO = "0000:00:02.0", "0000:00:03.0"
OPTIONS = ("--viommu", "vtd", "--memory", "64M", "--host", "/dev/iommu")
IOVA = 0x1234567000
PLACES = [DATA + 0x1000 * n for n in range(8)]
random.seed(1)


def check(condition, *what):
    assert condition, what


class Dmatest(devices.Device):
    """By its immediate registers: docs/dmatest.md."""
    READ, WRITE = 2, 3
    PASID, ATS, PRI = 1 << 8, 1 << 10, 1 << 11
    OK, REFUSED, NO_PERMISSION, PAGE_INVALID, BUSY = 0, 3, 5, 6, 255
    DESC, RESULT, GO = 0x100, 0x140, 0x160

    def enable_services(self):
        """PASIDs, ATS and page requests, as a guest's driver does: PCIe 6.0 s7.8.9, s10.5."""
        found, at = {}, 0x100
        while at:
            header = self.qtest.read(4, self.config + at)
            found[header & 0xffff], at = self.config + at, header >> 20
        self.qtest.write(2, found[0x1b] + 6, 1)
        self.qtest.write(2, found[0x0f] + 6, 1 << 15)
        self.qtest.write(4, found[0x13] + 12, 32)
        self.qtest.write(2, found[0x13] + 4, 1)

    def start(self, operation, iova, length, pasid=NO_PASID, flags=0, seed=1):
        words = [operation | flags | (0 if pasid is NO_PASID else self.PASID), pasid or 0, iova & 0xffffffff, iova >> 32,
                 0, 0, length, 0, seed, 0]
        bar = self.bars[0]
        self.qtest.send([f"writel {bar + self.DESC + 4 * n} {word}" for n, word in enumerate(words)]
                        + [f"writel {bar + self.GO} 1"])

    def status(self):
        return self.qtest.read(4, self.bars[0] + self.RESULT + 0x1c) & 0xff

    def dma(self, operation, iova, length, **more):
        """Its outcome."""
        self.start(operation, iova, length, **more)
        self.wait("dmatest", lambda: self.status() != self.BUSY)
        return self.status()

    def checksum(self):
        return self.qtest.read(8, self.bars[0] + self.RESULT + 8)


def pattern(seed, length):
    """What a write with this seed writes: SplitMix64."""
    data, mask = b"", 2 ** 64 - 1
    for n in range(-(-length // 8)):
        z = seed + (n + 1) * 0x9e3779b97f4a7c15 & mask
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9 & mask
        z = (z ^ z >> 27) * 0x94d049bb133111eb & mask
        data += (z ^ z >> 31).to_bytes(8, "little")
    return data[:length]


def fnv(data):
    total = 0xcbf29ce484222325
    for byte in data:
        total = (total ^ byte) * 0x100000001b3 & 2 ** 64 - 1
    return total


@contextlib.contextmanager
def machine(b, *names, said="", mode=vtd.SCALABLE):
    """A guest and drivers of these devices; at the end nothing but @said has been said."""
    q = bench.Qtest(b, *OPTIONS, *(word for name in names for word in ("--device", name)))
    try:
        m = vtd.Guest(q, mode)
        found = [Dmatest(m, slot) for slot, _ in enumerate(names, 1)]
        for device in found:
            assert device.id() == 0xd3a71234, hex(device.id())
        yield m, *found
    except bench.Ended:  # and so has it
        raise
    except BaseException:
        print("".join(f"# said: {line}\n" for line in q.end()[1].splitlines()), end="")
        raise
    status, text = q.end()
    assert status == 0 and re.fullmatch(said, text), (status, text)


# What a kernel as host cannot do, and the unit says so at its start.
SILENT = r"(nestor: warning: .*(fault|vEVENTQ).*\n?)*"


def translated(m, device, gpa=DATA, domain=1, flags=vtd.PASIDE):
    """The device's requests without PASID on tables of its own, with one page."""
    space = vtd.Space(m, domain)
    space.map(IOVA, gpa)
    m.context(device.sid, flags)
    m.entry(device.sid, NO_PASID, space)
    m.switch(True)
    m.tell_entry(NO_PASID, domain)
    return space


def writes_to(device, iova, pasid=NO_PASID, flags=0):
    """Which of the places the device's write to @iova came to; None: nowhere, it was refused."""
    q, seed = device.qtest, random.getrandbits(31)
    for at in PLACES:
        q.put(at, bytes(8))
    status = device.dma(Dmatest.WRITE, iova, 8, pasid=pasid, flags=flags, seed=seed)
    there = [at for at in PLACES if q.get(at, 8) == pattern(seed, 8)]
    refused = Dmatest.NO_PERMISSION if flags & Dmatest.ATS else Dmatest.REFUSED
    assert status == (Dmatest.OK if there else refused) and len(there) <= 1, (status, there)
    return there[0] if there else None


def dma_through_both_stages(b):
    with machine(b, ONE, said=SILENT) as (m, d):
        space = translated(m, d)
        assert m.load(vtd.ECAP) >> 40 & 1  # PASIDs
        space.map(IOVA + 0x1000, DATA + 0x5000)
        assert d.dma(Dmatest.WRITE, IOVA + 0xf00, 0x300, seed=99) == Dmatest.OK
        data = pattern(99, 0x300)
        assert m.qtest.get(DATA + 0xf00, 0x100) + m.qtest.get(DATA + 0x5000, 0x200) == data
        data = random.randbytes(0x400)
        m.qtest.put(DATA + 0xe00, data[:0x200])
        m.qtest.put(DATA + 0x5000, data[0x200:])
        assert d.dma(Dmatest.READ, IOVA + 0xe00, 0x400) == Dmatest.OK
        assert d.checksum() == fnv(data)
        # accessed and dirty, in the guest's memory, set by the kernel's hardware
        assert int.from_bytes(m.qtest.get(space.slot(IOVA), 8), "little") & 0x60 == 0x60
        space.map(IOVA + 0x2000, DATA, vtd.READ_ONLY)
        assert d.dma(Dmatest.READ, IOVA + 0x2000, 8) == Dmatest.OK
        assert writes_to(d, IOVA + 0x2000) is None
        assert writes_to(d, IOVA + 0x3000) is None


def tables_of_each_device(b):
    with machine(b, ONE, TWO, said=SILENT) as (m, one, two):
        translated(m, one, PLACES[0], 1)
        translated(m, two, PLACES[1], 2)
        assert (writes_to(one, IOVA), writes_to(two, IOVA)) == (PLACES[0], PLACES[1])
        m.detach(one.sid, NO_PASID, 1)
        assert (writes_to(one, IOVA), writes_to(two, IOVA)) == (None, PLACES[1])
        m.attach(one.sid, NO_PASID, None, vtd.PASS_THROUGH)
        assert writes_to(one, PLACES[3]) == PLACES[3]
        m.switch(False)
        assert (writes_to(one, PLACES[4]), writes_to(two, PLACES[5])) == (PLACES[4], PLACES[5])
        m.switch(True)
        assert (writes_to(one, PLACES[3]), writes_to(two, IOVA)) == (PLACES[3], PLACES[1])


def invalidations(b):
    ways = {
        "page": lambda s: (6 | 3 << 4 | s.domain << 16, IOVA),
        "16 pages": lambda s: (6 | 3 << 4 | s.domain << 16, IOVA & ~0xffff | 4),
        "PASID": lambda s: (6 | 2 << 4 | s.domain << 16, 0),
        "domain": lambda s: (2 | 2 << 4 | s.domain << 16, 0),
        "all": lambda s: (2 | 1 << 4, 0),
    }
    with machine(b, ONE, said=SILENT) as (m, d):
        space = translated(m, d)
        assert writes_to(d, IOVA) == DATA
        for n, (name, way) in enumerate(ways.items(), 1):
            space.map(IOVA, PLACES[n])
            m.issue((6 | 3 << 4 | 7 << 16, IOVA), (6 | 3 << 4 | space.domain << 16, IOVA + 0x100000))  # others
            check(writes_to(d, IOVA) == PLACES[n - 1], name, "has to be stale")
            m.issue(way(space))
            check(writes_to(d, IOVA) == PLACES[n], name, "has to be fresh")
        space.unmap(IOVA)
        assert writes_to(d, IOVA) == PLACES[len(ways)]
        m.flush(space, IOVA)
        assert writes_to(d, IOVA) is None


def entries_change(b):
    with machine(b, ONE, said=SILENT) as (m, d):
        space, other = translated(m, d), vtd.Space(m, 2)
        other.map(IOVA, PLACES[1])
        m.entry(d.sid, NO_PASID, other)
        check(writes_to(d, IOVA) == PLACES[0], "the old entry counts")
        m.tell_entry(NO_PASID, space.domain)
        assert writes_to(d, IOVA) == PLACES[1]
        m.words(vtd.CONTEXTS + 32 * d.sid, 0)
        check(writes_to(d, IOVA) == PLACES[1], "the old context entry counts")
        m.issue((1 | 1 << 4, 0), (7 | 3 << 4, 0), (2 | 1 << 4, 0))
        assert writes_to(d, IOVA) is None
        m.context(d.sid)
        m.attach(d.sid, NO_PASID, space)
        assert writes_to(d, IOVA) == PLACES[0]
        # registers at reset again: nothing is translated
        m.switch(False)
        assert writes_to(d, PLACES[2]) == PLACES[2]


def pasids(b):
    with machine(b, ONE, TWO, said=SILENT) as (m, one, two):
        translated(m, one, PLACES[0], 1)
        translated(m, two, PLACES[1], 2)
        spaces = {pasid: vtd.Space(m, 10 + pasid) for pasid in (3, 40)}
        for n, (pasid, space) in enumerate(spaces.items(), 2):
            space.map(IOVA, PLACES[n])
            m.attach(one.sid, pasid, space)
        m.attach(two.sid, 40, spaces[40])  # shared
        assert [writes_to(one, IOVA, pasid) for pasid in (NO_PASID, 3, 40, 41)] == [*PLACES[:1], *PLACES[2:4], None]
        assert [writes_to(two, IOVA, pasid) for pasid in (NO_PASID, 3, 40)] == [PLACES[1], None, PLACES[3]]
        spaces[40].map(IOVA, PLACES[5])
        check(writes_to(one, IOVA, 40) == writes_to(two, IOVA, 40) == PLACES[3], "stale")
        m.flush(spaces[40], IOVA, 40)
        check(writes_to(one, IOVA, 40) == writes_to(two, IOVA, 40) == PLACES[5], "fresh")
        m.detach(one.sid, 40, spaces[40].domain)
        assert [writes_to(d, IOVA, 40) for d in (one, two)] == [None, PLACES[5]]
        assert writes_to(one, IOVA, 3) == PLACES[2]


def page_requests(b):
    ask = Dmatest.ATS | Dmatest.PRI
    with machine(b, ONE, said=SILENT) as (m, d):
        d.enable_services()
        translated(m, d, flags=vtd.PASIDE | vtd.DTE | vtd.PRE)
        space = vtd.Space(m, 4)
        m.attach(d.sid, 6, space)
        for answer, outcome in ((vtd.SUCCESS, Dmatest.OK), (vtd.INVALID, Dmatest.PAGE_INVALID)):
            m.qtest.put(DATA, bytes(8))
            d.start(Dmatest.WRITE, IOVA + 0x10, 8, pasid=6, flags=ask, seed=5)
            found = []
            d.wait("a page request", lambda: found.extend(m.page_requests()) or found)
            (sid, pasid, group, address, write, last), = found
            assert (sid, pasid, address, write, last) == (d.sid, 6, IOVA, True, True), found
            assert d.status() == Dmatest.BUSY
            if answer == vtd.SUCCESS:
                space.map(IOVA, DATA)
            m.respond(sid, pasid, group, answer)
            d.wait("an answer", lambda: d.status() != Dmatest.BUSY)
            assert d.status() == outcome, (answer, d.status())
            assert (m.qtest.get(DATA + 0x10, 8) == pattern(5, 8)) == (answer == vtd.SUCCESS)
            space.unmap(IOVA)
            m.issue((6 | 3 << 4 | 4 << 16 | 6 << 32, IOVA), (8 | d.sid << 16 | 6 << 32, IOVA))
            m.qtest.put(DATA + 0x10, bytes(8))
        assert m.page_requests() == []


def the_device_keeps_translations(b):
    with machine(b, ONE, said=SILENT) as (m, d):
        space = translated(m, d, flags=vtd.PASIDE | vtd.DTE)
        assert writes_to(d, IOVA, flags=Dmatest.ATS) == PLACES[0]
        space.map(IOVA, PLACES[1])
        check(writes_to(d, IOVA, flags=Dmatest.ATS) == PLACES[0], "the device's own is stale")
        m.issue((6 | 3 << 4 | space.domain << 16, IOVA), (3 | d.sid << 32, IOVA))
        assert writes_to(d, IOVA, flags=Dmatest.ATS) == PLACES[1]


def legacy_mode(b):
    """Second-stage tables of the guest, shadowed by mappings of the kernel."""
    with machine(b, ONE, said=SILENT, mode=vtd.LEGACY) as (m, d):
        space = vtd.Space(m, 3, vtd.SECOND_WRITABLE)
        space.map(IOVA, PLACES[0])
        m.legacy_context(d.sid, space)
        m.switch(True)
        m.issue((1 | 1 << 4, 0), (2 | 1 << 4, 0))
        assert writes_to(d, IOVA) == PLACES[0]
        assert writes_to(d, IOVA + 0x1000) is None
        space.map(IOVA + 0x1000, PLACES[2])
        m.issue((2 | 3 << 4 | 3 << 16, IOVA + 0x1000))
        assert writes_to(d, IOVA + 0x1000) == PLACES[2]
        space.unmap(IOVA)
        m.issue((2 | 3 << 4 | 3 << 16, IOVA))
        assert (writes_to(d, IOVA), writes_to(d, IOVA + 0x1000)) == (None, PLACES[2])


CASES = (dma_through_both_stages, tables_of_each_device, invalidations, entries_change, pasids, page_requests,
         the_device_keeps_translations, legacy_mode)


def run(image, nestor, scratch, case):
    b = bench.Bench("nested", image, nestor, scratch, ["dmatest", "dmatest"])
    print(f"# Linux {b.version}", flush=True)
    for name in (ONE, TWO):
        b.good("nestor", "bind", name)
    for function in CASES:
        case(function.__name__, lambda: function(b))
    console = b.end()
    case("no_complaint", lambda: check(console and not bench.COMPLAINTS.search(console)))
    report = scratch / "report"
    case("came_to_its_end", lambda: check(json.loads(report.read_text())["page_requests"] > 0))
    return console


sys.exit(bench.run_cases("kernel_qtest_vtd", run))
