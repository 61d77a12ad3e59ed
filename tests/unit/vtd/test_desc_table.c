// SPDX-License-Identifier: BSD-3-Clause
/*
 * Descriptors as the queue sees them: every type of seven bits, each with every bit that is
 * reserved, granularity and address mask, in queues of both widths. Of each the outcome that
 * software sees: the head, FSTS.IQE and IQERCD.IQEI.
 *
 * The table says what is reserved, typed from VT-d 4.1 s6.5.2 and s7.7.1; test_desc.c's says
 * what is decoded.
 */
#include "translate_world.h"

enum { IQEI_TYPE = 3, IQEI_RESERVED = 4, IQEI_WIDTH = 5 };

struct range {
	uint8_t high, low; /* bits of the descriptor, 0 to 255 */
};

struct type {
	unsigned int number;
	bool wide;		   /* not in queues of 128 bits */
	unsigned int granularities; /* a bit for each legal value of bits 5:4; 0: no such field */
	bool has_mask_limit;	   /* CAP.MAMV, of bits 69:64, if the granularity is 3 */
	struct range reserved[8];
};

/* Beyond bits 255:128, which are reserved in all. Type: bits 3:0 and 11:9. */
static const struct type types[] = {
	{ 1, false, 0xe, false, { { 8, 6 }, { 15, 12 }, { 63, 50 }, { 127, 64 } } },
	{ 2, false, 0xe, true, { { 8, 8 }, { 15, 12 }, { 63, 32 }, { 75, 71 } } },
	{ 3, false, 0, false, { { 8, 4 }, { 31, 21 }, { 51, 48 }, { 75, 65 } } },
	{ 4, false, 0, false, { { 8, 5 }, { 26, 12 }, { 63, 48 }, { 127, 64 } } },
	{ 5, false, 0, false, { { 8, 8 }, { 31, 12 }, { 65, 64 } } },
	{ 6, true, 0xc, false, { { 8, 6 }, { 15, 12 }, { 63, 52 }, { 75, 71 } } },
	{ 7, true, 0xb, false, { { 8, 6 }, { 15, 12 }, { 63, 52 }, { 127, 64 } } },
	{ 8, true, 0, false, { { 74, 65 } } },
	{ 9, true, 0, false, { { 8, 5 }, { 63, 52 }, { 65, 64 }, { 127, 76 } } },
};

static const struct type *find_type(unsigned int number)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i].number == number)
			return &types[i];
	return NULL;
}

static bool is_set(const uint64_t *qw, unsigned int bit)
{
	return qw[bit / 64] >> bit % 64 & 1;
}

/* The outcome: 0, or IQEI. */
static unsigned int expect(const uint64_t *qw, bool wide)
{
	const struct type *t = find_type((qw[0] & 15) | (qw[0] >> 9 & 7) << 4);
	unsigned int gran = qw[0] >> 4 & 3;

	if (!t)
		return IQEI_TYPE;
	if (t->wide && !wide)
		return IQEI_WIDTH;
	if (wide && (qw[2] || qw[3]))
		return IQEI_RESERVED;
	for (size_t i = 0; i < ARRAY_SIZE(t->reserved); i++)
		for (unsigned int bit = t->reserved[i].low; bit && bit <= t->reserved[i].high; bit++)
			if (is_set(qw, bit))
				return IQEI_RESERVED;
	if (t->granularities && !(t->granularities >> gran & 1))
		return IQEI_RESERVED;
	if (t->has_mask_limit && gran == 3 && (qw[1] & 0x3f) > 18)
		return IQEI_RESERVED;
	return 0;
}

static struct world *world_with_queue(bool wide)
{
	struct world *w = create(0);

	assert_int_equal(reg(w, 8, 8) >> 48 & 0x3f, 18); /* CAP.MAMV */
	set(w, 0x90, 8, QUEUE | (uint64_t)wide << 11);
	set(w, 0x18, 4, 1u << 26);
	return w;
}

