// SPDX-License-Identifier: BSD-3-Clause
/*
 * The software host's overhead: a translated 4 KiB DMA when the IOTLB has it and when it
 * has not, and IOMMU_HWPT_INVALIDATE of 1 and of 64 pages. Two stages: a 4-level first-stage
 * table on one mapping of 64 MiB. Many IOVA pages lead to the same memory, so that a
 * miss is a miss of the IOTLB and not of the processor's caches.
 */
#include "bench.h"

#include "base/bits.h"
#include "endpoint/endpoint.h"
#include "host/soft/soft.h"

#include <nestor/soft_host.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096ULL
#define MEMORY_BYTES (64ULL << 20)
#define TABLES_AT (32ULL << 20) /* the first-stage table, in the upper half */
#define IOVA_BASE (1ULL << 30)
#define IOVA_PAGES (192U * 1024) /* three times what the IOTLB holds */
#define DATA_PAGES 64U
#define FS_PRESENT_RW_USER_AD 0x67ULL

struct bench {
	struct nst_host *host;
	struct endpoint ep;
	int iommu, dev;
	uint32_t nested;
	uint8_t *memory;
	uint64_t next_table;
	unsigned int next_page; /* of the row that misses */
	uint8_t buf[PAGE];
};

/* --- set-up ----------------------------------------------------------------------------- */

static void ep_nothing(struct endpoint *ep)
{
}

static void call(struct bench *b, int fd, unsigned long request, void *arg)
{
	int ret = b->host->ops->ioctl(b->host, fd, request, arg);

	if (ret)
		errx(1, "ioctl 0x%lx: %s", request, strerror(-ret));
}

static uint64_t *table_at(struct bench *b, uint64_t gpa)
{
	return (uint64_t *)(b->memory + gpa);
}

static void map_page(struct bench *b, uint64_t root, uint64_t iova, uint64_t gpa)
{
	uint64_t *entry = NULL, table = root;

	for (int level = 4; level >= 1; level--) {
		entry = &table_at(b, table)[iova >> (12 + 9 * (level - 1)) & 511];
		if (level > 1 && !*entry) {
			b->next_table += PAGE;
			*entry = b->next_table | FS_PRESENT_RW_USER_AD;
		}
		table = *entry & ~0xfffULL;
	}
	*entry = gpa | FS_PRESENT_RW_USER_AD;
}

static uint32_t hwpt_alloc(struct bench *b, uint32_t dev, uint32_t pt, uint32_t flags,
			   const struct iommu_hwpt_vtd_s1 *s1)
{
	struct iommu_hwpt_alloc cmd = { .size = sizeof(cmd),
					.flags = flags,
					.dev_id = dev,
					.pt_id = pt,
					.data_type = s1 ? IOMMU_HWPT_DATA_VTD_S1 : 0,
					.data_len = s1 ? sizeof(*s1) : 0,
					.data_uptr = (uintptr_t)s1 };

	call(b, b->iommu, IOMMU_HWPT_ALLOC, &cmd);
	return cmd.out_hwpt_id;
}

static void attach(struct bench *b, uint32_t devid)
{
	struct iommu_ioas_alloc ioas = { .size = sizeof(ioas) };
	struct iommu_ioas_map map = { .size = sizeof(map),
				      .flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
					       IOMMU_IOAS_MAP_WRITEABLE,
				      .user_va = (uintptr_t)b->memory,
				      .length = MEMORY_BYTES };
	struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach) };
	struct iommu_hwpt_vtd_s1 s1 = { .pgtbl_addr = TABLES_AT, .addr_width = 48 };
	uint32_t parent;

	call(b, b->iommu, IOMMU_IOAS_ALLOC, &ioas);
	map.ioas_id = ioas.out_ioas_id;
	call(b, b->iommu, IOMMU_IOAS_MAP, &map);
	parent = hwpt_alloc(b, devid, ioas.out_ioas_id, IOMMU_HWPT_ALLOC_NEST_PARENT, NULL);
	b->nested = hwpt_alloc(b, devid, parent, 0, &s1);
	attach.pt_id = b->nested;
	call(b, b->dev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach);
}

static void setup(struct bench *b)
{
	static const struct endpoint_ops ops = {
		.model = "bench", .run = ep_nothing, .reset = ep_nothing, .destroy = ep_nothing
	};
	struct nst_soft_config config = { .synchronous = true };
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	char path[64];

	if (nst_host_soft_create(&config, &b->host))
		errx(1, "no memory");
	b->ep.ops = &ops;
	pci_config_init(&b->ep.config, 0x1234, 0x11e9, 0xff0000, 0);
	if (soft_add_endpoint(b->host, &b->ep, path, sizeof(path)))
		errx(1, "no device");
	b->iommu = b->host->ops->open(b->host, "/dev/iommu", O_RDWR);
	b->dev = b->host->ops->open(b->host, path, O_RDWR);
	bind.iommufd = b->iommu;
	call(b, b->dev, VFIO_DEVICE_BIND_IOMMUFD, &bind);
	b->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	if (b->memory == MAP_FAILED)
		err(1, "mmap");
	b->next_table = TABLES_AT;
	for (unsigned int page = 0; page < DATA_PAGES; page++)
		memset(b->memory + page * PAGE, (int)page + 1, PAGE);
	for (unsigned int page = 0; page < IOVA_PAGES; page++)
		map_page(b, TABLES_AT, IOVA_BASE + page * PAGE, page % DATA_PAGES * PAGE);
	attach(b, bind.out_devid);
}

