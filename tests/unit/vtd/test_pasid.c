// SPDX-License-Identifier: BSD-3-Clause
/*
 * Requests with a PASID: seen where it counts, by the DMA of devices, against a model that
 * reads the guest's tables; and what the host has at the end of it.
 */
#include "rig.h"

#include "base/alloc.h"
#include "host/soft/soft.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* PASIDs in two tables of the directory at a device's place: 1 to 63, and 128 to 191. */
#define HIGH 128u
#define GPA_HIGH(dev) (0x60000ULL + (dev) * 0x1000ULL)
#define PASIDE (1ULL << 3)

static enum place pasid_place(struct rig_device *d, uint32_t pasid)
{
	uint64_t value = NOWHERE;
	struct endpoint_dma_request req = {
		.iova = { PROBE_IOVA }, .pasid = pasid, .buf = &value, .size = sizeof(value),
	};

	return endpoint_dma(d->ep, &req) ? NOWHERE : (enum place)value;
}

static unsigned int index_of(struct rig *rig, struct rig_device *d)
{
	return (unsigned int)(d - rig->devices);
}

static uint64_t *entry_of(struct rig *rig, struct rig_device *d, uint32_t pasid)
{
	if (pasid < HIGH)
		return guest_pasid_entry(rig, d->rid, pasid);
	return mem64(rig, GPA_HIGH(index_of(rig, d)) + (pasid - HIGH) * 64);
}

static void set_entry(struct rig *rig, struct rig_device *d, uint32_t pasid, enum place place)
{
	const uint64_t roots[] = { [PLACE_A] = rig->root_a, [PLACE_B] = rig->root_b,
				   [PLACE_C] = rig->root_c };
	uint64_t *entry = entry_of(rig, d, pasid);

	memset(entry, 0, 64);
	if (place == PLACE_SAME)
		entry[0] = PASID_PRESENT | PASID_PASS_THROUGH;
	if (place >= PLACE_A) {
		entry[0] = PASID_PRESENT | PASID_FIRST_STAGE;
		entry[1] = 10 + place;
		entry[2] = roots[place];
	}
}

static void enable_pasids(struct rig *rig, struct rig_device *d)
{
	uint64_t *dir = guest_dir_entry(rig, d->rid, HIGH);

	guest_context_entry(rig, d->rid)[0] |= PASIDE;
	memset(mem64(rig, GPA_HIGH(index_of(rig, d))), 0, 4096);
	*dir = GPA_HIGH(index_of(rig, d)) | 1;
}

static void enable(struct rig *rig)
{
	guest_enable(rig);
	for (unsigned int i = 0; i < rig->num_devices; i++)
		enable_pasids(rig, &rig->devices[i]);
	guest_sync(rig);
}

static struct rig_device *add_pasid_device(struct rig *rig)
{
	struct rig_device *d = rig_plug(rig, true);

	ok(rig_open(rig, d));
	ok(nst_viommu_attach(rig->viommu, d->rid, d->dev));
	return d;
}

static int setup(void **state)
{
	struct rig *rig = rig_create();

	add_pasid_device(rig);
	*state = rig;
	return 0;
}

