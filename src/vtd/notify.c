// SPDX-License-Identifier: BSD-3-Clause
/*
 * See notify.h: first who is told, then what mirrors are told.
 *
 * A mirror's addresses are walked from the bottom up. One step finds a page, or how much is
 * not there; neighbouring steps that say the same make one call. A table that leads to itself
 * makes as many pages as there are addresses: every step is work, and a run ends when it is
 * spent, with the place kept.
 */
#include "vtd/notify.h"

#include "base/alloc.h"
#include "base/log.h"
#include "pagetable/vtd_fs.h"
#include "pagetable/vtd_ss.h"
#include "vtd/unit.h"

#include <errno.h>

/* Tags: of no translation, of one entry's, or of those of several entries. */
#define TAG_NONE 0ULL
#define TAG_MANY 1ULL
#define TAG_ONE BIT64(63)
#define TAG_KIND GENMASK64(38, 36)
#define TAG_DID GENMASK64(35, 20)
#define TAG_PASID GENMASK64(19, 0)

static uint64_t make_tag(const struct vtd_xlate_entry *e)
{
	return TAG_ONE | FIELD_PREP(TAG_KIND, e->kind) | FIELD_PREP(TAG_DID, e->did) |
	       FIELD_PREP(TAG_PASID, e->tag_pasid);
}

static void note(struct vtd_notifier *n, const struct vtd_xlate_entry *e)
{
	uint64_t mine = make_tag(e), old = atomic_load(&n->tag);

	while (old != TAG_MANY && old != mine &&
	       !atomic_compare_exchange_weak(&n->tag, &old, old == TAG_NONE ? mine : TAG_MANY))
		;
}

void vtd_notify_note(const struct vtd_xlate *tr, const struct vtd_xlate_entry *entry)
{
	for (struct vtd_notifier *n = tr->notifiers; n; n = n->next) {
		uint32_t pasid = n->base.config.pasid;

		if (n->base.config.rid == entry->rid &&
		    (pasid == NST_EVERY_PASID || pasid == entry->pasid))
			note(n, entry);
	}
}

/* --- who is told -------------------------------------------------------------------------- */

/* VT-d 4.1 s6.5.2.1, s6.5.2.2. A mirror has to look whatever it was before; others only if they got
 * something. */
static bool tables_change(const struct vtd_notifier *n, const struct vtd_desc *d)
{
	uint64_t tag = atomic_load(&n->tag);
	uint32_t pasid = n->base.config.pasid;

	if (d->type == VTD_DESC_CONTEXT)
		return d->scope != VTD_SCOPE_DEVICE ||
		       !((n->base.config.rid ^ d->sid) & ~d->sid_ignore);
	if (d->scope == VTD_SCOPE_PASID && pasid < NST_EVERY_PASID)
		return pasid == d->pasid;
	if (n->base.config.map || tag == TAG_MANY || d->scope == VTD_SCOPE_GLOBAL)
		return true;
	return tag != TAG_NONE && FIELD_GET(TAG_DID, tag) == d->did;
}

/* VT-d 4.1 s6.5.2.3, s6.5.2.4: was anything of what @n got tagged so? */
static bool pages_change(const struct vtd_notifier *n, const struct vtd_desc *d)
{
	uint64_t tag = atomic_load(&n->tag), kind = FIELD_GET(TAG_KIND, tag);

	if (tag == TAG_NONE)
		return false;
	if (tag == TAG_MANY || d->scope == VTD_SCOPE_GLOBAL)
		return true;
	if (FIELD_GET(TAG_DID, tag) != d->did || kind == VTD_XLATE_PASS_THROUGH)
		return false;
	return d->type == VTD_DESC_IOTLB ||
	       (kind != VTD_XLATE_SECOND_STAGE && FIELD_GET(TAG_PASID, tag) == d->pasid);
}

