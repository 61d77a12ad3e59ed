# SPDX-License-Identifier: BSD-3-Clause
#
# Moving a running guest with its NVMe controller between two QEMUs, each on a software host of its own and both
# with the same disk file. The guest reads and writes all the while and compares every byte with a copy in its
# memory: what was written by DMA and not migrated, or written to a disk by both ends, shows there.
import json
import os
import re
import socket
import subprocess
import time

import guest

NESTOR = os.path.abspath(guest.NESTOR)
VTD = "intel-iommu,scalable-mode=on,fsts=on,caching-mode=on,intremap=off"


def qemu(iommu, *more):
    append = ("console=ttyS0 no_timer_check panic=-1 panic_on_warn=1 nestor.job=io nestor.arg=0,2,7" +
              (" intel_iommu=on,sm_on iommu.strict=1" if iommu else ""))
    return ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-accel", "tcg", "-cpu", "max",
            "-smp", "2", "-m", "512M", "-object", "memory-backend-memfd,id=ram,size=512M,share=on",
            "-machine", "q35,memory-backend=ram", "-serial", "stdio", *(["-device", iommu] if iommu else []),
            "-object", "iommufd,id=iommufd0", "-device", "vfio-pci,id=disk0,iommufd=iommufd0,fd=nestor:0",
            "-kernel", guest.setup("kernel"), "-initrd", guest.setup("initramfs"), "-append", append, *more]


class End(guest.Host):
    """One end of a migration: "nestor host", its QEMU, and QEMU's monitor on a socket that it inherits."""

    def __init__(self, scratch, name, device, iommu, *more):
        self.place = scratch / name
        self.place.mkdir()
        self.trace_file = self.place / "trace.jsonl"
        self.ours, theirs = socket.socketpair()
        self.ours.settimeout(guest.TIMEOUT)
        super().__init__(
            self.place, ["--check", "--trace", self.trace_file, "--device", device],
            qemu(iommu, "-chardev", f"socket,id=monitor,fd={theirs.fileno()}", "-qmp", "chardev:monitor", *more),
            stdin=subprocess.PIPE, pass_fds=[theirs.fileno()])
        theirs.close()
        self.file = self.ours.makefile("r")
        assert self.file.readline(), self.output()
        self.do("qmp_capabilities")

    def do(self, command, **arguments):
        self.ours.sendall((json.dumps({"execute": command, "arguments": arguments}) + "\n").encode())
        for line in self.file:
            message = json.loads(line)
            assert "error" not in message, (command, message)
            if "return" in message:
                return message["return"]
        raise AssertionError(f"the monitor is gone:\n{self.output()[-3000:]}")

    def wait_steps(self, more):
        """Until the guest has told of that much more work than it had."""
        had = self.output().count("NESTOR-GUEST: steps")
        deadline = time.monotonic() + guest.TIMEOUT
        while self.output().count("NESTOR-GUEST: steps") < had + more:
            assert self.process.poll() is None and time.monotonic() < deadline, self.output()[-3000:]
            time.sleep(0.02)

    def wait_migration(self, until=lambda info: False):
        deadline = time.monotonic() + guest.TIMEOUT
        while True:
            info = self.do("query-migrate")
            if until(info) or info.get("status") in ("completed", "failed", "cancelled"):
                return info
            assert time.monotonic() < deadline, info
            time.sleep(0.05)

    def say_end(self):
        self.process.stdin.write(b"end\n")
        self.process.stdin.flush()

    def finish(self):
        """The guest is told to end, says that all was right, and QEMU goes."""
        self.say_end()
        assert self.wait() == 0, self.output()[-3000:]
        assert re.search("^NESTOR-GUEST: ok\r?$", self.output(), re.M), self.output()[-3000:]
        self.assert_quiet()

    def quit(self):
        self.do("quit")
        assert self.wait() == 0, self.output()[-3000:]
        self.assert_quiet()

    def assert_quiet(self):
        self.assert_nothing_left()
        assert "check: " not in self.output(), self.output()[-3000:]
        report = self.report()
        assert report["faults"] == 0 and report["stale_hits"] == 0, report

    def calls(self, name):
        records = [json.loads(line) for line in self.trace_file.read_text().splitlines()]
        return [r for r in records if r["call"] == name]


def source(scratch, name="source", iommu="", **image):
    return End(scratch, name, f"nvme,file={guest.disk(scratch, **image)}", iommu)


def destination(scratch, name="destination", iommu="", options=",incoming=on", image="disk.img"):
    end = End(scratch, name, f"nvme,file={scratch / image}{options}", iommu, "-incoming", "defer")
    end.uri = f"unix:{end.place / 'socket'}"
    end.do("migrate-incoming", uri=end.uri)
    return end


def migrate(old, new):
    """All of memory has been sent once, and then the guest works on: what its disk writes has to be sent again."""
    old.do("migrate-set-parameters", **{"downtime-limit": 0})
    old.do("migrate", uri=new.uri)
    old.wait_migration(lambda info: info.get("ram", {}).get("dirty-sync-count", 0) >= 3)
    old.wait_steps(6)
    old.do("migrate-set-parameters", **{"downtime-limit": 10000})
    info = old.wait_migration()
    assert info["status"] == "completed", (info, old.output()[-2000:], new.output()[-2000:])
    # the controller's state is as long as it says
    assert info["vfio"]["transferred"] > 10000, info
    return info


