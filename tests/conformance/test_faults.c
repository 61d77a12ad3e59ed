// SPDX-License-Identifier: BSD-3-Clause
/*
 * Fault queues: the object, its descriptor, and what becomes of page requests when HWPTs
 * are attached, replaced and detached. Expected results: the "iopf" lines of traces of
 * Linux 7.2. Requests are reported by the function that the bus calls (test_ats.c).
 */
#include "rig.h"

#include "host/soft/soft.h"
#include "host/soft/fault.h"
#include "host/soft/vfio/device.h"

#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RECORD sizeof(struct iommu_hwpt_pgfault)
#define RESPONSE sizeof(struct iommu_hwpt_page_response)
#define NO_ANSWER 99U
#define SUCCESS IOMMUFD_PAGE_RESP_SUCCESS
#define INVALID IOMMUFD_PAGE_RESP_INVALID

static struct soft_device *device(struct rig *rig, size_t n)
{
	return to_soft_host(rig->host)->devices[n];
}

/* The device of these tests has no such capability: as if it had one, or not. */
static bool is_vtd(const struct rig *rig)
{
	return rig->arch->hw_info_type == IOMMU_HW_INFO_TYPE_INTEL_VTD;
}

static void set_pri(struct rig *rig, bool capable)
{
	device(rig, 0)->has_pri = capable;
}

static int fault_alloc(struct rig *rig, uint32_t flags, uint32_t *id, int *fd)
{
	struct iommu_fault_alloc cmd = { .size = sizeof(cmd), .flags = flags };
	int ret = iommufd(rig, IOMMU_FAULT_QUEUE_ALLOC, &cmd);

	*id = ret ? 0 : cmd.out_fault_id;
	*fd = ret ? -1 : (int)cmd.out_fault_fd;
	return ret;
}

static int fault_hwpt(struct rig *rig, uint32_t pt, uint32_t flags, uint32_t fault, uint32_t *out)
{
	struct iommu_hwpt_alloc cmd = { .size = sizeof(cmd),
					.flags = FAULT | flags,
					.dev_id = rig->devid,
					.pt_id = pt,
					.fault_id = fault };
	int ret = iommufd(rig, IOMMU_HWPT_ALLOC, &cmd);

	if (!ret)
		*out = cmd.out_hwpt_id;
	return ret;
}

static int fault_nested(struct rig *rig, uint32_t parent, uint32_t width, uint32_t fault,
			uint32_t *out)
{
	struct iommu_hwpt_vtd_s1 s1 = { .addr_width = width };
	struct iommu_hwpt_alloc cmd = { .size = sizeof(cmd),
					.flags = FAULT | PASID,
					.dev_id = rig->devid,
					.pt_id = parent,
					.data_type = IOMMU_HWPT_DATA_VTD_S1,
					.data_len = sizeof(s1),
					.data_uptr = (uintptr_t)&s1,
					.fault_id = fault };
	int ret = iommufd(rig, IOMMU_HWPT_ALLOC, &cmd);

	if (!ret)
		*out = cmd.out_hwpt_id;
	return ret;
}

static int get(struct rig *rig, int fd, void *buf, size_t count)
{
	return (int)rig->host->ops->read(rig->host, fd, buf, count);
}

static int put(struct rig *rig, int fd, const void *buf, size_t count)
{
	return (int)rig->host->ops->write(rig->host, fd, buf, count);
}

static int respond(struct rig *rig, int fd, uint32_t cookie, uint32_t code)
{
	struct iommu_hwpt_page_response response = { .cookie = cookie, .code = code };

	return put(rig, fd, &response, sizeof(response));
}

static int events(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN | POLLOUT };

	assert_int_equal(poll(&pfd, 1, 0), 1);
	return pfd.revents;
}

static void store_answer(void *opaque, uint32_t code)
{
	uint32_t *answer = opaque;

	assert_int_equal(*answer, NO_ANSWER); /* one each */
	*answer = code;
}

