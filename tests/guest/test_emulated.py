# SPDX-License-Identifier: BSD-3-Clause
#
# Guests whose devices are emulated behind the unit, without a host: the same jobs as with devices that are passed
# through, and the same answers. (As hardware for a host in the guest: tests/kernel.)
import guest


@guest.test
def a_disk(scratch):
    status, r = guest.run(scratch, "--emulated", "--quiet", "--job", "demo", "--timeout", 200)
    assert status == 0, f"status {status}:\n{r.output()[-4000:]}"
    r.assert_nothing_left()
    report = r.report()
    assert report["dma_write_bytes"] > 24 << 20 and report["dma_read_bytes"] > 24 << 20, report
    assert report["s1_walks"] > 1000 and report["invalidation_descriptors"] > 100, report
    assert report["faults"] == report["nested_hwpts"] == report["host_invalidate_calls"] == 0, report


@guest.test
def processes_share_their_memory_with_the_device(scratch):
    """Device TLB, page requests and their answers, with 64 processes at once."""
    status, r = guest.run(scratch, "--emulated", "--quiet", "--job", "sva", "--timeout", 200,
                          "--device", "dmatest,queues=64", "--append", "no5lvl")
    assert status == 0, f"status {status}:\n{r.output()[-4000:]}"
    r.assert_nothing_left()
    report = r.report()
    assert report["page_requests"] >= report["page_responses"] > 1000, report
    assert report["faults"] == 0, report


guest.main()
