// SPDX-License-Identifier: BSD-3-Clause
/*
 * The translation cache against a naive one: an array that is searched from end to end.
 * The model is told nothing about which entry makes room when the cache is full: there
 * the test sees which one is gone, and that it is exactly one.
 */
#include "test.h"

#include "base/alloc.h"
#include "pagetable/iotlb.h"

#include <errno.h>
#include <string.h>

enum { CLASSES = 6, LEAVES = 0x7, CAPACITY = 48 };
static const uint8_t shifts[CLASSES] = { 12, 21, 30, 21, 30, 39 };

struct model_entry {
	uint64_t first, last, target;
	uint32_t tag;
	unsigned int cls;
	uint8_t flags;
};

struct model {
	struct model_entry entries[CAPACITY + 1];
	size_t count;
};

static void model_remove_at(struct model *m, size_t at)
{
	m->entries[at] = m->entries[--m->count];
}

static struct model_entry *model_find(struct model *m, uint32_t tag, unsigned int cls,
				      uint64_t address)
{
	for (size_t i = 0; i < m->count; i++)
		if (m->entries[i].tag == tag && m->entries[i].cls == cls &&
		    address >= m->entries[i].first && address <= m->entries[i].last)
			return &m->entries[i];
	return NULL;
}

static void model_flush(struct model *m, uint32_t tag, uint64_t first, uint64_t last, bool leaf)
{
	for (size_t i = m->count; i-- > 0;)
		if (m->entries[i].tag == tag && m->entries[i].last >= first &&
		    m->entries[i].first <= last && (!leaf || m->entries[i].cls < 3))
			model_remove_at(m, i);
}

static bool filter_names(const struct iotlb_filter *f, const struct model_entry *e)
{
	if ((e->tag & f->tag_mask) != (f->tag & f->tag_mask) || !(f->classes >> e->cls & 1))
		return false;
	if (e->cls < 3 && (e->flags & f->flags_mask) != (f->flags & f->flags_mask))
		return false;
	return e->last >= f->first && e->first <= f->last;
}

static bool same(const struct iotlb_entry *e, const struct model_entry *m)
{
	return e && e->target == m->target && e->flags == m->flags && e->tag == m->tag &&
	       e->cls == m->cls;
}

/* Everything in the model is in the cache, at its first and last byte; nothing else is. */
static void check(const struct iotlb *tlb, const struct model *m)
{
	assert_int_equal(iotlb_count(tlb), m->count);
	for (size_t i = 0; i < m->count; i++) {
		const struct model_entry *e = &m->entries[i];

		assert_true(same(iotlb_find(tlb, e->tag, e->cls, e->first), e));
		assert_true(same(iotlb_find(tlb, e->tag, e->cls, e->last), e));
	}
}

/* The one entry that the cache no longer has: returns how many there were. */
static size_t drop_evicted(const struct iotlb *tlb, struct model *m, uint64_t just_inserted)
{
	size_t gone = 0;

	for (size_t i = m->count; i-- > 0;) {
		const struct model_entry *e = &m->entries[i];

		if (iotlb_find(tlb, e->tag, e->cls, e->first))
			continue;
		assert_int_not_equal(e->target, just_inserted);
		model_remove_at(m, i);
		gone++;
	}
	return gone;
}

static void insert_both(struct iotlb *tlb, struct model *m, uint32_t tag, unsigned int cls,
			uint64_t address, uint64_t target, uint8_t flags)
{
	struct model_entry *old = model_find(m, tag, cls, address);
	uint64_t size = BIT64(shifts[cls]);
	bool was_full = m->count == CAPACITY;

	iotlb_insert(tlb, tag, cls, address, target, flags);
	if (old) {
		old->target = target;
		old->flags = flags;
		return;
	}
	m->entries[m->count++] = (struct model_entry){
		address & -size, (address & -size) + (size - 1), target, tag, cls, flags,
	};
	assert_int_equal(drop_evicted(tlb, m, target), was_full);
}

static uint64_t random_address(uint64_t *seed)
{
	uint64_t r = test_random(seed);

	switch (r >> 60 & 3) {
	case 0:		/* many pages close together */
		return r & GENMASK64(17, 0);
	case 1:		/* neighbours of the same 2 MiB, 1 GiB, 512 GiB */
		return (r & 3) << 12 | (r >> 2 & 3) << 21 | (r >> 4 & 3) << 30 | (r >> 6 & 1) << 39;
	case 2:		/* the very end */
		return ~(r & GENMASK64(31, 0));
	default:
		return r;
	}
}

