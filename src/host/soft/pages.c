// SPDX-License-Identifier: BSD-3-Clause
/*
 * The memory behind areas: a range of the caller's addresses, or of a file.
 *
 * The kernel pins pages; we cannot. A user range is used in place and is checked when
 * the first domain needs it; whoever unmaps memory that devices still reach gets
 * what an unpinned page gets. A file is mapped by us, from the same kinds of file that
 * the kernel can pin (shmem and hugetlbfs) and only if the range is inside the file, so
 * that an ordinary mistake ends in EINVAL and not in SIGBUS.
 */
#include "host/soft/soft.h"
#include "host/soft/ioas.h"
#include "host/soft/dmabuf.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define ALIKE_BYTES (2ULL << 20)

static struct soft_pages *new_pages(uint64_t length, bool writable)
{
	struct soft_pages *pages = alloc_object(struct soft_pages);

	if (pages) {
		pages->refs = 1;
		pages->length = length;
		pages->writable = writable;
		pages->fd = -1;
	}
	return pages;
}

int soft_pages_create_user(uint64_t va, uint64_t length, bool writable, struct soft_pages **out)
{
	struct soft_pages *pages = new_pages(length, writable);

	if (!pages)
		return -ENOMEM;
	pages->va = va;
	*out = pages;
	return 0;
}

/* Page size of the file's mappings: more than 4096 on hugetlbfs only. */
static uint64_t file_granule(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) || fs.f_type != HUGETLBFS_MAGIC || fs.f_bsize <= 0)
		return PAGE_SIZE_4K;
	return (uint64_t)fs.f_bsize;
}

/* Address space for the file range: congruent to @hint modulo @modulus. */
static int reserve_addresses(struct soft_pages *pages, uint64_t granule, uint64_t hint)
{
	uint64_t modulus = MAX(ALIKE_BYTES, granule);
	uint64_t lead = pages->start & (granule - 1), size, base;
	void *p;

	if (pages->length > UINT64_MAX / 4)
		return -ENOMEM;
	if (pages->length < ALIKE_BYTES)
		modulus = granule;
	size = ALIGN_UP(lead + pages->length, granule) + modulus;
	p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	pages->reservation = p;
	pages->reservation_size = size;
	/* The first page of the mapping; on hugetlbfs it must be aligned to a huge page. */
	base = (uint64_t)(uintptr_t)p;
	base += ((granule > PAGE_SIZE_4K ? 0 : ALIGN_DOWN(hint, PAGE_SIZE_4K)) - base) &
		(modulus - 1);
	pages->va = base + lead;
	return 0;
}

int soft_pages_create_file(int fd, uint64_t start, uint64_t length, bool writable,
			   uint64_t iova_hint, struct soft_pages **out)
{
	struct soft_pages *pages;
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	int err;

	if (own < 0)
		return -errno;
	pages = new_pages(length, writable);
	if (!pages) {
		close(own);
		return -ENOMEM;
	}
	pages->is_file = true;
	pages->fd = own;
	pages->start = start;
	err = reserve_addresses(pages, file_granule(own), iova_hint);
	if (err) {
		soft_pages_put(pages);
		return err;
	}
	*out = pages;
	return 0;
}

struct soft_pages *soft_pages_get(struct soft_pages *pages)
{
	pages->refs++;
	return pages;
}

void soft_pages_put(struct soft_pages *pages)
{
	if (--pages->refs)
		return;
	if (pages->dmabuf)
		soft_dmabuf_forget(pages);
	if (pages->reservation)
		munmap(pages->reservation, pages->reservation_size);
	if (pages->fd >= 0)
		close(pages->fd);
	free(pages);
}

static int map_file(struct soft_pages *pages)
{
	uint64_t granule = file_granule(pages->fd);
	uint64_t lead = pages->start & (granule - 1);
	struct stat st;
	void *p;

	if (fstat(pages->fd, &st) || fcntl(pages->fd, F_GET_SEALS) < 0)
		return -EINVAL;
	if (!range_fits(pages->start, pages->length, (uint64_t)st.st_size))
		return -EINVAL;
	p = mmap(soft_user_ptr(pages->va - lead), ALIGN_UP(lead + pages->length, granule),
		 PROT_READ | (pages->writable ? PROT_WRITE : 0), MAP_SHARED | MAP_FIXED, pages->fd,
		 (off_t)(pages->start - lead));
	if (p == MAP_FAILED)
		return errno == ENOMEM ? -ENOMEM : -EPERM;
	pages->populated = true;
	return 0;
}

int soft_pages_populate(struct soft_pages *pages, uint64_t va, uint64_t length)
{
	if (pages->dmabuf)
		return 0;
	if (!pages->is_file)
		return soft_check_user_range(va, length, pages->writable);
	return pages->populated ? 0 : map_file(pages);
}
