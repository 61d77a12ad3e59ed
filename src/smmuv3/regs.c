// SPDX-License-Identifier: BSD-3-Clause
/*
 * See regs.h: what viommu/regfile.c needs to know of the pages, made from SMMU_REGISTERS, and
 * which bits are locked when. Of each page only the beginning is kept.
 */
#include "smmuv3/regs.h"

#include "spec/smmu_caps.h"

#define DWORD_AT(offset) ((offset) / SMMU_PAGE1 * SMMU_PAGE_DWORDS + (offset) % SMMU_PAGE1 / 4)

static const struct regfile_reg regs_of_pages[SMMU_NUM_REGS] = {
#define SMMU_REG_DESC(name, offset, size, reset, ...) { DWORD_AT(offset), size, reset },
	SMMU_REGISTERS(SMMU_REG_DESC)
#undef SMMU_REG_DESC
};

/*
 * A row for each dword of a register. A 4-byte register has no upper one: its row goes to
 * the spare place at the end, where all of them override each other.
 */
#define SMMU_LOW_RULE(name, offset, size, reset, rw, lock, hook, section) \
	[DWORD_AT(offset)] = { (uint32_t)(rw), 0, SMMU_HOOK_##hook, SMMU_LOCK_##lock },
#define SMMU_HIGH_RULE(name, offset, size, reset, rw, lock, hook, section)                       \
	[(size) == 8 ? DWORD_AT(offset) + 1 : SMMU_DWORDS] = { (uint32_t)((uint64_t)(rw) >> 32), \
							       0, SMMU_HOOK_##hook,              \
							       SMMU_LOCK_##lock },

#pragma GCC diagnostic push
#if defined(__clang__)
#pragma GCC diagnostic ignored "-Winitializer-overrides"
#else
#pragma GCC diagnostic ignored "-Woverride-init"
#endif
static const struct regfile_rule rules[SMMU_DWORDS + 1] = { SMMU_REGISTERS(
	SMMU_LOW_RULE) SMMU_REGISTERS(SMMU_HIGH_RULE) };
#pragma GCC diagnostic pop

static unsigned int dword_at(uint64_t offset)
{
	if (offset % SMMU_PAGE1 >= 4 * SMMU_PAGE_DWORDS)
		return SMMU_DWORDS;
	return (unsigned int)DWORD_AT(offset);
}

static uint32_t all_if(bool locked)
{
	return locked ? UINT32_MAX : 0;
}

/* Of what is there with the PRI queue alone. */
static uint32_t locked_of_pri(enum smmu_lock lock, uint64_t idr0, uint64_t cr0, uint64_t irqs)
{
	if (!(idr0 & SMMU_IDR0_PRI))
		return UINT32_MAX;
	switch (lock) {
	case SMMU_LOCK_PRIQEN:
		return all_if(cr0 & SMMU_CR0_PRIQEN);
	case SMMU_LOCK_PRIQ_IRQ:
		return all_if(!(idr0 & SMMU_IDR0_MSI) || (irqs & SMMU_IRQ_PRIQ));
	case SMMU_LOCK_PRIQ_IRQ2:
		return irqs & SMMU_IRQ_PRIQ   ? UINT32_MAX
		       : idr0 & SMMU_IDR0_MSI ? 0
					      : (uint32_t)~SMMU_PRIQ_LO;
	default:
		return 0;
	}
}

static uint32_t locked_bits(const struct regfile *file, unsigned int dword, uint32_t value)
{
	const uint64_t cr0 = regfile_peek(file, SMMU_CR0);
	const uint64_t irqs = regfile_peek(file, SMMU_IRQ_CTRL);
	const uint64_t idr0 = regfile_peek(file, SMMU_IDR0);
	uint32_t bits = 0;

	switch ((enum smmu_lock)rules[dword].lock) {
	case SMMU_LOCK_NEVER:
		break;
	case SMMU_LOCK_SMMUEN:
		return all_if(cr0 & SMMU_CR0_SMMUEN);
	case SMMU_LOCK_CMDQEN:
		return all_if(cr0 & SMMU_CR0_CMDQEN);
	case SMMU_LOCK_EVENTQEN:
		return all_if(cr0 & SMMU_CR0_EVENTQEN);
	case SMMU_LOCK_CR0:
		bits |= idr0 & SMMU_IDR0_ATS ? 0 : SMMU_CR0_ATSCHK;
		bits |= idr0 & SMMU_IDR0_PRI ? 0 : SMMU_CR0_PRIQEN;
		break;
	case SMMU_LOCK_CR1:
		if (cr0 & SMMU_CR0_SMMUEN)
			bits |= SMMU_CR1_TABLE;
		if (cr0 & (SMMU_CR0_CMDQEN | SMMU_CR0_EVENTQEN | SMMU_CR0_PRIQEN))
			bits |= SMMU_CR1_QUEUE;
		break;
	case SMMU_LOCK_GBPA:
		return all_if(!(value & SMMU_GBPA_UPDATE));
	case SMMU_LOCK_PRI:
	case SMMU_LOCK_PRIQEN:
	case SMMU_LOCK_PRIQ_IRQ:
	case SMMU_LOCK_PRIQ_IRQ2:
		return locked_of_pri((enum smmu_lock)rules[dword].lock, idr0, cr0, irqs);
	case SMMU_LOCK_IRQ_CTRL:
		return idr0 & SMMU_IDR0_PRI ? 0 : SMMU_IRQ_PRIQ;
	case SMMU_LOCK_GERRORN:
		return idr0 & SMMU_IDR0_PRI ? 0 : SMMU_GERROR_PRIQ_ABT;
	case SMMU_LOCK_GERROR_IRQ:
		return all_if(!(idr0 & SMMU_IDR0_MSI) || (irqs & SMMU_IRQ_GERROR));
	case SMMU_LOCK_EVENTQ_IRQ:
		return all_if(!(idr0 & SMMU_IDR0_MSI) || (irqs & SMMU_IRQ_EVENTQ));
	}
	return bits;
}

static const struct regfile_layout layout = {
	.regs = regs_of_pages,
	.rules = rules,
	.num_regs = SMMU_NUM_REGS,
	.num_dwords = SMMU_DWORDS,
	.bytes = 2 * SMMU_PAGE1,
	.dword_at = dword_at,
	.locked_bits = locked_bits,
};

void smmu_regs_init(struct smmu_regs *regs)
{
	regfile_init(&regs->file, &layout, regs->dwords);
}

void smmu_regs_reset(struct smmu_regs *regs, const struct smmu_idr *idr)
{
	const struct regfile_value own[] = {
		{ SMMU_IDR0, idr->idr[0] }, { SMMU_IDR1, idr->idr[1] }, { SMMU_IDR2, idr->idr[2] },
		{ SMMU_IDR3, idr->idr[3] }, { SMMU_IDR4, idr->idr[4] }, { SMMU_IDR5, idr->idr[5] },
		{ SMMU_IIDR, idr->iidr },   { SMMU_AIDR, idr->aidr },
	};

	regfile_reset(&regs->file, own, ARRAY_SIZE(own));
}
