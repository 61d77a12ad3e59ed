/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A PCI device of this machine by its address: the VFIO cdev that nst_device_open() takes, or what
 * is in the way and what to do about it. It looks at sysfs and /dev and opens nothing, so it may
 * be asked at any time, and about a device that is in use.
 *
 *	/sys/bus/pci/devices/0000:00:02.0
 *	  |- iommu_group          the device is behind an IOMMU
 *	  |- driver               is vfio-pci, or one of its kind
 *	  '- vfio-dev/vfio3/dev   there is a cdev: /dev/vfio/devices/vfio3
 */
#ifndef PASSTHROUGH_PCI_CDEV_H
#define PASSTHROUGH_PCI_CDEV_H

#include <nestor/types.h>

struct pci_cdev {
	char path[64]; /* "/dev/vfio/devices/vfio3" */
	char why[320]; /* on failure, one sentence for the user */
};

/*
 * @address: "0000:00:02.0", or without the domain. @root: "" or, for tests, a directory that has
 * a /sys and a /dev; what is found is without it.
 *
 * Errors: -EINVAL (that is no address), -ENODEV (no such device), -ENXIO (it is behind no IOMMU, or
 * not bound to vfio-pci), -EOPNOTSUPP (no cdevs in this kernel), -ENOENT (no node in /dev),
 * -EACCES (no permission), or those of pci_cdev_check_iommufd().
 */
NST_MUST_CHECK int pci_cdev_find(const char *root, const char *address, struct pci_cdev *out);

/*
 * /dev/iommu alone; @out->path is not touched.
 * Errors: -ENOENT (there is none), -EACCES (no permission).
 */
NST_MUST_CHECK int pci_cdev_check_iommufd(const char *root, struct pci_cdev *out);

#endif
