// SPDX-License-Identifier: BSD-3-Clause
/*
 * An open of /dev/iommu: framing of its ioctls and the table of what it answers.
 *
 * The order of checks is the kernel's (Linux 7.2 drivers/iommu/iommufd/main.c): number
 * outside the table -> the VFIO container calls; size readable; exact request code;
 * size at least the first version's; bytes we do not know must be zero. A handler
 * gets a copy of the structure and writes it back itself, because write-back may fail
 * and what was made must then be undone.
 */
#include "host/soft/soft.h"
#include "host/soft/mmap.h"
#include "host/soft/selftest/mock_abi.h"

#include <errno.h>
#include <sys/ioctl.h>

union any_cmd {
	struct iommu_destroy destroy;
	struct iommu_ioas_alloc ioas_alloc;
	struct iommu_ioas_allow_iovas allow;
	struct iommu_ioas_copy copy;
	struct iommu_ioas_iova_ranges ranges;
	struct iommu_ioas_map map;
	struct iommu_ioas_map_file map_file;
	struct iommu_ioas_unmap unmap;
	struct iommu_option option;
	struct iommu_vfio_ioas vfio_ioas;
	struct iommu_hwpt_alloc hwpt_alloc;
	struct iommu_hw_info hw_info;
	struct iommu_hwpt_set_dirty_tracking set_dirty;
	struct iommu_hwpt_get_dirty_bitmap get_dirty;
	struct iommu_hwpt_invalidate invalidate;
	struct iommu_fault_alloc fault_alloc;
	struct iommu_viommu_alloc viommu_alloc;
	struct iommu_vdevice_alloc vdevice_alloc;
	struct iommu_ioas_change_process change_process;
	struct iommu_veventq_alloc veventq_alloc;
	struct iommu_hw_queue_alloc hw_queue_alloc;
	struct selftest_cmd selftest;
};

static int selftest_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock)
{
	return ctx->file.host->iommu->ops->test_ioctl(ctx, ucmd);
}

struct ioctl_entry {
	unsigned long request;
	uint32_t size, min_size;
	soft_ioctl_fn *handler;
};

#define END_OF(type, member) (offsetof(type, member) + sizeof(((type *)0)->member))
#define ENTRY(request, type, last, fn) \
	[_IOC_NR(request) - IOMMUFD_CMD_BASE] = { request, sizeof(type), END_OF(type, last), fn }

/* @last is the last member of the structure's first published version. */
static const struct ioctl_entry ioctls[] = {
	ENTRY(IOMMU_DESTROY, struct iommu_destroy, id, soft_destroy_ioctl),
	ENTRY(IOMMU_IOAS_ALLOC, struct iommu_ioas_alloc, out_ioas_id, soft_ioas_alloc_ioctl),
	ENTRY(IOMMU_IOAS_ALLOW_IOVAS, struct iommu_ioas_allow_iovas, allowed_iovas,
	      soft_ioas_allow_ioctl),
	ENTRY(IOMMU_IOAS_COPY, struct iommu_ioas_copy, src_iova, soft_ioas_copy_ioctl),
	ENTRY(IOMMU_IOAS_IOVA_RANGES, struct iommu_ioas_iova_ranges, out_iova_alignment,
	      soft_ioas_ranges_ioctl),
	ENTRY(IOMMU_IOAS_MAP, struct iommu_ioas_map, iova, soft_ioas_map_ioctl),
	ENTRY(IOMMU_IOAS_MAP_FILE, struct iommu_ioas_map_file, iova, soft_ioas_map_file_ioctl),
	ENTRY(IOMMU_IOAS_UNMAP, struct iommu_ioas_unmap, length, soft_ioas_unmap_ioctl),
	ENTRY(IOMMU_OPTION, struct iommu_option, val64, soft_option_ioctl),
	ENTRY(IOMMU_VFIO_IOAS, struct iommu_vfio_ioas, __reserved, soft_vfio_ioas_ioctl),
	ENTRY(IOMMU_HWPT_ALLOC, struct iommu_hwpt_alloc, __reserved, soft_hwpt_alloc_ioctl),
	ENTRY(IOMMU_GET_HW_INFO, struct iommu_hw_info, __reserved, soft_hw_info_ioctl),
	ENTRY(IOMMU_HWPT_SET_DIRTY_TRACKING, struct iommu_hwpt_set_dirty_tracking, __reserved,
	      soft_hwpt_set_dirty_ioctl),
	ENTRY(IOMMU_HWPT_GET_DIRTY_BITMAP, struct iommu_hwpt_get_dirty_bitmap, data,
	      soft_hwpt_get_dirty_ioctl),
	ENTRY(IOMMU_HWPT_INVALIDATE, struct iommu_hwpt_invalidate, __reserved,
	      soft_hwpt_invalidate_ioctl),
	ENTRY(IOMMU_FAULT_QUEUE_ALLOC, struct iommu_fault_alloc, out_fault_fd,
	      soft_fault_alloc_ioctl),
	ENTRY(IOMMU_VIOMMU_ALLOC, struct iommu_viommu_alloc, out_viommu_id,
	      soft_viommu_alloc_ioctl),
	ENTRY(IOMMU_VDEVICE_ALLOC, struct iommu_vdevice_alloc, virt_id, soft_vdevice_alloc_ioctl),
	ENTRY(IOMMU_IOAS_CHANGE_PROCESS, struct iommu_ioas_change_process, __reserved,
	      soft_change_process_ioctl),
	ENTRY(IOMMU_VEVENTQ_ALLOC, struct iommu_veventq_alloc, out_veventq_fd,
	      soft_veventq_alloc_ioctl),
	ENTRY(IOMMU_HW_QUEUE_ALLOC, struct iommu_hw_queue_alloc, length, soft_hw_queue_alloc_ioctl),
	ENTRY(SELFTEST_CMD, struct selftest_cmd, last, selftest_ioctl),
};

