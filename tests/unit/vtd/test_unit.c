// SPDX-License-Identifier: BSD-3-Clause
/*
 * The unit as a whole: several threads, memory that goes away, its counters. No test
 * depends on time; one that would hang is ended by the test runner.
 */
#include "rig.h"

#include <pthread.h>
#include <string.h>

/* --- register reads while a command is held up in the host ----------------------------------- */

struct held {
	unsigned long request;
	unsigned int times;
	uint32_t gsts;		/* as the reader saw it while the command was inside */
	uint32_t page[1024];
};

static void *read_all(void *opaque)
{
	struct rig *rig = opaque;
	struct held *held = rig->hook_data;

	for (uint64_t i = 0; i < 1024; i++)
		held->page[i] = reg32(rig, 4 * i);
	held->gsts = reg32(rig, REG_GSTS);
	return NULL;
}

/* Hook: the call does not go on before another thread has read every register. */
static int hold(struct rig *rig, unsigned long request, void *arg)
{
	struct held *held = rig->hook_data;
	pthread_t reader;

	if (request != held->request)
		return 0;
	held->times++;
	assert_int_equal(pthread_create(&reader, NULL, read_all, rig), 0);
	pthread_join(reader, NULL);
	return 0;
}

static void hold_on(struct rig *rig, struct held *held, unsigned long request)
{
	*held = (struct held){ .request = request };
	rig->hook_data = held;
	rig->host.hook = hold;
}

static void reads_do_not_wait_for_commands(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	struct held held;

	guest_enable(rig);
	guest_set_stage1(rig, d->rid, rig->root_a, 5);
	hold_on(rig, &held, IOMMU_HWPT_ALLOC);
	iq_run(rig, PC_GLOBAL, 0);
	assert_int_equal(held.times, 1);
	hold_on(rig, &held, IOMMU_HWPT_INVALIDATE);
	iq_run(rig, DESC_PIOTLB(3, 5, 0), PROBE_IOVA);
	assert_int_equal(held.times, 1);
	hold_on(rig, &held, VFIO_DEVICE_DETACH_IOMMUFD_PT);
	guest_set_absent(rig, d->rid);
	reg64_set(rig, REG_CCMD, 1ULL << 63 | 1ULL << 61);
	assert_int_equal(held.times, 1);
	assert_int_equal(held.page[(REG_CCMD + 4) / 4] >> 31, 1);	/* still under way */
	assert_int_equal(reg64(rig, REG_CCMD) >> 63, 0);
}

static void status_follows_the_deed(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	struct held held;

	guest_enable(rig);
	guest_set_stage1(rig, d->rid, rig->root_a, 5);
	gcmd(rig, 0, GCMD_TE);
	hold_on(rig, &held, VFIO_DEVICE_ATTACH_IOMMUFD_PT);
	gcmd(rig, GCMD_TE, 0);
	assert_int_equal(held.times, 1);
	assert_int_equal(held.gsts & GCMD_TE, 0);
	hold_on(rig, &held, VFIO_DEVICE_ATTACH_IOMMUFD_PT);
	guest_set_stage1(rig, d->rid, rig->root_b, 5);
	gcmd(rig, GCMD_SRTP, 0);
	assert_int_equal(held.times, 1);
	assert_int_equal(held.gsts & (GCMD_TE | GCMD_SRTP), GCMD_TE);
	hold_on(rig, &held, VFIO_DEVICE_ATTACH_IOMMUFD_PT);
	gcmd(rig, 0, GCMD_TE);
	assert_int_equal(held.times, 1);
	assert_int_equal(held.gsts & GCMD_TE, GCMD_TE);
	assert_int_equal(reg32(rig, REG_GSTS) & GCMD_TE, 0);
}

/* --- all entry points at once ---------------------------------------------------------------- */

struct crowd {
	struct rig *rig;
	uint64_t seed;
};

static void *write_registers(void *opaque)
{
	static const uint16_t places[] = {
		REG_RTADDR, REG_CCMD, REG_FSTS, REG_FECTL, REG_IQT, REG_ICS, REG_IECTL, REG_IVA,
		REG_IOTLB, REG_FRCD + 8, REG_GCMD,
	};
	struct crowd *c = opaque;

	for (int n = 0; n < 1500; n++) {
		uint64_t r = test_random(&c->seed);
		uint64_t at = places[r % ARRAY_SIZE(places)];

		nst_viommu_mmio_write(c->rig->viommu, at, at % 8 || r >> 63 ? 4 : 8,
				      test_random(&c->seed) & (at == REG_IQT ? 0xfe0 : UINT64_MAX));
	}
	return NULL;
}

