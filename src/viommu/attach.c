// SPDX-License-Identifier: BSD-3-Clause
/* See attach.h: domains, and the one function that changes attachments. */
#include "viommu/attach.h"

#include "base/alloc.h"
#include "base/bits.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

void attach_table_init(struct attach_table *table, struct nst_vm *vm, const struct nst_log *log)
{
	*table = (struct attach_table){ .vm = vm, .log = log, .work_end = UINT64_MAX };
	if (getrandom(&table->key_secret, sizeof(table->key_secret), 0) < 0)
		table->key_secret = (uintptr_t)table * 0x9e3779b97f4a7c15ULL;
	table->key_secret |= 1;
}

void attach_table_fini(struct attach_table *table)
{
	for (struct attach_domain *d = table->all; d; d = d->next_of_all)
		log_error(table->log, "HWPT %u outlives its unit", d->hwpt_id);
}

void attach_point_init(struct attach_point *point, struct nst_device *dev, uint32_t pasid,
		       uint32_t guest_pasid)
{
	*point = (struct attach_point){
		.dev = dev,
		.pasid = pasid,
		.guest_pasid = guest_pasid,
		/* plain requests are on the parent since nst_device_open(), PASIDs on nothing */
		.actual = pasid == NST_NO_PASID && dev->attached ? ATTACHMENT_BYPASS
								 : ATTACHMENT_BLOCKED,
	};
}

static struct attach_domain **bucket_of(struct attach_table *table, uint32_t domain_id)
{
	return &table->buckets[domain_id % ATTACH_DOMAIN_BUCKETS];
}

/* Multiply-shift: any two roots meet in a bucket as rarely as others. */
static struct attach_domain **key_bucket_of(struct attach_table *table,
					    const struct attachment *key)
{
	uint64_t root = key->s1.pgtbl_addr | key->shadow.root; /* all but one of these are 0 */
	uint64_t word = root >> PAGE_SHIFT_4K ^ key->ste.ste[0] >> 6 ^
			(uint64_t)key->domain_id << 40;

	return &table->by_key[word * table->key_secret >> (64 - ATTACH_DOMAIN_BUCKETS_LG2)];
}

static bool same_key(const struct attachment *a, const struct attachment *b)
{
	return a->kind == b->kind && a->domain_id == b->domain_id &&
	       a->page_requests == b->page_requests && a->s1.pgtbl_addr == b->s1.pgtbl_addr &&
	       a->s1.addr_width == b->s1.addr_width && a->s1.flags == b->s1.flags &&
	       a->shadow.root == b->shadow.root && a->shadow.levels == b->shadow.levels &&
	       a->format == b->format && a->viommu_id == b->viommu_id &&
	       a->ste.ste[0] == b->ste.ste[0] && a->ste.ste[1] == b->ste.ste[1];
}

static bool serves(const struct attach_domain *domain, const struct attachment *desired)
{
	return !domain->broken && same_key(&domain->key, desired);
}

static struct attach_domain *find_domain(struct attach_table *table, struct vm_parent *parent,
					 const struct attachment *key)
{
	struct attach_domain *d = *key_bucket_of(table, key);

	for (; d; d = d->next_by_key, table->work++)
		if (d->parent == parent && serves(d, key))
			break;
	return d;
}

static void put_on_lists(struct attach_table *table, struct attach_domain *d)
{
	d->link_of_all = &table->all;
	d->next_of_all = table->all;
	if (d->next_of_all)
		d->next_of_all->link_of_all = &d->next_of_all;
	table->all = d;
	d->link = bucket_of(table, d->key.domain_id);
	d->next = *d->link;
	if (d->next)
		d->next->link = &d->next;
	*d->link = d;
	d->link_by_key = key_bucket_of(table, &d->key);
	d->next_by_key = *d->link_by_key;
	if (d->next_by_key)
		d->next_by_key->link_by_key = &d->next_by_key;
	*d->link_by_key = d;
}

static void take_from_lists(struct attach_domain *d)
{
	*d->link_of_all = d->next_of_all;
	if (d->next_of_all)
		d->next_of_all->link_of_all = d->link_of_all;
	*d->link = d->next;
	if (d->next)
		d->next->link = d->link;
	*d->link_by_key = d->next_by_key;
	if (d->next_by_key)
		d->next_by_key->link_by_key = d->link_by_key;
}

