// SPDX-License-Identifier: BSD-3-Clause
/*
 * An open of /dev/vfio/devices/vfioN: its ioctls, and what happens when it is bound
 * to a context and when it is closed.
 *
 * Many may open a device, one may bind it; until a file has bound the device it may do
 * nothing else (EINVAL). What BIND set up stays until the file is released, so the other
 * ioctls need no lock to use it. Release runs when no call on the file is in flight.
 *
 * Source: Linux 7.2 drivers/vfio/{device_cdev,vfio_main,pci/vfio_pci_core}.c.
 */
#include "host/soft/soft.h"
#include "host/soft/attach.h"
#include "host/soft/vfio/device.h"
#include "host/soft/vfio/vfio.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

/* --- bind and unbind ------------------------------------------------------------------------ */

/* The context behind a descriptor number of the caller, with a reference. */
static int get_ctx(struct soft_host *host, int fd, struct soft_ctx **out)
{
	struct soft_file *file = soft_file_get(host, fd);

	if (!file)
		return fcntl(fd, F_GETFD) < 0 ? -EBADF : -EBADFD;
	if (!soft_file_is_ctx(file)) {
		soft_file_put(file);
		return -EBADFD;
	}
	*out = to_soft_ctx(file);
	return 0;
}

/* The device has no owner: make @vfile it. */
static int open_device(struct soft_device *dev, struct soft_vfio_file *vfile, struct soft_ctx *ctx,
		       uint32_t *devid) REQUIRES(&dev->bind_lock)
{
	int err = soft_worker_start(dev);

	if (!err)
		err = soft_bound_create(ctx, dev, &vfile->bound);
	if (err)
		return err;
	vfile->ctx = ctx;
	dev->owner = vfile;
	soft_device_power_on(dev);
	*devid = vfile->bound->obj.id;
	return 0;
}

/* Quiet first, then cut off: no request of the device meets a half-removed attachment. */
static void close_device(struct soft_device *dev, struct soft_vfio_file *vfile)
	REQUIRES(&dev->bind_lock)
{
	soft_irqs_disable_all(dev);
	soft_device_power_on(dev);
	soft_bound_destroy(vfile->ctx, vfile->bound);
	soft_file_put(&vfile->ctx->file);
	dev->owner = NULL;
}

static int bind_locked(struct soft_device *dev, struct soft_vfio_file *vfile,
		       const struct vfio_device_bind_iommufd *bind, void *arg)
	REQUIRES(&dev->bind_lock)
{
	struct soft_ctx *ctx;
	uint32_t devid;
	int err;

	if (atomic_load(&vfile->granted))
		return -EINVAL;
	if (bind->flags & VFIO_DEVICE_BIND_FLAG_TOKEN) {
		uint8_t uuid[16];

		/* a token is for virtual functions and those who have some */
		if (soft_copy_from_user(uuid, soft_user_ptr(bind->token_uuid_ptr), sizeof(uuid)))
			return -EFAULT;
		return -EINVAL;
	}
	err = get_ctx(vfile->file.host, bind->iommufd, &ctx);
	if (err)
		return err;
	err = dev->owner ? -EINVAL : open_device(dev, vfile, ctx, &devid);
	if (err) {
		soft_file_put(&ctx->file);
		return err;
	}
	if (soft_copy_to_user(USER_MEMBER(arg, struct vfio_device_bind_iommufd, out_devid), &devid,
			      sizeof(devid))) {
		close_device(dev, vfile);
		return -EFAULT;
	}
	atomic_store_explicit(&vfile->granted, true, memory_order_release);
	return 0;
}

static int bind_iommufd(struct soft_vfio_file *vfile, void *arg)
{
	struct soft_device *dev = vfile->dev;
	struct vfio_device_bind_iommufd bind;
	uint32_t size;
	int err;

	if (soft_copy_from_user(&size, arg, sizeof(size)))
		return -EFAULT;
	if (size < END_OF(struct vfio_device_bind_iommufd, out_devid))
		return -EINVAL;
	err = soft_copy_struct_from_user(&bind, sizeof(bind), arg, size);
	if (err)
		return err;
	if (bind.iommufd < 0 || (bind.flags & ~(uint32_t)VFIO_DEVICE_BIND_FLAG_TOKEN))
		return -EINVAL;
	mutex_lock(&dev->bind_lock);
	err = bind_locked(dev, vfile, &bind, arg);
	mutex_unlock(&dev->bind_lock);
	return err;
}

