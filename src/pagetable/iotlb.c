// SPDX-License-Identifier: BSD-3-Clause
/*
 * See iotlb.h. Entries live in one array and refer to each other by index, so the
 * whole cache is a few allocations made at creation; what has never been used of them has
 * never been touched. The heads of the lists are hashed too: tags that share a head share a
 * list, and a flush skips its neighbours.
 */
#include "pagetable/iotlb.h"

#include "base/alloc.h"

#include <errno.h>
#include <string.h>

struct iotlb {
	struct iotlb_entry *entries;
	uint32_t *buckets;     /* by (tag, class, page) */
	uint32_t *tag_heads;   /* by tag */
	uint32_t *group_heads; /* by group of tags */
	uint32_t capacity, count, hand;
	uint32_t used; /* entries from here on have never been used since all were free */
	uint32_t bucket_mask, head_mask;
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

static uint32_t *tag_head(const struct iotlb *tlb, uint32_t tag)
{
	return &tlb->tag_heads[mix(tag) & tlb->head_mask];
}

static uint32_t *group_head(const struct iotlb *tlb, uint32_t tag)
{
	return &tlb->group_heads[mix(tag & IOTLB_GROUP_MASK) & tlb->head_mask];
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
	tlb->tag_heads = alloc_array(tlb->head_mask + 1, sizeof(*tlb->tag_heads));
	tlb->group_heads = alloc_array(tlb->head_mask + 1, sizeof(*tlb->group_heads));
	if (!tlb->entries || !tlb->buckets || !tlb->tag_heads || !tlb->group_heads) {
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
	free(tlb->tag_heads);
	free(tlb->group_heads);
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

/* A macro, as it is for the links of either list: MEMBER of entries. */
#define LIST_ADD(tlb, head, id, MEMBER)                                                  \
	do {                                                                             \
		(tlb)->entries[(id)-1].MEMBER = (struct iotlb_links){ .next = *(head) }; \
		if (*(head))                                                             \
			(tlb)->entries[*(head)-1].MEMBER.prev = (id);                    \
		*(head) = (id);                                                          \
	} while (0)

#define LIST_REMOVE(tlb, head, e, MEMBER)                                                    \
	do {                                                                                 \
		if ((e)->MEMBER.prev)                                                        \
			(tlb)->entries[(e)->MEMBER.prev - 1].MEMBER.next = (e)->MEMBER.next; \
		else                                                                         \
			*(head) = (e)->MEMBER.next;                                          \
		if ((e)->MEMBER.next)                                                        \
			(tlb)->entries[(e)->MEMBER.next - 1].MEMBER.prev = (e)->MEMBER.prev; \
	} while (0)

static void remove_link(struct iotlb *tlb, uint32_t *link)
{
	uint32_t id = *link;
	struct iotlb_entry *e = &tlb->entries[id - 1];

	*link = e->hash_next;
	LIST_REMOVE(tlb, tag_head(tlb, e->tag), e, of_tag);
	LIST_REMOVE(tlb, group_head(tlb, e->tag), e, of_group);
	tlb->class_count[e->cls]--;
	tlb->count--;
	e->hash_next = tlb->free_list;
	tlb->free_list = id;
}

static void remove_entry(struct iotlb *tlb, const struct iotlb_entry *e)
{
	remove_link(tlb, find_link(tlb, e->tag, e->cls, e->page));
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
	uint64_t page = address >> tlb->shifts[cls];
	uint32_t *link = find_link(tlb, tag, cls, page);
	uint32_t id = *link;
	struct iotlb_entry *e;

	if (id) {
		tlb->entries[id - 1].target = target;
		tlb->entries[id - 1].flags = flags;
		return;
	}
	if (tlb->count == tlb->capacity) {
		remove_entry(tlb, &tlb->entries[tlb->hand]);
		tlb->hand = tlb->hand + 1 < tlb->capacity ? tlb->hand + 1 : 0;
		link = find_link(tlb, tag, cls, page); /* the chain may have changed */
	}
	id = take_free(tlb);
	e = &tlb->entries[id - 1];
	*e = (struct iotlb_entry){
		.page = page,
		.target = target,
		.tag = tag,
		.cls = cls,
		.flags = flags,
		.hash_next = *link,
	};
	*link = id;
	LIST_ADD(tlb, tag_head(tlb, tag), id, of_tag);
	LIST_ADD(tlb, group_head(tlb, tag), id, of_group);
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

	for (uint32_t id = *tag_head(tlb, f->tag); id; id = next) {
		const struct iotlb_entry *e = &tlb->entries[id - 1];

		next = e->of_tag.next;
		if (named_by(tlb, f, e))
			remove_entry(tlb, e);
	}
}

static void flush_list_of_group(struct iotlb *tlb, const struct iotlb_filter *f)
{
	uint32_t next;

	for (uint32_t id = *group_head(tlb, f->tag); id; id = next) {
		const struct iotlb_entry *e = &tlb->entries[id - 1];

		next = e->of_group.next;
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
		flush_list_of_group(tlb, f);
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

/* Few entries are taken out of the tables one by one; of many the tables are cleared. */
void iotlb_flush_all(struct iotlb *tlb)
{
	if (!tlb->count)
		return;
	if (tlb->used > tlb->bucket_mask / 16) {
		memset(tlb->buckets, 0, (tlb->bucket_mask + 1) * sizeof(*tlb->buckets));
		memset(tlb->tag_heads, 0, (tlb->head_mask + 1) * sizeof(*tlb->tag_heads));
		memset(tlb->group_heads, 0, (tlb->head_mask + 1) * sizeof(*tlb->group_heads));
	} else {
		for (uint32_t i = 0; i < tlb->used; i++) { /* free ones too, which does no harm */
			const struct iotlb_entry *e = &tlb->entries[i];

			tlb->buckets[bucket_of(tlb, e->tag, e->cls, e->page)] = 0;
			*tag_head(tlb, e->tag) = 0;
			*group_head(tlb, e->tag) = 0;
		}
	}
	memset(tlb->class_count, 0, sizeof(tlb->class_count));
	tlb->free_list = 0;
	tlb->count = 0;
	tlb->used = 0;
	tlb->hand = 0;
}
