/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the library's messages go. The library never prints: every object is
 * created with a struct nst_log, or NULL to stay silent.
 */
#ifndef NESTOR_LOG_H
#define NESTOR_LOG_H

#include <nestor/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum nst_log_level {
	NST_LOG_ERROR, /* something asked for did not happen */
	NST_LOG_WARN,  /* it happened, but the user should know */
	NST_LOG_INFO,  /* once per object or per change of state */
	NST_LOG_DEBUG, /* once per command or call */
};

/**
 * struct nst_log - a destination of messages.
 * @write: gets one message without a newline. Called from any thread, also with
 *	locks of the library held: it must not call back into the library.
 * @opaque: handed to @write.
 * @level: messages above this level are not formatted at all.
 *
 * Must outlive every object that was created with it.
 */
struct nst_log {
	void (*write)(void *opaque, enum nst_log_level level, const char *message);
	void *opaque;
	enum nst_log_level level;
};

#ifdef __cplusplus
}
#endif
#endif
