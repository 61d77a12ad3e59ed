// SPDX-License-Identifier: BSD-3-Clause
/*
 * What devices are attached to, seen where it counts: by their DMA. Places: see rig.h;
 * NOWHERE is an STE that aborts, PLACE_SAME one that bypasses, PLACE_A to PLACE_C are stage 1.
 */
#include "rig.h"

#include <string.h>

static void every_pair_of_attachments(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	for (enum place from = NOWHERE; from < NUM_PLACES; from++) {
		for (enum place to = NOWHERE; to < NUM_PLACES; to++) {
			unsigned int attaches;

			go(rig, d, from);
			attaches = rig_calls(&rig->host, VFIO_DEVICE_ATTACH_IOMMUFD_PT);
			go(rig, d, to);
			if (from == to)
				assert_int_equal(
					rig_calls(&rig->host, VFIO_DEVICE_ATTACH_IOMMUFD_PT),
					attaches);
		}
	}
	assert_int_equal(rig_soft_stats(rig).stale_hits, 0);
	assert_int_equal(event_type(rig), 0);
}

static void the_same_through_two_levels(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	rig->two_level = true;
	guest_enable(rig);
	for (enum place to = NOWHERE; to < NUM_PLACES; to++)
		go(rig, d, to);
	d = rig_add_device(rig); /* StreamID 0 */
	set_place(rig, d, PLACE_A);
	cmdq_run(rig, CMD_CFGI_STE(d->rid), 1);
	assert_int_equal(place_of(d), PLACE_A);
}

static void every_trigger_reaches_the_device(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	const struct {
		uint64_t qw0, qw1;
		bool hit;
	} cases[] = {
		{ CMD_CFGI_STE(d->rid), 0, true },
		{ CMD_CFGI_STE(d->rid), 1, true },
		{ CMD_CFGI_ALL, 31, true },
		{ CMD_CFGI_ALL | (uint64_t)d->rid << 32, 0, true },	  /* two streams */
		{ CMD_CFGI_ALL | (uint64_t)(d->rid ^ 1) << 32, 0, true }, /* from below */
		{ CMD_CFGI_ALL | (uint64_t)(d->rid ^ 2) << 32, 0, false },
		{ CMD_CFGI_STE(d->rid ^ 1), 0, false },
		{ CMD_CFGI_STE(0x10000u + d->rid), 0, false },
		{ CMD_CFGI_CD_ALL(d->rid), 0, false },
		{ CMD_TLBI_NSNH_ALL, 0, false },
	};

	guest_enable(rig);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		go(rig, d, NOWHERE);
		set_place(rig, d, PLACE_A);
		cmdq_run(rig, cases[i].qw0, cases[i].qw1);
		assert_int_equal(place_of(d), cases[i].hit ? PLACE_A : NOWHERE);
		set_place(rig, d, PLACE_B);
		cr0_set(rig, CR0_CMDQEN | CR0_EVENTQEN);
		assert_int_equal(place_of(d), PLACE_SAME);
		cr0_set(rig, CR0_ALL);
		assert_int_equal(place_of(d), PLACE_B);
	}
}

/* --- GBPA and SMMUEN ------------------------------------------------------------------------- */

/* qemu.md 4.2 (2): there GBPA is put under a device that is translated. */
static void qemu_2_gbpa_while_translating_waits(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	go(rig, d, PLACE_A);
	set_place(rig, d, PLACE_B); /* nor does it make anything look at the entry */
	reg32_set(rig, REG_GBPA, GBPA_UPDATE | GBPA_ABORT);
	assert_int_equal(reg32(rig, REG_GBPA), GBPA_ABORT);
	assert_int_equal(place_of(d), PLACE_A);
	reg32_set(rig, REG_GBPA, GBPA_UPDATE);
	assert_int_equal(place_of(d), PLACE_A);
}

/* qemu.md 4.2 (2): there clearing SMMUEN leaves the nested table attached. */
static void qemu_2_disabling_detaches_the_guests_tables(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	go(rig, d, PLACE_A);
	cr0_set(rig, CR0_CMDQEN);
	assert_int_equal(place_of(d), PLACE_SAME);
	assert_int_equal(nested_alive(rig), 0);
	cr0_set(rig, CR0_ALL);
	assert_int_equal(place_of(d), PLACE_A);
	reg32_set(rig, REG_GBPA, GBPA_UPDATE | GBPA_ABORT);
	cr0_set(rig, CR0_CMDQEN);
	assert_int_equal(place_of(d), NOWHERE);
	reg32_set(rig, REG_GBPA, 0); /* without UPDATE */
	assert_int_equal(place_of(d), NOWHERE);
	reg32_set(rig, REG_GBPA, GBPA_UPDATE);
	assert_int_equal(place_of(d), PLACE_SAME);
}

