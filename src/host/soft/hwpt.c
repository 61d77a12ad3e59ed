// SPDX-License-Identifier: BSD-3-Clause
/*
 * Hardware page tables with the Intel VT-d driver as personality: which kinds of
 * domain there are, what each is refused for, and domain ids.
 *
 * A plain domain is a first-stage one in the driver (48 bits, of which the upper half
 * is not canonical: 47 usable); a nesting parent is second stage with all 48. In the
 * software unit both are one level of translation, the map of the IOAS.
 *
 * Order of checks and error codes: Linux 7.2 drivers/iommu/iommufd/hw_pagetable.c and
 * drivers/iommu/intel/iommu.c.
 */
#include "host/soft/soft.h"
#include "spec/vtd_caps.h"

#include <errno.h>

#define SECOND_STAGE_LAST ((1ULL << 48) - 1)
#define FIRST_STAGE_LAST ((1ULL << 47) - 1)
#define FIRST_STAGE_5LEVEL_LAST ((1ULL << 56) - 1)

#define PAGING_FLAGS                                                      \
	(IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_DIRTY_TRACKING | \
	 IOMMU_HWPT_FAULT_ID_VALID | IOMMU_HWPT_ALLOC_PASID)

/* --- what the unit can do ------------------------------------------------------------- */

static bool ecap_has_all(const struct soft_host *host, uint64_t bits)
{
	return (vtd_hw_ecap(host->vtd) & bits) == bits;
}

bool soft_vtd_has_nesting(const struct soft_host *host)
{
	return ecap_has_all(host, VTD_ECAP_SMTS | VTD_ECAP_NEST | VTD_ECAP_SSTS);
}

bool soft_vtd_has_dirty_tracking(const struct soft_host *host)
{
	return ecap_has_all(host, VTD_ECAP_SMTS | VTD_ECAP_SSADS | VTD_ECAP_SMPWCS | VTD_ECAP_SSTS);
}

static bool has_first_stage(const struct soft_host *host)
{
	return ecap_has_all(host, VTD_ECAP_SMTS | VTD_ECAP_FSTS);
}

/* --- domain ids ----------------------------------------------------------------------- */

int soft_hwpt_get_did(struct soft_host *host, struct soft_hwpt *hwpt)
{
	int err = -ENOSPC;

	if (hwpt->programmed) {
		hwpt->programmed++;
		return 0;
	}
	mutex_lock(&host->did_lock);
	for (unsigned int word = 0; word < ARRAY_SIZE(host->dids) && err; word++) {
		unsigned int bit;

		if (host->dids[word] == UINT64_MAX)
			continue;
		bit = (unsigned int)__builtin_ctzll(~host->dids[word]);
		host->dids[word] |= BIT64(bit);
		hwpt->did = (uint16_t)(64 * word + bit);
		err = 0;
	}
	mutex_unlock(&host->did_lock);
	if (!err)
		hwpt->programmed = 1;
	return err;
}

/* The caller has flushed what the caches hold of the entry that carried the DID. */
void soft_hwpt_put_did(struct soft_host *host, struct soft_hwpt *hwpt)
{
	if (--hwpt->programmed)
		return;
	mutex_lock(&host->did_lock);
	host->dids[hwpt->did / 64] &= ~BIT64(hwpt->did % 64);
	mutex_unlock(&host->did_lock);
}

/* --- kinds of object ------------------------------------------------------------------ */

struct soft_hwpt *soft_object_to_hwpt(struct soft_object *obj)
{
	if (obj->type != SOFT_HWPT_PAGING && obj->type != SOFT_HWPT_NESTED)
		return NULL;
	return container_of(obj, struct soft_hwpt, obj);
}

struct soft_hwpt_paging *soft_hwpt_to_paging(struct soft_hwpt *hwpt)
{
	if (hwpt->obj.type == SOFT_HWPT_NESTED)
		return container_of(hwpt, struct soft_hwpt_nested, hwpt)->parent;
	return container_of(hwpt, struct soft_hwpt_paging, hwpt);
}

