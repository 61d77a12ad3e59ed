# SPDX-License-Identifier: BSD-3-Clause
#
# "nestor host": QEMU's own accelerated VT-d on the software host; the preloaded library in a program that does to
# its descriptors what VMMs do; and what the launcher says and returns.
import hashlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess

import guest

NESTOR = os.path.abspath(guest.NESTOR)
APPEND = "console=ttyS0 no_timer_check panic=-1 panic_on_warn=1 intel_iommu=on,sm_on iommu.strict=1 nestor.job="


def qemu(job, *more, iommu="", port=False, disk="fd=nestor:0"):
    return ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-accel", "tcg", "-cpu", "max",
            "-smp", "2", "-m", "512M", "-object", "memory-backend-memfd,id=ram,size=512M,share=on",
            "-machine", "q35,memory-backend=ram", "-serial", "stdio",
            "-device", "intel-iommu,scalable-mode=on,fsts=on,caching-mode=on,intremap=off" + iommu,
            "-object", "iommufd,id=iommufd0", *(["-device", "pcie-root-port,id=port0,chassis=1"] if port else []),
            "-device", f"vfio-pci,id=disk0,iommufd=iommufd0,{disk}" + (",bus=port0" if port else ""),
            "-kernel", guest.setup("kernel"), "-initrd", guest.setup("initramfs"), "-append", APPEND + job, *more]


def assert_clean(report):
    assert report["exit_status"] == 0 and report["hosts"] == 1 and report["complete"] is True, report
    assert report["nested_hwpts"] >= 1 and report["s1_walks"] > 0, report
    assert report["host_invalidate_calls"] > 0, report
    assert report["faults"] == 0 and report["stale_hits"] == 0, report
    assert report["dma_after_unmap"] == 0 and report["dma_while_blocked"] == 0, report


def boot(scratch, job, *more, device="", trace=None, **options):
    image = guest.disk(scratch)
    r = guest.Host(scratch, ["--check", "--device", f"nvme,file={image}{device}", *(["--trace", trace] if trace else [])],
             qemu(job, *more, **options))
    status = r.wait()
    assert status == 0, f"status {status}:\n{r.output()[-3000:]}"
    assert re.search("^NESTOR-GUEST: ok\r?$", r.output(), re.M), r.output()[-3000:]
    assert "check: " not in r.output(), r.output()[-3000:]
    r.assert_nothing_left()
    assert_clean(r.report())
    return r, image


def check_trace(file, report):
    """Every line is JSON, and the trace and the counters tell the same story."""
    records = [json.loads(line) for line in file.read_text().splitlines()]
    done = [r for r in records if not isinstance(r["result"], str)]
    nested = [r for r in done if r["call"] == "IOMMU_HWPT_ALLOC" and r["in"]["data_type"] == "VTD_S1"]
    assert len(nested) == report["nested_hwpts"], (nested, report)
    assert nested[0]["in"]["data"][0]["addr_width"] == 48, nested
    attached = [r["in"]["pt_id"] for r in done if r["call"] == "VFIO_DEVICE_ATTACH_IOMMUFD_PT"]
    assert nested[0]["out"]["out_hwpt_id"] in attached, (nested, attached)
    invalidations = [r for r in records if r["call"] == "IOMMU_HWPT_INVALIDATE"]
    assert len(invalidations) == report["host_invalidate_calls"], (len(invalidations), report)
    assert sum(r["out"]["entry_num"] for r in invalidations) == report["host_invalidate_entries"]
    assert all(r["t"] >= 0 for r in records) and records[0]["call"] == "open"


def open_placeholder(pid):
    for link in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        if os.readlink(link).startswith("/memfd:nestor-device"):
            return open(link, "r+b", buffering=0)
    raise AssertionError("the launcher has no placeholder")


class Monitor:
    """QEMU's monitor, on a socket that it inherits."""

    def __init__(self):
        self.ours, self.theirs = socket.socketpair()
        self.ours.settimeout(guest.TIMEOUT)
        self.file = self.ours.makefile("r")
        number = self.theirs.fileno()
        self.arguments = ["-chardev", f"socket,id=monitor,fd={number}", "-qmp", "chardev:monitor"]

    def connect(self):
        self.theirs.close()
        self.file.readline()
        self.do("qmp_capabilities")

    def wait(self, key, value=None):
        for line in self.file:
            message = json.loads(line)
            assert "error" not in message, message
            if key in message and value in (None, message[key]):
                return
        raise AssertionError("the monitor is gone")

    def do(self, command, *descriptors, **arguments):
        text = json.dumps({"execute": command, "arguments": arguments}) + "\n"
        socket.send_fds(self.ours, [text.encode()], descriptors)
        self.wait("return")


