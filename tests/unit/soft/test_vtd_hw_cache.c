// SPDX-License-Identifier: BSD-3-Clause
/*
 * The caches of the software VT-d unit: what stays, what an invalidation takes away, and
 * what check mode says about it. Page n of an address space is marked with n, and n + 1000
 * where a test maps other memory in its place.
 */
#include "vtd_rig.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { PAGES = 160, OTHER = PAGES };	/* GPA pages: 0.. the first mapping, OTHER.. the second */

static void map_pages(struct rig *rig, uint64_t iova, uint64_t first_page)
{
	for (uint64_t n = 0; n < PAGES; n++) {
		rig_mark(rig, (first_page + n) << 12, first_page == OTHER ? n + 1000 : n);
		rig_map(rig, iova + (n << 12), (first_page + n) << 12, 1, E_RW);
	}
}

static void read_pages(struct rig *rig, uint64_t iova)
{
	for (uint64_t n = 0; n < PAGES; n++)
		rig_read(rig, iova + (n << 12));
}

static void an_unmapped_page_is_used_until_flushed(void **state)
{
	struct rig *rig = *state;

	rig_mark(rig, 0x5000, 5);
	rig_map(rig, 0x1000, 0x5000, 1, E_RW);
	assert_int_equal(rig_read(rig, 0x1000), 5);
	rig_map(rig, 0x1000, 0, 1, 0);
	assert_int_equal(rig_read(rig, 0x1000), 5);
	assert_int_equal(rig_read(rig, 0x1ff8), 0);
	vtd_hw_flush_pages(rig->hw, RIG_DID, 0x1000, 1, true);
	assert_int_equal(rig_read(rig, 0x1000), RIG_FAULT);
	/* and what is not present is not cached: mapping needs no invalidation */
	rig_map(rig, 0x1000, 0x5000, 1, E_RW);
	assert_int_equal(rig_read(rig, 0x1000), 5);
}

static void a_flush_takes_exactly_its_pages(void **state)
{
	static const struct { uint64_t first, npages; } rows[] = {
		{ 0, 1 }, { 3, 1 }, { PAGES - 1, 1 }, { 3, 2 }, { 10, 63 }, { 10, 64 }, { 10, 65 },
		{ 0, PAGES }, { 5, PAGES }, { 7, 1ULL << 40 },
	};
	/* the upper one starts where 2 MiB end, so that ranges cross tables */
	static const uint64_t bases[] = { 0x40000000, 0x7fffe00000 - 0x8000, 0xffff800000000000 };
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows) * ARRAY_SIZE(bases) * 2; i++) {
		uint64_t first = rows[i / 2 / ARRAY_SIZE(bases)].first;
		uint64_t npages = rows[i / 2 / ARRAY_SIZE(bases)].npages;
		uint64_t base = bases[i / 2 % ARRAY_SIZE(bases)];

		map_pages(rig, base, 0);
		vtd_hw_flush_domain(rig->hw, RIG_DID);
		read_pages(rig, base);
		map_pages(rig, base, OTHER);
		vtd_hw_flush_pages(rig->hw, RIG_DID, base + (first << 12), npages, i % 2);
		for (uint64_t n = 0; n < PAGES; n++)
			assert_int_equal(rig_read(rig, base + (n << 12)),
					 n >= first && n - first < npages ? n + 1000 : n);
	}
}

static void flushes_to_the_end_and_of_everything(void **state)
{
	static const uint64_t all[] = { UINT64_MAX, UINT64_MAX - 1, 1ULL << 52, (1ULL << 52) - 1 };
	struct rig *rig = *state;

	rig_mark(rig, 0x5000, 5);
	rig_mark(rig, 0x6000, 6);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		for (unsigned int top = 0; top < 2; top++) {
			uint64_t iova = top ? 0xfffffffffffff000 : 0x1000;

			rig_map(rig, iova, 0x5000, 1, E_RW);
			vtd_hw_flush_domain(rig->hw, RIG_DID);
			assert_int_equal(rig_read(rig, iova), 5);
			rig_map(rig, iova, 0x6000, 1, E_RW);
			assert_int_equal(rig_read(rig, iova), 5);
			/* a range never wraps round to 0 */
			if (!top)
				vtd_hw_flush_pages(rig->hw, RIG_DID, 0xfffffffffffff000, 2, false);
			assert_int_equal(rig_read(rig, iova), 5);
			vtd_hw_flush_pages(rig->hw, RIG_DID, all[i] == UINT64_MAX ? 0 : 0x1000,
					   all[i], true);
			assert_int_equal(rig_read(rig, iova), 6);
		}
	}
}

