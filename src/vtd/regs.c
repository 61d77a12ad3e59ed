// SPDX-License-Identifier: BSD-3-Clause
/* See regs.h: what viommu/regfile.c needs to know of the page, made from VTD_REGISTERS. */
#include "vtd/regs.h"

static const struct regfile_reg regs_of_page[VTD_NUM_REGS] = {
#define VTD_REG_DESC(name, offset, size, reset, rw, w1c, hook, section) \
	{ (offset) / 4, size, reset },
	VTD_REGISTERS(VTD_REG_DESC)
#undef VTD_REG_DESC
};

/*
 * A row for each dword of a register. A 4-byte register has no upper one: its row goes to
 * the spare place at the end, where all of them override each other.
 */
#define VTD_LOW_RULE(name, offset, size, reset, rw, w1c, hook, section) \
	[(offset) / 4] = { (uint32_t)(rw), (uint32_t)(w1c), VTD_HOOK_##hook, 0 },
#define VTD_HIGH_RULE(name, offset, size, reset, rw, w1c, hook, section)                          \
	[(size) == 8 ? (offset) / 4 + 1 : VTD_MMIO_DWORDS] = { (uint32_t)((uint64_t)(rw) >> 32),  \
							       (uint32_t)((uint64_t)(w1c) >> 32), \
							       VTD_HOOK_##hook, 0 },

#pragma GCC diagnostic push
#if defined(__clang__)
#pragma GCC diagnostic ignored "-Winitializer-overrides"
#else
#pragma GCC diagnostic ignored "-Woverride-init"
#endif
static const struct regfile_rule rules[VTD_MMIO_DWORDS + 1] = { VTD_REGISTERS(
	VTD_LOW_RULE) VTD_REGISTERS(VTD_HIGH_RULE) };
#pragma GCC diagnostic pop

static unsigned int dword_at(uint64_t offset)
{
	return (unsigned int)(offset / 4);
}

static const struct regfile_layout layout = {
	.regs = regs_of_page,
	.rules = rules,
	.num_regs = VTD_NUM_REGS,
	.num_dwords = VTD_MMIO_DWORDS,
	.bytes = 4 * VTD_MMIO_DWORDS,
	.dword_at = dword_at,
};

void vtd_regs_init(struct vtd_regs *regs)
{
	regfile_init(&regs->file, &layout, regs->dwords);
}

void vtd_regs_reset(struct vtd_regs *regs, uint64_t cap, uint64_t ecap)
{
	const struct regfile_value own[] = { { VTD_CAP, cap }, { VTD_ECAP, ecap } };

	regfile_reset(&regs->file, own, ARRAY_SIZE(own));
}
