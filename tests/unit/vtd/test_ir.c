// SPDX-License-Identifier: BSD-3-Clause
/*
 * Interrupt remapping: tables of requests and entries typed from VT-d 4.1 s5.1 and s9.9,
 * s9.10, and random ones against a decoder that goes through the 128 bits one by one.
 */
#include "rig.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define REG_IRTA 0xb8
#define GCMD_IRE 0x02000000u
#define GCMD_SIRTP 0x01000000u
#define GCMD_CFI 0x00800000u
#define GPA_IRT 0x40000ULL /* 256 entries: its size is 7 */
#define DESC_IEC(index, bits) (4ULL | 1 << 4 | (uint64_t)(bits) << 27 | (uint64_t)(index) << 32)

enum { XAPIC = 0, EIME = 1 << 11, SIZE = 7, ENTRIES = 256, RID = 0x1234 };

/* A request for entry @index, without and with a subhandle. */
#define MSI(index) (0xfee00010u | ((index)&0x7fff) << 5 | (uint32_t)(index) >> 15 << 2)
#define MSI_SHV(index) (MSI(index) | 8)

/* --- rig ------------------------------------------------------------------------------------- */

static struct {
	unsigned int count;
	uint32_t first, number;
	struct nst_interrupt seen; /* of entry 3, when it changed */
} changes;

static void no_msi(void *opaque, uint64_t address, uint32_t data)
{
	struct rig *rig = opaque;

	rig->num_msis++;
}

static void changed(void *opaque, uint32_t first, uint32_t count)
{
	struct rig *rig = opaque;

	changes.count++;
	changes.first = first;
	changes.number = count;
	if (rig->viommu) /* what a VMM does: its routes anew, from within */
		ok(nst_viommu_remap_msi(rig->viommu, RID, MSI(3), 0, NST_REMAP_QUIET,
					&changes.seen));
}

static void new_unit(struct rig *rig, bool x2apic, bool post)
{
	struct nst_vtd_config config = {
		.vm = rig->vm,
		.log = &rig->log,
		.send_msi = no_msi,
		.opaque = rig,
		.remap_interrupts = true,
		.x2apic = x2apic,
		.post_interrupts = post,
		.interrupts_changed = changed,
	};

	nst_viommu_destroy(rig->viommu);
	rig->viommu = NULL;
	ok(nst_vtd_create(&config, &rig->viommu));
	memset(&changes, 0, sizeof(changes));
}

static int setup(void **state)
{
	struct rig *rig = rig_create();

	new_unit(rig, true, true);
	*state = rig;
	return 0;
}

static void command(struct rig *rig, uint32_t set, uint32_t clear)
{
	uint32_t levels = GCMD_TE | GCMD_QIE | GCMD_IRE | GCMD_CFI;

	reg32_set(rig, REG_GCMD, (reg32(rig, REG_GSTS) & levels & ~clear) | set);
}

static void set_table(struct rig *rig, uint64_t irta)
{
	reg64_set(rig, REG_IRTA, irta);
	command(rig, GCMD_SIRTP, 0);
}

static void enable(struct rig *rig, uint64_t mode)
{
	set_table(rig, GPA_IRT | SIZE | mode);
	command(rig, GCMD_IRE, 0);
}

static void set_entry(struct rig *rig, uint32_t index, uint64_t qw0, uint64_t qw1)
{
	*mem64(rig, GPA_IRT + 16 * index) = qw0;
	*mem64(rig, GPA_IRT + 16 * index + 8) = qw1;
}

static struct nst_interrupt request(struct rig *rig, nst_rid rid, uint64_t address, uint32_t data)
{
	struct nst_interrupt out;

	memset(&out, 0x5a, sizeof(out));
	ok(nst_viommu_remap_msi(rig->viommu, rid, address, data, 0, &out));
	return out;
}

