// SPDX-License-Identifier: BSD-3-Clause
/*
 * The guest half's SMMUv3 on this host: the guest's tables are in our process, the translation is
 * the host's. What a case sees are data that devices wrote and events that came; a stale
 * translation is asked for where the host caches, so that an invalidation that did nothing would
 * show.
 */
#include "unit.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ON_SMMU (NEED_SMMU | NEED_NESTING | NEED_DMA)

#define IOVA 0x1000000000ULL
#define A UNIT_DATA
#define B (UNIT_DATA + PAGE)

/* A device whose stage 1 leads IOVA to @gpa: its context. */
static uint64_t translated(struct unit *u, nst_rid rid, uint16_t asid, uint64_t gpa)
{
	uint64_t context = smmu_context(&u->guest, asid);

	smmu_map(&u->guest, context, IOVA, gpa);
	unit_write_ste(u, rid, STE0_V | STE0_S1 | context);
	return context;
}

static void start(struct unit *u, void **state, unsigned int num_devices)
{
	unit_init(u, *state, num_devices);
	unit_enable(u);
}

/* The write is made; it did not change @gpa. */
static void misses(struct unit *u, uint64_t iova, uint64_t gpa)
{
	memset(unit_memory(u, gpa), 0, 8);
	ok(dma_write(u->rig, NO_PASID, iova, 0x55aa));
	assert_false(dma_arrived(u->rig, unit_memory(u, gpa)));
}

/* --- translation ----------------------------------------------------------------------------- */

static void both_stages_translate(void **state)
{
	int fd = memfd_create("high", MFD_CLOEXEC);
	struct unit u;
	uint64_t context;
	void *high;

	ok(ftruncate(fd, PAGE));
	high = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(high, MAP_FAILED);
	start(&u, state, 1);
	ok(nst_vm_map_file(u.vm, (nst_gpa){ UNIT_HIGH }, PAGE, fd, 0, true));
	context = translated(&u, u.rids[0], 1, A);
	smmu_map(&u.guest, context, IOVA + PAGE, B);
	smmu_map(&u.guest, context, IOVA + 2 * PAGE, UNIT_HIGH);
	unit_reaches(&u, IOVA, A);
	unit_reaches(&u, IOVA + PAGE + 0x128, B + 0x128);
	dma_reaches(u.rig, NO_PASID, IOVA + 2 * PAGE, high);
	ok(nst_vm_unmap(u.vm, (nst_gpa){ UNIT_HIGH }, PAGE));
	dma_is_blocked(u.rig, NO_PASID, IOVA + 2 * PAGE); /* by stage 2 */
	ok(nst_vm_map_file(u.vm, (nst_gpa){ UNIT_HIGH }, PAGE, fd, 0, true));
	dma_reaches(u.rig, NO_PASID, IOVA + 2 * PAGE, high);
	unit_fini(&u, __func__);
	munmap(high, PAGE);
	close(fd);
}

static void every_pair_of_entries(void **state)
{
	struct unit u;
	uint64_t contexts[2], ste[4];

	start(&u, state, 1);
	for (uint16_t i = 0; i < 2; i++) {
		contexts[i] = smmu_context(&u.guest, i + 1);
		smmu_map(&u.guest, contexts[i], IOVA, i ? B : A);
		ste[i] = STE0_V | STE0_S1 | contexts[i];
	}
	ste[2] = STE0_V | STE0_BYPASS;
	ste[3] = STE0_V | STE0_ABORT;
	for (unsigned int from = 0; from < 4; from++) {
		for (unsigned int to = 0; to < 4; to++) {
			unit_write_ste(&u, u.rids[0], ste[from]);
			unit_write_ste(&u, u.rids[0], ste[to]);
			if (to < 2)
				unit_reaches(&u, IOVA, to ? B : A);
			else if (to == 2)
				unit_reaches(&u, A, A);
			else
				dma_is_blocked(u.rig, NO_PASID, A);
		}
	}
	unit_expect_no_event(&u);
	unit_fini(&u, __func__);
}

static void a_stream_table_of_two_levels(void **state)
{
	struct unit u;

	unit_init(&u, *state, 1);
	u.two_level = true;
	unit_enable(&u);
	translated(&u, u.rids[0], 1, A);
	unit_reaches(&u, IOVA, A);
	unit_fini(&u, __func__);
}

