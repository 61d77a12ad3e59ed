// SPDX-License-Identifier: BSD-3-Clause
/*
 * The command queue: its indices, what reaches the host and when, errors and how software gets
 * on after one, completion, and how much one register write does.
 */
#include "rig.h"

#include "base/alloc.h"

#include <poll.h>
#include <string.h>

enum { ILL = 1, ABT = 2, ATC_INV_SYNC = 3 };

/* --- indices --------------------------------------------------------------------------------- */

static void the_queue_goes_round(void **state)
{
	struct rig *rig = *state;
	uint64_t before;

	guest_enable(rig);
	before = rig_stats(rig).invalidation_descriptors;
	for (int i = 0; i < 1000; i++)
		cmdq_run(rig, CMD_TLBI_NH_ASID(i), 0);
	assert_int_equal(rig_stats(rig).invalidation_descriptors, before + 2000);
}

static void a_full_queue_is_not_an_empty_one(void **state)
{
	struct rig *rig = *state;
	uint64_t before;

	guest_enable(rig);
	before = rig_stats(rig).invalidation_descriptors;
	for (int i = 0; i < 1 << CMDQ_LG2; i++)
		cmdq_put(rig, CMD_TLBI_NH_ALL, 0);
	cmdq_kick(rig); /* same index, other wrap bit */
	assert_int_equal(cmdq_cons(rig), rig->prod);
	assert_int_equal(rig_stats(rig).invalidation_descriptors, before + (1 << CMDQ_LG2));
}

static void a_disabled_queue_stands(void **state)
{
	struct rig *rig = *state;

	guest_enable(rig);
	cr0_set(rig, CR0_SMMUEN | CR0_EVENTQEN);
	cmdq_put(rig, CMD_SYNC, 0);
	cmdq_kick(rig);
	assert_int_not_equal(cmdq_cons(rig), rig->prod);
	cr0_set(rig, CR0_ALL); /* goes on where it was */
	assert_int_equal(cmdq_cons(rig), rig->prod);
}

/* Index bits that the queue does not have are ignored; so is a size that no queue has. */
static void hostile_indices(void **state)
{
	struct rig *rig = *state;

	guest_enable(rig);
	memset(&rig->memory[GPA_CMDQ], 0, 4096);
	for (uint64_t at = GPA_CMDQ; at < GPA_CMDQ + 4096; at += 16)
		*mem64(rig, at) = CMD_TLBI_NH_ALL;
	reg32_set(rig, REG_CMDQ_PROD, rig->prod | 0xffe00);
	assert_int_equal(cmdq_cons(rig), rig->prod);
	reg32_set(rig, REG_CMDQ_PROD, UINT32_MAX);
	assert_int_equal(cmdq_cons(rig), 0x1ff);
	cr0_set(rig, 0);
	reg64_set(rig, REG_CMDQ_BASE, 31); /* 2^31: at most 2^19 */
	reg32_set(rig, REG_CMDQ_CONS, 0);
	reg32_set(rig, REG_CMDQ_PROD, 0xfffff);
	memset(rig->memory, 0, 4096); /* opcode 0 */
	cr0_set(rig, CR0_CMDQEN);
	assert_int_equal(cmdq_error(rig), ILL);
	assert_int_equal(cmdq_cons(rig), 0);
}

/* --- what the host gets ---------------------------------------------------------------------- */

struct seen {
	uint32_t counts[64];
	unsigned int calls;
	uint64_t last[2];
};

static int see_commands(struct rig *rig, unsigned long request, void *arg)
{
	const struct iommu_hwpt_invalidate *cmd = arg;
	struct seen *seen = rig->hook_data;

	if (request != IOMMU_HWPT_INVALIDATE)
		return 0;
	seen->counts[seen->calls++ % 64] = cmd->entry_num;
	memcpy(seen->last, (uint8_t *)(uintptr_t)cmd->data_uptr + 16 * (cmd->entry_num - 1), 16);
	return 0;
}

static void commands_go_in_one_call_before_the_sync(void **state)
{
	struct rig *rig = *state;
	struct seen seen = { 0 };

	guest_enable(rig);
	go(rig, &rig->devices[0], PLACE_A);
	rig->host.hook = see_commands;
	rig->hook_data = &seen;
	for (int i = 0; i < 100; i++)
		cmdq_put(rig, CMD_TLBI_NH_VA(i), (uint64_t)i << 12);
	cmdq_sync(rig);
	assert_int_equal(seen.calls, 1);
	assert_int_equal(seen.counts[0], 100);
	assert_int_equal(seen.last[0], CMD_TLBI_NH_VA(99));
	/* and without one, at the end of what there is */
	cmdq_put(rig, CMD_TLBI_NH_ALL, 0);
	cmdq_kick(rig);
	assert_int_equal(seen.calls, 2);
	assert_int_equal(cmdq_cons(rig), rig->prod);
	cmdq_sync(rig); /* nothing to do */
	assert_int_equal(seen.calls, 2);
}

