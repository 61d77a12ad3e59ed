// SPDX-License-Identifier: BSD-3-Clause
/*
 * Dirty tracking of a hardware page table: IOMMU_HWPT_SET_DIRTY_TRACKING and
 * IOMMU_HWPT_GET_DIRTY_BITMAP.
 *
 * The bits are the translation unit's (dirty_map.h); here they get into the caller's
 * bitmap, of which bits are only ever set. Its place is looked at as late as in the
 * kernel: a pointer that leads nowhere is no error, and what was cleared then is lost.
 * Turning tracking off keeps the bits, as it keeps the leaf entries of hardware.
 *
 * Order of checks: Linux 7.2 drivers/iommu/iommufd/{hw_pagetable,io_pagetable}.c.
 */
#include "host/soft/soft.h"
#include "host/soft/ioas.h"
#include "host/soft/hwpt.h"

#include <errno.h>

/* Devices wait while this many words are looked at: 64 MiB of memory. */
#define WORDS_AT_ONCE 256
#define WINDOW_BYTES 1024

/* --- the domains of an IOAS ------------------------------------------------------------- */

int soft_dirty_add_area(struct soft_ioas *ioas, uint64_t start, uint64_t last)
{
	for (struct soft_hwpt_paging *d = ioas->domains; d; d = d->next_domain) {
		int err = d->dirty_tracking ? dirty_map_add(&d->dirty, start, last) : 0;

		if (err) {
			soft_dirty_remove_area(ioas, start, last);
			return err;
		}
	}
	return 0;
}

void soft_dirty_remove_area(struct soft_ioas *ioas, uint64_t start, uint64_t last)
{
	for (struct soft_hwpt_paging *d = ioas->domains; d; d = d->next_domain)
		dirty_map_remove(&d->dirty, start, last);
}

int soft_dirty_split_area(struct soft_ioas *ioas, uint64_t start)
{
	int err = 0;

	for (struct soft_hwpt_paging *d = ioas->domains; d && !err; d = d->next_domain)
		err = dirty_map_split(&d->dirty, start);
	return err; /* that some are split and others not shows nowhere */
}

/* --- on and off --------------------------------------------------------------------------- */

static struct soft_hwpt_paging *find_paging(struct soft_ctx *ctx, uint32_t id) REQUIRES(&ctx->lock)
{
	struct soft_object *obj = soft_object_find(ctx, id, SOFT_HWPT_PAGING);

	return obj ? container_of(obj, struct soft_hwpt_paging, hwpt.obj) : NULL;
}

int soft_hwpt_set_dirty_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	const struct iommu_hwpt_set_dirty_tracking *cmd = ucmd->cmd;
	bool enable = cmd->flags & IOMMU_HWPT_DIRTY_TRACKING_ENABLE;
	struct soft_iommu *iommu = ctx->file.host->iommu;
	struct soft_hwpt_paging *paging;

	if (cmd->flags & ~(uint32_t)IOMMU_HWPT_DIRTY_TRACKING_ENABLE)
		return -EOPNOTSUPP;
	paging = find_paging(ctx, cmd->hwpt_id);
	if (!paging)
		return -ENOENT;
	if (!paging->dirty_tracking)
		return -EOPNOTSUPP;
	iommu->ops->map_begin(iommu);
	if (enable)
		dirty_map_clear_all(&paging->dirty);
	paging->dirty.enabled = enable;
	/* translations that were cached before know nothing of the bits */
	iommu->ops->map_end(iommu, enable);
	return 0;
}

/* --- the caller's bitmap ------------------------------------------------------------------ */

/* Bits to be set in the caller's memory: @bytes are for address @user + @at and on. */
struct window {
	uint64_t user, at;
	size_t used;
	bool lost; /* some could not be */
	uint8_t bytes[WINDOW_BYTES];
};

static int set_bytes(const struct window *w)
{
	void *user = soft_user_ptr(w->user + w->at);
	uint8_t there[WINDOW_BYTES];
	int err = soft_copy_from_user(there, user, w->used);

	if (err)
		return err;
	for (size_t i = 0; i < w->used; i++)
		there[i] |= w->bytes[i];
	return soft_copy_to_user(user, there, w->used);
}

static void flush_window(struct window *w)
{
	if (w->used && set_bytes(w))
		w->lost = true;
	w->used = 0;
}

