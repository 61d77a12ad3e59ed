// SPDX-License-Identifier: BSD-3-Clause
/*
 * See tables.h. One function per structure of SMMUv3 IHI0070G.b s5, in the order a transaction
 * meets them.
 *
 * Linux makes second-level stream tables only for devices that it finds, and an entry that it
 * rewrites is not valid for a moment, with a CFGI_STE of its own. So a span of 0 and V = 0 are
 * marked as absence: that is to be reported to a guest only for a transaction.
 */
#include "smmuv3/tables.h"

#include "base/mem.h"
#include "spec/smmu_caps.h"

enum { STE_LG2 = 6, CD_LG2 = 6, L1_LG2 = 3 };
enum { L2CD_4K_LG2 = 6, L2CD_64K_LG2 = 10 }; /* descriptors of a second-level table */

static bool fail(struct smmu_table_fault *fault, enum smmu_event_type type, uint64_t address)
{
	*fault = (struct smmu_table_fault){ .type = type, .address = address };
	return false;
}

static bool absent(struct smmu_table_fault *fault, enum smmu_event_type type)
{
	*fault = (struct smmu_table_fault){ .type = type, .absent = true };
	return false;
}

/* The first byte of a table of 2^@size_lg2 bytes: bits below its alignment are ignored. */
static uint64_t table_at(uint64_t base, unsigned int size_lg2)
{
	unsigned int align_lg2 = MAX(size_lg2, (unsigned int)STE_LG2);

	return align_lg2 < 64 ? base & ~(BIT64(align_lg2) - 1) : 0;
}

/* --- the stream table ------------------------------------------------------------------- */

/* s6.3.25: other splits are reserved, and taken as 6. */
static unsigned int split_of(uint64_t cfg)
{
	unsigned int split = FIELD_GET(SMMU_STRTAB_CFG_SPLIT, cfg);

	return split == 8 || split == 10 ? split : 6;
}

/* s6.3.24: a table is aligned to this size, even if no StreamID has so many bits. */
static unsigned int log2size_of(const struct smmu_tables *t)
{
	return (unsigned int)FIELD_GET(SMMU_STRTAB_CFG_LOG2SIZE, t->strtab_cfg);
}

/* s5.1: where the STE of @sid is, by the L1STD. */
static bool find_2lvl(const struct smmu_tables *t, uint32_t sid, uint64_t *ste,
		      struct smmu_table_fault *fault)
{
	unsigned int split = split_of(t->strtab_cfg), span;
	unsigned int lg2 = log2size_of(t);
	unsigned int size_lg2 = (lg2 > split ? lg2 - split : 0) + L1_LG2;
	nst_gpa at = { table_at(t->strtab_base & SMMU_STRTAB_ADDR, size_lg2) +
		       (uint64_t)(sid >> split) * SMMU_L1STD_BYTES };
	uint32_t index = sid & (uint32_t)(BIT64(split) - 1);
	le64 raw;

	if (nst_mem_read(t->mem, at, &raw, sizeof(raw)))
		return fail(fault, SMMU_F_STE_FETCH, at.v);
	span = FIELD_GET(SMMU_L1STD_SPAN, le64_get(raw));
	if (!span || span > split + 1) /* no more than the split leaves to it, and so at most 11 */
		return absent(fault, SMMU_C_BAD_STREAMID);
	if (index >= BIT64(span - 1))
		return absent(fault, SMMU_C_BAD_STREAMID);
	*ste = table_at(le64_get(raw) & SMMU_L1STD_L2PTR, span - 1 + STE_LG2) +
	       ((uint64_t)index << STE_LG2);
	return true;
}

bool smmu_find_stream(const struct smmu_tables *t, uint32_t sid, struct smmu_stream *out,
		      struct smmu_table_fault *fault)
{
	unsigned int sid_bits = MIN(log2size_of(t), smmu_idr_sid_bits(&t->idr));
	struct smmu_ste ste;
	nst_gpa at;

	if (sid >> sid_bits)
		return absent(fault, SMMU_C_BAD_STREAMID);
	if (FIELD_GET(SMMU_STRTAB_CFG_FMT, t->strtab_cfg) == SMMU_STRTAB_2LVL) {
		if (!find_2lvl(t, sid, &at.v, fault))
			return false;
	} else {
		at.v = table_at(t->strtab_base & SMMU_STRTAB_ADDR, log2size_of(t) + STE_LG2) +
		       ((uint64_t)sid << STE_LG2);
	}
	if (nst_mem_read(t->mem, at, &ste, sizeof(ste)))
		return fail(fault, SMMU_F_STE_FETCH, at.v);
	return smmu_ste_decode(&ste, &t->idr, out, fault);
}

