// SPDX-License-Identifier: BSD-3-Clause
/* A saved state that is anybody's, into a unit with a device, which then has to work. Input: a byte
 * of flags (1: edits of a good stream follow, le16 where and a byte what, else it is the stream
 * itself; 2: length and sum are made right; 4: the device comes later; 16: the unit is an SMMUv3, not
 * VT-d), and that. */
#undef NDEBUG
#include "base/endian.h"
#include "base/fnv.h"
#include "endpoint/endpoint.h"
#include "host/soft/soft.h"

#include <assert.h>
#include <nestor/viommu.h>
#include <string.h>

enum { MEMORY = 1 << 18, STREAM = 4096, HEADER = 32, RID = 16, START = HEADER + 48 };
static struct side {
	struct nst_host *host;
	struct nst_vm *vm;
	struct nst_device *dev;
	struct endpoint ep;
} sides[2];
static _Alignas(4096) uint8_t memory[MEMORY], stream[STREAM];

static uint64_t bar_read(struct endpoint *e, unsigned int bar, uint64_t at, unsigned int n) { return at; }
static void bar_write(struct endpoint *e, unsigned int b, uint64_t at, unsigned int n, uint64_t v) { }
static void nothing(struct endpoint *e) { }
static void send_msi(void *opaque, uint64_t address, uint32_t data) { assert(address % 4 == 0); }

static void set_up(struct side *s, enum nst_soft_iommu iommu)
{
	static const struct endpoint_ops ops = { .model = "fuzz", .bar_read = bar_read,
		.bar_write = bar_write, .reset = nothing, .destroy = nothing };
	const struct nst_soft_config config = { .iommu = iommu, .synchronous = true };
	char path[64];

	s->ep.ops = &ops, pci_config_init(&s->ep.config, 0x1234, 0x5678, 0xff0000, 1);
	assert(!nst_host_soft_create(&config, &s->host));
	assert(!soft_add_endpoint(s->host, &s->ep, path, sizeof(path)) && !nst_vm_create(s->host, NULL, &s->vm));
	assert(!nst_device_open(s->vm, &(struct nst_device_config){ .path = path }, &s->dev));
	assert(!nst_vm_map(s->vm, (nst_gpa){ 0 }, MEMORY, memory, true));
}

static struct nst_viommu *make_unit(const struct side *s)
{
	const struct nst_vtd_config vtd = { .vm = s->vm, .send_msi = send_msi };
	const struct nst_smmuv3_config smmuv3 = { .vm = s->vm, .send_msi = send_msi };
	struct nst_viommu *unit;

	assert(!(s == &sides[0] ? nst_vtd_create(&vtd, &unit) : nst_smmuv3_create(&smmuv3, &unit)));
	return unit;
}

static size_t make_stream(struct nst_viommu *unit, const uint8_t *data, size_t size, int flags)
{
	size_t end = MIN(size, (size_t)STREAM);
	void *good;

	memcpy(stream, data, end);
	if (flags & 1) {
		assert(!nst_viommu_save(unit, &good, &end) && end <= STREAM - 8);
		memcpy(stream, good, end), free(good);
		for (size_t i = 0; i + 3 <= size; i += 3)
			stream[(data[i] | (size_t)data[i + 1] << 8) % (end + 8)] = data[i + 2];
	}
	if ((flags & 2) && end >= HEADER) {
		le_store(stream + 16, 8, end - HEADER);
		le_store(stream + 24, 8, fnv1a(fnv1a(FNV1A_START, stream, 24), stream + HEADER, end - HEADER));
	}
	return end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int flags = size ? data[0] : 0, ret;
	const struct side *side = &sides[!!(flags & 16)];
	struct nst_viommu *unit;
	size_t end, again, same;
	void *saved;

	if (!sides[0].vm)
		set_up(&sides[0], NST_SOFT_VTD), set_up(&sides[1], NST_SOFT_SMMUV3);
	unit = make_unit(side);
	assert((flags & 4) || !nst_viommu_attach(unit, RID, side->dev));
	end = make_stream(unit, data + (size > 0), size - (size > 0), flags);
	ret = nst_viommu_restore(unit, stream, end);
	assert(!nst_viommu_save(unit, &saved, &again));
	same = flags & 16 ? end : START;
	assert(ret || !(flags & 4) || (again == end && !memcmp(stream, saved, same)));
	assert(!(flags & 4) || ret || !nst_viommu_attach(unit, RID, side->dev));
	if (flags & 16)
		nst_viommu_process(unit);
	for (uint64_t at = 0x18; at < 4096; at += 4)
		nst_viommu_mmio_write(unit, at, 4, nst_viommu_mmio_read(unit, at ^ 4, 4));
	nst_viommu_destroy(unit), free(saved);
	return 0;
}
