// SPDX-License-Identifier: BSD-3-Clause
/*
 * See regs.h. Values are kept as the dwords of the page, so any access software makes
 * is one or two of them; the masks are looked up per dword in a table that is built,
 * at compile time, from VTD_REGISTERS.
 */
#include "vtd/regs.h"

#include <string.h>

struct reg_desc {
	uint16_t offset;
	uint8_t size;
	uint64_t reset;
};

static const struct reg_desc descs[VTD_NUM_REGS] = {
#define VTD_REG_DESC(name, offset, size, reset, rw, w1c, hook, section) { offset, size, reset },
	VTD_REGISTERS(VTD_REG_DESC)
#undef VTD_REG_DESC
};

struct dword_rule {
	uint32_t writable, write_1_clear;
	uint16_t hook;
};

/*
 * A row for each dword of a register. A 4-byte register has no upper one: its row goes to
 * the spare place at the end, where all of them override each other.
 */
#define VTD_LOW_RULE(name, offset, size, reset, rw, w1c, hook, section) \
	[(offset) / 4] = { (uint32_t)(rw), (uint32_t)(w1c), VTD_HOOK_##hook },
#define VTD_HIGH_RULE(name, offset, size, reset, rw, w1c, hook, section)                          \
	[(size) == 8 ? (offset) / 4 + 1 : VTD_MMIO_DWORDS] = { (uint32_t)((uint64_t)(rw) >> 32),  \
							       (uint32_t)((uint64_t)(w1c) >> 32), \
							       VTD_HOOK_##hook },

#pragma GCC diagnostic push
#if defined(__clang__)
#pragma GCC diagnostic ignored "-Winitializer-overrides"
#else
#pragma GCC diagnostic ignored "-Woverride-init"
#endif
static const struct dword_rule rules[VTD_MMIO_DWORDS + 1] = { VTD_REGISTERS(
	VTD_LOW_RULE) VTD_REGISTERS(VTD_HIGH_RULE) };
#pragma GCC diagnostic pop

void vtd_regs_init(struct vtd_regs *regs)
{
	mutex_init(&regs->lock);
}

void vtd_regs_fini(struct vtd_regs *regs)
{
	mutex_fini(&regs->lock);
}

static uint64_t get_locked(const struct vtd_regs *regs, enum vtd_reg reg) REQUIRES(regs->lock)
{
	const uint32_t *dw = &regs->dwords[descs[reg].offset / 4];

	return descs[reg].size == 8 ? dw[0] | (uint64_t)dw[1] << 32 : dw[0];
}

static void set_locked(struct vtd_regs *regs, enum vtd_reg reg, uint64_t value) REQUIRES(regs->lock)
{
	uint32_t *dw = &regs->dwords[descs[reg].offset / 4];

	dw[0] = (uint32_t)value;
	if (descs[reg].size == 8)
		dw[1] = (uint32_t)(value >> 32);
}

void vtd_regs_reset(struct vtd_regs *regs, uint64_t cap, uint64_t ecap)
{
	mutex_lock(&regs->lock);
	memset(regs->dwords, 0, sizeof(regs->dwords));
	for (unsigned int i = 0; i < VTD_NUM_REGS; i++)
		set_locked(regs, i, descs[i].reset);
	set_locked(regs, VTD_CAP, cap);
	set_locked(regs, VTD_ECAP, ecap);
	mutex_unlock(&regs->lock);
}

void vtd_regs_load(struct vtd_regs *regs, const uint64_t values[VTD_NUM_REGS])
{
	mutex_lock(&regs->lock);
	for (unsigned int i = 0; i < VTD_NUM_REGS; i++)
		set_locked(regs, i, values[i]);
	mutex_unlock(&regs->lock);
}

uint64_t vtd_reg_get(struct vtd_regs *regs, enum vtd_reg reg)
{
	uint64_t value;

	mutex_lock(&regs->lock);
	value = get_locked(regs, reg);
	mutex_unlock(&regs->lock);
	return value;
}

void vtd_reg_set(struct vtd_regs *regs, enum vtd_reg reg, uint64_t value)
{
	mutex_lock(&regs->lock);
	set_locked(regs, reg, value);
	mutex_unlock(&regs->lock);
}

uint64_t vtd_reg_update(struct vtd_regs *regs, enum vtd_reg reg, uint64_t clear, uint64_t set)
{
	uint64_t old;

	mutex_lock(&regs->lock);
	old = get_locked(regs, reg);
	set_locked(regs, reg, (old & ~clear) | set);
	mutex_unlock(&regs->lock);
	return old;
}

uint64_t vtd_regs_read(struct vtd_regs *regs, uint64_t offset, unsigned int size)
{
	uint64_t value = 0;

	if (size > 8 || !range_fits(offset, size, 4 * VTD_MMIO_DWORDS))
		return 0;
	mutex_lock(&regs->lock);
	for (uint64_t i = 0, at = offset; i < size; i++, at++)
		value |= (uint64_t)(regs->dwords[at / 4] >> 8 * (at % 4) & 0xff) << 8 * i;
	mutex_unlock(&regs->lock);
	return value;
}

static unsigned int write_dword_locked(struct vtd_regs *regs, uint64_t index, uint32_t value)
	REQUIRES(regs->lock)
{
	const struct dword_rule *rule = &rules[index];
	uint32_t now = regs->dwords[index];

	now = (now & ~rule->writable) | (value & rule->writable);
	regs->dwords[index] = now & ~(value & rule->write_1_clear);
	return rule->hook;
}

unsigned int vtd_regs_write(struct vtd_regs *regs, uint64_t offset, unsigned int size,
			    uint64_t value)
{
	unsigned int hooks;

	if ((size != 4 && size != 8) || !IS_ALIGNED(offset, size) ||
	    !range_fits(offset, size, 4 * VTD_MMIO_DWORDS))
		return VTD_HOOK_NONE;
	mutex_lock(&regs->lock);
	hooks = write_dword_locked(regs, offset / 4, (uint32_t)value);
	if (size == 8)
		hooks |= write_dword_locked(regs, offset / 4 + 1, (uint32_t)(value >> 32));
	mutex_unlock(&regs->lock);
	return hooks;
}
