// SPDX-License-Identifier: BSD-3-Clause
/*
 * Moving a controller: one that is replaced again and again by a fresh one with its state does
 * for its driver what one that stays does. Both get the same work; memory, registers and
 * disk must be the same after each step. And whatever bytes are loaded, the controller either
 * refuses them and is as before, or works on.
 */
#include "rig.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DISK_BYTES (1 << 20)
#define SERIAL ",serial=moving,queues=4"
#define STATE_MAX 65536

static const struct endpoint_migration_ops *ops_of(struct rig *r)
{
	return r->ep->ops->migration;
}

/* A controller on the same disk, which waits for its state. */
static struct endpoint *make_fresh(struct rig *r)
{
	struct endpoint *ep;
	char text[128];

	snprintf(text, sizeof(text), "nvme,file=/proc/self/fd/%d,incoming=on" SERIAL, r->fd);
	assert_int_equal(endpoint_create(text, NULL, &ep, NULL), 0);
	ep->bus = &r->bus;
	ep->ops->migration->suspend(ep);
	return ep;
}

static size_t save(struct rig *r, uint8_t *state)
{
	size_t size = ops_of(r)->state_size(r->ep);

	assert_true(size <= STATE_MAX);
	assert_int_equal(ops_of(r)->save(r->ep, state), 0);
	return size;
}

/* The suspended controller of @r goes, another comes, suspended too. */
static void replace(struct rig *r)
{
	struct endpoint *fresh = make_fresh(r);
	uint8_t state[STATE_MAX];
	const uint16_t command = 0x6;

	save(r, state);
	assert_int_equal(fresh->ops->migration->load(fresh, state), 0);
	endpoint_destroy(r->ep);
	r->ep = fresh;
	assert_false(pci_config_write(&r->ep->config, 4, &command, sizeof(command)));
}

static void move(struct rig *r)
{
	ops_of(r)->suspend(r->ep);
	replace(r);
	assert_int_equal(ops_of(r)->resume(r->ep), 0);
}

/* --- the same work for two -----------------------------------------------------------------------
 */

/* [0] stays, [1] moves. */
struct pair {
	struct rig r[2];
	uint64_t data; /* the address of the pages for data; the same in both */
	bool exists[RIG_QUEUES + 1];
};

static void open_pair(struct pair *p)
{
	for (int i = 0; i < 2; i++) {
		rig_open(&p->r[i], DISK_BYTES, SERIAL, false);
		rig_enable(&p->r[i], 8, 0);
		p->data = rig_alloc(&p->r[i], 64 * RIG_PAGE);
	}
}

static void close_pair(struct pair *p)
{
	for (int i = 0; i < 2; i++)
		rig_close(&p->r[i]);
}

static const uint64_t compared_registers[] = { NVME_REG_CC,  NVME_REG_CSTS, NVME_REG_INTMS,
					       NVME_REG_AQA, NVME_REG_ASQ,  NVME_REG_ACQ };

static void compare(struct pair *p)
{
	static uint8_t disk[2][DISK_BYTES];

	assert_int_equal(p->r[0].next_free, p->r[1].next_free);
	assert_memory_equal(p->r[0].memory, p->r[1].memory, p->r[0].next_free - RIG_BASE);
	for (size_t i = 0; i < ARRAY_SIZE(compared_registers); i++)
		assert_int_equal(rig_read(&p->r[0], compared_registers[i]),
				 rig_read(&p->r[1], compared_registers[i]));
	for (int i = 0; i < 2; i++)
		assert_int_equal(pread(p->r[i].fd, disk[i], DISK_BYTES, 0), DISK_BYTES);
	assert_memory_equal(disk[0], disk[1], DISK_BYTES);
	for (unsigned int i = 0; i <= RIG_QUEUES; i++)
		assert_true(atomic_load(&p->r[1].irqs[i]) >= atomic_load(&p->r[0].irqs[i]));
}

static struct nvme_sqe random_io(const struct pair *p, uint64_t *random)
{
	uint64_t page = p->data + test_random(random) % 63 * RIG_PAGE;
	uint32_t blocks = 1 + (uint32_t)(test_random(random) % 8);
	/* some beyond the end: errors are state too */
	uint64_t lba = test_random(random) % (DISK_BYTES / 512 + 4);
	uint8_t opcode = test_random(random) % 2 ? NVME_IO_READ : NVME_IO_WRITE;

	return make_rw(opcode, lba, blocks, page, 0);
}

