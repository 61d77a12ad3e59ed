/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Benchmarks of functions of the library, in its process: rows of CPU time per operation, and
 * beside each the least that has to happen for it on this machine, its floor. run.py asks for one
 * sample at a time, by turns with everything else it measures:
 *
 *	bench_micro NAME own|floor OPERATIONS	on stdin, a line
 *	ok NS | wrong				on stdout
 *
 * A row checks what it measured: one that did something else is wrong, however fast.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* So many operations; false: they did not do what they should. */
typedef bool bench_fn(void *opaque, unsigned int operations);

struct bench_row {
	const char *name;
	bench_fn *run;
	bench_fn *floor; /* or NULL */
	void *opaque;
	unsigned int threads;	       /* that do the operations of a run each; 0 is 1 */
	double (*count)(void *opaque); /* what was counted, in place of time; or NULL */
};

/* A file's rows; what they need is made with the first call of prepare(). */
struct bench_group {
	void (*prepare)(void);
	const struct bench_row *rows;
	size_t num_rows;
};

extern const struct bench_group bench_soft_host, bench_translate, bench_passthrough;

/* The least that has to happen for things. */
bool floor_system_call(void *unused, unsigned int operations);
bool floor_eventfd_round_trip(void *unused, unsigned int operations);

#endif
