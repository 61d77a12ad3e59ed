/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Accesses: whoever reads or writes through an IOAS without being a device. In the kernel
 * these are drivers that emulate devices, and hardware queues in guest memory.
 *
 *	ACCESS --> IOAS
 *
 * An access may pin ranges. Memory under a pin stays until it is unpinned: unmapping it
 * asks the access to let go first (unmap()), or, if it cannot be asked, is refused. Here,
 * where pages cannot be pinned, that is all there is to a pin.
 *
 * Source: Linux 7.2 drivers/iommu/iommufd/device.c.
 */
#ifndef HOST_SOFT_ACCESS_H
#define HOST_SOFT_ACCESS_H

#include "host/soft/soft.h"
#include "host/soft/ioas.h"

struct soft_access;

struct soft_pin {
	struct soft_pin *next;
	uint64_t start, last; /* addresses of the IOAS */
	uint32_t id;	      /* the maker's */
};

/* Unpin what meets [start, last]; what is left after that fails the unmapping. */
typedef void soft_access_unmap_fn(struct soft_access *access, uint64_t start, uint64_t last);

struct soft_access {
	struct soft_object obj; /* has a user from the beginning: its maker */
	struct soft_ioas *ioas; /* NULL: detached */
	struct soft_access *next;
	soft_access_unmap_fn *unmap; /* NULL: a pin forbids unmapping */
	bool pins_pages;	     /* whole ones: the IOAS's alignment is at least 4096 */
	struct soft_pin *pins;
};

/* Everything here wants soft_ctx.lock. */
NST_MUST_CHECK int soft_access_create(struct soft_ctx *ctx, soft_access_unmap_fn *unmap,
				      bool pins_pages, struct soft_access **out)
	REQUIRES(&ctx->lock);
/* Detaches. */
void soft_access_destroy(struct soft_ctx *ctx, struct soft_access *access) REQUIRES(&ctx->lock);
/* Attach to @ioas instead of what there was; NULL: to nothing. -EADDRINUSE: its areas don't fit. */
NST_MUST_CHECK int soft_access_change_ioas(struct soft_access *access, struct soft_ioas *ioas);

/* Errors: -ENOENT nothing or a hole, -EINVAL, -EOVERFLOW, -EPERM, -EFAULT, -ENOMEM. */
NST_MUST_CHECK int soft_access_pin(struct soft_access *access, uint64_t start, uint64_t length,
				   bool write, struct soft_pin **out);
void soft_access_unpin(struct soft_access *access, struct soft_pin *pin);
/* As far as it goes: on failure a part may have been copied. Errors: as soft_access_pin(). */
NST_MUST_CHECK int soft_access_rw(struct soft_access *access, uint64_t start, void *buf,
				  uint64_t length, bool write);
/* The host address of @iova, which is mapped. */
uint64_t soft_ioas_to_hva(const struct soft_ioas *ioas, uint64_t iova);

/* Before an area is unmapped. -EBUSY: a pin that cannot be asked for. */
NST_MUST_CHECK int soft_access_blocks_unmap(const struct soft_ioas *ioas, uint64_t start,
					    uint64_t last);
/* Then. -EDEADLOCK: somebody does not let go. */
NST_MUST_CHECK int soft_access_notify_unmap(struct soft_ioas *ioas, uint64_t start, uint64_t last);

#endif
