// SPDX-License-Identifier: BSD-3-Clause
/*
 * Transactions of passed-through devices that stall: the host's SMMU holds them, its kernel hands
 * them out as page requests, and the guest sees and answers them as what they are. Devices have
 * threads here, which wait.
 */
#include "rig.h"

#include <linux/iommufd.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define NOT_THERE 0x5000ULL
#define STALL (1ULL << 31)
#define VALUE 0x1122334455667788ULL
enum { WAIT_MS = 60000 };

static struct rig *rig_with_device(struct rig_device **d)
{
	struct rig *rig = rig_create(&(struct rig_options){
		.features = NST_SMMUV3_STALLS, .ssid_bits = 8, .stalls = true, .threads = true });

	*d = rig_plug(rig, true);
	ok(rig_open(rig, *d));
	ok(nst_viommu_attach(rig->viommu, (*d)->rid, (*d)->dev));
	guest_enable(rig);
	return rig;
}

/* On table A, faults stall; SSID 3 is on it too. */
static void enable(struct rig *rig, struct rig_device *d)
{
	guest_write_cd(rig, GPA_CDTAB, rig->root_a, 7);
	*mem64(rig, GPA_CDTAB) |= CD_S;
	memcpy(mem64(rig, GPA_CDTAB + 3 * 64), mem64(rig, GPA_CDTAB), 64);
	guest_ste(rig, d->rid)[0] = STE_S1(GPA_CDTAB) | STE_CDMAX(2);
	guest_ste(rig, d->rid)[1] = 2; /* SSID 0 is that of requests without */
	cmdq_run(rig, CMD_CFGI_STE(d->rid), 1);
	*mem64(rig, GPA_DATA) = VALUE;
}

/* The record of what stalls, when it has come. */
static unsigned int next_stall(struct rig *rig, uint64_t event[4])
{
	struct pollfd p = { .fd = nst_viommu_fd(rig->viommu), .events = POLLIN };

	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	assert_true(event_take(rig, event));
	assert_int_equal(event[0] & 0xff, 0x10);
	assert_true(event[1] & STALL);
	return event[1] & 0xffff;
}

static void the_guest_decides(void **state)
{
	struct rig_device *d;
	struct rig *rig = rig_with_device(&d);
	uint64_t event[4], value;
	unsigned int tag;

	enable(rig, d);
	rig_dma_begin(d, NST_NO_PASID, NOT_THERE, false);
	tag = next_stall(rig, event);
	assert_int_equal(event[0], 0x10 | (uint64_t)d->rid << 32);
	assert_int_equal(event[1], tag | STALL | 1ULL << 35 | 2ULL << 40);
	assert_int_equal(event[2], NOT_THERE);
	cmdq_run(rig, CMD_RESUME(d->rid + 1) | RESUME_RETRY, tag);
	cmdq_run(rig, CMD_RESUME(d->rid) | RESUME_RETRY, tag + 1);
	assert_false(rig_dma_is_over(d));
	guest_map(rig, rig->root_a, NOT_THERE, GPA_DATA);
	cmdq_run(rig, CMD_RESUME(d->rid) | RESUME_RETRY, tag);
	ok(rig_dma_end(d, &value));
	assert_int_equal(value, VALUE);
	/* a substream, a write; no */
	rig_dma_begin(d, 3, 0x7008, true);
	tag = next_stall(rig, event);
	assert_int_equal(event[0], 0x10 | 1 << 11 | 3 << 12 | (uint64_t)d->rid << 32);
	assert_int_equal(event[1], tag | STALL | 2ULL << 40);
	assert_int_equal(event[2] & ~0xfffULL, 0x7000);
	cmdq_run(rig, CMD_RESUME(d->rid), tag);
	err(EFAULT, rig_dma_end(d, &value));
	cmdq_run(rig, CMD_RESUME(d->rid), tag);
	assert_int_equal(rig_stats(rig).stalls, 2);
	assert_int_equal(rig_stats(rig).stall_answers, 2);
	assert_int_equal(rig_stats(rig).page_responses, 2);
	rig_destroy(rig);
}

/* Whatever ends an attachment ends what waits in it; the guest's answer then has no effect. */
static void every_end_of_an_attachment(void **state)
{
	enum { TERM, DISABLE, OTHER_ENTRY, RESET, DETACH, EXPIRE, ENDS };

	for (int end = 0; end < ENDS; end++) {
		struct rig_device *d;
		struct rig *rig = rig_with_device(&d);
		uint64_t event[4], value;
		unsigned int tag;

		enable(rig, d);
		rig_dma_begin(d, NST_NO_PASID, NOT_THERE, true);
		tag = next_stall(rig, event);
		switch (end) {
		case TERM:
			cmdq_run(rig, CMD_STALL_TERM(d->rid), 0);
			break;
		case DISABLE:
			reg32_set(rig, REG_GBPA, GBPA_UPDATE | GBPA_ABORT);
			cr0_set(rig, CR0_CMDQEN | CR0_EVENTQEN);
			break;
		case OTHER_ENTRY:
			set_place(rig, d, PLACE_B);
			cmdq_run(rig, CMD_CFGI_STE(d->rid), 1);
			break;
		case RESET:
			nst_viommu_reset(rig->viommu);
			break;
		case DETACH:
			nst_viommu_detach(rig->viommu, d->rid);
			break;
		default:
			nst_viommu_expire_page_requests(rig->viommu);
			assert_false(rig_dma_is_over(d));
			nst_viommu_expire_page_requests(rig->viommu);
			assert_int_equal(rig_stats(rig).expired_page_requests, 1);
			break;
		}
		err(EFAULT, rig_dma_end(d, &value));
		if (end != RESET)
			cmdq_run(rig, CMD_RESUME(d->rid) | RESUME_RETRY, tag);
		assert_int_equal(rig_stats(rig).unknown_page_responses, 0);
		assert_int_equal(rig->logged[NST_LOG_ERROR], 0);
		rig_destroy(rig);
	}
}

