// SPDX-License-Identifier: BSD-3-Clause
/* See alloc.h. The counter is per thread: a sweep never disturbs another thread. */
#include "base/alloc.h"

static _Thread_local unsigned int fail_countdown;

static int refuse(void)
{
	return fail_countdown && --fail_countdown == 0;
}

void *alloc_array(size_t n, size_t size)
{
	return refuse() ? NULL : calloc(n ? n : 1, size);
}

void *alloc_resize(void *old, size_t n, size_t size)
{
	return refuse() ? NULL : reallocarray(old, n ? n : 1, size);
}

void alloc_fail_nth(unsigned int n)
{
	fail_countdown = n;
}

unsigned int alloc_fail_left(void)
{
	return fail_countdown;
}
