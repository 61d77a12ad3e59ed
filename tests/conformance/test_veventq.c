// SPDX-License-Identifier: BSD-3-Clause
/*
 * vEVENTQ of an SMMUv3: the object, its descriptor, the records of faults in the guest's stage
 * 1, and what happens when there are too many. Expected results: Linux 7.2 on QEMU's SMMUv3.
 *
 * That an event does not come is not waited for: the next one that does has the sequence number.
 */
#include "viommu.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define TYPE_EVENTS IOMMU_VEVENTQ_TYPE_ARM_SMMUV3
#define NOWHERE 0x50000000ULL /* nothing is mapped there */
#define EVENT_TIMEOUT_MS 10000

struct record {
	struct iommufd_vevent_header header;
	uint64_t evt[4];
};

static int veventq_alloc(struct rig *rig, uint32_t viommu, uint32_t type, uint32_t depth,
			 uint32_t *id, int *fd)
{
	struct iommu_veventq_alloc cmd = {
		.size = sizeof(cmd), .viommu_id = viommu, .type = type, .veventq_depth = depth
	};
	int ret = iommufd(rig, IOMMU_VEVENTQ_ALLOC, &cmd);

	if (!ret) {
		*id = cmd.out_veventq_id;
		*fd = (int)cmd.out_veventq_fd;
	}
	return ret;
}

static int get(struct rig *rig, int fd, void *buf, size_t count)
{
	return (int)rig->host->ops->read(rig->host, fd, buf, count);
}

static int events_now(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN | POLLOUT };

	return poll(&pfd, 1, 0) == 1 ? pfd.revents : 0;
}

/* An event comes some time after what caused it. */
static void wait_for_event(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&pfd, 1, EVENT_TIMEOUT_MS), 1);
	assert_int_equal(pfd.revents, POLLIN);
}

static struct record next_record(struct rig *rig, int fd)
{
	struct record r = { 0 };

	wait_for_event(fd);
	assert_int_equal(get(rig, fd, &r, sizeof(r)), sizeof(r));
	return r;
}

/* One write that faults, and its record; sequence numbers count up from the first. */
static void expect_event(struct vsmmu *v, int fd, uint64_t iova, enum smmu_event event,
			 uint32_t sequence)
{
	struct record r;

	err(EFAULT, dma_write(v->rig, NO_PASID, iova, 1));
	r = next_record(v->rig, fd);
	assert_int_equal(r.header.flags, 0);
	assert_int_equal(r.header.sequence, sequence);
	assert_int_equal(r.evt[0] & 0xff, event);
	assert_int_equal(r.evt[0] >> 32, VSID);
	if (event == C_BAD_CD || event == C_BAD_STE)
		return;
	assert_int_equal(r.evt[1] >> 35 & 1, 0); /* RnW: a write */
	assert_int_equal(r.evt[1] >> 39 & 1, 0); /* of stage 1 */
	assert_int_equal(r.evt[2], iova);
}

static void alloc_in_order(void **state)
{
	struct rig *rig = *state;
	struct vsmmu v;
	uint32_t id = 0, other = 0;
	int fd = -1, other_fd = -1;
	struct iommu_veventq_alloc cmd = { .size = sizeof(cmd), .flags = 1, .type = TYPE_EVENTS };

	make_vsmmu(&v, rig);
	err(EOPNOTSUPP, iommufd(rig, IOMMU_VEVENTQ_ALLOC, &cmd));
	cmd.flags = 0;
	cmd.__reserved = 1;
	err(EOPNOTSUPP, iommufd(rig, IOMMU_VEVENTQ_ALLOC, &cmd));
	err(EOPNOTSUPP, veventq_alloc(rig, 99, 0, 0, &id, &fd));
	err(EINVAL, veventq_alloc(rig, 99, TYPE_EVENTS, 0, &id, &fd));
	err(EINVAL, veventq_alloc(rig, 99, TYPE_EVENTS, (1 << 19) + 1, &id, &fd));
	err(ENOENT, veventq_alloc(rig, 99, TYPE_EVENTS, 4, &id, &fd));
	err(ENOENT, veventq_alloc(rig, v.parent, TYPE_EVENTS, 4, &id, &fd));
	ok(veventq_alloc(rig, v.viommu, TYPE_EVENTS, 1 << 19, &id, &fd));
	err(EEXIST, veventq_alloc(rig, v.viommu, TYPE_EVENTS, 4, &other, &other_fd));
	ok(veventq_alloc(rig, v.viommu, 0x77, 4, &other, &other_fd)); /* any type, one of each */
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	ok(host_close(rig, other_fd));
	ok(destroy(rig, other));
	err(EBUSY, destroy(rig, id)); /* by its file */
	err(EBUSY, destroy(rig, v.viommu));
	ok(host_close(rig, fd));
	err(EBUSY, destroy(rig, v.viommu));
	ok(destroy(rig, id));
	ok(destroy(rig, v.viommu));
}

