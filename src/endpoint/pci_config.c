// SPDX-License-Identifier: BSD-3-Clause
/*
 * See pci_config.h. Register layouts are those of the PCI Express Base Specification:
 * PCIe 6.0 s7.5 (header, power management, PCI Express), PCIe 6.0 s7.7 (MSI, MSI-X).
 * A write is three masks: keep what is read-only, take what is writable, clear what
 * is W1C and written as 1. Few bits do more than store: COMMAND.BME and the controls
 * of pci_services.c are copied to atomics, and DEVCTL.BCR_FLR never sticks.
 */
#include "endpoint/pci_config.h"

#include "base/bits.h"
#include "base/endian.h"

#include <assert.h>
#include <linux/pci_regs.h>

/* Offsets and bits are the kernel's <linux/pci_regs.h>; these it has no names for. */
#define HEADER_FIRST_CAP 0x40
#define EXPRESS_SIZE 60
#define MSI_64BIT_SIZE 14
#define DEVCAP_RBER BIT64(15)
#define LINK_SPEED_8GT 3
#define LINK_WIDTH_X4 4

void pci_config_set(struct pci_config *cfg, uint16_t offset, unsigned int size, uint32_t value,
		    uint32_t writable)
{
	assert(range_fits(offset, size, PCI_CONFIG_SIZE));
	le_store(&cfg->bytes[offset], size, value);
	le_store(&cfg->reset_value[offset], size, value);
	le_store(&cfg->writable[offset], size, writable);
}

static uint32_t get(const struct pci_config *cfg, uint16_t offset, unsigned int size)
{
	return (uint32_t)le_load(&cfg->bytes[offset], size);
}

void pci_config_init(struct pci_config *cfg, uint16_t vendor, uint16_t device, uint32_t class_code,
		     uint8_t revision)
{
	memset(cfg, 0, sizeof(*cfg));
	cfg->next_free = HEADER_FIRST_CAP;
	cfg->next_free_ext = PCI_CFG_SPACE_SIZE;
	atomic_init(&cfg->bus_master, false);

	pci_config_set(cfg, PCI_VENDOR_ID, 2, vendor, 0);
	pci_config_set(cfg, PCI_DEVICE_ID, 2, device, 0);
	pci_config_set(cfg, PCI_COMMAND, 2, 0,
		       PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |
			       PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE);
	le_store(&cfg->write_1_clear[PCI_STATUS], 2,
		 PCI_STATUS_PARITY | PCI_STATUS_SIG_TARGET_ABORT | PCI_STATUS_REC_TARGET_ABORT |
			 PCI_STATUS_REC_MASTER_ABORT | PCI_STATUS_SIG_SYSTEM_ERROR |
			 PCI_STATUS_DETECTED_PARITY);
	pci_config_set(cfg, PCI_CLASS_REVISION, 4, class_code << 8 | revision, 0);
	pci_config_set(cfg, PCI_CACHE_LINE_SIZE, 1, 0, 0xff);
	pci_config_set(cfg, PCI_SUBSYSTEM_VENDOR_ID, 2, vendor, 0);
	pci_config_set(cfg, PCI_SUBSYSTEM_ID, 2, device, 0);
	pci_config_set(cfg, PCI_INTERRUPT_LINE, 1, 0, 0xff);
}

void pci_config_set_subsystem(struct pci_config *cfg, uint16_t vendor, uint16_t device)
{
	pci_config_set(cfg, PCI_SUBSYSTEM_VENDOR_ID, 2, vendor, 0);
	pci_config_set(cfg, PCI_SUBSYSTEM_ID, 2, device, 0);
}

void pci_config_set_bar(struct pci_config *cfg, unsigned int bar, uint64_t size, bool is_64bit)
{
	uint16_t offset = (uint16_t)(PCI_BASE_ADDRESS_0 + 4 * bar);
	uint64_t writable = ~(size - 1);

	assert(bar + is_64bit < 6);
	assert(size >= PAGE_SIZE_4K && (size & (size - 1)) == 0);
	assert(is_64bit || size <= BIT64(31));
	pci_config_set(cfg, offset, 4, is_64bit ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0,
		       (uint32_t)writable);
	if (is_64bit)
		pci_config_set(cfg, (uint16_t)(offset + 4), 4, 0, (uint32_t)(writable >> 32));
}

