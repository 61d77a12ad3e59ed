// SPDX-License-Identifier: BSD-3-Clause
/*
 * The AMD driver as personality of the host: what Linux 7.2 lets a program have of it, which
 * is domains of the host's own. Nested ones it knows of, but none can be made: its vIOMMUs
 * have no operations yet. They are refused here as there.
 *
 * Domains have either format 1 (64-bit addresses; dirty bits; may be a nesting parent) or
 * format 2 (for PASIDs), never both, and neither can be attached to a PASID: the driver does
 * that for shared virtual addressing only.
 *
 * There is no model of the hardware: a domain is one level of translation, which the
 * second stage of vtd_hw.h is too. So reasons of faults in reports are VT-d's.
 *
 * Order of checks and error codes: Linux 7.2 drivers/iommu/amd/{iommu,iommufd}.c.
 */
#include "host/soft/hwpt.h"
#include "host/soft/tag_pool.h"
#include "host/soft/vfio/device.h"
#include "host/soft/viommu.h"
#include "host/soft/vtd/vtd_hw.h"

#include <errno.h>

#define FORMAT_1_LAST UINT64_MAX
#define FORMAT_2_LAST ((1ULL << 47) - 1)
#define FIRST_DOMAIN_ID 1

/* Extended feature registers, by the names of Linux 7.2 drivers/iommu/amd/amd_iommu_types.h. */
#define EFR_PREFETCH BIT64(0)
#define EFR_X2APIC BIT64(2)
#define EFR_GT BIT64(4)
#define EFR_IA BIT64(6)
#define EFR_GA BIT64(7)
#define EFR_HE BIT64(8)
#define EFR_HATS GENMASK64(11, 10)
#define EFR_GATS GENMASK64(13, 12)
#define EFR_GLX GENMASK64(15, 14)
#define EFR_PASMAX GENMASK64(36, 32)
#define EFR_GIOSUP BIT64(48)
#define EFR_HASUP BIT64(49)
#define EFR_HDSUP BIT64(52)
#define EFR2_GCR3TRPMODE BIT64(3)

struct soft_amd {
	struct soft_iommu iommu;
	struct vtd_hw *hw;
	struct tag_pool ids;
};

static struct soft_amd *to_amd(const struct soft_iommu *iommu)
{
	return container_of(iommu, struct soft_amd, iommu);
}

static struct soft_amd *amd_of(const struct soft_device *dev)
{
	return to_amd(dev->host->iommu);
}

static void amd_hw_info(struct soft_iommu *iommu, union soft_hw_info *info)
{
	info->amd = (struct iommu_hw_info_amd){
		.efr = EFR_PREFETCH | EFR_X2APIC | EFR_GT | EFR_IA | EFR_GA | EFR_HE |
		       FIELD_PREP(EFR_HATS, 2) | FIELD_PREP(EFR_GATS, 0) | FIELD_PREP(EFR_GLX, 2) |
		       FIELD_PREP(EFR_PASMAX, 19) | EFR_GIOSUP | EFR_HASUP | EFR_HDSUP,
		.efr2 = EFR2_GCR3TRPMODE,
	};
}

static bool amd_has_dirty_tracking(const struct soft_device *dev)
{
	return true;
}

/* --- domains -------------------------------------------------------------------------- */

static int amd_paging_init(const struct soft_device *dev, uint32_t flags,
			   struct soft_hwpt_paging *paging)
{
	int id;

	if ((flags & IOMMU_HWPT_ALLOC_PASID) && flags != IOMMU_HWPT_ALLOC_PASID)
		return -EOPNOTSUPP;
	id = tag_pool_get(&amd_of(dev)->ids);
	if (id < 0)
		return id;
	paging->hwpt.tag = (uint32_t)id;
	paging->aperture_last = flags & IOMMU_HWPT_ALLOC_PASID ? FORMAT_2_LAST : FORMAT_1_LAST;
	return 0;
}

static void amd_paging_fini(struct soft_iommu *iommu, struct soft_hwpt_paging *paging)
{
	vtd_hw_flush_domain(to_amd(iommu)->hw, (uint16_t)paging->hwpt.tag);
	tag_pool_put(&to_amd(iommu)->ids, paging->hwpt.tag);
}

static int amd_check_map(const struct soft_hwpt_paging *paging, unsigned int perm)
{
	return 0;
}

static unsigned int amd_tags_in_use(struct soft_iommu *iommu)
{
	return tag_pool_count(&to_amd(iommu)->ids);
}

/* --- vIOMMUs: of any type, and good for nothing ------------------------------------------ */

static const struct soft_viommu_ops amd_viommu = {
	.size = sizeof(struct soft_viommu),
	.virt_id_last = UINT64_MAX,
};

static const struct soft_viommu_ops *amd_viommu_ops(const struct soft_device *dev, uint32_t type)
{
	return &amd_viommu;
}

