// SPDX-License-Identifier: BSD-3-Clause
/* dmatest with ATS and page requests: the device TLB under a checking IOMMU, groups, answers of
 * every kind and none, resets and switches at the worst moment. */
#include "dmarig.h"

enum { NOP, FENCE, READ, WRITE, VERIFY, COPY, COMPARE };
enum {
	OK,
	BAD,
	MISMATCH,
	REFUSED,
	T_REFUSED,
	NO_PERMISSION,
	INVALID,
	FAILURE,
	RETRIES,
	DISABLED,
	CANCELLED,
	BUSY = 255
};
enum { PRIV = 0x200, ATS = 0x400, PRI = 0x800, IRQ = 0x1000 };

#define HEAP (RIG_BASE + (4ULL << 20))
#define VA 0x7f0000000000ULL /* where PASID 9 has its pages */

static void open_confined(struct dmarig *m, const char *options)
{
	dm_open(m, options, false);
	m->confined = true;
	dm_map(m, NST_NO_PASID, RIG_BASE, RIG_BASE, RIG_SIZE / 2, DM_RW); /* rings */
}

static struct dmatest_desc op9(uint32_t opcode, uint64_t offset, uint32_t length)
{
	return dm_with_pasid(dm_desc(opcode | ATS | PRI, VA + offset, 0, length), 9);
}

static unsigned int outstanding(struct dmarig *m)
{
	return rig_read(&m->r, 0x14) >> 16;
}

static void a_translation_is_kept_until_it_is_invalidated(void **state)
{
	struct dmatest_cpl cpl;
	struct dmarig m;

	open_confined(&m, "");
	memset(rig_at(&m.r, HEAP, 4096), 1, 4096);
	memset(rig_at(&m.r, HEAP + 4096, 4096), 2, 4096);
	dm_map(&m, 9, VA, HEAP, 4096, DM_RW);
	for (uint64_t i = 0; i < 3; i++) {
		assert_int_equal(dm_go(&m, op9(READ, 16, 64), &cpl), OK);
		assert_true(le64_get(cpl.checksum) == dm_checksum(rig_at(&m.r, HEAP, 64), 64));
		assert_int_equal(dm_stat(&m, DMATEST_STAT_ATS_HITS), i);
	}
	assert_int_equal(m.translated, 3);
	assert_int_equal(m.untranslated, 0);
	dm_unmap(&m, 9, VA);
	dm_map(&m, 9, VA, HEAP + 4096, 4096, DM_RW);
	assert_int_equal(dm_go(&m, op9(READ, 16, 64), &cpl), OK);
	assert_true(le64_get(cpl.checksum) == dm_checksum(rig_at(&m.r, HEAP + 4096, 64), 64));
	assert_int_equal(dm_stat(&m, DMATEST_STAT_ATS_MISSES), 2);
	assert_int_equal(dm_stat(&m, DMATEST_STAT_INVALIDATIONS), 1);
	/* Whom nobody tells uses what it has: the check of this bench sees it. */
	assert_int_equal(atomic_load(&m.r.violations), 0);
	dm_map(&m, 9, VA, HEAP, 4096, DM_RW);
	assert_int_equal(dm_go(&m, op9(READ, 16, 64), &cpl), OK);
	assert_int_equal(atomic_exchange(&m.r.violations, 0), 1);
	dm_close(&m);
}

