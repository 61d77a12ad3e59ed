// SPDX-License-Identifier: BSD-3-Clause
/* Configuration space as software sees it: capability walk, sizing, masks, W1C, reset, FLR. */
#include "test.h"

#include "base/bits.h"
#include "base/endian.h"
#include "endpoint/pci_config.h"

#include <string.h>

static uint32_t get(const struct pci_config *cfg, uint64_t offset, unsigned int size)
{
	uint8_t bytes[4] = { 0 };

	pci_config_read(cfg, offset, bytes, size);
	return (uint32_t)le_load(bytes, size);
}

static bool put(struct pci_config *cfg, uint64_t offset, unsigned int size, uint32_t value)
{
	uint8_t bytes[4];

	le_store(bytes, size, value);
	return pci_config_write(cfg, offset, bytes, size);
}

static void build(struct pci_config *cfg)
{
	pci_config_init(cfg, 0x1234, 0x5678, 0x010802, 7);
	pci_config_set_bar(cfg, 0, 0x4000, true);
	pci_config_set_bar(cfg, 2, 0x1000, false);
	pci_config_add_power(cfg);
	pci_config_add_msi(cfg, 8);
	pci_config_add_express(cfg);
	pci_config_add_msix(cfg, 9, 0, 0x2000, 0x3000);
	pci_config_add_ext_cap(cfg, 0x1b, 1, 8);
	pci_config_add_ext_cap(cfg, 0x0f, 1, 8);
}

static void header_says_what_it_was_told(void **state)
{
	struct pci_config cfg;

	build(&cfg);
	assert_int_equal(get(&cfg, 0, 4), 0x56781234);
	assert_int_equal(get(&cfg, 8, 4), 0x01080207);
	assert_int_equal(get(&cfg, 0xe, 1), 0);
	assert_int_equal(get(&cfg, 0x2c, 4), 0x56781234);
	assert_int_equal(get(&cfg, 4, 2), 0);
	assert_int_equal(get(&cfg, 6, 2), 0x10);
}

static void capability_lists_hold_each_once_and_end(void **state)
{
	static const uint8_t expected[] = { 0x01, 0x05, 0x10, 0x11 };
	static const uint16_t expected_ext[] = { 0x1b, 0x0f };
	struct pci_config cfg;
	unsigned int n = 0;
	uint32_t at;

	build(&cfg);
	for (at = get(&cfg, 0x34, 1); at; at = get(&cfg, at + 1, 1)) {
		assert_true(at >= 0x40 && at % 4 == 0 && n < ARRAY_SIZE(expected));
		assert_int_equal(get(&cfg, at, 1), expected[n++]);
	}
	assert_int_equal(n, ARRAY_SIZE(expected));
	n = 0;
	for (at = 0x100; at; at = get(&cfg, at, 4) >> 20) {
		assert_true(n < ARRAY_SIZE(expected_ext));
		assert_int_equal(get(&cfg, at, 2), expected_ext[n++]);
		assert_int_equal(get(&cfg, at, 4) >> 16 & 0xf, 1);
	}
	assert_int_equal(n, ARRAY_SIZE(expected_ext));
}

static void bars_are_sized_by_writing_ones(void **state)
{
	struct pci_config cfg;

	build(&cfg);
	assert_false(put(&cfg, 0x10, 4, 0xffffffff));
	assert_false(put(&cfg, 0x14, 4, 0xffffffff));
	assert_false(put(&cfg, 0x18, 4, 0xffffffff));
	assert_false(put(&cfg, 0x1c, 4, 0xffffffff));
	assert_int_equal(get(&cfg, 0x10, 4), 0xffffc004);
	assert_int_equal(get(&cfg, 0x14, 4), 0xffffffff);
	assert_int_equal(get(&cfg, 0x18, 4), 0xfffff000);
	assert_int_equal(get(&cfg, 0x1c, 4), 0);
}

static void msi_and_msix_have_the_right_masks(void **state)
{
	struct pci_config cfg;
	uint16_t msi, msix;

	build(&cfg);
	msi = cfg.msi_cap;
	msix = cfg.msix_cap;
	assert_int_equal(get(&cfg, msi + 2, 2), 0x80 | 3 << 1);
	assert_false(put(&cfg, msi + 2, 2, 0xffff));
	assert_int_equal(get(&cfg, msi + 2, 2), 0x80 | 3 << 1 | 7 << 4 | 1);
	assert_false(put(&cfg, msi + 4, 4, 0xffffffff));
	assert_int_equal(get(&cfg, msi + 4, 4), 0xfffffffc);
	assert_int_equal(get(&cfg, msix + 2, 2), 8);
	assert_false(put(&cfg, msix + 2, 2, 0xffff));
	assert_int_equal(get(&cfg, msix + 2, 2), 0xc008);
	assert_false(put(&cfg, msix + 4, 4, 0));
	assert_int_equal(get(&cfg, msix + 4, 4), 0x2000);
	assert_int_equal(get(&cfg, msix + 8, 4), 0x3000);
}

