# SPDX-License-Identifier: BSD-3-Clause
#
# "nestor qtest --host /dev/iommu" where the kernel is the software host of "nestor host": what it takes, does, and refuses.
# On kernels themselves tests/kernel/test_qtest.py asks.
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from tap import main, test  # noqa: E402

NESTOR = sys.argv[1]
FIRST = "/dev/vfio/devices/vfio0"


def run(iommu, viommu, lines, *names, devices=1):
    """Its status, its answers, and what it says on stderr."""
    done = subprocess.run(
        [NESTOR, "host", "--quiet", "--iommu", iommu, *["--device", "testdev"] * devices, "--", NESTOR, "qtest", "--viommu", viommu,
         "--host", "/dev/iommu", *(word for name in names for word in ("--device", name))],
        input="".join(line + "\n" for line in lines), capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout.splitlines(), done.stderr


def refused(iommu, viommu, sentence, *names, **more):
    assert run(iommu, viommu, [], *names, **more) == (2, [], f"nestor: {sentence}\n"), run(iommu, viommu, [], *names, **more)


@test
def devices_of_the_host(scratch):
    """Two of them, and one that the machine emulates: each writes where it is told, while the unit is off."""
    ecam, bars, data = 0x4010000000, 0x10000000, 0x40000000
    lines, expected = [], []
    for slot in (1, 2, 3):
        config, bar, target = ecam + (slot << 15), bars + slot * 0x10000, data + slot * 0x1000
        lines += [f"writel {config + 0x10} {bar}", f"writew {config + 4} 6"]
        lines += [f"writel {bar + at} {value}" for at, value in ((0x18, 0xa), (4, target), (8, 0), (0xc, 4), (0x14, 1))]
        lines += [f"readl {target}", f"readl {bar}", f"readl {target}"]
        expected += ["OK"] * 7 + ["OK 0x0000000000000000", None, "OK 0x0000000012345678"]
    status, answers, said = run("smmuv3", "smmuv3", lines, FIRST, "/dev/vfio/devices/vfio1", "testdev", devices=2)
    assert (status, said) == (0, ""), (status, said)
    wrong = [pair for pair in zip(lines, answers, expected, strict=True) if pair[2] and pair[1] != pair[2]]
    assert not wrong, wrong


@test
def what_is_refused(scratch):
    refused("vtd", "smmuv3", f"{FIRST} is behind an Intel VT-d, and --viommu smmuv3 needs an Arm SMMUv3: use --viommu vtd", FIRST)
    refused("smmuv3", "vtd", f"{FIRST} is behind an Arm SMMUv3, and --viommu vtd needs an Intel VT-d: use --viommu smmuv3", FIRST)
    refused("amd", "vtd", f"{FIRST} cannot be passed through, the kernel has no nesting for AMD's IOMMU: Linux 7.2 has no nested "
            "HWPTs for AMD's IOMMU, nor has Nestor a virtual one: use a machine with VT-d or SMMUv3", FIRST)
    refused("vtd", "vtd", "/dev/vfio/devices/vfio7: the device cannot be opened: No such file or directory; look for the right name "
            "in /dev/vfio/devices", "/dev/vfio/devices/vfio7")
    refused("vtd", "vtd", "this machine has no PCI device ffff:00:01.0", "ffff:00:01.0")


main()
