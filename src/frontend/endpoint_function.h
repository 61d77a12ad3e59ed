/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A simulated device as a PCI function over vfio-user, emulated: its configuration space, registers
 * and interrupts are the endpoint's, and its DMA goes through the unit that it is behind
 * (emulated_bus.h). No host takes part. Its work is done on a thread of its own.
 *
 * MSI-X is taken out of its capabilities, as of passed-through devices: see docs/design.md.
 */
#ifndef FRONTEND_ENDPOINT_FUNCTION_H
#define FRONTEND_ENDPOINT_FUNCTION_H

#include "endpoint/endpoint.h"

#include <nestor/vfio_user.h>
#include <nestor/viommu.h>
#include <nestor/vm.h>

struct endpoint_function;

/* @viommu, @rid: the unit, and the requester id behind it. @vm: whose memory DMA goes to. */
struct endpoint_function_config {
	struct nst_viommu *viommu;
	nst_rid rid;
	struct nst_vm *vm;
	const char *socket_path;
	const struct nst_log *log;
};

/*
 * Takes @ep, on failure too. Errors: -ENOMEM, or those of nst_viommu_notify() and nst_vfu_create().
 */
NST_MUST_CHECK int endpoint_function_create(const struct endpoint_function_config *config,
					    struct endpoint *ep, struct endpoint_function **out);
/* Before its unit is. May be NULL. */
void endpoint_function_destroy(struct endpoint_function *f);
struct nst_vfu *endpoint_function_vfu(struct endpoint_function *f);

/* Bytes of memory that the device has read and written. */
void endpoint_function_count(const struct endpoint_function *f, uint64_t *bytes_read,
			     uint64_t *bytes_written);

#endif
