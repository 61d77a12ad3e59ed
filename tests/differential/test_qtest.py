# SPDX-License-Identifier: BSD-3-Clause
#
# "nestor qtest" by itself: the protocol, what it says to bad input, the machine's map, its command line.
import pathlib
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from tap import main, test  # noqa: E402

NESTOR = sys.argv[1]


def talk(lines, *options):
    """All answers to these lines."""
    done = subprocess.run([NESTOR, "qtest", *options], input="".join(line + "\n" for line in lines).encode(),
                          capture_output=True, timeout=60)
    assert done.returncode == 0, done
    return done.stdout.decode().splitlines()


def expect(pairs, *options):
    answers = talk([p[0] for p in pairs], *options)
    assert answers == [p[1] for p in pairs], [x for x in zip(pairs, answers) if x[0][1] != x[1]]


@test
def memory_accesses(scratch):
    expect([("writeq 0x1000 0x1122334455667788", "OK"), ("readb 0x1001", "OK 0x0000000000000077"),
            ("readw 0x1002", "OK 0x0000000000005566"), ("readl 0x1004", "OK 0x0000000011223344"),
            ("writel 0x1003 0xaabbccdd", "OK"), ("read 0x1000 8", "OK 0x887766ddccbbaa11"),
            ("write 0x2000 4 0x01020304", "OK"), ("b64read 0x2000 4", "OK AQIDBA=="),
            ("b64read 0x2000 3", "OK AQID"), ("b64read 0x2000 2", "OK AQI="),
            ("b64write 0x3000 5 SGVsbG8=", "OK"), ("read 0x3000 6", "OK 0x48656c6c6f00"),
            ("write 0x2000 4 0xff", "OK"), ("readl 0x2000", "OK 0x00000000000000ff"),
            ("memset 0x2fff 3 0x1ab", "OK"), ("readl 0x2fff", "OK 0x000000006cababab")])


@test
def machine_with_an_smmuv3(scratch):
    """Its map, and an interrupt: a command queue outside of memory is a global error, SPI 77."""
    unit, log, none = 0x09050000, 0x0b000000, "OK 0x00000000ffffffff"
    for kind in ("--emulated", "--passthrough"):
        expect([(f"readl {unit}", "OK 0x000000000d44101a"), ("readl 0x4010008000", "OK 0x0000000000051b36"),
                ("readl 0x4010010000", none), ("inl 0xcf8", "OK 0xffffffff"), ("outl 0xcf8 0x80000800", "OK"), ("inl 0xcfc", "OK 0xffffffff"),
                ("writel 0x40000000 5", "OK"), ("readl 0x40000000", "OK 0x0000000000000005"), ("readl 0x3ffffffc", none),
                ("readl 0x50000000", none), ("memset 0x4ffffff0 16 7", "OK"), ("readl 0x4ffffffc", "OK 0x0000000007070707"),
                ("memset 0x4ffffff0 17 7", "FAIL memset is for memory, which ends at 0x50000000"),
                ("memset 0x3ffffff0 4 7", "FAIL memset is for memory, which ends at 0x50000000"),
                (f"writel {unit + 0x50} 1", "OK"), (f"writeq {unit + 0x90} 0x80000004", "OK"), (f"writel {unit + 0x20} 8", "OK"),
                (f"writel {unit + 0x98} 1", "OK"), (f"readl {unit + 0x9c}", "OK 0x0000000002000000"),
                (f"readl {log}", "OK 0x0000000000000001"), (f"readq {log + 16}", "OK 0x0000000000000000"),
                (f"readl {log + 24}", "OK 0x000000000000004d"), (f"readl {log + 28}", "OK 0x0000000000000001"),
                (f"writel {log} 0", "OK"), (f"readl {log}", "OK 0x0000000000000000")], "--viommu", "smmuv3", kind)


@test
def other_commands(scratch):
    expect([("endianness", "OK little"), ("clock_step 100", "OK 100"), ("clock_step", "OK 100"),
            ("clock_set 7", "OK 7"), ("irq_intercept_in ioapic", "OK"), ("irq_intercept_in x", "FAIL Unknown device")])


