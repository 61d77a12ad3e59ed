/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * QEMU as a child process: which one, with which arguments, and its end.
 *
 * The child dies with this process, whatever kills it (PR_SET_PDEATHSIG), and takes
 * its sockets and tables from inherited descriptors (/proc/self/fd/N), so nothing of
 * a run ever lies in the file system.
 */
#ifndef CMD_QEMU_H
#define CMD_QEMU_H

#include "cmd/machine.h"
#include "cmd/run_options.h"
#include "cmd/server.h"

#include <sys/types.h>

/* The words that start a QEMU. */
struct qemu {
	char *argv[16];
	unsigned int argc;
};

/* What one run of it is given besides the options. Descriptors stay the caller's; -1 = none. */
struct qemu_run {
	bool probe; /* only to see where firmware puts BARs: no kernel */
	const struct server *server;
	int dmar;    /* a file with the DMAR table */
	int initrd;  /* the guest's, if it is not the one of the options */
	int monitor; /* a connected socket */
	int console; /* a pipe that gets what the guest prints */
};

/* One that has vfio-user-pci: -1, or the status to exit with, the user having been told. */
int qemu_find(const char *wanted, const struct machine *machine, struct qemu *out);
/* The one in the cache, whatever it has. False: there is none. */
bool qemu_from_tree(const struct machine *machine, struct qemu *out);
void qemu_fini(struct qemu *qemu);

/* Device @i of @server, as JSON: for the command line, or for device_add. */
enum { QEMU_DEVICE_JSON = 512 };
void qemu_device_json(const struct server *server, unsigned int i, char json[QEMU_DEVICE_JSON]);

/* Returns its pid and stores a pidfd, or a negative errno. */
pid_t qemu_start(const struct qemu *qemu, const struct run_options *options,
		 const struct qemu_run *run, int *pidfd);

/* End it, gently for a while if it may have a terminal to restore; returns its wait status. */
int qemu_end(pid_t pid, int pidfd, bool gently);

#endif
