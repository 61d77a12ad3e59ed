/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ACPI table that tells a guest where its VT-d units are and which devices each
 * one covers: VT-d 4.1 s8.1 DMA Remapping Reporting Structure.
 *
 * Every unit lists its devices; none claims all (INCLUDE_PCI_ALL), since the VMM's own
 * devices are not behind it.
 */
#ifndef FIRMWARE_DMAR_H
#define FIRMWARE_DMAR_H

#include <nestor/types.h>

#include <stdbool.h>

struct dmar_scope {
	uint8_t bus, device, function; /* a PCI endpoint on that bus */
	bool bridge;		       /* a bridge, and all that is or will be behind it */
};

struct dmar_unit {
	uint64_t base; /* of the register page, 4 KiB aligned */
	uint16_t segment;
	const struct dmar_scope *scopes;
	size_t num_scopes;
};

struct dmar_params {
	unsigned int address_width; /* bits of a DMA address, 1..64 */
	const struct dmar_unit *units;
	size_t num_units;
};

/*
 * Build the table, with header and checksum. *@table is to be freed.
 * Errors: -EINVAL (a base that is not aligned, too many scopes for a length field), -ENOMEM.
 */
NST_MUST_CHECK int dmar_build(const struct dmar_params *params, void **table, size_t *size);

#endif
