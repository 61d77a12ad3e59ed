// SPDX-License-Identifier: BSD-3-Clause
/*
 * Stage 2, alone and under stage 1, of emulated devices: what is a legal entry, what is cached by
 * which tag and emptied by which command, what events say of which access, who waits and who is
 * told. And that passed-through devices get none of it. Random tables are in test_stage2_model.c.
 */
#include "race.h"
#include "stage2.h"

#include "../pagetable/naive_arm_s2_walk.h"

#include "base/endian.h"
#include "base/fnv.h"

#include <stdlib.h>
#include <string.h>

static uint64_t gpa_of(struct rig *rig, uint64_t iova)
{
	uint64_t gpa = UINT64_MAX;

	if (emulated(rig, RID, NST_NO_PASID, iova, false, &gpa))
		return UINT64_MAX;
	return gpa;
}

/* --- what is legal --------------------------------------------------------------------------- */

/* S1P, S2P and what goes with them, 16-bit VMIDs, ATS; 44 bits, all granules */
static const struct smmu_idr idr_full = {
	.idr = { 0x0d44101b | 1u << 10 | 1u << 11, 0x02730010, 0, 0x1414, 0, 0x74 },
};

static bool decodes(uint64_t w0, uint64_t w1, uint64_t w2, uint64_t w3, const struct smmu_idr *idr,
		    struct smmu_stream *s)
{
	struct smmu_ste ste = {
		{ le64_make(w0), le64_make(w1), le64_make(w2), le64_make(w3) }
	};
	struct smmu_table_fault fault = { 0 };
	bool legal = smmu_ste_decode(&ste, idr, s, &fault);

	assert_int_equal(fault.type, legal ? SMMU_EVENT_NONE : SMMU_C_BAD_STE);
	assert_false(fault.absent || fault.s2);
	return legal;
}

static void what_makes_an_entry_illegal(void **state)
{
	static const struct {
		uint64_t set2, clear2, w3;
		bool legal;
	} cases[] = {
		{ 0, 0, 0, true },
		{ 0, 1ULL << 51, 0, false },		 /* AArch32 */
		{ 1ULL << 52, 0, 0, false },		 /* S2ENDI */
		{ 1ULL << 53 | 1ULL << 54, 0, 0, true }, /* S2AFFD, S2PTW */
		{ 1ULL << 55, 0, 0, false },		 /* S2HD */
		{ 1ULL << 56, 0, 0, false },		 /* S2HA */
		{ 1ULL << 57, 0, 0, false },		 /* S2S */
		{ 0, 1ULL << 58, 0, true },		 /* S2R */
		{ 0x3fULL << 40, 0, 0, true },		 /* cacheability, shareability */
		{ 3ULL << 46, 0, 0, false },		 /* S2TG */
		{ 3ULL << 38, 0, 0, false },		 /* S2SL0 */
		{ 7ULL << 48, 0, 0, true },		 /* S2PS: as OAS */
		{ 0, 0, 1ULL << 43, true },
		{ 0, 0, 1ULL << 44, false },
		{ 0, 0, 1ULL << 51, false },
		{ 0, 0, 0xf | 1ULL << 63, true },	  /* no part of S2TTB */
		{ 0, 7ULL << 48, 1ULL << 31, true },	  /* S2PS: 32 bits */
		{ 0, 7ULL << 48, 1ULL << 32, false },
	};
	struct smmu_idr idr = idr_full;
	struct smmu_stream s;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t w2 = (S2_WORD(VMID) | cases[i].set2) & ~cases[i].clear2;

		assert_int_equal(decodes(STE_S2, 0, w2, cases[i].w3, &idr, &s), cases[i].legal);
		assert_int_equal(decodes(STE_NESTED(0), 0, w2, cases[i].w3, &idr, &s), cases[i].legal);
		/* none of it matters where stage 2 does not translate */
		assert_true(decodes(STE_S1(0), 0, w2, cases[i].w3, &idr, &s));
		assert_int_equal(s.vmid, VMID);
		assert_true(decodes(STE_BYPASS, 0, w2, cases[i].w3, &idr, &s));
	}
	/* each stage's own rules */
	assert_true(decodes(STE_S2, 1ULL << 27, S2_WORD(0), 0, &idr, &s)); /* S1STALLD */
	assert_false(decodes(STE_NESTED(0), 1ULL << 27, S2_WORD(0), 0, &idr, &s));
	assert_true(decodes(STE_S2 | 1ULL << 44, 0, S2_WORD(0), 0, &idr, &s));
	assert_false(decodes(STE_NESTED(1ULL << 44), 0, S2_WORD(0), 0, &idr, &s));
	assert_false(decodes(STE_S2, 2ULL << 28, S2_WORD(0), 0, &idr, &s)); /* EATS: split stages */
	assert_false(decodes(STE_NESTED(0), 2ULL << 28, S2_WORD(0), 0, &idr, &s));
	assert_true(decodes(STE_NESTED(0), 1ULL << 28, S2_WORD(0), 0, &idr, &s));
	idr.idr[0] &= ~(1u << 18); /* VMIDs of 8 bits */
	assert_false(decodes(STE_S1(0), 0, 0x100, 0, &idr, &s));
	assert_false(decodes(STE_S2, 0, S2_WORD(0x100), 0, &idr, &s));
	assert_true(decodes(STE_S2, 0, S2_WORD(0xff), 0, &idr, &s));
	assert_true(decodes(STE_BYPASS, 0, 0x100, 0, &idr, &s));
	idr = idr_full;
	idr.idr[0] &= ~(3u << 24); /* stalls: S2S is legal, but with ATS */
	assert_true(decodes(STE_S2, 0, S2_WORD(0) | 1ULL << 57, 0, &idr, &s));
	assert_false(decodes(STE_S2, 1ULL << 28, S2_WORD(0) | 1ULL << 57, 0, &idr, &s));
	assert_true(decodes(STE_S1(0), 1ULL << 28, S2_WORD(0) | 1ULL << 57, 0, &idr, &s));
	idr = idr_full;
	idr.idr[0] &= ~1u; /* S2P: no stage, and no VMID */
	assert_false(decodes(STE_S2, 0, S2_WORD(0), 0, &idr, &s));
	assert_false(decodes(STE_NESTED(0), 0, S2_WORD(0), 0, &idr, &s));
	assert_true(decodes(STE_S1(0), 0, S2_WORD(VMID), 0, &idr, &s));
	assert_int_equal(s.vmid, 0);
}

