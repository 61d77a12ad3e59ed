/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A bench for one dmatest: the rig with a naive IOMMU in its bus, and a driver.
 *
 * The IOMMU is a list of pages, (PASID, IOVA) -> memory of the rig, looked through from
 * the start each time. A translated request is checked against it: if the list does not
 * say so now, the device used a translation after it was told to forget it, and that is a
 * violation, which fails the test. Without any page of a PASID, it has identity.
 */
#ifndef TESTS_UNIT_ENDPOINT_DMARIG_H
#define TESTS_UNIT_ENDPOINT_DMARIG_H

#include "rig.h"

#include "endpoint/dmatest.h"

#define DM_PAGES 512
#define DM_LOG 1024

struct dm_page {
	bool used, leaving, read, write;
	uint32_t pasid;
	uint64_t iova, to, size;
};

/* What becomes of page requests: answered inside page_request(), or by the test. */
enum dm_policy { DM_LATER, DM_GRANT, DM_PRETEND, DM_INVALID, DM_FAIL };

struct dmarig {
	struct rig r;
	struct dmatest *d;
	pthread_mutex_t lock; /* protects what follows */
	struct dm_page pages[DM_PAGES];
	bool confined; /* PASIDs without a page have no identity */
	enum dm_policy policy;
	struct endpoint_page_request log[DM_LOG];
	unsigned int logged;
	bool refuse_translation, refuse_translated;
	unsigned int untranslated, translated; /* requests */
	bool last_privileged;

	struct {
		uint64_t ring, cpl;
		uint32_t size, tail, cpl_head;
		bool phase;
	} q[DMATEST_QUEUES_MAX];
	uint32_t next_tag;
};

enum { DM_R = 1, DM_W = 2, DM_RW = 3 };

/* With ATS, PASID, privileged mode and 32 page requests enabled, as far as it has them. */
void dm_open(struct dmarig *m, const char *options, bool threaded);
void dm_enable_services(struct dmarig *m);
void dm_close(struct dmarig *m);
void dm_set_config(struct dmarig *m, unsigned int offset, unsigned int size, uint32_t value);
uint32_t dm_get_config(struct dmarig *m, unsigned int offset, unsigned int size);

void dm_map(struct dmarig *m, uint32_t pasid, uint64_t iova, uint64_t to, uint64_t size,
	    int rights);
/* Take the page out of the list, and tell the device (before that nothing is a violation). */
void dm_unmap(struct dmarig *m, uint32_t pasid, uint64_t iova);
void dm_answer(struct dmarig *m, unsigned int logged, enum endpoint_page_response_code code);
unsigned int dm_logged(struct dmarig *m);

struct dmatest_desc dm_desc(uint32_t opcode_and_flags, uint64_t a, uint64_t b, uint32_t length);
struct dmatest_desc dm_with_pasid(struct dmatest_desc desc, uint32_t pasid);

/* The immediate operation, and its status now. */
uint32_t dm_go(struct dmarig *m, struct dmatest_desc desc, struct dmatest_cpl *cpl);
uint32_t dm_imm(struct dmarig *m, struct dmatest_cpl *cpl);

uint32_t dm_qread(struct dmarig *m, unsigned int q, unsigned int reg);
void dm_qwrite(struct dmarig *m, unsigned int q, unsigned int reg, uint32_t value);
void dm_queue(struct dmarig *m, unsigned int q, uint32_t entries);	     /* set up and enable */
uint32_t dm_put(struct dmarig *m, unsigned int q, struct dmatest_desc desc); /* returns the tag */
void dm_ring(struct dmarig *m, unsigned int q);
bool dm_poll(struct dmarig *m, unsigned int q, struct dmatest_cpl *cpl);
uint64_t dm_stat(struct dmarig *m, enum dmatest_stat stat);

/* The model's own: the device's helpers are not their own oracle. */
void dm_fill(uint8_t *bytes, uint64_t seed, size_t size);
uint64_t dm_checksum(const uint8_t *bytes, size_t size);

#endif
