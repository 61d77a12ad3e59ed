// SPDX-License-Identifier: BSD-3-Clause
/*
 * Registers and capabilities: VTD_REGISTERS against a table of its own, typed from VT-d
 * 4.1 s11.4, and every access size at every offset.
 */
#include "rig.h"

#include "spec/vtd_caps.h"

#include <string.h>

/* --- the register file alone ----------------------------------------------------------------- */

struct expected {
	uint16_t offset, bytes;
	uint64_t reset, rw, w1c;
	unsigned int hook;
};

#define ALL64 UINT64_MAX
#define ALL32 0xffffffffu

static const struct expected expected[] = {
	{ 0x000, 4, 0x10, 0, 0, 0 },				/* VER */
	{ 0x008, 8, 0xc0ffee, 0, 0, 0 },			/* CAP */
	{ 0x010, 8, 0xbeef, 0, 0, 0 },				/* ECAP */
	{ 0x018, 4, 0, 0, 0, VTD_HOOK_GCMD },			/* GCMD: write only */
	{ 0x01c, 4, 0, 0, 0, 0 },				/* GSTS */
	{ 0x020, 8, 0, 0xfffffffffffffc00, 0, 0 },		/* RTADDR */
	{ 0x028, 8, 0, 0xe00000030000ffff | 0xffff0000, 0, VTD_HOOK_CCMD }, /* no CAIG */
	{ 0x034, 4, 0, 0, 0x71, VTD_HOOK_FSTS },		/* FSTS: PFO IQE ICE ITE */
	{ 0x038, 4, 0x80000000, 0x80000000, 0, VTD_HOOK_FECTL },
	{ 0x03c, 4, 0, ALL32, 0, 0 },				/* FEDATA */
	{ 0x040, 4, 0, 0xfffffffc, 0, 0 },			/* FEADDR */
	{ 0x044, 4, 0, ALL32, 0, 0 },				/* FEUADDR */
	{ 0x080, 8, 0, 0, 0, 0 },				/* IQH */
	{ 0x088, 8, 0, 0x7fff0, 0, VTD_HOOK_IQT },
	{ 0x090, 8, 0, 0xfffffffffffff807, 0, 0 },		/* IQA: base, DW, QS */
	{ 0x09c, 4, 0, 0, 1, VTD_HOOK_ICS },
	{ 0x0a0, 4, 0x80000000, 0x80000000, 0, VTD_HOOK_IECTL },
	{ 0x0a4, 4, 0, ALL32, 0, 0 },				/* IEDATA */
	{ 0x0a8, 4, 0, 0xfffffffc, 0, 0 },			/* IEADDR */
	{ 0x0ac, 4, 0, ALL32, 0, 0 },				/* IEUADDR */
	{ 0x0b0, 8, 0, 0, 0, 0 },				/* IQERCD */
	{ 0x0b8, 8, 0, 0xfffffffffffff80f, 0, 0 },		/* IRTA: address, EIME, size */
	{ 0x0c0, 8, 0, 0x7ffe0, 0, 0 },				/* PQH */
	{ 0x0c8, 8, 0, 0x7ffe0, 0, 0 },				/* PQT */
	{ 0x0d0, 8, 0, 0xfffffffffffff007, 0, 0 },		/* PQA: base, PQS */
	{ 0x0dc, 4, 0, 0, 3, VTD_HOOK_PRS },			/* PPR PRO */
	{ 0x0e0, 4, 0x80000000, 0x80000000, 0, VTD_HOOK_PECTL },
	{ 0x0e4, 4, 0, ALL32, 0, 0 },				/* PEDATA */
	{ 0x0e8, 4, 0, 0xfffffffc, 0, 0 },			/* PEADDR */
	{ 0x0ec, 4, 0, ALL32, 0, 0 },				/* PEUADDR */
	{ 0xf00, 8, 0, 0xfffffffffffff07f, 0, 0 },		/* IVA: address, IH, AM */
	{ 0xf08, 8, 0, 0xb003ffff00000000, 0, VTD_HOOK_IOTLB },	/* no IAIG */
#define FRCD(n)                                  \
	{ 0x220 + 16 * (n), 8, 0, 0, 0, 0 }, \
	{ 0x228 + 16 * (n), 8, 0, 0, 1ULL << 63, VTD_HOOK_FRCD }
	FRCD(0), FRCD(1), FRCD(2), FRCD(3), FRCD(4), FRCD(5), FRCD(6), FRCD(7),
};

