// SPDX-License-Identifier: BSD-3-Clause
/*
 * Guests that mean harm: what they can have us do per register access, and keep, is counted,
 * never timed. Each limit is in docs/bounds.md. A second device, which does no harm, must
 * go on as if nothing was.
 */
#include "rig.h"

#include "base/endian.h"
#include "host/soft/soft.h"

#include <linux/pci_regs.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define PASIDE (1ULL << 3)
#define PRE (1ULL << 4)
#define GPA_DIR (GPA_DATA + 0x200000ULL) /* 128 KiB: 2^20 PASIDs */
#define GPA_LEAVES (GPA_DIR + 0x20000ULL)
#define GPA_PRQ 0xa000ULL

/*
 * What one access does at most beyond VTD_WORK_PER_RUN is the step that it ends in: a table of 64
 * PASIDs, each attached anew and its HWPT looked for in its bucket (64 are there at the limit,
 * if chance is fair); or an invalidation of every HWPT there is.
 */
enum { TABLE_STEP = 64 * 256, INVALIDATION_STEP = 3 * VTD_MAX_PASIDS };

/* --- a device with everything ---------------------------------------------------------------- */

struct noisy {
	struct endpoint ep;
	unsigned int answers, flushes;
};

static struct noisy *to_noisy(struct rig_device *d)
{
	return container_of(d->ep, struct noisy, ep);
}

static void noisy_invalidate(struct endpoint *ep, uint32_t pasid, nst_iova iova, nst_iova last)
{
	container_of(ep, struct noisy, ep)->flushes++;
}

static void noisy_response(struct endpoint *ep, const struct endpoint_page_response *response)
{
	container_of(ep, struct noisy, ep)->answers++;
}

static uint64_t noisy_read(struct endpoint *ep, unsigned int bar, uint64_t at, unsigned int size)
{
	return 0;
}

static void noisy_write(struct endpoint *ep, unsigned int bar, uint64_t at, unsigned int size,
			uint64_t value)
{
}

static void noisy_reset(struct endpoint *ep)
{
	pci_config_reset(&ep->config);
}

static void noisy_destroy(struct endpoint *ep)
{
	free(container_of(ep, struct noisy, ep));
}

static const struct endpoint_ops noisy_ops = {
	.model = "noisy",
	.bar_read = noisy_read,
	.bar_write = noisy_write,
	.ats_invalidate = noisy_invalidate,
	.page_response = noisy_response,
	.reset = noisy_reset,
	.destroy = noisy_destroy,
};

static struct rig_device *add_noisy(struct rig *rig)
{
	struct noisy *n = calloc(1, sizeof(*n));
	struct rig_device *d;

	n->ep.ops = &noisy_ops;
	pci_config_init(&n->ep.config, 0x1234, 0x5679, 0xff0000, 1);
	pci_config_add_express(&n->ep.config);
	pci_config_add_msi(&n->ep.config, 1);
	pci_config_add_ats(&n->ep.config);
	pci_config_add_pasid(&n->ep.config, 20);
	pci_config_add_pri(&n->ep.config, 64);
	d = rig_plug_endpoint(rig, &n->ep);
	ok(rig_open(rig, d));
	ok(nst_viommu_attach(rig->viommu, d->rid, d->dev));
	return d;
}

/* The harmful one first, then one that does no harm and stands on B. */
static int setup(void **state)
{
	struct rig *rig = rig_create();

	add_noisy(rig);
	rig_add_device(rig);
	*state = rig;
	return 0;
}

static void boot(struct rig *rig)
{
	rig->tail = 0;
	guest_enable(rig);
	set_place(rig, &rig->devices[1], PLACE_B);
	iq_run(rig, PC_GLOBAL, 0);
}

static void the_other_is_well(struct rig *rig)
{
	assert_int_equal(place_of(&rig->devices[1]), PLACE_B);
}

/* --- counting -------------------------------------------------------------------------------- */

static uint64_t work_now(struct rig *rig)
{
	return rig_unit(rig)->attach.work;
}

static void check_work(struct rig *rig, uint64_t before, uint64_t step)
{
	uint64_t done = work_now(rig) - before;

	if (done > VTD_WORK_PER_RUN + step)
		fail_msg("%llu at once", (unsigned long long)done);
}

static void write_bounded_by(struct rig *rig, uint64_t step, uint64_t offset, uint64_t value)
{
	uint64_t before = work_now(rig);

	reg32_set(rig, offset, (uint32_t)value);
	check_work(rig, before, step);
}

static void write_bounded(struct rig *rig, uint64_t offset, uint64_t value)
{
	write_bounded_by(rig, TABLE_STEP, offset, value);
}

