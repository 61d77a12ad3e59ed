// SPDX-License-Identifier: BSD-3-Clause
/*
 * Stream tables and context descriptors: what an emulated device's access comes to, and which
 * event says so; and the decoders alone, bit by bit.
 */
#include "rig.h"

#include <string.h>

#define RID 0x25
#define EVERYONE NST_NO_PASID

static struct rig *rig_of_emulated(unsigned int ssid_bits)
{
	return rig_create(&(struct rig_options){ .ssid_bits = ssid_bits });
}

/* The access fails, and the event is @type and has @fetch as the address not fetched. */
static void expect_event(struct rig *rig, nst_rid rid, uint32_t ssid, unsigned int type,
			 uint64_t fetch)
{
	uint64_t gpa, event[4], ssv = ssid == NST_NO_PASID ? 0 : 1ULL << 11 | (uint64_t)ssid << 12;

	err(EFAULT, emulated(rig, rid, ssid, PROBE_IOVA, false, &gpa));
	if (!type) {
		assert_false(event_take(rig, event));
		return;
	}
	assert_true(event_take(rig, event));
	assert_int_equal(event[0] & 0xff, type);
	assert_int_equal(event[0] >> 32, rid);
	if (type == 6)
		ssv = 0;
	if (type == 8) /* SubstreamID without SSV */
		ssv &= ~(1ULL << 11);
	assert_int_equal(event[0] & 0xffffff00, ssv);
	if (type < 0xb) {
		assert_int_equal(event[1], 0);
		assert_int_equal(event[2], 0);
		assert_int_equal(event[3], fetch);
	}
	assert_false(event_take(rig, event));
}

static void expect_gpa(struct rig *rig, nst_rid rid, uint32_t ssid, uint64_t gpa)
{
	uint64_t got;

	ok(emulated(rig, rid, ssid, PROBE_IOVA, false, &got));
	assert_int_equal(got, gpa);
}

static void sync_all(struct rig *rig)
{
	cmdq_run(rig, CMD_CFGI_ALL, 31);
}

/* --- stream tables --------------------------------------------------------------------------- */

static void a_linear_table(void **state)
{
	struct rig *rig = rig_of_emulated(0);

	guest_enable(rig);
	guest_ste(rig, 0)[0] = STE_BYPASS;
	guest_ste(rig, 511)[0] = STE_BYPASS;
	expect_gpa(rig, 0, EVERYONE, PROBE_IOVA);
	expect_gpa(rig, 511, EVERYONE, PROBE_IOVA);
	expect_event(rig, 512, EVERYONE, 2, 0); /* C_BAD_STREAMID */
	expect_event(rig, 0xffff, EVERYONE, 2, 0);
	expect_event(rig, 1, EVERYONE, 4, 0); /* V = 0: C_BAD_STE */
	cr0_set(rig, CR0_CMDQEN | CR0_EVENTQEN);
	reg32_set(rig, REG_CONTROL2, 0);	     /* RECINVSID */
	reg64_set(rig, REG_STRTAB_BASE, 4ULL << 20); /* which is nothing at that alignment */
	reg32_set(rig, REG_STRTAB_CFG, 63); /* 2^63: as many as there are, and aligned to that */
	cr0_set(rig, CR0_ALL);
	*mem64(rig, 0xffff * 64) = STE_ABORT;
	expect_event(rig, 0xffff, EVERYONE, 0, 0);
	*mem64(rig, 0xffff * 64) = 0;
	expect_event(rig, 0xffff, EVERYONE, 4, 0);
	cr0_set(rig, CR0_CMDQEN | CR0_EVENTQEN);
	reg64_set(rig, REG_STRTAB_BASE, GPA_STRTAB);
	reg32_set(rig, REG_STRTAB_CFG, 0); /* one entry */
	cr0_set(rig, CR0_ALL);
	expect_gpa(rig, 0, EVERYONE, PROBE_IOVA);
	expect_event(rig, 1, EVERYONE, 0, 0); /* C_BAD_STREAMID, which nobody wants */
	cr0_set(rig, CR0_CMDQEN | CR0_EVENTQEN);
	reg64_set(rig, REG_STRTAB_BASE, GPA_NOTHING);
	cr0_set(rig, CR0_ALL);
	expect_event(rig, 0, EVERYONE, 3, GPA_NOTHING); /* F_STE_FETCH */
	rig_destroy(rig);
}

