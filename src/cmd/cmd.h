/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the command share: exit statuses, messages to the user, paths.
 */
#ifndef CMD_CMD_H
#define CMD_CMD_H

#include <nestor/log.h>

enum exit_status {
	EXIT_OK = 0,
	EXIT_FAILED = 1, /* what was asked for was tried and did not succeed */
	EXIT_USAGE = 2,	 /* what was asked for cannot be: one sentence says why */
};

/* "nestor: ..." on stderr, with a newline. */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* "[nestor]  1.2 s  ..." on stderr: progress. Time counts from the first call. */
void progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The library's messages on stderr, up to @level. */
const struct nst_log *cmd_log(enum nst_log_level level);

/* A file of the cache that scripts/setup fills ("kernel-x86_64/vmlinuz"), or NULL. To be freed. */
char *cache_path(const char *name);

int cmd_bind(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_host(int argc, char **argv);
int cmd_qtest(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_unbind(int argc, char **argv);

#endif
