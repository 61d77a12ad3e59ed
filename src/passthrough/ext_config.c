// SPDX-License-Identifier: BSD-3-Clause
/*
 * Extended capabilities as the guest sees them: those that go with the IOMMU.
 *
 * The host's kernel enables ATS and PASID of a device itself. It shows ATS as it is, and
 * hides PASID, because user space could not know whether the host can serve it. So both
 * are shown by what host and vIOMMU can do: ATS taken out of the list unless both have
 * it; a PASID capability put where the device has nothing, as wide as both allow. Their
 * control registers are the guest's own copy. Page requests are shown like ATS, if the
 * kernel has enabled them, with as many as it allows.
 *
 * The list (PCIe 6.0 s7.6.3) begins at 0x100. What stands there cannot be passed by, so
 * a hidden first capability becomes one with the id 0, which software skips.
 */
#include "passthrough/device.h"

#include "base/bits.h"
#include "base/endian.h"
#include "base/log.h"

#include <errno.h>
#include <linux/iommufd.h>
#include <linux/pci_regs.h>
#include <string.h>

enum {
	FIRST = PCI_CFG_SPACE_SIZE,
	DEFAULT_PASID_CAP = DEVICE_CONFIG_SIZE - PCI_EXT_CAP_PASID_SIZEOF
};

/* Bytes of capabilities that have always as many, up to what the specification reserves. */
static const struct {
	uint16_t id, size;
} known_sizes[] = {
	{ PCI_EXT_CAP_ID_ERR, 72 },  { PCI_EXT_CAP_ID_DSN, PCI_EXT_CAP_DSN_SIZEOF },
	{ PCI_EXT_CAP_ID_PWR, 16 },  { PCI_EXT_CAP_ID_ARI, PCI_EXT_CAP_ARI_SIZEOF },
	{ PCI_EXT_CAP_ID_ATS, 8 },   { PCI_EXT_CAP_ID_SRIOV, PCI_EXT_CAP_SRIOV_SIZEOF },
	{ PCI_EXT_CAP_ID_PRI, 16 },  { PCI_EXT_CAP_ID_LTR, PCI_EXT_CAP_LTR_SIZEOF },
	{ PCI_EXT_CAP_ID_PASID, 8 }, { PCI_EXT_CAP_ID_MCAST, PCI_EXT_CAP_MCAST_ENDPOINT_SIZEOF },
	{ PCI_EXT_CAP_ID_L1SS, 20 }, { PCI_EXT_CAP_ID_PTM, 12 },
	{ PCI_EXT_CAP_ID_DPC, 64 },  { PCI_EXT_CAP_ID_DLF, 12 },
};

/* Of one whose length nothing tells, only the header is known to be taken. */
static unsigned int cap_size(const uint8_t *cfg, const struct device_ext_cap *cap)
{
	unsigned int words;

	for (size_t i = 0; i < ARRAY_SIZE(known_sizes); i++)
		if (known_sizes[i].id == cap->id)
			return known_sizes[i].size;
	if (cap->offset > DEVICE_CONFIG_SIZE - 8)
		return 4;
	words = (unsigned int)le_load(&cfg[cap->offset + 4], 4);
	switch (cap->id) {
	case PCI_EXT_CAP_ID_VNDR:
	case PCI_EXT_CAP_ID_DVSEC:
		return MAX(words >> 20, 8U);
	case PCI_EXT_CAP_ID_ACS: /* and its egress vector, if it has one: 0 stands for 256 bits */
		return 8 + (words & PCI_ACS_EC ? ((((words >> 8) - 1) & 0xff) / 32 + 1) * 4 : 0);
	case PCI_EXT_CAP_ID_REBAR:
		return 4 + 8 * 6;
	default:
		return 4;
	}
}

static void read_list(struct nst_device *dev, const uint8_t *cfg)
{
	unsigned int at = FIRST;

	while (at >= FIRST && dev->num_ext_caps < DEVICE_MAX_EXT_CAPS) {
		uint32_t header = (uint32_t)le_load(&cfg[at], 4);

		if (!header || header == UINT32_MAX)
			return;
		dev->ext_caps[dev->num_ext_caps++] = (struct device_ext_cap){
			.offset = (uint16_t)at,
			.id = PCI_EXT_CAP_ID(header),
			.version = PCI_EXT_CAP_VER(header),
		};
		at = PCI_EXT_CAP_NEXT(header);
	}
	if (at >= FIRST)
		log_warn(dev->vm->log, "the device's list of extended capabilities does not end");
}