static void never(void *opaque, uint32_t code)
{
	fail_msg("a request that is not the last is answered");
}

static void request(struct rig *rig, uint32_t pasid, uint32_t group, bool last, uint64_t addr,
		    uint32_t *answer)
{
	struct soft_page_request req = { .pasid = pasid,
					 .group = group,
					 .perm = IOMMU_PGFAULT_PERM_READ | IOMMU_PGFAULT_PERM_WRITE,
					 .addr = addr,
					 .last = last };

	if (last)
		*answer = NO_ANSWER;
	soft_report_page_request(device(rig, 0), &req, last ? store_answer : never, answer);
}

/* One group of one request of the RID. */
static void trigger(struct rig *rig, uint32_t group, uint32_t *answer)
{
	request(rig, NO_PASID, group, true, 0xdeadb000, answer);
}

struct queue {
	uint32_t ioas, id, hwpt;
	int fd;
};

static struct queue make_queue(struct rig *rig)
{
	struct queue q = { .ioas = ioas_alloc(rig) };

	set_pri(rig, true);
	ok(fault_alloc(rig, 0, &q.id, &q.fd));
	ok(fault_hwpt(rig, q.ioas, PASID, q.id, &q.hwpt));
	return q;
}

/* The lines of probe-mock.txt under "iopf", in their order. */
static void results_of_the_kernel(void **state)
{
	struct rig *rig = *state;
	struct queue q = make_queue(rig);
	struct iommu_hwpt_pgfault record[4];
	struct iommu_hwpt_page_response two[2] = { { .cookie = 2 }, { .cookie = 77 } };
	uint32_t a, b, id, auto_hwpt = q.ioas;
	int fd;

	err(EOPNOTSUPP, fault_alloc(rig, 1, &id, &fd));
	err(EOPNOTSUPP, fault_hwpt(rig, q.ioas, NEST, q.id, &id));
	err(ENOENT, fault_hwpt(rig, q.ioas, 0, 99, &id));
	err(ENOENT, fault_hwpt(rig, q.ioas, 0, q.ioas, &id));
	err(EBUSY, destroy(rig, q.id)); /* used by an HWPT, and open */

	assert_int_equal(get(rig, q.fd, record, RECORD), 0); /* never blocks */
	err(ESPIPE, get(rig, q.fd, record, 39));
	assert_int_equal(get(rig, q.fd, record, 0), 0);
	err(EINVAL, respond(rig, q.fd, 1, SUCCESS));
	err(ESPIPE, put(rig, q.fd, two, 4));
	assert_int_equal(put(rig, q.fd, two, 0), 0);
	err(ESPIPE, (int)rig->host->ops->pread(rig->host, q.fd, record, RECORD, 40));
	err(ESPIPE, (int)rig->host->ops->pread(rig->host, q.fd, record, RECORD, 0));
	err(EINVAL, (int)rig->host->ops->pread(rig->host, q.fd, record, RECORD, -1));
	err(ESPIPE, (int)rig->host->ops->pwrite(rig->host, q.fd, two, RESPONSE, 0));
	err(ENOTTY, call(rig, q.fd, IOMMU_IOAS_ALLOC, record));
	assert_int_equal(events(q.fd), POLLOUT);
	ok(attach(rig, &auto_hwpt));
	ok(attach_id(rig, q.hwpt));
	trigger(rig, 2, &a);
	assert_int_equal(events(q.fd), POLLIN | POLLOUT);
	err(EINVAL, get(rig, q.fd, record, 0));
	err(ESPIPE, get(rig, q.fd, record, 41));
	err(EFAULT, get(rig, q.fd, (void *)BAD_POINTER, RECORD));
	assert_int_equal(get(rig, q.fd, record, sizeof(record)), RECORD);
	assert_int_equal(record[0].flags, IOMMU_PGFAULT_FLAGS_LAST_PAGE);
	assert_int_equal(record[0].dev_id, rig->devid);
	assert_int_equal(record[0].pasid, 0);
	assert_int_equal(record[0].grpid, 2);
	assert_int_equal(record[0].perm, 3);
	assert_int_equal(record[0].addr, 0xdeadb000);
	assert_int_equal(record[0].length, 0);
	assert_int_equal(record[0].cookie, 1);
	assert_int_equal(record[0].__reserved, 0);
	assert_int_equal(events(q.fd), POLLOUT);
	err(EINVAL, respond(rig, q.fd, 1, 7));
	err(EINVAL, respond(rig, q.fd, 0, SUCCESS));
	err(EINVAL, respond(rig, q.fd, 2, SUCCESS));
	err(EFAULT, put(rig, q.fd, (void *)BAD_POINTER, RESPONSE));
	assert_int_equal(a, NO_ANSWER);
	assert_int_equal(respond(rig, q.fd, 1, SUCCESS), RESPONSE);
	assert_int_equal(a, SUCCESS);
	err(EINVAL, respond(rig, q.fd, 1, SUCCESS));
	trigger(rig, 3, &a);
	trigger(rig, 4, &b);
	assert_int_equal(get(rig, q.fd, record, RECORD), RECORD);
	assert_int_equal(record[0].cookie, 1);
	assert_int_equal(record[0].grpid, 3);
	assert_int_equal(events(q.fd), POLLIN | POLLOUT);
	assert_int_equal(get(rig, q.fd, record, RECORD), RECORD);
	assert_int_equal(record[0].cookie, 2);
	assert_int_equal(record[0].grpid, 4);
	assert_int_equal(put(rig, q.fd, two, sizeof(two)), RESPONSE);
	assert_int_equal(b, SUCCESS);
	assert_int_equal(a, NO_ANSWER);
	trigger(rig, 5, &b);
	ok(attach_id(rig, q.ioas));
	assert_int_equal(a, INVALID); /* read, not answered */
	assert_int_equal(b, INVALID); /* not even read */
	assert_int_equal(events(q.fd), POLLOUT);
	assert_int_equal(get(rig, q.fd, record, RECORD), 0);
	err(EINVAL, respond(rig, q.fd, 1, SUCCESS));
	ok(destroy(rig, q.hwpt));
	err(EBUSY, destroy(rig, q.id));
	ok(host_close(rig, q.fd));
	ok(destroy(rig, q.id));
}

