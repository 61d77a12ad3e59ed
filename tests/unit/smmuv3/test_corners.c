// SPDX-License-Identifier: BSD-3-Clause
/*
 * Corners of the architecture that the other tests of this folder pass by: queues of one entry, a
 * stream table smaller than its split, two global errors at a time, one that is acknowledged and
 * is none, wires alone, and what of a context descriptor is the host's to judge.
 */
#include "rig.h"

#define RID 0x25

/* Its StreamID has an entry that is not legal: each access is an event. */
static void fault(struct rig *rig)
{
	uint64_t gpa;

	err(EFAULT, emulated(rig, RID, NST_NO_PASID, PROBE_IOVA, false, &gpa));
}

/* The wrap bit is bit 0, and the index has none. */
static void a_command_queue_of_one_entry(void **state)
{
	struct rig *rig = *state;
	uint64_t before;

	guest_enable(rig);
	cr0_set(rig, 0);
	reg64_set(rig, REG_CMDQ_BASE, GPA_CMDQ);
	reg32_set(rig, REG_CMDQ_PROD, 0);
	reg32_set(rig, REG_CMDQ_CONS, 0);
	cr0_set(rig, CR0_CMDQEN);
	before = rig_stats(rig).invalidation_descriptors;
	for (unsigned int i = 1; i <= 6; i++) {
		*mem64(rig, GPA_CMDQ) = CMD_SYNC_IRQ(i);
		*mem64(rig, GPA_CMDQ + 8) = GPA_SYNC;
		reg32_set(rig, REG_CMDQ_PROD, i & 1);
		assert_int_equal(cmdq_cons(rig), i & 1);
		assert_int_equal(mem32(rig, GPA_SYNC), i);
		reg32_set(rig, REG_CMDQ_PROD, 0xffffe | (i & 1)); /* bits that it does not have */
		assert_int_equal(rig_stats(rig).invalidation_descriptors, before + i);
	}
	assert_int_equal(cmdq_error(rig), 0);
}

static void an_event_queue_of_one_entry(void **state)
{
	struct rig *rig = *state;

	guest_enable(rig);
	cr0_set(rig, CR0_SMMUEN | CR0_CMDQEN);
	reg64_set(rig, REG_EVENTQ_BASE, GPA_EVENTQ);
	reg32_set(rig, REG_EVENTQ_PROD, 0xffffe); /* bits that it does not have */
	cr0_set(rig, CR0_ALL);
	for (uint32_t i = 0; i < 4; i++) {
		uint32_t overflow = i & 1 ? 0 : 0x80000000;

		*mem64(rig, GPA_EVENTQ) = 0;
		fault(rig);
		assert_int_equal(reg32(rig, REG_EVENTQ_PROD), (overflow ^ 0x80000000) | !(i & 1));
		assert_int_equal(*mem64(rig, GPA_EVENTQ), 4 | (uint64_t)RID << 32);
		*mem64(rig, GPA_EVENTQ) = 0;
		fault(rig); /* no room */
		fault(rig);
		assert_int_equal(reg32(rig, REG_EVENTQ_PROD), overflow | !(i & 1));
		assert_int_equal(*mem64(rig, GPA_EVENTQ), 0);
		reg32_set(rig, REG_EVENTQ_CONS, reg32(rig, REG_EVENTQ_PROD));
	}
	assert_int_equal(rig->pulses[NST_SMMUV3_IRQ_EVENTQ], 4);
}

/* LOG2SIZE bounds StreamIDs, also where one L1STD would have more. */
static void a_table_smaller_than_its_split(void **state)
{
	struct rig *rig = *state;
	uint64_t gpa;

	guest_setup(rig);
	reg64_set(rig, REG_STRTAB_BASE, GPA_L1);
	for (unsigned int split = 6; split <= 10; split += 2) {
		*mem64(rig, GPA_L1) = GPA_STRTAB | (split + 1);
		*mem64(rig, GPA_STRTAB + 15 * 64) = STE_BYPASS;
		*mem64(rig, GPA_STRTAB + 16 * 64) = STE_BYPASS;
		reg32_set(rig, REG_STRTAB_CFG, 1u << 16 | split << 6 | 4);
		cr0_set(rig, CR0_ALL);
		ok(emulated(rig, 15, NST_NO_PASID, PROBE_IOVA, false, &gpa));
		err(EFAULT, emulated(rig, 16, NST_NO_PASID, PROBE_IOVA, false, &gpa));
		assert_int_equal(event_type(rig), 2);
		cr0_set(rig, CR0_CMDQEN | CR0_EVENTQEN);
		reg32_set(rig, REG_STRTAB_CFG, 1u << 16 | split << 6 | 5);
		cr0_set(rig, CR0_ALL);
		ok(emulated(rig, 16, NST_NO_PASID, PROBE_IOVA, false, &gpa));
		cr0_set(rig, CR0_CMDQEN | CR0_EVENTQEN);
	}
}

/* --- global errors --------------------------------------------------------------------------- */