static void a_large_leaf_is_one_entry(void **state)
{
	struct rig *rig = *state;

	for (unsigned int level = 2; level <= 3; level++) {
		uint64_t size = 1ULL << (3 + 9 * level), iova = 5 * size;
		uint64_t old = size == 1 << 30 ? size : 2 * size, new = old + size, misses;

		rig_mark(rig, old, 1);
		rig_mark(rig, old + size - 8, 2);
		rig_mark(rig, new, 3);
		rig_map(rig, iova, old, level, E_RW);
		assert_int_equal(rig_read(rig, iova), 1);
		misses = rig_stats(rig).iotlb_misses;
		assert_int_equal(rig_read(rig, iova + size - 8), 2);
		assert_int_equal(rig_stats(rig).iotlb_misses, misses);
		assert_int_equal(rig_read(rig, iova + size), RIG_FAULT);
		rig_map(rig, iova, new, level, E_RW);
		assert_int_equal(rig_read(rig, iova), 1);
		vtd_hw_flush_pages(rig->hw, RIG_DID, iova + size, 1, true);
		vtd_hw_flush_pages(rig->hw, RIG_DID, iova - 4096, 1, true);
		assert_int_equal(rig_read(rig, iova), 1);
		/* any page of it takes it away */
		vtd_hw_flush_pages(rig->hw, RIG_DID, iova + size - 4096, 1, true);
		assert_int_equal(rig_read(rig, iova), 3);
	}
}

/* The second stage has the middle of a 2 MiB leaf elsewhere: no entry may be larger. */
static void a_leaf_that_the_second_stage_cuts(void **state)
{
	struct rig *rig = *state;
	const uint64_t gpa = 0x40000000, hole = gpa + 0x101000;

	rig_clear_s2(rig);
	rig_add_s2(rig, 0, 0x20000000, rig->ram, RANGE_READ | RANGE_WRITE);
	rig_add_s2(rig, gpa, 0x100000, rig->ram + gpa, RANGE_READ);
	rig_add_s2(rig, gpa + 0x100000, 0x1000, rig->ram + 0x8000, RANGE_READ | RANGE_WRITE);
	rig_add_s2(rig, hole + 0x1000, 0x40000000, rig->ram + 0x48000000, RANGE_READ);
	rig_map(rig, 0x40000000, gpa, 3, E_RW);
	rig_mark(rig, gpa + 0xff000, 1);
	rig_mark(rig, 0x8000, 2);
	rig_mark(rig, 0x48000000, 3);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(rig_read(rig, 0x40000000 + 0xff000), 1);
		assert_int_equal(rig_read(rig, 0x40000000 + 0x100000), 2);
		assert_int_equal(rig_read(rig, 0x40000000 + 0x101000), RIG_FAULT);
		assert_int_equal(rig_read(rig, 0x40000000 + 0x102000), 3);
		assert_false(rig_can_write(rig, 0x40000000 + 0xff000));
		assert_true(rig_can_write(rig, 0x40000000 + 0x100000));
	}
}

/* Replace the table of the last level: what a guest does that frees an empty one. */
static void swap_last_table(struct rig *rig, uint64_t iova, uint64_t gpa)
{
	uint64_t table = rig_new_table(rig);
	uint64_t *leaf = (uint64_t *)(void *)&rig->ram[table] + (iova >> 12 & 511);

	rig_store(leaf, gpa | E_RW);
	rig_store(rig_slot(rig, rig->entry.fs_root, iova, 2), table | E_RW);
}

