// SPDX-License-Identifier: BSD-3-Clause
/*
 * Legacy mode of passed-through devices: second-stage tables of the guest, shadowed. What
 * a device reaches is compared with a walk of the guest's tables that is written here, page
 * by page, after random changes as well; guests that do their worst stay within bounds.
 */
#include "rig.h"

#include "base/alloc.h"
#include "random.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

/* Every page of the guest's data holds its own address, and one that may be written. */
#define DATA_PAGES ((RIG_MEMORY - GPA_DATA) / 4096)
#define SS_R 1ULL
#define SS_W 2ULL
#define SS_RW 3ULL
#define SS_PS (1ULL << 7)
#define CONTEXTS (GPA_ROOT2 + 0x1000)
#define M2 (2ULL << 20)
#define G1 (1ULL << 30)

enum { DID = 9, DESC_PAGES = 3, DESC_DOMAIN = 2, DESC_GLOBAL = 1 };

/* --- the guest ------------------------------------------------------------------------------ */

static void label_pages(struct rig *rig)
{
	for (uint64_t gpa = GPA_DATA; gpa < RIG_MEMORY; gpa += 4096)
		*mem64(rig, gpa) = gpa;
}

/* An entry of legacy mode: @type, and 3 or 4 levels below @root. */
static void set_context(struct rig *rig, struct rig_device *d, unsigned int type, uint64_t root,
			unsigned int levels, uint16_t did)
{
	uint64_t *entry =
		mem64(rig, CONTEXTS + (uint64_t)(d->rid >> 8) * 0x1000 + (d->rid & 0xff) * 16);

	*mem64(rig, GPA_ROOT2 + (uint64_t)(d->rid >> 8) * 16) =
		(CONTEXTS + (uint64_t)(d->rid >> 8) * 0x1000) | 1;
	entry[1] = (levels - 2) | (uint64_t)did << 8;
	entry[0] = root | type << 2 | 1;
}

static void clear_context(struct rig *rig, struct rig_device *d)
{
	*mem64(rig, CONTEXTS + (uint64_t)(d->rid >> 8) * 0x1000 + (d->rid & 0xff) * 16) = 0;
}

static void legacy_on(struct rig *rig)
{
	reg64_set(rig, REG_RTADDR, GPA_ROOT2);
	gcmd(rig, GCMD_SRTP, 0);
	if (!(reg32(rig, REG_GSTS) & GCMD_QIE))
		iq_enable(rig);
	gcmd(rig, GCMD_TE, 0);
	assert_int_equal(reg32(rig, REG_GSTS) & GCMD_TE, GCMD_TE);
}

static void flush_context(struct rig *rig)
{
	iq_put(rig, DESC_CONTEXT(1, 0, 0), 0);
	iq_run(rig, DESC_IOTLB(DESC_GLOBAL, 0), 0);
}

/* The entry of @level for @iova; tables on the way are made. */
static uint64_t *ss_entry(struct rig *rig, uint64_t root, unsigned int levels, uint64_t iova,
			  unsigned int level)
{
	uint64_t table = root;

	for (;; levels--) {
		uint64_t *entry = mem64(rig, table + (iova >> (3 + 9 * levels) & 511) * 8);

		if (levels == level)
			return entry;
		if (!(*entry & 3) || (*entry & SS_PS))
			*entry = guest_page(rig) | SS_RW;
		table = *entry & 0xffffffffff000;
	}
}

static void ss_map(struct rig *rig, uint64_t root, uint64_t iova, uint64_t gpa, uint64_t rights)
{
	*ss_entry(rig, root, 4, iova, 1) = gpa | rights;
}

static void flush_pages(struct rig *rig, uint64_t iova, unsigned int order)
{
	iq_run(rig, DESC_IOTLB(DESC_PAGES, DID), iova | order);
}

/* One device on a new, empty table of 4 levels; translation is on. */
static uint64_t start(struct rig *rig)
{
	uint64_t root = guest_page(rig);

	label_pages(rig);
	set_context(rig, &rig->devices[0], 0, root, 4, DID);
	legacy_on(rig);
	return root;
}

/* --- what a device sees ---------------------------------------------------------------------- */

#define NOTHING UINT64_MAX

static uint64_t reads(struct rig_device *d, uint64_t iova)
{
	uint64_t value;

	return dma_read(d, iova, &value) ? NOTHING : value;
}

/* The page that a write arrives at. */
static uint64_t writes(struct rig *rig, struct rig_device *d, uint64_t iova)
{
	static uint64_t mark = 0x123400000;
	uint64_t found = NOTHING;

	if (dma_write(d, iova + 8, ++mark))
		return NOTHING;
	for (uint64_t gpa = GPA_DATA; gpa < RIG_MEMORY; gpa += 4096)
		if (*mem64(rig, gpa + 8) == mark)
			found = gpa;
	return found;
}

/* A walk without anything of src: where a read or a write of @iova goes by the tables. */
static uint64_t naive(struct rig *rig, uint64_t root, unsigned int levels, uint64_t iova,
		      uint64_t right)
{
	uint64_t table = root;

	if (iova >> (12 + 9 * levels) || iova >> 20 == 0xfee)
		return NOTHING;
	for (unsigned int level = levels;; level--) {
		unsigned int shift = 3 + 9 * level;
		uint64_t entry, size = 1ULL << shift;

		if (table > RIG_MEMORY - 4096)
			return NOTHING;
		entry = *mem64(rig, table + (iova >> shift & 511) * 8);
		if (!(entry & right) || (entry >> 48 & 0xf) || (entry >> 11 & 1))
			return NOTHING;
		table = entry & 0xffffffffff000;
		if (level > 1 && !(entry & SS_PS))
			continue;
		if (level > 3 || (table & (size - 1)))
			return NOTHING;
		table += iova & (size - 1);
		return table < RIG_MEMORY ? table : NOTHING;
	}
}

