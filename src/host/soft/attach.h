/* SPDX-License-Identifier: BSD-3-Clause */
/* A device in a context, and what it is attached to. See attach.c. */
#ifndef HOST_SOFT_ATTACH_H
#define HOST_SOFT_ATTACH_H

#include "host/soft/hwpt.h"

/* The RID's own attachment, as the kernel spells it: PASID 0 is not usable as a PASID. */
#define SOFT_RID_PASID 0

static inline uint32_t soft_unit_pasid(uint32_t pasid)
{
	return pasid == SOFT_RID_PASID ? NST_NO_PASID : pasid;
}

struct soft_attachment {
	uint32_t pasid;	 /* SOFT_RID_PASID: requests without PASID */
	bool via_pasid;	 /* came with the PASID flag; matters for pasid 0 only */
	bool programmed; /* the translation unit has an entry */
	struct soft_hwpt *hwpt;
};

/* A device in a context. */
struct soft_bound {
	struct soft_object obj;
	struct soft_device *dev;
	struct soft_vdevice *vdevice;	     /* or NULL */
	struct soft_attachment *attachments; /* ascending by pasid */
	size_t num_attachments, max_attachments;
};

NST_MUST_CHECK int soft_bound_create(struct soft_ctx *ctx, struct soft_device *dev,
				     struct soft_bound **out) EXCLUDES(&ctx->lock);
NST_MUST_CHECK int soft_bound_create_locked(struct soft_ctx *ctx, struct soft_device *dev,
					    struct soft_bound **out) REQUIRES(&ctx->lock);
/* Detaches everything. */
void soft_bound_destroy(struct soft_ctx *ctx, struct soft_bound *bound) EXCLUDES(&ctx->lock);
void soft_bound_destroy_locked(struct soft_ctx *ctx, struct soft_bound *bound) REQUIRES(&ctx->lock);
struct soft_bound *soft_bound_find(struct soft_ctx *ctx, uint32_t id) REQUIRES(&ctx->lock);
struct soft_device *soft_device_find(struct soft_ctx *ctx, uint32_t id) REQUIRES(&ctx->lock);

/* Attach, or replace what is there. *@pt_id gets the HWPT. Any failure changes nothing. */
NST_MUST_CHECK int soft_bound_attach(struct soft_ctx *ctx, struct soft_bound *bound, uint32_t pasid,
				     bool via_pasid, uint32_t *pt_id) EXCLUDES(&ctx->lock);
void soft_bound_detach(struct soft_ctx *ctx, struct soft_bound *bound, uint32_t pasid,
		       bool via_pasid) EXCLUDES(&ctx->lock);
void soft_bound_detach_locked(struct soft_ctx *ctx, struct soft_bound *bound, uint32_t pasid,
			      bool via_pasid) REQUIRES(&ctx->lock);

/* One of the two calls that iommufd has for its drivers. */
struct soft_change {
	uint32_t pasid;
	bool via_pasid;
	bool replace; /* what is there (-EINVAL: nothing is); else nothing may be (-EBUSY) */
};

NST_MUST_CHECK int soft_bound_change_locked(struct soft_ctx *ctx, struct soft_bound *bound,
					    const struct soft_change *change, uint32_t *pt_id)
	REQUIRES(&ctx->lock);
/* What requests with @pasid go through, or NULL. */
struct soft_hwpt *soft_bound_hwpt(const struct soft_bound *bound, uint32_t pasid);

#endif
