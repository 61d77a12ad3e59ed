/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One SMMUv3, inside. Files of this folder by what they do:
 *
 *	unit.c		life cycle, devices, register accesses, enables
 *	attachments.c	which devices to reconcile, and what the guest is told
 *	vsmmu.c		the unit's part of a host IOMMU: names, commands, events
 *	queue.c		the command queue
 *	event.c		event records, global errors and interrupts
 *	translate.c	translation for emulated devices, and its caches; walk.c: its walks
 *	notify.c	who is told of invalidations
 *	ats.c		translation requests of emulated devices
 *	page_request.c	page requests of emulated devices
 *	stall.c		transactions that wait for the guest
 *	caps.c		what the unit offers
 *	state.c		save and restore
 *	regs.c, command.c	registers, commands
 *	tables.c, stage2.c	structures in memory
 */
#ifndef SMMUV3_UNIT_H
#define SMMUV3_UNIT_H

#include "smmuv3/command.h"
#include "smmuv3/tables.h"
#include "smmuv3/translate.h"
#include "viommu/attach.h"
#include "viommu/notify.h"
#include "viommu/page_requests.h"
#include "viommu/told.h"
#include "viommu/veventq.h"
#include "viommu/viommu.h"
#include "viommu/wakeup.h"

#include <stdatomic.h>

/* Commands for a host that one call hands over. */
enum { SMMU_BATCH_MAX = 512 };
/* What one run does at most; the rest waits for nst_viommu_process(). In ATTACH_WORK. */
enum { SMMU_WORK_PER_RUN = 1 << 16 };
/* Events that a host keeps for us. */
enum { SMMU_VEVENTQ_DEPTH = 1024 };

/* Where a command stands: how many come before it since CONS was last moved. */
enum { SMMU_NO_POSITION = UINT32_MAX };

/*
 * The unit on one host IOMMU: a vIOMMU object over a nesting parent, there while a device is.
 * Several devices of one host IOMMU share the parent, so they share this.
 */
struct smmu_vsmmu {
	struct smmu_vsmmu *next;
	struct vm_parent *parent;
	unsigned int users;
	uint32_t viommu_id;
	struct veventq events; /* fd -1: the host has none */
	/* commands for it that are not yet done, and their positions in the guest's queue */
	uint32_t count;
	struct iommu_viommu_arm_smmuv3_invalidate commands[SMMU_BATCH_MAX];
	uint32_t positions[SMMU_BATCH_MAX];
};

struct smmu_device {
	struct smmu_device *next;
	nst_rid rid; /* its StreamID; a guest may give it to several */
	struct nst_device *dev;
	struct smmu_vsmmu *vsmmu;
	bool alias; /* its StreamID is that of a bridge before it */
	bool named; /* by its StreamID on the host, which gives that to one only */
	uint32_t vdevice_id;
	struct attach_point at;
	enum smmu_event_type reported; /* what the guest was last told about its entry */
	bool attach_failed;	       /* ... and that the host refused it */
	bool no_stalls;		       /* the host does not hand out what of it stalls */
};

/* Of SMMU_STALL_MAX. */
enum { SMMU_STALL_MAX_OF_STREAM = SMMU_STALL_MAX / 4 };

/* A transaction that waits for the guest, at the place of its STAG: see stall.c. */
struct smmu_stall {
	enum {
		SMMU_STALL_FREE,
		SMMU_STALL_NOTIFIER, /* waited for by notifier */
		SMMU_STALL_RESTORED, /* by a device whose notifier may come */
		SMMU_STALL_HOST,     /* by a passed-through device: dev_id */
		SMMU_STALL_NOBODY,
	} owner;
	struct notifier *notifier;
	uint32_t dev_id;
	nst_rid sid;
	uint32_t ssid;
	bool recorded;	/* in the guest's queue */
	uint64_t order; /* of those that are not: the lower comes first */
	struct smmu_event event;
};

/* What a record tells the guest. */
struct smmu_fault {
	enum smmu_event_type type;
	uint32_t sid, ssid;	/* NST_NO_PASID: without */
	uint64_t address;	/* as the device gave it */
	uint64_t fetch_address; /* of F_*_FETCH and F_WALK_EABT */
	bool write, privileged, instruction;
	bool s2; /* stage 2's; then the rest means something */
	enum smmu_event_class cls;
	uint64_t ipa;
};

/* Faults of emulated devices that wait for the command lock; more are an overflow. */
enum { SMMU_POSTED_FAULTS = 16 };

