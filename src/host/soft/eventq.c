// SPDX-License-Identifier: BSD-3-Clause
/*
 * See eventq.h.
 *
 * Source: Linux 7.2 drivers/iommu/iommufd/eventq.c.
 */
#include "host/soft/soft.h"
#include "host/soft/eventq.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct eventq_file {
	struct soft_file file;
	struct soft_ctx *ctx;
	struct soft_eventq *queue;
};

static struct eventq_file *to_eventq_file(struct soft_file *file)
{
	return container_of(file, struct eventq_file, file);
}

/* --- the descriptor ------------------------------------------------------------------- */

static int eventq_ioctl(struct soft_file *file, unsigned long request, void *arg)
{
	return -ENOTTY;
}

static ssize_t eventq_read(struct soft_file *file, void *buf, size_t count, uint64_t offset)
{
	struct soft_eventq *queue = to_eventq_file(file)->queue;

	return offset ? -ESPIPE : queue->ops->read(file->host, queue, buf, count);
}

static ssize_t eventq_write(struct soft_file *file, const void *buf, size_t count, uint64_t offset)
{
	struct soft_eventq *queue = to_eventq_file(file)->queue;

	if (!queue->ops->write)
		return -EINVAL;
	return offset ? -ESPIPE : queue->ops->write(file->host, queue, buf, count);
}

static void *eventq_mmap(struct soft_file *file, size_t length, int prot, int flags, off_t offset,
			 int *err)
{
	*err = -ENODEV;
	return NULL;
}

static void eventq_release(struct soft_file *file)
{
	struct eventq_file *efile = to_eventq_file(file);
	struct soft_ctx *ctx = efile->ctx;

	mutex_lock(&ctx->lock);
	efile->queue->obj.users--;
	mutex_unlock(&ctx->lock);
	free(efile);
	soft_file_put(&ctx->file);
}

static struct soft_ctx *eventq_context(struct soft_file *file)
{
	return to_eventq_file(file)->ctx;
}

static const struct soft_file_ops eventq_ops = {
	.is_stream = true,
	.context = eventq_context,
	.ioctl = eventq_ioctl,
	.pread = eventq_read,
	.pwrite = eventq_write,
	.mmap = eventq_mmap,
	.release = eventq_release,
};

/* --- life ------------------------------------------------------------------------------- */

/* The caller's descriptor; the queue's own are set. */
static int open_event(struct soft_eventq *queue)
{
	int ends[2], err;

	if (!queue->ops->write) {
		if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
			return -errno;
		queue->writer = ends[1];
	} else {
		ends[0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (ends[0] < 0)
			return -errno;
		queue->writer = -1;
	}
	queue->event = fcntl(ends[0], F_DUPFD_CLOEXEC, 0);
	if (queue->event >= 0)
		return ends[0];
	err = -errno;
	close(ends[0]);
	if (queue->writer >= 0)
		close(queue->writer);
	return err;
}

/* Tell the caller, then let the number lead to @efile. */
static int publish(struct soft_ctx *ctx, struct soft_ucmd *ucmd, struct eventq_file *efile, int fd)
	REQUIRES(&ctx->lock)
{
	int err = soft_ucmd_respond(ucmd);

	if (err)
		return err;
	/* before the number leads to it: from then on it may be closed */
	efile->queue->obj.users++;
	atomic_fetch_add(&ctx->file.refs, 1);
	err = soft_file_exchange(ctx->file.host, fd, &efile->file, &ucmd->put_after);
	if (err) {
		efile->queue->obj.users--;
		atomic_fetch_sub(&ctx->file.refs, 1);
	}
	return err;
}

int soft_eventq_open(struct soft_ctx *ctx, struct soft_ucmd *ucmd, struct soft_eventq *queue,
		     uint32_t *out_fd)
{
	struct eventq_file *efile;
	int fd = open_event(queue), err = -ENOMEM;

	if (fd < 0)
		return fd;
	*out_fd = (uint32_t)fd;
	efile = alloc_object(struct eventq_file);
	if (efile) {
		efile->file.ops = &eventq_ops;
		efile->file.host = ctx->file.host;
		atomic_init(&efile->file.refs, 1);
		efile->ctx = ctx;
		efile->queue = queue;
		err = publish(ctx, ucmd, efile, fd);
	}
	if (err) {
		free(efile);
		close(fd);
		soft_eventq_fini(queue);
	}
	return err;
}

void soft_eventq_fini(struct soft_eventq *queue)
{
	close(queue->event);
	if (queue->writer >= 0)
		close(queue->writer);
}

void soft_eventq_set_readable(struct soft_eventq *queue, bool readable)
{
	uint64_t value = 1; /* eight bytes, as an eventfd counts */
	ssize_t n;

	if (readable == queue->readable)
		return;
	queue->readable = readable;
	if (readable)
		n = write(queue->writer >= 0 ? queue->writer : queue->event, &value, sizeof(value));
	else
		n = read(queue->event, &value, sizeof(value));
	/* neither blocks nor fails; should the program change what is in it, it is its */
	if (n < 0)
		return;
}
