/* SPDX-License-Identifier: GPL-2.0-only */
/* What a queue's operations reach: see space.c. */
#ifndef DMATEST_SPACE_H
#define DMATEST_SPACE_H

#include <linux/list.h>
#include <linux/types.h>

struct device;
struct iommu_domain;
struct iommu_sva;

struct dmatest_space {
	struct device *device;
	u32 pasid;
	struct iommu_sva *sva; /* all of the process's memory, or */
	struct iommu_domain *domain; /* what is in areas */
	struct list_head areas;
};

/* For the calling process. */
int dmatest_space_open(struct dmatest_space *space, struct device *device);
/* After the end of DMA. */
void dmatest_space_close(struct dmatest_space *space);

/* Whole pages of the calling process. 1: there is nothing to do, it has all. */
int dmatest_space_share(struct dmatest_space *space, unsigned long address, size_t length);
/* Just what one call has shared. */
int dmatest_space_unshare(struct dmatest_space *space, unsigned long address, size_t length);

#endif
