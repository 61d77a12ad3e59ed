/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A look into an IOTLB beside a thread that changes it: no lock, nothing written. What is read
 * here is written by single accesses, each after those before it. The memory stays what it is as
 * long as the IOTLB lives, indices are always those of entries, and chains are followed a few steps
 * only: so a look ends, and gives nonsense at worst. Whether it does is the caller's to find out.
 *
 * The inside of struct iotlb is here because a look has to be inlined, and nobody else's business.
 */
#ifndef PAGETABLE_IOTLB_PEEK_H
#define PAGETABLE_IOTLB_PEEK_H

#include "pagetable/iotlb.h"

/* The lists that an entry is on. Links are indices + 1; 0 ends a list. */
enum iotlb_list { IOTLB_OF_TAG, IOTLB_OF_GROUP, IOTLB_LISTS };
struct iotlb_links {
	uint32_t next[IOTLB_LISTS], prev[IOTLB_LISTS];
};

struct iotlb {
	struct iotlb_entry *entries;
	uint32_t *buckets; /* by (tag, class, page) */
	uint32_t bucket_mask;
	uint32_t class_count[IOTLB_MAX_CLASSES];
	uint8_t shifts[IOTLB_MAX_CLASSES];
	/* the rest is not for looks */
	struct iotlb_links *links;
	uint32_t *heads[IOTLB_LISTS]; /* by tag, by group of tags */
	uint32_t head_mask;
	uint32_t capacity, count, hand;
	uint32_t used; /* entries from here on have never been used since all were free */
	unsigned int num_classes, is_leaf;
	uint32_t free_list; /* through hash_next */
};

static inline uint64_t iotlb_mix(uint64_t x)
{
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93;
	x ^= x >> 32;
	return x;
}

/* Pages that are neighbours have buckets that are, 16 in a cache line. */
static inline uint32_t iotlb_bucket(const struct iotlb *tlb, uint32_t tag, unsigned int cls,
				    uint64_t page)
{
	uint64_t mixed = iotlb_mix(page >> 4 ^ (uint64_t)tag << 40 ^ (uint64_t)cls << 59);

	return ((uint32_t)mixed << 4 ^ (uint32_t)(mixed >> 28) ^ (page & 15)) & tlb->bucket_mask;
}

/* iotlb_find(): gives the target and flags of an entry. */
static inline bool iotlb_peek(const struct iotlb *tlb, uint32_t tag, unsigned int cls,
			      uint64_t address, uint64_t *target, uint8_t *flags)
{
	const struct iotlb_entry wanted = { .tag = tag, .cls = (uint8_t)cls, .flags = 0xff };
	const struct iotlb_entry ignored = { .flags = 0xff };
	uint64_t page = address >> tlb->shifts[cls];
	unsigned int steps = 16;
	uint32_t id;

	if (!__atomic_load_n(&tlb->class_count[cls], __ATOMIC_ACQUIRE))
		return false;
	id = __atomic_load_n(&tlb->buckets[iotlb_bucket(tlb, tag, cls, page)], __ATOMIC_ACQUIRE);
	while (id && steps--) {
		const struct iotlb_entry *e = &tlb->entries[id - 1];
		struct iotlb_entry name = { .name = __atomic_load_n(&e->name, __ATOMIC_ACQUIRE) };

		if (__atomic_load_n(&e->page, __ATOMIC_ACQUIRE) == page &&
		    (name.name | ignored.name) == wanted.name) {
			*target = __atomic_load_n(&e->target, __ATOMIC_ACQUIRE);
			*flags = name.flags;
			return true;
		}
		id = __atomic_load_n(&e->hash_next, __ATOMIC_ACQUIRE);
	}
	return false;
}

#endif
