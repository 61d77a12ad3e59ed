// SPDX-License-Identifier: BSD-3-Clause
/* The controller as Linux 7.2's nvme driver meets it: registers, start, identify, queues, end. */
#include "rig.h"

#include <unistd.h>

#define DISK (8ULL << 20)

static void registers_at_power_on(void **state)
{
	struct rig r;

	rig_open(&r, DISK, "", false);
	assert_int_equal(rig_read(&r, NVME_REG_VS), 0x10400);
	assert_int_equal(rig_read(&r, NVME_REG_CC), 0);
	assert_int_equal(rig_read(&r, NVME_REG_CSTS), 0);
	/* MQES 1024, contiguous, 10 s, stride 4; NVM command set, pages of 4 to 64 KiB */
	assert_int_equal(rig_read(&r, 0), 0x140103ff);
	assert_int_equal(rig_read(&r, 4), 0x00400020);
	assert_true(r.ep->ops->bar_read(r.ep, 0, 0, 8) == 0x00400020140103ffULL);
	/* Unaligned and narrow reads give the registers' bytes; BARs that are not there, ones. */
	assert_int_equal(r.ep->ops->bar_read(r.ep, 0, 2, 4), 0x00201401);
	assert_int_equal(r.ep->ops->bar_read(r.ep, 0, 9, 1), 4);
	assert_int_equal(r.ep->ops->bar_read(r.ep, 1, 0, 2), 0xffff);
	rig_close(&r);
}

static void writes_that_are_no_register_accesses_do_nothing(void **state)
{
	struct rig r;

	rig_open(&r, DISK, "", false);
	r.ep->ops->bar_write(r.ep, 0, NVME_REG_AQA, 2, 0xffff);
	r.ep->ops->bar_write(r.ep, 0, NVME_REG_AQA, 1, 0xff);
	r.ep->ops->bar_write(r.ep, 0, NVME_REG_AQA + 2, 4, 0xffffffff);
	r.ep->ops->bar_write(r.ep, 0, NVME_REG_AQA, 8, UINT64_MAX); /* not 8-aligned */
	assert_int_equal(rig_read(&r, NVME_REG_AQA), 0);
	rig_write(&r, NVME_REG_CAP, 0);
	rig_write(&r, NVME_REG_VS, 0);
	rig_write(&r, NVME_REG_CSTS, 0xffffffff);
	rig_write(&r, 0x20, 0x4e564d65); /* NSSR: absent */
	assert_int_equal(rig_read(&r, NVME_REG_VS), 0x10400);
	assert_int_equal(rig_read(&r, NVME_REG_CSTS), 0);
	rig_write(&r, NVME_REG_AQA, 0xffffffff);
	assert_int_equal(rig_read(&r, NVME_REG_AQA), 0x0fff0fff);
	r.ep->ops->bar_write(r.ep, 0, NVME_REG_ASQ, 8, 0x123456789abcdefULL);
	assert_true(r.ep->ops->bar_read(r.ep, 0, NVME_REG_ASQ, 8) == 0x123456789abc000ULL);
	rig_write(&r, NVME_REG_ASQ + 4, 7);
	assert_true(r.ep->ops->bar_read(r.ep, 0, NVME_REG_ASQ, 8) == 0x789abc000ULL);
	rig_close(&r);
}

static void msix_table_is_memory(void **state)
{
	struct rig r;

	rig_open(&r, DISK, ",queues=4", false);
	assert_int_equal(rig_read(&r, NVME_MSIX_TABLE + 12), 1);
	rig_write(&r, NVME_MSIX_TABLE, 0xfee00003);
	r.ep->ops->bar_write(r.ep, 0, NVME_MSIX_TABLE + 8, 8, 0x41);
	assert_int_equal(rig_read(&r, NVME_MSIX_TABLE), 0xfee00000);
	assert_int_equal(rig_read(&r, NVME_MSIX_TABLE + 8), 0x41);
	assert_int_equal(rig_read(&r, NVME_MSIX_TABLE + 12), 0);
	rig_write(&r, NVME_MSIX_TABLE + 8 * 16, 0xffffffff); /* behind the last of 8 entries */
	rig_write(&r, NVME_MSIX_PBA, 0xffffffff);
	assert_int_equal(rig_read(&r, NVME_MSIX_TABLE + 8 * 16), 0);
	assert_int_equal(rig_read(&r, NVME_MSIX_PBA), 0);
	r.ep->ops->reset(r.ep);
	assert_int_equal(rig_read(&r, NVME_MSIX_TABLE + 12), 1);
	assert_int_equal(rig_read(&r, NVME_MSIX_TABLE), 0);
	rig_close(&r);
}

