// SPDX-License-Identifier: BSD-3-Clause
/*
 * Devices with a TLB: what they are told at translation requests, which translated requests
 * are done, and when they are told to forget. The device is the test itself.
 */
#include "vtd_rig.h"

#include "base/alloc.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

enum { PASID = 9 };

static void allow(struct rig *rig, uint32_t pasid, uint16_t did)
{
	struct vtd_hw_entry entry = rig->entry;

	entry.ats = true;
	entry.did = did;
	rig_set_entry(rig, RIG_RID, pasid, &entry);
}

static int ask_as(struct rig *rig, uint32_t pasid, uint64_t iova, bool write,
		  struct endpoint_ats_reply *reply)
{
	struct endpoint_ats_request req = { .iova = { iova }, .pasid = pasid, .write = write };

	return vtd_hw_translate(rig->hw, RIG_RID, &req, reply);
}

static struct endpoint_ats_reply ask(struct rig *rig, uint64_t iova, bool write)
{
	struct endpoint_ats_reply reply;

	assert_int_equal(ask_as(rig, NST_NO_PASID, iova, write, &reply), 0);
	return reply;
}

static int translated_dma(struct rig *rig, uint32_t pasid, bool write, const void *host,
			  uint64_t untranslated, void *buf, size_t size)
{
	struct endpoint_dma_request req = {
		.iova = { (uintptr_t)host },
		.pasid = pasid,
		.write = write,
		.translated = true,
		.untranslated = { untranslated },
		.buf = buf,
		.size = size,
	};

	return vtd_hw_dma(rig->hw, RIG_RID, &req);
}

static void expect_reply(struct endpoint_ats_reply reply, const void *host, uint64_t size,
			 bool read, bool write)
{
	assert_true(reply.translated.v == (uintptr_t)host);
	assert_int_equal(reply.size, size);
	assert_int_equal(reply.read, read);
	assert_int_equal(reply.write, write);
}

static void replies(void **state)
{
	struct rig *rig = *state;

	allow(rig, NST_NO_PASID, RIG_DID);
	rig_map(rig, 0x1000, 0x5000, 1, E_RW);
	rig_map(rig, 0x2000, 0x6000, 1, E_RO);
	for (int again = 0; again < 2; again++) { /* by a walk, then from the IOTLB */
		expect_reply(ask(rig, 0x1238, true), &rig->ram[0x5000], 4096, true, true);
		expect_reply(ask(rig, 0x1238, false), &rig->ram[0x5000], 4096, true, false);
		expect_reply(ask(rig, 0x2fff, true), &rig->ram[0x6000], 4096, true, false);
		expect_reply(ask(rig, 0x3000, true), NULL, 4096, false, false);
		expect_reply(ask(rig, 0xfee00000, false), NULL, 4096, false, false);
		expect_reply(ask(rig, 1ULL << 47, false), NULL, 4096, false, false);
	}
	assert_int_equal(rig->warnings, 0); /* nothing of this is an error */
	/* D was set for the write, so that using the translation needs no walk */
	assert_true(le64toh(*rig_slot(rig, rig->entry.fs_root, 0x1000, 1)) & E_D);
	assert_false(le64toh(*rig_slot(rig, rig->entry.fs_root, 0x2000, 1)) & E_D);
}

/* Large only where an address of this process can have as many low bits in common. */
static void pages_are_as_large_as_memory_lies(void **state)
{
	struct rig *rig = *state;
	uint64_t two_mib = 2 << 20, base = 16 * two_mib;
	uint8_t *aligned = (uint8_t *)(((uintptr_t)rig->ram + two_mib - 1) & ~(two_mib - 1));

	allow(rig, NST_NO_PASID, RIG_DID);
	rig_slot(rig, rig->entry.fs_root, 0x40000000, 2);
	rig_clear_s2(rig);
	rig_add_s2(rig, 0, base, rig->ram, RANGE_READ | RANGE_WRITE);
	rig_add_s2(rig, base, two_mib, aligned + base, RANGE_READ | RANGE_WRITE);
	rig_add_s2(rig, base + two_mib, two_mib, aligned + base + two_mib + 4096,
		   RANGE_READ | RANGE_WRITE);
	rig_map(rig, 0x40000000, base, 2, E_RW);
	rig_map(rig, 0x40200000, base + two_mib, 2, E_RW);
	expect_reply(ask(rig, 0x40003000, true), aligned + base, two_mib, true, true);
	expect_reply(ask(rig, 0x40203456, true), aligned + base + two_mib + 0x4000, 4096, true,
		     true);
}

