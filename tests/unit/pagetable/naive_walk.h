/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The oracle of first-stage walks: slow, and written from the paging rules alone
 * (VT-d 4.1 s3.6 First-Stage Translation, s9.8; Intel SDM vol. 3 ch. 4), sharing
 * nothing with pagetable/vtd_fs.h, not even names of bits. It works on its own copy
 * of a small physical memory, a bit at a time, and does to that copy what hardware
 * would do to memory.
 */
#ifndef TESTS_NAIVE_WALK_H
#define TESTS_NAIVE_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct naive_memory {
	uint8_t *bytes;
	size_t num_pages;
	const bool *readonly;	/* per page; NULL = none */
	const bool *hole;	/* per page; NULL = none */
};

struct naive_request {
	uint64_t iova;
	int levels, gpa_bits;
	bool write, supervisor, wp, ea, peek;
};

struct naive_step {
	uint64_t table;
	int level;
	bool writable, user;	/* what the entries above allow */
};

struct naive_result {
	int fault;		/* code of s7.1.3, 0 = translated */
	uint64_t page;
	int page_bits;
	bool may_write, dirty;
	struct naive_step steps[5];
	int num_steps;
};

static inline bool naive_bit(const struct naive_memory *m, uint64_t entry_at, int n)
{
	return m->bytes[entry_at + (unsigned int)n / 8] >> (n % 8) & 1;
}

static inline void naive_set_bit(struct naive_memory *m, uint64_t entry_at, int n)
{
	m->bytes[entry_at + (unsigned int)n / 8] |= (uint8_t)(1 << (n % 8));
}

static inline uint64_t naive_bits(const struct naive_memory *m, uint64_t entry_at, int high,
				  int low)
{
	uint64_t v = 0;

	for (int n = high; n >= low; n--)
		v = v * 2 + naive_bit(m, entry_at, n);
	for (int n = 0; n < low; n++)
		v *= 2;
	return v;
}

/* Bits that must be zero in a present entry of @level. */
static inline bool naive_reserved(const struct naive_memory *m, uint64_t at, int level,
				  int gpa_bits)
{
	bool large = naive_bit(m, at, 7);

	for (int n = gpa_bits; n <= 51; n++)
		if (naive_bit(m, at, n))
			return true;
	if (level == 5 || level == 4)
		return large;
	if (level == 3 && large && naive_bits(m, at, 29, 13))
		return true;
	return level == 2 && large && naive_bits(m, at, 20, 13);
}

static inline struct naive_result naive_walk(struct naive_memory *m, uint64_t root,
					     const struct naive_request *q)
{
	struct naive_result res = { 0 };
	bool all_rw = true, all_us = true;
	uint64_t table = root;

	for (int level = q->levels;; level--) {
		static const int lows[] = { 0, 12, 21, 30, 39, 48 };
		int low = lows[level];
		uint64_t index = 0, at;
		bool leaf, allowed, change;

		if (table / 4096 >= m->num_pages || (m->hole && m->hole[table / 4096])) {
			res.fault = level == q->levels ? 0x73 : 0x70;
			return res;
		}
		for (int n = low + 8; n >= low; n--)
			index = index * 2 + (q->iova >> n & 1);
		at = table + index * 8;
		if (!naive_bit(m, at, 0)) {
			res.fault = 0x71;
			return res;
		}
		if (naive_reserved(m, at, level, q->gpa_bits)) {
			res.fault = 0x72;
			return res;
		}
		all_rw = all_rw && naive_bit(m, at, 1);
		all_us = all_us && naive_bit(m, at, 2);
		if (!all_us && !q->supervisor) {
			res.fault = 0x81;
			return res;
		}
		leaf = level == 1 || ((level == 2 || level == 3) && naive_bit(m, at, 7));
		allowed = q->supervisor && !q->wp ? true : all_rw;
		if (leaf && q->write && !allowed) {
			res.fault = 0x85;
			return res;
		}
		change = !naive_bit(m, at, 5) || (q->ea && !naive_bit(m, at, 10)) ||
			 (leaf && q->write && !naive_bit(m, at, 6));
		if (change && !q->peek) {
			if (m->readonly && m->readonly[table / 4096]) {
				res.fault = 0x91;
				return res;
			}
			naive_set_bit(m, at, 5);
			if (q->ea)
				naive_set_bit(m, at, 10);
			if (leaf && q->write)
				naive_set_bit(m, at, 6);
		}
		if (leaf) {
			res.page_bits = low;
			res.page = naive_bits(m, at, 51, low);
			res.may_write = allowed;
			res.dirty = naive_bit(m, at, 6);
			return res;
		}
		table = naive_bits(m, at, 51, 12);
		res.steps[res.num_steps++] =
			(struct naive_step){ table, level - 1, all_rw, all_us };
	}
}

/* Are all bits above the @bits that are translated the same as the highest of those? */
static inline bool naive_canonical(uint64_t iova, int bits)
{
	for (int n = bits; n < 64; n++)
		if ((iova >> n & 1) != (iova >> (bits - 1) & 1))
			return false;
	return true;
}

#endif
