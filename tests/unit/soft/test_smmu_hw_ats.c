// SPDX-License-Identifier: BSD-3-Clause
/*
 * ATS at the software SMMUv3: what a translation request is answered with, and where a
 * translated request may go. What a device says was translated may be what a guest made up.
 */
#include "smmu_rig.h"

#include <errno.h>
#include <string.h>

static int setup(void **state)
{
	struct rig *rig;

	if (rig_setup(state))
		return -1;
	rig = *state;
	rig->ste.ats = true;
	rig_make_s1(rig->ste.s1, RIG_CDS, 0, 4, 2);
	rig_write_cd(rig, RIG_CDS + 64, rig->cd);
	rig_set_ste(rig, RIG_SID, &rig->ste);
	return 0;
}

static int ask_as(struct rig *rig, nst_rid sid, uint32_t pasid, uint64_t va, bool write,
		  struct endpoint_ats_reply *reply)
{
	struct endpoint_ats_request req = { .iova = { va }, .pasid = pasid, .write = write };

	return smmu_hw_translate(rig->hw, sid, &req, reply);
}

/* The page at @va: where in ram, of which size, with which rights (1 read, 2 write). */
static void expect_page(struct rig *rig, uint64_t va, bool write, uint64_t ipa, uint64_t size,
			unsigned int rights)
{
	struct endpoint_ats_reply reply;

	for (int i = 0; i < 2; i++) { /* from a walk, and from the TLB */
		assert_int_equal(ask_as(rig, RIG_SID, NST_NO_PASID, va, write, &reply), 0);
		assert_int_equal(reply.read | reply.write << 1, rights);
		if (!rights)
			continue;
		assert_int_equal(reply.size, size);
		assert_int_equal(reply.translated.v, (uintptr_t)rig->ram + ipa);
	}
}

static void pages_of_a_guest(void **state)
{
	struct rig *rig = *state;
	uint8_t *aligned = rig->ram + (1 << 30) + (-(uintptr_t)rig->ram & ((1 << 30) - 1));

	rig_map(rig, 0x1000, 0x5000, 3, D_RW);
	rig_map(rig, 0x2000, 0x5000, 3, D_READ);
	rig_map(rig, 0x3000, 0x5000, 3, D_AF);
	rig_map(rig, 0x5000, 0x5000, 3, D_USER);
	/* memory of this process is aligned as stage 2 has it, so that large pages stay large */
	rig_clear_s2(rig);
	rig_add_s2(rig, 0, 0x20000000, rig->ram, RANGE_READ | RANGE_WRITE);
	rig_add_s2(rig, 0x40000000, 0x40000000, aligned, RANGE_READ | RANGE_WRITE);
	rig_map(rig, 0x40000000, 0x40000000, 2, D_RW);
	rig_map(rig, 0x80000000, 0x40000000, 1, D_RW);
	expect_page(rig, 0x1678, true, 0x5000, 4096, 3);
	expect_page(rig, 0x1678, false, 0x5000, 4096, 1); /* it did not ask for more */
	expect_page(rig, 0x2678, true, 0x5000, 4096, 1);
	expect_page(rig, 0x2678, false, 0x5000, 4096, 1);
	expect_page(rig, 0x3678, true, 0, 0, 0);
	expect_page(rig, 0x4678, true, 0, 0, 0);
	expect_page(rig, 0x5678, true, 0, 0, 0);
	expect_page(rig, 0x40123456, true, (uint64_t)(aligned - rig->ram), 1 << 21, 3);
	expect_page(rig, 0x80123456, true, (uint64_t)(aligned - rig->ram), 1 << 30, 3);
	expect_page(rig, 0x0001000000000000, false, 0, 0, 0);
	/* no page that is not there is worth a record */
	assert_int_equal(rig->num_events, 0);
	assert_int_equal(rig_stats(rig).faults, 0);
}

