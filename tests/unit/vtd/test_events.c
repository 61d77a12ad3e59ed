// SPDX-License-Identifier: BSD-3-Clause
/*
 * Fault records and the two interrupts. A device whose context entry has a reserved bit
 * is a fault on demand; so is vtd_fault_record() itself, where only the records count.
 */
#include "rig.h"

/* Record a fault of device @n as reconciling would. */
static void fault(struct rig *rig, nst_rid rid, enum vtd_fault_reason reason)
{
	struct vtd_unit *u = rig_unit(rig);

	mutex_lock(&u->cmd_lock);
	vtd_fault_record(u, rid, NST_NO_PASID, 0x12345678, false, reason);
	mutex_unlock(&u->cmd_lock);
}

static unsigned int fri(struct rig *rig)
{
	return reg32(rig, REG_FSTS) >> 8 & 0xff;
}

static void clear_record(struct rig *rig, unsigned int index)
{
	reg32_set(rig, REG_FRCD + 16 * index + 12, 1u << 31);
}

static void a_record_says_who_where_and_why(void **state)
{
	struct rig *rig = *state;
	uint64_t lo, hi;

	fault(rig, 0x1234, VTD_FAULT_PASID_RESERVED);
	lo = reg64(rig, REG_FRCD);
	hi = reg64(rig, REG_FRCD + 8);
	assert_true(lo == 0x12345000);
	/* F, T1 (read), the reason, the requester */
	assert_true(hi == (3ULL << 62 | 0x5aULL << 32 | 0x1234));
	assert_int_equal(reg32(rig, REG_FSTS), FSTS_PPF);
	mutex_lock(&rig_unit(rig)->cmd_lock);
	vtd_fault_record(rig_unit(rig), 5, NST_NO_PASID, 0, true, VTD_FAULT_WRITE);
	mutex_unlock(&rig_unit(rig)->cmd_lock);
	assert_true(reg64(rig, REG_FRCD + 24) == (1ULL << 63 | 0x85ULL << 32 | 5));
}

static void eight_records_then_overflow(void **state)
{
	struct rig *rig = *state;

	for (unsigned int i = 0; i < 8; i++) {
		fault(rig, (nst_rid)(100 + i), VTD_FAULT_CONTEXT_RESERVED);
		assert_int_equal(faults_pending(rig), i + 1);
		assert_int_equal(reg64(rig, REG_FRCD + 16 * i + 8) & 0xffff, 100 + i);
		assert_int_equal(reg32(rig, REG_FSTS), FSTS_PPF);
	}
	fault(rig, 200, VTD_FAULT_CONTEXT_RESERVED);
	assert_int_equal(reg32(rig, REG_FSTS), FSTS_PPF | FSTS_PFO);
	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(reg64(rig, REG_FRCD + 16 * i + 8) & 0xffff, 100 + i);
	/* while the overflow stands nothing is recorded, even with places free */
	clear_record(rig, 0);
	fault(rig, 201, VTD_FAULT_CONTEXT_RESERVED);
	assert_int_equal(fault_reason(rig, 0), 0);
	/* PPF is read-only: it goes with the last record */
	reg32_set(rig, REG_FSTS, 0xffffffff);
	assert_int_equal(reg32(rig, REG_FSTS) & 0xff, FSTS_PPF);
	faults_clear(rig);
	assert_int_equal(reg32(rig, REG_FSTS) & 0xff, 0);
	assert_int_equal(rig_stats(rig).faults, 10);
}

static void records_may_be_cleared_in_any_order(void **state)
{
	struct rig *rig = *state;
	uint64_t seed = 3;

	for (int round = 0; round < 100; round++) {
		unsigned int left = 1 + (unsigned int)test_random(&seed) % 8;

		for (unsigned int i = 0; i < left; i++)
			fault(rig, (nst_rid)(1 + i), VTD_FAULT_CONTEXT_RESERVED);
		assert_int_equal(faults_pending(rig), left);
		assert_int_not_equal(fault_reason(rig, fri(rig)), 0);
		while (left) {
			unsigned int i = (unsigned int)test_random(&seed) % 8;

			left -= fault_reason(rig, i) != 0;
			clear_record(rig, i);
			assert_int_equal(faults_pending(rig), left);
			assert_int_equal(reg32(rig, REG_FSTS) & 0xff, left ? FSTS_PPF : 0);
		}
	}
}

