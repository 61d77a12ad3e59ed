// SPDX-License-Identifier: BSD-3-Clause
/* Admin commands: every refusal has its status; logs, features, events, aborts; doorbell abuse. */
#include "rig.h"

#define DISK (1ULL << 20)
#define CQ_FLAGS 3	/* contiguous, interrupts enabled */

static void open_enabled(struct rig *r)
{
	rig_open(r, DISK, ",queues=4,msix=off", false);
	rig_enable(r, 32, 0);
}

static uint16_t admin(struct rig *r, uint8_t opcode, uint64_t prp1, uint32_t cdw10, uint32_t cdw11)
{
	uint16_t status = rig_do(r, 0, make_admin(opcode, prp1, cdw10, cdw11), NULL);

	/* Resubmitting a malformed command never helps, and the status says so. */
	assert_int_equal(!!(status & NVME_DNR), status != NVME_OK);
	return status & NVME_STATUS_CODE;
}

static void queue_creation_refusals(void **state)
{
	uint64_t base;
	struct rig r;

	open_enabled(&r);
	base = rig_alloc(&r, 65536);
#define CREATE(op, qid, entries, prp, cdw11) \
	admin(&r, NVME_ADMIN_CREATE_##op, prp, ((entries) - 1) << 16 | (qid), cdw11)
	assert_int_equal(CREATE(CQ, 0, 8, base, CQ_FLAGS), NVME_INVALID_QID);
	assert_int_equal(CREATE(CQ, 5, 8, base, CQ_FLAGS), NVME_INVALID_QID);
	assert_int_equal(CREATE(CQ, 0xffff, 8, base, CQ_FLAGS), NVME_INVALID_QID);
	assert_int_equal(CREATE(CQ, 1, 1, base, CQ_FLAGS), NVME_INVALID_QUEUE_SIZE);
	assert_int_equal(CREATE(CQ, 1, 1025, base, CQ_FLAGS), NVME_INVALID_QUEUE_SIZE);
	assert_int_equal(CREATE(CQ, 1, 65536U, base, CQ_FLAGS), NVME_INVALID_QUEUE_SIZE);
	assert_int_equal(CREATE(CQ, 1, 8, base, 2), NVME_INVALID_FIELD);
	assert_int_equal(CREATE(CQ, 1, 8, base + 16, CQ_FLAGS), NVME_INVALID_PRP_OFFSET);
	assert_int_equal(CREATE(CQ, 1, 8, base, 8 << 16 | CQ_FLAGS), NVME_INVALID_VECTOR);
	assert_int_equal(CREATE(SQ, 1, 8, base, 1 << 16 | 1), NVME_INVALID_CQ);
	assert_int_equal(CREATE(CQ, 1, 1024, base, 7 << 16 | CQ_FLAGS), NVME_OK);
	assert_int_equal(CREATE(CQ, 1, 8, base, CQ_FLAGS), NVME_INVALID_QID);
	assert_int_equal(CREATE(SQ, 1, 8, base, 0 << 16 | 1), NVME_INVALID_QID);
	assert_int_equal(CREATE(SQ, 1, 8, base, 5U << 16 | 1), NVME_INVALID_QID);
	assert_int_equal(CREATE(SQ, 1, 8, base, 1 << 16), NVME_INVALID_FIELD);
	assert_int_equal(CREATE(SQ, 1, 8, base + 64, 1 << 16 | 1), NVME_INVALID_PRP_OFFSET);
	assert_int_equal(CREATE(SQ, 1, 8, base, 1 << 16 | 1), NVME_OK);
	assert_int_equal(CREATE(SQ, 1, 8, base, 1 << 16 | 1), NVME_INVALID_QID);
	assert_int_equal(CREATE(SQ, 2, 8, base, 1 << 16 | 1), NVME_OK);
	assert_int_equal(admin(&r, NVME_ADMIN_DELETE_CQ, 0, 1, 0), NVME_INVALID_QUEUE_DELETION);
	assert_int_equal(admin(&r, NVME_ADMIN_DELETE_CQ, 0, 0, 0), NVME_INVALID_QID);
	assert_int_equal(admin(&r, NVME_ADMIN_DELETE_SQ, 0, 0, 0), NVME_INVALID_QID);
	assert_int_equal(admin(&r, NVME_ADMIN_DELETE_SQ, 0, 3, 0), NVME_INVALID_QID);
	assert_int_equal(admin(&r, NVME_ADMIN_DELETE_SQ, 0, 0xffff, 0), NVME_INVALID_QID);
	assert_int_equal(admin(&r, NVME_ADMIN_SET_FEATURES, 0, 7, 0x10001), NVME_COMMAND_SEQUENCE);
	assert_int_equal(admin(&r, NVME_ADMIN_DELETE_SQ, 0, 1, 0), NVME_OK);
	assert_int_equal(admin(&r, NVME_ADMIN_DELETE_SQ, 0, 2, 0), NVME_OK);
	assert_int_equal(admin(&r, NVME_ADMIN_DELETE_CQ, 0, 1, 0), NVME_OK);
	assert_int_equal(admin(&r, NVME_ADMIN_SET_FEATURES, 0, 7, 0x10001), NVME_OK);
	rig_disable(&r);
	rig_queue_init(&r, 0, 32);
	rig_write(&r, NVME_REG_CC, 1); /* no I/O entry sizes: no I/O queues */
	assert_int_equal(CREATE(CQ, 1, 8, base, CQ_FLAGS), NVME_INVALID_QUEUE_SIZE);
	rig_close(&r);
}

static void command_refusals(void **state)
{
	struct nvme_sqe sqe;
	uint64_t page;
	struct rig r;

	open_enabled(&r);
	page = rig_alloc(&r, 8192);
	assert_int_equal(admin(&r, 0x03, 0, 0, 0), NVME_INVALID_OPCODE);
	assert_int_equal(admin(&r, 0x18, 0, 0, 0), NVME_INVALID_OPCODE); /* keep alive */
	assert_int_equal(admin(&r, 0xff, 0, 0, 0), NVME_INVALID_OPCODE);
	for (unsigned int flag = 1; flag < 0x100; flag <<= 1) {
		sqe = make_admin(NVME_ADMIN_IDENTIFY, page, 1, 0);
		sqe.flags = (uint8_t)flag;
		assert_status(rig_do(&r, 0, sqe, NULL), flag & 0xc3 ? NVME_INVALID_FIELD : 0);
	}
	/* Identify */
	assert_int_equal(admin(&r, NVME_ADMIN_IDENTIFY, page, 0x04, 0), NVME_INVALID_FIELD);
	assert_int_equal(admin(&r, NVME_ADMIN_IDENTIFY, page, 0x06, 2U << 24), NVME_INVALID_FIELD);
	assert_int_equal(admin(&r, NVME_ADMIN_IDENTIFY, page, 0x00, 0), NVME_INVALID_NAMESPACE);
	assert_int_equal(admin(&r, NVME_ADMIN_IDENTIFY, page, 0x03, 0), NVME_INVALID_NAMESPACE);
	sqe = make_sqe(NVME_ADMIN_IDENTIFY, NVME_NSID_ALL, page, 0);
	assert_status(rig_do(&r, 0, sqe, NULL), NVME_INVALID_NAMESPACE);
	sqe.cdw10 = le32_make(2);
	assert_status(rig_do(&r, 0, sqe, NULL), NVME_INVALID_NAMESPACE);
	/* Where the data goes */
	assert_int_equal(admin(&r, NVME_ADMIN_IDENTIFY, page + 2, 1, 0), NVME_INVALID_PRP_OFFSET);
	sqe = make_admin(NVME_ADMIN_IDENTIFY, page + 4, 1, 0);
	sqe.prp2 = le64_make(page + 4100);
	assert_status(rig_do(&r, 0, sqe, NULL), NVME_INVALID_PRP_OFFSET);
	sqe.prp2 = le64_make(page + 4096);
	assert_int_equal(rig_do(&r, 0, sqe, NULL), NVME_OK);
	assert_status(rig_do(&r, 0, make_admin(NVME_ADMIN_IDENTIFY, 0x1000, 1, 0), NULL),
		      NVME_DATA_TRANSFER_ERROR);
	/* Logs */
	assert_status(rig_do(&r, 0, make_log(0x70, page, 64, 0), NULL), NVME_INVALID_LOG_PAGE);
	assert_status(rig_do(&r, 0, make_log(NVME_LOG_SMART, page, 512, 516), NULL),
		      NVME_INVALID_FIELD);
	assert_status(rig_do(&r, 0, make_log(NVME_LOG_SMART, page, 512, 6), NULL),
		      NVME_INVALID_FIELD);
	assert_status(rig_do(&r, 0, make_log(NVME_LOG_SMART, page, 512, UINT64_MAX - 3), NULL),
		      NVME_INVALID_FIELD);
	assert_status(rig_do(&r, 0, make_log(NVME_LOG_SMART, page, 0x100004, 0), NULL),
		      NVME_INVALID_FIELD);
	sqe = make_log(NVME_LOG_SMART, page, 512, 0);
	sqe.nsid = le32_make(1);
	assert_status(rig_do(&r, 0, sqe, NULL), NVME_INVALID_FIELD);
	rig_close(&r);
}

static void error_log_remembers_newest_first(void **state)
{
	struct nvme_error_entry *log;
	struct nvme_sqe sqe;
	uint64_t page;
	struct rig r;

	open_enabled(&r);
	page = rig_alloc(&r, 4096);
	log = rig_at(&r, page, 4096);
	assert_int_equal(rig_do(&r, 0, make_log(NVME_LOG_ERROR, page, 4096, 0), NULL), 0);
	assert_int_equal(le64_get(log[0].count), 0);
	for (unsigned int i = 1; i <= NVME_ERROR_ENTRIES + 3; i++)
		assert_int_equal(admin(&r, 0xc0, 0, 0, 0), NVME_INVALID_OPCODE);
	sqe = make_sqe(0xc1, 77, 0, 0);
	assert_status(rig_do(&r, 0, sqe, NULL), NVME_INVALID_OPCODE);
	assert_int_equal(rig_do(&r, 0, make_log(NVME_LOG_ERROR, page, 4096, 0), NULL), 0);
	for (unsigned int i = 0; i < NVME_ERROR_ENTRIES; i++)
		assert_int_equal(le64_get(log[i].count), NVME_ERROR_ENTRIES + 4 - i);
	assert_int_equal(le16_get(log[0].cid), r.next_cid - 1);
	assert_int_equal(le32_get(log[0].nsid), 77);
	assert_int_equal(le16_get(log[0].sqid), 0);
	assert_int_equal(le16_get(log[0].status) >> 1,
			 NVME_INVALID_OPCODE | NVME_DNR | NVME_MORE);
	/* From an offset, and further than the page reaches */
	assert_int_equal(rig_do(&r, 0, make_log(NVME_LOG_ERROR, page, 4096, 4032), NULL), 0);
	assert_int_equal(le64_get(log[0].count), 5);
	for (unsigned int i = 1; i < NVME_ERROR_ENTRIES; i++)
		assert_int_equal(le64_get(log[i].count), 0);
	rig_close(&r);
}

static uint32_t get_feature(struct rig *r, uint32_t cdw10, uint32_t cdw11)
{
	struct nvme_sqe sqe = make_admin(NVME_ADMIN_GET_FEATURES, 0, cdw10, cdw11);
	uint32_t result = 0;

	assert_int_equal(rig_do(r, 0, sqe, &result), 0);
	return result;
}

static void features_are_set_and_given_back(void **state)
{
	static const struct { uint32_t fid, value, expected, initial; } plain[] = {
		{ 0x01, 0xffffffff, 0xffffff07, 0 }, { 0x02, 0xe0, 0xe0, 0 },
		{ 0x06, 0, 0, 1 }, { 0x08, 0xffffffff, 0xffff, 0 },
		{ 0x0a, 1, 1, 0 }, { 0x0b, 0xff1f, 0x1f, 0 },
	};
	struct nvme_sqe sqe;
	uint32_t result;
	struct rig r;

	open_enabled(&r);
	for (size_t i = 0; i < ARRAY_SIZE(plain); i++) {
		assert_int_equal(get_feature(&r, plain[i].fid, 0), plain[i].initial);
		assert_int_equal(
			admin(&r, NVME_ADMIN_SET_FEATURES, 0, plain[i].fid, plain[i].value), 0);
		assert_int_equal(get_feature(&r, plain[i].fid, 0), plain[i].expected);
		assert_int_equal(get_feature(&r, plain[i].fid | 1 << 8, 0), plain[i].initial);
		assert_int_equal(get_feature(&r, plain[i].fid | 3 << 8, 0), 4);
	}
	assert_int_equal(get_feature(&r, 7, 0), 3 << 16 | 3);
	assert_int_equal(get_feature(&r, 4, 0), NVME_KELVIN_WARNING);
	assert_int_equal(admin(&r, NVME_ADMIN_SET_FEATURES, 0, 4, 1 << 20 | 250), 0);
	assert_int_equal(get_feature(&r, 4, 1 << 20), 250);
	assert_int_equal(get_feature(&r, 9, 3), 3);
	assert_int_equal(admin(&r, NVME_ADMIN_SET_FEATURES, 0, 9, 0x10003), 0);
	assert_int_equal(get_feature(&r, 9, 3), 0x10003);
	sqe = make_sqe(NVME_ADMIN_SET_FEATURES, 1, 0, 0);
	sqe.cdw10 = le32_make(5);
	sqe.cdw11 = le32_make(9);
	assert_int_equal(rig_do(&r, 0, sqe, NULL), 0);
	sqe.opcode = NVME_ADMIN_GET_FEATURES;
	assert_int_equal(rig_do(&r, 0, sqe, &result), 0);
	assert_int_equal(result, 9);
	/* A controller reset forgets them. */
	rig_disable(&r);
	rig_enable(&r, 32, 0);
	assert_int_equal(get_feature(&r, 6, 0), 1);
	assert_int_equal(get_feature(&r, 9, 3), 3);
	rig_close(&r);
}

static void feature_refusals(void **state)
{
	static const struct { uint8_t op; uint32_t nsid, cdw10, cdw11; uint16_t status; } bad[] = {
		{ NVME_ADMIN_SET_FEATURES, 0, 0x00, 0, NVME_INVALID_FIELD },
		{ NVME_ADMIN_SET_FEATURES, 0, 0x0c, 0, NVME_INVALID_FIELD },
		{ NVME_ADMIN_SET_FEATURES, 0, 0x80000006, 0, NVME_FEATURE_NOT_SAVEABLE },
		{ NVME_ADMIN_SET_FEATURES, 1, 0x06, 0, NVME_FEATURE_NOT_NS_SPECIFIC },
		{ NVME_ADMIN_SET_FEATURES, 2, 0x06, 0, NVME_INVALID_NAMESPACE },
		{ NVME_ADMIN_SET_FEATURES, 0, 0x05, 0, NVME_INVALID_NAMESPACE },
		{ NVME_ADMIN_SET_FEATURES, 1, 0x05, 0x10000, NVME_INVALID_FIELD },
		{ NVME_ADMIN_SET_FEATURES, 0, 0x02, 1, NVME_INVALID_FIELD },
		{ NVME_ADMIN_SET_FEATURES, 0, 0x04, 0x10000, NVME_INVALID_FIELD },
		{ NVME_ADMIN_SET_FEATURES, 0, 0x04, 0x200000, NVME_INVALID_FIELD },
		{ NVME_ADMIN_SET_FEATURES, 0, 0x07, 0xffff, NVME_INVALID_FIELD },
		{ NVME_ADMIN_SET_FEATURES, 0, 0x07, 0xffff0000, NVME_INVALID_FIELD },
		{ NVME_ADMIN_SET_FEATURES, 0, 0x09, 8, NVME_INVALID_FIELD },
		{ NVME_ADMIN_GET_FEATURES, 0, 0x0d, 0, NVME_INVALID_FIELD },
		{ NVME_ADMIN_GET_FEATURES, 0, 0x406, 0, NVME_INVALID_FIELD },
		{ NVME_ADMIN_GET_FEATURES, 9, 0x06, 0, NVME_INVALID_NAMESPACE },
		{ NVME_ADMIN_GET_FEATURES, NVME_NSID_ALL, 0x05, 0, NVME_INVALID_NAMESPACE },
		{ NVME_ADMIN_GET_FEATURES, 0, 0x04, 0xf0000, NVME_INVALID_FIELD },
		{ NVME_ADMIN_GET_FEATURES, 0, 0x09, 0xffff, NVME_INVALID_FIELD },
	};
	struct rig r;

	open_enabled(&r);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct nvme_sqe sqe = make_admin(bad[i].op, 0, bad[i].cdw10, bad[i].cdw11);

		sqe.nsid = le32_make(bad[i].nsid);
		assert_int_equal(rig_do(&r, 0, sqe, NULL), bad[i].status | NVME_DNR);
	}
	rig_close(&r);
}

