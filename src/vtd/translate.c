// SPDX-License-Identifier: BSD-3-Clause
/*
 * See translate.h: one request from caches to fault record, and what empties the caches.
 *
 * The IOTLB tags a page with the domain id and, if a first stage took part, the PASID
 * (VT-d 4.1 s6.2.4 IOTLB). Its tags have 32 bits, so the upper four of a PASID stand in
 * those address bits that a canonical address does not need.
 */
#include "vtd/translate.h"

#include "base/bits.h"
#include "pagetable/iotlb_peek.h"
#include "pagetable/vtd_fs.h"
#include "spec/vtd_caps.h"
#include "vtd/unit.h"

#include <errno.h>
#include <string.h>

enum { IOTLB_CAPACITY = 65536, NUM_SIZES = 3 };
/* Pages of 4 KiB, 2 MiB and 1 GiB that a first stage took part in, and the same without. */
enum { CLASS_FIRST_STAGE = 0, CLASS_SECOND_STAGE = NUM_SIZES, NUM_CLASSES = 2 * NUM_SIZES };
static const uint8_t class_shifts[NUM_CLASSES] = { 12, 21, 30, 12, 21, 30 };
#define FIRST_STAGE_CLASSES 0x07u
#define SECOND_STAGE_CLASSES 0x38u

#define KEY_ADDRESS GENMASK64(56, 0)
#define KEY_PASID_HIGH GENMASK64(60, 57)

/* Pieces that untranslated addresses come in; the interrupt range begins on such a border. */
#define IDENTITY_LG2 21

static unsigned int first_class(const struct vtd_xlate_entry *e)
{
	return e->kind == VTD_XLATE_SECOND_STAGE ? CLASS_SECOND_STAGE : CLASS_FIRST_STAGE;
}

static uint32_t tag_of(uint16_t did, uint32_t pasid)
{
	return (uint32_t)did << 16 | (pasid & 0xffff);
}

static uint64_t key_of(uint64_t iova, uint32_t pasid)
{
	return (iova & KEY_ADDRESS) | FIELD_PREP(KEY_PASID_HIGH, pasid >> 16);
}

/* The PASID that an entry's pages are tagged with. */
static uint32_t page_pasid(const struct vtd_xlate_entry *e)
{
	return e->kind == VTD_XLATE_SECOND_STAGE ? 0 : e->tag_pasid;
}

int vtd_xlate_init(struct vtd_xlate *tr, struct nst_mem *mem)
{
	int ret = iotlb_create(IOTLB_CAPACITY, class_shifts, NUM_CLASSES,
			       FIRST_STAGE_CLASSES | SECOND_STAGE_CLASSES, &tr->iotlb);

	if (ret)
		return ret;
	tr->mem = mem;
	rwlock_init(&tr->lock);
	return 0;
}

void vtd_xlate_fini(struct vtd_xlate *tr)
{
	rwlock_fini(&tr->lock);
	iotlb_destroy(tr->iotlb);
}

static void forget_entry(struct vtd_xlate *tr, size_t i) REQUIRES(tr->lock)
{
	tr->entries[i].kind = VTD_XLATE_NOTHING;
	tr->occupied[i / 64] &= ~BIT64(i % 64);
	atomic_store_explicit(&tr->hot[i].what, 0, memory_order_release);
}

void vtd_xlate_configure(struct vtd_unit *u)
{
	struct vtd_xlate *tr = &u->xlate;

	vtd_xlate_change(tr);
	atomic_store_explicit(&tr->translating, u->translating, memory_order_release);
	tr->rtaddr = u->rtaddr;
	tr->cap = u->cap;
	tr->ecap = u->ecap;
	tr->generation++;
	for (size_t i = 0; i < VTD_XLATE_ENTRIES; i++)
		forget_entry(tr, i);
	iotlb_flush_all(tr->iotlb);
	vtd_notify_mark(tr, NULL);
	vtd_xlate_change_end(tr);
	notify_tell(tr->notifiers, &u->attach);
}

