// SPDX-License-Identifier: BSD-3-Clause
/*
 * The invalidation queue: where head and tail may be, what stops it and what starts it
 * again, and that nothing is reported as done before the host has done it.
 */
#include "rig.h"

#include "viommu/attach.h"

#include <string.h>

enum { IQE_TAIL = 1, IQE_FETCH = 2, IQE_TYPE = 3, IQE_RESERVED = 4, IQE_WIDTH = 5, IQE_ALIGN = 6 };

/* A device on first-stage table A with domain id 7. */
static struct rig_device *on_stage1(struct rig *rig)
{
	struct rig_device *d = &rig->devices[0];

	guest_enable(rig);
	guest_set_stage1(rig, d->rid, rig->root_a, 7);
	iq_run(rig, PC_GLOBAL, 0);
	assert_int_equal(place_of(d), PLACE_A);
	return d;
}

static void assert_stopped(struct rig *rig, unsigned int code, uint64_t head)
{
	assert_int_equal(reg32(rig, REG_FSTS) & FSTS_IQE, FSTS_IQE);
	assert_int_equal(reg64(rig, REG_IQERCD) & 15, code);
	assert_int_equal(reg64(rig, REG_IQH), head);
}

static void every_lap_and_every_length(void **state)
{
	struct rig *rig = *state;

	guest_enable(rig);
	for (unsigned int n = 1; n < 127; n++) {
		for (unsigned int i = 0; i < n; i++)
			iq_put(rig, DESC_WAIT(++rig->status), GPA_STATUS);
		iq_kick(rig);
		assert_int_equal(mem32(rig, GPA_STATUS), rig->status);
		assert_int_equal(reg64(rig, REG_IQH), rig->tail);
	}
	/* as full as it gets */
	for (unsigned int i = 0; i < 127; i++)
		iq_put(rig, DESC_WAIT(++rig->status), GPA_STATUS);
	iq_kick(rig);
	assert_int_equal(mem32(rig, GPA_STATUS), rig->status);
	assert_int_equal(reg32(rig, REG_FSTS), 0);
}

static void empty_queue_does_nothing(void **state)
{
	struct rig *rig = *state;
	uint64_t before;

	guest_enable(rig);
	before = rig_stats(rig).invalidation_descriptors;
	iq_kick(rig);
	iq_kick(rig);
	assert_int_equal(rig_stats(rig).invalidation_descriptors, before);
	assert_int_equal(reg32(rig, REG_FSTS), 0);
}

static void narrow_queue_has_twice_the_entries(void **state)
{
	struct rig *rig = *state;

	rig->narrow = true;
	iq_enable(rig);
	for (unsigned int i = 0; i < 255; i++)
		iq_put(rig, DESC_WAIT(++rig->status), GPA_STATUS);
	iq_kick(rig);
	assert_int_equal(mem32(rig, GPA_STATUS), rig->status);
	assert_int_equal(reg64(rig, REG_IQH), 255 * 16);
	iq_sync(rig);
	assert_int_equal(reg64(rig, REG_IQH), 0);
	iq_put(rig, PC_GLOBAL, 0);	/* needs 256 bits */
	iq_kick(rig);
	assert_stopped(rig, IQE_WIDTH, 0);
}

