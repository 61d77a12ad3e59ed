// SPDX-License-Identifier: BSD-3-Clause
/* The DMAR table against a literal, against its limits, and read back by ACPICA's iasl. */
#include "test.h"

#include "base/alloc.h"
#include "base/bits.h"
#include "base/endian.h"
#include "iasl.h"

#include <nestor/firmware.h>

#include <errno.h>
#include <string.h>

static const struct nst_dmar_scope scopes[] = { { 0, 4, 0, false }, { 0xfe, 31, 7, true } };
static const struct nst_dmar_unit units[] = {
	{ .base = 0xfebd5000, .scopes = scopes, .num_scopes = 2 },
	{ .base = 0x123456789000, .segment = 0x2a01 },
};

/* ACPI 6.5 s5.2.6, VT-d 4.1 s8.1, s8.3 and s8.3.1, written out by hand. */
static const uint8_t two_units[] = {
	'D', 'M', 'A', 'R', 0x60, 0, 0, 0, 1, 0x78, 'N', 'E', 'S', 'T', 'O', 'R',
	'N', 'S', 'T', 'R', 'D', 'M', 'A', 'R', 1, 0, 0, 0, 'N', 'S', 'T', 'R', 1, 0, 0, 0,
	0x2f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,			/* 48 bits, no flags */
	0, 0, 0x20, 0, 0, 0, 0, 0, 0x00, 0x50, 0xbd, 0xfe, 0, 0, 0, 0,
	1, 8, 0, 0, 0, 0x00, 4, 0,
	2, 8, 0, 0, 0, 0xfe, 31, 7,				/* what is behind a bridge */
	0, 0, 0x10, 0, 0, 0, 0x01, 0x2a, 0x00, 0x90, 0x78, 0x56, 0x34, 0x12, 0, 0,
};

static void exact_bytes(void **state)
{
	const struct nst_dmar_params params = { 48, units, 2 };
	void *table;
	size_t size;

	assert_int_equal(nst_dmar_build(&params, &table, &size), 0);
	assert_int_equal(size, sizeof(two_units));
	assert_memory_equal(table, two_units, size);
	free(table);
}

static void every_table_sums_to_zero(void **state)
{
	struct nst_dmar_scope many[300];
	uint64_t seed = 9;

	for (int i = 0; i < 200; i++) {
		struct nst_dmar_unit unit = { .scopes = many, .num_scopes = test_random(&seed) % 300 };
		const struct nst_dmar_params params = { 1 + (unsigned int)i % 64, &unit, 1 };
		uint8_t *table, sum = 0;
		void *got;
		size_t size;

		for (size_t n = 0; n < unit.num_scopes; n++)
			many[n] = (struct nst_dmar_scope){
				.bus = (uint8_t)test_random(&seed), .device = i % 32,
				.function = n % 8, .bridge = n % 3 == 0,
			};
		unit.base = test_random(&seed) & -4096ULL;
		unit.segment = (uint16_t)test_random(&seed);
		assert_int_equal(nst_dmar_build(&params, &got, &size), 0);
		table = got;
		for (size_t n = 0; n < size; n++)
			sum += table[n];
		assert_int_equal(sum, 0);
		assert_int_equal(le_load(&table[4], 4), size);
		assert_int_equal(table[36], params.address_width - 1);
		assert_int_equal(le_load(&table[48 + 2], 2), size - 48);
		assert_int_equal(le_load(&table[48 + 8], 8), unit.base);
		free(got);
	}
}

static void limits(void **state)
{
	enum { MOST = (65535 - 16) / 8 };	/* what a 16-bit length can hold */
	static struct nst_dmar_scope many[MOST];
	static const struct {
		uint64_t base;
		size_t num_scopes;
		unsigned int width;
		int ret;
	} rows[] = {
		{ 0x1000, 1, 1, 0 },
		{ 0x1000, 1, 64, 0 },
		{ 0, 0, 39, 0 },
		{ 0x1000, 1, 0, -EINVAL },
		{ 0x1000, 1, 65, -EINVAL },
		{ 0x1800, 1, 48, -EINVAL },
		{ 0x1001, 1, 48, -EINVAL },
		{ 0x1000, MOST, 48, 0 },
		{ 0x1000, MOST + 1, 48, -EINVAL },
		/* sizes that would wrap round to something small */
		{ 0x1000, SIZE_MAX / 8 + 1, 48, -EINVAL }, { 0x1000, SIZE_MAX, 48, -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct nst_dmar_unit unit = { rows[i].base, 0, many, rows[i].num_scopes };
		const struct nst_dmar_params params = { rows[i].width, &unit, 1 };
		void *table = NULL;
		size_t size = 77;

		assert_int_equal(nst_dmar_build(&params, &table, &size), rows[i].ret);
		if (rows[i].ret) {
			assert_null(table);
			assert_int_equal(size, 77);
		} else {
			assert_int_equal(size, 48 + 16 + 8 * rows[i].num_scopes);
		}
		free(table);
	}
}

static void no_units_and_no_memory(void **state)
{
	const struct nst_dmar_params params = { 48, NULL, 0 };
	void *table = NULL;
	size_t size;

	alloc_fail_nth(1);
	assert_int_equal(nst_dmar_build(&params, &table, &size), -ENOMEM);
	assert_null(table);
	assert_int_equal(nst_dmar_build(&params, &table, &size), 0);
	assert_int_equal(size, 48);
	free(table);
}

static void iasl_reads_it_back(void **state)
{
	const struct nst_dmar_params params = { 48, units, 2 };
	char text[16384];
	const char *at = text;
	size_t size;
	void *table;

	assert_int_equal(nst_dmar_build(&params, &table, &size), 0);
	iasl_disassemble(table, size, text, sizeof(text));
	free(table);
	iasl_expect(&at, "Signature", "\"DMAR\"");
	iasl_expect(&at, "Table Length", "00000060");
	iasl_expect(&at, "Host Address Width", "2F");
	iasl_expect(&at, "Subtable Type", "0000 [Hardware Unit Definition]");
	iasl_expect(&at, "Flags", "00");
	iasl_expect(&at, "Register Base Address", "00000000FEBD5000");
	iasl_expect(&at, "Device Scope Type", "01 [PCI Endpoint Device]");
	iasl_expect(&at, "PCI Bus Number", "00");
	iasl_expect(&at, "PCI Path", "04,00");
	iasl_expect(&at, "Device Scope Type", "02 [PCI Bridge Device]");
	iasl_expect(&at, "PCI Bus Number", "FE");
	iasl_expect(&at, "PCI Path", "1F,07");
	iasl_expect(&at, "Subtable Type", "0000 [Hardware Unit Definition]");
	iasl_expect(&at, "PCI Segment Number", "2A01");
	iasl_expect(&at, "Register Base Address", "0000123456789000");
	assert_null(strstr(at, "Device Scope Type"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exact_bytes),
		cmocka_unit_test(every_table_sums_to_zero),
		cmocka_unit_test(limits),
		cmocka_unit_test(no_units_and_no_memory),
		IASL_TEST(iasl_reads_it_back),
	};

	return cmocka_run_group_tests_name("dmar", tests, NULL, NULL);
}