@guest.test
def qemus_own_vtd_and_the_image_on_the_host(scratch):
    r, image = boot(scratch, "demo", trace=scratch / "trace.jsonl")
    report = r.report()
    check_trace(scratch / "trace.jsonl", report)
    assert report["dma_read_bytes"] + report["dma_write_bytes"] > 16 << 20, report
    assert "NESTOR-GUEST: iommu_type DMA" in r.output()
    said = re.search("NESTOR-GUEST: sha256 ([0-9a-f]{64}) /demo.bin", r.output())
    data = subprocess.run(["debugfs", "-R", "cat /demo.bin", image], capture_output=True, check=True)
    assert said and hashlib.sha256(data.stdout).hexdigest() == said[1]
    objects = report["objects_at_end"]
    assert objects["nested HWPT"]["live"] >= 1 and objects["bound device"] == {"live": 1, "unused": 0}, objects


@guest.test
def with_pasids_and_msi_instead_of_msix(scratch):
    boot(scratch, "demo", iommu=",pasid-bits=16", device=",msix=off")


@guest.test
def the_device_by_a_directory(scratch):
    boot(scratch, "demo", disk="sysfsdev=nestor:0")


@guest.test
def reset_in_the_middle_of_io(scratch):
    r, _ = boot(scratch, "reboot", "-action", "reboot=reset")
    assert "NESTOR-GUEST: phase reset" in r.output() and "NESTOR-GUEST: phase verify" in r.output()
    assert r.report()["nested_hwpts"] >= 2, r.report()


@guest.test
def rebind_unplug_and_plug_again(scratch):
    monitor = Monitor()
    r = guest.Host(scratch, ["--check", "--device", f"nvme,file={guest.disk(scratch)}"],
             qemu("", *monitor.arguments, port=True), stdin=subprocess.PIPE, pass_fds=[monitor.theirs.fileno()])
    monitor.connect()
    count = 0

    def shell(words):
        nonlocal count
        count += 1
        r.process.stdin.write(f"{words}; echo said-$((1000 + {count}))-$?\n".encode())
        r.process.stdin.flush()
        assert r.wait_for(f"said-{1000 + count}-").split("-")[-1].strip() == "0", r.output()[-2000:]

    wait_disk = "for i in $(seq 100); do [ -b /dev/nvme0n1 ] || usleep 100000; done; [ -b /dev/nvme0n1 ]"
    r.wait_for('"exit" powers off')
    shell(wait_disk)
    shell("d=$(basename $(readlink -f /sys/class/nvme/nvme0/device)); echo $d >/sys/bus/pci/drivers/nvme/unbind")
    shell(f"echo $d >/sys/bus/pci/drivers/nvme/bind; {wait_disk}")
    monitor.do("device_del", id="disk0")
    monitor.wait("event", "DEVICE_DELETED")
    shell("[ ! -e /dev/nvme0n1 ]")
    # QEMU closed its placeholder; another open of it, through the monitor, is as good
    with open_placeholder(r.process.pid) as placeholder:
        monitor.do("getfd", placeholder.fileno(), fdname="again")
    monitor.do("device_add", driver="vfio-pci", id="disk1", iommufd="iommufd0", fd="again", bus="port0")
    shell(wait_disk)
    shell("sh /jobs/demo")
    r.process.stdin.write(b"exit\n")
    r.process.stdin.flush()
    assert r.wait() == 0, r.output()[-2000:]
    r.assert_nothing_left()
    assert_clean(r.report())
    assert "NESTOR-GUEST: ok" in r.output() and "check: " not in r.output()
    assert all(n["unused"] == 0 for n in r.report()["objects_at_end"].values()), r.report()


@guest.test
def qemu_is_killed(scratch):
    image = guest.disk(scratch)
    r = guest.Host(scratch, ["--device", f"nvme,file={image}"], qemu("powercut"))
    r.wait_for("NESTOR-GUEST: synced")
    pids = r.qemu_pids()
    assert len(pids) == 1, pids
    os.kill(pids[0], signal.SIGKILL)
    assert r.wait() == 128 + signal.SIGKILL, r.output()[-2000:]
    r.assert_nothing_left()
    assert "killed by signal 9" in r.output()
    report = r.report()     # what was counted until then
    assert report["complete"] is False and report["s1_walks"] > 0, report


