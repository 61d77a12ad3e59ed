/* SPDX-License-Identifier: BSD-3-Clause */
/* What the two files of verdict.h share: how a list of checks grows. */
#ifndef CMD_VERDICT_CHECK_H
#define CMD_VERDICT_CHECK_H

#include "cmd/verdict.h"

struct check *verdict_add(struct verdict *v, const char *key, enum check_state state,
			  const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void verdict_advise(struct check *check, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
