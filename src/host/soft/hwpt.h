/* SPDX-License-Identifier: BSD-3-Clause */
/* Hardware page tables: domains on an IOAS, nested ones, and what was written through them. */
#ifndef HOST_SOFT_HWPT_H
#define HOST_SOFT_HWPT_H

#include "base/endian.h"
#include "host/soft/dirty_map.h"
#include "host/soft/ioas.h"

/* --- hwpt.c, nested.c --------------------------------------------------------------- */

struct soft_fault;

struct soft_hwpt {
	struct soft_object obj;
	struct soft_fault *fault; /* page requests go there; may be NULL */
	bool pasid_compat; /* IOMMU_HWPT_ALLOC_PASID: what it replaces and joins must have it */
	/* the driver's: entries of the unit that carry the tag of its caches, valid if > 0 */
	unsigned int programmed;
	uint32_t tag;
};

struct soft_hwpt_paging {
	struct soft_hwpt hwpt;
	struct soft_ioas *ioas;
	struct soft_iommu *iommu;
	struct soft_hwpt_paging *next_domain;
	bool nest_parent;
	bool auto_domain; /* made by attaching to an IOAS, ends with its last attachment */
	bool dirty_tracking;
	struct dirty_map dirty; /* if dirty_tracking: a range per area of the IOAS */
	/* the driver's to say: */
	uint64_t aperture_start, aperture_last;
	uint64_t page_sizes; /* a bit each; 4 KiB, 2 MiB and 1 GiB if it says nothing */
};

struct soft_hwpt_nested {
	struct soft_hwpt hwpt;
	struct soft_hwpt_paging *parent;
	struct soft_viommu *viommu; /* made through it; NULL: straight on the parent */
	union {			    /* the driver's */
		struct iommu_hwpt_vtd_s1 vtd;
		le64 ste[2]; /* SMMUv3: as the guest wrote them, or all zero if not valid */
		uint32_t selftest_iotlb[SELFTEST_CACHE_ENTRIES];
	};
};

/* The HWPT an object is, or NULL. */
struct soft_hwpt *soft_object_to_hwpt(struct soft_object *obj);
/* @hwpt itself, or the parent of a nested one. */
struct soft_hwpt_paging *soft_hwpt_to_paging(struct soft_hwpt *hwpt);
/* What reports say of a device attached to @hwpt. */
struct sanitizer_domain soft_hwpt_name(struct soft_hwpt *hwpt);

/* Reserved, filled and in its IOAS, but not finalized. @data: of the driver, in it, or NULL. */
NST_MUST_CHECK int soft_hwpt_paging_alloc(struct soft_ctx *ctx, const struct soft_device *dev,
					  struct soft_ioas *ioas, uint32_t flags,
					  const struct iommu_hwpt_alloc *data,
					  struct soft_hwpt_paging **out) REQUIRES(&ctx->lock);
void soft_hwpt_paging_abort(struct soft_ctx *ctx, struct soft_hwpt_paging *paging)
	REQUIRES(&ctx->lock);
void soft_hwpt_paging_destroy(struct soft_ctx *ctx, struct soft_object *obj) REQUIRES(&ctx->lock);

/* @viommu: through it, or NULL. */
NST_MUST_CHECK int soft_hwpt_nested_alloc(struct soft_ctx *ctx, struct soft_hwpt_paging *parent,
					  struct soft_viommu *viommu,
					  const struct iommu_hwpt_alloc *cmd,
					  struct soft_hwpt_nested **out) REQUIRES(&ctx->lock);
void soft_hwpt_nested_abort(struct soft_ctx *ctx, struct soft_hwpt_nested *nested)
	REQUIRES(&ctx->lock);
void soft_hwpt_nested_destroy(struct soft_ctx *ctx, struct soft_object *obj) REQUIRES(&ctx->lock);

/* --- dirty.c: for each domain of @ioas that tracks; between map_begin() and map_end() of the unit
 */

NST_MUST_CHECK int soft_dirty_add_area(struct soft_ioas *ioas, uint64_t start, uint64_t last);
void soft_dirty_remove_area(struct soft_ioas *ioas, uint64_t start, uint64_t last);
NST_MUST_CHECK int soft_dirty_split_area(struct soft_ioas *ioas, uint64_t start);

#endif
