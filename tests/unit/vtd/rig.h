/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of the VT-d unit share: a VM on the software host with a unit and small
 * devices, a host in between that counts, watches and fails calls, and the guest: its
 * memory, its tables and its driver's writes to the queue.
 *
 * Words of tables and descriptors are made here with shifts of their own, not with the
 * masks of src/spec: what both sides agree on is then a check of both.
 */
#ifndef TESTS_UNIT_VTD_RIG_H
#define TESTS_UNIT_VTD_RIG_H

#include "unit/rig_host.h"

#include "endpoint/endpoint.h"
#include "passthrough/device.h"
#include "vtd/unit.h"

#include <nestor/soft_host.h>
#include <nestor/viommu.h>

#include <errno.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>
#include <stdbool.h>

/* --- the guest's memory map ------------------------------------------------------------------ */

#define RIG_MEMORY (16ULL << 20)	/* at GPA 0 */
#define GPA_ROOT 0x1000ULL
#define GPA_ROOT2 0x2000ULL		/* a second set of tables begins there */
#define GPA_QUEUE 0x8000ULL
#define GPA_STATUS 0x9000ULL
#define GPA_CONTEXT 0x20000ULL		/* one page for each half bus of bus 0 and 1 */
#define GPA_PASIDS 0x30000ULL		/* per device: directory, table */
#define GPA_TABLES 0x100000ULL		/* first-stage tables, from here on */
#define GPA_DATA 0x800000ULL
#define GPA_NOTHING 0x4000000ULL	/* no memory there */

/* What devices ask for in most tests, and where it can lead. */
#define PROBE_IOVA 0x900000ULL
enum place { NOWHERE, PLACE_SAME, PLACE_A, PLACE_B, PLACE_C, NUM_PLACES };

enum { RIG_MAX_DEVICES = 4 };
/* Requester ids that no device is given, and that can have tables all the same. */
enum { RIG_SPARE_1 = 0x0138, RIG_SPARE_2 = 0x0140, RIG_SPARE_3 = 0x0100 };

struct rig_device {
	struct endpoint *ep;
	char path[64];
	struct nst_device *dev;
	nst_rid rid;
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

	struct {
		uint64_t address;
		uint32_t data;
	} msis[16];
	unsigned int num_msis;

	bool narrow;			/* the queue has 128-bit descriptors */
	uint64_t tail;			/* bytes */
	uint32_t status;		/* of the last wait */
	uint64_t next_table;
	uint64_t root_a, root_b, root_c;	/* first-stage tables: PROBE_IOVA -> PLACE_x */
};

/* A host, a VM with memory and a unit, no device; for cmocka's setup with one device. */
struct rig *rig_create(void);
/* The same on a host that has only what Linux 7.2 has. */
struct rig *rig_create_strict(void);
void rig_destroy(struct rig *rig);
int rig_setup(void **state);
int rig_setup_empty(void **state);
int rig_teardown(void **state);

/* Plug an endpoint into the host; open it; put it behind the unit. Each may fail. */
struct rig_device *rig_plug(struct rig *rig, bool pasid);
struct rig_device *rig_plug_endpoint(struct rig *rig, struct endpoint *ep);
NST_MUST_CHECK int rig_open(struct rig *rig, struct rig_device *d);
/* All three, which must succeed. */
struct rig_device *rig_add_device(struct rig *rig);

static inline struct vtd_unit *rig_unit(struct rig *rig)
{
	return to_vtd_unit(rig->viommu);
}

struct nst_viommu_stats rig_stats(struct rig *rig);
struct nst_soft_stats rig_soft_stats(struct rig *rig);

/* --- registers ------------------------------------------------------------------------------- */

enum {
	REG_VER = 0x00, REG_CAP = 0x08, REG_ECAP = 0x10, REG_GCMD = 0x18, REG_GSTS = 0x1c,
	REG_RTADDR = 0x20, REG_CCMD = 0x28, REG_FSTS = 0x34, REG_FECTL = 0x38, REG_FEDATA = 0x3c,
	REG_FEADDR = 0x40, REG_FEUADDR = 0x44, REG_IQH = 0x80, REG_IQT = 0x88, REG_IQA = 0x90,
	REG_ICS = 0x9c, REG_IECTL = 0xa0, REG_IEDATA = 0xa4, REG_IEADDR = 0xa8, REG_IEUADDR = 0xac,
	REG_IQERCD = 0xb0, REG_PQH = 0xc0, REG_PQT = 0xc8, REG_PQA = 0xd0, REG_PRS = 0xdc,
	REG_PECTL = 0xe0, REG_PEDATA = 0xe4, REG_PEADDR = 0xe8, REG_PEUADDR = 0xec,
	REG_FRCD = 0x220, REG_IVA = 0xf00, REG_IOTLB = 0xf08,
};

#define GCMD_TE 0x80000000u
#define GCMD_SRTP 0x40000000u
#define GCMD_WBF 0x08000000u
#define GCMD_QIE 0x04000000u
#define FSTS_PFO 0x01u
#define FSTS_PPF 0x02u
#define FSTS_IQE 0x10u
#define EVENT_IM 0x80000000u
#define EVENT_IP 0x40000000u

