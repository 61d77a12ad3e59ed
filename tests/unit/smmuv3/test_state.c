// SPDX-License-Identifier: BSD-3-Clause
/*
 * Save and restore. A random guest that is moved to another VM on another host, in the
 * middle of what it does, must end as the one that was not: same registers, memory,
 * attachments and interrupts. Streams that are not whole are refused whole.
 */
#include "rig.h"

#include "base/alloc.h"
#include "base/endian.h"
#include "base/fnv.h"
#include "viommu/state.h"

#include <linux/pci_regs.h>
#include <string.h>

enum { DEVICES = 3, EMULATED = 0x100, WAITING = 0x101 };

/* --- a guest that can be moved --------------------------------------------------------------- */

struct guest {
	struct rig *rig;
	uint64_t seed;
	bool synced; /* the unit has seen all changes of tables */
};

static struct rig *rig_with_devices(void)
{
	struct rig *rig = rig_create(&(struct rig_options){
		.features = NST_SMMUV3_ATS | NST_SMMUV3_STALLS, .ssid_bits = 8, .stalls = true });

	rig_listen(rig, WAITING);
	for (int i = 0; i < DEVICES; i++)
		ok(rig_open(rig, rig_plug(rig, true)));
	return rig;
}

static struct guest guest_new(uint64_t seed)
{
	struct guest g = { .rig = rig_with_devices(), .seed = seed };

	for (int i = 0; i < DEVICES; i++)
		ok(nst_viommu_attach(g.rig->viommu, g.rig->devices[i].rid, g.rig->devices[i].dev));
	guest_enable(g.rig);
	guest_write_cd(g.rig, GPA_CDTAB, g.rig->root_a, 99);
	*mem64(g.rig, GPA_CDTAB) |= CD_S;
	guest_ste(g.rig, WAITING)[0] = STE_S1(GPA_CDTAB);
	return g;
}

static unsigned int below(struct guest *g, unsigned int limit)
{
	return (unsigned int)(test_random(&g->seed) % limit);
}

static bool is_attached(struct rig *rig, const struct rig_device *dev)
{
	const struct smmu_device *d = rig_unit(rig)->devices;

	while (d && d->dev != dev->dev)
		d = d->next;
	return d;
}

/* As a driver that starts, whatever the queue and the registers are in. */
static void full_sync(struct guest *g)
{
	reg64_set(g->rig, REG_STRTAB_BASE, GPA_STRTAB); /* ignored while it is in use */
	reg32_set(g->rig, REG_STRTAB_CFG, STRTAB_LG2);
	reg64_set(g->rig, REG_EVENTQ_BASE, GPA_EVENTQ | EVENTQ_LG2);
	cr0_set(g->rig, CR0_SMMUEN | CR0_EVENTQEN);
	reg64_set(g->rig, REG_CMDQ_BASE, GPA_CMDQ | CMDQ_LG2);
	g->rig->prod = cmdq_cons(g->rig) & ((2 << CMDQ_LG2) - 1);
	cmdq_kick(g->rig);
	cmdq_ack(g->rig);
	cr0_set(g->rig, CR0_ALL);
	cmdq_put(g->rig, CMD_CFGI_ALL, 31);
	cmdq_run(g->rig, CMD_TLBI_NSNH_ALL, 0);
	g->synced = true;
}

static void change_tables(struct guest *g)
{
	struct rig_device *d = &g->rig->devices[below(g, DEVICES)];

	g->synced = false;
	set_place(g->rig, d, (enum place)below(g, NUM_PLACES));
	if (below(g, 4) == 0) /* CONFIG 7: nested; there is no stage 2 */
		guest_ste(g->rig, d->rid)[0] |= 1 | 7 << 1;
	if (below(g, 4) == 0)
		guest_map(g->rig, g->rig->root_a, PROBE_IOVA,
			  PROBE_IOVA + PAGE_SIZE_4K * (1 + below(g, 3)));
}

static void put_command(struct guest *g)
{
	const uint64_t kinds[][2] = {
		{ CMD_CFGI_ALL, 31 },
		{ CMD_CFGI_STE(g->rig->devices[below(g, DEVICES)].rid), 1 },
		{ CMD_TLBI_NH_ALL, 0 },
		{ CMD_TLBI_NH_VA(ASID_OF(PLACE_A)), PROBE_IOVA },
		{ CMD_SYNC, 0 },
		{ CMD_SYNC_IRQ(77), GPA_SYNC },
		{ CMD_RESUME(WAITING) | (below(g, 2) ? RESUME_RETRY : 0), below(g, 40) },
		{ CMD_RESUME(WAITING), below(g, 40) },
	};
	unsigned int kind = below(g, ARRAY_SIZE(kinds) * 10 + 1) / 10;

	if (below(g, 40) == 0)
		cmdq_put(g->rig, CMD_STALL_TERM(WAITING), 0);
	if (kind < ARRAY_SIZE(kinds))
		cmdq_put(g->rig, kinds[kind][0], kinds[kind][1]);
	else
		cmdq_put(g->rig, 0xff, 0);
	if (below(g, 3))
		cmdq_kick(g->rig);
}

static void recover_queue(struct guest *g)
{
	uint64_t *at = mem64(g->rig, GPA_CMDQ + (cmdq_cons(g->rig) & 0xff) * 16);

	if (below(g, 2) && cmdq_error(g->rig)) {
		at[0] = CMD_SYNC;
		at[1] = 0;
	}
	cmdq_ack(g->rig);
}

