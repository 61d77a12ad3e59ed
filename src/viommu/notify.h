/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who is told of the guest's invalidations (nst_viommu_notify()): what is the same for every
 * kind of unit.
 *
 *	command of the guest -> caches are emptied, notifiers marked -> callbacks -> completion
 *
 * A notifier remembers what the translations that were given out for it are tagged with in the
 * unit's IOTLB: nothing, one tag, or many; a tag is the unit's word. It is noted under the lock,
 * shared, with which the translation was made, and looked at under the exclusive lock that empties
 * the caches: so an invalidation either finds the tag, or comes before the translation. Notifiers
 * may be told too much, never too little.
 *
 * One with map() is a mirror: what an invalidation names of its addresses is pending until
 * it has been walked, some pieces per run. Later commands and completions wait for it.
 *
 * Invariants, whenever the unit's command lock is free: nothing is due; pending addresses are
 * announced work.
 */
#ifndef VIOMMU_NOTIFY_H
#define VIOMMU_NOTIFY_H

#include "base/bits.h"
#include "viommu/attach.h"
#include "viommu/viommu.h"

struct page_service_group;

/* Of no translation, or of those of several kinds. The unit's own have bit 63 set. */
#define NOTIFY_TAG_NONE 0ULL
#define NOTIFY_TAG_MANY 1ULL
#define NOTIFY_TAG_ONE BIT64(63)

struct notifier {
	struct nst_notifier base;
	struct notifier *next;
	_Atomic uint64_t tag; /* changed under the translation lock, shared: only ever up */
	/* the rest under the command lock */
	bool due; /* to be told, what of */
	struct nst_invalidation what;
	bool pending; /* a mirror has to be told of these addresses */
	uint64_t first, last;
	struct page_service_group *groups; /* page_service.h */
};

static inline struct notifier *to_notifier(struct nst_notifier *notifier)
{
	return container_of(notifier, struct notifier, base);
}

/* NULL: no memory. It is on no list yet; notify_free() forgets it and what it has asked for. */
struct notifier *notify_alloc(struct nst_viommu *viommu, const struct nst_notifier_config *config);
void notify_free(struct notifier *n);
/* Takes @n out. Both locks exclusive. */
void notify_unlink(struct notifier **list, struct notifier *n);
/* Has an emulated device with this requester id one? */
bool notify_has(const struct notifier *list, nst_rid rid);
bool notify_concerns(const struct notifier *n, nst_rid rid, uint32_t pasid);

/* A translation that is tagged so is given out to @n. */
void notify_note(struct notifier *n, uint64_t tag);
/* @n is to be told, of what it wants to hear of [first, last]. Both locks exclusive. */
void notify_mark(struct notifier *n, enum nst_change what, uint64_t first, uint64_t last);
/* Call back those who are marked; the command lock alone. Calls are @table's work. */
void notify_tell(struct notifier *list, struct attach_table *table);

/* An ATS Invalidate Request to emulated devices with @rid; false: one did not answer. */
NST_MUST_CHECK bool notify_device_tlb(struct notifier *list, struct attach_table *table,
				      nst_rid rid,
				      const struct nst_device_tlb_invalidation *invalidation);

/* --- mirrors: the command lock ------------------------------------------------------------- */

/* [first, last] goes to @gpa, or is not there. */
struct notify_piece {
	uint64_t first, last, gpa;
	bool there, read, write;
};

/* All that @n is for is to be told, in addition to what is. False: it is no mirror. */
bool notify_replay(struct notifier *n);
/*
 * The longest piece from @n->first on that the work of this run allows: @next gives one after the
 * other, each from @first on and no longer than to @last.
 */
typedef struct notify_piece notify_piece_fn(const void *opaque, uint64_t first, uint64_t last);
struct notify_piece notify_longest(const struct notifier *n, struct attach_table *table,
				   notify_piece_fn *next, const void *opaque);
/* Tell it. */
void notify_mirror_tell(struct notifier *n, struct attach_table *table,
			const struct notify_piece *piece);
/* Mirrors hold nothing any more. */
void notify_unmap_all(struct notifier *list);

#endif