static bool has_work(struct rig *rig)
{
	struct pollfd p = { .fd = nst_viommu_fd(rig->viommu), .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* --- one PASID ------------------------------------------------------------------------------- */

static void every_pair_of_attachments(void **state)
{
	static const uint32_t pasids[] = { 1, 5, 63, 128, 191 };
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	enable(rig);
	for (size_t i = 0; i < ARRAY_SIZE(pasids); i++) {
		for (enum place from = NOWHERE; from < NUM_PLACES; from++) {
			for (enum place to = NOWHERE; to < NUM_PLACES; to++) {
				set_entry(rig, d, pasids[i], from);
				iq_run(rig, DESC_PASID_CACHE(1, 1, pasids[i]), 0);
				assert_int_equal(pasid_place(d, pasids[i]), from);
				set_entry(rig, d, pasids[i], to);
				iq_run(rig, DESC_PASID_CACHE(1, 1, pasids[i]), 0);
				assert_int_equal(pasid_place(d, pasids[i]), to);
				assert_int_equal(nested_alive(rig), to >= PLACE_A);
				/* nobody else is moved by it */
				assert_int_equal(place_of(d), NOWHERE);
				assert_int_equal(pasid_place(d, 2), NOWHERE);
			}
		}
		set_entry(rig, d, pasids[i], NOWHERE);
		iq_run(rig, PC_GLOBAL, 0);
	}
	assert_int_equal(faults_pending(rig), 0);
	assert_int_equal(rig_soft_stats(rig).stale_hits, 0);
}

static void every_trigger_reaches_pasids(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	const uint64_t descs[] = {
		PC_GLOBAL, DESC_PASID_CACHE(0, 1, 0), DESC_PASID_CACHE(1, 1, 130),
		DESC_CONTEXT(1, 0, 0), DESC_CONTEXT(2, 1, 0),
		/* QEMU's passthrough devices miss this one: reference/qemu.md 4.1 (5) */
		DESC_CONTEXT(3, 1, d->rid),
	};

	enable(rig);
	for (size_t i = 0; i < ARRAY_SIZE(descs); i++) {
		set_entry(rig, d, 130, PLACE_A);
		assert_int_equal(pasid_place(d, 130), NOWHERE);
		iq_run(rig, descs[i], 0);
		assert_int_equal(pasid_place(d, 130), PLACE_A);
		set_entry(rig, d, 130, NOWHERE);
		iq_run(rig, descs[i], 0);
		assert_int_equal(pasid_place(d, 130), NOWHERE);
	}
	set_entry(rig, d, 130, PLACE_A);
	reg64_set(rig, REG_CCMD, 1ULL << 63 | 1ULL << 61);
	assert_int_equal(pasid_place(d, 130), PLACE_A);
	set_entry(rig, d, 130, PLACE_B);
	gcmd(rig, GCMD_SRTP, 0);
	assert_int_equal(pasid_place(d, 130), PLACE_B);
	/* other PASIDs are not looked at by one that names a PASID */
	set_entry(rig, d, 131, PLACE_C);
	iq_run(rig, DESC_PASID_CACHE(1, 1, 130), 0);
	assert_int_equal(pasid_place(d, 131), NOWHERE);
}

/* QEMU keeps the nested attachments when TE goes off: reference/qemu.md 4.1 (1). */
static void te_off_ends_nesting_of_pasids(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	enable(rig);
	for (uint32_t pasid = 1; pasid < 60; pasid++)
		set_entry(rig, d, pasid, pasid % 2 ? PLACE_A : PLACE_B);
	iq_run(rig, PC_GLOBAL, 0);
	assert_int_equal(nested_alive(rig), 2);
	gcmd(rig, 0, GCMD_TE);
	assert_int_equal(nested_alive(rig), 0);
	assert_int_equal(rig_unit(rig)->num_pasids, 0);
	assert_int_equal(pasid_place(d, 3), NOWHERE);
	assert_int_equal(place_of(d), PLACE_SAME);
	gcmd(rig, GCMD_TE, 0);
	assert_int_equal(pasid_place(d, 3), PLACE_A);
	assert_int_equal(pasid_place(d, 4), PLACE_B);
	nst_viommu_reset(rig->viommu);
	assert_int_equal(nested_alive(rig), 0);
	assert_int_equal(pasid_place(d, 3), NOWHERE);
}

/* QEMU leaks the nested HWPTs of an unplugged device: reference/qemu.md 4.1 (2). */
static void unplugging_leaves_nothing_of_its_pasids(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0], *stays = add_pasid_device(rig);

	enable(rig);
	for (uint32_t pasid = 1; pasid < 10; pasid++)
		set_entry(rig, d, pasid, pasid % 2 ? PLACE_A : PLACE_B);
	set_entry(rig, stays, 1, PLACE_A);
	iq_run(rig, PC_GLOBAL, 0);
	assert_int_equal(nested_alive(rig), 2);
	nst_viommu_detach(rig->viommu, d->rid);
	assert_int_equal(nested_alive(rig), 1);
	assert_int_equal(pasid_place(d, 1), NOWHERE);
	assert_int_equal(place_of(d), PLACE_SAME);
	assert_int_equal(pasid_place(stays, 1), PLACE_A);
	nst_device_close(d->dev);
	d->dev = NULL;
	nst_viommu_detach(rig->viommu, stays->rid);
	nst_device_close(stays->dev);
	stays->dev = NULL;
	assert_int_equal(rig->host.live_objects, 1);	/* the parent could go */
	assert_int_equal(rig->logged[NST_LOG_ERROR], 0);
}

static void pasids_follow_their_device_to_its_new_number(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	struct nst_rid_move move = { d->dev, RIG_SPARE_1 };
	uint64_t *entry;

	enable(rig);
	set_entry(rig, d, 1, PLACE_A);
	set_entry(rig, d, 2, PLACE_B);
	iq_run(rig, PC_GLOBAL, 0);
	guest_make_tables(rig, RIG_SPARE_1);
	guest_context_entry(rig, RIG_SPARE_1)[0] |= PASIDE;
	entry = guest_pasid_entry(rig, RIG_SPARE_1, 2);
	entry[0] = PASID_PRESENT | PASID_FIRST_STAGE;
	entry[1] = 13;
	entry[2] = rig->root_c;
	ok(nst_viommu_renumber(rig->viommu, &move, 1));
	assert_int_equal(pasid_place(d, 1), NOWHERE);
	assert_int_equal(pasid_place(d, 2), PLACE_C);
	assert_int_equal(nested_alive(rig), 1);
	assert_int_equal(rig_unit(rig)->num_pasids, 1);
	move.rid = d->rid;
	ok(nst_viommu_renumber(rig->viommu, &move, 1));
	assert_int_equal(pasid_place(d, 1), PLACE_A);
	assert_int_equal(pasid_place(d, 2), PLACE_B);
	assert_int_equal(rig_unit(rig)->num_pasids, 2);
}

/* QEMU's two passes both skip it: reference/qemu.md 4.1 (3). */
static void a_pasid_entry_replaced_in_place_is_invalidated_by_its_old_domain(void **state)
{
	static const unsigned int grans[] = { 0, 1, 3 };
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	enable(rig);
	for (size_t i = 0; i < ARRAY_SIZE(grans); i++) {
		set_entry(rig, d, 9, PLACE_A);
		entry_of(rig, d, 9)[1] = 20;
		iq_run(rig, PC_GLOBAL, 0);
		assert_int_equal(pasid_place(d, 9), PLACE_A);
		set_entry(rig, d, 9, PLACE_B);
		entry_of(rig, d, 9)[1] = 21;
		iq_run(rig, DESC_PASID_CACHE(grans[i], 20, 9), 0);
		assert_int_equal(pasid_place(d, 9), PLACE_B);
		/* and invalidations of pages now go by the new one */
		guest_map(rig, rig->root_b, PROBE_IOVA, PROBE_IOVA + 3 * PAGE_SIZE_4K);
		iq_run(rig, DESC_PIOTLB(3, 20, 9), PROBE_IOVA);
		assert_int_equal(pasid_place(d, 9), PLACE_B);
		iq_run(rig, DESC_PIOTLB(3, 21, 9), PROBE_IOVA);
		assert_int_equal(pasid_place(d, 9), PLACE_C);
		guest_map(rig, rig->root_b, PROBE_IOVA, PROBE_IOVA + 2 * PAGE_SIZE_4K);
		iq_run(rig, DESC_PIOTLB(2, 21, 9), 0);
	}
}

/* --- invalidations --------------------------------------------------------------------------- */

static void invalidations_go_by_domain_and_pasid(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	static const struct { uint64_t qw0; bool reaches; } cases[] = {
		{ DESC_PIOTLB(3, 10 + PLACE_A, 7), true }, { DESC_PIOTLB(2, 10 + PLACE_A, 7), true },
		{ DESC_PIOTLB(3, 10 + PLACE_A, 8), false }, { DESC_PIOTLB(3, 99, 7), false },
		/* second-stage addresses, and so the whole domain */
		{ DESC_IOTLB(1, 0), true }, { DESC_IOTLB(2, 10 + PLACE_A), true },
		{ DESC_IOTLB(3, 10 + PLACE_A), true }, { DESC_IOTLB(2, 99), false },
	};

	enable(rig);
	set_entry(rig, d, 7, PLACE_A);
	iq_run(rig, PC_GLOBAL, 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(pasid_place(d, 7), PLACE_A);
		guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 2 * PAGE_SIZE_4K);
		iq_run(rig, cases[i].qw0, PROBE_IOVA);
		assert_int_equal(pasid_place(d, 7), cases[i].reaches ? PLACE_B : PLACE_A);
		guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 1 * PAGE_SIZE_4K);
		iq_run(rig, DESC_IOTLB(1, 0), 0);
	}
}

