/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Readers that never wait, and a writer that waits until all readers who could have
 * seen the old version are gone (sleepable RCU in miniature).
 *
 *	reader:	unsigned int e = epoch_enter(&x->epoch);
 *		... load the published pointer, use it ...
 *		epoch_exit(&x->epoch, e);
 *	writer, one at a time:
 *		publish the new version;
 *		epoch_synchronize(&x->epoch);
 *		free the old one.
 *
 * There are two counters of readers; new readers use the one that `phase` names. A
 * reader may be delayed between reading `phase` and counting itself, and so count
 * itself in the other one: that is why the writer drains both.
 */
#ifndef BASE_EPOCH_H
#define BASE_EPOCH_H

#include <sched.h>
#include <stdatomic.h>

struct epoch {
	atomic_uint phase;
	atomic_uint readers[2];
};

static inline unsigned int epoch_enter(struct epoch *e)
{
	unsigned int phase = atomic_load(&e->phase);

	atomic_fetch_add(&e->readers[phase], 1);
	return phase;
}

static inline void epoch_exit(struct epoch *e, unsigned int phase)
{
	atomic_fetch_sub(&e->readers[phase], 1);
}

/* Readers are short (a table walk), so waiting is yielding. Callers serialise. */
static inline void epoch_synchronize(struct epoch *e)
{
	for (int pass = 0; pass < 2; pass++) {
		unsigned int old = atomic_load(&e->phase);

		atomic_store(&e->phase, old ^ 1);
		while (atomic_load(&e->readers[old]))
			sched_yield();
	}
}

#endif
