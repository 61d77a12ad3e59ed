# SPDX-License-Identifier: BSD-3-Clause
#
# "nestor doctor", "bind" and "unbind" without the hardware: machines as trees of files (--root), the software
# host, and what there is to refuse on a command line. Kernels in QEMU: tests/kernel.
import json
import pathlib
import struct
import subprocess

import guest

DEVICE = "0000:3d:00.0"
CONFIG = """CONFIG_INTEL_IOMMU=y
CONFIG_INTEL_IOMMU_SCALABLE_MODE_DEFAULT_ON=y
CONFIG_ARM_SMMU_V3=y
CONFIG_ARM_SMMU_V3_IOMMUFD=y
CONFIG_IOMMUFD=m
CONFIG_VFIO_PCI=m
CONFIG_VFIO_DEVICE_CDEV=y
"""
NEST, PRS, SMTS, SSADS, FSTS = (1 << bit for bit in (26, 29, 43, 45, 47))
# C QI IR EIM PT SC SRS EAFS PASID SSTS SMPWCS, and 20 bits of PASID
SPR_ECAP = NEST | PRS | SMTS | SSADS | FSTS | 19 << 35 | sum(1 << bit for bit in (0, 1, 3, 4, 6, 7, 31, 34, 40, 46, 48))


class Machine:
    """A tree of files such as Linux shows."""

    def __init__(self, scratch, name, table=None, config=CONFIG, cmdline="quiet", iommufd=True, release="7.2.12"):
        self.root = scratch / name
        self.write("proc/version", f"Linux version {release} (someone) #1\n")
        self.write("proc/cmdline", cmdline + "\n")
        if config is not None:
            self.write(f"boot/config-{release}", config)
        if iommufd:
            self.write("dev/iommu", "")
        (self.root / "sys/class/iommu").mkdir(parents=True)
        (self.root / "sys/bus/pci/devices").mkdir(parents=True)
        (self.root / "sys/firmware/acpi/tables").mkdir(parents=True)
        if table:
            self.write(f"sys/firmware/acpi/tables/{table}", "")

    def write(self, path, text):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    def link(self, path, target):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)

    def iommu(self, name, **files):
        (self.root / "sys/class/iommu" / name).mkdir()
        for path, text in files.items():
            self.write(f"sys/class/iommu/{name}/{path.replace('__', '/').replace('_', '-')}", text + "\n")
        return name

    def vtd(self, ecap=SPR_ECAP, version="6:0"):
        return self.iommu("dmar0", intel_iommu__cap="81d2008c222f0606", intel_iommu__ecap=f"{ecap:x}",
                          intel_iommu__version=version)

    def device(self, iommu=None, address=DEVICE, driver="idxd", group="12", regions="", capabilities=(),
               cls="0x088000"):
        at = f"sys/bus/pci/devices/{address}"
        self.write(f"{at}/vendor", "0x8086\n")
        self.write(f"{at}/device", "0x0b25\n")
        self.write(f"{at}/class", cls + "\n")
        config = bytearray(4096)
        for i, (number, register) in enumerate(capabilities):
            following = 0x120 + 0x20 * i if i + 1 < len(capabilities) else 0
            struct.pack_into("<II", config, 0x100 + 0x20 * i, number | 1 << 16 | following << 20, register)
        self.write(f"{at}/config", bytes(config))
        if driver:
            self.link(f"{at}/driver", f"../../../bus/pci/drivers/{driver}")
        if iommu:
            self.link(f"{at}/iommu", f"../../virtual/iommu/{iommu}")
            self.link(f"{at}/iommu_group", f"../../../kernel/iommu_groups/{group}")
            self.write(f"sys/kernel/iommu_groups/{group}/devices/{address}", "")
            self.write(f"sys/kernel/iommu_groups/{group}/type", "DMA-FQ\n")
            self.write(f"sys/kernel/iommu_groups/{group}/reserved_regions",
                       regions or "0x00000000fee00000 0x00000000feefffff msi\n")

    def doctor(self, *args):
        done = subprocess.run([guest.NESTOR, "doctor", "--json", "--root", str(self.root), *args],
                              capture_output=True, text=True, timeout=60)
        assert not done.stderr, done.stderr
        answer = json.loads(done.stdout)
        assert answer["exit_status"] == done.returncode
        return answer, done.returncode

    def expect(self, status, nesting, reason="", advice="", device=DEVICE):
        """The one device's checks."""
        answer, got = self.doctor(device)
        one, = answer["devices"]
        assert (got, one["nesting"]) == (status, nesting), answer
        assert reason in one["reason"] and advice in one["advice"], one
        assert bool(one["reason"]) == bool(one["advice"]) == bool(status), one
        for check in [*answer["machine"]["checks"].values(), *one["checks"].values()]:
            if check["state"] in ("no", "todo") and check["value"][:5] != "none:":
                assert check["advice"], check
        return one["checks"]


