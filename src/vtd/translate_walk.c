// SPDX-License-Identifier: BSD-3-Clause
/*
 * See translate.h: what the guest's tables say, read from its memory each time. An entry
 * is decoded once into what a walk needs; a walk is the first stage, the second, or the
 * first with every one of its accesses through the second.
 */
#include "base/bits.h"
#include "base/mem.h"
#include "pagetable/vtd_fs.h"
#include "pagetable/vtd_ss.h"
#include "spec/vtd_caps.h"
#include "spec/vtd_tables.h"
#include "vtd/tables.h"
#include "vtd/translate.h"

/* VT-d 4.1 s9.3 Context Entry */
static enum vtd_fault_reason decode_legacy(const struct vtd_xlate *tr,
					   const struct vtd_lookup *lookup,
					   struct vtd_xlate_entry *e)
{
	uint64_t qw0 = lookup->context[0], qw1 = lookup->context[1];

	e->ss_levels = vtd_second_stage_levels(tr->cap, FIELD_GET(VTD_LEGACY_CONTEXT_AW, qw1));
	e->ss_root = qw0 & VTD_TABLE_PTR;
	e->did = FIELD_GET(VTD_LEGACY_CONTEXT_DID, qw1);
	e->tag_pasid = 0;
	if (!e->ss_levels)
		return VTD_FAULT_LEGACY_CONTEXT_INVALID;
	switch (FIELD_GET(VTD_LEGACY_CONTEXT_TT, qw0)) {
	case VTD_LEGACY_TT_UNTRANSLATED:
		e->kind = VTD_XLATE_SECOND_STAGE;
		return VTD_FAULT_NONE;
	case VTD_LEGACY_TT_DEVICE_TLB:
		e->kind = VTD_XLATE_SECOND_STAGE;
		return tr->ecap & VTD_ECAP_DT ? VTD_FAULT_NONE : VTD_FAULT_LEGACY_CONTEXT_INVALID;
	case VTD_LEGACY_TT_PASS_THROUGH:
		e->kind = VTD_XLATE_PASS_THROUGH;
		return VTD_FAULT_NONE;
	default:
		return VTD_FAULT_LEGACY_CONTEXT_INVALID;
	}
}

static le64 with_type(uint64_t qw0, uint64_t pgtt)
{
	return le64_make((qw0 & ~VTD_PASID_PGTT) | FIELD_PREP(VTD_PASID_PGTT, pgtt));
}

/*
 * An entry of one of the types that passed-through devices can have is decoded by what
 * decodes those; the rest of this function is the second stage. Where there is no first
 * stage, its fields do not count.
 */
static enum vtd_fault_reason decode_scalable(const struct vtd_xlate *tr,
					     const struct vtd_lookup *lookup,
					     struct vtd_xlate_entry *e)
{
	struct vtd_pasid_entry known = lookup->entry;
	uint64_t qw0 = le64_get(lookup->entry.qw[0]);
	uint64_t pgtt = FIELD_GET(VTD_PASID_PGTT, qw0);
	struct attachment attachment;
	enum vtd_fault_reason reason;

	if (pgtt == VTD_PGTT_SECOND_STAGE)
		known.qw[0] = with_type(qw0, VTD_PGTT_PASS_THROUGH);
	else if (pgtt == VTD_PGTT_NESTED)
		known.qw[0] = with_type(qw0, VTD_PGTT_FIRST_STAGE);
	reason = vtd_pasid_entry_decode(&known, tr->cap, tr->ecap, &attachment);
	if (reason)
		return reason;
	e->did = FIELD_GET(VTD_PASID_DID, le64_get(lookup->entry.qw[1]));
	e->fs_root = attachment.s1.pgtbl_addr;
	e->fs_levels = attachment.s1.addr_width == 57 ? 5 : 4;
	e->sre = attachment.s1.flags & IOMMU_VTD_S1_SRE;
	e->wpe = attachment.s1.flags & IOMMU_VTD_S1_WPE;
	e->eafe = attachment.s1.flags & IOMMU_VTD_S1_EAFE;
	e->ss_root = qw0 & VTD_TABLE_PTR;
	e->ss_levels = vtd_second_stage_levels(tr->cap, FIELD_GET(VTD_PASID_AW, qw0));
	switch (pgtt) {
	case VTD_PGTT_PASS_THROUGH:
		e->kind = VTD_XLATE_PASS_THROUGH;
		return VTD_FAULT_NONE;
	case VTD_PGTT_FIRST_STAGE:
		e->kind = VTD_XLATE_FIRST_STAGE;
		return tr->ecap & VTD_ECAP_FSTS ? VTD_FAULT_NONE : VTD_FAULT_PASID_TYPE;
	case VTD_PGTT_SECOND_STAGE:
		e->kind = VTD_XLATE_SECOND_STAGE;
		break;
	default:
		e->kind = VTD_XLATE_NESTED;
		break;
	}
	if (!(tr->ecap & (pgtt == VTD_PGTT_NESTED ? VTD_ECAP_NEST : VTD_ECAP_SSTS)) ||
	    !e->ss_levels)
		return VTD_FAULT_PASID_TYPE;
	if ((qw0 & VTD_PASID_SSADE) || (qw0 & vtd_reserved_address(tr->cap)))
		return VTD_FAULT_PASID_RESERVED;
	return VTD_FAULT_NONE;
}

