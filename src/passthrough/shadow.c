// SPDX-License-Identifier: BSD-3-Clause
/*
 * See shadow.h. What is held and what is wanted are both sorted ranges that lead to memory
 * of this process; a held one stays if all of it is wanted as it is, goes if nothing of it
 * is, and what is wanted and not held is mapped: first everything that goes, then what comes.
 */
#include "passthrough/shadow.h"

#include "base/alloc.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>

/* --- blocks ---------------------------------------------------------------------------------- */

void shadow_block_init(struct shadow_block *block, uint64_t first, uint64_t end, bool fine)
{
	block->first = first;
	block->end = end;
	block->fine = fine;
	block->entries = 0;
	block->count = 0;
}

void shadow_block_add(struct shadow_block *block, uint64_t start, uint64_t last, uint64_t gpa,
		      unsigned int perm)
{
	bool announced = start <= block->end && last >= block->first;
	struct shadow_piece *before = block->count ? &block->pieces[block->count - 1] : NULL;

	if (before && !block->fine && before->last + 1 == start && before->perm == perm &&
	    before->gpa + (start - before->start) == gpa && before->announced == announced)
		before->last = last;
	else if (block->count < SHADOW_BLOCK_PIECES)
		block->pieces[block->count++] =
			(struct shadow_piece){ start, last, gpa, perm, announced };
}

/* --- life ------------------------------------------------------------------------------------ */

/* Where both the device, on its own IOAS, and the shadow's domain may have addresses. */
static void intersect(struct vm_shadow *shadow, const struct nst_device *dev,
		      const struct iommu_iova_range *ranges, uint32_t count)
{
	for (uint32_t i = 0; i < dev->num_iova_ranges; i++) {
		for (uint32_t j = 0; j < count && shadow->num_allowed < SHADOW_MAX_RANGES; j++) {
			struct iommu_iova_range both = {
				.start = MAX(dev->iova_ranges[i].start, ranges[j].start),
				.last = MIN(dev->iova_ranges[i].last, ranges[j].last),
			};

			if (both.start <= both.last)
				shadow->allowed[shadow->num_allowed++] = both;
		}
	}
}

static int make_hwpt(struct vm_shadow *shadow, struct nst_device *dev)
{
	const struct iommufd *iommufd = &shadow->vm->iommufd;
	struct iommu_iova_range ranges[DEVICE_MAX_IOVA_RANGES];
	uint32_t count = DEVICE_MAX_IOVA_RANGES;
	int ret = iommufd_hwpt_alloc_paging(
		iommufd, dev->dev_id, shadow->ioas_id,
		device_hwpt_flags(dev) & ~(uint32_t)IOMMU_HWPT_ALLOC_NEST_PARENT, &shadow->hwpt_id);

	if (ret)
		return ret;
	ret = iommufd_ioas_iova_ranges(iommufd, shadow->ioas_id, ranges, &count);
	if (ret) {
		iommufd_destroy(iommufd, shadow->hwpt_id);
		return ret;
	}
	intersect(shadow, dev, ranges, count);
	return 0;
}

int vm_shadow_create(struct nst_device *dev, void (*memory_changed)(void *opaque), void *opaque,
		     struct vm_shadow **out)
{
	struct nst_vm *vm = dev->vm;
	struct vm_shadow *shadow = alloc_object(struct vm_shadow);
	int ret;

	if (!shadow)
		return -ENOMEM;
	shadow->vm = vm;
	shadow->memory_changed = memory_changed;
	shadow->opaque = opaque;
	range_map_init(&shadow->held);
	ret = iommufd_ioas_alloc(&vm->iommufd, &shadow->ioas_id);
	if (ret) {
		free(shadow);
		return ret;
	}
	ret = make_hwpt(shadow, dev);
	if (ret) {
		iommufd_destroy(&vm->iommufd, shadow->ioas_id);
		free(shadow);
		return ret;
	}
	mutex_lock(&vm->lock);
	shadow->next = vm->shadows;
	vm->shadows = shadow;
	mutex_unlock(&vm->lock);
	*out = shadow;
	return 0;
}

static void stop_counting(struct nst_vm *vm, struct vm_shadow *shadow) REQUIRES(vm->lock)
{
	if (!shadow->retired)
		vm->shadow_runs -= shadow->held.count;
	shadow->retired = true;
}

void vm_shadow_retire(struct vm_shadow *shadow)
{
	struct nst_vm *vm = shadow->vm;

	mutex_lock(&vm->lock);
	stop_counting(vm, shadow);
	mutex_unlock(&vm->lock);
}

/* The IOAS takes its mappings with it. */
void vm_shadow_destroy(struct vm_shadow *shadow)
{
	struct nst_vm *vm = shadow->vm;

	mutex_lock(&vm->lock);
	for (struct vm_shadow **link = &vm->shadows; *link; link = &(*link)->next) {
		if (*link == shadow) {
			*link = shadow->next;
			break;
		}
	}
	stop_counting(vm, shadow);
	mutex_unlock(&vm->lock);
	if (iommufd_destroy(&vm->iommufd, shadow->hwpt_id) ||
	    iommufd_destroy(&vm->iommufd, shadow->ioas_id))
		log_error(vm->log, "the shadow with IOAS %u cannot be destroyed", shadow->ioas_id);
	range_map_fini(&shadow->held);
	free(shadow);
}

