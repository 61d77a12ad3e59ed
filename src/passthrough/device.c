// SPDX-License-Identifier: BSD-3-Clause
/*
 * See device.h. Opening follows the order the kernel asks for: bind to the iommufd,
 * ask what the host's IOMMU can do, attach to a nesting parent, then look at regions
 * and interrupts.
 */
#include "passthrough/device.h"

#include "base/alloc.h"
#include "base/bits.h"
#include "base/log.h"
#include "spec/vtd_caps.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum { MAX_REGION_INFO_BYTES = 1 << 16 };

static int call(const struct nst_device *dev, unsigned long request, void *arg)
{
	struct nst_host *host = dev->vm->iommufd.host;
	int ret = host->ops->ioctl(host, dev->fd, request, arg);

	return ret > 0 ? 0 : ret;
}

int device_attach_hwpt(struct nst_device *dev, uint32_t pasid, uint32_t hwpt_id)
{
	struct vfio_device_attach_iommufd_pt cmd = { .argsz = sizeof(cmd), .pt_id = hwpt_id };
	int ret;

	if (pasid != NST_NO_PASID) {
		cmd.flags = VFIO_DEVICE_ATTACH_PASID;
		cmd.pasid = pasid;
	}
	ret = call(dev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &cmd);
	if (!ret && pasid == NST_NO_PASID)
		dev->attached = true;
	return ret;
}

int device_detach_hwpt(struct nst_device *dev, uint32_t pasid)
{
	struct vfio_device_detach_iommufd_pt cmd = { .argsz = sizeof(cmd) };
	int ret;

	if (pasid != NST_NO_PASID) {
		cmd.flags = VFIO_DEVICE_DETACH_PASID;
		cmd.pasid = pasid;
	}
	ret = call(dev, VFIO_DEVICE_DETACH_IOMMUFD_PT, &cmd);
	if (!ret && pasid == NST_NO_PASID)
		dev->attached = false;
	return ret;
}

static int bind(struct nst_device *dev)
{
	struct vfio_device_bind_iommufd cmd = { .argsz = sizeof(cmd),
						.iommufd = dev->vm->iommufd.fd };
	int ret = call(dev, VFIO_DEVICE_BIND_IOMMUFD, &cmd);

	if (!ret)
		dev->dev_id = cmd.out_devid;
	return ret;
}

/*
 * What a nesting parent may be combined with differs by vendor: Arm's driver refuses
 * both PASID and dirty tracking beside it, AMD's refuses PASID. Where the host IOMMU has
 * PASIDs they all take them, also those made for a device without: one that has PASIDs
 * may share it later, and everything that its plain requests are on must take them too.
 */
uint32_t device_hwpt_flags(const struct nst_device *dev)
{
	const struct iommufd_hw_info *info = &dev->hw_info;
	uint32_t flags = IOMMU_HWPT_ALLOC_NEST_PARENT;

	if (info->type == IOMMU_HW_INFO_TYPE_INTEL_VTD && (info->vtd.ecap_reg & VTD_ECAP_PASID))
		flags |= IOMMU_HWPT_ALLOC_PASID;
	if (info->type != IOMMU_HW_INFO_TYPE_ARM_SMMUV3 &&
	    (info->capabilities & IOMMU_HW_CAP_DIRTY_TRACKING))
		flags |= IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
	return flags;
}

static int attach_to_existing_parent(struct nst_device *dev, uint32_t flags) REQUIRES(dev->vm->lock)
{
	for (struct vm_parent *p = dev->vm->parents; p; p = p->next) {
		int ret;

		if ((flags & IOMMU_HWPT_ALLOC_PASID) && !p->pasid_capable)
			continue;
		ret = device_attach_hwpt(dev, NST_NO_PASID, p->hwpt_id);
		if (ret == -EINVAL) /* another host IOMMU: not for this one */
			continue;
		if (!ret) {
			p->users++;
			dev->parent = p;
		}
		return ret;
	}
	return -ENOENT;
}