/* s5.2, S2T0SZ: what the sizes of addresses leave of the manual's table. */
static void sizes_and_first_levels(void **state)
{
	static const unsigned int oas_bits[] = { 32, 36, 40, 42, 44, 48 };
	static const int granules[] = { 4, 64, 16, 0 };
	struct smmu_stream s;

	for (unsigned int kind = 0; kind < 6 * 64 * 4 * 4 * 8; kind++) {
		unsigned int oas = kind % 6, tsz = kind / 6 % 64, sl0 = kind / 384 % 4;
		unsigned int tg = kind / 1536 % 4, offered = kind / 6144;
		struct smmu_idr idr = idr_full;
		int kb = granules[tg], bits = 64 - (int)tsz;
		bool has = (kb == 4 && offered & 1) || (kb == 16 && offered & 2) || (kb == 64 && offered & 4);
		uint64_t w2 = (uint64_t)tsz << 32 | (uint64_t)sl0 << 38 | (uint64_t)tg << 46 | 1ULL << 51;
		bool legal = has && tsz <= 39 && bits <= 48 && bits <= (int)oas_bits[oas] &&
			     naive_arm_s2_is_legal(kb, (int)sl0, bits);

		idr.idr[5] = oas | offered << 4;
		assert_int_equal(decodes(STE_S2, 0, w2, 0, &idr, &s), legal);
	}
}

/* --- caches ---------------------------------------------------------------------------------- */

enum { ONLY_1, ONLY_2, BOTH };

/* Where the page of PROBE_IOVA is said: in the last stage that there is. */
static void set_kind(struct vm *vm, int kind, uint64_t s1_attributes)
{
	static const uint64_t configs[] = { STE_S1(CD_AT), STE_S2, STE_NESTED(CD_AT) };

	*guest_pte(vm->rig, vm->rig->root_a, PROBE_IOVA) = (kind == ONLY_1 ? AT_A : IPA) | s1_attributes;
	s2_map(vm, PROBE_IOVA, AT_A, S2_PAGE);
	s2_map(vm, IPA, AT_A, S2_PAGE);
	set_ste(vm->rig, RID, configs[kind], S2_WORD(VMID), vm->root);
	cmdq_run(vm->rig, CMD_TLBI_NSNH_ALL, 0);
}

static void move_page(struct vm *vm, int kind, uint64_t s1_attributes)
{
	if (kind == ONLY_1)
		*guest_pte(vm->rig, vm->rig->root_a, PROBE_IOVA) = AT_B | s1_attributes;
	else
		s2_map(vm, kind == ONLY_2 ? PROBE_IOVA : IPA, AT_B, S2_PAGE);
}

static void pages_are_cached_by_their_tags(void **state)
{
	/* what goes: pages of one stage 1, global or not; of stage 2 alone; of both, likewise */
	enum { S1 = 1, S1G = 2, S2 = 4, N = 8, NG = 16, VA = S1 | S1G | N | NG, ALL = VA | S2 };
	const uint64_t vm = OF_VM(VMID), other = OF_VM(VMID ^ 0x100);
	const struct {
		uint64_t qw0, qw1;
		unsigned int gone;
	} cases[] = {
		{ CMD_TLBI_NH_ALL | vm, 0, VA },
		{ CMD_TLBI_NH_ALL | other, 0, 0 },
		{ CMD_TLBI_NH_ALL, 0, 0 },
		{ CMD_TLBI_NH_ASID(ASID) | vm, 0, S1 | N },
		{ CMD_TLBI_NH_ASID(ASID) | other, 0, 0 },
		{ CMD_TLBI_NH_ASID(ASID ^ 1) | vm, 0, 0 },
		{ CMD_TLBI_NH_VA(ASID) | vm, PROBE_IOVA, VA },
		{ CMD_TLBI_NH_VA(ASID ^ 1) | vm, PROBE_IOVA, S1G | NG },
		{ CMD_TLBI_NH_VA(ASID) | other, PROBE_IOVA, 0 },
		{ CMD_TLBI_NH_VA(ASID) | vm, PROBE_IOVA + 0x1000, 0 },
		{ CMD_TLBI_NH_VA(ASID) | vm, IPA, 0 },
		{ CMD_TLBI_NH_VAA | vm, PROBE_IOVA, VA },
		{ CMD_TLBI_NH_VAA | other, PROBE_IOVA, 0 },
		{ CMD_TLBI_NH_VAA | vm, PROBE_IOVA - 0x1000, 0 },
		/* what both stages have led to is of stage 1 */
		{ CMD_TLBI_S2_IPA(VMID), PROBE_IOVA, S2 },
		{ CMD_TLBI_S2_IPA(VMID), PROBE_IOVA | 1, S2 }, /* leaf */
		{ CMD_TLBI_S2_IPA(VMID), IPA, 0 },
		{ CMD_TLBI_S2_IPA(VMID), PROBE_IOVA + 0x1000, 0 },
		{ CMD_TLBI_S2_IPA(VMID ^ 0x100), PROBE_IOVA, 0 },
		{ CMD_TLBI_S2_IPA(VMID) | 3 << 12, (PROBE_IOVA - 0x3000) | 1 << 10, S2 },
		{ CMD_TLBI_S2_IPA(VMID) | 2 << 12, (PROBE_IOVA - 0x3000) | 1 << 10, 0 },
		{ CMD_TLBI_S2_IPA(VMID) | 1 << 20, (PROBE_IOVA - 0x1000) | 1 << 10, S2 },
		{ CMD_TLBI_S12_VMALL(VMID), 0, ALL },
		{ CMD_TLBI_S12_VMALL(VMID ^ 1), 0, 0 },
		{ CMD_TLBI_NSNH_ALL | other, 0, ALL },
		{ CMD_CFGI_ALL, 31, 0 },
	};
	static const struct {
		int kind;
		uint64_t attributes;
	} pages[] = {
		{ ONLY_1, PTE_PAGE }, { ONLY_1, PTE_PAGE & ~0x800ULL }, { ONLY_2, PTE_PAGE },
		{ BOTH, PTE_PAGE },   { BOTH, PTE_PAGE & ~0x800ULL },
	};
	struct vm m = make_vm();

	for (size_t i = 0; i < ARRAY_SIZE(cases) * ARRAY_SIZE(pages); i++) {
		size_t page = i % ARRAY_SIZE(pages), c = i / ARRAY_SIZE(pages);
		bool gone = cases[c].gone >> page & 1;
		uint64_t walks;

		set_kind(&m, pages[page].kind, pages[page].attributes);
		assert_int_equal(gpa_of(m.rig, PROBE_IOVA), AT_A);
		move_page(&m, pages[page].kind, pages[page].attributes);
		walks = rig_stats(m.rig).walks;
		assert_int_equal(gpa_of(m.rig, PROBE_IOVA + 8), AT_A + 8); /* stale */
		assert_int_equal(rig_stats(m.rig).walks, walks);
		cmdq_run(m.rig, cases[c].qw0, cases[c].qw1);
		assert_int_equal(gpa_of(m.rig, PROBE_IOVA), gone ? AT_B : AT_A);
		assert_int_equal(rig_stats(m.rig).walks, walks + gone);
	}
	rig_destroy(m.rig);
}

