// SPDX-License-Identifier: BSD-3-Clause
/*
 * A whole life of a device - host, bind, address spaces, domains, attachments of RID and
 * PASIDs, replace - with the 1st, 2nd, 3rd, ... allocation failing. After every failure
 * the step that failed has changed nothing (it succeeds when repeated), and at the end
 * everything can be given back. Leaks show under the address sanitizer.
 */
#include "rig.h"

#include "base/alloc.h"
#include "device.h"
#include "host/soft/soft.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct scene {
	struct rig rig;
	unsigned int failures;
	int fd;
	uint32_t ioas, other, parent, nested_a, nested_b, plain;
};

static uint8_t memory[8 * PAGE] __attribute__((aligned(4096)));

/*
 * Do @step until it succeeds. While the sweep's failure is armed it may fail once, with
 * -ENOMEM; whatever it left behind then is what the second try meets.
 */
#define STEP(scene, step)                                       \
	do {                                                    \
		int ret__ = (step);                             \
		if (ret__ == -ENOMEM) {                         \
			assert_int_equal(alloc_fail_left(), 0); \
			(scene)->failures++;                    \
			ret__ = (step);                         \
		}                                               \
		assert_int_equal(ret__ < 0 ? ret__ : 0, 0);     \
	} while (0)

static int try_open(struct rig *rig, const char *path, int *fd)
{
	*fd = host_open(rig, path);
	return *fd < 0 ? *fd : 0;
}

static int try_ioas(struct rig *rig, uint32_t *id)
{
	struct iommu_ioas_alloc cmd = { .size = sizeof(cmd) };
	int ret = iommufd(rig, IOMMU_IOAS_ALLOC, &cmd);

	if (!ret)
		*id = cmd.out_ioas_id;
	return ret;
}

static void build(struct scene *s)
{
	const struct nst_soft_config config = { .synchronous = true, .check = true };
	struct rig *rig = &s->rig;
	struct endpoint *ep;

	rig->dma = &dma_own_device;
	STEP(s, nst_host_soft_create(&config, &rig->host));
	ep = test_device_create(true);
	STEP(s, soft_add_endpoint(rig->host, ep, rig->path, sizeof(rig->path)));
	STEP(s, try_open(rig, "/dev/iommu", &rig->iommu));
	STEP(s, try_open(rig, rig->path, &rig->dev));
	STEP(s, bind_device(rig, rig->dev, rig->iommu, &rig->devid));
	assert_int_equal(rig->devid, 1);
	STEP(s, try_ioas(rig, &s->ioas));
	STEP(s, try_ioas(rig, &s->other));
	for (uint64_t i = 0; i < 40; i++)
		STEP(s, ioas_map(rig, s->ioas, memory, 8 * PAGE, i * 16 * PAGE, RW));
	STEP(s, ioas_copy(rig, s->other, 0x100000, s->ioas, PAGE, 2 * PAGE, RW));
	for (uint64_t i = 0; i < 20; i++) {
		uint64_t iova = 0x1000000 + i * PAGE;

		STEP(s, ioas_map_file(rig, s->ioas, s->fd, 0, PAGE, &iova, RW | FIXED));
	}
}

static int set_dirty(struct rig *rig, uint32_t id)
{
	struct iommu_hwpt_set_dirty_tracking cmd = { .size = sizeof(cmd),
						     .flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
						     .hwpt_id = id };

	return iommufd(rig, IOMMU_HWPT_SET_DIRTY_TRACKING, &cmd);
}

static uint8_t dirty_byte(struct rig *rig, uint32_t id, uint64_t iova)
{
	uint8_t bits = 0;
	struct iommu_hwpt_get_dirty_bitmap cmd = { .size = sizeof(cmd),
						   .hwpt_id = id,
						   .iova = iova,
						   .length = 8 * PAGE,
						   .page_size = PAGE,
						   .data = (uintptr_t)&bits };

	ok(iommufd(rig, IOMMU_HWPT_GET_DIRTY_BITMAP, &cmd));
	return bits;
}

