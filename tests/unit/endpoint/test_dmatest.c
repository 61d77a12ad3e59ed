// SPDX-License-Identifier: BSD-3-Clause
/* dmatest without ATS: registers, every operation against a naive model, queues, garbage. */
#include "dmarig.h"

#include "base/alloc.h"

#include <errno.h>

/* Numbers as in docs/dmatest.md, not the names of the device. */
enum { NOP, FENCE, READ, WRITE, VERIFY, COPY, COMPARE };
enum { OK, BAD, MISMATCH, REFUSED, T_REFUSED, NO_PERMISSION, INVALID, FAILURE, RETRIES, DISABLED };
enum { PASID = 0x100, PRIV = 0x200, ATS = 0x400, PRI = 0x800, IRQ = 0x1000 };

#define HEAP (RIG_BASE + (4ULL << 20)) /* half of the memory, for data */
#define HEAP_SIZE (4ULL << 20)

static void registers_say_what_it_is(void **state)
{
	struct dmarig m;

	dm_open(&m, ",queues=5,pasid-bits=16", false);
	assert_int_equal(dm_get_config(&m, 0, 4), 0xd3a71234);
	assert_int_equal(dm_get_config(&m, 8, 4), 0xff000001);
	assert_int_equal(rig_read(&m.r, 0x00), 0x54414d44);
	assert_int_equal(rig_read(&m.r, 0x04), 0x10000);
	assert_int_equal(rig_read(&m.r, 0x08), 0x30000 | 16 << 8 | 5);
	assert_int_equal(rig_read(&m.r, 0x0c), 24 << 16 | 1024);
	assert_int_equal(rig_read(&m.r, 0x14), 0x1f);
	assert_int_equal(rig_read(&m.r, 0x18), 1);
	assert_int_equal(rig_read(&m.r, 0x1c), 8);
	rig_write(&m.r, 0x18, 0);
	assert_int_equal(rig_read(&m.r, 0x18), 1);
	rig_write(&m.r, 0x18, 1000);
	assert_int_equal(rig_read(&m.r, 0x18), 16);
	rig_write(&m.r, 0x1c, 1000);
	assert_int_equal(rig_read(&m.r, 0x1c), 255);
	for (unsigned int q = 0; q < 5; q++)
		assert_int_equal(dm_qread(&m, q, 0x20), q);
	assert_int_equal(dm_qread(&m, 5, 0x20), 0);
	dm_close(&m);
	dm_open(&m, ",ats=off,pasid-bits=0", false);
	assert_int_equal(rig_read(&m.r, 0x08), 8);
	assert_int_equal(rig_read(&m.r, 0x14), 1);
	assert_int_equal(dm_get_config(&m, 0x100, 4), 0);
	dm_close(&m);
}

/* Any access leaves the device able to work. */
static void odd_accesses_do_no_harm(void **state)
{
	const struct endpoint_ops *ops;
	struct dmatest_cpl cpl;
	struct dmarig m;

	dm_open(&m, "", false);
	ops = m.r.ep->ops;
	for (unsigned int size = 1; size <= 8; size *= 2)
		for (unsigned int at = 0; at + size <= 0x4000; at++) {
			ops->bar_write(m.r.ep, 0, at, size, 0x0101010101010101 * (at & 0xfe));
			ops->bar_read(m.r.ep, 0, at, size);
		}
	assert_true(ops->bar_read(m.r.ep, 0, 0x3ffc, 8) == UINT64_MAX);
	assert_int_equal(ops->bar_read(m.r.ep, 2, 0, 2), 0xffff);
	assert_int_equal(ops->bar_read(m.r.ep, 0, 1, 4), 0);
	rig_write(&m.r, 0x10, 1);
	assert_int_equal(dm_go(&m, dm_desc(READ, HEAP, 0, 4), &cpl), OK);
	assert_int_equal(dm_qread(&m, 3, 0), 0);
	dm_close(&m);
}

