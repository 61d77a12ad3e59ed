/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Invalidation-queue descriptors: VT-d 4.1 s6.5.2. vtd_desc_decode() is pure: bytes
 * in, a decoded descriptor or the reason to refuse it out.
 */
#ifndef VTD_DESC_H
#define VTD_DESC_H

#include "base/endian.h"
#include "vtd/regs.h"

#include <nestor/types.h>

enum vtd_desc_type {
	VTD_DESC_CONTEXT = 1,
	VTD_DESC_IOTLB = 2,
	VTD_DESC_DEVICE_TLB = 3,
	VTD_DESC_IEC = 4,
	VTD_DESC_WAIT = 5,
	VTD_DESC_PASID_IOTLB = 6,
	VTD_DESC_PASID_CACHE = 7,
	VTD_DESC_PASID_DEVICE_TLB = 8,
	VTD_DESC_PAGE_RESPONSE = 9,
};

enum vtd_desc_scope {
	VTD_SCOPE_GLOBAL, /* everything */
	VTD_SCOPE_DOMAIN, /* of a domain id */
	VTD_SCOPE_DEVICE, /* context cache: of a source id, under a mask */
	VTD_SCOPE_PASID,  /* of a domain id and a PASID */
	VTD_SCOPE_PAGES,  /* of an address range of the above */
};

struct vtd_desc {
	enum vtd_desc_type type;
	enum vtd_desc_scope scope;
	uint16_t did;
	uint32_t pasid;
	nst_rid sid;
	uint16_t sid_ignore;		/* bits of the source id that do not matter */
	uint64_t addr, npages;		/* VTD_SCOPE_PAGES; 4 KiB pages, addr is aligned to them */
	bool global;			/* of device TLBs: every PASID's */
	uint32_t first_irte, num_irtes; /* VTD_DESC_IEC */
	bool leaf;			/* IH: no paging-structure caches */
	struct {
		bool write_status, interrupt, drain;
		uint32_t status;
		nst_gpa status_addr;
	} wait;
	struct {
		bool has_pasid;
		uint16_t group;
		uint8_t code; /* 0 success, 1 invalid request, others failure */
	} response;
};

/*
 * @words: four of a @wide queue, which has 256-bit descriptors, else two. Returns 0 or a VTD_IQEI_*
 * code.
 */
unsigned int vtd_desc_decode(const le64 *words, bool wide, struct vtd_desc *out);

#endif
