# SPDX-License-Identifier: BSD-3-Clause
#
# The main job and its variants: an unmodified Linux does its I/O behind the nested IOMMU.
# panic_on_warn=1 is on the default kernel command line, and each job searches the kernel's log.
import subprocess

import guest


def job(name, *more):
    return ("--quiet", "--job", name, "--timeout", 200, *more)


@guest.test
def strict_mode_and_the_image_on_the_host(scratch):
    image = guest.disk(scratch)
    r = guest.assert_succeeds(scratch, *job("demo"), "--device", f"nvme,file={image}")
    report = r.report()
    assert report["dma_read_bytes"] + report["dma_write_bytes"] > 16 << 20, report
    assert report["boot_seconds"] > 0
    assert "guest: iommu_type DMA\n" in r.output()
    said = [line.split()[-2] for line in r.output().splitlines() if "guest: sha256" in line]
    data = subprocess.run(["debugfs", "-R", "cat /demo.bin", image], capture_output=True, check=True)
    found = subprocess.run(["sha256sum"], input=data.stdout, capture_output=True, check=True)
    assert said and found.stdout.decode().split()[0] == said[0], (said, found.stdout)


@guest.test
def lazy_mode(scratch):
    r = guest.assert_succeeds(scratch, *job("demo", "--append", "iommu.strict=0"),
                              "--device", f"nvme,file={guest.disk(scratch)}")
    assert "guest: iommu_type DMA-FQ\n" in r.output()
    report = r.report()
    # the whole point of the lazy mode
    assert report["wait_descriptors"] < 200, report


@guest.test
def concurrent_random_io_on_all_queues(scratch):
    guest.assert_succeeds(scratch, *job("io", "--append", "nestor.arg=6,3"),
                          "--device", f"nvme,file={guest.disk(scratch)}")


@guest.test
def pass_through_domain(scratch):
    """iommu=pt: the guest attaches the device in bypass; no first-stage walks at all."""
    status, r = guest.run(scratch, *job("demo", "--append", "iommu=pt"),
                          "--device", f"nvme,file={guest.disk(scratch)}")
    assert status == 0, r.output()[-3000:]
    report = r.report()
    assert report["guest_ok"] and report["faults"] == 0, report
    assert report["s1_walks"] == 0 and report["nested_hwpts"] == 0, report


@guest.test
def legacy_mode(scratch):
    """The guest's second-stage tables are shadowed; caching mode keeps Linux from being lazy with them."""
    status, r = guest.run(scratch, *job("demo", "--append", "intel_iommu=on,sm_off iommu.strict=0"),
                          "--device", f"nvme,file={guest.disk(scratch)}")
    assert status == 0, r.output()[-3000:]
    assert "guest: iommu_type DMA\n" in r.output()
    report = r.report()
    assert report["guest_ok"] and report["faults"] == 0 and report["stale_hits"] == 0, report
    assert report["dma_after_unmap"] == 0 and report["dma_while_blocked"] == 0, report
    assert report["nested_hwpts"] == 0 and report["shadow_domains"] == 1, report
    assert report["shadow_calls"] > 500 and report["dma_write_bytes"] > 8 << 20, report


@guest.test
def two_disks(scratch):
    r = guest.assert_succeeds(
        scratch, *job("demo"),
        "--device", f"nvme,file={guest.disk(scratch)}",
        "--device", f"nvme,file={guest.disk(scratch, name='second.img')}")
    # each disk is in a domain of its own
    assert r.report()["nested_hwpts"] >= 2, r.report()


@guest.test
def reset_in_the_middle_of_io(scratch):
    """The machine is reset with tables attached and commands in flight; the next boot finds all in order."""
    r = guest.assert_succeeds(scratch, *job("reboot"), "--device", f"nvme,file={guest.disk(scratch)}",
                              "--", "-action", "reboot=reset")
    assert "guest: phase reset" in r.output() and "guest: phase verify" in r.output()
    assert r.report()["nested_hwpts"] >= 2, r.report()


@guest.test
def remove_and_rescan(scratch):
    """The guest's driver lets the disk go and takes it again, by unbinding and by PCI removal."""
    r = guest.assert_succeeds(scratch, *job("replug"), "--device", f"nvme,file={guest.disk(scratch)}")
    assert r.report()["nested_hwpts"] >= 2, r.report()


@guest.test
def disk_of_a_former_guest(scratch):
    image = guest.disk(scratch)
    guest.assert_succeeds(scratch, *job("demo"), "--device", f"nvme,file={image}")
    guest.assert_succeeds(scratch, *job("verify"), "--device", f"nvme,file={image}")


guest.main()