static void bigger_queues(void **state)
{
	struct rig *rig = *state;

	for (unsigned int qs = 0; qs < 8; qs++) {
		uint64_t size = 4096ULL << qs, last = size - 32;

		memset(&rig->memory[GPA_DATA], 0, size);
		reg32_set(rig, REG_IQT, 0);
		reg64_set(rig, REG_IQA, GPA_DATA | 1 << 11 | qs);
		gcmd(rig, GCMD_QIE, 0);
		for (uint64_t at = 0; at < last; at += 32)
			*mem64(rig, GPA_DATA + at) = 5;		/* a wait for nothing */
		*mem64(rig, GPA_DATA + last - 32) = DESC_WAIT(100 + qs);
		*mem64(rig, GPA_DATA + last - 24) = GPA_STATUS;
		reg32_set(rig, REG_IQT, (uint32_t)last);
		assert_int_equal(reg64(rig, REG_IQH), last);
		assert_int_equal(mem32(rig, GPA_STATUS), 100 + qs);
		if (qs < 7) {	/* the register holds no tail beyond the biggest queue */
			reg32_set(rig, REG_IQT, (uint32_t)size);
			assert_stopped(rig, IQE_TAIL, last);
			reg32_set(rig, REG_IQT, (uint32_t)last);
			reg32_set(rig, REG_FSTS, FSTS_IQE);
		}
		assert_int_equal(reg32(rig, REG_FSTS), 0);
		gcmd(rig, 0, GCMD_QIE);
	}
}

/* The guest may write IQA at any time; the head is then taken inside the new queue. */
static void a_queue_that_shrinks_under_its_head(void **state)
{
	struct rig *rig = *state;

	for (uint64_t at = 0; at < 8192; at += 32)
		*mem64(rig, GPA_DATA + at) = 5;
	reg64_set(rig, REG_IQA, GPA_DATA | 1 << 11 | 1);
	gcmd(rig, GCMD_QIE, 0);
	reg32_set(rig, REG_IQT, 200 * 32);
	assert_int_equal(reg64(rig, REG_IQH), 200 * 32);
	*mem64(rig, GPA_DATA + 72 * 32) = DESC_WAIT(9);
	*mem64(rig, GPA_DATA + 72 * 32 + 8) = GPA_STATUS;
	*mem64(rig, GPA_DATA + 200 * 32) = 0;
	reg64_set(rig, REG_IQA, GPA_DATA | 1 << 11);
	reg32_set(rig, REG_IQT, 73 * 32);
	assert_int_equal(mem32(rig, GPA_STATUS), 9);
	assert_int_equal(reg64(rig, REG_IQH), 73 * 32);
	assert_int_equal(reg32(rig, REG_FSTS), 0);
}

static void tail_beyond_the_queue_is_an_error_not_a_hang(void **state)
{
	struct rig *rig = *state;

	guest_enable(rig);
	reg32_set(rig, REG_IQT, 4096);
	assert_stopped(rig, IQE_TAIL, rig->tail);
	/* cleared with the tail still there: the same again */
	reg32_set(rig, REG_FSTS, FSTS_IQE);
	assert_stopped(rig, IQE_TAIL, rig->tail);
	assert_int_equal(rig_stats(rig).queue_errors, 2);
	reg32_set(rig, REG_IQT, (uint32_t)rig->tail);
	reg32_set(rig, REG_FSTS, FSTS_IQE);
	assert_int_equal(reg32(rig, REG_FSTS), 0);
	iq_sync(rig);
}

static void tail_between_wide_descriptors_is_an_error(void **state)
{
	struct rig *rig = *state;

	guest_enable(rig);
	reg32_set(rig, REG_IQT, (uint32_t)rig->tail + 16);
	assert_stopped(rig, IQE_ALIGN, rig->tail);
	/* the lower bits are not there at all */
	reg32_set(rig, REG_IQT, (uint32_t)rig->tail + 15);
	reg32_set(rig, REG_FSTS, FSTS_IQE);
	assert_int_equal(reg32(rig, REG_FSTS), 0);
	assert_int_equal(reg64(rig, REG_IQT), rig->tail);
}

