// SPDX-License-Identifier: BSD-3-Clause
/*
 * Devices that stall, behind the software host's SMMUv3: their faults come as page requests of
 * what they are attached to, and whatever ends the waiting but an answer ends it, too. Each
 * case makes its own host, on which devices have threads: they wait, this one never does.
 */
#include "viommu.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define RECORD sizeof(struct iommu_hwpt_pgfault)
#define RESPONSE sizeof(struct iommu_hwpt_page_response)
#define SUCCESS IOMMUFD_PAGE_RESP_SUCCESS
#define INVALID IOMMUFD_PAGE_RESP_INVALID
#define LAST IOMMU_PGFAULT_FLAGS_LAST_PAGE
#define NOWHERE 0x50000000ULL /* nothing is mapped there */
#define REQUEST_TIMEOUT_MS 60000
#define SSID 5
#define STE1_S1STALLD (1ULL << 27)

enum { READ = 1, WRITE = 2 };

struct queue {
	uint32_t id;
	int fd;
};

/* A host with stalls, a guest's stage 1 that maps IOVA and lets its faults stall, attached. */
struct bench {
	struct rig *rig;
	struct vsmmu v;
	struct queue q;
	uint64_t done; /* accesses that the device has ended */
};

static struct rig *make_host(bool synchronous)
{
	const struct nst_soft_config config = {
		.iommu = NST_SOFT_SMMUV3, .check = true, .stalls = true, .synchronous = synchronous
	};

	return rig_create(&config, true);
}

static struct queue queue_alloc(struct rig *rig)
{
	struct iommu_fault_alloc cmd = { .size = sizeof(cmd) };

	ok(iommufd(rig, IOMMU_FAULT_QUEUE_ALLOC, &cmd));
	return (struct queue){ cmd.out_fault_id, (int)cmd.out_fault_fd };
}

static uint32_t nested_with_queue(struct bench *b, uint64_t ste0, uint64_t ste1)
{
	const uint64_t ste[2] = { ste0, ste1 };
	struct iommu_hwpt_alloc cmd = { .size = sizeof(cmd),
					.flags = FAULT,
					.dev_id = b->rig->devid,
					.pt_id = b->v.viommu,
					.data_type = IOMMU_HWPT_DATA_ARM_SMMUV3,
					.data_len = sizeof(ste),
					.data_uptr = (uintptr_t)ste,
					.fault_id = b->q.id };

	ok(iommufd(b->rig, IOMMU_HWPT_ALLOC, &cmd));
	return cmd.out_hwpt_id;
}

static uint32_t paging_with_queue(struct rig *rig, uint32_t ioas, uint32_t fault)
{
	struct iommu_hwpt_alloc cmd = { .size = sizeof(cmd),
					.flags = FAULT | PASID,
					.dev_id = rig->devid,
					.pt_id = ioas,
					.fault_id = fault };

	ok(iommufd(rig, IOMMU_HWPT_ALLOC, &cmd));
	return cmd.out_hwpt_id;
}

static void make_bench(struct bench *b, bool synchronous)
{
	struct rig *rig = make_host(synchronous);
	uint64_t *cd;

	*b = (struct bench){ .rig = rig };
	make_vsmmu_with_stes(&b->v, rig);
	smmu_map(&b->v.guest, b->v.context, IOVA, 0x4000);
	cd = smmu_cd(&b->v.guest, b->v.context);
	cd[0] |= CD0_S;
	memcpy(cd + 8 * SSID, cd, 64);
	ok(vdevice_alloc(rig, b->v.viommu, rig->devid, VSID, &b->v.vdevice));
	b->q = queue_alloc(rig);
	b->v.s1 =
		nested_with_queue(b, STE0_V | STE0_S1 | STE0_S1CDMAX(4) | b->v.context, STE1_LINUX);
	ok(attach_id(rig, b->v.s1));
}

