// SPDX-License-Identifier: BSD-3-Clause
/*
 * Attachments: every way from one state to another with what the device then reaches,
 * the rules of PASIDs, and that a refused change changes nothing - neither the ABI's view
 * nor where DMA goes. Expected values: traces of Linux 7.2 with the VT-d driver.
 */
#include "rig.h"

#include <string.h>

#define IOVA 0x40000000ULL /* mapped in every translation of these tests */
#define GUEST_BYTES (1ULL << 20)

/* Where a device may be; each leads IOVA to other memory. */
enum place { NOWHERE, AUTO, PLAIN, PARENT, NESTED_A, NESTED_B, NUM_PLACES };

struct world {
	struct rig *rig;
	struct guest guest;
	uint8_t *page; /* where AUTO's address space leads */
	uint32_t ioas[2];
	uint32_t pt[NUM_PLACES];
	uint8_t *target[NUM_PLACES];
	uint64_t root_a, root_b;
};

static void make_plain_world(struct world *w, struct rig *rig, uint32_t flags)
{
	static uint8_t page[PAGE] __attribute__((aligned(4096)));

	*w = (struct world){ .rig = rig, .page = page };
	memset(page, 0, sizeof(page));
	w->ioas[0] = ioas_alloc(rig);
	w->ioas[1] = ioas_alloc(rig);
	ok(ioas_map(rig, w->ioas[0], page, PAGE, IOVA, RW));
	w->pt[AUTO] = w->ioas[0];
	ok(hwpt_alloc(rig, rig->devid, w->ioas[0], flags, &w->pt[PLAIN]));
	w->target[AUTO] = page;
	w->target[PLAIN] = page;
	enable_bus_master(rig);
}

/* The parent's address space has the guest at 0, and at IOVA the guest's first page. */
static void make_world(struct world *w, struct rig *rig, uint32_t flags)
{
	make_plain_world(w, rig, flags);
	guest_init(&w->guest, GUEST_BYTES);
	w->root_a = guest_table(&w->guest);
	w->root_b = guest_table(&w->guest);
	guest_map(&w->guest, w->root_a, IOVA, 0x2000);
	guest_map(&w->guest, w->root_b, IOVA, 0x3000);

	ok(ioas_map(rig, w->ioas[1], w->guest.memory, GUEST_BYTES, 0, RW));
	ok(ioas_map(rig, w->ioas[1], w->guest.memory, PAGE, IOVA, RW));
	ok(hwpt_alloc(rig, rig->devid, w->ioas[1], NEST | flags, &w->pt[PARENT]));
	ok(hwpt_alloc_nested(rig, w->pt[PARENT], flags, w->root_a, &w->pt[NESTED_A]));
	ok(hwpt_alloc_nested(rig, w->pt[PARENT], flags, w->root_b, &w->pt[NESTED_B]));
	w->target[PARENT] = w->guest.memory;
	w->target[NESTED_A] = w->guest.memory + 0x2000;
	w->target[NESTED_B] = w->guest.memory + 0x3000;
}

/* Nothing may hold the memory of the world any more. */
static void end_world(struct world *w)
{
	ok(host_close(w->rig, w->rig->dev));
	ok(host_close(w->rig, w->rig->iommu));
	if (w->guest.memory)
		guest_fini(&w->guest);
}

static void check_dma(struct world *w, uint32_t pasid, enum place place)
{
	if (place == NOWHERE)
		dma_is_blocked(w->rig, pasid, IOVA);
	else
		dma_reaches(w->rig, pasid, IOVA, w->target[place]);
}

static int go(struct world *w, uint32_t pasid, enum place place)
{
	if (pasid == NO_PASID)
		return place == NOWHERE ? detach(w->rig) : attach_id(w->rig, w->pt[place]);
	return place == NOWHERE ? detach_pasid(w->rig, pasid)
				: attach_pasid(w->rig, pasid, w->pt[place]);
}

/* The reserved interrupt window is where the RID is, and nowhere else. */
static void check_window(struct world *w, enum place place)
{
	struct iommu_iova_range got[4];
	bool first = place == AUTO || place == PLAIN;

	assert_int_equal(ioas_ranges(w->rig, w->ioas[0], got, NULL), first ? 2 : 1);
	assert_int_equal(ioas_ranges(w->rig, w->ioas[1], got, NULL),
			 place != NOWHERE && !first ? 2 : 1);
}

