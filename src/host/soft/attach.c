// SPDX-License-Identifier: BSD-3-Clause
/*
 * What a device is attached to, per PASID: attach, replace, detach.
 *
 * Every change prepares all that can fail - the new HWPT, the reserved ranges in its
 * IOAS, room to remember the attachment - then lets the driver write the entry of the
 * translation unit, which either succeeds or changes nothing, and only then lets go of
 * the old HWPT. So a failed replace leaves everything as it was. (Linux 7.2 forgets the
 * device's reserved ranges when a replace inside one IOAS fails; that is a quirk.)
 *
 * Source: Linux 7.2 drivers/iommu/iommufd/device.c, drivers/iommu/iommu.c,
 * drivers/vfio/iommufd.c.
 */
#include "host/soft/soft.h"
#include "host/soft/ioas.h"
#include "host/soft/hwpt.h"
#include "host/soft/fault.h"
#include "host/soft/attach.h"
#include "host/soft/vfio/device.h"
#include "host/soft/viommu.h"

#include "base/sorted.h"

#include <errno.h>
#include <string.h>

/* The index of the first attachment at or behind @pasid. */
static size_t lower_bound(const struct soft_bound *bound, uint32_t pasid)
{
	return LOWER_BOUND(bound->num_attachments, i, bound->attachments[i].pasid < pasid);
}

static struct soft_attachment *find_attachment(const struct soft_bound *bound, uint32_t pasid)
{
	size_t i = lower_bound(bound, pasid);

	return i < bound->num_attachments && bound->attachments[i].pasid == pasid
		       ? &bound->attachments[i]
		       : NULL;
}

static const struct soft_iommu_ops *iommu_ops(const struct soft_bound *bound)
{
	return bound->dev->host->iommu->ops;
}

/* Of a device without the PASID capability the kernel accepts every PASID and does nothing. */
static bool needs_entry(const struct soft_device *dev, uint32_t pasid)
{
	return pasid == SOFT_RID_PASID || dev->max_pasid_lg2;
}

/* --- rules ---------------------------------------------------------------------------- */

static int check_pasid_rules(const struct soft_bound *bound, uint32_t pasid,
			     const struct soft_hwpt *hwpt)
{
	const struct soft_attachment *rid = find_attachment(bound, SOFT_RID_PASID);

	if (pasid == SOFT_RID_PASID) {
		bool any_pasid = bound->num_attachments > (rid ? 1 : 0);

		return any_pasid && !hwpt->pasid_compat ? -EINVAL : 0;
	}
	if (!hwpt->pasid_compat || (rid && !rid->hwpt->pasid_compat))
		return -EINVAL;
	if (bound->dev->max_pasid_lg2 && pasid >= BIT64(bound->dev->max_pasid_lg2))
		return -EINVAL;
	return 0;
}

/* Keep the windows out of the IOAS that the RID's requests go to. */
static int reserve_windows(struct soft_ioas *ioas, const struct soft_bound *bound)
{
	const struct soft_window *windows = iommu_ops(bound)->windows;
	int err = 0;

	for (unsigned int i = 0; i < SOFT_MAX_WINDOWS && windows[i].last && !err; i++)
		err = soft_ioas_reserve(ioas, windows[i].start, windows[i].last, bound);
	if (err)
		soft_ioas_unreserve(ioas, bound);
	return err;
}

static struct soft_ioas *ioas_of(struct soft_hwpt *hwpt)
{
	return soft_hwpt_to_paging(hwpt)->ioas;
}

/* --- the translation unit ------------------------------------------------------------- */

static int program(struct soft_bound *bound, uint32_t pasid, struct soft_hwpt *hwpt)
{
	struct sanitizer_domain name;
	int err = soft_fault_prepare(bound->dev, hwpt);

	if (!err)
		err = iommu_ops(bound)->attach(bound, pasid, hwpt);
	if (err)
		return err;
	name = soft_hwpt_name(hwpt);
	sanitizer_attached(bound->dev->host->sanitizer, bound->dev->rid, soft_unit_pasid(pasid),
			   &name);
	soft_fault_switch(bound, pasid, hwpt);
	return 0;
}

