// SPDX-License-Identifier: BSD-3-Clause
/*
 * Save and restore. A random guest that is moved to another VM on another host, in the
 * middle of what it does, must end as the one that was not: same registers, memory,
 * attachments and interrupts. Streams that are not whole are refused whole.
 */
#include "rig.h"

#include "base/alloc.h"
#include "base/fnv.h"

#include <poll.h>
#include <string.h>

enum { DEVICES = 3, PASIDS = 4 }; /* 0 stands for plain requests */

/* --- a guest that can be moved --------------------------------------------------------------- */

struct guest {
	struct rig *rig;
	uint64_t seed;
	bool synced; /* the unit has seen all changes of tables */
};

static struct vtd_device *unit_device(struct rig *rig, nst_rid rid)
{
	struct vtd_device *d = rig_unit(rig)->devices;

	while (d && d->rid != rid)
		d = d->next;
	return d;
}

static struct guest guest_new(uint64_t seed)
{
	struct guest g = { .rig = rig_create(), .seed = seed };

	for (int i = 0; i < DEVICES; i++) {
		struct rig_device *d = rig_plug(g.rig, true);

		ok(rig_open(g.rig, d));
		ok(nst_viommu_attach(g.rig->viommu, d->rid, d->dev));
	}
	guest_enable(g.rig);
	for (int i = 0; i < DEVICES; i++) { /* PASIDE */
		nst_rid rid = g.rig->devices[i].rid;

		guest_context_entry(g.rig, rid)[0] |= 1 << 3;
		memset(guest_pasid_entry(g.rig, rid, 0), 0, 4096);
	}
	guest_sync(g.rig);
	return g;
}

static unsigned int below(struct guest *g, unsigned int limit)
{
	return (unsigned int)(test_random(&g->seed) % limit);
}

/* Without the queue, which may be stopped. */
static void full_sync(struct guest *g)
{
	reg64_set(g->rig, REG_CCMD, 1ULL << 63 | 1ULL << 61);
	reg64_set(g->rig, REG_IOTLB, 1ULL << 63 | 1ULL << 60);
	g->synced = true;
}

static void set_pasid(struct rig *rig, struct rig_device *d, uint32_t pasid, enum place place)
{
	uint64_t *entry = guest_pasid_entry(rig, d->rid, pasid);
	uint64_t plain[3];

	/* made where plain requests have theirs, and moved */
	memcpy(plain, guest_pasid_entry(rig, d->rid, 0), sizeof(plain));
	set_place(rig, d, place);
	memcpy(entry, guest_pasid_entry(rig, d->rid, 0), sizeof(plain));
	if (pasid)
		memcpy(guest_pasid_entry(rig, d->rid, 0), plain, sizeof(plain));
}

static enum place pasid_place(struct rig_device *d, uint32_t pasid)
{
	uint64_t value = NOWHERE;
	struct endpoint_dma_request req = {
		.iova = { PROBE_IOVA },
		.pasid = pasid ? pasid : NST_NO_PASID,
		.buf = &value,
		.size = sizeof(value),
	};

	return endpoint_dma(d->ep, &req) ? NOWHERE : (enum place)value;
}

static void change_tables(struct guest *g)
{
	uint32_t pasid = below(g, PASIDS);
	static const uint64_t types[] = { 1, 1 | 2 << 6, 1 | 1ULL << 3 };
	unsigned int i = below(g, DEVICES);
	struct rig_device *d = &g->rig->devices[i];

	g->synced = false;
	set_pasid(g->rig, d, pasid, (enum place)below(g, NUM_PLACES));
	if (below(g, 4) == 0)
		guest_pasid_entry(g->rig, d->rid, pasid)[0] = types[below(g, 3)];
	guest_context_entry(g->rig, d->rid)[2] = below(g, 8) == 0;
	if (below(g, 4) == 0)
		guest_map(g->rig, g->rig->root_a, PROBE_IOVA,
			  PROBE_IOVA + PAGE_SIZE_4K * (1 + below(g, 3)));
}

static void put_descriptor(struct guest *g)
{
	const uint64_t kinds[] = {
		PC_GLOBAL,
		DESC_CONTEXT(1, 0, 0),
		DESC_CONTEXT(3, 0, g->rig->devices[1].rid),
		DESC_PIOTLB(2, 10 + PLACE_A, 0),
		DESC_IOTLB(1, 0),
		DESC_WAIT(++g->rig->status),
		DESC_WAIT_INTERRUPT,
	};
	unsigned int kind = below(g, ARRAY_SIZE(kinds) * 10 + 1) / 10;

	iq_put(g->rig, kind < ARRAY_SIZE(kinds) ? kinds[kind] : 0xffff, GPA_STATUS);
	if (below(g, 3))
		iq_kick(g->rig);
}

static void recover_queue(struct guest *g)
{
	uint64_t head = reg64(g->rig, REG_IQH);

	if (below(g, 2)) {
		memset(mem64(g->rig, GPA_QUEUE + head), 0, 16);
		*mem64(g->rig, GPA_QUEUE + head) = DESC_WAIT(1);
		*mem64(g->rig, GPA_QUEUE + head + 8) = GPA_STATUS;
	}
	reg32_set(g->rig, REG_FSTS, FSTS_IQE);
}

