// SPDX-License-Identifier: BSD-3-Clause
/*
 * Guest memory as the client announces it, and our messages to the client: a DMA_WRITE
 * raises an MSI, a DMA_READ looks at memory as the client sees it.
 *
 * Our messages and the client's commands share one socket. A reply is told by its header
 * and finds its slot by the id that it repeats: the low bits are the slot, the others
 * change with each use, so that a late or an invented reply meets nothing.
 */
#include "frontend/vfio_user/server.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* ---- maps */

/*
 * Could @map be mapped from @fd? A file that is too short would raise SIGBUS at the first
 * access, so it is refused now. What has no size (a device) is the caller's to try.
 */
static int check_fd(struct nst_vfu *vfu, const struct wire_dma_map *map, int fd)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fstat(fd, &st) < 0)
		return -errno;
	/* A dma-buf and the like have no type at all. */
	if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || S_ISDIR(st.st_mode)) {
		log_error(vfu->log,
			  "vfio-user: what came for guest memory at 0x%" PRIx64 " is no memory",
			  map->address);
		return -EINVAL;
	}
	if ((flags & O_ACCMODE) == O_WRONLY || (flags & O_PATH) ||
	    ((map->flags & VFIO_DMA_MAP_FLAG_WRITE) && (flags & O_ACCMODE) == O_RDONLY)) {
		log_error(vfu->log,
			  "vfio-user: the file of guest memory at 0x%" PRIx64 " is not open for "
			  "what the map allows; share it read-write",
			  map->address);
		return -EACCES;
	}
	if (S_ISREG(st.st_mode) && map->offset + map->size > (uint64_t)st.st_size) {
		log_error(vfu->log,
			  "vfio-user: guest memory at 0x%" PRIx64 " should end at byte 0x%" PRIx64
			  " of a file that has 0x%" PRIx64,
			  map->address, map->offset + map->size, (uint64_t)st.st_size);
		return -EINVAL;
	}
	return 0;
}

static bool find_exact(struct nst_vfu *vfu, uint64_t address, uint64_t size, size_t *at, int *err)
{
	const struct mem_range *r;

	*at = range_map_lower_bound(&vfu->maps, address);
	r = *at < vfu->maps.count ? &vfu->maps.ranges[*at] : NULL;
	if (r && r->start == address && r->last == address + (size - 1))
		return true;
	*err = r && r->start <= address + (size - 1) ? -EINVAL : -ENOENT;
	return false;
}

static void count_maps(struct nst_vfu *vfu)
{
	mutex_lock(&vfu->lock);
	vfu->stats.maps = vfu->maps.count;
	mutex_unlock(&vfu->lock);
}

static int insert(struct nst_vfu *vfu, const struct wire_dma_map *map)
{
	struct mem_range range = {
		.start = map->address,
		.last = map->address + (map->size - 1),
		.perm = map->flags,
	};
	int err;

	if (vfu->maps.count >= WIRE_MAX_DMA_MAPS) {
		log_error(vfu->log, "vfio-user: more than %d maps of guest memory",
			  WIRE_MAX_DMA_MAPS);
		return -ENOSPC;
	}
	err = range_map_insert(&vfu->maps, &range);
	if (err == -EEXIST)
		log_error(vfu->log,
			  "vfio-user: guest memory at 0x%" PRIx64 ", 0x%" PRIx64
			  " bytes, overlaps a map that is there",
			  map->address, map->size);
	return err == -ENOMEM ? VFU_NO_MEMORY : err;
}

