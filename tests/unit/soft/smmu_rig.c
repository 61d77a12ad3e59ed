// SPDX-License-Identifier: BSD-3-Clause
/* See smmu_rig.h. */
#include "smmu_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void take_warning(void *opaque, enum nst_log_level level, const char *message)
{
	struct rig *rig = opaque;

	if (!strncmp(message, "check:  ", 8)) /* details of the report before */
		return;
	rig->warnings++;
	snprintf(rig->last_warning, sizeof(rig->last_warning), "%s", message);
	if (!strncmp(message, "check", 5))
		snprintf(rig->last_check, sizeof(rig->last_check), "%s", message);
}

static void take_event(void *opaque, nst_rid sid, const struct smmu_event *event)
{
	struct rig *rig = opaque;

	rig->event = *event;
	rig->event_sid = sid;
	rig->num_events++;
	/* no lock of the unit is held: a driver may use it */
	smmu_hw_map_begin(rig->hw);
	smmu_hw_map_end(rig->hw, false);
}

static void take_ats(void *opaque, nst_rid sid, uint32_t pasid, bool global, nst_iova first,
		     nst_iova last)
{
	struct rig *rig = opaque;

	rig->ats.sid = sid;
	rig->ats.pasid = pasid;
	rig->ats.global = global;
	rig->ats.first = first.v;
	rig->ats.last = last.v;
	rig->num_ats++;
	smmu_hw_map_begin(rig->hw);
	smmu_hw_map_end(rig->hw, false);
}

static const struct smmu_hw_ops ops = { .event = take_event, .ats_invalidate = take_ats };

