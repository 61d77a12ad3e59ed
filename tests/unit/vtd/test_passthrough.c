// SPDX-License-Identifier: BSD-3-Clause
/*
 * What lies under the unit: the VM's memory and its devices. Mapping and unmapping with
 * every failure rolled back, opening with an error at each step, the configuration space
 * as the guest sees it, bounds.
 */
#include "rig.h"

#include "base/alloc.h"
#include "host/soft/soft.h"

#include <fcntl.h>
#include <linux/pci_regs.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB (1ULL << 20)

static nst_gpa gpa(uint64_t v)
{
	return (nst_gpa){ v };
}

static bool readable(struct rig *rig, uint64_t at)
{
	uint64_t word;

	return !nst_mem_read(nst_vm_mem(rig->vm), gpa(at), &word, sizeof(word));
}

static void *anonymous(uint64_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

static int file_of(uint64_t size)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

/* --- memory ---------------------------------------------------------------------------------- */

static void mapped_memory_is_seen_by_us_and_by_devices(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	int fd = file_of(2 * MIB);
	uint64_t word = 0x1122334455667788;

	ok(nst_vm_map_file(rig->vm, gpa(64 * MIB), MIB, fd, MIB, true));
	assert_int_equal(pwrite(fd, &word, 8, (off_t)MIB + 0x1000), 8);
	close(fd);
	word = 0;
	ok(nst_mem_read(nst_vm_mem(rig->vm), gpa(64 * MIB + 0x1000), &word, 8));
	assert_true(word == 0x1122334455667788);
	word = 0;
	ok(dma_read(d, 64 * MIB + 0x1000, &word));
	assert_true(word == 0x1122334455667788);
	ok(dma_write(d, 64 * MIB + 0x1000, 5));
	ok(nst_mem_read(nst_vm_mem(rig->vm), gpa(64 * MIB + 0x1000), &word, 8));
	assert_true(word == 5);
	ok(nst_vm_unmap(rig->vm, gpa(64 * MIB), MIB));
	assert_false(readable(rig, 64 * MIB));
	err(EFAULT, dma_read(d, 64 * MIB, &word));
}

static void memory_devices_may_not_write_is_ours_only(void **state)
{
	struct rig *rig = *state;
	int fd = file_of(MIB);
	uint64_t word;

	ok(nst_vm_map_file(rig->vm, gpa(64 * MIB), MIB, fd, 0, false));
	close(fd);
	assert_true(readable(rig, 64 * MIB));
	err(EFAULT, nst_mem_write(nst_vm_mem(rig->vm), gpa(64 * MIB), &word, 8));
	err(EFAULT, dma_read(&rig->devices[0], 64 * MIB, &word));
	ok(nst_vm_unmap(rig->vm, gpa(64 * MIB), MIB));
	assert_false(readable(rig, 64 * MIB));
}

static void ranges_that_cannot_be(void **state)
{
	static const struct { uint64_t at, size, offset; } bad[] = {
		{ 64 * MIB, 0, 0 }, { 64 * MIB + 1, 4096, 0 }, { 64 * MIB, 4095, 0 },
		{ 64 * MIB, 4096, 5 }, { UINT64_MAX - 4095, 8192, 0 },
		/* past the end of the file, also by overflow */
		{ 64 * MIB, 2 * MIB, 0 }, { 64 * MIB, 4096, MIB }, { 64 * MIB, MIB, 4096 },
		{ 64 * MIB, 4096, UINT64_MAX - 4095 }, { 64 * MIB, 8192, UINT64_MAX - 4095 },
	};
	struct rig *rig = *state;
	int fd = file_of(MIB);

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		err(EINVAL, nst_vm_map_file(rig->vm, gpa(bad[i].at), bad[i].size, fd, bad[i].offset,
					    true));
	close(fd);
	err(EBADF, nst_vm_map_file(rig->vm, gpa(64 * MIB), 4096, fd, 0, true));
	err(EINVAL, nst_vm_map(rig->vm, gpa(64 * MIB), 4096, rig->memory + 1, true));
	assert_false(readable(rig, 64 * MIB));
	err(ENOENT, nst_vm_unmap(rig->vm, gpa(64 * MIB), 4096));
}

static void overlaps_are_refused_and_change_nothing(void **state)
{
	struct rig *rig = *state;
	void *p = anonymous(4 * MIB);

	for (int writable = 0; writable < 2; writable++) {
		for (int over = 0; over < 2; over++) {
			ok(nst_vm_map(rig->vm, gpa(64 * MIB), 2 * MIB, p, writable));
			err(EEXIST, nst_vm_map(rig->vm, gpa(65 * MIB), 2 * MIB, p, over));
			err(EEXIST, nst_vm_map(rig->vm, gpa(63 * MIB), 4 * MIB, p, over));
			err(EEXIST, nst_vm_map(rig->vm, gpa(64 * MIB), 2 * MIB, p, over));
			/* neither half of the refused ones stayed */
			assert_true(readable(rig, 64 * MIB));
			assert_false(readable(rig, 63 * MIB));
			assert_false(readable(rig, 66 * MIB));
			ok(nst_vm_map(rig->vm, gpa(66 * MIB), MIB, p, true));
			ok(nst_vm_unmap(rig->vm, gpa(66 * MIB), MIB));
			/* exactly what was mapped, or nothing */
			err(ENOENT, nst_vm_unmap(rig->vm, gpa(64 * MIB), MIB));
			err(ENOENT, nst_vm_unmap(rig->vm, gpa(65 * MIB), MIB));
			ok(nst_vm_unmap(rig->vm, gpa(64 * MIB), 2 * MIB));
			err(ENOENT, nst_vm_unmap(rig->vm, gpa(64 * MIB), 2 * MIB));
		}
	}
	munmap(p, 4 * MIB);
}

static void a_failed_map_leaves_nothing(void **state)
{
	struct rig *rig = *state;
	int fd = file_of(MIB);
	void *p = anonymous(MIB);
	uint64_t word;

	rig_fail(&rig->host, IOMMU_IOAS_MAP_FILE, 1, ENOMEM);
	err(ENOMEM, nst_vm_map_file(rig->vm, gpa(64 * MIB), MIB, fd, 0, true));
	rig_fail(&rig->host, IOMMU_IOAS_MAP, 1, ENOMEM);
	err(ENOMEM, nst_vm_map(rig->vm, gpa(64 * MIB), MIB, p, true));
	rig_fail_stop(&rig->host);
	for (unsigned int nth = 1;; nth++) {
		int ret;

		alloc_fail_nth(nth);
		ret = nst_vm_map_file(rig->vm, gpa(64 * MIB), MIB, fd, 0, true);
		alloc_fail_nth(0);
		if (!ret)
			break;
		assert_int_equal(ret, -ENOMEM);
		assert_false(readable(rig, 64 * MIB));
		err(EFAULT, dma_read(&rig->devices[0], 64 * MIB, &word));
		assert_true(nth < 20);
	}
	ok(nst_vm_unmap(rig->vm, gpa(64 * MIB), MIB));
	close(fd);
	munmap(p, MIB);
}

/* Whoever is told "unmapped" may free the memory: it must be true. */
static void a_failed_unmap_is_said_and_can_be_repeated(void **state)
{
	struct rig *rig = *state;
	void *p = anonymous(MIB);
	uint64_t word;

	ok(nst_vm_map(rig->vm, gpa(64 * MIB), MIB, p, true));
	alloc_fail_nth(1);
	err(ENOMEM, nst_vm_unmap(rig->vm, gpa(64 * MIB), MIB));
	alloc_fail_nth(0);
	rig_fail(&rig->host, IOMMU_IOAS_UNMAP, 1, EBUSY);
	err(EBUSY, nst_vm_unmap(rig->vm, gpa(64 * MIB), MIB));
	ok(nst_vm_unmap(rig->vm, gpa(64 * MIB), MIB));
	assert_false(readable(rig, 64 * MIB));
	err(EFAULT, dma_read(&rig->devices[0], 64 * MIB, &word));
	ok(nst_vm_map(rig->vm, gpa(64 * MIB), MIB, p, true));
	/* all at once: the one that fails stays, the others go */
	ok(nst_vm_map(rig->vm, gpa(128 * MIB), MIB, p, true));
	rig_fail(&rig->host, IOMMU_IOAS_UNMAP, 1, EBUSY);
	nst_vm_unmap_all(rig->vm);
	assert_false(readable(rig, 64 * MIB));
	nst_vm_unmap_all(rig->vm);
	err(EFAULT, dma_read(&rig->devices[0], 64 * MIB, &word));
	err(EFAULT, dma_read(&rig->devices[0], 128 * MIB, &word));
	ok(nst_vm_map(rig->vm, gpa(64 * MIB), MIB, p, true));
	ok(nst_vm_map(rig->vm, gpa(128 * MIB), MIB, p, true));
	nst_vm_unmap_all(rig->vm);
	munmap(p, MIB);
}

static void creating_a_vm_with_failures(void **state)
{
	struct rig *rig = *state;
	struct nst_vm *vm;
	int fds = rig->host.open_fds;
	unsigned int nth = 1;
	int ret;

	do {
		alloc_fail_nth(nth);
		ret = nst_vm_create(&rig->host.base, NULL, &vm);
		alloc_fail_nth(0);
		assert_true(!ret || ret == -ENOMEM);
		assert_int_equal(rig->host.open_fds, fds + !ret);
	} while (ret && nth++ < 20);
	nst_vm_destroy(vm);
	for (nth = 1; nth <= 2; nth++) {
		rig_fail(&rig->host, 0, nth, EACCES);
		err(EACCES, nst_vm_create(&rig->host.base, NULL, &vm));
		assert_int_equal(rig->host.open_fds, fds);
	}
	/* what those had made went with their descriptors; the rig's own IOAS is left */
	rig->host.live_objects = 1;
	nst_vm_destroy(NULL);
	nst_device_close(NULL);
	nst_viommu_destroy(NULL);
}

/* --- devices --------------------------------------------------------------------------------- */

static void opening_fails_at_every_step(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = rig_plug(rig, true);
	unsigned int nth = 1;
	int ret;

	do {
		rig_fail(&rig->host, 0, nth, ENOTTY);
		ret = rig_open(rig, d);
		rig_fail_stop(&rig->host);
		if (!ret)
			break;
		assert_int_equal(ret, -ENOTTY);
		assert_int_equal(rig->host.open_fds, 1);
		assert_int_equal(rig->host.live_objects, 1);
	} while (nth++ < 40);
	assert_true(nth > 10 && nth < 40);
	ok(nst_viommu_attach(rig->viommu, d->rid, d->dev));
}

static void opening_without_memory(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = rig_plug(rig, false);
	unsigned int nth = 1;
	int ret;

	do {
		alloc_fail_nth(nth);
		ret = rig_open(rig, d);
		alloc_fail_nth(0);
		assert_true(!ret || ret == -ENOMEM);
		assert_int_equal(rig->host.open_fds, 1 + !ret);
		assert_int_equal(rig->host.live_objects, ret ? 1 : 2);
	} while (ret && nth++ < 40);
	assert_true(nth > 2 && nth < 40);
}

static void a_device_that_is_not_there(void **state)
{
	struct rig *rig = *state;
	struct nst_device_config config = { .path = "/dev/vfio/devices/vfio77" };
	struct nst_device *dev;

	err(ENOENT, nst_device_open(rig->vm, &config, &dev));
}

/* Hook: what a device that is not PCI, or has no such region, says. */
static int not_pci(struct rig *rig, unsigned long request, void *arg)
{
	struct vfio_device_info *info = arg;

	if (request != VFIO_DEVICE_GET_INFO)
		return 0;
	info->flags = VFIO_DEVICE_FLAGS_PLATFORM;
	return 1;
}

static int lacks_vga_and_errors(struct rig *rig, unsigned long request, void *arg)
{
	const struct vfio_region_info *region = arg;	/* index is at the same place in both */

	if (request == VFIO_DEVICE_GET_REGION_INFO && region->index == VFIO_PCI_VGA_REGION_INDEX)
		return -EINVAL;
	if (request == VFIO_DEVICE_GET_IRQ_INFO &&
	    ((struct vfio_irq_info *)arg)->index == VFIO_PCI_ERR_IRQ_INDEX)
		return -EINVAL;
	return 0;
}

static int tiny_config_space(struct rig *rig, unsigned long request, void *arg)
{
	struct vfio_region_info *region = arg;

	if (request != VFIO_DEVICE_GET_REGION_INFO || region->index != VFIO_PCI_CONFIG_REGION_INDEX)
		return 0;
	region->size = 64;
	return 1;
}

static int many_regions(struct rig *rig, unsigned long request, void *arg)
{
	struct vfio_device_info *info = arg;

	if (request == VFIO_DEVICE_GET_INFO) {
		info->flags = VFIO_DEVICE_FLAGS_PCI;
		info->num_regions = info->num_irqs = UINT32_MAX;
		return 1;
	}
	return lacks_vga_and_errors(rig, request, arg);
}

static void devices_of_other_shapes(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = rig_plug(rig, false);

	rig->host.hook = not_pci;
	err(ENODEV, rig_open(rig, d));
	rig->host.hook = tiny_config_space;
	err(EINVAL, rig_open(rig, d));
	rig->host.hook = lacks_vga_and_errors;
	ok(rig_open(rig, d));
	assert_int_equal(nst_device_region(d->dev, VFIO_PCI_VGA_REGION_INDEX).size, 0);
	assert_int_equal(nst_device_irq_count(d->dev, VFIO_PCI_ERR_IRQ_INDEX), 0);
	nst_device_close(d->dev);
	rig->host.hook = many_regions;
	ok(rig_open(rig, d));
	err(EINVAL, nst_device_reset(d->dev));	/* it does not say that it can */
	rig->host.hook = NULL;
	assert_int_equal(nst_device_region(d->dev, 9).size, 0);
	assert_int_equal(nst_device_region(d->dev, UINT32_MAX).size, 0);
	assert_int_equal(nst_device_irq_count(d->dev, 5), 0);
	assert_int_equal(nst_device_irq_count(d->dev, UINT32_MAX), 0);
}

/* Hook: an attachment to any HWPT that is there already is refused, as by another IOMMU. */
static int another_iommu(struct rig *rig, unsigned long request, void *arg)
{
	const struct vfio_device_attach_iommufd_pt *cmd = arg;

	return request == VFIO_DEVICE_ATTACH_IOMMUFD_PT &&
		       cmd->pt_id == *(uint32_t *)rig->hook_data ? -EINVAL : 0;
}

static void parents_are_shared_where_the_host_allows(void **state)
{
	struct rig *rig = *state;
	struct rig_device *a = &rig->devices[0], *b = rig_plug(rig, false);
	struct rig_device *c = rig_plug(rig, false);

	ok(rig_open(rig, b));
	assert_ptr_equal(a->dev->parent, b->dev->parent);
	assert_int_equal(rig->host.live_objects, 2);
	rig->host.hook = another_iommu;
	rig->hook_data = &(uint32_t){ a->dev->parent->hwpt_id };
	ok(rig_open(rig, c));
	rig->host.hook = NULL;
	assert_ptr_not_equal(a->dev->parent, c->dev->parent);
	assert_int_equal(rig->host.live_objects, 3);
	/* nested HWPTs of different parents are never shared */
	ok(nst_viommu_attach(rig->viommu, b->rid, b->dev));
	ok(nst_viommu_attach(rig->viommu, c->rid, c->dev));
	guest_enable(rig);
	for (int i = 0; i < 3; i++)
		guest_set_stage1(rig, rig->devices[i].rid, rig->root_a, 5);
	iq_run(rig, PC_GLOBAL, 0);
	assert_int_equal(rig->host.live_objects, 5);
	for (int i = 0; i < 3; i++)
		assert_int_equal(place_of(&rig->devices[i]), PLACE_A);
	nst_viommu_detach(rig->viommu, c->rid);
	nst_device_close(c->dev);
	c->dev = NULL;
	assert_int_equal(rig->host.live_objects, 3);
}

/* Hook: a host IOMMU that knows no PASIDs. */
static int without_pasids(struct rig *rig, unsigned long request, void *arg)
{
	struct iommu_hw_info *info = arg;
	int ret;

	if (request != IOMMU_GET_HW_INFO)
		return 0;
	ret = rig->host.inner->ops->ioctl(rig->host.inner, rig->vm->iommufd.fd, request, arg);
	((struct iommu_hw_info_vtd *)(uintptr_t)info->data_uptr)->ecap_reg &= ~(1ULL << 40);
	info->out_max_pasid_log2 = 0;
	return ret ? ret : 1;
}

static void parents_take_pasids_where_the_host_has_them(void **state)
{
	struct rig *rig = *state;
	struct rig_device *plain = rig_plug(rig, false), *pasid = rig_plug(rig, true);
	struct rig_device *old = rig_plug(rig, true), *more = rig_plug(rig, false);

	/* a device without PASIDs must not keep one that has them from sharing its parent */
	ok(rig_open(rig, plain));
	assert_true(plain->dev->pasid_capable);
	ok(rig_open(rig, pasid));
	assert_ptr_equal(plain->dev->parent, pasid->dev->parent);
	assert_int_equal(device_pasid_bits(plain->dev), 0);
	assert_int_equal(device_pasid_bits(pasid->dev), 20);
	nst_device_close(plain->dev);
	nst_device_close(pasid->dev);
	plain->dev = pasid->dev = NULL;
	/* one that was made without is nothing for a device that has them */
	rig->host.hook = without_pasids;
	ok(rig_open(rig, old));
	rig->host.hook = NULL;
	assert_false(old->dev->pasid_capable);
	assert_int_equal(device_pasid_bits(old->dev), 0);
	ok(rig_open(rig, pasid));
	assert_ptr_not_equal(old->dev->parent, pasid->dev->parent);
	assert_true(pasid->dev->pasid_capable);
	ok(rig_open(rig, more));
	assert_ptr_equal(more->dev->parent, pasid->dev->parent);
}

/* --- regions and configuration space --------------------------------------------------------- */

static void accesses_stay_inside_their_region(void **state)
{
	struct rig *rig = *state;
	struct nst_device *dev = rig->devices[0].dev;
	uint64_t size = nst_device_region(dev, 0).size;
	uint8_t buf[16] = { 0 };
	static const uint64_t outside[] = { 4089, 4096, UINT64_MAX, UINT64_MAX - 7, 1ULL << 63 };

	assert_int_equal(size, 4096);
	ok(nst_device_read(dev, 0, 4088, buf, 8));
	assert_int_equal(le_load(buf, 8), 4088);
	ok(nst_device_write(dev, 0, 4088, buf, 8));
	for (size_t i = 0; i < ARRAY_SIZE(outside); i++) {
		err(EINVAL, nst_device_read(dev, 0, outside[i], buf, 8));
		err(EINVAL, nst_device_write(dev, 0, outside[i], buf, 8));
	}
	err(EINVAL, nst_device_read(dev, 0, 0, buf, 4097));
	err(EINVAL, nst_device_read(dev, 1, 0, buf, 1));	/* upper half of BAR 0 */
	err(EINVAL, nst_device_read(dev, 9, 0, buf, 1));
	err(EINVAL, nst_device_write(dev, UINT32_MAX, 0, buf, 1));
}

static int open_hiding_msix(struct rig *rig, struct rig_device *d)
{
	struct nst_device_config config = { .path = d->path, .hide_msix = true };

	return nst_device_open(rig->vm, &config, &d->dev);
}

/* The guest's walk of the capability list: a bit for each id it meets. */
static uint64_t capabilities(struct nst_device *dev)
{
	uint64_t found = 0;
	uint8_t at;

	ok(nst_device_read(dev, VFIO_PCI_CONFIG_REGION_INDEX, PCI_CAPABILITY_LIST, &at, 1));
	for (int n = 0; at && n < 64; n++) {
		uint8_t cap[2];

		ok(nst_device_read(dev, VFIO_PCI_CONFIG_REGION_INDEX, at, cap, 2));
		found |= BIT64(cap[0]);
		at = cap[1];
	}
	return found;
}

static void msix_is_hidden_on_demand(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = rig_plug(rig, false);
	uint8_t whole[256], byte;

	ok(rig_open(rig, d));
	assert_true(capabilities(d->dev) == (1ULL << PCI_CAP_ID_EXP | 1 << PCI_CAP_ID_MSI |
					     1 << PCI_CAP_ID_MSIX));
	assert_int_equal(nst_device_irq_count(d->dev, VFIO_PCI_MSIX_IRQ_INDEX), 2);
	nst_device_close(d->dev);
	ok(open_hiding_msix(rig, d));
	assert_true(capabilities(d->dev) == (1ULL << PCI_CAP_ID_EXP | 1 << PCI_CAP_ID_MSI));
	assert_int_equal(nst_device_irq_count(d->dev, VFIO_PCI_MSIX_IRQ_INDEX), 0);
	assert_int_equal(nst_device_irq_count(d->dev, VFIO_PCI_MSI_IRQ_INDEX), 4);
	/* in accesses of every size and place */
	ok(nst_device_read(d->dev, VFIO_PCI_CONFIG_REGION_INDEX, 0, whole, sizeof(whole)));
	for (unsigned int at = 0; at < 256; at++) {
		ok(nst_device_read(d->dev, VFIO_PCI_CONFIG_REGION_INDEX, at, &byte, 1));
		assert_int_equal(byte, whole[at]);
	}
	/* what lies beyond the first 256 bytes is the device's own */
	ok(nst_device_read(d->dev, VFIO_PCI_CONFIG_REGION_INDEX, 250, whole, 12));
}

static void broken_capability_lists(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = rig_plug(rig, false);
	struct pci_config *cfg = &d->ep->config;
	uint8_t first = cfg->bytes[PCI_CAPABILITY_LIST], second = cfg->bytes[first + 1];
	static const uint8_t links[] = { 0x00, 0x01, 0x3c, 0x3f, 0xff, 0xfc };

	/* a loop that never comes to MSI-X */
	cfg->bytes[first + 1] = first;
	ok(open_hiding_msix(rig, d));
	assert_true(rig->logged[NST_LOG_WARN] > 0);
	nst_device_close(d->dev);
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		cfg->bytes[first + 1] = links[i];
		ok(open_hiding_msix(rig, d));
		nst_device_close(d->dev);
		cfg->bytes[PCI_CAPABILITY_LIST] = links[i];
		ok(open_hiding_msix(rig, d));
		nst_device_close(d->dev);
		cfg->bytes[PCI_CAPABILITY_LIST] = first;
	}
	/* no list at all, by the status register: then the pointer means nothing */
	cfg->bytes[first + 1] = second;
	cfg->bytes[PCI_STATUS] &= (uint8_t)~PCI_STATUS_CAP_LIST;
	ok(open_hiding_msix(rig, d));
	assert_true(capabilities(d->dev) & 1 << PCI_CAP_ID_MSIX);
}

