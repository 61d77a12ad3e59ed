// SPDX-License-Identifier: BSD-3-Clause
/*
 * Transactions that stall: SMMUv3 IHI0070G.b s3.12.2 Stall model, s4.7.1 CMD_RESUME, s4.7.2
 * CMD_STALL_TERM.
 *
 *	fault -> place -> event record with STAG -> guest -> CMD_RESUME -> stall_response()
 *	host's fault queue -> place ->  ...            -> CMD_RESUME -> host
 *
 * Places are few, and a STAG is the number of one; a stream has no more than a quarter of them, so
 * that one device whose guest never answers leaves some to others. What finds none is terminated at
 * once, with a record that says so, which s3.12 leaves to the unit.
 *
 * A record that finds the event queue full, off or in error is not lost: it waits in its place,
 * and is written, in the order of the faults, when there is room (s7.2.1).
 *
 *	                 CMD_RESUME, CMD_STALL_TERM, SMMUEN = 0, reset
 *	free -> waiting ------------------------------------------------> free
 *	          | its notifier goes: free, if the guest has not seen it, else   ^
 *	          +-> nobody's ----------------- the same ------------------------+
 *
 * What stalls on a host it names by a STAG of its own, and in its queue by a cookie; it does not
 *say what the fault was, so the guest is told of a translation that is missing. When the host
 *answers such a one itself (the attachment ends) the guest's answer has no effect.
 *
 * So a STAG that the guest was given names one transaction until it is answered. One that was
 * restored is of whatever notifier of its device is there when the answer comes, or leaves before.
 */
#include "smmuv3/unit.h"

#include "base/log.h"

static struct smmu_stall *find_place(struct smmu_unit *u, nst_rid sid) REQUIRES(u->cmd_lock)
{
	struct smmu_stall *place = NULL;
	unsigned int of_stream = 0;

	for (unsigned int i = SMMU_STALL_MAX; i-- > 0;) {
		struct smmu_stall *s = &u->stalls[i];

		if (s->owner == SMMU_STALL_FREE)
			place = s;
		else
			of_stream += s->sid == sid;
	}
	return of_stream < SMMU_STALL_MAX_OF_STREAM ? place : NULL;
}

/* The first that the guest is to be told of, and has not been. */
static struct smmu_stall *next_record(struct smmu_unit *u) REQUIRES(u->cmd_lock)
{
	struct smmu_stall *first = NULL;

	for (unsigned int i = 0; i < SMMU_STALL_MAX; i++) {
		struct smmu_stall *s = &u->stalls[i];

		if (s->owner != SMMU_STALL_FREE && !s->recorded &&
		    (!first || s->order < first->order))
			first = s;
	}
	return first;
}

void smmu_stalls_record(struct smmu_unit *u)
{
	struct smmu_stall *s;

	while (u->unrecorded_stalls && (s = next_record(u)) && smmu_event_try(u, &s->event)) {
		s->recorded = true;
		u->unrecorded_stalls--;
		u->stalled++;
	}
}

/* A place, and the record on its way; NULL: there is none. */
static struct smmu_stall *begin(struct smmu_unit *u, const struct smmu_fault *fault)
	REQUIRES(u->cmd_lock)
{
	struct smmu_stall *s = find_place(u, (nst_rid)fault->sid);
	uint64_t tag = s ? (uint64_t)(s - u->stalls) : 0;

	if (!s)
		return NULL;
	*s = (struct smmu_stall){
		.sid = (nst_rid)fault->sid,
		.ssid = fault->ssid,
		.order = u->stall_order++,
		.event = smmu_event_make(fault),
	};
	s->event.qw[1] = le64_make(le64_get(s->event.qw[1]) | SMMU_EVENT_1_STALL |
				   FIELD_PREP(SMMU_EVENT_1_STAG, tag));
	u->unrecorded_stalls++;
	return s;
}

bool smmu_stall_begin(struct smmu_unit *u, struct notifier *n, const struct smmu_fault *fault,
		      unsigned int *tag)
{
	struct smmu_stall *s = begin(u, fault);

	if (!s)
		return false;
	*tag = (unsigned int)(s - u->stalls);
	s->owner = SMMU_STALL_NOTIFIER;
	s->notifier = n;
	smmu_stalls_record(u);
	return true;
}

/* --- of passed-through devices ------------------------------------------------------------- */

static struct smmu_device *device_of(struct smmu_unit *u, uint32_t dev_id)
{
	struct smmu_device *d = u->devices;

	while (d && d->dev->dev_id != dev_id)
		d = d->next;
	return d;
}

static struct page_group_name name_of(const struct smmu_unit *u, const struct smmu_stall *s)
{
	return (struct page_group_name){ s->sid, NST_NO_PASID, (uint32_t)(s - u->stalls) };
}

/* page_requests_ops: called with cmd_lock held. */
static const struct attach_point *attachment(void *unit, const struct page_group_name *name)
{
	struct smmu_unit *u = unit;
	const struct smmu_stall *s = &u->stalls[name->index];
	const struct smmu_device *d = device_of(u, s->dev_id);

	return d && s->owner == SMMU_STALL_HOST ? &d->at : NULL;
}

