// SPDX-License-Identifier: BSD-3-Clause
/*
 * The caches of nst_viommu_translate(): which descriptor empties which. That something
 * *is* cached is checked too, else the invalidations would pass without doing anything.
 * And translations on several threads against invalidations, and units without memory.
 */
#include "translate_world.h"

#include "base/alloc.h"
#include "spec/vtd_caps.h"
#include "vtd/unit.h"

#include <pthread.h>
#include <stdatomic.h>

/* --- caches ---------------------------------------------------------------------------------- */

static void hits_do_not_walk(void **state)
{
	struct world *w = create(0);

	first_stage(w);
	enable(w, 1);
	goes_to(w, NO, IOVA, true);
	for (unsigned int i = 0; i < 100; i++)
		goes_to(w, NO, IOVA + i, i & 1);
	assert_int_equal(walks(w), 1);
	destroy(w);
}

/* Which descriptor makes which change visible; @did 1, PASID 0x20003, page IOVA. */
static const struct {
	uint64_t qw0, qw1;
	bool entry, fs_page, ss_page; /* seen then */
} scopes[] = {
	{ 1 | 1 << 4, 0, true, false, false },				    /* context global */
	{ 1 | 2 << 4 | 1 << 16, 0, true, false, false },		    /* domain */
	{ 1 | 3 << 4 | (uint64_t)RID << 32, 0, true, false, false },	    /* device */
	{ 1 | 3 << 4 | (uint64_t)(RID ^ 7) << 32 | 3ULL << 48, 0, true, false, false },
	{ 1 | 3 << 4 | (uint64_t)(RID ^ 8) << 32 | 3ULL << 48, 0, false, false, false },
	{ 7 | 3 << 4, 0, true, false, false },				    /* PASID cache global */
	{ 7 | 1 << 16, 0, true, false, false },				    /* domain */
	{ 7 | 2 << 16, 0, false, false, false },
	{ 7 | 1 << 4 | 1 << 16 | 0x20003ULL << 32, 0, true, false, false }, /* PASID */
	{ 7 | 1 << 4 | 1 << 16 | 0x3ULL << 32, 0, false, false, false },
	{ 2 | 1 << 4, 0, false, true, true },				    /* IOTLB global */
	{ 2 | 2 << 4 | 1 << 16, 0, false, true, true },			    /* domain */
	{ 2 | 2 << 4 | 2 << 16, 0, false, false, false },
	{ 2 | 3 << 4 | 1 << 16, IOVA, false, true, true },		    /* page */
	{ 2 | 3 << 4 | 1 << 16, IOVA + 0x1000, false, true, false },
	{ 2 | 3 << 4 | 1 << 16, (IOVA & ~0x7fffULL) | 3, false, true, true },
	{ 6 | 2 << 4 | 1 << 16 | 0x20003ULL << 32, 0, false, true, false }, /* PASID IOTLB */
	{ 6 | 2 << 4 | 1 << 16 | 0x3ULL << 32, 0, false, false, false },
	{ 6 | 2 << 4 | 2 << 16 | 0x20003ULL << 32, 0, false, false, false },
	{ 6 | 3 << 4 | 1 << 16 | 0x20003ULL << 32, IOVA, false, true, false },
	{ 6 | 3 << 4 | 1 << 16 | 0x20003ULL << 32, IOVA + 0x1000, false, false, false },
	{ 6 | 3 << 4 | 1 << 16 | 0x20003ULL << 32, (IOVA & ~0x7fffULL) | 1 << 6 | 3, false, true,
	  false },
};