/* --- interrupts ------------------------------------------------------------------------------ */

static void interrupts_reach_their_eventfds(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	int fds[2] = { eventfd(0, EFD_NONBLOCK), eventfd(0, EFD_NONBLOCK) };
	uint8_t yes[2] = { 0, 1 };
	uint64_t count;

	ok(nst_device_set_irqs(d->dev, VFIO_PCI_MSI_IRQ_INDEX,
			       VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, 0, 2, fds,
			       NULL));
	/* as if the device had raised them: bool data chooses the second one */
	ok(nst_device_set_irqs(d->dev, VFIO_PCI_MSI_IRQ_INDEX,
			       VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_TRIGGER, 0, 2, NULL,
			       yes));
	assert_int_equal(read(fds[0], &count, 8), -1);
	assert_int_equal(read(fds[1], &count, 8), 8);
	ok(nst_device_set_irqs(d->dev, VFIO_PCI_MSI_IRQ_INDEX,
			       VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0, NULL,
			       NULL));
	close(fds[0]);
	close(fds[1]);
}

static void interrupt_bounds(void **state)
{
	struct rig *rig = *state;
	struct nst_device *dev = rig->devices[0].dev;
	int fds[8] = { -1, -1, -1, -1, -1, -1, -1, -1 };
	uint32_t flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
	uint32_t msi = VFIO_PCI_MSI_IRQ_INDEX;

	err(EINVAL, nst_device_set_irqs(dev, msi, flags, 0, 4097, fds, NULL));
	err(EINVAL, nst_device_set_irqs(dev, msi, flags, 0, UINT32_MAX, fds, NULL));
	err(EINVAL, nst_device_set_irqs(dev, msi, flags, 0, 5, fds, NULL));
	err(EINVAL, nst_device_set_irqs(dev, msi, flags, 3, 2, fds, NULL));
	err(EINVAL, nst_device_set_irqs(dev, msi, flags, UINT32_MAX, 1, fds, NULL));
	err(EINVAL, nst_device_set_irqs(dev, 9, flags, 0, 1, fds, NULL));
	alloc_fail_nth(1);
	err(ENOMEM, nst_device_set_irqs(dev, msi, flags, 0, 1, fds, NULL));
	alloc_fail_nth(0);
	ok(nst_device_set_irqs(dev, msi, flags, 0, 4, fds, NULL));
}

