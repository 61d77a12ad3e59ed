// SPDX-License-Identifier: BSD-3-Clause
/*
 * Dirty tracking of hardware page tables: SET_DIRTY_TRACKING and GET_DIRTY_BITMAP, with
 * devices that write through the table itself and through a first stage on it. Expected
 * results: traces of Linux 7.2; bits are compared one by one.
 */
#include "rig.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define NO_CLEAR IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR
#define BASE 0x40000000ULL /* where the tests map */
#define PAGES 600

static int set_dirty(struct rig *rig, uint32_t id, uint32_t flags)
{
	struct iommu_hwpt_set_dirty_tracking cmd = {
		.size = sizeof(cmd), .flags = flags, .hwpt_id = id, .__reserved = 7
	};

	return iommufd(rig, IOMMU_HWPT_SET_DIRTY_TRACKING, &cmd); /* reserved: nobody looks */
}

static int get_dirty(struct rig *rig, uint32_t id, uint32_t flags, uint64_t iova, uint64_t length,
		     uint64_t page_size, void *bitmap)
{
	struct iommu_hwpt_get_dirty_bitmap cmd = { .size = sizeof(cmd),
						   .hwpt_id = id,
						   .flags = flags,
						   .iova = iova,
						   .length = length,
						   .page_size = page_size,
						   .data = (uintptr_t)bitmap };

	return iommufd(rig, IOMMU_HWPT_GET_DIRTY_BITMAP, &cmd);
}

static uint8_t *map_memory(struct rig *rig, uint32_t ioas, uint64_t iova, uint64_t pages)
{
	uint8_t *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	ok(ioas_map(rig, ioas, p, pages * PAGE, iova, RW));
	return p;
}

/* A domain that tracks, with PAGES pages at BASE, the device attached and at work. */
static uint32_t tracked(struct rig *rig, uint32_t *ioas, uint8_t **memory)
{
	uint32_t hwpt;

	*ioas = ioas_alloc(rig);
	*memory = map_memory(rig, *ioas, BASE, PAGES);
	ok(hwpt_alloc(rig, rig->devid, *ioas, DIRTY, &hwpt));
	ok(attach_id(rig, hwpt));
	enable_bus_master(rig);
	return hwpt;
}

/* Exactly the pages @n... of BASE are dirty; reads without clearing. */
static void expect_pages(struct rig *rig, uint32_t hwpt, uint32_t flags, size_t count,
			 const unsigned int *pages)
{
	uint8_t bitmap[PAGES / 8 + 1] = { 0 }, want[PAGES / 8 + 1] = { 0 };

	for (size_t i = 0; i < count; i++)
		want[pages[i] / 8] |= (uint8_t)(1 << pages[i] % 8);
	ok(get_dirty(rig, hwpt, flags, BASE, PAGES * PAGE, PAGE, bitmap));
	assert_memory_equal(bitmap, want, sizeof(want));
}

#define EXPECT(flags, ...)                                                                       \
	do {                                                                                     \
		const unsigned int pages__[] = { __VA_ARGS__ };                                  \
		expect_pages(rig, hwpt, (flags), sizeof(pages__) / sizeof(pages__[0]), pages__); \
	} while (0)
#define EXPECT_NONE() expect_pages(rig, hwpt, 0, 0, NULL)

static void write_page(struct rig *rig, unsigned int page)
{
	ok(dma_write(rig, NO_PASID, BASE + page * PAGE + 16 * (page % 200), page));
}

