// SPDX-License-Identifier: BSD-3-Clause
/* See rig.h. */
#include "rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct rig *to_rig(struct endpoint_bus *bus)
{
	return container_of(bus, struct rig, bus);
}

static bool faults(struct rig *r, const struct endpoint_dma_request *req)
{
	uint64_t last = req->iova.v + req->size - 1;

	if (r->fault_nth && --r->fault_nth == 0)
		return true;
	if (!req->write && r->read_fault_last && req->iova.v <= r->read_fault_last &&
	    last >= r->read_fault_first)
		return true;
	return r->fault_last && req->iova.v <= r->fault_last && last >= r->fault_first;
}

/* As an IOMMU that stalls, and software that never answers. */
static bool stalls(struct rig *r, const struct endpoint_dma_request *req)
{
	uint64_t page = atomic_load(&r->stall_page);

	if (!page || req->iova.v - page >= RIG_PAGE)
		return false;
	pthread_mutex_lock(&r->lock);
	atomic_store(&r->stalled, true);
	while (!r->may_not_wait)
		pthread_cond_wait(&r->wake, &r->lock);
	pthread_mutex_unlock(&r->lock);
	return true;
}

static void bus_may_wait(struct endpoint_bus *bus, bool may)
{
	struct rig *r = to_rig(bus);

	if (!r->threaded)
		return;
	pthread_mutex_lock(&r->lock);
	r->may_not_wait = !may;
	pthread_cond_broadcast(&r->wake);
	pthread_mutex_unlock(&r->lock);
}

static int bus_dma(struct endpoint_bus *bus, const struct endpoint_dma_request *req)
{
	struct rig *r = to_rig(bus);
	uint8_t *at;

	atomic_fetch_add(&r->requests, 1);
	if (atomic_load(&r->forbidden))
		atomic_fetch_add(&r->violations, 1);
	if (stalls(r, req) || faults(r, req) || req->iova.v < RIG_BASE ||
	    !range_fits(req->iova.v - RIG_BASE, req->size, RIG_SIZE))
		return -EFAULT;
	at = r->memory + (req->iova.v - RIG_BASE);
	memcpy(req->write ? at : req->buf, req->write ? req->buf : at, req->size);
	if (req->write && r->garble >= req->iova.v && r->garble - req->iova.v < req->size)
		r->memory[r->garble - RIG_BASE] ^= 0x10;
	return 0;
}

static void bus_interrupt(struct endpoint_bus *bus, unsigned int vector)
{
	assert_true(vector < ARRAY_SIZE(to_rig(bus)->irqs));
	atomic_fetch_add(&to_rig(bus)->irqs[vector], 1);
}

static void bus_kick(struct endpoint_bus *bus)
{
	struct rig *r = to_rig(bus);

	if (!r->threaded) {
		r->ep->ops->run(r->ep);
		return;
	}
	pthread_mutex_lock(&r->lock);
	r->kicked = true;
	pthread_cond_signal(&r->wake);
	pthread_mutex_unlock(&r->lock);
}

static const struct endpoint_bus_ops bus_ops = {
	.dma = bus_dma,
	.may_wait = bus_may_wait,
	.interrupt = bus_interrupt,
	.kick = bus_kick,
};

