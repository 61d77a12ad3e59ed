/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Address ranges of one space -> memory of this process: the guest's memory as the vIOMMU
 * reads it (GPA), and the second stage of the software IOMMU (IOVA of an IOAS).
 *
 * A sorted array of ranges that never overlap. Lookups are a binary search; a map of a
 * whole guest is a few dozen ranges, so this is two or three cache lines. No lock of its
 * own: the owner says who may look while somebody changes it.
 */
#ifndef BASE_RANGE_MAP_H
#define BASE_RANGE_MAP_H

#include "base/bits.h"

#include <nestor/types.h>

enum mem_range_perm { RANGE_READ = 1, RANGE_WRITE = 2 };

struct mem_range {
	uint64_t start, last; /* both inclusive, in bytes */
	nst_hva hva;	      /* of start */
	unsigned int perm;    /* enum mem_range_perm */
	void *owner;	      /* whatever the owner of the map keeps per range */
};

struct range_map {
	struct mem_range *ranges;
	size_t count, capacity;
};

void range_map_init(struct range_map *map);
void range_map_fini(struct range_map *map);
/* A copy of @from, which may have room for more. -ENOMEM. */
NST_MUST_CHECK int range_map_copy(struct range_map *map, const struct range_map *from);

/* Index of the first range whose last >= @address: count if there is none. */
size_t range_map_lower_bound(const struct range_map *map, uint64_t address);

/* -EEXIST on overlap, -EINVAL if last < start, -ENOMEM. */
NST_MUST_CHECK int range_map_insert(struct range_map *map, const struct mem_range *range);
void range_map_remove_at(struct range_map *map, size_t index);
/* @count ranges from @index on. */
void range_map_remove_some(struct range_map *map, size_t index, size_t count);

/*
 * The range that holds @address, or NULL. *@left gets how many bytes from @address
 * to the end of that range are contiguous (never 0; UINT64_MAX if it is all of 2^64).
 */
static inline const struct mem_range *range_map_find(const struct range_map *map, uint64_t address,
						     uint64_t *left)
{
	size_t lo = 0, hi = map->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct mem_range *r = &map->ranges[mid];

		if (address < r->start) {
			hi = mid;
		} else if (address > r->last) {
			lo = mid + 1;
		} else {
			uint64_t rest = r->last - address;

			*left = rest == UINT64_MAX ? rest : rest + 1;
			return r;
		}
	}
	return NULL;
}

#endif
