// SPDX-License-Identifier: BSD-3-Clause
/*
 * Nested DMA of the software SMMUv3 against a model without caches: the walk of
 * naive_arm_walk.h for each byte, then a search through the second stage from end to end.
 * Tables, second stage and requests are random, of all granules; between requests the guest
 * changes a descriptor and gives the least command that the architecture asks for. So the
 * test fails when a translation is wrong, when an event does not say why, and when a correct
 * invalidation is not enough; check mode must stay silent.
 */
#include "smmu_rig.h"

#include "../pagetable/naive_arm_walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TABLES = 24, MAX_S2 = 24, BIGGEST = 3 * 4096 };
#define TABLES_SIZE (TABLES * 65536ULL)	/* IPA of tables: from 0; of descriptors: RIG_CDS */
#define DATA_START (1ULL << 30)		/* of data: [1, 3) GiB */
#define DATA_END (3ULL << 30)

struct piece {		/* of the second stage */
	uint64_t ipa, size;
	uint8_t *host;
	unsigned int perm;
};

struct model {
	struct rig *rig;
	uint64_t seed;
	struct piece s2[MAX_S2];
	size_t num_s2;
	uint8_t *other_ram;	/* every other piece is here, so neighbours are never contiguous */
	struct naive_arm_request q;	/* what the context descriptor says */
	unsigned int granule_lg2, read, written, faults;
};

static uint64_t pick(struct model *m, uint64_t below)
{
	return test_random(&m->seed) % below;
}

static uint64_t *table_at(struct model *m, uint64_t table)
{
	return (uint64_t *)(void *)&m->rig->ram[table << m->granule_lg2];
}

/* Few indices are in use, the first ones and the last one, so that requests meet them. */
static unsigned int random_index(struct model *m)
{
	unsigned int entries = 1u << (m->granule_lg2 - 3);
	const unsigned int indices[] = { 0, 1, 2, 3, entries - 1 };

	return indices[pick(m, ARRAY_SIZE(indices))];
}

static void make_s2(struct model *m)
{
	static const uint64_t sizes[] = { 0x1000, 0x4000, 0x7000, 0x10000, 0x1ff000, 0x200000,
					  0x2000000, 0x3fe000, 0x600000, 0x20000000, 0x3fe00000,
					  0x40000000 };
	uint64_t ipa = DATA_START;

	rig_clear_s2(m->rig);
	rig_add_s2(m->rig, 0, TABLES_SIZE, m->rig->ram, RANGE_READ | RANGE_WRITE);
	rig_add_s2(m->rig, RIG_CDS, 4096, m->rig->ram + RIG_CDS, RANGE_READ);
	for (m->num_s2 = 0; m->num_s2 < MAX_S2 && ipa < DATA_END;) {
		struct piece *p = &m->s2[m->num_s2];
		uint64_t size = sizes[pick(m, ARRAY_SIZE(sizes))];

		size = MIN(size, DATA_END - ipa);
		if (pick(m, 5)) {	/* else a hole */
			*p = (struct piece){ ipa, size,
					     (m->num_s2 % 2 ? m->other_ram : m->rig->ram) + ipa,
					     pick(m, 3) ? 3 : (unsigned int)pick(m, 4) };
			rig_add_s2(m->rig, ipa, size, p->host, p->perm);
			m->num_s2++;
		}
		ipa += size;
	}
}

/* An IPA at which something interesting begins or ends. */
static uint64_t random_ipa(struct model *m, uint64_t align)
{
	const struct piece *p = m->num_s2 ? &m->s2[pick(m, m->num_s2)] : NULL;
	uint64_t ipa = DATA_START;

	if (p)
		ipa = p->ipa + (pick(m, 2) ? p->size : 0) + pick(m, 3) * 4096 - 4096;
	ipa &= -align;
	return MAX(ipa, DATA_START);	/* never the tables: the data would change them */
}

static uint64_t random_leaf(struct model *m, int level)
{
	int low = naive_arm_low(m->q.granule_kb, level);
	uint64_t leaf = random_ipa(m, 1ULL << low) | 1 | (level == 3 ? 2 : 0) | D_NG;

	leaf |= pick(m, 8) ? D_USER : 0;
	leaf |= pick(m, 4) ? 0 : D_RO;
	leaf |= pick(m, 3) ? D_DBM : 0;
	leaf |= pick(m, 4) ? D_AF : 0;
	if (pick(m, 16) == 0)
		leaf |= 1ULL << (40 + pick(m, 8));
	if (pick(m, 6) == 0)
		leaf &= ~(uint64_t)D_NG;
	return pick(m, 10) ? leaf : leaf & ~1ULL;
}

/* Tables [6 * level, 6 * level + 6) hold descriptors of that level. */
static uint64_t random_entry(struct model *m, int level)
{
	uint64_t next = 6 * ((uint64_t)level + 1) + pick(m, 6);

	if (level == 3 || (level > 0 && pick(m, 3) == 0))
		return random_leaf(m, level);
	return next << m->granule_lg2 | 3 | (pick(m, 8) ? 0 : (pick(m, 4)) << 61);
}

