// SPDX-License-Identifier: BSD-3-Clause
/*
 * The Arm stage 2 walker against the oracle of naive_arm_s2_walk.h, over random tables in a small
 * physical memory: sound ones, malformed ones, all granules, all sizes and first levels, and so up
 * to 16 tables side by side.
 */
#include "test.h"

#include "naive_arm_s2_walk.h"
#include "pagetable/arm_s2.h"

#include <string.h>

enum { PAGES = 288, SIZE = PAGES * 4096 }; /* 16 tables of 64 KiB, and two more */

struct phys {
	uint64_t words[SIZE / 8];
	bool hole[PAGES];
};
static struct phys phys;

static inline const uint64_t *slot_at(void *opaque, uint64_t address)
{
	struct phys *p = opaque;

	assert_int_equal(address % 8, 0);
	if (address / 4096 >= PAGES || p->hole[address / 4096])
		return NULL;
	return &p->words[address / 8];
}

static bool chance(uint64_t *seed, unsigned int in)
{
	return test_random(seed) % in == 0;
}

/* @wild: how malformed, from never to one entry in ten */
static uint64_t random_entry(uint64_t *seed, bool wild)
{
	uint64_t r = test_random(seed), entry = 3;

	entry |= (test_random(seed) % PAGES) << 12;
	entry |= r & (0xfffULL << 52 | 0xb3c); /* ignored, and MemAttr */
	if (!chance(seed, 8))
		entry |= 1 << 10;
	if (!chance(seed, 5))
		entry |= 1 << 6;
	if (!chance(seed, 4))
		entry |= 1 << 7;
	if (chance(seed, 12))
		entry ^= 1;
	if (chance(seed, 5)) /* a block, where there may be one */
		entry = (entry ^ 2) | (r & 0xf) << 30;
	if (wild && chance(seed, 10))
		entry ^= 1ULL << test_random(seed) % 64;
	if (wild && chance(seed, 30))
		entry = test_random(seed);
	return entry;
}

static void make_memory(uint64_t *seed, bool wild)
{
	for (size_t i = 0; i < ARRAY_SIZE(phys.words); i++)
		phys.words[i] = htole64(random_entry(seed, wild));
	for (size_t i = 0; i < PAGES; i++)
		phys.hole[i] = wild && chance(seed, 16);
}

static struct naive_arm_memory oracle_memory(void)
{
	return (struct naive_arm_memory){ (uint8_t *)phys.words, PAGES, NULL, phys.hole };
}

static struct arm_s2_request to_request(const struct naive_arm_s2_request *q)
{
	unsigned int lg2 = q->granule_kb == 4 ? 12 : q->granule_kb == 16 ? 14 : 16, level;
	unsigned int tsz = (unsigned int)q->tsz;

	assert_true(arm_s2_top_level(lg2, (unsigned int)q->sl0, &level));
	assert_int_equal(level, naive_arm_s2_level(q->granule_kb, q->sl0));
	return (struct arm_s2_request){
		.table = { arm_s2_top_table(q->ttb, lg2, level, tsz), lg2, tsz, level },
		.ipa = q->ipa,
		.too_high = q->out_bits < 64 ? UINT64_MAX << q->out_bits : 0,
		.write = q->write,
		.affd = q->affd,
		.protected = q->protected,
	};
}

static struct naive_arm_s2_request random_request(uint64_t *seed, bool wild)
{
	static const int granules[] = { 4, 16, 64 }, out_bits[] = { 20, 32, 40, 48 };
	uint64_t r = test_random(seed);
	struct naive_arm_s2_request q = {
		.ttb = test_random(seed) % SIZE,
		.granule_kb = granules[r % 3],
		.out_bits = out_bits[wild ? r >> 16 & 3 : 3],
		.write = r & 1 << 20,
		.affd = r & 1 << 21,
		.protected = (r >> 22 & 3) == 3,
	};

	do {
		q.sl0 = (int)(test_random(seed) % 3);
		q.tsz = 16 + (int)(test_random(seed) % 24);
	} while (!naive_arm_s2_is_legal(q.granule_kb, q.sl0, 64 - q.tsz));
	q.ipa = test_random(seed) >> q.tsz;
	if (r >> 40 & 1) /* few indices of each level */
		q.ipa = (r >> 41) * 0x1040201000ULL & UINT64_MAX >> q.tsz;
	if (chance(seed, 16))
		q.ipa ^= 1ULL << test_random(seed) % 64;
	q.ttb += wild && chance(seed, 16) ? SIZE : 0;
	return q;
}

static int compare(const struct naive_arm_s2_request *q)
{
	struct naive_arm_memory m = oracle_memory();
	struct naive_arm_s2_result want = naive_arm_s2_walk(&m, q);
	struct arm_s2_request req = to_request(q);
	struct arm_s2_leaf leaf = { 0 };

	assert_int_equal(arm_s2_walk(&req, slot_at, &phys, &leaf), want.fault);
	if (want.fault == 0x0b)
		assert_int_equal(leaf.descriptor, want.descriptor);
	if (want.fault)
		return want.fault;
	assert_int_equal(leaf.address, want.page);
	assert_int_equal(leaf.page_lg2, want.page_bits);
	assert_int_equal(leaf.readable, want.read);
	assert_int_equal(leaf.writable, want.write);
	return 0;
}