/* Addresses of an IOTLB descriptor are those of a second stage alone. */
static bool names_pages(const struct vtd_notifier *n, const struct vtd_desc *d)
{
	uint64_t tag = atomic_load(&n->tag);

	return d->scope == VTD_SCOPE_PAGES &&
	       (d->type == VTD_DESC_PASID_IOTLB ||
		(tag != TAG_MANY && FIELD_GET(TAG_KIND, tag) == VTD_XLATE_SECOND_STAGE));
}

static void mark(struct vtd_notifier *n, enum nst_change what, uint64_t first, uint64_t last)
{
	const struct nst_notifier_config *config = &n->base.config;

	first = MAX(first, config->first.v);
	last = MIN(last, config->last.v);
	if (first > last)
		return;
	n->due = true;
	n->what = (struct nst_invalidation){ what, { first }, { last } };
	if (what == NST_CHANGE_TABLES) /* nothing that was given out before counts */
		atomic_store(&n->tag, TAG_NONE);
}

void vtd_notify_mark(struct vtd_xlate *tr, const struct vtd_desc *d)
{
	for (struct vtd_notifier *n = tr->notifiers; n; n = n->next) {
		if (!d) {
			mark(n, NST_CHANGE_TABLES, 0, UINT64_MAX);
		} else if (d->type == VTD_DESC_CONTEXT || d->type == VTD_DESC_PASID_CACHE) {
			if (tables_change(n, d))
				mark(n, NST_CHANGE_TABLES, 0, UINT64_MAX);
		} else if (pages_change(n, d)) {
			if (names_pages(n, d))
				mark(n, NST_CHANGE_PAGES, d->addr,
				     d->addr + (d->npages << PAGE_SHIFT_4K) - 1);
			else
				mark(n, NST_CHANGE_ADDRESS_SPACE, 0, UINT64_MAX);
		}
	}
}

/* Before a descriptor nothing is pending; a command may come while something is. */
static void add_pending(struct vtd_notifier *n, uint64_t first, uint64_t last)
{
	n->first = n->pending ? MIN(n->first, first) : first;
	n->last = n->pending ? MAX(n->last, last) : last;
	n->pending = true;
}

