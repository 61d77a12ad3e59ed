// SPDX-License-Identifier: BSD-3-Clause
/*
 * Context descriptors of the software SMMUv3: how one is found for a substream, what makes
 * one illegal, when a changed one is seen, and what garbage does. Address space n maps its
 * page 0x1000 to a page of memory that is marked with n.
 */
#include "smmu_rig.h"

#include <string.h>

#define CFGI_CD(ssid, leaf) \
	assert_int_equal(rig_command(rig, 0x05 | (uint64_t)(ssid) << 12 | (uint64_t)RIG_SID << 32, \
				     leaf), 0)

/* An address space marked @n, its descriptor at @ipa. */
static void make_space(struct rig *rig, uint64_t ipa, unsigned int n)
{
	uint64_t cd[8], page = (0x10000 + (uint64_t)n) << 12;

	rig_make_cd(rig, cd, (uint16_t)n);
	rig_store(rig_slot_of(rig, cd[1], 0x1000, 3), page | D_RW | D_VALID | D_TABLE);
	rig_mark(rig, page, n);
	rig_write_cd(rig, ipa, cd);
}

static void use(struct rig *rig, uint64_t ptr, unsigned int fmt, unsigned int cd_max,
		unsigned int dss)
{
	rig_make_s1(rig->ste.s1, ptr, fmt, cd_max, dss);
	rig_set_ste(rig, RIG_SID, &rig->ste);
	rig_tlbi_all(rig);
}

static uint64_t read_as(struct rig *rig, uint32_t ssid)
{
	return rig_read_as(rig, RIG_SID, ssid, 0x1000);
}

static void linear_tables(void **state)
{
	struct rig *rig = *state;

	for (unsigned int ssid = 0; ssid < 16; ssid++)
		make_space(rig, RIG_CDS + 0x1000 + ssid * 64, 100 + ssid);
	for (unsigned int cd_max = 0; cd_max <= 4; cd_max++) {
		/* format 3 is the same; address bits below the size of the table are nothing */
		use(rig, RIG_CDS + 0x1000 + (cd_max ? 64 * ((1u << cd_max) - 1) : 0),
		    cd_max % 2 ? 3 : 0, cd_max, 2);
		assert_int_equal(read_as(rig, NST_NO_PASID), 100);
		for (unsigned int ssid = 0; ssid < 20; ssid++)
			assert_int_equal(read_as(rig, ssid),
					 ssid && ssid < 1u << cd_max ? 100 + ssid : RIG_FAULT);
	}
}

static void two_level_tables(void **state)
{
	static const struct { unsigned int fmt, split, size; } rows[] = {
		{ 1, 6, 4096 }, { 2, 10, 65536 },
	};
	static const uint32_t ssids[] = { 1, 63, 64, 65, 1023, 1024, 5000, 0x7ffff, 0xfffff };
	struct rig *rig = *state;
	const uint64_t l1 = RIG_CDS + 0x100000, l2 = RIG_CDS + 0x200000;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		memset(&rig->ram[l1], 0, 1 << 20);
		for (size_t n = 0; n < ARRAY_SIZE(ssids); n++) {
			uint64_t table = l2 + n * 65536, *slot = (void *)&rig->ram[l1];

			slot += ssids[n] >> rows[i].split;
			if (!*slot)	/* the low bits of the pointer are not its own */
				rig_store(slot, table | 1 | (rows[i].fmt == 2 ? 0xf000 : 0));
			table = *slot & -(uint64_t)rows[i].size & 0xffffffffff000;
			make_space(rig, table + (ssids[n] & ((1u << rows[i].split) - 1)) * 64,
				   (unsigned int)(i * 100 + n + 1));
		}
		use(rig, l1, rows[i].fmt, 20, 0);
		for (int again = 0; again < 2; again++)
			for (size_t n = 0; n < ARRAY_SIZE(ssids); n++)
				assert_int_equal(read_as(rig, ssids[n]), i * 100 + n + 1);
		/* L1CD not valid, or with a pointer that no IPA can be */
		rig_take_event(rig);
		assert_int_equal(read_as(rig, 0x20000), RIG_FAULT);
		assert_int_equal(rig_take_event(rig), 0x08);
		rig_mark(rig, l1 + (0x20000 >> rows[i].split) * 8, 1 | 1ULL << 48);
		CFGI_CD(0x20000, false);
		assert_int_equal(read_as(rig, 0x20000), RIG_FAULT);
		assert_int_equal(rig_take_event(rig), 0x08);
		/* fewer substreams than a second-level table holds: the first one is used */
		use(rig, l1, rows[i].fmt, 2, 0);
		assert_int_equal(read_as(rig, 1), i * 100 + 1);
		assert_int_equal(read_as(rig, 4), RIG_FAULT);
	}
}