static void travel(struct world *w, enum place last)
{
	for (enum place from = 0; from <= last; from++) {
		for (enum place to = 0; to <= last; to++) {
			ok(go(w, NO_PASID, from));
			check_dma(w, NO_PASID, from);
			check_window(w, from);
			ok(go(w, NO_PASID, to));
			check_dma(w, NO_PASID, to);
			check_window(w, to);
			ok(go(w, NO_PASID, NOWHERE));
			check_dma(w, NO_PASID, NOWHERE);
			check_window(w, NOWHERE);
		}
	}
	/* everything was given back */
	for (enum place place = last; place >= PLAIN; place--)
		ok(destroy(w->rig, w->pt[place]));
	ok(destroy(w->rig, w->ioas[0]));
	ok(destroy(w->rig, w->ioas[1]));
	end_world(w);
}

static void rid_from_everywhere_to_everywhere(void **state)
{
	struct world w;

	make_world(&w, *state, 0);
	travel(&w, NESTED_B);
}

static void rid_between_plain_domains(void **state)
{
	struct world w;

	make_plain_world(&w, *state, 0);
	travel(&w, PLAIN);
}

static void pasid_from_everywhere_to_everywhere(void **state)
{
	static const uint32_t pasids[] = { 1, 77, 0xfffff };
	struct world w;

	make_world(&w, *state, PASID);
	for (enum place from = 0; from < NUM_PLACES; from++) {
		for (enum place to = 0; to < NUM_PLACES; to++) {
			if (from == AUTO || to == AUTO)
				continue;
			for (size_t i = 0; i < 3; i++) {
				ok(go(&w, pasids[i], from));
				check_dma(&w, pasids[i], from);
				ok(go(&w, pasids[i], to));
				check_dma(&w, pasids[i], to);
				check_dma(&w, NO_PASID, NOWHERE);
				ok(go(&w, pasids[i], NOWHERE));
				check_dma(&w, pasids[i], NOWHERE);
			}
		}
	}
	/* several at once do not see each other */
	ok(go(&w, NO_PASID, PARENT));
	ok(go(&w, 1, NESTED_A));
	ok(go(&w, 77, NESTED_B));
	ok(go(&w, 0xfffff, PLAIN));
	check_dma(&w, NO_PASID, PARENT);
	check_dma(&w, 1, NESTED_A);
	check_dma(&w, 77, NESTED_B);
	check_dma(&w, 0xfffff, PLAIN);
	check_dma(&w, 2, NOWHERE);
	ok(go(&w, 77, NOWHERE));
	check_dma(&w, 77, NOWHERE);
	check_dma(&w, 1, NESTED_A);
	end_world(&w);
}

/* What is cached stays until it is invalidated, and is gone after that: per page, and all. */
static void invalidation_reaches_the_cache(void **state)
{
	struct world w;

	make_world(&w, *state, 0);
	ok(go(&w, NO_PASID, NESTED_A));
	check_dma(&w, NO_PASID, NESTED_A);
	guest_map(&w.guest, w.root_a, IOVA, 0x4000);
	check_dma(&w, NO_PASID, NESTED_A); /* stale, as on hardware */
	ok(flush_page(w.rig, w.pt[NESTED_A], IOVA));
	w.target[NESTED_A] = w.guest.memory + 0x4000;
	check_dma(&w, NO_PASID, NESTED_A);
	guest_unmap(&w.guest, w.root_a, IOVA);
	check_dma(&w, NO_PASID, NESTED_A);
	ok(flush_page(w.rig, w.pt[NESTED_B], IOVA)); /* another domain */
	check_dma(&w, NO_PASID, NESTED_A);
	ok(flush_all(w.rig, w.pt[NESTED_A]));
	check_dma(&w, NO_PASID, NOWHERE);
	end_world(&w);
}

/* What is taken from the parent's address space is gone for the guest's tables at once. */
static void unmap_below_a_nested_table(void **state)
{
	struct world w;
	uint64_t length = GUEST_BYTES;

	make_world(&w, *state, 0);
	ok(go(&w, NO_PASID, NESTED_A));
	check_dma(&w, NO_PASID, NESTED_A);
	ok(ioas_unmap(w.rig, w.ioas[1], 0, &length));
	check_dma(&w, NO_PASID, NOWHERE);
	ok(ioas_map(w.rig, w.ioas[1], w.guest.memory, GUEST_BYTES, 0, RW));
	check_dma(&w, NO_PASID, NESTED_A);
	end_world(&w);
}

