// SPDX-License-Identifier: BSD-3-Clause
/*
 * See vtd_hw.h. The path of one request, a page at a time:
 *
 *	entry of (requester, PASID) -> IOTLB -> miss: walk -> fill -> copy
 *
 * An IOTLB entry maps a page of the IOVA space straight to memory of this process,
 * in the largest size that both stages have there. The first-stage tables a walk
 * passes are cached too, and the next walk starts at the lowest one known.
 */
#include "host/soft/vtd_hw.h"

#include "base/alloc.h"
#include "base/log.h"
#include "endpoint/endpoint.h"
#include "pagetable/iotlb.h"
#include "pagetable/vtd_fs.h"
#include "spec/vtd_caps.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

/* Classes of the cache: leaves by size, tables by the level of their entries. */
enum { CLASS_4K, CLASS_2M, CLASS_1G, CLASS_TABLE_L1, CLASS_TABLE_L2, CLASS_TABLE_L3, NUM_CLASSES };
static const uint8_t class_shifts[NUM_CLASSES] = { 12, 21, 30, 21, 30, 39 };
enum { LEAF_CLASSES = 1 << CLASS_4K | 1 << CLASS_2M | 1 << CLASS_1G };
enum { ENTRY_WRITE = 1, ENTRY_USER = 2, ENTRY_READ = 4 }; /* iotlb flags */

enum { IOTLB_CAPACITY = 65536, PASID_TABLE_LG2 = 6, PASID_BITS = 20 };

/* VT-d 4.1 s9.5, s9.6: a directory of tables of 64 PASID entries. */
struct pasid_slot {
	bool present;
	struct vtd_hw_entry entry;
};

struct pasid_table {
	struct pasid_slot slots[1 << PASID_TABLE_LG2];
};

struct function {
	struct pasid_slot rid_slot;	/* requests without PASID */
	struct pasid_table **directory; /* made with the first PASID */
};

struct vtd_hw {
	const struct nst_log *log;
	struct sanitizer *sanitizer;
	bool check;
	/* protects functions and what they point to, and the memory behind every translation */
	struct rwlock dma_lock;
	struct function *functions[65536];
	/* protects iotlb among holders of dma_lock shared; taken inside dma_lock */
	struct mutex iotlb_lock;
	struct iotlb *iotlb;
	/* counters: see struct nst_soft_stats */
	atomic_uint_fast64_t dma_read_bytes, dma_write_bytes, hits, misses, s1_walks;
	/* test hook: 1 + the write count after which one invalidation is lost; 0 = none */
	atomic_uint_fast64_t drop_after;
};

/* What a request needs to know while it is translated. */
struct walk_context {
	const struct range_map *s2;
	const struct vtd_dirty *dirty; /* NULL: nothing is to be recorded */
	/* The last table is of a page that has to be marked before it may be written. */
	bool table_is_clean;
	uint64_t table;
	/* What of the IOAS was asked for last, and whether there is something. */
	uint64_t ioas_addr;
	bool unmapped;
};

struct translation {
	uint8_t *host;		      /* of the first byte */
	uint64_t left;		      /* bytes to the end of the page */
	unsigned int page_lg2;	      /* what both stages map in one piece around it */
	uint8_t flags;		      /* of the IOTLB entry */
	struct sanitizer_fault fault; /* if there was one */
};

int vtd_hw_create(const struct vtd_hw_config *config, struct vtd_hw **out)
{
	struct vtd_hw *hw = alloc_object(struct vtd_hw);
	int ret;

	if (!hw)
		return -ENOMEM;
	ret = iotlb_create(IOTLB_CAPACITY, class_shifts, NUM_CLASSES, LEAF_CLASSES, &hw->iotlb);
	if (ret) {
		free(hw);
		return ret;
	}
	hw->log = config->log;
	hw->check = config->check;
	hw->sanitizer = config->sanitizer;
	rwlock_init(&hw->dma_lock);
	mutex_init(&hw->iotlb_lock);
	*out = hw;
	return 0;
}

static void free_function(struct function *f)
{
	if (!f)
		return;
	for (size_t i = 0; f->directory && i < 1u << (PASID_BITS - PASID_TABLE_LG2); i++)
		free(f->directory[i]);
	free(f->directory);
	free(f);
}

