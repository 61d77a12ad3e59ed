// SPDX-License-Identifier: BSD-3-Clause
/*
 * Our declaration of IOMMU_TEST_CMD against the kernel's. Compiling this is the test;
 * scripts/selftest does it with -I of drivers/iommu/iommufd of the kernel's source.
 */
#include <stddef.h>

#include <iommufd_test.h>

#include "host/soft/selftest/mock_abi.h"

#define SAME(ours, theirs) _Static_assert((ours) == (theirs), #ours " is not " #theirs)
#define SAME_FIELD(ours, theirs)                                                            \
	SAME(offsetof(struct selftest_cmd, ours), offsetof(struct iommu_test_cmd, theirs)); \
	SAME(sizeof(((struct selftest_cmd *)0)->ours), sizeof(((struct iommu_test_cmd *)0)->theirs))
#define SAME_STRUCT(ours, theirs) SAME(sizeof(struct ours), sizeof(struct theirs))
#define SAME_MEMBER(ours, our_member, theirs, their_member) \
	SAME(offsetof(struct ours, our_member), offsetof(struct theirs, their_member))

SAME(SELFTEST_CMD, IOMMU_TEST_CMD);
SAME_STRUCT(selftest_cmd, iommu_test_cmd);

SAME(SELFTEST_ADD_RESERVED, IOMMU_TEST_OP_ADD_RESERVED);
SAME(SELFTEST_MOCK_DOMAIN, IOMMU_TEST_OP_MOCK_DOMAIN);
SAME(SELFTEST_CHECK_MAP, IOMMU_TEST_OP_MD_CHECK_MAP);
SAME(SELFTEST_CHECK_REFS, IOMMU_TEST_OP_MD_CHECK_REFS);
SAME(SELFTEST_CREATE_ACCESS, IOMMU_TEST_OP_CREATE_ACCESS);
SAME(SELFTEST_DESTROY_ACCESS_PAGES, IOMMU_TEST_OP_DESTROY_ACCESS_PAGES);
SAME(SELFTEST_ACCESS_PAGES, IOMMU_TEST_OP_ACCESS_PAGES);
SAME(SELFTEST_ACCESS_RW, IOMMU_TEST_OP_ACCESS_RW);
SAME(SELFTEST_SET_MEMORY_LIMIT, IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT);
SAME(SELFTEST_MOCK_DOMAIN_REPLACE, IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE);
SAME(SELFTEST_ACCESS_REPLACE_IOAS, IOMMU_TEST_OP_ACCESS_REPLACE_IOAS);
SAME(SELFTEST_MOCK_DOMAIN_FLAGS, IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS);
SAME(SELFTEST_DIRTY, IOMMU_TEST_OP_DIRTY);
SAME(SELFTEST_CHECK_IOTLB, IOMMU_TEST_OP_MD_CHECK_IOTLB);
SAME(SELFTEST_TRIGGER_IOPF, IOMMU_TEST_OP_TRIGGER_IOPF);
SAME(SELFTEST_CHECK_CACHE, IOMMU_TEST_OP_DEV_CHECK_CACHE);
SAME(SELFTEST_TRIGGER_VEVENT, IOMMU_TEST_OP_TRIGGER_VEVENT);
SAME(SELFTEST_PASID_ATTACH, IOMMU_TEST_OP_PASID_ATTACH);
SAME(SELFTEST_PASID_REPLACE, IOMMU_TEST_OP_PASID_REPLACE);
SAME(SELFTEST_PASID_DETACH, IOMMU_TEST_OP_PASID_DETACH);
SAME(SELFTEST_PASID_CHECK_HWPT, IOMMU_TEST_OP_PASID_CHECK_HWPT);
SAME(SELFTEST_DMABUF_GET, IOMMU_TEST_OP_DMABUF_GET);
SAME(SELFTEST_DMABUF_REVOKE, IOMMU_TEST_OP_DMABUF_REVOKE);

