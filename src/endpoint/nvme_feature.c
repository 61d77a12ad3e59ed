// SPDX-License-Identifier: BSD-3-Clause
/*
 * Get and Set Features (NVMe 1.4 s5.13, s5.21). Nothing is saveable. What the
 * file cannot honour (arbitration bursts, coalescing, ...) is stored and given
 * back, which is all the specification asks; the write cache, the temperature
 * thresholds and the event mask have an effect.
 */
#include "endpoint/nvme.h"

#define INVALID_FIELD (NVME_INVALID_FIELD | NVME_DNR)

static const struct nvme_features defaults = {
	.over_kelvin = NVME_KELVIN_WARNING,
	.write_cache = 1,
};

void nvme_features_reset(struct nvme_ctrl *c)
{
	c->features = defaults;
	for (unsigned int i = 0; i < ARRAY_SIZE(c->features.vector); i++)
		c->features.vector[i] = i;
}

/* Over- or under-temperature, against thresholds the driver may have set. */
uint8_t nvme_critical_warning(const struct nvme_ctrl *c)
{
	bool hot = NVME_KELVIN >= c->features.over_kelvin;
	bool cold = NVME_KELVIN <= c->features.under_kelvin;

	return hot || cold ? NVME_SMART_TEMPERATURE : 0;
}

/* Those that are one word: where it is, and which bits are the driver's. */
struct plain_feature {
	uint8_t fid;
	size_t offset;
	uint32_t writable;
};

static const struct plain_feature plain_features[] = {
	{ NVME_FEATURE_ARBITRATION, offsetof(struct nvme_features, arbitration), 0xffffff07 },
	{ NVME_FEATURE_POWER, offsetof(struct nvme_features, power), 0xff },
	{ NVME_FEATURE_ERROR_RECOVERY, offsetof(struct nvme_features, error_recovery), 0x1ffff },
	{ NVME_FEATURE_WRITE_CACHE, offsetof(struct nvme_features, write_cache), 1 },
	{ NVME_FEATURE_COALESCING, offsetof(struct nvme_features, coalescing), 0xffff },
	{ NVME_FEATURE_ATOMICITY, offsetof(struct nvme_features, atomicity), 1 },
	{ NVME_FEATURE_EVENTS, offsetof(struct nvme_features, events), 0xff },
};

static const struct plain_feature *find_plain(uint32_t fid)
{
	for (size_t i = 0; i < ARRAY_SIZE(plain_features); i++)
		if (plain_features[i].fid == fid)
			return &plain_features[i];
	return NULL;
}

static bool is_known(uint32_t fid)
{
	return find_plain(fid) || fid == NVME_FEATURE_TEMPERATURE || fid == NVME_FEATURE_QUEUES ||
	       fid == NVME_FEATURE_VECTOR;
}

/* Error Recovery belongs to a namespace, everything else to the controller. */
static uint16_t check_nsid(uint32_t fid, uint32_t nsid, bool is_set)
{
	if (fid == NVME_FEATURE_ERROR_RECOVERY) {
		bool valid = nsid == 1 || (is_set && nsid == NVME_NSID_ALL);

		return valid ? NVME_OK : NVME_INVALID_NAMESPACE | NVME_DNR;
	}
	if (nsid == 0 || nsid == NVME_NSID_ALL)
		return NVME_OK;
	if (nsid != 1)
		return NVME_INVALID_NAMESPACE | NVME_DNR;
	return is_set ? NVME_FEATURE_NOT_NS_SPECIFIC | NVME_DNR : NVME_OK;
}

/* Which threshold: NULL if there is none. Only the composite temperature is measured. */
static uint32_t *threshold(struct nvme_features *f, uint32_t cdw11, bool is_set)
{
	uint32_t sensor = (uint32_t)FIELD_GET(NVME_TEMPERATURE_SENSOR, cdw11);
	uint32_t type = (uint32_t)FIELD_GET(NVME_TEMPERATURE_TYPE, cdw11);

	if (type > 1 || (sensor && !(is_set && sensor == 0xf)))
		return NULL;
	return type ? &f->under_kelvin : &f->over_kelvin;
}

static uint32_t queue_counts(const struct nvme_ctrl *c)
{
	return (c->io_queues - 1) << 16 | (c->io_queues - 1);
}