static struct nvme_id_ctrl identify_controller(struct rig *r)
{
	uint64_t page = rig_alloc(r, 4096);

	assert_int_equal(rig_do(r, 0, make_admin(NVME_ADMIN_IDENTIFY, page, 1, 0), NULL), 0);
	return *(struct nvme_id_ctrl *)rig_at(r, page, 4096);
}

/* What nvme_init_identify() and nvme_init_subnqn() look at or warn about. */
static void check_controller(const struct nvme_id_ctrl *id, const char *serial)
{
	assert_int_equal(le16_get(id->vid), NVME_PCI_VENDOR);
	assert_memory_equal(id->sn, serial, sizeof(id->sn));
	assert_memory_equal(id->mn, "Nestor NVMe controller                  ", sizeof(id->mn));
	assert_memory_equal(id->subnqn, "nqn.2014-08.org.nvmexpress:uuid:", 32);
	assert_int_equal(strnlen(id->subnqn, sizeof(id->subnqn)), 68);
	assert_int_equal(le32_get(id->ver), 0x10400);
	assert_int_equal(id->cntrltype, 1);
	assert_int_equal(id->sqes, 0x66);
	assert_int_equal(id->cqes, 0x44);
	assert_int_equal(le32_get(id->nn), 1);
	assert_int_equal(id->mdts, 8);
	assert_int_equal(le32_get(id->sgls), 0);
	assert_int_equal(id->cmic, 0);
	assert_int_equal(le32_get(id->hmpre), 0);
	assert_int_equal(le32_get(id->rtd3e), 0);
	assert_int_equal(id->vwc & 1, 1);
}

static void check_namespace(struct rig *r, bool readonly, unsigned int lba_lg2)
{
	uint64_t page = rig_alloc(r, 4096);
	struct nvme_sqe sqe = make_admin(NVME_ADMIN_IDENTIFY, page, 2, 0);
	struct nvme_id_ns *ns = rig_at(r, page, 4096);
	uint8_t *bytes = rig_at(r, page, 4096);

	assert_int_equal(rig_do(r, 0, sqe, NULL), 0);
	assert_int_equal(le_load(bytes, 8), 1);	/* NSID 1 and the end */
	sqe.nsid = le32_make(1);
	assert_int_equal(rig_do(r, 0, sqe, NULL), 0);
	assert_int_equal(le_load(bytes, 8), 0);
	sqe.cdw10 = le32_make(3);
	assert_int_equal(rig_do(r, 0, sqe, NULL), 0);
	assert_int_equal(le_load(bytes, 4), NVME_NIDT_UUID | 16 << 8);
	assert_int_equal(bytes[4 + 6] >> 4, 8);
	assert_int_equal(le_load(bytes + 20, 4), 0);
	sqe.cdw10 = le32_make(0);
	assert_int_equal(rig_do(r, 0, sqe, NULL), 0);
	assert_int_equal(le64_get(ns->nsze), DISK >> lba_lg2);
	assert_int_equal(le64_get(ns->ncap), DISK >> lba_lg2);
	assert_int_equal(ns->lbaf[0].data_lg2, lba_lg2);
	assert_int_equal(ns->nlbaf, 0);
	assert_int_equal(ns->flbas, 0);
	assert_int_equal(ns->nsattr, readonly);
	/* CNS 06h, CSI 0: asked of every controller */
	assert_int_equal(rig_do(r, 0, make_admin(NVME_ADMIN_IDENTIFY, page, 6, 0), NULL), 0);
	assert_int_equal(bytes[3], 255);
}