static void a_bad_descriptor_stops_the_queue_until_the_error_is_cleared(void **state)
{
	static const struct { uint64_t qw0; unsigned int code; } bad[] = {
		{ 0, IQE_TYPE }, { 10, IQE_TYPE }, { 1, IQE_RESERVED }, { 5 | 1 << 8, IQE_RESERVED },
		{ DESC_PIOTLB(1, 1, 0), IQE_RESERVED },
	};
	struct rig *rig = *state;
	uint64_t at;

	guest_enable(rig);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		iq_put(rig, DESC_WAIT(++rig->status), GPA_STATUS);
		at = rig->tail;
		iq_put(rig, bad[i].qw0, 0);
		iq_put(rig, DESC_WAIT(++rig->status), GPA_STATUS);
		iq_kick(rig);
		/* what came before is done, what comes after is not */
		assert_int_equal(mem32(rig, GPA_STATUS), rig->status - 1);
		assert_stopped(rig, bad[i].code, at);
		iq_kick(rig);
		assert_int_equal(mem32(rig, GPA_STATUS), rig->status - 1);
		/* as Linux does it: a harmless descriptor in its place, then clear */
		*mem64(rig, GPA_QUEUE + at) = 5;
		reg32_set(rig, REG_FSTS, FSTS_IQE);
		assert_int_equal(mem32(rig, GPA_STATUS), rig->status);
		assert_int_equal(reg64(rig, REG_IQH), rig->tail);
		assert_int_equal(reg32(rig, REG_FSTS), 0);
	}
	assert_int_equal(rig_stats(rig).queue_errors, ARRAY_SIZE(bad));
}

/*
 * Descriptors are copied some at a time, but carried out, and refused, one by one: from @start of the queue on
 * @before waits with a status of their own each, then a wrong one, then @behind more.
 */
static void stops_exactly(struct rig *rig, unsigned int start, unsigned int before, unsigned int behind)
{
	gcmd(rig, 0, GCMD_QIE);
	iq_enable(rig);
	for (unsigned int i = 0; i < start; i++)
		iq_put(rig, DESC_WAIT(0), GPA_STATUS);
	iq_kick(rig);
	memset(&rig->memory[GPA_DATA], 0, 4096);
	for (unsigned int i = 0; i < before; i++)
		iq_put(rig, DESC_WAIT(i + 1), GPA_DATA + 4 * i);
	iq_put(rig, 0xf, 0);
	for (unsigned int i = 0; i < behind; i++)
		iq_put(rig, DESC_WAIT(1), GPA_DATA + 2048 + 4 * i);
	iq_kick(rig);
	assert_stopped(rig, IQE_TYPE, (start + before) % 128 * 32);
	for (unsigned int i = 0; i < before; i++)
		assert_int_equal(mem32(rig, GPA_DATA + 4 * i), i + 1);
	for (unsigned int i = 0; i < behind; i++)
		assert_int_equal(mem32(rig, GPA_DATA + 2048 + 4 * i), 0);
	reg32_set(rig, REG_IQT, reg32(rig, REG_IQH)); /* nothing more to do */
	reg32_set(rig, REG_FSTS, FSTS_IQE);
}

static void one_that_is_wrong_stops_it_exactly_there(void **state)
{
	static const unsigned int starts[] = { 0, 1, 31, 32, 100, 127 }, lengths[] = { 0, 1, 30, 31, 32, 33, 64, 90 };
	struct rig *rig = *state;

	guest_enable(rig);
	for (size_t s = 0; s < ARRAY_SIZE(starts); s++)
		for (size_t n = 0; n < ARRAY_SIZE(lengths); n++)
			stops_exactly(rig, starts[s], lengths[n], lengths[n] / 3);
}

/* The first half is memory, the second is not. */
static void a_queue_that_leaves_memory(void **state)
{
	struct rig *rig = *state;
	uint64_t base = RIG_MEMORY - 4096;

	reg32_set(rig, REG_IQT, 0);
	reg64_set(rig, REG_IQA, base | 1 << 11 | 1);
	gcmd(rig, GCMD_QIE, 0);
	for (unsigned int i = 0; i < 128; i++) {
		*mem64(rig, base + 32 * i) = DESC_WAIT(i + 1);
		*mem64(rig, base + 32 * i + 8) = GPA_DATA + 4 * i;
	}
	reg32_set(rig, REG_IQT, 120 * 32);
	assert_int_equal(mem32(rig, GPA_DATA + 4 * 119), 120);
	reg32_set(rig, REG_IQT, 140 * 32);
	assert_stopped(rig, IQE_FETCH, 128 * 32);
	for (unsigned int i = 0; i < 128; i++)
		assert_int_equal(mem32(rig, GPA_DATA + 4 * i), i + 1);
}

