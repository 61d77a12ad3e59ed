// SPDX-License-Identifier: BSD-3-Clause
/*
 * GET_HW_INFO, HWPT_ALLOC and HWPT_INVALIDATE with Intel VT-d: which flags and data go,
 * and in which order the rest is refused. Expected values: traces of Linux 7.2 with the
 * VT-d driver. Dirty tracking itself: test_dirty.c.
 */
#include "rig.h"

#include <string.h>
#include <sys/mman.h>

/* The frame: lengths, types, and in which order things are refused. */
static void hw_info(void **state)
{
	struct rig *rig = *state;
	bool vtd = rig->arch->hw_info_type == IOMMU_HW_INFO_TYPE_INTEL_VTD;
	uint32_t length = vtd ? sizeof(struct iommu_hw_info_vtd)
			      : sizeof(struct iommu_hw_info_arm_smmuv3);
	uint8_t first[64], big[64];
	struct iommu_hw_info cmd = { .size = sizeof(cmd),
				     .dev_id = rig->devid,
				     .data_len = length,
				     .data_uptr = (uintptr_t)first };

	ok(iommufd(rig, IOMMU_GET_HW_INFO, &cmd));
	assert_int_equal(cmd.out_data_type, rig->arch->hw_info_type);
	assert_int_equal(cmd.data_len, length);
	/* a longer buffer ends in zeros, a shorter one is filled as far as it goes */
	memset(big, 0xaa, sizeof(big));
	cmd.data_len = sizeof(big);
	cmd.data_uptr = (uintptr_t)big;
	ok(iommufd(rig, IOMMU_GET_HW_INFO, &cmd));
	assert_int_equal(cmd.data_len, length);
	assert_memory_equal(big, first, length);
	for (size_t i = length; i < sizeof(big); i++)
		assert_int_equal(big[i], 0);
	memset(big, 0xaa, sizeof(big));
	cmd.data_len = 8;
	ok(iommufd(rig, IOMMU_GET_HW_INFO, &cmd));
	assert_int_equal(cmd.data_len, length);
	assert_int_equal(big[8], 0xaa);

	cmd.data_uptr = 0;
	cmd.data_len = 8;
	err(EFAULT, iommufd(rig, IOMMU_GET_HW_INFO, &cmd));
	cmd.data_len = 0;
	cmd.in_data_type = vtd ? IOMMU_HW_INFO_TYPE_ARM_SMMUV3 : IOMMU_HW_INFO_TYPE_INTEL_VTD;
	ok(iommufd(rig, IOMMU_GET_HW_INFO, &cmd)); /* without the flag it is not looked at */
	cmd.data_len = 0;
	cmd.in_data_type = vtd ? IOMMU_HW_INFO_TYPE_ARM_SMMUV3 : IOMMU_HW_INFO_TYPE_INTEL_VTD;
	cmd.flags = IOMMU_HW_INFO_FLAG_INPUT_TYPE;
	err(EOPNOTSUPP, iommufd(rig, IOMMU_GET_HW_INFO, &cmd));
	cmd.in_data_type = rig->arch->hw_info_type;
	ok(iommufd(rig, IOMMU_GET_HW_INFO, &cmd));
	cmd.dev_id = ioas_alloc(rig);
	err(ENOENT, iommufd(rig, IOMMU_GET_HW_INFO, &cmd));
	cmd.dev_id = 0;
	err(ENOENT, iommufd(rig, IOMMU_GET_HW_INFO, &cmd));
	cmd.__reserved[2] = 1;
	err(EOPNOTSUPP, iommufd(rig, IOMMU_GET_HW_INFO, &cmd));
	cmd.__reserved[2] = 0;
	cmd.flags = 2;
	err(EOPNOTSUPP, iommufd(rig, IOMMU_GET_HW_INFO, &cmd));
}

