// SPDX-License-Identifier: BSD-3-Clause
/*
 * Queues: doorbells on the register side; picking, fetching and completing
 * commands on run()'s side. Under the lock one step is chosen (flush for a
 * shutdown, report an event, or take one command from the next non-empty queue in
 * turn); the step itself runs unlocked. run() declares itself ended in the same
 * critical section in which it found nothing, so no doorbell is lost.
 */
#include "endpoint/nvme.h"

#include <stdatomic.h>

enum step_kind { STEP_NONE, STEP_SHUTDOWN, STEP_EVENT, STEP_COMMAND };

struct step {
	enum step_kind kind;
	uint16_t sqid;
	uint64_t sqe_iova;
	uint16_t cid; /* of the request that carries the event */
	uint32_t result;
};

void nvme_queues_start(struct nvme_ctrl *c)
{
	c->sq[0] = (struct nvme_sq){
		.exists = true,
		.iova = c->asq,
		.size = (uint32_t)FIELD_GET(NVME_AQA_ASQS, c->aqa) + 1,
	};
	c->cq[0] = (struct nvme_cq){
		.exists = true,
		.ien = true,
		.iova = c->acq,
		.phase = 1,
		.sq_count = 1,
		.size = (uint32_t)FIELD_GET(NVME_AQA_ACQS, c->aqa) + 1,
	};
	c->next_sq = 0;
}

void nvme_queues_stop(struct nvme_ctrl *c)
{
	memset(c->sq, 0, sizeof(c->sq));
	memset(c->cq, 0, sizeof(c->cq));
	memset(c->event, 0, sizeof(c->event));
	c->aer_count = 0;
}

void nvme_event_locked(struct nvme_ctrl *c, enum nvme_event_type type, uint8_t info, uint8_t log)
{
	struct nvme_event *event = &c->event[type];

	/* One of a type is enough until the driver has read the log page it names. */
	if (!event->pending && !event->masked)
		*event = (struct nvme_event){ .pending = true, .info = info, .log = log };
}

void nvme_log_error_locked(struct nvme_ctrl *c, const struct nvme_error_entry *entry)
{
	uint64_t count = ++c->health.error_count;
	struct nvme_error_entry *slot = &c->health.errors[count % NVME_ERROR_ENTRIES];

	*slot = *entry;
	slot->count = le64_make(count);
}

static bool bad_doorbell(struct nvme_ctrl *c, uint8_t info) REQUIRES(c->lock)
{
	struct nvme_error_entry entry = {
		.sqid = le16_make(0xffff),
		.cid = le16_make(0xffff),
		.location = le16_make(0xffff),
		.status = le16_make(info == NVME_EVENT_INVALID_DOORBELL ? NVME_INVALID_QID << 1
									: NVME_INVALID_FIELD << 1),
	};

	/* Only what will be reported is logged: a flood of bad writes keeps the older entries. */
	if (!c->event[NVME_EVENT_ERROR].pending && !c->event[NVME_EVENT_ERROR].masked)
		nvme_log_error_locked(c, &entry);
	nvme_event_locked(c, NVME_EVENT_ERROR, info, NVME_LOG_ERROR);
	return true;
}

/* How far is it from @from to @to in a ring? */
static uint32_t ring_distance(uint32_t size, uint32_t from, uint32_t to)
{
	return to >= from ? to - from : to + size - from;
}

static bool sq_doorbell(struct nvme_ctrl *c, struct nvme_sq *sq, uint32_t tail) REQUIRES(c->lock)
{
	uint32_t held = ring_distance(sq->size, sq->head, sq->tail), old = sq->tail;

	/* The new entries must fit: a full queue has one unused entry (NVMe 1.4 s4.1). */
	if (tail >= sq->size || ring_distance(sq->size, sq->tail, tail) > sq->size - 1 - held)
		return bad_doorbell(c, NVME_EVENT_INVALID_DOORBELL_VALUE);
	sq->tail = tail;
	return tail != old;
}

static bool cq_doorbell(struct nvme_ctrl *c, struct nvme_cq *cq, uint32_t head) REQUIRES(c->lock)
{
	bool was_full;

	/* The driver may only consume what was produced. */
	if (head >= cq->size ||
	    ring_distance(cq->size, cq->head, head) > ring_distance(cq->size, cq->head, cq->tail))
		return bad_doorbell(c, NVME_EVENT_INVALID_DOORBELL_VALUE);
	/* Only a full queue can have held run() back. */
	was_full = ring_distance(cq->size, cq->head, cq->tail) == cq->size - 1;
	cq->head = head;
	return was_full;
}