uint16_t nvme_get_features(struct nvme_ctrl *c, struct nvme_command *cmd)
{
	uint32_t cdw10 = le32_get(cmd->sqe.cdw10), cdw11 = le32_get(cmd->sqe.cdw11);
	uint32_t fid = (uint32_t)FIELD_GET(NVME_FEATURE_FID, cdw10);
	uint32_t select = (uint32_t)FIELD_GET(NVME_FEATURE_SEL, cdw10);
	const struct plain_feature *plain = find_plain(fid);
	struct nvme_features from = select == NVME_SEL_CURRENT ? c->features : defaults;
	uint32_t vector = cdw11 & 0xffff, *kelvin;
	uint16_t status;

	if (!is_known(fid) || select > NVME_SEL_CAPS)
		return INVALID_FIELD;
	status = check_nsid(fid, le32_get(cmd->sqe.nsid), false);
	if (status != NVME_OK)
		return status;
	if (select == NVME_SEL_CAPS) {
		cmd->result = NVME_FEATURE_CAP_CHANGEABLE;
		if (fid == NVME_FEATURE_ERROR_RECOVERY)
			cmd->result |= NVME_FEATURE_CAP_NS_SPECIFIC;
		return NVME_OK;
	}
	if (plain) {
		memcpy(&cmd->result, (const char *)&from + plain->offset, sizeof(cmd->result));
	} else if (fid == NVME_FEATURE_TEMPERATURE) {
		kelvin = threshold(&from, cdw11, false);
		if (!kelvin)
			return INVALID_FIELD;
		cmd->result = *kelvin;
	} else if (fid == NVME_FEATURE_QUEUES) {
		cmd->result = queue_counts(c);
	} else {
		if (vector >= c->vectors)
			return INVALID_FIELD;
		cmd->result = select == NVME_SEL_CURRENT ? c->features.vector[vector] : vector;
	}
	return NVME_OK;
}

static uint16_t set_plain(struct nvme_ctrl *c, const struct plain_feature *plain, uint32_t value)
{
	/* One power state, no deallocated-block errors. */
	if (plain->fid == NVME_FEATURE_POWER && (value & 0x1f))
		return INVALID_FIELD;
	if (plain->fid == NVME_FEATURE_ERROR_RECOVERY && (value & BIT64(16)))
		return INVALID_FIELD;
	value &= plain->writable;
	/* What is in the cache when it is disabled must not stay there. */
	if (plain->fid == NVME_FEATURE_WRITE_CACHE && !value && nvme_backend_flush(&c->disk))
		return NVME_WRITE_FAULT;
	memcpy((char *)&c->features + plain->offset, &value, sizeof(value));
	return NVME_OK;
}

static uint16_t set_queues(struct nvme_ctrl *c, struct nvme_command *cmd, uint32_t cdw11)
{
	bool in_use = false;

	if ((cdw11 & 0xffff) == 0xffff || cdw11 >> 16 == 0xffff)
		return INVALID_FIELD;
	mutex_lock(&c->lock);
	for (unsigned int i = 1; i <= c->io_queues; i++)
		in_use |= c->sq[i].exists || c->cq[i].exists;
	mutex_unlock(&c->lock);
	if (in_use)
		return NVME_COMMAND_SEQUENCE | NVME_DNR;
	/* All there are, whatever was asked for: the driver may use fewer. */
	cmd->result = queue_counts(c);
	return NVME_OK;
}

static uint16_t set_temperature(struct nvme_ctrl *c, uint32_t cdw11)
{
	uint32_t *kelvin = threshold(&c->features, cdw11, true);

	if (!kelvin)
		return INVALID_FIELD;
	*kelvin = (uint32_t)FIELD_GET(NVME_TEMPERATURE_TH, cdw11);
	return NVME_OK;
}

/* A warning that the new settings bring about is an event, if the driver wants such. */
static void report_warning(struct nvme_ctrl *c)
{
	if (!(nvme_critical_warning(c) & c->features.events))
		return;
	mutex_lock(&c->lock);
	nvme_event_locked(c, NVME_EVENT_SMART, NVME_EVENT_TEMPERATURE, NVME_LOG_SMART);
	mutex_unlock(&c->lock);
}

uint16_t nvme_set_features(struct nvme_ctrl *c, struct nvme_command *cmd)
{
	uint32_t cdw10 = le32_get(cmd->sqe.cdw10), cdw11 = le32_get(cmd->sqe.cdw11);
	uint32_t fid = (uint32_t)FIELD_GET(NVME_FEATURE_FID, cdw10);
	const struct plain_feature *plain = find_plain(fid);
	uint16_t status;

	if (!is_known(fid))
		return INVALID_FIELD;
	if (cdw10 & NVME_FEATURE_SAVE)
		return NVME_FEATURE_NOT_SAVEABLE | NVME_DNR;
	status = check_nsid(fid, le32_get(cmd->sqe.nsid), true);
	if (status != NVME_OK)
		return status;
	if (plain) {
		status = set_plain(c, plain, cdw11);
	} else if (fid == NVME_FEATURE_TEMPERATURE) {
		status = set_temperature(c, cdw11);
	} else if (fid == NVME_FEATURE_QUEUES) {
		status = set_queues(c, cmd, cdw11);
	} else {
		if ((cdw11 & 0xffff) >= c->vectors)
			return INVALID_FIELD;
		c->features.vector[cdw11 & 0xffff] = cdw11 & 0x1ffff;
	}
	if (status == NVME_OK && (fid == NVME_FEATURE_TEMPERATURE || fid == NVME_FEATURE_EVENTS))
		report_warning(c);
	return status;
}
