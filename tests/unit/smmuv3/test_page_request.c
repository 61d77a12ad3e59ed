// SPDX-License-Identifier: BSD-3-Clause
/*
 * Page requests of emulated devices: what the guest finds in its PRI queue, word by word as
 * SMMUv3 IHI0070G.b s8 has it, and what of its answers reaches a device.
 */
#include "rig.h"

#include "base/alloc.h"

#include <string.h>

#define RID 0x25
#define GPA_PRIQ 0x4000ULL
#define PRIQ_BASE 0xc0
#define PRIQ_CFG0 0xd0
#define PRIQ_CFG1 0xd8
#define PRIQ_CFG2 0xdc
#define PRIQ_PROD 0x100c8
#define PRIQ_CONS 0x100cc
#define OVERFLOW 0x80000000u
#define IOVA 0x12345678000ULL
#define NO NST_NO_PASID
enum { PRIQ_LG2 = 3, CR0_PRIQEN = 2 };

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

static void listen_as(struct rig *rig, struct asker *a, nst_rid rid)
{
	const struct nst_notifier_config config = {
		.rid = rid,
		.pasid = NST_EVERY_PASID,
		.last = { UINT64_MAX },
		.page_response = take,
		.opaque = a,
	};

	*a = (struct asker){ 0 };
	ok(nst_viommu_notify(rig->viommu, &config, &a->notifier));
}

/* A queue of 8 requests, its interrupt by MSI 77. */
static struct rig *begin(struct asker *a)
{
	struct rig *rig = rig_create(&(struct rig_options){
		.features = NST_SMMUV3_ATS | NST_SMMUV3_PRI, .ssid_bits = 20 });

	guest_setup(rig);
	reg64_set(rig, PRIQ_BASE, GPA_PRIQ | PRIQ_LG2);
	reg64_set(rig, PRIQ_CFG0, 0x8080000);
	reg32_set(rig, PRIQ_CFG1, 77);
	reg32_set(rig, REG_IRQ_CTRL, 7);
	cr0_set(rig, CR0_ALL | CR0_PRIQEN);
	listen_as(rig, a, RID);
	return rig;
}

static void end(struct rig *rig, struct asker *a)
{
	nst_notifier_remove(a->notifier);
	rig_destroy(rig);
}

static enum nst_page_answer ask(struct asker *a, uint32_t pasid, unsigned int group, size_t count)
{
	struct nst_page pages[8] = {
		{ .iova = { IOVA }, .read = true },
		{ .iova = { IOVA + 0x1fff }, .write = true, .execute = true, .privileged = true },
	};
	enum nst_page_answer answer;

	ok(nst_notifier_page_request(a->notifier, pasid, group, pages, count, &answer));
	return answer;
}

#define RESP(sid) (0x41ULL | (uint64_t)(sid) << 32)
#define RESP_SSID(sid, ssid) (RESP(sid) | 1 << 11 | (uint64_t)(ssid) << 12)
#define CODE(index, code) ((uint64_t)(index) | (uint64_t)(code) << 12)

/* qemu.md 4.2 (6): there are no page requests. */
static void qemu_6_page_requests_are_served(void **state)
{
	struct asker a, other;
	struct rig *rig = begin(&a);
	uint64_t *queue = mem64(rig, GPA_PRIQ);

	assert_int_equal(ask(&a, 5, 300, 2), NST_PAGE_PENDING);
	assert_int_equal(reg32(rig, PRIQ_PROD), 2);
	assert_int_equal(rig->num_msis, 1);
	assert_int_equal(rig->msis[0].address, 0x8080000);
	assert_int_equal(rig->msis[0].data, 77);
	assert_int_equal(rig->pulses[NST_SMMUV3_IRQ_PRIQ], 1);
	assert_int_equal(queue[0], RID | 5ULL << 32 | 1ULL << 63 | 1ULL << 60);
	assert_int_equal(queue[1], IOVA | 300);
	assert_int_equal(queue[2], RID | 5ULL << 32 | 0xecULL << 56); /* SSV LAST WRITE EXEC PRIV */
	assert_int_equal(queue[3], (IOVA + 0x1000) | 300);
	assert_int_equal(ask(&a, NO, 300, 2), NST_PAGE_PENDING);
	assert_int_equal(queue[4], RID | 1ULL << 60);
	assert_int_equal(queue[6], RID | 1ULL << 62 | 1ULL << 61); /* no EXEC, PRIV without SSV */
	assert_int_equal(rig->num_msis, 1); /* it was not empty */
	/* answers to nobody */
	listen_as(rig, &other, RID + 1);
	cmdq_run(rig, RESP_SSID(RID, 5), CODE(301, 2));
	cmdq_run(rig, RESP_SSID(RID, 6), CODE(300, 2));
	cmdq_run(rig, RESP(RID + 1), CODE(300, 2));
	cmdq_run(rig, RESP(RID | 0x10000), CODE(300, 2));
	assert_int_equal(a.answers + other.answers, 0);
	assert_int_equal(rig_stats(rig).unknown_page_responses, 4);
	cmdq_run(rig, RESP(RID), CODE(300, 1));
	assert_int_equal(a.answers, 1);
	assert_int_equal(a.pasid, NO);
	assert_int_equal(a.answer, NST_PAGE_INVALID);
	cmdq_run(rig, RESP_SSID(RID, 5), CODE(300, 2));
	assert_int_equal(a.answers, 2);
	assert_int_equal(a.pasid, 5);
	assert_int_equal(a.group, 300);
	assert_int_equal(a.answer, NST_PAGE_SUCCESS);
	cmdq_run(rig, RESP_SSID(RID, 5), CODE(300, 2)); /* once */
	assert_int_equal(a.answers, 2);
	assert_int_equal(ask(&a, 5, 1, 1), NST_PAGE_PENDING);
	cmdq_run(rig, RESP_SSID(RID, 5), CODE(1, 0));
	assert_int_equal(a.answer, NST_PAGE_FAILURE);
	assert_int_equal(rig_stats(rig).page_requests, 3);
	assert_int_equal(rig_stats(rig).page_responses, 3);
	nst_notifier_remove(other.notifier);
	end(rig, &a);
}

