// SPDX-License-Identifier: BSD-3-Clause
/*
 * The software SMMUv3: which entry and context descriptor an access uses, what both stages
 * allow, what is counted, and what happens when there is no memory. Its context descriptors:
 * test_smmu_hw_config.c; its caches: test_smmu_hw_cache.c; its records: test_smmu_hw_event.c.
 */
#include "smmu_rig.h"

#include "base/alloc.h"

#include <errno.h>
#include <string.h>

#define READ_WRITE (RANGE_READ | RANGE_WRITE)

static struct smmu_hw_ste flat(struct rig *rig, enum smmu_hw_config config)
{
	return (struct smmu_hw_ste){ .config = config, .map = { .s2 = &rig->s2 } };
}

static bool reaches_memory(struct rig *rig, nst_rid sid, uint32_t pasid)
{
	rig_mark(rig, 0x5000, 55);
	return rig_read_as(rig, sid, pasid, 0x5000) == 55;
}

static void only_streams_with_an_entry_translate(void **state)
{
	static const nst_rid sids[] = { 0, 1, 0x0100, 0x7fff, 0x8000, 0xfffe, 0xffff };
	static const enum smmu_hw_config configs[] = { SMMU_HW_BYPASS, SMMU_HW_PAGING };
	struct rig *rig = *state;

	for (size_t i = 0; i < 2 * ARRAY_SIZE(sids); i++) {
		struct smmu_hw_ste ste = flat(rig, configs[i % 2]);

		rig_set_ste(rig, sids[i / 2], &ste);
		for (size_t j = 0; j < ARRAY_SIZE(sids); j++)
			assert_int_equal(reaches_memory(rig, sids[j], NST_NO_PASID), i / 2 == j);
		rig_set_ste(rig, sids[i / 2], NULL);
		assert_false(reaches_memory(rig, sids[i / 2], NST_NO_PASID));
		ste.config = SMMU_HW_ABORT;
		rig_set_ste(rig, sids[i / 2], &ste);
		assert_false(reaches_memory(rig, sids[i / 2], NST_NO_PASID));
	}
	assert_int_equal(rig_take_event(rig), 0); /* none of them is worth a record */
	assert_int_equal(rig_stats(rig).faults, 2 * ARRAY_SIZE(sids) * (ARRAY_SIZE(sids) + 1));
}

