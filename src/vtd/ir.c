// SPDX-License-Identifier: BSD-3-Clause
/*
 * See ir.h. The order of checks is that of VT-d 4.1 s5.1.4 Interrupt-Remapping Hardware
 * Operation: request, index, presence, requester, then the format that the entry has.
 */
#include "vtd/ir.h"

#include "base/log.h"
#include "spec/vtd_caps.h"
#include "vtd/unit.h"

#include <errno.h>

enum { ALL_ENTRIES = 1 << 16, MHMV = 15, READ_TRIES = 64 };

int vtd_ir_caps(const struct nst_vtd_config *config, uint64_t *cap, uint64_t *ecap)
{
	if (!config->remap_interrupts) {
		if (!config->x2apic && !config->post_interrupts)
			return 0;
		log_error(config->log,
			  "vtd: x2APIC and posted interrupts need interrupt remapping");
		return -EINVAL;
	}
	*ecap |= VTD_ECAP_IR | FIELD_PREP(VTD_ECAP_MHMV, MHMV);
	if (config->x2apic)
		*ecap |= VTD_ECAP_EIM;
	if (config->post_interrupts)
		*cap |= VTD_CAP_PI;
	return 0;
}

/* --- the guest's commands -------------------------------------------------------------------- */

void vtd_ir_changed(struct vtd_unit *u, uint32_t first, uint32_t count)
{
	if (u->interrupts_changed && (u->ecap & VTD_ECAP_IR))
		u->interrupts_changed(u->opaque, first, count);
}

void vtd_ir_set_mode(struct vtd_unit *u, uint64_t mode)
{
	atomic_store_explicit(&u->ir_mode, mode, memory_order_release);
	vtd_ir_changed(u, 0, ALL_ENTRIES);
}

uint64_t vtd_ir_mode(uint64_t irta, uint64_t gsts)
{
	return (irta & VTD_IRTA_FIELDS) | (gsts & VTD_GCMD_IRE ? VTD_IR_ENABLED : 0) |
	       (gsts & VTD_GCMD_CFI ? VTD_IR_COMPATIBLE : 0);
}

/* s11.4.4.1 Global Command Register: IRE and CFI are levels, SIRTP a command. */
void vtd_ir_command(struct vtd_unit *u, uint32_t command)
{
	uint64_t old = atomic_load_explicit(&u->ir_mode, memory_order_relaxed);
	uint64_t irta = old, mode;

	if (!(u->ecap & VTD_ECAP_IR))
		return;
	if (command & VTD_GCMD_SIRTP) {
		vtd_reg_update(&u->regs, VTD_GSTS, VTD_GCMD_SIRTP, 0);
		irta = vtd_reg_get(&u->regs, VTD_IRTA);
		if (!(u->ecap & VTD_ECAP_EIM))
			irta &= ~VTD_IRTA_EIME;
	}
	mode = vtd_ir_mode(irta, command);
	if (mode == old && !(command & VTD_GCMD_SIRTP))
		return;
	vtd_ir_set_mode(u, mode);
	if ((mode ^ old) & VTD_IR_ENABLED)
		log_info(u->log, "vtd: interrupt remapping %s",
			 mode & VTD_IR_ENABLED ? "on" : "off");
	vtd_reg_update(&u->regs, VTD_GSTS, VTD_GCMD_IRE | VTD_GCMD_CFI,
		       command & (VTD_GCMD_IRE | VTD_GCMD_CFI | VTD_GCMD_SIRTP));
}

/* --- entries --------------------------------------------------------------------------------- */

/* s9.9: SVT, SQ and SID. */
static bool may_use(uint64_t qw1, nst_rid rid)
{
	static const uint16_t ignored_bits[4] = { 0, 4, 6, 7 };
	uint16_t sid = FIELD_GET(VTD_IRTE_SID, qw1);

	switch (FIELD_GET(VTD_IRTE_SVT, qw1)) {
	case VTD_SVT_SID:
		return !((rid ^ sid) & ~ignored_bits[FIELD_GET(VTD_IRTE_SQ, qw1)]);
	case VTD_SVT_BUS: /* from the bus in the upper byte to that in the lower one */
		return rid >> 8 >= sid >> 8 && rid >> 8 <= (sid & 0xff);
	default: /* the reserved one is for decode */
		return true;
	}
}

