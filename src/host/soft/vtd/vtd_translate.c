// SPDX-License-Identifier: BSD-3-Clause
/*
 * From a request to memory of this process: IOTLB, walks, and the sanitizer's second look at
 * what the caches gave.
 *
 * An IOTLB entry maps a page of the IOVA space straight to memory of this process,
 * in the largest size that both stages have there. The first-stage tables a walk
 * passes are cached too, and the next walk starts at the lowest one known.
 */
#include "host/soft/vtd/vtd_unit.h"

#include "pagetable/iotlb.h"
#include "pagetable/vtd_fs.h"

/* Classes of the cache: leaves by size, tables by the level of their entries. */
enum { CLASS_4K, CLASS_2M, CLASS_1G, CLASS_TABLE_L1, CLASS_TABLE_L2, CLASS_TABLE_L3, NUM_CLASSES };
static const uint8_t class_shifts[NUM_CLASSES] = { 12, 21, 30, 21, 30, 39 };
enum { LEAF_CLASSES = 1 << CLASS_4K | 1 << CLASS_2M | 1 << CLASS_1G };
enum { IOTLB_CAPACITY = 65536 };

/* What a request needs to know while it is translated. */
struct walk_context {
	const struct range_map *s2;
	const struct dirty_map *dirty; /* NULL: nothing is to be recorded */
	/* The last table is of a page that has to be marked before it may be written. */
	bool table_is_clean;
	uint64_t table;
	/* What of the IOAS was asked for last, and whether there is something. */
	uint64_t ioas_addr;
	bool unmapped;
};

int vtd_translate_init(struct vtd_hw *hw)
{
	int err = iotlb_create(IOTLB_CAPACITY, class_shifts, NUM_CLASSES, LEAF_CLASSES, &hw->iotlb);

	if (!err)
		mutex_init(&hw->iotlb_lock);
	return err;
}

void vtd_translate_fini(struct vtd_hw *hw)
{
	iotlb_destroy(hw->iotlb);
	mutex_fini(&hw->iotlb_lock);
}

/* --- walks ------------------------------------------------------------------------------ */

static const struct mem_range *find_s2(struct walk_context *ctx, uint64_t gpa, uint64_t *left)
{
	const struct mem_range *r = range_map_find(ctx->s2, gpa, left);

	ctx->ioas_addr = gpa;
	ctx->unmapped = !r;
	return r;
}

/* vtd_fs_table_fn: a first-stage table, found through the second stage. */
static inline uint64_t *table_through_s2(void *opaque, uint64_t gpa, bool *writable)
{
	struct walk_context *ctx = opaque;
	const struct mem_range *r;
	uint64_t left;

	r = find_s2(ctx, gpa, &left);
	if (!r || left < PAGE_SIZE_4K || !(r->perm & RANGE_READ))
		return NULL;
	*writable = r->perm & RANGE_WRITE;
	ctx->table_is_clean = *writable && ctx->dirty && !dirty_map_is_marked(ctx->dirty, gpa);
	if (ctx->table_is_clean) {
		*writable = false;
		ctx->table = gpa;
	}
	return (uint64_t *)(uintptr_t)(r->hva.v + (gpa - r->start));
}

static struct vtd_fs_position top_of(const struct vtd_hw_entry *entry)
{
	return (struct vtd_fs_position){
		.table = entry->fs_root & VTD_FS_ADDR,
		.level = entry->fs_levels,
		.writable = true,
		.user = true,
	};
}

/* The lowest table of @iova that is cached, else the top. */
static struct vtd_fs_position start_of_walk(struct vtd_hw *hw, const struct vtd_hw_entry *entry,
					    uint64_t iova)
{
	for (unsigned int cls = CLASS_TABLE_L1; cls <= CLASS_TABLE_L3; cls++) {
		const struct iotlb_entry *e = iotlb_find(hw->iotlb, entry->did, cls, iova);

		if (e)
			return (struct vtd_fs_position){
				.table = e->target,
				.level = cls - CLASS_TABLE_L1 + 1,
				.writable = e->flags & VTD_MAY_WRITE,
				.user = e->flags & VTD_USER,
			};
	}
	return top_of(entry);
}

