// SPDX-License-Identifier: BSD-3-Clause
/*
 * Stage 2, alone and under stage 1, over random tables, against the oracles of both walks: what
 * stage 2 lets stage 1 see of memory is made a memory of its own, in which the oracle of stage 1
 * walks; what that misses, or finds, goes through the oracle of stage 2.
 */
#include "stage2.h"

#include "../pagetable/naive_arm_s2_walk.h"

#include <stdlib.h>
#include <string.h>

enum { MODEL_PAGES = 64, NOT_KNOWN = 0xff };
#define MODEL_AT 0x400000ULL

struct model {
	struct rig *rig;
	uint64_t seed;
	struct naive_arm_s2_request s2;
	struct naive_arm_request s1;
	bool nested;
	/* all intermediate addresses that memory has, as stage 1 sees them: by reads */
	uint8_t *view;
	bool hole[RIG_MEMORY / 4096];
};

static uint64_t pick(struct model *m, uint64_t n)
{
	return test_random(&m->seed) % n;
}

/* Descriptors that mostly lead on, whichever stage they are taken for. */
static void fill_tables(struct model *m)
{
	for (uint64_t at = MODEL_AT; at < MODEL_AT + MODEL_PAGES * 4096; at += 8) {
		uint64_t to = MODEL_AT + pick(m, MODEL_PAGES) * 4096, word = to | PTE_PAGE | S2_MEMORY;

		switch (pick(m, 20)) {
		case 0:
			word = test_random(&m->seed);
			break;
		case 1:
			word = 0;
			break;
		case 2:
			word = (word & 0xfff) | GPA_NOTHING;
			break;
		case 3:
		case 4:
			word &= ~0x1ff002ULL; /* a block */
			break;
		case 5:
		case 6:
		case 7:
		case 8:
		case 9:
		case 10:
			word |= S2_WRITE; /* of stage 1: read-only */
			break;
		}
		word ^= pick(m, 6) ? 0 : 1ULL << pick(m, 12);
		*mem64(m->rig, at) = word;
	}
}

static struct naive_arm_s2_result walk2(struct model *m, uint64_t ipa, bool write, bool walking)
{
	struct naive_arm_memory memory = { m->rig->memory, RIG_MEMORY / 4096, NULL, NULL };
	struct naive_arm_s2_request q = m->s2;

	q.ipa = ipa;
	q.write = write;
	q.protected = m->s2.protected && walking;
	return naive_arm_s2_walk(&memory, &q);
}

static void make_view(struct model *m)
{
	for (uint64_t page = 0; page < RIG_MEMORY; page += 4096) {
		struct naive_arm_s2_result res = walk2(m, page, false, true);
		uint64_t at = res.page + (page & ((1ULL << res.page_bits) - 1));

		m->hole[page / 4096] = res.fault || at >= RIG_MEMORY;
		if (!m->hole[page / 4096])
			memcpy(&m->view[page], &m->rig->memory[at], 4096);
	}
}

static uint64_t choose_stage2(struct model *m)
{
	static const int granules[] = { 4, 16, 64 }, out_bits[] = { 32, 36, 40, 42, 44, 44 };
	static const uint64_t tg[] = { 0, 2, 1 };
	unsigned int granule = (unsigned int)pick(m, 3), ps = (unsigned int)pick(m, 6);
	uint64_t word;

	m->s2 = (struct naive_arm_s2_request){
		.granule_kb = granules[granule],
		.out_bits = out_bits[ps],
		.affd = pick(m, 2),
		.protected = pick(m, 2),
	};
	do {
		m->s2.sl0 = (int)pick(m, 3);
		m->s2.tsz = 20 + (int)pick(m, 20);
	} while (!naive_arm_s2_is_legal(m->s2.granule_kb, m->s2.sl0, 64 - m->s2.tsz));
	m->s2.ttb = MODEL_AT + pick(m, MODEL_PAGES) * 4096;
	word = VMID | (uint64_t)m->s2.tsz << 32 | (uint64_t)m->s2.sl0 << 38 | tg[granule] << 46 |
	       (uint64_t)ps << 48 | 1ULL << 51 | (uint64_t)m->s2.affd << 53 |
	       (uint64_t)m->s2.protected << 54 | S2R;
	return word;
}

/* Mostly one that leads to the context descriptor: else that is all that is seen of it. */
static void choose_stream(struct model *m)
{
	uint64_t word = choose_stage2(m);

	for (int i = 0; m->nested && i < 100 && walk2(m, CD_AT, false, true).fault; i++)
		word = choose_stage2(m);
	set_ste(m->rig, RID, m->nested ? STE_NESTED(CD_AT) : STE_S2, word, m->s2.ttb);
}

static void choose_stage1(struct model *m)
{
	static const int granules[] = { 4, 16, 64 }, out_bits[] = { 32, 36, 40, 42, 44, 44 };
	static const uint64_t tg0[] = { 0, 2, 1 };
	unsigned int granule = (unsigned int)pick(m, 3), ips = (unsigned int)pick(m, 6);
	struct naive_arm_s2_result at = walk2(m, CD_AT, false, true);
	uint64_t cd_at = at.page + (CD_AT & ((1ULL << at.page_bits) - 1)), *cd;

	m->s1 = (struct naive_arm_request){
		.ttb = MODEL_AT + pick(m, MODEL_PAGES / 2) * 4096,
		.granule_kb = granules[granule],
		.tsz = 16 + (int)pick(m, 24),
		.out_bits = out_bits[ips],
		.affd = pick(m, 2),
		.had = pick(m, 2),
		.peek = true,
	};
	if (at.fault || cd_at >= RIG_MEMORY)
		return;
	cd = mem64(m->rig, cd_at);
	memset(cd, 0, 64);
	cd[0] = (CD_WORD0(ASID) & ~(7ULL << 32 | 0x3f)) | (uint64_t)m->s1.tsz | tg0[granule] << 6 |
		(uint64_t)ips << 32 | (uint64_t)m->s1.affd << 35;
	cd[1] = m->s1.ttb | (m->s1.had ? 2 : 0);
}