static void compare_walks(uint64_t *seed, bool wild, int memories, unsigned int *faults)
{
	for (int i = 0; i < memories; i++) {
		make_memory(seed, wild);
		for (int n = 0; n < 2000; n++) {
			struct naive_arm_s2_request q = random_request(seed, wild);

			faults[compare(&q)]++;
		}
	}
}

static void sound_tables_agree_with_the_oracle(void **state)
{
	unsigned int faults[256] = { 0 };
	uint64_t seed = 21;

	compare_walks(&seed, false, 15, faults);
	assert_in_range(faults[0], 5000, 25000);
	assert_true(faults[SMMU_F_ACCESS] > 100 && faults[SMMU_F_PERMISSION] > 1000);
	assert_int_equal(faults[SMMU_F_ADDR_SIZE], 0);
}

/* The random tables must have met every way to fail, or this test tests little. */
static void malformed_tables_agree_with_the_oracle(void **state)
{
	static const uint8_t events[] = { 0x0b, 0x10, 0x11, 0x12, 0x13, 0 };
	unsigned int faults[256] = { 0 };
	uint64_t seed = 22;

	compare_walks(&seed, true, 25, faults);
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		assert_true(faults[events[i]] > 100);
}

/* Every single bit of a descriptor of every level, changed in an otherwise sound path. */
static void each_bit_at_each_level_agrees_with_the_oracle(void **state)
{
	static const int granules[] = { 4, 16, 64 };
	static const uint64_t leaves[] = { 0x4fc, 0x4cc, 0x47c, 0x4bc, 0xfc };

	memset(&phys, 0, sizeof(phys));
	for (unsigned int kind = 0; kind < 64 * 4 * 3 * 5 * 8; kind++) {
		unsigned int bit = kind % 64, damaged = kind / 64 % 4, flags = kind / 3840 & 7;
		struct naive_arm_s2_request q = {
			.ipa = 0x89abc0123, .granule_kb = granules[kind / 256 % 3], .sl0 = 2,
			.tsz = 16, .out_bits = 46, .write = flags & 1, .affd = flags & 2,
			.protected = flags & 4,
		};
		unsigned int top = (unsigned int)naive_arm_s2_level(q.granule_kb, q.sl0);
		struct arm_s2_request req;

		if (damaged < top)
			continue;
		q.ttb = (uint64_t)top << 16;
		req = to_request(&q);
		for (unsigned int l = top; l <= 3; l++) {
			uint64_t entry = l < 3 ? (uint64_t)(l + 1) << 16 | 3
					       : leaves[kind / 768 % 5] | 0x123ULL << 16 | 3;
			uint64_t index = q.ipa >> naive_arm_low(q.granule_kb, (int)l);

			if (l > top)
				index &= BIT64(req.table.granule_lg2 - 3) - 1;
			if (l == damaged)
				entry ^= BIT64(bit);
			phys.words[((uint64_t)l << 16) / 8 + index] = htole64(entry);
		}
		compare(&q);
	}
}

static void a_table_that_points_to_itself_ends(void **state)
{
	for (int granule = 4; granule <= 64; granule *= 4) {
		struct naive_arm_s2_request q = { .granule_kb = granule, .sl0 = 2, .tsz = 20,
						  .out_bits = 48 };

		memset(&phys, 0, sizeof(phys));
		for (size_t i = 0; i < SIZE / 8; i++)
			phys.words[i] = htole64(0x4c3);
		assert_int_equal(compare(&q), 0);
	}
}

/* First levels and sizes, against numbers of the manual. */
static void legal_sizes(void **state)
{
	for (unsigned int kind = 0; kind < 3 * 4 * 64; kind++) {
		unsigned int granule = kind % 3, sl0 = kind / 3 % 4, tsz = kind / 12, level;
		int kb = 4 << 2 * granule;
		bool legal = arm_s2_top_level(12 + 2 * granule, sl0, &level) &&
			     arm_s2_size_is_legal(12 + 2 * granule, level, tsz);

		if (tsz < 12 || tsz > 39)
			continue;
		assert_int_equal(legal, naive_arm_s2_is_legal(kb, (int)sl0, 64 - (int)tsz));
	}
}

static void top_tables(void **state)
{
	static const struct { unsigned int granule_lg2, level, tsz; uint64_t bytes; } rows[] = {
		{ 12, 0, 16, 4096 }, { 12, 0, 24, 16 }, { 12, 1, 25, 4096 }, { 12, 1, 24, 8192 },
		{ 12, 1, 21, 65536 }, { 12, 2, 30, 65536 }, { 14, 1, 16, 32768 }, { 14, 2, 24, 262144 },
		{ 14, 3, 35, 262144 }, { 16, 1, 20, 32 }, { 16, 2, 22, 65536 }, { 16, 2, 18, 1048576 },
		{ 16, 3, 31, 1048576 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(arm_s2_top_table(0xfffffffffff0, rows[i].granule_lg2, rows[i].level,
						  rows[i].tsz),
				 0x1000000000000 - rows[i].bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sound_tables_agree_with_the_oracle),
		cmocka_unit_test(malformed_tables_agree_with_the_oracle),
		cmocka_unit_test(each_bit_at_each_level_agrees_with_the_oracle),
		cmocka_unit_test(a_table_that_points_to_itself_ends),
		cmocka_unit_test(legal_sizes),
		cmocka_unit_test(top_tables),
	};

	return cmocka_run_group_tests_name("arm_s2", tests, NULL, NULL);
}
