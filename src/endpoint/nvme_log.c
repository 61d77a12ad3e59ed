// SPDX-License-Identifier: BSD-3-Clause
/*
 * Get Log Page (NVMe 1.4 s5.14). A page is built at the start of the bounce
 * buffer, moved so that the wanted offset is first, and sent; what was asked for
 * beyond its end is zero. Reading a page without RAE lets its events come again.
 */
#include "endpoint/nvme.h"

/* Newest first. */
static size_t build_errors(struct nvme_ctrl *c, uint8_t *out)
{
	struct nvme_error_entry *entry = (struct nvme_error_entry *)out;

	mutex_lock(&c->lock);
	for (uint64_t i = 0; i < MIN(c->health.error_count, NVME_ERROR_ENTRIES); i++)
		entry[i] = c->health.errors[(c->health.error_count - i) % NVME_ERROR_ENTRIES];
	mutex_unlock(&c->lock);
	return NVME_ERROR_ENTRIES * sizeof(*entry);
}

static struct nvme_u128 make_u128(uint64_t value)
{
	return (struct nvme_u128){ .low = le64_make(value) };
}

static size_t build_smart(struct nvme_ctrl *c, uint8_t *out)
{
	struct nvme_smart_log *log = (struct nvme_smart_log *)out;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	log->critical_warning = nvme_critical_warning(c);
	le_store(log->temperature, 2, NVME_KELVIN);
	log->spare = 100;
	log->spare_threshold = 10;
	log->power_cycles = make_u128(1);
	log->power_on_hours = make_u128((uint64_t)(now.tv_sec - c->created.tv_sec) / 3600);
	mutex_lock(&c->lock);
	log->data_read = make_u128((c->health.read_blocks512 + 999) / 1000);
	log->data_written = make_u128((c->health.written_blocks512 + 999) / 1000);
	log->host_reads = make_u128(c->health.reads);
	log->host_writes = make_u128(c->health.writes);
	log->media_errors = make_u128(c->health.media_errors);
	log->error_entries = make_u128(c->health.error_count);
	mutex_unlock(&c->lock);
	return sizeof(*log);
}

static size_t build_firmware(uint8_t *out)
{
	struct nvme_firmware_log *log = (struct nvme_firmware_log *)out;

	log->active_slot = 1;
	memcpy(log->slots[0], "1.0     ", sizeof(log->slots[0]));
	return sizeof(*log);
}

static size_t build_effects(uint8_t *out)
{
	static const uint8_t admin[] = {
		NVME_ADMIN_DELETE_SQ,	NVME_ADMIN_CREATE_SQ,	 NVME_ADMIN_GET_LOG,
		NVME_ADMIN_DELETE_CQ,	NVME_ADMIN_CREATE_CQ,	 NVME_ADMIN_IDENTIFY,
		NVME_ADMIN_ABORT,	NVME_ADMIN_SET_FEATURES, NVME_ADMIN_GET_FEATURES,
		NVME_ADMIN_ASYNC_EVENT,
	};
	static const uint8_t reading[] = { NVME_IO_FLUSH, NVME_IO_READ, NVME_IO_COMPARE };
	static const uint8_t writing[] = { NVME_IO_WRITE, NVME_IO_WRITE_ZEROES,
					   NVME_IO_DATASET_MGMT };
	struct nvme_effects_log *log = (struct nvme_effects_log *)out;

	for (size_t i = 0; i < ARRAY_SIZE(admin); i++)
		log->admin[admin[i]] = le32_make(NVME_EFFECT_SUPPORTED);
	for (size_t i = 0; i < ARRAY_SIZE(reading); i++)
		log->io[reading[i]] = le32_make(NVME_EFFECT_SUPPORTED);
	for (size_t i = 0; i < ARRAY_SIZE(writing); i++)
		log->io[writing[i]] = le32_make(NVME_EFFECT_SUPPORTED | NVME_EFFECT_CHANGES_DATA);
	return sizeof(*log);
}

/* Returns the size of the page, 0 if there is no such page. */
static size_t build(struct nvme_ctrl *c, uint32_t lid, uint8_t *out)
{
	switch (lid) {
	case NVME_LOG_ERROR:
		return build_errors(c, out);
	case NVME_LOG_SMART:
		return build_smart(c, out);
	case NVME_LOG_FIRMWARE:
		return build_firmware(out);
	case NVME_LOG_EFFECTS:
		return build_effects(out);
	default:
		return 0;
	}
}

static void unmask_events(struct nvme_ctrl *c, uint32_t lid)
{
	mutex_lock(&c->lock);
	for (unsigned int type = 0; type < NVME_EVENT_TYPES; type++)
		if (c->event[type].log == lid)
			c->event[type].masked = false;
	mutex_unlock(&c->lock);
}

uint16_t nvme_get_log(struct nvme_ctrl *c, struct nvme_command *cmd)
{
	const struct nvme_sqe *sqe = &cmd->sqe;
	uint32_t cdw10 = le32_get(sqe->cdw10), nsid = le32_get(sqe->nsid);
	uint32_t lid = (uint32_t)FIELD_GET(NVME_GET_LOG_LID, cdw10);
	uint64_t dwords = (FIELD_GET(NVME_GET_LOG_NUMDU, le32_get(sqe->cdw11)) << 16 |
			   FIELD_GET(NVME_GET_LOG_NUMDL, cdw10)) +
			  1;
	uint64_t offset = (uint64_t)le32_get(sqe->cdw13) << 32 | le32_get(sqe->cdw12);
	uint64_t size = dwords * 4;
	size_t page_size;
	uint16_t status;

	if (size > NVME_TRANSFER_MAX)
		return NVME_INVALID_FIELD | NVME_DNR;
	memset(c->bounce, 0, MAX(size, sizeof(struct nvme_effects_log)));
	page_size = build(c, lid, c->bounce);
	if (!page_size)
		return NVME_INVALID_LOG_PAGE | NVME_DNR;
	/* Health is not kept by namespace (LPA bit 0). */
	if (lid == NVME_LOG_SMART && nsid && nsid != NVME_NSID_ALL)
		return NVME_INVALID_FIELD | NVME_DNR;
	if (offset > page_size || offset % 4)
		return NVME_INVALID_FIELD | NVME_DNR;
	memmove(c->bounce, c->bounce + offset, page_size - (size_t)offset);
	memset(c->bounce + page_size - offset, 0, (size_t)offset);
	status = nvme_data_out(c, sqe, (size_t)size);
	if (status == NVME_OK && !(cdw10 & NVME_GET_LOG_RAE))
		unmask_events(c, lid);
	return status;
}
