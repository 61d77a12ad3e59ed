#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
#
# test_kernel.py x86_64|arm64 IMAGE TREE: the conformance suite on a Linux kernel in QEMU (TCG). Boots IMAGE
# with the initramfs of tests/kernel/initramfs and QEMU from the Debian 13 TREE; what the program in the guest
# prints comes out here as TAP, with some cases more: that it names what is in the way of a device that no
# driver has, that the guest came to its end, that the kernel had nothing to complain of, and what "nestor doctor"
# and its neighbours say there.
import pathlib
import re
import subprocess
import sys
import tempfile

import bench

UNBOUND = re.compile(r"^UNBOUND .*0000:00:0\d\.0 is bound to no driver, not to vfio-pci: write vfio-pci to "
                     r"/sys/bus/pci/devices/0000:00:0\d\.0/driver_override", re.M)
DEVICES = 2


def boot(arch, image, tree, scratch):
    """The guest's console, whole."""
    options = ["-serial", "stdio", *["-device", "iommu-testdev"] * DEVICES, "-device", "pcie-root-port"]
    done = subprocess.run(bench.command(arch, image, tree, scratch, options, f"conformance=--name,kernel-{arch}"),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=bench.TIMEOUT)
    return done.stdout.decode(errors="replace").replace("\r", "")


def commands(console, arch):
    """[(name, whether it did)] of "nestor doctor", "bind" and "unbind", which init runs before the suite."""
    asked = []
    section = re.search(r"^DOCTOR BEGIN$(.*)^DOCTOR END$", console, re.M | re.S)
    for part in re.split(r"^\$ ", section[1] if section else "", flags=re.M)[1:]:
        words, _, said = part.partition("\n")
        status = re.search(r"^status (\d+)$", said, re.M)
        asked.append((words.split()[1], int(status[1]) if status else -1, said))
    asked += [("", -1, "")] * (12 - len(asked))
    every, before, early, bind, cdev, again, after, busy, unbind, override, port, forced = asked
    nesting = arch == "arm64"  # QEMU's SMMUv3 has both stages, its VT-d has no nesting

    def said(one, status, *expected):
        return one[1] == status and all(word in one[2] for word in expected)

    return [
        ("every_device", said(every, 1, "this machine\n", "/dev/iommu is there")),
        ("before", said(before, 1, "todo    driver", "=> cannot tell: " if nesting else "no nested translation (NEST)")),
        ("unbind_early", said(early, 1, "vfio-pci does not have")),
        ("bind", said(bind, 0, "echo vfio-pci > /sys/bus/pci/devices/", "/dev/vfio/devices/vfio0 now", "to undo it")),
        ("cdev", said(cdev, 0, "vfio0")),
        ("bind_again", said(again, 0, "nothing was changed")),
        ("after", said(after, 0, "a nesting parent and a vIOMMU on it", "=> nesting would work") if nesting else
         said(after, 1, "scalable mode", "the kernel refused a nesting parent", "=> no nesting: ", "(NEST)")),
        ("unbind_in_use", said(busy, 1, "process 1 (init) has it open")),
        ("unbind", said(unbind, 0, "vfio-pci/unbind", "no driver has")),
        ("override_cleared", said(override, 0, "(null)")),
        ("bind_in_use", said(port, 1, "is in use: the driver pcieport has it", "Nothing was changed")),
        ("bind_forced", said(forced, 1, "/drivers/pcieport/unbind", "vfio-pci did not take", "undoing it:")),
        ("bind_undone", re.search(r"^the port has pcieport$", console, re.M) is not None),
    ]


def main():
    arch, image, tree = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="nestor-test-") as scratch:
        try:
            console = boot(arch, image, tree, pathlib.Path(scratch))
        except subprocess.TimeoutExpired as e:
            console = (e.stdout or b"").decode(errors="replace")
    begin = re.search(r"^CONFORMANCE BEGIN (.*)$", console, re.M)
    end = re.search(r"^CONFORMANCE END (\d+)$", console, re.M)
    lines = console[begin.end() if begin else 0:end.start() if end else None].splitlines()
    if begin:
        print(f"# Linux {begin[1]}")
    bad = cases = 0
    planned = -1
    for line in lines:
        if line.startswith("1.."):
            planned = int(line[3:])
        elif re.match(r"(not )?ok \d", line):
            cases += 1
            bad += line.startswith("not ok") and "# TODO" not in line
            print(line)
        elif line.startswith("# "):
            print(line)
    ended = end is not None and cases == planned
    clean = bench.COMPLAINTS.search(console) is None
    more = [("kernel.an_unbound_device_is_named", len(UNBOUND.findall(console)) == DEVICES),
            ("kernel.came_to_its_end", ended), ("kernel.no_complaint", clean)]
    more += [(f"kernel.command_{name}", fine) for name, fine in commands(console, arch)]
    for number, (name, fine) in enumerate(more, 1):
        print(f"{'ok' if fine else 'not ok'} {cases + number} - {name}")
    fine = all(fine for _, fine in more)
    if not fine:
        print(f"# {planned} cases were planned, {cases} seen; the end of the console:")
        for line in console.splitlines()[-60:]:
            print(f"#   {line}")
    print(f"1..{cases + len(more)}")
    return bad or not fine


sys.exit(bool(main()))
