/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What "nestor run" does differently from one kind of guest to another: a PC, where the
 * IOMMU is a VT-d unit, or QEMU's "virt" machine, where it is an Arm SMMUv3.
 *
 * Firmware's tables say where the IOMMU is. QEMU takes one more table for a PC
 * (-acpitable); for "virt" it does not, and the guest's kernel takes ours instead of
 * QEMU's from the initramfs. See docs/design.md.
 */
#ifndef CMD_MACHINE_H
#define CMD_MACHINE_H

#include "frontend/iommu_function.h"

#include <nestor/soft_host.h>

/* How a guest gets a table: from QEMU, or in front of its initramfs. */
enum machine_table { MACHINE_TABLE_QEMU, MACHINE_TABLE_INITRAMFS };

struct machine {
	int (*create_iommu)(const struct iommu_function_config *config,
			    struct iommu_function **out);
	enum nst_soft_iommu host_iommu; /* one that can nest the guest's tables */
	const char *viommu;		/* how --viommu calls its IOMMU */
	const char *program;		/* of QEMU */
	const char *tree;		/* in the cache that has it */
	const char *part;		/* of scripts/setup that gets it */
	const char *kernel, *initrd;	/* in the cache */
	const char *data[4];		/* directories of QEMU's files; NULL ends them */
	const char *type;		/* QEMU's -machine */
	const char *firmware;		/* of it, in one of these directories; NULL: QEMU knows */
	const char *append;		/* what the kernel command line begins with */
	enum machine_table table;
};

/*
 * Strict mode by default: every unmap is invalidated at once, the hardest case for us. On a busy
 * machine QEMU's timer can be late, which Linux takes for a missing one and panics.
 */
#define MACHINE_PC_APPEND                                                             \
	"console=ttyS0 no_timer_check panic=-1 panic_on_warn=1 intel_iommu=on,sm_on " \
	"iommu.strict=1"
#define MACHINE_VIRT_APPEND "console=ttyAMA0 panic=-1 panic_on_warn=1 iommu.strict=1"

extern const struct machine machine_pc, machine_virt;

/* The one whose IOMMU is called @viommu, or NULL. */
const struct machine *machine_find(const char *viommu);

/* An ACPI table in an initramfs. */
struct machine_file {
	const char *name; /* "iort.aml" */
	const void *data;
	size_t size;
};

/*
 * An initramfs that begins with ACPI tables, which Linux takes instead of the firmware's of
 * the same signature (ACPI_TABLE_UPGRADE): a descriptor of it, or a negative errno.
 */
int machine_make_initramfs(const char *initrd, const struct machine_file *tables,
			   unsigned int num_tables);

#endif
