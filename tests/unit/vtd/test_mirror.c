// SPDX-License-Identifier: BSD-3-Clause
/*
 * Notifiers with map(): the copy of a table that they are told of is, page by page, what
 * nst_viommu_translate() says, after any change and its invalidation; and a table without end
 * costs a bounded piece at a time.
 */
#include "translate_world.h"

#include <poll.h>

enum { COPY_PAGES = 4096 };

/* A copy of [BASE, + COPY_PAGES pages]; what is told must be in order and without gaps. */
struct copy {
	struct world *w;
	struct nst_notifier *notifier;
	uint64_t base;
	struct {
		uint64_t gpa;
		bool there, read, write;
	} pages[COPY_PAGES];
	uint64_t maps, unmaps, next;
	int refuse;
	uint32_t status;
};

static void tell(struct copy *c, uint64_t first, uint64_t last, const struct nst_mapping *mapping)
{
	assert_true(first <= last && first >= c->base);
	assert_true(last < c->base + COPY_PAGES * 4096ULL);
	assert_int_equal((first | (last + 1)) & 0xfff, 0);
	c->next = last + 1;
	c->status = (uint32_t)*at(c->w, STATUS);
	for (uint64_t i = (first - c->base) >> 12; i <= (last - c->base) >> 12; i++) {
		c->pages[i].there = mapping;
		if (!mapping)
			continue;
		c->pages[i].gpa = mapping->gpa.v + (c->base + (i << 12) - first);
		c->pages[i].read = mapping->read;
		c->pages[i].write = mapping->write;
	}
}

static int map(void *opaque, const struct nst_mapping *mapping)
{
	struct copy *c = opaque;

	c->maps++;
	if (c->refuse)
		return c->refuse;
	tell(c, mapping->first.v, mapping->last.v, mapping);
	return 0;
}

static void unmap(void *opaque, nst_iova first, nst_iova last)
{
	struct copy *c = opaque;

	c->unmaps++;
	tell(c, first.v, last.v, NULL);
}

static bool has_work(struct world *w)
{
	struct pollfd fd = { .fd = nst_viommu_fd(w->viommu), .events = POLLIN };

	return poll(&fd, 1, 0) > 0;
}

static void finish(struct world *w)
{
	while (has_work(w))
		nst_viommu_process(w->viommu);
}

static struct copy *make_copy(struct world *w, uint64_t base)
{
	struct copy *c = calloc(1, sizeof(*c));
	const struct nst_notifier_config config = {
		.rid = RID, .pasid = NO, .first = { base },
		.last = { base + COPY_PAGES * 4096ULL - 1 }, .map = map, .unmap = unmap, .opaque = c,
	};

	c->w = w;
	c->base = base;
	assert_int_equal(nst_viommu_notify(w->viommu, &config, &c->notifier), 0);
	finish(w);
	return c;
}

static void free_copy(struct copy *c)
{
	nst_notifier_remove(c->notifier);
	free(c);
}

/* The oracle asks for each page; its faults are of no interest. */
static void compare(struct world *w, const struct copy *c)
{
	for (uint64_t i = 0; i < COPY_PAGES; i++) {
		struct nst_translation rd = { 0 }, wr = { 0 };
		bool read = !translate(w, NO, c->base + (i << 12), false, &rd);
		bool write = !translate(w, NO, c->base + (i << 12), true, &wr);

		if (wr.interrupt)
			write = false;
		if (c->pages[i].there != (read || write))
			fail_msg("page %llu: %d, not %d", (unsigned long long)i, c->pages[i].there,
				 read || write);
		if (!c->pages[i].there)
			continue;
		assert_int_equal(c->pages[i].read, read);
		assert_int_equal(c->pages[i].write, write);
		assert_int_equal(c->pages[i].gpa, read ? rd.gpa.v : wr.gpa.v);
	}
}

static unsigned int random_below(unsigned int *seed, unsigned int n)
{
	*seed = *seed * 1103515245 + 12345;
	return (*seed >> 16) % n;
}

