/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Our side of a run: the host with its devices, the VM on it, the vIOMMUs they are behind, and
 * the vfio-user functions that QEMU connects to. Emulated devices are on no host: each is the
 * endpoint and its function.
 *
 * A device on a port is open, and behind its vIOMMU, as long as QEMU is connected to it, or
 * is about to be: an unplugged one leaves nothing behind. Others are there from the
 * beginning to the end.
 *
 * Requests of a device on a port carry the number of the bus there, which the guest gives;
 * server_take_bus() is told, and server_renumber() moves the devices.
 *
 * The host may ask for a device: @requested of it says so.
 */
#ifndef CMD_SERVER_H
#define CMD_SERVER_H

#include "cmd/device_option.h"
#include "cmd/host_choice.h"
#include "cmd/run_options.h"
#include "cmd/trace_file.h"
#include "frontend/device_function.h"
#include "frontend/endpoint_function.h"
#include "frontend/iommu_function.h"

#include <nestor/soft_host.h>

/* A host has few; Linux 7.2 on Arm one. */
enum { SERVER_MAX_RESERVED = 4 };

struct server_device {
	struct server *server;
	struct device_option option;
	char cdev[64];
	nst_rid rid, next_rid;	/* next_rid: from server_renumber() on */
	struct nst_device *dev; /* NULL: not there at present */
	struct nst_gpa_range
		reserved[SERVER_MAX_RESERVED]; /* by its host, when it was last there */
	unsigned int num_reserved;
	struct device_function *function;
	struct endpoint_function *emulated; /* in its place, without a host; or NULL */
	bool connected;
	int request;	/* eventfd: the host asks for it */
	bool requested; /* it did */
	bool taken;	/* and gives it to nobody any more: server_take() */
	int socket;	/* for QEMU to connect through: an O_PATH descriptor of the listening one */
};

struct server_unit {
	struct iommu_function *iommu;
	int socket;
};

struct server {
	enum host_kind kind;
	struct nst_host *host;	/* of that kind; NULL: devices are emulated */
	struct nst_host *front; /* what the VM is on: the host, or a trace of it */
	struct trace_file trace;
	struct nst_vm *vm;
	const struct nst_log *log;
	unsigned int features; /* of VT-d units */
	struct server_unit units[RUN_MAX_UNITS];
	unsigned int num_units;
	struct server_device devices[RUN_MAX_DEVICES];
	unsigned int num_devices;
	int scratch_disk; /* behind the default device */
	bool unshared;	  /* guest memory turned out to be private */
	bool buses_asked; /* the guest looks at a bus whose number it may have changed */
};

/* -1, or the status to exit with, the user having been told. */
int server_init(struct server *server, const struct run_options *options,
		const struct nst_log *log);
void server_fini(struct server *server);

/* Is the number of device @i's bus the guest's to give? */
bool server_has_bus(const struct server *server, unsigned int i);
/* The guest gave that bus @number. It counts from server_renumber() on. */
void server_take_bus(struct server *server, unsigned int i, unsigned int number);
void server_renumber(struct server *server);

/*
 * Put device @i behind its vIOMMU, if it is not there, for QEMU to connect to it; and take it
 * away again if QEMU has not. Errors: nst_device_open()'s, nst_viommu_attach()'s.
 */
int server_plug(struct server *server, unsigned int i);
void server_unplug(struct server *server, unsigned int i);
/*
 * The host takes device @i away (nst_soft_remove_device()), for good: asks for it (@requested), and
 * when QEMU has let it go, that is as after any unplug.
 */
int server_take(struct server *server, unsigned int i, bool pulled);

/* All descriptors to poll: server_poll_fd(i) for i below server_poll_count(). */
unsigned int server_poll_count(const struct server *server);
int server_poll_fd(const struct server *server, unsigned int i);
int server_process(struct server *server, unsigned int i);

/*
 * QEMU has ended: serve its connections until they have, too. The kernel closes them a little
 * after the process is gone where an io_uring holds them.
 */
void server_see_end(struct server *server);

#endif
