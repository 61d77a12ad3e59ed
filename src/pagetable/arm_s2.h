/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VMSAv8-64 stage 2 tables as an SMMU walks them (Arm DDI0487 M.a.a D8.2 Translation process,
 * D8.3 descriptor formats; SMMUv3 IHI0070G.b s3.4 Address sizes, s5.2 Stream Table Entry). Levels
 * and descriptors are those of stage 1 (arm_s1.h); what differs:
 *
 * The level of the top table is said, not derived (SL0), and up to 16 tables stand in its place
 * side by side: as many as it takes for the input addresses. A leaf has rights of reads and of
 * writes, of nobody in particular, and tables take none away. Hardware updates are not there,
 * so a walk changes nothing. Contiguous is a hint, and XN is of instructions: neither is looked at.
 *
 * arm_s2_walk() is a template like arm_s1_walk().
 */
#ifndef PAGETABLE_ARM_S2_H
#define PAGETABLE_ARM_S2_H

#include "pagetable/arm_s1.h"

#define ARM_S2_MEMATTR_TYPE GENMASK64(5, 4) /* MemAttr[3:2]; 0: a device's */
#define ARM_S2_READ BIT64(6)		    /* S2AP[0] */
#define ARM_S2_WRITE BIT64(7)		    /* S2AP[1] */

enum { ARM_S2_CONCATENATED_LG2 = 4 };

/* Where the walk begins, and how far its input addresses reach. */
struct arm_s2_table {
	uint64_t base;
	unsigned int granule_lg2, tsz, level; /* level: of the top table */
};

/* SL0 in terms of levels; false: no granule of this size begins there. */
static inline bool arm_s2_top_level(unsigned int granule_lg2, unsigned int sl0, unsigned int *level)
{
	unsigned int at_0 = granule_lg2 == 12 ? 2 : 3;

	*level = at_0 - MIN(sl0, at_0);
	return sl0 <= 2;
}

/*
 * Can a table of @level begin a walk of 64 - @tsz bits? It has to translate one bit of them, and no
 * more than 16 tables may stand in its place.
 */
static inline bool arm_s2_size_is_legal(unsigned int granule_lg2, unsigned int level,
					unsigned int tsz)
{
	unsigned int below = arm_s1_level_lg2(granule_lg2, level);
	unsigned int most = below + granule_lg2 - 3 + ARM_S2_CONCATENATED_LG2;

	return 64 - tsz > below && 64 - tsz <= most;
}

/* @ttb with the bits ignored that are below the alignment of all that stand in the top's place. */
static inline uint64_t arm_s2_top_table(uint64_t ttb, unsigned int granule_lg2, unsigned int level,
					unsigned int tsz)
{
	return ttb & ~(BIT64(64 - tsz - arm_s1_level_lg2(granule_lg2, level) + 3) - 1);
}

struct arm_s2_request {
	struct arm_s2_table table;
	uint64_t ipa;
	uint64_t too_high; /* address bits that the output cannot have (S2PS) */
	bool write;
	bool affd;	/* AF counts as set */
	bool protected; /* an access of another walk: not to what is a device's */
};

struct arm_s2_leaf {
	uint64_t address; /* of the page */
	unsigned int page_lg2;
	bool readable, writable;
	uint64_t descriptor; /* SMMU_F_WALK_EABT: the one that could not be read */
};

/* Host memory of the descriptor at @address, or NULL. */
typedef const uint64_t *arm_s2_slot_fn(void *opaque, uint64_t address);

/*
 * Returns 0 and fills @leaf, or the event: SMMU_F_TRANSLATION, _ADDR_SIZE, _ACCESS, _PERMISSION or
 * _WALK_EABT.
 */
static inline __attribute__((always_inline)) enum smmu_event_type arm_s2_walk(
	const struct arm_s2_request *req, arm_s2_slot_fn *slot_fn, void *opaque,
	struct arm_s2_leaf *leaf)
{
	const unsigned int granule_lg2 = req->table.granule_lg2;
	uint64_t index_mask = UINT64_MAX,
		 table = req->table.base; /* the top's index has all bits */

	if (req->ipa >> (64 - req->table.tsz))
		return SMMU_F_TRANSLATION;
	for (unsigned int level = req->table.level;; level++) {
		unsigned int lg2 = arm_s1_level_lg2(granule_lg2, level);
		bool last = level == ARM_S1_LAST_LEVEL, is_leaf;
		const uint64_t *slot;
		uint64_t entry;

		leaf->descriptor = table + ((req->ipa >> lg2 & index_mask) << 3);
		slot = slot_fn(opaque, leaf->descriptor);
		if (!slot)
			return SMMU_F_WALK_EABT;
		entry = le64toh(__atomic_load_n(slot, __ATOMIC_ACQUIRE));
		is_leaf = last || !(entry & ARM_S1_TABLE);
		if (!(entry & ARM_S1_VALID) || (last && !(entry & ARM_S1_TABLE)) ||
		    (is_leaf && !last && !arm_s1_is_block_level(granule_lg2, level)))
			return SMMU_F_TRANSLATION;
		table = entry & ARM_S1_ADDR & ~(BIT64(is_leaf ? lg2 : granule_lg2) - 1);
		if (table & req->too_high)
			return SMMU_F_ADDR_SIZE;
		if (is_leaf) {
			*leaf = (struct arm_s2_leaf){
				.address = table,
				.page_lg2 = lg2,
				.readable = entry & ARM_S2_READ,
				.writable = entry & ARM_S2_WRITE,
				.descriptor = leaf->descriptor,
			};
			if (!(entry & ARM_S1_AF) && !req->affd)
				return SMMU_F_ACCESS;
			if (!(req->write ? leaf->writable : leaf->readable) ||
			    (req->protected && !(entry & ARM_S2_MEMATTR_TYPE)))
				return SMMU_F_PERMISSION;
			return SMMU_EVENT_NONE;
		}
		index_mask = BIT64(granule_lg2 - 3) - 1;
	}
}

#endif
