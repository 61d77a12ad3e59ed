# SPDX-License-Identifier: BSD-3-Clause
"""A machine with KVM ("L1") in QEMU's TCG, and what runs in it.

L0, this machine: QEMU's "virt" with EL2, an SMMUv3 with both stages, a virtio disk and an iommu-testdev behind it.
L1: Linux with KVM and iommufd, and arm64's own QEMU, from a tree of Debian packages. "nestor run" in it (or QEMU
    by itself) passes both devices through to
L2: the same Linux.
"""
import gzip
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent.parent
PART = 2 << 20  # of the disk: one that L2 reads, one that it writes
DISK, TESTDEV = "0000:00:04.0", "0000:00:05.0"  # in L1
TIMEOUT = 1500  # L2 is emulated twice, and this machine may have much else to do


def cpio(folder):
    return subprocess.run("find . -print0 | LC_ALL=C sort -z | cpio --null --quiet -R 0:0 -H newc -o",
                          shell=True, cwd=folder, check=True, stdout=subprocess.PIPE).stdout


def initramfs(scratch, init, busybox):
    root = scratch / "initramfs"
    for folder in ("bin", "dev", "proc", "root", "sys", "tmp"):
        (root / folder).mkdir(parents=True)
    shutil.copy(busybox, root / "bin/busybox")
    (root / "bin/sh").symlink_to("busybox")
    shutil.copy(init, root / "init")
    (root / "init").chmod(0o755)
    packed = gzip.compress(cpio(root), 1)
    shutil.rmtree(root)
    return packed


def iort(scratch):
    """The table for L1: its SMMUv3 must be seen to be coherent, or Linux nests nothing on it."""
    root = scratch / "acpi"
    (root / "kernel/firmware/acpi").mkdir(parents=True)
    subprocess.run([sys.executable, HERE.parent / "iort.py", root / "kernel/firmware/acpi/iort.aml"], check=True)
    packed = cpio(root)
    shutil.rmtree(root)
    return packed


class Machine:
    def __init__(self, image, tree, root, scratch):
        """The kernel, the tree with QEMU for this machine, the root for L1."""
        self.tree, self.root, self.scratch = tree, root, pathlib.Path(scratch)
        self.share = self.scratch / "share"
        self.share.mkdir()
        busybox = f"{tree}/arm64/usr/bin/busybox"
        nestor = subprocess.run([TOP / "scripts/static", "arm64"], check=True, stdout=subprocess.PIPE, text=True)
        shutil.copy(nestor.stdout.strip(), self.share / "nestor")
        (self.share / "Image").write_bytes(gzip.decompress(pathlib.Path(image).read_bytes()))
        (self.share / "guest.cpio.gz").write_bytes(initramfs(self.scratch, HERE / "guest-init", busybox))
        for name in ("host-init", "run"):
            shutil.copy(HERE / name, self.share)
        subprocess.run(["aarch64-linux-gnu-gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", "-Wall",
                        "-o", self.share / "count.so", HERE / "count.c", "-ldl"], check=True)
        (self.scratch / "initramfs.cpio").write_bytes(
            iort(self.scratch) + initramfs(self.scratch, HERE / "early-init", busybox))
        self.disk = self.scratch / "disk"

    def fill(self, seed):
        self.data = random.Random(seed).randbytes(PART)
        self.disk.write_bytes(self.data + bytes(PART))

    def read_sum(self):
        return hashlib.md5(self.data).hexdigest()

    def is_written(self):
        """What guest-init makes of the first part: each byte one more."""
        return self.disk.read_bytes()[PART:] == self.data.translate(bytes((i + 1) & 0xff for i in range(256)))

    def boot(self, runs, *words):
        """The console of L1, in which the runs' are."""
        tree, libraries = self.tree, f"{self.tree}/lib/x86_64-linux-gnu:{self.tree}/usr/lib/x86_64-linux-gnu"
        nice = ["nice"] if os.environ.get("NESTOR_NICE") else []
        command = [
            *nice, f"{tree}/lib64/ld-linux-x86-64.so.2", "--library-path", libraries,
            f"{tree}/usr/bin/qemu-system-aarch64", "-L", f"{tree}/usr/share/qemu",
            "-M", "virt,virtualization=on,gic-version=3,its=on,iommu=smmuv3", "-cpu", "neoverse-n1", "-accel", "tcg",
            "-smp", "1", "-m", "2048", "-nodefaults", "-display", "none", "-serial", "stdio", "-monitor", "none",
            "-no-reboot", "-bios", f"{tree}/usr/share/qemu-efi-aarch64/QEMU_EFI.fd",
            "-kernel", self.share / "Image", "-initrd", self.scratch / "initramfs.cpio",
            "-fsdev", f"local,id=root,path={self.root},security_model=none,readonly=on",
            "-device", "virtio-9p-pci,fsdev=root,mount_tag=root,addr=1",
            "-fsdev", f"local,id=share,path={self.share},security_model=none",
            "-device", "virtio-9p-pci,fsdev=share,mount_tag=share,addr=2",
            "-drive", f"file={self.disk},format=raw,if=none,id=disk",
            "-device", "virtio-blk-pci,drive=disk,iommu_platform=on,disable-legacy=on,addr=4",
            "-device", "iommu-testdev,addr=5",
            "-append", f"console=ttyAMA0 panic=-1 panic_on_warn=1 no_timer_check devices={DISK},{TESTDEV} "
                       f"runs={','.join(runs)} {' '.join(words)}"]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=TIMEOUT)
            console = done.stdout
        except subprocess.TimeoutExpired as e:
            console = e.stdout or b""
        return console.decode(errors="replace").replace("\r", "")


class Run:
    """What one run has said."""

    def __init__(self, console, name):
        part = re.search(rf"^RUN {name} BEGIN$(.*?)^RUN {name} END (\d+)$", console, re.M | re.S)
        left = re.search(rf"^LEFT {name} (.*)$", console, re.M)
        self.text = part[1] if part else ""
        self.status = int(part[2]) if part else None
        self.left = left[1] if left else None
        log = re.search(r"^L2 KERNEL BEGIN$(.*?)^L2 KERNEL END$", self.text, re.M | re.S)
        self.kernel = log[1] if log else None
        self.said = {}
        for key, value in re.findall(r"^L2 ([a-z]+) ?(.*)$", self.text, re.M):
            self.said.setdefault(key, []).append(value)
        report = re.search(r"^REPORT (\{.*\})$", self.text, re.M)
        self.report = json.loads(report[1]) if report else {}

    def one(self, key):
        return self.said[key][0] if len(self.said.get(key, [])) == 1 else None

    def number(self, key):
        value = self.one(key)
        return int(value) if value and value.isdigit() else -1
