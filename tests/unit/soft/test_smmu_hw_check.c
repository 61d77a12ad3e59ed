// SPDX-License-Identifier: BSD-3-Clause
/* Check mode, the IOMMU sanitizer: exactly the stale uses are counted, and each is named. */
#include "smmu_rig.h"

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
	rig_map(rig, 0x1000, 0x5000, 3, D_RW);
	rig_map(rig, 0x2000, 0x6000, 3, D_RW);
}

/* Put another table of the last level under @va, whose entries map nothing yet. */
static uint64_t *swap_last_table(struct rig *rig, uint64_t va)
{
	uint64_t table = rig_new_table(rig);

	rig_store(rig_slot(rig, va, 2), table | D_VALID | D_TABLE);
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
	rig_map(rig, 0x1000, 0, 3, 0);			/* unmapped */
	assert_int_equal(rig_read(rig, 0x1000), 5);	/* still used, as hardware would */
	expect_stale(rig, 1);
	rig_map(rig, 0x2000, 0x5000, 3, D_RW);		/* moved */
	assert_int_equal(rig_read(rig, 0x2000), 6);
	expect_stale(rig, 2);
	assert_int_equal(rig_dma(rig, true, 0x1000, buf, sizeof(buf)), 0);
	expect_stale(rig, 4);
	rig_tlbi_va(rig, 0x1000, true);
	rig_tlbi_va(rig, 0x2000, true);
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
	rig_make_s1(rig->ste.s1, RIG_CDS, 0, 8, 2);
	rig_set_ste(rig, 0x1234, &rig->ste);
	rig_write_cd(rig, RIG_CDS + 77 * 64, rig->cd);
	rig_read(rig, 0x1000);
	rig_map(rig, 0x1000, 0x6000, 3, D_RW);
	assert_int_equal(rig_dma_as(rig, 0x1234, 77, false, 0x1238, &word, 8), 0);
	assert_int_equal(rig->warnings, 1);
	assert_non_null(strstr(rig->last_check, "stale IOTLB entry"));
	assert_non_null(strstr(rig->last_check, "12:06.4 PASID 77 read iova 0x1238"));
	snprintf(target, sizeof(target), "says host %p", (void *)&rig->ram[0x5238]);
	assert_non_null(strstr(rig->last_check, target));
	snprintf(target, sizeof(target), "say host %p", (void *)&rig->ram[0x6238]);
	assert_non_null(strstr(rig->last_check, target));
	rig_map(rig, 0x1000, 0, 3, 0);
	rig_read(rig, 0x1000);
	assert_non_null(strstr(rig->last_check, "say fault 0x10"));
}

static void rights_taken_are_stale_and_rights_given_are_not(void **state)
{
	struct rig *rig = *state;
	uint64_t word = 0;

	map_two(rig);
	assert_int_equal(rig_dma(rig, true, 0x1000, &word, 8), 0);
	rig_map(rig, 0x1000, 0x5000, 3, D_READ);
	assert_int_equal(rig_read(rig, 0x1000), 0);
	expect_stale(rig, 0);		/* reading is still allowed */
	assert_int_equal(rig_dma(rig, true, 0x1000, &word, 8), 0);
	expect_stale(rig, 1);
	rig_tlbi_all(rig);
	assert_false(rig_can_write(rig, 0x1000));
	rig_map(rig, 0x1000, 0x5000, 3, D_RW);
	assert_true(rig_can_write(rig, 0x1000));
	expect_stale(rig, 1);
}

