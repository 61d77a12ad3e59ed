// SPDX-License-Identifier: BSD-3-Clause
/*
 * See mem.h. Every change makes a new map and publishes it; the old one is freed when the
 * last reader has left (epoch.h).
 */
#include "base/mem.h"

#include "base/alloc.h"
#include "base/bits.h"
#include "base/epoch.h"
#include "base/lock.h"
#include "base/range_map.h"

#include <errno.h>
#include <string.h>

struct nst_mem {
	struct epoch epoch;
	_Atomic(struct range_map *) map;
	struct mutex change_lock; /* serialises changes; outermost, nothing taken inside */
};

static void free_map(struct range_map *map)
{
	if (map)
		range_map_fini(map);
	free(map);
}

int nst_mem_create(struct nst_mem **out)
{
	struct nst_mem *mem = alloc_object(struct nst_mem);
	struct range_map *empty = alloc_object(struct range_map);

	if (!mem || !empty) {
		free(mem);
		free(empty);
		return -ENOMEM;
	}
	mutex_init(&mem->change_lock);
	atomic_store(&mem->map, empty);
	*out = mem;
	return 0;
}

void nst_mem_destroy(struct nst_mem *mem)
{
	if (!mem)
		return;
	free_map(atomic_load(&mem->map));
	mutex_fini(&mem->change_lock);
	free(mem);
}

/* A copy to be changed and then published, or NULL. */
static struct range_map *begin_locked(struct nst_mem *mem) REQUIRES(mem->change_lock)
{
	struct range_map *next = alloc_object(struct range_map);

	if (next && range_map_copy(next, atomic_load(&mem->map))) {
		free(next);
		return NULL;
	}
	return next;
}

static void publish_locked(struct nst_mem *mem, struct range_map *next) REQUIRES(mem->change_lock)
{
	struct range_map *old = atomic_exchange(&mem->map, next);

	epoch_synchronize(&mem->epoch);
	free_map(old);
}

static int add_locked(struct nst_mem *mem, const struct mem_range *range) REQUIRES(mem->change_lock)
{
	struct range_map *next = begin_locked(mem);
	int ret = next ? range_map_insert(next, range) : -ENOMEM;

	if (ret)
		free_map(next);
	else
		publish_locked(mem, next);
	return ret;
}

int nst_mem_add(struct nst_mem *mem, nst_gpa gpa, uint64_t size, void *hva, bool writable)
{
	struct mem_range range = {
		.start = gpa.v,
		.last = gpa.v + size - 1,
		.hva = { (uintptr_t)hva },
		.perm = RANGE_READ | (writable ? RANGE_WRITE : 0),
	};
	int ret;

	if (!size || range_overflows(gpa.v, size))
		return -EINVAL;
	mutex_lock(&mem->change_lock);
	ret = add_locked(mem, &range);
	mutex_unlock(&mem->change_lock);
	return ret;
}

static int remove_locked(struct nst_mem *mem, uint64_t first, uint64_t last)
	REQUIRES(mem->change_lock)
{
	const struct range_map *map = atomic_load(&mem->map);
	size_t at = range_map_lower_bound(map, first);
	struct range_map *next;

	if (at == map->count || map->ranges[at].start != first || map->ranges[at].last != last)
		return -ENOENT;
	next = begin_locked(mem);
	if (!next)
		return -ENOMEM;
	range_map_remove_at(next, at);
	publish_locked(mem, next);
	return 0;
}

int nst_mem_remove(struct nst_mem *mem, nst_gpa gpa, uint64_t size)
{
	int ret;

	if (!size || range_overflows(gpa.v, size))
		return -ENOENT;
	mutex_lock(&mem->change_lock);
	ret = remove_locked(mem, gpa.v, gpa.v + size - 1);
	mutex_unlock(&mem->change_lock);
	return ret;
}

/*
 * Aligned words are single accesses, because the guest may be using them at this moment; what is
 * left of a copy that is not aligned comes as it does.
 */
