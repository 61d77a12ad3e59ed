// SPDX-License-Identifier: BSD-3-Clause
/*
 * Operations of dmatest: decoding a descriptor, and doing it chunk by chunk. A chunk is
 * at most a page of each operand and never crosses a 4 KiB boundary, as a request on
 * the bus must not. A chunk that fails counts for nothing: it is done anew after its
 * page has been asked for, or the operation ends with what was done before it.
 */
#include "endpoint/dmatest.h"

#include <errno.h>

#define LENGTH_MAX (1u << DMATEST_LENGTH_LG2)

/* access() may also return this: the page does not permit it. */
#define NEED_PAGE ((enum dmatest_status)0x100)

static unsigned int operands(uint8_t opcode)
{
	switch (opcode) {
	case DMATEST_READ:
	case DMATEST_WRITE:
	case DMATEST_VERIFY:
		return 1;
	case DMATEST_COPY:
	case DMATEST_COMPARE:
		return 2;
	default:
		return 0;
	}
}

static bool is_bad(const struct dmatest *d, const struct dmatest_op *op,
		   const struct dmatest_desc *desc)
{
	unsigned int n = operands(op->opcode);
	uint64_t pasid_end = BIT64(d->pasid_bits ? d->pasid_bits : 20);

	if (op->opcode >= DMATEST_OPCODES || (le32_get(desc->control) & DMATEST_DESC_RESERVED))
		return true;
	if (le64_get(desc->reserved[0]) | le64_get(desc->reserved[1]) | le64_get(desc->reserved[2]))
		return true;
	if (!n)
		return (op->flags & ~DMATEST_DESC_INTERRUPT) || op->length;
	if (op->pasid >= (op->flags & DMATEST_DESC_PASID ? pasid_end : 1))
		return true;
	if ((op->flags & DMATEST_DESC_PRIVILEGED) && !(op->flags & DMATEST_DESC_PASID))
		return true;
	if ((op->flags & DMATEST_DESC_PRI) && !(op->flags & DMATEST_DESC_ATS))
		return true;
	if (!op->length || op->length > LENGTH_MAX)
		return true;
	for (unsigned int i = 0; i < n; i++)
		if (range_overflows(op->address[i], op->length))
			return true;
	return false;
}

void dmatest_op_start(const struct dmatest *d, struct dmatest_op *op,
		      const struct dmatest_desc *desc)
{
	uint32_t control = le32_get(desc->control);

	op->opcode = (uint8_t)FIELD_GET(DMATEST_DESC_OPCODE, control);
	op->flags = control & ~(uint32_t)DMATEST_DESC_OPCODE;
	op->pasid = le32_get(desc->pasid);
	op->length = le32_get(desc->length);
	op->tag = le32_get(desc->tag);
	op->address[0] = le64_get(desc->address[0]);
	op->address[1] = le64_get(desc->address[1]);
	op->seed = le64_get(desc->seed);
	op->status = is_bad(d, op, desc) ? DMATEST_BAD_DESCRIPTOR : DMATEST_OK;
	op->done = op->page_requests = op->retries = 0;
	op->fault = 0;
	op->checksum = op->opcode == DMATEST_READ ? DMATEST_CHECKSUM_START : 0;
}

struct dmatest_cpl dmatest_op_completion(const struct dmatest_op *op)
{
	return (struct dmatest_cpl){
		.fault = le64_make(op->fault),
		.checksum = le64_make(op->checksum),
		.done = le32_make(op->done),
		.page_requests = le32_make(op->page_requests),
		.tag = le32_make(op->tag),
		.status = le32_make(op->status),
	};
}

static enum dmatest_status tlb_status(int err)
{
	switch (err) {
	case 0:
		return DMATEST_OK;
	case -EACCES:
		return NEED_PAGE;
	case -EREMOTEIO:
		return DMATEST_TRANSLATION_REFUSED;
	case -EFAULT:
		return DMATEST_DMA_REFUSED;
	default:
		return DMATEST_DISABLED;
	}
}

enum dmatest_status dmatest_dma(struct dmatest *d, struct endpoint_dma_request *req, bool ats)
{
	const struct pci_config *cfg = &d->ep.config;
	enum dmatest_status status;

