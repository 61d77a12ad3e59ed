// SPDX-License-Identifier: BSD-3-Clause
/*
 * The caches of the software SMMUv3: what each command takes away, and that it takes no
 * more. Probes are pages of several address spaces, VMIDs, granules and sizes. All are
 * cached, then all tables are changed, then one command is given: a probe that still reads
 * its old memory was kept. Which those must be, removed_by() says in words of s4.4.
 */
#include "smmu_rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define OLD_BASE (1ULL << 30)
#define NEW_BASE (2ULL << 30)

/* An address space: a stream of its own with one context descriptor. */
static const struct space { uint16_t vmid, asid; unsigned int kb; } spaces[] = {
	{ 7, 0x51, 4 }, { 7, 0x52, 4 }, { 8, 0x51, 4 }, { 7, 0x53, 16 }, { 7, 0x54, 64 },
	{ 0x8007, 0x51, 4 }, { 7, 0xff51, 4 },
};

static const struct probe { unsigned int space; uint64_t va; unsigned int level; bool global; }
probes[] = {
	{ 0, 0x1000, 3, false }, { 0, 0x2000, 3, false }, { 0, 0x40000000, 2, false },
	{ 0, 0x80000000, 1, false }, { 0, 0xffff000000001000, 3, false }, { 0, 0x7000, 3, true },
	{ 0, 0x40200000, 2, true }, { 0, 0x10001000, 3, false }, { 0, 0xfffffffffffff000, 3, false },
	{ 1, 0x1000, 3, false }, { 1, 0x40000000, 2, false }, { 1, 0x8000, 3, true },
	{ 2, 0x1000, 3, false }, { 2, 0x7000, 3, true }, { 2, 0x40000000, 2, false },
	{ 3, 0x4000, 3, false }, { 3, 0x40000000, 2, false }, { 3, 0xc000, 3, true },
	{ 4, 0x10000, 3, false }, { 4, 0x40000000, 2, false },
	{ 5, 0x1000, 3, false }, { 6, 0x1000, 3, false },
};

struct command { unsigned int op; uint16_t vmid, asid; uint64_t va; unsigned int tg, ttl, num, scale; };

static unsigned int lg2_of(const struct probe *p)
{
	static const unsigned int lg2[][4] = { { 0, 30, 21, 12 }, { 0, 0, 25, 14 }, { 0, 0, 29, 16 } };
	unsigned int kb = spaces[p->space].kb;

	return lg2[kb == 4 ? 0 : kb == 16 ? 1 : 2][p->level];
}

/* s4.4: what the command is required to invalidate. */
static bool removed_by(const struct command *c, const struct probe *p)
{
	const struct space *s = &spaces[p->space];
	unsigned int tg = s->kb == 4 ? 1 : s->kb == 16 ? 2 : 3;
	uint64_t first = p->va, last = p->va + ((1ULL << lg2_of(p)) - 1), end = c->va;

	if (c->op == 0x30)
		return true;
	if (c->vmid != s->vmid)
		return false;
	if (c->op == 0x10 || c->op == 0x28)
		return true;
	if (c->op == 0x11)
		return c->asid == s->asid && !p->global;
	if (c->op == 0x12 && c->asid != s->asid && !p->global)
		return false;
	if (c->tg) {
		uint64_t bytes = ((uint64_t)c->num + 1) << c->scale << (10 + 2 * c->tg);

		if (c->tg != tg || (c->ttl && c->ttl != p->level && !(c->tg == 2 && c->ttl == 1)))
			return false;
		end = c->va + bytes - 1 < c->va ? UINT64_MAX : c->va + bytes - 1;
	}
	return last >= c->va && first <= end;
}

static nst_rid sid_of(unsigned int space)
{
	return (nst_rid)(0x200 + space);
}

struct bench {
	struct rig *rig;
	uint64_t cds[ARRAY_SIZE(spaces)][8];
};

static void make_spaces(struct bench *b, struct rig *rig)
{
	b->rig = rig;
	for (unsigned int i = 0; i < ARRAY_SIZE(spaces); i++) {
		struct smmu_hw_ste ste = rig->ste;

		rig->granule_kb = spaces[i].kb;
		rig_make_cd(rig, b->cds[i], spaces[i].asid);
		rig_write_cd(rig, RIG_CDS + 0x1000 + i * 64, b->cds[i]);
		rig_make_s1(ste.s1, RIG_CDS + 0x1000 + i * 64, 0, 0, 0);
		ste.vmid = spaces[i].vmid;
		rig_set_ste(rig, sid_of(i), &ste);
	}
}