static void an_invalidation_reaches_the_dma(void **state)
{
	static const uint64_t cases[][2] = {
		{ CMD_TLBI_NH_VA(10 + PLACE_A), PROBE_IOVA },
		{ CMD_TLBI_NH_VA(10 + PLACE_A) | 3 << 12, (PROBE_IOVA - 0x1000) | 1 << 10 },
		{ CMD_TLBI_NH_VAA, PROBE_IOVA },
		{ CMD_TLBI_NH_ASID(10 + PLACE_A), 0 },
		{ CMD_TLBI_NH_ALL, 0 },
		{ CMD_TLBI_NSNH_ALL, 0 },
	};
	static const uint64_t others[][2] = {
		{ CMD_TLBI_NH_VA(99), PROBE_IOVA },
		{ CMD_TLBI_NH_VA(10 + PLACE_A), PROBE_IOVA + 0x1000 },
		{ CMD_TLBI_NH_ASID(99), 0 },
	};
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	go(rig, d, PLACE_A);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 2 * PAGE_SIZE_4K);
		assert_int_equal(place_of(d), PLACE_A); /* stale: nobody has said so yet */
		for (size_t j = 0; j < ARRAY_SIZE(others); j++)
			cmdq_run(rig, others[j][0], others[j][1]);
		assert_int_equal(place_of(d), PLACE_A);
		cmdq_run(rig, cases[i][0], cases[i][1]);
		assert_int_equal(place_of(d), PLACE_B);
		guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 1 * PAGE_SIZE_4K);
		cmdq_run(rig, CMD_TLBI_NSNH_ALL, 0);
		assert_int_equal(place_of(d), PLACE_A);
	}
}

static void commands_of_unknown_streams_stay_here(void **state)
{
	struct rig *rig = *state;
	struct seen seen = { 0 };

	guest_enable(rig);
	rig->host.hook = see_commands;
	rig->hook_data = &seen;
	cmdq_run(rig, CMD_CFGI_CD(0x77, 0), 1);
	cmdq_run(rig, CMD_CFGI_CD_ALL(0xffffffff), 1);
	cmdq_run(rig, CMD_CFGI_STE(0x77777), 1);
	/* of one that is there, but not on the guest's tables */
	cmdq_run(rig, CMD_CFGI_CD_ALL(rig->devices[0].rid), 1);
	assert_int_equal(seen.calls, 0);
}

/* --- errors ---------------------------------------------------------------------------------- */

/* Linux overwrites the command with a CMD_SYNC and goes on. */
static void an_illegal_command_stops_the_queue(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint32_t at;

	guest_enable(rig);
	reg32_set(rig, REG_IRQ_CTRL, 0);
	reg64_set(rig, REG_GERROR_CFG0, GPA_NOTHING);
	reg32_set(rig, REG_GERROR_CFG1, 0x55);
	reg32_set(rig, REG_IRQ_CTRL, 1);
	set_place(rig, d, PLACE_A);
	cmdq_put(rig, CMD_CFGI_STE(d->rid), 1);
	at = rig->prod;
	cmdq_put(rig, 0xff, 0);
	cmdq_put(rig, CMD_SYNC_IRQ(7), GPA_SYNC);
	cmdq_kick(rig);
	assert_int_equal(cmdq_error(rig), ILL);
	assert_int_equal(cmdq_cons(rig), at);
	assert_int_equal(place_of(d), PLACE_A); /* what came before is done */
	assert_int_equal(mem32(rig, GPA_SYNC), 0);
	assert_int_equal(rig->num_msis, 1);
	assert_int_equal(rig->msis[0].address, GPA_NOTHING);
	assert_int_equal(rig->msis[0].data, 0x55);
	*mem64(rig, GPA_CMDQ + (at & 0xff) * 16) = CMD_SYNC;
	cmdq_kick(rig); /* it stands, whatever is there now */
	assert_int_equal(cmdq_cons(rig), at);
	assert_int_equal(rig->num_msis, 1);
	cmdq_ack(rig);
	assert_int_equal(cmdq_error(rig), 0);
	assert_int_equal(cmdq_cons(rig), rig->prod);
	assert_int_equal(mem32(rig, GPA_SYNC), 7);
}

