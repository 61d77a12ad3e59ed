/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vIOMMU as a PCI function over vfio-user: its registers are BAR0 of a function of
 * class 0x0600 (host bridge), which firmware places and Linux leaves alone, so that a
 * firmware table can tell the guest where its IOMMU is. See docs/design.md.
 *
 * Guest memory comes with this function's DMA_MAP messages; other functions of the
 * same VMM announce the same memory, and theirs are not needed: of several vIOMMUs of
 * one VM the first maps it for all.
 */
#ifndef FRONTEND_IOMMU_FUNCTION_H
#define FRONTEND_IOMMU_FUNCTION_H

#include <nestor/vfio_user.h>
#include <nestor/viommu.h>

struct iommu_function;

/* Called once, from within nst_vfu_process(), when guest memory turns out to be private. */
typedef void iommu_function_unshared_fn(void *opaque);

struct iommu_function_config {
	struct nst_vm *vm;
	bool memory_mapped;    /* another function maps @vm's memory */
	unsigned int features; /* of a VT-d unit: enum nst_vtd_feature */
	const char *socket_path;
	const struct nst_log *log;
	iommu_function_unshared_fn *unshared;
	void *opaque;
};

/* Makes a unit and serves it. Errors: as nst_vtd_create(), nst_smmuv3_create(), nst_vfu_create().
 */
NST_MUST_CHECK int iommu_function_create_vtd(const struct iommu_function_config *config,
					     struct iommu_function **out);
NST_MUST_CHECK int iommu_function_create_smmuv3(const struct iommu_function_config *config,
						struct iommu_function **out);
void iommu_function_destroy(struct iommu_function *f);

/*
 * While held, commands of the guest wait: the unit takes its time, as it may. Let go when
 * what was to be done first is done. For a VMM that learns late where a device is.
 */
void iommu_function_hold(struct iommu_function *f, bool on);

struct nst_viommu *iommu_function_viommu(struct iommu_function *f);
struct nst_vfu *iommu_function_vfu(struct iommu_function *f);

#endif
