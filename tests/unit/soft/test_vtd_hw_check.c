// SPDX-License-Identifier: BSD-3-Clause
/* Check mode, the IOMMU sanitizer: exactly the stale uses are counted, and each is named. */
#include "vtd_rig.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void expect_stale(struct rig *rig, unsigned int count)
{
	assert_int_equal(rig_stats(rig).stale_hits, count);
}

static void map_two(struct rig *rig)
{
	rig_mark(rig, 0x5000, 5);
	rig_mark(rig, 0x6000, 6);
	rig_map(rig, 0x1000, 0x5000, 1, E_RW);
	rig_map(rig, 0x2000, 0x6000, 1, E_RW);
}

/* Put another table of the last level under @iova, whose entries map nothing yet. */
static uint64_t *swap_last_table(struct rig *rig, uint64_t iova)
{
	uint64_t table = rig_new_table(rig);

	rig_store(rig_slot(rig, rig->entry.fs_root, iova, 2), table | E_RW);
	return (uint64_t *)(void *)&rig->ram[table];
}

static void each_stale_hit_counts_once(void **state)
{
	struct rig *rig = *state;
	uint8_t buf[0x2000];

	map_two(rig);
	assert_int_equal(rig_dma(rig, false, 0x1000, buf, sizeof(buf)), 0);
	assert_int_equal(rig_dma(rig, true, 0x1000, buf, sizeof(buf)), 0);
	assert_int_equal(rig_dma(rig, true, 0x1000, buf, sizeof(buf)), 0);
	expect_stale(rig, 0);
	rig_map(rig, 0x1000, 0, 1, 0);			/* unmapped */
	assert_int_equal(rig_read(rig, 0x1000), 5);	/* still used, as hardware would */
	expect_stale(rig, 1);
	rig_map(rig, 0x2000, 0x5000, 1, E_RW);		/* moved */
	assert_int_equal(rig_read(rig, 0x2000), 6);
	expect_stale(rig, 2);
	assert_int_equal(rig_dma(rig, true, 0x1000, buf, sizeof(buf)), 0);
	expect_stale(rig, 4);
	vtd_hw_flush_pages(rig->hw, RIG_DID, 0x1000, 2, true);
	assert_int_equal(rig_read(rig, 0x1000), RIG_FAULT);
	assert_int_equal(rig_read(rig, 0x2000), 5);
	expect_stale(rig, 4);
}

static void the_report_names_who_and_where(void **state)
{
	struct rig *rig = *state;
	char target[40];
	uint64_t word;

	map_two(rig);
	rig_set_entry(rig, 0x1234, 77, &rig->entry);
	rig_read(rig, 0x1000);
	rig_map(rig, 0x1000, 0x6000, 1, E_RW);
	assert_int_equal(rig_dma_as(rig, 0x1234, 77, false, 0x1238, &word, 8), 0);
	assert_int_equal(rig->warnings, 1);
	assert_non_null(strstr(rig->last_warning, "stale IOTLB entry"));
	assert_non_null(strstr(rig->last_warning, "12:06.4 PASID 77 read iova 0x1238"));
	snprintf(target, sizeof(target), "says host %p", (void *)&rig->ram[0x5238]);
	assert_non_null(strstr(rig->last_warning, target));
	snprintf(target, sizeof(target), "say host %p", (void *)&rig->ram[0x6238]);
	assert_non_null(strstr(rig->last_warning, target));
	rig_map(rig, 0x1000, 0, 1, 0);
	rig_read(rig, 0x1000);
	assert_non_null(strstr(rig->last_warning, "say fault 0x71"));
}