static void blocked(struct rig *rig, nst_rid rid, uint64_t address, uint32_t data,
		    unsigned int reason, uint16_t index)
{
	struct nst_interrupt out = request(rig, rid, address, data);
	unsigned int place = reg32(rig, REG_FSTS) >> 8 & 0xff;

	assert_int_equal(out.kind, NST_INTERRUPT_BLOCKED);
	assert_int_equal(fault_reason(rig, place), reason);
	if (reason) {
		/* F, no T1; the reason; who. And the index on top. */
		assert_true(reg64(rig, REG_FRCD + 16 * place + 8) ==
			    (1ULL << 63 | (uint64_t)reason << 32 | rid));
		assert_true(reg64(rig, REG_FRCD + 16 * place) == (uint64_t)index << 48);
	}
	assert_int_equal(faults_pending(rig), reason != 0);
	faults_clear(rig);
	/* quietly the same, without the record */
	memset(&out, 0x5a, sizeof(out));
	ok(nst_viommu_remap_msi(rig->viommu, rid, address, data, NST_REMAP_QUIET, &out));
	assert_int_equal(out.kind, NST_INTERRUPT_BLOCKED);
	assert_int_equal(faults_pending(rig), 0);
}

static void delivered(struct nst_interrupt out, uint64_t address, uint32_t data)
{
	assert_int_equal(out.kind, NST_INTERRUPT_MESSAGE);
	assert_true(out.address == address);
	assert_int_equal(out.data, data);
}

/* --- offering and enabling ------------------------------------------------------------------- */

static void it_is_there_when_asked_for(void **state)
{
	static const struct {
		bool remap, x2apic, post, good;
		uint64_t ecap, cap;
	} cases[] = {
		{ false, false, false, true, 0, 0 },
		{ true, false, false, true, 0xf00008, 0 },
		{ true, true, false, true, 0xf00018, 0 },
		{ true, false, true, true, 0xf00008, 1ULL << 59 },
		{ true, true, true, true, 0xf00018, 1ULL << 59 },
		{ false, true, false, false, 0, 0 },
		{ false, false, true, false, 0, 0 },
	};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct nst_vtd_config config = { .vm = rig->vm,
						 .remap_interrupts = cases[i].remap,
						 .x2apic = cases[i].x2apic,
						 .post_interrupts = cases[i].post };
		struct nst_viommu *unit = NULL;

		assert_int_equal(nst_vtd_create(&config, &unit), cases[i].good ? 0 : -EINVAL);
		if (!unit)
			continue;
		assert_true((nst_viommu_mmio_read(unit, REG_ECAP, 8) & 0xf00018) == cases[i].ecap);
		assert_true((nst_viommu_mmio_read(unit, REG_CAP, 8) & 1ULL << 59) == cases[i].cap);
		nst_viommu_destroy(unit);
	}
}

static void without_it_messages_pass(void **state)
{
	struct rig *rig = *state;
	struct nst_vtd_config config = { .vm = rig->vm };
	struct nst_viommu *unit = rig->viommu;
	struct nst_interrupt out;
	nst_gpa doorbell = { 77 };

	ok(nst_vtd_create(&config, &rig->viommu));
	set_table(rig, GPA_IRT | SIZE);
	command(rig, GCMD_IRE | GCMD_CFI, 0);
	assert_int_equal(reg32(rig, REG_GSTS), 0);
	delivered(request(rig, RID, MSI(3), 77), MSI(3), 77);
	/* what is no interrupt is not for us */
	err(EINVAL, nst_viommu_msi_doorbell(rig->viommu, RID, (nst_iova){ 0xfedffffc }, &doorbell));
	err(EINVAL, nst_viommu_msi_doorbell(rig->viommu, RID, (nst_iova){ 0xfef00000 }, &doorbell));
	err(EINVAL, nst_viommu_msi_doorbell(rig->viommu, RID, (nst_iova){ 1ULL << 32 | 0xfee00000 },
					    &doorbell));
	assert_int_equal(doorbell.v, 77);
	ok(nst_viommu_msi_doorbell(rig->viommu, RID, (nst_iova){ 0xfeeff00c }, &doorbell));
	assert_int_equal(doorbell.v, 0xfeeff00c);
	err(EINVAL, nst_viommu_remap_msi(rig->viommu, RID, 0xfed00000, 1, 0, &out));
	err(EINVAL, nst_viommu_remap_msi(rig->viommu, RID, 0xfef00000, 1, 0, &out));
	err(EINVAL, nst_viommu_remap_msi(rig->viommu, RID, 0x1fee00000, 1, 0, &out));
	err(EINVAL, nst_viommu_remap_msi(rig->viommu, RID, 0xfee00000, 1, 2, &out));
	nst_viommu_destroy(rig->viommu);
	rig->viommu = unit;
}