static void each_operation_does_what_it_says(void **state)
{
	struct dmatest_desc desc = dm_desc(WRITE, HEAP + 5, 0, 10000);
	struct dmatest_cpl cpl;
	struct dmarig m;
	uint8_t expected[10000];

	dm_open(&m, "", false);
	desc.seed = le64_make(0x1234567890abcdef);
	desc.tag = le32_make(0xfeed);
	assert_int_equal(dm_go(&m, desc, &cpl), OK);
	assert_int_equal(le32_get(cpl.done), 10000);
	assert_int_equal(le32_get(cpl.tag), 0xfeed);
	dm_fill(expected, 0x1234567890abcdef, sizeof(expected));
	assert_memory_equal(rig_at(&m.r, HEAP + 5, 10000), expected, 10000);

	assert_int_equal(dm_go(&m, dm_desc(READ, HEAP + 5, 0, 10000), &cpl), OK);
	assert_true(le64_get(cpl.checksum) == dm_checksum(expected, 10000));
	assert_int_equal(dm_go(&m, dm_desc(COPY, HEAP + 5, HEAP + 0x8001, 10000), &cpl), OK);
	assert_memory_equal(rig_at(&m.r, HEAP + 0x8001, 10000), expected, 10000);
	assert_int_equal(dm_go(&m, dm_desc(COMPARE, HEAP + 5, HEAP + 0x8001, 10000), &cpl), OK);
	*(uint8_t *)rig_at(&m.r, HEAP + 0x8001 + 7777, 1) ^= 1;
	assert_int_equal(dm_go(&m, dm_desc(COMPARE, HEAP + 5, HEAP + 0x8001, 10000), &cpl),
			 MISMATCH);
	assert_int_equal(le32_get(cpl.done), 7777);
	assert_true(le64_get(cpl.fault) == HEAP + 5 + 7777);

	desc.control = le32_make(VERIFY);
	assert_int_equal(dm_go(&m, desc, &cpl), OK);
	*(uint8_t *)rig_at(&m.r, HEAP + 5 + 4091, 1) ^= 0x80;
	assert_int_equal(dm_go(&m, desc, &cpl), MISMATCH);
	assert_int_equal(le32_get(cpl.done), 4091);
	assert_int_equal(dm_go(&m, dm_desc(NOP, 1, 2, 0), &cpl), OK);
	assert_int_equal(dm_go(&m, dm_desc(FENCE | IRQ, 1, 2, 0), &cpl), OK);
	assert_int_equal(atomic_load(&m.r.irqs[8]), 1);
	assert_int_equal(dm_stat(&m, DMATEST_STAT_OPERATIONS), 9);
	dm_close(&m);
}

struct outcome {
	uint32_t status, done;
	uint64_t checksum;
};

/* The whole operation on a copy of the memory, all at once. */
static struct outcome naive(uint8_t *memory, uint32_t op, uint64_t a, uint64_t b, uint32_t length,
			    uint64_t seed)
{
	struct outcome out = { OK, length, 0 };
	static uint8_t pattern[1 << 16];
	const uint8_t *other = pattern;

	dm_fill(pattern, seed, length);
	if (op == READ)
		out.checksum = dm_checksum(memory + a, length);
	if (op == WRITE)
		memcpy(memory + a, pattern, length);
	if (op == COPY)
		memmove(memory + b, memory + a, length);
	if (op == COMPARE)
		other = memory + b;
	for (uint32_t i = 0; (op == VERIFY || op == COMPARE) && i < length; i++)
		if (memory[a + i] != other[i]) {
			out.status = MISMATCH;
			out.done = i;
			break;
		}
	return out;
}

