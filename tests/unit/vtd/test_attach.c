// SPDX-License-Identifier: BSD-3-Clause
/*
 * What devices are attached to, seen where it counts: by their DMA. Places: see rig.h;
 * NOWHERE is BLOCKED, PLACE_SAME is BYPASS, PLACE_A to PLACE_C are first-stage tables.
 */
#include "rig.h"

#include "viommu/attach.h"

#include <string.h>

static void every_pair_of_attachments(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	for (enum place from = NOWHERE; from < NUM_PLACES; from++) {
		for (enum place to = NOWHERE; to < NUM_PLACES; to++) {
			unsigned int calls;

			go(rig, d, from);
			calls = rig->host.total;
			go(rig, d, to);
			if (from == to)		/* the host hears nothing of it */
				assert_int_equal(rig->host.total, calls);
		}
	}
	assert_int_equal(rig_soft_stats(rig).stale_hits, 0);
}

static void every_trigger_reaches_the_device(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	const uint64_t descs[] = {
		PC_GLOBAL, DESC_PASID_CACHE(0, 1, 0), DESC_PASID_CACHE(1, 1, 0),
		DESC_CONTEXT(1, 0, 0), DESC_CONTEXT(2, 1, 0),
		/* QEMU's passthrough devices miss this one: reference/qemu.md 4.1 (5) */
		DESC_CONTEXT(3, 1, d->rid),
	};

	guest_enable(rig);
	for (size_t i = 0; i < ARRAY_SIZE(descs); i++) {
		set_place(rig, d, PLACE_A);
		iq_run(rig, descs[i], 0);
		assert_int_equal(place_of(d), PLACE_A);
		set_place(rig, d, NOWHERE);
		iq_run(rig, descs[i], 0);
		assert_int_equal(place_of(d), NOWHERE);
	}
	set_place(rig, d, PLACE_A);
	reg64_set(rig, REG_CCMD, 1ULL << 63 | 1ULL << 61);
	assert_int_equal(place_of(d), PLACE_A);
	set_place(rig, d, PLACE_B);
	gcmd(rig, GCMD_SRTP, 0);
	assert_int_equal(place_of(d), PLACE_B);
}

/* Caching mode: an entry that was absent is looked at again when the guest says so. */
static void an_entry_made_present_after_boot(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	assert_int_equal(reg64(rig, REG_CAP) >> 7 & 1, 1);
	assert_int_equal(place_of(d), NOWHERE);
	set_place(rig, d, PLACE_A);
	assert_int_equal(place_of(d), NOWHERE);
	/* what Linux sends for it if CM is set */
	iq_run(rig, DESC_PASID_CACHE(1, 12, 0), 0);
	iq_run(rig, DESC_PIOTLB(2, 12, 0), 0);
	assert_int_equal(place_of(d), PLACE_A);
}

static void device_selective_invalidation_takes_the_function_mask(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[1];
	static const struct { uint16_t sid_flip, fm; bool hit; } cases[] = {
		{ 0, 0, true }, { 1, 0, false }, { 4, 1, true }, { 2, 1, false }, { 6, 2, true },
		{ 1, 2, false }, { 7, 3, true }, { 8, 3, false }, { 0x100, 3, false },
	};

	rig_add_device(rig);
	guest_enable(rig);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		go(rig, d, NOWHERE);
		set_place(rig, d, PLACE_A);
		iq_run(rig, DESC_CONTEXT(3, 0, d->rid ^ cases[i].sid_flip) |
				    (uint64_t)cases[i].fm << 48, 0);
		assert_int_equal(place_of(d), cases[i].hit ? PLACE_A : NOWHERE);
	}
}

/* --- sharing --------------------------------------------------------------------------------- */

