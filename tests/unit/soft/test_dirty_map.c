// SPDX-License-Identifier: BSD-3-Clause
/*
 * Dirty bits of the second stage against a naive bitmap, one byte per page: random DMA,
 * nested and plain, while the guest remaps, clears its own accessed and dirty bits and
 * flushes, and bits are read with and without clearing. Which table pages the unit wrote
 * is found by comparing them before and after each request. Bits must be exactly those.
 *
 * Then with threads: a write that began after one clearing read and ended before the next
 * is in the next.
 */
#include "vtd_rig.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { PLAIN_RID = 0x0128, IOVA_PAGES = 48, DATA_PAGES = 96, BIG = 512, MAX_TABLES = 64 };
#define IOVA_BASE 0x7fff000ULL /* the pages lie across a 2 MiB boundary */
#define BIG_IOVA (1ULL << 30)  /* a 2 MiB leaf */
#define DATA_BASE (1ULL << 30) /* GPA */
#define BIG_GPA (DATA_BASE + (64ULL << 20))
#define RAM_PAGES (RIG_RAM_SIZE >> 12)

struct oracle {
	struct rig *rig;
	struct dirty_map dirty;
	uint64_t seed;
	uint64_t gpa_of[IOVA_PAGES]; /* 0 = not mapped */
	uint8_t *expected, *got;     /* [RAM_PAGES] */
	uint8_t *tables;	     /* as they were before the request */
	unsigned int writes, table_writes, reads;
};

static uint64_t pick(struct oracle *o, uint64_t below)
{
	return test_random(&o->seed) % below;
}

static void switch_tracking(struct rig *rig, struct dirty_map *dirty, bool on)
{
	vtd_hw_map_begin(rig->hw);
	if (on)
		dirty_map_clear_all(dirty);
	dirty->enabled = on;
	vtd_hw_map_end(rig->hw, on);
}

/* Two ranges, the border inside of what is written. */
static void split_s2(struct rig *rig)
{
	uint64_t border = DATA_BASE + 40 * 4096;

	rig_clear_s2(rig);
	rig_add_s2(rig, 0, border, rig->ram, RANGE_READ | RANGE_WRITE);
	rig_add_s2(rig, border, RIG_RAM_SIZE - border, rig->ram + border, RANGE_READ | RANGE_WRITE);
}

static void track(struct rig *rig, struct dirty_map *dirty)
{
	struct vtd_hw_entry plain = {
		.pgtt = VTD_HW_SECOND_STAGE, .did = 1, .s2 = &rig->s2, .dirty = dirty
	};

	*dirty = (struct dirty_map){ .page_lg2 = 12 };
	for (size_t i = 0; i < rig->s2.count; i++)
		assert_int_equal(
			dirty_map_add(dirty, rig->s2.ranges[i].start, rig->s2.ranges[i].last), 0);
	rig->entry.dirty = dirty;
	rig_set_entry(rig, RIG_RID, NST_NO_PASID, &rig->entry);
	rig_set_entry(rig, PLAIN_RID, NST_NO_PASID, &plain);
}

/* [start, last] of all ranges into one byte per page. */
static void harvest(struct rig *rig, struct dirty_map *dirty, uint64_t start, uint64_t last,
		    bool clear, uint8_t *out)
{
	bool any = false;

	vtd_hw_map_begin(rig->hw);
	for (size_t i = 0; i < dirty->pages.count; i++) {
		const struct mem_range *r = &dirty->pages.ranges[i];
		uint64_t words[7];
		uint64_t end = (((r->last - r->start) >> 12) / 64) + 1;

		if (r->start > last || r->last < start)
			continue;
		for (uint64_t w = 0; w < end; w += ARRAY_SIZE(words)) {
			size_t count = MIN(end - w, ARRAY_SIZE(words));

			any |= dirty_map_read(dirty, r, start, last, clear, w, count, words);
			for (size_t bit = 0; bit < count * 64; bit++)
				if (words[bit / 64] >> bit % 64 & 1)
					out[(r->start >> 12) + w * 64 + bit] = 1;
		}
	}
	vtd_hw_map_end(rig->hw, clear && any);
}

