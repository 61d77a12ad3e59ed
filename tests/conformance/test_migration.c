// SPDX-License-Identifier: BSD-3-Clause
/*
 * Migration of a device: every state to every state, the data file, streams that must be
 * refused, and a controller that moves between two hosts in the middle of its work.
 * The ways between states are those that <linux/vfio.h> and drivers/vfio/vfio_main.c of
 * Linux 7.2 list in words, not the table that the host has.
 */
#include "nvme_side.h"

#include "base/alloc.h"
#include "endpoint/nvme_spec.h"
#include "host/soft/vfio/vfio.h"

#include <linux/pci_regs.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	ERROR = VFIO_DEVICE_STATE_ERROR,
	STOP = VFIO_DEVICE_STATE_STOP,
	RUNNING = VFIO_DEVICE_STATE_RUNNING,
	STOP_COPY = VFIO_DEVICE_STATE_STOP_COPY,
	RESUMING = VFIO_DEVICE_STATE_RESUMING,
	RUNNING_P2P = VFIO_DEVICE_STATE_RUNNING_P2P,
	PRE_COPY = VFIO_DEVICE_STATE_PRE_COPY,
	PRE_COPY_P2P = VFIO_DEVICE_STATE_PRE_COPY_P2P,
	STATES = VFIO_DEVICE_STATE_NR,
};

/* --- states ------------------------------------------------------------------------------------
 */

/* One step each, in Linux's words. */
static const uint8_t arcs[][2] = {
	{ PRE_COPY, RUNNING },	       { PRE_COPY, PRE_COPY_P2P },  { PRE_COPY_P2P, PRE_COPY },
	{ PRE_COPY_P2P, RUNNING_P2P }, { PRE_COPY_P2P, STOP_COPY }, { RESUMING, STOP },
	{ RUNNING, PRE_COPY },	       { RUNNING, RUNNING_P2P },    { RUNNING_P2P, PRE_COPY_P2P },
	{ RUNNING_P2P, RUNNING },      { RUNNING_P2P, STOP },	    { STOP, RESUMING },
	{ STOP, RUNNING_P2P },	       { STOP, STOP_COPY },	    { STOP_COPY, STOP },
};

static const uint8_t ways[][5] = {
	{ PRE_COPY, PRE_COPY_P2P, STOP_COPY },
	{ PRE_COPY, RUNNING, RUNNING_P2P },
	{ PRE_COPY, RUNNING, RUNNING_P2P, STOP },
	{ PRE_COPY, RUNNING, RUNNING_P2P, STOP, RESUMING },
	{ PRE_COPY_P2P, RUNNING_P2P, RUNNING },
	{ PRE_COPY_P2P, RUNNING_P2P, STOP },
	{ PRE_COPY_P2P, RUNNING_P2P, STOP, RESUMING },
	{ RESUMING, STOP, RUNNING_P2P },
	{ RESUMING, STOP, RUNNING_P2P, PRE_COPY_P2P },
	{ RESUMING, STOP, RUNNING_P2P, RUNNING },
	{ RESUMING, STOP, RUNNING_P2P, RUNNING, PRE_COPY },
	{ RESUMING, STOP, STOP_COPY },
	{ RUNNING, RUNNING_P2P, PRE_COPY_P2P },
	{ RUNNING, RUNNING_P2P, STOP },
	{ RUNNING, RUNNING_P2P, STOP, RESUMING },
	{ RUNNING, RUNNING_P2P, STOP, STOP_COPY },
	{ RUNNING_P2P, RUNNING, PRE_COPY },
	{ RUNNING_P2P, STOP, RESUMING },
	{ RUNNING_P2P, STOP, STOP_COPY },
	{ STOP, RUNNING_P2P, PRE_COPY_P2P },
	{ STOP, RUNNING_P2P, RUNNING },
	{ STOP, RUNNING_P2P, RUNNING, PRE_COPY },
	{ STOP_COPY, STOP, RESUMING },
	{ STOP_COPY, STOP, RUNNING_P2P },
	{ STOP_COPY, STOP, RUNNING_P2P, RUNNING },
};

