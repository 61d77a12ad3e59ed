// SPDX-License-Identifier: BSD-3-Clause
/*
 * nst_viommu_translate(): caches that are used until the guest empties them, and by nothing less
 * than it asks for; events; and random tables against the oracle of Arm walks.
 */
#include "race.h"

#include "../pagetable/naive_arm_walk.h"

#include <pthread.h>
#include <string.h>

#define RID 0x25
#define CD_AT GPA_CDTAB
#define ASID 0x1234

/* A unit without devices; stream RID has stage 1 by the CD at CD_AT, to place A. */
static struct rig *rig_stage1(void)
{
	struct rig *rig = rig_create(&(struct rig_options){ .ssid_bits = 16 });

	guest_enable(rig);
	guest_write_cd(rig, CD_AT, rig->root_a, ASID);
	guest_ste(rig, RID)[0] = STE_S1(CD_AT);
	cmdq_run(rig, CMD_CFGI_ALL, 31);
	return rig;
}

static uint64_t gpa_of(struct rig *rig, uint64_t iova)
{
	uint64_t gpa = UINT64_MAX;

	if (emulated(rig, RID, NST_NO_PASID, iova, false, &gpa))
		return UINT64_MAX;
	return gpa;
}

#define AT_A (PROBE_IOVA + 1 * PAGE_SIZE_4K)
#define AT_B (PROBE_IOVA + 2 * PAGE_SIZE_4K)

static void registers_decide_first(void **state)
{
	struct rig *rig = rig_stage1();

	assert_int_equal(gpa_of(rig, PROBE_IOVA), AT_A);
	cr0_set(rig, CR0_CMDQEN | CR0_EVENTQEN);
	assert_int_equal(gpa_of(rig, PROBE_IOVA), PROBE_IOVA);
	assert_int_equal(gpa_of(rig, 1ULL << 44), UINT64_MAX); /* more bits than there are */
	reg32_set(rig, REG_GBPA, GBPA_UPDATE | GBPA_ABORT);
	assert_int_equal(gpa_of(rig, PROBE_IOVA), UINT64_MAX);
	cr0_set(rig, CR0_ALL);
	assert_int_equal(event_type(rig), 0); /* nobody is told of what GBPA does */
	assert_int_equal(gpa_of(rig, PROBE_IOVA), AT_A);
	guest_ste(rig, RID)[0] = STE_BYPASS;
	cmdq_run(rig, CMD_CFGI_STE(RID), 1);
	assert_int_equal(gpa_of(rig, PROBE_IOVA), PROBE_IOVA);
	assert_int_equal(gpa_of(rig, 1ULL << 44), UINT64_MAX);
	assert_int_equal(event_type(rig), 0x11); /* F_ADDR_SIZE */
	guest_ste(rig, RID)[0] = STE_ABORT;
	cmdq_run(rig, CMD_CFGI_STE(RID), 1);
	assert_int_equal(gpa_of(rig, PROBE_IOVA), UINT64_MAX);
	assert_int_equal(event_type(rig), 0);
	rig_destroy(rig);
}

/* --- caches ---------------------------------------------------------------------------------- */

static void configuration_is_cached(void **state)
{
	static const struct {
		uint64_t qw0, qw1;
		bool hit;
	} cases[] = {
		{ CMD_CFGI_STE(RID), 1, true },
		{ CMD_CFGI_STE(RID ^ 1), 1, false },
		{ CMD_CFGI_ALL, 31, true },
		{ CMD_CFGI_ALL | (uint64_t)RID << 32, 0, true },
		{ CMD_CFGI_ALL | (RID ^ 2ULL) << 32, 0, false },
		{ CMD_CFGI_CD(RID, 0), 1, true },
		{ CMD_CFGI_CD(RID, 1), 1, false },
		{ CMD_CFGI_CD(RID + 1, 0), 1, false },
		{ CMD_CFGI_CD_ALL(RID), 0, true },
		{ CMD_CFGI_CD_ALL(RID + 1), 0, false },
		{ CMD_TLBI_NSNH_ALL, 0, false },
	};
	struct rig *rig = rig_stage1();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		guest_write_cd(rig, CD_AT, rig->root_a, ASID);
		cmdq_run(rig, CMD_CFGI_ALL, 31);
		assert_int_equal(gpa_of(rig, PROBE_IOVA), AT_A);
		guest_write_cd(rig, CD_AT, rig->root_b, ASID + 1);
		assert_int_equal(gpa_of(rig, PROBE_IOVA), AT_A);
		cmdq_run(rig, cases[i].qw0, cases[i].qw1);
		assert_int_equal(gpa_of(rig, PROBE_IOVA), cases[i].hit ? AT_B : AT_A);
	}
	rig_destroy(rig);
}

