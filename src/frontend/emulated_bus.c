// SPDX-License-Identifier: BSD-3-Clause
/* See emulated_bus.h. */
#include "frontend/emulated_bus.h"

#include "base/alloc.h"
#include "base/bits.h"
#include "base/endian.h"
#include "base/mem.h"

#include <errno.h>

/* PCIe 6.0 s10.4.1: of one group, as nst_notifier_page_request() takes them. */
enum { GROUP_PAGES = 512 };

struct emulated_group {
	struct emulated_group *next;
	unsigned int index;
	size_t count; /* may be more than there is room for */
	struct nst_page pages[GROUP_PAGES];
};

static struct emulated_bus *to_emulated(struct endpoint_bus *bus)
{
	return container_of(bus, struct emulated_bus, bus);
}

/* --- DMA ------------------------------------------------------------------------------------ */

static uint64_t invalidations(struct emulated_bus *b)
{
	uint64_t n;

	mutex_lock(&b->lock);
	n = b->invalidations;
	mutex_unlock(&b->lock);
	return n;
}

/* -EAGAIN: what @to says may be no longer so. */
static int copy(struct emulated_bus *b, const struct nst_translation *to, bool write, void *buf,
		size_t size, uint64_t since)
{
	int ret = -EAGAIN;

	mutex_lock(&b->lock);
	if (b->invalidations == since)
		ret = write ? nst_mem_write(b->mem, to->gpa, buf, size)
			    : nst_mem_read(b->mem, to->gpa, buf, size);
	mutex_unlock(&b->lock);
	if (!ret)
		atomic_fetch_add_explicit(write ? &b->bytes_written : &b->bytes_read, size,
					  memory_order_relaxed);
	return ret;
}

/* As many bytes as one translation covers: how many, or a negative errno. */
static ssize_t dma_piece(struct emulated_bus *b, const struct endpoint_dma_request *req,
			 size_t done)
{
	const struct nst_translate_request tr = {
		.rid = b->rid,
		.pasid = req->pasid,
		.iova = { req->iova.v + done },
		.write = req->write,
		.privileged = req->privileged,
		.translated = req->translated,
	};
	uint8_t *buf = (uint8_t *)req->buf + done;
	uint64_t since = invalidations(b);
	struct nst_translation to;
	size_t size;
	int ret = nst_viommu_translate(b->viommu, &tr, &to);

	if (ret)
		return ret;
	size = MIN(req->size - done, to.size);
	if (to.interrupt) {
		if (req->size != sizeof(uint32_t))
			return -EFAULT;
		b->ops->message(b->opaque, to.gpa.v, (uint32_t)le_load(buf, 4));
		return (ssize_t)size;
	}
	ret = copy(b, &to, req->write, buf, size, since);
	return ret ? ret : (ssize_t)size;
}

static int bus_dma(struct endpoint_bus *bus, const struct endpoint_dma_request *req)
{
	struct emulated_bus *b = to_emulated(bus);
	size_t done = 0;

	if (range_overflows(req->iova.v, req->size))
		return -EFAULT;
	while (done < req->size) {
		ssize_t n = dma_piece(b, req, done);

		if (n == -EAGAIN)
			continue;
		if (n < 0)
			return -EFAULT;
		done += (size_t)n;
	}
	return 0;
}

static void invalidate(void *opaque, const struct nst_invalidation *invalidation)
{
	struct emulated_bus *b = opaque;

	mutex_lock(&b->lock);
	b->invalidations++;
	mutex_unlock(&b->lock);
}

/* --- translations and pages ------------------------------------------------------------------ */

static int bus_translate(struct endpoint_bus *bus, const struct endpoint_ats_request *req,
			 struct endpoint_ats_reply *reply)
{
	struct emulated_bus *b = to_emulated(bus);
	const struct nst_ats_request ats = {
		.rid = b->rid,
		.pasid = req->pasid,
		.iova = req->iova,
		.pages = 1,
		.no_write = !req->write,
		.privileged = req->privileged,
	};
	enum nst_ats_status status;
	struct nst_ats_entry entry;
	unsigned int count;

	if (!b->notifier || nst_viommu_ats_translate(b->viommu, &ats, &entry, 1, &count, &status) ||
	    status != NST_ATS_SUCCESS || entry.untranslated)
		return -EFAULT;
	*reply = (struct endpoint_ats_reply){
		.translated = { entry.gpa.v },
		.size = entry.size,
		.read = entry.read,
		.write = entry.write,
	};
	return 0;
}

