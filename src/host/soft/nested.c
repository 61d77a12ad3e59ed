// SPDX-License-Identifier: BSD-3-Clause
/*
 * Nested HWPTs of type VTD_S1 - a guest's first-stage table on a nesting parent - and
 * the invalidation of what the unit caches of them.
 *
 * At allocation only type and length of the data are looked at; whether the table can
 * be used is decided when it is attached (soft_hwpt_make_entry()).
 *
 * Order of checks and error codes: Linux 7.2 drivers/iommu/iommufd/hw_pagetable.c and
 * drivers/iommu/intel/nested.c.
 */
#include "host/soft/soft.h"

#include <errno.h>
#include <string.h>

#define MAX_ENTRY_LEN 4096
#define MAX_ENTRY_NUM (1U << 19)
#define ENTRIES_AT_ONCE 64

int soft_hwpt_nested_alloc(struct soft_ctx *ctx, struct soft_hwpt_paging *parent,
			   const struct iommu_hwpt_alloc *cmd, struct soft_hwpt_nested **out)
{
	struct soft_hwpt_nested *nested;
	struct iommu_hwpt_vtd_s1 s1;

	if (cmd->data_type != IOMMU_HWPT_DATA_VTD_S1)
		return -EOPNOTSUPP;
	if (cmd->data_len != sizeof(s1))
		return -EINVAL;
	if (soft_copy_from_user(&s1, soft_user_ptr(cmd->data_uptr), sizeof(s1)))
		return -EFAULT;
	nested = soft_object_reserve(ctx, sizeof(*nested), SOFT_HWPT_NESTED);
	if (!nested)
		return -ENOMEM;
	nested->parent = parent;
	nested->s1 = s1;
	nested->hwpt.pasid_compat = cmd->flags & IOMMU_HWPT_ALLOC_PASID;
	parent->hwpt.obj.users++;
	*out = nested;
	return 0;
}

void soft_hwpt_nested_abort(struct soft_ctx *ctx, struct soft_hwpt_nested *nested)
{
	nested->parent->hwpt.obj.users--;
	soft_object_abort(ctx, &nested->hwpt.obj);
}

void soft_hwpt_nested_destroy(struct soft_ctx *ctx, struct soft_object *obj)
{
	struct soft_hwpt_nested *nested = container_of(obj, struct soft_hwpt_nested, hwpt.obj);

	soft_hwpt_put_fault(&nested->hwpt);
	nested->parent->hwpt.obj.users--;
	free(nested);
}

/* --- invalidation --------------------------------------------------------------------- */

static int check_entry(const struct iommu_hwpt_vtd_s1_invalidate *entry)
{
	if ((entry->flags & ~(uint32_t)IOMMU_VTD_INV_FLAGS_LEAF) || entry->__reserved)
		return -EOPNOTSUPP;
	if (!IS_ALIGNED(entry->addr, PAGE_SIZE_4K) || (entry->npages == UINT64_MAX && entry->addr))
		return -EINVAL;
	return 0;
}

/*
 * The driver turns addr and npages into first and last byte, modulo 2^64, and flushes
 * from there; so a count that is 0 modulo 2^52 becomes the two pages around addr.
 */
static void flush_entry(struct vtd_hw *vtd, uint16_t did,
			const struct iommu_hwpt_vtd_s1_invalidate *entry)
{
	uint64_t addr = entry->addr, npages = entry->npages;

	if (npages != UINT64_MAX) {
		npages &= UINT64_MAX >> PAGE_SHIFT_4K;
		if (!npages) {
			addr -= PAGE_SIZE_4K;
			npages = 2;
		}
	}
	vtd_hw_flush_pages(vtd, did, addr, npages, entry->flags & IOMMU_VTD_INV_FLAGS_LEAF);
}

/* Up to ENTRIES_AT_ONCE entries; fewer if the array leaves what is mapped. */
static size_t read_entries(struct iommu_hwpt_vtd_s1_invalidate *to, uint64_t user, size_t count)
{
	if (!soft_copy_from_user(to, soft_user_ptr(user), count * sizeof(*to)))
		return count;
	for (size_t i = 0; i < count; i++)
		if (soft_copy_from_user(&to[i], soft_user_ptr(user + i * sizeof(*to)), sizeof(*to)))
			return i;
	return count;
}

/* *@done counts what was flushed, also on failure. An HWPT that no entry of the unit
 * carries has nothing cached; its entries are checked all the same. */
static int invalidate(struct soft_host *host, const struct soft_hwpt *hwpt,
		      const struct iommu_hwpt_invalidate *cmd, uint32_t *done)
{
	struct iommu_hwpt_vtd_s1_invalidate entries[ENTRIES_AT_ONCE];
	int err;

	if (cmd->data_type != IOMMU_HWPT_INVALIDATE_DATA_VTD_S1)
		return -EINVAL;
	if (cmd->entry_num && cmd->entry_len != sizeof(entries[0]))
		return -EINVAL;
	while (*done < cmd->entry_num) {
		size_t want = MIN(cmd->entry_num - *done, (uint32_t)ENTRIES_AT_ONCE);
		size_t got = read_entries(
			entries, cmd->data_uptr + (uint64_t)*done * sizeof(entries[0]), want);

		for (size_t i = 0; i < got; i++) {
			err = check_entry(&entries[i]);
			if (err)
				return err;
			if (hwpt->programmed)
				flush_entry(host->vtd, hwpt->did, &entries[i]);
			++*done;
		}
		if (got < want)
			return -EFAULT;
	}
	return 0;
}

static int check_and_invalidate(struct soft_ctx *ctx, const struct iommu_hwpt_invalidate *cmd,
				uint32_t *done) REQUIRES(&ctx->lock)
{
	struct soft_object *obj;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	if (cmd->entry_num && (!cmd->data_uptr || !cmd->entry_len ||
			       cmd->entry_len > MAX_ENTRY_LEN || cmd->entry_num > MAX_ENTRY_NUM))
		return -EINVAL;
	obj = soft_object_find(ctx, cmd->hwpt_id, SOFT_ANY);
	if (!obj)
		return -ENOENT;
	if (obj->type != SOFT_HWPT_NESTED)
		return -EINVAL;
	return invalidate(ctx->file.host, soft_object_to_hwpt(obj), cmd, done);
}

int soft_hwpt_invalidate_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	struct iommu_hwpt_invalidate *cmd = ucmd->cmd;
	uint32_t done = 0;
	int err = check_and_invalidate(ctx, cmd, &done);

	atomic_fetch_add(&ctx->file.host->invalidate_calls, 1);
	atomic_fetch_add(&ctx->file.host->invalidate_entries, done);
	/* written back whatever happened: the caller learns how far it got */
	cmd->entry_num = done;
	return soft_ucmd_respond(ucmd) ? -EFAULT : err;
}