/* No entry carries this attachment any more: empty the caches of what it left there. */
static void forget(struct soft_bound *bound, const struct soft_attachment *old)
{
	if (old->programmed)
		iommu_ops(bound)->forget(bound, old->pasid, old->hwpt);
}

static void block(struct soft_bound *bound, uint32_t pasid)
{
	sanitizer_attached(bound->dev->host->sanitizer, bound->dev->rid, soft_unit_pasid(pasid),
			   NULL);
	iommu_ops(bound)->detach(bound, pasid);
	soft_fault_switch(bound, pasid, NULL);
}

/* Drop the hold of one attachment; a domain that attaching had made ends with its last. */
static void put_hwpt(struct soft_ctx *ctx, struct soft_hwpt *hwpt) REQUIRES(&ctx->lock)
{
	hwpt->obj.users--;
	if (hwpt->obj.type == SOFT_HWPT_PAGING && soft_hwpt_to_paging(hwpt)->auto_domain &&
	    !hwpt->obj.users)
		soft_object_remove(ctx, &hwpt->obj);
}

/* --- attach, replace, detach ---------------------------------------------------------- */

static int make_room(struct soft_bound *bound)
{
	size_t max = bound->max_attachments ? 2 * bound->max_attachments : 4;
	struct soft_attachment *grown;

	if (bound->num_attachments < bound->max_attachments)
		return 0;
	grown = alloc_resize(bound->attachments, max, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	bound->attachments = grown;
	bound->max_attachments = max;
	return 0;
}

/* There is room. */
static void insert(struct soft_bound *bound, const struct soft_attachment *made)
{
	size_t i = lower_bound(bound, made->pasid);

	memmove(&bound->attachments[i + 1], &bound->attachments[i],
		(bound->num_attachments++ - i) * sizeof(*made));
	bound->attachments[i] = *made;
}

static void remove_attachment(struct soft_bound *bound, struct soft_attachment *attachment)
{
	size_t i = (size_t)(attachment - bound->attachments);

	memmove(attachment, attachment + 1, (--bound->num_attachments - i) * sizeof(*attachment));
}

static int attach_first(struct soft_bound *bound, uint32_t pasid, bool via_pasid,
			struct soft_hwpt *hwpt)
{
	struct soft_attachment made = { .pasid = pasid,
					.via_pasid = via_pasid,
					.programmed = needs_entry(bound->dev, pasid),
					.hwpt = hwpt };
	int err = make_room(bound);

	if (!err && pasid == SOFT_RID_PASID)
		err = reserve_windows(ioas_of(hwpt), bound);
	if (err)
		return err;
	err = check_pasid_rules(bound, pasid, hwpt);
	if (!err && made.programmed)
		err = program(bound, pasid, hwpt);
	if (err) {
		if (pasid == SOFT_RID_PASID)
			soft_ioas_unreserve(ioas_of(hwpt), bound);
		return err;
	}
	hwpt->obj.users++;
	insert(bound, &made);
	return 0;
}

static int replace(struct soft_ctx *ctx, struct soft_bound *bound,
		   struct soft_attachment *attachment, struct soft_hwpt *hwpt) REQUIRES(&ctx->lock)
{
	struct soft_attachment old = *attachment;
	bool moves_window = old.pasid == SOFT_RID_PASID && ioas_of(hwpt) != ioas_of(old.hwpt);
	int err = 0;

	if (hwpt == old.hwpt)
		return 0;
	if (moves_window)
		err = reserve_windows(ioas_of(hwpt), bound);
	if (err)
		return err;
	err = check_pasid_rules(bound, old.pasid, hwpt);
	if (!err && old.programmed)
		err = program(bound, old.pasid, hwpt);
	if (err) {
		if (moves_window ||
		    (old.pasid == SOFT_RID_PASID && bound->dev->host->iommu->quirks))
			soft_ioas_unreserve(ioas_of(hwpt), bound);
		return err;
	}
	attachment->hwpt = hwpt;
	hwpt->obj.users++;
	forget(bound, &old);
	if (moves_window)
		soft_ioas_unreserve(ioas_of(old.hwpt), bound);
	put_hwpt(ctx, old.hwpt);
	return 0;
}

static void detach(struct soft_ctx *ctx, struct soft_bound *bound,
		   struct soft_attachment *attachment) REQUIRES(&ctx->lock)
{
	struct soft_attachment old = *attachment;

	if (old.programmed)
		block(bound, old.pasid);
	forget(bound, &old);
	if (old.pasid == SOFT_RID_PASID)
		soft_ioas_unreserve(ioas_of(old.hwpt), bound);
	remove_attachment(bound, attachment);
	put_hwpt(ctx, old.hwpt);
}

/* One device per group here, so what the kernel keeps per group is per device. */
static int change_to_hwpt(struct soft_ctx *ctx, struct soft_bound *bound,
			  const struct soft_change *change, struct soft_hwpt *hwpt)
	REQUIRES(&ctx->lock)
{
	struct soft_attachment *attachment = find_attachment(bound, change->pasid);

	if (change->replace)
		return attachment ? replace(ctx, bound, attachment, hwpt) : -EINVAL;
	return attachment ? -EBUSY : attach_first(bound, change->pasid, change->via_pasid, hwpt);
}

/* --- an IOAS: through a domain that is there, or a new one ----------------------------- */

static int make_auto_domain(struct soft_ctx *ctx, struct soft_bound *bound,
			    const struct soft_change *change, struct soft_ioas *ioas,
			    struct soft_hwpt **out) REQUIRES(&ctx->lock)
{
	struct soft_hwpt_paging *paging;
	int err = 0;

	/* The kernel attaches before it fills the domain: of two errors this is the first. */
	if (change->pasid == SOFT_RID_PASID && !soft_ioas_is_reserved_by(ioas, bound)) {
		err = reserve_windows(ioas, bound);
		if (err)
			return err;
		soft_ioas_unreserve(ioas, bound);
	}
	err = soft_hwpt_paging_alloc(ctx, bound->dev, ioas, 0, NULL, &paging);
	if (err)
		return err;
	paging->auto_domain = true;
	err = change_to_hwpt(ctx, bound, change, &paging->hwpt);
	if (err) {
		soft_hwpt_paging_abort(ctx, paging);
		return err;
	}
	soft_object_finalize(ctx, &paging->hwpt.obj);
	*out = &paging->hwpt;
	return 0;
}

static int change_to_ioas(struct soft_ctx *ctx, struct soft_bound *bound,
			  const struct soft_change *change, struct soft_ioas *ioas,
			  struct soft_hwpt **out) REQUIRES(&ctx->lock)
{
	for (struct soft_hwpt_paging *d = ioas->domains; d; d = d->next_domain) {
		int err;

		if (!d->auto_domain)
			continue;
		err = change_to_hwpt(ctx, bound, change, &d->hwpt);
		if (err == -EINVAL)
			continue; /* not for this device; maybe the next one is */
		if (!err)
			*out = &d->hwpt;
		return err;
	}
	return make_auto_domain(ctx, bound, change, ioas, out);
}

int soft_bound_change_locked(struct soft_ctx *ctx, struct soft_bound *bound,
			     const struct soft_change *change, uint32_t *pt_id)
{
	struct soft_object *pt = soft_object_find(ctx, *pt_id, SOFT_ANY);
	struct soft_hwpt *hwpt;
	int err;

	if (!pt)
		return -ENOENT;
	hwpt = soft_object_to_hwpt(pt);
	if (hwpt)
		err = change_to_hwpt(ctx, bound, change, hwpt);
	else if (pt->type == SOFT_IOAS)
		err = change_to_ioas(ctx, bound, change, container_of(pt, struct soft_ioas, obj),
				     &hwpt);
	else
		err = -EINVAL;
	if (!err)
		*pt_id = hwpt->obj.id;
	return err;
}

/* As VFIO does: a place that is taken is replaced only by the kind of call that took it. */
int soft_bound_attach(struct soft_ctx *ctx, struct soft_bound *bound, uint32_t pasid,
		      bool via_pasid, uint32_t *pt_id)
{
	struct soft_change change = { .pasid = pasid, .via_pasid = via_pasid };
	const struct soft_attachment *attachment;
	int err;

	mutex_lock(&ctx->lock);
	attachment = find_attachment(bound, pasid);
	change.replace = attachment && attachment->via_pasid == via_pasid;
	err = soft_bound_change_locked(ctx, bound, &change, pt_id);
	mutex_unlock(&ctx->lock);
	return err;
}

void soft_bound_detach_locked(struct soft_ctx *ctx, struct soft_bound *bound, uint32_t pasid,
			      bool via_pasid)
{
	struct soft_attachment *attachment = find_attachment(bound, pasid);

	if (attachment && attachment->via_pasid == via_pasid)
		detach(ctx, bound, attachment);
}

void soft_bound_detach(struct soft_ctx *ctx, struct soft_bound *bound, uint32_t pasid,
		       bool via_pasid)
{
	mutex_lock(&ctx->lock);
	soft_bound_detach_locked(ctx, bound, pasid, via_pasid);
	mutex_unlock(&ctx->lock);
}

struct soft_hwpt *soft_bound_hwpt(const struct soft_bound *bound, uint32_t pasid)
{
	const struct soft_attachment *attachment = find_attachment(bound, pasid);

	return attachment ? attachment->hwpt : NULL;
}

/* --- devices in a context -------------------------------------------------------------- */

int soft_bound_create_locked(struct soft_ctx *ctx, struct soft_device *dev, struct soft_bound **out)
{
	struct soft_bound *bound = soft_object_reserve(ctx, sizeof(*bound), SOFT_BOUND);

	if (!bound)
		return -ENOMEM;
	bound->dev = dev;
	bound->obj.users = 1; /* the cdev file: never to be destroyed by id */
	soft_object_finalize(ctx, &bound->obj);
	*out = bound;
	return 0;
}

int soft_bound_create(struct soft_ctx *ctx, struct soft_device *dev, struct soft_bound **out)
{
	int err;

	mutex_lock(&ctx->lock);
	err = soft_bound_create_locked(ctx, dev, out);
	mutex_unlock(&ctx->lock);
	return err;
}

void soft_bound_destroy_locked(struct soft_ctx *ctx, struct soft_bound *bound)
{
	while (bound->num_attachments)
		detach(ctx, bound, &bound->attachments[bound->num_attachments - 1]);
	free(bound->attachments);
	soft_vdevice_orphan(ctx, bound);
	soft_fault_forget_requests(bound->dev);
	soft_object_abort(ctx, &bound->obj);
}

void soft_bound_destroy(struct soft_ctx *ctx, struct soft_bound *bound)
{
	mutex_lock(&ctx->lock);
	soft_bound_destroy_locked(ctx, bound);
	mutex_unlock(&ctx->lock);
}

struct soft_bound *soft_bound_find(struct soft_ctx *ctx, uint32_t id)
{
	struct soft_object *obj = soft_object_find(ctx, id, SOFT_BOUND);

	return obj ? container_of(obj, struct soft_bound, obj) : NULL;
}

struct soft_device *soft_device_find(struct soft_ctx *ctx, uint32_t id)
{
	struct soft_bound *bound = soft_bound_find(ctx, id);

	return bound ? bound->dev : NULL;
}