static void the_leaf_hint_keeps_tables(void **state)
{
	struct rig *rig = *state;

	rig_mark(rig, 0x5000, 5);
	rig_mark(rig, 0x6000, 6);
	rig_map(rig, 0x1000, 0x5000, 1, E_RW);
	assert_int_equal(rig_read(rig, 0x1000), 5);
	swap_last_table(rig, 0x1000, 0x6000);
	vtd_hw_flush_pages(rig->hw, RIG_DID, 0x1000, 1, true);
	assert_int_equal(rig_read(rig, 0x1000), 5);
	vtd_hw_flush_pages(rig->hw, RIG_DID, 0x2000, 1, false);	/* this table, not this leaf */
	assert_int_equal(rig_read(rig, 0x1000), 5);
	vtd_hw_flush_pages(rig->hw, RIG_DID, 0x1000, 1, true);
	assert_int_equal(rig_read(rig, 0x1000), 6);

	swap_last_table(rig, 0x1000, 0x5000);
	vtd_hw_flush_pages(rig->hw, RIG_DID, 0x200000, 1, false);	/* another table */
	vtd_hw_flush_pages(rig->hw, RIG_DID, 0x1000, 1, true);
	assert_int_equal(rig_read(rig, 0x1000), 6);
	vtd_hw_flush_pages(rig->hw, RIG_DID, 0x1000, 1, false);
	assert_int_equal(rig_read(rig, 0x1000), 5);
}

/* The lowest cached table wins, so a change anywhere above it is seen without the hint only. */
static void swaps_at_any_level_are_unseen_with_the_hint(void **state)
{
	struct rig *rig = *state;

	for (unsigned int level = 2; level <= 4; level++) {
		uint64_t iova = 0x8080604000ULL, table, gpa = 0x6000;
		uint64_t *slot, old;

		rig_mark(rig, 0x5000, 5);
		rig_mark(rig, 0x6000, 6);
		rig_map(rig, iova, 0x5000, 1, E_RW);
		vtd_hw_flush_domain(rig->hw, RIG_DID);
		assert_int_equal(rig_read(rig, iova), 5);
		slot = rig_slot(rig, rig->entry.fs_root, iova, level);
		old = *slot;
		for (unsigned int l = 1; l < level; l++) {	/* a new branch, from the leaf up */
			table = rig_new_table(rig);
			rig_store((uint64_t *)(void *)&rig->ram[table] +
				  (iova >> (9 * l + 3) & 511), gpa | E_RW);
			gpa = table;
		}
		rig_store(slot, gpa | E_RW);
		vtd_hw_flush_pages(rig->hw, RIG_DID, iova, 1, true);
		assert_int_equal(rig_read(rig, iova), 5);
		vtd_hw_flush_pages(rig->hw, RIG_DID, iova, 1, false);
		assert_int_equal(rig_read(rig, iova), 6);
		rig_store(slot, old);
		vtd_hw_flush_domain(rig->hw, RIG_DID);
	}
}

static void a_domain_is_flushed_alone(void **state)
{
	enum { NEIGHBOUR = RIG_DID + 1024 };	/* shares a list of the cache */
	struct rig *rig = *state;
	struct vtd_hw_entry other = rig->entry;
	uint64_t got = 0;

	other.did = NEIGHBOUR;
	other.fs_root = rig_new_table(rig);
	rig_set_entry(rig, RIG_RID, 3, &other);
	rig_mark(rig, 0x5000, 5);
	rig_mark(rig, 0x6000, 6);
	for (int how = 0; how < 4; how++) {
		rig_map(rig, 0x1000, 0x5000, 1, E_RW);
		rig_store(rig_slot(rig, other.fs_root, 0x1000, 1), 0x6000 | E_RW);
		vtd_hw_flush_domain(rig->hw, RIG_DID);
		vtd_hw_flush_domain(rig->hw, NEIGHBOUR);
		assert_int_equal(rig_read(rig, 0x1000), 5);
		assert_int_equal(rig_dma_as(rig, RIG_RID, 3, false, 0x1000, &got, 8), 0);
		assert_int_equal(got, 6);	/* the same address of another domain */
		rig_map(rig, 0x1000, 0, 1, 0);
		rig_store(rig_slot(rig, other.fs_root, 0x1000, 1), 0);
		if (how == 0)
			vtd_hw_flush_domain(rig->hw, NEIGHBOUR);
		else
			vtd_hw_flush_pages(rig->hw, NEIGHBOUR, how == 1 ? 0x1000 : 0,
					   how == 1 ? 1 : how == 2 ? 1000 : UINT64_MAX, false);
		assert_int_equal(rig_read(rig, 0x1000), 5);
		assert_int_equal(rig_dma_as(rig, RIG_RID, 3, false, 0x1000, &got, 8), -EFAULT);
		vtd_hw_flush_pages(rig->hw, RIG_DID, 0x1000, 1, true);
		assert_int_equal(rig_read(rig, 0x1000), RIG_FAULT);
	}
}

