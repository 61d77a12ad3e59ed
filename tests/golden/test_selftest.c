// SPDX-License-Identifier: BSD-3-Clause
/*
 * The selftest's personality where neither the kernel's test nor a recording looks: allocations
 * that fail, descriptors closed in any order, what revoking and unmapping leave.
 */
#include "mock_probe.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <sys/mman.h>

#define START_IOVA SELFTEST_APERTURE_START

struct scene {
	unsigned int failures;
	uint32_t ioas, nest, viommu, hw_queue;
	struct selftest_cmd device;
	int access, dmabuf;
	uint32_t pages;
	struct selftest_viommu data;
	void *mapped;
};

/* Do @step until it succeeds; the armed failure may come once, as -ENOMEM, and changes nothing. */
#define STEP(scene, step)                                       \
	do {                                                    \
		int ret__ = (step);                             \
		if (ret__ == -ENOMEM) {                         \
			assert_int_equal(alloc_fail_left(), 0); \
			(scene)->failures++;                    \
			ret__ = (step);                         \
		}                                               \
		assert_true(ret__ >= 0);                        \
	} while (0)

static int make_ioas(uint32_t *id)
{
	struct iommu_ioas_alloc cmd = { .size = sizeof(cmd) };
	int ret = iommufd(rig, IOMMU_IOAS_ALLOC, &cmd);

	*id = cmd.out_ioas_id;
	return ret;
}

static int make_viommu(struct scene *s)
{
	struct iommu_viommu_alloc cmd = { .size = sizeof(cmd),
					  .type = SELFTEST_VIOMMU_TYPE,
					  .dev_id = s->device.mock_domain.out_idev_id,
					  .hwpt_id = s->nest,
					  .data_len = sizeof(s->data),
					  .data_uptr = (uintptr_t)&s->data };
	int ret = iommufd(rig, IOMMU_VIOMMU_ALLOC, &cmd);

	s->viommu = cmd.out_viommu_id;
	return ret;
}

static int map_viommu(struct scene *s)
{
	int e = 0;

	s->mapped = rig->host->ops->mmap(rig->host, s->data.out_mmap_length, PROT_READ, MAP_SHARED,
					 rig->iommu, (off_t)s->data.out_mmap_offset, &e);
	return e;
}

static int make_hw_queue(struct scene *s)
{
	struct iommu_hw_queue_alloc cmd = { .size = sizeof(cmd),
					    .viommu_id = s->viommu,
					    .type = SELFTEST_HW_QUEUE_TYPE,
					    .nesting_parent_iova = START_IOVA,
					    .length = PAGE };
	int ret = iommufd(rig, IOMMU_HW_QUEUE_ALLOC, &cmd);

	s->hw_queue = cmd.out_hw_queue_id;
	return ret;
}

static int make_access(uint32_t ioas, int *fd)
{
	struct selftest_cmd cmd = { .create_access.flags = SELFTEST_ACCESS_PINS };
	int ret = test_cmd(SELFTEST_CREATE_ACCESS, ioas, &cmd);

	*fd = (int)cmd.create_access.out_fd;
	return ret;
}

static int pin(struct scene *s)
{
	struct selftest_cmd cmd = { .access_pages = { .iova = START_IOVA + PAGE,
						      .length = PAGE,
						      .uptr = (uintptr_t)buffer + PAGE } };
	int ret = test_cmd(SELFTEST_ACCESS_PAGES, (uint32_t)s->access, &cmd);

	s->pages = cmd.access_pages.out_pages_id;
	return ret;
}

static int make_dmabuf(int *fd)
{
	struct selftest_cmd cmd = { .dmabuf_get.length = 4 * PAGE };

	*fd = test_cmd(SELFTEST_DMABUF_GET, 0, &cmd);
	return *fd;
}

static int check_refs(const void *at, uint64_t pages, uint32_t refs)
{
	struct selftest_cmd cmd = {
		.check_refs = { .uptr = (uintptr_t)at, .length = pages * PAGE, .refs = refs }
	};

	return test_cmd(SELFTEST_CHECK_REFS, 0, &cmd);
}

