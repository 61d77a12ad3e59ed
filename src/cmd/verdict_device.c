// SPDX-License-Identifier: BSD-3-Clause
/*
 * See verdict.h. A device. What Linux wants of a VT-d unit: Linux 7.2 drivers/iommu/intel/iommu.h
 * (sm_supported, nested_supported, ssads_supported) and iommu.c (second-stage domains). Its AMD
 * driver makes nesting parents but no nested HWPT; its SMMUv3 driver's files say nothing, so that
 * only the kernel itself can be asked.
 */
#include "cmd/verdict.h"

#include "cmd/verdict_check.h"
#include "spec/smmu_caps.h"
#include "spec/vtd_caps.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* What is known of the device's IOMMU, from the kernel if it was asked, else from its files. */
struct facts {
	enum iommu_kind kind;
	bool registers;
	uint64_t cap, ecap;
	const struct probe *asked; /* NULL: not, or it did not get that far */
};

static struct facts gather(const struct platform_device *d, const struct probe *probe)
{
	struct facts f = { d->iommu.kind, d->iommu.registers, d->iommu.cap, d->iommu.ecap, NULL };

	if (!probe || probe->info)
		return f;
	f.asked = probe;
	switch (probe->hw.type) {
	case IOMMU_HW_INFO_TYPE_INTEL_VTD:
		f.kind = IOMMU_VTD;
		f.registers = true;
		f.cap = probe->hw.vtd.cap_reg;
		f.ecap = probe->hw.vtd.ecap_reg;
		break;
	case IOMMU_HW_INFO_TYPE_ARM_SMMUV3:
		f.kind = IOMMU_SMMUV3;
		break;
	case IOMMU_HW_INFO_TYPE_AMD:
		f.kind = IOMMU_AMD;
		break;
	default:
		f.kind = f.kind == IOMMU_NONE ? IOMMU_OTHER : f.kind;
	}
	return f;
}

/* No, with why and what to do; the first no stands. */
static void refuse(struct verdict *v, enum check_state nesting, const char *reason,
		   const char *advice)
{
	if (v->nesting != CHECK_OK)
		return;
	v->nesting = nesting;
	snprintf(v->reason, sizeof(v->reason), "%s", reason);
	snprintf(v->advice, sizeof(v->advice), "%s", advice);
}

static void driver(const struct platform_device *d, struct verdict *v)
{
	struct check *check;

	if (*d->cdev) {
		verdict_add(v, "driver", CHECK_OK, "%s%s%s", *d->driver ? d->driver : "vfio", ", ",
			    d->cdev);
	} else if (!strcmp(d->driver, "vfio-pci")) {
		check = verdict_add(v, "driver", CHECK_NO,
				    "vfio-pci, but no /dev/vfio/devices/vfioN");
		verdict_advise(check, "boot a kernel with CONFIG_VFIO_DEVICE_CDEV");
		refuse(v, CHECK_NO, "the kernel gives the device no /dev/vfio/devices/vfioN",
		       check->advice);
	} else {
		check = verdict_add(v, "driver", CHECK_TODO, "%s", *d->driver ? d->driver : "none");
		verdict_advise(check, "to give it to a guest: nestor bind %s%s", d->address,
			       *d->driver ? ", once nothing on this machine uses it" : "");
	}
}

static void group(const struct platform_device *d, struct verdict *v)
{
	struct check *check;

	if (!*d->group) {
		check = verdict_add(v, "group", CHECK_NO,
				    "none: no IOMMU translates for this device");
		return;
	}
	check = verdict_add(v, "group", CHECK_OK, "%s%s%s%s%s", d->group,
			    *d->group_type ? ", " : "", d->group_type,
			    *d->companions ? ", with " : ", alone", d->companions);
	if (!*d->blockers)
		return;
	check->state = CHECK_TODO;
	verdict_advise(check, "the group has one owner: first unbind or \"nestor bind\" %s too",
		       d->blockers);
}