@guest.test
def nestor_is_killed_or_asked_to_end(scratch):
    for number, status in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)):
        # the killed QEMU may not have let go of its disk yet
        image = guest.disk(scratch, name=f"disk{number}.img")
        r = guest.Host(scratch, ["--device", f"nvme,file={image}"], qemu("powercut"))
        r.wait_for("NESTOR-GUEST: synced")
        os.kill(r.process.pid, number)
        assert r.wait() == status, r.output()[-2000:]       # QEMU ends with 0 when it is terminated
        r.assert_nothing_left()


# --- the library, without a guest

PRELUDE = """
import errno, fcntl, os, select, stat, struct, subprocess, sys
def call(fd, request, size, *words):
    arg = bytearray(struct.pack(f"<{1 + len(words)}I", size, *words).ljust(size, b"\\0"))
    fcntl.ioctl(fd, request, arg)
    return struct.unpack(f"<{size // 4}I", arg)
ioas_alloc = lambda fd: call(fd, 0x3b81, 12)[2]
destroy = lambda fd, id: call(fd, 0x3b80, 8, id)
bind = lambda dev, iommu: call(dev, 0x3b76, 16, 0, iommu)[3]
regions = lambda dev: call(dev, 0x3b6b, 16)[2]
def refused(code, function, *args):
    try:
        function(*args)
    except OSError as e:
        assert e.errno == code, e
    else:
        raise AssertionError("not refused")
device = int(sys.argv[1])
"""


def program(scratch, text, *arguments, options=(), status=0):
    script = scratch / "program.py"
    script.write_text(PRELUDE + text)
    image = scratch / "disk.img"
    image.write_bytes(b"\0" * 4096)
    r = guest.Host(scratch, ["--check", "--device", "nvme,file=disk.img", *options],
             ["/usr/bin/python3", script, "nestor:0", *arguments])
    got = r.wait()
    assert got == status, f"status {got}:\n{r.output()}"
    r.assert_nothing_left()
    return r, r.report()


@guest.test
def a_placeholder_is_the_device(scratch):
    program(scratch, """
iommu = os.open("/dev/iommu", os.O_RDWR)
refused(errno.EINVAL, regions, device)              # before it is bound
assert bind(device, iommu)
assert regions(device) == 9
assert os.pread(device, 4, 7 << 40) != b"\\xff" * 4  # configuration space
p = select.poll(); p.register(iommu); p.register(device)
assert {fd for fd, events in p.poll(0)} == {iommu, device}
""")


@guest.test
def the_cdev_by_its_path(scratch):
    program(scratch, """
assert os.access("/dev/iommu", os.R_OK | os.W_OK) and not os.access("/dev/iommu", os.X_OK)
assert os.access("/dev/vfio/devices/vfio0", os.F_OK) and not os.access("/dev/vfio/devices/vfio1", os.F_OK)
refused(errno.ENOENT, os.open, "/dev/vfio/devices/vfio1", os.O_RDWR)
iommu, dev = os.open("/dev/iommu", os.O_RDWR), os.open("/dev/vfio/devices/vfio0", os.O_RDWR)
assert bind(dev, iommu) and regions(dev) == 9
refused(errno.EINVAL, bind, device, iommu)          # one owner at a time
directory = sys.argv[2].removeprefix("sysfsdev=")
major, minor = map(int, open(directory + "/vfio-dev/vfio0/dev").read().split(":"))
st = os.fstat(dev)
assert stat.S_ISCHR(st.st_mode) and (os.major(st.st_rdev), os.minor(st.st_rdev)) == (major, minor)
os.close(dev)
assert bind(device, iommu)
""", "sysfsdev=nestor:0")


@guest.test
def duplicates_are_the_same_file(scratch):
    program(scratch, """
iommu = os.open("/dev/iommu", os.O_RDWR)
ioas = ioas_alloc(iommu)
copies = [os.dup(iommu), fcntl.fcntl(iommu, fcntl.F_DUPFD, 100), os.dup2(iommu, 90)]
os.close(iommu)
destroy(copies[0], ioas)
os.close(copies[0])
ioas = ioas_alloc(copies[1])
destroy(copies[2], ioas)
twin = os.dup(device)                               # of a placeholder that is none any more
bind(twin, copies[1])
assert regions(device) == 9
null = os.open("/dev/null", os.O_RDWR)
os.dup2(null, copies[1])                            # takes the number away
refused(errno.ENOTTY, ioas_alloc, copies[1])
assert os.write(copies[1], b"x") == 1
ioas_alloc(copies[2])
os.closerange(copies[2], copies[2] + 1)
refused(errno.EBADF, ioas_alloc, copies[2])
""")


