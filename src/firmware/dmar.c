// SPDX-License-Identifier: BSD-3-Clause
/*
 * The table of VT-d 4.1 s8.1 DMA Remapping Reporting Structure: sizes first, then every structure
 * is written once, front to back.
 */
#include "base/alloc.h"
#include "base/bits.h"
#include "base/endian.h"
#include "firmware/acpi.h"

#include <errno.h>
#include <string.h>

struct dmar_header { /* s8.1 */
	struct acpi_header acpi;
	uint8_t address_width_minus_1, flags, reserved[10];
};
_Static_assert(sizeof(struct dmar_header) == 48, "DMAR header");

struct drhd { /* s8.3 DMA Remapping Hardware Unit Definition */
	le16 type, length;
	uint8_t flags, size;
	le16 segment;
	uint8_t base[8]; /* an le64 that need not be aligned */
};
_Static_assert(sizeof(struct drhd) == 16, "DRHD");

struct scope { /* s8.3.1 Device Scope, with a path of one step */
	uint8_t type, length;
	le16 reserved;
	uint8_t enumeration_id, start_bus, device, function;
};
_Static_assert(sizeof(struct scope) == 8, "device scope");

enum { DMAR_REVISION = 1, DRHD_TYPE = 0, SCOPE_PCI_ENDPOINT = 1, SCOPE_PCI_BRIDGE = 2 };
/* what the 16-bit length of a DRHD can hold */
enum { MAX_SCOPES = (UINT16_MAX - sizeof(struct drhd)) / sizeof(struct scope) };

static size_t unit_size(const struct nst_dmar_unit *unit)
{
	return sizeof(struct drhd) + unit->num_scopes * sizeof(struct scope);
}

static uint8_t *put_unit(uint8_t *at, const struct nst_dmar_unit *unit)
{
	struct drhd drhd = {
		.type = le16_make(DRHD_TYPE),
		.length = le16_make((uint16_t)unit_size(unit)),
		.segment = le16_make(unit->segment),
	};

	le_store(drhd.base, sizeof(drhd.base), unit->base);
	memcpy(at, &drhd, sizeof(drhd));
	at += sizeof(drhd);
	for (size_t i = 0; i < unit->num_scopes; i++) {
		const struct nst_dmar_scope *s = &unit->scopes[i];
		struct scope scope = {
			.type = s->bridge ? SCOPE_PCI_BRIDGE : SCOPE_PCI_ENDPOINT,
			.length = sizeof(scope),
			.start_bus = s->bus,
			.device = s->device,
			.function = s->function,
		};

		memcpy(at, &scope, sizeof(scope));
		at += sizeof(scope);
	}
	return at;
}

static const struct nst_acpi_oem oem = { .id = "NESTOR", .table_id = "NSTRDMAR", .revision = 1 };

int nst_dmar_build(const struct nst_dmar_params *params, void **table, size_t *size)
{
	size_t total = sizeof(struct dmar_header);
	struct dmar_header *header;
	uint8_t *at;

	if (params->address_width < 1 || params->address_width > 64)
		return -EINVAL;
	for (size_t i = 0; i < params->num_units; i++) {
		const struct nst_dmar_unit *unit = &params->units[i];

		if (!IS_ALIGNED(unit->base, PAGE_SIZE_4K) || unit->num_scopes > MAX_SCOPES)
			return -EINVAL;
		total += unit_size(unit);
	}
	header = alloc_array(1, total);
	if (!header)
		return -ENOMEM;
	*header = (struct dmar_header){
		.address_width_minus_1 = (uint8_t)(params->address_width - 1),
	};
	at = (uint8_t *)(header + 1);
	for (size_t i = 0; i < params->num_units; i++)
		at = put_unit(at, &params->units[i]);
	acpi_finish(&header->acpi, "DMAR", DMAR_REVISION, &oem, total);
	*table = header;
	*size = total;
	return 0;
}
