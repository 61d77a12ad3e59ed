/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside the software SMMUv3 (see smmu_hw.h):
 *
 *	smmu_hw.c	 entries of streams, DMA and ATS requests a page at a time
 *	smmu_hw_config.c context descriptors: fetched through stage 2, judged, cached
 *	smmu_hw_walk.c	 nested translation: TLB, walks, the sanitizer
 *	smmu_hw_cmd.c	 commands: what they remove from the caches
 *	smmu_hw_event.c	 event records
 *	smmu_hw_stall.c	 transactions that wait for software
 */
#ifndef HOST_SOFT_SMMU_HW_IMPL_H
#define HOST_SOFT_SMMU_HW_IMPL_H

#include "host/soft/drop_hook.h"
#include "host/soft/smmuv3/smmu_hw.h"
#include "pagetable/arm_s1.h"
#include "pagetable/iotlb.h"
#include "spec/smmu_tables.h"

#include <stdatomic.h>

enum {
	SMMU_SID_BITS = 16,
	SMMU_SSID_BITS = 20,
	SMMU_OUTPUT_BITS = 48, /* of IPAs */
	SMMU_CD_SLOTS_LG2 = 6, /* per stream */
	SMMU_L1CD_SLOTS_LG2 = 3,
	SMMU_STREAM_STALL_MAX = 64, /* of SMMU_HW_STALL_MAX: others can stall, too */
};

/* One access of a device, of bytes of one page. */
struct smmu_access {
	uint64_t address;
	nst_rid sid;
	bool ssv; /* it carries @ssid */
	uint32_t ssid;
	bool write, privileged;
	bool peek; /* by what is in memory now: no cache is used, nothing is changed */
};

/* Why an access is refused. */
struct smmu_fault {
	enum smmu_event_type type; /* SMMU_EVENT_NONE: it is not */
	bool silent;		   /* no event for it */
	bool may_stall;		   /* CD.S or STE.S2S */
	bool s2;
	enum smmu_event_class cls;
	bool tt_write; /* F_PERMISSION with CLASS = TT: by an update of a descriptor */
	uint64_t ipa;
	struct sanitizer_fault report;
};

struct smmu_translation {
	uint8_t *host;	       /* of the first byte */
	uint64_t left;	       /* bytes to the end of the page, or of what is contiguous */
	unsigned int page_lg2; /* what is mapped in one piece around it; 0: less than 4 KiB */
};

/* What the unit keeps of a context descriptor: one half of the address space, */
struct smmu_half {
	uint64_t ttb;
	uint8_t granule_lg2, tsz;
	bool disabled, tbi, had;
};

/* and all of it. */
struct smmu_context {
	bool legal; /* else C_BAD_CD, and of the rest only @words is set */
	struct smmu_half halves[2];
	uint64_t too_high; /* address bits that stage 1 may not put out */
	uint16_t asid;
	bool aset, ha, hd, affd, pan, record, stall;
	uint64_t words[3]; /* of which all this was made */
};

struct smmu_cd_slot {
	bool valid;
	uint32_t ssid;
	struct smmu_context context;
};

struct smmu_l1cd_slot {
	bool valid;
	uint32_t index;
	uint64_t descriptor;
};

/* S1* of a guest's stream table entry. */
struct smmu_s1_config {
	bool legal; /* else C_BAD_STE */
	uint64_t context_ptr;
	unsigned int cd_max, fmt, dss;
	bool stalld;
};

struct smmu_ssid_map {
	uint32_t ssid;
	struct smmu_hw_map map;
};

/* Made with the first entry of the stream, stays. Caches: guarded by cache_lock. */
struct smmu_stream {
	struct smmu_hw_ste ste;
	struct smmu_s1_config s1;
	struct smmu_ssid_map *ssids; /* sorted */
	size_t num_ssids;
	atomic_size_t last_range; /* of a map, where a translated request was last found */
	struct smmu_cd_slot cds[1 << SMMU_CD_SLOTS_LG2];
	struct smmu_l1cd_slot l1cds[1 << SMMU_L1CD_SLOTS_LG2];
};

/* A transaction that waits; in the waiting thread, protected by stall_lock. */
struct smmu_wait {
	bool over, retry;
};

/* What a STAG stands for. */
struct smmu_stalled {
	bool taken;
	nst_rid sid;
	struct smmu_wait *wait; /* NULL: terminated, but not answered */
};

struct smmu_hw {
	struct smmu_hw_setup config;
	/* protects streams and what they point to, and the memory behind every translation */
	struct rwlock dma_lock;
	struct smmu_stream *streams[1 << SMMU_SID_BITS];
	/* protects tlb and caches of streams among holders of dma_lock shared; taken inside it */
	struct mutex cache_lock;
	struct iotlb *tlb;
	/* counters: see struct nst_soft_stats */
	atomic_uint_fast64_t dma_read_bytes, dma_write_bytes, hits, misses, s1_walks;
	struct drop_hook drop;
	/* a leaf: the rest; taken under locks of endpoints */
	struct mutex stall_lock;
	pthread_cond_t resumed;
	struct smmu_stalled stalled[SMMU_HW_STALL_MAX] GUARDED_BY(stall_lock); /* by STAG */
	uint64_t no_stalls[(1 << SMMU_SID_BITS) / 64] GUARDED_BY(stall_lock);  /* streams */
};