/* Leaving a domain empties the cache of it: coming back finds the tables as they are now. */
static void reattach(struct rig *rig, uint32_t flags, uint32_t pasid)
{
	struct world w;

	make_world(&w, rig, flags);
	ok(go(&w, pasid, NESTED_A));
	check_dma(&w, pasid, NESTED_A);
	ok(go(&w, pasid, NESTED_B));
	guest_map(&w.guest, w.root_a, IOVA, 0x5000);
	w.target[NESTED_A] = w.guest.memory + 0x5000;
	ok(go(&w, pasid, NESTED_A));
	check_dma(&w, pasid, NESTED_A);
	ok(go(&w, pasid, NOWHERE));
	guest_map(&w.guest, w.root_a, IOVA, 0x6000);
	w.target[NESTED_A] = w.guest.memory + 0x6000;
	ok(go(&w, pasid, NESTED_A));
	check_dma(&w, pasid, NESTED_A);
	end_world(&w);
}

static void reattach_finds_nothing_stale(void **state)
{
	reattach(*state, 0, NO_PASID);
}

static void reattach_of_a_pasid(void **state)
{
	reattach(*state, PASID, 5);
}

static void plain_rid_errors(void **state)
{
	struct world w;
	struct rig *rig = *state;
	uint32_t id;

	make_plain_world(&w, rig, 0);
	ok(go(&w, NO_PASID, PLAIN));
	ok(go(&w, NO_PASID, PLAIN));
	err(EINVAL, attach_id(rig, rig->devid));
	err(ENOENT, attach_id(rig, 9999));
	err(ENOENT, attach_id(rig, 0));
	check_dma(&w, NO_PASID, PLAIN);
	id = w.ioas[0];
	ok(attach(rig, &id));
	assert_int_not_equal(id, w.ioas[0]);
	err(EBUSY, destroy(rig, id));
	ok(go(&w, NO_PASID, PLAIN));
	err(ENOENT, destroy(rig, id)); /* an automatic one goes with its last attachment */
	err(EBUSY, destroy(rig, w.pt[PLAIN]));
	ok(detach(rig));
	ok(detach(rig));
	ok(destroy(rig, w.pt[PLAIN]));
	end_world(&w);
}

static void rid_errors(void **state)
{
	struct world w;
	struct rig *rig = *state;
	uint32_t id;

	make_world(&w, rig, 0);
	ok(go(&w, NO_PASID, NESTED_A));
	ok(go(&w, NO_PASID, NESTED_A)); /* replaced by itself */
	err(EINVAL, attach_id(rig, rig->devid));
	err(ENOENT, attach_id(rig, 9999));
	err(ENOENT, attach_id(rig, 0));
	check_dma(&w, NO_PASID, NESTED_A);
	id = w.ioas[0];
	ok(attach(rig, &id));
	assert_int_not_equal(id, w.ioas[0]);
	err(EBUSY, destroy(rig, id));
	ok(go(&w, NO_PASID, PARENT));
	err(ENOENT, destroy(rig, id)); /* an automatic one goes with its last attachment */
	ok(detach(rig));
	ok(detach(rig));
	end_world(&w);
}