static void linux_brings_it_up(void **state)
{
	struct nvme_id_ctrl id;
	uint32_t result;
	uint64_t page;
	struct rig r;

	rig_open(&r, DISK, ",serial=bench-1,queues=3", false);
	rig_enable(&r, 32, 0);
	page = rig_alloc(&r, 4096);
	id = identify_controller(&r);
	check_controller(&id, "bench-1             ");
	assert_int_equal(rig_do(&r, 0, make_log(NVME_LOG_EFFECTS, page, 4096, 0), NULL), 0);
	assert_int_equal(rig_do(&r, 0, make_log(NVME_LOG_SMART, page, 512, 0), NULL), 0);
	assert_int_equal(rig_do(&r, 0, make_admin(NVME_ADMIN_SET_FEATURES, 0, 7, 0x10001), &result),
			 0);
	assert_int_equal(result, 2 << 16 | 2);
	rig_create_pair(&r, 1, 1024);
	rig_create_pair(&r, 2, 1024);
	rig_create_pair(&r, 3, 64);
	check_namespace(&r, false, 9);
	assert_int_equal(rig_do(&r, 1, make_rw(NVME_IO_READ, 0, 8, page, 0), NULL), 0);
	assert_int_equal(atomic_load(&r.irqs[1]), 1);
	rig_put(&r, 0, make_admin(NVME_ADMIN_ASYNC_EVENT, 0, 0, 0));
	rig_ring(&r, 0);
	/* Normal shutdown, then disable, as on reboot */
	rig_write(&r, NVME_REG_CC, rig_read(&r, NVME_REG_CC) | 1 << 14);
	assert_int_equal(rig_read(&r, NVME_REG_CSTS), NVME_CSTS_RDY | 2 << 2);
	rig_put(&r, 1, make_rw(NVME_IO_READ, 0, 8, page, 0));
	rig_ring(&r, 1); /* nothing runs after a shutdown */
	assert_int_equal(atomic_load(&r.irqs[1]), 1);
	rig_write(&r, NVME_REG_CC, rig_read(&r, NVME_REG_CC) & ~0xc001U);
	assert_int_equal(rig_read(&r, NVME_REG_CSTS), 0);
	/* AQA, ASQ and ACQ survive a controller reset; it starts again with them. */
	rig_queue_init(&r, 0, 32);
	rig_write(&r, NVME_REG_CC, 0x460001);
	identify_controller(&r);
	rig_close(&r);
}

static void shutdown_of_a_disabled_controller_completes(void **state)
{
	struct rig r;

	rig_open(&r, DISK, "", false);
	rig_write(&r, NVME_REG_CC, 2 << 14);
	assert_int_equal(rig_read(&r, NVME_REG_CSTS), 2 << 2);
	rig_enable(&r, 4, 0);
	rig_write(&r, NVME_REG_CC, 1 << 14 | 0x460000); /* disable and shut down at once */
	assert_int_equal(rig_read(&r, NVME_REG_CSTS), 2 << 2);
	rig_close(&r);
}

static void readonly_and_4k_blocks_are_reported(void **state)
{
	struct rig r;

	rig_open(&r, DISK, ",lba=4096,readonly=on,msix=off", false);
	rig_enable(&r, 32, 0);
	check_namespace(&r, true, 12);
	assert_int_equal(r.ep->config.msix_cap, 0);
	rig_create_pair(&r, 1, 16);
	assert_status(rig_do(&r, 1, make_rw(NVME_IO_WRITE, 0, 1, RIG_BASE, 0), NULL),
		      NVME_WRITE_PROTECTED);
	assert_status(rig_do(&r, 1, make_rw(NVME_IO_WRITE_ZEROES, 0, 1, 0, 0), NULL),
		      NVME_WRITE_PROTECTED);
	assert_int_equal(rig_do(&r, 1, make_rw(NVME_IO_READ, 0, 1, RIG_BASE, 0), NULL), 0);
	assert_int_equal(rig_do(&r, 1, make_sqe(NVME_IO_FLUSH, 1, 0, 0), NULL), 0);
	rig_close(&r);
}