void vtd_xlate_set_aside(struct vtd_xlate *tr, nst_rid rid)
{
	bool aside = vtd_xlate_is_passthrough(tr, rid) || notify_has(tr->notifiers, rid);
	uint64_t others = tr->aside[rid / 64] & ~BIT64(rid % 64);

	atomic_store_explicit(&tr->aside[rid / 64], others | (uint64_t)aside << rid % 64,
			      memory_order_release);
}

void vtd_xlate_claim(struct vtd_unit *u, nst_rid rid, bool passthrough)
{
	struct vtd_xlate *tr = &u->xlate;

	vtd_xlate_change(tr);
	tr->passthrough[rid / 64] &= ~BIT64(rid % 64);
	tr->passthrough[rid / 64] |= (uint64_t)passthrough << rid % 64;
	vtd_xlate_set_aside(tr, rid);
	vtd_xlate_change_end(tr);
}

/* s6.5.2.1, s6.5.2.2: does the descriptor name the entry? A context entry of scalable mode
 * belongs to no domain, so it goes with any. */
static bool named_by(const struct vtd_xlate_entry *e, const struct vtd_desc *d)
{
	if (d->type == VTD_DESC_CONTEXT)
		return d->scope != VTD_SCOPE_DEVICE || !((e->rid ^ d->sid) & ~d->sid_ignore);
	if (d->scope == VTD_SCOPE_GLOBAL)
		return true;
	return e->did == d->did && (d->scope == VTD_SCOPE_DOMAIN || e->tag_pasid == d->pasid);
}

static void flush_entries(struct vtd_xlate *tr, const struct vtd_desc *d) REQUIRES(tr->lock)
{
	for (size_t word = 0; word < VTD_XLATE_ENTRIES / 64; word++)
		for (uint64_t bits = tr->occupied[word]; bits; bits &= bits - 1) {
			size_t i = word * 64 + (size_t)__builtin_ctzll(bits);

			if (named_by(&tr->entries[i], d))
				forget_entry(tr, i);
		}
}

/* Everything of a domain that is tagged with any PASID. */
static void flush_first_stage(struct vtd_xlate *tr, uint16_t did) REQUIRES(tr->lock)
{
	iotlb_flush(tr->iotlb, &(struct iotlb_filter){
				       .tag = tag_of(did, 0),
				       .tag_mask = IOTLB_GROUP_MASK,
				       .last = UINT64_MAX,
				       .classes = FIRST_STAGE_CLASSES,
			       });
}

static void flush_pages(struct vtd_xlate *tr, const struct vtd_desc *d, uint32_t pasid,
			unsigned int classes) REQUIRES(tr->lock)
{
	bool pages = d->scope == VTD_SCOPE_PAGES;
	uint64_t bytes = d->npages << PAGE_SHIFT_4K;

	iotlb_flush(tr->iotlb,
		    &(struct iotlb_filter){
			    .tag = tag_of(d->did, pasid),
			    .tag_mask = UINT32_MAX,
			    .first = key_of(pages ? d->addr : 0, pasid),
			    .last = key_of(pages ? d->addr + bytes - 1 : UINT64_MAX, pasid),
			    .classes = classes,
		    });
}

/* s6.5.2.3: addresses are the second stage's; first-stage pages of the domain all go. */
static void flush_iotlb(struct vtd_xlate *tr, const struct vtd_desc *d) REQUIRES(tr->lock)
{
	if (d->scope == VTD_SCOPE_GLOBAL) {
		iotlb_flush_all(tr->iotlb);
		return;
	}
	flush_pages(tr, d, 0, SECOND_STAGE_CLASSES);
	flush_first_stage(tr, d->did);
}

static bool empties_caches(const struct vtd_desc *d)
{
	return d->type == VTD_DESC_CONTEXT || d->type == VTD_DESC_PASID_CACHE ||
	       d->type == VTD_DESC_IOTLB || d->type == VTD_DESC_PASID_IOTLB;
}

