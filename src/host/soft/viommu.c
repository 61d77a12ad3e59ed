// SPDX-License-Identifier: BSD-3-Clause
/*
 * See viommu.h. Which types there are is the driver's to say; the VT-d driver of Linux has none.
 *
 * Order of checks and error codes: Linux 7.2 drivers/iommu/iommufd/viommu.c.
 */
#include "host/soft/soft.h"
#include "host/soft/hwpt.h"
#include "host/soft/attach.h"
#include "host/soft/vfio/device.h"
#include "host/soft/viommu.h"

#include <errno.h>

/* --- vIOMMU --------------------------------------------------------------------------- */

static int viommu_alloc(struct soft_ctx *ctx, const struct iommu_viommu_alloc *cmd,
			const struct soft_viommu_ops *ops, struct soft_viommu **out)
	REQUIRES(&ctx->lock)
{
	struct soft_object *parent = soft_object_find(ctx, cmd->hwpt_id, SOFT_HWPT_PAGING);
	struct soft_viommu *viommu;
	int err;

	if (!parent)
		return -ENOENT;
	viommu = soft_object_reserve(ctx, ops->size, SOFT_VIOMMU);
	if (!viommu)
		return -ENOMEM;
	viommu->ops = ops;
	viommu->ctx = ctx;
	viommu->parent = container_of(parent, struct soft_hwpt_paging, hwpt.obj);
	err = viommu->parent->nest_parent ? 0 : -EINVAL;
	if (!err && ops->init)
		err = ops->init(viommu, cmd);
	if (err) {
		soft_object_abort(ctx, &viommu->obj);
		return err;
	}
	parent->users++;
	*out = viommu;
	return 0;
}

static void release_viommu(struct soft_viommu *viommu)
{
	if (viommu->ops->fini)
		viommu->ops->fini(viommu);
	viommu->parent->hwpt.obj.users--;
}

int soft_viommu_alloc_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	struct iommu_viommu_alloc *cmd = ucmd->cmd;
	const struct soft_viommu_ops *ops = NULL;
	const struct soft_device *dev;
	struct soft_viommu *viommu;
	int err;

	if (cmd->flags || cmd->type == IOMMU_VIOMMU_TYPE_DEFAULT)
		return -EOPNOTSUPP;
	dev = soft_device_find(ctx, cmd->dev_id);
	if (!dev)
		return -ENOENT;
	if (dev->host->iommu->ops->viommu_ops)
		ops = dev->host->iommu->ops->viommu_ops(dev, cmd->type);
	if (!ops)
		return -EOPNOTSUPP;
	err = viommu_alloc(ctx, cmd, ops, &viommu);
	if (err)
		return err;
	cmd->out_viommu_id = viommu->obj.id;
	err = soft_ucmd_respond(ucmd);
	if (err) {
		release_viommu(viommu);
		soft_object_abort(ctx, &viommu->obj);
		return err;
	}
	soft_object_finalize(ctx, &viommu->obj);
	return 0;
}

void soft_viommu_destroy(struct soft_ctx *ctx, struct soft_object *obj)
{
	struct soft_viommu *viommu = container_of(obj, struct soft_viommu, obj);

	release_viommu(viommu);
	free(viommu);
}

struct soft_viommu *soft_viommu_find(struct soft_ctx *ctx, uint32_t id)
{
	struct soft_object *obj = soft_object_find(ctx, id, SOFT_VIOMMU);

	return obj ? container_of(obj, struct soft_viommu, obj) : NULL;
}

/* --- vDEVICE -------------------------------------------------------------------------- */

struct soft_vdevice *soft_vdevice_of(const struct soft_viommu *viommu,
				     const struct soft_bound *bound)
{
	return bound->vdevice && bound->vdevice->viommu == viommu ? bound->vdevice : NULL;
}

struct soft_vdevice *soft_vdevice_by_virt_id(const struct soft_viommu *viommu, uint64_t virt_id)
{
	for (struct soft_vdevice *v = viommu->vdevices; v; v = v->next)
		if (v->virt_id == virt_id)
			return v;
	return NULL;
}

/* For those who report of @dev, in any thread. */
static void know_vdevice(struct soft_device *dev, struct soft_vdevice *vdevice)
{
	mutex_lock(&dev->host->fault_lock);
	dev->vdevice = vdevice;
	mutex_unlock(&dev->host->fault_lock);
}

int soft_vdevice_alloc_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	struct iommu_vdevice_alloc *cmd = ucmd->cmd;
	struct soft_viommu *viommu = soft_viommu_find(ctx, cmd->viommu_id);
	struct soft_object *dev = soft_object_find(ctx, cmd->dev_id, SOFT_BOUND);
	struct soft_vdevice *vdevice;
	struct soft_bound *bound;
	int err;

	if (!viommu || !dev)
		return -ENOENT;
	bound = container_of(dev, struct soft_bound, obj);
	if (cmd->virt_id > viommu->ops->virt_id_last && !viommu->parent->iommu->quirks)
		return -EINVAL; /* Linux 7.2 takes it, and then cannot be told of the device */
	if (bound->vdevice || soft_vdevice_by_virt_id(viommu, cmd->virt_id))
		return -EEXIST;
	vdevice = soft_object_reserve(ctx, sizeof(*vdevice), SOFT_VDEVICE);
	if (!vdevice)
		return -ENOMEM;
	cmd->out_vdevice_id = vdevice->obj.id;
	err = soft_ucmd_respond(ucmd);
	if (err) {
		soft_object_abort(ctx, &vdevice->obj);
		return err;
	}
	vdevice->viommu = viommu;
	vdevice->bound = bound;
	vdevice->virt_id = cmd->virt_id;
	vdevice->next = viommu->vdevices;
	viommu->vdevices = vdevice;
	bound->vdevice = vdevice;
	know_vdevice(bound->dev, vdevice);
	viommu->obj.users++;
	soft_object_finalize(ctx, &vdevice->obj);
	return 0;
}

void soft_vdevice_destroy(struct soft_ctx *ctx, struct soft_object *obj)
{
	struct soft_vdevice *vdevice = container_of(obj, struct soft_vdevice, obj);
	struct soft_vdevice **link = &vdevice->viommu->vdevices;

	while (*link != vdevice)
		link = &(*link)->next;
	*link = vdevice->next;
	vdevice->bound->vdevice = NULL;
	know_vdevice(vdevice->bound->dev, NULL);
	vdevice->viommu->obj.users--;
	free(vdevice);
}

void soft_vdevice_orphan(struct soft_ctx *ctx, struct soft_bound *bound)
{
	if (bound->vdevice)
		soft_object_entomb(ctx, &bound->vdevice->obj);
}