@guest.test
def io_goes_on_through_two_migrations(scratch):
    first = source(scratch)
    first.wait_steps(4)
    second = destination(scratch)
    migrate(first, second)
    first.quit()
    # what devices wrote was tracked by the IOMMU
    tracking = [c["in"]["flags"] for c in first.calls("IOMMU_HWPT_SET_DIRTY_TRACKING") if c["result"] == 0]
    assert tracking[:1] == ["0x1"], tracking
    assert first.calls("IOMMU_HWPT_GET_DIRTY_BITMAP")
    second.wait_steps(6)
    third = destination(scratch, "third")
    migrate(second, third)
    second.quit()
    third.wait_steps(6)
    third.finish()
    for end in (first, second, third):
        report = end.report()
        assert report["dma_read_bytes"] > 1 << 20 and report["dma_write_bytes"] > 1 << 20, report
    assert "NESTOR-GUEST: phase io" in first.output() and "NESTOR-GUEST: phase io" not in third.output()


@guest.test
def with_qemus_own_vtd(scratch):
    """Nested translation on both ends: QEMU tracks what is written in the parent."""
    first = source(scratch, iommu=VTD)
    assert first.wait_for("NESTOR-GUEST: iommu_type").split()[-1] == "DMA"
    first.wait_steps(4)
    second = destination(scratch, iommu=VTD)
    migrate(first, second)
    first.quit()
    second.wait_steps(6)
    second.finish()
    for end in (first, second):
        report = end.report()
        assert report["nested_hwpts"] >= 1 and report["s1_walks"] > 0, report
    parents = [c for c in second.calls("IOMMU_HWPT_ALLOC") if "NEST_PARENT" in str(c["in"]["flags"])]
    assert parents and "DIRTY_TRACKING" in str(parents[0]["in"]["flags"]), parents


@guest.test
def the_source_does_not_go_on_when_it_has_handed_over(scratch):
    """Two guests on one disk would ruin it."""
    first = source(scratch)
    first.wait_steps(2)
    second = destination(scratch)
    migrate(first, second)
    second.wait_steps(1)
    first.do("cont")
    first.wait_for("not resumed, the disk file is in use")
    first.wait_for("Failed setting device state to RUNNING")
    second.wait_steps(2)
    first.process.kill()
    first.wait()
    second.finish()


@guest.test
def a_cancelled_migration(scratch):
    first = source(scratch)
    first.wait_steps(2)
    second = destination(scratch)
    first.do("migrate-set-parameters", **{"max-bandwidth": 1 << 20})
    first.do("migrate", uri=second.uri)
    first.wait_steps(2)
    first.do("migrate_cancel")
    assert first.wait_migration()["status"] == "cancelled"
    second.process.kill()
    second.wait()
    first.wait_steps(2)
    first.finish()


@guest.test
def another_disk_is_refused_and_the_source_goes_on(scratch):
    first = source(scratch)
    first.wait_steps(2)
    guest.disk(scratch, name="other.img")
    second = destination(scratch, image="other.img")
    first.do("migrate", uri=second.uri)
    assert second.wait() != 0
    first.wait_migration()
    assert re.search('migration refused: the stream is of "nvme blocks=131072 .*", this is "nvme blocks=131072 ',
                     second.output()), second.output()[-2000:]
    if first.do("query-status")["status"] != "running":
        first.do("cont")
    first.wait_steps(2)
    first.finish()


# --- without a guest: the data file through the preloaded library

PROGRAM = """
import errno, fcntl, os, select, struct, sys
device, iommu = int(sys.argv[1]), os.open("/dev/iommu", os.O_RDWR)
fcntl.ioctl(device, 0x3b76, bytearray(struct.pack("<IIiI", 16, 0, iommu, 0)))
def state(wanted):
    arg = bytearray(struct.pack("<IIIi", 16, 1 << 17 | 2, wanted, 0))
    fcntl.ioctl(device, 0x3b75, arg)
    return struct.unpack("<IIIi", arg)[3]
def refused(code, function, *args):
    try:
        function(*args)
    except OSError as e:
        assert e.errno == code, e
    else:
        raise AssertionError("not refused")
assert state(1) == -1                               # STOP
fd = state(3)                                       # STOP_COPY
assert fd > device and not os.get_inheritable(fd)
stream = b""
while piece := os.read(fd, 1000):
    stream += piece
refused(errno.ESPIPE, os.pread, fd, 1, 0)
p = select.poll(); p.register(fd, select.POLLIN)
assert p.poll(0) == [(fd, select.POLLIN)]
twin = os.dup(fd)
os.close(fd)
assert os.read(twin, 1) == b""
os.close(twin)
fd = state(4)                                       # RESUMING
assert os.write(fd, stream[:100]) == 100 and os.write(fd, stream[100:]) == len(stream) - 100
refused(errno.EINVAL, os.write, fd, b"x")
refused(errno.EINVAL, state, 1)
fcntl.ioctl(device, 0x3b6f)                         # reset
refused(errno.ENODEV, os.write, fd, b"x")
os.close(fd)
fd = state(6)                                       # PRE_COPY
initial = os.read(fd, 1 << 20)
refused(errno.ENOMSG, os.read, fd, 1)
assert stream.startswith(initial) and p.register(fd, select.POLLIN) is None and p.poll(0) == []
info = bytearray(struct.pack("<IIQQ", 24, 0, 9, 9))
fcntl.ioctl(fd, 0x3b79, info)
assert struct.unpack("<IIQQ", info)[2:] == (0, 0)
assert state(2) == -1                               # RUNNING
refused(errno.ENODEV, os.read, fd, 1)
"""


@guest.test
def the_data_file_is_a_descriptor_like_any_other(scratch):
    (scratch / "program.py").write_text(PROGRAM)
    image = guest.disk(scratch, 1)
    done = subprocess.run([NESTOR, "host", "--quiet", "--device", f"nvme,file={image}", "--", "/usr/bin/python3",
                           scratch / "program.py", "nestor:0"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


guest.main()
