#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
#
# test_qtest.py x86_64|arm64 IMAGE TREE: "nestor qtest --host /dev/iommu" on a Linux kernel in QEMU (TCG), as TAP.
#
# On arm64 QEMU's SMMUv3 has both stages, and so QEMU's own devices, passed through, do DMA with the guest's tables in
# our process and the kernel's below them. On x86_64 QEMU's VT-d cannot nest, and that has to be said.
import contextlib
import os
import pathlib
import random
import re
import struct
import sys

import bench
import devices
import guest
import programs
from guest import BYPASS, DATA, LEAF, MSI_WINDOW, RAM, READ_ONLY, S1, STE_ABORT

EDU, TESTDEV, BLOCK, TESTDEV2 = (f"0000:00:0{n}.0" for n in (1, 2, 3, 4))
IDS = {EDU: 0x11e81234, TESTDEV: 0x00051b36, BLOCK: 0x10421af4, TESTDEV2: 0x00051b36}
DRIVERS = {EDU: devices.Edu, TESTDEV: devices.Testdev, BLOCK: devices.Block, TESTDEV2: devices.Testdev}
SECTORS = 512
SEEDS, STEPS = (9, 11), 60  # among them one that meets each row of docs/kernel-host.md
READ, WRITE = 0, 1  # of virtio-blk
OPTIONS = ("--viommu", "smmuv3", "--memory", "64M", "--host", "/dev/iommu")
IOVA = 0x1234567000
random.seed(1)


def check(condition, *what):
    assert condition, what


@contextlib.contextmanager
def machine(b, *names, said=""):
    """A guest and drivers of these devices; at the end nothing but @said has been said."""
    q = bench.Qtest(b, *OPTIONS, *(word for name in names for word in ("--device", name)))
    try:
        m = guest.Guest(q)
        found = [DRIVERS[name](m, slot) for slot, name in enumerate(names, 1)]
        for device, name in zip(found, names):
            assert device.id() == IDS[name], hex(device.id())
        yield m, *found
    except bench.Ended:  # and so has it
        raise
    except BaseException:
        print("".join(f"# said: {line}\n" for line in q.end()[1].splitlines()), end="")
        raise
    status, text = q.end()
    assert status == 0 and re.fullmatch(said, text), (status, text)


def translated(m, device, iova=IOVA, gpa=DATA, asid=5):
    """The device on tables of its own, with one page."""
    context = guest.Context(m, asid)
    context.map(iova, gpa)
    m.attach(device.sid, S1, context)
    m.enable(guest.SMMUEN | guest.CMDQEN | guest.EVENTQEN)
    return context


def writes_to(m, testdev, iova, *places):
    """Which of the places the device's write to @iova came to; None: nowhere."""
    for at in places:
        m.qtest.put(at, bytes(4))
    good = testdev.dma(iova)
    there = [at for at in places if m.qtest.get(at, 4) == testdev.PATTERN]
    assert len(there) == good, (there, good)
    return there[0] if there else None


# --- both stages

def dma_through_both_stages(b, trace):
    with machine(b, TESTDEV, EDU) as (m, testdev, edu):
        translated(m, testdev)
        assert writes_to(m, testdev, IOVA, IOVA & 0x3fffff | RAM, DATA) == DATA
        context = translated(m, edu, gpa=DATA + 0x5000, asid=6)
        context.map(IOVA + 0x1000, DATA + 0x3000)
        data = random.randbytes(256)
        m.qtest.put(DATA + 0x5100, data)
        edu.fetch(IOVA + 0x100, len(data))
        edu.deliver(IOVA + 0x1f00, len(data))
        assert m.qtest.get(DATA + 0x3f00, len(data)) == data
        assert m.events() == []
    # QEMU itself tells which stages a request went through, and of which device: 3 is both
    for sid in (1 << 3, 2 << 3):
        check(re.search(rf"smmuv3_translate_success.* sid=0x{sid:x} iova=0x{IOVA >> 12:x}... .*stage=3", trace()), sid)


