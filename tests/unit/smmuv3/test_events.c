// SPDX-License-Identifier: BSD-3-Clause
/*
 * Events: from the host's queue to the guest's, with what the guest calls the stream; the
 * guest's queue when it is full, not memory, or disabled; lost ones.
 */
#include "rig.h"

#include <poll.h>
#include <string.h>

#define BAD_IOVA 0x123456000ULL

static void fault(struct rig_device *d, uint64_t iova)
{
	uint64_t value;

	assert_int_not_equal(dma_read(d, iova, &value), 0);
}

static bool is_readable(struct rig *rig)
{
	struct pollfd p = { .fd = nst_viommu_fd(rig->viommu), .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void a_fault_of_a_device_reaches_the_guest(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t event[4], value = 0;

	guest_enable(rig);
	go(rig, d, PLACE_A);
	assert_false(is_readable(rig));
	fault(d, BAD_IOVA);
	assert_true(is_readable(rig)); /* the VMM hears of it */
	assert_true(event_take(rig, event));
	assert_false(is_readable(rig));
	assert_int_equal(event[0], 0x10 | (uint64_t)d->rid << 32); /* F_TRANSLATION, no SSV */
	assert_int_equal(event[1], 1ULL << 35 | 2ULL << 40);	   /* RnW, CLASS = IN */
	assert_int_equal(event[2], BAD_IOVA);
	assert_int_equal(event[3], 0);
	assert_false(event_take(rig, event));
	*guest_pte(rig, rig->root_a, PROBE_IOVA) |= 1 << 7; /* read only */
	cmdq_run(rig, CMD_TLBI_NH_ALL, 0);
	assert_int_not_equal(dma_pasid(d, NST_NO_PASID, PROBE_IOVA, &value, true), 0);
	assert_true(event_take(rig, event));
	assert_int_equal(event[0], 0x13 | (uint64_t)d->rid << 32); /* F_PERMISSION */
	assert_int_equal(event[1], 2ULL << 40);
}

/* SMMUv3 IHI0070G.b s4.7.3: software that has waited for a CMD_SYNC sees what was before it. */
static void a_sync_makes_earlier_events_visible(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	go(rig, d, PLACE_A);
	fault(d, BAD_IOVA);
	cmdq_put(rig, CMD_TLBI_NH_ALL, 0);
	cmdq_kick(rig);
	assert_int_equal(reg32(rig, REG_EVENTQ_PROD), 0); /* till somebody asks */
	cmdq_sync(rig);
	assert_int_equal(reg32(rig, REG_EVENTQ_PROD), 1);
	assert_int_equal(*mem64(rig, GPA_EVENTQ), 0x10 | (uint64_t)d->rid << 32);
	assert_int_equal(event_type(rig), 0x10);
	assert_int_equal(event_type(rig), 0);
}

static void streams_are_named_as_the_guest_does(void **state)
{
	struct rig *rig = *state;
	uint64_t event[4];

	rig_add_device(rig); /* StreamID 0: an ordinary one */
	rig_add_device(rig);
	guest_enable(rig);
	for (int i = 0; i < 3; i++) {
		struct rig_device *d = &rig->devices[i];

		set_place(rig, d, PLACE_A);
		cmdq_run(rig, CMD_CFGI_STE(d->rid), 1);
		fault(d, BAD_IOVA + (uint64_t)i * 0x1000);
		assert_true(event_take(rig, event));
		assert_int_equal(event[0] >> 32, d->rid);
		assert_int_equal(event[2], BAD_IOVA + (uint64_t)i * 0x1000);
	}
}

static void a_bad_cd_is_an_event(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	go(rig, d, PLACE_A);
	*mem64(rig, cd_of(rig, d->rid, PLACE_A)) &= ~(1ULL << 31);
	cmdq_run(rig, CMD_CFGI_CD(d->rid, 0), 1);
	assert_int_equal(place_of(d), NOWHERE);
	assert_int_equal(event_type(rig), 0xa);
}

/* Its event comes after it has left: it is nobody's. The other's is not lost with it. */
static void an_event_of_who_has_left_is_dropped(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0], *other = rig_add_device(rig);
	uint64_t event[4];

	guest_enable(rig);
	set_place(rig, d, PLACE_A);
	set_place(rig, other, PLACE_B);
	cmdq_run(rig, CMD_CFGI_ALL, 31);
	fault(d, BAD_IOVA);
	fault(other, BAD_IOVA);
	nst_viommu_detach(rig->viommu, d->rid);
	assert_true(event_take(rig, event));
	assert_int_equal(event[0] >> 32, other->rid);
	assert_false(event_take(rig, event));
}

/* Bypassed or blocked by registers, nobody is told anything. */
static void no_events_while_disabled(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	go(rig, d, PLACE_A);
	fault(d, BAD_IOVA);
	nst_viommu_detach(rig->viommu, d->rid); /* an event of who has left is nobody's */
	assert_int_equal(event_type(rig), 0);
	ok(nst_viommu_attach(rig->viommu, d->rid, d->dev));
	cr0_set(rig, CR0_SMMUEN | CR0_CMDQEN);
	fault(d, BAD_IOVA);
	nst_viommu_process(rig->viommu); /* is thrown away: there is no queue */
	cr0_set(rig, CR0_ALL);
	assert_int_equal(event_type(rig), 0);
}

/* --- interrupts ------------------------------------------------------------------------------ */

static void an_interrupt_when_it_is_no_longer_empty(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	reg64_set(rig, REG_EVENTQ_CFG0, GPA_NOTHING);
	reg32_set(rig, REG_EVENTQ_CFG1, 0x77);
	guest_enable(rig);
	go(rig, d, PLACE_A);
	for (int i = 0; i < 3; i++) {
		fault(d, BAD_IOVA);
		nst_viommu_process(rig->viommu);
		assert_int_equal(rig->num_msis, 1);
	}
	assert_int_equal(rig->msis[0].address, GPA_NOTHING);
	assert_int_equal(rig->msis[0].data, 0x77);
	while (event_type(rig))
		;
	fault(d, BAD_IOVA);
	nst_viommu_process(rig->viommu);
	assert_int_equal(rig->num_msis, 2);
	while (event_type(rig))
		;
	reg32_set(rig, REG_IRQ_CTRL, 1); /* no EVENTQ_IRQEN */
	fault(d, BAD_IOVA);
	assert_int_equal(event_type(rig), 0x10);
	assert_int_equal(rig->num_msis, 2);
	reg64_set(rig, REG_EVENTQ_CFG0, 0); /* the wire */
	reg32_set(rig, REG_IRQ_CTRL, 5);
	fault(d, BAD_IOVA);
	assert_int_equal(event_type(rig), 0x10);
	assert_int_equal(rig->pulses[NST_SMMUV3_IRQ_EVENTQ], 3); /* it was there all the time */
	assert_int_equal(rig->num_msis, 2);
}

/* --- a queue that cannot take them ----------------------------------------------------------- */

static uint32_t overflowed(struct rig *rig)
{
	return (reg32(rig, REG_EVENTQ_PROD) ^ reg32(rig, REG_EVENTQ_CONS)) >> 31;
}

static void a_full_queue_overflows_once(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t event[4];

	guest_enable(rig);
	go(rig, d, PLACE_A);
	for (int round = 0; round < 3; round++) {
		for (uint64_t i = 0; i < 1 << EVENTQ_LG2; i++)
			fault(d, BAD_IOVA + i * 0x1000);
		nst_viommu_process(rig->viommu);
		assert_int_equal(overflowed(rig), 0);
		for (int i = 0; i < 3; i++) {
			fault(d, BAD_IOVA);
			nst_viommu_process(rig->viommu);
			assert_int_equal(overflowed(rig), 1);
		}
		for (uint64_t i = 0; i < 1 << EVENTQ_LG2; i++) {
			assert_true(event_take(rig, event));
			assert_int_equal(event[2], BAD_IOVA + i * 0x1000);
		}
		assert_false(event_take(rig, event));
		/* software has seen it: OVACKFLG = OVFLG */
		reg32_set(rig, REG_EVENTQ_CONS, reg32(rig, REG_EVENTQ_PROD));
		assert_int_equal(overflowed(rig), 0);
	}
}

static void a_queue_that_is_not_memory(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	go(rig, d, PLACE_A);
	cr0_set(rig, CR0_SMMUEN | CR0_CMDQEN);
	reg64_set(rig, REG_EVENTQ_BASE, GPA_NOTHING | EVENTQ_LG2);
	cr0_set(rig, CR0_ALL);
	fault(d, BAD_IOVA);
	nst_viommu_process(rig->viommu);
	assert_int_equal(reg32(rig, REG_GERROR), 4); /* EVENTQ_ABT_ERR */
	assert_int_equal(rig->pulses[NST_SMMUV3_IRQ_GERROR], 1);
	/* till the guest has seen that, nothing is written, even if it could be */
	cr0_set(rig, CR0_SMMUEN | CR0_CMDQEN);
	reg64_set(rig, REG_EVENTQ_BASE, GPA_EVENTQ | EVENTQ_LG2);
	cr0_set(rig, CR0_ALL);
	fault(d, BAD_IOVA);
	assert_int_equal(event_type(rig), 0);
	assert_int_equal(reg32(rig, REG_GERROR), 4);
	assert_int_equal(rig->pulses[NST_SMMUV3_IRQ_GERROR], 1);
	cr0_set(rig, CR0_SMMUEN | CR0_CMDQEN);
	reg64_set(rig, REG_EVENTQ_BASE, GPA_NOTHING | EVENTQ_LG2);
	cr0_set(rig, CR0_ALL);
	cmdq_run(rig, CMD_TLBI_NH_ALL, 0); /* which goes on */
	reg32_set(rig, REG_GERRORN, 4);
	fault(d, BAD_IOVA);
	nst_viommu_process(rig->viommu);
	assert_int_equal(reg32(rig, REG_GERROR), 0); /* again */
}

/* Indices that make no sense write no further than the queue. */
static void hostile_indices(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	go(rig, d, PLACE_A);
	memset(&rig->memory[GPA_EVENTQ + 1024], 0x5a, 1024);
	for (uint32_t cons = 0; cons < 64; cons += 5) {
		reg32_set(rig, REG_EVENTQ_CONS, cons | 0xfffc0);
		fault(d, BAD_IOVA);
		nst_viommu_process(rig->viommu);
		assert_true((reg32(rig, REG_EVENTQ_PROD) & 0xfffff) < 64);
	}
	for (uint64_t i = 1024; i < 2048; i++)
		assert_int_equal(rig->memory[GPA_EVENTQ + i], 0x5a);
}

/* --- lost on the host ------------------------------------------------------------------------ */

/* More faults than the host keeps: the guest's queue says that some are missing. */
static void events_that_the_host_lost_are_an_overflow(void **state)
{
	enum { EVENTS_LG2 = 11 };
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint32_t prod;

	guest_enable(rig);
	go(rig, d, PLACE_A);
	cr0_set(rig, CR0_SMMUEN | CR0_CMDQEN);
	reg64_set(rig, REG_EVENTQ_BASE, GPA_DATA | EVENTS_LG2);
	cr0_set(rig, CR0_ALL);
	for (int i = 0; i < SMMU_VEVENTQ_DEPTH; i++)
		fault(d, BAD_IOVA);
	nst_viommu_process(rig->viommu);
	prod = reg32(rig, REG_EVENTQ_PROD);
	assert_int_equal(prod, SMMU_VEVENTQ_DEPTH); /* all, and no overflow */
	reg32_set(rig, REG_EVENTQ_CONS, prod);
	for (int i = 0; i < SMMU_VEVENTQ_DEPTH + 5; i++)
		fault(d, BAD_IOVA);
	nst_viommu_process(rig->viommu);
	prod = reg32(rig, REG_EVENTQ_PROD);
	assert_int_equal(prod, (2 * SMMU_VEVENTQ_DEPTH) | 0x80000000);
	assert_int_equal(rig_unit(rig)->lost_events, 5);
	reg32_set(rig, REG_EVENTQ_CONS, prod);
	/* a gap in the numbers alone: the header went when there was room again */
	for (int i = 0; i < SMMU_VEVENTQ_DEPTH + 5; i++)
		fault(d, BAD_IOVA);
	nst_viommu_process(rig->viommu);
	fault(d, BAD_IOVA);
	nst_viommu_process(rig->viommu);
	assert_int_equal(rig_unit(rig)->lost_events, 10);
	prod = reg32(rig, REG_EVENTQ_PROD);
	assert_int_equal(prod >> 31, 0); /* toggled back: seen once, lost again */
}

#define one_device(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		one_device(a_fault_of_a_device_reaches_the_guest),
		one_device(a_sync_makes_earlier_events_visible),
		one_device(streams_are_named_as_the_guest_does),
		one_device(a_bad_cd_is_an_event),
		one_device(an_event_of_who_has_left_is_dropped),
		one_device(no_events_while_disabled),
		one_device(an_interrupt_when_it_is_no_longer_empty),
		one_device(a_full_queue_overflows_once),
		one_device(a_queue_that_is_not_memory),
		one_device(hostile_indices),
		one_device(events_that_the_host_lost_are_an_overflow),
	};

	return cmocka_run_group_tests_name("smmuv3 events", tests, NULL, NULL);
}
