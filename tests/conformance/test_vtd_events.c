// SPDX-License-Identifier: BSD-3-Clause
/*
 * The software host's extension for VT-d (docs/vtd-veventq.md): faults of a guest's own tables
 * come through a vEVENTQ. No kernel has it, so each case makes its own host. That one with
 * strict_abi refuses it as Linux 7.2 does is here too.
 */
#include "viommu.h"

#include "spec/vtd_veventq.h"

#include <poll.h>
#include <string.h>
#include <sys/mman.h>

#define X_VTD X_IOMMU_VIOMMU_TYPE_INTEL_VTD
#define X_EVENTS X_IOMMU_VEVENTQ_TYPE_INTEL_VTD
#define VRID 0x0110U
#define NOWHERE 0x50000000ULL /* the guest maps nothing there */
#define OUTSIDE 0x60000000ULL /* the guest maps what is no memory */

struct record {
	struct iommufd_vevent_header header;
	struct x_iommu_vevent_intel_vtd event;
};

/* A guest with one table, and its device on it. */
struct vvtd {
	struct rig *rig;
	struct guest guest;
	uint64_t root;
	uint32_t ioas, parent, viommu, vdevice, nested, veventq;
	int fd;
};

static struct rig *make_rig(bool strict)
{
	const struct nst_soft_config config = {
		.synchronous = true, .check = true, .strict_abi = strict
	};

	return rig_create(&config, true);
}

static int veventq_alloc(struct rig *rig, uint32_t viommu, uint32_t depth, uint32_t *id, int *fd)
{
	struct iommu_veventq_alloc cmd = {
		.size = sizeof(cmd), .viommu_id = viommu, .type = X_EVENTS, .veventq_depth = depth
	};
	int ret = iommufd(rig, IOMMU_VEVENTQ_ALLOC, &cmd);

	if (!ret) {
		*id = cmd.out_veventq_id;
		*fd = (int)cmd.out_veventq_fd;
	}
	return ret;
}

/* @pt: what the nested HWPT is made on: the vIOMMU, or the parent as Linux has it. */
static void make_vvtd(struct vvtd *v, bool on_viommu, uint32_t depth)
{
	*v = (struct vvtd){ .rig = make_rig(false) };
	v->ioas = ioas_alloc(v->rig);
	guest_init(&v->guest, GUEST_BYTES);
	v->root = guest_table(&v->guest);
	guest_map(&v->guest, v->root, IOVA, 0x4000);
	guest_map(&v->guest, v->root, OUTSIDE, GUEST_BYTES);
	ok(ioas_map(v->rig, v->ioas, v->guest.memory, GUEST_BYTES, 0, RW));
	ok(hwpt_alloc(v->rig, v->rig->devid, v->ioas, NEST | PASID, &v->parent));
	ok(viommu_alloc(v->rig, X_VTD, v->rig->devid, v->parent, &v->viommu));
	ok(vdevice_alloc(v->rig, v->viommu, v->rig->devid, VRID, &v->vdevice));
	ok(veventq_alloc(v->rig, v->viommu, depth, &v->veventq, &v->fd));
	ok(hwpt_alloc_nested(v->rig, on_viommu ? v->viommu : v->parent, PASID, v->root,
			     &v->nested));
	ok(attach_id(v->rig, v->nested));
	enable_bus_master(v->rig);
}

static void end_vvtd(struct vvtd *v)
{
	guest_fini(&v->guest);
	rig_destroy(v->rig);
}

static int get(struct vvtd *v, void *buf, size_t count)
{
	return (int)v->rig->host->ops->read(v->rig->host, v->fd, buf, count);
}

