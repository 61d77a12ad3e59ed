/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Translation for devices that the VMM emulates (nst_viommu_translate()), and what a
 * unit caches for it: which tables a (requester, PASID) goes by, and translations.
 *
 *	request -> entry (context and PASID cache) -> IOTLB -> walk
 *
 * Caches hold nothing that is not present, and are emptied by descriptors as the
 * specification asks, VT-d 4.1 s6.5.2. TE, SRTP and reset empty them whole.
 *
 * A translation holds `lock` shared from lookup to the end of its walk, and changes hold
 * it exclusively: an invalidation that has returned is followed by no use of what it
 * removed, and by no accessed bit set in a table that is no longer one. What a walk found
 * is inserted under the exclusive lock, unless `generation` says that something was
 * invalidated in between.
 *
 * A hit takes no lock and writes nothing, so any number of threads can have them at once. It reads
 * `seq`, then the words below and the IOTLB by single accesses, then `seq` again: odd, or
 * another one, and what it read may not belong together; then it goes the way of a miss.
 * An invalidation that has returned has changed `seq` before: a hit that begins after it finds
 * nothing that it removed. Not there for all: requesters with a notifier, which has to be
 * noted with the lock held, and those of passed-through devices stand in `aside`.
 */
#ifndef VTD_XLATE_H
#define VTD_XLATE_H

#include "base/lock.h"
#include "pagetable/iotlb.h"
#include "spec/vtd_faults.h"

#include <nestor/viommu.h>

#include <stdatomic.h>

struct vtd_unit;
struct vtd_desc;

struct notifier;

enum { VTD_XLATE_ENTRIES = 256 };

/* What requests of (@rid, @pasid) go by. */
struct vtd_xlate_entry {
	enum {
		VTD_XLATE_NOTHING, /* an unused place of the cache */
		VTD_XLATE_PASS_THROUGH,
		VTD_XLATE_FIRST_STAGE,
		VTD_XLATE_SECOND_STAGE,
		VTD_XLATE_NESTED,
	} kind;
	nst_rid rid;
	uint32_t pasid;	    /* of the request: may be NST_NO_PASID */
	uint32_t tag_pasid; /* what the guest invalidates it by */
	uint16_t did;
	bool legacy;	     /* fault reasons are those of legacy mode */
	bool fault_disabled; /* valid whatever the kind */
	bool rid_privileged; /* ERS: requests without PASID are privileged */
	bool device_tlb;     /* ATS is allowed; valid whatever the kind */
	bool sre, wpe, eafe;
	unsigned int fs_levels, ss_levels;
	uint64_t fs_root, ss_root;
};

/* A page of a translation, to be cached. */
struct vtd_xlate_page {
	uint64_t address; /* of the page, as translated */
	unsigned int page_lg2;
	uint8_t flags;
};

/* As much of an entry as a hit needs, in two words; see translate.c. */
struct vtd_xlate_hot {
	_Atomic uint64_t who, what;
};

struct vtd_xlate {
	struct nst_mem *mem;
	atomic_ulong walks;
	struct rwlock lock; /* protects the rest; inside cmd_lock, nothing is taken inside it */
	atomic_uint seq;    /* odd while the lock is held exclusively */
	atomic_bool translating;
	uint64_t rtaddr, cap, ecap; /* copies of the unit's */
	uint64_t generation;	    /* of all changes */
	struct iotlb *iotlb;
	struct vtd_xlate_entry entries[VTD_XLATE_ENTRIES];
	struct vtd_xlate_hot hot[VTD_XLATE_ENTRIES];
	uint64_t occupied[VTD_XLATE_ENTRIES / 64]; /* bit per entry that is something */
	struct notifier *notifiers;		   /* changed with cmd_lock held too */
	/* bit per requester that is not emulated; and of those, and those with a notifier */
	uint64_t passthrough[(1 << 16) / 64];
	_Atomic uint64_t aside[(1 << 16) / 64];
};

/* The exclusive lock, for a change that hits must not see half of. */
static inline void vtd_xlate_change(struct vtd_xlate *tr)
	LOCK_ATTR(acquire_capability(tr->lock)) NO_LOCK_ANALYSIS
{
	rwlock_write(&tr->lock);
	atomic_store_explicit(&tr->seq, tr->seq + 1, memory_order_relaxed);
}

static inline void vtd_xlate_change_end(struct vtd_xlate *tr)
	LOCK_ATTR(release_capability(tr->lock)) NO_LOCK_ANALYSIS
{
	atomic_store_explicit(&tr->seq, tr->seq + 1, memory_order_release);
	rwlock_write_end(&tr->lock);
}

