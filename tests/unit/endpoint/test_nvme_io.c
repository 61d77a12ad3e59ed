// SPDX-License-Identifier: BSD-3-Clause
/*
 * I/O commands. The oracle is a byte array for the disk and another for all of
 * guest data memory: random commands with random PRP layouts must leave both as
 * the naive model says, every other byte included.
 */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define DISK (3ULL << 20)
#define DATA_BYTES (4ULL << 20)

/* The C library's, replaced: whether a command flushed cannot be seen otherwise. */
static unsigned int flushes;
static int flush_error;

int fdatasync(int fd)
{
	flushes++;
	errno = flush_error;
	return flush_error ? -1 : 0;
}

struct model {
	struct rig r;
	uint64_t data;		/* guest memory that commands read and write */
	uint8_t *memory;	/* what must be there */
	uint8_t *disk;
	uint64_t seed;
	uint64_t page;		/* bytes, by CC.MPS */
	uint64_t list;		/* memory for PRP lists */
};

/* Where each byte of a transfer is. */
struct layout {
	uint64_t address[NVME_RUNS_MAX];
	size_t size[NVME_RUNS_MAX];
	unsigned int count;
};

static void model_open(struct model *m, uint32_t mps, uint64_t seed)
{
	rig_open(&m->r, DISK, ",lba=512,queues=2", false);
	m->seed = seed;
	m->page = 4096ULL << mps;
	m->r.next_free = RIG_BASE + (1ULL << 20);
	rig_enable(&m->r, 32, mps << 7);
	rig_create_pair(&m->r, 1, 5);
	m->r.next_free = ALIGN_UP(m->r.next_free, 65536ULL);
	m->list = rig_alloc(&m->r, 4 * 65536);
	m->data = ALIGN_UP(m->r.next_free, 65536ULL);
	m->memory = malloc(DATA_BYTES);
	m->disk = calloc(1, DISK);
	assert_true(m->memory && m->disk);
	for (size_t i = 0; i < DATA_BYTES; i += 8)
		le_store(m->memory + i, 8, test_random(&m->seed));
	memcpy(rig_at(&m->r, m->data, DATA_BYTES), m->memory, DATA_BYTES);
}

static void model_close(struct model *m)
{
	uint8_t *file = malloc(DISK);

	assert_non_null(file);
	assert_int_equal(pread(m->r.fd, file, DISK, 0), DISK);
	assert_memory_equal(file, m->disk, DISK);
	free(file);
	free(m->memory);
	free(m->disk);
	rig_close(&m->r);
}

static uint64_t random_page(struct model *m, uint64_t after)
{
	uint64_t pages = DATA_BYTES / m->page;

	/* Often the next one, so that contiguous runs occur. */
	if (after && test_random(&m->seed) % 2 && after + 2 * m->page <= m->data + DATA_BYTES)
		return after + m->page;
	return m->data + test_random(&m->seed) % pages * m->page;
}

/* PRP entries for pages 2.. of @l: in list pages that begin anywhere and are chained. */
static uint64_t build_list(struct model *m, const struct layout *l)
{
	uint64_t per_page = m->page / 8;
	uint64_t first = test_random(&m->seed) % 2 ? test_random(&m->seed) % per_page :
						     per_page - 1 - test_random(&m->seed) % 3;
	uint64_t start = m->list + first * 8, at = start, next = m->list + m->page;

	for (unsigned int i = 1; i < l->count; i++) {
		if ((at + 8) % m->page == 0 && i + 1 < l->count) {
			le_store(rig_at(&m->r, at, 8), 8, next);
			at = next;
			next += m->page;
		}
		le_store(rig_at(&m->r, at, 8), 8, l->address[i]);
		at += 8;
	}
	return start;
}

