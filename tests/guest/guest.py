# SPDX-License-Identifier: BSD-3-Clause
#
# What the guest tests share: running "nestor run" and "nestor host", and looking for what they may have left behind.
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from tap import main, test  # noqa: E402,F401

NESTOR = sys.argv[1]
TIMEOUT = 240
def disk(scratch, megabytes=64, name="disk.img"):
    path = scratch / name
    with open(path, "wb") as f:
        f.truncate(megabytes << 20)
    return path


class Run:
    """One finished or running "nestor run"."""

    def __init__(self, scratch, *args, **popen):
        self.report_file = scratch / "report.json"
        self.tmp = scratch / "tmp"
        self.tmp.mkdir(exist_ok=True)
        self.log_file = scratch / "log"
        self.log = open(self.log_file, "wb")
        environment = dict(os.environ, TMPDIR=str(self.tmp))
        self.process = subprocess.Popen(
            [NESTOR, "run", "--report", str(self.report_file), *map(str, args)],
            **{"stdin": subprocess.DEVNULL, **popen}, stdout=self.log, stderr=subprocess.STDOUT,
            env=environment, start_new_session=True)

    def output(self):
        return self.log_file.read_text(errors="replace")

    def wait(self):
        try:
            return self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise AssertionError(f"no end after {TIMEOUT} s:\n{self.output()[-3000:]}")

    def wait_for(self, text):
        """Until the output has text in it: returns the line."""
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            for line in self.output().splitlines(keepends=True):
                if text in line and line.endswith("\n"):
                    return line
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        self.end()
        raise AssertionError(f"never said {text!r}:\n{self.output()[-3000:]}")

    def end(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def report(self):
        return json.loads(self.report_file.read_text())

    def qemu_pids(self):
        """Live processes of this run's session other than nestor itself."""
        pids = []
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self.process.pid:
                try:
                    fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if int(fields[3]) == self.process.pid and fields[0] != "Z":
                    pids.append(int(entry.name))
        return pids

    def assert_nothing_left(self):
        deadline = time.monotonic() + 20
        while self.qemu_pids() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not self.qemu_pids(), f"processes left: {self.qemu_pids()}"
        left = list(self.tmp.iterdir())
        assert not left, f"files left: {left}"


def setup(what):
    done = subprocess.run([pathlib.Path(__file__).resolve().parents[2] / "scripts/setup", "--print", what], capture_output=True, text=True, check=True)
    return done.stdout.strip()


class Host(Run):
    """One finished or running "nestor host"."""

    def __init__(self, scratch, options, command, **popen):
        self.report_file = scratch / "report.json"
        self.tmp = scratch / "tmp"
        self.tmp.mkdir(exist_ok=True)
        self.log_file = scratch / "log"
        self.log = open(self.log_file, "wb")
        self.process = subprocess.Popen(
            [os.path.abspath(NESTOR), "host", "--report", str(self.report_file), *map(str, options), "--",
             *map(str, command)],
            **{"stdin": subprocess.DEVNULL, **popen}, stdout=self.log, stderr=subprocess.STDOUT, cwd=scratch,
            env=dict(os.environ, TMPDIR=str(self.tmp)), start_new_session=True)


def run(scratch, *args):
    """Run to the end; returns (status, Run)."""
    r = Run(scratch, *args)
    return r.wait(), r


def assert_clean(report):
    assert report["guest_ok"] is True, report
    assert report["faults"] == 0 and report["stale_hits"] == 0, report
    assert report["dma_after_unmap"] == 0 and report["dma_while_blocked"] == 0, report
    assert report["nested_hwpts"] >= 1 and report["s1_walks"] > 0, report
    assert report["host_invalidate_calls"] <= report["wait_descriptors"], report


def assert_succeeds(scratch, *args):
    status, r = run(scratch, *args)
    assert status == 0, f"status {status}:\n{r.output()[-4000:]}"
    r.assert_nothing_left()
    assert_clean(r.report())
    return r