SAME_FIELD(size, size);
SAME_FIELD(op, op);
SAME_FIELD(id, id);
SAME_FIELD(reserved, __reserved);
SAME_FIELD(last, last);
SAME_FIELD(add_reserved.start, add_reserved.start);
SAME_FIELD(add_reserved.length, add_reserved.length);
SAME_FIELD(mock_domain.out_stdev_id, mock_domain_flags.out_stdev_id);
SAME_FIELD(mock_domain.out_hwpt_id, mock_domain_flags.out_hwpt_id);
SAME_FIELD(mock_domain.out_idev_id, mock_domain_flags.out_idev_id);
SAME_FIELD(mock_domain.dev_flags, mock_domain_flags.dev_flags);
SAME_FIELD(replace.pt_id, mock_domain_replace.pt_id);
SAME_FIELD(check_map.iova, check_map.iova);
SAME_FIELD(check_map.length, check_map.length);
SAME_FIELD(check_map.uptr, check_map.uptr);
SAME_FIELD(check_refs.length, check_refs.length);
SAME_FIELD(check_refs.uptr, check_refs.uptr);
SAME_FIELD(check_refs.refs, check_refs.refs);
SAME_FIELD(create_access.out_fd, create_access.out_access_fd);
SAME_FIELD(create_access.flags, create_access.flags);
SAME_FIELD(destroy_access_pages.pages_id, destroy_access_pages.access_pages_id);
SAME_FIELD(access_pages.flags, access_pages.flags);
SAME_FIELD(access_pages.out_pages_id, access_pages.out_access_pages_id);
SAME_FIELD(access_pages.iova, access_pages.iova);
SAME_FIELD(access_pages.length, access_pages.length);
SAME_FIELD(access_pages.uptr, access_pages.uptr);
SAME_FIELD(access_rw.iova, access_rw.iova);
SAME_FIELD(access_rw.length, access_rw.length);
SAME_FIELD(access_rw.uptr, access_rw.uptr);
SAME_FIELD(access_rw.flags, access_rw.flags);
SAME_FIELD(memory_limit.limit, memory_limit.limit);
SAME_FIELD(access_replace_ioas.ioas_id, access_replace_ioas.ioas_id);
SAME_FIELD(dirty.flags, dirty.flags);
SAME_FIELD(dirty.iova, dirty.iova);
SAME_FIELD(dirty.length, dirty.length);
SAME_FIELD(dirty.page_size, dirty.page_size);
SAME_FIELD(dirty.uptr, dirty.uptr);
SAME_FIELD(dirty.out_num_dirty, dirty.out_nr_dirty);
SAME_FIELD(check_iotlb.index, check_iotlb.id);
SAME_FIELD(check_iotlb.value, check_iotlb.iotlb);
SAME_FIELD(trigger_iopf.dev_id, trigger_iopf.dev_id);
SAME_FIELD(trigger_iopf.pasid, trigger_iopf.pasid);
SAME_FIELD(trigger_iopf.group, trigger_iopf.grpid);
SAME_FIELD(trigger_iopf.perm, trigger_iopf.perm);
SAME_FIELD(trigger_iopf.addr, trigger_iopf.addr);
SAME_FIELD(check_cache.index, check_dev_cache.id);
SAME_FIELD(check_cache.value, check_dev_cache.cache);
SAME_FIELD(trigger_vevent.dev_id, trigger_vevent.dev_id);
SAME_FIELD(pasid.pasid, pasid_attach.pasid);
SAME_FIELD(pasid.pt_id, pasid_attach.pt_id);
SAME_FIELD(pasid.pasid, pasid_replace.pasid);
SAME_FIELD(pasid.pt_id, pasid_replace.pt_id);
SAME_FIELD(pasid.pasid, pasid_detach.pasid);
SAME_FIELD(pasid.pasid, pasid_check.pasid);
SAME_FIELD(pasid.pt_id, pasid_check.hwpt_id);
SAME_FIELD(dmabuf_get.length, dmabuf_get.length);
SAME_FIELD(dmabuf_get.open_flags, dmabuf_get.open_flags);
SAME_FIELD(dmabuf_revoke.fd, dmabuf_revoke.dmabuf_fd);
SAME_FIELD(dmabuf_revoke.revoked, dmabuf_revoke.revoked);

