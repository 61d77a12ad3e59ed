// SPDX-License-Identifier: BSD-3-Clause
/*
 * Hardware queues: memory of the guest that hardware reads without translation. The caller
 * names it by addresses of the nesting parent; it must be contiguous and stays pinned as
 * long as the queue lives.
 *
 * What the kernel asks is whether physical pages follow each other. A process does not
 * learn that of its own memory, so here only one page is contiguous.
 *
 * Order of checks and error codes: Linux 7.2 drivers/iommu/iommufd/viommu.c.
 */
#include "host/soft/soft.h"
#include "host/soft/access.h"
#include "host/soft/viommu.h"

#include <errno.h>

/* -ERANGE, and what pinning says; -EFAULT: not contiguous */
static int pin_memory(struct soft_ctx *ctx, struct soft_hw_queue *queue) REQUIRES(&ctx->lock)
{
	uint64_t start = ALIGN_DOWN(queue->iova, PAGE_SIZE_4K), length;
	struct soft_pin *pin;
	int err;

	if (__builtin_add_overflow(queue->iova - start, queue->length, &length) ||
	    length > UINT64_MAX - (PAGE_SIZE_4K - 1))
		return -ERANGE;
	length = ALIGN_UP(length, PAGE_SIZE_4K);
	err = soft_access_create(ctx, NULL, true, &queue->access);
	if (err)
		return err;
	err = soft_access_change_ioas(queue->access, queue->viommu->parent->ioas);
	if (!err)
		err = soft_access_pin(queue->access, start, length, false, &pin);
	if (!err && length > PAGE_SIZE_4K)
		err = -EFAULT;
	if (err)
		soft_access_destroy(ctx, queue->access);
	return err;
}

static int init_queue(struct soft_ctx *ctx, struct soft_hw_queue *queue, uint32_t index)
	REQUIRES(&ctx->lock)
{
	int err = pin_memory(ctx, queue);

	if (err)
		return err;
	err = queue->viommu->ops->hw_queue_init(queue, index);
	if (err)
		soft_access_destroy(ctx, queue->access);
	return err;
}

static void release_queue(struct soft_ctx *ctx, struct soft_hw_queue *queue) REQUIRES(&ctx->lock)
{
	queue->viommu->ops->hw_queue_fini(queue);
	soft_access_destroy(ctx, queue->access);
	queue->viommu->obj.users--;
}

static int check_args(const struct iommu_hw_queue_alloc *cmd)
{
	if (cmd->flags || cmd->type == IOMMU_HW_QUEUE_TYPE_DEFAULT)
		return -EOPNOTSUPP;
	if (!cmd->length)
		return -EINVAL;
	return range_overflows(cmd->nesting_parent_iova, cmd->length) ? -EOVERFLOW : 0;
}

int soft_hw_queue_alloc_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	struct iommu_hw_queue_alloc *cmd = ucmd->cmd;
	struct soft_hw_queue *queue;
	struct soft_viommu *viommu;
	size_t size = 0;
	int err = check_args(cmd);

	if (err)
		return err;
	viommu = soft_viommu_find(ctx, cmd->viommu_id);
	if (!viommu)
		return -ENOENT;
	if (viommu->ops->hw_queue_size)
		size = viommu->ops->hw_queue_size(viommu, cmd->type);
	if (!size)
		return -EOPNOTSUPP;
	queue = soft_object_reserve(ctx, size, SOFT_HW_QUEUE);
	if (!queue)
		return -ENOMEM;
	queue->viommu = viommu;
	queue->type = cmd->type;
	queue->iova = cmd->nesting_parent_iova;
	queue->length = cmd->length;
	err = init_queue(ctx, queue, cmd->index);
	if (err) {
		soft_object_abort(ctx, &queue->obj);
		return err;
	}
	viommu->obj.users++;
	cmd->out_hw_queue_id = queue->obj.id;
	err = soft_ucmd_respond(ucmd);
	if (err) {
		release_queue(ctx, queue);
		soft_object_abort(ctx, &queue->obj);
		return err;
	}
	soft_object_finalize(ctx, &queue->obj);
	return 0;
}

void soft_hw_queue_destroy(struct soft_ctx *ctx, struct soft_object *obj)
{
	struct soft_hw_queue *queue = container_of(obj, struct soft_hw_queue, obj);

	release_queue(ctx, queue);
	free(queue);
}
