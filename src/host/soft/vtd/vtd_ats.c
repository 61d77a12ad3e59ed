// SPDX-License-Identifier: BSD-3-Clause
/*
 * Devices with a TLB of their own (ATS): they ask for translations, keep them, and use them
 * later without us, until they are told to forget.
 *
 * A translated address is an address of this process. It went through the registers of a
 * device that a guest drives, so nothing is believed of it: it is used only if it is memory
 * that the second stage of the requester reaches, with its permission. That is the check a
 * unit with a host permission table makes; whether the first stage still says so is up to
 * the device, and the sanitizer's to find out.
 *
 * As the Linux driver does, devices are told after the IOTLB is empty: a translation that
 * is asked for in between is already a new one. Lock order: see ats_invalidate in vtd_hw.h.
 */
#include "host/soft/vtd/vtd_unit.h"

#include "endpoint/endpoint.h"

#include <errno.h>

/* --- telling devices -------------------------------------------------------------------- */

static bool next_tlb(struct vtd_hw *hw, bool all, uint16_t did, size_t *i,
		     struct vtd_device_tlb *out) EXCLUDES(hw->dma_lock)
{
	bool found = false;

	rwlock_read(&hw->dma_lock);
	for (; *i < hw->num_device_tlbs && !found; ++*i) {
		*out = hw->device_tlbs[*i];
		found = out->used && (all || out->did == did);
	}
	rwlock_read_end(&hw->dma_lock);
	return found;
}

static void flush(struct vtd_hw *hw, bool all, uint16_t did, uint64_t iova, uint64_t last)
	EXCLUDES(hw->dma_lock)
{
	const struct vtd_hw_config *config = &hw->config;
	struct vtd_device_tlb tlb;
	size_t i = 0;

	while (next_tlb(hw, all, did, &i, &tlb))
		config->ats_invalidate(config->opaque, tlb.rid, tlb.pasid, iova, last);
}

void vtd_ats_flush(struct vtd_hw *hw, uint16_t did, uint64_t iova, uint64_t last)
{
	flush(hw, false, did, iova, last);
}

void vtd_ats_flush_all(struct vtd_hw *hw)
{
	flush(hw, true, 0, 0, UINT64_MAX);
}

/* --- translation requests --------------------------------------------------------------- */

/* The page around @iova; smaller than in the tables if memory lies askew to it here. */
static struct endpoint_ats_reply make_reply(const struct vtd_translation *t, uint64_t iova,
					    bool write)
{
	unsigned int lg2 = t->page_lg2;
	uintptr_t host = (uintptr_t)t->host;

	while (lg2 > PAGE_SHIFT_4K && ((host ^ iova) & (BIT64(lg2) - 1)))
		lg2 -= 9;
	return (struct endpoint_ats_reply){
		.translated = { host & ~(BIT64(lg2) - 1) },
		.size = BIT64(lg2),
		.read = t->flags & VTD_MAY_READ,
		.write = write && (t->flags & VTD_MAY_WRITE),
	};
}

/* Refused are requesters, not addresses: of those the device learns that it may do nothing. */
static enum vtd_fault_reason translate_for_device(struct vtd_hw *hw, nst_rid rid,
						  const struct endpoint_ats_request *req,
						  struct sanitizer_fault *fault,
						  struct endpoint_ats_reply *reply)
	REQUIRES_SHARED(hw->dma_lock)
{
	const struct vtd_hw_entry *entry = vtd_table_find(hw, rid, req->pasid);
	struct vtd_translation t = { 0 };
	enum vtd_fault_reason reason = VTD_FAULT_WRITE;

	if (!entry)
		return VTD_FAULT_PASID_NOT_PRESENT;
	if (!entry->ats) {
		*fault = (struct sanitizer_fault){ .attached = true, .domain = entry->domain };
		return VTD_FAULT_CONTEXT_DEVICE_TLB;
	}
	if (req->write)
		reason = vtd_translate(hw, rid, req->pasid, req->iova.v, true, &t);
	if (reason)
		reason = vtd_translate(hw, rid, req->pasid, req->iova.v, false, &t);
	*reply = reason ? (struct endpoint_ats_reply){ .size = PAGE_SIZE_4K }
			: make_reply(&t, req->iova.v, req->write);
	return VTD_FAULT_NONE;
}

int vtd_hw_translate(struct vtd_hw *hw, nst_rid rid, const struct endpoint_ats_request *req,
		     struct endpoint_ats_reply *reply)
{
	struct dma_request_id id = { rid, req->pasid, req->iova.v, req->write };
	struct sanitizer_fault fault = { 0 };
	struct endpoint_ats_reply made;

	rwlock_read(&hw->dma_lock);
	fault.reason = translate_for_device(hw, rid, req, &fault, &made);
	rwlock_read_end(&hw->dma_lock);
	if (fault.reason) {
		sanitizer_report_fault(hw->config.sanitizer, &id, &fault);
		return -EFAULT;
	}
	*reply = made;
	return 0;
}

/* --- translated requests ---------------------------------------------------------------- */

static enum vtd_fault_reason find_memory(const struct vtd_hw_entry *entry, uint64_t addr,
					 bool write, struct vtd_translation *t)
{
	unsigned int need = write ? RANGE_WRITE : RANGE_READ;

	for (size_t i = 0; i < entry->s2->count; i++) {
		const struct mem_range *r = &entry->s2->ranges[i];
		uint64_t offset = addr - r->hva.v; /* beyond any range if it is below */

		/* memory may be in several places, with several permissions */
		if (offset > r->last - r->start || !(r->perm & need))
			continue;
		if (write && entry->dirty && entry->dirty->enabled)
			dirty_map_mark(entry->dirty, r->start + offset);
		t->host = (uint8_t *)(uintptr_t)addr;
		t->left = r->last - r->start - offset;
		t->left += t->left != UINT64_MAX;
		return VTD_FAULT_NONE;
	}
	return write ? VTD_FAULT_WRITE : VTD_FAULT_READ;
}

/* The sanitizer: would the device be told the same today? */
static void check_use(struct vtd_hw *hw, const struct dma_request_id *id,
		      const struct vtd_hw_entry *entry, uint64_t addr)
{
	struct vtd_translation now = { 0 };
	enum vtd_fault_reason reason = vtd_translate_peek(entry, id->iova, id->write, &now);

	if (reason || (uintptr_t)now.host != addr)
		sanitizer_report_stale(hw->config.sanitizer, id, &entry->domain,
				       SANITIZER_DEVICE_TLB,
				       (struct dma_outcome){ .host = (void *)(uintptr_t)addr },
				       (struct dma_outcome){ reason, now.host });
}

enum vtd_fault_reason vtd_ats_check(struct vtd_hw *hw, nst_rid rid,
				    const struct endpoint_dma_request *req, uint64_t addr,
				    struct vtd_translation *t)
{
	const struct vtd_hw_entry *entry = vtd_table_find(hw, rid, req->pasid);
	struct dma_request_id id = { rid, req->pasid, req->untranslated.v + (addr - req->iova.v),
				     req->write };
	enum vtd_fault_reason reason;

	if (!entry)
		return VTD_FAULT_PASID_NOT_PRESENT;
	reason = entry->ats ? find_memory(entry, addr, req->write, t)
			    : VTD_FAULT_CONTEXT_DEVICE_TLB;
	if (entry->ats && hw->config.check)
		check_use(hw, &id, entry, addr);
	if (reason) {
		t->fault.attached = true;
		t->fault.domain = entry->domain;
	}
	return reason;
}