static void reset_keeps_the_attachment(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	guest_set_stage1(rig, d->rid, rig->root_a, 5);
	iq_run(rig, PC_GLOBAL, 0);
	ok(nst_device_reset(d->dev));
	atomic_store(&d->ep->config.bus_master, true);
	assert_int_equal(place_of(d), PLACE_A);
}

#define EMPTY(test) cmocka_unit_test_setup_teardown(test, rig_setup_empty, rig_teardown)
#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_RIG(mapped_memory_is_seen_by_us_and_by_devices),
		WITH_RIG(memory_devices_may_not_write_is_ours_only),
		WITH_RIG(ranges_that_cannot_be),
		WITH_RIG(overlaps_are_refused_and_change_nothing),
		WITH_RIG(a_failed_map_leaves_nothing),
		WITH_RIG(a_failed_unmap_is_said_and_can_be_repeated),
		EMPTY(creating_a_vm_with_failures),
		EMPTY(opening_fails_at_every_step),
		EMPTY(opening_without_memory),
		EMPTY(a_device_that_is_not_there),
		EMPTY(devices_of_other_shapes),
		WITH_RIG(parents_are_shared_where_the_host_allows),
		EMPTY(parents_take_pasids_where_the_host_has_them),
		WITH_RIG(accesses_stay_inside_their_region),
		EMPTY(msix_is_hidden_on_demand),
		EMPTY(broken_capability_lists),
		WITH_RIG(interrupts_reach_their_eventfds),
		WITH_RIG(interrupt_bounds),
		WITH_RIG(reset_keeps_the_attachment),
	};

	return cmocka_run_group_tests_name("passthrough", tests, NULL, NULL);
}
