// SPDX-License-Identifier: BSD-3-Clause
/*
 * Event records of the software SMMUv3, each provoked once and compared whole with what the
 * figures of the specification say: four qwords written down here as numbers, not made by
 * the masks that the unit uses.
 */
#include "smmu_rig.h"

#include <errno.h>
#include <string.h>

#define SID_WORD ((uint64_t)RIG_SID << 32)
#define SSV(n) (1ULL << 11 | (uint64_t)(n) << 12)
#define PNU (1ULL << 33)
#define RNW (1ULL << 35)
#define S2 (1ULL << 39)
#define CLASS_TT (1ULL << 40)
#define CLASS_IN (2ULL << 40)
#define TTRNW (1ULL << 44)

#define HOLE (1ULL << 40)	/* an IPA where there is nothing */
#define READ_ONLY (1ULL << 41)	/* an IPA that may be read only */
#define WRITE_ONLY (1ULL << 42)

static void expect_event(struct rig *rig, uint64_t qw0, uint64_t qw1, uint64_t qw2, uint64_t qw3)
{
	assert_int_equal(rig->num_events, 1);
	assert_int_equal(rig->event_sid, RIG_SID);
	assert_int_equal(le64_get(rig->event.qw[0]), qw0 | SID_WORD);
	assert_int_equal(le64_get(rig->event.qw[1]), qw1);
	assert_int_equal(le64_get(rig->event.qw[2]), qw2);
	assert_int_equal(le64_get(rig->event.qw[3]), qw3);
	rig->num_events = 0;
}

static void refused(struct rig *rig, uint32_t pasid, bool write, bool privileged, uint64_t va)
{
	uint64_t word = 0;
	struct endpoint_dma_request req = {
		.iova = { va }, .pasid = pasid, .write = write, .privileged = privileged,
		.buf = &word, .size = sizeof(word),
	};

	assert_int_equal(smmu_hw_dma(rig->hw, RIG_SID, &req), -EFAULT);
}

static void rewrite_cd(struct rig *rig, uint64_t set, uint64_t clear)
{
	uint64_t cd[8];

	memcpy(cd, rig->cd, sizeof(cd));
	cd[0] = (cd[0] & ~clear) | set;
	rig_write_cd(rig, RIG_CDS, cd);
	rig_write_cd(rig, RIG_CDS + 5 * 64, cd);
	rig_cfgi_cd_all(rig);
	rig_tlbi_all(rig);
}

static void use_substreams(struct rig *rig, unsigned int cd_max, unsigned int dss)
{
	rig_make_s1(rig->ste.s1, RIG_CDS, 0, cd_max, dss);
	rig_set_ste(rig, RIG_SID, &rig->ste);
	rig_write_cd(rig, RIG_CDS + 5 * 64, rig->cd);
}

static void translation_faults_of_stage_1(void **state)
{
	static const struct { uint64_t bits, cd; bool write; uint8_t type; } rows[] = {
		{ 0, 0, false, 0x10 }, { 0, 0, true, 0x10 },
		{ D_USER | D_NG, 0, false, 0x12 }, { D_USER | D_NG, 0, true, 0x12 },
		{ D_READ, 0, true, 0x13 }, { D_AF, 0, false, 0x13 },
		/* IPS of 32 bits */
		{ D_RW | 1ULL << 32, 5ULL << 32, false, 0x11 },
		{ D_RW | 1ULL << 47, 0, true, 0x11 },
	};
	struct rig *rig = *state;

	use_substreams(rig, 4, 2);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t va = 0xffff123456789000, rnw = rows[i].write ? 0 : RNW;

		rig_map(rig, va, 0x5000, 3, rows[i].bits);
		rewrite_cd(rig, i == 7 ? 4ULL << 32 : 0, i == 7 ? 7ULL << 32 : rows[i].cd);
		refused(rig, NST_NO_PASID, rows[i].write, false, va + 0x678);
		expect_event(rig, rows[i].type, rnw | CLASS_IN, va + 0x678, 0);
		refused(rig, 5, rows[i].write, false, va + 0x678);
		expect_event(rig, rows[i].type | SSV(5), rnw | CLASS_IN, va + 0x678, 0);
		if (rows[i].type == 0x13)
			continue;
		refused(rig, 5, rows[i].write, true, va + 0x678);
		expect_event(rig, rows[i].type | SSV(5), rnw | CLASS_IN | PNU, va + 0x678, 0);
		/* a guest may ask not to hear of these four */
		rewrite_cd(rig, i == 7 ? 4ULL << 32 : 0, (i == 7 ? 7ULL << 32 : rows[i].cd) | C_R);
		refused(rig, NST_NO_PASID, rows[i].write, false, va);
		assert_int_equal(rig->num_events, 0);
	}
}