uint16_t pci_config_add_cap(struct pci_config *cfg, uint8_t id, uint8_t size)
{
	uint16_t offset = cfg->next_free;
	uint16_t link = cfg->last_cap ? (uint16_t)(cfg->last_cap + PCI_CAP_LIST_NEXT)
				      : PCI_CAPABILITY_LIST;

	assert(size >= 2 && offset + size <= PCI_CFG_SPACE_SIZE);
	cfg->bytes[link] = (uint8_t)offset;
	cfg->bytes[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	cfg->bytes[offset] = id;
	cfg->last_cap = offset;
	cfg->next_free = (uint16_t)ALIGN_UP(offset + size, 4);
	return offset;
}

uint16_t pci_config_add_ext_cap(struct pci_config *cfg, uint16_t id, uint8_t version, uint16_t size)
{
	uint16_t offset = cfg->next_free_ext;

	assert(size >= 4 && version <= 0xf && offset + size <= PCI_CONFIG_SIZE);
	if (cfg->last_ext_cap) {
		uint32_t previous = get(cfg, cfg->last_ext_cap, 4);

		le_store(&cfg->bytes[cfg->last_ext_cap], 4, previous | (uint32_t)offset << 20);
	}
	le_store(&cfg->bytes[offset], 4, id | (uint32_t)version << 16);
	cfg->last_ext_cap = offset;
	cfg->next_free_ext = (uint16_t)ALIGN_UP(offset + size, 4);
	return offset;
}

void pci_config_add_power(struct pci_config *cfg)
{
	uint16_t cap = pci_config_add_cap(cfg, PCI_CAP_ID_PM, PCI_PM_SIZEOF);

	pci_config_set(cfg, (uint16_t)(cap + PCI_PM_PMC), 2, 3, 0);
	pci_config_set(cfg, (uint16_t)(cap + PCI_PM_CTRL), 2, PCI_PM_CTRL_NO_SOFT_RESET,
		       PCI_PM_CTRL_STATE_MASK);
}

void pci_config_add_express(struct pci_config *cfg)
{
	uint16_t cap = pci_config_add_cap(cfg, PCI_CAP_ID_EXP, EXPRESS_SIZE);
	uint32_t link = LINK_SPEED_8GT | LINK_WIDTH_X4 << 4;

	cfg->express_cap = cap;
	pci_config_set(cfg, (uint16_t)(cap + PCI_EXP_FLAGS), 2, 2 | PCI_EXP_TYPE_ENDPOINT << 4, 0);
	pci_config_set(cfg, (uint16_t)(cap + PCI_EXP_DEVCAP), 4, DEVCAP_RBER | PCI_EXP_DEVCAP_FLR,
		       0);
	pci_config_set(
		cfg, (uint16_t)(cap + PCI_EXP_DEVCTL), 2,
		PCI_EXP_DEVCTL_RELAX_EN | PCI_EXP_DEVCTL_NOSNOOP_EN | PCI_EXP_DEVCTL_READRQ_512B,
		PCI_EXP_DEVCTL_CERE | PCI_EXP_DEVCTL_NFERE | PCI_EXP_DEVCTL_FERE |
			PCI_EXP_DEVCTL_URRE | PCI_EXP_DEVCTL_RELAX_EN | PCI_EXP_DEVCTL_PAYLOAD |
			PCI_EXP_DEVCTL_NOSNOOP_EN | PCI_EXP_DEVCTL_READRQ);
	le_store(&cfg->write_1_clear[cap + PCI_EXP_DEVSTA], 2,
		 PCI_EXP_DEVSTA_CED | PCI_EXP_DEVSTA_NFED | PCI_EXP_DEVSTA_FED |
			 PCI_EXP_DEVSTA_URD);
	pci_config_set(cfg, (uint16_t)(cap + PCI_EXP_LNKCAP), 4, link, 0);
	pci_config_set(cfg, (uint16_t)(cap + PCI_EXP_LNKCTL), 2, 0,
		       PCI_EXP_LNKCTL_ASPMC | PCI_EXP_LNKCTL_RCB | PCI_EXP_LNKCTL_CCC |
			       PCI_EXP_LNKCTL_ES);
	pci_config_set(cfg, (uint16_t)(cap + PCI_EXP_LNKSTA), 2, link, 0);
	pci_config_set(cfg, (uint16_t)(cap + PCI_EXP_DEVCAP2), 4, PCI_EXP_DEVCAP2_COMP_TMOUT_DIS,
		       0);
	pci_config_set(cfg, (uint16_t)(cap + PCI_EXP_DEVCTL2), 2, 0,
		       PCI_EXP_DEVCTL2_COMP_TMOUT_DIS);
	pci_config_set(cfg, (uint16_t)(cap + PCI_EXP_LNKCAP2), 4,
		       PCI_EXP_LNKCAP2_SLS_2_5GB | PCI_EXP_LNKCAP2_SLS_5_0GB |
			       PCI_EXP_LNKCAP2_SLS_8_0GB,
		       0);
	pci_config_set(cfg, (uint16_t)(cap + PCI_EXP_LNKCTL2), 2, LINK_SPEED_8GT,
		       PCI_EXP_LNKCTL2_TLS);
}

void pci_config_add_msi(struct pci_config *cfg, unsigned int vectors)
{
	uint16_t cap = pci_config_add_cap(cfg, PCI_CAP_ID_MSI, MSI_64BIT_SIZE);

	assert(vectors >= 1 && vectors <= 32 && (vectors & (vectors - 1)) == 0);
	cfg->msi_cap = cap;
	pci_config_set(cfg, (uint16_t)(cap + PCI_MSI_FLAGS), 2,
		       PCI_MSI_FLAGS_64BIT | ilog2_u64(vectors) << 1,
		       PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE);
	pci_config_set(cfg, (uint16_t)(cap + PCI_MSI_ADDRESS_LO), 4, 0, 0xfffffffc);
	pci_config_set(cfg, (uint16_t)(cap + PCI_MSI_ADDRESS_HI), 4, 0, 0xffffffff);
	pci_config_set(cfg, (uint16_t)(cap + PCI_MSI_DATA_64), 2, 0, 0xffff);
}

void pci_config_add_msix(struct pci_config *cfg, unsigned int vectors, unsigned int bar,
			 uint32_t table_offset, uint32_t pba_offset)
{
	uint16_t cap = pci_config_add_cap(cfg, PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF);

	assert(vectors >= 1 && vectors <= 2048 && bar < 6);
	assert(IS_ALIGNED(table_offset, 8) && IS_ALIGNED(pba_offset, 8));
	cfg->msix_cap = cap;
	pci_config_set(cfg, (uint16_t)(cap + PCI_MSIX_FLAGS), 2, vectors - 1,
		       PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	pci_config_set(cfg, (uint16_t)(cap + PCI_MSIX_TABLE), 4, table_offset | bar, 0);
	pci_config_set(cfg, (uint16_t)(cap + PCI_MSIX_PBA), 4, pba_offset | bar, 0);
}

void pci_config_read(const struct pci_config *cfg, uint64_t offset, void *buf, size_t size)
{
	uint8_t *out = buf;

	/* What lies outside reads as an absent register does. */
	memset(out, 0xff, size);
	if (offset < PCI_CONFIG_SIZE)
		memcpy(out, &cfg->bytes[offset], MIN(size, PCI_CONFIG_SIZE - offset));
	pci_services_read(cfg, offset, out, size);
}

static void update_controls(struct pci_config *cfg)
{
	atomic_store(&cfg->bus_master, get(cfg, PCI_COMMAND, 2) & PCI_COMMAND_MASTER);
	pci_services_update(cfg);
}

/* Bit 15 of DEVCTL is in its upper byte; it reads as 0. */
static bool asks_for_flr(const struct pci_config *cfg, uint64_t at, uint8_t byte)
{
	return cfg->express_cap && at == (uint64_t)cfg->express_cap + PCI_EXP_DEVCTL + 1 &&
	       (byte & PCI_EXP_DEVCTL_BCR_FLR >> 8);
}

bool pci_config_write(struct pci_config *cfg, uint64_t offset, const void *buf, size_t size)
{
	const uint8_t *in = buf;
	bool flr = false, reset_pri = false;

	if (offset >= PCI_CONFIG_SIZE)
		return false;
	size = MIN(size, PCI_CONFIG_SIZE - offset);
	pci_services_fold(cfg);
	for (size_t i = 0; i < size; i++) {
		uint64_t at = offset + i;
		uint8_t rw = cfg->writable[at];
		uint8_t cleared = in[i] & cfg->write_1_clear[at];

		cfg->bytes[at] = (uint8_t)(((cfg->bytes[at] & ~rw) | (in[i] & rw)) & ~cleared);
		flr |= asks_for_flr(cfg, at, in[i]);
		reset_pri |= pci_services_asks_for_pri_reset(cfg, at, in[i]);
	}
	update_controls(cfg);
	if (reset_pri)
		pci_services_reset_pri(cfg);
	return flr;
}

void pci_config_reset(struct pci_config *cfg)
{
	pci_services_fold(cfg);
	for (size_t i = 0; i < PCI_CONFIG_SIZE; i++) {
		uint8_t mine = cfg->writable[i] | cfg->write_1_clear[i];

		cfg->bytes[i] = (uint8_t)((cfg->bytes[i] & ~mine) | (cfg->reset_value[i] & mine));
	}
	update_controls(cfg);
	pci_services_reset_pri(cfg);
}
