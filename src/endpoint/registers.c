// SPDX-License-Identifier: BSD-3-Clause
/* See registers.h. Of an entry's 16 bytes all are writable but the reserved bits: 2 below
 * the address and 31 beside the mask. */
#include "endpoint/registers.h"

#include <string.h>

#define MSIX_CONTROL 12 /* offset in an entry */
#define MSIX_MASKED 1

void msix_table_reset(uint8_t *table, unsigned int vectors)
{
	memset(table, 0, (size_t)vectors * MSIX_ENTRY_SIZE);
	for (unsigned int i = 0; i < vectors; i++)
		table[i * MSIX_ENTRY_SIZE + MSIX_CONTROL] = MSIX_MASKED;
}

static uint8_t writable_bits(uint64_t at)
{
	if (at % MSIX_ENTRY_SIZE == 0)
		return 0xfc;
	if (at % MSIX_ENTRY_SIZE < MSIX_CONTROL)
		return 0xff;
	return at % MSIX_ENTRY_SIZE == MSIX_CONTROL ? MSIX_MASKED : 0;
}

void msix_table_write(uint8_t *table, unsigned int vectors, uint64_t at, unsigned int size,
		      uint64_t value)
{
	uint64_t end = (uint64_t)vectors * MSIX_ENTRY_SIZE;

	for (; size && at < end; size--, at++, value >>= 8) {
		uint8_t writable = writable_bits(at);

		table[at] = (uint8_t)((table[at] & ~writable) | (value & writable));
	}
}
