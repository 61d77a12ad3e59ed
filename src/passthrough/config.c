// SPDX-License-Identifier: BSD-3-Clause
/*
 * Configuration space as the guest sees it. The device's own bytes pass through; a
 * few are put over them: where mask bits are set, config_value wins on reads. Writes to
 * the first 256 bytes go to the device, which has the last word on its own registers;
 * of the extended space what is put over it (ext_config.c) is written here and never
 * reaches the device.
 */
#include "passthrough/device.h"

#include "base/bits.h"
#include "base/endian.h"
#include "base/log.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

static void overlay_byte(struct nst_device *dev, unsigned int offset, uint8_t value)
{
	dev->config_mask[offset] = 0xff;
	dev->config_value[offset] = value;
}

/*
 * Take capability @id out of the list by pointing its predecessor past it. The list is
 * the device's, so it may be broken: each entry is at least 4 bytes, which bounds it.
 */
static void hide_capability(struct nst_device *dev, const uint8_t *cfg, uint8_t id)
{
	unsigned int link = PCI_CAPABILITY_LIST;

	if (!(cfg[PCI_STATUS] & PCI_STATUS_CAP_LIST))
		return;
	for (unsigned int n = 0; n < 48; n++) {
		unsigned int at = cfg[link] & ~3u;

		if (at < PCI_STD_HEADER_SIZEOF)
			return;
		if (cfg[at] == id) {
			overlay_byte(dev, link, cfg[at + PCI_CAP_LIST_NEXT]);
			return;
		}
		link = at + PCI_CAP_LIST_NEXT;
	}
	log_warn(dev->vm->log, "the device's capability list does not end");
}

/* As hide_capability() walks: 0 if there is none. */
static uint16_t find_capability(const uint8_t *cfg, uint8_t id)
{
	unsigned int at = cfg[PCI_CAPABILITY_LIST] & ~3u;

	if (!(cfg[PCI_STATUS] & PCI_STATUS_CAP_LIST))
		return 0;
	for (unsigned int n = 0; n < 48 && at >= PCI_STD_HEADER_SIZEOF; n++) {
		if (cfg[at] == id)
			return (uint16_t)at;
		at = cfg[at + PCI_CAP_LIST_NEXT] & ~3u;
	}
	return 0;
}

/* Where interrupts are set up is the VMM's to know of: see areas.c. */
static void keep_msix_table(struct nst_device *dev, const uint8_t *cfg)
{
	uint16_t at = find_capability(cfg, PCI_CAP_ID_MSIX);
	uint64_t vectors, table;

	if (!at || at > PCI_CFG_SPACE_SIZE - PCI_CAP_MSIX_SIZEOF)
		return;
	vectors = (le_load(&cfg[at + PCI_MSIX_FLAGS], 2) & PCI_MSIX_FLAGS_QSIZE) + 1;
	table = le_load(&cfg[at + PCI_MSIX_TABLE], 4);
	if ((table & PCI_MSIX_TABLE_BIR) < PCI_STD_NUM_BARS)
		device_areas_exclude(&dev->areas[table & PCI_MSIX_TABLE_BIR],
				     table & PCI_MSIX_TABLE_OFFSET, vectors * PCI_MSIX_ENTRY_SIZE);
}

int device_config_init(struct nst_device *dev, const struct nst_device_config *config)
{
	uint64_t size = dev->regions[VFIO_PCI_CONFIG_REGION_INDEX].size;
	uint8_t cfg[DEVICE_CONFIG_SIZE];
	int ret;

	if (size < PCI_CFG_SPACE_SIZE)
		return -EINVAL;
	size = MIN(size, sizeof(cfg));
	ret = device_region_read(dev, VFIO_PCI_CONFIG_REGION_INDEX, 0, cfg, size);
	if (ret)
		return ret;
	keep_msix_table(dev, cfg);
	if (config->hide_msix) {
		hide_capability(dev, cfg, PCI_CAP_ID_MSIX);
		dev->irq_counts[VFIO_PCI_MSIX_IRQ_INDEX] = 0;
	}
	dev->express_cap = find_capability(cfg, PCI_CAP_ID_EXP);
	if (dev->express_cap && size == sizeof(cfg))
		ret = device_ext_config_init(dev, cfg, config);
	if (!ret)
		device_config_offer(dev, &(struct device_services){ 0 });
	return ret;
}

void device_config_overlay(struct nst_device *dev, uint64_t offset, uint8_t *buf, size_t size)
{
	mutex_lock(&dev->config_lock);
	for (size_t i = 0; i < size && offset + i < sizeof(dev->config_mask); i++) {
		uint8_t mask = dev->config_mask[offset + i];

		buf[i] = (buf[i] & ~mask) | (dev->config_value[offset + i] & mask);
	}
	mutex_unlock(&dev->config_lock);
}

void device_config_reset(struct nst_device *dev)
{
	mutex_lock(&dev->config_lock);
	for (size_t i = PCI_CFG_SPACE_SIZE; i < sizeof(dev->config_value); i++)
		dev->config_value[i] &= (uint8_t)~dev->config_writable[i];
	mutex_unlock(&dev->config_lock);
}

/* Does the write ask for a function-level reset? */
static bool asks_for_reset(const struct nst_device *dev, uint64_t offset, const uint8_t *buf,
			   size_t size)
{
	uint64_t at = dev->express_cap + PCI_EXP_DEVCTL + 1;

	return dev->express_cap && at >= offset && at - offset < size &&
	       (buf[at - offset] & PCI_EXP_DEVCTL_BCR_FLR >> 8);
}

bool device_config_write(struct nst_device *dev, uint64_t offset, const uint8_t *buf, size_t size)
{
	bool ours = false;

	if (asks_for_reset(dev, offset, buf, size)) {
		device_announce_reset(dev);
		device_config_reset(dev);
	}
	if (offset < PCI_CFG_SPACE_SIZE)
		return false;
	mutex_lock(&dev->config_lock);
	for (size_t i = 0; i < size && offset + i < sizeof(dev->config_mask); i++) {
		uint8_t rw = dev->config_writable[offset + i];
		uint8_t *value = &dev->config_value[offset + i];

		ours |= dev->config_mask[offset + i] != 0;
		*value = (uint8_t)((*value & ~rw) | (buf[i] & rw));
	}
	mutex_unlock(&dev->config_lock);
	return ours;
}
