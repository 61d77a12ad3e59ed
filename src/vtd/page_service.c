// SPDX-License-Identifier: BSD-3-Clause
/*
 * Page requests of emulated devices: VT-d 4.1 s7.4 to s7.7.
 *
 *	nst_notifier_page_request() -> guest's page request queue, PPR, MSI
 *	page_response() <- page group response descriptor
 *
 * The guest's queue is the one of passed-through devices too (page_request.c). A group is
 * named by requester, PASID and index, and waits on its notifier's list until it is
 * answered, the unit is reset or the notifier goes.
 */
#include "vtd/unit.h"

#include "base/alloc.h"
#include "spec/vtd_caps.h"
#include "spec/vtd_tables.h"

#include <errno.h>

static struct vtd_service_group **find_group(struct vtd_notifier *n, uint32_t pasid,
					     unsigned int index)
{
	struct vtd_service_group **link = &n->groups;

	while (*link && ((*link)->pasid != pasid || (*link)->index != index))
		link = &(*link)->next;
	return link;
}

/* The guest has to let the device ask (PRE), and to have an entry for what it asks of. */
static bool may_ask(struct vtd_unit *u, nst_rid rid, uint32_t pasid) REQUIRES(u->cmd_lock)
{
	struct vtd_tables tables = vtd_tables_of(u);
	struct vtd_lookup lookup;

	return u->translating && (u->ecap & VTD_ECAP_PRS) &&
	       !vtd_tables_find(&tables, rid, pasid, &lookup) && lookup.page_requests &&
	       (le64_get(lookup.entry.qw[0]) & VTD_PASID_P);
}

static struct iommu_hwpt_pgfault make_fault(uint32_t pasid, unsigned int group,
					    const struct nst_page *page)
{
	return (struct iommu_hwpt_pgfault){
		.flags = pasid == NST_NO_PASID ? 0 : IOMMU_PGFAULT_FLAGS_PASID_VALID,
		.pasid = pasid == NST_NO_PASID ? 0 : pasid,
		.grpid = group,
		.perm = (page->read ? IOMMU_PGFAULT_PERM_READ : 0) |
			(page->write ? IOMMU_PGFAULT_PERM_WRITE : 0) |
			(page->execute ? IOMMU_PGFAULT_PERM_EXEC : 0) |
			(page->privileged ? IOMMU_PGFAULT_PERM_PRIV : 0),
		.addr = page->iova.v,
	};
}

/* Under one name only one group waits, whichever notifier of the device asked. */
static bool is_waiting(struct vtd_unit *u, nst_rid rid, uint32_t pasid, unsigned int index)
	REQUIRES(u->cmd_lock)
{
	for (struct vtd_notifier *n = u->xlate.notifiers; n; n = n->next)
		if (n->base.config.rid == rid && *find_group(n, pasid, index))
			return true;
	return false;
}

/* Takes @group unless it is answered at once. */
static int request_locked(struct vtd_unit *u, struct vtd_notifier *n,
			  struct vtd_service_group *group, const struct iommu_hwpt_pgfault *faults,
			  size_t count, enum nst_page_answer *answer) REQUIRES(u->cmd_lock)
{
	nst_rid rid = n->base.config.rid;
	int code;

	if (is_waiting(u, rid, group->pasid, group->index))
		return -EEXIST;
	*answer = NST_PAGE_INVALID;
	if (!may_ask(u, rid, group->pasid))
		return 0;
	code = vtd_page_group_write(u, faults, count, rid);
	if (code >= 0) {
		*answer = code == IOMMUFD_PAGE_RESP_SUCCESS ? NST_PAGE_SUCCESS : NST_PAGE_INVALID;
		return 0;
	}
	group->next = n->groups;
	n->groups = group;
	u->page_requests++;
	*answer = NST_PAGE_PENDING;
	return 0;
}

int vtd_page_request(struct nst_notifier *notifier, uint32_t pasid, unsigned int group,
		     const struct nst_page *pages, size_t count, enum nst_page_answer *answer)
{
	struct vtd_unit *u = to_vtd_unit(notifier->viommu);
	struct vtd_notifier *n = container_of(notifier, struct vtd_notifier, base);
	struct iommu_hwpt_pgfault *faults = alloc_array(count, sizeof(*faults));
	struct vtd_service_group *g = alloc_object(struct vtd_service_group);
	enum nst_page_answer given = NST_PAGE_INVALID;
	int ret = -ENOMEM;

	if (faults && g) {
		g->pasid = pasid;
		g->index = group;
		for (size_t i = 0; i < count; i++)
			faults[i] = make_fault(pasid, group, &pages[i]);
		mutex_lock(&u->cmd_lock);
		ret = request_locked(u, n, g, faults, count, &given);
		mutex_unlock(&u->cmd_lock);
	}
	free(faults);
	if (ret || given != NST_PAGE_PENDING)
		free(g);
	if (!ret)
		*answer = given;
	return ret;
}

bool vtd_page_service_answer(struct vtd_unit *u, const struct vtd_desc *d)
{
	uint32_t pasid = d->response.has_pasid ? d->pasid : NST_NO_PASID;
	enum nst_page_answer answer = d->response.code == 0   ? NST_PAGE_SUCCESS
				      : d->response.code == 1 ? NST_PAGE_INVALID
							      : NST_PAGE_FAILURE;

	for (struct vtd_notifier *n = u->xlate.notifiers; n; n = n->next) {
		struct vtd_service_group **link, *group;

		if (n->base.config.rid != d->sid)
			continue;
		link = find_group(n, pasid, d->response.group);
		group = *link;
		if (!group)
			continue;
		*link = group->next;
		free(group);
		u->page_responses++;
		n->base.config.page_response(n->base.config.opaque, pasid, d->response.group,
					     answer);
		return true;
	}
	return false;
}

void vtd_page_service_reset(struct vtd_unit *u)
{
	for (struct vtd_notifier *n = u->xlate.notifiers; n; n = n->next)
		while (n->groups) {
			struct vtd_service_group *group = n->groups;

			n->groups = group->next;
			n->base.config.page_response(n->base.config.opaque, group->pasid,
						     group->index, NST_PAGE_FAILURE);
			free(group);
		}
}
