// SPDX-License-Identifier: BSD-3-Clause
/* See real.h. off_t has 64 bits here, so a function and its "64" twin are the same. */
#include "frontend/preload/real.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>

_Static_assert(sizeof(off_t) == 8, "the functions with 64 in their name are the plain ones");

static struct real_functions functions;
static atomic_bool is_resolved;

static void resolve(void)
{
	functions.open = dlsym(RTLD_NEXT, "open64");
	functions.openat = dlsym(RTLD_NEXT, "openat64");
	functions.access = dlsym(RTLD_NEXT, "access");
	functions.faccessat = dlsym(RTLD_NEXT, "faccessat");
	functions.fstat = dlsym(RTLD_NEXT, "fstat64");
	functions.close = dlsym(RTLD_NEXT, "close");
	functions.close_range = dlsym(RTLD_NEXT, "close_range");
	functions.dup = dlsym(RTLD_NEXT, "dup");
	functions.dup2 = dlsym(RTLD_NEXT, "dup2");
	functions.dup3 = dlsym(RTLD_NEXT, "dup3");
	functions.fcntl = dlsym(RTLD_NEXT, "fcntl64");
	functions.ioctl = dlsym(RTLD_NEXT, "ioctl");
	functions.read = dlsym(RTLD_NEXT, "read");
	functions.write = dlsym(RTLD_NEXT, "write");
	functions.pread = dlsym(RTLD_NEXT, "pread64");
	functions.pwrite = dlsym(RTLD_NEXT, "pwrite64");
	functions.mmap = dlsym(RTLD_NEXT, "mmap64");
	functions.munmap = dlsym(RTLD_NEXT, "munmap");
	functions.read_chk = dlsym(RTLD_NEXT, "__read_chk");
	functions.pread_chk = dlsym(RTLD_NEXT, "__pread64_chk");
	atomic_store_explicit(&is_resolved, true, memory_order_release);
}

const struct real_functions *real(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (!atomic_load_explicit(&is_resolved, memory_order_acquire))
		pthread_once(&once, resolve);
	return &functions;
}

/* --- where the linker sends our own calls --------------------------------------------------- */

int __wrap_open64(const char *path, int flags, ...);
int __wrap_fstat64(int fd, struct stat *st);
int __wrap_close(int fd);
int __wrap_fcntl64(int fd, int cmd, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
ssize_t __wrap_read(int fd, void *buf, size_t count);
ssize_t __wrap_write(int fd, const void *buf, size_t count);
ssize_t __wrap_pread64(int fd, void *buf, size_t count, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *buf, size_t count, off_t offset);
void *__wrap_mmap64(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
int __wrap_munmap(void *addr, size_t length);

int __wrap_open64(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	if (flags & (O_CREAT | O_TMPFILE)) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	return real()->open(path, flags, mode);
}

int __wrap_fstat64(int fd, struct stat *st)
{
	return real()->fstat(fd, st);
}

int __wrap_close(int fd)
{
	return real()->close(fd);
}

int __wrap_fcntl64(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return real()->fcntl(fd, cmd, arg);
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	return real()->ioctl(fd, request, arg);
}

ssize_t __wrap_read(int fd, void *buf, size_t count)
{
	return real()->read(fd, buf, count);
}

ssize_t __wrap_write(int fd, const void *buf, size_t count)
{
	return real()->write(fd, buf, count);
}

ssize_t __wrap_pread64(int fd, void *buf, size_t count, off_t offset)
{
	return real()->pread(fd, buf, count, offset);
}

ssize_t __wrap_pwrite64(int fd, const void *buf, size_t count, off_t offset)
{
	return real()->pwrite(fd, buf, count, offset);
}

void *__wrap_mmap64(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	return real()->mmap(addr, length, prot, flags, fd, offset);
}

int __wrap_munmap(void *addr, size_t length)
{
	return real()->munmap(addr, length);
}
