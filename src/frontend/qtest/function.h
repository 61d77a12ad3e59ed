/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A PCI function of the qtest machine: a simulated device that the machine emulates, its
 * DMA translated by nst_viommu_translate(), or one passed through from a host. Both have
 * configuration space, and BARs where software put them.
 */
#ifndef FRONTEND_QTEST_FUNCTION_H
#define FRONTEND_QTEST_FUNCTION_H

#include "endpoint/endpoint.h"

#include <nestor/viommu.h>

enum { FUNCTION_NUM_BARS = 6 };

struct qtest_machine;

struct qtest_function {
	struct qtest_machine *machine;
	nst_rid rid;
	struct endpoint *ep; /* emulated, and owned; or NULL */
	struct endpoint_bus bus;
	struct nst_device *dev;		       /* passed through, and the caller's; or NULL */
	uint64_t bar_sizes[FUNCTION_NUM_BARS]; /* 0: not there */
	uint64_t bars[FUNCTION_NUM_BARS];      /* where they are; 0: not decoded */
};

/* Takes @ep. */
void function_init_emulated(struct qtest_function *f, struct endpoint *ep);
void function_init_passthrough(struct qtest_function *f, struct nst_device *dev);
void function_fini(struct qtest_function *f);

/* @size is 1, 2, 4 or 8, @offset a multiple of it. What cannot be read reads as ones. */
uint64_t function_config_read(struct qtest_function *f, uint64_t offset, unsigned int size);
void function_config_write(struct qtest_function *f, uint64_t offset, unsigned int size,
			   uint64_t value);
uint64_t function_bar_read(struct qtest_function *f, unsigned int bar, uint64_t offset,
			   unsigned int size);
void function_bar_write(struct qtest_function *f, unsigned int bar, uint64_t offset,
			unsigned int size, uint64_t value);

#endif
