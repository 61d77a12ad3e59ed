// SPDX-License-Identifier: BSD-3-Clause
/*
 * Page requests of dmatest. A group asks for the page an operation lacks and, if the
 * driver set PRG_PAGES, for pages behind it. No more requests are outstanding than
 * software allocated; without a free one an operation waits until some are answered.
 * What the control register does (enable again, reset) is seen by the change of
 * pci_config.pri_epoch. After a Response Failure there are no requests and answers are
 * ignored until page requests are enabled again (PCIe 6.0 s10.4.2.1).
 */
#include "endpoint/dmatest.h"

#include "base/log.h"

static void set_outstanding(struct dmatest *d, unsigned int n) REQUIRES(d->lock)
{
	d->outstanding = n;
	atomic_store(&d->ep.config.pri_outstanding, n);
}

static void for_each_op(struct dmatest *d, void (*fn)(struct dmatest_op *op)) REQUIRES(d->lock)
{
	for (unsigned int q = 0; q < d->queues; q++)
		for (unsigned int i = 0; i < DMATEST_IN_FLIGHT_MAX; i++)
			fn(&d->queue[q].ops[i]);
	fn(&d->imm);
}

static void wake_credit(struct dmatest_op *op)
{
	if (op->state == OP_CREDIT)
		op->state = OP_READY;
}

static void fail_waiting(struct dmatest_op *op)
{
	if (op->state != OP_PAGES && op->state != OP_CREDIT)
		return;
	op->status = DMATEST_PAGE_FAILURE;
	op->state = OP_READY;
}

static void forget_outstanding(struct dmatest *d) REQUIRES(d->lock)
{
	for (unsigned int i = 0; i < DMATEST_GROUPS; i++)
		d->groups[i].pages = 0;
	set_outstanding(d, 0);
	for_each_op(d, wake_credit);
}

void dmatest_page_sync(struct dmatest *d)
{
	unsigned int epoch = atomic_load(&d->ep.config.pri_epoch);

	if (epoch == d->pri_epoch)
		return;
	d->pri_epoch = epoch;
	d->pri_failed = false;
	forget_outstanding(d);
}

void dmatest_page_abandon(struct dmatest *d, struct dmatest_op *op)
{
	for (unsigned int i = 0; i < DMATEST_GROUPS; i++) {
		struct dmatest_group *group = &d->groups[i];

		if (group->state == GROUP_USED && group->op == op) {
			group->state = GROUP_ABANDONED;
			group->op = NULL;
		}
	}
}

void dmatest_page_reset(struct dmatest *d)
{
	forget_outstanding(d);
	d->pri_failed = false;
}

/* The next free index in turn, else an abandoned one. There are more than operations. */
static unsigned int take_group(struct dmatest *d) REQUIRES(d->lock)
{
	for (enum dmatest_group_state wanted = GROUP_FREE;; wanted = GROUP_ABANDONED) {
		for (unsigned int i = 0; i < DMATEST_GROUPS; i++) {
			unsigned int index = (d->next_group + i) % DMATEST_GROUPS;

			if (d->groups[index].state != wanted)
				continue;
			d->next_group = index + 1;
			set_outstanding(d, d->outstanding - d->groups[index].pages);
			return index;
		}
		assert(wanted == GROUP_FREE);
	}
}

/* The first page wanted, and how many there are to the end of the operand. */
static uint64_t pages_wanted(const struct dmatest_op *op, nst_iova *first)
{
	uint64_t last = op->address[op->want] + (op->length - 1);

	first->v = ALIGN_DOWN(op->address[op->want] + op->done, PAGE_SIZE_4K);
	return ((last - first->v) >> PAGE_SHIFT_4K) + 1;
}

enum dmatest_outcome dmatest_page_ask(struct dmatest *d, struct dmatest_op *op)
{
	struct endpoint_page_request req = {
		.pasid = op->flags & DMATEST_DESC_PASID ? op->pasid : NST_NO_PASID,
		.read = !op->want_write,
		.write = op->want_write,
		.privileged = op->flags & DMATEST_DESC_PRIVILEGED,
	};
	unsigned int allocated = atomic_load(&d->ep.config.pri_allocated), pages;
	uint64_t wanted = pages_wanted(op, &req.iova);

