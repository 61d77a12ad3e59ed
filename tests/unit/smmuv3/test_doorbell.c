// SPDX-License-Identifier: BSD-3-Clause
/*
 * nst_viommu_msi_doorbell(): where an MSI goes, for devices of both kinds; against what
 * nst_viommu_translate() says of an emulated one. Nobody hears of it, and nothing is kept.
 */
#include "rig.h"

#define DOORBELL_IOVA 0xfffff000ULL
#define TRANSLATER 0x8090000ULL /* of an ITS: no memory */
#define RID 0x25

static uint64_t doorbell(struct rig *rig, nst_rid rid, uint64_t iova)
{
	nst_gpa gpa = { 77 };
	int ret = nst_viommu_msi_doorbell(rig->viommu, rid, (nst_iova){ iova }, &gpa);

	if (!ret)
		return gpa.v;
	assert_int_equal(ret, -EFAULT);
	assert_int_equal(gpa.v, 77);
	return UINT64_MAX;
}

/* Stage 1 by table A, with the doorbell in it. */
static void stage1(struct rig *rig, nst_rid rid)
{
	guest_write_cd(rig, GPA_CDTAB, rig->root_a, 5);
	guest_ste(rig, rid)[0] = STE_S1(GPA_CDTAB);
	if (!*guest_pte(rig, rig->root_a, DOORBELL_IOVA))
		guest_map(rig, rig->root_a, DOORBELL_IOVA, TRANSLATER);
	cmdq_run(rig, CMD_CFGI_STE(rid), 1);
}

static void whatever_decides(struct rig *rig, nst_rid rid)
{
	uint64_t *pte;

	assert_int_equal(doorbell(rig, rid, TRANSLATER + 0x40), TRANSLATER + 0x40);
	reg32_set(rig, REG_GBPA, GBPA_UPDATE | GBPA_ABORT);
	assert_int_equal(doorbell(rig, rid, TRANSLATER), UINT64_MAX);
	reg32_set(rig, REG_GBPA, GBPA_UPDATE);
	guest_enable(rig);
	assert_int_equal(doorbell(rig, rid, TRANSLATER), UINT64_MAX); /* nobody has made the entry */
	stage1(rig, rid);
	pte = guest_pte(rig, rig->root_a, DOORBELL_IOVA);
	assert_int_equal(doorbell(rig, rid, DOORBELL_IOVA + 0x40), TRANSLATER + 0x40);
	assert_int_equal(doorbell(rig, rid, TRANSLATER), UINT64_MAX);
	*pte |= 0x80; /* read-only */
	assert_int_equal(doorbell(rig, rid, DOORBELL_IOVA), UINT64_MAX);
	*pte = (TRANSLATER + 0x10000) | PTE_PAGE; /* without any invalidation */
	assert_int_equal(doorbell(rig, rid, DOORBELL_IOVA), TRANSLATER + 0x10000);
	*pte &= ~0x400ULL; /* not accessed: it is not made so either */
	assert_int_equal(doorbell(rig, rid, DOORBELL_IOVA), UINT64_MAX);
	*mem64(rig, GPA_CDTAB) = 0;
	assert_int_equal(doorbell(rig, rid, DOORBELL_IOVA), UINT64_MAX);
	guest_ste(rig, rid)[0] = STE_BYPASS;
	cmdq_run(rig, CMD_CFGI_STE(rid), 1);
	assert_int_equal(doorbell(rig, rid, TRANSLATER + 0x40), TRANSLATER + 0x40);
	guest_ste(rig, rid)[0] = STE_ABORT;
	cmdq_run(rig, CMD_CFGI_STE(rid), 1);
	assert_int_equal(doorbell(rig, rid, TRANSLATER), UINT64_MAX);
	assert_int_equal(event_type(rig), 0);
	assert_int_equal(rig_stats(rig).faults, 0);
}

static void of_an_emulated_device(void **state)
{
	struct rig *rig = *state;
	uint64_t gpa;

	whatever_decides(rig, RID);
	guest_map(rig, rig->root_b, DOORBELL_IOVA, TRANSLATER);
	stage1(rig, RID);
	guest_write_cd(rig, GPA_CDTAB, rig->root_b, 5);
	cmdq_run(rig, CMD_CFGI_ALL, 31);
	assert_int_equal(emulated(rig, RID, NST_NO_PASID, DOORBELL_IOVA + 0x40, true, &gpa), 0);
	assert_int_equal(doorbell(rig, RID, DOORBELL_IOVA + 0x40), gpa);
	/* what the device's own writes go by is cached, and so they and its MSIs do not part */
	*guest_pte(rig, rig->root_b, DOORBELL_IOVA) += 0x1000;
	assert_int_equal(emulated(rig, RID, NST_NO_PASID, DOORBELL_IOVA, true, &gpa), 0);
	assert_int_equal(doorbell(rig, RID, DOORBELL_IOVA), gpa);
}

/* The host translates for it, but does not say where to. */
static void of_a_passed_through_device(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = rig_add_device(rig);
	uint64_t gpa;

	whatever_decides(rig, d->rid);
	assert_int_equal(emulated(rig, d->rid, NST_NO_PASID, DOORBELL_IOVA, true, &gpa), -EEXIST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(of_an_emulated_device, rig_setup_empty, rig_teardown),
		cmocka_unit_test_setup_teardown(of_a_passed_through_device, rig_setup_empty,
						rig_teardown),
	};

	return cmocka_run_group_tests_name("smmuv3 doorbell", tests, NULL, NULL);
}