ATS, PRI, PASID = (0x0f, 0), (0x13, 0), (0x1b, 20 << 8)


@guest.test
def sapphire_rapids(scratch):
    m = Machine(scratch, "spr", "DMAR")
    m.device(m.vtd(), capabilities=[ATS, PRI, PASID])
    checks = m.expect(0, "yes")
    assert "scalable mode" in checks["iommu"]["value"] and "dmar0" in checks["iommu"]["value"]
    assert checks["pasid"]["value"] == "20 bits (device 20, unit 20)"
    assert checks["ats_pri"]["value"] == "device: ATS yes, PRI yes, the unit takes page requests"
    assert checks["dirty_tracking"]["value"] == "yes"
    assert checks["reserved"] == {"state": "info", "value": "0xfee00000-0xfeefffff msi"}
    assert checks["group"]["value"] == "12, DMA-FQ, alone"
    assert checks["driver"]["state"] == "todo" and f"nestor bind {DEVICE}" in checks["driver"]["advice"]
    assert m.doctor()[1] == 0


@guest.test
def vtd_that_lacks_something(scratch):
    for name, ecap, reason in [("legacy", SPR_ECAP & ~SMTS, "no scalable mode"),
                               ("nest", SPR_ECAP & ~NEST, "(NEST)"),
                               ("first", SPR_ECAP & ~FSTS, "(FSTS)"),
                               ("old", 0xf020de, "no scalable mode")]:
        m = Machine(scratch, name, "DMAR")
        m.device(m.vtd(ecap))
        m.expect(1, "no", reason)
    m = Machine(scratch, "dirty", "DMAR")
    m.device(m.vtd(SPR_ECAP & ~SSADS & ~PRS))
    checks = m.expect(0, "yes")
    assert checks["dirty_tracking"]["value"].startswith("no")
    assert "takes no page requests" in checks["ats_pri"]["value"]
    assert checks["pasid"]["value"] == "the device has none"


@guest.test
def kernels_that_lack_something(scratch):
    def spr(name, **kwargs):
        m = Machine(scratch, name, "DMAR", **kwargs)
        m.device(m.vtd())
        return m
    spr("sm_off", cmdline="intel_iommu=on,sm_off quiet").expect(1, "no", "scalable mode", "intel_iommu=on,sm_on")
    no_default = CONFIG.replace("CONFIG_INTEL_IOMMU_SCALABLE_MODE_DEFAULT_ON=y\n", "")
    spr("default", config=no_default).expect(1, "no", "scalable mode", "intel_iommu=on,sm_on")
    spr("sm_on", config=no_default, cmdline="a intel_iommu=on,sm_on").expect(0, "yes")
    spr("other", config=no_default, cmdline="xintel_iommu=sm_on intel_iommu=sm_onx").expect(1, "no", "scalable mode")
    spr("unloaded", iommufd=False).expect(1, "no", "/dev/iommu", "modprobe iommufd")
    spr("debian", config=CONFIG.replace("CONFIG_IOMMUFD=m\n", ""), iommufd=False).expect(
        1, "no", "CONFIG_IOMMUFD", "tests/kernel/")
    # no configuration to be read is no reason to refuse
    m = spr("silent", config=None)
    m.expect(0, "yes")
    assert m.doctor()[0]["machine"]["checks"]["config"]["state"] == "unknown"
    checks = spr("older", release="6.8.0").doctor()[0]["machine"]["checks"]
    assert checks["kernel"]["state"] == "todo" and "7.2" in checks["kernel"]["advice"]


