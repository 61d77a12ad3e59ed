// SPDX-License-Identifier: BSD-3-Clause
/*
 * The software host's own interface: devices from a description, counters, the lost
 * invalidation that the sanitizer must find. Only for this host.
 */
#include "rig.h"

#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void no_such_device(void **state)
{
	struct rig *rig = *state;
	char path[64] = "", *text = NULL;

	err(EINVAL, nst_soft_add_device(rig->host, "toaster", path, sizeof(path), &text));
	assert_non_null(text);
	assert_true(strstr(text, "toaster") != NULL);
	free(text);
	err(EINVAL, nst_soft_add_device(rig->host, "toaster", path, sizeof(path), NULL));
	err(ENOENT, nst_soft_add_device(rig->host, "nvme,file=/nonexistent/disk", path,
					sizeof(path), &text));
	assert_non_null(text);
	free(text);
	assert_string_equal(path, "");
}

/* The disk's file without a name: nothing stays behind if the test dies. */
static void disk_description(char *out, size_t size)
{
	int fd = memfd_create("disk", 0);

	ok(ftruncate(fd, 1 << 20));
	snprintf(out, size, "nvme,file=/proc/self/fd/%d", fd);
}

static void nvme_is_plugged_in(void **state)
{
	struct rig *rig = *state, disk = *rig;
	char description[64], tiny[8], *text = NULL;
	struct vfio_device_info info = { .argsz = sizeof(info) };

	disk_description(description, sizeof(description));
	err(EINVAL, nst_soft_add_device(rig->host, description, tiny, sizeof(tiny), &text));
	assert_non_null(text);
	free(text);
	ok(nst_soft_add_device(rig->host, description, disk.path, sizeof(disk.path), &text));
	assert_string_equal(disk.path, "/dev/vfio/devices/vfio1");
	disk.dev = host_open(&disk, disk.path);
	ok(bind_device(&disk, disk.dev, rig->iommu, &disk.devid));
	ok(call(&disk, disk.dev, VFIO_DEVICE_GET_INFO, &info));
	assert_int_equal(info.flags, VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET);
	assert_int_equal(config_get(&disk, PCI_CLASS_REVISION, 4) >> 8, 0x010802);
	assert_int_not_equal(bar_get(&disk, 0), 0); /* CAP */
	ok(call(&disk, disk.dev, VFIO_DEVICE_RESET, NULL));
}

static void counters(void **state)
{
	struct rig *rig = *state;
	static uint8_t page[PAGE] __attribute__((aligned(4096)));
	struct nst_soft_stats stats, zero = { 0 };
	uint32_t ioas = ioas_alloc(rig);
	uint64_t value;

	nst_soft_get_stats(rig->host, &stats);
	assert_memory_equal(&stats, &zero, sizeof(zero));
	ok(ioas_map(rig, ioas, page, PAGE, 0x1000, RW));
	ok(attach_id(rig, ioas));
	enable_bus_master(rig);
	ok(dma_write(rig, NO_PASID, 0x1000, 1));
	ok(dma_read(rig, NO_PASID, 0x1000, &value));
	err(EFAULT, dma_read(rig, NO_PASID, 0x9000, &value));
	nst_soft_get_stats(rig->host, &stats);
	assert_int_equal(stats.dma_write_bytes, 8);
	assert_int_equal(stats.dma_read_bytes, 8);
	assert_int_equal(stats.faults, 1);
	assert_int_equal(stats.nested_hwpts, 0);
}

static void invalidations_are_counted(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), parent, nested, num = 3;
	struct iommu_hwpt_vtd_s1_invalidate e[3] = { { .npages = 1 }, { .npages = 1 } };
	struct nst_soft_stats before, after;

	ok(hwpt_alloc(rig, rig->devid, ioas, NEST, &parent));
	ok(hwpt_alloc_nested(rig, parent, 0, 0, &nested));
	ok(attach_id(rig, nested));
	nst_soft_get_stats(rig->host, &before);
	ok(invalidate(rig, nested, 0, e, sizeof(e[0]), &num));
	nst_soft_get_stats(rig->host, &after);
	assert_int_equal(after.invalidate_calls - before.invalidate_calls, 1);
	assert_int_equal(after.invalidate_entries - before.invalidate_entries, 3);
	assert_int_equal(after.nested_hwpts, 1);
}

