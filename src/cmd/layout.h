/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where everything of ours is in the guest's PCI hierarchy, and what it is called in QEMU.
 *
 *	pcie.0	02.0 ...	devices, or the ports they are on, by number
 *		1e.0, 1d.0 ...	the units' register functions
 */
#ifndef CMD_LAYOUT_H
#define CMD_LAYOUT_H

#include "cmd/device_option.h"

#include <nestor/firmware.h>

struct layout_name {
	char text[32];
};

struct layout_name layout_unit_id(unsigned int unit);
unsigned int layout_unit_slot(unsigned int unit);
struct layout_name layout_device_id(unsigned int device);

/* The bus that @device is on, and its slot there. */
struct layout_name layout_bus_id(const struct device_option *option, unsigned int device);
unsigned int layout_device_slot(const struct device_option *option, unsigned int device);
/* The slot of its port, on the root bus. */
unsigned int layout_port_slot(unsigned int device);

/*
 * What its requests carry when the bus behind its port has number @bus; 0, that of the root
 * bus: it has none yet, and this is nobody's.
 */
nst_rid layout_rid(const struct device_option *option, unsigned int device, uint8_t bus);

/* How the DMAR table names it, or the port it is on. */
struct nst_dmar_scope layout_scope(const struct device_option *option, unsigned int device);

#endif