/* Into the queue behind all others; what comes of it. */
static void check(struct world *w, bool wide, const uint64_t *qw)
{
	uint64_t size = wide ? 32 : 16, tail = (w->tail + size) % 4096;
	unsigned int want = expect(qw, wide);

	memcpy(at(w, QUEUE + w->tail), qw, size);
	set(w, 0x88, 8, tail);
	if ((reg(w, 0x34, 4) & 0x70) != (want ? 0x10u : 0) || (want && reg(w, 0xb0, 8) != want) ||
	    reg(w, 0x80, 8) != (want ? w->tail : tail))
		fail_msg("%016llx %016llx: FSTS 0x%x, IQEI %u, not %u", (unsigned long long)qw[0],
			 (unsigned long long)qw[1], (unsigned int)reg(w, 0x34, 4),
			 (unsigned int)reg(w, 0xb0, 8), want);
	if (want) {	/* as drivers mend it: a wait for nothing in its place */
		memset(at(w, QUEUE + w->tail), 0, size);
		*at(w, QUEUE + w->tail) = 5;
		set(w, 0x34, 4, 0x10);
		assert_int_equal(reg(w, 0x34, 4) & 0x70, 0);
		assert_int_equal(reg(w, 0x80, 8), tail);
	}
	w->tail = tail;
}

static uint64_t type_bits(unsigned int type)
{
	return (type & 15) | (uint64_t)(type >> 4) << 9;
}

static void every_type_with_every_bit(void **state)
{
	for (unsigned int wide = 0; wide < 2; wide++) {
		struct world *w = world_with_queue(wide);

		for (unsigned int type = 0; type < 128; type++) {
			for (unsigned int gran = 0; gran < 4; gran++) {
				for (unsigned int bit = 0; bit < (wide ? 256 : 128); bit++) {
					uint64_t qw[4] = { type_bits(type) | gran << 4 };

					qw[bit / 64] ^= BIT64(bit % 64);
					check(w, wide, qw);
				}
			}
		}
		destroy(w);
	}
}

/* Every address mask with every granularity; and all fields of a type at their largest. */
static void fields_at_their_ends(void **state)
{
	for (unsigned int wide = 0; wide < 2; wide++) {
		struct world *w = world_with_queue(wide);

		for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
			const struct type *t = &types[i];
			uint64_t all[4] = { UINT64_MAX, UINT64_MAX };

			for (unsigned int n = 0; n < 4 * 64; n++) {
				uint64_t qw[4] = { t->number | (n & 3) << 4, n >> 2 };

				check(w, wide, qw);
				qw[1] |= 0xfffffffffffff000;
				check(w, wide, qw);
			}
			for (size_t r = 0; r < ARRAY_SIZE(t->reserved); r++)
				for (unsigned int bit = t->reserved[r].low;
				     bit && bit <= t->reserved[r].high; bit++)
					all[bit / 64] &= ~BIT64(bit % 64);
			all[0] = (all[0] & ~0xe0fULL) | t->number;
			if (t->has_mask_limit)
				all[1] = (all[1] & ~0x3fULL) | 18;
			check(w, wide, all);
		}
		destroy(w);
	}
}

/* The other errors of the queue, in both widths: a tail that is none, a queue that is nowhere. */
static void tails_and_places(void **state)
{
	for (unsigned int wide = 0; wide < 2; wide++) {
		for (unsigned int qs = 0; qs < 8; qs++) {
			uint64_t bytes = 4096ULL << qs;
			struct world *w = create(0);

			set(w, 0x90, 8, DATA | wide << 11 | qs);
			for (uint64_t i = 0; i < bytes; i += 16)
				*at(w, DATA + i) = wide && i % 32 ? 0 : 5;
			set(w, 0x18, 4, 1u << 26);
			set(w, 0x88, 8, bytes - (wide ? 32 : 16));
			assert_int_equal(reg(w, 0x80, 8), bytes - (wide ? 32 : 16));
			set(w, 0x88, 8, bytes - 16);
			assert_int_equal(reg(w, 0x34, 4) & 0x70, wide ? 0x10 : 0);
			assert_int_equal(reg(w, 0xb0, 8), wide ? 6 : 0);
			set(w, 0x88, 8, 0);
			set(w, 0x34, 4, 0x10);
			assert_int_equal(reg(w, 0x80, 8), 0); /* wrapped */
			if (qs < 7) {
				set(w, 0x88, 8, bytes);
				assert_int_equal(reg(w, 0x34, 4) & 0x70, 0x10);
				assert_int_equal(reg(w, 0xb0, 8), 1);
				set(w, 0x88, 8, 0);
				set(w, 0x34, 4, 0x10);
			}
			set(w, 0x90, 8, BEYOND | wide << 11 | qs);
			set(w, 0x88, 8, 32);
			assert_int_equal(reg(w, 0x34, 4) & 0x70, 0x10);
			assert_int_equal(reg(w, 0xb0, 8), 2);
			destroy(w);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_with_every_bit),
		cmocka_unit_test(fields_at_their_ends),
		cmocka_unit_test(tails_and_places),
	};

	return cmocka_run_group_tests_name("vtd descriptor table", tests, NULL, NULL);
}
