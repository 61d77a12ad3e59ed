// SPDX-License-Identifier: BSD-3-Clause
/* The command: finds the subcommand and hands over. */
#include "cmd/cmd.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *about;
} commands[] = {
	{ "bind", cmd_bind, "give a PCI device to vfio-pci, so that a guest can have it" },
	{ "doctor", cmd_doctor,
	  "what this machine can do for nested translation, and what is missing" },
	{ "host", cmd_host, "run a VMM, such as QEMU, on the software host" },
	{ "qtest", cmd_qtest, "a machine without a processor, moved by a script" },
	{ "run", cmd_run, "boot a guest whose IOMMU and passed-through devices are Nestor's" },
	{ "unbind", cmd_unbind, "give a PCI device back to its driver" },
};

static void usage(FILE *out)
{
	fputs("usage: nestor COMMAND [OPTION...]\n"
	      "\n"
	      "Nested IOMMU translation for virtual machines.\n"
	      "\n"
	      "Commands:\n",
	      out);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].about);
	fputs("\n"
	      "\"nestor COMMAND --help\" tells more. \"nestor --version\" prints the version.\n",
	      out);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		usage(stdout);
		return EXIT_OK;
	}
	if (!strcmp(argv[1], "--version")) {
		puts("nestor " NESTOR_VERSION);
		return EXIT_OK;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	complain("there is no command \"%s\"; \"nestor --help\" lists them", argv[1]);
	return EXIT_USAGE;
}