static uint8_t last_of(const uint8_t way[5])
{
	uint8_t last = way[0];

	for (int i = 0; i < 5 && way[i] != ERROR; i++)
		last = way[i];
	return last;
}

/* The first step between two states, or ERROR. */
static uint32_t first_step(uint32_t from, uint32_t to)
{
	if (from == to)
		return from;
	for (size_t i = 0; i < ARRAY_SIZE(arcs); i++)
		if (arcs[i][0] == from && arcs[i][1] == to)
			return to;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		if (ways[i][0] == from && last_of(ways[i]) == to)
			return ways[i][1];
	return ERROR;
}

static void every_way(void **state)
{
	uint32_t next;

	for (uint32_t from = 0; from < STATES; from++) {
		for (uint32_t to = 0; to < STATES; to++) {
			uint32_t want = from == ERROR || to == ERROR ? ERROR : first_step(from, to);

			next = 77;
			assert_int_equal(soft_migration_next(from, to, &next), want != ERROR);
			assert_int_equal(next, want == ERROR ? 77 : want);
		}
	}
	assert_false(soft_migration_next(RUNNING, STATES, &next));
	assert_false(soft_migration_next(STATES, RUNNING, &next));
	assert_false(soft_migration_next(RUNNING, UINT32_MAX, &next));
}

static bool is_copying(uint32_t state)
{
	return state == PRE_COPY || state == PRE_COPY_P2P || state == STOP_COPY;
}

/* Does the last step of the way begin a transfer? */
static bool begins_transfer(uint32_t from, uint32_t to)
{
	if (from == to)
		return false;
	if (to == STOP_COPY)
		return from != PRE_COPY && from != PRE_COPY_P2P;
	return to == RESUMING || (is_copying(to) && from != PRE_COPY && from != PRE_COPY_P2P);
}

static void every_state_to_every_state(void **state)
{
	struct scene *scene = scene_open();
	struct side *s = &scene->a;
	int had, got;

	for (uint32_t from = STOP; from < STATES; from++) {
		for (uint32_t to = 0; to < STATES + 2; to++) {
			bool can = to < STATES && to != ERROR && first_step(from, to) != ERROR;
			int ret;

			side_go(s, from, &had);
			/* nothing was written: no state to leave RESUMING with */
			if (from == RESUMING && to != RESUMING)
				can = false;
			ret = side_set_state(s, to, &got);
			if (ret != (can ? 0 : -EINVAL) || side_state(s) != (can ? to : from))
				fail_msg("%u to %u: %d, state %u", from, to, ret, side_state(s));
			assert_int_equal(got >= 0, can && begins_transfer(from, to));
			if (got >= 0)
				ok(host_close(&s->rig, got));
			if (had >= 0)
				ok(host_close(&s->rig, had));
		}
	}
	scene_close(scene);
}

static void a_reset_ends_every_state(void **state)
{
	struct scene *scene = scene_open();
	struct side *s = &scene->a;
	uint8_t byte;
	int fd;

	for (uint32_t from = STOP; from < STATES; from++) {
		side_go(s, from, &fd);
		ok(call(&s->rig, s->rig.dev, VFIO_DEVICE_RESET, NULL));
		assert_int_equal(side_state(s), RUNNING);
		if (fd >= 0 && from == RESUMING)
			err(ENODEV, (int)side_write(s, fd, "x", 1));
		else if (fd >= 0)
			err(ENODEV, (int)side_read(s, fd, &byte, 1));
		if (fd >= 0)
			ok(host_close(&s->rig, fd));
		side_start(s);
		side_submit(s, false, 0, SIDE_DATA);
		assert_int_equal(side_reap(s), 0);
	}
	/* as does the guest's own, through configuration space */
	side_go(s, STOP, &fd);
	for (unsigned int cap = config_get(&s->rig, PCI_CAPABILITY_LIST, 1); cap;
	     cap = config_get(&s->rig, cap + 1, 1))
		if (config_get(&s->rig, cap, 1) == PCI_CAP_ID_EXP)
			config_set(&s->rig, cap + PCI_EXP_DEVCTL, 2, PCI_EXP_DEVCTL_BCR_FLR);
	assert_int_equal(side_state(s), RUNNING);
	/* and the end of the owner */
	side_go(s, PRE_COPY, &fd);
	ok(host_close(&s->rig, s->rig.dev));
	s->rig.dev = host_open(&s->rig, s->rig.path);
	ok(bind_device(&s->rig, s->rig.dev, s->rig.iommu, NULL));
	assert_int_equal(side_state(s), RUNNING);
	err(ENODEV, (int)side_read(s, fd, &byte, 1));
	ok(host_close(&s->rig, fd));
	scene_close(scene);
}

