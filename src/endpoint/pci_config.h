/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PCI Express configuration space of a simulated function: 4 KiB of bytes, and
 * beside each byte which of its bits software may write and which it clears by
 * writing 1 (PCIe 6.0 s7.5). Capabilities are appended with pci_config_add_cap()
 * and pci_config_add_ext_cap(), which keep the linked lists.
 */
#ifndef ENDPOINT_PCI_CONFIG_H
#define ENDPOINT_PCI_CONFIG_H

#include <nestor/types.h>
#include <stdatomic.h>
#include <stdbool.h>

#define PCI_CONFIG_SIZE 4096

struct pci_config {
	uint8_t bytes[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE];	 /* RW bits */
	uint8_t write_1_clear[PCI_CONFIG_SIZE];	 /* W1C bits */
	uint8_t reset_value[PCI_CONFIG_SIZE];	 /* what RW and W1C bits are after a reset */
	uint16_t last_cap, last_ext_cap;	 /* ends of the lists; 0 = none yet */
	uint16_t next_free;			 /* where the next capability goes, 0x40..0xff */
	uint16_t next_free_ext;			 /* the same for 0x100..0xfff */
	uint16_t msi_cap, msix_cap, express_cap; /* offsets; 0 = not there */
	uint16_t ats_cap, pri_cap, pasid_cap;	 /* the same */

	/* What control registers say, for readers on any thread. */
	atomic_bool bus_master; /* COMMAND.BME */
	atomic_bool ats_enabled, pasid_enabled, pasid_privileged, pri_enabled;
	atomic_uint pri_allocated;
	/* Change when ATS is switched, and when page requests are enabled or reset: what the
	 * device holds from an earlier epoch is void. */
	atomic_uint ats_epoch, pri_epoch;
	/* Written by the device on any thread: page requests without an answer; status bits. */
	atomic_uint pri_outstanding, pri_events;
};

/* Type 0 header. @class_code is 24 bits. */
void pci_config_init(struct pci_config *cfg, uint16_t vendor, uint16_t device, uint32_t class_code,
		     uint8_t revision);

/* Subsystem ids, if they are not @vendor and @device. */
void pci_config_set_subsystem(struct pci_config *cfg, uint16_t vendor, uint16_t device);

/* BAR @bar of @size bytes (a power of two >= 4096); a 64-bit one uses @bar + 1 too. */
void pci_config_set_bar(struct pci_config *cfg, unsigned int bar, uint64_t size, bool is_64bit);

/* Give @size (1, 2 or 4) bytes at @offset a value and the bits of them software may write.
 * The value is also what a reset brings back. */
void pci_config_set(struct pci_config *cfg, uint16_t offset, unsigned int size, uint32_t value,
		    uint32_t writable);

/* Append a capability of @size bytes; returns its offset. All bytes are 0 and read-only. */
uint16_t pci_config_add_cap(struct pci_config *cfg, uint8_t id, uint8_t size);
uint16_t pci_config_add_ext_cap(struct pci_config *cfg, uint16_t id, uint8_t version,
				uint16_t size);

/* Power management: D0 and D3hot, state kept across the transition. */
void pci_config_add_power(struct pci_config *cfg);

/* PCI Express endpoint capability (60 bytes) with function-level reset; MSI with 64-bit
 * address and @vectors vectors (1..32, a power of two); MSI-X with @vectors entries whose
 * table is at @table_offset and PBA at @pba_offset of BAR @bar. */
void pci_config_add_express(struct pci_config *cfg);
void pci_config_add_msi(struct pci_config *cfg, unsigned int vectors);
void pci_config_add_msix(struct pci_config *cfg, unsigned int vectors, unsigned int bar,
			 uint32_t table_offset, uint32_t pba_offset);

/* pci_services.c. ATS with page-aligned addresses and an STU that is always 0; page requests,
 * @capacity of them at a time (after PASID: whether responses carry one depends on it);
 * PASID of @bits bits, with privileged mode, without execute permission. */
void pci_config_add_ats(struct pci_config *cfg);
void pci_config_add_pasid(struct pci_config *cfg, unsigned int bits);
void pci_config_add_pri(struct pci_config *cfg, uint32_t capacity);

/* The device got a response to nothing, or one that says Response Failure. Any thread. */
void pci_config_pri_event(struct pci_config *cfg, bool failure);

/* pci_services.c, for pci_config.c: events into the status register, bytes of which some are
 * worked out, controls into their copies, "does this byte ask for a page request reset?". */
void pci_services_fold(struct pci_config *cfg);
void pci_services_read(const struct pci_config *cfg, uint64_t offset, uint8_t *out, size_t size);
void pci_services_update(struct pci_config *cfg);
void pci_services_reset_pri(struct pci_config *cfg);
bool pci_services_asks_for_pri_reset(const struct pci_config *cfg, uint64_t at, uint8_t byte);

/* Access by software, serialised by the caller. Offset and size may be anything inside the space.
 */
void pci_config_read(const struct pci_config *cfg, uint64_t offset, void *buf, size_t size);

/* Returns true if the write asked for a function-level reset. */
NST_MUST_CHECK bool pci_config_write(struct pci_config *cfg, uint64_t offset, const void *buf,
				     size_t size);

/* All writable bits back to their reset values (BARs and COMMAND 0). */
void pci_config_reset(struct pci_config *cfg);

#endif
