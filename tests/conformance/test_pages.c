// SPDX-License-Identifier: BSD-3-Clause
/*
 * Page requests from the device to user space and back, and the device's TLB: dmatest writes by
 * translated addresses below a nested table, and asks for what is missing (ATS, PRI). On a
 * kernel that is hardware, the driver's fault handler, iommufd's fault queue, and the whole way
 * back; what the device then does is asked of its registers, as it may take its time.
 */
#include "rig.h"

#include "endpoint/dmatest_spec.h"

#include <poll.h>
#include <time.h>

#define GUEST_BYTES (64 * PAGE)
#define IOVA 0x40000000ULL
#define HERE 0x2000ULL
#define THERE 0x3000ULL
#define ANY_PASID 9u
/* A flag of the kernel's own, which no header of its ABI names, comes out with the others. */
#define RESPONSE_NEEDS_PASID 4u
/* Of what comes at all: only a test that fails waits so long. */
enum { PATIENCE_S = 30 };

struct pages {
	struct rig *rig;
	struct guest guest;
	uint64_t root;
	uint32_t ioas, parent, nested, fault;
	int queue;
};

static void make_nested(struct pages *p, uint32_t flags)
{
	const struct iommu_hwpt_vtd_s1 table = { .pgtbl_addr = p->root, .addr_width = 48 };
	struct iommu_hwpt_alloc cmd = { .size = sizeof(cmd),
					.flags = flags,
					.dev_id = p->rig->devid,
					.pt_id = p->parent,
					.data_type = IOMMU_HWPT_DATA_VTD_S1,
					.data_len = sizeof(table),
					.data_uptr = (uintptr_t)&table,
					.fault_id = flags & FAULT ? p->fault : 0 };

	ok(iommufd(p->rig, IOMMU_HWPT_ALLOC, &cmd));
	p->nested = cmd.out_hwpt_id;
}

/* A nested table with nothing in it, its faults to a queue or to nobody. */
static void begin(struct pages *p, struct rig *rig, uint32_t flags)
{
	struct iommu_fault_alloc queue = { .size = sizeof(queue) };

	*p = (struct pages){ .rig = rig };
	enable_bus_master(rig);
	guest_init(&p->guest, GUEST_BYTES);
	p->root = guest_table(&p->guest);
	p->ioas = ioas_alloc(rig);
	ok(ioas_map(rig, p->ioas, p->guest.memory, GUEST_BYTES, 0, RW));
	ok(hwpt_alloc(rig, rig->devid, p->ioas, NEST | (flags & PASID), &p->parent));
	ok(iommufd(rig, IOMMU_FAULT_QUEUE_ALLOC, &queue));
	p->fault = queue.out_fault_id;
	p->queue = (int)queue.out_fault_fd;
	make_nested(p, flags);
}

static void end(struct pages *p)
{
	ok(destroy(p->rig, p->nested));
	ok(destroy(p->rig, p->parent));
	ok(destroy(p->rig, p->ioas));
	ok(host_close(p->rig, p->queue));
	ok(destroy(p->rig, p->fault));
	guest_fini(&p->guest);
}

/* --- the device -------------------------------------------------------------------------------- */

/* Write 8 bytes through the device's TLB, asking for the page if it is not there. */
static void start(struct pages *p, uint32_t pasid, uint64_t iova, uint64_t seed)
{
	uint64_t control = DMATEST_WRITE | DMATEST_DESC_ATS | DMATEST_DESC_PRI;

	if (pasid != NO_PASID)
		control |= DMATEST_DESC_PASID | (uint64_t)pasid << 32;
	p->rig->wrote = htole64(dmatest_pattern_word(seed, 0));
	p->rig->wrote_bytes = sizeof(p->rig->wrote);
	bar_set(p->rig, DMATEST_REG_IMM_DESC, control);
	bar_set(p->rig, DMATEST_REG_IMM_DESC + 8, iova);
	bar_set(p->rig, DMATEST_REG_IMM_DESC + 24, 8);
	bar_set(p->rig, DMATEST_REG_IMM_DESC + 32, seed);
	bar_set(p->rig, DMATEST_REG_IMM_GO, DMATEST_GO_START);
}

static unsigned int status(struct pages *p)
{
	return bar_get(p->rig, DMATEST_REG_IMM_CPL + 24) >> 32 & 0xff;
}

/* When the device has done what it was to do. */
static unsigned int outcome(struct pages *p)
{
	time_t last = time(NULL) + PATIENCE_S;

	while (status(p) == DMATEST_BUSY && time(NULL) < last)
		bar_get(p->rig, DMATEST_REG_ID);
	return status(p);
}

