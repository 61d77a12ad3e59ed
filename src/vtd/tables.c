// SPDX-License-Identifier: BSD-3-Clause
/*
 * See tables.h. One function per structure, in the order a request meets them:
 *
 *	RTADDR -> root entry (bus) -> context entry (devfn) -> PASID directory -> PASID table
 */
#include "vtd/tables.h"

#include "pagetable/vtd_ss.h"
#include "spec/vtd_tables.h"

enum vtd_fault_reason vtd_pasid_entry_decode(const struct vtd_pasid_entry *entry, uint64_t cap,
					     uint64_t ecap, struct attachment *out)
{
	uint64_t qw[8];
	uint64_t flags = 0;

	for (unsigned int i = 0; i < 8; i++)
		qw[i] = le64_get(entry->qw[i]);
	if (!(qw[0] & VTD_PASID_P))
		return VTD_FAULT_PASID_NOT_PRESENT;
	if ((qw[0] & VTD_PASID_RESERVED0) || (qw[1] & VTD_PASID_RESERVED1) ||
	    (qw[2] & VTD_PASID_RESERVED2) || qw[3] | qw[4] | qw[5] | qw[6] | qw[7])
		return VTD_FAULT_PASID_RESERVED;
	if (((qw[1] & VTD_PASID_PWSNP) && !(ecap & VTD_ECAP_SMPWCS)) ||
	    ((qw[1] & VTD_PASID_PGSNP) && !(ecap & VTD_ECAP_SC)))
		return VTD_FAULT_PASID_RESERVED;
	switch (FIELD_GET(VTD_PASID_PGTT, qw[0])) {
	case VTD_PGTT_PASS_THROUGH:
		*out = (struct attachment){ .kind = ATTACHMENT_BYPASS };
		return VTD_FAULT_NONE;
	case VTD_PGTT_FIRST_STAGE:
		break;
	default:
		return VTD_FAULT_PASID_TYPE;
	}
	if (FIELD_GET(VTD_PASID_FSPM, qw[2]) > !!(cap & VTD_CAP_FS5LP))
		return VTD_FAULT_PASID_TYPE;
	if (((qw[2] & VTD_PASID_SRE) && !(ecap & VTD_ECAP_SRS)) ||
	    ((qw[2] & VTD_PASID_ERE) && !(ecap & VTD_ECAP_ERS)) ||
	    (qw[2] & vtd_reserved_address(cap)) ||
	    ((qw[2] & VTD_PASID_EAFE) && !(ecap & VTD_ECAP_EAFS)))
		return VTD_FAULT_PASID_RESERVED;
	if (qw[2] & VTD_PASID_SRE)
		flags |= IOMMU_VTD_S1_SRE;
	if (qw[2] & VTD_PASID_WPE)
		flags |= IOMMU_VTD_S1_WPE;
	if (qw[2] & VTD_PASID_EAFE)
		flags |= IOMMU_VTD_S1_EAFE;
	*out = (struct attachment){
		.kind = ATTACHMENT_STAGE1,
		.domain_id = FIELD_GET(VTD_PASID_DID, qw[1]),
		.s1 = {
			.flags = flags, .pgtbl_addr = qw[2] & VTD_TABLE_PTR,
			.addr_width = FIELD_GET(VTD_PASID_FSPM, qw[2]) ? 57 : 48,
		},
	};
	return VTD_FAULT_NONE;
}

enum vtd_fault_reason vtd_pasid_dir_decode(uint64_t entry, uint64_t cap, struct vtd_lookup *out,
					   uint64_t *table)
{
	if (!(entry & VTD_PASID_DIR_P))
		return VTD_FAULT_PASID_DIR_NOT_PRESENT;
	out->fault_disabled |= entry & VTD_PASID_DIR_FPD;
	if (entry & (VTD_PASID_DIR_RESERVED | vtd_reserved_address(cap)))
		return VTD_FAULT_PASID_DIR_RESERVED;
	*table = entry & VTD_TABLE_PTR;
	return VTD_FAULT_NONE;
}