static void compare(struct oracle *o)
{
	bool clear = pick(o, 3), part = pick(o, 4) == 0;
	uint64_t start = part ? DATA_BASE + (pick(o, DATA_PAGES) << 12) : 0;
	uint64_t last = part ? start + (pick(o, 70) << 12) + 4095 : RIG_RAM_SIZE - 1;

	memset(o->got, 0, RAM_PAGES);
	harvest(o->rig, &o->dirty, start, last, clear, o->got);
	for (uint64_t page = 0; page < RAM_PAGES; page++) {
		bool inside = page >= start >> 12 && page <= last >> 12;

		if (o->got[page] != (inside ? o->expected[page] : 0))
			fail_msg("page %#llx is %s", (unsigned long long)page,
				 o->got[page] ? "dirty" : "clean");
		if (inside && clear)
			o->expected[page] = 0;
	}
}

/* GPA behind @iova as the tables stand, or 0. */
static uint64_t translate(const struct oracle *o, uint64_t iova)
{
	uint64_t page = (iova - IOVA_BASE) >> 12;

	if (iova >= BIG_IOVA && iova < BIG_IOVA + (2 << 20))
		return BIG_GPA + (iova - BIG_IOVA);
	if (iova < IOVA_BASE || page >= IOVA_PAGES || !o->gpa_of[page])
		return 0;
	return o->gpa_of[page] + (iova & 4095);
}

static size_t table_bytes(const struct oracle *o)
{
	assert_true(o->rig->next_table - RIG_TABLES <= MAX_TABLES << 12);
	return o->rig->next_table - RIG_TABLES;
}

static void one_request(struct oracle *o)
{
	bool plain = pick(o, 3) == 0, write = pick(o, 3);
	uint8_t buf[3 * 4096];
	size_t size = 1 + pick(o, sizeof(buf));
	uint64_t at = pick(o, 4) == 0 ? BIG_IOVA + (pick(o, BIG) << 12)
				      : IOVA_BASE + (pick(o, IOVA_PAGES) << 12);

	if (plain)
		at = DATA_BASE + (pick(o, DATA_PAGES) << 12);
	at += pick(o, 4096);
	memcpy(o->tables, &o->rig->ram[RIG_TABLES], table_bytes(o));
	memset(buf, (int)pick(o, 256), sizeof(buf));
	if (rig_dma_as(o->rig, plain ? PLAIN_RID : RIG_RID, NST_NO_PASID, write, at, buf, size))
		assert_false(plain);
	for (uint64_t byte = at; write && byte < at + size; byte = (byte | 4095) + 1) {
		uint64_t gpa = plain ? byte : translate(o, byte);

		if (!gpa)
			break;
		o->expected[gpa >> 12] = 1;
		o->writes++;
	}
	o->reads += !write;
	for (size_t table = 0; table < table_bytes(o); table += 4096)
		if (memcmp(&o->tables[table], &o->rig->ram[RIG_TABLES + table], 4096)) {
			o->expected[(RIG_TABLES + table) >> 12] = 1;
			o->table_writes++;
		}
}

/* The guest changes an entry and asks for the flush that it needs. */
static void guest_at_work(struct oracle *o)
{
	uint64_t page = pick(o, IOVA_PAGES), iova = IOVA_BASE + (page << 12);
	unsigned int level = 1 + (unsigned int)pick(o, 4);
	uint64_t *slot = rig_slot(o->rig, o->rig->entry.fs_root, iova, level);

	if (level > 1 || pick(o, 2)) {
		__atomic_and_fetch(slot, ~(uint64_t)(E_A | E_D), __ATOMIC_RELEASE);
	} else {
		o->gpa_of[page] = pick(o, 4) ? DATA_BASE + (pick(o, DATA_PAGES) << 12) : 0;
		rig_store(slot, o->gpa_of[page] | (o->gpa_of[page] ? E_RW : 0));
	}
	vtd_hw_flush_pages(o->rig->hw, RIG_DID, 0, UINT64_MAX, level == 1);
}

