// SPDX-License-Identifier: BSD-3-Clause
/* See trace_file.h. */
#include "cmd/trace_file.h"

#include "cmd/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int trace_file_open(const char *path, struct trace_file *out)
{
	const char *suffix = path ? strrchr(path, '.') : NULL;

	*out = (struct trace_file){ .fd = -1, .json = suffix && !strcmp(suffix, ".jsonl") };
	if (!path)
		return -1;
	out->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
	if (out->fd >= 0)
		return -1;
	complain("cannot write the trace %s: %s", path, strerror(errno));
	return EXIT_USAGE;
}

void trace_file_close(struct trace_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
}
