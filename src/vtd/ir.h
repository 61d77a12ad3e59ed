/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupt remapping: VT-d 4.1 s5.1 Interrupt Remapping, s5.2 Interrupt Posting.
 *
 * What a request needs of the unit is one word, the mode: the table's address and size as
 * latched by SIRTP, and in bits that the register has reserved, the enables. So remapping
 * takes no lock, but for a fault that is to be recorded, and a VMM may remap from
 * within the unit's callbacks. Nothing is cached: every request reads its entry.
 */
#ifndef VTD_IR_H
#define VTD_IR_H

#include "base/endian.h"
#include "spec/vtd_faults.h"
#include "spec/vtd_interrupts.h"

#include <nestor/viommu.h>

#define VTD_IR_ENABLED BIT64(4)	   /* GSTS.IRES */
#define VTD_IR_COMPATIBLE BIT64(5) /* GSTS.CFIS */

struct vtd_irte {
	le64 qw[2];
};
_Static_assert(sizeof(struct vtd_irte) == 16, "interrupt remapping table entry");

struct vtd_irq_request {
	nst_rid rid;
	bool extended; /* EIME */
	bool posting;  /* the unit offers posted interrupts */
};

/*
 * An entry, without memory: what becomes of the request that it is for. *@out is written only if
 * the reason returned is VTD_FAULT_NONE.
 */
enum vtd_fault_reason vtd_irte_decode(const struct vtd_irte *irte,
				      const struct vtd_irq_request *request,
				      struct nst_interrupt *out);

#endif