SAME(SELFTEST_DEVICE_NO_DIRTY, MOCK_FLAGS_DEVICE_NO_DIRTY);
SAME(SELFTEST_DEVICE_PASID, MOCK_FLAGS_DEVICE_PASID);
SAME(SELFTEST_ACCESS_PINS, MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES);
SAME(SELFTEST_ACCESS_WRITE, MOCK_FLAGS_ACCESS_WRITE);
SAME(SELFTEST_ACCESS_WRITE, MOCK_ACCESS_RW_WRITE);
SAME(SELFTEST_ACCESS_SLOW, MOCK_ACCESS_RW_SLOW_PATH);
SAME(SELFTEST_ACCESS_NTH, MOCK_FLAGS_ACCESS_SYZ);

SAME(SELFTEST_APERTURE_START, MOCK_APERTURE_START);
SAME(SELFTEST_APERTURE_LAST, MOCK_APERTURE_LAST);
SAME(SELFTEST_PAGE_SIZE, MOCK_PAGE_SIZE);
SAME(SELFTEST_HUGE_PAGE_SIZE, MOCK_HUGE_PAGE_SIZE);
SAME(SELFTEST_PASID_LG2, MOCK_PASID_WIDTH);
SAME(SELFTEST_FAILING_PASID, IOMMU_TEST_PASID_RESERVED);
SAME(SELFTEST_CACHE_ENTRIES, MOCK_DEV_CACHE_NUM);
SAME(SELFTEST_CACHE_ENTRIES, MOCK_NESTED_DOMAIN_IOTLB_NUM);
SAME(SELFTEST_CACHE_DEFAULT, IOMMU_TEST_DEV_CACHE_DEFAULT);
SAME(SELFTEST_MAX_HW_QUEUES, IOMMU_TEST_HW_QUEUE_MAX);

SAME(SELFTEST_HW_INFO_TYPE, IOMMU_HW_INFO_TYPE_SELFTEST);
SAME(SELFTEST_HW_INFO_REG, IOMMU_HW_INFO_SELFTEST_REGVAL);
SAME_STRUCT(selftest_hw_info, iommu_test_hw_info);
SAME_MEMBER(selftest_hw_info, test_reg, iommu_test_hw_info, test_reg);
SAME(SELFTEST_HWPT_DATA, IOMMU_HWPT_DATA_SELFTEST);
SAME(SELFTEST_PAGETABLE_DEFAULT, MOCK_IOMMUPT_DEFAULT);
SAME(SELFTEST_PAGETABLE_HUGE, MOCK_IOMMUPT_HUGE);
SAME_STRUCT(selftest_hwpt, iommu_hwpt_selftest);
SAME_MEMBER(selftest_hwpt, pagetable, iommu_hwpt_selftest, pagetable_type);
SAME(SELFTEST_INVALIDATE_DATA, IOMMU_HWPT_INVALIDATE_DATA_SELFTEST);
SAME(SELFTEST_INVALIDATE_DATA, IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST);
SAME(SELFTEST_INVALIDATE_ALL, IOMMU_TEST_INVALIDATE_FLAG_ALL);
SAME_STRUCT(selftest_hwpt_invalidate, iommu_hwpt_invalidate_selftest);
SAME_MEMBER(selftest_hwpt_invalidate, iotlb_index, iommu_hwpt_invalidate_selftest, iotlb_id);
SAME_STRUCT(selftest_viommu_invalidate, iommu_viommu_invalidate_selftest);
SAME_MEMBER(selftest_viommu_invalidate, vdev_id, iommu_viommu_invalidate_selftest, vdev_id);
SAME_MEMBER(selftest_viommu_invalidate, cache_index, iommu_viommu_invalidate_selftest, cache_id);
SAME(SELFTEST_VIOMMU_TYPE, IOMMU_VIOMMU_TYPE_SELFTEST);
SAME_STRUCT(selftest_viommu, iommu_viommu_selftest);
SAME_MEMBER(selftest_viommu, out_data, iommu_viommu_selftest, out_data);
SAME_MEMBER(selftest_viommu, out_mmap_offset, iommu_viommu_selftest, out_mmap_offset);
SAME_MEMBER(selftest_viommu, out_mmap_length, iommu_viommu_selftest, out_mmap_length);
SAME(SELFTEST_VEVENTQ_TYPE, IOMMU_VEVENTQ_TYPE_SELFTEST);
SAME_STRUCT(selftest_vevent, iommu_viommu_event_selftest);
SAME(SELFTEST_HW_QUEUE_TYPE, IOMMU_HW_QUEUE_TYPE_SELFTEST);
