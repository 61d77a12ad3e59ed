// SPDX-License-Identifier: BSD-3-Clause
/* The pure half of the vfio-user server: headers, payloads and the JSON of VERSION. */
#include "client.h"

#include "frontend/vfio_user/version.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void headers_that_cannot_be_followed(void **state)
{
	const struct { uint16_t command; uint32_t size, flags; int err; } cases[] = {
		{ WIRE_RESET, 16, 0, 0 },
		{ WIRE_RESET, 16, WIRE_NO_REPLY, 0 },
		{ WIRE_RESET, 16, WIRE_TYPE_REPLY | WIRE_ERROR, 0 },
		{ WIRE_RESET, 15, 0, -EBADMSG },
		{ WIRE_RESET, 0, 0, -EBADMSG },
		{ WIRE_RESET, 16, 2, -EBADMSG },
		{ WIRE_RESET, 16, 0xf, -EBADMSG },
		{ WIRE_REGION_WRITE, 32 + WIRE_MAX_DATA, 0, 0 },
		{ WIRE_REGION_WRITE, 32 + WIRE_MAX_DATA + 1, 0, -EMSGSIZE },
		{ WIRE_RESET, UINT32_MAX, 0, -EMSGSIZE },
		{ WIRE_VERSION, 16 + WIRE_MAX_VERSION, 0, 0 },
		{ WIRE_VERSION, 16 + WIRE_MAX_VERSION + 1, 0, -EMSGSIZE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct wire_header header = { 1, cases[i].command, cases[i].size, cases[i].flags, 0 };

		assert_int_equal(wire_header_check(&header), cases[i].err);
	}
}

/* A payload that is right in every way, for each command. */
static size_t good_payload(uint16_t command, uint8_t *out)
{
	const struct wire_dma_map map = { 32, 3, 0, 0x1000, 0x1000 };
	const struct wire_dma_unmap unmap = { 24, 0, 0x1000, 0x1000 };
	const struct wire_device_info info = { 16, 0, 0, 0 };
	const struct vfio_region_info region = { .argsz = 32 };
	const struct vfio_irq_info irq = { .argsz = 16 };
	const struct wire_irq_set set = { 20, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
					  1, 0, 0 };
	const struct wire_region_access access = { 0, 7, 4 };
	const uint8_t write[20] = { [8] = 7, [12] = 4 };

	memset(out, 0, 64);
#define GIVE(x) (memcpy(out, &(x), sizeof(x)), sizeof(x))
	switch (command) {
	case WIRE_VERSION: return 4;
	case WIRE_DMA_MAP: return GIVE(map);
	case WIRE_DMA_UNMAP: return GIVE(unmap);
	case WIRE_GET_INFO: return GIVE(info);
	case WIRE_GET_REGION_INFO: return GIVE(region);
	case WIRE_GET_IRQ_INFO: return GIVE(irq);
	case WIRE_SET_IRQS: return GIVE(set);
	case WIRE_REGION_READ: return GIVE(access);
	case WIRE_REGION_WRITE: return GIVE(write);
	default: return 0;
	}
#undef GIVE
}

static const struct { uint16_t command; size_t reply_size; } commands[] = {
	{ WIRE_VERSION, 4 }, { WIRE_DMA_MAP, 0 }, { WIRE_DMA_UNMAP, 24 }, { WIRE_GET_INFO, 16 },
	{ WIRE_GET_REGION_INFO, 32 }, { WIRE_GET_IRQ_INFO, 16 }, { WIRE_SET_IRQS, 0 },
	{ WIRE_REGION_READ, 20 }, { WIRE_REGION_WRITE, 16 }, { WIRE_RESET, 0 },
};

/* Each length goes through a buffer of just that size, so that ASan sees a step beyond. */
static int decode(uint16_t command, const void *payload, size_t size, unsigned int num_fds,
		  struct wire_request *out)
{
	struct wire_header header = { 1, command, (uint32_t)(16 + size), 0, 0 };
	uint8_t *exact = malloc(size ? size : 1);
	int err;

	if (size)
		memcpy(exact, payload, size);
	err = wire_decode(&header, exact, size, num_fds, out);
	free(exact);
	return err;
}

static void every_truncation_is_refused(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		uint8_t payload[64];
		size_t full = good_payload(commands[i].command, payload);
		struct wire_request req;

		for (size_t size = 0; size < full; size++) {
			assert_int_equal(decode(commands[i].command, payload, size, 0, &req),
					 -EINVAL);
			/* The reply keeps its length: only a read's data cannot be known. */
			assert_int_equal(req.reply_size, commands[i].command == WIRE_REGION_READ
								 ? 16 : commands[i].reply_size);
		}
		assert_int_equal(decode(commands[i].command, payload, full, 0, &req), 0);
		assert_int_equal(req.reply_size, commands[i].reply_size);
		/* Longer is a newer client. */
		assert_int_equal(decode(commands[i].command, payload, full + 8, 0, &req),
				 commands[i].command == WIRE_VERSION ? -EINVAL : 0);
	}
}

