// SPDX-License-Identifier: BSD-3-Clause
/*
 * What each command of the client does.
 *
 * Every command gets a reply of its full size, also when it is refused: the request's
 * fixed part comes back, and a read that failed carries all-ones. QEMU would do with a
 * bare header, but other clients wait for the bytes they asked for and hang.
 */
#include "frontend/vfio_user/server.h"

#include "base/alloc.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* A command under way: what came, and the payload of the reply to be filled. */
struct call {
	struct wire_request req;
	struct tx_msg *msg;
	void *reply; /* begins as a copy of the request's fixed part */
};

static size_t sparse_caps_size(const struct nst_vfu_region *region)
{
	if (!region->num_areas)
		return 0;
	return sizeof(struct vfio_region_info_cap_sparse_mmap) +
	       region->num_areas * sizeof(struct vfio_region_sparse_mmap_area);
}

/* Is the region mappable for this client, which must be able to receive a descriptor? */
static bool is_mappable(const struct nst_vfu *vfu, const struct nst_vfu_region *region)
{
	return (region->flags & VFIO_REGION_INFO_FLAG_MMAP) && region->fd >= 0 &&
	       vfu->client.max_msg_fds > 0;
}

/* The capabilities that go into this reply: all of them or, if argsz is too small, none. */
static size_t reply_caps_size(const struct nst_vfu *vfu, const struct wire_request *req)
{
	const struct nst_vfu_region *region;
	size_t size;

	if (req->region_info.index >= NST_VFU_NUM_REGIONS)
		return 0;
	region = &vfu->regions[req->region_info.index];
	size = is_mappable(vfu, region) ? sparse_caps_size(region) : 0;
	return req->region_info.argsz - sizeof(req->region_info) >= size ? size : 0;
}

static int get_info(struct nst_vfu *vfu, struct call *call)
{
	struct wire_device_info *info = call->reply;

	*info = (struct wire_device_info){
		.argsz = sizeof(*info),
		.flags = VFIO_DEVICE_FLAGS_PCI | (vfu->no_reset ? 0 : VFIO_DEVICE_FLAGS_RESET),
		.num_regions = NST_VFU_NUM_REGIONS,
		.num_irqs = NST_VFU_NUM_IRQS,
	};
	return 0;
}

static void put_sparse_caps(const struct nst_vfu_region *region, void *at)
{
	struct vfio_region_info_cap_sparse_mmap *cap = at;

	cap->header.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP;
	cap->header.version = 1;
	cap->header.next = 0;
	cap->nr_areas = region->num_areas;
	for (unsigned int i = 0; i < region->num_areas; i++) {
		cap->areas[i].offset = region->areas[i].offset;
		cap->areas[i].size = region->areas[i].size;
	}
}

static int get_region_info(struct nst_vfu *vfu, struct call *call)
{
	struct vfio_region_info *info = call->reply;
	const struct nst_vfu_region *region;
	uint32_t index = call->req.region_info.index;
	size_t caps;

	if (index >= NST_VFU_NUM_REGIONS)
		return -EINVAL;
	region = &vfu->regions[index];
	caps = is_mappable(vfu, region) ? sparse_caps_size(region) : 0;
	*info = (struct vfio_region_info){
		.argsz = (uint32_t)(sizeof(*info) + caps),
		.flags = region->flags & ~(uint32_t)VFIO_REGION_INFO_FLAG_MMAP,
		.index = index,
		.size = region->size,
		.offset = region->fd_offset,
	};
	/*
	 * MMAP without its areas would let the client map all of it: it stays away until
	 * the client has come back with a large enough argsz. So does CAPS, without which
	 * QEMU 11.1 takes cap_offset 0 for an error.
	 */
	if (!is_mappable(vfu, region) || reply_caps_size(vfu, &call->req) != caps)
		return 0;
	info->flags |= VFIO_REGION_INFO_FLAG_MMAP;
	call->msg->fd = region->fd;
	if (caps) {
		info->flags |= VFIO_REGION_INFO_FLAG_CAPS;
		info->cap_offset = sizeof(*info);
		put_sparse_caps(region, info + 1);
	}
	return 0;
}

static int get_irq_info(struct nst_vfu *vfu, struct call *call)
{
	struct vfio_irq_info *info = call->reply;
	uint32_t index = call->req.irq_info.index;

	if (index >= NST_VFU_NUM_IRQS)
		return -EINVAL;
	*info = (struct vfio_irq_info){
		.argsz = sizeof(*info),
		.flags = VFIO_IRQ_INFO_EVENTFD,
		.index = index,
		.count = vfu->irq_counts[index],
	};
	/* As the kernel has it. NORESIZE is what is right for any device behind us. */
	if (index == VFIO_PCI_INTX_IRQ_INDEX)
		info->flags |= VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED;
	else
		info->flags |= VFIO_IRQ_INFO_NORESIZE;
	return 0;
}

