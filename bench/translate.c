// SPDX-License-Identifier: BSD-3-Clause
/*
 * nst_viommu_translate() of a VT-d unit: a hit in its IOTLB, a walk of four levels, and a walk of
 * four on four. A quarter of a million pages lead to a few pages of memory, so that a miss is one
 * of the IOTLB; they are asked for in turn, or in an order that the processor cannot foresee.
 *
 * The floor of a walk is a pointer chase through the very same entries: each address of a table
 * comes out of the entry before, and nothing is checked. That of a hit is a chase of three, which
 * an entry of the context cache, a bucket and an entry of the IOTLB are.
 */
#include "bench.h"

#include "base/bits.h"

#include <nestor/viommu.h>

#include <err.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PAGE 4096ULL
#define MEMORY_BYTES (64ULL << 20)
#define ADDRESS GENMASK64(51, 12)
#define IOVA_BASE (1ULL << 30)
#define IOVA_PAGES (256U << 10)
#define HIT_PAGES 16U
#define DATA_PAGES 64U
#define DATA_AT 0x100000ULL
#define ROOT_AT 0x1000ULL
#define CONTEXT_AT 0x2000ULL
#define QUEUE_AT 0x4000ULL
#define PASID_DIRS_AT 0x8000ULL
#define PASIDS_AT 0x10000ULL
#define TABLES_AT (1ULL << 20 << 3)
#define FS_ENTRY 0x67ULL /* present, writable, user, accessed, dirty */
#define SS_ENTRY 3ULL	 /* readable, writable */

enum { IOTLB_REG = 0xf08, GCMD = 0x18, RTADDR = 0x20, IQT = 0x88, IQA = 0x90 };
#define GCMD_TE (1u << 31)
#define GCMD_SRTP (1u << 30)
#define GCMD_QIE (1u << 26)

enum { PLAIN_RID = 8, NESTED_RID = 16 };

struct bench {
	struct nst_vm *vm;
	struct nst_viommu *viommu;
	uint8_t *memory;
	uint64_t next_table, root, second_root;
	uint32_t next_page;
	void *ring[HIT_PAGES]; /* of pointers, each to the next */
	uint32_t *order;       /* of the pages, to a reader's eye at random */
};

static struct bench bench;

static uint64_t *table_at(struct bench *b, uint64_t gpa)
{
	return (uint64_t *)(b->memory + gpa);
}

static uint64_t new_table(struct bench *b)
{
	b->next_table += PAGE;
	return b->next_table;
}

static void map_page(struct bench *b, uint64_t root, uint64_t iova, uint64_t entry, uint64_t bits)
{
	uint64_t *slot = NULL, table = root;

	for (unsigned int level = 4; level >= 1; level--) {
		slot = &table_at(b, table)[iova >> (12 + 9 * (level - 1)) & 511];
		if (level > 1 && !*slot)
			*slot = new_table(b) | bits;
		table = *slot & ADDRESS;
	}
	*slot = entry;
}

static uint64_t data_of(unsigned int page)
{
	return DATA_AT + page % DATA_PAGES * PAGE;
}

/* A device with a domain of its own; @pgtt 1: first stage, 3: nested. */
static void add_device(struct bench *b, nst_rid rid, unsigned int index, uint64_t pgtt)
{
	uint64_t dir = PASID_DIRS_AT + index * PAGE, table = PASIDS_AT + index * PAGE;
	uint64_t *context = table_at(b, CONTEXT_AT) + 4 * rid, *entry = table_at(b, table);

	context[0] = dir | 1;
	*table_at(b, dir) = table | 1;
	entry[0] = 1 | 2 << 2 | pgtt << 6 | (pgtt == 3 ? b->second_root : 0);
	entry[1] = index + 1;
	entry[2] = b->root;
}

