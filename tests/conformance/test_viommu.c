// SPDX-License-Identifier: BSD-3-Clause
/*
 * vIOMMU, vDEVICE and nested HWPTs of an SMMUv3: which objects there are, which stream table
 * entries a guest may have, what a device then reaches, what commands do. Expected results:
 * Linux 7.2 on QEMU's SMMUv3. Events: test_veventq.c.
 */
#include "viommu.h"

#include <string.h>
#include <sys/mman.h>

static void hw_info_of_smmuv3(void **state)
{
	struct rig *rig = *state;
	struct iommu_hw_info_arm_smmuv3 smmu;
	struct iommu_hw_info cmd = { .size = sizeof(cmd),
				     .dev_id = rig->devid,
				     .data_len = sizeof(smmu),
				     .data_uptr = (uintptr_t)&smmu };

	memset(&smmu, 0xaa, sizeof(smmu));
	ok(iommufd(rig, IOMMU_GET_HW_INFO, &cmd));
	assert_int_equal(cmd.data_len, 40);
	assert_int_equal(smmu.flags, 0);
	assert_int_equal(smmu.__reserved, 0);
	assert_int_equal(smmu.idr[0] & 3, 3);	   /* S1P and S2P */
	assert_true(smmu.idr[0] >> 3 & 1);	   /* AArch64 tables */
	assert_int_not_equal(smmu.idr[1] & 63, 0); /* SIDSIZE */
	assert_true(smmu.idr[5] >> 4 & 1);	   /* 4 KiB pages */
	cmd.in_data_type = IOMMU_HW_INFO_TYPE_TEGRA241_CMDQV;
	cmd.flags = IOMMU_HW_INFO_FLAG_INPUT_TYPE;
	err(EOPNOTSUPP, iommufd(rig, IOMMU_GET_HW_INFO, &cmd));
}

/* --- objects ------------------------------------------------------------------------------ */

static void viommu_alloc_in_order(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), parent, plain, viommu, second;
	struct iommu_viommu_alloc cmd = { .size = sizeof(cmd), .flags = 1 };

	ok(hwpt_alloc(rig, rig->devid, ioas, NEST, &parent));
	ok(hwpt_alloc(rig, rig->devid, ioas, 0, &plain));
	err(EOPNOTSUPP, iommufd(rig, IOMMU_VIOMMU_ALLOC, &cmd));
	err(EOPNOTSUPP, viommu_alloc(rig, 0, 99, parent, &viommu));
	err(ENOENT, viommu_alloc(rig, ARM, 99, parent, &viommu));
	err(ENOENT, viommu_alloc(rig, 77, 99, 99, &viommu));
	err(EOPNOTSUPP,
	    viommu_alloc(rig, IOMMU_VIOMMU_TYPE_TEGRA241_CMDQV, rig->devid, parent, &viommu));
	err(EOPNOTSUPP, viommu_alloc(rig, 77, rig->devid, 99, &viommu)); /* before the HWPT */
	err(ENOENT, viommu_alloc(rig, ARM, rig->devid, 99, &viommu));
	err(ENOENT, viommu_alloc(rig, ARM, rig->devid, ioas, &viommu));
	err(EINVAL, viommu_alloc(rig, ARM, rig->devid, plain, &viommu));
	ok(viommu_alloc(rig, ARM, rig->devid, parent, &viommu));
	ok(viommu_alloc(rig, ARM, rig->devid, parent, &second));
	assert_int_equal(second, viommu + 1);
	err(EBUSY, destroy(rig, parent));
	ok(destroy(rig, viommu));
	err(EBUSY, destroy(rig, parent));
	ok(destroy(rig, second));
	ok(destroy(rig, parent));

	cmd = (struct iommu_viommu_alloc){ .size = 23 };
	err(EINVAL, iommufd(rig, IOMMU_VIOMMU_ALLOC, &cmd));
}

