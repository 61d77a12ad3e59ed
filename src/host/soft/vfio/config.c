// SPDX-License-Identifier: BSD-3-Clause
/*
 * Configuration space as vfio-pci shows it. Interrupts belong to the host there, so
 * the MSI capability is a shadow that never reaches the device, writes to MSI-X are
 * dropped, and no legacy interrupt pin is seen. The host's IOMMU owns ATS, PRI and
 * PASID: extended capabilities are read-only, PASID is hidden (device.c).
 *
 * Source: Linux 7.2 drivers/vfio/pci/vfio_pci_config.c.
 */
#include "host/soft/vfio/device.h"

#include "base/endian.h"

#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <string.h>

static uint16_t msi_flags(const struct soft_device *dev)
{
	const struct pci_config *cfg = &dev->ep->config;

	return (uint16_t)le_load(&cfg->bytes[cfg->msi_cap + PCI_MSI_FLAGS], 2);
}

unsigned int soft_config_msi_vectors(const struct soft_device *dev)
{
	if (!dev->ep->config.msi_cap)
		return 0;
	return 1U << FIELD_GET(PCI_MSI_FLAGS_QMASK, msi_flags(dev));
}

unsigned int soft_config_msix_vectors(const struct soft_device *dev)
{
	const struct pci_config *cfg = &dev->ep->config;

	if (!cfg->msix_cap)
		return 0;
	return (le_load(&cfg->bytes[cfg->msix_cap + PCI_MSIX_FLAGS], 2) & PCI_MSIX_FLAGS_QSIZE) + 1;
}

static unsigned int msi_cap_size(uint16_t flags)
{
	unsigned int size = flags & PCI_MSI_FLAGS_64BIT ? 14 : 10;

	return flags & PCI_MSI_FLAGS_MASKBIT ? size + 10 : size;
}

void soft_config_init(struct soft_device *dev)
{
	const struct pci_config *cfg = &dev->ep->config;

	if (!cfg->msi_cap)
		return;
	mutex_lock(&dev->lock);
	dev->msi_cap_size = msi_cap_size(msi_flags(dev));
	memcpy(dev->msi_shadow, &cfg->bytes[cfg->msi_cap], dev->msi_cap_size);
	mutex_unlock(&dev->lock);
}

void soft_config_reset(struct soft_device *dev)
{
	struct pci_config *cfg = &dev->ep->config;
	const uint8_t command[2] = { PCI_COMMAND_MEMORY };

	if (pci_config_write(cfg, PCI_COMMAND, command, sizeof(command)))
		return; /* cannot be */
	if (dev->msi_cap_size)
		memcpy(dev->msi_shadow, &cfg->bytes[cfg->msi_cap], dev->msi_cap_size);
}

void soft_config_set_msix_enable(struct soft_device *dev, bool enable)
{
	struct pci_config *cfg = &dev->ep->config;
	uint8_t *flags = &cfg->bytes[cfg->msix_cap + PCI_MSIX_FLAGS + 1];

	if (!cfg->msix_cap)
		return;
	*flags = (uint8_t)(enable ? *flags | PCI_MSIX_FLAGS_ENABLE >> 8
				  : *flags & ~(PCI_MSIX_FLAGS_ENABLE >> 8));
}

bool soft_config_decodes_memory(struct soft_device *dev)
{
	return dev->ep->config.bytes[PCI_COMMAND] & PCI_COMMAND_MEMORY;
}

/* --- access: naturally aligned pieces of 1, 2 or 4 bytes -------------------------------- */

static bool is_inside(unsigned int offset, unsigned int start, unsigned int size)
{
	return start && offset >= start && offset < start + size;
}

void soft_config_read(struct soft_device *dev, unsigned int offset, void *buf, unsigned int size)
{
	const struct pci_config *cfg = &dev->ep->config;
	unsigned int base = offset & ~3U;
	uint8_t dword[4];

	pci_config_read(cfg, base, dword, sizeof(dword));
	if (base == (PCI_INTERRUPT_PIN & ~3U))
		dword[PCI_INTERRUPT_PIN & 3] = 0;
	for (unsigned int i = 0; i < dev->num_fixes; i++)
		if (dev->fixes[i].offset == base)
			le_store(dword, 4, dev->fixes[i].value);
	for (unsigned int i = 0; i < 4; i++)
		if (is_inside(base + i, cfg->msi_cap, dev->msi_cap_size))
			dword[i] = dev->msi_shadow[base + i - cfg->msi_cap];
	memcpy(buf, &dword[offset & 3], size);
}

/* Which bits of the shadow MSI capability the driver may change. */
static uint8_t msi_writable(const struct soft_device *dev, unsigned int at)
{
	bool is_64bit = msi_flags(dev) & PCI_MSI_FLAGS_64BIT;
	unsigned int data = is_64bit ? PCI_MSI_DATA_64 : PCI_MSI_DATA_32;
	unsigned int mask = is_64bit ? PCI_MSI_MASK_64 : PCI_MSI_MASK_32;

	if (at == PCI_MSI_FLAGS)
		return PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE;
	if (at < PCI_MSI_ADDRESS_LO)
		return 0;
	if (at == PCI_MSI_ADDRESS_LO)
		return 0xfc;
	if (at < data + 2 || (at >= mask && at < mask + 4))
		return 0xff;
	return 0;
}

static void write_msi(struct soft_device *dev, unsigned int at, const uint8_t *in,
		      unsigned int size) REQUIRES(&dev->lock)
{
	for (unsigned int i = 0; i < size && at + i < dev->msi_cap_size; i++) {
		uint8_t rw = msi_writable(dev, at + i), value = in[i];
		unsigned int queue;

		if (at + i == PCI_MSI_FLAGS) {
			/* MSI is enabled by SET_IRQS alone */
			if (!soft_irqs_is_active(&dev->irqs, VFIO_PCI_MSI_IRQ_INDEX))
				value &= (uint8_t)~PCI_MSI_FLAGS_ENABLE;
			queue = MIN((unsigned int)FIELD_GET(PCI_MSI_FLAGS_QSIZE, value),
				    (unsigned int)FIELD_GET(PCI_MSI_FLAGS_QMASK, msi_flags(dev)));
			value = (uint8_t)((value & ~PCI_MSI_FLAGS_QSIZE) |
					  FIELD_PREP(PCI_MSI_FLAGS_QSIZE, queue));
		}
		dev->msi_shadow[at + i] = (uint8_t)((dev->msi_shadow[at + i] & ~rw) | (value & rw));
	}
}

void soft_config_write(struct soft_device *dev, unsigned int offset, const void *buf,
		       unsigned int size)
{
	struct pci_config *cfg = &dev->ep->config;

	if (is_inside(offset, cfg->msi_cap, dev->msi_cap_size)) {
		write_msi(dev, offset - cfg->msi_cap, buf, size);
		return;
	}
	if (offset >= PCI_CFG_SPACE_SIZE || is_inside(offset, cfg->msix_cap, PCI_CAP_MSIX_SIZEOF))
		return;
	if (pci_config_write(cfg, offset, buf, size))
		soft_device_reset(dev);
}