static void pages_are_cached(void **state)
{
	static const struct {
		uint64_t qw0, qw1;
		bool hit, hit_global;
	} cases[] = {
		{ CMD_TLBI_NH_VA(ASID), PROBE_IOVA, true, true },
		{ CMD_TLBI_NH_VA(ASID), PROBE_IOVA | 1, true, true }, /* leaf */
		{ CMD_TLBI_NH_VA(ASID), PROBE_IOVA - 0x1000, false, false },
		{ CMD_TLBI_NH_VA(ASID), PROBE_IOVA + 0x1000, false, false },
		{ CMD_TLBI_NH_VA(ASID ^ 1), PROBE_IOVA, false, true },
		{ CMD_TLBI_NH_VA(ASID) | 3 << 12, (PROBE_IOVA - 0x3000) | 1 << 10, true, true },
		{ CMD_TLBI_NH_VA(ASID) | 2 << 12, (PROBE_IOVA - 0x3000) | 1 << 10, false, false },
		{ CMD_TLBI_NH_VA(ASID) | 1 << 20, (PROBE_IOVA - 0x1000) | 1 << 10, true, true },
		{ CMD_TLBI_NH_VAA, PROBE_IOVA, true, true },
		{ CMD_TLBI_NH_VAA, PROBE_IOVA + 0x1000, false, false },
		{ CMD_TLBI_NH_ASID(ASID), 0, true, false },
		{ CMD_TLBI_NH_ASID(ASID ^ 0x100), 0, false, false },
		{ CMD_TLBI_NH_ALL, 0, true, true },
		{ CMD_TLBI_NSNH_ALL, 0, true, true },
		{ CMD_CFGI_ALL, 31, false, false },
	};
	struct rig *rig = rig_stage1();
	uint64_t *pte = guest_pte(rig, rig->root_a, PROBE_IOVA);

	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		uint64_t global = i & 1, walks;
		bool hit = global ? cases[i / 2].hit_global : cases[i / 2].hit;
		uint64_t attributes = global ? PTE_PAGE & ~0x800ULL : PTE_PAGE;

		*pte = AT_A | attributes;
		cmdq_run(rig, CMD_TLBI_NSNH_ALL, 0);
		assert_int_equal(gpa_of(rig, PROBE_IOVA), AT_A);
		walks = rig_stats(rig).walks;
		*pte = AT_B | attributes;
		assert_int_equal(gpa_of(rig, PROBE_IOVA + 8), AT_A + 8); /* stale */
		assert_int_equal(rig_stats(rig).walks, walks);
		cmdq_run(rig, cases[i / 2].qw0, cases[i / 2].qw1);
		assert_int_equal(gpa_of(rig, PROBE_IOVA), hit ? AT_B : AT_A);
		assert_int_equal(rig_stats(rig).walks, walks + hit);
	}
	rig_destroy(rig);
}