static void vdevice_alloc_in_order(void **state)
{
	struct rig *rig = *state;
	struct vsmmu v;
	uint32_t id, again;
	struct iommu_vdevice_alloc cmd = { .size = 23 };

	make_vsmmu(&v, rig);
	err(EINVAL, iommufd(rig, IOMMU_VDEVICE_ALLOC, &cmd));
	err(ENOENT, vdevice_alloc(rig, 99, 99, 1, &id));
	err(ENOENT, vdevice_alloc(rig, v.viommu, 99, 1, &id));
	err(ENOENT, vdevice_alloc(rig, v.parent, rig->devid, 1, &id));
	err(ENOENT, vdevice_alloc(rig, v.viommu, v.ioas, 1, &id));
	ok(vdevice_alloc(rig, v.viommu, rig->devid, 0, &id));
	err(EEXIST, vdevice_alloc(rig, v.viommu, rig->devid, 0, &again));
	err(EEXIST, vdevice_alloc(rig, v.viommu, rig->devid, 7, &again)); /* one each */
	err(EBUSY, destroy(rig, v.viommu));
	ok(destroy(rig, id));
	/* wider than a command can say */
	ok(vdevice_alloc(rig, v.viommu, rig->devid, 1ULL << 32, &again));
	assert_int_equal(again, id);
	ok(destroy(rig, again));
	ok(destroy(rig, v.viommu));
}

static void no_hardware_queues(void **state)
{
	struct rig *rig = *state;
	struct vsmmu v;
	struct iommu_hw_queue_alloc cmd = { .size = sizeof(cmd), .type = 1, .length = PAGE };

	make_vsmmu(&v, rig);
	err(ENOENT, iommufd(rig, IOMMU_HW_QUEUE_ALLOC, &cmd));
	cmd.viommu_id = v.viommu;
	err(EOPNOTSUPP, iommufd(rig, IOMMU_HW_QUEUE_ALLOC, &cmd));
	cmd.nesting_parent_iova = UINT64_MAX;
	err(EOVERFLOW, iommufd(rig, IOMMU_HW_QUEUE_ALLOC, &cmd));
	cmd.length = 0;
	err(EINVAL, iommufd(rig, IOMMU_HW_QUEUE_ALLOC, &cmd));
	cmd.type = 0;
	err(EOPNOTSUPP, iommufd(rig, IOMMU_HW_QUEUE_ALLOC, &cmd));
}

/* A parent has no other flag, and does not nest by itself. */
static void parents(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), parent, id;
	const uint64_t ste[2] = { STE0_V | STE0_BYPASS };

	err(EOPNOTSUPP, hwpt_alloc(rig, rig->devid, ioas, NEST | DIRTY, &parent));
	err(EOPNOTSUPP, hwpt_alloc(rig, rig->devid, ioas, NEST | PASID, &parent));
	ok(hwpt_alloc(rig, rig->devid, ioas, NEST, &parent));
	err(EOPNOTSUPP, hwpt_alloc_data(rig, rig->devid, parent, 0, IOMMU_HWPT_DATA_ARM_SMMUV3, ste,
					sizeof(ste), &id));
	ok(attach_id(rig, parent));
	err(EBUSY, destroy(rig, parent));
	ok(detach(rig));
	ok(destroy(rig, parent));
}

static void nested_alloc_in_order(void **state)
{
	struct rig *rig = *state;
	struct vsmmu v;
	uint64_t ste[5] = { STE0_V | STE0_BYPASS };
	const uint32_t TYPE = IOMMU_HWPT_DATA_ARM_SMMUV3;
	uint32_t id = 0, d = rig->devid;

	make_vsmmu(&v, rig);
	err(EOPNOTSUPP, hwpt_alloc(rig, d, v.viommu, 0, &id));
	err(EOPNOTSUPP, nested_alloc(&v, NEST, ste[0], 0, &id));
	err(EOPNOTSUPP, nested_alloc(&v, DIRTY, ste[0], 0, &id));
	err(EOPNOTSUPP, nested_alloc(&v, PASID, ste[0], 0, &id));
	err(EINVAL, hwpt_alloc_data(rig, d, v.viommu, 0, IOMMU_HWPT_DATA_VTD_S1, ste, 16, &id));
	err(EINVAL, hwpt_alloc_data(rig, d, v.viommu, 0, 99, ste, 16, &id));
	for (uint32_t len = 1; len <= sizeof(ste); len++)
		assert_int_equal(hwpt_alloc_data(rig, d, v.viommu, 0, TYPE, ste, len, &id),
				 len == 16 ? 0 : -EINVAL);
	ok(destroy(rig, id));
	err(EFAULT, hwpt_alloc_data(rig, d, v.viommu, 0, TYPE, (void *)BAD_POINTER, 16, &id));
	err(ENOENT, nested_alloc(&v, FAULT, ste[0], 0, &id)); /* fault queue 0 */
	err(ENOENT, hwpt_alloc_data(rig, 99, v.viommu, 0, TYPE, ste, 16, &id));
	ok(destroy(rig, v.viommu)); /* the refused ones hold nothing */
}