	if (req->pasid != NST_NO_PASID && !atomic_load(&cfg->pasid_enabled))
		return DMATEST_DISABLED;
	if (req->privileged && !atomic_load(&cfg->pasid_privileged))
		return DMATEST_DISABLED;
	if (ats)
		status = tlb_status(device_tlb_dma(&d->tlb, req));
	else
		status = endpoint_dma(&d->ep, req) ? DMATEST_DMA_REFUSED : DMATEST_OK;
	if (status == DMATEST_OK || status == DMATEST_DMA_REFUSED)
		dmatest_count(d, DMATEST_STAT_REQUESTS, 1);
	if (status == DMATEST_TRANSLATION_REFUSED || status == DMATEST_DMA_REFUSED)
		dmatest_count(d, DMATEST_STAT_FAULTS, 1);
	return status;
}

static enum dmatest_status access(struct dmatest *d, struct dmatest_op *op, unsigned int operand,
				  void *buf, size_t size, bool write)
{
	struct endpoint_dma_request req = {
		.iova = { op->address[operand] + op->done },
		.pasid = op->flags & DMATEST_DESC_PASID ? op->pasid : NST_NO_PASID,
		.privileged = op->flags & DMATEST_DESC_PRIVILEGED,
		.write = write,
		.buf = buf,
		.size = size,
	};
	enum dmatest_status status = dmatest_dma(d, &req, op->flags & DMATEST_DESC_ATS);

	if (status != DMATEST_OK) {
		op->fault = req.iova.v;
		op->want = operand;
		op->want_write = write;
	}
	return status;
}

static size_t chunk_size(const struct dmatest_op *op)
{
	uint64_t size = op->length - op->done;

	for (unsigned int i = 0; i < operands(op->opcode); i++)
		size = MIN(size, PAGE_SIZE_4K - (op->address[i] + op->done) % PAGE_SIZE_4K);
	return (size_t)size;
}

/* @size bytes of the pattern from @offset of the buffer on. */
static void fill_pattern(uint8_t *bytes, uint64_t seed, uint64_t offset, size_t size)
{
	for (size_t i = 0; i < size;) {
		unsigned int skip = (unsigned int)((offset + i) % 8);
		size_t n = MIN(8 - skip, size - i);
		uint8_t word[8];

		le_store(word, 8, dmatest_pattern_word(seed, (offset + i) / 8));
		memcpy(&bytes[i], &word[skip], n);
		i += n;
	}
}

/* All equal, or MISMATCH with what was equal before counted as done. */
static enum dmatest_status compare(struct dmatest_op *op, const struct dmatest_buffers *buffers,
				   size_t size)
{
	size_t same = 0;

	while (same < size && buffers->a[same] == buffers->b[same])
		same++;
	if (same == size)
		return DMATEST_OK;
	op->done += (uint32_t)same;
	op->fault = op->address[0] + op->done;
	return DMATEST_MISMATCH;
}

static enum dmatest_status do_chunk(struct dmatest *d, struct dmatest_op *op,
				    struct dmatest_buffers *buffers, size_t size)
{
	enum dmatest_status status = DMATEST_OK;

	if (op->opcode == DMATEST_WRITE || op->opcode == DMATEST_VERIFY)
		fill_pattern(buffers->b, op->seed, op->done, size);
	if (op->opcode != DMATEST_WRITE)
		status = access(d, op, 0, buffers->a, size, false);
	if (status != DMATEST_OK)
		return status;
	switch (op->opcode) {
	case DMATEST_READ:
		op->checksum = dmatest_checksum(op->checksum, buffers->a, size);
		return DMATEST_OK;
	case DMATEST_WRITE:
		return access(d, op, 0, buffers->b, size, true);
	case DMATEST_VERIFY:
		return compare(op, buffers, size);
	case DMATEST_COPY:
		return access(d, op, 1, buffers->a, size, true);
	case DMATEST_COMPARE:
		status = access(d, op, 1, buffers->b, size, false);
		return status == DMATEST_OK ? compare(op, buffers, size) : status;
	}
	return DMATEST_BAD_DESCRIPTOR;
}

enum dmatest_outcome dmatest_op_step(struct dmatest *d, struct dmatest_op *op,
				     struct dmatest_buffers *buffers)
{
	for (unsigned int i = 0; i < DMATEST_STEP_CHUNKS; i++) {
		enum dmatest_status status;
		size_t size;

		if (op->status != DMATEST_OK || op->done == op->length)
			return OUTCOME_DONE;
		if (op->queue && atomic_load(&d->stop))
			return OUTCOME_MORE;
		size = chunk_size(op);
		status = do_chunk(d, op, buffers, size);
		if (status == NEED_PAGE)
			return dmatest_page_ask(d, op);
		op->status = status;
		if (status == DMATEST_OK) {
			op->done += (uint32_t)size;
			op->retries = 0;
			op->fault = 0;
		}
	}
	return op->status != DMATEST_OK || op->done == op->length ? OUTCOME_DONE : OUTCOME_MORE;
}
