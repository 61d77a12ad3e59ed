// SPDX-License-Identifier: BSD-3-Clause
/* See rig.h. */
#include "rig.h"

#include "endpoint/dmatest_spec.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/* --- hosts ----------------------------------------------------------------------------- */

static struct rig_options options;
static unsigned int provides;

static const struct rig_iommu iommus[] = {
	{ .hw_info_type = IOMMU_HW_INFO_TYPE_AMD,
	  .window = 0xfee00000,
	  .window_last = 0xfeefffff,
	  .plain_last = UINT64_MAX,
	  .parent_last = UINT64_MAX },
	{ .hw_info_type = IOMMU_HW_INFO_TYPE_INTEL_VTD,
	  .provides = NEED_VTD,
	  .window = 0xfee00000,
	  .window_last = 0xfeefffff,
	  .plain_last = 0x7fffffffffff,
	  .parent_last = 0xffffffffffff },
	{ .hw_info_type = IOMMU_HW_INFO_TYPE_ARM_SMMUV3,
	  .provides = NEED_SMMU,
	  .window = 0x8000000,
	  .window_last = 0x80fffff,
	  .plain_last = 0xffffffffffff },
};

static const struct dma_device *const dma_devices[] = { &dma_own_device, &dma_testdev,
							&dma_dmatest };

static int hw_info(struct rig *rig, struct iommu_hw_info *info)
{
	*info = (struct iommu_hw_info){ .size = sizeof(*info), .dev_id = rig->devid };
	return iommufd(rig, IOMMU_GET_HW_INFO, info);
}

uint64_t rig_parent_last(struct rig *rig)
{
	static const uint8_t address_bits[] = { 32, 36, 40, 42, 44, 48 };
	struct iommu_hw_info_arm_smmuv3 smmu = { 0 };
	struct iommu_hw_info info = { .size = sizeof(info),
				      .dev_id = rig->devid,
				      .data_len = sizeof(smmu),
				      .data_uptr = (uintptr_t)&smmu };

	if (rig->arch->parent_last)
		return rig->arch->parent_last;
	ok(iommufd(rig, IOMMU_GET_HW_INFO, &info));
	assert_true((smmu.idr[5] & 7) < sizeof(address_bits));
	return (1ULL << address_bits[smmu.idr[5] & 7]) - 1; /* OAS */
}

void rig_bind(struct rig *rig)
{
	struct iommu_hw_info info;
	uint32_t id;

	rig->iommu = host_open(rig, "/dev/iommu");
	assert_true(rig->iommu >= 0);
	rig->dev = host_open(rig, rig->path);
	assert_true(rig->dev >= 0);
	ok(bind_device(rig, rig->dev, rig->iommu, &rig->devid));
	ok(hw_info(rig, &info));
	for (size_t i = 0; i < sizeof(iommus) / sizeof(iommus[0]); i++)
		if (iommus[i].hw_info_type == info.out_data_type)
			rig->arch = &iommus[i];
	assert_non_null(rig->arch);
	rig->has_pasid = info.out_max_pasid_log2;
	id = config_get(rig, PCI_VENDOR_ID, 4);
	for (size_t i = 0; i < sizeof(dma_devices) / sizeof(dma_devices[0]); i++)
		if (dma_devices[i]->pci_id == id)
			rig->dma = dma_devices[i];
}

