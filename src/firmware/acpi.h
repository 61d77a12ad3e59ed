/* SPDX-License-Identifier: BSD-3-Clause */
/* What every ACPI table begins with: ACPI 6.5 s5.2.6 System Description Table Header. */
#ifndef FIRMWARE_ACPI_H
#define FIRMWARE_ACPI_H

#include "base/endian.h"

#include <nestor/firmware.h>

struct acpi_header {
	char signature[4];
	le32 length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	le32 oem_revision;
	char creator_id[4];
	le32 creator_revision;
};
_Static_assert(sizeof(struct acpi_header) == 36, "ACPI table header");

/* Fill the header of the finished table of @size bytes that it begins. */
void acpi_finish(struct acpi_header *header, const char *signature, uint8_t revision,
		 const struct nst_acpi_oem *oem, size_t size);

/* All bytes of a table add up to 0. */
void acpi_set_checksum(struct acpi_header *header, size_t size);

#endif