static void equal_keys_share_one_hwpt(void **state)
{
	struct rig *rig = *state;
	unsigned int calls;

	add_two_more(rig);
	for (int i = 0; i < 3; i++)
		set_place(rig, &rig->devices[i], PLACE_A);
	iq_run(rig, PC_GLOBAL, 0);
	assert_int_equal(nested_alive(rig), 1);
	assert_int_equal(rig_stats(rig).nested_hwpts, 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(place_of(&rig->devices[i]), PLACE_A);
	/* one invalidation for all: QEMU makes one call per device */
	calls = rig_calls(&rig->host, IOMMU_HWPT_INVALIDATE);
	guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 2 * PAGE_SIZE_4K);
	iq_run(rig, DESC_PIOTLB(3, 10 + PLACE_A, 0), PROBE_IOVA);
	assert_int_equal(rig_calls(&rig->host, IOMMU_HWPT_INVALIDATE), calls + 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(place_of(&rig->devices[i]), PLACE_B);
	/* it lives as long as one uses it, in whatever order they leave */
	nst_viommu_detach(rig->viommu, rig->devices[1].rid);
	assert_int_equal(nested_alive(rig), 1);
	set_place(rig, &rig->devices[0], NOWHERE);
	iq_run(rig, PC_GLOBAL, 0);
	assert_int_equal(nested_alive(rig), 1);
	assert_int_equal(place_of(&rig->devices[2]), PLACE_B);
	set_place(rig, &rig->devices[2], PLACE_C);
	iq_run(rig, PC_GLOBAL, 0);
	assert_int_equal(nested_alive(rig), 1);
	set_place(rig, &rig->devices[2], PLACE_SAME);
	iq_run(rig, PC_GLOBAL, 0);
	assert_int_equal(nested_alive(rig), 0);
}

static void different_keys_do_not_share(void **state)
{
	struct rig *rig = *state;
	uint64_t *entries[2];

	rig_add_device(rig);
	guest_enable(rig);
	for (int i = 0; i < 2; i++)
		entries[i] = guest_pasid_entry(rig, rig->devices[i].rid, 0);
	for (int what = 0; what < 6; what++) {
		for (int i = 0; i < 2; i++)
			set_place(rig, &rig->devices[i], PLACE_A);
		switch (what) {
		case 0:
			break;
		case 1:		/* domain id, in the same hash bucket */
			entries[1][1] += ATTACH_DOMAIN_BUCKETS;
			break;
		case 2:		/* root */
			entries[1][2] = rig->root_b;
			break;
		default:	/* SRE, WPE, EAFE */
			entries[1][2] |= what == 3 ? 1 : what == 4 ? 1 << 4 : 1 << 7;
		}
		iq_run(rig, PC_GLOBAL, 0);
		assert_int_equal(nested_alive(rig), what ? 2 : 1);
		assert_int_equal(place_of(&rig->devices[0]), PLACE_A);
		assert_int_equal(place_of(&rig->devices[1]), what == 2 ? PLACE_B : PLACE_A);
	}
}

/* Hook: an HWPT takes one device, as between IOMMUs that are not alike. */
static int one_device_per_hwpt(struct rig *rig, unsigned long request, void *arg)
{
	const struct vfio_device_attach_iommufd_pt *cmd = arg;
	uint32_t *taken = rig->hook_data;

	if (request != VFIO_DEVICE_ATTACH_IOMMUFD_PT || cmd->pt_id <= *taken)
		return cmd && request == VFIO_DEVICE_ATTACH_IOMMUFD_PT && cmd->pt_id == *taken ?
			       -EINVAL : 0;
	*taken = cmd->pt_id;
	return 0;
}

static void a_host_that_does_not_share_gets_one_each(void **state)
{
	struct rig *rig = *state;
	uint32_t taken;

	rig_add_device(rig);
	guest_enable(rig);
	taken = rig->devices[0].dev->parent->hwpt_id;
	rig->host.hook = one_device_per_hwpt;
	rig->hook_data = &taken;
	for (int i = 0; i < 2; i++)
		set_place(rig, &rig->devices[i], PLACE_A);
	iq_run(rig, PC_GLOBAL, 0);
	rig->host.hook = NULL;
	assert_int_equal(nested_alive(rig), 2);
	assert_int_equal(rig_stats(rig).failed_attaches, 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(place_of(&rig->devices[i]), PLACE_A);
	/* invalidations reach both */
	guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 3 * PAGE_SIZE_4K);
	iq_run(rig, DESC_PIOTLB(3, 10 + PLACE_A, 0), PROBE_IOVA);
	for (int i = 0; i < 2; i++)
		assert_int_equal(place_of(&rig->devices[i]), PLACE_C);
}

/* --- the guest's other ways of changing everything ------------------------------------------- */

/* QEMU keeps the nested attachment when TE goes off: reference/qemu.md 4.1 (1). */
static void te_off_ends_nesting(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	go(rig, d, PLACE_A);
	gcmd(rig, 0, GCMD_TE);
	assert_int_equal(place_of(d), PLACE_SAME);
	assert_int_equal(nested_alive(rig), 0);
	/* tables are not looked at while it is off */
	set_place(rig, d, PLACE_B);
	iq_run(rig, PC_GLOBAL, 0);
	assert_int_equal(place_of(d), PLACE_SAME);
	gcmd(rig, GCMD_TE, 0);
	assert_int_equal(place_of(d), PLACE_B);
	/* nor does a new root matter */
	gcmd(rig, 0, GCMD_TE);
	reg64_set(rig, REG_RTADDR, GPA_NOTHING | 1 << 10);
	gcmd(rig, GCMD_SRTP, 0);
	assert_int_equal(place_of(d), PLACE_SAME);
	assert_int_equal(faults_pending(rig), 0);
}

static void a_new_root_counts_when_it_is_set(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	go(rig, d, PLACE_A);
	/* other tables, where the device is on B */
	*mem64(rig, GPA_ROOT2) = (GPA_ROOT2 + 0x1000) | 1;
	*mem64(rig, GPA_ROOT2 + 0x1000 + 32 * d->rid) = (GPA_ROOT2 + 0x2000) | 1;
	*mem64(rig, GPA_ROOT2 + 0x2000) = (GPA_ROOT2 + 0x3000) | 1;
	memset(mem64(rig, GPA_ROOT2 + 0x3000), 0, 64);
	*mem64(rig, GPA_ROOT2 + 0x3000) = PASID_PRESENT | PASID_FIRST_STAGE;
	*mem64(rig, GPA_ROOT2 + 0x3008) = 3;
	*mem64(rig, GPA_ROOT2 + 0x3010) = rig->root_b;
	reg64_set(rig, REG_RTADDR, GPA_ROOT2 | 1 << 10);
	iq_run(rig, PC_GLOBAL, 0);
	assert_int_equal(place_of(d), PLACE_A);	/* written, not set */
	gcmd(rig, GCMD_SRTP, 0);
	assert_int_equal(place_of(d), PLACE_B);
	/* CAP.ESRTPS: the same root set again empties the caches */
	guest_map(rig, rig->root_b, PROBE_IOVA, PROBE_IOVA + 3 * PAGE_SIZE_4K);
	assert_int_equal(place_of(d), PLACE_B);
	gcmd(rig, GCMD_SRTP, 0);
	assert_int_equal(place_of(d), PLACE_C);
	/* no tables there: nobody goes anywhere */
	reg64_set(rig, REG_RTADDR, GPA_NOTHING | 1 << 10);
	gcmd(rig, GCMD_SRTP, 0);
	assert_int_equal(place_of(d), NOWHERE);
	assert_int_equal(fault_reason(rig, 0), 0x38);
	/* abort mode: the same, silently */
	faults_clear(rig);
	reg64_set(rig, REG_RTADDR, GPA_ROOT | 3 << 10);
	gcmd(rig, GCMD_SRTP, 0);
	assert_int_equal(place_of(d), NOWHERE);
	assert_int_equal(faults_pending(rig), 0);
}

static void reset_lets_go_of_everything(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	go(rig, d, PLACE_A);
	nst_viommu_reset(rig->viommu);
	assert_int_equal(place_of(d), PLACE_SAME);
	assert_int_equal(nested_alive(rig), 0);
	assert_int_equal(reg32(rig, REG_GSTS), 0);
	guest_enable(rig);
	go(rig, d, PLACE_B);
	/* a device that was blocked too */
	go(rig, d, NOWHERE);
	nst_viommu_reset(rig->viommu);
	assert_int_equal(place_of(d), PLACE_SAME);
}

/* QEMU's two passes both skip it: reference/qemu.md 4.1 (3). */
static void an_entry_replaced_in_place_is_invalidated_by_its_old_domain(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	static const unsigned int grans[] = { 0, 1, 3 };

	guest_enable(rig);
	for (size_t i = 0; i < ARRAY_SIZE(grans); i++) {
		guest_set_stage1(rig, d->rid, rig->root_a, 20);
		iq_run(rig, PC_GLOBAL, 0);
		assert_int_equal(place_of(d), PLACE_A);
		guest_set_stage1(rig, d->rid, rig->root_b, 21);
		iq_run(rig, DESC_PASID_CACHE(grans[i], 20, 0), 0);
		assert_int_equal(place_of(d), PLACE_B);
		/* and invalidations of pages now go by the new one */
		guest_map(rig, rig->root_b, PROBE_IOVA, PROBE_IOVA + 3 * PAGE_SIZE_4K);
		iq_run(rig, DESC_PIOTLB(3, 20, 0), PROBE_IOVA);
		assert_int_equal(place_of(d), PLACE_B);
		iq_run(rig, DESC_PIOTLB(3, 21, 0), PROBE_IOVA);
		assert_int_equal(place_of(d), PLACE_C);
		guest_map(rig, rig->root_b, PROBE_IOVA, PROBE_IOVA + 2 * PAGE_SIZE_4K);
		iq_run(rig, DESC_PIOTLB(2, 21, 0), 0);
	}
}

/* QEMU takes a vanished entry for a valid one of zeros: reference/qemu.md 4.1 (4). */
static void a_vanished_entry_blocks(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t *links[] = { guest_root_entry(rig, d->rid), guest_context_entry(rig, d->rid),
			      guest_dir_entry(rig, d->rid, 0), guest_pasid_entry(rig, d->rid, 0) };

	guest_enable(rig);
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		uint64_t saved;

		go(rig, d, PLACE_A);
		saved = *links[i];
		*links[i] = 0;
		guest_sync(rig);
		assert_int_equal(place_of(d), NOWHERE);
		assert_int_equal(nested_alive(rig), 0);
		*links[i] = saved;
		guest_sync(rig);
		assert_int_equal(place_of(d), PLACE_A);
	}
	assert_int_equal(faults_pending(rig), 0);
}

