/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One VT-d remapping unit, inside. Files of this folder by what they do:
 *
 *	unit.c		life cycle, register accesses, global commands
 *	devices.c	passed-through devices come, go and are renumbered
 *	attachments.c	which points to reconcile, and what the guest is told
 *	pasids.c	the points of a device's PASIDs; scans of its PASID tables
 *	queue.c		the invalidation queue
 *	ir.c		interrupt remapping
 *	shadow.c	second-stage tables for the host's shadows of them
 *	page_request.c	page requests from the host's fault queue to the guest's
 *	page_service.c	page requests of emulated devices
 *	host_fault.c	faults that the host reports of passed-through devices
 *	event.c		fault records, status bits and the two interrupts
 *	translate.c	translation for emulated devices, and its caches
 *	ats.c		translation requests of emulated devices
 *	notify.c	who is told of invalidations; copies of the guest's tables
 *	caps.c		what the unit offers
 *	state.c		save and restore
 *	regs.c, desc.c, tables.c	registers, descriptors, structures in memory
 */
#ifndef VTD_UNIT_H
#define VTD_UNIT_H

#include "spec/vtd_faults.h"
#include "viommu/attach.h"
#include "viommu/page_requests.h"
#include "viommu/told.h"
#include "viommu/viommu.h"
#include "viommu/wakeup.h"
#include "vtd/desc.h"
#include "vtd/ir.h"
#include "vtd/notify.h"
#include "vtd/regs.h"
#include "vtd/tables.h"
#include "vtd/translate.h"

#include <stdatomic.h>

/* What requests of a device without PASID, or with one, are attached to. */
struct vtd_point {
	struct attach_point at;
	enum vtd_fault_reason reported; /* what the guest was last told about its entry */
	bool attach_failed;		/* ... and that the host refused it */
	bool later;			/* the shadow that it waits for is not complete */
};

/* How far the PASID table of a device has been read: see pasids.c. */
struct vtd_scan {
	bool pending;
	bool begun;    /* the rest is valid */
	uint32_t next; /* the first PASID not looked at; a multiple of 64 below end */
	uint32_t rest; /* behind the directory: those from here on are done */
	struct vtd_pasid_dir dir;
};

struct vtd_device {
	struct vtd_device *next;
	/* on the unit's list of those with a scan or a shadow under way */
	bool busy;
	struct vtd_device *next_busy;
	/* scan.begun: among those that may read the same directory */
	struct vtd_device *next_in_group, **link_in_group;
	nst_rid rid;
	struct nst_device *dev;
	bool alias;		/* behind a bridge whose requester id it has, with others */
	struct vtd_point plain; /* requests without PASID */
	/* PASIDs that are on something, or whose entry is wrong; ascending */
	bool page_requests; /* host, unit and device can */
	unsigned int pasid_bits;
	struct vtd_point **pasids;
	size_t num_pasids, max_pasids;
	struct vtd_scan scan;
	bool pasids_refused; /* the guest was told that there are too many */
	/* who reports its unrecoverable faults, and what it is called there; NULL: nobody does */
	struct vtd_fault_source *fault_source;
	uint32_t vdevice_id;
	nst_rid vdevice_rid; /* its number */
};

/* What one run does at most; the rest waits for nst_viommu_process(). In ATTACH_WORK. */
enum { VTD_WORK_PER_RUN = 1 << 16 };
/* PASIDs with an attachment, of all devices together. */
enum { VTD_MAX_PASIDS = 1 << 16 };

enum { VTD_SCAN_GROUPS = 256 };

/* Faults of emulated devices that wait for the command lock; more are an overflow. */
enum { VTD_POSTED_FAULTS = 16 };

/* event.c: record a fault for the guest; @pasid may be NST_NO_PASID. */
struct vtd_fault {
	nst_rid rid;
	uint32_t pasid;
	uint64_t addr;
	bool write, privileged, exec;
	uint8_t address_type; /* AT of the request */
	enum vtd_fault_reason reason;
};

/* Of a struct told, beside TOLD_ATTACH_FAILED. */
enum { VTD_TOLD_PASIDS_REFUSED = TOLD_UNIT_FLAGS };