static const uint16_t table_offsets[VTD_NUM_REGS] = {
#define OFFSET(name, offset, ...) offset,
	VTD_REGISTERS(OFFSET)
};

static void regs_new(struct vtd_regs *regs)
{
	vtd_regs_init(regs);
	vtd_regs_reset(regs, 0xc0ffee, 0xbeef);
}

/* The number of the register in the table under test. */
static enum vtd_reg reg_at(uint16_t offset)
{
	for (unsigned int i = 0; i < VTD_NUM_REGS; i++)
		if (table_offsets[i] == offset)
			return (enum vtd_reg)i;
	fail_msg("no register at 0x%x", offset);
	return VTD_NUM_REGS;
}

static uint64_t mask_of(const struct expected *e)
{
	return e->bytes == 8 ? ALL64 : ALL32;
}

static void the_table_agrees_with_the_specification(void **state)
{
	struct vtd_regs regs;

	assert_int_equal(ARRAY_SIZE(expected), VTD_NUM_REGS);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		const struct expected *e = &expected[i];
		enum vtd_reg reg = reg_at(e->offset);
		uint64_t ones = mask_of(e);

		regs_new(&regs);
		assert_true(vtd_regs_read(&regs, e->offset, e->bytes) == e->reset);
		/* ones and zeros: only what software may write changes */
		assert_int_equal(vtd_regs_write(&regs, e->offset, e->bytes, ALL64), e->hook);
		assert_true(vtd_regs_read(&regs, e->offset, e->bytes) == (e->reset | e->rw));
		vtd_regs_write(&regs, e->offset, e->bytes, 0);
		assert_true(vtd_regs_read(&regs, e->offset, e->bytes) == (e->reset & ~e->rw));
		/* all set by the unit: ones clear exactly the write-1-to-clear bits */
		vtd_reg_set(&regs, reg, ones);
		vtd_regs_write(&regs, e->offset, e->bytes, e->rw);
		assert_true(vtd_regs_read(&regs, e->offset, e->bytes) == ones);
		vtd_regs_write(&regs, e->offset, e->bytes, ALL64);
		assert_true(vtd_regs_read(&regs, e->offset, e->bytes) == (ones & ~e->w1c));
		vtd_regs_fini(&regs);
	}
}

static bool is_register(uint64_t offset)
{
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		if (offset >= expected[i].offset && offset < expected[i].offset + expected[i].bytes)
			return true;
	return false;
}

static void places_without_register_read_zero_and_keep_nothing(void **state)
{
	struct vtd_regs regs;

	regs_new(&regs);
	for (uint64_t at = 0; at < 4096; at += 4) {
		if (is_register(at))
			continue;
		assert_int_equal(vtd_regs_write(&regs, at, 4, ALL64), 0);
		assert_int_equal(vtd_regs_read(&regs, at, 4), 0);
	}
	assert_int_equal(vtd_regs_write(&regs, 4096, 4, ALL64), 0);
	assert_int_equal(vtd_regs_write(&regs, 4092, 8, ALL64), 0);
	assert_int_equal(vtd_regs_write(&regs, UINT64_MAX - 3, 4, ALL64), 0);
	assert_int_equal(vtd_regs_read(&regs, 4096, 4), 0);
	assert_int_equal(vtd_regs_read(&regs, UINT64_MAX - 7, 8), 0);
	vtd_regs_fini(&regs);
}

static void halves_of_wide_registers_are_written_one_by_one(void **state)
{
	struct vtd_regs regs;

	regs_new(&regs);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		const struct expected *e = &expected[i];

		if (e->bytes != 8)
			continue;
		vtd_regs_write(&regs, e->offset, 4, ALL32);
		assert_true(vtd_regs_read(&regs, e->offset, 8) ==
			    ((e->reset | e->rw) & ALL32) + (e->reset >> 32 << 32));
		vtd_regs_write(&regs, e->offset + 4, 4, ALL32);
		assert_true(vtd_regs_read(&regs, e->offset, 8) == (e->reset | e->rw));
		assert_int_equal(vtd_regs_read(&regs, e->offset + 4, 4),
				 (e->reset | e->rw) >> 32);
	}
	vtd_regs_fini(&regs);
}