static bool has_arrived(struct pages *p, uint64_t gpa)
{
	return dma_arrived(p->rig, p->guest.memory + gpa);
}

/* --- its requests -------------------------------------------------------------------------------- */

static void take(struct pages *p, struct iommu_hwpt_pgfault *record)
{
	struct pollfd queue = { .fd = p->queue, .events = POLLIN };

	assert_int_equal(poll(&queue, 1, PATIENCE_S * 1000), 1);
	assert_int_equal(p->rig->host->ops->read(p->rig->host, p->queue, record, sizeof(*record)),
			 sizeof(*record));
}

static int answer(struct pages *p, uint32_t cookie, uint32_t code)
{
	const struct iommu_hwpt_page_response response = { .cookie = cookie, .code = code };
	ssize_t ret = p->rig->host->ops->write(p->rig->host, p->queue, &response, sizeof(response));

	return ret < 0 ? (int)ret : ret == sizeof(response) ? 0 : -EIO;
}

static bool is_empty(struct pages *p)
{
	struct iommu_hwpt_pgfault record;

	return !p->rig->host->ops->read(p->rig->host, p->queue, &record, sizeof(record));
}

/* --- cases --------------------------------------------------------------------------------------- */

static void round_trip(struct pages *p, uint32_t pasid)
{
	struct iommu_hwpt_pgfault record;
	uint32_t flags = IOMMU_PGFAULT_FLAGS_LAST_PAGE;

	if (pasid != NO_PASID)
		flags |= IOMMU_PGFAULT_FLAGS_PASID_VALID | RESPONSE_NEEDS_PASID;
	start(p, pasid, IOVA + 0x18, 1);
	take(p, &record);
	assert_int_equal(status(p), DMATEST_BUSY);
	assert_int_equal(record.flags, flags);
	assert_int_equal(record.dev_id, p->rig->devid);
	assert_int_equal(record.pasid, pasid == NO_PASID ? 0 : pasid);
	assert_int_equal(record.perm & (IOMMU_PGFAULT_PERM_READ | IOMMU_PGFAULT_PERM_WRITE),
			 IOMMU_PGFAULT_PERM_WRITE);
	assert_int_equal(record.addr, IOVA);
	assert_true(is_empty(p));
	guest_map(&p->guest, p->root, IOVA, HERE);
	ok(answer(p, record.cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	assert_int_equal(outcome(p), DMATEST_OK);
	assert_true(has_arrived(p, HERE + 0x18));
	err(EINVAL, answer(p, record.cookie, IOMMUFD_PAGE_RESP_SUCCESS)); /* once */
	start(p, pasid, IOVA, 2); /* it is there: nothing is asked */
	assert_int_equal(outcome(p), DMATEST_OK);
	assert_true(has_arrived(p, HERE));
	assert_true(is_empty(p));
}

static void asked_for_and_given(void **state)
{
	struct pages p;

	begin(&p, *state, FAULT);
	ok(attach_id(p.rig, p.nested));
	round_trip(&p, NO_PASID);
	ok(detach(p.rig));
	end(&p);
}

static void asked_for_with_a_pasid(void **state)
{
	struct pages p;

	begin(&p, *state, FAULT | PASID);
	ok(attach_pasid(p.rig, ANY_PASID, p.nested));
	round_trip(&p, ANY_PASID);
	ok(detach_pasid(p.rig, ANY_PASID));
	end(&p);
}

static void asked_for_and_refused(void **state)
{
	struct iommu_hwpt_pgfault record;
	struct pages p;

	begin(&p, *state, FAULT | PASID);
	ok(attach_pasid(p.rig, ANY_PASID, p.nested));
	start(&p, ANY_PASID, IOVA, 1);
	take(&p, &record);
	guest_map(&p.guest, p.root, IOVA, HERE);
	ok(answer(&p, record.cookie, IOMMUFD_PAGE_RESP_INVALID));
	assert_int_equal(outcome(&p), DMATEST_PAGE_INVALID);
	assert_false(has_arrived(&p, HERE));
	ok(detach_pasid(p.rig, ANY_PASID));
	end(&p);
}

/* Success without a page is no success: it asks again, and gets it then. */
static void answered_and_not_there(void **state)
{
	struct iommu_hwpt_pgfault record;
	struct pages p;

	begin(&p, *state, FAULT | PASID);
	ok(attach_pasid(p.rig, ANY_PASID, p.nested));
	start(&p, ANY_PASID, IOVA, 1);
	for (unsigned int i = 0; i < 3; i++) {
		take(&p, &record);
		assert_int_equal(record.addr, IOVA);
		if (i == 2)
			guest_map(&p.guest, p.root, IOVA, HERE);
		ok(answer(&p, record.cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	}
	assert_int_equal(outcome(&p), DMATEST_OK);
	assert_true(has_arrived(&p, HERE));
	ok(detach_pasid(p.rig, ANY_PASID));
	end(&p);
}

/* Nobody is there to be asked. */
static void without_a_queue(void **state)
{
	struct pages p;

	begin(&p, *state, PASID);
	ok(attach_pasid(p.rig, ANY_PASID, p.nested));
	start(&p, ANY_PASID, IOVA, 1);
	assert_int_not_equal(outcome(&p), DMATEST_BUSY);
	assert_int_not_equal(status(&p), DMATEST_OK);
	assert_true(is_empty(&p));
	ok(detach_pasid(p.rig, ANY_PASID));
	end(&p);
}

/* What is not answered when its table goes: the device gets an answer, and user space has no say. */
static void detached_before_the_answer(void **state)
{
	struct iommu_hwpt_pgfault record;
	struct pages p;

	begin(&p, *state, FAULT | PASID);
	ok(attach_pasid(p.rig, ANY_PASID, p.nested));
	start(&p, ANY_PASID, IOVA, 1);
	take(&p, &record);
	ok(detach_pasid(p.rig, ANY_PASID));
	assert_int_not_equal(outcome(&p), DMATEST_BUSY);
	assert_int_not_equal(status(&p), DMATEST_OK);
	err(EINVAL, answer(&p, record.cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	guest_map(&p.guest, p.root, IOVA, HERE);
	ok(attach_pasid(p.rig, ANY_PASID, p.nested));
	start(&p, ANY_PASID, IOVA, 2);
	assert_int_equal(outcome(&p), DMATEST_OK);
	assert_true(has_arrived(&p, HERE));
	assert_true(is_empty(&p));
	ok(detach_pasid(p.rig, ANY_PASID));
	end(&p);
}

/* A device keeps what it was told until it is told otherwise, and no longer. */
static void stale_in_the_device(void **state)
{
	struct iommu_hwpt_pgfault record;
	struct pages p;

	begin(&p, *state, FAULT);
	guest_map(&p.guest, p.root, IOVA, HERE);
	ok(attach_id(p.rig, p.nested));
	start(&p, NO_PASID, IOVA, 1);
	assert_int_equal(outcome(&p), DMATEST_OK);
	assert_true(has_arrived(&p, HERE));
	guest_map(&p.guest, p.root, IOVA, THERE);
	start(&p, NO_PASID, IOVA, 2);
	assert_int_equal(outcome(&p), DMATEST_OK);
	assert_true(has_arrived(&p, HERE)); /* stale, as on hardware */
	ok(flush_page(p.rig, p.nested, IOVA + PAGE)); /* another page */
	start(&p, NO_PASID, IOVA, 3);
	assert_int_equal(outcome(&p), DMATEST_OK);
	assert_true(has_arrived(&p, HERE));
	ok(flush_page(p.rig, p.nested, IOVA));
	start(&p, NO_PASID, IOVA, 4);
	assert_int_equal(outcome(&p), DMATEST_OK);
	assert_false(has_arrived(&p, HERE));
	assert_true(has_arrived(&p, THERE));
	guest_unmap(&p.guest, p.root, IOVA);
	ok(flush_all(p.rig, p.nested));
	start(&p, NO_PASID, IOVA, 5);
	take(&p, &record); /* asked for again */
	ok(answer(&p, record.cookie, IOMMUFD_PAGE_RESP_INVALID));
	assert_int_equal(outcome(&p), DMATEST_PAGE_INVALID);
	assert_false(has_arrived(&p, THERE));
	ok(detach(p.rig));
	end(&p);
}

#define NEEDED (NEED_VTD | NEED_NESTING | NEED_PRI)

static const struct suite_case cases[] = {
	TEST(asked_for_and_given, NEEDED),
	TEST(asked_for_with_a_pasid, NEEDED | NEED_PASID),
	TEST(asked_for_and_refused, NEEDED | NEED_PASID),
	TEST(answered_and_not_there, NEEDED | NEED_PASID),
	TEST(without_a_queue, NEEDED | NEED_PASID),
	TEST(detached_before_the_answer, NEEDED | NEED_PASID),
	TEST(stale_in_the_device, NEEDED),
};
SUITE_GROUP(pages, cases)
