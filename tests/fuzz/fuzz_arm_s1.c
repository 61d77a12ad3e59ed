// SPDX-License-Identifier: BSD-3-Clause
/*
 * The Arm stage 1 walker over hostile tables. Input: struct request, then struct poke: what the
 * guest put into PAGES pages of memory. The oracle of the unit test walks a copy; ASan guards the
 * ends of the memory, a table that loops would be a timeout.
 */
#include "../unit/pagetable/naive_arm_walk.h"

#include "pagetable/arm_s1.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { PAGES = 48, SIZE = PAGES * 4096 };	/* three tables of 64 KiB */
/* flags: write, privileged, HA, HD, AFFD, HAD, PAN, peek */
struct request { le64 va, ttb; uint8_t flags, granule, tsz, out_bits, tbi, readonly; };
struct poke { uint8_t slot[2], entry[8]; };
struct memory { uint64_t *words; bool readonly[PAGES]; };

static inline uint64_t *slot_at(void *opaque, uint64_t address, bool *writable)
{
	struct memory *m = opaque;

	assert(address % 8 == 0);
	if (address >= SIZE)
		return NULL;
	*writable = !m->readonly[address / 4096];
	return &m->words[address / 8];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct memory m = { .words = calloc(1, SIZE) };
	uint8_t *copy = malloc(SIZE), *before = malloc(SIZE);
	struct naive_arm_memory oracle = { copy, PAGES, m.readonly, NULL };
	struct request r = { 0 };
	struct arm_s1_leaf leaf;
	struct poke poke;

	memcpy(&r, data, size < sizeof(r) ? size : sizeof(r));
	for (size_t at = sizeof(r); at + sizeof(poke) <= size; at += sizeof(poke)) {
		memcpy(&poke, data + at, sizeof(poke));
		m.words[le_load(poke.slot, 2) % (SIZE / 8)] = htole64(le_load(poke.entry, 8));
	}
	for (int i = 0; i < PAGES; i++)
		m.readonly[i] = r.readonly >> i % 8 & 1;
	memcpy(copy, m.words, SIZE), memcpy(before, m.words, SIZE);
	struct naive_arm_request q = { le64_get(r.va), le64_get(r.ttb) & 0xffffffffffff,
		4 << r.granule % 3 * 2, 16 + r.tsz % 24, 12 + r.out_bits % 37, r.tbi & 1, r.flags & 1,
		r.flags & 2, r.flags & 4, r.flags & 8, r.flags & 16, r.flags & 32, r.flags & 64,
		r.flags & 128 };
	const unsigned int tsz = (unsigned int)q.tsz, lg2 = 12 + 2 * (r.granule % 3);
	struct arm_s1_request req = { q.va & UINT64_MAX >> tsz, UINT64_MAX << q.out_bits, lg2,
		q.write, q.privileged, q.ha, q.hd, q.affd, q.had, q.pan, q.peek };
	struct arm_s1_position top = { .table = arm_s1_top_table(q.ttb, lg2, tsz),
		.level = arm_s1_top_level(lg2, tsz) };

	assert(arm_s1_in_range(arm_s1_effective_va(q.va, q.tbi), tsz) ==
	       naive_arm_in_range(q.va, q.tsz, q.tbi));
	struct naive_arm_result want = naive_arm_walk(&oracle, &q);
	assert((int)arm_s1_walk(&req, top, slot_at, &m, &leaf) == want.fault);
	assert((int)leaf.num_passed == want.num_steps && leaf.descriptor == want.descriptor);
	if (!want.fault) {
		assert(leaf.address == want.page && (int)leaf.page_lg2 == want.page_bits);
		assert(!(leaf.address & req.too_high) && leaf.global == want.global);
		assert(leaf.rights == (unsigned int)(want.user_read | want.user_write << 1 |
						     want.priv_read << 2 | want.priv_write << 3));
	}
	for (size_t i = 0; i < SIZE / 8; i++) {	/* AF appears, AP[2] goes, no more */
		uint64_t was = le_load(before + 8 * i, 8), now = le64toh(m.words[i]);

		assert(now == le_load(copy + 8 * i, 8) && !((was ^ now) & ~0x480ULL));
		assert(was == now || !(q.peek || m.readonly[i / 512]));
		assert(!(was & ~now & 0x400) && !(now & ~was & 0x80));
	}
	free(m.words), free(copy), free(before);
	return 0;
}
