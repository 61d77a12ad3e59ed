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

/* Every point of a domain is on its list; every domain has points; every object is accounted
 * for, and nothing waits for the host. */
static void check_books(struct rig *rig)
{
	struct smmu_unit *u = rig_unit(rig);
	int domains = 0;

	mutex_lock(&u->cmd_lock);
	for (const struct smmu_device *d = u->devices; d; d = d->next) {
		assert_int_equal(d->at.actual == ATTACHMENT_STAGE1, d->at.domain != NULL);
		if (d->at.domain)
			assert_true(is_in(d->at.domain, &d->at));
	}
	for (size_t i = 0; i < ATTACH_DOMAIN_BUCKETS; i++) {
		for (const struct attach_domain *d = u->attach.buckets[i]; d; d = d->next) {
			assert_non_null(d->points);
			domains++;
		}
	}
	for (const struct smmu_vsmmu *v = u->vsmmus; v; v = v->next)
		assert_true(v->users);
	assert_int_equal(u->failed, SMMU_NO_POSITION);
	mutex_unlock(&u->cmd_lock);
	if (rig->host.failed_request != IOMMU_DESTROY)
		assert_int_equal(nested_alive(rig), domains);
}

/* Where the guest wants device @i at @step; what it gets while calls fail may be less. */
static enum place plan(int step, int i)
{
	static const enum place plans[][DEVICES] = {
		{ NOWHERE, NOWHERE, NOWHERE },	  { PLACE_A, PLACE_A, PLACE_B },
		{ PLACE_B, PLACE_A, PLACE_SAME }, { NOWHERE, PLACE_SAME, PLACE_A },
		{ PLACE_A, PLACE_C, PLACE_SAME },
	};

	return plans[step][i];
}
enum { STEPS = 5 };

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

/* What Linux does about a command error: a CMD_SYNC in its place, and on. */
static void sync_at_any_price(struct rig *rig, uint64_t qw0, uint64_t qw1)
{
	cmdq_put(rig, qw0, qw1);
	cmdq_put(rig, CMD_SYNC, 0);
	cmdq_kick(rig);
	while (cmdq_error(rig)) {
		*mem64(rig, GPA_CMDQ + (cmdq_cons(rig) & 0xff) * 16) = CMD_SYNC;
		cmdq_ack(rig);
	}
	assert_int_equal(cmdq_cons(rig), rig->prod);
	check_books(rig);
}

static void enable_at_any_price(struct rig *rig)
{
	reg64_set(rig, REG_STRTAB_BASE, GPA_STRTAB);
	reg32_set(rig, REG_STRTAB_CFG, STRTAB_LG2);
	reg64_set(rig, REG_CMDQ_BASE, GPA_CMDQ | CMDQ_LG2);
	reg64_set(rig, REG_EVENTQ_BASE, GPA_EVENTQ | EVENTQ_LG2);
	cr0_set(rig, CR0_ALL);
	check_books(rig);
	sync_at_any_price(rig, CMD_CFGI_ALL, 31);
	sync_at_any_price(rig, CMD_TLBI_NSNH_ALL, 0);
}

