// SPDX-License-Identifier: BSD-3-Clause
/*
 * Translation Requests of emulated devices: PCIe 6.0 s10.2, VT-d 4.1 s4.2 Address Translation
 * Service. One page is found as for any request, as a write if the device means to write and
 * may; viommu/ats.h has what follows from that.
 *
 * Three answers: translations, of which one that allows nothing says "not there (yet)", and
 * is no fault; Unsupported Request, if the device may not ask; Completer Abort, if a structure
 * on the way cannot be read or is wrong. The latter two are recorded for the guest.
 */
#include "vtd/unit.h"

#include "viommu/ats.h"

#include <errno.h>

/* What the device finds out by an empty translation, and may then ask a page for (PRI). */
static bool is_of_the_page(enum vtd_fault_reason reason)
{
	switch (reason) {
	case VTD_FAULT_FS_NOT_PRESENT:
	case VTD_FAULT_FS_PRIVILEGE:
	case VTD_FAULT_SS_NOT_PRESENT:
	case VTD_FAULT_NOT_CANONICAL:
	case VTD_FAULT_ADDRESS:
	case VTD_FAULT_NESTED_ADDRESS:
	case VTD_FAULT_READ:
	case VTD_FAULT_WRITE:
	case VTD_FAULT_SM_INTERRUPT_RANGE:
		return true;
	default:
		return false;
	}
}

static enum nst_ats_status status_of(enum vtd_fault_reason reason)
{
	switch (reason) {
	case VTD_FAULT_LEGACY_ROOT_NOT_PRESENT:
	case VTD_FAULT_LEGACY_CONTEXT_NOT_PRESENT:
	case VTD_FAULT_LEGACY_CONTEXT_INVALID:
	case VTD_FAULT_RTA_TTM:
	case VTD_FAULT_RTA_PASID:
	case VTD_FAULT_ROOT_NOT_PRESENT:
	case VTD_FAULT_CONTEXT_NOT_PRESENT:
	case VTD_FAULT_CONTEXT_DEVICE_TLB:
	case VTD_FAULT_CONTEXT_PASIDE:
	case VTD_FAULT_CONTEXT_PDTS:
	case VTD_FAULT_CONTEXT_RID_PASID:
	case VTD_FAULT_PASID_DIR_NOT_PRESENT:
	case VTD_FAULT_PASID_NOT_PRESENT:
	case VTD_FAULT_PASID_TYPE:
	case VTD_FAULT_PASID_SRE:
		return NST_ATS_UNSUPPORTED_REQUEST;
	default:
		return NST_ATS_COMPLETER_ABORT;
	}
}

/* The page as a write, else as a read; what it does not allow then the entry says. */
static int find_page(struct vtd_unit *u, struct nst_translate_request *req, bool write,
		     struct vtd_xlate_attempt *a, enum vtd_fault_reason *reason)
{
	int ret = 0;

	*reason = VTD_FAULT_WRITE;
	req->write = write;
	if (write)
		ret = vtd_xlate_try(&u->xlate, req, a, reason);
	if (ret || !is_of_the_page(*reason))
		return ret;
	req->write = false;
	return vtd_xlate_try(&u->xlate, req, a, reason);
}

/* If interrupts stand inside the page, it is given in pieces that hold none. */
static unsigned int entry_lg2(uint32_t pasid, uint64_t iova, unsigned int lg2)
{
	while (lg2 > PAGE_SHIFT_4K && pasid == NST_NO_PASID &&
	       VTD_INTERRUPT_FIRST >> lg2 == iova >> lg2)
		lg2 -= 9;
	return lg2;
}

static int translate_one(void *unit, struct nst_translate_request *req, bool write,
			 struct nst_ats_entry *entry, enum nst_ats_status *status)
{
	struct vtd_unit *u = unit;
	struct vtd_xlate_attempt a = { .type = VTD_AT_TRANSLATION_REQUEST };
	enum vtd_fault_reason reason;
	unsigned int lg2;
	int ret;

	*status = NST_ATS_SUCCESS;
	*entry = (struct nst_ats_entry){ .gpa = { req->iova.v }, .size = PAGE_SIZE_4K };
	if (vtd_xlate_is_interrupt(req->pasid, req->iova.v)) {
		entry->write = entry->untranslated = true;
		return 0;
	}
	ret = find_page(u, req, write, &a, &reason);
	if (ret)
		return ret;
	if (reason && is_of_the_page(reason)) {
		entry->gpa.v = 0;
		return 0;
	}
	if (reason) {
		*status = status_of(reason);
		vtd_xlate_report(u, req, &a, reason);
		return 0;
	}
	lg2 = entry_lg2(req->pasid, req->iova.v, a.page.page_lg2);
	*entry = (struct nst_ats_entry){
		.gpa = { a.page.address |
			 (req->iova.v & (BIT64(a.page.page_lg2) - 1) & ~(BIT64(lg2) - 1)) },
		.size = BIT64(lg2),
		.read = vtd_xlate_allows(a.page.flags, false, a.privileged),
		.write = vtd_xlate_allows(a.page.flags, true, a.privileged),
		.privileged = req->pasid != NST_NO_PASID && a.privileged,
	};
	return 0;
}

int vtd_ats_translate(struct nst_viommu *viommu, const struct nst_ats_request *req,
		      struct nst_ats_entry *entries, unsigned int max, unsigned int *count,
		      enum nst_ats_status *status)
{
	return ats_translate(translate_one, to_vtd_unit(viommu), req, entries, max, count, status);
}
