// SPDX-License-Identifier: BSD-3-Clause
/*
 * The id space of a context: one for all types, lowest free number first, as the
 * kernel's. A reserved id cannot be found yet; a tombstone (what is left of an object
 * that went with its device) cannot be found any more and its number is not given out
 * again.
 */
#include "host/soft/soft.h"
#include "host/soft/ioas.h"
#include "host/soft/hwpt.h"
#include "host/soft/fault.h"
#include "host/soft/selftest/mock.h"
#include "host/soft/viommu.h"

#include <assert.h>
#include <errno.h>

#define MAX_ID INT32_MAX

/* How to end an object of each type: undo what it holds, then free it. Never fails. */
typedef void destroy_fn(struct soft_ctx *ctx, struct soft_object *obj);

static destroy_fn *const destroy_fns[SOFT_NUM_OBJECT_TYPES] = {
	[SOFT_IOAS] = soft_ioas_destroy,
	[SOFT_HWPT_PAGING] = soft_hwpt_paging_destroy,
	[SOFT_HWPT_NESTED] = soft_hwpt_nested_destroy,
	[SOFT_FAULT] = soft_fault_destroy,
	[SOFT_VIOMMU] = soft_viommu_destroy,
	[SOFT_VDEVICE] = soft_vdevice_destroy,
	[SOFT_VEVENTQ] = soft_veventq_destroy,
	[SOFT_HW_QUEUE] = soft_hw_queue_destroy,
	[SOFT_SELFTEST] = soft_selftest_destroy,
	/* SOFT_BOUND and SOFT_ACCESS are never without a user: their maker */
};

static int grow_slots(struct soft_ctx *ctx) REQUIRES(&ctx->lock)
{
	size_t count = ctx->num_slots ? 2 * ctx->num_slots : 16;
	struct soft_slot *slots;

	if (count > MAX_ID)
		return -ENOSPC;
	slots = alloc_resize(ctx->slots, count, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	for (size_t i = ctx->num_slots; i < count; i++)
		slots[i] = (struct soft_slot){ 0 };
	ctx->slots = slots;
	ctx->num_slots = count;
	return 0;
}

void *soft_object_reserve(struct soft_ctx *ctx, size_t size, enum soft_object_type type)
{
	size_t i = ctx->free_hint;
	struct soft_object *obj;

	while (i < ctx->num_slots && ctx->slots[i].state != SOFT_SLOT_FREE)
		i++;
	if (i == ctx->num_slots && grow_slots(ctx))
		return NULL;
	obj = alloc_array(1, size);
	if (!obj)
		return NULL;
	obj->type = type;
	obj->id = (uint32_t)i + 1;
	obj->serial = sanitizer_new_serial(ctx->file.host->sanitizer);
	ctx->slots[i] = (struct soft_slot){ obj, SOFT_SLOT_RESERVED };
	ctx->free_hint = i + 1;
	return obj;
}

void soft_object_finalize(struct soft_ctx *ctx, struct soft_object *obj)
{
	ctx->slots[obj->id - 1].state = SOFT_SLOT_LIVE;
}

static void release_id(struct soft_ctx *ctx, uint32_t id) REQUIRES(&ctx->lock)
{
	ctx->slots[id - 1] = (struct soft_slot){ 0 };
	ctx->free_hint = MIN(ctx->free_hint, (size_t)id - 1);
}

void soft_object_abort(struct soft_ctx *ctx, struct soft_object *obj)
{
	release_id(ctx, obj->id);
	free(obj);
}

struct soft_object *soft_object_find(struct soft_ctx *ctx, uint32_t id, enum soft_object_type type)
{
	struct soft_slot *slot;

	if (id == 0 || id > ctx->num_slots)
		return NULL;
	slot = &ctx->slots[id - 1];
	if (slot->state != SOFT_SLOT_LIVE || (type != SOFT_ANY && slot->object->type != type))
		return NULL;
	return slot->object;
}

void soft_object_remove(struct soft_ctx *ctx, struct soft_object *obj)
{
	release_id(ctx, obj->id);
	destroy_fns[obj->type](ctx, obj);
}

void soft_object_entomb(struct soft_ctx *ctx, struct soft_object *obj)
{
	ctx->slots[obj->id - 1] = (struct soft_slot){ .state = SOFT_SLOT_TOMBSTONE };
	destroy_fns[obj->type](ctx, obj);
}

int soft_destroy_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	const struct iommu_destroy *cmd = ucmd->cmd;
	struct soft_object *obj = soft_object_find(ctx, cmd->id, SOFT_ANY);

	if (!obj)
		return -ENOENT;
	if (obj->users)
		return -EBUSY;
	soft_object_remove(ctx, obj);
	return 0;
}

bool soft_ctx_is_empty(struct soft_ctx *ctx)
{
	for (size_t i = 0; i < ctx->num_slots; i++)
		if (ctx->slots[i].state == SOFT_SLOT_LIVE)
			return false;
	return true;
}

static size_t remove_unused(struct soft_ctx *ctx) REQUIRES(&ctx->lock)
{
	size_t removed = 0;

	for (size_t i = 0; i < ctx->num_slots; i++) {
		struct soft_slot *slot = &ctx->slots[i];

		if (slot->state == SOFT_SLOT_LIVE && !slot->object->users) {
			soft_object_remove(ctx, slot->object);
			removed++;
		}
	}
	return removed;
}

/* Holders go before what they hold; without cycles every pass finds at least one. */
void soft_ctx_remove_all(struct soft_ctx *ctx)
{
	while (remove_unused(ctx))
		;
	if (!soft_ctx_is_empty(ctx)) {
		log_error(ctx->file.host->log, "soft: objects of a context are held by nobody");
		assert(!"a user was not taken back");
	}
	free(ctx->slots);
	ctx->slots = NULL;
	ctx->num_slots = 0;
}
