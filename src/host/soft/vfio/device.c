// SPDX-License-Identifier: BSD-3-Clause
/*
 * A plugged-in device: an endpoint, the bus it sits on, and what is fixed about it.
 * The bus turns the endpoint's requests into translated memory accesses, eventfd
 * signals and work for the device thread.
 */
#include "host/soft/soft.h"
#include "host/soft/fault.h"
#include "host/soft/vfio/device.h"
#include "host/soft/vfio/vfio.h"

#include "base/endian.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#define PASID_LG2_MAX 20
#define PRI_REQUESTS 32 /* that the VT-d driver lets a device have open */

static struct soft_device *to_device(struct endpoint_bus *bus)
{
	return container_of(bus, struct soft_device, bus);
}

static int bus_dma(struct endpoint_bus *bus, const struct endpoint_dma_request *req)
{
	struct soft_device *dev = to_device(bus);

	return dev->host->iommu->ops->dma(dev, req);
}

static int bus_translate(struct endpoint_bus *bus, const struct endpoint_ats_request *req,
			 struct endpoint_ats_reply *reply)
{
	struct soft_device *dev = to_device(bus);

	return dev->host->iommu->ops->translate(dev, req, reply);
}

static void bus_interrupt(struct endpoint_bus *bus, unsigned int vector)
{
	soft_irqs_signal(&to_device(bus)->irqs, vector);
}

static void bus_kick(struct endpoint_bus *bus)
{
	worker_kick(&to_device(bus)->worker);
}

/* --- page requests ------------------------------------------------------------------------ */

/* The last request of a group: what its answer needs. */
struct open_group {
	struct soft_device *dev;
	struct endpoint_page_response response;
};

static void respond(void *opaque, uint32_t code)
{
	struct open_group *group = opaque;
	struct endpoint *ep = group->dev->ep;

	group->response.code = code == IOMMUFD_PAGE_RESP_SUCCESS ? ENDPOINT_PAGE_SUCCESS
								 : ENDPOINT_PAGE_INVALID;
	ep->ops->page_response(ep, &group->response);
	free(group);
}

static void bus_page_request(struct endpoint_bus *bus, const struct endpoint_page_request *req)
{
	struct soft_device *dev = to_device(bus);
	struct endpoint_page_response failure = { req->pasid, req->group, ENDPOINT_PAGE_FAILURE };
	struct soft_page_request report = {
		.pasid = req->pasid,
		.group = req->group,
		.perm = (req->read ? IOMMU_PGFAULT_PERM_READ : 0) |
			(req->write ? IOMMU_PGFAULT_PERM_WRITE : 0) |
			(req->execute ? IOMMU_PGFAULT_PERM_EXEC : 0) |
			(req->privileged ? IOMMU_PGFAULT_PERM_PRIV : 0),
		.addr = req->iova.v,
		.last = req->last,
	};
	struct open_group *group = NULL;

	if (req->last) {
		group = alloc_object(struct open_group);
		if (!group) {
			soft_fault_forget_group(dev, req->group);
			dev->ep->ops->page_response(dev->ep, &failure);
			return;
		}
		*group = (struct open_group){ dev, failure };
	}
	soft_report_page_request(dev, &report, respond, group);
}

/* Devices stay as long as the host, so its lock is not held over the call. */
void soft_ats_invalidate(struct soft_host *host, nst_rid rid, uint32_t pasid, uint64_t iova,
			 uint64_t last)
{
	struct endpoint *ep = NULL;

	mutex_lock(&host->lock);
	for (size_t i = 0; i < host->num_devices && !ep; i++)
		if (host->devices[i]->rid == rid)
			ep = host->devices[i]->ep;
	mutex_unlock(&host->lock);
	if (ep && ep->ops->ats_invalidate)
		ep->ops->ats_invalidate(ep, pasid, (nst_iova){ iova }, (nst_iova){ last });
}

static void bus_may_wait(struct endpoint_bus *bus, bool may)
{
	struct soft_device *dev = to_device(bus);

	if (dev->host->iommu->ops->may_stall)
		dev->host->iommu->ops->may_stall(dev, may);
}

