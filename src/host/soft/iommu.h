/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The IOMMU of a software host: a model of hardware, and of the kernel driver that
 * programs it. iommufd's core is imitated once, above this table; below it is what one
 * driver decides - which domains there are, what user data mean, when a device can be
 * attached, what an invalidation empties:
 *
 *	vtd.c		Intel VT-d	on vtd_hw.c
 *	smmuv3.c	Arm SMMUv3	on smmu_hw.c
 *	amd.c		AMD		no model: one level of vtd_hw.c
 *	mock.c		what the kernel's iommufd selftest has instead of hardware
 *
 * Operations that are optional say so: NULL is what a driver without it is to the core,
 * mostly EOPNOTSUPP. All of them are called with soft_ctx.lock held unless they say otherwise,
 * but for different contexts at the same time.
 */
#ifndef HOST_SOFT_IOMMU_H
#define HOST_SOFT_IOMMU_H

#include "host/soft/selftest/mock_abi.h"

#include <nestor/soft_host.h>

#include <linux/iommufd.h>
#include <stdbool.h>

struct endpoint_ats_reply;
struct endpoint_ats_request;
struct endpoint_dma_request;
struct soft_attachment;
struct soft_bound;
struct soft_ctx;
struct soft_device;
struct soft_host;
struct soft_hwpt;
struct soft_hwpt_nested;
struct soft_hwpt_paging;
struct soft_ucmd;
struct soft_viommu;

/* The largest of what GET_HW_INFO says of any hardware. */
union soft_hw_info {
	struct iommu_hw_info_vtd vtd;
	struct iommu_hw_info_arm_smmuv3 smmuv3;
	struct iommu_hw_info_amd amd;
	struct selftest_hw_info selftest;
};

struct soft_iommu {
	const struct soft_iommu_ops *ops;
	const struct nst_log *log;
	struct soft_host *host;
	bool quirks;
};

#define SOFT_MAX_WINDOWS 2

struct soft_window {
	uint64_t start, last; /* last 0: none */
};

struct soft_iommu_ops {
	void (*destroy)(struct soft_iommu *iommu);

	bool has_own_devices; /* no endpoint can be plugged in: the driver makes all there are */
	/* IOMMU_TEST_CMD; optional. */
	int (*test_ioctl)(struct soft_ctx *ctx, struct soft_ucmd *ucmd);

	/* What GET_HW_INFO answers. */
	uint32_t hw_info_type;
	uint32_t hw_info_size;
	void (*hw_info)(struct soft_iommu *iommu, union soft_hw_info *info);
	bool (*has_dirty_tracking)(const struct soft_device *dev);

	/* Device TLBs and page requests are served, and the driver enables them in devices. */
	bool has_ats, has_pri;

	/* Addresses no device's DMA may be mapped at, those of interrupts first. */
	struct soft_window windows[SOFT_MAX_WINDOWS];

	/*
	 * A domain on an IOAS: aperture_last and what else the flags ask for. The core has
	 * dealt with IOMMU_HWPT_FAULT_ID_VALID. Errors: -EOPNOTSUPP, -EINVAL, -ENOMEM.
	 */
	int (*paging_init)(const struct soft_device *dev, uint32_t flags,
			   struct soft_hwpt_paging *paging);
	/* After it, what the caller's data ask for. Optional. */
	int (*paging_data)(const struct iommu_hwpt_alloc *cmd, struct soft_hwpt_paging *paging);
	/* Undoes both; the domain is attached nowhere. Optional. */
	void (*paging_fini)(struct soft_iommu *iommu, struct soft_hwpt_paging *paging);
	/* 0 or -EINVAL: a mapping with enum range_map_perm that this domain can't have. */
	int (*check_map)(const struct soft_hwpt_paging *paging, unsigned int perm);

	/*
	 * A nested HWPT straight on its parent; nested->parent is set. Only looks at the data.
	 * Optional. Errors: -EOPNOTSUPP, -EINVAL, -EIO, -EFAULT.
	 */
	int (*nested_init)(const struct iommu_hwpt_alloc *cmd, struct soft_hwpt_nested *nested);
	/* IOMMU_HWPT_INVALIDATE of it; *@done counts what was done, also on failure. */
	int (*nested_invalidate)(struct soft_iommu *iommu, struct soft_hwpt_nested *nested,
				 const struct iommu_hwpt_invalidate *cmd, uint32_t *done);

	/* vIOMMUs: viommu.h. NULL: the type is not supported. */
	const struct soft_viommu_ops *(*viommu_ops)(const struct soft_device *dev, uint32_t type);

	/* An HWPT with a fault queue can't be attached to a device without PRI. */
	bool faults_need_pri;
	/* Beside PASID_VALID in what fault queues say of a request with a PASID. */
	uint32_t pasid_fault_flags;
	/* A nested HWPT of the RID is for all PASIDs: it gets the requests of those that have no
	 * attachment. */
	bool user_pasid_table;
	/*
	 * Requests of @bound with @pasid now go through @hwpt, or (detach) are refused. What the
	 * caches hold of the HWPT before is still there: forget() comes next, once per
	 * attach() that succeeded, and empties them. A failed attach() changes nothing.
	 * Errors: -EINVAL, -ENODEV, -ENOENT, -ENOSPC, -ENOMEM.
	 */
	int (*attach)(struct soft_bound *bound, uint32_t pasid, struct soft_hwpt *hwpt);
	void (*detach)(struct soft_bound *bound, uint32_t pasid);
	void (*forget)(struct soft_bound *bound, uint32_t pasid, struct soft_hwpt *old);
	/* Tags of the caches that are given out; 0 when nothing is attached. */
	unsigned int (*tags_in_use)(struct soft_iommu *iommu);

	/* --- the hardware; any thread ------------------------------------------------------ */

	/* Around a change of an IOAS; end() empties the caches of second-stage addresses if
	 * @flush. Between them nothing of this table may be called. */
	void (*map_begin)(struct soft_iommu *iommu);
	void (*map_end)(struct soft_iommu *iommu, bool flush);
	/* As endpoint_bus_ops.dma. No lock of the host is held but, in a register access, the
	 * device's. */
	int (*dma)(struct soft_device *dev, const struct endpoint_dma_request *req);
	/* As endpoint_bus_ops.translate. */
	int (*translate)(struct soft_device *dev, const struct endpoint_ats_request *req,
			 struct endpoint_ats_reply *reply);
	/* As endpoint_bus_ops.may_wait. Optional: no DMA waits. */
	void (*may_stall)(struct soft_device *dev, bool may);
	void (*get_stats)(struct soft_iommu *iommu, struct nst_soft_stats *stats);
	void (*drop_invalidation)(struct soft_iommu *iommu, uint64_t after_dma_write_bytes);
};

/* The host has its sanitizer. -ENOMEM. */
NST_MUST_CHECK int soft_vtd_create(const struct nst_soft_config *config, struct soft_host *host,
				   struct soft_iommu **out);
NST_MUST_CHECK int soft_amd_create(const struct nst_soft_config *config, struct soft_host *host,
				   struct soft_iommu **out);
NST_MUST_CHECK int soft_smmuv3_create(const struct nst_soft_config *config, struct soft_host *host,
				      struct soft_iommu **out);
NST_MUST_CHECK int soft_mock_create(const struct nst_soft_config *config, struct soft_host *host,
				    struct soft_iommu **out);

#endif
