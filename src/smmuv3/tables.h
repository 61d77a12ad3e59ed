/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest's structures in memory: SMMUv3 IHI0070G.b s5. From a StreamID to its stream table
 * entry, and from that and a SubstreamID to a context descriptor. Reads guest memory, changes
 * nothing, caches nothing.
 *
 *	STRTAB_BASE -> [L1STD ->] STE -> [L1CD ->] CD
 */
#ifndef SMMUV3_TABLES_H
#define SMMUV3_TABLES_H

#include "smmuv3/caps.h"
#include "spec/smmu_events.h"
#include "spec/smmu_tables.h"

#include <nestor/mem.h>

/* s5.1 Level 1 Stream Table Descriptor: 8 bytes */
#define SMMU_L1STD_SPAN GENMASK64(4, 0)
#define SMMU_L1STD_L2PTR GENMASK64(51, 6)
enum { SMMU_L1STD_BYTES = 8 };

/* Of an STE, what does not cross to the host. */
#define SMMU_STE_1_PRIVCFG GENMASK64(49, 48)
enum smmu_privcfg { SMMU_PRIVCFG_UNPRIVILEGED = 2, SMMU_PRIVCFG_PRIVILEGED = 3 };

/* What the unit walks them by; the registers as they stand, and what is offered. */
struct smmu_tables {
	struct nst_mem *mem;
	struct smmu_idr idr;
	uint64_t strtab_base, strtab_cfg;
};

/* What is wrong, and of the fetches, where. SMMU_E_ABORTED: aborted, with no event. */
struct smmu_table_fault {
	enum smmu_event_type type;
	bool absent; /* nobody has made the structure yet */
	uint64_t address;
};

/* A legal STE. Without what the guest's configuration leaves without meaning, so that equal
 * ones are equal. */
struct smmu_stream {
	enum smmu_ste_config config;	  /* SMMU_STE_BYPASS or SMMU_STE_S1 */
	struct iommu_hwpt_arm_smmuv3 ste; /* for the host */
	enum smmu_privcfg privcfg;	  /* or 0, 1: as the request says */
	enum smmu_s1fmt fmt;		  /* the rest: SMMU_STE_S1 */
	enum smmu_s1dss dss;
	bool stalls_disabled; /* S1STALLD */
	unsigned int cd_max;  /* bits of a SubstreamID */
	uint64_t context_ptr;
};

/* One half of the address space. */
struct smmu_half {
	uint64_t ttb;
	unsigned int granule_lg2, tsz;
	bool disabled, tbi, had;
};

/* A legal CD. */
struct smmu_context {
	struct smmu_half halves[2];
	uint64_t too_high; /* address bits that no output has */
	uint16_t asid;
	bool aset, affd, record, stall;
};

/* False: @fault says why. */
NST_MUST_CHECK bool smmu_find_stream(const struct smmu_tables *tables, uint32_t sid,
				     struct smmu_stream *out, struct smmu_table_fault *fault);
/* Whether requests of @stream with @ssid (NST_NO_PASID: without one) have a CD: *@cd if so. */
NST_MUST_CHECK bool smmu_select_context(const struct smmu_stream *stream, uint32_t ssid,
					bool *has_cd, uint32_t *cd, struct smmu_table_fault *fault);
NST_MUST_CHECK bool smmu_find_context(const struct smmu_tables *tables,
				      const struct smmu_stream *stream, uint32_t cd,
				      struct smmu_context *out, struct smmu_table_fault *fault);

/* The last steps alone, without memory: is it legal? */
NST_MUST_CHECK bool smmu_ste_decode(const struct smmu_ste *ste, const struct smmu_idr *idr,
				    struct smmu_stream *out, struct smmu_table_fault *fault);
NST_MUST_CHECK bool smmu_cd_decode(const struct smmu_cd *cd, const struct smmu_idr *idr,
				   struct smmu_context *out);

#endif