static int device_tlb(void *opaque, const struct nst_device_tlb_invalidation *inv)
{
	struct emulated_bus *b = opaque;

	b->ep->ops->ats_invalidate(b->ep, inv->global ? ENDPOINT_EVERY_PASID : inv->pasid,
				   inv->first, inv->last);
	return 0;
}

/* The group of @req, its pages so far and this one; taken off the list if it is whole. */
static struct emulated_group *collect(struct emulated_bus *b,
				      const struct endpoint_page_request *req) REQUIRES(b->lock)
{
	struct emulated_group **link = &b->groups, *g;

	while (*link && (*link)->index != req->group)
		link = &(*link)->next;
	g = *link;
	if (!g) {
		g = alloc_object(struct emulated_group);
		if (!g)
			return NULL;
		g->index = req->group;
		*link = g;
	}
	if (g->count < GROUP_PAGES)
		g->pages[g->count] = (struct nst_page){ req->iova, req->read, req->write,
							req->execute, req->privileged };
	g->count++;
	if (req->last)
		*link = g->next;
	return g;
}

static void respond(struct emulated_bus *b, uint32_t pasid, unsigned int group,
		    enum nst_page_answer answer)
{
	const struct endpoint_page_response response = {
		.pasid = pasid,
		.group = group,
		.code = answer == NST_PAGE_SUCCESS   ? ENDPOINT_PAGE_SUCCESS
			: answer == NST_PAGE_INVALID ? ENDPOINT_PAGE_INVALID
						     : ENDPOINT_PAGE_FAILURE,
	};

	b->ep->ops->page_response(b->ep, &response);
}

static void bus_page_request(struct endpoint_bus *bus, const struct endpoint_page_request *req)
{
	struct emulated_bus *b = to_emulated(bus);
	enum nst_page_answer answer = NST_PAGE_FAILURE;
	struct emulated_group *g;
	int ret = -ENOMEM;

	mutex_lock(&b->lock);
	g = collect(b, req);
	mutex_unlock(&b->lock);
	if (!req->last)
		return;
	if (g && b->notifier)
		ret = nst_notifier_page_request(b->notifier, req->pasid, req->group, g->pages,
						g->count, &answer);
	free(g);
	if (ret || answer != NST_PAGE_PENDING)
		respond(b, req->pasid, req->group, answer);
}

static void page_response(void *opaque, uint32_t pasid, unsigned int group,
			  enum nst_page_answer answer)
{
	respond(opaque, pasid, group, answer);
}

/* --- the rest --------------------------------------------------------------------------------- */

static void bus_interrupt(struct endpoint_bus *bus, unsigned int vector)
{
	struct emulated_bus *b = to_emulated(bus);

	b->ops->interrupt(b->opaque, vector);
}

static void bus_kick(struct endpoint_bus *bus)
{
	struct emulated_bus *b = to_emulated(bus);

	b->ops->kick(b->opaque);
}

static const struct endpoint_bus_ops bus_ops = {
	.dma = bus_dma,
	.translate = bus_translate,
	.page_request = bus_page_request,
	.interrupt = bus_interrupt,
	.kick = bus_kick,
};

void emulated_bus_init(struct emulated_bus *b, struct endpoint *ep, struct nst_viommu *viommu,
		       struct nst_mem *mem, nst_rid rid, const struct emulated_bus_ops *ops,
		       void *opaque)
{
	*b = (struct emulated_bus){
		.bus.ops = &bus_ops,
		.ep = ep,
		.viommu = viommu,
		.mem = mem,
		.rid = rid,
		.ops = ops,
		.opaque = opaque,
	};
	mutex_init(&b->lock);
	ep->bus = &b->bus;
}

int emulated_bus_listen(struct emulated_bus *b)
{
	const struct endpoint_ops *ops = b->ep->ops;
	const struct nst_notifier_config config = {
		.rid = b->rid,
		.pasid = NST_EVERY_PASID,
		.last = { UINT64_MAX },
		.invalidate = invalidate,
		.device_tlb = ops->ats_invalidate ? device_tlb : NULL,
		.page_response = ops->page_response ? page_response : NULL,
		.opaque = b,
	};

	return nst_viommu_notify(b->viommu, &config, &b->notifier);
}

void emulated_bus_fini(struct emulated_bus *b)
{
	nst_notifier_remove(b->notifier);
	while (b->groups) {
		struct emulated_group *g = b->groups;

		b->groups = g->next;
		free(g);
	}
	mutex_fini(&b->lock);
}
