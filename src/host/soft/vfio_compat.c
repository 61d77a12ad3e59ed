// SPDX-License-Identifier: BSD-3-Clause
/*
 * The VFIO container calls that iommufd answers on its own descriptor, and which IOAS
 * they act on. Only what a program asks before it decides for the native calls is here:
 * version, extensions, IOMMU type. Source: Linux 7.2 drivers/iommu/iommufd/vfio_compat.c.
 */
#include "host/soft/soft.h"

#include <errno.h>
#include <linux/vfio.h>

int soft_vfio_ioas_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	struct iommu_vfio_ioas *cmd = ucmd->cmd;
	struct soft_ioas *ioas;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	switch (cmd->op) {
	case IOMMU_VFIO_IOAS_GET:
		if (!ctx->compat_ioas)
			return -ENODEV;
		cmd->ioas_id = ctx->compat_ioas->obj.id;
		return soft_ucmd_respond(ucmd);
	case IOMMU_VFIO_IOAS_SET:
		ioas = soft_ioas_find(ctx, cmd->ioas_id);
		if (!ioas)
			return -ENOENT;
		ctx->compat_ioas = ioas;
		return 0;
	case IOMMU_VFIO_IOAS_CLEAR:
		ctx->compat_ioas = NULL;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

static int check_extension(struct soft_ctx *ctx, unsigned long extension) REQUIRES(&ctx->lock)
{
	switch (extension) {
	case VFIO_TYPE1_IOMMU:
	case VFIO_TYPE1v2_IOMMU:
	case VFIO_UNMAP_ALL:
		return 1;
	case VFIO_DMA_CC_IOMMU:
		return ctx->compat_ioas ? 1 : -ENODEV;
	default:
		return 0;
	}
}

int soft_vfio_compat_ioctl(struct soft_ctx *ctx, unsigned long request, void *arg)
{
	unsigned long value = (unsigned long)(uintptr_t)arg;

	switch (request) {
	case VFIO_GET_API_VERSION:
		return VFIO_API_VERSION;
	case VFIO_CHECK_EXTENSION:
		return check_extension(ctx, value);
	case VFIO_SET_IOMMU:
		if (value != VFIO_TYPE1_IOMMU && value != VFIO_TYPE1v2_IOMMU)
			return -EINVAL;
		return ctx->compat_ioas ? 0 : -ENODEV;
	default:
		return -ENOTTY;
	}
}