static void hw_info_of_vtd(void **state)
{
	struct rig *rig = *state;
	struct iommu_hw_info_vtd vtd = { 0 };
	struct iommu_hw_info cmd = { .size = sizeof(cmd),
				     .dev_id = rig->devid,
				     .data_len = sizeof(vtd),
				     .data_uptr = (uintptr_t)&vtd };
	uint64_t pasid = IOMMU_HW_CAP_PCI_PASID_EXEC | IOMMU_HW_CAP_PCI_PASID_PRIV;

	ok(iommufd(rig, IOMMU_GET_HW_INFO, &cmd));
	assert_int_equal(cmd.out_max_pasid_log2, rig->has_pasid ? 20 : 0);
	assert_int_equal(cmd.out_capabilities, IOMMU_HW_CAP_DIRTY_TRACKING |
						       IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED |
						       (rig->has_pasid ? pasid : 0));
	assert_int_equal(vtd.flags, 1);
	assert_true(vtd.ecap_reg >> 26 & 1); /* nesting */
	assert_true(vtd.ecap_reg >> 43 & 1); /* scalable mode */
	assert_true(vtd.ecap_reg >> 45 & 1); /* dirty bits in the second stage */
}

/* What the unit says of itself and what it does: nesting, dirty tracking. */
static void capabilities_of_vtd(void **state)
{
	struct rig *rig = *state;
	struct iommu_hw_info_vtd vtd = { 0 };
	struct iommu_hw_info cmd = { .size = sizeof(cmd),
				     .dev_id = rig->devid,
				     .data_len = sizeof(vtd),
				     .data_uptr = (uintptr_t)&vtd };
	unsigned int provides = rig_provides(0);

	ok(iommufd(rig, IOMMU_GET_HW_INFO, &cmd));
	assert_int_equal(vtd.flags, 1);
	assert_int_equal(vtd.__reserved, 0);
	assert_int_equal(vtd.ecap_reg >> 26 & 1, !!(provides & NEED_NESTING));
	assert_int_equal(vtd.ecap_reg >> 45 & 1, !!(provides & NEED_DIRTY));
	assert_int_equal(!!(cmd.out_capabilities & IOMMU_HW_CAP_DIRTY_TRACKING),
			 !!(provides & NEED_DIRTY));
}

/* All sixteen combinations and an unknown flag. */
static void paging_flags(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), hwpt;
	unsigned int has = rig_provides(0);

	for (uint32_t flags = 0; flags <= 0x10; flags++) {
		int ret = hwpt_alloc(rig, rig->devid, ioas, flags, &hwpt);

		if (flags > 0xf || (flags & (NEST | FAULT)) == (NEST | FAULT) ||
		    (flags & NEST && !(has & NEED_NESTING)) ||
		    (flags & DIRTY && !(has & NEED_DIRTY)) ||
		    (has & NEED_SMMU && flags & NEST && flags & (PASID | DIRTY)))
			assert_int_equal(ret, -EOPNOTSUPP);
		else if (flags & FAULT)
			assert_int_equal(ret, -ENOENT); /* there is no fault queue 0 */
		else
			assert_int_equal(ret, 0);
		if (!ret)
			ok(destroy(rig, hwpt));
	}
	ok(destroy(rig, ioas)); /* the refused ones hold nothing */
}

