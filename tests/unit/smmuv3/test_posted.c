// SPDX-License-Identifier: BSD-3-Clause
/*
 * A device that is refused while the unit waits for it: device_tlb() comes with the command lock
 * held and returns when the device is done, and what the device is doing faults. If a fault waited
 * for the command lock, neither would ever end; the test would not either.
 */
#include "rig.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#define RID 0x25
#define CD_AT GPA_CDTAB
#define NOT_MAPPED 0x12345000ULL
#define EATS (1ULL << 28)
#define OVERFLOW 0x80000000u

struct device {
	struct rig *rig;
	struct nst_notifier *notifier;
	unsigned int faults, refused;
};

/* By turns a transaction, and a Translation Request of a stream that may not ask. */
static void *be_refused(void *opaque)
{
	struct device *d = opaque;

	for (unsigned int i = 0; i < d->faults; i++) {
		const struct nst_translate_request req = {
			.rid = RID, .pasid = NST_NO_PASID, .iova = { NOT_MAPPED + i * PAGE_SIZE_4K },
		};
		const struct nst_ats_request ats = { .rid = RID + 1, .pasid = NST_NO_PASID, .pages = 1 };
		struct nst_translation out;
		struct nst_ats_entry entry;
		enum nst_ats_status status;
		unsigned int count;

		if (i % 2)
			d->refused += !nst_viommu_ats_translate(d->rig->viommu, &ats, &entry, 1,
								&count, &status) &&
				      status == NST_ATS_UNSUPPORTED_REQUEST;
		else
			d->refused += nst_viommu_translate(d->rig->viommu, &req, &out) == -EFAULT;
	}
	return NULL;
}

static int wait_for_device(void *opaque, const struct nst_device_tlb_invalidation *invalidation)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, be_refused, opaque), 0);
	pthread_join(thread, NULL);
	return 0;
}

/* Its device TLB is invalidated, and no more: nothing has waited for that yet. */
static void begin(struct device *d, unsigned int faults)
{
	const struct nst_notifier_config config = {
		.rid = RID,
		.pasid = NST_EVERY_PASID,
		.last = { UINT64_MAX },
		.device_tlb = wait_for_device,
		.opaque = d,
	};
	struct rig *rig = rig_create(&(struct rig_options){ .features = NST_SMMUV3_ATS });

	*d = (struct device){ .rig = rig, .faults = faults };
	guest_enable(rig);
	guest_write_cd(rig, CD_AT, rig->root_a, 7);
	for (unsigned int rid = RID; rid <= RID + 1; rid++) {
		guest_ste(rig, rid)[0] = STE_S1(CD_AT);
		guest_ste(rig, rid)[1] = 2 | (rid == RID ? EATS : 0);
	}
	cmdq_run(rig, CMD_CFGI_ALL, 31);
	ok(nst_viommu_notify(rig->viommu, &config, &d->notifier));
	cmdq_put(rig, CMD_ATC_INV(RID), 52);
	cmdq_kick(rig);
	assert_int_equal(d->refused, faults);
}

static void end(struct device *d)
{
	nst_notifier_remove(d->notifier);
	rig_destroy(d->rig);
}

static bool has_work(struct rig *rig)
{
	struct pollfd p = { .fd = nst_viommu_fd(rig->viommu), .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

static void check_events(struct rig *rig, unsigned int count)
{
	uint64_t event[4];

	for (unsigned int i = 0; i < count; i++) {
		assert_true(event_take(rig, event));
		assert_int_equal(event[0] & 0xff, i % 2 ? 0x05 : 0x10);
		assert_int_equal(event[0] >> 32, RID + i % 2);
		if (i % 2 == 0)
			assert_int_equal(event[2], NOT_MAPPED + i * PAGE_SIZE_4K);
	}
	assert_false(event_take(rig, event));
}

static void recorded_by_the_next_work(void **state)
{
	struct device d;

	begin(&d, 5);
	assert_true(has_work(d.rig));
	assert_int_equal(reg32(d.rig, REG_EVENTQ_PROD), 0);
	nst_viommu_process(d.rig->viommu);
	assert_false(has_work(d.rig));
	check_events(d.rig, 5);
	end(&d);
}

/* What was refused before a CMD_SYNC has its record when that completes. */
static void recorded_before_a_sync_completes(void **state)
{
	struct device d;

	begin(&d, 3);
	cmdq_run(d.rig, CMD_CFGI_ALL, 31);
	assert_int_equal(reg32(d.rig, REG_EVENTQ_PROD), 3);
	check_events(d.rig, 3);
	end(&d);
}

static void too_many_are_an_overflow(void **state)
{
	static const unsigned int faults[] = { 16, 17, 40 };
	struct device d;

	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		begin(&d, faults[i]);
		nst_viommu_process(d.rig->viommu);
		assert_int_equal(!!(reg32(d.rig, REG_EVENTQ_PROD) & OVERFLOW), faults[i] > 16);
		check_events(d.rig, 16);
		end(&d);
	}
}

static void a_reset_forgets_them(void **state)
{
	struct device d;

	begin(&d, 3);
	nst_viommu_reset(d.rig->viommu);
	guest_enable(d.rig);
	nst_viommu_process(d.rig->viommu);
	assert_int_equal(reg32(d.rig, REG_EVENTQ_PROD), 0);
	end(&d);
}

static void part_of_a_saved_state(void **state)
{
	struct device d;
	void *saved;
	size_t size;

	begin(&d, 3);
	ok(nst_viommu_save(d.rig->viommu, &saved, &size));
	nst_viommu_reset(d.rig->viommu);
	ok(nst_viommu_restore(d.rig->viommu, saved, size));
	free(saved);
	check_events(d.rig, 3);
	end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(recorded_by_the_next_work),
		cmocka_unit_test(recorded_before_a_sync_completes),
		cmocka_unit_test(too_many_are_an_overflow),
		cmocka_unit_test(a_reset_forgets_them),
		cmocka_unit_test(part_of_a_saved_state),
	};

	return cmocka_run_group_tests_name("smmuv3 posted faults", tests, NULL, NULL);
}
