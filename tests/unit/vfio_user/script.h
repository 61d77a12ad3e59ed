/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A script: all that a client says in a short life, each kind of command once. Its oracle
 * is what comes back when each message is sent alone and answered before the next.
 */
#ifndef TESTS_VFIO_USER_SCRIPT_H
#define TESTS_VFIO_USER_SCRIPT_H

#include "client.h"

enum { MAX_SCRIPT = 32 };

struct script {
	uint8_t bytes[4096];
	size_t ends[MAX_SCRIPT];	/* where each message ends */
	int fds[MAX_SCRIPT][4];		/* that go with it */
	unsigned int num_fds[MAX_SCRIPT];
	unsigned int count;
	size_t size;
	int memory, event;
};

/* What has come back so far, descriptors aside. */
struct answers {
	uint8_t bytes[8192];
	size_t size;
	unsigned int fds;
};

void script_init(struct fixture *f, struct script *s);
void script_fini(struct script *s);
/* script_init(), then play it in turns. The client is gone afterwards. */
void script_oracle(struct fixture *f, struct script *s, struct answers *a);
unsigned int script_message_of(const struct script *s, size_t byte);
void answers_collect(struct fixture *f, struct answers *a);
/* The script has been sent: the same answers, the same done to the device. Closes. */
void answers_check(struct fixture *f, const struct answers *want, struct answers *got);
void forget_calls(struct fixture *f);

#endif