static void alloc_errors_in_order(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), hwpt;
	struct iommu_hwpt_vtd_s1 s1 = { .addr_width = 48 };
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd), .dev_id = rig->devid, .pt_id = ioas, .__reserved = 1
	};

	err(EOPNOTSUPP, iommufd(rig, IOMMU_HWPT_ALLOC, &cmd));
	cmd.__reserved = 0;
	cmd.__reserved2 = 1; /* nobody checks it */
	ok(iommufd(rig, IOMMU_HWPT_ALLOC, &cmd));
	cmd.size = 24;
	ok(iommufd(rig, IOMMU_HWPT_ALLOC, &cmd));
	cmd.size = 23;
	err(EINVAL, iommufd(rig, IOMMU_HWPT_ALLOC, &cmd));

	err(EINVAL, hwpt_alloc_data(rig, rig->devid, ioas, 0, 0, &s1, 4, &hwpt));
	err(EINVAL, hwpt_alloc_data(rig, rig->devid, ioas, 0, 1, &s1, 0, &hwpt));
	err(EINVAL, hwpt_alloc_data(rig, 99, ioas, 0, 1, &s1, 0, &hwpt));
	err(ENOENT, hwpt_alloc(rig, 99, ioas, 0, &hwpt));
	err(ENOENT, hwpt_alloc(rig, ioas, ioas, 0, &hwpt));
	err(ENOENT, hwpt_alloc(rig, 99, 99, 0x10, &hwpt));
	err(EINVAL, hwpt_alloc(rig, rig->devid, 99, 0x10, &hwpt));
	err(EINVAL, hwpt_alloc(rig, rig->devid, rig->devid, 0, &hwpt));
	err(EOPNOTSUPP, hwpt_alloc_data(rig, rig->devid, ioas, 0, 1, &s1, sizeof(s1), &hwpt));
	err(EOPNOTSUPP, hwpt_alloc_data(rig, rig->devid, ioas, NEST, 1, &s1, sizeof(s1), &hwpt));
}

static void apertures(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), hwpt;
	struct iommu_iova_range got[4];
	uint64_t alignment;

	ok(hwpt_alloc(rig, rig->devid, ioas, 0, &hwpt));
	assert_int_equal(ioas_ranges(rig, ioas, got, &alignment), 1);
	assert_int_equal(got[0].last, rig->arch->plain_last);
	assert_int_equal(alignment, PAGE);
	ok(destroy(rig, hwpt));
	assert_int_equal(ioas_ranges(rig, ioas, got, &alignment), 1);
	assert_int_equal(got[0].last, UINT64_MAX);
	assert_int_equal(alignment, 1);
}

static void apertures_of_parents(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), hwpt;
	struct iommu_iova_range got[4];
	uint64_t alignment;

	ok(hwpt_alloc(rig, rig->devid, ioas, NEST, &hwpt));
	assert_int_equal(ioas_ranges(rig, ioas, got, &alignment), 1);
	assert_int_equal(got[0].last, rig_parent_last(rig));
	assert_int_equal(alignment, PAGE);
	ok(destroy(rig, hwpt));
	assert_int_equal(ioas_ranges(rig, ioas, got, NULL), 1);
	assert_int_equal(got[0].last, UINT64_MAX);
}

/* A nesting parent takes no read-only mapping, whoever comes first. */
static void parents_refuse_read_only(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), parent;
	uint64_t length = PAGE;
	void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ok(ioas_map(rig, ioas, page, PAGE, 0x1000, RO));
	err(EINVAL, hwpt_alloc(rig, rig->devid, ioas, NEST, &parent));
	ok(hwpt_alloc(rig, rig->devid, ioas, 0, &parent));
	ok(destroy(rig, parent));
	ok(ioas_unmap(rig, ioas, 0x1000, &length));
	ok(hwpt_alloc(rig, rig->devid, ioas, NEST, &parent));
	err(EINVAL, ioas_map(rig, ioas, page, PAGE, 0x1000, RO));
	ok(ioas_map(rig, ioas, page, PAGE, 0x1000, RW));
	ok(ioas_map(rig, ioas, page, PAGE, 0x2000, WO));
	munmap(page, PAGE);
}

