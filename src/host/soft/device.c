// SPDX-License-Identifier: BSD-3-Clause
/*
 * A plugged-in device: an endpoint, the bus it sits on, and what is fixed about it.
 * The bus turns the endpoint's requests into translated memory accesses, eventfd
 * signals and work for the device thread.
 */
#include "host/soft/soft.h"

#include "base/endian.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#define PASID_LG2_MAX 20

static struct soft_device *to_device(struct endpoint_bus *bus)
{
	return container_of(bus, struct soft_device, bus);
}

static int bus_dma(struct endpoint_bus *bus, const struct endpoint_dma_request *req)
{
	struct soft_device *dev = to_device(bus);

	return dev->host->iommu->ops->dma(dev, req);
}

static void bus_interrupt(struct endpoint_bus *bus, unsigned int vector)
{
	soft_irqs_signal(&to_device(bus)->irqs, vector);
}

static void bus_kick(struct endpoint_bus *bus)
{
	soft_worker_kick(to_device(bus));
}

static const struct endpoint_bus_ops bus_ops = {
	.dma = bus_dma,
	.interrupt = bus_interrupt,
	.kick = bus_kick,
};

/* --- what the capabilities of the device say ------------------------------------------- */

static uint32_t config_dword(const struct soft_device *dev, unsigned int offset)
{
	return (uint32_t)le_load(&dev->ep->config.bytes[offset], 4);
}

static void add_fix(struct soft_device *dev, unsigned int offset, uint32_t value)
{
	if (dev->num_fixes < SOFT_MAX_HEADER_FIXES)
		dev->fixes[dev->num_fixes++] = (struct soft_header_fix){ (uint16_t)offset, value };
}

static void read_pasid_cap(struct soft_device *dev, unsigned int offset)
{
	uint32_t cap = config_dword(dev, offset + PCI_PASID_CAP) & 0xffff;

	dev->pasid_exec = cap & PCI_PASID_CAP_EXEC;
	dev->pasid_priv = cap & PCI_PASID_CAP_PRIV;
	dev->max_pasid_lg2 = MIN(cap >> 8 & 0x1f, (uint32_t)PASID_LG2_MAX);
}

/*
 * Walk the extended capabilities. vfio-pci hides the PASID capability: the one before
 * it points past it; if it is the first it stays as one without id.
 */
static void scan_ext_caps(struct soft_device *dev)
{
	unsigned int offset = PCI_CFG_SPACE_SIZE, previous = 0;
	uint32_t previous_header = 0;

	for (int n = 0; n < PCI_CONFIG_SIZE / 4 && offset >= PCI_CFG_SPACE_SIZE; n++) {
		uint32_t header = config_dword(dev, offset);
		unsigned int next = PCI_EXT_CAP_NEXT(header);

		if (PCI_EXT_CAP_ID(header) == PCI_EXT_CAP_ID_ATS)
			dev->has_ats = true;
		if (PCI_EXT_CAP_ID(header) != PCI_EXT_CAP_ID_PASID) {
			previous = offset;
			previous_header = header;
		} else {
			read_pasid_cap(dev, offset);
			if (previous)
				add_fix(dev, previous,
					(previous_header & 0xfffff) | (uint32_t)next << 20);
			else
				add_fix(dev, offset, (uint32_t)next << 20);
		}
		offset = next & ~3U;
	}
}

static void scan_caps(struct soft_device *dev)
{
	const struct pci_config *cfg = &dev->ep->config;

	dev->config_size = PCI_CFG_SPACE_SIZE;
	if (!cfg->express_cap)
		return;
	dev->config_size = PCI_CONFIG_SIZE;
	dev->has_flr = config_dword(dev, cfg->express_cap + PCI_EXP_DEVCAP) & PCI_EXP_DEVCAP_FLR;
	scan_ext_caps(dev);
}

/* --- life ------------------------------------------------------------------------------ */

int soft_device_create(struct soft_host *host, struct endpoint *ep, struct soft_device **out)
{
	struct soft_device *dev = alloc_object(struct soft_device);
	unsigned int vectors;
	int err;

	if (!dev)
		return -ENOMEM;
	dev->host = host;
	dev->ep = ep;
	dev->bus.ops = &bus_ops;
	vectors = MAX(soft_config_msi_vectors(dev), soft_config_msix_vectors(dev));
	err = soft_irqs_init(&dev->irqs, vectors);
	if (err) {
		free(dev);
		return err;
	}
	mutex_init(&dev->bind_lock);
	mutex_init(&dev->lock);
	soft_worker_init(&dev->worker);
	scan_caps(dev);
	soft_config_init(dev);
	ep->bus = &dev->bus;
	*out = dev;
	return 0;
}

void soft_device_destroy(struct soft_device *dev)
{
	soft_worker_fini(&dev->worker);
	endpoint_destroy(dev->ep);
	soft_fault_forget_requests(dev);
	free(dev->handlers);
	soft_irqs_fini(&dev->irqs);
	mutex_fini(&dev->lock);
	mutex_fini(&dev->bind_lock);
	free(dev);
}

/* --- reset ----------------------------------------------------------------------------- */

/* What software had written, as the kernel restores it after a reset; the command last. */
static void restore_config(struct pci_config *cfg, const uint8_t *saved)
{
	for (unsigned int at = PCI_CONFIG_SIZE; at; at -= 4) {
		unsigned int offset = at - 4;
		uint8_t dword[4];

		for (unsigned int i = 0; i < 4; i++)
			dword[i] = saved[offset + i] & cfg->writable[offset + i];
		if (le_load(&cfg->writable[offset], 4) && pci_config_write(cfg, offset, dword, 4))
			return; /* cannot be: a reset request is never stored */
	}
}

void soft_device_reset(struct soft_device *dev)
{
	uint8_t saved[PCI_CONFIG_SIZE];

	memcpy(saved, dev->ep->config.bytes, sizeof(saved));
	dev->ep->ops->reset(dev->ep);
	restore_config(&dev->ep->config, saved);
}

void soft_device_power_on(struct soft_device *dev)
{
	mutex_lock(&dev->lock);
	dev->ep->ops->reset(dev->ep);
	soft_config_reset(dev);
	mutex_unlock(&dev->lock);
}