/* One change somewhere in the copy's range: pages of all sizes, rights, wrong bits, holes. */
static uint64_t change(struct world *w, struct copy *c, uint64_t root, unsigned int kind,
		       unsigned int *seed)
{
	uint64_t bits = kind == 2 ? 3 : 7;
	uint64_t iova = c->base + 4096ULL * random_below(seed, COPY_PAGES);
	uint64_t gpa = DATA + 4096ULL * random_below(seed, 512);
	unsigned int what = random_below(seed, 10);
	uint64_t *above = pte(w, root, iova, 4, 2, bits);

	if (what == 0) { /* a large page, or none: tables below it are lost */
		*above = random_below(seed, 2) ? 0x80 | bits | 0x200000 : 0;
		return iova & ~0x1fffffULL;
	}
	if (*above & 0x80)
		*above = 0;
	for (unsigned int n = 1 + random_below(seed, 40); n; n--, iova += 4096, gpa += 4096) {
		uint64_t *leaf;

		if (iova >= c->base + COPY_PAGES * 4096ULL || (*pte(w, root, iova, 4, 2, bits) & 0x80))
			break;
		leaf = pte(w, root, iova, 4, 1, bits);
		*leaf = what == 1 ? 0 : what == 2 ? gpa | 1 : what == 3 ? gpa | 1ULL << 50 | bits
								       : gpa | bits;
		if (what == 4)
			*leaf = gpa | (kind == 2 ? 2 : 3); /* write-only; supervisor's */
	}
	return 0;
}

static void check_random_tables(unsigned int kind, uint64_t base)
{
	struct world *w = create(ALL);
	uint64_t root = page(w), identity = page(w);
	unsigned int seed = 7 + kind;
	struct copy *c;

	context(w);
	for (uint64_t gpa = 0; gpa < MEMORY; gpa += 1 << 21)
		*pte(w, identity, gpa, 4, 2, 3) = gpa | 0x83;
	set_entry(w, 0, kind, 1, root, kind == 2 ? root : identity);
	enable(w, 1);
	c = make_copy(w, base);
	for (unsigned int i = 0; i < 100 && w->next < DATA - (64 << 12); i++) {
		uint64_t iova = change(w, c, root, kind, &seed);

		invalidate(w, iova || i % 3 ? 2 | 2 << 4 | 1 << 16 : 2 | 1 << 4, 0);
		if (i % 10 == 9)
			compare(w, c);
	}
	assert_true(c->maps > 100 && c->unmaps > 100);
	set_entry(w, 0, 4, 1, 0, 0); /* pass-through, and nothing at all */
	invalidate(w, 7 | 1 << 4 | 1 << 16, 0);
	compare(w, c);
	assert_true(c->pages[0].there);
	pasid_entry(w, 0)[0] = 0;
	invalidate(w, 7 | 1 << 4 | 1 << 16, 0);
	compare(w, c);
	assert_false(c->pages[0].there);
	free_copy(c);
	destroy(w);
}

static void copies_are_what_translations_say(void **state)
{
	for (unsigned int kind = 1; kind <= 3; kind++)
		check_random_tables(kind, 0x40000000);
	check_random_tables(1, 0xfe000000); /* interrupts are in there */
}

/* One page of a first stage: its own invalidation tells it alone, before the completion. */
static void only_what_is_named_is_told(void **state)
{
	struct world *w = create(ALL);
	uint64_t root = first_stage(w), *leaf = fs_pte(w, root, 0x40001000);
	struct copy *c;

	enable(w, 1);
	c = make_copy(w, 0x40000000);
	assert_int_equal(c->maps, 0);
	c->unmaps = 0;
	*leaf = DATA | 7;
	invalidate(w, 6 | 3 << 4 | 1 << 16, 0x40001000);
	assert_int_equal(c->maps, 1);
	assert_int_equal(c->unmaps, 0);
	assert_int_not_equal(c->status, w->waits);
	assert_int_equal(c->pages[1].gpa, DATA);
	assert_int_equal(*leaf & 0xfff, 0x67); /* A and D */
	*leaf = 0;
	invalidate(w, 6 | 3 << 4 | 1 << 16, 0x40001000);
	assert_int_equal(c->unmaps, 1);
	assert_false(c->pages[1].there);
	invalidate(w, 6 | 3 << 4 | 2 << 16, 0x40001000); /* another domain */
	assert_int_equal(c->maps + c->unmaps, 2);
	nst_notifier_replay(c->notifier);
	assert_int_equal(c->maps + c->unmaps, 2);
	finish(w);
	assert_int_equal(c->unmaps, 2);
	c->refuse = -ENOSPC; /* whoever refuses hears no more of it */
	*leaf = DATA | 7;
	*fs_pte(w, root, 0x40005000) = DATA | 7;
	invalidate(w, 6 | 2 << 4 | 1 << 16, 0);
	assert_int_equal(c->maps, 2);
	assert_int_equal(c->unmaps, 3);
	c->refuse = 0;
	invalidate(w, 6 | 2 << 4 | 1 << 16, 0);
	compare(w, c);
	free_copy(c);
	destroy(w);
}

