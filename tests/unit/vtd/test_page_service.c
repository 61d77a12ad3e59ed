// SPDX-License-Identifier: BSD-3-Clause
/*
 * nst_notifier_page_request(): what the guest finds in its queue, and what of its answers
 * reaches the emulated device.
 */
#include "translate_world.h"

#include "base/alloc.h"

#define PAGE_QUEUE 0x10000ULL
#define PRE (1ULL << 4)

struct asker {
	struct nst_notifier *notifier;
	unsigned int answers;
	uint32_t pasid;
	unsigned int group;
	enum nst_page_answer answer;
};

static void take(void *opaque, uint32_t pasid, unsigned int group, enum nst_page_answer answer)
{
	struct asker *a = opaque;

	a->answers++;
	a->pasid = pasid;
	a->group = group;
	a->answer = answer;
}

static struct nst_notifier_config config_of(struct asker *a, uint32_t pasid)
{
	*a = (struct asker){ 0 };
	return (struct nst_notifier_config){
		.rid = RID, .pasid = pasid, .last = { UINT64_MAX }, .page_response = take, .opaque = a,
	};
}

/* A unit whose guest lets the device ask, with PASID 5 and without. */
static struct world *begin(struct asker *a)
{
	struct world *w = create(0);
	struct nst_notifier_config config = config_of(a, NST_EVERY_PASID);

	first_stage(w);
	set_entry(w, 5, 1, 1, page(w), 0);
	at(w, CONTEXT + RID * 32)[0] |= PRE;
	set(w, 0xd0, 8, PAGE_QUEUE);
	enable(w, 1);
	assert_int_equal(nst_viommu_notify(w->viommu, &config, &a->notifier), 0);
	return w;
}

static enum nst_page_answer ask(struct asker *a, uint32_t pasid, unsigned int group)
{
	const struct nst_page pages[] = {
		{ .iova = { IOVA }, .read = true },
		{ .iova = { IOVA + 0x1000 }, .write = true, .execute = true, .privileged = true },
	};
	enum nst_page_answer answer;

	assert_int_equal(nst_notifier_page_request(a->notifier, pasid, group, pages, 2, &answer), 0);
	return answer;
}

/* s7.7.1 Page Group Response */
static void respond(struct world *w, uint32_t pasid, unsigned int group, unsigned int code)
{
	uint64_t qw0 = 9 | (uint64_t)code << 12 | (uint64_t)RID << 16;

	if (pasid != NO)
		qw0 |= 1 << 4 | (uint64_t)pasid << 32;
	invalidate(w, qw0, (uint64_t)group << 3);
}

static void requests_and_answers(void **state)
{
	struct asker a;
	struct world *w = begin(&a);
	struct nst_viommu_stats stats;

	assert_int_equal(ask(&a, 5, 300), NST_PAGE_PENDING);
	assert_int_equal(reg(w, 0xc8, 8), 64); /* PQT */
	assert_int_equal(reg(w, 0xdc, 4), 1);  /* PPR */
	assert_int_equal(at(w, PAGE_QUEUE)[0], 1 | 1 << 8 | RID << 16 | 5ULL << 32);
	assert_int_equal(at(w, PAGE_QUEUE)[1], IOVA | 300 << 3 | 1);
	assert_int_equal(at(w, PAGE_QUEUE)[4], 1 | 1 << 8 | RID << 16 | 5ULL << 32 | 3ULL << 52);
	assert_int_equal(at(w, PAGE_QUEUE)[5], (IOVA + 0x1000) | 300 << 3 | 4 | 2); /* LPIG */
	assert_int_equal(ask(&a, NO, 300), NST_PAGE_PENDING);
	assert_int_equal(at(w, PAGE_QUEUE)[8], 1 | RID << 16);
	respond(w, 5, 301, 0); /* to nobody */
	respond(w, 6, 300, 0);
	assert_int_equal(a.answers, 0);
	respond(w, NO, 300, 1);
	assert_int_equal(a.answers, 1);
	assert_int_equal(a.pasid, NO);
	assert_int_equal(a.answer, NST_PAGE_INVALID);
	respond(w, 5, 300, 0);
	assert_int_equal(a.answers, 2);
	assert_int_equal(a.pasid, 5);
	assert_int_equal(a.group, 300);
	assert_int_equal(a.answer, NST_PAGE_SUCCESS);
	respond(w, 5, 300, 0); /* once */
	assert_int_equal(a.answers, 2);
	assert_int_equal(ask(&a, 5, 1), NST_PAGE_PENDING);
	respond(w, 5, 1, 15);
	assert_int_equal(a.answer, NST_PAGE_FAILURE);
	assert_int_equal(ask(&a, 5, 2), NST_PAGE_PENDING);
	nst_viommu_reset(w->viommu);
	assert_int_equal(a.answers, 4);
	assert_int_equal(a.group, 2);
	assert_int_equal(a.answer, NST_PAGE_FAILURE);
	nst_viommu_get_stats(w->viommu, &stats);
	assert_int_equal(stats.page_requests, 4);
	assert_int_equal(stats.page_responses, 3);
	assert_int_equal(stats.unknown_page_responses, 3);
	nst_notifier_remove(a.notifier);
	destroy(w);
}