static void set_bit_in_window(struct window *w, uint64_t bit)
{
	uint64_t byte = bit / 8;

	if (w->used && byte - w->at >= WINDOW_BYTES)
		flush_window(w);
	if (!w->used)
		w->at = byte;
	while (w->used <= byte - w->at)
		w->bytes[w->used++] = 0;
	w->bytes[byte - w->at] |= (uint8_t)(1 << bit % 8);
}

/* The page of @size bytes at @iova was written: all bits that stand for a part of it, or the one.
 */
static void report_page(struct window *w, const struct iommu_hwpt_get_dirty_bitmap *cmd,
			uint64_t iova, uint64_t size)
{
	unsigned int shift = (unsigned int)__builtin_ctzll(cmd->page_size);
	uint64_t first = (iova - cmd->iova) >> shift;
	uint64_t last = (iova + size - 1 - cmd->iova) >> shift;

	for (uint64_t bit = first; bit <= last; bit++)
		set_bit_in_window(w, bit);
}

static void read_range(const struct soft_hwpt_paging *paging, const struct mem_range *range,
		       const struct iommu_hwpt_get_dirty_bitmap *cmd, struct window *w)
{
	unsigned int page_lg2 = paging->dirty.page_lg2;
	struct soft_iommu *iommu = paging->iommu;
	uint64_t last = MIN(cmd->iova + (cmd->length - 1), range->last);
	uint64_t word = (MAX(cmd->iova, range->start) - range->start) >> page_lg2;
	uint64_t end = (((last - range->start) >> page_lg2) / DIRTY_MAP_WORD_PAGES) + 1;
	bool clear = !(cmd->flags & IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR);
	uint64_t words[WORDS_AT_ONCE];

	for (word /= DIRTY_MAP_WORD_PAGES; word < end; word += WORDS_AT_ONCE) {
		size_t count = MIN(end - word, (uint64_t)WORDS_AT_ONCE);
		bool any;

		iommu->ops->map_begin(iommu);
		any = dirty_map_read(&paging->dirty, range, cmd->iova, last, clear, word, count,
				     words);
		iommu->ops->map_end(iommu, any && clear);
		for (size_t i = 0; any && i < count; i++)
			for (uint64_t bits = words[i]; bits; bits &= bits - 1) {
				uint64_t page = (word + i) * DIRTY_MAP_WORD_PAGES +
						(uint64_t)__builtin_ctzll(bits);

				report_page(w, cmd, range->start + (page << page_lg2),
					    BIT64(page_lg2));
			}
	}
}

static int check_range(const struct soft_ioas *ioas, const struct iommu_hwpt_get_dirty_bitmap *cmd)
{
	uint64_t last;

	if (!cmd->length || __builtin_add_overflow(cmd->iova, cmd->length - 1, &last))
		return -EOVERFLOW;
	if (!IS_ALIGNED(cmd->iova | (last + 1), ioas->alignment))
		return -EINVAL;
	/* as the kernel: what is not a power of two passes if its lower bits allow */
	if (!cmd->page_size || ((cmd->iova | (last + 1)) & (cmd->page_size - 1)))
		return -EINVAL;
	return 0;
}

int soft_hwpt_get_dirty_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	const struct iommu_hwpt_get_dirty_bitmap *cmd = ucmd->cmd;
	struct soft_hwpt_paging *paging;
	struct window window = { .user = cmd->data };
	int err;

	if ((cmd->flags & ~(uint32_t)IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR) || cmd->__reserved)
		return -EOPNOTSUPP;
	paging = find_paging(ctx, cmd->hwpt_id);
	if (!paging)
		return -ENOENT;
	err = check_range(paging->ioas, cmd);
	if (err)
		return err;
	if (!paging->dirty_tracking)
		return -EOPNOTSUPP;
	for (size_t i = range_map_lower_bound(&paging->dirty.pages, cmd->iova);
	     i < paging->dirty.pages.count; i++) {
		const struct mem_range *range = &paging->dirty.pages.ranges[i];

		if (range->start > cmd->iova + (cmd->length - 1))
			break;
		read_range(paging, range, cmd, &window);
	}
	flush_window(&window);
	if (window.lost)
		log_debug(ctx->file.host->log, "soft: dirty bits were lost in a bad bitmap");
	return 0;
}
