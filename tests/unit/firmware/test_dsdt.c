// SPDX-License-Identifier: BSD-3-Clause
/*
 * The change to QEMU's DSDT: on the very bytes that QEMU 11.1 makes of its host bridge's method, read
 * back by ACPICA's iasl; and what must be left alone.
 */
#include "test.h"

#include "base/bits.h"
#include "firmware/acpi.h"
#include "firmware/dsdt.h"
#include "iasl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Method (_DSM, 4) { If (Arg0 == ToUUID (...)) { If (Arg2 == 0) { Return (Buffer (One) {0}) } }
 * Return (Buffer (One) {0}) }
 */
#define METHOD 0x14, 0x2d, '_', 'D', 'S', 'M', 0x04
#define IF_UUID 0xa0, 0x21, 0x93, 0x68, 0x11, 0x13, 0x0a, 0x10
#define UUID 0xd0, 0x37, 0xc9, 0xe5, 0x53, 0x35, 0x7a, 0x4d, 0x91, 0x17, 0xea, 0x4d, 0x19, 0xc3, \
		0x43, 0x4d
#define OTHER_UUID 0xd1, 0x37, 0xc9, 0xe5, 0x53, 0x35, 0x7a, 0x4d, 0x91, 0x17, 0xea, 0x4d, 0x19, \
		0xc3, 0x43, 0x4d
#define IF_ZERO 0xa0, 0x09, 0x93, 0x6a, 0x00
#define RETURN_BUFFER 0xa4, 0x11, 0x03, 0x01, 0x00
#define RETURN_ZERO 0xa4, 0x00, 0xa3, 0xa3, 0xa3
#define QEMUS METHOD, IF_UUID, UUID, IF_ZERO, RETURN_BUFFER, RETURN_BUFFER
#define CHANGED METHOD, IF_UUID, UUID, IF_ZERO, RETURN_BUFFER, RETURN_ZERO

/* Scope (\_SB) { Device (PCI0) { ... } Device (PCI1) { ... } }; each device is 53 bytes. */
#define DEVICE(digit, ...) 0x5b, 0x82, 0x33, 'P', 'C', 'I', digit, __VA_ARGS__
#define TWO_BRIDGES(first, second) 0x10, 0x40, 0x07, '\\', '_', 'S', 'B', '_', first, second

struct dsdt {
	struct acpi_header header;
	uint8_t aml[256];
};

static size_t make(struct dsdt *t, const uint8_t *aml, size_t size)
{
	const struct nst_acpi_oem oem = { "BOCHS ", "BXPC    ", 1 };

	memcpy(t->aml, aml, size);
	acpi_finish(&t->header, "DSDT", 2, &oem, sizeof(t->header) + size);
	return sizeof(t->header) + size;
}

static void every_bridge_keeps_its_configuration(void **state)
{
	static const uint8_t before[] = { TWO_BRIDGES(DEVICE('0', QEMUS), DEVICE('1', QEMUS)) };
	static const uint8_t after[] = { TWO_BRIDGES(DEVICE('0', CHANGED), DEVICE('1', CHANGED)) };
	struct dsdt t;
	size_t size = make(&t, before, sizeof(before));
	uint8_t sum = 0;

	assert_int_equal(dsdt_keep_boot_configuration(&t, size), 0);
	assert_memory_equal(t.aml, after, sizeof(after));
	assert_int_equal(le32_get(t.header.oem_revision), 2);
	for (size_t i = 0; i < size; i++)
		sum += ((uint8_t *)&t)[i];
	assert_int_equal(sum, 0);
	/* there is nothing more to change */
	assert_int_equal(dsdt_keep_boot_configuration(&t, size), -ENOENT);
	assert_int_equal(le32_get(t.header.oem_revision), 2);
}

static void iasl_reads_the_same(void **state)
{
	static const uint8_t before[] = { TWO_BRIDGES(DEVICE('0', QEMUS), DEVICE('1', QEMUS)) };
	static char text[1 << 16];
	struct dsdt t;
	size_t size = make(&t, before, sizeof(before));
	const char *at;

	assert_int_equal(dsdt_keep_boot_configuration(&t, size), 0);
	iasl_disassemble(&t, size, text, sizeof(text));
	at = text;
	for (int bridge = 0; bridge < 2; bridge++) {
		at = strstr(at, "Method (_DSM, 4");
		assert_non_null(at);
		at = strstr(at, "e5c937d0-3553-4d7a-9117-ea4d19c3434d");
		assert_non_null(at);
		at = strstr(at, "Return (Buffer (One)");	/* function 0 */
		assert_non_null(at);
		at = strstr(at, "Return (Zero)");
		assert_non_null(at);
	}
}

