/* SPDX-License-Identifier: BSD-3-Clause */
/* Names for the debug log. */
#ifndef FRONTEND_PRELOAD_CALLS_H
#define FRONTEND_PRELOAD_CALLS_H

/* "IOMMU_HWPT_ALLOC", or "?" for a request that is none of iommufd's or VFIO's. */
const char *call_name(unsigned long request);

#endif