/* An invalidation of what an earlier descriptor of the same batch attached is not lost. */
static void attachments_come_before_the_invalidations_behind_them(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0], *e = add_pasid_device(rig);

	enable(rig);
	set_entry(rig, d, 3, PLACE_A);
	iq_run(rig, PC_GLOBAL, 0);
	assert_int_equal(pasid_place(d, 3), PLACE_A);	/* cached, under PASID 3 */
	guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 2 * PAGE_SIZE_4K);
	set_entry(rig, e, 7, PLACE_A);
	iq_put(rig, PC_GLOBAL, 0);
	iq_put(rig, DESC_PIOTLB(3, 10 + PLACE_A, 7), PROBE_IOVA);
	iq_sync(rig);
	assert_int_equal(pasid_place(e, 7), PLACE_B);
	assert_int_equal(nested_alive(rig), 1);
}

static void device_tlb_descriptors_cost_no_host_call(void **state)
{
	struct rig *rig = *state;
	unsigned int calls;

	enable(rig);
	calls = rig->host.total;
	iq_run(rig, 3 | (uint64_t)rig->devices[0].rid << 32, ~0xfffULL | 1);
	iq_run(rig, 8 | (uint64_t)rig->devices[0].rid << 16 | 7ULL << 32, ~0xfffULL | 1 << 11);
	assert_int_equal(rig->host.total, calls);
}

