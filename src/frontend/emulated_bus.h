/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bus of a device that a front end emulates: memory is reached through the unit the device
 * is behind (nst_viommu_translate()), translations and pages are asked of it.
 *
 *	endpoint --dma--> translate, copy		<--invalidate()-- unit
 *		 --translate--> ATS request		<--device_tlb()--
 *		 --page_request--> collected, a group	<--page_response()--
 *
 * A device has a thread, so an address may become invalid between its translation and the copy.
 * What was translated before the last invalidate() is therefore translated again, and
 * invalidate() waits for the copy under way: when the guest sees its invalidation complete,
 * no access by an old translation is still to come.
 *
 * Lock order: locks of the endpoint -> emulated_bus.lock, a leaf.
 */
#ifndef FRONTEND_EMULATED_BUS_H
#define FRONTEND_EMULATED_BUS_H

#include "base/lock.h"
#include "endpoint/endpoint.h"

#include <nestor/vm.h>
#include <nestor/viommu.h>

#include <stdatomic.h>

/*
 * What is beyond the bus. @message: a write to the interrupt address range, of the device's
 * making. @interrupt, @kick: as in endpoint_bus_ops. Any thread, the unit's lock not held, locks
 * of the endpoint perhaps.
 */
struct emulated_bus_ops {
	void (*message)(void *opaque, uint64_t address, uint32_t data);
	void (*interrupt)(void *opaque, unsigned int vector);
	void (*kick)(void *opaque);
};

struct emulated_group;

struct emulated_bus {
	struct endpoint_bus bus;
	struct endpoint *ep;
	struct nst_viommu *viommu;
	struct nst_mem *mem;
	nst_rid rid;
	const struct emulated_bus_ops *ops;
	void *opaque;
	struct nst_notifier *notifier; /* NULL: no ATS, no page requests, no other threads */
	_Atomic uint64_t bytes_read, bytes_written;
	struct mutex lock; /* protects the rest */
	uint64_t invalidations GUARDED_BY(lock);
	struct emulated_group *groups GUARDED_BY(lock); /* of page requests, not yet whole */
};

/* @ep is put on the bus; it stays the caller's. */
void emulated_bus_init(struct emulated_bus *b, struct endpoint *ep, struct nst_viommu *viommu,
		       struct nst_mem *mem, nst_rid rid, const struct emulated_bus_ops *ops,
		       void *opaque);
/* Hear of invalidations, and so be able to do all that is said above. As nst_viommu_notify(). */
NST_MUST_CHECK int emulated_bus_listen(struct emulated_bus *b);
/* The endpoint's thread has ended. */
void emulated_bus_fini(struct emulated_bus *b);

#endif
