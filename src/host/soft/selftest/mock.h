/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The mock IOMMU of the kernel's iommufd selftest: no hardware at all, but a driver that
 * has one of everything - nesting, vIOMMUs, hardware queues, page requests, dirty bits,
 * PASIDs - and IOMMU_TEST_CMD, by which a program makes devices, has things happen to them
 * and looks behind the ABI.
 *
 *	SELFTEST (a mock device of a context) --> BOUND
 *	access descriptor --> ACCESS, context
 *
 *	mock.c		the driver
 *	mock_viommu.c	its vIOMMUs
 *	mock_test.c	IOMMU_TEST_CMD: devices, events, dirty bits
 *	mock_access.c	accesses, which are descriptors
 *	mock_check.c	what is really mapped, and pinned
 *
 * Source: Linux 7.2 drivers/iommu/iommufd/selftest.c.
 */
#ifndef HOST_SOFT_MOCK_H
#define HOST_SOFT_MOCK_H

#include "host/soft/selftest/mock_abi.h"
#include "host/soft/soft.h"
#include "host/soft/hwpt.h"
#include "host/soft/vfio/device.h"

struct soft_viommu_ops;

/* A device that does nothing but be attached. */
struct mock_device {
	struct endpoint ep;
	uint32_t flags; /* SELFTEST_DEVICE_* */
	uint32_t cache[SELFTEST_CACHE_ENTRIES];
	/* as the last attachment of the RID found them: */
	struct soft_viommu *viommu;
	uint64_t vdev_id;
	bool next_attach_fails; /* of SELFTEST_FAILING_PASID */
};

static inline struct mock_device *to_mock_device(const struct soft_device *dev)
{
	return container_of(dev->ep, struct mock_device, ep);
}

extern const struct soft_viommu_ops mock_viommu_ops;

/*
 * The caller's data of @size bytes at most and @min at least, filled up with zeros.
 * -EINVAL, -EFAULT
 */
NST_MUST_CHECK int mock_copy_data(void *to, size_t size, size_t min, uint64_t user, uint32_t len);
NST_MUST_CHECK int mock_nested_init(const struct iommu_hwpt_alloc *cmd,
				    struct soft_hwpt_nested *nested);

/* -EINVAL: @flags, -ENOMEM */
NST_MUST_CHECK int mock_device_create(struct soft_host *host, uint32_t flags,
				      struct soft_device **out);

/* mock_test.c */
int mock_test_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock);
void soft_selftest_destroy(struct soft_ctx *ctx, struct soft_object *obj) REQUIRES(&ctx->lock);

/* mock_access.c: one operation each, errors as the kernel's */
NST_MUST_CHECK int mock_create_access(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
	REQUIRES(&ctx->lock);
NST_MUST_CHECK int mock_access_replace_ioas(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
	REQUIRES(&ctx->lock);
NST_MUST_CHECK int mock_access_pages(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
	REQUIRES(&ctx->lock);
NST_MUST_CHECK int mock_destroy_access_pages(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
	REQUIRES(&ctx->lock);
NST_MUST_CHECK int mock_access_rw(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
	REQUIRES(&ctx->lock);

/* mock_check.c */
NST_MUST_CHECK int mock_check_map(struct soft_ctx *ctx, const struct selftest_cmd *cmd)
	REQUIRES(&ctx->lock);
/* Lets go of the lock in between: it looks at other contexts too. */
NST_MUST_CHECK int mock_check_refs(struct soft_ctx *ctx, const struct selftest_cmd *cmd)
	REQUIRES(&ctx->lock);
/* Are the pages at @a and @b the same memory? 0, -EINVAL if not, -EFAULT. */
NST_MUST_CHECK int mock_is_same_memory(uint64_t a, uint64_t b, uint64_t length);

#endif