static void second_stage_alone(void **state)
{
	struct rig *rig = *state;

	rig->entry.pgtt = VTD_HW_SECOND_STAGE;
	allow(rig, PASID, RIG_DID);
	for (int write = 0; write < 2; write++) {
		struct endpoint_ats_reply reply;

		assert_int_equal(ask_as(rig, PASID, 0x7123, write, &reply), 0);
		expect_reply(reply, &rig->ram[0x7000], 4096, true, write);
	}
}

static void who_may_not_ask(void **state)
{
	struct rig *rig = *state;
	struct endpoint_ats_reply reply = { .size = 77 };
	uint64_t word;

	rig_map(rig, 0x1000, 0x5000, 1, E_RW);
	assert_int_equal(ask_as(rig, NST_NO_PASID, 0x1000, false, &reply), -EFAULT);
	assert_non_null(strstr(rig->last_warning, "iova 0x1000: reason 0x44"));
	assert_int_equal(
		translated_dma(rig, NST_NO_PASID, false, &rig->ram[0x5000], 0x1000, &word, 8),
		-EFAULT);
	assert_non_null(strstr(rig->last_warning, "iova 0x1000: reason 0x44"));
	assert_int_equal(ask_as(rig, PASID, 0x1000, false, &reply), -EFAULT);
	assert_non_null(strstr(rig->last_warning, "check: DMA while blocked (1)"));
	assert_int_equal(translated_dma(rig, PASID, false, &rig->ram[0x5000], 0x1000, &word, 8),
			 -EFAULT);
	assert_non_null(strstr(rig->last_warning, "check: DMA while blocked (2)"));
	assert_int_equal(rig_stats(rig).faults, 4);
	assert_int_equal(reply.size, 77); /* written on success only */
}

static void translated_requests_stay_in_the_second_stage(void **state)
{
	struct rig *rig = *state;
	uint8_t *high = &rig->ram[RIG_RAM_SIZE - 4096], outside[16];
	uint64_t word = 0x1234, got;

	rig_clear_s2(rig);
	rig_add_s2(rig, 0, RIG_RAM_SIZE - 4096, rig->ram, RANGE_READ | RANGE_WRITE);
	rig_add_s2(rig, RIG_RAM_SIZE, 4096, &rig->ram[0x9000], RANGE_READ); /* in two places */
	allow(rig, NST_NO_PASID, RIG_DID);
	rig_map(rig, 0x1000, 0x5000, 1, E_RW);
	rig_map(rig, 0x2000, 0x9000, 1, E_RW);
	assert_int_equal(
		translated_dma(rig, NST_NO_PASID, true, &rig->ram[0x5008], 0x1008, &word, 8), 0);
	assert_int_equal(rig_read(rig, 0x1008), 0x1234);
	assert_int_equal(
		translated_dma(rig, NST_NO_PASID, false, &rig->ram[0x5008], 0x1008, &got, 8), 0);
	assert_int_equal(got, 0x1234);
	assert_int_equal(
		translated_dma(rig, NST_NO_PASID, true, &rig->ram[0x9000], 0x2000, &word, 8), 0);
	assert_int_equal(rig_stats(rig).dma_write_bytes, 16);
	assert_int_equal(rig->warnings, 0);
	/* not ours; ours, but not in the second stage; beyond its end; backwards around zero */
	assert_int_equal(translated_dma(rig, NST_NO_PASID, false, outside, 0x1000, &got, 8),
			 -EFAULT);
	assert_int_equal(translated_dma(rig, NST_NO_PASID, true, high, 0x1000, &word, 8), -EFAULT);
	assert_int_equal(translated_dma(rig, NST_NO_PASID, true, high - 4, 0x1000, &word, 8),
			 -EFAULT);
	assert_int_equal(translated_dma(rig, NST_NO_PASID, true, (void *)-4L, 0x1000, &word, 8),
			 -EFAULT);
	assert_int_equal(translated_dma(rig, NST_NO_PASID, true, rig->ram - 1, 0x1000, &word, 1),
			 -EFAULT);
	assert_int_equal(rig_stats(rig).faults, 5);
	assert_int_equal(rig->reports, 0); /* no table says anything about them */
	/* with permission only */
	rig_clear_s2(rig);
	rig_add_s2(rig, 0, RIG_RAM_SIZE, rig->ram, RANGE_READ);
	assert_int_equal(
		translated_dma(rig, NST_NO_PASID, true, &rig->ram[0x5000], 0x1000, &word, 8),
		-EFAULT);
	assert_int_equal(
		translated_dma(rig, NST_NO_PASID, false, &rig->ram[0x5000], 0x1000, &got, 8), 0);
}