static void make_tables(struct model *m)
{
	memset(m->rig->ram, 0, TABLES_SIZE);
	for (unsigned int table = 0; table < TABLES; table++)
		for (int n = 0; n < 8; n++)
			rig_store(&table_at(m, table)[random_index(m)],
				  random_entry(m, (int)table / 6));
}

/* One table is the top of both halves, so global pages of both are the same pages. */
static void make_context(struct model *m)
{
	static const int granules[] = { 4, 16, 64 }, ips_bits[] = { 32, 36, 40, 42, 44, 48 };
	static const unsigned int tg0[] = { 0, 2, 1 }, tg1[] = { 2, 1, 3 };
	unsigned int g = (unsigned int)pick(m, 3), ips = (unsigned int)pick(m, 12);
	uint64_t cd[8] = { 0 };

	ips = MIN(ips, 5u);
	m->granule_lg2 = 12 + 2 * g;
	m->q = (struct naive_arm_request){
		.granule_kb = granules[g], .tsz = 16 + (int)pick(m, 2) * (int)pick(m, 24),
		.out_bits = ips_bits[ips], .tbi = pick(m, 2), .ha = pick(m, 2), .hd = pick(m, 2),
		.affd = pick(m, 3) == 0, .had = pick(m, 3) == 0,
	};
	m->q.ttb = (6 * (uint64_t)naive_arm_top_level(m->q.granule_kb, m->q.tsz)) << m->granule_lg2;
	cd[0] = (uint64_t)m->q.tsz * 0x10001 | tg0[g] << 6 | (uint64_t)tg1[g] << 22 | C_V |
		(uint64_t)ips << 32 | C_AA64 | C_R | C_A | (uint64_t)RIG_ASID << 48 |
		(m->q.tbi ? C_TBI0 * 3 : 0) | (m->q.ha ? C_HA : 0) | (m->q.hd ? C_HD : 0) |
		(m->q.affd ? C_AFFD : 0);
	cd[1] = m->q.ttb | (m->q.had ? 2 : 0);
	cd[2] = cd[1];
	rig_write_cd(m->rig, RIG_CDS, cd);
	rig_cfgi_cd_all(m->rig);
	rig_tlbi_all(m->rig);
}

static uint64_t random_va(struct model *m)
{
	uint64_t va = pick(m, 16) == 0 ? pick(m, 4096) : pick(m, 2) ? 4096 - pick(m, 64) : 0;
	uint64_t below = UINT64_MAX >> m->q.tsz;

	for (int level = 0; level <= 3; level++)
		if (naive_arm_low(m->q.granule_kb, level) >= 0)
			va += (uint64_t)random_index(m) << naive_arm_low(m->q.granule_kb, level);
	va = pick(m, 2) ? va & below : va | ~below;
	if (pick(m, 20) == 0)
		va ^= 1ULL << (40 + pick(m, 24));
	return va;
}

/* One byte: where it is, or NULL and the type of the event. */
static uint8_t *model_translate(struct model *m, uint64_t va, bool write, unsigned int *event)
{
	struct naive_arm_memory memory = { m->rig->ram, TABLES_SIZE / 4096, NULL, NULL };
	struct naive_arm_request q = m->q;
	struct naive_arm_result res;
	uint64_t ipa;

	*event = 0x10;
	if (!naive_arm_in_range(va, q.tsz, q.tbi))
		return NULL;
	q.va = va;
	q.write = write;
	q.peek = true;
	res = naive_arm_walk(&memory, &q);
	*event = (unsigned int)res.fault;
	if (res.fault)
		return NULL;
	ipa = res.page + va % (1ULL << res.page_bits);
	*event = 0x10;
	for (size_t i = 0; i < m->num_s2; i++) {
		const struct piece *p = &m->s2[i];

		if (ipa < p->ipa || ipa - p->ipa >= p->size)
			continue;
		*event = 0x13;
		return p->perm & (write ? 2 : 1) ? p->host + (ipa - p->ipa) : NULL;
	}
	return NULL;
}

static void check_end(struct model *m, int ret, size_t reached, size_t size, unsigned int event,
		      uint64_t va)
{
	assert_int_equal(ret, reached == size ? 0 : -EFAULT);
	if (reached == size)
		return;
	m->faults++;
	assert_int_equal(rig_take_event(m->rig), event);
	assert_int_equal(le64_get(m->rig->event.qw[2]), va + reached);
}

static void one_read(struct model *m, uint64_t va, size_t size)
{
	uint8_t want[BIGGEST], got[BIGGEST];
	unsigned int event = 0, unused;
	size_t reached = 0;

	/* number the memory first; pages may be the same, so look at it again afterwards */
	for (size_t n = 0; n < size; n++) {
		uint8_t *at = model_translate(m, va + n, false, &event);

		if (!at)
			break;
		*at = (uint8_t)test_random(&m->seed);
		reached = n + 1;
	}
	for (size_t n = 0; n < reached; n++)
		want[n] = *model_translate(m, va + n, false, &unused);
	check_end(m, rig_dma(m->rig, false, va, got, size), reached, size, event, va);
	assert_memory_equal(got, want, reached);
	m->read += reached == size;
}

