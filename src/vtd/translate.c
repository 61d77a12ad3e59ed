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

void vtd_xlate_configure(struct vtd_unit *u)
{
	struct vtd_xlate *tr = &u->xlate;

	rwlock_write(&tr->lock);
	tr->translating = u->translating;
	tr->rtaddr = u->rtaddr;
	tr->cap = u->cap;
	tr->ecap = u->ecap;
	tr->generation++;
	memset(tr->entries, 0, sizeof(tr->entries));
	iotlb_flush_all(tr->iotlb);
	vtd_notify_mark(tr, NULL);
	rwlock_write_end(&tr->lock);
	notify_tell(tr->notifiers, &u->attach);
}

void vtd_xlate_claim(struct vtd_unit *u, nst_rid rid, bool passthrough)
{
	struct vtd_xlate *tr = &u->xlate;

	rwlock_write(&tr->lock);
	tr->passthrough[rid / 64] &= ~BIT64(rid % 64);
	tr->passthrough[rid / 64] |= (uint64_t)passthrough << rid % 64;
	rwlock_write_end(&tr->lock);
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
	for (size_t i = 0; i < VTD_XLATE_ENTRIES; i++)
		if (named_by(&tr->entries[i], d))
			tr->entries[i].kind = VTD_XLATE_NOTHING;
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
	rwlock_write(&tr->lock);
	tr->generation++;
	for (size_t i = first; i < count; i++)
		if (empties_caches(&descs[i]))
			invalidate(tr, &descs[i]);
	rwlock_write_end(&tr->lock);
	notify_tell(tr->notifiers, &u->attach);
}

static struct vtd_xlate_entry *entry_slot(struct vtd_xlate *tr, nst_rid rid, uint32_t pasid)
{
	uint32_t hash = (rid ^ pasid * 0x9e3779b1u) * 0x85ebca6bu;

	return &tr->entries[hash >> 16 & (VTD_XLATE_ENTRIES - 1)];
}

static enum vtd_fault_reason find_entry(struct vtd_xlate *tr,
					const struct nst_translate_request *req,
					struct vtd_xlate_attempt *a) REQUIRES_SHARED(tr->lock)
{
	const struct vtd_xlate_entry *e = entry_slot(tr, req->rid, req->pasid);
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

static void remember(struct vtd_xlate *tr, uint64_t iova, const struct vtd_xlate_attempt *a)
{
	const struct vtd_xlate_entry *e = &a->entry;
	uint32_t pasid = page_pasid(e);

	rwlock_write(&tr->lock);
	if (tr->generation == a->generation) {
		*entry_slot(tr, e->rid, e->pasid) = *e;
		if (a->new_page)
			iotlb_insert(tr->iotlb, tag_of(e->did, pasid),
				     first_class(e) +
					     (a->page.page_lg2 - PAGE_SHIFT_4K) / VTD_FS_LEVEL_BITS,
				     key_of(iova, pasid), a->page.address, a->page.flags);
	}
	rwlock_write_end(&tr->lock);
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

int vtd_xlate(struct nst_viommu *viommu, const struct nst_translate_request *req,
	      struct nst_translation *out)
{
	struct vtd_unit *u = to_vtd_unit(viommu);
	struct vtd_xlate_attempt a = {
		.type = req->translated ? VTD_AT_TRANSLATED : VTD_AT_UNTRANSLATED,
	};
	bool interrupt = vtd_xlate_is_interrupt(req->pasid, req->iova.v);
	enum vtd_fault_reason reason;
	int ret;

	/* s5.1: before any translation, and nothing to read */
	if (interrupt && (!req->write || req->translated))
		return -EFAULT;
	if (interrupt) {
		*out = (struct nst_translation){
			.gpa = { req->iova.v },
			.size = VTD_INTERRUPT_LAST + 1 - req->iova.v,
			.write = true,
			.interrupt = true,
		};
		return 0;
	}
	ret = vtd_xlate_try(&u->xlate, req, &a, &reason);
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
