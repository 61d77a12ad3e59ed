/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupt remapping: VT-d 4.1 s5.1.2 Interrupt Request Formats, s9.9 IRTE for Remapped
 * Interrupts, s9.10 IRTE for Posted Interrupts, s11.4.10 Interrupt Remapping Table
 * Address Register.
 */
#ifndef SPEC_VTD_INTERRUPTS_H
#define SPEC_VTD_INTERRUPTS_H

#include "base/bits.h"

/* A request: a 4-byte write to 0xfeexxxxx. */
#define VTD_MSI_BASE 0xfee00000ULL
#define VTD_MSI_RANGE GENMASK64(63, 20)
#define VTD_MSI_REMAPPABLE BIT64(4)
/* ... in remappable format */
#define VTD_MSI_HANDLE_LOW GENMASK64(19, 5)
#define VTD_MSI_SHV BIT64(3)
#define VTD_MSI_HANDLE_15 BIT64(2)
#define VTD_MSI_DATA_SUBHANDLE GENMASK64(15, 0)
#define VTD_MSI_DATA_RESERVED GENMASK64(31, 16) /* with SHV */
/* ... in compatibility format, as it leaves the unit */
#define VTD_MSI_DEST_HIGH GENMASK64(63, 40) /* x2APIC id 31:8, as KVM and QEMU have it */
#define VTD_MSI_DEST GENMASK64(19, 12)
#define VTD_MSI_RH BIT64(3)
#define VTD_MSI_DM BIT64(2)
#define VTD_MSI_DATA_TM BIT64(15)
#define VTD_MSI_DATA_ASSERT BIT64(14)
#define VTD_MSI_DATA_DLM GENMASK64(10, 8)
#define VTD_MSI_DATA_VECTOR GENMASK64(7, 0)

/* A redirection entry of an I/O APIC: s5.1.5.1 I/OxAPIC Programming. */
#define VTD_RTE_HIGH GENMASK64(63, 48) /* address bits 19:4 */
#define VTD_RTE_TM BIT64(15)
#define VTD_RTE_DM BIT64(11)
#define VTD_RTE_DLM GENMASK64(10, 8)
#define VTD_RTE_VECTOR GENMASK64(7, 0)
enum { VTD_DLM_LOWEST_PRIORITY = 1 };

#define VTD_IRTA_ADDRESS GENMASK64(63, 12)
#define VTD_IRTA_EIME BIT64(11)
#define VTD_IRTA_SIZE GENMASK64(3, 0) /* entries: 2^(this + 1) */
#define VTD_IRTA_FIELDS (VTD_IRTA_ADDRESS | VTD_IRTA_EIME | VTD_IRTA_SIZE)

/* First word, both formats */
#define VTD_IRTE_P BIT64(0)
#define VTD_IRTE_FPD BIT64(1)
#define VTD_IRTE_IM BIT64(15)
#define VTD_IRTE_VECTOR GENMASK64(23, 16)
/* ... remapped */
#define VTD_IRTE_DM BIT64(2)
#define VTD_IRTE_RH BIT64(3)
#define VTD_IRTE_TM BIT64(4)
#define VTD_IRTE_DLM GENMASK64(7, 5)
#define VTD_IRTE_DST GENMASK64(63, 32)
#define VTD_IRTE_DST_XAPIC GENMASK64(47, 40)
#define VTD_IRTE_RESERVED0 (GENMASK64(31, 24) | GENMASK64(14, 12))
/* ... posted */
#define VTD_IRTE_URG BIT64(14)
#define VTD_IRTE_PDA_LOW GENMASK64(63, 38) /* 31:6 */
#define VTD_IRTE_POSTED_RESERVED0 (GENMASK64(37, 24) | GENMASK64(13, 12) | GENMASK64(7, 2))

/* Second word, both formats */
#define VTD_IRTE_SID GENMASK64(15, 0)
#define VTD_IRTE_SQ GENMASK64(17, 16)
#define VTD_IRTE_SVT GENMASK64(19, 18)
/* ... remapped */
#define VTD_IRTE_RESERVED1 GENMASK64(63, 20)
/* ... posted */
#define VTD_IRTE_PDA_HIGH GENMASK64(63, 32)
#define VTD_IRTE_POSTED_RESERVED1 GENMASK64(31, 20)

enum { VTD_SVT_NONE = 0, VTD_SVT_SID = 1, VTD_SVT_BUS = 2, VTD_SVT_RESERVED = 3 };

#endif