static void check_page(struct rig *rig, struct rig_device *d, uint64_t root, unsigned int levels,
		       uint64_t iova)
{
	uint64_t read = naive(rig, root, levels, iova, SS_R);
	uint64_t write = naive(rig, root, levels, iova, SS_W);

	if (read != NOTHING)
		assert_int_equal(reads(d, iova), *mem64(rig, read));
	else
		assert_int_equal(reads(d, iova), NOTHING);
	if (write == NOTHING || write >= GPA_DATA)
		assert_int_equal(writes(rig, d, iova), write);
}

static int shadows_alive(struct rig *rig)
{
	assert_int_equal(nested_alive(rig) % 2, 0); /* an IOAS and an HWPT each */
	return nested_alive(rig) / 2;
}

static size_t runs_held(struct rig *rig)
{
	size_t runs;

	mutex_lock(&rig->vm->lock);
	runs = rig->vm->shadow_runs;
	mutex_unlock(&rig->vm->lock);
	return runs;
}

/* --- tables --------------------------------------------------------------------------------- */

static void leaves_of_every_size(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	for (unsigned int levels = 3; levels <= 4; levels++) {
		uint64_t root = start(rig);

		*ss_entry(rig, root, levels, 0x1000, 1) = (GPA_DATA + 0x5000) | SS_RW;
		*ss_entry(rig, root, levels, 3 * M2, 2) = GPA_DATA | SS_PS | SS_RW;
		*ss_entry(rig, root, levels, 5 * G1, 3) = SS_PS |
							  SS_RW; /* memory, and much that is none */
		set_context(rig, d, levels == 3, root, levels, DID);
		if (levels == 3)
			assert_int_not_equal(reg64(rig, REG_ECAP) & 4, 0); /* DT, for that type */
		flush_context(rig);
		assert_int_equal(reads(d, 0x1000), GPA_DATA + 0x5000);
		assert_int_equal(reads(d, 0x2000), NOTHING);
		assert_int_equal(reads(d, 3 * M2 + 0x7000), GPA_DATA + 0x7000);
		assert_int_equal(writes(rig, d, 4 * M2 - 4096), GPA_DATA + M2 - 4096);
		assert_int_equal(reads(d, 4 * M2), NOTHING);
		assert_int_equal(reads(d, 5 * G1 + GPA_DATA), GPA_DATA);
		assert_int_equal(reads(d, 5 * G1 + RIG_MEMORY - 4096), RIG_MEMORY - 4096);
		assert_int_equal(reads(d, 5 * G1 + RIG_MEMORY), NOTHING);
		assert_int_equal(shadows_alive(rig), 1);
		assert_int_equal(faults_pending(rig), 0);
		gcmd(rig, 0, GCMD_TE);
		assert_int_equal(shadows_alive(rig), 0);
		assert_int_equal(place_of(d), 0x900000); /* untranslated again */
	}
}

static void rights_of_all_levels_count(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	for (unsigned int level = 2; level <= 4; level++) {
		uint64_t root = start(rig);

		for (unsigned int i = 0; i < 16; i++) {
			uint64_t iova = ((uint64_t)(i >> 2) << (3 + 9 * level)) + (i & 3) * 0x2000;
			uint64_t *above = ss_entry(rig, root, 4, iova, level);

			/* so that the way down is found */
			*above = (*above ? *above : guest_page(rig)) | SS_RW;
			ss_map(rig, root, iova, GPA_DATA + i * 0x3000, i & 3);
			*above = (*above & ~SS_RW) | i >> 2;
		}
		flush_context(rig);
		for (unsigned int i = 0; i < 16; i++) {
			uint64_t iova = ((uint64_t)(i >> 2) << (3 + 9 * level)) + (i & 3) * 0x2000;
			uint64_t gpa = GPA_DATA + i * 0x3000;
			unsigned int both = i >> 2 & i & 3;

			assert_int_equal(reads(d, iova), both & SS_R ? gpa : NOTHING);
			assert_int_equal(writes(rig, d, iova), both & SS_W ? gpa : NOTHING);
		}
	}
}

/* Nothing at the end of a table says nothing of the next one. */
static void each_table_ends_where_it_ends(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t root = start(rig);

	ss_map(rig, root, 0x5000, GPA_DATA, SS_RW); /* the next page of memory begins with 0 */
	ss_map(rig, root, G1 + 0x1000, GPA_DATA + 0x1000, SS_RW);
	ss_map(rig, root, 512 * G1 - 0x1000, GPA_DATA + 0x2000, SS_RW);
	ss_map(rig, root, 512 * G1 + 0x1000, GPA_DATA + 0x3000, SS_RW);
	ss_map(rig, root, (1ULL << 48) - 0x1000, GPA_DATA + 0x4000, SS_RW);
	flush_context(rig);
	assert_int_equal(reads(d, 0x5000), GPA_DATA);
	assert_int_equal(reads(d, G1 + 0x1000), GPA_DATA + 0x1000);
	assert_int_equal(reads(d, 512 * G1 - 0x1000), GPA_DATA + 0x2000);
	assert_int_equal(reads(d, 512 * G1 + 0x1000), GPA_DATA + 0x3000);
	assert_int_equal(reads(d, (1ULL << 48) - 0x1000), GPA_DATA + 0x4000);
}

/* What is wrong leads nowhere, and everything else where it should. */
static void wrong_entries_lead_nowhere(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t root = start(rig);
	static const uint64_t wrong[] = { 1ULL << 11 /* SNP */, 1ULL << 50 /* beyond MGAW */,
					  GPA_NOTHING, 0xfffffff000 };

	ss_map(rig, root, 0, GPA_DATA, SS_RW);
	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
		ss_map(rig, root, 0x1000 + i * 0x1000, GPA_DATA, SS_RW);
		*ss_entry(rig, root, 4, 0x1000 + i * 0x1000, 1) |= wrong[i];
		*ss_entry(rig, root, 4, (i + 1) * G1, 3) = guest_page(rig) | wrong[i] | SS_RW;
	}
	*ss_entry(rig, root, 4, 9 * M2, 2) = (GPA_DATA + 0x1000) | SS_PS | SS_RW; /* not aligned */
	*ss_entry(rig, root, 4, 1ULL << 40, 4) = SS_PS | SS_RW; /* none at level 4 */
	flush_context(rig);
	assert_int_equal(reads(d, 0), GPA_DATA);
	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(reads(d, 0x1000 + i * 0x1000), NOTHING);
		assert_int_equal(reads(d, (i + 1) * G1), NOTHING);
	}
	assert_int_equal(reads(d, 9 * M2), NOTHING);
	assert_int_equal(reads(d, 1ULL << 40), NOTHING);
	set_context(rig, d, 0, 0xffffff000, 4, DID); /* a root that is not memory */
	flush_context(rig);
	assert_int_equal(reads(d, 0), NOTHING);
	assert_int_equal(shadows_alive(rig), 1);
}

