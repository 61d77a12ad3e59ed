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

/* Not all of a long list is looked at: to invalidate too much does no harm. */
static bool used_by_pasid(const struct attach_domain *domain, uint32_t guest_pasid)
{
	unsigned int left = 16;

	if (guest_pasid == ATTACH_ANY_PASID)
		return true;
	for (const struct attach_point *p = domain->points; p; p = p->next_in_domain)
		if (p->guest_pasid == guest_pasid || !--left)
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
static bool invalidate(struct attach_table *table, struct attach_domain *domain,
		       const struct iommu_hwpt_vtd_s1_invalidate *entries, uint32_t count)
{
	uint32_t first = 0;

	while (first < count) {
		uint32_t done = 0;
		int ret = iommufd_hwpt_invalidate_vtd_s1(&table->vm->iommufd, domain->hwpt_id,
							 &entries[first], count - first, &done);

		table->invalidate_calls++;
		table->invalidate_entries += done;
		table->work += ATTACH_WORK_CALL + done;
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

static bool invalidate_whole(struct attach_table *table, struct attach_domain *domain)
{
	const struct iommu_hwpt_vtd_s1_invalidate all = { .npages = UINT64_MAX };

	return invalidate(table, domain, &all, 1);
}

/* The batch is free again before the host is called: the domain may not outlive that. */
static bool invalidate_batch(struct attach_table *table, struct attach_domain *domain)
{
	struct attach_batch *batch = domain->batch;

	domain->batch = NULL;
	batch->taken = false;
	return invalidate(table, domain, batch->entries, batch->count);
}

static struct attach_batch *take_batch(struct attach_table *table)
{
	for (size_t i = 0; i < ATTACH_BATCHES; i++) {
		struct attach_batch *batch = &table->batches[i];

		if (batch->taken)
			continue;
		batch->taken = true;
		batch->count = 0;
		return batch;
	}
	return NULL;
}

/* Put @domain on the list, if it is not there: with a batch for pages, if there is one. */
static void make_pending(struct attach_table *table, struct attach_domain *domain, bool all)
{
	domain->batch = all || domain->shadow ? NULL : take_batch(table);
	domain->pending = true;
	domain->link_pending = &table->pending;
	domain->next_pending = table->pending;
	if (domain->next_pending)
		domain->next_pending->link_pending = &domain->next_pending;
	table->pending = domain;
}

static void collect(struct attach_table *table, struct attach_domain *domain, uint64_t addr,
		    uint64_t npages, bool leaf)
{
	bool all = npages == UINT64_MAX;

	table->work++;
	if (domain->shadow)
		attach_shadow_announce(domain->shadow, addr, npages);
	/* a shadow without a point is completed by those who wait for it */
	if (!domain->pending && domain->points)
		make_pending(table, domain, all);
	if (!domain->batch) /* everything goes */
		return;
	if (all) { /* covers what was collected before */
		domain->batch->taken = false;
		domain->batch = NULL;
		return;
	}
	if (domain->batch->count == ATTACH_BATCH_MAX) {
		struct attach_batch *batch = domain->batch;

		if (!invalidate(table, domain, batch->entries, batch->count))
			return; /* nothing is cached for what replaces it */
		batch->count = 0;
	}
	domain->batch->entries[domain->batch->count++] = (struct iommu_hwpt_vtd_s1_invalidate){
		.addr = addr,
		.npages = npages,
		.flags = leaf ? IOMMU_VTD_INV_FLAGS_LEAF : 0,
	};
}

/* Other memory, or less, beneath the guest's tables. */
static void look_at_all_shadows(struct attach_table *table)
{
	for (struct attach_domain *d = table->all; d; d = d->next_of_all)
		if (d->shadow)
			collect(table, d, 0, UINT64_MAX, false);
}

bool attach_flush(struct attach_table *table)
{
	/* every completion asks; looking first leaves its cache line shared */
	if (atomic_load(&table->memory_changed) && atomic_exchange(&table->memory_changed, false))
		look_at_all_shadows(table);
	while (table->pending && !attach_work_is_spent(table)) {
		struct attach_domain *domain = table->pending;

		if (domain->shadow && attach_shadow_settle(table, domain) == ATTACH_LATER)
			break;
		table->pending = domain->next_pending;
		if (table->pending)
			table->pending->link_pending = &table->pending;
		domain->pending = false;
		if (domain->batch)
			invalidate_batch(table, domain);
		else if (!domain->shadow)
			invalidate_whole(table, domain);
	}
	return !table->pending;
}

void attach_invalidate(struct attach_table *table, uint32_t domain_id, uint32_t guest_pasid,
		       uint64_t addr, uint64_t npages, bool leaf)
{
	struct attach_domain *next;

	for (struct attach_domain *d = table->buckets[domain_id % ATTACH_DOMAIN_BUCKETS]; d;
	     d = next) {
		next = d->next;
		table->work++;
		if (d->key.domain_id == domain_id && !d->shadow && used_by_pasid(d, guest_pasid))
			collect(table, d, addr, npages, leaf);
	}
}

void attach_invalidate_shadow(struct attach_table *table, uint32_t domain_id, uint64_t addr,
			      uint64_t npages)
{
	struct attach_domain *d = table->buckets[domain_id % ATTACH_DOMAIN_BUCKETS];

	for (; d; d = d->next, table->work++)
		if (d->key.domain_id == domain_id && d->shadow)
			collect(table, d, addr, npages, false);
}

void attach_invalidate_all(struct attach_table *table)
{
	for (struct attach_domain *d = table->all; d; d = d->next_of_all)
		collect(table, d, 0, UINT64_MAX, false);
}
