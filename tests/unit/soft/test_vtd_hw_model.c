// SPDX-License-Identifier: BSD-3-Clause
/*
 * Nested DMA of the software VT-d unit against a model without caches: the walk of
 * naive_walk.h for each page, then a search through the second stage from end to end.
 * Tables, second stage and requests are random; between requests the guest changes an
 * entry and invalidates just what it must. So the test fails when a translation is
 * wrong and when a correct invalidation is not enough; check mode must stay silent.
 */
#include "vtd_rig.h"

#include "../pagetable/naive_walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE_PAGES = 64, MAX_S2 = 24, BIGGEST = 3 * 4096 };
#define DATA_START (1ULL << 30)		/* GPA of data: [1, 3) GiB. Tables: from 0 */
#define DATA_END (3ULL << 30)

struct piece {		/* of the second stage */
	uint64_t gpa, size;
	uint8_t *host;
	unsigned int perm;
};

struct model {
	struct rig *rig;
	uint64_t seed;
	struct piece s2[MAX_S2];
	size_t num_s2;
	uint8_t *other_ram;	/* every other piece is here, so neighbours are never contiguous */
	unsigned int read, written, faults;
};

static uint64_t pick(struct model *m, uint64_t below)
{
	return test_random(&m->seed) % below;
}

static uint64_t *entries(struct model *m, unsigned int table)
{
	return (uint64_t *)(void *)&m->rig->ram[(uint64_t)table << 12];
}

/* Few indices are in use, the first ones and the last one, so that requests meet them. */
static unsigned int random_index(struct model *m)
{
	static const unsigned int indices[] = { 0, 1, 2, 3, 511 };

	return indices[pick(m, ARRAY_SIZE(indices))];
}

static void make_s2(struct model *m)
{
	static const uint64_t sizes[] = { 0x1000, 0x2000, 0x7000, 0x1ff000, 0x200000, 0x3fe000,
					  0x600000, 0x3fe00000, 0x40000000 };
	uint64_t gpa = DATA_START;

	rig_clear_s2(m->rig);
	rig_add_s2(m->rig, 0, TABLE_PAGES << 12, m->rig->ram, RANGE_READ | RANGE_WRITE);
	for (m->num_s2 = 0; m->num_s2 < MAX_S2 && gpa < DATA_END;) {
		struct piece *p = &m->s2[m->num_s2];
		uint64_t size = sizes[pick(m, ARRAY_SIZE(sizes))];

		size = MIN(size, DATA_END - gpa);
		if (pick(m, 5)) {	/* else a hole */
			*p = (struct piece){ gpa, size,
					     (m->num_s2 % 2 ? m->other_ram : m->rig->ram) + gpa,
					     pick(m, 3) ? 3 : (unsigned int)pick(m, 4) };
			rig_add_s2(m->rig, gpa, size, p->host, p->perm);
			m->num_s2++;
		}
		gpa += size;
	}
}

/* A GPA at which something interesting begins or ends. */
static uint64_t random_gpa(struct model *m, uint64_t align)
{
	const struct piece *p = m->num_s2 ? &m->s2[pick(m, m->num_s2)] : NULL;
	uint64_t gpa = DATA_START;

	if (p)
		gpa = p->gpa + (pick(m, 2) ? p->size : 0) + pick(m, 3) * 4096 - 4096;
	gpa &= -align;
	return MAX(gpa, DATA_START);	/* never the tables: the data would change them */
}

static uint64_t random_leaf(struct model *m, unsigned int level)
{
	uint64_t leaf = random_gpa(m, 1ULL << (3 + 9 * level)) | E_P | (level > 1 ? E_PS : 0);

	leaf |= pick(m, 8) ? E_U : 0;
	leaf |= pick(m, 4) ? E_W : 0;
	leaf |= pick(m, 2) ? E_A : 0;
	leaf |= pick(m, 2) ? E_D : 0;
	return pick(m, 10) ? leaf : leaf & ~(uint64_t)E_P;
}

static uint64_t random_entry(struct model *m, unsigned int level)
{
	if (level == 1 || (level < 4 && pick(m, 3) == 0))
		return random_leaf(m, level);
	/* tables [16 * (level - 1), ...) hold entries of that level */
	return (16 * (level - 2) + pick(m, 16)) << 12 | E_P | E_U | (pick(m, 8) ? E_W : 0);
}

static void make_tables(struct model *m)
{
	memset(m->rig->ram, 0, TABLE_PAGES << 12);
	for (unsigned int table = 0; table < TABLE_PAGES; table++)
		for (int n = 0; n < 8; n++)
			rig_store(&entries(m, table)[random_index(m)],
				  random_entry(m, 1 + table / 16));
}

static uint64_t random_iova(struct model *m)
{
	uint64_t iova = pick(m, 16) == 0 ? pick(m, 4096) : pick(m, 2) ? 4096 - pick(m, 64) : 0;

	for (unsigned int level = 1; level <= 4; level++)
		iova += (uint64_t)random_index(m) << (3 + 9 * level);
	return iova >> 47 & 1 ? iova | 0xffffULL << 48 : iova & ~(0xffffULL << 48);
}

