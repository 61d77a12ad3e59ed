/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * FNV-1a with 64 bits: finds damage in a stream of bytes, not malice.
 *
 *	uint64_t sum = fnv1a(FNV1A_START, head, head_size);
 *	sum = fnv1a(sum, body, body_size);
 */
#ifndef BASE_FNV_H
#define BASE_FNV_H

#include <stddef.h>
#include <stdint.h>

#define FNV1A_START 0xcbf29ce484222325ULL

static inline uint64_t fnv1a(uint64_t sum, const void *bytes, size_t size)
{
	const uint8_t *p = bytes;

	for (size_t i = 0; i < size; i++)
		sum = (sum ^ p[i]) * 0x100000001b3ULL;
	return sum;
}

#endif
