# SPDX-License-Identifier: BSD-3-Clause
#
# The VT-d unit of QEMU's q35 and of Nestor: what a target needs to know of it.
import target
from vtd_program import generate, place  # noqa: F401

MODES, SETUP = ("first", "second", "legacy"), 0
FSTS, FRCD = 0x34, 0x220
PFO, PPF = 1, 2


class Target(target.Target):
    UNIT, BAR = 0xfed90000, 0xe0000000

    def begin(self):
        for n in range(target.DEVICES):
            config = 1 << 31 | (n + 1) << 11
            self.send([f"outl 0xcf8 {config | 0x10}", f"outl 0xcfc {self.BAR + n * target.BAR_STRIDE}",
                       f"outl 0xcf8 {config | 4}", "outw 0xcfc 6"])

    def faults(self):
        """The first fault record, in a form that does not depend on how many registers there are; all are cleared."""
        status = self.numbers([f"readl {self.UNIT + FSTS}"])[0]
        if not status & (PPF | PFO):
            return [("fault", None)]
        at = self.UNIT + FRCD + 16 * (status >> 8 & 0xff)
        low, high = self.numbers([f"readq {at}", f"readq {at + 8}"])
        records = (self.numbers([f"readq {self.UNIT + 8}"])[0] >> 40 & 0xff) + 1
        self.send([f"writel {self.UNIT + FRCD + 16 * n + 12} {1 << 31}" for n in range(records)]
                  + [f"writel {self.UNIT + FSTS} {PFO}"])
        return [("fault", (low, high))]


def situation(before, op):
    """What the reason of a fault depends on: the mode of translation tables."""
    if op[:3] == ("write", 8, 0x20):
        return "scalable" if op[3] & 1 << 10 else "legacy"
    return before or "scalable"


def qemu(mode):
    command, environment = target.command("qemu-system-x86_64", "debian13")
    unit = "intel-iommu,intremap=off,caching-mode=on,scalable-mode=on"
    if mode != "second":
        unit += ",fsts=on,fs1gp=on"
    return Target("qemu", command + ["-device", unit] + target.qemu_options("q35"), environment)


def nestor(program, mode, kind):
    offer = ["--offer", "second-stage"] if mode == "second" else []
    return Target(kind, [program] + target.nestor_options(kind) + offer)


def all_of(program, mode):
    makers = [lambda: qemu(mode), lambda: nestor(program, mode, "emulated")]
    if mode != "second":    # second stages of scalable mode are not passed through
        makers.append(lambda: nestor(program, mode, "passthrough"))
    return target.all_of(makers)