static bool records_dirty(const struct vtd_hw_entry *entry)
{
	return entry->dirty && entry->dirty->enabled;
}

/*
 * The first stage alone. Setting an accessed or dirty bit in a guest's table is a write
 * through the second stage too. Whether one will be set only the walk knows, so a table
 * in a clean page is read-only at first; a walk that fails for that begins again after
 * the page was marked. Nobody can clear the mark meanwhile: we hold dma_lock.
 */
static enum vtd_fault_reason walk_first_stage(struct walk_context *ctx, struct vtd_fs_position pos,
					      const struct vtd_fs_request *req,
					      struct vtd_fs_leaf *leaf)
{
	for (;;) {
		enum vtd_fault_reason reason = vtd_fs_walk(req, pos, table_through_s2, ctx, leaf);

		if (reason != VTD_FAULT_FS_BIT_UPDATE || !ctx->table_is_clean)
			return reason;
		dirty_map_mark(ctx->dirty, ctx->table);
	}
}

static enum vtd_fault_reason fail(struct vtd_translation *t, const struct walk_context *ctx,
				  enum vtd_fault_reason reason)
{
	t->fault.unmapped = ctx->unmapped;
	t->fault.ioas_addr = ctx->ioas_addr;
	return reason;
}

/* First stage, then the page it names through the second. On failure only t->fault is written. */
static enum vtd_fault_reason walk(const struct vtd_hw_entry *entry, struct vtd_fs_position pos,
				  struct vtd_fs_request *req, struct vtd_fs_leaf *leaf,
				  struct vtd_translation *t)
{
	const struct dirty_map *dirty = !req->peek && records_dirty(entry) ? entry->dirty : NULL;
	struct walk_context ctx = { .s2 = entry->s2, .dirty = dirty };
	const struct mem_range *r;
	enum vtd_fault_reason reason;
	uint64_t gpa, left;

	reason = walk_first_stage(&ctx, pos, req, leaf);
	t->by_first_stage = reason;
	if (reason)
		return fail(t, &ctx, reason);
	gpa = leaf->address | (req->iova & (BIT64(leaf->page_lg2) - 1));
	r = find_s2(&ctx, gpa, &left);
	if (!r)
		return fail(t, &ctx, VTD_FAULT_SS_NOT_PRESENT);
	if (!(r->perm & (req->write ? RANGE_WRITE : RANGE_READ)))
		return req->write ? VTD_FAULT_WRITE : VTD_FAULT_READ;
	/* Without D the entry serves reads only, so that the first write walks and sets it. */
	t->flags = (r->perm & RANGE_READ ? VTD_MAY_READ : 0) |
		   (leaf->writable && leaf->dirty && (r->perm & RANGE_WRITE) ? VTD_MAY_WRITE : 0);
	t->host = (uint8_t *)(uintptr_t)(r->hva.v + (gpa - r->start));
	t->page_lg2 = leaf->page_lg2;
	if (dirty) {
		if (req->write)
			dirty_map_mark(dirty, gpa);
		/* As with D of the first stage, and so the entry must not reach beyond the page. */
		if (!dirty_map_is_marked(dirty, gpa))
			t->flags &= (uint8_t)~VTD_MAY_WRITE;
		t->page_lg2 = PAGE_SHIFT_4K;
	}
	for (; t->page_lg2 > PAGE_SHIFT_4K; t->page_lg2 -= VTD_FS_LEVEL_BITS) {
		uint64_t base = gpa & ~(BIT64(t->page_lg2) - 1);

		if (base >= r->start && base + (BIT64(t->page_lg2) - 1) <= r->last)
			break;
	}
	t->left = BIT64(t->page_lg2) - (req->iova & (BIT64(t->page_lg2) - 1));
	return VTD_FAULT_NONE;
}

static struct vtd_fs_request make_request(const struct vtd_hw_entry *entry, uint64_t iova,
					  bool write)
{
	return (struct vtd_fs_request){
		.iova = iova,
		.levels = entry->fs_levels,
		.write = write,
		.write_protect = entry->wpe,
		.extended_accessed = entry->eafe,
	};
}

