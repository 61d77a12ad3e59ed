// SPDX-License-Identifier: BSD-3-Clause
/*
 * nst_viommu_ats_translate(), translated requests, and invalidations of emulated devices' TLBs.
 * Statuses and reasons are PCIe's and VT-d 4.1's; 0x44 and 0x0d say "no device TLB".
 */
#include "translate_world.h"

#include "base/fnv.h"

#define DTE 4ULL

static enum nst_ats_status ask(struct world *w, uint32_t pasid, uint64_t iova, unsigned int pages,
			       struct nst_ats_entry *entries, unsigned int *count)
{
	const struct nst_ats_request req = {
		.rid = RID, .pasid = pasid, .iova = { iova }, .pages = pages,
	};
	enum nst_ats_status status;

	assert_int_equal(nst_viommu_ats_translate(w->viommu, &req, entries, 8, count, &status), 0);
	assert_int_equal(*count > 0, status == NST_ATS_SUCCESS);
	return status;
}

static struct nst_ats_entry ask_one(struct world *w, uint32_t pasid, uint64_t iova)
{
	struct nst_ats_entry entries[8];
	unsigned int count;

	assert_int_equal(ask(w, pasid, iova, 1, entries, &count), NST_ATS_SUCCESS);
	assert_int_equal(count, 1);
	assert_int_equal(reg(w, 0x34, 4) & 3, 0); /* no fault, even if nothing is there */
	return entries[0];
}

/* The request is not answered with translations, and a fault is recorded; or none, for 0. */
static void refused(struct world *w, uint32_t pasid, enum nst_ats_status status, unsigned int reason)
{
	struct nst_ats_entry entries[8];
	unsigned int count;
	uint64_t low, high;

	assert_int_equal(ask(w, pasid, IOVA, 1, entries, &count), status);
	if (!reason) {
		assert_int_equal(reg(w, 0x34, 4) & 3, 0);
		return;
	}
	take_fault(w, &low, &high);
	assert_int_equal(low, IOVA);
	assert_int_equal(high >> 32 & 0xff, reason);
	assert_int_equal(high >> 60 & 3, 1); /* AT: a translation request */
}

static int translated(struct world *w, uint64_t gpa, struct nst_translation *out)
{
	const struct nst_translate_request req = {
		.rid = RID, .pasid = NO, .iova = { gpa }, .write = true, .translated = true,
	};

	return nst_viommu_translate(w->viommu, &req, out);
}

static void pages_and_rights(void **state)
{
	struct world *w = create(ALL);
	uint64_t root = first_stage(w), *leaf = fs_pte(w, root, IOVA);
	struct nst_ats_request req = { .rid = RID, .pasid = NO, .iova = { IOVA }, .pages = 1 };
	enum nst_ats_status status;
	struct nst_ats_entry e;
	unsigned int count;

	at(w, CONTEXT + RID * 32)[0] |= DTE;
	enable(w, 1);
	req.no_write = true;
	assert_int_equal(nst_viommu_ats_translate(w->viommu, &req, &e, 1, &count, &status), 0);
	assert_true(e.read && !e.write);
	assert_int_equal(*leaf & 0xfff, 0x27); /* A */
	e = ask_one(w, NO, IOVA + 0x123);
	assert_int_equal(e.gpa.v, DATA);
	assert_int_equal(e.size, 4096);
	assert_true(e.read && e.write && !e.privileged && !e.untranslated);
	assert_int_equal(*leaf & 0xfff, 0x67); /* and D */
	*fs_pte(w, root, IOVA + 0x1000) = DATA | 5;
	e = ask_one(w, NO, IOVA + 0x1000);
	assert_true(e.read && !e.write);
	e = ask_one(w, NO, IOVA + 0x2000);
	assert_true(!e.read && !e.write && e.size == 4096);
	*fs_pte(w, root, IOVA + 0x2000) = 0xfee00000 | 7;
	assert_false(ask_one(w, NO, IOVA + 0x2000).read);
	*pte(w, root, 1ULL << 30, 4, 2, 7) = 0x200000 | 0x87;
	e = ask_one(w, NO, (1ULL << 30) + 0x5123);
	assert_int_equal(e.gpa.v, 0x200000);
	assert_int_equal(e.size, 1 << 21);
	e = ask_one(w, NO, 0xfee01000);
	assert_true(e.untranslated && e.write && !e.read);
	assert_int_equal(e.gpa.v, 0xfee01000);
	req.pages = 0;
	assert_int_equal(nst_viommu_ats_translate(w->viommu, &req, &e, 1, &count, &status), -EINVAL);
	req.pages = 1;
	assert_int_equal(nst_viommu_ats_translate(w->viommu, &req, &e, 0, &count, &status), -EINVAL);
	destroy(w);
}

