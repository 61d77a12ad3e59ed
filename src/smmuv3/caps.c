// SPDX-License-Identifier: BSD-3-Clause
/*
 * See caps.h. Without options the values are those of QEMU 11.1's stage 1 "arm-smmuv3", so
 * that a guest sees the unit it knows; each option adds one thing:
 *
 *	MSI		send_msi is there (QEMU: wired interrupts only)
 *	SSIDSIZE, CD2L	ssid_bits (QEMU: with accel only, and no CD2L)
 *	ATS, NS1ATS	NST_SMMUV3_ATS (QEMU: with accel only)
 *	STALL_MODEL	NST_SMMUV3_STALLS (QEMU: no stalls)
 *	S2P, XNX	NST_SMMUV3_STAGE2 (QEMU: stage=nested, and by itself from virt-11.1 on)
 *	PRI, PRIQS	NST_SMMUV3_PRI (QEMU: no page requests)
 *	OAS		oas_bits (QEMU: 44 or 48)
 *
 * A host narrows ASID16, CD2L, SSIDSIZE, STALL_MODEL, RIL, BBML, OAS and the granules. The size of
 * the stream table it need not have: the table is the unit's own to read, and a host's commands
 *name its devices by what they are called there. Nor does it say whether there is ATS, which Linux
 * reports of each device. What a host does that a guest is told is not done (dirty state, stalls
 * where they are not asked for) is no hindrance, as long as the guest can leave it off. Stage 2 it
 * need not have either: the guest's is for emulated devices.
 */
#include "smmuv3/caps.h"

#include "spec/smmu_caps.h"
#include "spec/smmu_tables.h"

#include <errno.h>

enum { SID_BITS = 16, MAX_SSID_BITS = 20, QUEUE_LG2 = 19, DEFAULT_OAS_BITS = 44 };
enum { FEATURES = NST_SMMUV3_ATS | NST_SMMUV3_STAGE2 | NST_SMMUV3_STALLS | NST_SMMUV3_PRI };
enum { STALL_MODEL_FORCED = 2, TTENDIAN_BIG = 3, BBML_2 = 2 };

#define GRANULES (SMMU_IDR5_GRAN4K | SMMU_IDR5_GRAN16K | SMMU_IDR5_GRAN64K)

static int encode_oas(unsigned int bits, uint32_t *out)
{
	for (unsigned int i = 0; i <= SMMU_OAS_48_BIT; i++) {
		if (smmu_address_bits(i) == bits) {
			*out = i;
			return 0;
		}
	}
	return -EINVAL;
}

int smmu_idr_default(const struct nst_smmuv3_config *config, struct smmu_idr *idr)
{
	bool stalls = config->features & NST_SMMUV3_STALLS;
	uint32_t oas;

	if (config->ssid_bits > MAX_SSID_BITS || (config->features & ~(unsigned int)FEATURES))
		return -EINVAL;
	if ((config->features & NST_SMMUV3_PRI) && !(config->features & NST_SMMUV3_ATS))
		return -EINVAL;
	if (encode_oas(config->oas_bits ? config->oas_bits : DEFAULT_OAS_BITS, &oas))
		return -EINVAL;
	*idr = (struct smmu_idr){ .aidr = FIELD_PREP(SMMU_AIDR_MINOR, 1) };
	idr->idr[0] = SMMU_IDR0_S1P | FIELD_PREP(SMMU_IDR0_TTF, SMMU_TTF_AARCH64) |
		      SMMU_IDR0_COHACC | SMMU_IDR0_ASID16 | SMMU_IDR0_VMID16 |
		      FIELD_PREP(SMMU_IDR0_TTENDIAN, SMMU_TTENDIAN_LITTLE) |
		      FIELD_PREP(SMMU_IDR0_STALL_MODEL,
				 stalls ? SMMU_STALL_MODEL_BOTH : SMMU_STALL_MODEL_NONE) |
		      SMMU_IDR0_TERM_MODEL | FIELD_PREP(SMMU_IDR0_ST_LEVEL, SMMU_ST_LEVEL_2);
	if (config->send_msi)
		idr->idr[0] |= SMMU_IDR0_MSI;
	if (config->features & NST_SMMUV3_ATS)
		idr->idr[0] |= SMMU_IDR0_ATS | SMMU_IDR0_NS1ATS;
	if (config->ssid_bits)
		idr->idr[0] |= SMMU_IDR0_CD2L;
	if (config->features & NST_SMMUV3_STAGE2)
		idr->idr[0] |= SMMU_IDR0_S2P;
	idr->idr[1] = FIELD_PREP(SMMU_IDR1_SIDSIZE, SID_BITS) |
		      FIELD_PREP(SMMU_IDR1_SSIDSIZE, config->ssid_bits) |
		      FIELD_PREP(SMMU_IDR1_EVENTQS, QUEUE_LG2) |
		      FIELD_PREP(SMMU_IDR1_CMDQS, QUEUE_LG2);
	if (config->features & NST_SMMUV3_PRI) {
		idr->idr[0] |= SMMU_IDR0_PRI;
		idr->idr[1] |= FIELD_PREP(SMMU_IDR1_PRIQS, QUEUE_LG2);
	}
	idr->idr[3] = SMMU_IDR3_HAD | SMMU_IDR3_RIL | FIELD_PREP(SMMU_IDR3_BBML, BBML_2);
	if (config->features & NST_SMMUV3_STAGE2)
		idr->idr[3] |= SMMU_IDR3_XNX;
	idr->idr[5] = FIELD_PREP(SMMU_IDR5_OAS, oas) | GRANULES |
		      FIELD_PREP(SMMU_IDR5_STALL_MAX, stalls ? SMMU_STALL_MAX : 0);
	return 0;
}