@guest.test
def no_iommu(scratch):
    for table, cmdline, config, advice in [
            (None, "", CONFIG, "firmware setup"), ("DMAR", "", CONFIG, "intel_iommu=on,sm_on"),
            ("DMAR", "intel_iommu=off", CONFIG, "booted with intel_iommu=off"), ("IVRS", "", CONFIG, "AMD"),
            ("IORT", "", CONFIG, "SMMUv3")]:
        m = Machine(scratch, f"{table}{cmdline}", table, config=config, cmdline=cmdline)
        m.device(driver=None)
        checks = m.expect(1, "no", "no IOMMU", advice)
        assert checks["group"]["state"] == "no"
        assert m.doctor()[1] == 1
    m = Machine(scratch, "past", "DMAR")  # the machine has one; the device is not behind it
    m.vtd()
    m.device()
    m.expect(1, "no", "no IOMMU translates")


@guest.test
def grace(scratch):
    m = Machine(scratch, "grace", "IORT")
    m.device(m.iommu("smmu3.0x0000000011000000"), capabilities=[PASID])
    checks = m.expect(1, "unknown", "vfio-pci", f"nestor bind {DEVICE}")
    assert "SMMUv3" in checks["iommu"]["value"]
    assert checks["pasid"]["value"] == "20 bits in the device"
    m = Machine(scratch, "no_nesting", "IORT", config=CONFIG.replace("CONFIG_ARM_SMMU_V3_IOMMUFD=y\n", ""))
    m.device(m.iommu("smmu3.0x0000000011000000"))
    m.expect(1, "no", "CONFIG_ARM_SMMU_V3_IOMMUFD", "tests/kernel/")


@guest.test
def amd(scratch):
    m = Machine(scratch, "amd", "IVRS")
    m.device(m.iommu("ivhd0", amd_iommu__cap="190b640f", amd_iommu__features="246577efa2254afa"))
    checks = m.expect(1, "no", "AMD", "VT-d or SMMUv3")
    assert "246577efa2254afa" in checks["iommu"]["value"]


@guest.test
def groups_and_regions(scratch):
    m = Machine(scratch, "group", "DMAR")
    m.vtd()
    m.device("dmar0")
    m.device("dmar0", address="0000:3d:00.1", driver="nvme")
    m.device("dmar0", address="0000:3c:00.0", driver="pcieport", cls="0x060400")
    m.device("dmar0", address="0000:3d:00.2", driver="vfio-pci")
    checks = m.expect(0, "yes")
    assert checks["group"]["state"] == "todo"
    assert checks["group"]["advice"].endswith("0000:3d:00.1 (nvme) too")
    assert "0000:3c:00.0 (pcieport)" in checks["group"]["value"]
    # a bridge is not listed
    names = [one["device"] for one in m.doctor()[0]["devices"]]
    assert names == [DEVICE, "0000:3d:00.1", "0000:3d:00.2"], names
    # vfio-pci, but no cdev
    m.expect(1, "no", "/dev/vfio/devices/", "CONFIG_VFIO_DEVICE_CDEV", device="0000:3d:00.2")
    m = Machine(scratch, "rmrr", "DMAR")
    m.device(m.vtd(), regions="0x1000 0x1fff direct\n0xfee00000 0xfeefffff msi\n")
    m.expect(1, "no", "RMRR", "firmware setup")
    m = Machine(scratch, "relaxable", "DMAR")
    m.device(m.vtd(), regions="0x1000 0x1fff direct-relaxable\n")
    m.expect(0, "yes")


