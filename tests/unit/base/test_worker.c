// SPDX-License-Identifier: BSD-3-Clause
/* A thread that is kicked: it runs for every kick that came after it last began, and never twice at
 * a time. */
#include "test.h"

#include "base/worker.h"

#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>

struct job {
	struct worker worker;
	atomic_uint begun, done, inside, overlaps;
	sem_t entered, go_on;
	bool stop_inside;
	atomic_bool takes_signals;
};

static void run(void *opaque)
{
	struct job *job = opaque;
	sigset_t mask;

	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	if (!sigismember(&mask, SIGTERM))
		atomic_store(&job->takes_signals, true);
	if (atomic_fetch_add(&job->inside, 1))
		atomic_fetch_add(&job->overlaps, 1);
	atomic_fetch_add(&job->begun, 1);
	if (job->stop_inside) {
		sem_post(&job->entered);
		sem_wait(&job->go_on);
	}
	atomic_fetch_sub(&job->inside, 1);
	atomic_fetch_add(&job->done, 1);
}

static void job_init(struct job *job)
{
	sem_init(&job->entered, 0, 0);
	sem_init(&job->go_on, 0, 0);
	worker_init(&job->worker, run, job);
}

static void job_fini(struct job *job)
{
	worker_fini(&job->worker);
	sem_destroy(&job->entered);
	sem_destroy(&job->go_on);
}

static void a_kick_while_busy_is_one_more_run(void **state)
{
	struct job job = { .stop_inside = true };

	job_init(&job);
	worker_kick(&job.worker); /* before there is a thread: it is not lost */
	assert_int_equal(worker_start(&job.worker), 0);
	assert_int_equal(worker_start(&job.worker), 0);
	sem_wait(&job.entered);
	for (int i = 0; i < 5; i++)
		worker_kick(&job.worker);
	sem_post(&job.go_on);
	sem_wait(&job.entered); /* five kicks, one run */
	assert_false(worker_take(&job.worker));
	sem_post(&job.go_on);
	job_fini(&job);
	assert_int_equal(atomic_load(&job.begun), 2);
	assert_int_equal(atomic_load(&job.done), 2); /* the end waits for it */
	assert_int_equal(atomic_load(&job.overlaps), 0);
	assert_false(atomic_load(&job.takes_signals));
}

static void without_a_thread_kicks_are_taken(void **state)
{
	struct job job = { 0 };

	job_init(&job);
	assert_false(worker_take(&job.worker));
	worker_kick(&job.worker);
	worker_kick(&job.worker);
	assert_true(worker_take(&job.worker));
	assert_false(worker_take(&job.worker));
	job_fini(&job);
	assert_int_equal(atomic_load(&job.begun), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_kick_while_busy_is_one_more_run),
		cmocka_unit_test(without_a_thread_kicks_are_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