/* Another VMID, the same ASID: not the same pages. The same VMID: the same stage 2. */
static void one_vmid_one_set_of_pages(void **state)
{
	struct vm m = make_vm();
	uint64_t gpa, root_b = guest_page(m.rig);

	s2_map(&(struct vm){ m.rig, root_b }, PROBE_IOVA, AT_B, S2_PAGE);
	set_ste(m.rig, RID, STE_S1(CD_AT), VMID, 0);
	guest_write_cd(m.rig, CD_AT + 64, m.rig->root_b, ASID);
	set_ste(m.rig, RID + 1, STE_S1(CD_AT + 64), VMID + 1, 0);
	assert_int_equal(gpa_of(m.rig, PROBE_IOVA), IPA);
	ok(emulated(m.rig, RID + 1, NST_NO_PASID, PROBE_IOVA, false, &gpa));
	assert_int_equal(gpa, AT_B);
	/* stage 2 alone is not found from stage 1 of the same VMID, nor the other way: with no ASID */
	s2_map(&m, PROBE_IOVA, AT_A, S2_PAGE);
	guest_write_cd(m.rig, CD_AT, m.rig->root_a, 0);
	set_ste(m.rig, RID, STE_S1(CD_AT), VMID, 0);
	assert_int_equal(gpa_of(m.rig, PROBE_IOVA), IPA);
	set_ste(m.rig, RID, STE_S2, S2_WORD(VMID), m.root);
	assert_int_equal(gpa_of(m.rig, PROBE_IOVA), AT_A);
	set_ste(m.rig, RID + 1, STE_S2, S2_WORD(VMID), root_b); /* which software may not do */
	ok(emulated(m.rig, RID + 1, NST_NO_PASID, PROBE_IOVA, false, &gpa));
	assert_int_equal(gpa, AT_A);
	set_ste(m.rig, RID + 1, STE_S2, S2_WORD(VMID + 1), root_b);
	ok(emulated(m.rig, RID + 1, NST_NO_PASID, PROBE_IOVA, false, &gpa));
	assert_int_equal(gpa, AT_B);
	set_ste(m.rig, RID, STE_S1(CD_AT), VMID, 0);
	cmdq_run(m.rig, CMD_TLBI_NH_ALL | OF_VM(VMID), 0); /* so what is left is stage 2's */
	assert_int_equal(gpa_of(m.rig, PROBE_IOVA), IPA);
	rig_destroy(m.rig);
}

/* A block of stage 1 over pages of stage 2: no more is cached than both have in one piece. */
static void the_smaller_page_is_cached(void **state)
{
	const uint64_t iova = 1ULL << 30, block = 4ULL << 20;
	struct vm m = make_vm();
	struct nst_translate_request req = { .rid = RID, .pasid = NST_NO_PASID };
	struct nst_translation out;
	uint64_t walks;

	guest_map(m.rig, m.rig->root_a, iova + (2ULL << 20), 0); /* makes the table of level 2 */
	for (uint64_t table = m.rig->root_a, level = 0; level < 3; level++) {
		uint64_t *entry = mem64(m.rig, table + (iova >> (39 - 9 * level) & 511) * 8);

		if (level == 2)
			*entry = block | (PTE_PAGE & ~2ULL);
		table = *entry & 0xfffffffff000;
	}
	s2_map(&m, block + 0x5000, AT_A, S2_PAGE);
	s2_map(&m, block + 0x6000, AT_B, S2_PAGE & ~S2_WRITE);
	for (uint64_t at = GPA_TABLES; at < m.rig->next_table; at += 4096)
		s2_map(&m, at, at, S2_PAGE);
	req.iova.v = iova + 0x5123;
	ok(nst_viommu_translate(m.rig->viommu, &req, &out));
	assert_int_equal(out.gpa.v, AT_A + 0x123);
	assert_int_equal(out.size, 0x1000 - 0x123);
	assert_true(out.read && out.write);
	req.iova.v = iova + 0x6000;
	walks = rig_stats(m.rig).walks;
	ok(nst_viommu_translate(m.rig->viommu, &req, &out));
	assert_int_equal(out.gpa.v, AT_B);
	assert_true(out.read && !out.write);
	assert_int_equal(rig_stats(m.rig).walks, walks + 1);
	/* a write is not served from there, nor a read from what is only written */
	req.write = true;
	err(EFAULT, nst_viommu_translate(m.rig->viommu, &req, &out));
	assert_int_equal(event_type(m.rig), 0x13);
	assert_false(event_take(m.rig, (uint64_t[4]){ 0 }));
	s2_map(&m, block + 0x8000, AT_B, S2_PAGE & ~S2_READ);
	req.iova.v = iova + 0x8000;
	ok(nst_viommu_translate(m.rig->viommu, &req, &out));
	assert_true(!out.read && out.write);
	req.write = false;
	err(EFAULT, nst_viommu_translate(m.rig->viommu, &req, &out));
	assert_int_equal(event_type(m.rig), 0x13);
	/* nor anything by what is not mapped */
	assert_int_equal(gpa_of(m.rig, iova + 0x7000), UINT64_MAX);
	assert_int_equal(event_type(m.rig), 0x10);
	rig_destroy(m.rig);
}