static int attach_to_new_parent(struct nst_device *dev, uint32_t flags) REQUIRES(dev->vm->lock)
{
	struct nst_vm *vm = dev->vm;
	struct vm_parent *p = alloc_object(struct vm_parent);
	int ret;

	if (!p)
		return -ENOMEM;
	ret = iommufd_hwpt_alloc_paging(&vm->iommufd, dev->dev_id, vm->ioas_id, flags, &p->hwpt_id);
	if (ret) {
		free(p);
		return ret;
	}
	ret = device_attach_hwpt(dev, NST_NO_PASID, p->hwpt_id);
	if (ret) {
		iommufd_destroy(&vm->iommufd, p->hwpt_id);
		free(p);
		return ret;
	}
	p->users = 1;
	p->pasid_capable = flags & IOMMU_HWPT_ALLOC_PASID;
	p->next = vm->parents;
	vm->parents = p;
	dev->parent = p;
	return 0;
}

static int attach_to_parent(struct nst_device *dev)
{
	uint32_t flags = device_hwpt_flags(dev);
	int ret;

	mutex_lock(&dev->vm->lock);
	ret = attach_to_existing_parent(dev, flags);
	if (ret == -ENOENT)
		ret = attach_to_new_parent(dev, flags);
	mutex_unlock(&dev->vm->lock);
	dev->pasid_capable = !ret && dev->parent->pasid_capable;
	return ret;
}

/* While it is on the VM's IOAS its reserved addresses are kept out of that. */
static int read_iova_ranges(struct nst_device *dev)
{
	dev->num_iova_ranges = DEVICE_MAX_IOVA_RANGES;
	return iommufd_ioas_iova_ranges(&dev->vm->iommufd, dev->vm->ioas_id, dev->iova_ranges,
					&dev->num_iova_ranges);
}

static void put_parent(struct nst_device *dev)
{
	struct nst_vm *vm = dev->vm;
	struct vm_parent *p = dev->parent;

	mutex_lock(&vm->lock);
	if (p && --p->users == 0) {
		for (struct vm_parent **link = &vm->parents; *link; link = &(*link)->next) {
			if (*link == p) {
				*link = p->next;
				break;
			}
		}
		if (iommufd_destroy(&vm->iommufd, p->hwpt_id))
			log_error(vm->log, "nesting parent %u is still in use", p->hwpt_id);
		free(p);
	}
	mutex_unlock(&vm->lock);
}

/* Again, with room for the capabilities that the kernel has of it. */
static int read_areas(struct nst_device *dev, const struct vfio_region_info *known)
{
	struct vfio_region_info *info;
	int ret;

	if (!(known->flags & VFIO_REGION_INFO_FLAG_MMAP))
		return 0;
	if (known->argsz < sizeof(*known) || known->argsz > MAX_REGION_INFO_BYTES)
		return -EPROTO;
	info = alloc_array(1, known->argsz);
	if (!info)
		return -ENOMEM;
	info->argsz = known->argsz;
	info->index = known->index;
	ret = call(dev, VFIO_DEVICE_GET_REGION_INFO, info);
	if (!ret && info->argsz <= known->argsz)
		device_areas_read(info, &dev->areas[known->index]);
	free(info);
	return ret;
}

static int read_regions(struct nst_device *dev, uint32_t num_regions)
{
	for (uint32_t i = 0; i < MIN(num_regions, (uint32_t)VFIO_PCI_NUM_REGIONS); i++) {
		struct vfio_region_info info = { .argsz = sizeof(info), .index = i };
		int ret = call(dev, VFIO_DEVICE_GET_REGION_INFO, &info);

		if (ret == -EINVAL && i == VFIO_PCI_VGA_REGION_INDEX)
			continue;
		if (ret)
			return ret;
		dev->regions[i] = (struct nst_device_region){ info.size, info.flags };
		dev->region_offsets[i] = info.offset;
		ret = read_areas(dev, &info);
		if (ret)
			return ret;
	}
	return 0;
}

