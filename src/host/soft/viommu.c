// SPDX-License-Identifier: BSD-3-Clause
/*
 * The objects of iommufd that need a vIOMMU. The VT-d driver has no
 * vIOMMU type, so no id can name one; each call makes the checks that the kernel makes
 * before it finds that out. Order of checks: Linux 7.2 drivers/iommu/iommufd/viommu.c
 * and eventq.c.
 */
#include "host/soft/soft.h"

#include <errno.h>

#define MAX_VEVENTQ_DEPTH (1U << 19)

int soft_viommu_alloc_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	const struct iommu_viommu_alloc *cmd = ucmd->cmd;

	if (cmd->flags || cmd->type == IOMMU_VIOMMU_TYPE_DEFAULT)
		return -EOPNOTSUPP;
	if (!soft_device_find(ctx, cmd->dev_id))
		return -ENOENT;
	return -EOPNOTSUPP;
}

int soft_vdevice_alloc_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	return -ENOENT; /* no such vIOMMU */
}

int soft_veventq_alloc_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	const struct iommu_veventq_alloc *cmd = ucmd->cmd;

	if (cmd->flags || cmd->__reserved || cmd->type == IOMMU_VEVENTQ_TYPE_DEFAULT)
		return -EOPNOTSUPP;
	if (!cmd->veventq_depth || cmd->veventq_depth > MAX_VEVENTQ_DEPTH)
		return -EINVAL;
	return -ENOENT;
}

int soft_hw_queue_alloc_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	const struct iommu_hw_queue_alloc *cmd = ucmd->cmd;

	if (cmd->flags || cmd->type == IOMMU_HW_QUEUE_TYPE_DEFAULT)
		return -EOPNOTSUPP;
	if (!cmd->length)
		return -EINVAL;
	if (cmd->nesting_parent_iova + cmd->length - 1 < cmd->nesting_parent_iova)
		return -EOVERFLOW;
	return -ENOENT;
}
