// SPDX-License-Identifier: BSD-3-Clause
/*
 * I/O address spaces: map, map a file, copy, unmap, choice of addresses, ranges, what a
 * domain changes. Expected values: a trace of Linux 7.2, and the rules of
 * Documentation/userspace-api/iommufd.rst.
 */
#include "rig.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uint8_t *memory; /* 16 pages, aligned to 64 KiB */

__attribute__((constructor)) static void make_memory(void)
{
	uint8_t *raw =
		mmap(NULL, 32 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memory = (uint8_t *)(((uintptr_t)raw + 0xffff) & ~0xffffULL);
}

static uint64_t unmap_all(struct rig *rig, uint32_t ioas)
{
	uint64_t length = UINT64_MAX;

	ok(ioas_unmap(rig, ioas, 0, &length));
	return length;
}

static void map_errors_in_order(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig);
	uint64_t va = (uintptr_t)memory, iova = 0x1000;

	err(EOPNOTSUPP, ioas_map_flags(rig, ioas, va, PAGE, &iova, RW | FIXED | 8));
	err(EOPNOTSUPP, ioas_map_flags(rig, 99, va, PAGE, &iova, 8));
	err(EINVAL, ioas_map(rig, ioas, memory, PAGE, 0x1000, 0));
	err(EINVAL, ioas_map(rig, 99, memory, PAGE, 0x1000, 0));
	err(EINVAL, ioas_map(rig, ioas, memory, 0, 0x1000, RW));
	err(EOVERFLOW, ioas_map(rig, ioas, memory, PAGE, UINT64_MAX, RW));
	iova = UINT64_MAX;
	err(EOVERFLOW, ioas_map_flags(rig, ioas, va, PAGE, &iova, RW));
	err(EOVERFLOW, ioas_map(rig, ioas, memory, UINT64_MAX, 0x1000, RW));
	err(ENOENT, ioas_map(rig, 99, memory, PAGE, 0x1000, RW));
	err(ENOENT, ioas_map(rig, rig->devid, memory, PAGE, 0x1000, RW));

	ok(ioas_map(rig, ioas, memory, PAGE, 0, RW));
	err(EEXIST, ioas_map(rig, ioas, memory, PAGE, 0, RW));
	err(EEXIST, ioas_map(rig, ioas, memory, 1, PAGE - 1, RW));
	ok(ioas_map(rig, ioas, memory + 1, 3, 0x10001, RW));
	err(EOVERFLOW, ioas_map(rig, ioas, memory, 0x2000, 0xfffffffffffff000, RW));
	err(EOVERFLOW, ioas_map(rig, ioas, (void *)(UINTPTR_MAX - 0xfff), 0x2000, 0x20000, RW));
	ok(ioas_map(rig, ioas, (void *)BAD_POINTER, PAGE, 0x30000, RW)); /* nobody looks yet */
	ok(ioas_map(rig, ioas, memory, PAGE, 0x40000, WO));
	ok(ioas_map(rig, ioas, memory, PAGE, 0x50000, RO));
	iova = 0;
	err(EOVERFLOW, ioas_map_flags(rig, ioas, va, 1ULL << 63, &iova, RW));
	ok(ioas_map_flags(rig, ioas, va, PAGE, &iova, RW));
	assert_int_not_equal(iova, 0);
}

static void unmap_rules(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig);
	uint64_t length = 0;

	ok(ioas_map(rig, ioas, memory, PAGE, 0x1000, RW));
	ok(ioas_map(rig, ioas, memory, 2 * PAGE, 0x2000, RW));
	ok(ioas_map(rig, ioas, memory, 0x1003, 0x10000, RW));
	err(EINVAL, ioas_unmap(rig, ioas, 0x1000, &length));
	length = PAGE;
	err(ENOENT, ioas_unmap(rig, ioas, 0x100000, &length));
	err(ENOENT, ioas_unmap(rig, ioas, 0x2000, &length)); /* part of an area */
	err(EOVERFLOW, ioas_unmap(rig, ioas, UINT64_MAX, &length));
	length = UINT64_MAX;
	err(EOVERFLOW, ioas_unmap(rig, ioas, 0x1000, &length));
	length = 0x2000;
	err(EOVERFLOW, ioas_unmap(rig, ioas, 0xfffffffffffff000, &length));
	err(ENOENT, ioas_unmap(rig, 99, 0x1000, &length));
	length = 0x5000;
	ok(ioas_unmap(rig, ioas, 0, &length)); /* more than is there */
	assert_int_equal(length, 0x3000);
	assert_int_equal(unmap_all(rig, ioas), 0x1003);
	assert_int_equal(unmap_all(rig, ioas), 0);
}