/* --- the directory --------------------------------------------------------------------------- */

static void growing_and_shrinking_directories(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t *context, *dir = mem64(rig, GPA_DATA + 0x10000);
	static const uint32_t pasids[] = { 1, 8191, 8193, 16383, 16385, 1048575 };

	enable(rig);
	context = guest_context_entry(rig, d->rid);
	memset(dir, 0, 0x20000);
	memset(mem64(rig, GPA_DATA + 0x40000), 0, 4096);
	for (size_t i = 0; i < ARRAY_SIZE(pasids); i++) {
		uint64_t *entry = mem64(rig, GPA_DATA + 0x40000 + pasids[i] % 64 * 64);

		dir[pasids[i] / 64] = (GPA_DATA + 0x40000) | 1;
		entry[0] = PASID_PRESENT | PASID_FIRST_STAGE;
		entry[1] = 5;
		entry[2] = rig->root_a;
	}
	/* up and down again */
	for (int n = 0; n < 15; n++) {
		uint64_t pdts = n < 8 ? (uint64_t)n : (uint64_t)(14 - n);

		context[0] = (GPA_DATA + 0x10000) | PASIDE | 1 | pdts << 9;
		iq_run(rig, DESC_CONTEXT(3, 0, d->rid), 0);
		for (size_t i = 0; i < ARRAY_SIZE(pasids); i++)
			assert_int_equal(pasid_place(d, pasids[i]),
					 pasids[i] < 8192u << pdts ? PLACE_A : NOWHERE);
	}
	/* switched off */
	context[0] &= ~PASIDE;
	iq_run(rig, DESC_CONTEXT(1, 0, 0), 0);
	for (size_t i = 0; i < ARRAY_SIZE(pasids); i++)
		assert_int_equal(pasid_place(d, pasids[i]), NOWHERE);
	assert_int_equal(nested_alive(rig), 0);
	assert_int_equal(rig_unit(rig)->num_pasids, 0);
}

static void absent_links_block(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t *links[] = { guest_root_entry(rig, d->rid), guest_context_entry(rig, d->rid),
			      guest_dir_entry(rig, d->rid, 130) };

	enable(rig);
	set_entry(rig, d, 130, PLACE_A);
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		uint64_t saved = *links[i];

		iq_run(rig, PC_GLOBAL, 0);
		assert_int_equal(pasid_place(d, 130), PLACE_A);
		*links[i] = 0;
		iq_run(rig, PC_GLOBAL, 0);
		assert_int_equal(pasid_place(d, 130), NOWHERE);
		assert_int_equal(nested_alive(rig), 0);
		*links[i] = saved;
	}
	assert_int_equal(faults_pending(rig), 0);
}

static uint64_t fault_hi(struct rig *rig)
{
	return reg64(rig, REG_FRCD + 8);
}