/* Firmware that goes on using the device for itself. Linux rejects it: drivers/iommu/iommu.c. */
static void reserved(const struct platform_device *d, struct verdict *v)
{
	struct check *check =
		verdict_add(v, "reserved", CHECK_INFO, "%s", *d->reserved ? d->reserved : "none");

	if (!d->direct)
		return;
	check->state = CHECK_NO;
	verdict_advise(check,
		       "turn off what uses the device in the firmware setup (remote management, "
		       "legacy support), or use a device without such a region");
	refuse(v, CHECK_NO,
	       "the firmware wants memory mapped 1:1 for this device (an RMRR), so Linux "
	       "does not give it away",
	       check->advice);
}

static bool scalable_mode_off(const struct platform *m)
{
	if (platform_parameter(m, "intel_iommu", "sm_off"))
		return true;
	return platform_config(m, "CONFIG_INTEL_IOMMU_SCALABLE_MODE_DEFAULT_ON") == 'n' &&
	       !platform_parameter(m, "intel_iommu", "sm_on");
}

static void vtd_generation(const struct platform *m, const struct platform_device *d,
			   const struct facts *f, struct verdict *v)
{
	struct check *check =
		verdict_add(v, "iommu", CHECK_OK, "VT-d %s%s%s, cap %llx ecap %llx, %s",
			    d->iommu.version, *d->iommu.version ? ", " : "",
			    *d->iommu.name ? d->iommu.name : "its unit not known here",
			    (unsigned long long)f->cap, (unsigned long long)f->ecap,
			    f->ecap & VTD_ECAP_SMTS ? "scalable mode" : "legacy mode only");

	if (!(f->ecap & VTD_ECAP_SMTS)) {
		check->state = CHECK_NO;
		verdict_advise(
			check,
			"this generation has no scalable mode: a processor of the Sapphire "
			"Rapids generation or newer is needed, or the firmware setup hides it");
		refuse(v, CHECK_NO, "the VT-d unit has no scalable mode", check->advice);
	} else if (!f->asked && scalable_mode_off(m)) {
		check->state = CHECK_NO;
		verdict_advise(check, "boot with intel_iommu=on,sm_on");
		refuse(v, CHECK_NO, "the kernel does not use the unit's scalable mode",
		       check->advice);
	}
}

static void vtd_nesting(const struct facts *f, struct verdict *v)
{
	static const struct {
		uint64_t bit;
		const char *name;
	} needed[] = {
		{ VTD_ECAP_NEST, "nested translation (NEST)" },
		{ VTD_ECAP_FSTS, "first-stage tables (FSTS)" },
		{ VTD_ECAP_SSTS, "second-stage tables (SSTS)" },
	};
	char lacks[PLATFORM_TEXT] = "", reason[PLATFORM_TEXT];
	const char *advice =
		"no setting adds them: another machine is needed; an emulated VT-d such as "
		"QEMU's has none";
	struct check *check;

	for (unsigned int i = 0; i < 3; i++)
		if (!(f->ecap & needed[i].bit))
			snprintf(lacks + strlen(lacks), sizeof(lacks) - strlen(lacks), "%s%s",
				 *lacks ? ", " : "", needed[i].name);
	if (!*lacks) {
		verdict_add(v, "nesting", CHECK_OK, "the unit has NEST, FSTS and SSTS");
		return;
	}
	check = verdict_add(v, "nesting", CHECK_NO, "the unit has no %s", lacks);
	verdict_advise(check, "%s", advice);
	snprintf(reason, sizeof(reason), "the VT-d unit has no %.900s", lacks);
	refuse(v, CHECK_NO, reason, advice);
}

