/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IOMMU_TEST_CMD, the ioctl by which the kernel's iommufd selftest drives the mock IOMMU
 * that a kernel with CONFIG_IOMMUFD_TEST has. It is no published ABI: only the test and
 * the driver of the same kernel agree on it. Numbers and layout are those of Linux 7.2;
 * scripts/selftest compiles this against the kernel's own declaration and compares.
 */
#ifndef HOST_SOFT_MOCK_ABI_H
#define HOST_SOFT_MOCK_ABI_H

#include <linux/iommufd.h>
#include <stdint.h>

#define SELFTEST_CMD _IO(IOMMUFD_TYPE, IOMMUFD_CMD_BASE + 32)

enum selftest_op {
	SELFTEST_ADD_RESERVED = 1,
	SELFTEST_MOCK_DOMAIN,
	SELFTEST_CHECK_MAP,
	SELFTEST_CHECK_REFS,
	SELFTEST_CREATE_ACCESS,
	SELFTEST_DESTROY_ACCESS_PAGES,
	SELFTEST_ACCESS_PAGES,
	SELFTEST_ACCESS_RW,
	SELFTEST_SET_MEMORY_LIMIT,
	SELFTEST_MOCK_DOMAIN_REPLACE,
	SELFTEST_ACCESS_REPLACE_IOAS,
	SELFTEST_MOCK_DOMAIN_FLAGS,
	SELFTEST_DIRTY,
	SELFTEST_CHECK_IOTLB,
	SELFTEST_TRIGGER_IOPF,
	SELFTEST_CHECK_CACHE,
	SELFTEST_TRIGGER_VEVENT,
	SELFTEST_PASID_ATTACH,
	SELFTEST_PASID_REPLACE,
	SELFTEST_PASID_DETACH,
	SELFTEST_PASID_CHECK_HWPT,
	SELFTEST_DMABUF_GET,
	SELFTEST_DMABUF_REVOKE,
};

/* @id: the object an operation is about; of accesses, their descriptor. */
struct selftest_cmd {
	uint32_t size;
	uint32_t op; /* enum selftest_op */
	uint32_t id;
	uint32_t reserved;
	union {
		struct {
			uint64_t start, length;
		} add_reserved;
		struct {
			uint32_t out_stdev_id, out_hwpt_id, out_idev_id;
			uint32_t dev_flags; /* SELFTEST_MOCK_DOMAIN_FLAGS only */
		} mock_domain;
		struct {
			uint32_t pt_id;
		} replace;
		struct {
			uint64_t iova, length, uptr;
		} check_map;
		struct {
			uint64_t length, uptr;
			uint32_t refs;
		} check_refs;
		struct {
			uint32_t out_fd, flags;
		} create_access;
		struct {
			uint32_t pages_id;
		} destroy_access_pages;
		struct {
			uint32_t flags, out_pages_id;
			uint64_t iova, length, uptr;
		} access_pages;
		struct {
			uint64_t iova, length, uptr;
			uint32_t flags;
		} access_rw;
		struct {
			uint32_t limit;
		} memory_limit;
		struct {
			uint32_t ioas_id;
		} access_replace_ioas;
		struct {
			uint32_t flags;
			uint64_t iova, length, page_size, uptr, out_num_dirty;
		} dirty;
		struct {
			uint32_t index, value;
		} check_iotlb;
		struct {
			uint32_t dev_id, pasid, group, perm;
			uint64_t addr;
		} trigger_iopf;
		struct {
			uint32_t index, value;
		} check_cache;
		struct {
			uint32_t dev_id;
		} trigger_vevent;
		struct {
			uint32_t pasid, pt_id;
		} pasid;
		struct {
			uint32_t length, open_flags;
		} dmabuf_get;
		struct {
			int32_t fd;
			uint32_t revoked;
		} dmabuf_revoke;
	};
	uint32_t last;
};

_Static_assert(sizeof(struct selftest_cmd) == 72, "Linux 7.2");

/* mock_domain.dev_flags */
#define SELFTEST_DEVICE_NO_DIRTY (1U << 0)
#define SELFTEST_DEVICE_PASID (1U << 2)
/* create_access.flags */
#define SELFTEST_ACCESS_PINS (1U << 0)
/* access_pages.flags, access_rw.flags */
#define SELFTEST_ACCESS_WRITE (1U << 0)
#define SELFTEST_ACCESS_SLOW (1U << 2)
#define SELFTEST_ACCESS_NTH (1U << 16) /* iova: which area (bits 0-31) and the offset in it */

/* The unit. */
#define SELFTEST_APERTURE_START (1ULL << 24)
#define SELFTEST_APERTURE_LAST ((1ULL << 31) - 1)
#define SELFTEST_PAGE_SIZE 2048ULL
#define SELFTEST_HUGE_PAGE_SIZE (512 * SELFTEST_PAGE_SIZE)
#define SELFTEST_PASID_LG2 20
#define SELFTEST_FAILING_PASID 1024
#define SELFTEST_CACHE_ENTRIES 4
#define SELFTEST_CACHE_DEFAULT 0xbaddadU
#define SELFTEST_MAX_HW_QUEUES 2

#define SELFTEST_HW_INFO_TYPE 0xfeedbeefU
#define SELFTEST_HW_INFO_REG 0xdeadbeefU

struct selftest_hw_info {
	uint32_t flags, test_reg;
};

/* IOMMU_HWPT_ALLOC; the first version ended with iotlb. */
#define SELFTEST_HWPT_DATA 0xdeadU

enum { SELFTEST_PAGETABLE_DEFAULT, SELFTEST_PAGETABLE_HUGE };

struct selftest_hwpt {
	uint32_t iotlb;
	uint32_t pagetable; /* paging HWPTs only */
};

/* IOMMU_HWPT_INVALIDATE of a nested HWPT and of a vIOMMU. */
#define SELFTEST_INVALIDATE_DATA 0xdeadbeefU
#define SELFTEST_INVALIDATE_ALL (1U << 0)

struct selftest_hwpt_invalidate {
	uint32_t flags, iotlb_index;
};

struct selftest_viommu_invalidate {
	uint32_t flags, vdev_id, cache_index;
};

/* IOMMU_VIOMMU_ALLOC; the first version ended with out_data. */
#define SELFTEST_VIOMMU_TYPE 0xdeadbeefU

struct selftest_viommu {
	uint32_t in_data, out_data;
	uint64_t out_mmap_offset, out_mmap_length;
};

#define SELFTEST_VEVENTQ_TYPE 0xbeefbeefU

struct selftest_vevent {
	uint32_t virt_id;
};

#define SELFTEST_HW_QUEUE_TYPE 0xdeadbeefU

#endif