/* --- SMMUEN, GBPA, reset --------------------------------------------------------------------- */

static void gbpa_while_disabled(void **state)
{
	struct unit u;

	start(&u, state, 1);
	translated(&u, u.rids[0], 1, A);
	unit_reaches(&u, IOVA, A);
	unit_cr0(&u, CR0_CMDQEN | CR0_EVENTQEN);
	unit_reaches(&u, B, B);
	unit_set(&u, UNIT_GBPA, GBPA_UPDATE | GBPA_ABORT);
	assert_int_equal(unit_get(&u, UNIT_GBPA), GBPA_ABORT);
	dma_is_blocked(u.rig, NO_PASID, B);
	unit_cr0(&u, CR0_ALL); /* GBPA says nothing any more */
	unit_reaches(&u, IOVA, A);
	unit_set(&u, UNIT_GBPA, GBPA_UPDATE);
	unit_reaches(&u, IOVA, A);
	unit_cr0(&u, CR0_CMDQEN | CR0_EVENTQEN);
	unit_reaches(&u, B, B);
	unit_fini(&u, __func__);
}

static void reset_ends_translation(void **state)
{
	struct unit u;

	start(&u, state, 1);
	translated(&u, u.rids[0], 1, A);
	unit_reaches(&u, IOVA, A);
	nst_viommu_reset(u.viommu);
	assert_int_equal(unit_get(&u, UNIT_CR0), 0);
	unit_reaches(&u, B, B);
	unit_enable(&u);
	translated(&u, u.rids[0], 1, B);
	unit_reaches(&u, IOVA, B);
	unit_fini(&u, __func__);
}

/* --- invalidation ---------------------------------------------------------------------------- */

/* The page's entry changes from A to B; the host goes on with A until the guest invalidates. */
static void make_stale(struct unit *u, uint64_t context)
{
	smmu_map(&u->guest, context, IOVA, A);
	unit_run(u, TLBI_NSNH_ALL, 0);
	unit_reaches(u, IOVA, A);
	smmu_map(&u->guest, context, IOVA, B);
	misses(u, IOVA, B);
}

static void every_tlbi_ends_the_stale_translation(void **state)
{
	const struct {
		uint64_t cmd0, cmd1;
		bool hit, range;
	} cases[] = {
		{ TLBI_NSNH_ALL, 0, true, false },
		{ TLBI_NH_ALL, 0, true, false },
		{ TLBI_NH_ASID | CMD0_ASID(7), 0, true, false },
		{ TLBI_NH_ASID | CMD0_ASID(8), 0, false, false },
		{ TLBI_NH_VA | CMD0_ASID(7), IOVA | CMD1_LEAF, true, false },
		{ TLBI_NH_VA | CMD0_ASID(7), IOVA, true, false },
		{ TLBI_NH_VA | CMD0_ASID(8), IOVA | CMD1_LEAF, false, false },
		{ TLBI_NH_VA | CMD0_ASID(7), (IOVA + PAGE) | CMD1_LEAF, false, false },
		{ TLBI_NH_VAA, IOVA | CMD1_LEAF, true, false },
		{ TLBI_NH_VA | CMD0_ASID(7) | CMD0_NUM(4), (IOVA - 2 * PAGE) | CMD1_TG_4K, true,
		  true },
		{ TLBI_NH_VA | CMD0_ASID(7) | CMD0_NUM(4), (IOVA - 4 * PAGE) | CMD1_TG_4K, false,
		  true },
		{ TLBI_NH_VAA | CMD0_NUM(4), (IOVA - 2 * PAGE) | CMD1_TG_4K, true, true },
	};
	struct unit u;
	uint64_t context;

	start(&u, state, 1);
	context = translated(&u, u.rids[0], 7, A);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (cases[i].range && !(unit_get(&u, UNIT_IDR3) & IDR3_RIL))
			continue;
		make_stale(&u, context);
		unit_run(&u, cases[i].cmd0, cases[i].cmd1);
		if (cases[i].hit)
			unit_reaches(&u, IOVA, B);
		else
			misses(&u, IOVA, B);
	}
	unit_fini(&u, __func__);
}

