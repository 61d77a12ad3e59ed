/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Formatting in front of struct nst_log. A NULL log is silent. The level is
 * tested before the arguments are evaluated, so debug messages cost a compare.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <nestor/log.h>

void log_printf(const struct nst_log *log, enum nst_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define log_at(log, lvl, ...)                                  \
	do {                                                   \
		const struct nst_log *log__ = (log);           \
		if (log__ && (lvl) <= log__->level)            \
			log_printf(log__, (lvl), __VA_ARGS__); \
	} while (0)

#define log_error(log, ...) log_at(log, NST_LOG_ERROR, __VA_ARGS__)
#define log_warn(log, ...) log_at(log, NST_LOG_WARN, __VA_ARGS__)
#define log_info(log, ...) log_at(log, NST_LOG_INFO, __VA_ARGS__)
#define log_debug(log, ...) log_at(log, NST_LOG_DEBUG, __VA_ARGS__)

#endif