/* Address bits below the alignment of a table do not count. */
static void tables_are_aligned(void **state)
{
	struct rig *rig = rig_of_emulated(0);

	guest_enable(rig);
	guest_ste(rig, RID)[0] = STE_BYPASS;
	cr0_set(rig, CR0_CMDQEN | CR0_EVENTQEN);
	reg64_set(rig, REG_STRTAB_BASE, GPA_STRTAB + 0x7fc0); /* 2^15 bytes */
	cr0_set(rig, CR0_ALL);
	expect_gpa(rig, RID, EVERYONE, PROBE_IOVA);
	rig_destroy(rig);
}

static void a_table_of_two_levels(void **state)
{
	static const unsigned int splits[] = { 6, 8, 10, 7 /* reserved: 6 */ };

	for (size_t i = 0; i < ARRAY_SIZE(splits); i++) {
		struct rig *rig = rig_of_emulated(0);
		unsigned int split = splits[i] == 7 ? 6 : splits[i];
		nst_rid first = (nst_rid)(3u << split);
		const uint64_t l1 = GPA_L1 + 3 * 8, l2 = GPA_DATA;

		guest_enable(rig);
		cr0_set(rig, CR0_CMDQEN | CR0_EVENTQEN);
		reg64_set(rig, REG_STRTAB_BASE, GPA_L1);
		reg32_set(rig, REG_STRTAB_CFG, 1u << 16 | splits[i] << 6 | 16);
		cr0_set(rig, CR0_ALL);
		expect_event(rig, first, EVERYONE, 2, 0);		 /* span 0 */
		for (unsigned int span = split + 2; span < 32; span++) { /* too many, or reserved */
			*mem64(rig, l1) = l2 | span;
			expect_event(rig, first, EVERYONE, 2, 0);
		}
		*mem64(rig, l1) = l2 | 4; /* 8 entries */
		*mem64(rig, l2 + 7 * 64) = STE_BYPASS;
		*mem64(rig, l2 + 8 * 64) = STE_BYPASS;
		expect_gpa(rig, first + 7, EVERYONE, PROBE_IOVA);
		expect_event(rig, first + 8, EVERYONE, 2, 0);
		*mem64(rig, l1) = l2 | (split + 1);
		expect_gpa(rig, first + 8, EVERYONE, PROBE_IOVA);
		expect_gpa(rig, first + 7, EVERYONE, PROBE_IOVA);
		expect_event(rig, first + 9, EVERYONE, 4, 0);
		*mem64(rig, l1) = GPA_NOTHING | (split + 1);
		expect_event(rig, first + 2, EVERYONE, 3, GPA_NOTHING + 2 * 64);
		cr0_set(rig, CR0_CMDQEN | CR0_EVENTQEN);
		reg64_set(rig, REG_STRTAB_BASE, GPA_NOTHING);
		cr0_set(rig, CR0_ALL);
		expect_event(rig, first, EVERYONE, 3, GPA_NOTHING + 3 * 8);
		rig_destroy(rig);
	}
}

/* --- stream table entries -------------------------------------------------------------------- */

static const struct smmu_idr idr_full = {
	/* ATS, 16-bit SSIDs */
	.idr = { 0x0d44101a | 1u << 10 | 1u << 11 | 1u << 19, 0x02730010 | 16 << 6, 0, 0x1404, 0,
		 0x74 },
};

static bool decode_ste(uint64_t w0, uint64_t w1, const struct smmu_idr *idr,
		       struct smmu_stream *out, struct smmu_table_fault *fault)
{
	struct smmu_ste ste = { { le64_make(w0), le64_make(w1) } };

