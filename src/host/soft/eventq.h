/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What fault queues and vEVENT queues share: an object with a descriptor from which a
 * program reads events, and which poll(2) calls readable while there are some.
 *
 * The caller's descriptor is one of the system's (host.c), for poll(2): an eventfd, which can
 * always be written to, or for a queue that takes no answers the reading end of a pipe. It may be
 * closed or its number used for something else at any time, so the queue signals through
 * descriptors of its own. It holds the object and the context; the object ends when it is
 * closed and destroyed.
 */
#ifndef HOST_SOFT_EVENTQ_H
#define HOST_SOFT_EVENTQ_H

#include "host/soft/soft.h"

struct soft_eventq {
	struct soft_object obj; /* held by its descriptor */
	const struct soft_eventq_ops *ops;
	/* by soft_host.fault_lock: */
	int event;     /* what the descriptor is */
	int writer;    /* the other end of the pipe, or -1 */
	bool readable; /* what poll(2) says */
};

/* As read(2) and write(2) at offset 0, any thread. No write: there is nothing to answer. */
struct soft_eventq_ops {
	ssize_t (*read)(struct soft_host *host, struct soft_eventq *queue, void *buf, size_t count);
	ssize_t (*write)(struct soft_host *host, struct soft_eventq *queue, const void *buf,
			 size_t count);
};

/*
 * The last step of making @queue, which is reserved: open its descriptor, put its number into
 * *@out_fd, which is part of the command, and answer the caller. On failure nothing is left.
 * Errors: -EMFILE and others of eventfd(2), -EFAULT, -ENOMEM.
 */
NST_MUST_CHECK int soft_eventq_open(struct soft_ctx *ctx, struct soft_ucmd *ucmd,
				    struct soft_eventq *queue, uint32_t *out_fd)
	REQUIRES(&ctx->lock);
/* The descriptor is closed. */
void soft_eventq_fini(struct soft_eventq *queue);
/* With soft_host.fault_lock held. */
void soft_eventq_set_readable(struct soft_eventq *queue, bool readable);

#endif