static bool next_event(struct rig *r, uint32_t *result)
{
	struct nvme_cqe cqe;

	if (!rig_poll(r, 0, &cqe))
		return false;
	assert_int_equal(le16_get(cqe.status) >> 1, 0);
	*result = le32_get(cqe.result);
	return true;
}

static void put_aer(struct rig *r)
{
	rig_put(r, 0, make_admin(NVME_ADMIN_ASYNC_EVENT, 0, 0, 0));
	rig_ring(r, 0);
}

static void bad_doorbells_are_events_until_the_log_is_read(void **state)
{
	uint32_t result;
	uint64_t page;
	struct rig r;

	open_enabled(&r);
	page = rig_alloc(&r, 4096);
	rig_create_pair(&r, 1, 8);
	put_aer(&r);
	assert_false(next_event(&r, &result));
	for (uint64_t offset = 16; offset < 0x1000; offset += 4)
		rig_write(&r, NVME_REG_DOORBELLS + offset, 1); /* queues 2.. do not exist */
	assert_true(next_event(&r, &result));
	assert_int_equal(result, 0x010000);
	put_aer(&r);
	rig_write(&r, NVME_REG_DOORBELLS + 8, 8); /* beyond the ring: masked for now */
	assert_false(next_event(&r, &result));
	assert_int_equal(rig_do(&r, 0, make_log(NVME_LOG_ERROR, page, 4096, 0), NULL), 0);
	assert_int_equal(le16_get(((struct nvme_error_entry *)rig_at(&r, page, 64))->sqid), 0xffff);
	rig_write(&r, NVME_REG_DOORBELLS + 8, 8);
	assert_true(next_event(&r, &result));
	assert_int_equal(result, 0x010100);
	/* The bad value changed nothing. */
	assert_int_equal(rig_do(&r, 1, make_sqe(NVME_IO_FLUSH, 1, 0, 0), NULL), 0);
	put_aer(&r);
	assert_int_equal(rig_do(&r, 0, make_log(NVME_LOG_ERROR, page, 64, 0), NULL), 0);
	rig_write(&r, NVME_REG_DOORBELLS + 12, 5); /* consumes what was not produced */
	assert_true(next_event(&r, &result));
	assert_int_equal(result, 0x010100);
	rig_close(&r);
}

