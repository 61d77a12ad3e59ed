// SPDX-License-Identifier: BSD-3-Clause
/*
 * nestor-conformance: the iommufd and VFIO ABI of a host, as TAP.
 *
 *	nestor-conformance [--group NAME] [--iommu vtd|smmuv3]	the software host in this process
 *	nestor-conformance --device CDEV [--device CDEV]	/dev/iommu, which is a kernel's or,
 *								under "nestor host", the software
 *host
 *
 * CDEV: /dev/vfio/devices/vfioN or, for a kernel's, a PCI address.
 * --no-huge-pages: that kernel is built without transparent huge pages.
 * --differences FILE --name HOST: the table of known differences, and who this host is in it.
 */
#include "rig.h"

#include "passthrough/pci_cdev.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static int usage(void)
{
	fprintf(stderr,
		"usage: nestor-conformance [--group NAME] [--iommu vtd|smmuv3 | --device CDEV...]\n"
		"                          [--no-huge-pages] [--differences FILE --name HOST]\n");
	return 2;
}

/* What --device names; NULL, having said why, if that has no cdev. */
static const char *find_device(const char *text, struct pci_cdev *cdev)
{
	if (*text == '/')
		return text;
	if (!pci_cdev_find("", text, cdev))
		return cdev->path;
	fprintf(stderr, "nestor-conformance: %s\n", cdev->why);
	return NULL;
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "group", required_argument, NULL, 'g' },
		{ "iommu", required_argument, NULL, 'i' },
		{ "device", required_argument, NULL, 'd' },
		{ "differences", required_argument, NULL, 't' },
		{ "name", required_argument, NULL, 'n' },
		{ "no-huge-pages", no_argument, NULL, 'p' },
		{ 0 },
	};
	struct rig_options rig = { .iommu = "vtd" };
	struct suite_options suite = { 0 };
	struct pci_cdev cdevs[sizeof(rig.devices) / sizeof(rig.devices[0])];
	size_t devices = 0;
	int c;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (c == 'g')
			suite.group = optarg;
		else if (c == 'i')
			rig.iommu = optarg;
		else if (c == 't')
			suite.differences = optarg;
		else if (c == 'n')
			suite.name = optarg;
		else if (c == 'p')
			rig.no_huge_pages = true;
		else if (c == 'd' && devices < sizeof(rig.devices) / sizeof(rig.devices[0]))
			rig.devices[devices++] = optarg;
		else
			return usage();
	}
	for (size_t i = 0; i < devices; i++) {
		rig.devices[i] = find_device(rig.devices[i], &cdevs[i]);
		if (!rig.devices[i])
			return 2;
	}
	if (optind != argc || (suite.differences && !suite.name))
		return usage();
	rig.in_process = !devices;
	if (rig_init(&rig))
		return 2;
	return suite_run(&suite);
}