static void several_entries(void **state)
{
	struct world *w = create(ALL);
	uint64_t root = first_stage(w);
	struct nst_ats_entry e[8];
	unsigned int count;

	at(w, CONTEXT + RID * 32)[0] |= DTE;
	for (uint64_t i = 0; i < 12; i++)
		if (i != 3)
			*fs_pte(w, root, IOVA + i * 4096) = (DATA + (i ^ 1) * 4096) | 7;
	*pte(w, root, IOVA + 0x188000, 4, 2, 7) = 0x200000 | 0x87; /* the next 2 MiB */
	enable(w, 1);
	assert_int_equal(ask(w, NO, IOVA + 0x10, 3, e, &count), NST_ATS_SUCCESS);
	assert_int_equal(count, 3);
	for (uint64_t i = 0; i < count; i++)
		assert_int_equal(e[i].gpa.v, DATA + (i ^ 1) * 4096);
	assert_int_equal(ask(w, NO, IOVA, 100, e, &count), NST_ATS_SUCCESS);
	assert_int_equal(count, 8); /* as many as there is room for */
	assert_true(!e[3].read && e[4].read);
	assert_int_equal(ask(w, NO, (IOVA | 0x1fffff) & ~0xfffULL, 4, e, &count), NST_ATS_SUCCESS);
	assert_int_equal(count, 1); /* then pages of another size begin */
	assert_int_equal(ask(w, NO, UINT64_MAX, 4, e, &count), NST_ATS_SUCCESS);
	assert_int_equal(count, 1);
	destroy(w);
}

static void who_may_not_ask(void **state)
{
	struct world *w = create(ALL);
	struct nst_translation out;
	uint64_t root, ss, low, high, *ctx;

	refused(w, NO, NST_ATS_UNSUPPORTED_REQUEST, 0); /* translation is off */
	assert_int_equal(translated(w, DATA, &out), -EFAULT);
	enable(w, 1);
	refused(w, NO, NST_ATS_UNSUPPORTED_REQUEST, 0x39);
	root = first_stage(w);
	refused(w, NO, NST_ATS_UNSUPPORTED_REQUEST, 0x44); /* DTE is clear */
	assert_int_equal(translated(w, DATA, &out), -EFAULT);
	take_fault(w, &low, &high);
	assert_int_equal(high >> 32 & 0xff, 0x44);
	assert_int_equal(high >> 60 & 3, 2); /* AT: translated */
	goes_to(w, NO, IOVA, true);
	refused(w, NO, NST_ATS_UNSUPPORTED_REQUEST, 0x44); /* nor from the cache */
	at(w, CONTEXT + RID * 32)[0] |= DTE;
	invalidate(w, 1 | 1 << 4, 0);
	assert_true(ask_one(w, NO, IOVA).read);
	assert_int_equal(translated(w, DATA + 8, &out), 0);
	assert_int_equal(out.gpa.v, DATA + 8);
	assert_true(out.write && out.size);
	assert_int_equal(translated(w, 0xfee00000, &out), -EFAULT);
	assert_int_equal(ask_one(w, NO, IOVA).gpa.v, DATA);
	refused(w, 3, NST_ATS_UNSUPPORTED_REQUEST, 0x59);
	at(w, CONTEXT + RID * 32)[0] |= 1 << 5; /* reserved */
	invalidate(w, 1 | 1 << 4, 0);
	refused(w, NO, NST_ATS_COMPLETER_ABORT, 0x42);
	at(w, CONTEXT + RID * 32)[0] &= ~(1ULL << 5);
	*fs_pte(w, root, IOVA) |= 1ULL << 50;
	invalidate(w, 2 | 1 << 4, 0);
	refused(w, NO, NST_ATS_COMPLETER_ABORT, 0x72);
	pasid_entry(w, 0)[0] = 0;
	invalidate(w, 7 | 3 << 4, 0);
	assert_int_equal(translated(w, DATA, &out), 0); /* the context entry alone decides */
	/* legacy mode: TT */
	ctx = at(w, CONTEXT + RID * 16);
	memset(at(w, CONTEXT), 0, 4096);
	ss = page(w);
	*ss_pte(w, ss, IOVA) = DATA | 3;
	ctx[0] = ss | 1;
	ctx[1] = 2 | 7 << 8;
	srtp(w, ROOT);
	refused(w, NO, NST_ATS_UNSUPPORTED_REQUEST, 0x0d);
	ctx[0] = 1 | 2 << 2;
	refused(w, NO, NST_ATS_UNSUPPORTED_REQUEST, 0x0d);
	ctx[0] = ss | 1 | 1 << 2;
	assert_int_equal(ask_one(w, NO, IOVA).gpa.v, DATA);
	assert_false(ask_one(w, NO, IOVA + 0x1000).read);
	destroy(w);
}