/* --- stream table entries ------------------------------------------------------------------- */

static int try_ste(struct vsmmu *v, uint64_t ste0, uint64_t ste1)
{
	uint32_t id;
	int ret = nested_alloc(v, 0, ste0, ste1, &id);

	if (!ret)
		ok(destroy(v->rig, id));
	return ret;
}

/* Each bit of the two doublewords: allowed, or EIO. */
static void ste_bits(void **state)
{
	const uint64_t allowed0 = STE0_V | 7ULL << 1 | 3ULL << 4 | ((1ULL << 52) - (1ULL << 6)) |
				  31ULL << 59;
	const uint64_t allowed1 = 0xffULL | 1ULL << 27 | 3ULL << 28;
	struct vsmmu v;

	make_vsmmu(&v, *state);
	for (int bit = 4; bit < 64; bit++)
		assert_int_equal(try_ste(&v, STE0_V | STE0_BYPASS | 1ULL << bit, 0),
				 allowed0 >> bit & 1 ? 0 : -EIO);
	for (int bit = 0; bit < 64; bit++)
		assert_int_equal(try_ste(&v, STE0_V | STE0_S1, 1ULL << bit),
				 (allowed1 & ~(2ULL << 28)) >> bit & 1 ? 0 : -EIO);
	end_vsmmu(&v);
}

static void ste_fields(void **state)
{
	struct vsmmu v;

	make_vsmmu(&v, *state);
	for (unsigned int config = 0; config < 8; config++)
		assert_int_equal(try_ste(&v, STE0_V | STE0_CONFIG(config), 0),
				 config == 0 || config == 4 || config == 5 ? 0 : -EIO);
	for (unsigned int eats = 0; eats < 4; eats++)
		assert_int_equal(try_ste(&v, STE0_V | STE0_S1, STE1_EATS(eats)),
				 eats < 2 ? 0 : -EIO);
	/* not valid: nobody looks at the rest */
	ok(try_ste(&v, 0, 0));
	ok(try_ste(&v, STE0_S1, 0));
	ok(try_ste(&v, STE0_CONFIG(7), UINT64_MAX));
	ok(try_ste(&v, UINT64_MAX - 1, UINT64_MAX));
	end_vsmmu(&v);
}

/* --- attaching ------------------------------------------------------------------------------ */

/* Only an entry that translates needs to know which stream it is for the guest. */
static void attach_without_a_vdevice(void **state)
{
	struct vsmmu v;
	struct rig *rig = *state;
	uint32_t s1;

	make_vsmmu_with_stes(&v, rig);
	ok(nested_alloc(&v, 0, STE0_V | STE0_S1 | v.context, STE1_LINUX, &s1));
	err(ENOENT, attach_id(rig, s1));
	ok(attach_id(rig, v.bypass));
	dma_reaches(rig, NO_PASID, 0x3000, v.guest.memory + 0x3000);
	err(ENOENT, attach_id(rig, s1)); /* and nothing has changed */
	dma_reaches(rig, NO_PASID, 0x3000, v.guest.memory + 0x3000);
	dma_is_blocked(rig, NO_PASID, IOVA);
	ok(attach_id(rig, v.abort));
	dma_is_blocked(rig, NO_PASID, 0x3000);
	ok(attach_id(rig, v.invalid));
	dma_is_blocked(rig, NO_PASID, 0x3000);
	ok(attach_id(rig, v.parent));
	dma_reaches(rig, NO_PASID, 0x3000, v.guest.memory + 0x3000);
	end_vsmmu(&v);
}