/* What is not there, or not allowed, is looked up again each time: no command is needed. */
static void faults_are_not_cached(void **state)
{
	struct rig *rig = rig_stage1();
	uint64_t *pte = guest_pte(rig, rig->root_a, PROBE_IOVA), gpa;

	*pte = 0;
	assert_int_equal(gpa_of(rig, PROBE_IOVA), UINT64_MAX);
	assert_int_equal(event_type(rig), 0x10);
	*pte = AT_A | PTE_PAGE | 1 << 7;
	assert_int_equal(gpa_of(rig, PROBE_IOVA), AT_A);
	err(EFAULT, emulated(rig, RID, NST_NO_PASID, PROBE_IOVA, true, &gpa));
	assert_int_equal(event_type(rig), 0x13);
	*pte = AT_A | PTE_PAGE;
	ok(emulated(rig, RID, NST_NO_PASID, PROBE_IOVA, true, &gpa));
	/* nor is what is wrong with a CD */
	guest_write_cd(rig, CD_AT, rig->root_b, ASID + 1);
	*mem64(rig, CD_AT) &= ~(1ULL << 31);
	cmdq_run(rig, CMD_CFGI_CD(RID, 0), 1);
	assert_int_equal(gpa_of(rig, PROBE_IOVA), UINT64_MAX);
	assert_int_equal(event_type(rig), 0xa);
	*mem64(rig, CD_AT) |= 1ULL << 31;
	assert_int_equal(gpa_of(rig, PROBE_IOVA), AT_B);
	rig_destroy(rig);
}

static void one_asid_one_set_of_pages(void **state)
{
	struct rig *rig = rig_stage1();
	uint64_t gpa;

	/* another stream with the same ASID finds the page; one with another does not */
	guest_write_cd(rig, CD_AT + 64, rig->root_b, ASID);
	guest_write_cd(rig, CD_AT + 128, rig->root_b, ASID + 1);
	guest_ste(rig, RID + 1)[0] = STE_S1(CD_AT + 64);
	guest_ste(rig, RID + 2)[0] = STE_S1(CD_AT + 128);
	assert_int_equal(gpa_of(rig, PROBE_IOVA), AT_A);
	ok(emulated(rig, RID + 1, NST_NO_PASID, PROBE_IOVA, false, &gpa));
	assert_int_equal(gpa, AT_A);
	ok(emulated(rig, RID + 2, NST_NO_PASID, PROBE_IOVA, false, &gpa));
	assert_int_equal(gpa, AT_B);
	rig_destroy(rig);
}

/* --- events ---------------------------------------------------------------------------------- */

static void events_have_their_fields(void **state)
{
	struct rig *rig = rig_stage1();
	uint64_t *pte = guest_pte(rig, rig->root_a, PROBE_IOVA), event[4], gpa;
	const uint64_t iova = PROBE_IOVA + 0x123;
	const struct {
		uint64_t pte;
		bool write;
		unsigned int type;
	} cases[] = {
		{ 0, false, 0x10 },
		{ 0, true, 0x10 },
		{ 1ULL << 46 | PTE_PAGE, false, 0x11 },		/* beyond OAS */
		{ AT_A | (PTE_PAGE & ~0x400ULL), false, 0x12 }, /* AF */
		{ AT_A | PTE_PAGE | 1 << 7, true, 0x13 },
		{ AT_A | (PTE_PAGE & ~0x40ULL), false, 0x13 }, /* not for users */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		*pte = cases[i].pte;
		cmdq_run(rig, CMD_TLBI_NH_ALL, 0);
		err(EFAULT, emulated(rig, RID, NST_NO_PASID, iova, cases[i].write, &gpa));
		assert_true(event_take(rig, event));
		assert_int_equal(event[0], cases[i].type | (uint64_t)RID << 32);
		assert_int_equal(event[1], (cases[i].write ? 0 : 1ULL << 35) | 2ULL << 40);
		assert_int_equal(event[2], iova);
		assert_int_equal(event[3], 0);
		/* CD.R = 0: they are not recorded */
		*mem64(rig, CD_AT) &= ~(1ULL << 45);
		cmdq_run(rig, CMD_CFGI_CD(RID, 0), 1);
		err(EFAULT, emulated(rig, RID, NST_NO_PASID, iova, cases[i].write, &gpa));
		assert_int_equal(event_type(rig), 0);
		*mem64(rig, CD_AT) |= 1ULL << 45;
		cmdq_run(rig, CMD_CFGI_CD(RID, 0), 1);
	}
	/* a table that is not memory: always */
	*mem64(rig, CD_AT) &= ~(1ULL << 45);
	*mem64(rig, rig->root_a) = GPA_NOTHING | 3;
	cmdq_run(rig, CMD_CFGI_CD(RID, 0), 1);
	err(EFAULT, emulated(rig, RID, NST_NO_PASID, iova, true, &gpa));
	assert_true(event_take(rig, event));
	assert_int_equal(event[0], 0xb | (uint64_t)RID << 32); /* F_WALK_EABT */
	assert_int_equal(event[1], 1ULL << 40);		       /* CLASS = TT */
	assert_int_equal(event[2], iova);
	assert_int_equal(event[3], GPA_NOTHING);
	rig_destroy(rig);
}

