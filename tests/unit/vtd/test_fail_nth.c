// SPDX-License-Identifier: BSD-3-Clause
/*
 * The n-th call to the host fails, the n-th allocation fails, for every n that a guest's
 * whole life takes: devices come, the guest enables the unit, changes its tables, and
 * all goes again. After every step the books must be right, and once the failure is past
 * the next invalidation must put everything where the guest wants it.
 */
#include "rig.h"

#include "base/alloc.h"

enum { DEVICES = 3 };

static bool is_in(const struct attach_domain *domain, const struct attach_point *point)
{
	for (const struct attach_point *p = domain->points; p; p = p->next_in_domain)
		if (p == point)
			return true;
	return false;
}

/* Every point of a domain is on its list; every domain has points, and is an HWPT. */
static void check_books(struct rig *rig)
{
	struct vtd_unit *u = rig_unit(rig);
	int domains = 0;

	mutex_lock(&u->cmd_lock);
	for (const struct vtd_device *d = u->devices; d; d = d->next) {
		assert_int_equal(d->plain.at.actual == ATTACHMENT_STAGE1, d->plain.at.domain != NULL);
		if (d->plain.at.domain)
			assert_true(is_in(d->plain.at.domain, &d->plain.at));
	}
	for (size_t i = 0; i < ATTACH_DOMAIN_BUCKETS; i++) {
		for (const struct attach_domain *d = u->attach.buckets[i]; d; d = d->next) {
			assert_non_null(d->points);
			assert_false(d->pending);
			domains++;
		}
	}
	assert_null(u->attach.pending);
	assert_false(u->attach.lost);
	mutex_unlock(&u->cmd_lock);
	/* beside them the host has the IOAS and the parents: two if it refused to share one */
	for (const struct vm_parent *p = rig->vm->parents; p; p = p->next)
		domains++;
	if (rig->host.failed_request != IOMMU_DESTROY)
		assert_int_equal(rig->host.live_objects, 1 + domains);
}

/* Where the guest wants device @i at @step; what it gets while calls fail may be less. */
static enum place plan(int step, int i)
{
	static const enum place plans[][DEVICES] = {
		{ NOWHERE, NOWHERE, NOWHERE },
		{ PLACE_A, PLACE_A, PLACE_B },
		{ PLACE_B, PLACE_A, PLACE_SAME },
		{ NOWHERE, PLACE_SAME, PLACE_A },
		{ PLACE_A, PLACE_A, PLACE_A },
	};

	return plans[step][i];
}
enum { STEPS = 5 };

static void write_plan(struct rig *rig, int step)
{
	for (int i = 0; i < DEVICES; i++) {
		nst_rid rid = rig->devices[i].rid;

		switch (plan(step, i)) {
		case NOWHERE:
			guest_set_absent(rig, rid);
			break;
		case PLACE_SAME:
			guest_set_bypass(rig, rid);
			break;
		case PLACE_A:
			guest_set_stage1(rig, rid, rig->root_a, 5);
			break;
		default:
			guest_set_stage1(rig, rid, rig->root_b, 6);
		}
	}
}

static void check_places(struct rig *rig, int step)
{
	for (int i = 0; i < DEVICES; i++)
		if (rig->devices[i].dev)
			assert_int_equal(place_of(&rig->devices[i]), plan(step, i));
}

/* Devices that cannot be opened or attached now come when the failure is past. */
static void bring_devices(struct rig *rig, bool attached[DEVICES])
{
	for (int i = 0; i < DEVICES; i++) {
		struct rig_device *d = &rig->devices[i];

		if (!d->dev && rig_open(rig, d))
			continue;
		if (!attached[i])
			attached[i] = !nst_viommu_attach(rig->viommu, d->rid, d->dev);
		check_books(rig);
	}
}