/* Where in its page a probe reads, so that no two read the same memory. */
static uint64_t offset_of(size_t i)
{
	return probes[i].level < 3 ? 0x1f0000 + i * 64 : 0;
}

static uint64_t page_of(size_t i, uint64_t base)
{
	return base + (probes[i].level < 3 ? 0 : i * 0x10000);
}

static void map_all(struct bench *b, uint64_t base)
{
	for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
		const struct probe *p = &probes[i];
		uint64_t *slot;

		b->rig->granule_kb = spaces[p->space].kb;
		slot = rig_slot_of(b->rig, b->cds[p->space][p->va >> 63 ? 2 : 1], p->va, p->level);
		rig_store(slot, page_of(i, base) | D_USER | D_AF | (p->global ? 0 : D_NG) |
				(p->level == 3 ? 3 : 1));
		rig_mark(b->rig, page_of(i, base) + offset_of(i), base + i);
	}
}

static uint64_t read_probe(struct bench *b, size_t i)
{
	return rig_read_as(b->rig, sid_of(probes[i].space), NST_NO_PASID,
			   probes[i].va + offset_of(i));
}

static int give(struct bench *b, const struct command *c, bool leaf)
{
	return rig_command(b->rig, c->op | c->num << 12 | c->scale << 20 |
				   (uint64_t)c->vmid << 32 | (uint64_t)c->asid << 48,
			   c->va | c->ttl << 8 | c->tg << 10 | leaf);
}

static unsigned int try_command(struct bench *b, const struct command *c, bool leaf)
{
	unsigned int removed = 0;

	rig_tlbi_all(b->rig);
	map_all(b, OLD_BASE);
	for (size_t i = 0; i < ARRAY_SIZE(probes); i++)
		assert_int_equal(read_probe(b, i), OLD_BASE + i);
	map_all(b, NEW_BASE);
	assert_int_equal(give(b, c, leaf), 0);
	for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
		bool gone = removed_by(c, &probes[i]);

		assert_int_equal(read_probe(b, i), (gone ? NEW_BASE : OLD_BASE) + i);
		removed += gone;
	}
	return removed;
}

