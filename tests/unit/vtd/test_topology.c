// SPDX-License-Identifier: BSD-3-Clause
/*
 * What moves in the guest's PCI hierarchy: buses with other numbers, devices that share a
 * requester id, units beside each other. Places: see rig.h.
 */
#include "rig.h"

#include <stdlib.h>

enum { RID_ELSEWHERE = RIG_SPARE_1, RID_ELSEWHERE_2 = RIG_SPARE_2, RID_BRIDGE = RIG_SPARE_3 };

static struct nst_rid_move to(const struct rig_device *d, nst_rid rid)
{
	return (struct nst_rid_move){ d->dev, rid };
}

static void move(struct rig *rig, struct rig_device *d, nst_rid rid)
{
	const struct nst_rid_move moves[] = { to(d, rid) };

	ok(nst_viommu_renumber(rig->viommu, moves, 1));
}

/* Root, context and PASID entry of @rid: to table A, B or C. */
static void make_entry(struct rig *rig, nst_rid rid, uint64_t root, uint16_t did)
{
	guest_make_tables(rig, rid);
	guest_set_stage1(rig, rid, root, did);
}

/* --- renumbering --------------------------------------------------------------------------- */

static void a_device_follows_the_number_of_its_bus(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	unsigned int calls;

	guest_enable(rig);
	go(rig, d, PLACE_A);
	make_entry(rig, RID_ELSEWHERE, rig->root_b, 11);
	move(rig, d, RID_ELSEWHERE);
	assert_int_equal(place_of(d), PLACE_B);
	assert_int_equal(nested_alive(rig), 1);
	/* invalidations reach it by its new number, and no more by the old one */
	guest_set_stage1(rig, RID_ELSEWHERE, rig->root_c, 12);
	iq_run(rig, DESC_CONTEXT(3, 0, d->rid), 0);
	assert_int_equal(place_of(d), PLACE_B);
	iq_run(rig, DESC_CONTEXT(3, 0, RID_ELSEWHERE), 0);
	assert_int_equal(place_of(d), PLACE_C);
	/* where it is already: the host hears nothing */
	calls = rig->host.total;
	move(rig, d, RID_ELSEWHERE);
	assert_int_equal(rig->host.total, calls);
	/* nowhere: no entry there, which is not worth a fault */
	move(rig, d, RID_ELSEWHERE_2);
	assert_int_equal(place_of(d), NOWHERE);
	assert_int_equal(nested_alive(rig), 0);
	assert_int_equal(faults_pending(rig), 0);
	nst_viommu_detach(rig->viommu, d->rid);		/* that is nobody */
	assert_int_equal(place_of(d), NOWHERE);
	nst_viommu_detach(rig->viommu, RID_ELSEWHERE_2);
	assert_int_equal(place_of(d), PLACE_SAME);
}

static void while_nothing_is_translated(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	move(rig, d, RID_ELSEWHERE);
	assert_int_equal(place_of(d), PLACE_SAME);
	make_entry(rig, RID_ELSEWHERE, rig->root_a, 5);
	guest_enable(rig);
	assert_int_equal(place_of(d), PLACE_A);
}

static void two_swap(void **state)
{
	struct rig *rig = *state;
	struct rig_device *a, *b;

	add_two_more(rig);
	a = &rig->devices[0];
	b = &rig->devices[1];
	set_place(rig, a, PLACE_A);
	set_place(rig, b, PLACE_B);
	set_place(rig, &rig->devices[2], PLACE_C);
	guest_sync(rig);
	ok(nst_viommu_renumber(rig->viommu,
			       (struct nst_rid_move[]){ to(a, b->rid), to(b, a->rid) }, 2));
	assert_int_equal(place_of(a), PLACE_B);
	assert_int_equal(place_of(b), PLACE_A);
	assert_int_equal(place_of(&rig->devices[2]), PLACE_C);
	assert_int_equal(nested_alive(rig), 3);
	/* one of them is nobody's: nothing of it is done */
	nst_viommu_detach_device(rig->viommu, b->dev);
	err(ENOENT, nst_viommu_renumber(rig->viommu,
					(struct nst_rid_move[]){ to(a, a->rid), to(b, b->rid) }, 2));
	assert_int_equal(place_of(a), PLACE_B);
	ok(nst_viommu_renumber(rig->viommu, NULL, 0));
}

