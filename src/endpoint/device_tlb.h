/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The address translation cache of a device (ATC, PCIe 6.0 s10.1): what the bus answered to
 * translation requests, a bounded number of pages, until an invalidation says otherwise.
 *
 * One lock is held from the lookup to the end of the DMA that uses it, over the bus's
 * translate() and dma(). So when device_tlb_invalidate() returns, no request with an
 * address that it forgot is on its way, and no translation that began before it is put in
 * after it. An answer that permits nothing is not kept. All is forgotten when ATS is
 * switched off or on (pci_config.ats_epoch), before anything is looked up again.
 *
 * Lock order: locks of the host that are held over endpoint ops -> device_tlb.lock -> the
 * bus. Any thread.
 */
#ifndef ENDPOINT_DEVICE_TLB_H
#define ENDPOINT_DEVICE_TLB_H

#include "base/lock.h"
#include "endpoint/endpoint.h"

#define DEVICE_TLB_ENTRIES 64

struct device_tlb_entry {
	nst_iova iova, translated; /* of the first byte of the page */
	uint64_t size;		   /* 0: nothing here */
	uint32_t pasid;
	bool privileged, read, write;
};

struct device_tlb {
	struct endpoint *ep;
	struct mutex lock;
	struct device_tlb_entry entries[DEVICE_TLB_ENTRIES] GUARDED_BY(lock);
	unsigned int next GUARDED_BY(lock); /* to be replaced when all are in use */
	unsigned int epoch GUARDED_BY(lock);
	_Atomic uint64_t hits, misses, invalidations;
};

void device_tlb_init(struct device_tlb *tlb, struct endpoint *ep);
void device_tlb_fini(struct device_tlb *tlb);

/*
 * Do @req, which has an untranslated address and stays inside a 4 KiB page, with a translated
 * one. 0; -EACCES: the page does not permit it, ask for it; -EREMOTEIO: the translation
 * request was refused; -EFAULT: the translated request was refused; -EIO: ATS is off.
 */
NST_MUST_CHECK int device_tlb_dma(struct device_tlb *tlb, const struct endpoint_dma_request *req)
	EXCLUDES(tlb->lock);

void device_tlb_invalidate(struct device_tlb *tlb, uint32_t pasid, nst_iova iova, nst_iova last)
	EXCLUDES(tlb->lock);
void device_tlb_reset(struct device_tlb *tlb) EXCLUDES(tlb->lock); /* the counts too */

#endif
