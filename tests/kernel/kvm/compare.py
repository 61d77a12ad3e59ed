#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
#
# compare.py IMAGE TREE ROOT [PAGES]: Nestor's SMMUv3 and QEMU's own (arm-smmuv3,accel=on), each once, with the same
# guest in the machine of machine.py: the calls of the host that its boot and its disk's requests cost, and the time
# of PAGES (1000) reads of a page. Prints tables for docs/side-by-side.md. QEMU's ioctls are counted by count.c,
# Nestor's by its own trace, and both times without the trace.
import collections
import json
import sys
import tempfile

import machine

# Of what count.c gives: linux/iommufd.h, linux/vfio.h.
NAMES = {0x6b: "VFIO_DEVICE_GET_INFO", 0x6c: "VFIO_DEVICE_GET_REGION_INFO", 0x6d: "VFIO_DEVICE_GET_IRQ_INFO",
         0x6e: "VFIO_DEVICE_SET_IRQS", 0x6f: "VFIO_DEVICE_RESET", 0x70: "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO",
         0x75: "VFIO_DEVICE_FEATURE", 0x76: "VFIO_DEVICE_BIND_IOMMUFD", 0x77: "VFIO_DEVICE_ATTACH_IOMMUFD_PT",
         0x78: "VFIO_DEVICE_DETACH_IOMMUFD_PT", 0x80: "IOMMU_DESTROY", 0x81: "IOMMU_IOAS_ALLOC",
         0x84: "IOMMU_IOAS_IOVA_RANGES", 0x85: "IOMMU_IOAS_MAP", 0x86: "IOMMU_IOAS_UNMAP", 0x89: "IOMMU_HWPT_ALLOC",
         0x8a: "IOMMU_GET_HW_INFO", 0x8d: "IOMMU_HWPT_INVALIDATE", 0x8f: "IOMMU_IOAS_MAP_FILE",
         0x90: "IOMMU_VIOMMU_ALLOC", 0x91: "IOMMU_VDEVICE_ALLOC", 0x92: "IOMMU_IOAS_CHANGE_PROCESS",
         0x93: "IOMMU_VEVENTQ_ALLOC"}


def counted(run):
    """{ioctl: calls} and nanoseconds in IOMMU_HWPT_INVALIDATE, of QEMU."""
    words = next((line.split()[1:] for line in run.text.splitlines() if line.startswith("COUNT ")), [])
    calls, ns = {}, 0
    for code, number, time in zip(words[::3], words[1::3], words[2::3]):
        name = NAMES.get(int(code, 16), "0x" + code)
        calls[name] = int(number)
        ns = int(time) if name == "IOMMU_HWPT_INVALIDATE" else ns
    return calls, ns


def traced(file):
    calls = collections.Counter(json.loads(line)["call"] for line in file.read_text().splitlines())
    return {name: n for name, n in calls.items() if name.startswith(("IOMMU_", "VFIO_"))}


def check(runs):
    """A run that did not do its work says nothing about its cost."""
    for name, run in runs.items():
        if run.status != 0 or "done" not in run.said:
            sys.exit(f"compare.py: the run {name} failed:\n{run.text[-3000:]}")


def boot(m, names, *words):
    m.fill(7)
    console = m.boot(names, *words)
    runs = {name: machine.Run(console, name) for name in names}
    check(runs)
    return runs


def print_calls(runs, ours, theirs):
    report = runs["traced"].report
    print("| host call | Nestor | QEMU |\n|---|---:|---:|")
    for name in sorted({*ours, *theirs}):
        print(f"| {name} | {ours.get(name, 0)} | {theirs.get(name, 0)} |")
    print(f"| all | {sum(ours.values())} | {sum(theirs.values())} |\n")
    print(f"The guest gave {report['invalidation_descriptors']} commands, {report['wait_descriptors']} of them CMD_SYNC.\n")


def print_times(runs, count, each, invalidate_ns):
    seconds = {name: int(run.one("pages").split()[1]) / 100 for name, run in runs.items()}

    def row(what, unit, ours, theirs, digits):
        print(f"| {what} | {ours:.{digits}f} {unit} | {theirs:.{digits}f} {unit} |")

    print("| | Nestor | QEMU |\n|---|---:|---:|")
    row("from power on to the guest's init", "s", *(runs[name].number("boot") / 100 for name in ("strict", "qemu-strict")), 1)
    row(f"{count} reads of a page, translated", "s", seconds["strict"], seconds["qemu-strict"], 2)
    row("the same with `iommu.passthrough=1`", "s", seconds["passthrough"], seconds["qemu-passthrough"], 2)
    per = [(seconds[a] - seconds[b]) / count / each * 1e6
           for a, b in (("strict", "passthrough"), ("qemu-strict", "qemu-passthrough"))]
    row("a mapping, its end and its invalidation, from the difference", "µs", *per, 0)
    print(f"| IOMMU_HWPT_INVALIDATE itself, in QEMU | | {invalidate_ns / 1000:.0f} µs |\n")
    print(f"A read of a page is {each:.2f} invalidations.")


def main():
    image, tree, root = sys.argv[1:4]
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 1000
    with tempfile.TemporaryDirectory(prefix="nestor-compare-") as scratch:
        m = machine.Machine(image, tree, root, scratch)
        first = boot(m, ["traced", "qemu-strict"])
        theirs, ns = counted(first["qemu-strict"])
        print_calls(first, traced(m.share / "traced.jsonl"), theirs)
        second = boot(m, ["strict", "passthrough", "qemu-strict", "qemu-passthrough"], f"pages={count}")
        more = second["strict"].report["host_invalidate_calls"] - first["traced"].report["host_invalidate_calls"]
        print_times(second, count, more / count, ns / max(theirs["IOMMU_HWPT_INVALIDATE"], 1))


main()
