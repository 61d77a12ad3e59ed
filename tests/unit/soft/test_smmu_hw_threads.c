// SPDX-License-Identifier: BSD-3-Clause
/*
 * Devices at work while the guest invalidates. When smmu_hw_command() has returned, the page
 * that was unmapped is the guest's again: a canary put there must live.
 */
#include "smmu_rig.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

enum { DEVICES = 2, ROUNDS = 1000, PAGE_A = 0x5000, PAGE_B = 0x6000, SHARE = 4096 / DEVICES };

struct device {
	struct smmu_hw *hw;
	uint64_t va;
	atomic_bool stop;
	atomic_uint writes, faults;
	pthread_t thread;
};

/* The rig's record of events and of the log is for one thread: this unit keeps none. */
struct threads {
	struct rig *rig;
	struct smmu_hw *own, *of_rig;
	atomic_uint events;
};

static void count_event(void *opaque, nst_rid sid, const struct smmu_event *event)
{
	struct threads *t = opaque;

	atomic_fetch_add(&t->events, 1);
}

static const struct smmu_hw_ops ops = { .event = count_event };

static int setup_checked(void **state, bool check)
{
	struct smmu_hw_setup unit = { .check = check, .ops = &ops };
	struct threads *t = test_calloc(1, sizeof(*t));

	if (rig_setup((void **)&t->rig))
		return -1;
	unit.sanitizer = t->rig->sanitizer;
	unit.opaque = t;
	if (smmu_hw_create(&unit, &t->own))
		return -1;
	t->of_rig = t->rig->hw;
	t->rig->hw = t->own;
	rig_set_ste(t->rig, RIG_SID, &t->rig->ste);
	*state = t;
	return 0;
}

static int setup(void **state)
{
	return setup_checked(state, false);
}

static int setup_check(void **state)
{
	return setup_checked(state, true);
}

static int teardown(void **state)
{
	struct threads *t = *state;

	t->rig->hw = t->of_rig;
	smmu_hw_destroy(t->own);
	rig_teardown((void **)&t->rig);
	test_free(t);
	return 0;
}

static int dma(struct device *d, uint32_t pasid, bool write, uint64_t va, void *buf, size_t size)
{
	struct endpoint_dma_request req = {
		.iova = { va }, .pasid = pasid, .write = write, .buf = buf, .size = size,
	};

	return smmu_hw_dma(d->hw, RIG_SID, &req);
}

/* Writes its share of the page at 0x1000, over and over; faults are expected. */
static void *work(void *arg)
{
	struct device *d = arg;
	uint8_t share[SHARE];

	memset(share, 0xdd, sizeof(share));
	while (!atomic_load(&d->stop)) {
		if (dma(d, NST_NO_PASID, true, d->va, share, sizeof(share)))
			atomic_fetch_add(&d->faults, 1);
		else
			atomic_fetch_add(&d->writes, 1);
	}
	return NULL;
}

static void start(struct device *devices, struct threads *t)
{
	for (int i = 0; i < DEVICES; i++) {
		devices[i] = (struct device){ .hw = t->own, .va = 0x1000 + (uint64_t)i * SHARE };
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

static void no_write_arrives_after_the_command(void **state)
{
	static const unsigned int ops_of_rounds[] = { 0x12, 0x13, 0x11, 0x12, 0x10, 0x30 };
	struct threads *t = *state;
	struct device devices[DEVICES];
	uint64_t at = PAGE_A;

	rig_map(t->rig, 0x1000, at, 3, D_RW);
	start(devices, t);
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t next = round % 3 == 2 ? 0 : at == PAGE_A ? PAGE_B : PAGE_A;
		unsigned int op = ops_of_rounds[round % ARRAY_SIZE(ops_of_rounds)];
		uint8_t canary = (uint8_t)(round % 100);

		rig_map(t->rig, 0x1000, next, 3, next ? (round % 2 ? D_RW : D_RW & ~D_NG) : 0);
		assert_int_equal(rig_command(t->rig, op | (uint64_t)RIG_VMID << 32 |
							     (uint64_t)RIG_ASID << 48, 0x1000 | 1), 0);
		/* NH_ASID leaves global entries */
		if (op == 0x11)
			rig_tlbi_va(t->rig, 0x1000, true);
		if (at)
			memset(&t->rig->ram[at], canary, 4096);
		if (round % 32 == 0)
			let_devices_work(devices);
		if (at)
			check_canary(&t->rig->ram[at], canary);
		at = next;
	}
	stop(devices);
	assert_true(atomic_load(&devices[0].writes) > 0);
	assert_int_equal(atomic_load(&t->events),
			 atomic_load(&devices[0].faults) + atomic_load(&devices[1].faults));
}

/* The same for the second stage: the memory may be unmapped when map_end() returns. */
static void no_access_after_the_memory_is_taken_away(void **state)
{
	struct threads *t = *state;
	struct device devices[DEVICES];

	rig_clear_s2(t->rig);
	rig_add_s2(t->rig, RIG_CDS, 16 << 20, t->rig->ram + RIG_CDS, RANGE_READ | RANGE_WRITE);
	rig_map(t->rig, 0x1000, 0x5000, 3, D_RW);
	start(devices, t);
	for (int round = 0; round < ROUNDS / 25; round++) {
		void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				  -1, 0);

		assert_ptr_not_equal(page, MAP_FAILED);
		rig_add_s2(t->rig, 0x5000, 4096, page, RANGE_READ | RANGE_WRITE);
		let_devices_work(devices);
		smmu_hw_map_begin(t->own);
		range_map_remove_at(&t->rig->s2, range_map_lower_bound(&t->rig->s2, 0x5000));
		smmu_hw_map_end(t->own, true);
		assert_int_equal(munmap(page, 4096), 0);
	}
	stop(devices);
	assert_true(atomic_load(&devices[0].writes) > 0);
}