static void events(struct guest *g)
{
	static const uint32_t messages[] = { REG_GERROR_CFG0, REG_EVENTQ_CFG0, REG_GERROR_CFG1,
					     REG_EVENTQ_CFG1 };
	uint64_t event[4];

	switch (below(g, 5)) {
	case 0:
		reg32_set(g->rig, REG_IRQ_CTRL, below(g, 2) ? 5 : 0);
		break;
	case 1:
		reg32_set(g->rig, messages[below(g, 4)],
			  (uint32_t)test_random(&g->seed) % 0x1000000);
		break;
	case 2: /* the overflow is seen */
		reg32_set(g->rig, REG_EVENTQ_CONS,
			  (reg32(g->rig, REG_EVENTQ_PROD) & 1U << 31) |
				  (reg32(g->rig, REG_EVENTQ_CONS) & 0xfffff));
		break;
	case 3:
		event_take(g->rig, event);
		break;
	default:
		cmdq_ack(g->rig);
	}
}

static void enables(struct guest *g)
{
	switch (below(g, 6)) {
	case 0:
		cr0_set(g->rig, CR0_ALL & ~CR0_SMMUEN);
		break;
	case 1:
		cr0_set(g->rig, CR0_ALL & ~CR0_EVENTQEN);
		break;
	case 2:
		reg32_set(g->rig, REG_GBPA, GBPA_UPDATE | (below(g, 2) ? GBPA_ABORT : 0));
		break;
	case 3:
		if (below(g, 10) == 0)
			nst_viommu_reset(g->rig->viommu);
		break;
	default:
		cr0_set(g->rig, CR0_ALL);
	}
}

static void plug(struct guest *g)
{
	struct rig_device *d = &g->rig->devices[below(g, DEVICES)];

	if (is_attached(g->rig, d))
		nst_viommu_detach(g->rig->viommu, d->rid);
	else
		ok(nst_viommu_attach(g->rig->viommu, d->rid, d->dev));
}

/* Its device asks again when it may, so each fault comes from somewhere else. */
static void stall(struct guest *g)
{
	unsigned int tag;
	uint64_t gpa;

	if (!waiting(g->rig->notifiers[0], NST_NO_PASID, test_random(&g->seed) % (1ULL << 47),
		     below(g, 2), &gpa, &tag))
		g->seed++;
}

/* What is cached of tables that were changed differs, rightly, from host to host. */
static void dma(struct guest *g)
{
	struct rig_device *d = &g->rig->devices[below(g, DEVICES)];
	uint32_t pasid = below(g, 2) ? NST_NO_PASID : 3;
	uint64_t value = test_random(&g->seed), gpa;

	if (!g->synced)
		return;
	/* a fault is an event; what the host says of it does not move */
	if (dma_pasid(d, pasid, PROBE_IOVA + 8, &value, true))
		nst_viommu_process(g->rig->viommu);
	if (emulated(g->rig, EMULATED, NST_NO_PASID, value, false, &gpa))
		g->seed++;
}

static void step(struct guest *g)
{
	unsigned int what = below(g, 36);

	if (what < 10)
		put_command(g);
	else if (what < 15)
		change_tables(g);
	else if (what < 18)
		recover_queue(g);
	else if (what < 23)
		events(g);
	else if (what < 25)
		enables(g);
	else if (what < 27)
		plug(g);
	else if (what < 30)
		dma(g);
	else if (what < 34)
		stall(g);
	else
		full_sync(g);
}

/* --- the move -------------------------------------------------------------------------------- */

/* In the order in which they came to @from: events are recorded in the order of the list. */
static void attach_as_in(struct rig *to, const struct smmu_device *from)
{
	if (!from)
		return;
	attach_as_in(to, from->next);
	for (int i = 0; i < DEVICES; i++)
		if (to->devices[i].rid == from->rid)
			ok(nst_viommu_attach(to->viommu, from->rid, to->devices[i].dev));
}

static void copy_answers(struct rig *to, const struct rig *from)
{
	to->stall_answers = from->stall_answers;
	to->stall_tag = from->stall_tag;
	to->stall_answer = from->stall_answer;
}

static void copy_guest(struct rig *to, const struct rig *from)
{
	memcpy(to->memory, from->memory, RIG_MEMORY);
	memcpy(to->msis, from->msis, sizeof(to->msis));
	memcpy(to->pulses, from->pulses, sizeof(to->pulses));
	to->num_msis = from->num_msis;
	copy_answers(to, from);
	to->prod = from->prod;
	to->next_table = from->next_table;
}

/* The same guest in another VM on another host, its devices open, unit new. */
static struct rig *rig_like(const struct rig *from)
{
	struct rig *to = rig_with_devices();

	copy_guest(to, from);
	return to;
}

static void move(struct guest *g, bool devices_later)
{
	struct rig *from = g->rig, *to = rig_like(from);
	size_t size;
	void *data;

	ok(nst_viommu_save(from->viommu, &data, &size));
	if (!devices_later)
		attach_as_in(to, rig_unit(from)->devices);
	ok(nst_viommu_restore(to->viommu, data, size));
	if (devices_later)
		attach_as_in(to, rig_unit(from)->devices);
	assert_int_equal(to->num_msis, from->num_msis);
	assert_memory_equal(to->pulses, from->pulses, sizeof(to->pulses));
	assert_memory_equal(to->memory, from->memory, RIG_MEMORY);
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
		enables(g);
		put_command(g);
	}
	before.memory = memory;
	copy_guest(g->rig, &before);
	*g = guest;
	ok(nst_viommu_restore(g->rig->viommu, data, size)); /* what has begun since is terminated */
	copy_answers(g->rig, &before);
	free(memory);
	free(data);
}