static void what_empties_what(void **state)
{
	const uint32_t pasid = 0x20003;

	for (size_t i = 0; i < ARRAY_SIZE(scopes); i++) {
		for (unsigned int second = 0; second < 2; second++) {
			struct world *w = create(ALL);
			uint64_t a = page(w), b = page(w), seen;
			uint64_t *(*leaf)(struct world *, uint64_t, uint64_t) =
				second ? ss_pte : fs_pte;

			context(w);
			at(w, CONTEXT + RID * 32)[0] |= 7 << 9; /* a directory for all PASIDs */
			*at(w, DIR + (pasid >> 6) * 8) = PASIDS | 1;
			set_entry(w, 3, second ? 2 : 1, 1, second ? 0 : a, second ? a : 0);
			*leaf(w, a, IOVA) = DATA | 7;
			*leaf(w, b, IOVA) = (DATA + 0x1000) | 7;
			enable(w, 1);
			assert_int_equal(goes_to(w, pasid, IOVA, true), DATA);
			/* the leaf: seen when the IOTLB is emptied */
			*leaf(w, a, IOVA) = (DATA + 0x2000) | 7;
			assert_int_equal(goes_to(w, pasid, IOVA, true), DATA);
			invalidate(w, scopes[i].qw0, scopes[i].qw1);
			seen = goes_to(w, pasid, IOVA, true);
			assert_int_equal(seen, (second ? scopes[i].ss_page : scopes[i].fs_page)
						       ? DATA + 0x2000
						       : DATA);
			/* the entry: another root and domain, so that only it can matter */
			set_entry(w, 3, second ? 2 : 1, 9, second ? 0 : b, second ? b : 0);
			assert_int_equal(goes_to(w, pasid, IOVA, true), seen);
			invalidate(w, scopes[i].qw0, scopes[i].qw1);
			assert_int_equal(goes_to(w, pasid, IOVA, true),
					 scopes[i].entry				     ? DATA + 0x1000
					 : (second ? scopes[i].ss_page : scopes[i].fs_page) ? DATA + 0x2000
											     : seen);
			destroy(w);
		}
	}
}

static void registers_empty_everything(void **state)
{
	struct world *w = create(0);
	uint64_t root = first_stage(w);

	enable(w, 1);
	goes_to(w, NO, IOVA, true);
	*fs_pte(w, root, IOVA) = (DATA + 0x1000) | 7;
	set(w, 0xf08, 8, 1ULL << 63 | 1ULL << 60);
	assert_int_equal(goes_to(w, NO, IOVA, true), DATA + 0x1000);
	*fs_pte(w, root, IOVA) = (DATA + 0x2000) | 7;
	srtp(w, ROOT | 1 << 10);
	assert_int_equal(goes_to(w, NO, IOVA, true), DATA + 0x2000);
	set_entry(w, 0, 4, 1, 0, 0);
	set(w, 0x28, 8, 1ULL << 63 | 1ULL << 61);
	assert_int_equal(goes_to(w, NO, IOVA, true), IOVA);
	nst_viommu_reset(w->viommu);
	assert_int_equal(goes_to(w, NO, 0x5000, true), 0x5000);
	destroy(w);
}

/* PASIDs that differ in the lower or in the upper bits only do not share pages. */
static void pasids_are_told_apart(void **state)
{
	static const uint32_t pasids[] = { 0x00003, 0x10003, 0xf0003, 0x00004 };
	struct world *w = create(ALL);

	context(w);
	at(w, CONTEXT + RID * 32)[0] = DIR | 1 | 8 | 7 << 9;
	w->next = TABLES;
	for (size_t i = 0; i < ARRAY_SIZE(pasids); i++) {
		uint64_t root = page(w), table = page(w);

		if (pasids[i] != 4)
			*at(w, DIR + (pasids[i] >> 6) * 8) = table | 1;
		table = *at(w, DIR + (pasids[i] >> 6) * 8) & ~0xfffULL;
		at(w, table + (pasids[i] & 63) * 64)[0] = 1 | 1 << 6;
		at(w, table + (pasids[i] & 63) * 64)[1] = 1;
		at(w, table + (pasids[i] & 63) * 64)[2] = root;
		*fs_pte(w, root, IOVA) = (DATA + 0x1000 * i) | 7;
	}
	enable(w, 1);
	for (unsigned int round = 0; round < 2; round++)
		for (size_t i = 0; i < ARRAY_SIZE(pasids); i++)
			assert_int_equal(goes_to(w, pasids[i], IOVA, true), DATA + 0x1000 * i);
	assert_int_equal(walks(w), ARRAY_SIZE(pasids));
	destroy(w);
}

