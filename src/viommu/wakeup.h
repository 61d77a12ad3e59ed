/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a unit has its VMM call nst_viommu_process(): one descriptor that is readable while there is
 * something to do. It is an epoll of the host's queues for the unit, and of an eventfd for work
 * that a run has left.
 */
#ifndef VIOMMU_WAKEUP_H
#define VIOMMU_WAKEUP_H

#include <nestor/types.h>

#include <stdbool.h>

struct wakeup {
	int poll_fd; /* nst_viommu_fd() */
	int work_fd;
};

/* Errors: those of eventfd(2) and epoll_create1(2), negative. */
NST_MUST_CHECK int wakeup_init(struct wakeup *w);
void wakeup_fini(struct wakeup *w);

/* There is work left. Any thread, as often as it likes. */
void wakeup_announce(const struct wakeup *w);
/* Was there any announced since the last call? */
bool wakeup_take(const struct wakeup *w);

/* A queue of the host. Errors: those of epoll_ctl(2), negative. */
NST_MUST_CHECK int wakeup_watch(const struct wakeup *w, int fd);
/* Before it is closed: the host may have a duplicate, which close() would leave in the set. */
void wakeup_unwatch(const struct wakeup *w, int fd);

#endif
