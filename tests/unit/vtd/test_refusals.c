// SPDX-License-Identifier: BSD-3-Clause
/*
 * The host says no: to an attachment, a detachment, an invalidation, to everything. A
 * device is then blocked rather than left where it was, the guest is told, and the next
 * invalidation tries again; nothing stale is ever used.
 */
#include "rig.h"

#include "viommu/attach.h"

#include <string.h>

/* QEMU keeps a failed attachment as if it were made: reference/qemu.md 4.1 (6). */
static void a_refused_attachment_blocks_tells_and_is_retried(void **state)
{
	static const unsigned long requests[] = { IOMMU_HWPT_ALLOC, VFIO_DEVICE_ATTACH_IOMMUFD_PT };
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		uint64_t failed = rig_stats(rig).failed_attaches;

		go(rig, d, PLACE_B);
		faults_clear(rig);
		set_place(rig, d, PLACE_A);
		rig_fail_from_now_on(&rig->host, requests[i], ENOMEM);
		for (int n = 0; n < 3; n++)
			iq_run(rig, PC_GLOBAL, 0);
		assert_int_equal(place_of(d), NOWHERE);
		assert_int_equal(nested_alive(rig), 0);
		assert_int_equal(faults_pending(rig), 1);
		assert_int_equal(rig_stats(rig).failed_attaches, failed + 3);
		rig_fail_stop(&rig->host);
		iq_run(rig, DESC_PASID_CACHE(1, 5, 9), 0);	/* any invalidation does */
		assert_int_equal(place_of(d), PLACE_A);
		assert_int_equal(nested_alive(rig), 1);
	}
	/* and the next failure is told again */
	faults_clear(rig);
	set_place(rig, d, PLACE_SAME);
	rig_fail(&rig->host, VFIO_DEVICE_ATTACH_IOMMUFD_PT, 1, EIO);
	iq_run(rig, PC_GLOBAL, 0);
	assert_int_equal(place_of(d), NOWHERE);
	assert_int_equal(faults_pending(rig), 1);
	iq_run(rig, PC_GLOBAL, 0);
	assert_int_equal(place_of(d), PLACE_SAME);
}

static void a_device_that_cannot_be_detached_stays_what_it_is(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	go(rig, d, PLACE_A);
	set_place(rig, d, NOWHERE);
	rig_fail(&rig->host, VFIO_DEVICE_DETACH_IOMMUFD_PT, 1, EIO);
	iq_run(rig, PC_GLOBAL, 0);
	/* the guest hears of it, its invalidations still reach the device, and it is retried */
	assert_int_equal(faults_pending(rig), 1);
	guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 2 * PAGE_SIZE_4K);
	iq_run(rig, DESC_PIOTLB(3, 10 + PLACE_A, 0), PROBE_IOVA);
	assert_int_equal(place_of(d), PLACE_B);
	iq_run(rig, PC_GLOBAL, 0);
	assert_int_equal(place_of(d), NOWHERE);
	assert_int_equal(nested_alive(rig), 0);
}

static void three_on_a(struct rig *rig)
{
	add_two_more(rig);
	for (int i = 0; i < 3; i++)
		set_place(rig, &rig->devices[i], PLACE_A);
	iq_run(rig, PC_GLOBAL, 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(place_of(&rig->devices[i]), PLACE_A);	/* and cached */
	guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 2 * PAGE_SIZE_4K);
}

/* Hook: refuse an invalidation after *hook_data entries, as the kernel does it. */
static int refuse_invalidation(struct rig *rig, unsigned long request, void *arg)
{
	struct iommu_hwpt_invalidate *cmd = arg;
	uint32_t *allowed = rig->hook_data;
	struct nst_host *inner = rig->host.inner;

	if (request != IOMMU_HWPT_INVALIDATE || cmd->entry_num <= *allowed)
		return 0;
	cmd->entry_num = *allowed;
	if (*allowed && inner->ops->ioctl(inner, rig->vm->iommufd.fd, request, arg))
		fail_msg("the software host refuses too");
	*allowed = 0;
	return -ETIMEDOUT;
}

static void a_refused_invalidation_leaves_nothing_stale(void **state)
{
	struct rig *rig = *state;

	three_on_a(rig);
	for (uint32_t allowed = 0; allowed < 4; allowed++) {
		uint32_t left = allowed;

		rig->host.hook = refuse_invalidation;
		rig->hook_data = &left;
		for (uint32_t i = 0; i < 3; i++)
			iq_put(rig, DESC_PIOTLB(3, 10 + PLACE_A, 0), PROBE_IOVA + (2 - i) * 4096);
		iq_sync(rig);
		rig->host.hook = NULL;
		for (int i = 0; i < 3; i++)
			assert_int_equal(place_of(&rig->devices[i]), PLACE_B);
		assert_int_equal(rig_soft_stats(rig).stale_hits, 0);
		assert_int_equal(nested_alive(rig), 1);
		assert_int_equal(faults_pending(rig), 0);
	}
	assert_int_equal(rig_stats(rig).nested_hwpts, 1 + 3);
}