static void from_everywhere_to_everywhere(void **state)
{
	enum { NOWHERE, IOAS, PARENT, BYPASS, ABORT, INVALID, S1_A, S1_B, COUNT };
	struct vsmmu v;
	struct rig *rig = *state;
	uint32_t pt[COUNT] = { 0 }, vdevice;
	uint64_t other;

	make_vsmmu_with_stes(&v, rig);
	other = smmu_context(&v.guest, 8);
	smmu_map(&v.guest, v.context, IOVA, 0x4000);
	smmu_map(&v.guest, other, IOVA, 0x5000);
	ok(ioas_map(rig, v.ioas, v.guest.memory, PAGE, IOVA, RW));
	ok(vdevice_alloc(rig, v.viommu, rig->devid, VSID, &vdevice));
	pt[IOAS] = v.ioas;
	pt[PARENT] = v.parent;
	pt[BYPASS] = v.bypass;
	pt[ABORT] = v.abort;
	pt[INVALID] = v.invalid;
	ok(nested_alloc(&v, 0, STE0_V | STE0_S1 | v.context, STE1_LINUX, &pt[S1_A]));
	ok(nested_alloc(&v, 0, STE0_V | STE0_S1 | other, STE1_LINUX, &pt[S1_B]));
	for (int from = 0; from < COUNT; from++) {
		for (int to = 0; to < 2 * COUNT; to++) {
			int place = to & 1 ? to / 2 : from;

			if (place == NOWHERE)
				ok(detach(rig));
			else
				ok(attach_id(rig, pt[place]));
			if (place == NOWHERE || place == ABORT || place == INVALID)
				dma_is_blocked(rig, NO_PASID, IOVA);
			else
				dma_reaches(rig, NO_PASID, IOVA,
					    v.guest.memory + (place == S1_A   ? 0x4000
							      : place == S1_B ? 0x5000
									      : 0));
		}
	}
	ok(detach(rig));
	ok(destroy(rig, pt[S1_A]));
	ok(destroy(rig, pt[S1_B]));
	end_vsmmu(&v);
}

/* A fault queue on a nested HWPT is accepted, although nothing here can ask for pages. */
static void nested_with_a_fault_queue(void **state)
{
	struct vsmmu v;
	struct rig *rig = *state;
	struct iommu_fault_alloc fault = { .size = sizeof(fault) };
	const uint64_t ste[2] = { STE0_V | STE0_BYPASS };
	struct iommu_hwpt_alloc cmd = { .size = sizeof(cmd),
					.flags = FAULT,
					.dev_id = rig->devid,
					.data_type = IOMMU_HWPT_DATA_ARM_SMMUV3,
					.data_len = sizeof(ste),
					.data_uptr = (uintptr_t)ste };

	make_vsmmu(&v, rig);
	ok(iommufd(rig, IOMMU_FAULT_QUEUE_ALLOC, &fault));
	cmd.pt_id = v.viommu;
	cmd.fault_id = fault.out_fault_id;
	ok(iommufd(rig, IOMMU_HWPT_ALLOC, &cmd));
	err(EBUSY, destroy(rig, fault.out_fault_id));
	ok(attach_id(rig, cmd.out_hwpt_id));
	dma_reaches(rig, NO_PASID, 0x3000, v.guest.memory + 0x3000);
	ok(detach(rig));
	ok(destroy(rig, cmd.out_hwpt_id));
	end_vsmmu(&v);
}

/* EATS is the guest's affair also if the device has no ATS. */
static void eats_without_ats(void **state)
{
	struct vsmmu v;
	struct rig *rig = *state;
	uint32_t vdevice, s1;

	make_vsmmu(&v, rig);
	smmu_map(&v.guest, v.context, IOVA, 0x4000);
	ok(vdevice_alloc(rig, v.viommu, rig->devid, VSID, &vdevice));
	ok(nested_alloc(&v, 0, STE0_V | STE0_S1 | v.context, STE1_LINUX | STE1_EATS(1), &s1));
	ok(attach_id(rig, s1));
	dma_reaches(rig, NO_PASID, IOVA, v.guest.memory + 0x4000);
	end_vsmmu(&v);
}

/* A nested HWPT of an SMMUv3 is for a whole stream. */
static void no_pasid_attach(void **state)
{
	struct vsmmu v;

	make_vsmmu_with_stes(&v, *state);
	err(EINVAL, attach_pasid(v.rig, 5, v.bypass));
	ok(attach_id(v.rig, v.bypass));
	err(EINVAL, attach_pasid(v.rig, 5, v.bypass));
	err(EINVAL, attach_pasid(v.rig, 5, v.parent));
	end_vsmmu(&v);
}

