// SPDX-License-Identifier: BSD-3-Clause
/*
 * vEVENT queues: what the hardware has to tell a guest about its own stage.
 *
 * Every event gets the next number, also one that is lost because the queue is full.
 * Then a header alone stands at the end of the queue, marked lost and with the number of the
 * last event lost; the next event that fits takes it away, and the gap between numbers is
 * what remains of it.
 *
 * A queue is protected by soft_host.fault_lock, because the hardware reports in any thread.
 *
 * Source: Linux 7.2 drivers/iommu/iommufd/{eventq,viommu}.c.
 */
#include "host/soft/soft.h"
#include "host/soft/eventq.h"
#include "host/soft/viommu.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#define MAX_DEPTH (1U << 19)

struct vevent {
	struct vevent *next;
	size_t size; /* of data */
	struct iommufd_vevent_header header;
	uint8_t data[]; /* right behind the header, as it is read */
};

struct soft_veventq {
	struct soft_eventq queue;
	struct soft_viommu *viommu;
	struct soft_veventq *next;
	uint32_t type, depth;
	/* by soft_host.fault_lock: */
	struct vevent *first, **end;
	uint32_t count;
	uint32_t sequence; /* of the next event */
	bool lost;	   /* the header of lost events stands at the end */
	uint32_t lost_sequence;
};

static struct soft_veventq *to_veventq(struct soft_eventq *queue)
{
	return container_of(queue, struct soft_veventq, queue);
}

static void update_event(struct soft_veventq *veventq)
{
	soft_eventq_set_readable(&veventq->queue, veventq->first || veventq->lost);
}

/* --- reading -------------------------------------------------------------------------- */

/* The first event, to the caller: its size, or a negative errno, and then it stays. */
static ssize_t read_event(struct soft_veventq *veventq, void *buf, size_t room)
{
	struct vevent *event = veventq->first;
	size_t size = sizeof(event->header) + event->size;

	if (size > room)
		return -EINVAL;
	if (soft_copy_to_user(buf, &event->header, sizeof(event->header)) ||
	    soft_copy_to_user(soft_user_ptr((uintptr_t)buf + sizeof(event->header)), event->data,
			      event->size))
		return -EFAULT;
	veventq->first = event->next;
	if (!veventq->first)
		veventq->end = &veventq->first;
	veventq->count--;
	free(event);
	return (ssize_t)size;
}

static ssize_t read_lost(struct soft_veventq *veventq, void *buf, size_t room)
{
	struct iommufd_vevent_header header = { .flags = IOMMU_VEVENTQ_FLAG_LOST_EVENTS,
						.sequence = veventq->lost_sequence };

	if (sizeof(header) > room)
		return -EINVAL;
	if (soft_copy_to_user(buf, &header, sizeof(header)))
		return -EFAULT;
	veventq->lost = false;
	return sizeof(header);
}

static ssize_t veventq_read(struct soft_host *host, struct soft_eventq *queue, void *buf,
			    size_t count)
{
	struct soft_veventq *veventq = to_veventq(queue);
	ssize_t done = 0, n = 0;

	if (count < sizeof(struct iommufd_vevent_header))
		return -EINVAL;
	mutex_lock(&host->fault_lock);
	while (veventq->first || veventq->lost) {
		void *to = soft_user_ptr((uintptr_t)buf + (size_t)done);
		size_t room = count - (size_t)done;

		n = veventq->first ? read_event(veventq, to, room) : read_lost(veventq, to, room);
		if (n < 0)
			break;
		done += n;
	}
	update_event(veventq);
	mutex_unlock(&host->fault_lock);
	return done ? done : n;
}

static const struct soft_eventq_ops veventq_ops = {
	.read = veventq_read,
};

/* --- reporting ------------------------------------------------------------------------ */

static struct soft_veventq *find_veventq(struct soft_viommu *viommu, uint32_t type)
{
	struct soft_veventq *v = viommu->veventqs;

	while (v && v->type != type)
		v = v->next;
	return v;
}

int soft_viommu_report_event(struct soft_viommu *viommu, uint32_t type, const void *data,
			     size_t size)
{
	struct soft_veventq *veventq = find_veventq(viommu, type);
	struct vevent *event = NULL;
	uint32_t sequence;

	if (!veventq)
		return -EOPNOTSUPP;
	sequence = veventq->sequence;
	veventq->sequence = (sequence + 1) & INT_MAX;
	if (veventq->count < veventq->depth)
		event = alloc_array(1, sizeof(*event) + size);
	veventq->lost = !event;
	if (event) {
		event->header.sequence = sequence;
		event->size = size;
		memcpy(event->data, data, size);
		*veventq->end = event;
		veventq->end = &event->next;
		veventq->count++;
	} else {
		veventq->lost_sequence = sequence;
	}
	update_event(veventq);
	return 0;
}

/* --- the object ----------------------------------------------------------------------- */

int soft_veventq_alloc_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	struct iommu_veventq_alloc *cmd = ucmd->cmd;
	struct soft_veventq *veventq;
	struct soft_viommu *viommu;
	struct soft_object *obj;
	int err;

	if (cmd->flags || cmd->__reserved || cmd->type == IOMMU_VEVENTQ_TYPE_DEFAULT)
		return -EOPNOTSUPP;
	if (!cmd->veventq_depth || cmd->veventq_depth > MAX_DEPTH)
		return -EINVAL;
	obj = soft_object_find(ctx, cmd->viommu_id, SOFT_VIOMMU);
	if (!obj)
		return -ENOENT;
	viommu = container_of(obj, struct soft_viommu, obj);
	if (find_veventq(viommu, cmd->type))
		return -EEXIST;
	veventq = soft_object_reserve(ctx, sizeof(*veventq), SOFT_VEVENTQ);
	if (!veventq)
		return -ENOMEM;
	veventq->queue.ops = &veventq_ops;
	veventq->viommu = viommu;
	veventq->type = cmd->type;
	veventq->depth = cmd->veventq_depth;
	veventq->end = &veventq->first;
	cmd->out_veventq_id = veventq->queue.obj.id;
	err = soft_eventq_open(ctx, ucmd, &veventq->queue, &cmd->out_veventq_fd);
	if (err) {
		soft_object_abort(ctx, &veventq->queue.obj);
		return err;
	}
	viommu->obj.users++;
	mutex_lock(&ctx->file.host->fault_lock);
	veventq->next = viommu->veventqs;
	viommu->veventqs = veventq;
	mutex_unlock(&ctx->file.host->fault_lock);
	soft_object_finalize(ctx, &veventq->queue.obj);
	return 0;
}

void soft_veventq_destroy(struct soft_ctx *ctx, struct soft_object *obj)
{
	struct soft_veventq *veventq = container_of(obj, struct soft_veventq, queue.obj);
	struct soft_veventq **link = &veventq->viommu->veventqs;
	struct vevent *event;

	mutex_lock(&ctx->file.host->fault_lock);
	while (*link != veventq)
		link = &(*link)->next;
	*link = veventq->next;
	mutex_unlock(&ctx->file.host->fault_lock);
	veventq->viommu->obj.users--;
	while ((event = veventq->first)) {
		veventq->first = event->next;
		free(event);
	}
	soft_eventq_fini(&veventq->queue);
	free(veventq);
}