static void failed_write_back_undoes(void **state)
{
	struct rig *rig = *state;
	struct vsmmu v;
	struct iommu_veventq_alloc *cmd =
		mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t id = 0, next;
	int fd = -1, expected = dup(0);

	make_vsmmu(&v, rig);
	next = ioas_alloc(rig);
	close(expected);
	*cmd = (struct iommu_veventq_alloc){
		.size = sizeof(*cmd), .viommu_id = v.viommu, .type = TYPE_EVENTS, .veventq_depth = 4
	};
	ok(mprotect(cmd, PAGE, PROT_READ));
	err(EFAULT, iommufd(rig, IOMMU_VEVENTQ_ALLOC, cmd));
	ok(veventq_alloc(rig, v.viommu, TYPE_EVENTS, 4, &id, &fd));
	assert_int_equal(id, next + 1);
	assert_int_equal(fd, expected);
	munmap(cmd, PAGE);
}

static void file_contract(void **state)
{
	struct rig *rig = *state;
	struct vsmmu v;
	struct record r[2];
	uint32_t id = 0;
	int fd = -1;

	make_attached_vsmmu(&v, rig);
	ok(veventq_alloc(rig, v.viommu, TYPE_EVENTS, 8, &id, &fd));
	assert_int_equal(events_now(fd), 0);
	assert_int_equal(get(rig, fd, r, sizeof(r)), 0); /* never blocks, never EAGAIN */
	assert_int_equal(get(rig, fd, r, sizeof(r[0].header)), 0);
	err(EINVAL, get(rig, fd, r, sizeof(r[0].header) - 1));
	err(EINVAL, get(rig, fd, r, 0));
	err(ESPIPE, (int)rig->host->ops->pread(rig->host, fd, r, sizeof(r), 0));
	err(EINVAL, (int)rig->host->ops->write(rig->host, fd, r, sizeof(r)));
	err(ENOTTY, call(rig, fd, IOMMU_IOAS_ALLOC, r));
	err(EFAULT, dma_write(rig, NO_PASID, NOWHERE, 1));
	wait_for_event(fd);
	err(EINVAL, get(rig, fd, r, sizeof(r[0].header))); /* it would not fit */
	err(EINVAL, get(rig, fd, r, sizeof(r[0]) - 1));
	err(EFAULT, get(rig, fd, (void *)BAD_POINTER, sizeof(r[0])));
	assert_int_equal(get(rig, fd, r, sizeof(r[0]) + 8), sizeof(r[0])); /* whole ones */
	assert_int_equal(events_now(fd), 0);
	/* the queue lives on without /dev/iommu */
	ok(host_close(rig, rig->iommu));
	err(EFAULT, dma_write(rig, NO_PASID, NOWHERE, 1));
	assert_int_equal(next_record(rig, fd).header.sequence, 1);
	ok(host_close(rig, fd));
	ok(host_close(rig, rig->dev));
	rig->iommu = host_open(rig, "/dev/iommu");
	rig->dev = host_open(rig, rig->path);
	end_vsmmu(&v);
}

/* Each reason for which stage 1 refuses a write. */
static void kinds_of_faults(void **state)
{
	struct rig *rig = *state;
	struct vsmmu v;
	uint64_t *leaf, *cd, good;
	uint32_t id = 0, sequence = 0;
	int fd = -1;

	make_attached_vsmmu(&v, rig);
	ok(veventq_alloc(rig, v.viommu, TYPE_EVENTS, 16, &id, &fd));
	dma_reaches(rig, NO_PASID, IOVA, v.guest.memory + 0x4000);
	expect_event(&v, fd, NOWHERE, F_TRANSLATION, sequence++);
	expect_event(&v, fd, IOVA + PAGE + 0x24, F_TRANSLATION, sequence++);
	expect_event(&v, fd, 1ULL << 40, F_TRANSLATION, sequence++);	     /* beyond T0SZ */
	expect_event(&v, fd, 0xffffff8000000000, F_TRANSLATION, sequence++); /* TTB1 is off */

	leaf = smmu_leaf(&v.guest, v.context, IOVA);
	good = *leaf;
	*leaf = good | PAGE_READ_ONLY;
	ok(command(&v, TLBI_NSNH_ALL, 0));
	expect_event(&v, fd, IOVA, F_PERMISSION, sequence++);
	*leaf = good & ~PAGE_ACCESSED;
	ok(command(&v, TLBI_NSNH_ALL, 0));
	expect_event(&v, fd, IOVA, F_ACCESS, sequence++);
	*leaf = good | 1ULL << 47; /* more than the 44 bits of IPS */
	ok(command(&v, TLBI_NSNH_ALL, 0));
	expect_event(&v, fd, IOVA, F_ADDR_SIZE, sequence++);
	*leaf = good;

	cd = smmu_cd(&v.guest, v.context);
	good = cd[0];
	cd[0] = 0; /* not valid */
	ok(command(&v, CFGI_CD | CMD0_SID(VSID), CMD1_LEAF));
	expect_event(&v, fd, IOVA, C_BAD_CD, sequence++);
	cd[0] = good | CD0_S; /* this SMMU cannot stall */
	ok(command(&v, CFGI_CD | CMD0_SID(VSID), CMD1_LEAF));
	expect_event(&v, fd, IOVA, C_BAD_CD, sequence++);
	/* R=0: the fault is not recorded, the next one has the number */
	cd[0] = good & ~CD0_R;
	ok(command(&v, CFGI_CD | CMD0_SID(VSID), CMD1_LEAF));
	err(EFAULT, dma_write(rig, NO_PASID, NOWHERE, 1));
	cd[0] = good;
	ok(command(&v, CFGI_CD | CMD0_SID(VSID), CMD1_LEAF));
	expect_event(&v, fd, NOWHERE, F_TRANSLATION, sequence++);
	dma_reaches(rig, NO_PASID, IOVA, v.guest.memory + 0x4000);
	ok(host_close(rig, fd));
	end_vsmmu(&v);
}