/* Somebody else's function, another last statement, a name that is no method, a method that does not fit. */
static void what_it_does_not_know_it_leaves_alone(void **state)
{
	static const uint8_t others[][45 + 8] = {
		{ METHOD, IF_UUID, OTHER_UUID, IF_ZERO, RETURN_BUFFER, RETURN_BUFFER },
		{ METHOD, IF_UUID, UUID, IF_ZERO, RETURN_BUFFER, 0xa4, 0x11, 0x03, 0x01, 0x01 },
		{ METHOD, IF_UUID, UUID, IF_ZERO, RETURN_BUFFER, RETURN_ZERO },
		{ 0x15, 0x2d, '_', 'D', 'S', 'M', 0x04, IF_UUID, UUID, IF_ZERO, RETURN_BUFFER,
		  RETURN_BUFFER },
		{ 0x14, 0x3f, '_', 'D', 'S', 'M', 0x04, IF_UUID, UUID, IF_ZERO, RETURN_BUFFER,
		  RETURN_BUFFER },
		{ '_', 'D', 'S', 'M', 0x04, IF_UUID, UUID, IF_ZERO, RETURN_BUFFER, RETURN_BUFFER },
	};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct dsdt t, same;
		size_t size = make(&t, others[i], sizeof(others[i]));

		same = t;
		assert_int_equal(dsdt_keep_boot_configuration(&t, size), -ENOENT);
		assert_memory_equal(&t, &same, size);
	}
}

/* Lengths of two bytes and more, which a method with other functions has. */
static void a_long_method_is_found(void **state)
{
	uint8_t aml[200] = { 0x14, 0x42, 0x0c, '_', 'D', 'S', 'M', 0x04 };	/* 0xc2 bytes */
	static const uint8_t uuid[] = { UUID }, last[] = { RETURN_BUFFER }, now[] = { RETURN_ZERO };
	size_t end = 1 + 0xc2;
	struct dsdt t;
	size_t size;

	memset(&aml[8], 0xa3, end - 8);
	memcpy(&aml[20], uuid, sizeof(uuid));
	memcpy(&aml[end - 5], last, sizeof(last));
	size = make(&t, aml, end);
	assert_int_equal(dsdt_keep_boot_configuration(&t, size), 0);
	assert_memory_equal(&t.aml[end - 5], now, sizeof(now));
	/* one byte of it is missing */
	size = make(&t, aml, end - 1);
	t.aml[end - 1] = last[4];	/* which is somebody else's */
	assert_int_equal(dsdt_keep_boot_configuration(&t, size), -ENOENT);
}

/* What stands before a method's name may be the header's. */
static void the_header_is_no_method(void **state)
{
	static const uint8_t aml[] = { '_', 'D', 'S', 'M', 0x04, IF_UUID, UUID, IF_ZERO,
				       RETURN_BUFFER, RETURN_BUFFER };
	struct dsdt t;
	size_t size = make(&t, aml, sizeof(aml));

	t.header.creator_revision = le32_make(0x2d140000);
	assert_int_equal(dsdt_keep_boot_configuration(&t, size), -ENOENT);
}

static void it_must_be_a_dsdt(void **state)
{
	static const uint8_t aml[] = { QEMUS };
	struct dsdt t;
	size_t size = make(&t, aml, sizeof(aml));

	assert_int_equal(dsdt_keep_boot_configuration(&t, size - 1), -EINVAL);
	assert_int_equal(dsdt_keep_boot_configuration(&t, sizeof(t.header) - 1), -EINVAL);
	t.header.signature[0] = 'S';
	assert_int_equal(dsdt_keep_boot_configuration(&t, size), -EINVAL);
}

/* Whatever stands there: nothing outside of the table is read, and no byte but those five changes. */
static void random_bytes(void **state)
{
	static const uint8_t qemus[] = { QEMUS };
	uint64_t seed = 3;
	unsigned int changed = 0;

	for (int round = 0; round < 20000; round++) {
		uint8_t aml[128];
		size_t used = test_random(&seed) % sizeof(aml), at;
		struct acpi_header *t;
		size_t size;

		for (size_t i = 0; i < used; i++)
			aml[i] = (uint8_t)test_random(&seed);
		at = test_random(&seed) % sizeof(aml);
		if (at + sizeof(qemus) <= used)
			memcpy(&aml[at], qemus, sizeof(qemus));
		if (used && round % 3)
			aml[test_random(&seed) % used] = (uint8_t)test_random(&seed);
		size = sizeof(*t) + used;
		t = malloc(size);	/* of just that size, for a sanitizer to see more */
		assert_non_null(t);
		memcpy(t + 1, aml, used);
		acpi_finish(t, "DSDT", 2, &(struct nst_acpi_oem){ "BOCHS", "BXPC", 1 }, size);
		if (!dsdt_keep_boot_configuration(t, size)) {
			changed++;
			assert_memory_not_equal(t + 1, aml, used);
		} else {
			assert_memory_equal(t + 1, aml, used);
		}
		free(t);
	}
	assert_true(changed > 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_bridge_keeps_its_configuration),
		IASL_TEST(iasl_reads_the_same),
		cmocka_unit_test(what_it_does_not_know_it_leaves_alone),
		cmocka_unit_test(a_long_method_is_found),
		cmocka_unit_test(the_header_is_no_method),
		cmocka_unit_test(it_must_be_a_dsdt),
		cmocka_unit_test(random_bytes),
	};

	return cmocka_run_group_tests_name("DSDT", tests, NULL, NULL);
}
