/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands: SMMUv3 IHI0070G.b s4. smmu_command_decode() is pure: bytes in, a decoded command
 * or the reason to refuse it out.
 *
 * Reserved bits of a legal command are ignored, as hardware does, and so are not handed to
 * the host: what it gets (@host) has the command's own fields only.
 */
#ifndef SMMUV3_COMMAND_H
#define SMMUV3_COMMAND_H

#include "smmuv3/regs.h"
#include "spec/smmu_cmds.h"

#include <nestor/viommu.h>

enum smmu_sync_signal { SMMU_SYNC_NONE = 0, SMMU_SYNC_IRQ = 1, SMMU_SYNC_SEV = 2 };

struct smmu_command {
	enum {
		SMMU_DO_NOTHING,   /* PREFETCH_* */
		SMMU_DO_CFGI_STE,  /* streams [sid, last_sid], and all below them */
		SMMU_DO_CFGI_CD,   /* of (sid, ssid), */
		SMMU_DO_CFGI_CDS,  /* ... or of all substreams of sid */
		SMMU_DO_TLBI_ALL,  /* everything; the others are of vmid: */
		SMMU_DO_TLBI_VM,   /* everything of it */
		SMMU_DO_TLBI_NH,   /* ... of stage 1 */
		SMMU_DO_TLBI_ASID, /* ... that is not global, of asid */
		SMMU_DO_TLBI_VA,   /* asid, [first, last]; global entries too */
		SMMU_DO_TLBI_VAA,  /* any ASID, [first, last] */
		SMMU_DO_TLBI_IPA,  /* of stage 2, [first, last] */
		SMMU_DO_ATC_INV,
		SMMU_DO_PRI_RESP,   /* to the group (sid, ssid, index) */
		SMMU_DO_RESUME,	    /* what waits as (sid, stag) */
		SMMU_DO_STALL_TERM, /* all of sid that wait */
		SMMU_DO_SYNC,
	} what;
	uint32_t sid, last_sid, ssid;
	uint16_t asid, vmid;
	uint16_t stag, index;
	enum nst_page_answer answer;
	bool retry;
	bool global;	      /* ATC_INV: of every SubstreamID, not of ssid alone */
	uint64_t first, last; /* bytes, both inclusive, of every TLBI_*, and ATC_INV */
	struct {
		enum smmu_sync_signal signal;
		uint64_t msi_address; /* 0: no MSI */
		uint32_t msi_data;
	} sync;
	struct smmu_cmd host; /* CFGI_CD*, TLBI_* but _IPA, ATC_INV: for a vIOMMU */
};

enum smmu_cerror smmu_command_decode(const struct smmu_cmd *raw, const struct smmu_idr *idr,
				     struct smmu_command *out);

#endif
