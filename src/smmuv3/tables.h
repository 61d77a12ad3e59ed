/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest's structures in memory: SMMUv3 IHI0070G.b s5. From a StreamID to its stream table
 * entry, and from that and a SubstreamID to a context descriptor. Reads guest memory, changes
 * nothing, caches nothing.
 *
 *	STRTAB_BASE -> [L1STD ->] STE -> [L1CD ->] CD
 *
 * Where an STE has two stages, what lies behind it is at intermediate addresses, and is read
 * through its stage 2.
 */
#ifndef SMMUV3_TABLES_H
#define SMMUV3_TABLES_H

#include "pagetable/arm_s2.h"
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
	/* of a stage 2: what was on its way through it, and where to; what S2R and S2S make of it
	 */
	bool s2, silent, stall;
	enum smmu_event_class cls;
	uint64_t ipa;
};

/* A legal stage 2 of an STE. */
struct smmu_stage2 {
	struct arm_s2_table table;
	uint64_t too_high; /* address bits that no output has */
	bool affd, ptw, record, stall;
};

/* A legal STE. Without what the guest's configuration leaves without meaning, so that equal
 * ones are equal. */
struct smmu_stream {
	enum smmu_ste_config config;	  /* SMMU_STE_BYPASS or a stage */
	struct iommu_hwpt_arm_smmuv3 ste; /* for the host, which has no stage 2 to give */
	enum smmu_privcfg privcfg;	  /* or 0, 1: as the request says */
	uint16_t vmid;			  /* of any stage; 0 where there is no stage 2 */
	enum smmu_s1fmt fmt;		  /* down to @context_ptr: of a stage 1 */
	enum smmu_s1dss dss;
	bool stalls_disabled; /* S1STALLD */
	bool ats;	      /* EATS: its device may keep translations */
	unsigned int cd_max;  /* bits of a SubstreamID */
	uint64_t context_ptr;
	struct smmu_stage2 s2; /* of a stage 2 */
};

static inline bool smmu_has_stage1(const struct smmu_stream *stream)
{
	return stream->config == SMMU_STE_S1 || stream->config == SMMU_STE_NESTED;
}

static inline bool smmu_has_stage2(const struct smmu_stream *stream)
{
	return stream->config == SMMU_STE_S2 || stream->config == SMMU_STE_NESTED;
}

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

/* TG0, TG1 or S2TG as a power of two; 0: reserved, or not offered. */
unsigned int smmu_granule_of(const struct smmu_idr *idr, unsigned int tg, bool upper);

/* stage2.c: words 2 and 3 of an STE. */
NST_MUST_CHECK bool smmu_stage2_decode(uint64_t qw2, uint64_t qw3, const struct smmu_idr *idr,
				       struct smmu_stage2 *out);
/* @ipa, on its way there for what @cls says, through @s2; @mem is entered (base/mem.h). */
NST_MUST_CHECK bool smmu_stage2_walk(struct nst_mem *mem, const struct smmu_stage2 *s2,
				     uint64_t ipa, bool write, enum smmu_event_class cls,
				     struct arm_s2_leaf *leaf, struct smmu_table_fault *fault);

#endif
