// SPDX-License-Identifier: BSD-3-Clause
/*
 * "nestor doctor": what this machine can do for nested translation, and what is missing. Looks
 * (platform.h), asks the kernel where it can (probe.h), judges (verdict.h) and prints.
 */
#include "cmd/cmd.h"
#include "cmd/doctor_report.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
	"usage: nestor doctor [OPTION...] [DEVICE...]\n"
	"\n"
	"What this machine can do for nested translation, and what is missing. A DEVICE is a PCI\n"
	"address (0000:3d:00.0) or a VFIO device (/dev/vfio/devices/vfio0); without any, every PCI\n"
	"device that is no bridge gets one line. It needs no privilege, and says what it could not see.\n"
	"A device that vfio-pci has and nobody uses is opened, asked and closed (which resets it).\n"
	"\n"
	"  --json            the same for programs\n"
	"  --root DIR        look at the copy of another machine's /sys, /proc and /boot there\n"
	"  --help\n"
	"\n"
	"Exit status: 0 nesting would work for every DEVICE (without any: for one at least), 1 it\n"
	"would not, or that cannot be told, 2 the command line is wrong.\n";

enum { OPT_JSON = 256, OPT_ROOT, OPT_HELP };

static const struct option longopts[] = {
	{ "json", no_argument, NULL, OPT_JSON },
	{ "root", required_argument, NULL, OPT_ROOT },
	{ "help", no_argument, NULL, OPT_HELP },
	{ 0 },
};

struct options {
	bool json;
	const char *root;
	int first; /* of the devices */
};

static int parse(int argc, char **argv, struct options *o)
{
	int c;

	*o = (struct options){ .root = "" };
	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":", longopts, NULL)) != -1) {
		switch (c) {
		case OPT_JSON:
			o->json = true;
			break;
		case OPT_ROOT:
			o->root = optarg;
			break;
		case OPT_HELP:
			fputs(help, stdout);
			return EXIT_OK;
		case ':':
			complain("%s needs a value", argv[optind - 1]);
			return EXIT_USAGE;
		default:
			complain("there is no option \"%s\"; \"nestor doctor --help\" lists them",
				 argv[optind - 1]);
			return EXIT_USAGE;
		}
	}
	o->first = optind;
	return -1;
}

static const char cdev_folder[] = "/dev/vfio/devices/";

/* A device that is named by its VFIO cdev: the PCI device behind it, if sysfs knows one. */
static int find_by_cdev(const struct platform *m, const char *cdev, struct platform_device *out)
{
	char(*all)[PCI_ADDRESS];
	int count = platform_list(m, &all);
	bool found = false;

	for (int i = 0; i < count && !found; i++)
		found = !platform_read_device(m, all[i], out) && !strcmp(out->cdev, cdev);
	free(all);
	if (found)
		return -1;
	*out = (struct platform_device){ 0 };
	snprintf(out->cdev, sizeof(out->cdev), "%s", cdev);
	/* a device of the software host is in no sysfs, but can be asked */
	if (!*m->root)
		return -1;
	complain("no PCI device under %s is %s", m->root, cdev);
	return EXIT_USAGE;
}

/* -1, or the status to exit with */
static int find(const struct platform *m, const char *name, struct platform_device *out)
{
	char address[PCI_ADDRESS];

	*out = (struct platform_device){ 0 };
	if (!strncmp(name, cdev_folder, strlen(cdev_folder)))
		return find_by_cdev(m, name, out);
	if (!platform_pci_address(name, address)) {
		complain("\"%s\" is no PCI address such as 0000:3d:00.0, nor a VFIO device such as "
			 "/dev/vfio/devices/vfio0",
			 name);
		return EXIT_USAGE;
	}
	if (!platform_read_device(m, address, out))
		return -1;
	complain("there is no PCI device %s on this machine; \"lspci -D\" lists them", address);
	return EXIT_USAGE;
}

static void diagnose(const struct platform *m, struct nst_host *host,
		     const struct platform_device *device, struct diagnosis *out)
{
	struct probe probe;
	bool ask = host && *device->cdev;

	if (ask)
		probe_device(host, device->cdev, &probe);
	verdict_device(m, device, ask ? &probe : NULL, &out->verdict);
}

static int report(const struct platform *m, const struct options *o, struct diagnosis *devices,
		  unsigned int count, bool asked)
{
	struct verdict machine;
	unsigned int good = 0;
	int status;

	for (unsigned int i = 0; i < count; i++)
		good += devices[i].verdict.nesting == CHECK_OK;
	status = good && (!asked || good == count) ? EXIT_OK : EXIT_FAILED;
	verdict_machine(m, &machine);
	if (!o->json)
		doctor_print(&machine, devices, count);
	else if (doctor_print_json(&machine, devices, count, status))
		return complain("the JSON could not be written"), EXIT_FAILED;
	return status;
}

static int examine(const struct platform *m, struct nst_host *host, const struct options *o,
		   const char *const *names, unsigned int count, bool asked)
{
	struct diagnosis *devices = calloc(count + 1, sizeof(*devices));
	struct platform_device *facts = calloc(count + 1, sizeof(*facts));
	int status = -1;

	if (!devices || !facts) {
		complain("out of memory");
		status = EXIT_FAILED;
	}
	for (unsigned int i = 0; i < count && status < 0; i++) {
		status = find(m, names[i], &facts[i]);
		if (status >= 0)
			break;
		devices[i].name = *facts[i].address ? facts[i].address : names[i];
		devices[i].what = facts[i].id;
		devices[i].brief = !asked;
		diagnose(m, host, &facts[i], &devices[i]);
	}
	if (status < 0)
		status = report(m, o, devices, count, asked);
	free(facts);
	free(devices);
	return status;
}

/* Without a name: all of them. */
static int examine_all(const struct platform *m, struct nst_host *host, const struct options *o)
{
	char(*all)[PCI_ADDRESS];
	int count = platform_list(m, &all), status = EXIT_FAILED;
	const char **names = count < 0 ? NULL : calloc((size_t)count + 1, sizeof(*names));

	for (int i = 0; names && i < count; i++)
		names[i] = all[i];
	if (names)
		status = examine(m, host, o, names, (unsigned int)count, false);
	else
		complain("out of memory");
	free(names);
	free(all);
	return status;
}

int cmd_doctor(int argc, char **argv)
{
	struct nst_host *host = NULL;
	struct platform machine;
	struct options o;
	int status = parse(argc, argv, &o), ret;

	if (status >= 0)
		return status;
	ret = platform_read(o.root, &machine);
	if (ret) {
		complain("%s", strerror(-ret));
		return ret == -ENAMETOOLONG ? EXIT_USAGE : EXIT_FAILED;
	}
	/* another machine's kernel cannot be asked */
	if (!*o.root && nst_host_kernel_create(&host)) {
		complain("out of memory");
		status = EXIT_FAILED;
	} else if (o.first == argc) {
		status = examine_all(&machine, host, &o);
	} else {
		status = examine(&machine, host, &o, (const char *const *)argv + o.first,
				 (unsigned int)(argc - o.first), true);
	}
	nst_host_destroy(host);
	platform_fini(&machine);
	return status;
}
