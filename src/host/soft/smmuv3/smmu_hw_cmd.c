// SPDX-License-Identifier: BSD-3-Clause
/*
 * Commands. Those that invalidate do exactly what SMMUv3 IHI0070G.b s4.3 Configuration structure
 * invalidation and s4.4 TLB invalidation require, and nothing more, so that a guest that
 * asks for too little is seen. Decoding changes nothing; only then dma_lock is taken.
 */
#include "host/soft/smmuv3/smmu_hw_impl.h"

#include "base/log.h"

#include <errno.h>

/* What a TLBI command with an address names. */
struct scope {
	uint64_t first, last;
	enum smmu_tlbi_tg tg; /* of these granules alone, */
	unsigned int ttl;     /* and if not 0 of leaves of this level */
	bool leaf;
};

/* s4.4.1.1 Range-based invalidation and level hint. */
static int decode_scope(const uint64_t qw[2], struct scope *scope)
{
	unsigned int num = FIELD_GET(SMMU_TLBI_0_NUM, qw[0]);
	unsigned int scale = FIELD_GET(SMMU_TLBI_0_SCALE, qw[0]), granule_lg2;
	uint64_t bytes, left;

	*scope = (struct scope){
		.first = qw[1] & SMMU_TLBI_1_ADDRESS,
		.tg = FIELD_GET(SMMU_TLBI_1_TG, qw[1]),
		.leaf = qw[1] & SMMU_TLBI_1_LEAF,
	};
	scope->last = scope->first;
	if (scope->tg == SMMU_TLBI_TG_ANY)
		return 0;
	scope->ttl = FIELD_GET(SMMU_TLBI_1_TTL, qw[1]);
	if (scope->tg == SMMU_TLBI_TG_16K && scope->ttl == 1)
		scope->ttl = 0;
	if (!num && !scale && !scope->ttl)
		return -EINVAL;
	granule_lg2 = 12 + 2 * (scope->tg - SMMU_TLBI_TG_4K);
	bytes = (num + 1ULL) << (scale + granule_lg2);
	left = UINT64_MAX - scope->first;
	/* 32 << (31 + 16) still has 64 bits; a range does not wrap round to 0 */
	scope->last = bytes - 1 > left ? UINT64_MAX : scope->first + (bytes - 1);
	return 0;
}

/* Tables hold descriptors of level 1..3; the one that led to them is a level above. */
static unsigned int table_classes(const struct scope *scope)
{
	unsigned int classes = 0;

	for (unsigned int tg = SMMU_TLBI_TG_4K; tg <= SMMU_TLBI_TG_64K; tg++)
		for (unsigned int level = 1; level <= ARM_S1_LAST_LEVEL; level++)
			if ((!scope->tg || scope->tg == tg) && (!scope->ttl || level <= scope->ttl))
				classes |= 1u << smmu_table_class(tg, level);
	return classes;
}

static struct iotlb_filter make_filter(const struct scope *scope)
{
	struct iotlb_filter f = { .first = scope->first, .last = scope->last };

	if (scope->tg) {
		f.flags_mask = SMMU_LEAF_TG | (scope->ttl ? SMMU_LEAF_LEVEL : 0);
		f.flags = (uint8_t)(FIELD_PREP(SMMU_LEAF_TG, scope->tg) |
				    FIELD_PREP(SMMU_LEAF_LEVEL, scope->ttl));
	}
	if (!scope->leaf)
		f.classes = table_classes(scope);
	return f;
}

static void flush_va(struct smmu_hw *hw, uint16_t vmid, uint16_t asid, const struct scope *scope)
	REQUIRES(hw->dma_lock)
{
	struct iotlb_filter f = make_filter(scope);

	f.tag_mask = UINT32_MAX;
	f.tag = smmu_tag(vmid, asid);
	f.classes |= SMMU_TLB_LEAVES;
	iotlb_flush(hw->tlb, &f);
	/* global entries too, "regardless of the ASID used during allocation", and of ASET */
	f.classes = SMMU_TLB_GLOBAL_LEAVES;
	for (uint16_t aset = 0; aset <= 1; aset++) {
		f.tag = smmu_tag(vmid, aset);
		iotlb_flush(hw->tlb, &f);
	}
}

