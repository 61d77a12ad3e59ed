/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A dma-buf: memory that somebody exports by a descriptor, for devices to reach, and may
 * revoke. What was mapped of it then leads nowhere, and stays so: mapping again is what
 * brings it back after the exporter has made it valid again.
 *
 * Only the selftest's driver exports some, and none of its devices does DMA; who adds an
 * exporter for devices that do has to take revoked areas out of their translations.
 *
 * Source: Linux 7.2 drivers/iommu/iommufd/{pages,selftest}.c.
 */
#ifndef HOST_SOFT_DMABUF_H
#define HOST_SOFT_DMABUF_H

#include "host/soft/soft.h"
#include "host/soft/ioas.h"

/* A descriptor of a new dma-buf of @length bytes, or -EINVAL, -ENOMEM, -EMFILE. */
NST_MUST_CHECK int soft_dmabuf_create(struct soft_host *host, uint64_t length, int flags,
				      struct soft_file **put_after);
/* -ENOTTY: @fd is no dma-buf; -EINVAL: not inside of it; -ENODEV: revoked; -ENOMEM. */
NST_MUST_CHECK int soft_pages_create_dmabuf(struct soft_host *host, int fd, uint64_t start,
					    uint64_t length, bool writable,
					    struct soft_pages **out);
/* @pages end. */
void soft_dmabuf_forget(struct soft_pages *pages);
/* -ENOTTY: @fd is no dma-buf. In both cases what is mapped now leads nowhere. */
NST_MUST_CHECK int soft_dmabuf_revoke(struct soft_host *host, int fd, bool revoked);

#endif
