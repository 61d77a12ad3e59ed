// SPDX-License-Identifier: BSD-3-Clause
/* See version.h. json-c reads; the answer is four numbers and is printed. */
#include "frontend/vfio_user/version.h"

#include "base/bits.h"
#include "frontend/vfio_user/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

enum { MAX_DEPTH = 8 };

static const struct {
	const char *name;
	enum version_key key;
	int64_t min, max; /* what a client may say */
	uint32_t ours;
} numbers[] = {
	/* The most useful first: the last ones are dropped from an answer that is too long. */
	{ "max_msg_fds", VERSION_MAX_MSG_FDS, 0, UINT32_MAX, WIRE_MAX_FDS },
	{ "max_data_xfer_size", VERSION_MAX_DATA_XFER_SIZE, 1, INT64_MAX, WIRE_MAX_DATA },
	{ "max_dma_maps", VERSION_MAX_DMA_MAPS, 1, INT64_MAX, WIRE_MAX_DMA_MAPS },
	{ "pgsizes", VERSION_PGSIZES, 4096, INT64_MAX, PAGE_SIZE_4K },
};

static int decode_capabilities(struct json_object *caps, struct version_caps *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		struct json_object *value;
		int64_t n;

		if (!json_object_object_get_ex(caps, numbers[i].name, &value))
			continue;
		if (!json_object_is_type(value, json_type_int))
			return -EINVAL;
		n = json_object_get_int64(value);
		if (n < numbers[i].min || n > numbers[i].max)
			return -EINVAL;
		out->named |= numbers[i].key;
		if (numbers[i].key == VERSION_MAX_MSG_FDS)
			out->max_msg_fds = (uint32_t)n;
		if (numbers[i].key == VERSION_MAX_DATA_XFER_SIZE)
			out->max_data_xfer_size = (uint32_t)MIN(n, (int64_t)WIRE_MAX_DATA);
	}
	return 0;
}

static int decode_root(struct json_object *root, struct version_caps *out)
{
	struct json_object *caps;

	if (!json_object_is_type(root, json_type_object))
		return -EINVAL;
	if (!json_object_object_get_ex(root, "capabilities", &caps))
		return 0;
	if (!json_object_is_type(caps, json_type_object))
		return -EINVAL;
	return decode_capabilities(caps, out);
}

int version_decode(const char *text, size_t size, struct version_caps *out)
{
	struct version_caps caps = { .max_msg_fds = 1, .max_data_xfer_size = WIRE_MAX_DATA };
	struct json_tokener *tokener;
	struct json_object *root;
	int err = 0;

	if (size) {
		tokener = json_tokener_new_ex(MAX_DEPTH);
		if (!tokener)
			return -ENOMEM;
		json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
		/* With its NUL: that is what ends a text which is a bare number. */
		root = json_tokener_parse_ex(tokener, text, (int)size);
		if (!root || json_tokener_get_error(tokener) != json_tokener_success)
			err = -EINVAL;
		else
			err = decode_root(root, &caps);
		json_object_put(root);
		json_tokener_free(tokener);
	}
	if (!err)
		*out = caps;
	return err;
}

size_t version_encode(const struct version_caps *caps, char *text, size_t room)
{
	static const char head[] = "{\"capabilities\":{", tail[] = "}}";
	const size_t tail_size = sizeof(tail); /* with the NUL */
	size_t at = sizeof(head) - 1;
	const char *comma = "";

	if (room < at + tail_size)
		return 0;
	memcpy(text, head, at);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		char item[64];
		int n;

		if (!(caps->named & numbers[i].key))
			continue;
		n = snprintf(item, sizeof(item), "%s\"%s\":%" PRIu32, comma, numbers[i].name,
			     numbers[i].ours);
		if (at + (size_t)n + tail_size > room)
			break;
		memcpy(text + at, item, (size_t)n);
		at += (size_t)n;
		comma = ",";
	}
	memcpy(text + at, tail, tail_size);
	return at + tail_size;
}
