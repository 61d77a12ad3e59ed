// SPDX-License-Identifier: BSD-3-Clause
/*
 * The first-stage walker over hostile tables. Input: struct request, then struct poke: what the
 * guest put into PAGES pages of memory. The oracle of the unit test walks a copy; ASan guards the
 * ends of the memory, a table that loops would be a timeout.
 */
#include "../unit/pagetable/naive_walk.h"

#include "pagetable/vtd_fs.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { PAGES = 8, SIZE = PAGES * 4096 };
/* flags: write, supervisor, write-protect, extended accessed, peek, five levels */
struct request { le64 iova; uint8_t flags, gpa_bits, root, readonly; };
struct poke { uint8_t slot[2], entry[8]; };
struct memory { uint64_t *words; bool readonly[PAGES]; };

static inline uint64_t *table_of(void *opaque, uint64_t address, bool *writable)
{
	struct memory *m = opaque;

	assert(address % 4096 == 0);
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
	struct vtd_fs_position top = { .writable = true, .user = true };
	struct naive_memory oracle = { copy, PAGES, m.readonly, NULL };
	struct vtd_fs_leaf leaf;
	struct naive_result want;
	struct request r = { 0 };
	struct poke poke;

	memcpy(&r, data, size < sizeof(r) ? size : sizeof(r));
	for (size_t at = sizeof(r); at + sizeof(poke) <= size; at += sizeof(poke)) {
		memcpy(&poke, data + at, sizeof(poke));
		m.words[le_load(poke.slot, 2) % (SIZE / 8)] = htole64(le_load(poke.entry, 8));
	}
	for (int i = 0; i < PAGES; i++)
		m.readonly[i] = r.readonly >> i & 1;
	memcpy(copy, m.words, SIZE), memcpy(before, m.words, SIZE);

	struct naive_request q = { le64_get(r.iova), r.flags & 32 ? 5 : 4, 12 + r.gpa_bits % 41,
		r.flags & 1, r.flags & 2, r.flags & 4, r.flags & 8, r.flags & 16 };
	struct vtd_fs_request req = {
		.iova = q.iova, .reserved = UINT64_MAX << q.gpa_bits, .levels = (unsigned int)q.levels,
		.write = q.write, .supervisor = q.supervisor, .write_protect = q.wp,
		.extended_accessed = q.ea, .peek = q.peek,
	};
	top.table = (uint64_t)(r.root % (PAGES + 1)) << 12;
	top.level = req.levels;
	want = naive_walk(&oracle, top.table, &q);
	assert((int)vtd_fs_walk(&req, top, table_of, &m, &leaf) == want.fault);
	assert(leaf.num_passed == (unsigned int)want.num_steps && leaf.num_passed < req.levels);
	if (!want.fault) {
		assert(leaf.address == want.page && (int)leaf.page_lg2 == want.page_bits);
		assert(leaf.writable == want.may_write && leaf.dirty == want.dirty);
		assert(!(leaf.address & req.reserved));
	}
	assert(!memcmp(m.words, copy, SIZE));
	for (size_t i = 0; i < SIZE / 8; i++) {	/* accessed and dirty appear, no more */
		uint64_t was = le_load(before + 8 * i, 8), now = le_load(copy + 8 * i, 8);

		assert((was ^ now) == (now & ~was) && !((was ^ now) & ~0x460ULL));
		assert(was == now || !(q.peek || m.readonly[i / 512]));
	}
	free(m.words), free(copy), free(before);
	return 0;
}
