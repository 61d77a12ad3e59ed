// SPDX-License-Identifier: BSD-3-Clause
/*
 * Queues of dmatest: doorbells on the register side; picking, fetching and completing on
 * run()'s side, in the manner of nvme_queue.c. One step (a descriptor fetched, or up to
 * 64 KiB of an operation) is chosen under the lock and done without it, queues taking
 * turns. run() declares itself ended in the same critical section in which it found
 * nothing to do, so that no doorbell and no page response is lost.
 */
#include "endpoint/dmatest.h"

#include "base/log.h"

#include <stdatomic.h>

static uint32_t ring_distance(uint32_t size, uint32_t from, uint32_t to)
{
	return to >= from ? to - from : to + size - from;
}

static uint32_t cpl_free(const struct dmatest_queue *q)
{
	return q->size - 1 - ring_distance(q->size, q->cpl_head, q->cpl_tail);
}

static bool is_bad_setup(const struct dmatest *d, const struct dmatest_queue *q) REQUIRES(d->lock)
{
	uint64_t pasid_end = BIT64(d->pasid_bits ? d->pasid_bits : 20);

	return q->size < 2 || q->size > DMATEST_ENTRIES_MAX || q->vector >= d->vectors ||
	       q->pasid >= (q->ctrl & DMATEST_Q_CTRL_PASID ? pasid_end : 1) ||
	       ((q->ctrl & DMATEST_Q_CTRL_PRIVILEGED) && !(q->ctrl & DMATEST_Q_CTRL_PASID)) ||
	       range_overflows(q->ring, q->size * sizeof(struct dmatest_desc)) ||
	       range_overflows(q->cpl, q->size * sizeof(struct dmatest_cpl));
}

void dmatest_queue_enable(struct dmatest *d, struct dmatest_queue *q)
{
	q->head = q->tail = q->cpl_head = q->cpl_tail = 0;
	q->phase = true;
	q->bad_doorbell = false;
	q->error = is_bad_setup(d, q) ? DMATEST_QUEUE_BAD_SETUP : DMATEST_QUEUE_OK;
	q->running = q->error == DMATEST_QUEUE_OK;
}

static void drop_ops(struct dmatest *d, struct dmatest_queue *q) REQUIRES(d->lock)
{
	for (unsigned int i = 0; i < DMATEST_IN_FLIGHT_MAX; i++) {
		if (q->ops[i].state == OP_FREE)
			continue;
		dmatest_page_abandon(d, &q->ops[i]);
		q->ops[i].state = OP_FREE;
	}
	q->in_flight = 0;
}

void dmatest_queue_disable(struct dmatest *d, struct dmatest_queue *q)
{
	q->running = false;
	q->error = DMATEST_QUEUE_OK;
	drop_ops(d, q);
}

bool dmatest_tail_doorbell(struct dmatest_queue *q, uint32_t tail)
{
	if (!q->running)
		return false;
	/* The new entries must fit: a full ring has one unused entry. */
	if (tail >= q->size || ring_distance(q->size, q->tail, tail) >
				       q->size - 1 - ring_distance(q->size, q->head, q->tail)) {
		q->bad_doorbell = true;
		return false;
	}
	q->tail = tail;
	return q->head != q->tail;
}

bool dmatest_cpl_doorbell(struct dmatest_queue *q, uint32_t head)
{
	if (!q->running)
		return false;
	/* The driver may only consume what was produced. */
	if (head >= q->size || ring_distance(q->size, q->cpl_head, head) >
				       ring_distance(q->size, q->cpl_head, q->cpl_tail)) {
		q->bad_doorbell = true;
		return false;
	}
	q->cpl_head = head;
	return q->head != q->tail;
}

struct step {
	struct dmatest_op *op;
	uint64_t desc_iova; /* of the descriptor to be fetched, if fetch */
	bool fetch;
};

/* The oldest operation that can go on. A fence can when it is alone. */
static struct dmatest_op *ready_op(struct dmatest_queue *q)
{
	struct dmatest_op *oldest = NULL;

