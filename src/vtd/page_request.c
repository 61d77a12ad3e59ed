// SPDX-License-Identifier: BSD-3-Clause
/*
 * Page requests: VT-d 4.1 s7.4 to s7.7. What viommu/page_requests.c needs to know of the unit.
 *
 *	device -> host's fault queue -> guest's page request queue, PPR, MSI
 *	device <- host <- page group response descriptor <- guest
 *
 * Who makes no place in its queue gets none (PRO): the device is told to try again.
 */
#include "vtd/unit.h"

#include "base/log.h"
#include "viommu/page_requests.h"

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

/* The whole group, or nothing. */
int vtd_page_group_write(struct vtd_unit *u, const struct iommu_hwpt_pgfault *faults, size_t count,
			 nst_rid rid)
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

static struct vtd_device *device_of(struct vtd_unit *u, const struct iommu_hwpt_pgfault *fault)
{
	struct vtd_device *d = u->devices;

	while (d && d->dev->dev_id != fault->dev_id)
		d = d->next;
	return d;
}

/* page_requests_ops: called with cmd_lock held. */
static const struct attach_point *attachment(void *unit, const struct page_group_name *name)
{
	struct vtd_unit *u = unit;
	struct vtd_device *d = u->devices;
	const struct vtd_point *point;

	while (d && d->rid != name->rid)
		d = d->next;
	point = d ? vtd_point_find(d, name->pasid) : NULL;
	return point ? &point->at : NULL;
}

static int give(void *unit, const struct iommu_hwpt_pgfault *faults, size_t count,
		struct page_group_name *name) NO_LOCK_ANALYSIS
{
	bool has_pasid = faults->flags & IOMMU_PGFAULT_FLAGS_PASID_VALID;
	struct vtd_unit *u = unit;
	struct vtd_device *d = device_of(u, faults);
	int code;

	if (!d || !device_page_requests_enabled(d->dev))
		return IOMMUFD_PAGE_RESP_INVALID;
	*name = (struct page_group_name){
		.rid = d->rid,
		.pasid = has_pasid ? faults->pasid : NST_NO_PASID,
		.index = (uint16_t)faults->grpid,
	};
	if (!attachment(u, name))
		return IOMMUFD_PAGE_RESP_INVALID;
	code = vtd_page_group_write(u, faults, count, d->rid);
	u->page.requests += code < 0;
	return code;
}

const struct page_requests_ops vtd_page_requests_ops = { attachment, give };

/* --- from the guest ------------------------------------------------------------------------ */

void vtd_page_response(struct vtd_unit *u, const struct vtd_desc *d)
{
	const struct page_group_name name = {
		.rid = d->sid,
		.pasid = d->response.has_pasid ? d->pasid : NST_NO_PASID,
		.index = d->response.group,
	};
	/* the host knows no response failure: the nearest is an invalid request */
	uint32_t code = d->response.code ? IOMMUFD_PAGE_RESP_INVALID : IOMMUFD_PAGE_RESP_SUCCESS;

	if (!page_requests_answer(&u->page, &name, code) && !vtd_page_service_answer(u, d))
		u->page.unknown_responses++;
}