static void invalidate(struct vtd_xlate *tr, const struct vtd_desc *d) REQUIRES(tr->lock)
{
	if (d->type == VTD_DESC_IOTLB)
		flush_iotlb(tr, d);
	else if (d->type == VTD_DESC_PASID_IOTLB)
		flush_pages(tr, d, d->pasid, FIRST_STAGE_CLASSES);
	else
		flush_entries(tr, d);
	vtd_notify_mark(tr, d);
}

void vtd_xlate_invalidate(struct vtd_unit *u, const struct vtd_desc *descs, size_t count)
{
	struct vtd_xlate *tr = &u->xlate;
	size_t first = 0;

	while (first < count && !empties_caches(&descs[first]))
		first++;
	if (first == count)
		return;
	vtd_xlate_change(tr);
	tr->generation++;
	for (size_t i = first; i < count; i++)
		if (empties_caches(&descs[i]))
			invalidate(tr, &descs[i]);
	vtd_xlate_change_end(tr);
	notify_tell(tr->notifiers, &u->attach);
}

static size_t entry_slot(nst_rid rid, uint32_t pasid)
{
	uint64_t hash = ((uint64_t)rid << 32 | pasid) * 0x9e3779b97f4a7c15;

	return hash >> 56 & (VTD_XLATE_ENTRIES - 1);
}

static enum vtd_fault_reason find_entry(struct vtd_xlate *tr,
					const struct nst_translate_request *req,
					struct vtd_xlate_attempt *a) REQUIRES_SHARED(tr->lock)
{
	const struct vtd_xlate_entry *e = &tr->entries[entry_slot(req->rid, req->pasid)];
	enum vtd_fault_reason reason;

	if (e->kind != VTD_XLATE_NOTHING && e->rid == req->rid && e->pasid == req->pasid) {
		a->entry = *e;
		return VTD_FAULT_NONE;
	}
	reason = vtd_xlate_find(tr, req->rid, req->pasid, &a->entry);
	a->new_entry = !reason;
	return reason;
}

static bool find_page(struct vtd_xlate *tr, const struct nst_translate_request *req,
		      struct vtd_xlate_attempt *a) REQUIRES_SHARED(tr->lock)
{
	uint32_t pasid = page_pasid(&a->entry), tag = tag_of(a->entry.did, pasid);

	for (unsigned int i = 0; i < NUM_SIZES; i++) {
		const struct iotlb_entry *e = iotlb_find(tr->iotlb, tag, first_class(&a->entry) + i,
							 key_of(req->iova.v, pasid));

		if (!e || !vtd_xlate_allows(e->flags, req->write, a->privileged))
			continue;
		a->page = (struct vtd_xlate_page){
			.address = e->target,
			.page_lg2 = class_shifts[i],
			.flags = e->flags,
		};
		return true;
	}
	return false;
}

static enum vtd_fault_reason translate_page(struct vtd_xlate *tr,
					    const struct nst_translate_request *req,
					    struct vtd_xlate_attempt *a) REQUIRES_SHARED(tr->lock)
{
	enum vtd_fault_reason reason;

	if (a->entry.kind != VTD_XLATE_SECOND_STAGE) {
		if (a->privileged && !a->entry.sre)
			return VTD_FAULT_PASID_SRE;
		if (!vtd_fs_canonical(req->iova.v, a->entry.fs_levels))
			return VTD_FAULT_NOT_CANONICAL;
	}
	if (!find_page(tr, req, a)) {
		atomic_fetch_add_explicit(&tr->walks, 1, memory_order_relaxed);
		reason = vtd_xlate_walk(tr, &a->entry, req->iova.v, req->write, a->privileged,
					&a->page);
		if (reason)
			return reason;
		a->new_page = true;
	}
	/* s3.15: no table may lead into the interrupt range */
	if (((a->page.address | (req->iova.v & (BIT64(a->page.page_lg2) - 1))) & ~0xfffffULL) ==
	    VTD_INTERRUPT_FIRST)
		return VTD_FAULT_SM_INTERRUPT_RANGE;
	return VTD_FAULT_NONE;
}

