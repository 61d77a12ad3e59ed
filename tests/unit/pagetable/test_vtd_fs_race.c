// SPDX-License-Identifier: BSD-3-Clause
/*
 * The guest changes an entry between the walker's read and its compare-and-swap. The
 * walker converts each word it read with le64toh(); here that is a place where the
 * guest gets its turn, so every interleaving is played on purpose. One test plays with
 * a real second thread.
 */
#include "test.h"

#include "base/bits.h"
#include "base/endian.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

static uint64_t guest_turn(uint64_t raw);
#undef le64toh
#define le64toh(raw) guest_turn(raw)
#include "pagetable/vtd_fs.h"

enum { LEAF = 1, PAGE_A = 0x111000, PAGE_B = 0x222000 };
#define RW_PAGE(page) ((page) | VTD_FS_P | VTD_FS_RW | VTD_FS_US)

/* One table for all levels: entry 0 points to the table itself, entry LEAF is changed. */
static _Alignas(4096) uint64_t table[512];

static struct {
	uint64_t writes[4];	/* what the guest stores at the turns after reads of the leaf */
	unsigned int count, done;
} script;

static uint64_t guest_turn(uint64_t raw)
{
	if (script.done < script.count && (raw & VTD_FS_ADDR))
		__atomic_store_n(&table[LEAF], htole64(script.writes[script.done++]),
				 __ATOMIC_RELEASE);
	return raw;	/* the tests run where le64toh() is nothing */
}

static inline uint64_t *the_table(void *opaque, uint64_t address, bool *writable)
{
	*writable = true;
	return address ? NULL : table;
}

static enum vtd_fault_reason walk_leaf(bool write, bool ea, struct vtd_fs_leaf *leaf)
{
	struct vtd_fs_request req = { .iova = LEAF << 12, .levels = 4, .write = write,
				      .extended_accessed = ea };
	struct vtd_fs_position top = { 0, 4, true, true };

	return vtd_fs_walk(&req, top, the_table, NULL, leaf);
}

static int setup(void **state)
{
	memset(table, 0, sizeof(table));
	memset(&script, 0, sizeof(script));
	table[0] = RW_PAGE(0);
	table[LEAF] = RW_PAGE(PAGE_A);
	return 0;
}

static void say(uint64_t entry)
{
	script.writes[script.count++] = entry;
}

static void entry_becomes_not_present(void **state)
{
	struct vtd_fs_leaf leaf;

	say(0x333000);
	assert_int_equal(walk_leaf(true, false, &leaf), VTD_FAULT_FS_NOT_PRESENT);
	assert_int_equal(table[LEAF], 0x333000);
}

static void entry_becomes_read_only_under_a_write(void **state)
{
	struct vtd_fs_leaf leaf;

	say(RW_PAGE(PAGE_A) & ~VTD_FS_RW);
	assert_int_equal(walk_leaf(true, false, &leaf), VTD_FAULT_WRITE);
	assert_int_equal(table[LEAF], RW_PAGE(PAGE_A) & ~VTD_FS_RW);
}

static void entry_becomes_reserved(void **state)
{
	struct vtd_fs_request req = { .iova = LEAF << 12, .reserved = BIT64(51), .levels = 4 };
	struct vtd_fs_position top = { 0, 4, true, true };
	struct vtd_fs_leaf leaf;

	say(RW_PAGE(PAGE_A) | BIT64(51));
	assert_int_equal(vtd_fs_walk(&req, top, the_table, NULL, &leaf), VTD_FAULT_FS_RESERVED);
	assert_int_equal(table[LEAF], RW_PAGE(PAGE_A) | BIT64(51));
}

static void entry_names_another_page(void **state)
{
	struct vtd_fs_leaf leaf;

	say(RW_PAGE(PAGE_B));
	assert_int_equal(walk_leaf(true, true, &leaf), 0);
	assert_int_equal(leaf.address, PAGE_B);
	assert_int_equal(table[LEAF], RW_PAGE(PAGE_B) | VTD_FS_A | VTD_FS_D | VTD_FS_EA);
}

