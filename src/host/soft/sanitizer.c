// SPDX-License-Identifier: BSD-3-Clause
/* See sanitizer.h. Ages are in events: the last one is 1 event ago. */
#include "host/soft/sanitizer.h"

#include "base/alloc.h"
#include "base/bits.h"
#include "base/lock.h"
#include "base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

enum { RING_EVENTS = 256, EVENTS_LISTED = 4 };

enum event_kind { ATTACHMENT, INVALIDATION, UNMAP, NUM_KINDS };

struct event {
	uint64_t number; /* from 1, over all kinds */
	union {
		struct {
			nst_rid rid;
			uint32_t pasid;
			struct sanitizer_object hwpt; /* none: detached */
		} attachment;
		struct sanitizer_invalidation invalidation;
		struct {
			struct sanitizer_object ioas;
			uint64_t start, last;
		} unmap;
	};
};

struct ring {
	struct event events[RING_EVENTS];
	uint64_t count; /* ever */
};

struct sanitizer {
	const struct nst_log *log;
	struct ring *history; /* [NUM_KINDS]; NULL: not in check mode */
	/* protects the rings and num_events, and keeps the lines of one report together */
	struct mutex lock;
	uint64_t num_events GUARDED_BY(lock);
	_Atomic uint64_t serials, faults, stale_hits, after_unmap, while_blocked;
};

int sanitizer_create(const struct nst_soft_config *config, struct sanitizer **out)
{
	struct sanitizer *s = alloc_object(struct sanitizer);

	if (!s)
		return -ENOMEM;
	if (config->check) {
		s->history = alloc_array(NUM_KINDS, sizeof(*s->history));
		if (!s->history) {
			free(s);
			return -ENOMEM;
		}
	}
	s->log = config->log;
	mutex_init(&s->lock);
	*out = s;
	return 0;
}

void sanitizer_destroy(struct sanitizer *s)
{
	if (!s)
		return;
	mutex_fini(&s->lock);
	free(s->history);
	free(s);
}

uint64_t sanitizer_new_serial(struct sanitizer *s)
{
	return atomic_fetch_add(&s->serials, 1) + 1;
}

static bool is_same(struct sanitizer_object a, struct sanitizer_object b)
{
	return a.serial && a.serial == b.serial;
}

/* --- the history ------------------------------------------------------------------------ */

static void record(struct sanitizer *s, enum event_kind kind, struct event event)
{
	struct ring *ring;

	if (!s->history)
		return;
	mutex_lock(&s->lock);
	ring = &s->history[kind];
	event.number = ++s->num_events;
	ring->events[ring->count++ % RING_EVENTS] = event;
	mutex_unlock(&s->lock);
}

void sanitizer_attached(struct sanitizer *s, nst_rid rid, uint32_t pasid,
			const struct sanitizer_domain *domain)
{
	record(s, ATTACHMENT,
	       (struct event){
		       .attachment = {
			       .rid = rid,
			       .pasid = pasid,
			       .hwpt = domain ? domain->hwpt : (struct sanitizer_object){ 0 },
		       } });
}

void sanitizer_invalidated(struct sanitizer *s, const struct sanitizer_invalidation *inv)
{
	record(s, INVALIDATION, (struct event){ .invalidation = *inv });
}

void sanitizer_unmapped(struct sanitizer *s, struct sanitizer_object ioas, uint64_t start,
			uint64_t last)
{
	record(s, UNMAP, (struct event){ .unmap = { .ioas = ioas, .start = start, .last = last } });
}

/* The @nth event of @kind, 0 being the last; NULL if it is forgotten or never was. */
static const struct event *nth_last(const struct sanitizer *s, enum event_kind kind, uint64_t nth)
	REQUIRES(s->lock)
{
	const struct ring *ring = &s->history[kind];

	if (nth >= ring->count || nth >= RING_EVENTS)
		return NULL;
	return &ring->events[(ring->count - 1 - nth) % RING_EVENTS];
}

struct age {
	char text[40];
};

static struct age age_of(const struct sanitizer *s, const struct event *e) REQUIRES(s->lock)
{
	uint64_t n = s->num_events - e->number + 1;
	struct age age;

	snprintf(age.text, sizeof(age.text), "%llu event%s ago", (unsigned long long)n,
		 n == 1 ? "" : "s");
	return age;
}