static void commands_and_their_status(void **state)
{
	struct rig *rig = *state;

	set_entry(rig, 3, 1 | 0x42 << 16, 0);
	reg64_set(rig, REG_IRTA, GPA_IRT | SIZE);
	delivered(request(rig, RID, MSI(3), 1), MSI(3), 1);
	command(rig, GCMD_SIRTP, 0);
	assert_int_equal(reg32(rig, REG_GSTS), GCMD_SIRTP);
	/* latched, not enabled */
	delivered(request(rig, RID, MSI(3), 1), MSI(3), 1);
	command(rig, GCMD_IRE, 0);
	assert_int_equal(reg32(rig, REG_GSTS), GCMD_SIRTP | GCMD_IRE);
	delivered(request(rig, RID, MSI(3), 1), 0xfee00000, 0x4042);
	/* written, not latched */
	reg64_set(rig, REG_IRTA, GPA_NOTHING | SIZE);
	delivered(request(rig, RID, MSI(3), 1), 0xfee00000, 0x4042);
	blocked(rig, RID, 0xfee00000, 0x31, 0x25, 0);
	command(rig, GCMD_CFI, 0);
	assert_int_equal(reg32(rig, REG_GSTS), GCMD_SIRTP | GCMD_IRE | GCMD_CFI);
	delivered(request(rig, RID, 0xfee01004, 0x31), 0xfee01004, 0x31);
	/* the others are not disturbed by it, nor it by them */
	command(rig, GCMD_TE, 0);
	iq_enable(rig); /* this driver knows nothing of interrupts: its GCMD has IRE clear */
	assert_int_equal(reg32(rig, REG_GSTS), GCMD_SIRTP | GCMD_TE | GCMD_QIE);
	delivered(request(rig, RID, MSI(3), 1), MSI(3), 1);
	command(rig, GCMD_IRE, 0);
	delivered(request(rig, RID, MSI(3), 1), 0xfee00000, 0x4042);
	command(rig, GCMD_SIRTP, 0);
	blocked(rig, RID, MSI(3), 1, 0x23, 3);
	nst_viommu_reset(rig->viommu);
	assert_int_equal(reg32(rig, REG_GSTS), 0);
	delivered(request(rig, RID, MSI(3), 1), MSI(3), 1);
}

/* With 32-bit destinations messages in compatibility format are blocked, whatever CFI says. */
static void extended_mode_blocks_compatibility_format(void **state)
{
	struct rig *rig = *state;

	enable(rig, EIME);
	command(rig, GCMD_CFI, 0);
	blocked(rig, RID, 0xfee00000, 0x31, 0x25, 0);
	/* a unit without it does not know the bit */
	new_unit(rig, false, false);
	enable(rig, EIME);
	command(rig, GCMD_CFI, 0);
	delivered(request(rig, RID, 0xfee00000, 0x31), 0xfee00000, 0x31);
}

static void the_vmm_hears_of_every_change(void **state)
{
	static const struct {
		uint64_t qw0;
		uint32_t first, number;
	} sent[] = {
		{ 4, 0, 65536 },
		{ DESC_IEC(3, 0), 3, 1 },
		{ DESC_IEC(7, 2), 4, 4 },
		{ DESC_IEC(0xffff, 15), 0x8000, 0x8000 },
	};
	struct rig *rig = *state;
	unsigned int count;

	iq_enable(rig);
	assert_int_equal(changes.count, 0);
	set_table(rig, GPA_IRT | SIZE);
	assert_int_equal(changes.count, 1);
	set_entry(rig, 3, 1 | 0x42 << 16, 0);
	command(rig, GCMD_IRE, 0);
	assert_int_equal(changes.count, 2);
	assert_int_equal(changes.number, 65536);
	delivered(changes.seen, 0xfee00000, 0x4042);
	for (size_t i = 0; i < ARRAY_SIZE(sent); i++) {
		set_entry(rig, 3, 1 | (0x50 + i) << 16, 0);
		count = changes.count;
		iq_put(rig, sent[i].qw0, 0);
		iq_put(rig, DESC_WAIT(++rig->status), GPA_STATUS);
		iq_kick(rig);
		assert_int_equal(mem32(rig, GPA_STATUS), rig->status);
		assert_int_equal(changes.count, count + 1);
		assert_int_equal(changes.first, sent[i].first);
		assert_int_equal(changes.number, sent[i].number);
		delivered(changes.seen, 0xfee00000, (uint32_t)(0x4050 + i));
	}
	count = changes.count;
	command(rig, GCMD_CFI, 0);
	assert_int_equal(changes.count, count + 1);
	command(rig, GCMD_CFI, 0); /* it is on: nothing changes */
	assert_int_equal(changes.count, count + 1);
	nst_viommu_reset(rig->viommu);
	assert_int_equal(changes.count, count + 2);
	delivered(changes.seen, MSI(3), 0);
}

