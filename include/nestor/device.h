/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VFIO device passed through to a VM: configuration space, BARs, interrupts,
 * reset. What its DMA is translated with is decided by the vIOMMU it is put behind
 * (viommu.h); until then it reaches the guest's memory untranslated.
 */
#ifndef NESTOR_DEVICE_H
#define NESTOR_DEVICE_H

#include <nestor/vm.h>

#ifdef __cplusplus
extern "C" {
#endif

struct nst_device;

/**
 * struct nst_device_config - how to open a device.
 * @path: its VFIO cdev, "/dev/vfio/devices/vfio0".
 * @hide_msix: take the MSI-X capability out of the list the guest sees, for a VMM
 *	that cannot unplug a device that has it (QEMU 11.1's vfio-user client).
 * @vpasid_offset: where in configuration space the PASID capability goes that the guest
 *	sees of a device with PASIDs: the kernel hides the device's own. 8 bytes from a
 *	multiple of 4, at 0x100 or above, that no capability uses and, which only the
 *	device's vendor can tell, no hidden register. 0: the last 8 bytes (0xff8).
 */
struct nst_device_config {
	const char *path;
	bool hide_msix;
	uint16_t vpasid_offset;
};

/** One region, indexed as VFIO_PCI_*_REGION_INDEX. @size 0: not there. */
struct nst_device_region {
	uint64_t size;
	uint32_t flags; /* VFIO_REGION_INFO_FLAG_* */
};

/** Part of a region, page aligned. */
struct nst_device_area {
	uint64_t offset, size;
};

/**
 * struct nst_device_mapping - what of a region can be in the guest's address space itself, so that
 * its accesses reach the device without the VMM: mmap(2) of @fd at @fd_offset and the area's
 * offset.
 * @fd: the device's, closed by nst_device_close().
 * @num_areas: 0, nothing of it.
 */
struct nst_device_mapping {
	int fd;
	uint64_t fd_offset;
	const struct nst_device_area *areas;
	unsigned int num_areas;
};

/**
 * nst_device_open() - bind the device to the VM's iommufd and attach it to a nesting
 * parent over the VM's memory: an existing one that takes it, else a new one with the
 * flags the host's IOMMU can combine.
 *
 * If the last 8 bytes of configuration space are taken and no other place is named, the
 * device is opened without PASIDs; what is in the way is logged.
 * Errors: -ENODEV (the VM has no host), -EINVAL (@vpasid_offset is taken or is no such place; the
 * reason is logged), -EPERM (the host cannot isolate its interrupts, or has given it to another),
 * -EOPNOTSUPP (no nested translation on this host), -ENOMEM, or what open(2) and the
 * ioctls give.
 */
NST_MUST_CHECK NST_API int nst_device_open(struct nst_vm *vm,
					   const struct nst_device_config *config,
					   struct nst_device **out);

/** nst_device_close() - must be behind no vIOMMU any more. @dev may be NULL. */
NST_API void nst_device_close(struct nst_device *dev);

/** nst_device_region() - what region @index is. @index < 9. */
NST_API struct nst_device_region nst_device_region(const struct nst_device *dev,
						   unsigned int index);

/**
 * nst_device_mapping() - what of region @index can be mapped, as the host says, and without the
 * pages that the MSI-X table is in: interrupts are set up by nst_device_set_irqs() only. The areas
 * are ascending, and there until nst_device_close(). On a software host there are none.
 */
NST_API struct nst_device_mapping nst_device_mapping(const struct nst_device *dev,
						     unsigned int index);

/** nst_device_irq_count() - vectors of VFIO_PCI_*_IRQ_INDEX @index; 0 = none. */
NST_API uint32_t nst_device_irq_count(const struct nst_device *dev, unsigned int index);

/**
 * nst_device_reserved() - the guest-physical addresses that the host keeps for itself, in order: no
 * memory of the guest can be there for devices of the VM. On Arm the doorbells of the device's real
 * MSIs are in one, and the guest's stage 1 has to map it to itself (docs/msi.md).
 * @ranges: gets the first @max; may be NULL with @max 0. Returns how many there are.
 */
NST_API unsigned int nst_device_reserved(const struct nst_device *dev, struct nst_gpa_range *ranges,
					 unsigned int max);

/**
 * nst_device_read(), nst_device_write() - access a region as the guest does. Reads of
 * configuration space see the capability lists as configured, and as the vIOMMU it is
 * behind can serve them: PASID and ATS are there only if the host and the vIOMMU have
 * them. The host owns the device's own controls of both; what the guest writes to
 * them is kept, and read back, here.
 * Errors: -EINVAL (outside the region), -EIO (the device took less than asked).
 */
NST_MUST_CHECK NST_API int nst_device_read(struct nst_device *dev, unsigned int region,
					   uint64_t offset, void *buf, size_t size);
NST_MUST_CHECK NST_API int nst_device_write(struct nst_device *dev, unsigned int region,
					    uint64_t offset, const void *buf, size_t size);

/**
 * nst_device_set_irqs() - VFIO_DEVICE_SET_IRQS. @fds: @count event descriptors for
 * DATA_EVENTFD (the host takes references, the caller keeps its own); @data: @count
 * bytes for DATA_BOOL. Errors: the host's.
 */
NST_MUST_CHECK NST_API int nst_device_set_irqs(struct nst_device *dev, uint32_t index,
					       uint32_t flags, uint32_t start, uint32_t count,
					       const int *fds, const uint8_t *data);

/**
 * nst_device_can_reset() - can it be reset alone? Else what it was told by one driver
 * stays with it until it is closed.
 */
NST_API bool nst_device_can_reset(const struct nst_device *dev);

/** nst_device_reset() - Errors: -EINVAL if it cannot be reset alone. */
NST_MUST_CHECK NST_API int nst_device_reset(struct nst_device *dev);

#ifdef __cplusplus
}
#endif
#endif
