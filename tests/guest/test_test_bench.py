# SPDX-License-Identifier: BSD-3-Clause
#
# Can the test bench see what it is for, and does the guest hear what it should?
#
# One invalidation is lost on purpose, once the guest reads its data back: the sanitizer must report the
# stale use, and the guest's checksums must fail. One virtual CPU: Linux keeps a cache of free addresses per
# CPU, last in first out, so the address whose invalidation is lost is the next to be used.
import guest


@guest.test
def a_lost_invalidation_is_seen_by_sanitizer_and_guest(scratch):
    status, r = guest.run(scratch, "--quiet", "--job", "demo", "--timeout", 200, "--cpus", 1,
                          "--drop-invalidation-after", 8 << 20,
                          "--device", f"nvme,file={guest.disk(scratch)}")
    assert status == 1, f"status {status}:\n{r.output()[-3000:]}"
    assert "lost on purpose" in r.output()
    report = r.report()
    assert report["stale_hits"] >= 1, report
    assert report["guest_ok"] is False, report
    assert "check: stale IOTLB entry used (1): device 00:01.0 write" in r.output(), r.output()[-3000:]
    assert "guest: FAIL wrong data" in r.output(), r.output()[-3000:]


@guest.test
def a_fault_record_reaches_the_guest_by_msi(scratch):
    """A root table of an unknown mode blocks the disk: Linux must hear of it through the fault interrupt."""
    r = guest.Run(scratch, "--job", "badroot", "--append", "iomem=relaxed")
    r.wait_for("DRHD: handling fault status reg 2")
    line = r.wait_for("fault addr")
    assert "[DMA Read NO_PASID] Request device [0000:00:02.0]" in line, line
    assert "[fault reason 0x30]" in line, line
    r.end()
    assert "is blocked: what the guest's tables say of it is wrong (fault reason 0x30)" in r.output()


@guest.test
def memory_that_is_not_shared_is_named(scratch):
    status, r = guest.run(scratch, "--quiet", "--job", "demo", "--timeout", 100, "--",
                          "-object", "memory-backend-memfd,id=private,size=512M,share=off",
                          "-machine", "q35,memory-backend=private")
    assert status == 1, f"status {status}"
    assert "not shared" in r.output() and "share=on" in r.output(), r.output()[-3000:]
    r.assert_nothing_left()


guest.main()