static uint32_t random_tag(uint64_t *seed)
{
	static const uint32_t tags[] = { 0, 1, 1024, 2048, 1025, 0x10000, UINT32_MAX };
	uint64_t r = test_random(seed);

	/* half of them so many that some share a list of tags, and some one of groups */
	return r & 1 ? tags[(r >> 1) % ARRAY_SIZE(tags)] : (uint32_t)((r >> 8 & 31) << 16 | (r >> 1 & 3));
}

static void random_flush(struct iotlb *tlb, struct model *m, uint64_t *seed)
{
	uint32_t tag = random_tag(seed);
	bool leaf = test_random(seed) % 2;
	uint64_t first = random_address(seed) & -PAGE_SIZE_4K, last;

	if (test_random(seed) % 8 == 0) {
		iotlb_flush_tag(tlb, tag);
		model_flush(m, tag, 0, UINT64_MAX, false);
		return;
	}
	/* from a page to everything, to both sides of the 64 pages where the method changes */
	last = first + (PAGE_SIZE_4K << (test_random(seed) % 52)) - 1 +
	       test_random(seed) % 3 * PAGE_SIZE_4K;
	if (last < first)
		last = UINT64_MAX;
	iotlb_flush_range(tlb, tag, first, last, leaf);
	model_flush(m, tag, first, last, leaf);
}

/* By whole tag or by part of one, some classes, some flags of the leaves. */
static void random_filter(struct iotlb *tlb, struct model *m, uint64_t *seed)
{
	static const uint32_t masks[] = { UINT32_MAX, UINT32_MAX, ~1024u, 0xffff0000, 0 };
	struct iotlb_filter f = {
		.tag = random_tag(seed),
		.tag_mask = masks[test_random(seed) % ARRAY_SIZE(masks)],
		.first = random_address(seed),
		.classes = (unsigned int)test_random(seed),
		.flags = (uint8_t)test_random(seed),
		.flags_mask = (uint8_t)(3 << test_random(seed) % 9),
	};

	f.last = f.first + (PAGE_SIZE_4K << (test_random(seed) % 52)) - 1;
	if (f.last < f.first)
		f.last = UINT64_MAX;
	iotlb_flush(tlb, &f);
	for (size_t i = m->count; i-- > 0;)
		if (filter_names(&f, &m->entries[i]))
			model_remove_at(m, i);
}

static void random_operations_agree_with_the_model(void **state)
{
	struct model m = { 0 };
	struct iotlb *tlb;
	uint64_t seed = 1;

	assert_int_equal(iotlb_create(CAPACITY, shifts, CLASSES, LEAVES, &tlb), 0);
	for (uint64_t step = 1; step < 60000; step++) {
		uint64_t kind = test_random(&seed) % 16, address = random_address(&seed);
		unsigned int cls = test_random(&seed) % CLASSES;
		uint32_t tag = random_tag(&seed);

		if (kind < 10) {
			insert_both(tlb, &m, tag, cls, address, step, (uint8_t)step);
		} else if (kind < 13) {
			const struct iotlb_entry *e = iotlb_find(tlb, tag, cls, address);
			const struct model_entry *want = model_find(&m, tag, cls, address);

			assert_int_equal(e != NULL, want != NULL);
			assert_true(!want || same(e, want));
		} else if (kind < 14) {
			random_filter(tlb, &m, &seed);
		} else if (kind < 15 || step % 512) {
			random_flush(tlb, &m, &seed);
		} else {
			iotlb_flush_all(tlb);
			m.count = 0;
		}
		check(tlb, &m);
	}
	iotlb_destroy(tlb);
}