/* --- requests -------------------------------------------------------------------------------- */

static void handles_and_subhandles(void **state)
{
	static const struct {
		uint64_t address;
		uint32_t data;
		unsigned int reason;
		uint16_t index;
	} cases[] = {
		{ MSI(0), 0, 0, 0 },
		{ MSI(255), 0xffffffff, 0, 255 },
		{ MSI(256), 0, 0x21, 256 },
		{ MSI(0x7fff), 0, 0x21, 0x7fff },
		{ MSI(0x8000), 0, 0x21, 0x8000 },
		{ MSI(0xffff), 0, 0x21, 0xffff },
		{ MSI_SHV(5), 0, 0, 5 },
		{ MSI_SHV(5), 10, 0, 15 },
		{ MSI_SHV(0), 255, 0, 255 },
		{ MSI_SHV(1), 255, 0x21, 256 },
		{ MSI_SHV(0), 0x10000, 0x20, 0 },
		{ MSI_SHV(0), 0x80000001, 0x20, 0 },
		{ MSI_SHV(0xffff), 0xffff, 0x21, 0xfffe }, /* no wrapping round */
		{ MSI(7) | 3, 0, 0, 7 },		   /* bits 1:0 do not matter */
	};
	struct rig *rig = *state;

	enable(rig, EIME);
	for (uint32_t i = 0; i < ENTRIES; i++)
		set_entry(rig, i, 1 | (uint64_t)(0x1000 + i) << 32, 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t dest = 0x1000u + cases[i].index;

		if (cases[i].reason)
			blocked(rig, RID, cases[i].address, cases[i].data, cases[i].reason,
				cases[i].index);
		else
			delivered(request(rig, RID, cases[i].address, cases[i].data),
				  (uint64_t)(dest & ~0xffu) << 32 | 0xfee00000 |
					  (dest & 0xff) << 12,
				  0x4000);
	}
}

static void every_size_of_the_table(void **state)
{
	struct rig *rig = *state;

	for (uint64_t size = 0; size < 16; size++) {
		uint32_t entries = 2u << size;
		uint64_t table = 0x100000;

		set_table(rig, table | size);
		command(rig, GCMD_IRE, 0);
		memset(mem64(rig, table), 0, 1 << 20);
		*mem64(rig, table + 16 * (entries - 1)) = 1 | 0x99 << 16;
		delivered(request(rig, RID, MSI(entries - 1), 0), 0xfee00000, 0x4099);
		if (entries < 65536)
			blocked(rig, RID, MSI(entries), 0, 0x21, (uint16_t)entries);
		else
			blocked(rig, RID, MSI_SHV(65535), 1, 0x21, 0);
	}
}

static void io_apic_entries(void **state)
{
	struct rig *rig = *state;
	struct nst_interrupt out;

	enable(rig, XAPIC);
	command(rig, GCMD_CFI, 0);
	/* compatibility: destination 0x12 logical, level, vector 0x31; masked or not is not ours */
	ok(nst_viommu_remap_ioapic(rig->viommu, RID,
				   0x12ULL << 56 | 1 << 16 | 1 << 15 | 1 << 11 | 0x31, 0, &out));
	delivered(out, 0xfee12004, 0xc031);
	/* lowest priority */
	ok(nst_viommu_remap_ioapic(rig->viommu, RID, 0x12ULL << 56 | 1 << 8 | 0x31, 0, &out));
	delivered(out, 0xfee12008, 0x4131);
	/* remappable: index 200; polarity, status and remote IRR do not matter */
	set_entry(rig, 200, 1 | 1 << 4 | 0x77 << 16 | 0x34ULL << 40, RID | 1ULL << 18);
	ok(nst_viommu_remap_ioapic(rig->viommu, RID, 200ULL << 49 | 1ULL << 48 | 7 << 12 | 0x31, 0,
				   &out));
	delivered(out, 0xfee34000, 0xc077);
	ok(nst_viommu_remap_ioapic(rig->viommu, RID + 1, 200ULL << 49 | 1ULL << 48, 0, &out));
	assert_int_equal(out.kind, NST_INTERRUPT_BLOCKED);
	assert_int_equal(fault_reason(rig, 0), 0x26);
	faults_clear(rig);
	/* index 0x8005: its top bit is bit 11 */
	ok(nst_viommu_remap_ioapic(rig->viommu, RID, 5ULL << 49 | 1ULL << 48 | 1 << 11, 0, &out));
	assert_int_equal(out.kind, NST_INTERRUPT_BLOCKED);
	assert_true(reg64(rig, REG_FRCD + 16) == 0x8005ULL << 48);
}

