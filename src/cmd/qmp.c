// SPDX-License-Identifier: BSD-3-Clause
/*
 * See qmp.h. Messages are JSON objects one after the other; the tokener finds their ends.
 * A command's name is its id too, which comes back with the answer.
 */
#include "cmd/qmp.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int qmp_init(struct qmp *qmp, int fd, const struct qmp_ops *ops, void *opaque)
{
	*qmp = (struct qmp){
		.fd = fd,
		.ops = ops,
		.opaque = opaque,
		.tokener = json_tokener_new(),
	};
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
int qmp_execute(struct qmp *qmp, const char *command, const char *arguments)
{
	char line[1024];
	int n = snprintf(line, sizeof(line), "{\"execute\":\"%s\",\"id\":\"%s\"%s%s}\n", command,
			 command, arguments ? ",\"arguments\":" : "", arguments ? arguments : "");

	return send(qmp->fd, line, (size_t)n, MSG_NOSIGNAL) == n ? 0 : -EPIPE;
}

static struct json_object *get(struct json_object *object, const char *key)
{
	struct json_object *value = NULL;

	if (json_object_is_type(object, json_type_object))
		json_object_object_get_ex(object, key, &value);
	return value;
}

static size_t length(struct json_object *array)
{
	return json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
}

/* The string at @key, or "". */
static const char *string(struct json_object *object, const char *key)
{
	const char *text = json_object_get_string(get(object, key));

	return text ? text : "";
}

/* BAR0 of @device, if firmware has placed it and turned memory decoding on; else 0. */
static uint64_t bar_of(struct json_object *device)
{
	struct json_object *regions = get(device, "regions");

	for (size_t i = 0; i < length(regions); i++) {
		struct json_object *region = json_object_array_get_idx(regions, i);
		int64_t address = json_object_get_int64(get(region, "address"));

		if (json_object_get_int(get(region, "bar")) == 0 && address > 0)
			return (uint64_t)address;
	}
	return 0;
}

/* The devices of a bus, and of those behind its bridges. */
static void take_functions(struct qmp *qmp, struct json_object *devices)
{
	for (size_t i = 0; i < length(devices); i++) {
		struct json_object *device = json_object_array_get_idx(devices, i);
		struct json_object *bridge = get(device, "pci_bridge");
		const struct qmp_function function = {
			.id = string(device, "qdev_id"),
			.bar0 = bar_of(device),
			.secondary = (unsigned int)json_object_get_int(
				get(get(bridge, "bus"), "secondary")),
		};

		qmp->ops->function(qmp->opaque, &function);
		take_functions(qmp, get(bridge, "devices"));
	}
}

static int take_answer(struct qmp *qmp, struct json_object *message)
{
	struct json_object *answer = get(message, "return"), *error = get(message, "error");
	const char *command = string(message, "id");

	if (!strcmp(command, "qmp_capabilities")) {
		qmp->ready = true;
		qmp->ops->ready(qmp->opaque);
		return 0;
	}
	for (size_t i = 0; i < length(answer); i++)
		take_functions(qmp, get(json_object_array_get_idx(answer, i), "devices"));
	qmp->ops->done(qmp->opaque, command, error ? string(error, "desc") : NULL);
	return 0;
}

static int take_message(struct qmp *qmp, struct json_object *message)
{
	if (get(message, "QMP"))
		return qmp_execute(qmp, "qmp_capabilities", NULL);
	if (get(message, "return") || get(message, "error"))
		return take_answer(qmp, message);
	if (get(message, "event"))
		qmp->ops->event(qmp->opaque, string(message, "event"),
				string(get(message, "data"), "device"));
	return 0;
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
