/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a guest was told of its devices' table entries, so that a restored unit does not tell it
 * again. It is saved of all devices; after a restore a unit keeps what devices that are not
 * there yet will claim.
 */
#ifndef VIOMMU_TOLD_H
#define VIOMMU_TOLD_H

#include "viommu/state.h"

/* Of a (requester id, PASID). With neither reason nor flags it says nothing. */
struct told {
	nst_rid rid;
	uint32_t pasid; /* NST_NO_PASID: of plain requests */
	uint8_t reason; /* the unit's name for what is wrong */
	uint8_t flags;	/* TOLD_ATTACH_FAILED, and the unit's own from TOLD_UNIT_FLAGS on */
};
enum { TOLD_ATTACH_FAILED = 1, TOLD_UNIT_FLAGS = 2 };

enum { TOLD_MAX = 1 << 17 };

/* Ascending, each (rid, PASID) once, from told_list_order() on. All zeroes: empty. */
struct told_list {
	struct told *entries;
	uint32_t count;
};

/* Room for @max, no more than told_list_add() is called for. -ENOMEM. */
NST_MUST_CHECK int told_list_init(struct told_list *list, size_t max);
/* Empties it, too. */
void told_list_fini(struct told_list *list);
/* Drops what says nothing, and what is more than TOLD_MAX. */
void told_list_add(struct told_list *list, struct told told);
/* Devices with the same requester id are one to the guest. */
void told_list_order(struct told_list *list);
bool told_list_is_ordered(const struct told_list *list);

/* What there is of (@rid, @pasid); and takes it out: then the list says nothing of it any more. */
struct told told_list_find(const struct told_list *list, nst_rid rid, uint32_t pasid);
struct told told_list_claim(struct told_list *list, nst_rid rid, uint32_t pasid);
/* Of all PASIDs of @rid. */
void told_list_forget(struct told_list *list, nst_rid rid);

/* For state_format.transfer(): loading makes the list. -ENOMEM. */
NST_MUST_CHECK int told_list_transfer(struct state_wire *w, struct told_list *list);

#endif