static void an_invalidation_hits_its_range_and_pasid_only(void **state)
{
	static const struct {
		uint32_t pasid;
		uint64_t first, last;
		bool hits;
	} cases[] = {
		{ 9, VA, VA + 4095, false },
		{ 9, VA + 0x2000, UINT64_MAX, false },
		{ 8, 0, UINT64_MAX, false },
		{ NST_NO_PASID, 0, UINT64_MAX, false },
		{ 9, VA + 0x1fff, VA + 0x1fff, true },
		{ 9, 0, VA + 0x1000, true },
		{ 9, 0, UINT64_MAX, true },
		{ ENDPOINT_EVERY_PASID, VA + 0x2000, UINT64_MAX, false },
		{ ENDPOINT_EVERY_PASID, VA + 0x1800, VA + 0x1800, true },
	};
	struct dmarig m;

	open_confined(&m, "");
	dm_map(&m, 9, VA + 0x1000, HEAP, 4096, DM_RW);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t misses;

		assert_int_equal(dm_go(&m, op9(READ, 0x1000, 8), NULL), OK);
		misses = dm_stat(&m, DMATEST_STAT_ATS_MISSES);
		m.r.ep->ops->ats_invalidate(m.r.ep, cases[i].pasid, (nst_iova){ cases[i].first },
					    (nst_iova){ cases[i].last });
		assert_int_equal(dm_go(&m, op9(READ, 0x1000, 8), NULL), OK);
		assert_int_equal(dm_stat(&m, DMATEST_STAT_ATS_MISSES) - misses, cases[i].hits);
	}
	dm_close(&m);
}

static void pasid_and_privilege_are_part_of_the_key(void **state)
{
	struct dmatest_desc desc = op9(READ, 0, 8);
	struct dmarig m;

	open_confined(&m, "");
	dm_map(&m, 9, VA, HEAP, 4096, DM_RW);
	dm_map(&m, 8, VA, HEAP + 4096, 4096, DM_RW);
	assert_int_equal(dm_go(&m, desc, NULL), OK);
	desc.control = le32_make(le32_get(desc.control) | PRIV);
	assert_int_equal(dm_go(&m, desc, NULL), OK);
	assert_true(m.last_privileged);
	assert_int_equal(dm_go(&m, dm_with_pasid(desc, 8), NULL), OK);
	assert_int_equal(dm_stat(&m, DMATEST_STAT_ATS_MISSES), 3);
	assert_int_equal(dm_stat(&m, DMATEST_STAT_ATS_HITS), 0);
	dm_close(&m);
}

static void large_pages_are_one_entry_and_small_ones_are_bounded(void **state)
{
	struct dmarig m;

	open_confined(&m, "");
	dm_map(&m, 9, VA, RIG_BASE, 2 << 20, DM_RW);
	assert_int_equal(dm_go(&m, op9(READ, 0x3210, 1 << 20), NULL), OK);
	assert_int_equal(dm_stat(&m, DMATEST_STAT_ATS_MISSES), 1);
	assert_int_equal(dm_stat(&m, DMATEST_STAT_ATS_HITS), 256);
	dm_unmap(&m, 9, VA);
	for (unsigned int i = 0; i < 100; i++)
		dm_map(&m, 9, VA + i * 4096, HEAP + i * 4096, 4096, DM_RW);
	rig_write(&m.r, 0x10, 1);
	assert_int_equal(dm_go(&m, op9(READ, 0, 64 * 4096), NULL), OK);
	assert_int_equal(dm_go(&m, op9(READ, 0, 64 * 4096), NULL), OK);
	assert_int_equal(dm_stat(&m, DMATEST_STAT_ATS_MISSES), 64);
	assert_int_equal(dm_go(&m, op9(READ, 0, 100 * 4096), NULL), OK);
	assert_int_equal(dm_go(&m, op9(READ, 0, 100 * 4096), NULL), OK);
	assert_true(dm_stat(&m, DMATEST_STAT_ATS_MISSES) > 64 + 100);
	/* The oldest make room: what is unmapped is forgotten wherever it is. */
	for (unsigned int i = 0; i < 100; i++)
		dm_unmap(&m, 9, VA + i * 4096);
	assert_int_equal(dm_go(&m, dm_with_pasid(dm_desc(READ | ATS, VA, 0, 8), 9), NULL),
			 NO_PERMISSION);
	dm_close(&m);
}