struct vtd_unit {
	struct nst_viommu base;
	struct nst_vm *vm;
	const struct nst_log *log;
	void (*send_msi)(void *opaque, uint64_t address, uint32_t data);
	void (*interrupts_changed)(void *opaque, uint32_t first, uint32_t count); /* or NULL */
	void *opaque;
	bool post_interrupts;
	_Atomic uint64_t ir_mode; /* see ir.h; written under cmd_lock */
	struct wakeup wakeup;	  /* a run has left something to do, or a queue of faults has */
	struct vtd_regs regs;	  /* with a lock of its own, inside cmd_lock */
	atomic_bool frozen;	  /* the guest has seen cap and ecap */
	struct vtd_xlate xlate;	  /* with a lock of its own, inside cmd_lock */
	struct {
		struct mutex lock; /* a leaf */
		struct vtd_fault faults[VTD_POSTED_FAULTS] GUARDED_BY(lock);
		unsigned int count GUARDED_BY(lock);
		bool lost GUARDED_BY(lock);
	} posted;

	/*
	 * One command at a time. Protects everything below; the host, the guest's memory
	 * and send_msi are called with it held. Outermost lock of the guest half.
	 */
	struct mutex cmd_lock;
	uint64_t cap, ecap;	/* offered */
	uint64_t rtaddr;	/* latched by SRTP */
	bool translating;	/* TE */
	unsigned int next_frcd; /* where the next fault is recorded */
	bool wait_warned;	/* of a wait whose status is not in memory; once */
	struct vtd_device *devices;
	struct vtd_device *busy, **busy_tail;		 /* in the order in which they became so */
	struct vtd_device *scan_groups[VTD_SCAN_GROUPS]; /* by address of the directory */
	size_t num_pasids, max_pasids; /* of all devices; VTD_MAX_PASIDS, less in tests */
	struct attach_table attach;
	/* commands carried out, but for what is left to scan and to flush */
	struct {
		bool status; /* GSTS.TE and RTPS become @gsts */
		uint64_t gsts;
		unsigned int hooks; /* CCMD, IOTLB */
	} unfinished;
	/* an emulated device did not answer an invalidation of its TLB; see queue.c */
	bool device_tlb_timeout;
	struct told_list told; /* restored, of devices that are not here yet */
	bool quiet;    /* restoring: the guest is told nothing, attachments that fail go to */
	int quiet_err; /* ... here */
	struct page_requests
		page; /* its queue on the host is made with the first device that needs it */
	/* of each host IOMMU with a device here that reports faults; see host_fault.c */
	struct vtd_fault_source *fault_sources;
	bool told_silence; /* that a host reports none was said */
	uint64_t host_faults, lost_host_faults;
	uint64_t descriptors, waits, faults, queue_errors;
};

static inline struct vtd_unit *to_vtd_unit(struct nst_viommu *viommu)
{
	return container_of(viommu, struct vtd_unit, base);
}

/* unit.c: as after power-on, but for the devices. */
void vtd_reset_locked(struct vtd_unit *u) REQUIRES(u->cmd_lock);
/* All that is to be done, up to the work one run may take. */
void vtd_run(struct vtd_unit *u) REQUIRES(u->cmd_lock);

/* devices.c: the functions of viommu_ops of these names. */
int vtd_attach(struct nst_viommu *viommu, nst_rid rid, struct nst_device *dev, bool alias);
void vtd_detach(struct nst_viommu *viommu, nst_rid rid);
void vtd_detach_device(struct nst_viommu *viommu, struct nst_device *dev);
int vtd_renumber(struct nst_viommu *viommu, const struct nst_rid_move *moves, size_t count);
/* What is offered, to the guest by registers and devices; resets the registers. */
void vtd_set_caps(struct vtd_unit *u, uint64_t cap, uint64_t ecap) REQUIRES(u->cmd_lock);

/* What only nst_viommu_translate() can do: ECAP bits that no host gives or takes. */
#define VTD_EMULATED_ECAP (VTD_ECAP_SSTS | VTD_ECAP_NEST)

/* caps.c: what a unit with @features offers with no device, and what is left of it with @host's. */
void vtd_caps_default(unsigned int features, uint64_t *cap, uint64_t *ecap);
/* -EOPNOTSUPP and a sentence in *@why if @host cannot carry the unit at all. */
NST_MUST_CHECK int vtd_caps_narrow(const struct iommufd_hw_info *host, uint64_t *cap,
				   uint64_t *ecap, const char **why);

/* PASIDs of a unit with these capabilities, as bits; 0 if it has none. */
unsigned int vtd_caps_pasid_bits(uint64_t ecap);

/* attachments.c: the tables that are in force. */
struct vtd_tables vtd_tables_of(struct vtd_unit *u);
/* Bring @point, of @d, to what the guest's tables were found to say. */
void vtd_apply(struct vtd_unit *u, struct vtd_device *d, struct vtd_point *point,
	       enum vtd_fault_reason reason, const struct vtd_lookup *lookup) REQUIRES(u->cmd_lock);
