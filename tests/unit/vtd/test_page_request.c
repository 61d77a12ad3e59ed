// SPDX-License-Identifier: BSD-3-Clause
/*
 * Page requests: from a device that asks, through the host's fault queue, to the guest's
 * queue in memory, and back. The device writes down what it is answered.
 */
#include "rig.h"

#include "base/alloc.h"
#include "base/endian.h"
#include "host/soft/soft.h"

#include <linux/pci_regs.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define GPA_PRQ 0xa000ULL		/* of 4 KiB: 128 requests */
#define PRE (1ULL << 4)
#define PASIDE (1ULL << 3)
#define CONFIG VFIO_PCI_CONFIG_REGION_INDEX

enum { SUCCESS = 0, INVALID = 1, FAILURE = 15 };

/* --- a device that asks ---------------------------------------------------------------------- */

struct asker {
	struct endpoint ep;
	unsigned int answers, answers_at_reset;
	struct endpoint_page_response last;
};

static struct asker *to_asker(struct rig_device *d)
{
	return container_of(d->ep, struct asker, ep);
}

static void asker_invalidate(struct endpoint *ep, uint32_t pasid, nst_iova iova, nst_iova last)
{
}

static void asker_response(struct endpoint *ep, const struct endpoint_page_response *response)
{
	struct asker *a = container_of(ep, struct asker, ep);

	a->answers++;
	a->last = *response;
}

static uint64_t asker_read(struct endpoint *ep, unsigned int bar, uint64_t at, unsigned int size)
{
	return 0;
}

static void asker_write(struct endpoint *ep, unsigned int bar, uint64_t at, unsigned int size,
			uint64_t value)
{
}

static void asker_reset(struct endpoint *ep)
{
	struct asker *a = container_of(ep, struct asker, ep);

	a->answers_at_reset = a->answers;
	pci_config_reset(&ep->config);
}

static void asker_destroy(struct endpoint *ep)
{
	free(container_of(ep, struct asker, ep));
}

static const struct endpoint_ops asker_ops = {
	.model = "asker",
	.bar_read = asker_read,
	.bar_write = asker_write,
	.ats_invalidate = asker_invalidate,
	.page_response = asker_response,
	.reset = asker_reset,
	.destroy = asker_destroy,
};

static struct endpoint *make_asker(void)
{
	struct asker *a = calloc(1, sizeof(*a));
	struct pci_config *cfg = &a->ep.config;

	a->ep.ops = &asker_ops;
	pci_config_init(cfg, 0x1234, 0x5679, 0xff0000, 1);
	pci_config_add_express(cfg);
	pci_config_add_msi(cfg, 1);
	pci_config_add_ats(cfg);
	pci_config_add_pasid(cfg, 20);
	pci_config_add_pri(cfg, 64);
	return &a->ep;
}

static void ask(struct rig_device *d, uint32_t pasid, unsigned int group, unsigned int pages)
{
	for (unsigned int i = 0; i < pages; i++) {
		struct endpoint_page_request request = {
			.iova = { PROBE_IOVA + i * PAGE_SIZE_4K }, .pasid = pasid, .group = group,
			.read = true, .write = i & 1, .privileged = i == 2, .last = i == pages - 1,
		};

		endpoint_page_request(d->ep, &request);
	}
}

/* --- a guest that answers --------------------------------------------------------------------- */

static unsigned int config_find(struct rig_device *d, unsigned int id)
{
	unsigned int at = 0x100;

	for (int left = 64; at >= 0x100 && left; left--) {
		uint8_t bytes[4];
		uint32_t header;

		ok(nst_device_read(d->dev, CONFIG, at, bytes, 4));
		header = (uint32_t)le_load(bytes, 4);
		if ((header & 0xffff) == id)
			return at;
		at = header >> 20;
	}
	return 0;
}

static void enable_pri(struct rig_device *d, bool on)
{
	uint8_t word[2] = { on };
	unsigned int at = config_find(d, PCI_EXT_CAP_ID_PRI);

	assert_int_not_equal(at, 0);
	ok(nst_device_write(d->dev, CONFIG, at + PCI_PRI_CTRL, word, 2));
}

