/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the conformance tests share: calls of the ABI as functions that return 0 or a
 * negative errno, and a small device to do DMA with.
 *
 * Cases that take a struct rig use the host only through struct nst_host_ops, so the same
 * source runs on the software host in this process, on that of "nestor host", and on a
 * kernel's /dev/iommu. What a host may lack is in the needs of a case (suite.h); where
 * results depend on the IOMMU, the rig has the numbers.
 */
#ifndef TESTS_CONFORMANCE_RIG_H
#define TESTS_CONFORMANCE_RIG_H

#include "suite.h"

#include <nestor/soft_host.h>

#include <errno.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>

#define ok(call) assert_int_equal((call), 0)
#define err(code, call) assert_int_equal((call), -(code))

#define PAGE 4096ULL
#define BAD_POINTER 0x10ULL /* in the first page, where nothing is mapped */

struct rig;

/* How a device is made to do DMA: dma.c. */
struct dma_device {
	const char *name;
	uint32_t pci_id; /* as the first word of configuration space */
	unsigned int provides;
	int (*write)(struct rig *rig, uint32_t pasid, uint64_t iova, uint64_t value);
	int (*read)(struct rig *rig, uint32_t pasid, uint64_t iova, uint64_t *value);
	/* What it read is as expected; NULL if it cannot read. */
	int (*check_read)(struct rig *rig, uint32_t pasid, uint64_t iova, uint64_t expected);
};

/* What the results depend on, by IOMMU. */
struct rig_iommu {
	uint32_t hw_info_type;
	unsigned int provides;
	uint64_t window, window_last; /* reserved for interrupts where a device is attached */
	uint64_t plain_last;	      /* the last address of a plain domain */
	uint64_t parent_last;	      /* and of a nesting parent; 0: the hardware says */
};

struct rig {
	struct nst_host *host;
	char path[64];
	bool has_pasid; /* the device's PASIDs are 20 bits wide, or there are none */
	int iommu;	/* an open /dev/iommu */
	int dev;	/* the cdev, bound */
	uint32_t devid;
	const struct rig_iommu *arch;
	const struct dma_device *dma;
	uint64_t wrote; /* by the last dma_write(): its value, or what the device always writes */
	size_t wrote_bytes;
};

/* Which host the cases run on. */
struct rig_options {
	bool in_process;
	const char *iommu;	/* in process: "vtd" or "smmuv3" */
	const char *devices[4]; /* else: their cdevs */
	bool no_huge_pages;	/* the kernel is built without */
};

/* 0, or a negative errno with a line on stderr: the host cannot be used. */
int rig_init(const struct rig_options *options);

/*
 * rig_soft.c: a software host in this process with one test device, bound. The static program for
 * kernels is linked without it.
 */
struct rig *rig_create(const struct nst_soft_config *config, bool pasid);
__attribute__((weak)) struct rig *rig_create_soft(const char *iommu, bool pasid);
__attribute__((weak)) void rig_add_soft_device(struct rig *rig, bool pasid, char *path,
					       size_t path_size);

void rig_destroy(struct rig *rig);
/* The last address of a nesting parent. */
uint64_t rig_parent_last(struct rig *rig);
/* Open, bind and look at what @rig->path names; for who has made @rig->host. */
void rig_bind(struct rig *rig);
/* Its PCI address in a kernel's sysfs; false: it is no kernel's. */
bool rig_pci_address(const struct rig *rig, char *address, size_t size);
/* One more device on the host of @rig. */
void rig_add_device(struct rig *rig, bool pasid, char *path, size_t path_size);

/* --- the seam, shorter ---------------------------------------------------------------- */

int host_open(struct rig *rig, const char *path);
int host_close(struct rig *rig, int fd);
int call(struct rig *rig, int fd, unsigned long request, void *arg);
int iommufd(struct rig *rig, unsigned long request, void *arg);

/* --- iommufd -------------------------------------------------------------------------- */

int destroy(struct rig *rig, uint32_t id);
uint32_t ioas_alloc(struct rig *rig);
int ioas_map(struct rig *rig, uint32_t ioas, const void *va, uint64_t length, uint64_t iova,
	     uint32_t perm);
int ioas_map_flags(struct rig *rig, uint32_t ioas, uint64_t va, uint64_t length, uint64_t *iova,
		   uint32_t flags);
int ioas_map_file(struct rig *rig, uint32_t ioas, int fd, uint64_t start, uint64_t length,
		  uint64_t *iova, uint32_t flags);
int ioas_unmap(struct rig *rig, uint32_t ioas, uint64_t iova, uint64_t *length);
int ioas_copy(struct rig *rig, uint32_t dst, uint64_t dst_iova, uint32_t src, uint64_t src_iova,
	      uint64_t length, uint32_t flags);
/* Number of ranges; the first four are stored. Asserts success. */
uint32_t ioas_ranges(struct rig *rig, uint32_t ioas, struct iommu_iova_range ranges[4],
		     uint64_t *alignment);
