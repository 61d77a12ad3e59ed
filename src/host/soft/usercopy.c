// SPDX-License-Identifier: BSD-3-Clause
/*
 * Reaching the caller's memory as a kernel does: a bad pointer is an error, not a
 * crash. The caller lives in this process, so process_vm_readv(2) on ourselves copies
 * and reports what is not mapped. Where a sandbox forbids that call we have to trust
 * the pointer. Most structures are on the stack of the thread that calls, above our
 * own frame: that memory is there as surely as our return address, and is copied
 * without a system call (1.5 us each on a 2 GHz virtual machine).
 *
 * Whether a range may become DMA memory is asked from /proc/self/maps: unlike touching
 * the pages, that costs no memory and sees permissions. PROCMAP_QUERY (Linux 6.11)
 * spares us the text.
 */
#include "host/soft/soft.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define CHUNK_BYTES 4096

enum direction { FROM_USER, TO_USER };

/* The stack of this thread; not the one that a coroutine may be running on. */
struct stack {
	uintptr_t start, end; /* 0 = not known */
};

static struct stack thread_stack(void)
{
	static _Thread_local struct stack stack;
	pthread_attr_t attr;
	void *base;
	size_t size;

	if (!stack.end && !pthread_getattr_np(pthread_self(), &attr)) {
		if (!pthread_attr_getstack(&attr, &base, &size))
			stack = (struct stack){ (uintptr_t)base, (uintptr_t)base + size };
		pthread_attr_destroy(&attr);
	}
	return stack;
}

/* Is this memory between our frame and the end of our stack? */
static bool is_on_stack(uintptr_t user, size_t size)
{
	uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
	struct stack stack = thread_stack();

	return frame >= stack.start && user > frame && user < stack.end && size <= stack.end - user;
}

/*
 * How many of @size bytes could be copied; they are the first ones. The caller's pointer may
 * be anything, so it is a number until the system looks at it.
 */
static size_t transfer_by_system(enum direction direction, void *ours, uintptr_t user, size_t size)
{
	size_t done = 0;

	while (done < size) {
		struct iovec local = { (char *)ours + done, size - done };
		struct iovec remote = { (void *)(user + done), size - done };
		ssize_t n = direction == FROM_USER
				    ? process_vm_readv(getpid(), &local, 1, &remote, 1, 0)
				    : process_vm_writev(getpid(), &local, 1, &remote, 1, 0);

		if (n > 0) {
			done += (size_t)n;
		} else if (n < 0 && errno != EFAULT) {
			if (direction == FROM_USER)
				memcpy(local.iov_base, remote.iov_base, size - done);
			else
				memcpy(remote.iov_base, local.iov_base, size - done);
			return size;
		} else {
			break;
		}
	}
	return done;
}

static size_t transfer(enum direction direction, void *ours, uintptr_t user, size_t size)
{
	if (!is_on_stack(user, size))
		return transfer_by_system(direction, ours, user, size);
	if (direction == FROM_USER)
		memcpy(ours, (void *)user, size);
	else
		memcpy((void *)user, ours, size);
	return size;
}

int soft_copy_from_user(void *to, const void *user, size_t size)
{
	return transfer(FROM_USER, to, (uintptr_t)user, size) == size ? 0 : -EFAULT;
}

int soft_copy_to_user(void *user, const void *from, size_t size)
{
	return transfer(TO_USER, (void *)(uintptr_t)from, (uintptr_t)user, size) == size ? 0
											 : -EFAULT;
}

int soft_clear_user(void *user, size_t size)
{
	static const uint8_t zeros[CHUNK_BYTES];

	for (size_t done = 0; done < size;) {
		size_t n = MIN(size - done, sizeof(zeros));

		if (transfer(TO_USER, (void *)(uintptr_t)zeros, (uintptr_t)user + done, n) < n)
			return -EFAULT;
		done += n;
	}
	return 0;
}