uint32_t reg32(struct rig *rig, uint64_t offset);
uint64_t reg64(struct rig *rig, uint64_t offset);
void reg32_set(struct rig *rig, uint64_t offset, uint32_t value);
void reg64_set(struct rig *rig, uint64_t offset, uint64_t value);
/* As drivers do it: the enables in force and one command. */
void gcmd(struct rig *rig, uint32_t set, uint32_t clear);

/* --- tables and queue ------------------------------------------------------------------------ */

uint64_t *mem64(struct rig *rig, uint64_t gpa);
uint32_t mem32(struct rig *rig, uint64_t gpa);

/* A new, empty page for a table. */
uint64_t guest_page(struct rig *rig);
void guest_map(struct rig *rig, uint64_t root, uint64_t iova, uint64_t gpa);
uint64_t *guest_pte(struct rig *rig, uint64_t root, uint64_t iova);

/* Pointers to the words of a device's entries, in the tables at GPA_ROOT. */
uint64_t *guest_root_entry(struct rig *rig, nst_rid rid);
uint64_t *guest_context_entry(struct rig *rig, nst_rid rid);
uint64_t *guest_dir_entry(struct rig *rig, nst_rid rid, uint32_t pasid);
uint64_t *guest_pasid_entry(struct rig *rig, nst_rid rid, uint32_t pasid);
/* Root, context and directory of @rid, and an absent entry for PASID 0. */
void guest_make_tables(struct rig *rig, nst_rid rid);

#define PASID_PRESENT 1ULL
#define PASID_FIRST_STAGE (1ULL << 6)
#define PASID_PASS_THROUGH (4ULL << 6)

/* Write the entry of @rid for PASID 0; nothing is invalidated. */
void guest_set_absent(struct rig *rig, nst_rid rid);
void guest_set_bypass(struct rig *rig, nst_rid rid);
void guest_set_stage1(struct rig *rig, nst_rid rid, uint64_t root, uint16_t did);

#define DESC_CONTEXT(gran, did, sid) \
	(0x1ULL | (uint64_t)(gran) << 4 | (uint64_t)(did) << 16 | (uint64_t)(sid) << 32)
#define DESC_IOTLB(gran, did) (0x2ULL | (uint64_t)(gran) << 4 | (uint64_t)(did) << 16)
#define DESC_WAIT(status) (0x5ULL | 1ULL << 5 | (uint64_t)(status) << 32)
#define DESC_WAIT_INTERRUPT (0x5ULL | 1ULL << 4)
#define DESC_PIOTLB(gran, did, pasid) \
	(0x6ULL | (uint64_t)(gran) << 4 | (uint64_t)(did) << 16 | (uint64_t)(pasid) << 32)
#define DESC_PASID_CACHE(gran, did, pasid) \
	(0x7ULL | (uint64_t)(gran) << 4 | (uint64_t)(did) << 16 | (uint64_t)(pasid) << 32)
#define PC_GLOBAL DESC_PASID_CACHE(3, 0, 0)

/* Write a descriptor into the queue; the unit does not know yet. */
void iq_put(struct rig *rig, uint64_t qw0, uint64_t qw1);
/* Tell it. */
void iq_kick(struct rig *rig);
/* One descriptor and a wait, which must complete. */
void iq_run(struct rig *rig, uint64_t qw0, uint64_t qw1);
/* A wait alone, which must complete. */
void iq_sync(struct rig *rig);
/* Write the queue's address and turn it on. */
void iq_enable(struct rig *rig);

/* What a driver does at boot: tables of all devices (absent entries), SRTP, QIE, TE. */
void guest_enable(struct rig *rig);
/* Global context and PASID-cache invalidation. */
void guest_sync(struct rig *rig);

/* --- DMA ------------------------------------------------------------------------------------- */

NST_MUST_CHECK int dma_read(struct rig_device *d, uint64_t iova, uint64_t *value);
NST_MUST_CHECK int dma_write(struct rig_device *d, uint64_t iova, uint64_t value);
/* Where its read of PROBE_IOVA arrives. */
enum place place_of(struct rig_device *d);

/* Nested HWPTs that the host has: what is left beside the IOAS, the parent, a fault queue. */
int nested_alive(struct rig *rig);
/* Write the entry of @d so that it leads to @place; domain id 10 + @place, or 1. */
void set_place(struct rig *rig, struct rig_device *d, enum place place);
/* The same, invalidated, and looked at. For a rig with one device. */
void go(struct rig *rig, struct rig_device *d, enum place place);
/* To three devices; then guest_enable(). */
void add_two_more(struct rig *rig);

/* --- faults ---------------------------------------------------------------------------------- */

/* The reason in fault record @index if it is pending, else 0. */
unsigned int fault_reason(struct rig *rig, unsigned int index);
unsigned int faults_pending(struct rig *rig);
void faults_clear(struct rig *rig);

#endif
