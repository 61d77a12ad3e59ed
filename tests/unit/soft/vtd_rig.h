/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A software VT-d unit with a small guest in front of it: guest memory, a second stage
 * that maps it one to one, first-stage tables built by the rig, and a log that the
 * tests can read. GPA g is byte g of ram as long as a test does not change the map.
 */
#ifndef TESTS_VTD_RIG_H
#define TESTS_VTD_RIG_H

#include "test.h"

#include "base/bits.h"
#include "base/endian.h"
#include "endpoint/endpoint.h"
#include "host/soft/vtd/vtd_hw.h"

#include <nestor/log.h>
#include <nestor/soft_host.h>

#include <pthread.h>

enum { RIG_RID = 0x0120, RIG_DID = 7 }; /* 01:04.0 */
enum { RIG_HWPT = 5, RIG_IOAS = 3 };	/* ids in reports, and serial numbers */
#define RIG_RAM_SIZE (3ULL << 30)	/* of which only what is touched takes memory */
#define RIG_TABLES (16ULL << 20)	/* GPA from where the rig takes tables */

/* Bits of an entry, as numbers of their own. */
enum { E_P = 1, E_W = 2, E_U = 4, E_A = 1 << 5, E_D = 1 << 6, E_PS = 1 << 7, E_EA = 1 << 10 };
enum { E_RW = E_P | E_W | E_U, E_RO = E_P | E_U };

/* What a device was told to forget, and what it would have read there at that moment. */
struct rig_forgotten {
	nst_rid rid;
	uint32_t pasid;
	uint64_t iova, last, value;
};

struct rig {
	struct vtd_hw *hw;
	struct rig_forgotten forgotten[8];
	unsigned int num_forgotten;
	uint64_t forget_probe; /* the address that is read then */
	/* if set, called instead of all that; any thread */
	void (*on_forget)(void *opaque);
	void *on_forget_opaque;
	pthread_mutex_t report_lock;
	unsigned int reports; /* of faults, by the unit to its driver */
	struct vtd_hw_fault last_report;
	struct sanitizer *sanitizer;
	struct range_map s2;
	uint8_t *ram;
	uint64_t next_table;
	struct vtd_hw_entry entry; /* of RIG_RID without PASID: nested */
	struct nst_log log;
	unsigned int warnings;
	char last_warning[512]; /* without the lines of detail that follow a report: */
	char details[2048];
};

/* cmocka fixtures: *state is a struct rig, in check mode for the second. */
int rig_setup(void **state);
int rig_setup_check(void **state);
int rig_teardown(void **state);

/* A new first stage: its root, to be put into an entry. */
uint64_t rig_new_table(struct rig *rig);
/* The entry of @iova at @level under @root, with all tables above it. */
uint64_t *rig_slot(struct rig *rig, uint64_t root, uint64_t iova, unsigned int level);
/* Store one entry as a guest does. */
void rig_store(uint64_t *slot, uint64_t entry);
/* Map @iova in rig->entry's tables, with no invalidation. @level 2 and 3 set E_PS. */
void rig_map(struct rig *rig, uint64_t iova, uint64_t gpa, unsigned int level, unsigned int bits);

void rig_set_entry(struct rig *rig, nst_rid rid, uint32_t pasid, const struct vtd_hw_entry *entry);
/* Replace the second stage by nothing, flushed; then add to it. */
void rig_clear_s2(struct rig *rig);
void rig_add_s2(struct rig *rig, uint64_t gpa, uint64_t size, void *host, unsigned int perm);

int rig_dma_as(struct rig *rig, nst_rid rid, uint32_t pasid, bool write, uint64_t iova, void *buf,
	       size_t size);
int rig_dma(struct rig *rig, bool write, uint64_t iova, void *buf, size_t size);
/* What a device that reads 8 bytes gets; RIG_FAULT if it gets a fault. */
#define RIG_FAULT 0xdeaddeaddeaddeadULL
uint64_t rig_read(struct rig *rig, uint64_t iova);
/* Can a device write there? It writes what it read if it can read. */
bool rig_can_write(struct rig *rig, uint64_t iova);
/* Put a number into memory at @gpa: what rig_read() will find. */
void rig_mark(struct rig *rig, uint64_t gpa, uint64_t value);

struct nst_soft_stats rig_stats(struct rig *rig);

#endif
