// SPDX-License-Identifier: BSD-3-Clause
/* See worker.h. The thread takes no signals: those are for the program we live in. */
#include "base/worker.h"

#include <errno.h>
#include <signal.h>

void worker_init(struct worker *w, void (*run)(void *opaque), void *opaque)
{
	*w = (struct worker){ .run = run, .opaque = opaque };
	mutex_init(&w->lock);
	pthread_cond_init(&w->wake, NULL);
}

bool worker_take(struct worker *w)
{
	bool pending;

	mutex_lock(&w->lock);
	pending = w->pending;
	w->pending = false;
	mutex_unlock(&w->lock);
	return pending;
}

/* Sleep until there is something to do; false: the end. */
static bool wait_for_kick(struct worker *w) EXCLUDES(w->lock)
{
	bool go_on;

	mutex_lock(&w->lock);
	while (!w->pending && !w->stop)
		pthread_cond_wait(&w->wake, &w->lock.m);
	w->pending = false;
	go_on = !w->stop;
	mutex_unlock(&w->lock);
	return go_on;
}

static void *worker_main(void *opaque)
{
	struct worker *w = opaque;

	while (wait_for_kick(w))
		w->run(w->opaque);
	return NULL;
}

int worker_start(struct worker *w)
{
	sigset_t all, old;
	int err;

	if (w->started)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&w->thread, NULL, worker_main, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		return -ENOMEM;
	w->started = true;
	return 0;
}

void worker_fini(struct worker *w)
{
	mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_signal(&w->wake);
	mutex_unlock(&w->lock);
	if (w->started)
		pthread_join(w->thread, NULL);
	pthread_cond_destroy(&w->wake);
	mutex_fini(&w->lock);
}

void worker_kick(struct worker *w)
{
	mutex_lock(&w->lock);
	w->pending = true;
	pthread_cond_signal(&w->wake);
	mutex_unlock(&w->lock);
}
