/* SPDX-License-Identifier: BSD-3-Clause */
/* A walk and an invalidation at the same time, without a chance: each waits where it is to. */
#ifndef TESTS_UNIT_SMMUV3_RACE_H
#define TESTS_UNIT_SMMUV3_RACE_H

#include "rig.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct race {
	struct rig *rig;
	uint64_t page;		    /* a table that the walk comes to late */
	void *(*walk)(void *rig);   /* returns where it led */
	void *(*invalidate)(void *rig);
	uint64_t *word, value;	    /* of a table above: what the guest changes meanwhile */
};

/* A table page that cannot be read for a while: whoever walks there waits in the handler. */
static struct {
	void *page;
	int arrived[2], go_on[2]; /* pipes */
} gate;

static inline void wait_at_the_gate(int signal)
{
	char c = 0;

	if (write(gate.arrived[1], &c, 1) != 1 || read(gate.go_on[0], &c, 1) != 1 ||
	    mprotect(gate.page, 4096, PROT_READ | PROT_WRITE))
		abort();
}

/* With a writer waiting, who prefers writers lets no reader in. */
static inline bool somebody_waits_to_invalidate(struct rig *rig)
{
	pthread_rwlock_t *lock = &rig_unit(rig)->xlate.lock.l;

	if (pthread_rwlock_tryrdlock(lock))
		return true;
	pthread_rwlock_unlock(lock);
	return false;
}

/*
 * The walk is in @page, having read what stood in @word, when that changes and is invalidated; the
 * invalidation waits for it. Returns where the walk led.
 */
static inline uint64_t race_run(const struct race *r)
{
	struct sigaction action = { .sa_handler = wait_at_the_gate }, before;
	pthread_t threads[2];
	void *gpa;
	char c = 0;

	gate.page = mem64(r->rig, r->page);
	ok(pipe(gate.arrived));
	ok(pipe(gate.go_on));
	ok(sigaction(SIGSEGV, &action, &before));
	ok(mprotect(gate.page, 4096, PROT_NONE));
	ok(pthread_create(&threads[0], NULL, r->walk, r->rig));
	assert_int_equal(read(gate.arrived[0], &c, 1), 1);
	*r->word = r->value;
	ok(pthread_create(&threads[1], NULL, r->invalidate, r->rig));
	while (!somebody_waits_to_invalidate(r->rig))
		sched_yield();
	assert_int_equal(write(gate.go_on[1], &c, 1), 1);
	ok(pthread_join(threads[0], &gpa));
	ok(pthread_join(threads[1], NULL));
	ok(sigaction(SIGSEGV, &before, NULL));
	for (int i = 0; i < 2; i++) {
		close(gate.arrived[i]);
		close(gate.go_on[i]);
	}
	return (uintptr_t)gpa;
}

#endif
