// SPDX-License-Identifier: BSD-3-Clause
/*
 * Page requests: VT-d 4.1 s7.4 to s7.7.
 *
 *	device -> host's fault queue -> take -> guest's page request queue, PPR, MSI
 *	device <- host <- cookie <- page group response descriptor <- guest
 *
 * The host gives a group as a whole and names it by a cookie; the guest names it by
 * requester, PASID and index. A group that is with the guest is remembered until it is
 * answered. What the host attaches anew or detaches it has answered by itself, and gives
 * the cookie to somebody else; so a group counts only as long as the attachment it came
 * from (attach_point.change), and what the guest says of it later is ignored.
 *
 * Who makes no place in its queue gets none (PRO): the device is told to try again.
 *
 * A group ends, too, with a reset of its device, and when the VMM says that its time is over
 * (nst_viommu_expire_page_requests()): these the host knows nothing of, so they are answered here.
 */
#include "vtd/unit.h"

#include "base/alloc.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>

/* A group is read whole: at least as many as a device can have outstanding. */
enum { MAX_RECORDS = 8192 };

/* s7.4.1.1 Page Request Descriptor */
struct page_request {
	le64 qw[4];
};
_Static_assert(sizeof(struct page_request) == 32, "page request descriptor");

#define REQUEST_TYPE 1ULL /* qword 0 */
#define REQUEST_PP BIT64(8)
#define REQUEST_RID GENMASK64(31, 16)
#define REQUEST_PASID GENMASK64(51, 32)
#define REQUEST_EXE BIT64(52)
#define REQUEST_PM BIT64(53)
#define REQUEST_RD BIT64(0) /* qword 1 */
#define REQUEST_WR BIT64(1)
#define REQUEST_LPIG BIT64(2)
#define REQUEST_PRGI GENMASK64(11, 3)
#define REQUEST_ADDR GENMASK64(63, 12)

/* With the guest, and not answered. */
struct vtd_page_group {
	struct vtd_page_group *next;
	nst_rid rid;
	uint32_t pasid; /* or NST_NO_PASID */
	uint16_t index;
	uint32_t cookie;
	uint64_t change; /* of its attachment */
	bool old;	 /* has seen one vtd_page_groups_expire() */
};

int vtd_page_requests_init(struct vtd_unit *u)
{
	struct iommufd *iommufd = &u->vm->iommufd;
	int ret, fd;

	if (u->fault_fd >= 0)
		return 0;
	if (!u->fault_records)
		u->fault_records = alloc_array(MAX_RECORDS, sizeof(*u->fault_records));
	if (!u->fault_records)
		return -ENOMEM;
	ret = iommufd_fault_queue_alloc(iommufd, &u->attach.fault_id, &fd);
	if (ret)
		return ret;
	ret = wakeup_watch(&u->wakeup, fd);
	if (ret) {
		iommufd->host->ops->close(iommufd->host, fd);
		iommufd_destroy(iommufd, u->attach.fault_id);
		return ret;
	}
	u->fault_fd = fd;
	return 0;
}

void vtd_page_requests_fini(struct vtd_unit *u)
{
	struct iommufd *iommufd = &u->vm->iommufd;

	while (u->page_groups) {
		struct vtd_page_group *group = u->page_groups;

		u->page_groups = group->next;
		free(group);
	}
	free(u->fault_records);
	if (u->fault_fd < 0)
		return;
	iommufd->host->ops->close(iommufd->host, u->fault_fd);
	if (iommufd_destroy(iommufd, u->attach.fault_id))
		log_error(u->log, "vtd: the fault queue cannot be destroyed");
}

/* --- groups ------------------------------------------------------------------------------ */

static struct vtd_device *find_device(struct vtd_unit *u, nst_rid rid)
{
	struct vtd_device *d = u->devices;

	while (d && d->rid != rid)
		d = d->next;
	return d;
}

static bool is_alive(struct vtd_unit *u, const struct vtd_page_group *group)
{
	struct vtd_device *d = find_device(u, group->rid);
	const struct vtd_point *point = d ? vtd_point_find(d, group->pasid) : NULL;

	return point && point->at.change == group->change;
}

void vtd_page_groups_prune(struct vtd_unit *u)
{
	struct vtd_page_group **link = &u->page_groups;

	while (*link) {
		struct vtd_page_group *group = *link;

		u->attach.work++;
		if (is_alive(u, group)) {
			link = &group->next;
			continue;
		}
		*link = group->next;
		free(group);
	}
}