int soft_hwpt_make_entry(const struct soft_host *host, struct soft_hwpt *hwpt,
			 struct vtd_hw_entry *entry)
{
	const struct iommu_hwpt_vtd_s1 *s1;
	struct soft_hwpt_paging *paging = soft_hwpt_to_paging(hwpt);
	struct vtd_hw_entry made = { .pgtt = VTD_HW_SECOND_STAGE,
				     .s2 = &paging->ioas->areas,
				     .dirty = paging->dirty_tracking ? &paging->dirty : NULL };

	if (hwpt->obj.type == SOFT_HWPT_NESTED) {
		s1 = &container_of(hwpt, struct soft_hwpt_nested, hwpt)->s1;
		if (s1->addr_width != 48 &&
		    (s1->addr_width != 57 || !(vtd_hw_cap(host->vtd) & VTD_CAP_FS5LP)))
			return -EINVAL;
		if ((s1->flags & IOMMU_VTD_S1_SRE) && !ecap_has_all(host, VTD_ECAP_SRS))
			return -EINVAL;
		if ((s1->flags & IOMMU_VTD_S1_EAFE) && !ecap_has_all(host, VTD_ECAP_EAFS))
			return -EINVAL;
		made.pgtt = VTD_HW_NESTED;
		made.fs_root = s1->pgtbl_addr;
		made.fs_levels = s1->addr_width == 57 ? 5 : 4;
		made.sre = s1->flags & IOMMU_VTD_S1_SRE;
		made.wpe = made.sre && (s1->flags & IOMMU_VTD_S1_WPE);
		made.eafe = s1->flags & IOMMU_VTD_S1_EAFE;
	}
	*entry = made;
	return 0;
}

/* --- paging domains ------------------------------------------------------------------- */

/* The driver's part: which kind of domain @flags ask for. */
static int init_domain(const struct soft_host *host, uint32_t flags,
		       struct soft_hwpt_paging *paging)
{
	if ((flags & IOMMU_HWPT_ALLOC_NEST_PARENT) && !soft_vtd_has_nesting(host))
		return -EOPNOTSUPP;
	if (flags & (IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_DIRTY_TRACKING) ||
	    !has_first_stage(host))
		paging->aperture_last = SECOND_STAGE_LAST;
	else
		paging->aperture_last = vtd_hw_cap(host->vtd) & VTD_CAP_FS5LP
						? FIRST_STAGE_5LEVEL_LAST
						: FIRST_STAGE_LAST;
	paging->nest_parent = flags & IOMMU_HWPT_ALLOC_NEST_PARENT;
	paging->dirty_tracking = flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
	paging->hwpt.pasid_compat = flags & IOMMU_HWPT_ALLOC_PASID;
	return 0;
}

int soft_hwpt_paging_alloc(struct soft_ctx *ctx, struct soft_ioas *ioas, uint32_t flags,
			   struct soft_hwpt_paging **out)
{
	struct soft_hwpt_paging *paging;
	int err;

	paging = soft_object_reserve(ctx, sizeof(*paging), SOFT_HWPT_PAGING);
	if (!paging)
		return -ENOMEM;
	paging->ioas = ioas;
	err = init_domain(ctx->file.host, flags, paging);
	if (!err)
		err = soft_ioas_add_domain(ioas, paging);
	if (err) {
		soft_object_abort(ctx, &paging->hwpt.obj);
		return err;
	}
	ioas->obj.users++;
	*out = paging;
	return 0;
}

void soft_hwpt_paging_abort(struct soft_ctx *ctx, struct soft_hwpt_paging *paging)
{
	soft_ioas_remove_domain(paging->ioas, paging);
	paging->ioas->obj.users--;
	soft_object_abort(ctx, &paging->hwpt.obj);
}

void soft_hwpt_paging_destroy(struct soft_ctx *ctx, struct soft_object *obj)
{
	struct soft_hwpt_paging *paging = container_of(obj, struct soft_hwpt_paging, hwpt.obj);

	soft_hwpt_put_fault(&paging->hwpt);
	soft_ioas_remove_domain(paging->ioas, paging);
	paging->ioas->obj.users--;
	free(paging);
}

/* --- IOMMU_HWPT_ALLOC ----------------------------------------------------------------- */