static void bus_master_follows_the_command_register(void **state)
{
	struct pci_config cfg;

	build(&cfg);
	assert_false(atomic_load(&cfg.bus_master));
	assert_false(put(&cfg, 4, 1, 4));
	assert_true(atomic_load(&cfg.bus_master));
	assert_false(put(&cfg, 5, 1, 0xff));
	assert_true(atomic_load(&cfg.bus_master));
	pci_config_reset(&cfg);
	assert_false(atomic_load(&cfg.bus_master));
}

static void only_a_one_clears_a_w1c_bit(void **state)
{
	struct pci_config cfg;

	build(&cfg);
	cfg.bytes[7] |= 0xf9;
	assert_false(put(&cfg, 6, 2, 0));
	assert_int_equal(get(&cfg, 7, 1) & 0xf9, 0xf9);
	assert_false(put(&cfg, 7, 1, 0x81));
	assert_int_equal(get(&cfg, 7, 1) & 0xf9, 0x78);
	pci_config_reset(&cfg);
	assert_int_equal(get(&cfg, 6, 2), 0x10);
}

static void flr_is_asked_for_by_one_bit_that_never_sticks(void **state)
{
	struct pci_config cfg;
	uint64_t devctl;

	build(&cfg);
	devctl = cfg.express_cap + 8ULL;
	assert_true(get(&cfg, cfg.express_cap + 4, 4) & BIT64(28));
	assert_true(put(&cfg, devctl, 2, 0x8000 | 0x2810));
	assert_true(put(&cfg, devctl + 1, 1, 0x80));
	assert_false(put(&cfg, devctl, 2, 0x7fff));
	assert_false(put(&cfg, devctl, 1, 0x80));
	assert_int_equal(get(&cfg, devctl, 2) & 0x8000, 0);
	/* 16 bytes from the middle of the header to past DEVCTL count too. */
	assert_true(pci_config_write(&cfg, devctl, (const uint8_t[]){ 0, 0x80, 0, 0 }, 4));
}

static void reset_restores_defaults_and_keeps_what_is_fixed(void **state)
{
	struct pci_config fresh, cfg;
	uint8_t ones[PCI_CONFIG_SIZE];

	build(&fresh);
	build(&cfg);
	memset(ones, 0xff, sizeof(ones));
	assert_true(pci_config_write(&cfg, 0, ones, sizeof(ones)));
	assert_memory_not_equal(cfg.bytes, fresh.bytes, sizeof(ones));
	pci_config_reset(&cfg);
	assert_memory_equal(cfg.bytes, fresh.bytes, sizeof(ones));
}

static void accesses_outside_are_harmless(void **state)
{
	struct pci_config cfg, before;
	uint8_t bytes[8];

	build(&cfg);
	before = cfg;
	memset(bytes, 0, sizeof(bytes));
	pci_config_read(&cfg, PCI_CONFIG_SIZE - 4, bytes, 8);
	assert_int_equal(le_load(bytes, 4), 0);
	assert_int_equal(le_load(bytes + 4, 4), 0xffffffff);
	pci_config_read(&cfg, UINT64_MAX, bytes, 8);
	assert_int_equal(bytes[0], 0xff);
	assert_false(pci_config_write(&cfg, PCI_CONFIG_SIZE - 1, bytes, 8));
	assert_false(pci_config_write(&cfg, UINT64_MAX - 2, bytes, 8));
	assert_memory_equal(cfg.bytes, before.bytes, PCI_CONFIG_SIZE);
}

static void build_services(struct pci_config *cfg)
{
	pci_config_init(cfg, 0x1234, 0x5678, 0xff0000, 0);
	pci_config_add_express(cfg);
	pci_config_add_ats(cfg);
	pci_config_add_pasid(cfg, 16);
	pci_config_add_pri(cfg, 64);
}