static void doorbells_while_disabled_are_ignored(void **state)
{
	struct rig r;

	rig_open(&r, DISK, "", false);
	for (uint64_t offset = 0; offset < 0x1000; offset += 4)
		rig_write(&r, NVME_REG_DOORBELLS + offset, 0xffffffff);
	assert_int_equal(rig_read(&r, NVME_REG_CSTS), 0);
	assert_int_equal(atomic_load(&r.requests), 0);
	rig_close(&r);
}

static void temperature_threshold_is_an_event(void **state)
{
	struct nvme_smart_log *smart;
	uint32_t result;
	uint64_t page;
	struct rig r;

	open_enabled(&r);
	page = rig_alloc(&r, 4096);
	smart = rig_at(&r, page, 512);
	assert_int_equal(admin(&r, NVME_ADMIN_SET_FEATURES, 0, 0xb, 2), 0);
	put_aer(&r);
	assert_int_equal(admin(&r, NVME_ADMIN_SET_FEATURES, 0, 4, 300), 0);
	assert_true(next_event(&r, &result));
	assert_int_equal(result, 0x020101);
	assert_int_equal(rig_do(&r, 0, make_log(NVME_LOG_SMART, page, 512, 0), NULL), 0);
	assert_int_equal(smart->critical_warning, 2);
	assert_int_equal(le_load(smart->temperature, 2), NVME_KELVIN);
	rig_close(&r);
}