static void addresses_out_of_range(void **state)
{
	static const struct { uint64_t set, clear, va; } rows[] = {
		{ C_EPD0, 0, 0x1000 }, { C_EPD1, 0, RIG_UPPER }, { 25, 63, 1ULL << 39 },
		{ 25ULL << 16, 63ULL << 16, 0xffffff0000000000 }, { 0, 0, 0xab00000000001000 },
		{ C_TBI0, 0, 0xab01000000001000 },
	};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		rewrite_cd(rig, rows[i].set, rows[i].clear);
		refused(rig, NST_NO_PASID, false, false, rows[i].va + 1);
		expect_event(rig, 0x10, RNW | CLASS_IN, rows[i].va + 1, 0);
		rewrite_cd(rig, rows[i].set, rows[i].clear | C_R);
		refused(rig, NST_NO_PASID, false, false, rows[i].va + 1);
		assert_int_equal(rig->num_events, 0);
	}
}

static void add_odd_memory(struct rig *rig)
{
	rig_add_s2(rig, READ_ONLY, 0x10000, rig->ram + 0x100000, RANGE_READ);
	rig_add_s2(rig, WRITE_ONLY, 0x10000, rig->ram + 0x100000, RANGE_WRITE);
}

/* The page that stage 1 names, its tables, and the context descriptor: all through stage 2. */
static void faults_of_stage_2(void **state)
{
	struct rig *rig = *state;
	uint64_t *upper = rig_slot(rig, 0x1000, 2), word = 0;

	add_odd_memory(rig);
	rewrite_cd(rig, 0, C_R);	/* R is not for these */
	rig_map(rig, 0x1000, HOLE, 3, D_RW);
	refused(rig, NST_NO_PASID, false, false, 0x1678);
	expect_event(rig, 0x10, RNW | S2 | CLASS_IN, 0x1678, HOLE);
	refused(rig, NST_NO_PASID, true, false, 0x1678);
	expect_event(rig, 0x10, S2 | CLASS_IN, 0x1678, HOLE);
	rig_map(rig, 0x2000, READ_ONLY + 0x3000, 3, D_RW);
	refused(rig, NST_NO_PASID, true, false, 0x2678);
	expect_event(rig, 0x13, S2 | CLASS_IN, 0x2678, READ_ONLY + 0x3000);
	rig_map(rig, 0x2000, WRITE_ONLY, 3, D_RW);
	refused(rig, NST_NO_PASID, false, false, 0x2678);
	expect_event(rig, 0x13, RNW | S2 | CLASS_IN, 0x2678, WRITE_ONLY);

	rig_tlbi_all(rig);
	rig_store(upper, (HOLE + 0x7000) | D_VALID | D_TABLE);
	refused(rig, NST_NO_PASID, true, false, 0x3678);
	expect_event(rig, 0x10, S2 | CLASS_TT, 0x3678, HOLE + 0x7000);
	rig_store(upper, WRITE_ONLY | D_VALID | D_TABLE);
	refused(rig, NST_NO_PASID, true, false, 0x3678);
	expect_event(rig, 0x13, S2 | CLASS_TT | TTRNW, 0x3678, WRITE_ONLY);
	/* the access flag cannot be set where the guest may not write */
	rewrite_cd(rig, C_HA, 0);
	rig_mark(rig, 0x100000 + 3 * 8, 0x5000 | D_VALID | D_TABLE | D_USER | D_NG);
	rig_store(upper, READ_ONLY | D_VALID | D_TABLE);
	refused(rig, NST_NO_PASID, false, false, 0x3678);
	expect_event(rig, 0x13, RNW | S2 | CLASS_TT, 0x3678, READ_ONLY);
	assert_int_equal(rig_dma(rig, false, 0x5678, &word, 8), -EFAULT);
	expect_event(rig, 0x10, RNW | CLASS_IN, 0x5678, 0);
}

