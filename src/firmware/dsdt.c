// SPDX-License-Identifier: BSD-3-Clause
/* See dsdt.h. AML: ACPI 6.5 s20.2 AML Grammar Definition. */
#include "firmware/dsdt.h"

#include "firmware/acpi.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

enum { AML_METHOD = 0x14, AML_NAME_BYTES = 4, AML_MAX_LENGTH_BYTES = 4 };

/* e5c937d0-3553-4d7a-9117-ea4d19c3434d, as it is in memory: the functions of PCI host bridges. */
static const uint8_t bridge_uuid[] = { 0xd0, 0x37, 0xc9, 0xe5, 0x53, 0x35, 0x7a, 0x4d,
				       0x91, 0x17, 0xea, 0x4d, 0x19, 0xc3, 0x43, 0x4d };
static const uint8_t returns_buffer[] = { 0xa4, 0x11, 0x03, 0x01, 0x00 };
static const uint8_t returns_zero[] = { 0xa4, 0x00, 0xa3, 0xa3, 0xa3 };
_Static_assert(sizeof(returns_buffer) == sizeof(returns_zero), "nothing may move");

/*
 * The bytes of a package from its length on, the length being in @bytes bytes at @at: 0 if it is
 * not. Two bits of the first byte say how many bytes follow it.
 */
static size_t package_length(const uint8_t *at, unsigned int bytes)
{
	size_t length = bytes > 1 ? at[0] & 0x0f : at[0] & 0x3f;

	if (at[0] >> 6 != bytes - 1 || (bytes > 1 && (at[0] & 0x30)))
		return 0;
	for (unsigned int i = 1; i < bytes; i++)
		length |= (size_t)at[i] << (8 * i - 4);
	return length;
}

/* Where the method ends whose name is at @name: NULL if no method is there. */
static uint8_t *method_end(uint8_t *start, uint8_t *name, uint8_t *end)
{
	for (unsigned int bytes = 1; bytes <= AML_MAX_LENGTH_BYTES; bytes++) {
		uint8_t *at = name - bytes;
		size_t length;

		if (at - start < 1 || at[-1] != AML_METHOD)
			continue;
		length = package_length(at, bytes);
		if (length > bytes + AML_NAME_BYTES && length <= (size_t)(end - at))
			return at + length;
	}
	return NULL;
}

/* The last statement of the method, if it is a host bridge's and that is what it ends in. */
static uint8_t *last_return(uint8_t *name, uint8_t *method_end)
{
	uint8_t *last = method_end - sizeof(returns_buffer);
	uint8_t *uuid = memmem(name, (size_t)(method_end - name), bridge_uuid, sizeof(bridge_uuid));

	if (!uuid || last < uuid + sizeof(bridge_uuid) ||
	    memcmp(last, returns_buffer, sizeof(returns_buffer)))
		return NULL;
	return last;
}

int dsdt_keep_boot_configuration(void *table, size_t size)
{
	struct acpi_header *header = table;
	uint8_t *start = table, *end = start + size, *at = start + sizeof(*header);
	bool found = false;

	if (size < sizeof(*header) || memcmp(header->signature, "DSDT", 4) ||
	    le32_get(header->length) != size)
		return -EINVAL;
	while ((at = memmem(at, (size_t)(end - at), "_DSM", AML_NAME_BYTES))) {
		uint8_t *stop = method_end(start + sizeof(*header), at, end);
		uint8_t *last = stop ? last_return(at, stop) : NULL;

		if (last) {
			memcpy(last, returns_zero, sizeof(returns_zero));
			found = true;
		}
		at += AML_NAME_BYTES;
	}
	if (!found)
		return -ENOENT;
	header->oem_revision = le32_make(le32_get(header->oem_revision) + 1);
	acpi_set_checksum(header, size);
	return 0;
}
