// SPDX-License-Identifier: BSD-3-Clause
/*
 * One process, and what it does with its memory while a device works in it: pages that
 * are there, that are not there yet, no longer, or not for writing.
 */
#include "sva.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE PAGE_SIZE_4K

/* --- pages that are there ------------------------------------------------------------------- */

static void both_ways(int fd, uint8_t *buf, size_t size, unsigned int how)
{
	struct dmatest_wait w;

	fill(buf, size, 1);
	must(fd, DMATEST_OK, VERIFY_OP(how, buf, size, 1));
	must(fd, DMATEST_OK, WRITE_OP(how, buf, size, 2));
	check_pattern(buf, size, 2);
	buf[size / 2] ^= 0x10;
	w = operate(fd, VERIFY_OP(how, buf, size, 2));
	check(w.status == DMATEST_MISMATCH && w.done == size / 2, "status %u at %u", w.status,
	      w.done);
	w = operate(fd, &(struct dmatest_submit){ .operation = DMATEST_READ,
						  .flags = how,
						  .address = { AT(buf) },
						  .length = (uint32_t)size,
						  .tag = 77 });
	check(w.status == DMATEST_OK && w.tag == 77, "status %u", w.status);
	check(w.checksum == dmatest_checksum(DMATEST_CHECKSUM_START, buf, size), "checksum");
}

/* A file with the pattern in it, mapped, and none of its pages. */
static uint8_t *map_file(size_t size, uint64_t seed)
{
	uint8_t *p, *content = malloc(size);
	int file = open("/tmp/sva-file", O_RDWR | O_CREAT | O_TRUNC, 0600);

	check(content && file >= 0, "/tmp/sva-file: %s", strerror(errno));
	fill(content, size, seed);
	check(write(file, content, size) == (ssize_t)size, "write: %s", strerror(errno));
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	check(p != MAP_FAILED, "mmap: %s", strerror(errno));
	close(file);
	free(content);
	return p;
}

void part_present(void)
{
	static uint8_t data[3 * PAGE];
	uint8_t stack[2 * PAGE], *heap = malloc(20000), *file = map_file(4 * PAGE, 3);
	int fd = open_device();

	check(heap, "malloc");
	fill(stack, sizeof(stack), 0);
	fill(heap, 20000, 0);
	fill(data, sizeof(data), 0);
	check_pattern(file, 4 * PAGE, 3);
	share(fd, stack, sizeof(stack));
	share(fd, heap, 20000);
	share(fd, data, sizeof(data));
	share(fd, file, 4 * PAGE);
	for (unsigned int how = PLAIN; how <= ATS; how++) {
		both_ways(fd, stack + 5, sizeof(stack) - 9, how);
		both_ways(fd, heap + 3, 19990, how);
		both_ways(fd, data, sizeof(data), how);
		both_ways(fd, file + 100, 3 * PAGE, how);
		fill(heap, 8000, 4);
		must(fd, DMATEST_OK, COPY_OP(how, heap, stack, 8000));
		check_pattern(stack, 8000, 4);
	}
	check(!statistics(fd).page_requests, "page requests");
	munmap(file, 4 * PAGE);
	free(heap);
	close(fd);
}

/* --- pages that are not there yet ------------------------------------------------------------ */

#define FAULT_PAGES 64

/* An address of the kernel's, which no process may reach, nor its device. */
static uint64_t kernel_address(void)
{
	FILE *symbols = fopen("/proc/kallsyms", "r");
	unsigned long long address = 0;
	char name[128], kind;

	check(symbols, "/proc/kallsyms: %s", strerror(errno));
	while (fscanf(symbols, "%llx %c %127s%*[^\n]", &address, &kind, name) == 3)
		if (!strcmp(name, "_stext"))
			break;
	fclose(symbols);
	check(address, "no address of the kernel");
	return address;
}

