// SPDX-License-Identifier: BSD-3-Clause
/*
 * Nested translation. The path of one access:
 *
 *	context descriptor -> half of the space -> TLB -> miss: walk -> fill
 *
 * A TLB entry maps a page of the device's space straight to memory of this process, in
 * the largest size that both stages have there. Entries of global pages are kept apart,
 * under the VMID and ASET alone, and found from every ASID. The stage 1 tables a walk
 * passes are cached too, and the next walk starts at the lowest one known.
 */
#include "host/soft/smmuv3/smmu_hw_impl.h"

#include <string.h>

static const uint8_t leaf_sizes[SMMU_TLB_LEAF_SIZES] = { 12, 14, 16, 21, 25, 29, 30 };
const uint8_t smmu_tlb_shifts[SMMU_TLB_NUM_CLASSES] = {
	12, 14, 16, 21, 25, 29, 30, /* leaves */
	12, 14, 16, 21, 25, 29, 30, /* global leaves */
	39, 30, 21,		    /* tables of 4 KiB granules: levels 1, 2, 3 */
	47, 36, 25,		    /* of 16 KiB */
	55, 42, 29,		    /* of 64 KiB; level 1 is always the top */
};

/* What an access was answered from. */
struct provenance {
	struct smmu_context context;
	bool have_context, config_cached, hit;
	struct arm_s1_position start; /* of the walk, if there was one */
	bool below_top;
};

/* For slot_through_s2(): the map, and why a descriptor could not be had. */
struct walk_context {
	const struct range_map *s2;
	enum smmu_event_type refused;
};

/* arm_s1_slot_fn: a stage 1 descriptor, found through the second stage. */
static inline uint64_t *slot_through_s2(void *opaque, uint64_t ipa, bool *writable)
{
	struct walk_context *ctx = opaque;
	const struct mem_range *r;
	uint64_t left;

	r = range_map_find(ctx->s2, ipa, &left);
	if (!r || !(r->perm & RANGE_READ)) {
		ctx->refused = r ? SMMU_F_PERMISSION : SMMU_F_TRANSLATION;
		return NULL;
	}
	*writable = r->perm & RANGE_WRITE;
	return (uint64_t *)(void *)smmu_host_of(r, ipa);
}

unsigned int smmu_contiguous_lg2(const struct mem_range *r, uint64_t address, unsigned int most_lg2)
{
	for (size_t i = SMMU_TLB_LEAF_SIZES; i-- > 0;) {
		uint64_t base = address & ~(BIT64(leaf_sizes[i]) - 1);

		if (leaf_sizes[i] <= most_lg2 && base >= r->start &&
		    base + (BIT64(leaf_sizes[i]) - 1) <= r->last)
			return leaf_sizes[i];
	}
	return 0;
}

static unsigned int class_of_size(unsigned int lg2)
{
	unsigned int cls = 0;

	while (leaf_sizes[cls] != lg2)
		cls++;
	return cls;
}

static const struct smmu_half *half_of(const struct smmu_context *c, uint64_t address, uint64_t *va)
{
	const struct smmu_half *half = &c->halves[arm_s1_upper_half(address)];

	*va = arm_s1_effective_va(address, half->tbi);
	return half;
}

static struct arm_s1_request make_request(const struct smmu_context *c,
					  const struct smmu_half *half, const struct smmu_access *a)
{
	return (struct arm_s1_request){
		.offset = a->address & (UINT64_MAX >> half->tsz),
		.too_high = c->too_high,
		.granule_lg2 = half->granule_lg2,
		.write = a->write,
		.privileged = a->privileged,
		.ha = c->ha,
		.hd = c->hd,
		.affd = c->affd,
		.had = half->had,
		.pan = c->pan,
		.peek = a->peek,
	};
}

static struct arm_s1_position top_of(const struct smmu_half *half)
{
	return (struct arm_s1_position){
		.table = arm_s1_top_table(half->ttb, half->granule_lg2, half->tsz),
		.level = arm_s1_top_level(half->granule_lg2, half->tsz),
	};
}