static void groups_are_whole(void **state)
{
	struct rig *rig = *state;
	struct queue q = make_queue(rig);
	struct iommu_hwpt_pgfault r[8];
	uint32_t a, b, c;

	ok(attach_id(rig, q.hwpt));
	ok(attach_pasid(rig, 5, q.hwpt));
	request(rig, 5, 1, false, 0x1000, NULL);
	request(rig, NO_PASID, 2, false, 0x2000, NULL);
	request(rig, 5, 1, false, 0x3000, NULL);
	assert_int_equal(events(q.fd), POLLOUT);
	request(rig, 5, 1, true, 0x4000, &a);
	request(rig, NO_PASID, 3, true, 0x5000, &b);
	request(rig, NO_PASID, 2, true, 0x6000, &c);
	err(EINVAL, get(rig, q.fd, r, 2 * RECORD));		     /* the first has three */
	assert_int_equal(get(rig, q.fd, r, 5 * RECORD), 4 * RECORD); /* and the last two */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(r[i].cookie, 1);
		assert_int_equal(r[i].pasid, 5);
		assert_int_equal(r[i].grpid, 1);
		/* the VT-d driver lets bit 2 through */
		assert_int_equal(r[i].flags, (i == 2 ? 3 : 1) | (is_vtd(rig) ? 4 : 0));
	}
	assert_int_equal(r[0].addr, 0x1000);
	assert_int_equal(r[1].addr, 0x3000);
	assert_int_equal(r[2].addr, 0x4000);
	assert_int_equal(r[3].addr, 0x5000);
	assert_int_equal(r[3].cookie, 2);
	assert_int_equal(get(rig, q.fd, r, 2 * RECORD), 2 * RECORD);
	assert_int_equal(r[0].addr, 0x2000);
	assert_int_equal(r[0].flags, 0);
	assert_int_equal(r[1].addr, 0x6000);
	assert_int_equal(r[0].cookie, 3);
	/* the lowest free number comes again */
	assert_int_equal(respond(rig, q.fd, 2, INVALID), RESPONSE);
	assert_int_equal(b, INVALID);
	trigger(rig, 9, &b);
	assert_int_equal(get(rig, q.fd, r, RECORD), RECORD);
	assert_int_equal(r[0].cookie, 2);
	for (uint32_t cookie = 3; cookie; cookie--)
		assert_int_equal(respond(rig, q.fd, cookie, SUCCESS), RESPONSE);
	assert_int_equal(a | b | c, SUCCESS);
	assert_int_equal(get(rig, q.fd, r, sizeof(r)), 0);
}

