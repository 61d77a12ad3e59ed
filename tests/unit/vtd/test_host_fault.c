// SPDX-License-Identifier: BSD-3-Clause
/*
 * Unrecoverable faults of passed-through devices: a device's DMA on the software host is refused,
 * and the guest finds it in its fault records. What the host would not say, the test says in its
 * place (rig_host.read_hook).
 */
#include "rig.h"

#include "base/alloc.h"
#include "spec/vtd_veventq.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

#define IOVA 0x40000000ULL
#define PASIDE (1ULL << 3)
#define FPD (1ULL << 1)
#define ALL_DEVICES RIG_MAX_DEVICES

enum { DEPTH = 256, AT_ONCE = 64 };	/* as host_fault.c has them */

static int request(struct rig_device *d, uint32_t pasid, uint64_t iova, bool write, bool privileged)
{
	uint64_t value = 0;
	struct endpoint_dma_request req = {
		.iova = { iova }, .pasid = pasid, .write = write, .privileged = privileged,
		.buf = &value, .size = sizeof(value),
	};

	return endpoint_dma(d->ep, &req);
}

static void refused(struct rig_device *d, uint32_t pasid, uint64_t iova, bool write)
{
	err(EFAULT, request(d, pasid, iova, write, false));
}

static bool readable(struct rig *rig)
{
	struct pollfd p = { .fd = nst_viommu_fd(rig->viommu), .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void set_pasid(struct rig *rig, struct rig_device *d, uint32_t pasid, uint64_t root)
{
	uint64_t *entry = guest_pasid_entry(rig, d->rid, pasid);

	entry[0] = root ? PASID_PRESENT | PASID_FIRST_STAGE : 0;
	entry[1] = 20;
	entry[2] = root;
}

/* Plain requests of all devices and PASID 5 of theirs on table A. */
static void boot(struct rig *rig)
{
	guest_enable(rig);
	for (unsigned int i = 0; i < rig->num_devices; i++) {
		struct rig_device *d = &rig->devices[i];

		guest_context_entry(rig, d->rid)[0] |= PASIDE;
		set_place(rig, d, PLACE_A);
		set_pasid(rig, d, 5, rig->root_a);
	}
	guest_sync(rig);
	assert_int_equal(faults_pending(rig), 0);
}

static struct rig_device *add(struct rig *rig)
{
	struct rig_device *d = rig_plug(rig, true);

	ok(rig_open(rig, d));
	ok(nst_viommu_attach(rig->viommu, d->rid, d->dev));
	return d;
}

static int setup(void **state)
{
	struct rig *rig = rig_create();

	add(rig);
	*state = rig;
	return 0;
}

/* The one fault that has come is this; then none. */
static void comes(struct rig *rig, const struct rig_device *d, uint32_t pasid, uint64_t addr,
		  bool write, unsigned int reason)
{
	uint64_t hi = 1ULL << 63 | (uint64_t)!write << 62 | (uint64_t)reason << 32 | d->rid;
	unsigned int index;

	if (pasid != NST_NO_PASID)
		hi |= 1ULL << 31 | (uint64_t)pasid << 40;
	assert_int_equal(faults_pending(rig), 0);
	assert_true(readable(rig));
	nst_viommu_process(rig->viommu);
	assert_false(readable(rig));
	assert_int_equal(faults_pending(rig), 1);
	index = reg32(rig, REG_FSTS) >> 8 & 0xff;
	assert_int_equal(fault_reason(rig, index), reason);
	assert_true(reg64(rig, REG_FRCD + 16 * index) == (addr & ~0xfffULL));
	assert_true(reg64(rig, REG_FRCD + 16 * index + 8) == hi);
	faults_clear(rig);
}

static void nothing_comes(struct rig *rig)
{
	uint64_t before = rig_stats(rig).host_faults;

	nst_viommu_process(rig->viommu);
	assert_int_equal(faults_pending(rig), 0);
	assert_int_equal(rig_stats(rig).host_faults, before);
}

/* --- what comes ------------------------------------------------------------------------------ */

static void a_refused_request_is_in_the_guests_log(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	boot(rig);
	reg32_set(rig, REG_FECTL, 0);
	refused(d, NST_NO_PASID, IOVA + 0x123458, true);
	comes(rig, d, NST_NO_PASID, IOVA + 0x123458, true, 0x71);
	assert_int_equal(rig->num_msis, 1);
	refused(d, NST_NO_PASID, IOVA, false);
	comes(rig, d, NST_NO_PASID, IOVA, false, 0x71);
	refused(d, 5, IOVA, true);
	comes(rig, d, 5, IOVA, true, 0x71);
	assert_int_equal(rig->num_msis, 3);
	assert_int_equal(rig_stats(rig).host_faults, 3);
	assert_int_equal(rig_stats(rig).faults, 3);
	assert_int_equal(rig_stats(rig).lost_host_faults, 0);
	assert_int_equal(place_of(d), PLACE_A);
}

/* The reasons of a first stage, each from a table that makes it: VT-d 4.1 s7.1.3. */
static void every_reason_of_the_first_stage(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t beyond = IOVA + (1ULL << 30);

	boot(rig);
	guest_map(rig, rig->root_a, IOVA, GPA_DATA);
	*guest_pte(rig, rig->root_a, IOVA) &= ~2ULL;	/* read-only */
	refused(d, NST_NO_PASID, IOVA, true);
	comes(rig, d, NST_NO_PASID, IOVA, true, 0x85);
	*guest_pte(rig, rig->root_a, IOVA + 0x1000) = GPA_DATA | 3;	/* supervisor's */
	refused(d, 5, IOVA + 0x1000, false);
	comes(rig, d, 5, IOVA + 0x1000, false, 0x81);
	refused(d, NST_NO_PASID, 1ULL << 47, true);
	comes(rig, d, NST_NO_PASID, 1ULL << 47, true, 0x80);
	refused(d, NST_NO_PASID, 0xfee01000, true);
	comes(rig, d, NST_NO_PASID, 0xfee01000, true, 0x87);
	guest_map(rig, rig->root_a, beyond, GPA_DATA);
	mem64(rig, rig->root_a)[0] |= 1ULL << 7;	/* PS of the top level */
	iq_run(rig, DESC_PIOTLB(2, 10 + PLACE_A, 0), 0);
	refused(d, NST_NO_PASID, beyond, false);
	comes(rig, d, NST_NO_PASID, beyond, false, 0x72);
	mem64(rig, rig->root_a)[0] = GPA_NOTHING | 7;	/* a table that is not there */
	refused(d, NST_NO_PASID, beyond, true);
	comes(rig, d, NST_NO_PASID, beyond, true, 0x70);
	guest_set_stage1(rig, d->rid, GPA_NOTHING, 30);	/* nor is the first one */
	guest_sync(rig);
	refused(d, NST_NO_PASID, beyond, true);
	comes(rig, d, NST_NO_PASID, beyond, true, 0x73);
}

/* The guest's tables allow it, and there is no memory: on a machine that is no fault of the IOMMU. */
static void what_the_second_stage_refuses_does_not_come(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	refused(d, NST_NO_PASID, GPA_NOTHING, true);	/* translation is off */
	nothing_comes(rig);
	boot(rig);
	guest_map(rig, rig->root_a, IOVA, GPA_NOTHING);
	refused(d, NST_NO_PASID, IOVA, true);
	nothing_comes(rig);
	set_place(rig, d, PLACE_SAME);
	guest_sync(rig);
	assert_int_equal(place_of(d), PLACE_SAME);
	refused(d, NST_NO_PASID, GPA_NOTHING, true);
	refused(d, NST_NO_PASID, UINT64_MAX - 3, true);
	nothing_comes(rig);
	assert_int_equal(rig_soft_stats(rig).faults, 4);
}

/* Blocked is blocked for the host; why, the guest's tables say. */
static void requests_that_lead_nowhere(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t *context, *root;

	boot(rig);
	context = guest_context_entry(rig, d->rid);
	root = guest_root_entry(rig, d->rid);
	refused(d, 6, IOVA, true);
	comes(rig, d, 6, IOVA, true, 0x59);
	refused(d, 64, IOVA, false);	/* of a table that is not there */
	comes(rig, d, 64, IOVA, false, 0x51);
	refused(d, 0, IOVA, true);	/* has an entry, which counts for plain requests */
	comes(rig, d, 0, IOVA, true, 0x59);
	guest_set_absent(rig, d->rid);
	guest_sync(rig);
	refused(d, NST_NO_PASID, IOVA, true);
	comes(rig, d, NST_NO_PASID, IOVA, true, 0x59);
	context[0] &= ~1ULL;
	guest_sync(rig);
	refused(d, NST_NO_PASID, IOVA, true);
	comes(rig, d, NST_NO_PASID, IOVA, true, 0x41);
	*root = 0;
	guest_sync(rig);
	refused(d, NST_NO_PASID, IOVA, true);
	comes(rig, d, NST_NO_PASID, IOVA, true, 0x39);
}

/* An entry that is wrong was reported when it was read, and not again with each request. */
static void a_wrong_entry_is_not_reported_again(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	boot(rig);
	guest_pasid_entry(rig, d->rid, 0)[0] = PASID_PRESENT;
	guest_sync(rig);
	assert_int_equal(faults_pending(rig), 1);
	assert_int_equal(fault_reason(rig, 0), 0x5b);
	faults_clear(rig);
	refused(d, NST_NO_PASID, IOVA, true);
	nothing_comes(rig);
	/* it is right by the time that we look */
	refused(d, NST_NO_PASID, IOVA, true);
	set_place(rig, d, PLACE_A);
	guest_sync(rig);
	assert_int_equal(place_of(d), PLACE_A);
	nothing_comes(rig);
}

static void faults_that_the_guest_does_not_want(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	boot(rig);
	guest_pasid_entry(rig, d->rid, 5)[0] |= FPD;
	guest_sync(rig);
	refused(d, 5, IOVA, true);
	nothing_comes(rig);
	refused(d, NST_NO_PASID, IOVA, true);
	comes(rig, d, NST_NO_PASID, IOVA, true, 0x71);
	guest_context_entry(rig, d->rid)[0] |= FPD;
	guest_sync(rig);
	refused(d, NST_NO_PASID, IOVA, true);
	refused(d, 6, IOVA, true);
	refused(d, 0, IOVA, true);
	nothing_comes(rig);
	assert_int_equal(rig_soft_stats(rig).faults, 5);
}

/* --- how many -------------------------------------------------------------------------------- */

/* A device that does nothing else: each call does a part, and what is lost is an overflow. */
static void a_flood_is_bounded_and_its_end_is_seen(void **state)
{
	struct rig *rig = *state;
	struct rig_device *bad = &rig->devices[0], *good = add(rig);
	unsigned int calls = 0;

	boot(rig);
	for (unsigned int i = 0; i < 1000; i++)
		refused(bad, NST_NO_PASID, IOVA + i * PAGE_SIZE_4K, true);
	while (readable(rig)) {
		uint64_t before = rig_stats(rig).host_faults;

		nst_viommu_process(rig->viommu);
		assert_in_range(rig_stats(rig).host_faults - before, 0, AT_ONCE);
		calls++;
		assert_int_equal(place_of(good), PLACE_A);
	}
	assert_in_range(calls, DEPTH / AT_ONCE, DEPTH / AT_ONCE + 1);
	assert_int_equal(rig_stats(rig).host_faults, DEPTH);
	assert_int_equal(rig_stats(rig).lost_host_faults, 1000 - DEPTH);
	assert_int_equal(reg32(rig, REG_FSTS), FSTS_PPF | FSTS_PFO);
	assert_int_equal(faults_pending(rig), 1);	/* all but the address is equal */
	faults_clear(rig);
	refused(good, NST_NO_PASID, IOVA, false);
	comes(rig, good, NST_NO_PASID, IOVA, false, 0x71);
	assert_int_equal(rig_stats(rig).lost_host_faults, 1000 - DEPTH);
}

/* Room was made before anybody saw that it was full: only the numbers tell. */
static void a_gap_is_an_overflow(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	boot(rig);
	for (unsigned int i = 0; i < DEPTH + 3; i++)
		refused(d, NST_NO_PASID, IOVA, true);
	nst_viommu_process(rig->viommu);
	assert_int_equal(rig_stats(rig).host_faults, AT_ONCE);
	assert_int_equal(reg32(rig, REG_FSTS), FSTS_PPF);
	refused(d, 5, IOVA, true);
	while (readable(rig))
		nst_viommu_process(rig->viommu);
	assert_int_equal(rig_stats(rig).host_faults, DEPTH + 1);
	assert_int_equal(rig_stats(rig).lost_host_faults, 3);
	assert_int_equal(reg32(rig, REG_FSTS), FSTS_PPF | FSTS_PFO);
	assert_int_equal(faults_pending(rig), 1);	/* behind an overflow nothing is recorded */
	faults_clear(rig);
	refused(d, 5, IOVA, true);
	comes(rig, d, 5, IOVA, true, 0x71);
}

/* --- who ------------------------------------------------------------------------------------- */

static void devices_share_a_queue(void **state)
{
	struct rig *rig = *state;
	unsigned int objects = 3;

	assert_int_equal(rig->host.live_reporting, objects);
	while (rig->num_devices < ALL_DEVICES) {
		add(rig);
		assert_int_equal(rig->host.live_reporting, ++objects);
	}
	boot(rig);
	for (unsigned int i = 0; i < ALL_DEVICES; i++) {
		refused(&rig->devices[i], NST_NO_PASID, IOVA, i & 1);
		comes(rig, &rig->devices[i], NST_NO_PASID, IOVA, i & 1, 0x71);
	}
	for (unsigned int i = 0; i < ALL_DEVICES; i++) {
		nst_viommu_detach(rig->viommu, rig->devices[i].rid);
		objects -= i == ALL_DEVICES - 1 ? 3 : 1;
		assert_int_equal(rig->host.live_reporting, objects);
	}
	assert_false(readable(rig));
	ok(nst_viommu_attach(rig->viommu, rig->devices[2].rid, rig->devices[2].dev));
	assert_int_equal(rig->host.live_reporting, 3);
	refused(&rig->devices[2], NST_NO_PASID, IOVA, true);
	comes(rig, &rig->devices[2], NST_NO_PASID, IOVA, true, 0x71);
}

/* What a device left behind is nothing to the next one in its place, nor to the next guest. */
/* By the number that it had when it faulted; also when two change theirs with each other. */
static void devices_with_new_numbers(void **state)
{
	struct rig *rig = *state;
	struct rig_device *a = &rig->devices[0], *b = add(rig);
	const nst_rid first = a->rid, second = b->rid;

	boot(rig);
	refused(a, NST_NO_PASID, IOVA, true);
	ok(nst_viommu_renumber(rig->viommu,
			       (struct nst_rid_move[]){ { a->dev, second }, { b->dev, first } }, 2));
	assert_int_equal(faults_pending(rig), 1);
	assert_int_equal(reg64(rig, REG_FRCD + 16 * (reg32(rig, REG_FSTS) >> 8 & 0xff) + 8) & 0xffff,
			 first);
	faults_clear(rig);
	a->rid = second;
	b->rid = first;
	refused(a, NST_NO_PASID, IOVA, true);
	comes(rig, a, NST_NO_PASID, IOVA, true, 0x71);
	refused(b, NST_NO_PASID, IOVA, false);
	comes(rig, b, NST_NO_PASID, IOVA, false, 0x71);
}

static void devices_with_one_number(void **state)
{
	struct rig *rig = *state;
	struct rig_device *pair[2];

	for (int i = 0; i < 2; i++) {
		pair[i] = rig_plug(rig, true);
		ok(rig_open(rig, pair[i]));
		pair[i]->rid = rig->devices[0].rid + 8;
		ok(nst_viommu_attach_alias(rig->viommu, pair[i]->rid, pair[i]->dev));
	}
	boot(rig);
	for (int i = 0; i < 2; i++) {
		refused(pair[i], NST_NO_PASID, IOVA, true);
		comes(rig, pair[i], NST_NO_PASID, IOVA, true, 0x71);
	}
}

static void reset_and_detach_forget(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0], *other = add(rig);

	boot(rig);
	for (int i = 0; i < 100; i++)
		refused(d, NST_NO_PASID, IOVA, true);
	refused(other, NST_NO_PASID, IOVA, true);
	nst_viommu_detach(rig->viommu, d->rid);
	ok(nst_viommu_attach(rig->viommu, d->rid, d->dev));
	assert_int_equal(faults_pending(rig), 1);	/* of the other one, which stayed */
	assert_int_equal(reg64(rig, REG_FRCD + 8) & 0xffff, other->rid);
	faults_clear(rig);
	assert_false(readable(rig));
	for (int i = 0; i < DEPTH + 50; i++)
		refused(d, NST_NO_PASID, IOVA, true);
	nst_viommu_reset(rig->viommu);
	assert_false(readable(rig));
	nothing_comes(rig);
	assert_int_equal(reg32(rig, REG_FSTS), 0);
	rig->tail = 0;
	boot(rig);
	refused(d, NST_NO_PASID, IOVA, true);
	comes(rig, d, NST_NO_PASID, IOVA, true, 0x71);
	assert_int_equal(rig_stats(rig).lost_host_faults, 0);
}

/* Linux 7.2: said once, and nothing else is different. */
static void a_host_that_does_not_report(void **state)
{
	struct rig *rig = rig_create_strict();
	struct rig_device *d;

	add(rig);
	assert_int_equal(rig->logged[NST_LOG_WARN], 1);
	add(rig);
	assert_int_equal(rig->logged[NST_LOG_WARN], 1);
	d = &rig->devices[0];
	assert_int_equal(rig->host.live_reporting, 0);
	assert_int_equal(rig_calls(&rig->host, IOMMU_VDEVICE_ALLOC), 0);
	boot(rig);
	assert_int_equal(place_of(d), PLACE_A);
	refused(d, NST_NO_PASID, IOVA, true);
	assert_false(readable(rig));
	nothing_comes(rig);
	rig_destroy(rig);
}

/* A kernel without any vIOMMU says it otherwise; one that is short of memory is tried again. */
static void hosts_that_say_no(void **state)
{
	static const unsigned long requests[] = { IOMMU_VIOMMU_ALLOC, IOMMU_VEVENTQ_ALLOC,
						  IOMMU_VDEVICE_ALLOC };
	struct rig *rig = rig_create();
	struct rig_device *d = rig_plug(rig, false);

	ok(rig_open(rig, d));
	rig_fail(&rig->host, IOMMU_VIOMMU_ALLOC, 1, ENOTTY);
	ok(nst_viommu_attach(rig->viommu, d->rid, d->dev));
	assert_int_equal(rig->logged[NST_LOG_WARN], 1);
	nst_viommu_detach(rig->viommu, d->rid);
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		rig_fail(&rig->host, requests[i], 1, ENOMEM);
		err(ENOMEM, nst_viommu_attach(rig->viommu, d->rid, d->dev));
		assert_int_equal(rig->host.live_reporting, 0);
	}
	ok(nst_viommu_attach(rig->viommu, d->rid, d->dev));
	assert_int_equal(rig->host.live_reporting, 3);
	rig_destroy(rig);
}

