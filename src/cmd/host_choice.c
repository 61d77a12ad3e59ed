// SPDX-License-Identifier: BSD-3-Clause
/*
 * See host_choice.h. What can be seen in sysfs and /dev comes first (pci_cdev.h); then the kernel
 * is asked (probe.h), and its answer judged as "nestor doctor" does (verdict.h).
 */
#include "cmd/host_choice.h"

#include "cmd/cmd.h"
#include "cmd/verdict.h"
#include "passthrough/pci_cdev.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static const char iommufd[] = "/dev/iommu", cdev_folder[] = "/dev/vfio/devices/";

static bool is_cdev(const char *name)
{
	return !strncmp(name, cdev_folder, strlen(cdev_folder));
}

int host_choice_parse(const char *text, enum host_kind *out)
{
	if (strcmp(text, "soft") && strcmp(text, iommufd)) {
		complain("--host is soft (the software host) or %s (the running kernel), not "
			 "\"%s\"",
			 iommufd, text);
		return EXIT_USAGE;
	}
	*out = strcmp(text, "soft") ? HOST_KERNEL : HOST_SOFT;
	return -1;
}

/* Why the kernel's iommufd cannot be opened: what /dev says of it, if it says something. */
static int explain_iommufd(int err)
{
	struct pci_cdev cdev;

	if (pci_cdev_check_iommufd("", &cdev))
		complain("%s", cdev.why);
	else
		complain("%s cannot be opened: %s", iommufd, strerror(-err));
	return EXIT_USAGE;
}

static int open_kernel(struct nst_host **out)
{
	struct nst_host *host;
	int fd, ret = nst_host_kernel_create(&host);

	if (ret) {
		complain("%s", strerror(-ret));
		return EXIT_FAILED;
	}
	fd = host->ops->open(host, iommufd, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		nst_host_destroy(host);
		return explain_iommufd(fd);
	}
	host->ops->close(host, fd);
	*out = host;
	return -1;
}

int host_choice_open(enum host_kind kind, const struct nst_soft_config *soft, struct nst_host **out)
{
	int ret;

	if (kind == HOST_KERNEL)
		return open_kernel(out);
	ret = nst_host_soft_create(soft, out);
	if (!ret)
		return -1;
	complain("the software host cannot be made: %s", strerror(-ret));
	return EXIT_FAILED;
}

bool host_choice_is_name(const char *name)
{
	char address[PCI_ADDRESS];

	return is_cdev(name) || platform_pci_address(name, address);
}

/* --- a device of the kernel's ------------------------------------------------------------- */

static const struct {
	enum nst_soft_iommu iommu;
	uint32_t type; /* enum iommu_hw_info_type */
	const char *viommu, *name;
} kinds[] = {
	{ NST_SOFT_VTD, IOMMU_HW_INFO_TYPE_INTEL_VTD, "vtd", "an Intel VT-d" },
	{ NST_SOFT_SMMUV3, IOMMU_HW_INFO_TYPE_ARM_SMMUV3, "smmuv3", "an Arm SMMUv3" },
};

enum { NUM_KINDS = sizeof(kinds) / sizeof(kinds[0]) };

/* A guest's IOMMU of one kind on a host's of the other. */
static int check_kind(const char *name, uint32_t type, enum nst_soft_iommu wanted)
{
	unsigned int is = NUM_KINDS, should = 0;

	for (unsigned int i = 0; i < NUM_KINDS; i++) {
		is = kinds[i].type == type ? i : is;
		should = kinds[i].iommu == wanted ? i : should;
	}
	if (is == should)
		return -1;
	if (is == NUM_KINDS)
		complain("%s is behind an IOMMU that is not %s, which --viommu %s needs", name,
			 kinds[should].name, kinds[should].viommu);
	else
		complain("%s is behind %s, and --viommu %s needs %s: use --viommu %s", name,
			 kinds[is].name, kinds[should].viommu, kinds[should].name,
			 kinds[is].viommu);
	return EXIT_USAGE;
}

/* What came in the way of asking at all; -1 if nothing did. */
static int check_asked(const char *name, const struct probe *probe, const struct verdict *verdict)
{
	if (!probe->info)
		return -1;
	for (unsigned int i = 0; i < verdict->num_checks; i++) {
		const struct check *check = &verdict->checks[i];

		if (strcmp(check->key, "asked"))
			continue;
		complain("%s: %s; %s", name, check->value, check->advice);
		return EXIT_USAGE;
	}
	complain("%s cannot be asked about", name);
	return EXIT_USAGE;
}

/* @facts: what sysfs says of it; of a device in no sysfs, its cdev alone. */
static int judge(struct nst_host *host, const char *name, const struct platform *machine,
		 const struct platform_device *facts, enum nst_soft_iommu wanted)
{
	struct verdict verdict;
	struct probe probe;
	int status;

	probe_device(host, facts->cdev, &probe);
	verdict_device(machine, facts, &probe, &verdict);
	status = check_asked(name, &probe, &verdict);
	if (status >= 0)
		return status;
	if (verdict.nesting != CHECK_OK) {
		complain("%s cannot be passed through, %s: %s", name, verdict.reason,
			 verdict.advice);
		return EXIT_USAGE;
	}
	return check_kind(name, probe.hw.type, wanted);
}

int host_choice_find(struct nst_host *host, const char *name, enum nst_soft_iommu wanted,
		     struct host_device *out)
{
	struct platform_device facts = { 0 };
	char address[PCI_ADDRESS] = "";
	struct platform machine;
	struct pci_cdev cdev;
	int ret, status;

	if (is_cdev(name)) {
		snprintf(cdev.path, sizeof(cdev.path), "%s", name);
	} else if (pci_cdev_find("", name, &cdev)) {
		complain("%s", cdev.why);
		return EXIT_USAGE;
	}
	ret = platform_read("", &machine);
	if (ret) {
		complain("%s", strerror(-ret));
		return EXIT_FAILED;
	}
	if (!is_cdev(name) && platform_pci_address(name, address))
		(void)!platform_read_device(&machine, address, &facts);
	snprintf(facts.cdev, sizeof(facts.cdev), "%s", cdev.path);
	status = judge(host, name, &machine, &facts, wanted);
	platform_fini(&machine);
	if (status < 0)
		memcpy(out->path, cdev.path, sizeof(out->path));
	return status;
}

void host_choice_explain(const char *name, int err)
{
	if (err == -ENOMEM)
		complain("%s cannot be passed through, the kernel does not pin the guest's memory: "
			 "there is too little, or too little may be locked (ulimit -l)",
			 name);
	else if (err == -EADDRINUSE)
		complain("%s cannot be passed through, its IOMMU reserves addresses at which the "
			 "guest has memory: with less memory (--memory) they may be free",
			 name);
	else if (err == -EBUSY)
		complain("%s cannot be passed through, another program has it: end that first",
			 name);
	else
		complain("%s cannot be passed through: %s", name, strerror(-err));
}
