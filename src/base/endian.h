/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Little-endian words of structures that hardware, a guest or a wire protocol
 * defines. An le64 holds bytes, not a number: only these functions make one
 * from the other, and a plain assignment between them does not compile.
 */
#ifndef BASE_ENDIAN_H
#define BASE_ENDIAN_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

/* clang-format off */
typedef struct { uint16_t raw; } le16;
typedef struct { uint32_t raw; } le32;
typedef struct { uint64_t raw; } le64;

static inline uint16_t le16_get(le16 x) { return le16toh(x.raw); }
static inline uint32_t le32_get(le32 x) { return le32toh(x.raw); }
static inline uint64_t le64_get(le64 x) { return le64toh(x.raw); }
static inline le16 le16_make(uint16_t v) { return (le16){ htole16(v) }; }
static inline le32 le32_make(uint32_t v) { return (le32){ htole32(v) }; }
static inline le64 le64_make(uint64_t v) { return (le64){ htole64(v) }; }
/* clang-format on */

/* Unaligned access to @size (1, 2, 4 or 8) little-endian bytes, as buses do it. */
static inline uint64_t le_load(const void *p, unsigned int size)
{
	uint64_t raw = 0;

	memcpy(&raw, p, size);
	return le64toh(raw);
}

static inline void le_store(void *p, unsigned int size, uint64_t value)
{
	uint64_t raw = htole64(value);

	memcpy(p, &raw, size);
}

#endif