bool rig_pci_address(const struct rig *rig, char *address, size_t size)
{
	const char *name = strrchr(rig->path, '/') + 1, *device;
	char link[64], target[256];
	ssize_t n;

	snprintf(link, sizeof(link), "/sys/class/vfio-dev/%.20s/device", name);
	n = readlink(link, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = 0;
	device = strrchr(target, '/');
	snprintf(address, size, "%s", device ? device + 1 : target);
	return true;
}

/* Has the host's driver enabled page requests of a device that makes them? */
static bool asks_for_pages(struct rig *rig)
{
	return rig->dma == &dma_dmatest &&
	       (bar_get(rig, DMATEST_REG_CTRL) >> 32 & DMATEST_STATUS_PRI);
}

static unsigned int probe(struct rig *rig)
{
	char address[32];
	unsigned int found = rig->arch->provides;
	uint32_t ioas = ioas_alloc(rig), parent;
	struct iommu_hw_info info;

	ok(hw_info(rig, &info));
	found |= info.out_capabilities & IOMMU_HW_CAP_DIRTY_TRACKING ? NEED_DIRTY : 0;
	found |= hwpt_alloc(rig, rig->devid, ioas, NEST, &parent) ? NEED_NO_NESTING : NEED_NESTING;
	found |= rig->has_pasid ? NEED_PASID : NEED_NO_PASID;
	found |= rig->dma ? rig->dma->provides : 0;
	found |= asks_for_pages(rig) ? NEED_PRI : NEED_NO_PRI;
	found |= rig_pci_address(rig, address, sizeof(address)) ? NEED_DRIVER : 0;
	return found;
}

int rig_init(const struct rig_options *wanted)
{
	struct rig *rig;

	options = *wanted;
	if (options.in_process && !rig_create_soft) {
		fprintf(stderr, "this program has no software host of its own: name a --device\n");
		return -ENODEV;
	}
	if (!options.in_process && access(options.devices[0], F_OK)) {
		perror(options.devices[0]);
		return -ENODEV;
	}
	rig = rig_open(NEED_NOTHING);
	provides = probe(rig);
	if (options.in_process)
		provides |= NEED_IN_PROCESS | NEED_TWO_DEVICES | NEED_PASID | NEED_NO_PASID;
	else
		provides |= options.devices[1] ? NEED_TWO_DEVICES : 0;
	provides |= options.no_huge_pages ? 0 : NEED_HUGE_PAGES;
	rig_close(rig);
	return 0;
}

unsigned int rig_provides(unsigned int needs)
{
	return provides;
}

void *rig_open(unsigned int needs)
{
	struct rig *rig;

	if (options.in_process)
		return rig_create_soft(options.iommu, !(needs & NEED_NO_PASID));
	rig = calloc(1, sizeof(*rig));
	ok(nst_host_kernel_create(&rig->host));
	snprintf(rig->path, sizeof(rig->path), "%s", options.devices[0]);
	rig_bind(rig);
	return rig;
}

void rig_add_device(struct rig *rig, bool pasid, char *path, size_t path_size)
{
	if (options.in_process)
		rig_add_soft_device(rig, pasid, path, path_size);
	else
		snprintf(path, path_size, "%s", options.devices[1]);
}

void rig_destroy(struct rig *rig)
{
	nst_host_destroy(rig->host);
	free(rig);
}

/* A case leaves open what it likes, and a kernel closes nothing by itself. */
static void close_all(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int fds[256], count = 0;
	struct dirent *entry;

	while (dir && (entry = readdir(dir)) && count < 256)
		if (atoi(entry->d_name) > STDERR_FILENO && atoi(entry->d_name) != dirfd(dir))
			fds[count++] = atoi(entry->d_name);
	closedir(dir);
	while (count)
		close(fds[--count]);
}

void rig_close(void *opaque)
{
	rig_destroy(opaque);
	if (!options.in_process)
		close_all();
}

/* --- the seam --------------------------------------------------------------------------- */

int host_open(struct rig *rig, const char *path)
{
	return rig->host->ops->open(rig->host, path, O_RDWR | O_CLOEXEC);
}

int host_close(struct rig *rig, int fd)
{
	return rig->host->ops->close(rig->host, fd);
}

int call(struct rig *rig, int fd, unsigned long request, void *arg)
{
	return rig->host->ops->ioctl(rig->host, fd, request, arg);
}

int iommufd(struct rig *rig, unsigned long request, void *arg)
{
	return call(rig, rig->iommu, request, arg);
}

/* --- iommufd ----------------------------------------------------------------------------- */

int destroy(struct rig *rig, uint32_t id)
{
	struct iommu_destroy cmd = { .size = sizeof(cmd), .id = id };

	return iommufd(rig, IOMMU_DESTROY, &cmd);
}

uint32_t ioas_alloc(struct rig *rig)
{
	struct iommu_ioas_alloc cmd = { .size = sizeof(cmd) };

	ok(iommufd(rig, IOMMU_IOAS_ALLOC, &cmd));
	return cmd.out_ioas_id;
}

int ioas_map_flags(struct rig *rig, uint32_t ioas, uint64_t va, uint64_t length, uint64_t *iova,
		   uint32_t flags)
{
	struct iommu_ioas_map cmd = { .size = sizeof(cmd),
				      .flags = flags,
				      .ioas_id = ioas,
				      .user_va = va,
				      .length = length,
				      .iova = *iova };
	int ret = iommufd(rig, IOMMU_IOAS_MAP, &cmd);

	if (!ret)
		*iova = cmd.iova;
	return ret;
}

int ioas_map(struct rig *rig, uint32_t ioas, const void *va, uint64_t length, uint64_t iova,
	     uint32_t perm)
{
	return ioas_map_flags(rig, ioas, (uintptr_t)va, length, &iova, perm | FIXED);
}

int ioas_map_file(struct rig *rig, uint32_t ioas, int fd, uint64_t start, uint64_t length,
		  uint64_t *iova, uint32_t flags)
{
	struct iommu_ioas_map_file cmd = { .size = sizeof(cmd),
					   .flags = flags,
					   .ioas_id = ioas,
					   .fd = fd,
					   .start = start,
					   .length = length,
					   .iova = *iova };
	int ret = iommufd(rig, IOMMU_IOAS_MAP_FILE, &cmd);

	if (!ret)
		*iova = cmd.iova;
	return ret;
}

int ioas_unmap(struct rig *rig, uint32_t ioas, uint64_t iova, uint64_t *length)
{
	struct iommu_ioas_unmap cmd = {
		.size = sizeof(cmd), .ioas_id = ioas, .iova = iova, .length = *length
	};
	int ret = iommufd(rig, IOMMU_IOAS_UNMAP, &cmd);

	if (!ret)
		*length = cmd.length;
	return ret;
}

int ioas_copy(struct rig *rig, uint32_t dst, uint64_t dst_iova, uint32_t src, uint64_t src_iova,
	      uint64_t length, uint32_t flags)
{
	struct iommu_ioas_copy cmd = { .size = sizeof(cmd),
				       .flags = flags | FIXED,
				       .dst_ioas_id = dst,
				       .src_ioas_id = src,
				       .length = length,
				       .dst_iova = dst_iova,
				       .src_iova = src_iova };

	return iommufd(rig, IOMMU_IOAS_COPY, &cmd);
}

uint32_t ioas_ranges(struct rig *rig, uint32_t ioas, struct iommu_iova_range ranges[4],
		     uint64_t *alignment)
{
	struct iommu_ioas_iova_ranges cmd = { .size = sizeof(cmd),
					      .ioas_id = ioas,
					      .num_iovas = 4,
					      .allowed_iovas = (uintptr_t)ranges };

	ok(iommufd(rig, IOMMU_IOAS_IOVA_RANGES, &cmd));
	if (alignment)
		*alignment = cmd.out_iova_alignment;
	return cmd.num_iovas;
}

int ioas_allow(struct rig *rig, uint32_t ioas, const struct iommu_iova_range *ranges,
	       uint32_t count)
{
	struct iommu_ioas_allow_iovas cmd = { .size = sizeof(cmd),
					      .ioas_id = ioas,
					      .num_iovas = count,
					      .allowed_iovas = (uintptr_t)ranges };

	return iommufd(rig, IOMMU_IOAS_ALLOW_IOVAS, &cmd);
}

int hwpt_alloc_data(struct rig *rig, uint32_t dev, uint32_t pt, uint32_t flags, uint32_t type,
		    const void *data, uint32_t len, uint32_t *out)
{
	struct iommu_hwpt_alloc cmd = { .size = sizeof(cmd),
					.flags = flags,
					.dev_id = dev,
					.pt_id = pt,
					.data_type = type,
					.data_len = len,
					.data_uptr = (uintptr_t)data };
	int ret = iommufd(rig, IOMMU_HWPT_ALLOC, &cmd);

	if (!ret && out)
		*out = cmd.out_hwpt_id;
	return ret;
}

int hwpt_alloc(struct rig *rig, uint32_t dev, uint32_t pt, uint32_t flags, uint32_t *out)
{
	return hwpt_alloc_data(rig, dev, pt, flags, IOMMU_HWPT_DATA_NONE, NULL, 0, out);
}

int hwpt_alloc_nested(struct rig *rig, uint32_t parent, uint32_t flags, uint64_t root,
		      uint32_t *out)
{
	struct iommu_hwpt_vtd_s1 s1 = { .pgtbl_addr = root, .addr_width = 48 };

	return hwpt_alloc_data(rig, rig->devid, parent, flags, IOMMU_HWPT_DATA_VTD_S1, &s1,
			       sizeof(s1), out);
}

int invalidate(struct rig *rig, uint32_t hwpt, uint32_t type, const void *entries, uint32_t len,
	       uint32_t *num)
{
	struct iommu_hwpt_invalidate cmd = { .size = sizeof(cmd),
					     .hwpt_id = hwpt,
					     .data_uptr = (uintptr_t)entries,
					     .data_type = type,
					     .entry_len = len,
					     .entry_num = *num };
	int ret = iommufd(rig, IOMMU_HWPT_INVALIDATE, &cmd);

	*num = cmd.entry_num;
	return ret;
}

static int flush(struct rig *rig, uint32_t hwpt, uint64_t addr, uint64_t npages)
{
	struct iommu_hwpt_vtd_s1_invalidate entry = { .addr = addr, .npages = npages };
	uint32_t num = 1;

	return invalidate(rig, hwpt, IOMMU_HWPT_INVALIDATE_DATA_VTD_S1, &entry, sizeof(entry),
			  &num);
}

int flush_page(struct rig *rig, uint32_t hwpt, uint64_t addr)
{
	return flush(rig, hwpt, addr, 1);
}

int flush_all(struct rig *rig, uint32_t hwpt)
{
	return flush(rig, hwpt, 0, UINT64_MAX);
}

/* --- VFIO --------------------------------------------------------------------------------- */

int bind_device(struct rig *rig, int dev, int iommu, uint32_t *devid)
{
	struct vfio_device_bind_iommufd cmd = { .argsz = sizeof(cmd), .iommufd = iommu };
	int ret = call(rig, dev, VFIO_DEVICE_BIND_IOMMUFD, &cmd);

	if (!ret && devid)
		*devid = cmd.out_devid;
	return ret;
}

int rig_listen_for_request(struct rig *rig)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	uint8_t space[sizeof(struct vfio_irq_set) + sizeof(int32_t)];
	struct vfio_irq_set set = {
		.argsz = sizeof(space),
		.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = VFIO_PCI_REQ_IRQ_INDEX,
		.count = 1,
	};

	assert_true(fd >= 0);
	memcpy(space, &set, sizeof(set));
	memcpy(space + sizeof(set), &fd, sizeof(fd));
	ok(call(rig, rig->dev, VFIO_DEVICE_SET_IRQS, space));
	return fd;
}

