/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that may be refused, and a way for tests to refuse it.
 *
 * alloc_fail_nth(n) makes the n-th allocation of the calling thread from now on
 * fail (1 = the next one); 0 disarms. The fail-nth sweeps of tests/ rely on it.
 */
#ifndef BASE_ALLOC_H
#define BASE_ALLOC_H

#include <stdlib.h>

/* Zeroed memory for @n objects of @size bytes, or NULL. Free with free(). */
void *alloc_array(size_t n, size_t size);
#define alloc_object(type) ((type *)alloc_array(1, sizeof(type)))

/* As realloc(3) for an array; the old array stays valid on failure. New part not zeroed. */
void *alloc_resize(void *old, size_t n, size_t size);

void alloc_fail_nth(unsigned int n);
/* How many allocations alloc_fail_nth() has not yet let through: 0 once it fired. */
unsigned int alloc_fail_left(void);

/* `CLEANUP(free_ptr) char *p = ...;` frees at the end of the block. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))
static inline void free_ptr(void *pp)
{
	free(*(void **)pp);
}

#endif