/* Returns whether the failure happened. */
static bool live(struct rig *rig, bool (*fired)(struct rig *rig))
{
	bool attached[DEVICES] = { false };

	bring_devices(rig, attached);
	guest_enable(rig);
	for (int step = 1; step < STEPS; step++) {
		write_plan(rig, step);
		iq_put(rig, DESC_PIOTLB(3, 5, 0), PROBE_IOVA);
		iq_put(rig, DESC_PIOTLB(2, 6, 0), 0);
		iq_run(rig, PC_GLOBAL, 0);
		check_books(rig);
		/* what failed is tried again, what was stale is not */
		bring_devices(rig, attached);
		iq_run(rig, PC_GLOBAL, 0);
		check_books(rig);
		check_places(rig, step);
	}
	/* a table changes in place */
	guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 2 * PAGE_SIZE_4K);
	iq_run(rig, DESC_PIOTLB(3, 5, 0), PROBE_IOVA);
	check_books(rig);
	iq_run(rig, PC_GLOBAL, 0);
	for (int i = 0; i < DEVICES; i++)
		assert_int_equal(place_of(&rig->devices[i]), PLACE_B);
	guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 1 * PAGE_SIZE_4K);
	iq_run(rig, DESC_IOTLB(1, 0), 0);
	gcmd(rig, 0, GCMD_TE);
	check_books(rig);
	gcmd(rig, GCMD_TE, 0);
	check_books(rig);
	nst_viommu_detach(rig->viommu, rig->devices[1].rid);
	check_books(rig);
	nst_viommu_reset(rig->viommu);
	check_books(rig);
	assert_int_equal(rig_soft_stats(rig).stale_hits, 0);
	return fired(rig);
}

static struct rig *rig_with_endpoints(void)
{
	struct rig *rig = rig_create();

	for (int i = 0; i < DEVICES; i++)
		rig_plug(rig, false);
	return rig;
}

static bool call_failed(struct rig *rig)
{
	return rig->host.fail_nth == 0;
}

static bool allocation_failed(struct rig *rig)
{
	return alloc_fail_left() == 0;
}

static unsigned int sweep_calls(int errnum)
{
	unsigned int nth = 0;
	bool fired;

	do {
		struct rig *rig = rig_with_endpoints();

		rig_fail(&rig->host, 0, ++nth, errnum);
		fired = live(rig, call_failed);
		rig_destroy(rig);	/* and the failure may be here */
	} while (fired && nth < 1000);
	return nth;
}

static void the_nth_host_call_fails(void **state)
{
	assert_in_range(sweep_calls(ENOMEM), 50, 400);
}

/* The one errno that has a meaning of its own: "not for this device". */
static void the_nth_host_call_is_invalid(void **state)
{
	assert_in_range(sweep_calls(EINVAL), 50, 400);
}

static void the_nth_allocation_fails(void **state)
{
	unsigned int nth = 0;
	bool fired;

	do {
		struct rig *rig = rig_with_endpoints();

		alloc_fail_nth(++nth);
		fired = live(rig, allocation_failed);
		alloc_fail_nth(0);
		rig_destroy(rig);
	} while (fired && nth < 1000);
	assert_in_range(nth, 20, 400);
}

static void making_a_unit_without_memory(void **state)
{
	struct rig *rig = rig_create();
	struct nst_vtd_config config = { .vm = rig->vm };
	struct nst_viommu *unit;

	alloc_fail_nth(1);
	err(ENOMEM, nst_vtd_create(&config, &unit));
	alloc_fail_nth(0);
	ok(nst_vtd_create(&config, &unit));
	nst_viommu_destroy(unit);
	rig_destroy(rig);
}

/* Every call of one kind fails, for a whole life: nothing works, nothing breaks. */
static void one_kind_of_call_never_works(void **state)
{
	static const unsigned long kinds[] = {
		IOMMU_HWPT_ALLOC, IOMMU_HWPT_INVALIDATE, VFIO_DEVICE_ATTACH_IOMMUFD_PT,
		VFIO_DEVICE_DETACH_IOMMUFD_PT,
	};

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct rig *rig = rig_with_endpoints();
		bool attached[DEVICES] = { false };

		bring_devices(rig, attached);
		guest_enable(rig);
		rig_fail_from_now_on(&rig->host, kinds[k], EIO);
		for (int step = 0; step < STEPS; step++) {
			write_plan(rig, step);
			iq_put(rig, DESC_IOTLB(1, 0), 0);
			iq_run(rig, PC_GLOBAL, 0);
			check_books(rig);
		}
		nst_viommu_reset(rig->viommu);
		check_books(rig);
		rig_fail_stop(&rig->host);
		nst_viommu_reset(rig->viommu);
		for (int i = 0; i < DEVICES; i++)
			assert_int_equal(place_of(&rig->devices[i]), PLACE_SAME);
		rig_destroy(rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_nth_host_call_fails),
		cmocka_unit_test(the_nth_host_call_is_invalid),
		cmocka_unit_test(the_nth_allocation_fails),
		cmocka_unit_test(making_a_unit_without_memory),
		cmocka_unit_test(one_kind_of_call_never_works),
	};

	return cmocka_run_group_tests_name("vtd fail-nth", tests, NULL, NULL);
}