static void compare_now(struct guest *a, struct guest *b)
{
	for (unsigned int i = 0; i < SMMU_NUM_REGS; i++)
		if (smmu_reg_get(&rig_unit(a->rig)->regs, i) !=
		    smmu_reg_get(&rig_unit(b->rig)->regs, i))
			fail_msg("register %u: 0x%llx, moved 0x%llx", i,
				 (unsigned long long)smmu_reg_get(&rig_unit(a->rig)->regs, i),
				 (unsigned long long)smmu_reg_get(&rig_unit(b->rig)->regs, i));
	assert_memory_equal(a->rig->memory, b->rig->memory, RIG_MEMORY);
	assert_int_equal(a->rig->num_msis, b->rig->num_msis);
	assert_memory_equal(a->rig->msis, b->rig->msis, sizeof(a->rig->msis));
	assert_memory_equal(a->rig->pulses, b->rig->pulses, sizeof(a->rig->pulses));
	assert_int_equal(a->rig->stall_answers, b->rig->stall_answers);
	assert_int_equal(a->rig->stall_tag, b->rig->stall_tag);
	assert_int_equal(a->rig->stall_answer, b->rig->stall_answer);
}

static void compare(struct guest *a, struct guest *b)
{
	compare_now(a, b);
	full_sync(a);
	full_sync(b);
	for (int i = 0; i < DEVICES; i++)
		assert_int_equal(place_of(&a->rig->devices[i]), place_of(&b->rig->devices[i]));
	assert_int_equal(nested_alive(a->rig), nested_alive(b->rig));
	compare_now(a, b);
	assert_int_equal(rig_soft_stats(b->rig).stale_hits, 0);
}

enum { STEPS = 250 };
enum how { MOVE, DEVICES_LATER, GO_BACK, NUM_HOWS };

static void interrupt(struct guest *g, enum how how)
{
	nst_viommu_process(g->rig->viommu); /* what the host has reported does not move */
	if (how == GO_BACK)
		go_back(g);
	else /* what comes later looks at the tables then */
		move(g, how == DEVICES_LATER && g->synced);
}

static void moved_at_random_points(void **state)
{
	uint64_t random = 17, stalls = 0, answers = 0;

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
		stalls += rig_stats(a.rig).stalls;
		answers += rig_stats(a.rig).stall_answers;
		rig_destroy(a.rig);
	}
	assert_true(stalls > 30 && answers > 10);
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

/* Those that the guest knows of, those that it is still to be told of, and those that nobody waits
 * for. */
static void stalls_are_moved(void **state)
{
	struct guest g = guest_new(1);
	unsigned int tags[35], nobody, low;
	uint64_t event[4], gpa;
	struct nst_notifier *n;

	full_sync(&g);
	err(EINPROGRESS, waiting(g.rig->notifiers[0], NST_NO_PASID, 0x1000, true, &gpa, &nobody));
	assert_true(event_take(g.rig, event));
	rig_listen_end(g.rig, g.rig->notifiers[0]);
	n = rig_listen(g.rig, WAITING);
	for (unsigned int i = 0; i < ARRAY_SIZE(tags); i++)
		err(EINPROGRESS, waiting(n, NST_NO_PASID, i * 0x1000, false, &gpa, &tags[i]));
	assert_int_equal(rig_stats(g.rig).stalls, 1 + 32);
	/* the last has a lower STAG than those before it */
	cmdq_run(g.rig, CMD_RESUME(WAITING), tags[0]);
	err(EINPROGRESS, waiting(n, NST_NO_PASID, 0x99000, true, &gpa, &low));
	assert_int_equal(low, tags[0]);
	move(&g, false);
	move(&g, true);
	move(&g, false);
	cmdq_run(g.rig, CMD_RESUME(WAITING) | RESUME_RETRY, nobody);
	assert_int_equal(g.rig->stall_answers, 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(tags); i++) {
		assert_true(event_take(g.rig, event));
		assert_int_equal(event[0], 0x10 | (uint64_t)WAITING << 32);
		assert_int_equal(event[1], tags[i] | 1ULL << 31 | 1ULL << 35 | 2ULL << 40);
		assert_int_equal(event[2], i * 0x1000);
		cmdq_run(g.rig, CMD_RESUME(WAITING), tags[i]); /* tags[0] was answered */
		assert_int_equal(g.rig->stall_answers, i + 1);
		assert_int_equal(g.rig->stall_tag, tags[i]);
	}
	assert_true(event_take(g.rig, event));
	assert_int_equal(event[2], 0x99000);
	assert_false(event_take(g.rig, event));
	/* the device leaves after the move: the answer is for nobody, not for the next one */
	move(&g, false);
	rig_listen_end(g.rig, g.rig->notifiers[0]);
	rig_listen(g.rig, WAITING);
	cmdq_run(g.rig, CMD_RESUME(WAITING) | RESUME_RETRY, low);
	assert_int_equal(g.rig->stall_answers, ARRAY_SIZE(tags));
	rig_destroy(g.rig);
}