static void unknown_commands_get_a_bounded_echo(void **state)
{
	const uint16_t unknown[] = { 0, 6, 11, 12, 14, 15, 16, 17, 18, 19, 255, 65535 };
	uint8_t payload[256] = { 0 };
	struct wire_request req;

	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		for (size_t size = 0; size < sizeof(payload); size += 3) {
			assert_int_equal(decode(unknown[i], payload, size, 0, &req), -ENOTSUP);
			assert_int_equal(req.reply_size, size < 64 ? size : 64);
		}
	}
}

static void dma_maps(void **state)
{
	const struct { struct wire_dma_map map; unsigned int fds; int err; } cases[] = {
		{ { 32, 3, 0, 0, 0x1000 }, 0, 0 },
		{ { 32, 1, 0, 0, 0x1000 }, 1, 0 },
		{ { 32, 3, 0x1000, 0xfffffffffffff000, 0x1000 }, 1, 0 },	/* to the last byte */
		{ { 32, 3, 0, 0xfffffffffffff000, 0x1001 }, 0, -EINVAL },
		{ { 32, 3, 0, 1, UINT64_MAX }, 0, 0 },
		{ { 32, 3, 0, 2, UINT64_MAX }, 0, -EINVAL },
		{ { 32, 3, 0, 0x1000, 0 }, 0, -EINVAL },
		{ { 32, 0, 0, 0x1000, 0x1000 }, 0, -EINVAL },
		{ { 32, 4, 0, 0x1000, 0x1000 }, 0, -EINVAL },
		{ { 32, 7, 0, 0x1000, 0x1000 }, 0, -EINVAL },
		{ { 32, 3, 0, 0x1000, 0x1000 }, 2, -EINVAL },
		{ { 32, 3, 0, 0x1234, 0x10 }, 0, 0 },			/* nobody maps it */
		{ { 32, 3, 0, 0x1234, 0x1000 }, 1, -EINVAL },
		{ { 32, 3, 0x10, 0x1000, 0x1000 }, 1, -EINVAL },
		{ { 32, 3, 0, 0x1000, 0x1800 }, 1, -EINVAL },
		{ { 32, 3, 0xfffffffffffff000, 0x1000, 0x2000 }, 1, -EINVAL },
		{ { 32, 3, INT64_MAX & ~0xfffULL, 0x1000, 0x1000 }, 1, -EINVAL },
	};
	struct wire_request req;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(decode(WIRE_DMA_MAP, &cases[i].map, 32, cases[i].fds, &req),
				 cases[i].err);
}

static void dma_unmaps(void **state)
{
	const struct { struct wire_dma_unmap unmap; int err; } cases[] = {
		{ { 24, 0, 0x1000, 0x1000 }, 0 },
		{ { 24, 0, 0x1000, 0 }, -EINVAL },
		{ { 24, 0, UINT64_MAX, 2 }, -EINVAL },
		{ { 24, VFIO_DMA_UNMAP_FLAG_ALL, 0, 0 }, 0 },
		{ { 24, VFIO_DMA_UNMAP_FLAG_ALL, 0x1000, 0 }, -EINVAL },
		{ { 24, VFIO_DMA_UNMAP_FLAG_ALL, 0, 0x1000 }, -EINVAL },
		{ { 24, VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP, 0x1000, 0x1000 }, -EINVAL },
	};
	struct wire_request req;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(decode(WIRE_DMA_UNMAP, &cases[i].unmap, 24, 0, &req), cases[i].err);
}

