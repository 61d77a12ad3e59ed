/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Streams of saved state, docs/state.md: what is the same for every kind of unit.
 *
 * A unit says once what its bytes are, in state_format.transfer(), which counts, writes and reads
 * them. Here are the header, its sum and its version, and the pieces that such a function is made
 * of.
 */
#ifndef VIOMMU_STATE_H
#define VIOMMU_STATE_H

#include "viommu/viommu.h"

#include <stdbool.h>

enum { STATE_HEADER_BYTES = 32 };

struct state_wire {
	bool loading;
	uint8_t *bytes; /* only read from when loading; NULL to count */
	size_t at, size;
	bool bad;
};

/* @value, in @size bytes; returns what it is now. */
uint64_t state_number(struct state_wire *w, uint64_t value, unsigned int size);
/* A variable of any integer type, in as many bytes as it has. */
#define STATE_NUMBER(w, x) ((x) = (__typeof__(x))state_number(w, (uint64_t)(x), sizeof(x)))
/* A number that is the same in every stream that this code can read. */
void state_constant(struct state_wire *w, uint32_t value);

/* A row for each register, of the unit's X-macro. */
struct state_register {
	uint32_t offset, size;
	uint64_t reset, software; /* the bits that software may change */
};
/* Their number, and offset, size and value of each. */
void state_registers(struct state_wire *w, const struct state_register *table, uint32_t count,
		     uint64_t *values);

struct state_format {
	enum viommu_kind kind;
	uint32_t version;
	/* Returns -ENOMEM, or 0 and in w->bad whether the bytes fit. */
	int (*transfer)(struct state_wire *w, void *image);
};

/* -ENOMEM. *@data is the caller's to free. */
NST_MUST_CHECK int state_write(const struct state_format *format, void *image, void **data,
			       size_t *size);

/*
 * All of @stream to @image, or why not. On success *@why is what to say of a state that no unit can
 * be in. Errors: -EINVAL, -EPROTONOSUPPORT another version, -EOPNOTSUPP another kind, -ENOMEM.
 */
NST_MUST_CHECK int state_read(const struct state_format *format, const void *stream, size_t size,
			      void *image, const char **why);

#endif