static struct nvme_sqe random_admin(const struct pair *p, uint64_t *random)
{
	uint32_t value = (uint32_t)test_random(random);
	static const uint8_t features[] = { NVME_FEATURE_ARBITRATION, NVME_FEATURE_TEMPERATURE,
					    NVME_FEATURE_EVENTS, NVME_FEATURE_WRITE_CACHE,
					    NVME_FEATURE_COALESCING };
	uint8_t fid = features[value % ARRAY_SIZE(features)];

	switch (test_random(random) % 5) {
	case 0:
		return make_admin(NVME_ADMIN_SET_FEATURES, 0, fid,
				  fid == NVME_FEATURE_TEMPERATURE ? value % 400 : value >> 8);
	case 1:
		return make_admin(NVME_ADMIN_GET_FEATURES, 0, fid, 0);
	case 2:
		return make_log((uint8_t)(NVME_LOG_ERROR + value % 2), p->data, 512, 0);
	case 3:
		return make_admin(NVME_ADMIN_ASYNC_EVENT, 0, 0, 0);
	default:
		return make_admin(NVME_ADMIN_ABORT, 0, (value % 8) << 16, 0);
	}
}

static void submit(struct pair *p, uint16_t qid, unsigned int count, uint64_t *random)
{
	for (; count; count--) {
		struct nvme_sqe sqe = qid ? random_io(p, random) : random_admin(p, random);

		for (int i = 0; i < 2; i++)
			rig_put(&p->r[i], qid, sqe);
	}
	for (int i = 0; i < 2; i++)
		rig_ring(&p->r[i], qid);
}

/* How many commands of the queue may be on their way before it is full. */
static unsigned int room(const struct pair *p, uint16_t qid) NO_LOCK_ANALYSIS
{
	const struct nvme_sq *sq = &to_nvme(p->r[0].ep)->sq[qid];
	const struct rig_queue *q = &p->r[0].queue[qid];
	unsigned int held = (q->tail + q->size - sq->head % q->size) % q->size;

	return q->size - 1 - held;
}

static void take_completions(struct pair *p, uint16_t qid, unsigned int most)
{
	struct nvme_cqe cqe[2];

	for (; most; most--) {
		bool got[2];

		for (int i = 0; i < 2; i++)
			got[i] = rig_poll(&p->r[i], qid, &cqe[i]);
		assert_int_equal(got[0], got[1]);
		if (!got[0])
			return;
		assert_memory_equal(&cqe[0], &cqe[1], sizeof(cqe[0]));
	}
}

static void manage_queue(struct pair *p, uint16_t qid)
{
	/* the admin queue is to be empty for it: requests for events are not in a queue */
	take_completions(p, 0, 64);
	for (int i = 0; i < 2; i++) {
		if (!p->exists[qid]) {
			rig_create_pair(&p->r[i], qid, 5 + qid);
			continue;
		}
		assert_int_equal(
			rig_do(&p->r[i], 0, make_admin(NVME_ADMIN_DELETE_SQ, 0, qid, 0), NULL), 0);
		assert_int_equal(
			rig_do(&p->r[i], 0, make_admin(NVME_ADMIN_DELETE_CQ, 0, qid, 0), NULL), 0);
	}
	p->exists[qid] ^= true;
}

static bool is_admin_idle(const struct pair *p) NO_LOCK_ANALYSIS
{
	const struct nvme_ctrl *c = to_nvme(p->r[0].ep);

	/* no event may come between a command and its completion */
	return c->aer_count == 0 && c->sq[0].head == c->sq[0].tail;
}

static void step(struct pair *p, uint64_t *random)
{
	uint16_t qid = (uint16_t)(test_random(random) % (RIG_QUEUES + 1));
	bool exists = !qid || p->exists[qid];
	uint32_t mask = (uint32_t)test_random(random) & 0x1f;
	unsigned int kind = (unsigned int)(test_random(random) % 16);

	if (kind < 6 && exists && room(p, qid)) {
		submit(p, qid, 1 + (unsigned int)(test_random(random) % room(p, qid)), random);
	} else if (kind < 10 && exists) {
		take_completions(p, qid, 1 + (unsigned int)(test_random(random) % 4));
	} else if (kind == 10 && qid && is_admin_idle(p)) {
		manage_queue(p, qid);
	} else if (kind == 11) {
		for (int i = 0; i < 2; i++)
			rig_write(&p->r[i], mask % 2 ? NVME_REG_INTMS : NVME_REG_INTMC, mask);
	} else if (kind == 12) { /* a doorbell that is not there: an event */
		for (int i = 0; i < 2; i++)
			rig_write(&p->r[i], NVME_REG_DOORBELLS + 8 * 40, 1);
	} else if (kind == 13) {
		move(&p->r[1]);
	} else if (kind > 13 && exists && room(p, qid)) {
		/* work that comes while the one that moves is suspended */
		ops_of(&p->r[1])->suspend(p->r[1].ep);
		if (kind == 14)
			replace(&p->r[1]);
		submit(p, qid, 1 + (unsigned int)(test_random(random) % room(p, qid)), random);
		if (kind == 15)
			replace(&p->r[1]);
		assert_int_equal(ops_of(&p->r[1])->resume(p->r[1].ep), 0);
	}
}

