/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a software IOMMU says of requests that went wrong: sentences for the log. A reason is
 * a number of the architecture: a VT-d fault reason, an SMMUv3 event type; never 0.
 */
#ifndef HOST_SOFT_DMA_REPORT_H
#define HOST_SOFT_DMA_REPORT_H

#include <nestor/log.h>
#include <nestor/types.h>
#include <stdbool.h>

/* A request as it came: @pasid is NST_NO_PASID for one without. */
struct dma_request_id {
	nst_rid rid;
	uint32_t pasid;
	uint64_t iova;
	bool write;
};

/* What translating came to: @reason, or if that is 0 the memory at @host. */
struct dma_outcome {
	unsigned int reason;
	const void *host;
};

/* "device 00:01.0 PASID 3 write iova 0x1000" */
struct dma_request_text {
	char text[80];
};

struct dma_request_text dma_report_request(const struct dma_request_id *id);
/* Is the @nth report of its kind written? */
bool dma_report_is_due(uint64_t nth);

/*
 * @nth counts the reports of their kind from 1: the first few are written, then each power
 * of two, so that a device gone wild cannot flood the log.
 */
void dma_report_fault(const struct nst_log *log, uint64_t nth, const struct dma_request_id *id,
		      unsigned int reason);
/* @cache: what was stale, "IOTLB entry", "paging structure", "device TLB entry". */
void dma_report_stale(const struct nst_log *log, uint64_t nth, const struct dma_request_id *id,
		      const char *cache, struct dma_outcome cached, struct dma_outcome now);

#endif