/* What lies before an area that would be cut is gone afterwards, and not reported. */
static void unmap_stops_at_cut(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig);
	uint64_t length = 0x2000;

	ok(ioas_map(rig, ioas, memory, PAGE, 0x1000, RW));
	ok(ioas_map(rig, ioas, memory, 2 * PAGE, 0x2000, RW));
	err(ENOENT, ioas_unmap(rig, ioas, 0x1000, &length));
	assert_int_equal(length, 0x2000);
	assert_int_equal(unmap_all(rig, ioas), 0x2000);
}

static void copy_rules(void **state)
{
	struct rig *rig = *state;
	uint32_t src = ioas_alloc(rig), dst = ioas_alloc(rig);
	uint64_t length;

	ok(ioas_map(rig, src, memory, 2 * PAGE, 0x10000, RW));
	ok(ioas_map(rig, src, memory, 2 * PAGE, 0x12000, RW));
	ok(ioas_map(rig, src, memory, PAGE, 0x20000, RO));

	ok(ioas_copy(rig, dst, 0x1000, src, 0x10000, PAGE, RW));
	ok(ioas_copy(rig, dst, 0x3000, src, 0x10000, PAGE, RO));
	err(EPERM, ioas_copy(rig, dst, 0x5000, src, 0x20000, PAGE, RW));
	err(ENOENT, ioas_copy(rig, dst, 0x5000, src, 0x90000, PAGE, RW));
	err(ENOENT, ioas_copy(rig, dst, 0x50000, src, 0x10000, 5 * PAGE, RW));
	err(EINVAL, ioas_copy(rig, dst, 0x5000, src, 0x10000, 0, RW));
	err(EOPNOTSUPP, ioas_copy(rig, dst, 0x5000, src, 0x10000, PAGE, RW | 0x10));
	err(EINVAL, ioas_copy(rig, dst, 0x5000, src, 0x10000, PAGE, 0));
	err(ENOENT, ioas_copy(rig, 99, 0x5000, src, 0x10000, PAGE, RW));
	err(ENOENT, ioas_copy(rig, dst, 0x5000, 99, 0x10000, PAGE, RW));
	err(ENOENT, ioas_copy(rig, 99, 0x5000, src, 0x90000, PAGE, RW));
	err(EEXIST, ioas_copy(rig, dst, 0x1000, src, 0x10000, PAGE, RW));
	err(EOVERFLOW, ioas_copy(rig, dst, 0x5000, src, UINT64_MAX, PAGE, RW));
	err(EOVERFLOW, ioas_copy(rig, dst, 0x5000, src, UINT64_MAX - 1, PAGE, RW));
	ok(ioas_copy(rig, dst, 0x100000, src, 0x11000, 2 * PAGE, RW)); /* over two areas */
	length = 2 * PAGE;
	ok(ioas_unmap(rig, dst, 0x100000, &length));
	assert_int_equal(length, 2 * PAGE);
}

