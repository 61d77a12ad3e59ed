// SPDX-License-Identifier: BSD-3-Clause
/* The driver of the mock IOMMU. See mock.h. */
#include "host/soft/soft.h"
#include "host/soft/hwpt.h"
#include "host/soft/attach.h"
#include "host/soft/vfio/device.h"
#include "host/soft/selftest/mock.h"
#include "host/soft/viommu.h"

#include <errno.h>

#define PAGING_FLAGS \
	(IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_DIRTY_TRACKING | IOMMU_HWPT_ALLOC_PASID)

int mock_copy_data(void *to, size_t size, size_t min, uint64_t user, uint32_t len)
{
	if (len < min || len > size)
		return -EINVAL;
	return soft_copy_struct_from_user(to, size, soft_user_ptr(user), len);
}

/* --- devices ------------------------------------------------------------------------------ */

static void device_reset(struct endpoint *ep)
{
}

static void device_destroy(struct endpoint *ep)
{
	free(container_of(ep, struct mock_device, ep));
}

/* It has no BARs, no interrupts and nothing to do; VFIO never sees it. */
static const struct endpoint_ops device_ops = {
	.model = "iommufd_mock",
	.reset = device_reset,
	.destroy = device_destroy,
};

int mock_device_create(struct soft_host *host, uint32_t flags, struct soft_device **out)
{
	struct mock_device *mock;
	int err;

	if (flags & ~(SELFTEST_DEVICE_NO_DIRTY | SELFTEST_DEVICE_PASID))
		return -EINVAL;
	mock = alloc_object(struct mock_device);
	if (!mock)
		return -ENOMEM;
	mock->ep.ops = &device_ops;
	mock->ep.log = host->log;
	mock->flags = flags;
	for (size_t i = 0; i < SELFTEST_CACHE_ENTRIES; i++)
		mock->cache[i] = SELFTEST_CACHE_DEFAULT;
	err = soft_device_create(host, &mock->ep, out);
	if (err) {
		free(mock);
		return err;
	}
	if (flags & SELFTEST_DEVICE_PASID)
		(*out)->max_pasid_lg2 = SELFTEST_PASID_LG2;
	return 0;
}

static void mock_hw_info(struct soft_iommu *iommu, union soft_hw_info *info)
{
	info->selftest = (struct selftest_hw_info){ .test_reg = SELFTEST_HW_INFO_REG };
}

static bool mock_has_dirty_tracking(const struct soft_device *dev)
{
	return !(to_mock_device(dev)->flags & SELFTEST_DEVICE_NO_DIRTY);
}

/* --- domains ------------------------------------------------------------------------------ */

static int mock_paging_init(const struct soft_device *dev, uint32_t flags,
			    struct soft_hwpt_paging *paging)
{
	if (flags & ~(uint32_t)PAGING_FLAGS)
		return -EOPNOTSUPP;
	paging->aperture_start = SELFTEST_APERTURE_START;
	paging->aperture_last = SELFTEST_APERTURE_LAST;
	paging->page_sizes = SELFTEST_PAGE_SIZE | SELFTEST_HUGE_PAGE_SIZE | 1ULL << 30;
	return 0;
}