/* More than room was made for at first: cookies 1 to 40, answered out of order in one write. */
static void many_cookies(void **state)
{
	struct rig *rig = *state;
	struct queue q = make_queue(rig);
	static struct iommu_hwpt_pgfault r[40];
	struct iommu_hwpt_page_response responses[40];
	uint32_t answers[40];

	ok(attach_id(rig, q.hwpt));
	for (uint32_t i = 0; i < 40; i++)
		trigger(rig, i, &answers[i]);
	assert_int_equal(get(rig, q.fd, r, sizeof(r)), sizeof(r));
	for (uint32_t i = 0; i < 40; i++) {
		assert_int_equal(r[i].cookie, i + 1);
		responses[i] = (struct iommu_hwpt_page_response){ .cookie = i * 7 % 40 + 1,
								  .code = i & 1 };
	}
	assert_int_equal(put(rig, q.fd, responses, sizeof(responses)), sizeof(responses));
	for (uint32_t i = 0; i < 40; i++)
		assert_int_equal(answers[i * 7 % 40], i & 1);
}

static void who_may_attach(void **state)
{
	struct rig *rig = *state;
	struct queue q = make_queue(rig);
	uint32_t parent, nested, wide, answer, other;
	int fd;

	ok(hwpt_alloc(rig, rig->devid, q.ioas, NEST | PASID, &parent));
	ok(fault_nested(rig, parent, 48, q.id, &nested));
	ok(fault_nested(rig, parent, 57, q.id, &wide));
	set_pri(rig, false);
	err(ENODEV, attach_id(rig, q.hwpt));
	err(ENODEV, attach_id(rig, nested));
	err(ENODEV, attach_id(rig, wide)); /* before its width is looked at */
	err(ENODEV, attach_pasid(rig, 1, nested));
	ok(attach_id(rig, parent));
	err(ENODEV, attach_id(rig, nested)); /* replace: nothing changes */
	err(EBUSY, destroy(rig, parent));
	set_pri(rig, true);
	err(EINVAL, attach_id(rig, wide));
	trigger(rig, 1, &answer);
	assert_int_equal(answer, INVALID); /* nobody listens */
	ok(attach_id(rig, nested));
	err(EINVAL, attach_id(rig, wide));
	trigger(rig, 1, &answer);
	assert_int_equal(answer, NO_ANSWER); /* the failed replace left the old in place */
	request(rig, 1, 2, true, 0, &other);
	assert_int_equal(other, INVALID); /* PASID 1 is not attached */
	ok(attach_id(rig, nested));	  /* the same again */
	assert_int_equal(answer, NO_ANSWER);
	ok(detach(rig));
	assert_int_equal(answer, INVALID);
	trigger(rig, 1, &answer);
	assert_int_equal(answer, INVALID);
	ok(fault_alloc(rig, 0, &other, &fd)); /* a second queue is another object */
	assert_int_not_equal(other, q.id);
	ok(host_close(rig, fd));
	ok(destroy(rig, other));
	ok(destroy(rig, nested));
	ok(destroy(rig, wide));
}