static void set_pasid(struct rig *rig, struct rig_device *d, uint32_t pasid, uint64_t root)
{
	uint64_t *entry = guest_pasid_entry(rig, d->rid, pasid);

	entry[0] = root ? PASID_PRESENT | PASID_FIRST_STAGE : 0;
	entry[1] = 10;
	entry[2] = root;
}

/* PASID 5 of every device on table A, requests on, their event masked. */
static void boot(struct rig *rig)
{
	guest_enable(rig);
	reg64_set(rig, REG_PQH, 0);
	reg64_set(rig, REG_PQT, 0);
	reg64_set(rig, REG_PQA, GPA_PRQ);
	for (unsigned int i = 0; i < rig->num_devices; i++) {
		struct rig_device *d = &rig->devices[i];

		guest_context_entry(rig, d->rid)[0] |= PRE | PASIDE;
		set_pasid(rig, d, 5, rig->root_a);
		enable_pri(d, true);
	}
	guest_sync(rig);
}

static struct rig_device *add_asker(struct rig *rig)
{
	struct rig_device *d = rig_plug_endpoint(rig, make_asker());

	ok(rig_open(rig, d));
	ok(nst_viommu_attach(rig->viommu, d->rid, d->dev));
	return d;
}

static int setup(void **state)
{
	struct rig *rig = rig_create();

	add_asker(rig);
	*state = rig;
	return 0;
}

