// SPDX-License-Identifier: BSD-3-Clause
/*
 * A VT-d unit against a hostile guest: one device on the synchronous software host, 512 KiB of
 * memory at 0, struct steps of input. The host refuses nothing: an object left on it is our bug.
 */
#include "endpoint/endpoint.h"
#include "host/soft/soft.h"
#include "vtd/desc.h"

#include <assert.h>
#include <nestor/viommu.h>
#include <string.h>

enum { MEMORY = 1 << 19, RID = 0x10 };
enum kind { WRITE, READ, POKE, DMA, RESET, REPLUG, REMAP, DECODE, PROCESS, ASK, KINDS };
struct step { uint8_t kind, a; le16 offset; le32 high; le64 value; };
static struct nst_host *host;
static struct nst_vm *vm;
static struct nst_device *dev;
static struct endpoint ep;
static _Alignas(4096) uint8_t memory[MEMORY];

static uint64_t bar_read(struct endpoint *e, unsigned int bar, uint64_t at, unsigned int n) { return at; }
static void bar_write(struct endpoint *e, unsigned int b, uint64_t at, unsigned int n, uint64_t v) { }
static void nothing(struct endpoint *e) { }
static void flush_tlb(struct endpoint *e, uint32_t pasid, nst_iova first, nst_iova last) { }
static void answered(struct endpoint *e, const struct endpoint_page_response *r) { assert(r->group < 512); }
static void send_msi(void *opaque, uint64_t address, uint32_t data) { assert(address % 4 == 0); }
static void take_log(void *opaque, enum nst_log_level level, const char *message)
{
	assert(!strstr(message, "outlives") && !strstr(message, "destroyed") && !strstr(message, "detach"));
}
static const struct nst_log log = { take_log, NULL, NST_LOG_ERROR };

static void set_up(void)
{
	static const struct endpoint_ops ops = { .bar_read = bar_read, .bar_write = bar_write,
						 .ats_invalidate = flush_tlb, .page_response = answered,
						 .reset = nothing, .destroy = nothing };
	char path[64];
	ep.ops = &ops;
	pci_config_init(&ep.config, 0x1234, 0x5678, 0xff0000, 1);
	pci_config_add_express(&ep.config);
	pci_config_add_ats(&ep.config);
	pci_config_add_pasid(&ep.config, 20);
	pci_config_add_pri(&ep.config, 64);
	assert(!nst_host_soft_create(&(struct nst_soft_config){ .synchronous = true }, &host));
	assert(!soft_add_endpoint(host, &ep, path, sizeof(path)) && !nst_vm_create(host, &log, &vm));
	assert(!nst_device_open(vm, &(struct nst_device_config){ .path = path }, &dev));
	atomic_store(&ep.config.bus_master, true);
}

static void do_step(struct nst_viommu *unit, const struct step *s)
{
	uint64_t value = le64_get(s->value), at = le16_get(s->offset) * 8ULL % MEMORY;
	uint32_t pasid = s->a & 2 ? (uint32_t)le_load(&s->high, 4) & 0xfffff : NST_NO_PASID;
	struct endpoint_page_request ask = { { value & ~0xfffULL }, pasid, le16_get(s->offset) % 512, .read = true,
					     .last = s->a & 1 };
	struct endpoint_dma_request dma = { { value }, pasid, s->a & 1, .buf = &value, .size = 8 };
	const le64 words[4] = { s->value, le64_make(le_load(s, 8)), { 0 }, { s->a >> 7 } };
	struct vtd_desc d;

	switch ((enum kind)(s->kind % KINDS)) {
	case WRITE: nst_viommu_mmio_write(unit, le16_get(s->offset) % 4104, 1U << s->a % 4, value); break;
	case READ: nst_viommu_mmio_read(unit, le16_get(s->offset) % 4104, 1U << s->a % 4); break;
	case POKE: memcpy(memory + at, &s->value, 8); break;
	case DMA: if (endpoint_dma(&ep, &dma)) {} break;	/* a fault is an answer too */
	case RESET: nst_viommu_reset(unit); break;
	case REPLUG: nst_viommu_detach(unit, RID); assert(!nst_viommu_attach(unit, RID, dev)); break;
	case REMAP: nst_vm_unmap_all(vm); assert(!nst_vm_map(vm, (nst_gpa){ 0 }, MEMORY, memory, s->a % 8)); break;
	case PROCESS: nst_viommu_process(unit); break;
	case ASK: endpoint_page_request(&ep, &ask); break;
	default: if (!vtd_desc_decode(words, s->a & 1, &d)) assert(d.addr % 4096 == 0 && d.npages <= 1 << 18);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct nst_viommu *unit;
	struct step s;

	if (!vm)
		set_up();
	nst_vm_unmap_all(vm);
	assert(!nst_vm_map(vm, (nst_gpa){ 0 }, MEMORY, memset(memory, 0, MEMORY), true));
	assert(!nst_vtd_create(&(struct nst_vtd_config){ .vm = vm, .log = &log, .send_msi = send_msi }, &unit));
	assert(!nst_viommu_attach(unit, RID, dev));
	/* page requests on, in the capability behind those of ATS and PASID */
	assert(!nst_device_write(dev, 7, 0x114, &(uint8_t){ 1 }, 1));
	for (size_t at = 0; at + sizeof(s) <= size; at += sizeof(s))
		do_step(unit, memcpy(&s, data + at, sizeof(s)));
	nst_viommu_destroy(unit);
	return 0;
}