/* Domains of the driver per SSID: each in a map of its own. */
static void ssids_of_the_driver(void **state)
{
	static const uint32_t ssids[] = { 0, 1, 5, 63, 64, (1 << 20) - 1 };
	static const int order[] = { 3, 0, 5, 1, 4, 2 };
	struct rig *rig = *state;
	struct smmu_hw_ste ste = flat(rig, SMMU_HW_PAGING);
	struct range_map maps[ARRAY_SIZE(ssids)];
	struct smmu_hw_map map = { 0 };

	rig_set_ste(rig, 3, &ste);
	rig_mark(rig, 0x1000, 1);
	for (size_t i = 0; i < ARRAY_SIZE(ssids); i++) {
		struct mem_range r = { 0x1000,
				       0x1fff,
				       { (uintptr_t)rig->ram + (i + 10) * 0x1000 },
				       READ_WRITE,
				       NULL };

		rig_mark(rig, (i + 10) * 0x1000, i + 10);
		range_map_init(&maps[i]);
		assert_int_equal(range_map_insert(&maps[i], &r), 0);
	}
	for (size_t n = 0; n < ARRAY_SIZE(ssids); n++) {
		map.s2 = &maps[order[n]];
		assert_int_equal(smmu_hw_set_ssid(rig->hw, 3, ssids[order[n]], &map), 0);
	}
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(ssids); i++)
			assert_int_equal(rig_read_as(rig, 3, ssids[i], 0x1000),
					 round && i == 2 ? RIG_FAULT : i + 10);
		assert_int_equal(rig_read_as(rig, 3, NST_NO_PASID, 0x1000), 1);
		assert_int_equal(rig_read_as(rig, 3, 2, 0x1000), RIG_FAULT);
		assert_int_equal(rig_take_event(rig), 0x0a);
		assert_int_equal(smmu_hw_set_ssid(rig->hw, 3, 5, NULL), 0);
		assert_int_equal(smmu_hw_set_ssid(rig->hw, 3, 2, NULL), 0);
	}
	/* another map for one that is there, and more bits than there are */
	map.s2 = &maps[0];
	assert_int_equal(smmu_hw_set_ssid(rig->hw, 3, 64, &map), 0);
	assert_int_equal(rig_read_as(rig, 3, 64, 0x1000), 10);
	assert_int_equal(smmu_hw_set_ssid(rig->hw, 3, 1 << 20, &map), -EINVAL);
	assert_int_equal(smmu_hw_set_ssid(rig->hw, 3, NST_NO_PASID, &map), -EINVAL);
	assert_int_equal(smmu_hw_set_ssid(rig->hw, 4, 7, NULL), 0);

	/* with no domain for requests without one; and none of it counts for a guest's */
	rig_set_ste(rig, 3, NULL);
	assert_int_equal(rig_read_as(rig, 3, 1, 0x1000), 11);
	assert_int_equal(rig_read_as(rig, 3, 2, 0x1000), RIG_FAULT);
	assert_int_equal(rig_take_event(rig), 0);
	rig_set_ste(rig, 3, &rig->ste);
	assert_int_equal(rig_read_as(rig, 3, 1, 0x1000), RIG_FAULT);
	assert_int_equal(rig_take_event(rig), 0x08);
	/* stage 2 alone has no use for an SSID */
	ste.config = SMMU_HW_BYPASS;
	rig_set_ste(rig, 3, &ste);
	assert_int_equal(rig_read_as(rig, 3, 2, 0x1000), RIG_FAULT);
	assert_int_equal(rig_take_event(rig), 0x08);
	rig_set_ste(rig, 3, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(ssids); i++) {
		assert_int_equal(smmu_hw_set_ssid(rig->hw, 3, ssids[i], NULL), 0);
		range_map_fini(&maps[i]);
	}
}

static void maps_of_all_sizes(void **state)
{
	struct rig *rig = *state;
	struct smmu_hw_ste ste = flat(rig, SMMU_HW_PAGING);
	static uint8_t out[2 * 4096 + 0x100], in[sizeof(out)];
	uint64_t seed = 4;

	rig_clear_s2(rig);
	rig_add_s2(rig, 0x10000, 0x2000, rig->ram + 0x8000, READ_WRITE);
	rig_add_s2(rig, 0x12000, 0x2000, rig->ram + 0x4000, READ_WRITE);
	rig_add_s2(rig, 0x20000, 0x800, rig->ram + 0x8000, READ_WRITE);
	rig_set_ste(rig, 9, &ste);
	for (int i = 0; i < 2000; i++) {
		uint64_t start = 0x10000 + test_random(&seed) % 0x1f00;
		size_t size = test_random(&seed) % sizeof(out);

		for (size_t n = 0; n < size; n++)
			out[n] = (uint8_t)test_random(&seed);
		assert_int_equal(rig_dma_as(rig, 9, NST_NO_PASID, true, start, out, size), 0);
		assert_int_equal(rig_dma_as(rig, 9, NST_NO_PASID, false, start, in, size), 0);
		assert_memory_equal(in, out, size);
		for (size_t n = 0; n < size; n++) {
			uint64_t a = start + n - 0x10000;

			assert_int_equal(out[n], rig->ram[a < 0x2000 ? 0x8000 + a : 0x2000 + a]);
		}
	}
	assert_int_equal(rig_dma_as(rig, 9, NST_NO_PASID, true, 0x13fff, out, 1), 0);
	assert_int_equal(rig_dma_as(rig, 9, NST_NO_PASID, true, 0x13fff, out, 2), -EFAULT);
	assert_int_equal(rig_dma_as(rig, 9, NST_NO_PASID, true, 0xffff, out, 1), -EFAULT);
	assert_int_equal(rig_dma_as(rig, 9, NST_NO_PASID, true, 0x20700, out, 0x100), 0);
	assert_int_equal(rig_dma_as(rig, 9, NST_NO_PASID, true, 0x20700, out, 0x101), -EFAULT);
	assert_int_equal(rig_dma_as(rig, 9, NST_NO_PASID, true, 1, NULL, 0), 0);
}

