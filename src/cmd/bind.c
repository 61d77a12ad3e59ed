// SPDX-License-Identifier: BSD-3-Clause
/* "nestor bind" and "nestor unbind": the command line of binding.h. */
#include "cmd/binding.h"
#include "cmd/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char bind_help[] =
	"usage: nestor bind [--force] DEVICE...\n"
	"\n"
	"Give PCI devices (0000:3d:00.0) to vfio-pci, so that a guest can have them. Says which IOMMU\n"
	"group they are in, every file that is written, and how to undo it. Needs root.\n"
	"\n"
	"  --force           take it from the driver that has it. Without this a device that any\n"
	"                    driver but vfio-pci has is in use and is left alone\n"
	"  --help\n"
	"\n"
	"Exit status: 0 vfio-pci has every DEVICE, 1 not (of several, those before it stay bound), 2 the\n"
	"command line is wrong.\n";

static const char unbind_help[] =
	"usage: nestor unbind [--force] DEVICE...\n"
	"\n"
	"Take PCI devices from vfio-pci and give them back to the kernel's own choice of driver.\n"
	"Needs root.\n"
	"\n"
	"  --force           also if a program has it open: the kernel asks for the device and waits\n"
	"                    until it is closed\n"
	"  --help\n"
	"\n"
	"Exit status: 0 done, 1 not (of several, those before it are unbound), 2 the command line is\n"
	"wrong.\n";

enum { OPT_FORCE = 256, OPT_HELP };

static const struct option longopts[] = {
	{ "force", no_argument, NULL, OPT_FORCE },
	{ "help", no_argument, NULL, OPT_HELP },
	{ 0 },
};

static int parse(int argc, char **argv, const char *help, bool *force)
{
	int c;

	*force = false;
	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
		switch (c) {
		case OPT_FORCE:
			*force = true;
			break;
		case OPT_HELP:
			fputs(help, stdout);
			return EXIT_OK;
		default:
			complain("there is no option \"%s\"; \"nestor %s --help\" lists them",
				 argv[optind - 1], argv[0]);
			return EXIT_USAGE;
		}
	}
	for (int i = optind; i < argc; i++) {
		char address[PCI_ADDRESS];

		if (platform_pci_address(argv[i], address))
			continue;
		complain("\"%s\" is no PCI address such as 0000:3d:00.0", argv[i]);
		return EXIT_USAGE;
	}
	if (optind < argc)
		return -1;
	complain("%s which device? Name a PCI address such as 0000:3d:00.0", argv[0]);
	return EXIT_USAGE;
}

static int run(int argc, char **argv, const char *help,
	       int (*one)(const struct platform *m, const char *address, bool force))
{
	struct platform machine;
	bool force;
	int status = parse(argc, argv, help, &force);

	if (status >= 0)
		return status;
	if (platform_read("", &machine))
		return complain("out of memory"), EXIT_FAILED;
	/* what was done and what went wrong are to be read in their order */
	setvbuf(stdout, NULL, _IOLBF, 0);
	status = EXIT_OK;
	for (int i = optind; i < argc && status == EXIT_OK; i++) {
		char address[PCI_ADDRESS];

		if (platform_pci_address(argv[i], address))
			status = one(&machine, address, force);
	}
	platform_fini(&machine);
	return status;
}

int cmd_bind(int argc, char **argv)
{
	return run(argc, argv, bind_help, binding_bind);
}

int cmd_unbind(int argc, char **argv)
{
	return run(argc, argv, unbind_help, binding_unbind);
}