static void legacy_pass_through_works(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	*mem64(rig, GPA_ROOT2) = (GPA_ROOT2 + 0x1000) | 1;
	*mem64(rig, GPA_ROOT2 + 0x1000 + 16 * d->rid) = 1 | 2 << 2;
	*mem64(rig, GPA_ROOT2 + 0x1008 + 16 * d->rid) = 2 | 9 << 8;
	reg64_set(rig, REG_RTADDR, GPA_ROOT2);
	gcmd(rig, GCMD_SRTP, 0);
	gcmd(rig, GCMD_TE, 0);
	assert_int_equal(place_of(d), PLACE_SAME);
	/* a type that there is not: blocked, and said */
	*mem64(rig, GPA_ROOT2 + 0x1000 + 16 * d->rid) = GPA_DATA | 1 | 3 << 2;
	reg64_set(rig, REG_CCMD, 1ULL << 63 | 1ULL << 61);
	assert_int_equal(place_of(d), NOWHERE);
	assert_int_equal(fault_reason(rig, 0), 3);
}

/* --- coming and going ------------------------------------------------------------------------ */

/* QEMU leaks the nested HWPT of an unplugged device: reference/qemu.md 4.1 (2). */
static void unplugging_leaves_nothing_behind(void **state)
{
	struct rig *rig = *state;

	add_two_more(rig);
	for (int i = 0; i < 3; i++)
		set_place(rig, &rig->devices[i], i < 2 ? PLACE_A : PLACE_B);
	iq_run(rig, PC_GLOBAL, 0);
	assert_int_equal(nested_alive(rig), 2);
	for (int i = 0; i < 3; i++) {
		struct rig_device *d = &rig->devices[i];

		nst_viommu_detach(rig->viommu, d->rid);
		nst_viommu_detach(rig->viommu, d->rid);		/* no more there: nothing happens */
		assert_int_equal(place_of(d), PLACE_SAME);
		nst_device_close(d->dev);
		d->dev = NULL;
		assert_int_equal(place_of(d), NOWHERE);
	}
	/* the parent could be destroyed: nothing hung on it */
	assert_int_equal(rig->host.live_objects, 1);
	assert_int_equal(rig->logged[NST_LOG_ERROR], 0);
}