/* --- threads --------------------------------------------------------------------------------- */

struct race {
	struct world *w;
	uint64_t *leaf;
	atomic_int stop;
	atomic_uint wrong, done;
	_Atomic uint64_t lowest; /* pages below it have been invalidated */
};

static void *translator(void *arg)
{
	struct race *r = arg;

	while (!atomic_load(&r->stop)) {
		uint64_t lowest = atomic_load(&r->lowest);
		struct nst_translation out;

		if (translate(r->w, NO, IOVA, true, &out) || out.gpa.v < lowest)
			atomic_fetch_add(&r->wrong, 1);
		atomic_fetch_add(&r->done, 1);
	}
	return NULL;
}

/* What was invalidated before a translation began is never what it gives. */
static void invalidations_against_translations(void **state)
{
	struct world *w = create(0);
	uint64_t root = first_stage(w);
	struct race r = { .w = w, .leaf = fs_pte(w, root, IOVA), .lowest = DATA };
	pthread_t threads[3];

	enable(w, 1);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_create(&threads[i], NULL, translator, &r);
	for (uint64_t n = 1; n < 300; n++) {
		__atomic_store_n(r.leaf, (DATA + n * 0x1000) | 7, __ATOMIC_RELEASE);
		invalidate(w, 6 | 2 << 4 | 1 << 16, 0);
		atomic_store(&r.lowest, DATA + n * 0x1000);
	}
	atomic_store(&r.stop, 1);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&r.wrong), 0);
	destroy(w);
}

static int request(struct world *w, uint32_t pasid, uint64_t iova, bool privileged, bool translated)
{
	const struct nst_translate_request req = {
		.rid = RID, .pasid = pasid, .iova = { iova }, .privileged = privileged, .translated = translated,
	};
	struct nst_translation out;
	uint64_t low, high;
	int ret = nst_viommu_translate(w->viommu, &req, &out);

	if (ret)
		take_fault(w, &low, &high);
	return ret;
}

#define LARGE 0x40000000ULL

/* What the tables refuse is refused although another request's page is in the caches. */
static void a_hit_of_one_is_none_of_another(void **state)
{
	struct world *w = create(0);
	uint64_t root = first_stage(w);

	set_entry(w, 5, 1, 1, root, 0); /* no SRE */
	enable(w, 1);
	for (unsigned int n = 0; n < 2; n++) {
		uint32_t pasid = n ? 5 : NO;

		goes_to(w, pasid, IOVA, false);
		assert_int_equal(request(w, pasid, IOVA, false, false), 0);
		assert_int_equal(request(w, pasid, IOVA, false, true), -EFAULT);
		assert_int_equal(request(w, pasid, IOVA | 1ULL << 57, false, false), -EFAULT);
		assert_int_equal(request(w, pasid, IOVA | 1ULL << 63, false, false), -EFAULT);
		if (pasid != NO)
			assert_int_equal(request(w, pasid, IOVA, true, false), -EFAULT);
	}
	/* half of a large page is the interrupt range */
	*pte(w, root, LARGE, 4, 2, 7) = 0xfee00000 | 0x87;
	goes_to(w, 5, LARGE + 0x100000, false);
	assert_int_equal(request(w, 5, LARGE, false, false), -EFAULT);
	destroy(w);
}

/* An entry says of requests without PASID that they are privileged: RPRIV of the context entry. */
static void hits_of_privileged_requests(void **state)
{
	struct world *w = create(0);
	uint64_t root = first_stage(w), *leaf = fs_pte(w, root, IOVA);

	at(w, CONTEXT + RID * 32)[1] = 1 << 20;
	set_entry(w, 0, 1, 1, root | 1, 0); /* SRE */
	*leaf = (*leaf & ~4ULL) | 3; /* a supervisor's page */
	enable(w, 1);
	goes_to(w, NO, IOVA, true);
	destroy(w);
}