static bool readable(struct rig *rig)
{
	struct pollfd p = { .fd = nst_viommu_fd(rig->viommu), .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static unsigned int pending(struct rig *rig)
{
	uint64_t bytes = reg64(rig, REG_PQT) - reg64(rig, REG_PQH);

	return (unsigned int)(bytes % 4096 / 32);
}

/* The next request, taken off the queue. */
static const uint64_t *next_request(struct rig *rig)
{
	uint64_t head = reg64(rig, REG_PQH);

	assert_int_not_equal(pending(rig), 0);
	reg64_set(rig, REG_PQH, (head + 32) % 4096);
	return mem64(rig, GPA_PRQ + head);
}

static void respond(struct rig *rig, nst_rid rid, uint32_t pasid, unsigned int group, unsigned int code)
{
	uint64_t who = pasid == NST_NO_PASID ? 0 : 1 << 4 | (uint64_t)pasid << 32;

	iq_run(rig, 9 | who | (uint64_t)code << 12 | (uint64_t)rid << 16, (uint64_t)group << 3);
}

/* --- tests -------------------------------------------------------------------------------------- */

static void a_group_goes_to_the_guest_and_its_answer_back(void **state)
{
	static const struct { unsigned int guest, device; } codes[] = {
		{ SUCCESS, ENDPOINT_PAGE_SUCCESS }, { INVALID, ENDPOINT_PAGE_INVALID },
		/* the host has no word for it */
		{ FAILURE, ENDPOINT_PAGE_INVALID },
	};
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	struct asker *a = to_asker(d);

	boot(rig);
	for (unsigned int n = 0; n < ARRAY_SIZE(codes); n++) {
		unsigned int group = 17 + n;

		ask(d, 5, group, 3);
		assert_int_equal(pending(rig), 0);
		assert_true(readable(rig));
		nst_viommu_process(rig->viommu);
		assert_false(readable(rig));
		assert_int_equal(pending(rig), 3);
		assert_int_equal(reg32(rig, REG_PRS), 1);
		for (unsigned int i = 0; i < 3; i++) {
			const uint64_t *request = next_request(rig);

			/* type, PASID present, requester, PASID, privileged */
			assert_true(request[0] == (1 | 1 << 8 | (uint64_t)d->rid << 16 |
						   5ULL << 32 | (i == 2 ? 1ULL << 53 : 0)));
			/* read, write, last of the group, index, address */
			assert_true(request[1] == (1 | (i & 1) << 1 | (i == 2) << 2 | group << 3 |
						   (PROBE_IOVA + i * PAGE_SIZE_4K)));
			assert_true(!request[2] && !request[3]);
		}
		assert_int_equal(a->answers, n);
		respond(rig, d->rid, 5, group, codes[n].guest);
		assert_int_equal(a->answers, n + 1);
		assert_int_equal(a->last.code, codes[n].device);
		assert_int_equal(a->last.group, group);
		assert_int_equal(a->last.pasid, 5);
		reg32_set(rig, REG_PRS, 1);
		assert_int_equal(reg32(rig, REG_PRS), 0);
	}
	assert_int_equal(rig_stats(rig).page_requests, 3);
	assert_int_equal(rig_stats(rig).page_responses, 3);
	assert_int_equal(rig_stats(rig).unknown_page_responses, 0);
}

static void requests_without_pasid(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	boot(rig);
	set_place(rig, d, PLACE_A);
	iq_run(rig, PC_GLOBAL, 0);
	ask(d, NST_NO_PASID, 3, 1);
	nst_viommu_process(rig->viommu);
	assert_true(next_request(rig)[0] == (1 | (uint64_t)d->rid << 16));
	respond(rig, d->rid, 0, 3, SUCCESS);	/* of PASID 0, that is another one */
	assert_int_equal(to_asker(d)->answers, 0);
	respond(rig, d->rid, NST_NO_PASID, 3, SUCCESS);
	assert_int_equal(to_asker(d)->answers, 1);
}

static void the_event_is_raised_once_and_waits_for_its_mask(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];

	boot(rig);
	reg32_set(rig, REG_PEDATA, 0x77);
	reg32_set(rig, REG_PEADDR, 0xfee01000);
	ask(d, 5, 1, 1);
	nst_viommu_process(rig->viommu);
	assert_int_equal(rig->num_msis, 0);
	assert_int_equal(reg32(rig, REG_PECTL), EVENT_IM | EVENT_IP);
	reg32_set(rig, REG_PECTL, 0);
	assert_int_equal(rig->num_msis, 1);
	assert_int_equal(rig->msis[0].address, 0xfee01000);
	assert_int_equal(rig->msis[0].data, 0x77);
	/* PPR is set still: no other */
	ask(d, 5, 2, 1);
	nst_viommu_process(rig->viommu);
	assert_int_equal(rig->num_msis, 1);
	reg32_set(rig, REG_PRS, 1);
	ask(d, 5, 3, 1);
	nst_viommu_process(rig->viommu);
	assert_int_equal(rig->num_msis, 2);
	/* masked, and its cause cleared before it was delivered: forgotten */
	reg32_set(rig, REG_PRS, 1);
	reg32_set(rig, REG_PECTL, EVENT_IM);
	ask(d, 5, 4, 1);
	nst_viommu_process(rig->viommu);
	reg32_set(rig, REG_PRS, 1);
	reg32_set(rig, REG_PECTL, 0);
	assert_int_equal(rig->num_msis, 2);
}

/* The guest that never answers, and the one that never looks. */
static void a_full_queue_overflows_and_the_device_may_ask_again(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	struct asker *a = to_asker(d);
	unsigned int group;

	boot(rig);
	for (group = 0; group < 63; group++)	/* 126 of 127 places */
		ask(d, 5, group, 2);
	nst_viommu_process(rig->viommu);
	assert_int_equal(pending(rig), 126);
	assert_int_equal(a->answers, 0);
	ask(d, 5, group, 2);		/* one of the two would fit */
	nst_viommu_process(rig->viommu);
	assert_int_equal(pending(rig), 126);
	assert_int_equal(reg32(rig, REG_PRS), 3);
	assert_int_equal(a->answers, 1);
	assert_int_equal(a->last.code, ENDPOINT_PAGE_SUCCESS);
	/* no more until software has cleared it, whatever place there is */
	reg64_set(rig, REG_PQH, reg64(rig, REG_PQT));
	ask(d, 5, group, 1);
	nst_viommu_process(rig->viommu);
	assert_int_equal(a->answers, 2);
	assert_int_equal(pending(rig), 0);
	reg32_set(rig, REG_PRS, 3);
	ask(d, 5, group, 1);
	nst_viommu_process(rig->viommu);
	assert_int_equal(pending(rig), 1);
	assert_int_equal(a->answers, 2);
	/* round the end of the queue: the answers in any order */
	for (unsigned int n = 0; n <= group; n++)
		respond(rig, d->rid, 5, (n * 37) % (group + 1), SUCCESS);
	assert_int_equal(a->answers, 2 + group + 1);
	assert_int_equal(rig_stats(rig).unknown_page_responses, 0);
}

static void a_queue_that_is_no_memory(void **state)
{
	struct rig *rig = *state;

	boot(rig);
	reg64_set(rig, REG_PQA, GPA_NOTHING);
	ask(&rig->devices[0], 5, 1, 1);
	nst_viommu_process(rig->viommu);
	assert_int_equal(to_asker(&rig->devices[0])->last.code, ENDPOINT_PAGE_INVALID);
	assert_int_equal(pending(rig), 0);
}

/* Who may not ask: the answer is at once, and says so. */
static void requests_that_nobody_allowed(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	struct asker *a = to_asker(d);

	for (int what = 0; what < 5; what++) {
		nst_viommu_reset(rig->viommu);
		rig->tail = 0;
		a->answers = 0;
		boot(rig);
		switch (what) {
		case 0:		/* the context entry */
			guest_context_entry(rig, d->rid)[0] &= ~PRE;
			guest_sync(rig);
			break;
		case 1:		/* the device's own register */
			enable_pri(d, false);
			break;
		case 2:		/* no entry */
			set_pasid(rig, d, 5, 0);
			guest_sync(rig);
			break;
		case 3:		/* reset of the device */
			ok(nst_device_reset(d->dev));
			break;
		default:
			gcmd(rig, 0, GCMD_TE);
		}
		ask(d, 5, 9, 2);
		nst_viommu_process(rig->viommu);
		assert_int_equal(a->answers, 1);
		assert_int_equal(a->last.code, ENDPOINT_PAGE_INVALID);
		assert_int_equal(pending(rig), 0);
	}
}

/* Whatever ends an attachment answers what is outstanding; what the guest says later is nothing. */
static void every_end_of_an_attachment_answers(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	struct asker *a = to_asker(d);

	for (int what = 0; what < 7; what++) {
		struct nst_rid_move moves[] = { { d->dev, RIG_SPARE_1 } };
		bool attached = true;
		uint64_t unknown;

		nst_viommu_reset(rig->viommu);
		rig->tail = 0;
		boot(rig);
		a->answers = 0;
		ask(d, 5, 9, 2);	/* with the guest */
		nst_viommu_process(rig->viommu);
		assert_int_equal(pending(rig), 2);
		ask(d, 5, 10, 2);	/* not yet */
		switch (what) {
		case 0:
			set_pasid(rig, d, 5, 0);
			iq_run(rig, DESC_PASID_CACHE(1, 0, 5), 0);
			break;
		case 1:		/* another table */
			set_pasid(rig, d, 5, rig->root_b);
			iq_run(rig, PC_GLOBAL, 0);
			break;
		case 2:
			gcmd(rig, 0, GCMD_TE);
			break;
		case 3:
			nst_viommu_reset(rig->viommu);
			break;
		case 4:
			nst_viommu_detach(rig->viommu, d->rid);
			attached = false;
			break;
		case 5:		/* another number, by which it has the same tables */
			guest_make_tables(rig, RIG_SPARE_1);
			memcpy(guest_context_entry(rig, RIG_SPARE_1),
			       guest_context_entry(rig, d->rid), 32);
			ok(nst_viommu_renumber(rig->viommu, moves, 1));
			moves->rid = d->rid;
			break;
		default:	/* off and on: it is the same PASID, and another attachment */
			set_pasid(rig, d, 5, 0);
			iq_run(rig, DESC_PASID_CACHE(1, 0, 5), 0);
			set_pasid(rig, d, 5, rig->root_a);
			iq_run(rig, DESC_PASID_CACHE(1, 0, 5), 0);
		}
		assert_int_equal(a->answers, 2);
		assert_int_equal(a->last.code, ENDPOINT_PAGE_INVALID);
		if (what == 5)
			ok(nst_viommu_renumber(rig->viommu, moves, 1));
		nst_viommu_process(rig->viommu);
		assert_int_equal(a->answers, 2);
		if (what == 3)
			boot(rig);
		/* the host gives the same cookie to another group: it is not answered by mistake */
		unknown = rig_stats(rig).unknown_page_responses;
		if (what == 6 || what == 1) {
			ask(d, 5, 11, 1);
			nst_viommu_process(rig->viommu);
		}
		respond(rig, d->rid, 5, 9, SUCCESS);
		assert_int_equal(a->answers, 2);
		assert_int_equal(rig_stats(rig).unknown_page_responses, unknown + 1);
		if (what == 6 || what == 1) {
			respond(rig, d->rid, 5, 11, SUCCESS);
			assert_int_equal(a->answers, 3);
		}
		if (!attached)
			ok(nst_viommu_attach(rig->viommu, d->rid, d->dev));
	}
	assert_null(rig_unit(rig)->page.groups);
}

/* Function-level reset, by the VMM's call and by the guest's write, in any state of a group. */
static void a_reset_of_the_device_answers(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0], *e = add_asker(rig);
	struct asker *a = to_asker(d);
	uint8_t control[2];

	boot(rig);
	for (int by_guest = 0; by_guest < 2; by_guest++) {
		uint64_t unknown = rig_stats(rig).unknown_page_responses;

		a->answers = 0;
		to_asker(e)->answers = 0;
		enable_pri(d, true);
		ask(d, 5, 1, 2);
		ask(d, NST_NO_PASID, 3, 1);
		ask(e, 5, 1, 1);
		nst_viommu_process(rig->viommu);
		ask(d, 5, 2, 1);	/* not with the guest yet */
		if (by_guest) {
			unsigned int at = d->dev->express_cap + PCI_EXP_DEVCTL;

			ok(nst_device_read(d->dev, CONFIG, at, control, 2));
			control[1] |= PCI_EXP_DEVCTL_BCR_FLR >> 8;
			ok(nst_device_write(d->dev, CONFIG, at, control, 2));
		} else {
			ok(nst_device_reset(d->dev));
		}
		assert_int_equal(a->answers_at_reset, 2 + 1);
		assert_int_equal(a->answers, 3);
		assert_int_equal(a->last.code, ENDPOINT_PAGE_INVALID);
		assert_int_equal(to_asker(e)->answers, 0);
		nst_viommu_process(rig->viommu);
		/* the same number, asked anew, has an answer of its own */
		enable_pri(d, true);
		ask(d, 5, 2, 1);
		nst_viommu_process(rig->viommu);
		respond(rig, d->rid, 5, 1, SUCCESS);
		assert_int_equal(rig_stats(rig).unknown_page_responses, unknown + 1);
		assert_int_equal(a->answers, 3);
		respond(rig, d->rid, 5, 2, SUCCESS);
		assert_int_equal(a->answers, 4);
		respond(rig, e->rid, 5, 1, SUCCESS);
		assert_int_equal(to_asker(e)->answers, 1);
		assert_null(rig_unit(rig)->page.groups);
		while (pending(rig))
			next_request(rig);
	}
	/* behind no unit any more, nobody listens */
	nst_viommu_detach(rig->viommu, d->rid);
	ok(nst_device_reset(d->dev));
	ok(nst_viommu_attach(rig->viommu, d->rid, d->dev));
}

