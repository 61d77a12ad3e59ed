// SPDX-License-Identifier: BSD-3-Clause
/*
 * See attach.h: invalidations collected per domain, carried out in one call each.
 *
 * Invalidations are idempotent and commute, so each domain has a batch of its own and
 * the order between domains does not matter; what matters is that all are done before
 * the guest sees a completion.
 */
#include "viommu/attach.h"

#include "base/bits.h"
#include "base/log.h"

#include <string.h>

static bool used_by_pasid(const struct attach_domain *domain, uint32_t guest_pasid)
{
	if (guest_pasid == ATTACH_ANY_PASID)
		return true;
	for (const struct attach_point *p = domain->points; p; p = p->next_in_domain)
		if (p->guest_pasid == guest_pasid)
			return true;
	return false;
}

/*
 * The host could not invalidate: what it has cached may be stale. A new HWPT has nothing
 * cached, so its users move to one; who cannot is blocked.
 */
static void replace_domain(struct attach_table *table, struct attach_domain *domain)
{
	struct attachment desired = domain->key;
	struct attach_point *point, *next;

	domain->broken = true;
	for (point = domain->points; point; point = next) {
		next = point->next_in_domain; /* the last one takes the domain with it */
		if (attach_reconcile(table, point, &desired)) {
			log_error(table->log, "a device is blocked: the host cannot invalidate");
			table->lost = true;
		}
	}
}

/* Returns false if the domain had to be replaced: it is gone then. */
static bool flush_domain(struct attach_table *table, struct attach_domain *domain)
{
	uint32_t first = 0, count = domain->batch_count;

	domain->batch_count = 0;
	domain->pending_all = false;
	while (first < count) {
		uint32_t done = 0;
		int ret = iommufd_hwpt_invalidate_vtd_s1(&table->vm->iommufd, domain->hwpt_id,
							 &domain->batch[first], count - first,
							 &done);

		table->invalidate_calls++;
		table->invalidate_entries += done;
		first += done;
		if (done) /* all of them, or up to one that failed: begin with that */
			continue;
		log_error(table->log, "the host refuses an invalidation of HWPT %u: %s",
			  domain->hwpt_id, strerror(-ret));
		replace_domain(table, domain);
		return false;
	}
	return true;
}

void attach_flush(struct attach_table *table)
{
	while (table->pending) {
		struct attach_domain *domain = table->pending;

		table->pending = domain->next_pending;
		domain->pending = false;
		flush_domain(table, domain);
	}
}

static void collect(struct attach_table *table, struct attach_domain *domain, uint64_t addr,
		    uint64_t npages, bool leaf)
{
	bool all = npages == UINT64_MAX;

	if (domain->pending_all)
		return;
	if (all) /* covers what was collected before */
		domain->batch_count = 0;
	else if (domain->batch_count == ATTACH_BATCH_MAX && !flush_domain(table, domain))
		return; /* nothing is cached for what replaces it */
	domain->batch[domain->batch_count++] = (struct iommu_hwpt_vtd_s1_invalidate){
		.addr = all ? 0 : addr,
		.npages = npages,
		.flags = leaf ? IOMMU_VTD_INV_FLAGS_LEAF : 0,
	};
	domain->pending_all = all;
	if (!domain->pending) {
		domain->pending = true;
		domain->next_pending = table->pending;
		table->pending = domain;
	}
}

void attach_invalidate(struct attach_table *table, uint32_t domain_id, uint32_t guest_pasid,
		       uint64_t addr, uint64_t npages, bool leaf)
{
	struct attach_domain *next;

	for (struct attach_domain *d = table->buckets[domain_id % ATTACH_DOMAIN_BUCKETS]; d;
	     d = next) {
		next = d->next;
		if (d->key.domain_id == domain_id && used_by_pasid(d, guest_pasid))
			collect(table, d, addr, npages, leaf);
	}
}

void attach_invalidate_all(struct attach_table *table)
{
	for (size_t i = 0; i < ATTACH_DOMAIN_BUCKETS; i++)
		for (struct attach_domain *d = table->buckets[i]; d; d = d->next)
			collect(table, d, 0, UINT64_MAX, false);
}
