/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a guest of an SMMUv3 has in its memory, as the conformance tests need it: a context
 * descriptor and 3-level tables of 4 KiB pages (39 bits of input) for each of its devices,
 * the first two doublewords of stream table entries, and commands.
 * Source: Arm IHI 0070 G.b, 4 Commands, 5.2 Stream Table Entry, 5.4 Context Descriptor.
 */
#ifndef TESTS_CONFORMANCE_SMMU_GUEST_H
#define TESTS_CONFORMANCE_SMMU_GUEST_H

#include "rig.h"

/* STE, doubleword 0 and 1. */
#define STE0_V 1ULL
#define STE0_CONFIG(config) ((uint64_t)(config) << 1)
#define STE0_ABORT STE0_CONFIG(0)
#define STE0_BYPASS STE0_CONFIG(4)
#define STE0_S1 STE0_CONFIG(5)
#define STE0_S1CDMAX(lg2) ((uint64_t)(lg2) << 59)
#define STE1_EATS(eats) ((uint64_t)(eats) << 28)
/* S1DSS, S1CIR, S1COR, S1CSH as Linux sets them. */
#define STE1_LINUX 0xd6ULL

/* Commands, doubleword 0 and 1. */
enum smmu_opcode {
	CFGI_STE = 0x03,
	CFGI_CD = 0x05,
	CFGI_CD_ALL = 0x06,
	TLBI_NH_ALL = 0x10,
	TLBI_NH_ASID = 0x11,
	TLBI_NH_VA = 0x12,
	TLBI_NH_VAA = 0x13,
	TLBI_S12_VMALL = 0x28,
	TLBI_NSNH_ALL = 0x30,
	ATC_INV = 0x40,
	CMD_SYNC = 0x46,
};
#define CMD0_SID(sid) ((uint64_t)(sid) << 32)
#define CMD0_ASID(asid) ((uint64_t)(asid) << 48)
#define CMD1_LEAF 1ULL

/* Events, by their number. */
enum smmu_event {
	C_BAD_STE = 0x04,
	C_BAD_CD = 0x0a,
	F_TRANSLATION = 0x10,
	F_ADDR_SIZE = 0x11,
	F_ACCESS = 0x12,
	F_PERMISSION = 0x13,
};

/* Of a context descriptor's first doubleword, what tests change. */
#define CD0_S (1ULL << 44)
#define CD0_R (1ULL << 45)
#define CD0_A (1ULL << 46)

/* Of a page descriptor. */
#define PAGE_READ_ONLY (1ULL << 7)
#define PAGE_ACCESSED (1ULL << 10)

struct smmu_guest {
	uint8_t *memory;
	uint64_t size;	    /* mapped at GPA 0 by smmu_guest_map() */
	uint64_t next_page; /* from the end down */
};

void smmu_guest_init(struct smmu_guest *guest, uint64_t size);
void smmu_guest_fini(struct smmu_guest *guest);
/* A context descriptor with empty tables: its GPA, and so S1ContextPtr. */
uint64_t smmu_context(struct smmu_guest *guest, uint16_t asid);
uint64_t *smmu_cd(struct smmu_guest *guest, uint64_t context);
void smmu_map(struct smmu_guest *guest, uint64_t context, uint64_t iova, uint64_t gpa);
/* The page descriptor of @iova, to be spoiled. */
uint64_t *smmu_leaf(struct smmu_guest *guest, uint64_t context, uint64_t iova);

#endif