/* One page of a request: where it is, or NULL if it faults. */
static uint8_t *model_translate(struct model *m, uint64_t iova, bool write)
{
	struct naive_memory memory = { m->rig->ram, TABLE_PAGES, NULL, NULL };
	struct naive_request q = { .iova = iova, .levels = 4, .gpa_bits = 52, .write = write,
				   .peek = true };
	struct naive_result res;
	uint64_t gpa;

	if (!naive_canonical(iova, 48) || iova >> 20 == 0xfee)
		return NULL;
	res = naive_walk(&memory, m->rig->entry.fs_root, &q);
	if (res.fault)
		return NULL;
	gpa = res.page + iova % (1ULL << res.page_bits);
	for (size_t i = 0; i < m->num_s2; i++) {
		const struct piece *p = &m->s2[i];

		if (gpa >= p->gpa && gpa - p->gpa < p->size)
			return p->perm & (write ? 2 : 1) ? p->host + (gpa - p->gpa) : NULL;
	}
	return NULL;
}

static bool model_dirty(struct model *m, uint64_t iova)
{
	struct naive_memory memory = { m->rig->ram, TABLE_PAGES, NULL, NULL };
	struct naive_request q = { .iova = iova, .levels = 4, .gpa_bits = 52, .peek = true };

	return naive_walk(&memory, m->rig->entry.fs_root, &q).dirty;
}

static void one_read(struct model *m, uint64_t iova, size_t size)
{
	uint8_t want[BIGGEST], got[BIGGEST];
	size_t reached = 0;

	/* number the memory first; pages may be the same, so look at it again afterwards */
	for (size_t n = 0; n < size; n++) {
		uint8_t *at = model_translate(m, iova + n, false);

		if (!at)
			break;
		*at = (uint8_t)test_random(&m->seed);
		reached = n + 1;
	}
	for (size_t n = 0; n < reached; n++)
		want[n] = *model_translate(m, iova + n, false);
	assert_int_equal(rig_dma(m->rig, false, iova, got, size), reached == size ? 0 : -EFAULT);
	assert_memory_equal(got, want, reached);
	m->read += reached == size;
	m->faults += reached != size;
}

static void one_write(struct model *m, uint64_t iova, size_t size)
{
	uint8_t buf[BIGGEST];
	uint8_t *at[BIGGEST];
	size_t reached = 0;

	for (size_t n = 0; n < size; n++)
		buf[n] = (uint8_t)test_random(&m->seed);
	for (; reached < size; reached++) {
		at[reached] = model_translate(m, iova + reached, true);
		if (!at[reached])
			break;
		*at[reached] = (uint8_t)~buf[reached];
	}
	assert_int_equal(rig_dma(m->rig, true, iova, buf, size), reached == size ? 0 : -EFAULT);
	for (size_t n = 0; n < reached; n++) {
		bool there = *at[n] == buf[n];

		/* or a later byte of this write went to the same place */
		for (size_t later = n + 1; later < reached && !there; later++)
			there = at[later] == at[n];
		assert_true(there);
		if (n % 512 == 0)
			assert_true(model_dirty(m, iova + n));
	}
	m->written += reached == size;
	m->faults += reached != size;
}

/* The guest changes one entry, then asks for the least that VT-d wants it to ask for. */
static void change_an_entry(struct model *m)
{
	unsigned int table = (unsigned int)pick(m, TABLE_PAGES), level = 1 + table / 16;
	uint64_t *slot = &entries(m, table)[random_index(m)];
	uint64_t entry = random_entry(m, level), iova = random_iova(m);
	bool was_table = level > 1 && (*slot & E_P) && !(*slot & E_PS);

	/* where the table appears in the address space is not known: flush the domain */
	if (pick(m, 2)) {
		rig_store(slot, entry);
		vtd_hw_flush_pages(m->rig->hw, RIG_DID, 0, UINT64_MAX, !was_table);
		return;
	}
	/* or change it as seen from one address, if no other path leads to the same table */
	slot = &entries(m, 63)[iova >> 39 & 511];
	rig_store(slot, random_entry(m, 4));
	vtd_hw_flush_pages(m->rig->hw, RIG_DID, iova & ~((1ULL << 39) - 1), 1 << 27, false);
}

static void random_dma_agrees_with_the_model(void **state)
{
	struct model m = { .rig = *state, .seed = 21 };
	struct rig *other;

	assert_int_equal(rig_setup((void **)&other), 0);
	m.other_ram = other->ram;
	m.rig->entry.fs_root = 63 << 12;
	for (int world = 0; world < 60; world++) {
		make_s2(&m);
		make_tables(&m);
		rig_set_entry(m.rig, RIG_RID, NST_NO_PASID, &m.rig->entry);
		vtd_hw_flush_domain(m.rig->hw, RIG_DID);
		for (int n = 0; n < 150; n++) {
			uint64_t iova = random_iova(&m);
			size_t size = pick(&m, 8) ? 1 + pick(&m, 128) : 1 + pick(&m, BIGGEST);

			if (iova + size < iova)
				continue;
			if (n % 5 == 4)
				change_an_entry(&m);
			/* more than once: the second time it comes from the caches */
			for (int again = 0; again < 3; again++) {
				if (pick(&m, 2))
					one_read(&m, iova, size);
				else
					one_write(&m, iova, size);
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

	return cmocka_run_group_tests_name("vtd_hw_model", tests, NULL, NULL);
}
