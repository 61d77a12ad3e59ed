// SPDX-License-Identifier: BSD-3-Clause
/*
 * The sanitizer alone: what it remembers, for how long, and what it says. The requests come
 * from nowhere; that units report the right ones is tested with the units.
 */
#include "test.h"

#include "base/alloc.h"
#include "base/bits.h"
#include "host/soft/sanitizer.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RID = 0x0008, OTHER_RID = 0x0010, REASON = 0x59, HISTORY = 256 };

struct rig {
	struct sanitizer *s;
	struct nst_log log;
	char said[4096]; /* since the last look */
	struct sanitizer_domain domain;
};

static void take(void *opaque, enum nst_log_level level, const char *message)
{
	struct rig *rig = opaque;
	size_t used = strlen(rig->said);

	snprintf(rig->said + used, sizeof(rig->said) - used, "%s\n", message);
}

static struct sanitizer_object object(struct rig *rig, uint32_t id)
{
	return (struct sanitizer_object){ sanitizer_new_serial(rig->s), id };
}

static int make(void **state, bool check)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct nst_soft_config config = { .check = check };

	if (!rig)
		return -1;
	rig->log = (struct nst_log){ take, rig, NST_LOG_WARN };
	config.log = &rig->log;
	if (sanitizer_create(&config, &rig->s))
		return -1;
	rig->domain = (struct sanitizer_domain){ .hwpt = object(rig, 5), .ioas = object(rig, 1) };
	*state = rig;
	return 0;
}

static int setup(void **state)
{
	return make(state, true);
}

static int setup_off(void **state)
{
	return make(state, false);
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	sanitizer_destroy(rig->s);
	free(rig);
	return 0;
}

static void expect_said(struct rig *rig, const char *text)
{
	assert_string_equal(rig->said, text);
	rig->said[0] = '\0';
}

static void expect_counts(struct rig *rig, uint64_t faults, uint64_t stale, uint64_t unmapped,
			  uint64_t blocked)
{
	struct nst_soft_stats stats = { 0 };

	sanitizer_get_stats(rig->s, &stats);
	assert_int_equal(stats.faults, faults);
	assert_int_equal(stats.stale_hits, stale);
	assert_int_equal(stats.dma_after_unmap, unmapped);
	assert_int_equal(stats.dma_while_blocked, blocked);
}

static void blocked_dma(struct rig *rig, nst_rid rid, uint32_t pasid)
{
	sanitizer_report_fault(rig->s, &(struct dma_request_id){ rid, pasid, 0x1000, true },
			       &(struct sanitizer_fault){ .reason = REASON });
}

static void fault(struct rig *rig, bool unmapped, uint64_t ioas_addr)
{
	sanitizer_report_fault(rig->s, &(struct dma_request_id){ RID, NST_NO_PASID, 0x7000, false },
			       &(struct sanitizer_fault){ .reason = REASON,
							  .attached = true,
							  .domain = rig->domain,
							  .unmapped = unmapped,
							  .ioas_addr = ioas_addr });
}

static void stale(struct rig *rig, enum sanitizer_cache cache, uint64_t iova)
{
	sanitizer_report_stale(rig->s, &(struct dma_request_id){ RID, 3, iova, true }, &rig->domain,
			       cache, (struct dma_outcome){ .host = (void *)0x1000 },
			       (struct dma_outcome){ .reason = 0x71 });
}

static void invalidated(struct rig *rig, struct sanitizer_object of, uint64_t start, uint64_t last,
			bool leaf)
{
	sanitizer_invalidated(rig->s, &(struct sanitizer_invalidation){ .of = of,
									.asid = SANITIZER_ANY_ASID,
									.start = start,
									.last = last,
									.leaf = leaf });
}

#define BLOCKED(n, who)                                                                 \
	"check: DMA while blocked (" #n "): device " who " write iova 0x1000: attached" \
	" to nothing (reason 0x59)\n"

