// SPDX-License-Identifier: BSD-3-Clause
/* The running kernel as a host: each operation is the system call of its name. */
#include "base/alloc.h"

#include <nestor/host.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define OR_ERRNO(call)                           \
	({                                       \
		__typeof__(call) ret__ = (call); \
		ret__ < 0 ? -errno : ret__;      \
	})

static int kernel_open(struct nst_host *host, const char *path, int flags)
{
	return OR_ERRNO(open(path, flags));
}

static int kernel_close(struct nst_host *host, int fd)
{
	return OR_ERRNO(close(fd));
}

static int kernel_ioctl(struct nst_host *host, int fd, unsigned long request, void *arg)
{
	return OR_ERRNO(ioctl(fd, request, arg));
}

static ssize_t kernel_read(struct nst_host *host, int fd, void *buf, size_t count)
{
	return OR_ERRNO(read(fd, buf, count));
}

static ssize_t kernel_write(struct nst_host *host, int fd, const void *buf, size_t count)
{
	return OR_ERRNO(write(fd, buf, count));
}

static ssize_t kernel_pread(struct nst_host *host, int fd, void *buf, size_t count, off_t offset)
{
	return OR_ERRNO(pread(fd, buf, count, offset));
}

static ssize_t kernel_pwrite(struct nst_host *host, int fd, const void *buf, size_t count,
			     off_t offset)
{
	return OR_ERRNO(pwrite(fd, buf, count, offset));
}

static void *kernel_mmap(struct nst_host *host, size_t length, int prot, int flags, int fd,
			 off_t offset, int *err)
{
	void *mapped = mmap(NULL, length, prot, flags, fd, offset);

	if (mapped != MAP_FAILED)
		return mapped;
	*err = -errno;
	return NULL;
}

static int kernel_munmap(struct nst_host *host, void *addr, size_t length)
{
	return OR_ERRNO(munmap(addr, length));
}

/* Descriptors are the process's; whoever opened them closes them. */
static void kernel_destroy(struct nst_host *host)
{
	free(host);
}

static const struct nst_host_ops kernel_ops = {
	.open = kernel_open,
	.close = kernel_close,
	.ioctl = kernel_ioctl,
	.read = kernel_read,
	.write = kernel_write,
	.pread = kernel_pread,
	.pwrite = kernel_pwrite,
	.mmap = kernel_mmap,
	.munmap = kernel_munmap,
	.destroy = kernel_destroy,
};

int nst_host_kernel_create(struct nst_host **out)
{
	struct nst_host *host = alloc_object(struct nst_host);

	if (!host)
		return -ENOMEM;
	host->ops = &kernel_ops;
	*out = host;
	return 0;
}
