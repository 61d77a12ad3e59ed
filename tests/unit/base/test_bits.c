// SPDX-License-Identifier: BSD-3-Clause
/* Fields, ranges, alignment and the endian words, each against a table or a slower way. */
#include "test.h"

#include "base/bits.h"
#include "base/endian.h"

#include <string.h>

/* mask, word, the field's value in the word, the word's bits outside the field cleared */
#define FIELD_ROWS(X)                                                              \
	X(BIT64(0), 1, 1, 1)                                                       \
	X(BIT64(0), ~1ULL, 0, 0)                                                   \
	X(BIT64(63), UINT64_MAX, 1, 0x8000000000000000)                            \
	X(BIT64(63), BIT64(63) - 1, 0, 0)                                          \
	X(0xff00, 0x12345678, 0x56, 0x5600)                                        \
	X(GENMASK64(63, 12), 0xfedcba9876543fff, 0xfedcba9876543, 0xfedcba9876543000) \
	X(GENMASK64(51, 12), UINT64_MAX, 0xffffffffff, 0xffffffffff000)            \
	X(GENMASK64(63, 0), 0x0123456789abcdef, 0x0123456789abcdef, 0x0123456789abcdef) \
	X(GENMASK64(4, 2), 0x37, 5, 0x14)

static void fields_against_a_table(void **state)
{
#define CHECK(mask, word, value, placed)                  \
	assert_int_equal(FIELD_GET(mask, word), value);   \
	assert_int_equal(FIELD_PREP(mask, value), placed);
	FIELD_ROWS(CHECK)
#undef CHECK
	assert_int_equal(FIELD_MAX(GENMASK64(11, 9)), 7);
	assert_int_equal(FIELD_MAX(GENMASK64(63, 0)), UINT64_MAX);
}

static void a_value_known_only_at_run_time_is_cut_to_its_field(void **state)
{
	volatile uint64_t wide = 0x1ff;

	assert_int_equal(FIELD_PREP(GENMASK64(15, 8), wide), 0xff00);
	assert_int_equal(FIELD_GET(GENMASK64(15, 8), wide), 1);
}

static void masks_bit_by_bit(void **state)
{
	for (unsigned int h = 0; h < 64; h++) {
		for (unsigned int l = 0; l <= h; l++) {
			uint64_t slow = 0;

			for (unsigned int i = l; i <= h; i++)
				slow |= 1ULL << i;
			assert_int_equal(GENMASK64(h, l), slow);
			assert_int_equal(FIELD_SHIFT(slow), l);
		}
	}
}

/* 128-bit arithmetic is the model of both range checks. */
static void ranges_against_wide_arithmetic(void **state)
{
	static const uint64_t edges[] = { 0, 1, 2, 4095, 4096, INT64_MAX, 1ULL << 63,
					  UINT64_MAX - 4096, UINT64_MAX - 1, UINT64_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(edges); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(edges); j++) {
			unsigned __int128 end = (unsigned __int128)edges[i] + edges[j];

			assert_int_equal(range_overflows(edges[i], edges[j]),
					 end >> 64 && (end << 64));
			for (size_t k = 0; k < ARRAY_SIZE(edges); k++)
				assert_int_equal(range_fits(edges[i], edges[j], edges[k]),
						 end <= edges[k]);
		}
	}
}

static void logarithms_and_alignment(void **state)
{
	assert_int_equal(ilog2_u64(0), 0);	/* documented by use: never undefined */
	for (unsigned int n = 0; n < 64; n++) {
		assert_int_equal(ilog2_u64(BIT64(n)), n);
		assert_int_equal(ilog2_u64(BIT64(n) | (BIT64(n) - 1)), n);
	}
	assert_true(IS_ALIGNED(0x2000, PAGE_SIZE_4K));
	assert_false(IS_ALIGNED(0x2800, PAGE_SIZE_4K));
	assert_int_equal(ALIGN_UP(0x2001ULL, PAGE_SIZE_4K), 0x3000);
	assert_int_equal(ALIGN_UP(0x2000ULL, PAGE_SIZE_4K), 0x2000);
	assert_int_equal(ALIGN_DOWN(UINT64_MAX, PAGE_SIZE_4K), UINT64_MAX - 4095);
}

static void little_endian_words_are_bytes(void **state)
{
	static const uint8_t bytes[9] = { 0xaa, 1, 2, 3, 4, 5, 6, 7, 8 };
	uint8_t out[11];
	le64 word = le64_make(0x0807060504030201);

	assert_memory_equal(&word, &bytes[1], 8);
	assert_int_equal(le64_get(word), 0x0807060504030201);
	assert_int_equal(le32_get(le32_make(0xdeadbeef)), 0xdeadbeef);
	assert_int_equal(le16_get(le16_make(0xbeef)), 0xbeef);
	for (unsigned int size = 1; size <= 8; size *= 2) {
		uint64_t value = 0;

		for (unsigned int i = 0; i < size; i++)
			value |= (uint64_t)bytes[1 + i] << (8 * i);
		assert_int_equal(le_load(&bytes[1], size), value);
		memset(out, 0xaa, sizeof(out));
		le_store(&out[1], size, UINT64_MAX << (8 * size - 4) | value);
		assert_int_equal(out[0], 0xaa);
		assert_int_equal(out[size + 1], 0xaa);
		assert_memory_equal(&out[1], &bytes[1], size - 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_against_a_table),
		cmocka_unit_test(a_value_known_only_at_run_time_is_cut_to_its_field),
		cmocka_unit_test(masks_bit_by_bit),
		cmocka_unit_test(ranges_against_wide_arithmetic),
		cmocka_unit_test(logarithms_and_alignment),
		cmocka_unit_test(little_endian_words_are_bytes),
	};

	return cmocka_run_group_tests_name("bits", tests, NULL, NULL);
}
