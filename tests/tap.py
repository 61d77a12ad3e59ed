# SPDX-License-Identifier: BSD-3-Clause
#
# TAP for tests in Python. A test is a function given to @test; it gets an empty directory of its own, and
# passes unless it raises.
import pathlib
import sys
import tempfile
import traceback

_tests = []


def test(function):
    _tests.append(function)
    return function


def main():
    print(f"1..{len(_tests)}")
    bad = 0
    for number, function in enumerate(_tests, 1):
        name = function.__name__
        try:
            with tempfile.TemporaryDirectory(prefix="nestor-test-") as scratch:
                function(pathlib.Path(scratch))
            print(f"ok {number} - {name}", flush=True)
        except Exception:
            bad += 1
            for line in traceback.format_exc().splitlines():
                print(f"# {line}")
            print(f"not ok {number} - {name}", flush=True)
    sys.exit(bad != 0)
