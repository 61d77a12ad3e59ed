// SPDX-License-Identifier: BSD-3-Clause
/*
 * Devices at work while the guest invalidates. When vtd_hw_flush_pages() has returned,
 * the page that was unmapped is the guest's again: a canary put there must live.
 */
#include "vtd_rig.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

enum { DEVICES = 2, ROUNDS = 1000, PAGE_A = 0x5000, PAGE_B = 0x6000, SHARE = 4096 / DEVICES };

struct device {
	struct rig *rig;
	uint64_t iova;
	atomic_bool stop;
	atomic_uint writes, faults;
	pthread_t thread;
};

/* Writes its share of the page at IOVA 0x1000, over and over; faults are expected. */
static void *work(void *arg)
{
	struct device *d = arg;
	uint8_t share[SHARE];

	memset(share, 0xdd, sizeof(share));
	while (!atomic_load(&d->stop)) {
		if (rig_dma(d->rig, true, d->iova, share, sizeof(share)))
			atomic_fetch_add(&d->faults, 1);
		else
			atomic_fetch_add(&d->writes, 1);
	}
	return NULL;
}

/* Faults are logged by any thread; what the rig keeps of them is for one. */
static void silence(struct rig *rig)
{
	rig->log.level = NST_LOG_ERROR;
}

static void start(struct device *devices, struct rig *rig)
{
	for (int i = 0; i < DEVICES; i++) {
		devices[i] = (struct device){ .rig = rig,
					      .iova = 0x1000 + (uint64_t)i * SHARE };
		assert_int_equal(pthread_create(&devices[i].thread, NULL, work, &devices[i]), 0);
	}
}

static void stop(struct device *devices)
{
	for (int i = 0; i < DEVICES; i++)
		atomic_store(&devices[i].stop, true);
	for (int i = 0; i < DEVICES; i++)
		assert_int_equal(pthread_join(devices[i].thread, NULL), 0);
}

static unsigned int done(const struct device *d)
{
	return atomic_load(&d->writes) + atomic_load(&d->faults);
}

/* Until each device has begun and finished a request after this call. */
static void let_devices_work(struct device *devices)
{
	for (int i = 0; i < DEVICES; i++)
		for (unsigned int now = done(&devices[i]); done(&devices[i]) - now < 2;)
			sched_yield();
}

static void check_canary(const uint8_t *page, uint8_t canary)
{
	for (size_t i = 0; i < 4096; i++)
		assert_int_equal(page[i], canary);
}

static void no_write_arrives_after_the_flush(void **state)
{
	struct rig *rig = *state;
	struct device devices[DEVICES];
	uint64_t at = PAGE_A;

	silence(rig);
	rig_map(rig, 0x1000, at, 1, E_RW);
	start(devices, rig);
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t next = round % 3 == 2 ? 0 : at == PAGE_A ? PAGE_B : PAGE_A;
		uint8_t canary = (uint8_t)(round % 100);

		rig_map(rig, 0x1000, next, 1, next ? E_RW : 0);
		if (round % 16 == 15)
			vtd_hw_flush_domain(rig->hw, RIG_DID);
		else
			vtd_hw_flush_pages(rig->hw, RIG_DID, 0x1000, 1, round % 2);
		if (at)
			memset(&rig->ram[at], canary, 4096);
		if (round % 32 == 0)
			let_devices_work(devices);
		if (at)
			check_canary(&rig->ram[at], canary);
		at = next;
	}
	stop(devices);
	assert_true(atomic_load(&devices[0].writes) > 0);
}

/* The same for the second stage: the memory may be unmapped when map_end() returns. */
static void no_access_after_the_memory_is_taken_away(void **state)
{
	struct rig *rig = *state;
	struct device devices[DEVICES];

	silence(rig);
	rig_clear_s2(rig);
	rig_add_s2(rig, RIG_TABLES, 1 << 20, rig->ram + RIG_TABLES, RANGE_READ | RANGE_WRITE);
	rig_map(rig, 0x1000, 0x5000, 1, E_RW);
	start(devices, rig);
	for (int round = 0; round < ROUNDS / 25; round++) {
		void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				  -1, 0);

		assert_ptr_not_equal(page, MAP_FAILED);
		rig_add_s2(rig, 0x5000, 4096, page, RANGE_READ | RANGE_WRITE);
		let_devices_work(devices);
		vtd_hw_map_begin(rig->hw);
		range_map_remove_at(&rig->s2, range_map_lower_bound(&rig->s2, 0x5000));
		vtd_hw_map_end(rig->hw, true);
		assert_int_equal(munmap(page, 4096), 0);
	}
	stop(devices);
	assert_true(atomic_load(&devices[0].writes) > 0);
}

