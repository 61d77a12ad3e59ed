// SPDX-License-Identifier: BSD-3-Clause
/* See vtd_rig.h. */
#include "vtd_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void take_warning(void *opaque, enum nst_log_level level, const char *message)
{
	struct rig *rig = opaque;

	if (!strncmp(message, "check:  ", 8)) {
		size_t used = strlen(rig->details);

		snprintf(rig->details + used, sizeof(rig->details) - used, "%s\n", message + 8);
		return;
	}
	rig->warnings++;
	rig->details[0] = '\0';
	snprintf(rig->last_warning, sizeof(rig->last_warning), "%s", message);
}

/* No lock may be held here: we use the unit, and change it. */
static void forget(void *opaque, nst_rid rid, uint32_t pasid, uint64_t iova, uint64_t last)
{
	struct rig *rig = opaque;

	if (rig->on_forget) {
		rig->on_forget(rig->on_forget_opaque);
		return;
	}
	vtd_hw_map_begin(rig->hw);
	vtd_hw_map_end(rig->hw, false);
	assert_true(rig->num_forgotten < ARRAY_SIZE(rig->forgotten));
	rig->forgotten[rig->num_forgotten++] = (struct rig_forgotten){
		rid, pasid, iova, last, rig_read(rig, rig->forget_probe),
	};
}

/* Of several accesses at once, there are several calls. */
static void take_report(void *opaque, const struct vtd_hw_fault *fault)
{
	struct rig *rig = opaque;

	pthread_mutex_lock(&rig->report_lock);
	rig->reports++;
	rig->last_report = *fault;
	pthread_mutex_unlock(&rig->report_lock);
}

static int make_rig(void **state, bool check)
{
	struct nst_soft_config config = { .check = check };
	struct vtd_hw_config hw_config = { .check = check };
	struct rig *rig = calloc(1, sizeof(*rig));

	if (!rig)
		return -1;
	pthread_mutex_init(&rig->report_lock, NULL);
	rig->log = (struct nst_log){ take_warning, rig, NST_LOG_WARN };
	config.log = hw_config.log = &rig->log;
	if (sanitizer_create(&config, &rig->sanitizer))
		return -1;
	hw_config.sanitizer = rig->sanitizer;
	hw_config.ats_invalidate = forget;
	hw_config.fault = take_report;
	hw_config.opaque = rig;
	rig->ram = mmap(NULL, RIG_RAM_SIZE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (rig->ram == MAP_FAILED || vtd_hw_create(&hw_config, &rig->hw))
		return -1;
	rig->next_table = RIG_TABLES;
	range_map_init(&rig->s2);
	rig_add_s2(rig, 0, RIG_RAM_SIZE, rig->ram, RANGE_READ | RANGE_WRITE);
	rig->entry = (struct vtd_hw_entry){
		.pgtt = VTD_HW_NESTED, .did = RIG_DID, .s2 = &rig->s2,
		.fs_root = rig_new_table(rig), .fs_levels = 4,
		.domain = { .hwpt = { RIG_HWPT, RIG_HWPT }, .ioas = { RIG_IOAS, RIG_IOAS } },
	};
	rig_set_entry(rig, RIG_RID, NST_NO_PASID, &rig->entry);
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

	vtd_hw_destroy(rig->hw);
	sanitizer_destroy(rig->sanitizer);
	range_map_fini(&rig->s2);
	munmap(rig->ram, RIG_RAM_SIZE);
	free(rig);
	return 0;
}

uint64_t rig_new_table(struct rig *rig)
{
	rig->next_table += 4096;
	return rig->next_table - 4096;
}

void rig_store(uint64_t *slot, uint64_t entry)
{
	__atomic_store_n(slot, htole64(entry), __ATOMIC_RELEASE);
}

uint64_t *rig_slot(struct rig *rig, uint64_t root, uint64_t iova, unsigned int level)
{
	uint64_t table = root;

	for (unsigned int l = rig->entry.fs_levels;; l--) {
		uint64_t *slot = (uint64_t *)(void *)&rig->ram[table] + (iova >> (9 * l + 3) & 511);
		uint64_t entry;

		if (l == level)
			return slot;
		entry = le64toh(__atomic_load_n(slot, __ATOMIC_ACQUIRE));
		if (!(entry & E_P)) {
			entry = rig_new_table(rig) | E_RW;
			rig_store(slot, entry);
		}
		table = entry & 0xffffffffff000;
	}
}

void rig_map(struct rig *rig, uint64_t iova, uint64_t gpa, unsigned int level, unsigned int bits)
{
	rig_store(rig_slot(rig, rig->entry.fs_root, iova, level),
		  gpa | bits | (level > 1 ? E_PS : 0));
}

void rig_set_entry(struct rig *rig, nst_rid rid, uint32_t pasid, const struct vtd_hw_entry *entry)
{
	assert_int_equal(vtd_hw_set_entry(rig->hw, rid, pasid, entry), 0);
}

void rig_clear_s2(struct rig *rig)
{
	vtd_hw_map_begin(rig->hw);
	while (rig->s2.count)
		range_map_remove_at(&rig->s2, rig->s2.count - 1);
	vtd_hw_map_end(rig->hw, true);
}

void rig_add_s2(struct rig *rig, uint64_t gpa, uint64_t size, void *host, unsigned int perm)
{
	struct mem_range range = { gpa, gpa + size - 1, { (uintptr_t)host }, perm, NULL };
	int ret;

	vtd_hw_map_begin(rig->hw);
	ret = range_map_insert(&rig->s2, &range);
	vtd_hw_map_end(rig->hw, false);
	assert_int_equal(ret, 0);
}

int rig_dma_as(struct rig *rig, nst_rid rid, uint32_t pasid, bool write, uint64_t iova, void *buf,
	       size_t size)
{
	struct endpoint_dma_request req = {
		.iova = { iova }, .pasid = pasid, .write = write, .buf = buf, .size = size,
	};

	return vtd_hw_dma(rig->hw, rid, &req);
}

int rig_dma(struct rig *rig, bool write, uint64_t iova, void *buf, size_t size)
{
	return rig_dma_as(rig, RIG_RID, NST_NO_PASID, write, iova, buf, size);
}

uint64_t rig_read(struct rig *rig, uint64_t iova)
{
	uint64_t value;

	return rig_dma(rig, false, iova, &value, sizeof(value)) ? RIG_FAULT : value;
}

bool rig_can_write(struct rig *rig, uint64_t iova)
{
	uint64_t value = rig_read(rig, iova);

	return !rig_dma(rig, true, iova, &value, sizeof(value));
}

void rig_mark(struct rig *rig, uint64_t gpa, uint64_t value)
{
	memcpy(&rig->ram[gpa], &value, sizeof(value));
}

struct nst_soft_stats rig_stats(struct rig *rig)
{
	struct nst_soft_stats stats = { 0 };

	vtd_hw_get_stats(rig->hw, &stats);
	sanitizer_get_stats(rig->sanitizer, &stats);
	return stats;
}