/* A kernel without the selftest's driver has a shorter table. */
static size_t table_size(const struct soft_ctx *ctx)
{
	if (ctx->file.host->iommu->ops->test_ioctl)
		return ARRAY_SIZE(ioctls);
	return _IOC_NR(IOMMU_HW_QUEUE_ALLOC) - IOMMUFD_CMD_BASE + 1;
}

static const struct soft_file_ops ctx_ops;

bool soft_file_is_ctx(const struct soft_file *file)
{
	return file->ops == &ctx_ops;
}

int soft_ucmd_respond(struct soft_ucmd *ucmd)
{
	return soft_copy_to_user(ucmd->user, ucmd->cmd, MIN(ucmd->user_size, ucmd->size));
}

static int ctx_ioctl(struct soft_file *file, unsigned long request, void *arg)
{
	struct soft_ctx *ctx = to_soft_ctx(file);
	unsigned int index = (unsigned int)_IOC_NR(request) - IOMMUFD_CMD_BASE;
	struct soft_ucmd ucmd = { .ctx = ctx, .user = arg };
	const struct ioctl_entry *entry;
	union any_cmd cmd;
	int ret;

	if (index >= table_size(ctx)) {
		mutex_lock(&ctx->lock);
		ret = soft_vfio_compat_ioctl(ctx, request, arg);
		mutex_unlock(&ctx->lock);
		return ret;
	}
	ret = soft_copy_from_user(&ucmd.user_size, arg, sizeof(ucmd.user_size));
	if (ret)
		return ret;
	entry = &ioctls[index];
	if (entry->request != request)
		return -ENOTTY;
	if (ucmd.user_size < entry->min_size)
		return -EINVAL;
	ret = soft_copy_struct_from_user(&cmd, entry->size, arg, ucmd.user_size);
	if (ret)
		return ret;
	ucmd.cmd = &cmd;
	ucmd.size = entry->size;
	mutex_lock(&ctx->lock);
	ret = entry->handler(ctx, &ucmd);
	mutex_unlock(&ctx->lock);
	if (ucmd.put_after)
		soft_file_put(ucmd.put_after);
	return ret;
}

static ssize_t ctx_pread(struct soft_file *file, void *buf, size_t count, uint64_t offset)
{
	return -EINVAL;
}

static ssize_t ctx_pwrite(struct soft_file *file, const void *buf, size_t count, uint64_t offset)
{
	return -EINVAL;
}

/* Every device of the context holds its file, so none is bound any more. */
static void ctx_release(struct soft_file *file)
{
	struct soft_ctx *ctx = to_soft_ctx(file);

	mutex_lock(&ctx->lock);
	soft_ctx_remove_all(ctx);
	mutex_unlock(&ctx->lock);
	mutex_fini(&ctx->lock);
	free(ctx);
}

static struct soft_ctx *ctx_context(struct soft_file *file)
{
	return to_soft_ctx(file);
}

static const struct soft_file_ops ctx_ops = {
	.ioctl = ctx_ioctl,
	.context = ctx_context,
	.pread = ctx_pread,
	.pwrite = ctx_pwrite,
	.mmap = soft_mmap_map,
	.release = ctx_release,
};

int soft_ctx_open(struct soft_host *host, struct soft_file **out)
{
	struct soft_ctx *ctx = alloc_object(struct soft_ctx);

	if (!ctx)
		return -ENOMEM;
	ctx->file.ops = &ctx_ops;
	ctx->file.host = host;
	atomic_init(&ctx->file.refs, 1);
	mutex_init(&ctx->lock);
	*out = &ctx->file;
	return 0;
}
