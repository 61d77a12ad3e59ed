# SPDX-License-Identifier: BSD-3-Clause
#
# One guest, with real I/O: for the builds with sanitizers.
import guest


@guest.test
def demo_job(scratch):
    guest.assert_succeeds(scratch, "--quiet", "--job", "demo", "--timeout", 200,
                          "--device", f"nvme,file={guest.disk(scratch)}")


guest.main()
