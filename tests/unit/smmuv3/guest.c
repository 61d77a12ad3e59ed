// SPDX-License-Identifier: BSD-3-Clause
/* See rig.h: what a guest's driver does. */
#include "rig.h"

#include <string.h>

uint32_t reg32(struct rig *rig, uint64_t offset)
{
	return (uint32_t)nst_viommu_mmio_read(rig->viommu, offset, 4);
}

uint64_t reg64(struct rig *rig, uint64_t offset)
{
	return nst_viommu_mmio_read(rig->viommu, offset, 8);
}

void reg32_set(struct rig *rig, uint64_t offset, uint32_t value)
{
	nst_viommu_mmio_write(rig->viommu, offset, 4, value);
}

void reg64_set(struct rig *rig, uint64_t offset, uint64_t value)
{
	nst_viommu_mmio_write(rig->viommu, offset, 8, value);
}

void cr0_set(struct rig *rig, uint32_t value)
{
	reg32_set(rig, REG_CR0, value);
	assert_int_equal(reg32(rig, REG_CR0ACK), value);
}

/* --- memory ---------------------------------------------------------------------------------- */

uint64_t *mem64(struct rig *rig, uint64_t gpa)
{
	assert_true(gpa <= RIG_MEMORY - 8);
	return (uint64_t *)(void *)&rig->memory[gpa];
}

uint32_t mem32(struct rig *rig, uint64_t gpa)
{
	uint32_t value;

	memcpy(&value, &rig->memory[gpa], sizeof(value));
	return value;
}

uint64_t guest_page(struct rig *rig)
{
	uint64_t page = rig->next_table;

	assert_true(page < GPA_DATA);
	rig->next_table += 4096;
	memset(&rig->memory[page], 0, 4096);
	return page;
}

uint64_t *guest_pte(struct rig *rig, uint64_t root, uint64_t iova)
{
	uint64_t table = root;

	for (int level = 0; level < 3; level++) {
		uint64_t *entry = mem64(rig, table + (iova >> (39 - 9 * level) & 511) * 8);

		if (!(*entry & 1))
			*entry = guest_page(rig) | 3;
		table = *entry & 0xfffffffff000;
	}
	return mem64(rig, table + (iova >> 12 & 511) * 8);
}

void guest_map(struct rig *rig, uint64_t root, uint64_t iova, uint64_t gpa)
{
	*guest_pte(rig, root, iova) = gpa | PTE_PAGE;
}

/* --- tables ---------------------------------------------------------------------------------- */

uint64_t *guest_ste(struct rig *rig, nst_rid rid)
{
	assert_true(rid < 1u << STRTAB_LG2);
	return mem64(rig, (rig->two_level ? GPA_L2 : GPA_STRTAB) + rid * 64u);
}

void guest_write_cd(struct rig *rig, uint64_t gpa, uint64_t root, uint16_t asid)
{
	uint64_t *cd = mem64(rig, gpa);

	memset(cd, 0, 64);
	cd[1] = root;
	cd[0] = CD_WORD0(asid);
}

uint64_t cd_of(struct rig *rig, nst_rid rid, enum place place)
{
	for (unsigned int i = 0; i < rig->num_devices; i++)
		if (rig->devices[i].rid == rid)
			return GPA_CDS + i * 0x1000 + (uint64_t)place * 64;
	fail_msg("no device 0x%x", rid);
	return 0;
}

void set_place(struct rig *rig, struct rig_device *d, enum place place)
{
	const uint64_t roots[] = {
		[PLACE_A] = rig->root_a, [PLACE_B] = rig->root_b, [PLACE_C] = rig->root_c
	};
	uint64_t *ste = guest_ste(rig, d->rid), cd;

	memset(ste, 0, 64);
	if (place == NOWHERE) {
		ste[0] = STE_ABORT;
	} else if (place == PLACE_SAME) {
		ste[0] = STE_BYPASS;
	} else {
		cd = cd_of(rig, d->rid, place);
		guest_write_cd(rig, cd, roots[place], ASID_OF(place));
		ste[0] = STE_S1(cd);
	}
}

void go(struct rig *rig, struct rig_device *d, enum place place)
{
	set_place(rig, d, place);
	cmdq_run(rig, CMD_CFGI_STE(d->rid), 1);
	assert_int_equal(place_of(d), place);
	assert_int_equal(nested_alive(rig), place != NOWHERE);
}

/* --- queues ---------------------------------------------------------------------------------- */

void cmdq_put(struct rig *rig, uint64_t qw0, uint64_t qw1)
{
	uint64_t *at = mem64(rig, GPA_CMDQ + (rig->prod & ((1 << CMDQ_LG2) - 1)) * 16);

	at[0] = qw0;
	at[1] = qw1;
	rig->prod = (rig->prod + 1) & ((2 << CMDQ_LG2) - 1);
}