struct smmu_unit {
	struct nst_viommu base;
	struct nst_vm *vm;
	const struct nst_log *log;
	void (*send_msi)(void *opaque, uint64_t address, uint32_t data); /* or NULL */
	void (*pulse)(void *opaque, enum nst_smmuv3_irq irq);		 /* or NULL */
	void *opaque;
	struct wakeup wakeup;	 /* a run has left something to do, or a vEVENTQ has */
	struct smmu_regs regs;	 /* with a lock of its own, inside cmd_lock */
	atomic_bool frozen;	 /* the guest has seen the identification registers */
	struct smmu_xlate xlate; /* with a lock of its own, inside cmd_lock */
	struct {
		struct mutex lock; /* a leaf */
		struct smmu_fault faults[SMMU_POSTED_FAULTS] GUARDED_BY(lock);
		unsigned int count GUARDED_BY(lock);
		bool lost GUARDED_BY(lock);
	} posted;

	/*
	 * One command at a time. Protects everything below; the host, the guest's memory
	 * and send_msi are called with it held. Outermost lock of the guest half.
	 */
	struct mutex cmd_lock;
	struct smmu_idr idr; /* offered */
	struct smmu_device *devices;
	struct smmu_vsmmu *vsmmus;
	struct attach_table attach;
	uint32_t failed; /* the first position a host has refused, or SMMU_NO_POSITION */
	struct smmu_stall stalls[SMMU_STALL_MAX];
	unsigned int unrecorded_stalls;
	struct page_requests
		page; /* what stalls on the host; its queue is made when it is needed */
	uint64_t stall_order;
	bool atc_failed;       /* a host has refused an ATC_INV since the last CMD_SYNC */
	struct told_list told; /* restored, of devices that are not here yet */
	bool quiet;    /* restoring: the guest is told nothing, attachments that fail go to */
	int quiet_err; /* ... here */
	uint64_t commands, syncs, events, host_events, lost_events, command_errors;
	uint64_t host_calls, host_commands;
	uint64_t stalled, stall_answers;
};

static inline struct smmu_unit *to_smmu_unit(struct nst_viommu *viommu)
{
	return container_of(viommu, struct smmu_unit, base);
}

/* unit.c: the tables that are in force. */
struct smmu_tables smmu_tables_of(struct smmu_unit *u);
static inline bool smmu_is_enabled(struct smmu_unit *u)
{
	return smmu_reg_get(&u->regs, SMMU_CR0) & SMMU_CR0_SMMUEN;
}

/* unit.c: offer @idr from now on, to a guest that has seen nothing yet; all registers are reset. */
void smmu_offer(struct smmu_unit *u, const struct smmu_idr *idr) REQUIRES(u->cmd_lock);
/* As after power-on, but for the devices. */
void smmu_reset_locked(struct smmu_unit *u) REQUIRES(u->cmd_lock);
/* All devices, at once and whole. What hosts refuse of it is logged: no command asked for it. */
void smmu_reconcile_all(struct smmu_unit *u) REQUIRES(u->cmd_lock);

/* attachments.c: bring devices to what registers and tables say. The commands that go with
 * that to the host are collected for @position. */
void smmu_reconcile_device(struct smmu_unit *u, struct smmu_device *d, uint32_t position)
	REQUIRES(u->cmd_lock);
void smmu_reconcile_streams(struct smmu_unit *u, uint32_t first, uint32_t last, uint32_t position)
	REQUIRES(u->cmd_lock);

/* vsmmu.c: the one of @dev's host IOMMU, made if need be. Errors: the host's, -ENOMEM. */
NST_MUST_CHECK int smmu_vsmmu_get(struct smmu_unit *u, struct nst_device *dev,
				  struct smmu_vsmmu **out) REQUIRES(u->cmd_lock);
void smmu_vsmmu_put(struct smmu_unit *u, struct smmu_vsmmu *v) REQUIRES(u->cmd_lock);
/* What the host calls a device: nothing happens if it does so, or does not, already. */
NST_MUST_CHECK int smmu_name(struct smmu_unit *u, struct smmu_device *d) REQUIRES(u->cmd_lock);
void smmu_unname(struct smmu_unit *u, struct smmu_device *d) REQUIRES(u->cmd_lock);
/* Collect a command for one host IOMMU, or for all. */
void smmu_collect(struct smmu_unit *u, struct smmu_vsmmu *v, const struct smmu_cmd *cmd,
		  uint32_t position) REQUIRES(u->cmd_lock);
void smmu_collect_all(struct smmu_unit *u, const struct smmu_cmd *cmd, uint32_t position)
	REQUIRES(u->cmd_lock);
/* Have the hosts carry out what was collected. See smmu_unit.failed and atc_failed. */
void smmu_flush(struct smmu_unit *u) REQUIRES(u->cmd_lock);
/* What has happened on the hosts, and was posted, to the guest. */
void smmu_take_events(struct smmu_unit *u) REQUIRES(u->cmd_lock);

/* state.c: nst_viommu_save() and nst_viommu_restore() */
NST_MUST_CHECK int smmu_save(struct nst_viommu *viommu, void **data, size_t *size);
NST_MUST_CHECK int smmu_restore(struct nst_viommu *viommu, const void *data, size_t size);
/* @d is new here, or has another StreamID: what was restored that the guest knows of that. */
void smmu_told_claim(struct smmu_unit *u, struct smmu_device *d) REQUIRES(u->cmd_lock);