static void events(struct guest *g)
{
	static const uint16_t controls[] = { REG_FECTL, REG_IECTL };
	static const uint16_t messages[] = { REG_FEDATA, REG_FEADDR, REG_FEUADDR,
					     REG_IEDATA, REG_IEADDR, REG_IEUADDR };

	switch (below(g, 5)) {
	case 0:
		reg32_set(g->rig, controls[below(g, 2)], below(g, 2) ? EVENT_IM : 0);
		break;
	case 1:
		reg32_set(g->rig, messages[below(g, 6)], (uint32_t)test_random(&g->seed));
		break;
	case 2:
		reg32_set(g->rig, REG_ICS, 1);
		break;
	case 3:
		reg32_set(g->rig, REG_FSTS, FSTS_PFO);
		break;
	default:
		reg32_set(g->rig, REG_FRCD + 16 * below(g, 8) + 12, 1u << 31);
	}
}

static void global_command(struct guest *g)
{
	static const uint64_t roots[] = { GPA_ROOT | 1 << 10, GPA_ROOT | 1 << 10, 3 << 10,
					  GPA_NOTHING | 1 << 10, GPA_ROOT };

	switch (below(g, 6)) {
	case 0:
		gcmd(g->rig, 0, GCMD_TE);
		break;
	case 1:
		reg64_set(g->rig, REG_RTADDR, roots[below(g, ARRAY_SIZE(roots))]);
		if (below(g, 4)) /* else only written, not latched */
			gcmd(g->rig, GCMD_SRTP, 0);
		break;
	case 2:
		gcmd(g->rig, 0, GCMD_QIE);
		g->rig->narrow = below(g, 4) == 0;
		iq_enable(g->rig);
		break;
	case 3:
		if (below(g, 10) == 0)
			nst_viommu_reset(g->rig->viommu);
		break;
	default:
		gcmd(g->rig, GCMD_TE, 0);
	}
}

static void plug(struct guest *g)
{
	struct rig_device *d = &g->rig->devices[below(g, DEVICES)];

	if (unit_device(g->rig, d->rid))
		nst_viommu_detach(g->rig->viommu, d->rid);
	else
		ok(nst_viommu_attach(g->rig->viommu, d->rid, d->dev));
}

/* What is cached of tables that were changed differs, rightly, from host to host. */
static void dma(struct guest *g)
{
	struct rig_device *d = &g->rig->devices[below(g, DEVICES)];

	if (!g->synced)
		return;
	pasid_place(d, below(g, PASIDS));
	if (dma_write(d, PROBE_IOVA + 8, test_random(&g->seed)))
		nst_viommu_process(g->rig->viommu); /* what the host says of it does not move */
}

static void step(struct guest *g)
{
	unsigned int what = below(g, 32);

	if (what < 10)
		put_descriptor(g);
	else if (what < 15)
		change_tables(g);
	else if (what < 18)
		recover_queue(g);
	else if (what < 23)
		events(g);
	else if (what < 25)
		global_command(g);
	else if (what < 27)
		plug(g);
	else if (what < 30)
		dma(g);
	else
		full_sync(g);
}

/* --- the move -------------------------------------------------------------------------------- */

/* In the order in which they came to @from: faults are recorded in the order of the list. */
static void attach_as_in(struct rig *to, const struct vtd_device *from)
{
	if (!from)
		return;
	attach_as_in(to, from->next);
	for (int i = 0; i < DEVICES; i++)
		if (to->devices[i].rid == from->rid)
			ok(nst_viommu_attach(to->viommu, from->rid, to->devices[i].dev));
}

static void copy_guest_memory(struct rig *to, const struct rig *from)
{
	memcpy(to->memory, from->memory, RIG_MEMORY);
	memcpy(to->msis, from->msis, sizeof(to->msis));
	to->num_msis = from->num_msis;
	to->narrow = from->narrow;
	to->tail = from->tail;
	to->status = from->status;
	to->next_table = from->next_table;
}

/* The same guest in another VM on another host, its devices closed or open, unit new. */
static struct rig *rig_like(const struct rig *from)
{
	struct rig *to = rig_create();

	for (int i = 0; i < DEVICES; i++)
		ok(rig_open(to, rig_plug(to, true)));
	copy_guest_memory(to, from);
	return to;
}

static void move(struct guest *g, bool devices_later)
{
	struct rig *from = g->rig, *to = rig_like(from);
	unsigned int msis = to->num_msis;
	size_t size;
	void *data;

	ok(nst_viommu_save(from->viommu, &data, &size));
	if (!devices_later)
		attach_as_in(to, rig_unit(from)->devices);
	ok(nst_viommu_restore(to->viommu, data, size));
	if (devices_later)
		attach_as_in(to, rig_unit(from)->devices);
	assert_int_equal(to->num_msis, msis);
	free(data);
	rig_destroy(from);
	g->rig = to;
}

