// SPDX-License-Identifier: BSD-3-Clause
/* See golden.h. */
#include "golden.h"

#include "../conformance/suite.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_WIDTH 64

static struct {
	char *text, *next; /* of the file; the line to come */
	const char *file;
	unsigned int number, replayed, skipped;
} golden;

void golden_open(const char *file)
{
	char path[512];
	size_t size;
	FILE *f;

	snprintf(path, sizeof(path), GOLDEN_DIR "/%s", file);
	f = fopen(path, "r");
	assert_non_null(f);
	golden.text = calloc(1, 1 << 20);
	size = fread(golden.text, 1, (1 << 20) - 1, f);
	assert_true(size > 0 && feof(f));
	fclose(f);
	golden.file = file;
	golden.next = golden.text;
}

static bool is_noise(const char *line)
{
	static const char *const times[] = { "real\t", "user\t", "sys\t" };

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		if (!strncmp(line, times[i], strlen(times[i])))
			return true;
	return *line == '[' || !strncmp(line, "###", 3) || !*line;
}

/* The next line, cut off, or NULL at the end. */
static char *next_line(void)
{
	while (*golden.next) {
		char *line = golden.next;
		size_t length = strcspn(line, "\n");

		golden.next = line + length + (line[length] != '\0');
		line[length] = '\0';
		line[strcspn(line, "\r")] = '\0'; /* it was recorded from a serial line */
		golden.number++;
		if (!is_noise(line))
			return line;
	}
	return NULL;
}

static void expect(const char *said)
{
	const char *line = next_line();

	if (!line || strcmp(line, said))
		fail_msg("%s:%u: recorded \"%s\", replayed \"%s\"", golden.file, golden.number,
			 line ? line : "(the end)", said);
	golden.replayed++;
}

void golden_section(const char *name)
{
	const char *line;

	while ((line = next_line()))
		if (!strncmp(line, "== ", 3) && !strcmp(line + 3, name))
			return;
	fail_msg("%s has no part \"%s\"", golden.file, name);
}

void golden_line(const char *format, ...)
{
	char said[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(said, sizeof(said), format, ap);
	va_end(ap);
	expect(said);
}

void golden_result(const char *label, long ret)
{
	const char *name = ret < 0 ? strerrorname_np((int)-ret) : NULL;

	if (ret >= 0)
		golden_line("%-*s ok(%ld)", LABEL_WIDTH, label, ret);
	else
		golden_line("%-*s -%s", LABEL_WIDTH, label, name ? name : "?");
}

void golden_skip(const char *label, const char *why)
{
	const char *line = next_line();

	if (!line || strncmp(line, label, strlen(label)))
		fail_msg("%s:%u: recorded \"%s\", to be left out \"%s\"", golden.file,
			 golden.number, line ? line : "(the end)", label);
	printf("# not replayed: %s:%u: %s: %s\n", golden.file, golden.number, label, why);
	golden.skipped++;
}

void golden_close(void)
{
	const char *line = next_line();

	if (line)
		fail_msg("%s:%u: \"%s\" was not replayed", golden.file, golden.number, line);
	printf("# %s: %u lines replayed, %u not\n", golden.file, golden.replayed, golden.skipped);
	free(golden.text);
	memset(&golden, 0, sizeof(golden));
}