static void queue_in_no_memory(void **state)
{
	static const uint64_t bases[] = { GPA_NOTHING, 0xfffffffffffff000, RIG_MEMORY };
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bases); i++) {
		reg32_set(rig, REG_IQT, 0);
		reg64_set(rig, REG_IQA, bases[i] | 1 << 11);
		gcmd(rig, GCMD_QIE, 0);
		assert_int_equal(reg32(rig, REG_FSTS), 0);
		reg32_set(rig, REG_IQT, 32);
		assert_stopped(rig, IQE_FETCH, 0);
		gcmd(rig, 0, GCMD_QIE);
		reg32_set(rig, REG_FSTS, FSTS_IQE);
	}
}

static void queue_at_address_zero(void **state)
{
	struct rig *rig = *state;

	*mem64(rig, 0) = DESC_WAIT(0x55);
	*mem64(rig, 8) = GPA_STATUS;
	reg64_set(rig, REG_IQA, 1 << 11);
	gcmd(rig, GCMD_QIE, 0);
	reg32_set(rig, REG_IQT, 32);
	assert_int_equal(mem32(rig, GPA_STATUS), 0x55);
}

static void a_queue_that_is_off_waits(void **state)
{
	struct rig *rig = *state;

	iq_enable(rig);
	gcmd(rig, 0, GCMD_QIE);
	iq_put(rig, DESC_WAIT(9), GPA_STATUS);
	iq_kick(rig);
	assert_int_equal(mem32(rig, GPA_STATUS), 0);
	assert_int_equal(reg64(rig, REG_IQH), 0);
	/* Windows writes the tail first */
	gcmd(rig, GCMD_QIE, 0);
	assert_int_equal(mem32(rig, GPA_STATUS), 9);
	/* on again without having been off: nothing begins anew */
	gcmd(rig, GCMD_QIE, 0);
	assert_int_equal(reg64(rig, REG_IQH), 32);
	/* off and on: from the start */
	gcmd(rig, 0, GCMD_QIE);
	assert_int_equal(reg64(rig, REG_IQH), 0);
}

static void waits(void **state)
{
	struct rig *rig = *state;

	guest_enable(rig);
	/* status to no memory, or to memory the guest may not write: the queue goes on */
	iq_put(rig, DESC_WAIT(1), GPA_NOTHING);
	iq_put(rig, DESC_WAIT(2), 0xfffffffffffffffc);
	iq_put(rig, DESC_WAIT(3), GPA_STATUS + 0x10);
	iq_kick(rig);
	assert_int_equal(mem32(rig, GPA_STATUS + 0x10), 3);
	assert_int_equal(reg64(rig, REG_IQH), rig->tail);
	assert_int_equal(reg32(rig, REG_FSTS), 0);
	/* with and without the fence, status, interrupt; 4 bytes are written, not 8 */
	*mem64(rig, GPA_STATUS) = 0x1111111122222222;
	iq_put(rig, DESC_WAIT(0xffffffff) | 1 << 6, GPA_STATUS);
	iq_kick(rig);
	assert_true(*mem64(rig, GPA_STATUS) == 0x11111111ffffffff);
	assert_int_equal(reg32(rig, REG_ICS), 0);
	iq_put(rig, DESC_WAIT(4) | 1 << 4 | 1 << 6 | 1 << 7, GPA_STATUS);
	iq_kick(rig);
	assert_int_equal(mem32(rig, GPA_STATUS), 4);
	assert_int_equal(reg32(rig, REG_ICS), 1);
	iq_put(rig, 5, 0);
	iq_kick(rig);
	assert_int_equal(reg64(rig, REG_IQH), rig->tail);
}

