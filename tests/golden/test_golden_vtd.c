// SPDX-License-Identifier: BSD-3-Clause
/*
 * The replay of nest-fakevtd.txt and nest-fakevtd-pasid.txt: what Linux 7.2 answered with its
 * VT-d driver on a unit with nesting, for a device without and with PASID, ATS and PRI.
 */
#include "../conformance/rig.h"
#include "golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define result golden_result
#define line golden_line
#define S1_AW 48U
#define INV_TYPE IOMMU_HWPT_INVALIDATE_DATA_VTD_S1

/* Paging HWPTs, and nested ones on parent; the names are the recording's. */
struct probe {
	struct rig *rig;
	uint32_t ioas, parent, parent_pasid, plain;
	uint32_t n0, n1, with_fault;
};

static int s1_alloc(struct probe *p, uint32_t flags, uint32_t aw, uint64_t root, uint32_t reserved,
		    uint32_t *out)
{
	const struct iommu_hwpt_vtd_s1 s1 = {
		.flags = flags, .pgtbl_addr = root, .addr_width = aw, .__reserved = reserved
	};

	return hwpt_alloc_data(p->rig, p->rig->devid, p->parent, 0, IOMMU_HWPT_DATA_VTD_S1, &s1,
			       sizeof(s1), out);
}

static void say_ranges(struct probe *p)
{
	struct iommu_iova_range list[4];
	uint64_t alignment;
	uint32_t count = ioas_ranges(p->rig, p->ioas, list, &alignment);
	char text[200];
	int at = snprintf(text, sizeof(text), "   ranges n=%u align=%llu", count,
			  (unsigned long long)alignment);

	for (uint32_t i = 0; i < count; i++)
		at += snprintf(text + at, sizeof(text) - (size_t)at, " [%#llx,%#llx]",
			       (unsigned long long)list[i].start, (unsigned long long)list[i].last);
	line("%s", text);
}

static void say_device(struct probe *p)
{
	struct iommu_hw_info cmd = { .size = sizeof(cmd), .dev_id = p->rig->devid };

	ok(iommufd(p->rig, IOMMU_GET_HW_INFO, &cmd));
	if (p->rig->has_pasid)
		golden_skip("pasid_log2", "the recorded device could execute, dmatest cannot");
	else
		line("pasid_log2=%u caps=0x%llx", cmd.out_max_pasid_log2,
		     (unsigned long long)cmd.out_capabilities);
}

/* --- what can be made ------------------------------------------------------------------------ */

static void probe_paging(struct probe *p)
{
	p->ioas = ioas_alloc(p->rig);
	result("NEST|PASID parent",
	       hwpt_alloc(p->rig, p->rig->devid, p->ioas, NEST | PASID, &p->parent_pasid));
	say_ranges(p);
	result("NEST (no PASID) parent",
	       hwpt_alloc(p->rig, p->rig->devid, p->ioas, NEST, &p->parent));
	result("plain (first stage)", hwpt_alloc(p->rig, p->rig->devid, p->ioas, 0, &p->plain));
	say_ranges(p);
}

static int nested_with_fault(struct probe *p, uint32_t *out)
{
	const struct iommu_hwpt_vtd_s1 s1 = { .addr_width = S1_AW, .pgtbl_addr = PAGE };
	struct iommu_fault_alloc fault = { .size = sizeof(fault) };
	struct iommu_hwpt_alloc cmd = { .size = sizeof(cmd),
					.flags = FAULT,
					.dev_id = p->rig->devid,
					.pt_id = p->parent,
					.data_type = IOMMU_HWPT_DATA_VTD_S1,
					.data_len = sizeof(s1),
					.data_uptr = (uintptr_t)&s1 };
	int ret;

	ok(iommufd(p->rig, IOMMU_FAULT_QUEUE_ALLOC, &fault));
	cmd.fault_id = fault.out_fault_id;
	ret = iommufd(p->rig, IOMMU_HWPT_ALLOC, &cmd);
	*out = cmd.out_hwpt_id;
	return ret;
}