/* Of what waits on this host the guest's answer, on another one, has no effect. */
static void it_does_not_move(void **state)
{
	struct rig_device *d;
	struct rig *rig = rig_with_device(&d);
	uint64_t event[4], value;
	unsigned int tag;
	size_t size;
	void *data;

	enable(rig, d);
	rig_dma_begin(d, NST_NO_PASID, NOT_THERE, true);
	tag = next_stall(rig, event);
	ok(nst_viommu_save(rig->viommu, &data, &size));
	ok(nst_viommu_restore(rig->viommu, data, size));
	err(EFAULT, rig_dma_end(d, &value)); /* the restored one is another unit to the host */
	/* nor is it for another device that has the number */
	nst_viommu_detach(rig->viommu, d->rid);
	rig_listen(rig, d->rid);
	cmdq_run(rig, CMD_RESUME(d->rid) | RESUME_RETRY, tag);
	assert_int_equal(rig->stall_answers, 0);
	assert_int_equal(rig_stats(rig).stall_answers, 0);
	rig_listen_end(rig, rig->notifiers[0]);
	ok(nst_viommu_attach(rig->viommu, d->rid, d->dev));
	/* not told yet: it is not in the stream at all */
	cr0_set(rig, CR0_SMMUEN | CR0_CMDQEN);
	rig_dma_begin(d, NST_NO_PASID, NOT_THERE, true);
	while (!rig_unit(rig)->unrecorded_stalls)
		nst_viommu_process(rig->viommu);
	free(data);
	ok(nst_viommu_save(rig->viommu, &data, &size));
	ok(nst_viommu_restore(rig->viommu, data, size));
	err(EFAULT, rig_dma_end(d, &value));
	cr0_set(rig, CR0_ALL);
	assert_false(event_take(rig, event));
	free(data);
	rig_destroy(rig);
}

static uint32_t hwpt_flags;

static int note_flags(struct rig *rig, unsigned long request, void *arg)
{
	struct iommu_hwpt_alloc *cmd = arg;

	if (request == IOMMU_HWPT_ALLOC)
		hwpt_flags = cmd->flags;
	if (request == IOMMU_HWPT_ALLOC && rig->hook_data &&
	    (cmd->flags & IOMMU_HWPT_FAULT_ID_VALID))
		return -EOPNOTSUPP;
	return 0;
}

/* Only what may stall leads to the host's queue. */
static void who_has_the_queue(void **state)
{
	struct rig_device *d;
	struct rig *rig = rig_with_device(&d);

	rig->host.hook = note_flags;
	enable(rig, d);
	assert_int_equal(hwpt_flags, IOMMU_HWPT_FAULT_ID_VALID);
	guest_ste(rig, d->rid)[1] = 2 | STE1_S1STALLD;
	cmdq_run(rig, CMD_CFGI_STE(d->rid), 1);
	assert_int_equal(hwpt_flags, 0);
	guest_ste(rig, d->rid)[0] = STE_BYPASS;
	cmdq_run(rig, CMD_CFGI_STE(d->rid), 1);
	assert_int_equal(hwpt_flags, 0);
	rig_destroy(rig);
}

/* A kernel without: the device is attached all the same, and what stalls ends by itself. */
static void a_kernel_without(void **state)
{
	struct rig_device *d;
	struct rig *rig = rig_with_device(&d);
	uint64_t value;
	unsigned int calls;

	rig->host.hook = note_flags;
	rig->hook_data = rig;
	enable(rig, d);
	assert_int_equal(rig->logged[NST_LOG_ERROR], 0);
	rig_dma_begin(d, NST_NO_PASID, PROBE_IOVA, false);
	ok(rig_dma_end(d, &value));
	assert_int_equal(value, PLACE_A);
	rig_dma_begin(d, NST_NO_PASID, NOT_THERE, false);
	err(EFAULT, rig_dma_end(d, &value));
	assert_int_equal(rig_stats(rig).stalls, 0);
	/* it is not asked again */
	calls = rig_calls(&rig->host, IOMMU_HWPT_ALLOC);
	guest_ste(rig, d->rid)[1] |= 1 << 2;
	cmdq_run(rig, CMD_CFGI_STE(d->rid), 1);
	assert_int_equal(rig_calls(&rig->host, IOMMU_HWPT_ALLOC), calls + 1);
	rig_destroy(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_guest_decides), cmocka_unit_test(every_end_of_an_attachment),
		cmocka_unit_test(it_does_not_move),  cmocka_unit_test(who_has_the_queue),
		cmocka_unit_test(a_kernel_without),
	};

	return cmocka_run_group_tests_name("smmuv3 stalls of a host", tests, NULL, NULL);
}