/* qemu.md 4.2 (3): there an entry that cannot be found leaves the old one attached. */
static void qemu_3_an_entry_that_is_gone_blocks(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	rig->two_level = true;
	guest_enable(rig);
	go(rig, d, PLACE_A);
	*mem64(rig, GPA_L1) = 0; /* no second level */
	cmdq_run(rig, CMD_CFGI_STE(d->rid), 0);
	assert_int_equal(place_of(d), NOWHERE);
	assert_int_equal(event_type(rig), 0); /* absence is not told without a transaction */
	*mem64(rig, GPA_L1) = GPA_L2 | 5;     /* 16 entries: up to StreamID 15 */
	cmdq_run(rig, CMD_CFGI_STE(d->rid), 0);
	assert_int_equal(place_of(d), NOWHERE);
	*mem64(rig, GPA_L1) = GPA_L2 | 6; /* 32 entries */
	cmdq_run(rig, CMD_CFGI_STE(d->rid), 0);
	assert_int_equal(place_of(d), PLACE_A);
	*mem64(rig, GPA_L1) = GPA_NOTHING | 9;
	cmdq_run(rig, CMD_CFGI_STE(d->rid), 0);
	assert_int_equal(place_of(d), NOWHERE);
	assert_int_equal(event_type(rig), 3); /* F_STE_FETCH */
}

/* Linux rewrites an entry with V = 0 in between, and a CFGI_STE of its own. */
static void an_entry_that_is_not_valid_blocks_in_silence(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	go(rig, d, PLACE_A);
	guest_ste(rig, d->rid)[0] &= ~1ULL;
	cmdq_run(rig, CMD_CFGI_STE(d->rid), 1);
	assert_int_equal(place_of(d), NOWHERE);
	assert_int_equal(event_type(rig), 0);
	go(rig, d, PLACE_B);
}

/* --- errors ---------------------------------------------------------------------------------- */

/* qemu.md 4.2 (4): there a host that refuses an entry is CERROR_ILL, and stops the queue. */
static void qemu_4_a_refused_entry_is_an_event(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t event[4];

	guest_enable(rig);
	go(rig, d, PLACE_A);
	rig_fail_from_now_on(&rig->host, IOMMU_HWPT_ALLOC, EIO);
	set_place(rig, d, PLACE_B);
	cmdq_run(rig, CMD_CFGI_STE(d->rid), 1);
	assert_int_equal(place_of(d), NOWHERE);
	assert_true(event_take(rig, event));
	assert_int_equal(event[0], 4 | (uint64_t)d->rid << 32); /* C_BAD_STE */
	cmdq_run(rig, CMD_CFGI_STE(d->rid), 1);			/* not told twice */
	assert_int_equal(event_type(rig), 0);
	rig_fail_stop(&rig->host);
	cmdq_run(rig, CMD_CFGI_STE(d->rid), 1);
	assert_int_equal(place_of(d), PLACE_B);
}

static void an_illegal_entry_is_told_once(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	go(rig, d, PLACE_A);
	guest_ste(rig, d->rid)[0] |= 2ULL << 1; /* Config: nested */
	cmdq_run(rig, CMD_CFGI_STE(d->rid), 1);
	assert_int_equal(place_of(d), NOWHERE);
	assert_int_equal(event_type(rig), 4);
	cmdq_run(rig, CMD_CFGI_STE(d->rid), 1);
	assert_int_equal(event_type(rig), 0);
	go(rig, d, PLACE_A);
	guest_ste(rig, d->rid)[0] |= 2ULL << 1;
	cmdq_run(rig, CMD_CFGI_STE(d->rid), 1);
	assert_int_equal(event_type(rig), 4);
}

/* --- what the host is given ------------------------------------------------------------------ */

static int keep_ste(struct rig *rig, unsigned long request, void *arg)
{
	const struct iommu_hwpt_alloc *cmd = arg;

	if (request == IOMMU_HWPT_ALLOC && cmd->data_type == IOMMU_HWPT_DATA_ARM_SMMUV3)
		memcpy(rig->hook_data, (void *)(uintptr_t)cmd->data_uptr, 16);
	return 0;
}

