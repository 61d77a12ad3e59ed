// SPDX-License-Identifier: BSD-3-Clause
/*
 * A guest's second-stage table, shown block by block to those who shadow it
 * (viommu/attach.h): VT-d 4.1 s3.7 Second-Stage Translation. What an entry says that is
 * wrong - reserved bits, a table that is not memory - leads nowhere: hardware would report
 * a fault at a DMA, and we learn of none.
 */
#include "base/mem.h"
#include "pagetable/vtd_ss.h"
#include "passthrough/shadow.h"
#include "vtd/unit.h"

enum { ENTRIES = 1 << VTD_SS_LEVEL_BITS };

struct walk {
	struct vtd_unit *u;
	uint64_t reserved;
	struct shadow_block *block;
};

static const uint64_t *table_at(const struct walk *w, uint64_t address)
{
	bool writable;

	return mem_page(nst_vm_mem(w->u->vm), (nst_gpa){ address }, &writable);
}

static uint64_t read_entry(const uint64_t *table, uint64_t index)
{
	return le64toh(__atomic_load_n(&table[index], __ATOMIC_ACQUIRE));
}

/* What @entry of @level and those above it, @perm, allow; 0 if it is not there, or wrong. */
static unsigned int perm_of(const struct walk *w, uint64_t entry, unsigned int level,
			    unsigned int perm)
{
	if (!(entry & VTD_SS_R))
		perm &= ~(unsigned int)RANGE_READ;
	if (!(entry & VTD_SS_W))
		perm &= ~(unsigned int)RANGE_WRITE;
	return vtd_ss_entry_reserved(entry, level, w->reserved) ? 0 : perm;
}

static void set_range(const struct walk *w, uint64_t iova, unsigned int lg2)
{
	w->block->start = ALIGN_DOWN(iova, BIT64(lg2));
	w->block->last = w->block->start + BIT64(lg2) - 1;
}

static void show_last_table(const struct walk *w, const uint64_t *table, unsigned int perm)
{
	w->block->entries += ENTRIES;
	for (uint64_t i = 0; i < ENTRIES; i++) {
		uint64_t entry = read_entry(table, i);
		uint64_t start = w->block->start + (i << PAGE_SHIFT_4K);
		unsigned int allowed = perm_of(w, entry, 1, perm);

		if (allowed)
			shadow_block_add(w->block, start, start + PAGE_SIZE_4K - 1,
					 entry & VTD_SS_ADDR, allowed);
	}
}

/* Nothing at @index of @table; nor, maybe, behind it. */
static void show_nothing(const struct walk *w, const uint64_t *table, uint64_t index,
			 unsigned int level, unsigned int perm)
{
	while (++index < ENTRIES && !perm_of(w, read_entry(table, index), level, perm)) {
		w->block->last += BIT64(vtd_ss_level_lg2(level));
		w->block->entries++;
	}
}

/*
 * The block is a last table, or what the lowest entry on the way to @iova covers, with
 * what follows if there is nothing.
 */
static void show(const struct walk *w, const struct attachment *key, uint64_t iova)
{
	unsigned int perm = RANGE_READ | RANGE_WRITE;
	uint64_t at = key->shadow.root;

	for (unsigned int level = key->shadow.levels;; level--) {
		unsigned int lg2 = vtd_ss_level_lg2(level), above = perm;
		uint64_t index = iova >> lg2 & (ENTRIES - 1), entry;
		const uint64_t *table = table_at(w, at);

		set_range(w, iova, lg2 + VTD_SS_LEVEL_BITS);
		if (!table)
			return;
		if (level == 1) {
			show_last_table(w, table, perm);
			return;
		}
		entry = read_entry(table, index);
		perm = perm_of(w, entry, level, above);
		at = entry & VTD_SS_ADDR;
		w->block->entries++;
		if (!perm || (level <= 3 && (entry & VTD_SS_PS))) {
			set_range(w, iova, lg2);
			if (perm)
				shadow_block_add(w->block, w->block->start, w->block->last, at,
						 perm);
			else
				show_nothing(w, table, index, level, above);
			return;
		}
	}
}

void vtd_shadow_walk(void *opaque, const struct attachment *key, uint64_t iova,
		     struct shadow_block *block)
{
	struct vtd_unit *u = opaque;
	struct nst_mem *mem = nst_vm_mem(u->vm);
	const struct walk w = { u, vtd_second_stage_reserved(u->cap, u->ecap), block };
	unsigned int token;

	if (iova >> vtd_ss_level_lg2(key->shadow.levels + 1)) { /* more bits than the table has */
		block->start = iova;
		block->last = UINT64_MAX;
		return;
	}
	token = mem_enter(mem);
	show(&w, key, iova);
	mem_exit(mem, token);
}
