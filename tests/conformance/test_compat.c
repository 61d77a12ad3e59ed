// SPDX-License-Identifier: BSD-3-Clause
/*
 * The VFIO container calls that /dev/iommu answers for programs of the time before it:
 * GET_INFO with its capabilities, MAP_DMA, UNMAP_DMA, and what SET_IOMMU with the first
 * container type changes. Expected results: Linux 7.2 drivers/iommu/iommufd/vfio_compat.c.
 */
#include "rig.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define READ VFIO_DMA_MAP_FLAG_READ
#define WRITE VFIO_DMA_MAP_FLAG_WRITE
#define BASE 0x200000ULL

static void use_ioas(struct rig *rig, uint32_t id)
{
	struct iommu_vfio_ioas cmd = { .size = sizeof(cmd),
				       .op = IOMMU_VFIO_IOAS_SET,
				       .ioas_id = id };

	ok(iommufd(rig, IOMMU_VFIO_IOAS, &cmd));
}

static int set_iommu(struct rig *rig, unsigned long type)
{
	return iommufd(rig, VFIO_SET_IOMMU, (void *)type);
}

static int map_dma(struct rig *rig, const void *va, uint64_t iova, uint64_t size, uint32_t flags)
{
	struct vfio_iommu_type1_dma_map cmd = { .argsz = sizeof(cmd),
						.flags = flags,
						.vaddr = (uintptr_t)va,
						.iova = iova,
						.size = size };

	return iommufd(rig, VFIO_IOMMU_MAP_DMA, &cmd);
}

static int unmap_dma(struct rig *rig, uint64_t iova, uint64_t size, uint32_t flags,
		     uint64_t *unmapped)
{
	struct vfio_iommu_type1_dma_unmap cmd = {
		.argsz = sizeof(cmd), .flags = flags, .iova = iova, .size = size
	};
	int ret = iommufd(rig, VFIO_IOMMU_UNMAP_DMA, &cmd);

	*unmapped = cmd.size;
	return ret;
}