@guest.test
def what_a_program_leaves_is_counted(scratch):
    r, report = program(scratch, """
iommu = os.open("/dev/iommu", os.O_RDWR)
ioas_alloc(iommu), ioas_alloc(iommu)
bind(device, iommu)
twins = os.dup(iommu), os.dup(iommu)                # counted once all the same
""")
    assert report["objects_at_end"] == {"IOAS": {"live": 2, "unused": 2},
                                        "bound device": {"live": 1, "unused": 0}}, report
    assert "IOAS, 2 of them unused" in r.output(), r.output()
    r, report = program(scratch, """
iommu = os.open("/dev/iommu", os.O_RDWR)
bind(device, iommu)
os.close(iommu)                                     # the device still holds it
""")
    assert report["objects_at_end"] == {"bound device": {"live": 1, "unused": 0}}, report
    r, report = program(scratch, """
iommu = os.open("/dev/iommu", os.O_RDWR)
destroy(iommu, ioas_alloc(iommu))
""")
    assert report["objects_at_end"] == {} and report["complete"], report


@guest.test
def a_fault_queue_is_read_through_its_descriptor(scratch):
    r, report = program(scratch, """
iommu = os.open("/dev/iommu", os.O_RDWR)
queue, fd = call(iommu, 0x3b8e, 16)[2:4]            # IOMMU_FAULT_QUEUE_ALLOC
assert os.read(fd, 40) == b""                       # empty, and it does not wait
refused(errno.ESPIPE, os.read, fd, 39)
refused(errno.EINVAL, os.write, fd, bytes(8))       # a response to nothing
refused(errno.EBUSY, destroy, iommu, queue)
os.close(fd)
destroy(iommu, queue)
call(iommu, 0x3b8e, 16)
os.close(iommu)                                     # the queue's descriptor still holds it
""")
    assert report["objects_at_end"] == {"fault queue": {"live": 1, "unused": 0}}, report


@guest.test
def the_extension_goes_with_strict_abi(scratch):
    for options, code in ((), "ENOENT"), (("--strict-abi",), "EOPNOTSUPP"):     # the HWPT is looked at after the type
        program(scratch, f"""
iommu = os.open("/dev/iommu", os.O_RDWR)
id = bind(device, iommu)
viommu_alloc = lambda type: call(iommu, 0x3b90, 24, 0, type, id, 99)
for type in 0, 1, 2, 3:                             # those that Linux has
    refused(errno.EOPNOTSUPP, viommu_alloc, type)
refused(errno.{code}, viommu_alloc, 0x4e535401)
""", options=options)


@guest.test
def children_own_nothing_and_break_nothing(scratch):
    _, report = program(scratch, """
iommu = os.open("/dev/iommu", os.O_RDWR)
ioas = ioas_alloc(iommu)
bind(device, iommu)
pid = os.fork()
if not pid:
    refused(errno.ENOTTY, ioas_alloc, iommu)        # only an eventfd here
    refused(errno.ENXIO, os.open, "/dev/iommu", os.O_RDWR)
    os.close(iommu)
    os.closerange(device, device + 1)
    sys.exit(3)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
assert subprocess.run(["true"], close_fds=True).returncode == 0
child = subprocess.run([sys.executable, "-c", "open('/dev/iommu', 'r+b', buffering=0)"], close_fds=False,
                       capture_output=True, text=True)
assert child.returncode and "in use by the process" in child.stderr, child
destroy(iommu, ioas)
assert regions(device) == 9
""")
    assert report["hosts"] == 1 and report["complete"], report


@guest.test
def one_process_after_the_other(scratch):
    """A script that starts its VMM twice; the second gets the disk, and both are counted."""
    script = "import os\nos.open('/dev/iommu', os.O_RDWR)\n"
    (scratch / "disk.img").write_bytes(b"\0" * 512)
    (scratch / "p.py").write_text(script)
    r = guest.Host(scratch, ["--device", "nvme,file=disk.img"],
             ["sh", "-c", "cd / && for i in 1 2; do /usr/bin/python3 \"$0\" || exit; done; exit 5", scratch / "p.py"])
    assert r.wait() == 5, r.output()
    assert r.report()["hosts"] == 2 and r.report()["complete"], r.report()


@guest.test
def other_descriptors_are_not_touched(scratch):
    program(scratch, """
import mmap, tempfile, threading
f = tempfile.TemporaryFile()
os.write(f.fileno(), b"abc" * 4096)
assert os.pread(f.fileno(), 3, 3) == b"abc" and os.pwrite(f.fileno(), b"x", 0) == 1
with mmap.mmap(f.fileno(), 0) as m:
    assert m[:3] == b"xbc"
copy = os.dup(f.fileno())
os.close(copy)
refused(errno.EBADF, os.read, copy, 1)
refused(errno.ENOTTY, ioas_alloc, f.fileno())
refused(errno.ENOENT, os.open, "/dev/vfio/vfio-no-such", os.O_RDWR)
threading.Thread(target=print).start()
""")


