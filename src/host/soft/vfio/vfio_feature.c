// SPDX-License-Identifier: BSD-3-Clause
/*
 * VFIO_DEVICE_FEATURE: what a device has beyond regions and interrupts.
 *
 * Migration: of endpoints that can (vfio_migration.c); for others its features do not exist.
 * Logging of DMA by the device: none does; the IOMMU tracks what they write
 * (IOMMU_HWPT_GET_DIRTY_BITMAP). Low power: nothing here uses less power, but what the caller
 * sees of it is as if the device did so at once: BARs do not answer, and with an eventfd the
 * first use of the device ends it and signals. Tokens, DMA buffers and the bus master switch
 * of other buses do not exist.
 *
 * Order of checks: Linux 7.2 drivers/vfio/{vfio_main,pci/vfio_pci_core}.c.
 */
#include "host/soft/soft.h"
#include "host/soft/vfio/device.h"
#include "host/soft/vfio/vfio.h"

#include <errno.h>
#include <unistd.h>

#define MODES (VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_PROBE)

/* One call: @user is the caller's structure, of @size bytes. */
struct feature {
	struct soft_vfio_file *vfile;
	uint32_t flags;
	void *user;
	size_t size;
};

/* 1: do it; 0: it was a probe, and the feature is there. -EINVAL. */
static int check(const struct feature *f, uint32_t modes, size_t size)
{
	uint32_t asked = f->flags & (VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_GET);

	if (asked & ~modes)
		return -EINVAL;
	if (f->flags & VFIO_DEVICE_FEATURE_PROBE)
		return 0;
	return asked && f->size >= size ? 1 : -EINVAL;
}

/* --- migration ------------------------------------------------------------------------------ */

static int migration(const struct feature *f)
{
	const struct vfio_device_feature_migration mig = { .flags = SOFT_MIGRATION_FLAGS };
	int ret = check(f, VFIO_DEVICE_FEATURE_GET, sizeof(mig));

	return ret == 1 ? soft_copy_to_user(f->user, &mig, sizeof(mig)) : ret;
}

/* What the caller is told of is there, whatever becomes of the telling: as in the kernel. */
static int return_file(const struct feature *f, struct vfio_device_feature_mig_state *mig,
		       struct soft_migration_file *file)
{
	int err;

	mig->data_fd = soft_migration_file_fd(file);
	err = soft_copy_to_user(f->user, mig, sizeof(*mig));
	if (!err)
		err = soft_migration_file_install(file);
	if (err)
		soft_migration_file_put(file);
	return err;
}

static int device_state(const struct feature *f)
{
	struct soft_device *dev = f->vfile->dev;
	struct vfio_device_feature_mig_state mig;
	struct soft_migration_file *file = NULL;
	int ret = check(f, VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_GET, sizeof(mig));

	if (ret != 1)
		return ret;
	if (soft_copy_from_user(&mig, f->user, sizeof(mig)))
		return -EFAULT;
	ret = 0;
	mutex_lock(&dev->lock);
	if (f->flags & VFIO_DEVICE_FEATURE_GET)
		mig.device_state = dev->migration->state;
	else
		ret = soft_migration_set(dev, mig.device_state, &file);
	mutex_unlock(&dev->lock);
	if (file)
		return return_file(f, &mig, file);
	mig.data_fd = -1;
	if (soft_copy_to_user(f->user, &mig, sizeof(mig)))
		return -EFAULT;
	return ret;
}

static int data_size(const struct feature *f)
{
	struct endpoint *ep = f->vfile->dev->ep;
	struct vfio_device_feature_mig_data_size data = { 0 };
	int ret = check(f, VFIO_DEVICE_FEATURE_GET, sizeof(data));

	if (ret != 1)
		return ret;
	data.stop_copy_length = SOFT_RECORD_HEADER_BYTES + ep->ops->migration->state_size(ep);
	return soft_copy_to_user(f->user, &data, sizeof(data));
}

static int precopy_info_v2(const struct feature *f)
{
	struct soft_device *dev = f->vfile->dev;
	int ret = check(f, VFIO_DEVICE_FEATURE_SET, 0);

	if (ret != 1)
		return ret;
	mutex_lock(&dev->lock);
	dev->migration->precopy_info_v2 = true;
	mutex_unlock(&dev->lock);
	return 0;
}