static void unmap_below(void **state)
{
	struct vsmmu v;
	struct rig *rig = *state;
	uint64_t length = GUEST_BYTES;

	make_attached_vsmmu(&v, rig);
	dma_reaches(rig, NO_PASID, IOVA, v.guest.memory + 0x4000);
	ok(ioas_unmap(rig, v.ioas, 0, &length));
	dma_is_blocked(rig, NO_PASID, IOVA);
	ok(ioas_map(rig, v.ioas, v.guest.memory, GUEST_BYTES, 0, RW));
	dma_reaches(rig, NO_PASID, IOVA, v.guest.memory + 0x4000);
	end_vsmmu(&v);
}

static void two_streams(void **state)
{
	struct vsmmu v;
	struct rig *rig = *state, second = *rig;
	uint64_t other;
	uint32_t id, s1;

	make_attached_vsmmu(&v, rig);
	rig_add_device(rig, true, second.path, sizeof(second.path));
	second.dev = host_open(&second, second.path);
	ok(bind_device(&second, second.dev, rig->iommu, &second.devid));
	enable_bus_master(&second);
	other = smmu_context(&v.guest, 9);
	smmu_map(&v.guest, other, IOVA, 0x6000);
	err(EEXIST, vdevice_alloc(rig, v.viommu, second.devid, VSID, &id));
	ok(vdevice_alloc(rig, v.viommu, second.devid, VSID + 1, &id));
	ok(nested_alloc(&v, 0, STE0_V | STE0_S1 | other, STE1_LINUX, &s1));
	ok(attach_id(&second, s1));
	dma_reaches(rig, NO_PASID, IOVA, v.guest.memory + 0x4000);
	dma_reaches(&second, NO_PASID, IOVA, v.guest.memory + 0x6000);
	/* a command for one stream or address space leaves the other's alone */
	smmu_map(&v.guest, v.context, IOVA, 0x7000);
	smmu_map(&v.guest, other, IOVA, 0x8000);
	ok(command(&v, TLBI_NH_ASID | CMD0_ASID(9), 0));
	dma_reaches(rig, NO_PASID, IOVA, v.guest.memory + 0x4000);
	dma_reaches(&second, NO_PASID, IOVA, v.guest.memory + 0x8000);
	ok(host_close(rig, second.dev));
	dma_reaches(rig, NO_PASID, IOVA, v.guest.memory + 0x4000);
	end_vsmmu(&v);
}

/* --- commands ------------------------------------------------------------------------------- */

/* What is cached stays until a command that is meant for it. */
static void commands_reach_the_cache(void **state)
{
	const uint64_t asid = CMD0_ASID(ASID);
	const struct {
		uint64_t cmd[2];
		bool works;
	} commands[] = {
		{ { TLBI_NH_VA | CMD0_ASID(ASID + 1), IOVA | CMD1_LEAF }, false },
		{ { TLBI_NH_VA | asid, (IOVA + PAGE) | CMD1_LEAF }, false },
		{ { TLBI_NH_ASID | CMD0_ASID(ASID + 1) }, false },
		{ { TLBI_NH_VA | asid, IOVA | CMD1_LEAF }, true },
		{ { TLBI_NH_VA | asid, IOVA }, true },
		{ { TLBI_NH_VA | asid | 0xffffULL << 32, IOVA },
		  true }, /* the VMID is not the guest's */
		{ { TLBI_NH_VAA, IOVA | CMD1_LEAF }, true },
		{ { TLBI_NH_ASID | asid }, true },
		{ { TLBI_NH_ALL }, true },
		{ { TLBI_NSNH_ALL }, true },
	};
	struct vsmmu v;
	struct rig *rig = *state;

	make_attached_vsmmu(&v, rig);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		smmu_map(&v.guest, v.context, IOVA, 0x4000);
		ok(command(&v, TLBI_NSNH_ALL, 0));
		dma_reaches(rig, NO_PASID, IOVA, v.guest.memory + 0x4000);
		smmu_map(&v.guest, v.context, IOVA, 0x5000);
		dma_reaches(rig, NO_PASID, IOVA, v.guest.memory + 0x4000); /* stale */
		ok(command(&v, commands[i].cmd[0], commands[i].cmd[1]));
		dma_reaches(rig, NO_PASID, IOVA,
			    v.guest.memory + (commands[i].works ? 0x5000 : 0x4000));
	}
	end_vsmmu(&v);
}