/* --- invalidations --------------------------------------------------------------------------- */

struct tlb {
	struct world *w;
	struct nst_notifier *notifier;
	unsigned int calls;
	struct nst_device_tlb_invalidation last;
	uint32_t status;
	int answer;
};

static int take(void *opaque, const struct nst_device_tlb_invalidation *invalidation)
{
	struct tlb *t = opaque;

	t->calls++;
	t->last = *invalidation;
	t->status = (uint32_t)*at(t->w, STATUS);
	return t->answer;
}

static void listen_to(struct world *w, struct tlb *t, nst_rid rid, uint32_t pasid)
{
	const struct nst_notifier_config config = {
		.rid = rid, .pasid = pasid, .last = { UINT64_MAX }, .device_tlb = take, .opaque = t,
	};

	*t = (struct tlb){ .w = w };
	assert_int_equal(nst_viommu_notify(w->viommu, &config, &t->notifier), 0);
}

static void expect(struct tlb *t, uint32_t pasid, uint64_t first, uint64_t last, bool global)
{
	assert_int_equal(t->calls, 1);
	assert_int_equal(t->last.pasid, pasid);
	assert_int_equal(t->last.first.v, first);
	assert_int_equal(t->last.last.v, last);
	assert_int_equal(t->last.global, global);
	assert_int_not_equal(t->status, t->w->waits);
	t->calls = 0;
}

#define DEVICE_TLB(rid) (3 | (uint64_t)(rid) << 32)
#define PASID_DEVICE_TLB(rid, pasid) (8 | (uint64_t)(rid) << 16 | (uint64_t)(pasid) << 32)

static void device_tlb_invalidations(void **state)
{
	struct world *w = create(ALL);
	struct tlb all, plain, five;

	enable(w, 1);
	listen_to(w, &all, RID, NST_EVERY_PASID);
	listen_to(w, &plain, RID, NO);
	listen_to(w, &five, RID, 5);
	invalidate(w, DEVICE_TLB(RID), IOVA);
	expect(&all, NO, IOVA, IOVA + 0xfff, false);
	expect(&plain, NO, IOVA, IOVA + 0xfff, false);
	invalidate(w, DEVICE_TLB(RID + 8), IOVA); /* another device's */
	invalidate(w, PASID_DEVICE_TLB(RID, 5), 0x40000000 | 1 << 11);
	assert_int_equal(plain.calls, 0);
	expect(&five, 5, 0x40000000, 0x40001fff, false);
	expect(&all, 5, 0x40000000, 0x40001fff, false);
	invalidate(w, PASID_DEVICE_TLB(RID, 6), 0x40007000 | 1 << 11 | 1);
	expect(&five, 6, 0x40000000, 0x4000ffff, true);
	expect(&plain, 6, 0x40000000, 0x4000ffff, true);
	expect(&all, 6, 0x40000000, 0x4000ffff, true);
	invalidate(w, DEVICE_TLB(RID), 0x7ffffffffffff000 | 1);
	expect(&all, NO, 0, UINT64_MAX, false);
	expect(&plain, NO, 0, UINT64_MAX, false);
	invalidate(w, DEVICE_TLB(RID), 0xfffffffffffff000 | 1);
	expect(&all, NO, 0, UINT64_MAX, false);
	assert_int_equal(five.calls, 0);
	nst_notifier_remove(all.notifier);
	nst_notifier_remove(plain.notifier);
	nst_notifier_remove(five.notifier);
	destroy(w);
}

