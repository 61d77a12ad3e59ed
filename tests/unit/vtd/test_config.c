// SPDX-License-Identifier: BSD-3-Clause
/*
 * Extended configuration space as the guest sees it, without a device: capabilities are
 * bytes made here, and the view over them is walked as a guest's driver walks it.
 */
#include "rig.h"

#include "base/endian.h"

#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct world {
	struct nst_device dev;
	struct nst_vm vm;
	struct nst_log log;
	unsigned int errors;
	char said[256];
	uint8_t raw[4096];
	unsigned int end;	/* of the last capability that was added */
	unsigned int last;
};

static void take_log(void *opaque, enum nst_log_level level, const char *message)
{
	struct world *w = opaque;

	w->errors += level == NST_LOG_ERROR;
	snprintf(w->said, sizeof(w->said), "%s", message);
}

static void reset_world(struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->log = (struct nst_log){ take_log, w, NST_LOG_DEBUG };
	w->vm.log = &w->log;
	w->dev.vm = &w->vm;
	w->dev.hw_info.max_pasid_log2 = 18;
	w->dev.hw_info.capabilities = IOMMU_HW_CAP_PCI_PASID_PRIV;
	w->dev.pasid_capable = true;
	w->end = 0x100;
	mutex_init(&w->dev.config_lock);
}

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct world));
	reset_world(*state);
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

/* Link a capability in at @at; the first one must be at 0x100. */
static void add_at(struct world *w, unsigned int at, unsigned int id)
{
	le_store(&w->raw[at], 4, id | 1 << 16);
	if (w->last)
		le_store(&w->raw[w->last], 4,
			 (le_load(&w->raw[w->last], 4) & 0xfffff) | (uint64_t)at << 20);
	w->last = at;
}

static int init(struct world *w, unsigned int vpasid_offset)
{
	struct nst_device_config config = { .vpasid_offset = (uint16_t)vpasid_offset };

	return device_ext_config_init(&w->dev, w->raw, &config);
}

static uint64_t guest_read(struct world *w, unsigned int at, unsigned int size)
{
	uint8_t bytes[8];

	memcpy(bytes, &w->raw[at], size);
	device_config_overlay(&w->dev, at, bytes, size);
	return le_load(bytes, size);
}

static bool guest_write(struct world *w, unsigned int at, unsigned int size, uint64_t value)
{
	uint8_t bytes[8];

	le_store(bytes, size, value);
	return device_config_write(&w->dev, at, bytes, size);
}

/* As Linux walks: where @id is, 0 if it is not there; @count gets how many there are. */
static unsigned int guest_find(struct world *w, unsigned int id, unsigned int *count)
{
	unsigned int at = 0x100, found = 0, n = 0;

	for (unsigned int left = 480; at >= 0x100 && left; left--) {
		uint32_t header = (uint32_t)guest_read(w, at, 4);

		if (!header)
			break;
		if ((header & 0xffff) == id) {
			found = found ? found : at;
			n++;
		}
		at = header >> 20 & 0xffc;
	}
	if (count)
		*count = n;
	return found;
}

static void offer(struct world *w, unsigned int pasid_bits, bool ats)
{
	device_config_offer(&w->dev, &(struct device_services){ pasid_bits, ats, false });
}

/* --- where it goes --------------------------------------------------------------------------- */

static void the_last_eight_bytes_are_the_place(void **state)
{
	struct world *w = *state;

	add_at(w, 0x100, PCI_EXT_CAP_ID_DSN);
	ok(init(w, 0));
	offer(w, 20, true);
	assert_int_equal(guest_find(w, PCI_EXT_CAP_ID_PASID, NULL), 0xff8);
	assert_int_equal(guest_find(w, PCI_EXT_CAP_ID_DSN, NULL), 0x100);
	/* version 1, end of the list; privileged mode, no execute, the host's 18 bits */
	assert_int_equal(guest_read(w, 0xff8, 4), PCI_EXT_CAP_ID_PASID | 1 << 16);
	assert_int_equal(guest_read(w, 0xffc, 2), 18 << 8 | 4);
	assert_int_equal(guest_read(w, 0xffe, 2), 0);
}

