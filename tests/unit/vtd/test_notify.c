// SPDX-License-Identifier: BSD-3-Clause
/*
 * nst_viommu_notify(): who is told of which invalidation, of what, and when; and a cache
 * of a vhost-style user that never holds what was invalidated, with threads.
 */
#include "translate_world.h"

#include "base/alloc.h"

#include <pthread.h>
#include <stdatomic.h>

/* Somebody who is told, and what of last. */
struct listener {
	struct world *w;
	struct nst_notifier *notifier;
	unsigned int calls;
	struct nst_invalidation last;
	uint32_t status; /* what the guest's wait had written when the call came */
};

static void take(void *opaque, const struct nst_invalidation *invalidation)
{
	struct listener *l = opaque;

	l->calls++;
	l->last = *invalidation;
	l->status = (uint32_t)*at(l->w, STATUS);
}

static void listen_at(struct world *w, struct listener *l, uint32_t pasid, uint64_t first,
		      uint64_t last)
{
	const struct nst_notifier_config config = {
		.rid = RID, .pasid = pasid, .first = { first }, .last = { last },
		.invalidate = take, .opaque = l,
	};

	*l = (struct listener){ .w = w };
	assert_int_equal(nst_viommu_notify(w->viommu, &config, &l->notifier), 0);
}

static void expect(struct listener *l, enum nst_change what, uint64_t first, uint64_t last)
{
	assert_int_equal(l->calls, 1);
	assert_int_equal(l->last.what, what);
	assert_int_equal(l->last.first.v, first);
	assert_int_equal(l->last.last.v, last);
	assert_int_not_equal(l->status, l->w->waits); /* before the completion */
	l->calls = 0;
}

#define QUIET(l) assert_int_equal((l)->calls, 0)
#define PIOTLB(did, pasid) (6 | 2 << 4 | (did) << 16 | (uint64_t)(pasid) << 32)
#define PIOTLB_PAGES(did, pasid) (6 | 3 << 4 | (did) << 16 | (uint64_t)(pasid) << 32)

static void first_stage_invalidations(void **state)
{
	struct world *w = create(ALL);
	struct listener l, other;

	first_stage(w);
	enable(w, 1);
	listen_at(w, &l, NO, 0, UINT64_MAX);
	listen_at(w, &other, 7, 0, UINT64_MAX);
	invalidate(w, 2 | 1 << 4, 0); /* nothing was asked for yet */
	invalidate(w, PIOTLB(1, 0), 0);
	QUIET(&l);
	goes_to(w, NO, IOVA, true);
	invalidate(w, PIOTLB_PAGES(1, 0), IOVA | 1);
	expect(&l, NST_CHANGE_PAGES, IOVA & ~0x1fffULL, IOVA | 0x1fff);
	invalidate(w, PIOTLB(1, 0), 0);
	expect(&l, NST_CHANGE_ADDRESS_SPACE, 0, UINT64_MAX);
	invalidate(w, 2 | 3 << 4 | 1 << 16, IOVA); /* a second stage's address */
	expect(&l, NST_CHANGE_ADDRESS_SPACE, 0, UINT64_MAX);
	invalidate(w, 2 | 2 << 4 | 1 << 16, 0);
	expect(&l, NST_CHANGE_ADDRESS_SPACE, 0, UINT64_MAX);
	invalidate(w, 2 | 1 << 4, 0);
	expect(&l, NST_CHANGE_ADDRESS_SPACE, 0, UINT64_MAX);
	invalidate(w, PIOTLB(2, 0), 0); /* others' */
	invalidate(w, PIOTLB(1, 1), 0);
	invalidate(w, 2 | 2 << 4 | 2 << 16, 0);
	invalidate(w, 7 | 2 << 16, 0);
	invalidate(w, 1 | 3 << 4 | (uint64_t)(RID + 1) << 32, 0);
	QUIET(&l);
	QUIET(&other);
	invalidate(w, 7 | 1 << 16, 0);
	expect(&l, NST_CHANGE_TABLES, 0, UINT64_MAX);
	QUIET(&other);
	invalidate(w, PIOTLB(1, 0), 0); /* forgotten already */
	QUIET(&l);
	nst_notifier_remove(l.notifier);
	nst_notifier_remove(other.notifier);
	nst_notifier_remove(NULL);
	destroy(w);
}

