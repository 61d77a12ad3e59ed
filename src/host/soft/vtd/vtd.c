// SPDX-License-Identifier: BSD-3-Clause
/*
 * The Intel VT-d driver as personality of the host: which kinds of domain there are,
 * what each is refused for, domain ids, and nested HWPTs of type VTD_S1 - a guest's
 * first-stage table on a nesting parent.
 *
 * A plain domain is a first-stage one in the driver (48 bits, of which the upper half
 * is not canonical: 47 usable); a nesting parent is second stage with all 48. In the
 * software unit both are one level of translation, the map of the IOAS.
 *
 * When a nested HWPT is made only type and length of the data are looked at; whether the
 * table can be used is decided when it is attached. As the driver does, the caches are
 * flushed for the domain id that an entry had after the entry has changed and before the id can
 * be used again.
 *
 * Order of checks and error codes: Linux 7.2 drivers/iommu/intel/{iommu,nested,pasid}.c.
 */
#include "host/soft/soft.h"
#include "host/soft/hwpt.h"
#include "host/soft/attach.h"
#include "host/soft/vfio/device.h"
#include "host/soft/tag_pool.h"
#include "host/soft/vtd/vtd_event.h"
#include "host/soft/vtd/vtd_hw.h"
#include "spec/vtd_caps.h"
#include "spec/vtd_veventq.h"

#include <errno.h>

#define SECOND_STAGE_LAST ((1ULL << 48) - 1)
#define FIRST_STAGE_LAST ((1ULL << 47) - 1)
#define FIRST_STAGE_5LEVEL_LAST ((1ULL << 56) - 1)

/* The driver lets this through to fault queues: the device wants the PASID back. */
#define PGFAULT_FLAGS_NEEDS_PASID (1U << 2)

#define FIRST_DID 2 /* 0 is reserved by the architecture, 1 by the Linux driver */

struct soft_vtd {
	struct soft_iommu iommu;
	struct vtd_hw *hw;
	struct tag_pool dids;
	bool strict_abi;
};

static struct soft_vtd *to_vtd(const struct soft_iommu *iommu)
{
	return container_of(iommu, struct soft_vtd, iommu);
}

static struct soft_vtd *vtd_of(const struct soft_device *dev)
{
	return to_vtd(dev->host->iommu);
}

/* --- what the unit can do ------------------------------------------------------------- */

static bool ecap_has_all(const struct soft_vtd *vtd, uint64_t bits)
{
	return (vtd_hw_ecap(vtd->hw) & bits) == bits;
}

static bool has_nesting(const struct soft_vtd *vtd)
{
	return ecap_has_all(vtd, VTD_ECAP_SMTS | VTD_ECAP_NEST | VTD_ECAP_SSTS);
}

static bool has_first_stage(const struct soft_vtd *vtd)
{
	return ecap_has_all(vtd, VTD_ECAP_SMTS | VTD_ECAP_FSTS);
}

static bool vtd_has_dirty_tracking(const struct soft_device *dev)
{
	return ecap_has_all(vtd_of(dev),
			    VTD_ECAP_SMTS | VTD_ECAP_SSADS | VTD_ECAP_SMPWCS | VTD_ECAP_SSTS);
}

static void vtd_hw_info(struct soft_iommu *iommu, union soft_hw_info *info)
{
	info->vtd = (struct iommu_hw_info_vtd){
		.flags = IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17,
		.cap_reg = vtd_hw_cap(to_vtd(iommu)->hw),
		.ecap_reg = vtd_hw_ecap(to_vtd(iommu)->hw),
	};
}

/* --- domain ids ----------------------------------------------------------------------- */

/* One more entry carries the DID of @hwpt. */
static int get_did(struct soft_vtd *vtd, struct soft_hwpt *hwpt)
{
	if (!hwpt->programmed) {
		int did = tag_pool_get(&vtd->dids);

		if (did < 0)
			return did;
		hwpt->tag = (uint32_t)did;
	}
	hwpt->programmed++;
	return 0;
}

/* The caller has flushed what the caches hold of the entry that carried the DID. */
static void put_did(struct soft_vtd *vtd, struct soft_hwpt *hwpt)
{
	if (!--hwpt->programmed)
		tag_pool_put(&vtd->dids, hwpt->tag);
}

static unsigned int vtd_tags_in_use(struct soft_iommu *iommu)
{
	return tag_pool_count(&to_vtd(iommu)->dids);
}