/* Each way of being wrong is told once, with the PASID, and mended by the next look. */
static void wrong_entries_are_reported_with_their_pasid(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	const struct { uint64_t *word; uint64_t wrong; unsigned int reason; uint32_t pasid; } cases[] = {
		{ entry_of(rig, d, 130) + 3, 1, 0x5a, 130 },
		{ entry_of(rig, d, 130), PASID_PRESENT | 2ULL << 6, 0x5b, 130 },
		{ guest_dir_entry(rig, d->rid, 130), GPA_HIGH(0) | 5, 0x52, 128 },
		{ guest_dir_entry(rig, d->rid, 130), GPA_NOTHING | 1, 0x58, 128 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t saved;

		nst_viommu_reset(rig->viommu);
		rig->tail = 0;
		enable(rig);
		set_entry(rig, d, 130, PLACE_A);
		iq_run(rig, PC_GLOBAL, 0);
		saved = *cases[i].word;
		*cases[i].word = cases[i].wrong;
		for (int again = 0; again < 3; again++)
			iq_run(rig, PC_GLOBAL, 0);
		assert_int_equal(faults_pending(rig), 1);
		assert_int_equal(fault_reason(rig, 0), cases[i].reason);
		assert_int_equal(fault_hi(rig) >> 40 & 0xfffff, cases[i].pasid);
		assert_int_equal(fault_hi(rig) >> 31 & 1, 1);
		assert_int_equal(fault_hi(rig) & 0xffff, d->rid);
		assert_int_equal(pasid_place(d, 130), NOWHERE);
		*cases[i].word = saved;
		iq_run(rig, PC_GLOBAL, 0);
		assert_int_equal(pasid_place(d, 130), PLACE_A);
		faults_clear(rig);
	}
}

static void the_pasid_of_plain_requests(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	enable(rig);
	guest_context_entry(rig, d->rid)[1] = 33;
	set_entry(rig, d, 33, PLACE_B);
	set_entry(rig, d, 0, PLACE_A);
	iq_run(rig, DESC_CONTEXT(3, 0, d->rid), 0);
	assert_int_equal(place_of(d), PLACE_B);
	assert_int_equal(pasid_place(d, 33), PLACE_B);
	/* an invalidation of that PASID is for both */
	guest_map(rig, rig->root_b, PROBE_IOVA, PROBE_IOVA + 3 * PAGE_SIZE_4K);
	iq_run(rig, DESC_PIOTLB(3, 10 + PLACE_B, 33), PROBE_IOVA);
	assert_int_equal(place_of(d), PLACE_C);
	assert_int_equal(pasid_place(d, 33), PLACE_C);
	set_entry(rig, d, 33, NOWHERE);
	iq_run(rig, DESC_PASID_CACHE(1, 0, 33), 0);
	assert_int_equal(place_of(d), NOWHERE);
	assert_int_equal(pasid_place(d, 33), NOWHERE);
}

/* --- sharing and refusals -------------------------------------------------------------------- */

static void equal_keys_share_one_hwpt_across_pasids(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0], *e = add_pasid_device(rig), *f = rig_add_device(rig);
	unsigned int calls;

	enable(rig);
	for (uint32_t pasid = 1; pasid < 40; pasid++) {
		set_entry(rig, d, pasid, PLACE_A);
		set_entry(rig, e, pasid, PLACE_A);
	}
	set_place(rig, d, PLACE_A);
	set_place(rig, f, PLACE_A);	/* without PASIDs of its own */
	iq_run(rig, PC_GLOBAL, 0);
	assert_int_equal(nested_alive(rig), 1);
	assert_int_equal(place_of(f), PLACE_A);
	assert_int_equal(pasid_place(e, 39), PLACE_A);
	calls = rig_calls(&rig->host, IOMMU_HWPT_INVALIDATE);
	guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 2 * PAGE_SIZE_4K);
	iq_run(rig, DESC_PIOTLB(3, 10 + PLACE_A, 17), PROBE_IOVA);
	assert_int_equal(rig_calls(&rig->host, IOMMU_HWPT_INVALIDATE), calls + 1);
	assert_int_equal(pasid_place(d, 17), PLACE_B);
	assert_int_equal(pasid_place(e, 17), PLACE_B);
}

/* Hook: an HWPT takes one attachment. */
static int one_attachment_per_hwpt(struct rig *rig, unsigned long request, void *arg)
{
	const struct vfio_device_attach_iommufd_pt *cmd = arg;
	uint32_t *taken = rig->hook_data;

	if (request != VFIO_DEVICE_ATTACH_IOMMUFD_PT)
		return 0;
	if (cmd->pt_id == *taken)
		return -EINVAL;
	*taken = cmd->pt_id;
	return 0;
}

static void a_host_that_does_not_share_gets_one_each(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint32_t taken = 0;

	enable(rig);
	set_entry(rig, d, 1, PLACE_A);
	set_entry(rig, d, 2, PLACE_A);
	rig->host.hook = one_attachment_per_hwpt;
	rig->hook_data = &taken;
	iq_run(rig, PC_GLOBAL, 0);
	rig->host.hook = NULL;
	assert_int_equal(nested_alive(rig), 2);
	guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 2 * PAGE_SIZE_4K);
	iq_put(rig, DESC_PIOTLB(2, 10 + PLACE_A, 1), 0);
	iq_run(rig, DESC_PIOTLB(2, 10 + PLACE_A, 2), 0);
	assert_int_equal(pasid_place(d, 1), PLACE_B);
	assert_int_equal(pasid_place(d, 2), PLACE_B);
}

static void a_refused_attachment_is_told_and_tried_again(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	enable(rig);
	set_entry(rig, d, 44, PLACE_A);
	rig_fail_from_now_on(&rig->host, VFIO_DEVICE_ATTACH_IOMMUFD_PT, EIO);
	iq_run(rig, PC_GLOBAL, 0);
	iq_run(rig, DESC_PASID_CACHE(1, 0, 44), 0);
	assert_int_equal(faults_pending(rig), 1);
	assert_int_equal(fault_reason(rig, 0), 0x58);
	assert_int_equal(fault_hi(rig) >> 40 & 0xfffff, 44);
	assert_int_equal(pasid_place(d, 44), NOWHERE);
	rig_fail_stop(&rig->host);
	iq_run(rig, PC_GLOBAL, 0);
	assert_int_equal(pasid_place(d, 44), PLACE_A);
}

