/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Root, context and PASID structures in memory: VT-d 4.1 s9.1 to s9.6. Bits of the
 * scalable-mode formats unless named legacy.
 */
#ifndef SPEC_VTD_TABLES_H
#define SPEC_VTD_TABLES_H

#include "base/bits.h"

#define VTD_TABLE_PTR GENMASK64(63, 12)

/* s9.1, s9.2 Root Entry: 16 bytes, one per bus; scalable mode: two halves of a bus */
#define VTD_ROOT_P BIT64(0)
#define VTD_ROOT_RESERVED GENMASK64(11, 1)

/* s9.3 Context Entry, legacy: 16 bytes, one per devfn */
#define VTD_LEGACY_CONTEXT_TT GENMASK64(3, 2) /* qword 0 */
#define VTD_LEGACY_CONTEXT_RESERVED0 GENMASK64(11, 4)
#define VTD_LEGACY_CONTEXT_AW GENMASK64(2, 0) /* qword 1 */
#define VTD_LEGACY_CONTEXT_DID GENMASK64(23, 8)
#define VTD_LEGACY_CONTEXT_RESERVED1 (GENMASK64(63, 24) | BIT64(7))
#define VTD_LEGACY_TT_UNTRANSLATED 0
#define VTD_LEGACY_TT_DEVICE_TLB 1
#define VTD_LEGACY_TT_PASS_THROUGH 2

/* s9.4 Scalable-Mode Context Entry: 32 bytes; devfn 0..127 and 128..255 in separate tables */
#define VTD_CONTEXT_P BIT64(0) /* qword 0 */
#define VTD_CONTEXT_FPD BIT64(1)
#define VTD_CONTEXT_DTE BIT64(2)
#define VTD_CONTEXT_PASIDE BIT64(3)
#define VTD_CONTEXT_PRE BIT64(4)
#define VTD_CONTEXT_PDTS GENMASK64(11, 9) /* directory entries: 2^(PDTS + 7) */
#define VTD_CONTEXT_RESERVED0 GENMASK64(8, 5)
#define VTD_CONTEXT_RID_PASID GENMASK64(19, 0) /* qword 1 */
#define VTD_CONTEXT_RID_PRIV BIT64(20)
#define VTD_CONTEXT_RESERVED1 GENMASK64(63, 21)

/* s9.5 Scalable-Mode PASID Directory Entry: 8 bytes, each for 64 PASIDs */
#define VTD_PASID_DIR_P BIT64(0)
#define VTD_PASID_DIR_FPD BIT64(1)
#define VTD_PASID_DIR_RESERVED GENMASK64(11, 2)
#define VTD_PASID_TABLE_LG2 6

/* s9.6 Scalable-Mode PASID Table Entry: 64 bytes */
#define VTD_PASID_P BIT64(0) /* qword 0 */
#define VTD_PASID_FPD BIT64(1)
#define VTD_PASID_AW GENMASK64(4, 2)
#define VTD_PASID_PGTT GENMASK64(8, 6)
#define VTD_PASID_SSADE BIT64(9)
#define VTD_PASID_RESERVED0 GENMASK64(11, 10)
#define VTD_PASID_DID GENMASK64(15, 0) /* qword 1 */
#define VTD_PASID_RESERVED1 GENMASK64(22, 16)
#define VTD_PASID_PWSNP BIT64(23)
#define VTD_PASID_PGSNP BIT64(24)
#define VTD_PASID_SRE BIT64(0) /* qword 2 */
#define VTD_PASID_ERE BIT64(1)
#define VTD_PASID_FSPM GENMASK64(3, 2) /* levels of the first stage - 4 */
#define VTD_PASID_WPE BIT64(4)
#define VTD_PASID_NXE BIT64(5)
#define VTD_PASID_SMEP BIT64(6)
#define VTD_PASID_EAFE BIT64(7)
#define VTD_PASID_RESERVED2 GENMASK64(11, 8)

enum vtd_pgtt {
	VTD_PGTT_FIRST_STAGE = 1,
	VTD_PGTT_SECOND_STAGE = 2,
	VTD_PGTT_NESTED = 3,
	VTD_PGTT_PASS_THROUGH = 4,
};

/* s11.4.5 Root Table Address Register: translation table mode */
#define VTD_RTADDR_TTM GENMASK64(11, 10)
enum vtd_ttm { VTD_TTM_LEGACY = 0, VTD_TTM_SCALABLE = 1, VTD_TTM_ABORT = 3 };

#endif