	for (int i = 2; i < 8; i++)
		ste.qw[i] = le64_make(UINT64_MAX);
	return smmu_ste_decode(&ste, idr, out, fault);
}

static void every_configuration(void **state)
{
	static const enum smmu_event_type types[8] = {
		SMMU_E_ABORTED,	 SMMU_E_ABORTED,  SMMU_E_ABORTED, SMMU_E_ABORTED,
		SMMU_EVENT_NONE, SMMU_EVENT_NONE, SMMU_C_BAD_STE, SMMU_C_BAD_STE,
	};

	for (uint64_t config = 0; config < 8; config++) {
		struct smmu_table_fault fault = { 0 };
		struct smmu_stream s;

		assert_int_equal(decode_ste(1 | config << 1, 0, &idr_full, &s, &fault),
				 !types[config]);
		assert_int_equal(fault.type, types[config]);
		assert_false(decode_ste(config << 1, 0, &idr_full, &s, &fault)); /* V = 0 */
		assert_int_equal(fault.type, SMMU_C_BAD_STE);
		assert_true(fault.absent);
	}
}

static void what_makes_an_entry_illegal(void **state)
{
	static const struct {
		uint64_t w0, w1;
		bool legal;
	} cases[] = {
		{ 0, 0, true },
		{ STE_CDMAX(16), 0, true },
		{ STE_CDMAX(17), 0, false }, /* more than SSIDSIZE */
		{ STE_CDMAX(31), 0, false },
		{ STE_CDMAX(5) | STE_FMT(1), 2, true },
		{ STE_CDMAX(5) | STE_FMT(2), 1, true },
		{ STE_CDMAX(5) | STE_FMT(3), 0, true }, /* reserved: as 0 */
		{ STE_CDMAX(5), 3, true },		/* S1DSS, the same */
		{ STE_FMT(3), 3, true },		/* of substreams, and there are none */
		{ 0, 1ULL << 27, false },		/* S1STALLD, and nothing stalls */
		{ 0, 3ULL << 30, true },		/* STRW is not there, without EL2 */
		{ 0, 1ULL << 28, true },		/* EATS */
		{ 0, 2ULL << 28, false },		/* split stages, and there is one */
		{ 0, 3ULL << 28, true },		/* reserved: as 0 */
		{ 1ULL << 43, 0, true },		/* 44 bits of address */
		{ 1ULL << 44, 0, false },
		{ 1ULL << 51, 0, false },
	};
	struct smmu_idr idr = idr_full;
	struct smmu_table_fault fault;
	struct smmu_stream s;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(decode_ste(STE_S1(0) | cases[i].w0, cases[i].w1, &idr, &s, &fault),
				 cases[i].legal);
		if (!cases[i].legal)
			assert_int_equal(fault.type, SMMU_C_BAD_STE);
		/* none of it matters to an entry that bypasses */
		assert_true(decode_ste(STE_BYPASS | cases[i].w0, cases[i].w1, &idr, &s, &fault));
	}
	assert_true(decode_ste(STE_S1(0), 1ULL << 28, &idr, &s, &fault));
	assert_int_equal(le64toh(s.ste.ste[1]), 1ULL << 28);
	assert_true(decode_ste(STE_S1(0) | STE_CDMAX(5) | STE_FMT(3), 3, &idr, &s, &fault));
	assert_int_equal(le64toh(s.ste.ste[0]), STE_S1(0) | STE_CDMAX(5));
	assert_int_equal(le64toh(s.ste.ste[1]), 0);
	idr.idr[0] &= ~(1u << 19); /* CD2L */
	assert_false(decode_ste(STE_S1(0) | STE_CDMAX(5) | STE_FMT(1), 0, &idr, &s, &fault));
	assert_true(decode_ste(STE_S1(0) | STE_CDMAX(5), 0, &idr, &s, &fault));
	assert_false(decode_ste(STE_S1(0) | STE_CDMAX(5) | STE_FMT(3), 0, &idr, &s, &fault));
	idr.idr[1] &= ~0x7c0u; /* SSIDSIZE: then there are none, whatever S1CDMax says */
	assert_true(decode_ste(STE_S1(0x40) | STE_CDMAX(17) | STE_FMT(1), 2, &idr, &s, &fault));
	assert_int_equal(le64toh(s.ste.ste[0]), STE_S1(0x40));
	idr.idr[0] &= ~(1u << 10); /* ATS: EATS is ignored */
	assert_true(decode_ste(STE_S1(0), 2ULL << 28, &idr, &s, &fault));
	assert_int_equal(s.ste.ste[1], 0);
}

