// SPDX-License-Identifier: BSD-3-Clause
/*
 * Moving a controller to another host: see endpoint_migration_ops.
 *
 * A suspended controller has no command under way: what was fetched has been completed,
 * the rest waits in the queues, which are guest memory. So its state is its registers, where
 * its queues are and how far they got, event requests, features, logs and the MSI-X table.
 * The disk is no part of it: both ends have the file, one at a time has its lock.
 *
 * transfer_image() alone says what the bytes are, for both directions. What is loaded is
 * checked before any of it takes effect: later code relies on the invariants of nvme.h, and
 * the bytes may be anybody's.
 */
#include "endpoint/nvme.h"

#include "base/alloc.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define ADMIN_ENTRIES_MAX 4096

/* What is saved of a controller, in its own words. */
struct image {
	uint32_t cc, csts, aqa, intms, page_bytes;
	uint64_t asq, acq;
	bool want_shutdown;
	uint16_t next_sq;
	struct nvme_sq sq[NVME_IO_QUEUES_MAX + 1];
	struct nvme_cq cq[NVME_IO_QUEUES_MAX + 1];
	struct nvme_event event[NVME_EVENT_TYPES];
	uint16_t aer_cid[NVME_AER_MAX];
	uint32_t aer_count;
	struct nvme_features features;
	struct nvme_health health;
	uint8_t msix_area[NVME_BAR_SIZE - NVME_MSIX_TABLE];
};

/* --- bytes ---------------------------------------------------------------------------------- */

enum direction { COUNT, SAVE, LOAD };

struct wire {
	enum direction direction;
	uint8_t *bytes; /* only read from if it is LOAD */
	size_t at;
};

static uint64_t number(struct wire *w, uint64_t value, unsigned int size)
{
	if (w->direction == SAVE)
		le_store(w->bytes + w->at, size, value);
	else if (w->direction == LOAD)
		value = le_load(w->bytes + w->at, size);
	w->at += size;
	return value;
}

/* A variable of any integer type, in as many bytes as it has. */
#define NUMBER(w, x) ((x) = (__typeof__(x))number(w, (uint64_t)(x), sizeof(x)))

static void block(struct wire *w, void *data, size_t size)
{
	if (w->direction == SAVE)
		memcpy(w->bytes + w->at, data, size);
	else if (w->direction == LOAD)
		memcpy(data, w->bytes + w->at, size);
	w->at += size;
}

static void transfer_queues(struct wire *w, struct nvme_sq *sq, struct nvme_cq *cq)
{
	NUMBER(w, sq->exists);
	NUMBER(w, sq->cqid);
	NUMBER(w, sq->size);
	NUMBER(w, sq->head);
	NUMBER(w, sq->tail);
	NUMBER(w, sq->iova);
	NUMBER(w, cq->exists);
	NUMBER(w, cq->ien);
	NUMBER(w, cq->irq_held);
	NUMBER(w, cq->phase);
	NUMBER(w, cq->vector);
	NUMBER(w, cq->size);
	NUMBER(w, cq->head);
	NUMBER(w, cq->tail);
	NUMBER(w, cq->iova);
}

static void transfer_features(struct wire *w, struct nvme_features *f)
{
	NUMBER(w, f->arbitration);
	NUMBER(w, f->power);
	NUMBER(w, f->over_kelvin);
	NUMBER(w, f->under_kelvin);
	NUMBER(w, f->error_recovery);
	NUMBER(w, f->write_cache);
	NUMBER(w, f->coalescing);
	NUMBER(w, f->atomicity);
	NUMBER(w, f->events);
	for (unsigned int i = 0; i < ARRAY_SIZE(f->vector); i++)
		NUMBER(w, f->vector[i]);
}

static void transfer_health(struct wire *w, struct nvme_health *h)
{
	NUMBER(w, h->read_blocks512);
	NUMBER(w, h->written_blocks512);
	NUMBER(w, h->reads);
	NUMBER(w, h->writes);
	NUMBER(w, h->media_errors);
	NUMBER(w, h->error_count);
	block(w, h->errors, sizeof(h->errors)); /* little-endian as it is */
}

static void transfer_image(struct wire *w, struct image *img, unsigned int io_queues)
{
	NUMBER(w, img->cc);
	NUMBER(w, img->csts);
	NUMBER(w, img->aqa);
	NUMBER(w, img->intms);
	NUMBER(w, img->page_bytes);
	NUMBER(w, img->asq);
	NUMBER(w, img->acq);
	NUMBER(w, img->want_shutdown);
	NUMBER(w, img->next_sq);
	for (unsigned int i = 0; i <= io_queues; i++)
		transfer_queues(w, &img->sq[i], &img->cq[i]);
	for (unsigned int i = 0; i < ARRAY_SIZE(img->event); i++) {
		NUMBER(w, img->event[i].pending);
		NUMBER(w, img->event[i].masked);
		NUMBER(w, img->event[i].info);
		NUMBER(w, img->event[i].log);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(img->aer_cid); i++)
		NUMBER(w, img->aer_cid[i]);
	NUMBER(w, img->aer_count);
	transfer_features(w, &img->features);
	transfer_health(w, &img->health);
	block(w, img->msix_area, sizeof(img->msix_area));
}