/* --- what must not get lost ------------------------------------------------------------------ */

#define REGISTER(name, offset, size, reset, rw, ...) { #name, size, rw },
static const struct {
	const char *name;
	unsigned int size;
	uint64_t bits;
} registers[] = { SMMU_REGISTERS(REGISTER) };

/* Something that it does not hold after a reset, and may hold. */
static uint64_t other_value(enum smmu_reg reg, uint64_t now)
{
	switch (reg) {
	case SMMU_CR0:
	case SMMU_CR0ACK:
		return CR0_ALL | 2;
	case SMMU_GBPA: /* UPDATE: never seen between accesses */
		return GBPA_ABORT;
	case SMMU_IRQ_CTRLACK:
		return 7;
	case SMMU_GERROR:
		return 0xd;
	default: /* IDR0 to AIDR are the same in every such unit */
		return registers[reg].bits ? registers[reg].bits : now;
	}
}

static void every_register_is_in_the_stream(void **state)
{
	const struct rig_options options = { .features = NST_SMMUV3_ATS | NST_SMMUV3_PRI };
	struct rig *from = rig_create(&options), *to = rig_create(&options);
	size_t size;
	void *data;

	for (unsigned int i = 0; i < ARRAY_SIZE(registers); i++) {
		struct smmu_regs *regs = &rig_unit(from)->regs;
		uint64_t now = smmu_reg_get(regs, i), other = other_value(i, now);

		assert_true(other != now || i <= SMMU_AIDR);
		smmu_reg_set(regs, i, other);
	}
	ok(nst_viommu_save(from->viommu, &data, &size));
	ok(nst_viommu_restore(to->viommu, data, size));
	for (unsigned int i = 0; i < ARRAY_SIZE(registers); i++)
		if (smmu_reg_get(&rig_unit(from)->regs, i) != smmu_reg_get(&rig_unit(to)->regs, i))
			fail_msg("%s is not restored", registers[i].name);
	free(data);
	rig_destroy(from);
	rig_destroy(to);
}

/* A refused ATC_INV is the next CMD_SYNC's error, wherever that is. */
static int refuse_ats(struct rig *rig, unsigned long request, void *arg)
{
	return request == IOMMU_HWPT_INVALIDATE ? -EIO : 0;
}

static void a_refused_atc_inv_is_remembered(void **state)
{
	for (int later = 0; later < 2; later++) {
		struct guest g = guest_new(1);

		set_place(g.rig, &g.rig->devices[0], PLACE_A);
		full_sync(&g);
		g.rig->host.hook = refuse_ats;
		cmdq_put(g.rig, CMD_ATC_INV(g.rig->devices[0].rid), 0);
		cmdq_kick(g.rig);
		g.rig->host.hook = NULL;
		assert_true(rig_unit(g.rig)->atc_failed);
		move(&g, later);
		cmdq_put(g.rig, CMD_SYNC, 0);
		cmdq_kick(g.rig);
		assert_int_equal(cmdq_error(g.rig), 3);
		cmdq_ack(g.rig);
		assert_int_equal(cmdq_cons(g.rig), g.rig->prod);
		rig_destroy(g.rig);
	}
}

/* An overflow, a stopped queue and unread events are where they were, and go on. */
static void pending_events_survive(void **state)
{
	struct guest g = guest_new(1);
	nst_rid rid = g.rig->devices[0].rid;
	uint64_t event[4];

	reg32_set(g.rig, REG_IRQ_CTRL, 0);
	guest_ste(g.rig, rid)[0] = 1 | 7 << 1;
	full_sync(&g);
	cmdq_put(g.rig, 0xff, 0);
	cmdq_put(g.rig, CMD_SYNC_IRQ(77), GPA_SYNC);
	cmdq_kick(g.rig);
	move(&g, false);
	assert_int_equal(cmdq_error(g.rig), 1);
	assert_true(event_take(g.rig, event));
	assert_int_equal(event[0] & 0xff, 4);
	assert_int_equal(event[0] >> 32, rid);
	assert_false(event_take(g.rig, event));
	*mem64(g.rig, GPA_CMDQ + (cmdq_cons(g.rig) & 0xff) * 16) = CMD_SYNC;
	cmdq_ack(g.rig);
	assert_int_equal(cmdq_cons(g.rig), g.rig->prod);
	assert_int_equal(event_type(g.rig), 0); /* the wrong entry is no news */
	rig_destroy(g.rig);
}

static void what_was_told_is_not_told_again(void **state)
{
	for (int later = 0; later < 2; later++) {
		struct guest g = guest_new(1);

		guest_ste(g.rig, g.rig->devices[1].rid)[0] = 1 | 7 << 1;
		full_sync(&g);
		assert_int_equal(event_type(g.rig), 4);
		move(&g, later);
		move(&g, later);
		for (uint32_t i = 0; i < rig_unit(g.rig)->told.count; i++)
			assert_int_equal(rig_unit(g.rig)->told.entries[i].reason, 0);
		full_sync(&g);
		assert_int_equal(event_type(g.rig), 0);
		/* translation begins anew, and so does what is told */
		cr0_set(g.rig, CR0_ALL & ~CR0_SMMUEN);
		cr0_set(g.rig, CR0_ALL);
		assert_int_equal(event_type(g.rig), 4);
		rig_destroy(g.rig);
	}
}