@guest.test
def broken_files(scratch):
    m = Machine(scratch, "broken", "DMAR")
    m.device(m.vtd(), capabilities=[PASID])
    at = f"sys/bus/pci/devices/{DEVICE}"
    # a capability list that goes in a circle, and what a user who is not root sees
    circle = bytearray(4096)
    struct.pack_into("<I", circle, 0x100, 1 << 16 | 0x100 << 20 | 0x0f)
    m.write(f"{at}/config", bytes(circle))
    assert m.expect(0, "yes")["ats_pri"]["value"].startswith("device: ATS yes, PRI no")
    m.write(f"{at}/config", bytes(64))
    assert m.expect(0, "yes")["pasid"]["state"] == "unknown"
    m.write("sys/class/iommu/dmar0/intel-iommu/ecap", "none\n")
    m.expect(1, "unknown", "registers", "root")
    m.write("sys/kernel/iommu_groups/12/reserved_regions", b"\xff" * 3000)
    for file in ("proc/version", "proc/cmdline", f"{at}/vendor", f"{at}/class", "boot/config-7.2.12"):
        m.write(file, b"\x00" * 9000)
    m.expect(1, "unknown", "registers")
    for i in range(8):  # more neighbours than a line has room for
        for function in range(8):
            m.device("dmar0", address=f"0000:3d:{i + 1:02x}.{function}", driver="a_driver_with_a_long_name")
    assert m.expect(1, "unknown")["group"]["advice"]


@guest.test
def software_host(scratch):
    if not (pathlib.Path(guest.NESTOR).resolve().parent / "libnestor-preload.so").exists():
        return  # builds with a sanitizer have no preloaded library
    for kind, words in [("vtd", ["scalable mode", "NEST, FSTS and SSTS", "20 bits"]),
                        ("smmuv3", ["SMMUv3", "vIOMMU"])]:
        host = [guest.NESTOR, "host", "--quiet", "--iommu", kind, "--device", "dmatest", "--"]
        done = subprocess.run([*host, guest.NESTOR, "doctor", "/dev/vfio/devices/vfio0"], capture_output=True,
                              text=True, timeout=60)
        assert done.returncode == 0 and "=> nesting would work" in done.stdout, (kind, done)
        for word in [*words, "a nesting parent"]:
            assert word in done.stdout, (word, done.stdout)
        done = subprocess.run([*host, guest.NESTOR, "doctor", "/dev/vfio/devices/vfio9"], capture_output=True,
                              text=True, timeout=60)
        assert done.returncode == 1 and "cannot be opened" in done.stdout, (kind, done)


@guest.test
def this_machine(scratch):
    done = subprocess.run([guest.NESTOR, "doctor"], capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 1) and done.stdout.startswith("this machine\n") and not done.stderr
    if not list(pathlib.Path("/sys/class/iommu").glob("*")):
        assert done.returncode == 1 and "the kernel drives no IOMMU" in done.stdout


@guest.test
def mistakes(scratch):
    for words, *args in [
            (["no PCI address", "eth0"], "doctor", "eth0"), (["no PCI address"], "doctor", "3d:20.0"),
            (["no PCI device", "ffff:00:00.0"], "doctor", "ffff:00:00.0"), (["--nonsense"], "doctor", "--nonsense"),
            (["no PCI device", "vfio0"], "doctor", "--root", str(scratch), "/dev/vfio/devices/vfio0"),
            (["--root", "value"], "doctor", "--root"), (["which device"], "bind"), (["which device"], "unbind"),
            (["no PCI address"], "bind", "0000:00:00.9"), (["no PCI device"], "bind", "ffff:00:00.0"),
            (["no PCI device"], "unbind", "--force", "ffff:00:00.0"), (["--nonsense"], "bind", "--nonsense")]:
        done = subprocess.run([guest.NESTOR, *args], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and not done.stdout, (args, done)
        line, = done.stderr.splitlines()
        assert all(word in line for word in words), (words, line)
    for args in (["doctor", "--help"], ["bind", "--help"], ["unbind", "--help"]):
        done = subprocess.run([guest.NESTOR, *args], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and "usage:" in done.stdout and not done.stderr


guest.main()
