/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of stage 2 share: its words, written out, and a VM behind stream RID. */
#ifndef TESTS_UNIT_SMMUV3_STAGE2_H
#define TESTS_UNIT_SMMUV3_STAGE2_H

#include "rig.h"

#define RID 0x25
#define CD_AT GPA_CDTAB
#define ASID 0x1234
#define VMID 0xabcd
#define IPA (PROBE_IOVA + 0x100000) /* of the page that PROBE_IOVA leads to */
#define AT_A (PROBE_IOVA + 1 * PAGE_SIZE_4K)
#define AT_B (PROBE_IOVA + 2 * PAGE_SIZE_4K)

/* Accessed, readable and writable, of memory. */
#define S2_PAGE 0x4ffULL
#define S2_READ 0x40ULL
#define S2_WRITE 0x80ULL
#define S2_MEMORY 0x3cULL
#define AF 0x400ULL

#define STE_S2 (1ULL | 6ULL << 1)
#define STE_NESTED(cd) (1ULL | 7ULL << 1 | (cd))
/* 4 KiB, level 0, 44 bits in and out, S2AA64, S2R */
#define S2_WORD(vmid) ((uint64_t)(vmid) | 20ULL << 32 | 2ULL << 38 | 4ULL << 48 | 1ULL << 51 | 1ULL << 58)
#define S2AFFD (1ULL << 53)
#define S2PTW (1ULL << 54)
#define S2R (1ULL << 58)

#define CMD_TLBI_S12_VMALL(vmid) (0x28ULL | (uint64_t)(vmid) << 32)
#define CMD_TLBI_S2_IPA(vmid) (0x2aULL | (uint64_t)(vmid) << 32)
#define OF_VM(vmid) ((uint64_t)(vmid) << 32)

struct vm {
	struct rig *rig;
	uint64_t root;
};

static inline void s2_map(struct vm *vm, uint64_t ipa, uint64_t gpa, uint64_t attributes)
{
	*guest_pte(vm->rig, vm->root, ipa) = gpa | attributes;
}

static inline void set_ste(struct rig *rig, nst_rid rid, uint64_t w0, uint64_t w2, uint64_t w3)
{
	uint64_t *ste = guest_ste(rig, rid);

	ste[0] = w0;
	ste[1] = 0;
	ste[2] = w2;
	ste[3] = w3;
	cmdq_run(rig, CMD_CFGI_STE(rid), 1);
}

/* The first CD, what is mapped in root_a, and its tables, where they are; PROBE_IOVA -> IPA -> AT_A. */
static inline struct vm make_vm(void)
{
	struct vm vm = { .rig = rig_create(&(struct rig_options){ .features = NST_SMMUV3_STAGE2,
								  .ssid_bits = 16 }) };

	guest_enable(vm.rig);
	vm.root = guest_page(vm.rig);
	guest_map(vm.rig, vm.rig->root_a, PROBE_IOVA, IPA);
	for (uint64_t at = GPA_TABLES; at < GPA_TABLES + 64 * 4096; at += 4096)
		s2_map(&vm, at, at, S2_PAGE);
	s2_map(&vm, CD_AT, CD_AT, S2_PAGE);
	s2_map(&vm, IPA, AT_A, S2_PAGE);
	guest_write_cd(vm.rig, CD_AT, vm.rig->root_a, ASID);
	set_ste(vm.rig, RID, STE_NESTED(CD_AT), S2_WORD(VMID), vm.root);
	return vm;
}

enum { CLASS_CD = 0, CLASS_TT = 1, CLASS_IN = 2 };

#endif
