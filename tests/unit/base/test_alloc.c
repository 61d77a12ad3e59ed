// SPDX-License-Identifier: BSD-3-Clause
/* What every fail-nth sweep stands on: exactly the n-th allocation of this thread fails. */
#include "test.h"

#include "base/alloc.h"
#include "base/bits.h"

#include <pthread.h>
#include <string.h>

static bool can_allocate(void)
{
	void *p = alloc_array(1, 1);

	free(p);
	return p;
}

static void exactly_the_nth_fails(void **state)
{
	for (unsigned int n = 1; n <= 5; n++) {
		alloc_fail_nth(n);
		for (unsigned int i = 1; i <= 8; i++) {
			assert_int_equal(can_allocate(), i != n);
			assert_int_equal(alloc_fail_left(), i < n ? n - i : 0);
		}
	}
	alloc_fail_nth(2);
	alloc_fail_nth(0);
	for (int i = 0; i < 4; i++)
		assert_true(can_allocate());
}

static void *allocate_in_thread(void *arg)
{
	*(bool *)arg = can_allocate();
	return NULL;
}

static void other_threads_are_not_disturbed(void **state)
{
	bool worked = false;
	pthread_t thread;

	alloc_fail_nth(1);
	assert_int_equal(pthread_create(&thread, NULL, allocate_in_thread, &worked), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(worked);
	assert_int_equal(alloc_fail_left(), 1);
	assert_false(can_allocate());
}

static void refused_growth_keeps_the_old_array(void **state)
{
	char *old = alloc_array(4, 1), *grown;

	assert_non_null(old);
	assert_memory_equal(old, "\0\0\0\0", 4);
	memcpy(old, "abc", 4);
	alloc_fail_nth(1);
	assert_null(alloc_resize(old, 8, 1));
	assert_string_equal(old, "abc");
	grown = alloc_resize(old, 8, 1);
	assert_non_null(grown);
	assert_string_equal(grown, "abc");
	free(grown);
}

static void nothing_is_not_mistaken_for_refused(void **state)
{
	CLEANUP(free_ptr) void *nothing = alloc_array(0, 16);
	CLEANUP(free_ptr) void *shrunk = alloc_resize(alloc_array(4, 4), 0, 4);

	assert_non_null(nothing);
	assert_non_null(shrunk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exactly_the_nth_fails),
		cmocka_unit_test(other_threads_are_not_disturbed),
		cmocka_unit_test(refused_growth_keeps_the_old_array),
		cmocka_unit_test(nothing_is_not_mistaken_for_refused),
	};

	return cmocka_run_group_tests_name("alloc", tests, NULL, NULL);
}
