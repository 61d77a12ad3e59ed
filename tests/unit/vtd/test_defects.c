// SPDX-License-Identifier: BSD-3-Clause
/*
 * What an existing implementation gets wrong because each of its paths attaches by itself:
 * docs/qemu-defects.md lists the defects, and by which test, here or in a neighbour, each
 * would show. Places: see rig.h.
 */
#include "rig.h"

#include "spec/vtd_faults.h"

#include <string.h>

/* A second PASID directory with a table, in pages of their own: PASID 0 to @root, with @did. */
static uint64_t make_directory(struct rig *rig, uint64_t root, uint16_t did)
{
	uint64_t dir = guest_page(rig), table = guest_page(rig);

	*mem64(rig, dir) = table | 1;
	mem64(rig, table)[0] = PASID_PRESENT | PASID_FIRST_STAGE;
	mem64(rig, table)[1] = did;
	mem64(rig, table)[2] = root;
	return dir;
}

/* Another directory, and another domain id in it: invalidated by the device and the old id. */
static void a_context_entry_replaced_with_other_domain_ids(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	guest_set_stage1(rig, d->rid, rig->root_a, 1);
	guest_sync(rig);
	assert_int_equal(place_of(d), PLACE_A);
	guest_context_entry(rig, d->rid)[0] = make_directory(rig, rig->root_b, 2) | 1;
	iq_put(rig, DESC_CONTEXT(3, 1, d->rid), 0);
	iq_put(rig, DESC_PASID_CACHE(0, 1, 0), 0);
	iq_put(rig, DESC_IOTLB(2, 1), 0);
	iq_sync(rig);
	assert_int_equal(place_of(d), PLACE_B);
	assert_int_equal(nested_alive(rig), 1);
	/* the old table is used for something else */
	memset(mem64(rig, rig->root_a), 0xff, PAGE_SIZE_4K);
	assert_int_equal(place_of(d), PLACE_B);
	assert_int_equal(rig_soft_stats(rig).stale_hits, 0);
}

/* Tables first, the context entry that leads to them last: that is what is announced. */
static void a_context_entry_made_present_over_a_filled_table(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t *entry = guest_context_entry(rig, d->rid);
	static const unsigned int grans[] = { 1, 2, 3 };

	guest_enable(rig);
	guest_set_stage1(rig, d->rid, rig->root_a, 1);
	for (size_t i = 0; i < ARRAY_SIZE(grans); i++) {
		uint64_t saved = *entry;

		*entry = 0;
		iq_run(rig, DESC_CONTEXT(3, 0, d->rid), 0);
		assert_int_equal(place_of(d), NOWHERE);
		*entry = saved;
		iq_run(rig, DESC_CONTEXT(grans[i], 0, d->rid), 0);
		assert_int_equal(place_of(d), PLACE_A);
	}
}

/* TE alone takes a device off the guest's memory: it does not stay where it was at the start. */
static void a_device_without_context_entry_is_blocked(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t value = 0;

	assert_int_equal(place_of(d), PLACE_SAME);
	guest_make_tables(rig, d->rid);
	*guest_context_entry(rig, d->rid) = 0;
	reg64_set(rig, REG_RTADDR, GPA_ROOT | 1 << 10);
	gcmd(rig, GCMD_SRTP, 0);
	gcmd(rig, GCMD_TE, 0);
	assert_int_equal(place_of(d), NOWHERE);
	assert_int_not_equal(dma_write(d, GPA_DATA, value), 0);
	gcmd(rig, 0, GCMD_TE);
	assert_int_equal(place_of(d), PLACE_SAME);
}

/* s6.5.2.3: first-stage entries go with IOTLB invalidations that name no PASID. */
static void iotlb_invalidations_without_pasid_reach_nested_tables(void **state)
{
	static const uint64_t descs[] = { DESC_IOTLB(1, 0), DESC_IOTLB(2, 5) };
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	guest_set_stage1(rig, d->rid, rig->root_a, 5);
	guest_sync(rig);
	for (size_t i = 0; i < ARRAY_SIZE(descs); i++) {
		guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 1 * PAGE_SIZE_4K);
		iq_run(rig, DESC_PIOTLB(2, 5, 0), 0);
		assert_int_equal(place_of(d), PLACE_A);
		guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 2 * PAGE_SIZE_4K);
		iq_run(rig, DESC_IOTLB(2, 6), 0);	/* of another domain */
		assert_int_equal(place_of(d), PLACE_A);
		iq_run(rig, descs[i], 0);
		assert_int_equal(place_of(d), PLACE_B);
	}
	/* the one stale use is the one that was made above, twice */
	assert_int_equal(rig_soft_stats(rig).stale_hits, 2);
}

/* An emulated device whose entry has gone has none, and not one of zeros. */
static void a_vanished_entry_is_no_entry_for_an_emulated_device(void **state)
{
	static const uint64_t descs[] = { PC_GLOBAL, DESC_PASID_CACHE(0, 5, 0),
					  DESC_PASID_CACHE(1, 5, 0), DESC_CONTEXT(1, 0, 0) };
	struct nst_translate_request req = {
		.rid = RIG_SPARE_1, .pasid = NST_NO_PASID, .iova = { PROBE_IOVA } };
	struct nst_translation to;
	struct rig *rig = *state;

	guest_make_tables(rig, req.rid);
	guest_enable(rig);
	for (size_t i = 0; i < ARRAY_SIZE(descs); i++) {
		guest_set_stage1(rig, req.rid, rig->root_a, 5);
		guest_sync(rig);
		ok(nst_viommu_translate(rig->viommu, &req, &to));
		assert_int_equal(to.gpa.v, PROBE_IOVA + 1 * PAGE_SIZE_4K);
		guest_set_absent(rig, req.rid);
		iq_run(rig, descs[i], 0);
		err(EFAULT, nst_viommu_translate(rig->viommu, &req, &to));
		assert_int_equal(fault_reason(rig, 0), VTD_FAULT_PASID_NOT_PRESENT);
		faults_clear(rig);
		gcmd(rig, 0, GCMD_TE);	/* fault records begin at the first again */
		gcmd(rig, GCMD_TE, 0);
	}
}

/* A type the host cannot nest: the device is blocked, and not left on what it had. */
static void a_type_that_cannot_be_nested_blocks_and_is_told(void **state)
{
	static const unsigned int types[] = { 2, 3 };	/* second stage, nested */
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		go(rig, d, PLACE_A);
		faults_clear(rig);
		guest_pasid_entry(rig, d->rid, 0)[0] = PASID_PRESENT | (uint64_t)types[i] << 6;
		iq_run(rig, DESC_PASID_CACHE(1, 10 + PLACE_A, 0), 0);
		assert_int_equal(place_of(d), NOWHERE);
		assert_int_equal(nested_alive(rig), 0);
		assert_int_equal(faults_pending(rig), 1);
	}
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_RIG(a_context_entry_replaced_with_other_domain_ids),
		WITH_RIG(a_context_entry_made_present_over_a_filled_table),
		WITH_RIG(a_device_without_context_entry_is_blocked),
		WITH_RIG(iotlb_invalidations_without_pasid_reach_nested_tables),
		WITH_RIG(a_vanished_entry_is_no_entry_for_an_emulated_device),
		WITH_RIG(a_type_that_cannot_be_nested_blocks_and_is_told),
	};

	return cmocka_run_group_tests_name("defects of others", tests, NULL, NULL);
}