static void knowledge_of_absent_devices_is_kept_and_forgotten(void **state)
{
	struct guest g = guest_new(1);
	struct rig *to = rig_like(g.rig), *third = rig_like(g.rig);
	size_t size, size2;
	void *data, *data2;

	guest_ste(g.rig, g.rig->devices[1].rid)[0] = 1 | 7 << 1;
	full_sync(&g);
	assert_int_equal(event_type(g.rig), 4);
	copy_guest(third, g.rig);
	ok(nst_viommu_save(g.rig->viommu, &data, &size));
	ok(nst_viommu_restore(to->viommu, data, size));
	/* saved again before the device has come */
	ok(nst_viommu_save(to->viommu, &data2, &size2));
	assert_int_equal(size, size2);
	assert_memory_equal(data, data2, size);
	ok(nst_viommu_restore(third->viommu, data2, size2));
	attach_as_in(third, rig_unit(g.rig)->devices);
	assert_int_equal(event_type(third), 0);
	nst_viommu_reset(to->viommu);
	assert_int_equal(rig_unit(to)->told.count, 0);
	ok(nst_viommu_restore(to->viommu, data2, size2));
	assert_int_equal(rig_unit(to)->told.count, 1);
	cr0_set(to, CR0_ALL & ~CR0_SMMUEN);
	assert_int_equal(rig_unit(to)->told.count, 0);
	free(data);
	free(data2);
	rig_destroy(g.rig);
	rig_destroy(to);
	rig_destroy(third);
}

/* Same tables, same ASID, other contents: what is cached is of another time. */
static void nothing_is_cached_from_before(void **state)
{
	struct guest g = guest_new(1);
	struct rig_device *d = &g.rig->devices[0];
	uint64_t before, gpa;
	size_t size;
	void *data;

	set_place(g.rig, d, PLACE_A);
	memcpy(guest_ste(g.rig, EMULATED), guest_ste(g.rig, d->rid), 64);
	full_sync(&g);
	before = *guest_pte(g.rig, g.rig->root_a, PROBE_IOVA);
	ok(nst_viommu_save(g.rig->viommu, &data, &size));
	guest_map(g.rig, g.rig->root_a, PROBE_IOVA, PROBE_IOVA + 2 * PAGE_SIZE_4K);
	full_sync(&g);
	assert_int_equal(place_of(d), PLACE_B);
	ok(emulated(g.rig, EMULATED, NST_NO_PASID, PROBE_IOVA, false, &gpa));
	assert_int_equal(gpa, PROBE_IOVA + 2 * PAGE_SIZE_4K);
	*guest_pte(g.rig, g.rig->root_a, PROBE_IOVA) = before;
	ok(nst_viommu_restore(g.rig->viommu, data, size));
	assert_int_equal(place_of(d), PLACE_A);
	ok(emulated(g.rig, EMULATED, NST_NO_PASID, PROBE_IOVA, false, &gpa));
	assert_int_equal(gpa, PROBE_IOVA + 1 * PAGE_SIZE_4K);
	free(data);
	rig_destroy(g.rig);
}