/* --- a controller moves
 * --------------------------------------------------------------------------- */

static int32_t give_vectors(struct side *s)
{
	int32_t fd = eventfd(0, EFD_NONBLOCK);
	uint8_t space[sizeof(struct vfio_irq_set) + 8];
	struct vfio_irq_set hdr = { .argsz = sizeof(space),
				    .flags = VFIO_IRQ_SET_DATA_EVENTFD |
					     VFIO_IRQ_SET_ACTION_TRIGGER,
				    .index = VFIO_PCI_MSIX_IRQ_INDEX,
				    .count = 2 };

	memcpy(space, &hdr, sizeof(hdr));
	memcpy(space + sizeof(hdr), &(int32_t[2]){ -1, fd }, 8);
	ok(call(&s->rig, s->rig.dev, VFIO_DEVICE_SET_IRQS, space));
	return fd;
}

static bool interrupted(int fd)
{
	eventfd_t value;

	return !eventfd_read(fd, &value);
}

/* Moves from @from to @to, with or without PRE_COPY; the destination is left in STOP. */
static void move(struct side *from, struct side *to, bool precopy)
{
	uint8_t stream[SIDE_STREAM_MAX];
	size_t size = 0;
	int source = -1, fd, none;

	if (precopy) {
		ok(side_set_state(from, PRE_COPY, &source));
		size = side_drain(from, source, stream, -ENOMSG);
	}
	ok(side_set_state(from, STOP_COPY, precopy ? &none : &source));
	size += side_drain(from, source, stream + size, 0);
	ok(host_close(&from->rig, source));
	ok(side_set_state(to, RESUMING, &fd));
	ok(side_load(to, fd, stream, size));
	ok(host_close(&to->rig, fd));
	to->driver = from->driver;
}

static void fill(struct side *s, unsigned int page, uint32_t seed)
{
	uint64_t random = seed;

	for (size_t i = 0; i < 512; i += 8) {
		uint64_t word = test_random(&random);

		memcpy(s->memory + page * PAGE + i, &word, 8);
	}
}

static void in_the_middle_of_its_work(void **state)
{
	struct scene *scene = scene_open();
	struct side *a = &scene->a, *b = &scene->b;
	int none;

	side_start(a);
	fill(a, SIDE_DATA, 1);
	side_submit(a, true, 3, SIDE_DATA);
	assert_int_equal(side_reap(a), 0);
	for (int round = 0; round < 40; round++) {
		struct side *from = round % 2 ? b : a, *to = round % 2 ? a : b;
		int source_irq = give_vectors(from), irq;
		uint8_t *read = scene->memory + (SIDE_DATA + 1) * PAGE;

		memset(read, 0, 512);
		ok(side_set_state(from, round % 3 ? STOP : RUNNING_P2P, &none));
		/* the driver's last words: nothing happens to them here */
		side_submit(from, false, 3, SIDE_DATA + 1);
		assert_int_equal(side_reap(from), -1);
		assert_false(interrupted(source_irq));
		ok(call(&to->rig, to->rig.dev, VFIO_DEVICE_RESET, NULL));
		move(from, to, false);
		irq = give_vectors(to);
		enable_bus_master(&to->rig);
		assert_int_equal(side_reap(to), -1);
		assert_false(interrupted(irq));
		ok(side_set_state(to, RUNNING, &none));
		assert_true(interrupted(irq));
		assert_int_equal(side_reap(to), 0);
		assert_memory_equal(read, scene->memory + SIDE_DATA * PAGE, 512);
		assert_int_equal(side_reap(to), -1);
		assert_false(interrupted(source_irq));
		/* and it goes on */
		fill(to, SIDE_DATA, (uint32_t)round);
		side_submit(to, true, 3, SIDE_DATA);
		assert_int_equal(side_reap(to), 0);
		close(irq);
		close(source_irq);
	}
	scene_close(scene);
}

