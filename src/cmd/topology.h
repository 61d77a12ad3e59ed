/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest's PCI hierarchy as QEMU knows it: where firmware put the IOMMUs' registers, which
 * numbers buses have, and devices that come and go.
 *
 * vfio-user does not tell a device the number of its bus, which is part of the requester id
 * that the guest's IOMMU tables are indexed by. QEMU's monitor does (query-pci). It is asked
 * whenever the guest reads the vendor id of such a device, which is what a look at a bus
 * begins with; until the answer is there, commands to the IOMMUs wait (iommu_function_hold()).
 *
 * An unplugged device is gone when QEMU says so, and its connection has ended:
 *
 *	       unplug N                 DEVICE_DELETED and the end of the connection
 *	IDLE ------------> UNPLUGGING -----------------------------------------------> IDLE
 *	       plug N              buses known              device_add answered
 *	IDLE ------------> LOOKING ------------> PLUGGING ---------------------------> IDLE
 *
 * The host may ask for a device (the user may make it: "withdraw N", "pull N"). That unplugs it, as
 * soon as nothing else is under way; one that is not on a port can only be complained about.
 */
#ifndef CMD_TOPOLOGY_H
#define CMD_TOPOLOGY_H

#include "cmd/control.h"
#include "cmd/qmp.h"
#include "cmd/server.h"

enum topology_state { TOPOLOGY_IDLE, TOPOLOGY_UNPLUGGING, TOPOLOGY_LOOKING, TOPOLOGY_PLUGGING };

struct topology {
	struct qmp qmp;
	struct server *server;	 /* NULL: QEMU has ended */
	struct control *control; /* who asks, and is answered */
	bool asked;		 /* a query-pci is under way */
	uint64_t bars[RUN_MAX_UNITS];
	bool buses[RUN_MAX_DEVICES]; /* whose number is known */
	enum topology_state state;
	unsigned int device; /* that is plugged or unplugged */
	bool deleted;	     /* QEMU says that it is gone */
	int user;	     /* the device whose command waits for its answer, or -1 */
};

/* @monitor: our end of QEMU's; taken over. */
int topology_init(struct topology *topology, struct server *server, struct control *control,
		  int monitor);
void topology_fini(struct topology *topology);

/* Ask QEMU, if it is not being asked. */
void topology_ask(struct topology *topology);
/* What the monitor has to say. Errors: it broke. */
int topology_read(struct topology *topology);
/* To be called when something may have happened to the server. */
void topology_step(struct topology *topology);
/* Has firmware placed everything? */
bool topology_is_placed(const struct topology *topology);
/* A line of the user's; it is answered through the control socket, now or later. */
void topology_command(struct topology *topology, const char *line);

#endif