/* --- what a host may say --------------------------------------------------------------------- */

struct said {
	uint8_t bytes[1024];
	size_t size;
	ssize_t ret; /* if not 0 */
};

static ssize_t say(struct rig *rig, void *buf, size_t count)
{
	struct said *said = rig->hook_data;
	size_t size = MIN(count, said->size);

	if (said->ret)
		return said->ret;
	memcpy(buf, said->bytes, size);
	said->size = 0;
	return (ssize_t)size;
}

static void put(struct said *said, const void *data, size_t size)
{
	assert_true(said->size + size <= sizeof(said->bytes));
	memcpy(said->bytes + said->size, data, size);
	said->size += size;
}

static void put_event(struct said *said, uint32_t sequence, uint32_t rid, uint32_t flags,
		      uint32_t reason)
{
	const struct iommufd_vevent_header header = { .sequence = sequence };
	const struct x_iommu_vevent_intel_vtd event = {
		.flags = flags, .virt_rid = rid, .pasid = 5, .reason = reason, .addr = IOVA,
	};

	put(said, &header, sizeof(header));
	put(said, &event, sizeof(event));
}

static void put_lost(struct said *said, uint32_t sequence)
{
	const struct iommufd_vevent_header header = {
		.flags = IOMMU_VEVENTQ_FLAG_LOST_EVENTS, .sequence = sequence };

	put(said, &header, sizeof(header));
}