static uint32_t dir_pasids(uint64_t context0)
{
	return 1u << (FIELD_GET(VTD_CONTEXT_PDTS, context0) + 7 + VTD_PASID_TABLE_LG2);
}

static enum vtd_fault_reason find_pasid(const struct vtd_tables *tables, uint64_t context0,
					uint32_t pasid, bool rid_pasid, struct vtd_lookup *out)
{
	enum vtd_fault_reason reason;
	uint64_t table = 0;
	nst_gpa at;
	le64 raw;

	if (pasid >= dir_pasids(context0))
		return rid_pasid ? VTD_FAULT_CONTEXT_RID_PASID : VTD_FAULT_CONTEXT_PDTS;
	at.v = (context0 & VTD_TABLE_PTR) + (pasid >> VTD_PASID_TABLE_LG2) * sizeof(raw);
	if (nst_mem_read(tables->mem, at, &raw, sizeof(raw)))
		return VTD_FAULT_PASID_DIR_ACCESS;
	reason = vtd_pasid_dir_decode(le64_get(raw), tables->cap, out, &table);
	if (reason)
		return reason;
	at.v = table + (pasid & (BIT64(VTD_PASID_TABLE_LG2) - 1)) * sizeof(out->entry);
	if (nst_mem_read(tables->mem, at, &out->entry, sizeof(out->entry)))
		return VTD_FAULT_PASID_TABLE_ACCESS;
	out->fault_disabled |= le64_get(out->entry.qw[0]) & VTD_PASID_FPD;
	return VTD_FAULT_NONE;
}

struct scalable_context {
	uint64_t qw0, qw1;
};

static enum vtd_fault_reason read_context(const struct vtd_tables *tables, nst_rid rid,
					  struct vtd_lookup *out, struct scalable_context *context)
{
	uint64_t devfn = rid & 0xff;
	struct {
		le64 qw[2];
	} root;
	struct {
		le64 qw[4];
	} raw;
	uint64_t half;
	nst_gpa at = { (tables->rtaddr & VTD_TABLE_PTR) + (rid >> 8) * sizeof(root) };

	if (nst_mem_read(tables->mem, at, &root, sizeof(root)))
		return VTD_FAULT_ROOT_ACCESS;
	half = le64_get(root.qw[devfn >> 7]);
	if (!(half & VTD_ROOT_P))
		return VTD_FAULT_ROOT_NOT_PRESENT;
	if (half & (VTD_ROOT_RESERVED | vtd_reserved_address(tables->cap)))
		return VTD_FAULT_ROOT_RESERVED;
	at.v = (half & VTD_TABLE_PTR) + (devfn & 0x7f) * sizeof(raw);
	if (nst_mem_read(tables->mem, at, &raw, sizeof(raw)))
		return VTD_FAULT_CONTEXT_ACCESS;
	context->qw0 = le64_get(raw.qw[0]);
	context->qw1 = le64_get(raw.qw[1]);
	if (!(context->qw0 & VTD_CONTEXT_P))
		return VTD_FAULT_CONTEXT_NOT_PRESENT;
	out->fault_disabled = context->qw0 & VTD_CONTEXT_FPD;
	out->page_requests = context->qw0 & VTD_CONTEXT_PRE;
	if ((context->qw0 & (VTD_CONTEXT_RESERVED0 | vtd_reserved_address(tables->cap))) ||
	    (context->qw1 & VTD_CONTEXT_RESERVED1) || le64_get(raw.qw[2]) || le64_get(raw.qw[3]))
		return VTD_FAULT_CONTEXT_RESERVED;
	out->device_tlb = context->qw0 & VTD_CONTEXT_DTE;
	return VTD_FAULT_NONE;
}

