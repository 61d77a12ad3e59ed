// SPDX-License-Identifier: BSD-3-Clause
/*
 * The guest's test of shared virtual addressing: a DMA engine (dmatest, docs/dmatest.md)
 * works in this process's address space, through its own pointers. What the device read
 * and wrote is compared with what the processor did, and the other way round; the
 * pattern both know is dmatest_spec.h's.
 *
 *	sva		every part
 *	sva PART...	only these
 *
 * Prints a line for each part; ends at the first thing that is not as it must be, with 1.
 */
#include "sva.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define TIMEOUT_MS 60000

bool on_demand;

void check_that(bool ok, const char *where, int line, const char *what, ...)
{
	va_list args;

	if (ok)
		return;
	printf("%s:%d: ", where, line);
	va_start(args, what);
	vprintf(what, args);
	va_end(args);
	puts("");
	fflush(stdout);
	/* with all other processes of the test, that wait for this one */
	kill(0, SIGKILL);
	_exit(1);
}

int open_device(void)
{
	int fd = open("/dev/dmatest0", O_RDWR | O_CLOEXEC);

	check(fd >= 0, "/dev/dmatest0: %s", strerror(errno));
	return fd;
}

uint32_t pasid_of(int fd)
{
	uint32_t pasid = 0;

	check(!ioctl(fd, DMATEST_IOC_PASID, &pasid), "PASID: %s", strerror(errno));
	return pasid;
}

struct dmatest_statistics statistics(int fd)
{
	struct dmatest_statistics s = { 0 };

	check(!ioctl(fd, DMATEST_IOC_STATISTICS, &s), "statistics: %s", strerror(errno));
	return s;
}

void submit(int fd, const struct dmatest_submit *s)
{
	check(!ioctl(fd, DMATEST_IOC_SUBMIT, s), "submit: %s", strerror(errno));
}

struct dmatest_wait wait_for(int fd)
{
	struct dmatest_wait w = { .timeout_ms = TIMEOUT_MS };

	check(!ioctl(fd, DMATEST_IOC_WAIT, &w), "wait: %s", strerror(errno));
	return w;
}

struct dmatest_wait operate(int fd, const struct dmatest_submit *s)
{
	submit(fd, s);
	return wait_for(fd);
}

void must(int fd, enum dmatest_status status, const struct dmatest_submit *s)
{
	struct dmatest_wait w = operate(fd, s);

	check(w.status == status,
	      "operation %u at 0x%llx ended with %u, not %u, at 0x%llx after %u bytes, %u requests",
	      s->operation, s->address[0], w.status, status, w.fault, w.done, w.page_requests);
}

static struct dmatest_area pages_of(const void *p, size_t size)
{
	uint64_t first = AT(p) & ~(PAGE_SIZE_4K - 1ull);
	uint64_t end = (AT(p) + size + PAGE_SIZE_4K - 1) & ~(PAGE_SIZE_4K - 1ull);

	return (struct dmatest_area){ .address = first, .length = end - first };
}

void share(int fd, const void *p, size_t size)
{
	struct dmatest_area a = pages_of(p, size);

	check(ioctl(fd, DMATEST_IOC_SHARE, &a) == on_demand, "share: %s", strerror(errno));
}

void unshare(int fd, const void *p, size_t size)
{
	struct dmatest_area a = pages_of(p, size);

	check(ioctl(fd, DMATEST_IOC_UNSHARE, &a) == on_demand, "unshare: %s", strerror(errno));
}

/* Where the kernel has no shared virtual addressing, no area is there to be given back. */
static bool has_all(int fd)
{
	struct dmatest_area none = { 0 };
	int ret = ioctl(fd, DMATEST_IOC_UNSHARE, &none);

	check(ret == 1 || (ret < 0 && errno == ENOENT), "unshare: %d", ret);
	return ret == 1;
}

void *map_at(void *where, size_t size, int prot)
{
	int fixed = where ? MAP_FIXED : 0;
	void *p = mmap(where, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0);

	check(p != MAP_FAILED, "mmap: %s", strerror(errno));
	/* one big page would need one fault */
	check(!madvise(p, size, MADV_NOHUGEPAGE) || errno == EINVAL, "madvise");
	return p;
}

static uint8_t pattern_byte(uint64_t seed, size_t i)
{
	return (uint8_t)(dmatest_pattern_word(seed, i / 8) >> (i % 8 * 8));
}

void fill(void *buf, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < size; i++)
		((volatile uint8_t *)buf)[i] = pattern_byte(seed, i);
}

void check_pattern(const void *buf, size_t size, uint64_t seed)
{
	const volatile uint8_t *bytes = buf;

	for (size_t i = 0; i < size; i++)
		check(bytes[i] == pattern_byte(seed, i), "byte %zu at %p is %02x, not %02x", i, buf,
		      bytes[i], pattern_byte(seed, i));
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} parts[] = {
		{ "present", part_present }, { "faults", part_faults }, { "unmap", part_unmap },
		{ "cow", part_cow },	     { "many", part_many },	{ "exit", part_exit },
		{ "gone", part_gone },
	};
	struct dmatest_statistics s;
	int fd;

	check(!setpgid(0, 0), "setpgid: %s", strerror(errno));
	fd = open_device();
	on_demand = has_all(fd);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		bool wanted = argc == 1;

		for (int a = 1; a < argc; a++)
			wanted |= !strcmp(argv[a], parts[i].name);
		if (!wanted)
			continue;
		/* of the device's 64 queues all are wanted */
		close(fd);
		parts[i].run();
		fd = open_device();
		s = statistics(fd);
		printf("%s: page requests %llu, responses %llu, refused %llu, unexpected %llu\n",
		       parts[i].name, s.page_requests, s.responses, s.refused, s.unexpected);
		fflush(stdout);
	}
	return 0;
}