/* What is pending already is not recorded again; what tells something new is. */
static void equal_faults_are_one_record(void **state)
{
	const struct vtd_fault first = { .rid = 7, .pasid = 3, .addr = 0x1000, .write = true,
					 .reason = VTD_FAULT_FS_NOT_PRESENT };
	struct vtd_fault others[] = { first, first, first, first, first, first };
	struct rig *rig = *state;
	struct vtd_unit *u = rig_unit(rig);

	others[0].rid = 8;
	others[1].pasid = NST_NO_PASID;
	others[2].pasid = 4;
	others[3].write = false;
	others[4].privileged = true;
	others[5].reason = VTD_FAULT_FS_RESERVED;
	mutex_lock(&u->cmd_lock);
	for (unsigned int i = 0; i < 1000; i++) {
		struct vtd_fault again = first;

		again.addr += i * PAGE_SIZE_4K;
		vtd_fault_report(u, &again);
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		vtd_fault_report(u, &others[i]);
		vtd_fault_report(u, &others[i]);
		vtd_fault_report(u, &first);
	}
	mutex_unlock(&u->cmd_lock);
	assert_int_equal(faults_pending(rig), 7);
	assert_int_equal(reg32(rig, REG_FSTS), FSTS_PPF);
	assert_true(reg64(rig, REG_FRCD) == 0x1000);	/* that of the first one */
	/* read and cleared: the next one is news */
	clear_record(rig, 0);
	mutex_lock(&u->cmd_lock);
	vtd_fault_report(u, &first);
	mutex_unlock(&u->cmd_lock);
	assert_int_equal(fault_reason(rig, 7), VTD_FAULT_FS_NOT_PRESENT);
}

/* Every bit that a record has, each where s11.4.7.7 puts it. */
static void every_field_of_a_record(void **state)
{
	const struct vtd_fault all = { .rid = 0xfedc, .pasid = 0xabcde, .addr = 0x123456789abc,
				       .write = true, .privileged = true, .exec = true,
				       .reason = VTD_FAULT_FS_PRIVILEGE };
	struct rig *rig = *state;

	mutex_lock(&rig_unit(rig)->cmd_lock);
	vtd_fault_report(rig_unit(rig), &all);
	mutex_unlock(&rig_unit(rig)->cmd_lock);
	assert_true(reg64(rig, REG_FRCD) == 0x123456789000);
	assert_true(reg64(rig, REG_FRCD + 8) ==
		    (1ULL << 63 | 0xabcdeULL << 40 | 0x81ULL << 32 | 7ULL << 29 | 0xfedc));
}

/* Linux reads from FRI on, in a ring, up to the first empty record. */
static unsigned int driver_reads(struct rig *rig, unsigned int *index)
{
	unsigned int n = 0;

	while (fault_reason(rig, *index)) {
		clear_record(rig, *index);
		*index = (*index + 1) % 8;
		n++;
	}
	return n;
}

/* A fault that comes while the driver reads must not be put where it has just been. */
static void faults_during_the_reading_are_not_missed(void **state)
{
	struct rig *rig = *state;

	for (int round = 0; round < 20; round++) {
		unsigned int index;

		fault(rig, 1, VTD_FAULT_CONTEXT_RESERVED);
		fault(rig, 2, VTD_FAULT_CONTEXT_RESERVED);
		index = fri(rig);
		clear_record(rig, index);
		index = (index + 1) % 8;
		fault(rig, 3, VTD_FAULT_CONTEXT_RESERVED);
		assert_int_equal(driver_reads(rig, &index), 2);
		assert_int_equal(faults_pending(rig), 0);
		assert_int_equal(reg32(rig, REG_FSTS) & 0xff, 0);
	}
}

static void reset_begins_at_the_first_record(void **state)
{
	struct rig *rig = *state;

	fault(rig, 1, VTD_FAULT_CONTEXT_RESERVED);
	fault(rig, 2, VTD_FAULT_CONTEXT_RESERVED);
	nst_viommu_reset(rig->viommu);
	assert_int_equal(faults_pending(rig), 0);
	fault(rig, 3, VTD_FAULT_CONTEXT_RESERVED);
	assert_int_equal(fault_reason(rig, 0), 0x42);
	assert_int_equal(fri(rig), 0);
	/* turning translation off does the same to the index */
	faults_clear(rig);
	gcmd(rig, GCMD_TE, 0);
	faults_clear(rig);
	gcmd(rig, 0, GCMD_TE);
	fault(rig, 4, VTD_FAULT_CONTEXT_RESERVED);
	assert_int_equal(fault_reason(rig, 0), 0x42);
}

/* --- interrupts: both events in all states and by all events --------------------------------- */

/* The two events, by the registers that belong to them. */
struct kind {
	uint64_t control, data, address, upper;
	void (*cause)(struct rig *rig);
	void (*service)(struct rig *rig);
};

static void cause_fault(struct rig *rig)
{
	fault(rig, 1, VTD_FAULT_CONTEXT_RESERVED);
}