static uint8_t *pages(uint64_t count)
{
	uint8_t *p = mmap(NULL, count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

/* Size and flags come before the question whether there is an IOAS. */
static void order_of_checks(void **state)
{
	struct rig *rig = *state;
	struct vfio_iommu_type1_info info = { .argsz = 15 };
	struct vfio_iommu_type1_dma_map map = { .argsz = sizeof(map) - 1 };
	struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof(unmap) - 1 };
	uint64_t unmapped;

	for (int has_ioas = 0; has_ioas < 2; has_ioas++) {
		int then = has_ioas ? 0 : -ENODEV;

		err(EINVAL, iommufd(rig, VFIO_IOMMU_GET_INFO, &info));
		err(EINVAL, iommufd(rig, VFIO_IOMMU_MAP_DMA, &map));
		err(EINVAL, iommufd(rig, VFIO_IOMMU_UNMAP_DMA, &unmap));
		err(EFAULT, iommufd(rig, VFIO_IOMMU_GET_INFO, (void *)BAD_POINTER));
		err(EFAULT, iommufd(rig, VFIO_IOMMU_MAP_DMA, (void *)BAD_POINTER));
		err(EFAULT, iommufd(rig, VFIO_IOMMU_UNMAP_DMA, NULL));
		err(EINVAL, map_dma(rig, NULL, 0, PAGE, VFIO_DMA_MAP_FLAG_VADDR));
		err(EINVAL,
		    unmap_dma(rig, 0, PAGE, VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP, &unmapped));
		err(EINVAL, unmap_dma(rig, 0, PAGE, VFIO_DMA_UNMAP_FLAG_VADDR, &unmapped));
		info.argsz = 16;
		assert_int_equal(iommufd(rig, VFIO_IOMMU_GET_INFO, &info), then);
		info.argsz = 15;
		assert_int_equal(map_dma(rig, NULL, BASE, 0, READ), has_ioas ? -EINVAL : -ENODEV);
		assert_int_equal(unmap_dma(rig, BASE, PAGE, 0, &unmapped), then);
		assert_int_equal(unmap_dma(rig, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL, &unmapped), then);
		assert_int_equal(set_iommu(rig, VFIO_TYPE1v2_IOMMU), then);
		err(EINVAL, set_iommu(rig, VFIO_SPAPR_TCE_IOMMU));
		err(ENOTTY, iommufd(rig, VFIO_IOMMU_DIRTY_PAGES, &info));
		err(ENOTTY, iommufd(rig, VFIO_IOMMU_ENABLE, NULL));
		if (!has_ioas)
			use_ioas(rig, ioas_alloc(rig));
	}
}

static void map_and_unmap(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig);
	uint8_t *memory = pages(8);
	uint64_t unmapped;

	use_ioas(rig, ioas);
	ok(set_iommu(rig, VFIO_TYPE1v2_IOMMU));
	ok(attach_id(rig, ioas));
	enable_bus_master(rig);
	ok(map_dma(rig, memory, BASE, 4 * PAGE, READ | WRITE));
	ok(map_dma(rig, memory + 4 * PAGE, BASE + 4 * PAGE, 4 * PAGE, READ));
	err(EEXIST, map_dma(rig, memory, BASE + 3 * PAGE, PAGE, READ));
	err(EINVAL, map_dma(rig, memory, BASE + 1, PAGE, READ));
	err(EINVAL, map_dma(rig, memory, BASE + 0x100000, 1, READ));
	err(EINVAL, map_dma(rig, memory, rig->arch->window, PAGE, READ));
	err(EOVERFLOW, map_dma(rig, memory, UINT64_MAX - PAGE + 1, 2 * PAGE, READ));
	err(EOVERFLOW, map_dma(rig, memory, BASE, UINT64_MAX, READ));
	err(EFAULT, map_dma(rig, NULL, BASE + 0x100000, PAGE, READ));
	ok(map_dma(rig, memory, BASE + 0x100000, PAGE, 0)); /* no right at all */
	err(EFAULT, dma_read(rig, NO_PASID, BASE + 0x100000, &unmapped));
	ok(dma_write(rig, NO_PASID, BASE, 0x77));
	assert_int_equal(memory[0], 0x77);
	err(EFAULT, dma_write(rig, NO_PASID, BASE + 4 * PAGE, 1));
	/* the native calls see the same */
	unmapped = PAGE;
	err(ENOENT, ioas_unmap(rig, ioas, BASE, &unmapped));
	err(EEXIST, ioas_map(rig, ioas, memory, PAGE, BASE, RW));

	err(ENOENT, unmap_dma(rig, BASE, PAGE, 0, &unmapped)); /* this type does not cut */
	assert_int_equal(unmapped, 0);
	/* what lies before the area that would be cut goes, and is told of */
	err(ENOENT, unmap_dma(rig, BASE, 5 * PAGE, 0, &unmapped));
	assert_int_equal(unmapped, 4 * PAGE);
	err(EFAULT, dma_write(rig, NO_PASID, BASE, 1));
	ok(unmap_dma(rig, BASE, 4 * PAGE, 0, &unmapped)); /* nothing there is no error */
	assert_int_equal(unmapped, 0);
	err(EINVAL, unmap_dma(rig, BASE, 0, 0, &unmapped));
	err(EOVERFLOW, unmap_dma(rig, UINT64_MAX - 1, PAGE, 0, &unmapped));
	err(EINVAL, unmap_dma(rig, PAGE, 0, VFIO_DMA_UNMAP_FLAG_ALL, &unmapped));
	err(EINVAL, unmap_dma(rig, 0, PAGE, VFIO_DMA_UNMAP_FLAG_ALL, &unmapped));
	ok(unmap_dma(rig, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL, &unmapped));
	assert_int_equal(unmapped, 5 * PAGE);
	ok(unmap_dma(rig, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL, &unmapped));
	assert_int_equal(unmapped, 0);
	munmap(memory, 8 * PAGE);
}

/* As far as it can be seen without a device that reads. */
static void map_and_unmap_without_dma(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig);
	uint8_t *memory = pages(4);
	uint64_t unmapped;

	use_ioas(rig, ioas);
	ok(set_iommu(rig, VFIO_TYPE1v2_IOMMU));
	ok(attach_id(rig, ioas));
	ok(map_dma(rig, memory, BASE, 2 * PAGE, READ | WRITE));
	ok(map_dma(rig, memory, BASE + 2 * PAGE, 2 * PAGE, READ));
	err(EEXIST, map_dma(rig, memory, BASE + PAGE, PAGE, READ));
	err(EINVAL, map_dma(rig, memory, BASE + 1, PAGE, READ));
	err(EINVAL, map_dma(rig, memory, rig->arch->window, PAGE, READ));
	err(EFAULT, map_dma(rig, NULL, BASE + 0x100000, PAGE, READ));
	err(ENOENT, unmap_dma(rig, BASE, PAGE, 0, &unmapped));
	assert_int_equal(unmapped, 0);
	err(ENOENT, unmap_dma(rig, BASE, 3 * PAGE, 0, &unmapped));
	assert_int_equal(unmapped, 2 * PAGE);
	ok(unmap_dma(rig, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL, &unmapped));
	assert_int_equal(unmapped, 2 * PAGE);
	ok(set_iommu(rig, VFIO_TYPE1_IOMMU));
	ok(map_dma(rig, memory, BASE, 4 * PAGE, READ | WRITE));
	ok(unmap_dma(rig, BASE + PAGE, PAGE, 0, &unmapped)); /* this type cuts */
	assert_int_equal(unmapped, PAGE);
	ok(unmap_dma(rig, BASE, 4 * PAGE, 0, &unmapped));
	assert_int_equal(unmapped, 3 * PAGE);
	munmap(memory, 4 * PAGE);
}