static bool has_work(struct rig *rig)
{
	struct pollfd p = { .fd = nst_viommu_fd(rig->viommu), .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* The VMM's loop, each round of it within the bound, with progress. Returns the rounds. */
static unsigned int run_bounded_by(struct rig *rig, uint64_t step)
{
	unsigned int rounds = 0;

	while (has_work(rig)) {
		uint64_t before = work_now(rig);

		nst_viommu_process(rig->viommu);
		check_work(rig, before, step);
		assert_true(!has_work(rig) || work_now(rig) - before >= VTD_WORK_PER_RUN / 2);
		assert_true(++rounds < 10000);
	}
	return rounds;
}

static unsigned int run_bounded(struct rig *rig)
{
	return run_bounded_by(rig, TABLE_STEP);
}

/* --- tables ---------------------------------------------------------------------------------- */

/* One page is every structure there is, and points to itself. */
static void tables_that_are_loops(void **state)
{
	struct rig *rig = *state;
	uint64_t page = GPA_DATA + 0x100000, seed = 3;

	for (unsigned int n = 0; n < 300; n++) {
		uint64_t bits = n < 100 ? n * 8 + 7 : test_random(&seed) & 0xfff;
		struct nst_viommu_stats before = rig_stats(rig);

		boot(rig);
		for (uint64_t i = 0; i < 512; i++)
			*mem64(rig, page + 8 * i) = page | (i % 8 == 1 ? 5 : bits | 1);
		reg64_set(rig, REG_RTADDR, page | (n & 1) << 10);
		write_bounded(rig, REG_GCMD, GCMD_TE | GCMD_QIE | GCMD_SRTP);
		run_bounded(rig);
		for (unsigned int i = 0; i < 20; i++) {
			struct nst_translate_request req = {
				.rid = (nst_rid)test_random(&seed),
				.pasid = i & 1 ? (uint32_t)test_random(&seed) & 0xfffff : NST_NO_PASID,
				.iova = { test_random(&seed) >> 17 }, .write = i & 2,
			};
			struct nst_translation out;

			if (!nst_viommu_translate(rig->viommu, &req, &out))
				assert_true(out.size);
		}
		assert_in_range(rig_stats(rig).walks - before.walks, 0, 20);
		faults_clear(rig);
		nst_viommu_reset(rig->viommu);
		reg32_set(rig, REG_FSTS, FSTS_IQE);
	}
	boot(rig);
	the_other_is_well(rig);
}

/* A directory that memory ends under: what is behind the end is one fault, not thousands. */
static void a_directory_across_the_end_of_memory(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t faults;

	boot(rig);
	memset(mem64(rig, RIG_MEMORY - 8192), 0, 8192);
	guest_context_entry(rig, d->rid)[0] = (RIG_MEMORY - 4096) | 7 << 9 | PASIDE | 1;
	faults = rig_stats(rig).faults;
	iq_put(rig, PC_GLOBAL, 0);
	write_bounded(rig, REG_IQT, rig->tail);
	run_bounded(rig);
	/* pages of the directory: 31 of 32 cannot be read, each said of its first PASID */
	assert_in_range(rig_stats(rig).faults - faults, 1, 31 * 512);
	assert_in_range(rig_unit(rig)->num_pasids, 0, 31 * 512);
	assert_int_equal(faults_pending(rig), 8);
	assert_int_equal(reg32(rig, REG_FSTS) & FSTS_PFO, FSTS_PFO);
	the_other_is_well(rig);
}

/* --- faults ---------------------------------------------------------------------------------- */

static void a_flood_of_faults(void **state)
{
	struct rig *rig = *state;
	uint64_t records[16], seed = 1, faults;

	boot(rig);
	reg32_set(rig, REG_FECTL, 0);
	rig->num_msis = 0;
	faults = rig_stats(rig).faults;
	for (unsigned int n = 0; n < 100000; n++) {
		struct nst_translate_request req = {
			.rid = (nst_rid)(0x200 + n % 64), .pasid = NST_NO_PASID,
			.iova = { test_random(&seed) >> 20 << 12 },
		};
		struct nst_translation out;

		/* an access is refused or is none of the tables' business */
		if (req.iova.v >> 20 == 0xfee)
			continue;
		assert_int_equal(nst_viommu_translate(rig->viommu, &req, &out), -EFAULT);
		if (n == 8)
			for (unsigned int i = 0; i < 16; i++)
				records[i] = reg64(rig, REG_FRCD + 8 * i);
	}
	assert_in_range(rig_stats(rig).faults - faults, 99000, 100000);
	/* of eight devices the first is kept, and nothing of the others; one message */
	for (unsigned int i = 0; i < 16; i++)
		assert_true(reg64(rig, REG_FRCD + 8 * i) == records[i]);
	assert_int_equal(reg32(rig, REG_FSTS) & 0xff, FSTS_PFO | FSTS_PPF);
	assert_int_equal(rig->num_msis, 1);
	the_other_is_well(rig);
	faults_clear(rig);
	assert_int_equal(reg32(rig, REG_FSTS) & 0xff, 0);
}

/* --- page requests --------------------------------------------------------------------------- */

static void enable_pri(struct rig_device *d)
{
	unsigned int at = 0x100;
	uint8_t bytes[4];

	for (;;) {
		ok(nst_device_read(d->dev, VFIO_PCI_CONFIG_REGION_INDEX, at, bytes, 4));
		if ((le_load(bytes, 4) & 0xffff) == PCI_EXT_CAP_ID_PRI)
			break;
		at = le_load(bytes, 4) >> 20;
		assert_true(at >= 0x100);
	}
	ok(nst_device_write(d->dev, VFIO_PCI_CONFIG_REGION_INDEX, at + PCI_PRI_CTRL,
			    (const uint8_t[2]){ 1 }, 2));
}

static unsigned int groups_kept(struct rig *rig)
{
	return (unsigned int)(rig_stats(rig).page_requests - rig_stats(rig).page_responses);
}

/* Asked for ever, answered never: the guest's queue is the limit of what is remembered. */
static void a_flood_of_page_requests_that_nobody_answers(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t *entry;

	boot(rig);
	reg64_set(rig, REG_PQA, GPA_PRQ);
	reg32_set(rig, REG_PECTL, 0);
	rig->num_msis = 0;
	guest_context_entry(rig, d->rid)[0] |= PRE | PASIDE;
	entry = guest_pasid_entry(rig, d->rid, 5);
	entry[0] = PASID_PRESENT | PASID_FIRST_STAGE;
	entry[1] = 10;
	entry[2] = rig->root_a;
	enable_pri(d);
	guest_sync(rig);
	for (unsigned int n = 0; n < 20000; n++) {
		struct endpoint_page_request request = {
			.iova = { PROBE_IOVA }, .pasid = 5, .group = n % 512, .read = true, .last = true,
		};

		endpoint_page_request(d->ep, &request);
		if (n % 64 == 0)
			nst_viommu_process(rig->viommu);
	}
	nst_viommu_process(rig->viommu);
	/* a queue of 4 KiB holds 127; all others were told to ask again */
	assert_int_equal(groups_kept(rig), 127);
	assert_int_equal(to_noisy(d)->answers, 20000 - 127);
	assert_int_equal(reg32(rig, REG_PRS), 3);
	assert_int_equal(rig->num_msis, 1);
	the_other_is_well(rig);
	iq_sync(rig);
	/* and all of it goes with the attachment */
	entry[0] = 0;
	iq_run(rig, DESC_PASID_CACHE(1, 0, 5), 0);
	nst_viommu_process(rig->viommu);
	assert_int_equal(to_noisy(d)->answers, 20000);
	assert_null(rig_unit(rig)->page.groups);
	the_other_is_well(rig);
}

/* Answers to nobody and drains, as many as a queue holds, with requests outstanding. */
static void a_queue_full_of_answers(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t *entry;

	boot(rig);
	reg64_set(rig, REG_PQA, GPA_DIR | 7);
	guest_context_entry(rig, d->rid)[0] |= PRE | PASIDE;
	entry = guest_pasid_entry(rig, d->rid, 5);
	entry[0] = PASID_PRESENT | PASID_FIRST_STAGE;
	entry[1] = 10;
	entry[2] = rig->root_a;
	enable_pri(d);
	guest_sync(rig);
	for (unsigned int n = 0; n < 512; n++)
		endpoint_page_request(d->ep, &(struct endpoint_page_request){
						     .iova = { PROBE_IOVA }, .pasid = 5, .group = n,
						     .read = true, .last = true });
	nst_viommu_process(rig->viommu);
	assert_int_equal(groups_kept(rig), 512);
	gcmd(rig, 0, GCMD_QIE);
	for (uint64_t i = 0; i < 16384; i++) {
		uint64_t *desc = mem64(rig, GPA_DATA + 32 * i);

		desc[0] = i & 1 ? 5 | 1 << 7 : 9 | 1 << 4 | (uint64_t)d->rid << 16 | 6ULL << 32;
		desc[1] = desc[2] = desc[3] = 0;
	}
	reg32_set(rig, REG_IQT, 0);
	reg64_set(rig, REG_IQA, GPA_DATA | 1 << 11 | 7);
	gcmd(rig, GCMD_QIE, 0);
	write_bounded(rig, REG_IQT, 16383 * 32);
	assert_int_not_equal(reg64(rig, REG_IQH), 16383 * 32);
	assert_in_range(run_bounded(rig), 100, 1000);
	assert_int_equal(reg64(rig, REG_IQH), 16383 * 32);
	assert_int_equal(groups_kept(rig), 512);
	assert_int_equal(rig_stats(rig).unknown_page_responses, 8192);
	the_other_is_well(rig);
}

/* --- PASIDs ---------------------------------------------------------------------------------- */

/* 2^20 PASIDs in @leaves tables used over and over; each entry of them has a root of its own. */
static void fill_pasids(struct rig *rig, struct rig_device *d, uint64_t leaves, uint64_t did)
{
	for (uint64_t i = 0; i < 16384; i++)
		*mem64(rig, GPA_DIR + 8 * i) = (GPA_LEAVES + i % leaves * 4096) | 1;
	for (uint64_t i = 0; i < leaves * 64; i++) {
		uint64_t *entry = mem64(rig, GPA_LEAVES + 64 * i);

		memset(entry, 0, 64);
		entry[0] = PASID_PRESENT | PASID_FIRST_STAGE;
		entry[1] = did;
		entry[2] = leaves == 1 ? rig->root_a : i << 12;
	}
	guest_context_entry(rig, d->rid)[0] = GPA_DIR | PASIDE | 1 | 7 << 9;
}

/* All attached to one table, on a device that caches translations itself. */
static void the_limit_of_pasids_on_a_device_with_a_tlb(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	unsigned int flushes;

	boot(rig);
	fill_pasids(rig, d, 1, 5);
	iq_put(rig, PC_GLOBAL, 0);
	write_bounded(rig, REG_IQT, rig->tail);
	run_bounded(rig);
	assert_int_equal(rig_unit(rig)->num_pasids, VTD_MAX_PASIDS);
	the_other_is_well(rig);
	/* each tells the device once that it goes */
	flushes = to_noisy(d)->flushes;
	write_bounded(rig, REG_GCMD, GCMD_QIE);
	run_bounded(rig);
	assert_int_equal(rig_unit(rig)->num_pasids, 0);
	assert_in_range(to_noisy(d)->flushes - flushes, VTD_MAX_PASIDS, VTD_MAX_PASIDS + 2);
	assert_int_equal(nested_alive(rig), 0);
}

/* As many HWPTs as there may be PASIDs, all of one domain id. */
static void the_limit_of_tables(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	unsigned int rounds;

	boot(rig);
	fill_pasids(rig, d, 1024, 5);
	iq_put(rig, PC_GLOBAL, 0);
	write_bounded(rig, REG_IQT, rig->tail);
	rounds = run_bounded(rig);
	assert_int_equal(rig_unit(rig)->num_pasids, VTD_MAX_PASIDS);
	assert_in_range(nested_alive(rig), VTD_MAX_PASIDS / 2, VTD_MAX_PASIDS + 1);
	assert_in_range(rounds, 10, 400);
	the_other_is_well(rig);
	/* one invalidation of them all, again and again */
	for (unsigned int n = 0; n < 20; n++)
		iq_put(rig, DESC_PIOTLB(2, 5, n), 0);
	write_bounded_by(rig, INVALIDATION_STEP, REG_IQT, rig->tail);
	run_bounded_by(rig, INVALIDATION_STEP);
	assert_int_equal(reg64(rig, REG_IQH), rig->tail);
	write_bounded(rig, REG_GCMD, GCMD_QIE);
	run_bounded(rig);
	assert_int_equal(nested_alive(rig), 0);
}

/* --- the queue ------------------------------------------------------------------------------- */

/* The most that one write of the tail can ask for: 32767 waits, of which none can be told. */
static void a_queue_full_of_waits_for_nowhere(void **state)
{
	struct rig *rig = *state;
	unsigned int warned;

	boot(rig);
	gcmd(rig, 0, GCMD_QIE);
	for (uint64_t i = 0; i < 32768; i++) {
		mem64(rig, GPA_DATA + 16 * i)[0] = DESC_WAIT(1) | 1 << 4;
		mem64(rig, GPA_DATA + 16 * i)[1] = i & 1 ? GPA_NOTHING : ~3ULL;
	}
	reg32_set(rig, REG_IQT, 0);
	reg64_set(rig, REG_IQA, GPA_DATA | 7);
	reg32_set(rig, REG_IECTL, 0);
	gcmd(rig, GCMD_QIE, 0);
	rig->num_msis = 0;
	warned = rig->logged[NST_LOG_WARN];
	write_bounded(rig, REG_IQT, 32767 * 16);
	run_bounded(rig);
	assert_int_equal(reg64(rig, REG_IQH), 32767 * 16);
	assert_int_equal(rig->num_msis, 1);
	assert_int_equal(rig->logged[NST_LOG_WARN], warned + 1);
	the_other_is_well(rig);
}

/* --- memory that changes while it is read ---------------------------------------------------- */

struct flipper {
	struct rig *rig;
	atomic_bool stop;
};

static void store(struct rig *rig, uint64_t gpa, uint64_t value)
{
	__atomic_store_n(mem64(rig, gpa), value, __ATOMIC_RELAXED);
}

#define GPA_SEEN (GPA_STATUS + 0x100)

static void *flip(void *opaque)
{
	static const uint64_t descs[] = {
		DESC_WAIT(0x11111111), DESC_WAIT(0x22222222), DESC_WAIT(0x11111111) | 1 << 7,
		DESC_WAIT(0x22222222) | 1 << 4, PC_GLOBAL, DESC_PIOTLB(3, 5, 0), DESC_PIOTLB(1, 5, 0),
		DESC_CONTEXT(1, 0, 0), DESC_IOTLB(1, 0), DESC_PASID_CACHE(1, 0, 5), 0, 9 | 1 << 4, 4, 31,
	};
	struct flipper *f = opaque;
	struct rig *rig = f->rig;
	uint64_t entry = (uint64_t)((uint8_t *)guest_pasid_entry(rig, rig->devices[0].rid, 0) - rig->memory);
	uint64_t seed = 5;

	while (!atomic_load(&f->stop)) {
		uint64_t at = GPA_QUEUE + test_random(&seed) % 128 * 32, n = test_random(&seed);

		store(rig, at, descs[n % ARRAY_SIZE(descs)]);
		store(rig, at + 8, n & 3 << 20 ? (n & 1 << 20 ? GPA_SEEN : 0) : GPA_SEEN | 0x3f);
		store(rig, entry + n % 64 * 64, n >> 40 & 0x1c1);
		store(rig, entry + n % 64 * 64 + 16, n & 1 << 21 ? rig->root_a : n);
	}
	return NULL;
}

/* Each word is seen as it was at one moment, so a status is one of the two that are written. */
static void descriptors_and_entries_that_change_while_they_are_read(void **state)
{
	struct rig *rig = *state;
	struct flipper f = { .rig = rig };
	unsigned int statuses[3] = { 0 };
	uint64_t seed = 7;
	pthread_t thread;

	boot(rig);
	guest_context_entry(rig, rig->devices[0].rid)[0] |= PASIDE;
	ok(pthread_create(&thread, NULL, flip, &f));
	for (unsigned int n = 0; n < 2000 || !statuses[1] || !statuses[2]; n++) {
		uint32_t seen;

		assert_true(n < 50000000);
		write_bounded(rig, REG_IQT, test_random(&seed) % 128 * 32);
		run_bounded(rig);
		reg32_set(rig, REG_FSTS, FSTS_IQE);
		seen = mem32(rig, GPA_SEEN);
		assert_true(!seen || seen == 0x11111111 || seen == 0x22222222);
		statuses[seen ? seen >> 28 : 0]++;
		if (n % 50 == 0)
			the_other_is_well(rig);
	}
	atomic_store(&f.stop, true);
	ok(pthread_join(thread, NULL));
	assert_in_range(rig_unit(rig)->num_pasids, 0, 64);
	faults_clear(rig);
	nst_viommu_reset(rig->viommu);
	boot(rig);
	the_other_is_well(rig);
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_RIG(tables_that_are_loops),
		WITH_RIG(a_directory_across_the_end_of_memory),
		WITH_RIG(a_flood_of_faults),
		WITH_RIG(a_flood_of_page_requests_that_nobody_answers),
		WITH_RIG(a_queue_full_of_answers),
		WITH_RIG(the_limit_of_pasids_on_a_device_with_a_tlb),
		WITH_RIG(the_limit_of_tables),
		WITH_RIG(a_queue_full_of_waits_for_nowhere),
		WITH_RIG(descriptors_and_entries_that_change_while_they_are_read),
	};

	return cmocka_run_group_tests_name("vtd hostile guests", tests, NULL, NULL);
}