/* Memory that was copied stays as long as the copy does, and the copy shows the same bytes. */
static void copy_outlives_source(void **state)
{
	struct rig *rig = *state;
	uint32_t src = ioas_alloc(rig), dst = ioas_alloc(rig);
	int fd = memfd_create("copy", MFD_CLOEXEC);
	uint64_t iova = 0x10000;
	uint8_t *file = mmap(NULL, 0x4000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	ok(ftruncate(fd, 0x4000));
	ok(ioas_map_file(rig, src, fd, 0x1000, 0x3000, &iova, RW | FIXED));
	close(fd);
	ok(ioas_copy(rig, dst, 0x100000, src, 0x11000, PAGE, RW));
	ok(destroy(rig, src));
	ok(attach_id(rig, dst));
	enable_bus_master(rig);
	dma_reaches(rig, NO_PASID, 0x100000, file + 0x2000);
	munmap(file, 0x4000);
}

/* The second of three areas cannot be had: the first does not stay. */
static void copy_is_all_or_nothing(void **state)
{
	struct rig *rig = *state;
	uint32_t src = ioas_alloc(rig), dst = ioas_alloc(rig);

	ok(ioas_map(rig, src, memory, PAGE, 0x10000, RW));
	ok(ioas_map(rig, src, (void *)0x1000, PAGE, 0x11000, RW));
	ok(ioas_map(rig, src, memory, PAGE, 0x12000, RW));
	ok(attach_id(rig, dst));
	enable_bus_master(rig);
	err(EFAULT, ioas_copy(rig, dst, 0x100000, src, 0x10000, 3 * PAGE, RW));
	dma_is_blocked(rig, NO_PASID, 0x100000);
	assert_int_equal(unmap_all(rig, dst), 0);
}

static int ranges_raw(struct rig *rig, uint32_t ioas, uint32_t *num, void *user, uint32_t reserved)
{
	struct iommu_ioas_iova_ranges cmd = { .size = sizeof(cmd),
					      .ioas_id = ioas,
					      .num_iovas = *num,
					      .__reserved = reserved,
					      .allowed_iovas = (uintptr_t)user };
	int ret = iommufd(rig, IOMMU_IOAS_IOVA_RANGES, &cmd);

	*num = cmd.num_iovas;
	return ret;
}

static void ranges(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), num = 4;
	struct iommu_iova_range got[4] = { 0 };
	uint64_t alignment;

	err(EOPNOTSUPP, ranges_raw(rig, ioas, &num, got, 1));
	err(ENOENT, ranges_raw(rig, 99, &num, got, 0));
	assert_int_equal(ioas_ranges(rig, ioas, got, &alignment), 1);
	assert_int_equal(alignment, 1);
	assert_true(got[0].start == 0 && got[0].last == UINT64_MAX);
	err(EFAULT, ranges_raw(rig, ioas, &num, (void *)BAD_POINTER, 0));

	ok(attach_id(rig, ioas));
	assert_int_equal(ioas_ranges(rig, ioas, got, &alignment), 2);
	assert_int_equal(alignment, PAGE);
	assert_true(got[0].start == 0 && got[0].last == rig->arch->window - 1);
	assert_true(got[1].start == rig->arch->window_last + 1 &&
		    got[1].last == rig->arch->plain_last);
	num = 0;
	err(EMSGSIZE, ranges_raw(rig, ioas, &num, NULL, 0));
	assert_int_equal(num, 2);
	num = 1;
	memset(got, 0, sizeof(got));
	err(EMSGSIZE, ranges_raw(rig, ioas, &num, got, 0));
	assert_int_equal(num, 2);
	assert_true(got[0].last == rig->arch->window - 1 && got[1].last == 0);
	ok(detach(rig));
	assert_int_equal(ioas_ranges(rig, ioas, got, &alignment), 1);
	assert_int_equal(alignment, 1);
}