static void requests_without_a_substream(void **state)
{
	struct rig *rig = *state;

	make_space(rig, RIG_CDS + 0x1000, 7);
	make_space(rig, RIG_CDS + 0x1040, 8);
	rig_mark(rig, 0x1000, 9);	/* what IPA 0x1000 is */
	for (unsigned int dss = 0; dss < 4; dss++) {
		use(rig, RIG_CDS + 0x1000, 0, 1, dss);
		assert_int_equal(read_as(rig, NST_NO_PASID),
				 dss == 1 ? 9 : dss == 2 ? 7 : RIG_FAULT);
		assert_int_equal(read_as(rig, 0), dss == 2 ? RIG_FAULT : 7);
		assert_int_equal(read_as(rig, 1), 8);
		/* without substreams the field says nothing, nor does the format */
		use(rig, RIG_CDS + 0x1000, dss, 0, dss);
		assert_int_equal(read_as(rig, NST_NO_PASID), 7);
	}
}

/* Rows: what is changed in a sound descriptor, and whether it is still one. */
static void what_makes_a_descriptor_illegal(void **state)
{
	static const struct { unsigned int qw; uint64_t clear, set; bool legal; } rows[] = {
		{ 0, 0, 0, true }, { 0, C_V, 0, false }, { 0, C_AA64, 0, false },
		{ 0, C_A, 0, false }, { 0, 0, C_S, false }, { 0, C_R, 0, true },
		{ 0, 0, C_HA, true }, { 0, 0, C_HD, true }, { 0, 0, C_HA | C_HD, true },
		{ 0, 0, C_AFFD, true }, { 0, 0, C_PAN, true }, { 0, 0, C_TBI0, true },
		{ 0, 63, 15, false }, { 0, 63, 16, true }, { 0, 63, 25, true }, { 0, 63, 39, true },
		{ 0, 63, 40, false }, { 0, 63, 0, false }, { 0, 63, 63, false },
		{ 0, 63ULL << 16, 15ULL << 16, false }, { 0, 63ULL << 16, 39ULL << 16, true },
		{ 0, 63ULL << 16, 40ULL << 16, false },
		{ 0, 0, 3 << 6, false },		/* TG0: reserved */
		{ 0, 3ULL << 22, 0, false },		/* TG1: reserved */
		{ 0, 3ULL << 22, 1ULL << 22, true }, { 0, 3ULL << 22, 3ULL << 22, true },
		{ 0, 0, 1 << 15, false },		/* big-endian */
		{ 0, 7ULL << 32, 0, true }, { 0, 7ULL << 32, 7ULL << 32, true },
		{ 1, 0, 1ULL << 47, true }, { 1, 0, 1ULL << 48, false }, { 1, 0, 1ULL << 51, false },
		{ 2, 0, 1ULL << 48, false }, { 1, 0, 1ULL << 52, true }, { 1, 0, 1, true },
		/* what is switched off is not looked at */
		{ 0, 63ULL << 16 | 3ULL << 22, C_EPD1, true }, { 0, 63, C_EPD0, true },
		{ 0, 0, 3 << 6 | C_EPD0, true }, { 0, 0, 3 << 6 | C_EPD1, false },
		{ 0, 63, C_EPD1, false }, { 0, 0, 1 << 15 | C_EPD0, false },
		{ 0, 0, 1 << 15 | C_EPD0 | C_EPD1, true },
	};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t cd[8];

		memcpy(cd, rig->cd, sizeof(cd));
		cd[rows[i].qw] = (cd[rows[i].qw] & ~rows[i].clear) | rows[i].set;
		rig_write_cd(rig, RIG_CDS, cd);
		rig_cfgi_cd_all(rig);
		rig_read(rig, 0x1000);
		assert_int_equal(rig_take_event(rig) != 0x0a, rows[i].legal);
	}
	/* TTBs are held to what IPS says */
	for (unsigned int ips = 0; ips < 8; ips++) {
		static const unsigned int bits[] = { 32, 36, 40, 42, 44, 48, 48, 48 };
		uint64_t cd[8];

		for (int over = 0; over < 2; over++) {
			memcpy(cd, rig->cd, sizeof(cd));
			cd[0] = (cd[0] & ~(7ULL << 32)) | (uint64_t)ips << 32;
			cd[2] = 1ULL << (bits[ips] - !over);
			rig_write_cd(rig, RIG_CDS, cd);
			rig_cfgi_cd_all(rig);
			rig_read(rig, 0x1000);
			assert_int_equal(rig_take_event(rig) == 0x0a, over);
		}
	}
}

