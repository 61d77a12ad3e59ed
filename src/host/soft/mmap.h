/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that a program maps through the descriptor of a context: registers of hardware
 * in the kernel, here a memfd that plays them.
 *
 * An object that has some registers it and gets an offset, from 4096 on, the lowest where
 * it fits; only exactly that offset and length can be mapped. A live mapping holds the
 * object (IOMMU_DESTROY: EBUSY) and the context's file. It ends with munmap() of all of it,
 * which therefore has to come to the host; mremap() and a mapping put over it are not seen.
 *
 * Source: Linux 7.2 drivers/iommu/iommufd/{main,driver}.c.
 */
#ifndef HOST_SOFT_MMAP_H
#define HOST_SOFT_MMAP_H

#include "host/soft/soft.h"

/* What can be mapped. */
struct soft_mmap {
	struct soft_mmap *next; /* in the order of offsets */
	struct soft_object *owner;
	uint64_t offset, length;
	int memfd; /* the owner's */
};

/* Both with @ctx->lock held. @length is a multiple of 4096. -ENOMEM */
NST_MUST_CHECK int soft_mmap_add(struct soft_ctx *ctx, struct soft_object *owner, int memfd,
				 uint64_t length, uint64_t *offset);
void soft_mmap_remove(struct soft_ctx *ctx, uint64_t offset);

/* As the mmap operation of a file: @file is a context's. */
void *soft_mmap_map(struct soft_file *file, size_t length, int prot, int flags, off_t offset,
		    int *err);

/* Does anything in [addr, addr + length) belong to @host? */
bool soft_is_mapped(struct soft_host *host, const void *addr, size_t length) EXCLUDES(&host->lock);
/* As munmap(2). */
NST_MUST_CHECK int soft_munmap(struct soft_host *host, void *addr, size_t length)
	EXCLUDES(&host->lock);
/* The host ends. */
void soft_munmap_all(struct soft_host *host) EXCLUDES(&host->lock);

#endif