/* A context descriptor is cached too. */
static void cfgi_cd(void **state)
{
	struct vsmmu v;
	struct rig *rig = *state;
	uint64_t other;

	make_attached_vsmmu(&v, rig);
	other = smmu_context(&v.guest, ASID);
	smmu_map(&v.guest, other, IOVA, 0x6000);
	for (int all = 0; all < 2; all++) {
		uint64_t *cd = smmu_cd(&v.guest, v.context), *spare = smmu_cd(&v.guest, other);
		uint64_t table = cd[1];
		size_t before = all ? 0x6000 : 0x4000, after = all ? 0x4000 : 0x6000;

		dma_reaches(rig, NO_PASID, IOVA, v.guest.memory + before);
		cd[1] = spare[1];
		spare[1] = table;
		ok(command(&v, TLBI_NSNH_ALL, 0));
		dma_reaches(rig, NO_PASID, IOVA, v.guest.memory + before);
		ok(command(&v, (all ? CFGI_CD_ALL : CFGI_CD) | CMD0_SID(VSID), CMD1_LEAF));
		ok(command(&v, TLBI_NSNH_ALL, 0));
		dma_reaches(rig, NO_PASID, IOVA, v.guest.memory + after);
	}
	end_vsmmu(&v);
}

static void commands_refused(void **state)
{
	static const uint8_t allowed[] = { CFGI_CD,    CFGI_CD_ALL, TLBI_NH_ALL,   TLBI_NH_ASID,
					   TLBI_NH_VA, TLBI_NH_VAA, TLBI_NSNH_ALL, ATC_INV };
	struct vsmmu v;
	struct rig *rig = *state;
	uint32_t vdevice, num;

	make_vsmmu(&v, rig);
	ok(vdevice_alloc(rig, v.viommu, rig->devid, VSID, &vdevice));
	for (unsigned int opcode = 0; opcode < 256; opcode++) {
		const uint64_t cmd[2] = { opcode | CMD0_SID(VSID) };

		num = 1;
		assert_int_equal(invalidate(rig, v.viommu, TYPE_SMMU, cmd, sizeof(cmd), &num),
				 memchr(allowed, (int)opcode, sizeof(allowed)) ? 0 : -EIO);
		assert_int_equal(num, memchr(allowed, (int)opcode, sizeof(allowed)) ? 1 : 0);
	}
	err(EIO, command(&v, CFGI_CD | CMD0_SID(VSID + 1), 0));
	err(EIO, command(&v, CFGI_CD_ALL | CMD0_SID(VSID + 1), 0));
	err(EIO, command(&v, ATC_INV | CMD0_SID(VSID + 1), 0));
	ok(destroy(rig, vdevice));
	err(EIO, command(&v, CFGI_CD | CMD0_SID(VSID), 0));
	end_vsmmu(&v);
}