bool nvme_doorbell_locked(struct nvme_ctrl *c, uint64_t offset, uint32_t value)
{
	uint64_t qid = offset / 8;
	bool is_cq = offset & 4;

	if (!(c->csts & NVME_CSTS_RDY))
		return false;
	if (qid > c->io_queues || !(is_cq ? c->cq[qid].exists : c->sq[qid].exists))
		return bad_doorbell(c, NVME_EVENT_INVALID_DOORBELL);
	/* The upper half of a doorbell is reserved. */
	value &= 0xffff;
	return is_cq ? cq_doorbell(c, &c->cq[qid], value) : sq_doorbell(c, &c->sq[qid], value);
}

static bool vector_masked(const struct nvme_ctrl *c, uint16_t vector) REQUIRES(c->lock)
{
	return vector < 32 && (c->intms & BIT64(vector));
}

uint64_t nvme_unmasked_locked(struct nvme_ctrl *c)
{
	uint64_t vectors = 0;

	for (unsigned int i = 0; i <= c->io_queues; i++) {
		struct nvme_cq *cq = &c->cq[i];

		if (!cq->irq_held || vector_masked(c, cq->vector))
			continue;
		cq->irq_held = false;
		if (cq->head != cq->tail)
			vectors |= BIT64(cq->vector);
	}
	return vectors;
}

uint32_t nvme_cq_free_locked(const struct nvme_ctrl *c, uint16_t cqid)
{
	const struct nvme_cq *cq = &c->cq[cqid];

	return cq->size - 1 - ring_distance(cq->size, cq->head, cq->tail);
}

static bool take_event(struct nvme_ctrl *c, struct step *step) REQUIRES(c->lock)
{
	if (!c->aer_count || !nvme_cq_free_locked(c, 0))
		return false;
	for (unsigned int type = 0; type < NVME_EVENT_TYPES; type++) {
		struct nvme_event *event = &c->event[type];

		if (!event->pending)
			continue;
		event->pending = false;
		event->masked = true;
		step->kind = STEP_EVENT;
		step->cid = c->aer_cid[--c->aer_count];
		step->result = type | (uint32_t)FIELD_PREP(NVME_EVENT_INFO, event->info) |
			       (uint32_t)FIELD_PREP(NVME_EVENT_LOG, event->log);
		return true;
	}
	return false;
}

static bool take_command(struct nvme_ctrl *c, struct step *step) REQUIRES(c->lock)
{
	for (unsigned int i = 0; i <= c->io_queues; i++) {
		uint16_t sqid = (uint16_t)((c->next_sq + i) % (c->io_queues + 1));
		struct nvme_sq *sq = &c->sq[sqid];

		if (!sq->exists || sq->head == sq->tail || !nvme_cq_free_locked(c, sq->cqid))
			continue;
		step->kind = STEP_COMMAND;
		step->sqid = sqid;
		step->sqe_iova = sq->iova + (uint64_t)sq->head * sizeof(struct nvme_sqe);
		sq->head = sq->head + 1 == sq->size ? 0 : sq->head + 1;
		c->next_sq = (uint16_t)(sqid + 1);
		return true;
	}
	return false;
}

/* What to do next. Nothing: run() has ended, and whoever waits for that is woken. */
static bool next_step(struct nvme_ctrl *c, struct step *step)
{
	*step = (struct step){ .kind = STEP_NONE };
	mutex_lock(&c->lock);
	if (!atomic_load(&c->stop) && !c->suspended) {
		bool ready = (c->csts & (NVME_CSTS_RDY | NVME_CSTS_CFS)) == NVME_CSTS_RDY &&
			     FIELD_GET(NVME_CSTS_SHST, c->csts) == NVME_SHST_NONE;

		if (c->want_shutdown)
			step->kind = STEP_SHUTDOWN;
		else if (ready && !take_event(c, step))
			take_command(c, step);
	}
	if (step->kind == STEP_NONE) {
		c->running = false;
		pthread_cond_broadcast(&c->idle);
	}
	mutex_unlock(&c->lock);
	return step->kind != STEP_NONE;
}

static void shut_down(struct nvme_ctrl *c)
{
	/* A file that cannot be flushed any more has no better moment to say so: the driver only
	 * waits for the end. Write errors have been reported by the commands that had them. */
	int err = nvme_backend_flush(&c->disk);

	mutex_lock(&c->lock);
	c->want_shutdown = false;
	c->csts &= ~(uint32_t)NVME_CSTS_SHST;
	c->csts |= (uint32_t)FIELD_PREP(NVME_CSTS_SHST, NVME_SHST_DONE);
	if (err)
		c->csts |= NVME_CSTS_CFS;
	mutex_unlock(&c->lock);
}

struct slot {
	uint64_t iova;
	uint16_t cqid;
	struct nvme_cqe cqe;
};

