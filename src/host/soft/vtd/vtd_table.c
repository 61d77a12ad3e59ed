// SPDX-License-Identifier: BSD-3-Clause
/*
 * The tables of the VT-d unit that say what a request is translated by: per requester an
 * entry for requests without PASID, and a directory of tables of 64 for those with one
 * (VT-d 4.1 s9.5, s9.6). Beside them a list of the entries whose device may have a TLB of its
 * own, for whom to tell when translations go.
 */
#include "host/soft/vtd/vtd_unit.h"

#include "base/alloc.h"

#include <errno.h>

static void free_function(struct vtd_function *f)
{
	if (!f)
		return;
	for (size_t i = 0; f->directory && i < 1u << (PASID_BITS - PASID_TABLE_LG2); i++)
		free(f->directory[i]);
	free(f->directory);
	free(f);
}

static struct vtd_slot *find_slot(struct vtd_hw *hw, nst_rid rid, uint32_t pasid)
	REQUIRES_SHARED(hw->dma_lock)
{
	struct vtd_function *f = hw->functions[rid];
	struct vtd_pasid_table *table;

	if (!f)
		return NULL;
	if (pasid == NST_NO_PASID)
		return &f->rid_slot;
	if (!f->directory || pasid >> PASID_BITS)
		return NULL;
	table = f->directory[pasid >> PASID_TABLE_LG2];
	return table ? &table->slots[pasid & ((1 << PASID_TABLE_LG2) - 1)] : NULL;
}

static int make_slot(struct vtd_hw *hw, nst_rid rid, uint32_t pasid, struct vtd_slot **out)
	REQUIRES(hw->dma_lock)
{
	struct vtd_function *f = hw->functions[rid];
	struct vtd_pasid_table **table;

	if (!f) {
		f = hw->functions[rid] = alloc_object(struct vtd_function);
		if (!f)
			return -ENOMEM;
	}
	if (pasid != NST_NO_PASID) {
		if (pasid >> PASID_BITS)
			return -EINVAL;
		if (!f->directory)
			f->directory = alloc_array(1u << (PASID_BITS - PASID_TABLE_LG2),
						   sizeof(*f->directory));
		if (!f->directory)
			return -ENOMEM;
		table = &f->directory[pasid >> PASID_TABLE_LG2];
		if (!*table)
			*table = alloc_object(struct vtd_pasid_table);
		if (!*table)
			return -ENOMEM;
	}
	*out = find_slot(hw, rid, pasid);
	return 0;
}

const struct vtd_hw_entry *vtd_table_find(struct vtd_hw *hw, nst_rid rid, uint32_t pasid)
{
	const struct vtd_slot *slot = find_slot(hw, rid, pasid);

	return slot && slot->present ? &slot->entry : NULL;
}

/* --- entries whose device has a TLB ----------------------------------------------------- */

/* Some are free after it; what is in use stays where it is. */
static int grow_tlbs(struct vtd_hw *hw) REQUIRES(hw->dma_lock)
{
	size_t n = hw->num_device_tlbs, count = n ? 2 * n : 4;
	struct vtd_device_tlb *grown = alloc_resize(hw->device_tlbs, count, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	for (size_t i = n; i < count; i++)
		grown[i] = (struct vtd_device_tlb){
			.next_free = i + 1 < count ? (uint32_t)i + 2 : 0,
		};
	hw->free_tlb = (uint32_t)n + 1;
	hw->device_tlbs = grown;
	hw->num_device_tlbs = count;
	return 0;
}

/* Give @slot one of the free ones. */
static void take_tlb(struct vtd_hw *hw, struct vtd_slot *slot) REQUIRES(hw->dma_lock)
{
	slot->tlb = hw->free_tlb;
	hw->free_tlb = hw->device_tlbs[slot->tlb - 1].next_free;
}

static void put_tlb(struct vtd_hw *hw, struct vtd_slot *slot) REQUIRES(hw->dma_lock)
{
	if (!slot->tlb)
		return;
	hw->device_tlbs[slot->tlb - 1] = (struct vtd_device_tlb){ .next_free = hw->free_tlb };
	hw->free_tlb = slot->tlb;
	slot->tlb = 0;
}

/* --- vtd_hw_set_entry() ----------------------------------------------------------------- */

/* *@had_tlb: the device may have cached what the old entry said. */
static int set_entry(struct vtd_hw *hw, nst_rid rid, uint32_t pasid,
		     const struct vtd_hw_entry *entry, bool *had_tlb) REQUIRES(hw->dma_lock)
{
	struct vtd_slot *slot = NULL;
	int err = make_slot(hw, rid, pasid, &slot);

	if (!err && entry->ats && !slot->tlb && !hw->free_tlb)
		err = grow_tlbs(hw);
	if (err)
		return err;
	*had_tlb = slot->tlb;
	if (!entry->ats)
		put_tlb(hw, slot);
	else if (!slot->tlb)
		take_tlb(hw, slot);
	if (slot->tlb)
		hw->device_tlbs[slot->tlb - 1] = (struct vtd_device_tlb){
			.used = true, .rid = rid, .pasid = pasid, .did = entry->did
		};
	slot->present = true;
	slot->entry = *entry;
	return 0;
}

static void clear_entry(struct vtd_hw *hw, nst_rid rid, uint32_t pasid, bool *had_tlb)
	REQUIRES(hw->dma_lock)
{
	struct vtd_slot *slot = find_slot(hw, rid, pasid);

	if (!slot)
		return;
	*had_tlb = slot->tlb;
	put_tlb(hw, slot);
	slot->present = false;
}

int vtd_hw_set_entry(struct vtd_hw *hw, nst_rid rid, uint32_t pasid,
		     const struct vtd_hw_entry *entry)
{
	bool had_tlb = false;
	int err = 0;

	rwlock_write(&hw->dma_lock);
	if (entry)
		err = set_entry(hw, rid, pasid, entry, &had_tlb);
	else
		clear_entry(hw, rid, pasid, &had_tlb);
	rwlock_write_end(&hw->dma_lock);
	if (had_tlb)
		hw->config.ats_invalidate(hw->config.opaque, rid, pasid, 0, UINT64_MAX);
	return err;
}

void vtd_table_fini(struct vtd_hw *hw)
{
	for (size_t rid = 0; rid < ARRAY_SIZE(hw->functions); rid++)
		free_function(hw->functions[rid]);
	free(hw->device_tlbs);
}
