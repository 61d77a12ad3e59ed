/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One VT-d remapping unit, inside. Files of this folder by what they do:
 *
 *	unit.c		life cycle, devices, register accesses, global commands
 *	attachments.c	which devices to reconcile, and what the guest is told
 *	queue.c		the invalidation queue
 *	event.c		fault records, status bits and the two interrupts
 *	caps.c		what the unit offers
 *	regs.c, desc.c, tables.c	registers, descriptors, structures in memory
 */
#ifndef VTD_UNIT_H
#define VTD_UNIT_H

#include "spec/vtd_faults.h"
#include "viommu/attach.h"
#include "viommu/viommu.h"
#include "vtd/desc.h"
#include "vtd/regs.h"
#include "vtd/tables.h"

#include <stdatomic.h>

struct vtd_device {
	struct vtd_device *next;
	nst_rid rid;
	struct nst_device *dev;
	struct attach_point point;	/* of its plain requests */
	enum vtd_fault_reason reported; /* what the guest was last told about its entries */
	bool attach_failed;		/* ... and that the host refused them */
};

struct vtd_unit {
	struct nst_viommu base;
	struct nst_vm *vm;
	const struct nst_log *log;
	void (*send_msi)(void *opaque, uint64_t address, uint32_t data);
	void *opaque;
	struct vtd_regs regs; /* with a lock of its own, inside cmd_lock */
	atomic_bool frozen;   /* the guest has seen cap and ecap */

	/*
	 * One command at a time. Protects everything below; the host, the guest's memory
	 * and send_msi are called with it held. Outermost lock of the guest half.
	 */
	struct mutex cmd_lock;
	uint64_t cap, ecap;	/* offered */
	uint64_t rtaddr;	/* latched by SRTP */
	bool translating;	/* TE */
	unsigned int next_frcd; /* where the next fault is recorded */
	struct vtd_device *devices;
	struct attach_table attach;
	uint64_t descriptors, waits, faults, queue_errors;
};

static inline struct vtd_unit *to_vtd_unit(struct nst_viommu *viommu)
{
	return container_of(viommu, struct vtd_unit, base);
}

/* caps.c: what a unit offers with no device, and what is left of it with @host's. */
void vtd_caps_default(uint64_t *cap, uint64_t *ecap);
/* -EOPNOTSUPP and a sentence in *@why if @host cannot carry the unit at all. */
NST_MUST_CHECK int vtd_caps_narrow(const struct iommufd_hw_info *host, uint64_t *cap,
				   uint64_t *ecap, const char **why);

/* attachments.c */
void vtd_reconcile_device(struct vtd_unit *u, struct vtd_device *d) REQUIRES(u->cmd_lock);
void vtd_reconcile_all(struct vtd_unit *u) REQUIRES(u->cmd_lock);
/* Those whose source id is @sid but for the bits of @ignore. */
void vtd_reconcile_sid(struct vtd_unit *u, nst_rid sid, uint16_t ignore) REQUIRES(u->cmd_lock);
/* attach_flush(), and the guest is told of who got lost in it. */
void vtd_flush(struct vtd_unit *u) REQUIRES(u->cmd_lock);

/* queue.c */
void vtd_queue_run(struct vtd_unit *u) REQUIRES(u->cmd_lock);

/* event.c: record a fault of @rid for the guest. */
void vtd_fault_record(struct vtd_unit *u, nst_rid rid, uint64_t addr, bool write,
		      enum vtd_fault_reason reason) REQUIRES(u->cmd_lock);
/* Set error bits of FSTS, and raise the fault event if none were pending. */
void vtd_status_raise(struct vtd_unit *u, uint64_t bits) REQUIRES(u->cmd_lock);
/* The completion interrupt of a wait descriptor. */
void vtd_completion_raise(struct vtd_unit *u) REQUIRES(u->cmd_lock);
/* Software wrote one of the registers that hold these events. */
void vtd_events_written(struct vtd_unit *u, unsigned int hooks) REQUIRES(u->cmd_lock);

#endif