static const struct iotlb_entry *find_leaf(struct smmu_hw *hw, uint16_t vmid,
					   const struct smmu_context *c, uint64_t va,
					   unsigned int right) REQUIRES(hw->cache_lock)
{
	for (unsigned int cls = 0; cls < SMMU_TLB_TABLES; cls++) {
		uint16_t asid = cls < SMMU_TLB_GLOBAL ? c->asid : c->aset;
		const struct iotlb_entry *e = iotlb_find(hw->tlb, smmu_tag(vmid, asid), cls, va);

		if (e && (e->flags & right))
			return e;
	}
	return NULL;
}

static bool lookup(struct smmu_hw *hw, uint16_t vmid, const struct smmu_context *c,
		   const struct smmu_access *a, uint64_t va, struct smmu_translation *t)
	REQUIRES(hw->cache_lock)
{
	const struct iotlb_entry *e =
		find_leaf(hw, vmid, c, va, arm_s1_right(a->write, a->privileged));
	uint64_t offset;

	if (!e)
		return false;
	t->page_lg2 = smmu_tlb_shifts[e->cls];
	offset = va & (BIT64(t->page_lg2) - 1);
	t->host = (uint8_t *)(uintptr_t)(e->target + offset);
	t->left = BIT64(t->page_lg2) - offset;
	return true;
}

/* The lowest table of @va that is cached, else the top. */
static struct arm_s1_position start_of_walk(struct smmu_hw *hw, uint16_t vmid,
					    const struct smmu_context *c,
					    const struct smmu_half *half, uint64_t va,
					    bool *below_top) REQUIRES(hw->cache_lock)
{
	struct arm_s1_position top = top_of(half);

	for (unsigned int level = ARM_S1_LAST_LEVEL; level > top.level; level--) {
		unsigned int cls = smmu_table_class(smmu_tg_of(half->granule_lg2), level);
		const struct iotlb_entry *e = iotlb_find(hw->tlb, smmu_tag(vmid, c->asid), cls, va);

		if (!e)
			continue;
		*below_top = true;
		return (struct arm_s1_position){
			.table = e->target,
			.level = level,
			.read_only = e->flags & SMMU_TABLE_READ_ONLY,
			.no_user = e->flags & SMMU_TABLE_NO_USER,
		};
	}
	*below_top = false;
	return top;
}

/* SMMUv3 IHI0070G.b s5.5 Fault configuration: CD.R counts only where nothing stalls. */
static bool refuse_stage1(const struct smmu_context *c, enum smmu_event_type type,
			  struct smmu_fault *fault)
{
	*fault = (struct smmu_fault){
		.type = type,
		.silent = !c->record && !c->stall,
		.may_stall = c->stall,
		.cls = SMMU_CLASS_IN,
	};
	return false;
}

/* Stage 1, then the page it names through stage 2. */
static bool walk(const struct smmu_hw_map *map, const struct smmu_context *c,
		 struct arm_s1_position pos, const struct arm_s1_request *req,
		 struct arm_s1_leaf *leaf, struct smmu_translation *t, struct smmu_fault *fault)
{
	struct walk_context ctx = { .s2 = map->s2 };
	enum smmu_event_type type = arm_s1_walk(req, pos, slot_through_s2, &ctx, leaf);
	const struct mem_range *r;
	uint64_t ipa;

