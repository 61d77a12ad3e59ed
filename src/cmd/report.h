/* SPDX-License-Identifier: BSD-3-Clause */
/* What happened in a run: as a table for people, as JSON for programs. */
#ifndef CMD_REPORT_H
#define CMD_REPORT_H

#include "cmd/server.h"

#include <stdbool.h>

struct report {
	bool guest_ok;
	double boot_seconds; /* < 0: the guest did not say */
	bool host_counts; /* a kernel counts nothing: of @host the invalidations only are known */
	struct nst_soft_stats host;
	struct nst_viommu_stats viommu;
};

void report_collect(struct report *report, const struct server *server, bool guest_ok,
		    double boot_seconds);
void report_print(const struct report *report);
/* 0, or a negative errno. */
int report_write(const struct report *report, const char *file);

#endif
