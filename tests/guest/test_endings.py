# SPDX-License-Identifier: BSD-3-Clause
#
# However a run ends, nothing of it stays: no process, no socket, no file. And what the guest had
# flushed is in the disk image.
import os
import signal
import subprocess

import guest


def start(scratch, name="powercut", *more):
    r = guest.Run(scratch, "--quiet", "--job", name, "--device",
                  f"nvme,file={guest.disk(scratch)}", *more)
    return r, r.wait_for("guest: synced" if name == "powercut" else "guest: phase write")


def the_only_qemu(r):
    pids = r.qemu_pids()
    assert len(pids) == 1, pids
    return pids[0]


@guest.test
def qemu_is_killed_and_flushed_data_stays(scratch):
    r, line = start(scratch)
    said = line.split("synced ")[1].split()[0]
    os.kill(the_only_qemu(r), signal.SIGKILL)
    assert r.wait() == 1, r.output()[-2000:]
    r.assert_nothing_left()
    assert "killed by signal 9" in r.output()
    image = scratch / "disk.img"
    subprocess.run(["e2fsck", "-p", image], capture_output=True)  # replays the journal; 1 = repaired
    data = subprocess.run(["debugfs", "-R", "cat /synced.bin", image], capture_output=True, check=True)
    found = subprocess.run(["sha256sum"], input=data.stdout, capture_output=True, check=True)
    assert found.stdout.decode().split()[0] == said


@guest.test
def nestor_is_killed(scratch):
    r, _ = start(scratch)
    the_only_qemu(r)
    os.kill(r.process.pid, signal.SIGKILL)
    assert r.wait() == -signal.SIGKILL
    r.assert_nothing_left()


@guest.test
def nestor_is_killed_in_the_dry_run(scratch):
    r = guest.Run(scratch, "--quiet", "--job", "powercut")
    r.wait_for("looking where firmware puts the IOMMU")
    os.kill(r.process.pid, signal.SIGKILL)
    r.wait()
    r.assert_nothing_left()


@guest.test
def signals_end_it(scratch):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        r, _ = start(scratch)
        os.kill(r.process.pid, number)
        assert r.wait() == 128 + number, r.output()[-2000:]
        r.assert_nothing_left()


@guest.test
def time_limit(scratch):
    r = guest.Run(scratch, "--quiet", "--job", "powercut", "--timeout", 1)
    assert r.wait() == 1
    assert "after 1 seconds" in r.output(), r.output()
    r.assert_nothing_left()


@guest.test
def guest_panics(scratch):
    r = guest.Run(scratch, "--quiet", "--append", "init=/nonexistent rdinit=/nonexistent", "--job", "demo")
    assert r.wait() == 1, r.output()[-2000:]
    assert "without its success word" in r.output() and "panic" in r.output(), r.output()[-2000:]
    assert r.report()["guest_ok"] is False
    r.assert_nothing_left()


@guest.test
def a_job_that_does_not_exist(scratch):
    status, r = guest.run(scratch, "--quiet", "--job", "no-such-job")
    assert status == 1 and "there is no job no-such-job" in r.output(), r.output()[-2000:]
    r.assert_nothing_left()


@guest.test
def qemu_refuses_its_arguments(scratch):
    status, r = guest.run(scratch, "--quiet", "--", "-device", "no-such-device")
    assert status == 1 and "no-such-device" in r.output(), r.output()[-2000:]
    r.assert_nothing_left()


@guest.test
def shell_without_a_job(scratch):
    """Without --job there is a shell on the console, with a disk behind the IOMMU."""
    r = guest.Run(scratch, "--timeout", 100, stdin=subprocess.PIPE)
    line = r.wait_for("Nestor guest: Linux")
    assert "/dev/nvme0n1, 64 MiB, IOMMU domain: DMA." in line, line
    r.process.stdin.write(b"dd if=/dev/nvme0n1 of=/dev/null bs=1M count=4; exit\n")
    r.process.stdin.flush()
    assert r.wait() == 0, r.output()[-2000:]
    assert r.report()["dma_write_bytes"] >= 4 << 20, r.report()
    r.assert_nothing_left()


guest.main()