/* --- from guest-physical addresses to memory ------------------------------------------------- */

static const struct vm_mapping *find_mapping(const struct nst_vm *vm, uint64_t gpa)
	REQUIRES(vm->lock)
{
	for (const struct vm_mapping *m = vm->mappings; m; m = m->next)
		if (gpa >= m->gpa && gpa - m->gpa < m->size)
			return m;
	return NULL;
}

/* The first address behind @gpa that is memory, up to @last, or UINT64_MAX. */
static uint64_t next_memory(const struct nst_vm *vm, uint64_t gpa, uint64_t last) REQUIRES(vm->lock)
{
	uint64_t best = UINT64_MAX;

	for (const struct vm_mapping *m = vm->mappings; m; m = m->next)
		if (m->gpa > gpa && m->gpa <= last)
			best = MIN(best, m->gpa);
	return best;
}

/* What is wanted, as ranges of memory. */
struct wanted {
	size_t count;
	struct {
		struct mem_range range;
		bool announced;
	} at[2 * SHADOW_BLOCK_PIECES];
};

/* The parts of @range that the host lets be mapped. -ENOSPC: too many. */
static int add_allowed(const struct vm_shadow *shadow, struct wanted *wanted,
		       const struct mem_range *range, bool announced)
{
	for (uint32_t i = 0; i < shadow->num_allowed; i++) {
		struct mem_range part = *range;

		part.start = MAX(part.start, (uint64_t)shadow->allowed[i].start);
		part.last = MIN(part.last, (uint64_t)shadow->allowed[i].last);
		if (part.start > part.last)
			continue;
		if (wanted->count == ARRAY_SIZE(wanted->at))
			return -ENOSPC;
		part.hva.v += part.start - range->start;
		wanted->at[wanted->count].range = part;
		wanted->at[wanted->count++].announced = announced;
	}
	return 0;
}

/* Addresses that are no memory lead nowhere. */
static int resolve_piece(const struct vm_shadow *shadow, const struct shadow_piece *piece,
			 struct wanted *wanted) REQUIRES(shadow->vm->lock)
{
	uint64_t gpa = piece->gpa, last = gpa + (piece->last - piece->start);

	while (gpa <= last) {
		const struct vm_mapping *m = find_mapping(shadow->vm, gpa);
		struct mem_range range = { .start = piece->start + (gpa - piece->gpa) };
		uint64_t end;
		int ret;

		if (!m) {
			gpa = next_memory(shadow->vm, gpa, last);
			if (gpa == UINT64_MAX)
				break;
			continue;
		}
		end = MIN(last, m->gpa + m->size - 1);
		range.last = range.start + (end - gpa);
		range.hva.v = (uintptr_t)m->hva + (gpa - m->gpa);
		range.perm = m->writable ? piece->perm : piece->perm & ~(unsigned int)RANGE_WRITE;
		range.owner = (void *)m;
		ret = range.perm ? add_allowed(shadow, wanted, &range, piece->announced) : 0;
		if (ret)
			return ret;
		gpa = end + 1;
	}
	return 0;
}

static int resolve(const struct vm_shadow *shadow, const struct shadow_block *block,
		   struct wanted *wanted) REQUIRES(shadow->vm->lock)
{
	int ret = 0;

	wanted->count = 0;
	for (size_t i = 0; i < block->count && !ret; i++)
		ret = resolve_piece(shadow, &block->pieces[i], wanted);
	return ret;
}

/* --- what is held against what is wanted ------------------------------------------------------ */

static bool leads_alike(const struct mem_range *a, const struct mem_range *b)
{
	return a->perm == b->perm && a->owner == b->owner &&
	       a->hva.v - a->start == b->hva.v - b->start;
}

enum verdict { KEEP, DROP, SPLIT };

/* @next is the first wanted range that can overlap @held, and moves with it. */
static enum verdict judge(const struct mem_range *held, const struct shadow_block *block,
			  const struct wanted *wanted, size_t *next)
{
	uint64_t first = MAX(held->start, block->start), last = MIN(held->last, block->last);
	uint64_t alike = 0;

	while (*next < wanted->count && wanted->at[*next].range.last < first)
		++*next;
	for (size_t i = *next; i < wanted->count && wanted->at[i].range.start <= last; i++) {
		const struct mem_range *w = &wanted->at[i].range;

		if (leads_alike(held, w))
			alike += MIN(last, w->last) - MAX(first, w->start) + 1;
	}
	if (alike == last - first + 1)
		return KEEP;
	return alike || held->start < block->start || held->last > block->last ? SPLIT : DROP;
}

