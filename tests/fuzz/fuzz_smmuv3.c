// SPDX-License-Identifier: BSD-3-Clause
/*
 * An SMMUv3 against a hostile guest: one device on the synchronous software host, which does as Linux
 * does, 512 KiB of memory at 0, struct steps of input;
 * three emulated devices that can wait. The host refuses nothing that the unit may give
 * it: an object left there, a refused command or entry is our bug.
 */
#include "endpoint/endpoint.h"
#include "host/soft/soft.h"
#include "smmuv3/command.h"

#include <assert.h>
#include <errno.h>
#include <nestor/viommu.h>
#include <string.h>

enum { MEMORY = 1 << 19, RID = 0x10 };
enum kind { WRITE, READ, POKE, DMA, EMULATED, RESET, REPLUG, REMAP, DECODE, PROCESS, MOVE, WAIT, RELISTEN, ASK, ATS, KINDS };
struct step { uint8_t kind, a; le16 offset; le32 high; le64 value; };
static struct nst_host *host;
static struct nst_vm *vm;
static struct nst_device *dev;
static struct endpoint ep;
static _Alignas(4096) uint8_t memory[MEMORY];
/* streams RID + 1 to RID + 3 are of emulated devices that can wait; which STAGs do */
static struct nst_notifier *notifiers[3];
static struct waiting { bool stags[256]; } waiting[3];

static uint64_t bar_read(struct endpoint *e, unsigned int bar, uint64_t at, unsigned int n) { return at; }
static void bar_write(struct endpoint *e, unsigned int b, uint64_t at, unsigned int n, uint64_t v) { }
static void nothing(struct endpoint *e) { }
static void flush_tlb(struct endpoint *e, uint32_t pasid, nst_iova first, nst_iova last) { }
static void send_msi(void *opaque, uint64_t address, uint32_t data) { assert(address && address % 4 == 0); }
static void take_log(void *opaque, enum nst_log_level level, const char *message)
{
	assert(!strstr(message, "outlives") && !strstr(message, "destroyed") && !strstr(message, "detach") &&
	       !strstr(message, "refuses"));
}
static const struct nst_log log = { take_log, NULL, NST_LOG_ERROR };
/* MSIs, ATS, PRI, stage 2, RIL, substreams of 20 bits, stalls */
static const struct smmu_idr idr = { .idr = { 0x0c453c1b, 0x02730510, 0, 0x1414, 0, 0x74 } };

static void set_up(void)
{
	static const struct endpoint_ops ops = { .bar_read = bar_read, .bar_write = bar_write, .ats_invalidate = flush_tlb,
						 .reset = nothing, .destroy = nothing };
	struct nst_soft_config config = { .iommu = NST_SOFT_SMMUV3, .synchronous = true, .quirks = true,
					 .stalls = true };
	char path[64];
	ep.ops = &ops;
	pci_config_init(&ep.config, 0x1234, 0x5678, 0xff0000, 1);
	pci_config_add_express(&ep.config);
	pci_config_add_ats(&ep.config);
	pci_config_add_pasid(&ep.config, 20);
	assert(!nst_host_soft_create(&config, &host));
	assert(!soft_add_endpoint(host, &ep, path, sizeof(path)) && !nst_vm_create(host, &log, &vm));
	assert(!nst_device_open(vm, &(struct nst_device_config){ .path = path }, &dev));
	atomic_store(&ep.config.bus_master, true);
}

/* Each that waits is told once. */
static void stall_response(void *opaque, unsigned int tag, enum nst_stall_answer answer)
{
	struct waiting *w = opaque;
	assert(tag < 256 && w->stags[tag] && answer <= NST_STALL_TERMINATED);
	w->stags[tag] = false;
}

static void page_response(void *opaque, uint32_t pasid, unsigned int group, enum nst_page_answer answer)
{
	assert(group < 512 && answer != NST_PAGE_PENDING);
}

static void listen(struct nst_viommu *unit, unsigned int i)
{
	const struct nst_notifier_config config = {
		.rid = (nst_rid)(RID + 1 + i), .pasid = NST_EVERY_PASID, .last = { UINT64_MAX },
		.stall_response = stall_response, .page_response = page_response, .opaque = &waiting[i],
	};
	waiting[i] = (struct waiting){ 0 };
	assert(!nst_viommu_notify(unit, &config, &notifiers[i]));
}

static void wait(unsigned int i, struct nst_translate_request req)
{
	struct nst_translation out;
	unsigned int tag;

	req.rid = (nst_rid)(RID + 1 + i);
	if (nst_notifier_translate(notifiers[i], &req, &out, &tag) != -EINPROGRESS)
		return;
	assert(tag < 256 && !waiting[i].stags[tag]);
	waiting[i].stags[tag] = true;
}