/* A leaf over the interrupt range: only that is left out. */
static void the_interrupt_range_is_left_out(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t root = start(rig);

	ss_map(rig, root, 0xfee00000, GPA_DATA, SS_RW);
	ss_map(rig, root, 0xfeefe000, GPA_DATA + 0x1000, SS_RW);
	ss_map(rig, root, 0xfeeff000, GPA_DATA + 0x2000, SS_RW);
	ss_map(rig, root, 0xfef00000, GPA_DATA + 0x3000, SS_RW); /* contiguous, so one piece */
	ss_map(rig, root, 0xfedff000, GPA_DATA - 0x1000, SS_RW);
	flush_context(rig);
	assert_int_equal(reads(d, 0xfef00000), GPA_DATA + 0x3000);
	assert_int_not_equal(reads(d, 0xfedff000), NOTHING);
	for (uint64_t iova = 0xfee00000; iova < 0xfef00000; iova += 0x1000)
		assert_int_not_equal(reads(d, iova), GPA_DATA + (iova & 0x3000));
	*ss_entry(rig, root, 4, 0xc0000000, 3) = SS_PS | SS_RW;
	iq_run(rig, DESC_IOTLB(DESC_DOMAIN, DID), 0);
	assert_int_equal(reads(d, 0xc0000000 + GPA_DATA), GPA_DATA);
	assert_int_equal(faults_pending(rig), 0);
}

/* --- invalidations --------------------------------------------------------------------------- */

static void changes_are_there_when_the_wait_completes(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t root = start(rig);
	static const unsigned int scopes[] = { DESC_PAGES, DESC_DOMAIN, DESC_GLOBAL };

	for (unsigned int i = 0; i < ARRAY_SIZE(scopes); i++) {
		uint64_t iova = 0x40000000 + i * 0x3000,
			 desc = DESC_IOTLB(scopes[i], i == 2 ? 0 : DID);
		uint64_t addr = i ? 0 : iova;

		assert_int_equal(reads(d, iova), NOTHING);
		ss_map(rig, root, iova, GPA_DATA, SS_RW);
		iq_run(rig, desc, addr);
		assert_int_equal(writes(rig, d, iova), GPA_DATA);
		ss_map(rig, root, iova, GPA_DATA + 0x7000, SS_R); /* another page, fewer rights */
		iq_run(rig, desc, addr);
		assert_int_equal(reads(d, iova), GPA_DATA + 0x7000);
		assert_int_equal(writes(rig, d, iova), NOTHING);
		ss_map(rig, root, iova, GPA_DATA + 0x7000, SS_RW); /* the same, more rights */
		iq_run(rig, desc, addr);
		assert_int_equal(writes(rig, d, iova), GPA_DATA + 0x7000);
		ss_map(rig, root, iova, 0, 0);
		iq_run(rig, desc, addr);
		assert_int_equal(reads(d, iova), NOTHING);
	}
	ss_map(rig, root, 0x5000, GPA_DATA, SS_RW);
	reg64_set(rig, REG_IOTLB, 1ULL << 63 | 1ULL << 60); /* by register */
	assert_int_equal(reads(d, 0x5000), GPA_DATA);
	assert_int_equal(reg64(rig, REG_IOTLB) >> 63, 0);
	ss_map(rig, root, 0x6000, GPA_DATA, SS_RW);
	iq_run(rig, DESC_IOTLB(DESC_DOMAIN, DID + 1),
	       0); /* of another domain: nothing is promised, */
	iq_run(rig, DESC_IOTLB(DESC_PAGES, DID), 0x6000); /* of this it is */
	assert_int_equal(reads(d, 0x6000), GPA_DATA);
	assert_int_equal(rig_soft_stats(rig).stale_hits, 0);
}

/* A page-selective invalidation costs what it covers, not what the table has. */
static void one_page_costs_few_calls(void **state)
{
	struct rig *rig = *state;
	uint64_t root = start(rig);
	unsigned int maps, unmaps;

	for (uint64_t i = 0; i < 1024; i++)
		ss_map(rig, root, i * 0x2000, GPA_DATA + i * 0x1000, SS_RW);
	flush_context(rig);
	assert_int_equal(runs_held(rig), 1024);
	maps = rig_calls(&rig->host, IOMMU_IOAS_MAP);
	unmaps = rig_calls(&rig->host, IOMMU_IOAS_UNMAP);
	ss_map(rig, root, 0x2000, GPA_DATA, SS_RW);
	flush_pages(rig, 0x2000, 0);
	assert_int_equal(rig_calls(&rig->host, IOMMU_IOAS_MAP), maps + 1);
	assert_int_equal(rig_calls(&rig->host, IOMMU_IOAS_UNMAP), unmaps + 1);
	iq_run(rig, DESC_IOTLB(DESC_GLOBAL, 0), 0); /* nothing has changed: no call */
	assert_int_equal(rig_calls(&rig->host, IOMMU_IOAS_MAP), maps + 1);
	assert_int_equal(rig_calls(&rig->host, IOMMU_IOAS_UNMAP), unmaps + 1);
	/* neighbours announced together are one mapping, and go as one */
	for (uint64_t i = 0; i < 16; i++)
		ss_map(rig, root, G1 + i * 0x1000, GPA_DATA + i * 0x1000, SS_RW);
	flush_pages(rig, G1, 4);
	assert_int_equal(rig_calls(&rig->host, IOMMU_IOAS_MAP), maps + 2);
	for (uint64_t i = 0; i < 16; i++)
		ss_map(rig, root, G1 + i * 0x1000, 0, 0);
	flush_pages(rig, G1, 4);
	assert_int_equal(rig_calls(&rig->host, IOMMU_IOAS_UNMAP), unmaps + 2);
	assert_int_equal(rig_stats(rig).shadow_domains, 1);
	/* all of a table goes by one call */
	*ss_entry(rig, root, 4, 0, 3) = 0;
	iq_run(rig, DESC_IOTLB(DESC_DOMAIN, DID), 0);
	assert_int_equal(rig_calls(&rig->host, IOMMU_IOAS_UNMAP), unmaps + 3);
	assert_int_equal(runs_held(rig), 0);
}