static void probe_nested(struct probe *p)
{
	struct rig *rig = p->rig;
	const struct iommu_hwpt_vtd_s1 s1[2] = { { .addr_width = S1_AW, .pgtbl_addr = PAGE } };
	const uint32_t size = sizeof(s1[0]), vtd = IOMMU_HWPT_DATA_VTD_S1, dev = rig->devid;
	uint32_t id;

	result("nested ok", hwpt_alloc_data(rig, dev, p->parent, 0, vtd, s1, size, &p->n0));
	result("nested PASID", hwpt_alloc_data(rig, dev, p->parent, PASID, vtd, s1, size, &p->n1));
	result("nested FAULT", nested_with_fault(p, &p->with_fault));
	result("nested DIRTY", hwpt_alloc_data(rig, dev, p->parent, DIRTY, vtd, s1, size, &id));
	result("nested NEST", hwpt_alloc_data(rig, dev, p->parent, NEST, vtd, s1, size, &id));
	result("nested type SMMU", hwpt_alloc_data(rig, dev, p->parent, 0, 2, s1, size, &id));
	result("nested type 99", hwpt_alloc_data(rig, dev, p->parent, 0, 99, s1, size, &id));
	result("nested len 20", hwpt_alloc_data(rig, dev, p->parent, 0, vtd, s1, 20, &id));
	result("nested len 23", hwpt_alloc_data(rig, dev, p->parent, 0, vtd, s1, 23, &id));
	result("nested len 32", hwpt_alloc_data(rig, dev, p->parent, 0, vtd, s1, 32, &id));
	result("nested null", hwpt_alloc_data(rig, dev, p->parent, 0, vtd, NULL, size, &id));
	result("nested on non-nest", hwpt_alloc_data(rig, dev, p->plain, 0, vtd, s1, size, &id));
	result("paging with user data", hwpt_alloc_data(rig, dev, p->ioas, 0, vtd, s1, size, &id));
	result("paging NEST with user data",
	       hwpt_alloc_data(rig, dev, p->ioas, NEST, vtd, s1, size, &id));
}

/* --- what can be attached --------------------------------------------------------------------- */

static void probe_attach(struct probe *p)
{
	struct rig *rig = p->rig;
	uint32_t id;

	result("nested aw 39 alloc", s1_alloc(p, 0, 39, PAGE, 0, &id));
	result("   attach", attach_id(rig, id));
	result("nested aw 57 alloc", s1_alloc(p, 0, 57, PAGE, 0, &id));
	result("   attach", attach_id(rig, id));
	result("nested reserved=1 alloc", s1_alloc(p, 0, S1_AW, PAGE, 1, &id));
	result("nested flags bit3 alloc", s1_alloc(p, 8, S1_AW, PAGE, 0, &id));
	result("nested SRE|EAFE|WPE alloc", s1_alloc(p, 7, S1_AW, PAGE, 0, &id));
	result("   attach", attach_id(rig, id));
	say_ranges(p);
	result("   detach", detach(rig));
	result("nested unaligned pgtbl alloc", s1_alloc(p, 0, S1_AW, PAGE + 1, 0, &id));
	result("   attach", attach_id(rig, id));
	result("attach FAULT nested (no PRI)", attach_id(rig, p->with_fault));
	result("attach nested", attach_id(rig, p->n0));
	result("destroy parent", destroy(rig, p->parent));
	result("destroy attached nested", destroy(rig, p->n0));
	say_ranges(p);
}

