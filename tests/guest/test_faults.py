# SPDX-License-Identifier: BSD-3-Clause
#
# DMA that the guest's own tables refuse: the guest's kernel says who, where and why, if the host can tell, and the disk
# beside the device goes on. A host like Linux 7.2 cannot, and then the run says so at its start.
import guest

SILENCE = "nestor: warning: vtd: the host reports no unrecoverable faults"
LINE = "guest: fault DMAR: [DMA {} NO_PASID] Request device [0000:00:03.0] fault addr 0x40001000 " \
    "[fault reason 0x71] SM: Present bit in first-level paging entry is clear\n"


def run(scratch, *args):
    status, r = guest.run(scratch, "--quiet", "--job", "faults", "--timeout", 200,
                          "--device", f"nvme,file={guest.disk(scratch)}", "--device", "dmatest", *args)
    assert status == 0, f"status {status}:\n{r.output()[-4000:]}"
    r.assert_nothing_left()
    report = r.report()
    assert report["guest_ok"] is True and report["stale_hits"] == 0, report
    assert report["lost_host_faults"] == 0 and report["dma_while_blocked"] == 0, report
    return r.output(), report


@guest.test
def refused_dma_is_in_the_guests_log(scratch):
    output, report = run(scratch)
    for kind in "Write", "Read":
        assert output.count(LINE.format(kind)) == 1, output[-3000:]
    assert report["faults"] == 2 and report["host_faults"] == 2, report
    assert SILENCE not in output, output[:2000]


@guest.test
def a_host_that_reports_nothing_says_so(scratch):
    output, report = run(scratch, "--strict-abi", "--append", "nestor.silent")
    assert output.count(SILENCE) == 1, output[:2000]
    assert "guest: fault" not in output, output[-3000:]
    assert report["faults"] == 2 and report["host_faults"] == 0, report


guest.main()
