// SPDX-License-Identifier: BSD-3-Clause
/* See page_requests.h. */
#include "viommu/page_requests.h"

#include "base/alloc.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>

/* A group is read whole: at least as many as a device can have outstanding. */
enum { MAX_RECORDS = 8192 };

struct page_group {
	struct page_group *next;
	struct page_group_name name;
	uint32_t cookie;
	uint64_t change; /* of its attachment */
	bool old;	 /* has seen one page_requests_expire() */
};

void page_requests_init(struct page_requests *pr, const struct page_requests_ops *ops, void *unit,
			struct attach_table *table, const struct wakeup *wakeup)
{
	*pr = (struct page_requests){
		.ops = ops,
		.unit = unit,
		.table = table,
		.wakeup = wakeup,
		.fd = -1,
	};
}

int page_requests_open(struct page_requests *pr)
{
	struct iommufd *iommufd = &pr->table->vm->iommufd;
	int ret, fd;

	if (pr->fd >= 0)
		return 0;
	if (!pr->records)
		pr->records = alloc_array(MAX_RECORDS, sizeof(*pr->records));
	if (!pr->records)
		return -ENOMEM;
	ret = iommufd_fault_queue_alloc(iommufd, &pr->table->fault_id, &fd);
	if (ret)
		return ret;
	ret = wakeup_watch(pr->wakeup, fd);
	if (ret) {
		iommufd->host->ops->close(iommufd->host, fd);
		iommufd_destroy(iommufd, pr->table->fault_id);
		return ret;
	}
	pr->fd = fd;
	return 0;
}

void page_requests_fini(struct page_requests *pr)
{
	struct iommufd *iommufd = &pr->table->vm->iommufd;

	while (pr->groups) {
		struct page_group *group = pr->groups;

		pr->groups = group->next;
		free(group);
	}
	free(pr->records);
	if (pr->fd < 0)
		return;
	iommufd->host->ops->close(iommufd->host, pr->fd);
	if (iommufd_destroy(iommufd, pr->table->fault_id))
		log_error(pr->table->log, "the fault queue cannot be destroyed");
}

/* --- groups ------------------------------------------------------------------------------ */

static bool is_alive(struct page_requests *pr, const struct page_group *group)
{
	const struct attach_point *point = pr->ops->attachment(pr->unit, &group->name);

	return point && point->change == group->change;
}

void page_requests_prune(struct page_requests *pr)
{
	struct page_group **link = &pr->groups;

	while (*link) {
		struct page_group *group = *link;

		pr->table->work++;
		if (is_alive(pr, group)) {
			link = &group->next;
			continue;
		}
		*link = group->next;
		free(group);
	}
}

/* To the host. Returns whether it takes it. */
static bool respond(struct page_requests *pr, uint32_t cookie, uint32_t code)
{
	struct nst_host *host = pr->table->vm->iommufd.host;
	struct iommu_hwpt_page_response response = { .cookie = cookie, .code = code };
	ssize_t n = host->ops->write(host, pr->fd, &response, sizeof(response));

	if (n == sizeof(response))
		return true;
	log_warn(pr->table->log, "the host takes no answer to page request %u: %s", cookie,
		 n < 0 ? strerror((int)-n) : "nothing written");
	pr->unknown_responses++;
	return false;
}

/* Answered as invalid, which the guest did not do; what it still says of it is unknown. */
static void end_group(struct page_requests *pr, struct page_group **link)
{
	struct page_group *group = *link;

	*link = group->next;
	respond(pr, group->cookie, IOMMUFD_PAGE_RESP_INVALID);
	free(group);
}

void page_requests_cancel(struct page_requests *pr, nst_rid rid)
{
	struct page_group **link = &pr->groups;

	page_requests_take(pr); /* also what nobody has looked at yet */
	while (*link) {
		if ((*link)->name.rid == rid)
			end_group(pr, link);
		else
			link = &(*link)->next;
	}
}

void page_requests_expire(struct page_requests *pr)
{
	struct page_group **link = &pr->groups;

	page_requests_prune(pr);
	while (*link) {
		const struct page_group_name *name = &(*link)->name;

		if ((*link)->old) {
			log_warn(pr->table->log,
				 "the guest does not answer page request %u of device "
				 "%02x:%02x.%x",
				 name->index, name->rid >> 8, name->rid >> 3 & 31, name->rid & 7);
			pr->expired++;
			end_group(pr, link);
		} else {
			(*link)->old = true;
			link = &(*link)->next;
		}
	}
}

/* --- to the guest -------------------------------------------------------------------------- */

/* Returns how the group is answered at once, or -1 if it is with the guest. */
static int take_group(struct page_requests *pr, const struct iommu_hwpt_pgfault *faults,
		      size_t count)
{
	struct page_group *group = alloc_object(struct page_group);
	int code;

	if (!group)
		return IOMMUFD_PAGE_RESP_INVALID;
	code = pr->ops->give(pr->unit, faults, count, &group->name);
	if (code >= 0) {
		free(group);
		return code;
	}
	group->next = pr->groups;
	group->cookie = faults->cookie;
	group->change = pr->ops->attachment(pr->unit, &group->name)->change;
	pr->groups = group;
	return -1;
}

void page_requests_take(struct page_requests *pr)
{
	struct nst_host *host = pr->table->vm->iommufd.host;
	size_t first = 0, count;
	ssize_t n;

	if (pr->fd < 0)
		return;
	page_requests_prune(pr);
	n = host->ops->read(host, pr->fd, pr->records, MAX_RECORDS * sizeof(*pr->records));
	if (n < 0) {
		log_error(pr->table->log, "page requests cannot be read: %s", strerror((int)-n));
		return;
	}
	count = (size_t)n / sizeof(*pr->records);
	pr->table->work += count;
	/* all records of a group stand together, and have its cookie */
	for (size_t i = 0; i < count; i++) {
		const struct iommu_hwpt_pgfault *faults = &pr->records[first];
		int code;

		if (i + 1 < count && pr->records[i + 1].cookie == faults->cookie)
			continue;
		code = take_group(pr, faults, i + 1 - first);
		first = i + 1;
		if (code >= 0)
			respond(pr, faults->cookie, (uint32_t)code);
	}
}

/* --- from the guest ------------------------------------------------------------------------ */

bool page_requests_answer(struct page_requests *pr, const struct page_group_name *name,
			  uint32_t code)
{
	struct page_group **link = &pr->groups, *group;

	page_requests_prune(pr);
	while (*link && ((*link)->name.rid != name->rid || (*link)->name.pasid != name->pasid ||
			 (*link)->name.index != name->index))
		link = &(*link)->next;
	group = *link;
	if (!group)
		return false;
	*link = group->next;
	if (respond(pr, group->cookie, code))
		pr->responses++;
	free(group);
	return true;
}
