// SPDX-License-Identifier: BSD-3-Clause
/*
 * The functions that the command finds before the C library's. Each asks whether the
 * descriptor is ours - one load, one compare - and is the real one if not.
 *
 * These are what programs built with glibc import for open, ioctl and so on, with and
 * without 64-bit off_t and _FORTIFY_SOURCE. The names must be the plain ones, so nothing
 * may rename them.
 */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE

#include "frontend/preload/preload.h"
#include "frontend/preload/real.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* What fortified programs import; no header declares these. */
EXPORT int __open_2(const char *path, int flags);
EXPORT int __open64_2(const char *path, int flags);
EXPORT int __openat_2(int dir, const char *path, int flags);
EXPORT int __openat64_2(int dir, const char *path, int flags);
EXPORT ssize_t __read_chk(int fd, void *buf, size_t count, size_t size);
EXPORT ssize_t __pread_chk(int fd, void *buf, size_t count, off_t offset, size_t size);
EXPORT ssize_t __pread64_chk(int fd, void *buf, size_t count, off_t offset, size_t size);
EXPORT int fcntl64(int fd, int cmd, ...);

/* The result of a call of ours in the form of a system call's; success keeps errno. */
static ssize_t finish(ssize_t ret, int old_errno)
{
	errno = ret < 0 ? (int)-ret : old_errno;
	return ret < 0 ? -1 : ret;
}

/* --- paths ---------------------------------------------------------------------------------- */

static int do_open(const char *path, int flags, mode_t mode)
{
	int old_errno = errno;

	if (__builtin_expect(preload_serves(path), 0))
		return (int)finish(preload_open(path, flags), old_errno);
	return real()->open(path, flags, mode);
}

static int do_openat(int dir, const char *path, int flags, mode_t mode)
{
	int old_errno = errno;

	if (__builtin_expect(preload_serves(path), 0))
		return (int)finish(preload_open(path, flags), old_errno);
	return real()->openat(dir, path, flags, mode);
}

/* The mode of an open that may create a file; the argument is there only then. */
#define TAKE_MODE(mode, flags)                                             \
	do {                                                               \
		if ((flags)&O_CREAT || ((flags)&O_TMPFILE) == O_TMPFILE) { \
			va_list ap_;                                       \
                                                                           \
			va_start(ap_, flags);                              \
			(mode) = va_arg(ap_, mode_t);                      \
			va_end(ap_);                                       \
		}                                                          \
	} while (0)

EXPORT int open(const char *path, int flags, ...)
{
	mode_t mode = 0;

	TAKE_MODE(mode, flags);
	return do_open(path, flags, mode);
}

EXPORT int open64(const char *path, int flags, ...)
{
	mode_t mode = 0;

	TAKE_MODE(mode, flags);
	return do_open(path, flags, mode);
}

EXPORT int openat(int dir, const char *path, int flags, ...)
{
	mode_t mode = 0;

	TAKE_MODE(mode, flags);
	return do_openat(dir, path, flags, mode);
}

EXPORT int openat64(int dir, const char *path, int flags, ...)
{
	mode_t mode = 0;

	TAKE_MODE(mode, flags);
	return do_openat(dir, path, flags, mode);
}

EXPORT int __open_2(const char *path, int flags)
{
	return do_open(path, flags, 0);
}

EXPORT int __open64_2(const char *path, int flags)
{
	return do_open(path, flags, 0);
}

EXPORT int __openat_2(int dir, const char *path, int flags)
{
	return do_openat(dir, path, flags, 0);
}

EXPORT int __openat64_2(int dir, const char *path, int flags)
{
	return do_openat(dir, path, flags, 0);
}

EXPORT int access(const char *path, int mode)
{
	int old_errno = errno;

	if (__builtin_expect(preload_serves(path), 0))
		return (int)finish(preload_access(path, mode), old_errno);
	return real()->access(path, mode);
}

EXPORT int faccessat(int dir, const char *path, int mode, int flags)
{
	int old_errno = errno;

	if (__builtin_expect(preload_serves(path), 0))
		return (int)finish(preload_access(path, mode), old_errno);
	return real()->faccessat(dir, path, mode, flags);
}

static int do_fstat(int fd, struct stat *st)
{
	int ret = real()->fstat(fd, st);

	if (!ret && preload_owns(fd))
		preload_fstat(fd, st);
	return ret;
}

EXPORT int fstat(int fd, struct stat *st)
{
	return do_fstat(fd, st);
}

EXPORT int fstat64(int fd, struct stat64 *st)
{
	_Static_assert(sizeof(struct stat64) == sizeof(struct stat), "the same on 64-bit machines");
	return do_fstat(fd, (struct stat *)st);
}

/* --- close and duplicates ------------------------------------------------------------------- */

EXPORT int close(int fd)
{
	int old_errno = errno;

	if (!preload_owns(fd))
		return real()->close(fd);
	return (int)finish(preload_close(fd), old_errno);
}

EXPORT int close_range(unsigned int first, unsigned int last, int flags)
{
	if (!(flags & (int)CLOSE_RANGE_CLOEXEC) && first <= last)
		for (unsigned int fd = first; fd <= last && fd < PRELOAD_MAX_FDS; fd++)
			if (preload_owns((int)fd))
				preload_close((int)fd);
	return real()->close_range(first, last, flags);
}

