/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What follows from the facts: a list of checks, each with a value to read, how it stands, and, if
 * it does not stand well, what to do; and for a device whether nesting would work. A pure function
 * of platform.h's and probe.h's findings. What the kernel answered when asked counts more than what
 * its files let expect.
 */
#ifndef CMD_VERDICT_H
#define CMD_VERDICT_H

#include "cmd/platform.h"
#include "cmd/probe.h"

enum check_state {
	CHECK_OK,
	CHECK_INFO,    /* good to know */
	CHECK_TODO,    /* one more step of the user */
	CHECK_NO,      /* the machine or the device cannot */
	CHECK_UNKNOWN, /* it could not be seen */
};

struct check {
	const char *key; /* in JSON, and in the table */
	enum check_state state;
	char value[PLATFORM_TEXT];
	char advice[PLATFORM_TEXT]; /* "" for none */
};

enum { VERDICT_CHECKS = 16 };

struct verdict {
	unsigned int num_checks;
	struct check checks[VERDICT_CHECKS];
	enum check_state nesting;   /* OK, NO or UNKNOWN */
	char reason[PLATFORM_TEXT]; /* why not */
	char advice[PLATFORM_TEXT]; /* what to do about it */
};

/* The machine: what every device of it needs. Its @nesting is OK unless nothing can ever work. */
void verdict_machine(const struct platform *platform, struct verdict *out);
/* @probe: NULL if the device was not asked. */
void verdict_device(const struct platform *platform, const struct platform_device *device,
		    const struct probe *probe, struct verdict *out);

/* "ok", "info", "todo", "no", "unknown" */
const char *check_state_name(enum check_state state);

#endif