/* QEMU once aborted there: reference/qemu.md 4.1 (9). */
static void wide_access_covers_two_narrow_registers(void **state)
{
	struct vtd_regs regs;

	regs_new(&regs);
	assert_int_equal(vtd_regs_write(&regs, 0x40, 8, 0x1234567887654321), 0);
	assert_int_equal(vtd_regs_read(&regs, 0x40, 4), 0x87654320);
	assert_int_equal(vtd_regs_read(&regs, 0x44, 4), 0x12345678);
	assert_true(vtd_regs_read(&regs, 0x40, 8) == 0x1234567887654320);
	assert_int_equal(vtd_regs_write(&regs, 0x38, 8, 0x5), VTD_HOOK_FECTL);
	assert_int_equal(vtd_regs_read(&regs, 0x38, 4), 0);
	assert_int_equal(vtd_regs_write(&regs, 0xa0, 8, 0xabcd00000000), VTD_HOOK_IECTL);
	assert_int_equal(vtd_regs_read(&regs, 0xa4, 4), 0xabcd);
	/* VER and what follows it */
	assert_int_equal(vtd_regs_read(&regs, 0, 8), 0x10);
	vtd_regs_fini(&regs);
}

static void odd_reads_give_the_bytes_that_are_there(void **state)
{
	struct vtd_regs regs;
	uint8_t bytes[4096];

	regs_new(&regs);
	for (unsigned int i = 0; i < VTD_NUM_REGS; i++)
		vtd_reg_set(&regs, (enum vtd_reg)i, 0x8877665544332211 * (i + 1));
	for (uint64_t at = 0; at < 4096; at++)
		bytes[at] = (uint8_t)vtd_regs_read(&regs, at, 1);
	for (uint64_t at = 0; at < 4096; at++)
		for (unsigned int size = 1; size <= 8 && at + size <= 4096; size *= 2)
			assert_true(vtd_regs_read(&regs, at, size) == le_load(&bytes[at], size));
	vtd_regs_fini(&regs);
}

/* --- a whole unit ---------------------------------------------------------------------------- */

static void snapshot(struct rig *rig, uint32_t page[1024])
{
	for (uint64_t i = 0; i < 1024; i++)
		page[i] = reg32(rig, 4 * i);
}

static void undefined_writes_change_nothing(void **state)
{
	struct rig *rig = *state;
	uint32_t before[1024], after[1024];

	guest_enable(rig);
	snapshot(rig, before);
	for (uint64_t at = 0; at < 4100; at++) {
		for (unsigned int size = 1; size <= 8; size *= 2) {
			if (size >= 4 && at % size == 0 && at < 4096)
				continue;
			nst_viommu_mmio_write(rig->viommu, at, size, ALL64);
		}
	}
	nst_viommu_mmio_write(rig->viommu, 0x20, 3, ALL64);
	nst_viommu_mmio_write(rig->viommu, 0x20, 16, ALL64);
	nst_viommu_mmio_write(rig->viommu, 0x20, 0, ALL64);
	snapshot(rig, after);
	assert_memory_equal(before, after, sizeof(before));
}

static void any_access_is_survived(void **state)
{
	static const uint64_t values[] = { 0, ALL64, 0x5555555555555555, 0xaaaaaaaaaaaaaaaa };
	struct rig *rig = *state;

	for (size_t v = 0; v < ARRAY_SIZE(values); v++) {
		for (uint64_t at = 0; at < 4100; at++) {
			for (unsigned int size = 1; size <= 8; size *= 2) {
				nst_viommu_mmio_write(rig->viommu, at, size, values[v]);
				nst_viommu_mmio_read(rig->viommu, at, size);
			}
		}
	}
	/* and still works */
	nst_viommu_reset(rig->viommu);
	guest_enable(rig);
	guest_set_stage1(rig, rig->devices[0].rid, rig->root_a, 5);
	guest_sync(rig);
	assert_int_equal(place_of(&rig->devices[0]), PLACE_A);
}