	for (unsigned int i = 0; i < DMATEST_IN_FLIGHT_MAX; i++) {
		struct dmatest_op *op = &q->ops[i];

		if (op->state != OP_READY || (op->opcode == DMATEST_FENCE && q->in_flight > 1))
			continue;
		if (!oldest || op->order < oldest->order)
			oldest = op;
	}
	return oldest;
}

/* A free place for the next descriptor; NULL: none, or a fence is in front of it. */
static struct dmatest_op *free_op(struct dmatest_queue *q)
{
	struct dmatest_op *found = NULL;

	for (unsigned int i = 0; i < DMATEST_IN_FLIGHT_MAX; i++) {
		struct dmatest_op *op = &q->ops[i];

		if (op->state == OP_FREE)
			found = op;
		else if (op->opcode == DMATEST_FENCE)
			return NULL;
	}
	return found;
}

static bool take_step(struct dmatest *d, struct dmatest_queue *q, struct step *step)
	REQUIRES(d->lock)
{
	if (!q->running)
		return false;
	step->op = ready_op(q);
	if (step->op) {
		step->fetch = false;
		return true;
	}
	/* Whatever is fetched has a place for its completion. */
	if (q->head == q->tail || cpl_free(q) <= q->in_flight)
		return false;
	step->op = free_op(q);
	if (!step->op)
		return false;
	step->fetch = true;
	step->desc_iova = q->ring + (uint64_t)q->head * sizeof(struct dmatest_desc);
	step->op->order = d->fetched++;
	q->head = q->head + 1 == q->size ? 0 : q->head + 1;
	q->in_flight++;
	return true;
}

static bool pick(struct dmatest *d, struct step *step) REQUIRES(d->lock)
{
	if (d->imm.state == OP_READY) {
		*step = (struct step){ .op = &d->imm };
		return true;
	}
	for (unsigned int i = 0; i < d->queues; i++) {
		unsigned int index = (d->next_queue + i) % d->queues;

		if (take_step(d, &d->queue[index], step)) {
			d->next_queue = index + 1;
			return true;
		}
	}
	return false;
}

/* What to do next. Nothing: run() has ended, and whoever waits for that is woken. */
static bool next_step(struct dmatest *d, struct step *step)
{
	bool found = false;

	mutex_lock(&d->lock);
	dmatest_page_sync(d);
	if (!atomic_load(&d->stop))
		found = pick(d, step);
	if (found) {
		step->op->state = OP_ACTIVE;
	} else {
		d->running = false;
		pthread_cond_broadcast(&d->idle);
	}
	mutex_unlock(&d->lock);
	return found;
}

/* The queue does nothing more until it is disabled and enabled. */
static void queue_failed(struct dmatest *d, struct dmatest_queue *q, enum dmatest_queue_error error)
{
	log_warn(d->ep.log, "dmatest: queue %d: %s", (int)(q - d->queue),
		 error == DMATEST_QUEUE_FETCH_FAILED ? "a descriptor cannot be read"
						     : "a completion cannot be written");
	mutex_lock(&d->lock);
	q->running = false;
	q->error = error;
	drop_ops(d, q);
	mutex_unlock(&d->lock);
}

/* Ring memory is reached with the queue's own PASID, if it has one, and never with ATS. */
static bool ring_dma(struct dmatest *d, const struct dmatest_queue *q, uint64_t iova, void *buf,
		     size_t size, bool write)
{
	struct endpoint_dma_request req = {
		.iova = { iova },
		.pasid = q->ctrl & DMATEST_Q_CTRL_PASID ? q->pasid : NST_NO_PASID,
		.privileged = q->ctrl & DMATEST_Q_CTRL_PRIVILEGED,
		.write = write,
		.buf = buf,
		.size = size,
	};

	return dmatest_dma(d, &req, false) == DMATEST_OK;
}

/* The word with status and phase goes last: a driver that polls must see a whole record. */
static bool write_completion(struct dmatest *d, const struct dmatest_queue *q,
			     struct dmatest_cpl *cpl)
{
	const size_t body = offsetof(struct dmatest_cpl, status);
	uint64_t iova = q->cpl + (uint64_t)q->cpl_tail * sizeof(*cpl);