static void rights_of_the_second_stage(void **state)
{
	struct rig *rig = *state;
	struct smmu_hw_ste ste = flat(rig, SMMU_HW_BYPASS);
	uint64_t word;

	rig_set_ste(rig, 9, &ste);
	rig_clear_s2(rig);
	for (unsigned int perm = 0; perm < 4; perm++)
		rig_add_s2(rig, perm << 12, 0x1000, rig->ram + (perm << 12), perm);
	rig_add_s2(rig, RIG_CDS, 16 << 20, rig->ram + RIG_CDS, READ_WRITE);
	for (unsigned int perm = 0; perm < 4; perm++) {
		rig_map(rig, perm << 12, perm << 12, 3, D_RW);
		/* again and again, in both orders: a cached entry must not give more */
		for (int i = 0; i < 8; i++) {
			bool write = i == 0 || i == 3 || i == 6 || i == 7;
			int want = perm & (write ? RANGE_WRITE : RANGE_READ) ? 0 : -EFAULT;

			word = 0;
			assert_int_equal(
				rig_dma_as(rig, 9, NST_NO_PASID, write, perm << 12, &word, 8),
				want);
			assert_int_equal(rig_dma(rig, write, perm << 12, &word, 8), want);
		}
	}
}

/* Every size of leaf of every granule, in both halves, at both ends. */
static void leaves_of_all_granules(void **state)
{
	static const struct {
		unsigned int kb, level, lg2;
	} rows[] = {
		{ 4, 3, 12 },  { 4, 2, 21 },  { 4, 1, 30 },  { 16, 3, 14 },
		{ 16, 2, 25 }, { 64, 3, 16 }, { 64, 2, 29 },
	};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows) * 2; i++) {
		uint64_t size = 1ULL << rows[i / 2].lg2, base = i % 2 ? RIG_UPPER : 0, ipa;
		uint64_t va = base + (0x123456789abcULL & -size);

		ipa = size < 1 << 30 ? size * 3 : size;
		rig_set_granule(rig, rows[i / 2].kb);
		rig_write_cd(rig, RIG_CDS, rig->cd);
		rig_cfgi_cd_all(rig);
		rig_tlbi_all(rig);
		rig_map(rig, va, ipa, rows[i / 2].level, D_RW);
		rig_mark(rig, ipa, 1000 + i);
		rig_mark(rig, ipa + size - 8, 2000 + i);
		for (int again = 0; again < 2; again++) {
			assert_int_equal(rig_read(rig, va), 1000 + i);
			assert_int_equal(rig_read(rig, va + size - 8), 2000 + i);
			assert_int_equal(rig_read(rig, va - 8), RIG_FAULT);
			assert_int_equal(rig_read(rig, va + size), RIG_FAULT);
			assert_int_equal(rig_read(rig, va ^ RIG_UPPER), RIG_FAULT);
			assert_true(rig_can_write(rig, va));
		}
	}
}

