/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SMMUv3 IHI0070G.b s7.3 Event records: 32 bytes in the event queue. Not every field is in
 * every event; what an event does not define is zero.
 */
#ifndef SPEC_SMMU_EVENTS_H
#define SPEC_SMMU_EVENTS_H

#include "base/bits.h"
#include "base/endian.h"

struct smmu_event {
	le64 qw[4];
};
_Static_assert(sizeof(struct smmu_event) == 32, "an event record");

enum smmu_event_type {
	SMMU_EVENT_NONE = 0, /* not an event: success */
	SMMU_F_UUT = 0x01,
	SMMU_C_BAD_STREAMID = 0x02,
	SMMU_F_STE_FETCH = 0x03,
	SMMU_C_BAD_STE = 0x04,
	SMMU_F_BAD_ATS_TREQ = 0x05,
	SMMU_F_STREAM_DISABLED = 0x06,
	SMMU_F_TRANSL_FORBIDDEN = 0x07,
	SMMU_C_BAD_SUBSTREAMID = 0x08,
	SMMU_F_CD_FETCH = 0x09,
	SMMU_C_BAD_CD = 0x0a,
	SMMU_F_WALK_EABT = 0x0b,
	SMMU_F_TRANSLATION = 0x10,
	SMMU_F_ADDR_SIZE = 0x11,
	SMMU_F_ACCESS = 0x12,
	SMMU_F_PERMISSION = 0x13,
	SMMU_F_TLB_CONFLICT = 0x20,
	SMMU_F_CFG_CONFLICT = 0x21,
	SMMU_E_PAGE_REQUEST = 0x24,
	SMMU_E_ABORTED =
		0xe0, /* never recorded: a name for what has no event (0xe0..0xef are free) */
};

#define SMMU_EVENT_0_TYPE GENMASK64(7, 0)
#define SMMU_EVENT_0_SSV BIT64(11)
#define SMMU_EVENT_0_SSID GENMASK64(31, 12)
#define SMMU_EVENT_0_SID GENMASK64(63, 32)
#define SMMU_EVENT_1_STAG GENMASK64(15, 0)
#define SMMU_EVENT_1_STALL BIT64(31)
#define SMMU_EVENT_1_PNU BIT64(33)
#define SMMU_EVENT_1_IND BIT64(34)
#define SMMU_EVENT_1_RNW BIT64(35)
#define SMMU_EVENT_1_S2 BIT64(39)
#define SMMU_EVENT_1_CLASS GENMASK64(41, 40)
#define SMMU_EVENT_1_TTRNW BIT64(44)
#define SMMU_EVENT_2_INPUTADDR GENMASK64(63, 0)
#define SMMU_EVENT_3_IPA GENMASK64(51, 12)
#define SMMU_EVENT_3_FETCHADDR GENMASK64(51, 3)

enum smmu_event_class { SMMU_CLASS_CD = 0, SMMU_CLASS_TT = 1, SMMU_CLASS_IN = 2 };

/* s8.1 PRI queue overflow, entries of the PRI queue: 16 bytes */
struct smmu_page_request {
	le64 qw[2];
};
_Static_assert(sizeof(struct smmu_page_request) == 16, "an entry of the PRI queue");

#define SMMU_PPR_0_SID GENMASK64(31, 0)
#define SMMU_PPR_0_SSID GENMASK64(51, 32)
#define SMMU_PPR_0_PRIV BIT64(58)
#define SMMU_PPR_0_EXEC BIT64(59)
#define SMMU_PPR_0_READ BIT64(60)
#define SMMU_PPR_0_WRITE BIT64(61)
#define SMMU_PPR_0_LAST BIT64(62)
#define SMMU_PPR_0_SSV BIT64(63)
#define SMMU_PPR_1_INDEX GENMASK64(8, 0)
#define SMMU_PPR_1_ADDRESS GENMASK64(63, 12)

/* The four that CD.{A,R,S} govern: s5.5 Fault configuration (A, R, S bits) */
static inline bool smmu_event_is_translation(enum smmu_event_type type)
{
	return type >= SMMU_F_TRANSLATION && type <= SMMU_F_PERMISSION;
}

#endif