/* Other fields, by what they do to addresses. */
static void sizes_and_tags_of_addresses(void **state)
{
	struct rig *rig = *state;
	uint64_t top = rig_slot(rig, 0x1000, 1) - (uint64_t *)(void *)rig->ram, cd[8];

	rig_map(rig, 0x1000, 0x5000, 3, D_RW);
	rig_mark(rig, 0x5000, 5);
	memcpy(cd, rig->cd, sizeof(cd));
	/* 39 bits: what was a table of level 1 is the top */
	cd[0] += 25 - 16;
	cd[1] = top * 8;
	rig_write_cd(rig, RIG_CDS, cd);
	rig_cfgi_cd_all(rig);
	assert_int_equal(rig_read(rig, 0x1000), 5);
	assert_int_equal(rig_read(rig, 1ULL << 39 | 0x1000), RIG_FAULT);
	assert_int_equal(rig_read(rig, 0x5500000000001000), RIG_FAULT);
	cd[0] |= C_TBI0;
	rig_write_cd(rig, RIG_CDS, cd);
	rig_cfgi_cd_all(rig);
	assert_int_equal(rig_read(rig, 0x5500000000001000), 5);
	assert_int_equal(rig_read(rig, 0xff00000000001000), 5);
	assert_int_equal(rig_read(rig, 0x5501000000001000), RIG_FAULT);
	/* the upper half has a bit of its own for that */
	rig_map(rig, RIG_UPPER + 0x1000, 0x5000, 3, D_RW);
	assert_int_equal(rig_read(rig, RIG_UPPER + 0x1000), 5);
	assert_int_equal(rig_read(rig, 0x55ff000000001000), RIG_FAULT);
	cd[0] |= 1ULL << 39;
	rig_write_cd(rig, RIG_CDS, cd);
	rig_cfgi_cd_all(rig);
	assert_int_equal(rig_read(rig, 0x55ff000000001000), 5);
}

static void a_changed_descriptor_is_seen_when_it_is_flushed(void **state)
{
	struct rig *rig = *state;
	static uint64_t zero[8];

	make_space(rig, RIG_CDS + 0x10000, 100);
	make_space(rig, RIG_CDS + 0x10040, 101);
	make_space(rig, RIG_CDS + 0x11000, 164);
	use(rig, RIG_CDS + 0x10000, 0, 8, 2);
	assert_int_equal(read_as(rig, 1), 101);
	for (unsigned int how = 0; how < 7; how++) {
		unsigned int n = how % 2 ? 101 : 102;

		make_space(rig, RIG_CDS + 0x10040, n);	/* another ASID, other tables */
		rig_tlbi_all(rig);
		CFGI_CD(0, true);			/* of others */
		CFGI_CD(65, false);
		assert_int_equal(rig_command(rig, 0x06 | (uint64_t)(RIG_SID + 1) << 32, 0), 0);
		assert_int_equal(rig_command(rig, 0x03 | (uint64_t)(RIG_SID ^ 1) << 32, 1), 0);
		assert_int_equal(rig_command(rig, 0x04 | (uint64_t)(RIG_SID ^ 8) << 32, 2), 0);
		assert_int_equal(read_as(rig, 1), how % 2 ? 102 : 101);
		if (how == 0)
			CFGI_CD(1, true);
		else if (how == 1)
			CFGI_CD(1, false);
		else if (how == 2)
			rig_cfgi_cd_all(rig);
		else if (how == 3)		/* CFGI_STE */
			assert_int_equal(rig_command(rig, 0x03 | (uint64_t)RIG_SID << 32, 1), 0);
		else if (how == 4)		/* 16 streams around */
			assert_int_equal(rig_command(rig, 0x04 | (uint64_t)(RIG_SID ^ 8) << 32, 3), 0);
		else if (how == 5)		/* CFGI_ALL */
			assert_int_equal(rig_command(rig, 0x04, 31), 0);
		else
			rig_set_ste(rig, RIG_SID, &rig->ste);
		assert_int_equal(read_as(rig, 1), n);
	}
	/* one that is not valid is cached too */
	rig_write_cd(rig, RIG_CDS + 0x10000, zero);
	CFGI_CD(0, true);
	assert_int_equal(read_as(rig, NST_NO_PASID), RIG_FAULT);
	make_space(rig, RIG_CDS + 0x10000, 100);
	assert_int_equal(read_as(rig, NST_NO_PASID), RIG_FAULT);
	CFGI_CD(0, true);
	assert_int_equal(read_as(rig, NST_NO_PASID), 100);
	/* two that share a place in the cache */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(read_as(rig, 64), 164);
		assert_int_equal(read_as(rig, NST_NO_PASID), 100);
	}
}

