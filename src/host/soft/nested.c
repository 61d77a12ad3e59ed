// SPDX-License-Identifier: BSD-3-Clause
/*
 * Nested HWPTs, and the invalidation of what the unit caches of them.
 *
 * Order of checks and error codes: Linux 7.2 drivers/iommu/iommufd/hw_pagetable.c.
 */
#include "host/soft/soft.h"
#include "host/soft/hwpt.h"
#include "host/soft/fault.h"
#include "host/soft/viommu.h"

#include <errno.h>

#define MAX_ENTRY_LEN 4096
#define MAX_ENTRY_NUM (1U << 19)

/* What a nested HWPT holds: the vIOMMU, which holds the parent, or the parent. */
static struct soft_object *held_by(const struct soft_hwpt_nested *nested)
{
	return nested->viommu ? &nested->viommu->obj : &nested->parent->hwpt.obj;
}

int soft_hwpt_nested_alloc(struct soft_ctx *ctx, struct soft_hwpt_paging *parent,
			   struct soft_viommu *viommu, const struct iommu_hwpt_alloc *cmd,
			   struct soft_hwpt_nested **out)
{
	struct soft_hwpt_nested *nested;
	int err;

	nested = soft_object_reserve(ctx, sizeof(*nested), SOFT_HWPT_NESTED);
	if (!nested)
		return -ENOMEM;
	nested->parent = parent;
	nested->viommu = viommu;
	nested->hwpt.pasid_compat = cmd->flags & IOMMU_HWPT_ALLOC_PASID;
	err = viommu ? viommu->ops->nested_init(viommu, cmd, nested)
		     : parent->iommu->ops->nested_init(cmd, nested);
	if (err) {
		soft_object_abort(ctx, &nested->hwpt.obj);
		return err;
	}
	held_by(nested)->users++;
	*out = nested;
	return 0;
}

void soft_hwpt_nested_abort(struct soft_ctx *ctx, struct soft_hwpt_nested *nested)
{
	held_by(nested)->users--;
	soft_object_abort(ctx, &nested->hwpt.obj);
}

void soft_hwpt_nested_destroy(struct soft_ctx *ctx, struct soft_object *obj)
{
	struct soft_hwpt_nested *nested = container_of(obj, struct soft_hwpt_nested, hwpt.obj);

	soft_hwpt_put_fault(&nested->hwpt);
	held_by(nested)->users--;
	free(nested);
}

/* --- invalidation --------------------------------------------------------------------- */

static int invalidate_nested(struct soft_hwpt_nested *nested,
			     const struct iommu_hwpt_invalidate *cmd, uint32_t *done)
{
	struct soft_iommu *iommu = nested->parent->iommu;

	if (!iommu->ops->nested_invalidate)
		return -EOPNOTSUPP;
	return iommu->ops->nested_invalidate(iommu, nested, cmd, done);
}

static int invalidate_viommu(struct soft_viommu *viommu, const struct iommu_hwpt_invalidate *cmd,
			     uint32_t *done)
{
	if (!viommu->ops->invalidate)
		return -EOPNOTSUPP;
	return viommu->ops->invalidate(viommu, cmd, done);
}

static int check_and_invalidate(struct soft_ctx *ctx, const struct iommu_hwpt_invalidate *cmd,
				uint32_t *done) REQUIRES(&ctx->lock)
{
	struct soft_object *obj;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	if (cmd->entry_num && (!cmd->data_uptr || !cmd->entry_len ||
			       cmd->entry_len > MAX_ENTRY_LEN || cmd->entry_num > MAX_ENTRY_NUM))
		return -EINVAL;
	obj = soft_object_find(ctx, cmd->hwpt_id, SOFT_ANY);
	if (!obj)
		return -ENOENT;
	switch (obj->type) {
	case SOFT_HWPT_NESTED:
		return invalidate_nested(container_of(obj, struct soft_hwpt_nested, hwpt.obj), cmd,
					 done);
	case SOFT_VIOMMU:
		return invalidate_viommu(container_of(obj, struct soft_viommu, obj), cmd, done);
	default:
		return -EINVAL;
	}
}

int soft_hwpt_invalidate_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	struct iommu_hwpt_invalidate *cmd = ucmd->cmd;
	uint32_t done = 0;
	int err = check_and_invalidate(ctx, cmd, &done);

	atomic_fetch_add(&ctx->file.host->invalidate_calls, 1);
	atomic_fetch_add(&ctx->file.host->invalidate_entries, done);
	/* written back whatever happened: the caller learns how far it got */
	cmd->entry_num = done;
	return soft_ucmd_respond(ucmd) ? -EFAULT : err;
}