/* s6.5.2.10: the wait behind it never completes, and the queue stops behind that. */
static void no_answer_is_a_time_out(void **state)
{
	struct world *w = create(ALL);
	struct tlb t;
	void *saved;
	size_t size;

	enable(w, 1);
	listen_to(w, &t, RID, NO);
	t.answer = -ETIMEDOUT;
	post(w, DEVICE_TLB(RID), IOVA);
	post(w, 2 | 1 << 4, 0);
	post(w, 5 | 1 << 5 | 1ULL << 32, STATUS);
	post(w, 5 | 1 << 5 | 2ULL << 32, STATUS);
	set(w, 0x88, 8, w->tail);
	assert_int_equal(*at(w, STATUS), 0);
	assert_int_equal(reg(w, 0x34, 4), 1 << 6);
	assert_int_equal(reg(w, 0xb0, 8), (uint64_t)RID << 32);
	assert_int_equal(reg(w, 0x80, 8), 3 * 32);
	assert_int_equal(w->msis, 0); /* masked */
	assert_int_equal(reg(w, 0x38, 4) >> 30, 3);
	t.answer = 0;
	set(w, 0x34, 4, 1 << 6); /* cleared: the rest */
	assert_int_equal((uint32_t)*at(w, STATUS), 2);
	assert_int_equal(reg(w, 0x34, 4), 0);
	w->waits = 2;
	/* without a wait it is there at the end, in a saved state too */
	t.answer = 1;
	post(w, DEVICE_TLB(RID), IOVA);
	set(w, 0x88, 8, w->tail);
	assert_int_equal(reg(w, 0x34, 4), 1 << 6);
	assert_int_equal(nst_viommu_save(w->viommu, &saved, &size), 0);
	assert_int_equal(nst_viommu_restore(w->viommu, saved, size), 0);
	assert_int_equal(reg(w, 0x34, 4), 1 << 6);
	free(saved);
	set(w, 0x34, 4, 1 << 6);
	t.answer = 0;
	invalidate(w, DEVICE_TLB(RID), IOVA);
	nst_notifier_remove(t.notifier);
	destroy(w);
}

/* Saved between the invalidation and the wait, as when a run's work was spent there. */
static void a_time_out_in_a_saved_state(void **state)
{
	struct world *w = create(ALL);
	uint8_t *saved;
	size_t size;

	enable(w, 1);
	assert_int_equal(nst_viommu_save(w->viommu, (void **)&saved, &size), 0);
	assert_int_equal(le_load(saved + 32 + 36, 4), 0);
	le_store(saved + 32 + 36, 4, 1 << 8);
	le_store(saved + 24, 8, fnv1a(fnv1a(FNV1A_START, saved, 24), saved + 32, size - 32));
	assert_int_equal(nst_viommu_restore(w->viommu, saved, size), 0);
	free(saved);
	assert_int_equal(nst_viommu_save(w->viommu, (void **)&saved, &size), 0);
	assert_int_equal(le_load(saved + 32 + 36, 4), 1 << 8);
	free(saved);
	post(w, 5 | 1 << 5 | 1ULL << 32, STATUS);
	set(w, 0x88, 8, w->tail);
	assert_int_equal(*at(w, STATUS), 0);
	assert_int_equal(reg(w, 0x34, 4), 1 << 6);
	assert_int_equal(reg(w, 0x80, 8), 32);
	destroy(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_and_rights),
		cmocka_unit_test(several_entries),
		cmocka_unit_test(who_may_not_ask),
		cmocka_unit_test(device_tlb_invalidations),
		cmocka_unit_test(no_answer_is_a_time_out),
		cmocka_unit_test(a_time_out_in_a_saved_state),
	};

	return cmocka_run_group_tests_name("vtd ats", tests, NULL, NULL);
}
