// SPDX-License-Identifier: BSD-3-Clause
/*
 * Page requests of emulated devices: SMMUv3 IHI0070G.b s8 Page request queue, s4.5.2 CMD_PRI_RESP.
 * viommu/page_service.h has what does not depend on the unit.
 *
 *	nst_notifier_page_request() -> PRI queue, interrupt
 *	page_response() <- CMD_PRI_RESP
 *
 * A group is written whole or not at all. With the queue full it has overflown, and takes nothing
 * more until software has seen that (OVACKFLG); the device is told "success", and asks again. Of a
 * unit or a queue that is off, or in error, it is told "response failure". Which streams may ask no
 * field of a stream table entry says; PPAR is about the form of an answer at once on the bus, and
 * here the device has its answer as it asked.
 *
 * Of passed-through devices there are none: Linux 7.2 enables PRI behind no SMMU, and so does not
 * show it; what stalls instead is in stall.c.
 */
#include "smmuv3/unit.h"

#include "base/log.h"
#include "spec/smmu_caps.h"
#include "viommu/page_service.h"

#include <errno.h>

static struct smmu_output_regs regs_of(const struct smmu_unit *u)
{
	return (struct smmu_output_regs){
		SMMU_PRIQ_BASE,
		SMMU_PRIQ_PROD,
		SMMU_PRIQ_CONS,
		(unsigned int)FIELD_GET(SMMU_IDR1_PRIQS, u->idr.idr[1]),
		sizeof(struct smmu_page_request),
	};
}

static struct smmu_page_request make_request(const struct iommu_hwpt_pgfault *fault, nst_rid rid,
					     bool last)
{
	uint64_t qw0 = FIELD_PREP(SMMU_PPR_0_SID, rid) | (last ? SMMU_PPR_0_LAST : 0);
	uint64_t qw1 = FIELD_PREP(SMMU_PPR_1_INDEX, fault->grpid) |
		       (fault->addr & SMMU_PPR_1_ADDRESS);

	qw0 |= fault->perm & IOMMU_PGFAULT_PERM_EXEC ? SMMU_PPR_0_EXEC : 0;
	qw0 |= fault->perm & IOMMU_PGFAULT_PERM_PRIV ? SMMU_PPR_0_PRIV : 0;
	if (fault->flags & IOMMU_PGFAULT_FLAGS_PASID_VALID)
		qw0 |= SMMU_PPR_0_SSV | FIELD_PREP(SMMU_PPR_0_SSID, fault->pasid);
	else /* PCIe says these in the PASID prefix */
		qw0 &= ~(SMMU_PPR_0_EXEC | SMMU_PPR_0_PRIV);
	qw0 |= fault->perm & IOMMU_PGFAULT_PERM_READ ? SMMU_PPR_0_READ : 0;
	qw0 |= fault->perm & IOMMU_PGFAULT_PERM_WRITE ? SMMU_PPR_0_WRITE : 0;
	return (struct smmu_page_request){ { le64_make(qw0), le64_make(qw1) } };
}

/* s6.3.36: with LO of each last request, also of one for which there was no room; else when it was
 * empty before. */
static void interrupt(struct smmu_unit *u, bool was_empty) REQUIRES(u->cmd_lock)
{
	if (was_empty || (smmu_reg_get(&u->regs, SMMU_PRIQ_IRQ_CFG2) & SMMU_PRIQ_LO))
		smmu_priq_raise(u);
}

static bool may_ask(struct smmu_unit *u)
{
	const uint64_t enables = SMMU_CR0_SMMUEN | SMMU_CR0_PRIQEN;

	return (smmu_reg_get(&u->regs, SMMU_CR0) & enables) == enables &&
	       !smmu_gerror_is_active(u, SMMU_GERROR_PRIQ_ABT);
}

static enum nst_page_answer write_group(struct smmu_unit *u, const struct page_service_request *r,
					nst_rid rid) REQUIRES(u->cmd_lock)
{
	const struct smmu_output_regs regs = regs_of(u);
	const struct smmu_output_queue q = smmu_output_queue_read(u, &regs);
	bool was_empty = q.prod == q.cons;

	if (!may_ask(u))
		return NST_PAGE_FAILURE;
	if (smmu_output_queue_has_overflown(u, &regs) || smmu_output_queue_room(&q) < r->count) {
		smmu_output_queue_overflow(u, &regs);
		interrupt(u, false);
		return NST_PAGE_SUCCESS;
	}
	for (size_t i = 0; i < r->count; i++) {
		struct smmu_page_request request =
			make_request(&r->faults[i], rid, i == r->count - 1);
		uint64_t index = (q.prod + i) & (q.entries - 1);

		if (nst_mem_write(nst_vm_mem(u->vm), (nst_gpa){ q.base + index * sizeof(request) },
				  &request, sizeof(request))) {
			log_warn(u->log, "smmuv3: the PRI queue is not in memory");
			smmu_gerror_raise(u, SMMU_GERROR_PRIQ_ABT);
			return NST_PAGE_FAILURE;
		}
	}
	smmu_output_queue_publish(u, &regs, &q, (uint32_t)r->count);
	interrupt(u, was_empty);
	return NST_PAGE_PENDING;
}

int smmu_page_request(struct nst_notifier *notifier, uint32_t pasid, unsigned int group,
		      const struct nst_page *pages, size_t count, enum nst_page_answer *answer)
{
	struct smmu_unit *u = to_smmu_unit(notifier->viommu);
	const nst_rid rid = notifier->config.rid;
	struct page_service_request r;
	int ret = page_service_prepare(&r, pasid, group, pages, count);

	if (ret)
		return ret;
	mutex_lock(&u->cmd_lock);
	if (page_service_waits(u->xlate.notifiers, rid, pasid, group))
		ret = -EEXIST;
	else
		*answer = write_group(u, &r, rid);
	if (!ret && *answer == NST_PAGE_PENDING) {
		page_service_wait(to_notifier(notifier), &r);
		u->page.requests++;
	}
	mutex_unlock(&u->cmd_lock);
	page_service_finish(&r);
	return ret;
}

void smmu_page_response(struct smmu_unit *u, const struct smmu_command *c)
{
	u->attach.work += ATTACH_WORK_CALL;
	if (c->sid <= UINT16_MAX &&
	    page_service_answer(u->xlate.notifiers, (nst_rid)c->sid, c->ssid, c->index, c->answer))
		u->page.responses++;
	else
		u->page.unknown_responses++;
}