static bool readable(struct vvtd *v)
{
	struct pollfd p = { .fd = v->fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void expect(struct vvtd *v, uint32_t sequence, uint32_t flags, uint32_t pasid,
		   uint32_t reason, uint64_t addr)
{
	struct record r;

	assert_true(readable(v));
	assert_int_equal(get(v, &r, sizeof(r)), sizeof(r));
	assert_int_equal(r.header.flags, 0);
	assert_int_equal(r.header.sequence, sequence);
	assert_int_equal(r.event.flags, flags);
	assert_int_equal(r.event.virt_rid, VRID);
	assert_int_equal(r.event.pasid, pasid);
	assert_int_equal(r.event.reason, reason);
	assert_int_equal(r.event.addr, addr);
	assert_int_equal(get(v, &r, sizeof(r)), 0);
	assert_false(readable(v));
}

static void refused(struct vvtd *v, uint32_t pasid, uint64_t iova)
{
	err(EFAULT, dma_write(v->rig, pasid, iova, 1));
}

static void who_does_not_ask_does_not_see_it(void **state)
{
	for (int strict = 0; strict < 2; strict++) {
		struct rig *rig = make_rig(strict);
		uint32_t ioas = ioas_alloc(rig), parent, id;

		ok(hwpt_alloc(rig, rig->devid, ioas, NEST, &parent));
		for (uint32_t type = 0; type < 64; type++)
			err(EOPNOTSUPP, viommu_alloc(rig, type, rig->devid, parent, &id));
		for (int bit = 0; bit < 32; bit++)
			err(EOPNOTSUPP,
			    viommu_alloc(rig, X_VTD ^ 1U << bit, rig->devid, parent, &id));
		if (strict)
			err(EOPNOTSUPP, viommu_alloc(rig, X_VTD, rig->devid, parent, &id));
		else
			ok(viommu_alloc(rig, X_VTD, rig->devid, parent, &id));
		rig_destroy(rig);
	}
}

static void objects_in_order(void **state)
{
	struct rig *rig = make_rig(false);
	uint32_t ioas = ioas_alloc(rig), parent, plain, viommu, vdevice, nested, id;
	struct iommu_hwpt_vtd_s1 s1 = { .addr_width = 48 };

	ok(hwpt_alloc(rig, rig->devid, ioas, NEST, &parent));
	ok(hwpt_alloc(rig, rig->devid, ioas, 0, &plain));
	err(ENOENT, viommu_alloc(rig, X_VTD, 99, parent, &id));
	err(ENOENT, viommu_alloc(rig, X_VTD, rig->devid, ioas, &id));
	err(EINVAL, viommu_alloc(rig, X_VTD, rig->devid, plain, &id));
	ok(viommu_alloc(rig, X_VTD, rig->devid, parent, &viommu));
	err(EBUSY, destroy(rig, parent));
	err(EINVAL, vdevice_alloc(rig, viommu, rig->devid, 0x10000, &id));
	ok(vdevice_alloc(rig, viommu, rig->devid, 0xffff, &vdevice));
	err(EEXIST, vdevice_alloc(rig, viommu, rig->devid, 1, &id));
	/* data as without a vIOMMU */
	err(EINVAL, hwpt_alloc_data(rig, rig->devid, viommu, 0, IOMMU_HWPT_DATA_VTD_S1, &s1, 8,
				    &id));
	err(EOPNOTSUPP, hwpt_alloc_data(rig, rig->devid, viommu, 0, IOMMU_HWPT_DATA_ARM_SMMUV3,
					&s1, sizeof(s1), &id));
	ok(hwpt_alloc_nested(rig, viommu, 0, 0, &nested));
	err(EBUSY, destroy(rig, viommu));
	ok(flush_all(rig, nested));
	err(EOPNOTSUPP, flush_all(rig, viommu));
	ok(destroy(rig, nested));
	err(EBUSY, destroy(rig, viommu));
	ok(destroy(rig, vdevice));
	ok(destroy(rig, viommu));
	ok(destroy(rig, parent));
	rig_destroy(rig);
}

static void what_the_first_stage_refuses(void **state)
{
	for (int on_viommu = 0; on_viommu < 2; on_viommu++) {
		uint64_t value;
		struct vvtd v;

		make_vvtd(&v, on_viommu, 8);
		refused(&v, NO_PASID, NOWHERE + 8);
		expect(&v, 0, X_IOMMU_VEVENT_VTD_WRITE, 0, 0x71, NOWHERE + 8);
		err(EFAULT, dma_read(v.rig, NO_PASID, NOWHERE, &value));
		expect(&v, 1, 0, 0, 0x71, NOWHERE);
		ok(attach_pasid(v.rig, 9, v.nested));
		refused(&v, 9, 1ULL << 47);
		expect(&v, 2, X_IOMMU_VEVENT_VTD_WRITE | X_IOMMU_VEVENT_VTD_PASID, 9, 0x80,
		       1ULL << 47);
		refused(&v, 10, IOVA); /* attached to nothing */
		expect(&v, 3, X_IOMMU_VEVENT_VTD_WRITE | X_IOMMU_VEVENT_VTD_PASID, 10, 0x59, IOVA);
		/* what is allowed makes no event, nor what the host's own map refuses */
		ok(dma_write(v.rig, NO_PASID, IOVA, 1));
		refused(&v, NO_PASID, OUTSIDE);
		assert_false(readable(&v));
		ok(attach_id(v.rig, v.parent));
		refused(&v, NO_PASID, NOWHERE);
		assert_false(readable(&v));
		ok(attach_id(v.rig, v.nested));
		refused(&v, NO_PASID, NOWHERE);
		expect(&v, 4, X_IOMMU_VEVENT_VTD_WRITE, 0, 0x71, NOWHERE);
		end_vvtd(&v);
	}
}

/* Without a vDEVICE nobody knows whose fault it is; without a queue there is no number either. */
static void who_is_reported_of(void **state)
{
	struct vvtd v;

	make_vvtd(&v, true, 8);
	ok(destroy(v.rig, v.vdevice));
	refused(&v, NO_PASID, NOWHERE);
	assert_false(readable(&v));
	ok(vdevice_alloc(v.rig, v.viommu, v.rig->devid, VRID, &v.vdevice));
	refused(&v, NO_PASID, NOWHERE);
	expect(&v, 0, X_IOMMU_VEVENT_VTD_WRITE, 0, 0x71, NOWHERE);
	ok(host_close(v.rig, v.fd));
	ok(destroy(v.rig, v.veventq));
	refused(&v, NO_PASID, NOWHERE);
	ok(veventq_alloc(v.rig, v.viommu, 8, &v.veventq, &v.fd));
	assert_false(readable(&v));
	refused(&v, NO_PASID, NOWHERE);
	expect(&v, 0, X_IOMMU_VEVENT_VTD_WRITE, 0, 0x71, NOWHERE);
	/* the device leaves: its vDEVICE with it */
	ok(host_close(v.rig, v.rig->dev));
	v.rig->dev = host_open(v.rig, v.rig->path);
	ok(bind_device(v.rig, v.rig->dev, v.rig->iommu, &v.rig->devid));
	enable_bus_master(v.rig);
	refused(&v, NO_PASID, NOWHERE);
	assert_false(readable(&v));
	end_vvtd(&v);
}

static void more_than_there_is_room_for(void **state)
{
	struct iommufd_vevent_header lost;
	struct record r[4];
	struct vvtd v;

	make_vvtd(&v, true, 2);
	for (int i = 0; i < 5; i++)
		refused(&v, NO_PASID, NOWHERE);
	memset(r, 0xff, sizeof(r));
	assert_int_equal(get(&v, r, sizeof(r)), 2 * sizeof(r[0]) + sizeof(lost));
	assert_int_equal(r[0].header.sequence, 0);
	assert_int_equal(r[1].header.sequence, 1);
	memcpy(&lost, &r[2], sizeof(lost));
	assert_int_equal(lost.flags, IOMMU_VEVENTQ_FLAG_LOST_EVENTS);
	assert_int_equal(lost.sequence, 4);
	refused(&v, NO_PASID, NOWHERE);
	expect(&v, 5, X_IOMMU_VEVENT_VTD_WRITE, 0, 0x71, NOWHERE);
	end_vvtd(&v);
}

static const struct suite_case cases[] = {
	TEST_ALONE(who_does_not_ask_does_not_see_it), TEST_ALONE(objects_in_order),
	TEST_ALONE(what_the_first_stage_refuses),     TEST_ALONE(who_is_reported_of),
	TEST_ALONE(more_than_there_is_room_for),
};
SUITE_GROUP(vtd_events, cases)
