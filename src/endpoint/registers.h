/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the register files of all models need: 64-bit registers that are written as two
 * words, and the MSI-X table. The table is memory here: whoever emulates the interrupts
 * keeps its meaning (PCIe 6.0 s7.7.2, MSI-X Capability and Table Structure).
 */
#ifndef ENDPOINT_REGISTERS_H
#define ENDPOINT_REGISTERS_H

#include <stdbool.h>
#include <stdint.h>

#define MSIX_ENTRY_SIZE 16

/* Write one word of a 64-bit register; bits outside @writable become 0. */
static inline void register_set_half(uint64_t *reg, bool high, uint32_t value, uint64_t writable)
{
	uint64_t keep = high ? UINT32_MAX : ~(uint64_t)UINT32_MAX;

	*reg = ((*reg & keep) | (uint64_t)value << (high ? 32 : 0)) & writable;
}

/* Power-on: all entries zero and masked. */
void msix_table_reset(uint8_t *table, unsigned int vectors);

/* Software writes @size bytes at @at of the table; what lies behind its end is ignored. */
void msix_table_write(uint8_t *table, unsigned int vectors, uint64_t at, unsigned int size,
		      uint64_t value);

#endif