static void names_are_taken_once(void **state)
{
	struct asker a, b;
	struct rig *rig = begin(&a);
	const struct nst_page page = { .iova = { IOVA }, .read = true };
	enum nst_page_answer answer = NST_PAGE_INVALID;

	listen_as(rig, &b, RID);
	assert_int_equal(ask(&a, 5, 1, 1), NST_PAGE_PENDING);
	err(EEXIST, nst_notifier_page_request(a.notifier, 5, 1, &page, 1, &answer));
	err(EEXIST, nst_notifier_page_request(b.notifier, 5, 1, &page, 1, &answer));
	assert_int_equal(answer, NST_PAGE_INVALID);
	assert_int_equal(ask(&b, 6, 1, 1), NST_PAGE_PENDING);
	cmdq_run(rig, RESP_SSID(RID, 6), CODE(1, 2));
	assert_int_equal(a.answers, 0);
	assert_int_equal(b.answers, 1);
	nst_viommu_reset(rig->viommu);
	assert_int_equal(a.answers, 1);
	assert_int_equal(a.answer, NST_PAGE_FAILURE);
	nst_notifier_remove(b.notifier);
	end(rig, &a);
}

/* s8.1: what comes to a full queue is answered at once, and so is all till software has seen it. */
static void a_full_queue_has_overflown(void **state)
{
	struct asker a;
	struct rig *rig = begin(&a);

	for (unsigned int i = 0; i < 7; i++)
		assert_int_equal(ask(&a, NO, i, 1), NST_PAGE_PENDING);
	assert_int_equal(ask(&a, NO, 7, 2), NST_PAGE_SUCCESS); /* a group is not cut */
	assert_int_equal(reg32(rig, PRIQ_PROD), OVERFLOW | 7);
	assert_int_equal(ask(&a, NO, 7, 1), NST_PAGE_SUCCESS); /* though there is room for one */
	reg32_set(rig, PRIQ_CONS, 7);
	assert_int_equal(ask(&a, NO, 7, 1), NST_PAGE_SUCCESS);
	assert_int_equal(reg32(rig, PRIQ_PROD), OVERFLOW | 7);
	reg32_set(rig, PRIQ_CONS, OVERFLOW | 7);
	assert_int_equal(ask(&a, NO, 7, 8), NST_PAGE_PENDING); /* all of it, round the end */
	assert_int_equal(reg32(rig, PRIQ_PROD), OVERFLOW | 15);
	assert_int_equal(ask(&a, NO, 8, 1), NST_PAGE_SUCCESS);
	assert_int_equal(reg32(rig, PRIQ_PROD), 15);
	reg32_set(rig, PRIQ_CONS, 15);
	assert_int_equal(ask(&a, NO, 9, 1), NST_PAGE_PENDING);
	assert_int_equal(reg32(rig, PRIQ_PROD), 0); /* the wrap bit, too */
	cmdq_run(rig, RESP(RID), CODE(8, 2)); /* nobody waits for it */
	assert_int_equal(a.answers, 0);
	end(rig, &a);
}