/* Entries come and go under the devices; after each change none uses the old one. */
static void no_access_after_the_entry_is_cleared(void **state)
{
	struct rig *rig = *state;
	struct device devices[DEVICES];

	silence(rig);
	rig_map(rig, 0x1000, PAGE_A, 1, E_RW);
	start(devices, rig);
	for (int round = 0; round < ROUNDS / 25; round++) {
		uint8_t canary = (uint8_t)(round % 100);

		rig_set_entry(rig, RIG_RID, NST_NO_PASID, NULL);
		memset(&rig->ram[PAGE_A], canary, 4096);
		let_devices_work(devices);
		check_canary(&rig->ram[PAGE_A], canary);
		rig_set_entry(rig, RIG_RID, NST_NO_PASID, &rig->entry);
		/* others of the same function grow the directory meanwhile */
		rig_set_entry(rig, RIG_RID, (uint32_t)round * 64, &rig->entry);
		let_devices_work(devices);
	}
	stop(devices);
	assert_true(atomic_load(&devices[0].writes) > 0 && atomic_load(&devices[0].faults) > 0);
}

/* Each device has a page of its own that nothing else touches: all that it writes it reads. */
static void *write_and_read_back(void *arg)
{
	struct device *d = arg;
	uint64_t out[700], in[700];

	for (uint64_t n = 1; !atomic_load(&d->stop); n++) {
		uint64_t iova = 0x100000 + (d->rig->entry.did + n) % 97;

		for (size_t i = 0; i < ARRAY_SIZE(out); i++)
			out[i] = n * 1000 + i;
		if (rig_dma_as(d->rig, RIG_RID, 1, true, iova, out, sizeof(out)) ||
		    rig_dma_as(d->rig, RIG_RID, 1, false, iova, in, sizeof(in)) ||
		    memcmp(in, out, sizeof(in)))
			return d;
		atomic_fetch_add(&d->writes, 1);
	}
	return NULL;
}

static void flushes_of_anything_do_no_harm(void **state)
{
	struct rig *rig = *state;
	struct device d = { .rig = rig };
	void *failed;

	rig_set_entry(rig, RIG_RID, 1, &rig->entry);
	for (uint64_t n = 0; n < 4; n++)
		rig_map(rig, 0x100000 + (n << 12), 0x8000 - (n << 12), 1, E_RW);
	assert_int_equal(pthread_create(&d.thread, NULL, write_and_read_back, &d), 0);
	for (uint64_t n = 0; n < ROUNDS || done(&d) < 100; n++) {
		vtd_hw_flush_pages(rig->hw, RIG_DID, 0x100000 + (n % 5 << 12), n % 70 + 1, n % 2);
		if (n % 10 == 0)
			vtd_hw_flush_domain(rig->hw, RIG_DID);
	}
	atomic_store(&d.stop, true);
	assert_int_equal(pthread_join(d.thread, &failed), 0);
	assert_null(failed);
	assert_int_equal(rig_stats(rig).faults, 0);
	assert_int_equal(rig_stats(rig).stale_hits, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(no_write_arrives_after_the_flush, rig_setup,
						rig_teardown),
		cmocka_unit_test_setup_teardown(no_access_after_the_memory_is_taken_away, rig_setup,
						rig_teardown),
		cmocka_unit_test_setup_teardown(no_access_after_the_entry_is_cleared, rig_setup,
						rig_teardown),
		cmocka_unit_test_setup_teardown(flushes_of_anything_do_no_harm, rig_setup_check,
						rig_teardown),
	};

	return cmocka_run_group_tests_name("vtd_hw_threads", tests, NULL, NULL);
}
