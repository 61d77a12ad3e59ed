// SPDX-License-Identifier: BSD-3-Clause
/*
 * Preloaded into QEMU: how many ioctls of iommufd and VFIO it makes, and how long they take. At its end
 * lines of "CODE CALLS NANOSECONDS" go to $COUNT_FILE, the codes in hexadecimal as in the kernel's headers.
 */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>

enum { TYPE = ';', CODES = 256 }; /* of both; the number is the low byte */

static struct {
	atomic_ullong calls, ns;
} counts[CODES];

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

int ioctl(int fd, unsigned long request, ...)
{
	static int (*real)(int fd, unsigned long request, void *arg);
	uint64_t start;
	va_list ap;
	void *arg;
	int ret;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (!real)
		real = (int (*)(int, unsigned long, void *))dlsym(RTLD_NEXT, "ioctl");
	if (_IOC_TYPE(request) != TYPE)
		return real(fd, request, arg);
	start = now_ns();
	ret = real(fd, request, arg);
	atomic_fetch_add(&counts[_IOC_NR(request)].ns, now_ns() - start);
	atomic_fetch_add(&counts[_IOC_NR(request)].calls, 1);
	return ret;
}

__attribute__((destructor)) static void tell(void)
{
	const char *path = getenv("COUNT_FILE");
	FILE *f = path ? fopen(path, "w") : NULL;

	for (unsigned int i = 0; f && i < CODES; i++)
		if (counts[i].calls)
			fprintf(f, "%x %llu %llu\n", i, counts[i].calls, counts[i].ns);
	if (f)
		fclose(f);
}
