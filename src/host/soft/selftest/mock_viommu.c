// SPDX-License-Identifier: BSD-3-Clause
/* vIOMMUs of the mock IOMMU: two hardware queues, and memory that can be mapped. See mock.h. */
#include "host/soft/soft.h"
#include "host/soft/hwpt.h"
#include "host/soft/mmap.h"
#include "host/soft/selftest/mock.h"
#include "host/soft/viommu.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#define MMAP_BYTES (2 * PAGE_SIZE_4K)

struct mock_hw_queue {
	struct soft_hw_queue core;
	struct mock_hw_queue *previous; /* held: queues end in the reverse order */
	uint32_t index;
};

struct mock_viommu {
	struct soft_viommu core;
	struct mock_hw_queue *queues[SELFTEST_MAX_HW_QUEUES];
	uint64_t mmap_offset; /* 0: nothing can be mapped */
	int memfd;
};

static struct mock_viommu *to_mock_viommu(struct soft_viommu *viommu)
{
	return container_of(viommu, struct mock_viommu, core);
}

/* --- the vIOMMU -------------------------------------------------------------------------- */

/* Two pages, of which the first begins with @word. */
static int make_mmap(struct mock_viommu *mock, uint32_t word)
{
	struct soft_viommu *viommu = &mock->core;
	int err = -ENOMEM;

	mock->memfd = memfd_create("nestor-selftest", MFD_CLOEXEC);
	if (mock->memfd < 0)
		return -errno;
	if (!ftruncate(mock->memfd, MMAP_BYTES) &&
	    pwrite(mock->memfd, &word, sizeof(word), 0) == sizeof(word))
		err = soft_mmap_add(viommu->ctx, &viommu->obj, mock->memfd, MMAP_BYTES,
				    &mock->mmap_offset);
	if (err)
		close(mock->memfd);
	return err;
}

static void viommu_fini(struct soft_viommu *viommu)
{
	struct mock_viommu *mock = to_mock_viommu(viommu);

	if (!mock->mmap_offset)
		return;
	soft_mmap_remove(viommu->ctx, mock->mmap_offset);
	close(mock->memfd);
}

static int viommu_init(struct soft_viommu *viommu, const struct iommu_viommu_alloc *cmd)
{
	struct mock_viommu *mock = to_mock_viommu(viommu);
	struct selftest_viommu data;
	int err;

	if (!cmd->data_len)
		return 0;
	err = mock_copy_data(&data, sizeof(data), offsetof(struct selftest_viommu, out_mmap_offset),
			     cmd->data_uptr, cmd->data_len);
	if (!err)
		err = make_mmap(mock, data.in_data);
	if (err)
		return err;
	data.out_data = data.in_data;
	data.out_mmap_offset = mock->mmap_offset;
	data.out_mmap_length = MMAP_BYTES;
	err = soft_copy_to_user(soft_user_ptr(cmd->data_uptr), &data, cmd->data_len);
	if (err)
		viommu_fini(viommu);
	return err;
}

static int viommu_nested_init(struct soft_viommu *viommu, const struct iommu_hwpt_alloc *cmd,
			      struct soft_hwpt_nested *nested)
{
	return mock_nested_init(cmd, nested);
}

/* --- invalidation ------------------------------------------------------------------------ */

static int invalidate_entry(struct soft_viommu *viommu,
			    const struct selftest_viommu_invalidate *entry)
{
	struct soft_vdevice *vdevice;
	struct mock_device *device;

	if (entry->flags & ~SELFTEST_INVALIDATE_ALL)
		return -EOPNOTSUPP;
	if (entry->cache_index >= SELFTEST_CACHE_ENTRIES)
		return -EINVAL;
	vdevice = soft_vdevice_by_virt_id(viommu, entry->vdev_id);
	if (!vdevice)
		return -EINVAL;
	device = to_mock_device(vdevice->bound->dev);
	for (uint32_t i = 0; i < SELFTEST_CACHE_ENTRIES; i++)
		if (i == entry->cache_index || (entry->flags & SELFTEST_INVALIDATE_ALL))
			device->cache[i] = 0;
	return 0;
}

static int copy_entry(const struct iommu_hwpt_invalidate *cmd, uint32_t index,
		      struct selftest_viommu_invalidate *entry)
{
	return soft_copy_struct_from_user(
		entry, sizeof(*entry),
		soft_user_ptr(cmd->data_uptr + (uint64_t)index * cmd->entry_len), cmd->entry_len);
}

/* As the kernel: nothing is done if any entry cannot be read. */
static int viommu_invalidate(struct soft_viommu *viommu, const struct iommu_hwpt_invalidate *cmd,
			     uint32_t *done)
{
	CLEANUP(free_ptr) struct selftest_viommu_invalidate *entries = NULL;
	int err = 0;

	if (cmd->data_type != SELFTEST_INVALIDATE_DATA)
		return -EINVAL;
	if (!cmd->entry_num)
		return 0;
	entries = alloc_array(cmd->entry_num, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	for (uint32_t i = 0; i < cmd->entry_num && !err; i++)
		err = copy_entry(cmd, i, &entries[i]);
	while (!err && *done < cmd->entry_num) {
		err = invalidate_entry(viommu, &entries[*done]);
		*done += !err;
	}
	return err;
}

/* --- hardware queues ----------------------------------------------------------------------- */

static struct mock_hw_queue *to_mock_queue(struct soft_hw_queue *queue)
{
	return container_of(queue, struct mock_hw_queue, core);
}

static size_t hw_queue_size(struct soft_viommu *viommu, uint32_t type)
{
	return type == SELFTEST_HW_QUEUE_TYPE ? sizeof(struct mock_hw_queue) : 0;
}

static int hw_queue_init(struct soft_hw_queue *queue, uint32_t index)
{
	struct mock_viommu *mock = to_mock_viommu(queue->viommu);
	struct mock_hw_queue *mine = to_mock_queue(queue);

	if (index >= SELFTEST_MAX_HW_QUEUES)
		return -EINVAL;
	if (mock->queues[index])
		return -EEXIST;
	mine->index = index;
	mine->previous = index ? mock->queues[index - 1] : NULL;
	if (index && !mine->previous)
		return -EIO;
	if (mine->previous)
		mine->previous->core.obj.users++;
	mock->queues[index] = mine;
	return 0;
}

static void hw_queue_fini(struct soft_hw_queue *queue)
{
	struct mock_hw_queue *mine = to_mock_queue(queue);

	to_mock_viommu(queue->viommu)->queues[mine->index] = NULL;
	if (mine->previous)
		mine->previous->core.obj.users--;
}

const struct soft_viommu_ops mock_viommu_ops = {
	.size = sizeof(struct mock_viommu),
	.virt_id_last = UINT64_MAX,
	.init = viommu_init,
	.fini = viommu_fini,
	.nested_init = viommu_nested_init,
	.invalidate = viommu_invalidate,
	.hw_queue_size = hw_queue_size,
	.hw_queue_init = hw_queue_init,
	.hw_queue_fini = hw_queue_fini,
};