static void connect_device(struct scene *s)
{
	struct rig *rig = &s->rig;
	const struct iommu_iova_range allowed = { 0, 0xffffff };
	uint32_t second;
	uint64_t value;

	STEP(s, ioas_allow(rig, s->other, &allowed, 1));
	STEP(s, hwpt_alloc(rig, rig->devid, s->ioas, NEST | PASID | DIRTY, &s->parent));
	STEP(s, hwpt_alloc(rig, rig->devid, s->ioas, DIRTY, &second));
	for (uint64_t i = 0; i < 8; i++)
		STEP(s, ioas_map(rig, s->ioas, memory, 8 * PAGE, 0x2000000 + i * 8 * PAGE, RW));
	STEP(s, set_dirty(rig, s->parent));
	ok(destroy(rig, second));
	STEP(s, hwpt_alloc(rig, rig->devid, s->other, PASID, &s->plain));
	STEP(s, hwpt_alloc_nested(rig, s->parent, PASID, 0x1000, &s->nested_a));
	STEP(s, hwpt_alloc_nested(rig, s->parent, PASID, 0x2000, &s->nested_b));
	STEP(s, attach_id(rig, s->other)); /* an automatic domain */
	STEP(s, attach_id(rig, s->nested_a));
	for (uint32_t pasid = 1; pasid <= 6; pasid++)
		STEP(s, attach_pasid(rig, pasid * 1000, s->nested_b));
	STEP(s, attach_id(rig, s->parent));
	STEP(s, attach_pasid(rig, 1000, s->plain));
	enable_bus_master(rig);
	ok(dma_write(rig, NO_PASID, 0x1000, 0x1234));
	ok(dma_write(rig, NO_PASID, 0x2000000, 0x5678));
	assert_int_equal(dirty_byte(rig, s->parent, 0), 1 << 1);
	assert_int_equal(dirty_byte(rig, s->parent, 0x2000000), 1 << 0);
	ok(dma_read(rig, 1000, 0x100000, &value));
	assert_int_equal(value, 0x1234);
}

/* Every hold is given back: each object goes in one try. */
static void take_down(struct scene *s)
{
	struct rig *rig = &s->rig;
	struct soft_iommu *iommu = to_soft_host(rig->host)->iommu;
	struct iommu_iova_range got[4];

	ok(detach(rig));
	for (uint32_t pasid = 1; pasid <= 6; pasid++)
		ok(detach_pasid(rig, pasid * 1000));
	assert_int_equal(ioas_ranges(rig, s->ioas, got, NULL), 1);
	ok(destroy(rig, s->nested_a));
	ok(destroy(rig, s->nested_b));
	ok(destroy(rig, s->parent));
	ok(destroy(rig, s->plain));
	ok(destroy(rig, s->ioas));
	ok(destroy(rig, s->other));
	assert_int_equal(ioas_alloc(rig), 2); /* no id was lost */
	assert_int_equal(iommu->ops->tags_in_use(iommu), 0);
}

static void everything(void **state)
{
	unsigned int nth = 0;
	bool fired;

	do {
		struct scene s = { .fd = memfd_create("sweep", MFD_CLOEXEC) };

		assert_int_equal(ftruncate(s.fd, PAGE), 0);
		alloc_fail_nth(++nth);
		build(&s);
		connect_device(&s);
		fired = !alloc_fail_left();
		alloc_fail_nth(0);
		take_down(&s);
		if (fired)
			assert_int_equal(s.failures, 1);
		nst_host_destroy(s.rig.host);
		close(s.fd);
		assert_true(nth < 10000);
	} while (fired);
	assert_true(nth > 100);
}

/* The same, but after the failure everything is torn down at once. */
static void abandon(void **state)
{
	for (unsigned int nth = 1; nth < 200; nth++) {
		const struct nst_soft_config config = { .synchronous = true };
		struct rig rig = { 0 };
		uint32_t ioas, parent, nested;
		struct endpoint *ep;

		alloc_fail_nth(nth);
		if (nst_host_soft_create(&config, &rig.host))
			continue;
		ep = test_device_create(true);
		if (soft_add_endpoint(rig.host, ep, rig.path, sizeof(rig.path)))
			endpoint_destroy(ep);
		else if (!try_open(&rig, "/dev/iommu", &rig.iommu) &&
			 !try_open(&rig, rig.path, &rig.dev) &&
			 !bind_device(&rig, rig.dev, rig.iommu, &rig.devid) &&
			 !try_ioas(&rig, &ioas) && !ioas_map(&rig, ioas, memory, PAGE, 0, RW) &&
			 !hwpt_alloc(&rig, rig.devid, ioas, NEST | PASID, &parent) &&
			 !hwpt_alloc_nested(&rig, parent, PASID, 0, &nested) &&
			 !attach_id(&rig, nested) && !attach_pasid(&rig, 1, nested))
			assert_int_not_equal(alloc_fail_left(), 0);
		nst_host_destroy(rig.host);
	}
	alloc_fail_nth(0);
}

