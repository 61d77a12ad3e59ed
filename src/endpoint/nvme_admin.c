// SPDX-License-Identifier: BSD-3-Clause
/*
 * Admin commands (NVMe 1.4 s5) that manage queues and other commands. A queue is
 * checked completely before anything of it exists. Commands execute one after
 * another, so a deleted queue never has one under way.
 */
#include "endpoint/nvme.h"

#define INVALID_FIELD (NVME_INVALID_FIELD | NVME_DNR)

struct new_queue {
	uint16_t qid;
	uint32_t size;
	uint32_t cdw11;
	uint64_t iova;
};

static bool exists_locked(const struct nvme_ctrl *c, uint16_t qid, bool is_cq) REQUIRES(c->lock)
{
	return is_cq ? c->cq[qid].exists : c->sq[qid].exists;
}

static bool entry_sizes_set(struct nvme_ctrl *c)
{
	uint32_t cc;

	mutex_lock(&c->lock);
	cc = c->cc;
	mutex_unlock(&c->lock);
	return FIELD_GET(NVME_CC_IOSQES, cc) == NVME_SQES_LG2 &&
	       FIELD_GET(NVME_CC_IOCQES, cc) == NVME_CQES_LG2;
}

/* What creating either kind of queue has in common. */
static uint16_t decode_create(struct nvme_ctrl *c, const struct nvme_sqe *sqe, bool is_cq,
			      struct new_queue *q)
{
	uint32_t cdw10 = le32_get(sqe->cdw10);
	uint32_t entries = (uint32_t)FIELD_GET(NVME_CREATE_QSIZE, cdw10);
	bool taken;

	q->qid = (uint16_t)FIELD_GET(NVME_CREATE_QID, cdw10);
	q->size = entries + 1;
	q->cdw11 = le32_get(sqe->cdw11);
	q->iova = le64_get(sqe->prp1);
	if (!q->qid || q->qid > c->io_queues)
		return NVME_INVALID_QID | NVME_DNR;
	mutex_lock(&c->lock);
	taken = exists_locked(c, q->qid, is_cq);
	mutex_unlock(&c->lock);
	if (taken)
		return NVME_INVALID_QID | NVME_DNR;
	if (!entries || q->size > NVME_QUEUE_ENTRIES_MAX || !entry_sizes_set(c))
		return NVME_INVALID_QUEUE_SIZE | NVME_DNR;
	if (!(q->cdw11 & NVME_CREATE_PC)) /* CAP.CQR */
		return INVALID_FIELD;
	if (q->iova & (c->page_bytes - 1))
		return NVME_INVALID_PRP_OFFSET | NVME_DNR;
	return NVME_OK;
}

static uint16_t create_cq(struct nvme_ctrl *c, const struct nvme_sqe *sqe)
{
	struct new_queue q;
	uint16_t status = decode_create(c, sqe, true, &q);
	uint32_t vector = (uint32_t)FIELD_GET(NVME_CREATE_CQ_IV, q.cdw11);

	if (status != NVME_OK)
		return status;
	if (vector >= c->vectors)
		return NVME_INVALID_VECTOR | NVME_DNR;
	mutex_lock(&c->lock);
	c->cq[q.qid] = (struct nvme_cq){
		.exists = true,
		.ien = q.cdw11 & NVME_CREATE_CQ_IEN,
		.phase = 1,
		.vector = (uint16_t)vector,
		.size = q.size,
		.iova = q.iova,
	};
	mutex_unlock(&c->lock);
	return NVME_OK;
}

static uint16_t create_sq(struct nvme_ctrl *c, const struct nvme_sqe *sqe)
{
	struct new_queue q;
	uint16_t status = decode_create(c, sqe, false, &q);
	uint16_t cqid = (uint16_t)FIELD_GET(NVME_CREATE_SQ_CQID, q.cdw11);

	if (status != NVME_OK)
		return status;
	if (!cqid || cqid > c->io_queues)
		return NVME_INVALID_QID | NVME_DNR;
	mutex_lock(&c->lock);
	if (c->cq[cqid].exists) {
		c->sq[q.qid] = (struct nvme_sq){
			.exists = true,
			.cqid = cqid,
			.size = q.size,
			.iova = q.iova,
		};
		c->cq[cqid].sq_count++;
	} else {
		status = NVME_INVALID_CQ | NVME_DNR;
	}
	mutex_unlock(&c->lock);
	return status;
}

