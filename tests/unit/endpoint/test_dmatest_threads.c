// SPDX-License-Identifier: BSD-3-Clause
/*
 * dmatest with everybody at work at a time: the device thread; the driver, which also
 * resets and switches; who answers page requests; who invalidates. The bench fails the test
 * when a translation is used that was taken back. Run it under ThreadSanitizer.
 */
#include "dmarig.h"

#include <sched.h>
#include <stdlib.h>

enum { READ = 2, WRITE = 3, COPY = 5 };
enum { ATS = 0x400, PRI = 0x800, IRQ = 0x1000 };

#define VA 0x7f0000000000ULL
#define VA_PAGES 96
#define QUEUES 4

struct scene {
	struct dmarig m;
	pthread_mutex_t change; /* of the page list: one at a time maps or unmaps */
	atomic_bool quit;
	atomic_uint unmapped, answered;
};

static void *answer_requests(void *arg)
{
	struct scene *s = arg;
	unsigned int next = 0;
	uint64_t seed = 1;

	while (!atomic_load(&s->quit)) {
		struct endpoint_page_request req;
		struct endpoint_page_response resp;

		if (next == dm_logged(&s->m)) {
			sched_yield();
			continue;
		}
		pthread_mutex_lock(&s->m.lock);
		if (s->m.logged - next > DM_LOG) /* overrun: these are never answered */
			next = s->m.logged - DM_LOG;
		req = s->m.log[next++ % DM_LOG];
		pthread_mutex_unlock(&s->m.lock);
		pthread_mutex_lock(&s->change);
		dm_map(&s->m, req.pasid, req.iova.v, RIG_BASE + (5 << 20) + req.iova.v % (1 << 20),
		       4096, DM_RW);
		pthread_mutex_unlock(&s->change);
		if (!req.last || test_random(&seed) % 32 == 0)
			continue;
		resp = (struct endpoint_page_response){
			req.pasid,
			req.group,
			test_random(&seed) % 16	 ? ENDPOINT_PAGE_SUCCESS
			: test_random(&seed) % 8 ? ENDPOINT_PAGE_INVALID
						 : ENDPOINT_PAGE_FAILURE,
		};
		s->m.r.ep->ops->page_response(s->m.r.ep, &resp);
		s->answered++;
	}
	return NULL;
}

static bool is_mapped(struct scene *s, uint32_t pasid, uint64_t iova)
{
	bool found = false;

	pthread_mutex_lock(&s->m.lock);
	for (unsigned int i = 0; i < DM_PAGES; i++)
		found |= s->m.pages[i].used && s->m.pages[i].pasid == pasid &&
			 s->m.pages[i].iova == iova;
	pthread_mutex_unlock(&s->m.lock);
	return found;
}

static void *take_pages_back(void *arg)
{
	struct scene *s = arg;
	uint64_t seed = 2;

	while (!atomic_load(&s->quit)) {
		uint32_t pasid = (uint32_t)(1 + test_random(&seed) % 2);
		uint64_t iova = VA + test_random(&seed) % VA_PAGES * 4096;

		pthread_mutex_lock(&s->change);
		if (is_mapped(s, pasid, iova)) {
			dm_unmap(&s->m, pasid, iova);
			s->unmapped++;
		}
		pthread_mutex_unlock(&s->change);
		sched_yield();
	}
	return NULL;
}

static struct dmatest_desc random_op(uint64_t *seed)
{
	static const uint32_t ops[] = { READ, WRITE, COPY };
	uint64_t a = VA + test_random(seed) % (VA_PAGES - 8) * 4096 + test_random(seed) % 4096;
	uint64_t b = VA + test_random(seed) % (VA_PAGES - 8) * 4096;

	return dm_with_pasid(dm_desc(ops[test_random(seed) % 3] | ATS | PRI | IRQ, a, b,
				     (uint32_t)(1 + test_random(seed) % 24000)),
			     (uint32_t)(1 + test_random(seed) % 2));
}

/* Completion memory is the driver's up to the tail that the register says. */
static unsigned int consume(struct dmarig *m, unsigned int q)
{
	uint32_t tail = dm_qread(m, q, 0x2c);
	unsigned int n = 0;

	for (; m->q[q].cpl_head != tail; n++) {
		const struct dmatest_cpl *cpl =
			rig_at(&m->r, m->q[q].cpl + m->q[q].cpl_head * 32ULL, 32);

		assert_int_equal(le32_get(cpl->status) >> 31, m->q[q].phase);
		assert_true((le32_get(cpl->status) & 0xff) <= DMATEST_DISABLED);
		if (++m->q[q].cpl_head == m->q[q].size) {
			m->q[q].cpl_head = 0;
			m->q[q].phase = !m->q[q].phase;
		}
	}
	dm_qwrite(m, q, 0x30, m->q[q].cpl_head);
	return n;
}