static struct vtd_xlate_page identity(uint64_t iova)
{
	return (struct vtd_xlate_page){
		.address = iova & ~(BIT64(IDENTITY_LG2) - 1),
		.page_lg2 = IDENTITY_LG2,
		.flags = VTD_XLATE_READ | VTD_XLATE_WRITE | VTD_XLATE_USER,
	};
}

/* Who may ask for translations may use them; only untranslated requests look at pages. */
static enum vtd_fault_reason check_device_tlb(const struct vtd_xlate *tr,
					      struct vtd_xlate_attempt *a,
					      enum vtd_fault_reason reason)
	REQUIRES_SHARED(tr->lock)
{
	if (a->type == VTD_AT_UNTRANSLATED || (reason && !a->entry.device_tlb))
		return reason;
	if (!a->entry.device_tlb || !(tr->ecap & VTD_ECAP_DT))
		return VTD_FAULT_CONTEXT_DEVICE_TLB;
	return a->type == VTD_AT_TRANSLATED ? VTD_FAULT_NONE : reason;
}

static enum vtd_fault_reason translate_shared(struct vtd_xlate *tr,
					      const struct nst_translate_request *req,
					      struct vtd_xlate_attempt *a) REQUIRES_SHARED(tr->lock)
{
	enum vtd_fault_reason reason;

	a->generation = tr->generation;
	a->page = identity(req->iova.v);
	if (!tr->translating) {
		a->entry.fault_disabled =
			true; /* there is no ATS then, and nothing to tell of it */
		return a->type == VTD_AT_UNTRANSLATED ? VTD_FAULT_NONE
						      : VTD_FAULT_CONTEXT_DEVICE_TLB;
	}
	reason = check_device_tlb(tr, a, find_entry(tr, req, a));
	a->privileged = req->pasid == NST_NO_PASID ? a->entry.rid_privileged : req->privileged;
	if (reason || a->type == VTD_AT_TRANSLATED)
		return reason;
	vtd_notify_note(tr, &a->entry);
	return a->entry.kind == VTD_XLATE_PASS_THROUGH ? VTD_FAULT_NONE
						       : translate_page(tr, req, a);
}

/* struct vtd_xlate_hot.what; its kind is never 0 */
#define HOT_KIND GENMASK64(63, 61)
#define HOT_FIVE_LEVELS BIT64(38)
#define HOT_SRE BIT64(37)
#define HOT_RID_PRIVILEGED BIT64(36)
#define HOT_DID GENMASK64(35, 20)
#define HOT_PASID GENMASK64(19, 0)

static uint64_t hot_who(nst_rid rid, uint32_t pasid)
{
	return (uint64_t)rid << 32 | pasid;
}

static void remember_entry(struct vtd_xlate *tr, const struct vtd_xlate_entry *e) REQUIRES(tr->lock)
{
	size_t i = entry_slot(e->rid, e->pasid);
	uint64_t what = FIELD_PREP(HOT_KIND, e->kind) | FIELD_PREP(HOT_DID, e->did) |
			FIELD_PREP(HOT_PASID, page_pasid(e)) | (e->sre ? HOT_SRE : 0) |
			(e->fs_levels == 5 ? HOT_FIVE_LEVELS : 0) |
			(e->rid_privileged ? HOT_RID_PRIVILEGED : 0);

	tr->entries[i] = *e;
	tr->occupied[i / 64] |= BIT64(i % 64);
	atomic_store_explicit(&tr->hot[i].who, hot_who(e->rid, e->pasid), memory_order_release);
	atomic_store_explicit(&tr->hot[i].what, what, memory_order_release);
}

static void remember(struct vtd_xlate *tr, uint64_t iova, const struct vtd_xlate_attempt *a)
{
	const struct vtd_xlate_entry *e = &a->entry;
	uint32_t pasid = page_pasid(e);

	vtd_xlate_change(tr);
	if (tr->generation == a->generation) {
		remember_entry(tr, e);
		if (a->new_page)
			iotlb_insert(tr->iotlb, tag_of(e->did, pasid),
				     first_class(e) +
					     (a->page.page_lg2 - PAGE_SHIFT_4K) / VTD_FS_LEVEL_BITS,
				     key_of(iova, pasid), a->page.address, a->page.flags);
	}
	vtd_xlate_change_end(tr);
}