/* What the kernel said when a nesting parent, and for an SMMUv3 a vIOMMU, was asked for. */
static void asked_nesting(const struct facts *f, struct verdict *v)
{
	const struct probe *p = f->asked;
	bool viommu = f->kind == IOMMU_SMMUV3 && !p->parent;
	int ret = viommu ? p->viommu : p->parent;
	char reason[PLATFORM_TEXT];
	const char *advice;
	struct check *check;

	if (!ret) {
		verdict_add(v, "kernel_nesting", CHECK_OK, "the kernel made a nesting parent%s",
			    viommu ? " and a vIOMMU on it" : "");
		return;
	}
	check = verdict_add(v, "kernel_nesting", CHECK_NO, "the kernel refused a %s: %s",
			    viommu ? "vIOMMU" : "nesting parent", strerror(-ret));
	if (f->kind != IOMMU_SMMUV3)
		advice = "boot with intel_iommu=on,sm_on on a machine whose VT-d has NEST";
	else if (viommu)
		advice =
			"a kernel with CONFIG_ARM_SMMU_V3_IOMMUFD, and an SMMU whose guests cannot go "
			"round the caches (S2FWB, or firmware's CANWBS) are needed";
	else
		advice = "the SMMU needs both stages of translation: another machine is needed";
	verdict_advise(check, "%s", advice);
	snprintf(reason, sizeof(reason), "%.1000s", check->value);
	refuse(v, CHECK_NO, reason, advice);
}

static void nesting(const struct platform *m, const struct platform_device *d,
		    const struct facts *f, struct verdict *v)
{
	static const char *const amd =
		"Linux 7.2 has no nested HWPTs for AMD's IOMMU, nor has Nestor a "
		"virtual one: use a machine with VT-d or SMMUv3";
	const char *name = *d->iommu.name ? d->iommu.name : "its unit not known here";
	struct check *check;

	switch (f->kind) {
	case IOMMU_VTD:
		if (!f->registers) {
			verdict_add(v, "iommu", CHECK_UNKNOWN,
				    "VT-d, %s; its registers cannot be read", name);
			refuse(v, CHECK_UNKNOWN, "the unit's registers cannot be read",
			       "run it as root");
			return;
		}
		vtd_generation(m, d, f, v);
		vtd_nesting(f, v);
		break;
	case IOMMU_AMD:
		verdict_add(v, "iommu", CHECK_INFO, "AMD IOMMU, %s, features %llx", name,
			    (unsigned long long)d->iommu.features);
		check = verdict_add(v, "nesting", CHECK_NO, "the kernel has none for AMD");
		verdict_advise(check, "%s", amd);
		refuse(v, CHECK_NO, "the kernel has no nesting for AMD's IOMMU", amd);
		return;
	case IOMMU_SMMUV3:
		verdict_add(v, "iommu", CHECK_OK, "SMMUv3, %s", name);
		if (f->asked)
			break;
		check = verdict_add(v, "nesting", CHECK_UNKNOWN, "only the kernel can tell");
		verdict_advise(check, "nestor bind %s, then ask again as root", d->address);
		refuse(v, CHECK_UNKNOWN, "the kernel tells only of a device that vfio-pci has",
		       check->advice);
		return;
	case IOMMU_NONE:
		refuse(v, CHECK_NO, "no IOMMU translates for this device",
		       "see the machine's own checks above; if other devices have one, this one is wired "
		       "past it");
		return;
	case IOMMU_OTHER:
		verdict_add(v, "iommu", CHECK_NO, "%s, neither VT-d nor SMMUv3", name);
		refuse(v, CHECK_NO, "Nestor knows only VT-d and SMMUv3",
		       "use a machine that has one");
		return;
	}
	if (f->asked)
		asked_nesting(f, v);
}

static void pasids(const struct platform_device *d, const struct facts *f, struct verdict *v)
{
	unsigned int bits = d->pasid_bits, unit;

	if (f->asked) {
		verdict_add(v, "pasid", CHECK_INFO, "%u bits", f->asked->hw.max_pasid_log2);
		return;
	}
	if (!d->ext_config) {
		verdict_add(v, "pasid", CHECK_UNKNOWN, "only root sees the device's capabilities");
	} else if (!d->pasid) {
		verdict_add(v, "pasid", CHECK_INFO, "the device has none");
	} else if (f->kind == IOMMU_VTD && f->registers) {
		unit = f->ecap & VTD_ECAP_PASID ? (unsigned int)FIELD_GET(VTD_ECAP_PSS, f->ecap) + 1
						: 0;
		verdict_add(v, "pasid", CHECK_INFO, "%u bits (device %u, unit %u)",
			    bits < unit ? bits : unit, bits, unit);
	} else {
		verdict_add(v, "pasid", CHECK_INFO, "%u bits in the device", bits);
	}
}

