// SPDX-License-Identifier: BSD-3-Clause
/*
 * See command.h. One function per group of commands, named after its section of
 * SMMUv3 IHI0070G.b. A command of a feature that the unit does not have is illegal: stage 2, PRI
 * and stalls where they are not offered, EL2 and EL3 (s4.1.3 Command errors).
 *
 * A host puts a VMID of its own into what it is given: there the guest has one, which is its 0.
 */
#include "smmuv3/command.h"

#include "smmuv3/caps.h"
#include "spec/smmu_caps.h"

#define CMD_PREFETCH_CONFIG 0x01
#define CMD_PREFETCH_ADDR 0x02

#define CMD_0_SSEC BIT64(10)
#define SYNC_0_CS GENMASK64(13, 12)
#define SYNC_0_MSI_DATA GENMASK64(63, 32)
#define SYNC_1_MSI_ADDRESS GENMASK64(51, 2)

#define TLBI_0_RANGE (SMMU_TLBI_0_NUM | SMMU_TLBI_0_SCALE)
#define TLBI_1_RANGE (SMMU_TLBI_1_TTL | SMMU_TLBI_1_TG)
#define TLBI_1_IPA GENMASK64(51, 12)

struct words {
	uint64_t qw0, qw1;
};

typedef enum smmu_cerror decode_fn(const struct words *w, const struct smmu_idr *idr,
				   struct smmu_command *c);

static void keep(struct smmu_command *c, const struct words *w, uint64_t fields0, uint64_t fields1)
{
	c->host.qw[0] = le64_make(w->qw0 & (SMMU_CMD_0_OP | fields0));
	c->host.qw[1] = le64_make(w->qw1 & fields1);
}

/* s4.2 Prefetch: a hint */
static enum smmu_cerror decode_prefetch(const struct words *w, const struct smmu_idr *idr,
					struct smmu_command *c)
{
	c->what = SMMU_DO_NOTHING;
	return w->qw0 & CMD_0_SSEC ? SMMU_CERROR_ILL : SMMU_CERROR_NONE;
}

/* s4.3.1 CMD_CFGI_STE */
static enum smmu_cerror decode_ste(const struct words *w, const struct smmu_idr *idr,
				   struct smmu_command *c)
{
	c->what = SMMU_DO_CFGI_STE;
	c->sid = c->last_sid = FIELD_GET(SMMU_CFGI_0_SID, w->qw0);
	return w->qw0 & CMD_0_SSEC ? SMMU_CERROR_ILL : SMMU_CERROR_NONE;
}

/* s4.3.2 CMD_CFGI_STE_RANGE; with a range of 31 it is CMD_CFGI_ALL */
static enum smmu_cerror decode_ste_range(const struct words *w, const struct smmu_idr *idr,
					 struct smmu_command *c)
{
	uint32_t below = (uint32_t)(BIT64(FIELD_GET(SMMU_CFGI_1_RANGE, w->qw1) + 1) - 1);

	c->what = SMMU_DO_CFGI_STE;
	c->sid = FIELD_GET(SMMU_CFGI_0_SID, w->qw0) & ~below;
	c->last_sid = c->sid | below;
	return w->qw0 & CMD_0_SSEC ? SMMU_CERROR_ILL : SMMU_CERROR_NONE;
}

/* s4.3.3 CMD_CFGI_CD, s4.3.4 CMD_CFGI_CD_ALL. Without substreams the SSID is not looked at. */
static enum smmu_cerror decode_cd(const struct words *w, const struct smmu_idr *idr,
				  struct smmu_command *c)
{
	bool all = FIELD_GET(SMMU_CMD_0_OP, w->qw0) == SMMU_CMD_CFGI_CD_ALL;
	uint64_t ssid = FIELD_GET(SMMU_IDR1_SSIDSIZE, idr->idr[1]) && !all ? SMMU_CFGI_0_SSID : 0;

	c->what = all ? SMMU_DO_CFGI_CDS : SMMU_DO_CFGI_CD;
	c->sid = c->last_sid = FIELD_GET(SMMU_CFGI_0_SID, w->qw0);
	c->ssid = FIELD_GET(SMMU_CFGI_0_SSID, w->qw0 & ssid);
	keep(c, w, SMMU_CFGI_0_SID | ssid, all ? 0 : SMMU_CFGI_1_LEAF);
	return w->qw0 & CMD_0_SSEC ? SMMU_CERROR_ILL : SMMU_CERROR_NONE;
}

