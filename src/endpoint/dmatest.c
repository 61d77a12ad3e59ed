// SPDX-License-Identifier: BSD-3-Clause
/*
 * The BAR of dmatest and its life cycle (see dmatest.h). An access counts if it is one
 * aligned 32-bit word, or an aligned pair of words (low word first); others read 0 and
 * write nothing. The MSI-X table can be accessed in any size.
 */
#include "endpoint/dmatest.h"

#include "base/alloc.h"
#include "endpoint/registers.h"

/* What a register write leaves to be done without the lock */
enum action { ACTION_NONE, ACTION_KICK, ACTION_IMMEDIATE, ACTION_RESET };

/* Stop run() at its next chunk boundary and keep it stopped: after this it does no DMA. The lock
 * is released while waiting. */
static void quiesce(struct dmatest *d) REQUIRES(d->lock)
{
	atomic_store(&d->stop, true);
	endpoint_may_wait(&d->ep, false);
	while (d->running)
		pthread_cond_wait(&d->idle, &d->lock.m);
	endpoint_may_wait(&d->ep, true);
}

/* What run() left undone for other queues needs a kick. */
static void release(struct dmatest *d) REQUIRES(d->lock)
{
	atomic_store(&d->stop, false);
}

static void power_on(struct dmatest *d) REQUIRES(d->lock)
{
	for (unsigned int i = 0; i < d->queues; i++) {
		struct dmatest_queue *q = &d->queue[i];

		dmatest_queue_disable(d, q);
		memset(q, 0, sizeof(*q));
		q->vector = i;
		for (unsigned int j = 0; j < DMATEST_IN_FLIGHT_MAX; j++)
			q->ops[j].queue = q;
	}
	dmatest_page_abandon(d, &d->imm);
	dmatest_page_reset(d);
	d->next_queue = 0;
	d->prg_pages = 1;
	d->prg_retries = DMATEST_PRG_RETRIES_RESET;
	d->imm = (struct dmatest_op){ .state = OP_FREE };
	d->imm_desc = (struct dmatest_desc){ 0 };
	d->imm_cpl = (struct dmatest_cpl){ 0 };
	for (unsigned int i = 0; i < DMATEST_STATS; i++)
		atomic_store(&d->stats[i], 0);
}

/* The device TLB is emptied without dmatest.lock: its own is held over calls of the bus, and the
 * host may hold what those need when it calls page_response(). */
static void reset_all(struct dmatest *d) EXCLUDES(d->lock)
{
	mutex_lock(&d->lock);
	quiesce(d);
	power_on(d);
	mutex_unlock(&d->lock);
	device_tlb_reset(&d->tlb);
	mutex_lock(&d->lock);
	release(d);
	mutex_unlock(&d->lock);
}

static uint64_t statistic(struct dmatest *d, unsigned int stat)
{
	switch (stat) {
	case DMATEST_STAT_ATS_HITS:
		return atomic_load(&d->tlb.hits);
	case DMATEST_STAT_ATS_MISSES:
		return atomic_load(&d->tlb.misses);
	case DMATEST_STAT_INVALIDATIONS:
		return atomic_load(&d->tlb.invalidations);
	default:
		return stat < DMATEST_STATS ? atomic_load(&d->stats[stat]) : 0;
	}
}

static uint32_t status_register(const struct dmatest *d) REQUIRES(d->lock)
{
	const struct pci_config *cfg = &d->ep.config;
	uint64_t status = FIELD_PREP(DMATEST_STATUS_OUTSTANDING, d->outstanding);

	status |= atomic_load(&cfg->bus_master) ? DMATEST_STATUS_BUS_MASTER : 0;
	status |= atomic_load(&cfg->ats_enabled) ? DMATEST_STATUS_ATS : 0;
	status |= atomic_load(&cfg->pri_enabled) ? DMATEST_STATUS_PRI : 0;
	status |= atomic_load(&cfg->pasid_enabled) ? DMATEST_STATUS_PASID : 0;
	status |= atomic_load(&cfg->pasid_privileged) ? DMATEST_STATUS_PRIVILEGED : 0;
	status |= d->pri_failed ? DMATEST_STATUS_PRI_FAILED : 0;
	return (uint32_t)status;
}