static void all_kinds_of_requests(void **state)
{
	struct said said = { .size = 0 };
	struct rig *rig = *state;
	nst_rid rid = rig->devices[0].rid;
	const uint64_t base = 1ULL << 63 | 0x71ULL << 32 | rid, pasid = 5ULL << 40 | 1ULL << 31;

	boot(rig);
	rig->host.read_hook = say;
	rig->hook_data = &said;
	for (uint32_t flags = 0; flags < 16; flags++) {
		uint64_t hi = base | (flags & 1 ? 0 : 1ULL << 62);

		if (flags & 8)	/* the others are of requests with a PASID */
			hi |= pasid | (flags & 2 ? 1ULL << 30 : 0) | (flags & 4 ? 1ULL << 29 : 0);
		faults_clear(rig);
		put_event(&said, flags, rid, flags, 0x71);
		nst_viommu_process(rig->viommu);
		assert_true(reg64(rig, REG_FRCD + 16 * (flags % 8) + 8) == hi);
	}
	rig->host.read_hook = NULL;
}

static void nonsense_of_the_host(void **state)
{
	struct said said = { .size = 0 };
	struct rig *rig = *state;
	nst_rid rid = rig->devices[0].rid;

	boot(rig);
	rig->host.read_hook = say;
	rig->hook_data = &said;
	put_event(&said, 0, 0x7777, 1, 0x71);	/* nobody */
	nst_viommu_process(rig->viommu);
	assert_int_equal(faults_pending(rig), 0);
	put_event(&said, 1, rid, 1, 0x71);	/* cut */
	for (size_t size = 1; size < 32; size++) {
		said.size = size;
		nst_viommu_process(rig->viommu);
		assert_int_equal(faults_pending(rig), 0);
		assert_int_equal(reg32(rig, REG_FSTS), 0);
	}
	said.ret = -EIO;
	nst_viommu_process(rig->viommu);
	assert_int_equal(rig->logged[NST_LOG_ERROR], 1);
	said.ret = 0;
	/* the numbers begin again after the last one they can be, and none is missed */
	put_lost(&said, INT_MAX);
	nst_viommu_process(rig->viommu);
	assert_true(rig_stats(rig).lost_host_faults == INT_MAX);
	faults_clear(rig);
	put_event(&said, 0, rid, 1, 0x71);
	put_event(&said, 1, rid, 0, 0x71);
	nst_viommu_process(rig->viommu);
	assert_int_equal(faults_pending(rig), 2);
	assert_true(rig_stats(rig).lost_host_faults == INT_MAX);
	rig->host.read_hook = NULL;
}