static void who_may_not_ask(void **state)
{
	struct asker a;
	struct world *w = begin(&a);

	at(w, CONTEXT + RID * 32)[0] &= ~PRE;
	assert_int_equal(ask(&a, 5, 0), NST_PAGE_INVALID);
	at(w, CONTEXT + RID * 32)[0] |= PRE;
	assert_int_equal(ask(&a, 7, 0), NST_PAGE_INVALID); /* no entry */
	srtp(w, ROOT);
	assert_int_equal(ask(&a, NO, 0), NST_PAGE_INVALID); /* legacy mode */
	srtp(w, ROOT | 1 << 10);
	set(w, 0x18, 4, 1u << 26);
	assert_int_equal(ask(&a, NO, 0), NST_PAGE_INVALID); /* translation is off */
	set(w, 0x18, 4, 1u << 26 | 1u << 31);
	set(w, 0xd0, 8, BEYOND);
	assert_int_equal(ask(&a, NO, 0), NST_PAGE_INVALID);
	set(w, 0xd0, 8, PAGE_QUEUE);
	for (unsigned int i = 0; i < 63; i++)
		assert_int_equal(ask(&a, NO, i), NST_PAGE_PENDING);
	assert_int_equal(ask(&a, NO, 63), NST_PAGE_SUCCESS); /* full */
	assert_int_equal(reg(w, 0xdc, 4), 3);		      /* PRO */
	assert_int_equal(a.answers, 0);
	nst_notifier_remove(a.notifier); /* with all that it waits for */
	respond(w, NO, 0, 0);
	destroy(w);
}

static void errors(void **state)
{
	static const struct nst_page page_of = { .read = true };
	struct asker a, plain;
	struct world *w = begin(&a);
	struct nst_notifier_config config = config_of(&plain, NO);
	enum nst_page_answer answer = 77;
	unsigned int n = 0;
	int ret;

	assert_int_equal(nst_viommu_notify(w->viommu, &config, &plain.notifier), 0);
#define REQUEST(a, pasid, group, count) \
	nst_notifier_page_request((a)->notifier, pasid, group, &page_of, count, &answer)
	assert_int_equal(REQUEST(&a, NO, 0, 0), -EINVAL);
	assert_int_equal(REQUEST(&a, NO, 0, 513), -EINVAL);
	assert_int_equal(REQUEST(&a, NO, 512, 1), -EINVAL);
	assert_int_equal(REQUEST(&a, 1 << 20, 0, 1), -EINVAL);
	assert_int_equal(REQUEST(&plain, 5, 0, 1), -EINVAL);
	do {
		alloc_fail_nth(++n);
		ret = REQUEST(&a, NO, 0, 1);
		alloc_fail_nth(0);
		assert_true(!ret || (ret == -ENOMEM && answer == 77));
	} while (ret);
	assert_int_equal(n, 3);
	assert_int_equal(answer, NST_PAGE_PENDING);
	assert_int_equal(REQUEST(&a, NO, 0, 1), -EEXIST);
	assert_int_equal(REQUEST(&plain, NO, 0, 1), -EEXIST);
	respond(w, NO, 0, 0);
	assert_int_equal(a.answers, 1);
	assert_int_equal(REQUEST(&plain, NO, 0, 1), 0);
	respond(w, NO, 0, 0);
	assert_int_equal(plain.answers, 1);
	nst_notifier_remove(plain.notifier);
	config.page_response = NULL;
	assert_int_equal(nst_viommu_notify(w->viommu, &config, &plain.notifier), 0);
	assert_int_equal(REQUEST(&plain, NO, 0, 1), -EINVAL);
	nst_notifier_remove(plain.notifier);
	nst_notifier_remove(a.notifier);
	destroy(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_and_answers),
		cmocka_unit_test(who_may_not_ask),
		cmocka_unit_test(errors),
	};

	return cmocka_run_group_tests_name("vtd page service", tests, NULL, NULL);
}