static void random_operations_match_the_model(void **state)
{
	uint8_t *model = calloc(1, HEAP_SIZE);
	unsigned int seen[COMPARE + 1][2] = { 0 };
	uint64_t seed = 7;
	struct dmarig m;

	dm_open(&m, ",queues=3", false);
	for (unsigned int q = 0; q < 3; q++)
		dm_queue(&m, q, 16 + q);
	for (int round = 0; round < 6000; round++) {
		uint32_t op = READ + test_random(&seed) % 5,
			 length = 1 + test_random(&seed) % 12000;
		uint32_t flags = (test_random(&seed) & 1 ? ATS : 0) | (round % 3 ? IRQ : 0);
		/* Few places, so that verifying and comparing succeed too. */
		uint64_t a = test_random(&seed) % 4 * 0x10000 + test_random(&seed) % 2 * 4090;
		uint64_t b = test_random(&seed) % 4 * 0x10000 + 0x80000;
		unsigned int q = (unsigned int)round % 3;
		struct dmatest_desc desc = dm_desc(op | flags, HEAP + a, HEAP + b, length);
		uint64_t word = test_random(&seed) % 2;
		struct dmatest_cpl cpl;
		struct outcome want;
		uint32_t tag;

		desc.seed = le64_make(word);
		tag = dm_put(&m, q, desc);
		dm_ring(&m, q);
		assert_true(dm_poll(&m, q, &cpl));
		want = naive(model, op, a, b, length, word);
		assert_int_equal(le32_get(cpl.tag), tag);
		assert_int_equal(le32_get(cpl.status), want.status);
		assert_int_equal(le32_get(cpl.done), want.done);
		assert_true(le64_get(cpl.checksum) == want.checksum);
		seen[op][want.status != OK]++;
		if (round % 64 == 0)
			assert_memory_equal(model, rig_at(&m.r, HEAP, HEAP_SIZE), HEAP_SIZE);
	}
	assert_memory_equal(model, rig_at(&m.r, HEAP, HEAP_SIZE), HEAP_SIZE);
	for (uint32_t op = READ; op <= COMPARE; op++)
		assert_true(seen[op][0] > 50);
	assert_true(seen[VERIFY][1] > 50 && seen[COMPARE][1] > 50);
	assert_int_equal(atomic_load(&m.r.irqs[0]), 0);
	assert_int_equal(atomic_load(&m.r.irqs[1]), 2000);
	free(model);
	dm_close(&m);
}

static void bad_descriptors_are_refused_without_dma(void **state)
{
	struct dmatest_desc bad[] = {
		dm_desc(7, HEAP, HEAP, 8),
		dm_desc(255, HEAP, HEAP, 8),
		dm_desc(READ | 0x2000, HEAP, 0, 8),
		dm_desc(READ | 0x80000000, HEAP, 0, 8),
		dm_desc(READ, HEAP, 0, 0),
		dm_desc(READ, HEAP, 0, (16 << 20) + 1),
		dm_desc(READ, HEAP, 0, UINT32_MAX),
		dm_desc(READ, UINT64_MAX, 0, 2),
		dm_desc(COPY, HEAP, UINT64_MAX - 6, 8),
		dm_desc(READ | PRIV, HEAP, 0, 8),
		dm_desc(READ | PRI, HEAP, 0, 8),
		dm_desc(NOP | PASID, 0, 0, 0),
		dm_desc(FENCE, 0, 0, 1),
		dm_desc(READ, HEAP, 0, 8), /* a PASID without the flag */
		dm_with_pasid(dm_desc(READ, HEAP, 0, 8), 1 << 16),
		dm_with_pasid(dm_desc(READ, HEAP, 0, 8), UINT32_MAX),
		dm_desc(READ, HEAP, 0, 8),
		dm_desc(NOP, 0, 0, 0),
	};
	struct dmatest_cpl cpl;
	struct dmarig m;

	bad[13].pasid = le32_make(1);
	bad[16].reserved[1] = le64_make(1);
	bad[17].reserved[2] = le64_make(1ULL << 63);
	dm_open(&m, ",pasid-bits=16", false);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (dm_go(&m, bad[i], &cpl) != BAD || cpl.done.raw)
			fail_msg("descriptor %zu", i);
	assert_int_equal(atomic_load(&m.r.requests), 0);
	assert_int_equal(dm_go(&m, dm_with_pasid(dm_desc(READ, HEAP, 0, 8), 65535), NULL), OK);
	assert_int_equal(dm_go(&m, dm_desc(READ, UINT64_MAX, 0, 1), NULL), REFUSED);
	dm_close(&m);
}

