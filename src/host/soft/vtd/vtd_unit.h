/* SPDX-License-Identifier: BSD-3-Clause */
/* Inside of the software VT-d unit: what vtd_hw.c, vtd_table.c, vtd_translate.c, vtd_ats.c share.
 */
#ifndef HOST_SOFT_VTD_UNIT_H
#define HOST_SOFT_VTD_UNIT_H

#include "host/soft/drop_hook.h"
#include "host/soft/vtd/vtd_hw.h"
#include "spec/vtd_faults.h"

#include <stdatomic.h>

enum { PASID_TABLE_LG2 = 6, PASID_BITS = 20 };

struct iotlb;

struct vtd_slot {
	bool present;
	uint32_t tlb; /* index of its vtd_device_tlb, plus 1; 0: it has none */
	struct vtd_hw_entry entry;
};

struct vtd_pasid_table {
	struct vtd_slot slots[1 << PASID_TABLE_LG2];
};

struct vtd_function {
	struct vtd_slot rid_slot;	    /* requests without PASID */
	struct vtd_pasid_table **directory; /* made with the first PASID */
};

/* An entry with ats. Never moves while it is used, so that a loop may drop the lock. */
struct vtd_device_tlb {
	bool used;
	uint32_t next_free; /* if it is not: of the free ones, as in vtd_slot.tlb */
	nst_rid rid;
	uint32_t pasid;
	uint16_t did;
};

struct vtd_hw {
	struct vtd_hw_config config;
	/* protects functions and what they point to, and the memory behind every translation */
	struct rwlock dma_lock;
	struct vtd_function *functions[65536];
	struct vtd_device_tlb *device_tlbs; /* [num_device_tlbs] */
	size_t num_device_tlbs;
	uint32_t free_tlb; /* the first of them that is free, as in vtd_slot.tlb */
	/* protects iotlb among holders of dma_lock shared; taken inside dma_lock */
	struct mutex iotlb_lock;
	struct iotlb *iotlb;
	/* counters: see struct nst_soft_stats */
	atomic_uint_fast64_t dma_read_bytes, dma_write_bytes, hits, misses, s1_walks;
	struct drop_hook drop;
};

/* --- vtd_table.c ------------------------------------------------------------------------ */

void vtd_table_fini(struct vtd_hw *hw);
/* The entry of a request, or NULL: it is blocked. */
const struct vtd_hw_entry *vtd_table_find(struct vtd_hw *hw, nst_rid rid, uint32_t pasid)
	REQUIRES_SHARED(hw->dma_lock);

/* --- vtd_translate.c -------------------------------------------------------------------- */

enum { VTD_MAY_WRITE = 1, VTD_USER = 2, VTD_MAY_READ = 4 }; /* flags of the IOTLB, too */

struct vtd_translation {
	uint8_t *host;		      /* of the first byte */
	uint64_t left;		      /* bytes to the end of the page, or beyond it */
	unsigned int page_lg2;	      /* what both stages map in one piece around it */
	uint8_t flags;		      /* VTD_MAY_*: at least what was asked for */
	bool by_first_stage;	      /* if it was refused */
	struct sanitizer_fault fault; /* if there was one; its reason is the return value */
};

NST_MUST_CHECK int vtd_translate_init(struct vtd_hw *hw);
void vtd_translate_fini(struct vtd_hw *hw);

/* One page of a request. *@t must be zeroed. */
enum vtd_fault_reason vtd_translate(struct vtd_hw *hw, nst_rid rid, uint32_t pasid, uint64_t iova,
				    bool write, struct vtd_translation *t)
	REQUIRES_SHARED(hw->dma_lock);
/* What the tables say at this moment: no cache is looked at, and nothing is changed. */
enum vtd_fault_reason vtd_translate_peek(const struct vtd_hw_entry *entry, uint64_t iova,
					 bool write, struct vtd_translation *t);

/* --- vtd_ats.c -------------------------------------------------------------------------- */

/* @addr of a translated request: in memory that the second stage of the requester reaches? */
enum vtd_fault_reason vtd_ats_check(struct vtd_hw *hw, nst_rid rid,
				    const struct endpoint_dma_request *req, uint64_t addr,
				    struct vtd_translation *t) REQUIRES_SHARED(hw->dma_lock);

/* Tell the devices with a TLB: those of entries with @did, or of all. */
void vtd_ats_flush(struct vtd_hw *hw, uint16_t did, uint64_t iova, uint64_t last)
	EXCLUDES(hw->dma_lock);
void vtd_ats_flush_all(struct vtd_hw *hw) EXCLUDES(hw->dma_lock);

#endif
