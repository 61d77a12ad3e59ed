/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The NVMe controller: one namespace on a plain file, N pairs of I/O queues.
 *
 * Two threads meet here. The *register side* (bar_read, bar_write, reset; one at
 * a time under the host's device lock) stores doorbells and moves the life cycle;
 * run(), on the device thread, fetches, executes and completes commands one after
 * another. They share what nvme_ctrl.lock protects. Everything else is run()'s
 * own while it runs; the register side touches it only between nvme_quiesce() and
 * nvme_release(), which is how disable and reset stop all DMA before they return.
 *
 *	            CC.EN=1, good values            CC.EN=0 or reset
 *	DISABLED ------------------------> READY ------------------> DISABLED
 *	    |  CC.EN=1, bad values           | fetch or completion failed
 *	    +--------------> FATAL <---------+            (CSTS.CFS, until CC.EN=0)
 *
 *	CC.SHN != 0, in any state: SHST busy -> run() flushes the file -> SHST done;
 *	no command is fetched until the controller is disabled and enabled again.
 *
 * Invariants: a queue exists only while READY or FATAL; a command is fetched only
 * if its completion queue has a free entry; a command runs only if no disable waits.
 *
 * Lock order: host's device lock -> nvme_ctrl.lock. With nvme_ctrl.lock held there
 * is no DMA, no file I/O, no interrupt and no kick; the bus is told what may wait.
 */
#ifndef ENDPOINT_NVME_H
#define ENDPOINT_NVME_H

#include "base/lock.h"
#include "endpoint/endpoint.h"
#include "endpoint/endpoint_options.h"
#include "endpoint/nvme_backend.h"
#include "endpoint/nvme_spec.h"

#include <time.h>

enum {
	NVME_IO_QUEUES_MAX = 64,
	NVME_QUEUE_ENTRIES_MAX = 1024,
	NVME_MPSMAX = 4,   /* pages of 4 KiB to 64 KiB */
	NVME_MDTS_LG2 = 8, /* in 4 KiB pages */
	NVME_TRANSFER_MAX = PAGE_SIZE_4K << NVME_MDTS_LG2,
	NVME_RUNS_MAX = (1 << NVME_MDTS_LG2) + 1,
	NVME_AER_MAX = 4,
	NVME_ERROR_ENTRIES = 64,
	NVME_MSI_VECTORS = 8,
	NVME_BAR_SIZE = 0x4000,
	NVME_MSIX_TABLE = 0x2000,
	NVME_MSIX_PBA = 0x3000,
};

/* What an executor returns besides enum nvme_status: there is nothing to complete (now). */
#define NVME_NO_COMPLETION 0xffff

struct nvme_cq {
	bool exists, ien, irq_held; /* irq_held: INTMS kept an interrupt back */
	uint8_t phase;
	uint16_t vector, sq_count;
	uint32_t size, head, tail;
	uint64_t iova;
};

struct nvme_sq {
	bool exists;
	uint16_t cqid;
	uint32_t size, head, tail;
	uint64_t iova;
};

struct nvme_event {
	bool pending, masked; /* masked: reported, and its log page not read since */
	uint8_t info;
	uint8_t log;
};

struct nvme_features {
	uint32_t arbitration, power, over_kelvin, under_kelvin, error_recovery, write_cache;
	uint32_t coalescing, atomicity, events;
	uint32_t vector[NVME_IO_QUEUES_MAX + 1];
};

/* Kept over every reset, as a device keeps it over power cycles. */
struct nvme_health {
	uint64_t read_blocks512, written_blocks512, reads, writes, media_errors;
	uint64_t error_count;
	struct nvme_error_entry errors[NVME_ERROR_ENTRIES]; /* entry i: count % entries */
};

struct nvme_run {
	uint64_t iova;
	size_t size;
};

/* One command while it executes. */
struct nvme_command {
	struct nvme_sqe sqe;
	uint16_t sqid;
	uint32_t result; /* completion DW0 */
	uint64_t lba;	 /* for the error log */
};

struct nvme_ctrl {
	struct endpoint ep;

	/* Constant after creation */
	struct nvme_backend disk;
	unsigned int io_queues, vectors, lba_lg2;
	uint64_t blocks;
	char serial[21];
	uint8_t uuid[16];
	struct timespec created;

	struct mutex lock;   /* below the host's device lock */
	pthread_cond_t idle; /* run() has ended */
	bool running GUARDED_BY(lock);
	atomic_bool stop; /* a disable or reset waits for run() to end; written under lock */
	bool want_shutdown GUARDED_BY(lock);
	bool suspended GUARDED_BY(lock); /* for migration: run() takes no step, see nvme_state.c */
	uint32_t cc GUARDED_BY(lock), csts GUARDED_BY(lock), aqa GUARDED_BY(lock);
	uint32_t intms GUARDED_BY(lock);
	uint64_t asq GUARDED_BY(lock), acq GUARDED_BY(lock);
	struct nvme_sq sq[NVME_IO_QUEUES_MAX + 1] GUARDED_BY(lock); /* [0]: admin */
	struct nvme_cq cq[NVME_IO_QUEUES_MAX + 1] GUARDED_BY(lock);
	uint16_t next_sq GUARDED_BY(lock); /* whose turn it is */
	struct nvme_event event[NVME_EVENT_TYPES] GUARDED_BY(lock);
	uint16_t aer_cid[NVME_AER_MAX] GUARDED_BY(lock);
	unsigned int aer_count GUARDED_BY(lock);
	struct nvme_health health GUARDED_BY(lock);

	/* run()'s own */
	uint32_t page_bytes;
	struct nvme_features features;
	uint8_t *bounce; /* NVME_TRANSFER_MAX bytes */
	struct nvme_run runs[NVME_RUNS_MAX];

	/* The register side's own */
	uint8_t msix_area[NVME_BAR_SIZE - NVME_MSIX_TABLE];
};

static inline struct nvme_ctrl *to_nvme(struct endpoint *ep)
{
	return container_of(ep, struct nvme_ctrl, ep);
}

/* nvme_create.c */
int nvme_create(struct endpoint_options *opts, const struct nst_log *log, struct endpoint **out,
		char **err_text);

/* nvme.c: registers and life cycle */
extern const struct endpoint_ops nvme_ops;
void nvme_init(struct nvme_ctrl *c); /* power-on values; nobody else knows of @c yet */
void nvme_fini(struct nvme_ctrl *c);
/* Give up until the controller is disabled: CSTS.CFS. */
void nvme_fatal(struct nvme_ctrl *c, const char *why) EXCLUDES(c->lock);

/* nvme_state.c: suspending, saving and loading a controller */
extern const struct endpoint_migration_ops nvme_migration_ops;

/* nvme_queue.c: arbitration, fetching, completing, doorbells, events */
void nvme_run(struct endpoint *ep);
void nvme_queues_start(struct nvme_ctrl *c) REQUIRES(c->lock);
void nvme_queues_stop(struct nvme_ctrl *c) REQUIRES(c->lock);
/* Returns true if there may be work for run(). */
bool nvme_doorbell_locked(struct nvme_ctrl *c, uint64_t offset, uint32_t value) REQUIRES(c->lock);
/* One bit for each vector that has an interrupt kept back and is no longer masked. */
uint64_t nvme_unmasked_locked(struct nvme_ctrl *c) REQUIRES(c->lock);
void nvme_event_locked(struct nvme_ctrl *c, enum nvme_event_type type, uint8_t info, uint8_t log)
	REQUIRES(c->lock);
void nvme_log_error_locked(struct nvme_ctrl *c, const struct nvme_error_entry *entry)
	REQUIRES(c->lock);

uint32_t nvme_cq_free_locked(const struct nvme_ctrl *c, uint16_t cqid) REQUIRES(c->lock);
/* Post a completion; the caller knows that its queue has a free entry. run()'s thread only. */
void nvme_complete(struct nvme_ctrl *c, uint16_t sqid, uint16_t cid, uint16_t status,
		   uint32_t result) EXCLUDES(c->lock);

/* nvme_prp.c: data transfer. All return an nvme_status. */
uint16_t nvme_prp_resolve(struct nvme_ctrl *c, const struct nvme_sqe *sqe, size_t size,
			  unsigned int *run_count);
/* The data of a command, at most NVME_TRANSFER_MAX bytes, to or from the bounce buffer. */
uint16_t nvme_data_in(struct nvme_ctrl *c, const struct nvme_sqe *sqe, size_t size);
uint16_t nvme_data_out(struct nvme_ctrl *c, const struct nvme_sqe *sqe, size_t size);
/* One piece of memory; false if the bus refused. */
bool nvme_dma(struct nvme_ctrl *c, uint64_t iova, void *buf, size_t size, bool write);

/* nvme_admin.c, nvme_identify.c, nvme_log.c, nvme_feature.c, nvme_io.c: executors, all on
 * run()'s thread. They return an nvme_status without NVME_MORE, or NVME_NO_COMPLETION. */
uint16_t nvme_admin(struct nvme_ctrl *c, struct nvme_command *cmd);
uint16_t nvme_identify(struct nvme_ctrl *c, struct nvme_command *cmd);
uint16_t nvme_get_log(struct nvme_ctrl *c, struct nvme_command *cmd);
uint16_t nvme_get_features(struct nvme_ctrl *c, struct nvme_command *cmd);
uint16_t nvme_set_features(struct nvme_ctrl *c, struct nvme_command *cmd);
void nvme_features_reset(struct nvme_ctrl *c);
uint8_t nvme_critical_warning(const struct nvme_ctrl *c);
uint16_t nvme_io(struct nvme_ctrl *c, struct nvme_command *cmd);

/* The composite temperature, in kelvin: 40 degrees Celsius, always. */
#define NVME_KELVIN 313
#define NVME_KELVIN_WARNING 343
#define NVME_KELVIN_CRITICAL 353

/* Vendor 4e53h is assigned to nobody in the PCI ID list, and so matches no driver's quirks. */
#define NVME_PCI_VENDOR 0x4e53
#define NVME_PCI_DEVICE 0x0001

#endif
