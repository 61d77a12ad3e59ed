// SPDX-License-Identifier: BSD-3-Clause
/*
 * The register pages, as SMMUv3 IHI0070G.b s6.3 has them, in a table of their own: what is there
 * after reset, what software may change, and while what is enabled it may not.
 */
#include "rig.h"

#include <string.h>

struct reg {
	const char *name;
	uint32_t offset;
	unsigned int size;
	uint64_t reset, writable;
	uint32_t cr0;  /* any of these locks it */
	uint32_t irqs; /* the same of IRQ_CTRL */
};

/* CR0, GBPA, IRQ_CTRL, GERRORN and CMDQ_PROD do things, and have tests of their own. */
static const struct reg regs[] = {
	{ "IDR0", 0x00, 4, 0x0d44301a, 0, 0, 0 },
	{ "IDR1", 0x04, 4, 0x02730010, 0, 0, 0 },
	{ "IDR2", 0x08, 4, 0, 0, 0, 0 },
	{ "IDR3", 0x0c, 4, 0x1404, 0, 0, 0 },
	{ "IDR4", 0x10, 4, 0, 0, 0, 0 },
	{ "IDR5", 0x14, 4, 0x74, 0, 0, 0 },
	{ "IIDR", 0x18, 4, 0, 0, 0, 0 },
	{ "AIDR", 0x1c, 4, 1, 0, 0, 0 },
	{ "CR0ACK", 0x24, 4, 0, 0, 0, 0 },
	{ "CR2", 0x2c, 4, 0, 0x2, 1, 0 } /* no PTM, E2H */,
	{ "STATUSR", 0x40, 4, 0, 0, 0, 0 },
	{ "AGBPA", 0x48, 4, 0, 0, 0, 0 },
	{ "IRQ_CTRLACK", 0x54, 4, 0, 0, 0, 0 },
	{ "GERROR", 0x60, 4, 0, 0, 0, 0 },
	{ "GERROR_IRQ_CFG0", 0x68, 8, 0, 0x000ffffffffffffcULL, 0, 1 },
	{ "GERROR_IRQ_CFG1", 0x70, 4, 0, 0xffffffff, 0, 1 },
	{ "GERROR_IRQ_CFG2", 0x74, 4, 0, 0x3f, 0, 1 },
	{ "STRTAB_BASE", 0x80, 8, 0, 0x400fffffffffffc0ULL, 1, 0 },
	{ "STRTAB_BASE_CFG", 0x88, 4, 0, 0x307ff, 1, 0 },
	{ "CMDQ_BASE", 0x90, 8, 0, 0x400fffffffffffffULL, 8, 0 },
	{ "CMDQ_CONS", 0x9c, 4, 0, 0x7f0fffff, 8, 0 },
	{ "EVENTQ_BASE", 0xa0, 8, 0, 0x400fffffffffffffULL, 4, 0 },
	{ "EVENTQ_IRQ_CFG0", 0xb0, 8, 0, 0x000ffffffffffffcULL, 0, 4 },
	{ "EVENTQ_IRQ_CFG1", 0xb8, 4, 0, 0xffffffff, 0, 4 },
	{ "EVENTQ_IRQ_CFG2", 0xbc, 4, 0, 0x3f, 0, 4 },
	{ "PRIQ_BASE", 0xc0, 8, 0, 0, 0, 0 },
	{ "PRIQ_IRQ_CFG0", 0xd0, 8, 0, 0, 0, 0 },
	{ "GATOS_CTRL", 0x100, 4, 0, 0, 0, 0 },
	{ "S_IDR0", 0x8000, 4, 0, 0, 0, 0 },
	{ "EVENTQ_PROD", 0x100a8, 4, 0, 0x800fffff, 4, 0 },
	{ "EVENTQ_CONS", 0x100ac, 4, 0, 0x800fffff, 0, 0 },
	{ "PRIQ_PROD", 0x100c8, 4, 0, 0, 0, 0 },
	{ "the end", 0x1fff8, 8, 0, 0, 0, 0 },
};

static uint64_t read_reg(struct rig *rig, const struct reg *r)
{
	return r->size == 8 ? reg64(rig, r->offset) : reg32(rig, r->offset);
}