static void substreams_are_in_events(void **state)
{
	struct rig *rig = rig_stage1();
	uint64_t event[4], gpa;

	guest_ste(rig, RID)[0] = STE_S1(CD_AT) | STE_CDMAX(4);
	guest_write_cd(rig, CD_AT + 5 * 64, rig->root_b, 9);
	cmdq_run(rig, CMD_CFGI_STE(RID), 1);
	ok(emulated(rig, RID, 5, PROBE_IOVA, true, &gpa));
	assert_int_equal(gpa, AT_B);
	err(EFAULT, emulated(rig, RID, 5, 0x5000, true, &gpa));
	assert_true(event_take(rig, event));
	assert_int_equal(event[0], 0x10 | 1ULL << 11 | 5ULL << 12 | (uint64_t)RID << 32);
	rig_destroy(rig);
}

/* No ATS for emulated devices, so no address is a translation. */
static void what_says_it_is_translated_is_refused(void **state)
{
	struct rig *rig = rig_stage1();
	const struct nst_translate_request req = {
		.rid = RID,
		.pasid = NST_NO_PASID,
		.iova = { PROBE_IOVA },
		.translated = true,
	};
	struct nst_translation out;

	err(EFAULT, nst_viommu_translate(rig->viommu, &req, &out));
	assert_int_equal(event_type(rig), 0);
	rig_destroy(rig);
}

/* PRIVCFG overrides what the request says; PnU tells. */
static void privilege(void **state)
{
	struct rig *rig = rig_stage1();
	struct nst_translate_request req = { .rid = RID, .pasid = 0, .iova = { PROBE_IOVA } };
	struct nst_translation out;
	uint64_t *pte = guest_pte(rig, rig->root_a, PROBE_IOVA), event[4];

	*pte = AT_A | (PTE_PAGE & ~0x40ULL); /* not for users */
	guest_ste(rig, RID)[0] = STE_S1(CD_AT) | STE_CDMAX(1);
	for (uint64_t cfg = 0; cfg < 4; cfg++) {
		for (int privileged = 0; privileged < 2; privileged++) {
			bool may = cfg == 3 || (cfg < 2 && privileged);

			guest_ste(rig, RID)[1] = cfg << 48;
			cmdq_run(rig, CMD_CFGI_STE(RID), 1);
			req.privileged = privileged;
			assert_int_equal(nst_viommu_translate(rig->viommu, &req, &out),
					 may ? 0 : -EFAULT);
			if (!may)
				assert_int_equal(event_type(rig), 0x13);
		}
	}
	*pte = 0;
	cmdq_run(rig, CMD_TLBI_NH_ALL, 0);
	err(EFAULT, nst_viommu_translate(rig->viommu, &req, &out));
	assert_true(event_take(rig, event));
	assert_int_equal(event[1] >> 33 & 1, 1);
	rig_destroy(rig);
}

/* --- random tables against the oracle -------------------------------------------------------- */

enum { MODEL_PAGES = 64 };
#define MODEL_AT 0x400000ULL /* where the oracle's memory is the guest's */

struct model {
	struct rig *rig;
	uint64_t seed;
	uint8_t *memory; /* of the guest, from 0 on */
	struct naive_arm_request q;
	uint64_t ttb[2];
	unsigned int tsz[2];
	bool tbi[2];
};

