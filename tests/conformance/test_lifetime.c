// SPDX-License-Identifier: BSD-3-Clause
/*
 * Who holds whom: each reason for EBUSY, that it goes when the holder goes, and that
 * descriptors may be closed in any order at any time. Leaks show under the address sanitizer.
 */
#include "rig.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void ioas_held_by_domains(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), a, b;
	static uint8_t page[PAGE] __attribute__((aligned(4096)));

	ok(ioas_map(rig, ioas, page, PAGE, 0, RW)); /* mappings do not hold */
	ok(hwpt_alloc(rig, rig->devid, ioas, 0, &a));
	ok(hwpt_alloc(rig, rig->devid, ioas, PASID, &b));
	err(EBUSY, destroy(rig, ioas));
	ok(destroy(rig, a));
	err(EBUSY, destroy(rig, ioas));
	ok(destroy(rig, b));
	ok(attach_id(rig, ioas));
	err(EBUSY, destroy(rig, ioas)); /* by the automatic one */
	ok(detach(rig));
	ok(destroy(rig, ioas));
}

static void ioas_held_by_a_parent(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), parent;

	ok(hwpt_alloc(rig, rig->devid, ioas, NEST, &parent));
	err(EBUSY, destroy(rig, ioas));
	ok(destroy(rig, parent));
	ok(destroy(rig, ioas));
}

static void parent_held_by_children_and_devices(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), parent, child, second;

	ok(hwpt_alloc(rig, rig->devid, ioas, NEST | PASID, &parent));
	ok(hwpt_alloc_nested(rig, parent, PASID, 0, &child));
	ok(hwpt_alloc_nested(rig, parent, PASID, 0, &second));
	err(EBUSY, destroy(rig, parent));
	ok(destroy(rig, second));
	err(EBUSY, destroy(rig, parent));
	ok(attach_id(rig, child));
	err(EBUSY, destroy(rig, child));
	err(EBUSY, destroy(rig, parent));
	ok(attach_id(rig, parent));
	ok(destroy(rig, child));
	err(EBUSY, destroy(rig, parent));
	ok(attach_pasid(rig, 3, parent));
	ok(detach(rig));
	err(EBUSY, destroy(rig, parent));
	ok(detach_pasid(rig, 3));
	ok(destroy(rig, parent));
	ok(destroy(rig, ioas));
}

static void nested_held_by_each_pasid(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), parent, child;

	ok(hwpt_alloc(rig, rig->devid, ioas, NEST | PASID, &parent));
	ok(hwpt_alloc_nested(rig, parent, PASID, 0, &child));
	ok(attach_id(rig, child));
	for (uint32_t pasid = 1; pasid <= 10; pasid++)
		ok(attach_pasid(rig, pasid, child));
	for (uint32_t pasid = 1; pasid <= 10; pasid++) {
		err(EBUSY, destroy(rig, child));
		ok(detach_pasid(rig, pasid));
	}
	err(EBUSY, destroy(rig, child));
	ok(detach(rig));
	ok(destroy(rig, child));
}

static void device_id_held_by_its_file(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig);

	err(EBUSY, destroy(rig, rig->devid));
	ok(attach_id(rig, ioas));
	err(EBUSY, destroy(rig, rig->devid));
	ok(host_close(rig, rig->dev));
	err(ENOENT, destroy(rig, rig->devid));
	ok(destroy(rig, ioas));
}

static void auto_domains_are_shared_and_go(void **state)
{
	struct rig *rig = *state, second = *rig;
	uint32_t ioas = ioas_alloc(rig), first = ioas, other = ioas, manual;

	rig_add_device(rig, true, second.path, sizeof(second.path));
	second.dev = host_open(&second, second.path);
	ok(bind_device(&second, second.dev, rig->iommu, &second.devid));
	ok(hwpt_alloc(rig, rig->devid, ioas, 0, &manual)); /* not to be used for this */
	ok(attach(rig, &first));
	assert_int_not_equal(first, manual);
	ok(attach(&second, &other));
	assert_int_equal(first, other);
	ok(detach(rig));
	err(EBUSY, destroy(rig, first));
	ok(detach(&second));
	err(ENOENT, destroy(rig, first));
	ok(destroy(rig, manual));
	ok(destroy(rig, ioas));
}

/* The context lives as long as a device is bound to it. */
static void close_iommufd_first(void **state)
{
	struct rig *rig = *state;
	static uint8_t page[PAGE] __attribute__((aligned(4096)));
	uint32_t ioas = ioas_alloc(rig), parent;

	ok(ioas_map(rig, ioas, page, PAGE, 0x1000, RW));
	ok(hwpt_alloc(rig, rig->devid, ioas, NEST | PASID, &parent));
	ok(attach_id(rig, parent));
	enable_bus_master(rig);
	ok(host_close(rig, rig->iommu));
	dma_reaches(rig, NO_PASID, 0x1000, page);
	ok(attach_pasid(rig, 8, parent));
	ok(attach_id(rig, ioas = parent));
	ok(host_close(rig, rig->dev));
	/* both can be used again from the start */
	rig->iommu = host_open(rig, "/dev/iommu");
	rig->dev = host_open(rig, rig->path);
	ok(bind_device(rig, rig->dev, rig->iommu, &rig->devid));
	assert_int_equal(rig->devid, 1);
	enable_bus_master(rig);
	err(EFAULT, dma_write(rig, NO_PASID, 0x1000, 1));
	err(EFAULT, dma_write(rig, 8, 0x1000, 1));
}