static void flush_vaa(struct smmu_hw *hw, uint16_t vmid, const struct scope *scope)
	REQUIRES(hw->dma_lock)
{
	struct iotlb_filter f = make_filter(scope);

	f.tag_mask = smmu_tag(UINT16_MAX, 0);
	f.tag = smmu_tag(vmid, 0);
	f.classes |= SMMU_TLB_ALL_LEAVES;
	iotlb_flush(hw->tlb, &f);
}

static void flush_asid(struct smmu_hw *hw, uint16_t vmid, uint16_t asid) REQUIRES(hw->dma_lock)
{
	iotlb_flush(hw->tlb, &(struct iotlb_filter){
				     .tag = smmu_tag(vmid, asid),
				     .tag_mask = UINT32_MAX,
				     .last = UINT64_MAX,
				     .classes = ~(unsigned int)SMMU_TLB_GLOBAL_LEAVES,
			     });
}

static void remember(struct smmu_hw *hw, struct sanitizer_object of, uint32_t asid,
		     const struct scope *scope)
{
	struct sanitizer_invalidation inv = { .of = of,
					      .asid = asid,
					      .start = scope->first,
					      .last = scope->last | (PAGE_SIZE_4K - 1),
					      .leaf = scope->leaf };

	if (of.serial)
		sanitizer_invalidated(hw->config.sanitizer, &inv);
}

static int run_stage1_tlbi(struct smmu_hw *hw, struct sanitizer_object of, enum smmu_opcode op,
			   const uint64_t qw[2])
{
	const uint16_t vmid = FIELD_GET(SMMU_TLBI_0_VMID, qw[0]);
	const uint16_t asid = FIELD_GET(SMMU_TLBI_0_ASID, qw[0]);
	const bool by_asid = op == SMMU_CMD_TLBI_NH_ASID || op == SMMU_CMD_TLBI_NH_VA;
	struct scope scope = { .last = UINT64_MAX };
	int err = 0;

	if (op == SMMU_CMD_TLBI_NH_VA || op == SMMU_CMD_TLBI_NH_VAA)
		err = decode_scope(qw, &scope);
	if (err || drop_hook_takes(&hw->drop, atomic_load(&hw->dma_write_bytes), hw->config.log))
		return err;
	rwlock_write(&hw->dma_lock);
	if (op == SMMU_CMD_TLBI_NSNH_ALL)
		iotlb_flush_all(hw->tlb);
	else if (op == SMMU_CMD_TLBI_NH_ASID)
		flush_asid(hw, vmid, asid);
	else if (op == SMMU_CMD_TLBI_NH_VA)
		flush_va(hw, vmid, asid, &scope);
	else
		flush_vaa(hw, vmid, &scope);
	rwlock_write_end(&hw->dma_lock);
	remember(hw, of, by_asid ? asid : SANITIZER_ANY_ASID, &scope);
	return 0;
}

static int run_s12_vmall(struct smmu_hw *hw, uint16_t vmid)
{
	rwlock_write(&hw->dma_lock);
	flush_vaa(hw, vmid, &(struct scope){ .last = UINT64_MAX });
	rwlock_write_end(&hw->dma_lock);
	return 0;
}

/* Streams [first, last] without their cached context descriptors. */
static int run_cfgi_streams(struct smmu_hw *hw, uint64_t first, uint64_t last)
{
	rwlock_write(&hw->dma_lock);
	for (uint64_t sid = first; sid <= last && sid < ARRAY_SIZE(hw->streams); sid++)
		if (hw->streams[sid])
			smmu_forget_cds(hw->streams[sid]);
	rwlock_write_end(&hw->dma_lock);
	return 0;
}

static int run_cfgi_range(struct smmu_hw *hw, const uint64_t qw[2])
{
	unsigned int range = FIELD_GET(SMMU_CFGI_1_RANGE, qw[1]);
	uint64_t size = BIT64(range + 1), sid = FIELD_GET(SMMU_CFGI_0_SID, qw[0]);

	return run_cfgi_streams(hw, sid & ~(size - 1), sid | (size - 1));
}