/* --- domains -------------------------------------------------------------------------- */

static int vtd_paging_init(const struct soft_device *dev, uint32_t flags,
			   struct soft_hwpt_paging *paging)
{
	struct soft_vtd *vtd = vtd_of(dev);

	if ((flags & IOMMU_HWPT_ALLOC_NEST_PARENT) && !has_nesting(vtd))
		return -EOPNOTSUPP;
	if (flags & (IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_DIRTY_TRACKING) ||
	    !has_first_stage(vtd))
		paging->aperture_last = SECOND_STAGE_LAST;
	else
		paging->aperture_last = vtd_hw_cap(vtd->hw) & VTD_CAP_FS5LP
						? FIRST_STAGE_5LEVEL_LAST
						: FIRST_STAGE_LAST;
	return 0;
}

/*
 * A nesting parent takes no read-only mapping, because the hardware would still write
 * accessed and dirty bits (erratum 772415, which the driver reports for every unit).
 */
static int vtd_check_map(const struct soft_hwpt_paging *paging, unsigned int perm)
{
	return paging->nest_parent && !(perm & RANGE_WRITE) ? -EINVAL : 0;
}

int soft_vtd_nested_init(const struct iommu_hwpt_alloc *cmd, struct soft_hwpt_nested *nested)
{
	struct iommu_hwpt_vtd_s1 s1;

	if (cmd->data_type != IOMMU_HWPT_DATA_VTD_S1)
		return -EOPNOTSUPP;
	if (cmd->data_len != sizeof(s1))
		return -EINVAL;
	if (soft_copy_from_user(&s1, soft_user_ptr(cmd->data_uptr), sizeof(s1)))
		return -EFAULT;
	nested->vtd = s1;
	return 0;
}

/* Linux has no type for it; see vtd_event.c. */
static const struct soft_viommu_ops *vtd_viommu_ops(const struct soft_device *dev, uint32_t type)
{
	if (vtd_of(dev)->strict_abi || type != X_IOMMU_VIOMMU_TYPE_INTEL_VTD)
		return NULL;
	return &soft_vtd_viommu_ops;
}

/* --- attachments ---------------------------------------------------------------------- */

static int make_nested_entry(const struct soft_vtd *vtd, const struct iommu_hwpt_vtd_s1 *s1,
			     struct vtd_hw_entry *entry)
{
	if (s1->addr_width != 48 &&
	    (s1->addr_width != 57 || !(vtd_hw_cap(vtd->hw) & VTD_CAP_FS5LP)))
		return -EINVAL;
	if ((s1->flags & IOMMU_VTD_S1_SRE) && !ecap_has_all(vtd, VTD_ECAP_SRS))
		return -EINVAL;
	if ((s1->flags & IOMMU_VTD_S1_EAFE) && !ecap_has_all(vtd, VTD_ECAP_EAFS))
		return -EINVAL;
	entry->pgtt = VTD_HW_NESTED;
	entry->fs_root = s1->pgtbl_addr;
	entry->fs_levels = s1->addr_width == 57 ? 5 : 4;
	entry->sre = s1->flags & IOMMU_VTD_S1_SRE;
	entry->wpe = entry->sre && (s1->flags & IOMMU_VTD_S1_WPE);
	entry->eafe = s1->flags & IOMMU_VTD_S1_EAFE;
	return 0;
}

static int make_entry(const struct soft_vtd *vtd, struct soft_hwpt *hwpt,
		      struct vtd_hw_entry *entry)
{
	struct soft_hwpt_paging *paging = soft_hwpt_to_paging(hwpt);

	*entry = (struct vtd_hw_entry){
		.pgtt = VTD_HW_SECOND_STAGE,
		.domain = soft_hwpt_name(hwpt),
		.s2 = &paging->ioas->areas,
		.dirty = paging->dirty_tracking ? &paging->dirty : NULL,
	};
	if (hwpt->obj.type != SOFT_HWPT_NESTED)
		return 0;
	return make_nested_entry(vtd, &container_of(hwpt, struct soft_hwpt_nested, hwpt)->vtd,
				 entry);
}

static int vtd_attach(struct soft_bound *bound, uint32_t pasid, struct soft_hwpt *hwpt)
{
	struct soft_vtd *vtd = vtd_of(bound->dev);
	struct vtd_hw_entry entry;
	int err = make_entry(vtd, hwpt, &entry);

	if (!err)
		err = get_did(vtd, hwpt);
	if (err)
		return err;
	entry.did = (uint16_t)hwpt->tag;
	entry.ats = bound->dev->has_ats;
	err = vtd_hw_set_entry(vtd->hw, bound->dev->rid, soft_unit_pasid(pasid), &entry);
	if (err)
		put_did(vtd, hwpt);
	return err;
}