/* The last attachment of the requester; with @to, the last one that was to something. */
static const struct event *find_attachment(const struct sanitizer *s,
					   const struct dma_request_id *id, bool to)
	REQUIRES(s->lock)
{
	const struct event *e;

	for (uint64_t n = 0; (e = nth_last(s, ATTACHMENT, n)); n++)
		if (e->attachment.rid == id->rid && e->attachment.pasid == id->pasid &&
		    (!to || e->attachment.hwpt.serial))
			return e;
	return NULL;
}

static const struct event *find_unmap(const struct sanitizer *s, struct sanitizer_object ioas,
				      uint64_t addr) REQUIRES(s->lock)
{
	const struct event *e;

	for (uint64_t n = 0; (e = nth_last(s, UNMAP, n)); n++)
		if (is_same(e->unmap.ioas, ioas) && addr >= e->unmap.start && addr <= e->unmap.last)
			return e;
	return NULL;
}

/* --- refused requests ------------------------------------------------------------------- */

static void report_blocked(struct sanitizer *s, const struct dma_request_id *id,
			   unsigned int reason)
{
	uint64_t nth = atomic_fetch_add(&s->while_blocked, 1) + 1;
	const struct event *left, *was;

	if (!dma_report_is_due(nth))
		return;
	mutex_lock(&s->lock);
	left = find_attachment(s, id, false);
	was = find_attachment(s, id, true);
	log_warn(s->log, "check: DMA while blocked (%llu): %s: attached to nothing (reason 0x%x)",
		 (unsigned long long)nth, dma_report_request(id).text, reason);
	if (left && was)
		log_warn(s->log, "check:   was attached to HWPT %u %s, detached %s",
			 was->attachment.hwpt.id, age_of(s, was).text, age_of(s, left).text);
	else if (left)
		log_warn(s->log, "check:   detached %s", age_of(s, left).text);
	else if (s->history[ATTACHMENT].count > RING_EVENTS)
		log_warn(s->log, "check:   none of the last %u attachments was of this device",
			 RING_EVENTS);
	else
		log_warn(s->log, "check:   it has never been attached");
	mutex_unlock(&s->lock);
}

/* Returns false if nothing is known of an unmap. */
static bool report_after_unmap(struct sanitizer *s, const struct dma_request_id *id,
			       const struct sanitizer_fault *fault)
{
	const struct event *unmap;
	uint64_t nth;

	mutex_lock(&s->lock);
	unmap = find_unmap(s, fault->domain.ioas, fault->ioas_addr);
	if (unmap) {
		nth = atomic_fetch_add(&s->after_unmap, 1) + 1;
		if (dma_report_is_due(nth)) {
			log_warn(
				s->log,
				"check: DMA after unmap (%llu): %s: 0x%llx of IOAS %u is not mapped any more (reason 0x%x)",
				(unsigned long long)nth, dma_report_request(id).text,
				(unsigned long long)fault->ioas_addr, fault->domain.ioas.id,
				fault->reason);
			log_warn(s->log, "check:   0x%llx-0x%llx was unmapped %s",
				 (unsigned long long)unmap->unmap.start,
				 (unsigned long long)unmap->unmap.last, age_of(s, unmap).text);
		}
	}
	mutex_unlock(&s->lock);
	return unmap;
}

static void report_attachment(struct sanitizer *s, const struct dma_request_id *id,
			      const struct sanitizer_domain *domain) REQUIRES(s->lock)
{
	const struct event *e = find_attachment(s, id, true);

	if (e && is_same(e->attachment.hwpt, domain->hwpt))
		log_warn(s->log, "check:   attached to HWPT %u %s", domain->hwpt.id,
			 age_of(s, e).text);
	else
		log_warn(s->log, "check:   attached to HWPT %u", domain->hwpt.id);
}

void sanitizer_report_fault(struct sanitizer *s, const struct dma_request_id *id,
			    const struct sanitizer_fault *fault)
{
	uint64_t nth = atomic_fetch_add(&s->faults, 1) + 1;

	if (s->history && !fault->attached) {
		report_blocked(s, id, fault->reason);
		return;
	}
	if (s->history && fault->unmapped && report_after_unmap(s, id, fault))
		return;
	mutex_lock(&s->lock);
	dma_report_fault(s->log, nth, id, fault->reason);
	if (s->history && dma_report_is_due(nth))
		report_attachment(s, id, &fault->domain);
	mutex_unlock(&s->lock);
}

/* --- stale uses ------------------------------------------------------------------------- */

