// SPDX-License-Identifier: BSD-3-Clause
/* See bench.h. */
#include "bench.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 9 };

struct samples {
	double ns[ROUNDS];
};

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static bool take(const struct bench_row *row, bool (*run)(void *, unsigned int), double *ns)
{
	double start = now_ns();
	bool ok = run(row->opaque, row->operations);

	*ns = (now_ns() - start) / row->operations;
	return ok;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void sort(struct samples *s)
{
	qsort(s->ns, ROUNDS, sizeof(s->ns[0]), compare);
}

static void print(const struct bench_row *row, struct samples *own, struct samples *least,
		  FILE *json)
{
	double median, floor;

	sort(own);
	sort(least);
	median = own->ns[ROUNDS / 2];
	floor = least->ns[ROUNDS / 2];
	printf("%-46s %9.0f  %7.0f - %-7.0f  %9.0f  %-14s %6.1f\n", row->name, median, own->ns[0],
	       own->ns[ROUNDS - 1], floor, row->floor_name, median / floor);
	if (json)
		fprintf(json,
			"%s{\"name\": \"%s\", \"ns\": %.1f, \"min_ns\": %.1f, \"max_ns\": %.1f, "
			"\"floor\": \"%s\", \"floor_ns\": %.1f}",
			ftell(json) > 2 ? ",\n" : "", row->name, median, own->ns[0],
			own->ns[ROUNDS - 1], row->floor_name, floor);
}

bool bench_run(const struct bench_row *rows, unsigned int count, FILE *json)
{
	struct samples *own = calloc(count, sizeof(*own)), *least = calloc(count, sizeof(*least));
	double warm_up;
	bool ok = own && least;

	for (unsigned int round = 0; round < ROUNDS && ok; round++) {
		if (isatty(STDERR_FILENO))
			fprintf(stderr, "\rround %u of %d", round + 1, ROUNDS);
		for (unsigned int i = 0; i < count && ok; i++) {
			ok = (round || take(&rows[i], rows[i].run, &warm_up)) &&
			     take(&rows[i], rows[i].run, &own[i].ns[round]) &&
			     take(&rows[i], rows[i].floor, &least[i].ns[round]);
			if (!ok)
				fprintf(stderr, "\nbench: \"%s\" did not do what it should\n",
					rows[i].name);
		}
	}
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r                \r");
	if (ok)
		printf("%-46s %9s  %17s  %9s  %-14s %6s\n", "", "ns/op", "min - max     ", "floor",
		       "", "ratio");
	if (json)
		fputs("[\n", json);
	for (unsigned int i = 0; i < count && ok; i++)
		print(&rows[i], &own[i], &least[i], json);
	if (json)
		fputs("\n]\n", json);
	free(own);
	free(least);
	return ok;
}
