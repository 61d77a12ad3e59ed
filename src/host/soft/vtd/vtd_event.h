/* SPDX-License-Identifier: BSD-3-Clause */
/* vIOMMUs of the VT-d driver, and what it reports to their vEVENTQs: see vtd_event.c. */
#ifndef HOST_SOFT_VTD_EVENT_H
#define HOST_SOFT_VTD_EVENT_H

#include "host/soft/viommu.h"
#include "host/soft/vtd/vtd_hw.h"

extern const struct soft_viommu_ops soft_vtd_viommu_ops;

/* A nested HWPT's data of type VTD_S1. Errors: -EOPNOTSUPP, -EINVAL, -EFAULT. */
NST_MUST_CHECK int soft_vtd_nested_init(const struct iommu_hwpt_alloc *cmd,
					struct soft_hwpt_nested *nested);

/* vtd_hw_config.fault; @opaque is the host. */
void soft_vtd_report_fault(void *opaque, const struct vtd_hw_fault *fault);

#endif