/* Two calls that both see it: not a moment before, and no request that came between them. */
static void requests_expire(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0];
	struct asker *a = to_asker(d);

	boot(rig);
	nst_viommu_expire_page_requests(rig->viommu);
	ask(d, 5, 1, 1);
	ask(d, 5, 2, 1);
	nst_viommu_process(rig->viommu);
	nst_viommu_expire_page_requests(rig->viommu);
	respond(rig, d->rid, 5, 1, SUCCESS);
	ask(d, 5, 3, 1);
	nst_viommu_process(rig->viommu);
	assert_int_equal(a->answers, 1);
	nst_viommu_expire_page_requests(rig->viommu);
	assert_int_equal(a->answers, 2);
	assert_int_equal(a->last.group, 2);
	assert_int_equal(a->last.code, ENDPOINT_PAGE_INVALID);
	assert_int_equal(rig_stats(rig).expired_page_requests, 1);
	respond(rig, d->rid, 5, 2, SUCCESS);	/* too late */
	assert_int_equal(a->answers, 2);
	assert_int_equal(rig_stats(rig).unknown_page_responses, 1);
	nst_viommu_expire_page_requests(rig->viommu);
	assert_int_equal(a->last.group, 3);
	assert_int_equal(rig_stats(rig).expired_page_requests, 2);
	/* the host has answered it: nothing expires */
	ask(d, 5, 4, 1);
	nst_viommu_process(rig->viommu);
	nst_viommu_expire_page_requests(rig->viommu);
	gcmd(rig, 0, GCMD_TE);
	assert_int_equal(a->answers, 4);
	nst_viommu_expire_page_requests(rig->viommu);
	assert_int_equal(a->answers, 4);
	assert_int_equal(rig_stats(rig).expired_page_requests, 2);
}