/* The lines of probe-mock.txt under "dirty", in their order, and what belongs between. */
static void results_of_the_kernel(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas, hwpt, plain, parent, nested;
	uint8_t *memory, bitmap[512];
	uint64_t length = UINT64_MAX;

	hwpt = tracked(rig, &ioas, &memory);
	ok(hwpt_alloc(rig, rig->devid, ioas, 0, &plain));
	ok(hwpt_alloc(rig, rig->devid, ioas, NEST | DIRTY | PASID, &parent));
	ok(hwpt_alloc_nested(rig, parent, 0, 0, &nested));
	err(EOPNOTSUPP, set_dirty(rig, plain, 1));
	err(EOPNOTSUPP, set_dirty(rig, plain, 0));
	err(EOPNOTSUPP, set_dirty(rig, hwpt, 2));
	err(EOPNOTSUPP, set_dirty(rig, 99, 3)); /* flags first */
	err(ENOENT, set_dirty(rig, 99, 1));
	err(ENOENT, set_dirty(rig, nested, 1));
	err(ENOENT, set_dirty(rig, ioas, 1));
	ok(get_dirty(rig, hwpt, 0, BASE, PAGE, PAGE, bitmap)); /* before it is on */
	ok(set_dirty(rig, hwpt, 1));
	ok(set_dirty(rig, hwpt, 1));
	err(EOPNOTSUPP, get_dirty(rig, hwpt, 2, BASE, PAGE, PAGE, bitmap));
	err(EOPNOTSUPP, get_dirty(rig, 99, 2, BASE, PAGE, PAGE, bitmap));
	err(ENOENT, get_dirty(rig, ioas, 0, BASE, 0, PAGE, bitmap));
	err(ENOENT, get_dirty(rig, nested, 0, BASE, PAGE, PAGE, bitmap));
	err(EINVAL, get_dirty(rig, hwpt, 0, BASE, PAGE, 0, bitmap));
	err(EINVAL, get_dirty(rig, hwpt, 0, 0, 0x3000, 0x3000, bitmap));
	err(EOVERFLOW, get_dirty(rig, hwpt, 0, BASE, 0, PAGE, bitmap));
	err(EOVERFLOW, get_dirty(rig, plain, 0, BASE, 0, PAGE, bitmap));
	err(EINVAL, get_dirty(rig, hwpt, 0, BASE + 1, PAGE, PAGE, bitmap));
	err(EINVAL, get_dirty(rig, hwpt, 0, BASE, PAGE + 1, 1, bitmap));
	err(EINVAL, get_dirty(rig, hwpt, 0, BASE, PAGE, 2 * PAGE, bitmap));
	err(EOVERFLOW, get_dirty(rig, hwpt, 0, UINT64_MAX - PAGE + 1, 2 * PAGE, PAGE, bitmap));
	ok(get_dirty(rig, hwpt, 0, UINT64_MAX - PAGE + 1, PAGE, PAGE, bitmap));
	ok(get_dirty(rig, hwpt, 0, 0x10000000, PAGE, PAGE, bitmap)); /* nothing is there */
	write_page(rig, 3);
	ok(get_dirty(rig, hwpt, 0, BASE, PAGES * PAGE, PAGE, (void *)BAD_POINTER));
	EXPECT_NONE(); /* lost, as there */
	err(EOPNOTSUPP, get_dirty(rig, plain, 0, BASE, PAGE, PAGE, bitmap));
	ok(get_dirty(rig, hwpt, 0, BASE, PAGE, PAGE, bitmap));
	ok(set_dirty(rig, hwpt, 0));
	ok(set_dirty(rig, hwpt, 0));
	write_page(rig, 4);
	ok(set_dirty(rig, hwpt, 1));
	write_page(rig, 5);
	ok(ioas_unmap(rig, ioas, 0, &length)); /* what is dirty does not hold */
	ok(get_dirty(rig, hwpt, 0, BASE, PAGES * PAGE, PAGE, bitmap));
	munmap(memory, PAGES * PAGE);
}

static void bits(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas, hwpt;
	uint8_t *memory;
	uint64_t value;

	hwpt = tracked(rig, &ioas, &memory);
	write_page(rig, 1);
	EXPECT_NONE(); /* it was not on */
	ok(set_dirty(rig, hwpt, 1));
	EXPECT_NONE();
	for (unsigned int page = 0; page < PAGES; page++)
		ok(dma_read(rig, NO_PASID, BASE + page * PAGE, &value));
	EXPECT_NONE();
	write_page(rig, 7);
	write_page(rig, 63);
	write_page(rig, 64);
	write_page(rig, PAGES - 1);
	EXPECT(NO_CLEAR, 7, 63, 64, PAGES - 1);
	EXPECT(NO_CLEAR, 7, 63, 64, PAGES - 1);
	EXPECT(0, 7, 63, 64, PAGES - 1);
	EXPECT_NONE();
	ok(dma_write(rig, NO_PASID, BASE + 9 * PAGE - 4, 0)); /* over the border */
	write_page(rig, 7);
	EXPECT(0, 7, 8, 9);
	write_page(rig, 11);
	ok(set_dirty(rig, hwpt, 1)); /* again: begins anew */
	EXPECT_NONE();
	write_page(rig, 12);
	ok(set_dirty(rig, hwpt, 0)); /* off: what is known stays */
	write_page(rig, 13);
	EXPECT(NO_CLEAR, 12);
	ok(set_dirty(rig, hwpt, 1));
	EXPECT_NONE();
	munmap(memory, PAGES * PAGE);
}

