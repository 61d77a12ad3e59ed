// SPDX-License-Identifier: BSD-3-Clause
/*
 * A VT-d unit with 64 devices passed through on the software host: what one change of a PASID
 * costs with one and with many present, what a global PASID-cache invalidation costs when
 * devices have tables of their own and when they share one, and how many calls of the host a
 * doorbell takes.
 *
 * Each kind of table is a world of its own, made when it is first asked for.
 */
#include "bench.h"

#include "base/bits.h"

#include <nestor/device.h>
#include <nestor/soft_host.h>
#include <nestor/viommu.h>
#include <nestor/vm.h>

#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { DEVICES = 64, QUEUE_ENTRIES = 128 };
#define MEMORY_BYTES (64ULL << 20)
#define ROOT_AT 0x1000ULL
#define CONTEXTS_AT 0x2000ULL /* two pages */
#define QUEUE_AT 0x4000ULL
#define STATUS_AT 0x5000ULL
#define TABLE_AT 0x6000ULL /* a first-stage table without anything */
#define DIRS_AT 0x100000ULL
#define LEAVES_AT 0x800000ULL
#define DIR_BYTES 0x4000ULL /* 2048 tables: 131072 PASIDs */

enum { GCMD = 0x18, GSTS = 0x1c, RTADDR = 0x20, IQH = 0x80, IQT = 0x88, IQA = 0x90 };
#define GCMD_TE (1u << 31)
#define GCMD_SRTP (1u << 30)
#define GCMD_QIE (1u << 26)

struct world {
	unsigned int pasids; /* present on each device */
	bool one_directory;
	struct nst_host *host;
	struct nst_vm *vm;
	struct nst_viommu *viommu;
	struct nst_device *devices[DEVICES];
	uint8_t *memory;
	uint32_t tail, status;
	double calls; /* of the host, for a doorbell */
};

static uint64_t *words_at(struct world *w, uint64_t gpa)
{
	return (uint64_t *)(w->memory + gpa);
}

static nst_rid rid_of(unsigned int n)
{
	return (nst_rid)(n + 8);
}

static uint64_t *entry_of(struct world *w, uint32_t pasid)
{
	return words_at(w, LEAVES_AT + pasid * 64ULL);
}

static void put(struct world *w, uint64_t low, uint64_t high)
{
	uint64_t *desc = words_at(w, QUEUE_AT + w->tail * 32);

	memset(desc, 0, 32);
	desc[0] = low;
	desc[1] = high;
	w->tail = (w->tail + 1) % QUEUE_ENTRIES;
}

/* All that was put, and a wait; true when its status is there. */
static bool ring(struct world *w)
{
	struct nst_viommu_stats stats;

	put(w, 5 | 1 << 5 | (uint64_t)++w->status << 32, STATUS_AT);
	nst_viommu_mmio_write(w->viommu, IQT, 8, w->tail * 32);
	while (nst_viommu_mmio_read(w->viommu, IQH, 8) != w->tail * 32)
		nst_viommu_process(w->viommu); /* more work than one run may do */
	nst_viommu_get_stats(w->viommu, &stats);
	return (uint32_t)*words_at(w, STATUS_AT) == w->status && !stats.queue_errors;
}

/* --- set-up ----------------------------------------------------------------------------- */

static void no_msi(void *opaque, uint64_t address, uint32_t data)
{
}

static void make_tables(struct world *w)
{
	uint64_t *root = words_at(w, ROOT_AT);

	root[0] = CONTEXTS_AT | 1;
	root[1] = (CONTEXTS_AT + 0x1000) | 1;
	for (uint32_t pasid = 0; pasid <= w->pasids; pasid++) {
		entry_of(w, pasid)[0] = 1 | 1 << 6;
		entry_of(w, pasid)[1] = 1;
		entry_of(w, pasid)[2] = TABLE_AT;
	}
	for (unsigned int n = 0; n < DEVICES; n++) {
		uint64_t dir = DIRS_AT + (w->one_directory ? 0 : n) * DIR_BYTES;
		uint64_t *context = words_at(w, CONTEXTS_AT + rid_of(n) * 32ULL);

		context[0] = dir | 4 << 9 | 1 << 3 | 1; /* 2048 tables, PASIDs */
		for (unsigned int i = 0; i <= w->pasids / 64; i++)
			words_at(w, dir)[i] = (LEAVES_AT + i * 4096ULL) | 1;
	}
}

static void add_device(struct world *w, unsigned int n)
{
	struct nst_device_config config = { 0 };
	char path[64];

	if (nst_soft_add_device(w->host, "dmatest", path, sizeof(path), NULL))
		errx(1, "no device");
	config.path = path;
	if (nst_device_open(w->vm, &config, &w->devices[n]) ||
	    nst_viommu_attach(w->viommu, rid_of(n), w->devices[n]))
		errx(1, "a device cannot be passed through");
}

