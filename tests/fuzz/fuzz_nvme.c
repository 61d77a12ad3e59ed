// SPDX-License-Identifier: BSD-3-Clause
/* The NVMe controller against a hostile driver. Input: a byte of flags (1: 4 KiB blocks, 2:
 * read-only, 4: start disabled), then struct steps. 256 KiB of memory at 0; kicks run inline. */
#undef NDEBUG
#include "endpoint/nvme.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MEMORY = 1 << 18, SQ0 = 0x1000, CQ0 = 0x2000, SQ1 = 0x3000, CQ1 = 0x4000 };
struct step { uint8_t kind, a; le16 offset; le32 w[5]; };
static uint8_t memory[MEMORY + NVME_TRANSFER_MAX];
static struct endpoint *ep;

static int dma(struct endpoint_bus *bus, const struct endpoint_dma_request *req)
{
	uint8_t *at = &memory[req->iova.v % MEMORY];
	memcpy(req->write ? at : req->buf, req->write ? req->buf : at, req->size);
	return req->iova.v < MEMORY ? 0 : -1;
}
static void irq(struct endpoint_bus *bus, unsigned int v) { assert(v < to_nvme(ep)->vectors); }
static void kick(struct endpoint_bus *bus) { ep->ops->run(ep); }
static struct endpoint_bus bus = { &(const struct endpoint_bus_ops){ .dma = dma, .interrupt = irq, .kick = kick } };
static void write32(uint64_t at, uint32_t value) { ep->ops->bar_write(ep, 0, at, 4, value); }

static void command(unsigned int qid, struct nvme_sqe sqe)
{
	struct nvme_sq *sq = &to_nvme(ep)->sq[qid];
	uint64_t at = sq->iova + sq->tail * sizeof(sqe);
	memcpy(&memory[at % MEMORY], &sqe, sizeof(sqe));
	write32(NVME_REG_DOORBELLS + 8 * qid, sq->tail + 1U == sq->size ? 0 : sq->tail + 1U);
	write32(NVME_REG_DOORBELLS + 8 * qid + 4, to_nvme(ep)->cq[sq->cqid].tail);
}

static void do_step(const struct step *s)
{
	struct nvme_sqe sqe = { .opcode = s->kind, .flags = s->a >> 2 == 63, .nsid = s->w[0],
		.prp1 = le64_make(le32_get(s->w[1])), .prp2 = le64_make(le32_get(s->w[2])),
		.cdw10 = s->w[3], .cdw11 = s->w[4], .cdw12 = le32_make(le16_get(s->offset)) };
	uint64_t offset = le16_get(s->offset) % (NVME_BAR_SIZE - 7);

	if (s->kind < 0x80) {		/* a command */
		command(s->a % 3, sqe);
	} else if (s->kind < 0xc0) {	/* any access to the BAR */
		ep->ops->bar_write(ep, 0, offset, 1U << s->a % 4, le_load(s->w, 8));
		ep->ops->bar_read(ep, 0, offset, 1U << s->a / 4 % 4);
	} else if (s->kind < 0xff) {	/* a poke into memory */
		memcpy(&memory[(le16_get(s->offset) * 4 + s->a * 8192) % MEMORY], s->w, 16);
	} else {
		ep->ops->reset(ep);
		atomic_store(&ep->config.bus_master, true);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("disk", 0), flags = size ? data[0] : 0;
	struct step s;
	char text[96];

	assert(!ftruncate(fd, 1 << 17));
	snprintf(text, sizeof(text), "nvme,queues=2,serial=f,file=/dev/fd/%d,lba=%d,readonly=%s",
		 fd, flags & 1 ? 4096 : 512, flags & 2 ? "on" : "off");
	assert(!endpoint_create(text, NULL, &ep, NULL));
	ep->bus = &bus;
	memset(memory, 0, sizeof(memory));
	atomic_store(&ep->config.bus_master, true);
	write32(NVME_REG_AQA, 0x3f003f), write32(NVME_REG_ASQ, SQ0), write32(NVME_REG_ACQ, CQ0);
	write32(NVME_REG_CC, flags & 4 ? 0 : 0x460001);
	do_step(&(struct step){ 5, 0, { 0 }, { { 0 }, { CQ1 }, { 0 }, { 63 << 16 | 1 }, { 3 } } });
	do_step(&(struct step){ 1, 0, { 0 }, { { 0 }, { SQ1 }, { 0 }, { 4128769 }, { 65537 } } });
	for (size_t at = 1; at + sizeof(s) <= size; at += sizeof(s))
		do_step(memcpy(&s, data + at, sizeof(s)));
	endpoint_destroy(ep);
	close(fd);
	return 0;
}
