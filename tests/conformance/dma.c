// SPDX-License-Identifier: BSD-3-Clause
/*
 * Devices that do DMA on command. Ours (device.c) reads and writes eight bytes with any PASID.
 * QEMU's iommu-testdev writes a fixed pattern, and does it while a register is read, so
 * there is nothing to wait for; the software host has a device with the same registers.
 */
#include "rig.h"

#include <endian.h>
#include <linux/pci_regs.h>

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

const struct dma_device dma_own_device = {
	.name = "own",
	.pci_id = 0x56781234,
	.provides = NEED_OWN_DEVICE | NEED_DMA | NEED_DMA_READ,
	.write = own_write,
	.read = own_read,
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

static uint32_t testdev_get(struct rig *rig, unsigned int reg)
{
	uint32_t value;

	assert_int_equal(rig->host->ops->pread(rig->host, rig->dev, &value, 4, reg), 4);
	return le32toh(value);
}

static void testdev_set(struct rig *rig, unsigned int reg, uint32_t value)
{
	value = htole32(value);
	assert_int_equal(rig->host->ops->pwrite(rig->host, rig->dev, &value, 4, reg), 4);
}

static int testdev_write(struct rig *rig, uint32_t pasid, uint64_t iova, uint64_t value)
{
	uint32_t result;

	assert_int_equal(pasid, NO_PASID);
	rig->wrote = htole32(TESTDEV_PATTERN);
	rig->wrote_bytes = sizeof(uint32_t);
	testdev_set(rig, TESTDEV_ATTRIBUTES, TESTDEV_NON_SECURE);
	testdev_set(rig, TESTDEV_IOVA_LO, (uint32_t)iova);
	testdev_set(rig, TESTDEV_IOVA_HI, (uint32_t)(iova >> 32));
	testdev_set(rig, TESTDEV_LENGTH, sizeof(uint32_t));
	testdev_set(rig, TESTDEV_ARM, 1);
	testdev_get(rig, TESTDEV_RUN);
	result = testdev_get(rig, TESTDEV_RESULT);
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
