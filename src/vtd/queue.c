// SPDX-License-Identifier: BSD-3-Clause
/*
 * The invalidation queue: VT-d 4.1 s6.5.2.
 *
 * The head chases the tail that software wrote last. Descriptors are copied some at a time and
 * decoded, then carried out one by one. Invalidations of translations are
 * collected (viommu/batch.c) and reach the host before the next wait descriptor
 * completes, and at the end of the run at the latest. A descriptor that cannot be
 * carried out stops the queue with the head at it until software clears the error.
 *
 * What emulated devices have cached (translate.h) goes for all descriptors of a copy at once, so
 * that the caches are locked once: software has changed its tables before it moved the tail past
 * a descriptor, so too early does no harm.
 *
 * The head that software sees moves when a wait completes, and with each copy.
 *
 * Invalidations of the context and PASID caches are scans (pasids.c), which one may cause
 * and the next one cause anew; whatever else comes next waits until they are done. When
 * the work of a run is spent the queue stops with the head at what comes next, and goes
 * on there in the next run.
 *
 * An emulated device that does not answer an invalidation of its TLB (s6.5.2.10): invalidations
 * go on, but the next wait descriptor is dropped, and the queue stops behind it with a time-out
 * error: software must not see it complete, and looks for it before the head.
 */
#include "vtd/unit.h"

#include "base/log.h"

struct queue {
	uint64_t base;
	unsigned int desc_lg2; /* bytes */
	uint64_t entries;
	bool wide;
};

static struct queue read_queue(struct vtd_unit *u)
{
	uint64_t iqa = vtd_reg_get(&u->regs, VTD_IQA);
	bool wide = iqa & VTD_IQA_DW;
	unsigned int desc_lg2 = wide ? 5 : 4;

	return (struct queue){
		.base = iqa & VTD_IQA_BASE,
		.wide = wide,
		.desc_lg2 = desc_lg2,
		.entries = BIT64(PAGE_SHIFT_4K + FIELD_GET(VTD_IQA_QS, iqa) - desc_lg2),
	};
}

/* s6.5.2.10 Queued Invalidation Ordering and Errors */
static void queue_error(struct vtd_unit *u, unsigned int iqei) REQUIRES(u->cmd_lock)
{
	log_warn(u->log, "vtd: invalidation queue error %u at head 0x%llx", iqei,
		 (unsigned long long)vtd_reg_get(&u->regs, VTD_IQH));
	u->queue_errors++;
	vtd_reg_update(&u->regs, VTD_IQERCD, VTD_IQERCD_IQEI, FIELD_PREP(VTD_IQERCD_IQEI, iqei));
	vtd_status_raise(u, VTD_FSTS_IQE);
}

static void queue_timeout(struct vtd_unit *u) REQUIRES(u->cmd_lock)
{
	u->device_tlb_timeout = false;
	u->queue_errors++;
	vtd_status_raise(u, VTD_FSTS_ITE);
}

static void invalidate_device_tlb(struct vtd_unit *u, const struct vtd_desc *d)
	REQUIRES(u->cmd_lock)
{
	if (vtd_notify_device_tlb(u, d))
		return;
	u->device_tlb_timeout = true;
	vtd_reg_update(&u->regs, VTD_IQERCD, VTD_IQERCD_ITESID,
		       FIELD_PREP(VTD_IQERCD_ITESID, d->sid));
}

static void invalidate_translations(struct vtd_unit *u, const struct vtd_desc *d,
				    uint32_t guest_pasid)
{
	switch (d->scope) {
	case VTD_SCOPE_GLOBAL:
		attach_invalidate_all(&u->attach);
		break;
	case VTD_SCOPE_PAGES:
		attach_invalidate(&u->attach, d->did, guest_pasid, d->addr, d->npages, d->leaf);
		break;
	default:
		attach_invalidate(&u->attach, d->did, guest_pasid, 0, UINT64_MAX, false);
		break;
	}
}

/*
 * Addresses here are of second-stage tables; for a domain's first-stage entries that the
 * descriptor covers too, its whole domain goes.
 */