static void a_device_without_any_list_gets_one(void **state)
{
	struct world *w = *state;

	for (unsigned int offset = 0x100; offset <= 0x104; offset += 4) {
		reset_world(w);
		if (offset == 0x104)	/* how absent registers read */
			memset(&w->raw[0x100], 0xff, 4096 - 0x100);
		ok(init(w, offset));
		offer(w, 20, false);
		assert_int_equal(guest_find(w, PCI_EXT_CAP_ID_PASID, NULL), offset);
		offer(w, 0, false);
		assert_int_equal(guest_find(w, PCI_EXT_CAP_ID_PASID, NULL), 0);
	}
}

static void the_narrower_of_host_and_vIOMMU_counts(void **state)
{
	struct world *w = *state;

	ok(init(w, 0));
	for (unsigned int host = 0; host <= 20; host++) {
		for (unsigned int viommu = 0; viommu <= 20; viommu++) {
			unsigned int want = host < viommu ? host : viommu, at;

			w->dev.hw_info.max_pasid_log2 = (uint8_t)host;
			offer(w, viommu, false);
			at = guest_find(w, PCI_EXT_CAP_ID_PASID, NULL);
			assert_int_equal(at, want ? 0xff8 : 0);
			assert_true(!at || guest_read(w, at + 5, 1) == want);
		}
	}
}

static void modes_are_those_of_the_host(void **state)
{
	struct world *w = *state;

	ok(init(w, 0));
	for (unsigned int modes = 0; modes < 4; modes++) {
		w->dev.hw_info.capabilities = (modes & 1 ? IOMMU_HW_CAP_PCI_PASID_EXEC : 0) |
					      (modes & 2 ? IOMMU_HW_CAP_PCI_PASID_PRIV : 0);
		offer(w, 20, false);
		assert_int_equal(guest_read(w, 0xffc, 1), modes << 1);
		/* and no other can be enabled */
		assert_true(guest_write(w, 0xffe, 2, 0xffff));
		assert_int_equal(guest_read(w, 0xffe, 2), modes << 1 | 1);
	}
}

/* Mediated devices have no host IOMMU, plain ones no PASIDs: nothing is said about it. */
static void no_pasids_no_capability(void **state)
{
	struct world *w = *state;

	w->dev.hw_info.max_pasid_log2 = 0;
	add_at(w, 0x100, PCI_EXT_CAP_ID_DSN);
	ok(init(w, 0x102));
	offer(w, 20, false);
	assert_int_equal(guest_find(w, PCI_EXT_CAP_ID_PASID, NULL), 0);
	assert_int_equal(w->errors, 0);
	assert_int_equal(device_pasid_bits(&w->dev), 0);
}

static void one_that_the_kernel_shows_is_not_doubled(void **state)
{
	struct world *w = *state;

	for (int first = 0; first < 2; first++) {
		unsigned int at = first ? 0x100 : 0x140, count;

		reset_world(w);
		if (!first)
			add_at(w, 0x100, PCI_EXT_CAP_ID_DSN);
		add_at(w, at, PCI_EXT_CAP_ID_PASID);
		add_at(w, 0x180, PCI_EXT_CAP_ID_LTR);
		le_store(&w->raw[at + 4], 4, 20 << 8 | 1 << 16);	/* and it is enabled */
		ok(init(w, 0x200));
		offer(w, 16, false);
		assert_int_equal(guest_find(w, PCI_EXT_CAP_ID_PASID, &count), at);
		assert_int_equal(count, 1);
		assert_int_equal(guest_read(w, at + 4, 4), 16 << 8 | 4);
		assert_int_equal(guest_find(w, PCI_EXT_CAP_ID_LTR, NULL), 0x180);
		offer(w, 0, false);
		assert_int_equal(guest_find(w, PCI_EXT_CAP_ID_PASID, NULL), 0);
		assert_int_equal(guest_find(w, PCI_EXT_CAP_ID_LTR, NULL), 0x180);
	}
}

/* Sizes as the specification gives them, typed here. */
static const struct {
	unsigned int id, size;
	uint32_t second_word;
} bodies[] = {
	{ 0x01, 72, 0 }, { 0x03, 12, 0 }, { 0x04, 16, 0 }, { 0x0e, 8, 0 }, { 0x0f, 8, 0 },
	{ 0x10, 64, 0 }, { 0x13, 16, 0 }, { 0x18, 8, 0 }, { 0x12, 40, 0 }, { 0x1f, 12, 0 },
	{ 0x0b, 0x34, 0x034 << 20 | 7 },	/* vendor's own, which says its length */
	{ 0x23, 0x18, 0x018 << 20 | 7 }, { 0x0d, 8, 0 },
	{ 0x0d, 16, 1 << 5 | 40 << 8 },		/* ACS with 40 bits of egress vector */
	{ 0x0d, 40, 1 << 5 },			/* ... with 256 */
	{ 0x7ffe, 4, 0 },			/* nobody knows */
};