/* After a change of passthrough or notifiers that concerns @rid. */
void vtd_xlate_set_aside(struct vtd_xlate *tr, nst_rid rid) REQUIRES(tr->lock);

/* -ENOMEM. */
NST_MUST_CHECK int vtd_xlate_init(struct vtd_xlate *tr, struct nst_mem *mem);
void vtd_xlate_fini(struct vtd_xlate *tr);

/* Both with the unit's cmd_lock held: its state has changed; descriptors are carried out, one if
 * there are notifiers. */
void vtd_xlate_configure(struct vtd_unit *u);
void vtd_xlate_invalidate(struct vtd_unit *u, const struct vtd_desc *descs, size_t count);

/* @rid becomes that of a passed-through device, or is one no more; with cmd_lock held. */
void vtd_xlate_claim(struct vtd_unit *u, nst_rid rid, bool passthrough);

static inline bool vtd_xlate_is_passthrough(const struct vtd_xlate *tr, nst_rid rid)
	REQUIRES_SHARED(tr->lock)
{
	return tr->passthrough[rid / 64] >> rid % 64 & 1;
}

/* AT of a request, as PCIe encodes it. */
enum vtd_address_type {
	VTD_AT_UNTRANSLATED = 0,
	VTD_AT_TRANSLATION_REQUEST = 1,
	VTD_AT_TRANSLATED = 2,
};

/* What a request found out, and what of it is new to the caches. */
struct vtd_xlate_attempt {
	enum vtd_address_type type;
	struct vtd_xlate_entry entry;
	struct vtd_xlate_page page;
	bool privileged;
	bool new_entry, new_page;
	uint64_t generation;
};

/*
 * From caches to walk: *@a gets all but its type, which the caller sets. Refused are
 * requesters of passed-through devices: -EEXIST; then there is no @reason.
 */
NST_MUST_CHECK int vtd_xlate_try(struct vtd_xlate *tr, const struct nst_translate_request *req,
				 struct vtd_xlate_attempt *a, enum vtd_fault_reason *reason);
/* Record it for the guest, unless its tables say not to. */
void vtd_xlate_report(struct vtd_unit *u, const struct nst_translate_request *req,
		      const struct vtd_xlate_attempt *a, enum vtd_fault_reason reason);

/* s3.15: the interrupt range is before all translation, but for requests with PASID. */
#define VTD_INTERRUPT_FIRST 0xfee00000ULL
#define VTD_INTERRUPT_LAST 0xfeefffffULL

static inline bool vtd_xlate_is_interrupt(uint32_t pasid, uint64_t iova)
{
	return pasid == NST_NO_PASID && iova >= VTD_INTERRUPT_FIRST && iova <= VTD_INTERRUPT_LAST;
}

/* viommu_ops.translate */
int vtd_xlate(struct nst_viommu *viommu, const struct nst_translate_request *req,
	      struct nst_translation *out);

/*
 * translate_walk.c: what the guest's tables say. @entry->fault_disabled is always set. A walk
 * that fails says in @page->page_lg2 how large a part of the addresses around @iova has no
 * translation because of that, at least.
 */
enum vtd_fault_reason vtd_xlate_find(const struct vtd_xlate *tr, nst_rid rid, uint32_t pasid,
				     struct vtd_xlate_entry *entry) REQUIRES_SHARED(tr->lock);
enum vtd_fault_reason vtd_xlate_walk(const struct vtd_xlate *tr,
				     const struct vtd_xlate_entry *entry, uint64_t iova, bool write,
				     bool privileged, struct vtd_xlate_page *page)
	REQUIRES_SHARED(tr->lock);

/* Flags of cached pages. */
enum {
	VTD_XLATE_READ = 1 << 0,
	VTD_XLATE_WRITE = 1 << 1, /* by user requests; D is set if there is one */
	VTD_XLATE_USER = 1 << 2,  /* user requests are allowed at all */
	VTD_XLATE_SUPERVISOR_WRITE = 1 << 3,
};

static inline bool vtd_xlate_allows(uint8_t flags, bool write, bool privileged)
{
	uint8_t needed = write ? VTD_XLATE_WRITE : VTD_XLATE_READ;

	if (write && privileged)
		needed = VTD_XLATE_SUPERVISOR_WRITE;
	if (!privileged)
		needed |= VTD_XLATE_USER;
	return (flags & needed) == needed;
}

#endif