static void probe_replace(struct probe *p)
{
	struct rig *rig = p->rig;
	uint32_t no_pasid;

	result("replace nested -> parent", attach_id(rig, p->parent));
	result("replace parent -> nested", attach_id(rig, p->n0));
	result("replace -> ioas (auto)", attach_id(rig, p->ioas));
	result("replace -> nested PASID", attach_id(rig, p->n1));
	result("pasid 3 -> nested PASID", attach_pasid(rig, 3, p->n1));
	result("pasid 3 -> parent PASID (replace)", attach_pasid(rig, 3, p->parent_pasid));
	ok(s1_alloc(p, 0, S1_AW, PAGE, 0, &no_pasid));
	result("pasid 3 -> np2 (no PASID flag)", attach_pasid(rig, 3, no_pasid));
	result("rid -> n0 (no PASID)", attach_id(rig, p->n0));
	result("detach pasid 3", detach_pasid(rig, 3));
	result("rid -> n0", attach_id(rig, p->n0));
	result("pasid 3 with rid on non-PASID nested", attach_pasid(rig, 3, p->n1));
	result("rid detach", detach(rig));
	result("pasid 4 with rid detached", attach_pasid(rig, 4, p->n1));
	result("rid -> n0 (non PASID) while pasid attached", attach_id(rig, p->n0));
	result("rid -> n1", attach_id(rig, p->n1));
	ok(detach_pasid(rig, 4));
}

/* --- invalidation --------------------------------------------------------------------------------
 */

static void say_inv(struct probe *p, const char *label,
		    const struct iommu_hwpt_vtd_s1_invalidate *entries, uint32_t num, uint32_t type)
{
	result(label, invalidate(p->rig, p->n0, type, entries, sizeof(*entries), &num));
	line("   n=%u", num);
}

static void say_inv_one(struct probe *p, const char *label, uint64_t addr, uint64_t npages,
			uint32_t flags)
{
	const struct iommu_hwpt_vtd_s1_invalidate entry = { .addr = addr,
							    .npages = npages,
							    .flags = flags };

	say_inv(p, label, &entry, 1, INV_TYPE);
}

static void probe_invalidate(struct probe *p)
{
	struct iommu_hwpt_vtd_s1_invalidate three[3] = {
		{ .addr = 0x10000, .npages = 1 },
		{ .addr = 0x20000, .npages = 1, .__reserved = 1 },
		{ .addr = 0x30000, .npages = 1 },
	};
	uint32_t num = 0;

	say_inv_one(p, "inv 1 page 0xaaaa000", 0xaaaa000, 1, 0);
	say_inv_one(p, "inv 1 page LEAF 0xbbbb000", 0xbbbb000, 1, IOMMU_VTD_INV_FLAGS_LEAF);
	say_inv_one(p, "inv 3 pages 0xcccc000", 0xcccc000, 3, 0);
	say_inv_one(p, "inv 512 pages 0x40000000", 0x40000000, 512, 0);
	say_inv_one(p, "inv all", 0, UINT64_MAX, 0);
	say_inv_one(p, "inv U64_MAX addr!=0", PAGE, UINT64_MAX, 0);
	say_inv_one(p, "inv unaligned", PAGE + 1, 1, 0);
	say_inv_one(p, "inv flag 2", PAGE, 1, 2);
	say_inv_one(p, "inv npages 0 @0xdddd000", 0xdddd000, 0, 0);
	say_inv_one(p, "inv npages 1<<52 @0xeeee000", 0xeeee000, 1ULL << 52, 0);
	say_inv(p, "inv 3, 2nd reserved", three, 3, INV_TYPE);
	say_inv(p, "inv type 1", three, 1, 1);
	result("inv n=0", invalidate(p->rig, p->n0, INV_TYPE, NULL, 24, &num));
	num = 0;
	result("inv n=0 type 1", invalidate(p->rig, p->n0, 1, NULL, 24, &num));
	num = 1;
	result("inv entry_len 16", invalidate(p->rig, p->n0, INV_TYPE, three, 16, &num));
	num = 1;
	result("inv entry_len 32", invalidate(p->rig, p->n0, INV_TYPE, three, 32, &num));
	num = 1;
	result("inv on parent", invalidate(p->rig, p->parent, INV_TYPE, three, 24, &num));
	num = 1;
	result("inv on unattached nested n1", invalidate(p->rig, p->n1, INV_TYPE, three, 24, &num));
}

