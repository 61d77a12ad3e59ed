/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asking the kernel itself what it would do with a device that vfio-pci has: the device is opened,
 * bound to an iommufd, asked, and closed again. Nothing is attached to it. A device that somebody
 * else has open says EBUSY or EINVAL, and that somebody does not notice.
 */
#ifndef CMD_PROBE_H
#define CMD_PROBE_H

#include "iommufd/iommufd.h"

struct probe {
	/* how far it came, in this order; 0 or a negative errno, -ECANCELED: not tried */
	int open_iommufd, open_cdev, bind, info;
	struct iommufd_hw_info hw;
	int parent; /* a nesting parent HWPT */
	int viommu; /* SMMUv3: a vIOMMU on it, without which it makes no nested HWPT */
};

void probe_device(struct nst_host *host, const char *cdev, struct probe *out);

#endif
