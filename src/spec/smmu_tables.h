/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SMMUv3 structures in memory: IHI 0070, that is SMMUv3 IHI0070G.b s5.2 Stream Table Entry,
 * s5.3 Level 1 Context Descriptor, s5.4 Context Descriptor. A field is named by the qword
 * it is in. Of the stream table entry only the words of stage 1 cross from a guest to its host.
 */
#ifndef SPEC_SMMU_TABLES_H
#define SPEC_SMMU_TABLES_H

#include "base/bits.h"
#include "base/endian.h"

/* s5.2 Stream Table Entry: 64 bytes */
struct smmu_ste {
	le64 qw[8];
};
_Static_assert(sizeof(struct smmu_ste) == 64, "a Stream Table Entry");

#define SMMU_STE_0_V BIT64(0)
#define SMMU_STE_0_CONFIG GENMASK64(3, 1)
#define SMMU_STE_0_S1FMT GENMASK64(5, 4)
#define SMMU_STE_0_S1CONTEXTPTR GENMASK64(51, 6)
#define SMMU_STE_0_S1CDMAX GENMASK64(63, 59)
/* What a guest may say: what Linux 7.2 takes for a nested domain. */
#define SMMU_STE_0_GUEST                                                                 \
	(SMMU_STE_0_V | SMMU_STE_0_CONFIG | SMMU_STE_0_S1FMT | SMMU_STE_0_S1CONTEXTPTR | \
	 SMMU_STE_0_S1CDMAX)

#define SMMU_STE_1_S1DSS GENMASK64(1, 0)
#define SMMU_STE_1_S1CIR GENMASK64(3, 2)
#define SMMU_STE_1_S1COR GENMASK64(5, 4)
#define SMMU_STE_1_S1CSH GENMASK64(7, 6)
#define SMMU_STE_1_S1STALLD BIT64(27)
#define SMMU_STE_1_EATS GENMASK64(29, 28)
#define SMMU_STE_1_GUEST                                                             \
	(SMMU_STE_1_S1DSS | SMMU_STE_1_S1CIR | SMMU_STE_1_S1COR | SMMU_STE_1_S1CSH | \
	 SMMU_STE_1_S1STALLD | SMMU_STE_1_EATS)

#define SMMU_STE_2_S2VMID GENMASK64(15, 0)
#define SMMU_STE_2_S2T0SZ GENMASK64(37, 32)
#define SMMU_STE_2_S2SL0 GENMASK64(39, 38)
#define SMMU_STE_2_S2TG GENMASK64(47, 46) /* as enum smmu_tg0 */
#define SMMU_STE_2_S2PS GENMASK64(50, 48)
#define SMMU_STE_2_S2AA64 BIT64(51)
#define SMMU_STE_2_S2ENDI BIT64(52)
#define SMMU_STE_2_S2AFFD BIT64(53)
#define SMMU_STE_2_S2PTW BIT64(54)
#define SMMU_STE_2_S2HD BIT64(55)
#define SMMU_STE_2_S2HA BIT64(56)
#define SMMU_STE_2_S2S BIT64(57)
#define SMMU_STE_2_S2R BIT64(58)
#define SMMU_STE_3_S2TTB GENMASK64(51, 4)

enum smmu_ste_config { /* others with bit 2 clear: as SMMU_STE_ABORT */
		       SMMU_STE_ABORT = 0,
		       SMMU_STE_BYPASS = 4,
		       SMMU_STE_S1 = 5,
		       SMMU_STE_S2 = 6,
		       SMMU_STE_NESTED = 7,
};
enum smmu_s1fmt { SMMU_S1FMT_LINEAR = 0, SMMU_S1FMT_4K_L2 = 1, SMMU_S1FMT_64K_L2 = 2 };
enum smmu_s1dss { SMMU_S1DSS_TERMINATE = 0, SMMU_S1DSS_BYPASS = 1, SMMU_S1DSS_SSID0 = 2 };
enum smmu_eats { SMMU_EATS_NONE = 0, SMMU_EATS_FULL = 1, SMMU_EATS_SPLIT = 2 };

/* s5.3 Level 1 Context Descriptor: 8 bytes */
#define SMMU_L1CD_V BIT64(0)
#define SMMU_L1CD_L2PTR GENMASK64(51, 12)
enum { SMMU_L1CD_BYTES = 8 };

/* s5.4 Context Descriptor: 64 bytes */
struct smmu_cd {
	le64 qw[8];
};
_Static_assert(sizeof(struct smmu_cd) == 64, "a Context Descriptor");

#define SMMU_CD_0_T0SZ GENMASK64(5, 0)
#define SMMU_CD_0_TG0 GENMASK64(7, 6)
#define SMMU_CD_0_EPD0 BIT64(14)
#define SMMU_CD_0_ENDI BIT64(15)
#define SMMU_CD_0_T1SZ GENMASK64(21, 16)
#define SMMU_CD_0_TG1 GENMASK64(23, 22)
#define SMMU_CD_0_EPD1 BIT64(30)
#define SMMU_CD_0_V BIT64(31)
#define SMMU_CD_0_IPS GENMASK64(34, 32)
#define SMMU_CD_0_AFFD BIT64(35)
#define SMMU_CD_0_TBI0 BIT64(38)
#define SMMU_CD_0_TBI1 BIT64(39)
#define SMMU_CD_0_PAN BIT64(40)
#define SMMU_CD_0_AA64 BIT64(41)
#define SMMU_CD_0_HD BIT64(42)
#define SMMU_CD_0_HA BIT64(43)
#define SMMU_CD_0_S BIT64(44)
#define SMMU_CD_0_R BIT64(45)
#define SMMU_CD_0_A BIT64(46)
#define SMMU_CD_0_ASET BIT64(47)
#define SMMU_CD_0_ASID GENMASK64(63, 48)
#define SMMU_CD_1_HAD0 BIT64(1)
#define SMMU_CD_1_TTB0 GENMASK64(51, 4)
#define SMMU_CD_2_HAD1 BIT64(1)
#define SMMU_CD_2_TTB1 GENMASK64(51, 4)

/* TG0 and TG1 say the same in different ways. */
enum smmu_tg0 { SMMU_TG0_4K = 0, SMMU_TG0_64K = 1, SMMU_TG0_16K = 2 };
enum smmu_tg1 { SMMU_TG1_16K = 1, SMMU_TG1_4K = 2, SMMU_TG1_64K = 3 };
enum { SMMU_TXSZ_MIN = 16, SMMU_TXSZ_MAX = 39 }; /* no 52-bit VAs, no small tables */

/* CD.IPS and IDR5.OAS: bits of an address. Values above 48 bits are no more than that here. */
static inline unsigned int smmu_address_bits(unsigned int encoding)
{
	static const uint8_t bits[] = { 32, 36, 40, 42, 44, 48, 48, 48 };

	return bits[encoding & 7];
}

#endif
