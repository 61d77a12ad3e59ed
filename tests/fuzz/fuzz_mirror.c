// SPDX-License-Identifier: BSD-3-Clause
/* A copy of the guest's tables, told by map() and unmap(), against nst_viommu_translate() page by
 * page; ATS entries against both. Input: a byte (PGTT, mode), then le16 where in the first 64 KiB of
 * memory and le64 what; the root is at 0, the copy is of 512 pages from 0. */
#undef NDEBUG
#include "base/bits.h"
#include "base/endian.h"

#include <assert.h>
#include <nestor/viommu.h>
#include <string.h>

enum { MEMORY = 1 << 16, PAGES = 512, RID = 8 };
static _Alignas(4096) uint8_t memory[MEMORY];
static struct page { uint64_t gpa; bool there, read, write; } copy[PAGES];

static void send_msi(void *opaque, uint64_t address, uint32_t data) { }
static int map(void *opaque, const struct nst_mapping *m)
{
	for (uint64_t i = m->first.v >> 12; i <= m->last.v >> 12; i++)
		copy[i] = (struct page){ m->gpa.v + (i << 12) - m->first.v, true, m->read, m->write };
	return 0;
}
static void unmap(void *opaque, nst_iova first, nst_iova last)
{
	memset(&copy[first.v >> 12], 0, ((last.v - first.v) / 4096 + 1) * sizeof(*copy));
}

static void make_tables(const uint8_t *data, size_t size)
{
	static const uint64_t words[][2] = { { 0, 0x1001 }, { 0x1000 + RID * 32, 0x200d }, { 0x2000, 0x3001 },
		{ 0x3008, 1 }, { 0x3010, 0x4000 }, { 0x4000, 0x5007 }, { 0x5000, 0x6007 }, { 0x6000, 0x7007 } };

	unsigned int kind = size ? data[0] : 0;
	memset(memory, 0, MEMORY);
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		le_store(&memory[words[i][0]], 8, words[i][1]);
	le_store(&memory[0x3000], 8, 1 | 2 << 2 | (1ULL + kind % 4) << 6 | (kind & 4 ? 0x4000 : 0x8000));
	for (size_t i = 1; i + 10 <= size; i += 10)
		memcpy(&memory[le_load(data + i, 2) & (MEMORY - 8)], data + i + 2, 8);
}

static void check(struct nst_viommu *u, uint64_t page)
{
	struct nst_translate_request req = { .rid = RID, .pasid = NST_NO_PASID, .iova = { page << 12 } };
	const struct nst_ats_request ats = { .rid = RID, .pasid = NST_NO_PASID, .iova = { page << 12 }, .pages = 1 };
	struct nst_translation rd = { 0 }, wr = { 0 };
	bool write, read = !nst_viommu_translate(u, &req, &rd);
	enum nst_ats_status status;
	struct nst_ats_entry e;
	unsigned int n;

	req.write = true, write = !nst_viommu_translate(u, &req, &wr);
	assert(copy[page].there == (read || write));
	assert(!copy[page].there || (copy[page].read == read && copy[page].write == write &&
				     copy[page].gpa == (read ? rd.gpa.v : wr.gpa.v)));
	assert(!nst_viommu_ats_translate(u, &ats, &e, 1, &n, &status));
	if (status == NST_ATS_SUCCESS)
		assert(n == 1 && e.size >= 4096 && !(e.gpa.v & (e.size - 1)) && e.read == read && e.write == write);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct nst_vtd_config config = { .send_msi = send_msi, .features = 7 };
	const struct nst_notifier_config notifier = { .rid = RID, .pasid = NST_NO_PASID,
		.last = { PAGES * 4096 - 1 }, .map = map, .unmap = unmap };
	struct nst_notifier *n;
	struct nst_viommu *u;

	make_tables(data, size);
	assert(!nst_vm_create(NULL, NULL, &config.vm) && !nst_vm_map(config.vm, (nst_gpa){ 0 }, MEMORY, memory, true));
	assert(!nst_vtd_create(&config, &u) && !nst_viommu_notify(u, &notifier, &n));
	nst_viommu_mmio_write(u, 0x20, 8, size && data[0] & 0x80 ? 0 : 1 << 10);
	nst_viommu_mmio_write(u, 0x18, 4, 1u << 30), nst_viommu_mmio_write(u, 0x18, 4, 1u << 31);
	for (uint64_t page = 0; page < PAGES; page++)
		check(u, page);
	nst_notifier_remove(n), nst_viommu_destroy(u), nst_vm_destroy(config.vm);
	return 0;
}