static void rights_taken_are_stale_and_rights_given_are_not(void **state)
{
	struct rig *rig = *state;
	uint64_t word = 0;

	map_two(rig);
	assert_int_equal(rig_dma(rig, true, 0x1000, &word, 8), 0);
	rig_map(rig, 0x1000, 0x5000, 1, E_RO | E_D);
	assert_int_equal(rig_read(rig, 0x1000), 0);
	expect_stale(rig, 0);		/* reading is still allowed */
	assert_int_equal(rig_dma(rig, true, 0x1000, &word, 8), 0);
	expect_stale(rig, 1);
	vtd_hw_flush_domain(rig->hw, RIG_DID);
	assert_false(rig_can_write(rig, 0x1000));
	rig_map(rig, 0x1000, 0x5000, 1, E_RW);
	assert_true(rig_can_write(rig, 0x1000));
	expect_stale(rig, 1);
}

static void the_check_changes_nothing(void **state)
{
	struct rig *rig = *state;
	uint64_t *slot = rig_slot(rig, rig->entry.fs_root, 0x1000, 1), *upper, word = 0;

	map_two(rig);
	upper = rig_slot(rig, rig->entry.fs_root, 0x1000, 3);
	assert_int_equal(rig_dma(rig, true, 0x1000, &word, 8), 0);
	rig_store(slot, 0x5000 | E_RW);
	rig_store(upper, *upper & ~(uint64_t)E_A);
	assert_int_equal(rig_dma(rig, true, 0x1000, &word, 8), 0);
	assert_int_equal(*slot, 0x5000 | E_RW);
	assert_int_equal(*upper & E_A, 0);
	expect_stale(rig, 0);
}

/* A page that was never used, found through a table that is no longer there. */
static void a_walk_from_a_stale_table_is_reported(void **state)
{
	struct rig *rig = *state;
	uint64_t *table;

	map_two(rig);
	rig_read(rig, 0x1000);
	table = swap_last_table(rig, 0x1000);
	rig_store(&table[1], 0x5000 | E_RW);	/* what 0x1000 was: that hit is not stale */
	assert_int_equal(rig_read(rig, 0x1000), 5);
	expect_stale(rig, 0);
	assert_int_equal(rig_read(rig, 0x2000), 6);
	expect_stale(rig, 1);
	assert_non_null(strstr(rig->last_warning, "stale paging structure"));
	assert_non_null(strstr(rig->last_warning, "iova 0x2000"));
	assert_non_null(strstr(rig->last_warning, "say fault 0x71"));
	/* it is in the IOTLB now: from here on it is a stale entry */
	assert_int_equal(rig_read(rig, 0x2000), 6);
	expect_stale(rig, 2);
	assert_non_null(strstr(rig->last_warning, "stale IOTLB entry"));
	vtd_hw_flush_pages(rig->hw, RIG_DID, 0x1000, 2, false);
	assert_int_equal(rig_read(rig, 0x2000), RIG_FAULT);
	expect_stale(rig, 2);
}

static void a_fault_from_a_stale_table_is_reported(void **state)
{
	struct rig *rig = *state;
	uint64_t *table;

	map_two(rig);
	rig_read(rig, 0x1000);
	table = swap_last_table(rig, 0x1000);
	rig_store(&table[3], 0x6000 | E_RW);
	assert_int_equal(rig_read(rig, 0x3000), RIG_FAULT);	/* the new table has it */
	expect_stale(rig, 1);
	assert_non_null(strstr(rig->last_warning, "fault"));
	/* neither has it: the device would have got this fault anyway */
	assert_int_equal(rig_read(rig, 0x4000), RIG_FAULT);
	expect_stale(rig, 1);
	vtd_hw_flush_pages(rig->hw, RIG_DID, 0x3000, 1, false);
	assert_int_equal(rig_read(rig, 0x3000), 6);
	expect_stale(rig, 1);
}