/* --- what a controller can be in ------------------------------------------------------------- */

static bool is_ring(uint32_t size, uint32_t max, uint32_t head, uint32_t tail, uint64_t iova)
{
	return size >= 2 && size <= max && head < size && tail < size &&
	       IS_ALIGNED(iova, PAGE_SIZE_4K);
}

static bool is_valid_cq(const struct nvme_ctrl *c, const struct nvme_cq *cq, uint32_t max)
{
	return is_ring(cq->size, max, cq->head, cq->tail, cq->iova) && cq->phase <= 1 &&
	       cq->vector < c->vectors;
}

static bool is_valid_sq(const struct nvme_ctrl *c, const struct image *img, unsigned int qid)
{
	const struct nvme_sq *sq = &img->sq[qid];
	uint32_t max = qid ? NVME_QUEUE_ENTRIES_MAX : ADMIN_ENTRIES_MAX;

	/* the admin queues are a pair of their own */
	if (!is_ring(sq->size, max, sq->head, sq->tail, sq->iova) || !sq->cqid != !qid)
		return false;
	return sq->cqid <= c->io_queues && img->cq[sq->cqid].exists;
}

static bool are_valid_queues(const struct nvme_ctrl *c, const struct image *img)
{
	bool ready = img->csts & NVME_CSTS_RDY;

	if (img->sq[0].exists != ready || img->cq[0].exists != ready)
		return false;
	for (unsigned int i = 0; i <= c->io_queues; i++) {
		uint32_t max = i ? NVME_QUEUE_ENTRIES_MAX : ADMIN_ENTRIES_MAX;

		if ((img->sq[i].exists || img->cq[i].exists) && !ready)
			return false;
		if (img->cq[i].exists && !is_valid_cq(c, &img->cq[i], max))
			return false;
		if (img->sq[i].exists && !is_valid_sq(c, img, i))
			return false;
	}
	return true;
}

static bool is_valid(const struct nvme_ctrl *c, const struct image *img)
{
	const uint32_t csts = NVME_CSTS_RDY | NVME_CSTS_CFS | NVME_CSTS_SHST;

	if ((img->cc & ~(uint32_t)NVME_CC_WRITABLE) || (img->csts & ~csts) ||
	    FIELD_GET(NVME_CSTS_SHST, img->csts) > NVME_SHST_DONE ||
	    (img->aqa & ~(uint32_t)NVME_AQA_WRITABLE) ||
	    ((img->asq | img->acq) & ~NVME_QUEUE_BASE_WRITABLE))
		return false;
	if ((img->csts & NVME_CSTS_RDY) && !(img->cc & NVME_CC_EN))
		return false;
	if (img->page_bytes < PAGE_SIZE_4K || img->page_bytes > PAGE_SIZE_4K << NVME_MPSMAX ||
	    (img->page_bytes & (img->page_bytes - 1)))
		return false;
	return img->next_sq <= c->io_queues + 1 && img->aer_count <= NVME_AER_MAX &&
	       img->features.write_cache <= 1 && are_valid_queues(c, img);
}

/* --- from and to the controller --------------------------------------------------------------- */

static void take_image(struct nvme_ctrl *c, struct image *img) REQUIRES(c->lock)
{
	img->cc = c->cc;
	img->csts = c->csts;
	img->aqa = c->aqa;
	img->intms = c->intms;
	img->page_bytes = c->page_bytes;
	img->asq = c->asq;
	img->acq = c->acq;
	img->want_shutdown = c->want_shutdown;
	img->next_sq = c->next_sq;
	/* of a queue that was deleted nothing is left */
	for (unsigned int i = 0; i <= c->io_queues; i++) {
		if (c->sq[i].exists)
			img->sq[i] = c->sq[i];
		if (c->cq[i].exists)
			img->cq[i] = c->cq[i];
	}
	memcpy(img->event, c->event, sizeof(img->event));
	memcpy(img->aer_cid, c->aer_cid, sizeof(img->aer_cid));
	img->aer_count = c->aer_count;
	img->features = c->features;
	img->health = c->health;
	memcpy(img->msix_area, c->msix_area, sizeof(img->msix_area));
}

/*
 * A queue pair as it was. An interrupt may have been lost on the way, between the eventfd that
 * the source signalled and the processor that the VMM saved: where completions wait there
 * will be another, and a driver that has seen them takes no harm.
 */
static void put_queues(struct nvme_ctrl *c, const struct image *img) REQUIRES(c->lock)
{
	memset(c->sq, 0, sizeof(c->sq));
	memset(c->cq, 0, sizeof(c->cq));
	for (unsigned int i = 0; i <= c->io_queues; i++) {
		if (!img->cq[i].exists)
			continue;
		c->cq[i] = img->cq[i];
		c->cq[i].irq_held |= c->cq[i].ien && c->cq[i].head != c->cq[i].tail;
		c->cq[i].sq_count = 0;
	}
	for (unsigned int i = 0; i <= c->io_queues; i++) {
		if (!img->sq[i].exists)
			continue;
		c->sq[i] = img->sq[i];
		c->cq[c->sq[i].cqid].sq_count++;
	}
}