static void commands_remove_what_they_name(void **state)
{
#define ALL(o, v) { .op = o, .vmid = v }
#define ASID(v, a) { .op = 0x11, .vmid = v, .asid = a }
#define VA(v, a, address) { .op = 0x12, .vmid = v, .asid = a, .va = address }
#define VAA(v, a, address) { .op = 0x13, .vmid = v, .asid = a, .va = address }
	static const struct command commands[] = {
		{ .op = 0x30 }, { .op = 0x30, .vmid = 99 }, ALL(0x10, 7), ALL(0x10, 8), ALL(0x10, 9),
		ALL(0x10, 0x8007), ALL(0x28, 7), ALL(0x28, 0x8007), ASID(7, 0x51), ASID(7, 0x52),
		ASID(8, 0x51), ASID(7, 0xff51), ASID(7, 0), ASID(7, 1),
		VA(7, 0x51, 0x1000), VA(7, 0x51, 0x2000), VA(7, 0x51, 0x3000),
		VA(7, 0x52, 0x1000), VA(8, 0x51, 0x1000), VA(7, 0xff51, 0x1000),
		VA(7, 0x51, 0x40000000), VA(7, 0x51, 0x401ff000),
		VA(7, 0x51, 0x40200000), VA(7, 0x51, 0x3ffff000),
		VA(7, 0x51, 0x80000000), VA(7, 0x51, 0xbffff000),
		VA(7, 0x51, 0xffff000000001000), VA(7, 0x51, 0xfffffffffffff000),
		/* global entries, whatever the ASID of the command */
		VA(7, 0x51, 0x7000), VA(7, 0x52, 0x7000), VA(7, 0x999, 0x7000),
		VA(7, 0x999, 0x8000), VA(8, 0x999, 0x7000), VA(9, 0x51, 0x7000),
		VA(7, 0x999, 0x403ff000), VA(7, 0x999, 0xd000),
		/* all ASIDs of a VMID */
		VAA(7, 0, 0x1000), VAA(8, 0, 0x1000), VAA(7, 0x51, 0x1000),
		VAA(7, 0, 0x40000000), VAA(7, 0, 0x7000), VAA(9, 0, 0x1000),
		/* ranges: TG 1..3, TTL, NUM, SCALE */
		{ 0x12, 7, 0x51, 0x1000, 1, 0, 1, 0 }, { 0x12, 7, 0x51, 0x1000, 1, 3, 0, 0 },
		{ 0x12, 7, 0x51, 0x1000, 1, 2, 0, 0 }, { 0x12, 7, 0x51, 0, 1, 0, 0, 1 },
		{ 0x12, 7, 0x51, 0, 1, 0, 31, 0 }, { 0x12, 7, 0x51, 0, 1, 0, 31, 11 },
		{ 0x12, 7, 0x51, 0, 1, 0, 31, 20 }, { 0x12, 7, 0x51, 0, 1, 3, 31, 20 },
		{ 0x12, 7, 0x51, 0, 1, 2, 31, 20 }, { 0x12, 7, 0x51, 0, 1, 1, 31, 20 },
		{ 0x12, 7, 0x51, 0x1000, 1, 0, 31, 31 },
		{ 0x12, 7, 0x51, 0xffff000000000000, 1, 0, 31, 31 },
		{ 0x12, 7, 0x51, 0xfffffffffffff000, 1, 0, 1, 0 },
		{ 0x12, 7, 0x53, 0, 2, 0, 31, 15 }, { 0x12, 7, 0x53, 0, 2, 3, 31, 15 },
		{ 0x12, 7, 0x53, 0, 2, 2, 31, 15 }, { 0x12, 7, 0x53, 0, 2, 1, 31, 15 },
		{ 0x12, 7, 0x53, 0x4000, 2, 3, 0, 0 }, { 0x12, 7, 0x53, 0x4000, 1, 3, 0, 0 },
		{ 0x12, 7, 0x53, 0, 1, 0, 31, 20 }, { 0x12, 7, 0x54, 0, 3, 0, 31, 15 },
		{ 0x12, 7, 0x54, 0, 3, 3, 31, 15 }, { 0x12, 7, 0x54, 0, 3, 2, 31, 15 },
		{ 0x12, 7, 0x54, 0, 3, 1, 31, 15 }, { 0x12, 7, 0x54, 0, 2, 0, 31, 15 },
		{ 0x12, 7, 0x54, 0x10000, 3, 3, 0, 0 }, { 0x12, 7, 0x999, 0, 1, 0, 31, 20 },
		{ 0x13, 7, 0, 0, 1, 0, 31, 20 }, { 0x13, 7, 0, 0, 1, 3, 31, 20 },
		{ 0x13, 7, 0, 0, 2, 0, 31, 20 }, { 0x13, 7, 0, 0, 3, 2, 31, 20 },
		{ 0x13, 8, 0, 0x1000, 1, 0, 0, 2 },
	};
	struct bench *b = calloc(1, sizeof(*b));
	unsigned int removed = 0;

	assert_non_null(b);
	make_spaces(b, *state);
	for (size_t i = 0; i < 2 * ARRAY_SIZE(commands); i++)
		removed += try_command(b, &commands[i / 2], i % 2);
	assert_true(removed > 300);
	free(b);
}

/* The same, of commands that nobody thought of. */
static void random_commands_remove_what_they_name(void **state)
{
	static const unsigned int ops[] = { 0x10, 0x11, 0x12, 0x12, 0x12, 0x13 };
	struct bench *b = calloc(1, sizeof(*b));
	unsigned int removed = 0;
	uint64_t seed = 8;

	assert_non_null(b);
	make_spaces(b, *state);
	for (int i = 0; i < 400; i++) {
		const struct probe *p = &probes[test_random(&seed) % ARRAY_SIZE(probes)];
		uint64_t r = test_random(&seed);
		struct command c = {
			.op = ops[r % ARRAY_SIZE(ops)], .vmid = spaces[p->space].vmid,
			.asid = r >> 8 & 3 ? spaces[p->space].asid : spaces[r >> 10 & 3].asid,
			.va = (p->va - (r >> 16 & 3) * 0x1000) & -4096ULL, .tg = r >> 20 & 3,
		};

		if (c.op >= 0x12 && c.tg) {
			c.ttl = r >> 22 & 3;
			c.num = r >> 24 & 31;
			c.scale = r >> 29 & 31;
			c.num |= !c.num && !c.scale;
		} else if (c.op < 0x12) {
			c.tg = 0;
			c.va = 0;
		} else {
			c.va = p->va;
		}
		removed += try_command(b, &c, r >> 34 & 1);
	}
	assert_true(removed > 500);
	free(b);
}

