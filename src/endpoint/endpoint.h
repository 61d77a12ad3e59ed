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
 *
 * In run() alone, endpoint_dma() may wait for software, as long as that likes: an IOMMU may
 * stall an access that faults. Who waits for run() to end says so: endpoint_may_wait().
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
	bool write;	 /* the device writes memory */
	bool privileged; /* Privileged Mode Requested; needs a PASID */
	/*
	 * AT = translated: @iova is what a translation reply said. @untranslated is the address
	 * that was asked for then, with this @pasid and @privileged: no bus carries it, the
	 * IOMMU sanitizer compares.
	 */
	bool translated;
	nst_iova untranslated;
	void *buf;
	size_t size;
};

/* The Global Invalidate flag of an ATS Invalidate Request: whatever the PASID. */
#define ENDPOINT_EVERY_PASID (NST_NO_PASID - 1)

/* PCIe 6.0 s10.2 ATS Translation Services: a request for one page, and its completion. */
struct endpoint_ats_request {
	nst_iova iova;
	uint32_t pasid;
	bool write; /* the No Write flag is off */
	bool privileged;
};

struct endpoint_ats_reply {
	nst_iova translated; /* of the first byte of the page that @iova is in */
	uint64_t size;	     /* of the page, bytes, a power of two >= 4096 */
	bool read, write;    /* neither: the device may ask for the page (PRI) */
};

/* PCIe 6.0 s10.4.1 Page Request Message. Group indices have 9 bits. */
struct endpoint_page_request {
	nst_iova iova; /* of the page */
	uint32_t pasid;
	unsigned int group;
	bool read, write, execute, privileged;
	bool last; /* of its group */
};

/* PCIe 6.0 s10.4.2 PRG Response Message. */
enum endpoint_page_response_code {
	ENDPOINT_PAGE_SUCCESS = 0,
	ENDPOINT_PAGE_INVALID = 1,
	ENDPOINT_PAGE_FAILURE = 15,
};

struct endpoint_page_response {
	uint32_t pasid;
	unsigned int group;
	enum endpoint_page_response_code code;
};

/* What the software host gives an endpoint. Embedded in the host's own device object. */
struct endpoint_bus {
	const struct endpoint_bus_ops *ops;
};

struct endpoint_bus_ops {
	/* 0; -EFAULT: a translation fault or an address that is not there. Any thread. Part of
	 * the buffer may have been transferred before a fault, as on a real bus. */
	int (*dma)(struct endpoint_bus *bus, const struct endpoint_dma_request *req);
	/* 0, or -EFAULT: the translation agent refuses the device. Any thread. The device may
	 * hold a lock over it that ats_invalidate() takes. */
	int (*translate)(struct endpoint_bus *bus, const struct endpoint_ats_request *req,
			 struct endpoint_ats_reply *reply);
	/* May DMA wait for software? It may at first; with false what waits is refused, and nothing
	 * waits until true. Any thread, under locks of the device. NULL: it never does. */
	void (*may_wait)(struct endpoint_bus *bus, bool may);
	/* The answer comes to ops->page_response(), perhaps before this returns. Any thread; no
	 * lock of the device is held. */
	void (*page_request)(struct endpoint_bus *bus, const struct endpoint_page_request *req);
	/* Raise MSI or MSI-X vector @vector, whichever the driver enabled. Any thread. */
	void (*interrupt)(struct endpoint_bus *bus, unsigned int vector);
	/* Have ops->run() called soon on the device thread. Never blocks. Any thread. */
	void (*kick)(struct endpoint_bus *bus);
};

#define ENDPOINT_IDENTITY_BYTES 128

/*
 * For endpoints that can move to another host in the middle of their work. All calls come
 * with the host's device lock held.
 *
 *	running --suspend--> suspended --save--> (its bytes) --load--> another, suspended
 *--resume-->
 */
struct endpoint_migration_ops {
	/* Finish what is under way; no DMA and no interrupt until resume() or a reset. */
	void (*suspend)(struct endpoint *ep);
	/* -EBUSY: somebody else has what save() gave up; the endpoint stays suspended. */
	int (*resume)(struct endpoint *ep);
	/* A line of text that has to be the same at both ends. */
	void (*identity)(struct endpoint *ep, char out[ENDPOINT_IDENTITY_BYTES]);
	/* How much save() writes and load() reads: the same for endpoints of equal identity. */
	size_t (*state_size)(const struct endpoint *ep);
	/* Of a suspended endpoint, which gives up what it shares with its copy (a file's lock). */
	int (*save)(struct endpoint *ep, uint8_t *out);
	/* Into a suspended endpoint: -EINVAL, and nothing has changed, if it is no valid state. */
	int (*load)(struct endpoint *ep, const uint8_t *in);
};

struct endpoint_ops {
	const char *model;				/* "nvme" */
	const struct endpoint_migration_ops *migration; /* NULL: cannot */
	/* @size is 1, 2, 4 or 8, @offset + @size is inside the BAR; not always aligned. */
	uint64_t (*bar_read)(struct endpoint *ep, unsigned int bar, uint64_t offset,
			     unsigned int size);
	void (*bar_write)(struct endpoint *ep, unsigned int bar, uint64_t offset, unsigned int size,
			  uint64_t value);
	void (*run)(struct endpoint *ep); /* NULL if it is never needed */
	/*
	 * An ATS Invalidate Request: forget what was translated for @pasid (NST_NO_PASID: for
	 * requests without one; or ENDPOINT_EVERY_PASID) in [iova, last], and come back when no
	 * request that used it is on its way. Any thread, under locks of the host, so it must
	 * neither start DMA nor call the bus; but the endpoint may hold the lock it needs over
	 * translate() and dma(). NULL if the device has no ATS capability.
	 */
	void (*ats_invalidate)(struct endpoint *ep, uint32_t pasid, nst_iova iova, nst_iova last);
	/* The answer to a group of page requests. Any thread, under locks of the host, even inside
	 * page_request(); of the bus it calls kick() alone. NULL: no PRI. */
	void (*page_response)(struct endpoint *ep, const struct endpoint_page_response *resp);
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

/*
 * Ask for a translation (-EIO while ATS or Bus Master Enable is off) or for a page. Hosts whose
 * bus has neither operation leave ATS and page requests disabled.
 */
NST_MUST_CHECK int endpoint_translate(struct endpoint *ep, const struct endpoint_ats_request *req,
				      struct endpoint_ats_reply *reply);

/* Around waiting for run() to end: false, then true. */
static inline void endpoint_may_wait(struct endpoint *ep, bool may)
{
	if (ep->bus && ep->bus->ops->may_wait)
		ep->bus->ops->may_wait(ep->bus, may);
}

static inline void endpoint_page_request(struct endpoint *ep,
					 const struct endpoint_page_request *req)
{
	ep->bus->ops->page_request(ep->bus, req);
}

static inline void endpoint_interrupt(struct endpoint *ep, unsigned int vector)
{
	ep->bus->ops->interrupt(ep->bus, vector);
}

static inline void endpoint_kick(struct endpoint *ep)
{
	ep->bus->ops->kick(ep->bus);
}

#endif