	if (q->phase)
		cpl->status.raw |= le32_make((uint32_t)DMATEST_CPL_PHASE).raw;
	if (!ring_dma(d, q, iova, cpl, body, true))
		return false;
	atomic_thread_fence(memory_order_release);
	return ring_dma(d, q, iova + body, &cpl->status, sizeof(cpl->status), true);
}

/* cpl_tail and phase change here and while run() is stopped: they can be read without lock. */
static void complete(struct dmatest *d, struct dmatest_op *op)
{
	struct dmatest_cpl cpl = dmatest_op_completion(op);
	struct dmatest_queue *q = op->queue;

	if (!write_completion(d, q, &cpl)) {
		queue_failed(d, q, DMATEST_QUEUE_COMPLETION_FAILED);
		return;
	}
	mutex_lock(&d->lock);
	if (++q->cpl_tail == q->size) {
		q->cpl_tail = 0;
		q->phase = !q->phase;
	}
	op->state = OP_FREE;
	q->in_flight--;
	mutex_unlock(&d->lock);
	dmatest_count(d, DMATEST_STAT_OPERATIONS, 1);
	if (op->flags & DMATEST_DESC_INTERRUPT)
		endpoint_interrupt(&d->ep, q->vector);
}

static void complete_immediate(struct dmatest *d)
{
	bool interrupt = d->imm.flags & DMATEST_DESC_INTERRUPT;

	mutex_lock(&d->lock);
	d->imm_cpl = dmatest_op_completion(&d->imm);
	d->imm.state = OP_FREE;
	mutex_unlock(&d->lock);
	dmatest_count(d, DMATEST_STAT_OPERATIONS, 1);
	if (interrupt)
		endpoint_interrupt(&d->ep, d->queues);
}

static void do_op(struct dmatest *d, struct dmatest_op *op)
{
	switch (dmatest_op_step(d, op, &d->run_buffers)) {
	case OUTCOME_MORE:
		mutex_lock(&d->lock);
		op->state = OP_READY;
		mutex_unlock(&d->lock);
		break;
	case OUTCOME_PARKED:
		break;
	case OUTCOME_DONE:
		if (op->queue)
			complete(d, op);
		else
			complete_immediate(d);
		break;
	}
}

/* It is done when its turn comes; a fence may have to wait first. */
static void fetch(struct dmatest *d, const struct step *step)
{
	struct dmatest_queue *q = step->op->queue;
	struct dmatest_desc desc;

	if (!ring_dma(d, q, step->desc_iova, &desc, sizeof(desc), false)) {
		queue_failed(d, q, DMATEST_QUEUE_FETCH_FAILED);
		return;
	}
	mutex_lock(&d->lock);
	dmatest_op_start(d, step->op, &desc);
	step->op->state = OP_READY;
	mutex_unlock(&d->lock);
}

void dmatest_run(struct endpoint *ep)
{
	struct dmatest *d = to_dmatest(ep);
	struct step step;
	bool mine;

	mutex_lock(&d->lock);
	mine = !d->running;
	d->running = true;
	mutex_unlock(&d->lock);

	while (mine && next_step(d, &step)) {
		if (step.fetch)
			fetch(d, &step);
		else
			do_op(d, step.op);
	}
}

void dmatest_immediate(struct dmatest *d)
{
	for (;;) {
		enum dmatest_outcome outcome = dmatest_op_step(d, &d->imm, &d->imm_buffers);
		bool mine;

		if (outcome == OUTCOME_DONE) {
			complete_immediate(d);
			return;
		}
		if (outcome == OUTCOME_MORE)
			continue;
		/* Answered already? Unless run() saw it first, go on. */
		mutex_lock(&d->lock);
		mine = d->imm.state == OP_READY;
		if (mine)
			d->imm.state = OP_ACTIVE;
		mutex_unlock(&d->lock);
		if (!mine)
			return;
	}
}
