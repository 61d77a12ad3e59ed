// SPDX-License-Identifier: BSD-3-Clause
/* The software host in this process, for rig.c. */
#include "rig.h"

#include "device.h"
#include "host/soft/soft.h"

#include <stdlib.h>
#include <string.h>

void rig_add_soft_device(struct rig *rig, bool pasid, char *path, size_t path_size)
{
	ok(soft_add_endpoint(rig->host, test_device_create(pasid), path, path_size));
}

struct rig *rig_create(const struct nst_soft_config *config, bool pasid)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	ok(nst_host_soft_create(config, &rig->host));
	rig_add_soft_device(rig, pasid, rig->path, sizeof(rig->path));
	rig_bind(rig);
	return rig;
}

/*
 * All that a case may ask for. SMMUv3 comes with the quirks of the kernel, because the cases
 * were taken from one; test_quirks.c has what is better without.
 */
struct rig *rig_create_soft(const char *iommu, bool pasid)
{
	bool smmuv3 = !strcmp(iommu, "smmuv3");
	struct nst_soft_config config = { .iommu = smmuv3 ? NST_SOFT_SMMUV3 : NST_SOFT_VTD,
					  .synchronous = true,
					  .check = true,
					  .quirks = smmuv3 };

	return rig_create(&config, pasid);
}
