/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What tells a guest where its IOMMUs are and which devices each one covers: parameters in,
 * the bytes of an ACPI table, or nodes of a device tree, out. They know nothing of units and
 * devices of this library: the VMM says where it has put them.
 *
 * Every unit lists its devices; none claims all, since the VMM's own need not be behind it.
 */
#ifndef NESTOR_FIRMWARE_H
#define NESTOR_FIRMWARE_H

#include <nestor/types.h>

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A range of requester ids (bus << 8 | devfn), both ends included. */
struct nst_rid_range {
	nst_rid first, last;
};

/** Who made an ACPI table. Names are padded with spaces. */
struct nst_acpi_oem {
	const char *id;	      /* up to 6 characters */
	const char *table_id; /* up to 8 */
	uint32_t revision;
};

/* --- VT-d: the DMAR table ------------------------------------------------------------------ */

struct nst_dmar_scope {
	uint8_t bus, device, function; /* a PCI endpoint on that bus */
	bool bridge;		       /* a bridge, and all that is or will be behind it */
};

struct nst_dmar_unit {
	uint64_t base; /* of the register page, 4 KiB aligned */
	uint16_t segment;
	const struct nst_dmar_scope *scopes;
	size_t num_scopes;
};

struct nst_dmar_params {
	unsigned int address_width; /* bits of a DMA address, 1..64 */
	const struct nst_dmar_unit *units;
	size_t num_units;
};

/**
 * nst_dmar_build() - VT-d 4.1 s8.1 DMA Remapping Reporting Structure, with header and checksum.
 * *@table is to be freed with free(3).
 * Errors: -EINVAL (a base that is not aligned, too many scopes for a length field), -ENOMEM.
 * Threads: any.
 */
NST_MUST_CHECK NST_API int nst_dmar_build(const struct nst_dmar_params *params, void **table,
					  size_t *size);

/* --- Arm: an SMMUv3, and the IORT ------------------------------------------------------------ */

/** Which implementation's peculiarities a unit has. */
enum nst_smmuv3_model {
	NST_SMMUV3_MODEL_GENERIC,
	NST_SMMUV3_MODEL_HI161X,
	NST_SMMUV3_MODEL_CN99XX,
};

/**
 * struct nst_firmware_smmuv3 - a unit. A stream id, and the device id that the ITS sees, is
 * the requester id.
 * @base: of both register pages, 64 KiB aligned.
 * @coherent: its table walks are, whatever IDR0 says.
 * @event_gsiv, @pri_gsiv, @gerror_gsiv, @sync_gsiv: global numbers of wired interrupts; 0: none,
 *	or by MSI.
 * @has_msis: it has interrupts of its own as messages, which the ITS sees come from device
 *	@msi_device_id.
 * @rids: the devices behind it.
 * @windows: multiples of 64 KiB that the guest is to map at the same address for these devices:
 *	MSIs of a real ITS go through one; see nst_device_reserved().
 */
struct nst_firmware_smmuv3 {
	uint64_t base;
	enum nst_smmuv3_model model;
	bool coherent;
	uint32_t event_gsiv, pri_gsiv, gerror_gsiv, sync_gsiv;
	bool has_msis;
	uint32_t msi_device_id;
	const struct nst_rid_range *rids;
	size_t num_rids;
	const struct nst_gpa_range *windows;
	size_t num_windows;
};

/** A PCI segment. */
struct nst_iort_root {
	uint32_t segment;
	unsigned int address_bits; /* of a DMA address, 1..64 */
	bool ats;		   /* devices may cache translations */
	bool canwbs;		   /* writes of devices are cacheable and coherent, always */
	const struct nst_firmware_smmuv3 *units;
	size_t num_units;
};

struct nst_iort_params {
	struct nst_acpi_oem oem;
	const uint32_t *its; /* ids of the ITS group, as the MADT has them */
	size_t num_its;
	const struct nst_iort_root *roots;
	size_t num_roots;
};

/**
 * nst_iort_build() - Arm DEN 0049E.e IO Remapping Table, with header and checksum.
 *
 *	root complex  --requester ids of a unit-->  SMMUv3  --stream ids-->  ITS group
 *	      \------------all others----------------------------------------->/
 *
 * *@table is to be freed with free(3).
 * Errors: -EINVAL (no ITS; a base or window that is not aligned or empty; requester ids that
 * are in two ranges, or a range that ends before it begins; more than a length field can
 * hold), -ENOMEM. Threads: any.
 */
NST_MUST_CHECK NST_API int nst_iort_build(const struct nst_iort_params *params, void **table,
					  size_t *size);

/* --- Arm: an SMMUv3 in a device tree -----------------------------------------------------------
 */

/**
 * struct nst_fdt_place - what of the VMM's own device tree a unit's nodes refer to.
 * @bridge: path of the PCI host bridge's node, which is there already. Its msi-map stays as it
 *	is: a unit changes no device ids.
 * @its: phandle of the ITS; only of a unit with @has_msis.
 * @gic: phandle of the GIC; only of a unit with wired interrupts. 0: what the root names as
 *	interrupt-parent.
 * @phandle: that the unit's node gets. 0: the next that is free.
 * @ats: devices of the bridge may cache translations.
 */
struct nst_fdt_place {
	const char *bridge;
	uint32_t its, gic, phandle;
	bool ats;
};

/**
 * nst_fdt_add_smmuv3() - put a unit into a flattened device tree, by the bindings
 * "arm,smmu-v3", "pci-iommu" and "reserved-memory".
 * @fdt: the tree, with room for more as fdt_totalsize() says (fdt_open_into() makes some).
 * @unit: of wired interrupts those that the binding puts before another one must be there too:
 *	event queue, global errors, PRI queue, CMD_SYNC; a single one has no name there. A model
 *	says less than in an IORT: HI161X only that prefetch commands are not understood, not
 *	that MSIs pass untranslated.
 *	With @windows every range is one device on the root bus: a window is a property of its
 *	node, which is made unless it is there.
 * @phandle: gets that of the unit's node; may be NULL.
 *
 * The bridge's iommu-map gets the ranges beside what it has, so there may be several units.
 * Errors leave the tree as it was: -EINVAL (a base, range or window as for an IORT, a wired
 * interrupt that is none of 32..1019, a tree that is damaged or has a bridge, ITS or GIC that
 * is none), -EEXIST (the node, its phandle, a window of another size, or requester ids that the
 * bridge maps already), -ENOENT (no such bridge or phandle), -EOPNOTSUPP (windows of other
 * ranges; a library that was built without libfdt), -ENOSPC (no room), -ENOMEM. Threads: any,
 * one for each tree.
 */
NST_MUST_CHECK NST_API int nst_fdt_add_smmuv3(void *fdt, const struct nst_fdt_place *place,
					      const struct nst_firmware_smmuv3 *unit,
					      uint32_t *phandle);

#ifdef __cplusplus
}
#endif
#endif
