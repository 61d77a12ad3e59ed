// SPDX-License-Identifier: BSD-3-Clause
/* See page_service.h. */
#include "viommu/page_service.h"

#include "base/alloc.h"

#include <errno.h>

/* In the guest's queue, and not answered. */
struct page_service_group {
	struct page_service_group *next;
	uint32_t pasid; /* or NST_NO_PASID */
	unsigned int index;
};

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

int page_service_prepare(struct page_service_request *r, uint32_t pasid, unsigned int index,
			 const struct nst_page *pages, size_t count)
{
	*r = (struct page_service_request){
		.faults = alloc_array(count, sizeof(*r->faults)),
		.count = count,
		.group = alloc_object(struct page_service_group),
	};
	if (!r->faults || !r->group) {
		page_service_finish(r);
		return -ENOMEM;
	}
	r->group->pasid = pasid;
	r->group->index = index;
	for (size_t i = 0; i < count; i++)
		r->faults[i] = make_fault(pasid, index, &pages[i]);
	return 0;
}

void page_service_finish(struct page_service_request *r)
{
	free(r->faults);
	free(r->group);
}

static struct page_service_group **find_group(struct notifier *n, uint32_t pasid,
					      unsigned int index)
{
	struct page_service_group **link = &n->groups;

	while (*link && ((*link)->pasid != pasid || (*link)->index != index))
		link = &(*link)->next;
	return link;
}

bool page_service_waits(struct notifier *list, nst_rid rid, uint32_t pasid, unsigned int index)
{
	for (struct notifier *n = list; n; n = n->next)
		if (n->base.config.rid == rid && *find_group(n, pasid, index))
			return true;
	return false;
}

void page_service_wait(struct notifier *n, struct page_service_request *r)
{
	r->group->next = n->groups;
	n->groups = r->group;
	r->group = NULL;
}

/* Takes @link's group out, and tells. */
static void answer_group(struct notifier *n, struct page_service_group **link,
			 enum nst_page_answer answer)
{
	const struct nst_notifier_config *config = &n->base.config;
	struct page_service_group *group = *link;

	*link = group->next;
	config->page_response(config->opaque, group->pasid, group->index, answer);
	free(group);
}

bool page_service_answer(struct notifier *list, nst_rid rid, uint32_t pasid, unsigned int index,
			 enum nst_page_answer answer)
{
	for (struct notifier *n = list; n; n = n->next) {
		struct page_service_group **link;

		if (n->base.config.rid != rid)
			continue;
		link = find_group(n, pasid, index);
		if (!*link)
			continue;
		answer_group(n, link, answer);
		return true;
	}
	return false;
}

void page_service_reset(struct notifier *list)
{
	for (struct notifier *n = list; n; n = n->next)
		while (n->groups)
			answer_group(n, &n->groups, NST_PAGE_FAILURE);
}

void page_service_forget(struct notifier *n)
{
	while (n->groups) {
		struct page_service_group *group = n->groups;

		n->groups = group->next;
		free(group);
	}
}
