// SPDX-License-Identifier: BSD-3-Clause
/*
 * The VFIO container calls that iommufd answers on its own descriptor, and which IOAS
 * they act on. Type 1 differs from type 1 v2 in that any part of a map may be unmapped:
 * it forbids huge pages, so that areas can be cut.
 *
 * A call looks at size and flags of its structure before it looks for the IOAS.
 * Source: Linux 7.2 drivers/iommu/iommufd/vfio_compat.c.
 */
#include "host/soft/soft.h"
#include "host/soft/ioas.h"
#include "host/soft/hwpt.h"

#include <errno.h>
#include <linux/vfio.h>
#include <stddef.h>

#define END_OF(type, member) (offsetof(type, member) + sizeof(((type *)0)->member))

int soft_vfio_ioas_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	struct iommu_vfio_ioas *cmd = ucmd->cmd;
	struct soft_ioas *ioas;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	switch (cmd->op) {
	case IOMMU_VFIO_IOAS_GET:
		if (!ctx->compat_ioas)
			return -ENODEV;
		cmd->ioas_id = ctx->compat_ioas->obj.id;
		return soft_ucmd_respond(ucmd);
	case IOMMU_VFIO_IOAS_SET:
		ioas = soft_ioas_find(ctx, cmd->ioas_id);
		if (!ioas)
			return -ENOENT;
		ctx->compat_ioas = ioas;
		return 0;
	case IOMMU_VFIO_IOAS_CLEAR:
		ctx->compat_ioas = NULL;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

static int check_extension(struct soft_ctx *ctx, unsigned long extension) REQUIRES(&ctx->lock)
{
	switch (extension) {
	case VFIO_TYPE1_IOMMU:
	case VFIO_TYPE1v2_IOMMU:
	case VFIO_UNMAP_ALL:
		return 1;
	case VFIO_DMA_CC_IOMMU:
		return ctx->compat_ioas ? 1 : -ENODEV;
	default:
		return 0;
	}
}

static int set_iommu(struct soft_ctx *ctx, unsigned long type) REQUIRES(&ctx->lock)
{
	if (type != VFIO_TYPE1_IOMMU && type != VFIO_TYPE1v2_IOMMU)
		return -EINVAL;
	if (!ctx->compat_ioas)
		return -ENODEV;
	return type == VFIO_TYPE1_IOMMU ? soft_ioas_disable_huge_pages(ctx->compat_ioas) : 0;
}

/* --- VFIO_IOMMU_GET_INFO -------------------------------------------------------------------- */

/* Where capabilities go: @room bytes of the caller's at @user, which may be none. */
struct cap_space {
	uint64_t user, room;
};

/* Returns its size, also if there is no room for it; or -EFAULT. */
static int64_t put_dma_avail(const struct soft_ioas *ioas, const struct cap_space *space)
{
	/* there is no limit here, and U16_MAX was too small for some who asked */
	const struct vfio_iommu_type1_info_dma_avail cap = {
		.header = { .id = VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, .version = 1 },
		.avail = UINT32_MAX,
	};

	if (space->room >= sizeof(cap) &&
	    soft_copy_to_user(soft_user_ptr(space->user), &cap, sizeof(cap)))
		return -EFAULT;
	return sizeof(cap);
}

static int64_t put_iova_ranges(const struct soft_ioas *ioas, const struct cap_space *space)
{
	struct vfio_iommu_type1_info_cap_iova_range cap = {
		.header = { .id = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, .version = 1 },
	};
	struct soft_interval hole;
	uint64_t size = sizeof(cap), from = 0;

	while (soft_ioas_next_hole(ioas, false, from, UINT64_MAX, &hole)) {
		struct vfio_iova_range range = { .start = hole.start, .end = hole.last };

		if (space->room >= size + sizeof(range) &&
		    soft_copy_to_user(soft_user_ptr(space->user + size), &range, sizeof(range)))
			return -EFAULT;
		size += sizeof(range);
		cap.nr_iovas++;
		if (hole.last == UINT64_MAX)
			break;
		from = hole.last + 1;
	}
	if (space->room >= size && soft_copy_to_user(soft_user_ptr(space->user), &cap, sizeof(cap)))
		return -EFAULT;
	return (int64_t)size;
}

/* The sizes that every domain maps; those below 4 KiB are said as 4 KiB. */
static uint64_t page_sizes(const struct soft_ioas *ioas)
{
	uint64_t sizes = UINT64_MAX;

	for (const struct soft_hwpt_paging *d = ioas->domains; d; d = d->next_domain)
		sizes &= d->page_sizes;
	return sizes & (PAGE_SIZE_4K - 1) ? (sizes & ~(PAGE_SIZE_4K - 1)) | PAGE_SIZE_4K : sizes;
}

/*
 * Behind the structure: what fits. *@total gets the size of all. As in the kernel a
 * capability that fits is written, and linked to, although another one does not.
 */
static int put_caps(const struct soft_ioas *ioas, uint64_t user, uint64_t argsz, uint64_t *total)
{
	static int64_t (*const put_fns[])(const struct soft_ioas *, const struct cap_space *) = {
		put_dma_avail,
		put_iova_ranges,
	};
	uint64_t at = sizeof(struct vfio_iommu_type1_info), last = 0;

	for (size_t i = 0; i < ARRAY_SIZE(put_fns); i++) {
		struct cap_space space = { user + at, argsz > at ? argsz - at : 0 };
		uint32_t next = (uint32_t)at;
		int64_t size = put_fns[i](ioas, &space);

		if (size < 0)
			return (int)size;
		if (last && argsz >= at &&
		    soft_copy_to_user(soft_user_ptr(user + last +
						    offsetof(struct vfio_info_cap_header, next)),
				      &next, sizeof(next)))
			return -EFAULT;
		last = at;
		at += ALIGN_UP((uint64_t)size, sizeof(uint64_t));
	}
	*total = at;
	return 0;
}

static int get_info(struct soft_ctx *ctx, void *arg) REQUIRES(&ctx->lock)
{
	struct vfio_iommu_type1_info info = { 0 };
	const size_t min = END_OF(struct vfio_iommu_type1_info, iova_pgsizes);
	uint32_t argsz;
	uint64_t total = 0;
	int err;

	if (soft_copy_from_user(&info, arg, min))
		return -EFAULT;
	if (info.argsz < min)
		return -EINVAL;
	if (!ctx->compat_ioas)
		return -ENODEV;
	argsz = info.argsz;
	err = put_caps(ctx->compat_ioas, (uintptr_t)arg, argsz, &total);
	if (err)
		return err;
	info.flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
	info.iova_pgsizes = page_sizes(ctx->compat_ioas);
	info.cap_offset = argsz >= total ? sizeof(info) : 0;
	info.argsz = (uint32_t)total;
	return soft_copy_to_user(arg, &info, MIN(argsz, sizeof(info)));
}

/* --- VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA ------------------------------------------------ */

static int map_dma(struct soft_ctx *ctx, void *arg) REQUIRES(&ctx->lock)
{
	struct vfio_iommu_type1_dma_map map;
	unsigned int perm;
	uint64_t iova;

	if (soft_copy_from_user(&map, arg, sizeof(map)))
		return -EFAULT;
	if (map.argsz < sizeof(map) ||
	    (map.flags & ~(uint32_t)(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)))
		return -EINVAL;
	if (!ctx->compat_ioas)
		return -ENODEV;
	perm = (map.flags & VFIO_DMA_MAP_FLAG_READ ? RANGE_READ : 0) |
	       (map.flags & VFIO_DMA_MAP_FLAG_WRITE ? RANGE_WRITE : 0);
	iova = map.iova;
	return soft_ioas_map_user(ctx, ctx->compat_ioas, map.vaddr, map.size, perm, true, &iova);
}

static int unmap_range(struct soft_ctx *ctx, struct soft_ioas *ioas,
		       const struct vfio_iommu_type1_dma_unmap *unmap, uint64_t *unmapped)
	REQUIRES(&ctx->lock)
{
	size_t first;
	int err = 0;

	if (ioas->no_huge_pages) {
		err = soft_ioas_cut(ctx, ioas, unmap->iova + unmap->size - 1);
		if (!err && unmap->iova)
			err = soft_ioas_cut(ctx, ioas, unmap->iova - 1);
	}
	if (err)
		return err;
	if (!unmap->size)
		return -EINVAL;
	if (range_overflows(unmap->iova, unmap->size))
		return -EOVERFLOW;
	first = range_map_lower_bound(&ioas->areas, unmap->iova);
	if (first == ioas->areas.count ||
	    ioas->areas.ranges[first].start > unmap->iova + (unmap->size - 1))
		return 0; /* other than IOMMU_IOAS_UNMAP, which finds nothing */
	return soft_ioas_unmap(ctx, ioas, unmap->iova, unmap->iova + (unmap->size - 1), unmapped);
}

static int unmap_all(struct soft_ctx *ctx, struct soft_ioas *ioas,
		     const struct vfio_iommu_type1_dma_unmap *unmap, uint64_t *unmapped)
	REQUIRES(&ctx->lock)
{
	int err;

	if (unmap->iova || unmap->size)
		return -EINVAL;
	err = soft_ioas_unmap(ctx, ioas, 0, UINT64_MAX, unmapped);
	return err == -ENOENT ? 0 : err;
}

static int unmap_dma(struct soft_ctx *ctx, void *arg) REQUIRES(&ctx->lock)
{
	struct vfio_iommu_type1_dma_unmap unmap;
	uint64_t unmapped = 0;
	int err;

	if (soft_copy_from_user(&unmap, arg, sizeof(unmap)))
		return -EFAULT;
	if (unmap.argsz < sizeof(unmap) || (unmap.flags & ~(uint32_t)VFIO_DMA_UNMAP_FLAG_ALL))
		return -EINVAL;
	if (!ctx->compat_ioas)
		return -ENODEV;
	err = unmap.flags & VFIO_DMA_UNMAP_FLAG_ALL
		      ? unmap_all(ctx, ctx->compat_ioas, &unmap, &unmapped)
		      : unmap_range(ctx, ctx->compat_ioas, &unmap, &unmapped);
	unmap.size = unmapped; /* written back whatever happened */
	return soft_copy_to_user(arg, &unmap, sizeof(unmap)) ? -EFAULT : err;
}

int soft_vfio_compat_ioctl(struct soft_ctx *ctx, unsigned long request, void *arg)
{
	unsigned long value = (unsigned long)(uintptr_t)arg;

	switch (request) {
	case VFIO_GET_API_VERSION:
		return VFIO_API_VERSION;
	case VFIO_CHECK_EXTENSION:
		return check_extension(ctx, value);
	case VFIO_SET_IOMMU:
		return set_iommu(ctx, value);
	case VFIO_IOMMU_GET_INFO:
		return get_info(ctx, arg);
	case VFIO_IOMMU_MAP_DMA:
		return map_dma(ctx, arg);
	case VFIO_IOMMU_UNMAP_DMA:
		return unmap_dma(ctx, arg);
	default:
		return -ENOTTY;
	}
}