/* Two pages that lie in one place of the cache by turns, and lead to memory of their own. */
static void *alternator(void *arg)
{
	struct race *r = arg;

	for (uint64_t n = 0; !atomic_load(&r->stop); n++) {
		uint64_t iova = IOVA + (n & 1) * 0x1000;
		struct nst_translation out;

		if (translate(r->w, NO, iova, true, &out) || out.gpa.v != DATA + (n & 1) * 0x1000)
			atomic_fetch_add(&r->wrong, 1);
	}
	return NULL;
}

/* What a hit read while it changed is not what it gives. */
static void a_hit_is_of_one_page(void **state)
{
	struct world *w = create(0);
	uint64_t root = first_stage(w);
	struct race r = { .w = w };
	pthread_t threads[2];

	*fs_pte(w, root, IOVA) = DATA | 7;
	*fs_pte(w, root, IOVA + 0x1000) = (DATA + 0x1000) | 7;
	enable(w, 1);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_create(&threads[i], NULL, alternator, &r);
	for (uint64_t n = 1; n < 200000; n++)
		invalidate(w, 6 | 3 << 4 | 1 << 16, IOVA + (n & 1) * 0x1000);
	atomic_store(&r.stop, 1);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&r.wrong), 0);
	destroy(w);
}

/* A hit waits for a change that is under way: it is not to see half of it. */
static void *one_translation(void *arg)
{
	struct race *r = arg;
	struct nst_translation out;

	if (translate(r->w, NO, IOVA, true, &out))
		atomic_fetch_add(&r->wrong, 1);
	atomic_fetch_add(&r->done, 1);
	return NULL;
}

static void a_hit_waits_for_a_change(void **state)
{
	struct world *w = create(0);
	struct vtd_xlate *tr = &to_vtd_unit(w->viommu)->xlate;
	struct race r = { .w = w };
	pthread_t thread;

	first_stage(w);
	enable(w, 1);
	one_translation(&r);
	one_translation(&r); /* a hit */
	atomic_store(&r.done, 0);
	vtd_xlate_change(tr);
	pthread_create(&thread, NULL, one_translation, &r);
	for (unsigned int n = 0; n < 1000; n++)
		sched_yield();
	assert_int_equal(atomic_load(&r.done), 0);
	vtd_xlate_change_end(tr);
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&r.wrong), 0);
	destroy(w);
}

static void without_memory(void **state)
{
	struct nst_vtd_config config = { .send_msi = take_msi };
	struct nst_viommu *viommu;
	unsigned int n = 0;
	int ret;

	assert_int_equal(nst_vm_create(NULL, NULL, &config.vm), 0);
	do {
		alloc_fail_nth(++n);
		ret = nst_vtd_create(&config, &viommu);
		alloc_fail_nth(0);
		assert_true(!ret || ret == -ENOMEM);
	} while (ret);
	assert_true(n > 4);
	nst_viommu_destroy(viommu);
	nst_vm_destroy(config.vm);
}

/* What only emulated devices have is part of what a unit offers. */
static void a_state_is_of_equal_features(void **state)
{
	static const unsigned int features[] = { 0, NST_VTD_SECOND_STAGE, ALL, NST_VTD_FIVE_LEVEL,
						 NST_VTD_NO_CACHING_MODE };

	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		struct world *from = create(features[i]);
		size_t size;
		void *saved;

		enable(from, 1);
		assert_int_equal(nst_viommu_save(from->viommu, &saved, &size), 0);
		for (size_t k = 0; k < ARRAY_SIZE(features); k++) {
			struct world *to = create(features[k]);
			int ret = nst_viommu_restore(to->viommu, saved, size);
			/* five levels a host can lack, so a unit can give them up */
			bool fits = i == k || (i == 0 && k == 3);

			assert_int_equal(ret, fits ? 0 : -EOPNOTSUPP);
			if (fits)
				assert_int_equal(reg(to, 0x10, 8), reg(from, 0x10, 8));
			destroy(to);
		}
		free(saved);
		destroy(from);
	}
}

