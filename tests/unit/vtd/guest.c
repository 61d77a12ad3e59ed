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

/* RTPS stays set for ever and is a command, not a level, so it is left out. */
void gcmd(struct rig *rig, uint32_t set, uint32_t clear)
{
	uint32_t now = reg32(rig, REG_GSTS) & (GCMD_TE | GCMD_QIE);

	reg32_set(rig, REG_GCMD, (now & ~clear) | set);
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

	for (int level = 4; level > 1; level--) {
		uint64_t *entry = mem64(rig, table + (iova >> (12 + 9 * (level - 1)) & 511) * 8);

		if (!(*entry & 1))
			*entry = guest_page(rig) | 7;
		table = *entry & 0xffffffffff000;
	}
	return mem64(rig, table + (iova >> 12 & 511) * 8);
}

void guest_map(struct rig *rig, uint64_t root, uint64_t iova, uint64_t gpa)
{
	*guest_pte(rig, root, iova) = gpa | 7;
}

/* --- tables ---------------------------------------------------------------------------------- */

uint64_t *guest_root_entry(struct rig *rig, nst_rid rid)
{
	return mem64(rig, GPA_ROOT + (rid >> 8) * 16 + (rid >> 7 & 1) * 8);
}

uint64_t *guest_context_entry(struct rig *rig, nst_rid rid)
{
	return mem64(rig, GPA_CONTEXT + (uint64_t)(rid >> 7) * 4096 + (rid & 0x7f) * 32);
}

/* Directories are 128 entries, tables 64; a device has one table, for PASIDs 0 to 63. */
static uint64_t pasids_of(struct rig *rig, nst_rid rid)
{
	static const nst_rid spare[] = { RIG_SPARE_1, RIG_SPARE_2, RIG_SPARE_3 };

	for (unsigned int i = 0; i < RIG_MAX_DEVICES; i++)
		if (rig->devices[i].rid == rid && (i < rig->num_devices))
			return GPA_PASIDS + i * 0x2000;
	for (unsigned int i = 0; i < ARRAY_SIZE(spare); i++)
		if (spare[i] == rid)
			return GPA_PASIDS + (RIG_MAX_DEVICES + i) * 0x2000;
	fail_msg("no device 0x%x", rid);
	return 0;
}

uint64_t *guest_dir_entry(struct rig *rig, nst_rid rid, uint32_t pasid)
{
	return mem64(rig, pasids_of(rig, rid) + (pasid >> 6) * 8);
}

uint64_t *guest_pasid_entry(struct rig *rig, nst_rid rid, uint32_t pasid)
{
	return mem64(rig, pasids_of(rig, rid) + 0x1000 + (pasid & 63) * 64);
}

void guest_make_tables(struct rig *rig, nst_rid rid)
{
	uint64_t pasids = pasids_of(rig, rid);

	assert_true(rid < 0x200);
	*guest_root_entry(rig, rid) = (GPA_CONTEXT + (uint64_t)(rid >> 7) * 4096) | 1;
	memset(guest_context_entry(rig, rid), 0, 32);
	guest_context_entry(rig, rid)[0] = pasids | 1;
	*guest_dir_entry(rig, rid, 0) = (pasids + 0x1000) | 1;
	guest_set_absent(rig, rid);
}

static void set_entry(struct rig *rig, nst_rid rid, uint64_t qw0, uint64_t qw1, uint64_t qw2)
{
	uint64_t *entry = guest_pasid_entry(rig, rid, 0);

	entry[0] = qw0;
	entry[1] = qw1;
	entry[2] = qw2;
}

void guest_set_absent(struct rig *rig, nst_rid rid)
{
	set_entry(rig, rid, 0, 0, 0);
}

void guest_set_bypass(struct rig *rig, nst_rid rid)
{
	set_entry(rig, rid, PASID_PRESENT | PASID_PASS_THROUGH, 1, 0);
}

void guest_set_stage1(struct rig *rig, nst_rid rid, uint64_t root, uint16_t did)
{
	set_entry(rig, rid, PASID_PRESENT | PASID_FIRST_STAGE, did, root);
}

