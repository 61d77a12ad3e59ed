/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Translation for emulated devices, and its two caches: what requests of a (StreamID,
 * SubstreamID) go by, and pages by VMID and ASID. Both are emptied by commands as the specification
 * asks, SMMUv3 IHI0070G.b s4.3 and s4.4; SMMUEN, GBPA and reset empty them whole. What is
 * wrong is not cached.
 *
 * A translation holds `lock` shared from lookup to the end of its walk, and changes hold
 * it exclusively: an invalidation that has returned is followed by no use of what it
 * removed. What a walk found is inserted under the exclusive lock, unless `generation` says
 * that something was invalidated in between.
 */
#ifndef SMMUV3_TRANSLATE_H
#define SMMUV3_TRANSLATE_H

#include "base/lock.h"
#include "pagetable/iotlb.h"
#include "smmuv3/command.h"
#include "smmuv3/tables.h"

#include <nestor/viommu.h>

#include <stdatomic.h>

struct notifier;
struct smmu_unit;

enum { SMMU_XLATE_ENTRIES = 256 };

/* What requests of (@rid, @ssid) go by. */
struct smmu_xlate_entry {
	enum {
		SMMU_XLATE_NOTHING, /* an unused place of the cache */
		SMMU_XLATE_BYPASS,
		SMMU_XLATE_STAGE1,
		SMMU_XLATE_STAGE2,
		SMMU_XLATE_NESTED,
	} kind;
	nst_rid rid;
	uint32_t ssid; /* of the request: may be NST_NO_PASID */
	uint32_t cd;   /* index of its CD */
	enum smmu_privcfg privcfg;
	uint16_t vmid;
	bool ats;		     /* EATS */
	struct smmu_context context; /* SMMU_XLATE_STAGE1 and _NESTED */
	struct smmu_stage2 s2;	     /* SMMU_XLATE_STAGE2 and _NESTED */
};

/* What a walk has found: of two stages, what both have in one piece, and both allow. */
struct smmu_page {
	uint64_t address; /* as translated */
	unsigned int lg2;
	unsigned int rights; /* enum arm_s1_right */
	bool global;
};

struct smmu_xlate {
	atomic_ulong walks;
	struct rwlock lock;    /* protects the rest; inside cmd_lock, nothing is taken inside it */
	bool enabled, abort;   /* SMMUEN; if not, GBPA.ABORT */
	bool check_translated; /* ATSCHK */
	struct smmu_tables tables;	      /* copies of the unit's */
	uint64_t generation;		      /* of all changes */
	uint64_t passthrough[(1 << 16) / 64]; /* bit per stream that is not emulated */
	struct notifier *notifiers;	      /* changed with cmd_lock held too */
	atomic_bool top_byte_ignored;	      /* by what a notifier got; see notify.c */
	struct iotlb *iotlb;
	struct smmu_xlate_entry entries[SMMU_XLATE_ENTRIES];
	uint64_t occupied[SMMU_XLATE_ENTRIES / 64]; /* bit per entry that is something */
};

/* -ENOMEM. */
NST_MUST_CHECK int smmu_xlate_init(struct smmu_xlate *tr);
void smmu_xlate_fini(struct smmu_xlate *tr);

/* @rid becomes that of a passed-through device, or is one no more; with cmd_lock held. */
void smmu_xlate_claim(struct smmu_unit *u, nst_rid rid, bool passthrough);
static inline bool smmu_xlate_is_passthrough(const struct smmu_xlate *tr, nst_rid rid)
	REQUIRES_SHARED(tr->lock)
{
	return tr->passthrough[rid / 64] >> rid % 64 & 1;
}

/* Both with the unit's cmd_lock held: its state has changed; a command is carried out. */
void smmu_xlate_configure(struct smmu_unit *u);
void smmu_xlate_invalidate(struct smmu_unit *u, const struct smmu_command *c);

/*
 * walk.c: what the tables of @entry say of @va, which is within what they translate. Returns the
 * event; @fault then says more of it.
 */
NST_MUST_CHECK enum smmu_event_type smmu_walk(struct nst_mem *mem,
					      const struct smmu_xlate_entry *entry, uint64_t va,
					      bool write, bool privileged, struct smmu_page *page,
					      struct smmu_table_fault *fault);

/*
 * The page of @req->iova for a device TLB: *@entry, or *@type says why there is none: ats.c.
 * -EEXIST: not an emulated device.
 */
NST_MUST_CHECK int smmu_xlate_ats(struct smmu_unit *u, const struct nst_translate_request *req,
				  struct nst_ats_entry *entry, enum smmu_event_type *type);

/* viommu_ops.translate and .translate_or_stall */
int smmu_xlate(struct nst_viommu *viommu, const struct nst_translate_request *req,
	       struct nst_translation *out);
int smmu_xlate_or_stall(struct nst_notifier *notifier, const struct nst_translate_request *req,
			struct nst_translation *out, unsigned int *tag);
/* viommu_ops.msi_doorbell */
int smmu_msi_doorbell(struct nst_viommu *viommu, nst_rid rid, nst_iova address, nst_gpa *doorbell);

#endif