/* --- entries --------------------------------------------------------------------------------- */

static void requesters_are_verified(void **state)
{
	static const struct {
		unsigned int svt, sq;
		uint16_t sid, rid;
		unsigned int reason;
	} cases[] = {
		{ 0, 0, 0x1111, 0x2222, 0 },	{ 0, 3, 0, 0xffff, 0 },
		{ 1, 0, 0x1234, 0x1234, 0 },	{ 1, 0, 0x1234, 0x1235, 0x26 },
		{ 1, 0, 0x1234, 0x9234, 0x26 }, { 1, 0, 0x1234, 0x1230, 0x26 },
		{ 1, 1, 0x1234, 0x1230, 0 },	{ 1, 1, 0x1234, 0x1236, 0x26 },
		{ 1, 1, 0x1234, 0x1235, 0x26 }, { 1, 1, 0x1234, 0x123c, 0x26 },
		{ 1, 2, 0x1234, 0x1236, 0 },	{ 1, 2, 0x1234, 0x1232, 0 },
		{ 1, 2, 0x1234, 0x1235, 0x26 }, { 1, 2, 0x1234, 0x1334, 0x26 },
		{ 1, 3, 0x1234, 0x1237, 0 },	{ 1, 3, 0x1234, 0x1230, 0 },
		{ 1, 3, 0x1234, 0x1238, 0x26 }, { 2, 0, 0x1020, 0x1000, 0 },
		{ 2, 0, 0x1020, 0x20ff, 0 },	{ 2, 3, 0x1020, 0x1812, 0 },
		{ 2, 0, 0x1020, 0x0fff, 0x26 }, { 2, 0, 0x1020, 0x2100, 0x26 },
		{ 2, 0, 0x2010, 0x1800, 0x26 }, /* from 0x20 to 0x10: nobody */
		{ 2, 0, 0x1010, 0x1055, 0 },	{ 3, 0, 0x1234, 0x1234, 0x24 },
		{ 3, 0, 0, 0x1234, 0x24 },
	};
	struct rig *rig = *state;

	enable(rig, XAPIC);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t qw1 = cases[i].sid | (uint64_t)cases[i].sq << 16 |
			       (uint64_t)cases[i].svt << 18;

		for (int post = 0; post < 2; post++) {
			set_entry(rig, 9, 1 | (uint64_t)post << 15, qw1);
			if (cases[i].reason)
				blocked(rig, cases[i].rid, MSI(9), 0, cases[i].reason, 9);
			else
				assert_int_equal(request(rig, cases[i].rid, MSI(9), 0).kind,
						 post ? NST_INTERRUPT_POSTED
						      : NST_INTERRUPT_MESSAGE);
		}
	}
	/* a wrong requester of a wrong entry: the requester comes first */
	set_entry(rig, 9, 1 | 1 << 12, RID | 1 << 18);
	blocked(rig, RID + 1, MSI(9), 0, 0x26, 9);
	blocked(rig, RID, MSI(9), 0, 0x24, 9);
}

static void what_cannot_be_read(void **state)
{
	struct rig *rig = *state;

	set_table(rig, GPA_NOTHING | SIZE);
	command(rig, GCMD_IRE, 0);
	blocked(rig, RID, MSI(9), 0, 0x23, 9);
	set_table(rig, 0xfffffffffffff000 | 15); /* wraps round at the end of the world */
	blocked(rig, RID, MSI(9), 0, 0x23, 9);
	set_table(rig, (RIG_MEMORY - 4096) | 15);
	*mem64(rig, RIG_MEMORY - 16) = 1;
	*mem64(rig, RIG_MEMORY - 8) = 0;
	delivered(request(rig, RID, MSI(255), 0), 0xfee00000, 0x4000);
	blocked(rig, RID, MSI(256), 0, 0x23, 256);
}

