// SPDX-License-Identifier: BSD-3-Clause
/*
 * What each device should be attached to, from the unit's present state and the guest's
 * stream table. Every path that may change it ends here: CFGI_STE and its ranges, SMMUEN, GBPA,
 * reset, hot-plug.
 *
 *	SMMUEN = 0	GBPA.ABORT ? BLOCKED : BYPASS
 *	no legal STE, or one that aborts	BLOCKED
 *	STE that bypasses, or stage 1		nested HWPT with its words
 *	STE with a stage 2, or a VMID other than 0	BLOCKED
 *
 * A host has one stage 2 for all of the VM, and one VMID. An STE that says otherwise is legal where
 *a stage 2 is offered, for emulated devices; of a passed-through one it is C_BAD_STE, as what the
 * host refuses is.
 *
 * A bypass by STE is a nested HWPT too, so that the host reports what goes wrong in it: a
 * request with a SubstreamID, for one. Both need a name on the host. When a guest gives two
 * devices one StreamID, one of them gets it; the other is blocked until it is free.
 */
#include "smmuv3/unit.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>

static struct attachment desired(struct smmu_unit *u, const struct smmu_device *d,
				 struct smmu_table_fault *fault)
{
	struct attachment attachment = { .kind = ATTACHMENT_BLOCKED };
	struct smmu_tables tables = smmu_tables_of(u);
	struct smmu_stream stream;

	*fault = (struct smmu_table_fault){ .type = SMMU_EVENT_NONE };
	if (!smmu_is_enabled(u)) {
		if (!(smmu_reg_get(&u->regs, SMMU_GBPA) & SMMU_GBPA_ABORT))
			attachment.kind = ATTACHMENT_BYPASS;
		return attachment;
	}
	if (!smmu_find_stream(&tables, d->rid, &stream, fault))
		return attachment;
	if (smmu_has_stage2(&stream) || stream.vmid) {
		fault->type = SMMU_C_BAD_STE;
		return attachment;
	}
	return (struct attachment){
		.kind = ATTACHMENT_STAGE1,
		.format = ATTACH_ARM_SMMUV3,
		.page_requests = smmu_idr_stalls(&u->idr) && stream.config == SMMU_STE_S1 &&
				 !stream.stalls_disabled && !d->no_stalls,
		.ste = stream.ste,
		.viommu_id = d->vsmmu->viommu_id,
	};
}

static void report(struct smmu_unit *u, const struct smmu_device *d, enum smmu_event_type type,
		   uint64_t address) REQUIRES(u->cmd_lock)
{
	smmu_fault_report(u, &(struct smmu_fault){ .type = type,
						   .sid = d->rid,
						   .ssid = NST_NO_PASID,
						   .fetch_address = address });
}

/*
 * Hardware would report at the device's first DMA; we learn of no DMA, so report now. Not of
 * what nobody has made yet: a guest has many such streams, and uses none of them.
 */
static void tell_guest(struct smmu_unit *u, struct smmu_device *d,
		       const struct smmu_table_fault *fault) REQUIRES(u->cmd_lock)
{
	bool tell = fault->type && fault->type != SMMU_E_ABORTED && !fault->absent;
	enum smmu_event_type type = tell ? fault->type : SMMU_EVENT_NONE;

	if (u->quiet || type == d->reported)
		return;
	d->reported = type;
	if (!tell)
		return;
	log_warn(u->log,
		 "smmuv3: stream 0x%x is blocked: what the guest's table says of it is wrong, or "
		 "only for emulated devices (event 0x%x)",
		 d->rid, type);
	report(u, d, type, fault->address);
}

static void note_attach(struct smmu_unit *u, struct smmu_device *d, int err) REQUIRES(u->cmd_lock)
{
	if (!err) {
		d->attach_failed = false;
		return;
	}
	if (u->quiet) {
		if (!d->attach_failed) /* else the guest knows */
			u->quiet_err = err;
		return;
	}
	log_error(u->log,
		  "smmuv3: the host refuses the attachment of stream 0x%x (%s); it is blocked",
		  d->rid, strerror(-err));
	if (!d->attach_failed && smmu_is_enabled(u)) /* once, not at every retry */
		report(u, d, SMMU_C_BAD_STE, 0);
	d->attach_failed = true;
}

/* SMMUv3 IHI0070G.b s4.3.1: with an STE go the CDs it led to. The host forgets them when another is
 * attached. */
static void forget_contexts(struct smmu_unit *u, struct smmu_device *d, uint32_t position)
	REQUIRES(u->cmd_lock)
{
	const struct smmu_cmd cmd = {
		.qw[0] = le64_make(FIELD_PREP(SMMU_CMD_0_OP, SMMU_CMD_CFGI_CD_ALL) |
				   FIELD_PREP(SMMU_CFGI_0_SID, d->rid)),
	};

	smmu_collect(u, d->vsmmu, &cmd, position);
}

/*
 * Some hosts have stalls, and a kernel that hands none out (Linux without ARM_SMMU_V3_SVA). It lets
 * what stalls end by itself then.
 */
static int attach(struct smmu_unit *u, struct smmu_device *d, struct attachment *attachment)
	REQUIRES(u->cmd_lock)
{
	int ret = attach_reconcile(&u->attach, &d->at, attachment);

	if (ret != -EOPNOTSUPP || !attachment->page_requests)
		return ret;
	log_warn(
		u->log,
		"smmuv3: the host's kernel hands out no faults of stream 0x%x that stall: they end "
		"as errors, and the guest is not told",
		d->rid);
	d->no_stalls = true;
	attachment->page_requests = false;
	return attach_reconcile(&u->attach, &d->at, attachment);
}

void smmu_reconcile_device(struct smmu_unit *u, struct smmu_device *d, uint32_t position)
{
	struct attachment blocked = { .kind = ATTACHMENT_BLOCKED };
	uint64_t change = d->at.change;
	struct smmu_table_fault fault;
	struct attachment attachment = desired(u, d, &fault);
	int err = attachment.kind == ATTACHMENT_STAGE1 ? smmu_name(u, d) : 0, ret;

	u->attach.work++;
	tell_guest(u, d, &fault);
	ret = attach(u, d, err ? &blocked : &attachment);
	note_attach(u, d, err ? err : ret);
	if (d->at.change == change && d->at.actual == ATTACHMENT_STAGE1)
		forget_contexts(u, d, position);
}

void smmu_reconcile_streams(struct smmu_unit *u, uint32_t first, uint32_t last, uint32_t position)
{
	for (struct smmu_device *d = u->devices; d; d = d->next)
		if (d->rid >= first && d->rid <= last)
			smmu_reconcile_device(u, d, position);
}