def tables_of_each_device(b, trace):
    with machine(b, TESTDEV, TESTDEV2) as (m, one, two):
        translated(m, one, gpa=DATA, asid=1)
        translated(m, two, gpa=DATA + 0x1000, asid=2)
        assert writes_to(m, one, IOVA, DATA, DATA + 0x1000) == DATA
        assert writes_to(m, two, IOVA, DATA, DATA + 0x1000) == DATA + 0x1000
        m.attach(one.sid, STE_ABORT)
        assert writes_to(m, one, IOVA, DATA, DATA + 0x1000) is None
        assert writes_to(m, two, IOVA, DATA, DATA + 0x1000) == DATA + 0x1000
        assert m.events() == []


# --- invalidations: the old translation before, the new one after

def invalidations(b, trace):
    ways = {
        "VA": lambda c, i: (guest.TLBI_NH_VA | c.asid << 48, i | 1),
        "VA, a range": lambda c, i: (guest.TLBI_NH_VA | c.asid << 48 | 1 << 12, i | 1 << 10),
        "ASID": lambda c, i: (guest.TLBI_NH_ASID | c.asid << 48, 0),
        "all": lambda c, i: (guest.TLBI_NH_ALL, 0),
        "all of the non-secure": lambda c, i: (guest.TLBI_NSNH_ALL, 0),
    }
    with machine(b, TESTDEV) as (m, testdev):
        context = translated(m, testdev)
        old = DATA
        assert writes_to(m, testdev, IOVA, old) == old
        for n, (name, way) in enumerate(ways.items(), 1):
            new = DATA + 0x1000 * n
            context.map(IOVA, new)
            m.issue((guest.TLBI_NH_ASID | 99 << 48, 0), (guest.TLBI_NH_VA | context.asid << 48, IOVA + 0x10000))
            check(writes_to(m, testdev, IOVA, old, new) == old, name, "has to be stale")
            m.issue(way(context, IOVA))
            check(writes_to(m, testdev, IOVA, old, new) == new, name, "has to be fresh")
            old = new
        context.unmap(IOVA)
        assert writes_to(m, testdev, IOVA, old) == old
        m.flush(context, IOVA)
        assert writes_to(m, testdev, IOVA, old) is None
        assert m.events() == [(guest.F_TRANSLATION, testdev.sid, IOVA, False)]


def context_and_entry_changes(b, trace):
    with machine(b, TESTDEV) as (m, testdev):
        context, other = translated(m, testdev), guest.Context(m, 7)
        other.map(IOVA, DATA + 0x1000)
        places = DATA, DATA + 0x1000
        assert writes_to(m, testdev, IOVA, *places) == places[0]
        context.write(top=other.top)
        m.issue((guest.TLBI_NH_ALL, 0))
        check(writes_to(m, testdev, IOVA, *places) == places[0], "the old context descriptor counts")
        m.issue((guest.CFGI_CD | testdev.sid << 32, 1), (guest.TLBI_NH_ALL, 0))
        assert writes_to(m, testdev, IOVA, *places) == places[1]
        context.write()
        m.entry(testdev.sid, STE_ABORT)
        check(writes_to(m, testdev, IOVA, *places) == places[1], "the old entry counts")
        m.issue((guest.CFGI_STE | testdev.sid << 32, 1))
        assert writes_to(m, testdev, IOVA, *places) is None
        m.attach(testdev.sid, S1, other)
        m.issue((guest.TLBI_NH_ALL, 0))
        assert writes_to(m, testdev, IOVA, *places) == places[1]
        assert m.events() == []


# --- faults: from the kernel's queue to the guest's

def faults(b, trace):
    with machine(b, TESTDEV, EDU) as (m, testdev, edu):
        context = translated(m, testdev)
        context.map(IOVA + 0x1000, DATA, LEAF | READ_ONLY)
        translated(m, edu, asid=6)
        assert not testdev.dma(IOVA + 0x2000)
        assert not testdev.dma(IOVA + 0x1000)
        assert m.events() == [(guest.F_TRANSLATION, testdev.sid, IOVA + 0x2000, False),
                              (guest.F_PERMISSION, testdev.sid, IOVA + 0x1000, False)]
        edu.fetch(0x7000, 4)  # it does not say that it came to nothing
        m_events = []
        edu.wait("an event", lambda: m_events.extend(m.events()) or m_events)
        assert m_events == [(guest.F_TRANSLATION, edu.sid, 0x7000, True)], m_events
        context.write(clear=1 << 31)
        m.issue((guest.CFGI_CD | testdev.sid << 32, 1))
        assert not testdev.dma(IOVA)
        assert [e[:2] for e in m.events()] == [(guest.C_BAD_CD, testdev.sid)]
        context.write()
        m.issue((guest.CFGI_CD | testdev.sid << 32, 1))
        assert writes_to(m, testdev, IOVA, DATA) == DATA
        assert m.events() == []


