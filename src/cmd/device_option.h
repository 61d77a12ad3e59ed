/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One --device of "nestor run": what the software host is to make, and what is not the
 * device's own: where in the guest it is, and behind which IOMMU.
 */
#ifndef CMD_DEVICE_OPTION_H
#define CMD_DEVICE_OPTION_H

#include <stdbool.h>
#include <stdint.h>

enum device_place {
	PLACE_SLOT, /* on the root bus */
	PLACE_PORT, /* on a PCIe root port of its own: it can be unplugged */
};

struct device_option {
	char *description; /* for the software host; or the name of a device of this machine */
	uint16_t vpasid_offset;
	enum device_place place;
	unsigned int unit; /* the IOMMU it is behind */
	bool unplugged;	   /* until it is plugged in */
};

/*
 * Parse @text for a guest with @num_units IOMMUs: -1, or the status to exit with, the user
 * having been told.
 */
int device_option_parse(const char *text, unsigned int num_units, struct device_option *out);
void device_option_fini(struct device_option *option);

#endif