static void a_stale_device_tlb_is_reported(void **state)
{
	struct rig *rig = *state;
	uint64_t word = 1;

	allow(rig, PASID, RIG_DID);
	rig_map(rig, 0x1000, 0x5000, 1, E_RW);
	assert_int_equal(translated_dma(rig, PASID, true, &rig->ram[0x5010], 0x1010, &word, 8), 0);
	assert_int_equal(rig_stats(rig).stale_hits, 0);
	rig_map(rig, 0x1000, 0x6000, 1, E_RW);
	assert_int_equal(translated_dma(rig, PASID, true, &rig->ram[0x5010], 0x1010, &word, 8), 0);
	assert_int_equal(rig_stats(rig).stale_hits, 1);
	assert_non_null(
		strstr(rig->last_warning,
		       "check: stale device TLB entry used (1): device 01:04.0 PASID 9 write "
		       "iova 0x1010: "));
	assert_non_null(strstr(rig->details, "no invalidation of HWPT 5 covers 0x1010"));
	rig_map(rig, 0x1000, 0x5000, 1, E_RO | E_D);
	assert_int_equal(translated_dma(rig, PASID, false, &rig->ram[0x5010], 0x1010, &word, 8), 0);
	assert_int_equal(rig_stats(rig).stale_hits, 1);
	assert_int_equal(translated_dma(rig, PASID, true, &rig->ram[0x5010], 0x1010, &word, 8), 0);
	assert_int_equal(rig_stats(rig).stale_hits, 2);
	assert_non_null(strstr(rig->last_warning, "the tables say fault 0x85"));
	/* the look at the tables left no mark in them */
	rig_map(rig, 0x1000, 0x5000, 1, E_RW);
	assert_int_equal(translated_dma(rig, PASID, true, &rig->ram[0x5010], 0x1010, &word, 8), 0);
	assert_int_equal(le64toh(*rig_slot(rig, rig->entry.fs_root, 0x1000, 1)), 0x5000 | E_RW);
	assert_int_equal(rig_stats(rig).stale_hits, 2);
}

/* One request over two pages that lie together in memory: each is compared with its own. */
static void a_long_request_is_checked_page_by_page(void **state)
{
	struct rig *rig = *state;
	uint8_t buf[16] = { 0 };

	allow(rig, NST_NO_PASID, RIG_DID);
	rig_map(rig, 0x1000, 0x5000, 1, E_RW);
	rig_map(rig, 0x2000, 0x6000, 1, E_RW);
	assert_int_equal(
		translated_dma(rig, NST_NO_PASID, true, &rig->ram[0x5ff8], 0x1ff8, buf, 16), 0);
	assert_int_equal(rig_stats(rig).stale_hits, 0);
	rig_map(rig, 0x2000, 0x7000, 1, E_RW);
	assert_int_equal(
		translated_dma(rig, NST_NO_PASID, true, &rig->ram[0x5ff8], 0x1ff8, buf, 16), 0);
	assert_int_equal(rig_stats(rig).stale_hits, 1);
	assert_non_null(strstr(rig->last_warning, "write iova 0x2000: "));
}

