// SPDX-License-Identifier: BSD-3-Clause
/*
 * See iotlb.h. Entries live in one array and refer to each other by index, so the
 * whole cache is a few allocations made at creation; what has never been used of them has
 * never been touched. The heads of the lists are hashed too: tags that share a head share a
 * list, and a flush skips its neighbours.
 *
 * What iotlb_peek.h reads is written by STORE() alone.
 */
#include "pagetable/iotlb.h"

#include "base/alloc.h"
#include "pagetable/iotlb_peek.h"

#include <errno.h>
#include <string.h>

#define STORE(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)

static bool matches(const struct iotlb_entry *e, uint32_t tag, unsigned int cls, uint64_t page)
{
	return e->page == page && e->tag == tag && e->cls == cls;
}

static uint32_t pow2_at_least(uint32_t n)
{
	return n <= 1 ? 1 : 1u << (32 - __builtin_clz(n - 1));
}

static uint32_t *head_of(const struct iotlb *tlb, enum iotlb_list list, uint32_t tag)
{
	if (list == IOTLB_OF_GROUP)
		tag &= IOTLB_GROUP_MASK;
	return &tlb->heads[list][iotlb_mix(tag) & tlb->head_mask];
}

static struct iotlb_links *links_of(const struct iotlb *tlb, uint32_t id)
{
	return &tlb->links[id - 1];
}

static void put_on_list(struct iotlb *tlb, enum iotlb_list list, uint32_t id, uint32_t tag)
{
	uint32_t *head = head_of(tlb, list, tag);

	links_of(tlb, id)->prev[list] = 0;
	links_of(tlb, id)->next[list] = *head;
	if (*head)
		links_of(tlb, *head)->prev[list] = id;
	*head = id;
}

static void take_from_list(struct iotlb *tlb, enum iotlb_list list, uint32_t id, uint32_t tag)
{
	uint32_t next = links_of(tlb, id)->next[list], prev = links_of(tlb, id)->prev[list];

	if (prev)
		links_of(tlb, prev)->next[list] = next;
	else
		*head_of(tlb, list, tag) = next;
	if (next)
		links_of(tlb, next)->prev[list] = prev;
}

int iotlb_create(uint32_t capacity, const uint8_t *shifts, unsigned int num_classes,
		 unsigned int is_leaf, struct iotlb **out)
{
	struct iotlb *tlb;

	if (!capacity || capacity > 1u << 24 || !num_classes || num_classes > IOTLB_MAX_CLASSES)
		return -EINVAL;
	for (unsigned int cls = 0; cls < num_classes; cls++)
		if (!shifts[cls] || shifts[cls] > 63)
			return -EINVAL;
	tlb = alloc_object(struct iotlb);
	if (!tlb)
		return -ENOMEM;
	tlb->capacity = capacity;
	tlb->bucket_mask = pow2_at_least(2 * capacity) - 1;
	tlb->head_mask = MIN(tlb->bucket_mask, 4095u);
	tlb->num_classes = num_classes;
	tlb->is_leaf = is_leaf;
	memcpy(tlb->shifts, shifts, num_classes);
	tlb->entries = alloc_array(capacity, sizeof(*tlb->entries));
	tlb->buckets = alloc_array(tlb->bucket_mask + 1, sizeof(*tlb->buckets));
	tlb->links = alloc_array(capacity, sizeof(*tlb->links));
	for (unsigned int list = 0; list < IOTLB_LISTS; list++)
		tlb->heads[list] = alloc_array(tlb->head_mask + 1, sizeof(*tlb->heads[list]));
	if (!tlb->entries || !tlb->buckets || !tlb->links || !tlb->heads[IOTLB_OF_TAG] ||
	    !tlb->heads[IOTLB_OF_GROUP]) {
		iotlb_destroy(tlb);
		return -ENOMEM;
	}
	*out = tlb;
	return 0;
}

void iotlb_destroy(struct iotlb *tlb)
{
	if (!tlb)
		return;
	free(tlb->entries);
	free(tlb->buckets);
	free(tlb->links);
	for (unsigned int list = 0; list < IOTLB_LISTS; list++)
		free(tlb->heads[list]);
	free(tlb);
}

