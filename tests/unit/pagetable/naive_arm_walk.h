/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The oracle of Arm stage 1 walks: slow, and written from the tables of the Arm Architecture
 * Reference Manual alone (DDI 0487, VMSAv8-64: which address bits index which level for each
 * granule; descriptor fields by their number), sharing nothing with pagetable/arm_s1.h, not
 * even names of bits. It works on its own copy of a small physical memory, a bit at a time,
 * and does to that copy what hardware would do to memory.
 */
#ifndef TESTS_NAIVE_ARM_WALK_H
#define TESTS_NAIVE_ARM_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct naive_arm_memory {
	uint8_t *bytes;
	size_t num_pages;	/* of 4 KiB */
	const bool *readonly;	/* per page; NULL = none */
	const bool *hole;	/* per page; NULL = none */
};

struct naive_arm_request {
	uint64_t va, ttb;	/* va: all bits, as the device sent it */
	int granule_kb, tsz, out_bits;
	bool tbi, write, privileged, ha, hd, affd, had, pan, peek;
};

struct naive_arm_step {
	uint64_t table;
	int level;
	bool read_only, no_user;
};

struct naive_arm_result {
	int fault;		/* event number, 0 = translated */
	uint64_t page, descriptor;
	int page_bits, level;
	bool update_failed, global;
	bool user_read, user_write, priv_read, priv_write;
	struct naive_arm_step steps[4];
	int num_steps;
};

static inline bool naive_arm_bit(const struct naive_arm_memory *m, uint64_t at, int n)
{
	return m->bytes[at + (unsigned int)n / 8] >> (n % 8) & 1;
}

static inline void naive_arm_put(struct naive_arm_memory *m, uint64_t at, int n, bool value)
{
	uint8_t *byte = &m->bytes[at + (unsigned int)n / 8], mask = (uint8_t)(1 << (n % 8));

	*byte = (uint8_t)(value ? *byte | mask : *byte & ~mask);
}

/* Bits [high:low] of the descriptor, at their places. */
static inline uint64_t naive_arm_bits(const struct naive_arm_memory *m, uint64_t at, int high,
				      int low)
{
	uint64_t v = 0;

	for (int n = low; n <= high; n++)
		if (naive_arm_bit(m, at, n))
			v += 1ULL << n;
	return v;
}

/* The lowest address bit that indexes a table of @level, -1: there is no such level. */
static inline int naive_arm_low(int granule_kb, int level)
{
	static const int low4[] = { 39, 30, 21, 12 }, low16[] = { 47, 36, 25, 14 },
			 low64[] = { -1, 42, 29, 16 };

	return granule_kb == 4 ? low4[level] : granule_kb == 16 ? low16[level] : low64[level];
}

/* Do all bits above the 64 - tsz translated ones say which half it is, and say the same? */
static inline bool naive_arm_in_range(uint64_t va, int tsz, bool tbi)
{
	for (int n = 64 - tsz; n < (tbi ? 56 : 64); n++)
		if ((va >> n & 1) != (va >> 55 & 1))
			return false;
	return true;
}

/* The level with the highest index bits that the address has. */
static inline int naive_arm_top_level(int granule_kb, int tsz)
{
	for (int level = 0; level < 3; level++)
		if (naive_arm_low(granule_kb, level) >= 0 &&
		    naive_arm_low(granule_kb, level) < 64 - tsz)
			return level;
	return 3;
}

static inline struct naive_arm_result naive_arm_walk(struct naive_arm_memory *m,
						     const struct naive_arm_request *q)
{
	struct naive_arm_result res = { 0 };
	int level = naive_arm_top_level(q->granule_kb, q->tsz), high = 64 - q->tsz - 1;
	int page_low = naive_arm_low(q->granule_kb, 3);
	bool read_only = false, no_user = false, may, set_af, set_dirty;
	uint64_t table = q->ttb, align = 8;

	/* the top table is aligned to its own size, which may be less than a page */
	for (int n = naive_arm_low(q->granule_kb, level); n <= high; n++)
		align *= 2;
	table -= table % align;
	for (;; level++) {
		int low = naive_arm_low(q->granule_kb, level);
		uint64_t index = 0, out = 0, at;
		bool user, rw;

		for (int n = high; n >= low; n--)
			index = index * 2 + (q->va >> n & 1);
		at = table + index * 8;
		res.descriptor = at;
		if (at / 4096 >= m->num_pages || (m->hole && m->hole[at / 4096])) {
			res.fault = 0x0b;
			return res;
		}
		if (!naive_arm_bit(m, at, 0)) {
			res.fault = 0x10;
			return res;
		}
		if (naive_arm_bit(m, at, 1) && level < 3) {	/* a table */
			out = naive_arm_bits(m, at, 47, page_low);
			if (q->out_bits < 64 && out >> q->out_bits) {
				res.fault = 0x11;
				return res;
			}
			read_only = read_only || (!q->had && naive_arm_bit(m, at, 62));
			no_user = no_user || (!q->had && naive_arm_bit(m, at, 61));
			table = out;
			high = low - 1;
			res.steps[res.num_steps++] =
				(struct naive_arm_step){ table, level + 1, read_only, no_user };
			continue;
		}
		/* a block where there are none, or the reserved form of a page */
		if ((level == 3 && !naive_arm_bit(m, at, 1)) || level == 0 ||
		    (level == 1 && q->granule_kb != 4)) {
			res.fault = 0x10;
			return res;
		}
		out = naive_arm_bits(m, at, 47, low);
		if (q->out_bits < 64 && out >> q->out_bits) {
			res.fault = 0x11;
			return res;
		}
		if (!naive_arm_bit(m, at, 10) && !q->ha && !q->affd) {
			res.fault = 0x12;
			return res;
		}
		user = naive_arm_bit(m, at, 6) && !no_user;
		rw = !naive_arm_bit(m, at, 7) && !read_only;
		set_dirty = q->write && q->ha && q->hd && naive_arm_bit(m, at, 51) &&
			    naive_arm_bit(m, at, 7);
		set_af = q->ha && !naive_arm_bit(m, at, 10);
		if (set_dirty && !read_only)
			rw = true;
		may = q->privileged ? !(user && q->pan) : user;
		if (!may || (q->write && !rw)) {
			res.fault = 0x13;
			return res;
		}
		if ((set_af || set_dirty) && !q->peek) {
			if (m->readonly && m->readonly[at / 4096]) {
				res.fault = 0x0b;
				res.update_failed = true;
				return res;
			}
			if (set_af)
				naive_arm_put(m, at, 10, true);
			if (set_dirty)
				naive_arm_put(m, at, 7, false);
		}
		res.page = out;
		res.page_bits = low;
		res.level = level;
		res.global = !naive_arm_bit(m, at, 11);
		res.user_read = user;
		res.user_write = user && rw;
		res.priv_read = !(user && q->pan);
		res.priv_write = res.priv_read && rw;
		return res;
	}
}

#endif