static void settle_status(struct world *w, uint32_t bit)
{
	while (!(nst_viommu_mmio_read(w->viommu, GSTS, 4) & bit))
		nst_viommu_process(w->viommu);
}

static void make_world(struct world *w)
{
	struct nst_soft_config soft = { .synchronous = true };
	struct nst_vtd_config config = { .send_msi = no_msi };

	w->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (w->memory == MAP_FAILED)
		err(1, "mmap");
	if (nst_host_soft_create(&soft, &w->host) || nst_vm_create(w->host, NULL, &w->vm) ||
	    nst_vm_map(w->vm, (nst_gpa){ 0 }, MEMORY_BYTES, w->memory, true))
		errx(1, "no VM");
	config.vm = w->vm;
	if (nst_vtd_create(&config, &w->viommu))
		errx(1, "no unit");
	for (unsigned int n = 0; n < DEVICES; n++)
		add_device(w, n);
	make_tables(w);
	nst_viommu_mmio_write(w->viommu, RTADDR, 8, ROOT_AT | 1 << 10);
	nst_viommu_mmio_write(w->viommu, GCMD, 4, GCMD_SRTP);
	settle_status(w, GCMD_SRTP);
	nst_viommu_mmio_write(w->viommu, IQA, 8, QUEUE_AT | 1 << 11);
	nst_viommu_mmio_write(w->viommu, GCMD, 4, GCMD_QIE);
	nst_viommu_mmio_write(w->viommu, GCMD, 4, GCMD_QIE | GCMD_TE);
	settle_status(w, GCMD_TE);
}

static struct world *world(struct world *w)
{
	if (!w->viommu)
		make_world(w);
	return w;
}

/* --- rows ------------------------------------------------------------------------------- */

static uint64_t attaches(struct world *w)
{
	struct nst_viommu_stats stats;

	nst_viommu_get_stats(w->viommu, &stats);
	return stats.attaches;
}

/* A PASID in the middle of those that are there goes, and comes, on all devices with a table of @w.
 */
static bool changes(void *opaque, unsigned int operations)
{
	struct world *w = world(opaque);
	uint32_t pasid = MIN((w->pasids + 1) / 2, 500u);
	uint64_t *entry = entry_of(w, pasid), before = attaches(w);

	for (unsigned int i = 0; i < operations; i++) {
		__atomic_store_n(entry, *entry ^ 1, __ATOMIC_RELEASE);
		put(w, 7 | 1 << 4 | 1 << 16 | (uint64_t)pasid << 32, 0);
		if (!ring(w))
			return false;
	}
	return attaches(w) - before >= operations;
}

static bool globals(void *opaque, unsigned int operations)
{
	struct world *w = world(opaque);

	for (unsigned int i = 0; i < operations; i++) {
		put(w, 7 | 3 << 4, 0);
		if (!ring(w))
			return false;
	}
	return true;
}

/* 100 pages of the one domain that all devices share, and a wait. */
static bool doorbells(void *opaque, unsigned int operations)
{
	struct world *w = world(opaque);
	struct nst_viommu_stats before, after;

	nst_viommu_get_stats(w->viommu, &before);
	for (unsigned int i = 0; i < operations; i++) {
		for (uint64_t n = 0; n < 100; n++)
			put(w, 6 | 3 << 4 | 1 << 16 | (n % 2) << 32, n << 12);
		if (!ring(w))
			return false;
	}
	nst_viommu_get_stats(w->viommu, &after);
	w->calls =
		(double)(after.host_invalidate_calls - before.host_invalidate_calls) / operations;
	return after.host_invalidate_entries == before.host_invalidate_entries + 100 * operations;
}

static double calls(void *opaque)
{
	struct world *w = opaque;

	return w->calls;
}

static struct world one = { .pasids = 1 }, thousand = { .pasids = 1000 };
static struct world shared = { .pasids = 1000, .one_directory = true };

static const struct bench_row rows[] = {
	{ .name = "passthrough: one PASID changes on 64 devices, 1 present on each",
	  .run = changes,
	  .opaque = &one },
	{ .name = "passthrough: one PASID changes on 64 devices, 1000 present on each",
	  .run = changes,
	  .opaque = &thousand },
	{ .name = "passthrough: all PASIDs of 64 devices, 1000 in a table of each",
	  .run = globals,
	  .opaque = &thousand },
	{ .name = "passthrough: all PASIDs of 64 devices, 1000 in one table",
	  .run = globals,
	  .opaque = &shared },
	{ .name = "passthrough: calls of the host for 100 pages of a domain of 64 devices",
	  .run = doorbells,
	  .opaque = &one,
	  .count = calls },
};

const struct bench_group bench_passthrough = { NULL, rows, ARRAY_SIZE(rows) };