static void global_commands_are_acknowledged(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(reg32(rig, REG_GSTS), 0);
	/* RTADDR counts only once it is latched */
	reg64_set(rig, REG_RTADDR, 0x5000 | 1 << 10);
	assert_true(rig_unit(rig)->rtaddr == 0);
	gcmd(rig, GCMD_SRTP, 0);
	assert_int_equal(reg32(rig, REG_GSTS), GCMD_SRTP);
	assert_true(rig_unit(rig)->rtaddr == (0x5000 | 1 << 10));
	assert_true(reg64(rig, REG_RTADDR) == (0x5000 | 1 << 10));
	iq_enable(rig);
	assert_int_equal(reg32(rig, REG_GSTS), GCMD_SRTP | GCMD_QIE);
	gcmd(rig, GCMD_TE, 0);
	assert_int_equal(reg32(rig, REG_GSTS), GCMD_SRTP | GCMD_QIE | GCMD_TE);
	/* no write buffer to flush: done at once, status never seen */
	gcmd(rig, GCMD_WBF, 0);
	assert_int_equal(reg32(rig, REG_GSTS), GCMD_SRTP | GCMD_QIE | GCMD_TE);
	assert_int_equal(reg32(rig, REG_GCMD), 0);
	gcmd(rig, 0, GCMD_TE);
	assert_int_equal(reg32(rig, REG_GSTS), GCMD_SRTP | GCMD_QIE);
	gcmd(rig, 0, GCMD_QIE);
	assert_int_equal(reg32(rig, REG_GSTS), GCMD_SRTP);
	/* both halves of one 8-byte access: the status register is not written */
	nst_viommu_mmio_write(rig->viommu, REG_GCMD, 8, (uint64_t)ALL32 << 32 | GCMD_TE);
	assert_int_equal(reg32(rig, REG_GSTS), GCMD_SRTP | GCMD_TE);
	/* commands of features that are not offered */
	reg32_set(rig, REG_GCMD, 0x33ffffff);
	assert_int_equal(reg32(rig, REG_GSTS), GCMD_SRTP);
}

static void register_invalidation_clears_its_bit_and_reports_global(void **state)
{
	struct rig *rig = *state;

	for (uint64_t gran = 1; gran <= 3; gran++) {
		reg64_set(rig, REG_CCMD, 1ULL << 63 | gran << 61 | 0x12345678);
		assert_true(reg64(rig, REG_CCMD) == (gran << 61 | 1ULL << 59 | 0x12345678));
		reg64_set(rig, REG_IVA, 0x40000 | 3);
		reg64_set(rig, REG_IOTLB, 1ULL << 63 | gran << 60 | 7ULL << 32);
		assert_true(reg64(rig, REG_IOTLB) == (gran << 60 | 1ULL << 57 | 7ULL << 32));
	}
	/* in halves: the lower one alone does nothing */
	reg64_set(rig, REG_CCMD, 0);
	reg32_set(rig, REG_CCMD, 5);
	assert_int_equal(reg64(rig, REG_CCMD) >> 59, 1);
	reg32_set(rig, REG_CCMD + 4, 0xa0000000);
	assert_true(reg64(rig, REG_CCMD) == (1ULL << 61 | 1ULL << 59 | 5));
}

static void register_invalidation_does_its_work(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	guest_set_stage1(rig, d->rid, rig->root_a, 5);
	assert_int_equal(place_of(d), NOWHERE);
	reg64_set(rig, REG_CCMD, 1ULL << 63 | 1ULL << 61);
	assert_int_equal(place_of(d), PLACE_A);
	guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 2 * PAGE_SIZE_4K);
	assert_int_equal(place_of(d), PLACE_A);	/* cached */
	reg64_set(rig, REG_IOTLB, 1ULL << 63 | 1ULL << 60);
	assert_int_equal(place_of(d), PLACE_B);
}

static void reset_brings_back_every_register(void **state)
{
	struct rig *rig = *state;
	uint32_t fresh[1024], after[1024];

	snapshot(rig, fresh);
	guest_enable(rig);
	for (uint64_t at = 0x20; at < 4096; at += 4)
		reg32_set(rig, at, 0x12345678);
	nst_viommu_reset(rig->viommu);
	snapshot(rig, after);
	assert_memory_equal(fresh, after, sizeof(fresh));
}