/* Returns whether the failure happened. */
static bool live(struct rig *rig, bool (*fired)(struct rig *rig))
{
	bool attached[DEVICES] = { false };

	bring_devices(rig, attached);
	enable_at_any_price(rig);
	for (int step = 1; step < STEPS; step++) {
		for (int i = 0; i < DEVICES; i++)
			set_place(rig, &rig->devices[i], plan(step, i));
		sync_at_any_price(rig, CMD_CFGI_ALL, 31);
		sync_at_any_price(rig, CMD_TLBI_NH_VA(11), PROBE_IOVA);
		/* what failed is tried again, what was stale is not */
		bring_devices(rig, attached);
		sync_at_any_price(rig, CMD_CFGI_ALL, 31);
		sync_at_any_price(rig, CMD_TLBI_NSNH_ALL, 0);
		for (int i = 0; i < DEVICES; i++)
			if (rig->devices[i].dev)
				assert_int_equal(place_of(&rig->devices[i]), plan(step, i));
	}
	/* a table changes in place */
	guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 2 * PAGE_SIZE_4K);
	sync_at_any_price(rig, CMD_TLBI_NH_VA(10 + PLACE_A), PROBE_IOVA);
	sync_at_any_price(rig, CMD_TLBI_NH_VA(10 + PLACE_A), PROBE_IOVA);
	assert_int_equal(place_of(&rig->devices[0]), PLACE_B);
	reg32_set(rig, REG_GBPA, GBPA_UPDATE | GBPA_ABORT);
	cr0_set(rig, CR0_CMDQEN);
	check_books(rig);
	reg32_set(rig, REG_GBPA, GBPA_UPDATE);
	cr0_set(rig, CR0_ALL);
	check_books(rig);
	if (attached[0] && attached[2]) {
		struct nst_rid_move moves[] = { { rig->devices[0].dev, rig->devices[2].rid },
						{ rig->devices[2].dev, rig->devices[0].rid } };

		ok(nst_viommu_renumber(rig->viommu, moves, 2));
		check_books(rig);
		sync_at_any_price(rig, CMD_CFGI_ALL, 31);
		/* an old name that the host does not give up blocks */
		if (rig->host.failed_request != IOMMU_DESTROY)
			assert_int_equal(place_of(&rig->devices[2]), PLACE_B);
	}
	nst_viommu_detach(rig->viommu, rig->devices[1].rid);
	check_books(rig);
	nst_viommu_reset(rig->viommu);
	check_books(rig);
	assert_int_equal(rig_soft_stats(rig).stale_hits, 0);
	return fired(rig);
}

static struct rig *rig_with_endpoints(void)
{
	struct rig *rig = rig_create(&(struct rig_options){ .quirks = true });

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
		rig_destroy(rig); /* and the failure may be here */
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

static void the_nth_host_call_is_not_supported(void **state)
{
	assert_in_range(sweep_calls(EOPNOTSUPP), 50, 400);
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
	struct rig *rig = rig_create(&(struct rig_options){ 0 });
	struct nst_smmuv3_config config = { .vm = rig->vm };
	struct nst_viommu *unit;
	unsigned int nth = 0;

	for (;;) {
		int ret;

		alloc_fail_nth(++nth);
		ret = nst_smmuv3_create(&config, &unit);
		alloc_fail_nth(0);
		if (!ret)
			break;
		assert_int_equal(ret, -ENOMEM);
	}
	assert_in_range(nth, 3, 20);
	nst_viommu_destroy(unit);
	rig_destroy(rig);
}

/* Every call of one kind fails, for a whole life: nothing works, nothing breaks. */
static void one_kind_of_call_never_works(void **state)
{
	static const unsigned long kinds[] = {
		IOMMU_HWPT_ALLOC,
		IOMMU_HWPT_INVALIDATE,
		VFIO_DEVICE_ATTACH_IOMMUFD_PT,
		VFIO_DEVICE_DETACH_IOMMUFD_PT,
	};

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct rig *rig = rig_with_endpoints();
		bool attached[DEVICES] = { false };

		bring_devices(rig, attached);
		enable_at_any_price(rig);
		rig_fail_from_now_on(&rig->host, kinds[k], EIO);
		for (int step = 0; step < STEPS; step++) {
			for (int i = 0; i < DEVICES; i++)
				set_place(rig, &rig->devices[i], plan(step, i));
			sync_at_any_price(rig, CMD_TLBI_NH_ALL, 0);
			sync_at_any_price(rig, CMD_CFGI_ALL, 31);
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
		cmocka_unit_test(the_nth_host_call_is_not_supported),
		cmocka_unit_test(the_nth_allocation_fails),
		cmocka_unit_test(making_a_unit_without_memory),
		cmocka_unit_test(one_kind_of_call_never_works),
	};

	return cmocka_run_group_tests_name("smmuv3 fail-nth", tests, NULL, NULL);
}