/* Linux 7.2's masks for a nested domain, from its uapi header. */
static void host_words_are_those_the_kernel_takes(void **state)
{
	const uint64_t allowed0 = 0xfULL | 3ULL << 4 | 0xfffffffffffc0ULL | 31ULL << 59;
	const uint64_t allowed1 = 0xffULL | 1ULL << 27 | 3ULL << 28;
	uint64_t seed = 1;

	for (int i = 0; i < 200000; i++) {
		uint64_t w0 = test_random(&seed) | 1, w1 = test_random(&seed);
		struct smmu_table_fault fault;
		struct smmu_stream s;

		if (i & 1)
			w0 &= ~(0xffULL << 44), w1 &= ~(1ULL << 27 | 3ULL << 30);
		if (!decode_ste(w0, w1, &idr_full, &s, &fault))
			continue;
		assert_int_equal(le64toh(s.ste.ste[0]) & ~allowed0, 0);
		assert_int_equal(le64toh(s.ste.ste[1]) & ~allowed1, 0);
		assert_true((le64toh(s.ste.ste[1]) >> 28 & 3) <= 1);
		if (s.config == SMMU_STE_S1)
			assert_int_equal((le64toh(s.ste.ste[0]) ^ w0) & 0xfffffffffffc0ULL, 0);
		else
			assert_int_equal(le64toh(s.ste.ste[0]), STE_BYPASS);
	}
}

/* --- substreams ------------------------------------------------------------------------------ */

static void requests_with_and_without_substream(void **state)
{
	enum { DISABLED = 6, BAD_SSID = 8, BYPASSES = 0x100, CD_0, CD_5 };
	static const struct {
		uint64_t w0, w1;
		uint32_t ssid;
		unsigned int outcome;
	} cases[] = {
		{ STE_BYPASS, 0, EVERYONE, BYPASSES },
		{ STE_BYPASS, 0, 0, BAD_SSID },
		{ STE_BYPASS, 0, 5, BAD_SSID },
		{ STE_S1(GPA_CDTAB), 0, EVERYONE, CD_0 },
		{ STE_S1(GPA_CDTAB), 0, 0, BAD_SSID },
		{ STE_S1(GPA_CDTAB) | STE_CDMAX(3), 0, EVERYONE, DISABLED },
		{ STE_S1(GPA_CDTAB) | STE_CDMAX(3), 0, 0, CD_0 },
		{ STE_S1(GPA_CDTAB) | STE_CDMAX(3), 0, 5, CD_5 },
		{ STE_S1(GPA_CDTAB) | STE_CDMAX(3), 0, 8, BAD_SSID },
		{ STE_S1(GPA_CDTAB) | STE_CDMAX(3), 1, EVERYONE, BYPASSES },
		{ STE_S1(GPA_CDTAB) | STE_CDMAX(3), 1, 0, CD_0 },
		{ STE_S1(GPA_CDTAB) | STE_CDMAX(3), 1, 5, CD_5 },
		{ STE_S1(GPA_CDTAB) | STE_CDMAX(3), 2, EVERYONE, CD_0 },
		{ STE_S1(GPA_CDTAB) | STE_CDMAX(3), 2, 0, DISABLED },
		{ STE_S1(GPA_CDTAB) | STE_CDMAX(3), 2, 5, CD_5 },
	};
	struct rig *rig = rig_of_emulated(16);

	guest_enable(rig);
	guest_write_cd(rig, GPA_CDTAB, rig->root_a, 1);
	guest_write_cd(rig, GPA_CDTAB + 5 * 64, rig->root_b, 2);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		guest_ste(rig, RID)[0] = cases[i].w0;
		guest_ste(rig, RID)[1] = cases[i].w1;
		sync_all(rig);
		switch (cases[i].outcome) {
		case BYPASSES:
			expect_gpa(rig, RID, cases[i].ssid, PROBE_IOVA);
			break;
		case CD_0:
			expect_gpa(rig, RID, cases[i].ssid, PROBE_IOVA + PAGE_SIZE_4K);
			break;
		case CD_5:
			expect_gpa(rig, RID, cases[i].ssid, PROBE_IOVA + 2 * PAGE_SIZE_4K);
			break;
		default:
			expect_event(rig, RID, cases[i].ssid, cases[i].outcome, 0);
		}
	}
	rig_destroy(rig);
}