static void make_tables(struct bench *b)
{
	b->next_table = TABLES_AT;
	b->root = new_table(b);
	b->second_root = new_table(b);
	for (unsigned int page = 0; page < IOVA_PAGES; page++)
		map_page(b, b->root, IOVA_BASE + page * PAGE, data_of(page) | FS_ENTRY, FS_ENTRY);
	for (uint64_t at = 0; at < MEMORY_BYTES; at += PAGE)
		map_page(b, b->second_root, at, at | SS_ENTRY, SS_ENTRY);
	if (b->next_table >= MEMORY_BYTES)
		errx(1, "too little memory for the tables");
	*table_at(b, ROOT_AT) = CONTEXT_AT | 1;
	add_device(b, PLAIN_RID, 0, 1);
	add_device(b, NESTED_RID, 1, 3);
}

static void no_msi(void *opaque, uint64_t address, uint32_t data)
{
}

static void make_unit(struct bench *b)
{
	struct nst_vtd_config config = { .features = NST_VTD_NESTED, .send_msi = no_msi };

	if (nst_vm_create(NULL, NULL, &b->vm))
		errx(1, "no VM");
	if (nst_vm_map(b->vm, (nst_gpa){ 0 }, MEMORY_BYTES, b->memory, true))
		errx(1, "no memory in the VM");
	config.vm = b->vm;
	if (nst_vtd_create(&config, &b->viommu))
		errx(1, "no unit");
	nst_viommu_mmio_write(b->viommu, RTADDR, 8, ROOT_AT | 1 << 10);
	nst_viommu_mmio_write(b->viommu, GCMD, 4, GCMD_SRTP);
	nst_viommu_mmio_write(b->viommu, IQA, 8, QUEUE_AT | 1 << 11);
	nst_viommu_mmio_write(b->viommu, GCMD, 4, GCMD_QIE);
	nst_viommu_mmio_write(b->viommu, GCMD, 4, GCMD_QIE | GCMD_TE);
}

/* Every page once, by a generator of full period: x -> 5 x + 3, modulo a power of two. */
static void make_order(struct bench *b)
{
	uint32_t x = 1;

	b->order = malloc(IOVA_PAGES * sizeof(*b->order));
	if (!b->order)
		errx(1, "no memory");
	for (unsigned int i = 0; i < IOVA_PAGES; i++) {
		x = (5 * x + 3) % IOVA_PAGES;
		b->order[i] = x;
	}
	for (unsigned int i = 0; i < HIT_PAGES; i++)
		b->ring[i] = &b->ring[(i + 1) % HIT_PAGES];
}

static void prepare(void)
{
	struct bench *b = &bench;

	b->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	if (b->memory == MAP_FAILED)
		err(1, "mmap");
	make_tables(b);
	make_unit(b);
	make_order(b);
}

/* --- rows ------------------------------------------------------------------------------- */

static inline bool translate(struct bench *b, nst_rid rid, unsigned int page)
{
	const struct nst_translate_request req = {
		.rid = rid,
		.pasid = NST_NO_PASID,
		.iova = { IOVA_BASE + page * PAGE + 8 },
		.write = true,
	};
	struct nst_translation to;

	return !nst_viommu_translate(b->viommu, &req, &to) && to.gpa.v == data_of(page) + 8 &&
	       to.size == PAGE - 8 && to.write;
}

static uint64_t walks(struct bench *b)
{
	struct nst_viommu_stats stats;

	nst_viommu_get_stats(b->viommu, &stats);
	return stats.walks;
}

static bool hits(void *opaque, unsigned int operations)
{
	struct bench *b = opaque;
	uint64_t before = walks(b);

	for (unsigned int i = 0; i < operations; i++)
		if (!translate(b, PLAIN_RID, i % HIT_PAGES))
			return false;
	return walks(b) - before <= (uint64_t)2 * HIT_PAGES;
}

static bool chase_hits(void *opaque, unsigned int operations)
{
	struct bench *b = opaque;
	void **at = (void **)b->ring[0];

	for (unsigned int i = 0; i < operations; i++)
		for (unsigned int n = 0; n < 3; n++)
			at = *(void **volatile *)at;
	return at != NULL;
}

