#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
#
# test_kernel.py x86_64|arm64 IMAGE TREE: the conformance suite on a Linux kernel in QEMU (TCG). Boots IMAGE
# with the initramfs of tests/kernel/initramfs and QEMU from the Debian 13 TREE; what the program in the guest
# prints comes out here as TAP, with some cases more: that it names what is in the way of a device that no
# driver has, that the guest came to its end, that the kernel had nothing to complain of, and what "nestor doctor"
# and its neighbours say there.
#
# test_kernel.py nested IMAGE TREE NESTOR: the same on x86_64, but the machine is that of "nestor run --emulated --offer
# nested": its IOMMU and devices are Nestor's, and the kernel nests. It is rebooted once while a device is at work.
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import bench

UNBOUND = re.compile(r"^UNBOUND .*0000:00:0\d\.0 is bound to no driver, not to vfio-pci: write vfio-pci to "
                     r"/sys/bus/pci/devices/0000:00:0\d\.0/driver_override", re.M)
DEVICES = 2
# What our VT-d may have to say of a request that the suite means to be refused: nothing is there. Any other reason would be
# that Linux writes what the unit does not know.
REFUSALS = {0x51, 0x59, 0x71, 0x79, 0x85, 0x86}
# Errors that the kernel would see in the unit's registers, or run into with its commands.
UNIT_COMPLAINTS = re.compile(r"DMAR: .*(Invalidation|overflow|QI |IQ |VT-d detected|[Ff]ail|error|timed? ?out)"
                             r"|Page request|iommu: .*(fail|error)")


def command(arch, image, tree, scratch, nestor):
    """What runs the machine. With ours a disk is for the guest to remember by that it was there before."""
    words = f"conformance=--name,kernel-{arch}"
    if not nestor:
        options = ["-serial", "stdio", *["-device", "iommu-testdev"] * DEVICES, "-device", "pcie-root-port"]
        return bench.command(arch, image, tree, scratch, options, words)
    disk = scratch / "disk"
    with open(disk, "wb") as f:
        f.truncate(1 << 20)
    return bench.nested_command(nestor, image, scratch, [*["dmatest"] * DEVICES, f"nvme,file={disk}"],
                                ["-device", "pcie-root-port", "-action", "reboot=reset"], words)


def boot(*machine):
    """The guest's console, whole."""
    done = subprocess.run(command(*machine), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=2 * bench.TIMEOUT)
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
    # QEMU's SMMUv3 has both stages, its VT-d has no nesting; and ours says what it has before the kernel is asked
    nesting, ours = arch != "x86_64", arch == "nested"
    alone = "no IOMMU translates for "  # our unit is for our devices, and the port is QEMU's

    def said(one, status, *expected):
        return one[1] == status and all(word in one[2] for word in expected)

    return [
        ("every_device", said(every, 0 if ours else 1, "this machine\n", "/dev/iommu is there")),
        ("before", said(before, 0, "todo    driver", "the unit has NEST, FSTS and SSTS", "=> nesting would work") if ours else
         said(before, 1, "todo    driver", "=> cannot tell: " if nesting else "no nested translation (NEST)")),
        ("unbind_early", said(early, 1, "vfio-pci does not have")),
        ("bind", said(bind, 0, "echo vfio-pci > /sys/bus/pci/devices/", "/dev/vfio/devices/vfio0 now", "to undo it")),
        ("cdev", said(cdev, 0, "vfio0")),
        ("bind_again", said(again, 0, "nothing was changed")),
        ("after", said(after, 0, "the kernel made a nesting parent", "pasid           20 bits", "device: ATS yes, PRI yes, the unit",
                       "=> nesting would work") if ours else
         said(after, 0, "a nesting parent and a vIOMMU on it", "=> nesting would work") if nesting else
         said(after, 1, "scalable mode", "the kernel refused a nesting parent", "=> no nesting: ", "(NEST)")),
        ("unbind_in_use", said(busy, 1, "process 1 (init) has it open")),
        ("unbind", said(unbind, 0, "vfio-pci/unbind", "no driver has")),
        ("override_cleared", said(override, 0, "(null)")),
        ("bind_in_use", said(port, 1, alone) if ours else
         said(port, 1, "is in use: the driver pcieport has it", "Nothing was changed")),
        ("bind_forced", said(forced, 1, alone) if ours else
         said(forced, 1, "/drivers/pcieport/unbind", "vfio-pci did not take", "undoing it:")),
        ("bind_undone", re.search(r"^the port has pcieport$", console, re.M) is not None),
    ]


def unit(console, report):
    """[(name, whether so)] of our VT-d, by what the kernel says of it and what it counted itself."""
    reasons = {int(n, 16) for n in re.findall(r"\[fault reason 0x([0-9a-f]+)\]", console)}
    return [
        ("refusals_are_those_meant", bool(reasons) and reasons <= REFUSALS),
        ("no_complaint_of_the_unit", UNIT_COMPLAINTS.search(console) is None),
        ("every_page_request_answered", report.get("page_requests", 0) == report.get("page_responses", -1) > 0),
        ("rebooted_while_attached", re.search(r"^BOOT 1$.*^ok .* attach\..*^BOOT 2$.*^CONFORMANCE END", console,
                                              re.M | re.S) is not None),
    ]


def main():
    arch, image, tree, *nestor = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="nestor-test-") as scratch:
        try:
            console = boot(arch, image, tree, pathlib.Path(scratch), *nestor or [None])
        except subprocess.TimeoutExpired as e:
            console = (e.stdout or b"").decode(errors="replace")
        file = pathlib.Path(scratch) / "report"
        report = json.loads(file.read_text()) if file.exists() else {}
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
    if nestor:
        more += [(f"kernel.{name}", fine) for name, fine in unit(console, report)]
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