	if (type == SMMU_F_WALK_EABT) {
		*fault = (struct smmu_fault){
			.type = leaf->update ? SMMU_F_PERMISSION : ctx.refused,
			.may_stall = map->stalls,
			.s2 = true,
			.cls = SMMU_CLASS_TT,
			.tt_write = leaf->update,
			.ipa = leaf->descriptor,
		};
		return false;
	}
	if (type)
		return refuse_stage1(c, type, fault);
	ipa = leaf->address | (req->offset & (BIT64(leaf->page_lg2) - 1));
	r = smmu_find_ipa(map, ipa, req->write, SMMU_CLASS_IN, fault);
	if (!r)
		return false;
	if (!(r->perm & RANGE_READ))
		leaf->rights &= ARM_S1_USER_WRITE | ARM_S1_PRIV_WRITE;
	if (!(r->perm & RANGE_WRITE))
		leaf->rights &= ARM_S1_USER_READ | ARM_S1_PRIV_READ;
	t->host = smmu_host_of(r, ipa);
	t->page_lg2 = smmu_contiguous_lg2(r, ipa, leaf->page_lg2);
	t->left =
		MIN(BIT64(leaf->page_lg2) - (ipa & (BIT64(leaf->page_lg2) - 1)), r->last - ipa + 1);
	return true;
}

static void fill(struct smmu_hw *hw, uint16_t vmid, const struct smmu_context *c,
		 const struct smmu_half *half, uint64_t va, const struct arm_s1_leaf *leaf,
		 const struct smmu_translation *t) REQUIRES(hw->cache_lock)
{
	const enum smmu_tlbi_tg tg = smmu_tg_of(half->granule_lg2);
	unsigned int cls = class_of_size(t->page_lg2) + (leaf->global ? SMMU_TLB_GLOBAL : 0);
	uint64_t offset = va & (BIT64(t->page_lg2) - 1);
	uint8_t flags = (uint8_t)(leaf->rights | FIELD_PREP(SMMU_LEAF_TG, tg) |
				  FIELD_PREP(SMMU_LEAF_LEVEL, leaf->level));

	iotlb_insert(hw->tlb, smmu_tag(vmid, leaf->global ? c->aset : c->asid), cls, va,
		     (uintptr_t)t->host - offset, flags);
	for (unsigned int i = 0; i < leaf->num_passed; i++) {
		const struct arm_s1_position *p = &leaf->passed[i];

		iotlb_insert(hw->tlb, smmu_tag(vmid, c->asid), smmu_table_class(tg, p->level), va,
			     p->table,
			     (p->read_only ? SMMU_TABLE_READ_ONLY : 0) |
				     (p->no_user ? SMMU_TABLE_NO_USER : 0));
	}
}

static bool out_of_range(const struct smmu_context *c, struct smmu_fault *fault)
{
	return refuse_stage1(c, SMMU_F_TRANSLATION, fault);
}

static bool translate(struct smmu_hw *hw, struct smmu_stream *stream, const struct smmu_access *a,
		      struct provenance *from, struct smmu_translation *t, struct smmu_fault *fault)
	REQUIRES_SHARED(hw->dma_lock)
{
	const uint16_t vmid = stream->ste.vmid;
	const struct smmu_context *c = &from->context;
	const struct smmu_half *half;
	struct arm_s1_request req;
	struct arm_s1_leaf leaf;
	uint64_t va;

	from->have_context =
		smmu_get_context(hw, stream, a, &from->context, &from->config_cached, fault);
	if (!from->have_context)
		return false;
	half = half_of(c, a->address, &va);
	if (!half->disabled && !arm_s1_in_range(va, half->tsz))
		return out_of_range(c, fault);
	mutex_lock(&hw->cache_lock);
	from->hit = lookup(hw, vmid, c, a, va, t);
	if (!from->hit && !half->disabled)
		from->start = start_of_walk(hw, vmid, c, half, va, &from->below_top);
	mutex_unlock(&hw->cache_lock);
	atomic_fetch_add_explicit(from->hit ? &hw->hits : &hw->misses, 1, memory_order_relaxed);
	if (from->hit)
		return true;
	if (half->disabled) /* EPD forbids the walk, not the hit */
		return out_of_range(c, fault);
	atomic_fetch_add_explicit(&hw->s1_walks, 1, memory_order_relaxed);
	req = make_request(c, half, a);
	if (!walk(&stream->ste.map, c, from->start, &req, &leaf, t, fault))
		return false;
	if (t->page_lg2) {
		mutex_lock(&hw->cache_lock);
		fill(hw, vmid, c, half, va, &leaf, t);
		mutex_unlock(&hw->cache_lock);
	}
	return true;
}

