// SPDX-License-Identifier: BSD-3-Clause
/*
 * What of a device's BARs is mapped through. What the kernel may say of it is put into the software
 * host's mouth, whose own devices have nothing to map; then as a VMM sees it over vfio-user. And a
 * device that cannot be reset.
 */
#include "unit/rig_host.h"
#include "unit/vfio_user/client.h"

#include "endpoint/nvme.h"
#include "frontend/device_function.h"
#include "passthrough/device.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096, BAR = VFIO_PCI_BAR0_REGION_INDEX, PAGES = 16, BAR_BYTES = PAGES * PAGE };

/* --- areas, as the kernel describes them -------------------------------------------------- */

struct answer {
	struct vfio_region_info info;
	uint8_t caps[256];
};

struct sparse { /* struct vfio_region_info_cap_sparse_mmap with areas */
	struct vfio_info_cap_header header;
	uint32_t nr_areas, reserved;
	struct vfio_region_sparse_mmap_area areas[8];
};

static struct answer mappable(uint64_t size)
{
	return (struct answer){ .info = { .argsz = sizeof(struct vfio_region_info),
					  .flags = VFIO_REGION_INFO_FLAG_READ |
						   VFIO_REGION_INFO_FLAG_WRITE |
						   VFIO_REGION_INFO_FLAG_MMAP,
					  .size = size } };
}

/* The next capability, @size bytes; returns where. */
static uint32_t add_cap(struct answer *a, const void *cap, size_t size, uint32_t *last)
{
	uint32_t at = a->info.argsz;

	assert_true(at + size <= sizeof(*a));
	memcpy((uint8_t *)a + at, cap, size);
	if (*last)
		((struct vfio_info_cap_header *)((uint8_t *)a + *last))->next = at;
	else
		a->info.cap_offset = at;
	a->info.flags |= VFIO_REGION_INFO_FLAG_CAPS;
	a->info.argsz += (uint32_t)size;
	*last = at;
	return at;
}

static size_t sparse_size(uint32_t areas)
{
	return offsetof(struct sparse, areas) + areas * sizeof(struct vfio_region_sparse_mmap_area);
}

static void all_of_a_region(void **state)
{
	struct answer a = mappable(BAR_BYTES);
	struct vfio_info_cap_header msix = { VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, 1, 0 };
	struct device_areas areas;
	uint32_t last = 0;

	device_areas_read(&a.info, &areas);
	assert_int_equal(areas.count, 1);
	assert_int_equal(areas.area[0].offset, 0);
	assert_int_equal(areas.area[0].size, BAR_BYTES);
	add_cap(&a, &msix, sizeof(msix), &last);
	device_areas_read(&a.info, &areas);
	assert_int_equal(areas.count, 1);
	a.info.flags &= ~(uint32_t)VFIO_REGION_INFO_FLAG_MMAP;
	device_areas_read(&a.info, &areas);
	assert_int_equal(areas.count, 0);
	a = mappable(100);	/* less than a page */
	device_areas_read(&a.info, &areas);
	assert_int_equal(areas.count, 0);
}

static void a_list_of_areas(void **state)
{
	struct sparse sparse = { .header = { VFIO_REGION_INFO_CAP_SPARSE_MMAP, 1, 0 },
				 .nr_areas = 7,
				 .areas = { { 8 * PAGE, PAGE },		/* not in their order */
					    { 0, 2 * PAGE },
					    { PAGE, PAGE },		/* twice */
					    { 4 * PAGE, 100 },		/* no whole page */
					    { 5 * PAGE + 1, PAGE },
					    { 15 * PAGE, 2 * PAGE },	/* behind the end */
					    { 7 * PAGE, PAGE } } };
	struct vfio_info_cap_header other = { 77, 1, 0 };
	struct answer a = mappable(BAR_BYTES);
	struct device_areas areas;
	uint32_t last = 0, at;

	add_cap(&a, &other, sizeof(other), &last);
	at = add_cap(&a, &sparse, sparse_size(7), &last);
	device_areas_read(&a.info, &areas);
	assert_int_equal(areas.count, 3);
	assert_int_equal(areas.area[0].offset, 0);
	assert_int_equal(areas.area[0].size, 2 * PAGE);
	assert_int_equal(areas.area[1].offset, 7 * PAGE);
	assert_int_equal(areas.area[2].offset, 8 * PAGE);
	/* fewer are there than it says */
	((struct sparse *)((uint8_t *)&a + at))->nr_areas = UINT32_MAX;
	a.info.argsz -= 6 * sizeof(sparse.areas[0]);
	device_areas_read(&a.info, &areas);
	assert_int_equal(areas.count, 1);
	assert_int_equal(areas.area[0].offset, 8 * PAGE);
}

