// SPDX-License-Identifier: BSD-3-Clause
/*
 * The Arm stage 1 walker against the oracle of naive_arm_walk.h, over random tables in a
 * small physical memory: sound ones, malformed ones, tables that point to themselves, all
 * granules and all sizes of the address space. Both walk a memory of their own; afterwards
 * the two memories must be the same, so a bit changed too much, too little or elsewhere is
 * seen.
 */
#include "test.h"

#include "naive_arm_walk.h"
#include "pagetable/arm_s1.h"

#include <string.h>

enum { PAGES = 64, SIZE = PAGES * 4096 };	/* four tables of 64 KiB */

struct phys {
	uint64_t words[SIZE / 8], oracle[SIZE / 8];
	bool readonly[PAGES], hole[PAGES];
};
static struct phys phys;

static inline uint64_t *slot_at(void *opaque, uint64_t address, bool *writable)
{
	struct phys *p = opaque;

	assert_int_equal(address % 8, 0);
	if (address / 4096 >= PAGES || p->hole[address / 4096])
		return NULL;
	*writable = !p->readonly[address / 4096];
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
	entry |= r & (1ULL << 63 | 0x1ffULL << 52 | 0xb3c);	/* ignored, and nG */
	if (!chance(seed, 8))
		entry |= 1 << 10;
	if (!chance(seed, 6))
		entry |= 1 << 6;
	if (chance(seed, 3))
		entry |= 1 << 7;
	if (chance(seed, 2))
		entry |= 1ULL << 51;
	if (chance(seed, 6))
		entry |= (test_random(seed) & 3) << 61;
	if (chance(seed, 12))
		entry ^= 1;
	if (chance(seed, 5))	/* a block, where there may be one */
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
	memcpy(phys.oracle, phys.words, sizeof(phys.words));
	for (size_t i = 0; i < PAGES; i++) {
		phys.readonly[i] = wild && chance(seed, 8);
		phys.hole[i] = wild && chance(seed, 16);
	}
}

static struct naive_arm_memory oracle_memory(void)
{
	return (struct naive_arm_memory){ (uint8_t *)phys.oracle, PAGES, phys.readonly, phys.hole };
}

static struct arm_s1_request to_request(const struct naive_arm_request *q)
{
	return (struct arm_s1_request){
		.offset = q->va & (UINT64_MAX >> q->tsz),
		.too_high = q->out_bits < 64 ? UINT64_MAX << q->out_bits : 0,
		.granule_lg2 = q->granule_kb == 4 ? 12 : q->granule_kb == 16 ? 14 : 16,
		.write = q->write, .privileged = q->privileged, .ha = q->ha, .hd = q->hd,
		.affd = q->affd, .had = q->had, .pan = q->pan, .peek = q->peek,
	};
}

static struct arm_s1_position top_of(const struct naive_arm_request *q)
{
	unsigned int granule_lg2 = to_request(q).granule_lg2, tsz = (unsigned int)q->tsz;

	return (struct arm_s1_position){ .table = arm_s1_top_table(q->ttb, granule_lg2, tsz),
					 .level = arm_s1_top_level(granule_lg2, tsz) };
}

static struct naive_arm_request random_request(uint64_t *seed, bool wild)
{
	static const int granules[] = { 4, 16, 64 }, out_bits[] = { 18, 32, 40, 48 };
	uint64_t r = test_random(seed);
	struct naive_arm_request q = {
		.va = test_random(seed), .ttb = test_random(seed) % SIZE,
		.granule_kb = granules[r % 3], .tsz = 16 + (int)((r >> 8) % 24),
		.out_bits = out_bits[wild ? r >> 16 & 3 : 3],
		.write = r & 1 << 20, .privileged = (r >> 21 & 3) == 3, .ha = r & 1 << 23,
		.hd = r & 1 << 24, .affd = r & 1 << 25, .had = (r >> 26 & 3) == 3,
		.pan = r & 1 << 28, .peek = (r >> 29 & 7) == 7,
	};

	/* few indices of each level, so that walks meet tables that others changed */
	if (r >> 40 & 1)
		q.va = (r >> 41) * 0x1040201000ULL & UINT64_MAX >> q.tsz;
	q.ttb += wild && chance(seed, 16) ? SIZE : 0;
	return q;
}