/* --- attachments ---------------------------------------------------------------------- */

static int amd_attach(struct soft_bound *bound, uint32_t pasid, struct soft_hwpt *hwpt)
{
	struct soft_hwpt_paging *paging = soft_hwpt_to_paging(hwpt);
	struct vtd_hw_entry entry = {
		.pgtt = VTD_HW_SECOND_STAGE,
		.did = (uint16_t)hwpt->tag,
		.domain = soft_hwpt_name(hwpt),
		.s2 = &paging->ioas->areas,
		.dirty = paging->dirty_tracking ? &paging->dirty : NULL,
		.ats = bound->dev->has_ats,
	};

	if (pasid != SOFT_RID_PASID)
		return -EOPNOTSUPP;
	return vtd_hw_set_entry(amd_of(bound->dev)->hw, bound->dev->rid, NST_NO_PASID, &entry);
}

static void amd_detach(struct soft_bound *bound, uint32_t pasid)
{
	struct soft_amd *amd = amd_of(bound->dev);

	if (vtd_hw_set_entry(amd->hw, bound->dev->rid, soft_unit_pasid(pasid), NULL))
		log_error(amd->iommu.log, "soft: an entry could not be cleared");
}

/* The id stays the domain's, and so do translations with it. */
static void amd_forget(struct soft_bound *bound, uint32_t pasid, struct soft_hwpt *old)
{
}

/* --- the unit ------------------------------------------------------------------------- */

static void amd_map_begin(struct soft_iommu *iommu)
{
	vtd_hw_map_begin(to_amd(iommu)->hw);
}

static void amd_map_end(struct soft_iommu *iommu, bool flush)
{
	vtd_hw_map_end(to_amd(iommu)->hw, flush);
}

static int amd_dma(struct soft_device *dev, const struct endpoint_dma_request *req)
{
	return vtd_hw_dma(amd_of(dev)->hw, dev->rid, req);
}

static int amd_translate(struct soft_device *dev, const struct endpoint_ats_request *req,
			 struct endpoint_ats_reply *reply)
{
	return vtd_hw_translate(amd_of(dev)->hw, dev->rid, req, reply);
}

static void amd_ats_invalidate(void *opaque, nst_rid rid, uint32_t pasid, uint64_t iova,
			       uint64_t last)
{
	soft_ats_invalidate(opaque, rid, pasid, iova, last);
}

static void amd_get_stats(struct soft_iommu *iommu, struct nst_soft_stats *stats)
{
	vtd_hw_get_stats(to_amd(iommu)->hw, stats);
}

static void amd_drop_invalidation(struct soft_iommu *iommu, uint64_t after_dma_write_bytes)
{
	vtd_hw_drop_invalidation(to_amd(iommu)->hw, after_dma_write_bytes);
}

static void amd_destroy(struct soft_iommu *iommu)
{
	struct soft_amd *amd = to_amd(iommu);

	vtd_hw_destroy(amd->hw);
	tag_pool_fini(&amd->ids);
	free(amd);
}

static const struct soft_iommu_ops amd_ops = {
	.destroy = amd_destroy,
	.hw_info_type = IOMMU_HW_INFO_TYPE_AMD,
	.hw_info_size = sizeof(struct iommu_hw_info_amd),
	.hw_info = amd_hw_info,
	.has_dirty_tracking = amd_has_dirty_tracking,
	.has_ats = true,
	.windows = { { 0xfee00000, 0xfeefffff },
		     { 0xfd00000000, 0xffffffffff } }, /* and HyperTransport */
	.paging_init = amd_paging_init,
	.paging_fini = amd_paging_fini,
	.check_map = amd_check_map,
	.viommu_ops = amd_viommu_ops,
	.attach = amd_attach,
	.detach = amd_detach,
	.forget = amd_forget,
	.tags_in_use = amd_tags_in_use,
	.map_begin = amd_map_begin,
	.map_end = amd_map_end,
	.dma = amd_dma,
	.translate = amd_translate,
	.get_stats = amd_get_stats,
	.drop_invalidation = amd_drop_invalidation,
};

int soft_amd_create(const struct nst_soft_config *config, struct soft_host *host,
		    struct soft_iommu **out)
{
	struct vtd_hw_config hw = { .log = config->log,
				    .check = config->check,
				    .sanitizer = host->sanitizer,
				    .ats_invalidate = amd_ats_invalidate,
				    .opaque = host };
	struct soft_amd *amd = alloc_object(struct soft_amd);
	int err;

	if (!amd)
		return -ENOMEM;
	err = vtd_hw_create(&hw, &amd->hw);
	if (err) {
		free(amd);
		return err;
	}
	amd->iommu.ops = &amd_ops;
	amd->iommu.log = config->log;
	amd->iommu.host = host;
	tag_pool_init(&amd->ids, FIRST_DOMAIN_ID);
	*out = &amd->iommu;
	return 0;
}
