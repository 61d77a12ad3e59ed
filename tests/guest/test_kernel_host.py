# SPDX-License-Identifier: BSD-3-Clause
#
# "nestor run --host /dev/iommu", which here finds another Nestor's software host there ("nestor host"). On the kernel
# itself it is tests/kernel/kvm.
import os

import guest

CDEV = "/dev/vfio/devices/vfio0"


def host(scratch, options, device, *args):
    """Run to the end below a software host; returns (status, Host, the report of the run in it)."""
    inner = scratch / "inner.json"
    command = [os.path.abspath(guest.NESTOR), "run", "--host", "/dev/iommu", "--quiet", "--timeout", 300,
               "--report", inner, "--device", device, *args]
    r = guest.Host(scratch, options, command)
    status = r.wait()
    return status, r, inner


def io(scratch, options, *args):
    status, r, inner = host(scratch, ["--device", f"nvme,file={guest.disk(scratch)}", *options], CDEV, "--job", "io", *args)
    assert status == 0, f"status {status}:\n{r.output()[-4000:]}"
    r.assert_nothing_left()
    outside = r.report()
    assert outside["faults"] == outside["stale_hits"] == outside["dma_after_unmap"] == 0, outside
    assert outside["dma_while_blocked"] == 0 and outside["dma_write_bytes"] > 1 << 20, outside
    r.report_file = inner
    report = r.report()
    # What a kernel does not count is not known, which is not zero.
    assert report["guest_ok"] is True and report["faults"] == 0, report
    assert report["dma_read_bytes"] is None and report["s1_walks"] is None and report["stale_hits"] is None, report
    assert 0 < report["host_invalidate_calls"] <= report["wait_descriptors"] + 8, report
    assert report["host_invalidate_calls"] == outside["host_invalidate_calls"], (report, outside)
    assert report["nested_hwpts"] == outside["nested_hwpts"] >= 1, (report, outside)


@guest.test
def a_pc(scratch):
    io(scratch, [])


@guest.test
def arm(scratch):
    """With the window of the host's MSIs in the guest's tables, for which it is given a DSDT."""
    io(scratch, ["--iommu", "smmuv3"], "--viommu", "smmuv3")


@guest.test
def what_is_refused(scratch):
    for device, options, words in (
            (CDEV, ["--viommu", "smmuv3"], ["Intel VT-d", "--viommu vtd"]),
            ("/dev/vfio/devices/vfio7", [], ["vfio7"]),
            ("testdev", [], ["0000:3d:00.0", "this machine"])):
        status, r, inner = host(scratch, ["--device", "testdev"], device, *options)
        said = [line for line in r.output().splitlines() if line.startswith("nestor:")]
        assert status == 2 and len(said) == 1, (status, r.output())
        assert all(word in said[0] for word in words), said
        assert not inner.exists()
        r.assert_nothing_left()
    status, r, _ = host(scratch, ["--device", "testdev"], CDEV, "--device", f"{CDEV},at=port")
    assert status == 2 and "is there twice" in r.output(), r.output()


guest.main()
