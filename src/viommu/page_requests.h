/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Page requests of passed-through devices: what is the same for every kind of unit.
 *
 *	device -> host's fault queue -> take -> the unit's queue for the guest
 *	device <- host <- cookie <- the guest's command that answers
 *
 * The host gives a group as a whole and names it by a cookie; the guest names it by
 * requester, PASID and index. A group that is with the guest is remembered until it is
 * answered. What the host attaches anew or detaches it has answered by itself, and gives
 * the cookie to somebody else; so a group counts only as long as the attachment it came
 * from (attach_point.change), and what the guest says of it later is ignored.
 *
 * A group ends, too, with a reset of its device, and when the VMM says that its time is over
 * (nst_viommu_expire_page_requests()): these the host knows nothing of, so they are answered here.
 *
 * All with the unit's command lock held.
 */
#ifndef VIOMMU_PAGE_REQUESTS_H
#define VIOMMU_PAGE_REQUESTS_H

#include "viommu/attach.h"
#include "viommu/wakeup.h"

struct page_group; /* with the guest, and not answered */

/* What the guest calls a group. */
struct page_group_name {
	nst_rid rid;
	uint32_t pasid; /* or NST_NO_PASID */
	uint32_t index;
};

struct page_requests_ops {
	/* The attachment that a group so called comes from now; NULL: nothing. */
	const struct attach_point *(*attachment)(void *unit, const struct page_group_name *name);
	/*
	 * A group that has come, to the guest. Returns how it is answered at once, or -1 and in
	 * *@name what the guest knows it by.
	 */
	int (*give)(void *unit, const struct iommu_hwpt_pgfault *faults, size_t count,
		    struct page_group_name *name);
};

struct page_requests {
	const struct page_requests_ops *ops;
	void *unit;
	struct attach_table *table; /* its fault_id is the queue's */
	const struct wakeup *wakeup;
	int fd; /* -1: there is no queue yet */
	struct iommu_hwpt_pgfault *records;
	struct page_group *groups;
	/* of emulated devices too: groups in the guest's queue, its answers to somebody, to nobody
	 */
	uint64_t requests, responses, unknown_responses;
	uint64_t expired;
};

void page_requests_init(struct page_requests *pr, const struct page_requests_ops *ops, void *unit,
			struct attach_table *table, const struct wakeup *wakeup);
/* The host's queue, if it is not there. Errors: the host's, or -ENOMEM. */
NST_MUST_CHECK int page_requests_open(struct page_requests *pr);
void page_requests_fini(struct page_requests *pr);
/* What has come, to the guest. */
void page_requests_take(struct page_requests *pr);
/* Forget groups of attachments that are no more: the host has answered them. */
void page_requests_prune(struct page_requests *pr);
/* @rid's device forgets what it has asked for: what is with the guest is answered as invalid. */
void page_requests_cancel(struct page_requests *pr, nst_rid rid);
/* The same with what was given to the guest before the last call. */
void page_requests_expire(struct page_requests *pr);
/* The guest's answer, of enum iommufd_page_response_code; false: no such group. */
NST_MUST_CHECK bool page_requests_answer(struct page_requests *pr,
					 const struct page_group_name *name, uint32_t code);

#endif