static void permissions_count_and_may_grow(void **state)
{
	struct dmatest_cpl cpl;
	struct dmarig m;

	open_confined(&m, "");
	dm_set_config(&m, m.r.ep->config.pri_cap + 4U, 2, 0);
	dm_map(&m, 9, VA, HEAP, 4096, DM_R);
	dm_map(&m, 9, VA + 4096, HEAP + 4096, 4096, DM_W);
	assert_int_equal(dm_go(&m, op9(READ, 0, 8), NULL), OK);
	assert_int_equal(dm_go(&m, op9(WRITE, 0, 8), &cpl), NO_PERMISSION);
	assert_true(le64_get(cpl.fault) == VA);
	assert_int_equal(dm_go(&m, op9(WRITE, 4096, 8), NULL), OK);
	assert_int_equal(dm_go(&m, op9(READ, 4000, 200), &cpl), NO_PERMISSION);
	assert_int_equal(le32_get(cpl.done), 96);
	dm_map(&m, 9, VA, HEAP, 4096, DM_RW);
	assert_int_equal(dm_go(&m, op9(WRITE, 0, 8), NULL), OK);
	/* That there is nothing is not remembered. */
	assert_int_equal(dm_go(&m, op9(WRITE, 8192, 8), NULL), NO_PERMISSION);
	dm_map(&m, 9, VA + 8192, HEAP, 4096, DM_RW);
	assert_int_equal(dm_go(&m, op9(WRITE, 8192, 8), NULL), OK);
	assert_int_equal(dm_logged(&m), 0);
	dm_close(&m);
}

static void refusals_have_their_codes(void **state)
{
	struct dmarig m;

	open_confined(&m, "");
	dm_map(&m, 9, VA, HEAP, 4096, DM_RW);
	m.refuse_translation = true;
	assert_int_equal(dm_go(&m, op9(READ, 0, 8), NULL), T_REFUSED);
	m.refuse_translation = false;
	m.refuse_translated = true;
	assert_int_equal(dm_go(&m, op9(READ, 0, 8), NULL), REFUSED);
	assert_int_equal(dm_stat(&m, DMATEST_STAT_FAULTS), 2);
	assert_int_equal(dm_logged(&m), 0);
	dm_close(&m);
}

static void switching_ats_off_empties_and_silences(void **state)
{
	struct dmarig m;
	unsigned int ctrl;

	open_confined(&m, "");
	ctrl = m.r.ep->config.ats_cap + 6U;
	dm_map(&m, 9, VA, HEAP, 4096, DM_RW);
	assert_int_equal(dm_go(&m, op9(READ, 0, 8), NULL), OK);
	dm_set_config(&m, ctrl, 2, 0);
	assert_int_equal(dm_go(&m, op9(READ, 0, 8), NULL), DISABLED);
	assert_int_equal(m.translated, 1);
	assert_int_equal(dm_stat(&m, DMATEST_STAT_ATS_MISSES), 1);
	/* The mapping changes while nobody has to tell the device. */
	dm_map(&m, 9, VA, HEAP + 4096, 4096, DM_RW);
	dm_set_config(&m, ctrl, 2, 0x8000);
	assert_int_equal(dm_go(&m, op9(READ, 0, 8), NULL), OK);
	/* A reset empties too. */
	m.r.ep->ops->reset(m.r.ep);
	dm_map(&m, 9, VA, HEAP, 4096, DM_RW);
	dm_enable_services(&m);
	assert_int_equal(dm_go(&m, op9(READ, 0, 8), NULL), OK);
	rig_write(&m.r, 0x10, 1);
	dm_map(&m, 9, VA, HEAP + 4096, 4096, DM_RW);
	assert_int_equal(dm_go(&m, op9(READ, 0, 8), NULL), OK);
	dm_close(&m);
}