/* Two devices with one StreamID: one has it on the host, and the guest knows. */
static void devices_that_share_a_name(void **state)
{
	struct guest g = guest_new(1);
	struct rig_device *a = &g.rig->devices[0], *b = &g.rig->devices[1];
	size_t size;
	void *data;

	set_place(g.rig, a, PLACE_A);
	full_sync(&g);
	ok(nst_viommu_renumber(g.rig->viommu, &(struct nst_rid_move){ b->dev, a->rid }, 1));
	assert_int_not_equal(event_type(g.rig), 0);
	assert_int_equal(event_type(g.rig), 0);
	ok(nst_viommu_save(g.rig->viommu, &data, &size));
	ok(nst_viommu_restore(g.rig->viommu, data, size));
	assert_int_equal(event_type(g.rig), 0);
	assert_int_equal((place_of(a) == PLACE_A) + (place_of(b) == PLACE_A), 1);
	free(data);
	rig_destroy(g.rig);
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
	full_sync(&g);
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

/* Where the value of a register is: after the header and the count. */
static uint8_t *value_at(struct stream s, enum smmu_reg reg)
{
	return s.bytes + 32 + 4 + 16 * reg + 8;
}

static void impossible_states_are_refused(void **state)
{
	static const struct {
		enum smmu_reg reg;
		uint64_t flip;
		int errnum;
	} wrong[] = {
		{ SMMU_IDR0, 1 << 0, EOPNOTSUPP }, /* stage 2 */
		{ SMMU_IIDR, 1, EOPNOTSUPP },
		{ SMMU_AIDR, 2, EOPNOTSUPP },
		{ SMMU_IDR0, 1ULL << 32, EINVAL },
		{ SMMU_CR0, 1, EINVAL },    /* not acknowledged */
		{ SMMU_CR0ACK, 1, EINVAL }, /* the other way round */
		{ SMMU_CR0, 1 << 1, EINVAL },
		{ SMMU_CR2, 1 << 2, EINVAL },
		{ SMMU_GBPA, GBPA_UPDATE, EINVAL },
		{ SMMU_IRQ_CTRLACK, 1, EINVAL },
		{ SMMU_IRQ_CTRL, 1, EINVAL },
		{ SMMU_GERROR, 2, EINVAL },
		{ SMMU_STRTAB_BASE, 1, EINVAL },
		{ SMMU_CMDQ_PROD, 1 << 20, EINVAL },
		{ SMMU_CMDQ_CONS, 1U << 31, EINVAL },
		{ SMMU_EVENTQ_PROD, 1 << 20, EINVAL },
		{ SMMU_EVENTQ_CONS, 1ULL << 32, EINVAL },
		{ SMMU_EVENTQ_IRQ_CFG0, 1, EINVAL },
	};
	struct guest g = busy_guest();
	struct stream s = save(g.rig);
	uint8_t *told = s.bytes + s.size - 4;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		uint8_t *value = value_at(s, wrong[i].reg);
		uint64_t was = le_load(value, 8);

		le_store(value, 8, was ^ wrong[i].flip);
		reseal(s);
		refused(g.rig, wrong[i].errnum, s.bytes, s.size);
		le_store(value, 8, was);
	}
	le_store(told - 8, 4, 2); /* whether an ATC_INV was refused */
	reseal(s);
	refused(g.rig, EINVAL, s.bytes, s.size);
	le_store(told - 8, 4, 0);
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

/* Bytes of a stall, and where its fields are. */
enum {
	STALL_BYTES = 42,
	STALL_SID = 2,
	STALL_SSID = 4,
	STALL_WAITS = 8,
	STALL_RECORDED = 9,
	STALL_EVENT = 10
};

static void impossible_stalls_are_refused(void **state)
{
	static const struct {
		unsigned int stall, at, size;
		uint64_t flip;
	} wrong[] = {
		{ 0, 0, 2, 256 }, /* more than there are */
		{ 0, 0, 2, 1 },	  /* twice */
		{ 0, STALL_SSID, 4, 1ULL << 31 },
		{ 0, STALL_WAITS, 1, 2 },
		{ 0, STALL_RECORDED, 1, 2 },
		{ 0, STALL_EVENT, 8, 1 }, /* what is recorded is in memory */
		{ 0, STALL_EVENT + 24, 8, 1 },
		{ 1, STALL_RECORDED, 1, 1 },
		{ 1, STALL_WAITS, 1, 1 }, /* nobody knows of it */
		{ 1, STALL_SID, 2, 1 },	  /* not that of the record */
		{ 1, STALL_SSID, 4, UINT32_MAX },
		{ 1, STALL_EVENT, 8, 0x10 ^ 0x0b }, /* F_WALK_EABT */
		{ 1, STALL_EVENT, 8, 0x10 ^ 0x20 },
		{ 1, STALL_EVENT + 8, 8, 1 }, /* another STAG */
		{ 1, STALL_EVENT + 8, 8, 1ULL << 31 },
		{ 1, STALL_EVENT + 8, 8, 1ULL << 39 },
		{ 1, STALL_EVENT + 24, 8, 1ULL << 12 },
	};
	struct guest g = guest_new(1);
	unsigned int tag;
	struct stream s;
	uint8_t *stalls;
	uint64_t gpa;

	full_sync(&g);
	for (int i = 0; i < 2; i++) {
		err(EINPROGRESS,
		    waiting(g.rig->notifiers[0], NST_NO_PASID, 0x1000, true, &gpa, &tag));
		cr0_set(g.rig, CR0_ALL & ~CR0_EVENTQEN);
	}
	s = save(g.rig);
	stalls = s.bytes + s.size - 4 - 2 * STALL_BYTES;
	assert_int_equal(le_load(stalls - 4, 4), 2);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		uint8_t *value = stalls + wrong[i].stall * STALL_BYTES + wrong[i].at;
		uint64_t was = le_load(value, wrong[i].size);

		le_store(value, wrong[i].size, was ^ wrong[i].flip);
		reseal(s);
		refused(g.rig, EINVAL, s.bytes, s.size);
		le_store(value, wrong[i].size, was);
	}
	for (uint32_t n = 3; n; n <<= 1) { /* more than follow */
		le_store(stalls - 4, 4, n);
		reseal(s);
		refused(g.rig, EINVAL, s.bytes, s.size);
	}
	le_store(stalls - 4, 4, 2);
	for (int on = 1; on >= 0; on--) { /* none while the unit is off */
		le_store(value_at(s, SMMU_CR0), 8, on ? CR0_CMDQEN : CR0_ALL & ~CR0_EVENTQEN);
		le_store(value_at(s, SMMU_CR0ACK), 8, on ? CR0_CMDQEN : CR0_ALL & ~CR0_EVENTQEN);
		reseal(s);
		if (on)
			refused(g.rig, EINVAL, s.bytes, s.size);
	}
	ok(nst_viommu_restore(g.rig->viommu, s.bytes, s.size));
	/* nor in a unit without */
	le_store(value_at(s, SMMU_IDR0), 8, le_load(value_at(s, SMMU_IDR0), 8) | 1 << 24);
	le_store(value_at(s, SMMU_IDR5), 8, 0x74);
	reseal(s);
	refused(g.rig, EINVAL, s.bytes, s.size);
	free(s.bytes);
	rig_destroy(g.rig);
}