static void end_bench(struct bench *b)
{
	rig_destroy(b->rig);
	smmu_guest_fini(&b->v.guest);
}

/* --- accesses and requests ---------------------------------------------------------------- */

static void go_with(struct rig *rig, uint32_t pasid, uint64_t iova, unsigned int what)
{
	bar_set(rig, REG_PASID, pasid);
	bar_set(rig, REG_IOVA, iova);
	bar_set(rig, REG_GO, what);
}

static void go(struct bench *b, uint64_t iova, unsigned int what)
{
	go_with(b->rig, NO_PASID, iova, what);
}

/* Of the n-th access of the device: what became of it. */
static int result(struct rig *rig, uint64_t n)
{
	while (bar_get(rig, REG_DONE) != n)
		sched_yield();
	return (int)(int64_t)bar_get(rig, REG_STATUS);
}

static int next_result(struct bench *b)
{
	return result(b->rig, ++b->done);
}

static void wait_for_request(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&pfd, 1, REQUEST_TIMEOUT_MS), 1);
}

static struct iommu_hwpt_pgfault next_request(struct rig *rig, int fd)
{
	struct iommu_hwpt_pgfault r = { 0 };

	wait_for_request(fd);
	assert_int_equal(rig->host->ops->read(rig->host, fd, &r, RECORD), RECORD);
	return r;
}

static bool has_request(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 1;
}

static int respond(struct rig *rig, int fd, uint32_t cookie, uint32_t code)
{
	struct iommu_hwpt_page_response response = { .cookie = cookie, .code = code };

	return (int)rig->host->ops->write(rig->host, fd, &response, RESPONSE);
}

static void answer(struct bench *b, const struct iommu_hwpt_pgfault *r, uint32_t code)
{
	assert_int_equal(respond(b->rig, b->q.fd, r->cookie, code), RESPONSE);
}

static void expect_request(const struct iommu_hwpt_pgfault *r, uint32_t flags, uint32_t pasid,
			   uint32_t perm, uint64_t addr)
{
	assert_int_equal(r->flags, flags);
	assert_int_equal(r->pasid, pasid);
	assert_int_equal(r->perm, perm);
	assert_int_equal(r->addr, addr);
	assert_int_equal(r->length, 0);
}

static uint64_t faults(struct bench *b)
{
	struct nst_soft_stats stats;

	nst_soft_get_stats(b->rig->host, &stats);
	return stats.faults;
}

/* --- what software sees --------------------------------------------------------------------- */

static void identification(void **state)
{
	for (int stalls = 0; stalls < 2; stalls++) {
		const struct nst_soft_config config = { .iommu = NST_SOFT_SMMUV3,
							.stalls = stalls };
		struct rig *rig = rig_create(&config, false);
		struct iommu_hw_info_arm_smmuv3 smmu = { 0 };
		struct iommu_hw_info info = { .size = sizeof(info),
					      .dev_id = rig->devid,
					      .data_len = sizeof(smmu),
					      .data_uptr = (uintptr_t)&smmu };

		ok(iommufd(rig, IOMMU_GET_HW_INFO, &info));
		assert_int_equal(smmu.idr[0] >> 24 & 3, stalls ? 0 : 1); /* STALL_MODEL */
		assert_int_equal(smmu.idr[5] >> 16, stalls ? 256 : 0);	 /* STALL_MAX */
		rig_destroy(rig);
	}
	for (int iommu = 0; iommu < NST_SOFT_NUM_IOMMUS; iommu++) {
		const struct nst_soft_config config = { .iommu = (enum nst_soft_iommu)iommu,
							.stalls = true };
		struct nst_host *host;

		if (iommu != NST_SOFT_SMMUV3)
			err(EINVAL, nst_host_soft_create(&config, &host));
	}
}