static int read_irqs(struct nst_device *dev, uint32_t num_irqs)
{
	for (uint32_t i = 0; i < MIN(num_irqs, (uint32_t)VFIO_PCI_NUM_IRQS); i++) {
		struct vfio_irq_info info = { .argsz = sizeof(info), .index = i };
		int ret = call(dev, VFIO_DEVICE_GET_IRQ_INFO, &info);

		if (ret == -EINVAL && i == VFIO_PCI_ERR_IRQ_INDEX) /* conventional PCI */
			continue;
		if (ret)
			return ret;
		dev->irq_counts[i] = info.count;
	}
	return 0;
}

static int read_layout(struct nst_device *dev)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	int ret = call(dev, VFIO_DEVICE_GET_INFO, &info);

	if (ret)
		return ret;
	if (!(info.flags & VFIO_DEVICE_FLAGS_PCI))
		return -ENODEV;
	dev->can_reset = info.flags & VFIO_DEVICE_FLAGS_RESET;
	ret = read_regions(dev, info.num_regions);
	return ret ? ret : read_irqs(dev, info.num_irqs);
}

int nst_device_open(struct nst_vm *vm, const struct nst_device_config *config,
		    struct nst_device **out)
{
	struct nst_host *host = vm->iommufd.host;
	struct nst_device *dev;
	int ret;

	if (!host)
		return -ENODEV;
	dev = alloc_object(struct nst_device);
	if (!dev)
		return -ENOMEM;
	dev->vm = vm;
	mutex_init(&dev->config_lock);
	mutex_init(&dev->reset_lock);
	dev->fd = host->ops->open(host, config->path, O_RDWR | O_CLOEXEC);
	if (dev->fd < 0) {
		ret = dev->fd;
		mutex_fini(&dev->reset_lock);
		mutex_fini(&dev->config_lock);
		free(dev);
		return ret;
	}
	ret = bind(dev);
	if (!ret)
		ret = iommufd_get_hw_info(&vm->iommufd, dev->dev_id, &dev->hw_info);
	if (!ret)
		ret = attach_to_parent(dev);
	if (!ret)
		ret = read_iova_ranges(dev);
	if (!ret)
		ret = read_layout(dev);
	if (!ret)
		ret = device_config_init(dev, config);
	if (ret) {
		nst_device_close(dev);
		return ret;
	}
	*out = dev;
	return 0;
}

void nst_device_close(struct nst_device *dev)
{
	struct nst_host *host;

	if (!dev)
		return;
	host = dev->vm->iommufd.host;
	host->ops->close(host, dev->fd); /* detaches it from everything */
	put_parent(dev);
	mutex_fini(&dev->reset_lock);
	mutex_fini(&dev->config_lock);
	free(dev);
}

struct nst_device_region nst_device_region(const struct nst_device *dev, unsigned int index)
{
	return index < VFIO_PCI_NUM_REGIONS ? dev->regions[index] : (struct nst_device_region){ 0 };
}

struct nst_device_mapping nst_device_mapping(const struct nst_device *dev, unsigned int index)
{
	if (index >= VFIO_PCI_NUM_REGIONS || !dev->areas[index].count)
		return (struct nst_device_mapping){ .fd = -1 };
	return (struct nst_device_mapping){
		.fd = dev->fd,
		.fd_offset = dev->region_offsets[index],
		.areas = dev->areas[index].area,
		.num_areas = dev->areas[index].count,
	};
}

uint32_t nst_device_irq_count(const struct nst_device *dev, unsigned int index)
{
	return index < VFIO_PCI_NUM_IRQS ? dev->irq_counts[index] : 0;
}

/* What is left out below the last range: what is above it the IOMMU cannot address. */
unsigned int nst_device_reserved(const struct nst_device *dev, struct nst_gpa_range *ranges,
				 unsigned int max)
{
	unsigned int count = 0;
	uint64_t next = 0;

	for (uint32_t i = 0; i < dev->num_iova_ranges; i++) {
		uint64_t first = dev->iova_ranges[i].start;

		if (first > next && count++ < max)
			ranges[count - 1] = (struct nst_gpa_range){ next, first - next };
		next = dev->iova_ranges[i].last + 1;
	}
	return count;
}

