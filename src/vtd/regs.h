/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The register page: VT-d 4.1 s11.4.
 *
 * VTD_REGISTERS is the one table of registers. Reset, access rules, the hooks, saved states
 * and the tests all come from it (state.c also has to know which bits the unit itself changes
 * in a register that software may write). CAP, ECAP and their dependents are set by the unit at
 * reset. Registers of features that the unit never offers (protected memory, performance
 * monitoring) are not there: they read as 0.
 */
#ifndef VTD_REGS_H
#define VTD_REGS_H

#include "spec/vtd_interrupts.h"
#include "viommu/regfile.h"

#include <stdbool.h>

#define VTD_FRCD_COUNT 8
#define VTD_FRCD_OFFSET 0x220
#define VTD_IRO_OFFSET 0xf00

/* clang-format off */
/*	name	  offset bytes reset	 software may write	  clears by 1	hook	section */
#define VTD_REGISTERS(R)                                                                            \
	R(VER,	   0x00, 4, 0x10,	 0,			  0,		NONE,	"s11.4.1")   \
	R(CAP,	   0x08, 8, 0,		 0,			  0,		NONE,	"s11.4.2")   \
	R(ECAP,	   0x10, 8, 0,		 0,			  0,		NONE,	"s11.4.3")   \
	R(GCMD,	   0x18, 4, 0,		 0,			  0,		GCMD,	"s11.4.4.1") \
	R(GSTS,	   0x1c, 4, 0,		 0,			  0,		NONE,	"s11.4.4.2") \
	R(RTADDR,  0x20, 8, 0,		 VTD_RTADDR_FIELDS,	  0,		NONE,	"s11.4.5")   \
	R(CCMD,	   0x28, 8, 0,		 BIT64(63) | GENMASK64(62, 61) | GENMASK64(33, 0),           \
							  0,		CCMD,	"s11.4.6.1") \
	R(FSTS,	   0x34, 4, 0,		 0,	   VTD_FSTS_PFO | VTD_FSTS_ERRORS, FSTS, "s11.4.7.1") \
	R(FECTL,   0x38, 4, BIT64(31),	 BIT64(31),		  0,		FECTL,	"s11.4.7.3") \
	R(FEDATA,  0x3c, 4, 0,		 GENMASK64(31, 0),	  0,		NONE,	"s11.4.7.4") \
	R(FEADDR,  0x40, 4, 0,		 GENMASK64(31, 2),	  0,		NONE,	"s11.4.7.5") \
	R(FEUADDR, 0x44, 4, 0,		 GENMASK64(31, 0),	  0,		NONE,	"s11.4.7.6") \
	R(IQH,	   0x80, 8, 0,		 0,			  0,		NONE,	"s11.4.9.1") \
	R(IQT,	   0x88, 8, 0,		 VTD_IQ_POSITION,	  0,		IQT,	"s11.4.9.2") \
	R(IQA,	   0x90, 8, 0,		 GENMASK64(63, 11) | GENMASK64(2, 0), 0, NONE,	"s11.4.9.3") \
	R(ICS,	   0x9c, 4, 0,		 0,			  BIT64(0),	ICS,	"s11.4.9.4") \
	R(IECTL,   0xa0, 4, BIT64(31),	 BIT64(31),		  0,		IECTL,	"s11.4.9.5") \
	R(IEDATA,  0xa4, 4, 0,		 GENMASK64(31, 0),	  0,		NONE,	"s11.4.9.6") \
	R(IEADDR,  0xa8, 4, 0,		 GENMASK64(31, 2),	  0,		NONE,	"s11.4.9.7") \
	R(IEUADDR, 0xac, 4, 0,		 GENMASK64(31, 0),	  0,		NONE,	"s11.4.9.8") \
	R(IQERCD,  0xb0, 8, 0,		 0,			  0,		NONE,	"s11.4.9.9") \
	R(IRTA,	   0xb8, 8, 0,		 VTD_IRTA_FIELDS,	  0,		NONE,	"s11.4.10")  \
	R(PQH,	   0xc0, 8, 0,		 GENMASK64(18, 5),	  0,		NONE,	"s11.4.11.1")\
	R(PQT,	   0xc8, 8, 0,		 GENMASK64(18, 5),	  0,		NONE,	"s11.4.11.2")\
	R(PQA,	   0xd0, 8, 0,		 GENMASK64(63, 12) | GENMASK64(2, 0), 0, NONE,	"s11.4.11.3")\
	R(PRS,	   0xdc, 4, 0,		 0,	   VTD_PRS_PPR | VTD_PRS_PRO, PRS,	"s11.4.11.4")\
	R(PECTL,   0xe0, 4, BIT64(31),	 BIT64(31),		  0,		PECTL,	"s11.4.11.5")\
	R(PEDATA,  0xe4, 4, 0,		 GENMASK64(31, 0),	  0,		NONE,	"s11.4.11.6")\
	R(PEADDR,  0xe8, 4, 0,		 GENMASK64(31, 2),	  0,		NONE,	"s11.4.11.7")\
	R(PEUADDR, 0xec, 4, 0,		 GENMASK64(31, 0),	  0,		NONE,	"s11.4.11.8")\
	R(IVA,	   VTD_IRO_OFFSET, 8, 0, GENMASK64(63, 12) | GENMASK64(6, 0), 0, NONE,	"s11.4.6.3") \
	R(IOTLB,   VTD_IRO_OFFSET + 8, 8, 0, BIT64(63) | GENMASK64(61, 60) | GENMASK64(49, 32),      \
							  0,		IOTLB,	"s11.4.6.2") \
	VTD_FRCD(R, 0) VTD_FRCD(R, 1) VTD_FRCD(R, 2) VTD_FRCD(R, 3)                                 \
	VTD_FRCD(R, 4) VTD_FRCD(R, 5) VTD_FRCD(R, 6) VTD_FRCD(R, 7)