/* The kernel answers EIO to stray bits, and equal entries are to be equal. */
static void the_host_sees_no_bit_without_meaning(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t words[2] = { 0 }, *ste = guest_ste(rig, d->rid);
	const uint64_t attributes = 1ULL << 2 | 1ULL << 4 | 3ULL << 6; /* S1CIR, S1COR, S1CSH */

	guest_enable(rig);
	rig->host.hook = keep_ste;
	rig->hook_data = words;
	set_place(rig, d, PLACE_A);
	/* S1Fmt and S1DSS without substreams, EATS without ATS, reserved and software's bits,
	 * overrides, and all of stage 2 */
	ste[0] |= 1ULL << 4 | 0x7fULL << 52;
	ste[1] = attributes | 2 | 1ULL << 28 | 0xf0ULL << 32 | 0x7fULL << 20;
	memset(&ste[2], 0xff, 48);
	cmdq_run(rig, CMD_CFGI_STE(d->rid), 1);
	assert_int_equal(place_of(d), PLACE_A);
	assert_int_equal(words[0], STE_S1(cd_of(rig, d->rid, PLACE_A)));
	assert_int_equal(words[1], attributes);
	guest_ste(rig, d->rid)[0] = STE_BYPASS | 0xfffff00;
	guest_ste(rig, d->rid)[1] |= 3;
	cmdq_run(rig, CMD_CFGI_STE(d->rid), 1);
	assert_int_equal(words[0], STE_BYPASS);
	assert_int_equal(words[1], 0);
	assert_int_equal(place_of(d), PLACE_SAME);
}

static void equal_entries_share_one_hwpt(void **state)
{
	struct rig *rig = *state;

	rig_add_device(rig);
	rig_add_device(rig);
	guest_enable(rig);
	for (int i = 0; i < 3; i++)
		set_place(rig, &rig->devices[i], PLACE_SAME);
	cmdq_run(rig, CMD_CFGI_ALL, 31);
	assert_int_equal(nested_alive(rig), 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(place_of(&rig->devices[i]), PLACE_SAME);
	nst_viommu_detach(rig->viommu, rig->devices[1].rid);
	assert_int_equal(nested_alive(rig), 1);
	nst_viommu_detach(rig->viommu, rig->devices[0].rid);
	nst_viommu_detach(rig->viommu, rig->devices[2].rid);
	assert_int_equal(nested_alive(rig), 0);
}

/* --- the vIOMMU and names -------------------------------------------------------------------- */

static void objects_come_with_the_first_and_go_with_the_last(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d;
	int objects = 1; /* the IOAS */

	assert_int_equal(rig_host_objects(&rig->host), objects);
	for (int i = 0; i < 3; i++) {
		d = rig_add_device(rig);
		/* parent, vIOMMU, vEVENTQ; a vDEVICE each */
		assert_int_equal(rig_host_objects(&rig->host), objects + 3 + i + 1);
	}
	assert_int_equal(rig_calls(&rig->host, IOMMU_VIOMMU_ALLOC), 1);
	guest_enable(rig);
	for (int i = 0; i < 3; i++) {
		d = &rig->devices[i];
		set_place(rig, d, PLACE_A);
		cmdq_run(rig, CMD_CFGI_STE(d->rid), 1);
	}
	for (int i = 0; i < 3; i++) {
		nst_viommu_detach(rig->viommu, rig->devices[i].rid);
		assert_int_equal(place_of(&rig->devices[i]), PLACE_SAME);
	}
	assert_int_equal(rig_host_objects(&rig->host), 2); /* IOAS, parent */
	/* and again, translating at once */
	d = &rig->devices[0];
	ok(nst_viommu_attach(rig->viommu, d->rid, d->dev));
	assert_int_equal(place_of(d), PLACE_A);
}

/* qemu.md 4.2 (5): there a device keeps the first name it had. */
static void qemu_5_a_renumbered_device_has_its_new_name(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t event[4];

	guest_enable(rig);
	go(rig, d, PLACE_A);
	d->rid = 0x155;
	ok(nst_viommu_renumber(rig->viommu, &(struct nst_rid_move){ d->dev, d->rid }, 1));
	assert_int_equal(place_of(d), NOWHERE);
	go(rig, d, PLACE_A);
	assert_int_not_equal(dma_read(d, 0x123456000, &(uint64_t){ 0 }), 0);
	assert_true(event_take(rig, event));
	assert_int_equal(event[0], 0x10 | 0x155ULL << 32);
	/* its commands reach it by that name */
	guest_write_cd(rig, cd_of(rig, d->rid, PLACE_A), rig->root_b, 77);
	assert_int_equal(place_of(d), PLACE_A); /* the old one is cached */
	cmdq_run(rig, CMD_CFGI_CD(d->rid, 0), 1);
	assert_int_equal(place_of(d), PLACE_B);
}

/* All moves are one, so two may swap. */
static void two_devices_swap_names(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0], *other = rig_add_device(rig);
	struct nst_rid_move moves[] = { { d->dev, other->rid }, { other->dev, d->rid } };
	uint64_t event[4];
	nst_rid rid = d->rid;

	guest_enable(rig);
	set_place(rig, d, PLACE_A);
	set_place(rig, other, PLACE_B);
	cmdq_run(rig, CMD_CFGI_ALL, 31);
	ok(nst_viommu_renumber(rig->viommu, moves, 2));
	assert_int_equal(place_of(d), PLACE_B);
	assert_int_equal(place_of(other), PLACE_A);
	assert_int_not_equal(dma_read(d, 0x123456000, &(uint64_t){ 0 }), 0);
	assert_true(event_take(rig, event));
	assert_int_equal(event[0] >> 32, other->rid);
	nst_viommu_detach(rig->viommu, rid); /* as it is called now */
	assert_int_equal(place_of(other), PLACE_SAME);
	assert_int_equal(place_of(d), PLACE_B);
	err(ENOENT, nst_viommu_renumber(rig->viommu, moves, 2));
	assert_int_equal(place_of(d), PLACE_B);
	nst_viommu_detach_device(rig->viommu, other->dev); /* is not there */
	nst_viommu_detach_device(rig->viommu, d->dev);
	assert_int_equal(place_of(d), PLACE_SAME);
}

