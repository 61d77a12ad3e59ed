// SPDX-License-Identifier: BSD-3-Clause
/*
 * Areas of an I/O address space: map, copy, unmap, and what a new domain asks of them.
 *
 * An area is one entry of the range_map that the translation unit reads; every domain of
 * the IOAS uses the same one. Without a domain nobody looks at the memory of an area
 * (the kernel populates lazily); from the first domain on it has to be there.
 *
 * Semantics: Linux 7.2 drivers/iommu/iommufd/io_pagetable.c.
 */
#include "host/soft/soft.h"
#include "host/soft/ioas.h"
#include "host/soft/hwpt.h"
#include "host/soft/access.h"
#include "host/soft/dmabuf.h"

#include <errno.h>
#include <limits.h>

#define MAX_LENGTH (SIZE_MAX - PAGE_SIZE_4K)
#define MAX_IOVA_ALIGNMENT (2ULL << 20)
#define MAP_FLAGS (IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_WRITEABLE | IOMMU_IOAS_MAP_READABLE)

static void map_begin(struct soft_ctx *ctx)
{
	struct soft_iommu *iommu = ctx->file.host->iommu;

	iommu->ops->map_begin(iommu);
}

static void map_end(struct soft_ctx *ctx, bool flush)
{
	struct soft_iommu *iommu = ctx->file.host->iommu;

	iommu->ops->map_end(iommu, flush);
}

static unsigned int flags_to_perm(uint32_t flags)
{
	return (flags & IOMMU_IOAS_MAP_READABLE ? RANGE_READ : 0) |
	       (flags & IOMMU_IOAS_MAP_WRITEABLE ? RANGE_WRITE : 0);
}

/* --- domains -------------------------------------------------------------------------- */

static int populate_area(const struct mem_range *area)
{
	return soft_pages_populate(area->owner, area->hva.v, area->last - area->start + 1);
}

static int fill_domain(const struct soft_ioas *ioas, struct soft_hwpt_paging *domain)
{
	for (size_t i = 0; i < ioas->areas.count; i++) {
		const struct mem_range *area = &ioas->areas.ranges[i];
		int err = ioas->domains ? 0 : populate_area(area);

		if (!err)
			err = domain->iommu->ops->check_map(domain, area->perm);
		/* no entry of the unit shows this domain yet */
		if (!err && domain->dirty_tracking)
			err = dirty_map_add(&domain->dirty, area->start, area->last);
		if (err)
			return err;
	}
	return 0;
}

/* Everything outside of the aperture. */
static int reserve_outside(struct soft_ioas *ioas, const struct soft_hwpt_paging *domain)
{
	int err = 0;

	if (domain->aperture_start)
		err = soft_ioas_reserve(ioas, 0, domain->aperture_start - 1, domain);
	if (!err && domain->aperture_last != UINT64_MAX)
		err = soft_ioas_reserve(ioas, domain->aperture_last + 1, UINT64_MAX, domain);
	return err;
}

static void leave_ioas(struct soft_ioas *ioas, struct soft_hwpt_paging *domain)
{
	dirty_map_fini(&domain->dirty);
	soft_ioas_unreserve(ioas, domain);
}

int soft_ioas_add_domain(struct soft_ioas *ioas, struct soft_hwpt_paging *domain)
{
	uint64_t alignment = domain->page_sizes & -domain->page_sizes;
	int err;

	if (alignment > ioas->alignment && !soft_ioas_areas_fit(ioas, alignment))
		return -EADDRINUSE;
	err = reserve_outside(ioas, domain);
	if (!err)
		err = fill_domain(ioas, domain);
	if (err) {
		leave_ioas(ioas, domain);
		return err;
	}
	domain->next_domain = ioas->domains;
	ioas->domains = domain;
	ioas->alignment = MAX(ioas->alignment, alignment);
	return 0;
}

void soft_ioas_remove_domain(struct soft_ioas *ioas, struct soft_hwpt_paging *domain)
{
	struct soft_hwpt_paging **link = &ioas->domains;

	while (*link != domain)
		link = &(*link)->next_domain;
	*link = domain->next_domain;
	leave_ioas(ioas, domain);
	soft_ioas_relax_alignment(ioas);
}

/* --- choice and check of addresses ---------------------------------------------------- */

