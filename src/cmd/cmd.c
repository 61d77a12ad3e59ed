// SPDX-License-Identifier: BSD-3-Clause
/* See cmd.h. */
#include "cmd/cmd.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void complain(const char *fmt, ...)
{
	va_list ap;

	fputs("nestor: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static double seconds_since_start(void)
{
	static struct timespec start;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!start.tv_sec && !start.tv_nsec)
		start = now;
	return (double)(now.tv_sec - start.tv_sec) + 1e-9 * (double)(now.tv_nsec - start.tv_nsec);
}

void progress(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "[nestor] %5.1f s  ", seconds_since_start());
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static void log_write(void *opaque, enum nst_log_level level, const char *message)
{
	static const char *const names[] = { "error: ", "warning: ", "", "debug: " };

	fprintf(stderr, "nestor: %s%s\n", names[level], message);
}

const struct nst_log *cmd_log(enum nst_log_level level)
{
	static struct nst_log log = { .write = log_write };

	log.level = level;
	return &log;
}

char *cache_path(const char *name)
{
	const char *dir = getenv("NESTOR_CACHE"), *sub = "";
	char *path;

	if (!dir || !*dir) {
		dir = getenv("XDG_CACHE_HOME");
		sub = "/nestor";
	}
	if (!dir || !*dir) {
		dir = getenv("HOME");
		sub = "/.cache/nestor";
	}
	if (!dir || !*dir || asprintf(&path, "%s%s/%s", dir, sub, name) < 0)
		return NULL;
	return path;
}