static void bits_are_what_was_written(void **state)
{
	struct oracle o = { .rig = *state, .seed = 4 };

	o.expected = calloc(1, RAM_PAGES);
	o.got = calloc(1, RAM_PAGES);
	o.tables = calloc(MAX_TABLES, 4096);
	split_s2(o.rig);
	track(o.rig, &o.dirty);
	rig_map(o.rig, BIG_IOVA, BIG_GPA, 2, E_RW);
	for (int i = 0; i < 200; i++)
		guest_at_work(&o);
	for (int round = 0; round < 40; round++) {
		/* what is written while it is off is not recorded, what was recorded stays */
		if (round % 5 == 4) {
			switch_tracking(o.rig, &o.dirty, false);
			memcpy(o.got, o.expected, RAM_PAGES);
			for (int i = 0; i < 20; i++)
				one_request(&o);
			memcpy(o.expected, o.got, RAM_PAGES);
			compare(&o);
		}
		if (round % 5 == 4 || !round || pick(&o, 5) == 0) {
			switch_tracking(o.rig, &o.dirty, true);
			memset(o.expected, 0, RAM_PAGES);
		}
		for (int i = 0; i < 150; i++) {
			one_request(&o);
			if (pick(&o, 6) == 0)
				guest_at_work(&o);
		}
		compare(&o);
	}
	assert_true(o.writes > 1000 && o.table_writes > 100 && o.reads > 500);
	assert_int_equal(rig_stats(o.rig).stale_hits, 0);
	dirty_map_fini(&o.dirty);
	free(o.expected);
	free(o.got);
	free(o.tables);
}

/* Each of the ways by which a second write could go unseen. */
static void every_write_after_a_clear_is_seen(void **state)
{
	struct rig *rig = *state;
	struct dirty_map dirty;
	uint8_t *got = calloc(1, RAM_PAGES);
	uint64_t value = 1, page = DATA_BASE >> 12;

	track(rig, &dirty);
	rig_map(rig, 0x5000, DATA_BASE, 1, E_RW);
	rig_map(rig, BIG_IOVA, BIG_GPA, 2, E_RW);
	/* cached for writing, also as a big page, before there was tracking */
	assert_int_equal(rig_dma(rig, true, 0x5000, &value, 8), 0);
	assert_int_equal(rig_dma(rig, true, BIG_IOVA, &value, 8), 0);
	switch_tracking(rig, &dirty, true);
	for (int i = 0; i < 3; i++) {
		memset(got, 0, RAM_PAGES);
		rig_read(rig, 0x5000);
		rig_read(rig, BIG_IOVA + 0x7000);
		harvest(rig, &dirty, 0, UINT64_MAX, true, got);
		assert_null(memchr(got, 1, RAM_PAGES)); /* reads leave nothing; A is set by now */
		rig_read(rig, 0x5000);			/* cached, for reading */
		assert_int_equal(rig_dma(rig, true, 0x5000, &value, 8), 0);
		assert_int_equal(rig_dma(rig, true, 0x5008, &value, 8), 0);
		assert_int_equal(rig_dma(rig, true, BIG_IOVA + 0x8000, &value, 8), 0);
		harvest(rig, &dirty, 0, UINT64_MAX, true, got);
		assert_int_equal(got[page], 1);
		assert_int_equal(got[(BIG_GPA >> 12) + 8], 1);
		got[page] = got[(BIG_GPA >> 12) + 8] = 0;
		assert_null(memchr(got, 1, RAM_PAGES)); /* nor does a big leaf reach further */
	}
	/* a neighbour of a page that may be written is not written by that */
	assert_int_equal(rig_dma(rig, true, BIG_IOVA, &value, 8), 0);
	assert_int_equal(rig_dma(rig, true, BIG_IOVA + 0x1000, &value, 8), 0);
	harvest(rig, &dirty, 0, UINT64_MAX, true, got);
	assert_true(got[BIG_GPA >> 12] && got[(BIG_GPA >> 12) + 1]);
	free(got);
	dirty_map_fini(&dirty);
}