/* The host gives a name to one only: the other waits for it. */
static void two_devices_with_one_name(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0], *other = rig_add_device(rig);
	const nst_rid rid = d->rid, old = other->rid;
	uint64_t gpa;

	guest_enable(rig);
	set_place(rig, d, PLACE_A);
	set_place(rig, other, PLACE_B);
	cmdq_run(rig, CMD_CFGI_ALL, 31);
	ok(nst_viommu_renumber(rig->viommu, &(struct nst_rid_move){ other->dev, rid }, 1));
	assert_int_equal(place_of(d), PLACE_A);
	assert_int_equal(place_of(other), NOWHERE);
	assert_int_equal(event_type(rig), 4);
	ok(emulated(rig, old, NST_NO_PASID, 0, false, &gpa) ? 0 : -1); /* nobody's: not mapped */
	ok(nst_viommu_renumber(rig->viommu, &(struct nst_rid_move){ d->dev, old }, 1));
	assert_int_equal(place_of(other), PLACE_A);
	assert_int_equal(place_of(d), PLACE_B);
	ok(nst_viommu_renumber(rig->viommu, &(struct nst_rid_move){ d->dev, rid }, 1));
	assert_int_equal(place_of(d), NOWHERE);
	/* one of two goes */
	nst_viommu_detach_device(rig->viommu, other->dev);
	assert_int_equal(place_of(d), PLACE_A);
	err(EEXIST, emulated(rig, rid, NST_NO_PASID, 0, false, &gpa));
}