static int answer(struct vtd_unit *u, uint32_t cookie, uint32_t code)
{
	struct nst_host *host = u->vm->iommufd.host;
	struct iommu_hwpt_page_response response = { .cookie = cookie, .code = code };
	ssize_t n = host->ops->write(host, u->fault_fd, &response, sizeof(response));

	if (n == sizeof(response))
		return 0;
	log_warn(u->log, "vtd: the host takes no answer to page request %u: %s", cookie,
		 n < 0 ? strerror((int)-n) : "nothing written");
	return n < 0 ? (int)n : -EIO;
}

static struct vtd_page_group **next_of_device(struct vtd_unit *u, const struct vtd_device *d)
{
	struct vtd_page_group **link = &u->page_groups;

	while (*link && (*link)->rid != d->rid)
		link = &(*link)->next;
	return link;
}

/* Answered as invalid, which the guest did not do; what it still says of it is unknown. */
static void end_group(struct vtd_unit *u, struct vtd_page_group **link)
{
	struct vtd_page_group *group = *link;

	*link = group->next;
	if (answer(u, group->cookie, IOMMUFD_PAGE_RESP_INVALID))
		u->unknown_page_responses++;
	free(group);
}

void vtd_page_groups_cancel(struct vtd_unit *u, const struct nst_device *dev)
{
	struct vtd_device *d = u->devices;
	struct vtd_page_group **link;

	while (d && d->dev != dev)
		d = d->next;
	if (!d)
		return;
	vtd_page_requests_take(u); /* also what nobody has looked at yet */
	while (*(link = next_of_device(u, d)))
		end_group(u, link);
}

void vtd_page_groups_expire(struct vtd_unit *u)
{
	struct vtd_page_group **link = &u->page_groups;

	vtd_page_groups_prune(u);
	while (*link) {
		if ((*link)->old) {
			log_warn(
				u->log,
				"vtd: the guest does not answer page request %u of device %02x:%02x.%x",
				(*link)->index, (*link)->rid >> 8, (*link)->rid >> 3 & 31,
				(*link)->rid & 7);
			u->expired_page_requests++;
			end_group(u, link);
		} else {
			(*link)->old = true;
			link = &(*link)->next;
		}
	}
}

/* --- to the guest -------------------------------------------------------------------------- */

struct page_queue {
	uint64_t base, bytes, head, tail;
};

static struct page_queue read_queue(struct vtd_unit *u)
{
	uint64_t pqa = vtd_reg_get(&u->regs, VTD_PQA);
	uint64_t bytes = PAGE_SIZE_4K << FIELD_GET(VTD_PQA_PQS, pqa);

	return (struct page_queue){
		.base = pqa & VTD_PQA_BASE,
		.bytes = bytes,
		.head = vtd_reg_get(&u->regs, VTD_PQH) & (bytes - 1),
		.tail = vtd_reg_get(&u->regs, VTD_PQT) & (bytes - 1),
	};
}

static struct page_request make_request(const struct iommu_hwpt_pgfault *fault, nst_rid rid,
					bool last)
{
	uint64_t qw0 = REQUEST_TYPE | FIELD_PREP(REQUEST_RID, rid);
	uint64_t qw1 = FIELD_PREP(REQUEST_PRGI, fault->grpid) | (fault->addr & REQUEST_ADDR);

	if (fault->flags & IOMMU_PGFAULT_FLAGS_PASID_VALID)
		qw0 |= REQUEST_PP | FIELD_PREP(REQUEST_PASID, fault->pasid);
	qw0 |= fault->perm & IOMMU_PGFAULT_PERM_EXEC ? REQUEST_EXE : 0;
	qw0 |= fault->perm & IOMMU_PGFAULT_PERM_PRIV ? REQUEST_PM : 0;
	qw1 |= fault->perm & IOMMU_PGFAULT_PERM_READ ? REQUEST_RD : 0;
	qw1 |= fault->perm & IOMMU_PGFAULT_PERM_WRITE ? REQUEST_WR : 0;
	qw1 |= last ? REQUEST_LPIG : 0;
	return (struct page_request){ { le64_make(qw0), le64_make(qw1) } };
}