static void what_the_second_stage_takes_away(void **state)
{
	struct rig *rig = *state;

	rig_clear_s2(rig);
	rig_add_s2(rig, RIG_CDS, 16 << 20, rig->ram + RIG_CDS, RANGE_READ | RANGE_WRITE);
	rig_add_s2(rig, 0x40000000, 0x3000, rig->ram + 0x40000000, RANGE_READ | RANGE_WRITE);
	rig_add_s2(rig, 0x40003000, 0x1000, rig->ram + 0x5000, RANGE_READ);
	rig_add_s2(rig, 0x40004000, 0x1000, rig->ram + 0x6000, RANGE_WRITE);
	rig_map(rig, 0x40000000, 0x40000000, 2, D_RW);
	expect_page(rig, 0x40000678, true, 0x40000000, 4096, 3);
	expect_page(rig, 0x40002678, true, 0x40002000, 4096, 3);
	expect_page(rig, 0x40003678, true, 0x5000, 4096, 1);
	expect_page(rig, 0x40004678, true, 0x6000, 4096, 2);
	expect_page(rig, 0x40004678, false, 0, 0, 0);
	expect_page(rig, 0x40005678, true, 0, 0, 0);
	/* tables and descriptors that are not there: no rights too, s3.9.1.2 */
	rig_store(rig_slot(rig, 0x1000, 2), 1ULL << 40 | D_VALID | D_TABLE);
	expect_page(rig, 0x1000, true, 0, 0, 0);
	rig_make_s1(rig->ste.s1, 1ULL << 40, 0, 4, 2);
	rig_set_ste(rig, RIG_SID, &rig->ste);
	expect_page(rig, 0x1000, true, 0, 0, 0);
	assert_int_equal(rig->num_events, 0);
}

static void the_request_makes_the_page_dirty(void **state)
{
	struct rig *rig = *state;
	uint64_t *slot = rig_slot(rig, 0x1000, 3);

	rig->cd[0] |= C_HA | C_HD;
	rig_write_cd(rig, RIG_CDS, rig->cd);
	rig_map(rig, 0x1000, 0x5000, 3, D_USER | D_RO | D_NG | D_DBM);
	expect_page(rig, 0x1000, false, 0x5000, 4096, 1);
	assert_int_equal(*slot & (D_AF | D_RO), D_AF | D_RO);
	expect_page(rig, 0x1000, true, 0x5000, 4096, 3);
	assert_int_equal(*slot & (D_AF | D_RO), D_AF);
}

static void configurations_that_refuse(void **state)
{
	struct rig *rig = *state;
	struct endpoint_ats_reply reply;
	static uint64_t zero[8];

	rig_map(rig, 0x1000, 0x5000, 3, D_RW);
	assert_int_equal(ask_as(rig, 9, NST_NO_PASID, 0x1000, false, &reply), -EFAULT);
	/* errors of the configuration are Completer Abort: F_STREAM_DISABLED, C_BAD_* */
	assert_int_equal(ask_as(rig, RIG_SID, 0, 0x1000, false, &reply), -EFAULT);
	assert_int_equal(ask_as(rig, RIG_SID, 16, 0x1000, false, &reply), -EFAULT);
	assert_int_equal(ask_as(rig, RIG_SID, 2, 0x1000, false, &reply), -EFAULT);
	rig_write_cd(rig, RIG_CDS, zero);
	rig_cfgi_cd_all(rig);
	assert_int_equal(ask_as(rig, RIG_SID, NST_NO_PASID, 0x1000, false, &reply), -EFAULT);
	rig->ste.s1[1] |= 1 << 27;
	rig_set_ste(rig, RIG_SID, &rig->ste);
	assert_int_equal(ask_as(rig, RIG_SID, 1, 0x1000, false, &reply), -EFAULT);
	assert_int_equal(rig->num_events, 0);
	/* that the stream may not ask at all is the only thing that is recorded */
	rig->ste.ats = false;
	rig_set_ste(rig, RIG_SID, &rig->ste);
	assert_int_equal(ask_as(rig, RIG_SID, 1, 0x1000, false, &reply), -EFAULT);
	assert_int_equal(rig_take_event(rig), 0x05);
	rig->ste.config = SMMU_HW_ABORT;
	rig_set_ste(rig, RIG_SID, &rig->ste);
	assert_int_equal(ask_as(rig, RIG_SID, 1, 0x1000, false, &reply), -EFAULT);
	assert_int_equal(rig_take_event(rig), 0);
}

static int translated(struct rig *rig, nst_rid sid, uint32_t pasid, bool write, const void *host,
		      void *buf, size_t size)
{
	struct endpoint_dma_request req = {
		.iova = { (uintptr_t)host },
		.pasid = pasid,
		.write = write,
		.translated = true,
		.buf = buf,
		.size = size,
	};

	return smmu_hw_dma(rig->hw, sid, &req);
}

