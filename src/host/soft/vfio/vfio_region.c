// SPDX-License-Identifier: BSD-3-Clause
/*
 * Regions of a VFIO device: where they are in the file, and reading and writing them.
 *
 * As vfio-pci does, an access of any size and alignment becomes naturally aligned ones of
 * 8, 4, 2 or 1 bytes (4 at most in configuration space); a BAR read or write stops at
 * the end of the BAR; the MSI-X table is out of reach (reads as ones); a BAR whose
 * decoding the driver switched off, or of a device in low power, answers EIO. Nothing answers
 * for a device that was pulled out: that reads as ones (of what vfio-pci makes up itself, too).
 *
 * Source: Linux 7.2 drivers/vfio/pci/{vfio_pci_rdwr,vfio_pci_config,vfio_pci_core}.c.
 */
#include "host/soft/soft.h"
#include "host/soft/vfio/device.h"
#include "host/soft/vfio/vfio.h"

#include "base/endian.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#define INDEX_SHIFT 40
#define BOUNCE_BYTES 256
#define MSIX_ENTRY_BYTES 16

static unsigned int piece_size(uint64_t offset, size_t left, unsigned int max)
{
	unsigned int size = max;

	while (size > left || !IS_ALIGNED(offset, (uint64_t)size))
		size /= 2;
	return size;
}

/* --- configuration space ---------------------------------------------------------------- */

static void config_read(struct soft_device *dev, uint8_t *buf, size_t count, uint64_t offset)
	REQUIRES(&dev->lock)
{
	while (count) {
		unsigned int size = piece_size(offset, count, 4);

		soft_config_read(dev, (unsigned int)offset, buf, size);
		buf += size, offset += size, count -= size;
	}
}

static void config_write(struct soft_device *dev, const uint8_t *buf, size_t count, uint64_t offset)
	REQUIRES(&dev->lock)
{
	while (count) {
		unsigned int size = piece_size(offset, count, 4);

		soft_config_write(dev, (unsigned int)offset, buf, size);
		buf += size, offset += size, count -= size;
	}
}

/* --- BARs -------------------------------------------------------------------------------- */

/* Is this byte of the BAR in the MSI-X table? */
static bool is_in_msix_table(const struct soft_device *dev, unsigned int bar, uint64_t offset)
{
	const struct pci_config *cfg = &dev->ep->config;
	uint32_t table;
	uint64_t start;

	if (!cfg->msix_cap)
		return false;
	table = (uint32_t)le_load(&cfg->bytes[cfg->msix_cap + PCI_MSIX_TABLE], 4);
	start = table & PCI_MSIX_TABLE_OFFSET;
	return bar == (table & PCI_MSIX_TABLE_BIR) && offset >= start &&
	       offset - start < (uint64_t)MSIX_ENTRY_BYTES * soft_config_msix_vectors(dev);
}

static void bar_read(struct soft_device *dev, unsigned int bar, uint8_t *buf, size_t count,
		     uint64_t offset) REQUIRES(&dev->lock)
{
	while (count) {
		unsigned int size = piece_size(offset, count, 8);

		if (is_in_msix_table(dev, bar, offset))
			memset(buf, 0xff, size);
		else
			le_store(buf, size, dev->ep->ops->bar_read(dev->ep, bar, offset, size));
		buf += size, offset += size, count -= size;
	}
}

static void bar_write(struct soft_device *dev, unsigned int bar, const uint8_t *buf, size_t count,
		      uint64_t offset) REQUIRES(&dev->lock)
{
	while (count) {
		unsigned int size = piece_size(offset, count, 8);

		if (!is_in_msix_table(dev, bar, offset))
			dev->ep->ops->bar_write(dev->ep, bar, offset, size, le_load(buf, size));
		buf += size, offset += size, count -= size;
	}
}

/* --- read and write ----------------------------------------------------------------------- */

