// SPDX-License-Identifier: BSD-3-Clause
/*
 * See vtd_hw.h. The path of one request, a page at a time:
 *
 *	entry of (requester, PASID)	vtd_table.c
 *	IOTLB -> miss: walk -> fill	vtd_translate.c
 *	copy				here
 *
 * Devices that ask for translations (ATS) and come back with them: vtd_ats.c.
 */
#include "host/soft/vtd/vtd_unit.h"

#include "base/alloc.h"
#include "base/log.h"
#include "endpoint/endpoint.h"
#include "pagetable/iotlb.h"
#include "spec/vtd_caps.h"

#include <errno.h>
#include <string.h>

int vtd_hw_create(const struct vtd_hw_config *config, struct vtd_hw **out)
{
	struct vtd_hw *hw = alloc_object(struct vtd_hw);
	int err;

	if (!hw)
		return -ENOMEM;
	err = vtd_translate_init(hw);
	if (err) {
		free(hw);
		return err;
	}
	hw->config = *config;
	rwlock_init(&hw->dma_lock);
	*out = hw;
	return 0;
}

void vtd_hw_destroy(struct vtd_hw *hw)
{
	if (!hw)
		return;
	vtd_table_fini(hw);
	vtd_translate_fini(hw);
	rwlock_fini(&hw->dma_lock);
	free(hw);
}

/*
 * A unit of the first generation with scalable mode: 48-bit first and second stage,
 * nesting, 20-bit PASIDs, coherent walks, dirty bits in the second stage, device TLBs and page
 * requests. Interrupt remapping is not modelled and not claimed.
 */
uint64_t vtd_hw_cap(const struct vtd_hw *hw)
{
	return FIELD_PREP(VTD_CAP_ND, 6) | VTD_CAP_SAGAW_39 | VTD_CAP_SAGAW_48 |
	       FIELD_PREP(VTD_CAP_MGAW, 47) | FIELD_PREP(VTD_CAP_FRO, 0x22) | VTD_CAP_SSLPS_2M |
	       VTD_CAP_SSLPS_1G | VTD_CAP_PSI | FIELD_PREP(VTD_CAP_MAMV, 18) | VTD_CAP_DWD |
	       VTD_CAP_DRD | VTD_CAP_FS1GP | VTD_CAP_ESRTPS;
}

uint64_t vtd_hw_ecap(const struct vtd_hw *hw)
{
	return VTD_ECAP_C | VTD_ECAP_QI | VTD_ECAP_DT | VTD_ECAP_PT | VTD_ECAP_SC |
	       FIELD_PREP(VTD_ECAP_IRO, 0xf) | FIELD_PREP(VTD_ECAP_MHMV, 15) | VTD_ECAP_NEST |
	       VTD_ECAP_PRS | VTD_ECAP_SRS | VTD_ECAP_EAFS |
	       FIELD_PREP(VTD_ECAP_PSS, PASID_BITS - 1) | VTD_ECAP_PASID | VTD_ECAP_PDS |
	       VTD_ECAP_SMTS | VTD_ECAP_SSADS | VTD_ECAP_SSTS | VTD_ECAP_FSTS | VTD_ECAP_SMPWCS;
}

bool vtd_hw_flush_pages(struct vtd_hw *hw, uint16_t did, uint64_t addr, uint64_t npages, bool leaf)
{
	uint64_t last;
	bool any;

	if (drop_hook_takes(&hw->drop, atomic_load(&hw->dma_write_bytes), hw->config.log))
		return false;
	if (npages == UINT64_MAX) {
		vtd_hw_flush_domain(hw, did);
		return true;
	}
	if (npages > (UINT64_MAX >> PAGE_SHIFT_4K) - (addr >> PAGE_SHIFT_4K))
		last = UINT64_MAX;
	else
		last = addr + (npages << PAGE_SHIFT_4K) - 1;
	rwlock_write(&hw->dma_lock);
	iotlb_flush_range(hw->iotlb, did, addr, last, leaf);
	any = hw->num_device_tlbs;
	rwlock_write_end(&hw->dma_lock);
	if (any)
		vtd_ats_flush(hw, did, addr, last);
	return true;
}

void vtd_hw_flush_iotlb(struct vtd_hw *hw, uint16_t did)
{
	rwlock_write(&hw->dma_lock);
	iotlb_flush_tag(hw->iotlb, did);
	rwlock_write_end(&hw->dma_lock);
}

