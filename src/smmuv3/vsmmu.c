// SPDX-License-Identifier: BSD-3-Clause
/*
 * See unit.h: the unit's part of each host IOMMU.
 *
 * Commands for a host are collected, and carried out in one call before the next CMD_SYNC
 * completes. What such a call returns does not say which of its commands the host refused
 * (Linux counts those that it has converted, not those that were carried out). Invalidations
 * may be repeated, so then they are given one by one.
 *
 * Events come with the number of each: a gap, or a header that says so, means that some were
 * lost, and the guest is told in the architecture's way, by an overflow of its queue.
 */
#include "smmuv3/unit.h"

#include "base/alloc.h"
#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

/* --- life ------------------------------------------------------------------------------- */

/* A host without a vEVENTQ can still translate: what goes wrong then is in its log alone. */
static int open_events(struct smmu_unit *u, struct smmu_vsmmu *v)
{
	struct iommufd *iommufd = &u->vm->iommufd;
	int ret = iommufd_veventq_alloc(iommufd, v->viommu_id, IOMMU_VEVENTQ_TYPE_ARM_SMMUV3,
					SMMU_VEVENTQ_DEPTH, &v->veventq_id, &v->event_fd);

	if (ret == -EOPNOTSUPP || ret == -ENOTTY) {
		log_warn(u->log,
			 "smmuv3: the host has no queue for events (a newer Linux has), so a "
			 "device's faults appear in its log only");
		v->event_fd = -1;
		return 0;
	}
	if (ret)
		return ret;
	ret = wakeup_watch(&u->wakeup, v->event_fd);
	if (ret) {
		iommufd->host->ops->close(iommufd->host, v->event_fd);
		iommufd_destroy(iommufd, v->veventq_id);
	}
	return ret;
}

static int make(struct smmu_unit *u, struct nst_device *dev, struct smmu_vsmmu **out)
{
	struct iommufd *iommufd = &u->vm->iommufd;
	struct smmu_vsmmu *v = alloc_object(struct smmu_vsmmu);
	int ret;

	if (!v)
		return -ENOMEM;
	v->parent = dev->parent;
	ret = iommufd_viommu_alloc(iommufd, IOMMU_VIOMMU_TYPE_ARM_SMMUV3, dev->dev_id,
				   dev->parent->hwpt_id, &v->viommu_id);
	if (ret == -EOPNOTSUPP)
		log_error(u->log,
			  "smmuv3: the host cannot nest: its SMMU needs two stages, and S2FWB "
			  "or a firmware that says CANWBS");
	if (ret) {
		free(v);
		return ret;
	}
	ret = open_events(u, v);
	if (ret) {
		iommufd_destroy(iommufd, v->viommu_id);
		free(v);
		return ret;
	}
	*out = v;
	return 0;
}

int smmu_vsmmu_get(struct smmu_unit *u, struct nst_device *dev, struct smmu_vsmmu **out)
{
	struct smmu_vsmmu *v;
	int ret;

	for (v = u->vsmmus; v && v->parent != dev->parent; v = v->next)
		;
	if (!v) {
		ret = make(u, dev, &v);
		if (ret)
			return ret;
		v->next = u->vsmmus;
		u->vsmmus = v;
	}
	v->users++;
	*out = v;
	return 0;
}

/* What was collected need not be done: nothing uses it any more. */
void smmu_vsmmu_put(struct smmu_unit *u, struct smmu_vsmmu *v)
{
	struct iommufd *iommufd = &u->vm->iommufd;
	struct smmu_vsmmu **link = &u->vsmmus;

	if (--v->users)
		return;
	while (*link != v)
		link = &(*link)->next;
	*link = v->next;
	if (v->event_fd >= 0) {
		wakeup_unwatch(&u->wakeup, v->event_fd);
		iommufd->host->ops->close(iommufd->host, v->event_fd);
		if (iommufd_destroy(iommufd, v->veventq_id))
			log_error(u->log, "smmuv3: a vEVENTQ cannot be destroyed");
	}
	if (iommufd_destroy(iommufd, v->viommu_id))
		log_error(u->log, "smmuv3: a vIOMMU cannot be destroyed");
	free(v);
}

int smmu_name(struct smmu_unit *u, struct smmu_device *d)
{
	int ret = 0;

	if (!d->named)
		ret = iommufd_vdevice_alloc(&u->vm->iommufd, d->vsmmu->viommu_id, d->dev->dev_id,
					    d->rid, &d->vdevice_id);
	if (!ret)
		d->named = true;
	return ret;
}

void smmu_unname(struct smmu_unit *u, struct smmu_device *d)
{
	if (d->named && iommufd_destroy(&u->vm->iommufd, d->vdevice_id))
		log_error(u->log, "smmuv3: a vDEVICE cannot be destroyed");
	d->named = false;
}

/* --- commands --------------------------------------------------------------------------- */

static int call(struct smmu_unit *u, const struct smmu_vsmmu *v, uint32_t first, uint32_t count)
	REQUIRES(u->cmd_lock)
{
	int ret = iommufd_viommu_invalidate_arm_smmuv3(&u->vm->iommufd, v->viommu_id,
						       &v->commands[first], count);

	u->host_calls++;
	u->attach.work += ATTACH_WORK_CALL + count;
	if (!ret)
		u->host_commands += count;
	return ret;
}