static void invalidate_second_stage(struct vtd_unit *u, const struct vtd_desc *d)
{
	struct vtd_desc whole = *d;

	if (d->scope == VTD_SCOPE_PAGES) {
		whole.scope = VTD_SCOPE_DOMAIN;
		attach_invalidate_shadow(&u->attach, d->did, d->addr, d->npages);
	} else if (d->scope == VTD_SCOPE_DOMAIN) {
		attach_invalidate_shadow(&u->attach, d->did, 0, UINT64_MAX);
	}
	invalidate_translations(u, &whole, ATTACH_ANY_PASID);
}

/* The status is written, and the interrupt raised, only after all that came before. */
static void complete(struct vtd_unit *u, const struct vtd_desc *d) REQUIRES(u->cmd_lock)
{
	le32 status = le32_make(d->wait.status);

	u->waits++;
	if (d->wait.write_status &&
	    nst_mem_write(nst_vm_mem(u->vm), d->wait.status_addr, &status, sizeof(status)) &&
	    !u->wait_warned) {
		log_warn(u->log, "vtd: wait status at 0x%llx is not memory",
			 (unsigned long long)d->wait.status_addr.v);
		u->wait_warned = true;
	}
	if (d->wait.interrupt)
		vtd_completion_raise(u);
}

/* Does anything wait to be done? With this most descriptors need no more than a look. */
static bool is_settled(const struct vtd_unit *u) REQUIRES(u->cmd_lock)
{
	return !u->busy && !u->xlate.notifiers && attach_is_flushed(&u->attach);
}

/* What must be done before @d can be carried out? False if it is not done yet. */
static bool make_way(struct vtd_unit *u, const struct vtd_desc *d) REQUIRES(u->cmd_lock)
{
	if (is_settled(u))
		return !attach_work_is_spent(&u->attach);
	switch (d->type) {
	case VTD_DESC_CONTEXT:
	case VTD_DESC_PASID_CACHE:
		return !attach_work_is_spent(&u->attach);
	case VTD_DESC_WAIT:
	case VTD_DESC_PAGE_RESPONSE:
		return vtd_settle(u) && vtd_mirror(u) && !attach_work_is_spent(&u->attach);
	default: /* what was attached anew must not miss an invalidation */
		return vtd_scan(u) && vtd_mirror(u) && !attach_work_is_spent(&u->attach);
	}
}

static void execute(struct vtd_unit *u, const struct vtd_desc *d) REQUIRES(u->cmd_lock)
{
	u->descriptors++;
	u->attach.work++;
	switch (d->type) {
	case VTD_DESC_CONTEXT:
		if (d->scope == VTD_SCOPE_DEVICE)
			vtd_reconcile_sid(u, d->sid, d->sid_ignore);
		else
			vtd_reconcile_all(u);
		break;
	case VTD_DESC_PASID_CACHE:
		/* Whatever the domain: an entry may have a new DID or root since it was cached. */
		if (d->scope == VTD_SCOPE_PASID)
			vtd_reconcile_pasid(u, d->pasid);
		else
			vtd_reconcile_all(u);
		break;
	case VTD_DESC_IOTLB:
		if (u->attach.all)
			invalidate_second_stage(u, d);
		break;
	case VTD_DESC_PASID_IOTLB:
		if (u->attach.all)
			invalidate_translations(u, d, d->pasid);
		break;
	case VTD_DESC_WAIT:
		if (d->wait.drain)
			page_requests_take(&u->page);
		complete(u, d);
		break;
	case VTD_DESC_PAGE_RESPONSE:
		vtd_page_response(u, d);
		break;
	case VTD_DESC_DEVICE_TLB:
	case VTD_DESC_PASID_DEVICE_TLB:
		/*
		 * The host flushes device TLBs with the IOTLB, and after it, as s6.5.2.5 asks
		 * of software too; so what a device has fetched since then is right already.
		 * Emulated devices are told.
		 */
		invalidate_device_tlb(u, d);
		break;
	case VTD_DESC_IEC: /* we have nothing cached, but the VMM may */
		vtd_ir_changed(u, d->first_irte, d->num_irtes);
		break;
	}
}

/* --- copies ------------------------------------------------------------------------------- */

enum { COPY_DESCS = 32 };

struct copy {
	struct vtd_desc descs[COPY_DESCS];
	unsigned int count;
	unsigned int iqei; /* what is wrong with the one behind these, or 0 */
};

static bool read_some(struct vtd_unit *u, const struct queue *q, uint64_t index, void *raw,
		      unsigned int count)
{
	nst_gpa at = { q->base + (index << q->desc_lg2) };

	return !nst_mem_read(nst_vm_mem(u->vm), at, raw, (size_t)count << q->desc_lg2);
}

