// SPDX-License-Identifier: BSD-3-Clause
/* See wakeup.h. */
#include "viommu/wakeup.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

int wakeup_init(struct wakeup *w)
{
	int ret;

	w->work_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->work_fd < 0)
		return -errno;
	w->poll_fd = epoll_create1(EPOLL_CLOEXEC);
	ret = w->poll_fd < 0 ? -errno : wakeup_watch(w, w->work_fd);
	if (!ret)
		return 0;
	close(w->work_fd);
	if (w->poll_fd >= 0)
		close(w->poll_fd);
	return ret;
}

void wakeup_fini(struct wakeup *w)
{
	close(w->poll_fd);
	close(w->work_fd);
}

void wakeup_announce(const struct wakeup *w)
{
	const uint64_t one = 1;
	ssize_t n = write(w->work_fd, &one, sizeof(one));

	(void)n; /* a full counter says it already */
}

bool wakeup_take(const struct wakeup *w)
{
	uint64_t announced;

	return read(w->work_fd, &announced, sizeof(announced)) == sizeof(announced);
}

int wakeup_watch(const struct wakeup *w, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(w->poll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

void wakeup_unwatch(const struct wakeup *w, int fd)
{
	epoll_ctl(w->poll_fd, EPOLL_CTL_DEL, fd, NULL);
}
