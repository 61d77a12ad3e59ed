// SPDX-License-Identifier: BSD-3-Clause
/* See regfile.h. Any access software makes is one dword, or two. */
#include "viommu/regfile.h"

void regfile_init(struct regfile *file, const struct regfile_layout *layout, uint32_t *dwords)
{
	file->layout = layout;
	file->dwords = dwords;
	mutex_init(&file->lock);
}

void regfile_fini(struct regfile *file)
{
	mutex_fini(&file->lock);
}

static uint32_t load(const struct regfile *file, size_t dword)
{
	return __atomic_load_n(&file->dwords[dword], __ATOMIC_ACQUIRE);
}

static void store(struct regfile *file, size_t dword, uint32_t value)
{
	__atomic_store_n(&file->dwords[dword], value, __ATOMIC_RELEASE);
}

uint64_t regfile_peek(const struct regfile *file, unsigned int reg)
{
	const struct regfile_reg *r = &file->layout->regs[reg];
	uint64_t low = load(file, r->dword);

	return r->size == 8 ? low | (uint64_t)load(file, r->dword + 1u) << 32 : low;
}

static void set_locked(struct regfile *file, unsigned int reg, uint64_t value) REQUIRES(file->lock)
{
	const struct regfile_reg *r = &file->layout->regs[reg];

	store(file, r->dword, (uint32_t)value);
	if (r->size == 8)
		store(file, r->dword + 1u, (uint32_t)(value >> 32));
}

void regfile_reset(struct regfile *file, const struct regfile_value *own, size_t count)
{
	mutex_lock(&file->lock);
	for (size_t i = 0; i < file->layout->num_dwords; i++)
		store(file, i, 0);
	for (unsigned int i = 0; i < file->layout->num_regs; i++)
		set_locked(file, i, file->layout->regs[i].reset);
	for (size_t i = 0; i < count; i++)
		set_locked(file, own[i].reg, own[i].value);
	mutex_unlock(&file->lock);
}

void regfile_load(struct regfile *file, const uint64_t *values)
{
	mutex_lock(&file->lock);
	for (unsigned int i = 0; i < file->layout->num_regs; i++)
		set_locked(file, i, values[i]);
	mutex_unlock(&file->lock);
}

uint64_t regfile_get(struct regfile *file, unsigned int reg)
{
	uint64_t value;

	mutex_lock(&file->lock);
	value = regfile_peek(file, reg);
	mutex_unlock(&file->lock);
	return value;
}

void regfile_set(struct regfile *file, unsigned int reg, uint64_t value)
{
	mutex_lock(&file->lock);
	set_locked(file, reg, value);
	mutex_unlock(&file->lock);
}

void regfile_publish(struct regfile *file, unsigned int reg, uint32_t low)
{
	store(file, file->layout->regs[reg].dword, low);
}

uint64_t regfile_update(struct regfile *file, unsigned int reg, uint64_t clear, uint64_t set)
{
	uint64_t old;

	mutex_lock(&file->lock);
	old = regfile_peek(file, reg);
	set_locked(file, reg, (old & ~clear) | set);
	mutex_unlock(&file->lock);
	return old;
}

uint64_t regfile_read(struct regfile *file, uint64_t offset, unsigned int size)
{
	const struct regfile_layout *layout = file->layout;
	uint64_t value = 0;

	if (size > 8 || !range_fits(offset, size, layout->bytes))
		return 0;
	mutex_lock(&file->lock);
	for (uint64_t i = 0, at = offset; i < size; i++, at++) {
		unsigned int dword = layout->dword_at(at);

		if (dword < layout->num_dwords)
			value |= (uint64_t)(load(file, dword) >> 8 * (at % 4) & 0xff) << 8 * i;
	}
	mutex_unlock(&file->lock);
	return value;
}

static unsigned int write_dword_locked(struct regfile *file, uint64_t offset, uint32_t value)
	REQUIRES(file->lock)
{
	const struct regfile_layout *layout = file->layout;
	unsigned int dword = layout->dword_at(offset);
	const struct regfile_rule *rule = &layout->rules[dword];
	uint32_t now, writable;

	if (dword >= layout->num_dwords)
		return 0;
	writable = rule->writable;
	if (layout->locked_bits)
		writable &= ~layout->locked_bits(file, dword, value);
	if (writable |
	    rule->write_1_clear) { /* else the unit may be writing it: regfile_publish() */
		now = (load(file, dword) & ~writable) | (value & writable);
		store(file, dword, now & ~(value & rule->write_1_clear));
	}
	return rule->hook;
}

unsigned int regfile_write(struct regfile *file, uint64_t offset, unsigned int size, uint64_t value)
{
	unsigned int hooks;

	if ((size != 4 && size != 8) || !IS_ALIGNED(offset, size) ||
	    !range_fits(offset, size, file->layout->bytes))
		return 0;
	mutex_lock(&file->lock);
	hooks = write_dword_locked(file, offset, (uint32_t)value);
	if (size == 8)
		hooks |= write_dword_locked(file, offset + 4, (uint32_t)(value >> 32));
	mutex_unlock(&file->lock);
	return hooks;
}