static void an_unmapped_page_faults_after_its_tlbi(void **state)
{
	struct unit u;
	uint64_t context;

	start(&u, state, 1);
	context = translated(&u, u.rids[0], 7, A);
	unit_reaches(&u, IOVA, A);
	*smmu_leaf(&u.guest, context, IOVA) = 0;
	unit_reaches(&u, IOVA, A); /* as hardware may */
	unit_expect_no_event(&u);
	unit_run(&u, TLBI_NH_VA | CMD0_ASID(7), IOVA | CMD1_LEAF);
	err(EFAULT, dma_write(u.rig, NO_PASID, IOVA, 1));
	unit_expect_fault(&u, F_TRANSLATION, u.rids[0], IOVA);
	unit_fini(&u, __func__);
}

static void a_changed_cd_counts_after_its_cfgi(void **state)
{
	const uint64_t cmds[] = { CFGI_CD, CFGI_CD_ALL, CFGI_STE /* with its CDs */ };
	struct unit u;

	start(&u, state, 1);
	for (uint16_t i = 0; i < 3; i++) {
		uint64_t context = translated(&u, u.rids[0], 20 + i, A);
		uint64_t other = smmu_context(&u.guest, 30 + i);

		smmu_map(&u.guest, other, IOVA, B);
		unit_reaches(&u, IOVA, A);
		memcpy(smmu_cd(&u.guest, context), smmu_cd(&u.guest, other), 64);
		misses(&u, IOVA, B);
		unit_run(&u, cmds[i] | CMD0_SID(u.rids[0]), CMD1_LEAF);
		unit_reaches(&u, IOVA, B);
	}
	unit_fini(&u, __func__);
}

/* As a driver does: a CMD_SYNC takes its place, and the queue goes on. */
static void mend_command(struct unit *u, uint32_t at)
{
	uint64_t *cmd = (void *)unit_memory(u, UNIT_CMDQ + (at & 0xff) * 16);

	cmd[0] = CMD_SYNC;
	cmd[1] = 0;
	unit_set(u, UNIT_GERRORN, unit_get(u, UNIT_GERROR));
	assert_int_equal(unit_error(u), 0);
	assert_int_equal(unit_get(u, UNIT_CMDQ_CONS) & 0x1ff, u->prod);
}

/* @before commands, of which the last counts, one that is an error, and a CMD_SYNC. */
static void run_before_an_error(struct unit *u, unsigned int before, uint64_t bad)
{
	uint32_t at = u->prod + before;

	for (unsigned int i = 0; i + 1 < before; i++)
		unit_put(u, TLBI_NH_VA | CMD0_ASID(99), IOVA | CMD1_LEAF);
	unit_put(u, TLBI_NH_VA | CMD0_ASID(7), IOVA | CMD1_LEAF);
	unit_put(u, bad, CMD1_LEAF);
	unit_put(u, CMD_SYNC, 0);
	unit_kick(u);
	assert_int_equal(unit_error(u), CERROR_ILL);
	assert_int_equal(unit_get(u, UNIT_CMDQ_CONS) & 0x1ff, at & 0x1ff);
	unit_reaches(u, IOVA, B);
	u->host.spoil_cds = false;
	mend_command(u, at);
}

static void commands_before_an_illegal_one_are_done(void **state)
{
	struct unit u;
	uint64_t context;

	start(&u, state, 1);
	context = translated(&u, u.rids[0], 7, A);
	for (unsigned int before = 1; before < 140; before += before == 1 ? 61 : 7) {
		make_stale(&u, context);
		run_before_an_error(&u, before, 0xff);
	}
	unit_fini(&u, __func__);
}

/*
 * Linux 7.2 issues a batch in pieces, and of the piece with a command that it refuses nothing,
 * though it counts what stood before that as done. So the unit has to ask again.
 */
