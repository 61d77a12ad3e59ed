/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A simulated PCI function: configuration space, BARs, DMA and interrupts.
 *
 * An endpoint knows nothing of IOMMUs, VFIO or guests. It sits on a bus that the
 * software host provides: whatever memory it touches, it touches through
 * endpoint_dma(), which the host translates; whatever it signals goes through
 * endpoint_interrupt(). Register accesses come from the host, one at a time per
 * endpoint (the host's device lock). Slow work is done in ops->run(), on the
 * host's device thread, after endpoint_kick(); run() takes no device lock, so an
 * endpoint guards what registers and run() share with a lock of its own.
 */
#ifndef ENDPOINT_ENDPOINT_H
#define ENDPOINT_ENDPOINT_H

#include "endpoint/pci_config.h"

#include <nestor/log.h>
#include <nestor/types.h>
#include <stdbool.h>

struct endpoint;

/* One DMA request. @pasid is NST_NO_PASID for a request without a PASID prefix. */
struct endpoint_dma_request {
	nst_iova iova;
	uint32_t pasid;
	bool write; /* the device writes memory */
	void *buf;
	size_t size;
};

/* What the software host gives an endpoint. Embedded in the host's own device object. */
struct endpoint_bus {
	const struct endpoint_bus_ops *ops;
};

struct endpoint_bus_ops {
	/* 0; -EFAULT: a translation fault or an address that is not there. Any thread. Part of
	 * the buffer may have been transferred before a fault, as on a real bus. */
	int (*dma)(struct endpoint_bus *bus, const struct endpoint_dma_request *req);
	/* Raise MSI or MSI-X vector @vector, whichever the driver enabled. Any thread. */
	void (*interrupt)(struct endpoint_bus *bus, unsigned int vector);
	/* Have ops->run() called soon on the device thread. Never blocks. Any thread. */
	void (*kick)(struct endpoint_bus *bus);
};

struct endpoint_ops {
	const char *model; /* "nvme" */
	/* @size is 1, 2, 4 or 8, @offset + @size is inside the BAR; not always aligned. */
	uint64_t (*bar_read)(struct endpoint *ep, unsigned int bar, uint64_t offset,
			     unsigned int size);
	void (*bar_write)(struct endpoint *ep, unsigned int bar, uint64_t offset, unsigned int size,
			  uint64_t value);
	void (*run)(struct endpoint *ep);
	/* Conventional or function-level reset: back to power-on; no DMA after it returns. Resets
	 * the configuration space too: who must keep it (VFIO's reset) saves and restores it. */
	void (*reset)(struct endpoint *ep);
	void (*destroy)(struct endpoint *ep);
};

struct endpoint {
	const struct endpoint_ops *ops;
	struct endpoint_bus *bus; /* set by the host before the first access */
	struct pci_config config;
	uint64_t bar_sizes[6]; /* 0 = not there; of a 64-bit BAR the upper half is 0 */
	const struct nst_log *log;
};

/*
 * Make an endpoint from its description, "nvme,file=disk.img[,key=value...]".
 * On failure *@err_text is one sentence for the user, to be freed, or NULL if
 * there was no memory for it.
 * Errors: -EINVAL unknown model or key, -ENOENT/-EACCES/-EROFS/... of the file, -ENOMEM.
 */
NST_MUST_CHECK int endpoint_create(const char *description, const struct nst_log *log,
				   struct endpoint **out, char **err_text);
void endpoint_destroy(struct endpoint *ep);

/* DMA is refused with -EIO while the driver keeps Bus Master Enable off. */
NST_MUST_CHECK int endpoint_dma(struct endpoint *ep, const struct endpoint_dma_request *req);

static inline void endpoint_interrupt(struct endpoint *ep, unsigned int vector)
{
	ep->bus->ops->interrupt(ep->bus, vector);
}

static inline void endpoint_kick(struct endpoint *ep)
{
	ep->bus->ops->kick(ep->bus);
}

#endif
