// SPDX-License-Identifier: BSD-3-Clause
/*
 * What viommu/notify.c needs to know of VT-d: how translations are tagged, whom a descriptor
 * concerns, and what mirrors find in the guest's tables.
 */
#include "vtd/notify.h"

#include "pagetable/vtd_fs.h"
#include "pagetable/vtd_ss.h"
#include "spec/vtd_caps.h"
#include "vtd/unit.h"

#include <errno.h>

#define TAG_KIND GENMASK64(38, 36)
#define TAG_DID GENMASK64(35, 20)
#define TAG_PASID GENMASK64(19, 0)

static uint64_t make_tag(const struct vtd_xlate_entry *e)
{
	return NOTIFY_TAG_ONE | FIELD_PREP(TAG_KIND, e->kind) | FIELD_PREP(TAG_DID, e->did) |
	       FIELD_PREP(TAG_PASID, e->tag_pasid);
}

void vtd_notify_note(const struct vtd_xlate *tr, const struct vtd_xlate_entry *entry)
{
	for (struct notifier *n = tr->notifiers; n; n = n->next)
		if (notify_concerns(n, entry->rid, entry->pasid))
			notify_note(n, make_tag(entry));
}

/* --- who is told -------------------------------------------------------------------------- */

/* VT-d 4.1 s6.5.2.1, s6.5.2.2. A mirror has to look whatever it was before; others only if they got
 * something. */
static bool tables_change(const struct notifier *n, const struct vtd_desc *d)
{
	uint64_t tag = atomic_load(&n->tag);
	uint32_t pasid = n->base.config.pasid;

	if (d->type == VTD_DESC_CONTEXT)
		return d->scope != VTD_SCOPE_DEVICE ||
		       !((n->base.config.rid ^ d->sid) & ~d->sid_ignore);
	if (d->scope == VTD_SCOPE_PASID && pasid < NST_EVERY_PASID)
		return pasid == d->pasid;
	if (n->base.config.map || tag == NOTIFY_TAG_MANY || d->scope == VTD_SCOPE_GLOBAL)
		return true;
	return tag != NOTIFY_TAG_NONE && FIELD_GET(TAG_DID, tag) == d->did;
}

/* VT-d 4.1 s6.5.2.3, s6.5.2.4: was anything of what @n got tagged so? */
static bool pages_change(const struct notifier *n, const struct vtd_desc *d)
{
	uint64_t tag = atomic_load(&n->tag), kind = FIELD_GET(TAG_KIND, tag);

	if (tag == NOTIFY_TAG_NONE)
		return false;
	if (tag == NOTIFY_TAG_MANY || d->scope == VTD_SCOPE_GLOBAL)
		return true;
	if (FIELD_GET(TAG_DID, tag) != d->did || kind == VTD_XLATE_PASS_THROUGH)
		return false;
	return d->type == VTD_DESC_IOTLB ||
	       (kind != VTD_XLATE_SECOND_STAGE && FIELD_GET(TAG_PASID, tag) == d->pasid);
}

/* Addresses of an IOTLB descriptor are those of a second stage alone. */
static bool names_pages(const struct notifier *n, const struct vtd_desc *d)
{
	uint64_t tag = atomic_load(&n->tag);

	return d->scope == VTD_SCOPE_PAGES &&
	       (d->type == VTD_DESC_PASID_IOTLB ||
		(tag != NOTIFY_TAG_MANY && FIELD_GET(TAG_KIND, tag) == VTD_XLATE_SECOND_STAGE));
}

void vtd_notify_mark(struct vtd_xlate *tr, const struct vtd_desc *d)
{
	for (struct notifier *n = tr->notifiers; n; n = n->next) {
		if (!d) {
			notify_mark(n, NST_CHANGE_TABLES, 0, UINT64_MAX);
		} else if (d->type == VTD_DESC_CONTEXT || d->type == VTD_DESC_PASID_CACHE) {
			if (tables_change(n, d))
				notify_mark(n, NST_CHANGE_TABLES, 0, UINT64_MAX);
		} else if (pages_change(n, d)) {
			if (names_pages(n, d))
				notify_mark(n, NST_CHANGE_PAGES, d->addr,
					    d->addr + (d->npages << PAGE_SHIFT_4K) - 1);
			else
				notify_mark(n, NST_CHANGE_ADDRESS_SPACE, 0, UINT64_MAX);
		}
	}
}