static uint32_t caps_register(const struct dmatest *d)
{
	return (uint32_t)(FIELD_PREP(DMATEST_CAPS_QUEUES, d->queues) |
			  FIELD_PREP(DMATEST_CAPS_PASID_BITS, d->pasid_bits) |
			  (d->has_ats ? DMATEST_CAPS_ATS : 0) |
			  (d->has_pri ? DMATEST_CAPS_PRI : 0));
}

static uint32_t read_global(struct dmatest *d, uint64_t offset) REQUIRES(d->lock)
{
	switch (offset) {
	case DMATEST_REG_ID:
		return DMATEST_ID;
	case DMATEST_REG_VERSION:
		return DMATEST_VERSION;
	case DMATEST_REG_CAPS:
		return caps_register(d);
	case DMATEST_REG_LIMITS:
		return (uint32_t)(FIELD_PREP(DMATEST_LIMITS_ENTRIES, DMATEST_ENTRIES_MAX) |
				  FIELD_PREP(DMATEST_LIMITS_LENGTH_LG2, DMATEST_LENGTH_LG2));
	case DMATEST_REG_STATUS:
		dmatest_page_sync(d);
		return status_register(d);
	case DMATEST_REG_PRG_PAGES:
		return d->prg_pages;
	case DMATEST_REG_PRG_RETRIES:
		return d->prg_retries;
	default:
		return 0;
	}
}

static uint32_t read_queue(const struct dmatest_queue *q, uint64_t offset)
{
	switch (offset) {
	case DMATEST_Q_CTRL:
		return q->ctrl;
	case DMATEST_Q_STATUS:
		return (uint32_t)((q->running ? DMATEST_Q_STATUS_RUNNING : 0) |
				  (q->bad_doorbell ? DMATEST_Q_STATUS_BAD_DOORBELL : 0) |
				  FIELD_PREP(DMATEST_Q_STATUS_ERROR, q->error) |
				  FIELD_PREP(DMATEST_Q_STATUS_IN_FLIGHT, q->in_flight));
	case DMATEST_Q_RING:
		return (uint32_t)q->ring;
	case DMATEST_Q_RING + 4:
		return (uint32_t)(q->ring >> 32);
	case DMATEST_Q_CPL:
		return (uint32_t)q->cpl;
	case DMATEST_Q_CPL + 4:
		return (uint32_t)(q->cpl >> 32);
	case DMATEST_Q_SIZE:
		return q->size;
	case DMATEST_Q_PASID:
		return q->pasid;
	case DMATEST_Q_VECTOR:
		return q->vector;
	case DMATEST_Q_HEAD:
		return q->head;
	case DMATEST_Q_TAIL:
		return q->tail;
	case DMATEST_Q_CPL_TAIL:
		return q->cpl_tail;
	case DMATEST_Q_CPL_HEAD:
		return q->cpl_head;
	default:
		return 0;
	}
}

/* The word at @offset of a block of @size bytes at @base, if it is there. */
static bool in_block(uint64_t offset, uint64_t base, size_t size)
{
	return offset >= base && offset - base < size;
}

static uint32_t read_word(struct dmatest *d, uint64_t offset) REQUIRES(d->lock)
{
	uint64_t index = (offset - DMATEST_REG_QUEUES) / DMATEST_QUEUE_STRIDE;

	if (offset >= DMATEST_REG_QUEUES)
		return index < d->queues
			       ? read_queue(&d->queue[index], offset % DMATEST_QUEUE_STRIDE)
			       : 0;
	if (in_block(offset, DMATEST_REG_IMM_DESC, sizeof(d->imm_desc)))
		return (uint32_t)le_load((uint8_t *)&d->imm_desc + (offset - DMATEST_REG_IMM_DESC),
					 4);
	if (in_block(offset, DMATEST_REG_IMM_CPL, sizeof(d->imm_cpl)))
		return (uint32_t)le_load((uint8_t *)&d->imm_cpl + (offset - DMATEST_REG_IMM_CPL),
					 4);
	if (in_block(offset, DMATEST_REG_STATS, 8 * DMATEST_STATS))
		return (uint32_t)(statistic(d, (unsigned int)(offset - DMATEST_REG_STATS) / 8) >>
				  (offset & 4 ? 32 : 0));
	return read_global(d, offset);
}