static bool inside_region(const struct nst_device *dev, unsigned int region, uint64_t offset,
			  size_t size)
{
	return region < VFIO_PCI_NUM_REGIONS && range_fits(offset, size, dev->regions[region].size);
}

int device_region_read(struct nst_device *dev, unsigned int region, uint64_t offset, void *buf,
		       size_t size)
{
	struct nst_host *host = dev->vm->iommufd.host;
	ssize_t n;

	if (!inside_region(dev, region, offset, size))
		return -EINVAL;
	n = host->ops->pread(host, dev->fd, buf, size,
			     (off_t)(dev->region_offsets[region] + offset));
	if (n < 0)
		return (int)n;
	return (size_t)n == size ? 0 : -EIO;
}

int nst_device_read(struct nst_device *dev, unsigned int region, uint64_t offset, void *buf,
		    size_t size)
{
	int ret = device_region_read(dev, region, offset, buf, size);

	if (!ret && region == VFIO_PCI_CONFIG_REGION_INDEX)
		device_config_overlay(dev, offset, buf, size);
	return ret;
}

int nst_device_write(struct nst_device *dev, unsigned int region, uint64_t offset, const void *buf,
		     size_t size)
{
	struct nst_host *host = dev->vm->iommufd.host;
	ssize_t n;

	if (!inside_region(dev, region, offset, size))
		return -EINVAL;
	if (region == VFIO_PCI_CONFIG_REGION_INDEX && device_config_write(dev, offset, buf, size))
		return 0;
	n = host->ops->pwrite(host, dev->fd, buf, size,
			      (off_t)(dev->region_offsets[region] + offset));
	if (n < 0)
		return (int)n;
	return (size_t)n == size ? 0 : -EIO;
}

int nst_device_set_irqs(struct nst_device *dev, uint32_t index, uint32_t flags, uint32_t start,
			uint32_t count, const int *fds, const uint8_t *data)
{
	size_t data_size = flags & VFIO_IRQ_SET_DATA_EVENTFD ? count * sizeof(int32_t)
			   : flags & VFIO_IRQ_SET_DATA_BOOL  ? count
							     : 0;
	struct vfio_irq_set *set;
	int ret;

	if (count > 4096)
		return -EINVAL;
	set = alloc_array(1, sizeof(*set) + data_size);
	if (!set)
		return -ENOMEM;
	*set = (struct vfio_irq_set){
		.argsz = (uint32_t)(sizeof(*set) + data_size),
		.flags = flags,
		.index = index,
		.start = start,
		.count = count,
	};
	if (data_size)
		memcpy(set->data, flags & VFIO_IRQ_SET_DATA_EVENTFD ? (const void *)fds : data,
		       data_size);
	ret = call(dev, VFIO_DEVICE_SET_IRQS, set);
	free(set);
	return ret;
}

void device_watch_reset(struct nst_device *dev,
			void (*on_reset)(void *opaque, struct nst_device *dev), void *opaque)
{
	mutex_lock(&dev->reset_lock);
	dev->on_reset = on_reset;
	dev->reset_opaque = opaque;
	mutex_unlock(&dev->reset_lock);
}

void device_announce_reset(struct nst_device *dev)
{
	mutex_lock(&dev->reset_lock);
	if (dev->on_reset)
		dev->on_reset(dev->reset_opaque, dev);
	mutex_unlock(&dev->reset_lock);
}

bool nst_device_can_reset(const struct nst_device *dev)
{
	return dev->can_reset;
}

int nst_device_reset(struct nst_device *dev)
{
	int ret = -EINVAL;

	if (!dev->can_reset)
		return ret;
	device_announce_reset(dev);
	ret = call(dev, VFIO_DEVICE_RESET, NULL);
	if (!ret)
		device_config_reset(dev);
	return ret;
}
