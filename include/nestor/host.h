/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The seam between the two halves: the file ABI of Linux iommufd and VFIO.
 *
 * The guest half reaches a host only through struct nst_host_ops, with the
 * kernel's own paths, request codes and structures (<linux/iommufd.h>,
 * <linux/vfio.h>), and on real file descriptors: what an operation returns can
 * be given to poll(2). host/kernel hands the calls to the system; host/soft
 * answers them in this process with the kernel's semantics.
 */
#ifndef NESTOR_HOST_H
#define NESTOR_HOST_H

#include <nestor/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct nst_host;

/**
 * struct nst_host_ops - the calls a host answers.
 *
 * Every operation returns what the system call of its name returns, but a
 * failure is a negative errno in the return value, and errno itself is not
 * used. All may be called from any thread. None may be NULL.
 *
 * @open: @path as in the kernel's file system ("/dev/iommu",
 *	"/dev/vfio/devices/vfio0"); @flags as of open(2).
 * @close: every descriptor that @open or an ioctl of this host returned is
 *	closed with this, never with close(2).
 * @ioctl: @arg is the structure the request code names; its layout, its size
 *	field and its output fields are the kernel's.
 * @mmap: returns NULL on failure and stores a negative errno in *@err.
 * @destroy: frees the host. Descriptors should be closed before: the kernel's stay open.
 */
struct nst_host_ops {
	int (*open)(struct nst_host *host, const char *path, int flags);
	int (*close)(struct nst_host *host, int fd);
	int (*ioctl)(struct nst_host *host, int fd, unsigned long request, void *arg);
	ssize_t (*read)(struct nst_host *host, int fd, void *buf, size_t count);
	ssize_t (*write)(struct nst_host *host, int fd, const void *buf, size_t count);
	ssize_t (*pread)(struct nst_host *host, int fd, void *buf, size_t count, off_t offset);
	ssize_t (*pwrite)(struct nst_host *host, int fd, const void *buf, size_t count,
			  off_t offset);
	void *(*mmap)(struct nst_host *host, size_t length, int prot, int flags, int fd,
		      off_t offset, int *err);
	int (*munmap)(struct nst_host *host, void *addr, size_t length);
	void (*destroy)(struct nst_host *host);
};

/** struct nst_host - what a host implementation embeds as its first member. */
struct nst_host {
	const struct nst_host_ops *ops;
};

/** nst_host_destroy() - end a host. @host may be NULL. */
NST_API void nst_host_destroy(struct nst_host *host);

/**
 * nst_host_kernel_create() - the running Linux kernel as a host.
 * Errors: -ENOMEM. Source: Documentation/userspace-api/iommufd.rst.
 */
NST_MUST_CHECK NST_API int nst_host_kernel_create(struct nst_host **out);

#ifdef __cplusplus
}
#endif
#endif
