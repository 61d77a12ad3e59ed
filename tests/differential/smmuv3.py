# SPDX-License-Identifier: BSD-3-Clause
#
# The SMMUv3 of QEMU's virt and of Nestor: what a target needs to know of it.
import smmuv3_nested
import smmuv3_program
import target
from smmuv3_program import place  # noqa: F401

MODES, SETUP = ("stage1", "nested"), 1
GENERATORS = {"stage1": smmuv3_program.Generator, "nested": smmuv3_nested.Generator}
ECAM = 0x4010000000
ATTRS = 0xa             # of a request: non-secure, and that this is meant
GERROR, GERRORN, EVENTQ_PROD, EVENTQ_CONS = 0x60, 0x64, 0x100a8, 0x100ac


class Target(target.Target):
    UNIT, BAR = 0x09050000, 0x10000000

    def begin(self):
        for n in range(target.DEVICES):
            config, bar = ECAM + ((n + 1) << 15), self.BAR + n * target.BAR_STRIDE
            self.send([f"writel {config + 0x10} {bar}", f"writew {config + 4} 6", f"writel {bar + 0x18} {ATTRS}"])

    def faults(self):
        """The records of the event queue; all are taken from it."""
        prod, cons = self.numbers([f"readl {self.UNIT + EVENTQ_PROD}", f"readl {self.UNIT + EVENTQ_CONS}"])
        size, records = 1 << smmuv3_program.EVENTQ_LG2, []
        mask = 2 * size - 1
        for n in range((prod - cons) & mask):
            at = smmuv3_program.EVENTQ + (cons + n) % size * 32
            records.append(tuple(self.numbers([f"readq {at + 8 * word}" for word in range(4)])))
        self.send([f"writel {self.UNIT + EVENTQ_CONS} {prod}"])
        return [("events", tuple(records))]

    def op_dma_only(self, device, iova, length, gpa):
        """Its events stay where they are."""
        return self.dma(device, iova, length, gpa)

    def op_events(self):
        """What there is in the queue, and whether more was lost."""
        prod, cons = self.numbers([f"readl {self.UNIT + EVENTQ_PROD}", f"readl {self.UNIT + EVENTQ_CONS}"])
        return [("overflow", bool((prod ^ cons) & 1 << 31))] + self.faults()

    def op_acknowledge(self):
        """What software does about a global error: GERRORN as GERROR."""
        gerror, gerrorn = self.numbers([f"readl {self.UNIT + at}" for at in (GERROR, GERRORN)])
        self.send([f"writel {self.UNIT + GERRORN} {gerror}"])
        return [(f"register 0x{GERROR:x}", gerror), (f"register 0x{GERRORN:x}", gerrorn)]


def situation(before, op):
    return "event"


def generate(seed, mode, steps):
    return GENERATORS[mode](seed, mode, steps).steps


def qemu(mode):
    """The last of QEMU's virt machines whose SMMUv3 has stage 1 only; or the present one, which has both."""
    command, environment = target.command("qemu-system-aarch64", "debian13-arm64")
    machine = "virt-9.1" if mode == "stage1" else "virt"
    return Target("qemu", command + target.qemu_options(f"{machine},iommu=smmuv3"), environment)


def nestor(program, mode, kind):
    offer = ["--offer", "stage-2"] if mode == "nested" else []
    return Target(f"smmuv3 {kind}", [program] + target.nestor_options(kind) + ["--viommu", "smmuv3"] + offer)


def all_of(program, mode):
    makers = [lambda: qemu(mode), lambda: nestor(program, mode, "emulated")]
    if mode == "stage1":    # second stages are not passed through
        makers.append(lambda: nestor(program, mode, "passthrough"))
    return target.all_of(makers)