static int mock_paging_data(const struct iommu_hwpt_alloc *cmd, struct soft_hwpt_paging *paging)
{
	struct selftest_hwpt data;
	int err;

	if (cmd->data_type != SELFTEST_HWPT_DATA)
		return -EOPNOTSUPP;
	err = mock_copy_data(&data, sizeof(data), sizeof(data.iotlb), cmd->data_uptr,
			     cmd->data_len);
	if (err)
		return err;
	switch (data.pagetable) {
	case SELFTEST_PAGETABLE_DEFAULT:
		return 0;
	case SELFTEST_PAGETABLE_HUGE:
		paging->aperture_start = 0;
		paging->aperture_last = (1ULL << 56) - 1;
		paging->page_sizes = PAGE_SIZE_4K | SELFTEST_HUGE_PAGE_SIZE;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

static int mock_check_map_perm(const struct soft_hwpt_paging *paging, unsigned int perm)
{
	return 0;
}

int mock_nested_init(const struct iommu_hwpt_alloc *cmd, struct soft_hwpt_nested *nested)
{
	struct selftest_hwpt data;
	int err;

	if (cmd->data_type != SELFTEST_HWPT_DATA)
		return -EOPNOTSUPP;
	err = mock_copy_data(&data, sizeof(data), sizeof(data.iotlb), cmd->data_uptr,
			     cmd->data_len);
	for (size_t i = 0; i < SELFTEST_CACHE_ENTRIES && !err; i++)
		nested->selftest_iotlb[i] = data.iotlb;
	return err;
}

static int invalidate_entry(struct soft_hwpt_nested *nested,
			    const struct selftest_hwpt_invalidate *entry)
{
	if (entry->flags & ~SELFTEST_INVALIDATE_ALL)
		return -EOPNOTSUPP;
	if (entry->iotlb_index >= SELFTEST_CACHE_ENTRIES)
		return -EINVAL;
	for (uint32_t i = 0; i < SELFTEST_CACHE_ENTRIES; i++)
		if (i == entry->iotlb_index || (entry->flags & SELFTEST_INVALIDATE_ALL))
			nested->selftest_iotlb[i] = 0;
	return 0;
}

static int mock_nested_invalidate(struct soft_iommu *iommu, struct soft_hwpt_nested *nested,
				  const struct iommu_hwpt_invalidate *cmd, uint32_t *done)
{
	if (cmd->data_type != SELFTEST_INVALIDATE_DATA)
		return -EINVAL;
	for (; *done < cmd->entry_num; ++*done) {
		struct selftest_hwpt_invalidate entry;
		int err = mock_copy_data(&entry, sizeof(entry), sizeof(entry),
					 cmd->data_uptr + (uint64_t)*done * cmd->entry_len,
					 cmd->entry_len);

		if (!err)
			err = invalidate_entry(nested, &entry);
		if (err)
			return err;
	}
	return 0;
}

static const struct soft_viommu_ops *mock_viommu_ops_of(const struct soft_device *dev,
							uint32_t type)
{
	return type == SELFTEST_VIOMMU_TYPE ? &mock_viommu_ops : NULL;
}

/* --- attachments -------------------------------------------------------------------------- */

/* What vEVENTs will say of the device is settled here, as long as the vIOMMU stays the same. */
static int attach_rid(struct soft_bound *bound, struct soft_hwpt *hwpt)
{
	struct mock_device *mock = to_mock_device(bound->dev);
	const struct soft_vdevice *vdevice = NULL;
	struct soft_viommu *viommu = NULL;

	if (hwpt->obj.type == SOFT_HWPT_NESTED)
		viommu = container_of(hwpt, struct soft_hwpt_nested, hwpt)->viommu;
	else if (soft_hwpt_to_paging(hwpt)->dirty_tracking && !mock_has_dirty_tracking(bound->dev))
		return -EINVAL;
	if (viommu) {
		vdevice = soft_vdevice_of(viommu, bound);
		if (!vdevice)
			return -ENOENT;
	}
	if (viommu != mock->viommu) {
		mock->viommu = viommu;
		mock->vdev_id = vdevice ? vdevice->virt_id : 0;
	}
	return 0;
}

/* Every second attach of one PASID fails, for tests of what a failed replace leaves. */
static int attach_pasid(struct mock_device *mock, uint32_t pasid)
{
	if (pasid != SELFTEST_FAILING_PASID)
		return 0;
	mock->next_attach_fails = !mock->next_attach_fails;
	return mock->next_attach_fails ? 0 : -ENOMEM;
}

static int mock_attach(struct soft_bound *bound, uint32_t pasid, struct soft_hwpt *hwpt)
{
	if (pasid == SOFT_RID_PASID)
		return attach_rid(bound, hwpt);
	return attach_pasid(to_mock_device(bound->dev), pasid);
}

static void mock_detach(struct soft_bound *bound, uint32_t pasid)
{
	struct mock_device *mock = to_mock_device(bound->dev);

	if (pasid == SOFT_RID_PASID)
		mock->viommu = NULL;
	if (pasid == SELFTEST_FAILING_PASID)
		mock->next_attach_fails = false;
}

/* --- hardware that there is not ------------------------------------------------------------ */

static void mock_forget(struct soft_bound *bound, uint32_t pasid, struct soft_hwpt *old)
{
}

static unsigned int mock_tags_in_use(struct soft_iommu *iommu)
{
	return 0;
}

static void mock_map_begin(struct soft_iommu *iommu)
{
}

static void mock_map_end(struct soft_iommu *iommu, bool flush)
{
}

static int mock_dma(struct soft_device *dev, const struct endpoint_dma_request *req)
{
	return -EFAULT;
}

static void mock_get_stats(struct soft_iommu *iommu, struct nst_soft_stats *stats)
{
}

static void mock_drop_invalidation(struct soft_iommu *iommu, uint64_t after_dma_write_bytes)
{
}

static void mock_destroy(struct soft_iommu *iommu)
{
	free(iommu);
}

static const struct soft_iommu_ops mock_ops = {
	.destroy = mock_destroy,
	.has_own_devices = true,
	.test_ioctl = mock_test_ioctl,
	.hw_info_type = SELFTEST_HW_INFO_TYPE,
	.hw_info_size = sizeof(struct selftest_hw_info),
	.hw_info = mock_hw_info,
	.has_dirty_tracking = mock_has_dirty_tracking,
	.paging_init = mock_paging_init,
	.paging_data = mock_paging_data,
	.check_map = mock_check_map_perm,
	.nested_init = mock_nested_init,
	.nested_invalidate = mock_nested_invalidate,
	.viommu_ops = mock_viommu_ops_of,
	.user_pasid_table = true,
	.attach = mock_attach,
	.detach = mock_detach,
	.forget = mock_forget,
	.tags_in_use = mock_tags_in_use,
	.map_begin = mock_map_begin,
	.map_end = mock_map_end,
	.dma = mock_dma,
	.get_stats = mock_get_stats,
	.drop_invalidation = mock_drop_invalidation,
};

int soft_mock_create(const struct nst_soft_config *config, struct soft_host *host,
		     struct soft_iommu **out)
{
	struct soft_iommu *iommu = alloc_object(struct soft_iommu);

	if (!iommu)
		return -ENOMEM;
	iommu->ops = &mock_ops;
	iommu->log = config->log;
	iommu->host = host;
	*out = iommu;
	return 0;
}
