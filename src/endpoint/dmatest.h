/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dmatest: a DMA engine whose purpose is to try out an IOMMU. Its programming interface
 * is docs/dmatest.md and dmatest_spec.h.
 *
 * An operation comes from a descriptor of a queue, or from the immediate registers. It is
 * done in chunks that stay inside a 4 KiB page, by run() or, the immediate one, inside the
 * register write that starts it. An operation that must ask for a page is parked: others
 * go on, and page_response() makes it ready again.
 *
 *	                 +-- 64 KiB done, or a stop waits --+
 *	                 v                                  |
 *	FREE --fetch--> READY --picked--> ACTIVE -----------+---> done --> FREE
 *	                 ^ ^                |  \
 *	                 | +--- response -- PAGES  CREDIT
 *	                 +-- requests are free again --+
 *
 * Who made an operation ACTIVE owns it and holds no lock; in every other state it belongs to
 * dmatest.lock. Parked operations are dropped when their queue is disabled, at a reset and by
 * a cancel; their groups of page requests are abandoned: the answer, if it comes, is
 * ignored, and the index is not used before it came unless no other is left.
 *
 * The register side stops run() with dmatest_quiesce() as in nvme.h; what it stopped for
 * one queue goes on for the others after dmatest_release() and a kick.
 *
 * Lock order: host's device lock -> dmatest.lock; host's device lock -> device_tlb.lock
 * -> the bus. With dmatest.lock held nothing of the bus is called but may_wait().
 */
#ifndef ENDPOINT_DMATEST_H
#define ENDPOINT_DMATEST_H

#include "base/lock.h"
#include "endpoint/device_tlb.h"
#include "endpoint/dmatest_spec.h"
#include "endpoint/endpoint.h"
#include "endpoint/endpoint_options.h"

enum {
	DMATEST_IN_FLIGHT_MAX = 4, /* of one queue */
	DMATEST_STEP_CHUNKS = 16,
	DMATEST_GROUPS = 512,
	DMATEST_MSI_VECTORS = 8,
};

enum dmatest_op_state { OP_FREE, OP_READY, OP_ACTIVE, OP_PAGES, OP_CREDIT };

struct dmatest_op {
	enum dmatest_op_state state;
	struct dmatest_queue *queue; /* NULL: the immediate operation */
	uint64_t order;		     /* of fetching */

	/* The descriptor, read once */
	uint8_t opcode;
	uint32_t flags, pasid, length, tag;
	uint64_t address[2], seed;

	enum dmatest_status status; /* not OK: complete with it */
	uint32_t done, page_requests;
	unsigned int retries; /* groups asked for since there was progress */
	uint64_t checksum, fault;
	/* What the chunk that could not be done needs */
	unsigned int want;
	bool want_write;
};

struct dmatest_queue {
	uint32_t ctrl, size, pasid, vector; /* registers; fixed while ENABLE is set */
	uint64_t ring, cpl;
	bool running, bad_doorbell;
	enum dmatest_queue_error error;
	uint32_t head, tail, cpl_head, cpl_tail;
	bool phase;
	unsigned int in_flight; /* operations that are not FREE */
	struct dmatest_op ops[DMATEST_IN_FLIGHT_MAX];
};

enum dmatest_group_state { GROUP_FREE, GROUP_USED, GROUP_ABANDONED };

struct dmatest_group {
	enum dmatest_group_state state;
	struct dmatest_op *op; /* of a USED one */
	uint32_t pasid;
	unsigned int pages; /* that count as outstanding */
};

/* One page of each operand of a chunk. */
struct dmatest_buffers {
	uint8_t a[PAGE_SIZE_4K], b[PAGE_SIZE_4K];
};

struct dmatest {
	struct endpoint ep;

	/* Constant after creation */
	unsigned int queues, pasid_bits, vectors;
	bool has_ats, has_pri;