/* What the address to choose has to look like for the memory that begins at @origin. */
static int auto_alignment(const struct soft_ioas *ioas, uint64_t origin, uint64_t length,
			  uint64_t *out)
{
	uint64_t alignment;

	if (length >= UINT64_MAX / 2)
		return -EOVERFLOW;
	alignment = length <= 1 ? 1 : BIT64(ilog2_u64(length - 1) + 1);
	if (origin)
		alignment = MIN(alignment, origin & -origin);
	alignment = MIN(alignment, MAX_IOVA_ALIGNMENT);
	if (alignment < ioas->alignment)
		return -EINVAL;
	*out = alignment;
	return 0;
}

static bool fits_in_hole(const struct soft_interval *hole, uint64_t length, uint64_t alignment,
			 uint64_t page_offset, uint64_t *iova)
{
	uint64_t start = ALIGN_UP(hole->start, alignment) | page_offset;

	if (start < hole->start || start > hole->last || hole->last - start < length - 1)
		return false;
	*iova = start;
	return true;
}

/* First fit inside one allowed range. */
static bool choose_inside(const struct soft_ioas *ioas, uint64_t from, uint64_t last,
			  uint64_t origin, uint64_t length, uint64_t alignment, uint64_t *iova)
{
	struct soft_interval hole;

	from = MAX(from, PAGE_SIZE_4K);
	last = MIN(last, UINT64_MAX - PAGE_SIZE_4K);
	while (soft_ioas_next_hole(ioas, true, from, last, &hole)) {
		if (fits_in_hole(&hole, length, alignment, origin & (PAGE_SIZE_4K - 1), iova))
			return true;
		if (hole.last == last)
			break;
		from = hole.last + 1;
	}
	return false;
}

static int choose_iova(const struct soft_ioas *ioas, uint64_t origin, uint64_t length,
		       uint64_t *iova)
{
	uint64_t alignment;
	int err = auto_alignment(ioas, origin, length, &alignment);

	if (err)
		return err;
	if (!ioas->allowed.count)
		return choose_inside(ioas, 0, UINT64_MAX, origin, length, alignment, iova)
			       ? 0
			       : -ENOSPC;
	for (size_t i = 0; i < ioas->allowed.count; i++) {
		const struct mem_range *r = &ioas->allowed.ranges[i];

		if (choose_inside(ioas, r->start, r->last, origin, length, alignment, iova))
			return 0;
	}
	return -ENOSPC;
}

static int check_iova(const struct soft_ioas *ioas, uint64_t iova, uint64_t length)
{
	uint64_t last = iova + length - 1;
	size_t i;

	if (!IS_ALIGNED(iova, ioas->alignment))
		return -EINVAL;
	if (last < iova)
		return -EOVERFLOW;
	if (soft_ioas_is_reserved(ioas, iova, last))
		return -EINVAL;
	i = range_map_lower_bound(&ioas->areas, iova);
	return i < ioas->areas.count && ioas->areas.ranges[i].start <= last ? -EEXIST : 0;
}

/* --- mapping -------------------------------------------------------------------------- */

static void remove_area(struct soft_ctx *ctx, struct soft_ioas *ioas, size_t index, bool flush)
	REQUIRES(&ctx->lock)
{
	struct soft_pages *pages = ioas->areas.ranges[index].owner;

	map_begin(ctx);
	soft_dirty_remove_area(ioas, ioas->areas.ranges[index].start,
			       ioas->areas.ranges[index].last);
	range_map_remove_at(&ioas->areas, index);
	map_end(ctx, flush);
	/* only now: a device may have been reading through the area */
	soft_pages_put(pages);
}

/* One piece becomes one area. */
static int add_area(struct soft_ctx *ctx, struct soft_ioas *ioas, const struct soft_piece *piece,
		    unsigned int perm, uint64_t iova) REQUIRES(&ctx->lock)
{
	struct mem_range area = { .start = iova,
				  .last = iova + piece->length - 1,
				  .hva = { piece->va },
				  .perm = perm,
				  .owner = piece->pages };
	int err;

	if (ioas->domains) {
		err = populate_area(&area);
		for (struct soft_hwpt_paging *d = ioas->domains; d && !err; d = d->next_domain)
			err = d->iommu->ops->check_map(d, perm);
		if (err)
			return err;
	}
	map_begin(ctx);
	err = soft_dirty_add_area(ioas, area.start, area.last);
	if (!err) {
		err = range_map_insert(&ioas->areas, &area);
		if (err)
			soft_dirty_remove_area(ioas, area.start, area.last);
	}
	map_end(ctx, false);
	if (!err)
		soft_pages_get(piece->pages);
	return err;
}