static void context_descriptors_that_cannot_be_fetched(void **state)
{
	struct rig *rig = *state;

	add_odd_memory(rig);
	rig_make_s1(rig->ste.s1, HOLE, 0, 4, 2);
	rig_set_ste(rig, RIG_SID, &rig->ste);
	refused(rig, 9, false, false, 0x1678);
	expect_event(rig, 0x10 | SSV(9), RNW | S2, 0x1678, HOLE);
	rig_make_s1(rig->ste.s1, WRITE_ONLY, 0, 8, 2);
	rig_set_ste(rig, RIG_SID, &rig->ste);
	refused(rig, 64, true, false, 0x1678);
	expect_event(rig, 0x13 | SSV(64), S2, 0x1678, WRITE_ONLY + 0x1000);
	/* two levels: the table is there, what it points to is not */
	rig_mark(rig, RIG_CDS + 0x1000, HOLE + 0x20000 + 1);
	rig_make_s1(rig->ste.s1, RIG_CDS + 0x1000, 2, 10, 2);
	rig_set_ste(rig, RIG_SID, &rig->ste);
	refused(rig, 65, false, false, 0x1678);
	expect_event(rig, 0x10 | SSV(65), RNW | S2, 0x1678, HOLE + 0x21000);
}

static void configuration_errors(void **state)
{
	struct rig *rig = *state;
	static uint64_t zero[8];
	uint8_t buf[16];

	/* C_BAD_CD */
	use_substreams(rig, 4, 2);
	rig_write_cd(rig, RIG_CDS + 5 * 64, zero);
	rig_write_cd(rig, RIG_CDS, zero);
	refused(rig, 5, true, true, 0x1678);
	expect_event(rig, 0x0a | SSV(5), 0, 0, 0);
	refused(rig, NST_NO_PASID, true, false, 0x1678);
	expect_event(rig, 0x0a, 0, 0, 0);
	/* C_BAD_SUBSTREAMID has no SSV: too large, or there are none; F_STREAM_DISABLED */
	refused(rig, 16, true, false, 0x1678);
	expect_event(rig, 0x08 | 16 << 12, 0, 0, 0);
	refused(rig, 0xfffff, false, false, 0x1678);
	expect_event(rig, 0x08 | 0xfffffULL << 12, 0, 0, 0);
	refused(rig, 0, false, false, 0x1678);
	expect_event(rig, 0x06, 0, 0, 0);
	use_substreams(rig, 4, 0);
	refused(rig, NST_NO_PASID, false, false, 0x1678);
	expect_event(rig, 0x06, 0, 0, 0);
	use_substreams(rig, 0, 0);
	refused(rig, 1, false, false, 0x1678);
	expect_event(rig, 0x08 | 1 << 12, 0, 0, 0);
	/* C_BAD_STE: more substreams than there are bits; S1STALLD without stalls; no IPA */
	for (int i = 0; i < 3; i++) {
		rig_make_s1(rig->ste.s1, i == 2 ? 1ULL << 48 : RIG_CDS, 0, i ? 4 : 21, 2);
		rig->ste.s1[1] |= i == 1 ? 1 << 27 : 0;
		rig_set_ste(rig, RIG_SID, &rig->ste);
		refused(rig, NST_NO_PASID, false, false, 0x1678);
		expect_event(rig, 0x04, 0, 0, 0);
		refused(rig, 3, false, false, 0x1678);
		expect_event(rig, 0x04 | SSV(3), 0, 0, 0);
	}
	/* F_UUT */
	assert_int_equal(rig_dma(rig, true, 0xfffffffffffffff8, buf, 16), -EFAULT);
	expect_event(rig, 0x01, 0, 0xfffffffffffffff8, 0);
}

