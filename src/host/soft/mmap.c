// SPDX-License-Identifier: BSD-3-Clause
/* See mmap.h. */
#include "host/soft/soft.h"
#include "host/soft/mmap.h"

#include <errno.h>
#include <sys/mman.h>

/* A live mapping, or what is left of it. A hole in the middle is not remembered. */
struct soft_mapping {
	struct soft_mapping *next;
	uintptr_t start, end;
	struct soft_object *owner; /* held */
	struct soft_file *file;	   /* of the context, held */
};

/* --- what can be mapped -------------------------------------------------------------------- */

int soft_mmap_add(struct soft_ctx *ctx, struct soft_object *owner, int memfd, uint64_t length,
		  uint64_t *offset)
{
	struct soft_mmap **link = &ctx->mmaps, *entry = alloc_object(struct soft_mmap);
	uint64_t at = PAGE_SIZE_4K;

	if (!entry)
		return -ENOMEM;
	for (; *link && (*link)->offset - at < length; link = &(*link)->next)
		at = (*link)->offset + (*link)->length;
	*entry = (struct soft_mmap){
		.next = *link, .owner = owner, .offset = at, .length = length, .memfd = memfd
	};
	*link = entry;
	*offset = at;
	return 0;
}

void soft_mmap_remove(struct soft_ctx *ctx, uint64_t offset)
{
	struct soft_mmap **link = &ctx->mmaps, *entry;

	while ((*link)->offset != offset)
		link = &(*link)->next;
	entry = *link;
	*link = entry->next;
	free(entry);
}

static const struct soft_mmap *find_mmap(struct soft_ctx *ctx, uint64_t offset, uint64_t length)
	REQUIRES(&ctx->lock)
{
	for (const struct soft_mmap *m = ctx->mmaps; m; m = m->next)
		if (m->offset == offset && m->length == length)
			return m;
	return NULL;
}

/* --- mapping ------------------------------------------------------------------------------- */

static int check_args(size_t length, int prot, int flags, off_t offset)
{
	if (!length || !IS_ALIGNED((uint64_t)offset, PAGE_SIZE_4K) ||
	    !IS_ALIGNED(length, PAGE_SIZE_4K) || (flags & MAP_TYPE) == MAP_PRIVATE)
		return -EINVAL;
	return prot & PROT_EXEC ? -EPERM : 0;
}

static int map_locked(struct soft_ctx *ctx, size_t length, int prot, off_t offset,
		      struct soft_mapping *mapping) REQUIRES(&ctx->lock)
{
	const struct soft_mmap *entry = find_mmap(ctx, (uint64_t)offset, length);
	void *mapped;

	if (!entry)
		return -ENXIO;
	mapped = mmap(NULL, length, prot, MAP_SHARED, entry->memfd, 0);
	if (mapped == MAP_FAILED)
		return -errno;
	*mapping = (struct soft_mapping){ .start = (uintptr_t)mapped,
					  .end = (uintptr_t)mapped + length,
					  .owner = entry->owner,
					  .file = &ctx->file };
	entry->owner->users++;
	return 0;
}

void *soft_mmap_map(struct soft_file *file, size_t length, int prot, int flags, off_t offset,
		    int *err)
{
	struct soft_ctx *ctx = to_soft_ctx(file);
	struct soft_mapping *mapping = NULL;

	*err = check_args(length, prot, flags, offset);
	if (!*err) {
		mapping = alloc_object(struct soft_mapping);
		*err = mapping ? 0 : -ENOMEM;
	}
	if (*err)
		return NULL;
	mutex_lock(&ctx->lock);
	*err = map_locked(ctx, length, prot, offset, mapping);
	mutex_unlock(&ctx->lock);
	if (*err) {
		free(mapping);
		return NULL;
	}
	atomic_fetch_add(&file->refs, 1);
	mutex_lock(&file->host->lock);
	mapping->next = file->host->mappings;
	file->host->mappings = mapping;
	mutex_unlock(&file->host->lock);
	return (void *)mapping->start;
}

/* --- unmapping ----------------------------------------------------------------------------- */

bool soft_is_mapped(struct soft_host *host, const void *addr, size_t length)
{
	uintptr_t start = (uintptr_t)addr;
	bool found = false;

	mutex_lock(&host->lock);
	for (const struct soft_mapping *m = host->mappings; m && !found; m = m->next)
		found = length && start < m->end &&
			(start >= m->start || m->start - start < length);
	mutex_unlock(&host->lock);
	return found;
}

/* Without [start, end). */
static void trim(struct soft_mapping *m, uintptr_t start, uintptr_t end)
{
	if (start <= m->start && end > m->start)
		m->start = MIN(end, m->end);
	else if (start < m->end && end >= m->end)
		m->end = start;
}

/* The mappings of which nothing is left outside of [start, end), out of the list. */
static struct soft_mapping *take_ended(struct soft_host *host, uintptr_t start, uintptr_t end)
{
	struct soft_mapping **link = &host->mappings, *ended = NULL;

	mutex_lock(&host->lock);
	while (*link) {
		struct soft_mapping *m = *link;

		trim(m, start, end);
		if (m->start != m->end) {
			link = &m->next;
			continue;
		}
		*link = m->next;
		m->next = ended;
		ended = m;
	}
	mutex_unlock(&host->lock);
	return ended;
}

static void end_mappings(struct soft_mapping *list)
{
	while (list) {
		struct soft_mapping *m = list;
		struct soft_ctx *ctx = to_soft_ctx(m->file);

		list = m->next;
		mutex_lock(&ctx->lock);
		m->owner->users--;
		mutex_unlock(&ctx->lock);
		soft_file_put(m->file);
		free(m);
	}
}

int soft_munmap(struct soft_host *host, void *addr, size_t length)
{
	uintptr_t start = (uintptr_t)addr, end = ALIGN_UP(start + length, PAGE_SIZE_4K);
	struct soft_mapping *ended;
	int err;

	if (!IS_ALIGNED(start, PAGE_SIZE_4K) || end <= start)
		return -EINVAL;
	/* before it: the next mapping may get the same addresses */
	ended = take_ended(host, start, end);
	err = munmap(addr, length) ? -errno : 0;
	end_mappings(ended);
	return err;
}

void soft_munmap_all(struct soft_host *host)
{
	struct soft_mapping *all;

	mutex_lock(&host->lock);
	all = host->mappings;
	host->mappings = NULL;
	mutex_unlock(&host->lock);
	for (const struct soft_mapping *m = all; m; m = m->next)
		munmap((void *)m->start, m->end - m->start);
	end_mappings(all);
}
