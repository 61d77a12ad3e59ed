// SPDX-License-Identifier: BSD-3-Clause
/* See device_tlb.h. Entries are found by looking at all: there are few. */
#include "endpoint/device_tlb.h"

#include "base/bits.h"

#include <errno.h>
#include <string.h>

void device_tlb_init(struct device_tlb *tlb, struct endpoint *ep)
{
	tlb->ep = ep;
	mutex_init(&tlb->lock);
}

void device_tlb_fini(struct device_tlb *tlb)
{
	mutex_fini(&tlb->lock);
}

static void forget_all(struct device_tlb *tlb) REQUIRES(tlb->lock)
{
	memset(tlb->entries, 0, sizeof(tlb->entries));
	tlb->next = 0;
}

static bool covers(const struct device_tlb_entry *entry, const struct endpoint_dma_request *req)
{
	return entry->size && entry->pasid == req->pasid && entry->privileged == req->privileged &&
	       req->iova.v >= entry->iova.v && req->iova.v - entry->iova.v < entry->size;
}

static bool permits(const struct device_tlb_entry *entry, bool write)
{
	return write ? entry->write : entry->read;
}

/* The entry that has the page already, whatever it permits; else a free one; else the next. */
static struct device_tlb_entry *find_place(struct device_tlb *tlb,
					   const struct endpoint_dma_request *req)
	REQUIRES(tlb->lock)
{
	struct device_tlb_entry *free_entry = NULL;

	for (unsigned int i = 0; i < DEVICE_TLB_ENTRIES; i++) {
		struct device_tlb_entry *entry = &tlb->entries[i];

		if (covers(entry, req))
			return entry;
		if (!entry->size && !free_entry)
			free_entry = entry;
	}
	if (free_entry)
		return free_entry;
	tlb->next = (tlb->next + 1) % DEVICE_TLB_ENTRIES;
	return &tlb->entries[tlb->next];
}

static int fill(struct device_tlb *tlb, const struct endpoint_dma_request *req,
		struct device_tlb_entry *entry) REQUIRES(tlb->lock)
{
	const struct endpoint_ats_request ask = {
		.iova = { ALIGN_DOWN(req->iova.v, PAGE_SIZE_4K) },
		.pasid = req->pasid,
		.write = req->write,
		.privileged = req->privileged,
	};
	struct endpoint_ats_reply reply;

	entry->size = 0;
	if (endpoint_translate(tlb->ep, &ask, &reply))
		return -EREMOTEIO;
	if (!reply.read && !reply.write)
		return -EACCES;
	*entry = (struct device_tlb_entry){
		.iova = { ALIGN_DOWN(req->iova.v, reply.size) },
		.translated = reply.translated,
		.size = reply.size,
		.pasid = req->pasid,
		.privileged = req->privileged,
		.read = reply.read,
		.write = reply.write,
	};
	return permits(entry, req->write) ? 0 : -EACCES;
}

static int dma_locked(struct device_tlb *tlb, const struct endpoint_dma_request *req)
	REQUIRES(tlb->lock)
{
	unsigned int epoch = atomic_load(&tlb->ep->config.ats_epoch);
	struct endpoint_dma_request translated = *req;
	struct device_tlb_entry *entry;
	int err;

	if (epoch != tlb->epoch)
		forget_all(tlb);
	tlb->epoch = epoch;
	if (!atomic_load(&tlb->ep->config.ats_enabled))
		return -EIO;
	entry = find_place(tlb, req);
	if (covers(entry, req) && permits(entry, req->write)) {
		atomic_fetch_add(&tlb->hits, 1);
	} else {
		atomic_fetch_add(&tlb->misses, 1);
		err = fill(tlb, req, entry);
		if (err)
			return err;
	}
	translated.translated = true;
	translated.untranslated = req->iova;
	translated.iova.v = entry->translated.v + (req->iova.v - entry->iova.v);
	return endpoint_dma(tlb->ep, &translated) ? -EFAULT : 0;
}

int device_tlb_dma(struct device_tlb *tlb, const struct endpoint_dma_request *req)
{
	int err;

	mutex_lock(&tlb->lock);
	err = dma_locked(tlb, req);
	mutex_unlock(&tlb->lock);
	return err;
}

void device_tlb_invalidate(struct device_tlb *tlb, uint32_t pasid, nst_iova iova, nst_iova last)
{
	mutex_lock(&tlb->lock);
	for (unsigned int i = 0; i < DEVICE_TLB_ENTRIES; i++) {
		struct device_tlb_entry *entry = &tlb->entries[i];

		if ((pasid == ENDPOINT_EVERY_PASID || entry->pasid == pasid) &&
		    entry->iova.v <= last.v && entry->iova.v + (entry->size - 1) >= iova.v)
			entry->size = 0;
	}
	mutex_unlock(&tlb->lock);
	atomic_fetch_add(&tlb->invalidations, 1);
}

void device_tlb_reset(struct device_tlb *tlb)
{
	mutex_lock(&tlb->lock);
	forget_all(tlb);
	mutex_unlock(&tlb->lock);
	atomic_store(&tlb->hits, 0);
	atomic_store(&tlb->misses, 0);
	atomic_store(&tlb->invalidations, 0);
}
