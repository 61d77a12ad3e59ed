// SPDX-License-Identifier: BSD-3-Clause
/*
 * ATS of emulated devices: who may ask, what he is given, how he is told to forget it, and what
 * becomes of requests that say they are translated.
 */
#include "rig.h"

#include <string.h>

#define RID 0x25
#define CD_AT GPA_CDTAB
#define ASID 7
#define AT_A (PROBE_IOVA + 1 * PAGE_SIZE_4K)
#define EATS (1ULL << 28)
#define CR0_ATSCHK 16u

static struct rig *begin(void)
{
	struct rig *rig =
		rig_create(&(struct rig_options){ .features = NST_SMMUV3_ATS, .ssid_bits = 8 });

	guest_enable(rig);
	guest_write_cd(rig, CD_AT, rig->root_a, ASID);
	guest_write_cd(rig, CD_AT + 3 * 64, rig->root_b, ASID + 1);
	guest_ste(rig, RID)[0] = STE_S1(CD_AT) | STE_CDMAX(2);
	guest_ste(rig, RID)[1] = 2 | EATS;
	cmdq_run(rig, CMD_CFGI_ALL, 31);
	return rig;
}

static enum nst_ats_status ask(struct rig *rig, uint32_t ssid, uint64_t iova, unsigned int pages,
			       bool no_write, struct nst_ats_entry entries[4], unsigned int *count)
{
	const struct nst_ats_request req = {
		.rid = RID, .pasid = ssid, .iova = { iova }, .pages = pages, .no_write = no_write
	};
	enum nst_ats_status status;

	memset(entries, 0, 4 * sizeof(*entries));
	ok(nst_viommu_ats_translate(rig->viommu, &req, entries, 4, count, &status));
	return status;
}