/* --- hostile sizes --------------------------------------------------------------------------- */

/* Let the VMM's loop run until the unit has nothing to do; returns how often it was called. */
static unsigned int run_loop(struct rig *rig)
{
	unsigned int rounds = 0;

	while (has_work(rig)) {
		nst_viommu_process(rig->viommu);
		rounds++;
		assert_true(rounds < 100000);
	}
	return rounds;
}

/* All 2^20 PASIDs by one table of 64: @present of them lead to A. */
static void fill_all(struct rig *rig, struct rig_device *d, uint64_t dir, bool shared)
{
	uint64_t table = dir + 0x20000;

	for (uint64_t i = 0; i < 16384; i++)
		*mem64(rig, dir + 8 * i) = table | 1;
	memset(mem64(rig, table), 0, 4096);
	for (uint64_t i = 0; i < 64; i++) {
		uint64_t *entry = mem64(rig, table + 64 * i);

		entry[0] = PASID_PRESENT | PASID_FIRST_STAGE;
		entry[1] = 5;
		entry[2] = shared ? rig->root_a : 0x1000 * i;
	}
	guest_context_entry(rig, d->rid)[0] = dir | PASIDE | 1 | 7 << 9;
}

static void a_million_pasids_are_done_in_pieces(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0], *other = rig_add_device(rig);
	uint64_t head;

	enable(rig);
	fill_all(rig, d, GPA_DATA + 0x200000, true);
	head = reg64(rig, REG_IQH);
	for (int i = 0; i < 20; i++)
		iq_put(rig, DESC_CONTEXT(1, 0, 0), 0);
	set_place(rig, other, PLACE_B);
	iq_put(rig, DESC_WAIT(++rig->status), GPA_STATUS);
	iq_kick(rig);
	/* the write came back with the wait not done, and the head at it: twenty scans are one */
	assert_int_not_equal(mem32(rig, GPA_STATUS), rig->status);
	assert_int_equal(reg64(rig, REG_IQH), head + 20 * 32);
	assert_true(has_work(rig));
	/* other devices do not wait for it */
	assert_int_equal(place_of(other), PLACE_B);
	assert_in_range(run_loop(rig), 10, 200);
	assert_int_equal(mem32(rig, GPA_STATUS), rig->status);
	/* bounded memory: so many, and the guest is told of the first that is too much */
	assert_int_equal(rig_unit(rig)->num_pasids, VTD_MAX_PASIDS);
	assert_int_equal(pasid_place(d, 5), PLACE_A);
	assert_int_equal(pasid_place(d, VTD_MAX_PASIDS), PLACE_A);
	assert_int_equal(pasid_place(d, VTD_MAX_PASIDS + 1), NOWHERE);
	assert_int_equal(faults_pending(rig), 1);
	assert_int_equal(fault_hi(rig) >> 40 & 0xfffff, VTD_MAX_PASIDS + 1);
	assert_int_equal(nested_alive(rig), 2);
	/* a command in a register shows that it is under way, too */
	reg64_set(rig, REG_CCMD, 1ULL << 63 | 1ULL << 61);
	assert_int_equal(reg64(rig, REG_CCMD) >> 63, 1);
	run_loop(rig);
	assert_int_equal(reg64(rig, REG_CCMD) >> 63, 0);
	gcmd(rig, 0, GCMD_TE);
	assert_int_equal(reg32(rig, REG_GSTS) & GCMD_TE, GCMD_TE);
	run_loop(rig);
	assert_int_equal(reg32(rig, REG_GSTS) & GCMD_TE, 0);
	assert_int_equal(rig_unit(rig)->num_pasids, 0);
	assert_int_equal(nested_alive(rig), 0);
	assert_int_equal(nst_viommu_fd(rig->viommu), nst_viommu_fd(rig->viommu));
}

static void a_reset_in_the_middle_of_a_scan(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	enable(rig);
	fill_all(rig, d, GPA_DATA + 0x200000, false);
	iq_put(rig, PC_GLOBAL, 0);
	iq_kick(rig);
	nst_viommu_process(rig->viommu);
	assert_true(rig_unit(rig)->num_pasids > 0);
	nst_viommu_reset(rig->viommu);
	assert_int_equal(rig_unit(rig)->num_pasids, 0);
	assert_int_equal(nested_alive(rig), 0);
	run_loop(rig);
	assert_int_equal(place_of(d), PLACE_SAME);
	/* unplugged in the middle of one */
	rig->tail = 0;
	enable(rig);
	fill_all(rig, d, GPA_DATA + 0x200000, true);
	iq_put(rig, PC_GLOBAL, 0);
	iq_kick(rig);
	nst_viommu_detach(rig->viommu, d->rid);
	assert_int_equal(rig_unit(rig)->num_pasids, 0);
	run_loop(rig);
}

