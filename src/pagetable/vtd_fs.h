/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VT-d first-stage tables (VT-d 4.1 s3.6 First-Stage Translation, s9.8 entries):
 * 4 or 5 levels of 512 entries, leaves of 4 KiB, 2 MiB and 1 GiB, the layout of
 * x86-64 paging.
 *
 * vtd_fs_walk() is a template: @table_fn is a constant at every call, so the
 * compiler inlines it and no entry costs an indirect call. It maps the address of
 * a table (a GPA when nested) to memory of this process: that is where the second
 * stage comes in.
 *
 * Each entry is read once. Accessed and dirty bits are set by compare-and-swap on
 * the value that was judged; if the guest changed it meanwhile, it is judged anew.
 */
#ifndef PAGETABLE_VTD_FS_H
#define PAGETABLE_VTD_FS_H

#include "base/bits.h"
#include "base/endian.h"
#include "spec/vtd_faults.h"

#define VTD_FS_P BIT64(0)
#define VTD_FS_RW BIT64(1)
#define VTD_FS_US BIT64(2)
#define VTD_FS_A BIT64(5)
#define VTD_FS_D BIT64(6)
#define VTD_FS_PS BIT64(7) /* leaf, at levels 2 and 3; reserved at 4 and 5 */
#define VTD_FS_EA BIT64(10)
#define VTD_FS_ADDR GENMASK64(51, 12)
#define VTD_FS_RSVD_2M GENMASK64(20, 13)
#define VTD_FS_RSVD_1G GENMASK64(29, 13)

enum { VTD_FS_LEVEL_BITS = 9, VTD_FS_MAX_LEVELS = 5 };

/* Bytes translated by one entry of @level (1 = last), as a power of two. */
static inline unsigned int vtd_fs_level_lg2(unsigned int level)
{
	return PAGE_SHIFT_4K + (level - 1) * VTD_FS_LEVEL_BITS;
}

static inline unsigned int vtd_fs_index(uint64_t iova, unsigned int level)
{
	return (iova >> vtd_fs_level_lg2(level)) & 511;
}

/* Where a walk stands: at the top, or at a table that a cache remembered. */
struct vtd_fs_position {
	uint64_t table;	     /* address of the table to read next */
	unsigned int level;  /* of its entries */
	bool writable, user; /* what all entries above allow */
};

struct vtd_fs_request {
	uint64_t iova;
	uint64_t reserved; /* address bits the second stage cannot have (above the GPA width) */
	unsigned int levels;
	bool write;
	bool supervisor;
	bool write_protect; /* R/W binds supervisor requests too */
	bool extended_accessed;
	bool no_1g; /* a leaf of 1 GiB is reserved: no CAP.FS1GP */
	bool peek;  /* change nothing: the sanitizer's walk */
};

struct vtd_fs_leaf {
	uint64_t address; /* of the page */
	unsigned int page_lg2;
	bool writable; /* by this kind of request */
	bool dirty;    /* D is set: later writes need no walk */
	/* positions of the tables below the top that the walk passed: for the caller's cache */
	struct vtd_fs_position passed[VTD_FS_MAX_LEVELS];
	unsigned int num_passed;
};

static inline bool vtd_fs_canonical(uint64_t iova, unsigned int levels)
{
	unsigned int unused = 64 - vtd_fs_level_lg2(levels + 1);

	return (uint64_t)((int64_t)(iova << unused) >> unused) == iova;
}

/* Host memory of the 4 KiB table at @address, or NULL. *@writable: may A/D be set there? */
typedef uint64_t *vtd_fs_table_fn(void *opaque, uint64_t address, bool *writable);

static inline bool vtd_fs_entry_reserved(uint64_t entry, unsigned int level,
					 const struct vtd_fs_request *req)
{
	uint64_t reserved = req->reserved & VTD_FS_ADDR;

	if (level >= 4 || (level == 3 && req->no_1g))
		reserved |= VTD_FS_PS;
	else if (level == 3 && (entry & VTD_FS_PS))
		reserved |= VTD_FS_RSVD_1G;
	else if (level == 2 && (entry & VTD_FS_PS))
		reserved |= VTD_FS_RSVD_2M;
	return entry & reserved;
}

/*
 * Walk from @pos to the leaf of @req->iova. Returns 0 and fills @leaf, or a
 * VTD_FAULT_* reason.
 */
static inline __attribute__((always_inline)) enum vtd_fault_reason vtd_fs_walk(
	const struct vtd_fs_request *req, struct vtd_fs_position pos, vtd_fs_table_fn *table_fn,
	void *opaque, struct vtd_fs_leaf *leaf)
{
	leaf->num_passed = 0;
	for (;;) {
		bool top = pos.level == req->levels;
		bool table_writable = false;
		uint64_t *table = table_fn(opaque, pos.table, &table_writable);
		uint64_t *slot, raw, entry, bits;
		bool is_leaf, allowed_write;

		if (!table)
			return top ? VTD_FAULT_FSPTPTR_ACCESS : VTD_FAULT_FS_ACCESS;
		slot = &table[vtd_fs_index(req->iova, pos.level)];
		raw = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
	again:
		entry = le64toh(raw);
		if (!(entry & VTD_FS_P))
			return VTD_FAULT_FS_NOT_PRESENT;
		if (vtd_fs_entry_reserved(entry, pos.level, req))
			return VTD_FAULT_FS_RESERVED;
		is_leaf = pos.level == 1 || (pos.level <= 3 && (entry & VTD_FS_PS));
		allowed_write = pos.writable && (entry & VTD_FS_RW);
		if (!req->supervisor && !(pos.user && (entry & VTD_FS_US)))
			return VTD_FAULT_FS_PRIVILEGE;
		if (req->supervisor && !req->write_protect)
			allowed_write = true;
		if (is_leaf && req->write && !allowed_write)
			return VTD_FAULT_WRITE;

		bits = VTD_FS_A | (req->extended_accessed ? VTD_FS_EA : 0) |
		       (is_leaf && req->write ? VTD_FS_D : 0);
		if ((entry & bits) != bits && !req->peek) {
			if (!table_writable)
				return VTD_FAULT_FS_BIT_UPDATE;
			if (!__atomic_compare_exchange_n(slot, &raw, htole64(entry | bits), false,
							 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
				goto again;
			entry |= bits;
		}
		if (is_leaf) {
			leaf->page_lg2 = vtd_fs_level_lg2(pos.level);
			leaf->address = entry & VTD_FS_ADDR & ~(BIT64(leaf->page_lg2) - 1);
			leaf->writable = allowed_write;
			leaf->dirty = entry & VTD_FS_D;
			return VTD_FAULT_NONE;
		}
		pos.writable = pos.writable && (entry & VTD_FS_RW);
		pos.user = pos.user && (entry & VTD_FS_US);
		pos.table = entry & VTD_FS_ADDR;
		pos.level--;
		leaf->passed[leaf->num_passed++] = pos;
	}
}

#endif
