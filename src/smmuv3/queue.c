// SPDX-License-Identifier: BSD-3-Clause
/*
 * The command queue: SMMUv3 IHI0070G.b s3.5 Command and Event queues, s4 Commands.
 *
 * Commands are copied some at a time from guest memory, each once, decoded, then carried out. What
 * hosts have to do of it is collected (vsmmu.c) and done before the next CMD_SYNC completes, or at
 * the end of the run. CONS moves only over what is done, so an error that a host reports still
 * stands at the command it is about; what came after that and before the CMD_SYNC is carried
 * out again, which does no harm. The queue stops at an error until software has seen it
 * (GERRORN), and when the work of a run is spent, till the next run.
 */
#include "smmuv3/unit.h"

#include "base/log.h"
#include "spec/smmu_caps.h"

enum { COPY_CMDS = 32 };

struct queue {
	uint64_t base;
	uint32_t mask;	/* of an index with its wrap bit */
	uint32_t done;	/* CONS: everything before it */
	uint32_t ahead; /* commands after it that are decoded, and not all done */
	uint32_t prod;	/* where it ends */
	/* copied from memory together: @copied commands from index @first on */
	uint32_t first, copied;
	struct smmu_cmd copy[COPY_CMDS];
};

static void read_queue(struct smmu_unit *u, struct queue *q)
{
	uint64_t base = smmu_reg_get(&u->regs, SMMU_CMDQ_BASE);
	unsigned int lg2 = MIN((unsigned int)FIELD_GET(SMMU_QUEUE_LOG2SIZE, base),
			       (unsigned int)FIELD_GET(SMMU_IDR1_CMDQS, u->idr.idr[1]));
	uint32_t mask = (uint32_t)(BIT64(lg2 + 1) - 1);

	q->base = base & SMMU_QUEUE_ADDR & ~(sizeof(struct smmu_cmd) * BIT64(lg2) - 1);
	q->mask = mask;
	q->done = (uint32_t)smmu_reg_get(&u->regs, SMMU_CMDQ_CONS) & mask;
	q->prod = (uint32_t)smmu_reg_get(&u->regs, SMMU_CMDQ_PROD) & mask;
	q->ahead = q->first = q->copied = 0;
}

static uint32_t next_index(const struct queue *q)
{
	return (q->done + q->ahead) & q->mask;
}

/* Everything before the next command is done. */
static void publish(struct smmu_unit *u, struct queue *q, uint32_t count)
{
	q->done = (q->done + count) & q->mask;
	q->ahead = 0;
	if (!count) /* software knows */
		return;
	smmu_reg_update(&u->regs, SMMU_CMDQ_CONS, SMMU_CONS_RD, q->done);
}

/* s4.1.3: CONS stands at the command. */
static void stop(struct smmu_unit *u, enum smmu_cerror error) REQUIRES(u->cmd_lock)
{
	log_warn(u->log, "smmuv3: command error %u at 0x%llx", error,
		 (unsigned long long)smmu_reg_get(&u->regs, SMMU_CMDQ_CONS));
	u->command_errors++;
	smmu_reg_update(&u->regs, SMMU_CMDQ_CONS, SMMU_CONS_ERR, FIELD_PREP(SMMU_CONS_ERR, error));
	smmu_gerror_raise(u, SMMU_GERROR_CMDQ);
}

/* False: a host has refused a command, and CONS stands at it. */
static bool settle(struct smmu_unit *u, struct queue *q) REQUIRES(u->cmd_lock)
{
	uint32_t failed;

	smmu_flush(u);
	failed = u->failed;
	u->failed = SMMU_NO_POSITION;
	if (failed == SMMU_NO_POSITION) {
		publish(u, q, q->ahead);
		return true;
	}
	publish(u, q, failed);
	stop(u, SMMU_CERROR_ILL);
	return false;
}

/* To those of a stream that are on the guest's tables. */
static void tell_stream(struct smmu_unit *u, const struct smmu_command *c, uint32_t position)
	REQUIRES(u->cmd_lock)
{
	for (struct smmu_device *d = u->devices; d; d = d->next)
		if (d->rid == c->sid && d->at.actual == ATTACHMENT_STAGE1)
			smmu_collect(u, d->vsmmu, &c->host, position);
}

/* Those that no device has are ours alone: for emulated devices. */
static void tell_host(struct smmu_unit *u, const struct smmu_command *c, uint32_t position)
	REQUIRES(u->cmd_lock)
{
	switch (c->what) {
	case SMMU_DO_CFGI_STE:
		smmu_reconcile_streams(u, c->sid, c->last_sid, position);
		break;
	case SMMU_DO_CFGI_CD:
	case SMMU_DO_CFGI_CDS:
	case SMMU_DO_ATC_INV:
		tell_stream(u, c, position);
		break;
	case SMMU_DO_TLBI_ALL:
	case SMMU_DO_TLBI_VM:
	case SMMU_DO_TLBI_NH:
	case SMMU_DO_TLBI_ASID:
	case SMMU_DO_TLBI_VA:
	case SMMU_DO_TLBI_VAA:
		if (!c->vmid) /* attachments.c: devices of a host are of no other */
			smmu_collect_all(u, &c->host, position);
		break;
	case SMMU_DO_TLBI_IPA:
	case SMMU_DO_NOTHING:
	case SMMU_DO_PRI_RESP:
	case SMMU_DO_RESUME:
	case SMMU_DO_STALL_TERM:
	case SMMU_DO_SYNC:
		break;
	}
}