static void commands_that_are_illegal(void **state)
{
	static const uint64_t bad[][2] = {
		{ 0x00, 0 }, { 0x01, 0 }, { 0x02, 0 }, { 0x07, 0 }, { 0x18, 0 }, { 0x20, 0 },
		{ 0x21, 0 }, { 0x22, 0 }, { 0x23, 0 }, { 0x41, 0 }, { 0x44, 0 }, { 0x45, 0 },
		{ 0x47, 0 }, { 0xff, 0 },
		{ 0x12, 1 << 10 }, { 0x13, 3 << 10 }, { 0x12, 2 << 10 | 1 << 8 },	/* no range, no level */
		{ 0x40, 53 }, { 0x40, 63 },
	};
	static const uint64_t good[][2] = {
		{ 0x46, 0 }, { 0x2a, 0 }, { 0x12, 1 << 10 | 1 << 8 }, { 0x40, 52 },
		{ 0x05 | 0xffffffffULL << 32, 0 }, { 0x06 | 0xffffffffULL << 32, 0 },
		{ 0x03 | 0x10000ULL << 32, 0 }, { 0x04 | 0xffffffffULL << 32, 0 },
	};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(rig_command(rig, bad[i][0], bad[i][1]), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(rig_command(rig, good[i][0], good[i][1]), 0);
}

static void an_unmapped_page_is_used_until_flushed(void **state)
{
	struct rig *rig = *state;

	rig_mark(rig, 0x5000, 5);
	rig_map(rig, 0x1000, 0x5000, 3, D_RW);
	assert_int_equal(rig_read(rig, 0x1000), 5);
	rig_map(rig, 0x1000, 0, 3, 0);
	assert_int_equal(rig_read(rig, 0x1000), 5);
	assert_int_equal(rig_read(rig, 0x1ff8), 0);
	rig_tlbi_va(rig, 0x1000, true);
	assert_int_equal(rig_read(rig, 0x1000), RIG_FAULT);
	/* and what is not there is not cached: mapping needs no invalidation */
	rig_map(rig, 0x1000, 0x5000, 3, D_RW);
	assert_int_equal(rig_read(rig, 0x1000), 5);
	/* EPD forbids walks, not hits, and makes the size of the half say nothing */
	rig_map(rig, 1ULL << 40, 0x5000, 3, D_RW);
	assert_int_equal(rig_read(rig, 1ULL << 40), 5);
	rig->cd[0] += C_EPD0 | (39 - 16);
	rig_write_cd(rig, RIG_CDS, rig->cd);
	rig_cfgi_cd_all(rig);
	assert_int_equal(rig_read(rig, 1ULL << 40), 5);
	rig_tlbi_va(rig, 1ULL << 40, true);
	assert_int_equal(rig_read(rig, 1ULL << 40), RIG_FAULT);
}

static void a_large_leaf_is_one_entry(void **state)
{
	struct rig *rig = *state;

	for (unsigned int level = 1; level <= 2; level++) {
		uint64_t size = level == 1 ? 1ULL << 30 : 1ULL << 21, va = 5 * size, misses;

		rig_map(rig, va, 1ULL << 30, level, D_RW);
		rig_read(rig, va);
		misses = rig_stats(rig).iotlb_misses;
		assert_int_not_equal(rig_read(rig, va + size - 8), RIG_FAULT);
		assert_int_equal(rig_stats(rig).iotlb_misses, misses);
		assert_int_equal(rig_read(rig, va + size), RIG_FAULT);
	}
}

/* The second stage has the middle of a 2 MiB leaf elsewhere: entries are smaller, their level not. */
static void a_leaf_that_the_second_stage_cuts(void **state)
{
	struct rig *rig = *state;
	const uint64_t ipa = 0x40000000;
	const uint64_t asid = 0x12 | (uint64_t)RIG_VMID << 32 | (uint64_t)RIG_ASID << 48;

	rig_clear_s2(rig);
	rig_add_s2(rig, 0, 0x20000000, rig->ram, RANGE_READ | RANGE_WRITE);
	rig_add_s2(rig, ipa, 0x100000, rig->ram + ipa, RANGE_READ);
	rig_add_s2(rig, ipa + 0x100000, 0x1000, rig->ram + 0x8000, RANGE_READ | RANGE_WRITE);
	rig_add_s2(rig, ipa + 0x102000, 0x40000000, rig->ram + 0x48000000, RANGE_READ);
	rig_map(rig, 0x40000000, ipa, 2, D_RW);
	rig_mark(rig, ipa + 0xff000, 1);
	rig_mark(rig, 0x8000, 2);
	rig_mark(rig, 0x48000000, 3);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(rig_read(rig, 0x40000000 + 0xff000), 1);
		assert_int_equal(rig_read(rig, 0x40000000 + 0x100000), 2);
		assert_int_equal(rig_read(rig, 0x40000000 + 0x101000), RIG_FAULT);
		assert_int_equal(rig_read(rig, 0x40000000 + 0x102000), 3);
		assert_false(rig_can_write(rig, 0x40000000 + 0xff000));
		assert_true(rig_can_write(rig, 0x40000000 + 0x100000));
	}
	rig_map(rig, 0x40000000, 0, 2, 0);
	/* pages of level 3 in the range are not meant, blocks of level 2 are */
	assert_int_equal(rig_command(rig, asid | 31 << 12 | 4 << 20, 0x40000000 | 1 << 10 | 3 << 8), 0);
	assert_int_equal(rig_read(rig, 0x40000000 + 0x100000), 2);
	assert_int_equal(rig_command(rig, asid | 31 << 12 | 4 << 20, 0x40000000 | 1 << 10 | 2 << 8), 0);
	assert_int_equal(rig_read(rig, 0x40000000 + 0x100000), RIG_FAULT);
	assert_int_equal(rig_read(rig, 0x40000000 + 0xff000), RIG_FAULT);
}

