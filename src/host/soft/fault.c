// SPDX-License-Identifier: BSD-3-Clause
/*
 * Fault queues: page requests of devices that wait for user space.
 *
 *	report -- group complete --> deliver -- read() --> responses -- write() --> answered
 *	                                \                      \---- detach -----> INVALID
 *	                                 \---------------------------- detach ---> INVALID
 *
 * A group is every request of one index up to the one marked last, and is read as a
 * whole. Being read it gets a cookie, the lowest number that is free, by which it is
 * answered. An attachment takes its groups with it: nobody answers for a device that
 * has left.
 *
 * Everything here is protected by soft_host.fault_lock, a leaf, because devices report
 * with locks of their own held. Devices are told the answer with no lock of this file held.
 *
 * Source: Linux 7.2 drivers/iommu/iommufd/eventq.c, drivers/iommu/io-pgfault.c and
 * drivers/iommu/intel/prq.c.
 */
#include "host/soft/soft.h"
#include "host/soft/hwpt.h"
#include "host/soft/fault.h"
#include "host/soft/attach.h"
#include "host/soft/vfio/device.h"
#include "host/soft/eventq.h"

#include "base/sorted.h"

#include <errno.h>
#include <string.h>

#define RECORD_BYTES sizeof(struct iommu_hwpt_pgfault)
#define RESPONSE_BYTES sizeof(struct iommu_hwpt_page_response)
#define MAX_PARTIALS 4096 /* of a device that never sends the last of a group */

struct soft_fault_group {
	struct soft_fault_group *next;
	struct soft_device *dev;
	uint32_t pasid; /* of the attachment */
	soft_page_response_fn *done;
	void *opaque;
	size_t count;
	struct iommu_hwpt_pgfault records[];
};

/* A request whose group is not complete. */
struct soft_partial_request {
	struct soft_partial_request *next;
	struct soft_page_request req;
};

struct soft_fault {
	struct soft_eventq queue; /* held by HWPTs too */
	/* by soft_host.fault_lock: */
	struct soft_fault_group *deliver;    /* in the order they came */
	struct soft_fault_group **responses; /* [cookie - 1]: read, but not answered */
	size_t max_responses;
};

static struct soft_fault *to_fault(struct soft_eventq *queue)
{
	return container_of(queue, struct soft_fault, queue);
}

/* --- the queue ---------------------------------------------------------------------------- */

static void update_event(struct soft_fault *fault)
{
	soft_eventq_set_readable(&fault->queue, fault->deliver);
}

static void append_group(struct soft_fault *fault, struct soft_fault_group *group)
{
	struct soft_fault_group **link = &fault->deliver;

	while (*link)
		link = &(*link)->next;
	*link = group;
	update_event(fault);
}

static int give_cookie(struct soft_fault *fault, struct soft_fault_group *group, uint32_t *cookie)
{
	size_t i = 0;

	while (i < fault->max_responses && fault->responses[i])
		i++;
	if (i == fault->max_responses) {
		size_t max = i ? 2 * i : 8;
		struct soft_fault_group **grown =
			alloc_resize(fault->responses, max, sizeof(struct soft_fault_group *));

		if (!grown)
			return -ENOMEM;
		for (size_t n = i; n < max; n++)
			grown[n] = NULL;
		fault->responses = grown;
		fault->max_responses = max;
	}
	fault->responses[i] = group;
	*cookie = (uint32_t)i + 1;
	return 0;
}

static struct soft_fault_group *take_cookie(struct soft_fault *fault, uint32_t cookie)
{
	struct soft_fault_group *group;

	if (!cookie || cookie > fault->max_responses)
		return NULL;
	group = fault->responses[cookie - 1];
	fault->responses[cookie - 1] = NULL;
	return group;
}

static void answer(struct soft_fault_group *group, uint32_t code)
{
	group->done(group->opaque, code);
	free(group);
}

static void answer_all(struct soft_fault_group *list)
{
	while (list) {
		struct soft_fault_group *group = list;

		list = group->next;
		answer(group, IOMMUFD_PAGE_RESP_INVALID);
	}
}