/*
 * Two buffers that happen to be neighbours, in memory too: what is announced apart goes
 * apart, so neither waits for the other's mapping nor shares it.
 */
static void what_is_announced_apart_goes_apart(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t root = start(rig);

	ss_map(rig, root, 0x4000, GPA_DATA, SS_RW);
	ss_map(rig, root, 0x5000, GPA_DATA + 0x1000, SS_RW);
	flush_pages(rig, 0x4000, 0);
	assert_int_equal(runs_held(rig), 1);
	flush_pages(rig, 0x5000, 0);
	assert_int_equal(runs_held(rig), 2);
	ss_map(rig, root, 0x4000, 0, 0);
	flush_pages(rig, 0x4000, 0);
	assert_int_equal(reads(d, 0x4000), NOTHING);
	assert_int_equal(reads(d, 0x5000), GPA_DATA + 0x1000);
	assert_int_equal(rig_stats(rig).shadow_domains, 1);
}

/* What stays of a mapping that goes in part is there at every moment. */
static int survivor_hook(struct rig *rig, unsigned long request, void *arg)
{
	const unsigned int *kept = rig->hook_data;

	for (unsigned int i = 0; i < 16; i++)
		if (*kept & 1u << i)
			assert_int_equal(reads(&rig->devices[0], 0x10000 + i * 0x1000),
					 GPA_DATA + i * 0x1000);
	return 0;
}

static void what_stays_is_never_gone(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t root = start(rig);
	unsigned int kept = 0xffff;
	uint64_t made;

	for (uint64_t i = 0; i < 16; i++)
		ss_map(rig, root, 0x10000 + i * 0x1000, GPA_DATA + i * 0x1000, SS_RW);
	flush_pages(rig, 0x10000, 4);
	assert_int_equal(runs_held(rig), 1);
	rig->vm->max_shadow_runs = 15; /* what is replaced does not count */
	rig->host.hook = survivor_hook;
	rig->hook_data = &kept;
	for (unsigned int i = 0; i < 16; i += 3) {
		kept &= ~(1u << i);
		ss_map(rig, root, 0x10000 + i * 0x1000, 0, 0);
		flush_pages(rig, 0x10000 + i * 0x1000, 0);
		assert_int_equal(reads(d, 0x10000 + i * 0x1000), NOTHING);
		if (!i)
			made = rig_stats(rig).shadow_domains;
	}
	assert_int_equal(made, 2);
	assert_int_equal(rig_stats(rig).shadow_domains,
			 2); /* once: the new one has a mapping per leaf */
	assert_int_equal(runs_held(rig), 10);
	assert_int_equal(shadows_alive(rig), 1);
	assert_int_equal(faults_pending(rig), 0);
}

/* A page of 2 MiB becomes a table of the same pages, and then of others. */
static void a_large_page_is_broken_up(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t root = start(rig), table = guest_page(rig), calls;

	*ss_entry(rig, root, 4, 0, 2) = GPA_DATA | SS_PS | SS_RW;
	flush_pages(rig, 0x5000, 0); /* any page of it tells of all */
	assert_int_equal(reads(d, M2 - 4096), GPA_DATA + M2 - 4096);
	for (uint64_t i = 0; i < 512; i++)
		*mem64(rig, table + i * 8) = (GPA_DATA + i * 0x1000) | SS_RW;
	*ss_entry(rig, root, 4, 0, 2) = table | SS_RW;
	calls = rig_stats(rig).shadow_calls;
	flush_pages(rig, 0, 9);
	assert_int_equal(rig_stats(rig).shadow_calls, calls);
	*mem64(rig, table + 7 * 8) = GPA_DATA | SS_R;
	flush_pages(rig, 0x7000, 0);
	for (uint64_t i = 0; i < 512; i++)
		check_page(rig, d, root, 4, i * 0x1000);
}

/* --- devices and domains ---------------------------------------------------------------------- */

static void equal_tables_are_one_shadow(void **state)
{
	struct rig *rig = *state;
	uint64_t root = start(rig), other = guest_page(rig);

	rig_add_device(rig);
	rig_add_device(rig);
	ss_map(rig, root, 0, GPA_DATA, SS_RW);
	ss_map(rig, other, 0, GPA_DATA + 0x1000, SS_RW);
	for (int i = 0; i < 3; i++)
		set_context(rig, &rig->devices[i], 0, i < 2 ? root : other, 4,
			    (uint16_t)(i < 2 ? DID : DID + 1));
	flush_context(rig);
	assert_int_equal(shadows_alive(rig), 2);
	for (int i = 0; i < 3; i++)
		assert_int_equal(reads(&rig->devices[i], 0), GPA_DATA + (i < 2 ? 0 : 0x1000));
	ss_map(rig, root, 0, 0, 0);
	flush_pages(rig, 0, 0);
	assert_int_equal(reads(&rig->devices[0], 0), NOTHING);
	assert_int_equal(reads(&rig->devices[1], 0), NOTHING);
	assert_int_equal(reads(&rig->devices[2], 0), GPA_DATA + 0x1000);
	nst_viommu_detach(rig->viommu, rig->devices[2].rid);
	assert_int_equal(shadows_alive(rig), 1);
	clear_context(rig, &rig->devices[0]);
	flush_context(rig);
	assert_int_equal(shadows_alive(rig), 1);
	assert_int_equal(reads(&rig->devices[0], 0), NOTHING);
	set_context(rig, &rig->devices[1], 2, 0, 4, DID);
	flush_context(rig);
	assert_int_equal(shadows_alive(rig), 0);
	assert_int_equal(place_of(&rig->devices[1]), PROBE_IOVA);
}

