/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of the SMMUv3 share: a VM on the software host with a unit and small
 * devices, a host in between that counts, watches and fails calls, and the guest: its
 * memory, its tables and its driver's writes to the queue.
 *
 * Words of tables and commands are made here with shifts of their own, not with the
 * masks of src/spec: what both sides agree on is then a check of both.
 */
#ifndef TESTS_UNIT_SMMUV3_RIG_H
#define TESTS_UNIT_SMMUV3_RIG_H

#include "unit/rig_host.h"

#include "endpoint/endpoint.h"
#include "passthrough/device.h"
#include "smmuv3/unit.h"

#include <nestor/soft_host.h>
#include <nestor/viommu.h>

#include <errno.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>
#include <stdatomic.h>
#include <stdbool.h>

/* --- the guest's memory map ------------------------------------------------------------------ */

#define RIG_MEMORY (16ULL << 20) /* at GPA 0 */
#define GPA_CMDQ 0x1000ULL	 /* 256 commands */
#define GPA_EVENTQ 0x2000ULL	 /* 32 events */
#define GPA_SYNC 0x3000ULL	 /* words that MSIs of CMD_SYNC write */
#define GPA_L1 0x8000ULL	 /* of a stream table of two levels */
#define GPA_STRTAB 0x10000ULL	 /* a linear one of 512 entries */
#define GPA_L2 0x18000ULL	 /* second levels of 256 entries, for buses 0 and 1 */
#define GPA_CDS 0x40000ULL	 /* a page for each device: a CD for each place */
#define GPA_CDTAB 0x60000ULL	 /* CDs of substreams */
#define GPA_TABLES 0x100000ULL	 /* stage 1 tables, from here on */
#define GPA_DATA 0x800000ULL
#define GPA_NOTHING 0x4000000ULL /* no memory there */

enum { CMDQ_LG2 = 8, EVENTQ_LG2 = 5, STRTAB_LG2 = 9 };

/* What devices ask for in most tests, and where it can lead. */
#define PROBE_IOVA 0x900000ULL
enum place { NOWHERE, PLACE_SAME, PLACE_A, PLACE_B, PLACE_C, NUM_PLACES };

enum { RIG_MAX_DEVICES = 4 };

/* All have ATS; what they would keep they count the end of. */
struct rig_endpoint {
	struct endpoint ep;
	unsigned int ats_flushes;
	uint64_t flushed_first, flushed_last; /* by the last one */
	uint32_t flushed_pasid;
	/* an access on the device's own thread (options.threads) */
	uint64_t iova, value;
	uint32_t pasid;
	bool write;
	int result;
	atomic_uint done;
};

struct rig_device {
	struct endpoint *ep;
	char path[64];
	struct nst_device *dev;
	nst_rid rid;
};

struct rig_options {
	bool quirks; /* the host does as Linux does */
	bool no_msi;
	bool stalls;  /* the host has them */
	bool threads; /* devices have threads of their own: rig_dma_begin() */
	unsigned int features, ssid_bits, oas_bits;
};

struct rig {
	struct rig_host host;
	struct nst_vm *vm;
	struct nst_viommu *viommu;
	struct nst_log log;
	unsigned int logged[NST_LOG_DEBUG + 1];
	uint8_t *memory;
	struct rig_device devices[RIG_MAX_DEVICES];
	unsigned int num_devices;

	void *hook_data;

	/* emulated devices that wait, and what they were told last */
	struct nst_notifier *notifiers[4];
	unsigned int num_notifiers;
	unsigned int stall_answers, stall_tag;
	enum nst_stall_answer stall_answer;

	struct {
		uint64_t address;
		uint32_t data;
	} msis[16];
	unsigned int num_msis;
	uint32_t cons_at_msi;	/* where CONS stood when the last one came */
	unsigned int pulses[4]; /* by enum nst_smmuv3_irq */

	uint32_t prod; /* of commands, with the wrap bit */
	bool two_level;
	uint64_t next_table;
	uint64_t root_a, root_b, root_c; /* stage 1 tables: PROBE_IOVA -> PLACE_x */
};

/* A host, a VM with memory and a unit, no device; for cmocka's setup with one device. */
struct rig *rig_create(const struct rig_options *options);
void rig_destroy(struct rig *rig);
int rig_setup(void **state);
int rig_setup_empty(void **state);
int rig_teardown(void **state);

