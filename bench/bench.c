// SPDX-License-Identifier: BSD-3-Clause
/* See bench.h. */
#include "bench.h"

#include "base/bits.h"

#include <err.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MAX_THREADS = 8 };

/* --- floors ----------------------------------------------------------------------------- */

bool floor_system_call(void *unused, unsigned int operations)
{
	for (unsigned int i = 0; i < operations; i++)
		if (syscall(SYS_getppid) < 0)
			return false;
	return true;
}

struct echo {
	int there, back;
	unsigned int operations;
	bool ok;
};

static void *echo(void *opaque)
{
	struct echo *e = opaque;
	uint64_t count;

	e->ok = true;
	for (unsigned int i = 0; i < e->operations && e->ok; i++)
		e->ok = read(e->there, &count, sizeof(count)) == sizeof(count) &&
			write(e->back, &count, sizeof(count)) == sizeof(count);
	return NULL;
}

/* To another thread and back: what one message between two threads costs both of them. */
bool floor_eventfd_round_trip(void *unused, unsigned int operations)
{
	struct echo e = { eventfd(0, 0), eventfd(0, 0), operations, false };
	uint64_t count = 1;
	pthread_t thread;
	bool ok = e.there >= 0 && e.back >= 0 && !pthread_create(&thread, NULL, echo, &e);

	for (unsigned int i = 0; i < operations && ok; i++)
		ok = write(e.there, &count, sizeof(count)) == sizeof(count) &&
		     read(e.back, &count, sizeof(count)) == sizeof(count);
	if (ok)
		pthread_join(thread, NULL);
	close(e.there);
	close(e.back);
	return ok && e.ok;
}

static const struct bench_row floor_rows[] = {
	{ .name = "a system call", .run = floor_system_call },
	{ .name = "an eventfd to a thread and back", .run = floor_eventfd_round_trip },
};
static const struct bench_group floors = { .rows = floor_rows, .num_rows = ARRAY_SIZE(floor_rows) };

/* --- samples ---------------------------------------------------------------------------- */

struct sample {
	bench_fn *fn;
	void *opaque;
	unsigned int operations;
	bool ok;
};

static void *take(void *opaque)
{
	struct sample *s = opaque;

	s->ok = s->fn(s->opaque, s->operations);
	return NULL;
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static bool measure(struct sample *sample, unsigned int threads, double *ns)
{
	struct sample samples[MAX_THREADS];
	pthread_t ids[MAX_THREADS];
	uint64_t start = cpu_ns();
	bool ok = true;

	for (unsigned int i = 1; i < threads; i++) {
		samples[i] = *sample;
		if (pthread_create(&ids[i], NULL, take, &samples[i]))
			errx(1, "no thread");
	}
	take(sample);
	for (unsigned int i = 1; i < threads; i++) {
		pthread_join(ids[i], NULL);
		ok &= samples[i].ok;
	}
	*ns = (double)(cpu_ns() - start) / sample->operations / threads;
	return ok && sample->ok;
}

/* --- commands --------------------------------------------------------------------------- */

static const struct bench_group *const groups[] = { &floors, &bench_soft_host, &bench_translate,
						    &bench_passthrough };

static const struct bench_row *find(const char *name)
{
	static bool prepared[ARRAY_SIZE(groups)];

	for (size_t g = 0; g < ARRAY_SIZE(groups); g++)
		for (size_t i = 0; i < groups[g]->num_rows; i++) {
			if (strcmp(groups[g]->rows[i].name, name))
				continue;
			if (groups[g]->prepare && !prepared[g])
				groups[g]->prepare();
			prepared[g] = true;
			return &groups[g]->rows[i];
		}
	return NULL;
}

/* NAME has blanks: what is measured, and how often, are the last two words. */
static bool run_line(char *line)
{
	char *count = strrchr(line, ' '), *what;
	const struct bench_row *row;
	struct sample sample;
	double ns;

	if (!count)
		return false;
	*count = '\0';
	what = strrchr(line, ' ');
	if (!what || sscanf(count + 1, "%u", &sample.operations) != 1 || !sample.operations)
		return false;
	*what = '\0';
	row = find(line);
	if (!row)
		return false;
	sample.fn = strcmp(what + 1, "floor") ? row->run : row->floor;
	sample.opaque = row->opaque;
	if (!sample.fn)
		return false;
	if (measure(&sample, MAX(row->threads, 1u), &ns))
		printf("ok %.3f\n", row->count ? row->count(row->opaque) : ns);
	else
		printf("wrong\n");
	return true;
}

int main(void)
{
	char line[256];

	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		if (!run_line(line))
			errx(2, "\"%s\" is not known", line);
		fflush(stdout);
	}
	return 0;
}