/* Faults of stage 2, and of an entry that is not valid or aborts, are not the guest's to hear of.
 */
static void no_events(void **state)
{
	struct rig *rig = *state;
	struct vsmmu v;
	uint32_t id = 0;
	int fd = -1;

	make_vsmmu_with_stes(&v, rig);
	ok(vdevice_alloc(rig, v.viommu, rig->devid, VSID, &id));
	smmu_map(&v.guest, v.context, IOVA, 1ULL << 32); /* an IPA where nothing is */
	ok(nested_alloc(&v, 0, STE0_V | STE0_S1 | v.context, STE1_LINUX, &v.s1));
	ok(veventq_alloc(rig, v.viommu, TYPE_EVENTS, 16, &id, &fd));
	ok(attach_id(rig, v.abort));
	dma_is_blocked(rig, NO_PASID, 0x3000);
	ok(attach_id(rig, v.invalid));
	dma_is_blocked(rig, NO_PASID, 0x3000);
	ok(attach_id(rig, v.bypass));
	dma_is_blocked(rig, NO_PASID, 1ULL << 32);
	ok(attach_id(rig, v.s1));
	dma_is_blocked(rig, NO_PASID, IOVA);
	ok(detach(rig));
	dma_is_blocked(rig, NO_PASID, IOVA);
	ok(attach_id(rig, v.s1));
	expect_event(&v, fd, NOWHERE, F_TRANSLATION, 0);
	ok(host_close(rig, fd));
	end_vsmmu(&v);
}

static void faults(struct vsmmu *v, int count)
{
	for (int i = 0; i < count; i++)
		err(EFAULT, dma_write(v->rig, NO_PASID, NOWHERE, 1));
}

/*
 * A second device behind a second vIOMMU of the same SMMU, whose events are handled in order:
 * when its own has come, all from before have been queued, or lost.
 */
struct marker {
	struct vsmmu v;
	struct rig rig;
	int fd;
};

static void make_marker(struct marker *m, struct vsmmu *first)
{
	uint32_t id = 0;

	m->v = *first;
	m->rig = *first->rig;
	m->v.rig = &m->rig;
	rig_add_device(first->rig, true, m->rig.path, sizeof(m->rig.path));
	m->rig.dev = host_open(&m->rig, m->rig.path);
	ok(bind_device(&m->rig, m->rig.dev, m->rig.iommu, &m->rig.devid));
	enable_bus_master(&m->rig);
	ok(viommu_alloc(&m->rig, ARM, m->rig.devid, first->parent, &m->v.viommu));
	ok(vdevice_alloc(&m->rig, m->v.viommu, m->rig.devid, VSID, &id));
	ok(veventq_alloc(&m->rig, m->v.viommu, TYPE_EVENTS, 4, &id, &m->fd));
	ok(nested_alloc(&m->v, 0, STE0_V | STE0_S1 | m->v.context, STE1_LINUX, &m->v.s1));
	ok(attach_id(&m->rig, m->v.s1));
}

static void settle(struct marker *m)
{
	faults(&m->v, 1);
	next_record(&m->rig, m->fd);
}

static void expect_record(struct rig *rig, int fd, uint32_t sequence)
{
	struct record r;

	assert_int_equal(get(rig, fd, &r, sizeof(r)), sizeof(r));
	assert_int_equal(r.header.flags, 0);
	assert_int_equal(r.header.sequence, sequence);
}