/* The first type: any part of a map may go, page by page; devices reach the rest. */
static void type1_cuts(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), hwpt;
	uint8_t *memory = pages(200);
	struct iommu_option option = { .size = sizeof(option),
				       .option_id = IOMMU_OPTION_HUGE_PAGES,
				       .op = IOMMU_OPTION_OP_GET,
				       .object_id = ioas };
	struct iommu_hwpt_set_dirty_tracking on = { .size = sizeof(on), .flags = 1 };
	uint64_t bits[4] = { 0 }, unmapped, value;
	struct iommu_hwpt_get_dirty_bitmap get = { .size = sizeof(get),
						   .iova = BASE,
						   .length = 200 * PAGE,
						   .page_size = PAGE,
						   .data = (uintptr_t)bits };

	use_ioas(rig, ioas);
	ok(map_dma(rig, memory + 1, BASE + 1, PAGE, READ));
	err(EADDRINUSE, set_iommu(rig, VFIO_TYPE1_IOMMU)); /* a map that is not of pages */
	ok(unmap_dma(rig, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL, &unmapped));
	ok(set_iommu(rig, VFIO_TYPE1_IOMMU));
	ok(iommufd(rig, IOMMU_OPTION, &option));
	assert_int_equal(option.val64, 0);
	ok(hwpt_alloc(rig, rig->devid, ioas, DIRTY, &hwpt));
	ok(attach_id(rig, hwpt));
	enable_bus_master(rig);
	ok(map_dma(rig, memory, BASE, 200 * PAGE, READ | WRITE));
	on.hwpt_id = get.hwpt_id = hwpt;
	ok(iommufd(rig, IOMMU_HWPT_SET_DIRTY_TRACKING, &on));
	for (uint64_t page = 0; page < 200; page += 3) {
		value = page;
		ok(dma_write(rig, NO_PASID, BASE + page * PAGE, value));
	}
	/* out of the middle, at the start, at the end, over several */
	ok(unmap_dma(rig, BASE + 70 * PAGE, PAGE, 0, &unmapped));
	assert_int_equal(unmapped, PAGE);
	ok(unmap_dma(rig, BASE - PAGE, 4 * PAGE, 0, &unmapped));
	assert_int_equal(unmapped, 3 * PAGE);
	ok(unmap_dma(rig, BASE + 190 * PAGE, 20 * PAGE, 0, &unmapped));
	assert_int_equal(unmapped, 10 * PAGE);
	ok(unmap_dma(rig, BASE + 60 * PAGE, 20 * PAGE, 0, &unmapped));
	assert_int_equal(unmapped, 19 * PAGE);
	err(EINVAL, unmap_dma(rig, BASE + 100 * PAGE + 1, PAGE, 0, &unmapped));
	err(EINVAL, unmap_dma(rig, BASE + 100 * PAGE, 5, 0, &unmapped));
	for (uint64_t page = 0; page < 200; page++) {
		bool there = (page >= 3 && page < 60) || (page >= 80 && page < 190);
		int want = there ? 0 : -EFAULT;

		assert_int_equal(dma_read(rig, NO_PASID, BASE + page * PAGE, &value), want);
		if (there)
			assert_int_equal(value, page % 3 ? 0 : page);
	}
	/* the halves keep what was recorded of them */
	ok(iommufd(rig, IOMMU_HWPT_GET_DIRTY_BITMAP, &get));
	for (uint64_t page = 0; page < 200; page++) {
		bool there = (page >= 3 && page < 60) || (page >= 80 && page < 190);

		assert_int_equal(bits[page / 64] >> page % 64 & 1, there && page % 3 == 0);
	}
	ok(unmap_dma(rig, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL, &unmapped));
	assert_int_equal(unmapped, 167 * PAGE);
	munmap(memory, 200 * PAGE);
}

