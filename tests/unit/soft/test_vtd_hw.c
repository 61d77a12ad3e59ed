// SPDX-License-Identifier: BSD-3-Clause
/*
 * The software VT-d unit: which entry a request uses, what both stages allow, what is
 * counted, and what happens when there is no memory. Its caches: test_vtd_hw_cache.c.
 */
#include "vtd_rig.h"

#include "base/alloc.h"

#include <errno.h>
#include <string.h>

#define READ_WRITE (RANGE_READ | RANGE_WRITE)

static struct vtd_hw_entry bypass(struct rig *rig)
{
	return (struct vtd_hw_entry){ .pgtt = VTD_HW_SECOND_STAGE, .did = 1, .s2 = &rig->s2 };
}

static bool reaches_memory(struct rig *rig, nst_rid rid, uint32_t pasid)
{
	uint64_t value = 0;

	rig_mark(rig, 0x5000, 55);
	return !rig_dma_as(rig, rid, pasid, false, 0x5000, &value, 8) && value == 55;
}

static void only_present_entries_translate(void **state)
{
	static const struct { nst_rid rid; uint32_t pasid; } slots[] = {
		{ 0, NST_NO_PASID }, { 0, 0 }, { 0, 1 }, { 0, 63 }, { 0, 64 }, { 0, (1 << 20) - 1 },
		{ 1, 0 }, { 0xffff, NST_NO_PASID }, { 0xffff, 0 }, { 0xffff, (1 << 20) - 1 },
	};
	struct rig *rig = *state;
	struct vtd_hw_entry entry = bypass(rig);

	/* one at a time: it is reached, and none of the others are */
	for (size_t i = 0; i < ARRAY_SIZE(slots); i++) {
		rig_set_entry(rig, slots[i].rid, slots[i].pasid, &entry);
		for (size_t j = 0; j < ARRAY_SIZE(slots); j++)
			assert_int_equal(reaches_memory(rig, slots[j].rid, slots[j].pasid), i == j);
		rig_set_entry(rig, slots[i].rid, slots[i].pasid, NULL);
		assert_false(reaches_memory(rig, slots[i].rid, slots[i].pasid));
	}
	/* all there, one taken away */
	for (size_t i = 0; i < ARRAY_SIZE(slots); i++)
		rig_set_entry(rig, slots[i].rid, slots[i].pasid, &entry);
	rig_set_entry(rig, 0, 0, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(slots); i++)
		assert_int_equal(reaches_memory(rig, slots[i].rid, slots[i].pasid), i != 1);
}

static void a_pasid_has_20_bits(void **state)
{
	static const uint32_t bad[] = { 1 << 20, (1 << 20) + 1, UINT32_MAX - 1, 1U << 31 };
	struct rig *rig = *state;
	struct vtd_hw_entry entry = bypass(rig);

	rig_set_entry(rig, 3, 0, &entry);
	rig_set_entry(rig, 3, NST_NO_PASID, &entry);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(vtd_hw_set_entry(rig->hw, 3, bad[i], &entry), -EINVAL);
		assert_false(reaches_memory(rig, 3, bad[i]));
		assert_int_equal(vtd_hw_set_entry(rig->hw, 3, bad[i], NULL), 0);
		assert_int_equal(vtd_hw_set_entry(rig->hw, 4, bad[i], NULL), 0);
	}
	assert_true(reaches_memory(rig, 3, 0));
	assert_true(reaches_memory(rig, 3, NST_NO_PASID));
}

