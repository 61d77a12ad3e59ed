/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside of struct nst_device, for this folder and the vIOMMUs' attachment code: how
 * its DMA is attached on the host.
 */
#ifndef PASSTHROUGH_DEVICE_H
#define PASSTHROUGH_DEVICE_H

#include "passthrough/vm.h"

#include <nestor/device.h>

#include <linux/vfio.h>

struct nst_device {
	struct nst_vm *vm;
	int fd;
	uint32_t dev_id; /* of the iommufd */
	struct iommufd_hw_info hw_info;
	struct vm_parent *parent; /* what it is attached to when nothing translates */
	bool attached;		  /* plain requests: to anything */
	bool pasid_capable;	  /* the parent was made for PASID attachments */
	bool can_reset;
	struct nst_device_region regions[VFIO_PCI_NUM_REGIONS];
	uint64_t region_offsets[VFIO_PCI_NUM_REGIONS];
	uint32_t irq_counts[VFIO_PCI_NUM_IRQS];
	/* How the guest's view of the first 256 bytes differs: see config.c. */
	uint8_t config_mask[256], config_value[256];
};

/*
 * VFIO_DEVICE_ATTACH_IOMMUFD_PT and _DETACH_: replace what (@dev, @pasid) is attached to,
 * or leave it with nothing, its DMA blocked. @pasid is NST_NO_PASID for plain requests.
 * A failed attach leaves the old attachment in place.
 */
NST_MUST_CHECK int device_attach_hwpt(struct nst_device *dev, uint32_t pasid, uint32_t hwpt_id);
NST_MUST_CHECK int device_detach_hwpt(struct nst_device *dev, uint32_t pasid);

/* config.c: read the capability list once and decide what the guest sees of it. */
NST_MUST_CHECK int device_config_init(struct nst_device *dev,
				      const struct nst_device_config *config);
/* Put the guest's view over @size bytes just read at @offset of configuration space. */
void device_config_overlay(const struct nst_device *dev, uint64_t offset, uint8_t *buf,
			   size_t size);

/* Raw access, without the overlay. */
NST_MUST_CHECK int device_region_read(struct nst_device *dev, unsigned int region, uint64_t offset,
				      void *buf, size_t size);

#endif