/* A guest that gives one number to two buses has two devices with one entry, as on hardware. */
static void two_with_one_number(void **state)
{
	struct rig *rig = *state;

	add_two_more(rig);
	set_place(rig, &rig->devices[0], PLACE_A);
	set_place(rig, &rig->devices[1], PLACE_B);
	guest_sync(rig);
	move(rig, &rig->devices[1], rig->devices[0].rid);
	for (int i = 0; i < 2; i++)
		assert_int_equal(place_of(&rig->devices[i]), PLACE_A);
	assert_int_equal(nested_alive(rig), 1);
	go(rig, &rig->devices[0], PLACE_C);
	for (int i = 0; i < 2; i++)
		assert_int_equal(place_of(&rig->devices[i]), PLACE_C);
	move(rig, &rig->devices[1], rig->devices[1].rid);
	assert_int_equal(place_of(&rig->devices[1]), PLACE_B);
	assert_int_equal(place_of(&rig->devices[0]), PLACE_C);
}

/* What was told of the old entry is not known of the new one. */
static void a_bad_entry_is_told_of_again_by_its_new_number(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	for (int i = 0; i < 2; i++) {
		nst_rid rid = i ? RID_ELSEWHERE : d->rid;

		guest_make_tables(rig, rid);
		guest_pasid_entry(rig, rid, 0)[0] = PASID_PRESENT | 7ULL << 6;	/* no such PGTT */
		if (i)
			move(rig, d, rid);
		else
			guest_sync(rig);
		assert_int_equal(place_of(d), NOWHERE);
		assert_int_equal(faults_pending(rig), 1);
		/* the source id that is recorded */
		assert_int_equal((uint16_t)reg64(rig, REG_FRCD + 16 * (uint64_t)i + 8), rid);
		faults_clear(rig);
		guest_sync(rig);
		assert_int_equal(faults_pending(rig), 0);
	}
}

static void a_host_that_refuses(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	go(rig, d, PLACE_A);
	make_entry(rig, RID_ELSEWHERE, rig->root_b, 11);
	rig_fail(&rig->host, IOMMU_HWPT_ALLOC, 1, ENOMEM);
	move(rig, d, RID_ELSEWHERE);
	assert_int_equal(place_of(d), NOWHERE);
	assert_int_equal(nested_alive(rig), 0);
	iq_run(rig, PC_GLOBAL, 0);	/* again at the next invalidation */
	assert_int_equal(place_of(d), PLACE_B);
}

/* Every entry says where it leads; a model knows which entry a device reads. */
static void random_moves_agree_with_the_model(void **state)
{
	static const nst_rid rids[] = { 0x0010, 0x0098, 0x01f8, RID_ELSEWHERE, RID_ELSEWHERE_2,
					RID_BRIDGE };
	enum place entries[ARRAY_SIZE(rids)] = { NOWHERE };
	size_t at[3] = { 0, 1, 2 };
	struct rig *rig = *state;
	uint64_t roots[NUM_PLACES];
	uint64_t seed = 11;
	bool te = true;

	add_two_more(rig);
	roots[PLACE_A] = rig->root_a;
	roots[PLACE_B] = rig->root_b;
	roots[PLACE_C] = rig->root_c;
	for (size_t i = 0; i < ARRAY_SIZE(rids); i++)
		guest_make_tables(rig, rids[i]);
	for (int step = 0; step < 2000; step++) {
		size_t n = test_random(&seed) % ARRAY_SIZE(rids);
		struct nst_rid_move moves[3];
		unsigned int keys = 0, count = 0;

		switch (test_random(&seed) % 6) {
		case 0:
			te = !te;
			gcmd(rig, te ? GCMD_TE : 0, te ? 0 : GCMD_TE);
			break;
		case 1:
		case 2:
			for (int i = 0; i < 3; i++) {
				at[i] = test_random(&seed) % ARRAY_SIZE(rids);
				moves[count++] = to(&rig->devices[i], rids[at[i]]);
			}
			ok(nst_viommu_renumber(rig->viommu, moves, count));
			break;
		default:
			entries[n] = (enum place)(test_random(&seed) % NUM_PLACES);
			if (entries[n] == NOWHERE)
				guest_set_absent(rig, rids[n]);
			else if (entries[n] == PLACE_SAME)
				guest_set_bypass(rig, rids[n]);
			else
				guest_set_stage1(rig, rids[n], roots[entries[n]],
						 (uint16_t)(10 + entries[n]));
			iq_run(rig, DESC_CONTEXT(3, 0, rids[n]), 0);
		}
		for (int i = 0; i < 3; i++) {
			enum place want = te ? entries[at[i]] : PLACE_SAME;

			assert_int_equal(place_of(&rig->devices[i]), want);
			keys |= want >= PLACE_A ? 1u << want : 0;
		}
		assert_int_equal(nested_alive(rig), __builtin_popcount(keys));
	}
	assert_int_equal(rig_soft_stats(rig).stale_hits, 0);
}