/* The table above gives more than the cache remembers: no invalidation was needed. */
static void rights_given_above_a_cached_table_are_not_stale(void **state)
{
	struct rig *rig = *state;
	uint64_t *upper = rig_slot(rig, rig->entry.fs_root, 0x1000, 2);

	map_two(rig);
	rig_store(upper, *upper & ~(uint64_t)E_W);
	assert_int_equal(rig_read(rig, 0x1000), 5);
	rig_store(upper, *upper | E_W);
	assert_false(rig_can_write(rig, 0x1000));
	expect_stale(rig, 0);
	/* taken again, they are */
	vtd_hw_flush_domain(rig->hw, RIG_DID);
	assert_true(rig_can_write(rig, 0x1000));
	rig_store(upper, *upper & ~(uint64_t)E_W);
	assert_true(rig_can_write(rig, 0x2000));
	expect_stale(rig, 1);
}

/* The unit says which address of the IOAS was missing, and when there was no entry. */
static void refused_requests_are_told_apart(void **state)
{
	struct rig *rig = *state;
	struct sanitizer_object ioas = rig->entry.domain.ioas;
	struct nst_soft_stats stats;
	uint64_t word;

	map_two(rig);
	rig_map(rig, 0x3000, RIG_RAM_SIZE + 0x8000, 1, E_RW);
	assert_int_equal(rig_read(rig, 0x3000), RIG_FAULT);
	assert_non_null(strstr(rig->last_warning, "soft: DMA fault (1)"));
	sanitizer_unmapped(rig->sanitizer, ioas, RIG_RAM_SIZE + 0x8000, RIG_RAM_SIZE + 0x8fff);
	assert_int_equal(rig_read(rig, 0x3010), RIG_FAULT);
	assert_non_null(strstr(rig->last_warning, "check: DMA after unmap (1)"));
	assert_non_null(strstr(rig->last_warning, "0xc0008010 of IOAS 3"));
	sanitizer_unmapped(rig->sanitizer, ioas, 0, RIG_RAM_SIZE - 1);
	/* of the first stage: its memory is there, only the entry says no */
	assert_int_equal(rig_read(rig, 0x9000), RIG_FAULT);
	assert_non_null(strstr(rig->last_warning, "soft: DMA fault (3)"));
	assert_non_null(strstr(rig->details, "attached to HWPT 5"));
	rig_clear_s2(rig);
	assert_int_equal(rig_read(rig, 0x1000), RIG_FAULT); /* not even the table is there */
	assert_non_null(strstr(rig->last_warning, "check: DMA after unmap (2)"));
	rig_set_entry(rig, RIG_RID, NST_NO_PASID, NULL);
	assert_int_equal(rig_read(rig, 0x1000), RIG_FAULT);
	assert_non_null(strstr(rig->last_warning, "check: DMA while blocked (1)"));
	assert_int_equal(rig_dma_as(rig, RIG_RID, 4, true, 0x1000, &word, 8), -EFAULT);
	assert_non_null(strstr(rig->last_warning, "PASID 4 write iova 0x1000"));
	stats = rig_stats(rig);
	assert_int_equal(stats.faults, 6);
	assert_int_equal(stats.dma_after_unmap, 2);
	assert_int_equal(stats.dma_while_blocked, 2);
}

static void without_check_mode_nothing_is_said(void **state)
{
	struct rig *rig = *state;

	map_two(rig);
	rig_read(rig, 0x1000);
	rig_map(rig, 0x1000, 0, 1, 0);
	assert_int_equal(rig_read(rig, 0x1000), 5);
	expect_stale(rig, 0);
	assert_int_equal(rig->warnings, 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_setup_check, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(each_stale_hit_counts_once),
		TEST(the_report_names_who_and_where),
		TEST(rights_taken_are_stale_and_rights_given_are_not),
		TEST(the_check_changes_nothing),
		TEST(a_walk_from_a_stale_table_is_reported),
		TEST(a_fault_from_a_stale_table_is_reported),
		TEST(rights_given_above_a_cached_table_are_not_stale),
		TEST(refused_requests_are_told_apart),
		cmocka_unit_test_setup_teardown(without_check_mode_nothing_is_said, rig_setup,
						rig_teardown),
	};

	return cmocka_run_group_tests_name("vtd_hw_check", tests, NULL, NULL);
}
