// SPDX-License-Identifier: BSD-3-Clause
/*
 * The capability list as the guest sees it. The device's own bytes pass through; a
 * few are put over them: where mask bits are set, config_value wins on reads, and
 * writes go to the device, which has the last word on its own registers.
 */
#include "passthrough/device.h"

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

int device_config_init(struct nst_device *dev, const struct nst_device_config *config)
{
	uint8_t cfg[256];
	int ret;

	if (dev->regions[VFIO_PCI_CONFIG_REGION_INDEX].size < sizeof(cfg))
		return -EINVAL;
	ret = device_region_read(dev, VFIO_PCI_CONFIG_REGION_INDEX, 0, cfg, sizeof(cfg));
	if (ret)
		return ret;
	if (config->hide_msix) {
		hide_capability(dev, cfg, PCI_CAP_ID_MSIX);
		dev->irq_counts[VFIO_PCI_MSIX_IRQ_INDEX] = 0;
	}
	return 0;
}

void device_config_overlay(const struct nst_device *dev, uint64_t offset, uint8_t *buf, size_t size)
{
	for (size_t i = 0; i < size && offset + i < sizeof(dev->config_mask); i++) {
		uint8_t mask = dev->config_mask[offset + i];

		buf[i] = (buf[i] & ~mask) | (dev->config_value[offset + i] & mask);
	}
}