bool vtd_notify_device_tlb(struct vtd_unit *u, const struct vtd_desc *d)
{
	const struct nst_device_tlb_invalidation invalidation = {
		.pasid = d->type == VTD_DESC_DEVICE_TLB ? NST_NO_PASID : d->pasid,
		.first = { d->addr },
		.last = { d->addr + (d->npages << PAGE_SHIFT_4K) - 1 },
		.global = d->global,
	};

	return notify_device_tlb(u->xlate.notifiers, &u->attach, d->sid, &invalidation);
}

/* --- mirrors ------------------------------------------------------------------------------ */

/* What can be written is walked as a write, so that D says so. */
static bool walk(const struct vtd_xlate *tr, const struct vtd_xlate_entry *e, uint64_t at,
		 struct vtd_xlate_page *page) REQUIRES_SHARED(tr->lock)
{
	bool privileged = e->rid_privileged && e->pasid == NST_NO_PASID;

	return !vtd_xlate_walk(tr, e, at, true, privileged, page) ||
	       !vtd_xlate_walk(tr, e, at, false, privileged, page);
}

/* The page at @p->first, or as much as is not there; @p->last is already the end of all. */
static void find_page(const struct vtd_xlate *tr, const struct vtd_xlate_entry *e,
		      struct notify_piece *p) REQUIRES_SHARED(tr->lock)
{
	bool privileged = e->rid_privileged && e->pasid == NST_NO_PASID;
	struct vtd_xlate_page page = { 0 };
	uint64_t offset;

	p->there = walk(tr, e, p->first, &page);
	offset = p->first & (BIT64(page.page_lg2) - 1);
	p->last = MIN(p->last, p->first - offset + (BIT64(page.page_lg2) - 1));
	if (!p->there)
		return;
	p->gpa = page.address + offset;
	p->read = vtd_xlate_allows(page.flags, false, privileged);
	p->write = vtd_xlate_allows(page.flags, true, privileged);
	p->there = (p->gpa & ~0xfffffULL) != VTD_INTERRUPT_FIRST; /* s3.15 */
}

/* What a mirror goes by: an entry, unless @reason is wrong with it. */
struct view {
	const struct vtd_xlate *tr;
	struct vtd_xlate_entry entry;
	enum vtd_fault_reason reason;
};

/* notify_piece_fn: @opaque is a struct view; called by find_run(), with its lock held. */
static struct notify_piece find_piece(const void *opaque, uint64_t first,
				      uint64_t last) NO_LOCK_ANALYSIS
{
	const struct view *view = opaque;
	const struct vtd_xlate_entry *e = &view->entry;
	struct notify_piece p = { .first = first, .last = last };
	uint64_t half = BIT64(vtd_fs_level_lg2(e->fs_levels + 1) - 1);

	if (vtd_xlate_is_interrupt(e->pasid, first)) {
		p.last = MIN(last, VTD_INTERRUPT_LAST);
		return p;
	}
	if (e->pasid == NST_NO_PASID && first < VTD_INTERRUPT_FIRST)
		p.last = MIN(last, VTD_INTERRUPT_FIRST - 1);
	if (view->reason)
		return p;
	if (e->kind == VTD_XLATE_PASS_THROUGH) {
		p.there = p.read = p.write = true;
		p.gpa = first;
	} else if (e->kind != VTD_XLATE_SECOND_STAGE && !vtd_fs_canonical(first, e->fs_levels)) {
		p.last = MIN(p.last, -half - 1); /* the upper half begins there */
	} else if (e->kind != VTD_XLATE_SECOND_STAGE ||
		   !(first >> vtd_ss_level_lg2(e->ss_levels + 1))) {
		find_page(view->tr, e, &p);
	}
	return p;
}

