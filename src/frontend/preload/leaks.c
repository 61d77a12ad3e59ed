// SPDX-License-Identifier: BSD-3-Clause
/* See leaks.h. */
#include "frontend/preload/leaks.h"

#include "host/soft/soft.h"

#include <stdio.h>

static const char *const type_names[SOFT_NUM_OBJECT_TYPES] = {
	[SOFT_IOAS] = "IOAS",
	[SOFT_HWPT_PAGING] = "paging HWPT",
	[SOFT_HWPT_NESTED] = "nested HWPT",
	[SOFT_BOUND] = "bound device",
	[SOFT_FAULT] = "fault queue",
	[SOFT_VIOMMU] = "vIOMMU",
	[SOFT_VDEVICE] = "vDEVICE",
	[SOFT_VEVENTQ] = "vEVENT queue",
	[SOFT_HW_QUEUE] = "hardware queue",
	[SOFT_ACCESS] = "access",
	[SOFT_SELFTEST] = "mock device",
};

static void count_objects(struct soft_ctx *ctx, struct preload_session *session)
{
	mutex_lock(&ctx->lock);
	for (size_t i = 0; i < ctx->num_slots; i++) {
		const struct soft_slot *slot = &ctx->slots[i];
		struct preload_objects *objects;

		if (slot->state != SOFT_SLOT_LIVE ||
		    (unsigned int)slot->object->type >= PRELOAD_MAX_TYPES)
			continue;
		objects = &session->objects[slot->object->type];
		snprintf(objects->type, sizeof(objects->type), "%s",
			 type_names[slot->object->type] ? type_names[slot->object->type] : "other");
		objects->live++;
		objects->unused += slot->object->users == 0;
	}
	mutex_unlock(&ctx->lock);
}

/* Every context once, by whatever descriptors it is reached. */
void leaks_count(struct soft_host *host, struct preload_session *session)
{
	CLEANUP(free_ptr) struct soft_ctx **seen = NULL;
	size_t num_seen = 0, num_files;

	mutex_lock(&host->lock);
	num_files = host->num_files;
	mutex_unlock(&host->lock);
	seen = alloc_array(num_files, sizeof(struct soft_ctx *));
	for (size_t fd = 0; seen && fd < num_files; fd++) {
		struct soft_file *file = soft_file_get(host, (int)fd);
		struct soft_ctx *ctx = file ? file->ops->context(file) : NULL;
		bool is_new = ctx;

		for (size_t i = 0; i < num_seen && is_new; i++)
			is_new = seen[i] != ctx;
		if (is_new) {
			count_objects(ctx, session);
			seen[num_seen++] = ctx;
		}
		if (file)
			soft_file_put(file);
	}
}