static void tables_of_cds(void **state)
{
	struct rig *rig = rig_of_emulated(20);
	const uint64_t big = GPA_DATA; /* 64 KiB, aligned */

	guest_enable(rig);
	/* linear, unaligned in vain */
	guest_write_cd(rig, GPA_CDTAB + 63 * 64, rig->root_a, 1);
	guest_ste(rig, RID)[0] = STE_S1(GPA_CDTAB + 0x40) | STE_CDMAX(6);
	expect_gpa(rig, RID, 63, PROBE_IOVA + PAGE_SIZE_4K);
	/* two levels of 4 KiB and of 64 KiB */
	for (uint64_t fmt = 1; fmt <= 2; fmt++) {
		unsigned int split = fmt == 1 ? 6 : 10;
		uint32_t ssid = (2u << split) + 33;

		guest_ste(rig, RID)[0] = STE_S1(GPA_CDTAB) | STE_CDMAX(20) | STE_FMT(fmt);
		memset(&rig->memory[GPA_CDTAB], 0, 4096);
		sync_all(rig);
		expect_event(rig, RID, ssid, 8, 0); /* L1CD.V = 0: C_BAD_SUBSTREAMID */
		*mem64(rig, GPA_CDTAB + 16) = (big + 0x8000) | 1;
		guest_write_cd(rig, (fmt == 1 ? big + 0x8000 : big) + 33 * 64, rig->root_b, 2);
		expect_gpa(rig, RID, ssid, PROBE_IOVA + 2 * PAGE_SIZE_4K);
		*mem64(rig, GPA_CDTAB + 16) = GPA_NOTHING | 1;
		sync_all(rig);
		expect_event(rig, RID, ssid, 9, GPA_NOTHING + 33 * 64); /* F_CD_FETCH */
		*mem64(rig, GPA_CDTAB + 16) = 1ULL << 44 | 1;
		expect_event(rig, RID, ssid, 8, 0); /* beyond OAS */
		guest_ste(rig, RID)[0] = STE_S1(GPA_NOTHING) | STE_CDMAX(20) | STE_FMT(fmt);
		sync_all(rig);
		expect_event(rig, RID, ssid, 9, GPA_NOTHING + 16);
	}
	guest_ste(rig, RID)[0] = STE_S1(GPA_NOTHING);
	sync_all(rig);
	expect_event(rig, RID, EVERYONE, 9, GPA_NOTHING);
	guest_ste(rig, RID)[0] = STE_S1(GPA_CDTAB);
	memset(&rig->memory[GPA_CDTAB], 0, 64);
	expect_event(rig, RID, EVERYONE, 0xa, 0); /* C_BAD_CD */
	rig_destroy(rig);
}

/* --- context descriptors --------------------------------------------------------------------- */

static bool decode_cd(uint64_t w0, uint64_t w1, uint64_t w2, struct smmu_context *out)
{
	const struct smmu_cd cd = { { le64_make(w0), le64_make(w1), le64_make(w2) } };

	return smmu_cd_decode(&cd, &idr_full, out);
}