static int map(void *opaque, const struct nst_mapping *mapping)
{
	return 0;
}

static void unmap(void *opaque, nst_iova first, nst_iova last)
{
}

/* What was not there is used as soon as it is: table, entry, page. Who would have to be told is refused. */
static void without_caching_mode(void **state)
{
	struct world *w = create(ALL | NST_VTD_NO_CACHING_MODE);
	struct nst_notifier_config copy = {
		.rid = RID, .pasid = NO, .last = { UINT64_MAX }, .map = map, .unmap = unmap,
	};
	struct iommufd_hw_info host = { .type = IOMMU_HW_INFO_TYPE_INTEL_VTD };
	struct nst_notifier *n;
	uint64_t root, cap, ecap;
	const char *why = "";

	assert_int_equal(reg(w, 0x08, 8) & VTD_CAP_CM, 0);
	enable(w, 1);
	faults(w, NO, IOVA, false, 0x39); /* no root entry */
	root = page(w);
	context(w);
	faults(w, NO, IOVA, false, 0x59);
	set_entry(w, 0, 1, 1, root, 0);
	faults(w, NO, IOVA, false, 0x71);
	*fs_pte(w, root, IOVA) = DATA | 7;
	assert_int_equal(goes_to(w, NO, IOVA, true), DATA);
	*fs_pte(w, root, IOVA + 0x1000) = (DATA + 0x1000) | 7;
	assert_int_equal(goes_to(w, NO, IOVA + 0x1000, true), DATA + 0x1000);
	assert_int_equal(nst_viommu_notify(w->viommu, &copy, &n), -EOPNOTSUPP);
	copy.map = NULL;
	copy.unmap = NULL;
	assert_int_equal(nst_viommu_notify(w->viommu, &copy, &n), 0);
	nst_notifier_remove(n);
	destroy(w);

	/* nor does it take devices of a host, whichever */
	vtd_caps_default(0, &cap, &ecap);
	host.vtd = (struct iommu_hw_info_vtd){ .cap_reg = cap, .ecap_reg = ecap | VTD_ECAP_NEST };
	assert_int_equal(vtd_caps_narrow(&host, &cap, &ecap, &why), 0);
	vtd_caps_default(NST_VTD_NO_CACHING_MODE, &cap, &ecap);
	assert_int_equal(vtd_caps_narrow(&host, &cap, &ecap, &why), -EOPNOTSUPP);
	assert_non_null(strstr(why, "no caching mode"));
}

static void a_vm_without_host_has_no_devices(void **state)
{
	struct nst_device_config config = { .path = "/dev/vfio/devices/vfio0" };
	struct nst_device *dev;
	struct nst_vm *vm;

	assert_int_equal(nst_vm_create(NULL, NULL, &vm), 0);
	assert_int_equal(nst_device_open(vm, &config, &dev), -ENODEV);
	nst_vm_destroy(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hits_do_not_walk),
		cmocka_unit_test(what_empties_what),
		cmocka_unit_test(registers_empty_everything),
		cmocka_unit_test(pasids_are_told_apart),
		cmocka_unit_test(invalidations_against_translations),
		cmocka_unit_test(a_hit_of_one_is_none_of_another),
		cmocka_unit_test(hits_of_privileged_requests),
		cmocka_unit_test(a_hit_is_of_one_page),
		cmocka_unit_test(a_hit_waits_for_a_change),
		cmocka_unit_test(without_memory),
		cmocka_unit_test(a_state_is_of_equal_features),
		cmocka_unit_test(without_caching_mode),
		cmocka_unit_test(a_vm_without_host_has_no_devices),
	};

	return cmocka_run_group_tests_name("vtd translate cache", tests, NULL, NULL);
}