/* A random layout of @size bytes on distinct pages, put into @sqe. */
static void build_layout(struct model *m, size_t size, struct nvme_sqe *sqe, struct layout *l)
{
	uint8_t used[DATA_BYTES / 4096] = { 0 };
	uint64_t offset = test_random(&m->seed) % 2 ? test_random(&m->seed) % (m->page / 4) * 4 : 0;
	uint64_t page = 0;

	l->count = 0;
	while (size) {
		size_t part = MIN(size, (size_t)(m->page - offset));

		do
			page = random_page(m, page);
		while (used[(page - m->data) / m->page]);
		used[(page - m->data) / m->page] = 1;
		l->address[l->count] = page + offset;
		l->size[l->count++] = part;
		size -= part;
		offset = 0;
	}
	sqe->prp1 = le64_make(l->address[0]);
	if (l->count == 2)
		sqe->prp2 = le64_make(l->address[1]);
	else if (l->count > 2)
		sqe->prp2 = le64_make(build_list(m, l));
	else
		sqe->prp2 = le64_make(test_random(&m->seed)); /* must not be looked at */
}

static void model_copy(struct model *m, const struct layout *l, uint8_t *disk, bool to_memory)
{
	for (unsigned int i = 0; i < l->count; i++) {
		uint8_t *at = m->memory + (l->address[i] - m->data);

		memcpy(to_memory ? at : disk, to_memory ? disk : at, l->size[i]);
		disk += l->size[i];
	}
}

static uint32_t random_blocks(struct model *m, uint64_t *lba)
{
	uint64_t max = test_random(&m->seed) % 4 ? 64 : 2048;
	uint64_t blocks = 1 + test_random(&m->seed) % max;

	*lba = test_random(&m->seed) % (DISK / 512 - blocks + 1);
	return (uint32_t)blocks;
}

static void random_command(struct model *m)
{
	static const uint8_t opcodes[] = { NVME_IO_READ, NVME_IO_WRITE, NVME_IO_READ, NVME_IO_WRITE,
					   NVME_IO_WRITE_ZEROES, NVME_IO_COMPARE };
	uint8_t opcode = opcodes[test_random(&m->seed) % ARRAY_SIZE(opcodes)];
	uint64_t lba = 0;
	uint32_t blocks = random_blocks(m, &lba);
	struct nvme_sqe sqe = make_rw(opcode, lba, blocks, 0, 0);
	size_t size = blocks * 512ULL;
	uint8_t *disk = m->disk + lba * 512;
	struct layout l;
	uint16_t expected = NVME_OK;

	build_layout(m, size, &sqe, &l);
	if (test_random(&m->seed) % 8 == 0)
		sqe.cdw12 = le32_make(le32_get(sqe.cdw12) | (uint32_t)NVME_RW_FUA);
	if (opcode == NVME_IO_WRITE) {
		model_copy(m, &l, disk, false);
	} else if (opcode == NVME_IO_READ) {
		model_copy(m, &l, disk, true);
	} else if (opcode == NVME_IO_WRITE_ZEROES) {
		if (test_random(&m->seed) % 2)
			sqe.cdw12 = le32_make(le32_get(sqe.cdw12) | (uint32_t)NVME_RW_DEAC);
		memset(disk, 0, size);
	} else {
		uint8_t *given = malloc(size);

		assert_non_null(given);
		model_copy(m, &l, given, false);
		expected = memcmp(given, disk, size) ? NVME_COMPARE_FAILURE : NVME_OK;
		free(given);
	}
	assert_status(rig_do(&m->r, 1, sqe, NULL), expected);
	assert_memory_equal(rig_at(&m->r, m->data, DATA_BYTES), m->memory, DATA_BYTES);
}

static void random_commands_agree_with_the_model(void **state)
{
	static const uint32_t mps[] = { 0, 0, 1, 4 };

	for (size_t i = 0; i < ARRAY_SIZE(mps); i++) {
		struct model m;

		model_open(&m, mps[i], i + 1);
		for (int n = 0; n < 300; n++)
			random_command(&m);
		model_close(&m);
	}
}

static void compare_of_equal_data_succeeds(void **state)
{
	struct model m;
	struct nvme_sqe sqe;

	model_open(&m, 0, 5);
	sqe = make_rw(NVME_IO_WRITE, 8, 16, m.data, m.data + 4096);
	assert_int_equal(rig_do(&m.r, 1, sqe, NULL), 0);
	sqe.opcode = NVME_IO_COMPARE;
	assert_int_equal(rig_do(&m.r, 1, sqe, NULL), 0);
	*(uint8_t *)rig_at(&m.r, m.data + 8191, 1) ^= 1;
	assert_status(rig_do(&m.r, 1, sqe, NULL), NVME_COMPARE_FAILURE);
	memcpy(m.disk + 8 * 512, m.memory, 8192);
	model_close(&m);
}

