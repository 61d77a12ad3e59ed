/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The IOMMU sanitizer: what the software host remembers of the past, so that it can say of a
 * DMA request that went wrong not only what happened but which call was missing or too early.
 *
 *	ioctl layer --- attached, invalidated, unmapped ---> history
 *	translation unit --- fault, stale ---> report, with what the history knows of it
 *
 * The history is bounded: the last events of each kind, numbered in one order, because a
 * flood of invalidations must not displace the one attachment that matters. It is kept in
 * check mode only; otherwise faults are counted and written, and that is all.
 *
 * Knows no architecture. Objects are named by the ids that the user of iommufd gave them;
 * the serial number tells two objects apart that had the same id in turn.
 *
 * Lock: one leaf lock, over the history and over the lines of one report. Any thread, with
 * any lock of the host or of a unit held.
 */
#ifndef HOST_SOFT_SANITIZER_H
#define HOST_SOFT_SANITIZER_H

#include "host/soft/dma_report.h"

#include <nestor/soft_host.h>

struct sanitizer;

struct sanitizer_object {
	uint64_t serial; /* of all objects of the host; 0 = none */
	uint32_t id;
};

#define SANITIZER_ANY_ASID UINT32_MAX

/* What an entry of the unit stands for. */
struct sanitizer_domain {
	struct sanitizer_object hwpt, ioas;
	struct sanitizer_object viommu; /* invalidated through it, where there is one */
	uint32_t asid;			/* of the first stage, where there is one */
};

/* What the user asked to forget, after it was forgotten. */
struct sanitizer_invalidation {
	struct sanitizer_object of; /* an HWPT or a vIOMMU */
	uint32_t asid;		    /* SANITIZER_ANY_ASID: of all */
	uint64_t start, last;	    /* IOVA */
	bool leaf;		    /* paging structures stay cached */
};

/* Of a request that was refused. */
struct sanitizer_fault {
	unsigned int reason; /* of the architecture; never 0 */
	bool attached;	     /* no: there is no entry, and @domain says nothing */
	struct sanitizer_domain domain;
	bool unmapped; /* because the IOAS has nothing at @ioas_addr */
	uint64_t ioas_addr;
};

NST_MUST_CHECK int sanitizer_create(const struct nst_soft_config *config, struct sanitizer **out);
void sanitizer_destroy(struct sanitizer *s);

/* For a new object. */
uint64_t sanitizer_new_serial(struct sanitizer *s);

/* --- what happens: no-ops outside check mode ------------------------------------------- */

/* NULL: attached to nothing from now on, which is to be said before the unit knows. */
void sanitizer_attached(struct sanitizer *s, nst_rid rid, uint32_t pasid,
			const struct sanitizer_domain *domain);
void sanitizer_invalidated(struct sanitizer *s, const struct sanitizer_invalidation *inv);
/* To be called before the unit knows. */
void sanitizer_unmapped(struct sanitizer *s, struct sanitizer_object ioas, uint64_t start,
			uint64_t last);

/* --- what went wrong -------------------------------------------------------------------- */

/* A refused request: DMA while blocked, DMA after unmap, or else a fault. Counted as each. */
void sanitizer_report_fault(struct sanitizer *s, const struct dma_request_id *id,
			    const struct sanitizer_fault *fault);

enum sanitizer_cache {
	SANITIZER_IOTLB,
	SANITIZER_PAGING_STRUCTURE,
	SANITIZER_DEVICE_TLB,
	SANITIZER_CONTEXT, /* what says where the first stage's tables are */
};

/* @cache answered with @cached; the tables say @now. */
void sanitizer_report_stale(struct sanitizer *s, const struct dma_request_id *id,
			    const struct sanitizer_domain *domain, enum sanitizer_cache cache,
			    struct dma_outcome cached, struct dma_outcome now);

/* Adds to faults, stale_hits, dma_after_unmap, dma_while_blocked: a unit may have counted, too. */
void sanitizer_get_stats(const struct sanitizer *s, struct nst_soft_stats *stats);

#endif