/* --- all at once ----------------------------------------------------------------------------- */

enum { ROUNDS = 300 };

static void *keep_faulting(void *opaque)
{
	struct rig_device *d = opaque;

	for (int i = 0; i < 20 * ROUNDS; i++)
		request(d, i & 1 ? 5 : NST_NO_PASID, IOVA + (uint64_t)i * PAGE_SIZE_4K, i & 2, false);
	return NULL;
}

/* It says that it can't; a reset that is announced is all that matters here. */
static void *keep_resetting(void *opaque)
{
	struct rig_device *d = opaque;

	for (int i = 0; i < 10 * ROUNDS; i++)
		device_announce_reset(d->dev);
	return NULL;
}

/* Devices fault and are reset while they come and go, and the guest reads its records. */
static void faults_and_resets_in_other_threads(void **state)
{
	void *(*const jobs[])(void *) = { keep_faulting, keep_faulting, keep_resetting };
	struct rig *rig = *state;
	pthread_t threads[ARRAY_SIZE(jobs)];

	add(rig);
	boot(rig);
	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++)
		ok(pthread_create(&threads[i], NULL, jobs[i], &rig->devices[i & 1]));
	for (int i = 0; i < ROUNDS; i++) {
		struct rig_device *d = &rig->devices[0];

		nst_viommu_detach(rig->viommu, d->rid);
		ok(nst_viommu_attach(rig->viommu, d->rid, d->dev));
		for (int n = 0; n < 3; n++)
			nst_viommu_process(rig->viommu);
		if (faults_pending(rig))
			faults_clear(rig);
		if (i % 50 == 49) {
			nst_viommu_reset(rig->viommu);
			rig->tail = 0;
			guest_enable(rig);
			set_place(rig, &rig->devices[1], PLACE_A);
			guest_sync(rig);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++)
		ok(pthread_join(threads[i], NULL));
	while (readable(rig))
		nst_viommu_process(rig->viommu);
	faults_clear(rig);
	refused(&rig->devices[1], NST_NO_PASID, IOVA, true);
	comes(rig, &rig->devices[1], NST_NO_PASID, IOVA, true, 0x71);
}