static void lost_invalidation_is_found(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), parent, nested;
	struct nst_soft_stats stats;
	struct guest guest;
	uint64_t root;

	guest_init(&guest, 1 << 20);
	root = guest_table(&guest);
	guest_map(&guest, root, 0x5000, 0x2000);
	ok(ioas_map(rig, ioas, guest.memory, guest.size, 0, RW));
	ok(hwpt_alloc(rig, rig->devid, ioas, NEST, &parent));
	ok(hwpt_alloc_nested(rig, parent, 0, root, &nested));
	ok(attach_id(rig, nested));
	enable_bus_master(rig);
	nst_soft_drop_invalidation(rig->host, 16);
	for (uint64_t i = 0; i < 2; i++) { /* the second is lost: 16 bytes are written by then */
		ok(dma_write(rig, NO_PASID, 0x5000, i));
		guest_map(&guest, root, 0x5000, 0x3000 + i * PAGE);
		ok(flush_page(rig, nested, 0x5000));
	}
	nst_soft_get_stats(rig->host, &stats);
	assert_int_equal(stats.stale_hits, 0);
	ok(dma_write(rig, NO_PASID, 0x5000, 2));
	assert_int_equal(guest.memory[0x3000], 2); /* where it no longer should go */
	assert_int_equal(guest.memory[0x4000], 0);
	nst_soft_get_stats(rig->host, &stats);
	assert_int_equal(stats.stale_hits, 1);
	assert_int_equal(stats.nested_hwpts, 1);
	ok(flush_page(rig, nested, 0x5000)); /* only one was lost */
	ok(dma_write(rig, NO_PASID, 0x5000, 3));
	assert_int_equal(guest.memory[0x4000], 3);
	nst_host_destroy(rig->host);
	rig->host = NULL;
	guest_fini(&guest);
}

struct told {
	struct nst_log log;
	char text[4096];
};

static void take(void *opaque, enum nst_log_level level, const char *message)
{
	struct told *told = opaque;
	size_t used = strlen(told->text);

	snprintf(told->text + used, sizeof(told->text) - used, "%s\n", message);
}

/* The last report, whole: every call that matters must have been remembered. */
static void expect_told(struct told *told, const char *text)
{
	if (strncmp(told->text, text, strlen(text)))
		assert_string_equal(told->text, text);
	told->text[0] = '\0';
}