/* Plug an endpoint into the host; open it; put it behind the unit. Each may fail. */
struct rig_device *rig_plug(struct rig *rig, bool pasid);
NST_MUST_CHECK int rig_open(struct rig *rig, struct rig_device *d);
/* All three, which must succeed. */
struct rig_device *rig_add_device(struct rig *rig);

static inline struct smmu_unit *rig_unit(struct rig *rig)
{
	return to_smmu_unit(rig->viommu);
}

struct nst_viommu_stats rig_stats(struct rig *rig);
struct nst_soft_stats rig_soft_stats(struct rig *rig);
/* Nested HWPTs that the host has: what is left beside IOAS, parents, vIOMMUs and their own. */
int nested_alive(struct rig *rig);

/* --- registers ------------------------------------------------------------------------------- */

enum {
	REG_IDR0 = 0x00,
	REG_IDR1 = 0x04,
	REG_IDR2 = 0x08,
	REG_IDR3 = 0x0c,
	REG_IDR4 = 0x10,
	REG_IDR5 = 0x14,
	REG_IIDR = 0x18,
	REG_AIDR = 0x1c,
	REG_CR0 = 0x20,
	REG_CR0ACK = 0x24,
	REG_CR1 = 0x28,
	REG_CONTROL2 = 0x2c,
	REG_GBPA = 0x44,
	REG_IRQ_CTRL = 0x50,
	REG_IRQ_CTRLACK = 0x54,
	REG_GERROR = 0x60,
	REG_GERRORN = 0x64,
	REG_GERROR_CFG0 = 0x68,
	REG_GERROR_CFG1 = 0x70,
	REG_STRTAB_BASE = 0x80,
	REG_STRTAB_CFG = 0x88,
	REG_CMDQ_BASE = 0x90,
	REG_CMDQ_PROD = 0x98,
	REG_CMDQ_CONS = 0x9c,
	REG_EVENTQ_BASE = 0xa0,
	REG_EVENTQ_CFG0 = 0xb0,
	REG_EVENTQ_CFG1 = 0xb8,
	REG_EVENTQ_PROD = 0x100a8,
	REG_EVENTQ_CONS = 0x100ac,
};

#define CR0_SMMUEN 1u
#define CR0_EVENTQEN 4u
#define CR0_CMDQEN 8u
#define CR0_ALL (CR0_SMMUEN | CR0_EVENTQEN | CR0_CMDQEN)
#define GBPA_UPDATE 0x80000000u
#define GBPA_ABORT 0x100000u

uint32_t reg32(struct rig *rig, uint64_t offset);
uint64_t reg64(struct rig *rig, uint64_t offset);
void reg32_set(struct rig *rig, uint64_t offset, uint32_t value);
void reg64_set(struct rig *rig, uint64_t offset, uint64_t value);
/* CR0, which must be acknowledged. */
void cr0_set(struct rig *rig, uint32_t value);

/* --- memory and tables ----------------------------------------------------------------------- */

uint64_t *mem64(struct rig *rig, uint64_t gpa);
uint32_t mem32(struct rig *rig, uint64_t gpa);

/* A new, empty page for a table. */
uint64_t guest_page(struct rig *rig);
/* 4 KiB granules, 48 bits: the four-level table at @root. */
void guest_map(struct rig *rig, uint64_t root, uint64_t iova, uint64_t gpa);
uint64_t *guest_pte(struct rig *rig, uint64_t root, uint64_t iova);

/* Valid, accessed, of ASIDs (nG), user, writable. */
#define PTE_PAGE 0xc43ULL

uint64_t *guest_ste(struct rig *rig, nst_rid rid);
#define STE_ABORT 1ULL
#define STE_BYPASS (1ULL | 4ULL << 1)
#define STE_S1(cd) (1ULL | 5ULL << 1 | (cd))
#define STE_CDMAX(n) ((uint64_t)(n) << 59)
#define STE_FMT(n) ((uint64_t)(n) << 4)

/* V, AA64, R, A; nothing of the upper half; 48 bits in and out, 4 KiB. */
#define CD_WORD0(asid)                                                                         \
	(1ULL << 31 | 1ULL << 41 | 1ULL << 45 | 1ULL << 46 | 1ULL << 30 | 16ULL | 5ULL << 32 | \
	 (uint64_t)(asid) << 48)
void guest_write_cd(struct rig *rig, uint64_t gpa, uint64_t root, uint16_t asid);

/* The CD of a device for a place. */
#define CD_S (1ULL << 44)
#define STE1_S1STALLD (1ULL << 27)
uint64_t cd_of(struct rig *rig, nst_rid rid, enum place place);
#define ASID_OF(place) ((uint16_t)(10 + (place)))

