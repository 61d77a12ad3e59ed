/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two register pages of 64 KiB: SMMUv3 IHI0070G.b s6.3.
 *
 * SMMU_REGISTERS is the one table of registers. Reset, access rules, what may not be written
 * while something is enabled, hooks and the tests all come from it. IDR0 to AIDR are set by
 * the unit at reset. Registers of features that the unit never offers (secure state,
 * address translation operations, virtual machine structures, ECMDQs) are not there, nor are
 * those of the PRI queue where it is not offered: they read as 0.
 */
#ifndef SMMUV3_REGS_H
#define SMMUV3_REGS_H

#include "viommu/regfile.h"

#include <stdbool.h>

#define SMMU_PAGE1 0x10000

/* clang-format off */
/*	name		  offset  bytes reset	software may write	but not while	hook	section */
#define SMMU_REGISTERS(R)                                                                              \
	R(IDR0,		    0x00, 4, 0,		0,			NEVER,		NONE,	"s6.3.1")  \
	R(IDR1,		    0x04, 4, 0,		0,			NEVER,		NONE,	"s6.3.2")  \
	R(IDR2,		    0x08, 4, 0,		0,			NEVER,		NONE,	"s6.3.3")  \
	R(IDR3,		    0x0c, 4, 0,		0,			NEVER,		NONE,	"s6.3.4")  \
	R(IDR4,		    0x10, 4, 0,		0,			NEVER,		NONE,	"s6.3.5")  \
	R(IDR5,		    0x14, 4, 0,		0,			NEVER,		NONE,	"s6.3.6")  \
	R(IIDR,		    0x18, 4, 0,		0,			NEVER,		NONE,	"s6.3.7")  \
	R(AIDR,		    0x1c, 4, 0,		0,			NEVER,		NONE,	"s6.3.8")  \
	R(CR0,		    0x20, 4, 0,		SMMU_CR0_FIELDS,	CR0,		CR0,	"s6.3.9")  \
	R(CR0ACK,	    0x24, 4, 0,		0,			NEVER,		NONE,	"s6.3.10") \
	R(CR1,		    0x28, 4, 0,		GENMASK64(11, 0),	CR1,		NONE,	"s6.3.11") \
	R(CR2,		    0x2c, 4, 0,		SMMU_CR2_RECINVSID,	SMMUEN,		NONE,	"s6.3.12") \
	R(GBPA,		    0x44, 4, 0x1000,	SMMU_GBPA_FIELDS,	GBPA,		GBPA,	"s6.3.14") \
	R(IRQ_CTRL,	    0x50, 4, 0,		SMMU_IRQ_FIELDS,	IRQ_CTRL,   IRQ_CTRL,	"s6.3.16") \
	R(IRQ_CTRLACK,	    0x54, 4, 0,		0,			NEVER,		NONE,	"s6.3.18") \
	R(GERROR,	    0x60, 4, 0,		0,			NEVER,		NONE,	"s6.3.19") \
	R(GERRORN,	    0x64, 4, 0,		SMMU_GERROR_FIELDS,	GERRORN,     GERRORN,	"s6.3.20") \
	R(GERROR_IRQ_CFG0,  0x68, 8, 0,		GENMASK64(51, 2),	GERROR_IRQ,	NONE,	"s6.3.21") \
	R(GERROR_IRQ_CFG1,  0x70, 4, 0,		GENMASK64(31, 0),	GERROR_IRQ,	NONE,	"s6.3.22") \
	R(GERROR_IRQ_CFG2,  0x74, 4, 0,		GENMASK64(5, 0),	GERROR_IRQ,	NONE,	"s6.3.23") \
	R(STRTAB_BASE,	    0x80, 8, 0,		BIT64(62) | GENMASK64(51, 6), SMMUEN,	NONE,	"s6.3.24") \
	R(STRTAB_BASE_CFG,  0x88, 4, 0,		GENMASK64(17, 16) | GENMASK64(10, 0), SMMUEN, NONE, "s6.3.25") \
	R(CMDQ_BASE,	    0x90, 8, 0,		SMMU_QUEUE_BASE_FIELDS,	CMDQEN,		NONE,	"s6.3.26") \
	R(CMDQ_PROD,	    0x98, 4, 0,		GENMASK64(19, 0),	NEVER,	     CMDQ_PROD,	"s6.3.27") \
	R(CMDQ_CONS,	    0x9c, 4, 0,		GENMASK64(30, 24) | GENMASK64(19, 0), CMDQEN, NONE, "s6.3.28") \
	R(EVENTQ_BASE,	    0xa0, 8, 0,		SMMU_QUEUE_BASE_FIELDS,	EVENTQEN,	NONE,	"s6.3.29") \
	R(EVENTQ_IRQ_CFG0,  0xb0, 8, 0,		GENMASK64(51, 2),	EVENTQ_IRQ,	NONE,	"s6.3.30") \
	R(EVENTQ_IRQ_CFG1,  0xb8, 4, 0,		GENMASK64(31, 0),	EVENTQ_IRQ,	NONE,	"s6.3.31") \
	R(EVENTQ_IRQ_CFG2,  0xbc, 4, 0,		GENMASK64(5, 0),	EVENTQ_IRQ,	NONE,	"s6.3.32") \
	R(PRIQ_BASE,	    0xc0, 8, 0,		SMMU_QUEUE_BASE_FIELDS,	PRIQEN,		NONE,	"s6.3.33") \
	R(PRIQ_IRQ_CFG0,    0xd0, 8, 0,		GENMASK64(51, 2),	PRIQ_IRQ,	NONE,	"s6.3.34") \
	R(PRIQ_IRQ_CFG1,    0xd8, 4, 0,		GENMASK64(31, 0),	PRIQ_IRQ,	NONE,	"s6.3.35") \
	R(PRIQ_IRQ_CFG2,    0xdc, 4, 0,		SMMU_PRIQ_LO | GENMASK64(5, 0), PRIQ_IRQ2, NONE, "s6.3.36") \
	R(EVENTQ_PROD, SMMU_PAGE1 + 0xa8, 4, 0,	BIT64(31) | GENMASK64(19, 0), EVENTQEN,	NONE,	"s6.3") \
	R(EVENTQ_CONS, SMMU_PAGE1 + 0xac, 4, 0,	BIT64(31) | GENMASK64(19, 0), NEVER, EVENTQ_CONS, "s6.3") \
	R(PRIQ_PROD, SMMU_PAGE1 + 0xc8, 4, 0,	BIT64(31) | GENMASK64(19, 0), PRIQEN,	NONE,	"s6.3")	   \
	R(PRIQ_CONS, SMMU_PAGE1 + 0xcc, 4, 0,	BIT64(31) | GENMASK64(19, 0), PRI,	NONE,	"s6.3")

