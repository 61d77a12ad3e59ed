/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ACPI table that tells a guest on Arm where its SMMUv3 units are, which devices each
 * one covers, and which ITS gets whose MSIs: Arm DEN 0049E.e IO Remapping Table.
 *
 *	root complex  --requester ids of a unit-->  SMMUv3  --stream ids-->  ITS group
 *	      \------------all others----------------------------------------->/
 *
 * Only devices that are listed are behind a unit, since the VMM's own are not. A stream id,
 * and the device id that the ITS sees, is the requester id.
 */
#ifndef FIRMWARE_IORT_H
#define FIRMWARE_IORT_H

#include "firmware/acpi.h"

#include <nestor/types.h>
#include <stdbool.h>

/* A range of requester ids (bus << 8 | devfn), both ends included. */
struct iort_rids {
	uint16_t first, last;
};

/* Memory that the guest is to map at the same address for the devices of a unit. */
struct iort_window {
	uint64_t base, size; /* multiples of 64 KiB */
};

/* Which implementation's peculiarities a unit has. */
enum iort_model { IORT_MODEL_GENERIC, IORT_MODEL_HI161X, IORT_MODEL_CN99XX };

struct iort_smmu {
	uint64_t base; /* of both register pages, 64 KiB aligned */
	enum iort_model model;
	bool coherent; /* its table walks are, whatever IDR0 says */
	/* global numbers of wired interrupts; 0: none, or by MSI */
	uint32_t event_gsiv, pri_gsiv, gerror_gsiv, sync_gsiv;
	bool has_msis;		/* of its own; the ITS sees them */
	uint32_t msi_device_id; /* come from this device */
	const struct iort_rids *rids;
	size_t num_rids;
	/* MSIs of a real ITS go through a window that stage 1 must map to itself */
	const struct iort_window *windows;
	size_t num_windows;
};

/* A PCI segment. */
struct iort_root {
	uint32_t segment;
	unsigned int address_bits; /* of a DMA address, 1..64 */
	bool ats;		   /* devices may cache translations */
	bool canwbs;		   /* writes of devices are cacheable and coherent, always */
	const struct iort_smmu *units;
	size_t num_units;
};

struct iort_params {
	struct acpi_oem oem;
	const uint32_t *its; /* ids of the ITS group, as the MADT has them */
	size_t num_its;
	const struct iort_root *roots;
	size_t num_roots;
};

/*
 * Build the table, with header and checksum. *@table is to be freed.
 * Errors: -EINVAL (no ITS; a base or window that is not aligned or empty; requester ids that
 * are in two ranges, or a range that ends before it begins; more than a length field can
 * hold), -ENOMEM.
 */
NST_MUST_CHECK int iort_build(const struct iort_params *params, void **table, size_t *size);

#endif
