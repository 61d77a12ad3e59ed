# SPDX-License-Identifier: BSD-3-Clause
#
# Can the test bench see what it is for? One invalidation is lost on purpose, once the guest reads its
# data back: the sanitizer must report the stale use, and the guest's checksums must fail. One virtual
# CPU: Linux keeps a cache of free addresses per CPU, last in first out, so the address whose
# invalidation is lost is the next to be used.
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
def memory_that_is_not_shared_is_named(scratch):
    status, r = guest.run(scratch, "--quiet", "--job", "demo", "--timeout", 100, "--",
                          "-object", "memory-backend-memfd,id=private,size=512M,share=off",
                          "-machine", "q35,memory-backend=private")
    assert status == 1, f"status {status}"
    assert "not shared" in r.output() and "share=on" in r.output(), r.output()[-3000:]
    r.assert_nothing_left()


guest.main()