/* Something that a cache gave, and that the tables no longer say, was used. */
static bool passed(const struct vtd_fs_leaf *leaf, const struct vtd_fs_position *pos)
{
	for (unsigned int i = 0; i < leaf->num_passed; i++)
		if (leaf->passed[i].level == pos->level)
			return leaf->passed[i].table == pos->table;
	return false;
}

/*
 * The sanitizer: a request was answered with @reason or, if that is 0, with @host, out of
 * the IOTLB (@pos NULL) or by a walk that began at @pos, a cached table. Do the tables,
 * walked from the top, say the same? A fault is stale only if it came from a table that
 * is no longer there: rights that were widened need no invalidation.
 */
static void check_use(struct vtd_hw *hw, nst_rid rid, uint32_t pasid,
		      const struct vtd_hw_entry *entry, const struct vtd_fs_position *pos,
		      const struct vtd_fs_request *used, enum vtd_fault_reason reason,
		      const uint8_t *host)
{
	struct vtd_fs_request req = *used;
	enum vtd_fault_reason now_reason;
	struct vtd_translation now = { 0 };
	struct vtd_fs_leaf leaf;
	bool stale;

	req.peek = true;
	now_reason = walk(entry, top_of(entry), &req, &leaf, &now);
	if (reason)
		stale = pos && !now_reason && !passed(&leaf, pos);
	else
		stale = now_reason || now.host != host;
	if (stale)
		sanitizer_report_stale(hw->config.sanitizer,
				       &(struct dma_request_id){ rid, pasid, req.iova, req.write },
				       &entry->domain,
				       pos ? SANITIZER_PAGING_STRUCTURE : SANITIZER_IOTLB,
				       (struct dma_outcome){ reason, host },
				       (struct dma_outcome){ now_reason, now.host });
}

static bool lookup(struct vtd_hw *hw, uint16_t did, uint64_t iova, bool write,
		   struct vtd_translation *t) REQUIRES(hw->iotlb_lock)
{
	for (unsigned int cls = CLASS_4K; cls <= CLASS_1G; cls++) {
		const struct iotlb_entry *e = iotlb_find(hw->iotlb, did, cls, iova);
		uint64_t offset = iova & (BIT64(class_shifts[cls]) - 1);

		if (!e || !(e->flags & (write ? VTD_MAY_WRITE : VTD_MAY_READ)))
			continue;
		t->host = (uint8_t *)(uintptr_t)(e->target + offset);
		t->left = BIT64(class_shifts[cls]) - offset;
		t->page_lg2 = class_shifts[cls];
		t->flags = e->flags;
		return true;
	}
	return false;
}

static void fill(struct vtd_hw *hw, uint16_t did, uint64_t iova, const struct vtd_fs_leaf *leaf,
		 const struct vtd_translation *t) REQUIRES(hw->iotlb_lock)
{
	unsigned int cls = (t->page_lg2 - PAGE_SHIFT_4K) / VTD_FS_LEVEL_BITS;
	uint64_t offset = iova & (BIT64(t->page_lg2) - 1);

	iotlb_insert(hw->iotlb, did, cls, iova, (uintptr_t)t->host - offset, t->flags);
	for (unsigned int i = 0; i < leaf->num_passed; i++) {
		const struct vtd_fs_position *p = &leaf->passed[i];

		if (p->level <= 3)
			iotlb_insert(hw->iotlb, did, CLASS_TABLE_L1 + p->level - 1, iova, p->table,
				     (p->writable ? VTD_MAY_WRITE : 0) | (p->user ? VTD_USER : 0));
	}
}