static void pasid_rules(void **state)
{
	struct world w;
	struct rig *rig = *state;
	uint32_t plain, nested, pasid_plain;

	make_world(&w, rig, PASID);
	pasid_plain = w.pt[PLAIN];
	ok(hwpt_alloc(rig, rig->devid, w.ioas[0], 0, &plain));
	ok(hwpt_alloc_nested(rig, w.pt[PARENT], 0, w.root_a, &nested));

	err(EINVAL, attach_pasid(rig, 3, w.ioas[0]));
	err(EINVAL, attach_pasid(rig, 3, plain));
	err(ENOENT, attach_pasid(rig, 3, 9999));
	err(EINVAL, attach_pasid(rig, 3, rig->devid));
	/* the RID's HWPT must have been made for PASIDs too */
	ok(attach_id(rig, nested));
	err(EINVAL, attach_pasid(rig, 3, w.pt[NESTED_A]));
	ok(attach_id(rig, w.ioas[0]));
	err(EINVAL, attach_pasid(rig, 3, w.pt[NESTED_A]));
	ok(attach_id(rig, w.pt[NESTED_A]));
	ok(attach_pasid(rig, 3, w.pt[NESTED_B]));
	ok(attach_pasid(rig, 3, w.pt[NESTED_B]));
	ok(attach_pasid(rig, 3, w.pt[PARENT]));
	err(EINVAL, attach_pasid(rig, 3, nested));
	check_dma(&w, 3, PARENT);
	err(EINVAL, attach_id(rig, nested));
	err(EINVAL, attach_id(rig, w.ioas[0]));
	check_dma(&w, NO_PASID, NESTED_A);
	err(EBUSY, destroy(rig, w.pt[NESTED_A]));
	/* pasid 0 is the RID's place */
	err(EBUSY, attach_pasid(rig, 0, pasid_plain));
	err(EINVAL, attach_pasid(rig, 1 << 20, pasid_plain));
	err(ENOSPC, attach_pasid(rig, UINT32_MAX, pasid_plain));
	ok(detach(rig));
	ok(attach_pasid(rig, 4, pasid_plain)); /* with no RID attachment */
	err(EINVAL, attach_id(rig, nested));
	ok(attach_id(rig, w.pt[NESTED_A]));
	ok(detach_pasid(rig, 3));
	ok(detach_pasid(rig, 3));
	ok(detach_pasid(rig, 77));
	ok(detach_pasid(rig, 4));
	ok(attach_id(rig, nested));
	ok(detach(rig));

	/* pasid 0 with the flag takes the RID's place, and only the same call gives it back */
	ok(attach_pasid(rig, 0, w.pt[NESTED_B]));
	check_dma(&w, NO_PASID, NESTED_B);
	err(EBUSY, attach_id(rig, w.pt[NESTED_A]));
	ok(detach(rig));
	check_dma(&w, NO_PASID, NESTED_B);
	ok(detach_pasid(rig, 0));
	check_dma(&w, NO_PASID, NOWHERE);
	end_world(&w);
}

/* Linux says yes to every PASID of a device that has none, and does nothing. */
static void pasids_of_a_device_without(void **state)
{
	struct world w;
	struct rig *rig = *state;

	make_world(&w, rig, PASID);
	ok(attach_id(rig, w.pt[NESTED_A]));
	ok(attach_pasid(rig, 5, w.pt[NESTED_B]));
	ok(attach_pasid(rig, 1 << 20, w.pt[PARENT]));
	err(EBUSY, destroy(rig, w.pt[NESTED_B]));
	check_dma(&w, 5, NOWHERE);
	check_dma(&w, NO_PASID, NESTED_A);
	ok(detach_pasid(rig, 1 << 20));
	ok(attach_pasid(rig, 5, w.pt[NESTED_A]));
	ok(destroy(rig, w.pt[NESTED_B]));
	ok(detach_pasid(rig, 5));
	end_world(&w);
}

/* The same with what every VT-d unit has; no PASID of it can be used for DMA. */
static void plain_pasids_of_a_device_without(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), plain, other;

	ok(hwpt_alloc(rig, rig->devid, ioas, PASID, &plain));
	ok(hwpt_alloc(rig, rig->devid, ioas, PASID, &other));
	ok(attach_id(rig, ioas));
	err(EINVAL, attach_pasid(rig, 5, ioas));
	err(EINVAL, attach_pasid(rig, 5, other)); /* the RID's was not made for PASIDs */
	ok(attach_id(rig, plain));
	ok(attach_pasid(rig, 5, other));
	ok(attach_pasid(rig, 1 << 20, other));
	err(EBUSY, attach_pasid(rig, 0, other));
	err(EBUSY, destroy(rig, other));
	ok(detach_pasid(rig, 77));
	ok(detach_pasid(rig, 5));
	ok(detach_pasid(rig, 1 << 20));
	ok(destroy(rig, other));
	ok(detach(rig));
	ok(destroy(rig, plain));
}

/* A refused replace leaves the old attachment, and its interrupt window, in place. */
static void refused_replace_of_another_ioas(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), other = ioas_alloc(rig);
	static uint8_t page[PAGE] __attribute__((aligned(4096)));
	struct iommu_iova_range got[4];

	ok(ioas_map(rig, other, page, PAGE, rig->arch->window, RW));
	ok(attach_id(rig, ioas));
	err(EADDRINUSE, attach_id(rig, other));
	err(EINVAL, attach_id(rig, rig->devid));
	assert_int_equal(ioas_ranges(rig, ioas, got, NULL), 2);
	assert_int_equal(ioas_ranges(rig, other, got, NULL), 1);
	err(EINVAL, ioas_map(rig, ioas, page, PAGE, rig->arch->window, RW));
}

