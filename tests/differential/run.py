#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
#
# run.py NESTOR [--viommu vtd|smmuv3] [--programs N] [--steps N] [--seed N]: that many programs from that seed on, as many of
# each kind, on QEMU and Nestor. Ends with how often each known difference was seen, and with status 1 at the first
# unknown one, whose program is printed, shrunk.
import argparse
import sys

import compare
import smmuv3
import vtd

parser = argparse.ArgumentParser()
parser.add_argument("nestor")
parser.add_argument("--programs", type=int, default=200)
parser.add_argument("--steps", type=int, default=150)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--viommu", choices=("vtd", "smmuv3"), default="vtd")
options = parser.parse_args()

rules, operations = compare.Rules(), 0
modes = {"vtd": vtd, "smmuv3": smmuv3}[options.viommu].MODES
for n in range(options.programs):
    seed, mode = options.seed + n // len(modes), modes[n % len(modes)]
    count, difference = compare.check(options.nestor, seed, mode, options.steps, rules)
    operations += count
    if difference:
        print(difference)
        sys.exit(1)
    if (n + 1) % 20 == 0 or n + 1 == options.programs:
        print(f"{n + 1} programs, {operations} operations, no unknown difference", flush=True)
for name, times in rules.used.items():
    if times:
        print(f"{times:8} {name}")
