/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the probe of the mock IOMMU share: one process, as the recorder,
 * with a host whose personality is the selftest's.
 */
#ifndef TESTS_GOLDEN_MOCK_PROBE_H
#define TESTS_GOLDEN_MOCK_PROBE_H

#include "../conformance/rig.h"
#include "golden.h"
#include "host/soft/selftest/mock_abi.h"

#define result golden_result
#define line golden_line
#define RANGES 8
#define START SELFTEST_APERTURE_START

/* Calls go to rig->iommu, which is one open of /dev/iommu after the other. */
extern struct rig *rig;
extern uint8_t *buffer; /* BUFFER_BYTES, shared and zeroed */
#define BUFFER_BYTES (64 * PAGE)

/* What is there from "mock device" to "teardown". */
struct mock_probe {
	uint32_t ioas, stdev, idev, fault;
	uint32_t nest, dirty, plain, pas; /* paging HWPTs */
	uint32_t n1, n2;		  /* nested ones on nest; n2 is for PASIDs */
	uint32_t viommu, nv, vdevice;	  /* nv: nested HWPT of the vIOMMU */
	int fault_fd;
};

extern struct mock_probe o;

void fresh_context(void);
int test_cmd(uint32_t op, uint32_t id, struct selftest_cmd *cmd);
int mock_domain(uint32_t pt, uint32_t flags, struct selftest_cmd *out);
int map(uint32_t ioas, const void *va, uint64_t length, uint64_t *iova, uint32_t flags);
int unmap(uint32_t ioas, uint64_t iova, uint64_t length, uint64_t *unmapped);

/* mock_probe_ioas.c: no device */
void probe_framing(void **state);
void probe_ids(void **state);
void probe_file_calls(void **state);
void probe_options(void **state);
void probe_map(void **state);
void probe_map_file(void **state);
void probe_compat(void **state);

/* test_golden_mock.c: what the parts about devices need of each other */
int nested(uint32_t parent, uint32_t flags, uint32_t type, const void *data, uint32_t len,
	   uint32_t *out);
int nested_plain(uint32_t parent, uint32_t flags, uint32_t *out);
int replace(uint32_t pt);
unsigned int poll_events(int fd);

/* mock_probe_viommu.c */
void probe_viommu(void **state);
void probe_veventq(void **state);
void probe_invalidate(void **state);
void probe_hw_queue(void **state);
void probe_viommu_mmap(void **state);

#endif
