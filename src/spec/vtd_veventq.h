/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A proposal for the kernel's iommufd, not the kernel's ABI: vIOMMU and vEVENTQ of Intel VT-d,
 * so that a VMM hears of faults in the tables of its guest's first stage. What it means, and why
 * it is so: docs/vtd-veventq.md. Its names begin with X_, its type numbers are far from those
 * the kernel gives out, from 0 up: a host that has it not says EOPNOTSUPP, and a program that
 * does not ask for it cannot see it.
 */
#ifndef SPEC_VTD_VEVENTQ_H
#define SPEC_VTD_VEVENTQ_H

#include <linux/types.h>

#define X_IOMMU_VIOMMU_TYPE_INTEL_VTD 0x4e535401U /* "NST", 1 */
#define X_IOMMU_VEVENTQ_TYPE_INTEL_VTD 0x4e535401U

enum x_iommu_vevent_intel_vtd_flags {
	X_IOMMU_VEVENT_VTD_WRITE = 1 << 0, /* else a read */
	X_IOMMU_VEVENT_VTD_EXEC = 1 << 1,
	X_IOMMU_VEVENT_VTD_PRIV = 1 << 2,
	X_IOMMU_VEVENT_VTD_PASID = 1 << 3, /* the request had one */
};

/* Behind a struct iommufd_vevent_header: one request that was refused. */
struct x_iommu_vevent_intel_vtd {
	__u32 flags;
	__u32 virt_rid; /* the virt_id of the vDEVICE */
	__u32 pasid;	/* or 0 */
	__u32 reason;	/* VT-d 4.1 s7.1.3 Fault Reason Encodings */
	__aligned_u64 addr;
};
_Static_assert(sizeof(struct x_iommu_vevent_intel_vtd) == 24, "event record");

#endif
