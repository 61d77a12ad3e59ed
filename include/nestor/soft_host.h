/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The software host: Linux's iommufd and VFIO cdev ABI in this process, with a
 * software IOMMU and simulated PCI devices behind it. Needs no privilege, no
 * kernel support and no hardware.
 */
#ifndef NESTOR_SOFT_HOST_H
#define NESTOR_SOFT_HOST_H

#include <nestor/host.h>
#include <nestor/log.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/** enum nst_soft_iommu - the hardware and its kernel driver that a software host plays. */
enum nst_soft_iommu {
	NST_SOFT_VTD,	   /* Intel VT-d in scalable mode */
	NST_SOFT_SMMUV3,   /* Arm SMMUv3 with two stages */
	NST_SOFT_AMD,	   /* AMD: what Linux 7.2 lets a program have of it; no nesting */
	NST_SOFT_SELFTEST, /* for the kernel's own tests of iommufd: answers IOMMU_TEST_CMD */
	NST_SOFT_NUM_IOMMUS,
};

/**
 * struct nst_soft_config - a software host.
 * @log: may be NULL.
 * @iommu: which IOMMU it has.
 * @check: the IOMMU sanitizer. Every IOTLB hit is walked again, and so is every walk
 *	that began at a cached table; one that no longer agrees with the tables is
 *	counted in stale_hits and reported with device, PASID, address and both
 *	targets, and with the invalidations that there were. The stale target is still
 *	used, as hardware would. (An entry whose permissions the guest has since widened
 *	is not stale.) Of a refused request it is said whether the device was attached to
 *	nothing, or the address was unmapped, and since when.
 * @quirks: where Linux 7.2 contradicts what its own header promises, do as the kernel does
 *	(docs/host.md lists where), not as the header says.
 * @stalls: SMMUv3 only. Its devices can stall (IDR0.STALL_MODEL = 0): a faulting access waits
 *	until it is answered through the fault queue of what the device is attached to. Linux
 *	lets no PCI device do that without a quirk of its own. Not on a @synchronous host: a
 *	fault there that could stall terminates its access at once.
 * @strict_abi: only what Linux 7.2 has. Without it the VT-d takes one vIOMMU type more, by which
 *	a program hears of faults in its guest's tables (docs/vtd-veventq.md); it is not seen by
 *	a program that does not ask for it by its number.
 * @synchronous: devices work inside the register write that started them, not on
 *	a thread: for tests that must not depend on time.
 */
struct nst_soft_config {
	const struct nst_log *log;
	enum nst_soft_iommu iommu;
	bool check;
	bool quirks;
	bool stalls;
	bool strict_abi;
	bool synchronous;
};

/** What has happened so far; all counters start at 0 and never go back. */
struct nst_soft_stats {
	uint64_t dma_read_bytes;  /* memory read by devices */
	uint64_t dma_write_bytes; /* memory written by devices */
	uint64_t iotlb_hits, iotlb_misses;
	uint64_t s1_walks;	     /* first-stage walks begun */
	uint64_t nested_hwpts;	     /* nested HWPTs ever allocated */
	uint64_t invalidate_calls;   /* IOMMU_HWPT_INVALIDATE ioctls */
	uint64_t invalidate_entries; /* entries in them */
	uint64_t faults;	     /* DMA requests refused by translation */
	uint64_t stale_hits;	     /* found by @check, like the next two */
	uint64_t dma_after_unmap;    /* of the faults: the address had been mapped */
	uint64_t dma_while_blocked;  /* of the faults: the device was attached to nothing */
};

/** nst_host_soft_create() - Errors: -ENOMEM, -EINVAL (no such IOMMU, or one without @stalls).
 * Thread: any. */
NST_MUST_CHECK NST_API int nst_host_soft_create(const struct nst_soft_config *config,
						struct nst_host **out);

/**
 * nst_soft_add_device() - plug in a simulated device.
 * @description: "nvme,file=disk.img".
 * @path: buffer for its VFIO cdev path, "/dev/vfio/devices/vfio0".
 * @err_text: on failure one sentence for the user, to be freed with free(3); may be
 *	NULL if the caller does not want it.
 * Errors: -EINVAL, -ENOMEM, or what opening the file gave.
 */
NST_MUST_CHECK NST_API int nst_soft_add_device(struct nst_host *host, const char *description,
					       char *path, size_t path_size, char **err_text);

/**
 * nst_soft_remove_device() - take a device away: as when vfio-pci is unbound from it or, if
 * @pulled, when somebody pulls it out of its slot.
 * @path: what nst_soft_add_device() gave.
 *
 * Nobody can open it any more (-ENODEV, and -ENOENT when the last file of it is closed). Who
 * has bound it gets its request interrupt (VFIO_PCI_REQ_IRQ_INDEX), and is to close it. One that
 * was pulled is dead at once: it neither transfers nor interrupts, its registers read as ones, what
 * is written to them goes nowhere, and a reset fails (-ENOTTY).
 *
 * Return: how many files of it are open. Linux asks every 10 s for as long as there are some; to
 * ask again, call again. Errors: -ENODEV (no such device, or nobody has it any more).
 * Thread: any.
 */
NST_MUST_CHECK NST_API int nst_soft_remove_device(struct nst_host *host, const char *path,
						  bool pulled);

/** nst_soft_get_stats() - a snapshot. Thread: any. */
NST_API void nst_soft_get_stats(struct nst_host *host, struct nst_soft_stats *stats);

/**
 * nst_soft_drop_invalidation() - for tests of the test bench: lose one invalidation.
 * After devices have written @after_dma_write_bytes bytes of memory, the next
 * first-stage invalidation entry is answered with success and not done.
 */
NST_API void nst_soft_drop_invalidation(struct nst_host *host, uint64_t after_dma_write_bytes);

#ifdef __cplusplus
}
#endif
#endif