/* --- queue ----------------------------------------------------------------------------------- */

void iq_put(struct rig *rig, uint64_t qw0, uint64_t qw1)
{
	uint64_t size = rig->narrow ? 16 : 32;
	uint64_t *at = mem64(rig, GPA_QUEUE + rig->tail);

	memset(at, 0, size);
	at[0] = qw0;
	at[1] = qw1;
	rig->tail = (rig->tail + size) % 4096;
}

void iq_kick(struct rig *rig)
{
	reg32_set(rig, REG_IQT, (uint32_t)rig->tail);
}

void iq_run(struct rig *rig, uint64_t qw0, uint64_t qw1)
{
	iq_put(rig, qw0, qw1);
	iq_sync(rig);
}

void iq_sync(struct rig *rig)
{
	iq_put(rig, DESC_WAIT(++rig->status), GPA_STATUS);
	iq_kick(rig);
	assert_int_equal(mem32(rig, GPA_STATUS), rig->status);
	assert_int_equal(reg64(rig, REG_IQH), rig->tail);
}

void iq_enable(struct rig *rig)
{
	rig->tail = 0;
	reg32_set(rig, REG_IQT, 0);
	reg64_set(rig, REG_IQA, GPA_QUEUE | (rig->narrow ? 0 : 1u << 11));
	gcmd(rig, GCMD_QIE, 0);
	assert_int_equal(reg32(rig, REG_GSTS) & GCMD_QIE, GCMD_QIE);
}

void guest_sync(struct rig *rig)
{
	iq_run(rig, DESC_CONTEXT(1, 0, 0), 0);
	iq_run(rig, PC_GLOBAL, 0);
}

void guest_enable(struct rig *rig)
{
	for (unsigned int i = 0; i < rig->num_devices; i++)
		guest_make_tables(rig, rig->devices[i].rid);
	reg64_set(rig, REG_RTADDR, GPA_ROOT | 1u << 10);
	gcmd(rig, GCMD_SRTP, 0);
	assert_int_equal(reg32(rig, REG_GSTS) & GCMD_SRTP, GCMD_SRTP);
	iq_enable(rig);
	guest_sync(rig);
	gcmd(rig, GCMD_TE, 0);
	assert_int_equal(reg32(rig, REG_GSTS) & GCMD_TE, GCMD_TE);
}

/* --- faults ---------------------------------------------------------------------------------- */

unsigned int fault_reason(struct rig *rig, unsigned int index)
{
	uint64_t hi = reg64(rig, REG_FRCD + 16 * index + 8);

	return hi >> 63 ? (hi >> 32) & 0xff : 0;
}

unsigned int faults_pending(struct rig *rig)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < 8; i++)
		count += fault_reason(rig, i) != 0;
	return count;
}

void faults_clear(struct rig *rig)
{
	for (unsigned int i = 0; i < 8; i++)
		reg32_set(rig, REG_FRCD + 16 * i + 12, 1u << 31);
	reg32_set(rig, REG_FSTS, FSTS_PFO);
}

/* --- places ---------------------------------------------------------------------------------- */

int nested_alive(struct rig *rig)
{
	return rig->host.live_objects - 2 - (rig_unit(rig)->page.fd >= 0);
}

void set_place(struct rig *rig, struct rig_device *d, enum place place)
{
	const uint64_t roots[] = { [PLACE_A] = rig->root_a, [PLACE_B] = rig->root_b,
				   [PLACE_C] = rig->root_c };

	if (place == NOWHERE)
		guest_set_absent(rig, d->rid);
	else if (place == PLACE_SAME)
		guest_set_bypass(rig, d->rid);
	else
		guest_set_stage1(rig, d->rid, roots[place], (uint16_t)(10 + place));
}

void go(struct rig *rig, struct rig_device *d, enum place place)
{
	set_place(rig, d, place);
	iq_run(rig, PC_GLOBAL, 0);
	assert_int_equal(place_of(d), place);
	assert_int_equal(nested_alive(rig), place >= PLACE_A);
}

void add_two_more(struct rig *rig)
{
	rig_add_device(rig);
	rig_add_device(rig);
	guest_enable(rig);
}
