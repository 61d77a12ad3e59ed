# SPDX-License-Identifier: BSD-3-Clause
#
# A device with PASIDs, device TLBs and page requests beside a disk: Linux enables the first two, and uses the disk.
import guest


def devices(scratch, *more):
    return ("--device", f"nvme,file={guest.disk(scratch)}", *(w for d in more for w in ("--device", d)))


@guest.test
def linux_enables_pasids_and_ats(scratch):
    r = guest.assert_succeeds(scratch, "--quiet", "--job", "pasid", "--timeout", 200,
                              *devices(scratch, "dmatest", "testdev"))
    assert "guest: pasid at 4088, 20 bits\n" in r.output(), r.output()[-2000:]
    assert "guest: pri " in r.output(), r.output()[-2000:]


@guest.test
def the_width_is_the_devices(scratch):
    r = guest.assert_succeeds(scratch, "--quiet", "--job", "pasid", "--timeout", 200,
                              "--append", "nestor.nopri", *devices(scratch, "dmatest,pasid-bits=5,pri=off"))
    assert "guest: pasid at 4088, 5 bits\n" in r.output(), r.output()[-2000:]


@guest.test
def another_place_for_the_capability(scratch):
    r = guest.assert_succeeds(scratch, "--quiet", "--job", "pasid", "--timeout", 200,
                              *devices(scratch, "dmatest,vpasid-offset=0x200,pasid-bits=8"))
    assert "guest: pasid at 512, 8 bits\n" in r.output(), r.output()[-2000:]


@guest.test
def places_that_cannot_be(scratch):
    for place, word in ("0x100", "capability 0xf is at 0x100"), ("0xffc", "from 0x100 to 0xff8"), \
            ("x", "not \"x\""), ("0", "not \"0\""), ("65536", "not \"65536\""):
        status, r = guest.run(scratch, "--quiet", *devices(scratch, f"dmatest,vpasid-offset={place}"))
        assert status in (1, 2) and word in r.output(), (place, status, r.output()[-2000:])


@guest.test
def without_pasids_no_capability(scratch):
    status, r = guest.run(scratch, "--quiet", "--job", "pasid", "--timeout", 200,
                          *devices(scratch, "dmatest,pasid-bits=0"))
    assert status == 1
    assert "no PASID capability" in r.output(), r.output()[-2000:]


guest.main()
