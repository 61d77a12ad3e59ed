// SPDX-License-Identifier: BSD-3-Clause
/* See console.h. The guest is hostile: what it prints is shown without control characters. */
#include "cmd/console.h"

#include "cmd/cmd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "NESTOR-GUEST: "

void console_init(struct console *console, bool quiet)
{
	*console = (struct console){ .quiet = quiet, .boot_seconds = -1 };
}

/* "KEY VALUE": the value of @key, or NULL if it is another key. */
static const char *value_of(const char *report, const char *key)
{
	size_t n = strlen(key);

	if (strncmp(report, key, n) || (report[n] && report[n] != ' '))
		return NULL;
	return report[n] ? report + n + 1 : report + n;
}

static void take_report(struct console *console, const char *report)
{
	const char *value;

	if (value_of(report, "ok"))
		console->ok = true;
	else if (value_of(report, "FAIL"))
		console->failed = true;
	else if ((value = value_of(report, "boot_seconds")))
		console->boot_seconds = strtod(value, NULL);
	if (console->quiet)
		progress("guest: %s", report);
}

static void take_line(struct console *console)
{
	console->line[console->length] = '\0';
	console->length = 0;
	if (!strncmp(console->line, PREFIX, strlen(PREFIX)))
		take_report(console, console->line + strlen(PREFIX));
	strcpy(console->kept[console->num_lines++ % CONSOLE_KEPT_LINES], console->line);
}

void console_take(struct console *console, const char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)bytes[i];

		if (c == '\n')
			take_line(console);
		else if (c >= ' ' && c != 0x7f && console->length < sizeof(console->line) - 1)
			console->line[console->length++] = (char)c;
	}
}

void console_show_end(const struct console *console)
{
	unsigned int first = console->num_lines > CONSOLE_KEPT_LINES
				     ? console->num_lines - CONSOLE_KEPT_LINES
				     : 0;

	if (!console->num_lines) {
		fputs("nestor: the guest has printed nothing\n", stderr);
		return;
	}
	fputs("nestor: the guest's last lines:\n", stderr);
	for (unsigned int i = first; i < console->num_lines; i++)
		fprintf(stderr, "    %s\n", console->kept[i % CONSOLE_KEPT_LINES]);
}
