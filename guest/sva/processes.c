// SPDX-License-Identifier: BSD-3-Clause
/*
 * Many processes, each with a PASID of its own: all at once, with the same addresses, and
 * some that end, or lose the device, while it is at work in their memory.
 */
#include "sva.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESSES 64
#define PAGE PAGE_SIZE_4K

static pid_t start_process(void)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	check(pid >= 0, "fork: %s", strerror(errno));
	return pid;
}

/* --- 64 at once ---------------------------------------------------------------------------------
 */

/* Where every process has its memory, and no program anything else. */
#define SHARED_PLACE ((void *)0x100000000000)
#define MANY_PAGES 16
#define ROUNDS 3

static void work_at_same_place(int fd, uint64_t seed)
{
	const size_t size = MANY_PAGES * PAGE;

	for (int round = 0; round < ROUNDS; round++, seed += 1000) {
		uint8_t *p = map_at(SHARED_PLACE, size, PROT_READ | PROT_WRITE);

		share(fd, p, size);
		must(fd, DMATEST_OK, WRITE_OP(PRI, p, size, seed));
		check_pattern(p, size, seed);
		fill(p, size / 2, ~seed);
		must(fd, DMATEST_OK, VERIFY_OP(PRI, p, size / 2, ~seed));
		must(fd, DMATEST_OK, COPY_OP(PRI, p, p + size / 2, size / 2));
		check_pattern(p + size / 2, size / 2, ~seed);
		unshare(fd, p, size);
		munmap(p, size);
	}
}

/* A byte for each process: none can take another's for the next. */
static void release_all(const int gate[2])
{
	const char bytes[PROCESSES] = { 0 };

	check(write(gate[1], bytes, PROCESSES) == PROCESSES, "write");
}

static void pass(const int gate[2])
{
	char c;

	check(read(gate[0], &c, 1) == 1, "read");
}

/* Tell the PASID; work when all are there; stay until all have ended. */
static void one_of_many(unsigned int index, int to_parent, const int start[2], const int end[2])
{
	int fd = open_device();
	uint32_t pasid = pasid_of(fd);

	check(write(to_parent, &pasid, sizeof(pasid)) == sizeof(pasid), "write");
	pass(start);
	work_at_same_place(fd, 7000 * (index + 1));
	pasid = 0;
	check(write(to_parent, &pasid, sizeof(pasid)) == sizeof(pasid), "write");
	pass(end);
	_exit(0);
}

void part_many(void)
{
	uint32_t pasids[PROCESSES] = { 0 }, done;
	int up[2], start[2], end[2], status;

	check(!pipe(up) && !pipe(start) && !pipe(end), "pipe: %s", strerror(errno));
	for (unsigned int i = 0; i < PROCESSES; i++)
		if (!start_process())
			one_of_many(i, up[1], start, end);
	close(up[1]);
	for (unsigned int i = 0; i < PROCESSES; i++) {
		check(read(up[0], &pasids[i], 4) == 4, "a process is gone");
		check(pasids[i], "PASID 0");
		for (unsigned int j = 0; j < i; j++)
			check(pasids[i] != pasids[j], "PASID %u twice", pasids[i]);
	}
	check(open("/dev/dmatest0", O_RDWR) < 0 && errno == EBUSY, "a 65th queue");
	release_all(start);
	for (unsigned int i = 0; i < PROCESSES; i++)
		check(read(up[0], &done, 4) == 4 && !done, "a process is gone");
	release_all(end);
	for (unsigned int i = 0; i < PROCESSES; i++)
		check(wait(&status) > 0 && !status, "a process ended with %d", status);
	close(up[0]);
	for (unsigned int i = 0; i < 2; i++) {
		close(start[i]);
		close(end[i]);
	}
}

/* --- the end of a process during DMA -------------------------------------------------------------
 */

#define VICTIMS 12
#define VICTIM_BYTES (1u << DMATEST_LENGTH_LG2)

enum ending { KILLED, EXITS, CLOSES, UNMAPS };