static void check_same(const struct naive_arm_result *want, enum smmu_event_type event,
		       const struct arm_s1_leaf *leaf)
{
	unsigned int rights = (want->user_read ? 1 : 0) + (want->user_write ? 2 : 0) +
			      (want->priv_read ? 4 : 0) + (want->priv_write ? 8 : 0);

	assert_int_equal(event, want->fault);
	assert_int_equal(leaf->num_passed, want->num_steps);
	for (int i = 0; i < want->num_steps; i++) {
		assert_int_equal(leaf->passed[i].table, want->steps[i].table);
		assert_int_equal(leaf->passed[i].level, want->steps[i].level);
		assert_int_equal(leaf->passed[i].read_only, want->steps[i].read_only);
		assert_int_equal(leaf->passed[i].no_user, want->steps[i].no_user);
	}
	if (event == SMMU_F_WALK_EABT) {
		assert_int_equal(leaf->descriptor, want->descriptor);
		assert_int_equal(leaf->update, want->update_failed);
	}
	if (event)
		return;
	assert_int_equal(leaf->address, want->page);
	assert_int_equal(leaf->page_lg2, want->page_bits);
	assert_int_equal(leaf->level, want->level);
	assert_int_equal(leaf->global, want->global);
	assert_int_equal(leaf->rights, rights);
}

/* What a cache does: the same request from a table below the top must end the same. */
static void check_from_below(const struct naive_arm_request *q, const struct naive_arm_result *want)
{
	struct arm_s1_request req = to_request(q);

	req.peek = true;
	for (int i = 0; i < want->num_steps; i++) {
		struct arm_s1_position pos = {
			want->steps[i].table, (unsigned int)want->steps[i].level,
			want->steps[i].read_only, want->steps[i].no_user,
		};
		struct arm_s1_leaf leaf = { 0 };

		assert_int_equal(arm_s1_walk(&req, pos, slot_at, &phys, &leaf), want->fault);
		assert_int_equal(leaf.num_passed, want->num_steps - 1 - i);
		assert_true(want->fault || leaf.address == want->page);
	}
}

static unsigned int compare_walks(uint64_t *seed, bool wild, int memories, unsigned int *faults)
{
	unsigned int translated = 0;

	for (int i = 0; i < memories; i++) {
		make_memory(seed, wild);
		for (int n = 0; n < 400; n++) {
			struct naive_arm_request q = random_request(seed, wild);
			struct naive_arm_memory m = oracle_memory();
			struct naive_arm_result want = naive_arm_walk(&m, &q);
			struct arm_s1_request req = to_request(&q);
			struct arm_s1_leaf leaf;

			check_same(&want, arm_s1_walk(&req, top_of(&q), slot_at, &phys, &leaf),
				   &leaf);
			/* what could not be written from the top says nothing about a peek */
			if (!want.update_failed)
				check_from_below(&q, &want);
			translated += !want.fault;
			faults[want.fault]++;
		}
		assert_int_equal(memcmp(phys.words, phys.oracle, SIZE), 0);
	}
	return translated;
}

static void sound_tables_agree_with_the_oracle(void **state)
{
	unsigned int faults[256] = { 0 };
	uint64_t seed = 11;

	assert_in_range(compare_walks(&seed, false, 60, faults), 3000, 22000);
	assert_int_equal(faults[SMMU_F_WALK_EABT] + faults[SMMU_F_ADDR_SIZE], 0);
}

/* The random tables must have met every way to fail, or this test tests little. */
static void malformed_tables_agree_with_the_oracle(void **state)
{
	static const uint8_t events[] = { 0x0b, 0x10, 0x11, 0x12, 0x13, 0 };
	unsigned int faults[256] = { 0 };
	uint64_t seed = 12;

	compare_walks(&seed, true, 120, faults);
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		assert_true(faults[events[i]] > 100);
}

static uint64_t *path_word(const struct naive_arm_request *q, unsigned int level)
{
	struct arm_s1_request req = to_request(q);
	uint64_t index = req.offset >> arm_s1_level_lg2(req.granule_lg2, level) &
			 (BIT64(req.granule_lg2 - 3) - 1);

	return &phys.words[((uint64_t)level << 16) / 8 + index];
}

/* A path for @q, sound but for @flip at @level: the table of level n is at n * 64 KiB. */
static void make_path(const struct naive_arm_request *q, uint64_t leaf, unsigned int level,
		      uint64_t flip)
{
	for (unsigned int l = top_of(q).level; l <= 3; l++) {
		uint64_t entry = l < 3 ? (uint64_t)(l + 1) << 16 | 3 : leaf | 3;

		*path_word(q, l) = htole64(entry ^ (l == level ? flip : 0));
		phys.oracle[path_word(q, l) - phys.words] = *path_word(q, l);
	}
}