/* --- low power ------------------------------------------------------------------------------ */

static void leave_low_power(struct soft_device *dev, struct soft_vfio_file *vfile)
	REQUIRES(&dev->lock)
{
	if (vfile->low_power && vfile->wake_fd >= 0)
		close(vfile->wake_fd);
	vfile->low_power = false;
}

void soft_vfio_wake(struct soft_device *dev, struct soft_vfio_file *vfile)
{
	if (!vfile->low_power || vfile->wake_fd < 0)
		return;
	soft_eventfd_signal(vfile->wake_fd);
	leave_low_power(dev, vfile);
}

static int enter_low_power(struct soft_vfio_file *vfile, int wake_fd)
{
	int err = 0;

	mutex_lock(&vfile->dev->lock);
	if (vfile->low_power) {
		err = -EINVAL;
	} else {
		vfile->low_power = true;
		vfile->wake_fd = wake_fd;
	}
	mutex_unlock(&vfile->dev->lock);
	return err;
}

static int low_power_entry(const struct feature *f)
{
	int ret = check(f, VFIO_DEVICE_FEATURE_SET, 0);

	return ret == 1 ? enter_low_power(f->vfile, -1) : ret;
}

static int low_power_entry_with_wakeup(const struct feature *f)
{
	struct vfio_device_low_power_entry_with_wakeup entry;
	int ret = check(f, VFIO_DEVICE_FEATURE_SET, sizeof(entry)), fd;

	if (ret != 1)
		return ret;
	if (soft_copy_from_user(&entry, f->user, sizeof(entry)))
		return -EFAULT;
	if (entry.wakeup_eventfd < 0)
		return -EINVAL;
	ret = soft_eventfd_get(entry.wakeup_eventfd, &fd);
	if (ret)
		return ret;
	ret = enter_low_power(f->vfile, fd);
	if (ret)
		close(fd);
	return ret;
}

static int low_power_exit(const struct feature *f)
{
	struct soft_device *dev = f->vfile->dev;
	int ret = check(f, VFIO_DEVICE_FEATURE_SET, 0);

	if (ret != 1)
		return ret;
	mutex_lock(&dev->lock);
	leave_low_power(dev, f->vfile);
	mutex_unlock(&dev->lock);
	return 0;
}

/* --- all of them ---------------------------------------------------------------------------- */

static int dispatch(const struct feature *f)
{
	bool can_migrate = f->vfile->dev->ep->ops->migration;

	switch (f->flags & VFIO_DEVICE_FEATURE_MASK) {
	case VFIO_DEVICE_FEATURE_MIGRATION:
		return can_migrate ? migration(f) : -ENOTTY;
	case VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE:
		return can_migrate ? device_state(f) : -ENOTTY;
	case VFIO_DEVICE_FEATURE_MIG_DATA_SIZE:
		return can_migrate ? data_size(f) : -ENOTTY;
	case VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2:
		return can_migrate ? precopy_info_v2(f) : -EINVAL;
	case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY:
		return low_power_entry(f);
	case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP:
		return low_power_entry_with_wakeup(f);
	case VFIO_DEVICE_FEATURE_LOW_POWER_EXIT:
		return low_power_exit(f);
	default:
		return -ENOTTY;
	}
}

int soft_vfio_feature(struct soft_vfio_file *vfile, void *arg)
{
	struct vfio_device_feature feature;
	struct feature f = { .vfile = vfile,
			     .user = USER_MEMBER(arg, struct vfio_device_feature, data) };

	if (soft_copy_from_user(&feature, arg, sizeof(feature)))
		return -EFAULT;
	if (feature.argsz < sizeof(feature) ||
	    (feature.flags & ~(uint32_t)(MODES | VFIO_DEVICE_FEATURE_MASK)))
		return -EINVAL;
	if (!(feature.flags & VFIO_DEVICE_FEATURE_PROBE) &&
	    (feature.flags & VFIO_DEVICE_FEATURE_SET) && (feature.flags & VFIO_DEVICE_FEATURE_GET))
		return -EINVAL;
	f.flags = feature.flags;
	f.size = feature.argsz - sizeof(feature);
	return dispatch(&f);
}