/* What one attachment has waiting goes with it, and only that. */
static void attachments_take_their_own(void **state)
{
	struct rig *rig = *state;
	struct queue q = make_queue(rig), other;
	struct iommu_hwpt_pgfault r[8];
	uint32_t rid_read, rid, five_read, five, six;

	other = q;
	ok(fault_alloc(rig, 0, &other.id, &other.fd));
	ok(fault_hwpt(rig, q.ioas, PASID, other.id, &other.hwpt));
	ok(attach_id(rig, q.hwpt));
	ok(attach_pasid(rig, 5, q.hwpt));
	ok(attach_pasid(rig, 6, other.hwpt));
	trigger(rig, 1, &rid_read);
	request(rig, 5, 2, true, 0, &five_read);
	assert_int_equal(get(rig, q.fd, r, sizeof(r)), 2 * RECORD);
	trigger(rig, 3, &rid);
	request(rig, 5, 4, true, 0, &five);
	request(rig, 6, 5, true, 0, &six);
	assert_int_equal(events(other.fd), POLLIN | POLLOUT);
	ok(attach_pasid(rig, 5, other.hwpt)); /* replace, onto the other queue */
	assert_int_equal(five_read, INVALID);
	assert_int_equal(five, INVALID);
	assert_int_equal(rid_read, NO_ANSWER);
	assert_int_equal(rid, NO_ANSWER);
	assert_int_equal(six, NO_ANSWER);
	request(rig, 5, 6, true, 0, &five);
	assert_int_equal(get(rig, other.fd, r, sizeof(r)), 2 * RECORD);
	assert_int_equal(r[0].pasid, 6);
	assert_int_equal(r[1].pasid, 5);
	assert_int_equal(get(rig, q.fd, r, sizeof(r)), RECORD);
	assert_int_equal(r[0].grpid, 3);
	assert_int_equal(r[0].cookie, 2); /* of the one that is gone */
	assert_int_equal(respond(rig, q.fd, 1, SUCCESS), RESPONSE);
	assert_int_equal(rid_read, SUCCESS);
	request(rig, NO_PASID, 7, false, 0x7000, NULL); /* its last will not come */
	ok(host_close(rig, rig->dev));			/* unbinds: everything goes */
	assert_int_equal(rid, INVALID);
	assert_int_equal(five, INVALID);
	assert_int_equal(six, INVALID);
	assert_int_equal(events(q.fd), POLLOUT);
	assert_int_equal(events(other.fd), POLLOUT);
	/* and nothing of it is left when the device comes again */
	rig->dev = host_open(rig, rig->path);
	ok(bind_device(rig, rig->dev, rig->iommu, &rig->devid));
	ok(attach_id(rig, q.hwpt));
	trigger(rig, 7, &rid);
	assert_int_equal(get(rig, q.fd, r, sizeof(r)), RECORD);
	assert_int_equal(r[0].cookie, 1);
	assert_int_equal(r[0].dev_id, rig->devid);
	ok(detach(rig)); /* answers go to our stack */
}

