// SPDX-License-Identifier: BSD-3-Clause
/*
 * Devices of both kinds behind one unit: the same tables and descriptors are for both, a
 * requester is of one kind at a time.
 */
#include "rig.h"

#include <string.h>

#define EMULATED 0x0030

struct heard {
	unsigned int pages, tables, tlb;
	int answer;
};

static void invalidate(void *opaque, const struct nst_invalidation *invalidation)
{
	struct heard *h = opaque;

	if (invalidation->what == NST_CHANGE_TABLES)
		h->tables++;
	else
		h->pages++;
}

static int device_tlb(void *opaque, const struct nst_device_tlb_invalidation *invalidation)
{
	((struct heard *)opaque)->tlb++;
	return ((struct heard *)opaque)->answer;
}

static struct nst_notifier_config listener(nst_rid rid, struct heard *h)
{
	return (struct nst_notifier_config){
		.rid = rid, .pasid = NST_EVERY_PASID, .last = { UINT64_MAX },
		.invalidate = invalidate, .device_tlb = device_tlb, .opaque = h,
	};
}

/* Where a read of PROBE_IOVA by an emulated device goes; UINT64_MAX: nowhere. */
static uint64_t goes_to(struct rig *rig, nst_rid rid)
{
	const struct nst_translate_request req = {
		.rid = rid, .pasid = NST_NO_PASID, .iova = { PROBE_IOVA },
	};
	struct nst_translation out;

	return nst_viommu_translate(rig->viommu, &req, &out) ? UINT64_MAX : out.gpa.v;
}

static void one_domain_for_both(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	nst_rid emulated = rig_plug(rig, false)->rid; /* never opened: a place with tables */
	struct heard heard = { 0 };
	const struct nst_notifier_config config = listener(emulated, &heard);
	struct nst_notifier *n;
	uint64_t value;

	guest_enable(rig);
	ok(nst_viommu_notify(rig->viommu, &config, &n));
	set_place(rig, d, PLACE_A);
	memcpy(guest_pasid_entry(rig, emulated, 0), guest_pasid_entry(rig, d->rid, 0), 64);
	guest_sync(rig);
	assert_int_equal(place_of(d), PLACE_A);
	assert_int_not_equal(goes_to(rig, emulated), UINT64_MAX);
	ok(dma_read(d, PROBE_IOVA, &value));
	heard = (struct heard){ 0 };
	/* an unmap of the domain, one descriptor for both */
	*guest_pte(rig, rig->root_a, PROBE_IOVA) = 0;
	iq_run(rig, DESC_PIOTLB(2, 10 + PLACE_A, 0), 0);
	assert_true(dma_read(d, PROBE_IOVA, &value));
	assert_int_equal(goes_to(rig, emulated), UINT64_MAX);
	assert_int_equal(heard.pages, 1);
	/* each to tables of its own */
	set_place(rig, d, PLACE_B);
	guest_sync(rig);
	assert_int_equal(place_of(d), PLACE_B);
	assert_int_equal(goes_to(rig, emulated), UINT64_MAX);
	guest_set_bypass(rig, emulated);
	guest_sync(rig);
	assert_int_equal(place_of(d), PLACE_B);
	assert_int_equal(goes_to(rig, emulated), PROBE_IOVA);
	assert_true(heard.tables);
	nst_notifier_remove(n);
}

/* A TLB of a passed-through device is the host's to flush; of an emulated one its own. */
static void device_tlbs(void **state)
{
	struct rig *rig = *state;
	struct heard heard = { .answer = -ETIMEDOUT };
	const struct nst_notifier_config config = listener(EMULATED, &heard);
	struct nst_notifier *n;

	guest_enable(rig);
	ok(nst_viommu_notify(rig->viommu, &config, &n));
	iq_run(rig, 3 | (uint64_t)rig->devices[0].rid << 32, PROBE_IOVA);
	assert_int_equal(heard.tlb, 0);
	iq_put(rig, 3 | (uint64_t)EMULATED << 32, PROBE_IOVA);
	iq_put(rig, DESC_WAIT(77), GPA_STATUS);
	iq_kick(rig);
	assert_int_equal(heard.tlb, 1);
	assert_int_not_equal(mem32(rig, GPA_STATUS), 77);
	assert_int_equal(reg32(rig, REG_FSTS), 1 << 6);
	reg32_set(rig, REG_FSTS, 1 << 6);
	heard.answer = 0;
	iq_run(rig, 3 | (uint64_t)EMULATED << 32, PROBE_IOVA);
	nst_notifier_remove(n);
}

static void a_requester_is_of_one_kind(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0], *other = rig_plug(rig, false);
	const struct nst_translate_request req = {
		.rid = d->rid, .pasid = NST_NO_PASID, .iova = { PROBE_IOVA },
	};
	const struct nst_ats_request ats = { .rid = d->rid, .pasid = NST_NO_PASID, .pages = 1 };
	struct heard heard = { 0 };
	struct nst_notifier_config config = listener(d->rid, &heard);
	enum nst_ats_status status;
	struct nst_translation out;
	struct nst_ats_entry entry;
	struct nst_notifier *n;
	unsigned int count;

	guest_enable(rig);
	guest_set_stage1(rig, d->rid, rig->root_a, 7);
	iq_run(rig, PC_GLOBAL, 0);
	err(EEXIST, nst_viommu_translate(rig->viommu, &req, &out));
	err(EEXIST, nst_viommu_ats_translate(rig->viommu, &ats, &entry, 1, &count, &status));
	err(EEXIST, nst_viommu_notify(rig->viommu, &config, &n));
	config.rid = other->rid;
	ok(nst_viommu_notify(rig->viommu, &config, &n));
	ok(nst_device_open(rig->vm, &(struct nst_device_config){ .path = other->path },
			   &other->dev));
	err(EEXIST, nst_viommu_attach(rig->viommu, other->rid, other->dev));
	nst_notifier_remove(n);
	ok(nst_viommu_attach(rig->viommu, other->rid, other->dev));
	/* unplugged, the place is free for an emulated one */
	nst_viommu_detach(rig->viommu, d->rid);
	ok(nst_viommu_translate(rig->viommu, &req, &out));
	ok(nst_viommu_translate(rig->viommu, &req, &out)); /* from the caches */
	ok(nst_viommu_attach(rig->viommu, d->rid, d->dev));
	err(EEXIST, nst_viommu_translate(rig->viommu, &req, &out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_domain_for_both, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(device_tlbs, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(a_requester_is_of_one_kind, rig_setup, rig_teardown),
	};

	return cmocka_run_group_tests_name("vtd mixed", tests, NULL, NULL);
}
