/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iommufd as a client sees it: one function per ioctl of the seam that the guest half
 * uses, with typed arguments, nothing else. Object ids are the kernel's. Errors are
 * the host's, unchanged (Documentation/userspace-api/iommufd.rst).
 */
#ifndef IOMMUFD_IOMMUFD_H
#define IOMMUFD_IOMMUFD_H

#include <nestor/host.h>

#include <linux/iommufd.h>
#include <stdbool.h>

/* One open of /dev/iommu. All functions may be called from any thread. */
struct iommufd {
	struct nst_host *host;
	int fd;
};

struct iommufd_hw_info {
	uint32_t type;	       /* enum iommu_hw_info_type */
	uint64_t capabilities; /* enum iommufd_hw_capabilities */
	uint8_t max_pasid_log2;
	union { /* by type */
		struct iommu_hw_info_vtd vtd;
		struct iommu_hw_info_arm_smmuv3 smmuv3;
	};
};

NST_MUST_CHECK int iommufd_open(struct nst_host *host, struct iommufd *out);
void iommufd_close(struct iommufd *iommufd);

/* An object that cannot be destroyed is our own bug, but one that only leaks. */
int iommufd_destroy(const struct iommufd *iommufd, uint32_t id);

NST_MUST_CHECK int iommufd_ioas_alloc(const struct iommufd *iommufd, uint32_t *ioas_id);
/* @prot: of IOMMU_IOAS_MAP_READABLE and _WRITEABLE. */
NST_MUST_CHECK int iommufd_ioas_map(const struct iommufd *iommufd, uint32_t ioas_id, uint64_t iova,
				    uint64_t length, void *user_va, uint32_t prot);
NST_MUST_CHECK int iommufd_ioas_map_file(const struct iommufd *iommufd, uint32_t ioas_id,
					 uint64_t iova, uint64_t length, int fd, uint64_t start,
					 bool writable);
int iommufd_ioas_unmap(const struct iommufd *iommufd, uint32_t ioas_id, uint64_t iova,
		       uint64_t length);

/*
 * Where mappings may be, ascending. *@count: room in @ranges, then how many there are; if
 * there are more than fit, the first of them.
 */
NST_MUST_CHECK int iommufd_ioas_iova_ranges(const struct iommufd *iommufd, uint32_t ioas_id,
					    struct iommu_iova_range *ranges, uint32_t *count);

NST_MUST_CHECK int iommufd_get_hw_info(const struct iommufd *iommufd, uint32_t dev_id,
				       struct iommufd_hw_info *out);

NST_MUST_CHECK int iommufd_hwpt_alloc_paging(const struct iommufd *iommufd, uint32_t dev_id,
					     uint32_t ioas_id, uint32_t flags, uint32_t *hwpt_id);
/* @fault_id counts if @flags have IOMMU_HWPT_FAULT_ID_VALID. */
NST_MUST_CHECK int iommufd_hwpt_alloc_vtd_s1(const struct iommufd *iommufd, uint32_t dev_id,
					     uint32_t parent_id, uint32_t flags, uint32_t fault_id,
					     const struct iommu_hwpt_vtd_s1 *data,
					     uint32_t *hwpt_id);

/* An SMMUv3's nested HWPT is made from a vIOMMU, and holds words of a stream table entry. */
NST_MUST_CHECK int iommufd_hwpt_alloc_arm_smmuv3(const struct iommufd *iommufd, uint32_t dev_id,
						 uint32_t viommu_id, uint32_t flags,
						 uint32_t fault_id,
						 const struct iommu_hwpt_arm_smmuv3 *data,
						 uint32_t *hwpt_id);

/* All of the @count commands, or an error: how many are done then, nobody knows. */
NST_MUST_CHECK int iommufd_viommu_invalidate_arm_smmuv3(
	const struct iommufd *iommufd, uint32_t viommu_id,
	const struct iommu_viommu_arm_smmuv3_invalidate *commands, uint32_t count);

/* A queue of page requests, and the descriptor to read them from and to answer them with. */
NST_MUST_CHECK int iommufd_fault_queue_alloc(const struct iommufd *iommufd, uint32_t *fault_id,
					     int *fd);

/*
 * A slice of the host's IOMMU that is the guest's, of which @dev_id is behind and @parent_id is the
 * nesting parent; a device in it, and by which number the guest knows it; a queue of @depth events
 * about them, and the descriptor to read them from.
 */
NST_MUST_CHECK int iommufd_viommu_alloc(const struct iommufd *iommufd, uint32_t type,
					uint32_t dev_id, uint32_t parent_id, uint32_t *viommu_id);
NST_MUST_CHECK int iommufd_vdevice_alloc(const struct iommufd *iommufd, uint32_t viommu_id,
					 uint32_t dev_id, uint64_t virt_id, uint32_t *vdevice_id);
NST_MUST_CHECK int iommufd_veventq_alloc(const struct iommufd *iommufd, uint32_t viommu_id,
					 uint32_t type, uint32_t depth, uint32_t *veventq_id,
					 int *fd);

/* *@done gets how many of the @count entries the host has carried out, also on error. */
NST_MUST_CHECK int iommufd_hwpt_invalidate_vtd_s1(
	const struct iommufd *iommufd, uint32_t hwpt_id,
	const struct iommu_hwpt_vtd_s1_invalidate *entries, uint32_t count, uint32_t *done);

#endif