/* Its StreamID is the bridge's, which the host gives to one: so one device, and why not two is said. */
static void a_bridge_with_a_device_behind_it(void **state)
{
	const struct rig_options options = { .features = NST_SMMUV3_ATS, .ssid_bits = 16 };
	struct rig *rig = rig_create(&options);
	struct rig_device *d = rig_plug(rig, true), *other = rig_plug(rig, true);
	const nst_rid alias = 0x100;
	uint32_t cap[2];

	ok(rig_open(rig, d));
	ok(rig_open(rig, other));
	guest_enable(rig);
	ok(nst_viommu_attach_alias(rig->viommu, alias, d->dev));
	d->rid = alias;
	go(rig, d, PLACE_A);
	go(rig, d, PLACE_B);
	/* what conventional PCI does not carry is not shown */
	ok(nst_device_read(d->dev, VFIO_PCI_CONFIG_REGION_INDEX, 0x100, cap, 4));
	assert_int_not_equal(cap[0] & 0xffff, 0xf);
	ok(nst_device_read(d->dev, VFIO_PCI_CONFIG_REGION_INDEX, 0xff8, cap, 8));
	assert_int_not_equal(cap[0] & 0xffff, 0x1b);
	assert_int_equal(rig->logged[NST_LOG_ERROR], 0);
	err(EOPNOTSUPP, nst_viommu_attach_alias(rig->viommu, alias, other->dev));
	assert_int_equal(rig->logged[NST_LOG_ERROR], 1);
	err(EEXIST, nst_viommu_attach(rig->viommu, alias, other->dev));
	err(EEXIST, nst_viommu_attach_alias(rig->viommu, alias, d->dev));
	assert_int_equal(rig->logged[NST_LOG_ERROR], 3);
	assert_int_equal(place_of(other), PLACE_SAME);
	assert_int_equal(place_of(d), PLACE_B);
	nst_viommu_detach(rig->viommu, alias);
	ok(nst_viommu_attach_alias(rig->viommu, alias, other->dev));
	assert_int_equal(place_of(other), PLACE_B);
	nst_viommu_detach(rig->viommu, alias);
	nst_viommu_expire_page_requests(rig->viommu); /* there are none */
	/* on its own it has all that the unit has */
	ok(nst_viommu_attach(rig->viommu, alias, other->dev));
	ok(nst_device_read(other->dev, VFIO_PCI_CONFIG_REGION_INDEX, 0xff8, cap, 8));
	assert_int_equal(cap[0] & 0xffff, 0x1b);
	rig_destroy(rig);
}

/* qemu.md 4.2 (5): there a second device is not put under GBPA until something else is. */
static void qemu_5_a_second_device_obeys_gbpa_at_once(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d;

	reg32_set(rig, REG_GBPA, GBPA_UPDATE | GBPA_ABORT);
	assert_int_equal(place_of(&rig->devices[0]), NOWHERE);
	d = rig_add_device(rig);
	assert_int_equal(place_of(d), NOWHERE);
}

/* qemu.md 4.2 (9): there the values must come from a device that is there at power-on. */
static void qemu_9_the_first_device_comes_when_the_guest_runs(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d;

	guest_enable(rig);
	d = rig_add_device(rig);
	assert_int_equal(place_of(d), NOWHERE);
	go(rig, d, PLACE_A);
}

static void a_taken_streamid_is_refused(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = rig_plug(rig, false);

	ok(rig_open(rig, d));
	err(EEXIST, nst_viommu_attach(rig->viommu, rig->devices[0].rid, d->dev));
	assert_int_equal(place_of(d), PLACE_SAME);
	/* nor is one device there twice */
	err(EEXIST, nst_viommu_attach(rig->viommu, 0x177, rig->devices[0].dev));
}

static void the_host_translates_for_its_own_devices(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t gpa;

	err(EEXIST, emulated(rig, d->rid, NST_NO_PASID, PROBE_IOVA, false, &gpa));
	ok(emulated(rig, d->rid + 1, NST_NO_PASID, PROBE_IOVA, false, &gpa));
	nst_viommu_detach(rig->viommu, d->rid);
	ok(emulated(rig, d->rid, NST_NO_PASID, PROBE_IOVA, false, &gpa));
}

static void reset_is_as_after_power_on(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	go(rig, d, PLACE_A);
	assert_int_not_equal(dma_read(d, 0x123456000, &(uint64_t){ 0 }), 0);
	reg32_set(rig, REG_GBPA, GBPA_UPDATE | GBPA_ABORT);
	nst_viommu_reset(rig->viommu);
	assert_int_equal(reg32(rig, REG_CR0ACK), 0);
	assert_int_equal(reg32(rig, REG_GBPA), 0x1000);
	assert_int_equal(place_of(d), PLACE_SAME);
	assert_int_equal(nested_alive(rig), 0);
	/* nothing is in the host's caches, of which this guest empties none: the same ASID leads
	 * elsewhere now */
	guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 2 * PAGE_SIZE_4K);
	set_place(rig, d, PLACE_A);
	reg64_set(rig, REG_STRTAB_BASE, GPA_STRTAB);
	reg32_set(rig, REG_STRTAB_CFG, STRTAB_LG2);
	reg64_set(rig, REG_EVENTQ_BASE, GPA_EVENTQ | EVENTQ_LG2);
	cr0_set(rig, CR0_SMMUEN | CR0_EVENTQEN);
	assert_int_equal(place_of(d), PLACE_B);
	assert_int_equal(event_type(rig), 0); /* nor was there an event of before */
}

/* --- substreams ------------------------------------------------------------------------------ */