/* --- queues ---------------------------------------------------------------------------------- */

#define CMD_CFGI_STE(sid) (0x03ULL | (uint64_t)(sid) << 32)
#define CMD_CFGI_ALL 0x04ULL /* qword 1: 31 */
#define CMD_CFGI_CD(sid, ssid) (0x05ULL | (uint64_t)(ssid) << 12 | (uint64_t)(sid) << 32)
#define CMD_CFGI_CD_ALL(sid) (0x06ULL | (uint64_t)(sid) << 32)
#define CMD_TLBI_NH_ALL 0x10ULL
#define CMD_TLBI_NH_ASID(asid) (0x11ULL | (uint64_t)(asid) << 48)
#define CMD_TLBI_NH_VA(asid) (0x12ULL | (uint64_t)(asid) << 48)
#define CMD_TLBI_NH_VAA 0x13ULL
#define CMD_TLBI_NSNH_ALL 0x30ULL
#define CMD_ATC_INV(sid) (0x40ULL | (uint64_t)(sid) << 32)
#define CMD_RESUME(sid) (0x44ULL | (uint64_t)(sid) << 32) /* qword 1: the STAG */
#define RESUME_RETRY (1ULL << 12)
#define CMD_STALL_TERM(sid) (0x45ULL | (uint64_t)(sid) << 32)
#define CMD_SYNC 0x46ULL
#define CMD_SYNC_IRQ(data) (0x46ULL | 1ULL << 12 | (uint64_t)(data) << 32)

/* Write a command into the queue; the unit does not know yet. */
void cmdq_put(struct rig *rig, uint64_t qw0, uint64_t qw1);
/* Tell it. */
void cmdq_kick(struct rig *rig);
/* One command and a CMD_SYNC, which must complete. */
void cmdq_run(struct rig *rig, uint64_t qw0, uint64_t qw1);
void cmdq_sync(struct rig *rig);
/* CONS.ERR if CMDQ_ERR is active, else 0; and seeing it. */
unsigned int cmdq_error(struct rig *rig);
void cmdq_ack(struct rig *rig);
/* The position CONS stands at. */
uint32_t cmdq_cons(struct rig *rig);

/* What a driver does at boot: an empty stream table, queues, interrupts, SMMUEN. */
void guest_setup(struct rig *rig);
void guest_enable(struct rig *rig);

/* The next event, as 4 words, taken from the queue; false: there is none. */
bool event_take(struct rig *rig, uint64_t event[4]);
/* Its type; 0: there is none. */
unsigned int event_type(struct rig *rig);

/* --- DMA ------------------------------------------------------------------------------------- */

NST_MUST_CHECK int dma_pasid(struct rig_device *d, uint32_t pasid, uint64_t iova, uint64_t *value,
			     bool write);
NST_MUST_CHECK int dma_read(struct rig_device *d, uint64_t iova, uint64_t *value);
/* Where its read of PROBE_IOVA arrives. */
enum place place_of(struct rig_device *d);
/* On the device's thread; the end is awaited, and may not come before somebody answers. */
void rig_dma_begin(struct rig_device *d, uint32_t pasid, uint64_t iova, bool write);
NST_MUST_CHECK int rig_dma_end(struct rig_device *d, uint64_t *value);
bool rig_dma_is_over(struct rig_device *d);
enum place place_of_pasid(struct rig_device *d, uint32_t pasid);

/* Write CD and entry of @d so that it leads to @place. */
void set_place(struct rig *rig, struct rig_device *d, enum place place);
/* The same, invalidated, and looked at. For a rig with one device. */
void go(struct rig *rig, struct rig_device *d, enum place place);

/* An access by an emulated device; *@gpa only on success. */
NST_MUST_CHECK int emulated(struct rig *rig, nst_rid rid, uint32_t pasid, uint64_t iova, bool write,
			    uint64_t *gpa);

/* An emulated device whose transactions may stall; removed with the rig. */
struct nst_notifier *rig_listen(struct rig *rig, nst_rid rid);
void rig_listen_end(struct rig *rig, struct nst_notifier *n);
/* An access by it. *@tag if it stalls, else *@gpa on success. */
NST_MUST_CHECK int waiting(struct nst_notifier *n, uint32_t pasid, uint64_t iova, bool write,
			   uint64_t *gpa, unsigned int *tag);

#endif
