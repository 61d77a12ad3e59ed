// SPDX-License-Identifier: BSD-3-Clause
/*
 * What QEMU 11.1's accelerated SMMUv3 cannot do, or gets wrong, at this unit: one test for each
 * line of docs/qemu-defects.md that has no test beside what it is about (test_attach.c).
 */
#include "rig.h"

#include <stdlib.h>
#include <string.h>

#define EMULATED 0x30

/* Where a read of PROBE_IOVA by an emulated device goes. */
static uint64_t goes_to(struct rig *rig, nst_rid rid)
{
	uint64_t gpa = UINT64_MAX;

	return emulated(rig, rid, NST_NO_PASID, PROBE_IOVA, false, &gpa) ? UINT64_MAX : gpa;
}

/* There only passed-through devices may be behind an accelerated unit. */
static void qemu_1_an_emulated_device_beside_a_passed_through_one(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t value;

	guest_enable(rig);
	go(rig, d, PLACE_A);
	memcpy(guest_ste(rig, EMULATED), guest_ste(rig, d->rid), 64);
	cmdq_run(rig, CMD_CFGI_STE(EMULATED), 1);
	assert_int_equal(goes_to(rig, EMULATED), PROBE_IOVA + 1 * PAGE_SIZE_4K);
	/* an unmap of the domain that they share is one command */
	*guest_pte(rig, rig->root_a, PROBE_IOVA) = 0;
	ok(dma_read(d, PROBE_IOVA, &value));
	assert_int_equal(goes_to(rig, EMULATED), PROBE_IOVA + 1 * PAGE_SIZE_4K);
	cmdq_run(rig, CMD_TLBI_NH_VA(ASID_OF(PLACE_A)), PROBE_IOVA);
	assert_int_not_equal(dma_read(d, PROBE_IOVA, &value), 0);
	assert_int_equal(goes_to(rig, EMULATED), UINT64_MAX);
	/* each can have tables of its own */
	go(rig, d, PLACE_B);
	assert_int_equal(goes_to(rig, EMULATED), UINT64_MAX);
	guest_ste(rig, EMULATED)[0] = STE_BYPASS;
	cmdq_run(rig, CMD_CFGI_STE(EMULATED), 1);
	assert_int_equal(goes_to(rig, EMULATED), PROBE_IOVA);
	assert_int_equal(place_of(d), PLACE_B);
}

/* There a machine with an accelerated unit cannot be migrated. */
static void qemu_1_a_unit_with_devices_is_moved(void **state)
{
	struct rig *from = *state, *to = rig_create(&(struct rig_options){ 0 });
	struct rig_device *d;
	size_t size;
	void *data;

	guest_enable(from);
	go(from, &from->devices[0], PLACE_A);
	memcpy(guest_ste(from, EMULATED), guest_ste(from, from->devices[0].rid), 64);
	cmdq_run(from, CMD_CFGI_STE(EMULATED), 1);
	ok(nst_viommu_save(from->viommu, &data, &size));
	memcpy(to->memory, from->memory, RIG_MEMORY);
	to->prod = from->prod;
	d = rig_add_device(to);
	ok(nst_viommu_restore(to->viommu, data, size));
	free(data);
	assert_int_equal(place_of(d), PLACE_A);
	assert_int_equal(goes_to(to, EMULATED), PROBE_IOVA + 1 * PAGE_SIZE_4K);
	go(to, d, PLACE_B); /* and the guest goes on */
	rig_destroy(to);
}

/* There the device that came first cannot leave while the unit has others. */
static void qemu_7_the_first_device_is_unplugged_first(void **state)
{
	struct rig *rig = *state;
	struct rig_device *first = &rig->devices[0], *second = rig_add_device(rig);
	unsigned int viommus = rig_calls(&rig->host, IOMMU_VIOMMU_ALLOC);

	guest_enable(rig);
	set_place(rig, first, PLACE_A);
	set_place(rig, second, PLACE_B);
	cmdq_run(rig, CMD_CFGI_ALL, 31);
	nst_viommu_detach_device(rig->viommu, first->dev);
	nst_device_close(first->dev);
	first->dev = NULL;
	assert_int_equal(place_of(second), PLACE_B);
	/* the vIOMMU that came with the first goes on with the second */
	assert_int_equal(rig_calls(&rig->host, IOMMU_VIOMMU_ALLOC), viommus);
	guest_map(rig, rig->root_b, PROBE_IOVA, PROBE_IOVA + 3 * PAGE_SIZE_4K);
	cmdq_run(rig, CMD_TLBI_NH_VA(ASID_OF(PLACE_B)), PROBE_IOVA);
	assert_int_equal(place_of(second), PLACE_C);
	assert_int_not_equal(dma_read(second, 0x123456000, &(uint64_t){ 0 }), 0);
	assert_int_equal(event_type(rig), 0x10);
	nst_viommu_detach_device(rig->viommu, second->dev);
	assert_int_equal(rig_host_objects(&rig->host), 2); /* IOAS, parent */
}

/*
 * There a host that cannot serve the unit ends the whole VMM, by an error that is set twice. Here
 * it is the error of that one attach, said once, and the unit goes on.
 */
static void qemu_8_a_host_that_cannot_is_an_error_of_that_attach(void **state)
{
	static const unsigned long requests[] = { IOMMU_VIOMMU_ALLOC, IOMMU_VDEVICE_ALLOC,
						  IOMMU_VEVENTQ_ALLOC };
	struct rig *rig = *state;
	struct rig_device *d = rig_plug(rig, false);
	uint64_t *ste;

	ok(rig_open(rig, d));
	guest_enable(rig);
	ste = guest_ste(rig, EMULATED);
	ste[0] = STE_BYPASS;
	cmdq_run(rig, CMD_CFGI_STE(EMULATED), 1);
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		int objects = rig_host_objects(&rig->host);

		rig->logged[NST_LOG_ERROR] = 0;
		rig_fail_from_now_on(&rig->host, requests[i], ENOMEM);
		err(ENOMEM, nst_viommu_attach(rig->viommu, d->rid, d->dev));
		rig_fail_stop(&rig->host);
		assert_int_equal(rig->logged[NST_LOG_ERROR], 1); /* why */
		assert_int_equal(rig_host_objects(&rig->host), objects);
		assert_int_equal(goes_to(rig, EMULATED), PROBE_IOVA);
	}
	rig->logged[NST_LOG_ERROR] = 0;
	rig_fail_from_now_on(&rig->host, IOMMU_VIOMMU_ALLOC, EOPNOTSUPP); /* as without nesting */
	err(EOPNOTSUPP, nst_viommu_attach(rig->viommu, d->rid, d->dev));
	rig_fail_stop(&rig->host);
	assert_int_equal(rig->logged[NST_LOG_ERROR], 1);
	ok(nst_viommu_attach(rig->viommu, d->rid, d->dev));
	go(rig, d, PLACE_A);
}

#define one_device(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
#define empty(f) cmocka_unit_test_setup_teardown(f, rig_setup_empty, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		one_device(qemu_1_an_emulated_device_beside_a_passed_through_one),
		one_device(qemu_1_a_unit_with_devices_is_moved),
		one_device(qemu_7_the_first_device_is_unplugged_first),
		empty(qemu_8_a_host_that_cannot_is_an_error_of_that_attach),
	};

	return cmocka_run_group_tests_name("smmuv3 defects", tests, NULL, NULL);
}