static void allow_list(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig);
	const struct iommu_iova_range point = { 5, 5 }, one = { 0x100000, 0x100fff };
	const struct iommu_iova_range overlap[] = { { 0, 0x1fff }, { 0x1fff, 0x2fff } };
	const struct iommu_iova_range two[] = { { 0x100000, 0x100fff }, { 0x200000, 0x200fff } };
	const struct iommu_iova_range window = { rig->arch->window, rig->arch->window + 0xfff };
	uint64_t iova = 0;

	ok(ioas_map(rig, ioas, memory, PAGE, 0x1000, RW));
	err(EINVAL, ioas_allow(rig, ioas, &point, 1));
	ok(ioas_allow(rig, ioas, &one, 1)); /* the area outside is tolerated */
	err(EINVAL, ioas_allow(rig, ioas, overlap, 2));
	err(EFAULT, ioas_allow(rig, ioas, (void *)BAD_POINTER, 1));
	err(EFAULT, ioas_allow(rig, ioas, (void *)BAD_POINTER, UINT32_MAX));
	err(ENOENT, ioas_allow(rig, 99, two, 2));
	ok(ioas_allow(rig, ioas, two, 2));
	ok(ioas_map(rig, ioas, memory, PAGE, 0x5000, RW));
	err(ENOSPC, ioas_map_flags(rig, ioas, (uintptr_t)memory, 2 * PAGE, &iova, RW));
	ok(ioas_map_flags(rig, ioas, (uintptr_t)memory, PAGE, &iova, RW));
	assert_int_equal(iova, 0x100000);
	ok(ioas_map_flags(rig, ioas, (uintptr_t)memory, PAGE, &iova, RW));
	assert_int_equal(iova, 0x200000);
	err(ENOSPC, ioas_map_flags(rig, ioas, (uintptr_t)memory, PAGE, &iova, RW));
	ok(ioas_allow(rig, ioas, NULL, 0));
	ok(ioas_map_flags(rig, ioas, (uintptr_t)memory, PAGE, &iova, RW));

	/* a device whose reserved range meets the list cannot come */
	ok(ioas_allow(rig, ioas, &window, 1));
	err(EADDRINUSE, attach_id(rig, ioas));
	ok(ioas_allow(rig, ioas, NULL, 0));
	ok(attach_id(rig, ioas));
	err(EADDRINUSE, ioas_allow(rig, ioas, &window, 1));
}

/* First fit from 4096; aligned to the length, the lowest bit of the address, at most 2 MiB. */
static void choice_of_addresses(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig);
	uint64_t va = (uintptr_t)memory, iova;

	ok(ioas_map_flags(rig, ioas, va, 4 * PAGE, &iova, RW));
	assert_int_equal(iova, 0x4000);
	ok(ioas_map_flags(rig, ioas, va + PAGE, 4 * PAGE, &iova, RW));
	assert_int_equal(iova, 0x8000); /* the first hole is only three pages */
	ok(ioas_map_flags(rig, ioas, va + PAGE, 3 * PAGE, &iova, RW));
	assert_int_equal(iova, 0x1000);
	ok(ioas_map_flags(rig, ioas, va + 0x123, 0x10, &iova, RW));
	assert_int_equal(iova & 0xfff, 0x123); /* the offset in the page is kept */
	assert_int_equal(unmap_all(rig, ioas), 11 * PAGE + 0x10);
	/* nobody looks at the memory yet: a large one */
	ok(ioas_map_flags(rig, ioas, 0x40000000, 0x40000000, &iova, RW));
	assert_int_equal(iova, 0x200000);
	ok(attach_id(rig, ioas_alloc(rig)));
}

static int change_process(struct rig *rig, uint32_t reserved)
{
	struct iommu_ioas_change_process cmd = { .size = sizeof(cmd), .__reserved = reserved };

	return iommufd(rig, IOMMU_IOAS_CHANGE_PROCESS, &cmd);
}