static enum vtd_fault_reason find_scalable(const struct vtd_tables *tables, nst_rid rid,
					   uint32_t pasid, struct vtd_lookup *out)
{
	struct scalable_context context;
	enum vtd_fault_reason reason = read_context(tables, rid, out, &context);

	if (reason)
		return reason;
	if (tables->ecap & VTD_ECAP_RPS) /* without it PASID 0, whatever the field says */
		out->rid_pasid = FIELD_GET(VTD_CONTEXT_RID_PASID, context.qw1);
	out->rid_privileged = context.qw1 & VTD_CONTEXT_RID_PRIV;
	if (pasid == NST_NO_PASID)
		return find_pasid(tables, context.qw0, out->rid_pasid, true, out);
	if (!(context.qw0 & VTD_CONTEXT_PASIDE))
		return VTD_FAULT_CONTEXT_PASIDE;
	return find_pasid(tables, context.qw0, pasid, false, out);
}

static bool is_scalable(const struct vtd_tables *tables)
{
	return FIELD_GET(VTD_RTADDR_TTM, tables->rtaddr) == VTD_TTM_SCALABLE;
}

enum vtd_fault_reason vtd_tables_lookup_pasid(const struct vtd_tables *tables, nst_rid rid,
					      uint32_t pasid, struct vtd_lookup *out)
{
	struct scalable_context context;
	enum vtd_fault_reason reason;

	*out = (struct vtd_lookup){ .attachment.kind = ATTACHMENT_BLOCKED };
	/* what is wrong with the context entry is told of the plain requests */
	if (!is_scalable(tables) || read_context(tables, rid, out, &context) ||
	    !(context.qw0 & VTD_CONTEXT_PASIDE) || pasid >= dir_pasids(context.qw0))
		return VTD_FAULT_PASID_NOT_PRESENT;
	reason = find_pasid(tables, context.qw0, pasid, false, out);
	return reason ? reason
		      : vtd_pasid_entry_decode(&out->entry, tables->cap, tables->ecap,
					       &out->attachment);
}

void vtd_tables_pasid_dir(const struct vtd_tables *tables, nst_rid rid, struct vtd_pasid_dir *out)
{
	struct scalable_context context;
	struct vtd_lookup lookup = { 0 };

	*out = (struct vtd_pasid_dir){ 0 };
	if (!is_scalable(tables) || read_context(tables, rid, &lookup, &context) ||
	    !(context.qw0 & VTD_CONTEXT_PASIDE))
		return;
	*out = (struct vtd_pasid_dir){
		.gpa = context.qw0 & VTD_TABLE_PTR,
		.pasids = dir_pasids(context.qw0),
		.fault_disabled = lookup.fault_disabled,
		.page_requests = lookup.page_requests,
	};
}

static enum vtd_fault_reason find_legacy(const struct vtd_tables *tables, nst_rid rid,
					 struct vtd_lookup *out)
{
	struct {
		le64 qw[2];
	} entry;
	nst_gpa at = { (tables->rtaddr & VTD_TABLE_PTR) + (rid >> 8) * sizeof(entry) };
	uint64_t lo;

	out->legacy = true;
	if (nst_mem_read(tables->mem, at, &entry, sizeof(entry)))
		return VTD_FAULT_LEGACY_ROOT_ACCESS;
	lo = le64_get(entry.qw[0]);
	if (!(lo & VTD_ROOT_P))
		return VTD_FAULT_LEGACY_ROOT_NOT_PRESENT;
	if ((lo & (VTD_ROOT_RESERVED | vtd_reserved_address(tables->cap))) || le64_get(entry.qw[1]))
		return VTD_FAULT_LEGACY_ROOT_RESERVED;
	at.v = (lo & VTD_TABLE_PTR) + (rid & 0xff) * sizeof(entry);
	if (nst_mem_read(tables->mem, at, &entry, sizeof(entry)))
		return VTD_FAULT_LEGACY_CONTEXT_ACCESS;
	out->context[0] = le64_get(entry.qw[0]);
	out->context[1] = le64_get(entry.qw[1]);
	if (!(out->context[0] & VTD_CONTEXT_P))
		return VTD_FAULT_LEGACY_CONTEXT_NOT_PRESENT;
	out->fault_disabled = out->context[0] & VTD_CONTEXT_FPD;
	if ((out->context[0] &
	     (VTD_LEGACY_CONTEXT_RESERVED0 | vtd_reserved_address(tables->cap))) ||
	    (out->context[1] & VTD_LEGACY_CONTEXT_RESERVED1))
		return VTD_FAULT_LEGACY_CONTEXT_RESERVED;
	return VTD_FAULT_NONE;
}

