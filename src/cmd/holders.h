/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who would notice if a device went away: its network interfaces and disks, what is mounted from
 * these, and the programs that have its VFIO files open.
 */
#ifndef CMD_HOLDERS_H
#define CMD_HOLDERS_H

#include "cmd/platform.h"

/* "network interface eth0, disk vda (mounted on /)"; "" if nothing is found. */
void holders_of_driver(const struct platform *machine, const char *address,
		       char out[PLATFORM_TEXT]);
/* "process 17 (qemu-system-x86)"; processes of other users only root sees. */
void holders_of_vfio(const struct platform *machine, const struct platform_device *device,
		     char out[PLATFORM_TEXT]);

#endif