static void second_stage_of_all_sizes(void **state)
{
	struct rig *rig = *state;
	struct vtd_hw_entry entry = bypass(rig);
	static uint8_t out[2 * 4096 + 0x100], in[sizeof(out)];
	uint64_t seed = 4;

	/* two ranges side by side, their memory the other way round, then a hole */
	rig_clear_s2(rig);
	rig_add_s2(rig, 0x10000, 0x2000, rig->ram + 0x8000, READ_WRITE);
	rig_add_s2(rig, 0x12000, 0x2000, rig->ram + 0x4000, READ_WRITE);
	rig_add_s2(rig, 0x20000, 0x800, rig->ram + 0x8000, READ_WRITE);
	rig_set_entry(rig, RIG_RID, 9, &entry);
	for (int i = 0; i < 3000; i++) {
		uint64_t start = 0x10000 + test_random(&seed) % 0x1f00;
		size_t size = test_random(&seed) % sizeof(out);

		for (size_t n = 0; n < size; n++)
			out[n] = (uint8_t)test_random(&seed);
		assert_int_equal(rig_dma_as(rig, RIG_RID, 9, true, start, out, size), 0);
		assert_int_equal(rig_dma_as(rig, RIG_RID, 9, false, start, in, size), 0);
		assert_memory_equal(in, out, size);
		for (size_t n = 0; n < size; n++) {
			uint64_t a = start + n - 0x10000;

			assert_int_equal(out[n], rig->ram[a < 0x2000 ? 0x8000 + a : 0x2000 + a]);
		}
	}
	assert_int_equal(rig_dma_as(rig, RIG_RID, 9, true, 0x13fff, out, 1), 0);
	assert_int_equal(rig_dma_as(rig, RIG_RID, 9, true, 0x13fff, out, 2), -EFAULT);
	assert_int_equal(rig_dma_as(rig, RIG_RID, 9, true, 0xffff, out, 1), -EFAULT);
	/* a range need not be made of pages */
	assert_int_equal(rig_dma_as(rig, RIG_RID, 9, true, 0x20700, out, 0x100), 0);
	assert_int_equal(rig_dma_as(rig, RIG_RID, 9, true, 0x20700, out, 0x101), -EFAULT);
}

static void rights_of_the_second_stage(void **state)
{
	struct rig *rig = *state;
	struct vtd_hw_entry entry = bypass(rig);
	uint64_t word;

	rig_clear_s2(rig);
	for (unsigned int perm = 0; perm < 4; perm++)
		rig_add_s2(rig, perm << 12, 0x1000, rig->ram + (perm << 12), perm);
	rig_add_s2(rig, RIG_TABLES, 1 << 20, rig->ram + RIG_TABLES, READ_WRITE);
	rig_set_entry(rig, RIG_RID, 1, &entry);
	for (unsigned int perm = 0; perm < 4; perm++) {
		rig_map(rig, perm << 12, perm << 12, 1, E_RW);
		/* again and again, in both orders: a cached entry must not give more */
		for (int i = 0; i < 8; i++) {
			bool write = i == 0 || i == 3 || i == 6 || i == 7;
			int want = perm & (write ? RANGE_WRITE : RANGE_READ) ? 0 : -EFAULT;

			word = 0;
			assert_int_equal(rig_dma_as(rig, RIG_RID, 1, write, perm << 12, &word, 8),
					 want);
			assert_int_equal(rig_dma(rig, write, perm << 12, &word, 8), want);
		}
	}
}

static void rights_of_the_first_stage(void **state)
{
	struct rig *rig = *state;
	uint64_t *upper;

	rig_mark(rig, 0x5000, 55);
	rig_map(rig, 0x1000, 0x5000, 1, E_RO);
	rig_map(rig, 0x2000, 0x5000, 1, E_P | E_W);
	rig_map(rig, 0x3000, 0x5000, 1, E_RW);
	rig_map(rig, 0x4000, 0x5000, 1, E_W | E_U);
	assert_int_equal(rig_read(rig, 0x1000), 55);
	assert_false(rig_can_write(rig, 0x1000));
	assert_int_equal(rig_read(rig, 0x2000), RIG_FAULT);
	assert_true(rig_can_write(rig, 0x3000));
	assert_int_equal(rig_read(rig, 0x4000), RIG_FAULT);

	/* what the tables above forbid, no leaf gives back: also when they come from the cache */
	upper = rig_slot(rig, rig->entry.fs_root, 0x3000, 2);
	rig_store(upper, *upper & ~(uint64_t)E_W);
	vtd_hw_flush_domain(rig->hw, RIG_DID);
	for (int i = 0; i < 3; i++) {
		assert_false(rig_can_write(rig, 0x3000));
		assert_int_equal(rig_read(rig, 0x3000), 55);
	}
	rig_store(upper, *upper & ~(uint64_t)E_U);
	vtd_hw_flush_domain(rig->hw, RIG_DID);
	assert_int_equal(rig_read(rig, 0x3000), RIG_FAULT);
}

