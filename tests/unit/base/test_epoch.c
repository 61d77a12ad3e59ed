// SPDX-License-Identifier: BSD-3-Clause
/*
 * epoch_synchronize() returns when the readers are gone and not before. "Not before"
 * is looked for while the writer gets the processor YIELDS times; a wrong writer
 * would be seen done, a right one is never mistaken for a wrong one.
 */
#include "test.h"

#include "base/epoch.h"

#include <pthread.h>
#include <stdbool.h>

enum { YIELDS = 2000 };

struct writer {
	struct epoch *epoch;
	atomic_bool started, done;
	pthread_t thread;
};

static void *synchronize(void *arg)
{
	struct writer *w = arg;

	atomic_store(&w->started, true);
	epoch_synchronize(w->epoch);
	atomic_store(&w->done, true);
	return NULL;
}

static void writer_start(struct writer *w, struct epoch *epoch)
{
	w->epoch = epoch;
	atomic_init(&w->started, false);
	atomic_init(&w->done, false);
	assert_int_equal(pthread_create(&w->thread, NULL, synchronize, w), 0);
	while (!atomic_load(&w->started))
		sched_yield();
}

static bool writer_waits(struct writer *w)
{
	for (int i = 0; i < YIELDS && !atomic_load(&w->done); i++)
		sched_yield();
	return !atomic_load(&w->done);
}

static void writer_join(struct writer *w)
{
	assert_int_equal(pthread_join(w->thread, NULL), 0);
	assert_true(atomic_load(&w->done));
}

static void nobody_to_wait_for(void **state)
{
	struct epoch epoch = { 0 };

	for (int i = 0; i < 5; i++) {
		epoch_synchronize(&epoch);
		epoch_exit(&epoch, epoch_enter(&epoch));
	}
}

static void waits_for_a_reader_of_either_phase(void **state)
{
	struct epoch epoch = { 0 };

	for (unsigned int phase = 0; phase < 2; phase++) {
		struct writer w;
		unsigned int e;

		atomic_store(&epoch.phase, phase);
		e = epoch_enter(&epoch);
		assert_int_equal(e, phase);
		writer_start(&w, &epoch);
		assert_true(writer_waits(&w));
		epoch_exit(&epoch, e);
		writer_join(&w);
	}
}

/* It read `phase`, then the writer before us flipped it: the count is in the other one. */
static void waits_for_a_reader_that_was_late(void **state)
{
	for (unsigned int phase = 0; phase < 2; phase++) {
		struct epoch epoch = { .phase = phase, .readers = { 0 } };
		struct writer w;

		atomic_fetch_add(&epoch.readers[phase ^ 1], 1);
		writer_start(&w, &epoch);
		assert_true(writer_waits(&w));
		epoch_exit(&epoch, phase ^ 1);
		writer_join(&w);
	}
}

/* Whoever entered after the first flip may have a late twin: both counters are drained. */
static void drains_one_counter_and_then_the_other(void **state)
{
	struct epoch epoch = { 0 };
	unsigned int old = epoch_enter(&epoch), mine;
	struct writer w;

	writer_start(&w, &epoch);
	while (atomic_load(&epoch.phase) == old && !atomic_load(&w.done))
		sched_yield();
	mine = epoch_enter(&epoch);
	assert_int_not_equal(mine, old);
	epoch_exit(&epoch, old);
	assert_true(writer_waits(&w));
	epoch_exit(&epoch, mine);
	writer_join(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_to_wait_for),
		cmocka_unit_test(waits_for_a_reader_of_either_phase),
		cmocka_unit_test(waits_for_a_reader_that_was_late),
		cmocka_unit_test(drains_one_counter_and_then_the_other),
	};

	return cmocka_run_group_tests_name("epoch", tests, NULL, NULL);
}