/* Every place around every kind of capability, against a map of the bytes that are taken. */
static void overlap_with_headers_and_bodies_is_refused(void **state)
{
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		for (unsigned int at = 0x1f0; at < 0x200 + bodies[i].size + 16; at++) {
			bool taken[4096] = { false }, free = true;

			reset_world(w);
			add_at(w, 0x100, PCI_EXT_CAP_ID_LTR);
			add_at(w, 0x200, bodies[i].id);
			le_store(&w->raw[0x204], 4, bodies[i].second_word);
			memset(&taken[0x200], 1, bodies[i].size);
			for (unsigned int b = 0; b < 8; b++)
				free &= !taken[at + b];
			free &= at % 4 == 0;
			assert_int_equal(init(w, at), free ? 0 : -EINVAL);
			assert_int_equal(w->errors, !free);
			assert_true(free || strstr(w->said, "PASID capability cannot be at"));
			assert_int_equal(device_pasid_bits(&w->dev), free ? 18 : 0);
		}
	}
}

static void places_outside_are_refused(void **state)
{
	static const unsigned int bad[] = { 4, 0x40, 0xfc, 0xffc, 0x1000, 0xfffc };
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		reset_world(w);
		err(EINVAL, init(w, bad[i]));
		assert_non_null(strstr(w->said, "from 0x100 to 0xff8"));
	}
}

static void a_taken_default_place_costs_the_pasids_only(void **state)
{
	struct world *w = *state;

	add_at(w, 0x100, PCI_EXT_CAP_ID_LTR);
	add_at(w, 0xff0, PCI_EXT_CAP_ID_DSN);	/* 12 bytes */
	ok(init(w, 0));
	assert_int_equal(w->errors, 1);
	assert_non_null(strstr(w->said, "goes without PASIDs"));
	offer(w, 20, false);
	assert_int_equal(guest_find(w, PCI_EXT_CAP_ID_PASID, NULL), 0);
}

static void lists_that_do_not_end(void **state)
{
	struct world *w = *state;

	add_at(w, 0x100, PCI_EXT_CAP_ID_LTR);
	add_at(w, 0x110, PCI_EXT_CAP_ID_DSN);
	add_at(w, 0x100, PCI_EXT_CAP_ID_LTR);
	add_at(w, 0x110, PCI_EXT_CAP_ID_DSN);	/* 100 -> 110 -> 100 */
	le_store(&w->raw[0x110], 4, PCI_EXT_CAP_ID_DSN | 1 << 16 | 0x100u << 20);
	ok(init(w, 0));
	assert_int_equal(w->dev.num_ext_caps, DEVICE_MAX_EXT_CAPS);
	assert_non_null(strstr(w->said, "does not end"));
	offer(w, 20, true);
	(void)guest_find(w, PCI_EXT_CAP_ID_PASID, NULL);
}

/* --- ATS and page requests ------------------------------------------------------------------- */

static void ats_needs_host_and_vIOMMU(void **state)
{
	struct world *w = *state;

	for (unsigned int n = 0; n < 8; n++) {
		bool host = n & 1, viommu = n & 2;
		unsigned int at = n & 4 ? 0x100 : 0x120;

		reset_world(w);
		if (at != 0x100)
			add_at(w, 0x100, PCI_EXT_CAP_ID_DSN);
		add_at(w, at, PCI_EXT_CAP_ID_ATS);
		le_store(&w->raw[at + 4], 4, 0x8000u << 16 | 0x20);	/* the host enabled it */
		add_at(w, 0x160, PCI_EXT_CAP_ID_PRI);
		add_at(w, 0x180, PCI_EXT_CAP_ID_LTR);
		if (!host)
			w->dev.hw_info.capabilities |= IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED;
		ok(init(w, 0));
		offer(w, 20, viommu);
		assert_int_equal(guest_find(w, PCI_EXT_CAP_ID_ATS, NULL), host && viommu ? at : 0);
		assert_int_equal(guest_find(w, PCI_EXT_CAP_ID_PRI, NULL), 0);
		assert_int_equal(guest_find(w, PCI_EXT_CAP_ID_LTR, NULL), 0x180);
		assert_int_equal(guest_find(w, PCI_EXT_CAP_ID_PASID, NULL), 0xff8);
		if (host && viommu)	/* what it can is its own, what it does is the guest's */
			assert_int_equal(guest_read(w, at + 4, 4), 0x20);
	}
}