static struct rig *rig_with_ssids(struct rig_device **d)
{
	struct rig *rig = rig_create(&(struct rig_options){ .ssid_bits = 20 });

	*d = rig_plug(rig, true);
	ok(rig_open(rig, *d));
	ok(nst_viommu_attach(rig->viommu, (*d)->rid, (*d)->dev));
	return rig;
}

/* No call of the host for any of them: it walks the guest's table of CDs. */
static void substreams_cost_no_call(void **state)
{
	struct rig_device *d;
	struct rig *rig = rig_with_ssids(&d);
	unsigned int calls;

	guest_enable(rig);
	*mem64(rig, GPA_CDTAB) = (GPA_CDTAB + 0x1000) | 1;     /* L1CD of SSIDs 0 to 63 */
	*mem64(rig, GPA_CDTAB + 8) = (GPA_CDTAB + 0x2000) | 1; /* 64 to 127 */
	guest_write_cd(rig, GPA_CDTAB + 0x1000, rig->root_a, 1);
	guest_ste(rig, d->rid)[0] = STE_S1(GPA_CDTAB) | STE_CDMAX(20) | STE_FMT(1);
	guest_ste(rig, d->rid)[1] = 2; /* S1DSS: SSID 0 for those without */
	cmdq_run(rig, CMD_CFGI_STE(d->rid), 1);
	calls = rig->host.total;
	guest_write_cd(rig, GPA_CDTAB + 0x1000 + 5 * 64, rig->root_b, 2);
	guest_write_cd(rig, GPA_CDTAB + 0x2000, rig->root_c, 3);
	assert_int_equal(place_of(d), PLACE_A);
	assert_int_equal(place_of_pasid(d, 5), PLACE_B);
	assert_int_equal(place_of_pasid(d, 64), PLACE_C);
	assert_int_equal(rig->host.total, calls);
	assert_int_equal(place_of_pasid(d, 6), NOWHERE);
	assert_int_equal(event_type(rig), 0xa); /* C_BAD_CD */
	assert_int_equal(place_of_pasid(d, 128), NOWHERE);
	assert_int_equal(event_type(rig), 8); /* C_BAD_SUBSTREAMID */
	/* a CD is cached until its command comes */
	guest_write_cd(rig, GPA_CDTAB + 0x1000 + 5 * 64, rig->root_c, 4);
	assert_int_equal(place_of_pasid(d, 5), PLACE_B);
	cmdq_run(rig, CMD_CFGI_CD(d->rid, 5), 1);
	assert_int_equal(place_of_pasid(d, 5), PLACE_C);
	guest_write_cd(rig, GPA_CDTAB + 0x2000, rig->root_a, 5);
	cmdq_run(rig, CMD_CFGI_CD_ALL(d->rid), 0);
	assert_int_equal(place_of_pasid(d, 64), PLACE_A);
	rig_destroy(rig);
}

/* s4.3.1: so does an STE's, though the entry is what it was. */
static void cfgi_ste_takes_the_cds_along(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	go(rig, d, PLACE_A);
	guest_write_cd(rig, cd_of(rig, d->rid, PLACE_A), rig->root_b, 77);
	assert_int_equal(place_of(d), PLACE_A);
	cmdq_run(rig, CMD_CFGI_STE(d->rid), 1);
	assert_int_equal(place_of(d), PLACE_B);
	assert_int_equal(rig_stats(rig).nested_hwpts, 1);
}

/* A bypass by STE has no substreams, and the guest hears of who tries. */
static void a_substream_of_a_bypass_is_an_event(void **state)
{
	struct rig_device *d;
	struct rig *rig = rig_with_ssids(&d);

	guest_enable(rig);
	go(rig, d, PLACE_SAME);
	assert_int_equal(place_of_pasid(d, 5), NOWHERE);
	assert_int_equal(event_type(rig), 8);
	rig_destroy(rig);
}

/* --- device TLBs ----------------------------------------------------------------------------- */