static void addresses_that_cannot_be(void **state)
{
	struct rig *rig = *state;
	uint8_t buf[16] = { 0 };

	rig_map(rig, 0xffff800000000000, 0x5000, 1, E_RW);
	rig_map(rig, 0xfffffffffffff000, 0x5000, 1, E_RW);
	rig_map(rig, 0x00007ffffffff000, 0x5000, 1, E_RW);
	rig_map(rig, 0, 0x5000, 1, E_RW);	/* where a request would be that wraps round */
	assert_int_equal(rig_dma(rig, false, 0xffff800000000000, buf, 8), 0);
	assert_int_equal(rig_dma(rig, false, 0xfffffffffffffff8, buf, 8), 0);
	assert_int_equal(rig_dma(rig, false, 0xfffffffffffffff8, buf, 9), -EFAULT);
	assert_int_equal(rig_dma(rig, false, 0x00007ffffffffff8, buf, 8), 0);
	assert_int_equal(rig_dma(rig, false, 0x00007ffffffffff8, buf, 9), -EFAULT);
	/* the same page by its low 48 bits, cached a moment ago */
	assert_int_equal(rig_dma(rig, false, 0x0000800000000000, buf, 8), -EFAULT);
	assert_int_equal(rig_dma(rig, false, 0x0001000000000000 | 0x7ffffffff000, buf, 8), -EFAULT);
	assert_int_equal(rig_dma(rig, false, 0x123, buf, 0), 0);
}

static void five_levels_have_57_bits(void **state)
{
	struct rig *rig = *state;

	rig->entry.fs_levels = 5;
	rig->entry.fs_root = rig_new_table(rig) | 0xfff;	/* low bits are not the unit's */
	rig_set_entry(rig, RIG_RID, NST_NO_PASID, &rig->entry);
	rig->entry.fs_root &= ~0xfffULL;
	rig_mark(rig, 0x5000, 55);
	rig_map(rig, 0x00fffffffffff000, 0x5000, 1, E_RW);
	rig_map(rig, 0x0000800000000000, 0x5000, 1, E_RW);
	assert_int_equal(rig_read(rig, 0x00fffffffffff000), 55);
	assert_int_equal(rig_read(rig, 0x0000800000000000), 55);
	assert_int_equal(rig_read(rig, 0x0100000000000000), RIG_FAULT);
}

static void the_interrupt_range_is_no_memory(void **state)
{
	static const struct { uint64_t iova; bool memory; } rows[] = {
		{ 0xfedffff8, true }, { 0xfee00000, false }, { 0xfee12340, false },
		{ 0xfeeffff8, false }, { 0xfef00000, true }, { 0x1fee00000, true },
	};
	struct rig *rig = *state;
	struct vtd_hw_entry entry = bypass(rig);
	uint64_t word = 0;

	rig_add_s2(rig, 0xfed00000, 0x300000, rig->ram, READ_WRITE);
	rig_add_s2(rig, 0x1fee00000, 0x1000, rig->ram, READ_WRITE);
	rig_set_entry(rig, RIG_RID, 1, &entry);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int want = rows[i].memory ? 0 : -EFAULT;

		rig_map(rig, rows[i].iova & -4096ULL, 0x5000, 1, E_RW);
		for (int write = 0; write < 2; write++) {
			assert_int_equal(rig_dma(rig, write, rows[i].iova, &word, 8), want);
			assert_int_equal(rig_dma_as(rig, RIG_RID, 1, write, rows[i].iova, &word, 8),
					 want);
		}
	}
	assert_int_equal(rig_dma(rig, true, 0xfedffffc, &word, 8), -EFAULT);
}