static void pages_are_given(void **state)
{
	struct rig *rig = begin();
	struct nst_ats_entry e[4];
	unsigned int count;

	guest_map(rig, rig->root_a, PROBE_IOVA + 0x1000, GPA_DATA);
	*guest_pte(rig, rig->root_a, PROBE_IOVA + 0x1000) |= 1 << 7; /* read-only */
	assert_int_equal(ask(rig, NST_NO_PASID, PROBE_IOVA + 0x123, 1, false, e, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(e[0].gpa.v, AT_A);
	assert_int_equal(e[0].size, 4096);
	assert_true(e[0].read && e[0].write && !e[0].untranslated && !e[0].privileged);
	assert_int_equal(ask(rig, NST_NO_PASID, PROBE_IOVA, 4, false, e, &count), 0);
	assert_int_equal(count, 4);
	assert_int_equal(e[1].gpa.v, GPA_DATA);
	assert_true(e[1].read && !e[1].write);
	assert_true(!e[2].read && !e[2].write && !e[3].read); /* not there: no fault */
	assert_int_equal(ask(rig, 3, PROBE_IOVA, 1, true, e, &count), 0);
	assert_int_equal(e[0].gpa.v, PROBE_IOVA + 2 * PAGE_SIZE_4K);
	assert_int_equal(event_type(rig), 0);
	rig_destroy(rig);
}

/* Neither may, nor can be answered; of the first the guest is told. */
static void who_may_ask(void **state)
{
	struct rig *rig = begin();
	struct nst_ats_entry e[4];
	unsigned int count;
	uint64_t event[4];
	uint64_t *ste = guest_ste(rig, RID);
	const uint64_t good[2] = { ste[0], ste[1] };
	const struct {
		uint64_t w0, w1, cd, table;
		enum nst_ats_status status;
		unsigned int event;
	} cases[] = {
		{ good[0], good[1], 0, 0, NST_ATS_SUCCESS, 0 },
		{ good[0], 2, 0, 0, NST_ATS_UNSUPPORTED_REQUEST, 5 },
		{ STE_BYPASS, EATS, 0, 0, NST_ATS_UNSUPPORTED_REQUEST, 5 },
		{ STE_ABORT, 0, 0, 0, NST_ATS_UNSUPPORTED_REQUEST, 0 },
		{ good[0], EATS, 0, 0, NST_ATS_UNSUPPORTED_REQUEST, 0 }, /* F_STREAM_DISABLED */
		{ STE_S1(GPA_NOTHING), EATS, 0, 0, NST_ATS_COMPLETER_ABORT, 0 },
		{ good[0], good[1], 1ULL << 31, 0, NST_ATS_COMPLETER_ABORT, 0 },
		{ good[0], good[1], 0, GPA_NOTHING | 3, NST_ATS_COMPLETER_ABORT, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t *cd = mem64(rig, CD_AT), *top = mem64(rig, rig->root_a), was = *top;

		ste[0] = cases[i].w0;
		ste[1] = cases[i].w1;
		*cd ^= cases[i].cd;
		*top = cases[i].table ? cases[i].table : was;
		cmdq_put(rig, CMD_TLBI_NH_ALL, 0);
		cmdq_run(rig, CMD_CFGI_ALL, 31);
		assert_int_equal(ask(rig, NST_NO_PASID, PROBE_IOVA + 0x123, 1, false, e, &count),
				 cases[i].status);
		assert_int_equal(count, cases[i].status == NST_ATS_SUCCESS);
		if (cases[i].event) {
			assert_true(event_take(rig, event));
			assert_int_equal(event[0], cases[i].event | (uint64_t)RID << 32);
			assert_int_equal(event[1], 0);
			assert_int_equal(event[2], PROBE_IOVA);
		}
		assert_int_equal(event_type(rig), 0);
		*cd ^= cases[i].cd;
		*top = was;
	}
	ste[0] = good[0];
	ste[1] = good[1];
	cr0_set(rig, CR0_CMDQEN | CR0_EVENTQEN);
	assert_int_equal(ask(rig, NST_NO_PASID, PROBE_IOVA, 1, false, e, &count),
			 NST_ATS_UNSUPPORTED_REQUEST);
	assert_int_equal(event_type(rig), 0);
	rig_destroy(rig);
}

/* CR0.ATSCHK: clear, it is believed; set, its stream must have ATS. */
static void translated_requests(void **state)
{
	struct rig *rig = begin();
	struct nst_translate_request req = {
		.rid = RID, .pasid = NST_NO_PASID, .iova = { 0x123456 }, .translated = true
	};
	struct nst_translation out;
	uint64_t event[4];

	for (int check = 0; check < 2; check++) {
		for (int ats = 0; ats < 2; ats++) {
			guest_ste(rig, RID)[1] = 2 | (ats ? EATS : 0);
			cmdq_run(rig, CMD_CFGI_STE(RID), 1);
			cr0_set(rig, CR0_ALL | (check ? CR0_ATSCHK : 0));
			if (check && !ats) {
				err(EFAULT, nst_viommu_translate(rig->viommu, &req, &out));
				assert_true(event_take(rig, event));
				assert_int_equal(event[0], 7 | (uint64_t)RID << 32);
				assert_int_equal(event[1], 1ULL << 35);
				assert_int_equal(event[2], 0x123456);
				continue;
			}
			ok(nst_viommu_translate(rig->viommu, &req, &out));
			assert_int_equal(out.gpa.v, 0x123456);
			assert_true(out.size && out.read && out.write);
			assert_int_equal(event_type(rig), 0);
		}
	}
	req.iova.v = 1ULL << 44;
	err(EFAULT, nst_viommu_translate(rig->viommu, &req, &out));
	req.iova.v = 0;
	cr0_set(rig, CR0_CMDQEN | CR0_EVENTQEN);
	err(EFAULT, nst_viommu_translate(rig->viommu, &req, &out));
	assert_int_equal(event_type(rig), 0);
	rig_destroy(rig);
}

struct tlb {
	unsigned int calls;
	struct nst_device_tlb_invalidation last;
	int answer;
};

static int device_tlb(void *opaque, const struct nst_device_tlb_invalidation *invalidation)
{
	struct tlb *t = opaque;

	t->calls++;
	t->last = *invalidation;
	return t->answer;
}

static void device_tlbs_are_invalidated(void **state)
{
	struct rig *rig = begin();
	struct tlb tlb = { 0 };
	const struct nst_notifier_config config = {
		.rid = RID,
		.pasid = NST_EVERY_PASID,
		.last = { UINT64_MAX },
		.device_tlb = device_tlb,
		.opaque = &tlb,
	};
	struct nst_notifier *n;

	ok(nst_viommu_notify(rig->viommu, &config, &n));
	cmdq_run(rig, CMD_ATC_INV(RID + 1), PROBE_IOVA);
	cmdq_run(rig, CMD_ATC_INV(RID | 0x10000), PROBE_IOVA);
	assert_int_equal(tlb.calls, 0);
	cmdq_run(rig, CMD_ATC_INV(RID), (PROBE_IOVA + 0x1000) | 1); /* 2 pages, aligned */
	assert_int_equal(tlb.calls, 1);
	assert_int_equal(tlb.last.first.v, PROBE_IOVA);
	assert_int_equal(tlb.last.last.v, PROBE_IOVA + 0x1fff);
	assert_int_equal(tlb.last.pasid, NST_NO_PASID);
	assert_false(tlb.last.global);
	cmdq_run(rig, CMD_ATC_INV(RID) | 1 << 11 | 3 << 12, 52);
	assert_int_equal(tlb.last.pasid, 3);
	assert_int_equal(tlb.last.first.v, 0);
	assert_int_equal(tlb.last.last.v, UINT64_MAX);
	cmdq_run(rig, CMD_ATC_INV(RID) | 1 << 11 | 1 << 9, 52);
	assert_true(tlb.last.global);
	/* it does not answer: CERROR_ATC_INV_SYNC, once */
	tlb.answer = -1;
	cmdq_put(rig, CMD_ATC_INV(RID), 52);
	cmdq_put(rig, CMD_SYNC, 0);
	cmdq_kick(rig);
	assert_int_equal(cmdq_error(rig), 3);
	cmdq_ack(rig);
	assert_int_equal(cmdq_cons(rig), rig->prod);
	nst_notifier_remove(n);
	rig_destroy(rig);
}

static void passed_through_devices_ask_their_host(void **state)
{
	struct rig *rig = rig_create(&(struct rig_options){ .features = NST_SMMUV3_ATS });
	struct rig_device *d = rig_add_device(rig);
	struct nst_ats_request req = { .rid = d->rid, .pasid = NST_NO_PASID, .pages = 1 };
	struct nst_translate_request use = { .rid = d->rid,
					     .pasid = NST_NO_PASID,
					     .translated = true };
	enum nst_ats_status status;
	struct nst_translation out;
	struct nst_ats_entry entry;
	unsigned int count;

	err(EEXIST, nst_viommu_ats_translate(rig->viommu, &req, &entry, 1, &count, &status));
	err(EEXIST, nst_viommu_translate(rig->viommu, &use, &out));
	rig_destroy(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_are_given),
		cmocka_unit_test(who_may_ask),
		cmocka_unit_test(translated_requests),
		cmocka_unit_test(device_tlbs_are_invalidated),
		cmocka_unit_test(passed_through_devices_ask_their_host),
	};

	return cmocka_run_group_tests_name("smmuv3 ATS", tests, NULL, NULL);
}
