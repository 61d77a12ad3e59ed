/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A PCI function of the qtest machine: a simulated device that the machine emulates, its
 * DMA translated by nst_viommu_translate(), or one passed through from a host. Both have
 * configuration space, and BARs where software put them.
 *
 * Of a passed-through one the host's kernel has the real interrupts, and what it sends is an
 * eventfd. Software sees a capability of its own (MSI; one message): while that is enabled, each of
 * them is the message that the capability has then.
 */
#ifndef FRONTEND_QTEST_FUNCTION_H
#define FRONTEND_QTEST_FUNCTION_H

#include "endpoint/endpoint.h"
#include "frontend/emulated_bus.h"

#include <nestor/viommu.h>

/* A device may interrupt faster than anybody looks. */
enum { FUNCTION_NUM_BARS = 6, FUNCTION_MAX_MESSAGES = 255 };

struct qtest_machine;

struct qtest_function {
	struct qtest_machine *machine;
	nst_rid rid;
	struct endpoint *ep; /* emulated, and owned; or NULL */
	struct emulated_bus bus;
	struct nst_device *dev;		       /* passed through, and the caller's; or NULL */
	uint16_t msi_cap;		       /* of @dev: where it is; 0: nowhere */
	int msi_fd;			       /* of @dev: the eventfd while it is enabled, or -1 */
	uint64_t bar_sizes[FUNCTION_NUM_BARS]; /* 0: not there */
	uint64_t bars[FUNCTION_NUM_BARS];      /* where they are; 0: not decoded */
};

/* Takes @ep. */
void function_init_emulated(struct qtest_function *f, struct endpoint *ep);
void function_init_passthrough(struct qtest_function *f, struct nst_device *dev);
void function_fini(struct qtest_function *f);

/* Pass on to the machine what its device has interrupted since; at once. */
void function_take_interrupts(struct qtest_function *f);

/* @size is 1, 2, 4 or 8, @offset a multiple of it. What cannot be read reads as ones. */
uint64_t function_config_read(struct qtest_function *f, uint64_t offset, unsigned int size);
void function_config_write(struct qtest_function *f, uint64_t offset, unsigned int size,
			   uint64_t value);
uint64_t function_bar_read(struct qtest_function *f, unsigned int bar, uint64_t offset,
			   unsigned int size);
void function_bar_write(struct qtest_function *f, unsigned int bar, uint64_t offset,
			unsigned int size, uint64_t value);

#endif