static void domains_of_the_driver(void **state)
{
	struct rig *rig = *state;
	struct smmu_hw_ste ste = { .config = SMMU_HW_PAGING,
				   .map = { .s2 = &rig->s2 },
				   .ats = true };
	struct dirty_map dirty = { .enabled = true };
	struct endpoint_ats_reply reply;
	struct smmu_hw_map map = { .s2 = &rig->s2 };
	static uint8_t buf[0x2000];
	uint8_t *ram = rig->ram + (-(uintptr_t)rig->ram & ((1 << 21) - 1)); /* at 2 MiB */

	rig_clear_s2(rig);
	rig_add_s2(rig, 0x200000, 0x403000, ram, RANGE_READ | RANGE_WRITE);
	/* memory that is not aligned as the addresses are makes the page smaller */
	rig_add_s2(rig, 0xa00000, 0x403000, ram + 0x408000, RANGE_READ | RANGE_WRITE);
	rig_add_s2(rig, 0x800, 0x800, rig->ram, RANGE_READ);
	for (int bypass = 0; bypass < 2; bypass++) {
		ste.config = bypass ? SMMU_HW_BYPASS : SMMU_HW_PAGING;
		rig_set_ste(rig, 9, &ste);
		assert_int_equal(ask_as(rig, 9, NST_NO_PASID, 0x412345, true, &reply), 0);
		assert_int_equal(reply.size, 1 << 21);
		assert_int_equal(reply.translated.v, (uintptr_t)ram + 0x200000);
		assert_true(reply.read && reply.write);
		assert_int_equal(ask_as(rig, 9, NST_NO_PASID, 0xc12345, true, &reply), 0);
		assert_int_equal(reply.size, 0x8000);
		assert_int_equal(reply.translated.v, (uintptr_t)ram + 0x408000 + 0x210000);
		assert_int_equal(ask_as(rig, 9, NST_NO_PASID, 0x602345, false, &reply), 0);
		assert_int_equal(reply.size, 4096);
		assert_true(reply.read && !reply.write);
		/* less than a page cannot be answered with a page */
		assert_int_equal(ask_as(rig, 9, NST_NO_PASID, 0x900, false, &reply), 0);
		assert_false(reply.read || reply.write);
		assert_int_equal(ask_as(rig, 9, 3, 0x412345, true, &reply), -EFAULT);
	}
	assert_int_equal(smmu_hw_set_ssid(rig->hw, 9, 3, &map), 0);
	assert_int_equal(ask_as(rig, 9, 3, 0x412345, true, &reply), 0);
	assert_true(reply.read && reply.write);
	/* dirty bits: what may be written is dirty from now on, and no more than that is given */
	assert_int_equal(dirty_map_add(&dirty, 0x200000, 0x602fff), 0);
	ste.map.dirty = &dirty;
	rig_set_ste(rig, 9, &ste);
	assert_int_equal(ask_as(rig, 9, NST_NO_PASID, 0x412345, false, &reply), 0);
	assert_false(reply.write || dirty_map_is_marked(&dirty, 0x412345));
	assert_int_equal(ask_as(rig, 9, NST_NO_PASID, 0x412345, true, &reply), 0);
	assert_true(reply.write && dirty_map_is_marked(&dirty, 0x412345));
	assert_int_equal(reply.size, 4096);
	assert_int_equal(translated(rig, 9, NST_NO_PASID, true, ram + 0x3000, buf, 0x1001), 0);
	assert_int_equal(translated(rig, 9, NST_NO_PASID, false, ram + 0x6000, buf, 8), 0);
	for (uint64_t page = 0; page < 8; page++)
		assert_int_equal(dirty_map_is_marked(&dirty, 0x200000 + (page << 12)),
				 page == 3 || page == 4);
	rig_set_ste(rig, 9, NULL);
	dirty_map_fini(&dirty);
}