static enum action start_immediate(struct dmatest *d) REQUIRES(d->lock)
{
	if (d->imm.state != OP_FREE)
		return ACTION_NONE;
	dmatest_op_start(d, &d->imm, &d->imm_desc);
	d->imm.state = OP_ACTIVE;
	d->imm_cpl = dmatest_op_completion(&d->imm);
	d->imm_cpl.status = le32_make(DMATEST_BUSY);
	return ACTION_IMMEDIATE;
}

static enum action cancel_immediate(struct dmatest *d) REQUIRES(d->lock)
{
	quiesce(d);
	if (d->imm.state != OP_FREE) {
		dmatest_page_abandon(d, &d->imm);
		d->imm.status = DMATEST_CANCELLED;
		d->imm_cpl = dmatest_op_completion(&d->imm);
		d->imm.state = OP_FREE;
	}
	release(d);
	return ACTION_KICK;
}

static enum action write_global(struct dmatest *d, uint64_t offset, uint32_t value)
	REQUIRES(d->lock)
{
	switch (offset) {
	case DMATEST_REG_CTRL:
		return value & DMATEST_CTRL_RESET ? ACTION_RESET : ACTION_NONE;
	case DMATEST_REG_PRG_PAGES:
		d->prg_pages = MAX(1U, MIN(value, (uint32_t)DMATEST_PRG_PAGES_MAX));
		break;
	case DMATEST_REG_PRG_RETRIES:
		d->prg_retries = MIN(value, (uint32_t)DMATEST_PRG_RETRIES_MAX);
		break;
	case DMATEST_REG_IMM_GO:
		if (value & DMATEST_GO_CANCEL)
			return cancel_immediate(d);
		if (value & DMATEST_GO_START)
			return start_immediate(d);
		break;
	}
	return ACTION_NONE;
}

static enum action write_ctrl(struct dmatest *d, struct dmatest_queue *q, uint32_t value)
	REQUIRES(d->lock)
{
	bool was = q->ctrl & DMATEST_Q_CTRL_ENABLE, now = value & DMATEST_Q_CTRL_ENABLE;

	if (was && now)
		return ACTION_NONE;
	if (!was && !now) {
		q->ctrl = value & DMATEST_Q_CTRL_WRITABLE;
		return ACTION_NONE;
	}
	quiesce(d);
	q->ctrl = value & DMATEST_Q_CTRL_WRITABLE;
	if (was)
		dmatest_queue_disable(d, q);
	else
		dmatest_queue_enable(d, q);
	release(d);
	return ACTION_KICK;
}

static void write_setup(struct dmatest_queue *q, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case DMATEST_Q_RING:
	case DMATEST_Q_RING + 4:
		register_set_half(&q->ring, offset & 4, value, DMATEST_Q_RING_WRITABLE);
		break;
	case DMATEST_Q_CPL:
	case DMATEST_Q_CPL + 4:
		register_set_half(&q->cpl, offset & 4, value, DMATEST_Q_CPL_WRITABLE);
		break;
	case DMATEST_Q_SIZE:
		q->size = value;
		break;
	case DMATEST_Q_PASID:
		q->pasid = value;
		break;
	case DMATEST_Q_VECTOR:
		q->vector = value;
		break;
	}
}

static enum action write_queue(struct dmatest *d, struct dmatest_queue *q, uint64_t offset,
			       uint32_t value) REQUIRES(d->lock)
{
	switch (offset) {
	case DMATEST_Q_CTRL:
		return write_ctrl(d, q, value);
	case DMATEST_Q_TAIL:
		return dmatest_tail_doorbell(q, value) ? ACTION_KICK : ACTION_NONE;
	case DMATEST_Q_CPL_HEAD:
		return dmatest_cpl_doorbell(q, value) ? ACTION_KICK : ACTION_NONE;
	}
	if (!(q->ctrl & DMATEST_Q_CTRL_ENABLE))
		write_setup(q, offset, value);
	return ACTION_NONE;
}

