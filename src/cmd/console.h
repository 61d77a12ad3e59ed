/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the guest prints on its serial console: lines "NESTOR-GUEST: KEY VALUE" are for
 * us, the last of the others are kept to be shown if something goes wrong.
 */
#ifndef CMD_CONSOLE_H
#define CMD_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>

enum { CONSOLE_KEPT_LINES = 40, CONSOLE_LINE_MAX = 240 };

struct console {
	bool quiet; /* show the guest's own reports as progress */
	char line[CONSOLE_LINE_MAX];
	size_t length;
	char kept[CONSOLE_KEPT_LINES][CONSOLE_LINE_MAX];
	unsigned int num_lines; /* ever */
	bool ok, failed;	/* the guest's verdict */
	double boot_seconds;	/* < 0 until the guest has said */
};

void console_init(struct console *console, bool quiet);
void console_take(struct console *console, const char *bytes, size_t size);
/* The kept lines, on stderr. */
void console_show_end(const struct console *console);

#endif
