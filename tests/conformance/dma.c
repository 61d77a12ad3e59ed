// SPDX-License-Identifier: BSD-3-Clause
/*
 * Devices that do DMA on command. Ours (device.c) reads and writes eight bytes with any PASID.
 * QEMU's iommu-testdev writes a fixed pattern, and does it while a register is read, so
 * there is nothing to wait for; the software host has a device with the same registers. Its
 * dmatest (docs/dmatest.md) writes and reads with PASIDs, inside a register write.
 */
#include "rig.h"

#include "endpoint/dmatest_spec.h"

#include <endian.h>
#include <linux/pci_regs.h>

static uint32_t get_word(struct rig *rig, unsigned int reg)
{
	uint32_t value;

	assert_int_equal(rig->host->ops->pread(rig->host, rig->dev, &value, 4, reg), 4);
	return le32toh(value);
}

static void set_word(struct rig *rig, unsigned int reg, uint32_t value)
{
	value = htole32(value);
	assert_int_equal(rig->host->ops->pwrite(rig->host, rig->dev, &value, 4, reg), 4);
}

/* --- the suite's own ------------------------------------------------------------------------ */

static int own_run(struct rig *rig, uint32_t pasid, uint64_t iova, uint64_t go)
{
	bar_set(rig, REG_PASID, pasid);
	bar_set(rig, REG_IOVA, iova);
	bar_set(rig, REG_GO, go);
	return (int)(int64_t)bar_get(rig, REG_STATUS);
}

static int own_write(struct rig *rig, uint32_t pasid, uint64_t iova, uint64_t value)
{
	rig->wrote = value;
	rig->wrote_bytes = sizeof(value);
	bar_set(rig, REG_VALUE, value);
	return own_run(rig, pasid, iova, 2);
}

static int own_read(struct rig *rig, uint32_t pasid, uint64_t iova, uint64_t *value)
{
	int ret = own_run(rig, pasid, iova, 1);

	*value = bar_get(rig, REG_VALUE);
	return ret;
}

static int own_check_read(struct rig *rig, uint32_t pasid, uint64_t iova, uint64_t expected)
{
	uint64_t value;
	int ret = own_read(rig, pasid, iova, &value);

	if (!ret)
		assert_int_equal(value, expected);
	return ret;
}

const struct dma_device dma_own_device = {
	.name = "own",
	.pci_id = 0x56781234,
	.provides = NEED_OWN_DEVICE | NEED_DMA | NEED_DMA_READ | NEED_PASID_DMA,
	.write = own_write,
	.read = own_read,
	.check_read = own_check_read,
};

/* --- iommu-testdev ---------------------------------------------------------------------------- */

enum testdev_reg {
	TESTDEV_RUN = 0x00, /* reading it does what was armed */
	TESTDEV_IOVA_LO = 0x04,
	TESTDEV_IOVA_HI = 0x08,
	TESTDEV_LENGTH = 0x0c,
	TESTDEV_RESULT = 0x10,
	TESTDEV_ARM = 0x14,
	TESTDEV_ATTRIBUTES = 0x18,
};
#define TESTDEV_NON_SECURE 0xa
#define TESTDEV_PATTERN 0x12345678U
/* The write was refused; any other result is about the read that follows, past the IOMMU. */
#define TESTDEV_WRITE_FAILED 0xdead0002U

static int testdev_write(struct rig *rig, uint32_t pasid, uint64_t iova, uint64_t value)
{
	uint32_t result;

	assert_int_equal(pasid, NO_PASID);
	rig->wrote = htole32(TESTDEV_PATTERN);
	rig->wrote_bytes = sizeof(uint32_t);
	set_word(rig, TESTDEV_ATTRIBUTES, TESTDEV_NON_SECURE);
	set_word(rig, TESTDEV_IOVA_LO, (uint32_t)iova);
	set_word(rig, TESTDEV_IOVA_HI, (uint32_t)(iova >> 32));
	set_word(rig, TESTDEV_LENGTH, sizeof(uint32_t));
	set_word(rig, TESTDEV_ARM, 1);
	get_word(rig, TESTDEV_RUN);
	result = get_word(rig, TESTDEV_RESULT);
	if (result == TESTDEV_WRITE_FAILED)
		return -EFAULT;
	/* 3 and 4: it could not read back from address 0, where we cannot tell it to look elsewhere
	 */
	assert_true(result == 0 || result == 0xdead0003U || result == 0xdead0004U);
	return 0;
}

static int testdev_read(struct rig *rig, uint32_t pasid, uint64_t iova, uint64_t *value)
{
	fail_msg("iommu-testdev cannot read");
}

const struct dma_device dma_testdev = {
	.name = "iommu-testdev",
	.pci_id = 0x00051b36,
	.provides = NEED_DMA,
	.write = testdev_write,
	.read = testdev_read,
};

/* --- dmatest ---------------------------------------------------------------------------------- */

/* Eight bytes by the immediate registers: 0, or -EFAULT if the request was refused. */
static int dmatest_run(struct rig *rig, uint32_t pasid, uint64_t iova, enum dmatest_opcode opcode,
		       uint64_t seed)
{
	const uint32_t words[16] = {
		opcode | (pasid == NO_PASID ? 0 : (uint32_t)DMATEST_DESC_PASID),
		pasid == NO_PASID ? 0 : pasid,
		(uint32_t)iova,
		(uint32_t)(iova >> 32),
		[6] = sizeof(uint64_t), /* length */
		[8] = (uint32_t)seed,
		[9] = (uint32_t)(seed >> 32),
	};
	uint32_t status;

	for (unsigned int i = 0; i < 16; i++)
		set_word(rig, DMATEST_REG_IMM_DESC + 4 * i, words[i]);
	set_word(rig, DMATEST_REG_IMM_GO, DMATEST_GO_START);
	status = get_word(rig, DMATEST_REG_IMM_CPL + offsetof(struct dmatest_cpl, status));
	if (status == DMATEST_DMA_REFUSED)
		return -EFAULT;
	assert_int_equal(status, DMATEST_OK);
	return 0;
}

static int dmatest_write(struct rig *rig, uint32_t pasid, uint64_t iova, uint64_t value)
{
	rig->wrote = htole64(dmatest_pattern_word(value, 0));
	rig->wrote_bytes = sizeof(rig->wrote);
	return dmatest_run(rig, pasid, iova, DMATEST_WRITE, value);
}

static int dmatest_check_read(struct rig *rig, uint32_t pasid, uint64_t iova, uint64_t expected)
{
	const unsigned int at = DMATEST_REG_IMM_CPL + offsetof(struct dmatest_cpl, checksum);
	int ret = dmatest_run(rig, pasid, iova, DMATEST_READ, 0);

	if (!ret)
		assert_int_equal(get_word(rig, at) | (uint64_t)get_word(rig, at + 4) << 32,
				 dmatest_checksum(DMATEST_CHECKSUM_START, (uint8_t *)&expected,
						  sizeof(expected)));
	return ret;
}

static int dmatest_read(struct rig *rig, uint32_t pasid, uint64_t iova, uint64_t *value)
{
	fail_msg("dmatest does not say what it has read");
}

const struct dma_device dma_dmatest = {
	.name = "dmatest",
	.pci_id = DMATEST_PCI_DEVICE << 16 | DMATEST_PCI_VENDOR,
	.provides = NEED_DMA | NEED_PASID_DMA,
	.write = dmatest_write,
	.read = dmatest_read,
	.check_read = dmatest_check_read,
};
