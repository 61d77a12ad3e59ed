// SPDX-License-Identifier: BSD-3-Clause
/* See acpi.h. */
#include "firmware/acpi.h"

#include <string.h>

static void put_name(char *field, size_t size, const char *name)
{
	size_t length = strnlen(name, size);

	memset(field, ' ', size);
	memcpy(field, name, length);
}

void acpi_set_checksum(struct acpi_header *header, size_t size)
{
	const uint8_t *bytes = (const uint8_t *)header;
	uint8_t sum = 0;

	header->checksum = 0;
	for (size_t i = 0; i < size; i++)
		sum += bytes[i];
	header->checksum = (uint8_t)-sum;
}

void acpi_finish(struct acpi_header *header, const char *signature, uint8_t revision,
		 const struct nst_acpi_oem *oem, size_t size)
{
	*header = (struct acpi_header){
		.length = le32_make((uint32_t)size),
		.revision = revision,
		.oem_revision = le32_make(oem->revision),
		.creator_revision = le32_make(1),
	};
	put_name(header->signature, sizeof(header->signature), signature);
	put_name(header->oem_id, sizeof(header->oem_id), oem->id);
	put_name(header->oem_table_id, sizeof(header->oem_table_id), oem->table_id);
	put_name(header->creator_id, sizeof(header->creator_id), "NSTR");
	acpi_set_checksum(header, size);
}