static void one_write(struct model *m, uint64_t va, size_t size)
{
	uint8_t buf[BIGGEST];
	uint8_t *at[BIGGEST];
	unsigned int event = 0;
	size_t reached = 0;

	for (size_t n = 0; n < size; n++)
		buf[n] = (uint8_t)test_random(&m->seed);
	for (; reached < size; reached++) {
		at[reached] = model_translate(m, va + reached, true, &event);
		if (!at[reached])
			break;
		*at[reached] = (uint8_t)~buf[reached];
	}
	check_end(m, rig_dma(m->rig, true, va, buf, size), reached, size, event, va);
	for (size_t n = 0; n < reached; n++) {
		bool there = *at[n] == buf[n];

		/* or a later byte of this write went to the same place */
		for (size_t later = n + 1; later < reached && !there; later++)
			there = at[later] == at[n];
		assert_true(there);
	}
	m->written += reached == size;
}

/* The guest changes one descriptor, then asks for the least that must be asked for. */
static void change_an_entry(struct model *m)
{
	const uint64_t tags = (uint64_t)RIG_VMID << 32 | (uint64_t)RIG_ASID << 48;
	unsigned int table = (unsigned int)pick(m, TABLES);
	int level = (int)table / 6, top = naive_arm_top_level(m->q.granule_kb, m->q.tsz);
	uint64_t *slot = &table_at(m, table)[random_index(m)], va = random_va(m);
	uint64_t below = (1ULL << naive_arm_low(m->q.granule_kb, top)) - 1;

	if (level < top)
		return;
	/* where the table appears in the address space is not known: everything */
	if (pick(m, 2)) {
		bool was_table = level < 3 && (*slot & 3) == 3;

		rig_store(slot, random_entry(m, level));
		if (was_table || pick(m, 2))
			assert_int_equal(rig_command(m->rig, 0x10 | tags, 0), 0);
		else	/* NH_VAA, leaves, the whole of both halves */
			for (uint64_t half = 0; half < 2; half++)
				assert_int_equal(rig_command(m->rig, 0x13 | tags | 31 << 12 | 31 << 20,
							     -half << 48 | (m->granule_lg2 / 2 - 5)
									     << 10 | 1), 0);
		return;
	}
	/* or a descriptor of the top, which is seen from one range of each half alone */
	if (m->q.tbi || !naive_arm_in_range(va, m->q.tsz, false))
		return;
	slot = (uint64_t *)(void *)&m->rig->ram[m->q.ttb];
	slot += (va & UINT64_MAX >> m->q.tsz) >> naive_arm_low(m->q.granule_kb, top);
	rig_store(slot, random_entry(m, top));
	for (int half = 0; half < 2; half++) {
		uint64_t sign = half ? ~(UINT64_MAX >> m->q.tsz) : 0;
		unsigned int num = 0, scale = (unsigned int)naive_arm_low(m->q.granule_kb, top) -
					      m->granule_lg2;

		for (; scale > 31; scale--)
			num = 2 * num + 1;
		num |= !num && !scale;	/* one page is not a range */
		va = ((va & UINT64_MAX >> m->q.tsz) | sign) & ~below;
		assert_int_equal(rig_command(m->rig, 0x12 | tags | scale << 20 | num << 12,
					     va | (m->granule_lg2 / 2 - 5) << 10), 0);
	}
}

static void random_dma_agrees_with_the_model(void **state)
{
	struct model m = { .rig = *state, .seed = 21 };
	struct rig *other;

	assert_int_equal(rig_setup((void **)&other), 0);
	m.other_ram = other->ram;
	for (int world = 0; world < 40; world++) {
		make_s2(&m);
		make_context(&m);
		make_tables(&m);
		for (int n = 0; n < 100; n++) {
			uint64_t va = random_va(&m);
			size_t size = pick(&m, 16) ? 1 + pick(&m, 128) : 1 + pick(&m, BIGGEST);

			if (va + size < va)
				continue;
			if (n % 5 == 4)
				change_an_entry(&m);
			/* more than once: the second time it comes from the caches */
			for (int again = 0; again < 3; again++) {
				if (pick(&m, 2))
					one_read(&m, va, size);
				else
					one_write(&m, va, size);
			}
		}
	}
	assert_int_equal(rig_stats(m.rig).stale_hits, 0);
	/* a test in which everything faults, or nothing, shows little */
	assert_true(m.read > 500 && m.written > 500 && m.faults > 500);
	assert_int_equal(rig_stats(m.rig).faults, m.faults);
	assert_true(rig_stats(m.rig).iotlb_hits > 500);
	assert_int_equal(rig_teardown((void **)&other), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(random_dma_agrees_with_the_model, rig_setup_check,
						rig_teardown),
	};

	return cmocka_run_group_tests_name("smmu_hw_model", tests, NULL, NULL);
}