/* An SMMU stalls one transaction at a time: a group is one request. */
static int give(void *unit, const struct iommu_hwpt_pgfault *faults, size_t count,
		struct page_group_name *name) NO_LOCK_ANALYSIS
{
	struct smmu_unit *u = unit;
	const struct smmu_device *d = device_of(u, faults->dev_id);
	const bool ssv = faults->flags & IOMMU_PGFAULT_FLAGS_PASID_VALID;
	struct smmu_fault fault = {
		.type = SMMU_F_TRANSLATION,
		.ssid = ssv ? faults->pasid : NST_NO_PASID,
		.address = faults->addr,
		.write = faults->perm & IOMMU_PGFAULT_PERM_WRITE,
		.privileged = faults->perm & IOMMU_PGFAULT_PERM_PRIV,
		.instruction = faults->perm & IOMMU_PGFAULT_PERM_EXEC,
	};
	struct smmu_stall *s;

	if (!d || count != 1)
		return IOMMUFD_PAGE_RESP_INVALID;
	fault.sid = d->rid;
	s = begin(u, &fault);
	if (!s) { /* as of an emulated device: it ends, and the guest is told */
		smmu_fault_report(u, &fault);
		return IOMMUFD_PAGE_RESP_INVALID;
	}
	s->owner = SMMU_STALL_HOST;
	s->dev_id = faults->dev_id;
	*name = name_of(u, s);
	smmu_stalls_record(u);
	return -1;
}

const struct page_requests_ops smmu_page_requests_ops = { attachment, give };

/* --- the end ------------------------------------------------------------------------------- */

/* A restored one is of the first that can be told. */
static bool may_tell(const struct notifier *n, const struct smmu_stall *s)
{
	return n->base.config.stall_response && notify_concerns(n, s->sid, s->ssid);
}

static struct notifier *who_waits(struct smmu_unit *u, const struct smmu_stall *s)
	REQUIRES(u->cmd_lock)
{
	if (s->owner == SMMU_STALL_NOTIFIER)
		return s->notifier;
	if (s->owner == SMMU_STALL_RESTORED)
		for (struct notifier *n = u->xlate.notifiers; n; n = n->next)
			if (may_tell(n, s))
				return n;
	return NULL;
}

/* Returns whether anybody has waited for it. */
static bool end_stall(struct smmu_unit *u, struct smmu_stall *s, enum nst_stall_answer answer)
	REQUIRES(u->cmd_lock)
{
	const struct page_group_name name = name_of(u, s);
	const bool of_host = s->owner == SMMU_STALL_HOST;
	struct notifier *n = who_waits(u, s);
	bool waited = n;

	if (of_host)
		waited = page_requests_answer(&u->page, &name,
					      answer == NST_STALL_RETRY
						      ? IOMMUFD_PAGE_RESP_SUCCESS
						      : IOMMUFD_PAGE_RESP_INVALID);
	u->unrecorded_stalls -= !s->recorded;
	s->owner = SMMU_STALL_FREE;
	u->attach.work += n ? ATTACH_WORK_CALL : 1;
	if (n)
		n->base.config.stall_response(n->base.config.opaque, (unsigned int)(s - u->stalls),
					      answer);
	return waited;
}

/* Of what is not this stream's, or was never told, nothing is known: it has no effect. */
void smmu_stall_resume(struct smmu_unit *u, uint32_t sid, uint16_t stag, bool retry)
{
	struct smmu_stall *s = &u->stalls[stag % SMMU_STALL_MAX];

	if (stag >= SMMU_STALL_MAX || s->owner == SMMU_STALL_FREE || s->sid != sid || !s->recorded)
		return;
	u->stall_answers += end_stall(u, s, retry ? NST_STALL_RETRY : NST_STALL_ABORT);
}

void smmu_stalls_terminate(struct smmu_unit *u, uint32_t first, uint32_t last)
{
	u->attach.work += SMMU_STALL_MAX;
	for (unsigned int i = 0; i < SMMU_STALL_MAX; i++) {
		struct smmu_stall *s = &u->stalls[i];

		if (s->owner != SMMU_STALL_FREE && s->sid >= first && s->sid <= last)
			end_stall(u, s, NST_STALL_TERMINATED);
	}
}

void smmu_stalls_forget(struct smmu_unit *u, const struct notifier *n)
{
	for (unsigned int i = 0; i < SMMU_STALL_MAX; i++) {
		struct smmu_stall *s = &u->stalls[i];

		if (!(s->owner == SMMU_STALL_NOTIFIER && s->notifier == n) &&
		    !(s->owner == SMMU_STALL_RESTORED && may_tell(n, s)))
			continue;
		s->owner = s->recorded ? SMMU_STALL_NOBODY : SMMU_STALL_FREE;
		u->unrecorded_stalls -= !s->recorded;
	}
}