static void pages_are_asked_for_in_groups(void **state)
{
	struct dmatest_cpl cpl;
	struct dmarig m;

	open_confined(&m, "");
	m.policy = DM_GRANT;
	rig_write(&m.r, 0x18, 3);
	assert_int_equal(dm_go(&m, op9(WRITE, 0x800, 7 * 4096), &cpl), OK); /* 8 pages */
	assert_int_equal(le32_get(cpl.page_requests), 8);
	assert_int_equal(dm_logged(&m), 8);
	for (unsigned int i = 0; i < 8; i++) {
		const struct endpoint_page_request *req = &m.log[i];

		assert_true(req->iova.v == VA + i * 4096);
		assert_int_equal(req->pasid, 9);
		assert_int_equal(req->last, i == 2 || i == 5 || i == 7);
		assert_int_equal(req->group, m.log[i / 3 * 3].group);
		assert_true(req->write && !req->read && !req->execute && !req->privileged);
	}
	assert_int_not_equal(m.log[0].group, m.log[3].group);
	assert_int_equal(outstanding(&m), 0);
	/* Reading asks for reading, of the operand that lacks it. */
	assert_int_equal(
		dm_go(&m,
		      dm_with_pasid(dm_desc(COMPARE | ATS | PRI | PRIV, VA, VA + 0x10000, 16), 9),
		      &cpl),
		OK);
	assert_int_equal(dm_logged(&m), 9);
	assert_true(m.log[8].read && !m.log[8].write && m.log[8].privileged);
	assert_true(m.log[8].iova.v == VA + 0x10000);
	assert_int_equal(dm_stat(&m, DMATEST_STAT_PAGE_REQUESTS), 9);
	assert_int_equal(dm_stat(&m, DMATEST_STAT_RESPONSES), 4);
	assert_int_equal(dm_stat(&m, DMATEST_STAT_UNEXPECTED), 0);
	dm_close(&m);
}

static void the_last_page_of_all_is_asked_for(void **state)
{
	struct dmarig m;

	open_confined(&m, "");
	m.policy = DM_GRANT;
	rig_write(&m.r, 0x18, 16);
	assert_int_equal(dm_go(&m, dm_desc(READ | ATS | PRI, UINT64_MAX - 4096, 0, 4097), NULL),
			 OK);
	assert_int_equal(dm_logged(&m), 2);
	assert_true(m.log[1].iova.v == UINT64_MAX - 4095 && m.log[1].last);
	assert_int_equal(m.log[1].pasid, NST_NO_PASID);
	dm_close(&m);
}

static void an_operation_that_waits_lets_others_pass(void **state)
{
	struct dmatest_cpl cpl;
	struct dmarig m;
	uint32_t waits, passes[3];

	open_confined(&m, "");
	dm_queue(&m, 0, 16);
	dm_queue(&m, 1, 16);
	dm_map(&m, 9, VA + 4096, HEAP, 4096, DM_RW);
	waits = dm_put(&m, 0, op9(READ, 0, 8));
	passes[0] = dm_put(&m, 0, op9(WRITE, 4096, 8));
	passes[1] = dm_put(&m, 0, dm_desc(NOP | IRQ, 0, 0, 0));
	dm_put(&m, 0, dm_desc(FENCE, 0, 0, 0));
	dm_put(&m, 0, op9(VERIFY, 4096, 8));
	dm_ring(&m, 0);
	passes[2] = dm_put(&m, 1, op9(VERIFY, 4096, 8));
	dm_ring(&m, 1);
	assert_int_equal(dm_go(&m, op9(VERIFY, 4096, 8), NULL), OK);
	for (unsigned int i = 0; i < 2; i++) {
		assert_true(dm_poll(&m, 0, &cpl));
		assert_int_equal(le32_get(cpl.tag), passes[i]);
	}
	assert_int_equal(atomic_load(&m.r.irqs[0]), 1);
	assert_true(dm_poll(&m, 1, &cpl) && le32_get(cpl.tag) == passes[2]);
	/* The fence waits, and what is behind it. */
	assert_false(dm_poll(&m, 0, &cpl));
	assert_int_equal(dm_qread(&m, 0, 4), 2 << 16 | 1);
	assert_int_equal(dm_qread(&m, 0, 0x24), 4);
	dm_map(&m, 9, VA, HEAP, 4096, DM_RW);
	dm_answer(&m, 0, ENDPOINT_PAGE_SUCCESS);
	for (uint32_t i = 0; i < 3; i++) {
		assert_true(dm_poll(&m, 0, &cpl));
		assert_int_equal(le32_get(cpl.tag), i ? passes[1] + i : waits);
		assert_int_equal(le32_get(cpl.status), OK);
	}
	dm_close(&m);
}

