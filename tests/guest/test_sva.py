# SPDX-License-Identifier: BSD-3-Clause
#
# Shared virtual addressing in a Linux guest: the device works in the memory of processes (guest/sva), and the pages it
# lacks come by page requests. Linux has 4 levels as the unit has: no5lvl.
import re

import guest

PARTS = ("present", "faults", "unmap", "cow", "many", "exit", "gone")


def sva(scratch, *more, words=""):
    return guest.run(scratch, "--quiet", "--job", "sva", "--timeout", 200, "--device", "dmatest,queues=64",
                     "--append", f"no5lvl {words}", *more)


def assert_served(r):
    """The device's own counts after each part, then Nestor's: groups are of one page."""
    output = r.output()
    told = re.findall(r"guest: sva (\w+): page requests (\d+), responses (\d+), refused (\d+), unexpected (\d+)\n",
                      output)
    assert tuple(t[0] for t in told) == PARTS, output[-3000:]
    for part, requests, responses, refused, unexpected in told:
        assert refused == "0" and unexpected == "0", (part, refused, unexpected)
    counts = [(int(t[1]), int(t[2])) for t in told]
    assert counts[0] == (0, 0), counts
    for (before, _), (requests, responses) in zip(counts[:-2], counts[1:-1]):
        assert requests == responses > before, counts
    # the last began anew with the device
    served = counts[-2][0] + counts[-1][0]
    report = r.report()
    # what is on its way when a process ends the host answers, and the guest may not get to see it
    assert served - 200 <= report["page_responses"] <= report["page_requests"], (report, counts)
    assert "  page requests taken" in output and "  page responses given" in output, output[-3000:]


@guest.test
def processes_share_their_memory_with_the_device(scratch):
    status, r = sva(scratch)
    assert status == 0, f"status {status}:\n{r.output()[-4000:]}"
    r.assert_nothing_left()
    guest.assert_clean(r.report())
    assert_served(r)


@guest.test
def a_lost_invalidation_is_seen(scratch):
    """After an munmap the device still writes to the page that was there."""
    status, r = sva(scratch, "--cpus", 1, "--drop-invalidation-after", 100000, words="nestor.sva=unmap")
    assert status == 1, f"status {status}:\n{r.output()[-3000:]}"
    assert "lost on purpose" in r.output() and "guest: FAIL unmap ended" in r.output(), r.output()[-3000:]
    report = r.report()
    assert report["stale_hits"] >= 1 and report["guest_ok"] is False, report


@guest.test
def a_processor_with_5_levels_is_named(scratch):
    status, r = guest.run(scratch, "--quiet", "--job", "sva", "--timeout", 200, "--device", "dmatest")
    assert status == 1
    assert "SVM disabled, incompatible paging mode: boot with no5lvl" in r.output(), r.output()[-3000:]


guest.main()
