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

static struct vtd_device_tlb *find_tlb(struct vtd_hw *hw, nst_rid rid, uint32_t pasid)
	REQUIRES_SHARED(hw->dma_lock)
{
	for (size_t i = 0; i < hw->num_device_tlbs; i++) {
		struct vtd_device_tlb *tlb = &hw->device_tlbs[i];

		if (tlb->used && tlb->rid == rid && tlb->pasid == pasid)
			return tlb;
	}
	return NULL;
}

/* One that is not used; what is in use stays where it is. */
static struct vtd_device_tlb *free_tlb(struct vtd_hw *hw) REQUIRES(hw->dma_lock)
{
	size_t n = hw->num_device_tlbs, count = n ? 2 * n : 4;
	struct vtd_device_tlb *grown;

	for (size_t i = 0; i < n; i++)
		if (!hw->device_tlbs[i].used)
			return &hw->device_tlbs[i];
	grown = alloc_resize(hw->device_tlbs, count, sizeof(*grown));
	if (!grown)
		return NULL;
	for (size_t i = n; i < count; i++)
		grown[i] = (struct vtd_device_tlb){ 0 };
	hw->device_tlbs = grown;
	hw->num_device_tlbs = count;
	return &grown[n];
}

/* --- vtd_hw_set_entry() ----------------------------------------------------------------- */

/* *@had_tlb: the device may have cached what the old entry said. */
static int set_entry(struct vtd_hw *hw, nst_rid rid, uint32_t pasid,
		     const struct vtd_hw_entry *entry, bool *had_tlb) REQUIRES(hw->dma_lock)
{
	struct vtd_device_tlb *tlb = find_tlb(hw, rid, pasid), *new_tlb = tlb;
	struct vtd_slot *slot = NULL;
	int err = make_slot(hw, rid, pasid, &slot);

	if (err)
		return err;
	if (entry->ats && !tlb) {
		new_tlb = free_tlb(hw);
		if (!new_tlb)
			return -ENOMEM;
	}
	*had_tlb = tlb;
	if (entry->ats)
		*new_tlb = (struct vtd_device_tlb){ true, rid, pasid, entry->did };
	else if (tlb)
		tlb->used = false;
	*slot = (struct vtd_slot){ .present = true, .entry = *entry };
	return 0;
}

static void clear_entry(struct vtd_hw *hw, nst_rid rid, uint32_t pasid, bool *had_tlb)
	REQUIRES(hw->dma_lock)
{
	struct vtd_device_tlb *tlb = find_tlb(hw, rid, pasid);
	struct vtd_slot *slot = find_slot(hw, rid, pasid);

	*had_tlb = tlb;
	if (tlb)
		tlb->used = false;
	if (slot)
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
