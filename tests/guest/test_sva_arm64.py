# SPDX-License-Identifier: BSD-3-Clause
#
# Processes and a device on Arm: Debian's arm64 kernel is built without shared virtual addressing, so the device works, by
# a PASID of each queue, in what the processes share with it. What is not shared gives an event in the kernel's log.
import re

import guest

PARTS = ("present", "faults", "unmap", "cow", "many", "exit", "gone")
EVENT = re.compile(r"guest: event F_TRANSLATION client: 0000:00:(\w+)\.(\d) sid: (\w+) ssid: (\w+) iova: (\w+) ipa: 0x0\n")


def sva(scratch, *more, parts=PARTS):
    return guest.run(scratch, "--viommu", "smmuv3", "--quiet", "--job", "sva", "--timeout", 200,
                     "--device", "dmatest,queues=64", "--append", "nestor.sva=" + ",".join(parts), *more)


@guest.test
def processes_share_memory_with_the_device(scratch):
    """Every event is of the device that is to blame, with its PASID and address; and there is no other."""
    status, r = sva(scratch)
    output = r.output()
    assert status == 0, f"status {status}:\n{output[-4000:]}"
    r.assert_nothing_left()
    told = re.findall(r"guest: sva told: pasid (0x\w+) at (0x\w+)", output)
    events = EVENT.findall(output)
    assert len(told) == 7 and len({pasid for pasid, _ in told}) == 2, told
    assert [(e[3], e[4]) for e in events] == told, (told, events)
    for slot, function, sid, ssid, _ in events:
        assert int(sid, 16) == int(slot, 16) << 3 | int(function) and int(ssid, 16) > 0, events
    # no page is asked for; the device counts, until it is reset, what it was refused
    parts = re.findall(r"guest: sva (\w+): page requests (\d+), responses (\d+), refused (\d+), unexpected (\d+)", output)
    assert tuple(p[0] for p in parts) == PARTS, parts
    for part in parts:
        assert part[1] == part[2] == part[4] == "0", part
        assert int(part[3]) == (0 if part[0] in ("present", "gone") else len(told)), parts
    report = r.report()
    assert report["guest_ok"] is True and report["stale_hits"] == 0 and report["faults"] == len(told), report
    assert report["dma_after_unmap"] == 0 and report["dma_while_blocked"] == 0, report
    assert report["nested_hwpts"] >= 1 and report["s1_walks"] > 0, report


@guest.test
def a_lost_invalidation_is_seen(scratch):
    """What is not shared any more the device still reaches."""
    status, r = sva(scratch, "--drop-invalidation-after", 10, parts=["unmap"])
    assert status == 1, f"status {status}:\n{r.output()[-3000:]}"
    assert "lost on purpose" in r.output() and "guest: FAIL unmap ended" in r.output(), r.output()[-3000:]
    report = r.report()
    assert report["stale_hits"] >= 1 and report["guest_ok"] is False, report


guest.main()