static void deallocated_blocks_read_as_zeroes(void **state)
{
	struct nvme_dsm_range *ranges;
	struct nvme_sqe sqe = make_sqe(NVME_IO_DATASET_MGMT, 1, 0, 0);
	struct model m;

	model_open(&m, 0, 6);
	ranges = rig_at(&m.r, m.list, 4096);
	assert_int_equal(rig_do(&m.r, 1, make_rw(NVME_IO_WRITE, 0, 8, m.data, 0), NULL), 0);
	memcpy(m.disk, m.memory, 4096);
	ranges[0] = (struct nvme_dsm_range){ .blocks = le32_make(3), .slba = le64_make(1) };
	ranges[1] = (struct nvme_dsm_range){ .blocks = le32_make(0), .slba = le64_make(0) };
	ranges[2] = (struct nvme_dsm_range){ .blocks = le32_make(1), .slba = le64_make(6) };
	sqe.prp1 = le64_make(m.list);
	sqe.cdw10 = le32_make(2);
	assert_int_equal(rig_do(&m.r, 1, sqe, NULL), 0); /* a hint without deallocation */
	sqe.cdw11 = le32_make(NVME_DSM_DEALLOCATE);
	assert_int_equal(rig_do(&m.r, 1, sqe, NULL), 0);
	memset(m.disk + 512, 0, 3 * 512);
	memset(m.disk + 6 * 512, 0, 512);
	/* One bad range: nothing at all is given back. */
	ranges[1].blocks = le32_make(2);
	ranges[1].slba = le64_make(DISK / 512 - 1);
	ranges[0].slba = le64_make(4);
	assert_status(rig_do(&m.r, 1, sqe, NULL), NVME_LBA_OUT_OF_RANGE);
	model_close(&m);
}

static void field_refusals(void **state)
{
	const uint64_t end = DISK / 512;
	struct nvme_sqe sqe;
	struct model m;

	model_open(&m, 0, 7);
#define RW(op, lba, blocks) rig_do(&m.r, 1, make_rw(op, lba, blocks, m.data, m.data + 4096), NULL)
	assert_int_equal(RW(NVME_IO_READ, end, 1), NVME_LBA_OUT_OF_RANGE | NVME_DNR);
	assert_int_equal(RW(NVME_IO_READ, end - 1, 2), NVME_LBA_OUT_OF_RANGE | NVME_DNR);
	assert_int_equal(RW(NVME_IO_WRITE, UINT64_MAX, 2), NVME_LBA_OUT_OF_RANGE | NVME_DNR);
	assert_int_equal(RW(NVME_IO_WRITE_ZEROES, 1, 65536), NVME_LBA_OUT_OF_RANGE | NVME_DNR);
	assert_int_equal(RW(NVME_IO_COMPARE, UINT64_MAX - 1, 1), NVME_LBA_OUT_OF_RANGE | NVME_DNR);
	assert_int_equal(RW(NVME_IO_READ, end - 1, 1), NVME_OK);
	assert_int_equal(RW(NVME_IO_READ, 0, 2049), NVME_INVALID_FIELD | NVME_DNR);
	assert_int_equal(RW(0x04, 0, 1), NVME_INVALID_OPCODE | NVME_DNR); /* Write Uncorrectable */
	assert_int_equal(RW(0xff, 0, 1), NVME_INVALID_OPCODE | NVME_DNR);
	for (uint32_t i = 0; i < 3; i++) {
		sqe = make_rw(NVME_IO_READ, 0, 1, m.data, 0);
		sqe.nsid = le32_make((const uint32_t[]){ 0, 2, NVME_NSID_ALL }[i]);
		assert_int_equal(rig_do(&m.r, 1, sqe, NULL), NVME_INVALID_NAMESPACE | NVME_DNR);
	}
	assert_int_equal(rig_do(&m.r, 1, make_sqe(NVME_IO_FLUSH, NVME_NSID_ALL, 0, 0), NULL), 0);
	sqe = make_rw(NVME_IO_READ, 0, 1, m.data, 0);
	sqe.flags = 0x40;
	assert_int_equal(rig_do(&m.r, 1, sqe, NULL), NVME_INVALID_FIELD | NVME_DNR);
	model_close(&m);
}