/* Every single bit of a descriptor of every level, changed in an otherwise sound path. */
static void each_bit_at_each_level_agrees_with_the_oracle(void **state)
{
	static const int granules[] = { 4, 16, 64 };
	static const uint64_t leaves[] = { 0x440, 0x4c0 | 1ULL << 51, 0x40, 0x400, 0x4c0 };

	memset(&phys, 0, sizeof(phys));
	for (unsigned int kind = 0; kind < 64 * 4 * 3 * 5 * 256; kind++) {
		unsigned int bit = kind % 64, level = kind / 64 % 4, flags = kind / 3840 & 255;
		struct naive_arm_request q = {
			.va = 0x56789abc0123, .granule_kb = granules[kind / 256 % 3], .tsz = 16,
			.out_bits = 46, .write = flags & 1, .privileged = flags & 2, .ha = flags & 4,
			.hd = flags & 8, .affd = flags & 16, .had = flags & 32, .pan = flags & 64,
			.peek = flags & 128,
		};
		struct naive_arm_memory m = oracle_memory();
		struct arm_s1_request req = to_request(&q);
		struct naive_arm_result want;
		struct arm_s1_leaf leaf;

		if (level < top_of(&q).level)
			continue;
		q.ttb = (uint64_t)top_of(&q).level << 16;
		make_path(&q, leaves[kind / 768 % 5] | 0x123ULL << 16, level, 1ULL << bit);
		want = naive_arm_walk(&m, &q);
		check_same(&want, arm_s1_walk(&req, top_of(&q), slot_at, &phys, &leaf), &leaf);
		for (unsigned int l = top_of(&q).level; l <= 3; l++)
			assert_int_equal(*path_word(&q, l),
					 phys.oracle[path_word(&q, l) - phys.words]);
	}
}

static void a_table_that_points_to_itself_ends(void **state)
{
	for (int granule = 4; granule <= 64; granule *= 4) {
		struct naive_arm_request q = { .granule_kb = granule, .tsz = 16, .out_bits = 48 };
		struct arm_s1_request req = to_request(&q);
		struct arm_s1_leaf leaf;

		memset(&phys, 0, sizeof(phys));
		for (size_t i = 0; i < SIZE / 8; i++)
			phys.words[i] = htole64(0x443);
		assert_int_equal(arm_s1_walk(&req, top_of(&q), slot_at, &phys, &leaf), 0);
		assert_int_equal(leaf.num_passed, granule == 64 ? 2 : 3);
		assert_int_equal(leaf.address, 0);
	}
}

/* The geometry, against numbers of the manual. */
static void top_tables(void **state)
{
	static const struct { unsigned int granule_lg2, tsz, level; uint64_t table_bytes; } rows[] = {
		{ 12, 16, 0, 4096 }, { 12, 17, 0, 2048 }, { 12, 24, 0, 16 }, { 12, 25, 1, 4096 },
		{ 12, 28, 1, 512 }, { 12, 33, 1, 16 }, { 12, 34, 2, 4096 }, { 12, 39, 2, 128 },
		{ 14, 16, 0, 16 }, { 14, 17, 1, 16384 }, { 14, 27, 1, 16 }, { 14, 28, 2, 16384 },
		{ 14, 39, 3, 16384 }, { 16, 16, 1, 512 }, { 16, 21, 1, 16 }, { 16, 22, 2, 65536 },
		{ 16, 34, 2, 16 }, { 16, 35, 3, 65536 }, { 16, 39, 3, 4096 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(arm_s1_top_level(rows[i].granule_lg2, rows[i].tsz), rows[i].level);
		assert_int_equal(arm_s1_top_table(0xfffffffffff0, rows[i].granule_lg2, rows[i].tsz),
				 0x1000000000000 - rows[i].table_bytes);
		assert_int_equal(naive_arm_top_level(1 << (rows[i].granule_lg2 - 10),
						     (int)rows[i].tsz), rows[i].level);
	}
}

static void ranges_of_addresses(void **state)
{
	uint64_t seed = 5;

	for (int n = 0; n < 200000; n++) {
		int tsz = 16 + n % 24;
		bool tbi = n / 24 % 2;
		uint64_t va = test_random(&seed), sign = n / 48 % 2 ? UINT64_MAX : 0;

		/* near the edge of the range, one bit off or two */
		va = (va >> tsz | sign << (63 - tsz) << 1) ^ BIT64(test_random(&seed) % 64);
		va ^= n / 96 % 2 ? BIT64(test_random(&seed) % 64) : 0;
		assert_int_equal(arm_s1_in_range(arm_s1_effective_va(va, tbi), (unsigned int)tsz),
				 naive_arm_in_range(va, tsz, tbi));
		assert_int_equal(arm_s1_upper_half(va), va & BIT64(55) ? 1 : 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sound_tables_agree_with_the_oracle),
		cmocka_unit_test(malformed_tables_agree_with_the_oracle),
		cmocka_unit_test(each_bit_at_each_level_agrees_with_the_oracle),
		cmocka_unit_test(a_table_that_points_to_itself_ends),
		cmocka_unit_test(top_tables),
		cmocka_unit_test(ranges_of_addresses),
	};

	return cmocka_run_group_tests_name("arm_s1", tests, NULL, NULL);
}
