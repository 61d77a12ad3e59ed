/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The functions that the library stands in front of, as the next one in line has them:
 * the C library, or another preloaded library.
 *
 * Everything linked into the preloaded library - software host, devices, this - gets these
 * too, because it is linked with --wrap for each name: only calls from outside ever see
 * interpose.c, so nothing here can call itself.
 */
#ifndef FRONTEND_PRELOAD_REAL_H
#define FRONTEND_PRELOAD_REAL_H

#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

struct real_functions {
	int (*open)(const char *path, int flags, ...);
	int (*openat)(int dir, const char *path, int flags, ...);
	int (*access)(const char *path, int mode);
	int (*faccessat)(int dir, const char *path, int mode, int flags);
	int (*fstat)(int fd, struct stat *st);
	int (*close)(int fd);
	int (*close_range)(unsigned int first, unsigned int last, int flags);
	int (*dup)(int fd);
	int (*dup2)(int fd, int newfd);
	int (*dup3)(int fd, int newfd, int flags);
	int (*fcntl)(int fd, int cmd, ...);
	int (*ioctl)(int fd, unsigned long request, ...);
	ssize_t (*read)(int fd, void *buf, size_t count);
	ssize_t (*write)(int fd, const void *buf, size_t count);
	ssize_t (*pread)(int fd, void *buf, size_t count, off_t offset);
	ssize_t (*pwrite)(int fd, const void *buf, size_t count, off_t offset);
	void *(*mmap)(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
	int (*munmap)(void *addr, size_t length);
	ssize_t (*read_chk)(int fd, void *buf, size_t count, size_t size);
	ssize_t (*pread_chk)(int fd, void *buf, size_t count, off_t offset, size_t size);
};

/* May be called before any constructor has run. */
const struct real_functions *real(void);

#endif
