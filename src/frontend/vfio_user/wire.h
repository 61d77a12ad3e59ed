/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vfio-user protocol as bytes: layouts, numbers, and a decoder that has no side
 * effect and no state, so that it can be fuzzed alone.
 *
 * Everything is in the byte order of the host: the protocol is for one machine. Where a
 * payload is a structure of <linux/vfio.h>, that structure is used.
 *
 * Source: vfio-user protocol specification 0.1 (QEMU docs/interop/vfio-user.rst).
 */
#ifndef VFIO_USER_WIRE_H
#define VFIO_USER_WIRE_H

#include "base/bits.h"

#include <linux/vfio.h>
#include <nestor/types.h>

enum {
	WIRE_MAX_FDS = 16,	    /* per message; QEMU 11.1 refuses a server that says more */
	WIRE_MAX_DATA = 1 << 20,    /* max_data_xfer_size: the protocol's default */
	WIRE_MAX_VERSION = 4096,    /* JSON grows in memory when parsed: keep it small */
	WIRE_MAX_DMA_MAPS = 65535,  /* the protocol's default */
	WIRE_MAX_UNKNOWN_ECHO = 64, /* reply to a command that is not known */
};

enum wire_command {
	WIRE_VERSION = 1,
	WIRE_DMA_MAP = 2,
	WIRE_DMA_UNMAP = 3,
	WIRE_GET_INFO = 4,
	WIRE_GET_REGION_INFO = 5,
	WIRE_GET_IRQ_INFO = 7,
	WIRE_SET_IRQS = 8,
	WIRE_REGION_READ = 9,
	WIRE_REGION_WRITE = 10,
	WIRE_DMA_READ = 11,  /* server to client */
	WIRE_DMA_WRITE = 12, /* server to client */
	WIRE_RESET = 13,
};

/* struct wire_header.flags */
#define WIRE_TYPE_MASK 0xfU
#define WIRE_TYPE_COMMAND 0x0U
#define WIRE_TYPE_REPLY 0x1U
#define WIRE_NO_REPLY 0x10U
#define WIRE_ERROR 0x20U

struct wire_header {
	uint16_t id;
	uint16_t command;
	uint32_t size; /* of the whole message */
	uint32_t flags;
	uint32_t error; /* positive errno, in a reply with WIRE_ERROR */
};
_Static_assert(sizeof(struct wire_header) == 16, "vfio-user header");

struct wire_version {
	uint16_t major, minor; /* JSON and a NUL follow */
};
_Static_assert(sizeof(struct wire_version) == 4, "VFIO_USER_VERSION");

struct wire_dma_map {
	uint32_t argsz, flags; /* VFIO_DMA_MAP_FLAG_READ, _WRITE */
	uint64_t offset, address, size;
};
_Static_assert(sizeof(struct wire_dma_map) == 32, "VFIO_USER_DMA_MAP");

struct wire_dma_unmap {
	uint32_t argsz, flags; /* VFIO_DMA_UNMAP_FLAG_ALL */
	uint64_t address, size;
};
_Static_assert(sizeof(struct wire_dma_unmap) == 24, "VFIO_USER_DMA_UNMAP");

/* The first 16 bytes of the kernel's struct vfio_device_info, which has grown since. */
struct wire_device_info {
	uint32_t argsz, flags, num_regions, num_irqs;
};
_Static_assert(sizeof(struct wire_device_info) == 16, "VFIO_USER_DEVICE_GET_INFO");
_Static_assert(sizeof(struct vfio_region_info) == 32, "VFIO_USER_DEVICE_GET_REGION_INFO");
_Static_assert(sizeof(struct vfio_irq_info) == 16, "VFIO_USER_DEVICE_GET_IRQ_INFO");

/* struct vfio_irq_set without its array, which cannot stand in a union. */
struct wire_irq_set {
	uint32_t argsz, flags, index, start, count; /* one byte per vector follows DATA_BOOL */
};
_Static_assert(sizeof(struct wire_irq_set) == sizeof(struct vfio_irq_set),
	       "VFIO_USER_DEVICE_SET_IRQS");

struct wire_region_access {
	uint64_t offset;
	uint32_t region, count; /* @count bytes follow in a write and in the reply to a read */
};
_Static_assert(sizeof(struct wire_region_access) == 16, "VFIO_USER_REGION_READ");

struct wire_dma_access {
	uint64_t address, count; /* @count bytes follow, as above */
};
_Static_assert(sizeof(struct wire_dma_access) == 16, "VFIO_USER_DMA_READ");

/* The largest message that is received: a region write. Everything else is smaller. */
#define WIRE_MAX_MESSAGE \
	(sizeof(struct wire_header) + sizeof(struct wire_region_access) + WIRE_MAX_DATA)

/*
 * A command, taken apart. @data points into the message and is checked to hold what the
 * fixed part says. @reply_size is how long the payload of the reply must be, also when
 * the command is refused: some clients block until they have all they wait for.
 */
struct wire_request {
	union {
		struct wire_version version;
		struct wire_dma_map dma_map;
		struct wire_dma_unmap dma_unmap;
		struct wire_device_info device_info;
		struct vfio_region_info region_info;
		struct vfio_irq_info irq_info;
		struct wire_irq_set irq_set;
		struct wire_region_access access;
	};
	const uint8_t *data;
	size_t data_size;
	size_t reply_size;
};

/*
 * May a message with this header be received at all? The limits hold before anything is
 * allocated. -EBADMSG (a size below the header's, or neither command nor reply),
 * -EMSGSIZE: after either the stream cannot be followed any more.
 */
NST_MUST_CHECK int wire_header_check(const struct wire_header *header);

/*
 * Take apart the command in @payload, @size bytes, which came with @num_fds descriptors.
 * @out->reply_size is valid whatever is returned. -EINVAL, -E2BIG (a transfer above
 * WIRE_MAX_DATA), -ENOTSUP (not a command of ours).
 */
NST_MUST_CHECK int wire_decode(const struct wire_header *header, const void *payload, size_t size,
			       unsigned int num_fds, struct wire_request *out);

#endif
