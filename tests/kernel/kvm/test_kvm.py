#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
#
# test_kvm.py IMAGE TREE ROOT: the full stack on the real kernel, in the machine of machine.py: a guest below a
# guest with its SMMUv3 by "nestor run --host /dev/iommu", a disk and a test device passed through twice. Ends as TAP.
# IMAGE is a kernel with KVM; TREE and ROOT are scripts/setup's debian13-arm64 and root-arm64.
import re
import sys
import tempfile

import machine

# As in test_kernel.py. Both kernels stop at a WARN.
COMPLAINTS = re.compile(r"WARNING:|BUG:|Oops|Call [Tt]race|Kernel panic|UBSAN|Unable to handle")
# Anything that an SMMUv3's driver has to say after its start is about something that went wrong.
SMMU = re.compile(r"^.*arm-smmu-v3 \S+ (?!option mask|oas |allocated |msi_domain).*$", re.M)
FAULT = r"event: F_TRANSLATION client: {} sid: {} ssid: 0x0 iova: 0x123456000 "
WINDOW = "0x0000000008000000 0x00000000080fffff direct"
PIECES = 7 * machine.PART // 65536  # of 64 KiB, that the guest reads or writes at least


def disk_cases(run, m, kind, msix=2):
    """Of every run: data, interrupts, what is left."""
    return [
        ("ended", run.status == 0 and "done" in run.said),
        ("disk_is_" + kind, (run.one("disk") or "").split()[1:] == [kind, str(2 * machine.PART // 512)]),
        ("read_what_is_on_it", run.said.get("read") == [m.read_sum()] * 3 and run.one("last") == m.read_sum()),
        ("wrote_to_it", m.is_written()),
        ("interrupts", run.number("msix") == msix and run.number("interrupts") >= PIECES // 2),
        ("window_is_mapped", WINDOW in run.said.get("reserved", [])),
        ("guest_has_no_complaint", run.kernel is not None and COMPLAINTS.search(run.kernel) is None),
        ("nothing_is_left", run.left == "0 0"),
    ]


def smmu_says(log):
    return SMMU.findall(log or "")


def translated(run, m, device, sid, msix):
    r = run.report
    syncs, calls = r.get("wait_descriptors", 0), r.get("host_invalidate_calls", 0)
    fault = re.compile(FAULT.format(re.escape(device), sid))
    return disk_cases(run, m, "DMA", msix) + [
        ("nested", r.get("nested_hwpts", 0) >= 2),
        # each of the disk's requests is unmapped, and so invalidated, before its data is used
        ("invalidated", syncs >= PIECES and PIECES <= calls <= syncs + 8),
        ("device_is_refused", (run.one("result") or "").lower() == f"{device} 0xdead0002"),
        ("guest_sees_the_fault", run.number("events") == 1 and len(fault.findall(run.kernel or "")) == 1),
        ("and_no_other", len(re.findall(r"event: ", run.kernel or "")) == 1 and r.get("lost_host_faults") == 0),
    ]


def strict(run, m):
    return translated(run, m, "0000:00:03.0", "0x18", 2)


def port(run, m):
    """Behind root ports: requester ids with the guest's bus numbers; and the disk has INTx, as MSI-X is hidden there."""
    return translated(run, m, "0000:02:00.0", "0x200", 0)


def passthrough(run, m):
    r = run.report
    return disk_cases(run, m, "identity") + [
        ("no_invalidations", 0 <= r.get("host_invalidate_calls", -1) < 20),
        ("no_fault", not smmu_says(run.kernel) and r.get("host_faults") == 0),
    ]


def host_cases(consoles):
    kernels = [re.search(r"^L1 KERNEL BEGIN$(.*)^L1 KERNEL END$", c, re.M | re.S) for c in consoles]
    logs = [k[1] if k else "" for k in kernels]
    return [
        ("host.has_kvm", all("VHE mode initialized" in log for log in logs)),
        ("host.no_complaint", all(kernels) and not any(COMPLAINTS.search(c) or smmu_says(log)
                                                       for c, log in zip(consoles, logs))),
        ("host.devices_are_free", all(set(re.findall(r"^FREE (\S+) 0$", c, re.M)) == {machine.DISK, machine.TESTDEV}
                                      for c in consoles)),
    ]


def main():
    image, tree, root = sys.argv[1:]
    cases, consoles = [], []
    with tempfile.TemporaryDirectory(prefix="nestor-test-") as scratch:
        m = machine.Machine(image, tree, root, scratch)
        for seed, (name, judge) in enumerate((("strict", strict), ("port", port), ("passthrough", passthrough))):
            m.fill(seed)
            console = m.boot([name])
            consoles.append(console)
            run = machine.Run(console, name)
            found = [(f"{name}.{case}", fine) for case, fine in judge(run, m)]
            if not all(fine for _, fine in found):
                print("\n".join(f"# {line}" for line in (run.text or console).splitlines()[-150:]))
            cases += found
    cases += host_cases(consoles)
    for number, (name, fine) in enumerate(cases, 1):
        print(f"{'ok' if fine else 'not ok'} {number} - kvm.{name}")
    print(f"1..{len(cases)}")
    return not all(fine for _, fine in cases)


sys.exit(main())