static void an_immediate_operation_waits_too(void **state)
{
	struct dmatest_cpl cpl;
	struct dmarig m;

	open_confined(&m, "");
	assert_int_equal(dm_go(&m, op9(WRITE | IRQ, 0, 8), NULL), BUSY);
	assert_int_equal(outstanding(&m), 1);
	rig_write(&m.r, 0x160, 1); /* busy: nothing happens */
	assert_int_equal(dm_logged(&m), 1);
	dm_map(&m, 9, VA, HEAP, 4096, DM_RW);
	dm_answer(&m, 0, ENDPOINT_PAGE_SUCCESS);
	assert_int_equal(dm_imm(&m, &cpl), OK);
	assert_int_equal(le32_get(cpl.done), 8);
	assert_int_equal(le32_get(cpl.page_requests), 1);
	assert_int_equal(atomic_load(&m.r.irqs[8]), 1);
	assert_int_equal(outstanding(&m), 0);
	dm_close(&m);
}

static void an_invalid_response_ends_the_operation(void **state)
{
	struct dmatest_cpl cpl;
	struct dmarig m;

	open_confined(&m, "");
	m.policy = DM_INVALID;
	dm_map(&m, 9, VA, HEAP, 4096, DM_RW);
	assert_int_equal(dm_go(&m, op9(READ, 4000, 200), &cpl), INVALID);
	assert_int_equal(le32_get(cpl.done), 96);
	assert_true(le64_get(cpl.fault) == VA + 4096);
	m.policy = DM_LATER; /* an undefined code is no success */
	assert_int_equal(dm_go(&m, op9(READ, 4096, 8), &cpl), BUSY);
	dm_answer(&m, 1, (enum endpoint_page_response_code)7);
	assert_int_equal(dm_imm(&m, &cpl), INVALID);
	assert_int_equal(dm_get_config(&m, m.r.ep->config.pri_cap + 6U, 2), 0x8000);
	dm_close(&m);
}

static void a_response_failure_ends_all_requests(void **state)
{
	struct dmatest_cpl cpl;
	struct dmarig m;
	unsigned int pri;

	open_confined(&m, "");
	pri = m.r.ep->config.pri_cap;
	dm_queue(&m, 0, 8);
	for (unsigned int i = 0; i < 3; i++)
		dm_put(&m, 0, op9(READ, i * 4096, 8));
	dm_ring(&m, 0);
	assert_int_equal(dm_go(&m, op9(READ, 0x8000, 8), NULL), BUSY);
	assert_int_equal(outstanding(&m), 4);
	dm_answer(&m, 1, ENDPOINT_PAGE_FAILURE);
	assert_int_equal(dm_imm(&m, NULL), FAILURE);
	for (unsigned int i = 0; i < 3; i++)
		assert_true(dm_poll(&m, 0, &cpl) && le32_get(cpl.status) == FAILURE);
	assert_int_equal(dm_get_config(&m, pri + 6, 2), 0x8001);
	assert_int_equal(rig_read(&m.r, 0x14), 0x3f);
	/* Nothing is asked for, and nothing listened to. */
	assert_int_equal(dm_go(&m, op9(READ, 0, 8), NULL), NO_PERMISSION);
	dm_answer(&m, 0, ENDPOINT_PAGE_SUCCESS);
	dm_answer(&m, 2, ENDPOINT_PAGE_FAILURE);
	assert_int_equal(dm_logged(&m), 4);
	dm_set_config(&m, pri + 4, 2, 0);
	assert_int_equal(dm_get_config(&m, pri + 6, 2), 0x8101);
	dm_set_config(&m, pri + 6, 2, 1);
	dm_set_config(&m, pri + 4, 2, 1);
	assert_int_equal(dm_get_config(&m, pri + 6, 2), 0x8000);
	m.policy = DM_GRANT;
	assert_int_equal(dm_go(&m, op9(READ, 0, 8), NULL), OK);
	dm_close(&m);
}