/* s5.2, of a stage 1: the fields and when they are illegal. Those of substreams have no meaning
 * while there are none; reserved values of S1Fmt and S1DSS are as 0. */
static bool decode_s1(uint64_t qw0, uint64_t qw1, const struct smmu_idr *idr,
		      struct smmu_stream *out)
{
	unsigned int ssid_bits = smmu_idr_ssid_bits(idr);

	out->context_ptr = qw0 & SMMU_STE_0_S1CONTEXTPTR;
	if (ssid_bits)
		out->cd_max = FIELD_GET(SMMU_STE_0_S1CDMAX, qw0);
	if (out->cd_max) {
		out->fmt = FIELD_GET(SMMU_STE_0_S1FMT, qw0);
		out->dss = FIELD_GET(SMMU_STE_1_S1DSS, qw1);
	}
	if (out->cd_max > ssid_bits ||
	    (out->fmt != SMMU_S1FMT_LINEAR && !(idr->idr[0] & SMMU_IDR0_CD2L)))
		return false;
	if (out->fmt > SMMU_S1FMT_64K_L2)
		out->fmt = SMMU_S1FMT_LINEAR;
	if (out->dss > SMMU_S1DSS_SSID0)
		out->dss = SMMU_S1DSS_TERMINATE;
	out->stalls_disabled = qw1 & SMMU_STE_1_S1STALLD;
	if (out->stalls_disabled && !smmu_idr_stalls(idr))
		return false;
	return !(out->context_ptr >> smmu_idr_address_bits(idr)); /* s3.4.3 */
}

/* What the host gets: every field that means something, and no other. */
static struct iommu_hwpt_arm_smmuv3 make_host_ste(const struct smmu_stream *s, uint64_t qw1,
						  bool ats)
{
	uint64_t w0 = SMMU_STE_0_V | FIELD_PREP(SMMU_STE_0_CONFIG, s->config), w1 = 0;

	if (smmu_has_stage2(s)) /* and no host has it to give */
		w0 = SMMU_STE_0_V | FIELD_PREP(SMMU_STE_0_CONFIG, SMMU_STE_ABORT);
	if (s->config == SMMU_STE_S1) {
		w0 |= FIELD_PREP(SMMU_STE_0_S1FMT, s->fmt) | s->context_ptr |
		      FIELD_PREP(SMMU_STE_0_S1CDMAX, s->cd_max);
		w1 = FIELD_PREP(SMMU_STE_1_S1DSS, s->dss) |
		     (s->stalls_disabled ? SMMU_STE_1_S1STALLD : 0) |
		     (qw1 & (SMMU_STE_1_S1CIR | SMMU_STE_1_S1COR | SMMU_STE_1_S1CSH)) |
		     FIELD_PREP(SMMU_STE_1_EATS, ats ? SMMU_EATS_FULL : SMMU_EATS_NONE);
	}
	return (struct iommu_hwpt_arm_smmuv3){ .ste = { htole64(w0), htole64(w1) } };
}

/* s5.2.2 Validity of STE, of one that translates. Split-stage ATS is never offered (IDR0.NS1ATS).
 */
static bool decode_stages(const struct smmu_ste *ste, const struct smmu_idr *idr,
			  struct smmu_stream *out)
{
	uint64_t qw0 = le64_get(ste->qw[0]), qw1 = le64_get(ste->qw[1]);
	uint64_t qw2 = le64_get(ste->qw[2]), qw3 = le64_get(ste->qw[3]);
	unsigned int eats = idr->idr[0] & SMMU_IDR0_ATS ? FIELD_GET(SMMU_STE_1_EATS, qw1) : 0;

	if (idr->idr[0] & SMMU_IDR0_S2P)
		out->vmid = FIELD_GET(SMMU_STE_2_S2VMID, qw2);
	else if (smmu_has_stage2(out))
		return false;
	if (eats == SMMU_EATS_SPLIT || (!(idr->idr[0] & SMMU_IDR0_VMID16) && out->vmid >> 8))
		return false;
	if (smmu_has_stage1(out) && !decode_s1(qw0, qw1, idr, out))
		return false;
	if (!smmu_has_stage2(out))
		return true;
	return smmu_stage2_decode(qw2, qw3, idr, &out->s2) &&
	       !(out->s2.stall && eats == SMMU_EATS_FULL);
}

