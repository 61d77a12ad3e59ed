/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The dirty bits of one second stage: which of its smallest pages were written through it.
 *
 * Hardware keeps them in the leaf entries; the second stage of this unit is a range_map,
 * so they are bitmaps beside it, one per range. A request sets the bit before it writes,
 * both under dma_lock held shared. Whoever clears bits holds it exclusively and empties
 * the IOTLB before letting go, because a cached translation may be written through only
 * while the bit of its page is set. So a write that has finished is always seen, and
 * after a clear the next one walks again.
 *
 * Off, it costs a request one test of a pointer; with the bit set already, a look-up.
 */
#ifndef HOST_SOFT_DIRTY_MAP_H
#define HOST_SOFT_DIRTY_MAP_H

#include "base/range_map.h"

#include <stdatomic.h>
#include <stdbool.h>

typedef _Atomic uint64_t dirty_map_word;

enum { DIRTY_MAP_WORD_PAGES = 64 };

/* Changed under vtd_hw_map_begin() only, from when an entry of the unit points to it. */
struct dirty_map {
	unsigned int page_lg2;	/* of a bit: 12 but for the selftest's unit; set before any range */
	bool enabled;		/* SSADE of the entries: VT-d 4.1 s9.6 Scalable-Mode PASID Table */
	struct range_map pages; /* owner of each range: its dirty_map_word array */
};

/* Bits for [start, last], whole pages, all clear. -ENOMEM, -EEXIST. */
NST_MUST_CHECK int dirty_map_add(struct dirty_map *dirty, uint64_t start, uint64_t last);
/* Forget the ranges that lie in [start, last]. */
void dirty_map_remove(struct dirty_map *dirty, uint64_t start, uint64_t last);
/* A range that begins before @start, at a page, and reaches it becomes two. -ENOMEM. */
NST_MUST_CHECK int dirty_map_split(struct dirty_map *dirty, uint64_t start);
void dirty_map_clear_all(struct dirty_map *dirty);
void dirty_map_fini(struct dirty_map *dirty);

/*
 * Words [first, first + count) of @range, of which the bits outside of [start, last] are
 * left alone and read as 0; @clear them. Returns whether any was set.
 */
bool dirty_map_read(const struct dirty_map *dirty, const struct mem_range *range, uint64_t start,
		    uint64_t last, bool clear, uint64_t first, size_t count, uint64_t *out);

/* The word and the bit of the page at @address; NULL: not in the second stage. */
static inline dirty_map_word *dirty_map_find(const struct dirty_map *dirty, uint64_t address,
					     uint64_t *bit)
{
	uint64_t left, page;
	const struct mem_range *r = range_map_find(&dirty->pages, address, &left);

	if (!r)
		return NULL;
	page = (address - r->start) >> dirty->page_lg2;
	*bit = BIT64(page % DIRTY_MAP_WORD_PAGES);
	return (dirty_map_word *)r->owner + page / DIRTY_MAP_WORD_PAGES;
}

static inline void dirty_map_mark(const struct dirty_map *dirty, uint64_t address)
{
	uint64_t bit;
	dirty_map_word *word = dirty_map_find(dirty, address, &bit);

	/* looked at first: devices that write the same page do not fight for the line */
	if (word && !(atomic_load_explicit(word, memory_order_relaxed) & bit))
		atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
}

/* Where there is no bit, there is none left to set. */
static inline bool dirty_map_is_marked(const struct dirty_map *dirty, uint64_t address)
{
	uint64_t bit;
	dirty_map_word *word = dirty_map_find(dirty, address, &bit);

	return !word || (atomic_load_explicit(word, memory_order_relaxed) & bit);
}

#endif
