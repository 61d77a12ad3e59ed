// SPDX-License-Identifier: BSD-3-Clause
/*
 * The change to a DSDT that comes from a machine's memory. Input: its AML. Whatever that is, all that
 * changes is five bytes for five others, at places where those were, and the header; and a second
 * time there is nothing to do. ASan guards the end of the table.
 */
#include "firmware/acpi.h"
#include "firmware/dsdt.h"

#include <nestor/firmware.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t was[] = { 0xa4, 0x11, 0x03, 0x01, 0x00 }, is[] = { 0xa4, 0x00, 0xa3, 0xa3, 0xa3 };

static size_t count_changes(const uint8_t *before, const uint8_t *after, size_t size)
{
	size_t changes = 0;

	for (size_t i = 0; i < size; i++) {
		size_t at = i - 1;	/* the first byte stays */

		if (before[i] == after[i])
			continue;
		assert(i >= 1 && at + sizeof(was) <= size);
		assert(!memcmp(before + at, was, sizeof(was)) && !memcmp(after + at, is, sizeof(is)));
		changes++;
		i = at + sizeof(was) - 1;
	}
	return changes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct nst_acpi_oem oem = { .id = "BOCHS", .table_id = "BXPC", .revision = 1 };
	struct acpi_header *table = malloc(sizeof(*table) + size);
	const uint8_t *aml = (const uint8_t *)(table + 1);
	uint8_t sum = 0;
	int ret;

	assert(table);
	if (size)
		memcpy(table + 1, data, size);
	acpi_finish(table, "DSDT", 2, &oem, sizeof(*table) + size);
	ret = dsdt_keep_boot_configuration(table, sizeof(*table) + size);
	assert(ret == 0 || ret == -ENOENT);
	assert(!ret == (count_changes(data, aml, size) > 0));
	assert(le32_get(table->oem_revision) == (ret ? 1 : 2));
	for (size_t i = 0; i < sizeof(*table) + size; i++)
		sum += ((const uint8_t *)table)[i];
	assert(!sum);
	assert(dsdt_keep_boot_configuration(table, sizeof(*table) + size) == -ENOENT);
	free(table);
	return 0;
}