static enum vtd_fault_reason translate_nested(struct vtd_hw *hw, nst_rid rid, uint32_t pasid,
					      const struct vtd_hw_entry *entry, uint64_t iova,
					      bool write, struct vtd_translation *t)
	REQUIRES_SHARED(hw->dma_lock)
{
	struct vtd_fs_request req = make_request(entry, iova, write);
	struct vtd_fs_position pos;
	enum vtd_fault_reason reason;
	struct vtd_fs_leaf leaf;
	bool hit;

	if (!vtd_fs_canonical(iova, entry->fs_levels))
		return VTD_FAULT_NOT_CANONICAL;
	mutex_lock(&hw->iotlb_lock);
	hit = lookup(hw, entry->did, iova, write, t);
	if (!hit)
		pos = start_of_walk(hw, entry, iova);
	mutex_unlock(&hw->iotlb_lock);
	if (hit) {
		atomic_fetch_add_explicit(&hw->hits, 1, memory_order_relaxed);
		if (hw->config.check)
			check_use(hw, rid, pasid, entry, NULL, &req, VTD_FAULT_NONE, t->host);
		return VTD_FAULT_NONE;
	}
	atomic_fetch_add_explicit(&hw->misses, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&hw->s1_walks, 1, memory_order_relaxed);
	reason = walk(entry, pos, &req, &leaf, t);
	if (hw->config.check && pos.level != entry->fs_levels)
		check_use(hw, rid, pasid, entry, &pos, &req, reason, t->host);
	if (reason)
		return reason;
	mutex_lock(&hw->iotlb_lock);
	fill(hw, entry->did, iova, &leaf, t);
	mutex_unlock(&hw->iotlb_lock);
	return VTD_FAULT_NONE;
}

static enum vtd_fault_reason translate_by_s2(const struct vtd_hw_entry *entry, uint64_t iova,
					     bool write, bool peek, struct vtd_translation *t)
{
	struct walk_context ctx = { .s2 = entry->s2 };
	const struct mem_range *r = find_s2(&ctx, iova, &t->left);

	if (!r)
		return fail(t, &ctx, VTD_FAULT_SS_NOT_PRESENT);
	if (!(r->perm & (write ? RANGE_WRITE : RANGE_READ)))
		return write ? VTD_FAULT_WRITE : VTD_FAULT_READ;
	if (write && !peek && records_dirty(entry))
		dirty_map_mark(entry->dirty, iova);
	t->flags = (r->perm & RANGE_READ ? VTD_MAY_READ : 0) |
		   (r->perm & RANGE_WRITE ? VTD_MAY_WRITE : 0);
	t->page_lg2 = PAGE_SHIFT_4K;
	t->host = (uint8_t *)(uintptr_t)(r->hva.v + (iova - r->start));
	return VTD_FAULT_NONE;
}

/* An address of the interrupt range is never memory, whatever the tables say. */
static bool is_interrupt(uint64_t iova)
{
	return iova >> 20 == 0xfee;
}

enum vtd_fault_reason vtd_translate_peek(const struct vtd_hw_entry *entry, uint64_t iova,
					 bool write, struct vtd_translation *t)
{
	struct vtd_fs_request req = make_request(entry, iova, write);
	struct vtd_fs_leaf leaf;

	if (is_interrupt(iova))
		return VTD_FAULT_SM_INTERRUPT_RANGE;
	if (entry->pgtt != VTD_HW_NESTED)
		return translate_by_s2(entry, iova, write, true, t);
	if (!vtd_fs_canonical(iova, entry->fs_levels))
		return VTD_FAULT_NOT_CANONICAL;
	req.peek = true;
	return walk(entry, top_of(entry), &req, &leaf, t);
}

enum vtd_fault_reason vtd_translate(struct vtd_hw *hw, nst_rid rid, uint32_t pasid, uint64_t iova,
				    bool write, struct vtd_translation *t)
{
	const struct vtd_hw_entry *entry = vtd_table_find(hw, rid, pasid);
	enum vtd_fault_reason reason;

	if (!entry)
		return VTD_FAULT_PASID_NOT_PRESENT;
	t->by_first_stage = entry->pgtt == VTD_HW_NESTED;
	if (is_interrupt(iova))
		reason = VTD_FAULT_SM_INTERRUPT_RANGE;
	else if (entry->pgtt == VTD_HW_NESTED)
		reason = translate_nested(hw, rid, pasid, entry, iova, write, t);
	else
		reason = translate_by_s2(entry, iova, write, false, t);
	if (reason) {
		t->fault.attached = true;
		t->fault.domain = entry->domain;
	}
	return reason;
}
