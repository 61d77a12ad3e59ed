// SPDX-License-Identifier: BSD-3-Clause
/* See smmu_guest.h. */
#include "smmu_guest.h"

#include <string.h>
#include <sys/mman.h>

#define ADDRESS 0xfffffffff000ULL
#define TABLE 0x3ULL
/* Page, attribute 0, EL0 may write, inner shareable, accessed, not global. */
#define LEAF (0x3ULL | 1ULL << 6 | 3ULL << 8 | PAGE_ACCESSED | 1ULL << 11)

/* T0SZ 25, 4 KiB, write-back inner shareable walks, no TTB1, 44 bits out, AArch64, R, A. */
#define CD0_T0SZ 25ULL
#define CD0_WALK_ATTRIBUTES (1ULL << 8 | 1ULL << 10 | 3ULL << 12)
#define CD0_EPD1 (1ULL << 30)
#define CD0_V (1ULL << 31)
#define CD0_IPS_44 (4ULL << 32)
#define CD0_AA64 (1ULL << 41)
#define CD0_ASET (1ULL << 47)

void smmu_guest_init(struct smmu_guest *guest, uint64_t size)
{
	*guest = (struct smmu_guest){ .size = size, .next_page = size };
	guest->memory =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(guest->memory, MAP_FAILED);
}

void smmu_guest_fini(struct smmu_guest *guest)
{
	munmap(guest->memory, guest->size);
}

static uint64_t new_page(struct smmu_guest *guest)
{
	guest->next_page -= PAGE;
	return guest->next_page;
}

uint64_t *smmu_cd(struct smmu_guest *guest, uint64_t context)
{
	return (uint64_t *)(void *)(guest->memory + context);
}

uint64_t smmu_context(struct smmu_guest *guest, uint16_t asid)
{
	uint64_t context = new_page(guest), *cd = smmu_cd(guest, context);

	cd[1] = new_page(guest);
	cd[3] = 0xff; /* attribute 0: normal memory, write-back */
	cd[0] = CD0_T0SZ | CD0_WALK_ATTRIBUTES | CD0_EPD1 | CD0_V | CD0_IPS_44 | CD0_AA64 | CD0_R |
		CD0_A | CD0_ASET | (uint64_t)asid << 48;
	return context;
}

uint64_t *smmu_leaf(struct smmu_guest *guest, uint64_t context, uint64_t iova)
{
	uint64_t table = smmu_cd(guest, context)[1] & ADDRESS;

	for (int shift = 30; shift > 12; shift -= 9) {
		uint64_t *entry =
			(uint64_t *)(void *)(guest->memory + table) + (iova >> shift & 511);

		if (!*entry)
			*entry = new_page(guest) | TABLE;
		table = *entry & ADDRESS;
	}
	return (uint64_t *)(void *)(guest->memory + table) + (iova >> 12 & 511);
}

void smmu_map(struct smmu_guest *guest, uint64_t context, uint64_t iova, uint64_t gpa)
{
	__atomic_store_n(smmu_leaf(guest, context, iova), gpa | LEAF, __ATOMIC_RELEASE);
}