/* Take out every group of the attachment (@dev, @pasid), or all if @dev is NULL. */
static struct soft_fault_group *take_groups(struct soft_fault *fault, const struct soft_device *dev,
					    uint32_t pasid)
{
	struct soft_fault_group *taken = NULL, **end = &taken, **link = &fault->deliver;

	while (*link) {
		struct soft_fault_group *group = *link;

		if (dev && (group->dev != dev || group->pasid != pasid)) {
			link = &group->next;
			continue;
		}
		*link = group->next;
		group->next = NULL;
		*end = group;
		end = &group->next;
	}
	for (size_t i = 0; i < fault->max_responses; i++) {
		struct soft_fault_group *group = fault->responses[i];

		if (!group || (dev && (group->dev != dev || group->pasid != pasid)))
			continue;
		fault->responses[i] = NULL;
		group->next = NULL;
		*end = group;
		end = &group->next;
	}
	update_event(fault);
	return taken;
}

/* --- the descriptor ------------------------------------------------------------------------- */

/* One group to the caller: its size, or -EINVAL if there is no room, -EFAULT, -ENOMEM. */
static ssize_t read_group(struct soft_fault *fault, struct soft_fault_group *group, void *buf,
			  size_t room)
{
	size_t size = group->count * RECORD_BYTES;
	uint32_t cookie;
	int err;

	if (size > room)
		return -EINVAL;
	err = give_cookie(fault, group, &cookie);
	if (err)
		return err;
	for (size_t i = 0; i < group->count; i++)
		group->records[i].cookie = cookie;
	err = soft_copy_to_user(buf, group->records, size);
	if (err) {
		fault->responses[cookie - 1] = NULL;
		return err;
	}
	fault->deliver = group->next;
	group->next = NULL;
	return (ssize_t)size;
}

static ssize_t fault_read(struct soft_host *host, struct soft_eventq *queue, void *buf,
			  size_t count)
{
	struct soft_fault *fault = to_fault(queue);
	ssize_t done = 0, n = 0;

	if (count % RECORD_BYTES)
		return -ESPIPE;
	mutex_lock(&host->fault_lock);
	while (fault->deliver) {
		n = read_group(fault, fault->deliver, soft_user_ptr((uintptr_t)buf + (size_t)done),
			       count - (size_t)done);
		if (n < 0)
			break;
		done += n;
	}
	update_event(fault);
	mutex_unlock(&host->fault_lock);
	return done ? done : n;
}

static int write_response(struct soft_host *host, struct soft_fault *fault, const void *user)
{
	struct iommu_hwpt_page_response response;
	struct soft_fault_group *group;

	if (soft_copy_from_user(&response, user, sizeof(response)))
		return -EFAULT;
	if (response.code != IOMMUFD_PAGE_RESP_SUCCESS &&
	    response.code != IOMMUFD_PAGE_RESP_INVALID)
		return -EINVAL;
	mutex_lock(&host->fault_lock);
	group = take_cookie(fault, response.cookie);
	mutex_unlock(&host->fault_lock);
	if (!group)
		return -EINVAL;
	answer(group, response.code);
	return 0;
}

static ssize_t fault_write(struct soft_host *host, struct soft_eventq *queue, const void *buf,
			   size_t count)
{
	size_t done;
	int err = 0;

	if (count % RESPONSE_BYTES)
		return -ESPIPE;
	for (done = 0; done < count; done += RESPONSE_BYTES) {
		err = write_response(host, to_fault(queue), soft_user_ptr((uintptr_t)buf + done));
		if (err)
			break;
	}
	return done ? (ssize_t)done : err;
}

static const struct soft_eventq_ops fault_ops = {
	.read = fault_read,
	.write = fault_write,
};

/* --- the object ------------------------------------------------------------------------------- */

int soft_fault_alloc_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	struct iommu_fault_alloc *cmd = ucmd->cmd;
	struct soft_fault *fault;
	int err;

	if (cmd->flags)
		return -EOPNOTSUPP;
	fault = soft_object_reserve(ctx, sizeof(*fault), SOFT_FAULT);
	if (!fault)
		return -ENOMEM;
	fault->queue.ops = &fault_ops;
	cmd->out_fault_id = fault->queue.obj.id;
	err = soft_eventq_open(ctx, ucmd, &fault->queue, &cmd->out_fault_fd);
	if (err)
		soft_object_abort(ctx, &fault->queue.obj);
	else
		soft_object_finalize(ctx, &fault->queue.obj);
	return err;
}

