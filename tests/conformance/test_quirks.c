// SPDX-License-Identifier: BSD-3-Clause
/*
 * Where the software host keeps the rules of <linux/iommufd.h> and Linux 7.2 does not: each case
 * on a strict host and on one with quirks. What Linux really does, test_viommu.c and
 * test_attach.c say, which run on it.
 */
#include "viommu.h"

#include <errno.h>
#include <stdlib.h>

#define NH_ALL 0x10ULL
#define CMD_SYNC 0x46ULL

static struct rig *make_rig(enum nst_soft_iommu iommu, bool quirks)
{
	const struct nst_soft_config config = {
		.iommu = iommu, .synchronous = true, .check = true, .quirks = quirks
	};

	return rig_create(&config, true);
}

/* A flush, and something that is not for guests. */
static void a_bad_command_after_a_good_one(void **state)
{
	for (int quirks = 0; quirks < 2; quirks++) {
		struct rig *rig = make_rig(NST_SOFT_SMMUV3, quirks);
		const uint64_t cmds[2][2] = { { NH_ALL }, { CMD_SYNC } };
		uint32_t num = 2;
		struct vsmmu v;

		make_attached_vsmmu(&v, rig);
		enable_bus_master(rig);
		ok(dma_write(rig, NO_PASID, IOVA, 1)); /* cached now */
		smmu_map(&v.guest, v.context, IOVA, 0x5000);
		err(EIO, invalidate(rig, v.viommu, TYPE_SMMU, cmds, sizeof(cmds[0]), &num));
		assert_int_equal(num, 1);
		ok(dma_write(rig, NO_PASID, IOVA, 0x77));
		assert_int_equal(v.guest.memory[quirks ? 0x4000 : 0x5000], 0x77);
		end_vsmmu(&v);
		rig_destroy(rig);
	}
}

static void no_commands_and_too_many(void **state)
{
	const uint32_t many = 300000;
	uint64_t(*cmds)[2] = calloc(many, sizeof(*cmds));

	assert_non_null(cmds);
	for (uint32_t i = 0; i < many; i++)
		cmds[i][0] = NH_ALL;
	for (int quirks = 0; quirks < 2; quirks++) {
		struct rig *rig = make_rig(NST_SOFT_SMMUV3, quirks);
		uint32_t none = 0, num = many;
		struct vsmmu v;

		make_vsmmu(&v, rig);
		assert_int_equal(invalidate(rig, v.viommu, TYPE_SMMU, NULL, 0, &none),
				 quirks ? -EINVAL : 0);
		none = 0;
		err(EINVAL, invalidate(rig, v.viommu, TYPE_SMMU + 7, NULL, 0, &none));
		assert_int_equal(invalidate(rig, v.viommu, TYPE_SMMU, cmds, sizeof(cmds[0]), &num),
				 quirks ? -ENOMEM : 0);
		assert_int_equal(num, many);
		end_vsmmu(&v);
		rig_destroy(rig);
	}
	free(cmds);
}

static void a_stream_no_command_can_name(void **state)
{
	for (int quirks = 0; quirks < 2; quirks++) {
		struct rig *rig = make_rig(NST_SOFT_SMMUV3, quirks);
		struct vsmmu v;
		uint32_t id;

		make_vsmmu(&v, rig);
		assert_int_equal(vdevice_alloc(rig, v.viommu, rig->devid, 1ULL << 32, &id),
				 quirks ? 0 : -EINVAL);
		if (!quirks)
			ok(vdevice_alloc(rig, v.viommu, rig->devid, UINT32_MAX, &id));
		ok(destroy(rig, id));
		end_vsmmu(&v);
		rig_destroy(rig);
	}
}

static void a_refused_replace(void **state)
{
	for (int quirks = 0; quirks < 2; quirks++) {
		struct rig *rig = make_rig(NST_SOFT_VTD, quirks);
		uint32_t ioas = ioas_alloc(rig), first, no_pasid;
		struct iommu_iova_range got[4];

		ok(hwpt_alloc(rig, rig->devid, ioas, PASID, &first));
		ok(hwpt_alloc(rig, rig->devid, ioas, 0, &no_pasid));
		ok(attach_id(rig, first));
		ok(attach_pasid(rig, 5, first));
		assert_int_equal(ioas_ranges(rig, ioas, got, NULL), 2);
		err(EINVAL, attach_id(rig, no_pasid));
		assert_int_equal(ioas_ranges(rig, ioas, got, NULL), quirks ? 1 : 2);
		rig_destroy(rig);
	}
}

static const struct suite_case cases[] = {
	TEST_ALONE(a_bad_command_after_a_good_one),
	TEST_ALONE(no_commands_and_too_many),
	TEST_ALONE(a_stream_no_command_can_name),
	TEST_ALONE(a_refused_replace),
};
SUITE_GROUP(quirks, cases)
