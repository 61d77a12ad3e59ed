# SPDX-License-Identifier: BSD-3-Clause
#
# What QEMU 11.1.3's accelerated VT-d does wrong, each tried by a guest of a few steps, and what the sanitizer says
# of it: docs/qemu-defects.md, whose quotations of reports and traces are compared with what happens here. Every
# test looks into guest memory, too: where DMA went is what matters, a report only says so.
#
# A newer QEMU that does it right fails here: then the section gets a line that says since when, and the test asserts it.
import pathlib
import re

import guest
import qtest
from qtest import OK, TE, TX_FAIL

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs/qemu-defects.md"
IOVA = 0x10000          # also an address of guest memory, so that bypassing the tables is no fault
FAR = 1 << 40           # not an address of guest memory
A, B = qtest.DATA, qtest.DATA + 0x10000


def comparable(text):
    """Without what differs from run to run: times, descriptors, addresses of the process."""
    for pattern, to in ((r"^ *\d+\.\d{6} ", ""), (r"\bfd=\d+", "fd=N"), (r"host 0x[0-9a-f]+", "host P"), (r" +", " ")):
        text = re.sub(pattern, to, text, flags=re.M)
    return {line.strip() for line in text.splitlines()}


def check_documentation(title, output, trace):
    """Everything that the section quotes was said."""
    section = re.search(f"^## [0-9]+\\. {title}$(.*?)(^## |\\Z)", DOCS.read_text(), re.M | re.S)
    assert section, title
    quoted = comparable("\n".join(re.findall("^    (.*)$", section[1], re.M)))
    missing = quoted - comparable(output) - comparable(trace)
    assert quoted and not missing, (missing, output, trace)


def end(machine, title):
    report, output, trace = machine.end()
    check_documentation(title, output, trace)
    return report, output, trace


@guest.test
def translation_disable(scratch):
    with qtest.Machine(scratch) as m:
        top, _ = m.translate({IOVA: A})
        assert m.dma(IOVA) == OK and m.went_to(IOVA, A) == [A]
        m.command(TE, on=False)
        assert m.dma(B) == TX_FAIL and m.went_to(B) == []           # should be memory at B
        m.write(top, bytes(4096))                                   # nobody's table any more
        assert m.dma(IOVA) == OK and m.went_to(IOVA, A) == [A]      # should be memory at IOVA
        report, output, trace = end(m, "Translation disable keeps the nested attachment")
    assert report["stale_hits"] == 2 and report["faults"] == 1, report
    assert "check: stale IOTLB entry used (1): device 00:01.0 write iova 0x10000" in output
    assert trace.count("VFIO_DEVICE_ATTACH_IOMMUFD_PT") == 2, trace     # the parent, the nested HWPT, and that was all


@guest.test
def unplug(scratch):
    with qtest.Machine(scratch, devices=2) as m:
        m.translate({IOVA: A})
        assert m.dma(IOVA) == OK and m.went_to(IOVA, A) == [A]
        m.unplug()
        report, output, trace = end(m, "Unplug leaks the nested HWPT")
    assert report["objects_at_end"]["nested HWPT"] == {"live": 1, "unused": 1}, report
    assert report["objects_at_end"]["bound device"] == {"live": 1, "unused": 0}, report
    nested = re.search(r"data_type=VTD_S1.*out_hwpt_id=(\d+)", trace)[1]
    assert re.search(r"IOMMU_DESTROY\(fd=\d+, id=3\) = -EBUSY", trace), trace
    assert not re.search(rf"IOMMU_DESTROY\(fd=\d+, id={nested}\)", trace), trace


@guest.test
def unplug_of_the_last_device(scratch):
    """QEMU then closes its iommufd, which ends everything; before, it runs into what it forgot."""
    with qtest.Machine(scratch) as m:
        m.translate({IOVA: A})
        m.unplug()
        report, output, trace = m.end()
    assert report["objects_at_end"] == {}, report
    assert "Failed to free id: 3 Device or resource busy" in output, output
    assert re.search(r"IOMMU_DESTROY\(fd=\d+, id=3\) = -EBUSY", trace), trace


@guest.test
def context_entry_changed(scratch):
    with qtest.Machine(scratch) as m:
        top, _ = m.translate({IOVA: A})
        assert m.dma(IOVA) == OK and m.went_to(A, B) == [A]
        directory = m.page()
        m.set_pasid(directory, 0, m.first_stage({IOVA: B}), did=2)
        m.set_context(directory)
        # s6.5.3.3: context cache of the device, then PASID cache and IOTLB of the domains it had
        m.invalidate(qtest.context_device(), qtest.pasid_cache_domain(1), qtest.iotlb_domain(1))
        assert m.dma(IOVA) == OK and m.went_to(A, B) == [A]         # should be B
        m.write(top, bytes(4096))
        assert m.dma(IOVA) == OK and m.went_to(A, B) == [A]
        m.invalidate(qtest.pasid_cache_global())                    # more than has to be asked for
        assert m.dma(IOVA) == OK and m.went_to(A, B) == [B]
        report, output, _ = end(m, "A changed context entry is not seen")
    assert report["stale_hits"] == 2 and report["faults"] == 0, report
    assert "check:   no invalidation of HWPT 4 covers 0x10000; the last were:" in output