static void global_pages_serve_every_asid(void **state)
{
	struct rig *rig = *state;
	struct smmu_hw_ste ste = rig->ste;
	uint64_t cd[8];

	/* in the other address space there is no such page */
	rig_make_cd(rig, cd, RIG_ASID + 1);
	rig_write_cd(rig, RIG_CDS + 64, cd);
	rig_make_s1(ste.s1, RIG_CDS + 64, 0, 0, 0);
	rig_set_ste(rig, 9, &ste);
	rig_mark(rig, 0x5000, 5);
	rig_map(rig, 0x1000, 0x5000, 3, D_RW & ~D_NG);
	assert_int_equal(rig_read_as(rig, 9, NST_NO_PASID, 0x1000), RIG_FAULT);
	assert_int_equal(rig_read(rig, 0x1000), 5);
	assert_int_equal(rig_read_as(rig, 9, NST_NO_PASID, 0x1000), 5);
	/* another VMID, or another set of ASIDs, has pages of its own */
	ste.vmid++;
	rig_set_ste(rig, 9, &ste);
	assert_int_equal(rig_read_as(rig, 9, NST_NO_PASID, 0x1000), RIG_FAULT);
	ste.vmid--;
	cd[0] ^= 1ULL << 47;
	rig_write_cd(rig, RIG_CDS + 64, cd);
	rig_set_ste(rig, 9, &ste);
	assert_int_equal(rig_read_as(rig, 9, NST_NO_PASID, 0x1000), RIG_FAULT);
	/* a command names both sets */
	rig_store(rig_slot_of(rig, cd[1], 0x1000, 3), 0x6000 | D_USER | D_AF | 3);
	assert_int_equal(rig_read_as(rig, 9, NST_NO_PASID, 0x1000), 0);
	rig_store(rig_slot_of(rig, cd[1], 0x1000, 3), 0);
	rig_map(rig, 0x1000, 0, 3, 0);
	assert_int_equal(rig_read_as(rig, 9, NST_NO_PASID, 0x1000), 0);
	assert_int_equal(rig_read(rig, 0x1000), 5);
	rig_tlbi_va(rig, 0x1000, true);
	assert_int_equal(rig_read_as(rig, 9, NST_NO_PASID, 0x1000), RIG_FAULT);
	assert_int_equal(rig_read(rig, 0x1000), RIG_FAULT);
}

