/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * What a process says to /dev/dmatestN. An open file is a queue of the device, bound to the
 * address space of the process that opened it: addresses are pointers of that process.
 * A child that inherits the file can only close it.
 *
 * Operations and statuses have the device's numbers. Operations may complete in another
 * order than they were submitted: see the tag.
 */
#ifndef DMATEST_IOCTL_H
#define DMATEST_IOCTL_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define DMATEST_WITH_ATS 1 /* by the device's TLB */
#define DMATEST_WITH_PRI 2 /* ask for pages that are not permitted; with ATS only */

struct dmatest_submit {
	__u32 operation; /* 2 READ to 6 COMPARE */
	__u32 flags;
	__u64 address[2];
	__u32 length;
	__u32 tag;
	__u64 seed;
};

struct dmatest_wait {
	__u32 timeout_ms; /* in; all others out */
	__u32 status;
	__u32 done;
	__u32 tag;
	__u32 page_requests;
	__u32 reserved;
	__u64 fault;
	__u64 checksum;
};

struct dmatest_statistics {
	__u64 requests, refused, tlb_hits, tlb_misses, invalidations, page_requests, responses;
	__u64 unexpected, operations;
};

/*
 * Where the kernel has no shared virtual addressing, the device reaches only what is shared by
 * SHARE: whole pages, with the pointers that they have. UNSHARE names one such area; what is
 * still shared the end of the file ends. Both return 1 where the device reaches all anyway.
 */
struct dmatest_area {
	__u64 address;
	__u64 length;
};

/*
 * Errors of all: ENODEV (the device is gone), EPERM (another process opened it). SUBMIT:
 * EINVAL, EAGAIN (too many not waited for), EIO (the queue has stopped). WAIT: ENOENT
 * (nothing to wait for), ETIME, EINTR, EIO. SHARE: EINVAL, EEXIST, EFAULT; UNSHARE: ENOENT.
 */
#define DMATEST_IOC_SUBMIT _IOW('D', 0, struct dmatest_submit)
#define DMATEST_IOC_WAIT _IOWR('D', 1, struct dmatest_wait)
#define DMATEST_IOC_PASID _IOR('D', 2, __u32)
#define DMATEST_IOC_STATISTICS _IOR('D', 3, struct dmatest_statistics)
#define DMATEST_IOC_SHARE _IOW('D', 4, struct dmatest_area)
#define DMATEST_IOC_UNSHARE _IOW('D', 5, struct dmatest_area)

#endif
