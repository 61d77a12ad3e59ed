// SPDX-License-Identifier: BSD-3-Clause
/* See suite.h. */
#include "suite.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct suite_group *groups; /* by name */
static jmp_buf end_of_case;
static _Thread_local bool in_case;

void suite_add(struct suite_group *group)
{
	struct suite_group **at = &groups;

	while (*at && strcmp((*at)->name, group->name) < 0)
		at = &(*at)->next;
	group->next = *at;
	*at = group;
}

/* --- assertions ------------------------------------------------------------------------------ */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

void suite_fail(const char *file, int line, const char *format, ...)
{
	va_list args;

	printf("# %s:%d: ", base_name(file), line);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
	if (!in_case) /* on a thread of the case, whose stack we must not leave */
		abort();
	longjmp(end_of_case, 1);
}

void suite_compare(const char *file, int line, const char *what, uint64_t got, uint64_t want,
		   bool equal)
{
	if ((got == want) == equal)
		return;
	if ((int64_t)got < 0 && (int64_t)got > -4096)
		suite_fail(file, line, "%s is %" PRId64 " (%s), %s %#" PRIx64 " (%" PRId64 ")",
			   what, (int64_t)got, strerror(-(int)got), equal ? "wanted" : "not wanted",
			   want, (int64_t)want);
	suite_fail(file, line, "%s is %#" PRIx64 ", %s %#" PRIx64 " (%" PRId64 ")", what, got,
		   equal ? "wanted" : "not wanted", want, (int64_t)want);
}

void suite_compare_memory(const char *file, int line, const void *got, const void *want,
			  size_t size)
{
	const uint8_t *a = got, *b = want;

	for (size_t i = 0; i < size; i++)
		if (a[i] != b[i])
			suite_fail(file, line, "byte %zu is %#x, wanted %#x", i, a[i], b[i]);
}

void suite_compare_string(const char *file, int line, const char *got, const char *want)
{
	if (strcmp(got, want))
		suite_fail(file, line, "\"%s\", wanted \"%s\"", got, want);
}

/* --- the table of differences ------------------------------------------------------------------
 */

struct difference {
	char name[128], why[512];
	bool seen;
};

static struct difference *differences;
static size_t num_differences;

/* Lines "CASE HOST WHY..."; '#' begins a comment. Only those of @host are kept. */
static void read_differences(const char *path, const char *host)
{
	FILE *file = fopen(path, "re");
	char line[1024];

	if (!file) {
		perror(path);
		exit(2);
	}
	while (fgets(line, sizeof(line), file)) {
		struct difference d = { .seen = false };
		char for_host[64];

		if (line[0] == '#' || line[0] == '\n')
			continue;
		if (sscanf(line, "%127s %63s %511[^\n]", d.name, for_host, d.why) != 3) {
			fprintf(stderr, "%s: not \"CASE HOST WHY\": %s", path, line);
			exit(2);
		}
		if (strcmp(for_host, host))
			continue;
		differences = realloc(differences, (num_differences + 1) * sizeof(d));
		differences[num_differences++] = d;
	}
	fclose(file);
}

static struct difference *find_difference(const char *name)
{
	for (size_t i = 0; i < num_differences; i++)
		if (!strcmp(differences[i].name, name))
			return &differences[i];
	return NULL;
}

/* --- running --------------------------------------------------------------------------------- */

static const char *const need_names[] = {
	"the software host in this process",
	"the suite's own device",
	"an Intel VT-d unit",
	"an Arm SMMUv3",
	"nested translation",
	"dirty tracking",
	"a device with PASIDs",
	"a device without PASIDs",
	"a device that does DMA on command",
	"a device that reads memory on command",
	"two devices",
	"an IOMMU that cannot nest",
	"a kernel with huge pages",
	"a device that does DMA with PASIDs",
	"a device that asks for pages on command",
	"a device that cannot ask for pages",
	"a kernel whose driver can be taken from the device",
};

static void print_missing(unsigned int missing)
{
	const char *separator = "";

	for (size_t i = 0; i < sizeof(need_names) / sizeof(need_names[0]); i++)
		if (missing >> i & 1) {
			printf("%s%s", separator, need_names[i]);
			separator = ", ";
		}
}

/* True if the case came to its end. The volatile ones live through the jump. */
static bool run_case(const struct suite_case *c)
{
	void *volatile state = NULL;
	volatile bool passed = false;

	in_case = true;
	if (!setjmp(end_of_case)) {
		void *rig = c->without_rig ? NULL : rig_open(c->needs);

		state = rig;
		c->run(&rig);
		passed = true;
	}
	in_case = false;
	if (state)
		rig_close(state);
	return passed;
}

/* One line of TAP; false if it counts as a failure. */
static bool report_case(const struct suite_group *group, const struct suite_case *c, int number)
{
	unsigned int missing = c->needs & ~rig_provides(c->needs);
	char name[128];
	struct difference *known;
	bool passed;

	snprintf(name, sizeof(name), "%s.%s", group->name, c->name);
	known = find_difference(name);
	if (known)
		known->seen = true;
	if (missing) {
		printf(known ? "not ok %d - %s: listed as different, but needs "
			     : "ok %d - %s # SKIP needs ",
		       number, name);
		print_missing(missing);
		putchar('\n');
		return !known;
	}
	passed = run_case(c);
	if (!known) {
		printf("%s %d - %s\n", passed ? "ok" : "not ok", number, name);
		return passed;
	}
	if (passed)
		printf("# listed as different, but now it agrees: remove it from the table\n");
	printf("not ok %d - %s", number, name);
	if (!passed)
		printf(" # TODO known difference: %s", known->why);
	putchar('\n');
	return !passed;
}

/* Rows of the table that no case answers to, of the groups that ran. */
static bool report_unknown_differences(const struct suite_options *options)
{
	bool fine = true;
	size_t length = options->group ? strlen(options->group) : 0;

	for (size_t i = 0; i < num_differences; i++) {
		const struct difference *d = &differences[i];

		if (d->seen || (options->group && (strncmp(d->name, options->group, length) ||
						   d->name[length] != '.')))
			continue;
		printf("# the table of differences has %s, which is no case\n", d->name);
		fine = false;
	}
	return fine;
}

int suite_run(const struct suite_options *options)
{
	int number = 0, count = 0;
	bool fine = true;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (options->differences)
		read_differences(options->differences, options->name);
	for (const struct suite_group *g = groups; g; g = g->next)
		if (!options->group || !strcmp(options->group, g->name))
			count += (int)g->count;
	if (!count) {
		fprintf(stderr, "there is no group %s\n", options->group);
		return 2;
	}
	printf("1..%d\n", count + 1);
	for (const struct suite_group *g = groups; g; g = g->next) {
		if (options->group && strcmp(options->group, g->name))
			continue;
		for (size_t i = 0; i < g->count; i++)
			fine &= report_case(g, &g->cases[i], ++number);
	}
	if (report_unknown_differences(options)) {
		printf("ok %d - differences.table\n", ++number);
	} else {
		printf("not ok %d - differences.table\n", ++number);
		fine = false;
	}
	free(differences);
	return !fine;
}