static void faults_say_where_and_how_far(void **state)
{
	struct dmatest_cpl cpl;
	struct dmarig m;

	dm_open(&m, "", false);
	m.r.fault_first = HEAP + 0x3000;
	m.r.fault_last = HEAP + 0x3fff;
	assert_int_equal(dm_go(&m, dm_desc(READ, HEAP + 0x1800, 0, 0x4000), &cpl), REFUSED);
	assert_int_equal(le32_get(cpl.done), 0x1800);
	assert_true(le64_get(cpl.fault) == HEAP + 0x3000);
	/* Of the second operand: chunks end where a page of either ends. */
	assert_int_equal(dm_go(&m, dm_desc(COPY, HEAP + 0x800, HEAP + 0x2000, 0x2000), &cpl),
			 REFUSED);
	assert_int_equal(le32_get(cpl.done), 0x1000);
	assert_true(le64_get(cpl.fault) == HEAP + 0x3000);
	assert_int_equal(dm_stat(&m, DMATEST_STAT_FAULTS), 2);
	dm_set_config(&m, 4, 2, 2);
	assert_int_equal(dm_go(&m, dm_desc(READ, HEAP, 0, 8), &cpl), REFUSED);
	assert_int_equal(dm_go(&m, dm_desc(READ | ATS, HEAP, 0, 8), &cpl), T_REFUSED);
	dm_close(&m);
}

static void pasid_and_privilege_follow_the_controls(void **state)
{
	struct dmatest_desc plain = dm_desc(READ, RIG_BASE + 0x5000, 0, 64), priv;
	struct dmatest_cpl cpl;
	struct dmarig m;

	dm_open(&m, "", false);
	dm_map(&m, 77, RIG_BASE + 0x5000, HEAP, 4096, DM_R);
	memset(rig_at(&m.r, HEAP, 64), 0xaa, 64);
	assert_int_equal(dm_go(&m, dm_with_pasid(plain, 77), &cpl), OK);
	assert_true(le64_get(cpl.checksum) == dm_checksum(rig_at(&m.r, HEAP, 64), 64));
	assert_false(m.last_privileged);
	priv = dm_with_pasid(dm_desc(READ | PRIV, RIG_BASE + 0x5000, 0, 64), 77);
	assert_int_equal(dm_go(&m, priv, &cpl), OK);
	assert_true(m.last_privileged);
	assert_int_equal(dm_go(&m, plain, &cpl), OK);
	assert_true(le64_get(cpl.checksum) != dm_checksum(rig_at(&m.r, HEAP, 64), 64));
	/* Enabled without privileged mode, then not at all. */
	dm_set_config(&m, m.r.ep->config.pasid_cap + 6U, 2, 1);
	assert_int_equal(dm_go(&m, priv, &cpl), DISABLED);
	assert_int_equal(dm_go(&m, dm_with_pasid(plain, 77), &cpl), OK);
	dm_set_config(&m, m.r.ep->config.pasid_cap + 6U, 2, 4);
	assert_int_equal(rig_read(&m.r, 0x14), 7);
	assert_int_equal(dm_go(&m, dm_with_pasid(plain, 77), &cpl), DISABLED);
	assert_int_equal(dm_go(&m, plain, &cpl), OK);
	dm_close(&m);
	dm_open(&m, ",pasid-bits=0", false);
	assert_int_equal(dm_go(&m, dm_with_pasid(plain, 77), &cpl), DISABLED);
	dm_close(&m);
}

static void a_ring_wraps_and_waits_for_room(void **state)
{
	struct dmatest_cpl cpl;
	struct dmarig m;
	uint32_t first;

	dm_open(&m, "", false);
	dm_queue(&m, 2, 5);
	for (uint32_t round = 0; round < 23; round++) {
		first = m.next_tag + 1;
		for (int i = 0; i < 4; i++)
			dm_put(&m, 2, dm_desc(NOP | IRQ, 0, 0, 0));
		dm_ring(&m, 2);
		for (uint32_t i = 0; i < 4; i++) {
			assert_true(dm_poll(&m, 2, &cpl));
			assert_int_equal(le32_get(cpl.tag), first + i);
		}
		assert_false(dm_poll(&m, 2, &cpl));
	}
	assert_int_equal(atomic_load(&m.r.irqs[2]), 23 * 4);
	/* A completion ring that is full holds the next descriptors back. */
	for (int i = 0; i < 4; i++)
		dm_put(&m, 2, dm_desc(NOP, 0, 0, 0));
	dm_ring(&m, 2);
	for (int i = 0; i < 3; i++)
		dm_put(&m, 2, dm_desc(NOP, 0, 0, 0));
	dm_ring(&m, 2);
	assert_int_equal((dm_qread(&m, 2, 0x28) + 5 - dm_qread(&m, 2, 0x24)) % 5, 3);
	for (int i = 0; i < 7; i++)
		assert_true(dm_poll(&m, 2, &cpl));
	assert_int_equal(dm_qread(&m, 2, 0x28), dm_qread(&m, 2, 0x24));
	dm_close(&m);
}

