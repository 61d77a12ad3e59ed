// SPDX-License-Identifier: BSD-3-Clause
/*
 * Looking behind the ABI for IOMMU_TEST_CMD. See mock.h.
 *
 * The kernel compares physical pages and their reference counts. A process sees neither,
 * but /proc/self/maps says of every address whether it is private memory, which is its own
 * page, or shared, which is an offset of some inode. The same page is then the same name.
 * And a page is pinned as often as there are sources of memory (soft_pages) that show it
 * to a domain or an access, in any context.
 */
#include "host/soft/soft.h"
#include "host/soft/ioas.h"
#include "host/soft/hwpt.h"
#include "host/soft/access.h"
#include "host/soft/selftest/mock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* --- names of memory ------------------------------------------------------------------------- */

/* A mapping of this process. Bytes at @at have names from @name on, in the space of @inode. */
struct backing {
	uint64_t at, end;
	uint64_t inode, device; /* 0: private, names are addresses */
	uint64_t name;
};

static int query_text(uint64_t va, struct backing *out)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512], permissions[5];
	unsigned int major, minor;
	uint64_t start, offset;
	int err = -EFAULT;

	while (maps && err && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64, &start,
			   &out->end, permissions, &offset, &major, &minor, &out->inode) != 7 ||
		    va < start || va >= out->end)
			continue;
		err = 0;
		out->device = makedev(major, minor);
		out->name = offset + (va - start);
		if (permissions[3] != 's')
			out->inode = 0;
	}
	if (maps)
		fclose(maps);
	return err;
}

static int query(int fd, uint64_t va, struct backing *out)
{
	struct procmap_query q = { .size = sizeof(q), .query_addr = va };

	*out = (struct backing){ .at = va };
	if (!ioctl(fd, PROCMAP_QUERY, &q)) {
		out->end = q.vma_end;
		out->device = makedev(q.dev_major, q.dev_minor);
		out->inode = q.vma_flags & PROCMAP_QUERY_VMA_SHARED ? q.inode : 0;
		out->name = q.vma_offset + (va - q.vma_start);
	} else if (errno == ENOENT || query_text(va, out)) {
		return -EFAULT;
	}
	if (!out->inode) {
		out->device = 0;
		out->name = va;
	}
	return 0;
}