/* Twice the same error: GERROR goes back to 0, GERRORN follows. */
static void errors_toggle(void **state)
{
	struct rig *rig = *state;

	guest_enable(rig);
	for (int i = 0; i < 4; i++) {
		uint32_t at = rig->prod;

		cmdq_put(rig, 0, 0);
		cmdq_kick(rig);
		assert_int_equal(cmdq_error(rig), ILL);
		assert_int_equal(reg32(rig, REG_GERROR), !(i & 1));
		*mem64(rig, GPA_CMDQ + (at & 0xff) * 16) = CMD_SYNC;
		cmdq_ack(rig);
		assert_int_equal(cmdq_cons(rig), rig->prod);
	}
	assert_int_equal(rig_stats(rig).queue_errors, 4);
}

static void a_queue_that_is_not_memory(void **state)
{
	struct rig *rig = *state;

	guest_enable(rig);
	cr0_set(rig, 0);
	reg64_set(rig, REG_CMDQ_BASE, GPA_NOTHING | CMDQ_LG2);
	reg32_set(rig, REG_CMDQ_CONS, 5);
	reg32_set(rig, REG_CMDQ_PROD, 9);
	cr0_set(rig, CR0_CMDQEN);
	assert_int_equal(cmdq_error(rig), ABT);
	assert_int_equal(cmdq_cons(rig), 5);
}

/* The first half is, the second is not: commands are copied together, and found wrong one by one. */
static void a_queue_that_leaves_memory(void **state)
{
	struct rig *rig = *state;
	uint64_t *page = aligned_alloc(4096, 4096), before;

	assert_non_null(page);
	for (unsigned int i = 0; i < 256; i++) {
		page[2 * i] = CMD_TLBI_NH_ALL;
		page[2 * i + 1] = 0;
	}
	ok(nst_vm_map(rig->vm, (nst_gpa){ RIG_MEMORY }, 4096, page, true));
	guest_enable(rig);
	cr0_set(rig, 0);
	reg64_set(rig, REG_CMDQ_BASE, RIG_MEMORY | 9);
	reg32_set(rig, REG_CMDQ_CONS, 250);
	reg32_set(rig, REG_CMDQ_PROD, 300);
	before = rig_stats(rig).invalidation_descriptors;
	cr0_set(rig, CR0_CMDQEN);
	assert_int_equal(cmdq_error(rig), ABT);
	assert_int_equal(cmdq_cons(rig), 256);
	assert_int_equal(rig_stats(rig).invalidation_descriptors, before + 6);
	ok(nst_vm_unmap(rig->vm, (nst_gpa){ RIG_MEMORY }, 4096));
	free(page);
}

/* --- a host that refuses --------------------------------------------------------------------- */

/* Refuses what is in hook_data; in a batch it says, as Linux does, that all before are done. */
static int refuse(struct rig *rig, unsigned long request, void *arg)
{
	struct iommu_hwpt_invalidate *cmd = arg;
	const uint64_t(*entries)[2], *bad = rig->hook_data;

	if (request != IOMMU_HWPT_INVALIDATE)
		return 0;
	entries = (const void *)(uintptr_t)cmd->data_uptr;
	for (uint32_t i = 0; i < cmd->entry_num; i++) {
		if (entries[i][0] != *bad)
			continue;
		cmd->entry_num = i;
		return -EIO;
	}
	return 0;
}

/*
 * reference/arm-testbench.md: what a failed call says to be done is not done. So CONS must stand
 * exactly at the refused command, and all before it must have had its effect.
 */
static void the_refused_command_is_found(void **state)
{
	static const unsigned int places[] = { 0, 1, 62, 63, 64, 99 };

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct rig *rig = rig_create(&(struct rig_options){ .quirks = true });
		struct rig_device *d = rig_add_device(rig);
		uint64_t bad = CMD_TLBI_NH_ASID(0x7777);
		uint32_t at;

		guest_enable(rig);
		go(rig, d, PLACE_A);
		guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 2 * PAGE_SIZE_4K);
		rig->host.hook = refuse;
		rig->hook_data = &bad;
		at = (rig->prod + places[i]) & 0x1ff;
		for (unsigned int n = 0; n < 100; n++) {
			if (n == places[i])
				cmdq_put(rig, bad, 0);
			else
				cmdq_put(rig, CMD_TLBI_NH_VA(10 + PLACE_A), PROBE_IOVA);
		}
		cmdq_put(rig, CMD_SYNC_IRQ(1), GPA_SYNC);
		cmdq_kick(rig);
		assert_int_equal(cmdq_error(rig), ILL);
		assert_int_equal(cmdq_cons(rig), at);
		assert_int_equal(mem32(rig, GPA_SYNC), 0);
		if (places[i])
			assert_int_equal(place_of(d), PLACE_B);
		*mem64(rig, GPA_CMDQ + (at & 0xff) * 16) = CMD_SYNC;
		cmdq_ack(rig);
		assert_int_equal(cmdq_cons(rig), rig->prod);
		assert_int_equal(mem32(rig, GPA_SYNC), 1);
		assert_int_equal(place_of(d), PLACE_B);
		rig_destroy(rig);
	}
}