static void bad_queues_do_not_start(void **state)
{
	static const struct {
		uint32_t reg, value;
	} bad[] = {
		{ 0x18, 0 }, { 0x18, 1 },	   { 0x18, 1025 }, { 0x18, UINT32_MAX },
		{ 0x20, 9 }, { 0x20, UINT32_MAX }, { 0x1c, 1 },	   { 0x00, 4 },
	};
	struct dmarig m;

	dm_open(&m, "", false);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		dm_qwrite(&m, 0, 0x18, 8);
		dm_qwrite(&m, 0, bad[i].reg, bad[i].value);
		dm_qwrite(&m, 0, 0, dm_qread(&m, 0, 0) | 1);
		assert_int_equal(dm_qread(&m, 0, 4), 1 << 8);
		dm_qwrite(&m, 0, 0x28, 1);
		rig_write(&m.r, 0x10, 1);
		assert_int_equal(dm_qread(&m, 0, 4), 0);
	}
	/* Rings that would run over the end of the address space. */
	dm_qwrite(&m, 0, 0x18, 8);
	dm_qwrite(&m, 0, 0x08, 0xffffffff);
	dm_qwrite(&m, 0, 0x0c, 0xffffffff);
	assert_int_equal(dm_qread(&m, 0, 0x08), 0xffffffc0);
	dm_qwrite(&m, 0, 0, 1);
	assert_int_equal(dm_qread(&m, 0, 4), 1 << 8);
	assert_int_equal(atomic_load(&m.r.requests), 0);
	/* PASID 2^20 - 1 is the last one. */
	dm_qwrite(&m, 1, 0x1c, 0xfffff);
	dm_qwrite(&m, 1, 0x00, 6);
	dm_queue(&m, 1, 8);
	dm_close(&m);
}

static void bad_doorbells_are_ignored_and_noted(void **state)
{
	static const uint32_t bad_tails[] = { 8, 0xffffffff, 1 }, bad_heads[] = { 8, 4, 0xffff };
	struct dmatest_cpl cpl;
	struct dmarig m;

	dm_open(&m, "", false);
	dm_queue(&m, 0, 8);
	/* Seven outstanding, as the completion ring is filled first: no room for one more. */
	for (int i = 0; i < 3; i++)
		dm_put(&m, 0, dm_desc(NOP, 0, 0, 0));
	dm_ring(&m, 0);
	for (size_t i = 0; i < 2; i++)
		dm_qwrite(&m, 0, 0x28, bad_tails[i]);
	assert_int_equal(dm_qread(&m, 0, 0x28), 3);
	assert_int_equal(dm_qread(&m, 0, 4), 3);
	for (size_t i = 0; i < ARRAY_SIZE(bad_heads); i++)
		dm_qwrite(&m, 0, 0x30, bad_heads[i]);
	assert_int_equal(dm_qread(&m, 0, 0x30), 0);
	for (int i = 0; i < 3; i++)
		assert_true(dm_poll(&m, 0, &cpl));
	dm_qwrite(&m, 0, 0, 0);
	dm_queue(&m, 0, 8);
	/* An operation that waits for good in front: head stays, the ring fills. */
	m.confined = true;
	dm_map(&m, NST_NO_PASID, RIG_BASE, RIG_BASE, RIG_SIZE / 2, DM_RW);
	for (int i = 0; i < 7; i++)
		dm_put(&m, 0, dm_desc(READ | ATS | PRI, HEAP, 0, 8));
	dm_ring(&m, 0);
	assert_int_equal(dm_qread(&m, 0, 0x24), 4);
	assert_int_equal(dm_qread(&m, 0, 4), 4 << 16 | 1);
	dm_qwrite(&m, 0, 0x28, 4);
	assert_int_equal(dm_qread(&m, 0, 0x28), 7);
	assert_int_equal(dm_qread(&m, 0, 4), 4 << 16 | 3);
	dm_close(&m);
}