/* What is in the caches from before somebody listened counts as given out when it is given out again. */
static void cached_before(void **state)
{
	struct world *w = create(ALL);
	struct listener l;

	first_stage(w);
	enable(w, 1);
	goes_to(w, NO, IOVA, true);
	listen_at(w, &l, NO, 0, UINT64_MAX);
	goes_to(w, NO, IOVA, true);
	invalidate(w, PIOTLB_PAGES(1, 0), IOVA);
	expect(&l, NST_CHANGE_PAGES, IOVA, IOVA + 0xfff);
	nst_notifier_remove(l.notifier);
	destroy(w);
}

/* Descriptors that come together are heard of one by one. */
static void each_of_many(void **state)
{
	struct world *w = create(ALL);
	struct listener l;

	first_stage(w);
	enable(w, 1);
	listen_at(w, &l, NO, 0, UINT64_MAX);
	goes_to(w, NO, IOVA, true);
	post(w, PIOTLB_PAGES(1, 0), IOVA);
	post(w, PIOTLB_PAGES(1, 0), IOVA + 0x1000);
	invalidate(w, PIOTLB_PAGES(2, 0), IOVA + 0x2000); /* another's */
	assert_int_equal(l.calls, 2);
	l.calls = 1;
	expect(&l, NST_CHANGE_PAGES, IOVA + 0x1000, IOVA + 0x1fff);
	nst_notifier_remove(l.notifier);
	destroy(w);
}

static void second_stage_invalidations(void **state)
{
	struct world *w = create(ALL);
	uint64_t ss = page(w);
	struct listener l;

	context(w);
	set_entry(w, 0, 2, 1, 0, ss);
	*ss_pte(w, ss, IOVA) = DATA | 3;
	enable(w, 1);
	listen_at(w, &l, NST_EVERY_PASID, IOVA, IOVA + 0x1fff);
	goes_to(w, NO, IOVA, true);
	invalidate(w, PIOTLB(1, 0), 0);
	invalidate(w, 2 | 3 << 4 | 1 << 16, IOVA + 0x2000);
	QUIET(&l);
	invalidate(w, 2 | 3 << 4 | 1 << 16, IOVA + 0x1000);
	expect(&l, NST_CHANGE_PAGES, IOVA + 0x1000, IOVA + 0x1fff);
	invalidate(w, 2 | 3 << 4 | 1 << 16, 18); /* 1 GiB at 0 */
	QUIET(&l);
	invalidate(w, 2 | 3 << 4 | 1 << 16, IOVA | 18);
	expect(&l, NST_CHANGE_PAGES, IOVA, IOVA + 0x1fff); /* no more than was wanted */
	invalidate(w, 7 | 1 << 4 | 1 << 16 | 5ULL << 32, 0);
	expect(&l, NST_CHANGE_TABLES, IOVA, IOVA + 0x1fff);
	nst_notifier_remove(l.notifier);
	destroy(w);
}

/* All that is cached of entries is that of others now. */
static void evict(struct world *w)
{
	for (uint32_t n = 0; n < 128 * 64; n++) {
		struct nst_translate_request req = {
			.rid = (nst_rid)(n >> 6), .pasid = n & 63 ? n & 63 : NO, .iova = { DATA },
		};
		struct nst_translation out;

		if (req.rid != RID || req.pasid != NO)
			(void)!nst_viommu_translate(w->viommu, &req, &out);
	}
}

/* What was given out by the old entry is invalidated by the old domain, also if the new one has
 * been used since, without an invalidation of the entry. */
