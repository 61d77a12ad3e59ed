// SPDX-License-Identifier: BSD-3-Clause
/*
 * The Arm stage 2 walker over hostile tables. Input: struct request, then struct poke: what the
 * guest put into PAGES pages of memory. The oracle of the unit test walks the same; ASan guards the
 * ends of the memory. What is no legal first level must be known as such.
 */
#include "../unit/pagetable/naive_arm_s2_walk.h"

#include "pagetable/arm_s2.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { PAGES = 288, SIZE = PAGES * 4096 };	/* 16 tables of 64 KiB, and two more */
/* flags: write, AFFD, protected */
struct request { le64 ipa, ttb; uint8_t flags, granule, sl0, tsz, out_bits; };
struct poke { uint8_t slot[4], entry[8]; };

static inline const uint64_t *slot_at(void *words, uint64_t address)
{
	assert(address % 8 == 0);
	return address < SIZE ? &((const uint64_t *)words)[address / 8] : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t *words = calloc(1, SIZE);
	struct naive_arm_memory oracle = { (uint8_t *)words, PAGES, NULL, NULL };
	struct request r = { 0 };
	struct arm_s2_leaf leaf = { 0 };
	struct poke poke;

	memcpy(&r, data, size < sizeof(r) ? size : sizeof(r));
	for (size_t at = sizeof(r); at + sizeof(poke) <= size; at += sizeof(poke)) {
		memcpy(&poke, data + at, sizeof(poke));
		words[le_load(poke.slot, 4) % (SIZE / 8)] = htole64(le_load(poke.entry, 8));
	}
	struct naive_arm_s2_request q = { le64_get(r.ipa), le64_get(r.ttb) & 0xffffffffffff,
		4 << r.granule % 3 * 2, r.sl0 % 4, 16 + r.tsz % 24, 12 + r.out_bits % 37,
		r.flags & 1, r.flags & 2, r.flags & 4 };
	const unsigned int tsz = (unsigned int)q.tsz, lg2 = 12 + 2 * (r.granule % 3);
	unsigned int level;
	bool legal = arm_s2_top_level(lg2, (unsigned int)q.sl0, &level) &&
		     arm_s2_size_is_legal(lg2, level, tsz);

	assert(legal == naive_arm_s2_is_legal(q.granule_kb, q.sl0, 64 - q.tsz));
	if (legal) {
		struct naive_arm_s2_result want = naive_arm_s2_walk(&oracle, &q);
		struct arm_s2_request req = {
			{ arm_s2_top_table(q.ttb, lg2, level, tsz), lg2, tsz, level }, q.ipa,
			UINT64_MAX << q.out_bits, q.write, q.affd, q.protected };

		assert((int)arm_s2_walk(&req, slot_at, words, &leaf) == want.fault);
		assert(want.fault != 0x0b || leaf.descriptor == want.descriptor);
		if (!want.fault) {
			assert(leaf.address == want.page && (int)leaf.page_lg2 == want.page_bits);
			assert(leaf.readable == want.read && leaf.writable == want.write);
			assert(!(leaf.address & req.too_high));
		}
	}
	free(words);
	return 0;
}