/* The same with another HWPT of the same IOAS: VT-d, as a PASID attach of SMMUv3 differs. */
static void refused_replace_keeps_the_window(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), first, no_pasid;
	struct iommu_iova_range got[4];

	ok(hwpt_alloc(rig, rig->devid, ioas, PASID, &first));
	ok(hwpt_alloc(rig, rig->devid, ioas, 0, &no_pasid));
	ok(attach_id(rig, first));
	ok(attach_pasid(rig, 5, first));
	err(EINVAL, attach_id(rig, no_pasid));
	assert_int_equal(ioas_ranges(rig, ioas, got, NULL), 2);
}

/* Every kind of refused attach and replace. */
static void failed_change_changes_nothing(void **state)
{
	struct world w;
	struct rig *rig = *state;
	struct iommu_hwpt_vtd_s1 odd = { .addr_width = 39 };
	uint32_t bad_nested, no_pasid, other, other_hwpt;

	make_world(&w, rig, PASID);
	ok(hwpt_alloc_data(rig, rig->devid, w.pt[PARENT], PASID, 1, &odd, sizeof(odd),
			   &bad_nested));
	ok(hwpt_alloc(rig, rig->devid, w.ioas[1], 0, &no_pasid));
	other = ioas_alloc(rig);
	ok(ioas_map(rig, other, w.page, PAGE, rig->arch->window, RW));
	ok(hwpt_alloc(rig, rig->devid, other, PASID, &other_hwpt));
	err(EINVAL, attach_id(rig, bad_nested));
	err(EADDRINUSE, attach_id(rig, other_hwpt));
	err(EADDRINUSE, attach_id(rig, other));
	check_window(&w, NOWHERE);
	check_dma(&w, NO_PASID, NOWHERE);
	for (enum place from = PLAIN; from < NUM_PLACES; from++) {
		ok(go(&w, NO_PASID, from));
		ok(go(&w, 9, NESTED_B));
		err(EINVAL, attach_id(rig, bad_nested));
		err(EINVAL, attach_id(rig, no_pasid));
		err(EINVAL, attach_id(rig, w.ioas[1]));
		err(EADDRINUSE, attach_id(rig, other_hwpt));
		err(EADDRINUSE, attach_id(rig, other));
		err(EINVAL, attach_pasid(rig, 9, bad_nested));
		err(EINVAL, attach_pasid(rig, 9, no_pasid));
		check_window(&w, from);
		check_dma(&w, NO_PASID, from);
		check_dma(&w, 9, NESTED_B);
		err(EINVAL, ioas_map(rig, from == PLAIN ? w.ioas[0] : w.ioas[1], w.page, PAGE,
				     rig->arch->window, RW));
	}
	ok(destroy(rig, bad_nested));
	ok(destroy(rig, no_pasid));
	ok(destroy(rig, other_hwpt));
	ok(destroy(rig, other));
	end_world(&w);
}

static void attach_argument_errors(void **state)
{
	struct rig *rig = *state;
	struct vfio_device_attach_iommufd_pt at = { .argsz = sizeof(at), .flags = 2 };
	struct vfio_device_detach_iommufd_pt de = { .argsz = sizeof(de), .flags = 2 };
	const unsigned long AT = VFIO_DEVICE_ATTACH_IOMMUFD_PT, DE = VFIO_DEVICE_DETACH_IOMMUFD_PT;

	at.pt_id = ioas_alloc(rig);
	err(EINVAL, call(rig, rig->dev, AT, &at));
	at.flags = 0;
	at.argsz = 8;
	err(EINVAL, call(rig, rig->dev, AT, &at));
	at.argsz = 12;
	at.flags = VFIO_DEVICE_ATTACH_PASID;
	err(EINVAL, call(rig, rig->dev, AT, &at));
	at.flags = 0;
	at.argsz = 4096;
	ok(call(rig, rig->dev, AT, &at));
	at.argsz = 12;
	ok(call(rig, rig->dev, AT, &at));
	err(EFAULT, call(rig, rig->dev, AT, (void *)BAD_POINTER));
	err(EINVAL, call(rig, rig->dev, DE, &de));
	de.flags = VFIO_DEVICE_DETACH_PASID;
	de.argsz = 8;
	err(EINVAL, call(rig, rig->dev, DE, &de));
	de.flags = 0;
	de.argsz = 4;
	err(EINVAL, call(rig, rig->dev, DE, &de));
	err(EFAULT, call(rig, rig->dev, DE, NULL));
	de.argsz = 8;
	ok(call(rig, rig->dev, DE, &de));
}