/* FPD: of the faults that know the entry. It counts in an entry that is not present, too. */
static void faults_that_nobody_wants_to_know(void **state)
{
	struct rig *rig = *state;

	enable(rig, XAPIC);
	set_entry(rig, 9, 0, 0);
	blocked(rig, RID, MSI(9), 0, 0x22, 9);
	set_entry(rig, 9, 2, 0);
	blocked(rig, RID, MSI(9), 0, 0, 9);
	set_entry(rig, 9, 3 | 1 << 12, 0);
	blocked(rig, RID, MSI(9), 0, 0, 9);
	set_entry(rig, 9, 3, (RID + 1) | 1 << 18);
	blocked(rig, RID, MSI(9), 0, 0, 9);
	set_entry(rig, 9, 3, 0);
	delivered(request(rig, RID, MSI(9), 0), 0xfee00000, 0x4000);
}

static void posting_is_offered_or_reserved(void **state)
{
	struct rig *rig = *state;
	struct nst_interrupt out;

	for (int offered = 0; offered < 2; offered++) {
		new_unit(rig, true, offered);
		enable(rig, EIME);
		set_entry(rig, 9, 1 | 1 << 15 | 1 << 14 | 0xab << 16 | 0x12345678ULL << 32,
			  0xfedcba98ULL << 32);
		set_entry(rig, 9, *mem64(rig, GPA_IRT + 9 * 16) & ~(0x3fULL << 32),
			  0xfedcba98ULL << 32);
		if (!offered) {
			blocked(rig, RID, MSI(9), 0, 0x24, 9);
			continue;
		}
		out = request(rig, RID, MSI(9), 0);
		assert_int_equal(out.kind, NST_INTERRUPT_POSTED);
		assert_true(out.descriptor.v == 0xfedcba9812345640);
		assert_int_equal(out.vector, 0xab);
		assert_true(out.urgent);
		assert_true(out.address == 0 && out.data == 0);
	}
}

/* The same, bit by bit. Every bit has a name here, and where it goes. */
static unsigned int naive(const uint64_t qw[2], nst_rid rid, bool eime, bool posting,
			  struct nst_interrupt *out)
{
	int bit[128], sid = 0, svt, sq, differ = 0;
	uint64_t dest = 0, pda = 0;
	unsigned int vector = 0, dlm = 0;
	bool reserved = false, posted;

	for (int i = 0; i < 128; i++)
		bit[i] = (int)(qw[i / 64] >> i % 64 & 1);
	if (!bit[0])
		return 0x22;
	for (int i = 0; i < 16; i++)
		sid += bit[64 + i] << i;
	sq = bit[80] + 2 * bit[81];
	svt = bit[82] + 2 * bit[83];
	for (int i = 0; i < 16; i++) {
		bool skip = (i == 2 && sq >= 1) || (i == 1 && sq >= 2) || (i == 0 && sq == 3);

		differ += !skip && (rid >> i & 1) != (sid >> i & 1);
	}
	if (svt == 1 && differ)
		return 0x26;
	if (svt == 2 && (rid / 256 < sid / 256 || rid / 256 > sid % 256))
		return 0x26;
	if (svt == 3)
		return 0x24;
	posted = bit[15];
	if (posted && !posting)
		return 0x24;
	for (int i = 84; i < (posted ? 96 : 128); i++)
		reserved |= bit[i];
	for (int i = 24; i < (posted ? 38 : 32); i++)
		reserved |= bit[i];
	reserved |= bit[12] || bit[13] || (!posted && bit[14]);
	for (int i = 2; posted && i < 8; i++)
		reserved |= bit[i];
	for (int i = 32; !posted && !eime && i < 64; i++)
		reserved |= bit[i] && (i < 40 || i > 47);
	if (reserved)
		return 0x24;
	for (int i = 0; i < 8; i++)
		vector += (unsigned int)bit[16 + i] << i;
	for (int i = 0; i < 3; i++)
		dlm += (unsigned int)bit[5 + i] << i;
	for (int i = 0; i < 32; i++)
		dest += (uint64_t)bit[32 + i] << i;
	dest = eime ? dest : dest >> 8;
	for (int i = 6; i < 64; i++)
		pda += (uint64_t)bit[i < 32 ? 32 + i : 64 + i] << i;
	*out = (struct nst_interrupt){ .kind = posted ? NST_INTERRUPT_POSTED
						      : NST_INTERRUPT_MESSAGE };
	if (posted) {
		out->descriptor.v = pda;
		out->vector = (uint8_t)vector;
		out->urgent = bit[14];
		return 0;
	}
	out->address = dest / 256 * (1ULL << 40) + 0xfee00000 + dest % 256 * 4096 +
		       8 * (unsigned int)bit[3] + 4 * (unsigned int)bit[2];
	out->data = vector + 256 * dlm + 0x4000 + 0x8000 * (unsigned int)bit[4];
	return 0;
}