static void capabilities_that_lead_nowhere(void **state)
{
	struct vfio_info_cap_header loop = { 77, 1, sizeof(struct vfio_region_info) };
	struct answer a = mappable(BAR_BYTES);
	struct device_areas areas;
	uint32_t last = 0;

	add_cap(&a, &loop, sizeof(loop), &last);
	device_areas_read(&a.info, &areas);	/* comes back */
	for (uint32_t at = 0; at < 2 * sizeof(a); at++) {
		a.info.cap_offset = at;
		device_areas_read(&a.info, &areas);
		assert_int_equal(areas.count, 1);
	}
}

/* Page by page. */
static void exclusion_against_a_map_of_pages(void **state)
{
	uint64_t seed = 11;

	for (int round = 0; round < 20000; round++) {
		bool wanted[PAGES] = { false }, got[PAGES] = { false };
		struct device_areas areas = { .count = 0 };

		for (uint64_t at = test_random(&seed) % 4; at < PAGES && areas.count < 3;) {
			uint64_t n = 1 + test_random(&seed) % 4;

			n = MIN(n, PAGES - at);
			areas.area[areas.count++] =
				(struct nst_device_area){ at * PAGE, n * PAGE };
			for (uint64_t i = at; i < at + n; i++)
				wanted[i] = true;
			at += n + test_random(&seed) % 3;
		}
		for (int cuts = 0; cuts < 3; cuts++) {
			uint64_t from = test_random(&seed) % BAR_BYTES;
			uint64_t size = 1 + test_random(&seed) % (3 * PAGE);

			device_areas_exclude(&areas, from, size);
			for (uint64_t i = from / PAGE; i <= (from + size - 1) / PAGE; i++)
				if (i < PAGES)
					wanted[i] = false;
		}
		for (unsigned int n = 0; n < areas.count; n++) {
			assert_true(areas.area[n].size > 0);
			for (uint64_t i = 0; i < areas.area[n].size / PAGE; i++) {
				assert_false(got[areas.area[n].offset / PAGE + i]);
				got[areas.area[n].offset / PAGE + i] = true;
			}
		}
		assert_memory_equal(got, wanted, sizeof(got));
	}
}

/* What there is no room for is not mapped; nothing that was cut out ever is. */
static void too_many_pieces(void **state)
{
	struct device_areas areas = { .area = { { 0, 64 * PAGE } }, .count = 1 };

	for (uint64_t page = 1; page < 64; page += 2)
		device_areas_exclude(&areas, page * PAGE + 5, 1);
	assert_int_equal(areas.count, DEVICE_MAX_AREAS);
	for (unsigned int i = 0; i < areas.count; i++) {
		assert_int_equal(areas.area[i].size, PAGE);
		assert_int_equal(areas.area[i].offset, 2 * i * PAGE);
	}
}

/* --- a device ----------------------------------------------------------------------------- */

struct rig {
	struct rig_host host;
	struct fixture client;
	struct nst_vm *vm;
	struct nst_device *dev;
	struct device_function *function;
	struct nst_device_config config;
	char cdev[64];
	int disk;
	bool mappable, no_reset; /* what the host says */
	unsigned int resets;
	struct reply reply; /* too large for a stack */
};

/* The kernel's answer about BAR 0: with a list of two areas, which needs more room than the first call has. */
static int tell_region(struct vfio_region_info *info)
{
	struct sparse sparse = { .header = { VFIO_REGION_INFO_CAP_SPARSE_MMAP, 1, 0 },
				 .nr_areas = 2,
				 .areas = { { 0, PAGE }, { 2 * PAGE, 2 * PAGE } } };
	uint32_t room = info->argsz, size = (uint32_t)(sizeof(*info) + sparse_size(2));

	*info = (struct vfio_region_info){ .argsz = size, .index = BAR, .size = BAR_BYTES,
					   .flags = 15 };
	if (room < size)
		return 1;
	info->cap_offset = sizeof(*info);
	memcpy(info + 1, &sparse, sparse_size(2));
	return 1;
}