static int make_rig(void **state, bool check)
{
	struct nst_soft_config config = { .check = check };
	struct smmu_hw_setup hw_config = { .check = check, .ops = &ops };
	struct rig *rig = calloc(1, sizeof(*rig));

	if (!rig)
		return -1;
	rig->log = (struct nst_log){ take_warning, rig, NST_LOG_WARN };
	config.log = hw_config.log = &rig->log;
	if (sanitizer_create(&config, &rig->sanitizer))
		return -1;
	hw_config.sanitizer = rig->sanitizer;
	hw_config.opaque = rig;
	rig->ram = mmap(NULL, RIG_RAM_SIZE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (rig->ram == MAP_FAILED || smmu_hw_create(&hw_config, &rig->hw))
		return -1;
	rig->next_table = RIG_TABLES;
	rig->granule_kb = 4;
	range_map_init(&rig->s2);
	rig_add_s2(rig, 0, RIG_RAM_SIZE, rig->ram, RANGE_READ | RANGE_WRITE);
	rig_make_cd(rig, rig->cd, RIG_ASID);
	rig_write_cd(rig, RIG_CDS, rig->cd);
	rig->ste = (struct smmu_hw_ste){ .config = SMMU_HW_NESTED,
					 .map = { .domain.hwpt = { 1, 1 }, .s2 = &rig->s2 },
					 .vmid = RIG_VMID };
	rig_make_s1(rig->ste.s1, RIG_CDS, 0, 0, 0);
	rig_set_ste(rig, RIG_SID, &rig->ste);
	*state = rig;
	return 0;
}

int rig_setup(void **state)
{
	return make_rig(state, false);
}

int rig_setup_check(void **state)
{
	return make_rig(state, true);
}

int rig_teardown(void **state)
{
	struct rig *rig = *state;

	smmu_hw_destroy(rig->hw);
	sanitizer_destroy(rig->sanitizer);
	range_map_fini(&rig->s2);
	munmap(rig->ram, RIG_RAM_SIZE);
	free(rig);
	return 0;
}

uint64_t rig_new_table(struct rig *rig)
{
	uint64_t size = rig->granule_kb * 1024, table = (rig->next_table + size - 1) / size * size;

	rig->next_table = table + size;
	return table;
}

void rig_store(uint64_t *slot, uint64_t entry)
{
	__atomic_store_n(slot, htole64(entry), __ATOMIC_RELEASE);
}

/* The lowest address bit that a level translates. */
static unsigned int low_bit(const struct rig *rig, unsigned int level)
{
	static const unsigned int low4[] = { 39, 30, 21, 12 }, low16[] = { 47, 36, 25, 14 },
				  low64[] = { 64, 42, 29, 16 };

	return (rig->granule_kb == 4 ? low4 : rig->granule_kb == 16 ? low16 : low64)[level];
}

uint64_t *rig_slot_of(struct rig *rig, uint64_t root, uint64_t va, unsigned int level)
{
	uint64_t table = root, entries = rig->granule_kb * 128;

	for (unsigned int l = rig->granule_kb == 64 ? 1 : 0;; l++) {
		uint64_t index = (va & 0xffffffffffff) >> low_bit(rig, l) & (entries - 1), entry;
		uint64_t *slot = (uint64_t *)(void *)&rig->ram[table] + index;

		if (l == level)
			return slot;
		entry = le64toh(__atomic_load_n(slot, __ATOMIC_ACQUIRE));
		if (!(entry & D_VALID)) {
			entry = rig_new_table(rig) | D_VALID | D_TABLE;
			rig_store(slot, entry);
		}
		table = entry & 0xfffffffff000;
	}
}

uint64_t *rig_slot(struct rig *rig, uint64_t va, unsigned int level)
{
	return rig_slot_of(rig, rig->cd[va >> 55 & 1 ? 2 : 1] & ~15ULL, va, level);
}

void rig_map(struct rig *rig, uint64_t va, uint64_t ipa, unsigned int level, uint64_t bits)
{
	rig_store(rig_slot(rig, va, level),
		  bits ? ipa | bits | D_VALID | (level == 3 ? D_TABLE : 0) : 0);
}

void rig_make_cd(struct rig *rig, uint64_t cd[8], uint16_t asid)
{
	static const unsigned int tg0[] = { 0, 2, 1 }, tg1[] = { 2, 1, 3 };
	unsigned int g = rig->granule_kb == 4 ? 0 : rig->granule_kb == 16 ? 1 : 2;

	memset(cd, 0, 8 * sizeof(*cd));
	cd[0] = 16 | tg0[g] << 6 | 16 << 16 | (uint64_t)tg1[g] << 22 | C_V | 5ULL << 32 | C_AA64 |
		C_R | C_A | 1ULL << 47 | (uint64_t)asid << 48;
	cd[1] = rig_new_table(rig);
	cd[2] = rig_new_table(rig);
}

void rig_set_granule(struct rig *rig, unsigned int granule_kb)
{
	rig->granule_kb = granule_kb;
	rig_make_cd(rig, rig->cd, RIG_ASID);
}

void rig_write_cd(struct rig *rig, uint64_t ipa, const uint64_t cd[8])
{
	uint64_t *at = (uint64_t *)(void *)&rig->ram[ipa];

	for (int i = 7; i >= 0; i--)
		rig_store(&at[i], cd[i]);
}

void rig_make_s1(uint64_t s1[2], uint64_t context_ptr, unsigned int fmt, unsigned int cd_max,
		 unsigned int dss)
{
	s1[0] = 1 | 5 << 1 | fmt << 4 | context_ptr | (uint64_t)cd_max << 59;
	s1[1] = dss | 1 << 2 | 1 << 4 | 3 << 6;
}

void rig_set_ste(struct rig *rig, nst_rid sid, const struct smmu_hw_ste *ste)
{
	assert_int_equal(smmu_hw_set_ste(rig->hw, sid, ste), 0);
}

int rig_command(struct rig *rig, uint64_t qw0, uint64_t qw1)
{
	struct smmu_cmd cmd = { { le64_make(qw0), le64_make(qw1) } };

	return smmu_hw_command(rig->hw, (struct sanitizer_object){ 0 }, &cmd);
}

void rig_tlbi_all(struct rig *rig)
{
	assert_int_equal(rig_command(rig, 0x30, 0), 0);
}

void rig_tlbi_va(struct rig *rig, uint64_t va, bool leaf)
{
	assert_int_equal(rig_command(rig,
				     0x12 | (uint64_t)RIG_VMID << 32 | (uint64_t)RIG_ASID << 48,
				     (va & -4096ULL) | leaf),
			 0);
}

void rig_cfgi_cd_all(struct rig *rig)
{
	assert_int_equal(rig_command(rig, 0x06 | (uint64_t)RIG_SID << 32, 0), 0);
}

void rig_clear_s2(struct rig *rig)
{
	smmu_hw_map_begin(rig->hw);
	while (rig->s2.count)
		range_map_remove_at(&rig->s2, rig->s2.count - 1);
	smmu_hw_map_end(rig->hw, true);
}

void rig_add_s2(struct rig *rig, uint64_t ipa, uint64_t size, void *host, unsigned int perm)
{
	struct mem_range range = { ipa, ipa + size - 1, { (uintptr_t)host }, perm, NULL };
	int ret;

	smmu_hw_map_begin(rig->hw);
	ret = range_map_insert(&rig->s2, &range);
	smmu_hw_map_end(rig->hw, false);
	assert_int_equal(ret, 0);
}

int rig_dma_as(struct rig *rig, nst_rid sid, uint32_t pasid, bool write, uint64_t va, void *buf,
	       size_t size)
{
	struct endpoint_dma_request req = {
		.iova = { va },
		.pasid = pasid,
		.write = write,
		.buf = buf,
		.size = size,
	};

	return smmu_hw_dma(rig->hw, sid, &req);
}

int rig_dma(struct rig *rig, bool write, uint64_t va, void *buf, size_t size)
{
	return rig_dma_as(rig, RIG_SID, NST_NO_PASID, write, va, buf, size);
}

uint64_t rig_read_as(struct rig *rig, nst_rid sid, uint32_t pasid, uint64_t va)
{
	uint64_t value;

	return rig_dma_as(rig, sid, pasid, false, va, &value, sizeof(value)) ? RIG_FAULT : value;
}

uint64_t rig_read(struct rig *rig, uint64_t va)
{
	return rig_read_as(rig, RIG_SID, NST_NO_PASID, va);
}

bool rig_can_write(struct rig *rig, uint64_t va)
{
	uint64_t value = rig_read(rig, va);

	return !rig_dma(rig, true, va, &value, sizeof(value));
}

void rig_mark(struct rig *rig, uint64_t ipa, uint64_t value)
{
	memcpy(&rig->ram[ipa], &value, sizeof(value));
}

unsigned int rig_take_event(struct rig *rig)
{
	unsigned int type = rig->num_events ? le64_get(rig->event.qw[0]) & 0xff : 0;

	rig->num_events = 0;
	return type;
}

struct nst_soft_stats rig_stats(struct rig *rig)
{
	struct nst_soft_stats stats = { 0 };

	smmu_hw_get_stats(rig->hw, &stats);
	sanitizer_get_stats(rig->sanitizer, &stats);
	return stats;
}