static void one_that_moves_is_as_one_that_stays(void **state)
{
	for (uint64_t seed = 1; seed <= 12; seed++) {
		struct pair *p = calloc(1, sizeof(*p));
		uint64_t random = seed;

		open_pair(p);
		for (int i = 0; i < 60; i++) {
			step(p, &random);
			compare(p);
		}
		close_pair(p);
		free(p);
	}
}

/* --- in the middle of a burst
 * ------------------------------------------------------------------------ */

enum { BURST = 40 };

static void wait_until_idle(struct rig *r, uint16_t qid)
{
	struct nvme_ctrl *c = to_nvme(r->ep);
	bool done = false;

	while (!done) {
		mutex_lock(&c->lock);
		done = c->sq[qid].head == c->sq[qid].tail && !c->running;
		mutex_unlock(&c->lock);
		sched_yield();
	}
}

static void create_threaded_pair(struct rig *r, uint16_t qid)
{
	rig_queue_init(r, qid, 64);
	rig_put(r, 0, make_admin(NVME_ADMIN_CREATE_CQ, r->queue[qid].cq, 63 << 16 | qid, 3));
	rig_put(r, 0,
		make_admin(NVME_ADMIN_CREATE_SQ, r->queue[qid].sq, 63 << 16 | qid,
			   (uint32_t)qid << 16 | 1));
	rig_ring(r, 0);
	wait_until_idle(r, 0);
}

/* The device thread is at work when the controller is suspended, read and written. */
static void suspended_means_quiet(void **state)
{
	uint8_t saved[STATE_MAX], again[STATE_MAX];
	struct rig r;
	struct nvme_cqe cqe;
	unsigned int completed = 0;
	uint64_t data, seed = 3;

	rig_open(&r, DISK_BYTES, SERIAL, true);
	rig_enable(&r, 8, 0);
	create_threaded_pair(&r, 1);
	data = rig_alloc(&r, RIG_PAGE);
	for (unsigned int round = 0; round < 60; round++) {
		unsigned int from = atomic_load(&r.requests), irqs;
		unsigned int wanted = (unsigned int)(test_random(&seed) % (3 * BURST));
		size_t size;

		for (unsigned int i = 0; i < BURST; i++)
			rig_put(&r, 1, make_rw(NVME_IO_READ, i, 8, data, 0));
		rig_ring(&r, 1);
		/* somewhere in the burst: a command makes more than three requests */
		while (atomic_load(&r.requests) - from < wanted)
			;
		ops_of(&r)->suspend(r.ep);
		atomic_store(&r.forbidden, true);
		irqs = atomic_load(&r.irqs[1]);
		size = save(&r, saved);
		assert_int_equal(ops_of(&r)->load(r.ep, saved), 0);
		save(&r, again);
		for (unsigned int i = 0; i < 20; i++)
			sched_yield();
		assert_int_equal(atomic_load(&r.irqs[1]), irqs);
		assert_int_equal(ops_of(&r)->state_size(r.ep), size);
		atomic_store(&r.forbidden, false);
		assert_int_equal(ops_of(&r)->resume(r.ep), 0);
		wait_until_idle(&r, 1);
		while (rig_poll(&r, 1, &cqe))
			completed++;
	}
	assert_int_equal(completed, 60 * BURST);
	rig_close(&r);
}