static void blocked_says_what_it_was_attached_to(void **state)
{
	struct rig *rig = *state;

	blocked_dma(rig, RID, NST_NO_PASID);
	expect_said(rig, BLOCKED(1, "00:01.0") "check:   it has never been attached\n");
	sanitizer_attached(rig->s, RID, NST_NO_PASID, &rig->domain);
	sanitizer_attached(rig->s, RID, 9, &rig->domain);
	sanitizer_attached(rig->s, RID, NST_NO_PASID, NULL);
	sanitizer_attached(rig->s, OTHER_RID, NST_NO_PASID, &rig->domain);
	blocked_dma(rig, RID, NST_NO_PASID);
	expect_said(
		rig,
		BLOCKED(2,
			"00:01.0") "check:   was attached to HWPT 5 4 events ago, detached 2 events ago\n");
	blocked_dma(rig, RID, 8);
	expect_said(rig, BLOCKED(3, "00:01.0 PASID 8") "check:   it has never been attached\n");
	sanitizer_attached(rig->s, RID, 8, NULL); /* before we looked */
	blocked_dma(rig, RID, 8);
	expect_said(rig, BLOCKED(4, "00:01.0 PASID 8") "check:   detached 1 event ago\n");
	expect_counts(rig, 4, 0, 0, 4);
}

/* Invalidations and unmaps do not displace it, but attachments do, and this is said. */
static void a_long_time_ago(void **state)
{
	struct rig *rig = *state;

	sanitizer_attached(rig->s, RID, NST_NO_PASID, &rig->domain);
	sanitizer_attached(rig->s, RID, NST_NO_PASID, NULL);
	for (int i = 0; i < 10 * HISTORY; i++) {
		invalidated(rig, rig->domain.hwpt, 0, UINT64_MAX, false);
		sanitizer_unmapped(rig->s, rig->domain.ioas, 0, 0xfff);
	}
	blocked_dma(rig, RID, NST_NO_PASID);
	expect_said(
		rig,
		BLOCKED(1,
			"00:01.0") "check:   was attached to HWPT 5 5122 events ago, detached 5121 events ago\n");
	for (int i = 0; i < HISTORY - 2; i++)
		sanitizer_attached(rig->s, OTHER_RID, NST_NO_PASID, &rig->domain);
	blocked_dma(rig, RID, NST_NO_PASID);
	assert_non_null(strstr(rig->said, "was attached to HWPT 5"));
	rig->said[0] = '\0';
	sanitizer_attached(rig->s, OTHER_RID, NST_NO_PASID, &rig->domain);
	blocked_dma(rig, RID, NST_NO_PASID);
	assert_non_null(strstr(rig->said, "check:   detached 5376 events ago\n"));
	rig->said[0] = '\0';
	sanitizer_attached(rig->s, OTHER_RID, NST_NO_PASID, &rig->domain);
	blocked_dma(rig, RID, NST_NO_PASID);
	expect_said(
		rig,
		BLOCKED(4,
			"00:01.0") "check:   none of the last 256 attachments was of this device\n");
}

static void after_unmap_says_which(void **state)
{
	struct rig *rig = *state;
	struct sanitizer_object other = object(rig, 1); /* the same id, in another context */

	sanitizer_unmapped(rig->s, other, 0, UINT64_MAX);
	fault(rig, true, 0x5000);
	expect_said(rig, "soft: DMA fault (1): device 00:01.0 read iova 0x7000: reason 0x59\n"
			 "check:   attached to HWPT 5\n");
	sanitizer_attached(rig->s, RID, NST_NO_PASID, &rig->domain);
	sanitizer_unmapped(rig->s, rig->domain.ioas, 0x4000, 0x5fff);
	sanitizer_unmapped(rig->s, rig->domain.ioas, 0x6000, 0x7fff);
	fault(rig, true, 0x5fff);
	expect_said(rig,
		    "check: DMA after unmap (1): device 00:01.0 read iova 0x7000: 0x5fff of IOAS"
		    " 1 is not mapped any more (reason 0x59)\n"
		    "check:   0x4000-0x5fff was unmapped 2 events ago\n");
	for (uint64_t addr = 0x3fff; addr <= 0x8000; addr += 0x4001) { /* just outside */
		fault(rig, true, addr);
		assert_non_null(strstr(rig->said, "soft: DMA fault"));
		assert_non_null(strstr(rig->said, "check:   attached to HWPT 5 3 events ago\n"));
		assert_null(strstr(rig->said, "unmap"));
		rig->said[0] = '\0';
	}
	fault(rig, false, 0x5000); /* mapped again, but not for this */
	assert_null(strstr(rig->said, "unmap"));
	expect_counts(rig, 5, 0, 1, 0);
}

