// SPDX-License-Identifier: BSD-3-Clause
/* See doctor_report.h. The table: one line for a check, and below it what to do. */
#include "cmd/doctor_report.h"

#include <stdio.h>

static void print_checks(const struct verdict *v)
{
	for (unsigned int i = 0; i < v->num_checks; i++) {
		const struct check *check = &v->checks[i];

		printf("  %-7s %-15s %s\n", check_state_name(check->state), check->key,
		       check->value);
		if (*check->advice)
			printf("  %-7s %-15s -> %s\n", "", "", check->advice);
	}
}

static void print_nesting(const struct verdict *v)
{
	if (v->nesting == CHECK_OK)
		puts("nesting would work");
	else
		printf("%s: %s\n", v->nesting == CHECK_NO ? "no nesting" : "cannot tell",
		       v->reason);
}

static void print_device(const struct diagnosis *d)
{
	if (d->brief) {
		printf("%s %s  ", d->name, d->what);
		print_nesting(&d->verdict);
		return;
	}
	printf("\n%s %s\n", d->name, d->what);
	print_checks(&d->verdict);
	fputs("  => ", stdout);
	print_nesting(&d->verdict);
	if (*d->verdict.advice)
		printf("     %s\n", d->verdict.advice);
}

void doctor_print(const struct verdict *machine, const struct diagnosis *devices,
		  unsigned int num_devices)
{
	puts("this machine");
	print_checks(machine);
	if (num_devices && devices->brief)
		puts("");
	for (unsigned int i = 0; i < num_devices; i++)
		print_device(&devices[i]);
}