static void an_entry_that_changed_its_domain(void **state)
{
	struct world *w = create(ALL);
	uint64_t root = first_stage(w);
	struct listener l;

	for (uint32_t devfn = 0; devfn < 128; devfn++)
		at(w, CONTEXT + devfn * 32)[0] = DIR | 1 | 1 << 3;
	for (uint32_t pasid = 1; pasid < 64; pasid++)
		set_entry(w, pasid, 4, 9, 0, 0);
	enable(w, 1);
	listen_at(w, &l, NO, 0, UINT64_MAX);
	goes_to(w, NO, IOVA, true);
	set_entry(w, 0, 1, 2, root, 0);
	evict(w);
	goes_to(w, NO, IOVA, true);
	QUIET(&l);
	invalidate(w, PIOTLB(1, 0), 0);
	expect(&l, NST_CHANGE_ADDRESS_SPACE, 0, UINT64_MAX);
	invalidate(w, PIOTLB(2, 0), 0);
	expect(&l, NST_CHANGE_ADDRESS_SPACE, 0, UINT64_MAX);
	nst_notifier_remove(l.notifier);
	destroy(w);
}

/* Whatever is no descriptor of a domain: everything changed. */
static void commands(void **state)
{
	struct world *w = create(ALL);
	struct listener l;
	void *saved;
	size_t size;

	first_stage(w);
	listen_at(w, &l, NO, 0, UINT64_MAX);
	enable(w, 1);
	assert_true(l.calls >= 2);
	for (unsigned int n = 0; n < 8; n++) {
		goes_to(w, NO, IOVA, true);
		l.calls = 0;
		if (n == 0)
			srtp(w, ROOT | 1 << 10);
		else if (n == 1)
			set(w, 0x28, 8, 1ULL << 63 | 1ULL << 61);
		else if (n == 2)
			set(w, 0xf08, 8, 1ULL << 63 | 1ULL << 60);
		else if (n == 3)
			set(w, 0x18, 4, 1u << 26);
		else if (n == 4)
			set(w, 0x18, 4, 1u << 26 | 1u << 30 | 1u << 31);
		else if (n == 5)
			invalidate(w, 1 | 1 << 4, 0);
		else if (n == 6)
			invalidate(w, 7 | 3 << 4, 0);
		else
			nst_viommu_reset(w->viommu);
		if (n == 3)
			set(w, 0x18, 4, 1u << 26 | 1u << 31);
		assert_true(l.calls);
		assert_int_equal(l.last.what, NST_CHANGE_TABLES);
		assert_int_equal(l.last.last.v, UINT64_MAX);
	}
	assert_int_equal(nst_viommu_save(w->viommu, &saved, &size), 0);
	l.calls = 0;
	assert_int_equal(nst_viommu_restore(w->viommu, saved, size), 0);
	assert_true(l.calls);
	free(saved);
	nst_notifier_remove(l.notifier);
	destroy(w);
}

static int no_map(void *opaque, const struct nst_mapping *mapping)
{
	return 0;
}

static void no_unmap(void *opaque, nst_iova first, nst_iova last)
{
}

static void bad_configurations(void **state)
{
	struct world *w = create(0);
	const struct nst_notifier_config good = { .rid = RID, .pasid = NO, .last = { 4095 } };
	struct nst_notifier_config config = good;
	struct nst_notifier *n;

	config.first.v = 4096;
	assert_int_equal(nst_viommu_notify(w->viommu, &config, &n), -EINVAL);
	config = good, config.pasid = 1 << 20;
	assert_int_equal(nst_viommu_notify(w->viommu, &config, &n), -EINVAL);
	config = good, config.map = no_map;
	assert_int_equal(nst_viommu_notify(w->viommu, &config, &n), -EINVAL);
	config = good, config.unmap = no_unmap;
	assert_int_equal(nst_viommu_notify(w->viommu, &config, &n), -EINVAL);
	config.map = no_map, config.pasid = NST_EVERY_PASID;
	assert_int_equal(nst_viommu_notify(w->viommu, &config, &n), -EINVAL);
	alloc_fail_nth(1);
	assert_int_equal(nst_viommu_notify(w->viommu, &good, &n), -ENOMEM);
	alloc_fail_nth(0);
	assert_int_equal(nst_viommu_notify(w->viommu, &good, &n), 0);
	nst_notifier_replay(n); /* nothing to tell */
	nst_viommu_process(w->viommu);
	nst_notifier_remove(n);
	destroy(w);
}