static void rights_of_stage_1(void **state)
{
	struct rig *rig = *state;
	uint64_t *upper = rig_slot(rig, 0x1000, 2);

	rig_mark(rig, 0x5000, 55);
	rig_map(rig, 0x1000, 0x5000, 3, D_RW);
	rig_map(rig, 0x2000, 0x5000, 3, D_READ);
	rig_map(rig, 0x3000, 0x5000, 3, D_AF);
	rig_map(rig, 0x4000, 0x5000, 3, D_AF | D_RO);
	assert_true(rig_can_write(rig, 0x1000));
	assert_int_equal(rig_read(rig, 0x2000), 55);
	assert_false(rig_can_write(rig, 0x2000));
	assert_int_equal(rig_read(rig, 0x3000), RIG_FAULT);
	assert_int_equal(rig_read(rig, 0x4000), RIG_FAULT);
	assert_int_equal(rig_read(rig, 0x6000), RIG_FAULT);

	/* what the tables above take, no leaf gives back: also when they come from the cache */
	for (unsigned int how = 1; how < 4; how++) {
		rig_store(upper, (*upper & ~(3ULL << 61)) | (uint64_t)how << 61);
		rig_tlbi_all(rig);
		for (int i = 0; i < 3; i++) {
			assert_int_equal(rig_read(rig, 0x1000), how & 1 ? RIG_FAULT : 55);
			assert_false(how & 2 && rig_can_write(rig, 0x1000));
		}
	}
	/* unless the descriptor says that they take nothing */
	rig->cd[1] |= 2;
	rig_write_cd(rig, RIG_CDS, rig->cd);
	rig_cfgi_cd_all(rig);
	assert_true(rig_can_write(rig, 0x1000));
	assert_int_equal(rig_read(rig, 0x1000), 55);
}

static int privileged_dma(struct rig *rig, uint32_t pasid, bool write, uint64_t va)
{
	uint64_t word = 0;
	struct endpoint_dma_request req = {
		.iova = { va },
		.pasid = pasid,
		.write = write,
		.privileged = true,
		.buf = &word,
		.size = sizeof(word),
	};

	return smmu_hw_dma(rig->hw, RIG_SID, &req);
}

static void privileged_requests(void **state)
{
	/* rows: AP[2:1]; then read and write of a user, and of a privileged request */
	static const struct {
		uint64_t bits;
		bool ur, uw, pr, pw;
	} rows[] = {
		{ 0, false, false, true, true },
		{ D_USER, true, true, true, true },
		{ D_RO, false, false, true, false },
		{ D_RO | D_USER, true, false, true, false },
	};
	struct rig *rig = *state;

	rig_make_s1(rig->ste.s1, RIG_CDS, 0, 1, 2);
	rig_set_ste(rig, RIG_SID, &rig->ste);
	for (size_t i = 0; i < ARRAY_SIZE(rows) * 2; i++) {
		bool pan = i >= ARRAY_SIZE(rows), user = rows[i % 4].bits & D_USER;
		uint64_t va = i << 12;

		rig->cd[0] |= pan ? C_PAN : 0;
		rig_write_cd(rig, RIG_CDS, rig->cd);
		rig_write_cd(rig, RIG_CDS + 64, rig->cd);
		rig_cfgi_cd_all(rig);
		rig_map(rig, va, 0x5000, 3, rows[i % 4].bits | D_AF | D_NG);
		for (int n = 0; n < 4; n++) { /* entries of one right must not serve another */
			assert_int_equal(!privileged_dma(rig, 1, false, va),
					 rows[i % 4].pr && !(pan && user));
			assert_int_equal(!privileged_dma(rig, 1, true, va),
					 rows[i % 4].pw && !(pan && user));
			assert_int_equal(rig_read_as(rig, RIG_SID, 1, va) != RIG_FAULT,
					 rows[i % 4].ur);
			/* without a PASID nothing is privileged */
			assert_int_equal(!privileged_dma(rig, NST_NO_PASID, false, va),
					 rows[i % 4].ur);
			assert_int_equal(!privileged_dma(rig, NST_NO_PASID, true, va),
					 rows[i % 4].uw);
		}
	}
}

