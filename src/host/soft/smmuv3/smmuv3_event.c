// SPDX-License-Identifier: BSD-3-Clause
/*
 * What the SMMUv3 reports, and who hears of it: a fault that terminated its transaction and is
 * of the guest's stage 1 goes to the vEVENTQ; one that stalled, of whatever stage, becomes a
 * page request, and the answer CMD_RESUME. A stall that nobody wants is answered at once.
 *
 * Source: Linux 7.2 drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c, arm_smmu_handle_event() and
 * arm_smmu_page_response(). There only devices stall whose firmware, or quirk, says that they
 * can (the property dma-can-stall); here all devices of a host that is made with stalls.
 */
#include "host/soft/smmuv3/smmuv3.h"

#include "host/soft/fault.h"
#include "host/soft/viommu.h"

static bool is_of_stage_1(const struct smmu_event *event)
{
	switch (FIELD_GET(SMMU_EVENT_0_TYPE, le64_get(event->qw[0]))) {
	case SMMU_C_BAD_STE:
	case SMMU_F_STREAM_DISABLED:
	case SMMU_C_BAD_SUBSTREAMID:
	case SMMU_C_BAD_CD:
	case SMMU_F_TRANSLATION:
	case SMMU_F_ADDR_SIZE:
	case SMMU_F_ACCESS:
	case SMMU_F_PERMISSION:
		return !(le64_get(event->qw[1]) & SMMU_EVENT_1_S2);
	default:
		return false;
	}
}

/* What is not for a guest, or has no queue to go to, the unit has logged. */
static void report_event(struct soft_smmuv3 *smmu, nst_rid sid, const struct smmu_event *event)
{
	struct mutex *lock = &smmu->iommu.host->fault_lock;
	struct smmu_event virt = *event;
	const struct vmaster *vmaster = &smmu->vmasters[sid];

	if (!is_of_stage_1(event))
		return;
	mutex_lock(lock);
	virt.qw[0] = le64_make((le64_get(event->qw[0]) & ~SMMU_EVENT_0_SID) |
			       FIELD_PREP(SMMU_EVENT_0_SID, vmaster->vsid));
	if (vmaster->viommu &&
	    soft_viommu_report_event(vmaster->viommu, IOMMU_VEVENTQ_TYPE_ARM_SMMUV3, &virt,
				     sizeof(virt)))
		log_debug(smmu->iommu.log, "soft: no vEVENTQ for an event of device %04x", sid);
	mutex_unlock(lock);
}

/* --- stalls --------------------------------------------------------------------------- */

/* Only the thread of a device waits: no register access has begun what it does, and so nobody
 * who could answer waits for it. */
static bool may_stall(void *opaque, nst_rid sid)
{
	const struct soft_smmuv3 *smmu = opaque;
	const struct soft_device *dev = soft_worker_device();

	return dev && dev->host == smmu->iommu.host && dev->rid == sid;
}

/* soft_page_response_fn: the STAG is free with the command, and the place of @opaque, too. */
static void resume(void *opaque, uint32_t code)
{
	const struct smmuv3_stall *stall = opaque;
	struct soft_smmuv3 *smmu = stall->smmu;
	uint64_t action = code == IOMMUFD_PAGE_RESP_SUCCESS ? SMMU_RESUME_0_AC : SMMU_RESUME_0_AB;
	uint64_t stag = (uint64_t)(stall - smmu->stalled);
	struct smmu_cmd cmd = {
		.qw[0] = le64_make(FIELD_PREP(SMMU_CMD_0_OP, SMMU_CMD_RESUME) | action |
				   FIELD_PREP(SMMU_RESUME_0_SID, stall->sid)),
		.qw[1] = le64_make(FIELD_PREP(SMMU_RESUME_1_STAG, stag)),
	};

	smmuv3_issue(smmu, cmd);
}

static void report_stall(struct soft_smmuv3 *smmu, nst_rid sid, const struct smmu_event *event)
{
	const uint64_t qw0 = le64_get(event->qw[0]), qw1 = le64_get(event->qw[1]);
	const uint32_t stag = FIELD_GET(SMMU_EVENT_1_STAG, qw1);
	struct soft_page_request req = {
		.pasid = qw0 & SMMU_EVENT_0_SSV ? FIELD_GET(SMMU_EVENT_0_SSID, qw0) : NST_NO_PASID,
		.group = stag,
		.perm = qw1 & SMMU_EVENT_1_RNW ? IOMMU_PGFAULT_PERM_READ : IOMMU_PGFAULT_PERM_WRITE,
		.addr = le64_get(event->qw[2]),
		.last = true,
	};

	if (qw1 & SMMU_EVENT_1_IND)
		req.perm |= IOMMU_PGFAULT_PERM_EXEC;
	if (qw1 & SMMU_EVENT_1_PNU)
		req.perm |= IOMMU_PGFAULT_PERM_PRIV;
	smmu->stalled[stag] = (struct smmuv3_stall){ smmu, sid };
	soft_report_page_request(soft_worker_device(), &req, resume, &smmu->stalled[stag]);
}

static void on_event(void *opaque, nst_rid sid, const struct smmu_event *event)
{
	if (le64_get(event->qw[1]) & SMMU_EVENT_1_STALL)
		report_stall(opaque, sid, event);
	else
		report_event(opaque, sid, event);
}

static void on_ats_invalidate(void *opaque, nst_rid sid, uint32_t pasid, bool global, nst_iova iova,
			      nst_iova last)
{
	struct soft_smmuv3 *smmu = opaque;

	soft_ats_invalidate(smmu->iommu.host, sid, global ? ENDPOINT_EVERY_PASID : pasid, iova.v,
			    last.v);
}

const struct smmu_hw_ops smmuv3_hw_ops = {
	.event = on_event,
	.may_stall = may_stall,
	.ats_invalidate = on_ats_invalidate,
};