/* Plain requests at once; for PASIDs a scan becomes pending. */
void vtd_reconcile_device(struct vtd_unit *u, struct vtd_device *d) REQUIRES(u->cmd_lock);
void vtd_reconcile_all(struct vtd_unit *u) REQUIRES(u->cmd_lock);
/* Those whose source id is @sid but for the bits of @ignore. */
void vtd_reconcile_sid(struct vtd_unit *u, nst_rid sid, uint16_t ignore) REQUIRES(u->cmd_lock);
/* The plain requests that wait for a shadow. False if the work of this run was spent before. */
NST_MUST_CHECK bool vtd_finish_plain(struct vtd_unit *u) REQUIRES(u->cmd_lock);
/* One PASID of every device, and plain requests, at once. */
void vtd_reconcile_pasid(struct vtd_unit *u, uint32_t pasid) REQUIRES(u->cmd_lock);
/*
 * All shadows and scans, then all that was collected for the host. False if the work of this run
 * was spent before: call again.
 */
NST_MUST_CHECK bool vtd_settle(struct vtd_unit *u) REQUIRES(u->cmd_lock);

/* shadow.c: attach_shadow_ops.walk of a unit */
void vtd_shadow_walk(void *opaque, const struct attachment *key, uint64_t iova,
		     struct shadow_block *block);

/* pasids.c; plain requests too. */
NST_MUST_CHECK bool vtd_scan(struct vtd_unit *u) REQUIRES(u->cmd_lock);
/* The PASIDs of @d are to be read anew; @d has something that vtd_scan() finishes; it goes. */
void vtd_scan_restart(struct vtd_unit *u, struct vtd_device *d) REQUIRES(u->cmd_lock);
void vtd_busy(struct vtd_unit *u, struct vtd_device *d) REQUIRES(u->cmd_lock);
void vtd_scan_forget(struct vtd_unit *u, struct vtd_device *d) REQUIRES(u->cmd_lock);
void vtd_pasid_reconcile(struct vtd_unit *u, struct vtd_device *d, uint32_t pasid)
	REQUIRES(u->cmd_lock);
/* NULL if @pasid has none; NST_NO_PASID has. */
struct vtd_point *vtd_point_find(struct vtd_device *d, uint32_t pasid);
/* The device goes: nothing of it stays attached. */
void vtd_pasids_fini(struct vtd_unit *u, struct vtd_device *d) REQUIRES(u->cmd_lock);

/* queue.c. False if the work of this run was spent before the queue was empty. */
NST_MUST_CHECK bool vtd_queue_run(struct vtd_unit *u) REQUIRES(u->cmd_lock);

/* state.c: nst_viommu_save() and nst_viommu_restore() */
NST_MUST_CHECK int vtd_save(struct nst_viommu *viommu, void **data, size_t *size);
NST_MUST_CHECK int vtd_restore(struct nst_viommu *viommu, const void *data, size_t size);
/* A device, or a point of it, is new here: what was restored that the guest knows of it. */
void vtd_told_claim_device(struct vtd_unit *u, struct vtd_device *d) REQUIRES(u->cmd_lock);
void vtd_told_claim(struct vtd_unit *u, nst_rid rid, struct vtd_point *point) REQUIRES(u->cmd_lock);

/* ats.c: nst_viommu_ats_translate() */
NST_MUST_CHECK int vtd_ats_translate(struct nst_viommu *viommu, const struct nst_ats_request *req,
				     struct nst_ats_entry *entries, unsigned int max,
				     unsigned int *count, enum nst_ats_status *status);

/* notify.c: a device-TLB invalidation to emulated devices; false: one did not answer. */
NST_MUST_CHECK bool vtd_notify_device_tlb(struct vtd_unit *u, const struct vtd_desc *d)
	REQUIRES(u->cmd_lock);
/* All that is pending for mirrors. False if the work of this run was spent before. */
NST_MUST_CHECK bool vtd_mirror(struct vtd_unit *u) REQUIRES(u->cmd_lock);