# --- without tables

def gbpa_and_bypass(b, trace):
    with machine(b, TESTDEV) as (m, testdev):
        assert writes_to(m, testdev, DATA, DATA) == DATA  # GBPA at reset
        m.store(guest.GBPA, guest.UPDATE | guest.ABORT)
        assert m.load(guest.GBPA) & (guest.UPDATE | guest.ABORT) == guest.ABORT
        assert writes_to(m, testdev, DATA, DATA) is None
        m.store(guest.GBPA, guest.UPDATE)
        assert writes_to(m, testdev, DATA, DATA) == DATA
        translated(m, testdev, gpa=DATA + 0x1000)
        assert writes_to(m, testdev, IOVA, DATA, DATA + 0x1000) == DATA + 0x1000
        assert writes_to(m, testdev, DATA, DATA) is None
        assert m.events() == [(guest.F_TRANSLATION, testdev.sid, DATA, False)]
        m.attach(testdev.sid, BYPASS)
        assert writes_to(m, testdev, DATA, DATA) == DATA
        m.attach(testdev.sid, STE_ABORT)
        assert writes_to(m, testdev, DATA, DATA) is None
        m.enable(guest.CMDQEN | guest.EVENTQEN)
        assert writes_to(m, testdev, DATA, DATA) == DATA
        assert m.events() == []


# --- interrupts

def msi_below_stage_1(b, trace):
    message = (0xfee0, 0x1234)
    with machine(b, EDU) as (m, edu):
        context = translated(m, edu)
        assert edu.enable_msi(*message)
        edu.interrupt()
        events = []
        edu.wait("an event", lambda: events.extend(m.events()) or events)
        assert events == [(guest.F_TRANSLATION, edu.sid, MSI_WINDOW + 0x40, False)], [hex(n) for n in events[0]]
        assert m.messages() == []
        context.map(MSI_WINDOW, MSI_WINDOW)  # as it is, which a guest does who sees it reserved in the IORT
        m.flush(context, MSI_WINDOW)
        for _ in range(3):
            edu.interrupt()
            found = []
            edu.wait("an interrupt", lambda: found.extend(m.messages()) or found)
            assert found == [message], found
        m.attach(edu.sid, BYPASS)
        edu.interrupt()
        edu.wait("an interrupt", lambda: m.messages() == [message])
        edu.disable_msi()
        edu.interrupt()
        edu.fetch(DATA, 4)  # which takes longer than an interrupt
        assert m.messages() == []
        assert m.events() == []


# --- a device with a driver of its own

def virtio_blk(b, disk):
    # a queue with a header, and buffers; the device knows them by other addresses, in another order
    rings, rings_iova, size = DATA, 0xffff000, 512
    buffers = {IOVA + 0x100000000 * (n & 1) + 0x3000 * n: DATA + 0x10000 * (8 - n) for n in range(6)}
    with machine(b, BLOCK) as (m, block):
        context = guest.Context(m, 3)
        for iova, gpa in {rings_iova: rings, **buffers}.items():
            context.map(iova, gpa)
        m.attach(block.sid, S1, context)
        m.enable(guest.SMMUEN | guest.CMDQEN | guest.EVENTQEN)
        block.start(rings_iova)

        def begin(kind, sector, iovas):
            m.qtest.put(rings + 0xc00, struct.pack("<IIQB", kind, 0, sector, 0xff))
            block.request(rings, [(rings_iova + 0xc00, 16, False), *((i, size, kind == READ) for i in iovas),
                                  (rings_iova + 0xc10, 1, True)])

        def transfer(*request):
            begin(*request)
            block.wait("virtio-blk", lambda: block.done(rings))
            return m.qtest.get(rings + 0xc10, 1)[0]

        first, *others = buffers
        original = pathlib.Path(disk).read_bytes()
        for sector in (0, 40, SECTORS - 5):
            m.qtest.send([f"memset {gpa} {size} 0" for gpa in buffers.values()])
            assert transfer(READ, sector, others) == 0
            data = b"".join(m.qtest.get(buffers[i], size) for i in others)
            assert data == original[sector * 512:sector * 512 + 5 * size], sector
        data = random.randbytes(2 * size)
        for n, iova in enumerate(others[:2]):
            m.qtest.put(buffers[iova], data[size * n:size * n + size])
        assert transfer(WRITE, 100, others[:2]) == 0
        assert pathlib.Path(disk).read_bytes() == original[:51200] + data + original[51200 + len(data):]
        assert m.events() == []
        # a buffer that is not mapped any more: events, and nothing comes to where it was
        context.unmap(first)
        m.flush(context, first)
        m.qtest.send([f"memset {buffers[first]} {size} 0"])
        begin(READ, 0, [first])
        events = []
        block.wait("an event", lambda: events.extend(m.events()) or events)
        assert {(kind, sid, address & ~0xfff) for kind, sid, address, _ in events} == {(guest.F_TRANSLATION, block.sid, first)}
        assert m.qtest.get(buffers[first], size) == bytes(size)