/* What was asked here is answered here, when the unit goes; there the guest's answer is nothing. */
static void a_saved_unit_leaves_its_requests_behind(void **state)
{
	struct rig *rig = *state, *to = rig_create();
	struct rig_device *d = &rig->devices[0], *there = add_asker(to);
	size_t size;
	void *data;

	boot(rig);
	ask(d, 5, 1, 2);
	nst_viommu_process(rig->viommu);
	ok(nst_viommu_save(rig->viommu, &data, &size));
	memcpy(to->memory, rig->memory, RIG_MEMORY);
	to->tail = rig->tail;
	to->status = rig->status;
	ok(nst_viommu_restore(to->viommu, data, size));
	free(data);
	enable_pri(there, true);
	assert_int_equal(pending(to), 2);	/* the guest has yet to read them */
	respond(to, there->rid, 5, 1, SUCCESS);
	assert_int_equal(rig_stats(to).unknown_page_responses, 1);
	assert_int_equal(rig_stats(to).queue_errors, 0);
	assert_int_equal(to_asker(there)->answers, 0);
	ask(there, 5, 1, 1);			/* the device tries again */
	nst_viommu_process(to->viommu);
	assert_int_equal(pending(to), 3);
	respond(to, there->rid, 5, 1, SUCCESS);
	assert_int_equal(to_asker(there)->answers, 1);
	assert_int_equal(to_asker(d)->answers, 0);
	nst_viommu_detach(rig->viommu, d->rid);
	assert_int_equal(to_asker(d)->answers, 1);
	assert_int_equal(to_asker(d)->last.code, ENDPOINT_PAGE_INVALID);
	rig_destroy(to);
}