/* An error before the kernel looks at the array leaves entry_num as we wrote it. */
static void an_early_error_does_not_count_as_done(void **state)
{
	struct rig *rig = *state;

	three_on_a(rig);
	rig_fail(&rig->host, IOMMU_HWPT_INVALIDATE, 1, EINTR);
	iq_run(rig, DESC_PIOTLB(3, 10 + PLACE_A, 0), PROBE_IOVA);
	for (int i = 0; i < 3; i++)
		assert_int_equal(place_of(&rig->devices[i]), PLACE_B);
	assert_int_equal(rig_soft_stats(rig).stale_hits, 0);
	assert_int_equal(nested_alive(rig), 1);
}

static void who_cannot_get_a_fresh_hwpt_is_blocked_and_told(void **state)
{
	struct rig *rig = *state;

	three_on_a(rig);
	rig->host.hook = refuse_invalidation;
	rig->hook_data = &(uint32_t){ 0 };
	rig_fail_from_now_on(&rig->host, IOMMU_HWPT_ALLOC, ENOSPC);
	iq_run(rig, DESC_PIOTLB(3, 10 + PLACE_A, 0), PROBE_IOVA);
	for (int i = 0; i < 3; i++)
		assert_int_equal(place_of(&rig->devices[i]), NOWHERE);
	assert_int_equal(nested_alive(rig), 0);
	assert_int_equal(faults_pending(rig), 3);
	rig->host.hook = NULL;
	rig_fail_stop(&rig->host);
	iq_run(rig, PC_GLOBAL, 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(place_of(&rig->devices[i]), PLACE_B);
	assert_int_equal(nested_alive(rig), 1);
}

/* The same in the middle of a batch that is too long, with the domain in every list. */
static void a_refused_invalidation_in_an_overflowing_batch(void **state)
{
	struct rig *rig = *state;
	uint64_t n = ATTACH_BATCH_MAX + 50;

	three_on_a(rig);
	gcmd(rig, 0, GCMD_QIE);
	for (uint64_t i = 0; i < n; i++) {
		uint64_t *at = mem64(rig, GPA_DATA + 32 * i);

		memset(at, 0, 32);
		at[0] = i < n - 1 ? DESC_PIOTLB(3, 10 + PLACE_A, 0) : DESC_WAIT(3);
		at[1] = i < n - 1 ? PROBE_IOVA : GPA_STATUS;
	}
	reg32_set(rig, REG_IQT, 0);
	reg64_set(rig, REG_IQA, GPA_DATA | 1 << 11 | 4);
	gcmd(rig, GCMD_QIE, 0);
	rig_fail_from_now_on(&rig->host, IOMMU_HWPT_INVALIDATE, EIO);
	reg32_set(rig, REG_IQT, (uint32_t)(n * 32));
	rig_fail_stop(&rig->host);
	assert_int_equal(mem32(rig, GPA_STATUS), 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(place_of(&rig->devices[i]), PLACE_B);
	assert_int_equal(nested_alive(rig), 1);
}

/* A device that the host would not give its parent back, and that comes again. */
static void a_device_left_blocked_is_not_taken_for_attached(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	go(rig, d, PLACE_A);
	rig_fail(&rig->host, VFIO_DEVICE_ATTACH_IOMMUFD_PT, 1, ENOMEM);
	nst_viommu_detach(rig->viommu, d->rid);
	assert_int_equal(place_of(d), NOWHERE);
	assert_int_equal(nested_alive(rig), 0);
	set_place(rig, d, PLACE_SAME);
	ok(nst_viommu_attach(rig->viommu, d->rid, d->dev));
	assert_int_equal(place_of(d), PLACE_SAME);
}

static void leaving_when_the_host_refuses_everything(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	rig_add_device(rig);
	guest_enable(rig);
	for (int i = 0; i < 2; i++)
		set_place(rig, &rig->devices[i], PLACE_A);
	iq_run(rig, PC_GLOBAL, 0);
	rig_fail_from_now_on(&rig->host, 0, EIO);
	nst_viommu_detach(rig->viommu, d->rid);
	rig_fail_stop(&rig->host);
	assert_true(rig->logged[NST_LOG_ERROR] > 0);
	/* the other one goes on, and is told what concerns it */
	guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 2 * PAGE_SIZE_4K);
	iq_run(rig, DESC_PIOTLB(3, 10 + PLACE_A, 0), PROBE_IOVA);
	assert_int_equal(place_of(&rig->devices[1]), PLACE_B);
	nst_device_close(d->dev);
	d->dev = NULL;
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_RIG(a_refused_attachment_blocks_tells_and_is_retried),
		WITH_RIG(a_device_that_cannot_be_detached_stays_what_it_is),
		WITH_RIG(a_refused_invalidation_leaves_nothing_stale),
		WITH_RIG(an_early_error_does_not_count_as_done),
		WITH_RIG(who_cannot_get_a_fresh_hwpt_is_blocked_and_told),
		WITH_RIG(a_refused_invalidation_in_an_overflowing_batch),
		WITH_RIG(a_device_left_blocked_is_not_taken_for_attached),
		WITH_RIG(leaving_when_the_host_refuses_everything),
	};

	return cmocka_run_group_tests_name("vtd refusals", tests, NULL, NULL);
}
