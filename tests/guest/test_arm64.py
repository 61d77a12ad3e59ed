# SPDX-License-Identifier: BSD-3-Clause
#
# Guests on Arm: an unmodified Debian finds the SMMUv3 by an IORT of ours and does its I/O behind it.
# panic_on_warn=1 is on the default kernel command line, and each job searches the kernel's log.
import re

import guest


def job(name, *more):
    return ("--viommu", "smmuv3", "--quiet", "--job", name, "--timeout", 200, *more)


@guest.test
def strict_mode(scratch):
    r = guest.assert_succeeds(scratch, *job("demo"), "--device", f"nvme,file={guest.disk(scratch)}")
    report = r.report()
    assert report["dma_read_bytes"] + report["dma_write_bytes"] > 16 << 20, report
    assert report["invalidation_descriptors"] > 0, report
    assert "guest: iommu_type DMA\n" in r.output()


@guest.test
def the_guest_hears_of_a_fault(scratch):
    """By an MSI of the unit's own; with the requester of the device that is to blame, while the disk goes on."""
    status, r = guest.run(scratch, *job("event"), "--device", f"nvme,file={guest.disk(scratch)}",
                          "--device", "testdev")
    assert status == 0, r.output()[-4000:]
    r.assert_nothing_left()
    said = [line for line in r.output().splitlines() if "guest: event " in line]
    assert len(said) == 1 and "F_TRANSLATION client: 0000:00:03.0 sid: 0x18 ssid: 0x0 iova: 0x123456000" in said[0], said
    assert "guest: interrupts 1\n" in r.output(), r.output()[-2000:]
    report = r.report()
    assert report["faults"] >= 1 and report["stale_hits"] == 0 and report["nested_hwpts"] >= 1, report


@guest.test
def remove_and_rescan(scratch):
    """Three processors, so that the disk has four MSIs: of three Linux's ITS driver would free one too few."""
    r = guest.assert_succeeds(scratch, *job("replug", "--cpus", 3), "--device", f"nvme,file={guest.disk(scratch)}")
    assert r.report()["nested_hwpts"] >= 2, r.report()


@guest.test
def two_units_and_a_port(scratch):
    """A disk behind each; the second's requester id has the number of a bus that firmware has given."""
    r = guest.assert_succeeds(
        scratch, *job("disks", "--viommu", "smmuv3"),
        "--device", f"nvme,file={guest.disk(scratch)},serial=a",
        "--device", f"nvme,file={guest.disk(scratch, name='b.img')},serial=b,at=port,unit=1")
    assert "guest: iommus 2\n" in r.output()
    disks = {d: (at, unit) for d, at, unit in re.findall(r"guest: disk (\w) at 0000:(.*) behind (\S+)\n", r.output())}
    assert disks["a"][0] == "00:02.0" and disks["b"][0] == "01:00.0", disks
    assert disks["a"][1] != disks["b"][1] and disks["a"][1].startswith("smmu3"), disks


@guest.test
def linux_enables_pasids_and_ats(scratch):
    """Page requests are the one thing the unit does not offer, so the device does not show them."""
    r = guest.assert_succeeds(scratch, *job("pasid", "--append", "nestor.nopri"),
                              "--device", f"nvme,file={guest.disk(scratch)}", "--device", "dmatest")
    assert "guest: pasid at 4088, 20 bits\n" in r.output(), r.output()[-2000:]


guest.main()
