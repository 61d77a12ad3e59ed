/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Save and restore of the qtest machine: what machine.c lends state.c of itself.
 */
#ifndef FRONTEND_QTEST_MACHINE_STATE_H
#define FRONTEND_QTEST_MACHINE_STATE_H

#include "frontend/qtest/function.h"

struct machine_parts {
	struct nst_viommu *viommu;
	uint8_t *memory;
	uint64_t memory_size; /* whole pages */
	struct qtest_function *functions;
	unsigned int num_functions;
	uint32_t *config_address;
	uint32_t *interrupts; /* a page */
};

/* See machine_save(), machine_restore(). */
NST_MUST_CHECK int machine_parts_save(const struct machine_parts *m, void **data, size_t *size);
NST_MUST_CHECK int machine_parts_restore(const struct machine_parts *m, const void *data,
					 size_t size);

#endif
