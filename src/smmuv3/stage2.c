// SPDX-License-Identifier: BSD-3-Clause
/*
 * See tables.h: the stage 2 of a stream table entry, SMMUv3 IHI0070G.b s5.2, for emulated devices.
 *
 * What is wrong in it is C_BAD_STE; what goes wrong in a walk is an event with S2 = 1 that says
 * what was on its way through it, s7.3.13: the device's access, or a fetch of what is before
 * stage 2.
 */
#include "smmuv3/tables.h"

#include "base/mem.h"
#include "spec/smmu_caps.h"

/* s5.2.2 Validity of STE. Values of S2PS above the OAS, and reserved ones, are as the OAS. */
bool smmu_stage2_decode(uint64_t qw2, uint64_t qw3, const struct smmu_idr *idr,
			struct smmu_stage2 *out)
{
	unsigned int granule_lg2 = smmu_granule_of(idr, FIELD_GET(SMMU_STE_2_S2TG, qw2), false);
	unsigned int ps = smmu_address_bits((unsigned int)FIELD_GET(SMMU_STE_2_S2PS, qw2));
	unsigned int tsz = FIELD_GET(SMMU_STE_2_S2T0SZ, qw2), level;
	unsigned int oas = smmu_idr_address_bits(idr);
	uint64_t too_high = UINT64_MAX << MIN(ps, oas);

	/* IDR0.TTF, TTENDIAN, HTTU, STALL_MODEL in this order */
	if (!(qw2 & SMMU_STE_2_S2AA64) ||
	    (qw2 & (SMMU_STE_2_S2ENDI | SMMU_STE_2_S2HD | SMMU_STE_2_S2HA)) ||
	    ((qw2 & SMMU_STE_2_S2S) && !smmu_idr_stalls(idr)))
		return false;
	/* s3.4: the IAS, which limits S2T0SZ, is the OAS where there is no AArch32 */
	if (!granule_lg2 || tsz < MAX(SMMU_TXSZ_MIN, 64 - oas) || tsz > SMMU_TXSZ_MAX ||
	    (qw3 & SMMU_STE_3_S2TTB & too_high))
		return false;
	if (!arm_s2_top_level(granule_lg2, FIELD_GET(SMMU_STE_2_S2SL0, qw2), &level) ||
	    !arm_s2_size_is_legal(granule_lg2, level, tsz))
		return false;
	*out = (struct smmu_stage2){
		.table = {
			.base = arm_s2_top_table(qw3 & SMMU_STE_3_S2TTB, granule_lg2, level, tsz),
			.granule_lg2 = granule_lg2,
			.tsz = tsz,
			.level = level,
		},
		.too_high = too_high,
		.affd = qw2 & SMMU_STE_2_S2AFFD,
		.ptw = qw2 & SMMU_STE_2_S2PTW,
		.record = qw2 & SMMU_STE_2_S2R,
		.stall = qw2 & SMMU_STE_2_S2S,
	};
	return true;
}

/* arm_s2_slot_fn: @opaque is the guest's memory, entered. */
static inline const uint64_t *guest_slot(void *opaque, uint64_t address)
{
	bool writable;
	uint8_t *page = mem_page(opaque, (nst_gpa){ address & ~(PAGE_SIZE_4K - 1) }, &writable);

	return page ? (uint64_t *)(void *)&page[address & (PAGE_SIZE_4K - 1)] : NULL;
}

bool smmu_stage2_walk(struct nst_mem *mem, const struct smmu_stage2 *s2, uint64_t ipa, bool write,
		      enum smmu_event_class cls, struct arm_s2_leaf *leaf,
		      struct smmu_table_fault *fault)
{
	const struct arm_s2_request req = {
		.table = s2->table,
		.ipa = ipa,
		.too_high = s2->too_high,
		.write = write,
		.affd = s2->affd,
		.protected = s2->ptw && cls != SMMU_CLASS_IN,
	};
	enum smmu_event_type type = arm_s2_walk(&req, guest_slot, mem, leaf);

	if (!type)
		return true;
	*fault = (struct smmu_table_fault){
		.type = type,
		.address = type == SMMU_F_WALK_EABT ? leaf->descriptor : 0,
		.s2 = true,
		.silent = smmu_event_is_translation(type) && !s2->record && !s2->stall,
		.stall = smmu_event_is_translation(type) && s2->stall,
		.cls = cls,
		.ipa = ipa,
	};
	return false;
}