/* Every size of range from one page to 2^64 at every alignment that matters, full cache. */
static void ranges_of_every_size(void **state)
{
	static const uint64_t edges[] = {
		0, 0x1000, 0x1ff000, 0x200000, 0x3fffe000, 0x40000000, 0x7fffff000,
		0x7ffffff000, 0x8000000000, 0xffff800000000000, UINT64_MAX - 0x3fffffff,
		UINT64_MAX - 0xfff,
	};
	struct iotlb *tlb;

	assert_int_equal(iotlb_create(CAPACITY, shifts, CLASSES, LEAVES, &tlb), 0);
	for (size_t i = 0; i < ARRAY_SIZE(edges); i++) {
		for (unsigned int lg2 = 12; lg2 <= 64; lg2++) {
			for (int leaf = 0; leaf < 2; leaf++) {
				struct model m = { 0 };
				uint64_t last = edges[i] + (lg2 < 64 ? BIT64(lg2) : 0) - 1;

				if (last < edges[i])
					last = UINT64_MAX;
				for (unsigned int n = 0; n < 36; n++)
					insert_both(tlb, &m, 5, n / 2 % CLASSES,
						    edges[n % ARRAY_SIZE(edges)] +
							    ((uint64_t)(n / 12) << 21),
						    n + 1, 0);
				insert_both(tlb, &m, 5 + 1024, 0, edges[i], 99, 0);
				iotlb_flush_range(tlb, 5, edges[i], last, leaf);
				model_flush(&m, 5, edges[i], last, leaf);
				check(tlb, &m);
				assert_non_null(iotlb_find(tlb, 5 + 1024, 0, edges[i]));
				iotlb_flush_all(tlb);
			}
		}
	}
	iotlb_destroy(tlb);
}

static void a_full_cache_forgets_the_oldest_first(void **state)
{
	enum { MANY = 100 };
	struct iotlb *tlb;

	assert_int_equal(iotlb_create(CAPACITY, shifts, CLASSES, LEAVES, &tlb), 0);
	for (uint64_t n = 0; n < MANY; n++) {
		iotlb_insert(tlb, 1, 0, n << 12, n, 0);
		assert_int_equal(iotlb_count(tlb), MIN(n + 1, (uint64_t)CAPACITY));
		for (uint64_t old = 0; old <= n; old++)
			assert_int_equal(iotlb_find(tlb, 1, 0, old << 12) != NULL,
					 old + CAPACITY > n);
	}
	iotlb_destroy(tlb);
}

/* Few entries are taken out one by one, of many the tables are cleared. */
static void emptied_whole_it_is_as_new(void **state)
{
	struct iotlb *tlb;

	assert_int_equal(iotlb_create(CAPACITY, shifts, CLASSES, LEAVES, &tlb), 0);
	for (uint32_t many = 1; many <= CAPACITY; many++) {
		struct model m = { 0 };
		struct iotlb_filter f = { .tag_mask = IOTLB_GROUP_MASK, .last = UINT64_MAX, .classes = UINT32_MAX };

		for (uint32_t n = 0; n < many; n++)
			iotlb_insert(tlb, n << 16, n % CLASSES, (uint64_t)n << 39, 1, 0);
		iotlb_flush_all(tlb);
		check(tlb, &m);
		for (uint32_t n = 0; n < many; n++) {
			insert_both(tlb, &m, n << 16 | 1, n % CLASSES, (uint64_t)n << 39, n, 0);
			insert_both(tlb, &m, n << 16, n % CLASSES, (uint64_t)n << 39, 100 + n, 0);
		}
		for (uint32_t n = 0; n < many; n++) {
			f.tag = n << 16;
			if (n % 2)
				iotlb_flush_tag(tlb, n << 16);
			else
				iotlb_flush(tlb, &f);
			for (size_t i = m.count; i-- > 0;)
				if (n % 2 ? m.entries[i].tag == f.tag : !((m.entries[i].tag ^ f.tag) >> 16))
					model_remove_at(&m, i);
			check(tlb, &m);
		}
		iotlb_flush_all(tlb);
	}
	iotlb_destroy(tlb);
}

static void one_entry_is_a_cache_too(void **state)
{
	struct iotlb *tlb;

	assert_int_equal(iotlb_create(1, shifts, CLASSES, LEAVES, &tlb), 0);
	for (uint64_t n = 0; n < 100; n++) {
		iotlb_insert(tlb, (uint32_t)n, n % CLASSES, n << 39, n, 1);
		assert_int_equal(iotlb_count(tlb), 1);
		assert_int_equal(iotlb_find(tlb, (uint32_t)n, n % CLASSES, n << 39)->target, n);
	}
	iotlb_flush_range(tlb, 99, 99ULL << 39, 99ULL << 39, true);
	assert_int_equal(iotlb_count(tlb), 1);	/* class 3: a table */
	iotlb_flush_range(tlb, 99, 99ULL << 39, 99ULL << 39, false);
	assert_int_equal(iotlb_count(tlb), 0);
	iotlb_destroy(tlb);
}