static int check_map(uint32_t hwpt, uint64_t iova, const void *va)
{
	struct selftest_cmd cmd = { .check_map = {
					    .iova = iova, .uptr = (uintptr_t)va, .length = PAGE } };

	return test_cmd(SELFTEST_CHECK_MAP, hwpt, &cmd);
}

static void begin(void)
{
	rig = calloc(1, sizeof(*rig));
	rig->iommu = -1;
	buffer =
		mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static void end(void)
{
	rig_destroy(rig);
	munmap(buffer, BUFFER_BYTES);
}

static int make_host(void)
{
	return nst_host_soft_create(&(struct nst_soft_config){ .iommu = NST_SOFT_SELFTEST },
				    &rig->host);
}

static int open_context(void)
{
	rig->iommu = host_open(rig, "/dev/iommu");
	return rig->iommu;
}

/* --- allocations that fail ------------------------------------------------------------------- */

static void build(struct scene *s)
{
	uint64_t iova = START_IOVA, other = 0;

	STEP(s, make_host());
	STEP(s, open_context());
	STEP(s, make_ioas(&s->ioas));
	STEP(s, mock_domain(s->ioas, SELFTEST_DEVICE_PASID, &s->device));
	assert_int_equal(s->device.mock_domain.out_stdev_id, 2); /* no id was lost */
	STEP(s,
	     hwpt_alloc(rig, s->device.mock_domain.out_idev_id, s->ioas, NEST | DIRTY, &s->nest));
	STEP(s, map(s->ioas, buffer, 4 * PAGE, &iova, FIXED | RW));
	STEP(s, make_viommu(s));
	STEP(s, map_viommu(s));
	STEP(s, make_hw_queue(s));
	STEP(s, make_access(s->ioas, &s->access));
	STEP(s, pin(s));
	STEP(s, check_refs(buffer, 4, 1));
	STEP(s, make_dmabuf(&s->dmabuf));
	STEP(s, ioas_map_file(rig, s->ioas, s->dmabuf, 0, 4 * PAGE, &other, RW));
}

static void take_apart(struct scene *s)
{
	uint64_t n;

	err(EBUSY, unmap(s->ioas, START_IOVA, 4 * PAGE, &n)); /* the hardware queue */
	ok(destroy(rig, s->hw_queue));
	ok(unmap(s->ioas, 0, UINT64_MAX, &n)); /* and the access lets go */
	ok(check_refs(buffer, 4, 0));
	err(EBUSY, destroy(rig, s->viommu));
	ok(rig->host->ops->munmap(rig->host, s->mapped, s->data.out_mmap_length));
	ok(destroy(rig, s->viommu));
	ok(host_close(rig, s->dmabuf));
	ok(destroy(rig, s->device.mock_domain.out_stdev_id));
	ok(destroy(rig, s->nest));
	err(EBUSY, destroy(rig, s->ioas)); /* the access */
	ok(host_close(rig, s->access));
	ok(destroy(rig, s->ioas));
	ok(host_close(rig, rig->iommu));
}

static void allocations_fail(void **state)
{
	unsigned int nth = 0, failures;

	do {
		struct scene s = { 0 };

		begin();
		alloc_fail_nth(++nth);
		build(&s);
		alloc_fail_nth(0);
		failures = s.failures;
		take_apart(&s);
		end();
	} while (failures);
	assert_true(nth > 20);
}

/* --- lives --------------------------------------------------------------------------------------
 */

static void make_all(struct scene *s)
{
	begin();
	build(s);
}

static void closing_leaves_nothing(void **state)
{
	struct scene s = { 0 };

	make_all(&s);
	ok(host_close(rig, rig->iommu)); /* the access and the mapping keep the context */
	ok(host_close(rig, s.access));
	ok(open_context() < 0);
	assert_int_equal(*(uint32_t *)s.mapped, 0);
	ok(rig->host->ops->munmap(rig->host, s.mapped, s.data.out_mmap_length));
	ok(check_refs(buffer, 4, 0));
	end(); /* and the dma-buf */
}

static void all_open_at_the_end(void **state)
{
	struct scene s = { 0 };

	make_all(&s);
	end();
}

static void mapping_ends_with_its_last_page(void **state)
{
	struct scene s = { 0 };

	make_all(&s);
	ok(destroy(rig, s.hw_queue));
	ok(rig->host->ops->munmap(rig->host, s.mapped, PAGE));
	err(EBUSY, destroy(rig, s.viommu));
	ok(rig->host->ops->munmap(rig->host, (char *)s.mapped + PAGE, PAGE));
	ok(destroy(rig, s.viommu));
	err(EINVAL, rig->host->ops->munmap(rig->host, (void *)1, PAGE));
	end();
}

/* --- dma-bufs, accesses of others
 * ----------------------------------------------------------------- */

static int revoke(int fd, uint32_t revoked)
{
	struct selftest_cmd cmd = { .dmabuf_revoke = { fd, revoked } };

	return test_cmd(SELFTEST_DMABUF_REVOKE, 0, &cmd);
}

static void revoked_stays_away(void **state)
{
	struct scene s = { 0 };
	uint32_t hwpt;
	uint64_t iova = 0;

	make_all(&s);
	hwpt = s.device.mock_domain.out_hwpt_id;
	err(EINVAL, revoke(s.access, 1)); /* no dma-buf */
	err(EINVAL, revoke(-1, 1));
	ok(check_map(hwpt, START_IOVA, buffer));
	err(EINVAL, check_map(hwpt, START_IOVA, buffer + PAGE));
	err(EFAULT, check_map(hwpt, START_IOVA, (void *)(BAD_POINTER & ~(PAGE - 1))));
	ok(revoke(s.dmabuf, 1));
	err(ENODEV, ioas_map_file(rig, s.ioas, s.dmabuf, 0, PAGE, &iova, RW));
	ok(revoke(s.dmabuf, 0));
	ok(ioas_map_file(rig, s.ioas, s.dmabuf, 0, PAGE, &iova, RW));
	end();
}

static void access_of_another_context(void **state)
{
	struct scene s = { 0 };
	struct selftest_cmd cmd = { 0 };
	int first;

	make_all(&s);
	first = rig->iommu;
	ok(open_context() < 0);
	err(EBADFD, pin(&s));
	err(EBADFD, test_cmd(SELFTEST_ACCESS_RW, (uint32_t)first, &cmd));
	err(EBADFD, test_cmd(SELFTEST_DESTROY_ACCESS_PAGES, UINT32_MAX, &cmd));
	err(EOPNOTSUPP, test_cmd(0, 0, &cmd));
	err(EOPNOTSUPP, test_cmd(99, 0, &cmd));
	end();
}

static void other_iommus_know_no_test_command(void **state)
{
	struct rig *vtd = rig_create(&(struct nst_soft_config){ .synchronous = true }, false);
	struct selftest_cmd cmd = { .size = sizeof(cmd) };

	err(ENOTTY, iommufd(vtd, SELFTEST_CMD, &cmd));
	err(ENOTTY, iommufd(vtd, SELFTEST_CMD, NULL));
	rig_destroy(vtd);
}

static void no_device_can_be_plugged_in(void **state)
{
	char path[64], *why = NULL;

	begin();
	ok(make_host());
	err(EINVAL, nst_soft_add_device(rig->host, "dmatest", path, sizeof(path), &why));
	assert_non_null(why);
	free(why);
	end();
}

static const struct suite_case cases[] = {
	TEST_ALONE(allocations_fail),
	TEST_ALONE(closing_leaves_nothing),
	TEST_ALONE(all_open_at_the_end),
	TEST_ALONE(mapping_ends_with_its_last_page),
	TEST_ALONE(revoked_stays_away),
	TEST_ALONE(access_of_another_context),
	TEST_ALONE(other_iommus_know_no_test_command),
	TEST_ALONE(no_device_can_be_plugged_in),
};

SUITE_GROUP(selftest, cases)