void vtd_hw_destroy(struct vtd_hw *hw)
{
	if (!hw)
		return;
	for (size_t rid = 0; rid < ARRAY_SIZE(hw->functions); rid++)
		free_function(hw->functions[rid]);
	iotlb_destroy(hw->iotlb);
	rwlock_fini(&hw->dma_lock);
	mutex_fini(&hw->iotlb_lock);
	free(hw);
}

/*
 * A unit of the first generation with scalable mode: 48-bit first and second stage,
 * nesting, 20-bit PASIDs, coherent walks, dirty bits in the second stage. Page requests, device
 * TLBs and interrupt remapping are not modelled and not claimed.
 */
uint64_t vtd_hw_cap(const struct vtd_hw *hw)
{
	return FIELD_PREP(VTD_CAP_ND, 6) | VTD_CAP_SAGAW_39 | VTD_CAP_SAGAW_48 |
	       FIELD_PREP(VTD_CAP_MGAW, 47) | FIELD_PREP(VTD_CAP_FRO, 0x22) | VTD_CAP_SSLPS_2M |
	       VTD_CAP_SSLPS_1G | VTD_CAP_PSI | FIELD_PREP(VTD_CAP_MAMV, 18) | VTD_CAP_DWD |
	       VTD_CAP_DRD | VTD_CAP_FS1GP | VTD_CAP_ESRTPS;
}

uint64_t vtd_hw_ecap(const struct vtd_hw *hw)
{
	return VTD_ECAP_C | VTD_ECAP_QI | VTD_ECAP_PT | VTD_ECAP_SC |
	       FIELD_PREP(VTD_ECAP_IRO, 0xf) | FIELD_PREP(VTD_ECAP_MHMV, 15) | VTD_ECAP_NEST |
	       VTD_ECAP_SRS | VTD_ECAP_EAFS | FIELD_PREP(VTD_ECAP_PSS, PASID_BITS - 1) |
	       VTD_ECAP_PASID | VTD_ECAP_SMTS | VTD_ECAP_SSADS | VTD_ECAP_SSTS | VTD_ECAP_FSTS |
	       VTD_ECAP_SMPWCS;
}

static struct pasid_slot *find_slot(struct vtd_hw *hw, nst_rid rid, uint32_t pasid)
	REQUIRES_SHARED(hw->dma_lock)
{
	struct function *f = hw->functions[rid];
	struct pasid_table *table;

	if (!f)
		return NULL;
	if (pasid == NST_NO_PASID)
		return &f->rid_slot;
	if (!f->directory || pasid >> PASID_BITS)
		return NULL;
	table = f->directory[pasid >> PASID_TABLE_LG2];
	return table ? &table->slots[pasid & ((1 << PASID_TABLE_LG2) - 1)] : NULL;
}

static int make_slot(struct vtd_hw *hw, nst_rid rid, uint32_t pasid, struct pasid_slot **out)
	REQUIRES(hw->dma_lock)
{
	struct function *f = hw->functions[rid];
	struct pasid_table **table;

	if (!f) {
		f = hw->functions[rid] = alloc_object(struct function);
		if (!f)
			return -ENOMEM;
	}
	if (pasid != NST_NO_PASID) {
		if (pasid >> PASID_BITS)
			return -EINVAL;
		if (!f->directory)
			f->directory = alloc_array(1u << (PASID_BITS - PASID_TABLE_LG2),
						   sizeof(*f->directory));
		if (!f->directory)
			return -ENOMEM;
		table = &f->directory[pasid >> PASID_TABLE_LG2];
		if (!*table)
			*table = alloc_object(struct pasid_table);
		if (!*table)
			return -ENOMEM;
	}
	*out = find_slot(hw, rid, pasid);
	return 0;
}

