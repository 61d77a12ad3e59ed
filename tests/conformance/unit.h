/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest half's SMMUv3 on the host of a rig: a VM with memory, a unit, the rig's devices behind
 * it, and the driver of a guest, which writes tables and commands into that memory and looks
 * at what devices reach and at its queue of events. The host is a kernel's or the software one; the
 * same cases ask both.
 *
 * Between the unit and the host stands one that counts: what was asked, and what is still open
 * or allocated, which is nothing when a case has ended.
 */
#ifndef TESTS_CONFORMANCE_UNIT_H
#define TESTS_CONFORMANCE_UNIT_H

#include "smmu_guest.h"

#include <nestor/viommu.h>

struct counting_host {
	struct nst_host base;
	struct nst_host *inner; /* the rig's, and stays that */
	unsigned int calls;	/* of all kinds */
	unsigned int invalidations;
	unsigned int failed; /* ioctls that were refused */
	int fds, objects;    /* open; allocated by iommufd */
	bool spoil_cds;	     /* the host gets CFGI_CDs on a stream that it does not know */
};

enum { UNIT_DEVICES = 2 };

struct unit {
	struct rig *rig;
	struct counting_host host;
	struct nst_vm *vm;
	struct nst_viommu *viommu;
	struct nst_device *devices[UNIT_DEVICES];
	nst_rid rids[UNIT_DEVICES];
	struct smmu_guest guest; /* at GPA 0 */
	uint32_t prod;		 /* of commands */
	bool two_level;
};

/* Where the driver puts things; what smmu_guest.h makes comes from the end of memory. */
#define UNIT_MEMORY (16ULL << 20)
#define UNIT_CMDQ 0x1000ULL	/* 256 commands */
#define UNIT_L1 0x3000ULL	/* of a stream table of two levels */
#define UNIT_STRTAB 0x10000ULL	/* 512 entries, or a second level of 256 */
#define UNIT_EVENTQ 0x20000ULL	/* 2048 events: more than the unit has the host keep */
#define UNIT_DATA 0x100000ULL	/* where devices may write */
#define UNIT_HIGH 0x40000000ULL /* memory that some cases map */

enum { UNIT_CMDQ_LG2 = 8, UNIT_EVENTQ_LG2 = 11, UNIT_STRTAB_LG2 = 9 };

enum unit_reg {
	UNIT_IDR3 = 0x0c,
	UNIT_CR0 = 0x20,
	UNIT_CR0ACK = 0x24,
	UNIT_CR2 = 0x2c,
	UNIT_GBPA = 0x44,
	UNIT_GERROR = 0x60,
	UNIT_GERRORN = 0x64,
	UNIT_STRTAB_BASE = 0x80,
	UNIT_STRTAB_CFG = 0x88,
	UNIT_CMDQ_BASE = 0x90,
	UNIT_CMDQ_PROD = 0x98,
	UNIT_CMDQ_CONS = 0x9c,
	UNIT_EVENTQ_BASE = 0xa0,
	UNIT_EVENTQ_PROD = 0x100a8,
	UNIT_EVENTQ_CONS = 0x100ac,
};
#define IDR3_RIL (1u << 10)
#define CR0_SMMUEN 1u
#define CR0_EVENTQEN 4u
#define CR0_CMDQEN 8u
#define CR0_ALL (CR0_SMMUEN | CR0_EVENTQEN | CR0_CMDQEN)
#define GBPA_UPDATE 0x80000000u
#define GBPA_ABORT 0x100000u
#define CERROR_ILL 1u

#define CFGI_ALL 0x04 /* with 31 in doubleword 1 */
/* Range: SCALE 0, NUM + 1 pages, TG 4 KiB. */
#define CMD0_NUM(pages) (((uint64_t)(pages)-1) << 12)
#define CMD1_TG_4K (1ULL << 10)

/* The rig gives up its device for it. It is behind the unit as StreamID 0x10, a second as 0. */
void unit_init(struct unit *u, struct rig *rig, unsigned int num_devices);
/* Everything ends; nothing may be left on the host. Says how many calls it took. */
void unit_fini(struct unit *u, const char *name);
/* The device that the rig's functions are about from now on. */
void unit_use(struct unit *u, unsigned int device);

uint32_t unit_get(struct unit *u, enum unit_reg reg);
void unit_set(struct unit *u, enum unit_reg reg, uint32_t value);
/* Must be acknowledged. */
void unit_cr0(struct unit *u, uint32_t value);
/* What a driver does at boot: queues, an empty stream table, SMMUEN. */
void unit_enable(struct unit *u);

/* Into the queue; the unit does not know yet. */
void unit_put(struct unit *u, uint64_t cmd0, uint64_t cmd1);
void unit_kick(struct unit *u);
/* One command and a CMD_SYNC; both must be done. */
void unit_run(struct unit *u, uint64_t cmd0, uint64_t cmd1);
/* CONS.ERR if CMDQ_ERR is active, else 0. */
unsigned int unit_error(struct unit *u);

/* The entry of a device, invalidated too. */
void unit_write_ste(struct unit *u, nst_rid rid, uint64_t ste0);
/* The next event; one must come. */
void unit_event(struct unit *u, uint64_t event[4]);
/* One of this type, by @rid's write to @iova. */
void unit_expect_fault(struct unit *u, enum smmu_event type, nst_rid rid, uint64_t iova);
/* Waits until the queue has overflowed, takes what is in it, and acknowledges. */
void unit_drain_overflow(struct unit *u);
/* None is in the queue, and the host has none to give. */
void unit_expect_no_event(struct unit *u);

/* The device's write to @iova arrives at @gpa, and only there. */
void unit_reaches(struct unit *u, uint64_t iova, uint64_t gpa);
uint8_t *unit_memory(struct unit *u, uint64_t gpa);

#endif