static void plugged_in_while_translating(void **state)
{
	struct rig *rig = *state;
	struct rig_device *late;

	guest_enable(rig);
	go(rig, &rig->devices[0], PLACE_A);
	late = rig_plug(rig, false);
	guest_make_tables(rig, late->rid);
	ok(rig_open(rig, late));
	assert_int_equal(place_of(late), PLACE_SAME);
	ok(nst_viommu_attach(rig->viommu, late->rid, late->dev));
	assert_int_equal(place_of(late), NOWHERE);
	nst_viommu_detach(rig->viommu, late->rid);
	/* its entry is there already: it joins the others at once */
	set_place(rig, late, PLACE_A);
	ok(nst_viommu_attach(rig->viommu, late->rid, late->dev));
	assert_int_equal(place_of(late), PLACE_A);
	assert_int_equal(nested_alive(rig), 1);
	err(EEXIST, nst_viommu_attach(rig->viommu, late->rid, late->dev));
	/* unplugged and back with an invalidation collected, never sent to the host */
	iq_put(rig, DESC_PIOTLB(3, 10 + PLACE_A, 0), PROBE_IOVA);
	nst_viommu_detach(rig->viommu, late->rid);
	iq_sync(rig);
	assert_int_equal(place_of(&rig->devices[0]), PLACE_A);
}