static void commands_before_a_refused_one_are_done(void **state)
{
	struct unit u;
	unsigned int failed;
	uint64_t context;

	start(&u, state, 1);
	context = translated(&u, u.rids[0], 7, A);
	failed = u.host.failed;
	for (unsigned int before = 1; before < 100; before += 34) {
		make_stale(&u, context);
		u.host.spoil_cds = true;
		run_before_an_error(&u, before, CFGI_CD | CMD0_SID(u.rids[0]));
	}
	assert_int_equal(u.host.failed, failed + 6); /* the batch, and the one command */
	unit_fini(&u, __func__);
}

/* The host refuses commands on a virtual SID that it does not know: they are no error here. */
static void commands_on_unknown_streams(void **state)
{
	struct unit u;
	unsigned int failed;

	start(&u, state, 1);
	translated(&u, u.rids[0], 1, A);
	failed = u.host.failed;
	unit_run(&u, CFGI_STE | CMD0_SID(0x11), CMD1_LEAF);
	unit_run(&u, CFGI_CD | CMD0_SID(0x11), CMD1_LEAF);
	unit_run(&u, CFGI_CD_ALL | CMD0_SID(0xffff), 0);
	unit_run(&u, CFGI_CD | CMD0_SID(0xfffffff0), CMD1_LEAF);
	assert_int_equal(u.host.failed, failed);
	unit_reaches(&u, IOVA, A);
	unit_fini(&u, __func__);
}

/* --- events ---------------------------------------------------------------------------------- */

static void faults_are_events(void **state)
{
	struct unit u;
	uint64_t context;

	start(&u, state, 1);
	context = translated(&u, u.rids[0], 7, A);
	smmu_map(&u.guest, context, IOVA + 2 * PAGE, A);
	*smmu_leaf(&u.guest, context, IOVA + 2 * PAGE) |= PAGE_READ_ONLY;
	smmu_map(&u.guest, context, IOVA + 3 * PAGE, A);
	*smmu_leaf(&u.guest, context, IOVA + 3 * PAGE) &= ~PAGE_ACCESSED;
	smmu_map(&u.guest, context, IOVA + 4 * PAGE, 1ULL << 46); /* beyond OAS */
	unit_reaches(&u, IOVA, A);
	err(EFAULT, dma_write(u.rig, NO_PASID, IOVA + PAGE + 0x80, 1));
	unit_expect_fault(&u, F_TRANSLATION, u.rids[0], IOVA + PAGE + 0x80);
	err(EFAULT, dma_write(u.rig, NO_PASID, IOVA + 2 * PAGE, 1));
	unit_expect_fault(&u, F_PERMISSION, u.rids[0], IOVA + 2 * PAGE);
	err(EFAULT, dma_write(u.rig, NO_PASID, IOVA + 3 * PAGE, 1));
	unit_expect_fault(&u, F_ACCESS, u.rids[0], IOVA + 3 * PAGE);
	err(EFAULT, dma_write(u.rig, NO_PASID, IOVA + 4 * PAGE, 1));
	unit_expect_fault(&u, F_ADDR_SIZE, u.rids[0], IOVA + 4 * PAGE);
	unit_reaches(&u, IOVA, A);
	unit_expect_no_event(&u);
	unit_fini(&u, __func__);
}

static void a_bad_cd_is_an_event(void **state)
{
	struct unit u;
	uint64_t context;

	start(&u, state, 1);
	context = translated(&u, u.rids[0], 7, A);
	unit_reaches(&u, IOVA, A);
	*smmu_cd(&u.guest, context) &= ~CD0_A;
	unit_run(&u, CFGI_CD | CMD0_SID(u.rids[0]), CMD1_LEAF);
	err(EFAULT, dma_write(u.rig, NO_PASID, IOVA, 1));
	unit_expect_fault(&u, C_BAD_CD, u.rids[0], 0);
	*smmu_cd(&u.guest, context) |= CD0_A;
	unit_run(&u, CFGI_CD | CMD0_SID(u.rids[0]), CMD1_LEAF);
	unit_reaches(&u, IOVA, A);
	unit_fini(&u, __func__);
}