static void without_stage_1(void **state)
{
	struct rig *rig = *state;
	struct smmu_hw_ste ste = { .config = SMMU_HW_BYPASS, .map = { .s2 = &rig->s2 } };

	add_odd_memory(rig);
	for (int bypass = 0; bypass < 2; bypass++) {	/* by the host, or by S1DSS */
		if (bypass)
			use_substreams(rig, 4, 1);
		else
			rig_set_ste(rig, RIG_SID, &ste);
		refused(rig, NST_NO_PASID, false, false, HOLE + 0x1678);
		expect_event(rig, 0x10, RNW | S2 | CLASS_IN, HOLE + 0x1678, HOLE + 0x1000);
		refused(rig, NST_NO_PASID, true, true, READ_ONLY + 0x1678);
		expect_event(rig, 0x13, S2 | CLASS_IN, READ_ONLY + 0x1678, READ_ONLY + 0x1000);
		refused(rig, NST_NO_PASID, true, false, 0x8001000000001678);
		expect_event(rig, 0x11, CLASS_IN, 0x8001000000001678, 0);
	}
	/* a domain of the driver stands for its stage 1 */
	ste.config = SMMU_HW_PAGING;
	rig_set_ste(rig, RIG_SID, &ste);
	refused(rig, NST_NO_PASID, false, false, HOLE + 0x1678);
	expect_event(rig, 0x10, RNW | CLASS_IN, HOLE + 0x1678, 0);
	refused(rig, NST_NO_PASID, true, false, READ_ONLY + 0x1678);
	expect_event(rig, 0x13, CLASS_IN, READ_ONLY + 0x1678, 0);
	refused(rig, 7, true, false, 0x1678);
	expect_event(rig, 0x0a | SSV(7), 0, 0, 0);
}

static void ats_that_is_not_allowed(void **state)
{
	struct rig *rig = *state;
	struct endpoint_ats_request ats = { .iova = { 0x1678 }, .pasid = 5 };
	struct endpoint_dma_request dma = {
		.iova = { (uintptr_t)rig->ram }, .pasid = 5, .translated = true,
	};
	struct endpoint_ats_reply reply;
	uint64_t word;

	assert_int_equal(smmu_hw_translate(rig->hw, RIG_SID, &ats, &reply), -EFAULT);
	expect_event(rig, 0x05 | SSV(5), 0, 0x1000, 0);
	dma.buf = &word;
	dma.size = sizeof(word);
	for (dma.write = 0;; dma.write = true) {
		assert_int_equal(smmu_hw_dma(rig->hw, RIG_SID, &dma), -EFAULT);
		expect_event(rig, 0x07, dma.write ? 0 : RNW, dma.iova.v, 0);
		if (dma.write)
			break;
	}
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(translation_faults_of_stage_1),
		TEST(addresses_out_of_range),
		TEST(faults_of_stage_2),
		TEST(context_descriptors_that_cannot_be_fetched),
		TEST(configuration_errors),
		TEST(without_stage_1),
		TEST(ats_that_is_not_allowed),
	};

	return cmocka_run_group_tests_name("smmu_hw_event", tests, NULL, NULL);
}
