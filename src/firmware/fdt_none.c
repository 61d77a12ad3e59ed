// SPDX-License-Identifier: BSD-3-Clause
/* In place of fdt.c where there is no libfdt: a library for VMMs of PCs only. */
#include <nestor/firmware.h>

#include <errno.h>

int nst_fdt_add_smmuv3(void *fdt, const struct nst_fdt_place *place,
		       const struct nst_firmware_smmuv3 *unit, uint32_t *phandle)
{
	return -EOPNOTSUPP;
}
