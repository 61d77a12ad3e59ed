// SPDX-License-Identifier: BSD-3-Clause
/* The one-register DMA device, by the numbers that a script for QEMU's iommu-testdev has. */
#include "rig.h"

#include "base/alloc.h"
#include "endpoint/testdev.h"

#include <errno.h>

/* Not the names of testdev.h: a test with the same mistake as the device is no test. */
enum { TRIGGER = 0, GVA = 4, LEN = 0xc, RESULT = 0x10, DBELL = 0x14, ATTRS = 0x18, GPA = 0x1c };

static uint32_t go(struct rig *r, uint64_t gva, uint32_t len)
{
	rig_write(r, GVA, (uint32_t)gva);
	rig_write(r, GVA + 4, (uint32_t)(gva >> 32));
	rig_write(r, LEN, len);
	rig_write(r, DBELL, 1);
	assert_int_equal(rig_read(r, RESULT), 0xfffffffe);
	assert_int_equal(rig_read(r, TRIGGER), 0);
	return rig_read(r, RESULT);
}

static void looks_like_qemus(void **state)
{
	static const uint8_t header[16] = { 0x36, 0x1b, 5, 0, 6, 0, 0, 0, 0, 0, 0xff, 0 };
	static const uint8_t subsystem[4] = { 0xf4, 0x1a, 0, 0x11 };
	uint8_t ones[4] = { 0xff, 0xff, 0xff, 0xff };
	struct rig r;

	rig_plug(&r, "testdev", false);
	assert_memory_equal(r.ep->config.bytes, header, sizeof(header));
	assert_memory_equal(&r.ep->config.bytes[0x2c], subsystem, 4);
	assert_int_equal(r.ep->config.bytes[0x34], 0);
	assert_false(pci_config_write(&r.ep->config, 0x10, ones, 4));
	assert_int_equal(le_load(&r.ep->config.bytes[0x10], 4), 0xfffff000);
	assert_int_equal(r.ep->bar_sizes[0], 0x1000);
	assert_string_equal(r.ep->ops->model, "testdev");
	rig_close(&r);
}

static void writes_the_pattern_and_no_more(void **state)
{
	static const uint8_t pattern[4] = { 0x78, 0x56, 0x34, 0x12 };
	static const uint32_t lengths[] = { 1, 2, 3, 4, 7, 4096, 4097, 10001, 1 << 20 };
	struct rig r;

	rig_plug(&r, "testdev", false);
	for (size_t n = 0; n < ARRAY_SIZE(lengths); n++) {
		uint64_t at = RIG_BASE + 4099;
		uint8_t *memory = rig_at(&r, RIG_BASE, RIG_SIZE);

		memset(memory, 0xee, RIG_SIZE);
		assert_int_equal(go(&r, at, lengths[n]), 0);
		for (uint64_t i = 0; i < RIG_SIZE; i++) {
			bool inside = i >= 4099 && i < 4099 + lengths[n];

			if (memory[i] != (inside ? pattern[(i - 4099) % 4] : 0xee))
				fail_msg("length %u: byte %lu", lengths[n], (unsigned long)i);
		}
	}
	rig_close(&r);
}

static void a_request_is_armed_once(void **state)
{
	struct rig r;

	rig_plug(&r, "testdev", false);
	assert_int_equal(rig_read(&r, RESULT), 0xffffffff);
	rig_read(&r, TRIGGER);
	assert_int_equal(rig_read(&r, RESULT), 0xdead0005);
	assert_int_equal(go(&r, RIG_BASE, 16), 0);
	rig_read(&r, TRIGGER);
	assert_int_equal(rig_read(&r, RESULT), 0xdead0005);
	rig_write(&r, DBELL, 1);
	rig_write(&r, DBELL, 0);
	assert_int_equal(rig_read(&r, RESULT), 0xffffffff);
	rig_read(&r, TRIGGER);
	assert_int_equal(rig_read(&r, RESULT), 0xdead0005);
	/* An error disarms too, and what is triggered is what was set last. */
	assert_int_equal(go(&r, RIG_BASE, 0), 0xdead0001);
	rig_read(&r, TRIGGER);
	assert_int_equal(rig_read(&r, RESULT), 0xdead0005);
	assert_int_equal(atomic_load(&r.requests), 2);
	rig_close(&r);
}

static void each_error_has_its_code(void **state)
{
	uint16_t command = 2;
	struct rig r;

	rig_plug(&r, "testdev", false);
	assert_int_equal(go(&r, RIG_BASE, 0), 0xdead0001);
	assert_int_equal(go(&r, RIG_BASE, (16 << 20) + 1), 0xdead0001);
	assert_int_equal(atomic_load(&r.requests), 0);
	assert_int_equal(go(&r, RIG_BASE - 1, 2), 0xdead0002);
	assert_int_equal(go(&r, RIG_BASE + RIG_SIZE - 4096, 8192), 0xdead0002);
	assert_int_equal(go(&r, UINT64_MAX, 2), 0xdead0002);
	r.read_fault_first = r.read_fault_last = RIG_BASE + 0x3000;
	assert_int_equal(go(&r, RIG_BASE + 0x2ff0, 0x10), 0);
	assert_int_equal(go(&r, RIG_BASE + 0x2ff0, 0x11), 0xdead0003);
	r.read_fault_last = 0;
	assert_false(pci_config_write(&r.ep->config, 4, &command, 2));
	assert_int_equal(go(&r, RIG_BASE, 16), 0xdead0002);
	rig_close(&r);
}