/* What the tables say of the device; with translation off it is passed through. */
static enum vtd_fault_reason find_entry(const struct vtd_xlate *tr, struct notifier *n,
					struct vtd_xlate_entry *e) REQUIRES_SHARED(tr->lock)
{
	const struct nst_notifier_config *config = &n->base.config;
	enum vtd_fault_reason reason;

	*e = (struct vtd_xlate_entry){ .kind = VTD_XLATE_PASS_THROUGH, .pasid = config->pasid };
	if (!tr->translating)
		return VTD_FAULT_NONE;
	reason = vtd_xlate_find(tr, config->rid, config->pasid, e);
	if (!reason)
		notify_note(n, make_tag(e));
	if (!reason && e->rid_privileged && e->pasid == NST_NO_PASID && !e->sre &&
	    e->kind != VTD_XLATE_SECOND_STAGE && e->kind != VTD_XLATE_PASS_THROUGH)
		reason = VTD_FAULT_PASID_SRE;
	return reason;
}

/* The longest piece from @n->first on that the work of this run allows. */
static struct notify_piece find_run(struct vtd_unit *u, struct notifier *n) REQUIRES(u->cmd_lock)
{
	struct vtd_xlate *tr = &u->xlate;
	struct view view = { .tr = tr };
	struct notify_piece run;

	rwlock_read(&tr->lock);
	view.reason = find_entry(tr, n, &view.entry);
	run = notify_longest(n, &u->attach, find_piece, &view);
	rwlock_read_end(&tr->lock);
	return run;
}

bool vtd_mirror(struct vtd_unit *u)
{
	for (struct notifier *n = u->xlate.notifiers; n; n = n->next)
		while (n->pending) {
			struct notify_piece run;

			if (attach_work_is_spent(&u->attach))
				return false;
			run = find_run(u, n);
			notify_mirror_tell(n, &u->attach, &run);
		}
	return true;
}

/* --- life --------------------------------------------------------------------------------- */

static void replay(struct vtd_unit *u, struct notifier *n) REQUIRES(u->cmd_lock)
{
	if (notify_replay(n))
		wakeup_announce(&u->wakeup);
}

int vtd_notify(struct nst_viommu *viommu, const struct nst_notifier_config *config,
	       struct nst_notifier **out)
{
	struct vtd_unit *u = to_vtd_unit(viommu);
	struct notifier *n = notify_alloc(viommu, config);
	bool passthrough;

	if (!n)
		return -ENOMEM;
	mutex_lock(&u->cmd_lock);
	if (config->map && !(u->cap & VTD_CAP_CM)) {
		mutex_unlock(&u->cmd_lock);
		notify_free(n);
		return -EOPNOTSUPP;
	}
	vtd_xlate_change(&u->xlate);
	passthrough = vtd_xlate_is_passthrough(&u->xlate, config->rid);
	if (!passthrough) {
		n->next = u->xlate.notifiers;
		u->xlate.notifiers = n;
		vtd_xlate_set_aside(&u->xlate, config->rid);
	}
	vtd_xlate_change_end(&u->xlate);
	if (!passthrough)
		replay(u, n);
	mutex_unlock(&u->cmd_lock);
	if (passthrough) {
		notify_free(n);
		return -EEXIST;
	}
	*out = &n->base;
	return 0;
}

void vtd_unnotify(struct nst_notifier *notifier)
{
	struct vtd_unit *u = to_vtd_unit(notifier->viommu);
	struct notifier *n = to_notifier(notifier);

	mutex_lock(&u->cmd_lock);
	vtd_xlate_change(&u->xlate);
	notify_unlink(&u->xlate.notifiers, n);
	vtd_xlate_set_aside(&u->xlate, n->base.config.rid);
	vtd_xlate_change_end(&u->xlate);
	mutex_unlock(&u->cmd_lock);
	notify_free(n);
}

void vtd_replay(struct nst_notifier *notifier)
{
	struct vtd_unit *u = to_vtd_unit(notifier->viommu);

	mutex_lock(&u->cmd_lock);
	replay(u, to_notifier(notifier));
	mutex_unlock(&u->cmd_lock);
}