/* --- fail-nth -------------------------------------------------------------------------------- */

/* Whatever fails, the guest hears of the fault in the end, and nothing is left (rig_destroy()). */
static void live(struct rig *rig)
{
	for (int round = 0; round < 2; round++) {
		for (unsigned int i = 0; i < 2; i++) {
			struct rig_device *d = &rig->devices[i];

			while (!d->dev && rig_open(rig, d))
				;
			while (nst_viommu_attach(rig->viommu, d->rid, d->dev))
				if (rig->host.failed_destroys)
					return; /* its old vDEVICE is in the way */
		}
		rig->tail = 0;
		guest_enable(rig);
		for (unsigned int i = 0; i < 2; i++) {
			set_place(rig, &rig->devices[i], PLACE_A);
			guest_sync(rig);
			iq_run(rig, PC_GLOBAL, 0);	/* what failed is tried again */
		}
		nst_viommu_process(rig->viommu);
		faults_clear(rig);
		refused(&rig->devices[1], NST_NO_PASID, IOVA, true);
		refused(&rig->devices[1], NST_NO_PASID, IOVA, true);
		nst_viommu_process(rig->viommu);
		/* of the two one may have found no memory on the host */
		assert_true(faults_pending(rig) == 1 || reg32(rig, REG_FSTS) & FSTS_PFO);
		faults_clear(rig);
		for (unsigned int i = 0; i < 2; i++)
			nst_viommu_detach(rig->viommu, rig->devices[i].rid);
		nst_viommu_reset(rig->viommu);
	}
}