static void entry_changes_again_and_again(void **state)
{
	struct vtd_fs_leaf leaf;

	say(RW_PAGE(PAGE_B));
	say(RW_PAGE(PAGE_A));
	say(RW_PAGE(PAGE_B) | BIT64(60));
	say(RW_PAGE(PAGE_B) | VTD_FS_A);
	assert_int_equal(walk_leaf(false, false, &leaf), 0);
	assert_int_equal(script.done, 4);
	assert_int_equal(leaf.address, PAGE_B);
	assert_false(leaf.dirty);
	assert_int_equal(table[LEAF], RW_PAGE(PAGE_B) | VTD_FS_A);
}

/* All bits are there, so nothing is swapped: what was read is used, once. */
static void entry_changes_after_its_only_use(void **state)
{
	struct vtd_fs_leaf leaf;

	table[LEAF] |= VTD_FS_A | VTD_FS_D;
	say(0);
	assert_int_equal(walk_leaf(true, false, &leaf), 0);
	assert_int_equal(leaf.address, PAGE_A);
	assert_true(leaf.writable && leaf.dirty);
	assert_int_equal(table[LEAF], 0);
}

struct flipping {
	atomic_bool stop;
	atomic_uint flips, wrong;
};

static void *flip(void *arg)
{
	static const uint64_t values[] = { RW_PAGE(PAGE_A), RW_PAGE(PAGE_B) | BIT64(11),
					   (RW_PAGE(PAGE_A) & ~VTD_FS_RW) | BIT64(9), 0x5550 };
	struct flipping *f = arg;
	uint64_t now = RW_PAGE(PAGE_A);

	for (unsigned int n = 1; !atomic_load(&f->stop); n++) {
		uint64_t next = values[n % ARRAY_SIZE(values)];
		uint64_t was = __atomic_exchange_n(&table[LEAF], next, __ATOMIC_ACQ_REL);

		uint64_t appeared = was & ~now, allowed = 0;

		/* bits may appear only in an entry that allows them, and none may go */
		if (now & VTD_FS_P)
			allowed |= VTD_FS_A;
		if (now & VTD_FS_P && now & VTD_FS_RW)
			allowed |= VTD_FS_D;
		if (appeared & ~allowed || now & ~was)
			atomic_fetch_add(&f->wrong, 1);
		now = next;
		atomic_fetch_add(&f->flips, 1);
	}
	return NULL;
}

static void a_thread_that_flips_sees_only_its_own_entries(void **state)
{
	struct flipping f = { 0 };
	pthread_t thread;

	table[0] |= VTD_FS_A;
	assert_int_equal(pthread_create(&thread, NULL, flip, &f), 0);
	for (int i = 0; i < 300000 || atomic_load(&f.flips) < 1000; i++) {
		struct vtd_fs_leaf leaf;
		enum vtd_fault_reason reason = walk_leaf(i % 2, false, &leaf);

		if (reason == VTD_FAULT_WRITE)
			assert_true(i % 2);
		else if (reason)
			assert_int_equal(reason, VTD_FAULT_FS_NOT_PRESENT);
		else
			assert_true(leaf.address == PAGE_A || leaf.address == PAGE_B);
		/* to a writable page only */
		if (!reason && i % 2)
			assert_true(leaf.writable && leaf.dirty);
	}
	atomic_store(&f.stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(atomic_load(&f.wrong), 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup(fn, setup)
	const struct CMUnitTest tests[] = {
		TEST(entry_becomes_not_present),
		TEST(entry_becomes_read_only_under_a_write),
		TEST(entry_becomes_reserved),
		TEST(entry_names_another_page),
		TEST(entry_changes_again_and_again),
		TEST(entry_changes_after_its_only_use),
		TEST(a_thread_that_flips_sees_only_its_own_entries),
	};

	return cmocka_run_group_tests_name("vtd_fs_race", tests, NULL, NULL);
}