enum vtd_fault_reason vtd_xlate_find(const struct vtd_xlate *tr, nst_rid rid, uint32_t pasid,
				     struct vtd_xlate_entry *entry)
{
	struct vtd_tables tables = {
		.mem = tr->mem,
		.rtaddr = tr->rtaddr,
		.cap = tr->cap,
		.ecap = tr->ecap,
	};
	struct vtd_lookup lookup;
	enum vtd_fault_reason reason = vtd_tables_find(&tables, rid, pasid, &lookup);

	*entry = (struct vtd_xlate_entry){
		.rid = rid,
		.pasid = pasid,
		.tag_pasid = pasid == NST_NO_PASID ? lookup.rid_pasid : pasid,
		.legacy = lookup.legacy,
		.fault_disabled = lookup.fault_disabled,
		.rid_privileged = lookup.rid_privileged,
		.device_tlb = lookup.legacy ? FIELD_GET(VTD_LEGACY_CONTEXT_TT, lookup.context[0]) ==
						      VTD_LEGACY_TT_DEVICE_TLB
					    : lookup.device_tlb,
	};
	if (reason)
		return reason;
	return lookup.legacy ? decode_legacy(tr, &lookup, entry)
			     : decode_scalable(tr, &lookup, entry);
}

/* One walk, for its table functions. */
struct walk {
	const struct vtd_xlate *tr;
	const struct vtd_xlate_entry *entry;
	struct mem_view memory;
	uint64_t second_stage_reserved;
	enum vtd_fault_reason reason; /* why a table could not be reached, if it is this stage's */
	bool read_only;		      /* the second stage keeps a first-stage table from A/D */
	unsigned int tables;	      /* of the first stage, reached so far */
};

static const uint64_t *second_stage_table(void *opaque, uint64_t address)
{
	struct walk *w = opaque;
	bool writable;

	return mem_view_page(&w->memory, (nst_gpa){ address }, &writable);
}

static bool beyond_second_stage(const struct vtd_xlate_entry *e, uint64_t address)
{
	return address >> vtd_ss_level_lg2(e->ss_levels + 1);
}

static enum vtd_fault_reason walk_second_stage(struct walk *w, uint64_t address, bool write,
					       struct vtd_ss_leaf *leaf)
{
	const struct vtd_ss_request req = {
		.address = address,
		.table = w->entry->ss_root,
		.reserved = w->second_stage_reserved,
		.levels = w->entry->ss_levels,
		.write = write,
	};

	return vtd_ss_walk(&req, second_stage_table, w, leaf);
}

static uint64_t *first_stage_table(void *opaque, uint64_t address, bool *writable)
{
	struct walk *w = opaque;

	return mem_view_page(&w->memory, (nst_gpa){ address }, writable);
}

static uint64_t *nested_table(void *opaque, uint64_t address, bool *writable)
{
	struct walk *w = opaque;
	bool top = !w->tables++;
	struct vtd_ss_leaf leaf;
	uint64_t *table;

	if (beyond_second_stage(w->entry, address)) {
		w->reason = VTD_FAULT_FS_NESTED_ADDRESS;
		return NULL;
	}
	w->reason = walk_second_stage(w, address, false, &leaf);
	if (w->reason == VTD_FAULT_READ)
		w->reason = top ? VTD_FAULT_FSPTPTR_NESTED_READ : VTD_FAULT_FS_NESTED_READ;
	if (w->reason)
		return NULL;
	address = leaf.address | (address & (BIT64(leaf.page_lg2) - 1));
	table = mem_view_page(&w->memory, (nst_gpa){ address }, writable);
	w->read_only = !leaf.writable;
	if (w->read_only)
		*writable = false;
	return table;
}

static enum vtd_fault_reason walk_first_stage(struct walk *w, const struct vtd_fs_request *req,
					      struct vtd_fs_leaf *leaf)
{
	const struct vtd_xlate_entry *e = w->entry;
	struct vtd_fs_position top = {
		.table = e->fs_root,
		.level = e->fs_levels,
		.writable = true,
		.user = true,
	};
	enum vtd_fault_reason reason;