/* Make a field of *@word at most what it is in @host. */
#define AT_MOST(mask, word, host)                                                                  \
	(*(word) = (uint32_t)((*(word) & ~(mask)) | FIELD_PREP(mask, MIN(FIELD_GET(mask, *(word)), \
									 FIELD_GET(mask, host)))))

static const char *unfit(const uint32_t *idr)
{
	if (!(FIELD_GET(SMMU_IDR0_TTF, idr[0]) & SMMU_TTF_AARCH64))
		return "its host IOMMU does not walk AArch64 tables";
	if (FIELD_GET(SMMU_IDR0_TTENDIAN, idr[0]) == TTENDIAN_BIG)
		return "its host IOMMU walks big-endian tables only";
	if (FIELD_GET(SMMU_IDR0_STALL_MODEL, idr[0]) == STALL_MODEL_FORCED)
		return "its host IOMMU lets every fault stall";
	return NULL;
}

/* Stalls that a host does not have. */
static void take_stalls_away(struct smmu_idr *idr)
{
	idr->idr[0] = (uint32_t)((idr->idr[0] & ~SMMU_IDR0_STALL_MODEL) |
				 FIELD_PREP(SMMU_IDR0_STALL_MODEL, SMMU_STALL_MODEL_NONE));
	idr->idr[5] &= (uint32_t)~SMMU_IDR5_STALL_MAX;
}

int smmu_idr_narrow(const struct iommufd_hw_info *host, struct smmu_idr *idr, const char **why)
{
	const uint32_t *theirs = host->smmuv3.idr;
	const char *reason = NULL;

	if (host->type != IOMMU_HW_INFO_TYPE_ARM_SMMUV3)
		reason = "its host IOMMU is not an Arm SMMUv3";
	else
		reason = unfit(theirs);
	if (!reason && !(idr->idr[5] & theirs[5] & GRANULES))
		reason = "its host IOMMU has none of the page sizes that the unit offers";
	if (reason) {
		*why = reason;
		return -EOPNOTSUPP;
	}
	AT_MOST(SMMU_IDR0_ASID16, &idr->idr[0], theirs[0]);
	AT_MOST(SMMU_IDR0_CD2L, &idr->idr[0], theirs[0]);
	if (FIELD_GET(SMMU_IDR0_STALL_MODEL, theirs[0]) != SMMU_STALL_MODEL_BOTH)
		take_stalls_away(idr);
	AT_MOST(SMMU_IDR1_SSIDSIZE, &idr->idr[1], theirs[1]);
	AT_MOST(SMMU_IDR3_RIL, &idr->idr[3], theirs[3]);
	AT_MOST(SMMU_IDR3_BBML, &idr->idr[3], theirs[3]);
	AT_MOST(SMMU_IDR5_OAS, &idr->idr[5], theirs[5]);
	AT_MOST(SMMU_IDR5_GRAN4K, &idr->idr[5], theirs[5]);
	AT_MOST(SMMU_IDR5_GRAN16K, &idr->idr[5], theirs[5]);
	AT_MOST(SMMU_IDR5_GRAN64K, &idr->idr[5], theirs[5]);
	return 0;
}

bool smmu_idr_equal(const struct smmu_idr *a, const struct smmu_idr *b)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->idr); i++)
		if (a->idr[i] != b->idr[i])
			return false;
	return a->iidr == b->iidr && a->aidr == b->aidr;
}

unsigned int smmu_idr_sid_bits(const struct smmu_idr *idr)
{
	return (unsigned int)FIELD_GET(SMMU_IDR1_SIDSIZE, idr->idr[1]);
}

unsigned int smmu_idr_ssid_bits(const struct smmu_idr *idr)
{
	return (unsigned int)FIELD_GET(SMMU_IDR1_SSIDSIZE, idr->idr[1]);
}

bool smmu_idr_stalls(const struct smmu_idr *idr)
{
	return FIELD_GET(SMMU_IDR0_STALL_MODEL, idr->idr[0]) == SMMU_STALL_MODEL_BOTH;
}

unsigned int smmu_idr_address_bits(const struct smmu_idr *idr)
{
	return smmu_address_bits((unsigned int)FIELD_GET(SMMU_IDR5_OAS, idr->idr[5]));
}