static struct slot reserve_slot(struct nvme_ctrl *c, uint16_t sqid, uint16_t cid, uint16_t status,
				uint32_t result)
{
	struct slot slot;
	struct nvme_cq *cq;

	mutex_lock(&c->lock);
	slot.cqid = c->sq[sqid].cqid;
	cq = &c->cq[slot.cqid];
	slot.iova = cq->iova + (uint64_t)cq->tail * sizeof(slot.cqe);
	slot.cqe = (struct nvme_cqe){
		.result = le32_make(result),
		.sq_head = le16_make((uint16_t)c->sq[sqid].head),
		.sqid = le16_make(sqid),
		.cid = le16_make(cid),
		.status = le16_make((uint16_t)(status << 1 | cq->phase)),
	};
	mutex_unlock(&c->lock);
	return slot;
}

/* The word with the phase tag goes last: a driver that polls must see a whole entry. */
static bool write_slot(struct nvme_ctrl *c, struct slot *slot)
{
	const size_t body = offsetof(struct nvme_cqe, cid);

	if (!nvme_dma(c, slot->iova, &slot->cqe, body, true))
		return false;
	atomic_thread_fence(memory_order_release);
	return nvme_dma(c, slot->iova + body, &slot->cqe.cid, sizeof(slot->cqe) - body, true);
}

void nvme_complete(struct nvme_ctrl *c, uint16_t sqid, uint16_t cid, uint16_t status,
		   uint32_t result)
{
	struct slot slot = reserve_slot(c, sqid, cid, status, result);
	struct nvme_cq *cq;
	uint16_t vector;
	bool interrupt;

	if (!write_slot(c, &slot)) {
		nvme_fatal(c, "a completion queue entry cannot be written");
		return;
	}
	mutex_lock(&c->lock);
	cq = &c->cq[slot.cqid];
	if (++cq->tail == cq->size) {
		cq->tail = 0;
		cq->phase ^= 1;
	}
	vector = cq->vector;
	interrupt = cq->ien && !vector_masked(c, vector);
	cq->irq_held |= cq->ien && !interrupt;
	mutex_unlock(&c->lock);
	if (interrupt)
		endpoint_interrupt(&c->ep, vector);
}

static void log_failure(struct nvme_ctrl *c, const struct nvme_command *cmd, uint16_t status)
{
	struct nvme_error_entry entry = {
		.sqid = le16_make(cmd->sqid),
		.cid = cmd->sqe.cid,
		.location = le16_make(0xffff),
		.lba = le64_make(cmd->lba),
		.nsid = cmd->sqe.nsid,
	};

	mutex_lock(&c->lock);
	entry.status = le16_make((uint16_t)(status << 1 | c->cq[c->sq[cmd->sqid].cqid].phase));
	nvme_log_error_locked(c, &entry);
	mutex_unlock(&c->lock);
}

static uint16_t execute(struct nvme_ctrl *c, struct nvme_command *cmd)
{
	/* Neither fused operations nor SGLs are offered. */
	if (cmd->sqe.flags & (NVME_SQE_FUSE | NVME_SQE_PSDT))
		return NVME_INVALID_FIELD | NVME_DNR;
	return cmd->sqid ? nvme_io(c, cmd) : nvme_admin(c, cmd);
}

static void do_command(struct nvme_ctrl *c, const struct step *step)
{
	struct nvme_command cmd = { .sqid = step->sqid };
	uint16_t status;

	if (!nvme_dma(c, step->sqe_iova, &cmd.sqe, sizeof(cmd.sqe), false)) {
		nvme_fatal(c, "a submission queue entry cannot be read");
		return;
	}
	status = execute(c, &cmd);
	if (status == NVME_NO_COMPLETION || atomic_load(&c->stop))
		return;
	if (status != NVME_OK) {
		status |= NVME_MORE;
		log_failure(c, &cmd, status);
	}
	nvme_complete(c, cmd.sqid, le16_get(cmd.sqe.cid), status, cmd.result);
}

void nvme_run(struct endpoint *ep)
{
	struct nvme_ctrl *c = to_nvme(ep);
	struct step step;
	bool mine;

	mutex_lock(&c->lock);
	mine = !c->running;
	c->running = true;
	mutex_unlock(&c->lock);

	while (mine && next_step(c, &step)) {
		switch (step.kind) {
		case STEP_SHUTDOWN:
			shut_down(c);
			break;
		case STEP_EVENT:
			nvme_complete(c, 0, step.cid, NVME_OK, step.result);
			break;
		case STEP_COMMAND:
			do_command(c, &step);
			break;
		case STEP_NONE:
			break;
		}
	}
}