/* An ASID of 8 bits has no others. */
static uint64_t asid_field(const struct smmu_idr *idr)
{
	return idr->idr[0] & SMMU_IDR0_ASID16 ? SMMU_TLBI_0_ASID
					      : SMMU_TLBI_0_ASID & ~GENMASK64(63, 56);
}

/* s4.4.2: without stage 2 it is reserved, and every VMID is 0. */
static uint16_t vmid_of(const struct words *w, const struct smmu_idr *idr)
{
	return idr->idr[0] & SMMU_IDR0_S2P ? FIELD_GET(SMMU_TLBI_0_VMID, w->qw0) : 0;
}

/* s4.4.2 TLBI_NH_ALL, TLBI_NH_ASID; s4.4.4 TLBI_NSNH_ALL */
static enum smmu_cerror decode_tlbi(const struct words *w, const struct smmu_idr *idr,
				    struct smmu_command *c)
{
	unsigned int op = FIELD_GET(SMMU_CMD_0_OP, w->qw0);
	uint64_t asid = op == SMMU_CMD_TLBI_NH_ASID ? asid_field(idr) : 0;

	c->what = op == SMMU_CMD_TLBI_NH_ASID  ? SMMU_DO_TLBI_ASID
		  : op == SMMU_CMD_TLBI_NH_ALL ? SMMU_DO_TLBI_NH
					       : SMMU_DO_TLBI_ALL;
	if (op != SMMU_CMD_TLBI_NSNH_ALL)
		c->vmid = vmid_of(w, idr);
	c->asid = FIELD_GET(SMMU_TLBI_0_ASID, w->qw0 & asid);
	c->last = UINT64_MAX;
	keep(c, w, asid, 0);
	return SMMU_CERROR_NONE;
}

/*
 * s4.4.1.1 Range-based invalidation and level hint: (NUM + 1) << SCALE granules. With a granule,
 * but neither a range nor a level, it is reserved.
 */
static enum smmu_cerror decode_range(const struct words *w, struct smmu_command *c)
{
	unsigned int tg = FIELD_GET(SMMU_TLBI_1_TG, w->qw1);
	unsigned int num = FIELD_GET(SMMU_TLBI_0_NUM, w->qw0);
	unsigned int scale = FIELD_GET(SMMU_TLBI_0_SCALE, w->qw0);
	unsigned int ttl = FIELD_GET(SMMU_TLBI_1_TTL, w->qw1);
	uint64_t bytes, left = UINT64_MAX - c->first;

	if (tg == SMMU_TLBI_TG_ANY)
		return SMMU_CERROR_NONE;
	if (tg == SMMU_TLBI_TG_16K && ttl == 1) /* no such leaf: as if it were not said */
		ttl = 0;
	if (!num && !scale && !ttl)
		return SMMU_CERROR_ILL;
	bytes = (num + 1ULL) << (scale + 10 + 2 * tg);
	c->last = bytes - 1 > left ? UINT64_MAX : c->first + (bytes - 1);
	return SMMU_CERROR_NONE;
}

/* s4.4.2 TLBI_NH_VA, TLBI_NH_VAA */
static enum smmu_cerror decode_tlbi_va(const struct words *w, const struct smmu_idr *idr,
				       struct smmu_command *c)
{
	bool by_asid = FIELD_GET(SMMU_CMD_0_OP, w->qw0) == SMMU_CMD_TLBI_NH_VA;
	bool ranges = idr->idr[3] & SMMU_IDR3_RIL;
	uint64_t asid = by_asid ? asid_field(idr) : 0;

	c->what = by_asid ? SMMU_DO_TLBI_VA : SMMU_DO_TLBI_VAA;
	c->vmid = vmid_of(w, idr);
	c->asid = FIELD_GET(SMMU_TLBI_0_ASID, w->qw0 & asid);
	c->first = w->qw1 & SMMU_TLBI_1_ADDRESS;
	c->last = c->first | (PAGE_SIZE_4K - 1);
	keep(c, w, asid | (ranges ? TLBI_0_RANGE : 0),
	     SMMU_TLBI_1_ADDRESS | SMMU_TLBI_1_LEAF | (ranges ? TLBI_1_RANGE : 0));
	return ranges ? decode_range(w, c) : SMMU_CERROR_NONE;
}