static void put_image(struct nvme_ctrl *c, const struct image *img) REQUIRES(c->lock)
{
	c->cc = img->cc;
	c->csts = img->csts;
	c->aqa = img->aqa;
	c->intms = img->intms;
	c->page_bytes = img->page_bytes;
	c->asq = img->asq;
	c->acq = img->acq;
	c->want_shutdown = img->want_shutdown;
	c->next_sq = img->next_sq;
	put_queues(c, img);
	memcpy(c->event, img->event, sizeof(c->event));
	memcpy(c->aer_cid, img->aer_cid, sizeof(c->aer_cid));
	c->aer_count = img->aer_count;
	c->features = img->features;
	c->health = img->health;
	memcpy(c->msix_area, img->msix_area, sizeof(c->msix_area));
}

/* --- the operations ----------------------------------------------------------------------------
 */

static void nvme_suspend(struct endpoint *ep)
{
	struct nvme_ctrl *c = to_nvme(ep);

	mutex_lock(&c->lock);
	c->suspended = true;
	endpoint_may_wait(ep, false);
	while (c->running)
		pthread_cond_wait(&c->idle, &c->lock.m);
	endpoint_may_wait(ep, true);
	mutex_unlock(&c->lock);
}

/* Which vectors have an interrupt that was kept back and need not be any more? */
static void take_held(struct nvme_ctrl *c, bool raise[NVME_IO_QUEUES_MAX + 1]) REQUIRES(c->lock)
{
	for (unsigned int i = 0; i <= c->io_queues; i++) {
		struct nvme_cq *cq = &c->cq[i];

		if (!cq->irq_held || (cq->vector < 32 && (c->intms & BIT64(cq->vector))))
			continue;
		cq->irq_held = false;
		raise[cq->vector] |= cq->head != cq->tail;
	}
}

static int nvme_resume(struct endpoint *ep)
{
	struct nvme_ctrl *c = to_nvme(ep);
	bool raise[NVME_IO_QUEUES_MAX + 1] = { false };
	int err = nvme_backend_lock(&c->disk);

	if (err) {
		log_warn(ep->log, "nvme: not resumed, the disk file is in use: another process or "
				  "device has it locked");
		return err;
	}
	mutex_lock(&c->lock);
	c->suspended = false;
	take_held(c, raise);
	mutex_unlock(&c->lock);
	for (unsigned int i = 0; i < c->vectors; i++)
		if (raise[i])
			endpoint_interrupt(ep, i);
	endpoint_kick(ep);
	return 0;
}

/* The serial number comes last, as it may have spaces in it. */
static void nvme_identity(struct endpoint *ep, char out[ENDPOINT_IDENTITY_BYTES])
{
	const struct nvme_ctrl *c = to_nvme(ep);

	snprintf(out, ENDPOINT_IDENTITY_BYTES,
		 "nvme blocks=%" PRIu64 " lba=%u queues=%u msix=%s readonly=%s serial=%s",
		 c->blocks, 1U << c->lba_lg2, c->io_queues, ep->config.msix_cap ? "on" : "off",
		 c->disk.readonly ? "on" : "off", c->serial);
}

static size_t nvme_state_size(const struct endpoint *ep)
{
	const struct nvme_ctrl *c = container_of(ep, struct nvme_ctrl, ep);
	struct wire w = { .direction = COUNT };
	struct image img = { 0 };

	transfer_image(&w, &img, c->io_queues);
	return w.at;
}

static int nvme_save(struct endpoint *ep, uint8_t *out)
{
	struct nvme_ctrl *c = to_nvme(ep);
	struct wire w = { .direction = SAVE, .bytes = out };
	struct image img = { 0 };
	int err = nvme_backend_flush(&c->disk);

	/* what the driver was told is written has to be there for a reader on another machine */
	if (err) {
		log_warn(ep->log, "nvme: not saved, the disk file cannot be flushed: %s",
			 strerror(-err));
		return err;
	}
	mutex_lock(&c->lock);
	take_image(c, &img);
	mutex_unlock(&c->lock);
	transfer_image(&w, &img, c->io_queues);
	nvme_backend_unlock(&c->disk);
	return 0;
}

static int nvme_load(struct endpoint *ep, const uint8_t *in)
{
	struct nvme_ctrl *c = to_nvme(ep);
	struct wire w = { .direction = LOAD, .bytes = (uint8_t *)(uintptr_t)in };
	struct image img = { 0 };

	transfer_image(&w, &img, c->io_queues);
	if (!is_valid(c, &img))
		return -EINVAL;
	mutex_lock(&c->lock);
	put_image(c, &img);
	mutex_unlock(&c->lock);
	return 0;
}

const struct endpoint_migration_ops nvme_migration_ops = {
	.suspend = nvme_suspend,
	.resume = nvme_resume,
	.identity = nvme_identity,
	.state_size = nvme_state_size,
	.save = nvme_save,
	.load = nvme_load,
};