struct answer {
	struct vfio_iommu_type1_info info;
	struct vfio_iommu_type1_info_dma_avail avail;
	struct { /* vfio_iommu_type1_info_cap_iova_range, which may not be inside of another */
		struct vfio_info_cap_header header;
		uint32_t nr_iovas, reserved;
	} ranges __attribute__((aligned(8)));
	struct vfio_iova_range range[3];
};

static void info_and_capabilities(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig);
	const uint32_t one = offsetof(struct answer, range[1]),
		       two = offsetof(struct answer, range[2]);
	struct answer *a = calloc(1, sizeof(*a));
	struct vfio_iommu_type1_info old = { .argsz = 16 };
	struct {
		struct vfio_iommu_type1_info info;
		uint8_t beyond[32];
	} small;

	use_ioas(rig, ioas);
	/* a structure of the first version: no word of capabilities is written */
	old.cap_offset = 0x55;
	ok(iommufd(rig, VFIO_IOMMU_GET_INFO, &old));
	assert_int_equal(old.argsz, one);
	assert_int_equal(old.flags, VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS);
	assert_true(old.iova_pgsizes == ~0xfffULL);
	assert_int_equal(old.cap_offset, 0x55);

	a->info.argsz = sizeof(*a);
	ok(iommufd(rig, VFIO_IOMMU_GET_INFO, a));
	assert_int_equal(a->info.argsz, one);
	assert_int_equal(a->info.cap_offset, sizeof(a->info));
	assert_int_equal(a->avail.header.id, VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL);
	assert_int_equal(a->avail.header.version, 1);
	assert_int_equal(a->avail.header.next, offsetof(struct answer, ranges));
	assert_int_equal(a->avail.avail, UINT32_MAX);
	assert_int_equal(a->ranges.header.id, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
	assert_int_equal(a->ranges.header.version, 1);
	assert_int_equal(a->ranges.header.next, 0);
	assert_int_equal(a->ranges.nr_iovas, 1);
	assert_int_equal(a->range[0].start, 0);
	assert_true(a->range[0].end == UINT64_MAX);

	ok(attach_id(rig, ioas));
	memset(a, 0, sizeof(*a));
	a->info.argsz = two;
	ok(iommufd(rig, VFIO_IOMMU_GET_INFO, a));
	assert_int_equal(a->info.iova_pgsizes, 0x40201000);
	assert_int_equal(a->info.cap_offset, sizeof(a->info));
	assert_int_equal(a->ranges.nr_iovas, 2);
	assert_int_equal(a->range[0].end, rig->arch->window - 1);
	assert_int_equal(a->range[1].start, rig->arch->window_last + 1);
	assert_int_equal(a->range[1].end, rig->arch->plain_last);
	/* room for one capability: it is there, but no offset leads to it */
	memset(&small, 0xaa, sizeof(small));
	small.info.argsz = sizeof(small.info) + 20;
	ok(iommufd(rig, VFIO_IOMMU_GET_INFO, &small));
	assert_int_equal(small.info.argsz, two);
	assert_int_equal(small.info.cap_offset, 0);
	assert_int_equal(small.beyond[0], VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL);
	assert_int_equal(small.beyond[16], 0xaa);
	err(EFAULT, iommufd(rig, VFIO_IOMMU_GET_INFO, NULL));
	free(a);
}

/* A capability that cannot be written is EFAULT. */
static void info_at_the_end_of_memory(void **state)
{
	struct rig *rig = *state;
	uint8_t *memory = pages(2);
	struct vfio_iommu_type1_info *info = (void *)(memory + PAGE - sizeof(*info));

	use_ioas(rig, ioas_alloc(rig));
	ok(mprotect(memory + PAGE, PAGE, PROT_NONE));
	info->argsz = sizeof(*info);
	ok(iommufd(rig, VFIO_IOMMU_GET_INFO, info));
	info->argsz = 1000;
	err(EFAULT, iommufd(rig, VFIO_IOMMU_GET_INFO, info));
	munmap(memory, 2 * PAGE);
}

static const struct suite_case cases[] = {
	TEST(order_of_checks),		 TEST(map_and_unmap, NEED_DMA_READ),
	TEST(map_and_unmap_without_dma), TEST(type1_cuts, NEED_DIRTY | NEED_DMA_READ),
	TEST(info_and_capabilities),	 TEST(info_at_the_end_of_memory),
};
SUITE_GROUP(compat, cases)