static unsigned int next_page(struct bench *b)
{
	b->next_page = (b->next_page + 1) % IOVA_PAGES;
	return b->next_page;
}

static bool misses(struct bench *b, nst_rid rid, unsigned int operations, bool in_turn)
{
	uint64_t before = walks(b);

	/* what other rows have left there could be asked for again */
	nst_viommu_mmio_write(b->viommu, IOTLB_REG, 8, 1ULL << 63 | 1ULL << 60);

	for (unsigned int i = 0; i < operations; i++) {
		unsigned int page = next_page(b);

		if (!translate(b, rid, in_turn ? page : b->order[page]))
			return false;
	}
	return walks(b) - before >= operations - operations / 50;
}

static bool misses_in_turn(void *opaque, unsigned int operations)
{
	return misses(opaque, PLAIN_RID, operations, true);
}

static bool misses_at_random(void *opaque, unsigned int operations)
{
	return misses(opaque, PLAIN_RID, operations, false);
}

static bool nested_misses(void *opaque, unsigned int operations)
{
	return misses(opaque, NESTED_RID, operations, true);
}

static bool nested_misses_at_random(void *opaque, unsigned int operations)
{
	return misses(opaque, NESTED_RID, operations, false);
}

static inline uint64_t chase(struct bench *b, uint64_t root, uint64_t address)
{
	uint64_t table = root;

	for (int shift = 39; shift >= 12; shift -= 9)
		table = table_at(b, table)[address >> shift & 511] & ADDRESS;
	return table;
}

static inline uint64_t chase_nested(struct bench *b, uint64_t address)
{
	uint64_t table = b->root;

	for (int shift = 39; shift >= 12; shift -= 9) {
		table = chase(b, b->second_root, table);
		table = table_at(b, table)[address >> shift & 511] & ADDRESS;
	}
	return chase(b, b->second_root, table);
}

static bool chases(struct bench *b, unsigned int operations, bool nested, bool in_turn)
{
	uint64_t carry = 0;

	for (unsigned int i = 0; i < operations; i++) {
		unsigned int page = next_page(b);
		uint64_t iova, at;

		page = in_turn ? page : b->order[page];
		/* one after the other, as translations are: a walk begins when the last has ended
		 */
		iova = IOVA_BASE + page * PAGE + (carry & 1);
		at = nested ? chase_nested(b, iova) : chase(b, b->root, iova);
		if (at != data_of(page))
			return false;
		carry = at;
		__asm__ volatile("" : "+r"(carry));
	}
	return true;
}

static bool chase_in_turn(void *opaque, unsigned int operations)
{
	return chases(opaque, operations, false, true);
}

static bool chase_at_random(void *opaque, unsigned int operations)
{
	return chases(opaque, operations, false, false);
}

static bool nested_chase(void *opaque, unsigned int operations)
{
	return chases(opaque, operations, true, true);
}

static bool nested_chase_at_random(void *opaque, unsigned int operations)
{
	return chases(opaque, operations, true, false);
}

static const struct bench_row rows[] = {
	{ .name = "translate: hit", .run = hits, .floor = chase_hits, .opaque = &bench },
	{ .name = "translate: hit, two threads", .run = hits, .opaque = &bench, .threads = 2 },
	{ .name = "translate: miss, 4 levels, pages in turn",
	  .run = misses_in_turn,
	  .floor = chase_in_turn,
	  .opaque = &bench },
	{ .name = "translate: miss, 4 levels, pages at random",
	  .run = misses_at_random,
	  .floor = chase_at_random,
	  .opaque = &bench },
	{ .name = "translate: miss, nested 4 on 4, pages in turn",
	  .run = nested_misses,
	  .floor = nested_chase,
	  .opaque = &bench },
	{ .name = "translate: miss, nested 4 on 4, pages at random",
	  .run = nested_misses_at_random,
	  .floor = nested_chase_at_random,
	  .opaque = &bench },
};

const struct bench_group bench_translate = { prepare, rows, ARRAY_SIZE(rows) };