static void disturb(struct scene *s, uint64_t *seed)
{
	struct dmarig *m = &s->m;
	unsigned int q = (unsigned int)(test_random(seed) % QUEUES);

	switch (test_random(seed) % 6) {
	case 0:
		m->r.ep->ops->reset(m->r.ep);
		break;
	case 1:
		rig_write(&m->r, 0x10, 1);
		break;
	case 2:
		dm_set_config(m, m->r.ep->config.ats_cap + 6U, 2, 0);
		break;
	case 3:
		dm_set_config(m, m->r.ep->config.pri_cap + 4U, 2, 0);
		break;
	case 4:
		rig_write(&m->r, 0x160, 2);
		break;
	case 5:
		dm_qwrite(m, q, 0, 0);
		break;
	}
	if (rig_read(&m->r, 0x14) & 0x20) /* a Response Failure: enable anew */
		dm_set_config(m, m->r.ep->config.pri_cap + 4U, 2, 0);
	dm_enable_services(m);
	for (q = 0; q < QUEUES; q++)
		if (!(dm_qread(m, q, 0) & 1))
			dm_queue(m, q, 16);
	rig_write(&m->r, 0x18, 1 + (uint32_t)(test_random(seed) % 4));
}

static void all_at_once(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));
	unsigned int done = 0, immediate = 0;
	pthread_t threads[2];
	uint64_t seed = 3;

	dm_open(&s->m, ",queues=4", true);
	s->m.confined = true;
	dm_map(&s->m, NST_NO_PASID, RIG_BASE, RIG_BASE, 4 << 20, DM_RW);
	pthread_mutex_init(&s->change, NULL);
	for (unsigned int q = 0; q < QUEUES; q++)
		dm_queue(&s->m, q, 16);
	pthread_create(&threads[0], NULL, answer_requests, s);
	pthread_create(&threads[1], NULL, take_pages_back, s);
	/* as long as it takes for everything to have happened */
	for (unsigned int round = 0; round < 4000 || done <= 100 || immediate <= 10 ||
				     s->unmapped <= 10 || s->answered <= 100;
	     round++) {
		unsigned int q = (unsigned int)(test_random(&seed) % QUEUES);

		done += consume(&s->m, q);
		if ((s->m.q[q].tail + 1) % 16 != dm_qread(&s->m, q, 0x24)) {
			dm_put(&s->m, q, random_op(&seed));
			dm_ring(&s->m, q);
		}
		if (round % 8 == 0)
			immediate += dm_go(&s->m, random_op(&seed), NULL) != DMATEST_BUSY;
		if (round % 100 == 99)
			disturb(s, &seed);
		if (round % 16 == 0)
			sched_yield();
	}
	atomic_store(&s->quit, true);
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	dm_close(&s->m);
	pthread_mutex_destroy(&s->change);
	free(s);
}

static void no_dma_after_a_stop_returns(void **state)
{
	uint64_t seed = 4;
	struct dmarig m;

	dm_open(&m, ",queues=4", true);
	for (unsigned int round = 0; round < 60; round++) {
		unsigned int before = atomic_load(&m.r.requests);

		for (unsigned int q = 0; q < QUEUES; q++) {
			dm_qwrite(&m, q, 0, 0);
			dm_queue(&m, q, 16);
			for (unsigned int i = 0; i < 12; i++)
				dm_put(&m, q, dm_desc(WRITE, RIG_BASE + (4 << 20), 0, 1 << 20));
			dm_ring(&m, q);
		}
		while (atomic_load(&m.r.requests) < before + test_random(&seed) % 200)
			sched_yield();
		if (round % 3 == 0)
			m.r.ep->ops->reset(m.r.ep);
		else if (round % 3 == 1)
			rig_write(&m.r, 0x10, 1);
		for (unsigned int q = 0; round % 3 == 2 && q < QUEUES; q++)
			dm_qwrite(&m, q, 0, 0);
		atomic_store(&m.r.forbidden, true);
		/* The memory is the driver's again: a race here is a bug in the device. */
		memset(rig_at(&m.r, RIG_BASE + (4 << 20), 1 << 20), (int)round, 1 << 20);
		dm_qwrite(&m, 0, 0x28, 3);
		sched_yield();
		atomic_store(&m.r.forbidden, false);
		assert_int_equal(atomic_load(&m.r.violations), 0);
		dm_enable_services(&m);
	}
	dm_close(&m);
}

/* Stopping one queue must not make another forget its work. */
static void other_queues_go_on(void **state)
{
	struct dmarig m;

	dm_open(&m, ",queues=4", true);
	for (unsigned int q = 0; q < QUEUES; q++)
		dm_queue(&m, q, 16);
	for (unsigned int round = 0; round < 30; round++) {
		unsigned int before = atomic_load(&m.r.irqs[0]);
		unsigned int requests = atomic_load(&m.r.requests);

		for (unsigned int i = 0; i < 8; i++)
			dm_put(&m, 0, dm_desc(WRITE | IRQ, RIG_BASE + (4 << 20), 0, 1 << 18));
		dm_ring(&m, 0);
		while (atomic_load(&m.r.requests) < requests + 3) /* the kick is used up */
			sched_yield();
		dm_qwrite(&m, 1, 0, 0);
		while (atomic_load(&m.r.irqs[0]) != before + 8)
			sched_yield();
		consume(&m, 0);
		dm_queue(&m, 1, 16);
	}
	dm_close(&m);
}