/* Hook: count invalidations for which the guest has seen the completion already. */
static int count_early_completions(struct rig *rig, unsigned long request, void *arg)
{
	unsigned int *early = rig->hook_data;

	if (request == IOMMU_HWPT_INVALIDATE)
		*early += mem32(rig, GPA_STATUS) == rig->status || (reg32(rig, REG_ICS) & 1);
	return 0;
}

static void completion_comes_after_the_invalidations(void **state)
{
	struct rig *rig = *state;
	unsigned int early = 0;

	on_stage1(rig);
	rig->host.hook = count_early_completions;
	rig->hook_data = &early;
	for (unsigned int i = 0; i < 8; i++) {
		unsigned int calls = rig_calls(&rig->host, IOMMU_HWPT_INVALIDATE);

		reg32_set(rig, REG_ICS, 1);
		iq_put(rig, DESC_PIOTLB(3, 7, 0), PROBE_IOVA | i);
		iq_put(rig, DESC_WAIT(++rig->status) | 1 << 4, GPA_STATUS);
		iq_kick(rig);
		assert_int_equal(mem32(rig, GPA_STATUS), rig->status);
		assert_int_equal(reg32(rig, REG_ICS), 1);
		assert_int_equal(rig_calls(&rig->host, IOMMU_HWPT_INVALIDATE), calls + 1);
		assert_int_equal(early, 0);
	}
	rig->hook_data = NULL;
}

/* Also without a wait: the run ends with everything done. */
static void invalidations_without_a_wait_are_done_too(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = on_stage1(rig);

	guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 2 * PAGE_SIZE_4K);
	iq_put(rig, DESC_PIOTLB(3, 7, 0), PROBE_IOVA);
	iq_kick(rig);
	assert_int_equal(place_of(d), PLACE_B);
	/* and when the queue stops at an error */
	guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 3 * PAGE_SIZE_4K);
	iq_put(rig, DESC_PIOTLB(3, 7, 0), PROBE_IOVA);
	iq_put(rig, 0, 0);
	iq_kick(rig);
	assert_int_equal(reg32(rig, REG_FSTS) & FSTS_IQE, FSTS_IQE);
	assert_int_equal(place_of(d), PLACE_C);
}

static void one_host_call_for_any_mix_of_one_domain(void **state)
{
	struct rig *rig = *state;
	unsigned int calls, attaches;

	on_stage1(rig);
	calls = rig_calls(&rig->host, IOMMU_HWPT_INVALIDATE);
	attaches = rig_calls(&rig->host, VFIO_DEVICE_ATTACH_IOMMUFD_PT);
	for (unsigned int i = 0; i < 40; i++)
		iq_put(rig, DESC_PIOTLB(3, 7, 0), (PROBE_IOVA + i * 4096) | i % 19 | (i & 1) << 6);
	iq_put(rig, PC_GLOBAL, 0);	/* changes nothing, so costs nothing */
	iq_put(rig, DESC_PIOTLB(2, 8, 0), 0);	/* another domain: nobody's */
	iq_put(rig, DESC_PIOTLB(3, 7, 1), PROBE_IOVA);	/* another PASID: nobody's */
	iq_sync(rig);
	assert_int_equal(rig_calls(&rig->host, IOMMU_HWPT_INVALIDATE), calls + 1);
	assert_int_equal(rig_calls(&rig->host, VFIO_DEVICE_ATTACH_IOMMUFD_PT), attaches);
	assert_int_equal(rig_stats(rig).host_invalidate_calls, calls + 1);
	assert_int_equal(rig_soft_stats(rig).invalidate_entries, 40);
	/* one that covers everything swallows the others, before and after it */
	iq_put(rig, DESC_PIOTLB(3, 7, 0), PROBE_IOVA);
	iq_put(rig, DESC_PIOTLB(2, 7, 0), 0);
	iq_put(rig, DESC_PIOTLB(3, 7, 0), PROBE_IOVA);
	iq_sync(rig);
	assert_int_equal(rig_calls(&rig->host, IOMMU_HWPT_INVALIDATE), calls + 2);
	assert_int_equal(rig_soft_stats(rig).invalidate_entries, 41);
	/* two waits are two calls */
	iq_put(rig, DESC_PIOTLB(3, 7, 0), PROBE_IOVA);
	iq_put(rig, 5, 0);
	iq_put(rig, DESC_PIOTLB(3, 7, 0), PROBE_IOVA);
	iq_sync(rig);
	assert_int_equal(rig_calls(&rig->host, IOMMU_HWPT_INVALIDATE), calls + 4);
}

