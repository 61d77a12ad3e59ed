// SPDX-License-Identifier: BSD-3-Clause
/*
 * The guest changes a descriptor between the walker's read and its compare-and-swap. The
 * walker converts each word it read with le64toh(); here that is a place where the guest
 * gets its turn, so every interleaving is played on purpose. One test plays with a real
 * second thread.
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
#include "pagetable/arm_s1.h"

enum { LEAF = 1, PAGE_A = 0x111000, PAGE_B = 0x222000 };
#define CLEAN(page) ((page) | ARM_S1_VALID | ARM_S1_TABLE | ARM_S1_USER | ARM_S1_RO | ARM_S1_DBM)

/* One table for all levels: entry 0 points to the table itself, entry LEAF is changed. */
static _Alignas(4096) uint64_t table[512];

static struct {
	uint64_t writes[4];	/* what the guest stores at the turns after reads of the leaf */
	unsigned int count, done;
} script;

static uint64_t guest_turn(uint64_t raw)
{
	if (script.done < script.count && (raw & ARM_S1_ADDR))
		__atomic_store_n(&table[LEAF], htole64(script.writes[script.done++]),
				 __ATOMIC_RELEASE);
	return raw;	/* the tests run where le64toh() is nothing */
}

static inline uint64_t *the_slot(void *opaque, uint64_t address, bool *writable)
{
	*writable = true;
	return address < sizeof(table) ? &table[address / 8] : NULL;
}

static enum smmu_event_type walk_leaf(bool write, bool hd, struct arm_s1_leaf *leaf)
{
	struct arm_s1_request req = { .offset = LEAF << 12, .granule_lg2 = 12, .write = write,
				      .too_high = UINT64_MAX << 40, .ha = true, .hd = hd };

	return arm_s1_walk(&req, (struct arm_s1_position){ 0 }, the_slot, NULL, leaf);
}

static int setup(void **state)
{
	memset(table, 0, sizeof(table));
	memset(&script, 0, sizeof(script));
	table[0] = ARM_S1_VALID | ARM_S1_TABLE;
	table[LEAF] = CLEAN(PAGE_A);
	return 0;
}

static void say(uint64_t entry)
{
	script.writes[script.count++] = entry;
}

/* Rows: what the leaf becomes, and what a write then meets; nothing is set in it. */
static void entry_becomes_one_that_refuses(void **state)
{
	static const struct { uint64_t entry; enum smmu_event_type event; } rows[] = {
		{ 0x333000, SMMU_F_TRANSLATION }, { 0x333000 | ARM_S1_VALID, SMMU_F_TRANSLATION },
		{ CLEAN(1ULL << 40), SMMU_F_ADDR_SIZE },
		{ CLEAN(PAGE_A) & ~ARM_S1_DBM, SMMU_F_PERMISSION },
		{ CLEAN(PAGE_A) & ~ARM_S1_USER, SMMU_F_PERMISSION },
	};
	struct arm_s1_leaf leaf;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		setup(NULL);
		say(rows[i].entry);
		assert_int_equal(walk_leaf(true, true, &leaf), rows[i].event);
		assert_int_equal(table[LEAF], rows[i].entry);
	}
}

static void entry_names_another_page(void **state)
{
	struct arm_s1_leaf leaf;

	say(CLEAN(PAGE_B));
	assert_int_equal(walk_leaf(true, true, &leaf), 0);
	assert_int_equal(leaf.address, PAGE_B);
	assert_int_equal(table[LEAF], (CLEAN(PAGE_B) | ARM_S1_AF) & ~ARM_S1_RO);
}

static void entry_changes_again_and_again(void **state)
{
	struct arm_s1_leaf leaf;

	say(CLEAN(PAGE_B));
	say(CLEAN(PAGE_A));
	say(CLEAN(PAGE_B) | BIT64(55));
	say(CLEAN(PAGE_B) | ARM_S1_AF);
	assert_int_equal(walk_leaf(false, true, &leaf), 0);
	assert_int_equal(script.done, 4);
	assert_int_equal(leaf.address, PAGE_B);
	assert_int_equal(leaf.rights & ARM_S1_USER_WRITE, 0);
	assert_int_equal(table[LEAF], CLEAN(PAGE_B) | ARM_S1_AF);
}

/* Nothing is to be set, so nothing is swapped: what was read is used, once. */
static void entry_changes_after_its_only_use(void **state)
{
	struct arm_s1_leaf leaf;

	table[LEAF] = (CLEAN(PAGE_A) | ARM_S1_AF) & ~ARM_S1_RO;
	say(0);
	assert_int_equal(walk_leaf(true, true, &leaf), 0);
	assert_int_equal(leaf.address, PAGE_A);
	assert_int_equal(table[LEAF], 0);
}

struct flipping {
	atomic_bool stop;
	atomic_uint flips, wrong;
};

static void *flip(void *arg)
{
	static const uint64_t values[] = { CLEAN(PAGE_A), CLEAN(PAGE_B) | BIT64(55),
					   CLEAN(PAGE_A) & ~ARM_S1_DBM, 0x5550 };
	struct flipping *f = arg;
	uint64_t now = CLEAN(PAGE_A);

	for (unsigned int n = 1; !atomic_load(&f->stop); n++) {
		uint64_t next = values[n % ARRAY_SIZE(values)];
		uint64_t was = __atomic_exchange_n(&table[LEAF], next, __ATOMIC_ACQ_REL);
		uint64_t appeared = was & ~now, gone = now & ~was;

		/* AF appears in what is valid, AP[2] goes from what has DBM, and no more */
		if (appeared & ~(now & ARM_S1_VALID ? ARM_S1_AF : 0) ||
		    gone & ~(now & ARM_S1_DBM ? ARM_S1_RO : 0))
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

	assert_int_equal(pthread_create(&thread, NULL, flip, &f), 0);
	for (int i = 0; i < 200000 || atomic_load(&f.flips) < 1000; i++) {
		struct arm_s1_leaf leaf;
		enum smmu_event_type event = walk_leaf(i % 2, true, &leaf);

		if (event == SMMU_F_PERMISSION)
			assert_true(i % 2);
		else if (event)
			assert_int_equal(event, SMMU_F_TRANSLATION);
		else
			assert_true(leaf.address == PAGE_A || leaf.address == PAGE_B);
		if (!event && i % 2)
			assert_true(leaf.rights & ARM_S1_USER_WRITE);
	}
	atomic_store(&f.stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(atomic_load(&f.wrong), 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup(fn, setup)
	const struct CMUnitTest tests[] = {
		TEST(entry_becomes_one_that_refuses),
		TEST(entry_names_another_page),
		TEST(entry_changes_again_and_again),
		TEST(entry_changes_after_its_only_use),
		TEST(a_thread_that_flips_sees_only_its_own_entries),
	};

	return cmocka_run_group_tests_name("arm_s1_race", tests, NULL, NULL);
}