/* What INTMS keeps back comes when it is unmasked, but not before the controller goes on. */
static void unmasked_while_suspended(void **state)
{
	struct rig r;

	rig_open(&r, DISK_BYTES, SERIAL, false);
	rig_enable(&r, 8, 0);
	rig_create_pair(&r, 1, 8);
	rig_write(&r, NVME_REG_INTMS, 2);
	rig_put(&r, 1, make_rw(NVME_IO_READ, 0, 1, rig_alloc(&r, RIG_PAGE), 0));
	rig_ring(&r, 1);
	move(&r);
	assert_int_equal(atomic_load(&r.irqs[1]), 0);
	ops_of(&r)->suspend(r.ep);
	rig_write(&r, NVME_REG_INTMC, 2);
	assert_int_equal(atomic_load(&r.irqs[1]), 0);
	assert_int_equal(ops_of(&r)->resume(r.ep), 0);
	assert_int_equal(atomic_load(&r.irqs[1]), 1);
	rig_close(&r);
}

/* --- bytes that are anybody's
 * -------------------------------------------------------------------------- */

/* Something of everything: queues in use, full ones, event requests, errors, masks. */
static void make_busy(struct rig *r)
{
	uint64_t data = rig_alloc(r, 4 * RIG_PAGE);

	rig_enable(r, 8, 0);
	rig_create_pair(r, 1, 8);
	rig_create_pair(r, 2, 4);
	rig_put(r, 0, make_admin(NVME_ADMIN_ASYNC_EVENT, 0, 0, 0));
	rig_ring(r, 0);
	rig_write(r, NVME_REG_INTMS, 4);
	for (unsigned int i = 0; i < 3; i++)
		rig_put(r, 2, make_rw(NVME_IO_READ, i + (i == 1) * 99999ULL, 1, data, 0));
	rig_ring(r, 2);
	for (unsigned int i = 0; i < 5; i++)
		rig_put(r, 1, make_rw(NVME_IO_WRITE, i, 1, data, 0));
	ops_of(r)->suspend(r->ep);
	rig_ring(r, 1);
}

static void use(struct rig *r)
{
	struct nvme_cqe cqe;

	for (uint16_t qid = 0; qid <= 2; qid++) {
		rig_poll(r, qid, &cqe);
		rig_ring(r, qid);
	}
	rig_write(r, NVME_REG_INTMC, ~0U);
}

static void every_byte_wrong(void **state)
{
	uint8_t good[STATE_MAX], bad[STATE_MAX], after[STATE_MAX];
	static const uint8_t wrongs[] = { 0x01, 0x80, 0xff };
	unsigned int refused = 0;
	struct rig r;
	size_t size;

	rig_open(&r, DISK_BYTES, SERIAL, false);
	make_busy(&r);
	size = save(&r, good);
	for (size_t at = 0; at < size; at += at < 800 ? 1 : 61) {
		for (size_t i = 0; i < ARRAY_SIZE(wrongs); i++) {
			memcpy(bad, good, size);
			bad[at] ^= wrongs[i];
			assert_int_equal(ops_of(&r)->load(r.ep, good), 0);
			if (ops_of(&r)->load(r.ep, bad)) {
				refused++;
				save(&r, after);
				/* the first load has set what it keeps back: so has the second */
				assert_int_equal(ops_of(&r)->load(r.ep, good), 0);
				save(&r, bad);
				assert_memory_equal(after, bad, size);
			} else {
				assert_int_equal(ops_of(&r)->resume(r.ep), 0);
				use(&r);
				ops_of(&r)->suspend(r.ep);
			}
		}
	}
	/* of some 280 bytes of registers and queues, by most of the wrongs */
	assert_true(refused > 300);
	rig_close(&r);
}

