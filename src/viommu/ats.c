// SPDX-License-Identifier: BSD-3-Clause
/* See ats.h. */
#include "viommu/ats.h"

#include "base/bits.h"

int ats_translate(ats_page_fn *page, void *unit, const struct nst_ats_request *req,
		  struct nst_ats_entry *entries, unsigned int max, unsigned int *count,
		  enum nst_ats_status *status)
{
	struct nst_translate_request one = {
		.rid = req->rid,
		.pasid = req->pasid,
		.iova = { req->iova.v & ~(PAGE_SIZE_4K - 1) },
		.privileged = req->privileged,
	};
	uint64_t end = one.iova.v + ((uint64_t)req->pages << PAGE_SHIFT_4K);
	struct nst_ats_entry entry;
	unsigned int n = 0;
	int ret = page(unit, &one, !req->no_write, &entry, status);

	if (ret)
		return ret;
	*count = 0;
	while (*status == NST_ATS_SUCCESS) {
		enum nst_ats_status next;

		entries[n++] = entry;
		*count = n;
		one.iova.v = (one.iova.v & ~(entry.size - 1)) + entry.size;
		if (n == max || one.iova.v >= end || !one.iova.v)
			break;
		ret = page(unit, &one, !req->no_write, &entry, &next);
		if (ret || next != NST_ATS_SUCCESS || entry.size != entries[0].size)
			break;
	}
	return 0;
}