# --- random programs, with the unit's own translation for an oracle

def random_programs(b, nestor):
    rules, operations = programs.Rules(), 0
    for seed in SEEDS:
        operations += programs.check(nestor, lambda: bench.Qtest(b, *OPTIONS, "--device", TESTDEV, "--device", TESTDEV2), seed,
                                     STEPS, rules)
    print(f"# {operations} operations, {sum(rules.used.values())} known differences")
    assert all(rules.used[row[0]] for row in rules.own), rules.used


# --- what is refused

def refused(b, options, sentence, status=2):
    said, got = b.run("nestor", "qtest", *options)
    assert got == status and re.fullmatch("nestor: " + sentence, said), (got, said)


def refusals_of_arm(b):
    device = ("--host", "/dev/iommu", "--device")
    smmuv3 = ("--viommu", "smmuv3", *device)
    refused(b, (*device, TESTDEV), f"{TESTDEV} is behind an Arm SMMUv3, and --viommu vtd needs an Intel VT-d: use --viommu smmuv3")
    words = " ".join(("nestor", "qtest", *smmuv3, EDU))
    b.good(f"mkfifo /tmp/in; {words} </tmp/in >/tmp/out & exec 9>/tmp/in; echo endianness >&9")
    b.good("until grep -q OK /tmp/out; do sleep 0.1; done")
    refused(b, (*smmuv3, EDU), f"{EDU}: the device cannot be bound to iommufd: Invalid argument; another program has it, .*")
    b.good("exec 9>&-; wait")
    assert b.run(words)[1] == 0
    # a user who may open nothing, then one who may lock no memory
    b.good("mkdir -p /etc; echo 'nobody:x:65534:65534::/:/bin/sh' >/etc/passwd; echo 'nogroup:x:65534:' >/etc/group")

    def as_user(sentence, status):
        said, got = b.run(f"su nobody -c '{words} </dev/null 2>&1'")
        assert got == status and re.fullmatch("nestor: " + sentence, said), (got, said)

    denied = "no permission to read and write {}: be root, or be given the file .*"
    as_user(denied.format("/dev/iommu"), 2)
    b.good("chown nobody /dev/iommu")
    as_user(denied.format("/dev/vfio/devices/vfio0"), 2)
    b.good("chown nobody /dev/vfio/devices/vfio0")
    as_user(rf"{EDU} cannot be passed through, the kernel does not pin the guest's memory: .* \(ulimit -l\)", 1)
    b.good("chown 0 /dev/iommu /dev/vfio/devices/vfio0")