/* An invalidation that comes while the bus is at work on a translation, or on a request that uses
 * it, must not return before that. */
static struct {
	struct dmarig m;
	bool in_translate; /* else in dma() */
	atomic_bool about_to, returned;
	unsigned int early;
	int (*dma)(struct endpoint_bus *bus, const struct endpoint_dma_request *req);
	int (*translate)(struct endpoint_bus *bus, const struct endpoint_ats_request *req,
			 struct endpoint_ats_reply *reply);
} meeting;

static void *invalidate(void *arg)
{
	atomic_store(&meeting.about_to, true);
	meeting.m.r.ep->ops->ats_invalidate(meeting.m.r.ep, 1, (nst_iova){ VA },
					    (nst_iova){ VA + 4095 });
	atomic_store(&meeting.returned, true);
	return NULL;
}

static void meet(pthread_t *thread)
{
	atomic_store(&meeting.about_to, false);
	atomic_store(&meeting.returned, false);
	pthread_create(thread, NULL, invalidate, NULL);
	while (!atomic_load(&meeting.about_to))
		sched_yield();
	for (unsigned int i = 0; i < 2000; i++) /* the more, the surer a defect shows */
		sched_yield();
	meeting.early += atomic_load(&meeting.returned);
}

static pthread_t invalidator;

static int slow_dma(struct endpoint_bus *bus, const struct endpoint_dma_request *req)
{
	if (req->translated && !meeting.in_translate)
		meet(&invalidator);
	return meeting.dma(bus, req);
}

static int slow_translate(struct endpoint_bus *bus, const struct endpoint_ats_request *req,
			  struct endpoint_ats_reply *reply)
{
	int err = meeting.translate(bus, req, reply);

	if (meeting.in_translate)
		meet(&invalidator);
	return err;
}

static void an_invalidation_waits_for_who_uses_the_old(void **state)
{
	struct dmarig *m = &meeting.m;

	dm_open(m, "", false);
	dm_map(m, 1, VA, RIG_BASE, 4096, DM_RW);
	meeting.dma = m->r.ops.dma;
	meeting.translate = m->r.ops.translate;
	m->r.ops.dma = slow_dma;
	m->r.ops.translate = slow_translate;
	for (unsigned int i = 0; i < 20; i++) {
		uint64_t misses = dm_stat(m, DMATEST_STAT_ATS_MISSES);

		meeting.in_translate = i % 2;
		assert_int_equal(dm_go(m, dm_with_pasid(dm_desc(READ | ATS, VA, 0, 8), 1), NULL),
				 0);
		pthread_join(invalidator, NULL);
		assert_int_equal(meeting.early, 0);
		/* And nothing of before is left. */
		assert_int_equal(dm_stat(m, DMATEST_STAT_ATS_MISSES), misses + 1);
	}
	assert_int_equal(dm_stat(m, DMATEST_STAT_ATS_HITS), 0);
	dm_close(m);
}

static void destroy_waits_for_a_running_operation(void **state)
{
	for (unsigned int round = 0; round < 10; round++) {
		struct dmarig m;

		dm_open(&m, "", true);
		dm_queue(&m, 0, 16);
		for (unsigned int i = 0; i < 12; i++)
			dm_put(&m, 0, dm_desc(WRITE, RIG_BASE + (4 << 20), 0, 1 << 20));
		dm_ring(&m, 0);
		dm_close(&m);
	}
}

/* An operation that waits for software, which here never answers, holds up nobody. */
static void stalled_operations_hold_up_nobody(void **state)
{
	const uint64_t page = RIG_BASE + (5 << 20);
	struct dmarig m;

	for (unsigned int how = 0; how < 4; how++) {
		dm_open(&m, "", true);
		dm_queue(&m, 0, 8);
		atomic_store(&m.r.stall_page, page);
		dm_put(&m, 0, dm_desc(WRITE, page, 0, 64));
		dm_ring(&m, 0);
		while (!atomic_load(&m.r.stalled))
			sched_yield();
		if (how == 0)
			dm_qwrite(&m, 0, DMATEST_Q_CTRL, 0);
		else if (how == 1)
			rig_write(&m.r, DMATEST_REG_IMM_GO, DMATEST_GO_CANCEL);
		else if (how == 2)
			rig_write(&m.r, DMATEST_REG_CTRL, DMATEST_CTRL_RESET);
		else
			m.r.ep->ops->reset(m.r.ep);
		pthread_mutex_lock(&m.r.lock);
		assert_false(m.r.may_not_wait);
		pthread_mutex_unlock(&m.r.lock);
		dm_close(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_at_once),
		cmocka_unit_test(no_dma_after_a_stop_returns),
		cmocka_unit_test(other_queues_go_on),
		cmocka_unit_test(an_invalidation_waits_for_who_uses_the_old),
		cmocka_unit_test(destroy_waits_for_a_running_operation),
		cmocka_unit_test(stalled_operations_hold_up_nobody),
	};

	return cmocka_run_group_tests_name("dmatest_threads", tests, NULL, NULL);
}