/* What a global invalidation costs goes by what is present, read once for all devices. */
static void a_global_invalidation_costs_what_is_present(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0], *e = add_pasid_device(rig);
	uint64_t before, one, both;

	enable(rig);
	/* the largest directory, and three PASIDs in it */
	memset(mem64(rig, GPA_DATA + 0x200000), 0, 0x21000);
	for (int i = 0; i < 3; i++)
		*mem64(rig, GPA_DATA + 0x200000 + 40000 * (uint64_t)i) = (GPA_DATA + 0x220000) | 1;
	mem64(rig, GPA_DATA + 0x220000 + 64 * 9)[0] = PASID_PRESENT | PASID_PASS_THROUGH;
	guest_context_entry(rig, d->rid)[0] = (GPA_DATA + 0x200000) | PASIDE | 1 | 7 << 9;
	iq_run(rig, PC_GLOBAL, 0);
	assert_int_equal(rig_unit(rig)->num_pasids, 3);
	before = rig_unit(rig)->attach.work;
	iq_run(rig, PC_GLOBAL, 0);
	one = rig_unit(rig)->attach.work - before;
	assert_in_range(one, 16384, 16384 + 1000);	/* the directory, and little more */
	guest_context_entry(rig, e->rid)[0] = guest_context_entry(rig, d->rid)[0];
	iq_run(rig, PC_GLOBAL, 0);
	assert_int_equal(rig_unit(rig)->num_pasids, 6);
	before = rig_unit(rig)->attach.work;
	iq_run(rig, PC_GLOBAL, 0);
	both = rig_unit(rig)->attach.work - before;
	assert_in_range(both, 16384, one + 500);	/* not read again for the second one */
	assert_int_equal(pasid_place(e, 9), PLACE_SAME);
	assert_int_equal(has_work(rig), false);
}

/* --- the model ------------------------------------------------------------------------------- */

static void random_histories_agree_with_the_model(void **state)
{
	static const uint32_t pasids[] = { 1, 2, 62, 63, 128, 129, 191 };
	struct rig *rig = *state;
	enum place entries[2][ARRAY_SIZE(pasids)] = { 0 }, plain[2] = { NOWHERE, NOWHERE };
	bool te = true, enabled[2] = { true, true };
	uint64_t seed = 9;

	add_pasid_device(rig);
	enable(rig);
	for (int step = 0; step < 3000; step++) {
		unsigned int i = (unsigned int)(test_random(&seed) % 2), keys = 0;
		size_t n = test_random(&seed) % ARRAY_SIZE(pasids);
		struct rig_device *d = &rig->devices[i];
		uint64_t desc = PC_GLOBAL;

		switch (test_random(&seed) % 10) {
		case 0:
			te = !te;
			gcmd(rig, te ? GCMD_TE : 0, te ? 0 : GCMD_TE);
			break;
		case 1:
			enabled[i] = !enabled[i];
			guest_context_entry(rig, d->rid)[0] ^= PASIDE;
			break;
		case 2:
			plain[i] = (enum place)(test_random(&seed) % NUM_PLACES);
			set_place(rig, d, plain[i]);
			break;
		case 3:
			iq_put(rig, DESC_PIOTLB(3, 10 + test_random(&seed) % NUM_PLACES, pasids[n]),
			       PROBE_IOVA);
			break;
		default:
			entries[i][n] = (enum place)(test_random(&seed) % NUM_PLACES);
			set_entry(rig, d, pasids[n], entries[i][n]);
			desc = DESC_PASID_CACHE(1, test_random(&seed) % 30, pasids[n]);
		}
		iq_run(rig, desc, 0);
		for (int dev = 0; dev < 2; dev++) {
			enum place want = te ? plain[dev] : PLACE_SAME;

			assert_int_equal(place_of(&rig->devices[dev]), want);
			keys |= want >= PLACE_A ? 1u << want : 0;
			for (size_t k = 0; k < ARRAY_SIZE(pasids); k++) {
				want = te && enabled[dev] ? entries[dev][k] : NOWHERE;
				assert_int_equal(pasid_place(&rig->devices[dev], pasids[k]), want);
				keys |= want >= PLACE_A ? 1u << want : 0;
			}
		}
		assert_int_equal(nested_alive(rig), __builtin_popcount(keys));
	}
	assert_int_equal(rig_soft_stats(rig).stale_hits, 0);
	assert_int_equal(faults_pending(rig), 0);
}