uint32_t iotlb_count(const struct iotlb *tlb)
{
	return tlb->count;
}

/* The link that holds the entry's index + 1, or the 0 at the end of its chain. */
static uint32_t *find_link(const struct iotlb *tlb, uint32_t tag, unsigned int cls, uint64_t page)
{
	uint32_t *link = &tlb->buckets[iotlb_bucket(tlb, tag, cls, page)];

	while (*link && !matches(&tlb->entries[*link - 1], tag, cls, page))
		link = &tlb->entries[*link - 1].hash_next;
	return link;
}

const struct iotlb_entry *iotlb_find(const struct iotlb *tlb, uint32_t tag, unsigned int cls,
				     uint64_t address)
{
	uint32_t link;

	if (!tlb->class_count[cls])
		return NULL;
	link = *find_link(tlb, tag, cls, address >> tlb->shifts[cls]);
	return link ? &tlb->entries[link - 1] : NULL;
}

static void remove_link(struct iotlb *tlb, uint32_t *link)
{
	uint32_t id = *link;
	struct iotlb_entry *e = &tlb->entries[id - 1];

	STORE(link, e->hash_next);
	take_from_list(tlb, IOTLB_OF_TAG, id, e->tag);
	take_from_list(tlb, IOTLB_OF_GROUP, id, e->tag);
	STORE(&tlb->class_count[e->cls], tlb->class_count[e->cls] - 1);
	tlb->count--;
	STORE(&e->hash_next, tlb->free_list);
	tlb->free_list = id;
}

static void remove_entry(struct iotlb *tlb, const struct iotlb_entry *e)
{
	remove_link(tlb, find_link(tlb, e->tag, e->cls, e->page));
}

/* What goes next time is asked for already: its bucket can be anywhere in memory. */
static void make_room(struct iotlb *tlb)
{
	const struct iotlb_entry *e;

	remove_entry(tlb, &tlb->entries[tlb->hand]);
	tlb->hand = tlb->hand + 1 < tlb->capacity ? tlb->hand + 1 : 0;
	e = &tlb->entries[tlb->hand];
	__builtin_prefetch(&tlb->buckets[iotlb_bucket(tlb, e->tag, e->cls, e->page)]);
}

static uint32_t take_free(struct iotlb *tlb)
{
	uint32_t id = tlb->free_list;

	if (!id)
		return ++tlb->used;
	tlb->free_list = tlb->entries[id - 1].hash_next;
	return id;
}

void iotlb_insert(struct iotlb *tlb, uint32_t tag, unsigned int cls, uint64_t address,
		  uint64_t target, uint8_t flags)
{
	const struct iotlb_entry name = { .tag = tag, .cls = (uint8_t)cls, .flags = flags };
	uint64_t page = address >> tlb->shifts[cls];
	uint32_t *link = find_link(tlb, tag, cls, page);
	uint32_t id = *link;
	struct iotlb_entry *e;

	if (id) {
		STORE(&tlb->entries[id - 1].target, target);
		STORE(&tlb->entries[id - 1].name, name.name);
		return;
	}
	if (tlb->count == tlb->capacity) {
		make_room(tlb);
		link = find_link(tlb, tag, cls, page); /* the chain may have changed */
	}
	id = take_free(tlb);
	e = &tlb->entries[id - 1];
	STORE(&e->page, page);
	STORE(&e->target, target);
	STORE(&e->name, name.name);
	STORE(&e->hash_next, *link);
	STORE(link, id);
	put_on_list(tlb, IOTLB_OF_TAG, id, tag);
	put_on_list(tlb, IOTLB_OF_GROUP, id, tag);
	STORE(&tlb->class_count[cls], tlb->class_count[cls] + 1);
	tlb->count++;
}

static bool named_by(const struct iotlb *tlb, const struct iotlb_filter *f,
		     const struct iotlb_entry *e)
{
	unsigned int shift = tlb->shifts[e->cls];

	if (((e->tag ^ f->tag) & f->tag_mask) || !(f->classes & 1u << e->cls))
		return false;
	if ((tlb->is_leaf & 1u << e->cls) && ((e->flags ^ f->flags) & f->flags_mask))
		return false;
	return e->page >= f->first >> shift && e->page <= f->last >> shift;
}

