/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A translation cache: IOTLB and paging-structure cache in one.
 *
 * Entries are found by (tag, class, address >> class shift) in a hash table, so a
 * lookup and a page-selective invalidation cost the same however many entries
 * there are. Every entry also sits on the list of its tag and on that of its tag's group,
 * which is the upper half of the tag, so emptying either costs what it removes. The
 * capacity is fixed; when it is full, entries make room in turn: the oldest first, as long
 * as nothing was flushed. No lock of its own: the owner says who may look while somebody changes
 * it. Who looks all the same uses iotlb_peek.h, and finds out by other means whether it may believe
 * what it saw.
 *
 * A tag is what hardware tags entries with: a VT-d domain id (and PASID), an SMMU VMID/ASID
 * pair. A class is a size of leaf page or a level of tables.
 */
#ifndef PAGETABLE_IOTLB_H
#define PAGETABLE_IOTLB_H

#include "base/bits.h"

#include <nestor/types.h>

enum { IOTLB_MAX_CLASSES = 32 };

/* Half a cache line: what lookups read. */
struct iotlb_entry {
	uint64_t page; /* address >> shift of the class */
	uint64_t target;
	union {
		struct {
			uint32_t tag;
			uint8_t cls;
			uint8_t flags; /* the user's */
			uint16_t zero;
		};
		uint64_t name; /* all of it, in one access */
	};
	uint32_t hash_next; /* index + 1; 0 ends a chain */
	uint32_t unused;
};
_Static_assert(sizeof(struct iotlb_entry) == 32, "half a cache line");

struct iotlb;

/*
 * @shifts: of each of @num_classes classes, 1..63. @is_leaf: bit per class; the others are
 * tables, kept by iotlb_flush_range(leaf_only).
 */
NST_MUST_CHECK int iotlb_create(uint32_t capacity, const uint8_t *shifts, unsigned int num_classes,
				unsigned int is_leaf, struct iotlb **out);
void iotlb_destroy(struct iotlb *tlb);

/* The entry of @address, or NULL; stays valid until the next change. */
const struct iotlb_entry *iotlb_find(const struct iotlb *tlb, uint32_t tag, unsigned int cls,
				     uint64_t address);
/* Insert or replace. Never fails: it is a cache. */
void iotlb_insert(struct iotlb *tlb, uint32_t tag, unsigned int cls, uint64_t address,
		  uint64_t target, uint8_t flags);

/* Which entries to remove: all of this must hold for one. */
struct iotlb_filter {
	uint32_t tag, tag_mask;	   /* its tag, in the bits of @tag_mask */
	uint64_t first, last;	   /* it translates any byte of these */
	unsigned int classes;	   /* bit per class */
	uint8_t flags, flags_mask; /* if it is a leaf: its flags, in the bits of @flags_mask */
};

/* Bits of a tag that are its group. */
#define IOTLB_GROUP_MASK 0xffff0000u

/*
 * With all bits in @tag_mask, or those of IOTLB_GROUP_MASK, it costs what it removes, or what it
 * names; else a look at every entry.
 */
void iotlb_flush(struct iotlb *tlb, const struct iotlb_filter *filter);

/* Remove every entry of @tag that translates any byte of [first, last]. */
void iotlb_flush_range(struct iotlb *tlb, uint32_t tag, uint64_t first, uint64_t last,
		       bool leaf_only);
void iotlb_flush_tag(struct iotlb *tlb, uint32_t tag);
void iotlb_flush_all(struct iotlb *tlb);
uint32_t iotlb_count(const struct iotlb *tlb);

#endif