/* queue.c. False if the work of this run was spent before the queue was empty. */
NST_MUST_CHECK bool smmu_queue_run(struct smmu_unit *u) REQUIRES(u->cmd_lock);

/* event.c */
void smmu_fault_report(struct smmu_unit *u, const struct smmu_fault *fault) REQUIRES(u->cmd_lock);
/*
 * The same without waiting for a command, which may wait for the device that faults: at once if
 * none is under way, else with the next smmu_faults_take().
 */
void smmu_fault_post(struct smmu_unit *u, const struct smmu_fault *fault) EXCLUDES(u->cmd_lock);
/* What was posted, to the guest. */
void smmu_faults_take(struct smmu_unit *u) REQUIRES(u->cmd_lock);
struct smmu_event smmu_event_make(const struct smmu_fault *fault);
/* False: not now, the queue is full, off, or in error. */
NST_MUST_CHECK bool smmu_event_try(struct smmu_unit *u, const struct smmu_event *event)
	REQUIRES(u->cmd_lock);
/* A record as it stands. */
void smmu_event_put(struct smmu_unit *u, const struct smmu_event *event) REQUIRES(u->cmd_lock);
/* The guest is to see that events are missing. */
void smmu_events_lost(struct smmu_unit *u, uint32_t count) REQUIRES(u->cmd_lock);
/* Where the registers of a queue that the unit writes are, and what an entry has. */
struct smmu_output_regs {
	enum smmu_reg base, prod, cons;
	unsigned int max_lg2, entry_bytes;
};
struct smmu_output_queue {
	uint64_t base;
	uint32_t prod, cons; /* with the wrap bit */
	uint32_t entries;
};
struct smmu_output_queue smmu_output_queue_read(struct smmu_unit *u,
						const struct smmu_output_regs *r);
/* Free entries. */
static inline uint32_t smmu_output_queue_room(const struct smmu_output_queue *q)
{
	uint32_t used = (q->prod - q->cons) & (2 * q->entries - 1);

	return used < q->entries ? q->entries - used : 0;
}
/* @count entries more are there. */
void smmu_output_queue_publish(struct smmu_unit *u, const struct smmu_output_regs *r,
			       const struct smmu_output_queue *q, uint32_t count);
void smmu_output_queue_overflow(struct smmu_unit *u, const struct smmu_output_regs *r);
/* ... and software has not seen it. */
bool smmu_output_queue_has_overflown(struct smmu_unit *u, const struct smmu_output_regs *r);
/* The interrupt of the PRI queue. */
void smmu_priq_raise(struct smmu_unit *u) REQUIRES(u->cmd_lock);
bool smmu_gerror_is_active(struct smmu_unit *u, uint32_t error);
/* Make an error of GERROR active. */
void smmu_gerror_raise(struct smmu_unit *u, uint32_t error) REQUIRES(u->cmd_lock);
/* What the completion of a CMD_SYNC asks for. */
void smmu_sync_raise(struct smmu_unit *u, const struct smmu_command *c) REQUIRES(u->cmd_lock);

/* ats.c: nst_viommu_ats_translate() */
NST_MUST_CHECK int smmu_ats_translate(struct nst_viommu *viommu, const struct nst_ats_request *req,
				      struct nst_ats_entry *entries, unsigned int max,
				      unsigned int *count, enum nst_ats_status *status);

/* page_request.c: nst_notifier_page_request(), and the guest's answer */
NST_MUST_CHECK int smmu_page_request(struct nst_notifier *notifier, uint32_t pasid,
				     unsigned int group, const struct nst_page *pages, size_t count,
				     enum nst_page_answer *answer);
void smmu_page_response(struct smmu_unit *u, const struct smmu_command *c) REQUIRES(u->cmd_lock);

/* stall.c: @fault waits, as *@tag; false: it cannot. */
NST_MUST_CHECK bool smmu_stall_begin(struct smmu_unit *u, struct notifier *n,
				     const struct smmu_fault *fault, unsigned int *tag)
	REQUIRES(u->cmd_lock);
/* What stalls on a host, to the guest. */
extern const struct page_requests_ops smmu_page_requests_ops;
/* There may be room in the queue for records that wait. */
void smmu_stalls_record(struct smmu_unit *u) REQUIRES(u->cmd_lock);
void smmu_stall_resume(struct smmu_unit *u, uint32_t sid, uint16_t stag, bool retry)
	REQUIRES(u->cmd_lock);
/* All of streams [first, last]. */
void smmu_stalls_terminate(struct smmu_unit *u, uint32_t first, uint32_t last)
	REQUIRES(u->cmd_lock);
/* @n goes. */
void smmu_stalls_forget(struct smmu_unit *u, const struct notifier *n) REQUIRES(u->cmd_lock);

#endif