/* One bounce buffer full, under the device lock. */
static int access_some(struct soft_vfio_file *vfile, unsigned int index, uint64_t offset,
		       uint8_t *buf, size_t count, bool write)
{
	struct soft_device *dev = vfile->dev;
	int err = 0;

	mutex_lock(&dev->lock);
	soft_vfio_wake(dev, vfile);
	if (dev->pulled) {
		if (!write)
			memset(buf, 0xff, count);
	} else if (index == VFIO_PCI_CONFIG_REGION_INDEX) {
		if (write)
			config_write(dev, buf, count, offset);
		else
			config_read(dev, buf, count, offset);
	} else if (vfile->low_power || !soft_config_decodes_memory(dev)) {
		err = -EIO;
	} else if (write) {
		bar_write(dev, index, buf, count, offset);
	} else {
		bar_read(dev, index, buf, count, offset);
	}
	soft_worker_run_pending(dev);
	mutex_unlock(&dev->lock);
	return err;
}

/* Checks an access; *@count is cut at the end of a BAR. */
static int check_access(const struct soft_device *dev, unsigned int index, uint64_t offset,
			size_t *count)
{
	if (index == VFIO_PCI_CONFIG_REGION_INDEX)
		return range_fits(offset, *count, dev->config_size) ? 0 : -EFAULT;
	if (index > VFIO_PCI_BAR5_REGION_INDEX || offset >= dev->ep->bar_sizes[index])
		return -EINVAL;
	*count = MIN(*count, dev->ep->bar_sizes[index] - offset);
	return 0;
}

static ssize_t access_region(struct soft_file *file, uintptr_t user, size_t count,
			     uint64_t position, bool write)
{
	struct soft_vfio_file *vfile = to_soft_vfio_file(file);
	unsigned int index = (unsigned int)(position >> INDEX_SHIFT);
	uint64_t offset = position & (BIT64(INDEX_SHIFT) - 1);
	uint8_t bounce[BOUNCE_BYTES];
	int err;

	if (!atomic_load_explicit(&vfile->granted, memory_order_acquire))
		return -EINVAL;
	if (!count)
		return 0;
	err = check_access(vfile->dev, index, offset, &count);
	for (size_t done = 0; done < count && !err;) {
		/* keep the pieces as aligned as the whole access is */
		size_t n = MIN(count - done, BOUNCE_BYTES - ((offset + done) & 7));

		if (write)
			err = soft_copy_from_user(bounce, soft_user_ptr(user + done), n);
		if (!err)
			err = access_some(vfile, index, offset + done, bounce, n, write);
		if (!err && !write)
			err = soft_copy_to_user(soft_user_ptr(user + done), bounce, n);
		done += n;
	}
	return err ? err : (ssize_t)count;
}

ssize_t soft_vfio_pread(struct soft_file *file, void *buf, size_t count, uint64_t offset)
{
	return access_region(file, (uintptr_t)buf, count, offset, false);
}

ssize_t soft_vfio_pwrite(struct soft_file *file, const void *buf, size_t count, uint64_t offset)
{
	return access_region(file, (uintptr_t)buf, count, offset, true);
}

/* --- VFIO_DEVICE_GET_REGION_INFO ------------------------------------------------------------ */

int soft_vfio_get_region_info(struct soft_device *dev, void *arg)
{
	struct vfio_region_info info;

	if (soft_copy_from_user(&info, arg, sizeof(info)))
		return -EFAULT;
	if (info.argsz < sizeof(info))
		return -EINVAL;
	info.flags = 0;
	info.cap_offset = 0;
	info.size = 0;
	info.offset = (uint64_t)info.index << INDEX_SHIFT;
	if (info.index == VFIO_PCI_CONFIG_REGION_INDEX)
		info.size = dev->config_size;
	else if (info.index <= VFIO_PCI_BAR5_REGION_INDEX)
		info.size = dev->ep->bar_sizes[info.index];
	else if (info.index != VFIO_PCI_ROM_REGION_INDEX)
		return -EINVAL;
	if (info.size)
		info.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	return soft_copy_to_user(arg, &info, sizeof(info));
}