static void vtd_detach(struct soft_bound *bound, uint32_t pasid)
{
	struct soft_vtd *vtd = vtd_of(bound->dev);

	if (vtd_hw_set_entry(vtd->hw, bound->dev->rid, soft_unit_pasid(pasid), NULL))
		log_error(vtd->iommu.log, "an entry could not be cleared");
}

static void vtd_forget(struct soft_bound *bound, uint32_t pasid, struct soft_hwpt *old)
{
	struct soft_vtd *vtd = vtd_of(bound->dev);

	vtd_hw_flush_iotlb(vtd->hw, (uint16_t)old->tag);
	put_did(vtd, old);
}

/* --- invalidation --------------------------------------------------------------------- */

static int check_entry(const struct iommu_hwpt_vtd_s1_invalidate *entry)
{
	if ((entry->flags & ~(uint32_t)IOMMU_VTD_INV_FLAGS_LEAF) || entry->__reserved)
		return -EOPNOTSUPP;
	if (!IS_ALIGNED(entry->addr, PAGE_SIZE_4K) || (entry->npages == UINT64_MAX && entry->addr))
		return -EINVAL;
	return 0;
}

static void remember(struct soft_vtd *vtd, const struct soft_hwpt *hwpt, uint64_t addr,
		     uint64_t npages, bool leaf)
{
	struct sanitizer_invalidation inv = { .of = soft_object_name(&hwpt->obj),
					      .asid = SANITIZER_ANY_ASID,
					      .start = addr,
					      .last = UINT64_MAX,
					      .leaf = leaf };

	if (npages <= (UINT64_MAX >> PAGE_SHIFT_4K) - (addr >> PAGE_SHIFT_4K))
		inv.last = addr + (npages << PAGE_SHIFT_4K) - 1;
	sanitizer_invalidated(vtd->iommu.host->sanitizer, &inv);
}

/*
 * The driver turns addr and npages into first and last byte, modulo 2^64, and flushes
 * from there; so a count that is 0 modulo 2^52 becomes the two pages around addr.
 */
static void flush_entry(struct soft_vtd *vtd, const struct soft_hwpt *hwpt,
			const struct iommu_hwpt_vtd_s1_invalidate *entry)
{
	uint64_t addr = entry->addr, npages = entry->npages;
	bool leaf = entry->flags & IOMMU_VTD_INV_FLAGS_LEAF;

	if (npages != UINT64_MAX) {
		npages &= UINT64_MAX >> PAGE_SHIFT_4K;
		if (!npages) {
			addr -= PAGE_SIZE_4K;
			npages = 2;
		}
	}
	if (vtd_hw_flush_pages(vtd->hw, (uint16_t)hwpt->tag, addr, npages, leaf))
		remember(vtd, hwpt, addr, npages, leaf);
}

enum { ENTRIES_AT_ONCE = 64 };

/* Up to ENTRIES_AT_ONCE entries; fewer if the array leaves what is mapped. */
static size_t read_entries(struct iommu_hwpt_vtd_s1_invalidate *to, uint64_t user, size_t count)
{
	if (!soft_copy_from_user(to, soft_user_ptr(user), count * sizeof(*to)))
		return count;
	for (size_t i = 0; i < count; i++)
		if (soft_copy_from_user(&to[i], soft_user_ptr(user + i * sizeof(*to)), sizeof(*to)))
			return i;
	return count;
}

/* An HWPT that no entry of the unit carries has nothing cached; its entries are checked
 * all the same. */
static int vtd_nested_invalidate(struct soft_iommu *iommu, struct soft_hwpt_nested *nested,
				 const struct iommu_hwpt_invalidate *cmd, uint32_t *done)
{
	struct iommu_hwpt_vtd_s1_invalidate entries[ENTRIES_AT_ONCE];
	int err;

	if (cmd->data_type != IOMMU_HWPT_INVALIDATE_DATA_VTD_S1)
		return -EINVAL;
	if (cmd->entry_num && cmd->entry_len != sizeof(entries[0]))
		return -EINVAL;
	while (*done < cmd->entry_num) {
		size_t want = MIN(cmd->entry_num - *done, (uint32_t)ENTRIES_AT_ONCE);
		size_t got = read_entries(
			entries, cmd->data_uptr + (uint64_t)*done * sizeof(entries[0]), want);

		for (size_t i = 0; i < got; i++) {
			err = check_entry(&entries[i]);
			if (err)
				return err;
			if (nested->hwpt.programmed)
				flush_entry(to_vtd(iommu), &nested->hwpt, &entries[i]);
			++*done;
		}
		if (got < want)
			return -EFAULT;
	}
	return 0;
}

