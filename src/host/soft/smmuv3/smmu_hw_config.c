// SPDX-License-Identifier: BSD-3-Clause
/*
 * Context descriptors: where they are (SMMUv3 IHI0070G.b s5.2 Stream Table Entry, S1Fmt), what
 * makes one illegal (s5.4.2 Validity of CD), and the cache of them.
 *
 * A descriptor is cached as it was found, an illegal one too, as s5.4.1 CD notes allows: a
 * guest that makes one valid must say so. A fetch that fails is not cached.
 */
#include "host/soft/smmuv3/smmu_hw_impl.h"

#include <string.h>

enum { L2_4K_LG2 = 6, L2_64K_LG2 = 10 }; /* descriptors of a second-level table */

struct smmu_s1_config smmu_decode_s1(const uint64_t ste[2], bool stalls)
{
	struct smmu_s1_config s1 = {
		.context_ptr = ste[0] & SMMU_STE_0_S1CONTEXTPTR,
		.cd_max = FIELD_GET(SMMU_STE_0_S1CDMAX, ste[0]),
		.fmt = FIELD_GET(SMMU_STE_0_S1FMT, ste[0]),
		.dss = FIELD_GET(SMMU_STE_1_S1DSS, ste[1]),
		.stalld = ste[1] & SMMU_STE_1_S1STALLD,
	};

	/* s3.4.3: an address that no IPA can be is C_BAD_STE, so that the guest hears of it */
	s1.legal = s1.cd_max <= SMMU_SSID_BITS && (stalls || !s1.stalld) &&
		   !(s1.context_ptr >> SMMU_OUTPUT_BITS);
	return s1;
}

static uint8_t granule_of_tg0(unsigned int tg)
{
	static const uint8_t lg2[] = {
		[SMMU_TG0_4K] = 12, [SMMU_TG0_16K] = 14, [SMMU_TG0_64K] = 16, [3] = 0
	};

	return lg2[tg];
}

static uint8_t granule_of_tg1(unsigned int tg)
{
	static const uint8_t lg2[] = {
		[0] = 0, [SMMU_TG1_16K] = 14, [SMMU_TG1_4K] = 12, [SMMU_TG1_64K] = 16
	};

	return lg2[tg];
}

static bool half_is_legal(const struct smmu_half *half, uint64_t too_high)
{
	return half->disabled || (half->tsz >= SMMU_TXSZ_MIN && half->tsz <= SMMU_TXSZ_MAX &&
				  half->granule_lg2 && !(half->ttb & too_high));
}

void smmu_decode_cd(const struct smmu_cd *cd, bool stalls, struct smmu_context *c)
{
	const uint64_t w0 = le64_get(cd->qw[0]), w1 = le64_get(cd->qw[1]), w2 = le64_get(cd->qw[2]);

	*c = (struct smmu_context){
		.halves = { {
				    .ttb = w1 & SMMU_CD_1_TTB0,
				    .granule_lg2 = granule_of_tg0(FIELD_GET(SMMU_CD_0_TG0, w0)),
				    .tsz = FIELD_GET(SMMU_CD_0_T0SZ, w0),
				    .disabled = w0 & SMMU_CD_0_EPD0,
				    .tbi = w0 & SMMU_CD_0_TBI0,
				    .had = w1 & SMMU_CD_1_HAD0,
			    },
			    {
				    .ttb = w2 & SMMU_CD_2_TTB1,
				    .granule_lg2 = granule_of_tg1(FIELD_GET(SMMU_CD_0_TG1, w0)),
				    .tsz = FIELD_GET(SMMU_CD_0_T1SZ, w0),
				    .disabled = w0 & SMMU_CD_0_EPD1,
				    .tbi = w0 & SMMU_CD_0_TBI1,
				    .had = w2 & SMMU_CD_2_HAD1,
			    } },
		.too_high = UINT64_MAX << smmu_address_bits(FIELD_GET(SMMU_CD_0_IPS, w0)),
		.asid = FIELD_GET(SMMU_CD_0_ASID, w0),
		.aset = w0 & SMMU_CD_0_ASET,
		.ha = w0 & SMMU_CD_0_HA,
		.hd = w0 & SMMU_CD_0_HD,
		.affd = w0 & SMMU_CD_0_AFFD,
		.pan = w0 & SMMU_CD_0_PAN,
		.record = w0 & SMMU_CD_0_R,
		.stall = w0 & SMMU_CD_0_S,
		.words = { w0, w1, w2 },
	};
	c->legal = (w0 & SMMU_CD_0_V) && (w0 & SMMU_CD_0_AA64) && (w0 & SMMU_CD_0_A) &&
		   (stalls || !c->stall) && half_is_legal(&c->halves[0], c->too_high) &&
		   half_is_legal(&c->halves[1], c->too_high);
	if ((w0 & SMMU_CD_0_ENDI) && !(c->halves[0].disabled && c->halves[1].disabled))
		c->legal = false;
}

/* @n qwords of a structure at @ipa, each read once; it does not cross a page. */
static bool fetch(const struct smmu_hw_map *map, uint64_t ipa, le64 *qw, size_t n,
		  struct smmu_fault *fault)
{
	const struct mem_range *r = smmu_find_ipa(map, ipa, false, SMMU_CLASS_CD, fault);
	const uint64_t *from;

	if (!r)
		return false;
	from = (const uint64_t *)(const void *)smmu_host_of(r, ipa);
	for (size_t i = 0; i < n; i++)
		qw[i].raw = __atomic_load_n(&from[i], __ATOMIC_ACQUIRE);
	return true;
}

