/* SPDX-License-Identifier: BSD-3-Clause */
/* What "nestor doctor" prints: a table for people, JSON for programs. */
#ifndef CMD_DOCTOR_REPORT_H
#define CMD_DOCTOR_REPORT_H

#include "cmd/verdict.h"

struct diagnosis {
	const char *name; /* a PCI address, or the path of a VFIO cdev */
	const char *what; /* "8086:0b25", "" if it is not known */
	bool brief;	  /* the table has one line for it */
	struct verdict verdict;
};

void doctor_print(const struct verdict *machine, const struct diagnosis *devices,
		  unsigned int num_devices);
/* -ENOMEM, -EIO */
int doctor_print_json(const struct verdict *machine, const struct diagnosis *devices,
		      unsigned int num_devices, int status);

#endif
