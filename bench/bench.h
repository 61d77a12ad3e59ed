/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Benchmarks: rows of time per operation, each the median of several rounds, and beside it what
 * the machine needs for the least that has to happen. A row checks what it measured:
 * one that did something else fails the program.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct bench_row {
	const char *name;
	const char *floor_name;	 /* "4 KiB memcpy" */
	unsigned int operations; /* in a round */
	/* One round, whole; false: it did not do what it should. */
	bool (*run)(void *opaque, unsigned int operations);
	/* The same number of the least that has to happen. */
	bool (*floor)(void *opaque, unsigned int operations);
	void *opaque;
};

/*
 * Measures @rows in turns, so that what slows the machine for a while slows all of them, and
 * prints a table; @json may be NULL. Returns false if a row failed, after saying which.
 */
bool bench_run(const struct bench_row *rows, unsigned int count, FILE *json);

#endif
