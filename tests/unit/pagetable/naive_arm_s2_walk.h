/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The oracle of Arm stage 2 walks, as naive_arm_walk.h is of stage 1: from the tables of the Arm
 * Architecture Reference Manual alone (DDI 0487, VMSAv8-64: initial lookup levels of stage 2,
 * concatenated tables, descriptor fields by their number), a bit at a time.
 */
#ifndef TESTS_NAIVE_ARM_S2_WALK_H
#define TESTS_NAIVE_ARM_S2_WALK_H

#include "naive_arm_walk.h"

struct naive_arm_s2_request {
	uint64_t ipa, ttb;
	int granule_kb, sl0, tsz, out_bits;
	bool write, affd, protected;
};

struct naive_arm_s2_result {
	int fault; /* event number, 0 = translated */
	uint64_t page, descriptor;
	int page_bits;
	bool read, write;
};

/* The initial lookup level that SL0 stands for; -1: reserved. */
static inline int naive_arm_s2_level(int granule_kb, int sl0)
{
	static const int of4[] = { 2, 1, 0, -1 }, of16[] = { 3, 2, 1, -1 }, of64[] = { 3, 2, 1, -1 };

	return granule_kb == 4 ? of4[sl0] : granule_kb == 16 ? of16[sl0] : of64[sl0];
}

/* The least and the most bits of an input address for that level. */
static inline bool naive_arm_s2_is_legal(int granule_kb, int sl0, int bits)
{
	static const int of4[][2] = { { 22, 34 }, { 31, 43 }, { 40, 52 } };
	static const int of16[][2] = { { 15, 29 }, { 26, 40 }, { 37, 51 } };
	static const int of64[][2] = { { 17, 33 }, { 30, 46 }, { 43, 59 } };
	const int *range;

	if (sl0 == 3)
		return false;
	range = granule_kb == 4 ? of4[sl0] : granule_kb == 16 ? of16[sl0] : of64[sl0];
	return bits >= range[0] && bits <= range[1];
}

static inline struct naive_arm_s2_result
naive_arm_s2_walk(const struct naive_arm_memory *m, const struct naive_arm_s2_request *q)
{
	struct naive_arm_s2_result res = { 0 };
	int level = naive_arm_s2_level(q->granule_kb, q->sl0), high = 64 - q->tsz - 1;
	int page_low = naive_arm_low(q->granule_kb, 3);
	uint64_t table = q->ttb, all = 8;

	/* all tables of the first level together are aligned to what they take */
	for (int n = naive_arm_low(q->granule_kb, level); n <= high; n++)
		all *= 2;
	table -= table % all;
	for (int n = high + 1; n < 64; n++) {
		if (q->ipa >> n & 1) {
			res.fault = 0x10;
			return res;
		}
	}
	for (;; level++) {
		int low = naive_arm_low(q->granule_kb, level);
		uint64_t index = 0, out, at;

		for (int n = high; n >= low; n--)
			index = index * 2 + (q->ipa >> n & 1);
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
		if (naive_arm_bit(m, at, 1) && level < 3) { /* a table */
			out = naive_arm_bits(m, at, 47, page_low);
			if (q->out_bits < 64 && out >> q->out_bits) {
				res.fault = 0x11;
				return res;
			}
			table = out;
			high = low - 1;
			continue;
		}
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
		if (!naive_arm_bit(m, at, 10) && !q->affd) {
			res.fault = 0x12;
			return res;
		}
		res.read = naive_arm_bit(m, at, 6);
		res.write = naive_arm_bit(m, at, 7);
		if (!(q->write ? res.write : res.read) ||
		    (q->protected && !naive_arm_bit(m, at, 4) && !naive_arm_bit(m, at, 5))) {
			res.fault = 0x13;
			return res;
		}
		res.page = out;
		res.page_bits = low;
		return res;
	}
}

#endif