static void overflow(void **state)
{
	struct rig *rig = *state;
	struct vsmmu v;
	struct marker m;
	struct iommufd_vevent_header lost;
	struct record r[4];
	uint32_t id = 0;
	int fd = -1;

	make_attached_vsmmu(&v, rig);
	make_marker(&m, &v);
	ok(veventq_alloc(rig, v.viommu, TYPE_EVENTS, 2, &id, &fd));
	faults(&v, 5);
	settle(&m);
	expect_record(rig, fd, 0);
	expect_record(rig, fd, 1);
	/* the number of the last that was lost, and no data */
	assert_int_equal(events_now(fd), POLLIN);
	assert_int_equal(get(rig, fd, &lost, sizeof(lost)), sizeof(lost));
	assert_int_equal(lost.flags, IOMMU_VEVENTQ_FLAG_LOST_EVENTS);
	assert_int_equal(lost.sequence, 4);
	assert_int_equal(events_now(fd), 0);
	expect_event(&v, fd, NOWHERE, F_TRANSLATION, 5);
	/* one that fits again takes the place of the header: only the gap tells */
	faults(&v, 5);
	settle(&m);
	expect_record(rig, fd, 6);
	faults(&v, 1);
	settle(&m);
	assert_int_equal(get(rig, fd, r, sizeof(r)), 2 * sizeof(r[0]));
	assert_int_equal(r[0].header.sequence, 7);
	assert_int_equal(r[1].header.sequence, 11);
	assert_int_equal(r[1].header.flags, 0);
	assert_int_equal(events_now(fd), 0);
	ok(host_close(rig, fd));
	ok(host_close(rig, m.fd));
	ok(host_close(rig, m.rig.dev));
	end_vsmmu(&v);
}

/* A record says which stream it was for the guest when it was attached. */
static void events_know_the_old_stream(void **state)
{
	struct rig *rig = *state;
	struct vsmmu v;
	struct record r;
	uint32_t id = 0;
	int fd = -1;

	make_attached_vsmmu(&v, rig);
	ok(veventq_alloc(rig, v.viommu, TYPE_EVENTS, 16, &id, &fd));
	ok(destroy(rig, v.vdevice));
	expect_event(&v, fd, NOWHERE, F_TRANSLATION, 0);
	ok(vdevice_alloc(rig, v.viommu, rig->devid, 0, &v.vdevice));
	expect_event(&v, fd, NOWHERE, F_TRANSLATION, 1);
	ok(attach_id(rig, v.s1)); /* the same again: not noticed */
	expect_event(&v, fd, NOWHERE, F_TRANSLATION, 2);
	ok(attach_id(rig, v.parent));
	ok(attach_id(rig, v.s1));
	faults(&v, 1);
	r = next_record(rig, fd);
	assert_int_equal(r.header.sequence, 3);
	assert_int_equal(r.evt[0] >> 32, 0); /* 0 is a number like any other */
	ok(host_close(rig, fd));
	end_vsmmu(&v);
}

static void two_streams(void **state)
{
	struct rig *rig = *state, second = *rig;
	struct vsmmu v;
	struct record r;
	uint32_t id = 0;
	int fd = -1;

	make_attached_vsmmu(&v, rig);
	rig_add_device(rig, true, second.path, sizeof(second.path));
	second.dev = host_open(&second, second.path);
	ok(bind_device(&second, second.dev, rig->iommu, &second.devid));
	enable_bus_master(&second);
	ok(vdevice_alloc(rig, v.viommu, second.devid, 0x200, &id));
	ok(veventq_alloc(rig, v.viommu, TYPE_EVENTS, 16, &id, &fd));
	ok(attach_id(&second, v.s1));
	expect_event(&v, fd, NOWHERE, F_TRANSLATION, 0);
	err(EFAULT, dma_write(&second, NO_PASID, NOWHERE, 1));
	r = next_record(rig, fd);
	assert_int_equal(r.evt[0] >> 32, 0x200);
	assert_int_equal(r.header.sequence, 1);
	ok(host_close(rig, second.dev));
	ok(host_close(rig, fd));
	end_vsmmu(&v);
}

#define NEEDS (NEED_SMMU | NEED_NESTING)

static const struct suite_case cases[] = {
	TEST(alloc_in_order, NEEDS),
	TEST(failed_write_back_undoes, NEEDS),
	TEST(file_contract, NEEDS | NEED_DMA),
	TEST(kinds_of_faults, NEEDS | NEED_DMA),
	TEST(no_events, NEEDS | NEED_DMA),
	TEST(overflow, NEEDS | NEED_DMA | NEED_TWO_DEVICES),
	TEST(events_know_the_old_stream, NEEDS | NEED_DMA),
	TEST(two_streams, NEEDS | NEED_DMA | NEED_TWO_DEVICES),
};
SUITE_GROUP(veventq, cases)