static void *walker(void *rig)
{
	return (void *)(uintptr_t)gpa_of(rig, PROBE_IOVA);
}

static void *forget_ipa(void *rig)
{
	cmdq_run(rig, CMD_TLBI_S2_IPA(VMID), PROBE_IOVA);
	return NULL;
}

static void *forget_vm(void *rig)
{
	cmdq_run(rig, CMD_TLBI_S12_VMALL(VMID), 0);
	return NULL;
}

/* As of stage 1 alone (test_translate.c): what a walk finds while it is invalidated is not kept. */
static void a_walk_keeps_nothing_past_an_invalidation(void **state)
{
	static const struct {
		int kind;
		uint64_t ipa;
		void *(*invalidate)(void *);
	} cases[] = {
		{ ONLY_2, PROBE_IOVA, forget_ipa },
		{ ONLY_2, PROBE_IOVA, forget_vm },
		{ BOTH, IPA, forget_vm },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vm m = make_vm(), other = { m.rig, guest_page(m.rig) };
		uint64_t table[2] = { m.root, other.root };
		uint64_t *entry[2];

		set_kind(&m, cases[i].kind, PTE_PAGE);
		s2_map(&other, cases[i].ipa, AT_B, S2_PAGE);
		for (unsigned int level = 0; level < 3; level++) {
			for (int of = 0; of < 2; of++) {
				entry[of] = mem64(m.rig, table[of] + (cases[i].ipa >> (39 - 9 * level) & 511) * 8);
				table[of] = *entry[of] & 0xfffffffff000;
			}
		}
		assert_int_equal(race_run(&(struct race){ m.rig, table[0], walker, cases[i].invalidate,
							  entry[0], *entry[1] }),
				 AT_A);
		assert_int_equal(gpa_of(m.rig, PROBE_IOVA), AT_B);
		rig_destroy(m.rig);
	}
}

/* --- events ---------------------------------------------------------------------------------- */

static void expect_event(struct vm *m, bool write, unsigned int type, unsigned int cls, uint64_t ipa)
{
	const uint64_t iova = PROBE_IOVA + 0x123;
	uint64_t event[4], gpa;
	uint64_t ttrnw = type == 0x13 && cls == CLASS_TT ? 1ULL << 44 : 0;

	cmdq_put(m->rig, CMD_CFGI_ALL, 31);
	cmdq_run(m->rig, CMD_TLBI_NSNH_ALL, 0);
	err(EFAULT, emulated(m->rig, RID, NST_NO_PASID, iova, write, &gpa));
	assert_true(event_take(m->rig, event));
	assert_int_equal(event[0], type | (uint64_t)RID << 32);
	assert_int_equal(event[1], (write ? 0 : 1ULL << 35) | 1ULL << 39 | (uint64_t)cls << 40 | ttrnw);
	assert_int_equal(event[2], iova);
	assert_int_equal(event[3], type == 0x0b ? ipa : ipa & ~0xfffULL);
	assert_false(event_take(m->rig, event));
}

