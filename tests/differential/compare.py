# SPDX-License-Identifier: BSD-3-Clause
#
# One program on all targets, step by step, and what may differ: the table in docs/differences.md, which is read here
# and is the only place where a difference is allowed. "emulated" is compared with QEMU, "passthrough" with "emulated".
# Columns: name, kind, where (target and key), one, other, section, why.
#
#   register   bits (of column "one") of the register at the offset "key" may differ
#   reason     a fault's reason is "one" on the first and "other" on the second; "none": no fault is recorded. The key
#              says in which mode of translation tables; "event" is an SMMUv3's
#   record     bits of the upper half of a fault record may differ; of an event, those of the word "type.word", or, of
#              one that stage 2 has caused, of "class.word" ("fetch-class.word" if it is an external abort)
#   not seen   the second does not have this observation; of an SMMUv3, events of this type are not compared
#
import itertools
import pathlib
import re

import smmuv3
import vtd

ARCHITECTURES = {mode: arch for arch in (vtd, smmuv3) for mode in arch.MODES}
DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs/differences.md"


def read_table(document=DOCUMENT):
    rows = []
    for line in document.read_text().splitlines():
        cells = [c.strip().strip("`") for c in line.strip().strip("|").split("|")]
        if len(cells) == 7 and re.fullmatch("register|reason|record|not seen", cells[1]):
            rows.append(cells)
    assert rows, document
    return rows


def event_keys(event):
    keys = [f"0x{event[0] & 0xff:02x}"]
    if event[1] >> 39 & 1:      # S2
        keys.append(("fetch-" if keys[0] == "0x0b" else "") + ("cd", "tt", "in", "reserved")[event[1] >> 40 & 3])
    return keys


class Rules:
    def __init__(self):
        self.rows = read_table()
        self.used = dict.fromkeys((row[0] for row in self.rows), 0)
        assert len(self.used) == len(self.rows), "two differences of one name"

    def of(self, kind, who, key):
        for name, its_kind, where, one, other, *_ in self.rows:
            if its_kind == kind and where == f"{who} {key}":
                yield name, one, other

    def named(self, kind, who, key):
        return [name for name, *_ in self.of(kind, who, key)]

    def allow(self, name):
        self.used[name] += 1
        return True

    def same(self, who, mode, label, one, other):
        if one == other:
            return True
        for name, *_ in self.of("not seen", who, label.split()[0]):
            return self.allow(name)
        if label.startswith("register"):
            return self.same_bits("register", who, [label.split()[1]], one, other)
        if label == "events":
            return self.same_events(who, one, other)
        return label == "fault" and self.same_fault(who, mode, one, other)

    def same_bits(self, kind, who, keys, one, other):
        for name, bits, _ in itertools.chain(*(self.of(kind, who, key) for key in keys)):
            if (one ^ other) & int(bits, 16):
                self.allow(name)
                other ^= (one ^ other) & int(bits, 16)
        return one == other

    def same_fault(self, who, mode, one, other):
        codes = [f"0x{f[1] >> 32 & 0xff:02x}" if f else "none" for f in (one, other)]
        if codes[0] != codes[1]:
            found = next((name for name, *pair in self.of("reason", who, mode) if pair == codes), None)
            if not found:
                return False
            self.allow(found)
        if not one or not other:
            return True
        reason = 0xff << 32
        return one[0] == other[0] and self.same_bits("record", who, [mode], one[1] | reason, other[1] | reason)

    def same_events(self, who, one, other):
        """Records of an event queue, each of four words, in order, without those of types that are not to be seen."""
        one, other = ([e for e in events if not any(map(self.allow, self.named("not seen", who, f"0x{e[0] & 0xff:02x}")))]
                      for events in (one, other))
        for a, b in itertools.zip_longest(one, other):
            types = [f"0x{e[0] & 0xff:02x}" if e else "none" for e in (a, b)]
            if types[0] != types[1]:
                found = next((name for name, *pair in self.of("reason", who, "event") if pair == types), None)
                if not found:
                    return False
                self.allow(found)
            elif not all(self.same_bits("record", who, [f"{key}.{n}" for key in event_keys(b)], *pair)
                         for n, pair in enumerate(zip(a, b))):
                return False
        return True


def differences(arch, targets, steps, rules):
    """All that the rules do not allow: (what, target, step, operation, the first one's, its own)."""
    mode = None
    for number, step in enumerate(arch.place(steps)):
        for op in step:
            mode = arch.situation(mode, op)
            seen = [t.run(op) for t in targets]
            for t, first, second in zip(targets[1:], seen, seen[1:]):
                for (label, one), (_, other) in zip(first, second):
                    if not rules.same(t.name, mode, label, one, other):
                        yield label, t.name, number, op, one, other


def run(nestor, mode, steps, rules):
    """The first difference, or None."""
    arch = ARCHITECTURES[mode]
    targets = arch.all_of(nestor, mode)
    try:
        found = next(differences(arch, targets, steps, rules), None)
    finally:
        said = [t.end() for t in targets]
    # the software host's sanitizer, whose IOTLB keeps what is not invalidated
    stale = [line for text in said for line in text.splitlines() if "check: stale" in line]
    if stale and not found:
        return "sanitizer", "passthrough", len(steps) - 1, (), None, stale[0]
    return found


def shrink(nestor, mode, steps, difference):
    """Steps that do not matter for the kind of difference are left out, but for those that set the unit up."""
    what, first = difference[:2], ARCHITECTURES[mode].SETUP
    steps = steps[:difference[2] + 1]
    size = max(len(steps) // 2, 1)
    while True:
        at = first
        while at < len(steps):
            fewer = steps[:at] + steps[at + size:]
            found = run(nestor, mode, fewer, Rules()) if fewer else None
            if found and found[:2] == what:
                steps, difference = fewer[:found[2] + 1], found
            else:
                at += size
        if size == 1:
            return steps, difference
        size //= 2


def describe(seed, mode, steps, difference):
    label, who, number, op, one, other = difference

    def show(value):
        if isinstance(value, int):
            return hex(value)
        return str(tuple(map(show, value))) if isinstance(value, tuple) else str(value)
    first = "QEMU" if who.endswith("emulated") else "emulated"
    lines = [f"seed {seed}, {mode}: {label}: {first} {show(one)}, {who} {show(other)}",
             f"  at {' '.join(map(show, op))}", "  the shortest program found:"]
    for n, step in enumerate(steps):
        lines += [f"    {n:3} {' '.join(map(show, op))}" for op in step]
    return "\n".join(lines)


def check(nestor, seed, mode, steps, rules):
    """(operations, None or a description of the difference, shrunk)."""
    made = ARCHITECTURES[mode].generate(seed, mode, steps)
    difference = run(nestor, mode, made, rules)
    operations = sum(map(len, made))
    if not difference:
        return operations, None
    return operations, describe(seed, mode, *shrink(nestor, mode, made, difference))