/* Back to an earlier state of the same VM, which went on meanwhile. */
static void go_back(struct guest *g)
{
	uint8_t *memory = malloc(RIG_MEMORY);
	struct guest guest = *g;
	struct rig before = *g->rig;
	size_t size;
	void *data;

	memcpy(memory, g->rig->memory, RIG_MEMORY);
	ok(nst_viommu_save(g->rig->viommu, &data, &size));
	for (int i = 0; i < 20; i++) {
		change_tables(g);
		full_sync(g);
		events(g);
		global_command(g);
		put_descriptor(g);
	}
	before.memory = memory;
	copy_guest_memory(g->rig, &before);
	*g = guest;
	ok(nst_viommu_restore(g->rig->viommu, data, size));
	free(memory);
	free(data);
}

static void compare_now(struct guest *a, struct guest *b)
{
	for (uint64_t at = 0; at < 4096; at += 4)
		if (reg32(a->rig, at) != reg32(b->rig, at))
			fail_msg("register 0x%x: 0x%x, moved 0x%x", (unsigned int)at,
				 reg32(a->rig, at), reg32(b->rig, at));
	assert_memory_equal(a->rig->memory, b->rig->memory, RIG_MEMORY);
	assert_int_equal(a->rig->num_msis, b->rig->num_msis);
	assert_memory_equal(a->rig->msis, b->rig->msis, sizeof(a->rig->msis));
}

static void compare(struct guest *a, struct guest *b)
{
	compare_now(a, b);
	full_sync(a);
	full_sync(b);
	for (int i = 0; i < DEVICES; i++)
		for (uint32_t pasid = 0; pasid < PASIDS; pasid++)
			assert_int_equal(pasid_place(&a->rig->devices[i], pasid),
					 pasid_place(&b->rig->devices[i], pasid));
	assert_int_equal(nested_alive(a->rig), nested_alive(b->rig));
	compare_now(a, b);
	assert_int_equal(rig_soft_stats(b->rig).stale_hits, 0);
}

enum { STEPS = 250 };
enum how { MOVE, DEVICES_LATER, GO_BACK, NUM_HOWS };

static void interrupt(struct guest *g, enum how how)
{
	if (how == GO_BACK)
		go_back(g);
	else /* what comes later looks at the tables then */
		move(g, how == DEVICES_LATER && g->synced);
}

static void moved_at_random_points(void **state)
{
	uint64_t random = 17;

	for (uint64_t seed = 1; seed <= 5; seed++) {
		struct guest a = guest_new(seed);

		for (int i = 0; i < STEPS; i++)
			step(&a);
		for (int n = 0; n < 12; n++) {
			struct guest b = guest_new(seed);
			int point = (int)(test_random(&random) % STEPS);

			for (int i = 0; i < STEPS; i++) {
				if (i == point)
					interrupt(&b, (enum how)(n % NUM_HOWS));
				step(&b);
			}
			if (n == 11)
				compare(&a, &b); /* and a goes on a little */
			else
				compare_now(&a, &b);
			rig_destroy(b.rig);
		}
		rig_destroy(a.rig);
	}
}

static void moved_again_and_again(void **state)
{
	struct guest a = guest_new(99), b = guest_new(99);

	for (int i = 0; i < 400; i++) {
		if (i % 7 == 6)
			interrupt(&b, (enum how)(i / 7 % NUM_HOWS));
		step(&a);
		step(&b);
	}
	compare(&a, &b);
	rig_destroy(a.rig);
	rig_destroy(b.rig);
}

/* --- what must not get lost ------------------------------------------------------------------ */

#define REGISTER(name, offset, size, reset, rw, w1c, ...) { #name, VTD_##name, size, (rw) | (w1c) },
static const struct {
	const char *name;
	enum vtd_reg reg;
	unsigned int size;
	uint64_t bits;
} registers[] = { VTD_REGISTERS(REGISTER) };

/* Something that it does not hold after a reset, and may hold. */
static uint64_t other_value(enum vtd_reg reg, uint64_t now)
{
	switch (reg) {
	case VTD_VER: /* these are the same in every unit */
	case VTD_CAP:
	case VTD_ECAP:
	case VTD_GCMD:
		return now;
	case VTD_GSTS:
		return GCMD_SRTP;
	case VTD_CCMD: /* bit 63: never seen between commands */
	case VTD_IOTLB:
		return registers[reg].bits & INT64_MAX;
	case VTD_FSTS:
		return 0x373;
	case VTD_FECTL:
	case VTD_IECTL:
	case VTD_PECTL:
		return EVENT_IM | EVENT_IP;
	case VTD_PRS:
		return 3;
	case VTD_IQH:
		return 0x120;
	default:
		return registers[reg].bits ? registers[reg].bits
					   : UINT64_MAX >> (64 - 8 * registers[reg].size);
	}
}

