// SPDX-License-Identifier: BSD-3-Clause
/* Guest memory: the map against a naive model, its edges, and refused allocations. */
#include "test.h"

#include "base/alloc.h"
#include "base/bits.h"

#include <nestor/mem.h>

#include <errno.h>
#include <string.h>

static nst_gpa gpa(uint64_t v)
{
	return (nst_gpa){ v };
}

static int setup(void **state)
{
	return nst_mem_create((struct nst_mem **)state);
}

static int teardown(void **state)
{
	nst_mem_destroy(*state);
	return 0;
}

static void empty_map_has_no_memory(void **state)
{
	uint8_t byte;

	nst_mem_destroy(NULL);
	assert_int_equal(nst_mem_read(*state, gpa(0), &byte, 1), -EFAULT);
	assert_int_equal(nst_mem_write(*state, gpa(UINT64_MAX), &byte, 1), -EFAULT);
	assert_int_equal(nst_mem_read(*state, gpa(0), &byte, 0), 0);
	assert_int_equal(nst_mem_remove(*state, gpa(0), 1), -ENOENT);
}

static void overlaps_and_bad_ranges_are_refused(void **state)
{
	static uint8_t ram[0x3000];
	static const struct {
		uint64_t start, size;
		int ret;
	} rows[] = {	/* [0x1000, 0x2fff] is there */
		{ 0x1000, 0x2000, -EEXIST }, { 0x0fff, 2, -EEXIST },  { 0x2fff, 1, -EEXIST },
		{ 0x1800, 0x10, -EEXIST },   { 0, 0x3000, -EEXIST },  { 0, UINT64_MAX, -EEXIST },
		{ 0x5000, 0, -EINVAL },	     { UINT64_MAX, 2, -EINVAL },
		{ 1, UINT64_MAX, -EEXIST },  { 2, UINT64_MAX, -EINVAL },
	};
	uint8_t byte;

	assert_int_equal(nst_mem_add(*state, gpa(0x1000), 0x2000, ram, true), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(nst_mem_add(*state, gpa(rows[i].start), rows[i].size, ram, true),
				 rows[i].ret);
	assert_int_equal(nst_mem_add(*state, gpa(0x0fff), 1, ram, true), 0);
	assert_int_equal(nst_mem_add(*state, gpa(0x3000), 1, ram, true), 0);

	/* only what one add made can be removed */
	assert_int_equal(nst_mem_remove(*state, gpa(0x1000), 0x1000), -ENOENT);
	assert_int_equal(nst_mem_remove(*state, gpa(0x2000), 0x1000), -ENOENT);
	assert_int_equal(nst_mem_remove(*state, gpa(0x0fff), 0x2001), -ENOENT);
	assert_int_equal(nst_mem_remove(*state, gpa(0x1000), 0), -ENOENT);
	assert_int_equal(nst_mem_remove(*state, gpa(UINT64_MAX), 2), -ENOENT);
	assert_int_equal(nst_mem_read(*state, gpa(0x1800), &byte, 1), 0);
	assert_int_equal(nst_mem_remove(*state, gpa(0x1000), 0x2000), 0);
	assert_int_equal(nst_mem_remove(*state, gpa(0x1000), 0x2000), -ENOENT);
	assert_int_equal(nst_mem_read(*state, gpa(0x1800), &byte, 1), -EFAULT);
	assert_int_equal(nst_mem_read(*state, gpa(0x0fff), &byte, 1), 0);
}

static void copies_span_ranges_but_no_holes(void **state)
{
	uint8_t a[16], b[16], c[16], buf[48], expect[48];

	memset(a, 'a', sizeof(a));
	memset(b, 'b', sizeof(b));
	memset(c, 'c', sizeof(c));
	assert_int_equal(nst_mem_add(*state, gpa(0x120), 16, c, true), 0);
	assert_int_equal(nst_mem_add(*state, gpa(0x100), 16, a, true), 0);
	assert_int_equal(nst_mem_read(*state, gpa(0x108), buf, 0x20), -EFAULT);
	assert_int_equal(nst_mem_add(*state, gpa(0x110), 16, b, true), 0);
	assert_int_equal(nst_mem_read(*state, gpa(0x100), buf, 48), 0);
	memset(expect, 'a', 16);
	memset(expect + 16, 'b', 16);
	memset(expect + 32, 'c', 16);
	assert_memory_equal(buf, expect, 48);
	assert_int_equal(nst_mem_read(*state, gpa(0x100), buf, 49), -EFAULT);
	assert_int_equal(nst_mem_read(*state, gpa(0xff), buf, 2), -EFAULT);

	/* a word across two ranges is still one copy */
	assert_int_equal(nst_mem_write(*state, gpa(0x10c), "01234567", 8), 0);
	assert_memory_equal(a + 8, "aaaa0123", 8);
	assert_memory_equal(b, "4567bbbb", 8);
}

static void read_only_memory_is_not_written(void **state)
{
	uint8_t writable[8] = "writable", readonly[8] = "readonly", buf[16];

	assert_int_equal(nst_mem_add(*state, gpa(0), 8, readonly, false), 0);
	assert_int_equal(nst_mem_add(*state, gpa(8), 8, writable, true), 0);
	assert_int_equal(nst_mem_read(*state, gpa(0), buf, 16), 0);
	assert_memory_equal(buf, "readonlywritable", 16);
	for (uint64_t at = 0; at < 8; at++)
		assert_int_equal(nst_mem_write(*state, gpa(at), "0123456", 8 - at), -EFAULT);
	assert_int_equal(nst_mem_write(*state, gpa(4), "01234567", 8), -EFAULT);
	assert_memory_equal(readonly, "readonly", 8);
	assert_int_equal(nst_mem_write(*state, gpa(8), "01234567", 8), 0);
	assert_memory_equal(writable, "01234567", 8);
}

static void the_last_byte_of_the_space(void **state)
{
	uint8_t top[16] = "top of the space", buf[32];
	uint64_t start = UINT64_MAX - 15;

	assert_int_equal(nst_mem_add(*state, gpa(start), 17, top, true), -EINVAL);
	assert_int_equal(nst_mem_add(*state, gpa(start), 16, top, true), 0);
	assert_int_equal(nst_mem_read(*state, gpa(start), buf, 16), 0);
	assert_memory_equal(buf, top, 16);
	assert_int_equal(nst_mem_read(*state, gpa(UINT64_MAX), buf, 1), 0);
	assert_int_equal(buf[0], 'e');
	assert_int_equal(nst_mem_write(*state, gpa(UINT64_MAX), "xy", 2), -EFAULT);

	/* no wrapping round into memory at 0, in either direction */
	assert_int_equal(nst_mem_add(*state, gpa(0), 16, top, true), 0);
	assert_int_equal(nst_mem_read(*state, gpa(start), buf, 17), -EFAULT);
	assert_int_equal(nst_mem_read(*state, gpa(UINT64_MAX), buf, 2), -EFAULT);
	assert_int_equal(nst_mem_read(*state, gpa(8), buf, SIZE_MAX), -EFAULT);
	assert_int_equal(nst_mem_remove(*state, gpa(start), 16), 0);
}

static void every_size_and_alignment_copies_exactly(void **state)
{
	uint8_t ram[64], model[64], buf[24];
	uint64_t seed = 7;

	for (size_t i = 0; i < sizeof(ram); i++)
		ram[i] = model[i] = (uint8_t)i;
	assert_int_equal(nst_mem_add(*state, gpa(0x1003), sizeof(ram), ram, true), 0);
	for (size_t size = 0; size <= 17; size++) {
		for (size_t at = 0; at + size <= sizeof(ram); at++) {
			memset(buf, 0xee, sizeof(buf));
			assert_int_equal(nst_mem_read(*state, gpa(0x1003 + at), buf, size), 0);
			assert_memory_equal(buf, model + at, size);
			assert_int_equal(buf[size], 0xee);
			for (size_t i = 0; i < size; i++)
				buf[i] = model[at + i] = (uint8_t)test_random(&seed);
			assert_int_equal(nst_mem_write(*state, gpa(0x1003 + at), buf, size), 0);
			assert_memory_equal(ram, model, sizeof(ram));
		}
	}
}

enum { SPACE = 96, MAX_RANGES = 12 };

/* The host's byte at @a, while some range owns it. */
#define HOST_BYTE(a) (&host[owner[a]][(a) - ranges[owner[a]].start])

static void random_changes_agree_with_the_model(void **state)
{
	static uint8_t host[MAX_RANGES][SPACE];
	struct { uint64_t start, size; bool used, writable; } ranges[MAX_RANGES] = { 0 };
	int owner[SPACE];
	uint64_t seed = 3;

	memset(owner, -1, sizeof(owner));
	for (int step = 0; step < 20000; step++) {
		unsigned int n = test_random(&seed) % MAX_RANGES;
		uint64_t start = test_random(&seed) % SPACE;
		uint64_t size = 1 + test_random(&seed) % MIN(16, SPACE - start);
		uint8_t buf[SPACE];
		bool taken = false, memory = true, writable = true;

		for (uint64_t a = start; a < start + size; a++) {
			taken |= owner[a] >= 0;
			memory &= owner[a] >= 0;
			writable &= owner[a] >= 0 && ranges[owner[a]].writable;
		}
		switch (test_random(&seed) % 4) {
		case 0:
			if (ranges[n].used)
				break;
			assert_int_equal(nst_mem_add(*state, gpa(start), size, host[n], n % 3),
					 taken ? -EEXIST : 0);
			if (taken)
				break;
			ranges[n].start = start;
			ranges[n].size = size;
			ranges[n].used = true;
			ranges[n].writable = n % 3;
			for (uint64_t a = start; a < start + size; a++)
				owner[a] = (int)n;
			break;
		case 1:
			if (!ranges[n].used || test_random(&seed) % 2)
				break;
			assert_int_equal(nst_mem_remove(*state, gpa(ranges[n].start),
							ranges[n].size), 0);
			for (uint64_t a = 0; a < ranges[n].size; a++)
				owner[ranges[n].start + a] = -1;
			ranges[n].used = false;
			break;
		case 2:
			assert_int_equal(nst_mem_read(*state, gpa(start), buf, size),
					 memory ? 0 : -EFAULT);
			for (uint64_t a = 0; memory && a < size; a++)
				assert_int_equal(buf[a], *HOST_BYTE(start + a));
			break;
		default:
			for (uint64_t a = 0; a < size; a++)
				buf[a] = (uint8_t)test_random(&seed);
			assert_int_equal(nst_mem_write(*state, gpa(start), buf, size),
					 writable ? 0 : -EFAULT);
			for (uint64_t a = 0; writable && a < size; a++)
				assert_int_equal(buf[a], *HOST_BYTE(start + a));
		}
	}
}

static void refused_memory_changes_nothing(void **state)
{
	struct nst_mem *mem = NULL;
	uint8_t ram[4] = "abc", buf[4];
	unsigned int n, failures = 0;

	for (n = 1;; n++) {
		alloc_fail_nth(n);
		if (!nst_mem_create(&mem))
			break;
		assert_null(mem);
		failures++;
	}
	assert_int_equal(failures, 2);
	alloc_fail_nth(1);
	assert_int_equal(nst_mem_add(mem, gpa(0), 4, ram, true), -ENOMEM);
	assert_int_equal(nst_mem_read(mem, gpa(0), buf, 4), -EFAULT);
	assert_int_equal(nst_mem_add(mem, gpa(0), 4, ram, true), 0);
	alloc_fail_nth(1);
	assert_int_equal(nst_mem_remove(mem, gpa(0), 4), -ENOMEM);
	assert_int_equal(nst_mem_read(mem, gpa(0), buf, 4), 0);
	assert_string_equal((char *)buf, "abc");
	assert_int_equal(nst_mem_remove(mem, gpa(0), 4), 0);
	nst_mem_destroy(mem);
	alloc_fail_nth(0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(empty_map_has_no_memory),
		TEST(overlaps_and_bad_ranges_are_refused),
		TEST(copies_span_ranges_but_no_holes),
		TEST(read_only_memory_is_not_written),
		TEST(the_last_byte_of_the_space),
		TEST(every_size_and_alignment_copies_exactly),
		TEST(random_changes_agree_with_the_model),
		cmocka_unit_test(refused_memory_changes_nothing),
	};

	return cmocka_run_group_tests_name("mem", tests, NULL, NULL);
}