/* A completion whose interrupt the source gave to a VMM that had stopped already. */
static void an_interrupt_is_not_lost(void **state)
{
	struct scene *scene = scene_open();
	int none, irq;

	side_start(&scene->a);
	side_submit(&scene->a, false, 0, SIDE_DATA);
	move(&scene->a, &scene->b, true);
	irq = give_vectors(&scene->b);
	enable_bus_master(&scene->b.rig);
	ok(side_set_state(&scene->b, RUNNING, &none));
	assert_true(interrupted(irq));
	assert_int_equal(side_reap(&scene->b), 0);
	close(irq);
	scene_close(scene);
}

/* --- one disk, one user
 * ------------------------------------------------------------------------------ */

static void one_of_them_has_the_disk(void **state)
{
	struct scene *scene = scene_open();
	struct side *a = &scene->a, *b = &scene->b;
	uint8_t stream[SIDE_STREAM_MAX];
	size_t size;
	int fd, none;

	/* the destination was not migrated to: its driver gets nothing from the disk */
	side_start(b);
	side_submit(b, false, 0, SIDE_DATA);
	assert_int_equal(side_reap(b) & ~NVME_MORE, NVME_NAMESPACE_NOT_READY);
	/* nor may it run while the source does */
	ok(side_set_state(b, STOP, &none));
	err(EBUSY, side_set_state(b, RUNNING, &none));
	assert_int_equal(side_state(b), RUNNING_P2P);
	/* a migration that failed: the source takes it back */
	side_start(a);
	size = side_save(a, stream);
	ok(side_set_state(a, RUNNING, &none));
	side_submit(a, false, 0, SIDE_DATA);
	assert_int_equal(side_reap(a), 0);
	/* one that did not: the source cannot go on, not even by a reset */
	size = side_save(a, stream);
	side_go(b, RESUMING, &fd);
	ok(side_load(b, fd, stream, size));
	ok(side_set_state(b, RUNNING, &none));
	err(EBUSY, side_set_state(a, RUNNING, &none));
	assert_int_equal(side_state(a), RUNNING_P2P);
	ok(call(&a->rig, a->rig.dev, VFIO_DEVICE_RESET, NULL));
	side_start(a);
	side_submit(a, false, 0, SIDE_DATA);
	assert_int_equal(side_reap(a) & ~NVME_MORE, NVME_NAMESPACE_NOT_READY);
	scene_close(scene);
}

/* --- without memory
 * ------------------------------------------------------------------------------------ */

static void every_allocation_fails(void **state)
{
	struct scene *scene = scene_open();
	unsigned int failures = 0;

	for (uint32_t to = STOP; to < STATES; to++) {
		for (unsigned int nth = 1;; nth++) {
			int fd, ret;

			ok(call(&scene->a.rig, scene->a.rig.dev, VFIO_DEVICE_RESET, NULL));
			alloc_fail_nth(nth);
			ret = side_set_state(&scene->a, to, &fd);
			if (alloc_fail_left()) {
				alloc_fail_nth(0);
				ok(ret);
				if (fd >= 0)
					ok(host_close(&scene->a.rig, fd));
				break;
			}
			failures++;
			err(ENOMEM, ret);
			/* it is where it got to, and from there it goes on */
			ok(side_set_state(&scene->a, to, &fd));
			if (fd >= 0)
				ok(host_close(&scene->a.rig, fd));
		}
	}
	assert_true(failures >= 4);
	scene_close(scene);
}

static const struct suite_case cases[] = {
	TEST_ALONE(every_way),
	TEST_ALONE(every_state_to_every_state),
	TEST_ALONE(a_reset_ends_every_state),
	TEST_ALONE(in_the_middle_of_its_work),
	TEST_ALONE(an_interrupt_is_not_lost),
	TEST_ALONE(one_of_them_has_the_disk),
	TEST_ALONE(every_allocation_fails),
};
SUITE_GROUP(migration, cases)