static void ats_and_pasid_controls_are_copied(void **state)
{
	struct pci_config cfg;
	unsigned int epoch;
	uint16_t ats, pasid;

	build_services(&cfg);
	ats = cfg.ats_cap;
	pasid = cfg.pasid_cap;
	assert_int_equal(get(&cfg, ats, 2), 0x0f);
	assert_int_equal(get(&cfg, ats + 4, 2), 0x20);
	epoch = atomic_load(&cfg.ats_epoch);
	assert_false(put(&cfg, ats + 6, 2, 0x801f));
	assert_int_equal(get(&cfg, ats + 6, 2), 0x8000);
	assert_true(atomic_load(&cfg.ats_enabled));
	assert_int_equal(atomic_load(&cfg.ats_epoch), epoch + 1);
	assert_false(put(&cfg, ats + 6, 2, 0x8000));
	assert_int_equal(atomic_load(&cfg.ats_epoch), epoch + 1);
	assert_false(put(&cfg, ats + 7, 1, 0));
	assert_false(atomic_load(&cfg.ats_enabled));
	assert_int_equal(atomic_load(&cfg.ats_epoch), epoch + 2);

	assert_int_equal(get(&cfg, pasid, 2), 0x1b);
	assert_int_equal(get(&cfg, pasid + 4, 2), 0x1004);
	assert_false(put(&cfg, pasid + 6, 2, 0xffff));
	assert_int_equal(get(&cfg, pasid + 6, 2), 5);
	assert_true(atomic_load(&cfg.pasid_enabled) && atomic_load(&cfg.pasid_privileged));
	assert_false(put(&cfg, pasid + 6, 2, 4));
	assert_false(atomic_load(&cfg.pasid_enabled) || atomic_load(&cfg.pasid_privileged));
	assert_false(put(&cfg, pasid + 6, 2, 1));
	assert_false(put(&cfg, ats + 6, 2, 0x8000));
	pci_config_reset(&cfg);
	assert_false(atomic_load(&cfg.pasid_enabled) || atomic_load(&cfg.ats_enabled));
	assert_int_equal(atomic_load(&cfg.ats_epoch), epoch + 4);
}

static void page_request_status_is_worked_out(void **state)
{
	struct pci_config cfg;
	unsigned int epoch;
	uint16_t pri;

	build_services(&cfg);
	pri = cfg.pri_cap;
	assert_int_equal(get(&cfg, pri, 2), 0x13);
	assert_int_equal(get(&cfg, pri + 6, 2), 0x8100);
	assert_int_equal(get(&cfg, pri + 7, 1), 0x81);
	assert_int_equal(get(&cfg, pri + 8, 4), 64);
	assert_false(put(&cfg, pri + 12, 4, 1000));
	assert_int_equal(get(&cfg, pri + 12, 4), 1000);
	assert_int_equal(atomic_load(&cfg.pri_allocated), 64);
	assert_false(put(&cfg, pri + 12, 4, 7));
	assert_int_equal(atomic_load(&cfg.pri_allocated), 7);
	epoch = atomic_load(&cfg.pri_epoch);
	assert_false(put(&cfg, pri + 4, 2, 1));
	assert_true(atomic_load(&cfg.pri_enabled));
	assert_int_equal(atomic_load(&cfg.pri_epoch), epoch + 1);
	assert_int_equal(get(&cfg, pri + 6, 2), 0x8000);
	atomic_store(&cfg.pri_outstanding, 2);
	assert_false(put(&cfg, pri + 4, 2, 0));
	assert_int_equal(get(&cfg, pri + 6, 2), 0x8000);
	/* Reset has no effect together with Enable, and reads 0. */
	assert_false(put(&cfg, pri + 4, 2, 2));
	assert_int_equal(get(&cfg, pri + 4, 4), 0x81000000);
	assert_int_equal(atomic_load(&cfg.pri_epoch), epoch + 2);

	pci_config_pri_event(&cfg, true);
	pci_config_pri_event(&cfg, false);
	assert_int_equal(get(&cfg, pri + 6, 1), 3);
	assert_false(put(&cfg, pri + 6, 1, 1));
	assert_int_equal(get(&cfg, pri + 4, 4), 0x81020000);
	pci_config_pri_event(&cfg, false);
	assert_false(put(&cfg, pri + 6, 2, 2));
	assert_int_equal(get(&cfg, pri + 6, 2), 0x8100);
	pci_config_pri_event(&cfg, true);
	pci_config_reset(&cfg);
	assert_int_equal(get(&cfg, pri + 6, 2), 0x8100);
	assert_int_equal(atomic_load(&cfg.pri_allocated), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_says_what_it_was_told),
		cmocka_unit_test(capability_lists_hold_each_once_and_end),
		cmocka_unit_test(bars_are_sized_by_writing_ones),
		cmocka_unit_test(msi_and_msix_have_the_right_masks),
		cmocka_unit_test(bus_master_follows_the_command_register),
		cmocka_unit_test(only_a_one_clears_a_w1c_bit),
		cmocka_unit_test(flr_is_asked_for_by_one_bit_that_never_sticks),
		cmocka_unit_test(reset_restores_defaults_and_keeps_what_is_fixed),
		cmocka_unit_test(accesses_outside_are_harmless),
		cmocka_unit_test(ats_and_pasid_controls_are_copied),
		cmocka_unit_test(page_request_status_is_worked_out),
	};

	return cmocka_run_group_tests_name("pci_config", tests, NULL, NULL);
}