static void commands_and_restore(void **state)
{
	struct world *w = create(ALL);
	uint64_t root = first_stage(w);
	struct copy *c = make_copy(w, 0x40000000);
	void *saved;
	size_t size;

	*fs_pte(w, root, 0x40003000) = DATA | 7;
	assert_int_equal(c->pages[5].gpa, 0x40005000); /* translation is off */
	enable(w, 1);
	compare(w, c);
	assert_false(c->pages[5].there);
	assert_int_equal(nst_viommu_save(w->viommu, &saved, &size), 0);
	nst_viommu_reset(w->viommu);
	compare(w, c);
	assert_true(c->pages[5].there);
	assert_int_equal(nst_viommu_restore(w->viommu, saved, size), 0);
	for (size_t i = 0; i < COPY_PAGES; i++)
		assert_false(c->pages[i].there);
	finish(w);
	compare(w, c);
	assert_true(c->pages[3].there);
	set(w, 0x18, 4, 1u << 26);
	compare(w, c);
	assert_true(c->pages[5].there);
	free(saved);
	free_copy(c);
	destroy(w);
}

static int count_map(void *opaque, const struct nst_mapping *mapping)
{
	++*(uint64_t *)opaque;
	return 0;
}

static void count_unmap(void *opaque, nst_iova first, nst_iova last)
{
	++*(uint64_t *)opaque;
}

/*
 * 2^36 pages in a table whose every entry is the table; or as many places where nothing is, so
 * that there is one long thing to tell.
 */
static void check_table_without_end(bool empty)
{
	struct world *w = create(ALL);
	uint64_t root = page(w), calls = 0, pieces = 0, before;
	const struct nst_notifier_config config = {
		.rid = RID, .pasid = NO, .last = { UINT64_MAX }, .map = count_map,
		.unmap = count_unmap, .opaque = &calls,
	};
	struct nst_notifier *n;

	context(w);
	set_entry(w, 0, 1, 1, root, 0);
	enable(w, 1);
	for (uint64_t table = root; table < root + 3 * 4096; table += 4096)
		for (unsigned int i = 0; i < 512; i++)
			at(w, table)[i] = (empty ? table + 4096 : root) | 7;
	w->next = root + 4 * 4096;
	assert_int_equal(nst_viommu_notify(w->viommu, &config, &n), 0);
	for (; pieces < 20; pieces++) {
		before = calls;
		assert_true(has_work(w));
		nst_viommu_process(w->viommu);
		assert_true(calls > before && calls - before <= 65536);
	}
	/* the guest's commands wait, and no register write takes longer */
	post(w, 5 | 1 << 5 | 1ULL << 32, STATUS);
	before = calls;
	set(w, 0x88, 8, w->tail);
	assert_true(calls - before <= 65536);
	assert_int_equal((uint32_t)*at(w, STATUS), 0);
	assert_int_equal(reg(w, 0x80, 8), 0);
	nst_viommu_reset(w->viommu); /* comes to its end */
	assert_true(calls - before <= 65536 + 8);
	nst_notifier_remove(n);
	finish(w);
	destroy(w);
}

static void tables_without_end(void **state)
{
	check_table_without_end(false);
	check_table_without_end(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies_are_what_translations_say),
		cmocka_unit_test(only_what_is_named_is_told),
		cmocka_unit_test(commands_and_restore),
		cmocka_unit_test(tables_without_end),
	};

	return cmocka_run_group_tests_name("vtd mirror", tests, NULL, NULL);
}
