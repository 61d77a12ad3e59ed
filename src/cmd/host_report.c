// SPDX-License-Identifier: BSD-3-Clause
/* See host_report.h. The JSON names are those of "nestor run" where the number is the same. */
#include "cmd/host_report.h"

#include "cmd/cmd.h"

#include <errno.h>
#include <json-c/json.h>
#include <stddef.h>
#include <stdio.h>

#define COUNTER(member, key, what, unit)                                 \
	{                                                                \
		offsetof(struct nst_soft_stats, member), key, what, unit \
	}

static const struct {
	size_t offset;
	const char *key, *what, *unit;
} counters[] = {
	COUNTER(dma_read_bytes, "dma_read_bytes", "memory read by DMA", "bytes"),
	COUNTER(dma_write_bytes, "dma_write_bytes", "memory written by DMA", "bytes"),
	COUNTER(s1_walks, "s1_walks", "first-stage walks", ""),
	COUNTER(iotlb_hits, "iotlb_hits", "IOTLB hits", ""),
	COUNTER(iotlb_misses, "iotlb_misses", "IOTLB misses", ""),
	COUNTER(nested_hwpts, "nested_hwpts", "nested HWPTs made", ""),
	COUNTER(invalidate_calls, "host_invalidate_calls", "invalidation calls", ""),
	COUNTER(invalidate_entries, "host_invalidate_entries", "  entries in them", ""),
	COUNTER(faults, "faults", "faults", ""),
	COUNTER(stale_hits, "stale_hits", "stale IOTLB entries used", ""),
	COUNTER(dma_after_unmap, "dma_after_unmap", "DMA after unmap", ""),
	COUNTER(dma_while_blocked, "dma_while_blocked", "DMA while blocked", ""),
};

#define NUM_COUNTERS (sizeof(counters) / sizeof(counters[0]))

static uint64_t value(const struct preload_session *session, size_t i)
{
	return *(const uint64_t *)((const char *)&session->stats + counters[i].offset);
}

/* Objects that nothing refers to are what a program forgets. */
static void print_objects(const struct preload_session *session)
{
	for (unsigned int i = 0; i < PRELOAD_MAX_TYPES; i++) {
		const struct preload_objects *objects = &session->objects[i];

		if (objects->live)
			fprintf(stderr, "  %-34s %12u  %s, %u of them unused\n",
				"objects at the end", objects->live, objects->type,
				objects->unused);
	}
}

void host_report_print(const struct preload_session *session)
{
	fputs("\n", stderr);
	for (size_t i = 0; i < NUM_COUNTERS; i++)
		fprintf(stderr, "  %-34s %12llu  %s\n", counters[i].what,
			(unsigned long long)value(session, i), counters[i].unit);
	if (session->check)
		print_objects(session);
	fputs("\n", stderr);
}

static struct json_object *objects_at_end(const struct preload_session *session)
{
	struct json_object *all = json_object_new_object();

	for (unsigned int i = 0; i < PRELOAD_MAX_TYPES; i++) {
		const struct preload_objects *objects = &session->objects[i];
		struct json_object *one;

		if (!objects->live)
			continue;
		one = json_object_new_object();
		json_object_object_add(one, "live", json_object_new_int64(objects->live));
		json_object_object_add(one, "unused", json_object_new_int64(objects->unused));
		json_object_object_add(all, objects->type, one);
	}
	return all;
}

int host_report_write(const struct preload_session *session, int status, const char *file)
{
	struct json_object *o = json_object_new_object();
	int ret;

	if (!o)
		return -ENOMEM;
	json_object_object_add(o, "exit_status", json_object_new_int(status));
	json_object_object_add(o, "hosts", json_object_new_int64(session->begun));
	/* false: killed, so the numbers may lack the last moment, and no objects were counted */
	json_object_object_add(o, "complete",
			       json_object_new_boolean(session->begun == session->ended));
	for (size_t i = 0; i < NUM_COUNTERS; i++)
		json_object_object_add(o, counters[i].key,
				       json_object_new_uint64(value(session, i)));
	json_object_object_add(o, "objects_at_end", objects_at_end(session));
	errno = 0;
	ret = json_object_to_file_ext(file, o, JSON_C_TO_STRING_PRETTY);
	json_object_put(o);
	return ret ? (errno ? -errno : -EIO) : 0;
}