/* One page of stage 2 is wrong in each way that there is. */
static void events_of_a_page(struct vm *m, uint64_t ipa, uint64_t gpa, bool write, unsigned int cls)
{
	uint64_t *pte = guest_pte(m->rig, m->root, ipa), *ste = guest_ste(m->rig, RID), event[4], to;
	const uint64_t page = ipa & ~0xfffULL, good = gpa | S2_PAGE;
	const uint64_t forbids = write && cls == CLASS_IN ? S2_WRITE : S2_READ;
	const struct {
		uint64_t pte;
		unsigned int type;
	} cases[] = {
		{ 0, 0x10 },		       { good & ~1ULL, 0x10 }, { good & ~2ULL, 0x10 },
		{ good | 1ULL << 46, 0x11 },   { good & ~AF, 0x12 },   { good & ~forbids, 0x13 },
		{ good & ~(S2_READ | S2_WRITE), 0x13 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		*pte = cases[i].pte;
		expect_event(m, write, cases[i].type, cls, page);
		ste[2] &= ~S2R; /* nobody is told */
		cmdq_run(m->rig, CMD_CFGI_STE(RID), 1);
		err(EFAULT, emulated(m->rig, RID, NST_NO_PASID, PROBE_IOVA, write, &to));
		assert_false(event_take(m->rig, event));
		ste[2] |= S2R;
	}
	*pte = good & ~AF;
	ste[2] |= S2AFFD;
	cmdq_run(m->rig, CMD_CFGI_STE(RID), 1);
	ok(emulated(m->rig, RID, NST_NO_PASID, PROBE_IOVA, write, &to));
	ste[2] &= ~S2AFFD;
	*pte = good & ~S2_MEMORY; /* a device's */
	cmdq_put(m->rig, CMD_CFGI_ALL, 31);
	cmdq_run(m->rig, CMD_TLBI_NSNH_ALL, 0);
	ok(emulated(m->rig, RID, NST_NO_PASID, PROBE_IOVA, write, &to));
	ste[2] |= S2PTW;
	if (cls == CLASS_IN) {
		cmdq_put(m->rig, CMD_CFGI_ALL, 31);
		cmdq_run(m->rig, CMD_TLBI_NSNH_ALL, 0);
		ok(emulated(m->rig, RID, NST_NO_PASID, PROBE_IOVA, write, &to));
	} else {
		expect_event(m, write, 0x13, cls, page);
	}
	ste[2] &= ~S2PTW;
	*pte = good;
}

/* The table of @level that PROBE_IOVA goes by: where its entry is. */
static uint64_t table_entry(struct vm *m, unsigned int level)
{
	uint64_t table = m->rig->root_a, at = 0;

	for (unsigned int l = 0; l <= level; l++) {
		at = table + (PROBE_IOVA >> (39 - 9 * l) & 511) * 8;
		table = *mem64(m->rig, at) & 0xfffffffff000;
	}
	return at;
}

static void events_have_their_fields(void **state)
{
	struct vm m = make_vm();
	uint64_t at;

	for (int write = 0; write < 2; write++) {
		set_ste(m.rig, RID, STE_NESTED(CD_AT), S2_WORD(VMID), m.root);
		events_of_a_page(&m, CD_AT, CD_AT, write, CLASS_CD);
		for (unsigned int level = 0; level < 4; level++) {
			at = table_entry(&m, level);
			events_of_a_page(&m, at, at & ~0xfffULL, write, CLASS_TT);
		}
		events_of_a_page(&m, IPA, AT_A, write, CLASS_IN);
		set_ste(m.rig, RID, STE_S2, S2_WORD(VMID), m.root);
		events_of_a_page(&m, PROBE_IOVA, AT_A, write, CLASS_IN);
	}
	rig_destroy(m.rig);
}

/* A table of stage 2 that is no memory: told, whatever S2R says. */
static void aborts_have_their_fields(void **state)
{
	struct vm m = make_vm();
	uint64_t level1, beyond = 3ULL << 30; /* a part of the VM for each kind of access */

	guest_pte(m.rig, m.root, beyond);
	level1 = *mem64(m.rig, m.root) & 0xfffffffff000;
	*mem64(m.rig, level1 + 3 * 8) = GPA_NOTHING | 3;
	for (int write = 0; write < 2; write++) {
		set_ste(m.rig, RID, STE_NESTED(beyond), S2_WORD(VMID) & ~S2R, m.root);
		expect_event(&m, write, 0x0b, CLASS_CD, GPA_NOTHING);
		set_ste(m.rig, RID, STE_NESTED(CD_AT), S2_WORD(VMID) & ~S2R, m.root);
		guest_write_cd(m.rig, CD_AT, beyond + (5ULL << 21), ASID);
		expect_event(&m, write, 0x0b, CLASS_TT, GPA_NOTHING + 5 * 8);
		guest_write_cd(m.rig, CD_AT, m.rig->root_a, ASID);
		*guest_pte(m.rig, m.rig->root_a, PROBE_IOVA) = (beyond + (6ULL << 21)) | PTE_PAGE;
		expect_event(&m, write, 0x0b, CLASS_IN, GPA_NOTHING + 6 * 8);
	}
	rig_destroy(m.rig);
}

/* Stage 1's own, with a stage 2 below: S2 = 0, and CD.R says whether they are told. */
static void events_of_stage_1(void **state)
{
	struct vm m = make_vm();
	uint64_t event[4], gpa, *pte = guest_pte(m.rig, m.rig->root_a, PROBE_IOVA);

	*pte = 0;
	assert_int_equal(gpa_of(m.rig, PROBE_IOVA), UINT64_MAX);
	assert_true(event_take(m.rig, event));
	assert_int_equal(event[0] & 0xff, 0x10);
	assert_int_equal(event[1], 1ULL << 35 | 2ULL << 40);
	assert_int_equal(event[3], 0);
	*mem64(m.rig, CD_AT) &= ~(1ULL << 45);
	cmdq_run(m.rig, CMD_CFGI_CD(RID, 0), 1);
	assert_int_equal(gpa_of(m.rig, PROBE_IOVA), UINT64_MAX);
	assert_false(event_take(m.rig, event));
	/* it has no say in stage 2's */
	*pte = (IPA + 0x1000) | PTE_PAGE;
	assert_int_equal(gpa_of(m.rig, PROBE_IOVA), UINT64_MAX);
	assert_true(event_take(m.rig, event));
	assert_int_equal(event[3], IPA + 0x1000);
	/* a table that stage 2 lets through to where no memory is: stage 1's abort, at its address */
	s2_map(&m, m.rig->root_a, GPA_NOTHING, S2_PAGE);
	assert_int_equal(gpa_of(m.rig, PROBE_IOVA), UINT64_MAX);
	assert_true(event_take(m.rig, event));
	assert_int_equal(event[0] & 0xff, 0x0b);
	assert_int_equal(event[1], 1ULL << 35 | 1ULL << 40);
	assert_int_equal(event[3], GPA_NOTHING);
	/* so for a CD, and one that is wrong */
	s2_map(&m, CD_AT, GPA_NOTHING, S2_PAGE);
	cmdq_run(m.rig, CMD_CFGI_CD(RID, 0), 1);
	assert_int_equal(gpa_of(m.rig, PROBE_IOVA), UINT64_MAX);
	assert_true(event_take(m.rig, event));
	assert_int_equal(event[0] & 0xff, 0x09);
	assert_int_equal(event[3], GPA_NOTHING);
	s2_map(&m, CD_AT, GPA_DATA, S2_PAGE);
	assert_int_equal(gpa_of(m.rig, PROBE_IOVA), UINT64_MAX);
	assert_int_equal(event_type(m.rig), 0x0a);
	/* a bypassed stage 1 still has a size */
	set_ste(m.rig, RID, STE_S2, S2_WORD(VMID) & ~S2R, m.root);
	err(EFAULT, emulated(m.rig, RID, NST_NO_PASID, 1ULL << 44, true, &gpa));
	assert_true(event_take(m.rig, event));
	assert_int_equal(event[0] & 0xff, 0x11);
	assert_int_equal(event[1], 2ULL << 40);
	/* and stage 2 one of its own */
	set_ste(m.rig, RID, STE_S2, (S2_WORD(VMID) & ~(0xffULL << 32)) | 33ULL << 32 | 1ULL << 38, m.root);
	err(EFAULT, emulated(m.rig, RID, NST_NO_PASID, 1ULL << 31, true, &gpa));
	assert_true(event_take(m.rig, event));
	assert_int_equal(event[0] & 0xff, 0x10);
	assert_int_equal(event[1], 1ULL << 39 | 2ULL << 40);
	assert_int_equal(event[3], 1ULL << 31);
	rig_destroy(m.rig);
}

/* Two levels of CDs, both in the VM; S1DSS can pass a request by stage 1 alone. */
static void substreams(void **state)
{
	struct vm m = make_vm();
	const uint64_t l1 = GPA_CDTAB + 0x1000, l2 = GPA_CDTAB + 0x4000;
	uint64_t event[4], gpa;

	*mem64(m.rig, l1 + 8) = (l2 + 0x1000) | 1;
	guest_write_cd(m.rig, l2 + 3 * 64, m.rig->root_b, 7);
	guest_map(m.rig, m.rig->root_b, PROBE_IOVA, IPA);
	for (uint64_t at = GPA_TABLES; at < m.rig->next_table; at += 4096)
		s2_map(&m, at, at, S2_PAGE);
	s2_map(&m, l1, l1, S2_PAGE);
	s2_map(&m, PROBE_IOVA, AT_B, S2_PAGE);
	set_ste(m.rig, RID, STE_NESTED(l1) | STE_CDMAX(8) | STE_FMT(1), S2_WORD(VMID), m.root);
	err(EFAULT, emulated(m.rig, RID, 64 + 3, PROBE_IOVA, true, &gpa));
	assert_true(event_take(m.rig, event));
	assert_int_equal(event[0], 0x10 | 1ULL << 11 | 67ULL << 12 | (uint64_t)RID << 32);
	assert_int_equal(event[1], 1ULL << 39);
	assert_int_equal(event[3], l2 + 0x1000);
	s2_map(&m, l2 + 0x1000, l2, S2_PAGE);
	ok(emulated(m.rig, RID, 64 + 3, PROBE_IOVA, true, &gpa));
	assert_int_equal(gpa, AT_A);
	s2_map(&m, l1, 0, 0);
	cmdq_run(m.rig, CMD_CFGI_CD_ALL(RID), 0);
	err(EFAULT, emulated(m.rig, RID, 64 + 3, PROBE_IOVA, true, &gpa));
	assert_true(event_take(m.rig, event));
	assert_int_equal(event[3], l1);
	guest_ste(m.rig, RID)[1] = 1; /* S1DSS */
	cmdq_run(m.rig, CMD_CFGI_STE(RID), 1);
	ok(emulated(m.rig, RID, NST_NO_PASID, PROBE_IOVA, true, &gpa));
	assert_int_equal(gpa, AT_B);
	set_ste(m.rig, RID, STE_S2, S2_WORD(VMID), m.root);
	err(EFAULT, emulated(m.rig, RID, 5, PROBE_IOVA, true, &gpa));
	assert_int_equal(event_type(m.rig), 8); /* C_BAD_SUBSTREAMID */
	rig_destroy(m.rig);
}

/* --- who waits, and who is told -------------------------------------------------------------- */

/* The record is the end of a saved unit, but for the count of those that were told: docs/state.md. */
static void wrong_records_are_refused(struct rig *rig, uint8_t *data, size_t size, bool stage2)
{
	static const struct {
		unsigned int word;
		uint64_t flip;
	} wrong[] = {
		{ 1, 3ULL << 40 }, { 1, 1ULL << 44 }, { 1, 1ULL << 45 }, { 3, 1 }, { 3, 1ULL << 52 },
	};
	uint8_t *event = data + size - 4 - 32;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		uint8_t *word = event + 8 * wrong[i].word;
		uint64_t was = le_load(word, 8), sum;
		/* TT and IN can be either in a record of stage 2 */
		bool legal = stage2 && wrong[i].flip == 3ULL << 40 && (was >> 40 & 3) != CLASS_CD;

		le_store(word, 8, was ^ wrong[i].flip);
		sum = fnv1a(FNV1A_START, data, 24);
		le_store(data + 24, 8, fnv1a(sum, data + 32, size - 32));
		if (!legal)
			err(EINVAL, nst_viommu_restore(rig->viommu, data, size));
		le_store(word, 8, was);
	}
	le_store(data + 24, 8, fnv1a(fnv1a(FNV1A_START, data, 24), data + 32, size - 32));
}