#define VTD_FRCD(R, n)                                                                              \
	R(FRCD##n##_LO, VTD_FRCD_OFFSET + 16 * (n), 8, 0, 0, 0,	NONE, "s11.4.7.7")                   \
	R(FRCD##n##_HI, VTD_FRCD_OFFSET + 16 * (n) + 8, 8, 0, 0, BIT64(63), FRCD, "s11.4.7.7")

/* clang-format on */

enum vtd_reg {
#define VTD_REG_ENUM(name, ...) VTD_##name,
	VTD_REGISTERS(VTD_REG_ENUM)
#undef VTD_REG_ENUM
		VTD_NUM_REGS,
};

enum vtd_reg_offset {
#define VTD_REG_OFFSET(name, offset, ...) VTD_OFFSET_##name = (offset),
	VTD_REGISTERS(VTD_REG_OFFSET)
#undef VTD_REG_OFFSET
};

/* What a write sets off; one bit each, in the order in which they are carried out. */
enum vtd_hook {
	VTD_HOOK_NONE = 0,
	VTD_HOOK_GCMD = 1 << 0,
	VTD_HOOK_CCMD = 1 << 1,
	VTD_HOOK_IOTLB = 1 << 2,
	VTD_HOOK_FRCD = 1 << 3,
	VTD_HOOK_FSTS = 1 << 4,
	VTD_HOOK_FECTL = 1 << 5,
	VTD_HOOK_ICS = 1 << 6,
	VTD_HOOK_IECTL = 1 << 7,
	VTD_HOOK_IQT = 1 << 8,
	VTD_HOOK_PRS = 1 << 9,
	VTD_HOOK_PECTL = 1 << 10,
};

/* s11.4.4 Global Command and Global Status: the bits of both stand at the same places */
#define VTD_GCMD_TE BIT64(31)
#define VTD_GCMD_SRTP BIT64(30)
#define VTD_GCMD_WBF BIT64(27)
#define VTD_GCMD_QIE BIT64(26)
#define VTD_GCMD_IRE BIT64(25)
#define VTD_GCMD_SIRTP BIT64(24)
#define VTD_GCMD_CFI BIT64(23)

#define VTD_RTADDR_FIELDS GENMASK64(63, 10)

#define VTD_CCMD_ICC BIT64(63)
#define VTD_CCMD_CIRG GENMASK64(62, 61)
#define VTD_CCMD_CAIG GENMASK64(60, 59)
#define VTD_IOTLB_IVT BIT64(63)
#define VTD_IOTLB_IIRG GENMASK64(61, 60)
#define VTD_IOTLB_IAIG GENMASK64(58, 57)
enum { VTD_GRANULARITY_GLOBAL = 1 };

#define VTD_FSTS_PFO BIT64(0)
#define VTD_FSTS_PPF BIT64(1)
#define VTD_FSTS_IQE BIT64(4)
#define VTD_FSTS_ICE BIT64(5)
#define VTD_FSTS_ITE BIT64(6)
#define VTD_FSTS_FRI GENMASK64(15, 8)
#define VTD_FSTS_ERRORS (VTD_FSTS_IQE | VTD_FSTS_ICE | VTD_FSTS_ITE)
#define VTD_FSTS_EVENTS (VTD_FSTS_PFO | VTD_FSTS_PPF | VTD_FSTS_ERRORS)

#define VTD_EVENT_IM BIT64(31) /* FECTL, IECTL */
#define VTD_EVENT_IP BIT64(30)
#define VTD_ICS_IWC BIT64(0)

#define VTD_IQ_POSITION GENMASK64(18, 4) /* IQH, IQT */
#define VTD_IQA_BASE GENMASK64(63, 12)
#define VTD_IQA_DW BIT64(11)
#define VTD_IQA_QS GENMASK64(2, 0)

#define VTD_PQA_BASE GENMASK64(63, 12)
#define VTD_PQA_PQS GENMASK64(2, 0)
#define VTD_PRS_PPR BIT64(0)
#define VTD_PRS_PRO BIT64(1)

#define VTD_IQERCD_IQEI GENMASK64(3, 0)
#define VTD_IQERCD_ITESID GENMASK64(47, 32) /* whose device TLB did not answer */
enum vtd_iqei {
	VTD_IQEI_TAIL = 1,  /* tail outside the queue */
	VTD_IQEI_FETCH = 2, /* descriptor could not be read */
	VTD_IQEI_TYPE = 3,
	VTD_IQEI_RESERVED = 4,
	VTD_IQEI_WIDTH = 5, /* descriptor needs 256 bits */
	VTD_IQEI_TAIL_ALIGN = 6,
};

#define VTD_FRCD_HI_F BIT64(63)
#define VTD_FRCD_HI_T1 BIT64(62) /* read */
#define VTD_FRCD_HI_AT GENMASK64(61, 60)
#define VTD_FRCD_HI_PV GENMASK64(59, 40)
#define VTD_FRCD_HI_FR GENMASK64(39, 32)
#define VTD_FRCD_HI_PP BIT64(31)
#define VTD_FRCD_HI_EXE BIT64(30)
#define VTD_FRCD_HI_PRIV BIT64(29)
#define VTD_FRCD_HI_SID GENMASK64(15, 0)

enum { VTD_MMIO_DWORDS = 4096 / 4 };

/* The register file: viommu/regfile.h. */
struct vtd_regs {
	struct regfile file;
	uint32_t dwords[VTD_MMIO_DWORDS];
};

void vtd_regs_init(struct vtd_regs *regs);
static inline void vtd_regs_fini(struct vtd_regs *regs)
{
	regfile_fini(&regs->file);
}

/* Everything to its reset value, CAP and ECAP to these. */
void vtd_regs_reset(struct vtd_regs *regs, uint64_t cap, uint64_t ecap);

/* Everything at once, to what vtd_reg_get() gave of each. */
static inline void vtd_regs_load(struct vtd_regs *regs, const uint64_t values[VTD_NUM_REGS])
{
	regfile_load(&regs->file, values);
}

/* Software's side: access rules apply. The write returns the hooks it hit. */
static inline uint64_t vtd_regs_read(struct vtd_regs *regs, uint64_t offset, unsigned int size)
{
	return regfile_read(&regs->file, offset, size);
}

static inline unsigned int vtd_regs_write(struct vtd_regs *regs, uint64_t offset, unsigned int size,
					  uint64_t value)
{
	return regfile_write(&regs->file, offset, size, value);
}

/* The unit's side: no rules. */
static inline uint64_t vtd_reg_get(struct vtd_regs *regs, enum vtd_reg reg)
{
	return regfile_get(&regs->file, reg);
}

static inline void vtd_reg_set(struct vtd_regs *regs, enum vtd_reg reg, uint64_t value)
{
	regfile_set(&regs->file, reg, value);
}

/* Without the lock: see regfile_publish(). */
static inline void vtd_reg_publish(struct vtd_regs *regs, enum vtd_reg reg, uint32_t low)
{
	regfile_publish(&regs->file, reg, low);
}

/* Clears, then sets bits; returns what was there before. */
static inline uint64_t vtd_reg_update(struct vtd_regs *regs, enum vtd_reg reg, uint64_t clear,
				      uint64_t set)
{
	return regfile_update(&regs->file, reg, clear, set);
}

#endif