@test
def bad_input(scratch):
    long = "write 0 1 0x" + "0" * (3 << 20)
    expect([("bogus 1", "FAIL Unknown command 'bogus'"), ("readl", "FAIL readl takes 1 arguments"),
            ("readl x", 'FAIL "x" is not a number'), ("readl -1", 'FAIL "-1" is not a number'),
            ("writel 0x10000000000000000 1", 'FAIL "0x10000000000000000" is not a number'),
            ("read 0 0", "FAIL the size has to be from 1 to 1048576"),
            ("read 0 0xffffffffffffffff", "FAIL the size has to be from 1 to 1048576"),
            ("write 0 2 0x123", "FAIL write: the data is not 2 bytes"),
            ("write 0 1 0x1234", "FAIL write: the data is not 1 bytes"),
            ("write 0 1 0xg0", "FAIL write: the data is not 1 bytes"), ("write 0 1", "FAIL write: the data is not 1 bytes"),
            ("b64write 0 2 AQI", "FAIL b64write: the data is not 2 bytes"),
            ("b64write 0 2 AQ=I", "FAIL b64write: the data is not 2 bytes"),
            ("b64write 0 2 AQID", "FAIL b64write: the data is not 2 bytes"),
            ("memset 0xffff 0x10000000 0", "FAIL memset is for memory, which ends at 0x10000000"),
            (long, "FAIL a line of more than 2098176 characters"), ("readb 0", "OK 0x0000000000000000")])
    assert talk(["", "  ", "readb 0xffffffffffffffff", "read 0xfffffffffffffff8 16"])[0] == "OK 0x00000000000000ff"


@test
def the_map(scratch):
    for kind in ("--emulated", "--passthrough"):
        expect([("readl 0xb0008000", "OK 0x0000000000051b36"), ("readl 0xb0010000", "OK 0x0000000000051b36"),
                ("readl 0xb0018000", "OK 0x00000000ffffffff"), ("readl 0xb0000000", "OK 0x00000000ffffffff"),
                ("outl 0xcf8 0x80000800", "OK"), ("inl 0xcfc", "OK 0x51b36"), ("inw 0xcfe", "OK 0x0005"),
                ("inb 0xcfd", "OK 0x001b"), ("outl 0xcf8 0x00000800", "OK"), ("inl 0xcfc", "OK 0xffffffff"),
                ("readl 0xfed90000", "OK 0x0000000000000010"), ("readl 0xe0000018", "OK 0x00000000ffffffff"),
                ("writel 0xb0008010 0xe0000000", "OK"), ("writel 0xb0008004 2", "OK"),
                ("readl 0xe0000018", "OK 0x0000000000000002"), ("readl 0xe0001018", "OK 0x00000000ffffffff"),
                ("writel 0xb0008010 0xe0100000", "OK"), ("readl 0xe0000018", "OK 0x00000000ffffffff"),
                ("readl 0xe0100018", "OK 0x0000000000000002"), ("writel 0xb0008004 0", "OK"),
                ("readl 0xe0100018", "OK 0x00000000ffffffff"), ("readl 0x10000000", "OK 0x00000000ffffffff")],
               kind, "--device", "testdev", "--device", "testdev")


@test
def interrupts_are_logged(scratch):
    """Of the unit: translation without a root table, its fault event unmasked; and of whoever writes there."""
    for kind in ("--emulated", "--passthrough"):
        expect([("readl 0xfed91000", "OK 0x0000000000000000"), ("writel 0xfee01004 0x55", "OK"),
                ("writel 0xfed9003c 0x1234", "OK"), ("writel 0xfed90040 0xfee02000", "OK"),
                ("writel 0xfed90038 0", "OK"), ("writeq 0xfed90090 0x2000", "OK"), ("writel 0xfed90018 0x4000000", "OK"),
                ("writel 0xfed90088 16", "OK"),     # a descriptor of type 0: an error of the queue
                ("readl 0xfed91000", "OK 0x0000000000000002"), ("readq 0xfed91010", "OK 0x00000000fee01004"),
                ("readq 0xfed91018", "OK 0x0000000100000055"), ("readq 0xfed91020", "OK 0x00000000fee02000"),
                ("readq 0xfed91028", "OK 0x0000000200001234"), ("writel 0xfed91000 0", "OK"),
                ("readl 0xfed91000", "OK 0x0000000000000000")], kind)


