// SPDX-License-Identifier: BSD-3-Clause
/* dmatest against a hostile driver and a moody IOMMU. Input: struct steps. 256 KiB of memory at 0,
 * identity for all PASIDs as far as rights[] go; page responses at once or by a step. */
#undef NDEBUG
#include "endpoint/dmatest.h"

struct step { uint8_t kind, a; le16 offset; le32 w[5]; };
static uint8_t memory[1 << 18], rights[sizeof(memory) / 4096], policy, count;
static struct endpoint_page_response asked[64];
static struct endpoint *ep;
static uint8_t right(uint64_t at) { return at < sizeof(memory) ? rights[at / 4096] : 0; }
static int dma(struct endpoint_bus *bus, const struct endpoint_dma_request *req)
{
	bool ok = right(req->iova.v) & (req->write ? 2 : 1);
	uint8_t *at = &memory[req->iova.v % sizeof(memory)];
	assert((req->iova.v & 4095) + req->size <= 4096 && (ok || !req->translated));
	memcpy(req->write ? at : req->buf, req->write ? req->buf : at, ok ? req->size : 0);
	return ok ? 0 : -1;
}
static int translate(struct endpoint_bus *bus, const struct endpoint_ats_request *req,
		     struct endpoint_ats_reply *reply)
{
	uint8_t r = right(req->iova.v);
	*reply = (struct endpoint_ats_reply){ req->iova, 4096, r & 1, r & 2 };
	return -(policy & 1 & r);
}
static void ask(struct endpoint_bus *bus, const struct endpoint_page_request *req)
{
	asked[count % 64] = (struct endpoint_page_response){ req->pasid, req->group, policy >> 1 & 1 };
	rights[req->iova.v / 4096 % 64] |= policy & 4 ? 3 : 0;
	if (policy & 8 && req->last)
		ep->ops->page_response(ep, &asked[count % 64]);
	count++;
}
static void irq(struct endpoint_bus *b, unsigned int vector) { assert(vector < 3); }
static void kick(struct endpoint_bus *bus) { ep->ops->run(ep); }
static struct endpoint_bus bus = { &(struct endpoint_bus_ops){ .dma = dma, .translate = translate,
	.page_request = ask, .interrupt = irq, .kick = kick } };
static void reg(uint64_t at, uint32_t value) { ep->ops->bar_write(ep, 0, at, 4, value); }

static void do_step(const struct step *s)
{
	static const uint16_t on[][2] = { /* bus master, ATS, PASID, PRI as a host enables them */
		{ 4, 6 }, { 0x107, 0x80 }, { 0x10e, 5 }, { 0x11c, 8 }, { 0x114, 1 } };
	uint64_t offset = le16_get(s->offset), block = DMATEST_REG_QUEUES + s->a % 2 * 0x40;
	struct dmatest_queue *q = &to_dmatest(ep)->queue[s->a % 2];
	struct endpoint_page_response resp = asked[s->a % 64];
	struct dmatest_desc d = { s->w[0], { le32_get(s->w[1]) % 3 }, { { le32_get(s->w[2]) },
		{ le32_get(s->w[3]) } }, { le32_get(s->w[4]) & 0xffff }, s->w[1], { s->kind }, { { 0 } } };
	if (s->kind < 0x60) {		/* a descriptor, and what is complete is consumed */
		memcpy(&memory[(q->ring + q->tail * 64) % (sizeof(memory) - 64)], &d, sizeof(d));
		reg(block + 0x28, q->tail + 1 >= q->size ? 0 : q->tail + 1), reg(block + 0x30, q->cpl_tail);
	} else if (s->kind < 0xa0) {	/* any access to the BAR, more often where registers are */
		offset %= s->kind & 1 ? 0x3ff9 : 0x1080;
		ep->ops->bar_read(ep, 0, offset, 1U << s->a % 4);
		ep->ops->bar_write(ep, 0, offset, 1U << s->a % 4, le_load(s->w, 8));
	} else if (s->kind < 0xb0) {	/* the IOMMU changes its mind */
		policy = s->kind, rights[s->a % 16] = s->w[0].raw & 3;
		for (uint32_t i = 0; i < 3; i++) /* PASIDs 0, 1 and none */
			ep->ops->ats_invalidate(ep, i < 2 ? i : ~0U, (nst_iova){ 0 }, (nst_iova){ 1 << 16 });
	} else if (s->kind < 0xd0) {	/* a response, to a request or made up */
		resp.code = s->kind & 15, resp.group ^= s->kind & 16, ep->ops->page_response(ep, &resp);
	} else if (s->kind >= 0xf8 || pci_config_write(&ep->config, offset % 0x130, s->w, 1 + s->a % 4)) {
		ep->ops->reset(ep);
		for (uint32_t i = 0; i < ARRAY_SIZE(on); i++)
			assert(!pci_config_write(&ep->config, on[i][0], &on[i][1], 1));
		for (uint32_t i = 0; i < 0x80; i += 0x40)
			reg(i + 0x1008, (i << 9) + 0x20000), reg(i + 0x1018, 16), reg(i + 0x1000, 1);
	}
}
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct step s = { .kind = 0xff };
	assert(!endpoint_create("dmatest,queues=2,pasid-bits=1", NULL, &ep, NULL));
	ep->bus = &bus, policy = count = 0, memset(rights, 3, sizeof(rights));
	memset(asked, 0, sizeof(asked)), memset(memory, 0, sizeof(memory));
	for (size_t at = 0; do_step(&s), at + sizeof(s) <= size; at += sizeof(s))
		memcpy(&s, data + at, sizeof(s));
	return endpoint_destroy(ep), 0;
}