/* False: the queue has stopped. */
static bool sync(struct smmu_unit *u, struct queue *q, const struct smmu_command *c)
	REQUIRES(u->cmd_lock)
{
	if (!settle(u, q))
		return false;
	if (u->atc_failed) { /* once: when the guest has seen it, it goes on with this CMD_SYNC */
		u->atc_failed = false;
		stop(u, SMMU_CERROR_ATC_INV_SYNC);
		return false;
	}
	page_requests_take(&u->page);
	smmu_take_events(u); /* s4.7.3: those of before it are visible when it completes */
	u->syncs++;
	publish(u, q, 1); /* s3.18: who is notified must find CONS behind it */
	smmu_sync_raise(u, c);
	return true;
}

/* s4.5.1: one that does not answer is an error of the next CMD_SYNC. */
static void invalidate_device_tlb(struct smmu_unit *u, const struct smmu_command *c)
	REQUIRES(u->cmd_lock)
{
	const struct nst_device_tlb_invalidation invalidation = {
		.pasid = c->ssid,
		.first = { c->first },
		.last = { c->last },
		.global = c->global,
	};

	if (c->sid <= UINT16_MAX &&
	    !notify_device_tlb(u->xlate.notifiers, &u->attach, (nst_rid)c->sid, &invalidation))
		u->atc_failed = true;
}

/* What devices wait for, and what emulated ones are to forget. */
static void answer(struct smmu_unit *u, const struct smmu_command *c) REQUIRES(u->cmd_lock)
{
	if (c->what == SMMU_DO_ATC_INV)
		invalidate_device_tlb(u, c);
	else if (c->what == SMMU_DO_PRI_RESP)
		smmu_page_response(u, c);
	else if (c->what == SMMU_DO_RESUME)
		smmu_stall_resume(u, c->sid, c->stag, c->retry);
	else if (c->what == SMMU_DO_STALL_TERM)
		smmu_stalls_terminate(u, c->sid, c->sid);
}

/* From the next command to the last, or to the end of the queue. False: it is not memory. */
static bool copy_commands(struct smmu_unit *u, struct queue *q)
{
	uint32_t next = next_index(q), in_lap = next & q->mask >> 1;
	uint32_t left = MIN((q->prod - next) & q->mask, (q->mask >> 1) + 1 - in_lap);
	nst_gpa at = { q->base + in_lap * sizeof(struct smmu_cmd) };

	q->first = next;
	q->copied = MIN(left, (uint32_t)COPY_CMDS);
	if (!nst_mem_read(nst_vm_mem(u->vm), at, q->copy, q->copied * sizeof(q->copy[0])))
		return true;
	q->copied = 1; /* not all of it is memory: is the first? */
	if (!nst_mem_read(nst_vm_mem(u->vm), at, q->copy, sizeof(q->copy[0])))
		return true;
	q->copied = 0;
	return false;
}

static const struct smmu_cmd *next_command(struct smmu_unit *u, struct queue *q)
{
	uint32_t offset = (next_index(q) - q->first) & q->mask;

	if (offset < q->copied)
		return &q->copy[offset];
	return copy_commands(u, q) ? q->copy : NULL;
}

/* False: the queue has stopped. */
static bool run_one(struct smmu_unit *u, struct queue *q) REQUIRES(u->cmd_lock)
{
	const struct smmu_cmd *raw = next_command(u, q);
	enum smmu_cerror error = SMMU_CERROR_ABT;
	struct smmu_command c;

	u->attach.work++;
	if (raw)
		error = smmu_command_decode(raw, &u->idr, &c);
	if (error) { /* seen only after all that came before it */
		if (settle(u, q))
			stop(u, error);
		return false;
	}
	u->commands++;
	if (c.what == SMMU_DO_SYNC)
		return sync(u, q, &c);
	smmu_xlate_invalidate(u, &c);
	answer(u, &c);
	tell_host(u, &c, q->ahead);
	q->ahead++;
	return true;
}

static bool may_run(struct smmu_unit *u)
{
	uint64_t active = smmu_reg_get(&u->regs, SMMU_GERROR) ^
			  smmu_reg_get(&u->regs, SMMU_GERRORN);

	return (smmu_reg_get(&u->regs, SMMU_CR0) & SMMU_CR0_CMDQEN) && !(active & SMMU_GERROR_CMDQ);
}

bool smmu_queue_run(struct smmu_unit *u)
{
	struct queue q;

	if (!may_run(u))
		return true;
	read_queue(u, &q);
	while (next_index(&q) != q.prod) {
		if (attach_work_is_spent(&u->attach)) {
			settle(u, &q);
			return false;
		}
		if (!run_one(u, &q))
			return true;
	}
	settle(u, &q);
	return true;
}