/* A privileged request fills the caches with a table that takes users' rights away. */
static void tables_of_privileged_requests(void **state)
{
	struct rig *rig = *state;
	uint64_t *upper = rig_slot(rig, 0x1000, 2);

	rig_make_s1(rig->ste.s1, RIG_CDS, 0, 1, 2);
	rig_set_ste(rig, RIG_SID, &rig->ste);
	rig_write_cd(rig, RIG_CDS + 64, rig->cd);
	rig_map(rig, 0x1000, 0x5000, 3, D_RW);
	rig_map(rig, 0x2000, 0x5000, 3, D_RW);
	rig_store(upper, *upper | 1ULL << 61);
	assert_int_equal(privileged_dma(rig, 1, true, 0x1000), 0);
	assert_int_equal(rig_read_as(rig, RIG_SID, 1, 0x2000), RIG_FAULT);
	assert_int_equal(rig_read_as(rig, RIG_SID, 1, 0x1000), RIG_FAULT);
	assert_int_equal(privileged_dma(rig, 1, true, 0x2000), 0);
}

static void access_flag_and_dirty_state(void **state)
{
	struct rig *rig = *state;
	uint64_t *slot = rig_slot(rig, 0x1000, 3), word = 0, *upper = rig_slot(rig, 0x1000, 2);

	/* HA, HD, AFFD: read and write without AF, write of a clean page */
	static const struct {
		uint64_t cd;
		bool read, write, af, dirty;
	} rows[] = {
		{ 0, false, false, false, false },    { C_AFFD, true, true, false, false },
		{ C_HA, true, true, true, false },    { C_HA | C_HD, true, true, true, true },
		{ C_HD, false, false, false, false }, { C_HA | C_AFFD, true, true, true, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t cd[8];

		memcpy(cd, rig->cd, sizeof(cd));
		cd[0] |= rows[i].cd;
		rig_write_cd(rig, RIG_CDS, cd);
		rig_cfgi_cd_all(rig);
		rig_map(rig, 0x1000, 0x5000, 3, D_USER | D_NG);
		rig_tlbi_all(rig);
		assert_int_equal(rig_read(rig, 0x1000) != RIG_FAULT, rows[i].read);
		assert_int_equal(*slot >> 10 & 1, rows[i].af);
		assert_int_equal(!rig_dma(rig, true, 0x1000, &word, 8), rows[i].write);
		/* clean: read-only, but meant to be written */
		rig_map(rig, 0x1000, 0x5000, 3, D_READ | D_DBM);
		rig_tlbi_all(rig);
		assert_int_not_equal(rig_read(rig, 0x1000), RIG_FAULT);
		assert_int_equal(*slot & D_RO, D_RO);
		assert_int_equal(!rig_dma(rig, true, 0x1000, &word, 8), rows[i].dirty);
		assert_int_equal(*slot & D_RO, rows[i].dirty ? 0 : D_RO);
		/* read-only that is just that */
		rig_map(rig, 0x1000, 0x5000, 3, D_READ);
		rig_tlbi_all(rig);
		assert_int_equal(rig_dma(rig, true, 0x1000, &word, 8), -EFAULT);
	}
	assert_int_equal(*upper & D_AF, 0); /* tables have none */
}

/* Tables in memory the guest may only read can be walked while no flag has to be set. */
static void tables_in_read_only_memory(void **state)
{
	struct rig *rig = *state;

	rig->cd[0] |= C_HA | C_HD;
	rig_write_cd(rig, RIG_CDS, rig->cd);
	rig_map(rig, 0x1000, 0x5000, 3, D_READ | D_DBM);
	rig_map(rig, 0x2000, 0x5000, 3, D_USER | D_NG);
	rig_mark(rig, 0x5000, 55);
	rig_clear_s2(rig);
	rig_add_s2(rig, 0, RIG_TABLES, rig->ram, READ_WRITE);
	rig_add_s2(rig, RIG_TABLES, 1 << 20, rig->ram + RIG_TABLES, RANGE_READ);
	assert_int_equal(rig_read(rig, 0x1000), 55);
	assert_false(rig_can_write(rig, 0x1000));
	assert_int_equal(rig_read(rig, 0x2000), RIG_FAULT);
	rig_map(rig, 0x1000, 0x5000, 3, D_RW | D_DBM);
	assert_true(rig_can_write(rig, 0x1000));
	rig_clear_s2(rig);
	rig_add_s2(rig, 0, RIG_TABLES, rig->ram, READ_WRITE);
	rig_add_s2(rig, RIG_TABLES, 1 << 20, rig->ram + RIG_TABLES, RANGE_WRITE);
	assert_int_equal(rig_read(rig, 0x1000), RIG_FAULT);
}

static void addresses_that_cannot_be(void **state)
{
	struct rig *rig = *state;
	struct smmu_hw_ste ste = flat(rig, SMMU_HW_BYPASS);
	uint8_t buf[16] = { 0 };

	rig_map(rig, RIG_UPPER, 0x5000, 3, D_RW);
	rig_map(rig, 0xfffffffffffff000, 0x5000, 3, D_RW);
	rig_map(rig, 0x0000fffffffff000, 0x5000, 3, D_RW);
	rig_map(rig, 0, 0x5000, 3, D_RW); /* where a request would be that wraps round */
	assert_int_equal(rig_dma(rig, false, RIG_UPPER, buf, 8), 0);
	assert_int_equal(rig_dma(rig, false, 0xfffffffffffffff8, buf, 8), 0);
	assert_int_equal(rig_dma(rig, false, 0xfffffffffffffff8, buf, 9), -EFAULT);
	assert_int_equal(rig_take_event(rig), 0x01);
	assert_int_equal(rig_dma(rig, false, 0x0000fffffffffff8, buf, 8), 0);
	assert_int_equal(rig_dma(rig, false, 0x0000fffffffffff8, buf, 9), -EFAULT);
	/* the same page by its low 48 bits, cached a moment ago */
	assert_int_equal(rig_dma(rig, false, 0x0001000000000000, buf, 8), -EFAULT);
	assert_int_equal(rig_dma(rig, false, 0x0100000000000000, buf, 8), -EFAULT);
	assert_int_equal(rig_dma(rig, false, 0xfffeffffffffffff, buf, 1), -EFAULT);
	assert_int_equal(rig_take_event(rig), 0x10);

	/* 48 bits are all that stage 2 has, whatever the map */
	rig_add_s2(rig, 1ULL << 48, 0x1000, rig->ram, READ_WRITE);
	rig_add_s2(rig, (1ULL << 48) - 0x1000, 0x1000, rig->ram, READ_WRITE);
	rig_set_ste(rig, 9, &ste);
	assert_int_equal(rig_read_as(rig, 9, NST_NO_PASID, (1ULL << 48) - 8) == RIG_FAULT, false);
	assert_int_equal(rig_read_as(rig, 9, NST_NO_PASID, 1ULL << 48), RIG_FAULT);
	assert_int_equal(rig_take_event(rig), 0x11);
}

static void dirty_bits_of_a_paging_domain(void **state)
{
	struct rig *rig = *state;
	struct dirty_map dirty = { .enabled = true, .page_lg2 = 12 };
	struct smmu_hw_ste ste = flat(rig, SMMU_HW_PAGING);
	uint8_t buf[0x3000] = { 0 };

	assert_int_equal(dirty_map_add(&dirty, 0, 0xffff), 0);
	ste.map.dirty = &dirty;
	rig_set_ste(rig, 9, &ste);
	assert_int_equal(rig_dma_as(rig, 9, NST_NO_PASID, true, 0x2ff0, buf, 0x20), 0);
	assert_int_equal(rig_dma_as(rig, 9, NST_NO_PASID, false, 0x4000, buf, 0x3000), 0);
	for (uint64_t page = 0; page < 16; page++)
		assert_int_equal(dirty_map_is_marked(&dirty, page << 12), page == 2 || page == 3);
	smmu_hw_map_begin(rig->hw);
	dirty.enabled = false;
	smmu_hw_map_end(rig->hw, true);
	assert_int_equal(rig_dma_as(rig, 9, NST_NO_PASID, true, 0x8000, buf, 1), 0);
	assert_false(dirty_map_is_marked(&dirty, 0x8000));
	/* Linux refuses dirty tracking of a nesting parent, so nothing here can need it */
	ste.config = SMMU_HW_NESTED;
	assert_int_equal(smmu_hw_set_ste(rig->hw, 9, &ste), -EINVAL);
	assert_int_equal(rig_dma_as(rig, 9, NST_NO_PASID, true, 0x8000, buf, 1), 0);
	rig_set_ste(rig, 9, NULL);
	dirty_map_fini(&dirty);
}

static void everything_is_counted(void **state)
{
	struct rig *rig = *state;
	static uint8_t buf[3 * 4096];
	struct nst_soft_stats s;

	for (uint64_t page = 1; page <= 3; page++)
		rig_map(rig, page << 12, page << 12, 3, D_RW);
	assert_int_equal(rig_dma(rig, false, 0x1ff0, buf, 0x1020), 0); /* three pages */
	s = rig_stats(rig);
	assert_int_equal(s.dma_read_bytes, 0x1020);
	assert_int_equal(s.dma_write_bytes, 0);
	assert_int_equal(s.iotlb_misses, 3);
	assert_int_equal(s.s1_walks, 3);
	assert_int_equal(s.iotlb_hits, 0);
	assert_int_equal(rig_dma(rig, false, 0x1ff0, buf, 0x1020), 0);
	assert_int_equal(rig_dma(rig, true, 0x2100, buf, 0x100), 0);
	s = rig_stats(rig);
	assert_int_equal(s.dma_read_bytes, 2 * 0x1020);
	assert_int_equal(s.dma_write_bytes, 0x100);
	assert_int_equal(s.iotlb_misses, 3);
	assert_int_equal(s.iotlb_hits, 4);
	assert_int_equal(s.faults, 0);
	/* what was moved before the fault counts, the rest does not */
	assert_int_equal(rig_dma(rig, true, 0x3f00, buf, 0x200), -EFAULT);
	assert_int_equal(rig_dma_as(rig, 9, 9, true, 0, buf, 1), -EFAULT);
	assert_int_equal(rig_dma(rig, true, UINT64_MAX, buf, 2), -EFAULT);
	s = rig_stats(rig);
	assert_int_equal(s.dma_write_bytes, 0x200);
	assert_int_equal(s.faults, 3);
	assert_int_equal(s.stale_hits, 0);
	assert_int_equal(rig->warnings, 3);
	assert_int_equal(rig->num_events, 2); /* the second was of a stream that aborts */
}

static void faults_do_not_flood_the_log(void **state)
{
	struct rig *rig = *state;

	for (int i = 0; i < 1000; i++)
		assert_int_equal(rig_read(rig, 0x1000), RIG_FAULT);
	assert_int_equal(rig_stats(rig).faults, 1000);
	assert_int_equal(rig->warnings, 8 + 6); /* 16, 32, 64, 128, 256, 512 */
	assert_int_equal(rig->num_events, 1000);
	assert_non_null(strstr(rig->last_warning, "01:04.0"));
	assert_non_null(strstr(rig->last_warning, "reason 0x10"));
}

/* Numbers of the specification's own: what a driver must find to offer a vIOMMU to guests. */
static void identification(void **state)
{
	struct smmu_hw_idr id = smmu_hw_idr(false);

	/* S2P S1P TTF=2 COHACC HTTU=2 ATS NS1ATS ASID16 VMID16 CD2L LE no stalls, aborts, 2 levels
	 */
	assert_int_equal(id.idr[0], 1 | 2 | 2 << 2 | 1 << 4 | 2 << 6 | 1 << 10 | 1 << 11 | 1 << 12 |
					    1 << 18 | 1 << 19 | 2 << 21 | 1 << 24 | 1 << 26 |
					    1 << 27);
	assert_int_equal(id.idr[1], 16 | 20 << 6 | 19 << 16 | 19 << 21);
	assert_int_equal(id.idr[2] | id.idr[4], 0);
	/* HAD XNX FWB RIL BBML=2 */
	assert_int_equal(id.idr[3], 1 << 2 | 1 << 4 | 1 << 8 | 1 << 10 | 2 << 11);
	assert_int_equal(id.idr[5], 5 | 7 << 4);
	assert_int_equal(id.aidr, 1);
	/* a unit with stalls: STALL_MODEL = 0, and 256 of them; else the same */
	assert_int_equal(smmu_hw_idr(true).idr[0], id.idr[0] & ~(3U << 24));
	assert_int_equal(smmu_hw_idr(true).idr[5], id.idr[5] | 256U << 16);
	assert_int_equal(smmu_hw_idr(true).idr[1], id.idr[1]);
}

static void refused_memory_at_creation(void **state)
{
	static const struct smmu_hw_ops ops = { 0 };
	const struct smmu_hw_setup setup = { .ops = &ops };
	struct smmu_hw *hw = NULL;
	unsigned int n;

	smmu_hw_destroy(NULL);
	for (n = 1;; n++) {
		int ret;

		alloc_fail_nth(n);
		ret = smmu_hw_create(&setup, &hw);
		if (!ret)
			break;
		assert_int_equal(ret, -ENOMEM);
		assert_null(hw);
	}
	alloc_fail_nth(0);
	assert_int_equal(n, 1 + 7); /* the unit; the cache and its five arrays */
	smmu_hw_destroy(hw);
}

static void refused_memory_leaves_the_entries_alone(void **state)
{
	struct rig *rig = *state;
	struct smmu_hw_ste ste = flat(rig, SMMU_HW_BYPASS);
	struct smmu_hw_map map = { .s2 = &rig->s2 };
	unsigned int n;

	alloc_fail_nth(1);
	assert_int_equal(smmu_hw_set_ste(rig->hw, 0x300, &ste), -ENOMEM);
	alloc_fail_nth(0);
	assert_false(reaches_memory(rig, 0x300, NST_NO_PASID));
	for (n = 1;; n++) {
		nst_rid sid = (nst_rid)(0x200 + n);
		int ret;

		alloc_fail_nth(n);
		ret = smmu_hw_set_ssid(rig->hw, sid, 77, &map);
		alloc_fail_nth(0);
		if (!ret)
			break;
		assert_int_equal(ret, -ENOMEM);
		assert_false(reaches_memory(rig, sid, 77));
		assert_int_equal(smmu_hw_set_ssid(rig->hw, sid, 77, &map), 0);
		assert_true(reaches_memory(rig, sid, 77));
		assert_false(reaches_memory(rig, sid, 76));
		/* one more may be refused; the old ones live on, and to take one away needs none */
		alloc_fail_nth(1);
		assert_int_equal(smmu_hw_set_ssid(rig->hw, sid, 5, &map), -ENOMEM);
		assert_true(reaches_memory(rig, sid, 77));
		assert_int_equal(smmu_hw_set_ssid(rig->hw, sid, 77, NULL), 0);
		rig_set_ste(rig, sid, &ste);
		rig_set_ste(rig, sid, NULL);
		alloc_fail_nth(0);
		assert_false(reaches_memory(rig, sid, 77));
	}
	assert_int_equal(n, 1 + 2); /* stream, list */
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(only_streams_with_an_entry_translate),
		TEST(ssids_of_the_driver),
		TEST(maps_of_all_sizes),
		TEST(rights_of_the_second_stage),
		TEST(leaves_of_all_granules),
		TEST(rights_of_stage_1),
		TEST(privileged_requests),
		TEST(tables_of_privileged_requests),
		TEST(access_flag_and_dirty_state),
		TEST(tables_in_read_only_memory),
		TEST(addresses_that_cannot_be),
		TEST(dirty_bits_of_a_paging_domain),
		TEST(everything_is_counted),
		TEST(faults_do_not_flood_the_log),
		cmocka_unit_test(identification),
		cmocka_unit_test(refused_memory_at_creation),
		TEST(refused_memory_leaves_the_entries_alone),
	};

	return cmocka_run_group_tests_name("smmu_hw", tests, NULL, NULL);
}