/* --- cutting a map of the container calls -------------------------------------------------- */

static int map_dma(struct rig *rig, const void *va, uint64_t iova, uint64_t size, uint32_t flags)
{
	struct vfio_iommu_type1_dma_map cmd = { .argsz = sizeof(cmd),
						.flags = flags,
						.vaddr = (uintptr_t)va,
						.iova = iova,
						.size = size };

	return iommufd(rig, VFIO_IOMMU_MAP_DMA, &cmd);
}

static int unmap_dma(struct rig *rig, uint64_t iova, uint64_t size, uint32_t flags,
		     uint64_t *unmapped)
{
	struct vfio_iommu_type1_dma_unmap cmd = {
		.argsz = sizeof(cmd), .flags = flags, .iova = iova, .size = size
	};
	int ret = iommufd(rig, VFIO_IOMMU_UNMAP_DMA, &cmd);

	*unmapped = cmd.size;
	return ret;
}

/* The 1st, 2nd, ... allocation of a cut fails: nothing has changed, again it succeeds. */
static void cuts_without_memory(void **state)
{
	uint8_t *many =
		mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool fired;
	unsigned int nth = 0;

	do {
		struct rig *rig =
			rig_create(&(struct nst_soft_config){ .synchronous = true }, true);
		uint32_t ioas = ioas_alloc(rig), a, b;
		struct iommu_hwpt_set_dirty_tracking on = { .size = sizeof(on), .flags = 1 };
		uint64_t bits = 0, unmapped, value;
		struct iommu_hwpt_get_dirty_bitmap get = { .size = sizeof(get),
							   .iova = 0x200000,
							   .length = 64 * PAGE,
							   .page_size = PAGE,
							   .data = (uintptr_t)&bits };
		struct iommu_vfio_ioas compat = { .size = sizeof(compat),
						  .op = IOMMU_VFIO_IOAS_SET };
		int ret;

		compat.ioas_id = ioas;
		ok(iommufd(rig, IOMMU_VFIO_IOAS, &compat));
		ok(iommufd(rig, VFIO_SET_IOMMU, (void *)VFIO_TYPE1_IOMMU));
		ok(hwpt_alloc(rig, rig->devid, ioas, DIRTY, &a));
		ok(hwpt_alloc(rig, rig->devid, ioas, DIRTY, &b));
		ok(attach_id(rig, a));
		enable_bus_master(rig);
		/* as many as fill what is allocated first */
		for (uint64_t i = 0; i < 16; i++)
			ok(map_dma(rig, many + i * 4 * PAGE, 0x200000 + i * 4 * PAGE, 4 * PAGE,
				   VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE));
		on.hwpt_id = get.hwpt_id = a;
		ok(iommufd(rig, IOMMU_HWPT_SET_DIRTY_TRACKING, &on));
		alloc_fail_nth(++nth);
		ret = unmap_dma(rig, 0x200000 + 10 * PAGE, 3 * PAGE, 0, &unmapped);
		fired = !alloc_fail_left();
		alloc_fail_nth(0);
		if (ret) {
			assert_int_equal(ret, -ENOMEM);
			assert_int_equal(unmapped, 0);
			for (uint64_t i = 0; i < 64; i++)
				ok(dma_write(rig, NO_PASID, 0x200000 + i * PAGE, i));
			ok(iommufd(rig, IOMMU_HWPT_GET_DIRTY_BITMAP, &get));
			assert_true(bits == UINT64_MAX);
			ok(dma_read(rig, NO_PASID, 0x200000 + 63 * PAGE, &value));
			assert_int_equal(value, 63);
			ok(unmap_dma(rig, 0x200000 + 10 * PAGE, 3 * PAGE, 0, &unmapped));
		}
		assert_int_equal(unmapped, 3 * PAGE);
		ok(unmap_dma(rig, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL, &unmapped));
		assert_int_equal(unmapped, 61 * PAGE);
		rig_destroy(rig);
	} while (fired);
	assert_true(nth > 4);
	munmap(many, 64 * PAGE);
}

static const struct suite_case cases[] = {
	TEST_ALONE(everything),
	TEST_ALONE(abandon),
	TEST_ALONE(cuts_without_memory),
};
SUITE_GROUP(fail_nth, cases)
