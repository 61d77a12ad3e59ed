// SPDX-License-Identifier: BSD-3-Clause
/*
 * See attach.h: SHADOW domains. What the guest announced of its table is kept as a few
 * ranges, and each is walked block by block, from the unit's walk to passthrough/shadow.h.
 * Too many ranges become one, the whole table; a walk stops when the work of the run is
 * spent, and goes on where it was.
 *
 * A domain is complete before the first point is attached to it, so that no device sees
 * half a table; till then points wait for it and stay on what they had. One that a host
 * call failed for, or of which a mapping would have to go in part, is broken: its points
 * are reconciled again, to a new domain or to nothing.
 */
#include "viommu/attach.h"

#include "base/alloc.h"
#include "base/log.h"
#include "passthrough/shadow.h"

#include <errno.h>
#include <string.h>

/* Entries that are worth one of the table's units of work: they are read in a row. */
enum { ENTRIES_PER_WORK = 16, MAX_RANGES = 8 };

struct attach_shadow {
	struct vm_shadow *ioas;
	bool fine;  /* a mapping for each leaf: none can be split */
	bool split; /* broken because one had to be */
	unsigned int num_ranges;
	struct {
		uint64_t next, last;
	} ranges[MAX_RANGES]; /* to be walked */
	struct shadow_block block;
};

static void announce_all(struct attach_shadow *shadow)
{
	shadow->num_ranges = 1;
	shadow->ranges[0].next = 0;
	shadow->ranges[0].last = UINT64_MAX;
}

/* Called from the VM with its lock held, by any thread. */
static void memory_changed(void *opaque)
{
	struct attach_table *table = opaque;

	atomic_store(&table->memory_changed, true);
	table->shadow_ops.work_to_do(table->shadow_ops.opaque);
}

int attach_shadow_create(struct attach_table *table, struct nst_device *dev,
			 const struct attach_domain *instead_of, struct attach_shadow **out,
			 uint32_t *hwpt_id)
{
	struct attach_shadow *shadow = alloc_object(struct attach_shadow);
	int ret;

	if (!shadow)
		return -ENOMEM;
	ret = vm_shadow_create(dev, memory_changed, table, &shadow->ioas);
	if (ret) {
		free(shadow);
		return ret;
	}
	shadow->fine = instead_of && instead_of->shadow && instead_of->shadow->split;
	announce_all(shadow);
	table->shadow_domains++;
	table->work += ATTACH_WORK_CALL;
	*hwpt_id = shadow->ioas->hwpt_id;
	*out = shadow;
	return 0;
}

void attach_shadow_destroy(struct attach_shadow *shadow)
{
	vm_shadow_destroy(shadow->ioas);
	free(shadow);
}

static void fail(struct attach_table *table, struct attach_domain *domain, int err)
{
	domain->broken = true;
	domain->shadow->split = err == -ESTALE;
	vm_shadow_retire(domain->shadow->ioas);
	if (domain->points)
		table->lost = true;
	if (err == -ENOSPC)
		log_error(table->log, "the guest's second-stage tables need more than %zu mappings",
			  table->vm->max_shadow_runs);
	else if (err != -ESTALE)
		log_error(table->log, "the host refuses a mapping of a shadow: %s", strerror(-err));
}

/* The next block of the first range. */
static int step(struct attach_table *table, struct attach_domain *domain)
{
	struct attach_shadow *shadow = domain->shadow;
	struct shadow_block *block = &shadow->block;
	unsigned int calls;
	int ret;

	shadow_block_init(block, shadow->ranges[0].next, shadow->ranges[0].last, shadow->fine);
	table->shadow_ops.walk(table->shadow_ops.opaque, &domain->key, block->first, block);
	ret = vm_shadow_update(shadow->ioas, block, &calls);
	table->work += 1 + block->entries / ENTRIES_PER_WORK + calls * (uint64_t)ATTACH_WORK_CALL;
	table->shadow_calls += calls;
	if (ret)
		return ret;
	if (block->last < shadow->ranges[0].last) {
		shadow->ranges[0].next = block->last + 1;
		return 0;
	}
	shadow->num_ranges--;
	memmove(&shadow->ranges[0], &shadow->ranges[1],
		shadow->num_ranges * sizeof(shadow->ranges[0]));
	return 0;
}

int attach_shadow_settle(struct attach_table *table, struct attach_domain *domain)
{
	int ret = 0;

	while (domain->shadow->num_ranges && !ret) {
		if (attach_work_is_spent(table))
			return ATTACH_LATER;
		ret = step(table, domain);
	}
	if (ret)
		fail(table, domain, ret);
	return ret;
}

void attach_shadow_announce(struct attach_shadow *shadow, uint64_t addr, uint64_t npages)
{
	uint64_t last = addr + (npages << PAGE_SHIFT_4K) - 1;

	if (npages > UINT64_MAX >> PAGE_SHIFT_4K || last < addr ||
	    shadow->num_ranges == MAX_RANGES) {
		announce_all(shadow);
		return;
	}
	for (unsigned int i = 0; i < shadow->num_ranges; i++)
		if (shadow->ranges[i].next <= addr && last <= shadow->ranges[i].last)
			return;
	shadow->ranges[shadow->num_ranges].next = addr;
	shadow->ranges[shadow->num_ranges++].last = last;
}
