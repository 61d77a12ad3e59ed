/* SPDX-License-Identifier: BSD-3-Clause */
/* A guest's SMMUv3 as the host sees it, for test_viommu.c and test_veventq.c. */
#ifndef TESTS_CONFORMANCE_VIOMMU_H
#define TESTS_CONFORMANCE_VIOMMU_H

#include "smmu_guest.h"

#define ARM IOMMU_VIOMMU_TYPE_ARM_SMMUV3
#define TYPE_SMMU IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3
#define GUEST_BYTES (1ULL << 20)
#define IOVA 0x40000000ULL
#define VSID 0x123U
#define ASID 7

struct vsmmu {
	struct rig *rig;
	struct smmu_guest guest; /* at GPA 0 of @ioas */
	uint64_t context;	 /* with ASID, its tables empty */
	uint32_t ioas, parent, viommu;
	uint32_t bypass, abort, invalid; /* nested HWPTs that need no context */
	uint32_t vdevice, s1;		 /* make_attached_vsmmu() */
};

int viommu_alloc(struct rig *rig, uint32_t type, uint32_t dev, uint32_t hwpt, uint32_t *out);
int vdevice_alloc(struct rig *rig, uint32_t viommu, uint32_t dev, uint64_t virt, uint32_t *out);
int nested_alloc(struct vsmmu *v, uint32_t flags, uint64_t ste0, uint64_t ste1, uint32_t *out);
/* One command by one call. */
int command(struct vsmmu *v, uint64_t cmd0, uint64_t cmd1);

/* IOAS, parent, vIOMMU. */
void make_vsmmu(struct vsmmu *v, struct rig *rig);
/* And the HWPTs that need no context. */
void make_vsmmu_with_stes(struct vsmmu *v, struct rig *rig);
/* And stream VSID attached to a stage 1 that leads IOVA to GPA 0x4000. */
void make_attached_vsmmu(struct vsmmu *v, struct rig *rig);
/* Nothing may hold the guest's memory any more. */
void end_vsmmu(struct vsmmu *v);

#endif