/* All 256 combinations of the flags, against the rule: one kind of data, one action. */
static void irq_flags(void **state)
{
	for (uint32_t flags = 0; flags < 256; flags++) {
		struct wire_irq_set set = { 20, flags, 1, 0, 0 };
		bool good = flags < 64 && __builtin_popcount(flags & 7) == 1 &&
			    __builtin_popcount(flags >> 3) == 1;
		struct wire_request req;

		assert_int_equal(decode(WIRE_SET_IRQS, &set, sizeof(set), 0, &req),
				 good ? 0 : -EINVAL);
	}
}

static void irq_data(void **state)
{
	struct { struct wire_irq_set set; uint8_t data[8]; } msg = {
		.set = { 28, VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_MASK, 1, 0, 8 },
	};
	struct wire_request req;

	for (size_t size = 20; size < 28; size++)
		assert_int_equal(decode(WIRE_SET_IRQS, &msg, size, 0, &req), -EINVAL);
	assert_int_equal(decode(WIRE_SET_IRQS, &msg, 28, 0, &req), 0);
	assert_int_equal(req.data_size, 8);
	msg.set.count = UINT32_MAX;
	assert_int_equal(decode(WIRE_SET_IRQS, &msg, 28, 0, &req), -EINVAL);

	msg.set.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
	msg.set.count = 3;
	for (unsigned int fds = 0; fds < 6; fds++)
		assert_int_equal(decode(WIRE_SET_IRQS, &msg, 20, fds, &req),
				 fds == 0 || fds == 3 ? 0 : -EINVAL);
}

static void region_access_sizes(void **state)
{
	struct wire_region_access access = { 0, 2, WIRE_MAX_DATA };
	struct wire_request req;

	assert_int_equal(decode(WIRE_REGION_READ, &access, 16, 0, &req), 0);
	assert_int_equal(req.reply_size, 16 + WIRE_MAX_DATA);
	access.count++;
	assert_int_equal(decode(WIRE_REGION_READ, &access, 16, 0, &req), -E2BIG);
	assert_int_equal(req.reply_size, 16);
	assert_int_equal(decode(WIRE_REGION_WRITE, &access, 16, 0, &req), -E2BIG);
	access.count = UINT32_MAX;
	assert_int_equal(decode(WIRE_REGION_READ, &access, 16, 0, &req), -E2BIG);
	access.count = 1;
	assert_int_equal(decode(WIRE_REGION_WRITE, &access, 16, 0, &req), -EINVAL);
}

/* ---- VERSION */

static int parse(const char *json, struct version_caps *caps)
{
	return version_decode(json, strlen(json) + 1, caps);
}

static void json_that_makes_sense(void **state)
{
	struct version_caps caps;

	assert_int_equal(parse(qemu_version, &caps), 0);
	assert_int_equal(caps.named, 15);
	assert_int_equal(caps.max_msg_fds, 16);
	assert_int_equal(caps.max_data_xfer_size, 1048576);
	assert_int_equal(version_decode(NULL, 0, &caps), 0);
	assert_int_equal(caps.named, 0);
	assert_int_equal(caps.max_msg_fds, 1);
	assert_int_equal(caps.max_data_xfer_size, WIRE_MAX_DATA);
	assert_int_equal(parse("{}", &caps), 0);
	assert_int_equal(parse(" {\"capabilities\":{}} \n", &caps), 0);
	assert_int_equal(parse("{\"x\":[1,{}],\"capabilities\":{\"y\":null,\"twin_socket\":"
			       "{\"supported\":true}}}", &caps), 0);
	assert_int_equal(caps.named, 0);
	assert_int_equal(parse("{\"capabilities\":{\"max_data_xfer_size\":99999999999999999999}}",
			       &caps), 0);
	assert_int_equal(caps.max_data_xfer_size, WIRE_MAX_DATA);
	assert_int_equal(parse("{\"capabilities\":{\"max_msg_fds\":0}}", &caps), 0);
	assert_int_equal(caps.max_msg_fds, 0);
}