static void retries_are_bounded(void **state)
{
	struct dmatest_cpl cpl;
	struct dmarig m;

	open_confined(&m, "");
	m.policy = DM_PRETEND;
	rig_write(&m.r, 0x18, 2);
	rig_write(&m.r, 0x1c, 5);
	assert_int_equal(dm_go(&m, op9(READ, 0, 8192), &cpl), RETRIES);
	assert_int_equal(le32_get(cpl.page_requests), 10);
	rig_write(&m.r, 0x1c, 0);
	assert_int_equal(dm_go(&m, op9(READ, 0, 8192), &cpl), RETRIES);
	assert_int_equal(le32_get(cpl.page_requests), 0);
	/* Progress makes them count anew. */
	rig_write(&m.r, 0x1c, 1);
	m.policy = DM_GRANT;
	assert_int_equal(dm_go(&m, op9(READ, 0, 20 * 4096), &cpl), OK);
	assert_int_equal(le32_get(cpl.page_requests), 20);
	dm_close(&m);
}

static void no_more_are_outstanding_than_allocated(void **state)
{
	struct dmatest_cpl cpl;
	struct dmarig m;
	unsigned int pri, answered = 0, done = 0;

	open_confined(&m, ",queues=2");
	pri = m.r.ep->config.pri_cap;
	dm_set_config(&m, pri + 12, 4, 5);
	rig_write(&m.r, 0x18, 3);
	for (unsigned int q = 0; q < 2; q++) {
		dm_queue(&m, q, 16);
		for (unsigned int i = 0; i < 8; i++)
			dm_put(&m, q, op9(WRITE, (q * 8 + i) * 0x10000, 4 * 4096));
		dm_ring(&m, q);
	}
	while (answered < dm_logged(&m)) {
		assert_true(outstanding(&m) <= 5 && outstanding(&m) >= 1);
		assert_int_equal(atomic_load(&m.r.ep->config.pri_outstanding), outstanding(&m));
		dm_map(&m, 9, m.log[answered].iova.v, HEAP + m.log[answered].iova.v % 0x400000,
		       4096, DM_RW);
		if (m.log[answered].last)
			dm_answer(&m, answered, ENDPOINT_PAGE_SUCCESS);
		answered++;
	}
	for (unsigned int q = 0; q < 2; q++)
		while (dm_poll(&m, q, &cpl)) {
			assert_int_equal(le32_get(cpl.status), OK);
			done++;
		}
	assert_int_equal(done, 16);
	assert_int_equal(outstanding(&m), 0);
	/* Nothing allocated: nobody may ask. */
	dm_set_config(&m, pri + 12, 4, 0);
	assert_int_equal(dm_go(&m, op9(READ, 0xff0000, 8), NULL), NO_PERMISSION);
	assert_int_equal(dm_logged(&m), answered);
	dm_close(&m);
}

static void without_the_flag_or_pri_nobody_asks(void **state)
{
	struct dmarig m;

	open_confined(&m, "");
	assert_int_equal(dm_go(&m, dm_with_pasid(dm_desc(READ | ATS, VA, 0, 8), 9), NULL),
			 NO_PERMISSION);
	dm_set_config(&m, m.r.ep->config.pri_cap + 4U, 2, 0);
	assert_int_equal(dm_go(&m, op9(READ, 0, 8), NULL), NO_PERMISSION);
	assert_int_equal(dm_logged(&m), 0);
	dm_close(&m);
	open_confined(&m, ",pri=off");
	assert_int_equal(dm_go(&m, op9(READ, 0, 8), NULL), NO_PERMISSION);
	assert_int_equal(dm_logged(&m), 0);
	dm_close(&m);
}

