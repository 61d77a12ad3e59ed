/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Effective attachment, reconciled.
 *
 * A unit computes, from the guest's present state, what each (device, PASID) should
 * be attached to; attach_reconcile() compares that with what it is attached to and
 * applies the difference. Nothing else in the guest half attaches anything.
 *
 *	             desired BLOCKED      BYPASS              STAGE1, SHADOW
 *	actual
 *	BLOCKED      -                    attach parent       attach the domain's HWPT
 *	BYPASS       detach               -                   replace by the domain's HWPT
 *	STAGE1,      detach, put domain   replace by parent,  same key: -; else replace,
 *	SHADOW                            put domain          put old domain
 *
 * Invariants, whenever the table is unlocked:
 *  - a point's actual kind is what the host was last told with success;
 *  - a failed attach leaves the point BLOCKED, never on what it had before (unless the
 *    host refuses to detach it, too);
 *  - points with equal keys share one domain, unless the host refused to share;
 *  - a domain exists exactly while a point uses it or waits for it.
 *
 * A STAGE1 domain is one nested HWPT, and collects the invalidations meant for it until
 * attach_flush(): one host call per domain, however many descriptors and devices. A SHADOW
 * domain is an HWPT of its own (shadow.c), which invalidations bring up to date in the same
 * way; points wait until it is complete, and stay on what they had.
 *
 * Points and domains may be as many as a guest has PASIDs, so a domain is small: the
 * entries collected for it are in one of a few batches of the table, and if all are
 * taken it is invalidated whole. What is done is counted as work: a unit stops at
 * work_end, with the rest to be done later, and so bounds what one command costs.
 *
 * No lock of its own: the unit's command lock covers the table and all in it.
 */
#ifndef VIOMMU_ATTACH_H
#define VIOMMU_ATTACH_H

#include "passthrough/device.h"

#include <nestor/viommu.h>

#include <stdatomic.h>

enum attachment_kind {
	ATTACHMENT_BLOCKED,
	ATTACHMENT_BYPASS,
	ATTACHMENT_STAGE1,
	ATTACHMENT_SHADOW
};

/* What a nested HWPT is made from. */
enum attach_format {
	ATTACH_VTD_S1,	   /* a first-stage table, on the nesting parent */
	ATTACH_ARM_SMMUV3, /* words of a stream table entry, on a vIOMMU */
};

/* What a (device, PASID) should be attached to. The rest is meaningful for domains only. */
struct attachment {
	enum attachment_kind kind;
	enum attach_format format;   /* STAGE1 */
	uint32_t domain_id;	     /* the tag the guest invalidates by */
	bool page_requests;	     /* go to the fault queue; else the host refuses them */
	struct iommu_hwpt_vtd_s1 s1; /* ATTACH_VTD_S1: root, width, flags */
	struct {
		uint64_t root;
		unsigned int levels;
	} shadow;			  /* SHADOW */
	struct iommu_hwpt_arm_smmuv3 ste; /* ATTACH_ARM_SMMUV3, with */
	uint32_t viommu_id;		  /* ... the device's */
};

enum { ATTACH_BATCH_MAX = 512, ATTACH_BATCHES = 16 };
enum { ATTACH_DOMAIN_BUCKETS_LG2 = 10, ATTACH_DOMAIN_BUCKETS = 1 << ATTACH_DOMAIN_BUCKETS_LG2 };

/* What a call of the host counts as, with an entry of a table looked at as 1. */
enum { ATTACH_WORK_CALL = 16 };

struct attach_batch {
	bool taken;
	uint32_t count;
	struct iommu_hwpt_vtd_s1_invalidate entries[ATTACH_BATCH_MAX];
};

struct attach_shadow;
struct shadow_block;

struct attach_domain {
	struct attach_domain *next, **link; /* of its domain id's bucket */
	struct attach_domain *next_by_key, **link_by_key;
	struct attach_domain *next_of_all, **link_of_all;
	struct attach_domain *next_pending, **link_pending; /* if pending */
	struct vm_parent *parent;
	struct attachment key;
	struct attach_point *points;
	unsigned int waiting; /* SHADOW: points that will be attached to it */
	uint32_t hwpt_id;
	struct attach_shadow *shadow; /* SHADOW, else NULL */
	bool broken;		      /* an invalidation failed: not to be shared */
	bool pending;		      /* on the table's list */
	struct attach_batch *batch;   /* pending: what; NULL = everything */
};

/* One (device, PASID). Embedded in the unit's own per-device object. */
struct attach_point {
	struct nst_device *dev;
	uint32_t pasid;	      /* on the host; NST_NO_PASID for plain requests */
	uint32_t guest_pasid; /* what the guest invalidates it by */
	enum attachment_kind actual;
	struct attach_domain *domain; /* STAGE1 and SHADOW */
	struct attach_domain *waits_for;
	/* Which of the table's changes made it so: what the host asked about an earlier one
	 * it has answered itself. */
	uint64_t change;
	struct attach_point *next_in_domain, **link_in_domain;
};