static void accessed_and_dirty_bits(void **state)
{
	struct rig *rig = *state;
	uint64_t *slot[5];

	rig_map(rig, 0x1000, 0x5000, 1, E_RW);
	for (unsigned int level = 1; level <= 4; level++)
		slot[level] = rig_slot(rig, rig->entry.fs_root, 0x1000, level);
	rig_read(rig, 0x1000);
	for (unsigned int level = 1; level <= 4; level++)
		assert_int_equal(*slot[level] & (E_A | E_D | E_EA), E_A);
	assert_true(rig_can_write(rig, 0x1000));
	assert_int_equal(*slot[1] & (E_A | E_D | E_EA), E_A | E_D);
	assert_int_equal(*slot[2] & (E_A | E_D | E_EA), E_A);

	rig->entry.eafe = true;
	rig_set_entry(rig, RIG_RID, NST_NO_PASID, &rig->entry);
	vtd_hw_flush_domain(rig->hw, RIG_DID);
	rig_read(rig, 0x1000);
	for (unsigned int level = 1; level <= 4; level++)
		assert_int_equal(*slot[level] & (E_A | E_EA), E_A | E_EA);
}

/* Tables in memory the guest may only read can be walked while no bit has to be set. */
static void tables_in_read_only_memory(void **state)
{
	struct rig *rig = *state;
	uint64_t *leaf;

	rig_map(rig, 0x1000, 0x5000, 1, E_RW);
	rig_mark(rig, 0x5000, 55);
	assert_int_equal(rig_read(rig, 0x1000), 55);	/* sets A everywhere */
	leaf = rig_slot(rig, rig->entry.fs_root, 0x1000, 1);
	rig_clear_s2(rig);
	rig_add_s2(rig, 0, RIG_TABLES, rig->ram, READ_WRITE);
	rig_add_s2(rig, RIG_TABLES, 1 << 20, rig->ram + RIG_TABLES, RANGE_READ);
	assert_int_equal(rig_read(rig, 0x1000), 55);
	assert_false(rig_can_write(rig, 0x1000));	/* D cannot be set */
	assert_int_equal(*leaf & E_D, 0);
	rig_store(leaf, *leaf | E_D);
	assert_true(rig_can_write(rig, 0x1000));
	rig_clear_s2(rig);
	rig_add_s2(rig, 0, RIG_TABLES, rig->ram, READ_WRITE);
	rig_add_s2(rig, RIG_TABLES, 1 << 20, rig->ram + RIG_TABLES, RANGE_WRITE);
	assert_int_equal(rig_read(rig, 0x1000), RIG_FAULT);
}

