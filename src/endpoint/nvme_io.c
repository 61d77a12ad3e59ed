// SPDX-License-Identifier: BSD-3-Clause
/*
 * The NVM command set (NVMe 1.4 s6) on a plain file. A command is decoded and
 * checked completely, then executed in pieces of at most the bounce buffer; a
 * disable is noticed between pieces. With the volatile write cache disabled, or
 * FUA, a write completes only after the file has been flushed.
 */
#include "endpoint/nvme.h"

#include <errno.h>

/* Long operations look for a disable this often. */
#define CHUNK_BYTES NVME_TRANSFER_MAX
#define COMPARE_BYTES 4096

struct block_range {
	uint64_t offset, size; /* bytes in the file */
};

static uint16_t write_status(int err)
{
	switch (err) {
	case 0:
		return NVME_OK;
	case -ENOSPC:
	case -EDQUOT:
	case -EFBIG:
		return NVME_CAPACITY_EXCEEDED;
	case -EROFS:
	case -EPERM:
		return NVME_WRITE_PROTECTED | NVME_DNR;
	default:
		return NVME_WRITE_FAULT;
	}
}

static uint16_t read_status(int err)
{
	return err ? NVME_UNRECOVERED_READ : NVME_OK;
}

static bool to_range(const struct nvme_ctrl *c, uint64_t slba, uint64_t blocks,
		     struct block_range *range)
{
	if (!range_fits(slba, blocks, c->blocks))
		return false;
	*range = (struct block_range){ slba << c->lba_lg2, blocks << c->lba_lg2 };
	return true;
}

/* FUA, or no volatile write cache: what a command touched must be durable before it completes. */
static bool is_durable(const struct nvme_ctrl *c, const struct nvme_command *cmd)
{
	return !c->features.write_cache || (le32_get(cmd->sqe.cdw12) & NVME_RW_FUA);
}

static uint16_t settle(const struct nvme_ctrl *c, const struct nvme_command *cmd)
{
	return is_durable(c, cmd) ? write_status(nvme_backend_flush(&c->disk)) : NVME_OK;
}

/* The range that Read, Write, Compare and Write Zeroes have in common. */
static uint16_t decode_range(const struct nvme_ctrl *c, struct nvme_command *cmd,
			     struct block_range *range)
{
	uint64_t blocks = FIELD_GET(NVME_RW_NLB, le32_get(cmd->sqe.cdw12)) + 1;

	cmd->lba = (uint64_t)le32_get(cmd->sqe.cdw11) << 32 | le32_get(cmd->sqe.cdw10);
	if (!to_range(c, cmd->lba, blocks, range))
		return NVME_LBA_OUT_OF_RANGE | NVME_DNR;
	return NVME_OK;
}

static uint16_t decode_transfer(const struct nvme_ctrl *c, struct nvme_command *cmd,
				struct block_range *range)
{
	uint64_t blocks = FIELD_GET(NVME_RW_NLB, le32_get(cmd->sqe.cdw12)) + 1;

	if (blocks << c->lba_lg2 > NVME_TRANSFER_MAX)
		return NVME_INVALID_FIELD | NVME_DNR;
	return decode_range(c, cmd, range);
}

static void count_transfer(struct nvme_ctrl *c, uint64_t bytes, bool write)
{
	mutex_lock(&c->lock);
	if (write) {
		c->health.writes++;
		c->health.written_blocks512 += bytes / 512;
	} else {
		c->health.reads++;
		c->health.read_blocks512 += bytes / 512;
	}
	mutex_unlock(&c->lock);
}

static uint16_t do_read(struct nvme_ctrl *c, struct nvme_command *cmd)
{
	struct block_range range;
	uint16_t status = decode_transfer(c, cmd, &range);

	/* A read with FUA gives what is on the medium, so it has to be there first. */
	if (status == NVME_OK && (le32_get(cmd->sqe.cdw12) & NVME_RW_FUA))
		status = settle(c, cmd);
	if (status != NVME_OK)
		return status;
	status = read_status(
		nvme_backend_read(&c->disk, c->bounce, (size_t)range.size, range.offset));
	if (status == NVME_OK)
		status = nvme_data_out(c, &cmd->sqe, (size_t)range.size);
	if (status == NVME_OK)
		count_transfer(c, range.size, false);
	return status;
}

static uint16_t do_write(struct nvme_ctrl *c, struct nvme_command *cmd)
{
	struct block_range range;
	uint16_t status = decode_transfer(c, cmd, &range);

	if (status != NVME_OK)
		return status;
	if (c->disk.readonly)
		return NVME_WRITE_PROTECTED | NVME_DNR;
	status = nvme_data_in(c, &cmd->sqe, (size_t)range.size);
	if (status != NVME_OK)
		return status;
	status = write_status(
		nvme_backend_write(&c->disk, c->bounce, (size_t)range.size, range.offset));
	if (status == NVME_OK)
		status = settle(c, cmd);
	if (status == NVME_OK)
		count_transfer(c, range.size, true);
	return status;
}