/* Registers of MSIs read as 0, and so does ATSCHK. */
static void registers_of_what_is_not_offered_are_refused(void **state)
{
	static const struct {
		enum smmu_reg reg, ack;
		uint64_t value;
	} of_pri[] = {
		{ SMMU_CR0, SMMU_CR0ACK, 2 },  { SMMU_IRQ_CTRL, SMMU_IRQ_CTRLACK, 2 },
		{ SMMU_GERROR, 0, 8 },	       { SMMU_GERRORN, 0, 8 },
		{ SMMU_PRIQ_BASE, 0, 0x1000 }, { SMMU_PRIQ_PROD, 0, 1 },
		{ SMMU_PRIQ_CONS, 0, 1 },      { SMMU_PRIQ_IRQ_CFG0, 0, 0x1000 },
		{ SMMU_PRIQ_IRQ_CFG1, 0, 1 },  { SMMU_PRIQ_IRQ_CFG2, 0, 1ULL << 31 },
	};
	struct rig *rig = rig_create(&(struct rig_options){ .no_msi = true });
	struct stream s = save(rig);

	le_store(value_at(s, SMMU_EVENTQ_IRQ_CFG0), 8, 0x1000);
	reseal(s);
	refused(rig, EINVAL, s.bytes, s.size);
	le_store(value_at(s, SMMU_EVENTQ_IRQ_CFG0), 8, 0);
	for (size_t i = 0; i < ARRAY_SIZE(of_pri); i++) { /* nor is there a PRI queue */
		le_store(value_at(s, of_pri[i].reg), 8, of_pri[i].value);
		if (of_pri[i].ack)
			le_store(value_at(s, of_pri[i].ack), 8, of_pri[i].value);
		reseal(s);
		refused(rig, EINVAL, s.bytes, s.size);
		le_store(value_at(s, of_pri[i].reg), 8, 0);
		if (of_pri[i].ack)
			le_store(value_at(s, of_pri[i].ack), 8, 0);
	}
	le_store(value_at(s, SMMU_CR0), 8, 1 << 4);
	le_store(value_at(s, SMMU_CR0ACK), 8, 1 << 4);
	reseal(s);
	refused(rig, EINVAL, s.bytes, s.size);
	free(s.bytes);
	rig_destroy(rig);
}

static void what_was_told_must_be_in_order(void **state)
{
	struct guest g = guest_new(1);
	struct stream s;
	uint8_t *last;

	for (int i = 0; i < 2; i++)
		guest_ste(g.rig, g.rig->devices[i].rid)[0] = 1 | 7 << 1;
	full_sync(&g);
	s = save(g.rig);
	last = s.bytes + s.size - 8;
	last[7] = 2; /* a flag of nothing */
	reseal(s);
	refused(g.rig, EINVAL, s.bytes, s.size);
	last[7] = 0;
	last[6] = 0; /* nothing at all */
	reseal(s);
	refused(g.rig, EINVAL, s.bytes, s.size);
	last[6] = 4;
	last[2] = 1; /* of a PASID */
	reseal(s);
	refused(g.rig, EINVAL, s.bytes, s.size);
	last[2] = 0xff;
	memcpy(last, last - 8, 2); /* a device twice */
	reseal(s);
	refused(g.rig, EINVAL, s.bytes, s.size);
	free(s.bytes);
	rig_destroy(g.rig);
}