int vtd_xlate_try(struct vtd_xlate *tr, const struct nst_translate_request *req,
		  struct vtd_xlate_attempt *a, enum vtd_fault_reason *reason)
{
	bool passthrough;

	*a = (struct vtd_xlate_attempt){ .type = a->type };
	rwlock_read(&tr->lock);
	passthrough = vtd_xlate_is_passthrough(tr, req->rid);
	if (!passthrough)
		*reason = translate_shared(tr, req, a);
	rwlock_read_end(&tr->lock);
	if (passthrough)
		return -EEXIST;
	if (!*reason && (a->new_entry || a->new_page))
		remember(tr, req->iova.v, a);
	return 0;
}

/* Legacy mode has reasons of its own for what tables say. */
static enum vtd_fault_reason legacy_reason(enum vtd_fault_reason reason, bool write)
{
	switch (reason) {
	case VTD_FAULT_ADDRESS:
		return VTD_FAULT_LEGACY_ADDRESS;
	case VTD_FAULT_CONTEXT_DEVICE_TLB:
		return VTD_FAULT_LEGACY_DEVICE_TLB;
	case VTD_FAULT_SS_ACCESS:
	case VTD_FAULT_SSPTPTR_ACCESS:
		return VTD_FAULT_LEGACY_TABLE_ACCESS;
	case VTD_FAULT_SS_RESERVED:
		return VTD_FAULT_LEGACY_TABLE_RESERVED;
	case VTD_FAULT_SS_NOT_PRESENT:
	case VTD_FAULT_READ:
	case VTD_FAULT_WRITE:
		return write ? VTD_FAULT_LEGACY_WRITE : VTD_FAULT_LEGACY_READ;
	case VTD_FAULT_SM_INTERRUPT_RANGE:
		return VTD_FAULT_LEGACY_INTERRUPT_RANGE;
	default:
		return reason;
	}
}

void vtd_xlate_report(struct vtd_unit *u, const struct nst_translate_request *req,
		      const struct vtd_xlate_attempt *a, enum vtd_fault_reason reason)
{
	const struct vtd_fault fault = {
		.rid = req->rid,
		.pasid = req->pasid,
		.addr = req->iova.v,
		.write = req->write,
		.privileged = a->privileged,
		.address_type = a->type,
		.reason = a->entry.legacy ? legacy_reason(reason, req->write) : reason,
	};

	if (a->entry.fault_disabled)
		return;
	vtd_fault_post(u, &fault);
}

/* Bytes from @req's address on that @page translates; an interrupt is never among them. */
static uint64_t size_left(const struct nst_translate_request *req,
			  const struct vtd_xlate_page *page)
{
	uint64_t size = BIT64(page->page_lg2) - (req->iova.v & (BIT64(page->page_lg2) - 1));

	if (req->pasid == NST_NO_PASID && req->iova.v < VTD_INTERRUPT_FIRST)
		size = MIN(size, VTD_INTERRUPT_FIRST - req->iova.v);
	return size;
}

/* The pages of an entry, as a hit sees them. */
static bool peek_page(const struct vtd_xlate *tr, const struct nst_translate_request *req,
		      uint64_t what, bool privileged, struct vtd_xlate_page *page)
{
	uint32_t pasid = (uint32_t)FIELD_GET(HOT_PASID, what);
	uint32_t tag = tag_of((uint16_t)FIELD_GET(HOT_DID, what), pasid);
	bool second = FIELD_GET(HOT_KIND, what) == VTD_XLATE_SECOND_STAGE;
	unsigned int cls = second ? CLASS_SECOND_STAGE : CLASS_FIRST_STAGE;

	if (!second && ((privileged && !(what & HOT_SRE)) ||
			!vtd_fs_canonical(req->iova.v, what & HOT_FIVE_LEVELS ? 5 : 4)))
		return false;
	for (unsigned int i = 0; i < NUM_SIZES; i++) {
		if (!iotlb_peek(tr->iotlb, tag, cls + i, key_of(req->iova.v, pasid), &page->address,
				&page->flags) ||
		    !vtd_xlate_allows(page->flags, req->write, privileged))
			continue;
		page->page_lg2 = class_shifts[i];
		return true;
	}
	return false;
}