/* --- behind a PCI bridge ------------------------------------------------------------------- */

static struct rig_device *add_alias(struct rig *rig, bool pasid)
{
	struct rig_device *d = rig_plug(rig, pasid);

	ok(rig_open(rig, d));
	ok(nst_viommu_attach_alias(rig->viommu, RID_BRIDGE, d->dev));
	return d;
}

static void devices_behind_a_bridge_share_its_entry(void **state)
{
	struct rig *rig = *state;
	struct rig_device *a, *b;

	guest_make_tables(rig, RID_BRIDGE);
	a = add_alias(rig, false);
	b = add_alias(rig, false);
	guest_enable(rig);
	assert_int_equal(place_of(a), NOWHERE);
	guest_set_stage1(rig, RID_BRIDGE, rig->root_a, 5);
	iq_run(rig, DESC_CONTEXT(3, 0, RID_BRIDGE), 0);
	assert_int_equal(place_of(a), PLACE_A);
	assert_int_equal(place_of(b), PLACE_A);
	assert_int_equal(nested_alive(rig), 1);
	/* one of them goes */
	nst_viommu_detach_device(rig->viommu, a->dev);
	assert_int_equal(place_of(a), PLACE_SAME);
	assert_int_equal(place_of(b), PLACE_A);
	ok(nst_viommu_attach_alias(rig->viommu, RID_BRIDGE, a->dev));
	assert_int_equal(place_of(a), PLACE_A);
	/* the bus gets another number */
	make_entry(rig, RID_ELSEWHERE, rig->root_b, 6);
	ok(nst_viommu_renumber(
		rig->viommu,
		(struct nst_rid_move[]){ to(a, RID_ELSEWHERE), to(b, RID_ELSEWHERE) }, 2));
	assert_int_equal(place_of(a), PLACE_B);
	assert_int_equal(place_of(b), PLACE_B);
	/* the bridge goes, with both */
	nst_viommu_detach(rig->viommu, RID_ELSEWHERE);
	assert_int_equal(place_of(a), PLACE_SAME);
	assert_int_equal(place_of(b), PLACE_SAME);
	assert_int_equal(nested_alive(rig), 0);
}

static void who_may_not_share_is_told_why(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0], *alias = add_alias(rig, false);
	struct rig_device *other = rig_plug(rig, false);
	unsigned int logged = rig->logged[NST_LOG_ERROR];

	ok(rig_open(rig, other));
	err(EEXIST, nst_viommu_attach(rig->viommu, d->rid, other->dev));
	err(EEXIST, nst_viommu_attach_alias(rig->viommu, d->rid, other->dev));
	err(EEXIST, nst_viommu_attach(rig->viommu, RID_BRIDGE, other->dev));
	err(EEXIST, nst_viommu_attach(rig->viommu, RID_ELSEWHERE, d->dev));	/* twice */
	err(EEXIST, nst_viommu_attach_alias(rig->viommu, RID_BRIDGE, alias->dev));
	assert_int_equal(rig->logged[NST_LOG_ERROR], logged + 5);
	ok(nst_viommu_attach(rig->viommu, other->rid, other->dev));
}

/* The PASID capability that the guest sees in the last 8 bytes; ATS is in the device's own. */
static uint32_t pasid_capability(struct rig_device *d)
{
	uint32_t header;

	ok(nst_device_read(d->dev, VFIO_PCI_CONFIG_REGION_INDEX, 0xff8, &header, sizeof(header)));
	return header;
}

static void no_pasids_behind_a_bridge(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = add_alias(rig, true);

	assert_int_equal(pasid_capability(d), 0);
	guest_enable(rig);
	make_entry(rig, RID_BRIDGE, rig->root_a, 5);
	guest_sync(rig);
	assert_int_equal(place_of(d), PLACE_A);
	nst_viommu_detach_device(rig->viommu, d->dev);
	ok(nst_viommu_attach(rig->viommu, d->rid, d->dev));	/* on a bus of its own it has them */
	assert_int_equal((uint16_t)pasid_capability(d), 0x1b);
}

/* Two devices, one entry: what a saved state says of it is said once, or no unit takes it. */
static void saved_with_a_shared_bad_entry(void **state)
{
	struct rig *rig = *state;
	void *data;
	size_t size;

	add_alias(rig, false);
	add_alias(rig, false);
	guest_enable(rig);
	guest_make_tables(rig, RID_BRIDGE);
	guest_pasid_entry(rig, RID_BRIDGE, 0)[0] = PASID_PRESENT | 7ULL << 6;
	guest_sync(rig);
	faults_clear(rig);
	ok(nst_viommu_save(rig->viommu, &data, &size));
	ok(nst_viommu_restore(rig->viommu, data, size));
	assert_int_equal(faults_pending(rig), 0);
	free(data);
}

