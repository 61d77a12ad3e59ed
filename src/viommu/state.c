// SPDX-License-Identifier: BSD-3-Clause
/* See state.h. The bytes may be anybody's. */
#include "viommu/state.h"

#include "base/alloc.h"
#include "base/bits.h"
#include "base/endian.h"
#include "base/fnv.h"

#include <errno.h>

#define MAGIC 0x4f49565f5254534eULL /* "NSTR_VIO", the first letter in the lowest byte */

uint64_t state_number(struct state_wire *w, uint64_t value, unsigned int size)
{
	if (w->loading && !range_fits(w->at, size, w->size)) {
		w->bad = true;
		return 0;
	}
	if (w->loading)
		value = le_load(w->bytes + w->at, size);
	else if (w->bytes)
		le_store(w->bytes + w->at, size, value);
	w->at += size;
	return value;
}

void state_constant(struct state_wire *w, uint32_t value)
{
	w->bad |= state_number(w, value, sizeof(value)) != value;
}

void state_registers(struct state_wire *w, const struct state_register *table, uint32_t count,
		     uint64_t *values)
{
	state_constant(w, count);
	for (uint32_t i = 0; i < count; i++) {
		state_constant(w, table[i].offset);
		state_constant(w, table[i].size);
		STATE_NUMBER(w, values[i]);
		w->bad |= table[i].size == 4 && values[i] > UINT32_MAX;
	}
}

/* Of the header before its last word, and of what follows it. */
static uint64_t sum_of(const uint8_t *stream, size_t size)
{
	uint64_t sum = fnv1a(FNV1A_START, stream, STATE_HEADER_BYTES - 8);

	return fnv1a(sum, stream + STATE_HEADER_BYTES, size - STATE_HEADER_BYTES);
}

static void seal(const struct state_format *format, uint8_t *stream, size_t size)
{
	le_store(stream, 8, MAGIC);
	le_store(stream + 8, 4, format->version);
	le_store(stream + 12, 4, format->kind);
	le_store(stream + 16, 8, size - STATE_HEADER_BYTES);
	le_store(stream + 24, 8, sum_of(stream, size));
}

static int check_header(const struct state_format *format, const uint8_t *stream, size_t size,
			const char **why)
{
	*why = "not the state of a vIOMMU";
	if (size < STATE_HEADER_BYTES || le_load(stream, 8) != MAGIC)
		return -EINVAL;
	*why = "of a version that is not known here";
	if (le_load(stream + 8, 4) != format->version)
		return -EPROTONOSUPPORT;
	*why = "of another kind of vIOMMU";
	if (le_load(stream + 12, 4) != format->kind)
		return -EOPNOTSUPP;
	*why = "cut or too long";
	if (le_load(stream + 16, 8) != size - STATE_HEADER_BYTES)
		return -EINVAL;
	*why = "damaged";
	return le_load(stream + 24, 8) == sum_of(stream, size) ? 0 : -EINVAL;
}

int state_write(const struct state_format *format, void *image, void **data, size_t *size)
{
	struct state_wire w = { .at = STATE_HEADER_BYTES };
	int ret = format->transfer(&w, image);

	if (ret)
		return ret;
	w.bytes = alloc_array(1, w.at);
	if (!w.bytes)
		return -ENOMEM;
	*size = w.at;
	w.at = STATE_HEADER_BYTES;
	ret = format->transfer(&w, image);
	seal(format, w.bytes, *size);
	*data = w.bytes;
	return ret;
}

int state_read(const struct state_format *format, const void *stream, size_t size, void *image,
	       const char **why)
{
	struct state_wire w = { true, (uint8_t *)stream, STATE_HEADER_BYTES, size, false };
	int ret = check_header(format, stream, size, why);

	if (ret)
		return ret;
	*why = "no memory for it";
	ret = format->transfer(&w, image);
	if (ret)
		return ret;
	*why = "of a unit with other registers, or made up";
	return w.bad || w.at != w.size ? -EINVAL : 0;
}
