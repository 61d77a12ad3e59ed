/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host's queue of events about the devices of one vIOMMU (IOMMU_VEVENTQ_ALLOC), as units read it.
 *
 * Each event has a header with its number. A gap in the numbers, or a header that says so and has
 * no event, means that the host has lost some: what that is to the guest is the unit's to say.
 */
#ifndef VIOMMU_VEVENTQ_H
#define VIOMMU_VEVENTQ_H

#include "iommufd/iommufd.h"
#include "viommu/wakeup.h"

#include <nestor/log.h>

/* The largest event of any kind of queue, without its header; and how many one read takes. */
enum { VEVENTQ_MAX_EVENT = 32, VEVENTQ_EVENTS_PER_READ = 64 };

struct veventq {
	int fd;
	uint32_t id;
	uint32_t depth;
	uint32_t event_bytes;	/* without the header */
	uint32_t next_sequence; /* of the next event, as long as none is lost */
};

/*
 * @type, @depth: as for the ioctl. Errors: the host's, those of epoll_ctl(2). A host that has no
 * such queues says -EOPNOTSUPP or -ENOTTY.
 */
NST_MUST_CHECK int veventq_open(const struct iommufd *iommufd, const struct wakeup *wakeup,
				uint32_t viommu_id, uint32_t type, uint32_t depth,
				uint32_t event_bytes, struct veventq *q);
/* Returns the host's error if the object stays. */
NST_MUST_CHECK int veventq_close(const struct iommufd *iommufd, const struct wakeup *wakeup,
				 struct veventq *q);

/* What one read gave. */
struct veventq_batch {
	size_t at, size;
	uint8_t bytes[VEVENTQ_EVENTS_PER_READ *
		      (sizeof(struct iommufd_vevent_header) + VEVENTQ_MAX_EVENT)];
};

struct veventq_item {
	uint32_t lost;	   /* as many before it */
	const void *event; /* unaligned, as long as its batch; NULL: nothing but what is lost */
};

/* Read what is there. False: nothing is, or a log line says why it cannot be read. */
bool veventq_read(const struct veventq *q, const struct iommufd *iommufd, const struct nst_log *log,
		  struct veventq_batch *batch);
/* The next of @batch; false at its end. */
bool veventq_next(struct veventq *q, struct veventq_batch *batch, struct veventq_item *item);

/* Reads after which all that was there before has been seen: a device may go on faulting. */
static inline unsigned int veventq_max_reads(const struct veventq *q)
{
	return q->depth / VEVENTQ_EVENTS_PER_READ + 1;
}

#endif