/* Nobody holds it: no HWPT leads here, so no device has something waiting. */
void soft_fault_destroy(struct soft_ctx *ctx, struct soft_object *obj)
{
	struct soft_fault *fault = container_of(obj, struct soft_fault, queue.obj);
	struct soft_fault_group *left;

	mutex_lock(&ctx->file.host->fault_lock);
	left = take_groups(fault, NULL, 0);
	mutex_unlock(&ctx->file.host->fault_lock);
	answer_all(left);
	soft_eventq_fini(&fault->queue);
	free(fault->responses);
	free(fault);
}

int soft_hwpt_hold_fault(struct soft_ctx *ctx, struct soft_hwpt *hwpt, uint32_t fault_id)
{
	struct soft_object *obj = soft_object_find(ctx, fault_id, SOFT_FAULT);

	if (!obj)
		return -ENOENT;
	hwpt->fault = container_of(obj, struct soft_fault, queue.obj);
	obj->users++;
	return 0;
}

void soft_hwpt_put_fault(struct soft_hwpt *hwpt)
{
	if (hwpt->fault)
		hwpt->fault->queue.obj.users--;
	hwpt->fault = NULL;
}

/* --- attachments -------------------------------------------------------------------------------
 */

/* That nobody wants the requests of a PASID matters only if the RID's HWPT would get them. */
static bool needs_handler(const struct soft_device *dev, const struct soft_hwpt *hwpt)
{
	return hwpt && (hwpt->fault || dev->host->iommu->ops->user_pasid_table);
}

int soft_fault_prepare(struct soft_device *dev, const struct soft_hwpt *hwpt)
{
	size_t max = dev->max_handlers ? 2 * dev->max_handlers : 4;
	struct soft_fault_handler *grown;
	int err = 0;

	if (!needs_handler(dev, hwpt))
		return 0;
	mutex_lock(&dev->host->fault_lock);
	if (hwpt->fault && !dev->has_pri && dev->host->iommu->ops->faults_need_pri) {
		err = -ENODEV;
	} else if (dev->num_handlers == dev->max_handlers) {
		grown = alloc_resize(dev->handlers, max, sizeof(*grown));
		if (grown) {
			dev->handlers = grown;
			dev->max_handlers = max;
		} else {
			err = -ENOMEM;
		}
	}
	mutex_unlock(&dev->host->fault_lock);
	return err;
}

/* The index of the first handler at or behind @pasid. */
static size_t lower_bound(const struct soft_device *dev, uint32_t pasid)
{
	return LOWER_BOUND(dev->num_handlers, i, dev->handlers[i].pasid < pasid);
}

static struct soft_fault_handler *find_handler(struct soft_device *dev, uint32_t pasid)
{
	size_t i = lower_bound(dev, pasid);

	return i < dev->num_handlers && dev->handlers[i].pasid == pasid ? &dev->handlers[i] : NULL;
}

/* The handler of @pasid becomes *@made, or goes (NULL). There is room. */
static void set_handler(struct soft_device *dev, uint32_t pasid,
			const struct soft_fault_handler *made)
{
	size_t i = lower_bound(dev, pasid);
	bool had = i < dev->num_handlers && dev->handlers[i].pasid == pasid;
	size_t behind = dev->num_handlers - i - had;

	if (had != !!made)
		memmove(&dev->handlers[i + !had], &dev->handlers[i + had],
			behind * sizeof(*dev->handlers));
	dev->num_handlers = i + !!made + behind;
	if (made)
		dev->handlers[i] = *made;
}

void soft_fault_switch(struct soft_bound *bound, uint32_t pasid, const struct soft_hwpt *hwpt)
{
	struct soft_device *dev = bound->dev;
	struct soft_fault_group *left = NULL;
	struct soft_fault_handler *old, made;
	bool needed = needs_handler(dev, hwpt);

	if (needed)
		made = (struct soft_fault_handler){
			.pasid = pasid,
			.dev_id = bound->obj.id,
			.fault = hwpt->fault,
			.is_nested = hwpt->obj.type == SOFT_HWPT_NESTED,
		};
	mutex_lock(&dev->host->fault_lock);
	old = find_handler(dev, pasid);
	if (old && old->fault)
		left = take_groups(old->fault, dev, pasid);
	set_handler(dev, pasid, needed ? &made : NULL);
	mutex_unlock(&dev->host->fault_lock);
	answer_all(left);
}

/* --- what devices report
 * -------------------------------------------------------------------------- */

