// SPDX-License-Identifier: BSD-3-Clause
/*
 * Event records, global errors and interrupts: SMMUv3 IHI0070G.b s7 Faults, errors and Event
 * queue, s3.18 Interrupts and notifications.
 *
 * An MSI is a write like any other: Linux has that of CMD_SYNC go to memory, and polls there.
 */
#include "smmuv3/unit.h"

#include "base/log.h"
#include "spec/smmu_caps.h"

#include <string.h>

/* --- interrupts ------------------------------------------------------------------------- */

/* s3.18.2: a pulse on the wire, and an MSI if there is an address for it. */
static void deliver(struct smmu_unit *u, uint64_t address, uint32_t data, enum nst_smmuv3_irq irq)
{
	le32 value = le32_make(data);

	if (u->pulse)
		u->pulse(u->opaque, irq);
	if (address &&
	    nst_mem_write(nst_vm_mem(u->vm), (nst_gpa){ address }, &value, sizeof(value)))
		u->send_msi(u->opaque, address, data);
}

static void raise_gerror(struct smmu_unit *u)
{
	if (smmu_reg_get(&u->regs, SMMU_IRQ_CTRL) & SMMU_IRQ_GERROR)
		deliver(u, smmu_reg_get(&u->regs, SMMU_GERROR_IRQ_CFG0),
			(uint32_t)smmu_reg_get(&u->regs, SMMU_GERROR_IRQ_CFG1),
			NST_SMMUV3_IRQ_GERROR);
}

static void raise_eventq(struct smmu_unit *u)
{
	if (smmu_reg_get(&u->regs, SMMU_IRQ_CTRL) & SMMU_IRQ_EVENTQ)
		deliver(u, smmu_reg_get(&u->regs, SMMU_EVENTQ_IRQ_CFG0),
			(uint32_t)smmu_reg_get(&u->regs, SMMU_EVENTQ_IRQ_CFG1),
			NST_SMMUV3_IRQ_EVENTQ);
}

void smmu_priq_raise(struct smmu_unit *u)
{
	if (smmu_reg_get(&u->regs, SMMU_IRQ_CTRL) & SMMU_IRQ_PRIQ)
		deliver(u, smmu_reg_get(&u->regs, SMMU_PRIQ_IRQ_CFG0),
			(uint32_t)smmu_reg_get(&u->regs, SMMU_PRIQ_IRQ_CFG1), NST_SMMUV3_IRQ_PRIQ);
}

void smmu_sync_raise(struct smmu_unit *u, const struct smmu_command *c)
{
	/* IDR0.SEV: there are no events to send (SMMU_SYNC_SEV) */
	if (c->sync.signal == SMMU_SYNC_IRQ)
		deliver(u, c->sync.msi_address, c->sync.msi_data, NST_SMMUV3_IRQ_CMD_SYNC);
}

/* s6.3.19: an error is active while its bits in GERROR and GERRORN differ. */
bool smmu_gerror_is_active(struct smmu_unit *u, uint32_t error)
{
	return (smmu_reg_get(&u->regs, SMMU_GERROR) ^ smmu_reg_get(&u->regs, SMMU_GERRORN)) & error;
}

void smmu_gerror_raise(struct smmu_unit *u, uint32_t error)
{
	if (smmu_gerror_is_active(u, error))
		return;
	smmu_reg_set(&u->regs, SMMU_GERROR, smmu_reg_get(&u->regs, SMMU_GERROR) ^ error);
	raise_gerror(u);
}

/* --- the event queue -------------------------------------------------------------------- */

struct smmu_output_queue smmu_output_queue_read(struct smmu_unit *u,
						const struct smmu_output_regs *r)
{
	uint64_t base = smmu_reg_get(&u->regs, r->base);
	unsigned int lg2 = MIN((unsigned int)FIELD_GET(SMMU_QUEUE_LOG2SIZE, base), r->max_lg2);
	uint32_t mask = (uint32_t)(BIT64(lg2 + 1) - 1);

	/* aligned to its size; bits below are ignored */
	return (struct smmu_output_queue){
		.base = base & SMMU_QUEUE_ADDR & ~((uint64_t)r->entry_bytes * BIT64(lg2) - 1),
		.prod = (uint32_t)smmu_reg_get(&u->regs, r->prod) & mask,
		.cons = (uint32_t)smmu_reg_get(&u->regs, r->cons) & mask,
		.entries = 1u << lg2,
	};
}

void smmu_output_queue_publish(struct smmu_unit *u, const struct smmu_output_regs *r,
			       const struct smmu_output_queue *q, uint32_t count)
{
	uint64_t flags = smmu_reg_get(&u->regs, r->prod) & SMMU_QUEUE_OVERFLOW;

	smmu_reg_set(&u->regs, r->prod, flags | ((q->prod + count) & (2 * q->entries - 1)));
}