int vtd_hw_set_entry(struct vtd_hw *hw, nst_rid rid, uint32_t pasid,
		     const struct vtd_hw_entry *entry)
{
	struct pasid_slot *slot;
	int ret = 0;

	rwlock_write(&hw->dma_lock);
	if (!entry) {
		slot = find_slot(hw, rid, pasid);
		if (slot)
			slot->present = false;
	} else {
		ret = make_slot(hw, rid, pasid, &slot);
		if (!ret)
			*slot = (struct pasid_slot){ .present = true, .entry = *entry };
	}
	rwlock_write_end(&hw->dma_lock);
	return ret;
}

/* Is this the invalidation that nst_soft_drop_invalidation() asked to lose? */
static bool lose_this_one(struct vtd_hw *hw)
{
	uint_fast64_t after = atomic_load(&hw->drop_after);

	if (!after || atomic_load(&hw->dma_write_bytes) < after - 1)
		return false;
	if (!atomic_compare_exchange_strong(&hw->drop_after, &after, 0))
		return false;
	log_warn(hw->log, "soft: one invalidation is lost on purpose");
	return true;
}

bool vtd_hw_flush_pages(struct vtd_hw *hw, uint16_t did, uint64_t addr, uint64_t npages, bool leaf)
{
	uint64_t last;

	if (lose_this_one(hw))
		return false;
	if (npages == UINT64_MAX) {
		vtd_hw_flush_domain(hw, did);
		return true;
	}
	if (npages > (UINT64_MAX >> PAGE_SHIFT_4K) - (addr >> PAGE_SHIFT_4K))
		last = UINT64_MAX;
	else
		last = addr + (npages << PAGE_SHIFT_4K) - 1;
	rwlock_write(&hw->dma_lock);
	iotlb_flush_range(hw->iotlb, did, addr, last, leaf);
	rwlock_write_end(&hw->dma_lock);
	return true;
}

void vtd_hw_flush_domain(struct vtd_hw *hw, uint16_t did)
{
	rwlock_write(&hw->dma_lock);
	iotlb_flush_tag(hw->iotlb, did);
	rwlock_write_end(&hw->dma_lock);
}

void vtd_hw_map_begin(struct vtd_hw *hw) NO_LOCK_ANALYSIS
{
	rwlock_write(&hw->dma_lock);
}

void vtd_hw_map_end(struct vtd_hw *hw, bool flush) NO_LOCK_ANALYSIS
{
	if (flush)
		iotlb_flush_all(hw->iotlb);
	rwlock_write_end(&hw->dma_lock);
}

void vtd_hw_drop_invalidation(struct vtd_hw *hw, uint64_t after_dma_write_bytes)
{
	atomic_store(&hw->drop_after, MIN(after_dma_write_bytes, UINT64_MAX - 1) + 1);
}

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
	ctx->table_is_clean = *writable && ctx->dirty && !vtd_dirty_is_marked(ctx->dirty, gpa);
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
				.writable = e->flags & ENTRY_WRITE,
				.user = e->flags & ENTRY_USER,
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
		vtd_dirty_mark(ctx->dirty, ctx->table);
	}
}

static enum vtd_fault_reason fail(struct translation *t, const struct walk_context *ctx,
				  enum vtd_fault_reason reason)
{
	t->fault.unmapped = ctx->unmapped;
	t->fault.ioas_addr = ctx->ioas_addr;
	return reason;
}

/* First stage, then the page it names through the second. On failure only t->fault is written. */
static enum vtd_fault_reason walk(struct vtd_hw *hw, const struct vtd_hw_entry *entry,
				  struct vtd_fs_position pos, struct vtd_fs_request *req,
				  struct vtd_fs_leaf *leaf, struct translation *t)
{
	const struct vtd_dirty *dirty = !req->peek && records_dirty(entry) ? entry->dirty : NULL;
	struct walk_context ctx = { .s2 = entry->s2, .dirty = dirty };
	const struct mem_range *r;
	enum vtd_fault_reason reason;
	uint64_t gpa, left;