/* A part is read and cleared, at any page size; nothing beside its bits is touched. */
static void parts_and_page_sizes(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas, hwpt;
	uint8_t *memory, *bitmap = malloc(2048);

	hwpt = tracked(rig, &ioas, &memory);
	ok(set_dirty(rig, hwpt, 1));
	for (unsigned int page = 10; page < 20; page++)
		write_page(rig, page);
	memset(bitmap, 0, 2048);
	ok(get_dirty(rig, hwpt, 0, BASE + 12 * PAGE, 5 * PAGE, PAGE, bitmap + 1));
	assert_int_equal(bitmap[1], 0x1f);
	assert_int_equal(bitmap[0] | bitmap[2], 0);
	EXPECT(NO_CLEAR, 10, 11, 17, 18, 19);

	/* 16 KiB a bit: pages 10-11, 16-19; bits that are there stay */
	memset(bitmap, 0, 2048);
	bitmap[0] = 0x81;
	ok(get_dirty(rig, hwpt, NO_CLEAR, BASE, 32 * PAGE, 4 * PAGE, bitmap));
	assert_int_equal(bitmap[0], 0x81 | 1 << 2 | 1 << 4);
	assert_int_equal(bitmap[1], 0);
	/* one bit for all, of a range that begins and ends where nothing is mapped */
	memset(bitmap, 0, 2048);
	ok(get_dirty(rig, hwpt, NO_CLEAR, 0, 1ULL << 40, 1ULL << 40, bitmap));
	assert_int_equal(bitmap[0], 1);
	/* 1 KiB a bit: four for a page */
	memset(bitmap, 0, 2048);
	ok(get_dirty(rig, hwpt, NO_CLEAR, BASE + 10 * PAGE, 10 * PAGE, 1024, bitmap));
	assert_int_equal(bitmap[0], 0xff);
	assert_int_equal(bitmap[1] | bitmap[2], 0);
	assert_int_equal(bitmap[3], 0xf0);
	assert_int_equal(bitmap[4], 0xff);
	/* a size that is no power of two but divides: counts as its lowest bit, as there */
	memset(bitmap, 0, 2048);
	ok(get_dirty(rig, hwpt, 0, 0x90000000, 0x9000, 0x3000, bitmap));
	EXPECT(0, 10, 11, 17, 18, 19);
	free(bitmap);
	munmap(memory, PAGES * PAGE);
}

/* A long bitmap, unaligned, with bits far from each other: no byte between is touched. */
static void long_bitmap(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas, hwpt;
	const uint64_t pages = 300000;
	uint8_t *memory, *first, *bitmap = malloc(pages / 8 + 64), *want = malloc(pages / 8 + 64);
	uint64_t seed = 5;

	hwpt = tracked(rig, &ioas, &first);
	memory = map_memory(rig, ioas, BASE + 1024 * PAGE, pages - 1024);
	ok(set_dirty(rig, hwpt, 1));
	for (int round = 0; round < 3; round++) {
		for (uint64_t i = 0; i < pages / 8 + 64; i++)
			bitmap[i] = want[i] = (uint8_t)(test_random(&seed) & test_random(&seed));
		for (int i = 0; i < 300; i++) {
			uint64_t page = i % 3 ? test_random(&seed) % (pages - 1024) + 1024
					      : test_random(&seed) % PAGES;

			if (i % 7 == 0)
				page = pages - 1 - (uint64_t)i;
			ok(dma_write(rig, NO_PASID, BASE + page * PAGE, 1));
			want[3 + page / 8] |= (uint8_t)(1 << page % 8);
		}
		ok(get_dirty(rig, hwpt, 0, BASE, pages * PAGE, PAGE, bitmap + 3));
		assert_memory_equal(bitmap, want, pages / 8 + 64);
	}
	EXPECT_NONE();
	munmap(memory, (pages - 1024) * PAGE);
	munmap(first, PAGES * PAGE);
	free(bitmap);
	free(want);
}

