/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of "nestor run", checked and with its defaults filled in. */
#ifndef CMD_RUN_OPTIONS_H
#define CMD_RUN_OPTIONS_H

#include "cmd/host_choice.h"
#include "cmd/machine.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RUN_MAX_DEVICES = 16, RUN_MAX_UNITS = 4 };

struct run_options {
	const struct machine *machine;
	enum host_kind host;
	const char *devices[RUN_MAX_DEVICES]; /* "nvme,file=disk.img", "0000:3d:00.0" */
	unsigned int num_devices;
	unsigned int num_units; /* IOMMUs of the guest */
	const char *control;	/* where to take commands, or NULL */
	char *kernel, *initrd;
	char *append;	    /* the whole kernel command line */
	const char *job;    /* in the guest; NULL = a shell */
	const char *report; /* file for the JSON report, or NULL */
	const char *trace;  /* file for the trace, or NULL */
	const char *qemu;   /* to be used, or NULL = look for one */
	const char *memory, *cpus, *accel;
	unsigned int timeout_s; /* 0 = none */
	bool quiet;		/* progress instead of the guest's console */
	bool verbose;
	bool emulated;	       /* no host: the unit translates for the devices itself */
	unsigned int features; /* that it offers them, enum nst_vtd_feature */
	bool strict_abi;       /* the software host has nothing that Linux has not */
	bool check;	       /* the software host's IOMMU sanitizer */
	uint64_t drop_after;   /* test hook; 0 = off */
	char **extra;	       /* arguments for QEMU, NULL-terminated */
};

/*
 * Returns -1 if there is something to run, else the status to exit with, the user having
 * been told.
 */
int run_options_parse(int argc, char **argv, struct run_options *out);
void run_options_fini(struct run_options *options);

#endif
