/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of "nestor host", checked. */
#ifndef CMD_HOST_OPTIONS_H
#define CMD_HOST_OPTIONS_H

#include "frontend/preload/session.h"

#include <stdbool.h>

struct host_options {
	char *devices[PRELOAD_MAX_DEVICES]; /* descriptions, with absolute paths */
	unsigned int num_devices;
	const char *report; /* file for the JSON report, or NULL */
	const char *trace;  /* file for the trace, or NULL */
	enum nst_soft_iommu iommu;
	bool check, quirks, stalls, strict_abi, quiet, verbose;
	char **command; /* and its arguments, NULL-terminated */
};

/*
 * Returns -1 if there is something to run, else the status to exit with, the user having
 * been told. Every device could be made; none of their files is open any more.
 */
int host_options_parse(int argc, char **argv, struct host_options *out);
void host_options_fini(struct host_options *options);

#endif
