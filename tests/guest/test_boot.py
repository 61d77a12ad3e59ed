# SPDX-License-Identifier: BSD-3-Clause
#
# One guest with real I/O, and one whose processes share their memory with a device: for the builds with sanitizers.
import guest


@guest.test
def demo_job(scratch):
    guest.assert_succeeds(scratch, "--quiet", "--job", "demo", "--timeout", 200,
                          "--device", f"nvme,file={guest.disk(scratch)}")


@guest.test
def sva_job(scratch):
    r = guest.assert_succeeds(scratch, "--quiet", "--job", "sva", "--append", "no5lvl nestor.sva_pages=4",
                              "--timeout", 200, "--device", "dmatest,queues=64")
    # groups of up to 4 pages
    last = r.output().split("guest: sva exit: page requests ")[1].split()
    requests, responses = int(last[0].rstrip(",")), int(last[2].rstrip(","))
    assert 2 * responses < requests <= 4 * responses, (requests, responses)


guest.main()
