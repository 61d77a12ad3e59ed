// SPDX-License-Identifier: BSD-3-Clause
/*
 * What of a region can be mapped. The kernel says "all of it", or has a list of areas (VFIO's
 * sparse mmap capability); and since Linux 4.16 the MSI-X table is not left out of either, because
 * where interrupts are isolated a guest can do no harm by it. Yet a guest's accesses to the table
 * must reach the VMM, which alone can make interrupts of them, so its pages are taken out here.
 *
 * Source: Linux 7.2 include/uapi/linux/vfio.h, VFIO_DEVICE_GET_REGION_INFO.
 */
#include "passthrough/device.h"

#include "base/bits.h"

#include <string.h>
#include <unistd.h>

static uint64_t page_bytes(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* In front of area @i, which may be one past the last. */
static void insert(struct device_areas *areas, unsigned int i, uint64_t offset, uint64_t size)
{
	if (areas->count == DEVICE_MAX_AREAS)
		return;
	memmove(&areas->area[i + 1], &areas->area[i], (areas->count - i) * sizeof(areas->area[0]));
	areas->area[i] = (struct nst_device_area){ offset, size };
	areas->count++;
}

static void drop(struct device_areas *areas, unsigned int i)
{
	areas->count--;
	memmove(&areas->area[i], &areas->area[i + 1], (areas->count - i) * sizeof(areas->area[0]));
}

/* The part of [offset, offset + size) that is in the region, in whole pages; ascending. */
static void add(struct device_areas *areas, const struct vfio_region_info *info, uint64_t offset,
		uint64_t size)
{
	unsigned int i = areas->count;

	if (!size || !range_fits(offset, size, info->size) ||
	    !IS_ALIGNED(offset | size, page_bytes()))
		return;
	while (i && areas->area[i - 1].offset > offset)
		i--;
	if (i && areas->area[i - 1].offset + areas->area[i - 1].size > offset)
		return;
	if (i < areas->count && offset + size > areas->area[i].offset)
		return;
	insert(areas, i, offset, size);
}

/* The capability @id behind @info, of which @size bytes are there at least; NULL if there is none.
 */
static const void *find_cap(const struct vfio_region_info *info, uint16_t id, size_t size)
{
	const uint8_t *start = (const uint8_t *)info;
	uint32_t at = info->flags & VFIO_REGION_INFO_FLAG_CAPS ? info->cap_offset : 0;

	while (at >= sizeof(*info) &&
	       range_fits(at, sizeof(struct vfio_info_cap_header), info->argsz)) {
		struct vfio_info_cap_header header;

		memcpy(&header, start + at, sizeof(header));
		if (header.id == id)
			return IS_ALIGNED(at, 8u) && range_fits(at, size, info->argsz) ? start + at
										       : NULL;
		if (header.next <= at) /* they only go forward, so this ends */
			return NULL;
		at = header.next;
	}
	return NULL;
}

void device_areas_read(const struct vfio_region_info *info, struct device_areas *out)
{
	const struct vfio_region_info_cap_sparse_mmap *sparse =
		find_cap(info, VFIO_REGION_INFO_CAP_SPARSE_MMAP, sizeof(*sparse));
	size_t room;

	out->count = 0;
	if (!(info->flags & VFIO_REGION_INFO_FLAG_MMAP))
		return;
	if (!sparse) {
		add(out, info, 0, info->size);
		return;
	}
	room = (info->argsz - (size_t)((const uint8_t *)sparse->areas - (const uint8_t *)info)) /
	       sizeof(sparse->areas[0]);
	for (size_t i = 0; i < MIN((size_t)sparse->nr_areas, room); i++)
		add(out, info, sparse->areas[i].offset, sparse->areas[i].size);
}

void device_areas_exclude(struct device_areas *areas, uint64_t offset, uint64_t size)
{
	uint64_t first = offset & ~(page_bytes() - 1), last = offset + (size - 1);
	unsigned int i = 0;

	last |= page_bytes() - 1;
	while (i < areas->count) {
		struct nst_device_area *a = &areas->area[i];
		uint64_t a_last = a->offset + (a->size - 1);

		if (a_last < first || a->offset > last) {
			i++;
			continue;
		}
		if (a_last > last) /* what is behind it; if there is no room it cannot be mapped */
			insert(areas, i + 1, last + 1, a_last - last);
		if (a->offset < first)
			a->size = first - a->offset;
		else
			drop(areas, i);
	}
}