/* S2S is of stage 2's faults, as CD.S is of stage 1's; the record is that of the fault. */
static void faults_of_either_stage_stall(void **state)
{
	struct rig *rig = rig_create(&(struct rig_options){
		.features = NST_SMMUV3_STAGE2 | NST_SMMUV3_STALLS, .ssid_bits = 16 });
	struct vm m = { .rig = rig };
	struct nst_notifier *n = rig_listen(rig, RID);
	const struct {
		uint64_t at, stage;
		unsigned int type, cls;
	} cases[] = {
		{ CD_AT, 2, 0x10, CLASS_CD },
		{ rig->root_a, 2, 0x10, CLASS_TT },
		{ IPA, 2, 0x10, CLASS_IN },
		{ PROBE_IOVA, 1, 0x10, CLASS_IN },
	};
	uint64_t event[4], gpa, *pte, good;

	guest_enable(rig);
	m.root = guest_page(rig);
	guest_map(rig, rig->root_a, PROBE_IOVA, IPA);
	for (uint64_t at = GPA_TABLES; at < GPA_TABLES + 64 * 4096; at += 4096)
		s2_map(&m, at, at, S2_PAGE);
	s2_map(&m, CD_AT, CD_AT, S2_PAGE);
	s2_map(&m, IPA, AT_A, S2_PAGE);
	guest_write_cd(rig, CD_AT, rig->root_a, ASID);
	for (size_t i = 0; i < 4 * ARRAY_SIZE(cases); i++) {
		const size_t c = i / 4;
		bool s1_stalls = i & 1, s2_stalls = i & 2, stage2 = cases[c].stage == 2;
		bool stalls = stage2 ? s2_stalls : s1_stalls;
		unsigned int tag, answers = rig->stall_answers;
		size_t size;
		void *data;

		*mem64(rig, CD_AT) = CD_WORD0(ASID) | (s1_stalls ? CD_S : 0);
		/* without S2R: what stalls is told all the same */
		set_ste(rig, RID, STE_NESTED(CD_AT), (S2_WORD(VMID) & ~S2R) | (s2_stalls ? 1ULL << 57 : 0),
			m.root);
		pte = stage2 ? guest_pte(rig, m.root, cases[c].at) : guest_pte(rig, rig->root_a, PROBE_IOVA);
		good = *pte;
		*pte = 0;
		cmdq_run(rig, CMD_TLBI_NSNH_ALL, 0);
		if (!stalls) {
			err(EFAULT, waiting(n, NST_NO_PASID, PROBE_IOVA, true, &gpa, &tag));
			assert_int_equal(event_type(rig), stage2 ? 0 : cases[c].type);
			*pte = good;
			continue;
		}
		err(EINPROGRESS, waiting(n, NST_NO_PASID, PROBE_IOVA, true, &gpa, &tag));
		assert_true(event_take(rig, event));
		assert_int_equal(event[0] & 0xff, cases[c].type);
		assert_int_equal(event[1], tag | 1ULL << 31 | (stage2 ? 1ULL << 39 : 0) |
						   (uint64_t)cases[c].cls << 40);
		assert_int_equal(event[3], stage2 ? cases[c].at & ~0xfffULL : 0);
		/* nobody else's stalls, but is told, whatever S2R says */
		err(EFAULT, emulated(rig, RID, NST_NO_PASID, PROBE_IOVA, true, &gpa));
		assert_int_equal(event_type(rig), cases[c].type);
		*pte = good;
		cmdq_run(rig, CMD_RESUME(RID) | RESUME_RETRY, tag);
		assert_int_equal(rig->stall_answers, answers + 1);
		assert_int_equal(rig->stall_answer, NST_STALL_RETRY);
		ok(waiting(n, NST_NO_PASID, PROBE_IOVA, true, &gpa, &tag));
		assert_int_equal(gpa, AT_A);
		/* one whose record has found no room moves with the unit */
		*pte = 0;
		cmdq_put(rig, CMD_CFGI_ALL, 31);
		cmdq_run(rig, CMD_TLBI_NSNH_ALL, 0);
		cr0_set(rig, CR0_CMDQEN | CR0_SMMUEN);
		err(EINPROGRESS, waiting(n, NST_NO_PASID, PROBE_IOVA, true, &gpa, &tag));
		ok(nst_viommu_save(rig->viommu, &data, &size));
		wrong_records_are_refused(rig, data, size, stage2);
		ok(nst_viommu_restore(rig->viommu, data, size));
		free(data);
		cr0_set(rig, CR0_ALL);
		assert_true(event_take(rig, event));
		assert_int_equal(event[3], stage2 ? cases[c].at & ~0xfffULL : 0);
		*pte = good;
		cmdq_run(rig, CMD_RESUME(RID) | RESUME_RETRY, tag);
	}
	/* an abort does not */
	set_ste(rig, RID, STE_NESTED(CD_AT), S2_WORD(VMID) | 1ULL << 57, m.root);
	*mem64(rig, m.root) = GPA_NOTHING | 3;
	err(EFAULT, waiting(n, NST_NO_PASID, PROBE_IOVA, true, &gpa, &(unsigned int){ 0 }));
	assert_int_equal(event_type(rig), 0x0b);
	rig_destroy(rig);
}