static int check_pieces(const struct soft_ioas *ioas, const struct soft_piece *pieces, size_t count,
			unsigned int perm)
{
	for (size_t i = 0; i < count; i++) {
		if ((perm & RANGE_WRITE) && !pieces[i].pages->writable)
			return -EPERM;
		if (!IS_ALIGNED(pieces[i].va & (PAGE_SIZE_4K - 1), ioas->alignment))
			return -EINVAL;
	}
	return 0;
}

/* The address that the choice of an IOVA imitates: of the caller's memory, or in the file. */
static uint64_t piece_origin(const struct soft_piece *piece)
{
	const struct soft_pages *pages = piece->pages;

	return pages->is_file || pages->dmabuf ? pages->start + (piece->va - pages->va) : piece->va;
}

int soft_ioas_map_pieces(struct soft_ctx *ctx, struct soft_ioas *ioas,
			 const struct soft_piece *pieces, size_t count, unsigned int perm,
			 bool fixed, uint64_t *iova)
{
	uint64_t length = 0, at;
	size_t done = 0;
	int err;

	for (size_t i = 0; i < count; i++)
		length += pieces[i].length;
	if (!length || !IS_ALIGNED(length, ioas->alignment))
		return -EINVAL;
	at = *iova;
	err = fixed ? check_iova(ioas, at, length)
		    : choose_iova(ioas, piece_origin(&pieces[0]), length, &at);
	if (!err)
		err = check_pieces(ioas, pieces, count, perm);
	if (err)
		return err;
	*iova = at;
	for (; done < count; done++) {
		err = add_area(ctx, ioas, &pieces[done], perm, at);
		if (err)
			break;
		at += pieces[done].length;
	}
	/* Nobody was told of these addresses, but a device may have used them already. */
	for (; err && done; done--)
		remove_area(ctx, ioas,
			    range_map_lower_bound(&ioas->areas, at -= pieces[done - 1].length),
			    true);
	return err;
}

static int check_map_args(uint32_t flags, uint32_t reserved, uint64_t iova, uint64_t length)
{
	if ((flags & ~(uint32_t)MAP_FLAGS) || reserved)
		return -EOPNOTSUPP;
	if (iova == ULONG_MAX || length == ULONG_MAX)
		return -EOVERFLOW;
	if (!flags_to_perm(flags))
		return -EINVAL;
	return 0;
}

/* Map all of @pages and let go of our reference. */
static int map_whole(struct soft_ctx *ctx, struct soft_ioas *ioas, struct soft_pages *pages,
		     unsigned int perm, bool fixed, uint64_t *iova) REQUIRES(&ctx->lock)
{
	struct soft_piece piece = { pages, pages->va, pages->length };
	int err = soft_ioas_map_pieces(ctx, ioas, &piece, 1, perm, fixed, iova);

	soft_pages_put(pages);
	return err;
}

int soft_ioas_map_user(struct soft_ctx *ctx, struct soft_ioas *ioas, uint64_t va, uint64_t length,
		       unsigned int perm, bool fixed, uint64_t *iova)
{
	struct soft_pages *pages;
	int err;

	if (va + length < va)
		return -EOVERFLOW;
	if (!length || length > MAX_LENGTH)
		return -EINVAL;
	err = soft_pages_create_user(va, length, perm & RANGE_WRITE, &pages);
	return err ? err : map_whole(ctx, ioas, pages, perm, fixed, iova);
}

/* Write back the address; without it the caller would not know what to unmap. */
static int respond_or_unmap(struct soft_ctx *ctx, struct soft_ucmd *ucmd, struct soft_ioas *ioas,
			    uint64_t iova, uint64_t length) REQUIRES(&ctx->lock)
{
	int err = soft_ucmd_respond(ucmd);
	uint64_t unmapped;

	if (err && soft_ioas_unmap(ctx, ioas, iova, iova + length - 1, &unmapped))
		log_error(ctx->file.host->log, "a mapping could not be undone");
	return err;
}