static void everything_is_counted(void **state)
{
	struct rig *rig = *state;
	static uint8_t buf[3 * 4096];
	struct nst_soft_stats s;

	for (uint64_t page = 1; page <= 3; page++)
		rig_map(rig, page << 12, page << 12, 1, E_RW);
	/* three pages: 16, 4096 and 16 bytes */
	assert_int_equal(rig_dma(rig, false, 0x1ff0, buf, 0x1020), 0);
	s = rig_stats(rig);
	assert_int_equal(s.dma_read_bytes, 0x1020);
	assert_int_equal(s.dma_write_bytes, 0);
	assert_int_equal(s.iotlb_misses, 3);
	assert_int_equal(s.s1_walks, 3);
	assert_int_equal(s.iotlb_hits, 0);
	assert_int_equal(rig_dma(rig, false, 0x1ff0, buf, 0x1020), 0);
	assert_int_equal(rig_dma(rig, true, 0x2100, buf, 0x100), 0);	/* D is not set: a walk */
	assert_int_equal(rig_dma(rig, true, 0x2100, buf, 0x100), 0);
	s = rig_stats(rig);
	assert_int_equal(s.dma_read_bytes, 2 * 0x1020);
	assert_int_equal(s.dma_write_bytes, 0x200);
	assert_int_equal(s.iotlb_misses, 4);
	assert_int_equal(s.iotlb_hits, 4);
	assert_int_equal(s.faults, 0);
	/* what was moved before the fault counts, the rest does not */
	assert_int_equal(rig_dma(rig, true, 0x3f00, buf, 0x200), -EFAULT);
	assert_int_equal(rig_dma_as(rig, 9, 9, true, 0, buf, 1), -EFAULT);
	assert_int_equal(rig_dma(rig, true, UINT64_MAX, buf, 2), -EFAULT);
	s = rig_stats(rig);
	assert_int_equal(s.dma_write_bytes, 0x300);
	assert_int_equal(s.faults, 3);
	assert_int_equal(s.stale_hits, 0);
	assert_int_equal(rig->warnings, 3);
}

static void reported(struct rig *rig, enum vtd_hw_fault_stage stage, unsigned int reason,
		     uint32_t pasid, uint64_t iova, bool write)
{
	const struct vtd_hw_fault *f = &rig->last_report;

	assert_int_equal(rig->reports, 1);
	assert_int_equal(f->rid, RIG_RID);
	assert_int_equal(f->pasid, pasid);
	assert_int_equal(f->iova, iova);
	assert_int_equal(f->write, write);
	assert_int_equal(f->stage, stage);
	assert_int_equal(f->reason, reason);
	rig->reports = 0;
}

/* The driver hears of each, once, with the page that was refused, and of which stage it was. */
static void refused_requests_are_reported(void **state)
{
	struct vtd_hw_entry plain;
	struct rig *rig = *state;
	uint8_t buf[0x2000] = { 0 };

	rig_map(rig, 0x1000, 0x5000, 1, E_RW);
	assert_int_equal(rig_dma(rig, true, 0x1800, buf, sizeof(buf)), -EFAULT);
	reported(rig, VTD_HW_FAULT_FIRST_STAGE, 0x71, NST_NO_PASID, 0x2000, true);
	rig_map(rig, 0x2000, RIG_RAM_SIZE, 1, E_RW);
	assert_int_equal(rig_dma(rig, false, 0x2008, buf, 8), -EFAULT);
	reported(rig, VTD_HW_FAULT_SECOND_STAGE, 0x79, NST_NO_PASID, 0x2008, false);
	rig_add_s2(rig, RIG_RAM_SIZE, 4096, rig->ram, RANGE_WRITE);
	assert_int_equal(rig_dma(rig, false, 0x2008, buf, 8), -EFAULT);
	reported(rig, VTD_HW_FAULT_SECOND_STAGE, 0x86, NST_NO_PASID, 0x2008, false);
	assert_int_equal(rig_dma(rig, true, 0xfee00000, buf, 8), -EFAULT);
	reported(rig, VTD_HW_FAULT_FIRST_STAGE, 0x87, NST_NO_PASID, 0xfee00000, true);
	assert_int_equal(rig_dma(rig, true, 1ULL << 47, buf, 8), -EFAULT);
	reported(rig, VTD_HW_FAULT_FIRST_STAGE, 0x80, NST_NO_PASID, 1ULL << 47, true);
	assert_int_equal(rig_dma_as(rig, RIG_RID, 5, true, 0x1000, buf, 8), -EFAULT);
	reported(rig, VTD_HW_FAULT_NO_ENTRY, 0x59, 5, 0x1000, true);
	plain = (struct vtd_hw_entry){ .pgtt = VTD_HW_SECOND_STAGE, .did = 9, .s2 = &rig->s2 };
	rig_set_entry(rig, RIG_RID, 5, &plain);
	assert_int_equal(rig_dma_as(rig, RIG_RID, 5, false, RIG_RAM_SIZE + 4096, buf, 8), -EFAULT);
	reported(rig, VTD_HW_FAULT_SECOND_STAGE, 0x79, 5, RIG_RAM_SIZE + 4096, false);
	/* what is cached and allowed is not */
	for (int i = 0; i < 3; i++)
		assert_int_equal(rig_dma(rig, true, 0x1000, buf, 8), 0);
	assert_int_equal(rig->reports, 0);
}