/* Two devices, one nested HWPT: one domain, one invalidation for both. */
static void devices_share_a_domain(void **state)
{
	struct world w;
	struct rig *rig = *state, second = *rig;

	make_world(&w, rig, 0);
	rig_add_device(rig, true, second.path, sizeof(second.path));
	second.dev = host_open(&second, second.path);
	ok(bind_device(&second, second.dev, rig->iommu, &second.devid));
	enable_bus_master(&second);
	ok(attach_id(rig, w.pt[NESTED_A]));
	ok(attach_id(&second, w.pt[NESTED_A]));
	check_dma(&w, NO_PASID, NESTED_A);
	w.rig = &second;
	check_dma(&w, NO_PASID, NESTED_A);
	guest_map(&w.guest, w.root_a, IOVA, 0x7000);
	w.target[NESTED_A] = w.guest.memory + 0x7000;
	ok(flush_page(rig, w.pt[NESTED_A], IOVA));
	check_dma(&w, NO_PASID, NESTED_A);
	w.rig = rig;
	check_dma(&w, NO_PASID, NESTED_A);
	ok(host_close(rig, second.dev)); /* the other one leaves without a word */
	check_dma(&w, NO_PASID, NESTED_A);
	err(EBUSY, destroy(rig, w.pt[NESTED_A]));
	ok(detach(rig));
	ok(destroy(rig, w.pt[NESTED_A]));
	end_world(&w);
}

/* As above, with plain domains. */
static void devices_share_a_plain_domain(void **state)
{
	struct world w;
	struct rig *rig = *state, second = *rig;

	make_plain_world(&w, rig, 0);
	rig_add_device(rig, true, second.path, sizeof(second.path));
	second.dev = host_open(&second, second.path);
	ok(bind_device(&second, second.dev, rig->iommu, &second.devid));
	enable_bus_master(&second);
	ok(attach_id(rig, w.pt[PLAIN]));
	check_dma(&w, NO_PASID, PLAIN);
	w.rig = &second;
	check_dma(&w, NO_PASID, NOWHERE); /* each is attached by itself */
	ok(attach_id(&second, w.pt[PLAIN]));
	check_dma(&w, NO_PASID, PLAIN);
	w.rig = rig;
	check_dma(&w, NO_PASID, PLAIN);
	ok(host_close(rig, second.dev));
	check_dma(&w, NO_PASID, PLAIN);
	err(EBUSY, destroy(rig, w.pt[PLAIN]));
	ok(detach(rig));
	ok(destroy(rig, w.pt[PLAIN]));
	end_world(&w);
}

static const struct suite_case cases[] = {
	TEST(rid_from_everywhere_to_everywhere, NEED_VTD | NEED_NESTING | NEED_DMA),
	TEST(rid_between_plain_domains, NEED_DMA),
	TEST(pasid_from_everywhere_to_everywhere,
	     NEED_VTD | NEED_NESTING | NEED_PASID | NEED_PASID_DMA),
	TEST(invalidation_reaches_the_cache, NEED_VTD | NEED_NESTING | NEED_DMA),
	TEST(unmap_below_a_nested_table, NEED_VTD | NEED_NESTING | NEED_DMA),
	TEST(reattach_finds_nothing_stale, NEED_VTD | NEED_NESTING | NEED_DMA),
	TEST(reattach_of_a_pasid, NEED_VTD | NEED_NESTING | NEED_PASID | NEED_PASID_DMA),
	TEST(rid_errors, NEED_VTD | NEED_NESTING | NEED_DMA),
	TEST(plain_rid_errors, NEED_DMA),
	TEST(pasid_rules, NEED_VTD | NEED_NESTING | NEED_PASID | NEED_PASID_DMA),
	TEST(pasids_of_a_device_without, NEED_VTD | NEED_NESTING | NEED_NO_PASID | NEED_OWN_DEVICE),
	TEST(plain_pasids_of_a_device_without, NEED_VTD | NEED_NO_PASID),
	TEST(failed_change_changes_nothing, NEED_VTD | NEED_NESTING | NEED_PASID | NEED_PASID_DMA),
	TEST(refused_replace_of_another_ioas),
	TEST(refused_replace_keeps_the_window, NEED_VTD),
	TEST(attach_argument_errors),
	TEST(devices_share_a_domain, NEED_VTD | NEED_NESTING | NEED_DMA | NEED_TWO_DEVICES),
	TEST(devices_share_a_plain_domain, NEED_DMA | NEED_TWO_DEVICES),
};
SUITE_GROUP(attach, cases)