/* Replace the table of the last level: what a guest does that frees an empty one. */
static void swap_last_table(struct rig *rig, uint64_t va, uint64_t ipa)
{
	uint64_t table = rig_new_table(rig);

	rig_store((uint64_t *)(void *)&rig->ram[table] + (va >> 12 & 511),
		  ipa | D_RW | D_VALID | D_TABLE);
	rig_store(rig_slot(rig, va, 2), table | D_VALID | D_TABLE);
}

static void the_leaf_bit_keeps_tables(void **state)
{
	const uint64_t asid = 0x12 | (uint64_t)RIG_VMID << 32 | (uint64_t)RIG_ASID << 48;
	struct rig *rig = *state;

	rig_mark(rig, 0x5000, 5);
	rig_mark(rig, 0x6000, 6);
	rig_map(rig, 0x1000, 0x5000, 3, D_RW);
	assert_int_equal(rig_read(rig, 0x1000), 5);
	swap_last_table(rig, 0x1000, 0x6000);
	rig_tlbi_va(rig, 0x1000, true);
	assert_int_equal(rig_read(rig, 0x1000), 5);
	rig_tlbi_va(rig, 0x2000, false);	/* this table, not this leaf */
	assert_int_equal(rig_read(rig, 0x1000), 5);
	rig_tlbi_va(rig, 0x1000, true);
	assert_int_equal(rig_read(rig, 0x1000), 6);
	swap_last_table(rig, 0x1000, 0x5000);
	rig_tlbi_va(rig, 0x200000, false);	/* another table */
	rig_tlbi_va(rig, 0x1000, true);
	assert_int_equal(rig_read(rig, 0x1000), 6);
	rig_tlbi_va(rig, 0x1000, false);
	assert_int_equal(rig_read(rig, 0x1000), 5);

	/* leaves of level 2 are meant: the table was found by a descriptor of level 2 */
	swap_last_table(rig, 0x1000, 0x6000);
	assert_int_equal(rig_command(rig, asid, 0x1000 | 1 << 10 | 2 << 8), 0);
	rig_tlbi_va(rig, 0x1000, true);
	assert_int_equal(rig_read(rig, 0x1000), 5);
	/* tables of other granules are meant */
	assert_int_equal(rig_command(rig, asid, 0x0000 | 3 << 10 | 3 << 8), 0);
	rig_tlbi_va(rig, 0x1000, true);
	assert_int_equal(rig_read(rig, 0x1000), 5);
	assert_int_equal(rig_command(rig, asid, 0x1000 | 1 << 10 | 3 << 8), 0);
	assert_int_equal(rig_read(rig, 0x1000), 6);
	/* by ASID alone tables go too */
	swap_last_table(rig, 0x1000, 0x5000);
	assert_int_equal(rig_command(rig, asid - 1, 0), 0);
	assert_int_equal(rig_read(rig, 0x1000), 5);
}

static void swaps_at_any_level_are_unseen_with_the_leaf_bit(void **state)
{
	static const struct { unsigned int kb, top; } rows[] = { { 4, 0 }, { 16, 0 }, { 64, 1 } };
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		rig_set_granule(rig, rows[i].kb);
		rig_write_cd(rig, RIG_CDS, rig->cd);
		rig_cfgi_cd_all(rig);
		for (unsigned int level = rows[i].top; level < 3; level++) {
			const uint64_t va = 0x654321430000;
			uint64_t *slot, old;

			rig_tlbi_all(rig);
			rig_mark(rig, 0x50000, 5);
			rig_mark(rig, 0x60000, 6);
			rig_map(rig, va, 0x50000, 3, D_RW);
			assert_int_equal(rig_read(rig, va), 5);
			slot = rig_slot(rig, va, level);
			old = *slot;
			rig_store(slot, 0);	/* a new branch from here on */
			rig_map(rig, va, 0x60000, 3, D_RW);
			rig_tlbi_va(rig, va, true);
			assert_int_equal(rig_read(rig, va), 5);
			rig_tlbi_va(rig, va, false);
			assert_int_equal(rig_read(rig, va), 6);
			rig_store(slot, old);
		}
	}
}

