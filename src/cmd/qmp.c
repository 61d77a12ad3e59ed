// SPDX-License-Identifier: BSD-3-Clause
/* See qmp.h. Messages are JSON objects one after the other; the tokener finds their ends. */
#include "cmd/qmp.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int qmp_init(struct qmp *qmp, int fd, const char *device_id)
{
	*qmp = (struct qmp){ .fd = fd, .device_id = device_id, .tokener = json_tokener_new() };
	return qmp->tokener ? 0 : -ENOMEM;
}

void qmp_fini(struct qmp *qmp)
{
	if (qmp->tokener)
		json_tokener_free(qmp->tokener);
	if (qmp->fd >= 0)
		close(qmp->fd);
	*qmp = (struct qmp){ .fd = -1 };
}

/* A command is far smaller than any socket buffer, so it goes whole or the peer is gone. */
static int send_command(struct qmp *qmp, const char *name)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "{\"execute\":\"%s\"}\n", name);

	return send(qmp->fd, line, (size_t)n, MSG_NOSIGNAL) == n ? 0 : -EPIPE;
}

int qmp_query_pci(struct qmp *qmp)
{
	return qmp->ready ? send_command(qmp, "query-pci") : 0;
}

static struct json_object *get(struct json_object *object, const char *key)
{
	struct json_object *value = NULL;

	if (json_object_is_type(object, json_type_object))
		json_object_object_get_ex(object, key, &value);
	return value;
}

/* BAR0 of @device, if firmware has placed it and turned memory decoding on. */
static bool bar_of(struct json_object *device, uint64_t *bar)
{
	struct json_object *regions = get(device, "regions");

	if (!json_object_is_type(regions, json_type_array))
		return false;
	for (size_t i = 0; i < json_object_array_length(regions); i++) {
		struct json_object *region = json_object_array_get_idx(regions, i);
		int64_t address = json_object_get_int64(get(region, "address"));

		if (json_object_get_int(get(region, "bar")) == 0 && address > 0) {
			*bar = (uint64_t)address;
			return true;
		}
	}
	return false;
}

/* The answer to query-pci: a list of buses, each with a list of devices. */
static bool find_bar(struct qmp *qmp, struct json_object *buses)
{
	for (size_t b = 0; b < json_object_array_length(buses); b++) {
		struct json_object *devices = get(json_object_array_get_idx(buses, b), "devices");

		for (size_t d = 0; json_object_is_type(devices, json_type_array) &&
				   d < json_object_array_length(devices);
		     d++) {
			struct json_object *device = json_object_array_get_idx(devices, d);
			const char *id = json_object_get_string(get(device, "qdev_id"));

			if (id && !strcmp(id, qmp->device_id))
				return bar_of(device, &qmp->bar);
		}
	}
	return false;
}

static int take_message(struct qmp *qmp, struct json_object *message)
{
	struct json_object *answer = get(message, "return");

	if (get(message, "QMP"))
		return send_command(qmp, "qmp_capabilities");
	if (json_object_is_type(answer, json_type_array))
		return find_bar(qmp, answer);
	if (answer && !qmp->ready) {
		qmp->ready = true;
		return qmp_query_pci(qmp);
	}
	return 0; /* events */
}

static int take_bytes(struct qmp *qmp, const char *bytes, size_t size)
{
	while (size) {
		struct json_object *message = json_tokener_parse_ex(qmp->tokener, bytes, (int)size);
		size_t used = json_tokener_get_parse_end(qmp->tokener);
		int ret;

		if (!message)
			return json_tokener_get_error(qmp->tokener) == json_tokener_continue
				       ? 0
				       : -EPROTO;
		ret = take_message(qmp, message);
		json_object_put(message);
		if (ret)
			return ret;
		bytes += used;
		size -= used;
		while (size && strchr(" \r\n", *bytes)) { /* else the tokener waits in them */
			bytes++;
			size--;
		}
	}
	return 0;
}

int qmp_read(struct qmp *qmp)
{
	char buf[4096];

	for (;;) {
		ssize_t n = recv(qmp->fd, buf, sizeof(buf), MSG_DONTWAIT);
		int ret;

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		if (n == 0)
			return -EPIPE;
		ret = take_bytes(qmp, buf, (size_t)n);
		if (ret)
			return ret;
	}
}
