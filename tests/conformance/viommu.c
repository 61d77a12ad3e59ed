// SPDX-License-Identifier: BSD-3-Clause
/* See viommu.h. */
#include "viommu.h"

int viommu_alloc(struct rig *rig, uint32_t type, uint32_t dev, uint32_t hwpt, uint32_t *out)
{
	struct iommu_viommu_alloc cmd = {
		.size = sizeof(cmd), .type = type, .dev_id = dev, .hwpt_id = hwpt
	};
	int ret = iommufd(rig, IOMMU_VIOMMU_ALLOC, &cmd);

	if (!ret)
		*out = cmd.out_viommu_id;
	return ret;
}

int vdevice_alloc(struct rig *rig, uint32_t viommu, uint32_t dev, uint64_t virt, uint32_t *out)
{
	struct iommu_vdevice_alloc cmd = {
		.size = sizeof(cmd), .viommu_id = viommu, .dev_id = dev, .virt_id = virt
	};
	int ret = iommufd(rig, IOMMU_VDEVICE_ALLOC, &cmd);

	if (!ret)
		*out = cmd.out_vdevice_id;
	return ret;
}

int nested_alloc(struct vsmmu *v, uint32_t flags, uint64_t ste0, uint64_t ste1, uint32_t *out)
{
	const uint64_t ste[2] = { ste0, ste1 };

	return hwpt_alloc_data(v->rig, v->rig->devid, v->viommu, flags, IOMMU_HWPT_DATA_ARM_SMMUV3,
			       ste, sizeof(ste), out);
}

int command(struct vsmmu *v, uint64_t cmd0, uint64_t cmd1)
{
	const uint64_t cmd[2] = { cmd0, cmd1 };
	uint32_t num = 1;

	return invalidate(v->rig, v->viommu, TYPE_SMMU, cmd, sizeof(cmd), &num);
}

void make_vsmmu(struct vsmmu *v, struct rig *rig)
{
	*v = (struct vsmmu){ .rig = rig, .ioas = ioas_alloc(rig) };
	smmu_guest_init(&v->guest, GUEST_BYTES);
	v->context = smmu_context(&v->guest, ASID);
	ok(ioas_map(rig, v->ioas, v->guest.memory, GUEST_BYTES, 0, RW));
	ok(hwpt_alloc(rig, rig->devid, v->ioas, NEST, &v->parent));
	ok(viommu_alloc(rig, ARM, rig->devid, v->parent, &v->viommu));
	enable_bus_master(rig);
}

void make_vsmmu_with_stes(struct vsmmu *v, struct rig *rig)
{
	make_vsmmu(v, rig);
	ok(nested_alloc(v, 0, STE0_V | STE0_BYPASS, 0, &v->bypass));
	ok(nested_alloc(v, 0, STE0_V | STE0_ABORT, 0, &v->abort));
	ok(nested_alloc(v, 0, 0, 0, &v->invalid));
}

void make_attached_vsmmu(struct vsmmu *v, struct rig *rig)
{
	make_vsmmu_with_stes(v, rig);
	smmu_map(&v->guest, v->context, IOVA, 0x4000);
	ok(vdevice_alloc(rig, v->viommu, rig->devid, VSID, &v->vdevice));
	ok(nested_alloc(v, 0, STE0_V | STE0_S1 | v->context, STE1_LINUX, &v->s1));
	ok(attach_id(rig, v->s1));
}

void end_vsmmu(struct vsmmu *v)
{
	ok(host_close(v->rig, v->rig->dev));
	ok(host_close(v->rig, v->rig->iommu));
	smmu_guest_fini(&v->guest);
}
