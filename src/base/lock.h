/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Locks that say in the type system who must hold them.
 *
 * clang's -Wthread-safety reads the annotations; gcc sees plain pthread locks.
 * The order of all locks is in docs/locking.md and is repeated beside each one.
 */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>

#if defined(__clang__)
#define LOCK_ATTR(x) __attribute__((x))
#else
#define LOCK_ATTR(x)
#endif
/* For people: clang 14 cannot name a sibling member in C. REQUIRES() it does check. */
#define GUARDED_BY(l)
#define REQUIRES(...) LOCK_ATTR(requires_capability(__VA_ARGS__))
#define REQUIRES_SHARED(...) LOCK_ATTR(requires_shared_capability(__VA_ARGS__))
#define EXCLUDES(...) LOCK_ATTR(locks_excluded(__VA_ARGS__))
#define NO_LOCK_ANALYSIS LOCK_ATTR(no_thread_safety_analysis)

struct LOCK_ATTR(capability("mutex")) mutex {
	pthread_mutex_t m;
};

static inline void mutex_init(struct mutex *l)
{
	pthread_mutex_init(&l->m, NULL);
}

static inline void mutex_fini(struct mutex *l)
{
	pthread_mutex_destroy(&l->m);
}

static inline void mutex_lock(struct mutex *l) LOCK_ATTR(acquire_capability(l)) NO_LOCK_ANALYSIS
{
	pthread_mutex_lock(&l->m);
}

static inline bool mutex_trylock(struct mutex *l)
	LOCK_ATTR(try_acquire_capability(true, l)) NO_LOCK_ANALYSIS
{
	return !pthread_mutex_trylock(&l->m);
}

static inline void mutex_unlock(struct mutex *l) LOCK_ATTR(release_capability(l)) NO_LOCK_ANALYSIS
{
	pthread_mutex_unlock(&l->m);
}

/* Writers are preferred: a flood of readers cannot starve an invalidation. */
struct LOCK_ATTR(capability("rwlock")) rwlock {
	pthread_rwlock_t l;
};

static inline void rwlock_init(struct rwlock *l)
{
	pthread_rwlockattr_t attr;

	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&l->l, &attr);
	pthread_rwlockattr_destroy(&attr);
}

static inline void rwlock_fini(struct rwlock *l)
{
	pthread_rwlock_destroy(&l->l);
}

static inline void rwlock_read(struct rwlock *l)
	LOCK_ATTR(acquire_shared_capability(l)) NO_LOCK_ANALYSIS
{
	pthread_rwlock_rdlock(&l->l);
}

static inline void rwlock_read_end(struct rwlock *l)
	LOCK_ATTR(release_shared_capability(l)) NO_LOCK_ANALYSIS
{
	pthread_rwlock_unlock(&l->l);
}

static inline void rwlock_write(struct rwlock *l) LOCK_ATTR(acquire_capability(l)) NO_LOCK_ANALYSIS
{
	pthread_rwlock_wrlock(&l->l);
}

static inline void rwlock_write_end(struct rwlock *l)
	LOCK_ATTR(release_capability(l)) NO_LOCK_ANALYSIS
{
	pthread_rwlock_unlock(&l->l);
}

#endif
