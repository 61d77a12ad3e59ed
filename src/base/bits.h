/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bits and fields of hardware words, arithmetic that says when it overflows,
 * and the handful of macros every file needs.
 *
 * A field is named by its mask alone; FIELD_GET and FIELD_PREP derive the shift
 * and refuse, at compile time, a mask of zero and a constant that does not fit.
 */
#ifndef BASE_BITS_H
#define BASE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BIT64(n) (1ULL << (n))
#define GENMASK64(h, l) ((~0ULL >> (63 - (h))) & (~0ULL << (l)))

#define FIELD_SHIFT(mask) (__builtin_ctzll(mask))
#define FIELD_MAX(mask) ((uint64_t)(mask) >> FIELD_SHIFT(mask))
/* 0, or a negative array size when @cond is a false constant */
#define BUILD_ASSERT_ZERO(cond) (sizeof(char[1 - 2 * !(cond)]) - 1)

#define FIELD_GET(mask, word) \
	((((uint64_t)(word) & (mask)) >> FIELD_SHIFT(mask)) + BUILD_ASSERT_ZERO((mask) != 0))

#define FIELD_PREP(mask, value)                                \
	((((uint64_t)(value) << FIELD_SHIFT(mask)) & (mask)) + \
	 BUILD_ASSERT_ZERO((mask) != 0 && CONSTANT_OR_0(value) <= FIELD_MAX(mask)))

/* @x if it is a constant that the compiler knows, else 0, which always fits. */
#define CONSTANT_OR_0(x) ((uint64_t) __builtin_choose_expr(__builtin_constant_p(x), (x), 0))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define IS_ALIGNED(x, a) (((x) & ((a)-1)) == 0)
#define ALIGN_DOWN(x, a) ((x) & ~((a)-1))
#define ALIGN_UP(x, a) ALIGN_DOWN((x) + (a)-1, a)

#define PAGE_SHIFT_4K 12
#define PAGE_SIZE_4K 4096ULL

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Does [start, start + length) leave the 64-bit space? The last byte may be U64_MAX. */
static inline bool range_overflows(uint64_t start, uint64_t length)
{
	return length && start + (length - 1) < start;
}

/* Is [start, start + length) inside [0, size)? Never overflows. */
static inline bool range_fits(uint64_t start, uint64_t length, uint64_t size)
{
	return length <= size && start <= size - length;
}

static inline unsigned int ilog2_u64(uint64_t x)
{
	return 63 - (unsigned int)__builtin_clzll(x | 1);
}

#endif