static void cause_completion(struct rig *rig)
{
	iq_put(rig, DESC_WAIT_INTERRUPT, 0);
	iq_kick(rig);
}

static void service_completion(struct rig *rig)
{
	reg32_set(rig, REG_ICS, 1);
}

static const struct kind kinds[] = {
	{ REG_FECTL, REG_FEDATA, REG_FEADDR, REG_FEUADDR, cause_fault, faults_clear },
	{ REG_IECTL, REG_IEDATA, REG_IEADDR, REG_IEUADDR, cause_completion, service_completion },
};

enum event { CAUSE, SERVICE, MASK, UNMASK, NUM_EVENTS };
enum { PATHS = NUM_EVENTS * NUM_EVENTS * NUM_EVENTS * NUM_EVENTS };

/* The model: three bits, as VT-d 4.1 s7.3 and s6.5.2.11 tell it. */
struct model {
	bool masked, status, pending;
	unsigned int messages;
};

static void model_event(struct model *m, enum event event)
{
	switch (event) {
	case CAUSE:
		if (m->status)	/* not a new condition */
			break;
		m->status = true;
		if (m->masked)
			m->pending = true;
		else
			m->messages++;
		break;
	case SERVICE:
		m->status = m->pending = false;
		break;
	case MASK:
		m->masked = true;
		break;
	default:
		m->masked = false;
		m->messages += m->pending;
		m->pending = false;
	}
}

static void do_event(struct rig *rig, const struct kind *k, enum event event)
{
	switch (event) {
	case CAUSE:
		k->cause(rig);
		break;
	case SERVICE:
		k->service(rig);
		break;
	case MASK:
		reg32_set(rig, k->control, EVENT_IM);
		break;
	default:
		reg32_set(rig, k->control, 0);
	}
}

static void check_model(struct rig *rig, const struct kind *k, const struct model *m)
{
	assert_int_equal(rig->num_msis, m->messages);
	assert_int_equal(reg32(rig, k->control),
			 (m->masked ? EVENT_IM : 0) | (m->pending ? EVENT_IP : 0));
}

/* Every state that two events lead to, then every pair of events from there. */
static void masks_and_pending_bits(void **state)
{
	struct rig *rig = *state;

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		for (unsigned int path = 0; path < PATHS; path++) {
			struct model m = { .masked = true };

			nst_viommu_reset(rig->viommu);
			iq_enable(rig);
			rig->num_msis = 0;
			for (unsigned int p = path, step = 0; step < 4; step++, p /= NUM_EVENTS) {
				do_event(rig, &kinds[k], p % NUM_EVENTS);
				model_event(&m, p % NUM_EVENTS);
				check_model(rig, &kinds[k], &m);
			}
		}
	}
}

static void messages_go_where_the_registers_say(void **state)
{
	struct rig *rig = *state;

	iq_enable(rig);
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		reg32_set(rig, kinds[k].data, 0x4000 + (uint32_t)k);
		reg32_set(rig, kinds[k].address, 0xfee00000 + 4 * (uint32_t)k);
		reg32_set(rig, kinds[k].upper, 0xabcd);
		/* set while masked; delivered when unmasked: with what is there then */
		kinds[k].cause(rig);
		reg32_set(rig, kinds[k].upper, 0x1234);
		assert_int_equal(rig->num_msis, k);
		reg32_set(rig, kinds[k].control, 0);
		assert_int_equal(rig->num_msis, k + 1);
		assert_true(rig->msis[k].address == (0x1234fee00000ULL + 4 * k));
		assert_int_equal(rig->msis[k].data, 0x4000 + k);
	}
}

/* The causes of the fault event share it: a second kind of cause is no second message. */
static void causes_share_the_fault_event(void **state)
{
	struct rig *rig = *state;

	iq_enable(rig);
	reg32_set(rig, REG_FECTL, 0);
	cause_fault(rig);
	assert_int_equal(rig->num_msis, 1);
	iq_put(rig, 0, 0);
	iq_kick(rig);
	assert_int_equal(reg32(rig, REG_FSTS) & 0xff, FSTS_PPF | FSTS_IQE);
	assert_int_equal(rig->num_msis, 1);
	faults_clear(rig);
	assert_int_equal(reg32(rig, REG_FSTS) & 0xff, FSTS_IQE);
	/* IQE still stands: a fault is not new */
	cause_fault(rig);
	assert_int_equal(rig->num_msis, 1);
	faults_clear(rig);
	gcmd(rig, 0, GCMD_QIE);
	reg32_set(rig, REG_FSTS, FSTS_IQE);
	cause_fault(rig);
	assert_int_equal(rig->num_msis, 2);
}