static void services(const struct platform_device *d, const struct facts *f, struct verdict *v)
{
	const char *unit = "";

	if (f->kind == IOMMU_VTD && f->registers)
		unit = f->ecap & VTD_ECAP_PRS ? ", the unit takes page requests"
					      : ", the unit takes no page requests";
	if (d->ext_config)
		verdict_add(v, "ats_pri", CHECK_INFO, "device: ATS %s, PRI %s%s",
			    d->ats ? "yes" : "no", d->pri ? "yes" : "no", unit);
	else
		verdict_add(v, "ats_pri", CHECK_UNKNOWN,
			    "only root sees the device's capabilities%s", unit);
}

static void dirty_tracking(const struct facts *f, struct verdict *v)
{
	const uint64_t needed = VTD_ECAP_SMTS | VTD_ECAP_SSADS | VTD_ECAP_SMPWCS | VTD_ECAP_SSTS;
	bool yes;

	if (f->asked)
		yes = f->asked->hw.capabilities & IOMMU_HW_CAP_DIRTY_TRACKING;
	else if (f->kind == IOMMU_VTD && f->registers)
		yes = (f->ecap & needed) == needed;
	else
		return;
	verdict_add(v, "dirty_tracking", CHECK_INFO, "%s",
		    yes ? "yes" : "no: a guest with this device cannot move while it does DMA");
}

static void erratum(const struct facts *f, struct verdict *v)
{
	if (f->asked && f->kind == IOMMU_VTD &&
	    f->asked->hw.vtd.flags & IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17)
		verdict_add(v, "erratum", CHECK_INFO,
			    "772415: the kernel takes no read-only mappings below nested tables");
}

/* Why the kernel could not be asked. Whoever holds the device knows more than we. */
static void not_asked(const struct probe *p, struct verdict *v)
{
	static const char permission[] = "run it as root, or give your user the file";
	int ret = p->open_iommufd ? p->open_iommufd
		  : p->open_cdev  ? p->open_cdev
		  : p->bind	  ? p->bind
				  : p->info;
	bool denied = ret == -EACCES || ret == -EPERM;
	const char *what, *advice;
	struct check *check;

	if (p->open_iommufd) {
		what = "/dev/iommu cannot be opened";
		advice = denied ? permission : "modprobe iommufd";
	} else if (p->open_cdev) {
		what = "the device cannot be opened";
		advice = denied ? permission : "look for the right name in /dev/vfio/devices";
	} else if (p->bind) {
		what = "the device cannot be bound to iommufd";
		advice = "another program has it, or a driver has a device of its group";
	} else {
		what = "the kernel does not tell of its IOMMU";
		advice = "boot Linux 7.2 or newer";
	}
	check = verdict_add(v, "asked", CHECK_UNKNOWN, "%s: %s", what, strerror(-ret));
	verdict_advise(check, "%s", advice);
	/* who lacks a permission, or has to wait, may still have a device that would do */
	if (p->open_cdev && p->open_cdev != -ECANCELED && !denied)
		refuse(v, CHECK_UNKNOWN, check->value, check->advice);
}

void verdict_device(const struct platform *m, const struct platform_device *d,
		    const struct probe *probe, struct verdict *v)
{
	struct facts f = gather(d, probe);
	struct verdict machine;

	*v = (struct verdict){ .nesting = CHECK_OK };
	/* what the kernel did is proof of what it needs */
	if (!f.asked) {
		verdict_machine(m, &machine);
		if (machine.nesting == CHECK_NO)
			refuse(v, CHECK_NO, machine.reason, machine.advice);
	}
	if (*d->address) {
		driver(d, v);
		group(d, v);
		reserved(d, v);
	}
	if (probe && !f.asked)
		not_asked(probe, v);
	nesting(m, d, &f, v);
	pasids(d, &f, v);
	if (*d->address)
		services(d, &f, v);
	dirty_tracking(&f, v);
	erratum(&f, v);
}