static void vfio_release(struct soft_file *file)
{
	struct soft_vfio_file *vfile = to_soft_vfio_file(file);
	struct soft_device *dev = vfile->dev;

	mutex_lock(&dev->bind_lock);
	if (dev->owner == vfile)
		close_device(dev, vfile);
	mutex_unlock(&dev->bind_lock);
	if (vfile->low_power && vfile->wake_fd >= 0)
		close(vfile->wake_fd);
	soft_device_put(dev);
	free(vfile);
}

/* --- attach and detach ---------------------------------------------------------------------- */

static int attach(struct soft_vfio_file *vfile, void *arg)
{
	const size_t min_size = END_OF(struct vfio_device_attach_iommufd_pt, pt_id);
	struct vfio_device_attach_iommufd_pt attach = { 0 };
	bool via_pasid;
	int err;

	if (soft_copy_from_user(&attach, arg, min_size))
		return -EFAULT;
	if (attach.argsz < min_size || (attach.flags & ~(uint32_t)VFIO_DEVICE_ATTACH_PASID))
		return -EINVAL;
	via_pasid = attach.flags & VFIO_DEVICE_ATTACH_PASID;
	if (via_pasid) {
		if (attach.argsz < END_OF(struct vfio_device_attach_iommufd_pt, pasid))
			return -EINVAL;
		if (soft_copy_from_user(
			    &attach.pasid,
			    USER_MEMBER(arg, struct vfio_device_attach_iommufd_pt, pasid),
			    sizeof(attach.pasid)))
			return -EFAULT;
		if (attach.pasid > INT32_MAX)
			return -ENOSPC; /* what the kernel's id allocator says */
	}
	err = soft_bound_attach(vfile->ctx, vfile->bound, attach.pasid, via_pasid, &attach.pt_id);
	if (err)
		return err;
	if (soft_copy_to_user(USER_MEMBER(arg, struct vfio_device_attach_iommufd_pt, pt_id),
			      &attach.pt_id, sizeof(attach.pt_id))) {
		soft_bound_detach(vfile->ctx, vfile->bound, attach.pasid, via_pasid);
		return -EFAULT;
	}
	return 0;
}

static int detach(struct soft_vfio_file *vfile, void *arg)
{
	const size_t min_size = END_OF(struct vfio_device_detach_iommufd_pt, flags);
	struct vfio_device_detach_iommufd_pt detach = { 0 };
	bool via_pasid;

	if (soft_copy_from_user(&detach, arg, min_size))
		return -EFAULT;
	if (detach.argsz < min_size || (detach.flags & ~(uint32_t)VFIO_DEVICE_DETACH_PASID))
		return -EINVAL;
	via_pasid = detach.flags & VFIO_DEVICE_DETACH_PASID;
	if (via_pasid) {
		if (detach.argsz < END_OF(struct vfio_device_detach_iommufd_pt, pasid))
			return -EINVAL;
		if (soft_copy_from_user(
			    &detach.pasid,
			    USER_MEMBER(arg, struct vfio_device_detach_iommufd_pt, pasid),
			    sizeof(detach.pasid)))
			return -EFAULT;
	}
	soft_bound_detach(vfile->ctx, vfile->bound, detach.pasid, via_pasid);
	return 0;
}

/* --- what the device is --------------------------------------------------------------------- */

static int get_info(struct soft_device *dev, void *arg)
{
	const size_t min_size = END_OF(struct vfio_device_info, num_irqs);
	struct vfio_device_info info = { 0 };

	if (soft_copy_from_user(&info, arg, min_size))
		return -EFAULT;
	if (info.argsz < min_size)
		return -EINVAL;
	info.flags = VFIO_DEVICE_FLAGS_PCI | (dev->has_flr ? VFIO_DEVICE_FLAGS_RESET : 0);
	info.num_regions = VFIO_PCI_NUM_REGIONS;
	info.num_irqs = VFIO_PCI_NUM_IRQS;
	return soft_copy_to_user(arg, &info, MIN((size_t)info.argsz, sizeof(info)));
}

static int get_irq_info(struct soft_device *dev, void *arg)
{
	struct vfio_irq_info info;

	if (soft_copy_from_user(&info, arg, sizeof(info)))
		return -EFAULT;
	if (info.argsz < sizeof(info) || info.index >= VFIO_PCI_NUM_IRQS)
		return -EINVAL;
	if (info.index == VFIO_PCI_ERR_IRQ_INDEX && !soft_irqs_count(dev, info.index))
		return -EINVAL;
	info.flags = VFIO_IRQ_INFO_EVENTFD;
	if (info.index == VFIO_PCI_INTX_IRQ_INDEX)
		info.flags |= VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED;
	else if (info.index != VFIO_PCI_MSIX_IRQ_INDEX || !soft_irqs_count(dev, info.index))
		info.flags |= VFIO_IRQ_INFO_NORESIZE;
	info.count = soft_irqs_count(dev, info.index);
	return soft_copy_to_user(arg, &info, sizeof(info));
}

