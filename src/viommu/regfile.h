/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The register file of a unit: values kept as dwords, and for each dword what software may do
 * to it. A unit has one table of its registers, an X-macro, and makes from it, at compile time,
 * the rows of regs and rules below.
 *
 * The lock is held for a few instructions only, and nothing is called with it held, so a
 * read never waits for a command. A queue moves its head without it: regfile_publish().
 */
#ifndef VIOMMU_REGFILE_H
#define VIOMMU_REGFILE_H

#include "base/bits.h"
#include "base/lock.h"

struct regfile;

struct regfile_reg {
	uint16_t dword; /* the first one of it */
	uint8_t size;	/* 4 or 8 bytes */
	uint64_t reset;
};

struct regfile_rule {
	uint32_t writable, write_1_clear;
	uint16_t hook; /* what a write sets off: bits of the unit's */
	uint8_t lock;  /* the unit's, for locked_bits() */
};

/*
 * The rules have a row more than there are dwords: an X-macro puts the upper halves that
 * 4-byte registers do not have there.
 */
struct regfile_layout {
	const struct regfile_reg *regs;
	const struct regfile_rule *rules;
	unsigned int num_regs, num_dwords;
	uint64_t bytes; /* of the pages */
	/* Where the dword at @offset is kept; num_dwords: nowhere, it reads as 0. */
	unsigned int (*dword_at)(uint64_t offset);
	/* The bits of a dword that a write of @value may not change now; NULL: all may. */
	uint32_t (*locked_bits)(const struct regfile *file, unsigned int dword, uint32_t value);
};

struct regfile {
	const struct regfile_layout *layout;
	struct mutex lock; /* protects dwords, which are atomic; inside the unit's cmd_lock */
	uint32_t *dwords;
};

void regfile_init(struct regfile *file, const struct regfile_layout *layout, uint32_t *dwords);
void regfile_fini(struct regfile *file);

/* What a unit decides itself of a register. */
struct regfile_value {
	unsigned int reg;
	uint64_t value;
};

/* Everything at once to its reset value, but @count of them to @own. */
void regfile_reset(struct regfile *file, const struct regfile_value *own, size_t count);
/* Everything at once, to what regfile_get() gave of each. */
void regfile_load(struct regfile *file, const uint64_t *values);

/* Software's side: access rules apply. The write returns the hooks it hit. */
uint64_t regfile_read(struct regfile *file, uint64_t offset, unsigned int size);
unsigned int regfile_write(struct regfile *file, uint64_t offset, unsigned int size,
			   uint64_t value);

/* The unit's side: no rules. */
uint64_t regfile_get(struct regfile *file, unsigned int reg);
void regfile_set(struct regfile *file, unsigned int reg, uint64_t value);
/*
 * A register of which software may write nothing, and the unit only this dword: no lock. All
 * that was written to memory before is there for who reads it.
 */
void regfile_publish(struct regfile *file, unsigned int reg, uint32_t low);
/* Clears, then sets bits; returns what was there before. */
uint64_t regfile_update(struct regfile *file, unsigned int reg, uint64_t clear, uint64_t set);

/* With the lock held already: for locked_bits(). */
uint64_t regfile_peek(const struct regfile *file, unsigned int reg);

#endif