static int refuse_to_share(struct rig *rig, unsigned long request, void *arg)
{
	const int *err = rig->hook_data;
	struct vfio_device_attach_iommufd_pt *cmd = arg;
	static uint32_t first;

	if (request == IOMMU_HWPT_ALLOC)
		first = 0;
	if (request != VFIO_DEVICE_ATTACH_IOMMUFD_PT)
		return 0;
	if (first == cmd->pt_id)
		return *err;
	first = cmd->pt_id;
	return 0;
}

/* Another host IOMMU, or other reserved addresses: each device has a shadow of its own. */
static void a_host_may_refuse_to_share(void **state)
{
	static const int errors[] = { -EINVAL, -EADDRINUSE };
	struct rig *rig = *state;
	uint64_t root = start(rig);

	rig_add_device(rig);
	ss_map(rig, root, 0, GPA_DATA, SS_RW);
	for (unsigned int i = 0; i < 2; i++) {
		int err = errors[i];

		for (int j = 0; j < 2; j++)
			clear_context(rig, &rig->devices[j]);
		flush_context(rig);
		assert_int_equal(shadows_alive(rig), 0);
		for (int j = 0; j < 2; j++)
			set_context(rig, &rig->devices[j], 0, root, 4, DID);
		rig->host.hook = refuse_to_share;
		rig->hook_data = &err;
		flush_context(rig);
		rig->host.hook = NULL;
		assert_int_equal(shadows_alive(rig), 2);
		ss_map(rig, root, 0, GPA_DATA + (i + 1) * 0x1000, SS_RW);
		flush_pages(rig, 0, 0);
		for (int j = 0; j < 2; j++)
			assert_int_equal(reads(&rig->devices[j], 0), GPA_DATA + (i + 1) * 0x1000);
	}
}

/* The table is complete before the device is on it: at no host call does it see less. */
static int never_nowhere(struct rig *rig, unsigned long request, void *arg)
{
	assert_int_equal(reads(&rig->devices[0], 0x10000), GPA_DATA);
	return 0;
}

static void a_new_table_is_complete_at_once(void **state)
{
	struct rig *rig = *state;
	uint64_t root = start(rig), other = guest_page(rig);

	ss_map(rig, root, 0x10000, GPA_DATA, SS_RW);
	for (uint64_t i = 0; i < 64; i++)
		ss_map(rig, other, i * 0x2000, GPA_DATA + (i == 8 ? 0 : i * 0x1000), SS_RW);
	flush_context(rig);
	rig->host.hook = never_nowhere;
	set_context(rig, &rig->devices[0], 0, other, 4, DID + 1);
	flush_context(rig);
	set_context(rig, &rig->devices[0], 0, root, 4, DID);
	flush_context(rig);
	rig->host.hook = NULL;
	assert_int_equal(shadows_alive(rig), 1);
	assert_int_equal(reads(&rig->devices[0], 0x2000), NOTHING);
}

static void modes_change_at_run_time(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t root = guest_page(rig);

	set_context(rig, d, 0, root, 4, DID);
	ss_map(rig, root, PROBE_IOVA, PROBE_IOVA + 0x2000, SS_RW);
	guest_enable(rig);
	for (int i = 0; i < 3; i++) {
		go(rig, d, PLACE_A); /* scalable mode */
		if (i == 1)
			gcmd(rig, 0, GCMD_TE); /* or with translation on */
		legacy_on(rig);
		assert_int_equal(place_of(d), PLACE_B);
		assert_int_equal(shadows_alive(rig), 1);
		if (i == 2)
			gcmd(rig, 0, GCMD_TE);
		reg64_set(rig, REG_RTADDR, GPA_ROOT | 1u << 10);
		gcmd(rig, GCMD_SRTP, 0);
		gcmd(rig, GCMD_TE, 0);
		assert_int_equal(place_of(d), PLACE_A);
		assert_int_equal(nested_alive(rig), 1);
	}
	legacy_on(rig);
	assert_int_equal(place_of(d), PLACE_B);
	nst_viommu_reset(rig->viommu);
	assert_int_equal(place_of(d), PLACE_SAME);
	assert_int_equal(nested_alive(rig), 0);
	assert_int_equal(faults_pending(rig), 0);
	assert_int_equal(rig_soft_stats(rig).stale_hits, 0);
}

static void a_restored_unit_has_the_same_shadow(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t root = start(rig);
	size_t size;
	void *data;

	ss_map(rig, root, 0x3000, GPA_DATA, SS_R);
	flush_pages(rig, 0x3000, 0);
	ok(nst_viommu_save(rig->viommu, &data, &size));
	nst_viommu_reset(rig->viommu);
	assert_int_equal(shadows_alive(rig), 0);
	ok(nst_viommu_restore(rig->viommu, data, size));
	free(data);
	assert_int_equal(shadows_alive(rig), 1);
	assert_int_equal(reads(d, 0x3000), GPA_DATA);
	assert_int_equal(writes(rig, d, 0x3000), NOTHING);
	ss_map(rig, root, 0x3000, GPA_DATA + 0x1000, SS_RW);
	flush_pages(rig, 0x3000, 0);
	assert_int_equal(writes(rig, d, 0x3000), GPA_DATA + 0x1000);
}

/* --- the VM's memory -------------------------------------------------------------------------- */