static void check_entry(const uint64_t qw[2], nst_rid rid, bool eime, bool posting,
			unsigned int seen[256])
{
	struct vtd_irte irte = { { le64_make(qw[0]), le64_make(qw[1]) } };
	struct vtd_irq_request req = { rid, eime, posting };
	struct nst_interrupt out = { 0 }, want = { 0 };
	unsigned int reason = naive(qw, rid, eime, posting, &want);

	if (vtd_irte_decode(&irte, &req, &out) != reason)
		fail_msg("entry %016llx %016llx", (unsigned long long)qw[1],
			 (unsigned long long)qw[0]);
	assert_true(out.kind == want.kind && out.address == want.address && out.data == want.data &&
		    out.descriptor.v == want.descriptor.v && out.vector == want.vector &&
		    out.urgent == want.urgent);
	seen[reason]++;
}

/* Every bit alone in good entries, and random words with few reserved bits, many, or all. */
static void entries_against_a_naive_decoder(void **state)
{
	unsigned int seen[256] = { 0 };
	uint64_t seed = 23;

	for (unsigned int variant = 0; variant < 16; variant++) {
		for (unsigned int bit = 0; bit < 128; bit++) {
			uint64_t qw[2] = { 1 | (variant & 1) << 15,
					   variant & 2 ? RID | 1 << 18 : 0 };

			qw[bit / 64] ^= 1ULL << bit % 64;
			check_entry(qw, RID, variant & 4, variant & 8, seen);
		}
	}
	for (int n = 0; n < 1000000; n++) {
		uint64_t r = test_random(&seed), mask0 = UINT64_MAX, mask1 = UINT64_MAX;
		uint64_t qw[2] = { test_random(&seed), test_random(&seed) };
		nst_rid rid = (nst_rid)(r >> 48);

		if (r & 3) { /* most: what software may set, and sometimes one bit more */
			bool posted = r & 4;

			mask0 = posted	? 0xffffffc000ffcf03
				: r & 8 ? 0xffffffff00ff0fff
					: 0xff0000ff0fff;
			mask1 = posted ? 0xffffffff000fffff : 0xfffff;
			qw[0] = (qw[0] & mask0) | 1 | (posted ? 1 << 15 : 0);
			qw[1] &= mask1;
			if (r & 16)
				qw[1] = (qw[1] & ~0xffffULL) | (rid ^ (r >> 8 & 7));
			if ((r & 96) == 96)
				qw[r >> 40 & 1] |= 1ULL << (r >> 32 & 63);
		}
		check_entry(qw, rid, r & 128, r & 1 << 20, seen);
	}
	for (unsigned int i = 0; i < 256; i++)
		assert_int_equal(seen[i] > 1000, i == 0 || i == 0x22 || i == 0x24 || i == 0x26);
}

/* --- together with the rest ------------------------------------------------------------------ */

static void faults_share_the_records_and_their_event(void **state)
{
	struct rig *rig = *state;

	enable(rig, XAPIC);
	reg32_set(rig, REG_FECTL, 0);
	for (unsigned int i = 0; i < 20; i++)
		assert_int_equal(request(rig, RID, MSI(i), 0).kind, NST_INTERRUPT_BLOCKED);
	assert_int_equal(faults_pending(rig), 8);
	assert_int_equal(rig->num_msis, 1);
	assert_int_equal(reg32(rig, REG_FSTS) & 3, FSTS_PFO | FSTS_PPF);
	for (unsigned int i = 0; i < 8; i++)
		assert_true(reg64(rig, REG_FRCD + 16 * i) == (uint64_t)i << 48);
}