static void flush_list(struct iotlb *tlb, const struct iotlb_filter *f, enum iotlb_list list)
{
	uint32_t next;

	for (uint32_t id = *head_of(tlb, list, f->tag); id; id = next) {
		const struct iotlb_entry *e = &tlb->entries[id - 1];

		next = links_of(tlb, id)->next[list];
		if (named_by(tlb, f, e))
			remove_entry(tlb, e);
	}
}

/* An entry that is free is not found under its old name, or not as this one. */
static void flush_everywhere(struct iotlb *tlb, const struct iotlb_filter *f)
{
	for (uint32_t i = 0; i < tlb->used && tlb->count; i++) {
		const struct iotlb_entry *e = &tlb->entries[i];
		uint32_t *link;

		if (!named_by(tlb, f, e))
			continue;
		link = find_link(tlb, e->tag, e->cls, e->page);
		if (*link == i + 1)
			remove_link(tlb, link);
	}
}

static void flush_pages(struct iotlb *tlb, const struct iotlb_filter *f, unsigned int cls)
{
	unsigned int shift = tlb->shifts[cls];

	for (uint64_t page = f->first >> shift; page <= f->last >> shift; page++) {
		uint32_t *link = find_link(tlb, f->tag, cls, page);

		if (*link && named_by(tlb, f, &tlb->entries[*link - 1]))
			remove_link(tlb, link);
	}
}

void iotlb_flush(struct iotlb *tlb, const struct iotlb_filter *f)
{
	if (!tlb->count)
		return;
	if (f->tag_mask == IOTLB_GROUP_MASK) {
		flush_list(tlb, f, IOTLB_OF_GROUP);
		return;
	}
	if (f->tag_mask != UINT32_MAX) {
		flush_everywhere(tlb, f);
		return;
	}
	for (unsigned int cls = 0; cls < tlb->num_classes; cls++) {
		unsigned int shift = tlb->shifts[cls];

		if (!tlb->class_count[cls] || !(f->classes & 1u << cls))
			continue;
		/* Few pages are looked up one by one; many, or all, go by the tag's list. */
		if ((f->last >> shift) - (f->first >> shift) >= 64) {
			flush_list(tlb, f, IOTLB_OF_TAG);
			return;
		}
		flush_pages(tlb, f, cls);
	}
}

void iotlb_flush_range(struct iotlb *tlb, uint32_t tag, uint64_t first, uint64_t last,
		       bool leaf_only)
{
	iotlb_flush(tlb, &(struct iotlb_filter){
				 .tag = tag,
				 .tag_mask = UINT32_MAX,
				 .first = first,
				 .last = last,
				 .classes = leaf_only ? tlb->is_leaf : UINT32_MAX,
			 });
}

void iotlb_flush_tag(struct iotlb *tlb, uint32_t tag)
{
	iotlb_flush_range(tlb, tag, 0, UINT64_MAX, false);
}

/* Few entries are taken out of the tables one by one; of many the tables are cleared. */
void iotlb_flush_all(struct iotlb *tlb)
{
	if (!tlb->count)
		return;
	if (tlb->used > tlb->bucket_mask / 16) {
		for (uint32_t i = 0; i <= tlb->bucket_mask; i++)
			STORE(&tlb->buckets[i], 0);
		for (unsigned int list = 0; list < IOTLB_LISTS; list++)
			memset(tlb->heads[list], 0, (tlb->head_mask + 1) * sizeof(uint32_t));
	} else {
		for (uint32_t i = 0; i < tlb->used; i++) { /* free ones too, which does no harm */
			const struct iotlb_entry *e = &tlb->entries[i];

			STORE(&tlb->buckets[iotlb_bucket(tlb, e->tag, e->cls, e->page)], 0);
			*head_of(tlb, IOTLB_OF_TAG, e->tag) = 0;
			*head_of(tlb, IOTLB_OF_GROUP, e->tag) = 0;
		}
	}
	for (unsigned int cls = 0; cls < tlb->num_classes; cls++)
		STORE(&tlb->class_count[cls], 0);
	tlb->free_list = 0;
	tlb->count = 0;
	tlb->used = 0;
	tlb->hand = 0;
}
