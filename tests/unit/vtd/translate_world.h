/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A unit without a host, and its guest: tables written word by word, registers, the
 * queue, and what nst_viommu_translate() says. For test_translate.c and _cache.c.
 */
#ifndef TESTS_UNIT_VTD_TRANSLATE_WORLD_H
#define TESTS_UNIT_VTD_TRANSLATE_WORLD_H

#include "test.h"

#include "base/bits.h"
#include "base/endian.h"

#include "vtd/unit.h"

#include <nestor/viommu.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MEMORY (16ULL << 20)
#define ROOT 0x1000ULL
#define QUEUE 0x8000ULL
#define STATUS 0xa000ULL
#define CONTEXT 0x20000ULL
#define DIR 0x30000ULL
#define PASIDS 0x31000ULL /* one table: PASIDs 0..63 */
#define TABLES 0x100000ULL
#define DATA 0x800000ULL
#define BEYOND 0x4000000ULL /* no memory */
#define RID 0x0008
#define IOVA 0x12345678000ULL
#define ALL (NST_VTD_SECOND_STAGE | NST_VTD_NESTED)

struct world {
	struct nst_vm *vm;
	struct nst_viommu *viommu;
	uint8_t *bytes;
	uint64_t next, tail;
	uint32_t waits;
	unsigned int msis;
};

static inline uint64_t *at(struct world *w, uint64_t gpa)
{
	assert_true(gpa <= MEMORY - 8);
	return (uint64_t *)(void *)&w->bytes[gpa];
}

static inline uint64_t page(struct world *w)
{
	w->next += 4096;
	return w->next - 4096;
}

static inline uint64_t reg(struct world *w, uint64_t offset, unsigned int size)
{
	return nst_viommu_mmio_read(w->viommu, offset, size);
}

static inline void set(struct world *w, uint64_t offset, unsigned int size, uint64_t value)
{
	nst_viommu_mmio_write(w->viommu, offset, size, value);
}

static inline void take_msi(void *opaque, uint64_t address, uint32_t data)
{
	((struct world *)opaque)->msis++;
}

static inline struct world *create(unsigned int features)
{
	struct world *w = calloc(1, sizeof(*w));
	struct nst_vtd_config config = { .send_msi = take_msi, .opaque = w, .features = features };

	assert_int_equal(nst_vm_create(NULL, NULL, &w->vm), 0);
	w->bytes = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(w->bytes != MAP_FAILED);
	assert_int_equal(nst_vm_map(w->vm, (nst_gpa){ 0 }, MEMORY, w->bytes, true), 0);
	config.vm = w->vm;
	assert_int_equal(nst_vtd_create(&config, &w->viommu), 0);
	w->next = TABLES;
	return w;
}

static inline int destroy(struct world *w)
{
	nst_viommu_destroy(w->viommu);
	nst_vm_destroy(w->vm);
	munmap(w->bytes, MEMORY);
	free(w);
	return 0;
}

static inline void srtp(struct world *w, uint64_t rtaddr)
{
	set(w, 0x20, 8, rtaddr);
	set(w, 0x18, 4, 1u << 30 | (reg(w, 0x1c, 4) & 0x86000000));
}

static inline void enable(struct world *w, uint64_t ttm)
{
	srtp(w, ROOT | ttm << 10);
	set(w, 0x90, 8, QUEUE | 1 << 11);
	set(w, 0x18, 4, 1u << 26);
	set(w, 0x18, 4, 1u << 26 | 1u << 31);
	assert_int_equal(reg(w, 0x1c, 4), 0xc4000000);
}

static inline void post(struct world *w, uint64_t qw0, uint64_t qw1)
{
	uint64_t *d = at(w, QUEUE + w->tail);

	d[0] = qw0;
	d[1] = qw1;
	d[2] = d[3] = 0;
	w->tail = (w->tail + 32) % 4096;
}

static inline void invalidate(struct world *w, uint64_t qw0, uint64_t qw1)
{
	post(w, qw0, qw1);
	post(w, 5 | 1 << 5 | (uint64_t)++w->waits << 32, STATUS);
	set(w, 0x88, 8, w->tail);
	assert_int_equal((uint32_t)*at(w, STATUS), w->waits);
}

static inline void context(struct world *w)
{
	*at(w, ROOT) = CONTEXT | 1;
	at(w, CONTEXT + RID * 32)[0] = DIR | 1 | 1 << 3; /* PASIDE */
	*at(w, DIR) = PASIDS | 1;
}

static inline uint64_t *pasid_entry(struct world *w, uint32_t pasid)
{
	return at(w, PASIDS + pasid * 64);
}

