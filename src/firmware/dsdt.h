/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A change to somebody else's ACPI table: a DSDT whose PCI host bridges then ask for what
 * firmware has configured on their buses to be kept. Only then does Linux heed the reserved memory
 * ranges of an IORT for PCI devices (iort.h, windows), whose stream ids hang on bus numbers.
 *
 * The word for it is function 5 of the bridge's _DSM, which returns 0 (PCI Firmware 3.3, _DSM for
 * Ignoring PCI Boot Configurations; Arm DEN 0049E.e, Reserved Memory Range node). QEMU's method
 * knows no function but 0, and for all others ends in
 *
 *	Return (Buffer (One) { 0 })	a4 11 03 01 00
 *
 * which becomes "Return (Zero)" and three Noops: as long, so that nothing moves.
 */
#ifndef FIRMWARE_DSDT_H
#define FIRMWARE_DSDT_H

#include <nestor/types.h>

/*
 * Change the DSDT of @size bytes in place, in every host bridge that has such a method, and make
 * it newer than what it was made from. Errors: -EINVAL (that is no DSDT of that size), -ENOENT (no
 * host bridge has one); nothing is changed then.
 */
NST_MUST_CHECK int dsdt_keep_boot_configuration(void *table, size_t size);

#endif