static void the_check_changes_nothing(void **state)
{
	struct rig *rig = *state;
	uint64_t *slot = rig_slot(rig, 0x1000, 3), word = 0;

	rig->cd[0] |= C_HA | C_HD;
	rig_write_cd(rig, RIG_CDS, rig->cd);
	map_two(rig);
	assert_int_equal(rig_dma(rig, true, 0x1000, &word, 8), 0);
	rig_store(slot, 0x5000 | D_USER | D_RO | D_NG | D_DBM | 3);	/* old and clean again */
	assert_int_equal(rig_dma(rig, true, 0x1000, &word, 8), 0);
	assert_int_equal(*slot, 0x5000 | D_USER | D_RO | D_NG | D_DBM | 3);
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
	rig_store(&table[1], 0x5000 | D_RW | 3);	/* what 0x1000 was: that hit is not stale */
	assert_int_equal(rig_read(rig, 0x1000), 5);
	expect_stale(rig, 0);
	assert_int_equal(rig_read(rig, 0x2000), 6);
	expect_stale(rig, 1);
	assert_non_null(strstr(rig->last_check, "stale paging structure"));
	assert_non_null(strstr(rig->last_check, "iova 0x2000"));
	assert_non_null(strstr(rig->last_check, "say fault 0x10"));
	/* it is in the TLB now: from here on it is a stale entry */
	assert_int_equal(rig_read(rig, 0x2000), 6);
	expect_stale(rig, 2);
	assert_non_null(strstr(rig->last_check, "stale IOTLB entry"));
	rig_tlbi_va(rig, 0x1000, false);
	rig_tlbi_va(rig, 0x2000, false);
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
	rig_store(&table[3], 0x6000 | D_RW | 3);
	assert_int_equal(rig_read(rig, 0x3000), RIG_FAULT);	/* the new table has it */
	expect_stale(rig, 1);
	/* neither has it: the device would have got this fault anyway */
	assert_int_equal(rig_read(rig, 0x4000), RIG_FAULT);
	expect_stale(rig, 1);
	rig_tlbi_va(rig, 0x3000, false);
	assert_int_equal(rig_read(rig, 0x3000), 6);
	expect_stale(rig, 1);
}

/* The table above gives more than the cache remembers: no invalidation was needed. */
static void rights_given_above_a_cached_table_are_not_stale(void **state)
{
	struct rig *rig = *state;
	uint64_t *upper = rig_slot(rig, 0x1000, 2), word = 0;

	map_two(rig);
	rig_store(upper, *upper | 1ULL << 62);
	assert_int_equal(rig_read(rig, 0x1000), 5);
	rig_store(upper, *upper & ~(1ULL << 62));
	assert_false(rig_can_write(rig, 0x1000));
	expect_stale(rig, 0);
	/* taken again, they are */
	rig_tlbi_all(rig);
	assert_true(rig_can_write(rig, 0x1000));
	rig_store(upper, *upper | 1ULL << 62);
	assert_int_equal(rig_dma(rig, true, 0x2000, &word, 8), 0);
	expect_stale(rig, 1);
	assert_non_null(strstr(rig->last_check, "stale paging structure"));
}

/* What a descriptor that was changed without CFGI_CD leads to, right or wrong. */
static void stale_context_descriptors(void **state)
{
	struct rig *rig = *state;
	static uint64_t zero[8];
	uint64_t cd[8];

	map_two(rig);
	rig_read(rig, 0x1000);
	/* other tables, another ASID: page 0x3000 is only there, 0x2000 only here */
	rig_make_cd(rig, cd, RIG_ASID + 1);
	rig_store(rig_slot_of(rig, cd[1], 0x3000, 3), 0x6000 | D_RW | 3);
	rig_write_cd(rig, RIG_CDS, cd);
	rig_tlbi_all(rig);
	assert_int_equal(rig_read(rig, 0x2000), 6);
	expect_stale(rig, 1);
	assert_non_null(strstr(rig->last_check, "stale context descriptor"));
	assert_int_equal(rig_read(rig, 0x3000), RIG_FAULT);
	expect_stale(rig, 2);
	assert_non_null(strstr(rig->last_check, "stale context descriptor"));
	assert_int_equal(rig_read(rig, 0x4000), RIG_FAULT);	/* neither has it */
	expect_stale(rig, 2);
	rig_cfgi_cd_all(rig);
	assert_int_equal(rig_read(rig, 0x3000), 6);
	expect_stale(rig, 2);
	/* taken away, and one that came */
	rig_write_cd(rig, RIG_CDS, zero);
	assert_int_equal(rig_read(rig, 0x3000), 6);
	expect_stale(rig, 3);
	assert_non_null(strstr(rig->last_check, "say fault 0xa"));
	rig_cfgi_cd_all(rig);
	assert_int_equal(rig_read(rig, 0x3000), RIG_FAULT);
	rig_write_cd(rig, RIG_CDS, cd);
	assert_int_equal(rig_read(rig, 0x3000), RIG_FAULT);
	expect_stale(rig, 4);
	assert_non_null(strstr(rig->last_check, "stale context descriptor"));
	rig_cfgi_cd_all(rig);
	assert_int_equal(rig_read(rig, 0x3000), 6);
	/* fields that change no translation are no matter */
	cd[0] ^= C_R;
	rig_write_cd(rig, RIG_CDS, cd);
	assert_int_equal(rig_read(rig, 0x3000), 6);
	expect_stale(rig, 4);
}

