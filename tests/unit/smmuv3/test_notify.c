// SPDX-License-Identifier: BSD-3-Clause
/*
 * Who keeps translations of an emulated device hears of every invalidation that concerns what he
 * was given: each command, beside what may be told of it at least and at most.
 */
#include "rig.h"

#include "base/alloc.h"

#include <string.h>

#define RID 0x25
#define CD_AT GPA_CDTAB
#define ASID 0x1234
enum heard {
	NOTHING = -1,
	PAGES = NST_CHANGE_PAGES,
	SPACE = NST_CHANGE_ADDRESS_SPACE,
	TABLES = NST_CHANGE_TABLES
};

struct listener {
	struct nst_notifier *notifier;
	unsigned int calls;
	struct nst_invalidation last;
};

static void invalidate(void *opaque, const struct nst_invalidation *invalidation)
{
	struct listener *l = opaque;

	l->calls++;
	l->last = *invalidation;
}

static void listen_as(struct rig *rig, struct listener *l, uint32_t pasid, uint64_t first,
		      uint64_t last)
{
	const struct nst_notifier_config config = {
		.rid = RID,
		.pasid = pasid,
		.first = { first },
		.last = { last },
		.invalidate = invalidate,
		.opaque = l,
	};

	*l = (struct listener){ 0 };
	ok(nst_viommu_notify(rig->viommu, &config, &l->notifier));
}

/* Since the last time. */
static enum heard heard(struct listener *l)
{
	unsigned int calls = l->calls;

	l->calls = 0;
	assert_true(calls <= 1);
	return calls ? (enum heard)l->last.what : NOTHING;
}

/* Stream RID: SSID 0, also of requests without, and 3, with ASIDs of their own. */
static struct rig *begin(void)
{
	struct rig *rig = rig_create(&(struct rig_options){ .ssid_bits = 8 });

	guest_enable(rig);
	guest_write_cd(rig, CD_AT, rig->root_a, ASID);
	guest_write_cd(rig, CD_AT + 3 * 64, rig->root_b, ASID + 1);
	guest_ste(rig, RID)[0] = STE_S1(CD_AT) | STE_CDMAX(2);
	guest_ste(rig, RID)[1] = 2;
	cmdq_run(rig, CMD_CFGI_ALL, 31);
	return rig;
}

static void use(struct rig *rig, uint32_t ssid)
{
	uint64_t gpa;

	ok(emulated(rig, RID, ssid, PROBE_IOVA, false, &gpa));
}

static const struct {
	uint64_t qw0, qw1;
	enum heard unused, used, global; /* by who got nothing, a page, a global page */
} cases[] = {
	{ CMD_CFGI_STE(RID), 1, TABLES, TABLES, TABLES },
	{ CMD_CFGI_STE(RID + 1), 1, NOTHING, NOTHING, NOTHING },
	{ CMD_CFGI_ALL, 31, TABLES, TABLES, TABLES },
	{ CMD_CFGI_ALL | (RID ^ 2ULL) << 32, 0, NOTHING, NOTHING, NOTHING },
	{ CMD_CFGI_CD(RID, 0), 1, TABLES, TABLES, TABLES },
	{ CMD_CFGI_CD(RID, 3), 1, NOTHING, NOTHING, NOTHING },
	{ CMD_CFGI_CD(RID + 1, 0), 1, NOTHING, NOTHING, NOTHING },
	{ CMD_CFGI_CD_ALL(RID), 0, TABLES, TABLES, TABLES },
	{ CMD_TLBI_NH_VA(ASID), PROBE_IOVA, NOTHING, PAGES, PAGES },
	{ CMD_TLBI_NH_VA(ASID + 1), PROBE_IOVA, NOTHING, NOTHING, PAGES },
	{ CMD_TLBI_NH_VAA, PROBE_IOVA, NOTHING, PAGES, PAGES },
	{ CMD_TLBI_NH_ASID(ASID), 0, NOTHING, SPACE, SPACE },
	{ CMD_TLBI_NH_ASID(ASID + 1), 0, NOTHING, NOTHING, NOTHING },
	{ CMD_TLBI_NH_ALL, 0, NOTHING, SPACE, SPACE },
	{ CMD_TLBI_NSNH_ALL, 0, NOTHING, SPACE, SPACE },
	{ CMD_SYNC, 0, NOTHING, NOTHING, NOTHING },
};

static void each_command_tells(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (int used = 0; used < 3; used++) {
			struct rig *rig = begin();
			struct listener l, every;
			enum heard want[] = { cases[i].unused, cases[i].used, cases[i].global };

			if (used == 2)
				*guest_pte(rig, rig->root_a, PROBE_IOVA) &= ~0x800ULL;
			listen_as(rig, &l, NST_NO_PASID, 0, UINT64_MAX);
			listen_as(rig, &every, NST_EVERY_PASID, 0, UINT64_MAX);
			if (used)
				use(rig, NST_NO_PASID);
			cmdq_run(rig, cases[i].qw0, cases[i].qw1);
			assert_int_equal(heard(&l), want[used]);
			if (want[used] == PAGES) {
				assert_int_equal(l.last.first.v, PROBE_IOVA);
				assert_int_equal(l.last.last.v, PROBE_IOVA + 0xfff);
			}
			if (want[used] != NOTHING)
				assert_int_equal(heard(&every), want[used]);
			nst_notifier_remove(l.notifier);
			nst_notifier_remove(every.notifier);
			rig_destroy(rig);
		}
	}
}