static void translated_requests_reach_what_the_stream_may(void **state)
{
	struct rig *rig = *state;
	uint8_t *ram = rig->ram, buf[0x3000];
	static uint8_t secret[0x3000];

	rig_clear_s2(rig);
	rig_add_s2(rig, 0x10000, 0x2000, ram + 0x8000, RANGE_READ | RANGE_WRITE);
	rig_add_s2(rig, 0x20000, 0x1000, ram + 0xa000, RANGE_READ);
	rig_add_s2(rig, 0x30000, 0x1000, ram + 0x7000, RANGE_WRITE);
	rig_add_s2(rig, 0x40000, 0x1000, ram + 0x8000, RANGE_READ); /* again, with less */
	memset(ram + 0x8000, 0x5a, 0x3000);
	assert_int_equal(translated(rig, RIG_SID, 1, false, ram + 0x8000, buf, 0x3000), 0);
	assert_memory_equal(buf, ram + 0x8000, 0x3000);
	memset(buf, 0x77, sizeof(buf));
	assert_int_equal(translated(rig, RIG_SID, NST_NO_PASID, true, ram + 0x7000, buf, 0x3000),
			 0);
	assert_memory_equal(buf, ram + 0x7000, 0x3000);
	assert_int_equal(rig->num_events, 0);
	/* not readable, not writable, not theirs, half theirs */
	assert_int_equal(translated(rig, RIG_SID, 1, false, ram + 0x7ff8, buf, 8), -EFAULT);
	assert_int_equal(translated(rig, RIG_SID, 1, true, ram + 0xa000, buf, 1), -EFAULT);
	assert_int_equal(translated(rig, RIG_SID, 1, false, ram + 0x6fff, buf, 1), -EFAULT);
	assert_int_equal(translated(rig, RIG_SID, 1, true, ram + 0x9fff, buf, 2), -EFAULT);
	assert_int_equal(translated(rig, RIG_SID, 1, false, ram + 0xaff8, buf, 16), -EFAULT);
	assert_int_equal(translated(rig, RIG_SID, 1, true, secret, buf, sizeof(secret)), -EFAULT);
	assert_int_equal(translated(rig, RIG_SID, 1, false, NULL, buf, 8), -EFAULT);
	assert_int_equal(translated(rig, RIG_SID, 1, false, (void *)-8L, buf, 8), -EFAULT);
	assert_int_equal(translated(rig, RIG_SID, 1, false, (void *)-8L, buf, 16), -EFAULT);
	for (size_t i = 0; i < sizeof(secret); i++)
		assert_int_equal(secret[i], 0);
	assert_int_equal(rig->num_events, 9);
	assert_int_equal(rig_stats(rig).faults, 9);
}

static void who_may_send_translated_requests(void **state)
{
	struct rig *rig = *state;
	struct smmu_hw_ste ste = { .config = SMMU_HW_BYPASS, .map = { .s2 = &rig->s2 } };
	struct smmu_hw_map map = { .s2 = &rig->s2 };
	struct range_map none;
	uint64_t word;

	range_map_init(&none);
	assert_int_equal(translated(rig, 9, 1, false, rig->ram, &word, 8), -EFAULT);
	assert_int_equal(rig_take_event(rig), 0);
	rig_set_ste(rig, 9, &ste);
	assert_int_equal(translated(rig, 9, 1, false, rig->ram, &word, 8), -EFAULT);
	assert_int_equal(rig_take_event(rig), 0x07);
	ste.ats = true;
	rig_set_ste(rig, 9, &ste);
	assert_int_equal(translated(rig, 9, 1, false, rig->ram, &word, 8), 0);
	ste.config = SMMU_HW_PAGING;
	rig_set_ste(rig, 9, &ste);
	assert_int_equal(translated(rig, 9, 1, false, rig->ram, &word, 8), 0);
	/* with a domain of its own the SSID is held to that */
	map.s2 = &none;
	assert_int_equal(smmu_hw_set_ssid(rig->hw, 9, 1, &map), 0);
	assert_int_equal(translated(rig, 9, 1, false, rig->ram, &word, 8), -EFAULT);
	assert_int_equal(translated(rig, 9, 2, false, rig->ram, &word, 8), 0);
	ste.config = SMMU_HW_ABORT;
	rig_set_ste(rig, 9, &ste);
	assert_int_equal(translated(rig, 9, 2, false, rig->ram, &word, 8), -EFAULT);
	map.s2 = &rig->s2;
	assert_int_equal(smmu_hw_set_ssid(rig->hw, 9, 1, &map), 0);
	assert_int_equal(translated(rig, 9, 1, false, rig->ram, &word, 8), 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(pages_of_a_guest),
		TEST(what_the_second_stage_takes_away),
		TEST(the_request_makes_the_page_dirty),
		TEST(configurations_that_refuse),
		TEST(domains_of_the_driver),
		TEST(translated_requests_reach_what_the_stream_may),
		TEST(who_may_send_translated_requests),
	};

	return cmocka_run_group_tests_name("smmu_hw_ats", tests, NULL, NULL);
}
