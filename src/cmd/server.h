/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Our side of a run: the software host with its devices, the VM on it, the vIOMMU they
 * are behind, and the vfio-user functions that QEMU connects to.
 */
#ifndef CMD_SERVER_H
#define CMD_SERVER_H

#include "cmd/run_options.h"
#include "cmd/trace_file.h"
#include "frontend/device_function.h"
#include "frontend/iommu_function.h"

#include <nestor/soft_host.h>

struct server {
	struct nst_host *host;	/* the software host */
	struct nst_host *front; /* what the VM is on: the host, or a trace of it */
	struct trace_file trace;
	struct nst_vm *vm;
	struct iommu_function *iommu;
	struct nst_device *devices[RUN_MAX_DEVICES];
	struct device_function *functions[RUN_MAX_DEVICES];
	unsigned int num_devices;
	/* for QEMU to connect through: O_PATH descriptors of the listening sockets */
	int iommu_socket, device_sockets[RUN_MAX_DEVICES];
	int scratch_disk; /* behind the default device */
	char scratch_description[64];
	bool unshared; /* guest memory turned out to be private */
};

/* -1, or the status to exit with, the user having been told. */
int server_init(struct server *server, struct run_options *options, const struct nst_log *log);
void server_fini(struct server *server);

/* All descriptors to poll: server_poll_fd(i) for i below server_poll_count(). */
unsigned int server_poll_count(const struct server *server);
int server_poll_fd(const struct server *server, unsigned int i);
int server_process(struct server *server, unsigned int i);

#endif
