// SPDX-License-Identifier: BSD-3-Clause
/*
 * See wire.h. One small function per command checks what can be known from the message
 * alone; what depends on the device (region sizes, vector counts, maps) is checked where
 * the command is carried out.
 */
#include "frontend/vfio_user/wire.h"

#include <errno.h>
#include <string.h>

#define IRQ_DATA_MASK VFIO_IRQ_SET_DATA_TYPE_MASK
#define IRQ_ACTION_MASK VFIO_IRQ_SET_ACTION_TYPE_MASK

int wire_header_check(const struct wire_header *header)
{
	uint32_t type = header->flags & WIRE_TYPE_MASK;

	if (header->size < sizeof(*header))
		return -EBADMSG;
	if (type != WIRE_TYPE_COMMAND && type != WIRE_TYPE_REPLY)
		return -EBADMSG;
	if (header->size > WIRE_MAX_MESSAGE)
		return -EMSGSIZE;
	if (header->command == WIRE_VERSION && header->size > sizeof(*header) + WIRE_MAX_VERSION)
		return -EMSGSIZE;
	return 0;
}

/* Copy the fixed part to @fixed; the rest of the payload is @out->data. */
static int take(const void *payload, size_t size, void *fixed, size_t fixed_size,
		struct wire_request *out)
{
	if (size < fixed_size)
		return -EINVAL;
	memcpy(fixed, payload, fixed_size);
	out->data = (const uint8_t *)payload + fixed_size;
	out->data_size = size - fixed_size;
	return 0;
}

static int decode_version(struct wire_request *out)
{
	/* The text is optional. If there is one, its only NUL is its last byte. */
	if (out->data_size &&
	    memchr(out->data, '\0', out->data_size) != out->data + out->data_size - 1)
		return -EINVAL;
	return 0;
}

static int decode_dma_map(const struct wire_dma_map *map, unsigned int num_fds)
{
	const uint32_t known = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;

	if (!map->flags || (map->flags & ~known) || num_fds > 1)
		return -EINVAL;
	if (!map->size || range_overflows(map->address, map->size))
		return -EINVAL;
	/* Somebody will mmap it. Without a file nothing needs to be a page. */
	if (num_fds && !IS_ALIGNED(map->address | map->size | map->offset, PAGE_SIZE_4K))
		return -EINVAL;
	if (num_fds && (map->offset > INT64_MAX || map->size > INT64_MAX - map->offset))
		return -EINVAL;
	return 0;
}

static int decode_dma_unmap(const struct wire_dma_unmap *unmap)
{
	if (unmap->flags & ~(uint32_t)VFIO_DMA_UNMAP_FLAG_ALL)
		return -EINVAL;
	if (unmap->flags & VFIO_DMA_UNMAP_FLAG_ALL)
		return unmap->address || unmap->size ? -EINVAL : 0;
	return !unmap->size || range_overflows(unmap->address, unmap->size) ? -EINVAL : 0;
}

static bool is_one_bit(uint32_t x)
{
	return x && !(x & (x - 1));
}

static int decode_set_irqs(const struct wire_irq_set *set, size_t data_size, unsigned int num_fds)
{
	if (set->flags & ~(uint32_t)(IRQ_DATA_MASK | IRQ_ACTION_MASK))
		return -EINVAL;
	if (!is_one_bit(set->flags & IRQ_DATA_MASK) || !is_one_bit(set->flags & IRQ_ACTION_MASK))
		return -EINVAL;
	if ((set->flags & VFIO_IRQ_SET_DATA_BOOL) && data_size < set->count)
		return -EINVAL;
	/* None at all takes the eventfds of the range away: QEMU 11.1 sends its runs of -1 so. */
	if ((set->flags & VFIO_IRQ_SET_DATA_EVENTFD) && num_fds && num_fds != set->count)
		return -EINVAL;
	return 0;
}

static int decode_access(const struct wire_region_access *access)
{
	return access->count > WIRE_MAX_DATA ? -E2BIG : 0;
}

#define TAKE(member) take(payload, size, &out->member, sizeof(out->member), out)

int wire_decode(const struct wire_header *header, const void *payload, size_t size,
		unsigned int num_fds, struct wire_request *out)
{
	int err;

	memset(out, 0, sizeof(*out));
	switch (header->command) {
	case WIRE_VERSION:
		out->reply_size = sizeof(out->version);
		err = TAKE(version);
		return err ? err : decode_version(out);
	case WIRE_DMA_MAP:
		err = TAKE(dma_map);
		return err ? err : decode_dma_map(&out->dma_map, num_fds);
	case WIRE_DMA_UNMAP:
		out->reply_size = sizeof(out->dma_unmap);
		err = TAKE(dma_unmap);
		return err ? err : decode_dma_unmap(&out->dma_unmap);
	case WIRE_GET_INFO:
		out->reply_size = sizeof(out->device_info);
		err = TAKE(device_info);
		return err || out->device_info.argsz < sizeof(out->device_info) ? -EINVAL : 0;
	case WIRE_GET_REGION_INFO:
		out->reply_size = sizeof(out->region_info);
		err = TAKE(region_info);
		return err || out->region_info.argsz < sizeof(out->region_info) ? -EINVAL : 0;
	case WIRE_GET_IRQ_INFO:
		out->reply_size = sizeof(out->irq_info);
		err = TAKE(irq_info);
		return err || out->irq_info.argsz < sizeof(out->irq_info) ? -EINVAL : 0;
	case WIRE_SET_IRQS:
		err = TAKE(irq_set);
		return err ? err : decode_set_irqs(&out->irq_set, out->data_size, num_fds);
	case WIRE_REGION_READ:
		out->reply_size = sizeof(out->access);
		err = TAKE(access);
		err = err ? err : decode_access(&out->access);
		if (!err)
			out->reply_size += out->access.count;
		return err;
	case WIRE_REGION_WRITE:
		out->reply_size = sizeof(out->access);
		err = TAKE(access);
		err = err ? err : decode_access(&out->access);
		if (!err && out->data_size < out->access.count)
			err = -EINVAL;
		return err;
	case WIRE_RESET:
		return 0;
	default:
		/* Most commands echo a structure of the request's size: the best guess. */
		out->reply_size = MIN(size, (size_t)WIRE_MAX_UNKNOWN_ECHO);
		return -ENOTSUP;
	}
}