static void map_file(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig);
	int fd = memfd_create("file", MFD_CLOEXEC), plain = open("/proc/self/status", O_RDONLY);
	uint64_t iova = 0x10000, beyond = 0x20000, other = 0x30000;
	uint8_t *file = mmap(NULL, 0x4000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	ok(ftruncate(fd, 0x4000));
	ok(ioas_map_file(rig, ioas, fd, 0, 0x2000, &iova, RW | FIXED));
	iova = 0x14001;
	ok(ioas_map_file(rig, ioas, fd, 0x1001, 5, &iova, RW | FIXED));
	err(EINVAL, ioas_map_file(rig, ioas, fd, 0, 0, &other, RW | FIXED));
	err(EBADF, ioas_map_file(rig, ioas, 9999, 0, PAGE, &other, RW | FIXED));
	err(EBADF, ioas_map_file(rig, ioas, -1, 0, PAGE, &other, RW | FIXED));
	err(EOVERFLOW, ioas_map_file(rig, ioas, fd, UINT64_MAX - 5, PAGE, &other, RW | FIXED));
	err(EOPNOTSUPP, ioas_map_file(rig, ioas, fd, 0, PAGE, &other, RW | FIXED | 8));
	err(ENOENT, ioas_map_file(rig, 99, fd, 0, PAGE, &other, RW | FIXED));
	ok(ioas_map_file(rig, ioas, fd, 0, 0x8000, &beyond, RW | FIXED));
	ok(ioas_map_file(rig, ioas, plain, 0, PAGE, &other, RO | FIXED));
	ok(change_process(rig, 0));
	err(EOPNOTSUPP, change_process(rig, 1));
	ok(ioas_map(rig, ioas, memory, PAGE, 0x40000, RW));
	err(EINVAL, change_process(rig, 0));

	/* with a domain the memory has to be there */
	unmap_all(rig, ioas);
	ok(attach_id(rig, ioas));
	ok(ioas_map_file(rig, ioas, fd, 0x1000, 0x3000, &iova, RW));
	err(EINVAL, ioas_map_file(rig, ioas, fd, 0x1000, 0x4000, &beyond, RW | FIXED));
	err(EINVAL, ioas_map_file(rig, ioas, plain, 0, PAGE, &other, RO | FIXED));
	enable_bus_master(rig);
	dma_reaches(rig, NO_PASID, iova + 0x1008, file + 0x2008);
	close(fd);
	close(plain);
	dma_reaches(rig, NO_PASID, iova + 0x1008, file + 0x2008);
	munmap(file, 0x4000);
}

/* What was mapped before any domain is looked at by the first one. */
static void lazy_population(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), hwpt;
	int fd = memfd_create("short", MFD_CLOEXEC);
	uint64_t length = PAGE, iova = 0x70000;
	uint8_t *read_only = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ok(ioas_map(rig, ioas, (void *)0x1000, PAGE, 0x30000, RW));
	err(EFAULT, attach_id(rig, ioas));
	err(EFAULT, hwpt_alloc(rig, rig->devid, ioas, 0, &hwpt));
	ok(ioas_unmap(rig, ioas, 0x30000, &length));
	ok(ioas_map(rig, ioas, read_only, PAGE, 0x40000, RW));
	err(EFAULT, attach_id(rig, ioas));
	ok(ioas_unmap(rig, ioas, 0x40000, &length));
	ok(ioas_map(rig, ioas, read_only, PAGE, 0x40000, RO));
	ok(ioas_map_file(rig, ioas, fd, 0, PAGE, &iova, RW | FIXED));
	err(EINVAL, attach_id(rig, ioas));
	ok(ftruncate(fd, PAGE));
	ok(attach_id(rig, ioas));
	/* and from now on at once */
	err(EFAULT, ioas_map(rig, ioas, (void *)0x1000, PAGE, 0x30000, RW));
	err(EFAULT, ioas_map(rig, ioas, read_only, PAGE, 0x30000, RW));
	ok(ioas_map(rig, ioas, memory, PAGE, 0x30000, RW)); /* the failed ones left nothing */
	munmap(read_only, PAGE);
	close(fd);
}

