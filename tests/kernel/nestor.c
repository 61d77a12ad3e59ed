// SPDX-License-Identifier: BSD-3-Clause
/*
 * The part of the command that looks at a machine, as a static program for the kernels under test:
 * what main.c is to the whole command. No JSON: that library is not there for every architecture.
 */
#include "cmd/cmd.h"
#include "cmd/doctor_report.h"

#include <errno.h>
#include <string.h>

int doctor_print_json(const struct verdict *machine, const struct diagnosis *devices,
		      unsigned int num_devices, int status)
{
	return -ENOSYS;
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "doctor"))
		return cmd_doctor(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "bind"))
		return cmd_bind(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "unbind"))
		return cmd_unbind(argc - 1, argv + 1);
	complain("this one has doctor, bind and unbind only");
	return EXIT_USAGE;
}