static void a_ring_out_of_reach_stops_its_queue_only(void **state)
{
	struct dmatest_cpl cpl;
	struct dmarig m;

	dm_open(&m, "", false);
	dm_queue(&m, 0, 8);
	dm_queue(&m, 1, 8);
	m.r.fault_first = m.r.fault_last = m.q[0].ring + 64;
	for (int i = 0; i < 3; i++) {
		dm_put(&m, 0, dm_desc(NOP, 0, 0, 0));
		dm_put(&m, 1, dm_desc(NOP, 0, 0, 0));
	}
	dm_ring(&m, 0);
	dm_ring(&m, 1);
	assert_int_equal(dm_qread(&m, 0, 4), 2 << 8);
	assert_true(dm_poll(&m, 0, &cpl));
	assert_false(dm_poll(&m, 0, &cpl));
	for (int i = 0; i < 3; i++)
		assert_true(dm_poll(&m, 1, &cpl));
	dm_qwrite(&m, 0, 0x28, 5);
	assert_int_equal(dm_qread(&m, 0, 0x28), 3);
	/* Enabled again it works, until a completion cannot be written. */
	m.r.fault_last = m.r.fault_first = 0;
	dm_qwrite(&m, 0, 0, 0);
	assert_int_equal(dm_qread(&m, 0, 4), 0);
	dm_queue(&m, 0, 8);
	m.r.fault_first = m.r.fault_last = m.q[0].cpl + 31;
	dm_put(&m, 0, dm_desc(NOP | IRQ, 0, 0, 0));
	dm_ring(&m, 0);
	assert_int_equal(dm_qread(&m, 0, 4), 3 << 8);
	assert_int_equal(atomic_load(&m.r.irqs[0]), 0);
	dm_close(&m);
}

static void a_queue_can_have_a_pasid_of_its_own(void **state)
{
	struct dmatest_cpl cpl;
	struct dmarig m;

	dm_open(&m, "", false);
	m.confined = true;
	dm_map(&m, 5, RIG_BASE, RIG_BASE, RIG_SIZE, DM_RW);
	dm_map(&m, NST_NO_PASID, HEAP, HEAP, 4096, DM_RW);
	dm_qwrite(&m, 0, 0x1c, 5);
	dm_qwrite(&m, 0, 0x00, 2);
	dm_queue(&m, 0, 8);
	dm_put(&m, 0, dm_desc(READ, HEAP, 0, 8));
	dm_ring(&m, 0);
	assert_true(dm_poll(&m, 0, &cpl));
	assert_int_equal(le32_get(cpl.status), OK);
	assert_int_equal(m.untranslated, 4);
	/* Switched off while it runs: the queue cannot fetch. */
	dm_set_config(&m, m.r.ep->config.pasid_cap + 6U, 2, 0);
	dm_put(&m, 0, dm_desc(READ, HEAP, 0, 8));
	dm_ring(&m, 0);
	assert_int_equal(dm_qread(&m, 0, 4), 2 << 8);
	dm_close(&m);
}

