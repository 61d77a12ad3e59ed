/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread that does one thing whenever it is kicked: that of a simulated device. A kick that
 * comes while it is busy has it do it once more; it is never done twice at a time. Who
 * never starts the thread takes the kicks himself.
 *
 * The lock is a leaf, and run() is called without it.
 */
#ifndef BASE_WORKER_H
#define BASE_WORKER_H

#include "base/lock.h"

#include <nestor/types.h>
#include <stdbool.h>

struct worker {
	void (*run)(void *opaque);
	void *opaque;
	bool started; /* by who starts and ends it */
	pthread_t thread;
	struct mutex lock;
	pthread_cond_t wake;
	bool pending GUARDED_BY(lock), stop GUARDED_BY(lock);
};

void worker_init(struct worker *w, void (*run)(void *opaque), void *opaque);
/* Once, or again to no effect: -ENOMEM. */
NST_MUST_CHECK int worker_start(struct worker *w);
/* When this returns run() is over and does not come again. */
void worker_fini(struct worker *w);

/* Any thread, also from within run(). Never waits for it. */
void worker_kick(struct worker *w) EXCLUDES(w->lock);
/* Was it kicked since it last ran, or since the last call of this? */
bool worker_take(struct worker *w) EXCLUDES(w->lock);

#endif
