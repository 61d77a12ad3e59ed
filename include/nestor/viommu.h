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
};

/**
 * struct nst_vtd_config - an Intel VT-d remapping unit in scalable mode.
 * @vm: whose memory holds the guest's tables and queues.
 * @send_msi: deliver an interrupt: a 4-byte write of @data to @address, as a device
 *	would do it. Called from within nst_viommu_mmio_write(), _attach() and _translate(), with
 *	the unit's command lock held: it must not call the unit.
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

/** nst_viommu_destroy() - detaches what is still attached. @viommu may be NULL. */
NST_API void nst_viommu_destroy(struct nst_viommu *viommu);

/**
 * nst_viommu_attach() - put a device behind the unit as requester @rid.
 *
 * What the unit offers the guest is what all its devices' host IOMMUs can do; it is
 * settled by the devices attached before the guest's first register access. A device
 * that comes later must be able to do at least that.
 * Errors: -EOPNOTSUPP (its host IOMMU cannot do what the unit needs or has offered; the
 * reason is logged), -EEXIST (@rid is taken), -ENOMEM, or the host's. Threads: any.
 */
NST_MUST_CHECK NST_API int nst_viommu_attach(struct nst_viommu *viommu, nst_rid rid,
					     struct nst_device *dev);

/** nst_viommu_detach() - the device reaches the guest's memory untranslated again. */
NST_API void nst_viommu_detach(struct nst_viommu *viommu, nst_rid rid);

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
 */
struct nst_translate_request {
	nst_rid rid;
	uint32_t pasid;
	nst_iova iova;
	bool write;
	bool privileged;
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
 * recorded for the guest. *@out is then unchanged. Threads: any; a hit in the cache
 * takes one lock shared and waits for no command.
 */
NST_MUST_CHECK NST_API int nst_viommu_translate(struct nst_viommu *viommu,
						const struct nst_translate_request *req,
						struct nst_translation *out);

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
 * nst_viommu_fd() - a descriptor for poll(2): readable when nst_viommu_process() has
 * something to do. The unit's; do not read or close it.
 *
 * The library has no thread. What a guest can make arbitrarily long (scans of its PASID
 * tables) is done in pieces: a register write does the first one, the VMM's loop the
 * others. A VMM that never calls has a guest that waits for its IOMMU. Page requests of
 * devices come the same way.
 */
NST_API int nst_viommu_fd(struct nst_viommu *viommu);

/** nst_viommu_process() - the next piece, or nothing. It never blocks. Threads: any. */
NST_API void nst_viommu_process(struct nst_viommu *viommu);

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
	uint64_t walks; /* translations for emulated devices that no cache had */
};

NST_API void nst_viommu_get_stats(struct nst_viommu *viommu, struct nst_viommu_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