bool smmu_ste_decode(const struct smmu_ste *ste, const struct smmu_idr *idr,
		     struct smmu_stream *out, struct smmu_table_fault *fault)
{
	uint64_t qw0 = le64_get(ste->qw[0]), qw1 = le64_get(ste->qw[1]);
	unsigned int eats = FIELD_GET(SMMU_STE_1_EATS, qw1);

	if (!(qw0 & SMMU_STE_0_V))
		return absent(fault, SMMU_C_BAD_STE);
	*out = (struct smmu_stream){
		.config = FIELD_GET(SMMU_STE_0_CONFIG, qw0),
		.privcfg = FIELD_GET(SMMU_STE_1_PRIVCFG, qw1),
	};
	if (out->config < SMMU_STE_BYPASS) /* and those that are reserved */
		return fail(fault, SMMU_E_ABORTED, 0);
	if (out->config != SMMU_STE_BYPASS && !decode_stages(ste, idr, out))
		return fail(fault, SMMU_C_BAD_STE, 0);
	out->ats = out->config != SMMU_STE_BYPASS && (idr->idr[0] & SMMU_IDR0_ATS) &&
		   eats == SMMU_EATS_FULL;
	out->ste = make_host_ste(out, qw1, (idr->idr[0] & SMMU_IDR0_ATS) && eats == SMMU_EATS_FULL);
	return true;
}

/* --- context descriptors ---------------------------------------------------------------- */

/* s3.9 and S1DSS in s5.2 */
bool smmu_select_context(const struct smmu_stream *s, uint32_t ssid, bool *has_cd, uint32_t *cd,
			 struct smmu_table_fault *fault)
{
	const bool ssv = ssid != NST_NO_PASID;

	*has_cd = smmu_has_stage1(s);
	*cd = 0;
	if (!ssv && !s->cd_max)
		return true;
	if (!ssv) {
		if (s->dss == SMMU_S1DSS_TERMINATE)
			return fail(fault, SMMU_F_STREAM_DISABLED, 0);
		*has_cd = s->dss == SMMU_S1DSS_SSID0;
		return true;
	}
	if (!*has_cd || !s->cd_max || ssid >> s->cd_max)
		return fail(fault, SMMU_C_BAD_SUBSTREAMID, 0);
	if (!ssid && s->dss == SMMU_S1DSS_SSID0) /* it is that of requests without one */
		return fail(fault, SMMU_F_STREAM_DISABLED, 0);
	*cd = ssid;
	return true;
}

/* Part of a table of context descriptors, which of two stages the second has where it is. */
static bool fetch(const struct smmu_tables *t, const struct smmu_stream *s, nst_gpa at, void *to,
		  size_t size, struct smmu_table_fault *fault)
{
	struct arm_s2_leaf leaf;
	unsigned int token;
	bool found;

	if (smmu_has_stage2(s)) {
		token = mem_enter(t->mem);
		found = smmu_stage2_walk(t->mem, &s->s2, at.v, false, SMMU_CLASS_CD, &leaf, fault);
		mem_exit(t->mem, token);
		if (!found)
			return false;
		at.v = leaf.address | (at.v & (BIT64(leaf.page_lg2) - 1));
	}
	return !nst_mem_read(t->mem, at, to, size) || fail(fault, SMMU_F_CD_FETCH, at.v);
}

/* s5.3: the second-level table of @cd, by the L1CD. */
static bool find_l2cd(const struct smmu_tables *t, const struct smmu_stream *s, uint32_t cd,
		      unsigned int split, uint64_t *table, struct smmu_table_fault *fault)
{
	unsigned int size_lg2 = (s->cd_max > split ? s->cd_max - split : 0) + L1_LG2;
	nst_gpa at = { table_at(s->context_ptr, size_lg2) +
		       (uint64_t)(cd >> split) * SMMU_L1CD_BYTES };
	le64 raw;

	if (!fetch(t, s, at, &raw, sizeof(raw), fault))
		return false;
	*table = table_at(le64_get(raw) & SMMU_L1CD_L2PTR, split + CD_LG2);
	if (!(le64_get(raw) & SMMU_L1CD_V) || *table >> smmu_idr_address_bits(&t->idr))
		return fail(fault, SMMU_C_BAD_SUBSTREAMID, 0);
	return true;
}

bool smmu_find_context(const struct smmu_tables *t, const struct smmu_stream *s, uint32_t cd,
		       struct smmu_context *out, struct smmu_table_fault *fault)
{
	unsigned int split = s->fmt == SMMU_S1FMT_64K_L2 ? L2CD_64K_LG2 : L2CD_4K_LG2;
	uint64_t table = table_at(s->context_ptr, s->cd_max + CD_LG2);
	struct smmu_cd raw;
	nst_gpa at;