static void expect_forgotten(struct rig *rig, unsigned int i, uint32_t pasid, uint64_t iova,
			     uint64_t last, uint64_t value)
{
	const struct rig_forgotten *f = &rig->forgotten[i];

	assert_true(i < rig->num_forgotten);
	assert_int_equal(f->rid, RIG_RID);
	assert_int_equal(f->pasid, pasid);
	assert_true(f->iova == iova && f->last == last);
	assert_int_equal(f->value, value); /* the IOTLB had forgotten before */
}

static void devices_are_told(void **state)
{
	struct rig *rig = *state;

	rig_mark(rig, 0x5000, 5);
	rig_mark(rig, 0x6000, 6);
	rig->forget_probe = 0x1000;
	rig_map(rig, 0x1000, 0x5000, 1, E_RW);
	vtd_hw_flush_domain(rig->hw, RIG_DID);
	assert_int_equal(rig->num_forgotten, 0); /* no device with a TLB */
	allow(rig, NST_NO_PASID, RIG_DID);
	allow(rig, PASID, RIG_DID);
	allow(rig, PASID + 1, RIG_DID + 1);
	assert_int_equal(rig->num_forgotten, 0);
	assert_int_equal(rig_read(rig, 0x1000), 5);
	rig_map(rig, 0x1000, 0x6000, 1, E_RW);
	vtd_hw_flush_pages(rig->hw, RIG_DID, 0x1000, 2, true);
	assert_int_equal(rig->num_forgotten, 2);
	expect_forgotten(rig, 0, NST_NO_PASID, 0x1000, 0x2fff, 6);
	expect_forgotten(rig, 1, PASID, 0x1000, 0x2fff, 6);
	rig->num_forgotten = 0;
	vtd_hw_flush_pages(rig->hw, RIG_DID + 1, 0, UINT64_MAX, false);
	assert_int_equal(rig->num_forgotten, 1);
	expect_forgotten(rig, 0, PASID + 1, 0, UINT64_MAX, 6);
	/* the second stage concerns all */
	rig->num_forgotten = 0;
	vtd_hw_map_begin(rig->hw);
	vtd_hw_map_end(rig->hw, false);
	assert_int_equal(rig->num_forgotten, 0);
	rig_clear_s2(rig);
	assert_int_equal(rig->num_forgotten, 3);
	expect_forgotten(rig, 2, PASID + 1, 0, UINT64_MAX, RIG_FAULT);
}

static void a_change_of_the_entry_empties_the_device_tlb(void **state)
{
	struct rig *rig = *state;

	rig->forget_probe = 0x1000;
	rig_mark(rig, 0x5000, 5);
	rig_map(rig, 0x1000, 0x5000, 1, E_RW);
	allow(rig, NST_NO_PASID, RIG_DID);
	allow(rig, PASID, RIG_DID);
	allow(rig, PASID, RIG_DID + 1); /* replaced */
	assert_int_equal(rig->num_forgotten, 1);
	expect_forgotten(rig, 0, PASID, 0, UINT64_MAX, 5);
	vtd_hw_flush_domain(rig->hw, RIG_DID);
	assert_int_equal(rig->num_forgotten, 2); /* the PASID has left this domain */
	expect_forgotten(rig, 1, NST_NO_PASID, 0, UINT64_MAX, 5);
	rig->num_forgotten = 0;
	rig_set_entry(rig, RIG_RID, NST_NO_PASID, NULL);
	assert_int_equal(rig->num_forgotten, 1);
	expect_forgotten(rig, 0, NST_NO_PASID, 0, UINT64_MAX, RIG_FAULT);
	rig_set_entry(rig, RIG_RID, NST_NO_PASID, NULL);
	assert_int_equal(rig->num_forgotten, 1);	 /* had gone already */
	rig_set_entry(rig, RIG_RID, PASID, &rig->entry); /* without ats from now on */
	assert_int_equal(rig->num_forgotten, 2);
	vtd_hw_flush_domain(rig->hw, RIG_DID);
	rig_set_entry(rig, RIG_RID, PASID, NULL);
	assert_int_equal(rig->num_forgotten, 2);
}

