// SPDX-License-Identifier: BSD-3-Clause
/* See control.h. */
#include "cmd/control.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Left behind by a process that was killed: nobody listens. */
static bool is_dead(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool refused = connect(fd, (const struct sockaddr *)address, sizeof(*address)) &&
		       errno == ECONNREFUSED;
	struct stat st;

	close(fd);
	return refused && !stat(address->sun_path, &st) && S_ISSOCK(st.st_mode);
}

static int listen_at(int fd, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	mode_t mask;
	int ret;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	mask = umask(0077); /* its owner's, from the first moment on */
	ret = bind(fd, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
	if (ret == -EADDRINUSE && is_dead(&address)) {
		unlink(path);
		ret = bind(fd, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
	}
	umask(mask);
	return ret ? ret : listen(fd, 4) ? -errno : 0;
}

int control_init(struct control *c, const char *path)
{
	int ret;

	*c = (struct control){ .listener = -1, .client = -1 };
	if (!path)
		return 0;
	c->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->listener < 0)
		return -errno;
	ret = listen_at(c->listener, path);
	if (ret) {
		close(c->listener);
		c->listener = -1;
		return ret;
	}
	c->path = path;
	return 0;
}

static void drop_client(struct control *c)
{
	if (c->client >= 0)
		close(c->client);
	c->client = -1;
	c->used = 0;
}

void control_fini(struct control *c)
{
	drop_client(c);
	if (c->listener >= 0)
		close(c->listener);
	if (c->path)
		unlink(c->path);
	*c = (struct control){ .listener = -1, .client = -1 };
}

int control_accept(struct control *c)
{
	int fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return -1;
	if (c->client >= 0) {
		static const char busy[] = "error: somebody else is connected\n";

		(void)!send(fd, busy, sizeof(busy) - 1, MSG_NOSIGNAL);
		close(fd);
		return -1;
	}
	c->client = fd;
	return fd;
}

static const char *take_line(struct control *c)
{
	char *end = memchr(c->buffer, '\n', c->used);
	size_t length;

	if (!end)
		return NULL;
	length = (size_t)(end - c->buffer);
	memcpy(c->line, c->buffer, length);
	c->line[length] = '\0';
	c->used -= length + 1;
	memmove(c->buffer, end + 1, c->used);
	return c->line;
}

const char *control_read(struct control *c)
{
	const char *line;
	ssize_t n;

	while (!(line = take_line(c))) {
		if (c->client < 0)
			return NULL;
		if (c->used == sizeof(c->buffer)) {
			control_say(c, "error: no command is that long");
			drop_client(c);
			return NULL;
		}
		n = recv(c->client, c->buffer + c->used, sizeof(c->buffer) - c->used, 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return NULL;
		if (n <= 0) {
			drop_client(c);
			return NULL;
		}
		c->used += (size_t)n;
	}
	return line;
}

/* An answer is far smaller than any socket buffer: a client that lets it fill gets no more. */
void control_say(struct control *c, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	int n;

	if (c->client < 0)
		return;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text) - 1, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n > sizeof(text) - 2)
		n = sizeof(text) - 2;
	text[n] = '\n';
	if (send(c->client, text, (size_t)n + 1, MSG_NOSIGNAL | MSG_DONTWAIT) != n + 1)
		drop_client(c);
}