static void *read_registers(void *opaque)
{
	struct crowd *c = opaque;

	for (int n = 0; n < 6000; n++) {
		nst_viommu_mmio_read(c->rig->viommu, test_random(&c->seed) % 0x300 & ~7ULL, 8);
		if (n % 64 == 0)
			rig_stats(c->rig);
	}
	return NULL;
}

static void *plug_and_unplug(void *opaque)
{
	struct crowd *c = opaque;
	struct rig_device *d = &c->rig->devices[1];
	struct nst_rid_move move;

	for (int n = 0; n < 300; n++) {
		nst_viommu_detach(c->rig->viommu, d->rid);
		ok(nst_viommu_attach(c->rig->viommu, d->rid, d->dev));
		move = (struct nst_rid_move){ d->dev, RIG_SPARE_1 };
		ok(nst_viommu_renumber(c->rig->viommu, &move, 1));
		move.rid = d->rid;
		ok(nst_viommu_renumber(c->rig->viommu, &move, 1));
		if (n % 100 == 99)
			nst_viommu_reset(c->rig->viommu);
	}
	return NULL;
}

static void *map_and_unmap(void *opaque)
{
	struct crowd *c = opaque;
	static _Alignas(4096) uint8_t page[4096];

	for (int n = 0; n < 300; n++) {
		ok(nst_vm_map(c->rig->vm, (nst_gpa){ GPA_NOTHING }, 4096, page, true));
		ok(nst_vm_unmap(c->rig->vm, (nst_gpa){ GPA_NOTHING }, 4096));
	}
	return NULL;
}

static void every_entry_point_from_every_thread(void **state)
{
	struct rig *rig = *state;
	void *(*const mains[])(void *) = { write_registers, write_registers, read_registers,
					   plug_and_unplug, map_and_unmap };
	struct crowd crowd[ARRAY_SIZE(mains)];
	pthread_t threads[ARRAY_SIZE(mains)];

	rig_add_device(rig);
	rig->log.level = NST_LOG_ERROR;		/* its counters are not for several threads */
	guest_enable(rig);
	guest_set_stage1(rig, rig->devices[0].rid, rig->root_a, 5);
	guest_set_stage1(rig, rig->devices[1].rid, rig->root_a, 5);
	for (size_t i = 0; i < ARRAY_SIZE(mains); i++) {
		crowd[i] = (struct crowd){ rig, 100 + i };
		assert_int_equal(pthread_create(&threads[i], NULL, mains[i], &crowd[i]), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(mains); i++)
		pthread_join(threads[i], NULL);
	/* none the worse */
	nst_viommu_reset(rig->viommu);
	guest_enable(rig);
	guest_set_stage1(rig, rig->devices[1].rid, rig->root_b, 5);
	iq_run(rig, PC_GLOBAL, 0);
	assert_int_equal(place_of(&rig->devices[0]), NOWHERE);
	assert_int_equal(place_of(&rig->devices[1]), PLACE_B);
}

/* --- memory that goes away ------------------------------------------------------------------- */

static void tables_and_queue_lose_their_memory(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t value;

	guest_enable(rig);
	guest_set_stage1(rig, d->rid, rig->root_a, 5);
	iq_run(rig, PC_GLOBAL, 0);
	ok(nst_vm_unmap(rig->vm, (nst_gpa){ 0 }, RIG_MEMORY));
	iq_put(rig, PC_GLOBAL, 0);
	iq_kick(rig);
	assert_int_equal(reg32(rig, REG_FSTS) & FSTS_IQE, FSTS_IQE);
	assert_int_equal(reg64(rig, REG_IQERCD) & 15, 2);
	err(EFAULT, dma_read(d, PROBE_IOVA, &value));
	reg64_set(rig, REG_CCMD, 1ULL << 63 | 1ULL << 61);
	assert_int_equal(fault_reason(rig, 0), 0x38);
	/* and get it back */
	ok(nst_vm_map(rig->vm, (nst_gpa){ 0 }, RIG_MEMORY, rig->memory, true));
	reg32_set(rig, REG_FSTS, FSTS_IQE);
	assert_int_equal(reg64(rig, REG_IQH), rig->tail);
	assert_int_equal(place_of(d), PLACE_A);
}

/* Words are taken once: what the guest changes while a command runs counts for the next one. */
static int change_entry(struct rig *rig, unsigned long request, void *arg)
{
	if (request == IOMMU_HWPT_ALLOC)
		guest_set_stage1(rig, rig->devices[0].rid, GPA_NOTHING, 0x1234);
	return 0;
}

static void entries_are_read_once(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	guest_set_stage1(rig, d->rid, rig->root_a, 5);
	rig->host.hook = change_entry;
	iq_run(rig, PC_GLOBAL, 0);
	rig->host.hook = NULL;
	assert_int_equal(place_of(d), PLACE_A);
	guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 2 * PAGE_SIZE_4K);
	iq_run(rig, DESC_PIOTLB(3, 5, 0), PROBE_IOVA);
	assert_int_equal(place_of(d), PLACE_B);
}