/* Each rule of its own: what is wrong with the controller, and that it is refused. */
static void every_rule(void **state) NO_LOCK_ANALYSIS
{
	uint8_t good[STATE_MAX], bad[STATE_MAX];
	struct rig r;
	struct nvme_ctrl *c, was;

	rig_open(&r, DISK_BYTES, SERIAL, false);
	make_busy(&r);
	save(&r, good);
	c = to_nvme(r.ep);
	was = *c;
#define REFUSED(change)                                                 \
	do {                                                            \
		c->change;                                              \
		save(&r, bad);                                          \
		assert_int_equal(ops_of(&r)->load(r.ep, bad), -EINVAL); \
		*c = was;                                               \
		assert_int_equal(ops_of(&r)->load(r.ep, good), 0);      \
		was.cq[1].irq_held = c->cq[1].irq_held;                 \
	} while (0)
	REFUSED(cc |= 1U << 31);
	REFUSED(cc &= ~1U);
	REFUSED(csts |= 1U << 4);
	REFUSED(csts |= 3U << 2);
	REFUSED(csts = 0);
	REFUSED(aqa |= 1U << 31);
	REFUSED(asq |= 1);
	REFUSED(acq |= 0x800);
	REFUSED(page_bytes = 0);
	REFUSED(page_bytes = 2048);
	REFUSED(page_bytes = 12288);
	REFUSED(page_bytes = 1 << 17);
	REFUSED(next_sq = 6);
	REFUSED(aer_count = NVME_AER_MAX + 1);
	REFUSED(features.write_cache = 2);
	REFUSED(sq[0].exists = false);
	REFUSED(cq[0].exists = false);
	REFUSED(sq[0].cqid = 1);
	REFUSED(sq[1].cqid = 0);
	REFUSED(sq[1].cqid = 3);
	REFUSED(sq[1].cqid = 5);
	REFUSED(sq[1].cqid = 0xffff);
	REFUSED(sq[1].size = 1);
	REFUSED(sq[1].size = 1025);
	REFUSED(sq[0].size = 4097);
	REFUSED(sq[1].head = 8);
	REFUSED(sq[1].tail = 8);
	REFUSED(sq[1].iova |= 0x10);
	REFUSED(cq[1].exists = false);
	REFUSED(cq[1].size = 0);
	REFUSED(cq[1].size = 1025);
	REFUSED(cq[1].head = 8);
	REFUSED(cq[1].tail = 8);
	REFUSED(cq[1].phase = 2);
	REFUSED(cq[1].vector = 8);
	REFUSED(cq[1].iova |= 0x10);
#undef REFUSED
	rig_close(&r);
}

/* --- who it is
 * ------------------------------------------------------------------------------------------ */

static void identities_differ(void **state)
{
	static const char *const others[] = { ",serial=moving", ",serial=moved,queues=4",
					      ",serial=moving,queues=4,lba=4096",
					      ",serial=moving,queues=4,msix=off",
					      ",serial=moving,queues=4,readonly=on" };
	char first[ENDPOINT_IDENTITY_BYTES] = "", other[ENDPOINT_IDENTITY_BYTES] = "";
	struct rig r, q;

	rig_open(&r, DISK_BYTES, SERIAL, false);
	ops_of(&r)->identity(r.ep, first);
	assert_string_equal(first, "nvme blocks=2048 lba=512 queues=4 msix=on readonly=off "
				   "serial=moving");
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		rig_open(&q, DISK_BYTES, others[i], false);
		ops_of(&q)->identity(q.ep, other);
		assert_string_not_equal(first, other);
		rig_close(&q);
	}
	rig_open(&q, 2 * DISK_BYTES, SERIAL, false);
	ops_of(&q)->identity(q.ep, other);
	assert_string_not_equal(first, other);
	rig_close(&q);
	rig_open(&q, DISK_BYTES, SERIAL ",incoming=on", false);
	ops_of(&q)->identity(q.ep, other);
	assert_string_equal(first, other);
	rig_close(&q);
	rig_close(&r);
}

/* The lock of the file follows the state. */
static void the_disk_changes_hands(void **state)
{
	uint8_t saved[STATE_MAX];
	char text[128], *why = NULL;
	struct endpoint *fresh, *third;
	struct rig r;

	rig_open(&r, DISK_BYTES, SERIAL, false);
	fresh = make_fresh(&r);
	assert_int_equal(fresh->ops->migration->resume(fresh), -EBUSY);
	ops_of(&r)->suspend(r.ep);
	assert_int_equal(fresh->ops->migration->resume(fresh), -EBUSY);
	save(&r, saved);
	assert_int_equal(fresh->ops->migration->load(fresh, saved), 0);
	assert_int_equal(fresh->ops->migration->resume(fresh), 0);
	assert_int_equal(ops_of(&r)->resume(r.ep), -EBUSY);
	snprintf(text, sizeof(text), "nvme,file=/proc/self/fd/%d" SERIAL, r.fd);
	assert_int_equal(endpoint_create(text, NULL, &third, &why), -EBUSY);
	assert_non_null(strstr(why, "in use"));
	free(why);
	endpoint_destroy(fresh);
	assert_int_equal(ops_of(&r)->resume(r.ep), 0);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_that_moves_is_as_one_that_stays),
		cmocka_unit_test(suspended_means_quiet),
		cmocka_unit_test(unmasked_while_suspended),
		cmocka_unit_test(every_byte_wrong),
		cmocka_unit_test(every_rule),
		cmocka_unit_test(identities_differ),
		cmocka_unit_test(the_disk_changes_hands),
	};

	return cmocka_run_group_tests_name("nvme_state", tests, NULL, NULL);
}