bool smmu_output_queue_has_overflown(struct smmu_unit *u, const struct smmu_output_regs *r)
{
	return (smmu_reg_get(&u->regs, r->prod) ^ smmu_reg_get(&u->regs, r->cons)) &
	       SMMU_QUEUE_OVERFLOW;
}

/* s7.4 Event queue overflow, s8.1 PRI queue overflow: once, till software has seen it. */
void smmu_output_queue_overflow(struct smmu_unit *u, const struct smmu_output_regs *r)
{
	if (!smmu_output_queue_has_overflown(u, r))
		smmu_reg_set(&u->regs, r->prod,
			     smmu_reg_get(&u->regs, r->prod) ^ SMMU_QUEUE_OVERFLOW);
}

static struct smmu_output_regs regs_of(const struct smmu_unit *u)
{
	return (struct smmu_output_regs){
		SMMU_EVENTQ_BASE,
		SMMU_EVENTQ_PROD,
		SMMU_EVENTQ_CONS,
		(unsigned int)FIELD_GET(SMMU_IDR1_EVENTQS, u->idr.idr[1]),
		sizeof(struct smmu_event),
	};
}

/* s7.2.1: what comes while the queue is disabled, or has an error nobody has seen, is dropped. */
static bool recording(struct smmu_unit *u)
{
	return (smmu_reg_get(&u->regs, SMMU_CR0) & SMMU_CR0_EVENTQEN) &&
	       !smmu_gerror_is_active(u, SMMU_GERROR_EVENTQ_ABT);
}

/* Software looks for an overflow when it is told of events. */
void smmu_events_lost(struct smmu_unit *u, uint32_t count)
{
	const struct smmu_output_regs regs = regs_of(u);

	u->lost_events += count;
	if (!recording(u))
		return;
	smmu_output_queue_overflow(u, &regs);
	raise_eventq(u);
}

/* False: what should hold the queue is no memory. */
static bool write_event(struct smmu_unit *u, const struct smmu_output_regs *regs,
			const struct smmu_output_queue *q, const struct smmu_event *event)
	REQUIRES(u->cmd_lock)
{
	nst_gpa at = { q->base + (q->prod & (q->entries - 1)) * sizeof(*event) };

	if (nst_mem_write(nst_vm_mem(u->vm), at, event, sizeof(*event))) {
		smmu_gerror_raise(u, SMMU_GERROR_EVENTQ_ABT);
		return false;
	}
	smmu_output_queue_publish(u, regs, q, 1);
	if (q->prod == q->cons) /* it was empty */
		raise_eventq(u);
	return true;
}

bool smmu_event_try(struct smmu_unit *u, const struct smmu_event *event)
{
	const struct smmu_output_regs regs = regs_of(u);
	struct smmu_output_queue q = smmu_output_queue_read(u, &regs);

	if (!recording(u) || !smmu_output_queue_room(&q) || !write_event(u, &regs, &q, event))
		return false;
	u->events++;
	return true;
}

void smmu_event_put(struct smmu_unit *u, const struct smmu_event *event)
{
	const struct smmu_output_regs regs = regs_of(u);
	struct smmu_output_queue q = smmu_output_queue_read(u, &regs);

	if (!recording(u))
		return;
	u->events++;
	if (smmu_output_queue_room(&q))
		write_event(u, &regs, &q, event);
	else
		smmu_output_queue_overflow(u, &regs);
}

/* --- records ---------------------------------------------------------------------------- */

/* Groups of fields of a record, s7.3. */
enum {
	SSV = 1,	   /* SSV and SubstreamID */
	SSID_ALWAYS = 2,   /* SubstreamID without SSV */
	INPUT = 4,	   /* RnW, PnU, InD, CLASS and InputAddr */
	FETCH_ADDRESS = 8, /* what could not be fetched */
	INPUT_PAGE = 16,   /* InputAddr without the offset in a page */
	TRANSLATED = 32,   /* RnW and InputAddr */
};

static unsigned int fields_of(enum smmu_event_type type)
{
	switch (type) {
	case SMMU_C_BAD_STREAMID:
	case SMMU_C_BAD_STE:
	case SMMU_C_BAD_CD:
		return SSV;
	case SMMU_F_STE_FETCH:
	case SMMU_F_CD_FETCH:
		return SSV | FETCH_ADDRESS;
	case SMMU_C_BAD_SUBSTREAMID:
		return SSID_ALWAYS;
	case SMMU_F_BAD_ATS_TREQ:
		return SSV | INPUT_PAGE;
	case SMMU_F_TRANSL_FORBIDDEN:
		return TRANSLATED;
	case SMMU_F_WALK_EABT:
		return SSV | INPUT | FETCH_ADDRESS;
	case SMMU_F_TRANSLATION:
	case SMMU_F_ADDR_SIZE:
	case SMMU_F_ACCESS:
	case SMMU_F_PERMISSION:
		return SSV | INPUT;
	default: /* F_STREAM_DISABLED: the stream says it all */
		return 0;
	}
}