/* --- several units ------------------------------------------------------------------------- */

static void second_msi(void *opaque, uint64_t address, uint32_t data)
{
	++*(unsigned int *)opaque;
}

/* A fault, a queue error, a reset and the end of one unit: the other goes on. */
static void units_do_not_disturb_each_other(void **state)
{
	struct rig *rig = *state;
	struct rig_device *mine = &rig->devices[0], *other = rig_plug(rig, false);
	struct nst_viommu *first = rig->viommu, *second;
	unsigned int msis = 0;
	struct nst_vtd_config config = {
		.vm = rig->vm, .log = &rig->log, .send_msi = second_msi, .opaque = &msis };
	struct nst_viommu_stats before;

	ok(nst_vtd_create(&config, &second));
	ok(rig_open(rig, other));
	ok(nst_viommu_attach(second, other->rid, other->dev));
	guest_make_tables(rig, other->rid);
	guest_enable(rig);
	guest_set_stage1(rig, mine->rid, rig->root_a, 5);
	guest_set_stage1(rig, other->rid, rig->root_a, 5);
	guest_sync(rig);
	before = rig_stats(rig);
	rig->viommu = second;
	reg64_set(rig, REG_RTADDR, GPA_ROOT | 1 << 10);
	gcmd(rig, GCMD_SRTP | GCMD_TE, 0);
	assert_int_equal(place_of(other), PLACE_A);
	assert_int_equal(nested_alive(rig), 2);		/* tags are a unit's own: never shared */
	/* a fault of the second is in its registers, and its interrupt is its own */
	guest_pasid_entry(rig, other->rid, 0)[0] = PASID_PRESENT | 7ULL << 6;
	reg32_set(rig, REG_FECTL, 0);
	reg64_set(rig, REG_CCMD, 1ULL << 63 | 1ULL << 61);
	assert_int_equal(place_of(other), NOWHERE);
	assert_int_equal(faults_pending(rig), 1);
	assert_int_equal(msis, 1);
	assert_int_equal(rig->num_msis, 0);
	rig->viommu = first;
	assert_int_equal(faults_pending(rig), 0);
	assert_int_equal(reg32(rig, REG_FSTS), 0);
	assert_int_equal(place_of(mine), PLACE_A);
	/* an invalidation of the first is none of the second's, nor the other way */
	rig->viommu = second;
	guest_set_stage1(rig, other->rid, rig->root_b, 5);
	rig->viommu = first;
	iq_run(rig, PC_GLOBAL, 0);
	assert_int_equal(place_of(other), NOWHERE);
	nst_viommu_reset(second);
	assert_int_equal(place_of(other), PLACE_SAME);
	assert_int_equal(place_of(mine), PLACE_A);
	assert_int_equal(rig_stats(rig).attaches, before.attaches);
	assert_int_equal(rig_stats(rig).faults, 0);
	nst_viommu_destroy(second);
	assert_int_equal(place_of(mine), PLACE_A);
}

/* A device goes from one unit to the other: a unit that it left has nothing to say of it. */
static void a_device_changes_its_unit(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	struct nst_vtd_config config = { .vm = rig->vm, .log = &rig->log };
	struct nst_viommu *second;

	ok(nst_vtd_create(&config, &second));
	guest_enable(rig);
	go(rig, d, PLACE_A);
	nst_viommu_detach_device(rig->viommu, d->dev);
	ok(nst_viommu_attach(second, d->rid, d->dev));
	guest_sync(rig);
	assert_int_equal(place_of(d), PLACE_SAME);
	nst_viommu_detach_device(rig->viommu, d->dev);	/* not there: nothing happens */
	nst_viommu_destroy(second);
	assert_int_equal(nested_alive(rig), 0);
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_RIG(a_device_follows_the_number_of_its_bus),
		WITH_RIG(while_nothing_is_translated),
		WITH_RIG(two_swap),
		WITH_RIG(two_with_one_number),
		WITH_RIG(a_bad_entry_is_told_of_again_by_its_new_number),
		WITH_RIG(a_host_that_refuses),
		WITH_RIG(random_moves_agree_with_the_model),
		WITH_RIG(devices_behind_a_bridge_share_its_entry),
		WITH_RIG(who_may_not_share_is_told_why),
		WITH_RIG(no_pasids_behind_a_bridge),
		WITH_RIG(saved_with_a_shared_bad_entry),
		WITH_RIG(units_do_not_disturb_each_other),
		WITH_RIG(a_device_changes_its_unit),
	};

	return cmocka_run_group_tests_name("vtd topology", tests, NULL, NULL);
}
