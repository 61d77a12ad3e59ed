// SPDX-License-Identifier: BSD-3-Clause
/* See iasl.h. */
#include "iasl.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Run iasl, quietly: its exit status. -ENOENT if there is none. */
static int run_iasl(char *option, char *file)
{
	char name[] = "iasl", *argv[] = { name, option, file, NULL };
	posix_spawn_file_actions_t quiet;
	extern char **environ;
	int ret, status;
	pid_t pid;

	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&quiet, 2, "/dev/null", O_WRONLY, 0);
	ret = posix_spawnp(&pid, argv[0], &quiet, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&quiet);
	if (ret)
		return -ret;
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -ECHILD;
	return WEXITSTATUS(status) == 127 ? -ENOENT : WEXITSTATUS(status);
}

static size_t read_text(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "r");
	size_t n = file ? fread(text, 1, size - 1, file) : 0;

	text[n] = 0;
	if (file)
		fclose(file);
	return n;
}

void iasl_disassemble(const void *table, size_t size, char *text, size_t text_size)
{
	char option[] = "-d", dir[] = "/tmp/nestor-iasl-XXXXXX", aml[64], dsl[64];
	size_t length;
	int fd, ret;

	assert_non_null(mkdtemp(dir));
	snprintf(aml, sizeof(aml), "%s/table.dat", dir);
	snprintf(dsl, sizeof(dsl), "%s/table.dsl", dir);
	fd = open(aml, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, table, size), size);
	close(fd);
	ret = run_iasl(option, aml);
	length = read_text(dsl, text, text_size);
	unlink(aml);
	unlink(dsl);
	rmdir(dir);
	assert_int_equal(ret, 0);
	assert_true(length > 0);
	assert_null(strstr(text, "Incorrect checksum"));
	assert_null(strstr(text, "nvalid"));
}

void iasl_expect(const char **at, const char *label, const char *value)
{
	const char *found = strstr(*at, label);

	assert_non_null(found);
	found = strstr(found, " : ");
	assert_non_null(found);
	*at = found + 3;
	assert_int_equal(strncmp(*at, value, strlen(value)), 0);
}

int iasl_is_there(void)
{
	char option[] = "-v";

	return run_iasl(option, NULL) != -ENOENT;
}

void iasl_skipped(void **state)
{
}
