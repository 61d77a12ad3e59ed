# SPDX-License-Identifier: BSD-3-Clause
#
# An unmodified Debian on Arm that is told of the SMMUv3 by a device tree instead of ACPI: QEMU's own, with our
# nodes (put_unit.c). There is no word in it for MSIs that pass a unit untranslated, as those of a passed-through device
# do here (docs/design.md): so the disk is tried in pass-through mode, and translation with a device that has no MSIs.
import pathlib
import re
import subprocess
import sys

import guest

PUT_UNIT = sys.argv[2]
WINDOW = 0x100000


def device_tree(scratch, base, *rids, window=0):
    """QEMU's, with a unit at base that has these requesters: the file."""
    tree = pathlib.Path(guest.setup("debian13-arm64"))
    libraries = f"{tree}/lib/x86_64-linux-gnu:{tree}/usr/lib/x86_64-linux-gnu"
    subprocess.run([tree / "lib64/ld-linux-x86-64.so.2", "--library-path", libraries,
                    tree / "usr/bin/qemu-system-aarch64", "-L", tree / "usr/share/qemu", "-machine",
                    f"virt,gic-version=3,its=on,acpi=off,dumpdtb={scratch}/qemu.dtb", "-cpu", "max", "-smp", "2",
                    "-display", "none"], check=True, capture_output=True)
    subprocess.run([PUT_UNIT, scratch / "qemu.dtb", scratch / "ours.dtb", hex(base), str(window), *map(hex, rids)],
                   check=True)
    said = subprocess.run(["dtc", "-I", "dtb", "-O", "dts", scratch / "ours.dtb"], check=True, capture_output=True, text=True)
    warnings = [w for w in said.stderr.splitlines() if f"/iommu@{base:x}: duplicate unit-address" not in w]
    assert not warnings, warnings # but that a root bus's ECAM is named after its window, where our BAR is
    return scratch / "ours.dtb"


def boot(scratch, rid, *job, window=0):
    """Where firmware puts the unit is the same each time, so one run, ended at once, tells."""
    first = guest.Run(scratch, *job, "--", "-machine", "acpi=off")
    base = int(re.search(r"registers at (0x[0-9a-f]+)", first.wait_for("registers at")).group(1), 16)
    first.end()
    status, r = guest.run(scratch, *job, "--", "-machine", "acpi=off", "-dtb", device_tree(scratch, base, rid, window=window))
    assert status == 0, r.output()[-4000:]
    r.assert_nothing_left()
    return r


@guest.test
def linux_finds_the_unit_and_hears_of_a_fault(scratch):
    """By an MSI, as msi-parent says; and it maps the window that the device's node names to itself."""
    r = boot(scratch, 0x10, "--viommu", "smmuv3", "--quiet", "--timeout", 200, "--job", "event", "--device", "testdev",
             "--append", "nestor.nodisk", window=WINDOW)
    said = [line for line in r.output().splitlines() if "guest: event " in line]
    assert len(said) == 1 and "F_TRANSLATION client: 0000:00:02.0 sid: 0x10 ssid: 0x0 iova: 0x123456000" in said[0], said
    assert "guest: interrupts 1\n" in r.output(), r.output()[-2000:]
    reserved = re.findall(r"guest: reserved (\w+) (\w+) direct\n", r.output())
    assert [(int(a, 16), int(b, 16)) for a, b in reserved] == [(0x8000000, 0x8000000 + WINDOW - 1)], r.output()[-2000:]
    report = r.report()
    assert report["faults"] == 1 and report["nested_hwpts"] >= 1 and report["s1_walks"] > 0, report


@guest.test
def a_disk_behind_the_unit_in_pass_through_mode(scratch):
    """The unit's stream table says so: the disk's nested HWPT is one that bypasses."""
    r = boot(scratch, 0x10, "--viommu", "smmuv3", "--quiet", "--timeout", 200, "--job", "demo",
             "--device", f"nvme,file={guest.disk(scratch)}", "--append", "iommu.passthrough=1")
    assert "guest: iommu_type identity\n" in r.output()
    report = r.report()
    assert report["guest_ok"] and report["dma_read_bytes"] > 16 << 20 and report["nested_hwpts"] >= 1, report
    assert report["faults"] == 0 and report["s1_walks"] == 0, report


guest.main()