/* s4.4.3.1 TLBI_S2_IPA: devices of a host have no stage 2 of the guest's */
static enum smmu_cerror decode_tlbi_ipa(const struct words *w, const struct smmu_idr *idr,
					struct smmu_command *c)
{
	if (!(idr->idr[0] & SMMU_IDR0_S2P))
		return SMMU_CERROR_ILL;
	c->what = SMMU_DO_TLBI_IPA;
	c->vmid = vmid_of(w, idr);
	c->first = w->qw1 & TLBI_1_IPA;
	c->last = c->first | (PAGE_SIZE_4K - 1);
	return idr->idr[3] & SMMU_IDR3_RIL ? decode_range(w, c) : SMMU_CERROR_NONE;
}

/* s4.4.3.2 TLBI_S12_VMALL: of a host, TLBI_NH_ALL */
static enum smmu_cerror decode_tlbi_vm(const struct words *w, const struct smmu_idr *idr,
				       struct smmu_command *c)
{
	if (!(idr->idr[0] & SMMU_IDR0_S2P))
		return SMMU_CERROR_ILL;
	c->what = SMMU_DO_TLBI_VM;
	c->vmid = vmid_of(w, idr);
	c->last = UINT64_MAX;
	c->host.qw[0] = le64_make(FIELD_PREP(SMMU_CMD_0_OP, SMMU_CMD_TLBI_NH_ALL));
	return SMMU_CERROR_NONE;
}

/* s4.5.1 CMD_ATC_INV */
static enum smmu_cerror decode_atc_inv(const struct words *w, const struct smmu_idr *idr,
				       struct smmu_command *c)
{
	uint64_t ssid = FIELD_GET(SMMU_IDR1_SSIDSIZE, idr->idr[1])
				? SMMU_CMD_0_SSV | SMMU_ATC_0_GLOBAL | SMMU_ATC_0_SSID
				: 0;
	unsigned int size = FIELD_GET(SMMU_ATC_1_SIZE, w->qw1);
	uint64_t below;
	bool ssv;

	if (!(idr->idr[0] & SMMU_IDR0_ATS) || (w->qw0 & CMD_0_SSEC) || size > SMMU_ATC_SIZE_ALL)
		return SMMU_CERROR_ILL;
	c->what = SMMU_DO_ATC_INV;
	c->sid = c->last_sid = FIELD_GET(SMMU_ATC_0_SID, w->qw0);
	ssv = w->qw0 & ssid & SMMU_CMD_0_SSV;
	c->ssid = ssv ? FIELD_GET(SMMU_ATC_0_SSID, w->qw0) : NST_NO_PASID;
	c->global = ssv && (w->qw0 & SMMU_ATC_0_GLOBAL);
	below = size < SMMU_ATC_SIZE_ALL ? (PAGE_SIZE_4K << size) - 1 : UINT64_MAX;
	c->first = w->qw1 & SMMU_ATC_1_ADDRESS & ~below;
	c->last = c->first | below;
	keep(c, w, SMMU_ATC_0_SID | ssid, SMMU_ATC_1_ADDRESS | SMMU_ATC_1_SIZE);
	return SMMU_CERROR_NONE;
}

/* s4.5.2 CMD_PRI_RESP; @ssid is NST_NO_PASID without SSV, or substreams. */
static enum smmu_cerror decode_pri_resp(const struct words *w, const struct smmu_idr *idr,
					struct smmu_command *c)
{
	static const enum nst_page_answer answers[] = {
		[SMMU_PRI_FAILURE] = NST_PAGE_FAILURE,
		[SMMU_PRI_INVALID] = NST_PAGE_INVALID,
		[SMMU_PRI_SUCCESS] = NST_PAGE_SUCCESS,
	};
	bool ssv = (w->qw0 & SMMU_CMD_0_SSV) && smmu_idr_ssid_bits(idr);
	unsigned int resp = FIELD_GET(SMMU_PRI_RESP_1_RESP, w->qw1);

	if (!(idr->idr[0] & SMMU_IDR0_PRI) || (w->qw0 & CMD_0_SSEC) || resp > SMMU_PRI_SUCCESS)
		return SMMU_CERROR_ILL;
	c->what = SMMU_DO_PRI_RESP;
	c->sid = c->last_sid = FIELD_GET(SMMU_PRI_RESP_0_SID, w->qw0);
	c->ssid = ssv ? FIELD_GET(SMMU_PRI_RESP_0_SSID, w->qw0) : NST_NO_PASID;
	c->index = FIELD_GET(SMMU_PRI_RESP_1_INDEX, w->qw1);
	c->answer = answers[resp];
	return SMMU_CERROR_NONE;
}

