/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VT-d remapping unit in software: what the silicon does between a device and
 * memory, and nothing of what a driver does.
 *
 * Per (requester, PASID) it holds what a scalable-mode PASID-table entry says. A
 * request is looked up in the IOTLB; a miss walks the first stage, every table
 * access and the result of which pass through the second stage. Leaf translations
 * and first-stage paging structures are cached, and only an invalidation empties
 * those caches: the driver above (hwpt.c and friends) must ask for what VT-d 4.1
 * s6.5 asks of a driver, or stale DMA follows.
 *
 * Lock: dma_lock. Requests hold it shared for one page at a time, from lookup to the
 * end of the copy; changes of entries, maps and caches hold it exclusively. So when
 * an invalidation returns, no access with the old translation is in flight, and no
 * walk begun before it can still insert. It is a leaf lock: nothing is called with it
 * held but memory access and the sanitizer.
 */
#ifndef HOST_SOFT_VTD_HW_H
#define HOST_SOFT_VTD_HW_H

#include "base/lock.h"
#include "base/range_map.h"
#include "host/soft/sanitizer.h"
#include "host/soft/dirty_map.h"

#include <nestor/soft_host.h>
#include <stdbool.h>

struct vtd_hw;

enum vtd_hw_pgtt {
	VTD_HW_SECOND_STAGE, /* IOVA -> s2 */
	VTD_HW_NESTED,	     /* IOVA -> first stage at fs_root -> s2 */
};

/* What a PASID-table entry says: VT-d 4.1 s9.6 Scalable-Mode PASID Table Entry. */
struct vtd_hw_entry {
	enum vtd_hw_pgtt pgtt;
	bool ats;			/* the device has a TLB, and may use it */
	uint16_t did;			/* tags the caches; one per domain of the driver */
	const struct range_map *s2;	/* stays the caller's, changed only between
					 * vtd_hw_map_begin() and _end(); ranges of whole
					 * 4 KiB pages if VTD_HW_NESTED */
	struct dirty_map *dirty;	/* of s2, or NULL; changed like it */
	struct sanitizer_domain domain; /* what it is called in reports */
	/* VTD_HW_NESTED only */
	uint64_t fs_root;	/* GPA of the top table; low 12 bits ignored */
	unsigned int fs_levels; /* 4 (48 bit) or 5 (57 bit) */
	bool sre;		/* supervisor requests allowed (they are user otherwise) */
	bool wpe;		/* write protect for supervisor requests */
	bool eafe;		/* set the extended-accessed bit */
};

/* Who refused a request. */
enum vtd_hw_fault_stage {
	VTD_HW_FAULT_NO_ENTRY, /* it is attached to nothing */
	VTD_HW_FAULT_FIRST_STAGE,
	VTD_HW_FAULT_SECOND_STAGE,
};

/* An unrecoverable fault: what VT-d 4.1 s7.1 has the unit log of an untranslated request. */
struct vtd_hw_fault {
	nst_rid rid;
	uint32_t pasid; /* or NST_NO_PASID */
	uint64_t iova;
	bool write, privileged;
	enum vtd_hw_fault_stage stage;
	unsigned int reason; /* enum vtd_fault_reason */
};

struct vtd_hw_config {
	const struct nst_log *log;
	bool check;		     /* as in struct nst_soft_config */
	struct sanitizer *sanitizer; /* outlives the unit */
	/*
	 * Have the device forget its translations of [iova, last] for @pasid: for entries with
	 * ats. Called when the IOTLB has been flushed, and before what flushed it returns, with
	 * no lock of the unit held, so that the device may hold a lock of its own over
	 * vtd_hw_translate() and vtd_hw_dma(), and take it here. NULL: there will be no ats.
	 */
	void (*ats_invalidate)(void *opaque, nst_rid rid, uint32_t pasid, uint64_t iova,
			       uint64_t last);
	/* A request was refused. Called in its thread, with no lock of the unit held. Or NULL. */
	void (*fault)(void *opaque, const struct vtd_hw_fault *fault);
	void *opaque;
};

NST_MUST_CHECK int vtd_hw_create(const struct vtd_hw_config *config, struct vtd_hw **out);
void vtd_hw_destroy(struct vtd_hw *hw);

/* Capability registers of this unit: the model is fixed. */
uint64_t vtd_hw_cap(const struct vtd_hw *hw);
uint64_t vtd_hw_ecap(const struct vtd_hw *hw);

/*
 * Write the PASID-table entry of (@rid, @pasid); NULL makes it not present. @pasid is
 * NST_NO_PASID for requests without one. Flushes what the old entry left in the PASID
 * cache and the device's TLB only; the IOTLB is the driver's business
 * (vtd_hw_flush_iotlb() with the old DID).
 * Errors: -ENOMEM, -EINVAL (more than 20 bits), and then nothing has changed; a NULL
 * @entry never fails.
 */
NST_MUST_CHECK int vtd_hw_set_entry(struct vtd_hw *hw, nst_rid rid, uint32_t pasid,
				    const struct vtd_hw_entry *entry);

/*
 * First-stage invalidation by DID: @npages 4 KiB pages from @addr, or everything if
 * @npages is UINT64_MAX. @leaf: paging structures stay cached (the IH hint). False: not
 * done, see vtd_hw_drop_invalidation().
 */
bool vtd_hw_flush_pages(struct vtd_hw *hw, uint16_t did, uint64_t addr, uint64_t npages, bool leaf);
void vtd_hw_flush_domain(struct vtd_hw *hw, uint16_t did);
/* The same, but no device is told: of an entry that has changed its device knows already, and
 * those of the others stay right. */
void vtd_hw_flush_iotlb(struct vtd_hw *hw, uint16_t did);

/*
 * Around every change of a second-stage map that an entry may point to. _end()
 * empties the IOTLB if @flush (needed after anything was removed or narrowed).
 */
void vtd_hw_map_begin(struct vtd_hw *hw);
void vtd_hw_map_end(struct vtd_hw *hw, bool flush);

/* One DMA request of any size. 0 or -EFAULT (counted and reported by the sanitizer). */
struct endpoint_dma_request;
NST_MUST_CHECK int vtd_hw_dma(struct vtd_hw *hw, nst_rid rid,
			      const struct endpoint_dma_request *req);

/*
 * An ATS translation request. 0, if nothing may be done there too; -EFAULT: the requester is
 * refused, because it is blocked or its entry has no ats (reported like a DMA request).
 */
struct endpoint_ats_request;
struct endpoint_ats_reply;
NST_MUST_CHECK int vtd_hw_translate(struct vtd_hw *hw, nst_rid rid,
				    const struct endpoint_ats_request *req,
				    struct endpoint_ats_reply *reply);

/* Fills the counters that the unit keeps: dma_*_bytes, iotlb_*, s1_walks. */
void vtd_hw_get_stats(struct vtd_hw *hw, struct nst_soft_stats *stats);

/* See nst_soft_drop_invalidation(). */
void vtd_hw_drop_invalidation(struct vtd_hw *hw, uint64_t after_dma_write_bytes);

#endif