/* --- threads --------------------------------------------------------------------------------- */

/* A cache of one page, kept as nestor/viommu.h says. */
struct cache {
	struct world *w;
	pthread_mutex_t lock;
	unsigned int count;
	uint64_t gpa; /* 0: nothing */
	_Atomic uint64_t lowest; /* pages below it have been invalidated */
	atomic_bool stop;
	atomic_uint wrong;
};

static void forget(void *opaque, const struct nst_invalidation *invalidation)
{
	struct cache *c = opaque;

	pthread_mutex_lock(&c->lock);
	c->count++;
	c->gpa = 0;
	pthread_mutex_unlock(&c->lock);
}

static void *user(void *arg)
{
	struct cache *c = arg;

	while (!atomic_load(&c->stop)) {
		uint64_t lowest = atomic_load(&c->lowest), gpa;
		struct nst_translation out;
		unsigned int count;

		pthread_mutex_lock(&c->lock);
		gpa = c->gpa;
		count = c->count;
		pthread_mutex_unlock(&c->lock);
		if (gpa) {
			if (gpa < lowest)
				atomic_fetch_add(&c->wrong, 1);
			continue;
		}
		if (translate(c->w, NO, IOVA, true, &out))
			continue;
		pthread_mutex_lock(&c->lock);
		if (c->count == count)
			c->gpa = out.gpa.v;
		pthread_mutex_unlock(&c->lock);
	}
	return NULL;
}

static void *comer_and_goer(void *arg)
{
	struct cache *c = arg;

	while (!atomic_load(&c->stop)) {
		struct listener l;

		listen_at(c->w, &l, NO, 0, UINT64_MAX);
		nst_notifier_remove(l.notifier);
	}
	return NULL;
}

static void no_notification_is_lost(void **state)
{
	struct world *w = create(ALL);
	uint64_t root = first_stage(w), *leaf = fs_pte(w, root, IOVA);
	struct cache c = { .w = w, .lock = PTHREAD_MUTEX_INITIALIZER, .lowest = DATA };
	const struct nst_notifier_config config = {
		.rid = RID, .pasid = NO, .last = { UINT64_MAX }, .invalidate = forget, .opaque = &c,
	};
	struct nst_notifier *n;
	pthread_t threads[4];

	assert_int_equal(nst_viommu_notify(w->viommu, &config, &n), 0);
	enable(w, 1);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_create(&threads[i], NULL, i ? user : comer_and_goer, &c);
	for (uint64_t i = 1; i < 300; i++) {
		__atomic_store_n(leaf, (DATA + i * 0x1000) | 7, __ATOMIC_RELEASE);
		if (i % 7 == 0)
			invalidate(w, 7 | 3 << 4, 0); /* resets what notifiers know */
		invalidate(w, i % 2 ? PIOTLB(1, 0) : PIOTLB_PAGES(1, 0), i % 2 ? 0 : IOVA);
		atomic_store(&c.lowest, DATA + i * 0x1000);
	}
	atomic_store(&c.stop, true);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&c.wrong), 0);
	nst_notifier_remove(n);
	destroy(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_stage_invalidations),
		cmocka_unit_test(cached_before),
		cmocka_unit_test(each_of_many),
		cmocka_unit_test(second_stage_invalidations),
		cmocka_unit_test(an_entry_that_changed_its_domain),
		cmocka_unit_test(commands),
		cmocka_unit_test(bad_configurations),
		cmocka_unit_test(no_notification_is_lost),
	};

	return cmocka_run_group_tests_name("vtd notify", tests, NULL, NULL);
}
