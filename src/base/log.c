// SPDX-License-Identifier: BSD-3-Clause
/* See log.h: one bounded buffer per message, no allocation. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

void log_printf(const struct nst_log *log, enum nst_log_level level, const char *fmt, ...)
{
	char message[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	log->write(log->opaque, level, message);
}