void vtd_notify_tell(struct vtd_unit *u)
{
	for (struct vtd_notifier *n = u->xlate.notifiers; n; n = n->next) {
		const struct nst_notifier_config *config = &n->base.config;

		if (!n->due)
			continue;
		n->due = false;
		if (config->map)
			add_pending(n, n->what.first.v, n->what.last.v);
		if (config->invalidate)
			config->invalidate(config->opaque, &n->what);
		u->attach.work += ATTACH_WORK_CALL;
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
	bool answered = true;

	for (struct vtd_notifier *n = u->xlate.notifiers; n; n = n->next) {
		const struct nst_notifier_config *config = &n->base.config;

		if (!config->device_tlb || config->rid != d->sid)
			continue;
		if (!d->global && config->pasid != NST_EVERY_PASID &&
		    config->pasid != invalidation.pasid)
			continue;
		u->attach.work += ATTACH_WORK_CALL;
		if (config->device_tlb(config->opaque, &invalidation)) {
			log_warn(u->log, "vtd: device %02x:%02x.%x does not answer an invalidation",
				 d->sid >> 8, d->sid >> 3 & 31, d->sid & 7);
			answered = false;
		}
	}
	return answered;
}

/* --- mirrors ------------------------------------------------------------------------------ */

/* [first, last] goes to @gpa, or is not there. */
struct piece {
	uint64_t first, last, gpa;
	bool there, read, write;
};

static bool continues(const struct piece *a, const struct piece *b)
{
	if (a->there != b->there || b->first != a->last + 1)
		return false;
	return !a->there || (a->read == b->read && a->write == b->write &&
			     b->gpa == a->gpa + (b->first - a->first));
}

/* What can be written is walked as a write, so that D says so. */
static bool walk(const struct vtd_xlate *tr, const struct vtd_xlate_entry *e, uint64_t at,
		 struct vtd_xlate_page *page) REQUIRES_SHARED(tr->lock)
{
	bool privileged = e->rid_privileged && e->pasid == NST_NO_PASID;

	return !vtd_xlate_walk(tr, e, at, true, privileged, page) ||
	       !vtd_xlate_walk(tr, e, at, false, privileged, page);
}

/* The page at @p->first, or as much as is not there; @p->last is already the end of all. */
static void find_page(const struct vtd_xlate *tr, const struct vtd_xlate_entry *e, struct piece *p)
	REQUIRES_SHARED(tr->lock)
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

/* The next piece of [first, last], by an entry that @reason is wrong with. */
static struct piece find_piece(const struct vtd_xlate *tr, const struct vtd_xlate_entry *e,
			       enum vtd_fault_reason reason, uint64_t first, uint64_t last)
	REQUIRES_SHARED(tr->lock)
{
	struct piece p = { .first = first, .last = last };
	uint64_t half = BIT64(vtd_fs_level_lg2(e->fs_levels + 1) - 1);

	if (vtd_xlate_is_interrupt(e->pasid, first)) {
		p.last = MIN(last, VTD_INTERRUPT_LAST);
		return p;
	}
	if (e->pasid == NST_NO_PASID && first < VTD_INTERRUPT_FIRST)
		p.last = MIN(last, VTD_INTERRUPT_FIRST - 1);
	if (reason)
		return p;
	if (e->kind == VTD_XLATE_PASS_THROUGH) {
		p.there = p.read = p.write = true;
		p.gpa = first;
	} else if (e->kind != VTD_XLATE_SECOND_STAGE && !vtd_fs_canonical(first, e->fs_levels)) {
		p.last = MIN(p.last, -half - 1); /* the upper half begins there */
	} else if (e->kind != VTD_XLATE_SECOND_STAGE ||
		   !(first >> vtd_ss_level_lg2(e->ss_levels + 1))) {
		find_page(tr, e, &p);
	}
	return p;
}

/* What the tables say of the device; with translation off it is passed through. */
static enum vtd_fault_reason find_entry(const struct vtd_xlate *tr, struct vtd_notifier *n,
					struct vtd_xlate_entry *e) REQUIRES_SHARED(tr->lock)
{
	const struct nst_notifier_config *config = &n->base.config;
	enum vtd_fault_reason reason;

	*e = (struct vtd_xlate_entry){ .kind = VTD_XLATE_PASS_THROUGH, .pasid = config->pasid };
	if (!tr->translating)
		return VTD_FAULT_NONE;
	reason = vtd_xlate_find(tr, config->rid, config->pasid, e);
	if (!reason)
		note(n, e);
	if (!reason && e->rid_privileged && e->pasid == NST_NO_PASID && !e->sre &&
	    e->kind != VTD_XLATE_SECOND_STAGE && e->kind != VTD_XLATE_PASS_THROUGH)
		reason = VTD_FAULT_PASID_SRE;
	return reason;
}

/* The longest piece from @n->first on that the work of this run allows. */
static struct piece find_run(struct vtd_unit *u, struct vtd_notifier *n) REQUIRES(u->cmd_lock)
{
	struct vtd_xlate *tr = &u->xlate;
	struct vtd_xlate_entry e;
	enum vtd_fault_reason reason;
	struct piece run, next;

	rwlock_read(&tr->lock);
	reason = find_entry(tr, n, &e);
	run = find_piece(tr, &e, reason, n->first, n->last);
	u->attach.work++;
	while (run.last < n->last && !attach_work_is_spent(&u->attach)) {
		next = find_piece(tr, &e, reason, run.last + 1, n->last);
		u->attach.work++;
		if (!continues(&run, &next))
			break;
		run.last = next.last;
	}
	rwlock_read_end(&tr->lock);
	return run;
}

static void mirror_run(struct vtd_unit *u, struct vtd_notifier *n) REQUIRES(u->cmd_lock)
{
	const struct nst_notifier_config *config = &n->base.config;
	struct piece run = find_run(u, n);
	const struct nst_mapping mapping = {
		.first = { run.first },
		.last = { run.last },
		.gpa = { run.gpa },
		.read = run.read,
		.write = run.write,
	};

	u->attach.work += ATTACH_WORK_CALL;
	n->pending = run.last < n->last;
	n->first = run.last + 1;
	if (!run.there)
		config->unmap(config->opaque, mapping.first, mapping.last);
	else if (config->map(config->opaque, &mapping))
		n->pending = false;
}

bool vtd_mirror(struct vtd_unit *u)
{
	for (struct vtd_notifier *n = u->xlate.notifiers; n; n = n->next)
		while (n->pending) {
			if (attach_work_is_spent(&u->attach))
				return false;
			mirror_run(u, n);
		}
	return true;
}

void vtd_mirror_unmap_all(struct vtd_unit *u)
{
	for (struct vtd_notifier *n = u->xlate.notifiers; n; n = n->next)
		if (n->base.config.unmap)
			n->base.config.unmap(n->base.config.opaque, n->base.config.first,
					     n->base.config.last);
}

/* --- life --------------------------------------------------------------------------------- */

bool vtd_notify_has(const struct vtd_unit *u, nst_rid rid)
{
	for (const struct vtd_notifier *n = u->xlate.notifiers; n; n = n->next)
		if (n->base.config.rid == rid)
			return true;
	return false;
}

static struct vtd_notifier *to_vtd_notifier(struct nst_notifier *notifier)
{
	return container_of(notifier, struct vtd_notifier, base);
}

static void replay(struct vtd_unit *u, struct vtd_notifier *n) REQUIRES(u->cmd_lock)
{
	if (!n->base.config.map)
		return;
	add_pending(n, n->base.config.first.v, n->base.config.last.v);
	wakeup_announce(&u->wakeup);
}

int vtd_notify(struct nst_viommu *viommu, const struct nst_notifier_config *config,
	       struct nst_notifier **out)
{
	struct vtd_unit *u = to_vtd_unit(viommu);
	struct vtd_notifier *n = alloc_object(struct vtd_notifier);
	bool passthrough;

	if (!n)
		return -ENOMEM;
	n->base = (struct nst_notifier){ .viommu = viommu, .config = *config };
	mutex_lock(&u->cmd_lock);
	rwlock_write(&u->xlate.lock);
	passthrough = vtd_xlate_is_passthrough(&u->xlate, config->rid);
	if (!passthrough) {
		n->next = u->xlate.notifiers;
		u->xlate.notifiers = n;
	}
	rwlock_write_end(&u->xlate.lock);
	if (!passthrough)
		replay(u, n);
	mutex_unlock(&u->cmd_lock);
	if (passthrough) {
		free(n);
		return -EEXIST;
	}
	*out = &n->base;
	return 0;
}

void vtd_unnotify(struct nst_notifier *notifier)
{
	struct vtd_unit *u = to_vtd_unit(notifier->viommu);
	struct vtd_notifier *n = to_vtd_notifier(notifier), **link = &u->xlate.notifiers;

	mutex_lock(&u->cmd_lock);
	rwlock_write(&u->xlate.lock);
	while (*link != n)
		link = &(*link)->next;
	*link = n->next;
	rwlock_write_end(&u->xlate.lock);
	mutex_unlock(&u->cmd_lock);
	while (n->groups) {
		struct vtd_service_group *group = n->groups;

		n->groups = group->next;
		free(group);
	}
	free(n);
}

void vtd_replay(struct nst_notifier *notifier)
{
	struct vtd_unit *u = to_vtd_unit(notifier->viommu);

	mutex_lock(&u->cmd_lock);
	replay(u, to_vtd_notifier(notifier));
	mutex_unlock(&u->cmd_lock);
}