static void domain_rules(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig);

	/* unaligned areas and those outside the aperture keep a domain out */
	ok(ioas_map(rig, ioas, memory, 5, 0x1000, RW));
	err(EADDRINUSE, attach_id(rig, ioas));
	unmap_all(rig, ioas);
	ok(ioas_map(rig, ioas, memory + 8, PAGE, 0x1000, RW));
	err(EADDRINUSE, attach_id(rig, ioas));
	unmap_all(rig, ioas);
	ok(ioas_map(rig, ioas, memory, PAGE, rig->arch->plain_last + 1, RW));
	err(EADDRINUSE, attach_id(rig, ioas));
	unmap_all(rig, ioas);
	ok(ioas_map(rig, ioas, memory, PAGE, rig->arch->window, RW));
	err(EADDRINUSE, attach_id(rig, ioas));
	unmap_all(rig, ioas);

	ok(attach_id(rig, ioas));
	err(EINVAL, ioas_map(rig, ioas, memory, 5, 0x1000, RW));
	err(EINVAL, ioas_map(rig, ioas, memory, PAGE, 0x1800, RW));
	err(EINVAL, ioas_map(rig, ioas, memory + 8, PAGE, 0x1000, RW));
	err(EINVAL, ioas_map(rig, ioas, memory, PAGE, rig->arch->window, RW));
	err(EINVAL, ioas_map(rig, ioas, memory, 0x200000, rig->arch->window - 0x100000, RW));
	err(EINVAL, ioas_map(rig, ioas, memory, PAGE, rig->arch->plain_last + 1, RW));
	ok(ioas_map(rig, ioas, memory, PAGE, rig->arch->plain_last + 1 - PAGE, RW));
}

/* Removing a mapping takes it away from devices at once. */
static void unmap_reaches_devices(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig);
	uint64_t length = PAGE;

	ok(attach_id(rig, ioas));
	enable_bus_master(rig);
	dma_is_blocked(rig, NO_PASID, 0x1010);
	ok(ioas_map(rig, ioas, memory, PAGE, 0x1000, RW));
	ok(ioas_map(rig, ioas, memory, PAGE, 0x2000, RO));
	dma_reaches(rig, NO_PASID, 0x1010, memory + 0x10);
	err(EFAULT, dma_write(rig, NO_PASID, 0x2010, 1));
	ok(ioas_unmap(rig, ioas, 0x1000, &length));
	dma_is_blocked(rig, NO_PASID, 0x1010);
	ok(ioas_map(rig, ioas, memory + PAGE, PAGE, 0x1000, RW));
	dma_reaches(rig, NO_PASID, 0x1010, memory + PAGE + 0x10);
	ok(detach(rig));
	dma_is_blocked(rig, NO_PASID, 0x1010);
}

/* What a mapping does not allow. */
static void permissions_reach_devices(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig);
	uint64_t length = PAGE, value;

	ok(attach_id(rig, ioas));
	enable_bus_master(rig);
	ok(ioas_map(rig, ioas, memory, PAGE, 0x1000, RW));
	ok(ioas_map(rig, ioas, memory, PAGE, 0x2000, RO));
	ok(ioas_map(rig, ioas, memory, PAGE, 0x3000, WO));
	ok(dma_write(rig, NO_PASID, 0x1010, 0x77));
	assert_int_equal(memory[0x10], 0x77);
	ok(dma_read(rig, NO_PASID, 0x2010, &value));
	assert_int_equal(value, 0x77);
	err(EFAULT, dma_write(rig, NO_PASID, 0x2010, 1));
	err(EFAULT, dma_read(rig, NO_PASID, 0x3010, &value));
	ok(dma_write(rig, NO_PASID, 0x3010, 0x78));
	ok(ioas_unmap(rig, ioas, 0x1000, &length));
	err(EFAULT, dma_write(rig, NO_PASID, 0x1010, 1));
	assert_int_equal(memory[0x10], 0x78);
}

static const struct suite_case cases[] = {
	TEST(map_errors_in_order),
	TEST(unmap_rules),
	TEST(unmap_stops_at_cut),
	TEST(copy_rules),
	TEST(copy_outlives_source, NEED_DMA),
	TEST(copy_is_all_or_nothing, NEED_DMA),
	TEST(ranges),
	TEST(allow_list),
	TEST(choice_of_addresses, NEED_HUGE_PAGES),
	TEST(map_file, NEED_DMA),
	TEST(lazy_population),
	TEST(domain_rules),
	TEST(unmap_reaches_devices, NEED_DMA),
	TEST(permissions_reach_devices, NEED_DMA_READ),
};
SUITE_GROUP(ioas, cases)
