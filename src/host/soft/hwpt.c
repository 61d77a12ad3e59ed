// SPDX-License-Identifier: BSD-3-Clause
/*
 * Hardware page tables: domains on an IOAS, and nested ones on a parent or a vIOMMU.
 * Which of them there can be is for the driver to say (iommu.h).
 *
 * Order of checks and error codes: Linux 7.2 drivers/iommu/iommufd/hw_pagetable.c.
 */
#include "host/soft/soft.h"
#include "host/soft/ioas.h"
#include "host/soft/hwpt.h"
#include "host/soft/fault.h"
#include "host/soft/attach.h"
#include "host/soft/vfio/device.h"
#include "host/soft/viommu.h"

#include <errno.h>

#define PAGING_FLAGS                                                      \
	(IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_DIRTY_TRACKING | \
	 IOMMU_HWPT_FAULT_ID_VALID | IOMMU_HWPT_ALLOC_PASID)

#define NESTED_FLAGS (IOMMU_HWPT_FAULT_ID_VALID | IOMMU_HWPT_ALLOC_PASID)

/* --- kinds of object ------------------------------------------------------------------ */

struct soft_hwpt *soft_object_to_hwpt(struct soft_object *obj)
{
	if (obj->type != SOFT_HWPT_PAGING && obj->type != SOFT_HWPT_NESTED)
		return NULL;
	return container_of(obj, struct soft_hwpt, obj);
}

struct soft_hwpt_paging *soft_hwpt_to_paging(struct soft_hwpt *hwpt)
{
	if (hwpt->obj.type == SOFT_HWPT_NESTED)
		return container_of(hwpt, struct soft_hwpt_nested, hwpt)->parent;
	return container_of(hwpt, struct soft_hwpt_paging, hwpt);
}

struct sanitizer_domain soft_hwpt_name(struct soft_hwpt *hwpt)
{
	struct sanitizer_domain name = {
		.hwpt = soft_object_name(&hwpt->obj),
		.ioas = soft_object_name(&soft_hwpt_to_paging(hwpt)->ioas->obj),
	};

	if (hwpt->obj.type == SOFT_HWPT_NESTED) {
		struct soft_viommu *viommu =
			container_of(hwpt, struct soft_hwpt_nested, hwpt)->viommu;

		if (viommu)
			name.viommu = soft_object_name(&viommu->obj);
	}
	return name;
}

/* --- paging domains ------------------------------------------------------------------- */

static void driver_fini(struct soft_ctx *ctx, struct soft_hwpt_paging *paging)
{
	struct soft_iommu *iommu = ctx->file.host->iommu;

	if (iommu->ops->paging_fini)
		iommu->ops->paging_fini(iommu, paging);
}

int soft_hwpt_paging_alloc(struct soft_ctx *ctx, const struct soft_device *dev,
			   struct soft_ioas *ioas, uint32_t flags,
			   const struct iommu_hwpt_alloc *data, struct soft_hwpt_paging **out)
{
	const struct soft_iommu_ops *ops = dev->host->iommu->ops;
	struct soft_hwpt_paging *paging;
	int err;

	paging = soft_object_reserve(ctx, sizeof(*paging), SOFT_HWPT_PAGING);
	if (!paging)
		return -ENOMEM;
	paging->ioas = ioas;
	paging->iommu = dev->host->iommu;
	paging->nest_parent = flags & IOMMU_HWPT_ALLOC_NEST_PARENT;
	paging->dirty_tracking = flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
	paging->hwpt.pasid_compat = flags & IOMMU_HWPT_ALLOC_PASID;
	paging->page_sizes = PAGE_SIZE_4K | 2ULL << 20 | 1ULL << 30;
	err = ops->paging_init(dev, flags & ~(uint32_t)IOMMU_HWPT_FAULT_ID_VALID, paging);
	if (!err && data) {
		err = ops->paging_data ? ops->paging_data(data, paging) : -EOPNOTSUPP;
		if (err)
			driver_fini(ctx, paging);
	}
	if (!err) {
		paging->dirty.page_lg2 = (unsigned int)__builtin_ctzll(paging->page_sizes);
		err = soft_ioas_add_domain(ioas, paging);
		if (err)
			driver_fini(ctx, paging);
	}
	if (err) {
		soft_object_abort(ctx, &paging->hwpt.obj);
		return err;
	}
	ioas->obj.users++;
	*out = paging;
	return 0;
}

void soft_hwpt_paging_abort(struct soft_ctx *ctx, struct soft_hwpt_paging *paging)
{
	soft_ioas_remove_domain(paging->ioas, paging);
	driver_fini(ctx, paging);
	paging->ioas->obj.users--;
	soft_object_abort(ctx, &paging->hwpt.obj);
}

void soft_hwpt_paging_destroy(struct soft_ctx *ctx, struct soft_object *obj)
{
	struct soft_hwpt_paging *paging = container_of(obj, struct soft_hwpt_paging, hwpt.obj);

	soft_hwpt_put_fault(&paging->hwpt);
	soft_ioas_remove_domain(paging->ioas, paging);
	driver_fini(ctx, paging);
	paging->ioas->obj.users--;
	free(paging);
}