static const struct device_ext_cap *find(const struct nst_device *dev, uint16_t id)
{
	for (unsigned int i = 0; i < dev->num_ext_caps; i++)
		if (dev->ext_caps[i].id == id)
			return &dev->ext_caps[i];
	return NULL;
}

/* What is in the way of a PASID capability at @offset. */
static const struct device_ext_cap *in_the_way(const struct nst_device *dev, const uint8_t *cfg,
					       unsigned int offset)
{
	for (unsigned int i = 0; i < dev->num_ext_caps; i++) {
		const struct device_ext_cap *cap = &dev->ext_caps[i];

		if (offset < cap->offset + cap_size(cfg, cap) &&
		    cap->offset < offset + PCI_EXT_CAP_PASID_SIZEOF)
			return cap;
	}
	return NULL;
}

static int place_pasid_cap(struct nst_device *dev, const uint8_t *cfg, unsigned int wanted)
{
	unsigned int offset = wanted ? wanted : DEFAULT_PASID_CAP;
	const struct device_ext_cap *cap;

	if (!IS_ALIGNED(offset, 4) || offset < FIRST || offset > DEFAULT_PASID_CAP) {
		log_error(dev->vm->log,
			  "a PASID capability cannot be at 0x%x: it needs 8 bytes from a multiple "
			  "of 4, from 0x100 to 0xff8",
			  offset);
		return -EINVAL;
	}
	cap = in_the_way(dev, cfg, offset);
	if (!cap) {
		dev->pasid_cap = (uint16_t)offset;
		return 0;
	}
	log_error(dev->vm->log,
		  "a PASID capability cannot be at 0x%x: the device's capability 0x%x is at 0x%x, "
		  "%u bytes; name another place (vpasid_offset)%s",
		  offset, cap->id, cap->offset, cap_size(cfg, cap),
		  wanted ? "" : "; the device goes without PASIDs");
	return wanted ? -EINVAL : 0;
}

static void read_page_requests(struct nst_device *dev, const uint8_t *cfg)
{
	const struct device_ext_cap *pri = find(dev, PCI_EXT_CAP_ID_PRI);
	const uint8_t *at = pri ? &cfg[pri->offset] : NULL;

	if (!pri || pri->offset > DEVICE_CONFIG_SIZE - PCI_EXT_CAP_PRI_SIZEOF ||
	    !(le_load(&at[PCI_PRI_CTRL], 2) & PCI_PRI_CTRL_ENABLE))
		return;
	dev->pri_cap = pri->offset;
	dev->pri_capacity = (uint32_t)le_load(&at[PCI_PRI_ALLOC_REQ], 4);
	dev->pri_needs_pasid = le_load(&at[PCI_PRI_STATUS], 2) & PCI_PRI_STATUS_PASID;
}

int device_ext_config_init(struct nst_device *dev, const uint8_t *cfg,
			   const struct nst_device_config *config)
{
	const struct device_ext_cap *own;

	read_list(dev, cfg);
	read_page_requests(dev, cfg);
	own = find(dev, PCI_EXT_CAP_ID_PASID);
	if (own) /* a kernel that shows it: never two */
		dev->pasid_cap = own->offset;
	else if (dev->hw_info.max_pasid_log2)
		return place_pasid_cap(dev, cfg, config->vpasid_offset);
	return 0;
}

unsigned int device_pasid_bits(const struct nst_device *dev)
{
	/* on Arm they come with the guest's table of contexts, whatever the parent is */
	bool capable = dev->pasid_capable || dev->hw_info.type == IOMMU_HW_INFO_TYPE_ARM_SMMUV3;

	return dev->pasid_cap && capable ? dev->hw_info.max_pasid_log2 : 0;
}

/* --- the guest's view -------------------------------------------------------------------- */

static void put(struct nst_device *dev, unsigned int at, unsigned int size, uint32_t value,
		uint32_t writable) REQUIRES(dev->config_lock)
{
	memset(&dev->config_mask[at], 0xff, size);
	le_store(&dev->config_value[at], size, value);
	le_store(&dev->config_writable[at], size, writable);
}

