/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The firmware's tables of a guest of "nestor run", once its dry run has shown where everything is.
 *
 * On a PC a DMAR is handed to QEMU. On "virt" an IORT stands in front of the initramfs; and where
 * the host's MSIs pass the guest's stage 1, QEMU's own DSDT with one change, for the kernel to heed
 * what the IORT says of that (firmware/dsdt.h). It is read from the memory of the dry run, in which
 * UEFI has put it.
 */
#ifndef CMD_TABLES_H
#define CMD_TABLES_H

#include "cmd/server.h"

struct tables {
	/* what the dry run has shown */
	uint64_t bars[RUN_MAX_UNITS];
	nst_rid rids[RUN_MAX_DEVICES];
	void *dsdt; /* or NULL */
	size_t dsdt_size;
};

/* Does this guest need a DSDT, and has none yet? */
bool tables_want_dsdt(const struct tables *tables, const struct server *server,
		      const struct run_options *options);
/*
 * Take it from guest memory, that of a machine of which firmware has found all devices. False: it
 * is not there yet. Errors in it are told by tables_make().
 */
bool tables_take_dsdt(struct tables *tables, const struct server *server);
void tables_fini(struct tables *tables);

/*
 * *@dmar or *@initrd becomes a descriptor for QEMU, as the machine is.
 * Errors: -ENOENT (no DSDT that can be changed), -ENOMEM, and what files give.
 */
NST_MUST_CHECK int tables_make(struct tables *tables, const struct server *server,
			       const struct run_options *options, int *dmar, int *initrd);

#endif
