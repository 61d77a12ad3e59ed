/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The software host in the process of somebody else's program: which descriptors are its,
 * and the calls on them.
 *
 *	command --> interpose.c --(descriptor is ours)--> preload.c --> nst_host_ops
 *	                 \------(it is not)--> real.h --> C library
 *
 * A descriptor is marked when the host hands it out. A placeholder (session.h) is marked
 * from the start - or, if it came by another way such as a socket, with its first VFIO
 * ioctl - and becomes an open of its device's cdev with the first call on it. The host is
 * made with the first descriptor: a program that uses none has none, and neither has a
 * child that only inherited the library. A child of the process that has the host owns
 * nothing of it: there, descriptors are what they are to the kernel.
 *
 * Functions return as the operations of the seam do: a negative errno for failure.
 */
#ifndef FRONTEND_PRELOAD_PRELOAD_H
#define FRONTEND_PRELOAD_PRELOAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#define PRELOAD_MAX_FDS 65536

/* By descriptor: 0 not ours, 1 the host's, 2 + N the placeholder of device N. */
extern _Atomic uint8_t preload_marks[PRELOAD_MAX_FDS];

/* Of a marked descriptor: is it ours in this process? Leaves errno alone. */
bool preload_owns_marked(int fd);

static inline bool preload_owns(int fd)
{
	return (unsigned int)fd < PRELOAD_MAX_FDS &&
	       __builtin_expect(atomic_load_explicit(&preload_marks[fd], memory_order_relaxed) != 0,
				0) &&
	       preload_owns_marked(fd);
}

/* An ioctl of VFIO on a descriptor that is not marked: is it a placeholder, and so ours now? */
bool preload_adopts(int fd);

/* Is @path a file that the host serves? */
bool preload_serves(const char *path);
int preload_open(const char *path, int flags);
/* As access(2), without making the host. */
int preload_access(const char *path, int mode);

/* These take a descriptor for which preload_owns() said yes. */
int preload_close(int fd);
/* Makes what fstat(2) said of the placeholder in @st what it says of the cdev. */
void preload_fstat(int fd, struct stat *st);
int preload_ioctl(int fd, unsigned long request, void *arg);
ssize_t preload_read(int fd, void *buf, size_t count);
ssize_t preload_write(int fd, const void *buf, size_t count);
ssize_t preload_pread(int fd, void *buf, size_t count, off_t offset);
ssize_t preload_pwrite(int fd, const void *buf, size_t count, off_t offset);
void *preload_mmap(size_t length, int prot, int flags, int fd, off_t offset, int *err);

/* Does the host have something mapped in this range? */
bool preload_maps(const void *addr, size_t length);
int preload_munmap(void *addr, size_t length);

/* The system has made @newfd a duplicate of @fd, either of which may be ours. */
int preload_duplicated(int fd, int newfd);

/*
 * KVM is told of a VFIO device by its descriptor, and refuses what is none. Is
 * KVM_SET_DEVICE_ATTR with @arg on @kvm_fd such a call, about one of ours?
 */
bool preload_is_kvm_vfio(int kvm_fd, const void *arg);

#endif