static void what_makes_a_cd_illegal(void **state)
{
	const uint64_t good = CD_WORD0(7), both = good & ~(1ULL << 30 | 0x3fULL << 16);
	const struct {
		uint64_t w0, w1, w2;
		bool legal;
	} cases[] = {
		{ good, 0x1000, 0, true },
		{ good & ~(1ULL << 31), 0, 0, false },		/* V */
		{ good & ~(1ULL << 41), 0, 0, false },		/* AA64 */
		{ good & ~(1ULL << 46), 0, 0, false },		/* A: IDR0.TERM_MODEL */
		{ good & ~(1ULL << 45), 0, 0, true },		/* R */
		{ good | 1ULL << 44, 0, 0, false },		/* S */
		{ good | 1ULL << 43, 0, 0, false },		/* HA */
		{ good | 1ULL << 42, 0, 0, false },		/* HD */
		{ good | 1ULL << 15, 0, 0, false },		/* ENDI */
		{ good | 1ULL << 15 | 1ULL << 14, 0, 0, true }, /* ... and no half in use */
		{ (good & ~0x3fULL) | 15, 0, 0, false },	/* T0SZ */
		{ (good & ~0x3fULL) | 39, 0, 0, true },
		{ (good & ~0x3fULL) | 40, 0, 0, false },
		{ (good & ~0x3fULL) | 40 | 1ULL << 14, 0, 0, true }, /* EPD0 */
		{ good | 1ULL << 6, 0, 0, true },		     /* 64 KiB */
		{ good | 2ULL << 6, 0, 0, true },		     /* 16 KiB */
		{ good | 3ULL << 6, 0, 0, false },
		{ good, 1ULL << 43, 0, true },
		{ good, 1ULL << 44, 0, false }, /* beyond OAS, though IPS says 48 */
		{ (good & ~(7ULL << 32)), 1ULL << 32, 0, false }, /* beyond IPS of 32 */
		{ (good & ~(7ULL << 32)), 1ULL << 31, 0, true },
		{ both | 16ULL << 16 | 2ULL << 22, 0, 0x1000, true },
		{ both | 16ULL << 16 | 1ULL << 22, 0, 0, true },
		{ both | 16ULL << 16 | 3ULL << 22, 0, 0, true },
		{ both | 16ULL << 16, 0, 0, false }, /* TG1 = 0 */
		{ both | 15ULL << 16 | 2ULL << 22, 0, 0, false },
		{ both | 16ULL << 16 | 2ULL << 22, 0, 1ULL << 44, false },
	};
	struct smmu_context c;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(decode_cd(cases[i].w0, cases[i].w1, cases[i].w2, &c),
				 cases[i].legal);
}

static void a_granule_that_is_not_offered(void **state)
{
	static const uint64_t tg0[] = { 0, 2, 1 }, tg1[] = { 2, 1, 3 };
	const uint64_t good = CD_WORD0(7) & ~(1ULL << 30);

	for (unsigned int offered = 0; offered < 3; offered++) {
		struct smmu_idr idr = { .idr = { [0] = 1u << 12, [5] = 4 | 1u << (4 + offered) } };

		for (unsigned int i = 0; i < 3; i++) {
			struct smmu_cd cd = { { le64_make(good | tg0[i] << 6 | tg1[i] << 22 |
							  16ULL << 16) } };
			struct smmu_context c;

			assert_int_equal(smmu_cd_decode(&cd, &idr, &c), i == offered);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_linear_table),
		cmocka_unit_test(tables_are_aligned),
		cmocka_unit_test(a_table_of_two_levels),
		cmocka_unit_test(every_configuration),
		cmocka_unit_test(what_makes_an_entry_illegal),
		cmocka_unit_test(host_words_are_those_the_kernel_takes),
		cmocka_unit_test(requests_with_and_without_substream),
		cmocka_unit_test(tables_of_cds),
		cmocka_unit_test(what_makes_a_cd_illegal),
		cmocka_unit_test(a_granule_that_is_not_offered),
	};

	return cmocka_run_group_tests_name("smmuv3 tables", tests, NULL, NULL);
}