/* --- dirty tracking, read-only maps
 * -------------------------------------------------------------------- */

static int set_dirty(struct rig *rig, uint32_t id, uint32_t flags)
{
	struct iommu_hwpt_set_dirty_tracking cmd = { .size = sizeof(cmd),
						     .flags = flags,
						     .hwpt_id = id };

	return iommufd(rig, IOMMU_HWPT_SET_DIRTY_TRACKING, &cmd);
}

static int get_dirty(struct rig *rig, uint32_t id, uint64_t length)
{
	uint64_t bits[1] = { 0 };
	struct iommu_hwpt_get_dirty_bitmap cmd = { .size = sizeof(cmd),
						   .hwpt_id = id,
						   .length = length,
						   .page_size = PAGE,
						   .data = (uintptr_t)bits };

	return iommufd(rig, IOMMU_HWPT_GET_DIRTY_BITMAP, &cmd);
}

static void probe_dirty(struct probe *p)
{
	struct rig *rig = p->rig;
	uint8_t *memory =
		mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iommu_hwpt_alloc min = { .size = 24, .flags = NEST, .dev_id = rig->devid };
	uint64_t length = 4 * PAGE;
	uint32_t ioas, id;

	ioas = ioas_alloc(rig);
	result("NEST|DIRTY parent", hwpt_alloc(rig, rig->devid, ioas, NEST | DIRTY, &id));
	result("attach dirty parent", attach_id(rig, id));
	result("set dirty", set_dirty(rig, id, 1));
	result("map", ioas_map(rig, ioas, memory, length, 0, RW));
	result("get dirty", get_dirty(rig, id, length));
	result("RO map (NEST present)", ioas_map(rig, ioas, memory, length, 0x100000, RO));
	result("clear dirty", set_dirty(rig, id, 0));
	result("unmap while dirty parent attached", ioas_unmap(rig, ioas, 0, &length));
	ioas = ioas_alloc(rig);
	result("RO map first (no domain)", ioas_map(rig, ioas, memory, PAGE, 0, RO));
	result("NEST alloc on an IOAS holding an RO map",
	       hwpt_alloc(rig, rig->devid, ioas, NEST, &id));
	min.pt_id = ioas_alloc(rig);
	result("NEST alloc min", iommufd(rig, IOMMU_HWPT_ALLOC, &min));
	munmap(memory, 4 * PAGE);
}

/* Without PASID the tests' device is like the recorded one; with, dmatest is. */
static struct rig *make_rig(bool pasid)
{
	const struct nst_soft_config config = { .synchronous = true };
	struct rig *rig;

	if (!pasid)
		return rig_create(&config, false);
	rig = calloc(1, sizeof(*rig));
	ok(nst_host_soft_create(&config, &rig->host));
	ok(nst_soft_add_device(rig->host, "dmatest", rig->path, sizeof(rig->path), NULL));
	rig_bind(rig);
	return rig;
}

static void replay(const char *file, bool pasid)
{
	struct probe p = { .rig = make_rig(pasid) };

	golden_open(file);
	say_device(&p);
	probe_paging(&p);
	probe_nested(&p);
	probe_attach(&p);
	probe_invalidate(&p);
	probe_replace(&p);
	probe_dirty(&p);
	golden_close();
	rig_destroy(p.rig);
}

static void without_pasid(void **state)
{
	replay("nest-fakevtd.txt", false);
}

static void with_pasid(void **state)
{
	replay("nest-fakevtd-pasid.txt", true);
}

static const struct suite_case cases[] = {
	TEST_ALONE(without_pasid),
	TEST_ALONE(with_pasid),
};

SUITE_GROUP(golden_vtd, cases)