int soft_ioas_map_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	struct iommu_ioas_map *cmd = ucmd->cmd;
	struct soft_ioas *ioas;
	uint64_t iova = cmd->iova;
	int err = check_map_args(cmd->flags, cmd->__reserved, cmd->iova, cmd->length);

	if (err)
		return err;
	ioas = soft_ioas_find(ctx, cmd->ioas_id);
	if (!ioas)
		return -ENOENT;
	err = soft_ioas_map_user(ctx, ioas, cmd->user_va, cmd->length, flags_to_perm(cmd->flags),
				 cmd->flags & IOMMU_IOAS_MAP_FIXED_IOVA, &iova);
	if (err)
		return err;
	cmd->iova = iova;
	return respond_or_unmap(ctx, ucmd, ioas, iova, cmd->length);
}

int soft_ioas_map_file_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	struct iommu_ioas_map_file *cmd = ucmd->cmd;
	bool fixed = cmd->flags & IOMMU_IOAS_MAP_FIXED_IOVA;
	struct soft_pages *pages;
	struct soft_ioas *ioas;
	uint64_t iova = cmd->iova;
	int err = check_map_args(cmd->flags, 0, cmd->iova, cmd->length);

	if (err)
		return err;
	ioas = soft_ioas_find(ctx, cmd->ioas_id);
	if (!ioas)
		return -ENOENT;
	if (!cmd->length)
		return -EINVAL;
	if (cmd->start + cmd->length < cmd->start)
		return -EOVERFLOW;
	err = soft_pages_create_dmabuf(ctx->file.host, cmd->fd, cmd->start, cmd->length,
				       cmd->flags & IOMMU_IOAS_MAP_WRITEABLE, &pages);
	if (err == -ENOTTY)
		err = soft_pages_create_file(cmd->fd, cmd->start, cmd->length,
					     cmd->flags & IOMMU_IOAS_MAP_WRITEABLE,
					     fixed ? cmd->iova : cmd->start, &pages);
	if (err)
		return err;
	err = map_whole(ctx, ioas, pages, flags_to_perm(cmd->flags), fixed, &iova);
	if (err)
		return err;
	cmd->iova = iova;
	return respond_or_unmap(ctx, ucmd, ioas, iova, cmd->length);
}

/* --- copy and unmap ------------------------------------------------------------------- */

/* The parts of contiguous areas that make up [start, last]: -ENOENT if there is a hole. */
static int collect_pieces(const struct soft_ioas *ioas, uint64_t start, uint64_t last,
			  struct soft_piece **out, size_t *count)
{
	size_t first = range_map_lower_bound(&ioas->areas, start), end = first;
	struct soft_piece *pieces;
	uint64_t at = start;

	for (;; end++) {
		if (end == ioas->areas.count || ioas->areas.ranges[end].start > at)
			return -ENOENT;
		if (ioas->areas.ranges[end].last >= last)
			break;
		at = ioas->areas.ranges[end].last + 1;
	}
	*count = end - first + 1;
	pieces = alloc_array(*count, sizeof(*pieces));
	if (!pieces)
		return -ENOMEM;
	for (size_t i = 0; i < *count; i++) {
		const struct mem_range *r = &ioas->areas.ranges[first + i];
		uint64_t from = MAX(r->start, start), to = MIN(r->last, last);

		/* the pages outlive this: they stay in the source while we hold the lock */
		pieces[i] = (struct soft_piece){ r->owner, r->hva.v + (from - r->start),
						 to - from + 1 };
	}
	*out = pieces;
	return 0;
}