static void page_requests_of_stage_1(void **state)
{
	struct bench b;
	struct iommu_hwpt_pgfault r;
	uint64_t value = 0x1122334455667788;

	make_bench(&b, false);
	go(&b, NOWHERE + 0x128, READ);
	r = next_request(b.rig, b.q.fd);
	expect_request(&r, LAST, 0, IOMMU_PGFAULT_PERM_READ, NOWHERE + 0x128);
	assert_int_equal(r.dev_id, b.rig->devid);
	assert_int_equal(r.grpid, 0); /* the STAG */
	assert_int_equal(r.cookie, 1);
	assert_int_equal(faults(&b), 0);
	memcpy(b.v.guest.memory + 0x5128, &value, sizeof(value));
	smmu_map(&b.v.guest, b.v.context, NOWHERE, 0x5000);
	answer(&b, &r, SUCCESS);
	ok(next_result(&b));
	assert_int_equal(bar_get(b.rig, REG_VALUE), value);
	assert_int_equal(faults(&b), 0);
	/* success that mends nothing: it is asked for again; then refused */
	go(&b, NOWHERE + PAGE, WRITE);
	for (int i = 0; i < 3; i++) {
		r = next_request(b.rig, b.q.fd);
		expect_request(&r, LAST, 0, IOMMU_PGFAULT_PERM_WRITE, NOWHERE + PAGE);
		answer(&b, &r, i < 2 ? SUCCESS : INVALID);
	}
	err(EFAULT, next_result(&b));
	assert_int_equal(faults(&b), 1);
	err(EINVAL, respond(b.rig, b.q.fd, r.cookie, SUCCESS));
	/* a page that is there but not to be written */
	*smmu_leaf(&b.v.guest, b.v.context, NOWHERE) |= PAGE_READ_ONLY;
	ok(command(&b.v, TLBI_NSNH_ALL, 0));
	go(&b, NOWHERE, WRITE);
	r = next_request(b.rig, b.q.fd);
	expect_request(&r, LAST, 0, IOMMU_PGFAULT_PERM_WRITE, NOWHERE);
	*smmu_leaf(&b.v.guest, b.v.context, NOWHERE) &= ~PAGE_READ_ONLY;
	answer(&b, &r, SUCCESS);
	ok(next_result(&b));
	assert_false(has_request(b.q.fd));
	end_bench(&b);
}

/* A guest's PASIDs have no attachments of their own: they are asked for where the RID's are. */
static void page_requests_of_pasids(void **state)
{
	struct bench b;
	struct iommu_hwpt_pgfault r;

	make_bench(&b, false);
	go_with(b.rig, SSID, NOWHERE + 8, WRITE);
	r = next_request(b.rig, b.q.fd);
	expect_request(&r, LAST | IOMMU_PGFAULT_FLAGS_PASID_VALID, SSID, IOMMU_PGFAULT_PERM_WRITE,
		       NOWHERE + 8);
	smmu_map(&b.v.guest, b.v.context, NOWHERE, 0x5000);
	answer(&b, &r, SUCCESS);
	ok(next_result(&b));
	/* configuration errors stall nothing: no descriptor of that number is valid */
	go_with(b.rig, SSID + 1, NOWHERE, WRITE);
	err(EFAULT, next_result(&b));
	assert_false(has_request(b.q.fd));
	end_bench(&b);
}

/* The driver lets stage 2 of such devices stall, too, and tells nobody the difference. */
static void page_requests_of_stage_2(void **state)
{
	struct bench b;
	struct iommu_hwpt_pgfault r;
	uint8_t *page;

	make_bench(&b, false);
	page = b.v.guest.memory + 0x6000;
	smmu_map(&b.v.guest, b.v.context, NOWHERE, GUEST_BYTES + 0x3000);
	go(&b, NOWHERE + 16, WRITE);
	r = next_request(b.rig, b.q.fd);
	expect_request(&r, LAST, 0, IOMMU_PGFAULT_PERM_WRITE, NOWHERE + 16);
	ok(ioas_map(b.rig, b.v.ioas, page, PAGE, GUEST_BYTES + 0x3000, RW));
	answer(&b, &r, SUCCESS);
	ok(next_result(&b));
	end_bench(&b);
}