/* Without a substream it is the one CD, or with S1DSS that of SSID 0. */
static uint32_t ssid_of(const struct smmu_access *a)
{
	return a->ssv ? a->ssid : 0;
}

/* The second-level table of @a's SSID; L1CDs are cached on their own. */
static bool find_l2(struct smmu_hw *hw, struct smmu_stream *stream, const struct smmu_access *a,
		    unsigned int split, uint64_t *l2, bool *cached, struct smmu_fault *fault)
	REQUIRES_SHARED(hw->dma_lock)
{
	const uint32_t index = ssid_of(a) >> split;
	struct smmu_l1cd_slot *slot = &stream->l1cds[index & ((1 << SMMU_L1CD_SLOTS_LG2) - 1)];
	/* the table is aligned to its size, or 64 bytes */
	unsigned int size_lg2 = stream->s1.cd_max > split ? stream->s1.cd_max - split + 3 : 3;
	uint64_t table = stream->s1.context_ptr & ~(BIT64(size_lg2) - 1), descriptor = 0;
	bool hit;
	le64 raw;

	mutex_lock(&hw->cache_lock);
	hit = !a->peek && slot->valid && slot->index == index;
	if (hit)
		descriptor = slot->descriptor;
	mutex_unlock(&hw->cache_lock);
	if (!hit) {
		if (!fetch(&stream->ste.map, table + (uint64_t)index * SMMU_L1CD_BYTES, &raw, 1,
			   fault))
			return false;
		descriptor = le64_get(raw);
	}
	if (!hit && !a->peek) {
		mutex_lock(&hw->cache_lock);
		*slot = (struct smmu_l1cd_slot){ true, index, descriptor };
		mutex_unlock(&hw->cache_lock);
	}
	*cached |= hit;
	*l2 = descriptor & SMMU_L1CD_L2PTR & ~(BIT64(split + 6) - 1);
	if ((descriptor & SMMU_L1CD_V) && !(*l2 >> SMMU_OUTPUT_BITS))
		return true;
	*fault = (struct smmu_fault){ .type = SMMU_C_BAD_SUBSTREAMID };
	return false;
}

static bool find_cd(struct smmu_hw *hw, struct smmu_stream *stream, const struct smmu_access *a,
		    uint64_t *ipa, bool *cached, struct smmu_fault *fault)
	REQUIRES_SHARED(hw->dma_lock)
{
	const struct smmu_s1_config *s1 = &stream->s1;
	unsigned int split = s1->fmt == SMMU_S1FMT_4K_L2    ? L2_4K_LG2
			     : s1->fmt == SMMU_S1FMT_64K_L2 ? L2_64K_LG2
							    : 0;
	uint64_t table;

	if (!split || !s1->cd_max) {
		table = s1->context_ptr & ~(BIT64(s1->cd_max + 6) - 1);
		*ipa = table + (uint64_t)ssid_of(a) * sizeof(struct smmu_cd);
		return true;
	}
	if (!find_l2(hw, stream, a, split, &table, cached, fault))
		return false;
	*ipa = table + (ssid_of(a) & ((1u << split) - 1)) * sizeof(struct smmu_cd);
	return true;
}

bool smmu_get_context(struct smmu_hw *hw, struct smmu_stream *stream, const struct smmu_access *a,
		      struct smmu_context *context, bool *cached, struct smmu_fault *fault)
{
	const uint32_t ssid = ssid_of(a);
	struct smmu_cd_slot *slot = &stream->cds[ssid & ((1 << SMMU_CD_SLOTS_LG2) - 1)];
	struct smmu_cd cd;
	uint64_t ipa;

	*cached = false;
	mutex_lock(&hw->cache_lock);
	if (!a->peek && slot->valid && slot->ssid == ssid) {
		*cached = true;
		*context = slot->context;
	}
	mutex_unlock(&hw->cache_lock);
	if (!*cached) {
		if (!find_cd(hw, stream, a, &ipa, cached, fault) ||
		    !fetch(&stream->ste.map, ipa, cd.qw, ARRAY_SIZE(cd.qw), fault))
			return false;
		smmu_decode_cd(&cd, hw->config.stalls && !stream->s1.stalld, context);
		if (!a->peek) {
			mutex_lock(&hw->cache_lock);
			*slot = (struct smmu_cd_slot){ true, ssid, *context };
			mutex_unlock(&hw->cache_lock);
		}
	}
	if (context->legal)
		return true;
	*fault = (struct smmu_fault){ .type = SMMU_C_BAD_CD };
	return false;
}

void smmu_forget_cd(struct smmu_stream *stream, uint32_t ssid, bool leaf)
{
	struct smmu_cd_slot *slot = &stream->cds[ssid & ((1 << SMMU_CD_SLOTS_LG2) - 1)];
	unsigned int split = stream->s1.fmt == SMMU_S1FMT_4K_L2 ? L2_4K_LG2 : L2_64K_LG2;
	struct smmu_l1cd_slot *l1 =
		&stream->l1cds[ssid >> split & ((1 << SMMU_L1CD_SLOTS_LG2) - 1)];

	if (slot->ssid == ssid)
		slot->valid = false;
	if (!leaf && l1->index == ssid >> split)
		l1->valid = false;
}

void smmu_forget_cds(struct smmu_stream *stream)
{
	memset(stream->cds, 0, sizeof(stream->cds));
	memset(stream->l1cds, 0, sizeof(stream->l1cds));
}
