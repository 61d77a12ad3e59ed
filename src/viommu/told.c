// SPDX-License-Identifier: BSD-3-Clause
/* See told.h. */
#include "viommu/told.h"

#include "base/alloc.h"

#include <errno.h>

static uint64_t key_of(const struct told *told)
{
	return (uint64_t)told->rid << 32 | told->pasid;
}

static int by_key(const void *a, const void *b)
{
	uint64_t x = key_of(a), y = key_of(b);

	return (x > y) - (x < y);
}

int told_list_init(struct told_list *list, size_t max)
{
	*list = (struct told_list){ alloc_array(max, sizeof(*list->entries)), 0 };
	return list->entries ? 0 : -ENOMEM;
}

void told_list_fini(struct told_list *list)
{
	free(list->entries);
	*list = (struct told_list){ NULL, 0 };
}

void told_list_add(struct told_list *list, struct told told)
{
	if ((told.reason || told.flags) && list->count < TOLD_MAX)
		list->entries[list->count++] = told;
}

void told_list_order(struct told_list *list)
{
	uint32_t kept = 0;

	qsort(list->entries, list->count, sizeof(*list->entries), by_key);
	for (uint32_t i = 0; i < list->count; i++) {
		const struct told *told = &list->entries[i];
		struct told *last = kept ? &list->entries[kept - 1] : NULL;

		if (last && key_of(last) == key_of(told)) {
			last->reason = last->reason ? last->reason : told->reason;
			last->flags |= told->flags;
		} else {
			list->entries[kept++] = *told;
		}
	}
	list->count = kept;
}

bool told_list_is_ordered(const struct told_list *list)
{
	for (uint32_t i = 1; i < list->count; i++)
		if (key_of(&list->entries[i]) <= key_of(&list->entries[i - 1]))
			return false;
	return true;
}

static struct told *look_up(const struct told_list *list, nst_rid rid, uint32_t pasid)
{
	const struct told key = { .rid = rid, .pasid = pasid };

	if (!list->count)
		return NULL;
	return bsearch(&key, list->entries, list->count, sizeof(key), by_key);
}

struct told told_list_find(const struct told_list *list, nst_rid rid, uint32_t pasid)
{
	const struct told *told = look_up(list, rid, pasid);

	return told ? *told : (struct told){ .rid = rid, .pasid = pasid };
}

struct told told_list_claim(struct told_list *list, nst_rid rid, uint32_t pasid)
{
	struct told *told = look_up(list, rid, pasid);
	struct told found = told_list_find(list, rid, pasid);

	if (told)
		*told = (struct told){ .rid = rid, .pasid = pasid };
	return found;
}

void told_list_forget(struct told_list *list, nst_rid rid)
{
	for (uint32_t i = 0; i < list->count; i++)
		if (list->entries[i].rid == rid)
			list->entries[i].reason = list->entries[i].flags = 0;
}

int told_list_transfer(struct state_wire *w, struct told_list *list)
{
	STATE_NUMBER(w, list->count);
	w->bad |= list->count > TOLD_MAX;
	if (w->bad) {
		list->count = 0;
		return 0;
	}
	if (w->loading) {
		list->entries = alloc_array(list->count, sizeof(*list->entries));
		if (!list->entries)
			return -ENOMEM;
	}
	for (uint32_t i = 0; i < list->count && !w->bad; i++) {
		STATE_NUMBER(w, list->entries[i].rid);
		STATE_NUMBER(w, list->entries[i].pasid);
		STATE_NUMBER(w, list->entries[i].reason);
		STATE_NUMBER(w, list->entries[i].flags);
	}
	return 0;
}