	if (s->fmt != SMMU_S1FMT_LINEAR) {
		if (!find_l2cd(t, s, cd, split, &table, fault))
			return false;
		cd &= (uint32_t)(BIT64(split) - 1);
	}
	at.v = table + ((uint64_t)cd << CD_LG2);
	if (!fetch(t, s, at, &raw, sizeof(raw), fault))
		return false;
	if (!smmu_cd_decode(&raw, &t->idr, out) || (out->stall && s->stalls_disabled))
		return fail(fault, SMMU_C_BAD_CD, 0);
	return true;
}

unsigned int smmu_granule_of(const struct smmu_idr *idr, unsigned int tg, bool upper)
{
	static const uint8_t lg2[2][4] = {
		{ [SMMU_TG0_4K] = 12, [SMMU_TG0_16K] = 14, [SMMU_TG0_64K] = 16 },
		{ [SMMU_TG1_4K] = 12, [SMMU_TG1_16K] = 14, [SMMU_TG1_64K] = 16 },
	};
	uint64_t offered = lg2[upper][tg] == 12	  ? SMMU_IDR5_GRAN4K
			   : lg2[upper][tg] == 14 ? SMMU_IDR5_GRAN16K
						  : SMMU_IDR5_GRAN64K;

	return idr->idr[5] & offered ? lg2[upper][tg] : 0;
}

static bool half_is_legal(const struct smmu_half *half, uint64_t too_high)
{
	return half->disabled || (half->tsz >= SMMU_TXSZ_MIN && half->tsz <= SMMU_TXSZ_MAX &&
				  half->granule_lg2 && !(half->ttb & too_high));
}

/* s5.4.2 Validity of CD */
bool smmu_cd_decode(const struct smmu_cd *cd, const struct smmu_idr *idr, struct smmu_context *c)
{
	const uint64_t w0 = le64_get(cd->qw[0]), w1 = le64_get(cd->qw[1]), w2 = le64_get(cd->qw[2]);
	unsigned int ips = smmu_address_bits((unsigned int)FIELD_GET(SMMU_CD_0_IPS, w0));

	*c = (struct smmu_context){
		.halves = { {
				    .ttb = w1 & SMMU_CD_1_TTB0,
				    .granule_lg2 = smmu_granule_of(
					    idr, FIELD_GET(SMMU_CD_0_TG0, w0), false),
				    .tsz = FIELD_GET(SMMU_CD_0_T0SZ, w0),
				    .disabled = w0 & SMMU_CD_0_EPD0,
				    .tbi = w0 & SMMU_CD_0_TBI0,
				    .had = w1 & SMMU_CD_1_HAD0,
			    },
			    {
				    .ttb = w2 & SMMU_CD_2_TTB1,
				    .granule_lg2 = smmu_granule_of(
					    idr, FIELD_GET(SMMU_CD_0_TG1, w0), true),
				    .tsz = FIELD_GET(SMMU_CD_0_T1SZ, w0),
				    .disabled = w0 & SMMU_CD_0_EPD1,
				    .tbi = w0 & SMMU_CD_0_TBI1,
				    .had = w2 & SMMU_CD_2_HAD1,
			    } },
		.too_high = UINT64_MAX << MIN(ips, smmu_idr_address_bits(idr)),
		.asid = FIELD_GET(SMMU_CD_0_ASID, w0),
		.aset = w0 & SMMU_CD_0_ASET,
		.affd = w0 & SMMU_CD_0_AFFD,
		.record = w0 & SMMU_CD_0_R,
		.stall = w0 & SMMU_CD_0_S,
	};
	if (!(idr->idr[0] & SMMU_IDR0_ASID16))
		c->asid &= 0xff;
	/* IDR0.TTF, TERM_MODEL, HTTU, STALL_MODEL, TTENDIAN in this order */
	if (!(w0 & SMMU_CD_0_V) || !(w0 & SMMU_CD_0_AA64) || !(w0 & SMMU_CD_0_A) ||
	    (w0 & (SMMU_CD_0_HA | SMMU_CD_0_HD)) || (c->stall && !smmu_idr_stalls(idr)))
		return false;
	if ((w0 & SMMU_CD_0_ENDI) && !(c->halves[0].disabled && c->halves[1].disabled))
		return false;
	return half_is_legal(&c->halves[0], c->too_high) &&
	       half_is_legal(&c->halves[1], c->too_high);
}