/* Whatever state a guest has brought the unit to, it is one that can be restored. */
static void move(struct nst_viommu *unit)
{
	struct waiting before[3];
	size_t size;
	void *data;

	assert(!nst_viommu_save(unit, &data, &size));
	memcpy(before, waiting, sizeof(before));
	assert(!nst_viommu_restore(unit, data, size));
	memcpy(waiting, before, sizeof(before)); /* terminated, and there again */
	free(data);
}

static void do_step(struct nst_viommu *unit, const struct step *s)
{
	uint64_t value = le64_get(s->value), at = le16_get(s->offset) * 8ULL % MEMORY;
	uint64_t reg = le16_get(s->offset) * (s->a & 0x80 ? 1ULL : 4ULL) % (NST_SMMUV3_MMIO_SIZE + 8);
	uint32_t pasid = s->a & 2 ? (uint32_t)le_load(&s->high, 4) & 0xfffff : NST_NO_PASID;
	struct endpoint_dma_request dma = { { value }, pasid, s->a & 1, .buf = &value, .size = 8 };
	struct nst_translate_request req = {
		.rid = RID + (s->a >> 2 & 3), .pasid = pasid, .iova = { value },
		.write = s->a & 1, .privileged = s->a & 16, .translated = s->a & 32,
	};
	struct smmu_cmd raw = { { s->value, le64_make(le_load(s, 8)) } };
	const struct nst_ats_request ats = { .rid = req.rid, .pasid = pasid, .iova = req.iova, .pages = 1U + s->a / 64 };
	enum nst_ats_status status;
	struct nst_ats_entry entries[4];
	unsigned int count;
	enum nst_page_answer page;
	struct nst_translation out;
	struct smmu_command c;

	switch ((enum kind)(s->kind % KINDS)) {
	case WRITE: nst_viommu_mmio_write(unit, reg, 1U << s->a % 4, value); break;
	case READ: nst_viommu_mmio_read(unit, reg, 1U << s->a % 4); break;
	case POKE: memcpy(memory + at, &s->value, 8); break;
	case DMA: if (endpoint_dma(&ep, &dma)) {} break;	/* a fault is an answer too */
	case EMULATED: if (!nst_viommu_translate(unit, &req, &out)) assert(out.size && !(out.gpa.v >> 44)); break;
	case RESET: nst_viommu_reset(unit); break;
	case REPLUG: nst_viommu_detach(unit, RID); assert(!nst_viommu_attach(unit, RID, dev)); break;
	case REMAP: nst_vm_unmap_all(vm); assert(!nst_vm_map(vm, (nst_gpa){ 0 }, MEMORY, memory, s->a % 8)); break;
	case PROCESS: nst_viommu_process(unit); break;
	case MOVE: move(unit); break;
	case WAIT: wait(s->a / 4 % 3, req); break;
	case ASK: if (nst_notifier_page_request(notifiers[s->a / 4 % 3], pasid, (unsigned int)(value % 512),
						(struct nst_page[2]){ { .iova = req.iova, .read = true } }, s->a & 1 ? 2 : 1,
						&page)) {} break;
	case ATS: if (!nst_viommu_ats_translate(unit, &ats, entries, 4, &count, &status)) assert(count <= 4); break;
	case RELISTEN: nst_notifier_remove(notifiers[s->a % 3]); listen(unit, s->a % 3); break;
	default: if (!smmu_command_decode(&raw, &idr, &c)) assert(c.first <= c.last && c.sid <= c.last_sid);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct nst_smmuv3_config config = { .log = &log, .send_msi = send_msi, .ssid_bits = 20,
		.features = NST_SMMUV3_ATS | NST_SMMUV3_STAGE2 | NST_SMMUV3_STALLS | NST_SMMUV3_PRI };
	struct nst_viommu *unit;
	struct step s;

	if (!vm)
		set_up();
	config.vm = vm;
	nst_vm_unmap_all(vm);
	assert(!nst_vm_map(vm, (nst_gpa){ 0 }, MEMORY, memset(memory, 0, MEMORY), true));
	assert(!nst_smmuv3_create(&config, &unit) && !nst_viommu_attach(unit, RID, dev));
	for (unsigned int i = 0; i < 3; i++)
		listen(unit, i);
	for (size_t at = 0; at + sizeof(s) <= size; at += sizeof(s))
		do_step(unit, memcpy(&s, data + at, sizeof(s)));
	for (unsigned int i = 0; i < 3; i++)
		nst_notifier_remove(notifiers[i]);
	nst_viommu_destroy(unit);
	return 0;
}