struct heard {
	unsigned int times;
	struct nst_invalidation last;
};

static void hear(void *opaque, const struct nst_invalidation *invalidation)
{
	struct heard *h = opaque;

	h->times++;
	h->last = *invalidation;
}

/* Whom a command concerns: of which VM and stage the translations were that he got. */
static void notifiers_hear_of_their_vm(void **state)
{
	enum { S1 = 1, S2 = 2, N = 4, VA = S1 | N, ALL = VA | S2 };
	const uint64_t vm = OF_VM(VMID), other = OF_VM(VMID ^ 1);
	const struct {
		uint64_t qw0, qw1;
		unsigned int told;
		enum nst_change what;
	} cases[] = {
		{ CMD_TLBI_NH_ALL | vm, 0, VA, NST_CHANGE_ADDRESS_SPACE },
		{ CMD_TLBI_NH_ALL | other, 0, 0, 0 },
		{ CMD_TLBI_NH_ASID(ASID) | vm, 0, VA, NST_CHANGE_ADDRESS_SPACE },
		{ CMD_TLBI_NH_ASID(ASID) | other, 0, 0, 0 },
		{ CMD_TLBI_NH_ASID(0) | vm, 0, 0, 0 },
		{ CMD_TLBI_NH_VA(ASID) | vm, PROBE_IOVA, VA, NST_CHANGE_PAGES },
		{ CMD_TLBI_NH_VA(ASID) | other, PROBE_IOVA, 0, 0 },
		{ CMD_TLBI_NH_VA(0) | vm, PROBE_IOVA, 0, 0 },
		{ CMD_TLBI_NH_VAA | vm, PROBE_IOVA, VA, NST_CHANGE_PAGES },
		{ CMD_TLBI_NH_VAA | other, PROBE_IOVA, 0, 0 },
		{ CMD_TLBI_S2_IPA(VMID), PROBE_IOVA, S2, NST_CHANGE_PAGES },
		{ CMD_TLBI_S2_IPA(VMID ^ 1), PROBE_IOVA, 0, 0 },
		{ CMD_TLBI_S12_VMALL(VMID), 0, ALL, NST_CHANGE_ADDRESS_SPACE },
		{ CMD_TLBI_S12_VMALL(VMID ^ 1), 0, 0, 0 },
		{ CMD_TLBI_NSNH_ALL, 0, ALL, NST_CHANGE_ADDRESS_SPACE },
	};
	static const int kinds[] = { ONLY_1, ONLY_2, BOTH };
	struct vm m = make_vm();
	struct heard heard = { 0 };
	const struct nst_notifier_config config = {
		.rid = RID, .pasid = NST_NO_PASID, .last = { UINT64_MAX }, .invalidate = hear, .opaque = &heard,
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases) * ARRAY_SIZE(kinds); i++) {
		size_t kind = i % ARRAY_SIZE(kinds), c = i / ARRAY_SIZE(kinds);
		bool told = cases[c].told >> kind & 1;
		struct nst_notifier *n;

		set_kind(&m, kinds[kind], PTE_PAGE);
		ok(nst_viommu_notify(m.rig->viommu, &config, &n));
		heard = (struct heard){ 0 };
		assert_int_equal(gpa_of(m.rig, PROBE_IOVA), AT_A);
		cmdq_run(m.rig, cases[c].qw0, cases[c].qw1);
		assert_int_equal(heard.times, told);
		if (told) {
			bool pages = cases[c].what == NST_CHANGE_PAGES;

			assert_int_equal(heard.last.what, cases[c].what);
			assert_int_equal(heard.last.first.v, pages ? PROBE_IOVA : 0);
			assert_int_equal(heard.last.last.v, pages ? PROBE_IOVA | 0xfff : UINT64_MAX);
		}
		nst_notifier_remove(n);
	}
	rig_destroy(m.rig);
}