enum vtd_fault_reason vtd_tables_find(const struct vtd_tables *tables, nst_rid rid, uint32_t pasid,
				      struct vtd_lookup *out)
{
	*out = (struct vtd_lookup){ .attachment.kind = ATTACHMENT_BLOCKED };
	switch (FIELD_GET(VTD_RTADDR_TTM, tables->rtaddr)) {
	case VTD_TTM_SCALABLE:
		return find_scalable(tables, rid, pasid, out);
	case VTD_TTM_LEGACY:
		return pasid == NST_NO_PASID ? find_legacy(tables, rid, out) : VTD_FAULT_RTA_PASID;
	case VTD_TTM_ABORT: /* all requests are aborted, and nothing is reported */
		out->fault_disabled = true;
		return VTD_FAULT_RTA_TTM;
	default:
		return VTD_FAULT_RTA_TTM;
	}
}

unsigned int vtd_second_stage_levels(uint64_t cap, uint64_t aw)
{
	return aw <= 3 && (FIELD_GET(VTD_CAP_SAGAW, cap) & BIT64(aw)) ? (unsigned int)aw + 2 : 0;
}

uint64_t vtd_second_stage_reserved(uint64_t cap, uint64_t ecap)
{
	return (VTD_SS_ADDR & vtd_reserved_address(cap)) | VTD_SS_SNP |
	       (ecap & VTD_ECAP_DT ? 0 : VTD_SS_TM);
}

/* VT-d 4.1 s9.3 Context Entry. No host nests a second stage, so such a table is shadowed. */
static enum vtd_fault_reason decode_legacy(const struct vtd_lookup *lookup, uint64_t cap,
					   uint64_t ecap, struct attachment *out)
{
	uint64_t qw0 = lookup->context[0], qw1 = lookup->context[1];
	unsigned int levels = vtd_second_stage_levels(cap, FIELD_GET(VTD_LEGACY_CONTEXT_AW, qw1));

	if (!levels)
		return VTD_FAULT_LEGACY_CONTEXT_INVALID;
	switch (FIELD_GET(VTD_LEGACY_CONTEXT_TT, qw0)) {
	case VTD_LEGACY_TT_PASS_THROUGH:
		*out = (struct attachment){ .kind = ATTACHMENT_BYPASS };
		return VTD_FAULT_NONE;
	case VTD_LEGACY_TT_DEVICE_TLB: /* device TLBs are the host's to keep right */
		if (!(ecap & VTD_ECAP_DT))
			return VTD_FAULT_LEGACY_CONTEXT_INVALID;
		break;
	case VTD_LEGACY_TT_UNTRANSLATED:
		break;
	default:
		return VTD_FAULT_LEGACY_CONTEXT_INVALID;
	}
	*out = (struct attachment){
		.kind = ATTACHMENT_SHADOW,
		.domain_id = FIELD_GET(VTD_LEGACY_CONTEXT_DID, qw1),
		.shadow = { .root = qw0 & VTD_TABLE_PTR, .levels = levels },
	};
	return VTD_FAULT_NONE;
}

enum vtd_fault_reason vtd_tables_lookup(const struct vtd_tables *tables, nst_rid rid,
					struct vtd_lookup *out)
{
	enum vtd_fault_reason reason = vtd_tables_find(tables, rid, NST_NO_PASID, out);

	if (reason)
		return reason;
	if (out->legacy)
		return decode_legacy(out, tables->cap, tables->ecap, &out->attachment);
	return vtd_pasid_entry_decode(&out->entry, tables->cap, tables->ecap, &out->attachment);
}
