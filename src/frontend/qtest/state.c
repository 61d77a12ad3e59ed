// SPDX-License-Identifier: BSD-3-Clause
/*
 * The whole machine as one stream of bytes, for a machine like it in another process.
 *
 * All numbers are little-endian. A header of 32 bytes: "NSTR_QTM", version (4), functions (4),
 * bytes that follow (8), FNV-1a of the header before that word and of what follows (8). Then:
 *
 *	size of memory (8), port 0xcf8 (4), the interrupt log (4096)
 *	of each function: passed through? (1), header of configuration space (64), BAR 0 (9 x 4)
 *	the unit: bytes (8), what nst_viommu_save() gave
 *	memory: pages that are not all zeros (8), of each its number (8) and contents (4096)
 *
 * Functions are taken from their registers and put back by writing those, as docs/state.md asks
 * of a VMM after the unit's restore; so this is for testdev, whose doorbell is the one register
 * that cannot be read: it counts as rung while RESULT says so.
 */
#include "frontend/qtest/machine_state.h"

#include "base/alloc.h"
#include "base/bits.h"
#include "base/endian.h"
#include "base/fnv.h"
#include "base/log.h"
#include "endpoint/testdev.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#define MAGIC 0x4d54515f5254534eULL /* "NSTR_QTM", the first letter in the lowest byte */
enum { VERSION = 1, HEADER_BYTES = 32, CONFIG_BYTES = 64, BAR_WORDS = 9, FIXED_BYTES = 8 + 4 };
enum { FUNCTION_BYTES = 1 + CONFIG_BYTES + 4 * BAR_WORDS, PAGE_BYTES = 8 + PAGE_SIZE_4K };

static bool is_zero(const uint8_t *page)
{
	return !page[0] && !memcmp(page, page + 1, PAGE_SIZE_4K - 1);
}

static uint64_t sum_of(const uint8_t *stream, size_t size)
{
	uint64_t sum = fnv1a(FNV1A_START, stream, HEADER_BYTES - 8);

	return fnv1a(sum, stream + HEADER_BYTES, size - HEADER_BYTES);
}

/* --- saving ------------------------------------------------------------------------------- */

static uint8_t *put(uint8_t *at, unsigned int size, uint64_t value)
{
	le_store(at, size, value);
	return at + size;
}

static uint8_t *put_bytes(uint8_t *at, const void *bytes, size_t size)
{
	memcpy(at, bytes, size);
	return at + size;
}

static uint8_t *put_function(uint8_t *at, struct qtest_function *f)
{
	at = put(at, 1, !f->ep);
	for (unsigned int i = 0; i < CONFIG_BYTES; i += 4)
		at = put(at, 4, function_config_read(f, i, 4));
	at = put(at, 4, 0); /* reading TRIGGERING would do DMA */
	for (unsigned int i = 1; i < BAR_WORDS; i++)
		at = put(at, 4, function_bar_read(f, 0, 4 * i, 4));
	return at;
}

static uint8_t *put_memory(uint8_t *at, const struct machine_parts *m, uint64_t count)
{
	at = put(at, 8, count);
	for (uint64_t i = 0; i < m->memory_size / PAGE_SIZE_4K; i++) {
		const uint8_t *page = m->memory + i * PAGE_SIZE_4K;

		if (is_zero(page))
			continue;
		at = put(at, 8, i);
		at = put_bytes(at, page, PAGE_SIZE_4K);
	}
	return at;
}

static uint64_t count_pages(const struct machine_parts *m)
{
	uint64_t count = 0;

	for (uint64_t i = 0; i < m->memory_size / PAGE_SIZE_4K; i++)
		count += !is_zero(m->memory + i * PAGE_SIZE_4K);
	return count;
}

int machine_parts_save(const struct machine_parts *m, void **data, size_t *size)
{
	uint64_t pages = count_pages(m);
	size_t unit_size, total;
	uint8_t *stream, *at;
	void *unit;
	int ret = nst_viommu_save(m->viommu, &unit, &unit_size);

	if (ret)
		return ret;
	total = HEADER_BYTES + FIXED_BYTES + PAGE_SIZE_4K + m->num_functions * FUNCTION_BYTES + 8 +
		unit_size + 8 + pages * PAGE_BYTES;
	stream = alloc_array(1, total);
	if (!stream) {
		free(unit);
		return -ENOMEM;
	}
	at = put(stream + HEADER_BYTES, 8, m->memory_size);
	at = put(at, 4, *m->config_address);
	at = put_bytes(at, m->interrupts, PAGE_SIZE_4K);
	for (unsigned int i = 0; i < m->num_functions; i++)
		at = put_function(at, &m->functions[i]);
	at = put(at, 8, unit_size);
	at = put_bytes(at, unit, unit_size);
	put_memory(at, m, pages);
	free(unit);
	put(stream, 8, MAGIC);
	put(stream + 8, 4, VERSION);
	put(stream + 12, 4, m->num_functions);
	put(stream + 16, 8, total - HEADER_BYTES);
	put(stream + 24, 8, sum_of(stream, total));
	*data = stream;
	*size = total;
	return 0;
}

/* --- restoring ---------------------------------------------------------------------------- */

struct input {
	const uint8_t *at;
	size_t left;
};

/* The next @size bytes, or NULL. */
static const uint8_t *take(struct input *in, uint64_t size)
{
	const uint8_t *at = in->at;

	if (size > in->left)
		return NULL;
	in->at += size;
	in->left -= size;
	return at;
}