/* Entries and descriptors come and go under the devices; after each change none uses the old. */
static void no_access_after_the_entry_is_cleared(void **state)
{
	struct threads *t = *state;
	struct device devices[DEVICES];
	struct smmu_hw_map map = { .s2 = &t->rig->s2 };
	static uint64_t zero[8];

	rig_map(t->rig, 0x1000, PAGE_A, 3, D_RW);
	start(devices, t);
	for (int round = 0; round < ROUNDS / 25; round++) {
		uint8_t canary = (uint8_t)(round % 100);

		if (round % 2) {
			rig_set_ste(t->rig, RIG_SID, NULL);
		} else {
			rig_write_cd(t->rig, RIG_CDS, zero);
			rig_cfgi_cd_all(t->rig);
		}
		memset(&t->rig->ram[PAGE_A], canary, 4096);
		let_devices_work(devices);
		check_canary(&t->rig->ram[PAGE_A], canary);
		rig_write_cd(t->rig, RIG_CDS, t->rig->cd);
		rig_set_ste(t->rig, RIG_SID, &t->rig->ste);
		assert_int_equal(smmu_hw_set_ssid(t->own, RIG_SID, (uint32_t)round, &map), 0);
		let_devices_work(devices);
	}
	stop(devices);
	assert_true(atomic_load(&devices[0].writes) > 0 && atomic_load(&devices[0].faults) > 0);
}

/* Each device has pages of its own that nothing else touches: all that it writes it reads. */
static void *write_and_read_back(void *arg)
{
	struct device *d = arg;
	uint64_t out[700], in[700];

	for (uint64_t n = 1; !atomic_load(&d->stop); n++) {
		uint64_t va = 0x100000 + n % 97;

		for (size_t i = 0; i < ARRAY_SIZE(out); i++)
			out[i] = n * 1000 + i;
		if (dma(d, (uint32_t)(n % 200), true, va, out, sizeof(out)) ||
		    dma(d, (uint32_t)(n % 131), false, va, in, sizeof(in)) ||
		    memcmp(in, out, sizeof(in)))
			return d;
		atomic_fetch_add(&d->writes, 1);
	}
	return NULL;
}

static void commands_of_all_kinds_do_no_harm(void **state)
{
	static const unsigned int kinds[] = { 0x12, 0x13, 0x11, 0x10, 0x30, 0x28, 0x03, 0x06, 0x05 };
	struct threads *t = *state;
	struct device d = { .hw = t->own };
	void *failed;

	/* 256 substreams of one address space: they share slots of the cache of descriptors */
	rig_make_s1(t->rig->ste.s1, RIG_CDS, 0, 8, 0);
	for (unsigned int ssid = 0; ssid < 256; ssid++)
		rig_write_cd(t->rig, RIG_CDS + ssid * 64, t->rig->cd);
	rig_set_ste(t->rig, RIG_SID, &t->rig->ste);
	for (uint64_t n = 0; n < 4; n++)
		rig_map(t->rig, 0x100000 + (n << 12), 0x8000 - (n << 12), 3, D_RW);
	assert_int_equal(pthread_create(&d.thread, NULL, write_and_read_back, &d), 0);
	for (uint64_t n = 0; n < ROUNDS || done(&d) < 100; n++) {
		unsigned int op = kinds[n % ARRAY_SIZE(kinds)];
		uint64_t tags = op < 0x10 ? (uint64_t)RIG_SID << 32 | n % 256 << 12 :
					    (uint64_t)RIG_VMID << 32 | (uint64_t)RIG_ASID << 48;

		assert_int_equal(rig_command(t->rig, op | tags, (0x100000 + (n % 5 << 12)) | n % 2),
				 0);
	}
	atomic_store(&d.stop, true);
	assert_int_equal(pthread_join(d.thread, &failed), 0);
	assert_null(failed);
	assert_int_equal(rig_stats(t->rig).faults, 0);
	assert_int_equal(rig_stats(t->rig).stale_hits, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(no_write_arrives_after_the_command, setup, teardown),
		cmocka_unit_test_setup_teardown(no_access_after_the_memory_is_taken_away, setup,
						teardown),
		cmocka_unit_test_setup_teardown(no_access_after_the_entry_is_cleared, setup, teardown),
		cmocka_unit_test_setup_teardown(commands_of_all_kinds_do_no_harm, setup_check,
						teardown),
	};

	return cmocka_run_group_tests_name("smmu_hw_threads", tests, NULL, NULL);
}