/* Every way to enable it wrongly gives CFS without RDY, and disabling clears that. */
static void bad_configurations_are_fatal_until_disabled(void **state)
{
	static const struct { uint32_t aqa, cc, asq; } bad[] = {
		{ 0x001f0000, 0x460001, 0x1000 }, { 0x0000001f, 0x460001, 0x1000 },
		{ 0x001f001f, 0x460011, 0x1000 }, { 0x001f001f, 0x460071, 0x1000 },
		{ 0x001f001f, 0x460801, 0x1000 }, { 0x001f001f, 0x463801, 0x1000 },
		{ 0x001f001f, 0x460281, 0x100000 }, { 0x001f001f, 0x460081, 0x1000 },
	};
	struct rig r;

	rig_open(&r, DISK, "", false);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		rig_write(&r, NVME_REG_AQA, bad[i].aqa);
		rig_write(&r, NVME_REG_ASQ, bad[i].asq);
		rig_write(&r, NVME_REG_ACQ, 0x200000);
		rig_write(&r, NVME_REG_CC, bad[i].cc);
		assert_int_equal(rig_read(&r, NVME_REG_CSTS), NVME_CSTS_CFS);
		rig_write(&r, NVME_REG_DOORBELLS, 1);
		rig_disable(&r);
	}
	rig_enable(&r, 32, 0);
	assert_int_equal(atomic_load(&r.requests), 0);
	rig_close(&r);
}

static void dma_failure_of_a_queue_is_fatal(void **state)
{
	struct rig r;

	for (int body = 0; body < 3; body++) {
		rig_open(&r, DISK, "", false);
		rig_enable(&r, 8, 0);
		r.fault_nth = body + 1U;	/* entry; completion's body; its phase word */
		rig_put(&r, 0, make_admin(NVME_ADMIN_ABORT, 0, 0, 0));
		rig_ring(&r, 0);
		assert_int_equal(rig_read(&r, NVME_REG_CSTS), NVME_CSTS_RDY | NVME_CSTS_CFS);
		atomic_store(&r.forbidden, true);
		rig_put(&r, 0, make_admin(NVME_ADMIN_ABORT, 0, 0, 0));
		rig_ring(&r, 0);
		atomic_store(&r.forbidden, false);
		rig_disable(&r);
		rig_enable(&r, 8, 0);
		assert_int_equal(rig_do(&r, 0, make_admin(NVME_ADMIN_ABORT, 0, 0, 0), NULL), 0);
		rig_close(&r);
	}
}

static void without_bus_master_nothing_is_fetched(void **state)
{
	uint16_t off = 0;
	struct rig r;

	rig_open(&r, DISK, "", false);
	rig_enable(&r, 8, 0);
	assert_false(pci_config_write(&r.ep->config, 4, &off, sizeof(off)));
	rig_put(&r, 0, make_admin(NVME_ADMIN_ABORT, 0, 0, 0));
	rig_ring(&r, 0);
	assert_int_equal(rig_read(&r, NVME_REG_CSTS), NVME_CSTS_RDY | NVME_CSTS_CFS);
	assert_int_equal(atomic_load(&r.requests), 0);
	rig_close(&r);
}

static void function_reset_is_power_on(void **state)
{
	struct rig r;

	rig_open(&r, DISK, "", false);
	rig_enable(&r, 8, 0);
	r.ep->ops->reset(r.ep);
	assert_int_equal(rig_read(&r, NVME_REG_CC), 0);
	assert_int_equal(rig_read(&r, NVME_REG_CSTS), 0);
	assert_int_equal(rig_read(&r, NVME_REG_AQA), 0);
	assert_int_equal(rig_read(&r, NVME_REG_ASQ), 0);
	assert_false(atomic_load(&r.ep->config.bus_master));
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registers_at_power_on),
		cmocka_unit_test(writes_that_are_no_register_accesses_do_nothing),
		cmocka_unit_test(msix_table_is_memory),
		cmocka_unit_test(linux_brings_it_up),
		cmocka_unit_test(shutdown_of_a_disabled_controller_completes),
		cmocka_unit_test(readonly_and_4k_blocks_are_reported),
		cmocka_unit_test(bad_configurations_are_fatal_until_disabled),
		cmocka_unit_test(dma_failure_of_a_queue_is_fatal),
		cmocka_unit_test(without_bus_master_nothing_is_fetched),
		cmocka_unit_test(function_reset_is_power_on),
	};

	return cmocka_run_group_tests_name("nvme_bringup", tests, NULL, NULL);
}
