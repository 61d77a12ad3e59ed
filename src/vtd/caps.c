// SPDX-License-Identifier: BSD-3-Clause
/*
 * What the unit offers. It begins with the values of QEMU 11.1's
 * "intel-iommu,scalable-mode=on,fsts=on", so that a guest sees the unit it knows, and
 * differs where the unit can do better:
 *
 *	CM	unless the VMM says otherwise (QEMU: an option that passthrough needs)
 *	NFR	8 fault recording registers (QEMU: 1)
 *	C, SMPWCS	tables are read coherently, so the guest need not flush its caches for us
 *	SRS, EAFS	as the host has them
 *	PASID, PSS	as the host has them, up to 20 bits (QEMU: an option)
 *	DT	as the host has it: device TLBs are the host's to keep right
 *	PRS, PDS	as the host has PRS: page requests come from its fault queue
 *	RPS	any PASID can be that of plain requests
 *	IRO	0xf00 (QEMU: 0xf0)
 *	IR, EIM, PI, MHMV	only if the VMM asks for them (ir.c)
 *	SC	not offered
 *
 * Caching mode (VT-d 4.1 s6.1 Caching Mode) says that entries which are not present are
 * cached too. That is what reconciling does: a device whose entry is absent is BLOCKED
 * until an invalidation makes us look again, so a guest that makes an entry present must
 * send one. In scalable mode it costs nothing per mapping: Linux invalidates at map time,
 * and gives up lazy flushing, for second-stage domains only. Those it has in legacy mode,
 * and there it is what lets their tables be shadowed. Emulated devices need none of this: what
 * the unit caches for them is present (translate.h).
 */
#include "vtd/unit.h"

#include "spec/vtd_caps.h"

#include <errno.h>

/* Offered only if every host IOMMU has them. */
#define HOST_CAP VTD_CAP_FS1GP
#define HOST_CAP_OPTIONAL VTD_CAP_FS5LP
#define HOST_ECAP                                                                        \
	(VTD_ECAP_SRS | VTD_ECAP_EAFS | VTD_ECAP_SMPWCS | VTD_ECAP_DT | VTD_ECAP_PASID | \
	 VTD_ECAP_PRS)

enum { MAX_PASID_BITS = 20 };

static void add_features(unsigned int features, uint64_t *cap, uint64_t *ecap)
{
	if (features & NST_VTD_SECOND_STAGE)
		*ecap |= VTD_ECAP_SSTS;
	if (features & NST_VTD_NESTED)
		*ecap |= VTD_ECAP_SSTS | VTD_ECAP_NEST;
	if (features & NST_VTD_FIVE_LEVEL)
		*cap |= VTD_CAP_FS5LP;
	if (features & NST_VTD_NO_CACHING_MODE)
		*cap &= ~VTD_CAP_CM;
}

void vtd_caps_default(unsigned int features, uint64_t *cap, uint64_t *ecap)
{
	*cap = FIELD_PREP(VTD_CAP_ND, 6) | VTD_CAP_CM | VTD_CAP_SAGAW_39 | VTD_CAP_SAGAW_48 |
	       FIELD_PREP(VTD_CAP_MGAW, 47) | FIELD_PREP(VTD_CAP_FRO, VTD_FRCD_OFFSET / 16) |
	       VTD_CAP_SSLPS_2M | VTD_CAP_SSLPS_1G | VTD_CAP_PSI |
	       FIELD_PREP(VTD_CAP_NFR, VTD_FRCD_COUNT - 1) | FIELD_PREP(VTD_CAP_MAMV, 18) |
	       VTD_CAP_DWD | VTD_CAP_DRD | VTD_CAP_ESRTPS | HOST_CAP;
	*ecap = VTD_ECAP_C | VTD_ECAP_QI | VTD_ECAP_PT |
		FIELD_PREP(VTD_ECAP_IRO, VTD_IRO_OFFSET / 16) | VTD_ECAP_SMTS | VTD_ECAP_FSTS |
		VTD_ECAP_RPS | VTD_ECAP_PDS | FIELD_PREP(VTD_ECAP_PSS, MAX_PASID_BITS - 1) |
		HOST_ECAP;
	add_features(features, cap, ecap);
}

unsigned int vtd_caps_pasid_bits(uint64_t ecap)
{
	return ecap & VTD_ECAP_PASID ? (unsigned int)FIELD_GET(VTD_ECAP_PSS, ecap) + 1 : 0;
}

int vtd_caps_narrow(const struct iommufd_hw_info *host, uint64_t *cap, uint64_t *ecap,
		    const char **why)
{
	uint64_t host_cap = host->vtd.cap_reg, host_ecap = host->vtd.ecap_reg;
	unsigned int pasid_bits;

	if (host->type != IOMMU_HW_INFO_TYPE_INTEL_VTD) {
		*why = "its host IOMMU is not an Intel VT-d";
		return -EOPNOTSUPP;
	}
	if (!(host_ecap & VTD_ECAP_SMTS) || !(host_ecap & VTD_ECAP_FSTS) ||
	    !(host_ecap & VTD_ECAP_NEST)) {
		*why = "its host IOMMU has no nested translation in scalable mode";
		return -EOPNOTSUPP;
	}
	if (*ecap & VTD_EMULATED_ECAP) {
		*why = "the unit offers second-stage tables, which a host cannot nest on its own";
		return -EOPNOTSUPP;
	}
	if (!(*cap & VTD_CAP_CM)) {
		*why = "the unit has no caching mode: it would not hear of what becomes present";
		return -EOPNOTSUPP;
	}
	*cap &= host_cap | ~(HOST_CAP | HOST_CAP_OPTIONAL);
	*ecap &= host_ecap | ~HOST_ECAP;
	if (!(*ecap & VTD_ECAP_PRS)) /* nothing to drain */
		*ecap &= ~VTD_ECAP_PDS;
	pasid_bits = MIN(vtd_caps_pasid_bits(*ecap), vtd_caps_pasid_bits(host_ecap));
	*ecap &= ~VTD_ECAP_PSS;
	if (pasid_bits)
		*ecap |= FIELD_PREP(VTD_ECAP_PSS, pasid_bits - 1);
	return 0;
}
