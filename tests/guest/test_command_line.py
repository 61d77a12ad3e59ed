# SPDX-License-Identifier: BSD-3-Clause
#
# A mistake on the command line: one sentence that names it, exit status 2, and nothing started.
import os
import subprocess

import guest


def refused(scratch, words, *args, env=None):
    tmp = scratch / "tmp"
    tmp.mkdir(exist_ok=True)
    done = subprocess.run([guest.NESTOR, *map(str, args)], capture_output=True, text=True, timeout=60,
                          env=dict(os.environ, TMPDIR=str(tmp), **(env or {})))
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert not done.stdout
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0], (word, lines[0])
    assert not list(tmp.iterdir())


@guest.test
def unknown_words(scratch):
    refused(scratch, ["no command", "walk"], "walk")
    refused(scratch, ["--nonsense"], "run", "--nonsense")
    refused(scratch, ["no option", "disk.img"], "run", "disk.img")
    refused(scratch, ["--device"], "run", "--device")
    refused(scratch, ["vtd", "smmuv3", "smmuv9"], "run", "--viommu", "smmuv9")
    refused(scratch, ["moon"], "run", "--host", "moon")
    refused(scratch, ["--timeout", "soon"], "run", "--timeout", "soon")
    refused(scratch, ["--cpus", "-1"], "run", "--cpus", "-1")
    refused(scratch, ["plain name"], "run", "--job", "../../etc")
    refused(scratch, ["tcg", "kvm", "hvf"], "run", "--accel", "hvf")


@guest.test
def files_that_are_not_there(scratch):
    refused(scratch, ["/no/kernel"], "run", "--kernel", "/no/kernel")
    refused(scratch, ["/no/initrd"], "run", "--initrd", "/no/initrd")
    refused(scratch, ["/no/disk.img"], "run", "--device", "nvme,file=/no/disk.img")
    refused(scratch, ["/no/trace"], "run", "--trace", "/no/trace")
    refused(scratch, ["/no/qemu", "vfio-user-pci"], "run", "--qemu", "/no/qemu")
    refused(scratch, ["scripts/setup guest\""], "run", env={"NESTOR_CACHE": str(scratch / "empty")})
    refused(scratch, ["scripts/setup guest-arm64\""], "run", "--viommu", "smmuv3",
            env={"NESTOR_CACHE": str(scratch / "empty")})


@guest.test
def devices_that_cannot_be(scratch):
    odd = scratch / "odd.img"
    odd.write_bytes(b"x" * 1000)
    read_only = guest.disk(scratch, 1)
    read_only.chmod(0o444)
    refused(scratch, ["floppy"], "run", "--device", "floppy,file=x")
    refused(scratch, ["file"], "run", "--device", "nvme")
    refused(scratch, ["colour"], "run", "--device", f"nvme,file={read_only},colour=red")
    refused(scratch, ["slot or port", "attic"], "run", "--device", "testdev,at=attic")
    refused(scratch, ["PCI bridge", "requester id"], "run", "--device", "testdev,at=bridge")
    refused(scratch, ["at=port", "later"], "run", "--device", "testdev,plugged=off")
    refused(scratch, ["on or off", "perhaps"], "run", "--device", "testdev,at=port,plugged=perhaps")
    refused(scratch, ["no unit 1"], "run", "--device", "testdev,unit=1")
    refused(scratch, ["no unit -1"], "run", "--viommu", "vtd", "--viommu", "vtd", "--device", "testdev,unit=-1")
    refused(scratch, ["vpasid-offset", "sky"], "run", "--device", "testdev,vpasid-offset=sky")
    refused(scratch, ["IOMMUs", "5th"], "run", *["--viommu", "vtd"] * 5)
    refused(scratch, ["control", "/no/socket"], "run", "--device", "testdev", "--control", "/no/socket")
    refused(scratch, ["512"], "run", "--device", f"nvme,file={odd}")
    refused(scratch, [str(scratch)], "run", "--device", f"nvme,file={scratch}")
    if os.getuid() != 0:  # root may write to it all the same
        refused(scratch, ["readonly"], "run", "--device", f"nvme,file={read_only}")


@guest.test
def which_host(scratch):
    disk = guest.disk(scratch, 1)
    refused(scratch, ["soft", "/dev/iommu", "/dev/null"], "run", "--host", "/dev/null")
    refused(scratch, ["--device", "0000:3d:00.0"], "run", "--host", "/dev/iommu")
    refused(scratch, ["0000:00:01.0", "--host /dev/iommu"], "run", "--device", "0000:00:01.0,at=port")
    kernel = ["run", "--host", "/dev/iommu", "--device", "0000:ff:1f.7"]
    for option in (["--strict-abi"], ["--no-check"], ["--drop-invalidation-after", "1"]):
        refused(scratch, [option[0], "software host"], *kernel, *option)
    refused(scratch, ["--host", "--emulated"], "run", "--emulated", "--host", "/dev/iommu")
    if not os.path.exists("/dev/iommu"):
        refused(scratch, ["/dev/iommu", "CONFIG_IOMMUFD"], *kernel)
        refused(scratch, ["/dev/iommu", "CONFIG_IOMMUFD"], "run", "--host", "/dev/iommu", "--device", f"nvme,file={disk}")


@guest.test
def without_a_host(scratch):
    refused(scratch, ["--offer", "--emulated"], "run", "--offer", "nested")
    refused(scratch, ["five-level", "tea"], "run", "--emulated", "--offer", "tea")
    refused(scratch, ["five-level", "tea"], "qtest", "--offer", "tea")
    refused(scratch, ["--emulated", "vtd", "smmuv3"], "run", "--emulated", "--viommu", "smmuv3")
    for option in (["--trace", scratch / "t"], ["--strict-abi"], ["--drop-invalidation-after", "1"]):
        refused(scratch, [option[0], "host"], "run", "--emulated", *option)
    refused(scratch, ["at=slot"], "run", "--emulated", "--device", "dmatest,at=port")
    refused(scratch, ["vpasid-offset", "passed through"], "run", "--emulated", "--device", "dmatest,vpasid-offset=0x200")
    refused(scratch, ["floppy"], "run", "--emulated", "--device", "floppy,file=x")
    assert not (scratch / "t").exists()


@guest.test
def help_and_version(scratch):
    for args in (["--help"], ["run", "--help"], ["--version"]):
        done = subprocess.run([guest.NESTOR, *args], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and done.stdout and not done.stderr, (args, done)


guest.main()
