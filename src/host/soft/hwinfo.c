// SPDX-License-Identifier: BSD-3-Clause
/*
 * IOMMU_GET_HW_INFO: the capability registers of the unit and what a device can do.
 * Order of checks: Linux 7.2 drivers/iommu/iommufd/device.c.
 */
#include "host/soft/soft.h"
#include "host/soft/attach.h"
#include "host/soft/vfio/device.h"

#include <errno.h>

/* Our answer to the caller's buffer: cut off at its end, or zeros up to it. */
static int copy_data(const struct iommu_hw_info *cmd, const union soft_hw_info *info, size_t size)
{
	size_t common = MIN(cmd->data_len, size);

	if (soft_copy_to_user(soft_user_ptr(cmd->data_uptr), info, common))
		return -EFAULT;
	return soft_clear_user(soft_user_ptr(cmd->data_uptr + common), cmd->data_len - common);
}

static uint64_t capabilities(const struct soft_device *dev)
{
	uint64_t caps = 0;

	if (dev->host->iommu->ops->has_dirty_tracking(dev))
		caps |= IOMMU_HW_CAP_DIRTY_TRACKING;
	if (dev->pasid_exec)
		caps |= IOMMU_HW_CAP_PCI_PASID_EXEC;
	if (dev->pasid_priv)
		caps |= IOMMU_HW_CAP_PCI_PASID_PRIV;
	if (!dev->has_ats)
		caps |= IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED;
	return caps;
}

int soft_hw_info_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	struct iommu_hw_info *cmd = ucmd->cmd;
	const struct soft_device *dev;
	struct soft_iommu *iommu = ctx->file.host->iommu;
	union soft_hw_info info = { 0 };

	if ((cmd->flags & ~(uint32_t)IOMMU_HW_INFO_FLAG_INPUT_TYPE) || cmd->__reserved[0] ||
	    cmd->__reserved[1] || cmd->__reserved[2])
		return -EOPNOTSUPP;
	dev = soft_device_find(ctx, cmd->dev_id);
	if (!dev)
		return -ENOENT;
	if ((cmd->flags & IOMMU_HW_INFO_FLAG_INPUT_TYPE) &&
	    cmd->in_data_type != IOMMU_HW_INFO_TYPE_DEFAULT &&
	    cmd->in_data_type != iommu->ops->hw_info_type)
		return -EOPNOTSUPP;
	iommu->ops->hw_info(iommu, &info);
	if (copy_data(cmd, &info, iommu->ops->hw_info_size))
		return -EFAULT;
	cmd->data_len = iommu->ops->hw_info_size;
	cmd->out_data_type = iommu->ops->hw_info_type;
	cmd->out_max_pasid_log2 = (uint8_t)dev->max_pasid_lg2;
	cmd->out_capabilities = capabilities(dev);
	return soft_ucmd_respond(ucmd);
}