/* Each is acknowledged alone, and till then what has failed stands. */
static void two_errors_at_a_time(void **state)
{
	struct rig *rig = *state;
	uint32_t at;

	guest_enable(rig);
	cr0_set(rig, CR0_SMMUEN | CR0_CMDQEN);
	reg64_set(rig, REG_EVENTQ_BASE, GPA_NOTHING | EVENTQ_LG2);
	cr0_set(rig, CR0_ALL);
	fault(rig);
	assert_int_equal(reg32(rig, REG_GERROR), 4); /* EVENTQ_ABT */
	at = rig->prod;
	cmdq_put(rig, 0, 0);
	cmdq_kick(rig);
	assert_int_equal(reg32(rig, REG_GERROR), 5);
	assert_int_equal(reg32(rig, REG_GERRORN), 0);
	assert_int_equal(rig->pulses[NST_SMMUV3_IRQ_GERROR], 2);
	fault(rig); /* active: nothing new */
	assert_int_equal(reg32(rig, REG_GERROR), 5);
	assert_int_equal(rig->pulses[NST_SMMUV3_IRQ_GERROR], 2);
	*mem64(rig, GPA_CMDQ + (at & 0xff) * 16) = CMD_SYNC;
	reg32_set(rig, REG_GERRORN, 4); /* the other one: the command queue stands */
	assert_int_equal(cmdq_cons(rig), at);
	reg32_set(rig, REG_GERRORN, 5);
	assert_int_equal(cmdq_cons(rig), rig->prod);
	fault(rig);
	assert_int_equal(reg32(rig, REG_GERROR), 1); /* anew: the bit toggles */
	assert_int_equal(rig->pulses[NST_SMMUV3_IRQ_GERROR], 3);
}

/* What software says of an error that is none stops a queue until it has said so again. */
static void an_error_that_is_none(void **state)
{
	struct rig *rig = *state;

	guest_enable(rig);
	reg32_set(rig, REG_GERRORN, UINT32_MAX);
	assert_int_equal(reg32(rig, REG_GERRORN), 5); /* what there is of it */
	cmdq_put(rig, CMD_SYNC, 0);
	cmdq_kick(rig);
	fault(rig);
	assert_int_equal(event_type(rig), 0);
	assert_int_equal(rig->pulses[NST_SMMUV3_IRQ_GERROR], 0);
	reg32_set(rig, REG_GERRORN, 0);
	assert_int_equal(cmdq_cons(rig), rig->prod);
	fault(rig);
	assert_int_equal(event_type(rig), 4);
}

/* A unit without MSIs: of each interrupt a pulse, if IRQ_CTRL lets it. */
static void wires_alone(void **state)
{
	struct rig *rig = rig_create(&(struct rig_options){ .no_msi = true });

	guest_enable(rig);
	reg32_set(rig, REG_IRQ_CTRL, 0);
	fault(rig);
	cmdq_put(rig, 0, 0);
	cmdq_kick(rig);
	assert_int_equal(rig->pulses[NST_SMMUV3_IRQ_EVENTQ], 0);
	assert_int_equal(rig->pulses[NST_SMMUV3_IRQ_GERROR], 0);
	assert_int_equal(event_type(rig), 4);
	*mem64(rig, GPA_CMDQ + ((rig->prod - 1) & 0xff) * 16) = CMD_SYNC_IRQ(1);
	cmdq_ack(rig);
	assert_int_equal(rig->pulses[NST_SMMUV3_IRQ_CMD_SYNC], 1); /* which no bit switches off */
	reg32_set(rig, REG_IRQ_CTRL, 4);
	fault(rig);
	assert_int_equal(rig->pulses[NST_SMMUV3_IRQ_EVENTQ], 1);
	reg32_set(rig, REG_IRQ_CTRL, 1);
	assert_int_equal(event_type(rig), 4);
	fault(rig);
	cmdq_put(rig, 0, 0);
	cmdq_kick(rig);
	assert_int_equal(rig->pulses[NST_SMMUV3_IRQ_EVENTQ], 1);
	assert_int_equal(rig->pulses[NST_SMMUV3_IRQ_GERROR], 1);
	assert_int_equal(rig->num_msis, 0);
	rig_destroy(rig);
}

/* --- context descriptors --------------------------------------------------------------------- */

/*
 * The unit offers no hardware update of flags (IDR0.HTTU), so for it a CD with HA is not legal. Those of
 * passed-through devices the host's SMMU reads, by what it can do itself: the software host's can.
 */
static void flags_are_updated_by_who_walks(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t *pte, gpa;

	guest_enable(rig);
	assert_int_equal(reg32(rig, REG_IDR0) >> 6 & 3, 0);
	go(rig, d, PLACE_A);
	*mem64(rig, cd_of(rig, d->rid, PLACE_A)) |= 1ULL << 43;
	guest_ste(rig, RID)[0] = STE_S1(cd_of(rig, d->rid, PLACE_A));
	pte = guest_pte(rig, rig->root_a, PROBE_IOVA);
	*pte &= ~0x400ULL; /* AF */
	cmdq_put(rig, CMD_TLBI_NH_ALL, 0);
	cmdq_run(rig, CMD_CFGI_ALL, 31);
	err(EFAULT, emulated(rig, RID, NST_NO_PASID, PROBE_IOVA, false, &gpa));
	assert_int_equal(event_type(rig), 0xa); /* C_BAD_CD */
	assert_int_equal(*pte & 0x400, 0);
	assert_int_equal(place_of(d), PLACE_A);
	assert_int_equal(*pte & 0x400, 0x400);
	assert_int_equal(event_type(rig), 0);
}

#define one_device(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
#define empty(f) cmocka_unit_test_setup_teardown(f, rig_setup_empty, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		empty(a_command_queue_of_one_entry),
		empty(an_event_queue_of_one_entry),
		empty(a_table_smaller_than_its_split),
		empty(two_errors_at_a_time),
		empty(an_error_that_is_none),
		cmocka_unit_test(wires_alone),
		one_device(flags_are_updated_by_who_walks),
	};

	return cmocka_run_group_tests_name("smmuv3 corners", tests, NULL, NULL);
}
