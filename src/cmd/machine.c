// SPDX-License-Identifier: BSD-3-Clause
/* See machine.h. */
#include "cmd/machine.h"

#include <stddef.h>
#include <string.h>

const struct machine machine_pc = {
	.viommu = "vtd",
	.program = "qemu-system-x86_64",
	.tree = "debian13",
	.part = "guest",
	.kernel = "kernel-x86_64/vmlinuz",
	.initrd = "initramfs-x86_64.cpio.gz",
	.data = { "/usr/share/qemu", "/usr/share/seabios" },
	.type = "q35",
	.append = MACHINE_PC_APPEND,
};

const struct machine *machine_find(const char *viommu)
{
	const struct machine *const machines[] = { &machine_pc };

	for (size_t i = 0; i < sizeof(machines) / sizeof(machines[0]); i++)
		if (!strcmp(viommu, machines[i]->viommu))
			return machines[i];
	return NULL;
}