static void every_register_is_in_the_stream(void **state)
{
	struct rig *from = rig_create(), *to = rig_create();
	size_t size;
	void *data;

	for (unsigned int i = 0; i < ARRAY_SIZE(registers); i++) {
		struct vtd_regs *regs = &rig_unit(from)->regs;
		uint64_t now = vtd_reg_get(regs, registers[i].reg);
		uint64_t other = other_value(registers[i].reg, now);

		assert_true(other != now || i < 4);
		vtd_reg_set(regs, registers[i].reg, other);
	}
	ok(nst_viommu_save(from->viommu, &data, &size));
	ok(nst_viommu_restore(to->viommu, data, size));
	for (unsigned int i = 0; i < ARRAY_SIZE(registers); i++)
		if (vtd_reg_get(&rig_unit(from)->regs, registers[i].reg) !=
		    vtd_reg_get(&rig_unit(to)->regs, registers[i].reg))
			fail_msg("%s is not restored", registers[i].name);
	free(data);
	rig_destroy(from);
	rig_destroy(to);
}

static void pending_events_survive(void **state)
{
	struct guest g = guest_new(1);
	nst_rid rid = g.rig->devices[0].rid;
	unsigned int told = g.rig->num_msis;

	/* masked both: a fault that was not read, a stopped queue, a completion */
	reg32_set(g.rig, REG_FEADDR, 0xfee01000);
	reg32_set(g.rig, REG_IEADDR, 0xfee02000);
	guest_context_entry(g.rig, rid)[2] = 1;
	guest_sync(g.rig);
	iq_put(g.rig, DESC_WAIT_INTERRUPT, 0);
	iq_put(g.rig, 0xffff, 0);
	iq_put(g.rig, DESC_WAIT(77), GPA_STATUS);
	iq_kick(g.rig);
	move(&g, false);
	assert_int_equal(reg32(g.rig, REG_FSTS), FSTS_PPF | FSTS_IQE);
	assert_int_equal(faults_pending(g.rig), 1);
	assert_int_equal(fault_reason(g.rig, 0), 0x42);
	assert_int_equal(reg64(g.rig, REG_FRCD + 8) & 0xffff, rid);
	assert_int_equal(reg64(g.rig, REG_IQERCD), 3);
	assert_int_equal(reg32(g.rig, REG_FECTL), EVENT_IM | EVENT_IP);
	assert_int_equal(reg32(g.rig, REG_IECTL), EVENT_IM | EVENT_IP);
	/* they are delivered now, once, and where they belong */
	reg32_set(g.rig, REG_FECTL, 0);
	reg32_set(g.rig, REG_IECTL, 0);
	assert_int_equal(g.rig->num_msis, told + 2);
	assert_true(g.rig->msis[told].address == 0xfee01000);
	assert_true(g.rig->msis[told + 1].address == 0xfee02000);
	/* the wrong entry is not reported again, the next mistake goes to the next place */
	guest_context_entry(g.rig, rid)[2] = 0;
	*mem64(g.rig, GPA_QUEUE + reg64(g.rig, REG_IQH)) = DESC_CONTEXT(1, 0, 0);
	guest_pasid_entry(g.rig, rid, 0)[0] = 1;
	reg32_set(g.rig, REG_FSTS, FSTS_IQE);
	assert_int_equal(mem32(g.rig, GPA_STATUS), 77);
	assert_int_equal(reg64(g.rig, REG_IQH), g.rig->tail);
	assert_int_equal(faults_pending(g.rig), 2);
	assert_int_equal(fault_reason(g.rig, 1), 0x5b);
	rig_destroy(g.rig);
}