static void write_reg(struct rig *rig, const struct reg *r, uint64_t value)
{
	nst_viommu_mmio_write(rig->viommu, r->offset, r->size, value);
}

static void what_is_there_after_reset(void **state)
{
	struct rig *rig = *state;

	for (int life = 0; life < 2; life++) {
		for (size_t i = 0; i < ARRAY_SIZE(regs); i++)
			assert_int_equal(read_reg(rig, &regs[i]), regs[i].reset);
		assert_int_equal(reg32(rig, REG_CR0), 0);
		assert_int_equal(reg32(rig, REG_CR1), 0);
		assert_int_equal(reg32(rig, REG_GBPA), 0x1000);
		assert_int_equal(reg32(rig, REG_IRQ_CTRL), 0);
		assert_int_equal(reg32(rig, REG_GERRORN), 0);
		assert_int_equal(reg32(rig, REG_CMDQ_PROD), 0);
		for (size_t i = 0; i < ARRAY_SIZE(regs); i++)
			write_reg(rig, &regs[i], UINT64_MAX);
		nst_viommu_reset(rig->viommu);
	}
}

static void only_writable_bits_change(void **state)
{
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_SIZE(regs); i++) {
		const struct reg *r = &regs[i];

		write_reg(rig, r, UINT64_MAX);
		assert_int_equal(read_reg(rig, r), r->reset | r->writable);
		write_reg(rig, r, 0);
		assert_int_equal(read_reg(rig, r), r->reset & ~r->writable);
		for (unsigned int bit = 0; bit < 8 * r->size; bit++) {
			write_reg(rig, r, 1ULL << bit);
			assert_int_equal(read_reg(rig, r),
					 (r->reset & ~r->writable) | (r->writable & 1ULL << bit));
		}
		write_reg(rig, r, 0);
	}
}

static void enables_lock_what_they_use(void **state)
{
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_SIZE(regs); i++) {
		const struct reg *r = &regs[i];

		if (!r->writable)
			continue;
		for (uint32_t enable = 1; enable <= 8; enable <<= 1) {
			if (enable == 2) /* PRIQEN is not there */
				continue;
			cr0_set(rig, enable);
			write_reg(rig, r, r->writable);
			assert_int_equal(read_reg(rig, r), r->cr0 & enable ? 0 : r->writable);
			cr0_set(rig, 0);
			write_reg(rig, r, 0);
		}
		for (uint32_t enable = 1; enable <= 4; enable <<= 2) {
			reg32_set(rig, REG_IRQ_CTRL, enable);
			write_reg(rig, r, r->writable);
			assert_int_equal(read_reg(rig, r), r->irqs & enable ? 0 : r->writable);
			reg32_set(rig, REG_IRQ_CTRL, 0);
			write_reg(rig, r, 0);
		}
	}
}

