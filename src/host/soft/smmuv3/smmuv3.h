/* SPDX-License-Identifier: BSD-3-Clause */
/* Inside the SMMUv3 driver: smmuv3.c, and smmuv3_event.c for what the unit reports. */
#ifndef HOST_SOFT_SMMUV3_H
#define HOST_SOFT_SMMUV3_H

#include "host/soft/smmuv3/smmu_hw.h"
#include "host/soft/soft.h"
#include "host/soft/tag_pool.h"
#include "host/soft/vfio/device.h"

#define NUM_SIDS 65536

/* As whom the guest knows a device whose stage 1 is the guest's. */
struct vmaster {
	struct soft_viommu *viommu; /* NULL: not the guest's. Held by what is attached */
	uint32_t vsid;
};

/* Who is to be told what software has answered. */
struct smmuv3_stall {
	struct soft_smmuv3 *smmu;
	nst_rid sid;
};

struct soft_smmuv3 {
	struct soft_iommu iommu;
	struct smmu_hw *hw;
	bool stalls; /* every device can */
	struct tag_pool vmids, asids;
	struct vmaster vmasters[NUM_SIDS]; /* by soft_host.fault_lock */
	/* by STAG: its own from the event to the answer */
	struct smmuv3_stall stalled[SMMU_HW_STALL_MAX];
	/* streams whose devices may keep translations of their own */
	struct mutex ats_lock; /* a leaf */
	unsigned int num_ats GUARDED_BY(ats_lock);
	uint64_t ats[NUM_SIDS / 64] GUARDED_BY(ats_lock);
};

static inline struct soft_smmuv3 *to_smmuv3(const struct soft_iommu *iommu)
{
	return container_of(iommu, struct soft_smmuv3, iommu);
}

static inline struct soft_smmuv3 *smmuv3_of(const struct soft_device *dev)
{
	return to_smmuv3(dev->host->iommu);
}

/* A command of the driver's own: always legal. */
void smmuv3_issue(struct soft_smmuv3 *smmu, struct smmu_cmd cmd);

/* smmuv3_event.c; the opaque pointer is the soft_smmuv3. */
extern const struct smmu_hw_ops smmuv3_hw_ops;

#endif
