// SPDX-License-Identifier: BSD-3-Clause
/* The DMAR table against a literal, against its limits, and read back by ACPICA's iasl. */
#include "test.h"

#include "base/alloc.h"
#include "base/bits.h"
#include "base/endian.h"
#include "firmware/dmar.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct dmar_scope scopes[] = { { 0, 4, 0, false }, { 0xfe, 31, 7, true } };
static const struct dmar_unit units[] = {
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
	const struct dmar_params params = { 48, units, 2 };
	void *table;
	size_t size;

	assert_int_equal(dmar_build(&params, &table, &size), 0);
	assert_int_equal(size, sizeof(two_units));
	assert_memory_equal(table, two_units, size);
	free(table);
}

static void every_table_sums_to_zero(void **state)
{
	struct dmar_scope many[300];
	uint64_t seed = 9;

	for (int i = 0; i < 200; i++) {
		struct dmar_unit unit = { .scopes = many, .num_scopes = test_random(&seed) % 300 };
		const struct dmar_params params = { 1 + (unsigned int)i % 64, &unit, 1 };
		uint8_t *table, sum = 0;
		void *got;
		size_t size;

		for (size_t n = 0; n < unit.num_scopes; n++)
			many[n] = (struct dmar_scope){
				.bus = (uint8_t)test_random(&seed), .device = i % 32,
				.function = n % 8, .bridge = n % 3 == 0,
			};
		unit.base = test_random(&seed) & -4096ULL;
		unit.segment = (uint16_t)test_random(&seed);
		assert_int_equal(dmar_build(&params, &got, &size), 0);
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
	static struct dmar_scope many[MOST];
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
		struct dmar_unit unit = { rows[i].base, 0, many, rows[i].num_scopes };
		const struct dmar_params params = { rows[i].width, &unit, 1 };
		void *table = NULL;
		size_t size = 77;

		assert_int_equal(dmar_build(&params, &table, &size), rows[i].ret);
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
	const struct dmar_params params = { 48, NULL, 0 };
	void *table = NULL;
	size_t size;

	alloc_fail_nth(1);
	assert_int_equal(dmar_build(&params, &table, &size), -ENOMEM);
	assert_null(table);
	assert_int_equal(dmar_build(&params, &table, &size), 0);
	assert_int_equal(size, 48);
	free(table);
}

/* Run iasl, quietly: its exit status. -ENOENT if there is none. */
static int run_iasl(char *option, char *file)
{
	char name[] = "iasl", *argv[] = { name, option, file, NULL };
	posix_spawn_file_actions_t quiet;
	extern char **environ;
	int ret, status;
	pid_t pid;

	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&quiet, 2, "/dev/null", O_WRONLY, 0);
	ret = posix_spawnp(&pid, argv[0], &quiet, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&quiet);
	if (ret)
		return -ret;
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -ECHILD;
	return WEXITSTATUS(status) == 127 ? -ENOENT : WEXITSTATUS(status);
}

static size_t read_text(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "r");
	size_t n = file ? fread(text, 1, size - 1, file) : 0;

	text[n] = 0;
	if (file)
		fclose(file);
	return n;
}

/* The value iasl prints after @label at or after *@at: "[...] Label : value". */
static void expect_field(const char **at, const char *label, const char *value)
{
	const char *found = strstr(*at, label);

	assert_non_null(found);
	found = strstr(found, " : ");
	assert_non_null(found);
	*at = found + 3;
	assert_int_equal(strncmp(*at, value, strlen(value)), 0);
}

static void iasl_reads_it_back(void **state)
{
	const struct dmar_params params = { 48, units, 2 };
	char option[] = "-d", dir[] = "/tmp/nestor-dmar-XXXXXX", aml[64], dsl[64], text[16384];
	const char *at = text;
	size_t size, length;
	void *table;
	int fd, ret;

	assert_int_equal(dmar_build(&params, &table, &size), 0);
	assert_non_null(mkdtemp(dir));
	snprintf(aml, sizeof(aml), "%s/dmar.dat", dir);
	snprintf(dsl, sizeof(dsl), "%s/dmar.dsl", dir);
	fd = open(aml, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, table, size), size);
	close(fd);
	free(table);
	ret = run_iasl(option, aml);
	length = read_text(dsl, text, sizeof(text));
	unlink(aml);
	unlink(dsl);
	rmdir(dir);
	assert_int_equal(ret, 0);
	assert_true(length > 0);
	assert_null(strstr(text, "Incorrect checksum"));
	assert_null(strstr(text, "nvalid"));
	expect_field(&at, "Signature", "\"DMAR\"");
	expect_field(&at, "Table Length", "00000060");
	expect_field(&at, "Host Address Width", "2F");
	expect_field(&at, "Subtable Type", "0000 [Hardware Unit Definition]");
	expect_field(&at, "Flags", "00");
	expect_field(&at, "Register Base Address", "00000000FEBD5000");
	expect_field(&at, "Device Scope Type", "01 [PCI Endpoint Device]");
	expect_field(&at, "PCI Bus Number", "00");
	expect_field(&at, "PCI Path", "04,00");
	expect_field(&at, "Device Scope Type", "02 [PCI Bridge Device]");
	expect_field(&at, "PCI Bus Number", "FE");
	expect_field(&at, "PCI Path", "1F,07");
	expect_field(&at, "Subtable Type", "0000 [Hardware Unit Definition]");
	expect_field(&at, "PCI Segment Number", "2A01");
	expect_field(&at, "Register Base Address", "0000123456789000");
	assert_null(strstr(at, "Device Scope Type"));
}

static void skipped(void **state)
{
}

int main(void)
{
	char option[] = "-v";
	/* cmocka's own skip() says "not ok"; TAP has the directive in the name */
	const struct CMUnitTest no_iasl = {
		"iasl_reads_it_back # SKIP iasl is not installed", skipped, NULL, NULL, NULL,
	};
	const struct CMUnitTest with_iasl = cmocka_unit_test(iasl_reads_it_back);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exact_bytes),
		cmocka_unit_test(every_table_sums_to_zero),
		cmocka_unit_test(limits),
		cmocka_unit_test(no_units_and_no_memory),
		run_iasl(option, NULL) == -ENOENT ? no_iasl : with_iasl,
	};

	return cmocka_run_group_tests_name("dmar", tests, NULL, NULL);
}
