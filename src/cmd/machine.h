/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What "nestor run" does differently from one kind of guest to another: so far a PC, whose
 * IOMMU is a VT-d unit.
 */
#ifndef CMD_MACHINE_H
#define CMD_MACHINE_H

struct machine {
	const char *viommu;	     /* how --viommu calls its IOMMU */
	const char *program;	     /* of QEMU */
	const char *tree;	     /* in the cache that has it */
	const char *part;	     /* of scripts/setup that gets it */
	const char *kernel, *initrd; /* in the cache */
	const char *data[4];	     /* directories of QEMU's files; NULL ends them */
	const char *type;	     /* QEMU's -machine */
	const char *firmware;	     /* of it, in one of these directories; NULL: QEMU knows */
	const char *append;	     /* what the kernel command line begins with */
};

/*
 * Strict mode by default: every unmap is invalidated at once, the hardest case for us. On a busy
 * machine QEMU's timer can be late, which Linux takes for a missing one and panics.
 */
#define MACHINE_PC_APPEND                                                             \
	"console=ttyS0 no_timer_check panic=-1 panic_on_warn=1 intel_iommu=on,sm_on " \
	"iommu.strict=1"

extern const struct machine machine_pc;

/* The one whose IOMMU is called @viommu, or NULL. */
const struct machine *machine_find(const char *viommu);

#endif