/* The whole group, or nothing. Returns how it is answered at once, or -1. */
static int write_group(struct vtd_unit *u, const struct iommu_hwpt_pgfault *faults, size_t count,
		       nst_rid rid) REQUIRES(u->cmd_lock)
{
	struct page_queue q = read_queue(u);
	uint64_t used = (q.tail - q.head) & (q.bytes - 1);

	if (vtd_reg_get(&u->regs, VTD_PRS) & VTD_PRS_PRO)
		return IOMMUFD_PAGE_RESP_SUCCESS;
	/* an entry stays free: a full queue must not look like an empty one */
	if (used + (count + 1) * sizeof(struct page_request) > q.bytes) {
		log_warn(u->log, "vtd: the guest's page request queue is full");
		vtd_page_status_raise(u, VTD_PRS_PRO);
		return IOMMUFD_PAGE_RESP_SUCCESS;
	}
	for (size_t i = 0; i < count; i++) {
		struct page_request request = make_request(&faults[i], rid, i == count - 1);

		if (nst_mem_write(nst_vm_mem(u->vm), (nst_gpa){ q.base + q.tail }, &request,
				  sizeof(request))) {
			log_warn(u->log, "vtd: the page request queue is not in memory");
			return IOMMUFD_PAGE_RESP_INVALID;
		}
		q.tail = (q.tail + sizeof(request)) & (q.bytes - 1);
	}
	vtd_reg_set(&u->regs, VTD_PQT, q.tail);
	vtd_page_status_raise(u, VTD_PRS_PPR);
	return -1;
}

int vtd_page_group_write(struct vtd_unit *u, const struct iommu_hwpt_pgfault *faults, size_t count,
			 nst_rid rid)
{
	return write_group(u, faults, count, rid);
}

static struct vtd_device *device_of(struct vtd_unit *u, const struct iommu_hwpt_pgfault *fault)
{
	struct vtd_device *d = u->devices;

	while (d && d->dev->dev_id != fault->dev_id)
		d = d->next;
	return d;
}

/* Returns how the group is answered at once, or -1 if it is with the guest. */
static int take_group(struct vtd_unit *u, const struct iommu_hwpt_pgfault *faults, size_t count)
	REQUIRES(u->cmd_lock)
{
	bool has_pasid = faults->flags & IOMMU_PGFAULT_FLAGS_PASID_VALID;
	uint32_t pasid = has_pasid ? faults->pasid : NST_NO_PASID;
	struct vtd_device *d = device_of(u, faults);
	struct vtd_point *point = d ? vtd_point_find(d, pasid) : NULL;
	struct vtd_page_group *group;
	int code;

	if (!point || !device_page_requests_enabled(d->dev))
		return IOMMUFD_PAGE_RESP_INVALID;
	group = alloc_object(struct vtd_page_group);
	if (!group)
		return IOMMUFD_PAGE_RESP_INVALID;
	code = write_group(u, faults, count, d->rid);
	if (code >= 0) {
		free(group);
		return code;
	}
	*group = (struct vtd_page_group){
		.next = u->page_groups,
		.rid = d->rid,
		.pasid = pasid,
		.index = (uint16_t)faults->grpid,
		.cookie = faults->cookie,
		.change = point->at.change,
	};
	u->page_groups = group;
	u->page_requests++;
	return -1;
}

void vtd_page_requests_take(struct vtd_unit *u)
{
	struct nst_host *host = u->vm->iommufd.host;
	size_t first = 0, count;
	ssize_t n;

	if (u->fault_fd < 0)
		return;
	vtd_page_groups_prune(u);
	n = host->ops->read(host, u->fault_fd, u->fault_records,
			    MAX_RECORDS * sizeof(*u->fault_records));
	if (n < 0) {
		log_error(u->log, "vtd: page requests cannot be read: %s", strerror((int)-n));
		return;
	}
	count = (size_t)n / sizeof(*u->fault_records);
	u->attach.work += count;
	/* all records of a group stand together, and have its cookie */
	for (size_t i = 0; i < count; i++) {
		const struct iommu_hwpt_pgfault *faults = &u->fault_records[first];
		int code;

		if (i + 1 < count && u->fault_records[i + 1].cookie == faults->cookie)
			continue;
		code = take_group(u, faults, i + 1 - first);
		first = i + 1;
		if (code >= 0 && answer(u, faults->cookie, (uint32_t)code))
			u->unknown_page_responses++;
	}
}

/* --- from the guest ------------------------------------------------------------------------ */

void vtd_page_response(struct vtd_unit *u, const struct vtd_desc *d)
{
	uint32_t pasid = d->response.has_pasid ? d->pasid : NST_NO_PASID;
	struct vtd_page_group **link = &u->page_groups, *group;
	/* the host knows no response failure: the nearest is an invalid request */
	uint32_t code = d->response.code ? IOMMUFD_PAGE_RESP_INVALID : IOMMUFD_PAGE_RESP_SUCCESS;

	vtd_page_groups_prune(u);
	while (*link && ((*link)->rid != d->sid || (*link)->pasid != pasid ||
			 (*link)->index != d->response.group))
		link = &(*link)->next;
	group = *link;
	if (!group) {
		if (vtd_page_service_answer(u, d))
			return;
		u->unknown_page_responses++;
		return;
	}
	*link = group->next;
	if (answer(u, group->cookie, code))
		u->unknown_page_responses++;
	else
		u->page_responses++;
	free(group);
}
