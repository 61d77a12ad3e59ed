/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtual IOMMU: registers for the guest, translation for the devices behind it.
 */
#ifndef NESTOR_VIOMMU_H
#define NESTOR_VIOMMU_H

#include <nestor/device.h>
#include <nestor/vm.h>

#ifdef __cplusplus
extern "C" {
#endif

struct nst_viommu;

/**
 * enum nst_vtd_feature - what a unit can offer to emulated devices and cannot carry out
 * for passed-through ones: a unit with any of them refuses nst_viommu_attach(), but
 * NST_VTD_FIVE_LEVEL where the host's IOMMU has it.
 */
enum nst_vtd_feature {
	NST_VTD_SECOND_STAGE = 1 << 0, /* second-stage tables in scalable mode (SSTS) */
	NST_VTD_NESTED = 1 << 1,       /* ... under first-stage ones (NEST); implies SSTS */
	NST_VTD_FIVE_LEVEL = 1 << 2,   /* first stages of 57 bits (FS5LP) */
	/* No caching mode (CM), as silicon has none: a guest does not say what becomes present. */
	NST_VTD_NO_CACHING_MODE = 1 << 3,
};

/**
 * struct nst_vtd_config - an Intel VT-d remapping unit in scalable mode.
 * @vm: whose memory holds the guest's tables and queues.
 * @send_msi: deliver an interrupt: a 4-byte write of @data to @address, as a device
 *	would do it. Called from within nst_viommu_mmio_write(), _attach(), _detach(),
 *	_translate(), _ats_translate() and _process(), and whatever resets a device behind the
 *	unit, with the unit's command lock held: it must not call the unit.
 * @features: of enum nst_vtd_feature, beyond what every unit offers.
 * @remap_interrupts: offer interrupt remapping. The VMM then gives every MSI and every
 *	I/O APIC message to nst_viommu_remap_msi() or _ioapic() before it delivers it.
 * @x2apic: with it, destinations of 32 bits.
 * @post_interrupts: with it, entries in posted format. The VMM carries them out.
 * @interrupts_changed: the guest may have changed @count entries from @first on: what was
 *	remapped through them before is to be remapped again, before this returns. Where from
 *	and with what lock held: as @send_msi; but nst_viommu_remap_msi() and _ioapic() may be
 *	called, with NST_REMAP_QUIET. May be NULL.
 */
struct nst_vtd_config {
	struct nst_vm *vm;
	const struct nst_log *log;
	void (*send_msi)(void *opaque, uint64_t address, uint32_t data);
	void *opaque;
	unsigned int features;
	bool remap_interrupts, x2apic, post_interrupts;
	void (*interrupts_changed)(void *opaque, uint32_t first, uint32_t count);
};

/** Bytes of the register page. */
#define NST_VTD_MMIO_SIZE 4096

/**
 * nst_vtd_create() - Source: Intel VT-d architecture specification, revision 4.1.
 * Errors: -ENOMEM, -EINVAL (@x2apic or @post_interrupts without @remap_interrupts).
 */
NST_MUST_CHECK NST_API int nst_vtd_create(const struct nst_vtd_config *config,
					  struct nst_viommu **out);

/** enum nst_smmuv3_feature - what a unit can offer beyond what every one does. */
enum nst_smmuv3_feature {
	/** Devices may keep translations (IDR0.ATS). Shown are those whose host lets them. */
	NST_SMMUV3_ATS = 1 << 0,
	/**
	 * Second-stage tables, alone and under those of stage 1 (IDR0.S2P). For emulated devices: a
	 * passed-through one is blocked by such an entry, or one with a VMID other than 0, and the
	 * guest gets C_BAD_STE.
	 */
	NST_SMMUV3_STAGE2 = 1 << 1,
	/**
	 * Faults may stall (IDR0.STALL_MODEL): of emulated devices that use
	 * nst_notifier_translate(), and of passed-through ones that stall on their host, whose
	 * IOMMU takes stalls away if it has none.
	 */
	NST_SMMUV3_STALLS = 1 << 2,
	/**
	 * Page requests of emulated devices (IDR0.PRI), nst_notifier_page_request(). Only with
	 * NST_SMMUV3_ATS. Of passed-through devices there are none: no host with an SMMU has any.
	 */
	NST_SMMUV3_PRI = 1 << 3,
};

/** enum nst_smmuv3_irq - the wired interrupts of a unit; all are edges. */
enum nst_smmuv3_irq {
	NST_SMMUV3_IRQ_EVENTQ,
	NST_SMMUV3_IRQ_CMD_SYNC,
	NST_SMMUV3_IRQ_GERROR,
	NST_SMMUV3_IRQ_PRIQ,
};

/**
 * struct nst_smmuv3_config - an Arm SMMUv3 of stage 1 (@features: and 2), with what QEMU 11.1's has
 *if the rest is 0.
 * @vm: whose memory holds the guest's tables and queues.
 * @send_msi: deliver an interrupt: a 4-byte write of @data to @address, which is not memory of
 *	the VM (there the unit writes itself). NULL: the unit has no MSIs. Where from, and with
 *	what lock held: as for nst_vtd_config.
 * @pulse: raise a wired interrupt: of every interrupt, beside its MSI. NULL: there are none.
 * @features: of enum nst_smmuv3_feature.
 * @ssid_bits: of a SubstreamID (PASID), up to 20; a host IOMMU may have fewer. 0: there are none.
 * @oas_bits: of a guest-physical address: 32, 36, 40, 42, 44 or 48; a host IOMMU may have fewer.
 *	0: 44.
 */
struct nst_smmuv3_config {
	struct nst_vm *vm;
	const struct nst_log *log;
	void (*send_msi)(void *opaque, uint64_t address, uint32_t data);
	void (*pulse)(void *opaque, enum nst_smmuv3_irq irq);
	void *opaque;
	unsigned int features;
	unsigned int ssid_bits, oas_bits;
};

/** Bytes of both register pages. */
#define NST_SMMUV3_MMIO_SIZE 0x20000

/**
 * nst_smmuv3_create() - Source: Arm IHI 0070G.b. A device's StreamID is its requester id. Such a
 * unit has no notifiers with @map, and remaps no interrupts. A host gives a StreamID to one device
 * only: a second one behind a bridge is -EOPNOTSUPP at nst_viommu_attach_alias(), and of two that
 * the guest gives one number the second is blocked. Errors: -ENOMEM, -EINVAL (@features, @ssid_bits
 * or @oas_bits is not one of these).
 */
NST_MUST_CHECK NST_API int nst_smmuv3_create(const struct nst_smmuv3_config *config,
					     struct nst_viommu **out);

/** nst_viommu_destroy() - detaches what is still attached. @viommu may be NULL. */
NST_API void nst_viommu_destroy(struct nst_viommu *viommu);

/**
 * nst_viommu_attach() - put a device behind the unit as requester @rid.
 *
 * What the unit offers the guest is what all its devices' host IOMMUs can do; it is
 * settled by the devices attached before the guest's first register access. A device
 * that comes later must be able to do at least that.
 * Errors: -EOPNOTSUPP (its host IOMMU cannot do what the unit needs or has offered),
 * -EEXIST (@rid is taken, also by an emulated device's notifier, or @dev is behind the unit
 * already), -ENOMEM, or the host's. The reason is logged; nothing else is changed. Threads: any.
 */
NST_MUST_CHECK NST_API int nst_viommu_attach(struct nst_viommu *viommu, nst_rid rid,
					     struct nst_device *dev);

/**
 * nst_viommu_attach_alias() - the same for a device whose requests carry the requester id of
 * a bridge: a PCIe-to-PCI bridge sends what comes from behind it as function 0 of device 0
 * of its secondary bus, and that is @rid.
 *
 * All that are put there in this way share @rid, as its one context entry of the guest
 * does: what it says, all of them are attached to. They have no PASIDs, no ATS and no
 * page requests, which a conventional bus does not carry. A device behind such a bridge
 * that is attached by nst_viommu_attach(), as what it is called on its own bus, finds no
 * context entry and stays blocked.
 * Errors: as nst_viommu_attach(); -EEXIST: @rid is that of a device of its own. Threads: any.
 */
NST_MUST_CHECK NST_API int nst_viommu_attach_alias(struct nst_viommu *viommu, nst_rid rid,
						   struct nst_device *dev);

/**
 * nst_viommu_detach() - every device that has @rid reaches the guest's memory untranslated
 * again. Nothing happens if there is none. Threads: any.
 */
NST_API void nst_viommu_detach(struct nst_viommu *viommu, nst_rid rid);

/** nst_viommu_detach_device() - the same for this one, whatever its requester id is by now. */
NST_API void nst_viommu_detach_device(struct nst_viommu *viommu, struct nst_device *dev);

/** A device behind the unit, and the requester id that it has from now on. */
struct nst_rid_move {
	struct nst_device *dev;
	nst_rid rid;
};

/**
 * nst_viommu_renumber() - the guest gave other numbers to buses.
 *
 * All moves are one: two devices may swap. What a device that moves was attached to ends
 * before it is attached to what the guest's tables say of its new requester id. A guest
 * may give the same one to two devices, as it may on hardware: then both are attached
 * to what is said of it.
 * Errors: -ENOENT (a device that is not behind the unit; nothing is changed). A host that
 * refuses an attachment leaves the device blocked, as ever. Threads: any.
 */
NST_MUST_CHECK NST_API int nst_viommu_renumber(struct nst_viommu *viommu,
					       const struct nst_rid_move *moves, size_t count);

/**
 * nst_viommu_mmio_read(), nst_viommu_mmio_write() - a register access by the guest.
 * @size is 1, 2, 4 or 8. Accesses the architecture does not define (misaligned, 1 or 2
 * bytes) read what is there and write nothing; outside the page likewise 0. A write
 * returns when the commands it started are done, or when it has done as much as one call
 * may (see nst_viommu_fd()): the registers say how far they are. Threads: any.
 */
NST_API uint64_t nst_viommu_mmio_read(struct nst_viommu *viommu, uint64_t offset,
				      unsigned int size);
NST_API void nst_viommu_mmio_write(struct nst_viommu *viommu, uint64_t offset, unsigned int size,
				   uint64_t value);

/**
 * struct nst_translate_request - one access by a device that the VMM emulates.
 * @pasid: NST_NO_PASID for a request without PASID.
 * @privileged: Privileged Mode Requested; only with a PASID.
 * @translated: AT = Translated: @iova is what nst_viommu_ats_translate() gave. It comes back
 *	as it is, if the guest's tables let the device have a device TLB (of an SMMUv3: or it has
 *	CR0.ATSCHK clear).
 */
struct nst_translate_request {
	nst_rid rid;
	uint32_t pasid;
	nst_iova iova;
	bool write;
	bool privileged;
	bool translated;
};

/**
 * struct nst_translation - where the access goes.
 * @gpa: of @iova. The @size bytes from there on (never 0) are translated in one piece.
 * @read, @write: what is known to be allowed of these bytes.
 * @interrupt: a write to the interrupt address range: @gpa and what is written are an
 *	interrupt message, not memory.
 */
struct nst_translation {
	nst_gpa gpa;
	uint64_t size;
	bool read, write;
	bool interrupt;
};

/**
 * nst_viommu_translate() - translate an access by the guest's tables, as the unit's
 * registers say. Any @rid without nst_viommu_attach() is that of an emulated device.
 *
 * Accessed and dirty bits are set in the guest's tables. Results are cached until the
 * guest invalidates them, as in hardware. An invalidation waits for translations that
 * are under way, and not for what the caller does with a result: a VMM whose devices
 * run beside its virtual CPUs has to see to it that an access it began is over before
 * the register write that invalidates returns to the guest.
 *
 * Errors: -EFAULT: the request is refused; what the architecture reports of that is
 * recorded for the guest. -EEXIST: @rid is that of a passed-through device, whose DMA the
 * host translates. *@out is then unchanged. Threads: any; a hit in the cache takes no lock on a
 * VT-d unit, and one shared on an SMMUv3; it waits for no command.
 */
NST_MUST_CHECK NST_API int nst_viommu_translate(struct nst_viommu *viommu,
						const struct nst_translate_request *req,
						struct nst_translation *out);

/* --- emulated devices that keep translations ------------------------------------------------ */

/** In a notifier: requests without PASID, and those with any. */
#define NST_EVERY_PASID (NST_NO_PASID - 1)

enum nst_change {
	NST_CHANGE_PAGES,	  /* of these addresses */
	NST_CHANGE_ADDRESS_SPACE, /* a whole domain: all addresses */
	NST_CHANGE_TABLES,	  /* which tables the device goes by: all addresses */
};

/** struct nst_invalidation - [@first, @last] may be translated otherwise from now on. */
struct nst_invalidation {
	enum nst_change what;
	nst_iova first, last;
};

/** struct nst_mapping - [@first, @last] goes to @gpa and on in one piece, with these rights. */
struct nst_mapping {
	nst_iova first, last;
	nst_gpa gpa;
	bool read, write;
};

/**
 * struct nst_device_tlb_invalidation - an ATS Invalidate Request.
 * @pasid: NST_NO_PASID: of requests without one.
 * @global: of every PASID.
 */
struct nst_device_tlb_invalidation {
	uint32_t pasid;
	nst_iova first, last;
	bool global;
};

/** How a group of page requests is answered; the numbers are PCIe's. */
enum nst_page_answer {
	NST_PAGE_SUCCESS = 0,
	NST_PAGE_INVALID = 1,
	NST_PAGE_FAILURE = 15,
	NST_PAGE_PENDING = -1, /* by @page_response, later */
};

/** How a transaction that stalled goes on. */
enum nst_stall_answer {
	NST_STALL_RETRY,      /* ask nst_notifier_translate() again */
	NST_STALL_ABORT,      /* the guest's answer: it ends with an error */
	NST_STALL_TERMINATED, /* it ends with an error, and nobody has looked at it */
};

/**
 * struct nst_notifier_config - who wants to hear what of the guest's invalidations.
 * @rid, @pasid: the device, and NST_NO_PASID, a PASID or NST_EVERY_PASID.
 * @first, @last: the addresses of interest; what is told is cut to them.
 * @invalidate: for who keeps what nst_viommu_translate() or _ats_translate() gave him (vhost's
 *	IOTLB): forget it, and ask again when it is missed. May be called for addresses he has
 *	nothing of. May be NULL.
 * @map, @unmap: for who keeps a copy of the whole table (a VFIO container); both or none. What
 *	an invalidation names is read anew, and told as neighbouring pieces in ascending order
 *	that have no gaps: map() for what is there, whether it was before or not, unmap() for
 *	what is not. Neither says how pages were cut before, and there need not be memory at
 *	what map() names. A map() that returns other than 0 ends the telling until the next
 *	invalidation: the copy lacks what comes behind. Accessed bits are set in the tables, and
 *	dirty ones of pages that can be written, as no one sees what the device does there. Not
 *	with NST_EVERY_PASID.
 * @device_tlb: an ATS Invalidate Request to @rid. Returns 0 when no translation in the device
 *	that it names is used any more; else the device did not answer, and the guest gets an
 *	invalidation time-out (of an SMMUv3: CERROR_ATC_INV_SYNC). May be NULL.
 * @page_response: the guest's answer to nst_notifier_page_request(); a reset of the unit answers
 *	with NST_PAGE_FAILURE. May be NULL.
 * @stall_response: how the transaction that nst_notifier_translate() called @tag goes on; it may
 *	come before that has returned. What waits when the guest turns the unit off, or it is reset,
 *	is terminated. May be NULL.
 *
 * When a callback has returned, and not before, the guest sees its invalidation complete. They
 * come from whatever function of the unit carried it out, with the unit's command lock held:
 * they must not call the unit, nor wait for a lock under which the caller does; and
 * they should be short. nst_viommu_translate() and nst_viommu_ats_translate() alone may be called
 * with a lock held that a callback waits for. nst_viommu_reset() and _restore() are told as
 *NST_CHANGE_TABLES.
 *
 * A translation that is under way while an invalidation is carried out may give what is
 * already invalid. So the caller counts the calls of @invalidate under a lock of its own,
 * remembers the count before it asks, and keeps the answer (under that lock) only if the
 * count is still the same.
 */
struct nst_notifier_config {
	nst_rid rid;
	uint32_t pasid;
	nst_iova first, last;
	void (*invalidate)(void *opaque, const struct nst_invalidation *invalidation);
	int (*map)(void *opaque, const struct nst_mapping *mapping);
	void (*unmap)(void *opaque, nst_iova first, nst_iova last);
	int (*device_tlb)(void *opaque, const struct nst_device_tlb_invalidation *invalidation);
	void (*page_response)(void *opaque, uint32_t pasid, unsigned int group,
			      enum nst_page_answer answer);
	void (*stall_response)(void *opaque, unsigned int tag, enum nst_stall_answer answer);
	void *opaque;
};

struct nst_notifier;

/**
 * nst_viommu_notify() - from now on tell @config's callbacks. One with @map is told what is
 * there already by nst_viommu_process(), as after nst_notifier_replay().
 * Errors: -EINVAL (@config makes no sense), -EEXIST (@rid is that of a passed-through device),
 * -ENOMEM, -EOPNOTSUPP (a kind of vIOMMU that has no such ones; @map of a unit without caching
 * mode). Threads: any.
 */
NST_MUST_CHECK NST_API int nst_viommu_notify(struct nst_viommu *viommu,
					     const struct nst_notifier_config *config,
					     struct nst_notifier **out);

/** nst_notifier_remove() - when it returns no callback runs or will. @notifier may be NULL. */
NST_API void nst_notifier_remove(struct nst_notifier *notifier);

/**
 * nst_notifier_replay() - tell @map and @unmap all of the present tables. It is the unit's work
 * like other: done in pieces by nst_viommu_process(), which nst_viommu_fd() asks for; the guest's
 * commands wait for it. How much there is to tell the guest decides. Threads: any.
 */
NST_API void nst_notifier_replay(struct nst_notifier *notifier);

/**
 * nst_notifier_translate() - nst_viommu_translate() for the notifier's device, if it can wait.
 * @tag: gets what the transaction is called, if it stalls: below 65536.
 *
 * With NST_SMMUV3_STALLS a guest can have a device's faults stall: it is told of the fault, and
 * says later whether the device may try again. Faults of who calls nst_viommu_translate() do not
 * stall, nor when the guest has left too many without an answer (docs/bounds.md); no fault does
 * on other units.
 * Errors: -EINPROGRESS: it stalls, and @stall_response says how it goes on; -EINVAL (@req is not of
 * what the notifier is for, or that has no @stall_response); as nst_viommu_translate().
 */
NST_MUST_CHECK NST_API int nst_notifier_translate(struct nst_notifier *notifier,
						  const struct nst_translate_request *req,
						  struct nst_translation *out, unsigned int *tag);

/** struct nst_page - one page that a device asks for: PCIe 6.0 s10.4.1. */
struct nst_page {
	nst_iova iova;
	bool read, write, execute, privileged;
};

/**
 * nst_notifier_page_request() - a whole group of page requests of the notifier's device, into the
 * guest's queue.
 * @pasid: NST_NO_PASID, or one; what the notifier is for. @group: the index, 9 bits.
 * @answer: NST_PAGE_PENDING if the guest has it, else the answer at once: NST_PAGE_INVALID (the
 *	guest's tables do not let the device ask), NST_PAGE_SUCCESS (its queue is full: try again),
 *	NST_PAGE_FAILURE (of an SMMUv3: it is off, or its queue is).
 * Errors: -EINVAL (no or more than 512 pages, @group or @pasid, a notifier without
 * @page_response), -EEXIST (that group waits for its answer already), -ENOMEM. Threads: any.
 */
NST_MUST_CHECK NST_API int nst_notifier_page_request(struct nst_notifier *notifier, uint32_t pasid,
						     unsigned int group,
						     const struct nst_page *pages, size_t count,
						     enum nst_page_answer *answer);

/**
 * struct nst_ats_request - a Translation Request: PCIe 6.0 s10.2.2.
 * @iova: its last 12 bits do not count. @pages: how many of 4 KiB from there on are asked for.
 * @no_write: NW: the device does not mean to write, so no page becomes dirty.
 */
struct nst_ats_request {
	nst_rid rid;
	uint32_t pasid;
	nst_iova iova;
	unsigned int pages;
	bool no_write;
	bool privileged;
};

/**
 * struct nst_ats_entry - one translation of a completion.
 * @gpa, @size: the page; @size is a power of two from 4096 on, @gpa a multiple of it.
 * @read, @write: neither: there is no translation (yet); @size is then 4096.
 * @privileged: Priv: @read and @write are for privileged requests.
 * @untranslated: U: use untranslated requests here.
 * Exe, Global and N are never set: no unit here offers what they stand for.
 */
struct nst_ats_entry {
	nst_gpa gpa;
	uint64_t size;
	bool read, write, privileged, untranslated;
};

enum nst_ats_status {
	NST_ATS_SUCCESS,
	NST_ATS_UNSUPPORTED_REQUEST, /* the device may not ask */
	NST_ATS_COMPLETER_ABORT,     /* a structure on the way is not readable or is wrong */
};

/**
 * nst_viommu_ats_translate() - what the unit answers to a Translation Request of an emulated
 * device.
 * @entries, @max: at least 1. *@count gets how many there are: 0 unless the status is
 *	NST_ATS_SUCCESS. They follow one another from the page of @iova on and have one size;
 *	they may be fewer than asked for.
 *
 * The device invalidates them as its notifier's @device_tlb says, and uses them in requests with
 * @translated. Accessed bits are set, and dirty ones unless @no_write. What is wrong in the
 * guest's structures is recorded for it; a page that is not there is not.
 * Errors: -EINVAL (@pages or @max is 0), -EEXIST (@rid is that of a passed-through device),
 * -EOPNOTSUPP (a kind of vIOMMU without). Threads: any.
 */
NST_MUST_CHECK NST_API int nst_viommu_ats_translate(struct nst_viommu *viommu,
						    const struct nst_ats_request *req,
						    struct nst_ats_entry *entries, unsigned int max,
						    unsigned int *count,
						    enum nst_ats_status *status);

/** nst_viommu_reset() - as after power-on; devices reach memory untranslated. */
NST_API void nst_viommu_reset(struct nst_viommu *viommu);

enum nst_interrupt_kind {
	NST_INTERRUPT_BLOCKED, /* deliver nothing; the guest has been told */
	NST_INTERRUPT_MESSAGE, /* deliver @data to @address */
	NST_INTERRUPT_POSTED,  /* post @vector into @descriptor, a Posted Interrupt Descriptor */
};

/**
 * struct nst_interrupt - what becomes of an interrupt.
 * @address: 0xfeexxxxx in compatibility format; bits 63:40 are bits 31:8 of an x2APIC
 *	destination, as KVM_CAP_X2APIC_API takes it.
 * @descriptor: 64 bytes, whose contents nobody has checked.
 * @urgent: notify also if the descriptor suppresses notifications (URG).
 */
struct nst_interrupt {
	enum nst_interrupt_kind kind;
	uint64_t address;
	uint32_t data;
	nst_gpa descriptor;
	uint8_t vector;
	bool urgent;
};

/** Only look: record no fault. For routes that are set up before there is an interrupt. */
#define NST_REMAP_QUIET 1u

/**
 * nst_viommu_remap_msi() - the 4-byte write of @data to @address by @rid.
 * nst_viommu_remap_ioapic() - the message that an I/O APIC with source id @rid makes of its
 * 64-bit redirection entry. Whether it is masked is the caller's business.
 *
 * While the guest has not enabled remapping the message comes back as it is. @flags is 0 or
 * NST_REMAP_QUIET. Takes no lock and waits for nothing; but without that flag a fault
 * is recorded, which waits for the unit's command and may call @send_msi.
 * Errors: -EINVAL (@address is no interrupt address, unknown flag), -EOPNOTSUPP (a kind of
 * vIOMMU that remaps no interrupts). Threads: any.
 */
NST_MUST_CHECK NST_API int nst_viommu_remap_msi(struct nst_viommu *viommu, nst_rid rid,
						uint64_t address, uint32_t data, unsigned int flags,
						struct nst_interrupt *out);
NST_MUST_CHECK NST_API int nst_viommu_remap_ioapic(struct nst_viommu *viommu, nst_rid rid,
						   uint64_t entry, unsigned int flags,
						   struct nst_interrupt *out);

/**
 * nst_viommu_msi_doorbell() - where the MSIs of @rid go that it sends to @address: *@doorbell is
 * what the guest's tables make of a write there. For who routes interrupts by the guest-physical
 * address of a doorbell, as KVM does for an ITS; see docs/msi.md. A device of either kind.
 *
 * It is only looked up: no event or fault is recorded, nothing cached. Ask when the guest has
 * written the address into the device: it has mapped it before. On VT-d the interrupt range goes
 * untranslated; what the message then means is nst_viommu_remap_msi()'s.
 * Errors: -EFAULT (the tables let no such write through), -EINVAL (VT-d: @address is no interrupt
 * address). *@doorbell is then unchanged. Threads: any; waits for no command.
 */
NST_MUST_CHECK NST_API int nst_viommu_msi_doorbell(struct nst_viommu *viommu, nst_rid rid,
						   nst_iova address, nst_gpa *doorbell);

/**
 * nst_viommu_fd() - a descriptor for poll(2): readable when nst_viommu_process() has
 * something to do. The unit's; do not read or close it.
 *
 * The library has no thread. What a guest can make arbitrarily long (scans of its PASID
 * tables) is done in pieces: a register write does the first one, the VMM's loop the
 * others. A VMM that never calls has a guest that waits for its IOMMU. Page requests and faults of
 * devices come the same way.
 */
NST_API int nst_viommu_fd(struct nst_viommu *viommu);

/** nst_viommu_process() - the next piece, or nothing. It never blocks. Threads: any. */
NST_API void nst_viommu_process(struct nst_viommu *viommu);

/**
 * nst_viommu_expire_page_requests() - page requests of passed-through devices that were with the
 * guest already at the last call of this function, and are not answered, are answered as invalid.
 *
 * For a VMM that wants a limit, which neither PCIe nor VT-d has: a guest may be stopped, or wait
 * for a slow disk. The library has no clock. Called each T while the guest runs, a request
 * lives for T to 2 T. An answer of the guest that comes later is ignored. Threads: any.
 */
NST_API void nst_viommu_expire_page_requests(struct nst_viommu *viommu);

/**
 * nst_viommu_save() - everything of the unit that a guest can observe, as one stream of
 * bytes (docs/state.md), consistent at one moment between two commands; the unit goes on.
 * @data: to be freed with free(3).
 * What the devices are attached to is not in it: it follows from the rest and from the
 * guest's memory. Stop the guest first, and save its memory too. Errors: -ENOMEM. Threads: any.
 */
NST_MUST_CHECK NST_API int nst_viommu_save(struct nst_viommu *viommu, void **data, size_t *size);

/**
 * nst_viommu_restore() - make the unit what another one was when it was saved.
 * @data, @size: exactly what nst_viommu_save() gave.
 *
 * The guest's memory must be there as it was. Devices are attached as the guest's tables
 * say; they may also be put behind the unit later. No interrupt is sent and no fault
 * recorded. The unit need not be new: what it was is forgotten. What is wrong is logged.
 *
 * Errors leave the unit as it was: -EINVAL (not such a stream, damaged, cut or too long),
 * -EPROTONOSUPPORT (of an unknown version), -EOPNOTSUPP (of a unit that offers what this
 * one does not, or less than its guest has seen), -ENOMEM. If the host refuses an
 * attachment: what it gave, or -EIO; the unit is reset then. Threads: any.
 */
NST_MUST_CHECK NST_API int nst_viommu_restore(struct nst_viommu *viommu, const void *data,
					      size_t size);

/** Counters since creation; they never go back. */
struct nst_viommu_stats {
	uint64_t invalidation_descriptors; /* all descriptors carried out */
	uint64_t wait_descriptors;
	uint64_t host_invalidate_calls;
	uint64_t host_invalidate_entries;
	uint64_t nested_hwpts; /* ever allocated */
	uint64_t attaches;     /* changes of an effective attachment */
	uint64_t failed_attaches;
	uint64_t faults;	 /* recorded for the guest */
	uint64_t queue_errors;	 /* IQE, ITE */
	uint64_t page_requests;	 /* groups written into the guest's queue */
	uint64_t page_responses; /* of the guest, that reached a device */
	/* to groups that were never asked for, were answered before, or whose device or
	 * attachment is no more: ignored */
	uint64_t unknown_page_responses;
	uint64_t expired_page_requests; /* see nst_viommu_expire_page_requests() */
	uint64_t host_faults;	   /* of @faults: reported by the host of a passed-through device */
	uint64_t lost_host_faults; /* that it had no room to report; the guest sees an overflow */
	uint64_t walks;		   /* translations for emulated devices that no cache had */
	uint64_t shadow_domains;   /* second-stage tables of the guest, shadowed; ever made */
	uint64_t shadow_calls;	   /* of the host, to keep them as the tables are */
	uint64_t stalls;	   /* transactions of which the guest was told that they wait */
	uint64_t stall_answers;	   /* of the guest, that reached one */
};

NST_API void nst_viommu_get_stats(struct nst_viommu *viommu, struct nst_viommu_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
