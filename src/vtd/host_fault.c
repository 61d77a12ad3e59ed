// SPDX-License-Identifier: BSD-3-Clause
/*
 * Unrecoverable faults of passed-through devices, from the host that met them to the guest's
 * fault records (VT-d 4.1 s7.2).
 *
 *	host's vEVENTQ -> take -> whose, and does the guest want it? -> vtd_fault_report()
 *
 * Linux 7.2 has no vEVENTQ for VT-d; docs/vtd-veventq.md proposes one, and a host without it
 * is told by its EOPNOTSUPP. One vIOMMU and one queue per host IOMMU, which the devices on one
 * nesting parent share, and a vDEVICE per device, whose number is the requester id. No two of a
 * vIOMMU have the same number, so devices behind a PCI bridge have a vIOMMU each.
 *
 * A host that refuses a device because it is attached to nothing does not know why; the guest's
 * tables do. That an entry was wrong the guest was told when it was read (attachments.c), so
 * here it hears of those that are not there.
 *
 * The queue is small. What overflows it the guest sees as it would on hardware: PFO.
 */
#include "vtd/unit.h"

#include "base/alloc.h"
#include "base/log.h"
#include "spec/vtd_veventq.h"
#include "viommu/veventq.h"

#include <errno.h>
#include <string.h>

enum { QUEUE_DEPTH = 256 };

_Static_assert(sizeof(struct x_iommu_vevent_intel_vtd) <= VEVENTQ_MAX_EVENT, "room for it");

struct vtd_fault_source {
	struct vtd_fault_source *next;
	struct vm_parent *parent; /* of the devices it reports of */
	unsigned int devices;
	uint32_t viommu_id;
	struct veventq queue;
};

/* --- sources ------------------------------------------------------------------------------- */

static void destroy_object(struct vtd_unit *u, uint32_t id)
{
	if (iommufd_destroy(&u->vm->iommufd, id))
		log_error(u->log, "vtd: object %u of the host cannot be destroyed", id);
}

static int make_source(struct vtd_unit *u, const struct nst_device *dev,
		       struct vtd_fault_source **out)
{
	struct vtd_fault_source *s = alloc_object(struct vtd_fault_source);
	int ret;

	if (!s)
		return -ENOMEM;
	s->parent = dev->parent;
	ret = iommufd_viommu_alloc(&u->vm->iommufd, X_IOMMU_VIOMMU_TYPE_INTEL_VTD, dev->dev_id,
				   dev->parent->hwpt_id, &s->viommu_id);
	if (ret) {
		free(s);
		return ret;
	}
	ret = veventq_open(&u->vm->iommufd, &u->wakeup, s->viommu_id,
			   X_IOMMU_VEVENTQ_TYPE_INTEL_VTD, QUEUE_DEPTH,
			   sizeof(struct x_iommu_vevent_intel_vtd), &s->queue);
	if (ret) {
		destroy_object(u, s->viommu_id);
		free(s);
		return ret;
	}
	s->next = u->fault_sources;
	u->fault_sources = s;
	*out = s;
	return 0;
}

static void put_source(struct vtd_unit *u, struct vtd_fault_source *s)
{
	struct vtd_fault_source **link = &u->fault_sources;

	if (s->devices)
		return;
	while (*link != s)
		link = &(*link)->next;
	*link = s->next;
	if (veventq_close(&u->vm->iommufd, &u->wakeup, &s->queue))
		log_error(u->log, "vtd: a vEVENTQ cannot be destroyed");
	destroy_object(u, s->viommu_id);
	free(s);
}

/* Said once: it is so for all devices of a host. */
static void tell_silence(struct vtd_unit *u)
{
	if (!u->told_silence)
		log_warn(
			u->log,
			"vtd: the host reports no unrecoverable faults: of DMA by a passed-through device that the guest's tables refuse, the guest's log will not tell");
	u->told_silence = true;
}

static bool has_number(struct vtd_unit *u, const struct vtd_fault_source *s, nst_rid rid)
	REQUIRES(u->cmd_lock)
{
	for (const struct vtd_device *d = u->devices; d; d = d->next)
		if (d->fault_source == s && d->vdevice_rid == rid)
			return true;
	return false;
}

int vtd_host_faults_attach(struct vtd_unit *u, struct vtd_device *d)
{
	struct vtd_fault_source *s = u->fault_sources;
	int ret = 0;

	while (s && (s->parent != d->dev->parent || has_number(u, s, d->rid)))
		s = s->next;
	if (!s)
		ret = make_source(u, d->dev, &s);
	if (ret == -EOPNOTSUPP || ret == -ENOTTY) { /* not this kind; no vIOMMUs at all */
		tell_silence(u);
		return 0;
	}
	if (ret)
		return ret;
	ret = iommufd_vdevice_alloc(&u->vm->iommufd, s->viommu_id, d->dev->dev_id, d->rid,
				    &d->vdevice_id);
	if (ret) {
		put_source(u, s);
		return ret;
	}
	s->devices++;
	d->fault_source = s;
	d->vdevice_rid = d->rid;
	return 0;
}

