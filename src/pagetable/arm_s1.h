/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VMSAv8-64 stage 1 tables as an SMMU walks them (Arm DDI0487 M.a.a D8.2 Translation process,
 * D8.3 descriptor formats; SMMUv3 IHI0070G.b s3.4 Address sizes, s3.13 Access flag and dirty
 * state): granules of 4, 16 and 64 KiB, up to 48 bits in and out, two halves of the address
 * space with a table each. Levels count as Arm does, 3 is the last.
 *
 * arm_s1_walk() is a template like vtd_fs_walk(): @slot_fn is a constant at every call. It
 * maps the address of one descriptor, not of a table: a table may be of 64 KiB, and the
 * second stage may have each 4 KiB of it elsewhere.
 *
 * Each descriptor is read once. AF and the dirty state are set by compare-and-swap on the
 * value that was judged; if the guest changed it meanwhile, it is judged anew.
 */
#ifndef PAGETABLE_ARM_S1_H
#define PAGETABLE_ARM_S1_H

#include "base/bits.h"
#include "base/endian.h"
#include "spec/smmu_events.h"

#define ARM_S1_VALID BIT64(0)
#define ARM_S1_TABLE BIT64(1) /* a table; at level 3 a page */
#define ARM_S1_USER BIT64(6)  /* AP[1] */
#define ARM_S1_RO BIT64(7)    /* AP[2]; with DBM: clean */
#define ARM_S1_AF BIT64(10)
#define ARM_S1_NG BIT64(11)
#define ARM_S1_DBM BIT64(51)
#define ARM_S1_NO_USER BIT64(61)   /* APTable[0] */
#define ARM_S1_READ_ONLY BIT64(62) /* APTable[1] */
#define ARM_S1_ADDR GENMASK64(47, 12)

enum { ARM_S1_LAST_LEVEL = 3, ARM_S1_LEVELS = 4 };

/* What a leaf allows without another walk. */
enum arm_s1_right {
	ARM_S1_USER_READ = 1,
	ARM_S1_USER_WRITE = 2,
	ARM_S1_PRIV_READ = 4,
	ARM_S1_PRIV_WRITE = 8,
};

static inline unsigned int arm_s1_right(bool write, bool privileged)
{
	return (write ? ARM_S1_USER_WRITE : ARM_S1_USER_READ) << (privileged ? 2 : 0);
}

/* Bytes translated by one descriptor of @level, as a power of two. */
static inline unsigned int arm_s1_level_lg2(unsigned int granule_lg2, unsigned int level)
{
	return granule_lg2 + (ARM_S1_LAST_LEVEL - level) * (granule_lg2 - 3);
}

/* The level of the top table for input addresses of 64 - @tsz bits. */
static inline unsigned int arm_s1_top_level(unsigned int granule_lg2, unsigned int tsz)
{
	return ARM_S1_LAST_LEVEL - (63 - tsz - granule_lg2) / (granule_lg2 - 3);
}

/* The address of the top table: TTB with the bits below its alignment ignored. */
static inline uint64_t arm_s1_top_table(uint64_t ttb, unsigned int granule_lg2, unsigned int tsz)
{
	unsigned int top = arm_s1_top_level(granule_lg2, tsz);

	return ttb & ~(BIT64(64 - tsz - arm_s1_level_lg2(granule_lg2, top) + 3) - 1);
}

/* Bit 55 says which half of the space, and so which table, an address belongs to. */
static inline bool arm_s1_upper_half(uint64_t va)
{
	return va >> 55 & 1;
}

/* With the top byte ignored it is whatever bit 55 makes of it. */
static inline uint64_t arm_s1_effective_va(uint64_t va, bool tbi)
{
	return tbi ? (uint64_t)((int64_t)(va << 8) >> 8) : va;
}

/* Are all bits of an effective address above the 64 - @tsz that are translated as bit 55? */
static inline bool arm_s1_in_range(uint64_t va, unsigned int tsz)
{
	uint64_t above = va >> (64 - tsz);

	return above == (arm_s1_upper_half(va) ? UINT64_MAX >> (64 - tsz) : 0);
}

/* Where a walk stands: at the top, or at a table that a cache remembered. */
struct arm_s1_position {
	uint64_t table;
	unsigned int level;	 /* of its descriptors */
	bool read_only, no_user; /* what the APTable fields above take away */
};

struct arm_s1_request {
	uint64_t offset;   /* the address without the bits above its 64 - TxSZ */
	uint64_t too_high; /* address bits that the output cannot have (CD.IPS) */
	unsigned int granule_lg2;
	bool write;
	bool privileged;
	bool ha, hd; /* set AF; make clean pages dirty, for which @ha is needed */
	bool affd;   /* without @ha: AF counts as set */
	bool had;    /* APTable is ignored */
	bool pan;    /* privileged requests may not touch what is open to others */
	bool peek;   /* change nothing: the sanitizer's walk */
};

