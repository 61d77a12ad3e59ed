// SPDX-License-Identifier: BSD-3-Clause
/* What follows when the kernel was asked: its answer counts more than what its files let expect. */
#include "test.h"

#include "cmd/verdict.h"
#include "spec/vtd_caps.h"

#include <errno.h>
#include <string.h>

#define ALL (VTD_ECAP_SMTS | VTD_ECAP_NEST | VTD_ECAP_FSTS | VTD_ECAP_SSTS)

static const struct platform platform = { .release = "7.2.1", .iommufd = true, .num_iommus = 1 };

static struct question {
	struct platform_device device;
	struct probe probe;
} asked(enum iommu_hw_info_type type)
{
	struct question p = {
		.device = { .address = "0000:3d:00.0",
			    .driver = "vfio-pci",
			    .group = "1",
			    .cdev = "/dev/vfio/devices/vfio0",
			    .iommu = { .kind = IOMMU_VTD, .name = "dmar0", .registers = true } },
		.probe = { .hw = { .type = type, .vtd = { .ecap_reg = ALL } } },
	};

	return p;
}

static const struct check *find(const struct verdict *v, const char *key)
{
	for (unsigned int i = 0; i < v->num_checks; i++)
		if (!strcmp(v->checks[i].key, key))
			return &v->checks[i];
	return NULL;
}

static struct verdict judge(const struct question *p)
{
	struct verdict v;

	verdict_device(&platform, &p->device, &p->probe, &v);
	assert_true(v.num_checks <= VERDICT_CHECKS);
	assert_int_equal(v.nesting == CHECK_OK, !*v.reason);
	assert_int_equal(v.nesting == CHECK_OK, !*v.advice);
	return v;
}

static void kernel_says_yes(void **state)
{
	struct question p = asked(IOMMU_HW_INFO_TYPE_INTEL_VTD);
	struct verdict v;

	p.probe.hw.max_pasid_log2 = 16;
	p.probe.hw.capabilities = IOMMU_HW_CAP_DIRTY_TRACKING;
	p.probe.hw.vtd.flags = IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17;
	v = judge(&p);
	assert_int_equal(v.nesting, CHECK_OK);
	assert_string_equal(find(&v, "pasid")->value, "16 bits");
	assert_string_equal(find(&v, "dirty_tracking")->value, "yes");
	assert_non_null(find(&v, "erratum"));
	p.probe.hw.vtd.flags = 0;
	v = judge(&p);
	assert_null(find(&v, "erratum"));
}

static void kernel_says_no(void **state)
{
	struct question p = asked(IOMMU_HW_INFO_TYPE_INTEL_VTD);
	struct verdict v;

	p.probe.parent = -EOPNOTSUPP;
	v = judge(&p);
	assert_int_equal(v.nesting, CHECK_NO);
	assert_non_null(strstr(v.reason, "nesting parent"));
	assert_non_null(strstr(v.advice, "intel_iommu=on,sm_on"));
	/* a parent alone is of no use without first-stage tables */
	p.probe.parent = 0;
	p.probe.hw.vtd.ecap_reg = ALL & ~VTD_ECAP_FSTS;
	assert_int_equal(judge(&p).nesting, CHECK_NO);
}

static void smmuv3(void **state)
{
	struct question p = asked(IOMMU_HW_INFO_TYPE_ARM_SMMUV3);
	struct verdict v;

	p.device.iommu.kind = IOMMU_SMMUV3;
	assert_int_equal(judge(&p).nesting, CHECK_OK);
	p.probe.viommu = -EOPNOTSUPP;
	v = judge(&p);
	assert_int_equal(v.nesting, CHECK_NO);
	assert_non_null(strstr(v.reason, "vIOMMU"));
	assert_non_null(strstr(v.advice, "CONFIG_ARM_SMMU_V3_IOMMUFD"));
	p.probe.parent = -EOPNOTSUPP;
	p.probe.viommu = -ECANCELED;
	v = judge(&p);
	assert_non_null(strstr(v.reason, "nesting parent"));
	assert_non_null(strstr(v.advice, "both stages"));
}

static void amd_and_others(void **state)
{
	struct question p = asked(IOMMU_HW_INFO_TYPE_AMD);

	/* its kernel makes nesting parents, but nothing nested */
	assert_int_equal(judge(&p).nesting, CHECK_NO);
	p = asked(IOMMU_HW_INFO_TYPE_NONE);
	p.device.iommu.kind = IOMMU_OTHER;
	assert_int_equal(judge(&p).nesting, CHECK_NO);
}

static void not_asked(void **state)
{
	const struct probe never = { .open_cdev = -ECANCELED,
				     .bind = -ECANCELED,
				     .info = -ECANCELED,
				     .parent = -ECANCELED,
				     .viommu = -ECANCELED };
	struct question p = asked(IOMMU_HW_INFO_TYPE_INTEL_VTD);
	struct verdict v;

	p.device.iommu.ecap = ALL;
	p.probe = never;
	p.probe.open_iommufd = -EACCES;
	v = judge(&p);
	/* the files say yes, and what is missing is a permission */
	assert_int_equal(v.nesting, CHECK_OK);
	assert_non_null(strstr(find(&v, "asked")->advice, "root"));
	p.probe.open_iommufd = 0;
	p.probe.open_cdev = -EACCES;
	v = judge(&p);
	assert_int_equal(v.nesting, CHECK_OK);
	assert_non_null(strstr(find(&v, "asked")->advice, "root"));
	p.probe.open_cdev = -ENOENT;
	v = judge(&p);
	assert_int_equal(v.nesting, CHECK_UNKNOWN);
	assert_non_null(strstr(v.reason, "cannot be opened"));
	p.probe.open_cdev = 0;
	p.probe.bind = -EBUSY;
	v = judge(&p);
	assert_int_equal(v.nesting, CHECK_OK);
	assert_non_null(strstr(find(&v, "asked")->value, "bound"));
	p.device.iommu.kind = IOMMU_SMMUV3;
	assert_int_equal(judge(&p).nesting, CHECK_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kernel_says_yes), cmocka_unit_test(kernel_says_no),
		cmocka_unit_test(smmuv3),	   cmocka_unit_test(amd_and_others),
		cmocka_unit_test(not_asked),
	};

	return cmocka_run_group_tests_name("verdict", tests, NULL, NULL);
}
