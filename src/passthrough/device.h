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

enum { DEVICE_CONFIG_SIZE = 4096, DEVICE_MAX_EXT_CAPS = 64, DEVICE_MAX_IOVA_RANGES = 32 };
enum { DEVICE_MAX_AREAS = 8 }; /* of a region; what else could be mapped is not */

/* What of a region can be mapped; see areas.c. */
struct device_areas {
	struct nst_device_area area[DEVICE_MAX_AREAS];
	unsigned int count;
};

/* One entry of the device's own list of extended capabilities. */
struct device_ext_cap {
	uint16_t offset, id;
	uint8_t version;
};

/* What the vIOMMU lets a driver of the guest do with the device; see ext_config.c. */
struct device_services {
	unsigned int pasid_bits; /* 0: no PASIDs */
	bool ats, pri;
};

struct nst_device {
	struct nst_vm *vm;
	int fd;
	uint32_t dev_id; /* of the iommufd */
	struct iommufd_hw_info hw_info;
	struct vm_parent *parent; /* what it is attached to when nothing translates */
	bool attached;		  /* plain requests: to anything */
	bool pasid_capable;	  /* the parent was made for PASID attachments */
	struct iommu_iova_range iova_ranges[DEVICE_MAX_IOVA_RANGES]; /* where its DMA may go */
	uint32_t num_iova_ranges;
	bool can_reset;
	struct nst_device_region regions[VFIO_PCI_NUM_REGIONS];
	uint64_t region_offsets[VFIO_PCI_NUM_REGIONS];
	struct device_areas areas[VFIO_PCI_NUM_REGIONS];
	uint32_t irq_counts[VFIO_PCI_NUM_IRQS];
	uint16_t express_cap;  /* offsets in configuration space; 0 = not there */
	uint16_t pasid_cap;    /* where the guest can be shown one */
	uint16_t pri_cap;      /* of page requests that the host's kernel has enabled */
	uint32_t pri_capacity; /* as many as it allows */
	bool pri_needs_pasid;  /* responses carry one */
	struct device_ext_cap ext_caps[DEVICE_MAX_EXT_CAPS];
	unsigned int num_ext_caps;
	/* Held over on_reset(), and so outside of every lock of a vIOMMU; protects: */
	struct mutex reset_lock;
	void (*on_reset)(void *opaque, struct nst_device *dev); /* or NULL */
	void *reset_opaque;
	/*
	 * How the guest's view of configuration space differs: see config.c and
	 * ext_config.c. A leaf.
	 */
	struct mutex config_lock; /* protects: */
	uint8_t config_mask[DEVICE_CONFIG_SIZE], config_value[DEVICE_CONFIG_SIZE];
	uint8_t config_writable[DEVICE_CONFIG_SIZE];
};

/*
 * VFIO_DEVICE_ATTACH_IOMMUFD_PT and _DETACH_: replace what (@dev, @pasid) is attached to,
 * or leave it with nothing, its DMA blocked. @pasid is NST_NO_PASID for plain requests.
 * A failed attach leaves the old attachment in place.
 */
NST_MUST_CHECK int device_attach_hwpt(struct nst_device *dev, uint32_t pasid, uint32_t hwpt_id);
NST_MUST_CHECK int device_detach_hwpt(struct nst_device *dev, uint32_t pasid);

/*
 * Have @on_reset called whenever the device is about to be reset, in the thread that does it; NULL
 * ends that, and returns when no call is under way. No lock may be held that @on_reset takes.
 */
void device_watch_reset(struct nst_device *dev,
			void (*on_reset)(void *opaque, struct nst_device *dev), void *opaque);
/* It is about to be. */
void device_announce_reset(struct nst_device *dev);

/* What an HWPT for @dev is allocated with, IOMMU_HWPT_ALLOC_NEST_PARENT among it. */
uint32_t device_hwpt_flags(const struct nst_device *dev);

/* config.c: read the capability lists once and decide what the guest sees of them. */
NST_MUST_CHECK int device_config_init(struct nst_device *dev,
				      const struct nst_device_config *config);
/* Put the guest's view over @size bytes just read at @offset of configuration space. */
void device_config_overlay(struct nst_device *dev, uint64_t offset, uint8_t *buf, size_t size);
/* A write by the guest. False: it is for the device. */
bool device_config_write(struct nst_device *dev, uint64_t offset, const uint8_t *buf, size_t size);
/* The device was reset: registers that the guest writes here are 0 again. */
void device_config_reset(struct nst_device *dev);

/*
 * ext_config.c: find a place for a PASID capability in @cfg, the device's own 4 KiB.
 * -EINVAL, the reason being logged, if the one that was asked for is taken.
 */
NST_MUST_CHECK int device_ext_config_init(struct nst_device *dev, const uint8_t *cfg,
					  const struct nst_device_config *config);
/* From now on the guest sees these services; nothing of them before the first call. */
void device_config_offer(struct nst_device *dev, const struct device_services *services);
/* Has the guest enabled them? */
bool device_page_requests_enabled(struct nst_device *dev);
/* PASIDs the device can be attached by, as bits; 0 if it can by none. */
unsigned int device_pasid_bits(const struct nst_device *dev);

/*
 * areas.c: fill @out with what can be mapped of the region that @info is about, with its
 * capabilities behind it, info->argsz bytes in all. What makes no sense there counts as not there.
 */
void device_areas_read(const struct vfio_region_info *info, struct device_areas *out);
/* Take away every page that has a byte of [@offset, @offset + @size), @size > 0. */
void device_areas_exclude(struct device_areas *areas, uint64_t offset, uint64_t size);

/* Raw access, without the overlay. */
NST_MUST_CHECK int device_region_read(struct nst_device *dev, unsigned int region, uint64_t offset,
				      void *buf, size_t size);

#endif