static void stale_first_levels_of_descriptors(void **state)
{
	struct rig *rig = *state;
	const uint64_t l1 = RIG_CDS + 0x100000, l2 = RIG_CDS + 0x10000;

	map_two(rig);
	rig_write_cd(rig, l2 + 64, rig->cd);
	rig_write_cd(rig, l2 + 128, rig->cd);
	rig_mark(rig, l1, l2 | 1);
	rig_make_s1(rig->ste.s1, l1, 2, 20, 0);
	rig_set_ste(rig, RIG_SID, &rig->ste);
	assert_int_equal(rig_read_as(rig, RIG_SID, 1, 0x1000), 5);
	expect_stale(rig, 0);
	rig_mark(rig, l1, 0);
	rig_tlbi_all(rig);
	assert_int_equal(rig_read_as(rig, RIG_SID, 2, 0x1000), 5);
	expect_stale(rig, 1);
	assert_non_null(strstr(rig->last_check, "stale context descriptor"));
	assert_non_null(strstr(rig->last_check, "say fault 0x8"));
	rig_cfgi_cd_all(rig);
	assert_int_equal(rig_read_as(rig, RIG_SID, 2, 0x1000), RIG_FAULT);
	/* that it is not there is kept as well */
	rig_mark(rig, l1, l2 | 1);
	assert_int_equal(rig_read_as(rig, RIG_SID, 2, 0x1000), RIG_FAULT);
	expect_stale(rig, 2);
	rig_cfgi_cd_all(rig);
	assert_int_equal(rig_read_as(rig, RIG_SID, 2, 0x1000), 5);
	expect_stale(rig, 2);
}

static int translated_dma(struct rig *rig, nst_rid sid, uint64_t untranslated, uint64_t host,
			  bool write)
{
	uint64_t word = 0;
	struct endpoint_dma_request req = {
		.iova = { host }, .pasid = NST_NO_PASID, .write = write, .translated = true,
		.untranslated = { untranslated }, .buf = &word, .size = sizeof(word),
	};

	return smmu_hw_dma(rig->hw, sid, &req);
}

static void stale_device_tlbs(void **state)
{
	struct rig *rig = *state;
	struct endpoint_ats_request ats = { .iova = { 0x1000 }, .pasid = NST_NO_PASID };
	struct smmu_hw_ste ste = { .config = SMMU_HW_PAGING, .map = { .s2 = &rig->s2 },
				   .ats = true };
	struct endpoint_ats_reply reply;

	map_two(rig);
	rig->ste.ats = true;
	rig_set_ste(rig, RIG_SID, &rig->ste);
	assert_int_equal(smmu_hw_translate(rig->hw, RIG_SID, &ats, &reply), 0);
	assert_int_equal(translated_dma(rig, RIG_SID, 0x1008, reply.translated.v + 8, false), 0);
	expect_stale(rig, 0);
	rig_map(rig, 0x1000, 0x6000, 3, D_RW);
	rig_tlbi_all(rig);
	assert_int_equal(translated_dma(rig, RIG_SID, 0x1008, reply.translated.v + 8, false), 0);
	expect_stale(rig, 1);
	assert_non_null(strstr(rig->last_check, "stale device TLB entry"));
	assert_non_null(strstr(rig->last_check, "iova 0x1008"));
	rig_map(rig, 0x1000, 0x5000, 3, D_READ);
	assert_int_equal(translated_dma(rig, RIG_SID, 0x1008, reply.translated.v + 8, false), 0);
	expect_stale(rig, 1);
	assert_int_equal(translated_dma(rig, RIG_SID, 0x1008, reply.translated.v + 8, true), 0);
	expect_stale(rig, 2);
	rig_set_ste(rig, 9, &ste);
	assert_int_equal(translated_dma(rig, 9, 0x5008, reply.translated.v + 8, true), 0);
	expect_stale(rig, 2);
	assert_int_equal(translated_dma(rig, 9, 0x6008, reply.translated.v + 8, true), 0);
	expect_stale(rig, 3);
}

static void without_check_mode_nothing_is_said(void **state)
{
	struct rig *rig = *state;

	map_two(rig);
	rig_read(rig, 0x1000);
	rig_map(rig, 0x1000, 0, 3, 0);
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
		TEST(stale_context_descriptors),
		TEST(stale_first_levels_of_descriptors),
		TEST(stale_device_tlbs),
		cmocka_unit_test_setup_teardown(without_check_mode_nothing_is_said, rig_setup,
						rig_teardown),
	};

	return cmocka_run_group_tests_name("smmu_hw_check", tests, NULL, NULL);
}
