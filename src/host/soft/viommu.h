/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vIOMMUs: a slice of the hardware that is one guest's, and what belongs to it.
 *
 *	VIOMMU --> nesting parent         VDEVICE --> VIOMMU, and the bound device
 *	HWPT_NESTED --> VIOMMU            VEVENTQ --> VIOMMU
 *	                                  HW_QUEUE --> VIOMMU, HW_QUEUE of the index before
 *
 * A vDEVICE says by which number the guest knows a device. It may go while its device is
 * attached. When the device is unbound it ends, and leaves a tombstone: its id is never
 * given out again, because the program may still believe that it holds it.
 */
#ifndef HOST_SOFT_VIOMMU_H
#define HOST_SOFT_VIOMMU_H

#include "host/soft/soft.h"
#include "host/soft/hwpt.h"
#include "host/soft/attach.h"

struct soft_access;
struct soft_hw_queue;
struct soft_vdevice;
struct soft_veventq;

struct soft_viommu {
	struct soft_object obj;
	const struct soft_viommu_ops *ops;
	struct soft_ctx *ctx;
	struct soft_hwpt_paging *parent;
	struct soft_vdevice *vdevices;
	struct soft_veventq *veventqs; /* changed with soft_host.fault_lock held too */
};

struct soft_vdevice {
	struct soft_object obj;
	struct soft_viommu *viommu;
	struct soft_bound *bound;
	struct soft_vdevice *next;
	uint64_t virt_id;
};

/* What a driver does with vIOMMUs of one type; with soft_ctx.lock held. */
struct soft_viommu_ops {
	size_t size;	       /* of the driver's structure, which begins with a soft_viommu */
	uint64_t virt_id_last; /* what its commands can name */
	/* Optional. Errors: any; then there is no vIOMMU. */
	int (*init)(struct soft_viommu *viommu, const struct iommu_viommu_alloc *cmd);
	void (*fini)(struct soft_viommu *viommu);
	/* nested->viommu is set. Errors: -EOPNOTSUPP, -EINVAL, -EIO, -EFAULT. */
	int (*nested_init)(struct soft_viommu *viommu, const struct iommu_hwpt_alloc *cmd,
			   struct soft_hwpt_nested *nested);
	/* *@done is what IOMMU_HWPT_INVALIDATE writes back, also on failure. */
	int (*invalidate)(struct soft_viommu *viommu, const struct iommu_hwpt_invalidate *cmd,
			  uint32_t *done);
	/* The size of the driver's structure for queues of @type, which begins with a
	 * soft_hw_queue; 0: there is no such type. Optional. */
	size_t (*hw_queue_size)(struct soft_viommu *viommu, uint32_t type);
	/* With it; @queue is filled. Errors: any; then there is no queue. */
	int (*hw_queue_init)(struct soft_hw_queue *queue, uint32_t index);
	void (*hw_queue_fini)(struct soft_hw_queue *queue);
};

/* A queue in guest memory that hardware reads without translation; hw_queue.c. */
struct soft_hw_queue {
	struct soft_object obj;
	struct soft_viommu *viommu;
	struct soft_access *access; /* pins the memory */
	uint32_t type;
	uint64_t iova, length; /* in the nesting parent */
};

struct soft_viommu *soft_viommu_find(struct soft_ctx *ctx, uint32_t id) REQUIRES(&ctx->lock);
void soft_hw_queue_destroy(struct soft_ctx *ctx, struct soft_object *obj) REQUIRES(&ctx->lock);
void soft_viommu_destroy(struct soft_ctx *ctx, struct soft_object *obj) REQUIRES(&ctx->lock);
void soft_vdevice_destroy(struct soft_ctx *ctx, struct soft_object *obj) REQUIRES(&ctx->lock);
void soft_veventq_destroy(struct soft_ctx *ctx, struct soft_object *obj) REQUIRES(&ctx->lock);

/* The vDEVICE of @bound, or NULL. */
struct soft_vdevice *soft_vdevice_of(const struct soft_viommu *viommu,
				     const struct soft_bound *bound);
struct soft_vdevice *soft_vdevice_by_virt_id(const struct soft_viommu *viommu, uint64_t virt_id);
/* @bound leaves its context. */
void soft_vdevice_orphan(struct soft_ctx *ctx, struct soft_bound *bound) REQUIRES(&ctx->lock);

/*
 * An event for the program, of @type (IOMMU_VEVENTQ_TYPE_*). Thread: any, with
 * soft_host.fault_lock held. -EOPNOTSUPP if there is no queue of the type.
 */
NST_MUST_CHECK int soft_viommu_report_event(struct soft_viommu *viommu, uint32_t type,
					    const void *data, size_t size);

#endif