static void the_nth_host_call_fails(void **state)
{
	unsigned int nth = 0;
	bool fired;

	do {
		struct rig *rig = rig_create();

		for (int i = 0; i < 2; i++)
			rig_plug(rig, true);
		rig_fail(&rig->host, 0, ++nth, ENOMEM);
		live(rig);
		fired = rig->host.fail_nth == 0;
		rig_destroy(rig);
	} while (fired && nth < 1000);
	assert_in_range(nth, 30, 200);
}

static void the_nth_allocation_fails(void **state)
{
	unsigned int nth = 0;
	bool fired;

	do {
		struct rig *rig = rig_create();

		for (int i = 0; i < 2; i++)
			rig_plug(rig, true);
		alloc_fail_nth(++nth);
		live(rig);
		fired = alloc_fail_left() == 0;
		alloc_fail_nth(0);
		rig_destroy(rig);
	} while (fired && nth < 1000);
	assert_in_range(nth, 30, 300);
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_RIG(a_refused_request_is_in_the_guests_log),
		WITH_RIG(every_reason_of_the_first_stage),
		WITH_RIG(what_the_second_stage_refuses_does_not_come),
		WITH_RIG(requests_that_lead_nowhere),
		WITH_RIG(a_wrong_entry_is_not_reported_again),
		WITH_RIG(faults_that_the_guest_does_not_want),
		WITH_RIG(a_flood_is_bounded_and_its_end_is_seen),
		WITH_RIG(a_gap_is_an_overflow),
		WITH_RIG(devices_share_a_queue),
		WITH_RIG(devices_with_new_numbers),
		WITH_RIG(devices_with_one_number),
		WITH_RIG(reset_and_detach_forget),
		cmocka_unit_test(a_host_that_does_not_report),
		cmocka_unit_test(hosts_that_say_no),
		WITH_RIG(all_kinds_of_requests),
		WITH_RIG(nonsense_of_the_host),
		WITH_RIG(faults_and_resets_in_other_threads),
		cmocka_unit_test(the_nth_host_call_fails),
		cmocka_unit_test(the_nth_allocation_fails),
	};

	return cmocka_run_group_tests_name("vtd faults of the host", tests, NULL, NULL);
}
