/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Page requests of emulated devices (nst_notifier_page_request()): what is the same for every kind
 * of unit.
 *
 *	nst_notifier_page_request() -> guest's page request queue
 *	page_response() <- the guest's command that answers
 *
 * A group is named by requester, PASID and index, and waits on its notifier's list until it is
 * answered, the unit is reset or the notifier goes. All with the unit's command lock held but for
 * the making and the end of a struct page_service_request.
 */
#ifndef VIOMMU_PAGE_SERVICE_H
#define VIOMMU_PAGE_SERVICE_H

#include "viommu/notify.h"

/* One group on its way in, as the host's records of passed-through devices are. */
struct page_service_request {
	struct iommu_hwpt_pgfault *faults;
	size_t count;
	struct page_service_group *group;
};

/* -ENOMEM. */
NST_MUST_CHECK int page_service_prepare(struct page_service_request *r, uint32_t pasid,
					unsigned int index, const struct nst_page *pages,
					size_t count);
void page_service_finish(struct page_service_request *r);

/* Does a group of this name wait, whichever notifier of the device asked? */
bool page_service_waits(struct notifier *list, nst_rid rid, uint32_t pasid, unsigned int index);
/* @r is in the guest's queue: it waits, and belongs to @n. */
void page_service_wait(struct notifier *n, struct page_service_request *r);
/* The guest answers. False: no such group waits. */
NST_MUST_CHECK bool page_service_answer(struct notifier *list, nst_rid rid, uint32_t pasid,
					unsigned int index, enum nst_page_answer answer);
/* All that waits is answered as failed. */
void page_service_reset(struct notifier *list);
/* @n is on no list any more. */
void page_service_forget(struct notifier *n);

#endif
