/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory in place, for table walkers inside the library: they set accessed and
 * dirty bits by compare-and-swap, which a copy cannot do. Between mem_enter() and
 * mem_exit() whatever mem_page() returned stays mapped; keep it short, because
 * nst_mem_remove() waits for it.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include "base/range_map.h"

#include <nestor/mem.h>

unsigned int mem_enter(struct nst_mem *mem);
void mem_exit(struct nst_mem *mem, unsigned int token);

/*
 * The 4 KiB page that @gpa is in, or NULL: no memory, or not all of it, or not in one
 * piece. Aligned to 8 bytes. *@writable: may it be written?
 */
void *mem_page(struct nst_mem *mem, nst_gpa gpa, bool *writable);

/*
 * The same for a walk that reads many tables: a guest's are all in the same mapping, mostly, so
 * that one is looked at first. Of the time between mem_enter() and mem_exit(); zeroed but for @map,
 * mem_map().
 */
struct mem_view {
	const struct range_map *map;
	struct mem_range last;
};

const struct range_map *mem_map(struct nst_mem *mem);
bool mem_view_move(struct mem_view *view, uint64_t address);

static inline void *mem_view_page(struct mem_view *view, nst_gpa gpa, bool *writable)
{
	uint64_t page = gpa.v & ~(PAGE_SIZE_4K - 1), hva;

	if ((page < view->last.start || page + (PAGE_SIZE_4K - 1) > view->last.last ||
	     !view->last.perm) &&
	    !mem_view_move(view, page))
		return NULL;
	hva = view->last.hva.v + (page - view->last.start);
	*writable = view->last.perm & RANGE_WRITE;
	return hva % 8 ? NULL : (void *)(uintptr_t)hva;
}

#endif