/* Pending under the mask with two causes: it stays until both are gone. */
static void pending_goes_with_the_last_cause(void **state)
{
	struct rig *rig = *state;

	iq_enable(rig);
	cause_fault(rig);
	iq_put(rig, 0, 0);
	iq_kick(rig);
	assert_int_equal(reg32(rig, REG_FECTL), EVENT_IM | EVENT_IP);
	faults_clear(rig);
	assert_int_equal(reg32(rig, REG_FECTL), EVENT_IM | EVENT_IP);
	gcmd(rig, 0, GCMD_QIE);
	reg32_set(rig, REG_FSTS, FSTS_IQE);
	assert_int_equal(reg32(rig, REG_FECTL), EVENT_IM);
	reg32_set(rig, REG_FECTL, 0);
	assert_int_equal(rig->num_msis, 0);
}

static void the_pending_bit_is_read_only(void **state)
{
	struct rig *rig = *state;

	reg32_set(rig, REG_FECTL, 0xffffffff);
	assert_int_equal(reg32(rig, REG_FECTL), EVENT_IM);
	reg32_set(rig, REG_FECTL, EVENT_IP);
	assert_int_equal(reg32(rig, REG_FECTL), 0);
	assert_int_equal(rig->num_msis, 0);
}

/* --- which mistakes of the guest are reported ------------------------------------------------ */

static void a_wrong_entry_is_reported_once(void **state)
{
	struct rig *rig = *state;
	nst_rid rid = rig->devices[0].rid;

	guest_enable(rig);
	assert_int_equal(faults_pending(rig), 0);	/* absent entries are no fault yet */
	guest_context_entry(rig, rid)[2] = 1;
	guest_sync(rig);
	guest_sync(rig);
	assert_int_equal(faults_pending(rig), 1);
	assert_int_equal(fault_reason(rig, 0), 0x42);
	assert_int_equal(reg64(rig, REG_FRCD + 8) & 0xffff, rid);
	/* another mistake is another report, and the first one again too */
	guest_context_entry(rig, rid)[2] = 0;
	guest_pasid_entry(rig, rid, 0)[0] = 1;
	guest_sync(rig);
	assert_int_equal(faults_pending(rig), 2);
	assert_int_equal(fault_reason(rig, 1), 0x5b);
	guest_context_entry(rig, rid)[2] = 1;
	guest_sync(rig);
	assert_int_equal(rig_stats(rig).faults, 3);
	assert_int_equal(faults_pending(rig), 2);	/* it stands there still */
	faults_clear(rig);
	guest_context_entry(rig, rid)[2] = 0;
	guest_sync(rig);
	guest_context_entry(rig, rid)[2] = 1;
	guest_sync(rig);
	assert_int_equal(fault_reason(rig, 3), 0x42);
}

static void what_the_guest_does_not_want_to_know_is_not_recorded(void **state)
{
	struct rig *rig = *state;
	nst_rid rid = rig->devices[0].rid;

	guest_enable(rig);
	guest_context_entry(rig, rid)[0] |= 2;	/* FPD */
	guest_pasid_entry(rig, rid, 0)[0] = 1;
	guest_sync(rig);
	assert_int_equal(faults_pending(rig), 0);
	assert_int_equal(place_of(&rig->devices[0]), NOWHERE);
	/* also when it is the host that refuses */
	rig_fail_from_now_on(&rig->host, VFIO_DEVICE_ATTACH_IOMMUFD_PT, ENOMEM);
	guest_set_stage1(rig, rid, rig->root_a, 5);
	guest_sync(rig);
	rig_fail_stop(&rig->host);
	assert_int_equal(faults_pending(rig), 0);
	assert_int_equal(rig_stats(rig).failed_attaches, 2);
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_RIG(a_record_says_who_where_and_why),
		WITH_RIG(eight_records_then_overflow),
		WITH_RIG(records_may_be_cleared_in_any_order),
		WITH_RIG(equal_faults_are_one_record),
		WITH_RIG(every_field_of_a_record),
		WITH_RIG(faults_during_the_reading_are_not_missed),
		WITH_RIG(reset_begins_at_the_first_record),
		WITH_RIG(masks_and_pending_bits),
		WITH_RIG(messages_go_where_the_registers_say),
		WITH_RIG(causes_share_the_fault_event),
		WITH_RIG(pending_goes_with_the_last_cause),
		WITH_RIG(the_pending_bit_is_read_only),
		WITH_RIG(a_wrong_entry_is_reported_once),
		WITH_RIG(what_the_guest_does_not_want_to_know_is_not_recorded),
	};

	return cmocka_run_group_tests_name("vtd events", tests, NULL, NULL);
}
