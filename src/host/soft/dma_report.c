// SPDX-License-Identifier: BSD-3-Clause
/* See dma_report.h. */
#include "host/soft/dma_report.h"

#include "base/log.h"

#include <stdio.h>

struct text {
	char text[40];
};

static bool worth_logging(uint64_t nth)
{
	return nth <= 8 || !(nth & (nth - 1));
}

static struct text requester(const struct dma_request_id *id)
{
	struct text out;
	int n = snprintf(out.text, sizeof(out.text), "device %02x:%02x.%x", id->rid >> 8,
			 id->rid >> 3 & 31, id->rid & 7);

	if (id->pasid != NST_NO_PASID)
		snprintf(out.text + n, sizeof(out.text) - (size_t)n, " PASID %u", id->pasid);
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
	if (worth_logging(nth))
		log_warn(log, "soft: DMA fault (%llu): %s %s iova 0x%llx: reason 0x%x",
			 (unsigned long long)nth, requester(id).text, id->write ? "write" : "read",
			 (unsigned long long)id->iova, reason);
}

void dma_report_stale(const struct nst_log *log, uint64_t nth, const struct dma_request_id *id,
		      const char *cache, struct dma_outcome cached, struct dma_outcome now)
{
	if (worth_logging(nth))
		log_warn(
			log,
			"check: stale %s used (%llu): %s %s iova 0x%llx: the cache says %s, the tables say %s: an invalidation is missing",
			cache, (unsigned long long)nth, requester(id).text,
			id->write ? "write" : "read", (unsigned long long)id->iova,
			to_text(cached).text, to_text(now).text);
}