static int alloc_nested(struct attach_table *table, const struct nst_device *dev,
			const struct attachment *key, uint32_t *hwpt_id)
{
	uint32_t flags = key->page_requests ? IOMMU_HWPT_FAULT_ID_VALID : 0;
	const struct iommufd *iommufd = &table->vm->iommufd;
	int ret;

	if (key->format == ATTACH_ARM_SMMUV3) /* takes PASIDs by itself */
		ret = iommufd_hwpt_alloc_arm_smmuv3(iommufd, dev->dev_id, key->viommu_id, flags,
						    table->fault_id, &key->ste, hwpt_id);
	else
		ret = iommufd_hwpt_alloc_vtd_s1(
			iommufd, dev->dev_id, dev->parent->hwpt_id,
			flags | (dev->pasid_capable ? IOMMU_HWPT_ALLOC_PASID : 0), table->fault_id,
			&key->s1, hwpt_id);
	if (!ret)
		table->nested_hwpts++;
	return ret;
}

static int alloc_domain(struct attach_table *table, struct attach_point *point,
			const struct attachment *key, struct attach_domain **out)
{
	struct attach_domain *d = alloc_object(struct attach_domain);
	struct nst_device *dev = point->dev;
	int ret;

	if (!d)
		return -ENOMEM;
	if (key->kind == ATTACHMENT_SHADOW)
		ret = attach_shadow_create(table, dev,
					   point->waits_for ? point->waits_for : point->domain,
					   &d->shadow, &d->hwpt_id);
	else
		ret = alloc_nested(table, dev, key, &d->hwpt_id);
	if (ret) {
		free(d);
		return ret;
	}
	d->parent = dev->parent;
	d->key = *key;
	put_on_lists(table, d);
	*out = d;
	return 0;
}

/* What was collected for it need not be done: the host flushes a domain it lets go. */
static void free_domain(struct attach_table *table, struct attach_domain *domain)
{
	if (domain->pending) {
		*domain->link_pending = domain->next_pending;
		if (domain->next_pending)
			domain->next_pending->link_pending = domain->link_pending;
	}
	if (domain->batch)
		domain->batch->taken = false;
	take_from_lists(domain);
	if (domain->shadow)
		attach_shadow_destroy(domain->shadow);
	else if (iommufd_destroy(&table->vm->iommufd, domain->hwpt_id))
		log_error(table->log, "nested HWPT %u cannot be destroyed", domain->hwpt_id);
	free(domain);
}

static void free_if_unused(struct attach_table *table, struct attach_domain *domain)
{
	if (!domain->points && !domain->waiting)
		free_domain(table, domain);
}

static void enter_domain(struct attach_point *point, struct attach_domain *domain)
{
	point->domain = domain;
	point->next_in_domain = domain->points;
	point->link_in_domain = &domain->points;
	if (domain->points)
		domain->points->link_in_domain = &point->next_in_domain;
	domain->points = point;
}

/* Take @point off @domain, which goes with its last point. */
static void leave_domain(struct attach_table *table, struct attach_point *point,
			 struct attach_domain *domain)
{
	if (!domain)
		return;
	*point->link_in_domain = point->next_in_domain;
	if (point->next_in_domain)
		point->next_in_domain->link_in_domain = point->link_in_domain;
	free_if_unused(table, domain);
}

/* If not even that works, the point stays what it is, so that invalidations still reach it. */
static int block(struct attach_table *table, struct attach_point *point)
{
	struct attach_domain *old = point->domain;
	int ret;

	if (point->actual == ATTACHMENT_BLOCKED)
		return 0;
	ret = device_detach_hwpt(point->dev, point->pasid);
	if (ret) {
		log_error(table->log, "the host does not detach a device: %s", strerror(-ret));
		return ret;
	}
	point->actual = ATTACHMENT_BLOCKED;
	point->change = ++table->changes;
	point->domain = NULL;
	leave_domain(table, point, old);
	return 0;
}

static int bypass(struct attach_table *table, struct attach_point *point)
{
	struct attach_domain *old = point->domain;
	int ret = device_attach_hwpt(point->dev, point->pasid, point->dev->parent->hwpt_id);

	if (ret)
		return ret;
	point->actual = ATTACHMENT_BYPASS;
	point->change = ++table->changes;
	point->domain = NULL;
	leave_domain(table, point, old);
	return 0;
}

/* Attach to @domain; a domain made for this alone goes again if that fails. */
static int attach_to(struct attach_table *table, struct attach_point *point,
		     struct attach_domain *domain)
{
	struct attach_domain *old = point->domain;
	int ret = device_attach_hwpt(point->dev, point->pasid, domain->hwpt_id);