/* s9.10: the VMM posts it. */
static enum vtd_fault_reason decode_posted(uint64_t qw0, uint64_t qw1, struct nst_interrupt *out)
{
	if ((qw0 & VTD_IRTE_POSTED_RESERVED0) || (qw1 & VTD_IRTE_POSTED_RESERVED1))
		return VTD_FAULT_IR_ENTRY_RESERVED;
	*out = (struct nst_interrupt){
		.kind = NST_INTERRUPT_POSTED,
		.descriptor.v = FIELD_GET(VTD_IRTE_PDA_HIGH, qw1) << 32 |
				FIELD_GET(VTD_IRTE_PDA_LOW, qw0) << 6,
		.vector = FIELD_GET(VTD_IRTE_VECTOR, qw0),
		.urgent = qw0 & VTD_IRTE_URG,
	};
	return VTD_FAULT_NONE;
}

/* s9.9: a new request, in compatibility format. */
static enum vtd_fault_reason decode_remapped(uint64_t qw0, uint64_t qw1, bool extended,
					     struct nst_interrupt *out)
{
	uint64_t dest = FIELD_GET(VTD_IRTE_DST, qw0);

	if ((qw0 & VTD_IRTE_RESERVED0) || (qw1 & VTD_IRTE_RESERVED1))
		return VTD_FAULT_IR_ENTRY_RESERVED;
	if (!extended) {
		if (qw0 & VTD_IRTE_DST & ~VTD_IRTE_DST_XAPIC)
			return VTD_FAULT_IR_ENTRY_RESERVED;
		dest = FIELD_GET(VTD_IRTE_DST_XAPIC, qw0);
	}
	*out = (struct nst_interrupt){
		.kind = NST_INTERRUPT_MESSAGE,
		.address = VTD_MSI_BASE | FIELD_PREP(VTD_MSI_DEST_HIGH, dest >> 8) |
			   FIELD_PREP(VTD_MSI_DEST, dest) | (qw0 & VTD_IRTE_RH ? VTD_MSI_RH : 0) |
			   (qw0 & VTD_IRTE_DM ? VTD_MSI_DM : 0),
		.data = (uint32_t)(FIELD_PREP(VTD_MSI_DATA_VECTOR,
					      FIELD_GET(VTD_IRTE_VECTOR, qw0)) |
				   FIELD_PREP(VTD_MSI_DATA_DLM, FIELD_GET(VTD_IRTE_DLM, qw0)) |
				   VTD_MSI_DATA_ASSERT | (qw0 & VTD_IRTE_TM ? VTD_MSI_DATA_TM : 0)),
	};
	return VTD_FAULT_NONE;
}

enum vtd_fault_reason vtd_irte_decode(const struct vtd_irte *irte,
				      const struct vtd_irq_request *request,
				      struct nst_interrupt *out)
{
	uint64_t qw0 = le64_get(irte->qw[0]), qw1 = le64_get(irte->qw[1]);

	if (!(qw0 & VTD_IRTE_P))
		return VTD_FAULT_IR_NOT_PRESENT;
	if (!may_use(qw1, request->rid))
		return VTD_FAULT_IR_SOURCE;
	if (FIELD_GET(VTD_IRTE_SVT, qw1) == VTD_SVT_RESERVED)
		return VTD_FAULT_IR_ENTRY_RESERVED;
	if (!(qw0 & VTD_IRTE_IM))
		return decode_remapped(qw0, qw1, request->extended, out);
	/* the bit is reserved where posting is not offered */
	return request->posting ? decode_posted(qw0, qw1, out) : VTD_FAULT_IR_ENTRY_RESERVED;
}

/* --- requests -------------------------------------------------------------------------------- */

/*
 * Hardware reads the 16 bytes as one, and guests write them as one. So the first word is
 * read again: if it has not changed, the second one belongs to it. A guest that changes it
 * all the time, or there and back within three reads, gets some pair of its words.
 */
static enum vtd_fault_reason read_entry(struct vtd_unit *u, uint64_t mode, uint32_t index,
					struct vtd_irte *out)
{
	nst_gpa at = { (mode & VTD_IRTA_ADDRESS) + index * sizeof(*out) };
	nst_gpa upper = { at.v + 8 };
	le64 again;

	for (unsigned int i = 0; i < READ_TRIES; i++) {
		if (nst_mem_read(nst_vm_mem(u->vm), at, &out->qw[0], 8) ||
		    nst_mem_read(nst_vm_mem(u->vm), upper, &out->qw[1], 8) ||
		    nst_mem_read(nst_vm_mem(u->vm), at, &again, 8))
			return VTD_FAULT_IR_ACCESS;
		if (le64_get(again) == le64_get(out->qw[0]))
			break;
	}
	return VTD_FAULT_NONE;
}

struct verdict {
	enum vtd_fault_reason reason;
	uint32_t index;
	bool fault_disabled;
};