#define STALE(n, what, iova)                                                           \
	"check: stale " what " used (" #n "): device 00:01.0 PASID 3 write iova " iova \
	": the cache says host 0x1000, the tables say fault 0x71: an invalidation is missing\n"

static void stale_says_what_was_missing(void **state)
{
	struct rig *rig = *state;

	stale(rig, SANITIZER_IOTLB, 0x5000);
	expect_said(
		rig,
		STALE(1, "IOTLB entry",
		      "0x5000") "check:   no invalidation of HWPT 5 covers 0x5000; the last were:\n"
				"check:     none\n"
				"check:   attached to HWPT 5\n");
	sanitizer_attached(rig->s, RID, 3, &rig->domain);
	invalidated(rig, object(rig, 5), 0x5000, 0x5fff, false); /* another HWPT 5 */
	invalidated(rig, rig->domain.hwpt, 0x4000, 0x4fff, true);
	invalidated(rig, rig->domain.hwpt, 0x6000, 0x6fff, false);
	stale(rig, SANITIZER_IOTLB, 0x5000);
	expect_said(
		rig,
		STALE(2, "IOTLB entry",
		      "0x5000") "check:   no invalidation of HWPT 5 covers 0x5000; the last were:\n"
				"check:     1 event ago: 0x6000-0x6fff\n"
				"check:     2 events ago: 0x4000-0x4fff, leaves only\n"
				"check:   attached to HWPT 5 4 events ago\n");
	stale(rig, SANITIZER_PAGING_STRUCTURE, 0x4fff);
	expect_said(
		rig,
		STALE(3, "paging structure",
		      "0x4fff") "check:   the last invalidation of HWPT 5 that covers 0x4fff, 2 events ago, was for"
				" leaves only, so that paging structures stayed; the last were:\n"
				"check:     1 event ago: 0x6000-0x6fff\n"
				"check:     2 events ago: 0x4000-0x4fff, leaves only\n"
				"check:   attached to HWPT 5 4 events ago\n");
	for (int i = 0; i < 3; i++)
		invalidated(rig, rig->domain.hwpt, 0, UINT64_MAX, false);
	stale(rig, SANITIZER_PAGING_STRUCTURE, 0x4fff);
	expect_said(
		rig,
		STALE(4, "paging structure",
		      "0x4fff") "check:   the last invalidation of HWPT 5 that covers 0x4fff, 1 event ago, came"
				" before the tables changed; the last were:\n"
				"check:     1 event ago: everything\n"
				"check:     2 events ago: everything\n"
				"check:     3 events ago: everything\n"
				"check:     4 events ago: 0x6000-0x6fff\n"
				"check:   attached to HWPT 5 7 events ago\n");
	expect_counts(rig, 0, 4, 0, 0);
}

static void through_a_viommu_by_asid(void **state)
{
	struct rig *rig = *state;
	struct sanitizer_invalidation inv = { .start = 0x5000, .last = 0x5fff, .asid = 7 };

	inv.of = rig->domain.viommu = object(rig, 9);
	rig->domain.asid = 8;
	sanitizer_invalidated(rig->s, &inv);
	stale(rig, SANITIZER_IOTLB, 0x5000);
	assert_non_null(strstr(rig->said,
			       "no invalidation of vIOMMU 9 covers 0x5000; the last were:\n"
			       "check:     1 event ago: ASID 7 0x5000-0x5fff\n"));
	rig->said[0] = '\0';
	inv.asid = 8;
	sanitizer_invalidated(rig->s, &inv);
	stale(rig, SANITIZER_IOTLB, 0x5000);
	assert_non_null(
		strstr(rig->said, "of vIOMMU 9 that covers 0x5000, 1 event ago, came before"));
}

