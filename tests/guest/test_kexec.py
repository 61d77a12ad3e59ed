# SPDX-License-Identifier: BSD-3-Clause
#
# A guest that goes from one mode of its IOMMU to another at run time, by kexec: the same devices, the same data.
import pathlib
import re
import shutil
import subprocess

import guest


def kexec_disk(scratch):
    """What kexec needs, from the tree that scripts/setup made, in a file system."""
    tree = pathlib.Path(guest.setup("debian13"))
    files = scratch / "kexec"
    files.mkdir()
    loader = tree / "lib64/ld-linux-x86-64.so.2"
    paths = ":".join(str(tree / d) for d in ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"))
    listed = subprocess.run([loader, "--library-path", paths, "--list", tree / "usr/sbin/kexec"], capture_output=True,
                            text=True, check=True)
    for library in re.findall(r"=> (/\S+)", listed.stdout):
        shutil.copy(library, files)
    for source, name in ((loader, "ld.so"), (tree / "usr/sbin/kexec", "kexec"), (guest.setup("kernel"), "vmlinuz"),
                         (guest.setup("initramfs"), "initrd")):
        shutil.copy(source, files / name)
    image = guest.disk(scratch, 48, "kexec.img")
    subprocess.run([shutil.which("mke2fs") or "/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-d", files, image], check=True)
    return image


def kernels(scratch, first, *others):
    """Boots with one mode, goes through the others; returns the report."""
    modes = ",".join(mode.replace(",", "+") for mode in others)
    status, r = guest.run(
        scratch, "--quiet", "--job", "kexec", "--timeout", 220, "--append", f"intel_iommu={first} nestor.arg={modes}",
        "--device", f"nvme,file={guest.disk(scratch)},serial=data",
        "--device", f"nvme,file={kexec_disk(scratch)},serial=kexec,readonly=on")
    output = r.output()
    assert status == 0, f"status {status}:\n{output[-4000:]}"
    for stage, mode in enumerate((first, *others)):
        assert f"kernel {stage} {mode} " in output, output[-4000:]
        assert not stage or f"verified {stage}" in output, output[-4000:]
    r.assert_nothing_left()
    report = r.report()
    assert report["guest_ok"] is True, report
    for bad in ("faults", "stale_hits", "dma_after_unmap", "dma_while_blocked"):
        assert report[bad] == 0, report
    return report


@guest.test
def from_scalable_to_legacy_mode_and_back(scratch):
    report = kernels(scratch, "on,sm_on", "on,sm_off", "on,sm_on")
    assert report["nested_hwpts"] >= 4 and report["shadow_domains"] >= 2, report
    assert report["s1_walks"] > 0 and report["shadow_calls"] > 100, report


@guest.test
def through_no_translation(scratch):
    report = kernels(scratch, "on,sm_off", "off", "on,sm_on")
    assert report["nested_hwpts"] >= 2 and report["shadow_domains"] >= 2, report


guest.main()