/* The descriptor keeps the context; anything may be closed first, with requests waiting. */
static void closing_in_any_order(void **state)
{
	struct rig *rig = *state;
	struct queue q = make_queue(rig);
	struct iommu_hwpt_pgfault r;
	struct iommu_fault_alloc cmd = { .size = 12 };
	uint32_t a, b, id;
	int fd, again;

	err(EINVAL, iommufd(rig, IOMMU_FAULT_QUEUE_ALLOC, &cmd)); /* too short */
	ok(attach_id(rig, q.hwpt));
	trigger(rig, 1, &a);
	ok(host_close(rig, rig->iommu));
	assert_int_equal(get(rig, q.fd, &r, RECORD), RECORD);
	assert_int_equal(respond(rig, q.fd, r.cookie, SUCCESS), RESPONSE);
	assert_int_equal(a, SUCCESS);
	trigger(rig, 2, &a);
	ok(host_close(rig, q.fd)); /* nobody can answer now, until the attachment goes */
	trigger(rig, 3, &b);
	assert_int_equal(a & b, NO_ANSWER);
	ok(host_close(rig, rig->dev));
	assert_int_equal(a, INVALID);
	assert_int_equal(b, INVALID);
	/* only the queue is left of a context */
	rig->iommu = host_open(rig, "/dev/iommu");
	ok(fault_alloc(rig, 0, &id, &fd));
	ok(host_close(rig, rig->iommu));
	assert_int_equal(get(rig, fd, &r, RECORD), 0);
	/* a number closed behind our back comes again, for a queue of the same context */
	rig->iommu = host_open(rig, "/dev/iommu");
	ok(fault_alloc(rig, 0, &id, &fd));
	close(fd);
	ok(fault_alloc(rig, 0, &id, &again));
	assert_int_equal(again, fd);
	assert_int_equal(get(rig, again, &r, RECORD), 0);
	ok(destroy(rig, 1)); /* the first is open no more */
	err(EBUSY, destroy(rig, id));
}

/* The host ends with everything open and waiting. */
static void end_with_all_open(void **state)
{
	struct rig *rig = *state;
	struct queue q = make_queue(rig);
	struct iommu_hwpt_pgfault r;
	static uint32_t a, b;

	ok(attach_id(rig, q.hwpt));
	trigger(rig, 1, &a);
	assert_int_equal(get(rig, q.fd, &r, RECORD), RECORD);
	trigger(rig, 1, &b);
	request(rig, 4, 4, false, 0, NULL);
	nst_host_destroy(rig->host);
	rig->host = NULL;
	assert_int_equal(a, INVALID);
	assert_int_equal(b, INVALID);
}

/* --- fail-nth ----------------------------------------------------------------------------- */

#define STEP(step)                                   \
	do {                                         \
		if ((step) == -ENOMEM)               \
			assert_int_equal((step), 0); \
	} while (0)

static void allocations_fail(void **state)
{
	unsigned int nth = 0;
	bool fired;

	do {
		struct rig *rig =
			rig_create(&(struct nst_soft_config){ .synchronous = true }, true);
		uint32_t ioas = ioas_alloc(rig), id = 0, hwpt = 0, answers[12];
		struct iommu_hwpt_pgfault r;
		int fd = -1, n = 0;

		set_pri(rig, true);
		alloc_fail_nth(++nth);
		STEP(fault_alloc(rig, 0, &id, &fd));
		STEP(fault_hwpt(rig, ioas, PASID, id, &hwpt));
		STEP(attach_id(rig, hwpt));
		for (uint32_t pasid = 1; pasid < 6; pasid++)
			STEP(attach_pasid(rig, pasid, hwpt));
		for (uint32_t i = 0; i < 12; i++) {
			request(rig, i % 6 ? i % 6 : NO_PASID, i, false, 0, NULL);
			request(rig, i % 6 ? i % 6 : NO_PASID, i, true, 0, &answers[i]);
		}
		fired = !alloc_fail_left();
		while (events(fd) & POLLIN) {
			struct iommu_hwpt_pgfault two[2];
			int got = get(rig, fd, two, sizeof(two));

			if (got < 0) { /* no memory for cookies: the group stays */
				assert_true(got == -ENOMEM);
				continue;
			}
			r = two[got / (int)RECORD - 1];
			assert_true(r.flags & IOMMU_PGFAULT_FLAGS_LAST_PAGE);
			n++;
		}
		fired = !alloc_fail_left();
		alloc_fail_nth(0);
		assert_true(n >= 11); /* at most one group had no memory: it was answered */
		for (uint32_t i = 0; i < 12; i++)
			n += answers[i] == INVALID;
		assert_int_equal(n, 12);
		rig_destroy(rig);
		for (uint32_t i = 0; i < 12; i++)
			assert_int_equal(answers[i], INVALID);
	} while (fired);
	assert_true(nth > 20);
}

