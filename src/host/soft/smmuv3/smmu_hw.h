/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An SMMUv3 in software: what the silicon does between a device and memory, and nothing
 * of what a driver does. The sister of vtd_hw.h.
 *
 * Per stream (SID = requester id) it holds what a stream table entry says, per SSID a
 * domain of the driver. With two stages the guest's context descriptors and stage 1 tables
 * are read through the second one. Context descriptors, leaf translations and tables are
 * cached, and only commands empty those caches: the driver part (smmu_*.c) must send what
 * SMMUv3 IHI0070G.b s4 Commands asks for, or stale DMA follows.
 *
 * Stalls are for units made with them (smmu_hw_stall.c): the thread of the device then waits
 * in smmu_hw_dma() for CMD_RESUME. Without (IDR0.STALL_MODEL = 1) a fault terminates its
 * transaction at once, CD.S = 1 is C_BAD_CD and S1STALLD = 1 is C_BAD_STE, s5.5. Terminated
 * transactions abort (TERM_MODEL = 1), CD.A = 0 is C_BAD_CD. There is no bus to report an
 * external abort: F_CD_FETCH and F_WALK_EABT never happen.
 *
 * Lock: dma_lock. Requests hold it shared for one page at a time, from lookup to the
 * end of the copy; changes of entries, maps and caches hold it exclusively. So when
 * an invalidation returns, no access with the old translation is in flight, and no
 * walk begun before it can still insert. It is a leaf lock: nothing is called with it
 * held but memory access and the log. The functions of struct smmu_hw_ops are called
 * with no lock of the unit held, and with none does a stalled transaction wait.
 */
#ifndef HOST_SOFT_SMMU_HW_H
#define HOST_SOFT_SMMU_HW_H

#include "base/lock.h"
#include "base/range_map.h"
#include "host/soft/sanitizer.h"
#include "host/soft/dirty_map.h"
#include "spec/smmu_cmds.h"
#include "spec/smmu_events.h"

#include <nestor/soft_host.h>
#include <stdbool.h>

struct smmu_hw;

enum smmu_hw_config {
	SMMU_HW_ABORT,	/* no access, no event */
	SMMU_HW_PAGING, /* a paging domain of the driver: IOVA -> s2; its faults are stage 1's */
	SMMU_HW_BYPASS, /* stage 2 alone: the device's address is an IPA -> s2 */
	SMMU_HW_NESTED, /* guest's stage 1 -> IPA -> s2 */
};

/* Where addresses end: a map that stays the caller's. */
struct smmu_hw_map {
	struct sanitizer_domain domain; /* for reports, also of an SMMU_HW_ABORT */
	const struct range_map *s2;	/* changed only between smmu_hw_map_begin() and _end();
					 * ranges of whole 4 KiB pages if SMMU_HW_NESTED */
	struct dirty_map *dirty;	/* of s2, or NULL; changed like it; not if SMMU_HW_NESTED */
	bool stalls; /* CD.S, where it is a stage 1 of the driver; else STE.S2S */
};

/* What a stream table entry says: SMMUv3 IHI0070G.b s5.2 Stream Table Entry. */
struct smmu_hw_ste {
	enum smmu_hw_config config;
	struct smmu_hw_map map; /* of SMMU_HW_ABORT only the domain */
	bool ats;		/* EATS: translation requests and translated requests */
	/* SMMU_HW_NESTED only */
	uint16_t vmid;	/* tags the caches; one per second stage */
	uint64_t s1[2]; /* qwords 0 and 1 of the guest's entry, of which S1* count */
};

/* What the unit asks of those around it. Called by any thread that calls the unit. */
struct smmu_hw_ops {
	/*
	 * A record for the event queue; of SMMU_EVENT_1_S2 a guest must not hear. One with
	 * SMMU_EVENT_1_STALL is to be answered, once, perhaps before this returns.
	 */
	void (*event)(void *opaque, nst_rid sid, const struct smmu_event *event);
	/* May the DMA of @sid in this thread wait for such an answer? NULL: never. */
	bool (*may_stall)(void *opaque, nst_rid sid);
	/*
	 * An ATS Invalidate Request for [iova, last] of @pasid (NST_NO_PASID: of requests
	 * without one), or of all PASIDs if @global. Comes back when the device has answered.
	 */
	void (*ats_invalidate)(void *opaque, nst_rid sid, uint32_t pasid, bool global,
			       nst_iova iova, nst_iova last);
};