/* Take away the held ranges [index, end), between which nothing stays. */
static int drop(struct nst_vm *vm, struct vm_shadow *shadow, size_t index, size_t end)
	REQUIRES(vm->lock)
{
	const struct mem_range *held = shadow->held.ranges;
	int ret = iommufd_ioas_unmap(&vm->iommufd, shadow->ioas_id, held[index].start,
				     held[end - 1].last - held[index].start + 1);

	if (ret)
		return ret;
	range_map_remove_some(&shadow->held, index, end - index);
	if (!shadow->retired)
		vm->shadow_runs -= end - index;
	return 0;
}

static int drop_unwanted(struct vm_shadow *shadow, const struct shadow_block *block,
			 const struct wanted *wanted, unsigned int *calls)
	REQUIRES(shadow->vm->lock)
{
	size_t i = range_map_lower_bound(&shadow->held, block->start), next = 0;

	while (i < shadow->held.count && shadow->held.ranges[i].start <= block->last) {
		enum verdict verdict = DROP;
		size_t end = i;
		int ret;

		while (end < shadow->held.count && shadow->held.ranges[end].start <= block->last) {
			verdict = judge(&shadow->held.ranges[end], block, wanted, &next);
			if (verdict != DROP)
				break;
			end++;
		}
		if (verdict == SPLIT)
			return -ESTALE;
		if (end == i) {
			i++;
			continue;
		}
		*calls += 1 + (unsigned int)(end - i) / 8;
		ret = drop(shadow->vm, shadow, i, end);
		if (ret)
			return ret;
	}
	return 0;
}

static int map_range(struct vm_shadow *shadow, const struct mem_range *range)
	REQUIRES(shadow->vm->lock)
{
	struct nst_vm *vm = shadow->vm;
	uint64_t size = range->last - range->start + 1;
	int ret;

	if (vm->shadow_runs >= vm->max_shadow_runs)
		return -ENOSPC;
	ret = range_map_insert(&shadow->held, range);
	if (ret)
		return ret;
	ret = iommufd_ioas_map(&vm->iommufd, shadow->ioas_id, range->start, size,
			       (void *)(uintptr_t)range->hva.v,
			       (range->perm & RANGE_READ ? IOMMU_IOAS_MAP_READABLE : 0) |
				       (range->perm & RANGE_WRITE ? IOMMU_IOAS_MAP_WRITEABLE : 0));
	if (ret) {
		range_map_remove_some(&shadow->held,
				      range_map_lower_bound(&shadow->held, range->start), 1);
		return ret;
	}
	if (!shadow->retired)
		vm->shadow_runs++;
	return 0;
}

/* What of @range is not held: everything that is held is wanted by now. */
static int map_missing(struct vm_shadow *shadow, struct mem_range range, unsigned int *calls)
	REQUIRES(shadow->vm->lock)
{
	uint64_t at = range.start, base = range.hva.v - range.start, last = range.last;

	for (;;) {
		size_t i = range_map_lower_bound(&shadow->held, at);
		const struct mem_range *held = i < shadow->held.count ? &shadow->held.ranges[i]
								      : NULL;
		int ret;

		if (!held || held->start > at) {
			range.start = at;
			range.last = held && held->start <= last ? held->start - 1 : last;
			range.hva.v = base + at;
			*calls += 1 + (unsigned int)((shadow->held.count - i) / 4096);
			ret = map_range(shadow, &range);
			if (ret)
				return ret;
			at = range.last;
		} else {
			at = MIN(held->last, last);
		}
		if (at == last)
			return 0;
		at++;
	}
}

static int update_locked(struct vm_shadow *shadow, const struct shadow_block *block,
			 struct wanted *wanted, unsigned int *calls) REQUIRES(shadow->vm->lock)
{
	int ret = resolve(shadow, block, wanted);

	if (!ret)
		ret = drop_unwanted(shadow, block, wanted, calls);
	for (size_t i = 0; i < wanted->count && !ret; i++)
		if (wanted->at[i].announced)
			ret = map_missing(shadow, wanted->at[i].range, calls);
	return ret;
}

int vm_shadow_update(struct vm_shadow *shadow, const struct shadow_block *block,
		     unsigned int *calls)
{
	struct wanted wanted;
	int ret;

	*calls = 0;
	mutex_lock(&shadow->vm->lock);
	ret = update_locked(shadow, block, &wanted, calls);
	mutex_unlock(&shadow->vm->lock);
	return ret;
}

/* --- the VM's memory changes ------------------------------------------------------------------ */

void vm_shadows_memory_added(struct nst_vm *vm)
{
	for (struct vm_shadow *s = vm->shadows; s; s = s->next)
		s->memory_changed(s->opaque);
}

int vm_shadows_memory_gone(struct nst_vm *vm, const struct vm_mapping *mapping)
{
	for (struct vm_shadow *s = vm->shadows; s; s = s->next) {
		size_t i = 0;

		while (i < s->held.count) {
			size_t end = i;
			int ret;

			while (end < s->held.count && s->held.ranges[end].owner == mapping)
				end++;
			if (end == i) {
				i++;
				continue;
			}
			ret = drop(vm, s, i, end);
			if (ret)
				return ret;
		}
	}
	return 0;
}