static void copy_in(uint8_t *buf, const uint8_t *hva, size_t size)
{
	uint64_t v64;
	uint32_t v32;

	if (size >= 4 && !IS_ALIGNED((uintptr_t)hva, 8) && IS_ALIGNED((uintptr_t)hva, 4)) {
		v32 = __atomic_load_n((const uint32_t *)hva, __ATOMIC_ACQUIRE);
		memcpy(buf, &v32, 4);
		buf += 4;
		hva += 4;
		size -= 4;
	}
	if (IS_ALIGNED((uintptr_t)hva, 8))
		for (; size >= 8; buf += 8, hva += 8, size -= 8) {
			v64 = __atomic_load_n((const uint64_t *)hva, __ATOMIC_ACQUIRE);
			memcpy(buf, &v64, 8);
		}
	if (size >= 4 && IS_ALIGNED((uintptr_t)hva, 4)) {
		v32 = __atomic_load_n((const uint32_t *)hva, __ATOMIC_ACQUIRE);
		memcpy(buf, &v32, 4);
		buf += 4;
		hva += 4;
		size -= 4;
	}
	if (size)
		memcpy(buf, hva, size);
}

static void copy_out(uint8_t *hva, const uint8_t *buf, size_t size)
{
	uint64_t v64;
	uint32_t v32;

	if (size >= 4 && !IS_ALIGNED((uintptr_t)hva, 8) && IS_ALIGNED((uintptr_t)hva, 4)) {
		memcpy(&v32, buf, 4);
		__atomic_store_n((uint32_t *)hva, v32, __ATOMIC_RELEASE);
		buf += 4;
		hva += 4;
		size -= 4;
	}
	if (IS_ALIGNED((uintptr_t)hva, 8))
		for (; size >= 8; buf += 8, hva += 8, size -= 8) {
			memcpy(&v64, buf, 8);
			__atomic_store_n((uint64_t *)hva, v64, __ATOMIC_RELEASE);
		}
	if (size >= 4 && IS_ALIGNED((uintptr_t)hva, 4)) {
		memcpy(&v32, buf, 4);
		__atomic_store_n((uint32_t *)hva, v32, __ATOMIC_RELEASE);
		buf += 4;
		hva += 4;
		size -= 4;
	}
	if (size)
		memcpy(hva, buf, size);
}

static int copy(struct nst_mem *mem, uint64_t gpa, uint8_t *buf, size_t size, bool write)
{
	unsigned int e = epoch_enter(&mem->epoch);
	const struct range_map *map = atomic_load(&mem->map);
	int ret = range_overflows(gpa, size) ? -EFAULT : 0;

	while (size && !ret) {
		uint64_t left;
		const struct mem_range *r = range_map_find(map, gpa, &left);
		uint8_t *hva;
		size_t n;

		if (!r || (write && !(r->perm & RANGE_WRITE))) {
			ret = -EFAULT;
			break;
		}
		hva = (uint8_t *)(uintptr_t)(r->hva.v + (gpa - r->start));
		n = MIN(size, left);
		if (write)
			copy_out(hva, buf, n);
		else
			copy_in(buf, hva, n);
		buf += n;
		gpa += n;
		size -= n;
	}
	epoch_exit(&mem->epoch, e);
	return ret;
}

int nst_mem_read(struct nst_mem *mem, nst_gpa gpa, void *buf, size_t size)
{
	return copy(mem, gpa.v, buf, size, false);
}

int nst_mem_write(struct nst_mem *mem, nst_gpa gpa, const void *buf, size_t size)
{
	return copy(mem, gpa.v, (uint8_t *)buf, size, true);
}

unsigned int mem_enter(struct nst_mem *mem)
{
	return epoch_enter(&mem->epoch);
}

void mem_exit(struct nst_mem *mem, unsigned int token)
{
	epoch_exit(&mem->epoch, token);
}

const struct range_map *mem_map(struct nst_mem *mem)
{
	return atomic_load(&mem->map);
}

bool mem_view_move(struct mem_view *view, uint64_t page)
{
	uint64_t left;
	const struct mem_range *r = range_map_find(view->map, page, &left);

	if (!r || left < PAGE_SIZE_4K)
		return false;
	view->last = *r;
	return true;
}

void *mem_page(struct nst_mem *mem, nst_gpa gpa, bool *writable)
{
	struct mem_view view = { .map = mem_map(mem) };

	return mem_view_page(&view, gpa, writable);
}