int soft_ioas_copy_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	struct iommu_ioas_copy *cmd = ucmd->cmd;
	CLEANUP(free_ptr) struct soft_piece *pieces = NULL;
	struct soft_ioas *src, *dst;
	uint64_t iova = cmd->dst_iova;
	size_t count;
	int err;

	if (cmd->flags & ~(uint32_t)MAP_FLAGS)
		return -EOPNOTSUPP;
	if (cmd->length == ULONG_MAX || cmd->src_iova == ULONG_MAX || cmd->dst_iova == ULONG_MAX)
		return -EOVERFLOW;
	if (!flags_to_perm(cmd->flags))
		return -EINVAL;
	src = soft_ioas_find(ctx, cmd->src_ioas_id);
	if (!src)
		return -ENOENT;
	if (!cmd->length)
		return -EINVAL;
	if (range_overflows(cmd->src_iova, cmd->length))
		return -EOVERFLOW;
	err = collect_pieces(src, cmd->src_iova, cmd->src_iova + cmd->length - 1, &pieces, &count);
	if (err)
		return err;
	dst = soft_ioas_find(ctx, cmd->dst_ioas_id);
	if (!dst)
		return -ENOENT;
	err = soft_ioas_map_pieces(ctx, dst, pieces, count, flags_to_perm(cmd->flags),
				   cmd->flags & IOMMU_IOAS_MAP_FIXED_IOVA, &iova);
	if (err)
		return err;
	cmd->dst_iova = iova;
	return respond_or_unmap(ctx, ucmd, dst, iova, cmd->length);
}

/* Between map_begin() and map_end(). Devices notice nothing: both halves are as before. */
static int split_area(struct soft_ioas *ioas, size_t index, uint64_t start)
{
	struct mem_range right = ioas->areas.ranges[index];
	int err = soft_dirty_split_area(ioas, start);

	if (err)
		return err;
	right.hva.v += start - right.start;
	right.start = start;
	ioas->areas.ranges[index].last = start - 1;
	err = range_map_insert(&ioas->areas, &right);
	if (err)
		ioas->areas.ranges[index].last = right.last;
	return err;
}

int soft_ioas_cut(struct soft_ctx *ctx, struct soft_ioas *ioas, uint64_t last)
{
	size_t i = range_map_lower_bound(&ioas->areas, last);
	const struct mem_range *area = &ioas->areas.ranges[i];
	uint64_t start = last + 1;
	int err;

	if (i == ioas->areas.count || area->start >= last || area->last == last)
		return 0;
	if (!IS_ALIGNED(start | (area->hva.v + (start - area->start)), ioas->alignment))
		return -EINVAL;
	map_begin(ctx);
	err = split_area(ioas, i, start);
	map_end(ctx, false);
	if (!err)
		soft_pages_get(ioas->areas.ranges[i].owner);
	return err;
}

int soft_ioas_unmap(struct soft_ctx *ctx, struct soft_ioas *ioas, uint64_t start, uint64_t last,
		    uint64_t *unmapped)
{
	size_t i = range_map_lower_bound(&ioas->areas, start);

	*unmapped = 0;
	while (i < ioas->areas.count && ioas->areas.ranges[i].start <= last) {
		const struct mem_range *r = &ioas->areas.ranges[i];

		int err = soft_access_blocks_unmap(ioas, r->start, r->last);

		if (err)
			return err;
		/* what lies before the area that would be cut is gone by now, as in the kernel */
		if (r->start < start || r->last > last)
			return -ENOENT;
		err = soft_access_notify_unmap(ioas, r->start, r->last);
		if (err)
			return err;
		*unmapped += r->last - r->start + 1;
		sanitizer_unmapped(ctx->file.host->sanitizer, soft_object_name(&ioas->obj),
				   r->start, r->last);
		remove_area(ctx, ioas, i, true);
	}
	return *unmapped ? 0 : -ENOENT;
}

int soft_ioas_unmap_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	struct iommu_ioas_unmap *cmd = ucmd->cmd;
	struct soft_ioas *ioas = soft_ioas_find(ctx, cmd->ioas_id);
	uint64_t unmapped;
	int err;

	if (!ioas)
		return -ENOENT;
	if (cmd->iova == 0 && cmd->length == UINT64_MAX) {
		err = soft_ioas_unmap(ctx, ioas, 0, UINT64_MAX, &unmapped);
		if (err == -ENOENT)
			err = 0;
	} else if (cmd->iova == ULONG_MAX || cmd->length == ULONG_MAX) {
		return -EOVERFLOW;
	} else if (!cmd->length) {
		return -EINVAL;
	} else if (range_overflows(cmd->iova, cmd->length)) {
		return -EOVERFLOW;
	} else {
		err = soft_ioas_unmap(ctx, ioas, cmd->iova, cmd->iova + cmd->length - 1, &unmapped);
	}
	if (err)
		return err;
	cmd->length = unmapped;
	return soft_ucmd_respond(ucmd);
}