static int reset(struct soft_device *dev)
{
	bool pulled;

	if (!dev->has_flr)
		return -EINVAL;
	mutex_lock(&dev->lock);
	pulled = dev->pulled;
	if (!pulled) {
		soft_device_reset(dev);
		soft_worker_run_pending(dev);
	}
	mutex_unlock(&dev->lock);
	return pulled ? -ENOTTY : 0; /* what the kernel says of a device that does not come back */
}

/* All devices are on a root bus, which cannot be reset. */
static int hot_reset_info(void *arg)
{
	struct vfio_pci_hot_reset_info info;

	if (soft_copy_from_user(&info, arg, sizeof(info)))
		return -EFAULT;
	return info.argsz < sizeof(info) ? -EINVAL : -ENODEV;
}

static int hot_reset(void *arg)
{
	struct vfio_pci_hot_reset hdr;

	if (soft_copy_from_user(&hdr, arg, sizeof(hdr)))
		return -EFAULT;
	return hdr.argsz < sizeof(hdr) || hdr.flags ? -EINVAL : -ENODEV;
}

/* --- the descriptor ------------------------------------------------------------------------- */

static int vfio_ioctl(struct soft_file *file, unsigned long request, void *arg)
{
	struct soft_vfio_file *vfile = to_soft_vfio_file(file);
	struct soft_device *dev = vfile->dev;

	if (request == VFIO_DEVICE_BIND_IOMMUFD)
		return bind_iommufd(vfile, arg);
	if (!atomic_load_explicit(&vfile->granted, memory_order_acquire))
		return -EINVAL;
	mutex_lock(&dev->lock);
	soft_vfio_wake(dev, vfile);
	mutex_unlock(&dev->lock);
	switch (request) {
	case VFIO_DEVICE_ATTACH_IOMMUFD_PT:
		return attach(vfile, arg);
	case VFIO_DEVICE_DETACH_IOMMUFD_PT:
		return detach(vfile, arg);
	case VFIO_DEVICE_FEATURE:
		return soft_vfio_feature(vfile, arg);
	case VFIO_DEVICE_GET_INFO:
		return get_info(dev, arg);
	case VFIO_DEVICE_GET_REGION_INFO:
		return soft_vfio_get_region_info(dev, arg);
	case VFIO_DEVICE_GET_IRQ_INFO:
		return get_irq_info(dev, arg);
	case VFIO_DEVICE_SET_IRQS:
		return soft_vfio_set_irqs(dev, arg);
	case VFIO_DEVICE_RESET:
		return reset(dev);
	case VFIO_DEVICE_GET_PCI_HOT_RESET_INFO:
		return hot_reset_info(arg);
	case VFIO_DEVICE_PCI_HOT_RESET:
		return hot_reset(arg);
	default:
		return -ENOTTY;
	}
}

/* No region has the MMAP flag. */
static void *vfio_mmap(struct soft_file *file, size_t length, int prot, int flags, off_t offset,
		       int *err)
{
	*err = -EINVAL;
	return NULL;
}

/* The one that its device is bound to. */
static struct soft_ctx *vfio_context(struct soft_file *file)
{
	struct soft_vfio_file *vfile = to_soft_vfio_file(file);

	return atomic_load_explicit(&vfile->granted, memory_order_acquire) ? vfile->ctx : NULL;
}

static const struct soft_file_ops vfio_ops = {
	.ioctl = vfio_ioctl,
	.context = vfio_context,
	.pread = soft_vfio_pread,
	.pwrite = soft_vfio_pwrite,
	.mmap = vfio_mmap,
	.release = vfio_release,
};

int soft_vfio_open(struct soft_device *dev, struct soft_file **out)
{
	struct soft_vfio_file *vfile = alloc_object(struct soft_vfio_file);

	if (!vfile)
		return -ENOMEM;
	vfile->file.ops = &vfio_ops;
	vfile->file.host = dev->host;
	vfile->dev = dev;
	atomic_init(&vfile->file.refs, 1);
	*out = &vfile->file;
	return 0;
}

struct soft_device *soft_file_to_device(struct soft_file *file)
{
	return file->ops == &vfio_ops ? to_soft_vfio_file(file)->dev : NULL;
}