/* Maps come and go while it is on; a new one is clean. */
static void maps_change(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas, hwpt;
	uint8_t *memory, *more, one = 0;
	uint64_t length = PAGE;

	hwpt = tracked(rig, &ioas, &memory);
	ok(set_dirty(rig, hwpt, 1));
	more = map_memory(rig, ioas, BASE - PAGE, 1);
	ok(dma_write(rig, NO_PASID, BASE - 4, 1)); /* into both */
	EXPECT(NO_CLEAR, 0);
	ok(get_dirty(rig, hwpt, NO_CLEAR, BASE - PAGE, PAGE, PAGE, &one));
	assert_int_equal(one, 1);
	ok(ioas_unmap(rig, ioas, BASE - PAGE, &length));
	one = 0;
	ok(get_dirty(rig, hwpt, NO_CLEAR, BASE - PAGE, PAGE, PAGE, &one));
	assert_int_equal(one, 0);
	ok(ioas_map(rig, ioas, more, PAGE, BASE - PAGE, RW));
	ok(get_dirty(rig, hwpt, NO_CLEAR, BASE - PAGE, PAGE, PAGE, &one));
	assert_int_equal(one, 0);
	EXPECT(0, 0);
	munmap(more, PAGE);
	munmap(memory, PAGES * PAGE);
}

/* Each domain records what went through it, also two of one address space. */
static void domains_are_separate(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas, hwpt, other;
	uint8_t *memory;

	hwpt = tracked(rig, &ioas, &memory);
	ok(hwpt_alloc(rig, rig->devid, ioas, DIRTY | PASID, &other));
	ok(set_dirty(rig, hwpt, 1));
	ok(set_dirty(rig, other, 1));
	write_page(rig, 1);
	ok(attach_id(rig, other));
	write_page(rig, 2);
	EXPECT(NO_CLEAR, 1);
	expect_pages(rig, other, 0, 1, &(unsigned int){ 2 });
	ok(attach_pasid(rig, 5, other));
	ok(dma_write(rig, 5, BASE + 3 * PAGE, 1));
	expect_pages(rig, other, 0, 1, &(unsigned int){ 3 });
	ok(detach_pasid(rig, 5));
	ok(detach(rig));
	EXPECT(0, 1); /* also of one that nothing is attached to */
	ok(destroy(rig, other));
	ok(destroy(rig, hwpt));
	ok(destroy(rig, ioas));
	munmap(memory, PAGES * PAGE);
}

/* Through a first stage: the page it leads to, and the tables whose bits were set. */
static void through_a_first_stage(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), parent, nested;
	uint64_t bitmap[4], root, value;
	const uint64_t iova = 0x7000000000, all = 256 * PAGE;
	struct guest guest;

	guest_init(&guest, all);
	root = guest_table(&guest);
	guest_map(&guest, root, iova, 2 * PAGE);
	guest_map(&guest, root, iova + PAGE, 3 * PAGE);
	assert_int_equal(guest.next_table, 252 * PAGE); /* four: bits 60 to 63 of bitmap[3] */
	ok(ioas_map(rig, ioas, guest.memory, all, 0, RW));
	ok(hwpt_alloc(rig, rig->devid, ioas, NEST | DIRTY | PASID, &parent));
	ok(hwpt_alloc_nested(rig, parent, PASID, root, &nested));
	ok(attach_id(rig, nested));
	ok(attach_pasid(rig, 7, nested));
	enable_bus_master(rig);