static void event_requests_are_limited_and_can_be_aborted(void **state)
{
	struct nvme_sqe sqe;
	struct nvme_cqe cqe;
	uint32_t result;
	uint16_t cid;
	struct rig r;

	open_enabled(&r);
	for (int i = 0; i < NVME_AER_MAX; i++)
		put_aer(&r);
	cid = r.next_cid;
	assert_status(rig_do(&r, 0, make_admin(NVME_ADMIN_ASYNC_EVENT, 0, 0, 0), NULL),
		      NVME_AER_LIMIT);
	/* Not there: result 1 */
	sqe = make_admin(NVME_ADMIN_ABORT, 0, 0xfff0U << 16, 0);
	assert_int_equal(rig_do(&r, 0, sqe, &result), 0);
	assert_int_equal(result, 1);
	sqe = make_admin(NVME_ADMIN_ABORT, 0, (uint32_t)cid << 16 | 1, 0);
	assert_int_equal(rig_do(&r, 0, sqe, &result), 0);
	assert_int_equal(result, 1);
	/* There: first it completes, then the Abort */
	rig_put(&r, 0, make_admin(NVME_ADMIN_ABORT, 0, (uint32_t)cid << 16, 0));
	rig_ring(&r, 0);
	assert_true(rig_poll(&r, 0, &cqe));
	assert_int_equal(le16_get(cqe.cid), cid);
	assert_int_equal(le16_get(cqe.status) >> 1, NVME_ABORT_REQUESTED);
	assert_true(rig_poll(&r, 0, &cqe));
	assert_int_equal(le16_get(cqe.cid), r.next_cid);
	assert_int_equal(le32_get(cqe.result), 0);
	rig_close(&r);
}

