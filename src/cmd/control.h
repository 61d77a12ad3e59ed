/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The socket at which "nestor run --control PATH" takes commands: lines of text, one client at
 * a time, one line of answer for each. Never blocks; the caller polls both descriptors.
 */
#ifndef CMD_CONTROL_H
#define CMD_CONTROL_H

#include <stddef.h>

struct control {
	int listener, client; /* -1: none */
	const char *path;     /* of the listener, removed by control_fini() */
	char buffer[256];     /* @used bytes that have arrived */
	size_t used;
	char line[256]; /* what control_read() returned last */
};

/* @path NULL: there is none. Errors: -EADDRINUSE, -ENAMETOOLONG, or what socket calls give. */
int control_init(struct control *control, const char *path);
void control_fini(struct control *control);

/* Take the next client, if there is none now. Returns its descriptor, or -1. */
int control_accept(struct control *control);
/*
 * Take in what has arrived. Returns the next whole line, without its end, or NULL: nothing
 * more now, or the client is gone, and control->client is -1.
 */
const char *control_read(struct control *control);
/* A line to the client, if it is still there. */
void control_say(struct control *control, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