/* EATS lets a device ask for translations; ATC_INV, by the guest's name, ends what it keeps. */
static void ats_as_the_entry_says(void **state)
{
	const struct endpoint_ats_request req = { .iova = { PROBE_IOVA }, .pasid = NST_NO_PASID };
	struct endpoint_ats_reply reply = { 0 };
	struct rig *rig = rig_create(&(struct rig_options){ .features = NST_SMMUV3_ATS });
	struct rig_device *d = rig_add_device(rig);
	struct rig_endpoint *e = container_of(d->ep, struct rig_endpoint, ep);
	unsigned int flushes;

	guest_enable(rig);
	set_place(rig, d, PLACE_A);
	guest_ste(rig, d->rid)[1] = 1ULL << 28;
	cmdq_run(rig, CMD_CFGI_STE(d->rid), 1);
	ok(endpoint_translate(d->ep, &req, &reply));
	flushes = e->ats_flushes;
	cmdq_run(rig, CMD_ATC_INV(d->rid), PROBE_IOVA | 1); /* 8 KiB */
	assert_int_equal(e->ats_flushes, flushes + 1);
	assert_int_equal(e->flushed_first, PROBE_IOVA);
	assert_int_equal(e->flushed_last, PROBE_IOVA + 0x1fff);
	assert_int_equal(e->flushed_pasid, NST_NO_PASID);
	cmdq_run(rig, CMD_ATC_INV(d->rid ^ 1), 52); /* nobody's */
	assert_int_equal(e->ats_flushes, flushes + 1);
	/* an entry without */
	go(rig, d, PLACE_A);
	assert_int_not_equal(endpoint_translate(d->ep, &req, &reply), 0);
	rig_destroy(rig);
}

static void ats_is_shown_by_a_unit_that_has_it(void **state)
{
	for (unsigned int features = 0; features <= NST_SMMUV3_ATS; features++) {
		struct rig *rig = rig_create(&(struct rig_options){ .features = features });
		struct rig_device *d = rig_add_device(rig);
		uint32_t first = 0;

		ok(nst_device_read(d->dev, VFIO_PCI_CONFIG_REGION_INDEX, 0x100, &first, 4));
		assert_int_equal((first & 0xffff) == 0xf, features != 0);
		rig_destroy(rig);
	}
}