/* A cache of one entry has two buckets: half of all other keys share the one in use. */
static void neighbours_in_a_bucket_are_told_apart(void **state)
{
	struct iotlb *tlb;

	assert_int_equal(iotlb_create(1, shifts, CLASSES, LEAVES, &tlb), 0);
	for (uint32_t tag = 0; tag < 100; tag++) {
		unsigned int cls = tag % CLASSES;

		iotlb_insert(tlb, tag, cls, 5ULL << 39, tag, 0);
		assert_non_null(iotlb_find(tlb, tag, cls, 5ULL << 39));
		for (uint32_t n = 0; n < 100; n++) {
			assert_int_equal(iotlb_find(tlb, n, cls, 5ULL << 39) != NULL, n == tag);
			assert_int_equal(iotlb_find(tlb, tag, cls, (uint64_t)n << 39) != NULL,
					 n == 5);
			iotlb_flush_range(tlb, tag, (6ULL + n) << 39, (6ULL + n) << 39, false);
		}
		/* of one size, but one is a leaf and the other a table */
		iotlb_insert(tlb, tag, 1, 0x200000, 1, 0);
		assert_null(iotlb_find(tlb, tag, 3, 0x200000));
		iotlb_insert(tlb, tag, 3, 0x200000, 3, 0);
		assert_null(iotlb_find(tlb, tag, 1, 0x200000));
		assert_int_equal(iotlb_find(tlb, tag, 3, 0x200000)->target, 3);
	}
	iotlb_destroy(tlb);
}

/* What a free entry was once is not taken for the entry that has that name now. */
static void free_entries_name_nothing(void **state)
{
	struct iotlb_filter f = { .tag_mask = 0, .last = UINT64_MAX, .classes = 1, .flags = 1,
				  .flags_mask = 3 };
	struct iotlb *tlb;

	assert_int_equal(iotlb_create(CAPACITY, shifts, CLASSES, LEAVES, &tlb), 0);
	iotlb_insert(tlb, 7, 0, 0x1000, 1, 1);
	iotlb_insert(tlb, 8, 0, 0x1000, 2, 1);
	iotlb_flush_tag(tlb, 7);
	iotlb_flush_tag(tlb, 8);
	iotlb_insert(tlb, 7, 0, 0x1000, 3, 2);	/* where tag 8 was */
	iotlb_flush(tlb, &f);
	assert_non_null(iotlb_find(tlb, 7, 0, 0x1000));
	f.flags = 2;
	iotlb_flush(tlb, &f);
	assert_int_equal(iotlb_count(tlb), 0);
	iotlb_destroy(tlb);
}

static void bad_parameters_and_refused_memory(void **state)
{
	static const uint8_t bad_low[] = { 12, 0 }, bad_high[] = { 64 };
	struct iotlb *tlb = NULL;
	unsigned int n;

	iotlb_destroy(NULL);
	assert_int_equal(iotlb_create(0, shifts, CLASSES, LEAVES, &tlb), -EINVAL);
	assert_int_equal(iotlb_create((1 << 24) + 1, shifts, CLASSES, LEAVES, &tlb), -EINVAL);
	assert_int_equal(iotlb_create(1, shifts, 0, LEAVES, &tlb), -EINVAL);
	assert_int_equal(iotlb_create(1, shifts, IOTLB_MAX_CLASSES + 1, LEAVES, &tlb), -EINVAL);
	assert_int_equal(iotlb_create(1, bad_low, 2, 1, &tlb), -EINVAL);
	assert_int_equal(iotlb_create(1, bad_high, 1, 1, &tlb), -EINVAL);
	for (n = 1;; n++) {
		alloc_fail_nth(n);
		if (!iotlb_create(CAPACITY, shifts, CLASSES, LEAVES, &tlb))
			break;
		assert_null(tlb);
	}
	assert_int_equal(n, 7);		/* six allocations */
	alloc_fail_nth(0);
	iotlb_destroy(tlb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_agree_with_the_model),
		cmocka_unit_test(ranges_of_every_size),
		cmocka_unit_test(a_full_cache_forgets_the_oldest_first),
		cmocka_unit_test(emptied_whole_it_is_as_new),
		cmocka_unit_test(one_entry_is_a_cache_too),
		cmocka_unit_test(neighbours_in_a_bucket_are_told_apart),
		cmocka_unit_test(free_entries_name_nothing),
		cmocka_unit_test(bad_parameters_and_refused_memory),
	};

	return cmocka_run_group_tests_name("iotlb", tests, NULL, NULL);
}