/* ir.c: what @config asks for, added to what is offered. -EINVAL: it makes no sense. */
NST_MUST_CHECK int vtd_ir_caps(const struct nst_vtd_config *config, uint64_t *cap, uint64_t *ecap);
/* The mode that a latched IRTA and the bits of GSTS (or of GCMD) make, and making it so. */
uint64_t vtd_ir_mode(uint64_t irta, uint64_t gsts);
void vtd_ir_set_mode(struct vtd_unit *u, uint64_t mode) REQUIRES(u->cmd_lock);
void vtd_ir_command(struct vtd_unit *u, uint32_t command) REQUIRES(u->cmd_lock);
/* Tell the VMM. */
void vtd_ir_changed(struct vtd_unit *u, uint32_t first, uint32_t count) REQUIRES(u->cmd_lock);
/* nst_viommu_msi_doorbell(), _remap_msi() and _remap_ioapic() */
NST_MUST_CHECK int vtd_msi_doorbell(struct nst_viommu *viommu, nst_rid rid, nst_iova address,
				    nst_gpa *doorbell);
NST_MUST_CHECK int vtd_remap_msi(struct nst_viommu *viommu, nst_rid rid, uint64_t address,
				 uint32_t data, unsigned int flags, struct nst_interrupt *out);
NST_MUST_CHECK int vtd_remap_ioapic(struct nst_viommu *viommu, nst_rid rid, uint64_t entry,
				    unsigned int flags, struct nst_interrupt *out);

/* page_request.c */
extern const struct page_requests_ops vtd_page_requests_ops;
void vtd_page_response(struct vtd_unit *u, const struct vtd_desc *d) REQUIRES(u->cmd_lock);
/* A group of @rid into the guest's queue, whole: returns how it is answered at once, or -1. */
NST_MUST_CHECK int vtd_page_group_write(struct vtd_unit *u, const struct iommu_hwpt_pgfault *faults,
					size_t count, nst_rid rid) REQUIRES(u->cmd_lock);

/* page_service.c: nst_notifier_page_request(), and the guest's answer; false: not to one of those.
 */
NST_MUST_CHECK int vtd_page_request(struct nst_notifier *notifier, uint32_t pasid,
				    unsigned int group, const struct nst_page *pages, size_t count,
				    enum nst_page_answer *answer);
NST_MUST_CHECK bool vtd_page_service_answer(struct vtd_unit *u, const struct vtd_desc *d)
	REQUIRES(u->cmd_lock);

/*
 * host_fault.c: have the host report what it refuses requests of @d for, if it can, and no more.
 * Errors: the host's (not that it cannot), or -ENOMEM; then nothing has changed.
 */
NST_MUST_CHECK int vtd_host_faults_attach(struct vtd_unit *u, struct vtd_device *d)
	REQUIRES(u->cmd_lock);
/* @d is on no list of the unit any more. */
void vtd_host_faults_detach(struct vtd_unit *u, struct vtd_device *d) REQUIRES(u->cmd_lock);
/* Some of what has come, of each host IOMMU, to the guest. */
void vtd_host_faults_take(struct vtd_unit *u) REQUIRES(u->cmd_lock);
/* What has come is of a time that the guest does not remember. */
void vtd_host_faults_forget(struct vtd_unit *u) REQUIRES(u->cmd_lock);

/* event.c: record a fault for the guest. */
void vtd_fault_report(struct vtd_unit *u, const struct vtd_fault *fault) REQUIRES(u->cmd_lock);
void vtd_fault_record(struct vtd_unit *u, nst_rid rid, uint32_t pasid, uint64_t addr, bool write,
		      enum vtd_fault_reason reason) REQUIRES(u->cmd_lock);
/*
 * The same from threads that a holder of cmd_lock may wait for: at once if nobody has it, else
 * with the next nst_viommu_process(), which the unit asks for.
 */
void vtd_fault_post(struct vtd_unit *u, const struct vtd_fault *fault) EXCLUDES(u->cmd_lock);
void vtd_faults_take(struct vtd_unit *u) REQUIRES(u->cmd_lock);
/* Those that wait are of no interest any more. */
void vtd_faults_forget(struct vtd_unit *u) REQUIRES(u->cmd_lock);
/* Set error bits of FSTS, and raise the fault event if none were pending. */
void vtd_status_raise(struct vtd_unit *u, uint64_t bits) REQUIRES(u->cmd_lock);
/* The completion interrupt of a wait descriptor. */
void vtd_completion_raise(struct vtd_unit *u) REQUIRES(u->cmd_lock);
/* Set bits of PRS, and raise the page-request event if none were pending. */
void vtd_page_status_raise(struct vtd_unit *u, uint64_t bits) REQUIRES(u->cmd_lock);
/* Software wrote one of the registers that hold these events. */
void vtd_events_written(struct vtd_unit *u, unsigned int hooks) REQUIRES(u->cmd_lock);

#endif