/* --- to the guest ---------------------------------------------------------------------------- */

static void lose(struct vtd_unit *u, uint32_t count) REQUIRES(u->cmd_lock)
{
	u->lost_host_faults += count;
	vtd_status_raise(u, VTD_FSTS_PFO);
}

/* What the guest's tables say of such requests, and whether it wants to hear of their faults. */
static enum vtd_fault_reason look_up(struct vtd_unit *u, const struct vtd_device *d, uint32_t pasid,
				     bool *fault_disabled)
{
	struct vtd_tables tables = vtd_tables_of(u);
	enum vtd_fault_reason reason = VTD_FAULT_PASID_NOT_PRESENT; /* PASID 0: see pasids.c */
	struct vtd_lookup lookup = { .attachment.kind = ATTACHMENT_BLOCKED };
	struct vtd_pasid_dir dir;

	if (pasid == NST_NO_PASID) {
		reason = vtd_tables_lookup(&tables, d->rid, &lookup);
	} else if (pasid) {
		reason = vtd_tables_lookup_pasid(&tables, d->rid, pasid, &lookup);
	} else {
		vtd_tables_pasid_dir(&tables, d->rid, &dir);
		lookup.fault_disabled = dir.fault_disabled;
	}
	*fault_disabled = lookup.fault_disabled;
	return reason;
}

static void forward(struct vtd_unit *u, const struct x_iommu_vevent_intel_vtd *event)
	REQUIRES(u->cmd_lock)
{
	struct vtd_fault fault = {
		.rid = (nst_rid)event->virt_rid,
		.pasid = event->flags & X_IOMMU_VEVENT_VTD_PASID ? event->pasid : NST_NO_PASID,
		.addr = event->addr,
		.write = event->flags & X_IOMMU_VEVENT_VTD_WRITE,
		.privileged = event->flags & X_IOMMU_VEVENT_VTD_PRIV,
		.exec = event->flags & X_IOMMU_VEVENT_VTD_EXEC,
		.reason = event->reason & 0xff,
	};
	enum vtd_fault_reason says;
	struct vtd_device *d = u->devices;
	bool fault_disabled;

	while (d && d->rid != fault.rid)
		d = d->next;
	if (!d)
		return;
	says = look_up(u, d, fault.pasid, &fault_disabled);
	if (fault.reason == VTD_FAULT_PASID_NOT_PRESENT) {
		if (!u->translating || !vtd_fault_is_absence(says))
			return;
		fault.reason = says;
	}
	if (fault_disabled)
		return;
	u->host_faults++;
	vtd_fault_report(u, &fault);
}

/* One read of @s. Returns false if there was nothing. */
static bool take(struct vtd_unit *u, struct vtd_fault_source *s, bool forget) REQUIRES(u->cmd_lock)
{
	struct veventq_batch batch;
	struct veventq_item item;

	if (!veventq_read(&s->queue, &u->vm->iommufd, u->log, &batch))
		return false;
	while (veventq_next(&s->queue, &batch, &item)) {
		struct x_iommu_vevent_intel_vtd event;

		if (forget)
			continue;
		if (item.lost)
			lose(u, item.lost);
		if (!item.event)
			continue;
		memcpy(&event, item.event, sizeof(event));
		forward(u, &event);
	}
	return true;
}

void vtd_host_faults_take(struct vtd_unit *u)
{
	for (struct vtd_fault_source *s = u->fault_sources; s; s = s->next)
		(void)take(u, s, false);
}

/* All that is there now, and not what comes while we look. */
static void empty(struct vtd_unit *u, struct vtd_fault_source *s, bool forget) REQUIRES(u->cmd_lock)
{
	for (unsigned int left = veventq_max_reads(&s->queue); left; left--)
		if (!take(u, s, forget))
			return;
}

void vtd_host_faults_forget(struct vtd_unit *u)
{
	for (struct vtd_fault_source *s = u->fault_sources; s; s = s->next)
		empty(u, s, true);
}

/* Another device may have its number next: what is there of this one is dropped. */
void vtd_host_faults_detach(struct vtd_unit *u, struct vtd_device *d)
{
	struct vtd_fault_source *s = d->fault_source;

	if (!s)
		return;
	destroy_object(u, d->vdevice_id);
	empty(u, s, false);
	d->fault_source = NULL;
	s->devices--;
	put_source(u, s);
}