static void answers_to_groups_nobody_asked_for(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0], *e = add_asker(rig);

	boot(rig);
	ask(d, 5, 1, 1);
	nst_viommu_process(rig->viommu);
	respond(rig, d->rid, 5, 2, SUCCESS);
	respond(rig, d->rid, 6, 1, SUCCESS);
	respond(rig, d->rid, NST_NO_PASID, 1, SUCCESS);
	respond(rig, e->rid, 5, 1, SUCCESS);
	respond(rig, 0xffff, 5, 1, SUCCESS);
	assert_int_equal(rig_stats(rig).unknown_page_responses, 5);
	assert_int_equal(to_asker(d)->answers, 0);
	respond(rig, d->rid, 5, 1, SUCCESS);
	respond(rig, d->rid, 5, 1, SUCCESS);	/* twice */
	assert_int_equal(to_asker(d)->answers, 1);
	assert_int_equal(to_asker(e)->answers, 0);
	assert_int_equal(rig_stats(rig).unknown_page_responses, 6);
	assert_int_equal(rig_stats(rig).queue_errors, 0);
}

/* A wait that drains has all that was asked for before in the queue. */
static void draining_waits_bring_what_was_asked(void **state)
{
	struct rig *rig = *state;

	boot(rig);
	ask(&rig->devices[0], 5, 1, 1);
	iq_put(rig, DESC_WAIT(++rig->status), GPA_STATUS);
	iq_kick(rig);
	assert_int_equal(pending(rig), 0);
	iq_put(rig, DESC_WAIT(++rig->status) | 1 << 7, GPA_STATUS);
	iq_kick(rig);
	assert_int_equal(mem32(rig, GPA_STATUS), rig->status);
	assert_int_equal(pending(rig), 1);
}