static void a_bad_entry_blocks_and_can_be_mended(void **state)
{
	struct unit u;
	uint64_t context;

	start(&u, state, 1);
	context = translated(&u, u.rids[0], 7, A);
	unit_write_ste(&u, u.rids[0], 0); /* V=0 */
	dma_is_blocked(u.rig, NO_PASID, IOVA);
	unit_expect_no_event(&u);
	unit_write_ste(&u, u.rids[0], STE0_V | STE0_CONFIG(6)); /* there is no stage 2 */
	unit_expect_fault(&u, C_BAD_STE, u.rids[0], 0);
	dma_is_blocked(u.rig, NO_PASID, IOVA);
	/* without substreams S1CDMax is ignored; a host that is given it finds the entry bad */
	unit_write_ste(&u, u.rids[0], STE0_V | STE0_S1 | STE0_S1CDMAX(2) | context);
	unit_reaches(&u, IOVA, A);
	err(EFAULT, dma_write(u.rig, NO_PASID, A, 1));
	unit_expect_fault(&u, F_TRANSLATION, u.rids[0], A);
	unit_write_ste(&u, u.rids[0], STE0_V | STE0_S1 | context);
	unit_reaches(&u, IOVA, A);
	unit_fini(&u, __func__);
}

/* What the host had no room for is lost, and the guest can see that, whose own queue has room. */
static void lost_events_are_an_overflow(void **state)
{
	struct unit u;

	start(&u, state, 1);
	translated(&u, u.rids[0], 7, A);
	for (unsigned int i = 0; i < 3u << UNIT_EVENTQ_LG2 >> 2; i++)
		err(EFAULT, dma_write(u.rig, NO_PASID, IOVA + PAGE, 1));
	unit_drain_overflow(&u);
	err(EFAULT, dma_write(u.rig, NO_PASID, IOVA + 5 * PAGE, 1));
	unit_expect_fault(&u, F_TRANSLATION, u.rids[0], IOVA + 5 * PAGE);
	unit_expect_no_event(&u);
	unit_fini(&u, __func__);
}

/* --- several devices, and names --------------------------------------------------------------- */

static void each_device_has_its_own_tables(void **state)
{
	struct unit u;

	start(&u, state, 2);
	translated(&u, u.rids[0], 1, A);
	translated(&u, u.rids[1], 2, B);
	unit_reaches(&u, IOVA, A);
	err(EFAULT, dma_write(u.rig, NO_PASID, IOVA + PAGE, 1));
	unit_expect_fault(&u, F_TRANSLATION, u.rids[0], IOVA + PAGE);
	unit_use(&u, 1);
	unit_reaches(&u, IOVA, B);
	err(EFAULT, dma_write(u.rig, NO_PASID, IOVA + PAGE, 1));
	unit_expect_fault(&u, F_TRANSLATION, u.rids[1], IOVA + PAGE);
	unit_write_ste(&u, u.rids[0], STE0_V | STE0_ABORT);
	unit_reaches(&u, IOVA, B);
	unit_use(&u, 0);
	dma_is_blocked(u.rig, NO_PASID, IOVA);
	unit_fini(&u, __func__);
}

static void one_goes_and_the_other_stays(void **state)
{
	struct unit u;
	int objects;

	start(&u, state, 2);
	translated(&u, u.rids[0], 1, A);
	translated(&u, u.rids[1], 2, B);
	objects = u.host.objects;
	nst_viommu_detach(u.viommu, u.rids[0]);
	assert_true(u.host.objects < objects);
	unit_reaches(&u, B, B); /* untranslated */
	unit_use(&u, 1);
	unit_reaches(&u, IOVA, B);
	ok(nst_viommu_attach(u.viommu, u.rids[0], u.devices[0]));
	unit_use(&u, 0);
	unit_reaches(&u, IOVA, A);
	assert_int_equal(u.host.objects, objects);
	unit_fini(&u, __func__);
}

static void a_device_gets_another_number(void **state)
{
	struct unit u;
	struct nst_rid_move move;

	start(&u, state, 1);
	translated(&u, 0x10, 1, A);
	translated(&u, 0x80, 2, B);
	unit_reaches(&u, IOVA, A);
	move = (struct nst_rid_move){ u.devices[0], 0x80 };
	ok(nst_viommu_renumber(u.viommu, &move, 1));
	unit_reaches(&u, IOVA, B);
	err(EFAULT, dma_write(u.rig, NO_PASID, IOVA + PAGE, 1));
	unit_expect_fault(&u, F_TRANSLATION, 0x80, IOVA + PAGE);
	unit_fini(&u, __func__);
}

