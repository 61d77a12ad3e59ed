// SPDX-License-Identifier: BSD-3-Clause
/*
 * The VFIO cdev: bind, information, regions and configuration space, reset, features.
 * Expected values: traces of Linux 7.2 with vfio-pci, and <linux/vfio.h>.
 */
#include "rig.h"

#include <linux/pci_regs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define REGION(index) ((off_t)(index) << 40)
#define CONFIG REGION(VFIO_PCI_CONFIG_REGION_INDEX)

static int bind_raw(struct rig *rig, int dev, uint32_t argsz, uint32_t flags, int32_t fd,
		    uint64_t token)
{
	struct vfio_device_bind_iommufd cmd = {
		.argsz = argsz, .flags = flags, .iommufd = fd, .token_uuid_ptr = token
	};

	return call(rig, dev, VFIO_DEVICE_BIND_IOMMUFD, &cmd);
}

static int get_info(struct rig *rig, int dev, struct vfio_device_info *info, uint32_t argsz)
{
	*info = (struct vfio_device_info){ .argsz = argsz };
	return call(rig, dev, VFIO_DEVICE_GET_INFO, info);
}

static void bind_errors(void **state)
{
	struct rig *rig = *state;
	struct vfio_device_info info;
	uint8_t uuid[16] = { 1 };
	uint32_t word, id;
	int dev = rig->dev, second;

	ok(host_close(rig, dev));
	dev = host_open(rig, rig->path);
	assert_true(dev >= 0);
	err(EINVAL, get_info(rig, dev, &info, sizeof(info)));
	err(EINVAL, call(rig, dev, VFIO_DEVICE_RESET, NULL));
	err(EINVAL, call(rig, dev, _IO(';', 200), NULL));
	err(EINVAL, (int)rig->host->ops->pread(rig->host, dev, &word, 4, CONFIG));
	err(EINVAL, (int)rig->host->ops->pwrite(rig->host, dev, &word, 4, CONFIG));
	err(EFAULT, call(rig, dev, VFIO_DEVICE_BIND_IOMMUFD, NULL));
	err(EINVAL, bind_raw(rig, dev, 12, 0, rig->iommu, 0));
	err(EINVAL, bind_raw(rig, dev, 24, 2, rig->iommu, 0));
	err(EINVAL, bind_raw(rig, dev, 24, 0, -1, 0));
	err(EBADFD, bind_raw(rig, dev, 24, 0, STDERR_FILENO, 0));
	err(EBADFD, bind_raw(rig, dev, 24, 0, dev, 0));
	err(EBADF, bind_raw(rig, dev, 24, 0, 9999, 0));
	err(EFAULT, bind_raw(rig, dev, 24, VFIO_DEVICE_BIND_FLAG_TOKEN, rig->iommu, 0));
	err(EINVAL,
	    bind_raw(rig, dev, 24, VFIO_DEVICE_BIND_FLAG_TOKEN, rig->iommu, (uintptr_t)uuid));
	ok(bind_raw(rig, dev, 16, 0, rig->iommu, 0));
	err(EINVAL, bind_raw(rig, dev, 24, 0, rig->iommu, 0));
	second = host_open(rig, rig->path);
	assert_true(second >= 0);
	err(EINVAL, bind_raw(rig, second, 24, 0, rig->iommu, 0));
	err(EINVAL, get_info(rig, second, &info, sizeof(info)));
	ok(host_close(rig, dev));
	ok(bind_device(rig, second, rig->iommu, &id));
	assert_int_equal(id, 1);
	ok(get_info(rig, second, &info, sizeof(info)));
}