/* Without any lock: see translate.h. False: it is not known so. */
static bool hit(struct vtd_xlate *tr, const struct nst_translate_request *req,
		struct nst_translation *out)
{
	const struct vtd_xlate_hot *hot = &tr->hot[entry_slot(req->rid, req->pasid)];
	unsigned int seq = atomic_load_explicit(&tr->seq, memory_order_acquire);
	uint64_t who = atomic_load_explicit(&hot->who, memory_order_acquire);
	uint64_t what = atomic_load_explicit(&hot->what, memory_order_acquire);
	uint64_t aside = atomic_load_explicit(&tr->aside[req->rid / 64], memory_order_acquire);
	bool privileged = req->pasid == NST_NO_PASID ? what & HOT_RID_PRIVILEGED : req->privileged;
	struct vtd_xlate_page page;
	uint64_t gpa;

	if (seq % 2 || who != hot_who(req->rid, req->pasid) || !what || req->translated ||
	    (aside >> req->rid % 64 & 1) ||
	    !atomic_load_explicit(&tr->translating, memory_order_acquire))
		return false;
	if (FIELD_GET(HOT_KIND, what) == VTD_XLATE_PASS_THROUGH)
		page = identity(req->iova.v);
	else if (!peek_page(tr, req, what, privileged, &page))
		return false;
	gpa = page.address | (req->iova.v & (BIT64(page.page_lg2) - 1));
	if ((gpa & ~0xfffffULL) == VTD_INTERRUPT_FIRST ||
	    atomic_load_explicit(&tr->seq, memory_order_relaxed) != seq)
		return false;
	*out = (struct nst_translation){
		.gpa = { gpa },
		.size = size_left(req, &page),
		.read = vtd_xlate_allows(page.flags, false, privileged),
		.write = req->write || vtd_xlate_allows(page.flags, true, privileged),
	};
	return true;
}

/* Apart, so that a hit does not pay for its frame. */
static __attribute__((noinline)) int translate(struct vtd_unit *u,
					       const struct nst_translate_request *req,
					       struct nst_translation *out)
{
	struct vtd_xlate_attempt a = {
		.type = req->translated ? VTD_AT_TRANSLATED : VTD_AT_UNTRANSLATED,
	};
	enum vtd_fault_reason reason;
	int ret = vtd_xlate_try(&u->xlate, req, &a, &reason);

	if (ret)
		return ret;
	if (reason) {
		vtd_xlate_report(u, req, &a, reason);
		return -EFAULT;
	}
	*out = (struct nst_translation){
		.gpa = { a.page.address | (req->iova.v & (BIT64(a.page.page_lg2) - 1)) },
		.size = size_left(req, &a.page),
		.read = vtd_xlate_allows(a.page.flags, false, a.privileged),
		.write = req->write || vtd_xlate_allows(a.page.flags, true, a.privileged),
	};
	return 0;
}

/* s5.1: before any translation, and nothing to read */
static int interrupt(const struct nst_translate_request *req, struct nst_translation *out)
{
	if (!req->write || req->translated)
		return -EFAULT;
	*out = (struct nst_translation){
		.gpa = { req->iova.v },
		.size = VTD_INTERRUPT_LAST + 1 - req->iova.v,
		.write = true,
		.interrupt = true,
	};
	return 0;
}

int vtd_xlate(struct nst_viommu *viommu, const struct nst_translate_request *req,
	      struct nst_translation *out)
{
	struct vtd_unit *u = to_vtd_unit(viommu);

	if (vtd_xlate_is_interrupt(req->pasid, req->iova.v))
		return interrupt(req, out);
	return hit(&u->xlate, req, out) ? 0 : translate(u, req, out);
}