struct arm_s1_leaf {
	uint64_t address; /* of the page */
	unsigned int page_lg2, level;
	unsigned int rights; /* enum arm_s1_right */
	bool global;
	/* positions of the tables below the top that the walk passed: for the caller's cache */
	struct arm_s1_position passed[ARM_S1_LEVELS];
	unsigned int num_passed;
	/* SMMU_F_WALK_EABT: the descriptor that could not be read or, if @update, written */
	uint64_t descriptor;
	bool update;
};

/* Host memory of the descriptor at @address, or NULL. *@writable: may it be changed? */
typedef uint64_t *arm_s1_slot_fn(void *opaque, uint64_t address, bool *writable);

static inline bool arm_s1_is_block_level(unsigned int granule_lg2, unsigned int level)
{
	return level == 2 || (level == 1 && granule_lg2 == 12);
}

/* Rights of a leaf as it stands in memory, under the tables of @pos. */
static inline unsigned int arm_s1_rights(const struct arm_s1_request *req,
					 const struct arm_s1_position *pos, uint64_t entry)
{
	bool user = (entry & ARM_S1_USER) && !pos->no_user;
	bool writable = !(entry & ARM_S1_RO) && !pos->read_only;
	unsigned int rights = 0;

	if (user)
		rights |= ARM_S1_USER_READ | (writable ? ARM_S1_USER_WRITE : 0);
	if (!user || !req->pan)
		rights |= ARM_S1_PRIV_READ | (writable ? ARM_S1_PRIV_WRITE : 0);
	return rights;
}

/* What hardware makes of a leaf that it uses: AF set, and dirty if it is written. */
static inline uint64_t arm_s1_used(const struct arm_s1_request *req, uint64_t entry)
{
	if (req->ha)
		entry |= ARM_S1_AF;
	if (req->ha && req->hd && req->write && (entry & ARM_S1_DBM))
		entry &= ~ARM_S1_RO;
	return entry;
}

/*
 * Walk from @pos to the leaf of @req->offset. Returns 0 and fills @leaf, or the event:
 * SMMU_F_TRANSLATION, _ADDR_SIZE, _ACCESS, _PERMISSION or _WALK_EABT.
 */
static inline __attribute__((always_inline)) enum smmu_event_type arm_s1_walk(
	const struct arm_s1_request *req, struct arm_s1_position pos, arm_s1_slot_fn *slot_fn,
	void *opaque, struct arm_s1_leaf *leaf)
{
	const unsigned int granule_lg2 = req->granule_lg2;
	const uint64_t index_mask = BIT64(granule_lg2 - 3) - 1;

	leaf->num_passed = 0;
	for (;;) {
		unsigned int lg2 = arm_s1_level_lg2(granule_lg2, pos.level);
		bool last = pos.level == ARM_S1_LAST_LEVEL, writable = false, is_leaf;
		uint64_t at = pos.table + ((req->offset >> lg2 & index_mask) << 3);
		uint64_t *slot = slot_fn(opaque, at, &writable);
		uint64_t raw, entry, used;

		leaf->descriptor = at;
		leaf->update = false;
		if (!slot)
			return SMMU_F_WALK_EABT;
		raw = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
	again:
		entry = le64toh(raw);
		is_leaf = last || !(entry & ARM_S1_TABLE);
		if (!(entry & ARM_S1_VALID) || (last && !(entry & ARM_S1_TABLE)) ||
		    (is_leaf && !last && !arm_s1_is_block_level(granule_lg2, pos.level)))
			return SMMU_F_TRANSLATION;
		leaf->address = entry & ARM_S1_ADDR & ~(BIT64(is_leaf ? lg2 : granule_lg2) - 1);
		if (leaf->address & req->too_high)
			return SMMU_F_ADDR_SIZE;
		if (is_leaf) {
			if (!(entry & ARM_S1_AF) && !req->ha && !req->affd)
				return SMMU_F_ACCESS;
			used = arm_s1_used(req, entry);
			leaf->rights = arm_s1_rights(req, &pos, used);
			if (!(leaf->rights & arm_s1_right(req->write, req->privileged)))
				return SMMU_F_PERMISSION;
			if (used != entry && !req->peek) {
				leaf->update = true;
				if (!writable)
					return SMMU_F_WALK_EABT;
				if (!__atomic_compare_exchange_n(slot, &raw, htole64(used), false,
								 __ATOMIC_ACQ_REL,
								 __ATOMIC_ACQUIRE))
					goto again;
			}
			leaf->page_lg2 = lg2;
			leaf->level = pos.level;
			leaf->global = !(entry & ARM_S1_NG);
			return SMMU_EVENT_NONE;
		}
		if (!req->had) {
			pos.read_only |= !!(entry & ARM_S1_READ_ONLY);
			pos.no_user |= !!(entry & ARM_S1_NO_USER);
		}
		pos.table = leaf->address;
		pos.level++;
		leaf->passed[leaf->num_passed++] = pos;
	}
}

#endif