void cmdq_kick(struct rig *rig)
{
	reg32_set(rig, REG_CMDQ_PROD, rig->prod);
}

void cmdq_sync(struct rig *rig)
{
	cmdq_put(rig, CMD_SYNC, 0);
	cmdq_kick(rig);
	assert_int_equal(cmdq_error(rig), 0);
	assert_int_equal(cmdq_cons(rig), rig->prod);
}

void cmdq_run(struct rig *rig, uint64_t qw0, uint64_t qw1)
{
	cmdq_put(rig, qw0, qw1);
	cmdq_sync(rig);
}

unsigned int cmdq_error(struct rig *rig)
{
	if (!((reg32(rig, REG_GERROR) ^ reg32(rig, REG_GERRORN)) & 1))
		return 0;
	return reg32(rig, REG_CMDQ_CONS) >> 24 & 0x7f;
}

void cmdq_ack(struct rig *rig)
{
	reg32_set(rig, REG_GERRORN, reg32(rig, REG_GERROR));
}

uint32_t cmdq_cons(struct rig *rig)
{
	return reg32(rig, REG_CMDQ_CONS) & 0xfffff;
}

void guest_setup(struct rig *rig)
{
	memset(&rig->memory[GPA_L1], 0, GPA_TABLES - GPA_L1);
	reg32_set(rig, REG_CONTROL2, 2); /* RECINVSID */
	if (rig->two_level) {
		*mem64(rig, GPA_L1) = GPA_L2 | 9;
		*mem64(rig, GPA_L1 + 8) = (GPA_L2 + 0x4000) | 9;
		reg64_set(rig, REG_STRTAB_BASE, GPA_L1);
		reg32_set(rig, REG_STRTAB_CFG, 1u << 16 | 8u << 6 | 16);
	} else {
		reg64_set(rig, REG_STRTAB_BASE, GPA_STRTAB);
		reg32_set(rig, REG_STRTAB_CFG, STRTAB_LG2);
	}
	rig->prod = 0;
	reg64_set(rig, REG_CMDQ_BASE, GPA_CMDQ | CMDQ_LG2);
	reg32_set(rig, REG_CMDQ_PROD, 0);
	reg32_set(rig, REG_CMDQ_CONS, 0);
	cr0_set(rig, CR0_CMDQEN);
	cmdq_run(rig, CMD_CFGI_ALL, 31);
	cmdq_run(rig, CMD_TLBI_NSNH_ALL, 0);
	reg64_set(rig, REG_EVENTQ_BASE, GPA_EVENTQ | EVENTQ_LG2);
	reg32_set(rig, REG_EVENTQ_PROD, 0);
	reg32_set(rig, REG_EVENTQ_CONS, 0);
	cr0_set(rig, CR0_CMDQEN | CR0_EVENTQEN);
	reg32_set(rig, REG_IRQ_CTRL, 5);
	assert_int_equal(reg32(rig, REG_IRQ_CTRLACK), 5);
}

void guest_enable(struct rig *rig)
{
	guest_setup(rig);
	cr0_set(rig, CR0_ALL);
}

bool event_take(struct rig *rig, uint64_t event[4])
{
	uint32_t cons = reg32(rig, REG_EVENTQ_CONS), prod;

	nst_viommu_process(rig->viommu);
	prod = reg32(rig, REG_EVENTQ_PROD);
	if (!((cons ^ prod) & ((2u << EVENTQ_LG2) - 1)))
		return false;
	memcpy(event, mem64(rig, GPA_EVENTQ + (cons & ((1u << EVENTQ_LG2) - 1)) * 32), 32);
	reg32_set(rig, REG_EVENTQ_CONS,
		  (cons & 0x80000000) | ((cons + 1) & ((2u << EVENTQ_LG2) - 1)));
	return true;
}

unsigned int event_type(struct rig *rig)
{
	uint64_t event[4];

	return event_take(rig, event) ? event[0] & 0xff : 0;
}

int waiting(struct nst_notifier *n, uint32_t pasid, uint64_t iova, bool write, uint64_t *gpa,
	    unsigned int *tag)
{
	const struct nst_translate_request req = {
		.rid = n->config.rid,
		.pasid = pasid,
		.iova = { iova },
		.write = write,
	};
	struct nst_translation out;
	int ret = nst_notifier_translate(n, &req, &out, tag);

	if (!ret)
		*gpa = out.gpa.v;
	return ret;
}

int emulated(struct rig *rig, nst_rid rid, uint32_t pasid, uint64_t iova, bool write, uint64_t *gpa)
{
	const struct nst_translate_request req = {
		.rid = rid,
		.pasid = pasid,
		.iova = { iova },
		.write = write,
	};
	struct nst_translation out;
	int ret = nst_viommu_translate(rig->viommu, &req, &out);

	if (!ret) {
		assert_true(out.size && (write ? out.write : out.read));
		*gpa = out.gpa.v;
	}
	return ret;
}
