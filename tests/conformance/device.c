// SPDX-License-Identifier: BSD-3-Clause
/*
 * The device of the conformance tests: eight bytes of DMA with any PASID, MSI and MSI-X,
 * and a PASID capability if wanted. See enum device_reg in rig.h.
 */
#include "device.h"

#include "base/bits.h"
#include "rig.h"

#include <linux/pci_regs.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct test_device {
	struct endpoint ep;
	_Atomic uint64_t scratch, iova, value, go, status, runs, done;
	_Atomic uint32_t pasid;
};

static uint64_t bar_read(struct endpoint *ep, unsigned int bar, uint64_t offset, unsigned int size)
{
	struct test_device *d = container_of(ep, struct test_device, ep);
	uint64_t word;

	switch (offset & ~7ULL) {
	case REG_MAGIC:
		word = DEVICE_MAGIC;
		break;
	case REG_SCRATCH:
		word = atomic_load(&d->scratch);
		break;
	case REG_VALUE:
		word = atomic_load(&d->value);
		break;
	case REG_STATUS:
		word = atomic_load(&d->status);
		break;
	case REG_RUNS:
		word = atomic_load(&d->runs);
		break;
	case REG_DONE:
		word = atomic_load(&d->done);
		break;
	default:
		return 0;
	}
	return word >> 8 * (offset & 7);
}

static uint64_t merge(uint64_t old, uint64_t offset, unsigned int size, uint64_t value)
{
	unsigned int shift = 8 * (offset & 7);
	uint64_t mask = (size == 8 ? ~0ULL : BIT64(8 * size) - 1) << shift;

	return (old & ~mask) | (value << shift & mask);
}

static void bar_write(struct endpoint *ep, unsigned int bar, uint64_t offset, unsigned int size,
		      uint64_t value)
{
	struct test_device *d = container_of(ep, struct test_device, ep);

	switch (offset & ~7ULL) {
	case REG_SCRATCH:
		atomic_store(&d->scratch, merge(atomic_load(&d->scratch), offset, size, value));
		break;
	case REG_IOVA:
		atomic_store(&d->iova, value);
		break;
	case REG_VALUE:
		atomic_store(&d->value, value);
		break;
	case REG_PASID:
		atomic_store(&d->pasid, (uint32_t)value);
		break;
	case REG_GO:
		atomic_store(&d->go, value);
		endpoint_kick(ep);
		break;
	case REG_RAISE:
		endpoint_interrupt(ep, (unsigned int)value);
		break;
	}
}

static void run(struct endpoint *ep)
{
	struct test_device *d = container_of(ep, struct test_device, ep);
	uint64_t go = atomic_exchange(&d->go, 0);
	uint64_t value = atomic_load(&d->value);
	struct endpoint_dma_request req = { .iova = { atomic_load(&d->iova) },
					    .pasid = atomic_load(&d->pasid),
					    .write = go == 2,
					    .buf = &value,
					    .size = sizeof(value) };

	atomic_fetch_add(&d->runs, 1);
	if (!go)
		return;
	atomic_store(&d->status, (uint64_t)(int64_t)endpoint_dma(ep, &req));
	atomic_store(&d->value, value);
	atomic_fetch_add(&d->done, 1);
}

static void reset(struct endpoint *ep)
{
	struct test_device *d = container_of(ep, struct test_device, ep);

	atomic_store(&d->scratch, 0);
	atomic_store(&d->go, 0);
	atomic_store(&d->pasid, NO_PASID);
	pci_config_reset(&ep->config);
}

static void destroy_device(struct endpoint *ep)
{
	free(container_of(ep, struct test_device, ep));
}

static const struct endpoint_ops ops = {
	.model = "test",
	.bar_read = bar_read,
	.bar_write = bar_write,
	.run = run,
	.reset = reset,
	.destroy = destroy_device,
};

struct endpoint *test_device_create(bool pasid)
{
	struct test_device *d = calloc(1, sizeof(*d));
	struct pci_config *cfg = &d->ep.config;

	d->ep.ops = &ops;
	atomic_init(&d->pasid, NO_PASID);
	pci_config_init(cfg, 0x1234, 0x5678, 0xff0000, 1);
	pci_config_set_bar(cfg, 0, PAGE_SIZE_4K, true);
	d->ep.bar_sizes[0] = PAGE_SIZE_4K;
	pci_config_add_express(cfg);
	pci_config_add_msi(cfg, DEVICE_MSI_VECTORS);
	pci_config_add_msix(cfg, DEVICE_MSIX_VECTORS, 0, DEVICE_MSIX_TABLE, 0xc00);
	pci_config_add_ext_cap(cfg, PCI_EXT_CAP_ID_ERR, 2, 0x48);
	if (pasid) {
		uint16_t at = pci_config_add_ext_cap(cfg, PCI_EXT_CAP_ID_PASID, 1, 8);

		cfg->bytes[at + PCI_PASID_CAP] = PCI_PASID_CAP_EXEC | PCI_PASID_CAP_PRIV;
		cfg->bytes[at + PCI_PASID_CAP + 1] = 20;
	}
	pci_config_add_ext_cap(cfg, PCI_EXT_CAP_ID_DSN, 1, 12);
	return &d->ep;
}