static void prp_refusals(void **state)
{
	struct model m;
	uint64_t d;

	model_open(&m, 0, 8);
	d = m.data;
#define READ(blocks, prp1, prp2) \
	rig_do(&m.r, 1, make_rw(NVME_IO_READ, 0, blocks, prp1, prp2), NULL)
	assert_int_equal(READ(1, d + 1, 0), NVME_INVALID_PRP_OFFSET | NVME_DNR);
	assert_int_equal(READ(1, d + 2, 0), NVME_INVALID_PRP_OFFSET | NVME_DNR);
	assert_int_equal(READ(16, d, d + 512), NVME_INVALID_PRP_OFFSET | NVME_DNR);
	assert_int_equal(READ(32, d, m.list + 4), NVME_INVALID_PRP_OFFSET | NVME_DNR);
	le_store(rig_at(&m.r, m.list, 8), 8, d + 4096);
	le_store(rig_at(&m.r, m.list + 8, 8), 8, d + 8192 + 8);
	assert_int_equal(READ(24, d, m.list), NVME_INVALID_PRP_OFFSET | NVME_DNR);
	/* A chain pointer that is not page-aligned */
	le_store(rig_at(&m.r, m.list + 4088, 8), 8, m.list + 8192 + 8);
	assert_int_equal(READ(24, d, m.list + 4088), NVME_INVALID_PRP_OFFSET | NVME_DNR);
	/* Lists and data that are not there; a list that points to itself is only data */
	assert_int_equal(READ(24, d, 0), NVME_DATA_TRANSFER_ERROR);
	assert_int_equal(READ(24, d, ~7ULL), NVME_DATA_TRANSFER_ERROR);
	assert_int_equal(READ(1, ~3ULL, 0), NVME_DATA_TRANSFER_ERROR);
	assert_int_equal(READ(16, d, ~4095ULL), NVME_DATA_TRANSFER_ERROR);
	for (uint64_t i = 0; i < 512; i++)
		le_store(rig_at(&m.r, m.list + 8 * i, 8), 8, m.list);
	assert_int_equal(READ(2048, d, m.list + 4088), NVME_OK);
	assert_int_equal(rig_read(&m.r, NVME_REG_CSTS), NVME_CSTS_RDY);
	memset(m.memory, 0, 4096);
	model_close(&m);
}

static void list_page_that_is_just_full_has_no_link(void **state)
{
	struct nvme_sqe sqe;
	struct model m;

	model_open(&m, 0, 11);
	for (uint64_t i = 0; i < 3; i++)
		memset(m.disk + i * 4096, 0x41 + (int)i, 4096);
	assert_int_equal(pwrite(m.r.fd, m.disk, 3 * 4096, 0), 3 * 4096);
	/* Pages 2 and 3 in the last two entries of a list page */
	le_store(rig_at(&m.r, m.list + 4080, 8), 8, m.data + 0x3000);
	le_store(rig_at(&m.r, m.list + 4088, 8), 8, m.data + 0x5000);
	sqe = make_rw(NVME_IO_READ, 0, 24, m.data, m.list + 4080);
	assert_int_equal(rig_do(&m.r, 1, sqe, NULL), 0);
	assert_memory_equal(rig_at(&m.r, m.data, 4096), m.disk, 4096);
	assert_memory_equal(rig_at(&m.r, m.data + 0x3000, 4096), m.disk + 4096, 4096);
	assert_memory_equal(rig_at(&m.r, m.data + 0x5000, 4096), m.disk + 8192, 4096);
	model_close(&m);
}

