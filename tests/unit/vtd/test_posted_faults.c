// SPDX-License-Identifier: BSD-3-Clause
/*
 * A device that is refused while the unit waits for it: device_tlb() comes with the command lock
 * held and returns when the device is done, and what the device is doing faults. If a
 * fault waited for the command lock, neither would ever end; the test would not either.
 */
#include "translate_world.h"

#include <poll.h>
#include <pthread.h>

#define DTE 4ULL

struct device {
	struct world *w;
	struct nst_notifier *notifier;
	unsigned int faults, refused;
	bool same; /* faults of one requester, which share a register */
};

static void *be_refused(void *opaque)
{
	struct device *d = opaque;

	for (unsigned int i = 0; i < d->faults; i++) {
		/* another requester each time: equal records would be one */
		const struct nst_translate_request req = {
			.rid = (nst_rid)(RID + 8 * (d->same ? 1 : i + 1)), .pasid = NO, .iova = { IOVA },
		};
		const struct nst_ats_request ats = { .rid = req.rid, .pasid = NO, .pages = 1 };
		struct nst_translation out;
		struct nst_ats_entry entry;
		enum nst_ats_status status;
		unsigned int count;

		if (i % 2 || d->same)
			d->refused += nst_viommu_translate(d->w->viommu, &req, &out) == -EFAULT;
		else
			d->refused += !nst_viommu_ats_translate(d->w->viommu, &ats, &entry, 1,
								&count, &status) &&
				      status == NST_ATS_UNSUPPORTED_REQUEST;
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

static void begin_as(struct device *d, unsigned int faults, bool same)
{
	struct nst_notifier_config config = {
		.rid = RID, .pasid = NO, .last = { UINT64_MAX }, .device_tlb = wait_for_device, .opaque = d,
	};

	*d = (struct device){ .w = create(ALL), .faults = faults, .same = same };
	first_stage(d->w);
	at(d->w, CONTEXT + RID * 32)[0] |= DTE;
	enable(d->w, 1);
	assert_int_equal(nst_viommu_notify(d->w->viommu, &config, &d->notifier), 0);
	invalidate(d->w, 3 | (uint64_t)RID << 32, ~0ULL << 12 | 1); /* of its device TLB, everything */
	assert_int_equal(d->refused, faults);
}

static void begin(struct device *d, unsigned int faults)
{
	begin_as(d, faults, false);
}

static void end(struct device *d)
{
	nst_notifier_remove(d->notifier);
	destroy(d->w);
}

static bool has_work(struct world *w)
{
	struct pollfd p = { .fd = nst_viommu_fd(w->viommu), .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

static void recorded_by_the_next_work(void **state)
{
	struct nst_viommu_stats stats;
	struct device d;

	begin(&d, 3);
	assert_true(has_work(d.w));
	nst_viommu_process(d.w->viommu);
	assert_false(has_work(d.w));
	assert_int_equal(reg(d.w, 0x34, 4), 2); /* PPF, FRI 0 */
	for (unsigned int i = 0; i < 3; i++) {
		uint64_t high = reg(d.w, 0x220 + 16 * i + 8, 8);

		assert_true(high >> 63);
		assert_int_equal(high & 0xffff, RID + 8 * (i + 1));
	}
	assert_false(reg(d.w, 0x220 + 16 * 3 + 8, 8) >> 63);
	nst_viommu_get_stats(d.w->viommu, &stats);
	assert_int_equal(stats.faults, 3);
	end(&d);
}

/* More than wait: an overflow. The registers, 8, hold the first. */
static void too_many_are_an_overflow(void **state)
{
	struct nst_viommu_stats stats;
	struct device d;

	begin(&d, 40);
	nst_viommu_process(d.w->viommu);
	assert_int_equal(reg(d.w, 0x34, 4) & 3, 3);
	assert_int_equal(reg(d.w, 0x228, 8) & 0xffff, RID + 8);
	nst_viommu_get_stats(d.w->viommu, &stats);
	assert_int_equal(stats.faults, 16);
	end(&d);

	begin(&d, 5);
	nst_viommu_process(d.w->viommu);
	assert_int_equal(reg(d.w, 0x34, 4) & 3, 2); /* nothing of the last unit's is left */
	end(&d);
}

/* Equal records are one, so here nothing but what did not fit can be an overflow. */
static void what_does_not_fit_is_an_overflow(void **state)
{
	struct device d;

	begin_as(&d, 16, true);
	nst_viommu_process(d.w->viommu);
	assert_int_equal(reg(d.w, 0x34, 4) & 3, 2);
	end(&d);
	begin_as(&d, 17, true);
	nst_viommu_process(d.w->viommu);
	assert_int_equal(reg(d.w, 0x34, 4) & 3, 3);
	end(&d);
}

static void a_reset_forgets_them(void **state)
{
	struct device d;

	begin(&d, 3);
	nst_viommu_reset(d.w->viommu);
	nst_viommu_process(d.w->viommu);
	assert_int_equal(reg(d.w, 0x34, 4), 0);
	assert_int_equal(reg(d.w, 0x228, 8), 0);
	end(&d);
}

/* One that was posted before comes first, whoever records it. */
static void in_their_order(void **state)
{
	struct device d;
	struct nst_translation out;

	begin(&d, 1);
	assert_int_equal(translate(d.w, NO, IOVA + 0x1000, true, &out), -EFAULT);
	assert_int_equal(reg(d.w, 0x228, 8) & 0xffff, RID + 8);
	assert_int_equal(reg(d.w, 0x238, 8) & 0xffff, RID);
	end(&d);
}

static void part_of_a_saved_state(void **state)
{
	struct device d;
	void *saved;
	size_t size;

	begin(&d, 1);
	assert_int_equal(nst_viommu_save(d.w->viommu, &saved, &size), 0);
	nst_viommu_reset(d.w->viommu);
	assert_int_equal(nst_viommu_restore(d.w->viommu, saved, size), 0);
	assert_int_equal(reg(d.w, 0x228, 8) & 0xffff, RID + 8);
	free(saved);
	end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(recorded_by_the_next_work),
		cmocka_unit_test(too_many_are_an_overflow),
		cmocka_unit_test(what_does_not_fit_is_an_overflow),
		cmocka_unit_test(a_reset_forgets_them),
		cmocka_unit_test(in_their_order),
		cmocka_unit_test(part_of_a_saved_state),
	};

	return cmocka_run_group_tests_name("vtd posted faults", tests, NULL, NULL);
}