/* s5.1.3: the handle, and with SHV what the data adds to it. */
static struct verdict remap(struct vtd_unit *u, uint64_t mode, nst_rid rid, uint64_t address,
			    uint32_t data, struct nst_interrupt *out)
{
	struct vtd_irq_request request = { rid, mode & VTD_IRTA_EIME, u->post_interrupts };
	uint32_t index = (uint32_t)FIELD_GET(VTD_MSI_HANDLE_LOW, address) |
			 (address & VTD_MSI_HANDLE_15 ? 1u << 15 : 0);
	struct vtd_irte irte;
	enum vtd_fault_reason reason;

	if ((address & VTD_MSI_SHV) && (data & VTD_MSI_DATA_RESERVED))
		return (struct verdict){ VTD_FAULT_IR_REQUEST_RESERVED, 0, false };
	if (address & VTD_MSI_SHV)
		index += FIELD_GET(VTD_MSI_DATA_SUBHANDLE, data);
	if (index >= 2ULL << FIELD_GET(VTD_IRTA_SIZE, mode))
		return (struct verdict){ VTD_FAULT_IR_INDEX, index, false };
	reason = read_entry(u, mode, index, &irte);
	if (reason)
		return (struct verdict){ reason, index, false };
	reason = vtd_irte_decode(&irte, &request, out);
	return (struct verdict){ reason, index, le64_get(irte.qw[0]) & VTD_IRTE_FPD };
}

/* s7.2.1 Primary Fault Logging: of an interrupt the index is logged, not the address. */
static void record(struct vtd_unit *u, nst_rid rid, const struct verdict *v)
{
	mutex_lock(&u->cmd_lock);
	vtd_fault_record(u, rid, NST_NO_PASID, (uint64_t)(uint16_t)v->index << 48, true, v->reason);
	mutex_unlock(&u->cmd_lock);
}

int vtd_remap_msi(struct nst_viommu *viommu, nst_rid rid, uint64_t address, uint32_t data,
		  unsigned int flags, struct nst_interrupt *out)
{
	struct vtd_unit *u = to_vtd_unit(viommu);
	uint64_t mode = atomic_load_explicit(&u->ir_mode, memory_order_acquire);
	struct verdict v = { VTD_FAULT_NONE, 0, false };

	if ((address & VTD_MSI_RANGE) != VTD_MSI_BASE || (flags & ~NST_REMAP_QUIET))
		return -EINVAL;
	*out = (struct nst_interrupt){ NST_INTERRUPT_MESSAGE, address, data, { 0 }, 0, false };
	if (!(mode & VTD_IR_ENABLED))
		return 0;
	if (address & VTD_MSI_REMAPPABLE)
		v = remap(u, mode, rid, address, data, out);
	else if ((mode & VTD_IRTA_EIME) || !(mode & VTD_IR_COMPATIBLE))
		v.reason = VTD_FAULT_IR_COMPATIBILITY;
	if (!v.reason)
		return 0;
	*out = (struct nst_interrupt){ .kind = NST_INTERRUPT_BLOCKED };
	if (!v.fault_disabled && !(flags & NST_REMAP_QUIET))
		record(u, rid, &v);
	return 0;
}

/* The message that an I/O APIC makes of @entry; remappable or not, it is the same. */
int vtd_remap_ioapic(struct nst_viommu *viommu, nst_rid rid, uint64_t entry, unsigned int flags,
		     struct nst_interrupt *out)
{
	bool redirect = FIELD_GET(VTD_RTE_DLM, entry) == VTD_DLM_LOWEST_PRIORITY;
	uint64_t address = VTD_MSI_BASE | FIELD_GET(VTD_RTE_HIGH, entry) << 4 |
			   (redirect ? VTD_MSI_RH : 0) | (entry & VTD_RTE_DM ? VTD_MSI_DM : 0);
	uint32_t data = (uint32_t)((entry & (VTD_RTE_VECTOR | VTD_RTE_DLM | VTD_RTE_TM)) |
				   VTD_MSI_DATA_ASSERT);

	return vtd_remap_msi(viommu, rid, address, data, flags, out);
}

/* VT-d 4.1 s3.15 Handling Requests to Interrupt Address Range: they are not translated. */
int vtd_msi_doorbell(struct nst_viommu *viommu, nst_rid rid, nst_iova address, nst_gpa *doorbell)
{
	if ((address.v & VTD_MSI_RANGE) != VTD_MSI_BASE)
		return -EINVAL;
	doorbell->v = address.v;
	return 0;
}