static enum action write_locked(struct dmatest *d, uint64_t offset, uint32_t value)
	REQUIRES(d->lock)
{
	uint64_t index = (offset - DMATEST_REG_QUEUES) / DMATEST_QUEUE_STRIDE;

	if (offset < DMATEST_REG_QUEUES &&
	    in_block(offset, DMATEST_REG_IMM_DESC, sizeof(d->imm_desc))) {
		le_store((uint8_t *)&d->imm_desc + (offset - DMATEST_REG_IMM_DESC), 4, value);
		return ACTION_NONE;
	}
	if (offset < DMATEST_REG_QUEUES)
		return write_global(d, offset, value);
	if (index >= d->queues)
		return ACTION_NONE;
	return write_queue(d, &d->queue[index], offset % DMATEST_QUEUE_STRIDE, value);
}

static void write_word(struct dmatest *d, uint64_t offset, uint32_t value)
{
	enum action action;

	mutex_lock(&d->lock);
	action = write_locked(d, offset, value);
	mutex_unlock(&d->lock);
	if (action == ACTION_KICK)
		endpoint_kick(&d->ep);
	else if (action == ACTION_IMMEDIATE)
		dmatest_immediate(d);
	else if (action == ACTION_RESET)
		reset_all(d);
}

static bool counts(uint64_t offset, unsigned int size)
{
	return size >= 4 && IS_ALIGNED(offset, size);
}

static uint64_t dmatest_bar_read(struct endpoint *ep, unsigned int bar, uint64_t offset,
				 unsigned int size)
{
	struct dmatest *d = to_dmatest(ep);
	uint64_t value = 0;

	if (bar != 0 || !range_fits(offset, size, DMATEST_BAR_SIZE))
		return UINT64_MAX >> (64 - 8 * size);
	if (offset >= DMATEST_MSIX_TABLE)
		return le_load(&d->msix_area[offset - DMATEST_MSIX_TABLE], size);
	if (!counts(offset, size))
		return 0;
	mutex_lock(&d->lock);
	for (unsigned int i = 0; i < size; i += 4)
		value |= (uint64_t)read_word(d, offset + i) << (8 * i);
	mutex_unlock(&d->lock);
	return value;
}

static void dmatest_bar_write(struct endpoint *ep, unsigned int bar, uint64_t offset,
			      unsigned int size, uint64_t value)
{
	struct dmatest *d = to_dmatest(ep);

	if (bar != 0 || !range_fits(offset, size, DMATEST_BAR_SIZE))
		return;
	if (offset >= DMATEST_MSIX_TABLE) {
		msix_table_write(d->msix_area, d->vectors, offset - DMATEST_MSIX_TABLE, size,
				 value);
		return;
	}
	for (unsigned int i = 0; counts(offset, size) && i < size; i += 4)
		write_word(d, offset + i, (uint32_t)(value >> (8 * i)));
}

static void dmatest_reset(struct endpoint *ep)
{
	struct dmatest *d = to_dmatest(ep);

	reset_all(d);
	msix_table_reset(d->msix_area, d->vectors);
	pci_config_reset(&ep->config);
}

static void dmatest_ats_invalidate(struct endpoint *ep, uint32_t pasid, nst_iova iova,
				   nst_iova last)
{
	device_tlb_invalidate(&to_dmatest(ep)->tlb, pasid, iova, last);
}

void dmatest_init(struct dmatest *d)
{
	mutex_init(&d->lock);
	pthread_cond_init(&d->idle, NULL);
	atomic_init(&d->stop, false);
	device_tlb_init(&d->tlb, &d->ep);
	mutex_lock(&d->lock);
	power_on(d);
	mutex_unlock(&d->lock);
	msix_table_reset(d->msix_area, d->vectors);
}

static void dmatest_destroy(struct endpoint *ep)
{
	struct dmatest *d = to_dmatest(ep);

	mutex_lock(&d->lock);
	quiesce(d);
	mutex_unlock(&d->lock);
	device_tlb_fini(&d->tlb);
	pthread_cond_destroy(&d->idle);
	mutex_fini(&d->lock);
	free(d);
}

const struct endpoint_ops dmatest_ops = {
	.model = "dmatest",
	.bar_read = dmatest_bar_read,
	.bar_write = dmatest_bar_write,
	.run = dmatest_run,
	.ats_invalidate = dmatest_ats_invalidate,
	.page_response = dmatest_page_response,
	.reset = dmatest_reset,
	.destroy = dmatest_destroy,
};