/* The driver rewrites the descriptor after it was fetched: the copy counts. */
static void descriptors_are_read_once(void **state)
{
	struct dmatest_cpl cpl;
	struct dmarig m;

	dm_open(&m, "", false);
	dm_queue(&m, 0, 8);
	m.confined = true;
	dm_map(&m, NST_NO_PASID, RIG_BASE, RIG_BASE, RIG_SIZE / 2, DM_RW);
	dm_put(&m, 0, dm_desc(WRITE | ATS | PRI, HEAP + 0x1000, 0, 0x1000));
	dm_ring(&m, 0);
	assert_int_equal(dm_logged(&m), 1);
	memset(rig_at(&m.r, m.q[0].ring, 64), 0xff, 64);
	dm_map(&m, NST_NO_PASID, HEAP + 0x1000, HEAP + 0x1000, 4096, DM_RW);
	dm_answer(&m, 0, ENDPOINT_PAGE_SUCCESS);
	assert_true(dm_poll(&m, 0, &cpl));
	assert_int_equal(le32_get(cpl.status), OK);
	assert_int_equal(le32_get(cpl.done), 0x1000);
	dm_close(&m);
}

static void reset_brings_everything_back(void **state)
{
	struct dmarig m;
	uint32_t *fresh = calloc(0x4000 / 4, 4);

	dm_open(&m, "", false);
	rig_write(&m.r, 0x10, 1);
	for (unsigned int at = 0; at < 0x4000; at += 4)
		fresh[at / 4] = rig_read(&m.r, at);
	for (int soft = 0; soft < 2; soft++) {
		for (unsigned int q = 0; q < 8; q++)
			dm_queue(&m, q, 8);
		for (unsigned int at = 0x2000; at < 0x3000; at += 4)
			rig_write(&m.r, at, soft ? fresh[at / 4] : 0xffffffff);
		rig_write(&m.r, 0x18, 4);
		rig_write(&m.r, 0x1c, 4);
		assert_int_equal(dm_go(&m, dm_desc(READ | ATS, HEAP, 0, 8), NULL), OK);
		dm_put(&m, 0, dm_desc(READ, HEAP, 0, 100));
		dm_ring(&m, 0);
		if (soft)
			rig_write(&m.r, 0x10, 1);
		else
			m.r.ep->ops->reset(m.r.ep);
		if (!soft)
			assert_int_equal(rig_read(&m.r, 0x14), 0);
		dm_enable_services(&m);
		for (unsigned int at = 0; at < 0x4000; at += 4)
			if (rig_read(&m.r, at) != fresh[at / 4])
				fail_msg("register %x", at);
	}
	free(fresh);
	dm_close(&m);
}

static void descriptions(void **state)
{
	static const char *const bad[] = { "dmatest,queues=0",	     "dmatest,queues=65",
					   "dmatest,pasid-bits=21",  "dmatest,ats=maybe",
					   "dmatest,ats=off,pri=on", "dmatest,file=x" };
	struct endpoint *ep = NULL;
	char *text;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(endpoint_create(bad[i], NULL, &ep, &text), -EINVAL);
		assert_non_null(text);
		free(text);
	}
	for (unsigned int nth = 1; nth < 3; nth++) {
		alloc_fail_nth(nth);
		assert_int_equal(endpoint_create("dmatest", NULL, &ep, NULL), -ENOMEM);
		assert_null(ep);
	}
	alloc_fail_nth(3);
	assert_int_equal(endpoint_create("dmatest,queues=64,ats=off", NULL, &ep, NULL), 0);
	alloc_fail_nth(0);
	endpoint_destroy(ep);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registers_say_what_it_is),
		cmocka_unit_test(odd_accesses_do_no_harm),
		cmocka_unit_test(each_operation_does_what_it_says),
		cmocka_unit_test(random_operations_match_the_model),
		cmocka_unit_test(bad_descriptors_are_refused_without_dma),
		cmocka_unit_test(faults_say_where_and_how_far),
		cmocka_unit_test(pasid_and_privilege_follow_the_controls),
		cmocka_unit_test(a_ring_wraps_and_waits_for_room),
		cmocka_unit_test(bad_queues_do_not_start),
		cmocka_unit_test(bad_doorbells_are_ignored_and_noted),
		cmocka_unit_test(a_ring_out_of_reach_stops_its_queue_only),
		cmocka_unit_test(a_queue_can_have_a_pasid_of_its_own),
		cmocka_unit_test(descriptors_are_read_once),
		cmocka_unit_test(reset_brings_everything_back),
		cmocka_unit_test(descriptions),
	};

	return cmocka_run_group_tests_name("dmatest", tests, NULL, NULL);
}
