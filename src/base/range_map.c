// SPDX-License-Identifier: BSD-3-Clause
/* See range_map.h: insertion and removal in a sorted array. */
#include "base/range_map.h"

#include "base/alloc.h"
#include "base/sorted.h"

#include <errno.h>
#include <string.h>

void range_map_init(struct range_map *map)
{
	*map = (struct range_map){ 0 };
}

void range_map_fini(struct range_map *map)
{
	free(map->ranges);
	range_map_init(map);
}

static int reserve(struct range_map *map, size_t capacity)
{
	void *grown = alloc_resize(map->ranges, capacity, sizeof(*map->ranges));

	if (!grown)
		return -ENOMEM;
	map->ranges = grown;
	map->capacity = capacity;
	return 0;
}

int range_map_copy(struct range_map *map, const struct range_map *from)
{
	range_map_init(map);
	if (!from->count)
		return 0;
	if (reserve(map, from->count + 1))
		return -ENOMEM;
	memcpy(map->ranges, from->ranges, from->count * sizeof(*map->ranges));
	map->count = from->count;
	return 0;
}

size_t range_map_lower_bound(const struct range_map *map, uint64_t address)
{
	return LOWER_BOUND(map->count, i, map->ranges[i].last < address);
}

int range_map_insert(struct range_map *map, const struct mem_range *range)
{
	size_t at;

	if (range->last < range->start)
		return -EINVAL;
	at = range_map_lower_bound(map, range->start);
	if (at < map->count && map->ranges[at].start <= range->last)
		return -EEXIST;
	if (map->count == map->capacity && reserve(map, map->capacity ? 2 * map->capacity : 16))
		return -ENOMEM;
	memmove(&map->ranges[at + 1], &map->ranges[at], (map->count - at) * sizeof(*map->ranges));
	map->ranges[at] = *range;
	map->count++;
	return 0;
}

void range_map_remove_at(struct range_map *map, size_t index)
{
	range_map_remove_some(map, index, 1);
}

void range_map_remove_some(struct range_map *map, size_t index, size_t count)
{
	map->count -= count;
	memmove(&map->ranges[index], &map->ranges[index + count],
		(map->count - index) * sizeof(*map->ranges));
}
