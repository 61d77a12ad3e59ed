/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * As much of QEMU's monitor protocol as "nestor run" needs: ask where firmware put a
 * BAR. Never blocks; the caller polls the descriptor.
 */
#ifndef CMD_QMP_H
#define CMD_QMP_H

#include <stddef.h>
#include <stdint.h>

struct json_tokener;

struct qmp {
	int fd; /* our end, non-blocking */
	struct json_tokener *tokener;
	int ready;	       /* capabilities are negotiated */
	uint64_t bar;	       /* the answer, once there is one */
	const char *device_id; /* whose BAR0 */
};

int qmp_init(struct qmp *qmp, int fd, const char *device_id);
void qmp_fini(struct qmp *qmp);
/* Ask again; answers come through qmp_read(). */
int qmp_query_pci(struct qmp *qmp);
/* Take in what has arrived. 1: qmp->bar is known. 0: not yet. Negative errno: it broke. */
int qmp_read(struct qmp *qmp);

#endif