static void nested_alloc(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), parent, plain, nested, auto_hwpt = ioas_alloc(rig),
		 d = rig->devid;
	struct iommu_hwpt_vtd_s1 s1 = { .addr_width = 48 };

	ok(hwpt_alloc(rig, d, ioas, NEST | PASID, &parent));
	ok(hwpt_alloc(rig, d, ioas, 0, &plain));
	ok(attach(rig, &auto_hwpt));
	ok(hwpt_alloc_nested(rig, parent, 0, 0, &nested));
	ok(hwpt_alloc_nested(rig, parent, PASID, 0, NULL));
	err(ENOENT, hwpt_alloc_nested(rig, parent, FAULT, 0, NULL));
	err(EOPNOTSUPP, hwpt_alloc_nested(rig, parent, DIRTY, 0, NULL));
	err(EOPNOTSUPP, hwpt_alloc_nested(rig, parent, NEST, 0, NULL));
	err(EOPNOTSUPP, hwpt_alloc_data(rig, d, parent, 0, 2, &s1, sizeof(s1), NULL));
	err(EOPNOTSUPP, hwpt_alloc_data(rig, d, parent, 0, 99, &s1, sizeof(s1), NULL));
	err(EOPNOTSUPP, hwpt_alloc(rig, d, parent, 0, NULL));
	for (uint32_t len = 20; len <= 32; len++)
		if (len != sizeof(s1))
			err(EINVAL, hwpt_alloc_data(rig, d, parent, 0, 1, &s1, len, NULL));
	err(EFAULT, hwpt_alloc_data(rig, d, parent, 0, 1, NULL, sizeof(s1), NULL));
	err(EINVAL, hwpt_alloc_nested(rig, plain, 0, 0, NULL));
	err(EINVAL, hwpt_alloc_nested(rig, auto_hwpt, 0, 0, NULL));
	err(EINVAL, hwpt_alloc_nested(rig, nested, 0, 0, NULL));
}

/* Whether a first-stage table can be used is decided when it is attached. */
static void nested_checked_at_attach(void **state)
{
	struct rig *rig = *state;
	static const struct {
		uint64_t flags, root;
		uint32_t width, reserved;
		int result;
	} cases[] = {
		{ 0, 0, 39, 0, -EINVAL },
		{ 0, 0, 57, 0, -EINVAL },
		{ 0, 0, 0, 0, -EINVAL },
		{ 0, 0, 48, 1, 0 },
		{ 8, 0, 48, 0, 0 },
		{ IOMMU_VTD_S1_SRE, 0, 48, 0, 0 },
		{ IOMMU_VTD_S1_WPE, 0, 48, 0, 0 },
		{ 7, 0x123, 48, 0, 0 },
	};
	uint32_t ioas = ioas_alloc(rig), parent, nested;

	ok(hwpt_alloc(rig, rig->devid, ioas, NEST, &parent));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct iommu_hwpt_vtd_s1 s1 = { .flags = cases[i].flags,
						.pgtbl_addr = cases[i].root,
						.addr_width = cases[i].width,
						.__reserved = cases[i].reserved };

		ok(hwpt_alloc_data(rig, rig->devid, parent, 0, 1, &s1, sizeof(s1), &nested));
		assert_int_equal(attach_id(rig, nested), cases[i].result);
		assert_int_equal(destroy(rig, nested), cases[i].result ? 0 : -EBUSY);
		ok(detach(rig));
		assert_int_equal(destroy(rig, nested), cases[i].result ? -ENOENT : 0);
	}
	ok(destroy(rig, parent));
}

#define INV(id, type, ptr, len, n) (num = (n), invalidate(rig, (id), (type), (ptr), (len), &num))