/* clang-format on */

enum smmu_reg {
#define SMMU_REG_ENUM(name, ...) SMMU_##name,
	SMMU_REGISTERS(SMMU_REG_ENUM)
#undef SMMU_REG_ENUM
		SMMU_NUM_REGS,
};

enum smmu_reg_offset {
#define SMMU_REG_OFFSET(name, offset, ...) SMMU_OFFSET_##name = (offset),
	SMMU_REGISTERS(SMMU_REG_OFFSET)
#undef SMMU_REG_OFFSET
};

/* What a write sets off, in the order in which it is carried out. */
enum smmu_hook {
	SMMU_HOOK_NONE = 0,
	SMMU_HOOK_IRQ_CTRL = 1 << 0,
	SMMU_HOOK_GBPA = 1 << 1,
	SMMU_HOOK_CR0 = 1 << 2,
	SMMU_HOOK_GERRORN = 1 << 3,
	SMMU_HOOK_CMDQ_PROD = 1 << 4,
	SMMU_HOOK_EVENTQ_CONS = 1 << 5,
};

/* What locks a register: the enables of CR0 and IRQ_CTRL, or what is said in regs.c. */
enum smmu_lock {
	SMMU_LOCK_NEVER,
	SMMU_LOCK_SMMUEN,
	SMMU_LOCK_CMDQEN,
	SMMU_LOCK_EVENTQEN,
	SMMU_LOCK_CR0,	/* ATSCHK is not there without ATS, PRIQEN not without PRI */
	SMMU_LOCK_CR1,	/* table fields by SMMUEN, queue fields by any queue */
	SMMU_LOCK_GBPA, /* nothing is taken without UPDATE */
	SMMU_LOCK_GERROR_IRQ,
	SMMU_LOCK_PRI, /* these are not there without it: */
	SMMU_LOCK_PRIQEN,
	SMMU_LOCK_PRIQ_IRQ,
	SMMU_LOCK_PRIQ_IRQ2,  /* LO is there without MSIs */
	SMMU_LOCK_IRQ_CTRL,   /* one bit of it */
	SMMU_LOCK_GERRORN,    /* the same */
	SMMU_LOCK_EVENTQ_IRQ, /* like GERROR_IRQ: not there at all without MSIs */
};

#define SMMU_CR0_SMMUEN BIT64(0)
#define SMMU_CR0_PRIQEN BIT64(1)
#define SMMU_CR0_EVENTQEN BIT64(2)
#define SMMU_CR0_CMDQEN BIT64(3)
#define SMMU_CR0_ATSCHK BIT64(4)
#define SMMU_CR0_FIELDS \
	(SMMU_CR0_SMMUEN | SMMU_CR0_PRIQEN | SMMU_CR0_EVENTQEN | SMMU_CR0_CMDQEN | SMMU_CR0_ATSCHK)

