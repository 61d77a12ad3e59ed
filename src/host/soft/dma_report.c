// SPDX-License-Identifier: BSD-3-Clause
/* See dma_report.h. */
#include "host/soft/dma_report.h"

#include "base/log.h"

#include <stdio.h>

struct text {
	char text[40];
};

bool dma_report_is_due(uint64_t nth)
{
	return nth <= 8 || !(nth & (nth - 1));
}

struct dma_request_text dma_report_request(const struct dma_request_id *id)
{
	struct dma_request_text out;
	char pasid[20] = "";

	if (id->pasid != NST_NO_PASID)
		snprintf(pasid, sizeof(pasid), " PASID %u", id->pasid);
	snprintf(out.text, sizeof(out.text), "device %02x:%02x.%x%s %s iova 0x%llx", id->rid >> 8,
		 id->rid >> 3 & 31, id->rid & 7, pasid, id->write ? "write" : "read",
		 (unsigned long long)id->iova);
	return out;
}

static struct text to_text(struct dma_outcome outcome)
{
	struct text out;

	if (outcome.reason)
		snprintf(out.text, sizeof(out.text), "fault 0x%x", outcome.reason);
	else
		snprintf(out.text, sizeof(out.text), "host %p", outcome.host);
	return out;
}

void dma_report_fault(const struct nst_log *log, uint64_t nth, const struct dma_request_id *id,
		      unsigned int reason)
{
	if (dma_report_is_due(nth))
		log_warn(log, "soft: DMA fault (%llu): %s: reason 0x%x", (unsigned long long)nth,
			 dma_report_request(id).text, reason);
}

void dma_report_stale(const struct nst_log *log, uint64_t nth, const struct dma_request_id *id,
		      const char *cache, struct dma_outcome cached, struct dma_outcome now)
{
	if (dma_report_is_due(nth))
		log_warn(
			log,
			"check: stale %s used (%llu): %s: the cache says %s, the tables say %s: an invalidation is missing",
			cache, (unsigned long long)nth, dma_report_request(id).text,
			to_text(cached).text, to_text(now).text);
}