/* --- rows ------------------------------------------------------------------------------- */

static bool read_page(struct bench *b, unsigned int page)
{
	struct endpoint_dma_request req = { .iova = { IOVA_BASE + page * PAGE },
					    .pasid = NST_NO_PASID,
					    .buf = b->buf,
					    .size = PAGE };

	return !b->ep.bus->ops->dma(b->ep.bus, &req) && b->buf[0] == page % DATA_PAGES + 1 &&
	       b->buf[PAGE - 1] == page % DATA_PAGES + 1;
}

static uint64_t misses(struct bench *b)
{
	struct nst_soft_stats stats;

	nst_soft_get_stats(b->host, &stats);
	return stats.iotlb_misses;
}

static bool dma_hits(void *opaque, unsigned int operations)
{
	struct bench *b = opaque;
	uint64_t before = misses(b);

	for (unsigned int i = 0; i < operations; i++)
		if (!read_page(b, i % DATA_PAGES))
			return false;
	return misses(b) - before <= DATA_PAGES;
}

static bool dma_misses(void *opaque, unsigned int operations)
{
	struct bench *b = opaque;
	uint64_t before = misses(b);

	for (unsigned int i = 0; i < operations; i++) {
		if (!read_page(b, DATA_PAGES + b->next_page))
			return false;
		b->next_page = (b->next_page + 1) % (IOVA_PAGES - DATA_PAGES);
	}
	return misses(b) - before >= operations - operations / 100 - DATA_PAGES;
}

static bool copy_pages(void *opaque, unsigned int operations)
{
	struct bench *b = opaque;

	for (unsigned int i = 0; i < operations; i++) {
		memcpy(b->buf, b->memory + i % DATA_PAGES * PAGE, PAGE);
		if (b->buf[0] != i % DATA_PAGES + 1)
			return false;
	}
	return true;
}

/* The first page that was flushed has to be walked for again, and only a flush makes that so. */
static bool invalidate(struct bench *b, unsigned int operations, uint32_t pages)
{
	struct iommu_hwpt_vtd_s1_invalidate entries[64];
	struct iommu_hwpt_invalidate cmd = { .size = sizeof(cmd),
					     .hwpt_id = b->nested,
					     .data_uptr = (uintptr_t)entries,
					     .data_type = IOMMU_HWPT_INVALIDATE_DATA_VTD_S1,
					     .entry_len = sizeof(entries[0]) };
	uint64_t before;

	for (uint32_t i = 0; i < pages; i++)
		entries[i] = (struct iommu_hwpt_vtd_s1_invalidate){ .addr = IOVA_BASE + i * PAGE,
								    .npages = 1 };
	if (!read_page(b, 0))
		return false;
	for (unsigned int i = 0; i < operations; i++) {
		cmd.entry_num = pages;
		call(b, b->iommu, IOMMU_HWPT_INVALIDATE, &cmd);
		if (cmd.entry_num != pages)
			return false;
	}
	before = misses(b);
	return read_page(b, 0) && misses(b) == before + 1;
}

static bool invalidate_1(void *opaque, unsigned int operations)
{
	return invalidate(opaque, operations, 1);
}

static bool invalidate_64(void *opaque, unsigned int operations)
{
	return invalidate(opaque, operations, 64);
}

static struct bench bench;

static void prepare(void)
{
	setup(&bench);
}

static const struct bench_row rows[] = {
	{ .name = "software host: 4 KiB DMA, IOTLB hit",
	  .run = dma_hits,
	  .floor = copy_pages,
	  .opaque = &bench },
	{ .name = "software host: 4 KiB DMA, IOTLB miss",
	  .run = dma_misses,
	  .floor = copy_pages,
	  .opaque = &bench },
	{ .name = "software host: IOMMU_HWPT_INVALIDATE, 1 page",
	  .run = invalidate_1,
	  .floor = floor_system_call,
	  .opaque = &bench },
	{ .name = "software host: IOMMU_HWPT_INVALIDATE, 64 pages",
	  .run = invalidate_64,
	  .floor = floor_system_call,
	  .opaque = &bench },
};

const struct bench_group bench_soft_host = { prepare, rows, ARRAY_SIZE(rows) };
