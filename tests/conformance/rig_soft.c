// SPDX-License-Identifier: BSD-3-Clause
/* The software host in this process, for rig.c. */
#include "rig.h"

#include "device.h"
#include "host/soft/soft.h"

#include <stdlib.h>

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

/* All that a case may ask for. VT-d is the software host's only IOMMU so far. */
struct rig *rig_create_soft(const char *iommu, bool pasid)
{
	return rig_create(&(struct nst_soft_config){ .synchronous = true, .check = true }, pasid);
}
