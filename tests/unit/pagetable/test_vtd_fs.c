// SPDX-License-Identifier: BSD-3-Clause
/*
 * The first-stage walker against the oracle of naive_walk.h, over random tables in a
 * small physical memory: sound ones, malformed ones, tables that point to themselves.
 * Both walk a memory of their own; afterwards the two memories must be the same, so a
 * bit set too much, too little or elsewhere is seen.
 */
#include "test.h"

#include "naive_walk.h"
#include "pagetable/vtd_fs.h"

#include <string.h>

enum { PAGES = 10, SIZE = PAGES * 4096, GPA_BITS = 46 };

struct phys {
	uint64_t words[SIZE / 8], oracle[SIZE / 8];
	bool readonly[PAGES], hole[PAGES];
};
static struct phys phys;

static inline uint64_t *table_of(void *opaque, uint64_t address, bool *writable)
{
	struct phys *p = opaque;

	if (address / 4096 >= PAGES || p->hole[address / 4096])
		return NULL;
	*writable = !p->readonly[address / 4096];
	return &p->words[address / 8];
}

static bool chance(uint64_t *seed, unsigned int in)
{
	return test_random(seed) % in == 0;
}

/* @wild: how malformed, from never (0) to one entry in ten */
static uint64_t random_entry(uint64_t *seed, bool wild)
{
	uint64_t r = test_random(seed), ignored = r & (BIT64(63) | GENMASK64(62, 52) | 0xb18);
	uint64_t entry = ignored | (test_random(seed) % PAGES) << 12;

	entry |= VTD_FS_P | VTD_FS_RW | VTD_FS_US | (r & (VTD_FS_A | VTD_FS_D | VTD_FS_EA));
	if (chance(seed, 12))
		entry ^= VTD_FS_P;
	if (chance(seed, 6))
		entry ^= VTD_FS_RW;
	if (chance(seed, 12))
		entry ^= VTD_FS_US;
	if (chance(seed, 5))	/* a large leaf where there may be one */
		entry = (entry & ~GENMASK64(29, 13)) | VTD_FS_PS | (r & 0xf) << 30;
	if (wild && chance(seed, 10))
		entry ^= BIT64(test_random(seed) % 64);
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

static struct naive_memory oracle_memory(void)
{
	return (struct naive_memory){ (uint8_t *)phys.oracle, PAGES, phys.readonly, phys.hole };
}

static struct vtd_fs_request to_request(const struct naive_request *q)
{
	return (struct vtd_fs_request){
		.iova = q->iova, .reserved = ~0ULL << q->gpa_bits,
		.levels = (unsigned int)q->levels, .write = q->write,
		.supervisor = q->supervisor, .write_protect = q->wp,
		.extended_accessed = q->ea, .peek = q->peek,
	};
}

static struct vtd_fs_position top_of(uint64_t root, int levels)
{
	return (struct vtd_fs_position){ root, (unsigned int)levels, true, true };
}

static struct naive_request random_request(uint64_t *seed)
{
	uint64_t r = test_random(seed);

	return (struct naive_request){
		.iova = test_random(seed), .levels = r & 1 ? 4 : 5,
		.gpa_bits = r & 2 ? GPA_BITS : 52, .write = r & 4, .supervisor = (r & 0x18) == 0x18,
		.wp = r & 0x20, .ea = r & 0x40, .peek = (r & 0x380) == 0x380,
	};
}

static void check_same(const struct naive_result *want, enum vtd_fault_reason reason,
		       const struct vtd_fs_leaf *leaf)
{
	assert_int_equal(reason, want->fault);
	assert_int_equal(leaf->num_passed, want->num_steps);
	for (int i = 0; i < want->num_steps; i++) {
		assert_int_equal(leaf->passed[i].table, want->steps[i].table);
		assert_int_equal(leaf->passed[i].level, want->steps[i].level);
		assert_int_equal(leaf->passed[i].writable, want->steps[i].writable);
		assert_int_equal(leaf->passed[i].user, want->steps[i].user);
	}
	if (reason)
		return;
	assert_int_equal(leaf->address, want->page);
	assert_int_equal(leaf->page_lg2, want->page_bits);
	assert_int_equal(leaf->writable, want->may_write);
	assert_int_equal(leaf->dirty, want->dirty);
}

/* What a cache does: the same request from a table below the top must end the same. */
static void check_from_below(const struct naive_request *q, const struct naive_result *want)
{
	struct vtd_fs_request req = to_request(q);

	req.peek = true;
	for (int i = 0; i < want->num_steps; i++) {
		struct vtd_fs_position pos = {
			want->steps[i].table, (unsigned int)want->steps[i].level,
			want->steps[i].writable, want->steps[i].user,
		};
		struct vtd_fs_leaf leaf = { 0 };

		assert_int_equal(vtd_fs_walk(&req, pos, table_of, &phys, &leaf), want->fault);
		assert_int_equal(leaf.num_passed, want->num_steps - 1 - i);
		if (want->fault)
			continue;
		assert_int_equal(leaf.address, want->page);
		assert_int_equal(leaf.writable, want->may_write);
	}
}

static unsigned int compare_walks(uint64_t *seed, bool wild, int memories, unsigned int *faults)
{
	unsigned int translated = 0;

	for (int i = 0; i < memories; i++) {
		make_memory(seed, wild);
		for (int n = 0; n < 200; n++) {
			struct naive_request q = random_request(seed);
			uint64_t root = test_random(seed) % (wild ? PAGES + 1 : PAGES) * 4096;
			struct naive_memory m = oracle_memory();
			struct naive_result want = naive_walk(&m, root, &q);
			struct vtd_fs_request req = to_request(&q);
			struct vtd_fs_leaf leaf;

			check_same(&want, vtd_fs_walk(&req, top_of(root, q.levels), table_of, &phys,
						      &leaf), &leaf);
			assert_int_equal(memcmp(phys.words, phys.oracle, SIZE), 0);
			/* what could not be set from the top says nothing about a peek */
			if (want.fault != VTD_FAULT_FS_BIT_UPDATE)
				check_from_below(&q, &want);
			assert_int_equal(memcmp(phys.words, phys.oracle, SIZE), 0);
			translated += !want.fault;
			faults[want.fault]++;
		}
	}
	return translated;
}

static void sound_tables_agree_with_the_oracle(void **state)
{
	unsigned int faults[256] = { 0 };
	uint64_t seed = 11;

	assert_in_range(compare_walks(&seed, false, 60, faults), 1000, 11000);
	assert_int_equal(faults[VTD_FAULT_FSPTPTR_ACCESS] + faults[VTD_FAULT_FS_BIT_UPDATE], 0);
}

/* The random tables must have met every way to fail, or this test tests little. */
static void malformed_tables_agree_with_the_oracle(void **state)
{
	static const uint8_t reasons[] = { 0x70, 0x71, 0x72, 0x73, 0x81, 0x85, 0x91, 0 };
	unsigned int faults[256] = { 0 };
	uint64_t seed = 12;

	compare_walks(&seed, true, 120, faults);
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		assert_true(faults[reasons[i]] > 20);
}

/* Every single bit of an entry of every level, set or cleared in an otherwise sound path. */
static void each_bit_at_each_level_agrees_with_the_oracle(void **state)
{
	for (int kind = 0; kind < 64 * 5 * 64; kind++) {
		int bit = kind % 64, level = 1 + kind / 64 % 5, flags = kind / 320;
		struct naive_request q = {
			.iova = 0x123456789abc, .levels = 5, .gpa_bits = GPA_BITS,
			.write = flags & 1, .supervisor = flags & 2, .wp = flags & 4,
			.ea = flags & 8, .peek = flags & 16,
		};
		struct vtd_fs_request req = to_request(&q);
		struct naive_memory m;
		struct naive_result want;
		struct vtd_fs_leaf leaf;

		memset(&phys, 0, sizeof(phys));
		for (int l = 5; l >= 1; l--)	/* page l holds the table of level l */
			phys.words[l * 512 + vtd_fs_index(q.iova, (unsigned int)l)] =
				htole64((uint64_t)(l - 1) << 12 | 7 | (flags & 32 ? 0x460 : 0));
		phys.words[level * 512 + vtd_fs_index(q.iova, (unsigned int)level)] ^=
			htole64(1ULL << bit);
		memcpy(phys.oracle, phys.words, sizeof(phys.words));
		m = oracle_memory();
		want = naive_walk(&m, 5 << 12, &q);
		check_same(&want, vtd_fs_walk(&req, top_of(5 << 12, 5), table_of, &phys, &leaf),
			   &leaf);
		assert_int_equal(memcmp(phys.words, phys.oracle, SIZE), 0);
	}
}

static void a_table_that_points_to_itself_ends(void **state)
{
	struct naive_request q = { .levels = 5, .gpa_bits = 52 };
	struct vtd_fs_leaf leaf;

	memset(&phys, 0, sizeof(phys));
	for (size_t i = 0; i < 512; i++)
		phys.words[i] = htole64(7);
	for (q.levels = 4; q.levels <= 5; q.levels++) {
		struct vtd_fs_request req = to_request(&q);

		assert_int_equal(vtd_fs_walk(&req, top_of(0, q.levels), table_of, &phys, &leaf), 0);
		assert_int_equal(leaf.num_passed, q.levels - 1);
		assert_int_equal(leaf.address, 0);
		assert_int_equal(leaf.page_lg2, 12);
	}
}

/* A walk that begins below the top is bound by the rights of the entries it did not read. */
static void a_position_carries_the_rights_above_it(void **state)
{
	static const struct { bool writable, user, write, supervisor, wp; int fault; } rows[] = {
		{ true, true, true, false, false, 0 },
		{ false, true, true, false, false, VTD_FAULT_WRITE },
		{ false, true, false, false, false, 0 },
		{ true, false, false, false, false, VTD_FAULT_FS_PRIVILEGE },
		{ true, false, true, true, true, 0 },
		{ false, false, true, true, true, VTD_FAULT_WRITE },
		{ false, false, true, true, false, 0 },
	};
	struct vtd_fs_leaf leaf;

	memset(&phys, 0, sizeof(phys));
	phys.words[0] = htole64(7);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vtd_fs_position pos = { 0, 2, rows[i].writable, rows[i].user };
		struct vtd_fs_request req = { .levels = 4, .write = rows[i].write,
					      .supervisor = rows[i].supervisor,
					      .write_protect = rows[i].wp };

		assert_int_equal(vtd_fs_walk(&req, pos, table_of, &phys, &leaf), rows[i].fault);
		if (rows[i].fault)
			continue;
		assert_int_equal(leaf.num_passed, 1);
		assert_int_equal(leaf.passed[0].writable, rows[i].writable);
		assert_int_equal(leaf.passed[0].user, rows[i].user);
	}
}

static void canonical_addresses(void **state)
{
	uint64_t seed = 5;

	for (int bit = 0; bit < 64; bit++) {
		for (int i = 0; i < 64; i++) {
			uint64_t base = i ? test_random(&seed) >> i : 0;
			uint64_t tries[] = { BIT64(bit), ~BIT64(bit), BIT64(bit) - 1,
					     ~(BIT64(bit) - 1), base ^ BIT64(bit), ~base };

			for (size_t n = 0; n < ARRAY_SIZE(tries); n++) {
				assert_int_equal(vtd_fs_canonical(tries[n], 4),
						 naive_canonical(tries[n], 48));
				assert_int_equal(vtd_fs_canonical(tries[n], 5),
						 naive_canonical(tries[n], 57));
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sound_tables_agree_with_the_oracle),
		cmocka_unit_test(malformed_tables_agree_with_the_oracle),
		cmocka_unit_test(each_bit_at_each_level_agrees_with_the_oracle),
		cmocka_unit_test(a_table_that_points_to_itself_ends),
		cmocka_unit_test(a_position_carries_the_rights_above_it),
		cmocka_unit_test(canonical_addresses),
	};

	return cmocka_run_group_tests_name("vtd_fs", tests, NULL, NULL);
}