static uint16_t do_compare(struct nvme_ctrl *c, struct nvme_command *cmd)
{
	struct block_range range;
	uint16_t status = decode_transfer(c, cmd, &range);
	uint8_t piece[COMPARE_BYTES];

	if (status == NVME_OK)
		status = nvme_data_in(c, &cmd->sqe, (size_t)range.size);
	for (uint64_t done = 0; status == NVME_OK && done < range.size; done += sizeof(piece)) {
		size_t size = MIN(sizeof(piece), (size_t)(range.size - done));

		status = read_status(nvme_backend_read(&c->disk, piece, size, range.offset + done));
		if (status == NVME_OK && memcmp(piece, c->bounce + done, size))
			status = NVME_COMPARE_FAILURE | NVME_DNR;
	}
	return status;
}

static uint16_t write_zeroes(struct nvme_ctrl *c, const struct block_range *range)
{
	int err = 0;

	memset(c->bounce, 0, (size_t)MIN(range->size, CHUNK_BYTES));
	for (uint64_t done = 0; !err && done < range->size; done += CHUNK_BYTES) {
		if (atomic_load(&c->stop))
			return NVME_NO_COMPLETION;
		err = nvme_backend_write(&c->disk, c->bounce,
					 (size_t)MIN(range->size - done, CHUNK_BYTES),
					 range->offset + done);
	}
	return write_status(err);
}

static uint16_t do_write_zeroes(struct nvme_ctrl *c, struct nvme_command *cmd)
{
	struct block_range range;
	uint16_t status = decode_range(c, cmd, &range);
	int err;

	if (status != NVME_OK)
		return status;
	if (c->disk.readonly)
		return NVME_WRITE_PROTECTED | NVME_DNR;
	err = nvme_backend_zero(&c->disk, range.offset, range.size,
				le32_get(cmd->sqe.cdw12) & NVME_RW_DEAC);
	status = err == -EOPNOTSUPP ? write_zeroes(c, &range) : write_status(err);
	return status == NVME_OK ? settle(c, cmd) : status;
}

/* All ranges are checked before any is given back. A file system that cannot punch holes
 * ignores the hint, as a device may. */
static uint16_t do_dataset_mgmt(struct nvme_ctrl *c, struct nvme_command *cmd)
{
	unsigned int count = (unsigned int)FIELD_GET(NVME_DSM_NR, le32_get(cmd->sqe.cdw10)) + 1;
	bool deallocate = le32_get(cmd->sqe.cdw11) & NVME_DSM_DEALLOCATE;
	const struct nvme_dsm_range *in = (const struct nvme_dsm_range *)c->bounce;
	struct block_range range;
	uint16_t status;
	int err = 0;

	if (deallocate && c->disk.readonly)
		return NVME_WRITE_PROTECTED | NVME_DNR;
	status = nvme_data_in(c, &cmd->sqe, count * sizeof(*in));
	if (status != NVME_OK)
		return status;
	for (unsigned int i = 0; i < count; i++) {
		cmd->lba = le64_get(in[i].slba);
		if (!to_range(c, cmd->lba, le32_get(in[i].blocks), &range))
			return NVME_LBA_OUT_OF_RANGE | NVME_DNR;
	}
	for (unsigned int i = 0; deallocate && !err && i < count; i++) {
		if (atomic_load(&c->stop))
			return NVME_NO_COMPLETION;
		cmd->lba = le64_get(in[i].slba);
		if (to_range(c, cmd->lba, le32_get(in[i].blocks), &range))
			err = nvme_backend_zero(&c->disk, range.offset, range.size, true);
	}
	return err == -EOPNOTSUPP ? NVME_OK : write_status(err);
}

static uint16_t dispatch(struct nvme_ctrl *c, struct nvme_command *cmd)
{
	switch (cmd->sqe.opcode) {
	case NVME_IO_FLUSH:
		return write_status(nvme_backend_flush(&c->disk));
	case NVME_IO_WRITE:
		return do_write(c, cmd);
	case NVME_IO_READ:
		return do_read(c, cmd);
	case NVME_IO_COMPARE:
		return do_compare(c, cmd);
	case NVME_IO_WRITE_ZEROES:
		return do_write_zeroes(c, cmd);
	case NVME_IO_DATASET_MGMT:
		return do_dataset_mgmt(c, cmd);
	default:
		return NVME_INVALID_OPCODE | NVME_DNR;
	}
}

uint16_t nvme_io(struct nvme_ctrl *c, struct nvme_command *cmd)
{
	uint32_t nsid = le32_get(cmd->sqe.nsid);
	bool flush_all = cmd->sqe.opcode == NVME_IO_FLUSH && nsid == NVME_NSID_ALL;
	uint16_t status;

	if (nsid != 1 && !flush_all)
		return NVME_INVALID_NAMESPACE | NVME_DNR;
	/* not ours yet, or no more: the other end of a migration has it */
	if (nvme_backend_lock(&c->disk))
		return NVME_NAMESPACE_NOT_READY;
	status = dispatch(c, cmd);
	if (status != NVME_NO_COMPLETION &&
	    ((status & NVME_STATUS_CODE) == NVME_WRITE_FAULT ||
	     (status & NVME_STATUS_CODE) == NVME_UNRECOVERED_READ)) {
		mutex_lock(&c->lock);
		c->health.media_errors++;
		mutex_unlock(&c->lock);
	}
	return status;
}