static const struct endpoint_bus_ops bus_ops = {
	.dma = bus_dma,
	.translate = bus_translate,
	.may_wait = bus_may_wait,
	.page_request = bus_page_request,
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
			dev->ats_cap = (uint16_t)offset;
		if (PCI_EXT_CAP_ID(header) == PCI_EXT_CAP_ID_PRI)
			dev->pri_cap = (uint16_t)offset;
		if (PCI_EXT_CAP_ID(header) != PCI_EXT_CAP_ID_PASID) {
			previous = offset;
			previous_header = header;
		} else {
			dev->pasid_cap = (uint16_t)offset;
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
	/* what an operation is missing for cannot be used, whatever the capabilities say */
	dev->has_ats = dev->ats_cap && dev->ep->ops->ats_invalidate &&
		       dev->host->iommu->ops->has_ats;
	dev->has_pri = dev->has_ats && dev->pri_cap && dev->ep->ops->page_response &&
		       dev->host->iommu->ops->has_pri;
}

/* --- translation services ----------------------------------------------------------------- */

static void write_control(struct soft_device *dev, unsigned int offset, unsigned int size,
			  uint32_t value)
{
	uint8_t bytes[4];

	le_store(bytes, size, value);
	if (pci_config_write(&dev->ep->config, offset, bytes, size))
		log_error(dev->host->log, "a capability is where the reset bit should be");
}

/*
 * The registers that the host's driver owns, as it leaves them when it probes the device
 * and as the PCI core puts them back after a reset; vfio-pci lets nobody write them. PASID
 * comes before ATS, because it cannot be changed while ATS is on (PCIe 6.0 s7.8.9.3).
 *
 * Source: Linux 7.2 drivers/iommu/intel/iommu.c, drivers/pci/ats.c.
 */
static void enable_translation_services(struct soft_device *dev)
{
	uint32_t modes, requests;

	if (dev->ats_cap)
		write_control(dev, dev->ats_cap + PCI_ATS_CTRL, 2, 0);
	if (dev->max_pasid_lg2) {
		modes = (dev->pasid_exec ? PCI_PASID_CTRL_EXEC : 0) |
			(dev->pasid_priv ? PCI_PASID_CTRL_PRIV : 0);
		write_control(dev, dev->pasid_cap + PCI_PASID_CTRL, 2,
			      PCI_PASID_CTRL_ENABLE | modes);
	}
	if (dev->has_ats)
		write_control(dev, dev->ats_cap + PCI_ATS_CTRL, 2, PCI_ATS_CTRL_ENABLE);
	if (dev->has_pri) {
		requests = config_dword(dev, dev->pri_cap + PCI_PRI_MAX_REQ);
		write_control(dev, dev->pri_cap + PCI_PRI_CTRL, 2, PCI_PRI_CTRL_RESET);
		write_control(dev, dev->pri_cap + PCI_PRI_ALLOC_REQ, 4,
			      MIN(requests, (uint32_t)PRI_REQUESTS));
		write_control(dev, dev->pri_cap + PCI_PRI_CTRL, 2, PCI_PRI_CTRL_ENABLE);
	}
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
	if (ep->ops->migration)
		dev->migration = alloc_object(struct soft_migration);
	err = ep->ops->migration && !dev->migration ? -ENOMEM : 0;
	if (!err)
		err = soft_irqs_init(&dev->irqs, vectors);
	if (err) {
		free(dev->migration);
		free(dev);
		return err;
	}
	mutex_init(&dev->bind_lock);
	mutex_init(&dev->lock);
	soft_worker_init(dev);
	scan_caps(dev);
	enable_translation_services(dev);
	soft_config_init(dev);
	mutex_lock(&dev->lock);
	soft_migration_reset(dev);
	mutex_unlock(&dev->lock);
	ep->bus = &dev->bus;
	*out = dev;
	return 0;
}

void soft_device_destroy(struct soft_device *dev)
{
	if (dev->worker.started)
		bus_may_wait(&dev->bus, false);
	worker_fini(&dev->worker);
	mutex_lock(&dev->lock);
	soft_migration_reset(dev);
	mutex_unlock(&dev->lock);
	free(dev->migration);
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

/* What DMA waits for is not to be waited for. */
static void reset_endpoint(struct soft_device *dev) REQUIRES(&dev->lock)
{
	bus_may_wait(&dev->bus, false);
	dev->ep->ops->reset(dev->ep);
	bus_may_wait(&dev->bus, true);
}

void soft_device_pull(struct soft_device *dev)
{
	mutex_lock(&dev->lock);
	if (!dev->pulled)
		reset_endpoint(dev);
	dev->pulled = true;
	mutex_unlock(&dev->lock);
}

void soft_device_reset(struct soft_device *dev)
{
	uint8_t saved[PCI_CONFIG_SIZE];

	memcpy(saved, dev->ep->config.bytes, sizeof(saved));
	reset_endpoint(dev);
	soft_migration_reset(dev);
	soft_fault_forget_requests(dev);
	restore_config(&dev->ep->config, saved);
}

void soft_device_power_on(struct soft_device *dev)
{
	mutex_lock(&dev->lock);
	reset_endpoint(dev);
	soft_migration_reset(dev);
	soft_fault_forget_requests(dev);
	enable_translation_services(dev);
	soft_config_reset(dev);
	mutex_unlock(&dev->lock);
}