/* A refused ATC_INV is the next CMD_SYNC's error (SMMUv3 IHI0070G.b s4.5.1), any other its own. */
static void refused(struct smmu_unit *u, const struct smmu_vsmmu *v, uint32_t i, int err)
	REQUIRES(u->cmd_lock)
{
	uint64_t op = FIELD_GET(SMMU_CMD_0_OP, le64toh(v->commands[i].cmd[0]));

	log_error(u->log, "smmuv3: the host refuses command 0x%llx: %s", (unsigned long long)op,
		  strerror(-err));
	if (op == SMMU_CMD_ATC_INV)
		u->atc_failed = true;
	else
		u->failed = MIN(u->failed, v->positions[i]);
}

static void flush_one(struct smmu_unit *u, struct smmu_vsmmu *v) REQUIRES(u->cmd_lock)
{
	uint32_t count = v->count;

	v->count = 0;
	if (!count || !call(u, v, 0, count))
		return;
	for (uint32_t i = 0; i < count; i++) {
		int ret = call(u, v, i, 1);

		if (ret)
			refused(u, v, i, ret);
	}
}

void smmu_flush(struct smmu_unit *u)
{
	for (struct smmu_vsmmu *v = u->vsmmus; v; v = v->next)
		flush_one(u, v);
}

void smmu_collect(struct smmu_unit *u, struct smmu_vsmmu *v, const struct smmu_cmd *cmd,
		  uint32_t position)
{
	if (v->count == SMMU_BATCH_MAX)
		flush_one(u, v);
	for (unsigned int i = 0; i < ARRAY_SIZE(cmd->qw); i++)
		v->commands[v->count].cmd[i] = cmd->qw[i].raw;
	v->positions[v->count++] = position;
	u->attach.work++;
}

void smmu_collect_all(struct smmu_unit *u, const struct smmu_cmd *cmd, uint32_t position)
{
	for (struct smmu_vsmmu *v = u->vsmmus; v; v = v->next)
		smmu_collect(u, v, cmd, position);
}

/* --- events ----------------------------------------------------------------------------- */

struct vevent {
	struct iommufd_vevent_header header;
	struct smmu_event event;
};
enum { EVENTS_PER_READ = 64 };

static bool is_stream_of(const struct smmu_unit *u, const struct smmu_vsmmu *v, uint64_t sid)
{
	for (const struct smmu_device *d = u->devices; d; d = d->next)
		if (d->vsmmu == v && d->rid == sid)
			return true;
	return false;
}

/* The number of the next event is expected to be one more, but INT_MAX is followed by 0. */
static void check_sequence(struct smmu_unit *u, struct smmu_vsmmu *v,
			   const struct iommufd_vevent_header *header) REQUIRES(u->cmd_lock)
{
	uint32_t lost = (header->sequence - v->next_sequence) & INT_MAX;

	if (header->flags & IOMMU_VEVENTQ_FLAG_LOST_EVENTS)
		lost++; /* the header's own */
	v->next_sequence = (header->sequence + 1) & INT_MAX;
	if (!lost)
		return;
	log_warn(u->log, "smmuv3: the host has lost %u events", lost);
	smmu_events_lost(u, lost);
}

/* Nothing that stalls: the unit does not offer it. A stream that has left is nobody's. */
static void take_event(struct smmu_unit *u, const struct smmu_vsmmu *v,
		       const struct smmu_event *event) REQUIRES(u->cmd_lock)
{
	uint64_t sid = FIELD_GET(SMMU_EVENT_0_SID, le64_get(event->qw[0]));

	if (!is_stream_of(u, v, sid) || (le64_get(event->qw[1]) & SMMU_EVENT_1_STALL))
		return;
	u->host_events++;
	smmu_event_put(u, event);
}

/* Returns whether there may be more. */
static bool take_some(struct smmu_unit *u, struct smmu_vsmmu *v) REQUIRES(u->cmd_lock)
{
	struct nst_host *host = u->vm->iommufd.host;
	uint8_t buf[EVENTS_PER_READ * sizeof(struct vevent)];
	ssize_t n = host->ops->read(host, v->event_fd, buf, sizeof(buf));
	size_t at = 0;

	if (n < 0 && n != -EAGAIN)
		log_error(u->log, "smmuv3: events cannot be read: %s", strerror((int)-n));
	while (n > 0 && at + sizeof(struct iommufd_vevent_header) <= (size_t)n) {
		struct vevent e = { 0 };

		memcpy(&e.header, &buf[at], sizeof(e.header));
		at += sizeof(e.header);
		check_sequence(u, v, &e.header);
		if (e.header.flags & IOMMU_VEVENTQ_FLAG_LOST_EVENTS)
			continue;
		if (at + sizeof(e.event) > (size_t)n)
			break;
		memcpy(&e.event, &buf[at], sizeof(e.event));
		at += sizeof(e.event);
		take_event(u, v, &e.event);
	}
	return n > 0;
}

/* As many as the host keeps, and no more: a device may fault faster than we read. */
void smmu_take_events(struct smmu_unit *u)
{
	for (struct smmu_vsmmu *v = u->vsmmus; v; v = v->next) {
		int left = SMMU_VEVENTQ_DEPTH / EVENTS_PER_READ + 1;

		while (v->event_fd >= 0 && left-- && take_some(u, v))
			;
	}
}