# --- the launcher

def refused(scratch, words, *args, env=None):
    done = subprocess.run([NESTOR, "host", *map(str, args)], capture_output=True, text=True, timeout=60,
                          cwd=scratch, env=dict(os.environ, **(env or {})))
    assert done.returncode == 2, (done.returncode, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and not done.stdout, (lines, done.stdout)
    for word in words:
        assert word in lines[0], (word, lines[0])


@guest.test
def mistakes_on_the_command_line(scratch):
    good = f"nvme,file={guest.disk(scratch, 1)}"
    (scratch / "ran").unlink(missing_ok=True)
    touch = ["touch", scratch / "ran"]
    refused(scratch, ["no command"])
    refused(scratch, ["no command"], "--")
    refused(scratch, ["--nonsense"], "--nonsense", "--", *touch)
    refused(scratch, ["floppy"], "--device", "floppy,file=x", "--", *touch)
    refused(scratch, ["/no/disk.img"], "--device", "nvme,file=/no/disk.img", "--", *touch)
    refused(scratch, [f"{scratch}/no.img"], "--device", "nvme,file=no.img", "--", *touch)
    refused(scratch, ["colour"], "--device", good + ",colour=red", "--", *touch)
    refused(scratch, ["in use"], "--device", good, "--device", good, "--", *touch)
    refused(scratch, ["no device 1", "1 time"], "--device", good, "--", *touch, "fd=nestor:1")
    refused(scratch, ["no device 99999999999999999999"], "--", *touch, "nestor:99999999999999999999")
    refused(scratch, ["/no/command", "No such file"], "--device", good, "--", "/no/command")
    refused(scratch, ["Permission denied"], "--", scratch / "disk.img")
    refused(scratch, ["scripts/setup"], "--", "qemu-system-x86_64", env={"NESTOR_CACHE": str(scratch / "empty")})
    assert not (scratch / "ran").exists()


@guest.test
def the_status_of_the_command(scratch):
    for command, status in ((["false"], 1), (["true"], 0), (["sh", "-c", "exit 77"], 77),
                            (["sh", "-c", "kill -SEGV $$"], 128 + signal.SIGSEGV),
                            # and QEMU's own, from the tree if PATH has none
                            (["qemu-system-x86_64", "-device", "no-such-device"], 1)):
        done = subprocess.run([NESTOR, "host", "--quiet", "--", *command], capture_output=True, text=True,
                              timeout=60)
        assert done.returncode == status, (command, done)


@guest.test
def placeholders_are_words(scratch):
    disk = guest.disk(scratch, 1, "a,b.img")
    done = subprocess.run(
        [NESTOR, "host", "--quiet", "--device", "nvme,file=" + str(disk).replace(",", ",,"), "--", "sh", "-c",
         'readlink /proc/self/fd/$1; shift; printf "%s\\n" "$@"', "sh", "nestor:0", "fd=nestor:0,x=nestor:0",
         '{"fd":"nestor:0"}', "/nestor:0", "nestor:0x", "nestor:", "xnestor:0"],
        capture_output=True, text=True, timeout=60)
    link, first, quoted, *others = done.stdout.splitlines()
    assert link.startswith("/memfd:nestor-device"), link
    n = re.fullmatch(r'\{"fd":"(\d+)"\}', quoted)[1]
    assert first == f"fd={n},x={n}", first
    assert others == ["/nestor:0", "nestor:0x", "nestor:", "xnestor:0"], others


@guest.test
def what_cannot_be_preloaded_is_said(scratch):
    busybox = subprocess.run(["sh", "-c", "command -v busybox"], capture_output=True, text=True).stdout.strip()
    static = busybox or pathlib.Path(guest.setup("debian13")) / "usr/bin/busybox"
    done = subprocess.run([NESTOR, "host", "--", static, "true"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "did not load" in done.stderr, done


@guest.test
def a_library_with_a_name_that_preloading_cannot_take(scratch):
    """Colons and spaces end a name in LD_PRELOAD."""
    place = scratch / "a b:c"
    place.mkdir()
    build = pathlib.Path(NESTOR).resolve().parent
    for name in ("nestor", "libnestor-preload.so"):
        (place / name).write_bytes((build / name).read_bytes())
        (place / name).chmod(0o755)
    done = subprocess.run([place / "nestor", "host", "--", "sh", "-c", "exit 9"], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 9 and "did not load" not in done.stderr and "ld.so" not in done.stderr, done


guest.main()
