// SPDX-License-Identifier: BSD-3-Clause
/*
 * What each device should be attached to, from the unit's present state and the guest's
 * tables. Every path that may change it ends here: PASID- and context-cache
 * invalidations, SRTP, TE, reset, hot-plug.
 */
#include "vtd/unit.h"

#include "base/log.h"

#include <string.h>

static enum vtd_fault_reason desired(struct vtd_unit *u, const struct vtd_device *d,
				     struct vtd_lookup *lookup)
{
	struct vtd_tables tables = {
		.mem = nst_vm_mem(u->vm),
		.rtaddr = u->rtaddr,
		.cap = u->cap,
		.ecap = u->ecap,
	};

	if (!u->translating) {
		*lookup = (struct vtd_lookup){ .attachment.kind = ATTACHMENT_BYPASS };
		return VTD_FAULT_NONE;
	}
	return vtd_tables_lookup(&tables, d->rid, lookup);
}

/* Hardware would report at the device's first DMA; we learn of no DMA, so report now. */
static void tell_guest(struct vtd_unit *u, struct vtd_device *d, enum vtd_fault_reason reason,
		       const struct vtd_lookup *lookup) REQUIRES(u->cmd_lock)
{
	if (reason == d->reported)
		return;
	d->reported = reason;
	if (!reason || vtd_fault_is_absence(reason))
		return;
	log_warn(
		u->log, "vtd: device %02x:%02x.%x is blocked: %s (fault reason 0x%x)", d->rid >> 8,
		d->rid >> 3 & 31, d->rid & 7,
		reason == VTD_FAULT_LEGACY_CONTEXT_INVALID
			? "legacy-mode tables are not supported for it; boot Linux with intel_iommu=sm_on"
			: "what the guest's tables say of it is wrong",
		reason);
	if (!lookup->fault_disabled)
		vtd_fault_record(u, d->rid, 0, false, reason);
}

static void note_attach(struct vtd_unit *u, struct vtd_device *d, int err,
			const struct vtd_lookup *lookup) REQUIRES(u->cmd_lock)
{
	if (!err) {
		d->attach_failed = false;
		return;
	}
	log_error(u->log,
		  "vtd: the host refuses the attachment of %02x:%02x.%x (%s); it is blocked",
		  d->rid >> 8, d->rid >> 3 & 31, d->rid & 7, strerror(-err));
	/* once, not at every retry */
	if (!d->attach_failed && !lookup->fault_disabled)
		vtd_fault_record(u, d->rid, 0, false, VTD_FAULT_PASID_TABLE_ACCESS);
	d->attach_failed = true;
}

void vtd_reconcile_device(struct vtd_unit *u, struct vtd_device *d)
{
	struct vtd_lookup lookup;
	enum vtd_fault_reason reason = desired(u, d, &lookup);

	if (reason)
		lookup.attachment.kind = ATTACHMENT_BLOCKED;
	d->point.guest_pasid = lookup.rid_pasid;
	tell_guest(u, d, reason, &lookup);
	note_attach(u, d, attach_reconcile(&u->attach, &d->point, &lookup.attachment), &lookup);
}

void vtd_reconcile_all(struct vtd_unit *u)
{
	for (struct vtd_device *d = u->devices; d; d = d->next)
		vtd_reconcile_device(u, d);
}

void vtd_reconcile_sid(struct vtd_unit *u, nst_rid sid, uint16_t ignore)
{
	for (struct vtd_device *d = u->devices; d; d = d->next)
		if (!((d->rid ^ sid) & ~ignore))
			vtd_reconcile_device(u, d);
}

void vtd_flush(struct vtd_unit *u)
{
	if (!attach_flush(&u->attach) || !u->attach.lost)
		return;
	u->attach.lost = false;
	vtd_reconcile_all(u);
}