/* --- capabilities ---------------------------------------------------------------------------- */

/* QEMU 11.1: intel-iommu,scalable-mode=on,fsts=on, measured. */
#define QEMU_CAP 0x81d2008c222f0606
#define QEMU_ECAP 0x880000f00f4a

struct field {
	const char *name;
	unsigned int high, low;
	bool differs;		/* on purpose; then ours is this: */
	uint64_t ours;
};

static const struct field cap_fields[] = {
	{ "ND", 2, 0, false, 0 }, { "AFL", 3, 3, false, 0 }, { "RWBF", 4, 4, false, 0 },
	{ "PLMR", 5, 5, false, 0 }, { "PHMR", 6, 6, false, 0 },
	{ "CM", 7, 7, true, 1 },	/* entries that were absent are cached, as BLOCKED */
	{ "SAGAW", 12, 8, false, 0 }, { "13", 15, 13, false, 0 }, { "MGAW", 21, 16, false, 0 },
	{ "ZLR", 22, 22, false, 0 },
	{ "23", 23, 23, false, 0 }, { "FRO", 33, 24, false, 0 }, { "SSLPS", 37, 34, false, 0 },
	{ "38", 38, 38, false, 0 },
	{ "PSI", 39, 39, false, 0 }, { "NFR", 47, 40, true, 7 }, { "MAMV", 53, 48, false, 0 },
	{ "DWD", 54, 54, false, 0 },
	{ "DRD", 55, 55, false, 0 }, { "FS1GP", 56, 56, false, 0 }, { "57", 58, 57, false, 0 },
	{ "PI", 59, 59, false, 0 },
	{ "FS5LP", 60, 60, false, 0 }, { "ECMDS", 61, 61, false, 0 },
	{ "ESIRTPS", 62, 62, false, 0 }, { "ESRTPS", 63, 63, false, 0 },
};

static const struct field ecap_fields[] = {
	{ "C", 0, 0, true, 1 }, { "QI", 1, 1, false, 0 }, { "DT", 2, 2, true, 1 },
	{ "IR", 3, 3, true, 0 },	/* interrupt remapping is not there */
	{ "EIM", 4, 4, false, 0 }, { "5", 5, 5, false, 0 }, { "PT", 6, 6, false, 0 },
	{ "SC", 7, 7, false, 0 },
	{ "IRO", 17, 8, true, 0xf0 },	/* the IOTLB registers are at 0xf00 */
	{ "18", 19, 18, false, 0 }, { "MHMV", 23, 20, true, 0 }, { "24", 24, 24, false, 0 },
	{ "MTS", 25, 25, false, 0 },
	{ "NEST", 26, 26, false, 0 }, { "27", 28, 27, false, 0 }, { "PRS", 29, 29, true, 1 },
	{ "ERS", 30, 30, false, 0 },
	{ "SRS", 31, 31, true, 1 }, { "POT", 32, 32, false, 0 }, { "NWFS", 33, 33, false, 0 },
	{ "EAFS", 34, 34, true, 1 }, { "PSS", 39, 35, true, 19 }, { "PASID", 40, 40, true, 1 },
	{ "DIT", 41, 41, false, 0 },
	{ "PDS", 42, 42, true, 1 }, { "SMTS", 43, 43, false, 0 }, { "VCS", 44, 44, false, 0 },
	{ "SSADS", 45, 45, false, 0 },
	{ "SSTS", 46, 46, false, 0 }, { "FSTS", 47, 47, false, 0 },
	{ "SMPWCS", 48, 48, true, 1 }, { "RPS", 49, 49, true, 1 },
	{ "50", 63, 50, false, 0 },
};

static uint64_t get(const struct field *f, uint64_t word)
{
	return (word & GENMASK64(f->high, f->low)) >> f->low;
}