/* A device gone wild: every fault is counted, but the log gets only 8, then powers of two. */
static void faults_do_not_flood_the_log(void **state)
{
	struct rig *rig = *state;

	for (int i = 0; i < 1000; i++)
		assert_int_equal(rig_read(rig, 0x1000), RIG_FAULT);
	assert_int_equal(rig_stats(rig).faults, 1000);
	assert_int_equal(rig->warnings, 8 + 6);		/* 16, 32, 64, 128, 256, 512 */
	assert_non_null(strstr(rig->last_warning, "01:04.0"));
	assert_non_null(strstr(rig->last_warning, "reason 0x71"));
}

static void refused_memory_at_creation(void **state)
{
	const struct vtd_hw_config config = { 0 };
	struct vtd_hw *hw = NULL;
	unsigned int n;

	vtd_hw_destroy(NULL);
	for (n = 1;; n++) {
		int ret;

		alloc_fail_nth(n);
		ret = vtd_hw_create(&config, &hw);
		if (!ret)
			break;
		assert_int_equal(ret, -ENOMEM);
		assert_null(hw);
	}
	alloc_fail_nth(0);
	assert_int_equal(n, 1 + 7);	/* the unit; the cache and its five arrays */
	vtd_hw_destroy(hw);
}

static void refused_memory_leaves_the_entries_alone(void **state)
{
	struct rig *rig = *state;
	struct vtd_hw_entry entry = bypass(rig);
	unsigned int n;

	for (n = 1;; n++) {
		nst_rid rid = (nst_rid)(0x200 + n);
		int ret;

		alloc_fail_nth(n);
		ret = vtd_hw_set_entry(rig->hw, rid, 77, &entry);
		alloc_fail_nth(0);
		if (!ret)
			break;
		assert_int_equal(ret, -ENOMEM);
		assert_false(reaches_memory(rig, rid, 77));
		assert_false(reaches_memory(rig, rid, NST_NO_PASID));
		/* the next try works, and then needs no memory to change or to clear it */
		rig_set_entry(rig, rid, 77, &entry);
		assert_true(reaches_memory(rig, rid, 77));
		assert_false(reaches_memory(rig, rid, 76));
		alloc_fail_nth(1);
		rig_set_entry(rig, rid, 77, &rig->entry);
		rig_set_entry(rig, rid, 77, NULL);
		alloc_fail_nth(0);
	}
	assert_int_equal(n, 1 + 3);	/* function, directory, table */
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(only_present_entries_translate),
		TEST(a_pasid_has_20_bits),
		TEST(second_stage_of_all_sizes),
		TEST(rights_of_the_second_stage),
		TEST(rights_of_the_first_stage),
		TEST(addresses_that_cannot_be),
		TEST(five_levels_have_57_bits),
		TEST(the_interrupt_range_is_no_memory),
		TEST(accessed_and_dirty_bits),
		TEST(tables_in_read_only_memory),
		TEST(everything_is_counted),
		TEST(refused_requests_are_reported),
		TEST(faults_do_not_flood_the_log),
		cmocka_unit_test(refused_memory_at_creation),
		TEST(refused_memory_leaves_the_entries_alone),
	};

	return cmocka_run_group_tests_name("vtd_hw", tests, NULL, NULL);
}
