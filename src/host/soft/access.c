// SPDX-License-Identifier: BSD-3-Clause
/* See access.h. */
#include "host/soft/soft.h"
#include "host/soft/ioas.h"
#include "host/soft/access.h"

#include <errno.h>

/* --- life ------------------------------------------------------------------------------- */

int soft_access_create(struct soft_ctx *ctx, soft_access_unmap_fn *unmap, bool pins_pages,
		       struct soft_access **out)
{
	struct soft_access *access = soft_object_reserve(ctx, sizeof(*access), SOFT_ACCESS);

	if (!access)
		return -ENOMEM;
	access->obj.users = 1;
	access->unmap = unmap;
	access->pins_pages = pins_pages;
	soft_object_finalize(ctx, &access->obj);
	*out = access;
	return 0;
}

static void leave(struct soft_access *access)
{
	struct soft_access **link = &access->ioas->accesses;

	while (*link != access)
		link = &(*link)->next;
	*link = access->next;
	soft_ioas_relax_alignment(access->ioas);
	access->ioas->obj.users--;
	access->ioas = NULL;
}

int soft_access_change_ioas(struct soft_access *access, struct soft_ioas *ioas)
{
	if (access->ioas == ioas)
		return 0;
	if (ioas && access->pins_pages && ioas->alignment < PAGE_SIZE_4K &&
	    !soft_ioas_areas_fit(ioas, PAGE_SIZE_4K))
		return -EADDRINUSE;
	if (access->ioas) {
		while (access->pins)
			soft_access_unpin(access, access->pins);
		leave(access);
	}
	if (ioas) {
		access->ioas = ioas;
		access->next = ioas->accesses;
		ioas->accesses = access;
		ioas->obj.users++;
		soft_ioas_relax_alignment(ioas);
	}
	return 0;
}

void soft_access_destroy(struct soft_ctx *ctx, struct soft_access *access)
{
	if (soft_access_change_ioas(access, NULL))
		return; /* cannot be: letting go does not fail */
	soft_object_abort(ctx, &access->obj);
}

/* --- what is behind addresses -------------------------------------------------------------- */

/* A part of a range that one area maps. */
struct part {
	const struct mem_range *area;
	uint64_t start, last;
};

static struct soft_pages *pages_of(const struct part *part)
{
	return part->area->owner;
}

static uint64_t hva_of(const struct part *part)
{
	return part->area->hva.v + (part->start - part->area->start);
}

/* The part of [start, last] that begins at @start; false if nothing is mapped there. */
static bool first_part(const struct soft_ioas *ioas, uint64_t start, uint64_t last,
		       struct part *out)
{
	uint64_t left;
	const struct mem_range *area = range_map_find(&ioas->areas, start, &left);

	if (area)
		*out = (struct part){ area, start, MIN(last, area->last) };
	return area;
}

/* May it be read or written? Then its memory is there. */
static int check_part(const struct part *part, bool write)
{
	const struct soft_pages *pages = pages_of(part);

	if (!(part->area->perm & (write ? RANGE_WRITE : RANGE_READ)) || (write && !pages->writable))
		return -EPERM;
	if (pages->dmabuf)
		return -EINVAL;
	return soft_pages_populate(pages_of(part), hva_of(part), part->last - part->start + 1);
}

/* -EINVAL, -EOVERFLOW, -ENOENT */
static int check_range(const struct soft_access *access, uint64_t start, uint64_t length,
		       uint64_t *last)
{
	if (!length)
		return -EINVAL;
	if (__builtin_add_overflow(start, length - 1, last))
		return -EOVERFLOW;
	return access->ioas ? 0 : -ENOENT;
}

uint64_t soft_ioas_to_hva(const struct soft_ioas *ioas, uint64_t iova)
{
	struct part part;

	return first_part(ioas, iova, iova, &part) ? hva_of(&part) : 0;
}

/* --- pins ---------------------------------------------------------------------------------- */

/* Pins are of pages: inside the range, areas may only meet between two. */
static bool is_page_aligned(const struct part *part, uint64_t last)
{
	if (!IS_ALIGNED(hva_of(part), PAGE_SIZE_4K))
		return false;
	return part->last == last ||
	       IS_ALIGNED(hva_of(part) + (part->last - part->start) + 1, PAGE_SIZE_4K);
}

static int check_pin(const struct soft_ioas *ioas, uint64_t start, uint64_t last, bool write)
{
	struct part part;

	for (;; start = part.last + 1) {
		int err;

		if (!first_part(ioas, start, last, &part))
			return -ENOENT;
		err = is_page_aligned(&part, last) ? check_part(&part, write) : -EINVAL;
		if (err || part.last == last)
			return err;
	}
}

int soft_access_pin(struct soft_access *access, uint64_t start, uint64_t length, bool write,
		    struct soft_pin **out)
{
	struct soft_pin *pin;
	uint64_t last;
	int err = check_range(access, start, length, &last);

	if (!err)
		err = check_pin(access->ioas, start, last, write);
	if (err)
		return err;
	pin = alloc_object(struct soft_pin);
	if (!pin)
		return -ENOMEM;
	*pin = (struct soft_pin){ .next = access->pins, .start = start, .last = last };
	access->pins = pin;
	*out = pin;
	return 0;
}

void soft_access_unpin(struct soft_access *access, struct soft_pin *pin)
{
	struct soft_pin **link = &access->pins;

	while (*link != pin)
		link = &(*link)->next;
	*link = pin->next;
	free(pin);
}

/* --- unmapping ----------------------------------------------------------------------------- */

static bool has_pin(const struct soft_access *access, uint64_t start, uint64_t last)
{
	for (const struct soft_pin *pin = access->pins; pin; pin = pin->next)
		if (pin->start <= last && pin->last >= start)
			return true;
	return false;
}

int soft_access_blocks_unmap(const struct soft_ioas *ioas, uint64_t start, uint64_t last)
{
	for (const struct soft_access *a = ioas->accesses; a; a = a->next)
		if (!a->unmap && has_pin(a, start, last))
			return -EBUSY;
	return 0;
}

int soft_access_notify_unmap(struct soft_ioas *ioas, uint64_t start, uint64_t last)
{
	for (struct soft_access *a = ioas->accesses; a; a = a->next) {
		if (!has_pin(a, start, last))
			continue;
		a->unmap(a, start, last);
		if (has_pin(a, start, last))
			return -EDEADLOCK;
	}
	return 0;
}

/* --- reading and writing ------------------------------------------------------------------- */

int soft_access_rw(struct soft_access *access, uint64_t start, void *buf, uint64_t length,
		   bool write)
{
	struct part part;
	uint64_t last;
	int err = check_range(access, start, length, &last);

	if (err)
		return err;
	for (;; start = part.last + 1) {
		uint64_t size;

		if (!first_part(access->ioas, start, last, &part))
			return -ENOENT;
		size = part.last - part.start + 1;
		err = check_part(&part, write);
		if (!err)
			err = write ? soft_copy_to_user(soft_user_ptr(hva_of(&part)), buf, size)
				    : soft_copy_from_user(buf, soft_user_ptr(hva_of(&part)), size);
		if (err || part.last == last)
			return err;
		buf = (char *)buf + size;
	}
}