static void capabilities_must_be_the_same(void **state)
{
	struct rig *small = rig_create(&(struct rig_options){ .ssid_bits = 4, .oas_bits = 40 });
	struct rig *big = rig_create(&(struct rig_options){ .ssid_bits = 8 });
	struct rig *no_msi = rig_create(&(struct rig_options){ .ssid_bits = 8, .no_msi = true });
	struct rig *seen = rig_create(&(struct rig_options){ .ssid_bits = 8 });
	struct rig *attached = rig_create(&(struct rig_options){ .ssid_bits = 8 });
	struct rig_device *d = rig_plug(attached, true);
	struct stream less = save(small), full = save(big), other = save(no_msi);

	/* a unit that can do more becomes one that does less, and stays it */
	ok(nst_viommu_restore(big->viommu, less.bytes, less.size));
	assert_int_equal(reg32(big, REG_IDR1), reg32(small, REG_IDR1));
	assert_int_equal(reg32(big, REG_IDR5), reg32(small, REG_IDR5));
	rig_add_device(big);
	assert_int_equal(reg32(big, REG_IDR1), reg32(small, REG_IDR1));
	refused(big, EOPNOTSUPP, full.bytes, full.size);
	/* what its devices show follows */
	ok(rig_open(attached, d));
	ok(nst_viommu_attach(attached->viommu, d->rid, d->dev));
	ok(nst_viommu_restore(attached->viommu, less.bytes, less.size));
	assert_int_equal(d->dev->config_value[d->dev->pasid_cap + PCI_PASID_CAP + 1], 4);
	/* but not the other way round, nor what no host takes away */
	refused(small, EOPNOTSUPP, full.bytes, full.size);
	refused(no_msi, EOPNOTSUPP, full.bytes, full.size);
	refused(seen, EOPNOTSUPP, other.bytes, other.size);
	/* once the guest has seen what is offered it stays */
	reg32(seen, REG_IDR0);
	refused(seen, EOPNOTSUPP, less.bytes, less.size);
	ok(nst_viommu_restore(seen->viommu, full.bytes, full.size));
	free(less.bytes);
	free(full.bytes);
	free(other.bytes);
	rig_destroy(small);
	rig_destroy(big);
	rig_destroy(no_msi);
	rig_destroy(seen);
	rig_destroy(attached);
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

/* One restore into @to, a new unit. When it fails the unit is new again, and the next works. */
static bool restore_with_a_failure(struct rig *to, struct stream s, bool of_calls, unsigned int nth)
{
	struct stream fresh = save(to);
	bool fired;
	int ret;

	if (of_calls)
		rig_fail(&to->host, 0, nth, EIO);
	else
		alloc_fail_nth(nth);
	ret = nst_viommu_restore(to->viommu, s.bytes, s.size);
	fired = of_calls ? !to->host.fail_nth : !alloc_fail_left();
	rig_fail_stop(&to->host);
	alloc_fail_nth(0);
	if (ret) {
		assert_int_equal(ret, of_calls ? -EIO : -ENOMEM);
		all_back(to, &fresh);
		ok(nst_viommu_restore(to->viommu, s.bytes, s.size));
	}
	free(fresh.bytes);
	return fired;
}

static unsigned int sweep(bool of_calls)
{
	struct guest g = busy_guest();
	struct stream s = save(g.rig);
	unsigned int nth = 0;
	bool fired;

	do {
		struct rig *to = rig_like(g.rig);

		attach_as_in(to, rig_unit(g.rig)->devices);
		fired = restore_with_a_failure(to, s, of_calls, ++nth);
		for (int i = 0; i < DEVICES; i++)
			assert_int_equal(place_of(&to->devices[i]), i < 2 ? PLACE_A : PLACE_B);
		assert_int_equal(event_type(to), 0);
		rig_destroy(to);
	} while (fired && nth < 100);
	free(s.bytes);
	rig_destroy(g.rig);
	return nth;
}

static void the_nth_host_call_fails(void **state)
{
	assert_in_range(sweep(true), 5, 30);
}

static void the_nth_allocation_fails(void **state)
{
	assert_in_range(sweep(false), 4, 20);
}

/* It has taken the stream's capabilities when the host refuses, and takes its own again. */
static void a_failed_restore_leaves_what_is_offered(void **state)
{
	struct rig *small = rig_create(&(struct rig_options){ .ssid_bits = 4, .oas_bits = 40 });
	struct rig *big = rig_create(&(struct rig_options){ .ssid_bits = 8 });
	struct stream s, before, after;

	rig_add_device(small);
	guest_enable(small);
	go(small, &small->devices[0], PLACE_A);
	s = save(small);
	rig_add_device(big);
	copy_guest(big, small);
	before = save(big);
	rig_fail_from_now_on(&big->host, IOMMU_HWPT_ALLOC, EIO);
	err(EIO, nst_viommu_restore(big->viommu, s.bytes, s.size));
	rig_fail_stop(&big->host);
	after = save(big);
	assert_int_equal(before.size, after.size);
	assert_memory_equal(before.bytes, after.bytes, before.size);
	assert_int_equal(place_of(&big->devices[0]), PLACE_SAME);
	free(s.bytes);
	free(before.bytes);
	free(after.bytes);
	rig_destroy(small);
	rig_destroy(big);
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
	struct guest moved = { .rig = to };
	struct stream s;

	rig_fail_from_now_on(&g.rig->host, IOMMU_HWPT_ALLOC, EIO);
	set_place(g.rig, &g.rig->devices[0], PLACE_A);
	full_sync(&g);
	assert_int_equal(event_type(g.rig), 4);
	s = save(g.rig);
	copy_guest(to, g.rig);
	attach_as_in(to, rig_unit(g.rig)->devices);
	rig_fail_from_now_on(&to->host, IOMMU_HWPT_ALLOC, EIO);
	ok(nst_viommu_restore(to->viommu, s.bytes, s.size));
	assert_int_equal(place_of(&to->devices[0]), NOWHERE);
	rig_fail_stop(&to->host);
	full_sync(&moved);
	assert_int_equal(place_of(&to->devices[0]), PLACE_A);
	assert_int_equal(event_type(to), 0);
	free(s.bytes);
	rig_destroy(g.rig);
	rig_destroy(to);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(moved_at_random_points),
		cmocka_unit_test(moved_again_and_again),
		cmocka_unit_test(stalls_are_moved),
		cmocka_unit_test(every_register_is_in_the_stream),
		cmocka_unit_test(a_refused_atc_inv_is_remembered),
		cmocka_unit_test(pending_events_survive),
		cmocka_unit_test(what_was_told_is_not_told_again),
		cmocka_unit_test(knowledge_of_absent_devices_is_kept_and_forgotten),
		cmocka_unit_test(nothing_is_cached_from_before),
		cmocka_unit_test(devices_that_share_a_name),
		cmocka_unit_test(damaged_streams_are_refused),
		cmocka_unit_test(impossible_states_are_refused),
		cmocka_unit_test(impossible_stalls_are_refused),
		cmocka_unit_test(registers_of_what_is_not_offered_are_refused),
		cmocka_unit_test(what_was_told_must_be_in_order),
		cmocka_unit_test(capabilities_must_be_the_same),
		cmocka_unit_test(the_nth_host_call_fails),
		cmocka_unit_test(the_nth_allocation_fails),
		cmocka_unit_test(a_failed_restore_leaves_what_is_offered),
		cmocka_unit_test(saving_without_memory),
		cmocka_unit_test(a_refusal_that_the_guest_knows_is_no_failure),
	};

	return cmocka_run_group_tests_name("smmuv3 state", tests, NULL, NULL);
}