static void runs_merge_but_never_around_the_end(void **state)
{
	struct nvme_sqe sqe = make_sqe(NVME_IO_READ, 1, ~4095ULL, 0);
	unsigned int count = 0;
	struct nvme_ctrl *c;
	struct model m;

	model_open(&m, 0, 12);
	c = to_nvme(m.r.ep);
	assert_int_equal(nvme_prp_resolve(c, &sqe, 8192, &count), 0);
	assert_int_equal(count, 2);
	sqe = make_sqe(NVME_IO_READ, 1, m.data + 4, m.data + 4096);
	assert_int_equal(nvme_prp_resolve(c, &sqe, 8192 - 4, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(c->runs[0].size, 8192 - 4);
	model_close(&m);
}

static void flushes_happen_when_asked_for_and_only_then(void **state)
{
	struct nvme_sqe fua;
	struct model m;

	model_open(&m, 0, 13);
	fua = make_rw(NVME_IO_WRITE, 0, 1, m.data, 0);
	fua.cdw12 = le32_make((uint32_t)NVME_RW_FUA);
	memcpy(m.disk, m.memory, 512);
#define FLUSHED(command, expected)                           \
	do {                                                 \
		flushes = 0;                                 \
		assert_int_equal(command, NVME_OK);          \
		assert_int_equal(flushes, expected);         \
	} while (0)
	FLUSHED(RW(NVME_IO_WRITE, 0, 1), 0);
	FLUSHED(rig_do(&m.r, 1, fua, NULL), 1);
	FLUSHED(rig_do(&m.r, 1, make_sqe(NVME_IO_FLUSH, 1, 0, 0), NULL), 1);
	FLUSHED(rig_do(&m.r, 0, make_admin(NVME_ADMIN_SET_FEATURES, 0, 6, 0), NULL), 1);
	FLUSHED(RW(NVME_IO_WRITE, 0, 1), 1);
	FLUSHED(RW(NVME_IO_READ, 0, 1), 0);
	fua.opcode = NVME_IO_READ;
	FLUSHED(rig_do(&m.r, 1, fua, NULL), 1);
	fua.opcode = NVME_IO_WRITE_ZEROES;
	FLUSHED(rig_do(&m.r, 1, fua, NULL), 1);
	memset(m.disk, 0, 512);
	flush_error = EIO;
	assert_int_equal(rig_do(&m.r, 1, make_sqe(NVME_IO_FLUSH, 1, 0, 0), NULL), NVME_WRITE_FAULT);
	assert_int_equal(rig_do(&m.r, 1, fua, NULL), NVME_WRITE_FAULT);
	flush_error = 0;
	flushes = 0;
	rig_write(&m.r, NVME_REG_CC, rig_read(&m.r, NVME_REG_CC) | 1 << 14);
	assert_int_equal(flushes, 1);
	model_close(&m);
}

/* Fail each DMA of a write in turn: the command says so and the disk is as before, or, if the
 * queues cannot be reached, the controller stops until it is disabled. */
static void each_dma_may_fail(void **state)
{
	struct nvme_sqe sqe;
	struct layout l;
	struct model m;
	uint8_t now[64 * 512];

	model_open(&m, 0, 9);
	for (unsigned int nth = 1;; nth++) {
		unsigned int before = atomic_load(&m.r.requests);
		uint32_t csts;

		m.seed = 77; /* the same layout each time, so that the n-th DMA is the next one */
		sqe = make_rw(NVME_IO_WRITE, 100, 64, 0, 0);
		build_layout(&m, 64 * 512, &sqe, &l);
		m.r.fault_nth = nth;
		rig_put(&m.r, 1, sqe);
		rig_ring(&m.r, 1);
		csts = rig_read(&m.r, NVME_REG_CSTS);
		if (m.r.fault_nth) {
			m.r.fault_nth = 0;
			assert_true(atomic_load(&m.r.requests) > before);
			model_copy(&m, &l, m.disk + 100 * 512, false);
			break;
		}
		if (csts & NVME_CSTS_CFS) {
			rig_disable(&m.r);
			rig_enable(&m.r, 32, 0);
			rig_create_pair(&m.r, 1, 5);
		} else {
			struct nvme_cqe cqe;

			assert_true(rig_poll(&m.r, 1, &cqe));
			assert_status(le16_get(cqe.status) >> 1 & ~NVME_MORE,
				      NVME_DATA_TRANSFER_ERROR);
			assert_int_equal(pread(m.r.fd, now, sizeof(now), 100 * 512), sizeof(now));
			assert_memory_equal(now, m.disk + 100 * 512, sizeof(now));
		}
	}
	model_close(&m);
}

static void full_completion_queue_holds_commands_back(void **state)
{
	struct nvme_sqe sqe;
	struct nvme_cqe cqe;
	struct rig r;

	rig_open(&r, DISK, ",queues=2", false);
	rig_enable(&r, 32, 0);
	/* Three completions fit into CQ 1; SQ 1 brings 10. */
	rig_queue_init(&r, 1, 11);
	sqe = make_admin(NVME_ADMIN_CREATE_CQ, r.queue[1].cq, 3 << 16 | 1, 1 << 16 | 3);
	assert_int_equal(rig_do(&r, 0, sqe, NULL), 0);
	sqe = make_admin(NVME_ADMIN_CREATE_SQ, r.queue[1].sq, 10 << 16 | 1, 1 << 16 | 1);
	assert_int_equal(rig_do(&r, 0, sqe, NULL), 0);
	for (int i = 0; i < 10; i++)
		rig_put(&r, 1, make_sqe(NVME_IO_FLUSH, 1, 0, 0));
	rig_ring(&r, 1);
	assert_int_equal(atomic_load(&r.irqs[1]), 3);
	/* Another queue is not held up. */
	rig_create_pair(&r, 2, 4);
	assert_int_equal(rig_do(&r, 2, make_sqe(NVME_IO_FLUSH, 1, 0, 0), NULL), 0);
	r.queue[1].size = 4;
	for (uint16_t i = 0; i < 10; i++) {
		assert_true(rig_poll(&r, 1, &cqe)); /* each frees an entry for one more */
		assert_int_equal(le16_get(cqe.status), r.queue[1].phase ^ (r.queue[1].head == 0));
	}
	assert_false(rig_poll(&r, 1, &cqe));
	assert_int_equal(atomic_load(&r.irqs[1]), 10);
	rig_close(&r);
}

static void a_full_submission_queue_takes_no_more(void **state)
{
	struct nvme_sqe sqe;
	uint32_t result = 0;
	struct nvme_cqe cqe;
	struct rig r;

	rig_open(&r, DISK, ",queues=1", false);
	rig_enable(&r, 32, 0);
	rig_queue_init(&r, 1, 4);
	sqe = make_admin(NVME_ADMIN_CREATE_CQ, r.queue[1].cq, 1 << 16 | 1, 1 << 16 | 3);
	assert_int_equal(rig_do(&r, 0, sqe, NULL), 0);
	sqe = make_admin(NVME_ADMIN_CREATE_SQ, r.queue[1].sq, 3 << 16 | 1, 1 << 16 | 1);
	assert_int_equal(rig_do(&r, 0, sqe, NULL), 0);
	rig_put(&r, 0, make_admin(NVME_ADMIN_ASYNC_EVENT, 0, 0, 0));
	rig_ring(&r, 0);
	for (int i = 0; i < 3; i++)
		rig_put(&r, 1, make_sqe(NVME_IO_FLUSH, 1, 0, 0));
	rig_ring(&r, 1); /* one runs, two wait for room in the completion queue */
	rig_write(&r, NVME_REG_DOORBELLS + 8, 0); /* one more: full */
	assert_false(rig_poll(&r, 0, &cqe));
	rig_write(&r, NVME_REG_DOORBELLS + 8, 1);
	assert_true(rig_poll(&r, 0, &cqe));
	result = le32_get(cqe.result);
	assert_int_equal(result, 0x010100);
	rig_close(&r);
}

static void queues_take_turns(void **state)
{
	uint16_t expected[] = { 1, 2, 1, 2, 1, 2 };
	struct nvme_sqe sqe;
	struct nvme_cqe *cq;
	struct rig r;

	rig_open(&r, DISK, ",queues=2", false);
	rig_enable(&r, 32, 0);
	rig_create_pair(&r, 1, 16);
	rig_queue_init(&r, 2, 16);
	sqe = make_admin(NVME_ADMIN_CREATE_SQ, r.queue[2].sq, 15 << 16 | 2, 1 << 16 | 1);
	assert_int_equal(rig_do(&r, 0, sqe, NULL), 0);
	for (int i = 0; i < 3; i++) {
		rig_put(&r, 1, make_sqe(NVME_IO_FLUSH, 1, 0, 0));
		rig_put(&r, 2, make_sqe(NVME_IO_FLUSH, 1, 0, 0));
	}
	r.threaded = true; /* hold the kicks back ... */
	pthread_mutex_init(&r.lock, NULL);
	pthread_cond_init(&r.wake, NULL);
	rig_ring(&r, 1);
	rig_ring(&r, 2);
	r.threaded = false;
	r.ep->ops->run(r.ep); /* ... so that both queues are full when it begins */
	cq = rig_at(&r, r.queue[1].cq, 4096);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		assert_int_equal(le16_get(cq[i].sqid), expected[i]);
	rig_close(&r);
}

static void masked_interrupts_come_when_unmasked(void **state)
{
	struct rig r;

	rig_open(&r, DISK, ",msix=off,queues=2", false);
	rig_enable(&r, 32, 0);
	rig_create_pair(&r, 1, 16);
	rig_write(&r, NVME_REG_INTMS, 2);
	assert_int_equal(rig_read(&r, NVME_REG_INTMC), 2);
	rig_put(&r, 1, make_sqe(NVME_IO_FLUSH, 1, 0, 0));
	rig_ring(&r, 1);
	assert_int_equal(atomic_load(&r.irqs[1]), 0);
	rig_write(&r, NVME_REG_INTMC, 2);
	assert_int_equal(atomic_load(&r.irqs[1]), 1);
	rig_write(&r, NVME_REG_INTMC, 2);
	assert_int_equal(atomic_load(&r.irqs[1]), 1);
	rig_write(&r, NVME_REG_INTMS, 0xffffffff);
	rig_disable(&r);
	assert_int_equal(rig_read(&r, NVME_REG_INTMS), 0);
	rig_close(&r);
}

static void file_errors_become_statuses(void **state)
{
	struct rlimit limit = { 4096, RLIM_INFINITY }, old;
	struct nvme_ctrl *c;
	struct model m;
	char name[32];
	int readonly;

	model_open(&m, 0, 10);
	c = to_nvme(m.r.ep);
	/* The file system says no to growing: as a full one would */
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit.rlim_max = old.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_status(RW(NVME_IO_WRITE, 8, 1), NVME_CAPACITY_EXCEEDED);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	/* Somebody made it shorter */
	assert_int_equal(ftruncate(m.r.fd, 4096), 0);
	assert_int_equal(RW(NVME_IO_READ, 7, 1), NVME_OK);
	assert_int_equal(RW(NVME_IO_READ, 7, 2), NVME_UNRECOVERED_READ);
	assert_int_equal(ftruncate(m.r.fd, DISK), 0);
	memset(m.memory, 0, 1024);
	/* It cannot be written any more */
	snprintf(name, sizeof(name), "/proc/self/fd/%d", m.r.fd);
	readonly = open(name, O_RDONLY);
	assert_true(readonly >= 0);
	assert_true(dup2(readonly, c->disk.fd) >= 0);
	close(readonly);
	assert_status(RW(NVME_IO_WRITE, 0, 1), NVME_WRITE_FAULT);
	assert_status(RW(NVME_IO_WRITE_ZEROES, 0, 1), NVME_WRITE_FAULT);
	model_close(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_commands_agree_with_the_model),
		cmocka_unit_test(compare_of_equal_data_succeeds),
		cmocka_unit_test(deallocated_blocks_read_as_zeroes),
		cmocka_unit_test(field_refusals),
		cmocka_unit_test(prp_refusals),
		cmocka_unit_test(list_page_that_is_just_full_has_no_link),
		cmocka_unit_test(runs_merge_but_never_around_the_end),
		cmocka_unit_test(flushes_happen_when_asked_for_and_only_then),
		cmocka_unit_test(each_dma_may_fail),
		cmocka_unit_test(full_completion_queue_holds_commands_back),
		cmocka_unit_test(a_full_submission_queue_takes_no_more),
		cmocka_unit_test(queues_take_turns),
		cmocka_unit_test(masked_interrupts_come_when_unmasked),
		cmocka_unit_test(file_errors_become_statuses),
	};

	return cmocka_run_group_tests_name("nvme_io", tests, NULL, NULL);
}