/* --- the unit ------------------------------------------------------------------------- */

static void vtd_map_begin(struct soft_iommu *iommu)
{
	vtd_hw_map_begin(to_vtd(iommu)->hw);
}

static void vtd_map_end(struct soft_iommu *iommu, bool flush)
{
	vtd_hw_map_end(to_vtd(iommu)->hw, flush);
}

static int vtd_dma(struct soft_device *dev, const struct endpoint_dma_request *req)
{
	return vtd_hw_dma(vtd_of(dev)->hw, dev->rid, req);
}

static int vtd_translate(struct soft_device *dev, const struct endpoint_ats_request *req,
			 struct endpoint_ats_reply *reply)
{
	return vtd_hw_translate(vtd_of(dev)->hw, dev->rid, req, reply);
}

static void vtd_ats_invalidate(void *opaque, nst_rid rid, uint32_t pasid, uint64_t iova,
			       uint64_t last)
{
	soft_ats_invalidate(opaque, rid, pasid, iova, last);
}

static void vtd_get_stats(struct soft_iommu *iommu, struct nst_soft_stats *stats)
{
	vtd_hw_get_stats(to_vtd(iommu)->hw, stats);
}

static void vtd_drop_invalidation(struct soft_iommu *iommu, uint64_t after_dma_write_bytes)
{
	vtd_hw_drop_invalidation(to_vtd(iommu)->hw, after_dma_write_bytes);
}

static void vtd_destroy(struct soft_iommu *iommu)
{
	struct soft_vtd *vtd = to_vtd(iommu);

	vtd_hw_destroy(vtd->hw);
	tag_pool_fini(&vtd->dids);
	free(vtd);
}

static const struct soft_iommu_ops vtd_ops = {
	.destroy = vtd_destroy,
	.hw_info_type = IOMMU_HW_INFO_TYPE_INTEL_VTD,
	.hw_info_size = sizeof(struct iommu_hw_info_vtd),
	.hw_info = vtd_hw_info,
	.has_dirty_tracking = vtd_has_dirty_tracking,
	.windows = { { 0xfee00000, 0xfeefffff } }, /* interrupts of x86 */
	.paging_init = vtd_paging_init,
	.check_map = vtd_check_map,
	.nested_init = soft_vtd_nested_init,
	.nested_invalidate = vtd_nested_invalidate,
	.viommu_ops = vtd_viommu_ops,
	.faults_need_pri = true,
	.pasid_fault_flags = PGFAULT_FLAGS_NEEDS_PASID,
	.attach = vtd_attach,
	.detach = vtd_detach,
	.forget = vtd_forget,
	.tags_in_use = vtd_tags_in_use,
	.map_begin = vtd_map_begin,
	.map_end = vtd_map_end,
	.has_ats = true,
	.has_pri = true,
	.dma = vtd_dma,
	.translate = vtd_translate,
	.get_stats = vtd_get_stats,
	.drop_invalidation = vtd_drop_invalidation,
};

int soft_vtd_create(const struct nst_soft_config *config, struct soft_host *host,
		    struct soft_iommu **out)
{
	struct vtd_hw_config hw = { .log = config->log,
				    .check = config->check,
				    .sanitizer = host->sanitizer,
				    .ats_invalidate = vtd_ats_invalidate,
				    .fault = soft_vtd_report_fault,
				    .opaque = host };
	struct soft_vtd *vtd = alloc_object(struct soft_vtd);
	int err;

	if (!vtd)
		return -ENOMEM;
	err = vtd_hw_create(&hw, &vtd->hw);
	if (err) {
		free(vtd);
		return err;
	}
	vtd->iommu.ops = &vtd_ops;
	vtd->iommu.log = config->log;
	vtd->iommu.host = host;
	vtd->strict_abi = config->strict_abi;
	tag_pool_init(&vtd->dids, FIRST_DID);
	*out = &vtd->iommu;
	return 0;
}