static void devices_with_and_without_requests_do_not_share(void **state)
{
	struct rig *rig = *state;
	struct rig_device *d = &rig->devices[0], *plain = rig_add_device(rig);

	guest_enable(rig);
	guest_context_entry(rig, d->rid)[0] |= PRE;
	guest_context_entry(rig, plain->rid)[0] |= PRE;	/* it cannot, whatever the entry says */
	set_place(rig, d, PLACE_A);
	set_place(rig, plain, PLACE_A);
	guest_sync(rig);
	assert_int_equal(place_of(d), PLACE_A);
	assert_int_equal(place_of(plain), PLACE_A);
	assert_int_equal(nested_alive(rig), 2);
	guest_context_entry(rig, d->rid)[0] &= ~PRE;
	guest_sync(rig);
	assert_int_equal(nested_alive(rig), 1);
}

/* --- fail-nth ----------------------------------------------------------------------------------- */

/* Whatever fails, each group is answered once, by the guest or by somebody for it. */
static void live(struct rig *rig)
{
	struct rig_device *d = &rig->devices[0];

	while (!d->dev && rig_open(rig, d))
		;
	while (nst_viommu_attach(rig->viommu, d->rid, d->dev))
		;
	boot(rig);
	iq_run(rig, PC_GLOBAL, 0);	/* what failed is tried again */
	ask(d, 5, 1, 3);
	nst_viommu_process(rig->viommu);
	nst_viommu_process(rig->viommu);
	respond(rig, d->rid, 5, 1, SUCCESS);
	assert_int_equal(to_asker(d)->answers, 1);
	ask(d, 5, 2, 1);
	nst_viommu_process(rig->viommu);
	gcmd(rig, 0, GCMD_TE);
	gcmd(rig, GCMD_TE, 0);
	iq_run(rig, PC_GLOBAL, 0);
	nst_viommu_reset(rig->viommu);
	assert_int_equal(to_asker(d)->answers, 2);
}

static void the_nth_host_call_fails(void **state)
{
	unsigned int nth = 0;
	bool fired;

	do {
		struct rig *rig = rig_create();

		rig_plug_endpoint(rig, make_asker());
		rig_fail(&rig->host, 0, ++nth, ENOMEM);
		live(rig);
		fired = rig->host.fail_nth == 0;
		rig_destroy(rig);
	} while (fired && nth < 1000);
	assert_in_range(nth, 10, 200);
}

static void the_nth_allocation_fails(void **state)
{
	unsigned int nth = 0;
	bool fired;

	do {
		struct rig *rig = rig_create();

		rig_plug_endpoint(rig, make_asker());
		alloc_fail_nth(++nth);
		live(rig);
		fired = alloc_fail_left() == 0;
		alloc_fail_nth(0);
		rig_destroy(rig);
	} while (fired && nth < 1000);
	assert_in_range(nth, 10, 200);
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_RIG(a_group_goes_to_the_guest_and_its_answer_back),
		WITH_RIG(requests_without_pasid),
		WITH_RIG(the_event_is_raised_once_and_waits_for_its_mask),
		WITH_RIG(a_full_queue_overflows_and_the_device_may_ask_again),
		WITH_RIG(a_queue_that_is_no_memory),
		WITH_RIG(requests_that_nobody_allowed),
		WITH_RIG(every_end_of_an_attachment_answers),
		WITH_RIG(a_reset_of_the_device_answers),
		WITH_RIG(requests_expire),
		WITH_RIG(a_saved_unit_leaves_its_requests_behind),
		WITH_RIG(answers_to_groups_nobody_asked_for),
		WITH_RIG(draining_waits_bring_what_was_asked),
		WITH_RIG(devices_with_and_without_requests_do_not_share),
		cmocka_unit_test(the_nth_host_call_fails),
		cmocka_unit_test(the_nth_allocation_fails),
	};

	return cmocka_run_group_tests_name("vtd page requests", tests, NULL, NULL);
}