struct outcome {
	unsigned int type, cls;
	bool s2;
	uint64_t ipa, gpa;
};

/* Through stage 2: where it leads, or what is told. */
static struct outcome finish(struct model *m, uint64_t ipa, bool write, unsigned int cls)
{
	struct naive_arm_s2_result res = walk2(m, ipa, write, cls != CLASS_IN);

	if (res.fault)
		return (struct outcome){ (unsigned int)res.fault, cls, true,
					 res.fault == 0x0b ? res.descriptor : ipa & ~0xfffULL, 0 };
	return (struct outcome){ .gpa = res.page + (ipa & ((1ULL << res.page_bits) - 1)) };
}

static struct outcome oracle(struct model *m, uint64_t va, bool write)
{
	struct naive_arm_memory memory = { m->view, RIG_MEMORY / 4096, NULL, m->hole };
	struct naive_arm_request q = m->s1;
	struct naive_arm_result res;
	struct outcome out;

	if (!m->nested)
		return va >> 44 ? (struct outcome){ .type = 0x11, .cls = CLASS_IN }
				: finish(m, va, write, CLASS_IN);
	out = finish(m, CD_AT, false, CLASS_CD);
	if (out.type)
		return out;
	if (out.gpa >= RIG_MEMORY)
		return (struct outcome){ .type = 0x09 };
	if (!naive_arm_in_range(va, q.tsz, false) || va >> 55 & 1)
		return (struct outcome){ .type = 0x10, .cls = CLASS_IN };
	q.va = va;
	q.write = write;
	res = naive_arm_walk(&memory, &q);
	if (res.fault == 0x0b) { /* where stage 2 does not lead to memory */
		out = finish(m, res.descriptor, false, CLASS_TT);
		if (out.type)
			return out;
		if (out.gpa < RIG_MEMORY) /* the view has no such addresses */
			return (struct outcome){ .type = NOT_KNOWN };
		return (struct outcome){ .type = 0x0b, .cls = CLASS_TT, .ipa = out.gpa };
	}
	if (res.fault)
		return (struct outcome){ .type = (unsigned int)res.fault, .cls = CLASS_IN };
	return finish(m, res.page + (va & ((1ULL << res.page_bits) - 1)), write, CLASS_IN);
}

static void compare_with_oracle(struct model *m, unsigned int seen[256][2])
{
	uint64_t va = test_random(&m->seed), got = 0, event[4];
	bool write = pick(m, 2);
	struct outcome want;

	va >>= m->nested ? m->s1.tsz : m->s2.tsz;
	va ^= pick(m, 16) ? 0 : 1ULL << pick(m, 64);
	want = oracle(m, va, write);
	seen[want.type][want.type ? want.s2 : m->nested]++;
	if (want.type == NOT_KNOWN)
		return;
	assert_int_equal(emulated(m->rig, RID, NST_NO_PASID, va, write, &got), want.type ? -EFAULT : 0);
	if (!want.type) {
		assert_int_equal(got, want.gpa);
		return;
	}
	assert_true(event_take(m->rig, event));
	assert_int_equal(event[0] & 0xff, want.type);
	if (want.type < 0x0b)
		return;
	assert_int_equal(event[1] >> 39 & 1, want.s2);
	assert_int_equal(event[1] >> 40 & 3, want.cls);
	assert_int_equal(event[3], want.ipa);
}

static void random_tables_as_the_oracles_walk_them(void **state)
{
	struct rig *rig = rig_create(&(struct rig_options){ .features = NST_SMMUV3_STAGE2 });
	struct model *m = calloc(1, sizeof(*m));
	unsigned int seen[256][2] = { 0 };

	m->rig = rig;
	m->seed = 20261121;
	m->view = calloc(1, RIG_MEMORY);
	guest_enable(rig);
	for (int round = 0; round < 800; round++) {
		if (!(round % 10))
			fill_tables(m);
		m->nested = round & 3;
		choose_stream(m);
		choose_stage1(m);
		make_view(m);
		cmdq_put(rig, CMD_CFGI_ALL, 31);
		cmdq_run(rig, CMD_TLBI_S12_VMALL(VMID), 0);
		for (int i = 0; i < 200; i++)
			compare_with_oracle(m, seen);
	}
	for (unsigned int type = 0x10; type <= 0x13; type++)
		assert_true(seen[type][0] > 10 && seen[type][1] > 100);
	assert_true(seen[0][0] > 1000 && seen[0][1] > 1000 && seen[0x09][0] > 10);
	assert_true(seen[0x0b][0] > 100 && seen[0x0b][1] > 100);
	rig_destroy(rig);
	free(m->view);
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_tables_as_the_oracles_walk_them),
	};

	return cmocka_run_group_tests_name("smmuv3 stage 2 model", tests, NULL, NULL);
}