static void the_sanitizer_knows_the_calls(void **state)
{
	struct told told = { .log = { take, &told, NST_LOG_WARN } };
	struct nst_soft_config config = { .log = &told.log, .check = true, .synchronous = true };
	struct rig *rig = rig_create(&config, true);
	uint32_t ioas = ioas_alloc(rig), parent, nested;
	uint64_t root, length = 1 << 20;
	struct nst_soft_stats stats;
	struct guest guest;

	guest_init(&guest, length);
	root = guest_table(&guest);
	guest_map(&guest, root, 0x5000, 0x2000);
	enable_bus_master(rig);
	err(EFAULT, dma_write(rig, NO_PASID, 0x5000, 1));
	expect_told(&told,
		    "check: DMA while blocked (1): device 00:01.0 write iova 0x5000: attached to"
		    " nothing (reason 0x59)\ncheck:   it has never been attached\n");
	ok(ioas_map(rig, ioas, guest.memory, guest.size, 0, RW));
	ok(hwpt_alloc(rig, rig->devid, ioas, NEST | PASID, &parent));
	ok(hwpt_alloc_nested(rig, parent, PASID, root, &nested));
	ok(attach_id(rig, parent));
	ok(attach_pasid(rig, 6, nested));
	ok(dma_write(rig, 6, 0x5008, 1));
	guest_unmap(&guest, root, 0x5000);
	ok(flush_page(rig, nested, 0x6000));
	assert_string_equal(told.text, "");
	ok(dma_write(rig, 6, 0x5000, 1));
	assert_non_null(strstr(told.text,
			       "check: stale IOTLB entry used (1): device 00:01.0 PASID 6"
			       " write iova 0x5000: "));
	assert_non_null(strstr(told.text,
			       "an invalidation is missing\n"
			       "check:   no invalidation of HWPT 4 covers 0x5000; the last were:\n"
			       "check:     1 event ago: 0x6000-0x6fff\n"
			       "check:   attached to HWPT 4 2 events ago\n"));
	told.text[0] = '\0';
	ok(flush_all(rig, nested));
	err(EFAULT, dma_write(rig, 6, 0x5000, 1));
	expect_told(&told,
		    "soft: DMA fault (2): device 00:01.0 PASID 6 write iova 0x5000: reason 0x71\n"
		    "check:   attached to HWPT 4 3 events ago\n");
	ok(ioas_unmap(rig, ioas, 0, &length));
	err(EFAULT, dma_write(rig, NO_PASID, 0x5008, 1));
	expect_told(&told,
		    "check: DMA after unmap (1): device 00:01.0 write iova 0x5008: 0x5008 of IOAS 2"
		    " is not mapped any more (reason 0x79)\n"
		    "check:   0x0-0xfffff was unmapped 1 event ago\n");
	ok(detach_pasid(rig, 6));
	err(EFAULT, dma_write(rig, 6, 0x5000, 1));
	expect_told(&told, "check: DMA while blocked (2): device 00:01.0 PASID 6 write iova 0x5000:"
			   " attached to nothing (reason 0x59)\n"
			   "check:   was attached to HWPT 4 5 events ago, detached 1 event ago\n");
	nst_soft_get_stats(rig->host, &stats);
	assert_int_equal(stats.faults, 4);
	assert_int_equal(stats.stale_hits, 1);
	assert_int_equal(stats.dma_after_unmap, 1);
	assert_int_equal(stats.dma_while_blocked, 2);
	rig_destroy(rig);
	guest_fini(&guest);
}

static void many_devices(void **state)
{
	struct rig *rig = *state, other = *rig;
	uint32_t ioas = ioas_alloc(rig);
	static uint8_t page[PAGE] __attribute__((aligned(4096)));

	ok(ioas_map(rig, ioas, page, PAGE, 0x1000, RW));
	for (int i = 1; i < 70; i++) { /* onto the third bus */
		rig_add_device(rig, true, other.path, sizeof(other.path));
		other.dev = host_open(&other, other.path);
		ok(bind_device(&other, other.dev, rig->iommu, &other.devid));
		enable_bus_master(&other);
		err(EFAULT, dma_write(&other, NO_PASID, 0x1000, 1));
		ok(attach_id(&other, ioas));
		ok(dma_write(&other, NO_PASID, 0x1000, (uint64_t)i));
		assert_int_equal(page[0], i);
	}
	assert_string_equal(other.path, "/dev/vfio/devices/vfio69");
}

/* --- devices that are taken away ---------------------------------------------------------- */