	mutex_lock(&d->lock);
	dmatest_page_sync(d);
	if (!(op->flags & DMATEST_DESC_PRI) || !atomic_load(&d->ep.config.pri_enabled) ||
	    !allocated || d->pri_failed)
		op->status = DMATEST_NO_PERMISSION;
	else if (op->retries >= d->prg_retries)
		op->status = DMATEST_PAGE_RETRIES;
	if (op->status != DMATEST_OK) {
		mutex_unlock(&d->lock);
		return OUTCOME_DONE;
	}
	if (d->outstanding >= allocated) {
		op->state = OP_CREDIT;
		mutex_unlock(&d->lock);
		return OUTCOME_PARKED;
	}
	pages = (unsigned int)MIN(MIN(wanted, d->prg_pages), allocated - d->outstanding);
	req.group = take_group(d);
	d->groups[req.group] = (struct dmatest_group){ GROUP_USED, op, req.pasid, pages };
	set_outstanding(d, d->outstanding + pages);
	op->page_requests += pages;
	op->retries++;
	op->state = OP_PAGES;
	mutex_unlock(&d->lock);

	/* From here on the answer may come at any moment, and @op be someone else's. */
	dmatest_count(d, DMATEST_STAT_PAGE_REQUESTS, pages);
	for (unsigned int i = 0; i < pages; i++) {
		req.last = i == pages - 1;
		endpoint_page_request(&d->ep, &req);
		req.iova.v += PAGE_SIZE_4K;
	}
	return OUTCOME_PARKED;
}

static void answer(struct dmatest_op *op, enum endpoint_page_response_code code)
{
	op->state = OP_READY;
	if (code != ENDPOINT_PAGE_SUCCESS)
		op->status = DMATEST_PAGE_INVALID;
}

/* All that wait fail, and answers that are still to come find no group. */
static void response_failure(struct dmatest *d) REQUIRES(d->lock)
{
	log_warn(d->ep.log, "dmatest: Response Failure, no page requests until enabled again");
	for (unsigned int i = 0; i < DMATEST_GROUPS; i++)
		if (d->groups[i].state == GROUP_USED)
			d->groups[i] = (struct dmatest_group){ .state = GROUP_ABANDONED,
							       .pasid = d->groups[i].pasid };
	for_each_op(d, fail_waiting);
	forget_outstanding(d);
	d->pri_failed = true;
	pci_config_pri_event(&d->ep.config, true);
}

static void respond(struct dmatest *d, const struct endpoint_page_response *resp) REQUIRES(d->lock)
{
	struct dmatest_group *group = resp->group < DMATEST_GROUPS ? &d->groups[resp->group] : NULL;
	struct dmatest_op *op;
	bool counts;

	dmatest_page_sync(d);
	dmatest_count(d, DMATEST_STAT_RESPONSES, 1);
	if (!group || group->state == GROUP_FREE || group->pasid != resp->pasid) {
		dmatest_count(d, DMATEST_STAT_UNEXPECTED, 1);
		pci_config_pri_event(&d->ep.config, false);
		return;
	}
	op = group->op;
	counts = op || group->pages; /* else it was asked for before a reset */
	set_outstanding(d, d->outstanding - group->pages);
	*group = (struct dmatest_group){ .state = GROUP_FREE };
	for_each_op(d, wake_credit);
	if (counts && resp->code == ENDPOINT_PAGE_FAILURE)
		response_failure(d);
	else if (op)
		answer(op, resp->code);
}

void dmatest_page_response(struct endpoint *ep, const struct endpoint_page_response *resp)
{
	struct dmatest *d = to_dmatest(ep);

	mutex_lock(&d->lock);
	respond(d, resp);
	mutex_unlock(&d->lock);
	endpoint_kick(ep);
}