static bool has_work(struct rig *rig)
{
	struct pollfd p = { .fd = nst_viommu_fd(rig->viommu), .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* 2^20 PASIDs are more than one run looks at: a command and the queue are in the middle. */
static void unfinished_work_goes_on(void **state)
{
	const uint64_t dir = 0x600000, empty = 0x620000, full = 0x621000;

	for (int later = 0; later < 2; later++) {
		struct guest g = guest_new(1);
		struct rig_device *d = &g.rig->devices[0];

		gcmd(g.rig, 0, GCMD_TE);
		for (uint64_t i = 0; i < 1 << 14; i++)
			*mem64(g.rig, dir + 8 * i) = (i == (1 << 14) - 1 ? full : empty) | 1;
		guest_context_entry(g.rig, d->rid)[0] = dir | 7 << 9 | 1 << 3 | 1;
		set_place(g.rig, &g.rig->devices[1], PLACE_B);
		memcpy(mem64(g.rig, full + 63 * 64),
		       guest_pasid_entry(g.rig, g.rig->devices[1].rid, 0), 64);
		gcmd(g.rig, GCMD_TE, 0);
		iq_put(g.rig, DESC_WAIT(99), GPA_STATUS);
		iq_kick(g.rig);
		reg64_set(g.rig, REG_CCMD, 1ULL << 63 | 1ULL << 61);
		assert_int_equal(reg32(g.rig, REG_GSTS) & GCMD_TE, 0);
		move(&g, later);
		d = &g.rig->devices[0];
		if (!later) { /* else the coming of a device has done some of it */
			assert_int_equal(reg32(g.rig, REG_GSTS) & GCMD_TE, 0);
			assert_int_equal(reg64(g.rig, REG_CCMD) >> 63, 1);
		}
		assert_int_not_equal(mem32(g.rig, GPA_STATUS), 99);
		while (has_work(g.rig))
			nst_viommu_process(g.rig->viommu);
		assert_int_equal(reg32(g.rig, REG_GSTS) & GCMD_TE, GCMD_TE);
		assert_int_equal(reg64(g.rig, REG_CCMD) >> 63, 0);
		assert_int_equal(mem32(g.rig, GPA_STATUS), 99);
		assert_int_equal(pasid_place(d, 0xfffff), PLACE_B);
		assert_int_equal(faults_pending(g.rig), 0);
		rig_destroy(g.rig);
	}
}

/* Same tables, same domain, other contents: what the host has cached is of another time. */
static void nothing_is_cached_from_before(void **state)
{
	struct guest g = guest_new(1);
	struct rig_device *d = &g.rig->devices[0];
	uint64_t before;
	size_t size;
	void *data;

	go(g.rig, d, PLACE_A);
	before = *guest_pte(g.rig, g.rig->root_a, PROBE_IOVA);
	ok(nst_viommu_save(g.rig->viommu, &data, &size));
	guest_map(g.rig, g.rig->root_a, PROBE_IOVA, PROBE_IOVA + 2 * PAGE_SIZE_4K);
	full_sync(&g);
	assert_int_equal(place_of(d), PLACE_B);
	*guest_pte(g.rig, g.rig->root_a, PROBE_IOVA) = before;
	ok(nst_viommu_restore(g.rig->viommu, data, size));
	assert_int_equal(place_of(d), PLACE_A);
	free(data);
	rig_destroy(g.rig);
}

/* The guest knows of a wrong entry: the device's coming, after the move, is no news. */
static unsigned int unclaimed(struct rig *rig)
{
	const struct vtd_unit *u = rig_unit(rig);
	unsigned int n = 0;

	for (uint32_t i = 0; i < u->told.count; i++)
		n += u->told.entries[i].reason || u->told.entries[i].flags;
	return n;
}

static void what_was_told_is_not_told_again(void **state)
{
	for (int later = 0; later < 2; later++) {
		struct guest g = guest_new(1);
		nst_rid rid = g.rig->devices[1].rid;

		guest_context_entry(g.rig, rid)[2] = 1;
		guest_pasid_entry(g.rig, g.rig->devices[2].rid, 3)[0] = 1;
		guest_sync(g.rig);
		assert_int_equal(faults_pending(g.rig), 2);
		move(&g, later);
		move(&g, later);
		assert_int_equal(unclaimed(g.rig), 0);
		guest_sync(g.rig);
		assert_int_equal(faults_pending(g.rig), 2);
		/* translation begins anew, and so does what is told */
		faults_clear(g.rig);
		gcmd(g.rig, 0, GCMD_TE);
		gcmd(g.rig, GCMD_TE, 0);
		assert_int_equal(faults_pending(g.rig), 2);
		rig_destroy(g.rig);
	}
}

static void knowledge_of_absent_devices_is_kept_and_forgotten(void **state)
{
	struct guest g = guest_new(1);
	struct rig *to = rig_like(g.rig), *third = rig_like(g.rig);
	size_t size, size2;
	void *data, *data2;

	guest_context_entry(g.rig, g.rig->devices[1].rid)[2] = 1;
	guest_sync(g.rig);
	copy_guest_memory(third, g.rig);
	ok(nst_viommu_save(g.rig->viommu, &data, &size));
	ok(nst_viommu_restore(to->viommu, data, size));
	/* saved again before the device has come */
	ok(nst_viommu_save(to->viommu, &data2, &size2));
	assert_int_equal(size, size2);
	assert_memory_equal(data, data2, size);
	ok(nst_viommu_restore(third->viommu, data2, size2));
	attach_as_in(third, rig_unit(g.rig)->devices);
	assert_int_equal(faults_pending(third), 1);
	nst_viommu_reset(to->viommu);
	assert_int_equal(rig_unit(to)->told.count, 0);
	ok(nst_viommu_restore(to->viommu, data2, size2));
	assert_int_equal(unclaimed(to), 1);
	gcmd(to, 0, GCMD_TE);
	assert_int_equal(rig_unit(to)->told.count, 0);
	free(data);
	free(data2);
	rig_destroy(g.rig);
	rig_destroy(to);
	rig_destroy(third);
}

/* --- refusals -------------------------------------------------------------------------------- */

struct stream {
	uint8_t *bytes;
	size_t size;
};

static struct stream save(struct rig *rig)
{
	struct stream s;
	void *data;

	ok(nst_viommu_save(rig->viommu, &data, &s.size));
	s.bytes = data;
	return s;
}

static void reseal(struct stream s)
{
	uint64_t sum = fnv1a(FNV1A_START, s.bytes, 24);

	le_store(s.bytes + 24, 8, fnv1a(sum, s.bytes + 32, s.size - 32));
}

/* Nothing of the unit, and no call to the host. */
static void refused(struct rig *rig, int errnum, const void *data, size_t size)
{
	struct stream before = save(rig), after;
	unsigned int calls = rig->host.total, logged = rig->logged[NST_LOG_ERROR];

	err(errnum, nst_viommu_restore(rig->viommu, data, size));
	assert_int_equal(rig->host.total, calls);
	assert_int_equal(rig->logged[NST_LOG_ERROR], logged + 1);
	after = save(rig);
	assert_int_equal(before.size, after.size);
	assert_memory_equal(before.bytes, after.bytes, before.size);
	free(before.bytes);
	free(after.bytes);
}

static struct guest busy_guest(void)
{
	struct guest g = guest_new(3);

	for (int i = 0; i < DEVICES; i++)
		set_place(g.rig, &g.rig->devices[i], i < 2 ? PLACE_A : PLACE_B);
	guest_sync(g.rig);
	return g;
}

static void damaged_streams_are_refused(void **state)
{
	struct guest g = busy_guest();
	struct stream s = save(g.rig);

	for (size_t i = 0; i < s.size; i++) {
		/* of its own, so that a sanitizer sees what is read past it */
		uint8_t *cut = malloc(i ? i : 1);

		s.bytes[i] ^= (uint8_t)(1 << i % 8);
		refused(g.rig,
			i >= 8 && i < 12    ? EPROTONOSUPPORT
			: i >= 12 && i < 16 ? EOPNOTSUPP
					    : EINVAL,
			s.bytes, s.size);
		s.bytes[i] ^= (uint8_t)(1 << i % 8);
		memcpy(cut, s.bytes, i);
		refused(g.rig, EINVAL, cut, i);
		/* its length and sum made to fit */
		if (i >= 32) {
			le_store(cut + 16, 8, i - 32);
			reseal((struct stream){ cut, i });
			refused(g.rig, EINVAL, cut, i);
		}
		free(cut);
	}
	s.bytes = realloc(s.bytes, s.size + 8);
	memset(s.bytes + s.size, 0, 8);
	refused(g.rig, EINVAL, s.bytes, s.size + 8);
	le_store(s.bytes + 16, 8, s.size + 8 - 32);
	reseal((struct stream){ s.bytes, s.size + 8 });
	refused(g.rig, EINVAL, s.bytes, s.size + 8);
	for (int i = 0; i < DEVICES; i++)
		assert_int_equal(place_of(&g.rig->devices[i]), i < 2 ? PLACE_A : PLACE_B);
	free(s.bytes);
	rig_destroy(g.rig);
}

/* Where the value of a register is: after the header, 48 bytes and the count. */
static uint8_t *value_at(struct stream s, enum vtd_reg reg)
{
	return s.bytes + 32 + 48 + 4 + 16 * reg + 8;
}

static void impossible_states_are_refused(void **state)
{
	static const struct {
		enum vtd_reg reg;
		uint64_t set;
	} wrong[] = {
		{ VTD_VER, 1 },
		{ VTD_CAP, 1 << 4 },
		{ VTD_ECAP, 1 << 4 },
		{ VTD_GCMD, 1 },
		{ VTD_GSTS, 1 << 27 },
		{ VTD_GSTS, 1 << 28 },
		{ VTD_CCMD, 1ULL << 63 },
		{ VTD_IOTLB, 1ULL << 63 },
		{ VTD_FSTS, 1 << 16 },
		{ VTD_FSTS, FSTS_PPF },
		{ VTD_FRCD5_HI, 1ULL << 63 },
		{ VTD_IQH, 1 << 19 },
		{ VTD_IQH, 8 },
		{ VTD_FECTL, 1ULL << 32 },
		{ VTD_FECTL, 1 },
		{ VTD_FEADDR, 1 },
		{ VTD_IEADDR, 2 },
		{ VTD_RTADDR, 1 },
		{ VTD_IQT, 8 },
		{ VTD_ICS, 2 },
		{ VTD_IECTL, 1 << 29 },
	};
	struct guest g = busy_guest();
	struct stream s = save(g.rig);
	uint8_t *told = s.bytes + s.size - 4;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		uint8_t *value = value_at(s, wrong[i].reg);
		uint64_t was = le_load(value, 8);

		le_store(value, 8, was | wrong[i].set);
		reseal(s);
		refused(g.rig, EINVAL, s.bytes, s.size);
		le_store(value, 8, was);
	}
	le_store(s.bytes + 32 + 24, 8, 1 << 12); /* a table, without interrupt remapping */
	reseal(s);
	refused(g.rig, EINVAL, s.bytes, s.size);
	le_store(s.bytes + 32 + 24, 8, 0);
	le_store(s.bytes + 32 + 32, 4, 8); /* the next fault record: there are 8 */
	reseal(s);
	refused(g.rig, EINVAL, s.bytes, s.size);
	le_store(s.bytes + 32 + 32, 4, 0);
	le_store(s.bytes + 32 + 16, 8, 1); /* the root */
	reseal(s);
	refused(g.rig, EINVAL, s.bytes, s.size);
	le_store(s.bytes + 32 + 16, 8, 0);
	for (int bit = 0; bit < 32; bit++) { /* commands that cannot be unfinished */
		if (1u << bit & (VTD_HOOK_GCMD | VTD_HOOK_CCMD | VTD_HOOK_IOTLB | VTD_HOOK_IQT))
			continue;
		le_store(s.bytes + 32 + 36, 4, 1u << bit);
		reseal(s);
		refused(g.rig, EINVAL, s.bytes, s.size);
	}
	le_store(s.bytes + 32 + 36, 4, 0);
	le_store(s.bytes + 32 + 40, 8, GCMD_TE); /* of no command */
	reseal(s);
	refused(g.rig, EINVAL, s.bytes, s.size);
	le_store(s.bytes + 32 + 36, 4, VTD_HOOK_GCMD);
	le_store(s.bytes + 32 + 40, 8, GCMD_QIE);
	reseal(s);
	refused(g.rig, EINVAL, s.bytes, s.size);
	le_store(s.bytes + 32 + 36, 4, 0);
	le_store(s.bytes + 32 + 40, 8, 0);
	/* more devices than there can be */
	for (uint32_t n = 1; n; n <<= 1) {
		le_store(told, 4, n);
		reseal(s);
		refused(g.rig, EINVAL, s.bytes, s.size);
	}
	le_store(told, 4, 0);
	reseal(s);
	ok(nst_viommu_restore(g.rig->viommu, s.bytes, s.size));
	free(s.bytes);
	rig_destroy(g.rig);
}

static void a_device_twice_is_refused(void **state)
{
	struct guest g = guest_new(1);
	struct stream s;

	for (int i = 0; i < 2; i++)
		guest_context_entry(g.rig, g.rig->devices[i].rid)[2] = 1;
	guest_sync(g.rig);
	s = save(g.rig);
	memcpy(s.bytes + s.size - 8, s.bytes + s.size - 16, 2);
	reseal(s);
	refused(g.rig, EINVAL, s.bytes, s.size);
	free(s.bytes);
	rig_destroy(g.rig);
}

/* A unit before its guest's first access, as a host with less would leave it. */
static void narrow(struct rig *rig, uint64_t cap, uint64_t ecap)
{
	struct vtd_unit *u = rig_unit(rig);

	u->cap &= ~cap;
	u->ecap &= ~ecap;
	vtd_regs_reset(&u->regs, u->cap, u->ecap);
}

static void capabilities_must_be_the_same(void **state)
{
	const uint64_t srs = 1ULL << 31, fs1gp = 1ULL << 56, cm = 1 << 7;
	const uint64_t pasid = 1ULL << 40, pss = 31ULL << 35;
	struct rig *rigs[6];
	struct rig_device *d;
	struct stream full, less, other;

	for (int i = 0; i < 6; i++)
		rigs[i] = rig_create();
	full = save(rigs[0]);
	narrow(rigs[1], fs1gp, srs);
	less = save(rigs[1]);
	narrow(rigs[2], cm, 0); /* what no host takes away */
	other = save(rigs[2]);
	/* a unit that can do more becomes one that does less */
	ok(nst_viommu_restore(rigs[0]->viommu, less.bytes, less.size));
	assert_int_equal(reg64(rigs[0], REG_ECAP) & srs, 0);
	assert_int_equal(reg64(rigs[0], REG_CAP) & fs1gp, 0);
	/* and stays it, also when a device comes whose host has more */
	rig_add_device(rigs[0]);
	assert_int_equal(reg64(rigs[0], REG_ECAP) & srs, 0);
	refused(rigs[0], EOPNOTSUPP, full.bytes, full.size);
	/* what its devices show follows */
	d = rig_plug(rigs[4], true);
	ok(rig_open(rigs[4], d));
	ok(nst_viommu_attach(rigs[4]->viommu, d->rid, d->dev));
	assert_int_equal(unit_device(rigs[4], d->rid)->pasid_bits, 20);
	narrow(rigs[5], 0, pasid | pss);
	free(other.bytes);
	other = save(rigs[5]);
	ok(nst_viommu_restore(rigs[4]->viommu, other.bytes, other.size));
	assert_int_equal(unit_device(rigs[4], d->rid)->pasid_bits, 0);
	free(other.bytes);
	other = save(rigs[2]);
	/* but not the other way round */
	refused(rigs[1], EOPNOTSUPP, full.bytes, full.size);
	refused(rigs[1], EOPNOTSUPP, other.bytes, other.size);
	/* once the guest has seen the capabilities they stay */
	reg64(rigs[3], REG_CAP);
	refused(rigs[3], EOPNOTSUPP, less.bytes, less.size);
	ok(nst_viommu_restore(rigs[3]->viommu, full.bytes, full.size));
	for (int i = 0; i < 6; i++)
		rig_destroy(rigs[i]);
	free(full.bytes);
	free(less.bytes);
	free(other.bytes);
}

/* --- failures -------------------------------------------------------------------------------- */

static void all_back(struct rig *rig, const struct stream *fresh)
{
	struct stream now = save(rig);

	assert_int_equal(now.size, fresh->size);
	assert_memory_equal(now.bytes, fresh->bytes, fresh->size);
	for (int i = 0; i < DEVICES; i++)
		assert_int_equal(place_of(&rig->devices[i]), PLACE_SAME);
	assert_int_equal(nested_alive(rig), 0);
	assert_int_equal(rig->num_msis, 0);
	free(now.bytes);
}

/* Into a unit that is new: when it fails the unit is new again, and the next try works. */
static unsigned int sweep(bool of_calls)
{
	struct guest g = busy_guest();
	struct stream s = save(g.rig);
	unsigned int nth = 0;
	int ret;

	do {
		struct rig *to = rig_like(g.rig);
		struct stream fresh;

		attach_as_in(to, rig_unit(g.rig)->devices);
		fresh = save(to);
		if (of_calls)
			rig_fail(&to->host, 0, ++nth, EIO);
		else
			alloc_fail_nth(++nth);
		ret = nst_viommu_restore(to->viommu, s.bytes, s.size);
		rig_fail_stop(&to->host);
		alloc_fail_nth(0);
		if (ret) {
			assert_int_equal(ret, of_calls ? -EIO : -ENOMEM);
			all_back(to, &fresh);
			ok(nst_viommu_restore(to->viommu, s.bytes, s.size));
		}
		for (int i = 0; i < DEVICES; i++)
			assert_int_equal(place_of(&to->devices[i]), i < 2 ? PLACE_A : PLACE_B);
		assert_int_equal(nested_alive(to), 2);
		assert_int_equal(faults_pending(to), 0);
		free(fresh.bytes);
		rig_destroy(to);
	} while (ret && nth < 100);
	free(s.bytes);
	rig_destroy(g.rig);
	return nth;
}

static void the_nth_host_call_fails(void **state)
{
	assert_in_range(sweep(true), 5, 20); /* two HWPTs, three attachments, and none */
}

static void the_nth_allocation_fails(void **state)
{
	assert_in_range(sweep(false), 4, 20);
}

static void saving_without_memory(void **state)
{
	struct guest g = busy_guest();
	size_t size = 5;
	void *data = &size;

	for (unsigned int nth = 1; nth <= 2; nth++) {
		alloc_fail_nth(nth);
		err(ENOMEM, nst_viommu_save(g.rig->viommu, &data, &size));
		assert_ptr_equal(data, &size);
		assert_int_equal(size, 5);
	}
	alloc_fail_nth(0);
	rig_destroy(g.rig);
}

/* What the host refused there, and the guest knows, it may refuse here. */
static void a_refusal_that_the_guest_knows_is_no_failure(void **state)
{
	struct guest g = guest_new(1);
	struct rig *to = rig_like(g.rig);
	struct stream s;

	rig_fail_from_now_on(&g.rig->host, IOMMU_HWPT_ALLOC, EIO);
	set_place(g.rig, &g.rig->devices[0], PLACE_A);
	guest_sync(g.rig);
	assert_int_equal(faults_pending(g.rig), 1);
	s = save(g.rig);
	copy_guest_memory(to, g.rig);
	attach_as_in(to, rig_unit(g.rig)->devices);
	rig_fail_from_now_on(&to->host, IOMMU_HWPT_ALLOC, EIO);
	ok(nst_viommu_restore(to->viommu, s.bytes, s.size));
	assert_int_equal(place_of(&to->devices[0]), NOWHERE);
	rig_fail_stop(&to->host);
	guest_sync(to);
	assert_int_equal(place_of(&to->devices[0]), PLACE_A);
	assert_int_equal(faults_pending(to), 1);
	free(s.bytes);
	rig_destroy(g.rig);
	rig_destroy(to);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(moved_at_random_points),
		cmocka_unit_test(moved_again_and_again),
		cmocka_unit_test(every_register_is_in_the_stream),
		cmocka_unit_test(pending_events_survive),
		cmocka_unit_test(unfinished_work_goes_on),
		cmocka_unit_test(nothing_is_cached_from_before),
		cmocka_unit_test(what_was_told_is_not_told_again),
		cmocka_unit_test(knowledge_of_absent_devices_is_kept_and_forgotten),
		cmocka_unit_test(damaged_streams_are_refused),
		cmocka_unit_test(impossible_states_are_refused),
		cmocka_unit_test(a_device_twice_is_refused),
		cmocka_unit_test(capabilities_must_be_the_same),
		cmocka_unit_test(the_nth_host_call_fails),
		cmocka_unit_test(the_nth_allocation_fails),
		cmocka_unit_test(saving_without_memory),
		cmocka_unit_test(a_refusal_that_the_guest_knows_is_no_failure),
	};

	return cmocka_run_group_tests_name("vtd state", tests, NULL, NULL);
}