int attach(struct rig *rig, uint32_t *pt_id)
{
	struct vfio_device_attach_iommufd_pt cmd = { .argsz = sizeof(cmd), .pt_id = *pt_id };
	int ret = call(rig, rig->dev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &cmd);

	if (!ret)
		*pt_id = cmd.pt_id;
	return ret;
}

int attach_id(struct rig *rig, uint32_t pt_id)
{
	return attach(rig, &pt_id);
}

int attach_pasid(struct rig *rig, uint32_t pasid, uint32_t pt_id)
{
	struct vfio_device_attach_iommufd_pt cmd = { .argsz = sizeof(cmd),
						     .flags = VFIO_DEVICE_ATTACH_PASID,
						     .pt_id = pt_id,
						     .pasid = pasid };

	return call(rig, rig->dev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &cmd);
}

int detach(struct rig *rig)
{
	struct vfio_device_detach_iommufd_pt cmd = { .argsz = sizeof(cmd) };

	return call(rig, rig->dev, VFIO_DEVICE_DETACH_IOMMUFD_PT, &cmd);
}

int detach_pasid(struct rig *rig, uint32_t pasid)
{
	struct vfio_device_detach_iommufd_pt cmd = { .argsz = sizeof(cmd),
						     .flags = VFIO_DEVICE_DETACH_PASID,
						     .pasid = pasid };

	return call(rig, rig->dev, VFIO_DEVICE_DETACH_IOMMUFD_PT, &cmd);
}