static void close_iommufd_before_a_plain_device(void **state)
{
	struct rig *rig = *state;
	static uint8_t page[PAGE] __attribute__((aligned(4096)));
	uint32_t ioas = ioas_alloc(rig);

	ok(ioas_map(rig, ioas, page, PAGE, 0x1000, RW));
	ok(attach_id(rig, ioas));
	enable_bus_master(rig);
	ok(host_close(rig, rig->iommu));
	dma_reaches(rig, NO_PASID, 0x1000, page);
	ok(detach(rig));
	dma_is_blocked(rig, NO_PASID, 0x1000);
	ok(attach_id(rig, ioas));
	dma_reaches(rig, NO_PASID, 0x1000, page);
	ok(host_close(rig, rig->dev));
	rig->iommu = host_open(rig, "/dev/iommu");
	rig->dev = host_open(rig, rig->path);
	ok(bind_device(rig, rig->dev, rig->iommu, &rig->devid));
	assert_int_equal(rig->devid, 1);
	enable_bus_master(rig);
	dma_is_blocked(rig, NO_PASID, 0x1000);
}

/* A device moves to another context; the ids of the first know it no more. */
static void device_changes_context(void **state)
{
	struct rig *rig = *state;
	int other = host_open(rig, "/dev/iommu");
	uint32_t ioas = ioas_alloc(rig), hwpt, id;

	ok(hwpt_alloc(rig, rig->devid, ioas, 0, &hwpt));
	ok(attach_id(rig, hwpt));
	ok(host_close(rig, rig->dev));
	rig->dev = host_open(rig, rig->path);
	ok(bind_device(rig, rig->dev, other, &id));
	assert_int_equal(id, 1);
	err(ENOENT, hwpt_alloc(rig, rig->devid, ioas, 0, &id));
	err(ENOENT, attach_id(rig, hwpt)); /* an id of the other context */
	ok(destroy(rig, hwpt));
	ok(destroy(rig, ioas));
}

static void nested_device_changes_context(void **state)
{
	struct rig *rig = *state;
	int other = host_open(rig, "/dev/iommu");
	uint32_t ioas = ioas_alloc(rig), parent, nested, id;

	ok(hwpt_alloc(rig, rig->devid, ioas, NEST, &parent));
	ok(hwpt_alloc_nested(rig, parent, 0, 0, &nested));
	ok(attach_id(rig, nested));
	ok(host_close(rig, rig->dev));
	ok(destroy(rig, nested));
	rig->dev = host_open(rig, rig->path);
	ok(bind_device(rig, rig->dev, other, &id));
	assert_int_equal(id, 1);
	err(ENOENT, hwpt_alloc(rig, rig->devid, ioas, 0, &nested));
	err(ENOENT, attach_id(rig, parent)); /* an id of the other context */
	ok(destroy(rig, parent));
	ok(destroy(rig, ioas));
}

/* Everything is in use, nothing is closed: the host ends. */
static void destroy_with_all_open(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), parent, nested;
	static uint8_t page[PAGE] __attribute__((aligned(4096)));
	int fd = memfd_create("open", 0);
	uint64_t iova = 0x100000;

	ok(ftruncate(fd, PAGE));
	ok(ioas_map(rig, ioas, page, PAGE, 0x1000, RW));
	ok(ioas_map_file(rig, ioas, fd, 0, PAGE, &iova, RW));
	ok(hwpt_alloc(rig, rig->devid, ioas, NEST | PASID, &parent));
	ok(hwpt_alloc_nested(rig, parent, PASID, 0, &nested));
	ok(attach_id(rig, nested));
	ok(attach_pasid(rig, 2, nested));
	assert_true(host_open(rig, rig->path) >= 0);
	assert_true(host_open(rig, "/dev/iommu") >= 0);
	close(fd);
}

/* A number that was closed behind the host's back and comes again is the new file's. */
static void stale_number(void **state)
{
	struct rig *rig = *state;
	int fd = host_open(rig, "/dev/iommu"), again;

	close(fd);
	again = host_open(rig, "/dev/iommu");
	assert_int_equal(again, fd);
	ok(host_close(rig, again));
	err(EBADF, host_close(rig, again));
}

static const struct suite_case cases[] = {
	TEST(ioas_held_by_domains),
	TEST(ioas_held_by_a_parent, NEED_NESTING),
	TEST(parent_held_by_children_and_devices, NEED_VTD | NEED_NESTING),
	TEST(nested_held_by_each_pasid, NEED_VTD | NEED_NESTING | NEED_PASID),
	TEST(device_id_held_by_its_file),
	TEST(auto_domains_are_shared_and_go, NEED_TWO_DEVICES),
	TEST(close_iommufd_first, NEED_VTD | NEED_NESTING | NEED_PASID | NEED_PASID_DMA),
	TEST(close_iommufd_before_a_plain_device, NEED_DMA),
	TEST(device_changes_context),
	TEST(nested_device_changes_context, NEED_VTD | NEED_NESTING),
	TEST(destroy_with_all_open, NEED_VTD | NEED_NESTING | NEED_PASID | NEED_IN_PROCESS),
	TEST(stale_number),
};
SUITE_GROUP(lifetime, cases)