static void invalidate_framing(void **state)
{
	struct vsmmu v;
	struct rig *rig = *state;
	uint64_t long_entry[4] = { TLBI_NSNH_ALL, 0, 0, 0 };
	uint32_t num, d = rig->devid;
#define INV(id, type, ptr, len, n) (num = (n), invalidate(rig, (id), (type), (ptr), (len), &num))

	make_vsmmu_with_stes(&v, rig);
	err(EOPNOTSUPP, INV(v.bypass, TYPE_SMMU, long_entry, 16, 1)); /* only the vIOMMU */
	assert_int_equal(num, 0);
	err(EINVAL, INV(v.parent, TYPE_SMMU, long_entry, 16, 1));
	err(EINVAL, INV(v.ioas, TYPE_SMMU, long_entry, 16, 1));
	err(EINVAL, INV(d, TYPE_SMMU, long_entry, 16, 1));
	err(ENOENT, INV(99, TYPE_SMMU, long_entry, 16, 1));
	err(EINVAL, INV(v.viommu, 0, long_entry, 16, 1));
	err(EINVAL, INV(v.viommu, 99, long_entry, 16, 1));
	err(EINVAL, INV(v.viommu, TYPE_SMMU, long_entry, 16, 0)); /* although uapi says: to probe */
	err(EINVAL, INV(v.viommu, TYPE_SMMU, NULL, 16, 1));
	err(EINVAL, INV(v.viommu, TYPE_SMMU, long_entry, 0, 1));
	err(EINVAL, INV(v.viommu, TYPE_SMMU, long_entry, 4097, 1));
	err(EINVAL, INV(v.viommu, TYPE_SMMU, long_entry, 16, (1 << 19) + 1));
	assert_int_equal(num, 0);
	err(EFAULT, INV(v.viommu, TYPE_SMMU, (void *)BAD_POINTER, 16, 1));
	/* a longer entry must end in zeros, a shorter one is taken to */
	ok(INV(v.viommu, TYPE_SMMU, long_entry, 32, 1));
	ok(INV(v.viommu, TYPE_SMMU, long_entry, 8, 1));
	assert_int_equal(num, 1);
	long_entry[3] = 1;
	err(E2BIG, INV(v.viommu, TYPE_SMMU, long_entry, 32, 1));
	end_vsmmu(&v);
#undef INV
}

/*
 * After an error the count is of commands that were converted. They are issued 63 at a time, so
 * those since the last multiple were not done.
 */
static void count_after_an_error(void **state)
{
	uint64_t commands[70][2] = { 0 };
	struct vsmmu v;
	struct rig *rig = *state;
	uint32_t num = 2;

	make_attached_vsmmu(&v, rig);
	dma_reaches(rig, NO_PASID, IOVA, v.guest.memory + 0x4000);
	smmu_map(&v.guest, v.context, IOVA, 0x5000);
	commands[0][0] = TLBI_NSNH_ALL;
	commands[1][0] = CMD_SYNC;
	err(EIO, invalidate(rig, v.viommu, TYPE_SMMU, commands, 16, &num));
	assert_int_equal(num, 1);
	dma_reaches(rig, NO_PASID, IOVA, v.guest.memory + 0x4000); /* still */
	for (int i = 0; i < 69; i++)
		commands[i][0] = TLBI_NSNH_ALL;
	commands[69][0] = CMD_SYNC;
	num = 70;
	err(EIO, invalidate(rig, v.viommu, TYPE_SMMU, commands, 16, &num));
	assert_int_equal(num, 69);
	dma_reaches(rig, NO_PASID, IOVA, v.guest.memory + 0x5000);
	end_vsmmu(&v);
}

