// SPDX-License-Identifier: BSD-3-Clause
/* See veventq.h. */
#include "viommu/veventq.h"

#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

int veventq_open(const struct iommufd *iommufd, const struct wakeup *wakeup, uint32_t viommu_id,
		 uint32_t type, uint32_t depth, uint32_t event_bytes, struct veventq *q)
{
	struct veventq made = { .depth = depth, .event_bytes = event_bytes };
	int ret = iommufd_veventq_alloc(iommufd, viommu_id, type, depth, &made.id, &made.fd);

	if (ret)
		return ret;
	ret = wakeup_watch(wakeup, made.fd);
	if (ret) {
		iommufd->host->ops->close(iommufd->host, made.fd);
		iommufd_destroy(iommufd, made.id);
		return ret;
	}
	*q = made;
	return 0;
}

int veventq_close(const struct iommufd *iommufd, const struct wakeup *wakeup, struct veventq *q)
{
	wakeup_unwatch(wakeup, q->fd);
	iommufd->host->ops->close(iommufd->host, q->fd);
	q->fd = -1;
	return iommufd_destroy(iommufd, q->id);
}

bool veventq_read(const struct veventq *q, const struct iommufd *iommufd, const struct nst_log *log,
		  struct veventq_batch *batch)
{
	struct nst_host *host = iommufd->host;
	size_t room =
		VEVENTQ_EVENTS_PER_READ * (sizeof(struct iommufd_vevent_header) + q->event_bytes);
	ssize_t n = host->ops->read(host, q->fd, batch->bytes, room);

	batch->at = 0;
	batch->size = n > 0 ? (size_t)n : 0;
	if (n < 0 && n != -EAGAIN)
		log_error(log, "the host's events cannot be read: %s", strerror((int)-n));
	return n > 0;
}

bool veventq_next(struct veventq *q, struct veventq_batch *batch, struct veventq_item *item)
{
	struct iommufd_vevent_header header;
	size_t left = batch->size - batch->at, bytes = sizeof(header);
	bool lost;

	if (left < sizeof(header))
		return false;
	memcpy(&header, &batch->bytes[batch->at], sizeof(header));
	lost = header.flags & IOMMU_VEVENTQ_FLAG_LOST_EVENTS;
	if (!lost)
		bytes += q->event_bytes;
	if (left < bytes)
		return false;
	/* a header alone has the number of the last that was lost; INT_MAX is followed by 0 */
	item->lost = (header.sequence + lost - q->next_sequence) & INT_MAX;
	item->event = lost ? NULL : &batch->bytes[batch->at + sizeof(header)];
	q->next_sequence = (header.sequence + 1) & INT_MAX;
	batch->at += bytes;
	return true;
}