static void page_requests_need_host_and_vIOMMU(void **state)
{
	struct world *w = *state;

	for (unsigned int n = 0; n < 8; n++) {
		bool enabled = n & 1, ats = n & 2, viommu = n & 4, want = n == 7;

		reset_world(w);
		add_at(w, 0x100, PCI_EXT_CAP_ID_PRI);
		le_store(&w->raw[0x104], 2, enabled);		/* the host's kernel did it */
		le_store(&w->raw[0x106], 2, 0x8000);		/* responses carry a PASID */
		le_store(&w->raw[0x108], 4, 64);		/* what it can */
		le_store(&w->raw[0x10c], 4, 32);		/* what it may */
		if (!ats)
			w->dev.hw_info.capabilities |= IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED;
		ok(init(w, 0));
		device_config_offer(&w->dev, &(struct device_services){ 20, true, viommu });
		assert_int_equal(guest_find(w, PCI_EXT_CAP_ID_PRI, NULL), want ? 0x100 : 0);
		assert_false(device_page_requests_enabled(&w->dev));
		if (!want)
			continue;
		assert_int_equal(guest_read(w, 0x104, 4), 0x8100u << 16);	/* off, stopped */
		assert_int_equal(guest_read(w, 0x108, 4), 32);
		assert_int_equal(guest_read(w, 0x10c, 4), 0);
		assert_true(guest_write(w, 0x10c, 4, 32));
		assert_true(guest_write(w, 0x104, 2, 3));	/* reset reads as 0 */
		assert_int_equal(guest_read(w, 0x104, 2), 1);
		assert_true(device_page_requests_enabled(&w->dev));
		device_config_reset(&w->dev);
		assert_false(device_page_requests_enabled(&w->dev));
	}
}

static void controls_are_the_guests_own(void **state)
{
	struct world *w = *state;

	w->dev.express_cap = 0x40;
	add_at(w, 0x100, PCI_EXT_CAP_ID_ATS);
	ok(init(w, 0));
	offer(w, 20, true);
	assert_true(guest_write(w, 0x106, 2, 0xffff));
	assert_int_equal(guest_read(w, 0x106, 2), 0x801f);
	assert_true(guest_write(w, 0xffc, 4, 0xffffffff));	/* capability and control at once */
	assert_int_equal(guest_read(w, 0xffc, 4), (18 << 8 | 4) | 5u << 16);
	assert_true(guest_write(w, 0xff8, 4, 0));		/* the header is read-only */
	assert_int_equal(guest_find(w, PCI_EXT_CAP_ID_PASID, NULL), 0xff8);
	/* others are for the device, and so are the first 256 bytes */
	assert_false(guest_write(w, 0x200, 4, 1));
	assert_false(guest_write(w, 0x48, 2, 0));
	assert_int_equal(guest_read(w, 0x106, 2), 0x801f);
	/* function-level reset: bit 15 of device control, in any access that has it */
	assert_false(guest_write(w, 0x48, 2, 0x8000));
	assert_int_equal(guest_read(w, 0x106, 2), 0);
	assert_int_equal(guest_read(w, 0xffe, 2), 0);
	assert_true(guest_write(w, 0xffe, 2, 1));
	assert_false(guest_write(w, 0x49, 1, 0x80));
	assert_int_equal(guest_read(w, 0xffe, 2), 0);
}

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_WORLD(the_last_eight_bytes_are_the_place),
		WITH_WORLD(a_device_without_any_list_gets_one),
		WITH_WORLD(the_narrower_of_host_and_vIOMMU_counts),
		WITH_WORLD(modes_are_those_of_the_host),
		WITH_WORLD(no_pasids_no_capability),
		WITH_WORLD(one_that_the_kernel_shows_is_not_doubled),
		WITH_WORLD(overlap_with_headers_and_bodies_is_refused),
		WITH_WORLD(places_outside_are_refused),
		WITH_WORLD(a_taken_default_place_costs_the_pasids_only),
		WITH_WORLD(lists_that_do_not_end),
		WITH_WORLD(ats_needs_host_and_vIOMMU),
		WITH_WORLD(page_requests_need_host_and_vIOMMU),
		WITH_WORLD(controls_are_the_guests_own),
	};

	return cmocka_run_group_tests_name("extended configuration space", tests, NULL, NULL);
}