/* What a unit with SHADOW attachments brings. */
struct attach_shadow_ops {
	/*
	 * What the table of @key says of @iova and the addresses around it: fills @block from
	 * start on. No more than a table of 512 entries at a time.
	 */
	void (*walk)(void *opaque, const struct attachment *key, uint64_t iova,
		     struct shadow_block *block);
	/* attach_flush() has something to do. Any thread, with the VM's lock held. */
	void (*work_to_do)(void *opaque);
	void *opaque;
};

struct attach_table {
	struct nst_vm *vm;
	const struct nst_log *log;
	struct attach_domain *buckets[ATTACH_DOMAIN_BUCKETS]; /* by domain_id */
	struct attach_domain *by_key[ATTACH_DOMAIN_BUCKETS];
	struct attach_domain *all;
	uint64_t key_secret; /* no guest can have all its tables in one bucket of by_key */
	struct attach_domain *pending;
	struct attach_batch batches[ATTACH_BATCHES];
	uint64_t work, work_end;
	uint64_t changes;
	uint32_t fault_id; /* there before any attachment with page_requests */
	struct attach_shadow_ops shadow_ops;
	atomic_bool memory_changed; /* what is beneath the guest's tables */
	bool lost; /* a flush left a point on less than it should be on: reconcile, tell */
	uint64_t nested_hwpts, attaches, failed_attaches, invalidate_calls, invalidate_entries;
	uint64_t shadow_domains, shadow_calls;
};

void attach_table_init(struct attach_table *table, struct nst_vm *vm, const struct nst_log *log);
/* Every point must be gone. */
void attach_table_fini(struct attach_table *table);

/* A device as nst_device_open() leaves it: on its parent. */
void attach_point_init(struct attach_point *point, struct nst_device *dev, uint32_t pasid,
		       uint32_t guest_pasid);
/* Plain requests go back to the parent, PASIDs to nothing; on an error of the host both
 * stay BLOCKED. @point may be freed then. */
NST_MUST_CHECK int attach_point_fini(struct attach_table *table, struct attach_point *point);

/* Not yet: the work of the run is spent before a SHADOW was complete. Ask again. */
enum { ATTACH_LATER = 1 };

/*
 * Make @point's attachment @desired. Returns 0 or ATTACH_LATER. Errors: the host's, -ENOMEM,
 * or -ENOSPC of a SHADOW; the point is then BLOCKED, if the host lets it, and the next call
 * tries again.
 */
NST_MUST_CHECK int attach_reconcile(struct attach_table *table, struct attach_point *point,
				    const struct attachment *desired);

enum { ATTACH_ANY_PASID = NST_NO_PASID };

/*
 * Collect an invalidation for every STAGE1 domain with @domain_id that a point with
 * @guest_pasid uses, or may use: @npages 4 KiB pages at @addr, everything if @npages is UINT64_MAX.
 */
void attach_invalidate(struct attach_table *table, uint32_t domain_id, uint32_t guest_pasid,
		       uint64_t addr, uint64_t npages, bool leaf);
/* The same of the tables that SHADOW domains with @domain_id show. */
void attach_invalidate_shadow(struct attach_table *table, uint32_t domain_id, uint64_t addr,
			      uint64_t npages);
/* The same for all domains, whole. */
void attach_invalidate_all(struct attach_table *table);

/*
 * Have the host carry out all that was collected. Returns true when it is done, false if
 * work_end was reached before. See attach_table.lost for who could only be blocked.
 */
NST_MUST_CHECK bool attach_flush(struct attach_table *table);

/* Would attach_flush() find nothing to do? */
static inline bool attach_is_flushed(const struct attach_table *table)
{
	return !table->pending &&
	       !atomic_load_explicit(&table->memory_changed, memory_order_acquire);
}

/* shadow.c: a SHADOW domain's, in place of a domain that may be NULL. Errors: as above. */
NST_MUST_CHECK int attach_shadow_create(struct attach_table *table, struct nst_device *dev,
					const struct attach_domain *instead_of,
					struct attach_shadow **out, uint32_t *hwpt_id);
/* Nothing may be attached to it. */
void attach_shadow_destroy(struct attach_shadow *shadow);
void attach_shadow_announce(struct attach_shadow *shadow, uint64_t addr, uint64_t npages);
/* Do what was announced: 0, ATTACH_LATER, or an error, and then @domain is broken. */
NST_MUST_CHECK int attach_shadow_settle(struct attach_table *table, struct attach_domain *domain);

static inline bool attach_work_is_spent(const struct attach_table *table)
{
	return table->work >= table->work_end;
}

#endif