/* Four operations are under way, as many as a queue works at, and the first bytes have come. */
static void keep_busy(int fd, uint8_t *p)
{
	share(fd, p, 4ul * VICTIM_BYTES);
	for (size_t i = 0; i < 4; i++)
		submit(fd, WRITE_OP(PRI, p + i * VICTIM_BYTES, VICTIM_BYTES, i));
	while (!*(volatile uint64_t *)(p + PAGE))
		;
}

/* Never returns. */
static void victim(int to_parent, enum ending ending)
{
	uint8_t *p = map_at(NULL, 4ul * VICTIM_BYTES, PROT_READ | PROT_WRITE);
	int fd = open_device();
	uint32_t pasid = pasid_of(fd);

	keep_busy(fd, p);
	check(write(to_parent, &pasid, sizeof(pasid)) == sizeof(pasid), "write");
	/* what is shared is pinned: unshare() is for after the DMA, as any driver's unmapping */
	if (ending == UNMAPS)
		munmap(p, 4ul * VICTIM_BYTES);
	if (ending == CLOSES)
		close(fd);
	if (ending != KILLED)
		_exit(0);
	for (;;)
		pause();
}

static uint32_t end_one(enum ending ending)
{
	int up[2], status;
	uint32_t pasid;
	pid_t pid;

	check(!pipe(up), "pipe");
	pid = start_process();
	if (!pid)
		victim(up[1], ending);
	close(up[1]);
	check(read(up[0], &pasid, sizeof(pasid)) == sizeof(pasid), "the process is gone");
	if (ending == KILLED)
		kill(pid, SIGKILL);
	check(waitpid(pid, &status, 0) == pid, "waitpid");
	check(ending == KILLED ? WIFSIGNALED(status) : !status, "the process: %d", status);
	close(up[0]);
	return pasid;
}

void part_exit(void)
{
	uint32_t pasids[VICTIMS];
	bool again = false;
	int fd;

	for (unsigned int i = 0; i < VICTIMS; i++) {
		pasids[i] = end_one(i % 4);
		for (unsigned int j = 0; j < i; j++)
			again |= pasids[i] == pasids[j];
		fd = open_device();
		work_at_same_place(fd, i + 1);
		close(fd);
	}
	check(again, "no PASID was used again");
}

/* --- the end of the device during DMA
 * -------------------------------------------------------------- */

#define DRIVER "/sys/bus/pci/drivers/dmatest/"

/* The device's address, as bind and unbind want it. */
static void find_device(char *name, size_t size)
{
	DIR *dir = opendir(DRIVER);
	struct dirent *entry;

	check(dir, DRIVER ": %s", strerror(errno));
	*name = 0;
	while ((entry = readdir(dir)))
		if (strchr(entry->d_name, ':'))
			snprintf(name, size, "%s", entry->d_name);
	closedir(dir);
	check(*name, "the driver has no device");
}

static void tell_driver(const char *file, const char *name)
{
	int fd = open(file, O_WRONLY);

	check(fd >= 0 && write(fd, name, strlen(name)) == (ssize_t)strlen(name), "%s: %s", file,
	      strerror(errno));
	close(fd);
}

void part_gone(void)
{
	uint8_t *p = map_at(NULL, 4ul * VICTIM_BYTES, PROT_READ | PROT_WRITE);
	struct dmatest_wait w = { .timeout_ms = 1000 };
	int fd = open_device(), other = open_device();
	char name[256];

	/* one of the address space, or one of each queue */
	check((pasid_of(fd) == pasid_of(other)) == on_demand, "PASIDs of a process");
	find_device(name, sizeof(name));
	keep_busy(fd, p);
	keep_busy(other, p);
	tell_driver(DRIVER "unbind", name);
	check(ioctl(fd, DMATEST_IOC_WAIT, &w) && errno == ENODEV, "wait: %s", strerror(errno));
	check(ioctl(fd, DMATEST_IOC_SUBMIT, WRITE_OP(PRI, p, 8, 1)) && errno == ENODEV, "submit");
	tell_driver(DRIVER "bind", name);
	close(fd);
	fd = open_device();
	work_at_same_place(fd, 1);
	close(fd);
	close(other);
	munmap(p, 4ul * VICTIM_BYTES);
}