/* The unit tells of an untranslated request, and by that the job finds its PASID and address. */
static void must_be_told(int fd, uint64_t address)
{
	must(fd, DMATEST_DMA_REFUSED, WRITE_OP(PLAIN, address, 8, 7));
	printf("told: pasid 0x%x at 0x%llx\n", pasid_of(fd), (unsigned long long)address);
}

/* Nobody can ask: what is not shared is refused, and stays as it is. */
static void refused_faults(void)
{
	uint8_t *p = map_at(NULL, 3 * PAGE, PROT_READ | PROT_WRITE);
	int fd = open_device(), other = open_device();

	fill(p, 3 * PAGE, 6);
	must_be_told(fd, AT(p));
	must(fd, DMATEST_NO_PERMISSION, WRITE_OP(ATS, p, 8, 7));
	must(fd, DMATEST_NO_PERMISSION, WRITE_OP(ATS, kernel_address(), 8, 7));
	check_pattern(p, 3 * PAGE, 6);
	/* those beside a page that is shared, and that page after */
	share(fd, p + PAGE, PAGE);
	must(fd, DMATEST_OK, COPY_OP(PLAIN, p + PAGE, p + PAGE, PAGE));
	must_be_told(fd, AT(p + PAGE) - 8);
	must_be_told(fd, AT(p + 2 * PAGE));
	must_be_told(other, AT(p + PAGE));
	unshare(fd, p + PAGE, PAGE);
	must_be_told(fd, AT(p + PAGE));
	must_be_told(fd, kernel_address());
	must_be_told(fd, 0);
	check_pattern(p, 3 * PAGE, 6);
	munmap(p, 3 * PAGE);
	close(other);
	close(fd);
}

static void requested_faults(void)
{
	const size_t size = FAULT_PAGES * PAGE;
	uint8_t *p = map_at(NULL, size, PROT_READ | PROT_WRITE), *file = map_file(size, 5);
	int fd = open_device();
	struct dmatest_wait w;

	/* who may not ask gets nothing */
	w = operate(fd, WRITE_OP(ATS, p + PAGE, PAGE, 6));
	check(w.status == DMATEST_NO_PERMISSION && w.fault == AT(p + PAGE), "status %u at 0x%llx",
	      w.status, w.fault);
	/* written: every page is asked for */
	w = operate(fd, WRITE_OP(PRI, p, size, 6));
	check(w.status == DMATEST_OK && w.page_requests >= FAULT_PAGES, "status %u, %u requests",
	      w.status, w.page_requests);
	check_pattern(p, size, 6);
	w = operate(fd, VERIFY_OP(PRI, p, size, 6));
	check(w.status == DMATEST_OK && !w.page_requests, "status %u", w.status);
	/* read: of a file, and zeros of memory that nobody wrote */
	must(fd, DMATEST_OK, VERIFY_OP(PRI, file, size, 5));
	must(fd, DMATEST_OK, COPY_OP(PRI, map_at(NULL, size, PROT_READ), p, size));
	for (size_t i = 0; i < size; i++)
		check(!p[i], "byte %zu is %02x, not 0", i, p[i]);
	/* what the process may not do its device may not do */
	must(fd, DMATEST_PAGE_INVALID, WRITE_OP(PRI, kernel_address(), 8, 7));
	must(fd, DMATEST_PAGE_INVALID, VERIFY_OP(PRI, kernel_address(), 8, 7));
	must(fd, DMATEST_PAGE_INVALID, WRITE_OP(PRI, NULL, 8, 7));
	munmap(p, size);
	munmap(file, size);
	close(fd);
}

void part_faults(void)
{
	if (on_demand)
		requested_faults();
	else
		refused_faults();
}

/* --- pages that go, or change ------------------------------------------------------------------
 */

