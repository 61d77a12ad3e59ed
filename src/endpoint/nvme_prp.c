// SPDX-License-Identifier: BSD-3-Clause
/*
 * Physical Region Pages, NVMe 1.4 s4.3: PRP1 points at data and may have an
 * offset; PRP2 is the second page, or a list of pages if there are more. The last
 * entry of a list page points to the next list page if data is left.
 *
 * Resolving comes first and only reads lists; it yields runs of contiguous memory,
 * which are then moved with one DMA each. A list cannot loop for ever: each list
 * page after the first is full, and the data it covers is bounded by MDTS.
 */
#include "endpoint/nvme.h"

bool nvme_dma(struct nvme_ctrl *c, uint64_t iova, void *buf, size_t size, bool write)
{
	struct endpoint_dma_request req = {
		.iova = { iova },
		.pasid = NST_NO_PASID,
		.write = write,
		.buf = buf,
		.size = size,
	};

	return endpoint_dma(&c->ep, &req) == 0;
}

struct prp_walk {
	struct nvme_ctrl *c;
	unsigned int count; /* of c->runs */
	size_t left;	    /* bytes not yet placed */
};

/* Place the next bytes at @iova, at most to the end of its page. */
static void place(struct prp_walk *w, uint64_t iova)
{
	uint32_t page = w->c->page_bytes;
	size_t size = MIN(w->left, page - (size_t)(iova & (page - 1)));
	struct nvme_run *last = w->count ? &w->c->runs[w->count - 1] : NULL;

	w->left -= size;
	/* A run never wraps around the end of the address space. */
	if (last && iova && last->iova + last->size == iova)
		last->size += size;
	else
		w->c->runs[w->count++] = (struct nvme_run){ iova, size };
}

static uint16_t walk_list(struct prp_walk *w, uint64_t list)
{
	uint32_t page = w->c->page_bytes;
	le64 entries[NVME_RUNS_MAX];

	while (w->left) {
		size_t in_page = (page - (size_t)(list & (page - 1))) / sizeof(entries[0]);
		size_t needed = (w->left + page - 1) / page;
		size_t n = MIN(in_page, needed); /* fits: the data is bounded by MDTS */

		if (!nvme_dma(w->c, list, entries, n * sizeof(entries[0]), false))
			return NVME_DATA_TRANSFER_ERROR;
		for (size_t i = 0; i < n; i++) {
			uint64_t entry = le64_get(entries[i]);
			bool is_link = i + 1 == in_page && w->left > page;

			if (entry & (page - 1))
				return NVME_INVALID_PRP_OFFSET | NVME_DNR;
			if (is_link)
				list = entry;
			else
				place(w, entry);
		}
	}
	return NVME_OK;
}

uint16_t nvme_prp_resolve(struct nvme_ctrl *c, const struct nvme_sqe *sqe, size_t size,
			  unsigned int *run_count)
{
	struct prp_walk w = { .c = c, .left = size };
	uint64_t prp1 = le64_get(sqe->prp1), prp2 = le64_get(sqe->prp2);
	uint32_t page = c->page_bytes;
	uint16_t status = NVME_OK;

	if (size && (prp1 & 3))
		return NVME_INVALID_PRP_OFFSET | NVME_DNR;
	if (size)
		place(&w, prp1);
	if (w.left && w.left <= page) {
		if (prp2 & (page - 1))
			return NVME_INVALID_PRP_OFFSET | NVME_DNR;
		place(&w, prp2);
	} else if (w.left) {
		if (prp2 & 7)
			return NVME_INVALID_PRP_OFFSET | NVME_DNR;
		status = walk_list(&w, prp2);
	}
	*run_count = w.count;
	return status;
}

static uint16_t transfer(struct nvme_ctrl *c, const struct nvme_sqe *sqe, size_t size, bool write)
{
	uint8_t *at = c->bounce;
	unsigned int count = 0;
	uint16_t status = nvme_prp_resolve(c, sqe, size, &count);

	for (unsigned int i = 0; status == NVME_OK && i < count; i++) {
		if (atomic_load(&c->stop))
			return NVME_NO_COMPLETION;
		if (!nvme_dma(c, c->runs[i].iova, at, c->runs[i].size, write))
			return NVME_DATA_TRANSFER_ERROR;
		at += c->runs[i].size;
	}
	return status;
}

uint16_t nvme_data_in(struct nvme_ctrl *c, const struct nvme_sqe *sqe, size_t size)
{
	return transfer(c, sqe, size, false);
}

uint16_t nvme_data_out(struct nvme_ctrl *c, const struct nvme_sqe *sqe, size_t size)
{
	return transfer(c, sqe, size, true);
}