	reason = walk_first_stage(&ctx, pos, req, leaf);
	if (reason)
		return fail(t, &ctx, reason);
	gpa = leaf->address | (req->iova & (BIT64(leaf->page_lg2) - 1));
	r = find_s2(&ctx, gpa, &left);
	if (!r)
		return fail(t, &ctx, VTD_FAULT_SS_NOT_PRESENT);
	if (!(r->perm & (req->write ? RANGE_WRITE : RANGE_READ)))
		return req->write ? VTD_FAULT_WRITE : VTD_FAULT_READ;
	/* Without D the entry serves reads only, so that the first write walks and sets it. */
	t->flags = (r->perm & RANGE_READ ? ENTRY_READ : 0) |
		   (leaf->writable && leaf->dirty && (r->perm & RANGE_WRITE) ? ENTRY_WRITE : 0);
	t->host = (uint8_t *)(uintptr_t)(r->hva.v + (gpa - r->start));
	t->page_lg2 = leaf->page_lg2;
	if (dirty) {
		if (req->write)
			vtd_dirty_mark(dirty, gpa);
		/* As with D of the first stage, and so the entry must not reach beyond the page. */
		if (!vtd_dirty_is_marked(dirty, gpa))
			t->flags &= (uint8_t)~ENTRY_WRITE;
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
	struct translation now = { 0 };
	struct vtd_fs_leaf leaf;
	bool stale;

	req.peek = true;
	now_reason = walk(hw, entry, top_of(entry), &req, &leaf, &now);
	if (reason)
		stale = pos && !now_reason && !passed(&leaf, pos);
	else
		stale = now_reason || now.host != host;
	if (stale)
		sanitizer_report_stale(
			hw->sanitizer, &(struct dma_request_id){ rid, pasid, req.iova, req.write },
			&entry->domain, pos ? SANITIZER_PAGING_STRUCTURE : SANITIZER_IOTLB,
			(struct dma_outcome){ reason, host },
			(struct dma_outcome){ now_reason, now.host });
}

static bool lookup(struct vtd_hw *hw, uint16_t did, uint64_t iova, bool write,
		   struct translation *t) REQUIRES(hw->iotlb_lock)
{
	for (unsigned int cls = CLASS_4K; cls <= CLASS_1G; cls++) {
		const struct iotlb_entry *e = iotlb_find(hw->iotlb, did, cls, iova);
		uint64_t offset = iova & (BIT64(class_shifts[cls]) - 1);

		if (!e || !(e->flags & (write ? ENTRY_WRITE : ENTRY_READ)))
			continue;
		t->host = (uint8_t *)(uintptr_t)(e->target + offset);
		t->left = BIT64(class_shifts[cls]) - offset;
		return true;
	}
	return false;
}

static void fill(struct vtd_hw *hw, uint16_t did, uint64_t iova, const struct vtd_fs_leaf *leaf,
		 const struct translation *t) REQUIRES(hw->iotlb_lock)
{
	unsigned int cls = (t->page_lg2 - PAGE_SHIFT_4K) / VTD_FS_LEVEL_BITS;
	uint64_t offset = iova & (BIT64(t->page_lg2) - 1);

	iotlb_insert(hw->iotlb, did, cls, iova, (uintptr_t)t->host - offset, t->flags);
	for (unsigned int i = 0; i < leaf->num_passed; i++) {
		const struct vtd_fs_position *p = &leaf->passed[i];

		if (p->level <= 3)
			iotlb_insert(hw->iotlb, did, CLASS_TABLE_L1 + p->level - 1, iova, p->table,
				     (p->writable ? ENTRY_WRITE : 0) | (p->user ? ENTRY_USER : 0));
	}
}

static enum vtd_fault_reason translate_nested(struct vtd_hw *hw, nst_rid rid, uint32_t pasid,
					      const struct vtd_hw_entry *entry, uint64_t iova,
					      bool write, struct translation *t)
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
		if (hw->check)
			check_use(hw, rid, pasid, entry, NULL, &req, VTD_FAULT_NONE, t->host);
		return VTD_FAULT_NONE;
	}
	atomic_fetch_add_explicit(&hw->misses, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&hw->s1_walks, 1, memory_order_relaxed);
	reason = walk(hw, entry, pos, &req, &leaf, t);
	if (hw->check && pos.level != entry->fs_levels)
		check_use(hw, rid, pasid, entry, &pos, &req, reason, t->host);
	if (reason)
		return reason;
	mutex_lock(&hw->iotlb_lock);
	fill(hw, entry->did, iova, &leaf, t);
	mutex_unlock(&hw->iotlb_lock);
	return VTD_FAULT_NONE;
}