/* s4.7.1 CMD_RESUME. Whoever does not retry is aborted (IDR0.TERM_MODEL): AB says nothing. */
static enum smmu_cerror decode_resume(const struct words *w, const struct smmu_idr *idr,
				      struct smmu_command *c)
{
	c->what = SMMU_DO_RESUME;
	c->sid = c->last_sid = FIELD_GET(SMMU_RESUME_0_SID, w->qw0);
	c->stag = FIELD_GET(SMMU_RESUME_1_STAG, w->qw1);
	c->retry = w->qw0 & SMMU_RESUME_0_AC;
	return smmu_idr_stalls(idr) && !(w->qw0 & CMD_0_SSEC) ? SMMU_CERROR_NONE : SMMU_CERROR_ILL;
}

/* s4.7.2 CMD_STALL_TERM */
static enum smmu_cerror decode_stall_term(const struct words *w, const struct smmu_idr *idr,
					  struct smmu_command *c)
{
	c->what = SMMU_DO_STALL_TERM;
	c->sid = c->last_sid = FIELD_GET(SMMU_STALL_TERM_0_SID, w->qw0);
	return smmu_idr_stalls(idr) && !(w->qw0 & CMD_0_SSEC) ? SMMU_CERROR_NONE : SMMU_CERROR_ILL;
}

/* s4.7.3 CMD_SYNC */
static enum smmu_cerror decode_sync(const struct words *w, const struct smmu_idr *idr,
				    struct smmu_command *c)
{
	unsigned int signal = FIELD_GET(SYNC_0_CS, w->qw0);

	if (signal > SMMU_SYNC_SEV)
		return SMMU_CERROR_ILL;
	c->what = SMMU_DO_SYNC;
	c->sync.signal = signal;
	if (idr->idr[0] & SMMU_IDR0_MSI) {
		c->sync.msi_address = w->qw1 & SYNC_1_MSI_ADDRESS;
		c->sync.msi_data = FIELD_GET(SYNC_0_MSI_DATA, w->qw0);
	}
	return SMMU_CERROR_NONE;
}

static decode_fn *const decoders[] = {
	[CMD_PREFETCH_CONFIG] = decode_prefetch,
	[CMD_PREFETCH_ADDR] = decode_prefetch,
	[SMMU_CMD_CFGI_STE] = decode_ste,
	[SMMU_CMD_CFGI_STE_RANGE] = decode_ste_range,
	[SMMU_CMD_CFGI_CD] = decode_cd,
	[SMMU_CMD_CFGI_CD_ALL] = decode_cd,
	[SMMU_CMD_TLBI_NH_ALL] = decode_tlbi,
	[SMMU_CMD_TLBI_NH_ASID] = decode_tlbi,
	[SMMU_CMD_TLBI_NH_VA] = decode_tlbi_va,
	[SMMU_CMD_TLBI_NH_VAA] = decode_tlbi_va,
	[SMMU_CMD_TLBI_S2_IPA] = decode_tlbi_ipa,
	[SMMU_CMD_TLBI_S12_VMALL] = decode_tlbi_vm,
	[SMMU_CMD_TLBI_NSNH_ALL] = decode_tlbi,
	[SMMU_CMD_ATC_INV] = decode_atc_inv,
	[SMMU_CMD_PRI_RESP] = decode_pri_resp,
	[SMMU_CMD_RESUME] = decode_resume,
	[SMMU_CMD_STALL_TERM] = decode_stall_term,
	[SMMU_CMD_SYNC] = decode_sync,
};

enum smmu_cerror smmu_command_decode(const struct smmu_cmd *raw, const struct smmu_idr *idr,
				     struct smmu_command *out)
{
	const struct words w = { le64_get(raw->qw[0]), le64_get(raw->qw[1]) };
	unsigned int op = FIELD_GET(SMMU_CMD_0_OP, w.qw0);

	*out = (struct smmu_command){ .what = SMMU_DO_NOTHING };
	if (op >= ARRAY_SIZE(decoders) || !decoders[op])
		return SMMU_CERROR_ILL;
	return decoders[op](&w, idr, out);
}
