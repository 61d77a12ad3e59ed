# SPDX-License-Identifier: BSD-3-Clause
#
# Devices that come and go while a guest runs, several IOMMUs, and buses to which the guest gives other numbers
# than firmware did.
import collections
import json
import re
import socket

import guest


class Control:
    """The commands of nestor run, as a user gives them."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(guest.TIMEOUT)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("r")

    def ask(self, line):
        self.socket.sendall(f"{line}\n".encode())
        return self.file.readline().strip()


def assert_nothing_lives(trace):
    """Every HWPT of the run was destroyed, at the first attempt; every device and descriptor closed.
    Returns how often each path was opened."""
    live, opened, paths = set(), {}, collections.Counter()
    for line in trace.read_text().splitlines():
        r = json.loads(line)
        done = not isinstance(r["result"], str)
        if r["call"] == "IOMMU_HWPT_ALLOC" and done:
            live.add(r["out"]["out_hwpt_id"])
        elif r["call"] == "IOMMU_DESTROY":
            assert done, r
            live.discard(r["in"]["id"])
        elif r["call"] == "open" and done:
            opened[r["result"]] = r
            paths[r["in"]["path"]] += 1
        elif r["call"] in ("IOMMU_VEVENTQ_ALLOC", "IOMMU_FAULT_QUEUE_ALLOC") and done:
            opened[next(value for key, value in r["out"].items() if key.endswith("_fd"))] = r
        elif r["call"] == "close":
            del opened[r["in"]["fd"]]
    assert not live and not opened, (live, opened)
    return paths


@guest.test
def unplugged_and_plugged_again_while_io_runs(scratch):
    path, trace = scratch / "control", scratch / "trace.jsonl"
    r = guest.Run(scratch, "--quiet", "--job", "hotplug", "--timeout", 200, "--control", path, "--trace", trace,
                  "--device", f"nvme,file={guest.disk(scratch)},serial=stays",
                  "--device", f"nvme,file={guest.disk(scratch, name='moves.img')},serial=moves,at=port,plugged=off")
    r.wait_for("booting Linux")
    control = Control(path)
    assert "somebody else" in Control(path).file.readline()
    for line, why in (("", "not known"), ("unplug", "not known"), ("unplug 1 2", "not known"), ("reboot 1", "not known"),
                      ("unplug 2", "no such device"), ("unplug 4000000000", "no such device"),
                      ("unplug 0", "only a device on a port"), ("plug 0", "only a device on a port"),
                      ("x" * 255, "not known")):
        answer = control.ask(line)
        assert answer.startswith("error: ") and why in answer, (line, answer)
    control.socket.sendall(b"x" * 256)      # what cannot be a command any more
    assert "that long" in control.file.readline() and control.file.readline() == ""
    control = Control(path)
    r.wait_for("guest: plug first")
    assert "not plugged in" in control.ask("unplug 1")
    assert control.ask("plug 1") == "ok"
    assert "is plugged in" in control.ask("plug 1")
    for n in (1, 2, 3):
        r.wait_for(f"guest: unplug {n}\n")
        assert control.ask("unplug 1") == "ok"
        r.wait_for(f"guest: plug {n}\n")
        assert control.ask("plug 1") == "ok"
    assert r.wait() == 0, r.output()[-4000:]
    r.assert_nothing_left()
    assert not path.exists()
    report = r.report()
    guest.assert_clean(report)
    # its nested HWPT was another one each time
    assert report["nested_hwpts"] >= 5, report
    assert "check: " not in r.output(), r.output()[-4000:]
    # once to be described, and anew for each time that it was plugged in
    assert assert_nothing_lives(trace)["/dev/vfio/devices/vfio1"] == 1 + 4


def taken_away(scratch, word):
    """The host takes a disk in the middle of its I/O; the other one goes on, and nothing of the first is left."""
    path, trace = scratch / "control", scratch / "trace.jsonl"
    r = guest.Run(scratch, "--quiet", "--job", "hotplug", "--append", f"nestor.arg=1,{word}", "--timeout", 200,
                  "--control", path, "--trace", trace,
                  "--device", f"nvme,file={guest.disk(scratch)},serial=stays",
                  "--device", f"nvme,file={guest.disk(scratch, name='moves.img')},serial=moves,at=port",
                  "--device", f"nvme,file={guest.disk(scratch, name='slot.img')},serial=slot")
    r.wait_for("guest: unplug 1\n")
    control = Control(path)
    assert "only a device on a port" in control.ask("withdraw 2")
    if word == "pull":      # QEMU cannot unplug that one: it is dead, and nobody else minds
        assert control.ask("pull 2") == "ok"
        assert "has taken it away" in control.ask("pull 2")
    assert control.ask("unplug 1") == "ok"
    assert "not plugged in" in control.ask(f"{word} 1")
    r.wait_for("guest: plug 1\n")
    assert control.ask("plug 1") == "ok"
    r.wait_for(f"guest: {word}\n")
    assert control.ask(f"{word} 1") == "ok"
    for line in ("plug 1", "unplug 1", f"{word} 1"):
        assert "has taken it away" in control.ask(line), line
    assert r.wait() == 0, r.output()[-4000:]
    r.assert_nothing_left()
    guest.assert_clean(r.report())
    assert "check: " not in r.output(), r.output()[-4000:]
    assert ("device 2: the host asks for it" in r.output()) == (word == "pull")
    assert assert_nothing_lives(trace)["/dev/vfio/devices/vfio1"] == 3    # dry run, boot, plug


@guest.test
def the_host_asks_for_a_disk(scratch):
    taken_away(scratch, "withdraw")


@guest.test
def a_disk_is_pulled_out(scratch):
    taken_away(scratch, "pull")


@guest.test
def two_units_and_renumbered_buses(scratch):
    """The second port's bus is 2 for firmware and 9 for this Linux: its device is known by the new number."""
    trace = scratch / "trace.jsonl"
    r = guest.assert_succeeds(
        scratch, "--quiet", "--verbose", "--job", "disks", "--timeout", 200, "--trace", trace,
        "--append", "pci=assign-busses,hpbussize=8", "--viommu", "vtd", "--viommu", "vtd",
        "--device", f"nvme,file={guest.disk(scratch)},serial=a,at=port",
        "--device", f"nvme,file={guest.disk(scratch, name='b.img')},serial=b,at=port,unit=1",
        "--device", f"nvme,file={guest.disk(scratch, name='c.img')},serial=c,unit=1")
    out = r.output()
    assert "guest: iommus 2\n" in out
    disks = dict(re.findall(r"guest: disk (\w) at 0000:(.*) behind", out))
    assert disks == {"a": "01:00.0", "b": "09:00.0", "c": "00:04.0"}, disks
    units = dict(re.findall(r"guest: disk (\w) at .* behind (\w+)\n", out))
    assert units["a"] != units["b"] == units["c"] and units["a"].startswith("dmar"), units
    assert re.search(r"vtd: device .* is now 02:00.0\n(.*\n)*.*vtd: device .* is now 09:00.0\n", out), out[-4000:]
    assert out.count("vtd: translation on") == 2
    assert_nothing_lives(trace)


guest.main()