	if (ret) {
		free_if_unused(table, domain);
		return ret;
	}
	if (old) /* before point's link is used for the new list */
		leave_domain(table, point, old);
	enter_domain(point, domain);
	point->actual = domain->key.kind;
	point->change = ++table->changes;
	return 0;
}

static int nest(struct attach_table *table, struct attach_point *point,
		const struct attachment *desired)
{
	struct attach_domain *domain = find_domain(table, point->dev->parent, desired);
	int ret;

	if (domain) {
		ret = attach_to(table, point, domain);
		if (ret != -EINVAL)
			return ret;
		/* this host will not share it between these two: one of its own, then */
	}
	ret = alloc_domain(table, point, desired, &domain);
	return ret ? ret : attach_to(table, point, domain);
}

/* @domain may be NULL: @point waits for none any more. */
static void wait_for(struct attach_table *table, struct attach_point *point,
		     struct attach_domain *domain)
{
	struct attach_domain *old = point->waits_for;

	point->waits_for = domain;
	if (domain)
		domain->waiting++;
	if (!old)
		return;
	old->waiting--;
	free_if_unused(table, old);
}

static int complete_and_attach(struct attach_table *table, struct attach_point *point)
{
	int ret = attach_shadow_settle(table, point->waits_for);

	return ret ? ret : attach_to(table, point, point->waits_for);
}

static int wait_for_new(struct attach_table *table, struct attach_point *point,
			const struct attachment *desired)
{
	struct attach_domain *domain;
	int ret = alloc_domain(table, point, desired, &domain);

	if (!ret)
		wait_for(table, point, domain);
	return ret;
}

/* Once more, with a domain of its own. */
static int shadow_anew(struct attach_table *table, struct attach_point *point,
		       const struct attachment *desired)
{
	int ret = wait_for_new(table, point, desired);

	return ret ? ret : complete_and_attach(table, point);
}

static int shadow(struct attach_table *table, struct attach_point *point,
		  const struct attachment *desired)
{
	struct attach_domain *domain = point->waits_for;
	int ret;

	if (!domain || !serves(domain, desired)) {
		domain = find_domain(table, point->dev->parent, desired);
		if (domain)
			wait_for(table, point, domain);
	}
	if (!domain)
		ret = shadow_anew(table, point, desired);
	else
		ret = complete_and_attach(table, point);
	if (domain && ret == -ESTALE) /* the guest has changed it while it was waited for */
		ret = shadow_anew(table, point, desired);
	else if (domain && domain->points && (ret == -EINVAL || ret == -EADDRINUSE))
		/* this host will not share it between these two */
		ret = shadow_anew(table, point, desired);
	if (ret != ATTACH_LATER)
		wait_for(table, point, NULL);
	return ret;
}

static bool already(const struct attach_point *point, const struct attachment *desired)
{
	if (point->actual != desired->kind)
		return false;
	return !point->domain || serves(point->domain, desired);
}

int attach_reconcile(struct attach_table *table, struct attach_point *point,
		     const struct attachment *desired)
{
	bool done = already(point, desired);
	int ret = 0;

	if (done || desired->kind != ATTACHMENT_SHADOW)
		wait_for(table, point, NULL);
	if (done)
		return 0;
	if (!point->waits_for)
		table->attaches++;
	table->work += ATTACH_WORK_CALL;
	switch (desired->kind) {
	case ATTACHMENT_BLOCKED:
		ret = block(table, point);
		break;
	case ATTACHMENT_BYPASS:
		ret = bypass(table, point);
		break;
	case ATTACHMENT_STAGE1:
		ret = nest(table, point, desired);
		break;
	case ATTACHMENT_SHADOW:
		ret = shadow(table, point, desired);
		break;
	}
	if (ret < 0) {
		table->failed_attaches++;
		if (desired->kind != ATTACHMENT_BLOCKED)
			block(table, point);
	}
	return ret;
}

int attach_point_fini(struct attach_table *table, struct attach_point *point)
{
	const struct attachment initial = {
		.kind = point->pasid == NST_NO_PASID ? ATTACHMENT_BYPASS : ATTACHMENT_BLOCKED,
	};
	int ret = attach_reconcile(table, point, &initial);

	if (ret && initial.kind == ATTACHMENT_BLOCKED) /* once more: what is left, leaks */
		ret = block(table, point);
	leave_domain(table, point, point->domain); /* if the host would not even detach it */
	point->domain = NULL;
	return ret;
}
