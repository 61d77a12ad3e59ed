// SPDX-License-Identifier: BSD-3-Clause
/* See dmabuf.h. */
#include "host/soft/dmabuf.h"

#include <errno.h>
#include <sys/mman.h>

#define MAX_BYTES (512 * PAGE_SIZE_4K)

/* References: its descriptor's, and those of what is mapped. */
struct soft_dmabuf {
	struct soft_file file;
	void *memory;
	uint64_t length;
	struct mutex lock; /* a leaf, as soft_irqs.lock; soft.h */
	bool revoked GUARDED_BY(lock);
	struct soft_pages *pages GUARDED_BY(lock); /* what is mapped; by next_of_dmabuf */
};

static struct soft_dmabuf *to_dmabuf(struct soft_file *file)
{
	return container_of(file, struct soft_dmabuf, file);
}

/* --- the descriptor --------------------------------------------------------------------- */

static int dmabuf_ioctl(struct soft_file *file, unsigned long request, void *arg)
{
	return -ENOTTY;
}

static ssize_t dmabuf_pread(struct soft_file *file, void *buf, size_t count, uint64_t offset)
{
	return -EINVAL;
}

static ssize_t dmabuf_pwrite(struct soft_file *file, const void *buf, size_t count, uint64_t offset)
{
	return -EINVAL;
}

static void *dmabuf_mmap(struct soft_file *file, size_t length, int prot, int flags, off_t offset,
			 int *err)
{
	*err = -EINVAL; /* the exporter has no such operation */
	return NULL;
}

static struct soft_ctx *dmabuf_context(struct soft_file *file)
{
	return NULL;
}

static void dmabuf_release(struct soft_file *file)
{
	struct soft_dmabuf *dmabuf = to_dmabuf(file);

	munmap(dmabuf->memory, dmabuf->length);
	mutex_fini(&dmabuf->lock);
	free(dmabuf);
}

static const struct soft_file_ops dmabuf_ops = {
	.context = dmabuf_context,
	.ioctl = dmabuf_ioctl,
	.pread = dmabuf_pread,
	.pwrite = dmabuf_pwrite,
	.mmap = dmabuf_mmap,
	.release = dmabuf_release,
};

int soft_dmabuf_create(struct soft_host *host, uint64_t length, int flags,
		       struct soft_file **put_after)
{
	struct soft_dmabuf *dmabuf;
	int fd;

	if (!length || length > MAX_BYTES)
		return -EINVAL;
	dmabuf = alloc_object(struct soft_dmabuf);
	if (!dmabuf)
		return -ENOMEM;
	dmabuf->length = ALIGN_UP(length, PAGE_SIZE_4K);
	dmabuf->memory = mmap(NULL, dmabuf->length, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (dmabuf->memory == MAP_FAILED) {
		free(dmabuf);
		return -ENOMEM;
	}
	mutex_init(&dmabuf->lock);
	dmabuf->file.ops = &dmabuf_ops;
	dmabuf->file.host = host;
	atomic_init(&dmabuf->file.refs, 1);
	fd = soft_file_install(host, &dmabuf->file, flags, put_after);
	if (fd < 0)
		dmabuf_release(&dmabuf->file);
	return fd;
}

/* With a reference, or NULL. */
static struct soft_dmabuf *find_dmabuf(struct soft_host *host, int fd)
{
	struct soft_file *file = soft_file_get_of(host, fd, &dmabuf_ops);

	return file ? to_dmabuf(file) : NULL;
}

/* --- what is mapped of it ----------------------------------------------------------------- */

int soft_pages_create_dmabuf(struct soft_host *host, int fd, uint64_t start, uint64_t length,
			     bool writable, struct soft_pages **out)
{
	struct soft_dmabuf *dmabuf = find_dmabuf(host, fd);
	struct soft_pages *pages;
	int err;

	if (!dmabuf)
		return -ENOTTY;
	err = range_fits(start, length, dmabuf->length) ? 0 : -EINVAL;
	if (!err)
		err = soft_pages_create_user((uintptr_t)dmabuf->memory + start, length, writable,
					     &pages);
	if (err) {
		soft_file_put(&dmabuf->file);
		return err;
	}
	pages->start = start;
	mutex_lock(&dmabuf->lock);
	if (dmabuf->revoked) {
		err = -ENODEV;
	} else {
		pages->dmabuf = dmabuf; /* and our reference */
		pages->next_of_dmabuf = dmabuf->pages;
		dmabuf->pages = pages;
	}
	mutex_unlock(&dmabuf->lock);
	if (err) {
		soft_pages_put(pages);
		soft_file_put(&dmabuf->file);
	} else {
		*out = pages;
	}
	return err;
}

void soft_dmabuf_forget(struct soft_pages *pages)
{
	struct soft_dmabuf *dmabuf = pages->dmabuf;
	struct soft_pages **link = &dmabuf->pages;

	mutex_lock(&dmabuf->lock);
	while (*link != pages)
		link = &(*link)->next_of_dmabuf;
	*link = pages->next_of_dmabuf;
	mutex_unlock(&dmabuf->lock);
	soft_file_put(&dmabuf->file);
}

int soft_dmabuf_revoke(struct soft_host *host, int fd, bool revoked)
{
	struct soft_dmabuf *dmabuf = find_dmabuf(host, fd);

	if (!dmabuf)
		return -ENOTTY;
	mutex_lock(&dmabuf->lock);
	dmabuf->revoked = revoked;
	for (struct soft_pages *pages = dmabuf->pages; pages; pages = pages->next_of_dmabuf)
		pages->revoked = true;
	mutex_unlock(&dmabuf->lock);
	soft_file_put(&dmabuf->file);
	return 0;
}
