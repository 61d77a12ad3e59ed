// SPDX-License-Identifier: BSD-3-Clause
/*
 * What each (device, PASID) should be attached to, from the unit's present state and the
 * guest's tables. Every path that may change it ends here: PASID- and context-cache
 * invalidations, SRTP, TE, reset, hot-plug. Plain requests are reconciled at once, but for
 * those whose table is to be shadowed, and PASIDs by scans of the guest's tables (pasids.c):
 * both may take several runs.
 */
#include "vtd/unit.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

struct vtd_tables vtd_tables_of(struct vtd_unit *u)
{
	return (struct vtd_tables){
		.mem = nst_vm_mem(u->vm),
		.rtaddr = u->rtaddr,
		.cap = u->cap,
		.ecap = u->ecap,
	};
}

static enum vtd_fault_reason desired(struct vtd_unit *u, const struct vtd_device *d,
				     struct vtd_lookup *lookup)
{
	struct vtd_tables tables = vtd_tables_of(u);

	if (!u->translating) {
		*lookup = (struct vtd_lookup){ .attachment.kind = ATTACHMENT_BYPASS };
		return VTD_FAULT_NONE;
	}
	return vtd_tables_lookup(&tables, d->rid, lookup);
}

/* Of whom a message is: "00:02.0" or "00:02.0 PASID 5". */
struct name {
	char text[32];
};

static struct name name_of(const struct vtd_device *d, const struct vtd_point *point)
{
	struct name name;
	int n = snprintf(name.text, sizeof(name.text), "%02x:%02x.%x", d->rid >> 8,
			 d->rid >> 3 & 31, d->rid & 7);

	if (point->at.pasid != NST_NO_PASID)
		snprintf(name.text + n, sizeof(name.text) - (size_t)n, " PASID %u",
			 point->at.pasid);
	return name;
}

/* Hardware would report at the device's first DMA; we learn of no DMA, so report now. */
static void tell_guest(struct vtd_unit *u, struct vtd_device *d, struct vtd_point *point,
		       enum vtd_fault_reason reason, const struct vtd_lookup *lookup)
	REQUIRES(u->cmd_lock)
{
	if (u->quiet || reason == point->reported)
		return;
	point->reported = reason;
	if (!reason || vtd_fault_is_absence(reason))
		return;
	log_warn(u->log,
		 "vtd: device %s is blocked: what the guest's tables say of it is wrong "
		 "(fault reason 0x%x)",
		 name_of(d, point).text, reason);
	if (!lookup->fault_disabled)
		vtd_fault_record(u, d->rid, point->at.pasid, 0, false, reason);
}

static void note_attach(struct vtd_unit *u, struct vtd_device *d, struct vtd_point *point, int err,
			const struct vtd_lookup *lookup) REQUIRES(u->cmd_lock)
{
	if (!err) {
		point->attach_failed = false;
		return;
	}
	if (u->quiet) {
		if (!point->attach_failed) /* else the guest knows */
			u->quiet_err = err;
		return;
	}
	log_error(u->log, "vtd: the host refuses the attachment of %s (%s); it is blocked",
		  name_of(d, point).text, strerror(-err));
	/* once, not at every retry */
	if (!point->attach_failed && !lookup->fault_disabled)
		vtd_fault_record(u, d->rid, point->at.pasid, 0, false,
				 lookup->legacy ? VTD_FAULT_LEGACY_CONTEXT_ACCESS
						: VTD_FAULT_PASID_TABLE_ACCESS);
	point->attach_failed = true;
}

void vtd_apply(struct vtd_unit *u, struct vtd_device *d, struct vtd_point *point,
	       enum vtd_fault_reason reason, const struct vtd_lookup *lookup)
{
	struct attachment attachment = lookup->attachment;
	int ret;

	if (reason)
		attachment.kind = ATTACHMENT_BLOCKED;
	attachment.page_requests = lookup->page_requests && d->page_requests;
	tell_guest(u, d, point, reason, lookup);
	ret = attach_reconcile(&u->attach, &point->at, &attachment);
	point->later = ret == ATTACH_LATER;
	if (!point->later)
		note_attach(u, d, point, ret, lookup);
}

static void reconcile_plain(struct vtd_unit *u, struct vtd_device *d) REQUIRES(u->cmd_lock)
{
	struct vtd_lookup lookup;
	enum vtd_fault_reason reason = desired(u, d, &lookup);

	u->attach.work++;
	d->plain.at.guest_pasid = lookup.rid_pasid;
	vtd_apply(u, d, &d->plain, reason, &lookup);
	if (d->plain.later)
		vtd_busy(u, d);
}

void vtd_reconcile_device(struct vtd_unit *u, struct vtd_device *d)
{
	reconcile_plain(u, d);
	vtd_scan_restart(u, d);
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

/* Which PASID plain requests go by is said by the context entry: that has not changed. */
void vtd_reconcile_pasid(struct vtd_unit *u, uint32_t pasid)
{
	for (struct vtd_device *d = u->devices; d; d = d->next) {
		if (d->plain.at.actual == ATTACHMENT_BLOCKED || d->plain.at.guest_pasid == pasid)
			reconcile_plain(u, d);
		vtd_pasid_reconcile(u, d, pasid);
	}
}

bool vtd_finish_plain(struct vtd_unit *u)
{
	for (struct vtd_device *d = u->busy; d; d = d->next_busy) {
		while (d->plain.later) {
			if (attach_work_is_spent(&u->attach))
				return false;
			reconcile_plain(u, d);
		}
	}
	return true;
}

bool vtd_settle(struct vtd_unit *u)
{
	while (vtd_scan(u) && attach_flush(&u->attach)) {
		if (!u->attach.lost)
			return true;
		u->attach.lost = false;
		vtd_reconcile_all(u);
	}
	return false;
}
