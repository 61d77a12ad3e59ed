/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A software SMMUv3 with a small guest in front of it: guest memory, a second stage that
 * maps it one to one, context descriptors and stage 1 tables built by the rig, and what
 * came out: events, ATS invalidations, the log. IPA n is byte n of ram as long as a test
 * does not change the map.
 */
#ifndef TESTS_SMMU_RIG_H
#define TESTS_SMMU_RIG_H

#include "test.h"

#include "base/bits.h"
#include "endpoint/endpoint.h"
#include "host/soft/smmuv3/smmu_hw.h"

#include <nestor/log.h>
#include <nestor/soft_host.h>

enum { RIG_SID = 0x0120, RIG_VMID = 7, RIG_ASID = 0x51 }; /* 01:04.0 */
#define RIG_RAM_SIZE (3ULL << 30)	/* of which only what is touched takes memory */
#define RIG_TABLES (16ULL << 20)	/* IPA from where the rig takes tables */
#define RIG_CDS (8ULL << 20)		/* of context descriptors; the rig's own is the first */
#define RIG_UPPER 0xffff000000000000ULL /* the first address of the upper half */

/* Bits of descriptors, as numbers of their own. */
enum { D_VALID = 1, D_TABLE = 2, D_USER = 1 << 6, D_RO = 1 << 7, D_AF = 1 << 10, D_NG = 1 << 11 };
#define D_DBM (1ULL << 51)
enum { D_RW = D_USER | D_AF | D_NG, D_READ = D_RW | D_RO };

/* Bits of qword 0 of a context descriptor. */
#define C_EPD0 (1ULL << 14)
#define C_EPD1 (1ULL << 30)
#define C_V (1ULL << 31)
#define C_AFFD (1ULL << 35)
#define C_TBI0 (1ULL << 38)
#define C_PAN (1ULL << 40)
#define C_AA64 (1ULL << 41)
#define C_HD (1ULL << 42)
#define C_HA (1ULL << 43)
#define C_S (1ULL << 44)
#define C_R (1ULL << 45)
#define C_A (1ULL << 46)

struct rig {
	struct smmu_hw *hw;
	struct sanitizer *sanitizer;
	struct range_map s2;
	uint8_t *ram;
	uint64_t next_table;
	unsigned int granule_kb;
	struct smmu_hw_ste ste;	 /* of RIG_SID: nested */
	uint64_t cd[8];		 /* at RIG_CDS: 48 bits in both halves, RIG_ASID */
	struct smmu_event event; /* the last */
	nst_rid event_sid;
	unsigned int num_events;
	struct {
		nst_rid sid;
		uint32_t pasid;
		bool global;
		uint64_t first, last;
	} ats;
	unsigned int num_ats;
	struct nst_log log;
	unsigned int warnings;
	char last_warning[512], last_check[512]; /* the second: of the sanitizer */
};

/* cmocka fixtures: *state is a struct rig, in check mode for the second. */
int rig_setup(void **state);
int rig_setup_check(void **state);
int rig_teardown(void **state);

/* A table of one granule, zeroed: its IPA. */
uint64_t rig_new_table(struct rig *rig);
/* The descriptor of @va at @level under @root, with all tables above it. 48-bit halves. */
uint64_t *rig_slot_of(struct rig *rig, uint64_t root, uint64_t va, unsigned int level);
uint64_t *rig_slot(struct rig *rig, uint64_t va, unsigned int level);
/* Store one word as a guest does. */
void rig_store(uint64_t *slot, uint64_t entry);
/* Map @va in the tables of rig->cd, with no invalidation; @bits 0 unmaps. */
void rig_map(struct rig *rig, uint64_t va, uint64_t ipa, unsigned int level, uint64_t bits);
/* The same for other granules: new, empty tables in rig->cd, which is not written. */
void rig_set_granule(struct rig *rig, unsigned int granule_kb);

/* rig->cd for another address space: its own, empty tables. */
void rig_make_cd(struct rig *rig, uint64_t cd[8], uint16_t asid);
void rig_write_cd(struct rig *rig, uint64_t ipa, const uint64_t cd[8]);
void rig_set_ste(struct rig *rig, nst_rid sid, const struct smmu_hw_ste *ste);
/* Qwords 0 and 1 of a guest's entry. */
void rig_make_s1(uint64_t s1[2], uint64_t context_ptr, unsigned int fmt, unsigned int cd_max,
		 unsigned int dss);

int rig_command(struct rig *rig, uint64_t qw0, uint64_t qw1);
void rig_tlbi_all(struct rig *rig);			   /* NSNH_ALL */
void rig_tlbi_va(struct rig *rig, uint64_t va, bool leaf); /* NH_VA of RIG_ASID */
void rig_cfgi_cd_all(struct rig *rig);

void rig_clear_s2(struct rig *rig); /* flushed */
void rig_add_s2(struct rig *rig, uint64_t ipa, uint64_t size, void *host, unsigned int perm);

int rig_dma_as(struct rig *rig, nst_rid sid, uint32_t pasid, bool write, uint64_t va, void *buf,
	       size_t size);
int rig_dma(struct rig *rig, bool write, uint64_t va, void *buf, size_t size);
/* What a device that reads 8 bytes gets; RIG_FAULT if it gets a fault. */
#define RIG_FAULT 0xdeaddeaddeaddeadULL
uint64_t rig_read(struct rig *rig, uint64_t va);
uint64_t rig_read_as(struct rig *rig, nst_rid sid, uint32_t pasid, uint64_t va);
/* Can a device write there? It writes what it read if it can read. */
bool rig_can_write(struct rig *rig, uint64_t va);
/* Put a number into memory at @ipa: what rig_read() will find. */
void rig_mark(struct rig *rig, uint64_t ipa, uint64_t value);
/* The type of the last event, then forgotten; 0 = there was none. */
unsigned int rig_take_event(struct rig *rig);

struct nst_soft_stats rig_stats(struct rig *rig);

#endif
