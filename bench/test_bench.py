# SPDX-License-Identifier: BSD-3-Clause
#
# "make bench" still runs: every row, as small as it gets and without a look at how long it took. And what is
# wrong fails: a queue that does nothing, an IOTLB that forgets what it should hold, a benchmark that says so.
import json
import pathlib
import subprocess
import sys
import xml.etree.ElementTree

BENCH = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(BENCH.parent / "tests"))
from tap import main, test  # noqa: E402

NESTOR, MICRO = (pathlib.Path(a).resolve() for a in sys.argv[1:3])

# A nestor that is asked through this loses, or adds, some of what it is asked.
BETWEEN = """#!/usr/bin/python3
import subprocess, sys
nestor = subprocess.Popen(["{nestor}"] + sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
def ask(line):
    nestor.stdin.write(line + "\\n")
    return nestor.stdout.readline()
bells = 0
for line in sys.stdin:
    line = line.rstrip()
    answer = None
{what}
    print((answer or ask(line)).rstrip(), flush=True)
nestor.stdin.close()
nestor.wait()
"""


def build(scratch, nestor=None, micro=None):
    """A build directory, with these programs in place of the real ones."""
    (scratch / "bench").mkdir()
    for path, real, text in (("nestor", NESTOR, nestor), ("bench/bench_micro", MICRO, micro)):
        if text:
            (scratch / path).write_text(text)
            (scratch / path).chmod(0o755)
        else:
            (scratch / path).symlink_to(real)
    return scratch


def run(directory, *options):
    return subprocess.run([BENCH / "run.py", directory, "--tiny", "--rounds", "1", *options], capture_output=True, text=True)


def expect_failure(directory, why, *options):
    done = run(directory, *options)
    assert done.returncode == 1 and why in done.stdout, (done.returncode, done.stdout, done.stderr)


@test
def every_row(scratch):
    done = run(build(scratch))
    assert done.returncode == 0 and " 0 failed" in done.stdout, (done.stdout, done.stderr)
    result = json.loads((scratch / "bench/bench.json").read_text())
    table = (scratch / "bench/table.md").read_text()
    assert len(result["rows"]) >= 45
    for row in result["rows"]:
        assert row["nestor"]["samples"] and f"| {row['name']} |" in table, row
        assert not result["qemu"] or row["target"] is None or row["qemu"]["samples"], row
    for figure in {row["figure"] for row in result["rows"]}:
        name = "".join(c if c.isalnum() else " " for c in figure.lower()).split()
        root = xml.etree.ElementTree.parse(scratch / "bench" / ("-".join(name) + ".svg")).getroot()
        assert root.tag.endswith("svg")


@test
def without_qemu(scratch):
    done = run(build(scratch), "--without-qemu", "--only", "SYNC", "--only", "wait with status")
    assert done.returncode == 0 and "there is no QEMU" in done.stdout, (done.stdout, done.stderr)
    rows = json.loads((scratch / "bench/bench.json").read_text())["rows"]
    assert len(rows) == 3 and not any("qemu" in row for row in rows), rows
    assert "QEMU |" not in (scratch / "bench/table.md").read_text()


@test
def one_row_alone(scratch):
    names = run(build(scratch), "--list").stdout.splitlines()
    assert len(names) == len(set(names)) >= 45
    done = run(scratch, "--without-qemu", "--only", names[0])
    assert done.returncode == 0 and "1 rows" in done.stdout, done
    done = run(scratch, "--only", "no such row")
    assert done.returncode == 2 and "no row has that in its name" in done.stderr, done


@test
def a_queue_that_does_nothing(scratch):
    what = '    if line.startswith("writeq 4275634312 "):\n        answer = "OK" if (bells := bells + 1) > 1 else None'
    expect_failure(build(scratch, BETWEEN.format(nestor=NESTOR, what=what)), "the queue stands still", "--without-qemu", "--only",
                   "wait with status")


@test
def a_cache_that_forgets(scratch):
    """Translation is switched off and on, which empties it, before every DMA."""
    what = ('    if line == "readl 3758096384":\n        for command in ("writel 4275634200 67108864", "writel 4275634200 2214592512"):\n'
            '            ask(command)')
    expect_failure(build(scratch, BETWEEN.format(nestor=NESTOR, what=what)), "the IOTLB does not hold what it should",
                   "--without-qemu", "--only", "wait with status")


@test
def an_invalidation_that_is_lost(scratch):
    """Of the page that the check invalidates: its descriptor becomes a wait for nothing."""
    what = ('    if line.startswith("b64write") and line.split()[2] == "32" and line.split()[3].startswith("NgAB"):\n'
            '        line = " ".join(line.split()[:3] + ["BQ" + "A" * 41 + "="])')
    expect_failure(build(scratch, BETWEEN.format(nestor=NESTOR, what=what)), "a page is used after its invalidation",
                   "--without-qemu", "--only", "wait with status")


@test
def a_benchmark_that_is_wrong(scratch):
    micro = "#!/usr/bin/python3\nimport sys\nfor line in sys.stdin:\n    print('wrong', flush=True)\n"
    expect_failure(build(scratch, micro=micro), "wrong", "--without-qemu", "--only", "Software host")


main()
