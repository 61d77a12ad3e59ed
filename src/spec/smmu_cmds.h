/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SMMUv3 commands, 16 bytes: SMMUv3 IHI0070G.b s4.3 Configuration structure invalidation,
 * s4.4 TLB invalidation, s4.5 ATS and PRI, s4.7 Fault response and synchronization commands.
 * Those that invalidate or answer; the masks of what a guest may set in one stand
 * beside it.
 */
#ifndef SPEC_SMMU_CMDS_H
#define SPEC_SMMU_CMDS_H

#include "base/bits.h"
#include "base/endian.h"

struct smmu_cmd {
	le64 qw[2];
};
_Static_assert(sizeof(struct smmu_cmd) == 16, "a command");

enum smmu_opcode {
	SMMU_CMD_CFGI_STE = 0x03,
	SMMU_CMD_CFGI_STE_RANGE = 0x04, /* CFGI_ALL with a range of 31 */
	SMMU_CMD_CFGI_CD = 0x05,
	SMMU_CMD_CFGI_CD_ALL = 0x06,
	SMMU_CMD_TLBI_NH_ALL = 0x10,
	SMMU_CMD_TLBI_NH_ASID = 0x11,
	SMMU_CMD_TLBI_NH_VA = 0x12,
	SMMU_CMD_TLBI_NH_VAA = 0x13,
	SMMU_CMD_TLBI_S12_VMALL = 0x28,
	SMMU_CMD_TLBI_S2_IPA = 0x2a,
	SMMU_CMD_TLBI_NSNH_ALL = 0x30,
	SMMU_CMD_ATC_INV = 0x40,
	SMMU_CMD_PRI_RESP = 0x41,
	SMMU_CMD_RESUME = 0x44,
	SMMU_CMD_STALL_TERM = 0x45,
	SMMU_CMD_SYNC = 0x46,
};

#define SMMU_CMD_0_OP GENMASK64(7, 0)
#define SMMU_CMD_0_SSV BIT64(11)

#define SMMU_CFGI_0_SSID GENMASK64(31, 12)
#define SMMU_CFGI_0_SID GENMASK64(63, 32)
#define SMMU_CFGI_1_LEAF BIT64(0)
#define SMMU_CFGI_1_RANGE GENMASK64(4, 0)

#define SMMU_TLBI_0_NUM GENMASK64(16, 12)
#define SMMU_TLBI_0_SCALE GENMASK64(24, 20)
#define SMMU_TLBI_0_VMID GENMASK64(47, 32)
#define SMMU_TLBI_0_ASID GENMASK64(63, 48)
#define SMMU_TLBI_1_LEAF BIT64(0)
#define SMMU_TLBI_1_TTL GENMASK64(9, 8)
#define SMMU_TLBI_1_TG GENMASK64(11, 10)
#define SMMU_TLBI_1_ADDRESS GENMASK64(63, 12)
enum smmu_tlbi_tg { SMMU_TLBI_TG_ANY = 0, SMMU_TLBI_TG_4K, SMMU_TLBI_TG_16K, SMMU_TLBI_TG_64K };

#define SMMU_ATC_0_GLOBAL BIT64(9)
#define SMMU_ATC_0_SSID GENMASK64(31, 12)
#define SMMU_ATC_0_SID GENMASK64(63, 32)
#define SMMU_ATC_1_SIZE GENMASK64(5, 0)
#define SMMU_ATC_1_ADDRESS GENMASK64(63, 12)
enum { SMMU_ATC_SIZE_ALL = 52 }; /* 2^(12 + SIZE) bytes */

#define SMMU_PRI_RESP_0_SSID GENMASK64(31, 12)
#define SMMU_PRI_RESP_0_SID GENMASK64(63, 32)
#define SMMU_PRI_RESP_1_INDEX GENMASK64(8, 0)
#define SMMU_PRI_RESP_1_RESP GENMASK64(13, 12)
enum smmu_pri_resp { SMMU_PRI_FAILURE = 0, SMMU_PRI_INVALID = 1, SMMU_PRI_SUCCESS = 2 };

#define SMMU_RESUME_0_AC BIT64(12) /* retry, else terminate */
#define SMMU_RESUME_0_AB BIT64(13) /* by an abort, as always with SMMU_IDR0_TERM_MODEL */
#define SMMU_RESUME_0_SID GENMASK64(63, 32)
#define SMMU_RESUME_1_STAG GENMASK64(15, 0)
#define SMMU_STALL_TERM_0_SID GENMASK64(63, 32)

#endif