static uint64_t requests(int fd)
{
	uint64_t count = 0;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

/* What can be attached to it, and reached by its DMA at 0x1000. */
static uint8_t *give_memory(struct rig *rig, uint32_t *ioas)
{
	static uint8_t page[PAGE] __attribute__((aligned(4096)));

	memset(page, 0, sizeof(page));
	*ioas = ioas_alloc(rig);
	ok(ioas_map(rig, *ioas, page, PAGE, 0x1000, RW));
	ok(attach_id(rig, *ioas));
	enable_bus_master(rig);
	return page;
}

static void a_device_is_asked_back(void **state)
{
	struct rig *rig = *state, other = *rig;
	int fd = rig_listen_for_request(rig), second;
	uint32_t ioas;
	uint8_t *page = give_memory(rig, &ioas);

	rig_add_device(rig, false, other.path, sizeof(other.path));
	err(ENODEV, nst_soft_remove_device(rig->host, "/dev/vfio/devices/vfio7", false));
	err(ENODEV, nst_soft_remove_device(rig->host, "/dev/iommu", true));
	second = host_open(rig, rig->path);
	assert_true(second >= 0);
	assert_int_equal(requests(fd), 0);
	assert_int_equal(nst_soft_remove_device(rig->host, rig->path, false), 2);
	assert_int_equal(requests(fd), 1);
	err(ENODEV, host_open(rig, rig->path));

	/* until it is given back it works */
	dma_reaches(rig, NO_PASID, 0x1000, page);
	ok(call(rig, rig->dev, VFIO_DEVICE_RESET, NULL));
	ok(host_close(rig, second));
	assert_int_equal(nst_soft_remove_device(rig->host, rig->path, false), 1);
	assert_int_equal(requests(fd), 1);
	ok(detach(rig));
	ok(host_close(rig, rig->dev));
	err(ENOENT, host_open(rig, rig->path));
	err(ENODEV, nst_soft_remove_device(rig->host, rig->path, false));
	err(ENODEV, nst_soft_remove_device(rig->host, rig->path, true));
	assert_int_equal(requests(fd), 0);
	ok(destroy(rig, ioas));

	/* nothing has happened to the other */
	rig->dev = host_open(rig, other.path);
	ok(bind_device(rig, rig->dev, rig->iommu, &rig->devid));
	page = give_memory(rig, &ioas);
	dma_reaches(rig, NO_PASID, 0x1000, page);
	close(fd);
}

static void a_device_is_pulled_out(void **state)
{
	struct rig *rig = *state;
	int fd = rig_listen_for_request(rig);
	struct nst_soft_stats before, after;
	uint32_t ioas, hwpt;
	uint8_t *page = give_memory(rig, &ioas);

	dma_reaches(rig, NO_PASID, 0x1000, page);
	nst_soft_get_stats(rig->host, &before);
	bar_set(rig, REG_SCRATCH, 0x1234);
	assert_int_equal(nst_soft_remove_device(rig->host, rig->path, true), 1);
	assert_int_equal(requests(fd), 1);
	assert_int_equal(config_get(rig, PCI_VENDOR_ID, 4), UINT32_MAX);
	assert_int_equal(config_get(rig, PCI_COMMAND, 2), 0xffff);
	assert_int_equal(bar_get(rig, REG_SCRATCH), UINT64_MAX);
	assert_int_equal(bar_get(rig, REG_MAGIC), UINT64_MAX);

	/* whatever is asked of it, nothing happens */
	config_set(rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	bar_set(rig, REG_IOVA, 0x1000);
	bar_set(rig, REG_VALUE, 0x5555);
	bar_set(rig, REG_GO, 2);
	err(ENOTTY, call(rig, rig->dev, VFIO_DEVICE_RESET, NULL));
	assert_int_equal(config_get(rig, PCI_VENDOR_ID, 4), UINT32_MAX);
	nst_soft_get_stats(rig->host, &after);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(nst_soft_remove_device(rig->host, rig->path, true), 1);
	assert_int_equal(nst_soft_remove_device(rig->host, rig->path, false), 1);
	assert_int_equal(requests(fd), 2);

	/* to the iommufd it is as before */
	ok(hwpt_alloc(rig, rig->devid, ioas, 0, &hwpt));
	ok(attach_id(rig, hwpt));
	err(EBUSY, destroy(rig, hwpt));
	ok(detach(rig));
	ok(destroy(rig, hwpt));
	ok(host_close(rig, rig->dev));
	err(ENOENT, host_open(rig, rig->path));
	ok(destroy(rig, ioas));
	rig_add_device(rig, false, rig->path, sizeof(rig->path));
	assert_string_equal(rig->path, "/dev/vfio/devices/vfio1");
	rig_bind(rig);
	close(fd);
}

static const struct suite_case cases[] = {
	TEST(no_such_device, NEED_IN_PROCESS),
	TEST(nvme_is_plugged_in, NEED_IN_PROCESS),
	TEST(counters, NEED_IN_PROCESS),
	TEST(invalidations_are_counted, NEED_IN_PROCESS | NEED_VTD),
	TEST(lost_invalidation_is_found, NEED_IN_PROCESS | NEED_VTD),
	TEST(many_devices, NEED_IN_PROCESS),
	TEST(the_sanitizer_knows_the_calls, NEED_IN_PROCESS),
	TEST(a_device_is_asked_back, NEED_IN_PROCESS | NEED_DMA),
	TEST(a_device_is_pulled_out, NEED_IN_PROCESS | NEED_OWN_DEVICE),
};
SUITE_GROUP(soft_host, cases)