static void unmap_and_map(int fd, uint8_t *p, size_t size, uint64_t seed)
{
	share(fd, p, size);
	must(fd, DMATEST_OK, WRITE_OP(PRI, p, size, seed));
	check_pattern(p, size, seed);
	unshare(fd, p, size);
	check(!munmap(p, size), "munmap: %s", strerror(errno));
	must(fd, NOT_THERE, WRITE_OP(PRI, p, size, seed));
	must(fd, DMATEST_NO_PERMISSION, VERIFY_OP(ATS, p + size - 8, 8, seed));
	/* other memory in its place, which the processor writes and then the device */
	check(map_at(p, size, PROT_READ | PROT_WRITE) == p, "mmap");
	fill(p, size, seed + 1);
	share(fd, p, size);
	must(fd, DMATEST_OK, VERIFY_OP(ATS, p, size, seed + 1));
	must(fd, DMATEST_OK, WRITE_OP(ATS, p, size, seed + 2));
	check_pattern(p, size, seed + 2);
	unshare(fd, p, size);
}

static void change_protection(int fd, uint8_t *p, size_t size)
{
	/* not for writing any more, and again */
	fill(p, size, 8);
	check(!mprotect(p, size, PROT_READ), "mprotect");
	must(fd, DMATEST_NO_PERMISSION, WRITE_OP(ATS, p, size, 9));
	must(fd, DMATEST_PAGE_INVALID, WRITE_OP(PRI, p, size, 9));
	must(fd, DMATEST_OK, VERIFY_OP(PRI, p, size, 8));
	check(!mprotect(p, size, PROT_NONE), "mprotect");
	must(fd, DMATEST_PAGE_INVALID, VERIFY_OP(PRI, p, size, 8));
	check(!mprotect(p, size, PROT_READ | PROT_WRITE), "mprotect");
	must(fd, DMATEST_OK, VERIFY_OP(PRI, p, size, 8));
	must(fd, DMATEST_OK, WRITE_OP(PRI, p, size, 9));
	check_pattern(p, size, 9);
	/* given up, but not unmapped: zeros come instead */
	check(!madvise(p, size, MADV_DONTNEED), "madvise");
	must(fd, DMATEST_OK, COPY_OP(PRI, p, p + size / 2, size / 2));
	for (size_t i = 0; i < size; i++)
		check(!p[i], "byte %zu is %02x, not 0", i, p[i]);
}

void part_unmap(void)
{
	const size_t size = 8 * PAGE;
	uint8_t *p = map_at(NULL, size, PROT_READ | PROT_WRITE);
	int fd = open_device();

	for (uint64_t i = 0; i < 20; i++)
		unmap_and_map(fd, p, size, 100 * i);
	/* what is shared is pinned, whatever becomes of the process's own mapping */
	if (on_demand)
		change_protection(fd, p, size);
	munmap(p, size);
	close(fd);
}

/* --- copy on write ------------------------------------------------------------------------------
 */

static void await_byte(int fd)
{
	char c;

	check(read(fd, &c, 1) == 1, "the other process is gone");
}

/* After a fork the device may not write to what the child has of the page. */
void part_cow(void)
{
	const size_t size = 8 * PAGE;
	uint8_t *p = map_at(NULL, size, PROT_READ | PROT_WRITE);
	int fd = open_device(), go[2], status;
	struct dmatest_wait w;
	pid_t child;

	share(fd, p, size);
	must(fd, DMATEST_OK, WRITE_OP(PRI, p, size, 10));
	check(!pipe(go), "pipe");
	child = fork();
	check(child >= 0, "fork: %s", strerror(errno));
	if (!child) {
		struct dmatest_submit s = *WRITE_OP(PRI, p, size, 12);

		await_byte(go[0]);
		check_pattern(p, size, 10);
		check(ioctl(fd, DMATEST_IOC_SUBMIT, &s) && errno == EPERM, "the parent's queue");
		_exit(0);
	}
	w = operate(fd, WRITE_OP(PRI, p, size, 11));
	check(w.status == DMATEST_OK && w.page_requests >= (on_demand ? 8 : 0),
	      "status %u, %u requests", w.status, w.page_requests);
	check(write(go[1], "", 1) == 1, "write");
	check(waitpid(child, &status, 0) == child && !status, "the child: %d", status);
	check_pattern(p, size, 11);
	close(go[0]);
	close(go[1]);
	munmap(p, size);
	close(fd);
}