static void an_abort_needs_room_for_two_completions(void **state)
{
	uint32_t result = 0;
	uint16_t cid;
	struct rig r;

	rig_open(&r, DISK, "", false);
	rig_enable(&r, 2, 0);
	cid = rig_put(&r, 0, make_admin(NVME_ADMIN_ASYNC_EVENT, 0, 0, 0));
	rig_ring(&r, 0);
	assert_int_equal(rig_do(&r, 0, make_admin(NVME_ADMIN_ABORT, 0, (uint32_t)cid << 16, 0),
				&result),
			 0);
	assert_int_equal(result, 1);
	rig_close(&r);
}

static void smart_counts(void **state)
{
	struct nvme_smart_log *smart;
	uint64_t page;
	struct rig r;

	open_enabled(&r);
	page = rig_alloc(&r, 4096);
	smart = rig_at(&r, page, 512);
	rig_create_pair(&r, 1, 8);
	for (int i = 0; i < 300; i++)
		assert_int_equal(rig_do(&r, 1, make_rw(NVME_IO_READ, 0, 4, page, 0), NULL), 0);
	assert_int_equal(rig_do(&r, 1, make_rw(NVME_IO_WRITE, 0, 1, page, 0), NULL), 0);
	assert_int_equal(rig_do(&r, 0, make_log(NVME_LOG_SMART, page, 512, 0), NULL), 0);
	assert_int_equal(le64_get(smart->host_reads.low), 300);
	assert_int_equal(le64_get(smart->data_read.low), 2);
	assert_int_equal(le64_get(smart->host_writes.low), 1);
	assert_int_equal(le64_get(smart->data_written.low), 1);
	assert_int_equal(le64_get(smart->error_entries.low), 0);
	assert_int_equal(rig_do(&r, 0, make_log(NVME_LOG_FIRMWARE, page, 512, 0), NULL), 0);
	assert_memory_equal(rig_at(&r, page + 8, 8), "1.0     ", 8);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(queue_creation_refusals),
		cmocka_unit_test(command_refusals),
		cmocka_unit_test(error_log_remembers_newest_first),
		cmocka_unit_test(features_are_set_and_given_back),
		cmocka_unit_test(feature_refusals),
		cmocka_unit_test(bad_doorbells_are_events_until_the_log_is_read),
		cmocka_unit_test(doorbells_while_disabled_are_ignored),
		cmocka_unit_test(temperature_threshold_is_an_event),
		cmocka_unit_test(event_requests_are_limited_and_can_be_aborted),
		cmocka_unit_test(an_abort_needs_room_for_two_completions),
		cmocka_unit_test(smart_counts),
	};

	return cmocka_run_group_tests_name("nvme_admin", tests, NULL, NULL);
}