static enum vtd_fault_reason translate_by_s2(const struct vtd_hw_entry *entry, uint64_t iova,
					     bool write, struct translation *t)
{
	struct walk_context ctx = { .s2 = entry->s2 };
	const struct mem_range *r = find_s2(&ctx, iova, &t->left);

	if (!r)
		return fail(t, &ctx, VTD_FAULT_SS_NOT_PRESENT);
	if (!(r->perm & (write ? RANGE_WRITE : RANGE_READ)))
		return write ? VTD_FAULT_WRITE : VTD_FAULT_READ;
	if (write && records_dirty(entry))
		vtd_dirty_mark(entry->dirty, iova);
	t->host = (uint8_t *)(uintptr_t)(r->hva.v + (iova - r->start));
	return VTD_FAULT_NONE;
}

static enum vtd_fault_reason translate(struct vtd_hw *hw, nst_rid rid, uint32_t pasid,
				       uint64_t iova, bool write, struct translation *t)
	REQUIRES_SHARED(hw->dma_lock)
{
	const struct pasid_slot *slot = find_slot(hw, rid, pasid);
	const struct vtd_hw_entry *entry;
	enum vtd_fault_reason reason;

	if (!slot || !slot->present)
		return VTD_FAULT_PASID_NOT_PRESENT;
	entry = &slot->entry;
	/* An address of the interrupt range is never memory, whatever the tables say. */
	if (iova >> 20 == 0xfee)
		reason = VTD_FAULT_SM_INTERRUPT_RANGE;
	else if (entry->pgtt == VTD_HW_NESTED)
		reason = translate_nested(hw, rid, pasid, entry, iova, write, t);
	else
		reason = translate_by_s2(entry, iova, write, t);
	if (reason) {
		t->fault.attached = true;
		t->fault.domain = entry->domain;
	}
	return reason;
}

static int refuse(struct vtd_hw *hw, nst_rid rid, const struct endpoint_dma_request *req,
		  uint64_t iova, struct sanitizer_fault *fault, enum vtd_fault_reason reason)
{
	fault->reason = reason;
	sanitizer_report_fault(hw->sanitizer,
			       &(struct dma_request_id){ rid, req->pasid, iova, req->write },
			       fault);
	return -EFAULT;
}

int vtd_hw_dma(struct vtd_hw *hw, nst_rid rid, const struct endpoint_dma_request *req)
{
	uint8_t *buf = req->buf;
	uint64_t iova = req->iova.v;
	size_t left = req->size;

	if (range_overflows(iova, left))
		return refuse(hw, rid, req, iova, &(struct sanitizer_fault){ .attached = true },
			      VTD_FAULT_NOT_CANONICAL);
	while (left) {
		struct translation t = { 0 };
		enum vtd_fault_reason reason;
		size_t chunk = MIN(left, PAGE_SIZE_4K - (iova & (PAGE_SIZE_4K - 1)));

		rwlock_read(&hw->dma_lock);
		reason = translate(hw, rid, req->pasid, iova, req->write, &t);
		if (!reason) {
			chunk = MIN(chunk, t.left);
			if (req->write)
				memcpy(t.host, buf, chunk);
			else
				memcpy(buf, t.host, chunk);
		}
		rwlock_read_end(&hw->dma_lock);
		if (reason)
			return refuse(hw, rid, req, iova, &t.fault, reason);
		atomic_fetch_add_explicit(req->write ? &hw->dma_write_bytes : &hw->dma_read_bytes,
					  chunk, memory_order_relaxed);
		buf += chunk;
		iova += chunk;
		left -= chunk;
	}
	return 0;
}

void vtd_hw_get_stats(struct vtd_hw *hw, struct nst_soft_stats *stats)
{
	stats->dma_read_bytes = atomic_load(&hw->dma_read_bytes);
	stats->dma_write_bytes = atomic_load(&hw->dma_write_bytes);
	stats->iotlb_hits = atomic_load(&hw->hits);
	stats->iotlb_misses = atomic_load(&hw->misses);
	stats->s1_walks = atomic_load(&hw->s1_walks);
}
