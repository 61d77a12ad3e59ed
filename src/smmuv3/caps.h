/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a unit offers in its identification registers, and what is left of that with the
 * host IOMMUs of its devices: SMMUv3 IHI0070G.b s6.3.1 to s6.3.8.
 */
#ifndef SMMUV3_CAPS_H
#define SMMUV3_CAPS_H

#include "iommufd/iommufd.h"
#include "smmuv3/regs.h"

#include <nestor/viommu.h>

/* Transactions that wait at a time: IDR5.STALL_MAX. */
enum { SMMU_STALL_MAX = 256 };

/* -EINVAL: @config asks for what no unit is. */
NST_MUST_CHECK int smmu_idr_default(const struct nst_smmuv3_config *config, struct smmu_idr *idr);

/* -EOPNOTSUPP and a sentence in *@why if @host cannot carry the unit at all. */
NST_MUST_CHECK int smmu_idr_narrow(const struct iommufd_hw_info *host, struct smmu_idr *idr,
				   const char **why);

bool smmu_idr_equal(const struct smmu_idr *a, const struct smmu_idr *b);

/* Bits of a StreamID, of a SubstreamID (0: none), and of an address. */
unsigned int smmu_idr_sid_bits(const struct smmu_idr *idr);
unsigned int smmu_idr_ssid_bits(const struct smmu_idr *idr);
/* May faults stall? */
bool smmu_idr_stalls(const struct smmu_idr *idr);
unsigned int smmu_idr_address_bits(const struct smmu_idr *idr);

#endif