void vtd_hw_flush_domain(struct vtd_hw *hw, uint16_t did)
{
	vtd_hw_flush_iotlb(hw, did);
	vtd_ats_flush(hw, did, 0, UINT64_MAX);
}

void vtd_hw_map_begin(struct vtd_hw *hw) NO_LOCK_ANALYSIS
{
	rwlock_write(&hw->dma_lock);
}

void vtd_hw_map_end(struct vtd_hw *hw, bool flush) NO_LOCK_ANALYSIS
{
	if (flush)
		iotlb_flush_all(hw->iotlb);
	rwlock_write_end(&hw->dma_lock);
	if (flush)
		vtd_ats_flush_all(hw);
}

void vtd_hw_drop_invalidation(struct vtd_hw *hw, uint64_t after_dma_write_bytes)
{
	drop_hook_set(&hw->drop, after_dma_write_bytes);
}

/* A translated request that is refused is the device's own mistake: no table says so. */
static void report(struct vtd_hw *hw, nst_rid rid, const struct endpoint_dma_request *req,
		   uint64_t iova, const struct vtd_translation *t)
{
	const struct vtd_hw_fault fault = {
		.rid = rid,
		.pasid = req->pasid,
		.iova = iova,
		.write = req->write,
		.privileged = req->privileged,
		.stage = !t->fault.attached  ? VTD_HW_FAULT_NO_ENTRY
			 : t->by_first_stage ? VTD_HW_FAULT_FIRST_STAGE
					     : VTD_HW_FAULT_SECOND_STAGE,
		.reason = t->fault.reason,
	};

	if (hw->config.fault && !req->translated)
		hw->config.fault(hw->config.opaque, &fault);
}

/* @at is what the device put on the bus for the byte that was refused. */
static int refuse(struct vtd_hw *hw, nst_rid rid, const struct endpoint_dma_request *req,
		  uint64_t at, struct vtd_translation *t, enum vtd_fault_reason reason)
{
	uint64_t iova = req->translated ? req->untranslated.v + (at - req->iova.v) : at;
	struct dma_request_id id = { rid, req->pasid, iova, req->write };

	t->fault.reason = reason;
	sanitizer_report_fault(hw->config.sanitizer, &id, &t->fault);
	report(hw, rid, req, iova, t);
	return -EFAULT;
}

int vtd_hw_dma(struct vtd_hw *hw, nst_rid rid, const struct endpoint_dma_request *req)
{
	uint8_t *buf = req->buf;
	uint64_t iova = req->iova.v;
	size_t left = req->size;

	if (range_overflows(iova, left))
		return refuse(hw, rid, req, iova,
			      &(struct vtd_translation){ .fault.attached = true },
			      VTD_FAULT_NOT_CANONICAL);
	while (left) {
		struct vtd_translation t = { 0 };
		enum vtd_fault_reason reason;
		size_t chunk = MIN(left, PAGE_SIZE_4K - (iova & (PAGE_SIZE_4K - 1)));

		rwlock_read(&hw->dma_lock);
		reason = req->translated ? vtd_ats_check(hw, rid, req, iova, &t)
					 : vtd_translate(hw, rid, req->pasid, iova, req->write, &t);
		if (!reason) {
			chunk = MIN(chunk, t.left);
			if (req->write)
				memcpy(t.host, buf, chunk);
			else
				memcpy(buf, t.host, chunk);
		}
		rwlock_read_end(&hw->dma_lock);
		if (reason)
			return refuse(hw, rid, req, iova, &t, reason);
		atomic_fetch_add_explicit(req->write ? &hw->dma_write_bytes : &hw->dma_read_bytes,
					  chunk, memory_order_relaxed);
		buf += chunk;
		iova += chunk;
		left -= chunk;
	}
	return 0;
}

void vtd_hw_get_stats(struct vtd_hw *hw, struct nst_soft_stats *stats)
{
	stats->dma_read_bytes = atomic_load(&hw->dma_read_bytes);
	stats->dma_write_bytes = atomic_load(&hw->dma_write_bytes);
	stats->iotlb_hits = atomic_load(&hw->hits);
	stats->iotlb_misses = atomic_load(&hw->misses);
	stats->s1_walks = atomic_load(&hw->s1_walks);
}