	if (e->kind == VTD_XLATE_FIRST_STAGE)
		return vtd_fs_walk(req, top, first_stage_table, w, leaf);
	reason = vtd_fs_walk(req, top, nested_table, w, leaf);
	if (reason == VTD_FAULT_FS_BIT_UPDATE && w->read_only)
		return VTD_FAULT_FS_NESTED_WRITE;
	return reason && w->reason ? w->reason : reason;
}

/* The page that the first stage named, through the second; the smaller of both is what is left. */
static enum vtd_fault_reason finish_nested(struct walk *w, const struct vtd_fs_request *req,
					   struct vtd_xlate_page *page)
{
	uint64_t gpa = page->address | (req->iova & (BIT64(page->page_lg2) - 1));
	struct vtd_ss_leaf leaf;
	enum vtd_fault_reason reason;

	if (beyond_second_stage(w->entry, gpa))
		return VTD_FAULT_NESTED_ADDRESS;
	reason = walk_second_stage(w, gpa, req->write, &leaf);
	page->page_lg2 = MIN(page->page_lg2, leaf.page_lg2);
	if (reason)
		return reason;
	page->address = (leaf.address | (gpa & (BIT64(leaf.page_lg2) - 1))) &
			~(BIT64(page->page_lg2) - 1);
	if (!leaf.readable)
		page->flags &= (uint8_t)~VTD_XLATE_READ;
	if (!leaf.writable)
		page->flags &= (uint8_t) ~(VTD_XLATE_WRITE | VTD_XLATE_SUPERVISOR_WRITE);
	return VTD_FAULT_NONE;
}

static enum vtd_fault_reason walk_from_first_stage(struct walk *w, uint64_t iova, bool write,
						   bool privileged, struct vtd_xlate_page *page)
{
	const struct vtd_fs_request req = {
		.iova = iova,
		.reserved = vtd_reserved_address(w->tr->cap),
		.levels = w->entry->fs_levels,
		.write = write,
		.supervisor = privileged,
		.write_protect = w->entry->wpe,
		.extended_accessed = w->entry->eafe,
		.no_1g = !(w->tr->cap & VTD_CAP_FS1GP),
	};
	struct vtd_fs_leaf leaf;
	enum vtd_fault_reason reason = walk_first_stage(w, &req, &leaf);

	if (reason) {
		page->page_lg2 = vtd_fs_level_lg2(req.levels - leaf.num_passed);
		return reason;
	}
	/* Without D the page serves reads only, so that the first write walks and sets it. */
	*page = (struct vtd_xlate_page){
		.address = leaf.address,
		.page_lg2 = leaf.page_lg2,
		.flags = VTD_XLATE_READ | (privileged ? 0 : VTD_XLATE_USER),
	};
	if (leaf.writable && leaf.dirty)
		page->flags |= VTD_XLATE_SUPERVISOR_WRITE | (privileged ? 0 : VTD_XLATE_WRITE);
	return w->entry->kind == VTD_XLATE_NESTED ? finish_nested(w, &req, page) : VTD_FAULT_NONE;
}

static enum vtd_fault_reason walk_from_second_stage(struct walk *w, uint64_t iova, bool write,
						    struct vtd_xlate_page *page)
{
	struct vtd_ss_leaf leaf;
	enum vtd_fault_reason reason;

	page->page_lg2 = PAGE_SHIFT_4K;
	if (beyond_second_stage(w->entry, iova))
		return VTD_FAULT_ADDRESS;
	reason = walk_second_stage(w, iova, write, &leaf);
	page->page_lg2 = leaf.page_lg2;
	if (reason)
		return reason;
	*page = (struct vtd_xlate_page){
		.address = leaf.address,
		.page_lg2 = leaf.page_lg2,
		.flags = (leaf.readable ? VTD_XLATE_READ : 0) | VTD_XLATE_USER |
			 (leaf.writable ? VTD_XLATE_WRITE | VTD_XLATE_SUPERVISOR_WRITE : 0),
	};
	return VTD_FAULT_NONE;
}

enum vtd_fault_reason vtd_xlate_walk(const struct vtd_xlate *tr,
				     const struct vtd_xlate_entry *entry, uint64_t iova, bool write,
				     bool privileged, struct vtd_xlate_page *page)
{
	unsigned int token = mem_enter(tr->mem);
	struct walk w = { .tr = tr, .entry = entry, .memory.map = mem_map(tr->mem) };
	enum vtd_fault_reason reason;

	if (entry->kind != VTD_XLATE_FIRST_STAGE)
		w.second_stage_reserved = vtd_second_stage_reserved(tr->cap, tr->ecap);
	if (entry->kind == VTD_XLATE_SECOND_STAGE)
		reason = walk_from_second_stage(&w, iova, write, page);
	else
		reason = walk_from_first_stage(&w, iova, write, privileged, page);
	mem_exit(tr->mem, token);
	return reason;
}