#define READ(flags) \
	(memset(bitmap, 0, sizeof(bitmap)), get_dirty(rig, parent, (flags), 0, all, PAGE, bitmap))
	/* sets A, and D of the other page, which is cached for writing, before it is on */
	ok(dma_read(rig, NO_PASID, iova, &value));
	guest_map(&guest, root, iova + 2 * PAGE, 5 * PAGE);
	ok(dma_write(rig, NO_PASID, iova + 2 * PAGE, 1));
	ok(set_dirty(rig, parent, 1));
	ok(dma_write(rig, NO_PASID, iova + 2 * PAGE, 1));
	ok(READ(0));
	assert_int_equal(bitmap[0], 1 << 5);
	assert_int_equal(bitmap[3], 0);
	ok(dma_read(rig, NO_PASID, iova, &value));
	ok(READ(0));
	assert_int_equal(bitmap[0] | bitmap[3], 0);
	ok(dma_read(rig, NO_PASID, iova + PAGE, &value)); /* A in the last table */
	ok(READ(0));
	assert_int_equal(bitmap[0], 0);
	assert_int_equal(bitmap[3], 1ULL << 60);
	ok(dma_write(rig, NO_PASID, iova, 1)); /* D in the last table */
	ok(READ(0));
	assert_int_equal(bitmap[0], 1 << 2);
	assert_int_equal(bitmap[3], 1ULL << 60);
	for (int i = 0; i < 3; i++) { /* by a hit, or not */
		ok(dma_write(rig, i & 1 ? 7 : NO_PASID, iova, 1));
		ok(dma_write(rig, i & 1 ? 7 : NO_PASID, iova, 1));
		ok(READ(0));
		assert_int_equal(bitmap[0], 1 << 2);
		assert_int_equal(bitmap[3], 0);
	}
	/* the guest builds all anew */
	guest_map(&guest, root, iova + (1ULL << 39), 4 * PAGE);
	ok(dma_write(rig, 7, iova + (1ULL << 39), 1));
	ok(READ(0));
	assert_int_equal(bitmap[0], 1 << 4);
	assert_int_equal(bitmap[3], (1ULL << 63) | (7ULL << 57)); /* the top and three new ones */
	err(EFAULT, dma_write(rig, 7, iova + 3 * PAGE, 1));
	ok(READ(0));
	assert_int_equal(bitmap[0] | bitmap[3], 0);
	nst_host_destroy(rig->host);
	rig->host = NULL;
	guest_fini(&guest);
}

/* --- a bitmap thread beside devices at work --------------------------------------------- */

struct watcher {
	struct rig *rig;
	uint32_t hwpt;
	atomic_bool stop;
	uint8_t seen[PAGES / 8];
	unsigned int reads;
};

static void *watch(void *opaque)
{
	struct watcher *w = opaque;

	for (; !atomic_load(&w->stop); w->reads++) {
		uint64_t bitmap[PAGES / 64 + 1] = { 0 };

		ok(get_dirty(w->rig, w->hwpt, 0, BASE, PAGES * PAGE, PAGE, bitmap));
		for (size_t i = 0; i < sizeof(w->seen); i++)
			w->seen[i] |= ((uint8_t *)bitmap)[i];
	}
	return NULL;
}

/* Each page is written once, at some time: between two reads of the bitmap, none is lost. */
static void bitmap_while_devices_write(void **state)
{
	struct rig *rig = *state;
	struct watcher w = { .rig = rig };
	uint32_t ioas;
	uint8_t *memory;
	pthread_t thread;

	w.hwpt = tracked(rig, &ioas, &memory);
	ok(set_dirty(rig, w.hwpt, 1));
	assert_int_equal(pthread_create(&thread, NULL, watch, &w), 0);
	for (unsigned int page = 0; page < PAGES; page++)
		write_page(rig, page * 7 % PAGES);
	atomic_store(&w.stop, true);
	pthread_join(thread, NULL);
	ok(get_dirty(rig, w.hwpt, 0, BASE, PAGES * PAGE, PAGE, w.seen));
	for (size_t i = 0; i < sizeof(w.seen); i++)
		assert_int_equal(w.seen[i], 0xff);
	munmap(memory, PAGES * PAGE);
}

static const struct suite_case cases[] = {
	TEST(results_of_the_kernel, NEED_VTD | NEED_NESTING | NEED_DIRTY | NEED_DMA),
	TEST(bits, NEED_DIRTY | NEED_DMA_READ),
	TEST(parts_and_page_sizes, NEED_DIRTY | NEED_DMA),
	TEST(long_bitmap, NEED_DIRTY | NEED_DMA),
	TEST(maps_change, NEED_DIRTY | NEED_OWN_DEVICE),
	TEST(domains_are_separate, NEED_DIRTY | NEED_PASID | NEED_PASID_DMA),
	TEST(through_a_first_stage,
	     NEED_VTD | NEED_NESTING | NEED_DIRTY | NEED_PASID | NEED_OWN_DEVICE | NEED_IN_PROCESS),
	TEST(bitmap_while_devices_write, NEED_DIRTY | NEED_DMA),
};
SUITE_GROUP(dirty, cases)