/* A number belongs to one virtual device of the host at a time. */
static void two_devices_swap_numbers(void **state)
{
	struct nst_rid_move moves[2];
	struct unit u;

	start(&u, state, 2);
	translated(&u, u.rids[0], 1, A);
	translated(&u, u.rids[1], 2, B);
	unit_reaches(&u, IOVA, A);
	for (unsigned int i = 0; i < 2; i++)
		moves[i] = (struct nst_rid_move){ u.devices[i], u.rids[!i] };
	ok(nst_viommu_renumber(u.viommu, moves, 2));
	unit_reaches(&u, IOVA, B);
	err(EFAULT, dma_write(u.rig, NO_PASID, IOVA + PAGE, 1));
	unit_expect_fault(&u, F_TRANSLATION, u.rids[1], IOVA + PAGE);
	unit_use(&u, 1);
	unit_reaches(&u, IOVA, A);
	err(EFAULT, dma_write(u.rig, NO_PASID, IOVA + PAGE, 1));
	unit_expect_fault(&u, F_TRANSLATION, u.rids[0], IOVA + PAGE);
	unit_fini(&u, __func__);
}

/* --- what the host keeps --------------------------------------------------------------------- */

/* Linux's driver maps doorbells into it, so no memory can be there. */
static void the_window_of_msis_is_reserved(void **state)
{
	int fd = memfd_create("there", MFD_CLOEXEC);
	struct nst_gpa_range ranges[3] = { 0 };
	struct unit u;

	unit_init(&u, *state, 1); /* the device is on the parent */
	assert_int_equal(nst_device_reserved(u.devices[0], NULL, 0), 1);
	assert_int_equal(nst_device_reserved(u.devices[0], ranges, 3), 1);
	assert_int_equal(ranges[0].base, 0x8000000);
	assert_int_equal(ranges[0].size, 0x100000);
	assert_int_equal(ranges[1].size, 0);
	ok(ftruncate(fd, PAGE));
	err(EINVAL,
	    nst_vm_map_file(u.vm, (nst_gpa){ ranges[0].base + ranges[0].size - PAGE }, PAGE, fd, 0, true));
	ok(nst_vm_map_file(u.vm, (nst_gpa){ ranges[0].base + ranges[0].size }, PAGE, fd, 0, true));
	ok(nst_vm_unmap(u.vm, (nst_gpa){ ranges[0].base + ranges[0].size }, PAGE));
	close(fd);
	unit_fini(&u, __func__);
}

static const struct suite_case cases[] = {
	TEST(both_stages_translate, ON_SMMU),
	TEST(every_pair_of_entries, ON_SMMU),
	TEST(a_stream_table_of_two_levels, ON_SMMU),
	TEST(gbpa_while_disabled, ON_SMMU),
	TEST(reset_ends_translation, ON_SMMU),
	TEST(every_tlbi_ends_the_stale_translation, ON_SMMU),
	TEST(an_unmapped_page_faults_after_its_tlbi, ON_SMMU),
	TEST(a_changed_cd_counts_after_its_cfgi, ON_SMMU),
	TEST(commands_before_an_illegal_one_are_done, ON_SMMU),
	TEST(commands_before_a_refused_one_are_done, ON_SMMU),
	TEST(commands_on_unknown_streams, ON_SMMU),
	TEST(faults_are_events, ON_SMMU),
	TEST(a_bad_cd_is_an_event, ON_SMMU),
	TEST(a_bad_entry_blocks_and_can_be_mended, ON_SMMU),
	TEST(lost_events_are_an_overflow, ON_SMMU),
	TEST(each_device_has_its_own_tables, ON_SMMU | NEED_TWO_DEVICES),
	TEST(one_goes_and_the_other_stays, ON_SMMU | NEED_TWO_DEVICES),
	TEST(a_device_gets_another_number, ON_SMMU),
	TEST(two_devices_swap_numbers, ON_SMMU | NEED_TWO_DEVICES),
	TEST(the_window_of_msis_is_reserved, ON_SMMU),
};

SUITE_GROUP(unit, cases)