/*
 * struct smmu_hw_setup - what a unit is made with.
 * @check: see nst_soft_config.
 * @stalls: IDR0.STALL_MODEL = 0.
 * @sanitizer: takes the reports; stays the caller's.
 * @ops, @opaque: stay the caller's; functions may be NULL.
 */
struct smmu_hw_setup {
	const struct nst_log *log;
	bool check, stalls;
	struct sanitizer *sanitizer;
	const struct smmu_hw_ops *ops;
	void *opaque;
};

/* -ENOMEM */
NST_MUST_CHECK int smmu_hw_create(const struct smmu_hw_setup *config, struct smmu_hw **out);
void smmu_hw_destroy(struct smmu_hw *hw);

/* Identification registers of a unit with or without stalls: else the model is fixed. */
struct smmu_hw_idr {
	uint32_t idr[6], iidr, aidr;
};
struct smmu_hw_idr smmu_hw_idr(bool stalls);

/* Stalls that nobody has answered, s6.3.6 IDR5.STALL_MAX; STAGs are below. */
enum { SMMU_HW_STALL_MAX = 256 };

/*
 * Write the stream table entry of @sid and let the unit see it (as CFGI_STE does, cached
 * context descriptors of the stream go); NULL is SMMU_HW_ABORT. The TLB is the driver's
 * business: CMD_TLBI_S12_VMALL with the old VMID.
 * Errors: -ENOMEM, -EINVAL (dirty bits of a nested map; a map that stalls, in a unit
 * without), and then nothing has changed; a NULL @ste never fails.
 */
NST_MUST_CHECK int smmu_hw_set_ste(struct smmu_hw *hw, nst_rid sid, const struct smmu_hw_ste *ste);

/*
 * A paging domain of the driver for requests of @sid with @ssid; NULL takes it away. Has no
 * effect while the entry is SMMU_HW_NESTED: the guest has the context descriptors then.
 * Errors: -ENOMEM, -EINVAL (more than 20 bits; a map that stalls, in a unit without); a NULL
 * @map never fails.
 */
NST_MUST_CHECK int smmu_hw_set_ssid(struct smmu_hw *hw, nst_rid sid, uint32_t ssid,
				    const struct smmu_hw_map *map);

/*
 * A command of the host's queue, done when it returns: SID and VMID are the host's, the
 * driver has put them in place of a guest's. CMD_SYNC does nothing. @of: what reports call
 * the guest it came from, all zero for none.
 * Errors: -EINVAL, where the command queue would stop with CERROR_ILL.
 */
NST_MUST_CHECK int smmu_hw_command(struct smmu_hw *hw, struct sanitizer_object of,
				   const struct smmu_cmd *cmd);

/*
 * Around every change of a map that an entry may point to. _end() empties the TLB if
 * @flush (needed after anything was removed or narrowed).
 */
void smmu_hw_map_begin(struct smmu_hw *hw);
void smmu_hw_map_end(struct smmu_hw *hw, bool flush);

/*
 * One DMA request of any size, @req->translated too: such an address is one of this
 * process, and is used only where it lies in the maps of the stream, with their rights.
 * 0 or -EFAULT (reported by the sanitizer, event given out if there is one). If it stalls it
 * comes back when that is answered.
 */
struct endpoint_dma_request;
NST_MUST_CHECK int smmu_hw_dma(struct smmu_hw *hw, nst_rid sid,
			       const struct endpoint_dma_request *req);

/*
 * One ATS translation request. 0: *@reply is filled, perhaps with no rights; -EFAULT: the
 * completion is UR or CA, s3.9.1.2 Responses to ATS Translation Requests.
 */
struct endpoint_ats_request;
struct endpoint_ats_reply;
NST_MUST_CHECK int smmu_hw_translate(struct smmu_hw *hw, nst_rid sid,
				     const struct endpoint_ats_request *req,
				     struct endpoint_ats_reply *reply);

/*
 * Have DMA of @sid wait for answers, as it may at first, or (@may false) not: then what waits is
 * terminated and faults are as if it could not stall. Their STAGs stay taken until they are
 * answered. Any thread; takes a leaf lock.
 */
void smmu_hw_may_stall(struct smmu_hw *hw, nst_rid sid, bool may);

/* Fills the counters that the unit keeps: dma_*_bytes, iotlb_*, s1_walks. */
void smmu_hw_get_stats(struct smmu_hw *hw, struct nst_soft_stats *stats);

/* See nst_soft_drop_invalidation(): the next CMD_TLBI_NH_* or _NSNH_ALL. */
void smmu_hw_drop_invalidation(struct smmu_hw *hw, uint64_t after_dma_write_bytes);

#endif
