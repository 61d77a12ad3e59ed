/* SPDX-License-Identifier: BSD-3-Clause */
/* The file of "--trace FILE": JSON lines if its name ends in .jsonl, else text for people. */
#ifndef CMD_TRACE_FILE_H
#define CMD_TRACE_FILE_H

#include <stdbool.h>

struct trace_file {
	int fd; /* -1 = none */
	bool json;
};

/* @path NULL: no trace. -1, or the status to exit with, the user having been told. */
int trace_file_open(const char *path, struct trace_file *out);
void trace_file_close(struct trace_file *file);

#endif
