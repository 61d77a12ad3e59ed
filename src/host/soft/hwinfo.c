// SPDX-License-Identifier: BSD-3-Clause
/*
 * IOMMU_GET_HW_INFO: the capability registers of the unit and what a device can do.
 * Order of checks: Linux 7.2 drivers/iommu/iommufd/device.c.
 */
#include "host/soft/soft.h"

#include <errno.h>

/* Our answer to the caller's buffer: cut off at its end, or zeros up to it. */
static int copy_data(const struct iommu_hw_info *cmd, const struct iommu_hw_info_vtd *info)
{
	size_t common = MIN(cmd->data_len, sizeof(*info));

	if (soft_copy_to_user(soft_user_ptr(cmd->data_uptr), info, common))
		return -EFAULT;
	return soft_clear_user(soft_user_ptr(cmd->data_uptr + common), cmd->data_len - common);
}

static uint64_t capabilities(const struct soft_device *dev)
{
	uint64_t caps = 0;

	if (soft_vtd_has_dirty_tracking(dev->host))
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
	struct iommu_hw_info_vtd info = { .flags = IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17 };

	if ((cmd->flags & ~(uint32_t)IOMMU_HW_INFO_FLAG_INPUT_TYPE) || cmd->__reserved[0] ||
	    cmd->__reserved[1] || cmd->__reserved[2])
		return -EOPNOTSUPP;
	dev = soft_device_find(ctx, cmd->dev_id);
	if (!dev)
		return -ENOENT;
	if ((cmd->flags & IOMMU_HW_INFO_FLAG_INPUT_TYPE) &&
	    cmd->in_data_type != IOMMU_HW_INFO_TYPE_DEFAULT &&
	    cmd->in_data_type != IOMMU_HW_INFO_TYPE_INTEL_VTD)
		return -EOPNOTSUPP;
	info.cap_reg = vtd_hw_cap(dev->host->vtd);
	info.ecap_reg = vtd_hw_ecap(dev->host->vtd);
	if (copy_data(cmd, &info))
		return -EFAULT;
	cmd->data_len = sizeof(info);
	cmd->out_data_type = IOMMU_HW_INFO_TYPE_INTEL_VTD;
	cmd->out_max_pasid_log2 = (uint8_t)dev->max_pasid_lg2;
	cmd->out_capabilities = capabilities(dev);
	return soft_ucmd_respond(ucmd);
}