static void the_guest_sees_pasids_as_wide_as_both_have_them(void **state)
{
	static const struct {
		unsigned int ssid_bits;
		bool there;
		uint8_t width;
	} cases[] = {
		{ 0, false, 0 },
		{ 6, true, 6 },
		{ 20, true, 20 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig *rig =
			rig_create(&(struct rig_options){ .ssid_bits = cases[i].ssid_bits });
		struct rig_device *d = rig_plug(rig, true);
		uint32_t cap[2];

		ok(rig_open(rig, d));
		ok(nst_viommu_attach(rig->viommu, d->rid, d->dev));
		ok(nst_device_read(d->dev, VFIO_PCI_CONFIG_REGION_INDEX, 0xff8, cap, 8));
		assert_int_equal((cap[0] & 0xffff) == 0x1b, cases[i].there);
		if (cases[i].there)
			assert_int_equal(cap[1] >> 8 & 0x1f, cases[i].width);
		rig_destroy(rig);
	}
}

/* --- several host IOMMUs --------------------------------------------------------------------- */

/* The first parent is of another IOMMU, as this device's host says. */
static int refuse_parent(struct rig *rig, unsigned long request, void *arg)
{
	const struct vfio_device_attach_iommufd_pt *cmd = arg;

	return request == VFIO_DEVICE_ATTACH_IOMMUFD_PT &&
			       cmd->pt_id == *(const uint32_t *)rig->hook_data
		       ? -EINVAL
		       : 0;
}

struct seen {
	uint32_t first; /* vIOMMU */
	unsigned int calls, calls_of_other;
};

static int see_both(struct rig *rig, unsigned long request, void *arg)
{
	const struct iommu_hwpt_invalidate *cmd = arg;
	struct seen *seen = rig->hook_data;

	if (request == IOMMU_HWPT_INVALIDATE)
		++*(cmd->hwpt_id == seen->first ? &seen->calls : &seen->calls_of_other);
	return 0;
}

/* A vIOMMU on each; TLBI goes to both, what names a stream to its own. */
static void a_unit_on_two_host_iommus(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = rig_add_device(rig), *other = rig_plug(rig, false);
	struct seen seen = { .first = rig_unit(rig)->vsmmus->viommu_id };
	uint32_t parent = d->dev->parent->hwpt_id;

	rig->host.hook = refuse_parent;
	rig->hook_data = &parent;
	ok(rig_open(rig, other));
	rig->host.hook = NULL;
	ok(nst_viommu_attach(rig->viommu, other->rid, other->dev));
	assert_int_equal(rig_calls(&rig->host, IOMMU_VIOMMU_ALLOC), 2);
	guest_enable(rig);
	set_place(rig, d, PLACE_SAME);
	set_place(rig, other, PLACE_SAME);
	cmdq_run(rig, CMD_CFGI_ALL, 31);
	assert_int_equal(nested_alive(rig), 2); /* not shared between them */
	set_place(rig, d, PLACE_A);
	set_place(rig, other, PLACE_B);
	cmdq_run(rig, CMD_CFGI_ALL, 31);
	assert_int_equal(place_of(d), PLACE_A);
	assert_int_equal(place_of(other), PLACE_B);
	rig->host.hook = see_both;
	rig->hook_data = &seen;
	cmdq_run(rig, CMD_TLBI_NH_ALL, 0);
	assert_int_equal(seen.calls, 1);
	assert_int_equal(seen.calls_of_other, 1);
	cmdq_run(rig, CMD_CFGI_CD_ALL(other->rid), 0);
	assert_int_equal(seen.calls, 1);
	assert_int_equal(seen.calls_of_other, 2);
	rig->host.hook = NULL;
	nst_viommu_detach(rig->viommu, d->rid);
	assert_int_equal(place_of(other), PLACE_B);
	cmdq_run(rig, CMD_TLBI_NH_ALL, 0);
}

/* --- a host that lacks something ------------------------------------------------------------- */

static void a_host_without_events_still_translates(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d;

	rig_fail_from_now_on(&rig->host, IOMMU_VEVENTQ_ALLOC, ENOTTY);
	d = rig_add_device(rig);
	assert_int_equal(rig->logged[NST_LOG_WARN], 1);
	guest_enable(rig);
	go(rig, d, PLACE_A);
	assert_int_equal(place_of(d), PLACE_A);
	assert_int_not_equal(dma_read(d, 0x123456000, &(uint64_t){ 0 }), 0);
	assert_int_equal(event_type(rig), 0);
	rig_fail_stop(&rig->host);
}

static void a_host_that_cannot_nest_is_named(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = rig_plug(rig, false);
	unsigned int errors = rig->logged[NST_LOG_ERROR];

	ok(rig_open(rig, d));
	rig_fail(&rig->host, IOMMU_VIOMMU_ALLOC, 1, EOPNOTSUPP);
	err(EOPNOTSUPP, nst_viommu_attach(rig->viommu, d->rid, d->dev));
	assert_int_equal(rig->logged[NST_LOG_ERROR], errors + 1);
	assert_int_equal(place_of(d), PLACE_SAME);
	ok(nst_viommu_attach(rig->viommu, d->rid, d->dev));
}

#define one_device(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
#define empty(f) cmocka_unit_test_setup_teardown(f, rig_setup_empty, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		one_device(every_pair_of_attachments),
		one_device(the_same_through_two_levels),
		one_device(every_trigger_reaches_the_device),
		one_device(qemu_2_gbpa_while_translating_waits),
		one_device(qemu_2_disabling_detaches_the_guests_tables),
		one_device(qemu_3_an_entry_that_is_gone_blocks),
		one_device(an_entry_that_is_not_valid_blocks_in_silence),
		one_device(qemu_4_a_refused_entry_is_an_event),
		one_device(an_illegal_entry_is_told_once),
		one_device(the_host_sees_no_bit_without_meaning),
		one_device(equal_entries_share_one_hwpt),
		empty(objects_come_with_the_first_and_go_with_the_last),
		one_device(qemu_5_a_renumbered_device_has_its_new_name),
		one_device(two_devices_swap_names),
		one_device(two_devices_with_one_name),
		cmocka_unit_test(a_bridge_with_a_device_behind_it),
		one_device(qemu_5_a_second_device_obeys_gbpa_at_once),
		empty(qemu_9_the_first_device_comes_when_the_guest_runs),
		one_device(a_taken_streamid_is_refused),
		one_device(the_host_translates_for_its_own_devices),
		one_device(reset_is_as_after_power_on),
		cmocka_unit_test(substreams_cost_no_call),
		one_device(cfgi_ste_takes_the_cds_along),
		cmocka_unit_test(a_substream_of_a_bypass_is_an_event),
		cmocka_unit_test(ats_as_the_entry_says),
		cmocka_unit_test(ats_is_shown_by_a_unit_that_has_it),
		empty(a_unit_on_two_host_iommus),
		cmocka_unit_test(the_guest_sees_pasids_as_wide_as_both_have_them),
		empty(a_host_without_events_still_translates),
		empty(a_host_that_cannot_nest_is_named),
	};

	return cmocka_run_group_tests_name("smmuv3 attach", tests, NULL, NULL);
}
