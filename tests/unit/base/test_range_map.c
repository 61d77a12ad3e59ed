// SPDX-License-Identifier: BSD-3-Clause
/* range_map against a naive model: one owner per page of a small space. */
#include "test.h"

#include "base/alloc.h"
#include "base/range_map.h"

#include <errno.h>
#include <string.h>

enum { PAGES = 64 };

static void check_against(const struct range_map *map, const int *model)
{
	for (uint64_t a = 0; a < PAGES; a++) {
		uint64_t left = 0;
		const struct mem_range *r = range_map_find(map, a, &left);

		assert_int_equal(model[a] != 0, r != NULL);
		if (!r)
			continue;
		assert_int_equal(r->hva.v + (a - r->start), (uint64_t)model[a] * 1000 + a);
		assert_int_equal(left, r->last - a + 1);
	}
}

static void random_operations_agree_with_the_model(void **state)
{
	struct range_map map;
	int model[PAGES] = { 0 };
	uint64_t seed = 1;

	range_map_init(&map);
	for (int step = 1; step < 20000; step++) {
		uint64_t start = test_random(&seed) % PAGES;
		uint64_t last = start + test_random(&seed) % 8;

		if (last >= PAGES)
			last = PAGES - 1;
		if (test_random(&seed) % 2) {
			struct mem_range r = { start, last, { (uint64_t)step * 1000 + start }, 3, NULL };
			bool taken = false;

			for (uint64_t a = start; a <= last; a++)
				taken |= model[a] != 0;
			assert_int_equal(range_map_insert(&map, &r), taken ? -EEXIST : 0);
			for (uint64_t a = start; !taken && a <= last; a++)
				model[a] = step;
		} else {
			size_t at = range_map_lower_bound(&map, start);

			if (at == map.count)
				continue;
			for (uint64_t a = map.ranges[at].start; a <= map.ranges[at].last; a++)
				model[a] = 0;
			range_map_remove_at(&map, at);
		}
		if (step % 64 == 0)
			check_against(&map, model);
	}
	range_map_fini(&map);
}

static void whole_space_and_bad_ranges(void **state)
{
	struct range_map map;
	uint64_t left = 0;
	struct mem_range all = { 0, UINT64_MAX, { 5 }, 3, NULL };
	struct mem_range backwards = { 5, 4, { 0 }, 3, NULL };

	range_map_init(&map);
	assert_int_equal(range_map_insert(&map, &backwards), -EINVAL);
	assert_int_equal(range_map_insert(&map, &all), 0);
	assert_int_equal(range_map_insert(&map, &all), -EEXIST);
	assert_non_null(range_map_find(&map, 0, &left));
	assert_true(left == UINT64_MAX);
	assert_non_null(range_map_find(&map, UINT64_MAX, &left));
	assert_int_equal(left, 1);
	range_map_fini(&map);
}

static void refused_memory_changes_nothing(void **state)
{
	struct range_map map;
	struct mem_range r = { 0, 1, { 0 }, 3, NULL };
	uint64_t left;

	range_map_init(&map);
	alloc_fail_nth(1);
	assert_int_equal(range_map_insert(&map, &r), -ENOMEM);
	assert_null(range_map_find(&map, 0, &left));
	assert_int_equal(range_map_insert(&map, &r), 0);
	range_map_fini(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_agree_with_the_model),
		cmocka_unit_test(whole_space_and_bad_ranges),
		cmocka_unit_test(refused_memory_changes_nothing),
	};

	return cmocka_run_group_tests_name("range_map", tests, NULL, NULL);
}