static void memory_comes_and_goes(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t root = start(rig), *page;

	page = mmap(NULL, 0x2000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(page != MAP_FAILED);
	page[0] = 0x1111;
	page[512] = 0x2222;
	ss_map(rig, root, 0x1000, GPA_NOTHING, SS_RW);
	ss_map(rig, root, 0x2000, GPA_NOTHING + 0x1000, SS_RW);
	ss_map(rig, root, 0x3000, GPA_DATA, SS_RW);
	flush_context(rig);
	for (int i = 0; i < 3; i++) {
		bool writable = i != 1;

		assert_int_equal(reads(d, 0x1000), NOTHING);
		ok(nst_vm_map(rig->vm, (nst_gpa){ GPA_NOTHING }, 0x2000, page, writable));
		nst_viommu_process(rig->viommu);
		assert_int_equal(reads(d, 0x1000), 0x1111);
		assert_int_equal(reads(d, 0x2000), 0x2222);
		assert_int_equal(dma_write(d, 0x1008, 5), writable ? 0 : -EFAULT);
		ok(nst_vm_unmap(rig->vm, (nst_gpa){ GPA_NOTHING }, 0x2000));
		assert_int_equal(reads(d, 0x1000), NOTHING);
		assert_int_equal(reads(d, 0x2000), NOTHING);
		assert_int_equal(reads(d, 0x3000), GPA_DATA);
	}
	munmap(page, 0x2000);
	assert_int_equal(shadows_alive(rig), 1);
}

struct changer {
	struct rig *rig;
	void *page;
	int failures;
};

static void *change_memory(void *arg)
{
	struct changer *c = arg;

	for (int i = 0; i < 200; i++) {
		c->failures += nst_vm_map(c->rig->vm, (nst_gpa){ GPA_NOTHING }, 0x1000, c->page,
					  true) != 0;
		c->failures += nst_vm_unmap(c->rig->vm, (nst_gpa){ GPA_NOTHING }, 0x1000) != 0;
	}
	c->failures += nst_vm_map(c->rig->vm, (nst_gpa){ GPA_NOTHING }, 0x1000, c->page, true) != 0;
	return NULL;
}

/* A VMM's other thread changes memory while descriptors are carried out. */
static void memory_changes_while_the_unit_works(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t root = start(rig);
	struct changer c = { .rig = rig };
	pthread_t thread;

	c.page = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(c.page != MAP_FAILED);
	*(uint64_t *)c.page = 0x1111;
	ok(pthread_create(&thread, NULL, change_memory, &c));
	for (uint64_t i = 0; i < 400; i++) {
		ss_map(rig, root, i % 8 * 0x1000, i % 3 ? GPA_NOTHING : GPA_DATA + i * 0x1000,
		       SS_RW);
		flush_pages(rig, i % 8 * 0x1000, 0);
		if (i % 16 == 0)
			nst_viommu_process(rig->viommu);
	}
	ok(pthread_join(thread, NULL));
	assert_int_equal(c.failures, 0);
	nst_viommu_process(rig->viommu);
	for (uint64_t i = 392; i < 400; i++)
		assert_int_equal(reads(d, i % 8 * 0x1000), i % 3 ? 0x1111 : GPA_DATA + i * 0x1000);
	ok(nst_vm_unmap(rig->vm, (nst_gpa){ GPA_NOTHING }, 0x1000));
	munmap(c.page, 0x1000);
	assert_int_equal(rig_soft_stats(rig).stale_hits, 0);
}

/* --- erratum 772415 -----------------------------------------------------------------------------
 */

/* A host whose IOMMU does not have it. */
static int no_erratum(struct rig *rig, unsigned long request, void *arg)
{
	struct iommu_hw_info *cmd = arg;
	struct nst_host *inner = rig->host.inner;
	int ret;

	if (request != IOMMU_GET_HW_INFO)
		return 0;
	ret = inner->ops->ioctl(inner, rig->vm->iommufd.fd, request, arg);
	((struct iommu_hw_info_vtd *)(uintptr_t)cmd->data_uptr)->flags = 0;
	return ret ? ret : 1;
}

static void read_only_pages_with_and_without_the_erratum(void **state)
{
	struct rig *rig = *state;

	for (int i = 0; i < 2; i++) {
		struct rig_device *d;
		uint64_t root;
		bool erratum = !i;

		rig->host.hook = erratum ? NULL : no_erratum;
		d = rig_add_device(rig);
		rig->host.hook = NULL;
		assert_int_equal(
			!!(d->dev->hw_info.vtd.flags & IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17),
			erratum);
		/* a nesting parent takes none */
		err(EINVAL, iommufd_ioas_map(&rig->vm->iommufd, rig->vm->ioas_id, GPA_NOTHING, 4096,
					     rig->memory, IOMMU_IOAS_MAP_READABLE));
		root = guest_page(rig);
		label_pages(rig);
		set_context(rig, d, 0, root, 4, (uint16_t)(DID + i));
		ss_map(rig, root, 0x1000, GPA_DATA + 0x1000, SS_R);
		legacy_on(rig);
		assert_int_equal(reads(d, 0x1000), GPA_DATA + 0x1000);
		assert_int_equal(writes(rig, d, 0x1000), NOTHING);
		assert_int_equal(faults_pending(rig), 0);
	}
}

/* --- guests that do their worst ------------------------------------------------------------------
 */

/* How often the VMM's loop had to come until the wait of @rig completed. */
static unsigned int runs_until_complete(struct rig *rig)
{
	unsigned int runs = 0;

	while (mem32(rig, GPA_STATUS) != rig->status) {
		unsigned int before = rig->host.total;

		nst_viommu_process(rig->viommu);
		assert_true(rig->host.total - before <= VTD_WORK_PER_RUN / ATTACH_WORK_CALL + 1024);
		assert_true(++runs < 100000);
	}
	return runs;
}

static void flush_slowly(struct rig *rig, uint64_t desc, uint64_t qw1)
{
	iq_put(rig, desc, qw1);
	iq_put(rig, DESC_WAIT(++rig->status), GPA_STATUS);
	iq_kick(rig);
}

static void a_table_of_itself_ends_at_the_limit(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t root = start(rig);

	rig->vm->max_shadow_runs = 8192; /* 65536 take their time under sanitizers */
	for (unsigned int i = 0; i < 512; i++)
		*mem64(rig, root + i * 8) = root | SS_RW;
	flush_slowly(rig, DESC_IOTLB(DESC_DOMAIN, DID), 0);
	assert_true(runs_until_complete(rig) > 1);
	assert_int_equal(reads(d, 0), NOTHING);
	assert_int_equal(fault_reason(rig, 0), 9);
	assert_int_equal(shadows_alive(rig), 0);
	assert_int_equal(runs_held(rig), 0);
	/* and when it is mended, the next invalidation sets it right */
	memset(&rig->memory[root], 0, 4096);
	ss_map(rig, root, 0, GPA_DATA, SS_RW);
	flush_context(rig);
	assert_int_equal(reads(d, 0), GPA_DATA);
}

/* 2^14 tables of nothing: a long walk, in many small pieces, that others may come between. */
static void a_wide_table_is_walked_in_pieces(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t root = start(rig), middle = guest_page(rig), last = guest_page(rig);
	unsigned int runs;

	ss_map(rig, root, 0x1000, GPA_DATA, SS_RW);
	flush_context(rig);
	for (unsigned int i = 0; i < 512; i++) {
		*mem64(rig, middle + i * 8) = last | SS_RW;
		*mem64(rig, last + i * 8) = GPA_NOTHING | SS_RW;
	}
	for (uint64_t i = 1; i <= 32; i++)
		*ss_entry(rig, root, 4, i * G1, 3) = middle | SS_RW;
	flush_slowly(rig, DESC_IOTLB(DESC_DOMAIN, DID), 0);
	assert_int_not_equal(mem32(rig, GPA_STATUS), rig->status);
	assert_int_not_equal(reg64(rig, REG_IQH), rig->tail);
	assert_int_equal(reads(d, 0x1000), GPA_DATA); /* meanwhile it works */
	runs = runs_until_complete(rig);
	assert_true(runs > 4);
	/* a device that comes to it waits, and is blocked as it was, until all is walked */
	set_context(rig, d, 0, root, 4, DID + 1);
	iq_put(rig, DESC_CONTEXT(1, 0, 0), 0);
	flush_slowly(rig, DESC_IOTLB(DESC_GLOBAL, 0), 0);
	assert_int_equal(shadows_alive(rig), 2);
	assert_int_equal(reads(d, 0x1000), GPA_DATA);
	assert_true(runs_until_complete(rig) > 4);
	assert_int_equal(shadows_alive(rig), 1);
	/* one that is given up in the middle leaves nothing */
	set_context(rig, d, 0, root, 4, DID);
	flush_slowly(rig, DESC_CONTEXT(1, 0, 0), 0);
	assert_int_equal(shadows_alive(rig), 2);
	gcmd(rig, 0, GCMD_TE);
	assert_int_equal(shadows_alive(rig), 0);
	assert_int_equal(place_of(d), PROBE_IOVA);
}

/* The limit is of all shadows together, and counts no mapping twice. */
static void the_limit_counts_what_is_there(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	uint64_t root = start(rig);

	rig->vm->max_shadow_runs = 8;
	for (int round = 0; round < 5; round++) {
		for (uint64_t i = 0; i < 8; i++)
			ss_map(rig, root, i * 0x2000, GPA_DATA + ((uint64_t)round + i) * 0x3000,
			       SS_RW);
		iq_run(rig, DESC_IOTLB(DESC_DOMAIN, DID), 0);
		assert_int_equal(runs_held(rig), 8);
		assert_int_equal(faults_pending(rig), 0);
		assert_int_equal(reads(d, 0xe000), GPA_DATA + ((uint64_t)round + 7) * 0x3000);
	}
	ss_map(rig, root, 0x1000, GPA_DATA, SS_RW);
	flush_pages(rig, 0x1000, 0);
	assert_int_equal(fault_reason(rig, 0), 9);
	assert_int_equal(reads(d, 0), NOTHING);
	assert_int_equal(runs_held(rig), 0);
	ss_map(rig, root, 0x1000, 0, 0);
	flush_context(rig);
	assert_int_equal(reads(d, 0), GPA_DATA + 4 * 0x3000);
	assert_int_equal(runs_held(rig), 8);
}

/* --- failures ------------------------------------------------------------------------------------
 */

/* A guest's life in legacy mode; what it sees may be less while calls fail, never other pages. */
static void check_sanely(struct rig *rig, uint64_t root)
{
	for (uint64_t iova = 0; iova < 0x20000; iova += 0x1000) {
		uint64_t want = naive(rig, root, 4, iova, SS_R),
			 got = reads(&rig->devices[0], iova);

		assert_true(got == NOTHING || (want != NOTHING && got == want));
	}
}

static void live(struct rig *rig, uint64_t root)
{
	set_context(rig, &rig->devices[0], 0, root, 4, DID);
	legacy_on(rig);
	for (uint64_t i = 0; i < 16; i++)
		ss_map(rig, root, 0x10000 + i * 0x1000, GPA_DATA + i * 0x1000, SS_RW);
	flush_pages(rig, 0x10000, 4);
	check_sanely(rig, root);
	ss_map(rig, root, 0x12000, GPA_DATA + 0x30000, SS_RW); /* a mapping splits */
	flush_pages(rig, 0x12000, 0);
	check_sanely(rig, root);
	ss_map(rig, root, 0x12000, 0, 0);
	flush_pages(rig, 0x12000, 0);
	check_sanely(rig, root);
	set_context(rig, &rig->devices[0], 0, root, 4, DID + 1);
	flush_context(rig);
	check_sanely(rig, root);
}

/* The failure is past: everything is right after the next invalidation, and nothing is left. */
static void recover(struct rig *rig, uint64_t root)
{
	flush_context(rig);
	for (uint64_t iova = 0x10000; iova < 0x20000; iova += 0x1000)
		check_page(rig, &rig->devices[0], root, 4, iova);
	assert_int_equal(rig_soft_stats(rig).stale_hits, 0);
	gcmd(rig, 0, GCMD_TE);
	if (rig->host.failed_request != IOMMU_DESTROY)
		assert_int_equal(shadows_alive(rig), 0);
	assert_int_equal(runs_held(rig), 0);
}

/* Returns whether the n-th call was made, and so failed. */
static bool live_with_failure(unsigned int n, int errnum)
{
	struct rig *rig = rig_create();
	uint64_t root = guest_page(rig);
	bool fired;

	label_pages(rig);
	rig_add_device(rig);
	rig->host.failed_request = 0;
	rig_fail(&rig->host, 0, n, errnum);
	live(rig, root);
	fired = rig->host.failed_request;
	rig_fail_stop(&rig->host);
	recover(rig, root);
	rig_destroy(rig);
	return fired;
}

static void every_host_call_may_fail(void **state)
{
	/* EAGAIN, ESTALE: what our own code means something by; the others, what hosts do */
	static const int errors[] = { EIO, EINVAL, EADDRINUSE, EAGAIN, ESTALE, ENOSPC };

	for (unsigned int i = 0; i < ARRAY_SIZE(errors); i++) {
		unsigned int n = 1;

		while (live_with_failure(n, errors[i]))
			n++;
		assert_true(n > 15);
	}
}

static void every_allocation_may_fail(void **state)
{
	for (unsigned int n = 1;; n++) {
		struct rig *rig = rig_create();
		uint64_t root = guest_page(rig);
		bool fired;

		label_pages(rig);
		rig_add_device(rig);
		alloc_fail_nth(n);
		live(rig, root);
		fired = !alloc_fail_left();
		alloc_fail_nth(0);
		recover(rig, root);
		rig_destroy(rig);
		if (!fired) {
			assert_true(n > 5);
			break;
		}
	}
}

/* --- random guests
 * -------------------------------------------------------------------------------- */

#define WINDOW (4 * M2)

/* One random change somewhere in the window, and where it is. */
static uint64_t change(struct rig *rig, uint64_t root, uint64_t *seed, unsigned int *order)
{
	static const uint64_t rights[] = { 0, 0, SS_R, SS_W, SS_RW, SS_RW, SS_RW, SS_RW };
	uint64_t block = test_random(seed) % 4 * M2, right = rights[test_random(seed) % 8];
	uint64_t page = GPA_DATA + test_random(seed) % (DATA_PAGES - 600) * 0x1000, iova;

	if (test_random(seed) % 16 == 0) { /* a large page, or none at all */
		*ss_entry(rig, root, 4, block, 2) =
			right ? (GPA_DATA + test_random(seed) % 4 * M2) | SS_PS | right : 0;
		*order = 9;
		return block;
	}
	if (*ss_entry(rig, root, 4, block, 2) & SS_PS)
		*ss_entry(rig, root, 4, block, 2) = 0;
	/* a few pages, which may or may not be neighbours in memory, and may be none */
	*order = (unsigned int)(test_random(seed) % 5);
	iova = block + (test_random(seed) % 64 << (12 + *order)) % M2;
	if (test_random(seed) % 10 == 0)
		page = GPA_NOTHING;
	for (uint64_t i = 0; i < 1ULL << *order; i++)
		ss_map(rig, root, iova + i * 0x1000,
		       test_random(seed) % 6 ? page + i * 0x1000 : page, right);
	if (!(*ss_entry(rig, root, 4, block, 2) & SS_RW))
		*order = 9;
	return *order == 9 ? block : iova;
}

static void check_window(struct rig *rig, struct rig_device *d, uint64_t root)
{
	for (uint64_t iova = 0; iova < WINDOW; iova += 0x1000) {
		uint64_t read = naive(rig, root, 4, iova, SS_R);
		uint64_t want = read == NOTHING ? NOTHING : *mem64(rig, read);

		assert_int_equal(reads(d, iova), want);
		if (iova % 0x17000 == 0)
			check_page(rig, d, root, 4, iova);
	}
}

static void a_shadow_is_what_the_table_says(void **state)
{
	for (uint64_t program = 1; program <= 12; program++) {
		struct rig *rig = rig_create();
		struct rig_device *d = rig_add_device(rig);
		uint64_t root = start(rig), seed = program;

		for (int step = 0; step < 60; step++) {
			unsigned int order, count = 1 + (unsigned int)(test_random(&seed) % 12);
			bool all = test_random(&seed) % 8 == 0;

			for (unsigned int i = 0; i < count; i++) {
				uint64_t at = change(rig, root, &seed, &order);
				if (!all)
					iq_put(rig, DESC_IOTLB(DESC_PAGES, DID), at | order);
			}
			if (all)
				iq_put(rig, DESC_IOTLB(DESC_DOMAIN, DID), 0);
			iq_sync(rig);
			if (step % 4 == 3)
				check_window(rig, d, root);
		}
		assert_int_equal(rig_soft_stats(rig).stale_hits, 0);
		assert_int_equal(faults_pending(rig), 0);
		assert_int_equal(shadows_alive(rig), 1);
		rig_destroy(rig);
	}
}

#define WITH_RIG(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_RIG(leaves_of_every_size),
		WITH_RIG(rights_of_all_levels_count),
		WITH_RIG(each_table_ends_where_it_ends),
		WITH_RIG(wrong_entries_lead_nowhere),
		WITH_RIG(the_interrupt_range_is_left_out),
		WITH_RIG(changes_are_there_when_the_wait_completes),
		WITH_RIG(one_page_costs_few_calls),
		WITH_RIG(what_is_announced_apart_goes_apart),
		WITH_RIG(what_stays_is_never_gone),
		WITH_RIG(a_large_page_is_broken_up),
		WITH_RIG(equal_tables_are_one_shadow),
		WITH_RIG(a_host_may_refuse_to_share),
		WITH_RIG(a_new_table_is_complete_at_once),
		WITH_RIG(modes_change_at_run_time),
		WITH_RIG(a_restored_unit_has_the_same_shadow),
		WITH_RIG(memory_comes_and_goes),
		WITH_RIG(memory_changes_while_the_unit_works),
		cmocka_unit_test_setup_teardown(read_only_pages_with_and_without_the_erratum,
						rig_setup_empty, rig_teardown),
		WITH_RIG(a_table_of_itself_ends_at_the_limit),
		WITH_RIG(a_wide_table_is_walked_in_pieces),
		WITH_RIG(the_limit_counts_what_is_there),
		cmocka_unit_test(every_host_call_may_fail),
		cmocka_unit_test(every_allocation_may_fail),
		cmocka_unit_test(a_shadow_is_what_the_table_says),
	};

	return cmocka_run_group_tests_name("vtd shadows", tests, NULL, NULL);
}
