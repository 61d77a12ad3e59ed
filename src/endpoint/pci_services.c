// SPDX-License-Identifier: BSD-3-Clause
/*
 * Capabilities that go with address translation: ATS (PCIe 6.0 s10.5.1), page requests
 * (PCIe 6.0 s10.5.2), PASID (PCIe 6.0 s7.8.9). Of each control register a copy is kept
 * that any thread can read. Two bits of the page request status come from the device,
 * on any thread: they wait in pri_events until software looks. Stopped is worked out.
 */
#include "endpoint/pci_config.h"

#include "base/bits.h"
#include "base/endian.h"

#include <assert.h>
#include <linux/pci_regs.h>

#define DEVCAP2_ONE_EE_PREFIX 0x00400000 /* PCI_EXP_DEVCAP2_EE_PREFIX_MAX, of which we need one */

void pci_config_add_ats(struct pci_config *cfg)
{
	uint16_t cap = pci_config_add_ext_cap(cfg, PCI_EXT_CAP_ID_ATS, 1, PCI_EXT_CAP_ATS_SIZEOF);

	cfg->ats_cap = cap;
	/* Queue depth 0: as many invalidations at a time as there are tags, 32. STU stays 0. */
	pci_config_set(cfg, (uint16_t)(cap + PCI_ATS_CAP), 2, PCI_ATS_CAP_PAGE_ALIGNED, 0);
	pci_config_set(cfg, (uint16_t)(cap + PCI_ATS_CTRL), 2, 0, PCI_ATS_CTRL_ENABLE);
}

void pci_config_add_pri(struct pci_config *cfg, uint32_t capacity)
{
	uint16_t cap = pci_config_add_ext_cap(cfg, PCI_EXT_CAP_ID_PRI, 1, PCI_EXT_CAP_PRI_SIZEOF);
	uint16_t status = (uint16_t)(cap + PCI_PRI_STATUS);

	cfg->pri_cap = cap;
	pci_config_set(cfg, (uint16_t)(cap + PCI_PRI_CTRL), 2, 0, PCI_PRI_CTRL_ENABLE);
	pci_config_set(cfg, status, 2, cfg->pasid_cap ? PCI_PRI_STATUS_PASID : 0, 0);
	le_store(&cfg->write_1_clear[status], 2, PCI_PRI_STATUS_RF | PCI_PRI_STATUS_UPRGI);
	pci_config_set(cfg, (uint16_t)(cap + PCI_PRI_MAX_REQ), 4, capacity, 0);
	pci_config_set(cfg, (uint16_t)(cap + PCI_PRI_ALLOC_REQ), 4, 0, UINT32_MAX);
}

void pci_config_add_pasid(struct pci_config *cfg, unsigned int bits)
{
	uint16_t cap =
		pci_config_add_ext_cap(cfg, PCI_EXT_CAP_ID_PASID, 1, PCI_EXT_CAP_PASID_SIZEOF);

	assert(bits >= 1 && bits <= 20);
	cfg->pasid_cap = cap;
	/* PASIDs travel in a TLP prefix: without this no kernel enables them */
	if (cfg->express_cap)
		pci_config_set(
			cfg, (uint16_t)(cfg->express_cap + PCI_EXP_DEVCAP2), 4,
			(uint32_t)le_load(&cfg->bytes[cfg->express_cap + PCI_EXP_DEVCAP2], 4) |
				PCI_EXP_DEVCAP2_EE_PREFIX | DEVCAP2_ONE_EE_PREFIX,
			0);
	pci_config_set(cfg, (uint16_t)(cap + PCI_PASID_CAP), 2, PCI_PASID_CAP_PRIV | bits << 8, 0);
	pci_config_set(cfg, (uint16_t)(cap + PCI_PASID_CTRL), 2, 0,
		       PCI_PASID_CTRL_ENABLE | PCI_PASID_CTRL_PRIV);
}

static uint32_t control(const struct pci_config *cfg, uint16_t cap, uint16_t reg, unsigned int size)
{
	return cap ? (uint32_t)le_load(&cfg->bytes[cap + reg], size) : 0;
}

void pci_services_fold(struct pci_config *cfg)
{
	if (cfg->pri_cap)
		cfg->bytes[cfg->pri_cap + PCI_PRI_STATUS] |=
			(uint8_t)atomic_exchange(&cfg->pri_events, 0);
}

static void update_pri(struct pci_config *cfg)
{
	bool enabled = control(cfg, cfg->pri_cap, PCI_PRI_CTRL, 2) & PCI_PRI_CTRL_ENABLE;

	/* A device asks for pages only after it has seen the new epoch. */
	if (enabled && !atomic_load(&cfg->pri_enabled))
		atomic_fetch_add(&cfg->pri_epoch, 1);
	atomic_store(&cfg->pri_allocated, MIN(control(cfg, cfg->pri_cap, PCI_PRI_ALLOC_REQ, 4),
					      control(cfg, cfg->pri_cap, PCI_PRI_MAX_REQ, 4)));
	atomic_store(&cfg->pri_enabled, enabled);
}

void pci_services_update(struct pci_config *cfg)
{
	bool ats = control(cfg, cfg->ats_cap, PCI_ATS_CTRL, 2) & PCI_ATS_CTRL_ENABLE;
	uint32_t pasid = control(cfg, cfg->pasid_cap, PCI_PASID_CTRL, 2);

	if (ats != atomic_load(&cfg->ats_enabled))
		atomic_fetch_add(&cfg->ats_epoch, 1);
	atomic_store(&cfg->ats_enabled, ats);
	atomic_store(&cfg->pasid_enabled, pasid & PCI_PASID_CTRL_ENABLE);
	atomic_store(&cfg->pasid_privileged,
		     (pasid & PCI_PASID_CTRL_ENABLE) && (pasid & PCI_PASID_CTRL_PRIV));
	update_pri(cfg);
}

void pci_services_reset_pri(struct pci_config *cfg)
{
	atomic_fetch_add(&cfg->pri_epoch, 1);
	atomic_store(&cfg->pri_outstanding, 0);
}

bool pci_services_asks_for_pri_reset(const struct pci_config *cfg, uint64_t at, uint8_t byte)
{
	return cfg->pri_cap && at == (uint64_t)cfg->pri_cap + PCI_PRI_CTRL &&
	       (byte & PCI_PRI_CTRL_RESET) && !(byte & PCI_PRI_CTRL_ENABLE);
}

void pci_services_read(const struct pci_config *cfg, uint64_t offset, uint8_t *out, size_t size)
{
	uint64_t at = (uint64_t)cfg->pri_cap + PCI_PRI_STATUS;
	bool stopped = !atomic_load(&cfg->pri_enabled) && !atomic_load(&cfg->pri_outstanding);

	if (!cfg->pri_cap)
		return;
	if (at >= offset && at - offset < size)
		out[at - offset] |= (uint8_t)atomic_load(&cfg->pri_events);
	if (stopped && at + 1 >= offset && at + 1 - offset < size)
		out[at + 1 - offset] |= PCI_PRI_STATUS_STOPPED >> 8;
}

void pci_config_pri_event(struct pci_config *cfg, bool failure)
{
	atomic_fetch_or(&cfg->pri_events, failure ? PCI_PRI_STATUS_RF : PCI_PRI_STATUS_UPRGI);
}