static void counters(void **state)
{
	struct rig *rig = *state;
	struct nst_viommu_stats before, after;

	guest_enable(rig);
	before = rig_stats(rig);
	guest_set_stage1(rig, rig->devices[0].rid, rig->root_a, 5);
	iq_run(rig, PC_GLOBAL, 0);
	iq_put(rig, DESC_PIOTLB(3, 5, 0), PROBE_IOVA);
	iq_put(rig, DESC_PIOTLB(3, 5, 0), PROBE_IOVA + 8192);
	iq_sync(rig);
	iq_put(rig, 0, 0);
	iq_kick(rig);
	after = rig_stats(rig);
	assert_int_equal(after.invalidation_descriptors - before.invalidation_descriptors, 5);
	assert_int_equal(after.wait_descriptors - before.wait_descriptors, 2);
	assert_int_equal(after.host_invalidate_calls - before.host_invalidate_calls, 1);
	assert_int_equal(after.host_invalidate_entries - before.host_invalidate_entries, 2);
	assert_int_equal(after.nested_hwpts - before.nested_hwpts, 1);
	assert_int_equal(after.attaches - before.attaches, 1);
	assert_int_equal(after.queue_errors - before.queue_errors, 1);
	assert_int_equal(after.failed_attaches, 0);
	assert_int_equal(after.faults, 0);
	/* they survive a reset */
	nst_viommu_reset(rig->viommu);
	assert_int_equal(rig_stats(rig).wait_descriptors, after.wait_descriptors);
}

static void two_units_of_one_vm(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = rig_plug(rig, false);
	struct nst_viommu *first = rig->viommu, *second;
	struct nst_vtd_config config = { .vm = rig->vm };

	ok(nst_vtd_create(&config, &second));
	ok(rig_open(rig, d));
	ok(nst_viommu_attach(second, d->rid, d->dev));
	guest_enable(rig);
	guest_set_stage1(rig, d->rid, rig->root_a, 5);
	guest_set_stage1(rig, rig->devices[0].rid, rig->root_a, 5);
	iq_run(rig, PC_GLOBAL, 0);
	assert_int_equal(place_of(&rig->devices[0]), PLACE_A);
	assert_int_equal(place_of(d), PLACE_SAME);	/* the other unit is off */
	rig->viommu = second;
	reg64_set(rig, REG_RTADDR, GPA_ROOT | 1 << 10);
	gcmd(rig, GCMD_SRTP | GCMD_TE, 0);
	assert_int_equal(place_of(d), PLACE_A);
	rig->viommu = first;
	nst_viommu_destroy(second);
	assert_int_equal(place_of(d), PLACE_SAME);
	assert_int_equal(place_of(&rig->devices[0]), PLACE_A);
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_RIG(reads_do_not_wait_for_commands),
		WITH_RIG(status_follows_the_deed),
		WITH_RIG(every_entry_point_from_every_thread),
		WITH_RIG(tables_and_queue_lose_their_memory),
		WITH_RIG(entries_are_read_once),
		WITH_RIG(counters),
		WITH_RIG(two_units_of_one_vm),
	};

	return cmocka_run_group_tests_name("vtd unit", tests, NULL, NULL);
}
