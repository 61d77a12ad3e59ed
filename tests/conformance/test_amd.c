// SPDX-License-Identifier: BSD-3-Clause
/*
 * What the AMD driver of Linux 7.2 answers otherwise than those of VT-d and SMMUv3. On QEMU's
 * amd-iommu, whose features are fewer, it was measured (reserved ranges, hardware information,
 * errors of attaching); the rest is as read in its source.
 */
#include "rig.h"

#include <errno.h>
#include <linux/iommufd.h>

#define FORMAT_2_LAST 0x7fffffffffffULL

static struct rig *make_rig(void)
{
	const struct nst_soft_config config = { .iommu = NST_SOFT_AMD,
						.synchronous = true,
						.check = true };

	return rig_create(&config, true);
}

static void hw_info_of_amd(void **state)
{
	struct rig *rig = make_rig();
	struct iommu_hw_info_amd amd = { 0 };
	struct iommu_hw_info info = { .size = sizeof(info),
				      .dev_id = rig->devid,
				      .data_len = sizeof(amd),
				      .data_uptr = (uintptr_t)&amd };

	ok(iommufd(rig, IOMMU_GET_HW_INFO, &info));
	assert_int_equal(info.out_data_type, IOMMU_HW_INFO_TYPE_AMD);
	assert_int_equal(info.data_len, 16);
	assert_true(amd.efr >> 4 & 1 && amd.efr >> 48 & 1 && amd.efr2 >> 3 & 1); /* nesting */
	assert_true(amd.efr >> 52 & 1);						 /* dirty bits */
	info.flags = IOMMU_HW_INFO_FLAG_INPUT_TYPE;
	info.in_data_type = IOMMU_HW_INFO_TYPE_INTEL_VTD;
	err(EOPNOTSUPP, iommufd(rig, IOMMU_GET_HW_INFO, &info));
	rig_destroy(rig);
}

/* Every combination of flags: NEST 1, DIRTY 2, FAULT 4, PASID 8, and one that there is not. */
static void flags_that_go_together(void **state)
{
	static const bool allowed[32] = {
		[0] = true,	[NEST] = true,	[DIRTY] = true,		[NEST | DIRTY] = true,
		[PASID] = true, [FAULT] = true, [DIRTY | FAULT] = true, [FAULT | PASID] = true
	};
	struct rig *rig = make_rig();
	struct iommu_fault_alloc fault = { .size = sizeof(fault) };
	uint32_t ioas = ioas_alloc(rig);

	ok(iommufd(rig, IOMMU_FAULT_QUEUE_ALLOC, &fault));
	for (uint32_t flags = 0; flags < 32; flags++) {
		struct iommu_hwpt_alloc cmd = { .size = sizeof(cmd),
						.flags = flags,
						.dev_id = rig->devid,
						.pt_id = ioas,
						.fault_id = fault.out_fault_id };

		assert_int_equal(iommufd(rig, IOMMU_HWPT_ALLOC, &cmd),
				 allowed[flags] ? 0 : -EOPNOTSUPP);
		if (allowed[flags])
			ok(destroy(rig, cmd.out_hwpt_id));
	}
	ok(host_close(rig, (int)fault.out_fault_fd));
	rig_destroy(rig);
}

static void reserved_ranges(void **state)
{
	static const struct iommu_iova_range want[] = { { 0, 0xfedfffff },
							{ 0xfef00000, 0xfcffffffff },
							{ 0x10000000000, UINT64_MAX } };
	struct rig *rig = make_rig();
	uint32_t ioas = ioas_alloc(rig), hwpt;
	struct iommu_iova_range got[4];
	uint64_t page[512] __attribute__((aligned(4096)));

	ok(attach_id(rig, ioas));
	assert_int_equal(ioas_ranges(rig, ioas, got, NULL), 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(got[i].start, want[i].start);
		assert_int_equal(got[i].last, want[i].last);
	}
	err(EINVAL, ioas_map(rig, ioas, page, PAGE, 0xfd00000000, RW));
	enable_bus_master(rig);
	ok(ioas_map(rig, ioas, page, PAGE, 0xfffffffffffff000, RW));
	ok(dma_write(rig, NO_PASID, 0xfffffffffffff008, 0x1234));
	assert_int_equal(page[1], 0x1234);
	ok(detach(rig));
	assert_int_equal(ioas_ranges(rig, ioas, got, NULL), 1);
	/* format 2 ends before the page that is mapped */
	err(EADDRINUSE, hwpt_alloc(rig, rig->devid, ioas, PASID, &hwpt));
	rig_destroy(rig);
}

/* Nesting parents are there, and vIOMMUs of any type, but nothing can be made of them. */
static void no_nesting(void **state)
{
	static const uint64_t dte[4] = { 3 };
	struct rig *rig = make_rig();
	uint32_t ioas = ioas_alloc(rig), parent, nested, num = 0;
	struct iommu_viommu_alloc viommu = { .size = sizeof(viommu), .dev_id = rig->devid };
	struct iommu_vdevice_alloc vdevice = { .size = sizeof(vdevice), .dev_id = rig->devid };

	ok(hwpt_alloc(rig, rig->devid, ioas, NEST | DIRTY, &parent));
	err(EOPNOTSUPP, hwpt_alloc_data(rig, rig->devid, parent, 0, IOMMU_HWPT_DATA_AMD_GUEST, dte,
					sizeof(dte), &nested));
	viommu.hwpt_id = parent;
	err(EOPNOTSUPP, iommufd(rig, IOMMU_VIOMMU_ALLOC, &viommu)); /* but not type 0 */
	viommu.type = 0x77;
	ok(iommufd(rig, IOMMU_VIOMMU_ALLOC, &viommu));
	err(EOPNOTSUPP, hwpt_alloc_data(rig, rig->devid, viommu.out_viommu_id, 0,
					IOMMU_HWPT_DATA_AMD_GUEST, dte, sizeof(dte), &nested));
	err(EOPNOTSUPP, invalidate(rig, viommu.out_viommu_id, 0, NULL, 0, &num));
	vdevice.viommu_id = viommu.out_viommu_id;
	ok(iommufd(rig, IOMMU_VDEVICE_ALLOC, &vdevice));
	err(EBUSY, destroy(rig, viommu.out_viommu_id));
	ok(destroy(rig, vdevice.out_vdevice_id));
	ok(destroy(rig, viommu.out_viommu_id));
	ok(destroy(rig, parent));
	rig_destroy(rig);
}

static void pasids_are_the_drivers(void **state)
{
	struct rig *rig = make_rig();
	uint32_t ioas = ioas_alloc(rig), pasid, plain;
	struct iommu_iova_range got[4];

	ok(hwpt_alloc(rig, rig->devid, ioas, PASID, &pasid));
	assert_int_equal(ioas_ranges(rig, ioas, got, NULL), 1);
	assert_int_equal(got[0].last, FORMAT_2_LAST);
	ok(hwpt_alloc(rig, rig->devid, ioas, 0, &plain));
	err(EINVAL, attach_pasid(rig, 5, plain));
	err(EOPNOTSUPP, attach_pasid(rig, 5, pasid));
	ok(attach_id(rig, pasid));
	err(EOPNOTSUPP, attach_pasid(rig, 5, pasid));
	rig_destroy(rig);
}

static const struct suite_case cases[] = {
	TEST_ALONE(hw_info_of_amd), TEST_ALONE(flags_that_go_together), TEST_ALONE(reserved_ranges),
	TEST_ALONE(no_nesting),	    TEST_ALONE(pasids_are_the_drivers),
};
SUITE_GROUP(amd, cases)
