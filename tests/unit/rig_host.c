// SPDX-License-Identifier: BSD-3-Clause
/* See rig_host.h. */
#include "unit/rig_host.h"

static struct rig_host *to_rig_host(struct nst_host *host)
{
	return container_of(host, struct rig_host, base);
}

static void count_call(struct rig_host *h, unsigned long request)
{
	h->total++;
	for (int i = 0; i < RIG_MAX_REQUESTS; i++) {
		if (h->calls[i].count && h->calls[i].request != request)
			continue;
		h->calls[i].request = request;
		h->calls[i].count++;
		return;
	}
}

static int planned_failure(struct rig_host *h, unsigned long request)
{
	if (!h->fail_nth || (h->fail_request && h->fail_request != request))
		return 0;
	if (--h->fail_nth)
		return 0;
	if (h->fail_all)
		h->fail_nth = 1;
	h->failed_request = request;
	h->failed_destroys += request == IOMMU_DESTROY;
	return -h->fail_errno;
}

/* What a unit needs to hear of faults: 0 if the request makes no such object. */
static uint32_t reporting_object(unsigned long request, const void *arg)
{
	switch (request) {
	case IOMMU_VIOMMU_ALLOC:
		return ((const struct iommu_viommu_alloc *)arg)->out_viommu_id;
	case IOMMU_VDEVICE_ALLOC:
		return ((const struct iommu_vdevice_alloc *)arg)->out_vdevice_id;
	case IOMMU_VEVENTQ_ALLOC:
		return ((const struct iommu_veventq_alloc *)arg)->out_veventq_id;
	default:
		return 0;
	}
}

static void count_objects(struct rig_host *h, unsigned long request, const void *arg)
{
	uint32_t made = reporting_object(request, arg);

	mutex_lock(&h->lock);
	if (made) {
		h->is_reporting[made % RIG_MAX_IDS] = true;
		h->live_reporting++;
	}
	if (request == IOMMU_IOAS_ALLOC || request == IOMMU_HWPT_ALLOC ||
	    request == IOMMU_FAULT_QUEUE_ALLOC) {
		h->live_objects++;
	} else if (request == IOMMU_DESTROY) {
		uint32_t id = ((const struct iommu_destroy *)arg)->id;
		bool reporting = h->is_reporting[id % RIG_MAX_IDS];

		h->is_reporting[id % RIG_MAX_IDS] = false;
		h->live_objects -= !reporting;
		h->live_reporting -= reporting;
	}
	if (request == IOMMU_FAULT_QUEUE_ALLOC || request == IOMMU_VEVENTQ_ALLOC)
		h->open_fds++;
	mutex_unlock(&h->lock);
}

static int host_ioctl(struct nst_host *host, int fd, unsigned long request, void *arg)
{
	struct rig_host *h = to_rig_host(host);
	int ret;

	mutex_lock(&h->lock);
	count_call(h, request);
	ret = planned_failure(h, request);
	mutex_unlock(&h->lock);
	if (ret)
		return ret;
	if (h->hook)
		ret = h->hook(h->rig, request, arg);
	if (ret)
		return ret < 0 ? ret : 0;
	ret = h->inner->ops->ioctl(h->inner, fd, request, arg);
	if (!ret)
		count_objects(h, request, arg);
	return ret;
}

static int host_open(struct nst_host *host, const char *path, int flags)
{
	struct rig_host *h = to_rig_host(host);
	int ret;

	mutex_lock(&h->lock);
	count_call(h, 0);
	ret = planned_failure(h, 0);
	mutex_unlock(&h->lock);
	if (!ret)
		ret = h->inner->ops->open(h->inner, path, flags);
	if (ret >= 0)
		h->open_fds++;
	return ret;
}

static int host_close(struct nst_host *host, int fd)
{
	struct rig_host *h = to_rig_host(host);

	h->open_fds--;
	return h->inner->ops->close(h->inner, fd);
}

static ssize_t host_read(struct nst_host *host, int fd, void *buf, size_t count)
{
	struct rig_host *h = to_rig_host(host);

	if (h->read_hook)
		return h->read_hook(h->rig, buf, count);
	return h->inner->ops->read(h->inner, fd, buf, count);
}

static ssize_t host_write(struct nst_host *host, int fd, const void *buf, size_t count)
{
	struct nst_host *inner = to_rig_host(host)->inner;

	return inner->ops->write(inner, fd, buf, count);
}

static ssize_t host_pread(struct nst_host *host, int fd, void *buf, size_t count, off_t offset)
{
	struct nst_host *inner = to_rig_host(host)->inner;

	return inner->ops->pread(inner, fd, buf, count, offset);
}

static ssize_t host_pwrite(struct nst_host *host, int fd, const void *buf, size_t count,
			   off_t offset)
{
	struct nst_host *inner = to_rig_host(host)->inner;

	return inner->ops->pwrite(inner, fd, buf, count, offset);
}

static const struct nst_host_ops host_ops = {
	.open = host_open,
	.close = host_close,
	.ioctl = host_ioctl,
	.read = host_read,
	.write = host_write,
	.pread = host_pread,
	.pwrite = host_pwrite,
};

void rig_host_init(struct rig_host *h, struct rig *rig, const struct nst_soft_config *soft)
{
	h->base.ops = &host_ops;
	h->rig = rig;
	mutex_init(&h->lock);
	ok(nst_host_soft_create(soft, &h->inner));
}

void rig_host_fini(struct rig_host *h)
{
	nst_host_destroy(h->inner);
	mutex_fini(&h->lock);
}

unsigned int rig_calls(struct rig_host *h, unsigned long request)
{
	unsigned int count = 0;

	mutex_lock(&h->lock);
	for (int i = 0; i < RIG_MAX_REQUESTS; i++)
		if (h->calls[i].request == request)
			count = MAX(count, h->calls[i].count);
	mutex_unlock(&h->lock);
	return count;
}

static void plan(struct rig_host *h, unsigned long request, unsigned int nth, int errnum, bool all)
{
	mutex_lock(&h->lock);
	h->fail_request = request;
	h->fail_nth = nth;
	h->fail_errno = errnum;
	h->fail_all = all;
	mutex_unlock(&h->lock);
}

void rig_fail(struct rig_host *h, unsigned long request, unsigned int nth, int errnum)
{
	plan(h, request, nth, errnum, false);
}

void rig_fail_from_now_on(struct rig_host *h, unsigned long request, int errnum)
{
	plan(h, request, 1, errnum, true);
}

void rig_fail_stop(struct rig_host *h)
{
	plan(h, 0, 0, 0, false);
}
