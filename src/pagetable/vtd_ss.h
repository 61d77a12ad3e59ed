/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VT-d second-stage tables (VT-d 4.1 s3.7 Second-Stage Translation, s9.9 entries): 3 to
 * 5 levels of 512 entries, leaves of 4 KiB, 2 MiB and 1 GiB.
 *
 * There is no present bit: an entry that allows neither reads nor writes is not there.
 * What a leaf allows is what all entries above it allow, too. Accessed and dirty bits
 * (SSADE) are for units that offer ECAP.SSADS; this walk sets none.
 *
 * vtd_ss_walk() is a template like vtd_fs_walk().
 */
#ifndef PAGETABLE_VTD_SS_H
#define PAGETABLE_VTD_SS_H

#include "base/bits.h"
#include "base/endian.h"
#include "spec/vtd_faults.h"

#define VTD_SS_R BIT64(0)
#define VTD_SS_W BIT64(1)
#define VTD_SS_PS BIT64(7)   /* leaf, at levels 2 and 3; reserved above */
#define VTD_SS_SNP BIT64(11) /* reserved without ECAP.SC */
#define VTD_SS_ADDR GENMASK64(51, 12)
#define VTD_SS_TM BIT64(62) /* reserved without ECAP.DT */
#define VTD_SS_RSVD_2M GENMASK64(20, 12)
#define VTD_SS_RSVD_1G GENMASK64(29, 12)

enum { VTD_SS_LEVEL_BITS = 9 };

/* Bytes translated by one entry of @level (1 = last), as a power of two. */
static inline unsigned int vtd_ss_level_lg2(unsigned int level)
{
	return PAGE_SHIFT_4K + (level - 1) * VTD_SS_LEVEL_BITS;
}

struct vtd_ss_request {
	uint64_t address;
	uint64_t table;	   /* the top one */
	uint64_t reserved; /* bits that are reserved in every entry */
	unsigned int levels;
	bool write; /* what must be allowed; else reads */
};

struct vtd_ss_leaf {
	uint64_t address; /* of the page */
	unsigned int page_lg2;
	bool readable, writable;
};

/* Host memory of the 4 KiB table at @address, or NULL. */
typedef const uint64_t *vtd_ss_table_fn(void *opaque, uint64_t address);

static inline bool vtd_ss_entry_reserved(uint64_t entry, unsigned int level, uint64_t reserved)
{
	if (level >= 4)
		reserved |= VTD_SS_PS;
	else if (level == 3 && (entry & VTD_SS_PS))
		reserved |= VTD_SS_RSVD_1G;
	else if (level == 2 && (entry & VTD_SS_PS))
		reserved |= VTD_SS_RSVD_2M;
	return entry & reserved;
}

/*
 * Returns 0 and fills @leaf, or a VTD_FAULT_* reason of scalable mode; @leaf->page_lg2 is then
 * that of the entry which is to blame.
 */
static inline __attribute__((always_inline)) enum vtd_fault_reason vtd_ss_walk(
	const struct vtd_ss_request *req, vtd_ss_table_fn *table_fn, void *opaque,
	struct vtd_ss_leaf *leaf)
{
	uint64_t at = req->table;

	*leaf = (struct vtd_ss_leaf){ .readable = true, .writable = true };
	for (unsigned int level = req->levels;; level--) {
		const uint64_t *table = table_fn(opaque, at);
		unsigned int lg2 = vtd_ss_level_lg2(level);
		uint64_t entry;

		leaf->page_lg2 = lg2;
		if (!table)
			return level == req->levels ? VTD_FAULT_SSPTPTR_ACCESS
						    : VTD_FAULT_SS_ACCESS;
		entry = le64toh(
			__atomic_load_n(&table[req->address >> lg2 & 511], __ATOMIC_ACQUIRE));
		if (!(entry & (VTD_SS_R | VTD_SS_W)))
			return VTD_FAULT_SS_NOT_PRESENT;
		if (vtd_ss_entry_reserved(entry, level, req->reserved))
			return VTD_FAULT_SS_RESERVED;
		leaf->readable &= !!(entry & VTD_SS_R);
		leaf->writable &= !!(entry & VTD_SS_W);
		if (req->write ? !leaf->writable : !leaf->readable)
			return req->write ? VTD_FAULT_WRITE : VTD_FAULT_READ;
		at = entry & VTD_SS_ADDR;
		if (level == 1 || (level <= 3 && (entry & VTD_SS_PS))) {
			leaf->address = at;
			return VTD_FAULT_NONE;
		}
	}
}

#endif