/* The first few are written, then powers of two; all are counted. */
static void a_flood_is_written_rarely(void **state)
{
	struct rig *rig = *state;
	size_t lines = 0;

	sanitizer_unmapped(rig->s, rig->domain.ioas, 0, 0xfff);
	for (int i = 0; i < 1024; i++) {
		blocked_dma(rig, RID, NST_NO_PASID);
		fault(rig, true, 0);
		stale(rig, SANITIZER_IOTLB, 0x5000);
		for (const char *at = rig->said; (at = strstr(at, "check: ")); at++)
			lines += at[7] != ' ';
		rig->said[0] = '\0';
	}
	assert_int_equal(lines, 3 * (8 + 7)); /* 16, 32, ... 1024 */
	expect_counts(rig, 2048, 1024, 1024, 1024);
}

static void outside_check_mode_nothing_is_remembered(void **state)
{
	struct rig *rig = *state;

	sanitizer_attached(rig->s, RID, NST_NO_PASID, &rig->domain);
	sanitizer_unmapped(rig->s, rig->domain.ioas, 0, UINT64_MAX);
	invalidated(rig, rig->domain.hwpt, 0, UINT64_MAX, false);
	blocked_dma(rig, RID, NST_NO_PASID);
	expect_said(rig, "soft: DMA fault (1): device 00:01.0 write iova 0x1000: reason 0x59\n");
	fault(rig, true, 0);
	expect_said(rig, "soft: DMA fault (2): device 00:01.0 read iova 0x7000: reason 0x59\n");
	expect_counts(rig, 2, 0, 0, 0);
}

static void refused_memory(void **state)
{
	const struct nst_soft_config config = { .check = true };
	struct sanitizer *s = NULL;
	unsigned int n;

	sanitizer_destroy(NULL);
	for (n = 1;; n++) {
		int ret;

		alloc_fail_nth(n);
		ret = sanitizer_create(&config, &s);
		if (!ret)
			break;
		assert_int_equal(ret, -ENOMEM);
		assert_null(s);
	}
	alloc_fail_nth(0);
	assert_int_equal(n, 1 + 2);
	sanitizer_destroy(s);
}

static void *remember_much(void *opaque)
{
	struct rig *rig = opaque;

	for (int i = 0; i < 2000; i++) {
		sanitizer_attached(rig->s, RID, NST_NO_PASID, i % 2 ? &rig->domain : NULL);
		invalidated(rig, rig->domain.hwpt, 0, UINT64_MAX, false);
		sanitizer_unmapped(rig->s, rig->domain.ioas, 0, 0xfff);
	}
	return NULL;
}

/* For the thread sanitizer; and no event is counted twice or lost. */
static void many_threads(void **state)
{
	struct rig *rig = *state;
	pthread_t threads[3];

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, remember_much, rig), 0);
	for (int i = 0; i < 1000; i++) {
		stale(rig, SANITIZER_IOTLB, 0x5000);
		rig->said[0] = '\0';
		blocked_dma(rig, RID, NST_NO_PASID);
		rig->said[0] = '\0';
	}
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	sanitizer_unmapped(rig->s, rig->domain.ioas, 0x8000, 0x8fff);
	for (int i = 0; i < HISTORY - 1; i++)
		sanitizer_attached(rig->s, RID, NST_NO_PASID, &rig->domain);
	fault(rig, true, 0x8000);
	assert_non_null(strstr(rig->said, "0x8000-0x8fff was unmapped 256 events ago\n"));
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(blocked_says_what_it_was_attached_to),
		TEST(a_long_time_ago),
		TEST(after_unmap_says_which),
		TEST(stale_says_what_was_missing),
		TEST(through_a_viommu_by_asid),
		TEST(a_flood_is_written_rarely),
		cmocka_unit_test_setup_teardown(outside_check_mode_nothing_is_remembered, setup_off,
						teardown),
		cmocka_unit_test(refused_memory),
		TEST(many_threads),
	};

	return cmocka_run_group_tests_name("sanitizer", tests, NULL, NULL);
}