static int set_irqs(struct nst_vfu *vfu, struct call *call)
{
	const struct wire_irq_set *set = &call->req.irq_set;
	struct nst_vfu_irqs irqs = {
		.index = set->index,
		.flags = set->flags,
		.start = set->start,
		.count = set->count,
	};

	if (set->index >= NST_VFU_NUM_IRQS)
		return -EINVAL;
	if (!range_fits(set->start, set->count, vfu->irq_counts[set->index]))
		return -EINVAL;
	if (set->flags & VFIO_IRQ_SET_DATA_BOOL)
		irqs.data = call->req.data;
	if (set->flags & VFIO_IRQ_SET_DATA_EVENTFD)
		irqs.eventfds = vfu->rx.num_fds ? vfu->rx.fds : vfu->no_eventfds;
	/* A full counter must not stop the thread that signals the interrupt. */
	for (unsigned int i = 0; irqs.eventfds && i < vfu->rx.num_fds; i++) {
		int flags = fcntl(vfu->rx.fds[i], F_GETFL);

		if (flags < 0 || fcntl(vfu->rx.fds[i], F_SETFL, flags | O_NONBLOCK) < 0)
			return -errno;
	}
	return vfu->ops.set_irqs ? vfu->ops.set_irqs(vfu->opaque, &irqs) : -ENOTSUP;
}

static int check_access(struct nst_vfu *vfu, const struct wire_region_access *access, uint32_t flag)
{
	const struct nst_vfu_region *region;

	if (access->region >= NST_VFU_NUM_REGIONS)
		return -EINVAL;
	region = &vfu->regions[access->region];
	if (!range_fits(access->offset, access->count, region->size))
		return -EINVAL;
	return region->flags & flag ? 0 : -EACCES;
}

static int region_read(struct nst_vfu *vfu, struct call *call)
{
	const struct wire_region_access *access = &call->req.access;
	void *data = (struct wire_region_access *)call->reply + 1;
	int err = check_access(vfu, access, VFIO_REGION_INFO_FLAG_READ);

	if (!err && access->count) {
		err = vfu->ops.region_read
			      ? vfu->ops.region_read(vfu->opaque, access->region, access->offset,
						     data, access->count)
			      : -ENOTSUP;
	}
	if (err)
		memset(data, 0xff, access->count);
	return err;
}

static int region_write(struct nst_vfu *vfu, struct call *call)
{
	const struct wire_region_access *access = &call->req.access;
	int err = check_access(vfu, access, VFIO_REGION_INFO_FLAG_WRITE);

	if (err || !access->count)
		return err;
	return vfu->ops.region_write
		       ? vfu->ops.region_write(vfu->opaque, access->region, access->offset,
					       call->req.data, access->count)
		       : -ENOTSUP;
}

/* Returns VFU_NO_MEMORY before anything has happened, else 0 or what to refuse with. */
static int run(struct nst_vfu *vfu, struct call *call)
{
	int *fd = vfu->rx.num_fds ? &vfu->rx.fds[0] : NULL;

	switch (vfu->rx.header.command) {
	case WIRE_DMA_MAP:
		return vfu_dma_map(vfu, &call->req.dma_map, fd);
	case WIRE_DMA_UNMAP:
		return vfu_dma_unmap(vfu, &call->req.dma_unmap);
	case WIRE_GET_INFO:
		return get_info(vfu, call);
	case WIRE_GET_REGION_INFO:
		return get_region_info(vfu, call);
	case WIRE_GET_IRQ_INFO:
		return get_irq_info(vfu, call);
	case WIRE_SET_IRQS:
		return set_irqs(vfu, call);
	case WIRE_REGION_READ:
		return region_read(vfu, call);
	case WIRE_REGION_WRITE:
		return region_write(vfu, call);
	case WIRE_RESET:
		return vfu->ops.reset ? vfu->ops.reset(vfu->opaque) : 0;
	default:
		return -ENOTSUP;
	}
}

static const char *command_name(uint16_t command)
{
	static const char *const names[NST_VFU_NUM_COMMANDS] = {
		[1] = "VERSION",	 [2] = "DMA_MAP",
		[3] = "DMA_UNMAP",	 [4] = "GET_INFO",
		[5] = "GET_REGION_INFO", [6] = "GET_REGION_IO_FDS",
		[7] = "GET_IRQ_INFO",	 [8] = "SET_IRQS",
		[9] = "REGION_READ",	 [10] = "REGION_WRITE",
		[11] = "DMA_READ",	 [12] = "DMA_WRITE",
		[13] = "RESET",		 [15] = "REGION_WRITE_MULTI",
		[16] = "DEVICE_FEATURE", [17] = "MIG_DATA_READ",
		[18] = "MIG_DATA_WRITE",
	};

	return command < ARRAY_SIZE(names) && names[command] ? names[command] : "unknown";
}