/* Of two it is the first: the second is found when the guest is past that. */
static void the_first_refused_command_comes_first(void **state)
{
	struct rig *rig = *state;
	uint64_t bad = CMD_TLBI_NH_ASID(0x7777);
	uint32_t first, second;

	guest_enable(rig);
	rig->host.hook = refuse;
	rig->hook_data = &bad;
	cmdq_put(rig, CMD_TLBI_NH_ALL, 0);
	first = rig->prod;
	cmdq_put(rig, bad, 0);
	second = rig->prod;
	cmdq_put(rig, bad, 0);
	cmdq_put(rig, CMD_SYNC, 0);
	cmdq_kick(rig);
	assert_int_equal(cmdq_cons(rig), first);
	*mem64(rig, GPA_CMDQ + (first & 0xff) * 16) = CMD_SYNC;
	cmdq_ack(rig);
	assert_int_equal(cmdq_error(rig), ILL);
	assert_int_equal(cmdq_cons(rig), second);
	*mem64(rig, GPA_CMDQ + (second & 0xff) * 16) = CMD_SYNC;
	cmdq_ack(rig);
	assert_int_equal(cmdq_cons(rig), rig->prod);
}

/* A call that fails as a whole, for want of memory: its commands one by one do not. */
static void a_batch_that_fails_is_given_one_by_one(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	go(rig, d, PLACE_A);
	guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 2 * PAGE_SIZE_4K);
	rig_fail(&rig->host, IOMMU_HWPT_INVALIDATE, 1, ENOMEM);
	cmdq_put(rig, CMD_TLBI_NH_VA(99), PROBE_IOVA);
	cmdq_run(rig, CMD_TLBI_NH_VA(10 + PLACE_A), PROBE_IOVA);
	assert_int_equal(place_of(d), PLACE_B);
}

/* s4.5.1: it is the CMD_SYNC that fails, and, seen by software, completes. */
static void a_refused_atc_inv_fails_the_sync(void **state)
{
	struct rig *rig = rig_create(&(struct rig_options){ .features = NST_SMMUV3_ATS });
	struct rig_device *d = rig_add_device(rig);
	uint64_t bad = CMD_ATC_INV(d->rid);
	uint32_t at;

	guest_enable(rig);
	go(rig, d, PLACE_A);
	cmdq_run(rig, CMD_ATC_INV(d->rid), 52);
	rig->host.hook = refuse;
	rig->hook_data = &bad;
	cmdq_put(rig, CMD_ATC_INV(d->rid), 52);
	cmdq_put(rig, CMD_TLBI_NH_ALL, 0);
	at = rig->prod;
	cmdq_put(rig, CMD_SYNC_IRQ(1), GPA_SYNC);
	cmdq_kick(rig);
	assert_int_equal(cmdq_error(rig), ATC_INV_SYNC);
	assert_int_equal(cmdq_cons(rig), at);
	assert_int_equal(mem32(rig, GPA_SYNC), 0);
	cmdq_ack(rig);
	assert_int_equal(cmdq_error(rig), 0);
	assert_int_equal(cmdq_cons(rig), rig->prod);
	assert_int_equal(mem32(rig, GPA_SYNC), 1);
	rig->host.hook = NULL;
	cmdq_run(rig, CMD_ATC_INV(d->rid), 52);
	rig_destroy(rig);
}

/* --- completion ------------------------------------------------------------------------------ */