/* PRIQ_IRQ_CFG2.LO: of every group, even one without room. */
static void the_interrupt_of_each_group(void **state)
{
	struct asker a;
	struct rig *rig = begin(&a);

	reg32_set(rig, REG_IRQ_CTRL, 0);
	reg32_set(rig, PRIQ_CFG2, 0x80000000);
	assert_int_equal(ask(&a, NO, 0, 1), NST_PAGE_PENDING);
	assert_int_equal(rig->num_msis, 0);
	reg32_set(rig, REG_IRQ_CTRL, 2);
	assert_int_equal(ask(&a, NO, 1, 5), NST_PAGE_PENDING);
	assert_int_equal(rig->num_msis, 1);
	assert_int_equal(ask(&a, NO, 2, 5), NST_PAGE_SUCCESS);
	assert_int_equal(rig->num_msis, 2);
	end(rig, &a);
}

static void what_is_off_answers_failure(void **state)
{
	struct asker a;
	struct rig *rig = begin(&a);

	cr0_set(rig, CR0_ALL);
	assert_int_equal(ask(&a, NO, 1, 1), NST_PAGE_FAILURE);
	cr0_set(rig, CR0_PRIQEN | CR0_CMDQEN);
	assert_int_equal(ask(&a, NO, 1, 1), NST_PAGE_FAILURE);
	assert_int_equal(reg32(rig, PRIQ_PROD), 0);
	/* a queue that is no memory: an error till it is seen */
	cr0_set(rig, CR0_ALL);
	reg64_set(rig, PRIQ_BASE, GPA_NOTHING | PRIQ_LG2);
	cr0_set(rig, CR0_ALL | CR0_PRIQEN);
	assert_int_equal(ask(&a, NO, 1, 1), NST_PAGE_FAILURE);
	assert_int_equal(reg32(rig, REG_GERROR) ^ reg32(rig, REG_GERRORN), 8);
	cr0_set(rig, CR0_ALL);
	reg64_set(rig, PRIQ_BASE, GPA_PRIQ | PRIQ_LG2);
	cr0_set(rig, CR0_ALL | CR0_PRIQEN);
	assert_int_equal(ask(&a, NO, 1, 1), NST_PAGE_FAILURE);
	cmdq_ack(rig);
	assert_int_equal(ask(&a, NO, 1, 1), NST_PAGE_PENDING);
	end(rig, &a);
	/* not offered */
	rig = rig_create(&(struct rig_options){ .features = NST_SMMUV3_ATS });
	guest_enable(rig);
	listen_as(rig, &a, RID);
	assert_int_equal(ask(&a, NO, 1, 1), NST_PAGE_FAILURE);
	end(rig, &a);
}

/* A queue larger than is offered, indices that make no sense: bounded, and nothing else is hit. */
static void hostile_registers(void **state)
{
	struct asker a;
	struct rig *rig = begin(&a);
	uint64_t seed = 5;

	for (int i = 0; i < 2000; i++) {
		cr0_set(rig, CR0_ALL);
		reg64_set(rig, PRIQ_BASE, GPA_PRIQ | (test_random(&seed) & 31));
		reg32_set(rig, PRIQ_PROD, (uint32_t)test_random(&seed));
		cr0_set(rig, CR0_ALL | CR0_PRIQEN);
		reg32_set(rig, PRIQ_CONS, (uint32_t)test_random(&seed));
		if (ask(&a, NO, 1, 1 + test_random(&seed) % 8) == NST_PAGE_PENDING)
			cmdq_run(rig, RESP(RID), CODE(1, 2));
		cmdq_ack(rig);
	}
	end(rig, &a);
}

static void without_memory(void **state)
{
	struct asker a;
	struct rig *rig = begin(&a);
	const struct nst_page page = { .iova = { IOVA }, .read = true };
	enum nst_page_answer answer;
	unsigned int failures = 0;

	for (unsigned int n = 1;; n++) {
		int ret;

		alloc_fail_nth(n);
		ret = nst_notifier_page_request(a.notifier, NO, 1, &page, 1, &answer);
		alloc_fail_nth(0);
		if (!ret)
			break;
		assert_int_equal(ret, -ENOMEM);
		assert_int_equal(reg32(rig, PRIQ_PROD), 0);
		failures++;
	}
	assert_int_equal(failures, 2);
	assert_int_equal(answer, NST_PAGE_PENDING);
	end(rig, &a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(qemu_6_page_requests_are_served),
		cmocka_unit_test(names_are_taken_once),
		cmocka_unit_test(a_full_queue_has_overflown),
		cmocka_unit_test(the_interrupt_of_each_group),
		cmocka_unit_test(what_is_off_answers_failure),
		cmocka_unit_test(hostile_registers),
		cmocka_unit_test(without_memory),
	};

	return cmocka_run_group_tests_name("smmuv3 page requests", tests, NULL, NULL);
}