/* A domain of the driver; two devices wait at once, and are answered in the other order. */
static void two_devices_without_a_guest(void **state)
{
	static uint8_t page[2 * PAGE] __attribute__((aligned(4096)));
	struct rig *rig = make_host(false), other = *rig;
	struct queue q = queue_alloc(rig);
	uint32_t ioas = ioas_alloc(rig), hwpt = paging_with_queue(rig, ioas, q.id);
	struct iommu_hwpt_pgfault r[2];

	rig_add_soft_device(rig, false, other.path, sizeof(other.path));
	other.dev = host_open(&other, other.path);
	ok(bind_device(&other, other.dev, rig->iommu, &other.devid));
	ok(attach_id(rig, hwpt));
	ok(attach_id(&other, hwpt));
	enable_bus_master(rig);
	enable_bus_master(&other);
	go_with(rig, NO_PASID, 0x10000, WRITE);
	r[0] = next_request(rig, q.fd);
	go_with(&other, NO_PASID, 0x11000, WRITE);
	r[1] = next_request(rig, q.fd);
	assert_int_equal(r[0].dev_id, rig->devid);
	assert_int_equal(r[1].dev_id, other.devid);
	assert_int_not_equal(r[0].grpid, r[1].grpid);
	ok(ioas_map(rig, ioas, page, 2 * PAGE, 0x10000, RW));
	assert_int_equal(respond(rig, q.fd, r[1].cookie, SUCCESS), RESPONSE);
	ok(result(&other, 1));
	assert_int_equal(respond(rig, q.fd, r[0].cookie, SUCCESS), RESPONSE);
	ok(result(rig, 1));
	rig_destroy(rig);
}

/* Nobody wants page requests: refused at once, and no event, as it was not terminated. */
static void nobody_listens(void **state)
{
	struct bench b;
	struct iommu_veventq_alloc events = { .size = sizeof(events),
					      .type = IOMMU_VEVENTQ_TYPE_ARM_SMMUV3,
					      .veventq_depth = 4 };
	uint32_t hwpt;

	make_bench(&b, false);
	events.viommu_id = b.v.viommu;
	ok(iommufd(b.rig, IOMMU_VEVENTQ_ALLOC, &events));
	ok(nested_alloc(&b.v, 0, STE0_V | STE0_S1 | b.v.context, STE1_LINUX, &hwpt));
	ok(attach_id(b.rig, hwpt));
	go(&b, NOWHERE, WRITE);
	err(EFAULT, next_result(&b));
	assert_false(has_request((int)events.out_veventq_fd));
	/* S1STALLD: such a context is no good, and that is an event */
	ok(attach_id(b.rig, nested_with_queue(&b, STE0_V | STE0_S1 | b.v.context,
					      STE1_LINUX | STE1_S1STALLD)));
	go(&b, IOVA, WRITE);
	err(EFAULT, next_result(&b));
	assert_true(has_request((int)events.out_veventq_fd));
	assert_false(has_request(b.q.fd));
	assert_int_equal(faults(&b), 2);
	end_bench(&b);
}

/* --- what ends the waiting -------------------------------------------------------------------- */

enum end { DETACH, REPLACE_BYPASS, REPLACE_NESTED, RESET, CLOSE, DESTROY, NUM_ENDS };

static void end_it(struct bench *b, enum end how)
{
	switch (how) {
	case DETACH:
		ok(detach(b->rig));
		break;
	case REPLACE_BYPASS:
		ok(attach_id(b->rig, b->v.bypass));
		break;
	case REPLACE_NESTED:
		ok(attach_id(b->rig,
			     nested_with_queue(b, STE0_V | STE0_S1 | b->v.context, STE1_LINUX)));
		break;
	case RESET:
		ok(call(b->rig, b->rig->dev, VFIO_DEVICE_RESET, NULL));
		break;
	case CLOSE:
		ok(host_close(b->rig, b->rig->dev));
		b->rig->dev = host_open(b->rig, b->rig->path);
		ok(bind_device(b->rig, b->rig->dev, b->rig->iommu, &b->rig->devid));
		break;
	case DESTROY:
	case NUM_ENDS:
		break;
	}
}