static int run_cfgi_cd(struct smmu_hw *hw, const uint64_t qw[2])
{
	uint64_t sid = FIELD_GET(SMMU_CFGI_0_SID, qw[0]);

	rwlock_write(&hw->dma_lock);
	if (sid < ARRAY_SIZE(hw->streams) && hw->streams[sid])
		smmu_forget_cd(hw->streams[sid], FIELD_GET(SMMU_CFGI_0_SSID, qw[0]),
			       qw[1] & SMMU_CFGI_1_LEAF);
	rwlock_write_end(&hw->dma_lock);
	return 0;
}

static int run_atc_inv(struct smmu_hw *hw, const uint64_t qw[2])
{
	unsigned int size = FIELD_GET(SMMU_ATC_1_SIZE, qw[1]);
	uint64_t sid = FIELD_GET(SMMU_ATC_0_SID, qw[0]), below;
	bool ssv = qw[0] & SMMU_CMD_0_SSV;

	if (size > SMMU_ATC_SIZE_ALL)
		return -EINVAL;
	if (sid >= ARRAY_SIZE(hw->streams) || !hw->config.ops->ats_invalidate)
		return 0;
	below = size == SMMU_ATC_SIZE_ALL ? UINT64_MAX : (PAGE_SIZE_4K << size) - 1;
	hw->config.ops->ats_invalidate(hw->config.opaque, (nst_rid)sid,
				       ssv ? FIELD_GET(SMMU_ATC_0_SSID, qw[0]) : NST_NO_PASID,
				       ssv && (qw[0] & SMMU_ATC_0_GLOBAL),
				       (nst_iova){ qw[1] & SMMU_ATC_1_ADDRESS & ~below },
				       (nst_iova){ (qw[1] & SMMU_ATC_1_ADDRESS) | below });
	return 0;
}

/* Without stalls these are CERROR_ILL. CMD_RESUME's Ab says nothing in a unit that always aborts.
 */
static int run_stall_command(struct smmu_hw *hw, enum smmu_opcode op, const uint64_t qw[2])
{
	if (!hw->config.stalls)
		return -EINVAL;
	if (op == SMMU_CMD_STALL_TERM)
		smmu_stall_term(hw, FIELD_GET(SMMU_STALL_TERM_0_SID, qw[0]));
	else
		smmu_resume(hw, FIELD_GET(SMMU_RESUME_0_SID, qw[0]),
			    FIELD_GET(SMMU_RESUME_1_STAG, qw[1]), qw[0] & SMMU_RESUME_0_AC);
	return 0;
}

int smmu_hw_command(struct smmu_hw *hw, struct sanitizer_object of, const struct smmu_cmd *cmd)
{
	const uint64_t qw[2] = { le64_get(cmd->qw[0]), le64_get(cmd->qw[1]) };
	const uint64_t sid = FIELD_GET(SMMU_CFGI_0_SID, qw[0]);
	const enum smmu_opcode op = FIELD_GET(SMMU_CMD_0_OP, qw[0]);

	switch (op) {
	case SMMU_CMD_CFGI_STE: /* smmu_hw_set_ste() was seen at once; CDs remain */
	case SMMU_CMD_CFGI_CD_ALL:
		return run_cfgi_streams(hw, sid, sid);
	case SMMU_CMD_CFGI_STE_RANGE:
		return run_cfgi_range(hw, qw);
	case SMMU_CMD_CFGI_CD:
		return run_cfgi_cd(hw, qw);
	case SMMU_CMD_TLBI_NH_ALL:
	case SMMU_CMD_TLBI_NH_ASID:
	case SMMU_CMD_TLBI_NH_VA:
	case SMMU_CMD_TLBI_NH_VAA:
	case SMMU_CMD_TLBI_NSNH_ALL:
		return run_stage1_tlbi(hw, of, op, qw);
	case SMMU_CMD_TLBI_S12_VMALL:
		return run_s12_vmall(hw, FIELD_GET(SMMU_TLBI_0_VMID, qw[0]));
	case SMMU_CMD_TLBI_S2_IPA: /* s4.4.3.1: entries of both stages may stay, no others are kept
				    */
	case SMMU_CMD_SYNC:
		return 0;
	case SMMU_CMD_ATC_INV:
		return run_atc_inv(hw, qw);
	case SMMU_CMD_RESUME:
	case SMMU_CMD_STALL_TERM:
		return run_stall_command(hw, op, qw);
	case SMMU_CMD_PRI_RESP: /* there is no PRI */
		break;
	}
	return -EINVAL;
}