/* By the system, also on the stack: these are bytes which may not be the caller's to give. */
int soft_check_zeroed_user(const void *user, size_t size)
{
	uint8_t chunk[CHUNK_BYTES];

	for (size_t done = 0; done < size;) {
		size_t want = MIN(size - done, sizeof(chunk));
		size_t got = transfer_by_system(FROM_USER, chunk, (uintptr_t)user + done, want);

		for (size_t i = 0; i < got; i++)
			if (chunk[i])
				return -E2BIG;
		if (got < want)
			return -EFAULT;
		done += got;
	}
	return 0;
}

int soft_copy_struct_from_user(void *to, size_t size, const void *user, size_t user_size)
{
	size_t common = MIN(size, user_size);

	if (user_size > size) {
		int err = soft_check_zeroed_user(soft_user_ptr((uintptr_t)user + size),
						 user_size - size);

		if (err)
			return err;
	}
	memset((char *)to + common, 0, size - common);
	return soft_copy_from_user(to, user, common);
}

/* --- what is mapped ------------------------------------------------------------------ */

/* Reads /proc/self/maps line by line without stdio: no allocation, any line length. */
struct maps_reader {
	int fd;
	char buf[CHUNK_BYTES];
	size_t at, end;
};

static int next_char(struct maps_reader *r)
{
	if (r->at == r->end) {
		ssize_t n = read(r->fd, r->buf, sizeof(r->buf));

		if (n <= 0)
			return -1;
		r->at = 0;
		r->end = (size_t)n;
	}
	return (unsigned char)r->buf[r->at++];
}

/* A hexadecimal number and the character behind it. */
static bool read_hex(struct maps_reader *r, uint64_t *value)
{
	int c;

	*value = 0;
	while ((c = next_char(r)) >= 0) {
		if (c >= '0' && c <= '9')
			*value = *value << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			*value = *value << 4 | (uint64_t)(c - 'a' + 10);
		else
			return true;
	}
	return false;
}

static bool next_mapping(struct maps_reader *r, uint64_t *start, uint64_t *end, bool *readable,
			 bool *writable)
{
	int c;

	if (!read_hex(r, start) || !read_hex(r, end))
		return false;
	*readable = next_char(r) == 'r';
	*writable = next_char(r) == 'w';
	while ((c = next_char(r)) >= 0 && c != '\n')
		;
	return true;
}

static int check_by_mincore(uint64_t va, uint64_t end)
{
	unsigned char resident[CHUNK_BYTES];

	for (uint64_t at = va; at < end;) {
		uint64_t size = MIN(end - at, CHUNK_BYTES * PAGE_SIZE_4K);

		if (mincore(soft_user_ptr(at), size, resident))
			return -EFAULT;
		at += size;
	}
	return 0;
}

static int check_by_text(int fd, uint64_t va, uint64_t end, bool write)
{
	struct maps_reader reader = { .fd = fd };
	uint64_t start, stop, need = va;
	bool readable, writable;

	while (need < end && next_mapping(&reader, &start, &stop, &readable, &writable)) {
		if (stop <= need)
			continue;
		if (start > need || !(write ? writable : readable))
			break;
		need = stop;
	}
	return need >= end ? 0 : -EFAULT;
}

/* 0 or -EFAULT; -ENOTTY if the kernel is older than the call. */
static int check_by_query(int fd, uint64_t va, uint64_t end, bool write)
{
	const uint64_t flag = write ? PROCMAP_QUERY_VMA_WRITABLE : PROCMAP_QUERY_VMA_READABLE;

	while (va < end) {
		struct procmap_query query = { .size = sizeof(query), .query_addr = va };

		if (ioctl(fd, PROCMAP_QUERY, &query))
			return errno == ENOENT ? -EFAULT : -ENOTTY;
		if (!(query.vma_flags & flag))
			return -EFAULT;
		va = query.vma_end;
	}
	return 0;
}

int soft_check_user_range(uint64_t va, uint64_t length, bool write)
{
	uint64_t start = ALIGN_DOWN(va, PAGE_SIZE_4K), end = va + length;
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	int err;

	if (fd < 0)
		return check_by_mincore(start, end);
	err = check_by_query(fd, start, end, write);
	if (err == -ENOTTY)
		err = check_by_text(fd, start, end, write);
	close(fd);
	return err;
}
