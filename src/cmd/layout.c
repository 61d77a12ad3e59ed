// SPDX-License-Identifier: BSD-3-Clause
/* See layout.h. */
#include "cmd/layout.h"

#include <stdarg.h>
#include <stdio.h>

enum { FIRST_SLOT = 2, LAST_UNIT_SLOT = 0x1e };

static struct layout_name name(const char *prefix, unsigned int number)
{
	struct layout_name n;

	snprintf(n.text, sizeof(n.text), "%s%u", prefix, number);
	return n;
}

struct layout_name layout_unit_id(unsigned int unit)
{
	return name("nestor-iommu", unit);
}

unsigned int layout_unit_slot(unsigned int unit)
{
	return LAST_UNIT_SLOT - unit;
}

struct layout_name layout_device_id(unsigned int device)
{
	return name("nestor", device);
}

struct layout_name layout_bus_id(const struct device_option *o, unsigned int device)
{
	if (o->place == PLACE_PORT)
		return name("nestor-port", device);
	return (struct layout_name){ "pcie.0" };
}

unsigned int layout_device_slot(const struct device_option *o, unsigned int device)
{
	return o->place == PLACE_PORT ? 0 : FIRST_SLOT + device;
}

unsigned int layout_port_slot(unsigned int device)
{
	return FIRST_SLOT + device;
}

nst_rid layout_rid(const struct device_option *o, unsigned int device, uint8_t bus)
{
	if (o->place == PLACE_SLOT)
		return (nst_rid)(layout_device_slot(o, device) << 3);
	if (bus)
		return (nst_rid)(bus << 8);
	return (nst_rid)(0xff00 | layout_port_slot(device) << 3);
}

struct nst_dmar_scope layout_scope(const struct device_option *o, unsigned int device)
{
	return (struct nst_dmar_scope){
		.device = (uint8_t)(FIRST_SLOT + device),
		.bridge = o->place == PLACE_PORT,
	};
}