/* --- fail-nth -------------------------------------------------------------------------------- */

/* A guest's life with PASIDs; what failed in it must be mended by the end. */
static void live(struct rig *rig)
{
	struct rig_device *d = &rig->devices[0], *e = &rig->devices[1];

	enable(rig);
	for (uint32_t pasid = 1; pasid < 12; pasid++) {
		set_entry(rig, d, pasid, PLACE_SAME + pasid % 4);
		set_entry(rig, e, HIGH + pasid, PLACE_A);
	}
	iq_run(rig, PC_GLOBAL, 0);
	set_entry(rig, d, 1, PLACE_C);
	set_entry(rig, d, 2, NOWHERE);
	iq_put(rig, DESC_PIOTLB(3, 10 + PLACE_A, HIGH + 1), PROBE_IOVA);
	iq_put(rig, DESC_PASID_CACHE(1, 0, 1), 0);
	iq_run(rig, DESC_PASID_CACHE(1, 0, 2), 0);
	gcmd(rig, 0, GCMD_TE);
	gcmd(rig, GCMD_TE, 0);
	nst_viommu_detach(rig->viommu, e->rid);
}

static void check_end(struct rig *rig)
{
	struct rig_device *d = &rig->devices[0], *e = &rig->devices[1];

	iq_run(rig, PC_GLOBAL, 0);
	assert_int_equal(pasid_place(d, 1), PLACE_C);
	assert_int_equal(pasid_place(d, 2), NOWHERE);
	for (uint32_t pasid = 3; pasid < 12; pasid++)
		assert_int_equal(pasid_place(d, pasid), PLACE_SAME + pasid % 4);
	assert_int_equal(pasid_place(e, HIGH + 1), NOWHERE);
	assert_int_equal(rig_soft_stats(rig).stale_hits, 0);
}

static struct rig *rig_of_two(void)
{
	struct rig *rig = rig_create();

	add_pasid_device(rig);
	add_pasid_device(rig);
	return rig;
}

static unsigned int sweep_calls(int errnum)
{
	unsigned int nth = 0;
	bool fired;

	do {
		struct rig *rig = rig_of_two();

		rig_fail(&rig->host, 0, ++nth, errnum);
		live(rig);
		fired = rig->host.fail_nth == 0;
		rig_fail_stop(&rig->host);
		check_end(rig);
		rig_destroy(rig);
	} while (fired && nth < 1000);
	return nth;
}

static void the_nth_host_call_fails(void **state)
{
	assert_in_range(sweep_calls(ENOMEM), 50, 400);
	assert_in_range(sweep_calls(EINVAL), 50, 400);
}

static void the_nth_allocation_fails(void **state)
{
	unsigned int nth = 0;
	bool fired;

	do {
		struct rig *rig = rig_of_two();

		alloc_fail_nth(++nth);
		live(rig);
		fired = alloc_fail_left() == 0;
		alloc_fail_nth(0);
		check_end(rig);
		rig_destroy(rig);
	} while (fired && nth < 1000);
	assert_in_range(nth, 20, 400);
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_RIG(every_pair_of_attachments),
		WITH_RIG(every_trigger_reaches_pasids),
		WITH_RIG(te_off_ends_nesting_of_pasids),
		WITH_RIG(unplugging_leaves_nothing_of_its_pasids),
		WITH_RIG(pasids_follow_their_device_to_its_new_number),
		WITH_RIG(a_pasid_entry_replaced_in_place_is_invalidated_by_its_old_domain),
		WITH_RIG(invalidations_go_by_domain_and_pasid),
		WITH_RIG(attachments_come_before_the_invalidations_behind_them),
		WITH_RIG(device_tlb_descriptors_cost_no_host_call),
		WITH_RIG(growing_and_shrinking_directories),
		WITH_RIG(absent_links_block),
		WITH_RIG(wrong_entries_are_reported_with_their_pasid),
		WITH_RIG(the_pasid_of_plain_requests),
		WITH_RIG(equal_keys_share_one_hwpt_across_pasids),
		WITH_RIG(a_host_that_does_not_share_gets_one_each),
		WITH_RIG(a_refused_attachment_is_told_and_tried_again),
		WITH_RIG(a_million_pasids_are_done_in_pieces),
		WITH_RIG(a_reset_in_the_middle_of_a_scan),
		WITH_RIG(a_global_invalidation_costs_what_is_present),
		WITH_RIG(random_histories_agree_with_the_model),
		cmocka_unit_test(the_nth_host_call_fails),
		cmocka_unit_test(the_nth_allocation_fails),
	};

	return cmocka_run_group_tests_name("vtd PASIDs", tests, NULL, NULL);
}
