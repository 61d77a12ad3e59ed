/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * As much of QEMU's monitor protocol as "nestor run" needs: ask where the guest's PCI
 * functions are, plug and unplug devices. Never blocks; the caller polls the descriptor
 * and gets what arrives by callbacks.
 */
#ifndef CMD_QMP_H
#define CMD_QMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_tokener;

/* One function of an answer to query-pci. */
struct qmp_function {
	const char *id;		/* of QEMU's device; "" if it has none */
	uint64_t bar0;		/* 0: not placed */
	unsigned int secondary; /* a bridge's bus behind it; 0: none yet, or no bridge */
};

/* Called from within qmp_read(). */
struct qmp_ops {
	void (*ready)(void *opaque); /* commands can be given */
	void (*function)(void *opaque, const struct qmp_function *function);
	/* @command is done, after its functions; @error is NULL or what QEMU says is wrong */
	void (*done)(void *opaque, const char *command, const char *error);
	/* @device: the id that the event is about, or "" */
	void (*event)(void *opaque, const char *name, const char *device);
};

struct qmp {
	int fd; /* our end, non-blocking */
	struct json_tokener *tokener;
	bool ready; /* capabilities are negotiated */
	const struct qmp_ops *ops;
	void *opaque;
};

int qmp_init(struct qmp *qmp, int fd, const struct qmp_ops *ops, void *opaque);
void qmp_fini(struct qmp *qmp);

/*
 * Give a command; @arguments is a JSON object, or NULL. To be called when ready. What
 * comes of it comes through qmp_read(). Errors: -EPIPE.
 */
int qmp_execute(struct qmp *qmp, const char *command, const char *arguments);

/* Take in what has arrived. 0, or a negative errno: it broke. */
int qmp_read(struct qmp *qmp);

#endif