static int open_maps(void)
{
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int compare(int fd, uint64_t a, uint64_t b, uint64_t length)
{
	while (length) {
		struct backing x, y;
		uint64_t step;

		if (query(fd, b, &y))
			return -EFAULT;
		if (query(fd, a, &x) || x.inode != y.inode || x.device != y.device ||
		    x.name != y.name)
			return -EINVAL;
		step = MIN(length, MIN(x.end - a, y.end - b));
		a += step;
		b += step;
		length -= step;
	}
	return 0;
}

int mock_is_same_memory(uint64_t a, uint64_t b, uint64_t length)
{
	int fd = open_maps(), err;

	if (fd < 0)
		return fd;
	err = compare(fd, a, b, length);
	close(fd);
	return err;
}

/* --- what is mapped -------------------------------------------------------------------------- */

int mock_check_map(struct soft_ctx *ctx, const struct selftest_cmd *cmd)
{
	struct soft_object *obj = soft_object_find(ctx, cmd->id, SOFT_HWPT_PAGING);
	uint64_t iova = cmd->check_map.iova, user = cmd->check_map.uptr;
	uint64_t length = cmd->check_map.length;
	const struct soft_hwpt_paging *paging;
	int err = 0;

	if (!obj)
		return -ENOENT;
	paging = container_of(obj, struct soft_hwpt_paging, hwpt.obj);
	if (!IS_ALIGNED(iova | length | user, BIT64(paging->dirty.page_lg2)) ||
	    user + length < user)
		return -EINVAL;
	while (length && !err) {
		uint64_t left;
		const struct mem_range *area = range_map_find(&paging->ioas->areas, iova, &left);

		if (!area || ((const struct soft_pages *)area->owner)->revoked)
			return -EINVAL;
		left = MIN(left, length);
		err = mock_is_same_memory(area->hva.v + (iova - area->start), user, left);
		iova += left;
		user += left;
		length -= left;
	}
	return err;
}

/* --- what is pinned -------------------------------------------------------------------------- */

/* Pinned pages of one source of memory: @start and @last are host addresses, later names. */
struct pinned {
	const struct soft_pages *pages;
	uint64_t inode, device;
	uint64_t start, last;
};

struct pins {
	struct pinned *list;
	size_t count, capacity;
	int err;
};

static void add(struct pins *pins, const struct pinned *pinned)
{
	if (pins->count == pins->capacity) {
		size_t capacity = pins->capacity ? 2 * pins->capacity : 16;
		struct pinned *grown = alloc_resize(pins->list, capacity, sizeof(*grown));

		if (!grown) {
			pins->err = -ENOMEM;
			return;
		}
		pins->list = grown;
		pins->capacity = capacity;
	}
	pins->list[pins->count++] = *pinned;
}

static void add_areas(struct pins *pins, const struct soft_ioas *ioas, uint64_t start,
		      uint64_t last)
{
	for (size_t i = range_map_lower_bound(&ioas->areas, start);
	     i < ioas->areas.count && ioas->areas.ranges[i].start <= last; i++) {
		const struct mem_range *area = &ioas->areas.ranges[i];
		uint64_t from = MAX(start, area->start), to = MIN(last, area->last);
		struct pinned pinned = { .pages = area->owner,
					 .start = area->hva.v + (from - area->start),
					 .last = area->hva.v + (to - area->start) };

		if (!pinned.pages->dmabuf)
			add(pins, &pinned);
	}
}

static void add_ioas(struct pins *pins, const struct soft_ioas *ioas)
{
	if (ioas->domains)
		add_areas(pins, ioas, 0, UINT64_MAX);
	for (const struct soft_access *a = ioas->accesses; a; a = a->next)
		for (const struct soft_pin *pin = a->pins; pin; pin = pin->next)
			add_areas(pins, ioas, pin->start, pin->last);
}

static void add_context(struct pins *pins, struct soft_ctx *ctx)
{
	mutex_lock(&ctx->lock);
	for (uint32_t id = 1; id <= ctx->num_slots; id++) {
		const struct soft_ioas *ioas = soft_ioas_find(ctx, id);

		if (ioas)
			add_ioas(pins, ioas);
	}
	mutex_unlock(&ctx->lock);
}

/* Of every context that a descriptor leads to; of some several times, which does not matter. */
static void add_all(struct pins *pins, struct soft_host *host)
{
	size_t num_files;

	mutex_lock(&host->lock);
	num_files = host->num_files;
	mutex_unlock(&host->lock);
	for (size_t fd = 0; fd < num_files; fd++) {
		struct soft_file *file = soft_file_get(host, (int)fd);
		struct soft_ctx *ctx = file ? file->ops->context(file) : NULL;

		if (ctx)
			add_context(pins, ctx);
		if (file)
			soft_file_put(file);
	}
}

/* Addresses become names; what lies in several mappings, several entries. */
static void name_all(struct pins *pins, int fd)
{
	struct pins named = { 0 };

	for (size_t i = 0; i < pins->count; i++) {
		struct pinned part = pins->list[i];
		uint64_t at = ALIGN_DOWN(part.start, PAGE_SIZE_4K);
		uint64_t end = ALIGN_UP(part.last + 1, PAGE_SIZE_4K);
		struct backing b;

		for (; at < end && !query(fd, at, &b); at = b.end) {
			part.inode = b.inode;
			part.device = b.device;
			part.start = b.name;
			part.last = b.name + (MIN(end, b.end) - at) - 1;
			add(&named, &part);
		}
	}
	free(pins->list);
	named.err = named.err ? named.err : pins->err;
	*pins = named;
}

static int by_pages(const void *a, const void *b)
{
	const struct pinned *x = a, *y = b;

	return x->pages < y->pages ? -1 : x->pages > y->pages;
}

static unsigned int count_pins(const struct pins *pins, const struct backing *page)
{
	const struct soft_pages *counted = NULL;
	unsigned int count = 0;

	for (size_t i = 0; i < pins->count; i++) {
		const struct pinned *p = &pins->list[i];

		if (p->inode != page->inode || p->device != page->device || page->name < p->start ||
		    page->name > p->last || p->pages == counted)
			continue;
		counted = p->pages;
		count++;
	}
	return count;
}

static int check_pages(const struct pins *pins, int fd, const struct selftest_cmd *cmd)
{
	uint64_t at = cmd->check_refs.uptr, end = at + cmd->check_refs.length;

	while (at < end) {
		struct backing page;

		if (query(fd, at, &page))
			return -EFAULT;
		for (; at < MIN(end, page.end); at += PAGE_SIZE_4K, page.name += PAGE_SIZE_4K)
			if (count_pins(pins, &page) != cmd->check_refs.refs)
				return -EIO;
	}
	return 0;
}

int mock_check_refs(struct soft_ctx *ctx, const struct selftest_cmd *cmd)
{
	struct pins pins = { 0 };
	int fd, err;

	if (!IS_ALIGNED(cmd->check_refs.length | cmd->check_refs.uptr, PAGE_SIZE_4K) ||
	    cmd->check_refs.uptr + cmd->check_refs.length < cmd->check_refs.uptr)
		return -EINVAL;
	fd = open_maps();
	if (fd < 0)
		return fd;
	mutex_unlock(&ctx->lock);
	add_all(&pins, ctx->file.host);
	mutex_lock(&ctx->lock);
	name_all(&pins, fd);
	if (pins.count)
		qsort(pins.list, pins.count, sizeof(*pins.list), by_pages);
	err = pins.err ? pins.err : check_pages(&pins, fd, cmd);
	free(pins.list);
	close(fd);
	return err;
}