@guest.test
def context_entry_becomes_present(scratch):
    with qtest.Machine(scratch) as m:
        directory = m.page()
        m.set_pasid(directory, 0, m.first_stage({IOVA: A, FAR: A}), did=1)
        m.set_context(None)
        m.enable()
        assert m.dma(IOVA) == OK and m.went_to(IOVA, A) == [IOVA]   # section 6
        m.set_context(directory)
        m.invalidate(qtest.context_device(), qtest.iotlb_domain(0)) # what Linux does in caching mode
        assert m.dma(IOVA) == OK and m.went_to(IOVA, A) == [IOVA]   # should be A
        assert m.dma(FAR) == TX_FAIL and m.went_to(A) == []
        m.invalidate(qtest.pasid_cache(1))
        assert m.dma(FAR) == OK and m.went_to(A) == [A]
        report, output, trace = end(m, "A context entry that becomes present is not seen")
    # 0x79: the second stage alone refused it
    assert "soft: DMA fault (1): device 00:01.0 write iova 0x10000000000: reason 0x79" in output
    assert report["faults"] == 1 and report["stale_hits"] == 0, report


@guest.test
def context_entry_changed_within_its_domain(scratch):
    """The control: nothing but the domain id makes the difference."""
    with qtest.Machine(scratch) as m:
        top, _ = m.translate({IOVA: A}, did=1)
        assert m.dma(IOVA) == OK and m.went_to(A, B) == [A]
        directory = m.page()
        m.set_pasid(directory, 0, m.first_stage({IOVA: B}), did=1)
        m.set_context(directory)
        m.invalidate(qtest.context_device(), qtest.pasid_cache_domain(1), qtest.iotlb_domain(1))
        m.write(top, bytes(4096))
        assert m.dma(IOVA) == OK and m.went_to(A, B) == [B]
        report, output, _ = m.end()
    assert report["stale_hits"] == 0 and report["faults"] == 0 and "check: " not in output, report


@guest.test
def context_entry_removed(scratch):
    with qtest.Machine(scratch) as m:
        m.translate({IOVA: A})
        assert m.dma(IOVA) == OK and m.went_to(IOVA, A) == [A]
        m.set_context(None)
        m.invalidate(qtest.context_device(), qtest.pasid_cache_domain(1), qtest.iotlb_domain(1))
        assert m.dma(IOVA) == TX_FAIL and m.went_to(IOVA, A) == []
        report, output, _ = end(m, "What works: a context entry that is removed")
    assert report["dma_while_blocked"] == 1 and report["stale_hits"] == 0, report


@guest.test
def pasid_entry_replaced(scratch):
    with qtest.Machine(scratch) as m:
        top, directory = m.translate({IOVA: A}, did=1)
        assert m.dma(IOVA) == OK and m.went_to(A, B) == [A]
        m.set_pasid(directory, 0, m.first_stage({IOVA: B}), did=2)
        m.invalidate(qtest.pasid_cache(1), qtest.pasid_iotlb(1))    # s6.5.3.3: the domain id that was
        assert m.dma(IOVA) == OK and m.went_to(A, B) == [A]         # should be B
        m.write(top, bytes(4096))
        m.invalidate(qtest.pasid_iotlb(2))
        assert m.dma(IOVA) == OK and m.went_to(A, B) == [A]
        m.invalidate(qtest.pasid_cache(2))                          # nothing that a guest has to know
        assert m.dma(IOVA) == OK and m.went_to(A, B) == [B]
        report, output, trace = end(m, "A PASID entry replaced with a new domain id is not seen")
    assert report["stale_hits"] == 2 and report["faults"] == 0, report
    assert report["host_invalidate_calls"] == 1, report             # of the second nothing was passed on


@guest.test
def pasid_entry_replaced_with_the_same_domain_id(scratch):
    """The control: nothing but the domain id makes the difference."""
    with qtest.Machine(scratch) as m:
        top, directory = m.translate({IOVA: A}, did=1)
        assert m.dma(IOVA) == OK and m.went_to(A, B) == [A]
        m.set_pasid(directory, 0, m.first_stage({IOVA: B}), did=1)
        m.invalidate(qtest.pasid_cache(1), qtest.pasid_iotlb(1))
        m.write(top, bytes(4096))
        assert m.dma(IOVA) == OK and m.went_to(A, B) == [B]
        report, output, _ = m.end()
    assert report["stale_hits"] == 0 and report["faults"] == 0 and "check: " not in output, report


@guest.test
def iotlb_invalidation_without_pasid(scratch):
    with qtest.Machine(scratch) as m:
        top, _ = m.translate({IOVA: A})
        for descriptor in (qtest.iotlb_domain(1), qtest.iotlb_global()):
            m.set_leaf(top, IOVA, A | 0x67)
            m.invalidate(qtest.pasid_iotlb(1))
            assert m.dma(IOVA) == OK and m.went_to(A, B) == [A]
            m.set_leaf(top, IOVA, B | 0x67)
            m.invalidate(descriptor)
            assert m.dma(IOVA) == OK and m.went_to(A, B) == [A]     # should be B
            m.invalidate(qtest.pasid_iotlb(1))
            assert m.dma(IOVA) == OK and m.went_to(A, B) == [B]
        report, output, _ = end(m, "IOTLB invalidations without PASID are not passed on")
    assert report["stale_hits"] == 4 and report["faults"] == 0, report
    assert report["host_invalidate_calls"] == 4, report


@guest.test
def a_device_without_context_entry(scratch):
    with qtest.Machine(scratch) as m:
        m.set_context(None)
        m.enable()
        assert m.dma(IOVA) == OK and m.went_to(IOVA) == [IOVA]      # should be blocked
        report, output, trace = end(m, "A device without context entry is not blocked")
    assert report["faults"] == 0 and "check: " not in output, report
    assert "VFIO_DEVICE_DETACH_IOMMUFD_PT" not in trace


guest.main()