static void a_new_entry_does_not_flush(void **state)
{
	struct rig *rig = *state;

	rig_mark(rig, 0x5000, 5);
	rig_map(rig, 0x1000, 0x5000, 3, D_RW);
	assert_int_equal(rig_read(rig, 0x1000), 5);
	rig_make_cd(rig, rig->cd, RIG_ASID);
	rig_write_cd(rig, RIG_CDS, rig->cd);
	rig_set_ste(rig, RIG_SID, &rig->ste);
	assert_int_equal(rig_read(rig, 0x1000), 5);	/* same VMID, same ASID */
	rig->ste.vmid++;
	rig_set_ste(rig, RIG_SID, &rig->ste);
	assert_int_equal(rig_read(rig, 0x1000), RIG_FAULT);
	rig->ste.vmid--;
	rig_set_ste(rig, RIG_SID, &rig->ste);
	assert_int_equal(rig_read(rig, 0x1000), 5);
	/* absent is seen at once */
	rig_set_ste(rig, RIG_SID, NULL);
	assert_int_equal(rig_read(rig, 0x1000), RIG_FAULT);
}

static void changes_of_the_second_stage(void **state)
{
	struct rig *rig = *state;

	rig_clear_s2(rig);
	rig_add_s2(rig, RIG_CDS, 16 << 20, rig->ram + RIG_CDS, RANGE_READ | RANGE_WRITE);
	rig_add_s2(rig, 0x5000, 0x1000, rig->ram + 0x5000, RANGE_READ | RANGE_WRITE);
	rig_mark(rig, 0x5000, 5);
	rig_map(rig, 0x1000, 0x5000, 3, D_RW);
	rig_map(rig, 0x2000, 0x6000, 3, D_RW);
	assert_int_equal(rig_read(rig, 0x1000), 5);
	assert_int_equal(rig_read(rig, 0x2000), RIG_FAULT);
	rig_add_s2(rig, 0x6000, 0x1000, rig->ram + 0x5000, RANGE_READ);	/* without a flush */
	assert_int_equal(rig_read(rig, 0x2000), 5);

	smmu_hw_map_begin(rig->hw);
	range_map_remove_at(&rig->s2, range_map_lower_bound(&rig->s2, 0x5000));
	smmu_hw_map_end(rig->hw, false);
	assert_int_equal(rig_read(rig, 0x1000), 5);
	smmu_hw_map_begin(rig->hw);
	smmu_hw_map_end(rig->hw, true);
	assert_int_equal(rig_read(rig, 0x1000), RIG_FAULT);
	assert_int_equal(rig_read(rig, 0x2000), 5);
}

static void the_first_write_makes_dirty_though_a_read_is_cached(void **state)
{
	struct rig *rig = *state;
	uint64_t *slot = rig_slot(rig, 0x1000, 3), word = 0;

	rig->cd[0] |= C_HA | C_HD;
	rig_write_cd(rig, RIG_CDS, rig->cd);
	rig_map(rig, 0x1000, 0x5000, 3, D_READ | D_DBM);
	rig_read(rig, 0x1000);
	rig_read(rig, 0x1000);
	assert_int_equal(*slot & D_RO, D_RO);
	assert_int_equal(rig_dma(rig, true, 0x1000, &word, 8), 0);
	assert_int_equal(*slot & D_RO, 0);
	/* a write that is cached walks no more: making it clean takes an invalidation */
	rig_store(slot, *slot | D_RO);
	assert_int_equal(rig_dma(rig, true, 0x1000, &word, 8), 0);
	assert_int_equal(*slot & D_RO, D_RO);
	rig_tlbi_va(rig, 0x1000, true);
	assert_int_equal(rig_dma(rig, true, 0x1000, &word, 8), 0);
	assert_int_equal(*slot & D_RO, 0);
}