static void it_is_saved_and_restored(void **state)
{
	struct rig *rig = *state;
	struct nst_viommu *plain;
	struct nst_vtd_config config = { .vm = rig->vm };
	size_t size;
	void *data;

	set_entry(rig, 3, 1 | 0x42 << 16 | 0x12345678ULL << 32, 0);
	enable(rig, EIME);
	reg64_set(rig, REG_IRTA, GPA_NOTHING); /* not latched */
	ok(nst_viommu_save(rig->viommu, &data, &size));
	new_unit(rig, true, true);
	ok(nst_viommu_restore(rig->viommu, data, size));
	assert_int_equal(reg32(rig, REG_GSTS), GCMD_SIRTP | GCMD_IRE);
	assert_true(reg64(rig, REG_IRTA) == GPA_NOTHING);
	delivered(request(rig, RID, MSI(3), 0), 0x12345600fee78000, 0x4042);
	blocked(rig, RID, 0xfee00000, 0x31, 0x25, 0);
	delivered(changes.seen, 0x12345600fee78000, 0x4042); /* the VMM was told */
	/* not into a unit without it, or with less of it */
	ok(nst_vtd_create(&config, &plain));
	err(EOPNOTSUPP, nst_viommu_restore(plain, data, size));
	nst_viommu_destroy(plain);
	new_unit(rig, false, true);
	err(EOPNOTSUPP, nst_viommu_restore(rig->viommu, data, size));
	new_unit(rig, true, false);
	err(EOPNOTSUPP, nst_viommu_restore(rig->viommu, data, size));
	free(data);
}

struct flipper {
	uint64_t *words;
	atomic_uint requests; /* that are done */
	atomic_bool stop;
};

/*
 * As a driver without 16-byte stores does it: first away, then the upper word, then back. At
 * most once during a request, since who changes it all the time is promised nothing.
 */
static void *flip_entry(void *opaque)
{
	struct flipper *f = opaque;
	unsigned int seen = 0;

	for (uint64_t i = 0; !atomic_load(&f->stop); i++) {
		uint64_t version = i & 0x3ffffff; /* in both words, and not soon again */

		__atomic_store_n(&f->words[0], 0, __ATOMIC_RELEASE);
		__atomic_store_n(&f->words[1], version << 32, __ATOMIC_RELEASE);
		__atomic_store_n(&f->words[0], 1 | 1 << 15 | version << 38, __ATOMIC_RELEASE);
		seen = atomic_load(&f->requests);
		while (atomic_load(&f->requests) == seen && !atomic_load(&f->stop))
			;
	}
	return NULL;
}

/* An entry is read whole: the two halves of the address are of one version. */
static void entries_change_while_they_are_read(void **state)
{
	struct rig *rig = *state;
	struct flipper f = { .words = mem64(rig, GPA_IRT + 16 * 3) };
	pthread_t thread;

	enable(rig, XAPIC);
	assert_int_equal(pthread_create(&thread, NULL, flip_entry, &f), 0);
	for (int i = 0; i < 1000000; i++) {
		struct nst_interrupt out;

		ok(nst_viommu_remap_msi(rig->viommu, RID, MSI(3), 0, NST_REMAP_QUIET, &out));
		if (out.kind == NST_INTERRUPT_POSTED &&
		    out.descriptor.v >> 32 != (uint32_t)out.descriptor.v >> 6)
			fail_msg("0x%llx", (unsigned long long)out.descriptor.v);
		atomic_fetch_add(&f.requests, 1);
	}
	atomic_store(&f.stop, true);
	pthread_join(thread, NULL);
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_RIG(it_is_there_when_asked_for),
		WITH_RIG(without_it_messages_pass),
		WITH_RIG(commands_and_their_status),
		WITH_RIG(extended_mode_blocks_compatibility_format),
		WITH_RIG(the_vmm_hears_of_every_change),
		WITH_RIG(handles_and_subhandles),
		WITH_RIG(every_size_of_the_table),
		WITH_RIG(io_apic_entries),
		WITH_RIG(requesters_are_verified),
		WITH_RIG(what_cannot_be_read),
		WITH_RIG(faults_that_nobody_wants_to_know),
		WITH_RIG(posting_is_offered_or_reserved),
		cmocka_unit_test(entries_against_a_naive_decoder),
		WITH_RIG(faults_share_the_records_and_their_event),
		WITH_RIG(it_is_saved_and_restored),
		WITH_RIG(entries_change_while_they_are_read),
	};

	return cmocka_run_group_tests_name("vtd interrupt remapping", tests, NULL, NULL);
}