static int hook(struct rig *rig, unsigned long request, void *arg)
{
	struct vfio_device_info *info = arg;

	rig->resets += request == VFIO_DEVICE_RESET;
	if (request == VFIO_DEVICE_GET_REGION_INFO && rig->mappable &&
	    ((struct vfio_region_info *)arg)->index == BAR)
		return tell_region(arg);
	if (request != VFIO_DEVICE_GET_INFO || !rig->no_reset)
		return 0;
	*info = (struct vfio_device_info){ .argsz = sizeof(*info), .flags = VFIO_DEVICE_FLAGS_PCI,
					   .num_regions = VFIO_PCI_NUM_REGIONS,
					   .num_irqs = VFIO_PCI_NUM_IRQS };
	return 1;
}

static void serve(struct rig *rig)
{
	struct fixture *f = &rig->client;

	ok(nst_device_open(rig->vm, &rig->config, &rig->dev));
	ok(device_function_create(&(struct device_function_config){ .dev = rig->dev,
								    .socket_path = f->path },
				  &rig->function));
	f->vfu = device_function_vfu(rig->function);
	client_connect(f);
	client_version(f, qemu_version);
}

static int setup(void **state)
{
	const struct nst_soft_config soft = { .iommu = NST_SOFT_VTD };
	struct rig *rig = calloc(1, sizeof(*rig));
	struct fixture *f = &rig->client;
	char desc[64];

	f->fds_at_start = count_fds();
	f->sock = -1;
	strcpy(f->dir, "/tmp/nestor-map-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/socket", f->dir);
	rig_host_init(&rig->host, rig, &soft);
	rig->host.hook = hook;
	rig->disk = memfd_create("disk", MFD_CLOEXEC);
	ok(ftruncate(rig->disk, 1 << 20));
	snprintf(desc, sizeof(desc), "nvme,file=/proc/self/fd/%d", rig->disk);
	ok(nst_soft_add_device(rig->host.inner, desc, rig->cdev, sizeof(rig->cdev), NULL));
	rig->config.path = rig->cdev;
	ok(nst_vm_create(&rig->host.base, NULL, &rig->vm));
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	if (rig->function) {
		client_close(&rig->client);
		device_function_destroy(rig->function);
	}
	nst_device_close(rig->dev);
	nst_vm_destroy(rig->vm);
	rig_host_fini(&rig->host);
	close(rig->disk);
	ok(rmdir(rig->client.dir));
	assert_int_equal(count_fds(), rig->client.fds_at_start);
	free(rig);
	return 0;
}

/* The controller's MSI-X table is in the third page of its BAR, which the host would have mapped. */
static void the_msix_table_is_not_mapped(void **state)
{
	struct rig *rig = *state;
	struct nst_device_mapping m;

	_Static_assert(NVME_MSIX_TABLE == 2 * PAGE, "where the test's area begins");
	for (int hidden = 0; hidden < 2; hidden++) {
		rig->mappable = true;
		rig->config.hide_msix = hidden;
		ok(nst_device_open(rig->vm, &rig->config, &rig->dev));
		m = nst_device_mapping(rig->dev, BAR);
		assert_int_equal(m.num_areas, 2);
		assert_int_equal(m.fd, rig->dev->fd);
		assert_int_equal(m.areas[0].offset, 0);
		assert_int_equal(m.areas[0].size, PAGE);
		assert_int_equal(m.areas[1].offset, 3 * PAGE);
		assert_int_equal(m.areas[1].size, PAGE);
		for (unsigned int i = 0; i < 40; i++)
			if (i != BAR)
				assert_int_equal(nst_device_mapping(rig->dev, i).num_areas, 0);
		nst_device_close(rig->dev);
		rig->dev = NULL;
	}
	rig->mappable = false;
	ok(nst_device_open(rig->vm, &rig->config, &rig->dev));
	assert_int_equal(nst_device_mapping(rig->dev, BAR).fd, -1);
}

static struct vfio_region_info ask(struct rig *rig, uint32_t argsz)
{
	struct vfio_region_info info = { .argsz = argsz, .index = BAR };

	client_call(&rig->client, WIRE_GET_REGION_INFO, &info, 32, -1, 0, &rig->reply);
	memcpy(&info, rig->reply.payload, 32);
	return info;
}