EXPORT void closefrom(int first)
{
	close_range(first < 0 ? 0 : (unsigned int)first, ~0U, 0);
}

/* The system made @newfd of @fd, or failed. */
static int finish_dup(int fd, int newfd)
{
	int old_errno = errno, err;

	if (newfd < 0)
		return newfd;
	err = preload_duplicated(fd, newfd);
	if (!err) {
		errno = old_errno;
		return newfd;
	}
	real()->close(newfd);
	errno = -err;
	return -1;
}

EXPORT int dup(int fd)
{
	return finish_dup(fd, real()->dup(fd));
}

EXPORT int dup2(int fd, int newfd)
{
	return finish_dup(fd, real()->dup2(fd, newfd));
}

EXPORT int dup3(int fd, int newfd, int flags)
{
	return finish_dup(fd, real()->dup3(fd, newfd, flags));
}

static int do_fcntl(int fd, int cmd, void *arg)
{
	int ret = real()->fcntl(fd, cmd, arg);

	return cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC ? finish_dup(fd, ret) : ret;
}

EXPORT int fcntl(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return do_fcntl(fd, cmd, arg);
}

EXPORT int fcntl64(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return do_fcntl(fd, cmd, arg);
}

/* --- calls ---------------------------------------------------------------------------------- */

EXPORT int ioctl(int fd, unsigned long request, ...)
{
	int old_errno = errno;
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (preload_owns(fd) ||
	    (__builtin_expect(_IOC_TYPE(request) == VFIO_TYPE, 0) && preload_adopts(fd)))
		return (int)finish(preload_ioctl(fd, request, arg), old_errno);
	if (__builtin_expect(request == KVM_SET_DEVICE_ATTR, 0) && preload_is_kvm_vfio(fd, arg))
		return (int)finish(0, old_errno);
	return real()->ioctl(fd, request, arg);
}

EXPORT ssize_t read(int fd, void *buf, size_t count)
{
	int old_errno = errno;

	if (!preload_owns(fd))
		return real()->read(fd, buf, count);
	return finish(preload_read(fd, buf, count), old_errno);
}

EXPORT ssize_t __read_chk(int fd, void *buf, size_t count, size_t size)
{
	if (!preload_owns(fd) || count > size)
		return real()->read_chk(fd, buf, count, size);
	return read(fd, buf, count);
}

EXPORT ssize_t write(int fd, const void *buf, size_t count)
{
	int old_errno = errno;

	if (!preload_owns(fd))
		return real()->write(fd, buf, count);
	return finish(preload_write(fd, buf, count), old_errno);
}

static ssize_t do_pread(int fd, void *buf, size_t count, off_t offset)
{
	int old_errno = errno;

	if (!preload_owns(fd))
		return real()->pread(fd, buf, count, offset);
	return finish(preload_pread(fd, buf, count, offset), old_errno);
}

EXPORT ssize_t pread(int fd, void *buf, size_t count, off_t offset)
{
	return do_pread(fd, buf, count, offset);
}

EXPORT ssize_t pread64(int fd, void *buf, size_t count, off_t offset)
{
	return do_pread(fd, buf, count, offset);
}

EXPORT ssize_t __pread_chk(int fd, void *buf, size_t count, off_t offset, size_t size)
{
	if (!preload_owns(fd) || count > size)
		return real()->pread_chk(fd, buf, count, offset, size);
	return do_pread(fd, buf, count, offset);
}

EXPORT ssize_t __pread64_chk(int fd, void *buf, size_t count, off_t offset, size_t size)
{
	return __pread_chk(fd, buf, count, offset, size);
}

static ssize_t do_pwrite(int fd, const void *buf, size_t count, off_t offset)
{
	int old_errno = errno;

	if (!preload_owns(fd))
		return real()->pwrite(fd, buf, count, offset);
	return finish(preload_pwrite(fd, buf, count, offset), old_errno);
}

EXPORT ssize_t pwrite(int fd, const void *buf, size_t count, off_t offset)
{
	return do_pwrite(fd, buf, count, offset);
}

EXPORT ssize_t pwrite64(int fd, const void *buf, size_t count, off_t offset)
{
	return do_pwrite(fd, buf, count, offset);
}

static void *do_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	int old_errno = errno, err = 0;
	void *mapped;

	if ((flags & MAP_ANONYMOUS) || !preload_owns(fd))
		return real()->mmap(addr, length, prot, flags, fd, offset);
	mapped = preload_mmap(length, prot, flags, fd, offset, &err);
	errno = mapped ? old_errno : -err;
	return mapped ? mapped : MAP_FAILED;
}

EXPORT void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	return do_mmap(addr, length, prot, flags, fd, offset);
}

EXPORT void *mmap64(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	return do_mmap(addr, length, prot, flags, fd, offset);
}

EXPORT int munmap(void *addr, size_t length)
{
	int old_errno = errno;

	if (!__builtin_expect(preload_maps(addr, length), 0))
		return real()->munmap(addr, length);
	return (int)finish(preload_munmap(addr, length), old_errno);
}