static void many_commands(void **state)
{
	enum { COUNT = 65536 };
	uint64_t(*commands)[2] =
		mmap(NULL, COUNT * 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vsmmu v;
	uint32_t num = COUNT;

	make_attached_vsmmu(&v, *state);
	for (int i = 0; i < COUNT; i++)
		commands[i][0] = TLBI_NH_VA | CMD0_ASID(ASID);
	commands[COUNT - 1][1] = IOVA;
	dma_reaches(v.rig, NO_PASID, IOVA, v.guest.memory + 0x4000);
	smmu_map(&v.guest, v.context, IOVA, 0x5000);
	ok(invalidate(v.rig, v.viommu, TYPE_SMMU, commands, 16, &num));
	assert_int_equal(num, COUNT);
	dma_reaches(v.rig, NO_PASID, IOVA, v.guest.memory + 0x5000);
	munmap(commands, COUNT * 16);
	end_vsmmu(&v);
}

/* --- lifetimes ------------------------------------------------------------------------------ */

static void who_holds_whom(void **state)
{
	struct vsmmu v;
	struct rig *rig = *state;

	make_attached_vsmmu(&v, rig);
	err(EBUSY, destroy(rig, v.s1));
	err(EBUSY, destroy(rig, v.viommu));
	err(EBUSY, destroy(rig, v.parent));
	err(EBUSY, destroy(rig, v.ioas));
	ok(detach(rig));
	ok(destroy(rig, v.s1));
	ok(destroy(rig, v.bypass));
	ok(destroy(rig, v.abort));
	ok(destroy(rig, v.invalid));
	err(EBUSY, destroy(rig, v.viommu)); /* by the vDEVICE */
	ok(destroy(rig, v.vdevice));
	err(EBUSY, destroy(rig, v.parent));
	ok(destroy(rig, v.viommu));
	ok(destroy(rig, v.parent));
	ok(destroy(rig, v.ioas));
}

/* A vDEVICE may go while its device is attached: nothing changes until the next attach. */
static void vdevice_goes_first(void **state)
{
	struct vsmmu v;
	struct rig *rig = *state;

	make_attached_vsmmu(&v, rig);
	ok(destroy(rig, v.vdevice));
	dma_reaches(rig, NO_PASID, IOVA, v.guest.memory + 0x4000);
	err(EIO, command(&v, CFGI_CD | CMD0_SID(VSID), 0));
	ok(command(&v, TLBI_NSNH_ALL, 0));
	ok(attach_id(rig, v.s1)); /* by itself: nothing is asked */
	ok(attach_id(rig, v.bypass));
	err(ENOENT, attach_id(rig, v.s1));
	ok(vdevice_alloc(rig, v.viommu, rig->devid, VSID + 5, &v.vdevice));
	ok(attach_id(rig, v.s1));
	dma_reaches(rig, NO_PASID, IOVA, v.guest.memory + 0x4000);
	ok(command(&v, CFGI_CD | CMD0_SID(VSID + 5), 0));
	end_vsmmu(&v);
}

/* The device's file is closed: its vDEVICE ends, and its id does not come again. */
static void tombstone(void **state)
{
	struct vsmmu v;
	struct rig *rig = *state;
	uint32_t next;

	make_attached_vsmmu(&v, rig);
	next = ioas_alloc(rig);
	ok(host_close(rig, rig->dev));
	err(ENOENT, destroy(rig, v.vdevice));
	err(EIO, command(&v, CFGI_CD | CMD0_SID(VSID), 0));
	ok(command(&v, TLBI_NSNH_ALL, 0));
	assert_int_equal(ioas_alloc(rig), rig->devid); /* that id is free */
	assert_int_equal(ioas_alloc(rig), next + 1);   /* not the vDEVICE's */
	rig->dev = host_open(rig, rig->path);
	ok(bind_device(rig, rig->dev, rig->iommu, &rig->devid));
	ok(vdevice_alloc(rig, v.viommu, rig->devid, VSID, &v.vdevice));
	ok(attach_id(rig, v.s1));
	enable_bus_master(rig);
	dma_reaches(rig, NO_PASID, IOVA, v.guest.memory + 0x4000);
	end_vsmmu(&v);
}

#define NEEDS (NEED_SMMU | NEED_NESTING)

static const struct suite_case cases[] = {
	TEST(hw_info_of_smmuv3, NEED_SMMU),
	TEST(viommu_alloc_in_order, NEEDS),
	TEST(vdevice_alloc_in_order, NEEDS),
	TEST(no_hardware_queues, NEEDS),
	TEST(parents, NEEDS),
	TEST(nested_alloc_in_order, NEEDS),
	TEST(ste_bits, NEEDS),
	TEST(ste_fields, NEEDS),
	TEST(attach_without_a_vdevice, NEEDS | NEED_DMA),
	TEST(from_everywhere_to_everywhere, NEEDS | NEED_DMA),
	TEST(nested_with_a_fault_queue, NEEDS | NEED_DMA),
	TEST(eats_without_ats, NEEDS | NEED_DMA),
	TEST(no_pasid_attach, NEEDS),
	TEST(unmap_below, NEEDS | NEED_DMA),
	TEST(two_streams, NEEDS | NEED_DMA | NEED_TWO_DEVICES),
	TEST(commands_reach_the_cache, NEEDS | NEED_DMA),
	TEST(cfgi_cd, NEEDS | NEED_DMA),
	TEST(commands_refused, NEEDS),
	TEST(invalidate_framing, NEEDS),
	TEST(count_after_an_error, NEEDS | NEED_DMA),
	TEST(many_commands, NEEDS | NEED_DMA),
	TEST(who_holds_whom, NEEDS | NEED_DMA),
	TEST(vdevice_goes_first, NEEDS | NEED_DMA),
	TEST(tombstone, NEEDS | NEED_DMA),
};
SUITE_GROUP(viommu, cases)