/* Random histories against a model that knows only what each entry says. */
static void random_histories_agree_with_the_model(void **state)
{
	struct rig *rig = *state;
	enum place entries[RIG_MAX_DEVICES] = { NOWHERE };
	bool plugged[RIG_MAX_DEVICES] = { true, true, true };
	bool te = true;
	uint64_t seed = 5;

	add_two_more(rig);
	for (int step = 0; step < 3000; step++) {
		int i = (int)(test_random(&seed) % 3);
		struct rig_device *d = &rig->devices[i];
		unsigned int keys = 0;

		switch (test_random(&seed) % 8) {
		case 0:
			te = !te;
			gcmd(rig, te ? GCMD_TE : 0, te ? 0 : GCMD_TE);
			break;
		case 1:
			if (plugged[i])
				nst_viommu_detach(rig->viommu, d->rid);
			else
				ok(nst_viommu_attach(rig->viommu, d->rid, d->dev));
			plugged[i] = !plugged[i];
			break;
		case 2:
			iq_put(rig, DESC_PIOTLB(3, 10 + test_random(&seed) % NUM_PLACES, 0),
			       PROBE_IOVA);
			break;
		default:
			entries[i] = (enum place)(test_random(&seed) % NUM_PLACES);
			set_place(rig, d, entries[i]);
		}
		iq_run(rig, DESC_PASID_CACHE(1, test_random(&seed) % 30, 0), 0);
		for (int n = 0; n < 3; n++) {
			enum place want = te && plugged[n] ? entries[n] : PLACE_SAME;

			assert_int_equal(place_of(&rig->devices[n]), want);
			keys |= want >= PLACE_A ? 1u << want : 0;
		}
		assert_int_equal(nested_alive(rig), __builtin_popcount(keys));
	}
	assert_int_equal(rig_soft_stats(rig).stale_hits, 0);
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_RIG(every_pair_of_attachments),
		WITH_RIG(every_trigger_reaches_the_device),
		WITH_RIG(an_entry_made_present_after_boot),
		WITH_RIG(device_selective_invalidation_takes_the_function_mask),
		WITH_RIG(equal_keys_share_one_hwpt),
		WITH_RIG(different_keys_do_not_share),
		WITH_RIG(a_host_that_does_not_share_gets_one_each),
		WITH_RIG(te_off_ends_nesting),
		WITH_RIG(a_new_root_counts_when_it_is_set),
		WITH_RIG(reset_lets_go_of_everything),
		WITH_RIG(an_entry_replaced_in_place_is_invalidated_by_its_old_domain),
		WITH_RIG(a_vanished_entry_blocks),
		WITH_RIG(legacy_pass_through_works),
		WITH_RIG(unplugging_leaves_nothing_behind),
		WITH_RIG(plugged_in_while_translating),
		WITH_RIG(random_histories_agree_with_the_model),
	};

	return cmocka_run_group_tests_name("vtd attachments", tests, NULL, NULL);
}