static void invalidate_errors(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), parent, nested, num;
	struct iommu_hwpt_vtd_s1_invalidate e[3] = { { .addr = 0x1000, .npages = 1 },
						     { .addr = 0x2000, .npages = 1 },
						     { .addr = 0x3000, .npages = 1 } };

	ok(hwpt_alloc(rig, rig->devid, ioas, NEST, &parent));
	ok(hwpt_alloc_nested(rig, parent, 0, 0, &nested));
	for (int attached = 0; attached < 2; attached++) {
		ok(INV(nested, 0, e, 24, 3));
		assert_int_equal(num, 3);
		err(ENOENT, INV(99, 0, e, 24, 1));
		assert_int_equal(num, 0);
		err(EINVAL, INV(parent, 0, e, 24, 1));
		err(EINVAL, INV(ioas, 0, e, 24, 1));
		err(EINVAL, INV(rig->devid, 0, e, 24, 1));
		ok(INV(nested, 0, NULL, 0, 0));
		err(EINVAL, INV(nested, 1, NULL, 0, 0));
		err(EINVAL, INV(nested, 1, e, 24, 1));
		assert_int_equal(num, 0);
		err(EINVAL, INV(nested, 0, e, 16, 1));
		err(EINVAL, INV(nested, 0, e, 32, 1));
		err(EINVAL, INV(nested, 0, NULL, 24, 1));
		err(EINVAL, INV(nested, 0, e, 0, 1));
		err(EINVAL, INV(nested, 0, e, 4097, 1));
		err(EINVAL, INV(nested, 0, e, 24, (1 << 19) + 1));
		assert_int_equal(num, 0);
		err(EFAULT, INV(nested, 0, (void *)BAD_POINTER, 24, 2));
		assert_int_equal(num, 0);
		e[1].flags = 2;
		err(EOPNOTSUPP, INV(nested, 0, e, 24, 3));
		assert_int_equal(num, 1);
		e[1].flags = IOMMU_VTD_INV_FLAGS_LEAF;
		e[1].__reserved = 1;
		err(EOPNOTSUPP, INV(nested, 0, e, 24, 3));
		assert_int_equal(num, 1);
		e[1].__reserved = 0;
		e[2].addr = 0x3800;
		err(EINVAL, INV(nested, 0, e, 24, 3));
		assert_int_equal(num, 2);
		e[2] = (struct iommu_hwpt_vtd_s1_invalidate){ .addr = 0x1000,
							      .npages = UINT64_MAX };
		err(EINVAL, INV(nested, 0, e, 24, 3));
		assert_int_equal(num, 2);
		e[2].addr = 0;
		ok(INV(nested, 0, e, 24, 3));
		e[2] = (struct iommu_hwpt_vtd_s1_invalidate){ .addr = 0x3000,
							      .npages = 1ULL << 52 };
		ok(INV(nested, 0, e, 24, 3));
		e[2].npages = 0;
		ok(INV(nested, 0, e, 24, 3));
		e[1].flags = 0;
		ok(attach_id(rig, nested));
	}
	ok(INV(nested, 0, e, 24, 3));
}

/* An array longer than what is copied at once, with a hole in the middle. */
static void invalidate_long_arrays(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), parent, nested, num = 500;
	uint8_t *pages =
		mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iommu_hwpt_vtd_s1_invalidate *e = (void *)pages;

	ok(hwpt_alloc(rig, rig->devid, ioas, NEST, &parent));
	ok(hwpt_alloc_nested(rig, parent, 0, 0, &nested));
	ok(invalidate(rig, nested, 0, e, 24, &num));
	assert_int_equal(num, 500);
	ok(mprotect(pages + 2 * PAGE, PAGE, PROT_NONE));
	err(EFAULT, invalidate(rig, nested, 0, e, 24, &num));
	assert_int_equal(num, 2 * PAGE / 24);
	munmap(pages, 4 * PAGE);
}

static const struct suite_case cases[] = {
	TEST(hw_info),
	TEST(hw_info_of_vtd, NEED_VTD | NEED_OWN_DEVICE | NEED_PASID),
	TEST_AS("hw_info_of_vtd_without_pasid", hw_info_of_vtd,
		NEED_VTD | NEED_OWN_DEVICE | NEED_NO_PASID),
	TEST(capabilities_of_vtd, NEED_VTD),
	TEST(paging_flags),
	TEST(alloc_errors_in_order),
	TEST(apertures),
	TEST(apertures_of_parents, NEED_NESTING),
	TEST(parents_refuse_read_only, NEED_VTD | NEED_NESTING),
	TEST(nested_alloc, NEED_VTD | NEED_NESTING),
	TEST(nested_checked_at_attach, NEED_VTD | NEED_NESTING),
	TEST(invalidate_errors, NEED_VTD | NEED_NESTING),
	TEST(invalidate_long_arrays, NEED_VTD | NEED_NESTING),
};
SUITE_GROUP(hwpt, cases)