/* A lost invalidation is lost for the device, too. */
static void what_is_lost_is_not_told(void **state)
{
	struct rig *rig = *state;

	allow(rig, NST_NO_PASID, RIG_DID);
	vtd_hw_drop_invalidation(rig->hw, 0);
	assert_false(vtd_hw_flush_pages(rig->hw, RIG_DID, 0x1000, 1, true));
	assert_int_equal(rig->num_forgotten, 0);
	assert_true(vtd_hw_flush_pages(rig->hw, RIG_DID, 0x1000, 1, true));
	assert_int_equal(rig->num_forgotten, 1);
}

/* More entries than the list begins with; each is told once, and all are gone at the end. */
static void many_entries(void **state)
{
	struct rig *rig = *state;

	for (uint32_t i = 0; i < 1000; i++)
		allow(rig, i, (uint16_t)(100 + i));
	for (uint32_t i = 0; i < 1000; i += 7) {
		rig->num_forgotten = 0;
		vtd_hw_flush_domain(rig->hw, (uint16_t)(100 + i));
		assert_int_equal(rig->num_forgotten, 1);
		assert_int_equal(rig->forgotten[0].pasid, i);
	}
	for (uint32_t i = 0; i < 1000; i++) {
		rig->num_forgotten = 0;
		rig_set_entry(rig, RIG_RID, i, NULL);
		assert_int_equal(rig->num_forgotten, 1);
	}
	rig->num_forgotten = 0;
	rig_clear_s2(rig);
	assert_int_equal(rig->num_forgotten, 0);
}

static void refused_memory_changes_nothing(void **state)
{
	struct rig *rig = *state;
	struct vtd_hw_entry entry = rig->entry;
	unsigned int n = 0;
	int ret;

	entry.ats = true;
	entry.did = RIG_DID + 1;
	rig_mark(rig, 0x5000, 5);
	rig_map(rig, 0x1000, 0x5000, 1, E_RW);
	do {
		alloc_fail_nth(++n);
		ret = vtd_hw_set_entry(rig->hw, RIG_RID, NST_NO_PASID, &entry);
		alloc_fail_nth(0);
		if (ret) {
			assert_int_equal(ret, -ENOMEM);
			vtd_hw_flush_domain(rig->hw, RIG_DID + 1);
			assert_int_equal(rig->num_forgotten, 0);
			assert_int_equal(rig_read(rig, 0x1000), 5);
		}
	} while (ret);
	assert_int_equal(n, 2);
	vtd_hw_flush_domain(rig->hw, RIG_DID + 1);
	assert_int_equal(rig->num_forgotten, 1);
}

/* A device that writes through its TLB all the time, with a lock over lookup, miss and use. */
struct busy_device {
	struct rig *rig;
	pthread_mutex_t lock;
	bool cached;
	uint64_t host;
	atomic_bool stop;
	atomic_uint writes, refused;
};

static void busy_forget(void *opaque)
{
	struct busy_device *d = opaque;

	pthread_mutex_lock(&d->lock);
	d->cached = false;
	pthread_mutex_unlock(&d->lock);
}

static void *busy_work(void *opaque)
{
	struct busy_device *d = opaque;
	uint64_t word = UINT64_MAX;

	while (!atomic_load(&d->stop)) {
		struct endpoint_ats_reply reply = { 0 };
		bool refused;

		pthread_mutex_lock(&d->lock);
		refused = !d->cached &&
			  (ask_as(d->rig, NST_NO_PASID, 0x1000, true, &reply) || !reply.write);
		if (!refused && !d->cached) {
			d->host = reply.translated.v;
			d->cached = true;
		}
		if (!refused)
			refused = translated_dma(d->rig, NST_NO_PASID, true,
						 (void *)(uintptr_t)d->host, 0x1000, &word, 8);
		pthread_mutex_unlock(&d->lock);
		atomic_fetch_add(refused ? &d->refused : &d->writes, 1);
	}
	return NULL;
}