static bool is_shown(const struct nst_device *dev, const struct device_services *services,
		     uint16_t id)
{
	bool host_ats = !(dev->hw_info.capabilities & IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED);

	switch (id) {
	case PCI_EXT_CAP_ID_ATS:
		return services->ats && host_ats;
	case PCI_EXT_CAP_ID_PRI:
		return services->pri && host_ats && dev->pri_cap;
	case PCI_EXT_CAP_ID_PASID:
		return services->pasid_bits;
	default:
		return true;
	}
}

/* The headers of the list: what is not shown is passed by, a PASID of ours comes last. */
static void link_list(struct nst_device *dev, const struct device_services *services)
	REQUIRES(dev->config_lock)
{
	struct device_ext_cap pasid = { dev->pasid_cap, PCI_EXT_CAP_ID_PASID, 1 };
	struct device_ext_cap last = { FIRST, 0, 0 };

	for (unsigned int i = 0; i <= dev->num_ext_caps; i++) {
		const struct device_ext_cap *cap = &dev->ext_caps[i];

		if (i == dev->num_ext_caps) {
			if (!services->pasid_bits || find(dev, PCI_EXT_CAP_ID_PASID))
				break;
			cap = &pasid;
		} else if (!is_shown(dev, services, cap->id)) {
			continue;
		}
		if (cap->offset != FIRST) /* else it is the first one itself */
			put(dev, last.offset, 4,
			    last.id | (uint32_t)last.version << 16 | (uint32_t)cap->offset << 20,
			    0);
		last = *cap;
	}
	put(dev, last.offset, 4, last.id | (uint32_t)last.version << 16, 0);
}

void device_config_offer(struct nst_device *dev, const struct device_services *offered)
{
	struct device_services services = *offered;
	const struct device_ext_cap *ats = find(dev, PCI_EXT_CAP_ID_ATS);
	uint32_t modes = 0;

	services.pasid_bits = MIN(services.pasid_bits, device_pasid_bits(dev));
	if (dev->hw_info.capabilities & IOMMU_HW_CAP_PCI_PASID_EXEC)
		modes |= PCI_PASID_CAP_EXEC;
	if (dev->hw_info.capabilities & IOMMU_HW_CAP_PCI_PASID_PRIV)
		modes |= PCI_PASID_CAP_PRIV;
	mutex_lock(&dev->config_lock);
	memset(&dev->config_mask[FIRST], 0, sizeof(dev->config_mask) - FIRST);
	memset(&dev->config_writable[FIRST], 0, sizeof(dev->config_writable) - FIRST);
	if (dev->num_ext_caps || services.pasid_bits)
		link_list(dev, &services);
	if (ats && is_shown(dev, &services, ats->id))
		put(dev, ats->offset + PCI_ATS_CTRL, 2, 0,
		    PCI_ATS_CTRL_ENABLE | PCI_ATS_CTRL_STU(0x1f));
	if (is_shown(dev, &services, PCI_EXT_CAP_ID_PRI)) {
		put(dev, dev->pri_cap + PCI_PRI_CTRL, 2, 0, PCI_PRI_CTRL_ENABLE);
		/* no failure is ever seen of the guest's requests, and none is outstanding */
		put(dev, dev->pri_cap + PCI_PRI_STATUS, 2,
		    PCI_PRI_STATUS_STOPPED | (dev->pri_needs_pasid ? PCI_PRI_STATUS_PASID : 0), 0);
		put(dev, dev->pri_cap + PCI_PRI_MAX_REQ, 4, dev->pri_capacity, 0);
		put(dev, dev->pri_cap + PCI_PRI_ALLOC_REQ, 4, 0, UINT32_MAX);
	}
	if (services.pasid_bits) {
		put(dev, dev->pasid_cap + PCI_PASID_CAP, 2, modes | services.pasid_bits << 8, 0);
		put(dev, dev->pasid_cap + PCI_PASID_CTRL, 2, 0, modes | PCI_PASID_CTRL_ENABLE);
	}
	mutex_unlock(&dev->config_lock);
}

bool device_page_requests_enabled(struct nst_device *dev)
{
	bool enabled;

	mutex_lock(&dev->config_lock);
	enabled = dev->pri_cap && dev->config_value[dev->pri_cap + PCI_PRI_CTRL] &
					  dev->config_writable[dev->pri_cap + PCI_PRI_CTRL] &
					  PCI_PRI_CTRL_ENABLE;
	mutex_unlock(&dev->config_lock);
	return enabled;
}