static void json_that_makes_none(void **state)
{
	static const char *const cases[] = {
		"", " ", "{", "}", "[]", "1", "null", "true", "\"x\"", "{\"capabilities\":1}",
		"{\"capabilities\":[]}", "{\"capabilities\":null}", "{\"capabilities\":{}",
		"{\"capabilities\":{}}x", "{\"capabilities\":{}}{}",
		"{\"capabilities\":{},}", "{\"capabilities\":{\"max_msg_fds\":-1}}",
		"{\"capabilities\":{\"max_msg_fds\":\"1\"}}", "{\"capabilities\":{\"max_msg_fds\":1.5}}",
		"{\"capabilities\":{\"max_msg_fds\":4294967296}}",
		"{\"capabilities\":{\"max_data_xfer_size\":0}}",
		"{\"capabilities\":{\"max_data_xfer_size\":true}}",
		"{\"capabilities\":{\"pgsizes\":0}}", "{\"capabilities\":{\"max_dma_maps\":{}}}",
		"{\"a\":[[[[[[[[[[[[]]]]]]]]]]]]}", "\xff\xfe", "{\"a\":\"\xff\"}",
	};
	struct version_caps caps;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (parse(cases[i], &caps) != -EINVAL)
			fail_msg("accepted: %s", cases[i]);
	}
}

static void json_cut_anywhere(void **state)
{
	struct version_caps caps = { .named = 77 };

	for (size_t n = 1; n < strlen(qemu_version); n++) {
		char *cut = calloc(1, n + 1);

		memcpy(cut, qemu_version, n);
		assert_int_equal(version_decode(cut, n + 1, &caps), -EINVAL);
		free(cut);
	}
	assert_int_equal(caps.named, 77);
}

static void a_nul_inside_is_refused(void **state)
{
	uint8_t payload[4 + 3] = { 0, 0, 0, 0, '{', 0, 0 };
	struct wire_request req;

	assert_int_equal(decode(WIRE_VERSION, payload, 7, 0, &req), -EINVAL);
	payload[5] = '}';
	assert_int_equal(decode(WIRE_VERSION, payload, 7, 0, &req), 0);
	payload[6] = ' ';
	assert_int_equal(decode(WIRE_VERSION, payload, 7, 0, &req), -EINVAL);
}

/* Whatever the room and whatever was named: valid JSON, a subset, inside the room. */
static void answers_fit(void **state)
{
	for (unsigned int named = 0; named < 16; named++) {
		const struct version_caps caps = { .named = named };

		for (size_t room = 0; room < 160; room++) {
			char *text = malloc(room + 1);
			size_t n = version_encode(&caps, text, room);
			struct version_caps echo;

			assert_true(n <= room);
			assert_true(n || room < 20);
			if (n) {
				assert_int_equal(strlen(text), n - 1);
				assert_int_equal(version_decode(text, n, &echo), 0);
				assert_int_equal(echo.named & ~named, 0);
				if (room > 120)
					assert_int_equal(echo.named, named);
			}
			free(text);
		}
	}
}

static void the_answer_to_qemu(void **state)
{
	struct version_caps caps;
	char text[256];
	size_t n;

	assert_int_equal(parse(qemu_version, &caps), 0);
	n = version_encode(&caps, text, strlen(qemu_version) + 1);
	assert_true(n > 0 && n <= strlen(qemu_version) + 1);
	assert_string_equal(text, "{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":"
				  "1048576,\"max_dma_maps\":65535,\"pgsizes\":4096}}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers_that_cannot_be_followed),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(unknown_commands_get_a_bounded_echo),
		cmocka_unit_test(dma_maps),
		cmocka_unit_test(dma_unmaps),
		cmocka_unit_test(irq_flags),
		cmocka_unit_test(irq_data),
		cmocka_unit_test(region_access_sizes),
		cmocka_unit_test(json_that_makes_sense),
		cmocka_unit_test(json_that_makes_none),
		cmocka_unit_test(json_cut_anywhere),
		cmocka_unit_test(a_nul_inside_is_refused),
		cmocka_unit_test(answers_fit),
		cmocka_unit_test(the_answer_to_qemu),
	};

	return cmocka_run_group_tests_name("vfio-user wire", tests, NULL, NULL);
}