static void *device_thread(void *arg)
{
	struct rig *r = arg;

	pthread_mutex_lock(&r->lock);
	while (!r->quit) {
		if (!r->kicked) {
			pthread_cond_wait(&r->wake, &r->lock);
			continue;
		}
		r->kicked = false;
		pthread_mutex_unlock(&r->lock);
		r->ep->ops->run(r->ep);
		pthread_mutex_lock(&r->lock);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

static void set_bus_master(struct rig *r)
{
	uint16_t command = 0x6;

	assert_false(pci_config_write(&r->ep->config, 4, &command, sizeof(command)));
}

void rig_plug(struct rig *r, const char *description, bool threaded)
{
	char *err_text = NULL;

	memset(r, 0, sizeof(*r));
	r->fd = -1;
	assert_int_equal(endpoint_create(description, NULL, &r->ep, &err_text), 0);
	r->ops = bus_ops;
	r->bus.ops = &r->ops;
	r->ep->bus = &r->bus;
	r->memory = calloc(1, RIG_SIZE);
	assert_non_null(r->memory);
	r->next_free = RIG_BASE;
	set_bus_master(r);
	r->threaded = threaded;
	if (threaded) {
		pthread_mutex_init(&r->lock, NULL);
		pthread_cond_init(&r->wake, NULL);
		pthread_create(&r->thread, NULL, device_thread, r);
	}
}

void rig_open(struct rig *r, uint64_t size, const char *options, bool threaded)
{
	char description[160], path[] = "/tmp/nestor-rig-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	snprintf(description, sizeof(description), "nvme,file=%s%s", path, options);
	rig_plug(r, description, threaded);
	r->fd = fd;
	/* Without a name now, so that a test that fails leaves nothing behind. */
	unlink(path);
}

void rig_close(struct rig *r)
{
	if (r->threaded) {
		pthread_mutex_lock(&r->lock);
		r->quit = true;
		pthread_cond_signal(&r->wake);
		pthread_mutex_unlock(&r->lock);
		pthread_join(r->thread, NULL);
	}
	assert_int_equal(atomic_load(&r->violations), 0);
	endpoint_destroy(r->ep);
	if (r->fd >= 0)
		close(r->fd);
	free(r->memory);
}

uint32_t rig_read(struct rig *r, uint64_t reg)
{
	return (uint32_t)r->ep->ops->bar_read(r->ep, 0, reg, 4);
}

void rig_write(struct rig *r, uint64_t reg, uint32_t value)
{
	r->ep->ops->bar_write(r->ep, 0, reg, 4, value);
}

void *rig_at(struct rig *r, uint64_t address, size_t size)
{
	assert_true(address >= RIG_BASE && range_fits(address - RIG_BASE, size, RIG_SIZE));
	return r->memory + (address - RIG_BASE);
}

uint64_t rig_alloc(struct rig *r, uint64_t size)
{
	uint64_t at = r->next_free;

	r->next_free += ALIGN_UP(size, RIG_PAGE);
	memset(rig_at(r, at, (size_t)size), 0, (size_t)size);
	return at;
}

void rig_queue_init(struct rig *r, uint16_t qid, uint32_t entries)
{
	struct rig_queue *q = &r->queue[qid];

	if (!q->sq) {
		q->sq = rig_alloc(r, 65536);
		q->cq = rig_alloc(r, 65536);
	}
	memset(rig_at(r, q->cq, 65536), 0, 65536);
	q->size = entries;
	q->tail = q->head = 0;
	q->phase = 1;
}

void rig_enable(struct rig *r, uint32_t admin_entries, uint32_t more_cc)
{
	rig_queue_init(r, 0, admin_entries);
	rig_write(r, NVME_REG_AQA, (admin_entries - 1) << 16 | (admin_entries - 1));
	rig_write(r, NVME_REG_ASQ, (uint32_t)r->queue[0].sq);
	rig_write(r, NVME_REG_ASQ + 4, (uint32_t)(r->queue[0].sq >> 32));
	rig_write(r, NVME_REG_ACQ, (uint32_t)r->queue[0].cq);
	rig_write(r, NVME_REG_ACQ + 4, (uint32_t)(r->queue[0].cq >> 32));
	rig_write(r, NVME_REG_CC, 0x460000 | more_cc);
	rig_write(r, NVME_REG_CC, 0x460001 | more_cc);
	assert_int_equal(rig_read(r, NVME_REG_CSTS), NVME_CSTS_RDY);
}

void rig_disable(struct rig *r)
{
	rig_write(r, NVME_REG_CC, rig_read(r, NVME_REG_CC) & ~1U);
	assert_int_equal(rig_read(r, NVME_REG_CSTS), 0);
}

void rig_create_pair(struct rig *r, uint16_t qid, uint32_t entries)
{
	rig_queue_init(r, qid, entries);
	assert_int_equal(rig_do(r, 0,
				make_admin(NVME_ADMIN_CREATE_CQ, r->queue[qid].cq,
					   (entries - 1) << 16 | qid, (uint32_t)qid << 16 | 3),
				NULL),
			 0);
	assert_int_equal(rig_do(r, 0,
				make_admin(NVME_ADMIN_CREATE_SQ, r->queue[qid].sq,
					   (entries - 1) << 16 | qid, (uint32_t)qid << 16 | 1),
				NULL),
			 0);
}

uint16_t rig_put(struct rig *r, uint16_t qid, struct nvme_sqe sqe)
{
	struct rig_queue *q = &r->queue[qid];
	uint16_t cid = ++r->next_cid;

	sqe.cid = le16_make(cid);
	memcpy(rig_at(r, q->sq + q->tail * 64ULL, 64), &sqe, sizeof(sqe));
	q->tail = (q->tail + 1) % q->size;
	return cid;
}

void rig_ring(struct rig *r, uint16_t qid)
{
	rig_write(r, NVME_REG_DOORBELLS + 8ULL * qid, r->queue[qid].tail);
}

bool rig_poll(struct rig *r, uint16_t qid, struct nvme_cqe *cqe)
{
	struct rig_queue *q = &r->queue[qid];
	struct nvme_cqe *at = rig_at(r, q->cq + q->head * 16ULL, 16);

	if ((le16_get(at->status) & NVME_CQE_PHASE) != q->phase)
		return false;
	*cqe = *at;
	if (++q->head == q->size) {
		q->head = 0;
		q->phase ^= 1;
	}
	rig_write(r, NVME_REG_DOORBELLS + 8ULL * qid + 4, q->head);
	return true;
}

uint16_t rig_do(struct rig *r, uint16_t qid, struct nvme_sqe sqe, uint32_t *result)
{
	uint16_t cid = rig_put(r, qid, sqe), status;
	struct nvme_cqe cqe;

	assert_false(r->threaded);
	rig_ring(r, qid);
	assert_true(rig_poll(r, qid, &cqe));
	assert_int_equal(le16_get(cqe.cid), cid);
	assert_int_equal(le16_get(cqe.sqid), qid);
	assert_int_equal(le16_get(cqe.sq_head), r->queue[qid].tail);
	status = le16_get(cqe.status) >> 1;
	assert_int_equal(!!(status & NVME_MORE), status != NVME_OK);
	if (result)
		*result = le32_get(cqe.result);
	return status & ~NVME_MORE;
}

struct nvme_sqe make_sqe(uint8_t opcode, uint32_t nsid, uint64_t prp1, uint64_t prp2)
{
	return (struct nvme_sqe){
		.opcode = opcode, .nsid = le32_make(nsid),
		.prp1 = le64_make(prp1), .prp2 = le64_make(prp2),
	};
}

struct nvme_sqe make_admin(uint8_t opcode, uint64_t prp1, uint32_t cdw10, uint32_t cdw11)
{
	struct nvme_sqe sqe = make_sqe(opcode, 0, prp1, 0);

	sqe.cdw10 = le32_make(cdw10);
	sqe.cdw11 = le32_make(cdw11);
	return sqe;
}

struct nvme_sqe make_rw(uint8_t opcode, uint64_t lba, uint32_t blocks, uint64_t prp1,
			uint64_t prp2)
{
	struct nvme_sqe sqe = make_sqe(opcode, 1, prp1, prp2);

	sqe.cdw10 = le32_make((uint32_t)lba);
	sqe.cdw11 = le32_make((uint32_t)(lba >> 32));
	sqe.cdw12 = le32_make(blocks - 1);
	return sqe;
}

struct nvme_sqe make_log(uint8_t lid, uint64_t prp1, uint32_t bytes, uint64_t offset)
{
	uint32_t dwords = bytes / 4 - 1;
	struct nvme_sqe sqe =
		make_admin(NVME_ADMIN_GET_LOG, prp1, dwords << 16 | lid, dwords >> 16);

	sqe.nsid = le32_make(NVME_NSID_ALL);
	sqe.cdw12 = le32_make((uint32_t)offset);
	sqe.cdw13 = le32_make((uint32_t)(offset >> 32));
	return sqe;
}