/*
 * Classes of the TLB: leaves by the size that both stages have in one piece, the same for
 * global leaves, tables by granule and level. Of a leaf the flags are its rights and the
 * granule and level of the descriptor it came from, because commands name those.
 */
enum {
	SMMU_TLB_LEAF_SIZES = 7,
	SMMU_TLB_GLOBAL = SMMU_TLB_LEAF_SIZES,
	SMMU_TLB_TABLES = 2 * SMMU_TLB_LEAF_SIZES,
	SMMU_TLB_NUM_CLASSES = SMMU_TLB_TABLES + 9,
	SMMU_TLB_ALL_LEAVES = (1 << SMMU_TLB_TABLES) - 1,
	SMMU_TLB_LEAVES = (1 << SMMU_TLB_LEAF_SIZES) - 1,
	SMMU_TLB_GLOBAL_LEAVES = SMMU_TLB_ALL_LEAVES & ~SMMU_TLB_LEAVES,
};
#define SMMU_LEAF_RIGHTS 0x0f
#define SMMU_LEAF_TG 0x30 /* enum smmu_tlbi_tg */
#define SMMU_LEAF_LEVEL 0xc0
#define SMMU_TABLE_READ_ONLY 0x01
#define SMMU_TABLE_NO_USER 0x02
extern const uint8_t smmu_tlb_shifts[SMMU_TLB_NUM_CLASSES];

static inline enum smmu_tlbi_tg smmu_tg_of(unsigned int granule_lg2)
{
	return (granule_lg2 - 12) / 2 + SMMU_TLBI_TG_4K;
}

/* The class of tables with descriptors of @level, 1..3. */
static inline unsigned int smmu_table_class(enum smmu_tlbi_tg tg, unsigned int level)
{
	return SMMU_TLB_TABLES + (tg - SMMU_TLBI_TG_4K) * 3 + level - 1;
}

static inline uint32_t smmu_tag(uint16_t vmid, uint16_t asid)
{
	return (uint32_t)vmid << 16 | asid;
}

/* --- smmu_hw.c */
/* A page of guest memory: its range, or NULL and *@fault for class @cls. */
const struct mem_range *smmu_find_ipa(const struct smmu_hw_map *map, uint64_t ipa, bool write,
				      enum smmu_event_class cls, struct smmu_fault *fault);
static inline uint8_t *smmu_host_of(const struct mem_range *r, uint64_t address)
{
	return (uint8_t *)(uintptr_t)(r->hva.v + (address - r->start));
}

/* The largest of the TLB's sizes, at most @most_lg2, of which all is in @r; 0 = none. */
unsigned int smmu_contiguous_lg2(const struct mem_range *r, uint64_t address,
				 unsigned int most_lg2);

/* --- smmu_hw_config.c */
/* @stalls: the unit has them; of a CD: and its entry lets it. */
struct smmu_s1_config smmu_decode_s1(const uint64_t ste[2], bool stalls);
void smmu_decode_cd(const struct smmu_cd *cd, bool stalls, struct smmu_context *context);
/*
 * The context that @a is translated with; false and *@fault if there is none. *@cached: it,
 * or the way to it, comes from a cache.
 */
bool smmu_get_context(struct smmu_hw *hw, struct smmu_stream *stream, const struct smmu_access *a,
		      struct smmu_context *context, bool *cached, struct smmu_fault *fault)
	REQUIRES_SHARED(hw->dma_lock);
/* Forget what is cached of @ssid, or with @leaf just its descriptor; of all. */
void smmu_forget_cd(struct smmu_stream *stream, uint32_t ssid, bool leaf);
void smmu_forget_cds(struct smmu_stream *stream);

/* --- smmu_hw_walk.c */
/* Through both stages; false and *@fault. */
bool smmu_translate_nested(struct smmu_hw *hw, struct smmu_stream *stream,
			   const struct smmu_access *a, struct smmu_translation *t,
			   struct smmu_fault *fault) REQUIRES_SHARED(hw->dma_lock);

/* --- smmu_hw_event.c */
struct smmu_event smmu_make_event(const struct smmu_access *a, const struct smmu_fault *fault);

/* --- smmu_hw_stall.c */
/*
 * @fault was met: stall if it may, and wait. True: @a is to be retried, *@fault is forgotten;
 * false: it is terminated by @fault, which is silent now if its event has been given out.
 */
bool smmu_stall(struct smmu_hw *hw, const struct smmu_access *a, struct smmu_fault *fault);
/* CMD_RESUME and CMD_STALL_TERM. */
void smmu_resume(struct smmu_hw *hw, uint64_t sid, unsigned int stag, bool retry);
void smmu_stall_term(struct smmu_hw *hw, uint64_t sid);

#endif