	struct mutex lock;
	pthread_cond_t idle; /* run() has ended */
	bool running GUARDED_BY(lock);
	atomic_bool stop; /* the register side waits for run() to end; written under lock */
	struct dmatest_queue queue[DMATEST_QUEUES_MAX] GUARDED_BY(lock);
	unsigned int next_queue GUARDED_BY(lock); /* whose turn it is */
	uint64_t fetched GUARDED_BY(lock);
	uint32_t prg_pages GUARDED_BY(lock), prg_retries GUARDED_BY(lock);
	struct dmatest_op imm GUARDED_BY(lock);
	struct dmatest_desc imm_desc GUARDED_BY(lock);
	struct dmatest_cpl imm_cpl GUARDED_BY(lock);
	/* Page requests: dmatest_page.c */
	struct dmatest_group groups[DMATEST_GROUPS] GUARDED_BY(lock);
	unsigned int next_group GUARDED_BY(lock), outstanding GUARDED_BY(lock);
	unsigned int pri_epoch GUARDED_BY(lock);
	bool pri_failed GUARDED_BY(lock); /* Response Failure: until enabled again */

	struct device_tlb tlb;
	_Atomic uint64_t stats[DMATEST_STATS];

	struct dmatest_buffers run_buffers;			  /* run()'s own */
	struct dmatest_buffers imm_buffers;			  /* the register side's own */
	uint8_t msix_area[DMATEST_BAR_SIZE - DMATEST_MSIX_TABLE]; /* the same */
};

static inline struct dmatest *to_dmatest(struct endpoint *ep)
{
	return container_of(ep, struct dmatest, ep);
}

static inline void dmatest_count(struct dmatest *d, enum dmatest_stat stat, uint64_t n)
{
	atomic_fetch_add_explicit(&d->stats[stat], n, memory_order_relaxed);
}

/* dmatest_create.c */
int dmatest_create(struct endpoint_options *opts, const struct nst_log *log, struct endpoint **out,
		   char **err_text);

/* dmatest.c: registers and life cycle */
extern const struct endpoint_ops dmatest_ops;
void dmatest_init(struct dmatest *d); /* power-on values; nobody else knows of @d yet */

/* dmatest_queue.c: doorbells, fetching, completing */
void dmatest_run(struct endpoint *ep);
void dmatest_queue_enable(struct dmatest *d, struct dmatest_queue *q) REQUIRES(d->lock);
/* run() is stopped. What is in flight is dropped. */
void dmatest_queue_disable(struct dmatest *d, struct dmatest_queue *q) REQUIRES(d->lock);
/* Both return true if there may be work for run(). */
bool dmatest_tail_doorbell(struct dmatest_queue *q, uint32_t tail);
bool dmatest_cpl_doorbell(struct dmatest_queue *q, uint32_t head);
/* Do the immediate operation, which is ACTIVE, until it is done or parked. */
void dmatest_immediate(struct dmatest *d) EXCLUDES(d->lock);

/* dmatest_op.c: what operations do */
enum dmatest_outcome { OUTCOME_MORE, OUTCOME_PARKED, OUTCOME_DONE };
void dmatest_op_start(const struct dmatest *d, struct dmatest_op *op,
		      const struct dmatest_desc *desc);
/* Some chunks of an ACTIVE operation. After OUTCOME_PARKED it is not the caller's any more. */
enum dmatest_outcome dmatest_op_step(struct dmatest *d, struct dmatest_op *op,
				     struct dmatest_buffers *buffers) EXCLUDES(d->lock);
struct dmatest_cpl dmatest_op_completion(const struct dmatest_op *op);
/* DMA as the controls allow it; an enum dmatest_status. Stays in a 4 KiB page. */
enum dmatest_status dmatest_dma(struct dmatest *d, struct endpoint_dma_request *req, bool ats);

/* dmatest_page.c: page requests */
/* Ask for the page that the operation wants, or set its status (DONE). */
enum dmatest_outcome dmatest_page_ask(struct dmatest *d, struct dmatest_op *op) EXCLUDES(d->lock);
void dmatest_page_response(struct endpoint *ep, const struct endpoint_page_response *resp);
/* See whether software enabled or reset page requests meanwhile. */
void dmatest_page_sync(struct dmatest *d) REQUIRES(d->lock);
/* @op is dropped: it waits for nothing any more. */
void dmatest_page_abandon(struct dmatest *d, struct dmatest_op *op) REQUIRES(d->lock);
/* Device reset: all requests count as answered. */
void dmatest_page_reset(struct dmatest *d) REQUIRES(d->lock);

#endif