static void what_was_written_may_not_be_what_is_read(void **state)
{
	struct rig r;

	rig_plug(&r, "testdev", false);
	r.garble = RIG_BASE + 0x1fff;
	assert_int_equal(go(&r, RIG_BASE + 0x1000, 0xfff), 0);
	assert_int_equal(go(&r, RIG_BASE + 0x1000, 0x1000), 0xdead0004);
	/* A read that fails behind the mismatch is what is reported, as all is read first. */
	r.read_fault_first = r.read_fault_last = RIG_BASE + 0x2000;
	assert_int_equal(go(&r, RIG_BASE + 0x1000, 0x2000), 0xdead0003);
	rig_close(&r);
}

static void secure_and_space_must_agree_if_valid(void **state)
{
	struct rig r;

	rig_plug(&r, "testdev", false);
	assert_int_equal(rig_read(&r, ATTRS), 2);
	for (uint32_t attrs = 0; attrs < 16; attrs++) {
		bool secure = attrs & 1, valid = attrs & 8;
		uint32_t space = attrs >> 1 & 3;
		bool bad = valid && ((space == 0 && !secure) || (space == 1 && secure));

		rig_write(&r, ATTRS, attrs);
		assert_int_equal(go(&r, RIG_BASE, 8), bad ? 0xdead0006 : 0);
	}
	rig_close(&r);
}

static void registers_store_and_reset(void **state)
{
	const struct endpoint_ops *ops;
	struct rig r;

	rig_plug(&r, "testdev", false);
	ops = r.ep->ops;
	ops->bar_write(r.ep, 0, GPA, 4, 0x11223344);
	ops->bar_write(r.ep, 0, GPA + 4, 4, 0x55667788);
	ops->bar_write(r.ep, 0, 8, 8, 0x1234000000000001); /* GVA_HI and LEN */
	rig_write(&r, ATTRS, 0xffffffff);
	rig_write(&r, RESULT, 77);
	assert_int_equal(rig_read(&r, GPA), 0x11223344);
	assert_int_equal(rig_read(&r, GPA + 4), 0x55667788);
	assert_int_equal(rig_read(&r, GVA), 0);
	assert_true(ops->bar_read(r.ep, 0, 8, 8) == 0x1234000000000001);
	assert_int_equal(rig_read(&r, ATTRS), 0xffffffff);
	assert_int_equal(rig_read(&r, RESULT), 77);
	assert_int_equal(rig_read(&r, DBELL), 0);
	ops->reset(r.ep);
	for (unsigned int at = 4; at < 0x1000; at += 4)
		assert_int_equal(rig_read(&r, at), at == RESULT ? 0xffffffff : at == ATTRS ? 2 : 0);
	assert_false(atomic_load(&r.ep->config.bus_master));
	rig_close(&r);
}

static void odd_accesses_do_nothing(void **state)
{
	struct rig r;

	rig_plug(&r, "testdev", false);
	rig_write(&r, LEN, 16);
	rig_write(&r, DBELL, 1);
	for (unsigned int size = 1; size <= 8; size *= 2) {
		for (unsigned int at = 0; at < 0x28; at++) {
			if (size >= 4 && at % size == 0)
				continue;
			assert_int_equal(r.ep->ops->bar_read(r.ep, 0, at, size), 0);
			r.ep->ops->bar_write(r.ep, 0, at, size, UINT64_MAX);
		}
	}
	r.ep->ops->bar_read(r.ep, 1, 0, 4);
	r.ep->ops->bar_read(r.ep, 0, 0x1000, 4);
	assert_int_equal(rig_read(&r, LEN), 16);
	assert_int_equal(rig_read(&r, RESULT), 0xfffffffe);
	assert_int_equal(atomic_load(&r.requests), 0);
	rig_close(&r);
}

static void refused_memory_is_an_error(void **state)
{
	struct endpoint *ep = NULL;

	for (unsigned int nth = 1; nth < 3; nth++) {
		alloc_fail_nth(nth);
		assert_int_equal(endpoint_create("testdev", NULL, &ep, NULL), -ENOMEM);
		assert_null(ep);
	}
	alloc_fail_nth(3);
	assert_int_equal(endpoint_create("testdev", NULL, &ep, NULL), 0);
	alloc_fail_nth(0);
	endpoint_destroy(ep);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(looks_like_qemus),
		cmocka_unit_test(writes_the_pattern_and_no_more),
		cmocka_unit_test(a_request_is_armed_once),
		cmocka_unit_test(each_error_has_its_code),
		cmocka_unit_test(what_was_written_may_not_be_what_is_read),
		cmocka_unit_test(secure_and_space_must_agree_if_valid),
		cmocka_unit_test(registers_store_and_reset),
		cmocka_unit_test(odd_accesses_do_nothing),
		cmocka_unit_test(refused_memory_is_an_error),
	};

	return cmocka_run_group_tests_name("testdev", tests, NULL, NULL);
}