static void compare_fields(const struct field *fields, size_t count, uint64_t ours, uint64_t qemus)
{
	uint64_t seen = 0;

	for (size_t i = 0; i < count; i++) {
		const struct field *f = &fields[i];
		uint64_t want = f->differs ? f->ours : get(f, qemus);

		assert_true(!(seen & GENMASK64(f->high, f->low)));
		seen |= GENMASK64(f->high, f->low);
		if (get(f, ours) != want)
			fail_msg("%s is %llu", f->name, (unsigned long long)get(f, ours));
		assert_true(!f->differs || f->ours != get(f, qemus));
	}
	assert_true(seen == ALL64);
}

static void capabilities_are_those_of_qemu_but_for_a_list(void **state)
{
	uint64_t cap, ecap;

	vtd_caps_default(0, &cap, &ecap);
	compare_fields(cap_fields, ARRAY_SIZE(cap_fields), cap, QEMU_CAP);
	compare_fields(ecap_fields, ARRAY_SIZE(ecap_fields), ecap, QEMU_ECAP);
	/* what they say about the register page */
	assert_int_equal((cap >> 24 & 0x3ff) * 16, 0x220);
	assert_int_equal((ecap >> 8 & 0x3ff) * 16, 0xf00);
}

static struct iommufd_hw_info good_host(void)
{
	return (struct iommufd_hw_info){
		.type = IOMMU_HW_INFO_TYPE_INTEL_VTD,
		.vtd = { .cap_reg = ALL64, .ecap_reg = ALL64 },
	};
}

static void hosts_narrow_capabilities(void **state)
{
	struct iommufd_hw_info host = good_host();
	uint64_t cap, ecap, full_cap, full_ecap;
	const char *why = NULL;

	vtd_caps_default(0, &full_cap, &full_ecap);
	cap = full_cap;
	ecap = full_ecap;
	ok(vtd_caps_narrow(&host, &cap, &ecap, &why));
	assert_true(cap == full_cap && ecap == full_ecap);

	/* each bit that the host lacks is either needed, or taken away, or of no matter */
	for (unsigned int bit = 0; bit < 64; bit++) {
		bool needed = bit == 43 || bit == 47 || bit == 26;	/* SMTS FSTS NEST */
		/* DT PRS SRS EAFS PASID SMPWCS */
		bool follows = bit == 2 || bit == 29 || bit == 31 || bit == 34 || bit == 40 || bit == 48;
		uint64_t want = follows ? full_ecap & ~BIT64(bit) : full_ecap;

		if (bit == 29)		/* nothing to drain either */
			want &= ~BIT64(42);
		if (bit == 40)		/* without PASIDs no width of them */
			want &= ~(0x1fULL << 35);
		if (bit == 39)		/* 16 bits instead of the 20 we have */
			want = (want & ~(0x1fULL << 35)) | 15ULL << 35;

		host = good_host();
		host.vtd.ecap_reg = ~BIT64(bit);
		cap = full_cap;
		ecap = full_ecap;
		assert_int_equal(vtd_caps_narrow(&host, &cap, &ecap, &why),
				 needed ? -EOPNOTSUPP : 0);
		if (!needed)
			assert_true(ecap == want);
		host = good_host();
		host.vtd.cap_reg = ~BIT64(bit);
		ok(vtd_caps_narrow(&host, &cap, &ecap, &why));
		assert_true(cap == (bit == 56 ? full_cap & ~BIT64(56) : full_cap));
	}
	host = good_host();
	host.type = IOMMU_HW_INFO_TYPE_ARM_SMMUV3;
	err(EOPNOTSUPP, vtd_caps_narrow(&host, &cap, &ecap, &why));
	assert_non_null(why);
}

/* Hook: take bits off what the host says of itself. */
static int narrow_hw_info(struct rig *rig, unsigned long request, void *arg)
{
	const uint64_t *lacks = rig->hook_data;
	struct iommu_hw_info *info = arg;
	struct iommu_hw_info_vtd *vtd;
	struct nst_host *inner = rig->host.inner;
	int ret;

	if (request != IOMMU_GET_HW_INFO)
		return 0;
	ret = inner->ops->ioctl(inner, rig->vm->iommufd.fd, request, arg);
	vtd = (struct iommu_hw_info_vtd *)(uintptr_t)info->data_uptr;
	vtd->cap_reg &= ~lacks[0];
	vtd->ecap_reg &= ~lacks[1];
	return ret ? ret : 1;
}