/* --- the device ---------------------------------------------------------------------------- */

#define CONFIG_OFFSET ((off_t)VFIO_PCI_CONFIG_REGION_INDEX << 40)

uint64_t bar_get(struct rig *rig, unsigned int reg)
{
	uint64_t value;

	assert_int_equal(rig->host->ops->pread(rig->host, rig->dev, &value, 8, reg), 8);
	return value;
}

void bar_set(struct rig *rig, unsigned int reg, uint64_t value)
{
	assert_int_equal(rig->host->ops->pwrite(rig->host, rig->dev, &value, 8, reg), 8);
}

uint32_t config_get(struct rig *rig, unsigned int offset, unsigned int size)
{
	uint32_t value = 0;

	assert_int_equal(
		rig->host->ops->pread(rig->host, rig->dev, &value, size, CONFIG_OFFSET + offset),
		size);
	return value;
}

void config_set(struct rig *rig, unsigned int offset, unsigned int size, uint32_t value)
{
	assert_int_equal(
		rig->host->ops->pwrite(rig->host, rig->dev, &value, size, CONFIG_OFFSET + offset),
		size);
}

void enable_bus_master(struct rig *rig)
{
	config_set(rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

int dma_read(struct rig *rig, uint32_t pasid, uint64_t iova, uint64_t *value)
{
	return rig->dma->read(rig, pasid, iova, value);
}

int dma_write(struct rig *rig, uint32_t pasid, uint64_t iova, uint64_t value)
{
	return rig->dma->write(rig, pasid, iova, value);
}

bool dma_arrived(const struct rig *rig, const void *target)
{
	return !memcmp(target, &rig->wrote, rig->wrote_bytes);
}

void dma_reaches(struct rig *rig, uint32_t pasid, uint64_t iova, void *target)
{
	static uint64_t serial = 0x1000;
	uint64_t expected;

	memset(target, 0, sizeof(expected));
	ok(dma_write(rig, pasid, iova, ++serial));
	assert_true(dma_arrived(rig, target));
	if (!rig->dma->check_read)
		return;
	expected = serial << 8;
	memcpy(target, &expected, sizeof(expected));
	ok(rig->dma->check_read(rig, pasid, iova, expected));
}

void dma_is_blocked(struct rig *rig, uint32_t pasid, uint64_t iova)
{
	err(EFAULT, dma_write(rig, pasid, iova, 1));
	if (rig->dma->check_read)
		err(EFAULT, rig->dma->check_read(rig, pasid, iova, 0));
}

/* --- a guest --------------------------------------------------------------------------------- */

#define PTE_ALL 0x7ULL /* present, writable, user */

void guest_init(struct guest *guest, uint64_t size)
{
	*guest = (struct guest){ .size = size, .next_table = size };
	guest->memory =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(guest->memory, MAP_FAILED);
}

void guest_fini(struct guest *guest)
{
	munmap(guest->memory, guest->size);
}

uint64_t guest_table(struct guest *guest)
{
	guest->next_table -= PAGE;
	return guest->next_table;
}

static _Atomic uint64_t *leaf_of(struct guest *guest, uint64_t root, uint64_t iova)
{
	uint64_t table = root;

	for (int level = 3; level > 0; level--) {
		_Atomic uint64_t *entries = (void *)(guest->memory + table);
		_Atomic uint64_t *entry = &entries[iova >> (12 + 9 * level) & 511];

		if (!*entry)
			*entry = guest_table(guest) | PTE_ALL;
		table = *entry & ~0xfffULL;
	}
	return (_Atomic uint64_t *)(void *)(guest->memory + table) + (iova >> 12 & 511);
}

void guest_map(struct guest *guest, uint64_t root, uint64_t iova, uint64_t gpa)
{
	*leaf_of(guest, root, iova) = gpa | PTE_ALL;
}

void guest_unmap(struct guest *guest, uint64_t root, uint64_t iova)
{
	*leaf_of(guest, root, iova) = 0;
}
