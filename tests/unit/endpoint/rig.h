/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A bench for one endpoint: a bus with flat memory, faults on demand and counted
 * interrupts, a device thread or none; and the little of an NVMe driver that tests need. Memory is at RIG_BASE, so that an address is never a valid offset.
 */
#ifndef TESTS_UNIT_ENDPOINT_RIG_H
#define TESTS_UNIT_ENDPOINT_RIG_H

#include "test.h"

#include "endpoint/nvme.h"

#define RIG_BASE 0x100000000ULL
#define RIG_SIZE (8ULL << 20)
#define RIG_PAGE 4096ULL
#define RIG_QUEUES 4

struct rig_queue {
	uint64_t sq, cq;	/* addresses */
	uint32_t size, tail, head;
	uint8_t phase;
};

struct rig {
	struct endpoint_bus bus;
	struct endpoint_bus_ops ops;	/* for a test to put its own into */
	struct endpoint *ep;
	uint8_t *memory;
	uint64_t next_free;
	int fd;			/* NVMe: the disk file, beside the controller's own; or -1 */

	/* Faults: a range of addresses, or the n-th request from now (1 = the next). */
	uint64_t fault_first, fault_last;
	unsigned int fault_nth;
	uint64_t read_fault_first, read_fault_last; /* a range that can only be written */
	uint64_t garble;	/* a byte that does not keep what a device writes, or 0 */
	/* DMA to this page waits until it may not any more, on the device thread; 0: none does. */
	atomic_ullong stall_page;
	atomic_bool stalled;	/* it does */
	bool may_not_wait;	/* by lock */
	atomic_bool forbidden;	/* any DMA is a failure of the test */
	atomic_uint violations, requests;
	atomic_uint irqs[NVME_IO_QUEUES_MAX + 1];

	/* With a thread, kick only wakes it. */
	bool threaded, quit, kicked;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;

	struct rig_queue queue[RIG_QUEUES + 1];
	uint16_t next_cid;
};

/* The endpoint of that description, with Bus Master Enable on. */
void rig_plug(struct rig *r, const char *description, bool threaded);
/* A controller on a temporary file of @size bytes; @options begin with a comma or are "". */
void rig_open(struct rig *r, uint64_t size, const char *options, bool threaded);
void rig_close(struct rig *r);

uint32_t rig_read(struct rig *r, uint64_t reg);
void rig_write(struct rig *r, uint64_t reg, uint32_t value);
void *rig_at(struct rig *r, uint64_t address, size_t size);
uint64_t rig_alloc(struct rig *r, uint64_t size);	/* page-aligned, zeroed, never freed */

/* CC with EN and the usual entry sizes, after setting up the admin queue. */
void rig_enable(struct rig *r, uint32_t admin_entries, uint32_t more_cc);
void rig_disable(struct rig *r);
/* Create queue pair @qid with interrupts on vector @qid. */
void rig_create_pair(struct rig *r, uint16_t qid, uint32_t entries);
/* The driver's side of a pair, without telling the controller. */
void rig_queue_init(struct rig *r, uint16_t qid, uint32_t entries);

uint16_t rig_put(struct rig *r, uint16_t qid, struct nvme_sqe sqe);	/* returns the CID */
void rig_ring(struct rig *r, uint16_t qid);
bool rig_poll(struct rig *r, uint16_t qid, struct nvme_cqe *cqe);	/* rings the CQ doorbell */
/* Submit, wait, and return the status without NVME_MORE, which is checked. */
uint16_t rig_do(struct rig *r, uint16_t qid, struct nvme_sqe sqe, uint32_t *result);

struct nvme_sqe make_sqe(uint8_t opcode, uint32_t nsid, uint64_t prp1, uint64_t prp2);
struct nvme_sqe make_admin(uint8_t opcode, uint64_t prp1, uint32_t cdw10, uint32_t cdw11);
struct nvme_sqe make_rw(uint8_t opcode, uint64_t lba, uint32_t blocks, uint64_t prp1,
			uint64_t prp2);
struct nvme_sqe make_log(uint8_t lid, uint64_t prp1, uint32_t bytes, uint64_t offset);

#define assert_status(status, expected) assert_int_equal((status) & ~NVME_DNR, (expected))

#endif
