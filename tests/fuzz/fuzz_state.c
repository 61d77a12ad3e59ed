// SPDX-License-Identifier: BSD-3-Clause
/* A saved state that is anybody's, into a VT-d unit with a device, which then has to work. Input:
 * a byte of flags (1: edits of a good stream follow, le16 where and a byte what, else it is the
 * stream itself; 2: length and sum are made right; 4: the device comes later), and that. */
#undef NDEBUG
#include "base/endian.h"
#include "base/fnv.h"
#include "endpoint/endpoint.h"
#include "host/soft/soft.h"

#include <assert.h>
#include <nestor/viommu.h>
#include <string.h>

enum { MEMORY = 1 << 18, STREAM = 4096, HEADER = 32, RID = 16, START = HEADER + 48 };
static struct nst_host *host;
static struct nst_vm *vm;
static struct nst_device *dev;
static struct endpoint ep;
static _Alignas(4096) uint8_t memory[MEMORY], stream[STREAM];

static uint64_t bar_read(struct endpoint *e, unsigned int bar, uint64_t at, unsigned int n) { return at; }
static void bar_write(struct endpoint *e, unsigned int b, uint64_t at, unsigned int n, uint64_t v) { }
static void nothing(struct endpoint *e) { }
static void send_msi(void *opaque, uint64_t address, uint32_t data) { assert(address % 4 == 0); }

static void set_up(void)
{
	static const struct endpoint_ops ops = { .model = "fuzz", .bar_read = bar_read,
		.bar_write = bar_write, .reset = nothing, .destroy = nothing };
	char path[64];

	ep.ops = &ops, pci_config_init(&ep.config, 0x1234, 0x5678, 0xff0000, 1);
	assert(!nst_host_soft_create(&(struct nst_soft_config){ .synchronous = true }, &host));
	assert(!soft_add_endpoint(host, &ep, path, sizeof(path)) && !nst_vm_create(host, NULL, &vm));
	assert(!nst_device_open(vm, &(struct nst_device_config){ .path = path }, &dev));
	assert(!nst_vm_map(vm, (nst_gpa){ 0 }, MEMORY, memory, true));
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
	struct nst_viommu *unit;
	size_t end, again;
	void *saved;

	if (!vm)
		set_up();
	assert(!nst_vtd_create(&(struct nst_vtd_config){ .vm = vm, .send_msi = send_msi }, &unit));
	assert((flags & 4) || !nst_viommu_attach(unit, RID, dev));
	end = make_stream(unit, data + (size > 0), size - (size > 0), flags);
	ret = nst_viommu_restore(unit, stream, end);
	assert(!nst_viommu_save(unit, &saved, &again));
	assert(ret || !(flags & 4) || (again == end && !memcmp(stream, saved, START)));
	assert(!(flags & 4) || ret || !nst_viommu_attach(unit, RID, dev));
	for (uint64_t at = 0x18; at < 4096; at += 4)
		nst_viommu_mmio_write(unit, at, 4, nst_viommu_mmio_read(unit, at ^ 4, 4));
	nst_viommu_destroy(unit), free(saved);
	return 0;
}