static void without_an_answer(void **state)
{
	for (int how = 0; how < NUM_ENDS; how++)
		for (int was_read = 0; was_read < 2; was_read++) {
			struct bench b;
			struct iommu_hwpt_pgfault r = { 0 };

			make_bench(&b, false);
			go(&b, NOWHERE, WRITE);
			wait_for_request(b.q.fd);
			if (was_read)
				r = next_request(b.rig, b.q.fd);
			end_it(&b, (enum end)how);
			if (how != DESTROY) {
				err(EFAULT, next_result(&b));
				assert_int_equal(faults(&b), 1);
			}
			/* after a reset the request is still there, and its answer means nothing */
			if (how == RESET && !was_read)
				r = next_request(b.rig, b.q.fd);
			if (how == RESET)
				answer(&b, &r, SUCCESS);
			else if (how != DESTROY)
				assert_false(has_request(b.q.fd));
			if (how != RESET && was_read && how != DESTROY)
				err(EINVAL, respond(b.rig, b.q.fd, r.cookie, SUCCESS));
			end_bench(&b);
		}
}

/* A request that waits in the queue is not about the next access of the device. */
static void late_answers(void **state)
{
	struct bench b;
	struct iommu_hwpt_pgfault first, second;

	make_bench(&b, false);
	go(&b, NOWHERE, WRITE);
	first = next_request(b.rig, b.q.fd);
	end_it(&b, RESET);
	err(EFAULT, next_result(&b));
	go(&b, NOWHERE + PAGE, WRITE);
	second = next_request(b.rig, b.q.fd);
	assert_int_not_equal(second.grpid, first.grpid);
	answer(&b, &first, INVALID);
	smmu_map(&b.v.guest, b.v.context, NOWHERE + PAGE, 0x5000);
	answer(&b, &second, SUCCESS);
	ok(next_result(&b));
	end_bench(&b);
}

/* --- accesses that must not wait ---------------------------------------------------------------
 */

/* The register write would not end: the fault is the guest's to hear of. */
static void synchronous_host(void **state)
{
	struct bench b;
	struct iommu_veventq_alloc events = { .size = sizeof(events),
					      .type = IOMMU_VEVENTQ_TYPE_ARM_SMMUV3,
					      .veventq_depth = 4 };
	uint64_t record[5];

	make_bench(&b, true);
	events.viommu_id = b.v.viommu;
	ok(iommufd(b.rig, IOMMU_VEVENTQ_ALLOC, &events));
	err(EFAULT, dma_write(b.rig, NO_PASID, NOWHERE, 1));
	assert_false(has_request(b.q.fd));
	assert_int_equal(b.rig->host->ops->read(b.rig->host, (int)events.out_veventq_fd, record,
						sizeof(record)),
			 sizeof(record));
	assert_int_equal(record[1] & 0xff, F_TRANSLATION);
	assert_int_equal(record[2] & (1ULL << 31 | 0xffff), 0); /* Stall, STAG */
	assert_int_equal(faults(&b), 1);
	end_bench(&b);
}