static uint64_t take_number(struct input *in, unsigned int size, bool *bad)
{
	const uint8_t *at = take(in, size);

	*bad |= !at;
	return at ? le_load(at, size) : 0;
}

/* Where everything stands in a stream that has been checked. */
struct contents {
	const uint8_t *fixed, *functions, *unit, *pages;
	uint64_t unit_size, num_pages;
};

static bool pages_fit(const struct machine_parts *m, const struct contents *c)
{
	uint64_t next = 0;

	for (uint64_t i = 0; i < c->num_pages; i++) {
		uint64_t page = le_load(c->pages + i * PAGE_BYTES, 8);

		if (page < next || page >= m->memory_size / PAGE_SIZE_4K)
			return false;
		next = page + 1;
	}
	return true;
}

static bool functions_fit(const struct machine_parts *m, const struct contents *c)
{
	for (unsigned int i = 0; i < m->num_functions; i++) {
		const uint8_t *f = c->functions + i * FUNCTION_BYTES;

		if (f[0] != !m->functions[i].ep ||
		    le_load(f + 1, 4) != function_config_read(&m->functions[i], 0, 4))
			return false;
	}
	return true;
}

static int decode(const struct machine_parts *m, const uint8_t *stream, size_t size,
		  struct contents *c)
{
	struct input in = { stream + HEADER_BYTES, size - HEADER_BYTES };
	bool bad = false;

	if (size < HEADER_BYTES || le_load(stream, 8) != MAGIC)
		return -EINVAL;
	if (le_load(stream + 8, 4) != VERSION)
		return -EPROTONOSUPPORT;
	if (le_load(stream + 16, 8) != size - HEADER_BYTES ||
	    le_load(stream + 24, 8) != sum_of(stream, size))
		return -EINVAL;
	if (le_load(stream + 12, 4) != m->num_functions)
		return -EOPNOTSUPP;
	c->fixed = take(&in, FIXED_BYTES + PAGE_SIZE_4K);
	c->functions = take(&in, m->num_functions * FUNCTION_BYTES);
	c->unit_size = take_number(&in, 8, &bad);
	c->unit = take(&in, c->unit_size);
	c->num_pages = take_number(&in, 8, &bad);
	if (bad || !c->fixed || !c->functions || !c->unit || in.left % PAGE_BYTES ||
	    c->num_pages != in.left / PAGE_BYTES)
		return -EINVAL;
	c->pages = in.at;
	if (le_load(c->fixed, 8) != m->memory_size || !functions_fit(m, c))
		return -EOPNOTSUPP;
	return pages_fit(m, c) ? 0 : -EINVAL;
}

static void restore_memory(const struct machine_parts *m, const struct contents *c)
{
	/* what is zero already stays the system's page of zeros */
	for (uint64_t i = 0; i < m->memory_size / PAGE_SIZE_4K; i++)
		if (!is_zero(m->memory + i * PAGE_SIZE_4K))
			memset(m->memory + i * PAGE_SIZE_4K, 0, PAGE_SIZE_4K);
	for (uint64_t i = 0; i < c->num_pages; i++) {
		const uint8_t *page = c->pages + i * PAGE_BYTES;

		memcpy(m->memory + le_load(page, 8) * PAGE_SIZE_4K, page + 8, PAGE_SIZE_4K);
	}
}

/* Registers of the header that software may write; COMMAND last, so that BARs do not move. */
static void restore_function(struct qtest_function *f, const uint8_t *from)
{
	const uint8_t *config = from + 1, *bar = from + 1 + CONFIG_BYTES;
	uint32_t result = (uint32_t)le_load(bar + ITD_REG_DMA_RESULT, 4);

	for (unsigned int i = PCI_BASE_ADDRESS_0; i <= PCI_BASE_ADDRESS_5; i += 4)
		function_config_write(f, i, 4, le_load(config + i, 4));
	function_config_write(f, PCI_CACHE_LINE_SIZE, 1, config[PCI_CACHE_LINE_SIZE]);
	function_config_write(f, PCI_INTERRUPT_LINE, 1, config[PCI_INTERRUPT_LINE]);
	function_config_write(f, PCI_COMMAND, 2, le_load(config + PCI_COMMAND, 2));
	for (unsigned int i = 4; i < 4 * BAR_WORDS; i += 4)
		if (i != ITD_REG_DMA_DBELL && i != ITD_REG_DMA_RESULT)
			function_bar_write(f, 0, i, 4, le_load(bar + i, 4));
	if (result == ITD_DMA_RESULT_BUSY)
		function_bar_write(f, 0, ITD_REG_DMA_DBELL, 4, ITD_DMA_DBELL_ARM);
	else
		function_bar_write(f, 0, ITD_REG_DMA_RESULT, 4, result);
}

int machine_parts_restore(const struct machine_parts *m, const void *data, size_t size)
{
	struct contents c;
	int ret = decode(m, data, size, &c);

	if (ret)
		return ret;
	restore_memory(m, &c);
	ret = nst_viommu_restore(m->viommu, c.unit, c.unit_size);
	if (ret)
		return ret;
	*m->config_address = (uint32_t)le_load(c.fixed + 8, 4);
	memcpy(m->interrupts, c.fixed + FIXED_BYTES, PAGE_SIZE_4K);
	for (unsigned int i = 0; i < m->num_functions; i++)
		restore_function(&m->functions[i], c.functions + i * FUNCTION_BYTES);
	return 0;
}