static uint64_t pick(struct model *m, uint64_t n)
{
	return test_random(&m->seed) % n;
}

/* Descriptors that mostly lead on, within the model's pages; now and then anything. */
static void fill_tables(struct model *m)
{
	for (uint64_t at = MODEL_AT; at < MODEL_AT + MODEL_PAGES * 4096; at += 8) {
		uint64_t to = MODEL_AT + pick(m, MODEL_PAGES) * 4096, word;

		switch (pick(m, 8)) {
		case 0:
			word = test_random(&m->seed);
			break;
		case 1:
			word = 0;
			break;
		case 2:
			word = (to & ~0x1fffffULL) | (PTE_PAGE & ~2ULL); /* a block */
			break;
		default:
			word = to | PTE_PAGE;
		}
		word ^= pick(m, 4) ? 0 : 1ULL << pick(m, 12);
		*mem64(m->rig, at) = word;
	}
}

static void choose_context(struct model *m)
{
	static const uint64_t tg0[] = { 0, 2, 1 }, tg1[] = { 2, 1, 3 };
	static const int out_bits[] = { 32, 36, 40, 42, 44, 44 }; /* OAS is 44 */
	unsigned int granule = (unsigned int)pick(m, 3), ips = (unsigned int)pick(m, 6);
	uint64_t *cd = mem64(m->rig, CD_AT),
		 w0 = CD_WORD0(ASID) & ~(1ULL << 30 | 7ULL << 32 | 0x3f);

	for (int i = 0; i < 2; i++) {
		m->tsz[i] = 16 + (unsigned int)pick(m, 24);
		m->tbi[i] = pick(m, 2);
		m->ttb[i] = MODEL_AT + pick(m, MODEL_PAGES / 2) * 4096;
	}
	m->q = (struct naive_arm_request){
		.granule_kb = 4 << 2 * granule,
		.out_bits = out_bits[ips],
		.affd = pick(m, 2),
		.had = pick(m, 2),
	};
	cd[0] = w0 | m->tsz[0] | (uint64_t)m->tsz[1] << 16 | tg0[granule] << 6 |
		tg1[granule] << 22 | (uint64_t)ips << 32 | (uint64_t)m->q.affd << 35 |
		(uint64_t)m->tbi[0] << 38 | (uint64_t)m->tbi[1] << 39;
	cd[1] = m->ttb[0] | (m->q.had ? 2 : 0);
	cd[2] = m->ttb[1] | (m->q.had ? 2 : 0);
}

/* What the oracle says of @va: an event, or 0 and where it leads. */
static unsigned int oracle(struct model *m, uint64_t va, bool write, uint64_t *gpa)
{
	struct naive_arm_memory memory = { m->memory, RIG_MEMORY / 4096, NULL, NULL };
	int half = va >> 55 & 1;
	struct naive_arm_request q = m->q;
	struct naive_arm_result res;

	if (!naive_arm_in_range(va, (int)m->tsz[half], m->tbi[half]))
		return 0x10;
	q.va = va;
	q.ttb = m->ttb[half];
	q.tsz = (int)m->tsz[half];
	q.write = write;
	q.peek = true;
	res = naive_arm_walk(&memory, &q);
	*gpa = res.page + (va & (((uint64_t)1 << res.page_bits) - 1));
	return (unsigned int)res.fault;
}

static uint64_t choose_va(struct model *m)
{
	int half = (int)pick(m, 2);
	uint64_t inside = UINT64_MAX >> m->tsz[half], va = test_random(&m->seed) & inside;

	if (half)
		va |= ~inside;
	if (m->tbi[half] && pick(m, 2))
		va ^= pick(m, 256) << 56;
	if (!pick(m, 16))
		va ^= 1ULL << pick(m, 64);
	return va;
}