/* Hook: keep what the host is asked to invalidate. */
struct seen {
	unsigned int calls, entries;
	struct iommu_hwpt_vtd_s1_invalidate last;
};

static int see_invalidations(struct rig *rig, unsigned long request, void *arg)
{
	const struct iommu_hwpt_invalidate *cmd = arg;
	struct seen *seen = rig->hook_data;

	if (request != IOMMU_HWPT_INVALIDATE)
		return 0;
	assert_true(cmd->entry_num && cmd->entry_num <= ATTACH_BATCH_MAX);
	seen->calls++;
	seen->entries += cmd->entry_num;
	memcpy(&seen->last,
	       (const char *)(uintptr_t)cmd->data_uptr + (cmd->entry_num - 1) * sizeof(seen->last),
	       sizeof(seen->last));
	return 0;
}

static void what_the_host_is_asked(void **state)
{
	struct rig *rig = *state;
	struct seen seen = { 0 };

	on_stage1(rig);
	rig->host.hook = see_invalidations;
	rig->hook_data = &seen;
	iq_run(rig, DESC_PIOTLB(3, 7, 0), 0x12345000 | 3 | 1 << 6);
	assert_true(seen.last.addr == 0x12340000 && seen.last.npages == 8);
	assert_int_equal(seen.last.flags, IOMMU_VTD_INV_FLAGS_LEAF);
	iq_run(rig, DESC_PIOTLB(2, 7, 0), 0);
	assert_true(seen.last.addr == 0 && seen.last.npages == UINT64_MAX && !seen.last.flags);
	/* descriptors of the other kind cover first-stage entries of their domain too:
	 * QEMU forwards none of these, reference/qemu.md 4.1 (5) */
	iq_run(rig, DESC_IOTLB(1, 0), 0);
	iq_run(rig, DESC_IOTLB(2, 7), 0);
	iq_run(rig, DESC_IOTLB(3, 7), PROBE_IOVA);
	assert_true(seen.last.addr == 0 && seen.last.npages == UINT64_MAX);
	assert_int_equal(seen.calls, 5);
	iq_run(rig, DESC_IOTLB(2, 8), 0);
	assert_int_equal(seen.calls, 5);
}

static void a_batch_may_overflow(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = on_stage1(rig);
	struct seen seen = { 0 };
	uint64_t n = 2 * ATTACH_BATCH_MAX + 5, size = 32 * (n + 2);

	rig->host.hook = see_invalidations;
	rig->hook_data = &seen;
	/* in a queue of 64 KiB, its last descriptors after the wrap */
	gcmd(rig, 0, GCMD_QIE);
	memset(&rig->memory[GPA_DATA], 0, 65536);
	for (uint64_t i = 0; i < n; i++) {
		uint64_t *at = mem64(rig, GPA_DATA + 32 * i);

		at[0] = DESC_PIOTLB(3, 7, 0);
		at[1] = i == 3 ? PROBE_IOVA : i << 12;
	}
	*mem64(rig, GPA_DATA + 32 * n) = DESC_WAIT(0x77);
	*mem64(rig, GPA_DATA + 32 * n + 8) = GPA_STATUS;
	reg32_set(rig, REG_IQT, 0);
	reg64_set(rig, REG_IQA, GPA_DATA | 1 << 11 | 4);
	gcmd(rig, GCMD_QIE, 0);
	guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 2 * PAGE_SIZE_4K);
	reg32_set(rig, REG_IQT, (uint32_t)(size - 32));
	assert_int_equal(mem32(rig, GPA_STATUS), 0x77);
	assert_int_equal(seen.calls, 3);
	assert_int_equal(seen.entries, n);
	assert_int_equal(place_of(d), PLACE_B);
	assert_int_equal(rig_soft_stats(rig).stale_hits, 0);
}

