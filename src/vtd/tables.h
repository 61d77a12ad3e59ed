/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From the guest's root, context and PASID tables to what a device should be attached
 * to: VT-d 4.1 s3.4. Reads guest memory, changes nothing.
 */
#ifndef VTD_TABLES_H
#define VTD_TABLES_H

#include "base/endian.h"
#include "spec/vtd_caps.h"
#include "spec/vtd_faults.h"
#include "viommu/attach.h"

#include <nestor/mem.h>

struct vtd_tables {
	struct nst_mem *mem;
	uint64_t rtaddr;    /* as latched by SRTP */
	uint64_t cap, ecap; /* what the unit offers: other bits are reserved */
};

/* The 64 bytes of a scalable-mode PASID-table entry. */
struct vtd_pasid_entry {
	le64 qw[8];
};
_Static_assert(sizeof(struct vtd_pasid_entry) == 64, "PASID-table entry");

/* What the tables say of a request's requester and PASID. */
struct vtd_lookup {
	struct attachment attachment; /* vtd_tables_lookup() */
	uint32_t rid_pasid;	      /* what requests without PASID go by; 0 if unknown */
	bool fault_disabled;	      /* FPD: do not record what is wrong */
	bool page_requests;	      /* PRE: the device may make them */
	bool legacy;		      /* context is valid, else entry */
	bool rid_privileged;	      /* requests without PASID are privileged */
	bool device_tlb;	      /* DTE: the device may use ATS; valid whatever is wrong */
	uint64_t context[2];
	struct vtd_pasid_entry entry;
};

/*
 * The entry that requests of @rid with @pasid (NST_NO_PASID: without one) go by, as it
 * stands in memory: a legacy-mode context entry or a PASID-table entry, present or not.
 * Returns what is wrong on the way there; always fills @out.
 */
enum vtd_fault_reason vtd_tables_find(const struct vtd_tables *tables, nst_rid rid, uint32_t pasid,
				      struct vtd_lookup *out);

/*
 * Where plain requests of @rid go. Always fills @out; the attachment is BLOCKED unless
 * the reason returned is VTD_FAULT_NONE.
 */
enum vtd_fault_reason vtd_tables_lookup(const struct vtd_tables *tables, nst_rid rid,
					struct vtd_lookup *out);

/* Where requests of @rid with @pasid go, in the same way. @pasid is not 0. */
enum vtd_fault_reason vtd_tables_lookup_pasid(const struct vtd_tables *tables, nst_rid rid,
					      uint32_t pasid, struct vtd_lookup *out);

/* The PASID directory of @rid; @pasids is 0 if all requests with a PASID are blocked. */
struct vtd_pasid_dir {
	uint64_t gpa;	     /* of 8-byte entries, each for 64 PASIDs */
	uint32_t pasids;     /* how many it is for */
	bool fault_disabled; /* FPD of the context entry */
	bool page_requests;  /* PRE */
};
void vtd_tables_pasid_dir(const struct vtd_tables *tables, nst_rid rid, struct vtd_pasid_dir *out);

/* One entry of it: where its table is. */
enum vtd_fault_reason vtd_pasid_dir_decode(uint64_t entry, uint64_t cap, struct vtd_lookup *out,
					   uint64_t *table);

/* The last step alone, without memory: an entry to an attachment. */
enum vtd_fault_reason vtd_pasid_entry_decode(const struct vtd_pasid_entry *entry, uint64_t cap,
					     uint64_t ecap, struct attachment *out);

/* Address bits that are reserved in every structure: above the host address width. */
static inline uint64_t vtd_reserved_address(uint64_t cap)
{
	return ~(BIT64(FIELD_GET(VTD_CAP_MGAW, cap) + 1) - 1);
}

/* Levels of a second stage of address width @aw (field value), or 0: not offered. */
unsigned int vtd_second_stage_levels(uint64_t cap, uint64_t aw);

/* Bits that are reserved in every entry of one. */
uint64_t vtd_second_stage_reserved(uint64_t cap, uint64_t ecap);

/* Reasons that say "nothing there (yet)", not "this is wrong". */
static inline bool vtd_fault_is_absence(enum vtd_fault_reason reason)
{
	return reason == VTD_FAULT_LEGACY_ROOT_NOT_PRESENT ||
	       reason == VTD_FAULT_LEGACY_CONTEXT_NOT_PRESENT ||
	       reason == VTD_FAULT_ROOT_NOT_PRESENT || reason == VTD_FAULT_CONTEXT_NOT_PRESENT ||
	       reason == VTD_FAULT_PASID_DIR_NOT_PRESENT || reason == VTD_FAULT_PASID_NOT_PRESENT;
}

#endif