static void random_tables_as_the_oracle_walks_them(void **state)
{
	struct rig *rig = rig_stage1();
	struct model m = { .rig = rig, .seed = 20261120, .memory = rig->memory };
	unsigned int seen[256] = { 0 };

	for (int round = 0; round < 600; round++) {
		if (!(round % 20))
			fill_tables(&m);
		choose_context(&m);
		cmdq_put(rig, CMD_TLBI_NH_ALL, 0);
		cmdq_run(rig, CMD_CFGI_ALL, 31);
		for (int i = 0; i < 100; i++) {
			uint64_t va = choose_va(&m), want = 0, got = 0;
			bool write = pick(&m, 2);
			unsigned int type = oracle(&m, va, write, &want);

			assert_int_equal(emulated(rig, RID, NST_NO_PASID, va, write, &got),
					 type ? -EFAULT : 0);
			assert_int_equal(event_type(rig), type);
			if (!type)
				assert_int_equal(got, want);
			seen[type]++;
		}
	}
	/* it was all there */
	assert_true(seen[0] > 1000 && seen[0xb] > 10 && seen[0x10] > 1000 && seen[0x11] > 100 &&
		    seen[0x12] > 100 && seen[0x13] > 100);
	rig_destroy(rig);
}

/* --- a walk and an invalidation at the same time --------------------------------------------- */

static void *walker(void *rig)
{
	return (void *)(uintptr_t)gpa_of(rig, PROBE_IOVA);
}

static void *invalidator(void *rig)
{
	cmdq_run(rig, CMD_TLBI_NH_VA(ASID), PROBE_IOVA);
	return NULL;
}

/*
 * The walk has read the old top table, and is in the next one, when the guest puts another there
 * and invalidates. The invalidation waits for it; what it found must not be kept after that.
 */
static void a_walk_keeps_nothing_past_an_invalidation(void **state)
{
	struct rig *rig = rig_stage1();
	uint64_t *top = mem64(rig, rig->root_a);
	const struct race race = {
		.rig = rig,
		.page = *top & 0xfffffffff000,
		.walk = walker,
		.invalidate = invalidator,
		.word = top,
		.value = *mem64(rig, rig->root_b),
	};

	assert_int_equal(race_run(&race), AT_A); /* it began before */
	assert_int_equal(gpa_of(rig, PROBE_IOVA), AT_B);
	rig_destroy(rig);
}

/* Several threads translate while commands change what they translate by: for TSan. */
static void *translate_for_ever(void *arg)
{
	struct rig *rig = arg;

	while (!__atomic_load_n(&rig->hook_data, __ATOMIC_RELAXED))
		gpa_of(rig, PROBE_IOVA);
	return NULL;
}

static void translations_beside_commands(void **state)
{
	struct rig *rig = rig_stage1();
	pthread_t threads[2];

	for (int i = 0; i < 2; i++)
		ok(pthread_create(&threads[i], NULL, translate_for_ever, rig));
	for (int i = 0; i < 2000; i++) {
		cmdq_run(rig, i & 1 ? CMD_CFGI_ALL : CMD_TLBI_NH_VA(ASID), i & 1 ? 31 : PROBE_IOVA);
		if (!(i % 64)) {
			cr0_set(rig, CR0_CMDQEN);
			cr0_set(rig, CR0_ALL);
		}
	}
	__atomic_store_n(&rig->hook_data, rig, __ATOMIC_RELAXED);
	for (int i = 0; i < 2; i++)
		ok(pthread_join(threads[i], NULL));
	rig_destroy(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registers_decide_first),
		cmocka_unit_test(configuration_is_cached),
		cmocka_unit_test(pages_are_cached),
		cmocka_unit_test(faults_are_not_cached),
		cmocka_unit_test(one_asid_one_set_of_pages),
		cmocka_unit_test(events_have_their_fields),
		cmocka_unit_test(substreams_are_in_events),
		cmocka_unit_test(what_says_it_is_translated_is_refused),
		cmocka_unit_test(privilege),
		cmocka_unit_test(random_tables_as_the_oracle_walks_them),
		cmocka_unit_test(a_walk_keeps_nothing_past_an_invalidation),
		cmocka_unit_test(translations_beside_commands),
	};

	return cmocka_run_group_tests_name("smmuv3 translate", tests, NULL, NULL);
}