int vfu_dma_map(struct nst_vfu *vfu, const struct wire_dma_map *map, int *fd)
{
	struct nst_vfu_dma dma = {
		.gpa = { map->address },
		.size = map->size,
		.prot = ((map->flags & VFIO_DMA_MAP_FLAG_READ) ? PROT_READ : 0) |
			((map->flags & VFIO_DMA_MAP_FLAG_WRITE) ? PROT_WRITE : 0),
		.fd = fd ? *fd : -1,
		.fd_offset = fd ? map->offset : 0,
	};
	int err = fd ? check_fd(vfu, map, *fd) : 0;

	if (!err)
		err = insert(vfu, map);
	if (err)
		return err;
	if (vfu->ops.dma_map)
		err = vfu->ops.dma_map(vfu->opaque, &dma);
	if (err) {
		size_t at = range_map_lower_bound(&vfu->maps, map->address);

		log_error(vfu->log,
			  "vfio-user: guest memory at 0x%" PRIx64 ", 0x%" PRIx64
			  " bytes, cannot be mapped: %s",
			  map->address, map->size, strerror(-err));
		range_map_remove_at(&vfu->maps, at);
		return err;
	}
	if (fd)
		*fd = dma.fd;
	count_maps(vfu);
	return 0;
}

static int unmap_at(struct nst_vfu *vfu, size_t at, bool forget)
{
	const struct mem_range *r = &vfu->maps.ranges[at];
	nst_gpa gpa = { r->start };
	uint64_t size = r->last - r->start + 1;
	int err = vfu->ops.dma_unmap ? vfu->ops.dma_unmap(vfu->opaque, gpa, size) : 0;

	if (err)
		log_error(vfu->log, "vfio-user: unmapping guest memory at 0x%" PRIx64 ": %s", gpa.v,
			  strerror(-err));
	if (!err || forget)
		range_map_remove_at(&vfu->maps, at);
	return forget ? 0 : err;
}

int vfu_dma_unmap_all(struct nst_vfu *vfu, bool forget)
{
	int err = 0;

	while (vfu->maps.count && !err)
		err = unmap_at(vfu, vfu->maps.count - 1, forget);
	count_maps(vfu);
	return err;
}

int vfu_dma_unmap(struct nst_vfu *vfu, const struct wire_dma_unmap *unmap)
{
	size_t at;
	int err = 0;

	if (unmap->flags & VFIO_DMA_UNMAP_FLAG_ALL)
		return vfu_dma_unmap_all(vfu, false);
	if (!find_exact(vfu, unmap->address, unmap->size, &at, &err))
		return err;
	err = unmap_at(vfu, at, false);
	count_maps(vfu);
	return err;
}

/* ---- messages to the client */

static struct dma_pending *find_free_locked(struct nst_vfu *vfu) REQUIRES(vfu->lock)
{
	for (unsigned int i = 0; i < DMA_PENDING; i++) {
		struct dma_pending *p = &vfu->pending[(vfu->dma_next + i) % DMA_PENDING];

		if (!p->used) {
			vfu->dma_next = (vfu->dma_next + i + 1) % DMA_PENDING;
			return p;
		}
	}
	return NULL;
}

static int send_locked(struct nst_vfu *vfu, const struct dma_pending *what, const void *data,
		       size_t data_size) REQUIRES(vfu->lock)
{
	struct wire_dma_access *access;
	struct dma_pending *p;
	struct tx_msg *msg;
	uint16_t id;

	if (!vfu->connected || vfu->tx_error)
		return -ENOTCONN;
	if (what->size > vfu->dma_limit)
		return -EINVAL;
	p = find_free_locked(vfu);
	if (!p)
		return -EAGAIN;
	msg = vfu_tx_new(sizeof(*access) + data_size);
	if (!msg)
		return -ENOMEM;
	id = (uint16_t)(p->id + DMA_PENDING);
	*p = *what;
	p->used = true;
	p->id = id;
	tx_header(msg)->id = p->id;
	tx_header(msg)->command = p->command;
	access = tx_payload(msg);
	access->address = p->gpa.v;
	access->count = p->size;
	if (data_size)
		memcpy(access + 1, data, data_size);
	if (p->command == WIRE_DMA_WRITE)
		vfu->stats.dma_writes++;
	else
		vfu->stats.dma_reads++;
	vfu_tx_post_locked(vfu, msg);
	return 0;
}

