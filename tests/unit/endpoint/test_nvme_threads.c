// SPDX-License-Identifier: BSD-3-Clause
/*
 * Registers on one thread, commands on another: the driver disables, resets or
 * shuts down at any moment, and from the return of that write on no DMA happens.
 * Run it under ThreadSanitizer.
 */
#include "rig.h"

#include <sched.h>
#include <time.h>
#include <unistd.h>

#define DISK (4ULL << 20)

/* The driver's memory is touched by the device thread as a device would: what order there is
 * comes from doorbells and disable, which is what is under test. Completions are not polled. */
static void fill_queue(struct rig *r, uint16_t qid, unsigned int n, uint64_t data, uint64_t list)
{
	for (unsigned int i = 0; i < n; i++) {
		uint8_t opcode = i % 2 ? NVME_IO_READ : NVME_IO_WRITE;

		rig_put(r, qid, make_rw(opcode, i * 8, 2048, data, list));
	}
	rig_ring(r, qid);
}

/* Queue creation without looking at completions: wait until the controller has caught up. */
static void wait_for_completion(struct rig *r, uint16_t qid)
{
	struct nvme_ctrl *c = to_nvme(r->ep);

	for (;;) {
		bool done;

		mutex_lock(&c->lock);
		done = c->sq[qid].head == c->sq[qid].tail && !c->running;
		mutex_unlock(&c->lock);
		if (done)
			return;
		sched_yield();
	}
}

static void create_pair(struct rig *r, uint16_t qid)
{
	rig_queue_init(r, qid, 64);
	rig_put(r, 0, make_admin(NVME_ADMIN_CREATE_CQ, r->queue[qid].cq, 63 << 16 | qid, 3));
	rig_put(r, 0, make_admin(NVME_ADMIN_CREATE_SQ, r->queue[qid].sq, 63 << 16 | qid,
				 (uint32_t)qid << 16 | 1));
	rig_ring(r, 0);
	wait_for_completion(r, 0);
}

static void pause_randomly(uint64_t *seed)
{
	struct timespec t = { 0, (long)(test_random(seed) % 2000000) };

	nanosleep(&t, NULL);
}

static void stop_it(struct rig *r, unsigned int how)
{
	uint16_t command = 6;

	if (how == 0) {
		rig_disable(r);
	} else if (how == 1) {
		rig_write(r, NVME_REG_CC, 2 << 14 | 0x460000); /* disable, abrupt shutdown */
		while (rig_read(r, NVME_REG_CSTS) != 2 << 2)
			sched_yield();
	} else {
		r->ep->ops->reset(r->ep);
		assert_int_equal(rig_read(r, NVME_REG_CSTS), 0);
		assert_false(pci_config_write(&r->ep->config, 4, &command, sizeof(command)));
	}
}

static void no_dma_after_a_stop_returns(void **state)
{
	uint64_t data, list, seed = 42;
	struct rig r;

	rig_open(&r, DISK, ",queues=2", true);
	data = RIG_BASE + (4ULL << 20);
	r.next_free = RIG_BASE;
	list = rig_alloc(&r, 4096);
	for (uint64_t i = 0; i < 512; i++) /* every other page: one DMA each */
		le_store(rig_at(&r, list + 8 * i, 8), 8, data + (i * 2 % 512 + 1) * 4096);
	for (int round = 0; round < 60; round++) {
		unsigned int before;

		rig_enable(&r, 32, 0);
		create_pair(&r, 1);
		create_pair(&r, 2);
		before = atomic_load(&r.requests);
		fill_queue(&r, 1, 40, data, list);
		fill_queue(&r, 2, 40, data, list);
		while (atomic_load(&r.requests) == before) /* until it is at work */
			sched_yield();
		pause_randomly(&seed);
		stop_it(&r, (unsigned int)round % 3);
		atomic_store(&r.forbidden, true);
		/* The memory is the driver's again: a race here is a bug in the controller. */
		memset(rig_at(&r, data, 1 << 20), round, 1 << 20);
		rig_write(&r, NVME_REG_DOORBELLS + 8, 3);
		pause_randomly(&seed);
		atomic_store(&r.forbidden, false);
		assert_int_equal(atomic_load(&r.violations), 0);
	}
	rig_close(&r);
}

static void destroy_waits_for_a_running_command(void **state)
{
	struct rig r;

	for (int round = 0; round < 10; round++) {
		rig_open(&r, DISK, ",queues=1", true);
		rig_enable(&r, 32, 0);
		create_pair(&r, 1);
		fill_queue(&r, 1, 40, RIG_BASE + (4ULL << 20), RIG_BASE + (6ULL << 20));
		rig_close(&r);
	}
}

static void registers_answer_while_commands_run(void **state)
{
	struct rig r;

	rig_open(&r, DISK, ",queues=1", true);
	rig_enable(&r, 32, 0);
	create_pair(&r, 1);
	fill_queue(&r, 1, 60, RIG_BASE + (4ULL << 20), RIG_BASE + (5ULL << 20));
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(rig_read(&r, NVME_REG_VS), 0x10400);
		rig_write(&r, NVME_REG_INTMS, 1);
		rig_write(&r, NVME_REG_INTMC, 1);
		rig_ring(&r, 1);
	}
	wait_for_completion(&r, 1);
	rig_close(&r);
}

/* A transfer that waits for software, which here never answers, holds up nobody. */
static void stalled_transfers_hold_up_nobody(void **state)
{
	struct rig r;

	for (unsigned int how = 0; how < 4; how++) {
		const uint64_t data = RIG_BASE + (4ULL << 20);

		rig_open(&r, DISK, ",queues=1", true);
		rig_enable(&r, 32, 0);
		create_pair(&r, 1);
		atomic_store(&r.stall_page, data);
		rig_put(&r, 1, make_rw(NVME_IO_READ, 0, 8, data, 0));
		rig_ring(&r, 1);
		while (!atomic_load(&r.stalled))
			sched_yield();
		if (how < 3) {
			stop_it(&r, how);
		} else {
			struct nvme_cqe cqe;

			/* what is under way is finished first: the driver hears that it failed */
			r.ep->ops->migration->suspend(r.ep);
			assert_true(rig_poll(&r, 1, &cqe));
			assert_status(le16_get(cqe.status) >> 1 & ~NVME_MORE,
				      NVME_DATA_TRANSFER_ERROR);
			assert_int_equal(r.ep->ops->migration->resume(r.ep), 0);
		}
		/* and the next may wait again */
		pthread_mutex_lock(&r.lock);
		assert_false(r.may_not_wait);
		pthread_mutex_unlock(&r.lock);
		rig_close(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_dma_after_a_stop_returns),
		cmocka_unit_test(destroy_waits_for_a_running_command),
		cmocka_unit_test(registers_answer_while_commands_run),
		cmocka_unit_test(stalled_transfers_hold_up_nobody),
	};

	return cmocka_run_group_tests_name("nvme_threads", tests, NULL, NULL);
}
