#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
#
# "make bench": every row of rows.py, Nestor and QEMU by turns in one run, each the median of several samples. Writes
# table.md, bench.json and a picture per figure. A row that cannot be measured, or that did something else than it
# should, fails the command.
import argparse
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import time

import report
import rows as all_of
from machine import Wrong

ROOT = pathlib.Path(__file__).resolve().parents[1]


def measure(row, tools, rounds):
    samplers = row.samplers(tools)
    samples = {side: [] for side in samplers}
    for number in range(min(rounds, row.rounds or rounds)):
        for side in sorted(samplers, reverse=number % 2):
            samples[side].append(samplers[side]())
    row.finish(tools)
    return {side: all_of.summary(values) for side, values in samples.items()}


def progress(number, total, row):
    if sys.stderr.isatty():
        print(f"\r\x1b[K[{number}/{total}] {row.figure}: {row.name}", end="", file=sys.stderr, flush=True)


def say(row, result, peer):
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    line = f"{row.figure}: {row.name}"
    if "error" in result:
        print(f"{line:<58} FAILED: {result['error']}", flush=True)
        return
    print(f"{line:<58} " + "  ".join(x for x in report.columns(row, result, peer)[1:] if x not in ("-", "")), flush=True)


def run(rows, tools, options):
    results = []
    for number, row in enumerate(rows, 1):
        progress(number, len(rows), row)
        try:
            result = measure(row, tools, options.rounds)
        except (Wrong, OSError, ValueError, subprocess.SubprocessError) as error:
            result = {"error": str(error).strip() or type(error).__name__}
            tools.close()
        say(row, result, tools.version)
        results.append((row, result))
    tools.close()
    return results


def commit():
    done = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=12"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def about(tools, seconds):
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), platform.machine())
    return {"commit": commit(), "qemu": tools.version, "processors": os.cpu_count(), "processor": model,
            "kernel": platform.release(), "date": time.strftime("%Y-%m-%d"), "seconds": round(seconds)}


def write(directory, results, facts):
    directory.mkdir(parents=True, exist_ok=True)
    text = (f"Commit {facts['commit']}, {facts['date']}: {facts['processors']} processors ({facts['processor']}), Linux "
            f"{facts['kernel']}, {'QEMU ' + facts['qemu'] if facts['qemu'] else 'no QEMU'}; {facts['seconds']} s.\n\n")
    (directory / "table.md").write_text(text + report.table(results, facts["qemu"]))
    (directory / "bench.json").write_text(json.dumps({**facts, "rows": report.as_json(results)}, indent=1) + "\n")
    for figure in dict.fromkeys(row.figure for row, _ in results):
        picture = report.svg(figure, [(row, r) for row, r in results if row.figure == figure and "error" not in r])
        if picture:
            (directory / (re.sub(r"[^a-z0-9]+", "-", figure.lower()) + ".svg")).write_text(picture)


def main():
    parser = argparse.ArgumentParser(description="Measure Nestor beside QEMU.")
    parser.add_argument("build", type=pathlib.Path, help="the build directory, with nestor and the C benchmarks in it")
    parser.add_argument("--only", action="append", metavar="TEXT", help="only rows with this in \"figure: name\"; again for more")
    parser.add_argument("--rounds", type=int, default=7, help="samples of each side of a row (7)")
    parser.add_argument("--without-qemu", action="store_true")
    parser.add_argument("--tiny", action="store_true", help="as little as possible of everything: is each row right?")
    parser.add_argument("--list", action="store_true", help="the names of all rows")
    options = parser.parse_args()

    rows = [row for row in all_of.all_rows(options.tiny)
            if not options.only or any(part in f"{row.figure}: {row.name}" for part in options.only)]
    if options.list:
        print("\n".join(f"{row.figure}: {row.name}" for row in rows))
        return 0
    if not rows:
        print("bench: no row has that in its name; --list shows all", file=sys.stderr)
        return 2
    tools = all_of.Tools(options.build.resolve(), not options.without_qemu, options.tiny)
    if not all(tools.qemu.values()):
        print("bench: there is no QEMU" + (" for Arm" if tools.qemu["x86_64"] else "") + ": its column is left out", flush=True)
    start = time.monotonic()
    results = run(rows, tools, options)
    write(options.build / "bench", results, about(tools, time.monotonic() - start))
    bad = sum("error" in result for _, result in results)
    missed = sum("missed" in report.verdict(row, result) for row, result in results if "error" not in result)
    print(f"{len(rows)} rows in {time.monotonic() - start:.0f} s, {bad} failed, {missed} targets missed: "
          f"{options.build}/bench/table.md", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