static void the_vmm_maps_it(void **state)
{
	struct rig *rig = *state;
	struct stat ours, theirs;
	struct sparse got;

	rig->mappable = true;
	serve(rig);
	assert_int_equal(ask(rig, 4096).flags, 15);
	memcpy(&got, rig->reply.payload + 32, sparse_size(2));
	assert_int_equal(got.nr_areas, 2);
	assert_int_equal(got.areas[1].offset, 3 * PAGE);
	ok(fstat(rig->dev->fd, &ours));
	ok(fstat(rig->reply.fd, &theirs));
	assert_int_equal(ours.st_ino, theirs.st_ino);
	close(rig->reply.fd);
	/* the device goes, and comes back by another descriptor */
	device_function_set_device(rig->function, NULL);
	assert_int_equal(ask(rig, 4096).flags, 3);
	assert_int_equal(rig->reply.fd, -1);
	device_function_set_device(rig->function, rig->dev);
	assert_int_equal(ask(rig, 4096).flags, 15);
	close(rig->reply.fd);
}

static void a_device_that_has_nothing_to_map(void **state)
{
	struct rig *rig = *state;

	serve(rig);
	assert_int_equal(ask(rig, 4096).flags, 3);
	assert_int_equal(rig->reply.fd, -1);
	device_function_set_device(rig->function, NULL);
	device_function_set_device(rig->function, rig->dev);
}

static uint16_t command(struct rig *rig)
{
	uint16_t value;

	ok(nst_device_read(rig->dev, VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, &value,
			   sizeof(value)));
	return value;
}

/* When the VMM has gone: reset; or, if it cannot be, at least without DMA. */
static void who_goes_leaves_no_dma(void **state)
{
	const uint16_t on = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	struct wire_device_info info = { 16, 0, 0, 0 };
	struct rig *rig = *state;

	rig->no_reset = true;
	serve(rig);
	assert_false(nst_device_can_reset(rig->dev));
	client_call(&rig->client, WIRE_GET_INFO, &info, 16, -1, 0, &rig->reply);
	memcpy(&info, rig->reply.payload, 16);
	assert_int_equal(info.flags, VFIO_DEVICE_FLAGS_PCI);
	ok(nst_device_write(rig->dev, VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, &on, sizeof(on)));
	client_close(&rig->client);
	assert_int_equal(command(rig), PCI_COMMAND_MEMORY);
	assert_int_equal(rig->resets, 0);
	/* the same of one that can */
	device_function_destroy(rig->function);
	nst_device_close(rig->dev);
	rig->no_reset = false;
	serve(rig);
	assert_true(nst_device_can_reset(rig->dev));
	client_call(&rig->client, WIRE_GET_INFO, &info, 16, -1, 0, &rig->reply);
	memcpy(&info, rig->reply.payload, 16);
	assert_int_equal(info.flags, VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET);
	client_close(&rig->client);
	assert_int_equal(rig->resets, 1);
}

/* Each of the calls that opening it makes fails once: nothing is left behind. */
static void opening_fails_at_every_call(void **state)
{
	struct rig *rig = *state;
	unsigned int n;

	rig->mappable = true;
	for (n = 1; n < 100; n++) {
		rig_fail(&rig->host, 0, n, EIO);
		if (!nst_device_open(rig->vm, &rig->config, &rig->dev))
			break;
		assert_int_equal(rig->host.open_fds, 1); /* the VM's */
		assert_int_equal(rig->host.live_objects, 1);
	}
	rig_fail_stop(&rig->host);
	assert_in_range(n, 12, 99);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_of_a_region),
		cmocka_unit_test(a_list_of_areas),
		cmocka_unit_test(capabilities_that_lead_nowhere),
		cmocka_unit_test(exclusion_against_a_map_of_pages),
		cmocka_unit_test(too_many_pieces),
		cmocka_unit_test_setup_teardown(the_msix_table_is_not_mapped, setup, teardown),
		cmocka_unit_test_setup_teardown(the_vmm_maps_it, setup, teardown),
		cmocka_unit_test_setup_teardown(a_device_that_has_nothing_to_map, setup, teardown),
		cmocka_unit_test_setup_teardown(who_goes_leaves_no_dma, setup, teardown),
		cmocka_unit_test_setup_teardown(opening_fails_at_every_call, setup, teardown),
	};

	return cmocka_run_group_tests_name("what a VMM maps of a device", tests, NULL, NULL);
}