/* From @head on: not past @tail, nor the end of the queue. At least one, or what is wrong. */
static void copy_descs(struct vtd_unit *u, const struct queue *q, uint64_t head, uint64_t tail,
		       struct copy *copy)
{
	uint64_t end = tail > head ? tail : q->entries;
	unsigned int count = (unsigned int)MIN(end - head, (uint64_t)COPY_DESCS);
	le64 raw[COPY_DESCS * 4];

	copy->count = 0;
	copy->iqei = 0;
	if (!read_some(u, q, head, raw, count)) { /* not all of it is memory: is the first? */
		count = 1;
		if (!read_some(u, q, head, raw, count)) {
			copy->iqei = VTD_IQEI_FETCH;
			return;
		}
	}
	while (copy->count < count) {
		const le64 *words = &raw[copy->count << (q->desc_lg2 - 3)];

		copy->iqei = vtd_desc_decode(words, q->wide, &copy->descs[copy->count]);
		if (copy->iqei)
			return;
		copy->count++;
	}
}

enum outcome { DONE, SPENT, TIMEOUT };

/* @flushed: what emulated devices have cached of it is gone. */
static enum outcome run_one(struct vtd_unit *u, const struct vtd_desc *desc, bool flushed)
	REQUIRES(u->cmd_lock)
{
	if (!make_way(u, desc))
		return SPENT;
	if (desc->type == VTD_DESC_WAIT && u->device_tlb_timeout)
		return TIMEOUT;
	if (!flushed)
		vtd_xlate_invalidate(u, desc, 1);
	execute(u, desc);
	return DONE;
}

/*
 * What was copied, with the head behind it as far as it is done. A notifier has to hear of each
 * descriptor in its turn.
 */
static enum outcome run_copy(struct vtd_unit *u, const struct queue *q, uint64_t *head,
			     const struct copy *copy) REQUIRES(u->cmd_lock)
{
	bool together = !u->xlate.notifiers;
	enum outcome outcome = DONE;

	if (together)
		vtd_xlate_invalidate(u, copy->descs, copy->count);
	for (unsigned int i = 0; i < copy->count && outcome == DONE; i++) {
		const struct vtd_desc *d = &copy->descs[i];

		outcome = run_one(u, d, together);
		if (outcome != SPENT)
			*head = (*head + 1) & (q->entries - 1);
		if (d->type == VTD_DESC_WAIT || i + 1 == copy->count || outcome != DONE)
			vtd_reg_publish(&u->regs, VTD_IQH, (uint32_t)(*head << q->desc_lg2));
	}
	return outcome;
}

static unsigned int tail_error(const struct queue *q, uint64_t tail)
{
	if (!IS_ALIGNED(tail, BIT64(q->desc_lg2)))
		return VTD_IQEI_TAIL_ALIGN;
	return tail >> q->desc_lg2 >= q->entries ? VTD_IQEI_TAIL : 0;
}

bool vtd_queue_run(struct vtd_unit *u)
{
	struct queue q = read_queue(u);
	uint64_t tail = vtd_reg_get(&u->regs, VTD_IQT);
	uint64_t head = vtd_reg_get(&u->regs, VTD_IQH) >> q.desc_lg2;
	enum outcome outcome = DONE;
	struct copy copy;
	unsigned int iqei;

	if (!(vtd_reg_get(&u->regs, VTD_GSTS) & VTD_GCMD_QIE) ||
	    (vtd_reg_get(&u->regs, VTD_FSTS) & VTD_FSTS_ERRORS))
		return true;
	iqei = tail_error(&q, tail);
	tail >>= q.desc_lg2;
	head &= q.entries - 1;
	while (!iqei && head != tail && outcome == DONE) {
		copy_descs(u, &q, head, tail, &copy);
		outcome = run_copy(u, &q, &head, &copy);
		if (outcome == DONE)
			iqei = copy.iqei;
	}
	/* an error too is seen only after all that came before it */
	if (outcome == SPENT || !vtd_settle(u) || !vtd_mirror(u))
		return false;
	if (u->device_tlb_timeout)
		queue_timeout(u);
	if (iqei)
		queue_error(u, iqei);
	return true;
}
