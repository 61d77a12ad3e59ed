/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who is told of the guest's invalidations (nst_viommu_notify()).
 *
 *	descriptor, command -> caches are emptied, notifiers marked -> callbacks -> completion
 *
 * A notifier remembers what the translations that were given out for it are tagged with in
 * the IOTLB: nothing, one tag, or many. It is noted under xlate.lock, shared, with which the
 * translation was made, and looked at under the exclusive lock that empties the caches: so an
 * invalidation either finds the tag, or comes before the translation. Notifiers may be told too
 * much, never too little.
 *
 * One with map() is a mirror: what an invalidation names of its addresses is pending until
 * it has been walked, some pieces per run, as scans of PASID tables are. Later descriptors and
 * completions wait for it.
 *
 * Invariants, whenever cmd_lock is free: nothing is due; pending addresses are announced work.
 */
#ifndef VTD_NOTIFY_H
#define VTD_NOTIFY_H

#include "base/lock.h"
#include "viommu/viommu.h"
#include "vtd/translate.h"

struct vtd_unit;

/* Page requests that the guest has not answered; see page_service.c. */
struct vtd_service_group {
	struct vtd_service_group *next;
	uint32_t pasid; /* or NST_NO_PASID */
	unsigned int index;
};

struct vtd_notifier {
	struct nst_notifier base;
	struct vtd_notifier *next; /* of xlate.notifiers */
	_Atomic uint64_t tag; /* see notify.c; changed under xlate.lock, shared: only ever up */
	/* the rest under cmd_lock */
	bool due; /* to be told, what of */
	struct nst_invalidation what;
	bool pending; /* a mirror has to be told of these addresses */
	uint64_t first, last;
	struct vtd_service_group *groups;
};

/* viommu_ops */
NST_MUST_CHECK int vtd_notify(struct nst_viommu *viommu, const struct nst_notifier_config *config,
			      struct nst_notifier **out);
void vtd_unnotify(struct nst_notifier *notifier);
void vtd_replay(struct nst_notifier *notifier);

/* A translation by @entry is given out. */
void vtd_notify_note(const struct vtd_xlate *tr, const struct vtd_xlate_entry *entry)
	REQUIRES_SHARED(tr->lock);
/* @d is carried out (NULL: everything may have changed): who is concerned? */
void vtd_notify_mark(struct vtd_xlate *tr, const struct vtd_desc *d) REQUIRES(tr->lock);

/* Call back those who are marked; with the unit's cmd_lock held. The rest is in unit.h. */
void vtd_notify_tell(struct vtd_unit *u);

#endif
