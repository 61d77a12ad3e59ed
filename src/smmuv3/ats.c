// SPDX-License-Identifier: BSD-3-Clause
/*
 * Translation Requests of emulated devices: SMMUv3 IHI0070G.b s3.9 Support for PCI Express, PASIDs,
 * PRI, and ATS. viommu/ats.h has what does not depend on the unit.
 *
 * A translation that allows nothing says "not there (yet)", and is no fault. Unsupported Request:
 * the device may not ask (EATS), its stream has no translation, the unit is off. Completer Abort: a
 * structure on the way cannot be read, or is wrong. Of all this the guest is told that a device
 * asks that may not (F_BAD_ATS_TREQ) alone: CR2.REC_CFG_ATS, which would have it told of
 * structures, is not there.
 */
#include "smmuv3/unit.h"

#include "viommu/ats.h"

static enum nst_ats_status status_of(enum smmu_event_type type)
{
	switch (type) {
	case SMMU_F_STE_FETCH:
	case SMMU_C_BAD_STE:
	case SMMU_F_CD_FETCH:
	case SMMU_C_BAD_CD:
	case SMMU_F_WALK_EABT:
		return NST_ATS_COMPLETER_ABORT;
	default:
		return NST_ATS_UNSUPPORTED_REQUEST;
	}
}

static void report(struct smmu_unit *u, const struct nst_translate_request *req)
{
	const struct smmu_fault fault = {
		.type = SMMU_F_BAD_ATS_TREQ,
		.sid = req->rid,
		.ssid = req->pasid,
		.address = req->iova.v,
	};

	smmu_fault_post(u, &fault);
}

static int find_page(void *unit, struct nst_translate_request *req, bool write,
		     struct nst_ats_entry *entry, enum nst_ats_status *status)
{
	struct smmu_unit *u = unit;
	enum smmu_event_type type;
	int ret;

	req->write = write;
	ret = smmu_xlate_ats(u, req, entry, &type);
	if (!ret && write && smmu_event_is_translation(type)) {
		req->write = false;
		ret = smmu_xlate_ats(u, req, entry, &type);
	}
	if (ret)
		return ret;
	*status = NST_ATS_SUCCESS;
	if (smmu_event_is_translation(type))
		*entry = (struct nst_ats_entry){ .size = PAGE_SIZE_4K };
	else if (type)
		*status = status_of(type);
	if (type == SMMU_F_BAD_ATS_TREQ)
		report(u, req);
	return 0;
}

int smmu_ats_translate(struct nst_viommu *viommu, const struct nst_ats_request *req,
		       struct nst_ats_entry *entries, unsigned int max, unsigned int *count,
		       enum nst_ats_status *status)
{
	return ats_translate(find_page, to_smmu_unit(viommu), req, entries, max, count, status);
}
