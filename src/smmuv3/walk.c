// SPDX-License-Identifier: BSD-3-Clause
/*
 * See translate.h: one walk of the guest's tables. Of two stages the first is walked with each of
 * its descriptors through the second, and so is what it leads to: SMMUv3 IHI0070G.b s3.3.
 */
#include "smmuv3/translate.h"

#include "base/bits.h"
#include "base/mem.h"
#include "pagetable/arm_s1.h"

/* One walk, for its slot functions. */
struct walk {
	struct nst_mem *mem;
	const struct smmu_stage2 *s2;
	struct smmu_table_fault *fault; /* stage 2's, if it was that */
};

static inline uint64_t *memory_slot(struct walk *w, uint64_t address, bool *writable)
{
	uint8_t *page = mem_page(w->mem, (nst_gpa){ address & ~(PAGE_SIZE_4K - 1) }, writable);

	return page ? (uint64_t *)(void *)&page[address & (PAGE_SIZE_4K - 1)] : NULL;
}

/* arm_s1_slot_fn */
static inline uint64_t *stage1_slot(void *opaque, uint64_t address, bool *writable)
{
	struct walk *w = opaque;
	uint64_t *slot = memory_slot(w, address, writable);

	if (!slot)
		w->fault->address = address;
	return slot;
}

/* arm_s1_slot_fn: hardware would update no descriptor either, as IDR0.HTTU is 0. */
static inline uint64_t *nested_slot(void *opaque, uint64_t address, bool *writable)
{
	struct walk *w = opaque;
	struct arm_s2_leaf leaf;

	if (!smmu_stage2_walk(w->mem, w->s2, address, false, SMMU_CLASS_TT, &leaf, w->fault))
		return NULL;
	return stage1_slot(w, leaf.address | (address & (BIT64(leaf.page_lg2) - 1)), writable);
}

static enum smmu_event_type walk_stage1(struct walk *w, const struct smmu_xlate_entry *e,
					uint64_t va, bool write, bool privileged,
					struct smmu_page *page)
{
	const struct smmu_half *half = &e->context.halves[arm_s1_upper_half(va)];
	const struct arm_s1_request req = {
		.offset = va & (UINT64_MAX >> half->tsz),
		.too_high = e->context.too_high,
		.granule_lg2 = half->granule_lg2,
		.write = write,
		.privileged = privileged,
		.affd = e->context.affd,
		.had = half->had,
	};
	const struct arm_s1_position top = {
		.table = arm_s1_top_table(half->ttb, half->granule_lg2, half->tsz),
		.level = arm_s1_top_level(half->granule_lg2, half->tsz),
	};
	struct arm_s1_leaf leaf;
	enum smmu_event_type type = e->kind == SMMU_XLATE_NESTED
					    ? arm_s1_walk(&req, top, nested_slot, w, &leaf)
					    : arm_s1_walk(&req, top, stage1_slot, w, &leaf);

	if (!type)
		*page = (struct smmu_page){ leaf.address, leaf.page_lg2, leaf.rights, leaf.global };
	return w->fault->s2 ? w->fault->type : type;
}

/* @page is intermediate, and @offset in it is wanted. */
static enum smmu_event_type walk_stage2(struct walk *w, uint64_t offset, bool write,
					struct smmu_page *page)
{
	uint64_t ipa = page->address | offset;
	struct arm_s2_leaf leaf;

	if (!smmu_stage2_walk(w->mem, w->s2, ipa, write, SMMU_CLASS_IN, &leaf, w->fault))
		return w->fault->type;
	page->lg2 = MIN(page->lg2, leaf.page_lg2);
	page->address = (leaf.address | (ipa & (BIT64(leaf.page_lg2) - 1))) &
			~(BIT64(page->lg2) - 1);
	if (!leaf.readable)
		page->rights &= ~(unsigned int)(ARM_S1_USER_READ | ARM_S1_PRIV_READ);
	if (!leaf.writable)
		page->rights &= ~(unsigned int)(ARM_S1_USER_WRITE | ARM_S1_PRIV_WRITE);
	return SMMU_EVENT_NONE;
}

/* What a stage 1 that is not there makes of all addresses. */
static const struct smmu_page everything = {
	.lg2 = 63,
	.rights = ARM_S1_USER_READ | ARM_S1_USER_WRITE | ARM_S1_PRIV_READ | ARM_S1_PRIV_WRITE,
};

enum smmu_event_type smmu_walk(struct nst_mem *mem, const struct smmu_xlate_entry *entry,
			       uint64_t va, bool write, bool privileged, struct smmu_page *page,
			       struct smmu_table_fault *fault)
{
	struct walk w = { mem, &entry->s2, fault };
	enum smmu_event_type type = SMMU_EVENT_NONE;
	unsigned int token = mem_enter(mem);

	*fault = (struct smmu_table_fault){ .type = SMMU_EVENT_NONE };
	*page = everything;
	if (entry->kind != SMMU_XLATE_STAGE2)
		type = walk_stage1(&w, entry, va, write, privileged, page);
	if (!type && entry->kind != SMMU_XLATE_STAGE1)
		type = walk_stage2(&w, va & (BIT64(page->lg2) - 1), write, page);
	mem_exit(mem, token);
	return type;
}