/* TABLE_* are locked by SMMUEN, QUEUE_* by any queue. */
static void cr1_is_locked_by_parts(void **state)
{
	struct rig *rig = *state;
	static const struct {
		uint32_t cr0, open;
	} cases[] = {
		{ 0, 0xfff }, { 1, 0x3f }, { 4, 0xfc0 }, { 8, 0xfc0 }, { 9, 0 }, { 0xd, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cr0_set(rig, cases[i].cr0);
		reg32_set(rig, REG_CR1, UINT32_MAX);
		assert_int_equal(reg32(rig, REG_CR1), cases[i].open);
		cr0_set(rig, 0);
		reg32_set(rig, REG_CR1, 0);
	}
}

static void cr0_is_acknowledged(void **state)
{
	struct rig *rig = *state;

	reg32_set(rig, REG_CR0, UINT32_MAX); /* no PRIQEN, ATSCHK, VMW */
	assert_int_equal(reg32(rig, REG_CR0), 0xd);
	assert_int_equal(reg32(rig, REG_CR0ACK), 0xd);
	cr0_set(rig, 0);
}

static void atschk_comes_with_ats(void **state)
{
	struct rig *rig = rig_create(&(struct rig_options){ .features = NST_SMMUV3_ATS });

	assert_int_equal(reg32(rig, REG_IDR0), 0x0d443c1a);
	reg32_set(rig, REG_CR0, UINT32_MAX);
	assert_int_equal(reg32(rig, REG_CR0ACK), 0x1d);
	rig_destroy(rig);
}

static void gbpa_wants_update(void **state)
{
	struct rig *rig = *state;

	reg32_set(rig, REG_GBPA, 0x7fffffff);
	assert_int_equal(reg32(rig, REG_GBPA), 0x1000);
	reg32_set(rig, REG_GBPA, 0xffffffff);
	assert_int_equal(reg32(rig, REG_GBPA), 0x1f3f1f);
	reg32_set(rig, REG_GBPA, GBPA_UPDATE);
	assert_int_equal(reg32(rig, REG_GBPA), 0);
	/* as the upper half of 8 bytes */
	reg64_set(rig, 0x40, (uint64_t)(GBPA_UPDATE | GBPA_ABORT) << 32);
	assert_int_equal(reg32(rig, REG_GBPA), GBPA_ABORT);
}

static void interrupts_are_acknowledged(void **state)
{
	struct rig *rig = *state;

	reg32_set(rig, REG_IRQ_CTRL, UINT32_MAX);
	assert_int_equal(reg32(rig, REG_IRQ_CTRL), 5); /* no PRI queue */
	assert_int_equal(reg32(rig, REG_IRQ_CTRLACK), 5);
}

static void without_msis_they_cannot_be_configured(void **state)
{
	struct rig *rig = rig_create(&(struct rig_options){ .no_msi = true });

	assert_int_equal(reg32(rig, REG_IDR0), 0x0d44101a); /* QEMU 11.1's */
	reg64_set(rig, REG_GERROR_CFG0, UINT64_MAX);
	reg64_set(rig, REG_EVENTQ_CFG0, UINT64_MAX);
	reg32_set(rig, REG_EVENTQ_CFG1, UINT32_MAX);
	assert_int_equal(reg64(rig, REG_GERROR_CFG0), 0);
	assert_int_equal(reg64(rig, REG_EVENTQ_CFG0), 0);
	assert_int_equal(reg32(rig, REG_EVENTQ_CFG1), 0);
	rig_destroy(rig);
}

static void accesses_of_any_size(void **state)
{
	struct rig *rig = *state;

	reg64_set(rig, REG_STRTAB_BASE, 0x123456789abc0ULL);
	assert_int_equal(reg32(rig, REG_STRTAB_BASE), 0x6789abc0);
	assert_int_equal(reg32(rig, REG_STRTAB_BASE + 4), 0x12345);
	reg32_set(rig, REG_STRTAB_BASE + 4, 0x54321);
	assert_int_equal(reg64(rig, REG_STRTAB_BASE), 0x543216789abc0ULL);
	assert_int_equal(nst_viommu_mmio_read(rig->viommu, REG_STRTAB_BASE + 1, 1), 0xab);
	assert_int_equal(nst_viommu_mmio_read(rig->viommu, REG_STRTAB_BASE + 2, 2), 0x6789);
	/* not defined: nothing happens */
	nst_viommu_mmio_write(rig->viommu, REG_STRTAB_BASE, 1, 0);
	nst_viommu_mmio_write(rig->viommu, REG_STRTAB_BASE, 2, 0);
	nst_viommu_mmio_write(rig->viommu, REG_STRTAB_BASE + 4, 8, 0);
	nst_viommu_mmio_write(rig->viommu, REG_STRTAB_BASE + 2, 4, 0);
	assert_int_equal(reg64(rig, REG_STRTAB_BASE), 0x543216789abc0ULL);
	/* over the end, and beyond */
	assert_int_equal(nst_viommu_mmio_read(rig->viommu, 0x1fffc, 8), 0);
	assert_int_equal(nst_viommu_mmio_read(rig->viommu, UINT64_MAX - 3, 4), 0);
	assert_int_equal(nst_viommu_mmio_read(rig->viommu, 0x20000, 4), 0);
	nst_viommu_mmio_write(rig->viommu, 0x1fffc, 8, UINT64_MAX);
	nst_viommu_mmio_write(rig->viommu, UINT64_MAX - 7, 8, UINT64_MAX);
	nst_viommu_mmio_write(rig->viommu, 0x200ac, 4, UINT64_MAX);
	assert_int_equal(reg32(rig, REG_EVENTQ_CONS), 0);
	/* EVENTQ_PROD and _CONS are in page 1 alone */
	reg32_set(rig, 0xac, UINT32_MAX);
	assert_int_equal(reg32(rig, REG_EVENTQ_CONS), 0);
	assert_int_equal(reg32(rig, 0xac), 0);
}

/* --- what is offered ------------------------------------------------------------------------- */

static void wrong_configurations_are_refused(void **state)
{
	struct rig *rig = *state;
	static const struct nst_smmuv3_config wrong[] = {
		{ .ssid_bits = 21 },
		{ .oas_bits = 43 },
		{ .oas_bits = 52 },
		{ .features = NST_SMMUV3_PRI }, /* without ATS */
		{ .features = 1u << 4 },
		{ .features = 1u << 31 },
	};
	struct nst_viommu *unit;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct nst_smmuv3_config config = wrong[i];

		config.vm = rig->vm;
		err(EINVAL, nst_smmuv3_create(&config, &unit));
	}
}

