// SPDX-License-Identifier: BSD-3-Clause
/* Event records: which event has which fields, SMMUv3 IHI0070G.b s7.3 Event records. */
#include "host/soft/smmuv3/smmu_hw_impl.h"

/* Groups of fields of a record. */
enum {
	SSV = 1,	    /* SSV and SubstreamID */
	SSID_ALWAYS = 2,    /* SubstreamID without SSV */
	RNW = 4,	    /* RnW */
	ATTRIBUTES = 8,	    /* PnU; InD is 0: devices fetch no instructions */
	INPUT_ADDRESS = 16, /* InputAddr */
	INPUT_PAGE = 32,    /* InputAddr[63:12] */
	STAGE = 64,	    /* S2, CLASS, IPA */
};

static unsigned int fields_of(enum smmu_event_type type)
{
	switch (type) {
	case SMMU_F_UUT:
		return SSV | RNW | ATTRIBUTES | INPUT_ADDRESS;
	case SMMU_C_BAD_STE:
	case SMMU_C_BAD_CD:
		return SSV;
	case SMMU_F_BAD_ATS_TREQ:
		return SSV | INPUT_PAGE;
	case SMMU_F_TRANSL_FORBIDDEN:
		return RNW | INPUT_ADDRESS;
	case SMMU_C_BAD_SUBSTREAMID:
		return SSID_ALWAYS;
	case SMMU_F_TRANSLATION:
	case SMMU_F_ADDR_SIZE:
	case SMMU_F_ACCESS:
	case SMMU_F_PERMISSION:
		return SSV | RNW | ATTRIBUTES | INPUT_ADDRESS | STAGE;
	default: /* F_STREAM_DISABLED: the stream says it all */
		return 0;
	}
}

static uint64_t make_stage(const struct smmu_fault *fault)
{
	uint64_t word = FIELD_PREP(SMMU_EVENT_1_CLASS, fault->cls);

	if (fault->s2)
		word |= SMMU_EVENT_1_S2;
	/* defined for F_PERMISSION alone, and there for descriptors */
	if (fault->type == SMMU_F_PERMISSION && fault->cls == SMMU_CLASS_TT && !fault->tt_write)
		word |= SMMU_EVENT_1_TTRNW;
	return word;
}

struct smmu_event smmu_make_event(const struct smmu_access *a, const struct smmu_fault *fault)
{
	unsigned int fields = fields_of(fault->type);
	uint64_t qw[4] = { FIELD_PREP(SMMU_EVENT_0_TYPE, fault->type) |
			   FIELD_PREP(SMMU_EVENT_0_SID, a->sid) };

	if ((fields & SSV) && a->ssv)
		qw[0] |= SMMU_EVENT_0_SSV;
	if ((fields & (SSV | SSID_ALWAYS)) && a->ssv)
		qw[0] |= FIELD_PREP(SMMU_EVENT_0_SSID, a->ssid);
	if ((fields & RNW) && !a->write)
		qw[1] |= SMMU_EVENT_1_RNW;
	if ((fields & ATTRIBUTES) && a->privileged)
		qw[1] |= SMMU_EVENT_1_PNU;
	if (fields & INPUT_ADDRESS)
		qw[2] = a->address;
	if (fields & INPUT_PAGE)
		qw[2] = a->address & ~(PAGE_SIZE_4K - 1);
	if (fields & STAGE) {
		qw[1] |= make_stage(fault);
		qw[3] = fault->ipa & SMMU_EVENT_3_IPA; /* 0 if it was stage 1 */
	}
	return (struct smmu_event){ { le64_make(qw[0]), le64_make(qw[1]), le64_make(qw[2]),
				      le64_make(qw[3]) } };
}
