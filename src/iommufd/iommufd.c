// SPDX-License-Identifier: BSD-3-Clause
/* See iommufd.h: fills the kernel's structures and reads the answers. */
#include "iommufd/iommufd.h"

#include <errno.h>
#include <fcntl.h>

static int call(const struct iommufd *iommufd, unsigned long request, void *arg)
{
	int ret = iommufd->host->ops->ioctl(iommufd->host, iommufd->fd, request, arg);

	return ret > 0 ? 0 : ret;
}

int iommufd_open(struct nst_host *host, struct iommufd *out)
{
	int fd = host->ops->open(host, "/dev/iommu", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return fd;
	*out = (struct iommufd){ .host = host, .fd = fd };
	return 0;
}

void iommufd_close(struct iommufd *iommufd)
{
	iommufd->host->ops->close(iommufd->host, iommufd->fd);
	iommufd->fd = -1;
}

int iommufd_destroy(const struct iommufd *iommufd, uint32_t id)
{
	struct iommu_destroy cmd = { .size = sizeof(cmd), .id = id };

	return call(iommufd, IOMMU_DESTROY, &cmd);
}

int iommufd_ioas_alloc(const struct iommufd *iommufd, uint32_t *ioas_id)
{
	struct iommu_ioas_alloc cmd = { .size = sizeof(cmd) };
	int ret = call(iommufd, IOMMU_IOAS_ALLOC, &cmd);

	if (!ret)
		*ioas_id = cmd.out_ioas_id;
	return ret;
}

int iommufd_ioas_map(const struct iommufd *iommufd, uint32_t ioas_id, uint64_t iova,
		     uint64_t length, void *user_va, uint32_t prot)
{
	struct iommu_ioas_map cmd = {
		.size = sizeof(cmd),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | prot,
		.ioas_id = ioas_id,
		.user_va = (uintptr_t)user_va,
		.length = length,
		.iova = iova,
	};

	return call(iommufd, IOMMU_IOAS_MAP, &cmd);
}

int iommufd_ioas_map_file(const struct iommufd *iommufd, uint32_t ioas_id, uint64_t iova,
			  uint64_t length, int fd, uint64_t start, bool writable)
{
	struct iommu_ioas_map_file cmd = {
		.size = sizeof(cmd),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 (writable ? IOMMU_IOAS_MAP_WRITEABLE : 0),
		.ioas_id = ioas_id,
		.fd = fd,
		.start = start,
		.length = length,
		.iova = iova,
	};

	return call(iommufd, IOMMU_IOAS_MAP_FILE, &cmd);
}

int iommufd_ioas_unmap(const struct iommufd *iommufd, uint32_t ioas_id, uint64_t iova,
		       uint64_t length)
{
	struct iommu_ioas_unmap cmd = {
		.size = sizeof(cmd),
		.ioas_id = ioas_id,
		.iova = iova,
		.length = length,
	};

	return call(iommufd, IOMMU_IOAS_UNMAP, &cmd);
}

int iommufd_ioas_iova_ranges(const struct iommufd *iommufd, uint32_t ioas_id,
			     struct iommu_iova_range *ranges, uint32_t *count)
{
	struct iommu_ioas_iova_ranges cmd = {
		.size = sizeof(cmd),
		.ioas_id = ioas_id,
		.num_iovas = *count,
		.allowed_iovas = (uintptr_t)ranges,
	};
	int ret = call(iommufd, IOMMU_IOAS_IOVA_RANGES, &cmd);

	if (ret && ret != -EMSGSIZE)
		return ret;
	if (!ret)
		*count = cmd.num_iovas;
	return 0;
}

int iommufd_get_hw_info(const struct iommufd *iommufd, uint32_t dev_id, struct iommufd_hw_info *out)
{
	struct iommufd_hw_info info = { 0 };
	struct iommu_hw_info cmd = {
		.size = sizeof(cmd),
		.dev_id = dev_id,
		.data_len = sizeof(info.smmuv3), /* the longest */
		.data_uptr = (uintptr_t)&info.smmuv3,
	};
	int ret = call(iommufd, IOMMU_GET_HW_INFO, &cmd);

	if (ret)
		return ret;
	info.type = cmd.out_data_type;
	info.capabilities = cmd.out_capabilities;
	info.max_pasid_log2 = cmd.out_max_pasid_log2;
	*out = info;
	return 0;
}

static int hwpt_alloc(const struct iommufd *iommufd, struct iommu_hwpt_alloc *cmd,
		      uint32_t *hwpt_id)
{
	int ret;

	cmd->size = sizeof(*cmd);
	ret = call(iommufd, IOMMU_HWPT_ALLOC, cmd);
	if (!ret)
		*hwpt_id = cmd->out_hwpt_id;
	return ret;
}

int iommufd_hwpt_alloc_paging(const struct iommufd *iommufd, uint32_t dev_id, uint32_t ioas_id,
			      uint32_t flags, uint32_t *hwpt_id)
{
	struct iommu_hwpt_alloc cmd = { .flags = flags, .dev_id = dev_id, .pt_id = ioas_id };

	return hwpt_alloc(iommufd, &cmd, hwpt_id);
}

int iommufd_hwpt_alloc_vtd_s1(const struct iommufd *iommufd, uint32_t dev_id, uint32_t parent_id,
			      uint32_t flags, uint32_t fault_id,
			      const struct iommu_hwpt_vtd_s1 *data, uint32_t *hwpt_id)
{
	struct iommu_hwpt_alloc cmd = {
		.flags = flags,
		.dev_id = dev_id,
		.pt_id = parent_id,
		.data_type = IOMMU_HWPT_DATA_VTD_S1,
		.fault_id = flags & IOMMU_HWPT_FAULT_ID_VALID ? fault_id : 0,
		.data_len = sizeof(*data),
		.data_uptr = (uintptr_t)data,
	};

	return hwpt_alloc(iommufd, &cmd, hwpt_id);
}

int iommufd_hwpt_alloc_arm_smmuv3(const struct iommufd *iommufd, uint32_t dev_id,
				  uint32_t viommu_id, uint32_t flags, uint32_t fault_id,
				  const struct iommu_hwpt_arm_smmuv3 *data, uint32_t *hwpt_id)
{
	struct iommu_hwpt_alloc cmd = {
		.flags = flags,
		.dev_id = dev_id,
		.pt_id = viommu_id,
		.data_type = IOMMU_HWPT_DATA_ARM_SMMUV3,
		.data_len = sizeof(*data),
		.data_uptr = (uintptr_t)data,
		.fault_id = flags & IOMMU_HWPT_FAULT_ID_VALID ? fault_id : 0,
	};

	return hwpt_alloc(iommufd, &cmd, hwpt_id);
}

int iommufd_viommu_alloc(const struct iommufd *iommufd, uint32_t type, uint32_t dev_id,
			 uint32_t parent_id, uint32_t *viommu_id)
{
	struct iommu_viommu_alloc cmd = {
		.size = sizeof(cmd),
		.type = type,
		.dev_id = dev_id,
		.hwpt_id = parent_id,
	};
	int ret = call(iommufd, IOMMU_VIOMMU_ALLOC, &cmd);

	if (!ret)
		*viommu_id = cmd.out_viommu_id;
	return ret;
}

int iommufd_vdevice_alloc(const struct iommufd *iommufd, uint32_t viommu_id, uint32_t dev_id,
			  uint64_t virt_id, uint32_t *vdevice_id)
{
	struct iommu_vdevice_alloc cmd = {
		.size = sizeof(cmd),
		.viommu_id = viommu_id,
		.dev_id = dev_id,
		.virt_id = virt_id,
	};
	int ret = call(iommufd, IOMMU_VDEVICE_ALLOC, &cmd);

	if (!ret)
		*vdevice_id = cmd.out_vdevice_id;
	return ret;
}

int iommufd_veventq_alloc(const struct iommufd *iommufd, uint32_t viommu_id, uint32_t type,
			  uint32_t depth, uint32_t *veventq_id, int *fd)
{
	struct iommu_veventq_alloc cmd = {
		.size = sizeof(cmd),
		.viommu_id = viommu_id,
		.type = type,
		.veventq_depth = depth,
	};
	int ret = call(iommufd, IOMMU_VEVENTQ_ALLOC, &cmd);

	if (ret)
		return ret;
	*veventq_id = cmd.out_veventq_id;
	*fd = (int)cmd.out_veventq_fd;
	return 0;
}

int iommufd_viommu_invalidate_arm_smmuv3(const struct iommufd *iommufd, uint32_t viommu_id,
					 const struct iommu_viommu_arm_smmuv3_invalidate *commands,
					 uint32_t count)
{
	struct iommu_hwpt_invalidate cmd = {
		.size = sizeof(cmd),
		.hwpt_id = viommu_id,
		.data_uptr = (uintptr_t)commands,
		.data_type = IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3,
		.entry_len = sizeof(*commands),
		.entry_num = count,
	};

	return call(iommufd, IOMMU_HWPT_INVALIDATE, &cmd);
}

int iommufd_fault_queue_alloc(const struct iommufd *iommufd, uint32_t *fault_id, int *fd)
{
	struct iommu_fault_alloc cmd = { .size = sizeof(cmd) };
	int ret = call(iommufd, IOMMU_FAULT_QUEUE_ALLOC, &cmd);

	if (ret)
		return ret;
	*fault_id = cmd.out_fault_id;
	*fd = (int)cmd.out_fault_fd;
	return 0;
}

int iommufd_hwpt_invalidate_vtd_s1(const struct iommufd *iommufd, uint32_t hwpt_id,
				   const struct iommu_hwpt_vtd_s1_invalidate *entries,
				   uint32_t count, uint32_t *done)
{
	struct iommu_hwpt_invalidate cmd = {
		.size = sizeof(cmd),
		.hwpt_id = hwpt_id,
		.data_uptr = (uintptr_t)entries,
		.data_type = IOMMU_HWPT_INVALIDATE_DATA_VTD_S1,
		.entry_len = sizeof(*entries),
		.entry_num = count,
	};
	int ret = call(iommufd, IOMMU_HWPT_INVALIDATE, &cmd);

	if (!ret)
		*done = count;
	else /* an early error leaves what we wrote there: nothing is done then */
		*done = cmd.entry_num < count ? cmd.entry_num : 0;
	return ret;
}