/* --- who does not get it --------------------------------------------------------------------- */

static struct rig *rig_with_device(void)
{
	struct rig *rig = rig_create(&(struct rig_options){ .features = NST_SMMUV3_STAGE2 });

	rig_add_device(rig);
	guest_enable(rig);
	return rig;
}

static void passed_through_devices_are_blocked(void **state)
{
	struct rig *rig = rig_with_device();
	struct rig_device *d = &rig->devices[0];
	const struct {
		uint64_t w0, w2;
	} cases[] = {
		{ STE_S2, S2_WORD(0) },
		{ STE_NESTED(cd_of(rig, d->rid, PLACE_A)), S2_WORD(0) },
		{ STE_S1(cd_of(rig, d->rid, PLACE_A)), 1 }, /* a VMID that the host does not have */
	};

	assert_int_equal(reg32(rig, REG_IDR0) & 3, 3);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		go(rig, d, PLACE_A);
		assert_int_equal(event_type(rig), 0);
		set_ste(rig, d->rid, cases[i].w0, cases[i].w2, rig->root_a);
		assert_int_equal(place_of(d), NOWHERE);
		assert_int_equal(nested_alive(rig), 0);
		assert_int_equal(event_type(rig), 4); /* C_BAD_STE */
		cmdq_run(rig, CMD_CFGI_ALL, 31);      /* said already */
		assert_int_equal(event_type(rig), 0);
		assert_int_equal(place_of(d), NOWHERE);
	}
	go(rig, d, PLACE_B);
	rig_destroy(rig);
}

/* The guest's VMID 0 is all that a host knows of. */
static void commands_for_the_host(void **state)
{
	struct rig *rig = rig_with_device();
	struct rig_device *d = &rig->devices[0];
	uint64_t *pte = guest_pte(rig, rig->root_a, PROBE_IOVA), asid = ASID_OF(PLACE_A);
	const struct {
		uint64_t qw0, qw1;
		bool told;
	} cases[] = {
		{ CMD_TLBI_NH_ALL, 0, true },
		{ CMD_TLBI_NH_ALL | OF_VM(1), 0, false },
		{ CMD_TLBI_NH_ASID(asid), 0, true },
		{ CMD_TLBI_NH_ASID(asid) | OF_VM(1), 0, false },
		{ CMD_TLBI_NH_VA(asid), PROBE_IOVA, true },
		{ CMD_TLBI_NH_VA(asid) | OF_VM(1), PROBE_IOVA, false },
		{ CMD_TLBI_NH_VAA, PROBE_IOVA, true },
		{ CMD_TLBI_NH_VAA | OF_VM(0x8000), PROBE_IOVA, false },
		{ CMD_TLBI_S12_VMALL(0), 0, true },
		{ CMD_TLBI_S12_VMALL(1), 0, false },
		{ CMD_TLBI_S2_IPA(0), PROBE_IOVA, false },
		{ CMD_TLBI_NSNH_ALL | OF_VM(1), 0, true },
	};

	go(rig, d, PLACE_A);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned int calls;

		*pte = (PROBE_IOVA + 1 * PAGE_SIZE_4K) | PTE_PAGE;
		cmdq_run(rig, CMD_TLBI_NSNH_ALL, 0);
		assert_int_equal(place_of(d), PLACE_A);
		*pte = (PROBE_IOVA + 2 * PAGE_SIZE_4K) | PTE_PAGE;
		calls = rig_calls(&rig->host, IOMMU_HWPT_INVALIDATE);
		cmdq_run(rig, cases[i].qw0, cases[i].qw1);
		assert_int_equal(rig_calls(&rig->host, IOMMU_HWPT_INVALIDATE), calls + cases[i].told);
		assert_int_equal(place_of(d), cases[i].told ? PLACE_B : PLACE_A);
	}
	rig_destroy(rig);
}

/* A unit is restored with both stages, or not at all. */
static void a_unit_with_two_stages_moves(void **state)
{
	struct vm m = make_vm();
	struct nst_smmuv3_config config = { .vm = m.rig->vm, .log = &m.rig->log, .ssid_bits = 16 };
	struct nst_viommu *without;
	uint64_t gpa;
	size_t size;
	void *data;

	assert_int_equal(gpa_of(m.rig, PROBE_IOVA), AT_A);
	ok(nst_viommu_save(m.rig->viommu, &data, &size));
	s2_map(&m, IPA, AT_B, S2_PAGE);
	ok(nst_viommu_restore(m.rig->viommu, data, size));
	nst_viommu_process(m.rig->viommu);
	assert_int_equal(gpa_of(m.rig, PROBE_IOVA), AT_B); /* nothing was cached there */
	ok(nst_smmuv3_create(&config, &without));
	err(EOPNOTSUPP, nst_viommu_restore(without, data, size));
	nst_viommu_destroy(without);
	free(data);
	nst_viommu_reset(m.rig->viommu);
	ok(emulated(m.rig, RID, NST_NO_PASID, PROBE_IOVA, true, &gpa));
	assert_int_equal(gpa, PROBE_IOVA);
	rig_destroy(m.rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_makes_an_entry_illegal),
		cmocka_unit_test(sizes_and_first_levels),
		cmocka_unit_test(pages_are_cached_by_their_tags),
		cmocka_unit_test(one_vmid_one_set_of_pages),
		cmocka_unit_test(the_smaller_page_is_cached),
		cmocka_unit_test(a_walk_keeps_nothing_past_an_invalidation),
		cmocka_unit_test(events_have_their_fields),
		cmocka_unit_test(aborts_have_their_fields),
		cmocka_unit_test(events_of_stage_1),
		cmocka_unit_test(substreams),
		cmocka_unit_test(faults_of_either_stage_stall),
		cmocka_unit_test(notifiers_hear_of_their_vm),
		cmocka_unit_test(passed_through_devices_are_blocked),
		cmocka_unit_test(commands_for_the_host),
		cmocka_unit_test(a_unit_with_two_stages_moves),
	};

	return cmocka_run_group_tests_name("smmuv3 stage 2", tests, NULL, NULL);
}