static void a_sync_can_write_interrupt_or_neither(void **state)
{
	struct rig *rig = *state;

	guest_enable(rig);
	cmdq_run(rig, CMD_SYNC, GPA_SYNC);	     /* CS: none */
	cmdq_run(rig, CMD_SYNC | 2 << 12, GPA_SYNC); /* an event for WFE */
	assert_int_equal(mem32(rig, GPA_SYNC), 0);
	cmdq_run(rig, CMD_SYNC_IRQ(0xabc), GPA_SYNC + 4); /* to memory, where Linux polls */
	assert_int_equal(mem32(rig, GPA_SYNC + 4), 0xabc);
	assert_int_equal(rig->num_msis, 0);
	cmdq_run(rig, CMD_SYNC_IRQ(0xdef), GPA_NOTHING); /* to a doorbell */
	assert_int_equal(rig->num_msis, 1);
	assert_int_equal(rig->msis[0].address, GPA_NOTHING);
	assert_int_equal(rig->msis[0].data, 0xdef);
	/* who handles it finds CONS behind its CMD_SYNC */
	assert_int_equal(rig->cons_at_msi, rig->prod - 1);
	assert_int_equal(rig->pulses[NST_SMMUV3_IRQ_CMD_SYNC], 2); /* wires are there beside MSIs */
	cmdq_run(rig, CMD_SYNC_IRQ(0xdef), 0);			   /* no address */
	assert_int_equal(rig->pulses[NST_SMMUV3_IRQ_CMD_SYNC], 3);
	assert_int_equal(rig_stats(rig).wait_descriptors, 12);
}

static void without_msis_there_are_wires(void **state)
{
	struct rig *rig = rig_create(&(struct rig_options){ .no_msi = true });

	guest_enable(rig);
	cmdq_run(rig, CMD_SYNC_IRQ(1), GPA_SYNC);
	assert_int_equal(mem32(rig, GPA_SYNC), 0);
	assert_int_equal(rig->pulses[NST_SMMUV3_IRQ_CMD_SYNC], 1);
	cmdq_put(rig, 0, 0);
	cmdq_kick(rig);
	assert_int_equal(rig->pulses[NST_SMMUV3_IRQ_GERROR], 1);
	rig_destroy(rig);
}

/* --- bounded work ---------------------------------------------------------------------------- */

static bool is_readable(struct rig *rig)
{
	struct pollfd p = { .fd = nst_viommu_fd(rig->viommu), .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* 2^17 commands: more than one register write does. */
static void a_long_queue_is_done_in_pieces(void **state)
{
	enum { LG2 = 17, COUNT = 1 << LG2 };
	struct rig *rig = *state;
	const uint64_t base = GPA_DATA;
	unsigned int pieces = 0;
	uint32_t cons, before;

	guest_setup(rig);
	cr0_set(rig, 0);
	for (uint64_t i = 0; i < COUNT; i++) {
		*mem64(rig, base + 16 * i) = CMD_TLBI_NH_VA(1);
		*mem64(rig, base + 16 * i + 8) = i << 12;
	}
	*mem64(rig, base + 16 * (COUNT - 1)) = CMD_SYNC_IRQ(1);
	*mem64(rig, base + 16 * (COUNT - 1) + 8) = GPA_SYNC;
	reg64_set(rig, REG_CMDQ_BASE, base | LG2);
	reg32_set(rig, REG_CMDQ_CONS, 0);
	reg32_set(rig, REG_CMDQ_PROD, COUNT);
	reg32_set(rig, REG_CR0, CR0_CMDQEN);
	before = cons = cmdq_cons(rig);
	assert_in_range(cons, 1000, COUNT - 1);
	while (is_readable(rig)) {
		assert_int_equal(mem32(rig, GPA_SYNC), 0);
		nst_viommu_process(rig->viommu);
		cons = cmdq_cons(rig);
		assert_true(cons > before); /* always forward */
		before = cons;
		pieces++;
	}
	assert_int_equal(cons, COUNT);
	assert_int_equal(mem32(rig, GPA_SYNC), 1);
	assert_in_range(pieces, 2, 20);
	assert_int_equal(rig_stats(rig).host_invalidate_entries, COUNT - 1 + 1);
}

#define one_device(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		one_device(the_queue_goes_round),
		one_device(a_full_queue_is_not_an_empty_one),
		one_device(a_disabled_queue_stands),
		one_device(hostile_indices),
		one_device(commands_go_in_one_call_before_the_sync),
		one_device(an_invalidation_reaches_the_dma),
		one_device(commands_of_unknown_streams_stay_here),
		one_device(an_illegal_command_stops_the_queue),
		one_device(errors_toggle),
		one_device(a_queue_that_is_not_memory),
		one_device(a_queue_that_leaves_memory),
		cmocka_unit_test(the_refused_command_is_found),
		one_device(the_first_refused_command_comes_first),
		one_device(a_batch_that_fails_is_given_one_by_one),
		cmocka_unit_test(a_refused_atc_inv_fails_the_sync),
		one_device(a_sync_can_write_interrupt_or_neither),
		cmocka_unit_test(without_msis_there_are_wires),
		one_device(a_long_queue_is_done_in_pieces),
	};

	return cmocka_run_group_tests_name("smmuv3 queue", tests, NULL, NULL);
}
