/* SPDX-License-Identifier: BSD-3-Clause */
/* Page requests of devices, on their way to fault queues and back. See fault.c. */
#ifndef HOST_SOFT_FAULT_H
#define HOST_SOFT_FAULT_H

#include "host/soft/hwpt.h"

struct soft_fault_group;
struct soft_bound;
struct soft_device;

void soft_fault_destroy(struct soft_ctx *ctx, struct soft_object *obj) REQUIRES(&ctx->lock);
/* -ENOENT */
NST_MUST_CHECK int soft_hwpt_hold_fault(struct soft_ctx *ctx, struct soft_hwpt *hwpt,
					uint32_t fault_id) REQUIRES(&ctx->lock);
void soft_hwpt_put_fault(struct soft_hwpt *hwpt);

/* Before @hwpt is attached: -ENODEV if it wants page requests and @dev has none, -ENOMEM. */
NST_MUST_CHECK int soft_fault_prepare(struct soft_device *dev, const struct soft_hwpt *hwpt);
/* After it was; NULL: detached. What waits of the old attachment is answered INVALID. */
void soft_fault_switch(struct soft_bound *bound, uint32_t pasid, const struct soft_hwpt *hwpt);

/* What PCIe calls a Page Request Message, PCIe 6.0 s10.4.1. */
struct soft_page_request {
	uint32_t pasid; /* or NST_NO_PASID */
	uint32_t group; /* index of the group */
	uint32_t perm;	/* IOMMU_PGFAULT_PERM_* */
	uint64_t addr;
	bool last; /* of its group */
};

/*
 * @code: IOMMUFD_PAGE_RESP_*. Comes in any thread, perhaps before the report returns; of
 * our locks at most ctx.lock is held, so locks of the endpoint may be taken; it must not
 * call the host.
 */
typedef void soft_page_response_fn(void *opaque, uint32_t code);

/*
 * For endpoints with PRI: ask for a page. A group of requests is answered once, through the
 * @done of its last one; those before it need none. Where nobody listens the answer is INVALID.
 */
void soft_report_page_request(struct soft_device *dev, const struct soft_page_request *req,
			      soft_page_response_fn *done, void *opaque);
/* The device is quiet: forget groups of which the last request has not come. */
void soft_fault_forget_requests(struct soft_device *dev);
/* The same for one group. */
void soft_fault_forget_group(struct soft_device *dev, uint32_t group);

#endif