/* The same for what a device with a thread does inside a register access. */
static void register_accesses(void **state)
{
	static const struct {
		const char *description;
		const struct dma_device *dma;
	} devices[] = { { "testdev", &dma_testdev }, { "dmatest,ats=off", &dma_dmatest } };
	struct rig *rig = make_host(false), other = *rig;
	struct queue q = queue_alloc(rig);
	uint32_t ioas = ioas_alloc(rig), hwpt = paging_with_queue(rig, ioas, q.id);

	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
		ok(nst_soft_add_device(rig->host, devices[i].description, other.path,
				       sizeof(other.path), NULL));
		other.dev = host_open(&other, other.path);
		ok(bind_device(&other, other.dev, rig->iommu, &other.devid));
		other.dma = devices[i].dma;
		ok(attach_id(&other, hwpt));
		enable_bus_master(&other);
		err(EFAULT, dma_write(&other, NO_PASID, 0x10000, 1));
		assert_false(has_request(q.fd));
	}
	rig_destroy(rig);
}

/* --- everybody at once ------------------------------------------------------------------------ */

struct race {
	struct bench b;
	atomic_bool stop;
};

static void *mapper(void *opaque)
{
	struct race *r = opaque;

	while (!atomic_load(&r->stop)) {
		uint64_t length = PAGE;

		ok(ioas_map(r->b.rig, r->b.v.ioas, r->b.v.guest.memory, PAGE, 1ULL << 33, RW));
		ok(ioas_unmap(r->b.rig, r->b.v.ioas, 1ULL << 33, &length));
		ok(command(&r->b.v, TLBI_NSNH_ALL, 0));
	}
	return NULL;
}

/* Answers what it finds, rightly or not; it may have been answered by a detach. */
static void *responder(void *opaque)
{
	struct race *r = opaque;
	struct rig *rig = r->b.rig;
	unsigned int n = 0;

	while (!atomic_load(&r->stop)) {
		struct iommu_hwpt_pgfault record;
		int ret;

		if (n % 3 == 2)
			smmu_map(&r->b.v.guest, r->b.v.context, NOWHERE, 0x5000);
		if (rig->host->ops->read(rig->host, r->b.q.fd, &record, RECORD) <= 0) {
			sched_yield();
			continue;
		}
		ret = respond(rig, r->b.q.fd, record.cookie, n++ % 2 ? SUCCESS : INVALID);
		assert_true(ret == (int)RESPONSE || ret == -EINVAL);
	}
	return NULL;
}

static void everybody_at_once(void **state)
{
	void *(*const mains[])(void *) = { mapper, responder };
	pthread_t threads[2];
	struct race r = { 0 };

	make_bench(&r.b, false);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, mains[i], &r), 0);
	for (unsigned int i = 0; i < 300; i++) {
		uint64_t runs = bar_get(r.b.rig, REG_RUNS);

		__atomic_store_n(smmu_leaf(&r.b.v.guest, r.b.v.context, NOWHERE), 0,
				 __ATOMIC_RELEASE);
		ok(command(&r.b.v, TLBI_NSNH_ALL, 0));
		go(&r.b, NOWHERE, WRITE);
		/* a reset before it has begun would forget it */
		while (bar_get(r.b.rig, REG_RUNS) == runs)
			sched_yield();
		switch (i % 4) {
		case 0:
			end_it(&r.b, RESET);
			break;
		case 1:
			end_it(&r.b, DETACH);
			break;
		case 2:
			end_it(&r.b, REPLACE_BYPASS);
			break;
		}
		(void)next_result(&r.b);
		ok(attach_id(r.b.rig, r.b.v.s1));
	}
	atomic_store(&r.stop, true);
	for (size_t i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	end_bench(&r.b);
}

static const struct suite_case cases[] = {
	TEST_ALONE(identification),
	TEST_ALONE(page_requests_of_stage_1),
	TEST_ALONE(page_requests_of_pasids),
	TEST_ALONE(page_requests_of_stage_2),
	TEST_ALONE(two_devices_without_a_guest),
	TEST_ALONE(nobody_listens),
	TEST_ALONE(without_an_answer),
	TEST_ALONE(late_answers),
	TEST_ALONE(synchronous_host),
	TEST_ALONE(register_accesses),
	TEST_ALONE(everybody_at_once),
};
SUITE_GROUP(stalls, cases)