/* Park on queue 0 and immediately, drop both in one of four ways, answer afterwards. */
static void late_answers_change_nothing(void **state)
{
	for (unsigned int how = 0; how < 3; how++) {
		struct dmatest_cpl cpl;
		struct dmarig m;

		open_confined(&m, "");
		dm_queue(&m, 0, 8);
		dm_put(&m, 0, op9(READ, 0, 8));
		dm_ring(&m, 0);
		assert_int_equal(dm_go(&m, op9(READ, 4096, 8), NULL), BUSY);
		if (how == 0) {
			m.r.ep->ops->reset(m.r.ep);
			dm_enable_services(&m);
		} else if (how == 1) {
			rig_write(&m.r, 0x10, 1);
		} else {
			dm_qwrite(&m, 0, 0, 0);
			rig_write(&m.r, 0x160, 2);
			assert_int_equal(dm_imm(&m, NULL), CANCELLED);
		}
		assert_int_equal(outstanding(&m), how == 2 ? 2 : 0);
		dm_queue(&m, 0, 8);
		dm_put(&m, 0, op9(READ, 0x2000, 8));
		dm_ring(&m, 0);
		assert_int_equal(dm_go(&m, op9(READ, 0x3000, 8), NULL), BUSY);
		assert_int_equal(dm_logged(&m), 4);
		for (unsigned int i = 0; i < 4; i++)
			for (unsigned int j = 0; j < i; j++)
				assert_int_not_equal(m.log[i].group, m.log[j].group);
		dm_answer(&m, 0, ENDPOINT_PAGE_SUCCESS);
		dm_answer(&m, 1, how == 2 ? ENDPOINT_PAGE_INVALID : ENDPOINT_PAGE_FAILURE);
		assert_int_equal(dm_imm(&m, NULL), BUSY);
		assert_int_equal(outstanding(&m), 2);
		assert_int_equal(dm_qread(&m, 0, 4), 1 << 16 | 1);
		assert_int_equal(dm_stat(&m, DMATEST_STAT_UNEXPECTED), 0);
		/* A second answer is one to nothing. */
		dm_answer(&m, 0, ENDPOINT_PAGE_SUCCESS);
		assert_int_equal(dm_stat(&m, DMATEST_STAT_UNEXPECTED), 1);
		assert_int_equal(dm_get_config(&m, m.r.ep->config.pri_cap + 6U, 2), 0x8002);
		m.policy = DM_GRANT;
		dm_answer(&m, 2, ENDPOINT_PAGE_SUCCESS);
		dm_answer(&m, 3, ENDPOINT_PAGE_SUCCESS);
		assert_int_equal(dm_imm(&m, NULL), OK);
		assert_true(dm_poll(&m, 0, &cpl) && le32_get(cpl.status) == OK);
		assert_int_equal(outstanding(&m), 0);
		dm_close(&m);
	}
}

static void answers_to_nobody_are_counted(void **state)
{
	struct endpoint_page_response resp = { .pasid = 9, .group = 511 };
	struct dmarig m;

	open_confined(&m, "");
	assert_int_equal(dm_go(&m, op9(READ, 0, 8), NULL), BUSY);
	m.r.ep->ops->page_response(m.r.ep, &resp);
	resp.group = 512;
	m.r.ep->ops->page_response(m.r.ep, &resp);
	resp.group = UINT32_MAX;
	m.r.ep->ops->page_response(m.r.ep, &resp);
	resp = (struct endpoint_page_response){ 8, m.log[0].group, ENDPOINT_PAGE_FAILURE };
	m.r.ep->ops->page_response(m.r.ep, &resp);
	resp.pasid = NST_NO_PASID;
	m.r.ep->ops->page_response(m.r.ep, &resp);
	assert_int_equal(dm_stat(&m, DMATEST_STAT_UNEXPECTED), 5);
	assert_int_equal(dm_imm(&m, NULL), BUSY);
	dm_close(&m);
}