static uint64_t make_input(const struct smmu_fault *fault)
{
	enum smmu_event_class cls = fault->type == SMMU_F_WALK_EABT ? SMMU_CLASS_TT : SMMU_CLASS_IN;
	uint64_t word = (fault->write ? 0 : SMMU_EVENT_1_RNW) |
			(fault->privileged ? SMMU_EVENT_1_PNU : 0) |
			(fault->instruction ? SMMU_EVENT_1_IND : 0);

	if (fault->s2) {
		cls = fault->cls;
		word |= SMMU_EVENT_1_S2;
	}
	/* defined for F_PERMISSION alone: descriptors are only read, as IDR0.HTTU is 0 */
	if (fault->type == SMMU_F_PERMISSION && cls == SMMU_CLASS_TT)
		word |= SMMU_EVENT_1_TTRNW;
	return word | FIELD_PREP(SMMU_EVENT_1_CLASS, cls);
}

struct smmu_event smmu_event_make(const struct smmu_fault *fault)
{
	unsigned int fields = fields_of(fault->type);
	uint64_t qw[4] = { FIELD_PREP(SMMU_EVENT_0_TYPE, fault->type) |
			   FIELD_PREP(SMMU_EVENT_0_SID, fault->sid) };
	struct smmu_event event;

	if ((fields & (SSV | SSID_ALWAYS)) && fault->ssid != NST_NO_PASID)
		qw[0] |= FIELD_PREP(SMMU_EVENT_0_SSID, fault->ssid) |
			 (fields & SSV ? SMMU_EVENT_0_SSV : 0);
	if (fields & INPUT) {
		qw[1] = make_input(fault);
		qw[2] = fault->address;
		qw[3] = fault->s2 ? fault->ipa & SMMU_EVENT_3_IPA : 0;
	}
	if (fields & INPUT_PAGE)
		qw[2] = fault->address & ~(PAGE_SIZE_4K - 1);
	if (fields & TRANSLATED) {
		qw[1] = fault->write ? 0 : SMMU_EVENT_1_RNW;
		qw[2] = fault->address;
	}
	if (fields & FETCH_ADDRESS)
		qw[3] = fault->fetch_address & SMMU_EVENT_3_FETCHADDR;
	for (unsigned int i = 0; i < ARRAY_SIZE(qw); i++)
		event.qw[i] = le64_make(qw[i]);
	return event;
}

void smmu_fault_report(struct smmu_unit *u, const struct smmu_fault *fault)
{
	const struct smmu_event event = smmu_event_make(fault);

	/* s6.3.12: these only for who asks for them */
	if (fault->type == SMMU_C_BAD_STREAMID &&
	    !(smmu_reg_get(&u->regs, SMMU_CR2) & SMMU_CR2_RECINVSID))
		return;
	log_debug(u->log, "smmuv3: event 0x%x of stream 0x%x", fault->type, fault->sid);
	smmu_event_put(u, &event);
}

void smmu_faults_take(struct smmu_unit *u)
{
	const struct smmu_output_regs regs = regs_of(u);
	struct smmu_fault faults[SMMU_POSTED_FAULTS];
	unsigned int count;
	bool lost;

	mutex_lock(&u->posted.lock);
	count = u->posted.count;
	lost = u->posted.lost;
	memcpy(faults, u->posted.faults, count * sizeof(faults[0]));
	u->posted.count = 0;
	u->posted.lost = false;
	mutex_unlock(&u->posted.lock);
	for (unsigned int i = 0; i < count; i++)
		smmu_fault_report(u, &faults[i]);
	if (lost && recording(u))
		smmu_output_queue_overflow(u, &regs);
}

void smmu_fault_post(struct smmu_unit *u, const struct smmu_fault *fault)
{
	mutex_lock(&u->posted.lock);
	if (u->posted.count < SMMU_POSTED_FAULTS)
		u->posted.faults[u->posted.count++] = *fault;
	else
		u->posted.lost = true;
	mutex_unlock(&u->posted.lock);
	if (mutex_trylock(&u->cmd_lock)) {
		smmu_faults_take(u);
		mutex_unlock(&u->cmd_lock);
	} else {
		wakeup_announce(&u->wakeup);
	}
}
