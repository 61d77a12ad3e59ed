// SPDX-License-Identifier: BSD-3-Clause
/*
 * A whole VT-d unit without a host, for emulated devices: registers, the tables in its memory,
 * the queue and translations, in any order. Input: what the unit offers, then struct steps.
 * Oracles: work per call, a translation asked for twice, bits that no register may show.
 */
#include "base/endian.h"
#include "vtd/unit.h"

#include <assert.h>
#include <nestor/viommu.h>
#include <string.h>

enum { PAGES = 64, MEMORY = PAGES * 4096 };
enum kind { WRITE, READ, POKE, LINK, TRANSLATE, PROCESS, RESET, REMAP, KINDS };
struct step { uint8_t kind, a; le16 offset; le32 who; le64 value; };
static _Alignas(4096) uint8_t memory[MEMORY];

static void send_msi(void *opaque, uint64_t address, uint32_t data) { assert(address % 4 == 0); }

/* What no guest may ever read: reserved bits of GSTS, FSTS, FECTL, ICS, IECTL, IQERCD, PRS, PECTL. */
static const struct { uint16_t offset; uint32_t never; } reserved[] = {
	{ 0x18, 0xffffffff }, { 0x1c, 0x387fffff }, { 0x34, 0xfffff8ac }, { 0x38, 0x3fffffff }, { 0x9c, 0xfffffffe },
	{ 0xa0, 0x3fffffff }, { 0xb0, 0xfffffff8 }, { 0xdc, 0xfffffffc }, { 0xe0, 0x3fffffff }, { 0x80, 0xfff8000f },
};

static void check_registers(struct nst_viommu *unit)
{
	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
		assert(!(nst_viommu_mmio_read(unit, reserved[i].offset, 4) & reserved[i].never));
}

static void translate(struct nst_viommu *unit, const struct step *s)
{
	uint32_t who = (uint32_t)le_load(&s->who, 4);
	struct nst_translate_request req = {
		.rid = (nst_rid)le16_get(s->offset), .pasid = s->a & 1 ? who & 0xfffff : NST_NO_PASID,
		.iova = { le64_get(s->value) }, .write = s->a & 2, .privileged = s->a & 4,
	};
	struct nst_translation out = { 0 }, again = { 0 };
	int ret = nst_viommu_translate(unit, &req, &out);

	assert(!ret || ret == -14);
	assert(nst_viommu_translate(unit, &req, &again) == ret);
	assert(out.gpa.v == again.gpa.v && (ret || (out.size && (req.write ? out.write : out.read || out.interrupt))));
}

static void do_step(struct nst_viommu *unit, struct nst_vm *vm, const struct step *s)
{
	uint64_t value = le64_get(s->value), at = le16_get(s->offset) * 8ULL % MEMORY;
	le64 link = le64_make(s->a % (PAGES + 1) * 4096ULL | (value & 0xfff));

	switch ((enum kind)(s->kind % KINDS)) {
	case WRITE: nst_viommu_mmio_write(unit, le16_get(s->offset) % 4104, 1U << s->a % 4, value); break;
	case READ: nst_viommu_mmio_read(unit, le16_get(s->offset) % 4104, 1U << s->a % 4); break;
	case POKE: memcpy(memory + at, &s->value, 8); break;
	case LINK: memcpy(memory + at, &link, 8); break;
	case TRANSLATE: translate(unit, s); break;
	case PROCESS: nst_viommu_process(unit); break;
	case RESET: nst_viommu_reset(unit); break;
	default: nst_vm_unmap_all(vm); assert(!nst_vm_map(vm, (nst_gpa){ 0 }, MEMORY, memory, s->a & 1));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct nst_vtd_config config = { .send_msi = send_msi, .features = size ? data[0] & 7 : 0 };
	struct nst_viommu *unit;
	struct step s;

	assert(!nst_vm_create(NULL, NULL, &config.vm));
	assert(!nst_vm_map(config.vm, (nst_gpa){ 0 }, MEMORY, memset(memory, 0, MEMORY), true));
	assert(!nst_vtd_create(&config, &unit));
	for (size_t at = 1; at + sizeof(s) <= size; at += sizeof(s)) {
		uint64_t before = to_vtd_unit(unit)->attach.work;

		do_step(unit, config.vm, memcpy(&s, data + at, sizeof(s)));
		assert(to_vtd_unit(unit)->attach.work - before <= 2 * VTD_WORK_PER_RUN);
		check_registers(unit);
	}
	nst_viommu_destroy(unit);
	nst_vm_destroy(config.vm);
	return 0;
}