def refusals_of_any(b):
    device = ("--viommu", "smmuv3", "--host", "/dev/iommu", "--device")
    refused(b, ("--host", "/dev/iommu"), "--host /dev/iommu needs a --device of this machine, such as 0000:00:02.0")
    refused(b, ("--device", TESTDEV), f"{TESTDEV} is a device of this machine: it needs --host /dev/iommu")
    refused(b, (*device, "0000:00:1f.7"), "this machine has no PCI device 0000:00:1f.7")
    refused(b, (*device, "testdev2"), '--device testdev2 is not known here; there is "testdev", and with --host .*')
    refused(b, (*device, TESTDEV, "--device", TESTDEV), f"--device {TESTDEV} is there twice")
    refused(b, (*device, TESTDEV, "--save", "x"), "a machine with a device of --host /dev/iommu cannot be saved: .*")
    refused(b, (*device, "/dev/vfio/devices/vfio99"), "/dev/vfio/devices/vfio99: the device cannot be opened: No such file .*")
    b.good("mv /dev/iommu /dev/iommu.away")
    refused(b, (*device, TESTDEV), "there is no /dev/iommu: the module iommufd is not loaded, .* CONFIG_IOMMUFD")
    b.good("mv /dev/iommu.away /dev/iommu")


def no_nesting(b):
    for viommu in ("vtd", "smmuv3"):
        refused(b, ("--viommu", viommu, "--host", "/dev/iommu", "--device", TESTDEV),
                rf"{TESTDEV} cannot be passed through, the VT-d unit has no nested translation \(NEST\).*: no setting adds "
                "them: another machine is needed; an emulated VT-d such as QEMU's has none")


def one_stage(arch, image, tree, scratch):
    """The SMMUv3 of an older machine of QEMU's."""
    b = bench.Bench(arch, image, tree, scratch, ["-M", "virt-9.1", "-device", "iommu-testdev,addr=2"])
    try:
        b.good("nestor", "bind", TESTDEV)
        refused(b, ("--viommu", "smmuv3", "--host", "/dev/iommu", "--device", TESTDEV),
                f"{TESTDEV} cannot be passed through, the kernel refused a nesting parent: Operation not supported: the SMMU needs "
                "both stages of translation: another machine is needed")
    finally:
        b.end()


def unbound(b, names):
    for name in names:
        driver = "(no driver|the driver virtio-pci)"
        refused(b, ("--viommu", "smmuv3", "--host", "/dev/iommu", "--device", name),
                f"{name} is bound to {driver}, not to vfio-pci: write vfio-pci to /sys/.*")


def run(arch, image, tree, scratch, case):
    disk = scratch / "disk"
    disk.write_bytes(random.randbytes(SECTORS * 512))
    trace_file = scratch / "trace"
    options = ["-device", "edu,addr=1,dma_mask=0xffffffffffffffff", "-device", "iommu-testdev,addr=2",
               "-drive", f"if=none,id=disk,file={disk},format=raw,cache=writethrough",
               "-device", "virtio-blk-pci,addr=3,drive=disk,iommu_platform=on,disable-legacy=on",
               "-device", "iommu-testdev,addr=4"]
    if arch == "arm64":
        options += ["-D", str(trace_file), "-trace", "smmuv3_translate_success"]
    names = (EDU, TESTDEV, BLOCK, TESTDEV2)
    b = bench.Bench(arch, image, tree, scratch, options)
    print(f"# Linux {b.version}", flush=True)

    def trace():
        return trace_file.read_text(errors="replace")

    case("a_device_without_vfio_is_named", lambda: unbound(b, names))
    for name in names:
        b.good("nestor", "bind", "--force", name)
    if arch == "arm64":
        for function in (dma_through_both_stages, tables_of_each_device, invalidations, context_and_entry_changes, faults,
                         gbpa_and_bypass, msi_below_stage_1):
            case(function.__name__, lambda: function(b, trace))
        case("random_programs", lambda: random_programs(b, programs.TOP / os.environ.get("NESTOR_BUILD", "build") / "nestor"))
        case("virtio_blk", lambda: virtio_blk(b, disk))
        case("refusals_of_arm", lambda: refusals_of_arm(b))
    else:
        case("no_nesting_is_said", lambda: no_nesting(b))
    case("refusals", lambda: refusals_of_any(b))
    console = b.end()
    case("no_complaint", lambda: check(console and not bench.COMPLAINTS.search(console)))
    if arch == "arm64":
        (scratch / "one").mkdir()
        case("an_smmu_of_one_stage_is_named", lambda: one_stage(arch, image, tree, scratch / "one"))
    return console


sys.exit(bench.run_cases("kernel_qtest", run))