static inline void set_entry(struct world *w, uint32_t pasid, unsigned int pgtt, uint16_t did,
		      uint64_t fs, uint64_t ss)
{
	uint64_t *e = pasid_entry(w, pasid);

	e[0] = 1 | 2 << 2 | pgtt << 6 | ss; /* AW: 4 levels */
	e[1] = did;
	e[2] = fs;
}

/* The entry of @iova at @level in tables of @root, tables above made with @bits. */
static inline uint64_t *pte(struct world *w, uint64_t root, uint64_t iova, int levels, int level,
		     uint64_t bits)
{
	uint64_t table = root;

	for (; levels > level; levels--) {
		uint64_t *e = at(w, table + (iova >> (12 + 9 * (levels - 1)) & 511) * 8);

		if (!*e)
			*e = page(w) | bits;
		table = *e & 0xffffffffff000;
	}
	return at(w, table + (iova >> (12 + 9 * (level - 1)) & 511) * 8);
}

static inline uint64_t *fs_pte(struct world *w, uint64_t root, uint64_t iova)
{
	return pte(w, root, iova, 4, 1, 7);
}

static inline uint64_t *ss_pte(struct world *w, uint64_t root, uint64_t gpa)
{
	return pte(w, root, gpa, 4, 1, 3);
}

static inline int translate(struct world *w, uint32_t pasid, uint64_t iova, bool write,
		     struct nst_translation *out)
{
	struct nst_translate_request req = {
		.rid = RID, .pasid = pasid, .iova = { iova }, .write = write,
	};

	return nst_viommu_translate(w->viommu, &req, out);
}

/* Found in the tables, or in the caches; and found in the caches, a second time. */
static inline uint64_t goes_to(struct world *w, uint32_t pasid, uint64_t iova, bool write)
{
	struct nst_translation out, again;

	assert_int_equal(translate(w, pasid, iova, write, &out), 0);
	assert_int_equal(translate(w, pasid, iova, write, &again), 0);
	assert_int_equal(out.gpa.v, again.gpa.v);
	assert_int_equal(out.size, again.size);
	assert_int_equal(out.read, again.read);
	assert_int_equal(out.write, again.write);
	assert_int_equal(out.interrupt, again.interrupt);
	assert_false(out.interrupt);
	assert_true(write ? out.write : out.read);
	return out.gpa.v;
}

/* The fault that is recorded, which it then clears: (low, high) of the record. */
static inline void take_fault(struct world *w, uint64_t *low, uint64_t *high)
{
	uint64_t fsts = reg(w, 0x34, 4), frcd = 0x220 + 16 * (fsts >> 8 & 0xff);

	assert_true(fsts & 2);
	*low = reg(w, frcd, 8);
	*high = reg(w, frcd + 8, 8);
	set(w, frcd + 8, 8, 1ULL << 63);
	assert_false(reg(w, 0x34, 4) & 3);
}

static inline void faults(struct world *w, uint32_t pasid, uint64_t iova, bool write, unsigned int reason)
{
	struct nst_translation out = { .size = 77 };
	uint64_t low, high;

	assert_int_equal(translate(w, pasid, iova, write, &out), -EFAULT);
	assert_int_equal(out.size, 77);
	take_fault(w, &low, &high);
	assert_int_equal(low, iova & ~0xfffULL);
	assert_int_equal(high >> 32 & 0xff, reason);
	assert_int_equal(high & 0xffff, RID);
	assert_int_equal(high >> 62 & 1, !write);
	assert_int_equal(high >> 31 & 1, pasid != NST_NO_PASID);
	assert_int_equal(high >> 40 & 0xfffff, pasid == NST_NO_PASID ? 0 : pasid);
}

static inline void refused_quietly(struct world *w, uint64_t iova)
{
	struct nst_translation out;

	assert_int_equal(translate(w, NST_NO_PASID, iova, true, &out), -EFAULT);
	assert_int_equal(reg(w, 0x34, 4) & 3, 0);
}

static inline uint64_t walks(struct world *w)
{
	struct nst_viommu_stats stats;

	nst_viommu_get_stats(w->viommu, &stats);
	return stats.walks;
}

#define NO NST_NO_PASID

/* A first stage for PASID 0 (RID_PASID) with IOVA -> DATA, domain 1. */
static inline uint64_t first_stage(struct world *w)
{
	uint64_t root = page(w);

	context(w);
	set_entry(w, 0, 1, 1, root, 0);
	*fs_pte(w, root, IOVA) = DATA | 7;
	return root;
}

#endif