static void one_invalidation_is_lost_on_request(void **state)
{
	struct rig *rig = *state;
	uint64_t word = 0;

	rig_map(rig, 0x1000, 0x5000, 3, D_RW);
	rig_map(rig, 0x2000, 0x5000, 3, D_RW);
	smmu_hw_drop_invalidation(rig->hw, 16);
	for (int written = 0; written <= 16; written += 8) {
		rig_read(rig, 0x1000);
		rig_map(rig, 0x1000, 0, 3, 0);
		rig_tlbi_va(rig, 0x1000, true);
		assert_int_equal(rig_read(rig, 0x1000) == RIG_FAULT, written < 16);
		rig_map(rig, 0x1000, 0x5000, 3, D_RW);
		assert_int_equal(rig_dma(rig, true, 0x2000, &word, 8), 0);
	}
	/* once only */
	rig_map(rig, 0x1000, 0, 3, 0);
	rig_tlbi_va(rig, 0x1000, true);
	assert_int_equal(rig_read(rig, 0x1000), RIG_FAULT);
	/* the host's own, those of descriptors and illegal ones do not count */
	rig_map(rig, 0x1000, 0x5000, 3, D_RW);
	smmu_hw_drop_invalidation(rig->hw, 0);
	assert_int_equal(rig_command(rig, 0x28, 0), 0);
	rig_cfgi_cd_all(rig);
	assert_int_equal(rig_command(rig, 0x12, 1 << 10), -EINVAL);
	smmu_hw_map_begin(rig->hw);
	smmu_hw_map_end(rig->hw, true);
	rig_read(rig, 0x1000);
	rig_map(rig, 0x1000, 0, 3, 0);
	rig_tlbi_all(rig);
	assert_int_not_equal(rig_read(rig, 0x1000), RIG_FAULT);
	rig_tlbi_all(rig);
	assert_int_equal(rig_read(rig, 0x1000), RIG_FAULT);
	smmu_hw_drop_invalidation(rig->hw, UINT64_MAX);	/* never */
	rig_tlbi_all(rig);
}

static void invalidation_requests_reach_the_device(void **state)
{
	static const struct { uint64_t qw0, qw1; uint32_t pasid; bool global; uint64_t first, last; }
	rows[] = {
		{ 0x40, 0x1000, NST_NO_PASID, false, 0x1000, 0x1fff },
		{ 0x40 | 1 << 11 | 5 << 12, 0xffff000000003000 | 1, 5, false, 0xffff000000002000,
		  0xffff000000003fff },
		{ 0x40 | 1 << 11 | 1 << 9, 0x12345000 | 9, 0, true, 0x12200000, 0x123fffff },
		{ 0x40 | 1 << 9 | 7 << 12, 52, NST_NO_PASID, false, 0, UINT64_MAX },
		{ 0x40 | 1 << 11 | 0xfffffULL << 12, 0x8000000000001000 | 51, 0xfffff, false, 1ULL << 63,
		  UINT64_MAX },
	};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(rig_command(rig, rows[i].qw0 | (uint64_t)RIG_SID << 32, rows[i].qw1),
				 0);
		assert_int_equal(rig->num_ats, i + 1);
		assert_int_equal(rig->ats.sid, RIG_SID);
		assert_int_equal(rig->ats.pasid, rows[i].pasid);
		assert_int_equal(rig->ats.global, rows[i].global);
		assert_int_equal(rig->ats.first, rows[i].first);
		assert_int_equal(rig->ats.last, rows[i].last);
	}
	assert_int_equal(rig_command(rig, 0x40 | 0x10000ULL << 32, 0), 0);	/* no such stream */
	assert_int_equal(rig->num_ats, ARRAY_SIZE(rows));
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(commands_remove_what_they_name),
		TEST(random_commands_remove_what_they_name),
		TEST(commands_that_are_illegal),
		TEST(an_unmapped_page_is_used_until_flushed),
		TEST(a_large_leaf_is_one_entry),
		TEST(a_leaf_that_the_second_stage_cuts),
		TEST(global_pages_serve_every_asid),
		TEST(the_leaf_bit_keeps_tables),
		TEST(swaps_at_any_level_are_unseen_with_the_leaf_bit),
		TEST(a_new_entry_does_not_flush),
		TEST(changes_of_the_second_stage),
		TEST(the_first_write_makes_dirty_though_a_read_is_cached),
		TEST(one_invalidation_is_lost_on_request),
		TEST(invalidation_requests_reach_the_device),
	};

	return cmocka_run_group_tests_name("smmu_hw_cache", tests, NULL, NULL);
}