static void device_info(void **state)
{
	struct rig *rig = *state;
	struct vfio_device_info info;

	ok(get_info(rig, rig->dev, &info, sizeof(info)));
	/* whether a device can be reset is its own affair */
	assert_int_equal(info.flags & ~VFIO_DEVICE_FLAGS_RESET, VFIO_DEVICE_FLAGS_PCI);
	assert_int_equal(info.num_regions, VFIO_PCI_NUM_REGIONS);
	assert_int_equal(info.num_irqs, VFIO_PCI_NUM_IRQS);
	err(EINVAL, get_info(rig, rig->dev, &info, 15));
	ok(get_info(rig, rig->dev, &info, 16));
	err(EFAULT, call(rig, rig->dev, VFIO_DEVICE_GET_INFO, NULL));
	err(ENOTTY, call(rig, rig->dev, _IO(';', 200), NULL));
	err(ENOTTY, call(rig, rig->dev, VFIO_GROUP_GET_STATUS, NULL));
}

static int region_info(struct rig *rig, uint32_t index, struct vfio_region_info *info)
{
	*info = (struct vfio_region_info){ .argsz = sizeof(*info), .index = index };
	return call(rig, rig->dev, VFIO_DEVICE_GET_REGION_INFO, info);
}

static void region_infos(void **state)
{
	struct rig *rig = *state;
	struct vfio_region_info info;

	for (uint32_t i = 0; i < 8; i++) {
		uint64_t size = i == 0 ? PAGE : i == VFIO_PCI_CONFIG_REGION_INDEX ? 0x1000 : 0;

		ok(region_info(rig, i, &info));
		assert_int_equal(info.size, size);
		assert_int_equal(info.flags,
				 size ? VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE
				      : 0);
		assert_int_equal(info.offset, (uint64_t)i << 40);
		assert_int_equal(info.argsz, sizeof(info));
	}
	err(EINVAL, region_info(rig, VFIO_PCI_VGA_REGION_INDEX, &info));
	err(EINVAL, region_info(rig, 9, &info));
	err(EINVAL, region_info(rig, UINT32_MAX, &info));
	info.index = 0;
	info.argsz = 31;
	err(EINVAL, call(rig, rig->dev, VFIO_DEVICE_GET_REGION_INFO, &info));
}

static void irq_infos(void **state)
{
	struct rig *rig = *state;
	static const struct {
		uint32_t flags, count;
	} want[VFIO_PCI_NUM_IRQS] = {
		{ 7, 0 }, { 9, DEVICE_MSI_VECTORS }, { 1, DEVICE_MSIX_VECTORS }, { 9, 1 }, { 9, 1 }
	};
	struct vfio_irq_info info = { .argsz = sizeof(info) };

	for (info.index = 0; info.index < VFIO_PCI_NUM_IRQS; info.index++) {
		ok(call(rig, rig->dev, VFIO_DEVICE_GET_IRQ_INFO, &info));
		assert_int_equal(info.flags, want[info.index].flags);
		assert_int_equal(info.count, want[info.index].count);
	}
	err(EINVAL, call(rig, rig->dev, VFIO_DEVICE_GET_IRQ_INFO, &info));
	info.index = 0;
	info.argsz = 15;
	err(EINVAL, call(rig, rig->dev, VFIO_DEVICE_GET_IRQ_INFO, &info));
}

static ssize_t rd(struct rig *rig, void *buf, size_t count, off_t offset)
{
	return rig->host->ops->pread(rig->host, rig->dev, buf, count, offset);
}

static ssize_t wr(struct rig *rig, const void *buf, size_t count, off_t offset)
{
	return rig->host->ops->pwrite(rig->host, rig->dev, buf, count, offset);
}

