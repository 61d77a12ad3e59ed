// SPDX-License-Identifier: BSD-3-Clause
/* See verdict.h. The machine: kernel, configuration, iommufd, and whether an IOMMU is on. */
#include "cmd/verdict.h"

#include "cmd/verdict_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TESTED_MAJOR 7
#define TESTED_MINOR 2

const char *check_state_name(enum check_state state)
{
	static const char *const names[] = { "ok", "info", "todo", "no", "unknown" };

	return names[state];
}

struct check *verdict_add(struct verdict *v, const char *key, enum check_state state,
			  const char *fmt, ...)
{
	struct check *check = &v->checks[v->num_checks++];
	va_list ap;

	check->key = key;
	check->state = state;
	check->advice[0] = '\0';
	va_start(ap, fmt);
	vsnprintf(check->value, sizeof(check->value), fmt, ap);
	va_end(ap);
	return check;
}

void verdict_advise(struct check *check, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(check->advice, sizeof(check->advice), fmt, ap);
	va_end(ap);
}

static void kernel(const struct platform *m, struct verdict *v)
{
	unsigned int major, minor;
	struct check *check;

	if (sscanf(m->release, "%u.%u", &major, &minor) != 2) {
		verdict_add(v, "kernel", CHECK_UNKNOWN, "/proc/version does not tell");
		return;
	}
	check = verdict_add(v, "kernel", CHECK_OK, "Linux %s", m->release);
	if (major > TESTED_MAJOR || (major == TESTED_MAJOR && minor >= TESTED_MINOR))
		return;
	check->state = CHECK_TODO;
	verdict_advise(check,
		       "Nestor is written for Linux %u.%u and tested with no older one: boot that",
		       TESTED_MAJOR, TESTED_MINOR);
}

static bool has_vtd(const struct platform *m)
{
	return m->dmar;
}

static bool has_smmuv3(const struct platform *m)
{
	return m->iort;
}

/* The options that an IOMMU's nesting, and giving devices to a program, need. */
static void config(const struct platform *m, struct verdict *v)
{
	static const struct {
		const char *option;
		bool (*wanted)(const struct platform *m);
	} options[] = {
		{ "CONFIG_IOMMUFD", NULL },	      { "CONFIG_VFIO_PCI", NULL },
		{ "CONFIG_VFIO_DEVICE_CDEV", NULL },  { "CONFIG_INTEL_IOMMU", has_vtd },
		{ "CONFIG_ARM_SMMU_V3", has_smmuv3 }, { "CONFIG_ARM_SMMU_V3_IOMMUFD", has_smmuv3 },
	};
	char missing[PLATFORM_TEXT] = "";
	struct check *check;

	if (!m->config) {
		check = verdict_add(v, "config", CHECK_UNKNOWN,
				    "neither /boot/config-%s nor /proc/config.gz can be read",
				    m->release);
		return;
	}
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (platform_config(m, options[i].option) == 'n' &&
		    (!options[i].wanted || options[i].wanted(m)))
			snprintf(missing + strlen(missing), sizeof(missing) - strlen(missing),
				 "%s%s", *missing ? ", " : "", options[i].option);
	if (!*missing) {
		verdict_add(v, "config", CHECK_OK, "%s has what is needed", m->config_path);
		return;
	}
	check = verdict_add(v, "config", CHECK_NO, "%s lacks %s", m->config_path, missing);
	verdict_advise(check, "build a kernel with them (tests/kernel/ has fragments that do)");
}

static void iommufd(const struct platform *m, struct verdict *v)
{
	char option = platform_config(m, "CONFIG_IOMMUFD");
	struct check *check;

	if (m->iommufd) {
		verdict_add(v, "iommufd", CHECK_OK, "/dev/iommu is there");
		return;
	}
	check = verdict_add(v, "iommufd", CHECK_NO, "there is no /dev/iommu");
	if (option == 'm')
		verdict_advise(check, "load it: modprobe iommufd");
	else if (option == 'n')
		verdict_advise(check,
			       "the kernel has no CONFIG_IOMMUFD: build one with tests/kernel/%s",
			       m->iort ? "arm64.fragment" : "x86_64.fragment");
	else
		verdict_advise(check,
			       "try modprobe iommufd; if there is no such module, boot a kernel "
			       "with CONFIG_IOMMUFD");
}

/* The firmware describes an IOMMU, but the kernel runs none. */
static void iommu_off(const struct platform *m, struct check *check)
{
	if (m->dmar && platform_config(m, "CONFIG_INTEL_IOMMU") == 'n')
		verdict_advise(check,
			       "the firmware has VT-d, the kernel has no CONFIG_INTEL_IOMMU: "
			       "build one with tests/kernel/x86_64.fragment");
	else if (m->dmar && platform_parameter(m, "intel_iommu", "off"))
		verdict_advise(check, "the firmware has VT-d, but the kernel was booted with "
				      "intel_iommu=off: boot with intel_iommu=on,sm_on");
	else if (m->dmar)
		verdict_advise(check,
			       "the firmware has VT-d, the kernel does not use it: boot with "
			       "intel_iommu=on,sm_on");
	else if (m->ivrs)
		verdict_advise(check,
			       "the firmware has an AMD IOMMU, the kernel does not use it: boot "
			       "without amd_iommu=off, with CONFIG_AMD_IOMMU");
	else if (m->iort)
		verdict_advise(check,
			       "the firmware may have an SMMUv3 (IORT), the kernel drives none: "
			       "boot a kernel with CONFIG_ARM_SMMU_V3");
	else if (m->firmware_seen)
		verdict_advise(check,
			       "the firmware describes none (no DMAR, IVRS or IORT table): turn on "
			       "VT-d, AMD-Vi or the SMMU in the firmware setup; in a virtual "
			       "machine, give it an IOMMU");
	else
		verdict_advise(check,
			       "turn on VT-d, AMD-Vi or the SMMU in the firmware setup, and boot "
			       "with intel_iommu=on,sm_on on Intel");
}

static void iommu(const struct platform *m, struct verdict *v)
{
	struct check *check;

	if (m->num_iommus) {
		verdict_add(v, "iommu", CHECK_OK, "the kernel drives %u", m->num_iommus);
		return;
	}
	check = verdict_add(v, "iommu", CHECK_NO, "the kernel drives no IOMMU");
	iommu_off(m, check);
}

void verdict_machine(const struct platform *m, struct verdict *out)
{
	*out = (struct verdict){ .nesting = CHECK_OK };
	kernel(m, out);
	config(m, out);
	iommufd(m, out);
	iommu(m, out);
	for (unsigned int i = 0; i < out->num_checks; i++) {
		const struct check *check = &out->checks[i];

		if (check->state != CHECK_NO || out->nesting == CHECK_NO)
			continue;
		out->nesting = CHECK_NO;
		snprintf(out->reason, sizeof(out->reason), "%s", check->value);
		snprintf(out->advice, sizeof(out->advice), "%s", check->advice);
	}
}