/* --- IOMMU_HWPT_ALLOC ----------------------------------------------------------------- */

static int alloc_on_ioas(struct soft_ctx *ctx, const struct soft_device *dev,
			 struct soft_ioas *ioas, const struct iommu_hwpt_alloc *cmd,
			 struct soft_hwpt **out) REQUIRES(&ctx->lock)
{
	struct soft_hwpt_paging *paging;
	int err;

	if (cmd->flags & ~(uint32_t)PAGING_FLAGS)
		return -EOPNOTSUPP;
	if ((cmd->flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING) &&
	    !dev->host->iommu->ops->has_dirty_tracking(dev))
		return -EOPNOTSUPP;
	if ((cmd->flags & IOMMU_HWPT_FAULT_ID_VALID) && (cmd->flags & IOMMU_HWPT_ALLOC_NEST_PARENT))
		return -EOPNOTSUPP;
	err = soft_hwpt_paging_alloc(ctx, dev, ioas, cmd->flags, cmd->data_len ? cmd : NULL,
				     &paging);
	if (!err)
		*out = &paging->hwpt;
	return err;
}

static int alloc_on_parent(struct soft_ctx *ctx, struct soft_hwpt_paging *parent,
			   const struct iommu_hwpt_alloc *cmd, struct soft_hwpt **out)
	REQUIRES(&ctx->lock)
{
	struct soft_hwpt_nested *nested;
	int err;

	if ((cmd->flags & ~(uint32_t)NESTED_FLAGS) || !cmd->data_len ||
	    !ctx->file.host->iommu->ops->nested_init)
		return -EOPNOTSUPP;
	if (parent->auto_domain || !parent->nest_parent)
		return -EINVAL;
	err = soft_hwpt_nested_alloc(ctx, parent, NULL, cmd, &nested);
	if (!err)
		*out = &nested->hwpt;
	return err;
}

static int alloc_on_viommu(struct soft_ctx *ctx, struct soft_viommu *viommu,
			   const struct iommu_hwpt_alloc *cmd, struct soft_hwpt **out)
	REQUIRES(&ctx->lock)
{
	struct soft_hwpt_nested *nested;
	int err;

	if ((cmd->flags & ~(uint32_t)NESTED_FLAGS) || !cmd->data_len || !viommu->ops->nested_init)
		return -EOPNOTSUPP;
	err = soft_hwpt_nested_alloc(ctx, viommu->parent, viommu, cmd, &nested);
	if (!err)
		*out = &nested->hwpt;
	return err;
}

static void abort_hwpt(struct soft_ctx *ctx, struct soft_hwpt *hwpt) REQUIRES(&ctx->lock)
{
	if (hwpt->obj.type == SOFT_HWPT_NESTED)
		soft_hwpt_nested_abort(ctx, container_of(hwpt, struct soft_hwpt_nested, hwpt));
	else
		soft_hwpt_paging_abort(ctx, container_of(hwpt, struct soft_hwpt_paging, hwpt));
}

/* Step 5 and the rest of the reference: what @pt is decides what is made. */
static int alloc_on(struct soft_ctx *ctx, const struct soft_device *dev, struct soft_object *pt,
		    const struct iommu_hwpt_alloc *cmd, struct soft_hwpt **out) REQUIRES(&ctx->lock)
{
	switch (pt->type) {
	case SOFT_IOAS:
		return alloc_on_ioas(ctx, dev, container_of(pt, struct soft_ioas, obj), cmd, out);
	case SOFT_HWPT_PAGING:
		return alloc_on_parent(ctx, container_of(pt, struct soft_hwpt_paging, hwpt.obj),
				       cmd, out);
	case SOFT_VIOMMU:
		return alloc_on_viommu(ctx, container_of(pt, struct soft_viommu, obj), cmd, out);
	default:
		return -EINVAL;
	}
}

int soft_hwpt_alloc_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	struct iommu_hwpt_alloc *cmd = ucmd->cmd;
	struct soft_hwpt *hwpt = NULL;
	const struct soft_device *dev;
	struct soft_object *pt;
	int err;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	if ((cmd->data_type == IOMMU_HWPT_DATA_NONE) != !cmd->data_len)
		return -EINVAL;
	dev = soft_device_find(ctx, cmd->dev_id);
	if (!dev)
		return -ENOENT;
	pt = soft_object_find(ctx, cmd->pt_id, SOFT_ANY);
	if (!pt)
		return -EINVAL;
	err = alloc_on(ctx, dev, pt, cmd, &hwpt);
	if (err)
		return err;
	cmd->out_hwpt_id = hwpt->obj.id;
	if (cmd->flags & IOMMU_HWPT_FAULT_ID_VALID)
		err = soft_hwpt_hold_fault(ctx, hwpt, cmd->fault_id);
	if (!err)
		err = soft_ucmd_respond(ucmd);
	if (err) {
		soft_hwpt_put_fault(hwpt);
		abort_hwpt(ctx, hwpt);
		return err;
	}
	soft_object_finalize(ctx, &hwpt->obj);
	if (hwpt->obj.type == SOFT_HWPT_NESTED)
		atomic_fetch_add(&ctx->file.host->nested_hwpts, 1);
	return 0;
}
