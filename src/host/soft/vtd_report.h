/* SPDX-License-Identifier: BSD-3-Clause */
/* What the software VT-d unit says of requests that went wrong: sentences for the log. */
#ifndef HOST_SOFT_VTD_REPORT_H
#define HOST_SOFT_VTD_REPORT_H

#include "spec/vtd_faults.h"

#include <nestor/log.h>
#include <stdbool.h>

/* A request as it came: @pasid is NST_NO_PASID for one without. */
struct vtd_request_id {
	nst_rid rid;
	uint32_t pasid;
	uint64_t iova;
	bool write;
};

/* What translating came to: @reason, or if that is none the memory at @host. */
struct vtd_outcome {
	enum vtd_fault_reason reason;
	const void *host;
};

/*
 * @nth counts the reports of their kind from 1: the first few are written, then each power
 * of two, so that a device gone wild cannot flood the log.
 */
void vtd_report_fault(const struct nst_log *log, uint64_t nth, const struct vtd_request_id *id,
		      enum vtd_fault_reason reason);
/* @cache: what was stale, "IOTLB entry" or "paging structure". */
void vtd_report_stale(const struct nst_log *log, uint64_t nth, const struct vtd_request_id *id,
		      const char *cache, struct vtd_outcome cached, struct vtd_outcome now);

#endif
