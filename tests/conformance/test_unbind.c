// SPDX-License-Identifier: BSD-3-Clause
/*
 * A kernel's driver is taken from a device that somebody works with: the kernel asks for it, waits
 * until it is given back, and gives it anew to who asks next. Sysfs says which device it is.
 */
#include "rig.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define IOVA 0x40000000ULL
enum { PATIENCE_MS = 30000 };

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void *unbind(void *address)
{
	write_file("/sys/bus/pci/drivers/vfio-pci/unbind", address);
	return NULL;
}

/* The cdev that the device has by now. */
static void find_cdev(const char *address, char *path, size_t size)
{
	char folder[128];
	struct dirent *entry;
	DIR *dir;

	snprintf(folder, sizeof(folder), "/sys/bus/pci/devices/%s/vfio-dev", address);
	dir = opendir(folder);
	assert_non_null(dir);
	do
		entry = readdir(dir);
	while (entry && entry->d_name[0] == '.');
	assert_non_null(entry);
	snprintf(path, size, "/dev/vfio/devices/%.20s", entry->d_name);
	closedir(dir);
}

static void while_attached(void **state)
{
	static uint8_t page[PAGE] __attribute__((aligned(4096)));
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig);
	struct pollfd asked;
	char address[32];
	pthread_t thread;

	assert_true(rig_pci_address(rig, address, sizeof(address)));
	enable_bus_master(rig);
	ok(ioas_map(rig, ioas, page, PAGE, IOVA, RW));
	ok(attach_id(rig, ioas));
	dma_reaches(rig, NO_PASID, IOVA, page);
	asked = (struct pollfd){ .fd = rig_listen_for_request(rig), .events = POLLIN };
	assert_int_equal(pthread_create(&thread, NULL, unbind, address), 0);
	assert_int_equal(poll(&asked, 1, PATIENCE_MS), 1);
	/* it is still ours, and works, until we let it go: attached as it is */
	dma_reaches(rig, NO_PASID, IOVA, page);
	err(EBUSY, destroy(rig, rig->devid));
	ok(host_close(rig, rig->dev));
	pthread_join(thread, NULL);
	assert_int_not_equal(access(rig->path, F_OK), 0);

	write_file("/sys/bus/pci/drivers_probe", address); /* driver_override says whose it is */
	find_cdev(address, rig->path, sizeof(rig->path));
	rig->dev = host_open(rig, rig->path);
	assert_true(rig->dev >= 0);
	ok(bind_device(rig, rig->dev, rig->iommu, &rig->devid));
	enable_bus_master(rig);
	dma_is_blocked(rig, NO_PASID, IOVA);
	ok(attach_id(rig, ioas)); /* what it was on has stayed */
	dma_reaches(rig, NO_PASID, IOVA, page);
	ok(detach(rig));
	dma_is_blocked(rig, NO_PASID, IOVA);
	ok(destroy(rig, ioas));
	close(asked.fd);
}

static const struct suite_case cases[] = {
	TEST(while_attached, NEED_DRIVER | NEED_DMA),
};
SUITE_GROUP(unbind, cases)