static void several_domains_one_call_each(void **state)
{
	struct rig *rig = *state;
	unsigned int calls;

	rig_add_device(rig);
	rig_add_device(rig);
	guest_enable(rig);
	guest_set_stage1(rig, rig->devices[0].rid, rig->root_a, 7);
	guest_set_stage1(rig, rig->devices[1].rid, rig->root_b, 7 + ATTACH_DOMAIN_BUCKETS);
	guest_set_stage1(rig, rig->devices[2].rid, rig->root_c, 9);
	iq_run(rig, PC_GLOBAL, 0);
	calls = rig_calls(&rig->host, IOMMU_HWPT_INVALIDATE);
	for (unsigned int i = 0; i < 20; i++)
		iq_put(rig, DESC_PIOTLB(3, i & 1 ? 7 : 7 + ATTACH_DOMAIN_BUCKETS, 0), PROBE_IOVA);
	iq_sync(rig);
	assert_int_equal(rig_calls(&rig->host, IOMMU_HWPT_INVALIDATE), calls + 2);
	iq_run(rig, DESC_IOTLB(1, 0), 0);
	assert_int_equal(rig_calls(&rig->host, IOMMU_HWPT_INVALIDATE), calls + 5);
	/* of two in one hash bucket only the one that is named */
	iq_run(rig, DESC_PIOTLB(3, 7, 0), PROBE_IOVA);
	assert_int_equal(rig_calls(&rig->host, IOMMU_HWPT_INVALIDATE), calls + 6);
}

static void harmless_descriptors(void **state)
{
	static const uint64_t descs[] = { 3 | 0x10ULL << 32, 4, 4 | 1 << 4 | 5ULL << 32, 8, 0x11,
					  0x21 };
	struct rig *rig = *state;
	unsigned int calls;

	on_stage1(rig);
	calls = rig->host.total;
	for (size_t i = 0; i < ARRAY_SIZE(descs); i++)
		iq_run(rig, descs[i], 0);
	assert_int_equal(rig->host.total, calls);
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_RIG(every_lap_and_every_length),
		WITH_RIG(empty_queue_does_nothing),
		WITH_RIG(narrow_queue_has_twice_the_entries),
		WITH_RIG(bigger_queues),
		WITH_RIG(a_queue_that_shrinks_under_its_head),
		WITH_RIG(tail_beyond_the_queue_is_an_error_not_a_hang),
		WITH_RIG(tail_between_wide_descriptors_is_an_error),
		WITH_RIG(a_bad_descriptor_stops_the_queue_until_the_error_is_cleared),
		WITH_RIG(one_that_is_wrong_stops_it_exactly_there),
		WITH_RIG(a_queue_that_leaves_memory),
		WITH_RIG(queue_in_no_memory),
		WITH_RIG(queue_at_address_zero),
		WITH_RIG(a_queue_that_is_off_waits),
		WITH_RIG(waits),
		WITH_RIG(completion_comes_after_the_invalidations),
		WITH_RIG(invalidations_without_a_wait_are_done_too),
		WITH_RIG(one_host_call_for_any_mix_of_one_domain),
		WITH_RIG(what_the_host_is_asked),
		WITH_RIG(a_batch_may_overflow),
		WITH_RIG(several_domains_one_call_each),
		WITH_RIG(harmless_descriptors),
	};

	return cmocka_run_group_tests_name("vtd queue", tests, NULL, NULL);
}
