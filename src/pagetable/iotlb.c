// SPDX-License-Identifier: BSD-3-Clause
/*
 * See iotlb.h. Entries live in one array and refer to each other by index, so the
 * whole cache is three allocations made at creation. The heads of the tag lists are
 * hashed too: tags that share a head share a list, and a flush skips its neighbours.
 */
#include "pagetable/iotlb.h"

#include "base/alloc.h"

#include <errno.h>
#include <string.h>

struct iotlb {
	struct iotlb_entry *entries;
	uint32_t *buckets;   /* by (tag, class, page) */
	uint32_t *tag_heads; /* by tag */
	uint32_t capacity, count, hand;
	uint32_t used; /* entries from here on have never been used since all were free */
	uint32_t bucket_mask, tag_mask;
	uint32_t class_count[IOTLB_MAX_CLASSES];
	uint8_t shifts[IOTLB_MAX_CLASSES];
	unsigned int num_classes, is_leaf;
	uint32_t free_list; /* through hash_next */
};

static uint64_t mix(uint64_t x)
{
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93;
	x ^= x >> 32;
	return x;
}

static uint32_t bucket_of(const struct iotlb *tlb, uint32_t tag, unsigned int cls, uint64_t page)
{
	return mix(page ^ ((uint64_t)tag << 40) ^ ((uint64_t)cls << 59)) & tlb->bucket_mask;
}

static bool matches(const struct iotlb_entry *e, uint32_t tag, unsigned int cls, uint64_t page)
{
	return e->page == page && e->tag == tag && e->cls == cls;
}

static uint32_t pow2_at_least(uint32_t n)
{
	return n <= 1 ? 1 : 1u << (32 - __builtin_clz(n - 1));
}

static void make_free_list(struct iotlb *tlb)
{
	for (uint32_t i = 0; i < tlb->capacity; i++)
		tlb->entries[i].hash_next = i + 1 < tlb->capacity ? i + 2 : 0;
	tlb->free_list = 1;
	tlb->count = 0;
	tlb->used = 0;
	tlb->hand = 0;
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
	tlb->tag_mask = MIN(tlb->bucket_mask, 1023u);
	tlb->num_classes = num_classes;
	tlb->is_leaf = is_leaf;
	memcpy(tlb->shifts, shifts, num_classes);
	tlb->entries = alloc_array(capacity, sizeof(*tlb->entries));
	tlb->buckets = alloc_array(tlb->bucket_mask + 1, sizeof(*tlb->buckets));
	tlb->tag_heads = alloc_array(tlb->tag_mask + 1, sizeof(*tlb->tag_heads));
	if (!tlb->entries || !tlb->buckets || !tlb->tag_heads) {
		iotlb_destroy(tlb);
		return -ENOMEM;
	}
	make_free_list(tlb);
	*out = tlb;
	return 0;
}

void iotlb_destroy(struct iotlb *tlb)
{
	if (!tlb)
		return;
	free(tlb->entries);
	free(tlb->buckets);
	free(tlb->tag_heads);
	free(tlb);
}

uint32_t iotlb_count(const struct iotlb *tlb)
{
	return tlb->count;
}

/* The link that holds the entry's index + 1, or the 0 at the end of its chain. */
static uint32_t *find_link(const struct iotlb *tlb, uint32_t tag, unsigned int cls, uint64_t page)
{
	uint32_t *link = &tlb->buckets[bucket_of(tlb, tag, cls, page)];

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

	*link = e->hash_next;
	if (e->tag_prev)
		tlb->entries[e->tag_prev - 1].tag_next = e->tag_next;
	else
		tlb->tag_heads[e->tag_slot] = e->tag_next;
	if (e->tag_next)
		tlb->entries[e->tag_next - 1].tag_prev = e->tag_prev;
	tlb->class_count[e->cls]--;
	tlb->count--;
	e->hash_next = tlb->free_list;
	tlb->free_list = id;
}

static void remove_entry(struct iotlb *tlb, const struct iotlb_entry *e)
{
	remove_link(tlb, find_link(tlb, e->tag, e->cls, e->page));
}

void iotlb_insert(struct iotlb *tlb, uint32_t tag, unsigned int cls, uint64_t address,
		  uint64_t target, uint8_t flags)
{
	uint64_t page = address >> tlb->shifts[cls];
	uint32_t *link = find_link(tlb, tag, cls, page);
	uint32_t id = *link;
	struct iotlb_entry *e;

	if (id) {
		tlb->entries[id - 1].target = target;
		tlb->entries[id - 1].flags = flags;
		return;
	}
	if (!tlb->free_list) {
		remove_entry(tlb, &tlb->entries[tlb->hand]);
		tlb->hand = (tlb->hand + 1) % tlb->capacity;
		link = find_link(tlb, tag, cls, page); /* the chain may have changed */
	}
	id = tlb->free_list;
	e = &tlb->entries[id - 1];
	tlb->free_list = e->hash_next;
	tlb->used = MAX(tlb->used, id);
	*e = (struct iotlb_entry){
		.page = page,
		.target = target,
		.tag = tag,
		.cls = cls,
		.flags = flags,
		.tag_slot = tag & tlb->tag_mask,
	};
	e->hash_next = *link;
	*link = id;
	e->tag_next = tlb->tag_heads[e->tag_slot];
	if (e->tag_next)
		tlb->entries[e->tag_next - 1].tag_prev = id;
	tlb->tag_heads[e->tag_slot] = id;
	tlb->class_count[cls]++;
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

static void flush_list_of_tag(struct iotlb *tlb, const struct iotlb_filter *f)
{
	uint32_t next;

	for (uint32_t id = tlb->tag_heads[f->tag & tlb->tag_mask]; id; id = next) {
		const struct iotlb_entry *e = &tlb->entries[id - 1];

		next = e->tag_next;
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
			flush_list_of_tag(tlb, f);
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

void iotlb_flush_all(struct iotlb *tlb)
{
	if (!tlb->count)
		return;
	memset(tlb->buckets, 0, (tlb->bucket_mask + 1) * sizeof(*tlb->buckets));
	memset(tlb->tag_heads, 0, (tlb->tag_mask + 1) * sizeof(*tlb->tag_heads));
	memset(tlb->class_count, 0, sizeof(tlb->class_count));
	make_free_list(tlb);
}