static uint16_t delete_queue(struct nvme_ctrl *c, const struct nvme_sqe *sqe, bool is_cq)
{
	uint16_t qid = (uint16_t)FIELD_GET(NVME_CREATE_QID, le32_get(sqe->cdw10));
	uint16_t status = NVME_OK;

	if (!qid || qid > c->io_queues)
		return NVME_INVALID_QID | NVME_DNR;
	mutex_lock(&c->lock);
	if (!exists_locked(c, qid, is_cq)) {
		status = NVME_INVALID_QID | NVME_DNR;
	} else if (!is_cq) {
		c->cq[c->sq[qid].cqid].sq_count--;
		c->sq[qid].exists = false;
	} else if (c->cq[qid].sq_count) {
		status = NVME_INVALID_QUEUE_DELETION | NVME_DNR;
	} else {
		c->cq[qid].exists = c->cq[qid].irq_held = false;
	}
	mutex_unlock(&c->lock);
	return status;
}

/* Take @cid out of the requests that wait for an event, if its completion and that of the
 * Abort, which comes after it, both have room. */
static bool take_aer(struct nvme_ctrl *c, uint16_t cid) REQUIRES(c->lock)
{
	if (nvme_cq_free_locked(c, 0) < 2)
		return false;
	for (unsigned int i = 0; i < c->aer_count; i++) {
		if (c->aer_cid[i] == cid) {
			c->aer_cid[i] = c->aer_cid[--c->aer_count];
			return true;
		}
	}
	return false;
}

/* Only event requests are ever under way when an Abort executes. DW0 0 = aborted, 1 = not. */
static uint16_t abort_command(struct nvme_ctrl *c, struct nvme_command *cmd)
{
	uint32_t cdw10 = le32_get(cmd->sqe.cdw10);
	uint16_t cid = (uint16_t)FIELD_GET(NVME_ABORT_CID, cdw10);
	bool taken = false;

	if (!FIELD_GET(NVME_ABORT_SQID, cdw10)) {
		mutex_lock(&c->lock);
		taken = take_aer(c, cid);
		mutex_unlock(&c->lock);
	}
	if (taken)
		nvme_complete(c, 0, cid, NVME_ABORT_REQUESTED, 0);
	cmd->result = !taken;
	return NVME_OK;
}

static uint16_t async_event(struct nvme_ctrl *c, const struct nvme_sqe *sqe)
{
	uint16_t status = NVME_NO_COMPLETION;

	mutex_lock(&c->lock);
	if (c->aer_count == NVME_AER_MAX)
		status = NVME_AER_LIMIT | NVME_DNR;
	else
		c->aer_cid[c->aer_count++] = le16_get(sqe->cid);
	mutex_unlock(&c->lock);
	return status;
}

uint16_t nvme_admin(struct nvme_ctrl *c, struct nvme_command *cmd)
{
	switch (cmd->sqe.opcode) {
	case NVME_ADMIN_DELETE_SQ:
		return delete_queue(c, &cmd->sqe, false);
	case NVME_ADMIN_CREATE_SQ:
		return create_sq(c, &cmd->sqe);
	case NVME_ADMIN_GET_LOG:
		return nvme_get_log(c, cmd);
	case NVME_ADMIN_DELETE_CQ:
		return delete_queue(c, &cmd->sqe, true);
	case NVME_ADMIN_CREATE_CQ:
		return create_cq(c, &cmd->sqe);
	case NVME_ADMIN_IDENTIFY:
		return nvme_identify(c, cmd);
	case NVME_ADMIN_ABORT:
		return abort_command(c, cmd);
	case NVME_ADMIN_SET_FEATURES:
		return nvme_set_features(c, cmd);
	case NVME_ADMIN_GET_FEATURES:
		return nvme_get_features(c, cmd);
	case NVME_ADMIN_ASYNC_EVENT:
		return async_event(c, &cmd->sqe);
	default:
		return NVME_INVALID_OPCODE | NVME_DNR;
	}
}