/* --- threads --------------------------------------------------------------------------- */

enum { WRITERS = 3, OWN_PAGES = 4, READS = 400 };

struct writer {
	struct rig *rig;
	nst_rid rid;
	uint64_t iova; /* of OWN_PAGES pages */
	uint64_t gpa;
	atomic_bool *stop;
	atomic_uint begun[OWN_PAGES], done[OWN_PAGES];
	pthread_t thread;
};

static void *write_pages(void *arg)
{
	struct writer *w = arg;
	uint64_t value = 0;

	for (unsigned int i = 0; !atomic_load(w->stop); i = (i + 1) % OWN_PAGES) {
		value++;
		atomic_fetch_add(&w->begun[i], 1);
		if (rig_dma_as(w->rig, w->rid, NST_NO_PASID, true, w->iova + i * 4096, &value, 8))
			return w;
		atomic_fetch_add(&w->done[i], 1);
	}
	return NULL;
}

static void no_write_is_missed(void **state)
{
	struct rig *rig = *state;
	static struct writer writers[WRITERS];
	unsigned int begun[WRITERS][OWN_PAGES] = { 0 }, must = 0;
	uint8_t *got = malloc(RAM_PAGES);
	struct dirty_map dirty;
	atomic_bool stop = false;

	track(rig, &dirty);
	switch_tracking(rig, &dirty, true);
	for (uint64_t i = 0; i < WRITERS; i++) {
		uint64_t at = DATA_BASE + (i * OWN_PAGES << 12);

		writers[i] = (struct writer){ .rig = rig,
					      .rid = i ? RIG_RID : PLAIN_RID,
					      .iova = at,
					      .gpa = at,
					      .stop = &stop };
		for (uint64_t p = 0; p < OWN_PAGES; p++)
			rig_map(rig, at + (p << 12), at + (p << 12), 1, E_RW);
		assert_int_equal(pthread_create(&writers[i].thread, NULL, write_pages, &writers[i]),
				 0);
	}
	for (int n = 0; n < READS || must < 100; n++) {
		unsigned int done[WRITERS][OWN_PAGES];

		for (int i = 0; i < WRITERS; i++)
			for (int p = 0; p < OWN_PAGES; p++)
				done[i][p] = atomic_load(&writers[i].done[p]);
		memset(got, 0, RAM_PAGES);
		if (n % 50 == 49)
			switch_tracking(rig, &dirty, true); /* clears too: nothing can be said */
		else
			harvest(rig, &dirty, DATA_BASE, DATA_BASE + (1 << 20), true, got);
		for (int i = 0; i < WRITERS; i++)
			for (int p = 0; p < OWN_PAGES; p++) {
				if (n % 50 != 49 && done[i][p] > begun[i][p]) {
					assert_int_equal(got[(writers[i].gpa >> 12) + (uint64_t)p],
							 1);
					must++;
				}
				begun[i][p] = atomic_load(&writers[i].begun[p]);
			}
		if (n % 8 == 0)
			vtd_hw_flush_domain(rig->hw, RIG_DID);
		sched_yield();
	}
	atomic_store(&stop, true);
	for (int i = 0; i < WRITERS; i++) {
		void *failed;

		assert_int_equal(pthread_join(writers[i].thread, &failed), 0);
		assert_null(failed);
	}
	free(got);
	dirty_map_fini(&dirty);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bits_are_what_was_written, rig_setup_check,
						rig_teardown),
		cmocka_unit_test_setup_teardown(every_write_after_a_clear_is_seen, rig_setup_check,
						rig_teardown),
		cmocka_unit_test_setup_teardown(no_write_is_missed, rig_setup, rig_teardown),
	};

	return cmocka_run_group_tests_name("dirty_map", tests, NULL, NULL);
}