/* --- threads ------------------------------------------------------------------------------- */

struct traffic {
	struct rig *rig;
	struct queue q;
	atomic_bool stop;
	atomic_uint reported, answered;
};

static void count_answer(void *opaque, uint32_t code)
{
	struct traffic *t = opaque;

	atomic_fetch_add(&t->answered, 1);
}

static void *reporter(void *opaque)
{
	struct traffic *t = opaque;

	for (uint32_t i = 0; !atomic_load(&t->stop); i++) {
		struct soft_page_request req = { .pasid = i & 1 ? 3 : NO_PASID,
						 .group = i >> 2 & 0xff,
						 .last = i & 2 };

		if (atomic_load(&t->reported) - atomic_load(&t->answered) > 50)
			continue;
		atomic_fetch_add(&t->reported, req.last);
		soft_report_page_request(device(t->rig, 0), &req, count_answer, t);
	}
	return NULL;
}

static void *responder(void *opaque)
{
	struct traffic *t = opaque;

	while (!atomic_load(&t->stop)) {
		struct iommu_hwpt_pgfault r[16];
		int n = get(t->rig, t->q.fd, r, sizeof(r));

		for (int i = 0; i < n / (int)RECORD; i++)
			if (r[i].flags & IOMMU_PGFAULT_FLAGS_LAST_PAGE) {
				int ret = respond(t->rig, t->q.fd, r[i].cookie, i & 1);

				/* it may have been detached, and its cookie is another's */
				assert_true(ret == RESPONSE || ret == -EINVAL);
			}
	}
	return NULL;
}

static void every_request_is_answered_once(void **state)
{
	struct traffic t = { .rig = *state };
	void *(*const mains[])(void *) = { reporter, responder, responder };
	pthread_t threads[3];

	t.q = make_queue(t.rig);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, mains[i], &t), 0);
	/* on a busy machine the others may take long to begin */
	for (int i = 0; i < 400 || atomic_load(&t.reported) <= 100; i++) {
		ok(attach_id(t.rig, t.q.hwpt));
		ok(attach_pasid(t.rig, 3, t.q.hwpt));
		if (i % 3)
			ok(detach_pasid(t.rig, 3));
		if (i % 2)
			ok(detach(t.rig));
		if (i % 16 == 0)
			poll(NULL, 0, 1);
	}
	atomic_store(&t.stop, true);
	for (size_t i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	ok(detach(t.rig));
	ok(detach_pasid(t.rig, 3));
	assert_true(atomic_load(&t.reported) > 100);
	assert_int_equal(atomic_load(&t.reported), atomic_load(&t.answered));
	assert_int_equal(events(t.q.fd), POLLOUT);
}

static const struct suite_case cases[] = {
	TEST(results_of_the_kernel, NEED_IN_PROCESS),
	TEST(groups_are_whole, NEED_IN_PROCESS),
	TEST(many_cookies, NEED_IN_PROCESS),
	TEST(who_may_attach, NEED_IN_PROCESS | NEED_VTD),
	TEST(attachments_take_their_own, NEED_IN_PROCESS),
	TEST(closing_in_any_order, NEED_IN_PROCESS),
	TEST(end_with_all_open, NEED_IN_PROCESS),
	TEST_ALONE(allocations_fail),
	TEST(every_request_is_answered_once, NEED_IN_PROCESS),
};
SUITE_GROUP(faults, cases)