static int attach_lacking(struct rig *rig, uint64_t cap, uint64_t ecap)
{
	uint64_t lacks[2] = { cap, ecap };
	struct rig_device *d = rig_plug(rig, false);

	rig->host.hook = narrow_hw_info;
	rig->hook_data = lacks;
	ok(rig_open(rig, d));
	rig->host.hook = NULL;
	return nst_viommu_attach(rig->viommu, d->rid, d->dev);
}

static void devices_narrow_the_unit_until_the_guest_looks(void **state)
{
	struct rig *rig = *state;
	uint64_t cap, ecap;

	vtd_caps_default(0, &cap, &ecap);
	ok(attach_lacking(rig, VTD_CAP_FS1GP, VTD_ECAP_SRS));
	ok(attach_lacking(rig, 0, VTD_ECAP_EAFS));
	assert_true(reg64(rig, REG_CAP) == (cap & ~VTD_CAP_FS1GP));
	assert_true(reg64(rig, REG_ECAP) == (ecap & ~(VTD_ECAP_SRS | VTD_ECAP_EAFS)));
	/* the guest has read them: nothing less may come, as much may */
	err(EOPNOTSUPP, attach_lacking(rig, 0, VTD_ECAP_SMPWCS));
	assert_true(reg64(rig, REG_ECAP) == (ecap & ~(VTD_ECAP_SRS | VTD_ECAP_EAFS)));
	ok(attach_lacking(rig, VTD_CAP_FS1GP, VTD_ECAP_SRS | VTD_ECAP_EAFS));
}

static void a_write_settles_capabilities_too(void **state)
{
	struct rig *rig = *state;

	reg32_set(rig, REG_FEDATA, 5);
	err(EOPNOTSUPP, attach_lacking(rig, 0, VTD_ECAP_SRS));
	assert_int_equal(reg32(rig, REG_FEDATA), 5);
	nst_viommu_reset(rig->viommu);
	err(EOPNOTSUPP, attach_lacking(rig, 0, VTD_ECAP_SRS));
}

static void a_device_that_is_refused_narrows_nothing(void **state)
{
	struct rig *rig = *state;
	uint64_t cap, ecap;

	vtd_caps_default(0, &cap, &ecap);
	err(EOPNOTSUPP, attach_lacking(rig, VTD_CAP_FS1GP, VTD_ECAP_SRS | VTD_ECAP_NEST));
	rig_add_device(rig);
	assert_true(reg64(rig, REG_CAP) == cap && reg64(rig, REG_ECAP) == ecap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_agrees_with_the_specification),
		cmocka_unit_test(places_without_register_read_zero_and_keep_nothing),
		cmocka_unit_test(halves_of_wide_registers_are_written_one_by_one),
		cmocka_unit_test(wide_access_covers_two_narrow_registers),
		cmocka_unit_test(odd_reads_give_the_bytes_that_are_there),
		cmocka_unit_test_setup_teardown(undefined_writes_change_nothing, rig_setup,
						rig_teardown),
		cmocka_unit_test_setup_teardown(any_access_is_survived, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(global_commands_are_acknowledged, rig_setup_empty,
						rig_teardown),
		cmocka_unit_test_setup_teardown(
			register_invalidation_clears_its_bit_and_reports_global, rig_setup,
			rig_teardown),
		cmocka_unit_test_setup_teardown(register_invalidation_does_its_work, rig_setup,
						rig_teardown),
		cmocka_unit_test_setup_teardown(reset_brings_back_every_register, rig_setup,
						rig_teardown),
		cmocka_unit_test(capabilities_are_those_of_qemu_but_for_a_list),
		cmocka_unit_test(hosts_narrow_capabilities),
		cmocka_unit_test_setup_teardown(devices_narrow_the_unit_until_the_guest_looks,
						rig_setup_empty, rig_teardown),
		cmocka_unit_test_setup_teardown(a_write_settles_capabilities_too, rig_setup_empty,
						rig_teardown),
		cmocka_unit_test_setup_teardown(a_device_that_is_refused_narrows_nothing,
						rig_setup_empty, rig_teardown),
	};

	return cmocka_run_group_tests_name("vtd registers", tests, NULL, NULL);
}
