// SPDX-License-Identifier: BSD-3-Clause
/*
 * See unit.h: the unit's part of each host IOMMU.
 *
 * Commands for a host are collected, and carried out in one call before the next CMD_SYNC
 * completes. What such a call returns does not say which of its commands the host refused
 * (Linux counts those that it has converted, not those that were carried out). Invalidations
 * may be repeated, so then they are given one by one.
 *
 * Events that the host has lost the guest is told of in the architecture's way, by an overflow of
 * its queue.
 */
#include "smmuv3/unit.h"

#include "base/alloc.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>

/* --- life ------------------------------------------------------------------------------- */

/* A host without a vEVENTQ can still translate: what goes wrong then is in its log alone. */
static int open_events(struct smmu_unit *u, struct smmu_vsmmu *v)
{
	int ret = veventq_open(&u->vm->iommufd, &u->wakeup, v->viommu_id,
			       IOMMU_VEVENTQ_TYPE_ARM_SMMUV3, SMMU_VEVENTQ_DEPTH,
			       sizeof(struct smmu_event), &v->events);

	if (ret != -EOPNOTSUPP && ret != -ENOTTY)
		return ret;
	log_warn(u->log,
		 "smmuv3: the host has no queue for events (a newer Linux has), so a device's "
		 "faults appear in its log only");
	v->events.fd = -1;
	return 0;
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
		log_warn(u->log,
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
	if (v->events.fd >= 0 && veventq_close(iommufd, &u->wakeup, &v->events))
		log_error(u->log, "smmuv3: a vEVENTQ cannot be destroyed");
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

_Static_assert(sizeof(struct smmu_event) <= VEVENTQ_MAX_EVENT, "room for it");

static bool is_stream_of(const struct smmu_unit *u, const struct smmu_vsmmu *v, uint64_t sid)
{
	for (const struct smmu_device *d = u->devices; d; d = d->next)
		if (d->vsmmu == v && d->rid == sid)
			return true;
	return false;
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
	struct veventq_batch batch;
	struct veventq_item item;

	if (!veventq_read(&v->events, &u->vm->iommufd, u->log, &batch))
		return false;
	while (veventq_next(&v->events, &batch, &item)) {
		struct smmu_event event;

		if (item.lost) {
			log_warn(u->log, "smmuv3: the host has lost %u events", item.lost);
			smmu_events_lost(u, item.lost);
		}
		if (!item.event)
			continue;
		memcpy(&event, item.event, sizeof(event));
		take_event(u, v, &event);
	}
	return true;
}

/* As many as the host keeps, and no more: a device may fault faster than we read. */
void smmu_take_events(struct smmu_unit *u)
{
	smmu_faults_take(u);
	for (struct smmu_vsmmu *v = u->vsmmus; v; v = v->next) {
		unsigned int left = veventq_max_reads(&v->events);

		while (v->events.fd >= 0 && left-- && take_some(u, v))
			;
	}
}