static void bar_access(void **state)
{
	struct rig *rig = *state;
	uint8_t bytes[32], ones[8];
	uint64_t pattern = 0x8877665544332211;
	int error = 0;
	uint8_t *page =
		mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_int_equal(bar_get(rig, REG_MAGIC), DEVICE_MAGIC);
	/* every size and alignment gives the same bytes */
	bar_set(rig, REG_SCRATCH, pattern);
	for (size_t size = 1; size <= 8; size++) {
		for (size_t at = 0; at + size <= 8; at++) {
			assert_int_equal(rd(rig, bytes, size, (off_t)(REG_SCRATCH + at)), size);
			assert_memory_equal(bytes, (uint8_t *)&pattern + at, size);
			memset(bytes, (int)(16 * size + at), size);
			assert_int_equal(wr(rig, bytes, size, (off_t)(REG_SCRATCH + at)), size);
			memset((uint8_t *)&pattern + at, (int)(16 * size + at), size);
			assert_int_equal(bar_get(rig, REG_SCRATCH), pattern);
		}
	}
	assert_int_equal(rd(rig, bytes, 0, 0), 0);
	/* at the end it stops, behind it there is nothing */
	assert_int_equal(rd(rig, bytes, 32, PAGE - 8), 8);
	assert_int_equal(wr(rig, bytes, 32, PAGE - 8), 8);
	err(EINVAL, (int)rd(rig, bytes, 4, PAGE));
	err(EINVAL, (int)rd(rig, bytes, 4, -1));
	for (unsigned int region = 1; region < 12; region++)
		if (region != VFIO_PCI_CONFIG_REGION_INDEX)
			err(EINVAL, (int)rd(rig, bytes, 4, REGION(region)));
	/* the MSI-X table is the host's */
	memset(ones, 0xff, sizeof(ones));
	bar_set(rig, DEVICE_MSIX_TABLE, 0);
	assert_int_equal(rd(rig, bytes, 8, DEVICE_MSIX_TABLE + 16 * DEVICE_MSIX_VECTORS - 8), 8);
	assert_memory_equal(bytes, ones, 8);
	assert_int_equal(rd(rig, bytes, 8, DEVICE_MSIX_TABLE + 16 * DEVICE_MSIX_VECTORS), 8);
	assert_int_equal(bytes[0], 0);
	/* the whole BAR at once, and buffers that end too early */
	assert_int_equal(rd(rig, page, 2 * PAGE, 0), PAGE);
	assert_memory_equal(page + REG_SCRATCH, &pattern, 8);
	munmap(page + PAGE, PAGE);
	err(EFAULT, (int)rd(rig, page + PAGE - 2, 4, 0));
	err(EFAULT, (int)wr(rig, page + PAGE - 2, 4, 0));
	err(EFAULT, (int)rd(rig, NULL, 4, 0));
	munmap(page, PAGE);
	/* this device lets nobody map it */
	assert_null(
		rig->host->ops->mmap(rig->host, PAGE, PROT_READ, MAP_SHARED, rig->dev, 0, &error));
	assert_int_equal(error, -EINVAL);
	/* with decoding off nothing answers */
	config_set(rig, PCI_COMMAND, 2, 0);
	err(EIO, (int)rd(rig, bytes, 4, 0));
	err(EIO, (int)wr(rig, bytes, 4, 0));
	config_set(rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(bar_get(rig, REG_MAGIC), DEVICE_MAGIC);
}

static uint32_t find_cap(struct rig *rig, uint8_t id)
{
	uint32_t at = config_get(rig, PCI_CAPABILITY_LIST, 1);

	while (at && config_get(rig, at, 1) != id)
		at = config_get(rig, at + 1, 1);
	assert_int_not_equal(at, 0);
	return at;
}

static void config_access(void **state)
{
	struct rig *rig = *state;
	uint8_t whole[4096], part[7];

	assert_int_equal(config_get(rig, PCI_VENDOR_ID, 4), 0x56781234);
	assert_int_equal(config_get(rig, PCI_INTERRUPT_PIN, 1), 0);
	assert_int_equal(config_get(rig, PCI_COMMAND, 2), PCI_COMMAND_MEMORY);
	assert_int_equal(rd(rig, whole, 4096, CONFIG), 4096);
	for (unsigned int at = 0; at < 300; at++) {
		assert_int_equal(rd(rig, part, 7, CONFIG + at), 7);
		assert_memory_equal(part, whole + at, 7);
	}
	err(EFAULT, (int)rd(rig, whole, 1, CONFIG + 4096));
	err(EFAULT, (int)rd(rig, whole, 4, CONFIG + 4093));
	err(EFAULT, (int)wr(rig, whole, 4097, CONFIG));
	/* sizing of a 64-bit BAR */
	config_set(rig, PCI_BASE_ADDRESS_0, 4, ~0U);
	config_set(rig, PCI_BASE_ADDRESS_1, 4, ~0U);
	assert_int_equal(config_get(rig, PCI_BASE_ADDRESS_0, 4), 0xfffff004);
	assert_int_equal(config_get(rig, PCI_BASE_ADDRESS_1, 4), 0xffffffff);
	/* read-only parts stay */
	config_set(rig, PCI_VENDOR_ID, 4, 0);
	assert_int_equal(config_get(rig, PCI_VENDOR_ID, 4), 0x56781234);
}

/* PASID is hidden: the chain is AER, then the serial number. */
static void extended_capabilities(void **state)
{
	struct rig *rig = *state;
	uint32_t first = config_get(rig, 0x100, 4), second, next = PCI_EXT_CAP_NEXT(first);

	assert_int_equal(PCI_EXT_CAP_ID(first), PCI_EXT_CAP_ID_ERR);
	second = config_get(rig, next, 4);
	assert_int_equal(PCI_EXT_CAP_ID(second), PCI_EXT_CAP_ID_DSN);
	assert_int_equal(PCI_EXT_CAP_NEXT(second), 0);
	assert_true(next == 0x148 || rig->has_pasid);
}

/* The MSI capability is a shadow: enable only follows SET_IRQS, MSI-X is not writable. */
static void msi_capability(void **state)
{
	struct rig *rig = *state;
	uint32_t msi = find_cap(rig, PCI_CAP_ID_MSI), msix = find_cap(rig, PCI_CAP_ID_MSIX);
	uint32_t flags = config_get(rig, msi + PCI_MSI_FLAGS, 2);

	assert_int_equal(flags, PCI_MSI_FLAGS_64BIT | 3 << 1);
	config_set(rig, msi + PCI_MSI_FLAGS, 2, 0xffff);
	assert_int_equal(config_get(rig, msi + PCI_MSI_FLAGS, 2), flags | 3 << 4);
	config_set(rig, msi + PCI_MSI_ADDRESS_LO, 4, 0xfee01003);
	assert_int_equal(config_get(rig, msi + PCI_MSI_ADDRESS_LO, 4), 0xfee01000);
	config_set(rig, msi + PCI_MSI_DATA_64, 2, 0x4021);
	assert_int_equal(config_get(rig, msi + PCI_MSI_DATA_64, 2), 0x4021);
	config_set(rig, msix + PCI_MSIX_FLAGS, 2, 0xc000);
	assert_int_equal(config_get(rig, msix + PCI_MSIX_FLAGS, 2), DEVICE_MSIX_VECTORS - 1);
}

/* A reset clears the device and keeps what the driver wrote to configuration space. */
static void resets(void **state)
{
	struct rig *rig = *state;
	uint32_t express = find_cap(rig, PCI_CAP_ID_EXP);
	uint32_t control = express + PCI_EXP_DEVCTL;

	for (int way = 0; way < 2; way++) {
		enable_bus_master(rig);
		config_set(rig, PCI_BASE_ADDRESS_0, 4, 0xfebf0000);
		bar_set(rig, REG_SCRATCH, 0x1234);
		if (way)
			config_set(rig, control, 2,
				   config_get(rig, control, 2) | PCI_EXP_DEVCTL_BCR_FLR);
		else
			ok(call(rig, rig->dev, VFIO_DEVICE_RESET, NULL));
		assert_int_equal(config_get(rig, PCI_COMMAND, 2),
				 PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		assert_int_equal(config_get(rig, PCI_BASE_ADDRESS_0, 4), 0xfebf0004);
		assert_int_equal(bar_get(rig, REG_SCRATCH), 0);
		assert_int_equal(config_get(rig, control, 2) & PCI_EXP_DEVCTL_BCR_FLR, 0);
	}
	/* who binds it next finds it as after power-on */
	bar_set(rig, REG_SCRATCH, 0x1234);
	ok(host_close(rig, rig->dev));
	rig->dev = host_open(rig, rig->path);
	ok(bind_device(rig, rig->dev, rig->iommu, NULL));
	assert_int_equal(config_get(rig, PCI_COMMAND, 2), PCI_COMMAND_MEMORY);
	assert_int_equal(bar_get(rig, REG_SCRATCH), 0);
}

static int feature(struct rig *rig, uint32_t flags, uint32_t argsz)
{
	uint64_t space[4] = { 0 };
	struct vfio_device_feature *f = (void *)space;

	f->argsz = argsz;
	f->flags = flags;
	return call(rig, rig->dev, VFIO_DEVICE_FEATURE, f);
}

static void features(void **state)
{
	struct rig *rig = *state;

	for (uint32_t i = 0; i <= 13; i++) {
		int want = i >= 3 && i <= 5 ? 0 : i == 12 ? -EINVAL : -ENOTTY;

		assert_int_equal(feature(rig, VFIO_DEVICE_FEATURE_PROBE | i, 32), want);
	}
	err(EINVAL, feature(rig, VFIO_DEVICE_FEATURE_PROBE, 7));
	err(EINVAL, feature(rig, 1U << 19, 32));
	err(EINVAL, feature(rig, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET, 32));
	err(ENOTTY, feature(rig, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION, 32));
	err(EINVAL, feature(rig, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, 32));
	err(EINVAL,
	    feature(rig, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, 32));
	ok(feature(rig, VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, 8));
	ok(feature(rig, VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, 8));
}

static void hot_reset(void **state)
{
	struct rig *rig = *state;
	struct vfio_pci_hot_reset_info info = { .argsz = sizeof(info) };
	struct vfio_pci_hot_reset cmd = { .argsz = sizeof(cmd) };

	err(ENODEV, call(rig, rig->dev, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &info));
	info.argsz = 11;
	err(EINVAL, call(rig, rig->dev, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &info));
	err(ENODEV, call(rig, rig->dev, VFIO_DEVICE_PCI_HOT_RESET, &cmd));
	cmd.flags = 1;
	err(EINVAL, call(rig, rig->dev, VFIO_DEVICE_PCI_HOT_RESET, &cmd));
}

/* Without Bus Master Enable nothing leaves the device. */
static void bus_master(void **state)
{
	struct rig *rig = *state;
	static uint8_t page[PAGE] __attribute__((aligned(4096)));
	uint32_t ioas = ioas_alloc(rig);

	ok(ioas_map(rig, ioas, page, PAGE, 0x1000, RW));
	ok(attach_id(rig, ioas));
	err(EIO, dma_write(rig, NO_PASID, 0x1000, 7));
	assert_int_equal(page[0], 0);
	enable_bus_master(rig);
	ok(dma_write(rig, NO_PASID, 0x1000, 7));
	assert_int_equal(page[0], 7);
}

static void read_write_with_position(void **state)
{
	struct rig *rig = *state;
	uint64_t value;

	assert_int_equal(rig->host->ops->read(rig->host, rig->dev, &value, 8), 8);
	assert_int_equal(value, DEVICE_MAGIC);
	value = 0x99;
	assert_int_equal(rig->host->ops->write(rig->host, rig->dev, &value, 8), 8);
	assert_int_equal(bar_get(rig, REG_SCRATCH), 0x99);
}

static const struct suite_case cases[] = {
	TEST(bind_errors),
	TEST(device_info),
	TEST(region_infos, NEED_OWN_DEVICE),
	TEST(irq_infos, NEED_OWN_DEVICE),
	TEST(bar_access, NEED_OWN_DEVICE),
	TEST(config_access, NEED_OWN_DEVICE),
	TEST(extended_capabilities, NEED_OWN_DEVICE | NEED_PASID),
	TEST_AS("extended_capabilities_without_pasid", extended_capabilities,
		NEED_OWN_DEVICE | NEED_NO_PASID),
	TEST(msi_capability, NEED_OWN_DEVICE),
	TEST(resets, NEED_OWN_DEVICE),
	TEST(features),
	TEST(hot_reset),
	TEST(bus_master, NEED_OWN_DEVICE),
	TEST(read_write_with_position, NEED_OWN_DEVICE),
};
SUITE_GROUP(vfio, cases)