static void the_first_level_is_flushed_without_the_leaf_hint(void **state)
{
	struct rig *rig = *state;
	const uint64_t l1 = RIG_CDS + 0x100000, a = RIG_CDS + 0x2000, b = RIG_CDS + 0x3000;

	make_space(rig, a + 64, 1);
	make_space(rig, b + 64, 2);
	make_space(rig, a + 128, 3);
	make_space(rig, b + 128, 4);
	rig_mark(rig, l1, a | 1);
	use(rig, l1, 1, 20, 0);
	assert_int_equal(read_as(rig, 1), 1);
	rig_mark(rig, l1, b | 1);
	CFGI_CD(1, true);
	assert_int_equal(read_as(rig, 1), 1);
	assert_int_equal(read_as(rig, 2), 3);
	CFGI_CD(64, false);		/* another entry of the first level */
	CFGI_CD(1, true);
	assert_int_equal(read_as(rig, 1), 1);
	CFGI_CD(1, false);
	assert_int_equal(read_as(rig, 1), 2);
	assert_int_equal(read_as(rig, 2), 3);	/* descriptors of other SSIDs stay */
	CFGI_CD(2, true);
	assert_int_equal(read_as(rig, 2), 4);
	/* a failed fetch is not kept */
	rig_mark(rig, l1 + 8, 1ULL << 40 | 1);
	assert_int_equal(read_as(rig, 65), RIG_FAULT);
	CFGI_CD(65, false);
	rig_mark(rig, l1 + 8, a | 1);
	assert_int_equal(read_as(rig, 65), 1);
}

/* Whatever a guest points the unit to: an end, no access outside of its memory. */
static void garbage(void **state)
{
	struct rig *rig = *state;
	uint64_t seed = 3, *words = (uint64_t *)(void *)rig->ram, reached = 0, cds[64];

	rig_clear_s2(rig);
	rig_add_s2(rig, 0, 0x40000, rig->ram, RANGE_READ | RANGE_WRITE);
	for (int world = 0; world < 200; world++) {
		for (size_t i = 0; i < 0x40000 / 8; i++) {
			uint64_t r = test_random(&seed);

			words[i] = r % 3 ? (r >> 8 & 0x3f000) | (r & 0xff) | 0x40 | D_AF | 3 : r;
		}
		/* some of it looks like context descriptors */
		for (int i = 0; i < 64; i++) {
			uint64_t *cd;

			cds[i] = test_random(&seed) % 0x1000 * 64;
			cd = &words[cds[i] / 8];
			memcpy(cd, rig->cd, sizeof(rig->cd));
			cd[0] ^= 1ULL << test_random(&seed) % 64;
			cd[1] = test_random(&seed) % 0x40000;
			cd[2] = test_random(&seed) % 0x40000;
		}
		for (int n = 0; n < 50; n++) {
			uint64_t r = test_random(&seed), va = test_random(&seed) >> (r & 31);

			use(rig, r & 1 << 6 ? cds[r % 64] : r >> 8 & 0x3ffc0, r >> 32 & 3, r >> 34 & 3 ? 0 : (unsigned int)(r >> 36 & 31), r >> 40 & 3);
			reached += rig_read_as(rig, RIG_SID, r >> 42 & 1 ? NST_NO_PASID :
					       (uint32_t)(r >> 44), va) != RIG_FAULT;
		}
	}
	assert_true(reached > 20);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(linear_tables),
		TEST(two_level_tables),
		TEST(requests_without_a_substream),
		TEST(what_makes_a_descriptor_illegal),
		TEST(sizes_and_tags_of_addresses),
		TEST(a_changed_descriptor_is_seen_when_it_is_flushed),
		TEST(the_first_level_is_flushed_without_the_leaf_hint),
		TEST(garbage),
	};

	return cmocka_run_group_tests_name("smmu_hw_config", tests, NULL, NULL);
}