static void a_new_entry_does_not_flush(void **state)
{
	struct rig *rig = *state;

	rig_mark(rig, 0x5000, 5);
	rig_mark(rig, 0x6000, 6);
	rig_map(rig, 0x1000, 0x5000, 1, E_RW);
	assert_int_equal(rig_read(rig, 0x1000), 5);
	rig->entry.fs_root = rig_new_table(rig);
	rig_set_entry(rig, RIG_RID, NST_NO_PASID, &rig->entry);
	rig_map(rig, 0x1000, 0x6000, 1, E_RW);
	assert_int_equal(rig_read(rig, 0x1000), 5);	/* same domain id: as the driver asked */
	rig->entry.did++;
	rig_set_entry(rig, RIG_RID, NST_NO_PASID, &rig->entry);
	assert_int_equal(rig_read(rig, 0x1000), 6);
	/* absent is seen at once */
	rig_set_entry(rig, RIG_RID, NST_NO_PASID, NULL);
	assert_int_equal(rig_read(rig, 0x1000), RIG_FAULT);
}

static void changes_of_the_second_stage(void **state)
{
	struct rig *rig = *state;

	rig_clear_s2(rig);
	rig_add_s2(rig, RIG_TABLES, 1 << 20, rig->ram + RIG_TABLES, RANGE_READ | RANGE_WRITE);
	rig_add_s2(rig, 0x5000, 0x1000, rig->ram + 0x5000, RANGE_READ | RANGE_WRITE);
	rig_mark(rig, 0x5000, 5);
	rig_map(rig, 0x1000, 0x5000, 1, E_RW);
	rig_map(rig, 0x2000, 0x6000, 1, E_RW);
	assert_int_equal(rig_read(rig, 0x1000), 5);
	assert_int_equal(rig_read(rig, 0x2000), RIG_FAULT);
	rig_add_s2(rig, 0x6000, 0x1000, rig->ram + 0x5000, RANGE_READ);	/* without a flush */
	assert_int_equal(rig_read(rig, 0x2000), 5);

	vtd_hw_map_begin(rig->hw);
	range_map_remove_at(&rig->s2, range_map_lower_bound(&rig->s2, 0x5000));
	vtd_hw_map_end(rig->hw, false);
	assert_int_equal(rig_read(rig, 0x1000), 5);
	vtd_hw_map_begin(rig->hw);
	vtd_hw_map_end(rig->hw, true);
	assert_int_equal(rig_read(rig, 0x1000), RIG_FAULT);
	assert_int_equal(rig_read(rig, 0x2000), 5);
}

static void the_first_write_sets_dirty_though_a_read_is_cached(void **state)
{
	struct rig *rig = *state;
	uint64_t *slot = rig_slot(rig, rig->entry.fs_root, 0x1000, 1), word = 0;

	rig_map(rig, 0x1000, 0x5000, 1, E_RW);
	rig_read(rig, 0x1000);
	rig_read(rig, 0x1000);
	assert_int_equal(*slot & E_D, 0);
	assert_int_equal(rig_dma(rig, true, 0x1000, &word, 8), 0);
	assert_int_equal(*slot & E_D, E_D);
	/* a write that is cached walks no more: clearing D takes an invalidation */
	rig_store(slot, *slot & ~(uint64_t)E_D);
	assert_int_equal(rig_dma(rig, true, 0x1000, &word, 8), 0);
	assert_int_equal(*slot & E_D, 0);
	vtd_hw_flush_pages(rig->hw, RIG_DID, 0x1000, 1, true);
	assert_int_equal(rig_dma(rig, true, 0x1000, &word, 8), 0);
	assert_int_equal(*slot & E_D, E_D);
	/* and where D is set already a read caches for writes too */
	vtd_hw_flush_pages(rig->hw, RIG_DID, 0x1000, 1, true);
	rig_read(rig, 0x1000);
	rig_store(slot, 0);
	assert_int_equal(rig_dma(rig, true, 0x1000, &word, 8), 0);
}