static int alloc_on_ioas(struct soft_ctx *ctx, struct soft_ioas *ioas,
			 const struct iommu_hwpt_alloc *cmd, struct soft_hwpt **out)
	REQUIRES(&ctx->lock)
{
	struct soft_hwpt_paging *paging;
	int err;

	if (cmd->flags & ~(uint32_t)PAGING_FLAGS)
		return -EOPNOTSUPP;
	if ((cmd->flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING) &&
	    !soft_vtd_has_dirty_tracking(ctx->file.host))
		return -EOPNOTSUPP;
	if ((cmd->flags & IOMMU_HWPT_FAULT_ID_VALID) && (cmd->flags & IOMMU_HWPT_ALLOC_NEST_PARENT))
		return -EOPNOTSUPP;
	if (cmd->data_len) /* the driver knows no data for a paging domain */
		return -EOPNOTSUPP;
	err = soft_hwpt_paging_alloc(ctx, ioas, cmd->flags, &paging);
	if (!err)
		*out = &paging->hwpt;
	return err;
}

static int alloc_on_parent(struct soft_ctx *ctx, struct soft_hwpt_paging *parent,
			   const struct iommu_hwpt_alloc *cmd, struct soft_hwpt **out)
	REQUIRES(&ctx->lock)
{
	struct soft_hwpt_nested *nested;
	int err;

	if ((cmd->flags & ~(uint32_t)(IOMMU_HWPT_FAULT_ID_VALID | IOMMU_HWPT_ALLOC_PASID)) ||
	    !cmd->data_len || !soft_vtd_has_nesting(ctx->file.host))
		return -EOPNOTSUPP;
	if (parent->auto_domain || !parent->nest_parent)
		return -EINVAL;
	err = soft_hwpt_nested_alloc(ctx, parent, cmd, &nested);
	if (!err)
		*out = &nested->hwpt;
	return err;
}

static void abort_hwpt(struct soft_ctx *ctx, struct soft_hwpt *hwpt) REQUIRES(&ctx->lock)
{
	if (hwpt->obj.type == SOFT_HWPT_NESTED)
		soft_hwpt_nested_abort(ctx, container_of(hwpt, struct soft_hwpt_nested, hwpt));
	else
		soft_hwpt_paging_abort(ctx, container_of(hwpt, struct soft_hwpt_paging, hwpt));
}

/* Step 5 and the rest of the reference: what @pt is decides what is made. */
static int alloc_on(struct soft_ctx *ctx, struct soft_object *pt,
		    const struct iommu_hwpt_alloc *cmd, struct soft_hwpt **out) REQUIRES(&ctx->lock)
{
	switch (pt->type) {
	case SOFT_IOAS:
		return alloc_on_ioas(ctx, container_of(pt, struct soft_ioas, obj), cmd, out);
	case SOFT_HWPT_PAGING:
		return alloc_on_parent(ctx, container_of(pt, struct soft_hwpt_paging, hwpt.obj),
				       cmd, out);
	default:
		return -EINVAL;
	}
}

int soft_hwpt_alloc_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	struct iommu_hwpt_alloc *cmd = ucmd->cmd;
	struct soft_hwpt *hwpt = NULL;
	struct soft_object *pt;
	int err;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	if ((cmd->data_type == IOMMU_HWPT_DATA_NONE) != !cmd->data_len)
		return -EINVAL;
	if (!soft_device_find(ctx, cmd->dev_id))
		return -ENOENT;
	pt = soft_object_find(ctx, cmd->pt_id, SOFT_ANY);
	if (!pt)
		return -EINVAL;
	err = alloc_on(ctx, pt, cmd, &hwpt);
	if (err)
		return err;
	cmd->out_hwpt_id = hwpt->obj.id;
	if (cmd->flags & IOMMU_HWPT_FAULT_ID_VALID)
		err = soft_hwpt_hold_fault(ctx, hwpt, cmd->fault_id);
	if (!err)
		err = soft_ucmd_respond(ucmd);
	if (err) {
		soft_hwpt_put_fault(hwpt);
		abort_hwpt(ctx, hwpt);
		return err;
	}
	soft_object_finalize(ctx, &hwpt->obj);
	if (hwpt->obj.type == SOFT_HWPT_NESTED)
		atomic_fetch_add(&ctx->file.host->nested_hwpts, 1);
	return 0;
}