static bool touches(const struct sanitizer_invalidation *inv, const struct sanitizer_domain *domain)
{
	return is_same(inv->of, domain->hwpt) || is_same(inv->of, domain->viommu);
}

static bool covers(const struct sanitizer_invalidation *inv, const struct sanitizer_domain *domain,
		   uint64_t iova)
{
	return (inv->asid == SANITIZER_ANY_ASID || inv->asid == domain->asid) &&
	       iova >= inv->start && iova <= inv->last;
}

static void list_one(struct sanitizer *s, const struct event *e) REQUIRES(s->lock)
{
	const struct sanitizer_invalidation *inv = &e->invalidation;
	char asid[24] = "";

	if (inv->asid != SANITIZER_ANY_ASID)
		snprintf(asid, sizeof(asid), " ASID %u", inv->asid);
	if (inv->start == 0 && inv->last == UINT64_MAX)
		log_warn(s->log, "check:     %s:%s everything", age_of(s, e).text, asid);
	else
		log_warn(s->log, "check:     %s:%s 0x%llx-0x%llx%s", age_of(s, e).text, asid,
			 (unsigned long long)inv->start, (unsigned long long)inv->last,
			 inv->leaf ? ", leaves only" : "");
}

/* The last invalidations of the domain, newest first. */
static void list_invalidations(struct sanitizer *s, const struct sanitizer_domain *domain)
	REQUIRES(s->lock)
{
	const struct event *e;
	unsigned int listed = 0;

	for (uint64_t n = 0; listed < EVENTS_LISTED && (e = nth_last(s, INVALIDATION, n)); n++) {
		if (!touches(&e->invalidation, domain))
			continue;
		list_one(s, e);
		listed++;
	}
	if (!listed)
		log_warn(s->log, "check:     none");
}

/* Which invalidation there should have been, judging by those there were. */
static void report_missing(struct sanitizer *s, const struct sanitizer_domain *domain,
			   enum sanitizer_cache cache, uint64_t iova) REQUIRES(s->lock)
{
	bool by_viommu = domain->viommu.serial;
	struct sanitizer_object of = by_viommu ? domain->viommu : domain->hwpt;
	const char *kind = by_viommu ? "vIOMMU" : "HWPT";
	const struct event *e, *covering = NULL;
	bool leaf = false;

	for (uint64_t n = 0; !covering && (e = nth_last(s, INVALIDATION, n)); n++)
		if (touches(&e->invalidation, domain) && covers(&e->invalidation, domain, iova))
			covering = e;
	if (covering)
		leaf = cache == SANITIZER_PAGING_STRUCTURE && covering->invalidation.leaf;
	if (!covering)
		log_warn(s->log,
			 "check:   no invalidation of %s %u covers 0x%llx; the last were:", kind,
			 of.id, (unsigned long long)iova);
	else
		log_warn(
			s->log,
			"check:   the last invalidation of %s %u that covers 0x%llx, %s, %s; the last were:",
			kind, of.id, (unsigned long long)iova, age_of(s, covering).text,
			leaf ? "was for leaves only, so that paging structures stayed"
			     : "came before the tables changed");
	list_invalidations(s, domain);
}

void sanitizer_report_stale(struct sanitizer *s, const struct dma_request_id *id,
			    const struct sanitizer_domain *domain, enum sanitizer_cache cache,
			    struct dma_outcome cached, struct dma_outcome now)
{
	static const char *const names[] = {
		[SANITIZER_IOTLB] = "IOTLB entry",
		[SANITIZER_PAGING_STRUCTURE] = "paging structure",
		[SANITIZER_DEVICE_TLB] = "device TLB entry",
		[SANITIZER_CONTEXT] = "context descriptor",
	};
	uint64_t nth = atomic_fetch_add(&s->stale_hits, 1) + 1;

	mutex_lock(&s->lock);
	dma_report_stale(s->log, nth, id, names[cache], cached, now);
	if (s->history && dma_report_is_due(nth)) {
		report_missing(s, domain, cache, id->iova);
		report_attachment(s, id, domain);
	}
	mutex_unlock(&s->lock);
}

void sanitizer_get_stats(const struct sanitizer *s, struct nst_soft_stats *stats)
{
	stats->faults += atomic_load(&s->faults);
	stats->stale_hits += atomic_load(&s->stale_hits);
	stats->dma_after_unmap += atomic_load(&s->after_unmap);
	stats->dma_while_blocked += atomic_load(&s->while_blocked);
}