int ioas_allow(struct rig *rig, uint32_t ioas, const struct iommu_iova_range *ranges,
	       uint32_t count);

int hwpt_alloc(struct rig *rig, uint32_t dev, uint32_t pt, uint32_t flags, uint32_t *out);
int hwpt_alloc_data(struct rig *rig, uint32_t dev, uint32_t pt, uint32_t flags, uint32_t type,
		    const void *data, uint32_t len, uint32_t *out);
/* The usual first-stage table: 48 bits, no flags. */
int hwpt_alloc_nested(struct rig *rig, uint32_t parent, uint32_t flags, uint64_t root,
		      uint32_t *out);
int invalidate(struct rig *rig, uint32_t hwpt, uint32_t type, const void *entries, uint32_t len,
	       uint32_t *num);
int flush_page(struct rig *rig, uint32_t hwpt, uint64_t addr);
int flush_all(struct rig *rig, uint32_t hwpt);

#define RW (IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE)
#define RO IOMMU_IOAS_MAP_READABLE
#define WO IOMMU_IOAS_MAP_WRITEABLE
#define FIXED IOMMU_IOAS_MAP_FIXED_IOVA
#define NEST IOMMU_HWPT_ALLOC_NEST_PARENT
#define DIRTY IOMMU_HWPT_ALLOC_DIRTY_TRACKING
#define FAULT IOMMU_HWPT_FAULT_ID_VALID
#define PASID IOMMU_HWPT_ALLOC_PASID

/* --- VFIO ------------------------------------------------------------------------------ */

int bind_device(struct rig *rig, int dev, int iommu, uint32_t *devid);
/* The PASID form takes any value; *@pt_id is in and out. */
int attach(struct rig *rig, uint32_t *pt_id);
int attach_id(struct rig *rig, uint32_t pt_id);
int attach_pasid(struct rig *rig, uint32_t pasid, uint32_t pt_id);
int detach(struct rig *rig);
int detach_pasid(struct rig *rig, uint32_t pasid);
/* A fresh eventfd, non-blocking, as the device's request interrupt. */
int rig_listen_for_request(struct rig *rig);

/* --- the device: DMA and interrupts on command ------------------------------------------ */

#define NO_PASID UINT32_MAX
#define DEVICE_MSI_VECTORS 8
#define DEVICE_MSIX_VECTORS 4
#define DEVICE_MSIX_TABLE 0x800

/* Registers of BAR0. */
enum device_reg {
	REG_MAGIC = 0x00,   /* RO */
	REG_SCRATCH = 0x08, /* RW, 8 bytes */
	REG_IOVA = 0x10,
	REG_VALUE = 0x18, /* what to write, or what was read */
	REG_PASID = 0x20,
	REG_GO = 0x28,	   /* 1: read 8 bytes, 2: write 8 bytes */
	REG_STATUS = 0x30, /* result of the last: 0 or a negative errno */
	REG_RAISE = 0x38,  /* raise this vector */
	REG_RUNS = 0x40,   /* RO: how often run() has run */
	REG_DONE = 0x48,   /* RO: how many accesses it has ended */
};
#define DEVICE_MAGIC 0x6e6573746f72ULL

uint64_t bar_get(struct rig *rig, unsigned int reg);
void bar_set(struct rig *rig, unsigned int reg, uint64_t value);
uint32_t config_get(struct rig *rig, unsigned int offset, unsigned int size);
void config_set(struct rig *rig, unsigned int offset, unsigned int size, uint32_t value);
void enable_bus_master(struct rig *rig);
/* On a synchronous host: 0 or -EFAULT. */
int dma_read(struct rig *rig, uint32_t pasid, uint64_t iova, uint64_t *value);
int dma_write(struct rig *rig, uint32_t pasid, uint64_t iova, uint64_t value);
/* Did the last dma_write() change the bytes at @target? */
bool dma_arrived(const struct rig *rig, const void *target);
/* The device reaches @target (8 bytes) at @iova, by writing and, if it can, by reading. */
void dma_reaches(struct rig *rig, uint32_t pasid, uint64_t iova, void *target);
void dma_is_blocked(struct rig *rig, uint32_t pasid, uint64_t iova);

extern const struct dma_device dma_own_device, dma_testdev, dma_dmatest;

/* A guest's memory with a 4-level first-stage table in it that maps @iova -> @gpa. */
struct guest {
	uint8_t *memory;
	uint64_t size; /* mapped at GPA 0 by the tests */
	uint64_t next_table;
};

void guest_init(struct guest *guest, uint64_t size);
void guest_fini(struct guest *guest);
/* A new, empty top table. */
uint64_t guest_table(struct guest *guest);
void guest_map(struct guest *guest, uint64_t root, uint64_t iova, uint64_t gpa);
void guest_unmap(struct guest *guest, uint64_t root, uint64_t iova);

#endif