static void wait_for(atomic_uint *count)
{
	unsigned int now = atomic_load(count);

	while (atomic_load(count) == now)
		sched_yield();
}

/* When a flush returns no device writes to where the page was: it is ours, without a lock. */
static void old_pages_are_quiet(void **state)
{
	struct rig *rig = *state;
	struct busy_device d = { .rig = rig, .lock = PTHREAD_MUTEX_INITIALIZER };
	uint64_t *pages[2] = { (uint64_t *)(void *)&rig->ram[0x5000],
			       (uint64_t *)(void *)&rig->ram[0x6000] };
	pthread_t thread;

	rig->on_forget = busy_forget;
	rig->on_forget_opaque = &d;
	allow(rig, NST_NO_PASID, RIG_DID);
	rig_map(rig, 0x1000, 0x5000, 1, E_RW);
	assert_int_equal(pthread_create(&thread, NULL, busy_work, &d), 0);
	for (unsigned int round = 0; round < 200; round++) {
		unsigned int old = round % 2;

		wait_for(&d.writes);
		rig_map(rig, 0x1000, old ? 0x5000 : 0x6000, 1, E_RW);
		if (round % 3)
			vtd_hw_flush_pages(rig->hw, RIG_DID, 0x1000, 1, true);
		else
			vtd_hw_flush_domain(rig->hw, RIG_DID);
		assert_true(*pages[old] == UINT64_MAX);
		*pages[old] = 0;
		wait_for(&d.writes);
		assert_true(*pages[old] == 0);
	}
	rig_set_entry(rig, RIG_RID, NST_NO_PASID, NULL);
	*pages[0] = *pages[1] = 0;
	wait_for(&d.refused);
	assert_true(*pages[0] == 0 && *pages[1] == 0);
	atomic_store(&d.stop, true);
	pthread_join(thread, NULL);
}

/* Translated writes are found by dirty tracking, even if it began after the translation. */
static void translated_writes_are_dirty(void **state)
{
	struct rig *rig = *state;
	struct dirty_map dirty = { 0 };
	uint64_t word = 1;

	assert_int_equal(dirty_map_add(&dirty, 0, RIG_RAM_SIZE - 1), 0);
	rig->entry.dirty = &dirty;
	allow(rig, NST_NO_PASID, RIG_DID);
	rig_map(rig, 0x1000, 0x5000, 1, E_RW | E_D | E_A);
	vtd_hw_map_begin(rig->hw);
	dirty.enabled = true;
	vtd_hw_map_end(rig->hw, true);
	assert_int_equal(
		translated_dma(rig, NST_NO_PASID, false, &rig->ram[0x5000], 0x1000, &word, 8), 0);
	assert_false(dirty_map_is_marked(&dirty, 0x5000));
	assert_int_equal(
		translated_dma(rig, NST_NO_PASID, true, &rig->ram[0x5000], 0x1000, &word, 8), 0);
	assert_true(dirty_map_is_marked(&dirty, 0x5000));
	assert_false(dirty_map_is_marked(&dirty, 0x6000));
	rig_set_entry(rig, RIG_RID, NST_NO_PASID, NULL);
	dirty_map_fini(&dirty);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_setup_check, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(replies),
		TEST(pages_are_as_large_as_memory_lies),
		TEST(second_stage_alone),
		TEST(who_may_not_ask),
		TEST(translated_requests_stay_in_the_second_stage),
		TEST(a_stale_device_tlb_is_reported),
		TEST(a_long_request_is_checked_page_by_page),
		TEST(devices_are_told),
		TEST(a_change_of_the_entry_empties_the_device_tlb),
		TEST(what_is_lost_is_not_told),
		TEST(many_entries),
		TEST(refused_memory_changes_nothing),
		TEST(translated_writes_are_dirty),
		cmocka_unit_test_setup_teardown(old_pages_are_quiet, rig_setup, rig_teardown),
	};

	return cmocka_run_group_tests_name("vtd_ats", tests, NULL, NULL);
}