/* For an access that peeks; *@context and *@leaf say by what way. */
static bool translate_from_memory(struct smmu_hw *hw, struct smmu_stream *stream,
				  const struct smmu_access *a, struct smmu_context *context,
				  struct arm_s1_leaf *leaf, struct smmu_translation *t,
				  struct smmu_fault *fault) REQUIRES_SHARED(hw->dma_lock)
{
	const struct smmu_half *half;
	struct arm_s1_request req;
	uint64_t va;
	bool cached;

	if (!smmu_get_context(hw, stream, a, context, &cached, fault))
		return false;
	half = half_of(context, a->address, &va);
	if (half->disabled || !arm_s1_in_range(va, half->tsz))
		return out_of_range(context, fault);
	req = make_request(context, half, a);
	return walk(&stream->ste.map, context, top_of(half), &req, leaf, t, fault);
}

/* Does a walk still come by the table that the cache gave, and, if @rights, with as many? */
static bool passed(const struct arm_s1_leaf *leaf, const struct arm_s1_position *pos, bool rights)
{
	for (unsigned int i = 0; i < leaf->num_passed; i++) {
		const struct arm_s1_position *p = &leaf->passed[i];

		if (p->level == pos->level)
			return p->table == pos->table &&
			       (!rights ||
				(p->read_only == pos->read_only && p->no_user == pos->no_user));
	}
	return false;
}

/*
 * The sanitizer: an access was answered with @fault or, if there was none, with @t, and a
 * cache had a part in it. Do context descriptor and tables, read from memory, say the same?
 * If not, a cache is to blame if what it gave is not there any more. A fault is stale only
 * if it came by such a way: rights that were widened need no invalidation.
 */
static void check_use(struct smmu_hw *hw, struct smmu_stream *stream, const struct smmu_access *a,
		      const struct provenance *from, const struct smmu_fault *fault,
		      const struct smmu_translation *t) REQUIRES_SHARED(hw->dma_lock)
{
	struct smmu_context now_context = { 0 };
	struct smmu_translation now = { 0 };
	struct smmu_fault now_fault = { 0 };
	struct arm_s1_leaf leaf = { 0 };
	struct smmu_access peek = *a;
	struct sanitizer_domain domain = stream->ste.map.domain;
	enum sanitizer_cache cache;

	peek.peek = true;
	translate_from_memory(hw, stream, &peek, &now_context, &leaf, &now, &now_fault);
	if (fault->type ? now_fault.type : !now_fault.type && now.host == t->host)
		return;
	if (from->hit)
		cache = SANITIZER_IOTLB;
	else if (from->config_cached &&
		 memcmp(from->context.words, now_context.words, sizeof(now_context.words)))
		cache = SANITIZER_CONTEXT;
	else if (from->below_top && !passed(&leaf, &from->start, !fault->type))
		cache = SANITIZER_PAGING_STRUCTURE;
	else
		return;
	domain.asid = from->context.asid;
	sanitizer_report_stale(hw->config.sanitizer,
			       &(struct dma_request_id){ a->sid, a->ssv ? a->ssid : NST_NO_PASID,
							 a->address, a->write },
			       &domain, cache, (struct dma_outcome){ fault->type, t->host },
			       (struct dma_outcome){ now_fault.type, now.host });
}

bool smmu_translate_nested(struct smmu_hw *hw, struct smmu_stream *stream,
			   const struct smmu_access *a, struct smmu_translation *t,
			   struct smmu_fault *fault)
{
	struct provenance from = { 0 };
	struct arm_s1_leaf leaf;
	bool ok;

	if (a->peek)
		return translate_from_memory(hw, stream, a, &from.context, &leaf, t, fault);
	ok = translate(hw, stream, a, &from, t, fault);
	if (hw->config.check && (from.config_cached || from.hit || from.below_top))
		check_use(hw, stream, a, &from, fault, t);
	return ok;
}