static void options_are_seen(void **state)
{
	static const struct {
		unsigned int bits;
		uint32_t encoded;
	} oas[] = {
		{ 32, 0 }, { 36, 1 }, { 40, 2 }, { 42, 3 }, { 44, 4 }, { 48, 5 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(oas); i++) {
		struct rig *rig = rig_create(
			&(struct rig_options){ .oas_bits = oas[i].bits, .ssid_bits = 20 });

		assert_int_equal(reg32(rig, REG_IDR5) & 7, oas[i].encoded);
		assert_int_equal(reg32(rig, REG_IDR1) >> 6 & 0x1f, 20);
		assert_int_equal(reg32(rig, REG_IDR0) >> 19 & 1, 1); /* CD2L */
		rig_destroy(rig);
	}
}

/* The host's registers as the test wants them, by way of the host in between. */
static int other_idr(struct rig *rig, unsigned long request, void *arg)
{
	struct iommu_hw_info *cmd = arg;

	if (request != IOMMU_GET_HW_INFO)
		return 0;
	assert_true(cmd->data_len >= sizeof(struct iommu_hw_info_arm_smmuv3));
	memcpy((void *)(uintptr_t)cmd->data_uptr, rig->hook_data,
	       sizeof(struct iommu_hw_info_arm_smmuv3));
	cmd->out_data_type = IOMMU_HW_INFO_TYPE_ARM_SMMUV3;
	cmd->out_capabilities = 0;
	cmd->out_max_pasid_log2 = 0;
	return 1;
}

/* What testbench hosts and QEMU's SMMU have, less one thing each. */
static const struct iommu_hw_info_arm_smmuv3 full = {
	.idr = { 0x0d4cffff & ~0x3000000u, 0x02730510, 0, 0xffff, 0, 0x75 },
	.aidr = 1,
};

static const struct reg priq_regs[] = {
	{ "PRIQ_BASE", 0xc0, 8, 0, 0x400fffffffffffffULL, 2, 0 },
	{ "PRIQ_IRQ_CFG0", 0xd0, 8, 0, 0x000ffffffffffffcULL, 0, 2 },
	{ "PRIQ_IRQ_CFG1", 0xd8, 4, 0, 0xffffffff, 0, 2 },
	{ "PRIQ_IRQ_CFG2", 0xdc, 4, 0, 0x8000003f, 0, 2 },
	{ "PRIQ_PROD", 0x100c8, 4, 0, 0x800fffff, 2, 0 },
	{ "PRIQ_CONS", 0x100cc, 4, 0, 0x800fffff, 0, 0 },
};

static void the_pri_queue_has_registers(void **state)
{
	for (int msis = 0; msis < 2; msis++) {
		struct rig *rig = rig_create(&(struct rig_options){
			.features = NST_SMMUV3_ATS | NST_SMMUV3_PRI, .no_msi = !msis });

		assert_int_equal(reg32(rig, REG_IDR0), msis ? 0x0d453c1a : 0x0d451c1a);
		assert_int_equal(reg32(rig, REG_IDR1), 0x02739810);
		for (size_t i = 0; i < ARRAY_SIZE(priq_regs); i++) {
			const struct reg *r = &priq_regs[i];
			uint64_t writable = r->writable;

			if (!msis && r->irqs) /* LO alone */
				writable &= r->offset == 0xdc ? 0x80000000 : 0;
			for (uint32_t enable = 0; enable <= 8; enable = enable ? enable << 1 : 1) {
				cr0_set(rig, enable);
				write_reg(rig, r, UINT64_MAX);
				assert_int_equal(read_reg(rig, r),
						 enable && (r->cr0 & enable) ? 0 : writable);
				cr0_set(rig, 0);
				write_reg(rig, r, 0);
				assert_int_equal(read_reg(rig, r), 0);
			}
			for (uint32_t enable = 1; enable <= 4; enable <<= 1) {
				reg32_set(rig, REG_IRQ_CTRL, enable);
				assert_int_equal(reg32(rig, REG_IRQ_CTRLACK), enable);
				write_reg(rig, r, UINT64_MAX);
				assert_int_equal(read_reg(rig, r), r->irqs & enable ? 0 : writable);
				reg32_set(rig, REG_IRQ_CTRL, 0);
				write_reg(rig, r, 0);
			}
		}
		cr0_set(rig, 2); /* QUEUE_* of CR1 */
		reg32_set(rig, REG_CR1, UINT32_MAX);
		assert_int_equal(reg32(rig, REG_CR1), 0xfc0);
		reg32_set(rig, REG_GERRORN, UINT32_MAX);
		assert_int_equal(reg32(rig, REG_GERRORN), 0xd);
		rig_destroy(rig);
	}
}

static void errors_of_no_queue_cannot_be_seen(void **state)
{
	struct rig *rig = *state;

	reg32_set(rig, REG_GERRORN, UINT32_MAX);
	assert_int_equal(reg32(rig, REG_GERRORN), 5);
}

/* STALL_MODEL 0 and STALL_MAX; a host without takes both. */
static void stalls_are_offered(void **state)
{
	for (int host = 0; host < 2; host++) {
		struct rig *rig = rig_create(
			&(struct rig_options){ .features = NST_SMMUV3_STALLS, .stalls = host });

		assert_int_equal(rig_unit(rig)->idr.idr[0], 0x0c44301a);
		assert_int_equal(rig_unit(rig)->idr.idr[5], 0x1000074);
		rig_add_device(rig);
		assert_int_equal(reg32(rig, REG_IDR0), host ? 0x0c44301a : 0x0d44301a);
		assert_int_equal(reg32(rig, REG_IDR5), host ? 0x1000074 : 0x74);
		rig_destroy(rig);
	}
}

static void a_host_narrows_what_is_offered(void **state)
{
	static const struct {
		unsigned int reg;
		uint32_t clear, set;	/* in the host's */
		uint32_t before, after; /* of the unit's */
		uint32_t mask;
	} cases[] = {
		{ 0, 1u << 12, 0, 1u << 12, 0, 1u << 12 },    /* ASID16 */
		{ 0, 1u << 19, 0, 1u << 19, 0, 1u << 19 },    /* CD2L */
		{ 1, 0x7c0, 5 << 6, 16 << 6, 5 << 6, 0x7c0 }, /* SSIDSIZE */
		{ 1, 0x3f, 8, 16, 16, 0x3f },		      /* SIDSIZE: the unit's own */
		{ 3, 1u << 10, 0, 1u << 10, 0, 1u << 10 },    /* RIL */
		{ 3, 3u << 11, 1u << 11, 2u << 11, 1u << 11, 3u << 11 }, /* BBML */
		{ 5, 7, 2, 4, 2, 7 },					 /* OAS */
		{ 5, 1u << 4, 0, 1u << 4, 0, 1u << 4 },			 /* 4 KiB */
		{ 5, 1u << 5, 0, 1u << 5, 0, 1u << 5 },
		{ 5, 1u << 6, 0, 1u << 6, 0, 1u << 6 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig *rig = rig_create(&(struct rig_options){ .ssid_bits = 16 });
		struct iommu_hw_info_arm_smmuv3 host = full;
		struct rig_device *d = rig_plug(rig, false);

		host.idr[cases[i].reg] = (host.idr[cases[i].reg] & ~cases[i].clear) | cases[i].set;
		rig->host.hook = other_idr;
		rig->hook_data = &host;
		ok(rig_open(rig, d));
		assert_int_equal(rig_unit(rig)->idr.idr[cases[i].reg] & cases[i].mask,
				 cases[i].before);
		ok(nst_viommu_attach(rig->viommu, d->rid, d->dev));
		for (unsigned int r = 0; r < 6; r++)
			assert_int_equal(reg32(rig, 4 * r), rig_unit(rig)->idr.idr[r]);
		assert_int_equal(reg32(rig, 4 * cases[i].reg) & cases[i].mask, cases[i].after);
		rig_destroy(rig);
	}
}

static void what_the_guest_has_seen_stays(void **state)
{
	struct rig *rig = *state;
	struct iommu_hw_info_arm_smmuv3 host = full;
	struct rig_device *d = rig_plug(rig, false);
	uint32_t seen = reg32(rig, REG_IDR3);

	host.idr[3] &= ~(1u << 10); /* no RIL */
	rig->host.hook = other_idr;
	rig->hook_data = &host;
	ok(rig_open(rig, d));
	err(EOPNOTSUPP, nst_viommu_attach(rig->viommu, d->rid, d->dev));
	assert_int_equal(reg32(rig, REG_IDR3), seen);
	assert_int_equal(place_of(d), PLACE_SAME);
}

static void hosts_that_do_not_fit_are_refused(void **state)
{
	static const struct {
		unsigned int reg;
		uint32_t clear, set;
	} cases[] = {
		{ 0, 3u << 2, 1u << 2 },   /* AArch32 tables only */
		{ 0, 3u << 21, 3u << 21 }, /* big-endian tables only */
		{ 0, 3u << 24, 2u << 24 }, /* every fault stalls */
		{ 5, 7u << 4, 0 },	   /* no granule */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig *rig = rig_create(&(struct rig_options){ 0 });
		struct iommu_hw_info_arm_smmuv3 host = full;
		struct rig_device *d = rig_plug(rig, false);

		host.idr[cases[i].reg] = (host.idr[cases[i].reg] & ~cases[i].clear) | cases[i].set;
		rig->host.hook = other_idr;
		rig->hook_data = &host;
		ok(rig_open(rig, d));
		err(EOPNOTSUPP, nst_viommu_attach(rig->viommu, d->rid, d->dev));
		assert_int_equal(rig->logged[NST_LOG_ERROR], 1);
		rig_destroy(rig);
	}
}

#define unit_alone(f) cmocka_unit_test_setup_teardown(f, rig_setup_empty, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit_alone(what_is_there_after_reset),
		unit_alone(only_writable_bits_change),
		unit_alone(enables_lock_what_they_use),
		unit_alone(cr1_is_locked_by_parts),
		unit_alone(cr0_is_acknowledged),
		cmocka_unit_test(atschk_comes_with_ats),
		unit_alone(gbpa_wants_update),
		unit_alone(interrupts_are_acknowledged),
		cmocka_unit_test(without_msis_they_cannot_be_configured),
		unit_alone(accesses_of_any_size),
		unit_alone(wrong_configurations_are_refused),
		cmocka_unit_test(options_are_seen),
		cmocka_unit_test(stalls_are_offered),
		cmocka_unit_test(the_pri_queue_has_registers),
		unit_alone(errors_of_no_queue_cannot_be_seen),
		cmocka_unit_test(a_host_narrows_what_is_offered),
		unit_alone(what_the_guest_has_seen_stays),
		cmocka_unit_test(hosts_that_do_not_fit_are_refused),
	};

	return cmocka_run_group_tests_name("smmuv3 registers", tests, NULL, NULL);
}