static struct iommu_hwpt_pgfault make_record(const struct soft_device *dev,
					     const struct soft_page_request *req, uint32_t dev_id)
{
	uint32_t pasid_flags = IOMMU_PGFAULT_FLAGS_PASID_VALID |
			       dev->host->iommu->ops->pasid_fault_flags;
	bool has_pasid = req->pasid != NST_NO_PASID;

	return (struct iommu_hwpt_pgfault){
		.flags = (has_pasid ? pasid_flags : 0) |
			 (req->last ? IOMMU_PGFAULT_FLAGS_LAST_PAGE : 0),
		.dev_id = dev_id,
		.pasid = has_pasid ? req->pasid : 0,
		.grpid = req->group,
		.perm = req->perm,
		.addr = req->addr,
	};
}

static void keep_partial(struct soft_device *dev, const struct soft_page_request *req)
{
	struct soft_partial_request **link = &dev->partials, *partial;
	size_t count = 0;

	for (; *link; link = &(*link)->next)
		count++;
	/* without it the group is shorter: the device will ask again for what it misses */
	partial = count < MAX_PARTIALS ? alloc_object(struct soft_partial_request) : NULL;
	if (!partial)
		return;
	partial->req = *req;
	*link = partial;
}

static size_t count_partials(const struct soft_device *dev, uint32_t group)
{
	size_t count = 0;

	for (const struct soft_partial_request *p = dev->partials; p; p = p->next)
		count += p->req.group == group;
	return count;
}

/* Drop the partial requests of group @index; before, if @group, make them its records. */
static void gather(struct soft_device *dev, uint32_t index, uint32_t dev_id,
		   struct soft_fault_group *group)
{
	struct soft_partial_request **link = &dev->partials;

	while (*link) {
		struct soft_partial_request *partial = *link;

		if (partial->req.group != index) {
			link = &partial->next;
			continue;
		}
		if (group)
			group->records[group->count++] = make_record(dev, &partial->req, dev_id);
		*link = partial->next;
		free(partial);
	}
}

/* Whose queue gets requests with @pasid, or NULL. */
static struct soft_fault_handler *find_listener(struct soft_device *dev, uint32_t pasid)
{
	struct soft_fault_handler *handler = find_handler(dev, pasid);

	if (!handler && dev->host->iommu->ops->user_pasid_table) {
		handler = find_handler(dev, SOFT_RID_PASID);
		if (handler && !handler->is_nested)
			handler = NULL;
	}
	return handler && handler->fault ? handler : NULL;
}

/* The last of a group has come: queue it. False if nobody takes it. */
static bool queue_group(struct soft_device *dev, const struct soft_page_request *req,
			soft_page_response_fn *done, void *opaque)
{
	uint32_t pasid = req->pasid == NST_NO_PASID ? SOFT_RID_PASID : req->pasid;
	struct soft_fault_handler *handler = find_listener(dev, pasid);
	struct soft_fault_group *group = NULL;

	if (handler)
		group = alloc_array(1, sizeof(*group) + (count_partials(dev, req->group) + 1) *
								RECORD_BYTES);
	gather(dev, req->group, handler ? handler->dev_id : 0, group);
	if (!group)
		return false;
	group->records[group->count++] = make_record(dev, req, handler->dev_id);
	group->dev = dev;
	group->pasid = handler->pasid;
	group->done = done;
	group->opaque = opaque;
	append_group(handler->fault, group);
	return true;
}

void soft_report_page_request(struct soft_device *dev, const struct soft_page_request *req,
			      soft_page_response_fn *done, void *opaque)
{
	bool answered_later = true;

	mutex_lock(&dev->host->fault_lock);
	if (req->last)
		answered_later = queue_group(dev, req, done, opaque);
	else
		keep_partial(dev, req);
	mutex_unlock(&dev->host->fault_lock);
	if (!answered_later)
		done(opaque, IOMMUFD_PAGE_RESP_INVALID);
}

void soft_fault_forget_group(struct soft_device *dev, uint32_t group)
{
	mutex_lock(&dev->host->fault_lock);
	gather(dev, group, 0, NULL);
	mutex_unlock(&dev->host->fault_lock);
}

void soft_fault_forget_requests(struct soft_device *dev)
{
	mutex_lock(&dev->host->fault_lock);
	while (dev->partials) {
		struct soft_partial_request *partial = dev->partials;

		dev->partials = partial->next;
		free(partial);
	}
	mutex_unlock(&dev->host->fault_lock);
}