int nst_vfu_dma_write(struct nst_vfu *vfu, nst_gpa gpa, const void *data, size_t size)
{
	struct dma_pending what = { .command = WIRE_DMA_WRITE, .size = (uint32_t)size, .gpa = gpa };
	int err;

	if (!size || size > DMA_WRITE_MAX || range_overflows(gpa.v, size))
		return -EINVAL;
	mutex_lock(&vfu->lock);
	err = send_locked(vfu, &what, data, size);
	mutex_unlock(&vfu->lock);
	return err;
}

int nst_vfu_dma_read(struct nst_vfu *vfu, nst_gpa gpa, size_t size,
		     void (*done)(void *opaque, int err, const void *data, size_t size),
		     void *opaque)
{
	struct dma_pending what = {
		.command = WIRE_DMA_READ,
		.size = (uint32_t)size,
		.gpa = gpa,
		.done = done,
		.opaque = opaque,
	};
	int err;

	if (!size || size > DMA_READ_MAX || range_overflows(gpa.v, size) || !done)
		return -EINVAL;
	mutex_lock(&vfu->lock);
	err = send_locked(vfu, &what, NULL, 0);
	mutex_unlock(&vfu->lock);
	return err;
}

/* The error in a reply, or 0. What is no errno, or is no answer to @p, is -EIO. */
static int reply_error(const struct nst_vfu *vfu, const struct dma_pending *p)
{
	const struct wire_header *header = &vfu->rx.header;
	size_t size = header->size - sizeof(*header);
	struct wire_dma_access access;

	if (header->flags & WIRE_ERROR)
		return header->error && header->error < 4096 ? -(int)header->error : -EIO;
	if (p->command == WIRE_DMA_WRITE)
		return 0;
	if (size < sizeof(access))
		return -EIO;
	memcpy(&access, vfu->rx.payload, sizeof(access));
	if (access.address != p->gpa.v || access.count != p->size ||
	    size - sizeof(access) < p->size)
		return -EIO;
	return 0;
}

static void log_dma_error(struct nst_vfu *vfu, const struct dma_pending *p, int err, uint64_t n)
{
	if (n & (n - 1))
		return;
	log_warn(vfu->log,
		 "vfio-user: the client refused a DMA %s of %u bytes at 0x%" PRIx64
		 ": %s%s, %" PRIu64 " so far",
		 p->command == WIRE_DMA_WRITE ? "write" : "read", p->size, p->gpa.v, strerror(-err),
		 err == -ENODEV ? " (no memory there, or bus mastering is off)" : "", n);
}

void vfu_dma_reply(struct nst_vfu *vfu)
{
	const struct wire_header *header = &vfu->rx.header;
	struct dma_pending *p, found = { 0 };
	uint64_t errors = 0, strays = 0;
	int err = 0;

	mutex_lock(&vfu->lock);
	p = &vfu->pending[header->id % DMA_PENDING];
	if (p->used && p->id == header->id && p->command == header->command) {
		found = *p;
		p->used = false;
		err = reply_error(vfu, &found);
		if (err)
			errors = ++vfu->stats.dma_errors;
	} else {
		strays = ++vfu->stats.stray_replies;
	}
	mutex_unlock(&vfu->lock);

	/* Its length is known, so the stream goes on. */
	if (strays && (strays & (strays - 1)) == 0)
		log_warn(vfu->log, "vfio-user: reply %u to command %u that was not sent",
			 header->id, header->command);
	if (err)
		log_dma_error(vfu, &found, err, errors);
	if (found.done)
		found.done(found.opaque, err,
			   err ? NULL : vfu->rx.payload + sizeof(struct wire_dma_access),
			   err ? 0 : found.size);
}

void vfu_dma_abandon(struct nst_vfu *vfu)
{
	for (unsigned int i = 0; i < DMA_PENDING; i++) {
		struct dma_pending found;

		mutex_lock(&vfu->lock);
		found = vfu->pending[i];
		vfu->pending[i].used = false;
		mutex_unlock(&vfu->lock);
		if (found.used && found.done)
			found.done(found.opaque, -ENOTCONN, NULL, 0);
	}
}
