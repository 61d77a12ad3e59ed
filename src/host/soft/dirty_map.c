// SPDX-License-Identifier: BSD-3-Clause
/* See dirty_map.h. Bitmaps are made with the range, so that a DMA write never allocates. */
#include "host/soft/dirty_map.h"

#include "base/alloc.h"

#include <errno.h>

static uint64_t num_words(const struct dirty_map *dirty, const struct mem_range *r)
{
	return ((r->last - r->start) >> dirty->page_lg2) / DIRTY_MAP_WORD_PAGES + 1;
}

int dirty_map_add(struct dirty_map *dirty, uint64_t start, uint64_t last)
{
	struct mem_range range = { .start = start, .last = last };
	int err;

	range.owner = alloc_array(num_words(dirty, &range), sizeof(dirty_map_word));
	if (!range.owner)
		return -ENOMEM;
	err = range_map_insert(&dirty->pages, &range);
	if (err)
		free(range.owner);
	return err;
}

void dirty_map_remove(struct dirty_map *dirty, uint64_t start, uint64_t last)
{
	size_t i = range_map_lower_bound(&dirty->pages, start);

	while (i < dirty->pages.count && dirty->pages.ranges[i].last <= last) {
		free(dirty->pages.ranges[i].owner);
		range_map_remove_at(&dirty->pages, i);
	}
}

int dirty_map_split(struct dirty_map *dirty, uint64_t start)
{
	size_t i = range_map_lower_bound(&dirty->pages, start);
	struct mem_range *left, old;
	int err;

	if (i == dirty->pages.count || dirty->pages.ranges[i].start >= start)
		return 0;
	left = &dirty->pages.ranges[i];
	old = *left;
	left->last = start - 1;
	err = dirty_map_add(dirty, start, old.last);
	left = &dirty->pages.ranges[i];
	if (err) {
		left->last = old.last;
		return err;
	}
	/* the left one keeps its words, of which the end is not used any more */
	for (uint64_t at = start; at - 1 != old.last; at += BIT64(dirty->page_lg2)) {
		uint64_t page = (at - old.start) >> dirty->page_lg2;
		const dirty_map_word *words = old.owner;

		if (atomic_load_explicit(&words[page / DIRTY_MAP_WORD_PAGES],
					 memory_order_relaxed) &
		    BIT64(page % DIRTY_MAP_WORD_PAGES))
			dirty_map_mark(dirty, at);
	}
	return 0;
}

/* A word that is 0 is not written: of a large map most memory was never touched. */
static void clear_bits(dirty_map_word *word, uint64_t bits)
{
	uint64_t now = atomic_load_explicit(word, memory_order_relaxed);

	if (now & bits)
		atomic_store_explicit(word, now & ~bits, memory_order_relaxed);
}

void dirty_map_clear_all(struct dirty_map *dirty)
{
	for (size_t i = 0; i < dirty->pages.count; i++) {
		const struct mem_range *r = &dirty->pages.ranges[i];
		dirty_map_word *words = r->owner;

		for (uint64_t w = 0; w < num_words(dirty, r); w++)
			clear_bits(&words[w], UINT64_MAX);
	}
}

void dirty_map_fini(struct dirty_map *dirty)
{
	for (size_t i = 0; i < dirty->pages.count; i++)
		free(dirty->pages.ranges[i].owner);
	range_map_fini(&dirty->pages);
}

/* The bits of word @index that belong to pages [first, last] of the range. */
static uint64_t bits_between(uint64_t index, uint64_t first, uint64_t last)
{
	uint64_t low = index * DIRTY_MAP_WORD_PAGES, high = low + DIRTY_MAP_WORD_PAGES - 1;

	if (first > high || last < low)
		return 0;
	return GENMASK64((unsigned int)(MIN(last, high) - low),
			 (unsigned int)(MAX(first, low) - low));
}

bool dirty_map_read(const struct dirty_map *dirty, const struct mem_range *range, uint64_t start,
		    uint64_t last, bool clear, uint64_t first, size_t count, uint64_t *out)
{
	uint64_t first_page = (MAX(start, range->start) - range->start) >> dirty->page_lg2;
	uint64_t last_page = (MIN(last, range->last) - range->start) >> dirty->page_lg2;
	dirty_map_word *words = range->owner;
	uint64_t any = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t bits = bits_between(first + i, first_page, last_page);

		out[i] = atomic_load_explicit(&words[first + i], memory_order_relaxed) & bits;
		any |= out[i];
		if (clear)
			clear_bits(&words[first + i], out[i]);
	}
	return any;
}