static void one_invalidation_is_lost_on_request(void **state)
{
	struct rig *rig = *state;
	uint64_t word = 0;

	rig_map(rig, 0x1000, 0x5000, 1, E_RW);
	rig_map(rig, 0x2000, 0x5000, 1, E_RW);
	vtd_hw_drop_invalidation(rig->hw, 16);
	for (int written = 0; written <= 16; written += 8) {
		rig_read(rig, 0x1000);
		rig_map(rig, 0x1000, 0, 1, 0);
		vtd_hw_flush_pages(rig->hw, RIG_DID, 0x1000, 1, true);
		assert_int_equal(rig_read(rig, 0x1000) == RIG_FAULT, written < 16);
		rig_map(rig, 0x1000, 0x5000, 1, E_RW);
		assert_int_equal(rig_dma(rig, true, 0x2000, &word, 8), 0);
	}
	/* once only */
	rig_map(rig, 0x1000, 0, 1, 0);
	vtd_hw_flush_pages(rig->hw, RIG_DID, 0x1000, 1, true);
	assert_int_equal(rig_read(rig, 0x1000), RIG_FAULT);

	/* armed with 0, at once; flushes that are no first-stage entry of the guest do not count */
	rig_map(rig, 0x1000, 0x5000, 1, E_RW);
	rig_read(rig, 0x1000);
	vtd_hw_drop_invalidation(rig->hw, 0);
	vtd_hw_flush_domain(rig->hw, RIG_DID + 1);
	vtd_hw_map_begin(rig->hw);
	vtd_hw_map_end(rig->hw, true);
	rig_read(rig, 0x1000);
	rig_map(rig, 0x1000, 0, 1, 0);
	vtd_hw_flush_pages(rig->hw, RIG_DID, 0, UINT64_MAX, false);
	assert_int_not_equal(rig_read(rig, 0x1000), RIG_FAULT);
	vtd_hw_flush_pages(rig->hw, RIG_DID, 0, UINT64_MAX, false);
	assert_int_equal(rig_read(rig, 0x1000), RIG_FAULT);
}

static void dropping_with_0_needs_no_write_at_all(void **state)
{
	struct rig *rig = *state;

	rig_map(rig, 0x1000, 0x5000, 1, E_RW);
	rig_read(rig, 0x1000);
	rig_map(rig, 0x1000, 0, 1, 0);
	vtd_hw_drop_invalidation(rig->hw, UINT64_MAX);	/* never */
	vtd_hw_flush_pages(rig->hw, RIG_DID, 0x2000, 1, true);
	vtd_hw_drop_invalidation(rig->hw, 0);
	vtd_hw_flush_pages(rig->hw, RIG_DID, 0x1000, 1, true);
	assert_int_not_equal(rig_read(rig, 0x1000), RIG_FAULT);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(an_unmapped_page_is_used_until_flushed),
		TEST(a_flush_takes_exactly_its_pages),
		TEST(flushes_to_the_end_and_of_everything),
		TEST(a_large_leaf_is_one_entry),
		TEST(a_leaf_that_the_second_stage_cuts),
		TEST(the_leaf_hint_keeps_tables),
		TEST(swaps_at_any_level_are_unseen_with_the_hint),
		TEST(a_domain_is_flushed_alone),
		TEST(a_new_entry_does_not_flush),
		TEST(changes_of_the_second_stage),
		TEST(the_first_write_sets_dirty_though_a_read_is_cached),
		TEST(one_invalidation_is_lost_on_request),
		TEST(dropping_with_0_needs_no_write_at_all),
	};

	return cmocka_run_group_tests_name("vtd_hw_cache", tests, NULL, NULL);
}
