// SPDX-License-Identifier: GPL-2.0-only
/*
 * The address space that a queue's operations reach by their PASID.
 *
 *	CONFIG_IOMMU_SVA      the process's own (iommu_sva_bind_device()), all of it
 *	without, as Debian's  a domain of the queue's own, at first empty. The process says what to
 *	arm64 kernel          share: these pages are pinned, and mapped at their own addresses, so
 *			      that here too pointers are DMA addresses
 */
#include "space.h"

#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/slab.h>

#define MAX_SHARED SZ_64M

struct area {
	struct list_head list;
	unsigned long address;
	unsigned long count;
	struct page *pages[] __counted_by(count);
};

static int open_domain(struct dmatest_space *space)
{
	int err;

	space->pasid = iommu_alloc_global_pasid(space->device);
	if (space->pasid == IOMMU_PASID_INVALID)
		return -ENOSPC;
	space->domain = iommu_paging_domain_alloc(space->device);
	if (IS_ERR(space->domain)) {
		err = PTR_ERR(space->domain);
		goto free_pasid;
	}
	err = iommu_attach_device_pasid(space->domain, space->device, space->pasid, NULL);
	if (!err)
		return 0;
	iommu_domain_free(space->domain);
free_pasid:
	space->domain = NULL;
	iommu_free_global_pasid(space->pasid);
	return err;
}

int dmatest_space_open(struct dmatest_space *space, struct device *device)
{
	space->device = device;
	INIT_LIST_HEAD(&space->areas);
	if (!IS_ENABLED(CONFIG_IOMMU_SVA))
		return open_domain(space);
	space->sva = iommu_sva_bind_device(device, current->mm);
	if (IS_ERR(space->sva))
		return PTR_ERR(space->sva);
	space->pasid = iommu_sva_get_pasid(space->sva);
	return 0;
}

/* Its pages are no longer mapped. */
static void release(struct area *a)
{
	unpin_user_pages_dirty_lock(a->pages, a->count, true);
	kvfree(a);
}

void dmatest_space_close(struct dmatest_space *space)
{
	struct area *a, *next;

	if (!space->domain) {
		iommu_sva_unbind_device(space->sva);
		return;
	}
	iommu_detach_device_pasid(space->domain, space->device, space->pasid);
	iommu_domain_free(space->domain);
	iommu_free_global_pasid(space->pasid);
	list_for_each_entry_safe(a, next, &space->areas, list)
		release(a);
}

static int map(struct iommu_domain *domain, const struct area *a)
{
	for (unsigned long i = 0; i < a->count; i++) {
		int err = iommu_map(domain, a->address + i * PAGE_SIZE, page_to_phys(a->pages[i]),
				    PAGE_SIZE, IOMMU_READ | IOMMU_WRITE, GFP_KERNEL);

		if (!err)
			continue;
		if (i)
			iommu_unmap(domain, a->address, i * PAGE_SIZE);
		return err;
	}
	return 0;
}

static bool overlaps(const struct dmatest_space *space, unsigned long address, size_t length)
{
	const struct area *a;

	list_for_each_entry(a, &space->areas, list)
		if (address < a->address + a->count * PAGE_SIZE && a->address < address + length)
			return true;
	return false;
}

/* Its pages are pinned; not all of them: an error, and none are. */
static int pin(struct area *a, unsigned long count)
{
	long n = pin_user_pages_fast(a->address, count, FOLL_WRITE | FOLL_LONGTERM, a->pages);

	if (n == count)
		return 0;
	if (n > 0)
		unpin_user_pages(a->pages, n);
	return n < 0 ? n : -EFAULT;
}

int dmatest_space_share(struct dmatest_space *space, unsigned long address, size_t length)
{
	unsigned long count = length / PAGE_SIZE;
	struct area *a;
	int err;

	if (!space->domain)
		return 1;
	if (!length || length > MAX_SHARED || (address | length) % PAGE_SIZE ||
	    address + length < address)
		return -EINVAL;
	if (overlaps(space, address, length))
		return -EEXIST;
	a = kvzalloc(struct_size(a, pages, count), GFP_KERNEL);
	if (!a)
		return -ENOMEM;
	a->address = address;
	a->count = count;
	err = pin(a, count);
	if (err) {
		kvfree(a);
		return err;
	}
	err = map(space->domain, a);
	if (err) {
		release(a);
		return err;
	}
	list_add(&a->list, &space->areas);
	return 0;
}

int dmatest_space_unshare(struct dmatest_space *space, unsigned long address, size_t length)
{
	struct area *a;

	if (!space->domain)
		return 1;
	list_for_each_entry(a, &space->areas, list) {
		if (a->address != address || a->count * PAGE_SIZE != length)
			continue;
		/* returns when neither IOTLB nor device TLB has the pages */
		iommu_unmap(space->domain, address, length);
		list_del(&a->list);
		release(a);
		return 0;
	}
	return -ENOENT;
}