@test
def a_socket(scratch):
    path = str(scratch / "s")
    process = subprocess.Popen([NESTOR, "qtest", "--socket", path])
    s = socket.socket(socket.AF_UNIX)
    for _ in range(1000):
        try:
            s.connect(path)
            break
        except (FileNotFoundError, ConnectionRefusedError):
            time.sleep(0.01)
    s.sendall(b"readl 0xfed9")
    s.sendall(b"0000\n")
    assert s.makefile().readline() == "OK 0x0000000000000010\n"
    assert not (scratch / "s").exists()
    s.close()
    assert process.wait(60) == 0


@test
def command_line(scratch):
    taken = scratch / "taken"
    taken.write_text("")
    unknown = 'is not known here; there is "testdev", and with --host /dev/iommu a device of this machine, such as 0000:00:02.0'
    kernel = ["--host", "/dev/iommu"]
    for options, why in ((["--device", "nvme"], f"--device nvme {unknown}"),
                         (["--host", "kvm"], '--host is soft (the software host) or /dev/iommu (the running kernel), not "kvm"'),
                         (kernel, "--host /dev/iommu needs a --device of this machine, such as 0000:00:02.0"),
                         (["--device", "3d:00.0"], "3d:00.0 is a device of this machine: it needs --host /dev/iommu"),
                         ([*kernel, "--passthrough", "--device", "testdev"], "a testdev cannot be passed through with --host "
                          "/dev/iommu, only emulated: name a device of this machine, such as 0000:00:02.0"),
                         ([*kernel, "--device", "3d:00.0", "--device", "3d:00.0"], "--device 3d:00.0 is there twice"),
                         ([*kernel, "--device", "3d:00.0", "--save", "x"], "a machine with a device of --host /dev/iommu cannot "
                          "be saved: --load and --save are for testdev"),
                         (["--memory", "3G"], '--memory takes a size from 1M to 2816M, not "3G"'),
                         (["--memory", "12"], '--memory takes a size from 1M to 2816M, not "12"'),
                         (["--offer", "x"], '--offer is second-stage, nested, five-level or no-caching-mode, not "x"'),
                         (["--viommu", "smmuv3", "--offer", "nested"], '--offer names what only a VT-d unit has; an SMMUv3 has "stage-2"'),
                         (["--offer", "stage-2"], "--offer stage-2 is for --viommu smmuv3"),
                         (["--viommu", "amd"], '--viommu amd is not known; there are "vtd" and "smmuv3"'),
                         (["--passthrough", "--offer", "nested"],
                          "--passthrough devices cannot have the features that --offer names"),
                         (["--device", "testdev,mode=x"],
                          f"--device testdev,mode=x {unknown}"),
                         (["--device", "testdev", "--device", "testdev,mode=passthrough", "--offer", "nested"],
                          "--passthrough devices cannot have the features that --offer names"),
                         (["x"], '"x" is no option'),
                         (["--device", "testdev"] * 65, "too many devices: there can be 64"),
                         (["--socket", str(taken)], f"cannot listen at {taken}: Address already in use"),
                         (["--socket", "x" * 200], f"cannot listen at {'x' * 200}: File name too long")):
        done = subprocess.run([NESTOR, "qtest", *options], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        assert done.returncode == 2 and done.stderr.decode() == f"nestor: {why}\n", (options, done)
    assert taken.exists()
    assert "usage: nestor qtest" in subprocess.run([NESTOR, "qtest", "--help"], capture_output=True, text=True, check=True).stdout


main()
