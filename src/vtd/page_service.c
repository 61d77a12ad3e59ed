// SPDX-License-Identifier: BSD-3-Clause
/*
 * Page requests of emulated devices, for VT-d: viommu/page_service.h. The guest's queue is the one
 * of passed-through devices too (page_request.c). VT-d 4.1 s7.4 to s7.7.
 */
#include "vtd/unit.h"

#include "spec/vtd_caps.h"
#include "spec/vtd_tables.h"
#include "viommu/page_service.h"

#include <errno.h>

/* The guest has to let the device ask (PRE), and to have an entry for what it asks of. */
static bool may_ask(struct vtd_unit *u, nst_rid rid, uint32_t pasid) REQUIRES(u->cmd_lock)
{
	struct vtd_tables tables = vtd_tables_of(u);
	struct vtd_lookup lookup;

	return u->translating && (u->ecap & VTD_ECAP_PRS) &&
	       !vtd_tables_find(&tables, rid, pasid, &lookup) && lookup.page_requests &&
	       (le64_get(lookup.entry.qw[0]) & VTD_PASID_P);
}

static int request_locked(struct vtd_unit *u, struct notifier *n, uint32_t pasid,
			  unsigned int group, struct page_service_request *r,
			  enum nst_page_answer *answer) REQUIRES(u->cmd_lock)
{
	nst_rid rid = n->base.config.rid;
	int code;

	if (page_service_waits(u->xlate.notifiers, rid, pasid, group))
		return -EEXIST;
	*answer = NST_PAGE_INVALID;
	if (!may_ask(u, rid, pasid))
		return 0;
	code = vtd_page_group_write(u, r->faults, r->count, rid);
	if (code >= 0) {
		*answer = code == IOMMUFD_PAGE_RESP_SUCCESS ? NST_PAGE_SUCCESS : NST_PAGE_INVALID;
		return 0;
	}
	page_service_wait(n, r);
	u->page.requests++;
	*answer = NST_PAGE_PENDING;
	return 0;
}

int vtd_page_request(struct nst_notifier *notifier, uint32_t pasid, unsigned int group,
		     const struct nst_page *pages, size_t count, enum nst_page_answer *answer)
{
	struct vtd_unit *u = to_vtd_unit(notifier->viommu);
	struct page_service_request r;
	int ret = page_service_prepare(&r, pasid, group, pages, count);

	if (ret)
		return ret;
	mutex_lock(&u->cmd_lock);
	ret = request_locked(u, to_notifier(notifier), pasid, group, &r, answer);
	mutex_unlock(&u->cmd_lock);
	page_service_finish(&r);
	return ret;
}

bool vtd_page_service_answer(struct vtd_unit *u, const struct vtd_desc *d)
{
	uint32_t pasid = d->response.has_pasid ? d->pasid : NST_NO_PASID;
	enum nst_page_answer answer = d->response.code == 0   ? NST_PAGE_SUCCESS
				      : d->response.code == 1 ? NST_PAGE_INVALID
							      : NST_PAGE_FAILURE;

	if (!page_service_answer(u->xlate.notifiers, d->sid, pasid, d->response.group, answer))
		return false;
	u->page.responses++;
	return true;
}