/* Of several ASIDs nothing is known but that: whichever is invalidated is told. */
static void several_address_spaces(void **state)
{
	struct rig *rig = begin();
	struct listener l;

	listen_as(rig, &l, NST_EVERY_PASID, 0, UINT64_MAX);
	use(rig, NST_NO_PASID);
	use(rig, 3);
	cmdq_run(rig, CMD_TLBI_NH_VA(ASID + 1), PROBE_IOVA);
	assert_int_equal(heard(&l), PAGES);
	cmdq_run(rig, CMD_CFGI_CD(RID, 3), 1);
	assert_int_equal(heard(&l), TABLES);
	/* that counts as everything: nothing is left to hear of */
	cmdq_run(rig, CMD_TLBI_NH_ALL, 0);
	assert_int_equal(heard(&l), NOTHING);
	nst_notifier_remove(l.notifier);
	rig_destroy(rig);
}

/* With the top byte ignored a page has 256 addresses. */
static void the_top_byte(void **state)
{
	struct rig *rig = begin();
	struct listener l;

	*mem64(rig, CD_AT) |= 1ULL << 38; /* TBI0 */
	cmdq_run(rig, CMD_CFGI_ALL, 31);
	listen_as(rig, &l, NST_NO_PASID, 0, UINT64_MAX);
	use(rig, NST_NO_PASID);
	cmdq_run(rig, CMD_TLBI_NH_VA(ASID), PROBE_IOVA);
	assert_int_equal(heard(&l), SPACE);
	nst_notifier_remove(l.notifier);
	rig_destroy(rig);
}

static void only_what_is_of_interest(void **state)
{
	struct rig *rig = begin();
	struct listener l;

	listen_as(rig, &l, NST_NO_PASID, PROBE_IOVA + 0x800, PROBE_IOVA + 0x8ff);
	use(rig, NST_NO_PASID);
	cmdq_run(rig, CMD_TLBI_NH_VAA, PROBE_IOVA);
	assert_int_equal(heard(&l), PAGES);
	assert_int_equal(l.last.first.v, PROBE_IOVA + 0x800);
	assert_int_equal(l.last.last.v, PROBE_IOVA + 0x8ff);
	cmdq_run(rig, CMD_TLBI_NH_VAA, PROBE_IOVA + 0x1000);
	assert_int_equal(heard(&l), NOTHING);
	nst_notifier_remove(l.notifier);
	rig_destroy(rig);
}

/* SMMUEN, GBPA, reset, restore. */
static void registers_tell(void **state)
{
	struct rig *rig = begin();
	struct listener l;
	size_t size;
	void *data;

	listen_as(rig, &l, NST_NO_PASID, 0, UINT64_MAX);
	cr0_set(rig, CR0_CMDQEN);
	assert_int_equal(heard(&l), TABLES);
	reg32_set(rig, REG_GBPA, GBPA_UPDATE | GBPA_ABORT);
	assert_int_equal(heard(&l), TABLES);
	cr0_set(rig, CR0_ALL);
	assert_int_equal(heard(&l), TABLES);
	ok(nst_viommu_save(rig->viommu, &data, &size));
	assert_int_equal(l.calls, 0);
	ok(nst_viommu_restore(rig->viommu, data, size));
	free(data);
	assert_true(l.calls && l.last.what == NST_CHANGE_TABLES);
	l.calls = 0;
	nst_viommu_reset(rig->viommu);
	assert_true(l.calls && l.last.what == NST_CHANGE_TABLES);
	nst_notifier_replay(l.notifier); /* there is no map() to tell */
	nst_notifier_remove(l.notifier);
	rig_destroy(rig);
}

static int map(void *opaque, const struct nst_mapping *mapping)
{
	return 0;
}

static void unmap(void *opaque, nst_iova first, nst_iova last)
{
}

static void what_is_not_there_is_refused(void **state)
{
	struct rig *rig = begin();
	struct nst_notifier_config config = { .rid = RID,
					      .pasid = NST_NO_PASID,
					      .last = { UINT64_MAX },
					      .map = map,
					      .unmap = unmap };
	struct nst_notifier *n;

	err(EOPNOTSUPP, nst_viommu_notify(rig->viommu, &config, &n));
	config.map = NULL;
	config.unmap = NULL;
	alloc_fail_nth(1);
	err(ENOMEM, nst_viommu_notify(rig->viommu, &config, &n));
	alloc_fail_nth(0);
	ok(nst_viommu_notify(rig->viommu, &config, &n));
	cmdq_run(rig, CMD_CFGI_ALL, 31); /* nobody to call */
	nst_notifier_remove(n);
	rig_destroy(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_command_tells),
		cmocka_unit_test(several_address_spaces),
		cmocka_unit_test(the_top_byte),
		cmocka_unit_test(only_what_is_of_interest),
		cmocka_unit_test(registers_tell),
		cmocka_unit_test(what_is_not_there_is_refused),
	};

	return cmocka_run_group_tests_name("smmuv3 notifiers", tests, NULL, NULL);
}
