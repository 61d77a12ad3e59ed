/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Giving a PCI device to vfio-pci and back, through the files of sysfs: driver_override, the
 * driver's unbind, and drivers_probe (Linux 7.2 Documentation/ABI/testing/sysfs-bus-pci). A device
 * in use is left alone unless it is forced:
 *
 *	to vfio-pci   in use = a driver other than vfio-pci has it, whatever it does
 *	back          in use = a program has one of its VFIO files open; the kernel would wait for
 *it
 *
 * Every write is said on stdout, in the form of the command that does the same.
 */
#ifndef CMD_BINDING_H
#define CMD_BINDING_H

#include "cmd/platform.h"

/* The status to exit with; the user has been told why. */
int binding_bind(const struct platform *machine, const char *address, bool force);
int binding_unbind(const struct platform *machine, const char *address, bool force);

#endif
