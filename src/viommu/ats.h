/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Translation Requests of emulated devices (nst_viommu_ats_translate()): what is the same for every
 * kind of unit. One page is found, and the others of the same request follow while they have the
 * same size: PCIe 6.0 s10.2.
 */
#ifndef VIOMMU_ATS_H
#define VIOMMU_ATS_H

#include <nestor/viommu.h>

/*
 * The page of @req->iova, for writing too if @write and it may be written. Returns 0, with *@status
 * and, if that is NST_ATS_SUCCESS, *@entry; or -EEXIST: not an emulated device.
 */
typedef int ats_page_fn(void *unit, struct nst_translate_request *req, bool write,
			struct nst_ats_entry *entry, enum nst_ats_status *status);

NST_MUST_CHECK int ats_translate(ats_page_fn *page, void *unit, const struct nst_ats_request *req,
				 struct nst_ats_entry *entries, unsigned int max,
				 unsigned int *count, enum nst_ats_status *status);

#endif