#define SMMU_CR1_TABLE GENMASK64(11, 6)
#define SMMU_CR1_QUEUE GENMASK64(5, 0)

#define SMMU_CR2_RECINVSID BIT64(1)

#define SMMU_GBPA_UPDATE BIT64(31)
#define SMMU_GBPA_ABORT BIT64(20)
/* UPDATE stays till the unit has done it. */
#define SMMU_GBPA_FIELDS                                                              \
	(SMMU_GBPA_UPDATE | SMMU_GBPA_ABORT | GENMASK64(19, 16) | GENMASK64(13, 12) | \
	 GENMASK64(11, 8) | GENMASK64(4, 0))

#define SMMU_IRQ_GERROR BIT64(0)
#define SMMU_IRQ_PRIQ BIT64(1)
#define SMMU_IRQ_EVENTQ BIT64(2)
#define SMMU_IRQ_FIELDS (SMMU_IRQ_GERROR | SMMU_IRQ_PRIQ | SMMU_IRQ_EVENTQ)

/* PRIQ_IRQ_CFG2: of the last request of a group alone */
#define SMMU_PRIQ_LO BIT64(31)

#define SMMU_GERROR_CMDQ BIT64(0)
#define SMMU_GERROR_EVENTQ_ABT BIT64(2)
#define SMMU_GERROR_PRIQ_ABT BIT64(3)
#define SMMU_GERROR_FIELDS (SMMU_GERROR_CMDQ | SMMU_GERROR_EVENTQ_ABT | SMMU_GERROR_PRIQ_ABT)

#define SMMU_STRTAB_ADDR GENMASK64(51, 6)
#define SMMU_STRTAB_CFG_LOG2SIZE GENMASK64(5, 0)
#define SMMU_STRTAB_CFG_SPLIT GENMASK64(10, 6)
#define SMMU_STRTAB_CFG_FMT GENMASK64(17, 16)
enum { SMMU_STRTAB_LINEAR = 0, SMMU_STRTAB_2LVL = 1 };

#define SMMU_QUEUE_ADDR GENMASK64(51, 5)
#define SMMU_QUEUE_LOG2SIZE GENMASK64(4, 0)
#define SMMU_QUEUE_BASE_FIELDS (BIT64(62) | SMMU_QUEUE_ADDR | SMMU_QUEUE_LOG2SIZE)
#define SMMU_CONS_RD GENMASK64(19, 0)
#define SMMU_CONS_ERR GENMASK64(30, 24)
#define SMMU_QUEUE_OVERFLOW BIT64(31)

/* s4.1.3 Command errors */
enum smmu_cerror {
	SMMU_CERROR_NONE = 0,
	SMMU_CERROR_ILL = 1,
	SMMU_CERROR_ABT = 2,
	SMMU_CERROR_ATC_INV_SYNC = 3,
};

/* IDR0 to IDR5, IIDR and AIDR: what the unit offers. */
struct smmu_idr {
	uint32_t idr[6];
	uint32_t iidr, aidr;
};

/* Both pages have registers in their first 256 bytes only. */
enum { SMMU_PAGE_DWORDS = 64, SMMU_DWORDS = 2 * SMMU_PAGE_DWORDS };

/* The register file: viommu/regfile.h. */
struct smmu_regs {
	struct regfile file;
	uint32_t dwords[SMMU_DWORDS];
};

void smmu_regs_init(struct smmu_regs *regs);
static inline void smmu_regs_fini(struct smmu_regs *regs)
{
	regfile_fini(&regs->file);
}

/* Everything to its reset value, the identification to @idr. */
void smmu_regs_reset(struct smmu_regs *regs, const struct smmu_idr *idr);

/* Software's side: access rules apply. The write returns the hooks it hit. */
static inline uint64_t smmu_regs_read(struct smmu_regs *regs, uint64_t offset, unsigned int size)
{
	return regfile_read(&regs->file, offset, size);
}

static inline unsigned int smmu_regs_write(struct smmu_regs *regs, uint64_t offset,
					   unsigned int size, uint64_t value)
{
	return regfile_write(&regs->file, offset, size, value);
}

/* The unit's side: no rules. */
static inline uint64_t smmu_reg_get(struct smmu_regs *regs, enum smmu_reg reg)
{
	return regfile_get(&regs->file, reg);
}

static inline void smmu_reg_set(struct smmu_regs *regs, enum smmu_reg reg, uint64_t value)
{
	regfile_set(&regs->file, reg, value);
}

/* Clears, then sets bits; returns what was there before. */
static inline uint64_t smmu_reg_update(struct smmu_regs *regs, enum smmu_reg reg, uint64_t clear,
				       uint64_t set)
{
	return regfile_update(&regs->file, reg, clear, set);
}

#endif
