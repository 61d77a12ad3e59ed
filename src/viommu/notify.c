// SPDX-License-Identifier: BSD-3-Clause
/*
 * See notify.h: first who is told, then what mirrors are told.
 *
 * A mirror's addresses are walked from the bottom up. One step finds a page, or how much is
 * not there; neighbouring steps that say the same make one call. A table that leads to itself
 * makes as many pages as there are addresses: every step is work, and a run ends when it is
 * spent, with the place kept.
 */
#include "viommu/notify.h"

#include "base/alloc.h"
#include "base/log.h"
#include "viommu/page_service.h"

/* --- life --------------------------------------------------------------------------------- */

struct notifier *notify_alloc(struct nst_viommu *viommu, const struct nst_notifier_config *config)
{
	struct notifier *n = alloc_object(struct notifier);

	if (n)
		n->base = (struct nst_notifier){ .viommu = viommu, .config = *config };
	return n;
}

void notify_free(struct notifier *n)
{
	page_service_forget(n);
	free(n);
}

void notify_unlink(struct notifier **list, struct notifier *n)
{
	while (*list != n)
		list = &(*list)->next;
	*list = n->next;
}

bool notify_has(const struct notifier *list, nst_rid rid)
{
	for (const struct notifier *n = list; n; n = n->next)
		if (n->base.config.rid == rid)
			return true;
	return false;
}

bool notify_concerns(const struct notifier *n, nst_rid rid, uint32_t pasid)
{
	const struct nst_notifier_config *config = &n->base.config;

	return config->rid == rid && (config->pasid == NST_EVERY_PASID || config->pasid == pasid);
}

/* --- who is told -------------------------------------------------------------------------- */

void notify_note(struct notifier *n, uint64_t tag)
{
	uint64_t old = atomic_load(&n->tag);

	while (old != NOTIFY_TAG_MANY && old != tag &&
	       !atomic_compare_exchange_weak(&n->tag, &old,
					     old == NOTIFY_TAG_NONE ? tag : NOTIFY_TAG_MANY))
		;
}

void notify_mark(struct notifier *n, enum nst_change what, uint64_t first, uint64_t last)
{
	const struct nst_notifier_config *config = &n->base.config;

	first = MAX(first, config->first.v);
	last = MIN(last, config->last.v);
	if (first > last)
		return;
	n->due = true;
	n->what = (struct nst_invalidation){ what, { first }, { last } };
	if (what == NST_CHANGE_TABLES) /* nothing that was given out before counts */
		atomic_store(&n->tag, NOTIFY_TAG_NONE);
}

/* Before a command of the queue nothing is pending; a register may be written while something is.
 */
static void add_pending(struct notifier *n, uint64_t first, uint64_t last)
{
	n->first = n->pending ? MIN(n->first, first) : first;
	n->last = n->pending ? MAX(n->last, last) : last;
	n->pending = true;
}

void notify_tell(struct notifier *list, struct attach_table *table)
{
	for (struct notifier *n = list; n; n = n->next) {
		const struct nst_notifier_config *config = &n->base.config;

		if (!n->due)
			continue;
		n->due = false;
		if (config->map)
			add_pending(n, n->what.first.v, n->what.last.v);
		if (config->invalidate)
			config->invalidate(config->opaque, &n->what);
		table->work += ATTACH_WORK_CALL;
	}
}

bool notify_device_tlb(struct notifier *list, struct attach_table *table, nst_rid rid,
		       const struct nst_device_tlb_invalidation *invalidation)
{
	bool answered = true;

	for (struct notifier *n = list; n; n = n->next) {
		const struct nst_notifier_config *config = &n->base.config;

		if (!config->device_tlb || config->rid != rid)
			continue;
		if (!invalidation->global && !notify_concerns(n, rid, invalidation->pasid))
			continue;
		table->work += ATTACH_WORK_CALL;
		if (config->device_tlb(config->opaque, invalidation)) {
			log_warn(table->log,
				 "device %02x:%02x.%x does not answer an invalidation of its TLB",
				 rid >> 8, rid >> 3 & 31, rid & 7);
			answered = false;
		}
	}
	return answered;
}

/* --- mirrors ------------------------------------------------------------------------------ */

bool notify_replay(struct notifier *n)
{
	if (!n->base.config.map)
		return false;
	add_pending(n, n->base.config.first.v, n->base.config.last.v);
	return true;
}

static bool continues(const struct notify_piece *a, const struct notify_piece *b)
{
	if (a->there != b->there || b->first != a->last + 1)
		return false;
	return !a->there || (a->read == b->read && a->write == b->write &&
			     b->gpa == a->gpa + (b->first - a->first));
}

struct notify_piece notify_longest(const struct notifier *n, struct attach_table *table,
				   notify_piece_fn *next, const void *opaque)
{
	struct notify_piece run = next(opaque, n->first, n->last), piece;

	table->work++;
	while (run.last < n->last && !attach_work_is_spent(table)) {
		piece = next(opaque, run.last + 1, n->last);
		table->work++;
		if (!continues(&run, &piece))
			break;
		run.last = piece.last;
	}
	return run;
}

void notify_mirror_tell(struct notifier *n, struct attach_table *table,
			const struct notify_piece *piece)
{
	const struct nst_notifier_config *config = &n->base.config;
	const struct nst_mapping mapping = {
		.first = { piece->first },
		.last = { piece->last },
		.gpa = { piece->gpa },
		.read = piece->read,
		.write = piece->write,
	};

	table->work += ATTACH_WORK_CALL;
	n->pending = piece->last < n->last;
	n->first = piece->last + 1;
	if (!piece->there)
		config->unmap(config->opaque, mapping.first, mapping.last);
	else if (config->map(config->opaque, &mapping))
		n->pending = false;
}

void notify_unmap_all(struct notifier *list)
{
	for (struct notifier *n = list; n; n = n->next)
		if (n->base.config.unmap)
			n->base.config.unmap(n->base.config.opaque, n->base.config.first,
					     n->base.config.last);
}