/* A client can refuse to learn: the first few are told, then ever fewer. */
static void log_refusal(struct nst_vfu *vfu, int err)
{
	uint64_t n = ++vfu->refused;

	if (n <= 16 || (n & (n - 1)) == 0)
		log_warn(vfu->log, "vfio-user: refused command %u (%s) of %u bytes: %s",
			 vfu->rx.header.command, command_name(vfu->rx.header.command),
			 vfu->rx.header.size, strerror(-err));
}

static void answer(struct nst_vfu *vfu, struct tx_msg *msg, int err) REQUIRES(vfu->lock)
{
	const struct wire_header *header = &vfu->rx.header;
	struct wire_header *out = tx_header(msg);

	if (header->flags & WIRE_NO_REPLY) {
		vfu->stats.posted++;
		free(msg);
		return;
	}
	out->id = header->id;
	out->command = header->command;
	out->flags = WIRE_TYPE_REPLY | (err ? WIRE_ERROR : 0);
	out->error = (uint32_t)-err;
	vfu_tx_post_locked(vfu, msg);
}

static void count_locked(struct nst_vfu *vfu, int err) REQUIRES(vfu->lock)
{
	uint16_t command = vfu->rx.header.command;

	vfu->stats.commands[command < NST_VFU_NUM_COMMANDS ? command : 0]++;
	if (err)
		vfu->stats.refused++;
}

/* ---- VERSION: the only command of a new connection, and only then */

static int negotiate(struct nst_vfu *vfu, const struct wire_request *req, struct version_caps *caps)
{
	if (vfu->state != VFU_NEW)
		return -EINVAL;
	if (req->version.major != 0)
		return -EPROTONOSUPPORT;
	return version_decode((const char *)req->data, req->data_size, caps);
}

/* The reply: our version, and as much text as the client's request was long. */
static struct tx_msg *version_reply(const struct wire_request *req, const struct version_caps *caps,
				    int err)
{
	char text[256];
	size_t room = MIN(req->data_size, sizeof(text));
	size_t size = err ? 0 : version_encode(caps, text, room);
	struct tx_msg *msg = vfu_tx_new(sizeof(struct wire_version) + size);
	struct wire_version *version;

	if (!msg)
		return NULL;
	version = tx_payload(msg);
	version->major = 0;
	version->minor = MIN(req->version.minor, (uint16_t)1);
	if (size)
		memcpy(version + 1, text, size);
	return msg;
}

static int run_version(struct nst_vfu *vfu, const struct wire_request *req, int err)
{
	struct version_caps caps = { 0 };
	bool first = vfu->state == VFU_NEW;
	struct tx_msg *msg;

	if (!err)
		err = negotiate(vfu, req, &caps);
	if (err == -ENOMEM)
		return VFU_NO_MEMORY;
	msg = version_reply(req, &caps, err);
	if (!msg)
		return VFU_NO_MEMORY;
	if (!err) {
		vfu->client = caps;
		vfu->state = VFU_READY;
	}
	mutex_lock(&vfu->lock);
	count_locked(vfu, err);
	/* The reply first: then other threads may send. */
	answer(vfu, msg, err);
	if (!err) {
		vfu->connected = true;
		vfu->dma_limit = caps.max_data_xfer_size;
	}
	mutex_unlock(&vfu->lock);
	if (err) {
		log_refusal(vfu, err);
		return first ? err : 0;
	}
	log_info(vfu->log, "vfio-user: client of version 0.%u connected", req->version.minor);
	if (vfu->ops.connected)
		vfu->ops.connected(vfu->opaque);
	return 0;
}

int vfu_command(struct nst_vfu *vfu)
{
	const struct wire_header *header = &vfu->rx.header;
	size_t size = header->size - sizeof(*header);
	size_t reply_size;
	struct call call;
	int err = wire_decode(header, vfu->rx.payload, size, vfu->rx.num_fds, &call.req);

	if (header->command == WIRE_VERSION)
		return run_version(vfu, &call.req, err);
	if (vfu->state != VFU_READY)
		return -EPROTO;

	reply_size = call.req.reply_size;
	if (!err && header->command == WIRE_GET_REGION_INFO)
		reply_size += reply_caps_size(vfu, &call.req);
	call.msg = vfu_tx_new(reply_size);
	if (!call.msg)
		return VFU_NO_MEMORY;
	call.reply = tx_payload(call.msg);
	if (size && reply_size)
		memcpy(call.reply, vfu->rx.payload, MIN(size, reply_size));
	if (!err)
		err = run(vfu, &call);
	if (err == VFU_NO_MEMORY) {
		free(call.msg);
		return VFU_NO_MEMORY;
	}
	if (err)
		log_refusal(vfu, err);
	mutex_lock(&vfu->lock);
	count_locked(vfu, err);
	answer(vfu, call.msg, err);
	mutex_unlock(&vfu->lock);
	return 0;
}