static void answers_that_never_come_do_not_use_groups_up(void **state)
{
	struct dmarig m;

	open_confined(&m, "");
	for (unsigned int i = 0; i < 1300; i++) {
		assert_int_equal(dm_go(&m, op9(READ, i * 4096ULL, 8), NULL), BUSY);
		assert_int_equal(m.logged, i + 1);
		rig_write(&m.r, 0x160, 2);
		if (i % 32 == 31) { /* what was allocated is used up: reset PRI */
			assert_int_equal(dm_go(&m, op9(READ, 0, 8), NULL), BUSY);
			assert_int_equal(m.logged, i + 1);
			rig_write(&m.r, 0x160, 2);
			dm_set_config(&m, m.r.ep->config.pri_cap + 4U, 2, 0);
			dm_set_config(&m, m.r.ep->config.pri_cap + 4U, 2, 2);
			assert_int_equal(outstanding(&m), 0);
			dm_set_config(&m, m.r.ep->config.pri_cap + 4U, 2, 1);
		}
	}
	assert_int_equal(dm_go(&m, op9(READ, 0, 8), NULL), BUSY);
	dm_map(&m, 9, VA, HEAP, 4096, DM_RW);
	dm_answer(&m, 1300 % DM_LOG, ENDPOINT_PAGE_SUCCESS);
	assert_int_equal(dm_imm(&m, NULL), OK);
	dm_close(&m);
}

/* Who waits for a free request goes on when PRI is reset, at the next occasion. */
static void a_pri_reset_frees_what_waits_for_requests(void **state)
{
	struct dmatest_cpl cpl;
	struct dmarig m;
	unsigned int pri;

	open_confined(&m, "");
	pri = m.r.ep->config.pri_cap;
	dm_set_config(&m, pri + 12, 4, 1);
	dm_queue(&m, 0, 8);
	dm_put(&m, 0, op9(READ, 0, 8));
	dm_put(&m, 0, op9(READ, 4096, 8));
	dm_ring(&m, 0);
	assert_int_equal(dm_logged(&m), 1);
	dm_set_config(&m, pri + 4, 2, 0);
	assert_int_equal(dm_get_config(&m, pri + 6, 2), 0x8000); /* not stopped yet */
	dm_set_config(&m, pri + 4, 2, 2);
	assert_int_equal(dm_get_config(&m, pri + 6, 2), 0x8100);
	dm_set_config(&m, pri + 4, 2, 1);
	dm_put(&m, 0, dm_desc(NOP, 0, 0, 0));
	dm_ring(&m, 0);
	assert_int_equal(dm_logged(&m), 2);
	assert_true(dm_poll(&m, 0, &cpl)); /* the NOP */
	dm_map(&m, 9, VA, HEAP, 8192, DM_RW);
	dm_answer(&m, 0, ENDPOINT_PAGE_SUCCESS);
	dm_answer(&m, 1, ENDPOINT_PAGE_SUCCESS);
	for (unsigned int i = 0; i < 2; i++)
		assert_true(dm_poll(&m, 0, &cpl) && le32_get(cpl.status) == OK);
	assert_int_equal(outstanding(&m), 0);
	dm_close(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_translation_is_kept_until_it_is_invalidated),
		cmocka_unit_test(an_invalidation_hits_its_range_and_pasid_only),
		cmocka_unit_test(pasid_and_privilege_are_part_of_the_key),
		cmocka_unit_test(large_pages_are_one_entry_and_small_ones_are_bounded),
		cmocka_unit_test(permissions_count_and_may_grow),
		cmocka_unit_test(refusals_have_their_codes),
		cmocka_unit_test(switching_ats_off_empties_and_silences),
		cmocka_unit_test(pages_are_asked_for_in_groups),
		cmocka_unit_test(the_last_page_of_all_is_asked_for),
		cmocka_unit_test(an_operation_that_waits_lets_others_pass),
		cmocka_unit_test(an_immediate_operation_waits_too),
		cmocka_unit_test(an_invalid_response_ends_the_operation),
		cmocka_unit_test(a_response_failure_ends_all_requests),
		cmocka_unit_test(retries_are_bounded),
		cmocka_unit_test(no_more_are_outstanding_than_allocated),
		cmocka_unit_test(without_the_flag_or_pri_nobody_asks),
		cmocka_unit_test(late_answers_change_nothing),
		cmocka_unit_test(answers_to_nobody_are_counted),
		cmocka_unit_test(answers_that_never_come_do_not_use_groups_up),
		cmocka_unit_test(a_pri_reset_frees_what_waits_for_requests),
	};

	return cmocka_run_group_tests_name("dmatest_ats", tests, NULL, NULL);
}
